//! The agent room of Gristmill.
