//! Files that every sandbox of a node sees: who the machine is, who its neighbours are.
//!
//! They lie in the skeletons, the layers right above the host or the image, so showing them costs
//! a start nothing. A sandbox that changes one gets a copy of its own, like of any other file.
//!
//! A file is rewritten in place: sandboxes that run see the new text at once, and one that reads
//! meanwhile may see it half; whoever writes keeps the text short.

use crate::{
    host::{Prepared, own_directory},
    spec::Identity,
};
use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::{OpenOptionsExt, chown},
    path::{Component, Path, PathBuf},
};

/// Where files for all sandboxes are put.
#[derive(Debug, Clone)]
pub struct SharedFiles {
    tops: [PathBuf; 2],
    owner: Identity,
}

impl SharedFiles {
    pub(crate) fn of(prepared: &Prepared) -> Self {
        let tops = [prepared.skeleton(), prepared.image_skeleton()];
        Self { tops, owner: prepared.identity }
    }

    /// Shows this text at an absolute path, in sandboxes on the host's root and on images.
    pub fn put(&self, path: &Path, text: &[u8]) -> io::Result<()> {
        self.tops.iter().try_for_each(|top| self.put_below(top, path, text))
    }

    /// The same in sandboxes on images only, which have no file of the host.
    pub fn put_on_images(&self, path: &Path, text: &[u8]) -> io::Result<()> {
        self.put_below(&self.tops[1], path, text)
    }

    fn put_below(&self, top: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
        let mut at = top.to_owned();
        let mut parts = path.components().peekable();
        while let Some(part) = parts.next() {
            match part {
                Component::RootDir => continue,
                Component::Normal(name) => at.push(name),
                _ => return Err(ErrorKind::InvalidInput.into()),
            }
            if parts.peek().is_some() && !at.is_dir() {
                own_directory(&at, 0o755, self.owner)?;
            }
        }
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(false).mode(0o644).open(&at)?;
        rewrite(&mut file, text)?;
        chown(&at, Some(self.owner.uid), Some(self.owner.gid))
    }
}

/// Longer first and cut afterwards, so that a reader meanwhile never finds the file empty.
fn rewrite(file: &mut File, text: &[u8]) -> io::Result<()> {
    file.write_all(text)?;
    file.set_len(text.len() as u64)
}
