//! The gateway room of Gristmill.
