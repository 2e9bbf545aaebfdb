//! Trees of objects as files, and files back into objects.
//!
//! ```text
//! names -> table -> tree        what a listing of keys looks like as directories
//! pattern -> reader -> segment  what a read means, and the ranges that answer it
//! fuse -> mounter -> process    the kernel's questions, in a process of their own
//! overlay                       what a program changed above an input
//! fallback                      the same tree downloaded, where the kernel cannot mount
//! walk -> upload -> send        what a program left behind, into the store
//! remote -> download            the store, asked with patience
//! ```
//!
//! Meaning first, kernel second: only `fuse`, `kernel` and `mounter` need one.
//!
//! Architecture invariant: nothing here writes to an input, and no read mixes two versions of an
//! object. Nothing here knows what a job is.
//!
//! Start at [`process::MounterProcess`] and [`upload::Uploader`]; for the rules, at [`table`].

pub mod budget;
pub mod download;
pub mod fallback;
pub mod file_body;
pub mod fuse;
pub mod kernel;
#[cfg(test)]
mod kernel_tests;
pub mod mounter;
pub mod names;
pub mod overlay;
pub mod pattern;
pub mod process;
pub mod reader;
pub mod remote;
pub mod segment;
pub mod send;
pub mod source;
pub mod table;
#[cfg(test)]
mod testing;
pub mod tree;
pub mod upload;
pub mod walk;

pub use source::{Source, SourceError, SourceKind};
