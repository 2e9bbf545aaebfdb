//! The server room of Gristmill.
