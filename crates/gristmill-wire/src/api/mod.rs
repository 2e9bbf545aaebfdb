//! The REST contract.

/// The one API version we speak.
pub const VERSION: &str = "2015-11-11";
