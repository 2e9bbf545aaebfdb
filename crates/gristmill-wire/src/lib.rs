//! Every shape that crosses a process: the vendor's JSON and XML, error codes, signatures as
//! pure functions, and the protocol between server and agent.
//!
//! Wire types belong to the vendor, model types to us; conversions between them are written by
//! hand here, and every check of a request body lives in them. Bytes only: no sockets, no clock.
//!
//! Start at [`api`] for the REST contract, [`acs`] for its signature, [`oss`] for the object
//! store's door, [`mns`] for the message service's, [`agent`] for workers.

pub mod acs;
pub mod agent;
pub mod api;
pub mod error;
pub mod mns;
pub mod oss;
pub mod time;
