//! The mill: the rules of Gristmill, as plain functions over plain memory.
//!
//! ```text
//! Input ──> World::step (or decide + World::apply) ──> events, effects, answer
//! World ──> plan ──> Input::Place
//! events ──> journal ──> World::apply          (restart)
//! World ──> entity ──> checkpoint ──> restore  (restart)
//! ```
//!
//! Invariants
//! - No clock, no I/O, no chance: time is an argument, ids come from an [`IdMint`] that the
//!   caller seeds. The same inputs give the same world on every machine.
//! - [`World::apply`] is the only writer. Replaying the events gives an equal world.
//! - A world is cheap to clone: persistent maps all the way. Readers get clones; a draft that
//!   could not be made durable is dropped.
//! - A million instances nobody touched cost one range.
//!
//! Start at [`World::step`] for the rules, [`World`] for the data, [`World::check`] for what
//! must always hold.

mod apply;
mod changes;
mod check;
pub mod cluster;
mod decide;
pub mod entity;
mod indexes;
pub mod job;
mod lanes;
mod market;
mod mint;
mod notices;
mod options;
mod plan;
mod read;
mod wants;
mod why;
mod world;

pub use changes::Entered;
pub use cluster::{
    Assigned, Cluster, Group, LogLine, MachineShape, Metrics, Reclaim, Trouble, Worker,
};
pub use decide::{Decision, decide};
pub use entity::{ArchivedJob, Entity, EntityKey, RestoreError};
pub use job::{Attempts, Job, Task};
pub use market::{Allowance, Market, MarketRecord};
pub use mint::IdMint;
pub use options::Options;
pub use plan::plan;
pub use read::{JobQuery, RunView};
pub use why::Obstacle;
pub use world::{Account, Made, TokenKey, TokenRecord, World};
