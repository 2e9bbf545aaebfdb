//! The store room of Gristmill.
