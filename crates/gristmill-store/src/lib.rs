//! The store room: what the control plane knows, on its own disk.
//!
//! One embedded SQLite database holds five things: the journal (batches of events,
//! in order), the last checkpoint (entities, opaque to the store), the attempts that ended (segments;
//! those since the last checkpoint in memory), the outbox (effects not known to be done) and the
//! notices not known to be delivered. One [`Store`] writes, from one thread; [`Readers`] read beside
//! it without waiting for it.
//!
//! ```text
//! commit(events, effects) --one transaction--> journal + read tables + outbox
//! checkpoint(entities, through) -------------> entities, then the journal is cut
//! open() ------------------------------------> entities + events after them + outbox
//! ```
//!
//! Invariants
//! - A batch is on disk whole or not at all, and when `commit` has answered it survives `kill -9`
//!   and power loss (write-ahead log, `synchronous=FULL`).
//! - `seq` counts from 1 without gaps. A gap is corruption, not an empty batch.
//! - An ended attempt is inserted once and never updated; nothing here is updated as an instance
//!   moves through its states.
//! - One server per data directory.
//! - No clock, no randomness; one thread of its own, which folds the write-ahead log beside the writer.
//!
//! Beside the books lies the registry, a database of its own for what scheduling does not need:
//! accounts, keys, image records ([`registry`]).
//!
//! Start at [`Store::open`] and [`Store::commit`].

mod attempt;
pub mod backup;
mod batch;
mod bytes;
mod error;
mod folding;
mod history;
mod home;
mod journal;
mod merging;
mod notices;
mod readers;
mod recovery;
pub mod registry;
mod schema;
mod segment;
mod store;
mod tail;

pub use attempt::{Attempt, TEXT_BYTES_MAX};
pub use error::{Retry, StoreError};
pub use history::{HistoryQuery, HistoryRow};
pub use notices::{NoticeId, NoticeProgress, WaitingNotice};
pub use readers::Readers;
pub use recovery::Recovered;
pub use store::{
    Batch, Begun, Checkpoint, Committed, EffectId, Later, Prepared, Purged, Seq, Store,
    StoreOptions,
};
