//! The cli room of Gristmill.
