//! The runtime room of Gristmill.
