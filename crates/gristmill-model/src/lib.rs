//! The nouns of Gristmill: typed ids, specifications, states, and the three kinds of message
//! that cross the mill: [`Input`] goes in, [`Event`] is what happened, [`Effect`] is what should
//! now be true outside.
//!
//! Everything here is plain memory: no async, no files, no sockets, no clock. Values are parsed
//! at the edge (`FromStr`, `TryFrom`) and trusted from then on; a value that exists is valid.
//!
//! Invariants
//! - Ids order as text the way they order as numbers, so a sorted listing is a creation order
//!   where the id holds time.
//! - Ordered maps only: iteration order never matters by accident.
//! - States carry their data: a running instance without a worker cannot be written.
//!
//! Start at [`spec`] for what a user asks for, [`state`] for what becomes of it.

pub mod app;
pub mod catalogue;
pub mod change;
pub mod event;
pub mod ids;
pub mod input;
pub mod market;
pub mod names;
pub mod network;
pub mod notice;
pub mod policy;
pub mod ranges;
pub mod samples;
pub mod shares;
pub mod spec;
pub mod state;
pub mod time;

pub use app::{AppCall, AppSpec};
pub use catalogue::InstanceType;
pub use change::{ClusterChange, GroupChange};
pub use event::{Effect, Event, FinishedRun};
pub use ids::{AccountId, ClusterId, Generation, ImageId, InstanceNo, JobId, RunId, WorkerId};
pub use input::{Answer, Input, Refusal, RunOutcome, RunReport};
pub use market::{PriceMilli, Quota, ReclaimCause};
pub use names::{AppName, GroupName, JobName, OssPath, TaskName};
pub use network::CidrBlock;
pub use notice::Notice;
pub use ranges::RangeSet;
pub use spec::{ClusterSpec, GroupSpec, JobSpec, Placement, TaskSpec};
pub use state::{Cause, Counts, InstanceState, JobState, TaskState, WorkerState};
pub use time::{Seconds, Timestamp};
