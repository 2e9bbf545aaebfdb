//! The sim room of Gristmill.
