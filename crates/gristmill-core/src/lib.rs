//! The core room of Gristmill.
