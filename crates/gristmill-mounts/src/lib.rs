//! Trees of objects as files, and files back into objects.
//!
//! Meaning first: [`names`], [`table`] and [`tree`] say what a listing of keys looks like as
//! directories; [`upload`] does the way back; [`fallback`] downloads where the kernel cannot mount.
//!
//! Architecture invariant: nothing here writes to an input. Nothing here knows what a job is.

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
