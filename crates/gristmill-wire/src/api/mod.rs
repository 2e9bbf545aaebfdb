//! The REST contract: what a request says, and what an answer looks like.
//!
//! A request goes through [`routes`] (which operation), [`query`] (its query), and, where there
//! is a body, through one `parse_…` function that answers with a specification of the model or
//! with an [`ApiError`]. Every check of a body is in that conversion: what comes out is valid.
//! An answer is built from [`responses`], [`describe`] or [`list`].
//!
//! How bodies are read (`read`)
//! - Members that are null count as not given; unknown members are ignored.
//! - A member of the wrong type is `Invalid{Member}` with its path, never a syntax error.
//! - One pass over the bytes; a task becomes a `TaskSpec` as soon as it has been read, so a job
//!   of 100,000 tasks never exists as a tree of JSON values.
//!
//! Invariants
//! - No answer holds a null where clients want an object, an array or a truth value.
//! - Secrets of a body (`Mounts.OSS`) are dropped where it is read: nothing can echo them.

pub mod app;
pub mod cluster;
pub mod describe;
pub mod image;
pub mod job;
pub mod list;
pub mod locale;
pub mod priority;
pub mod query;
pub mod responses;
pub mod routes;
pub mod shell;
pub mod token;

mod configs;
mod dag;
mod kept;
mod mappings;
mod placement;
mod read;
mod shared;
mod task;

pub use crate::error::ApiError as BadRequest;
pub use cluster::{parse_cluster, parse_modify_cluster};
pub use describe::{JobDescription, job_description};
pub use job::{Submission, parse_job, parse_submission};
pub use list::{List, ListQuery, Marker};
pub use priority::parse_priority;
pub use query::Query;
pub use routes::Operation;
pub use shared::JOB_EVENTS;
pub use token::idempotency_token;

/// The one API version we speak.
pub const VERSION: &str = "2015-11-11";

/// The largest body of `POST /jobs`. 100,000 tasks of 600 bytes fit.
pub const JOB_BODY_BYTES_MAX: usize = 64 << 20;

/// The largest body of every other operation.
pub const BODY_BYTES_MAX: usize = 4 << 20;

/// How deep arrays and objects of a body may lie in each other where the whole body is looked at,
/// which is only for the digest of an idempotency token; elsewhere what nobody knows is skipped
/// without recursion. The JSON library holds this bound by itself; a test holds us to the figure.
pub const JSON_DEPTH_MAX: usize = 127;

/// The most entries of an array or of an object whose names the user chooses, such as `EnvVars`
/// or `Mounts.Entries`. Tasks have their own limit, and dependencies cost little more memory than
/// their text. Without a bound, `[{},{},…]` costs thirty times its size.
pub const ITEMS_PER_MEMBER_MAX: usize = 10_000;

/// How deep a member may be that is stored and echoed as it is (`Networks`,
/// `CredentialConfig`). Far below [`JSON_DEPTH_MAX`], because the journal wraps it again and must
/// be able to read it back.
pub const ECHO_DEPTH_MAX: usize = 8;

/// The longest command line, and the largest environment, of a program: more than this the kernel
/// does not take for both together.
pub const PROGRAM_BYTES_MAX: usize = 2 << 20;

/// The longest `Description`, in characters.
pub const DESCRIPTION_CHARS_MAX: usize = 1000;
