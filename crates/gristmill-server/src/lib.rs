//! The control plane: signed REST API, the loop around the core, sessions of agents, the hands.
//!
//! It decides nothing: requests become inputs of the mill, and the core's rules answer.
//!
//! Start at [`Region::start`] for how the parts are put together, `mill` for the loop, `door` for
//! the way of a request.

mod agent_service;
mod briefing;
pub mod catalogue;
mod config;
mod door;
mod handlers;
pub mod front;
mod keys;
mod mill;
mod patience;
mod published;
mod recovery;
mod sessions;

pub use config::{LocalConfig, PatienceConfig, RegionConfig};
pub use mill::{Clock, Mill, MillError};
