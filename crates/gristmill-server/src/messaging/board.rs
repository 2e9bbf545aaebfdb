//! What cannot be delivered now, for the operator: by job or cluster, why, since when, and when it
//! is tried again.

use gristmill_model::Timestamp;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// How many stuck subjects a listing shows.
pub const SHOWN_MAX: usize = 1_000;

/// One job or cluster whose notices cannot be delivered now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stuck {
    /// `job-…` or `cls-…`.
    pub subject: String,
    /// Failed attempts in a row.
    pub failures: u32,
    /// When the first of them failed.
    pub since: Timestamp,
    /// When it is tried again.
    pub again_at: Timestamp,
    /// Why the last one failed.
    pub reason: String,
}

/// The list of stuck subjects. Cheap to clone; changed by the notifier, read by pages.
#[derive(Clone, Default)]
pub struct Board(Arc<Mutex<BTreeMap<String, Stuck>>>);

impl Board {
    /// Puts a subject on the list, or changes what stands there.
    pub fn pin(&self, stuck: Stuck) {
        self.with(|list| list.insert(stuck.subject.clone(), stuck));
    }

    /// Takes a subject off the list.
    pub fn strike(&self, subject: &str) {
        self.with(|list| list.remove(subject));
    }

    /// The first [`SHOWN_MAX`] of the list, and how many there are.
    pub fn read(&self) -> (Vec<Stuck>, usize) {
        self.with(|list| (list.values().take(SHOWN_MAX).cloned().collect(), list.len()))
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut BTreeMap<String, Stuck>) -> T) -> T {
        // The list is whole even when a thread died holding it: it is changed in single steps.
        use_it(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
