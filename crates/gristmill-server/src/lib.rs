//! The control plane: signed REST API, the loop around the core, sessions of agents, the hands.
//!
//! It decides nothing: requests become inputs of the mill, and the core's rules answer.
//!
//! Start at [`Region::start`] for how the parts are put together, `mill` for the loop, `door` for
//! the way of a request.

mod admin;
mod agent_service;
mod audit;
mod body;
mod briefing;
pub mod catalogue;
mod checkpoints;
mod config;
mod door;
mod doorkeeper;
pub mod front;
mod handlers;
mod hands;
mod history;
mod images;
mod keys;
mod launch;
mod listeners;
mod machine;
mod market;
mod measures;
pub mod messaging;
mod mill;
mod pages;
mod patience;
mod places;
mod pressure;
mod promises;
mod published;
mod recovery;
mod region;
mod registrar;
mod seats;
mod sessions;
mod shell;
mod ssh;
mod streams;
mod sts;
mod task_keys;
mod task_numbers;
mod throttle;
mod vital;
mod way_out;

pub use config::{LocalConfig, PatienceConfig, RegionConfig, ShellConfig};
pub use doorkeeper::{Admission, Doorkeeper, Unwelcome};
pub use gristmill_store::{StoreError, backup};
pub use messaging::{
    CERTIFICATE_FILE as PUSH_CERTIFICATE_FILE, DATABASE as MESSAGES_DATABASE,
    KEY_FILE as PUSH_KEY_FILE, MessageService,
};
pub use mill::Clock;
pub use recovery::check_books;
pub use region::{Region, RegionError, RegionSecrets};
