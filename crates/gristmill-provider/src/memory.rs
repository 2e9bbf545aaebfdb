//! Workers that are only numbers: for tests of what uses a provider.

use crate::{
    AgentLaunch, Capabilities, Observed, Presence, Provider, ProviderError, tombstones::Tombstones,
};
use async_trait::async_trait;
use gristmill_model::{Generation, WorkerId, event::EnsureWorker};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// A provider without machines.
#[derive(Debug)]
pub struct MemoryProvider {
    workers_max: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    workers: BTreeMap<WorkerId, Generation>,
    removed: Tombstones,
    silent: bool,
}

impl MemoryProvider {
    /// An empty one with this many places.
    pub fn new(workers_max: u32) -> Self {
        Self { workers_max, state: Mutex::default() }
    }

    /// The machine dies.
    pub fn lose(&self, worker: WorkerId) {
        self.state().workers.remove(&worker);
    }

    /// From now on the backend answers nothing, or answers again.
    pub fn set_silent(&self, silent: bool) {
        self.state().silent = silent;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answering(&self) -> Result<MutexGuard<'_, State>, ProviderError> {
        let state = self.state();
        if state.silent { Err(ProviderError::Silent) } else { Ok(state) }
    }
}

#[async_trait]
impl Provider for MemoryProvider {
    async fn ensure(
        &self,
        request: &EnsureWorker,
        _launch: &AgentLaunch,
    ) -> Result<(), ProviderError> {
        let mut state = self.answering()?;
        let (worker, asked) = (request.worker, request.generation);
        state.removed.check(worker, asked)?;
        match state.workers.get(&worker) {
            Some(known) if *known > asked => {
                return Err(ProviderError::Outdated { asked, known: *known });
            }
            Some(_) => {}
            None if state.workers.len() >= self.workers_max as usize => {
                return Err(ProviderError::NoCapacity { workers_max: self.workers_max });
            }
            None => {}
        }
        state.workers.insert(worker, asked);
        Ok(())
    }

    async fn remove(&self, worker: WorkerId, generation: Generation) -> Result<(), ProviderError> {
        let mut state = self.answering()?;
        state.removed.add(worker, generation);
        if state.workers.get(&worker).is_some_and(|known| *known <= generation) {
            state.workers.remove(&worker);
        }
        Ok(())
    }

    async fn observe(&self, workers: &[WorkerId]) -> Result<Vec<Observed>, ProviderError> {
        let state = self.state();
        let presence = |worker| match state.workers.get(worker) {
            _ if state.silent => Presence::Unknown,
            Some(generation) => Presence::There(*generation),
            None => Presence::Gone,
        };
        Ok(workers.iter().map(|w| Observed { worker: *w, presence: presence(w) }).collect())
    }

    async fn list(&self) -> Result<Vec<(WorkerId, Generation)>, ProviderError> {
        Ok(self.answering()?.workers.iter().map(|(w, g)| (*w, *g)).collect())
    }

    async fn bootstrap_log(
        &self,
        _worker: WorkerId,
        _offset: u64,
        _bytes_max: usize,
    ) -> Result<Vec<u8>, ProviderError> {
        self.answering().map(|_| Vec::new())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { remembers: false, workers_max: Some(self.workers_max) }
    }
}
