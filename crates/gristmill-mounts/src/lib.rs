//! The mounts room of Gristmill.
