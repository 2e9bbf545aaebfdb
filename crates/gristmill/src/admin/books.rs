//! `gristmill admin backup`, `restore`, `check`: the books on the disk, beside a running region or without
//! one.

use crate::setup::{ROOT_KEY_FILE, SECRET_FILE};
use anyhow::{Context, bail};
use clap::Args;
use gristmill_server::{
    MESSAGES_DATABASE, PUSH_CERTIFICATE_FILE, PUSH_KEY_FILE,
    backup::{self as copies, Belongings},
    check_books,
};
use std::path::{Path, PathBuf};

/// What belongs to a region beside its books.
const BELONGINGS: Belongings<'_> = Belongings {
    databases: &[MESSAGES_DATABASE],
    files: &[ROOT_KEY_FILE, SECRET_FILE, PUSH_KEY_FILE, PUSH_CERTIFICATE_FILE],
};

/// Copy books and keys of a region, running or not, into a new directory
#[derive(Args)]
pub struct Backup {
    /// The new directory
    to: PathBuf,
}

/// Put a copy into an empty data directory
#[derive(Args)]
pub struct Restore {
    /// The directory with the copy
    from: PathBuf,
}

/// Look whether the books of a stopped region, or a copy, are whole and add up
#[derive(Args)]
pub struct Check {}

impl Backup {
    /// Copies.
    pub fn run(&self, data_dir: &Path) -> anyhow::Result<()> {
        copies::back_up(data_dir, &BELONGINGS, &self.to)
            .with_context(|| format!("could not copy the books of {}", data_dir.display()))?;
        eprintln!("copied to {}; objects of buckets are not part of it", self.to.display());
        Ok(())
    }
}

impl Restore {
    /// Puts back.
    pub fn run(&self, data_dir: &Path) -> anyhow::Result<()> {
        copies::restore(&self.from, &BELONGINGS, data_dir)
            .with_context(|| format!("could not put the copy into {}", data_dir.display()))?;
        eprintln!("put into {}", data_dir.display());
        Ok(())
    }
}

impl Check {
    /// Looks.
    pub fn run(&self, data_dir: &Path) -> anyhow::Result<()> {
        let mut wrong = copies::damage(data_dir, &BELONGINGS)?;
        if wrong.is_empty() {
            wrong = check_books(data_dir)?;
        }
        for line in &wrong {
            println!("{line}");
        }
        if !wrong.is_empty() {
            bail!("the books of {} are damaged", data_dir.display());
        }
        eprintln!("the books of {} are sound", data_dir.display());
        Ok(())
    }
}
