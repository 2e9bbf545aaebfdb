//! What a program changed above an input, and what is thrown away with it.
//!
//! Every input is seen through an overlay; changes stay in its upper directory and end with the
//! instance. The user is told how many there were (`reference/mounts.md` 1, rule 6).

use crate::{
    names::Locale,
    upload::EXAMPLES_MAX,
    walk::{Item, walk},
};
use std::{ops::ControlFlow, os::fd::BorrowedFd, path::PathBuf};

/// Changes that are counted one by one; beyond it the count stays.
const COUNTED_MAX: u64 = 1_000_000;

/// Files made, changed or deleted above an input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// How many.
    pub files: u64,
    /// The first of them, below the input.
    pub examples: Vec<PathBuf>,
}

/// Looks through the upper directory of an overlay. A deleted file is there as a device, so
/// whatever is not a directory counts.
pub fn changes(upper: BorrowedFd<'_>) -> Changes {
    let mut changes = Changes::default();
    walk(upper, None, Locale::UTF_8, &mut |item| {
        let (Item::File { path, .. } | Item::Skipped { path, .. }) = item else {
            return ControlFlow::Continue(());
        };
        changes.files += 1;
        if changes.examples.len() < EXAMPLES_MAX {
            changes.examples.push(path);
        }
        if changes.files < COUNTED_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    changes.examples.sort();
    changes
}
