//! The object store's protocol as bytes: signatures, error codes, XML bodies.
//!
//! [`sign`] verifies and makes the three signature schemes, [`error`] knows which status belongs to
//! which code, [`xml`] writes and leniently reads, [`answer`] and [`ask`] are the bodies that travel
//! out and in. All are pure functions; the door in `gateway` and the clients use them.
//!
//! Source: `reference/oss-gateway.md`.

pub mod answer;
pub mod ask;
pub mod error;
pub mod sign;
pub mod xml;
