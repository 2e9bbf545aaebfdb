//! The server of the simulated world: a core, a journal, a checkpoint, and a table of results.
//!
//! What the real server does with disks happens here in memory: a batch is one input; the draft
//! becomes the world when it is committed; a restart keeps only checkpoint and journal.

use crate::Plant;
use gristmill_core::{Decision, Entity, EntityKey, IdMint, Options, World};
use gristmill_model::{
    Event, FinishedRun, Input, InstanceNo, JobId, Refusal, RunId, RunReport, TaskName, Timestamp,
    event::AfterRun,
};
use std::collections::{BTreeMap, BTreeSet};

/// One accepted result, as the read table of ended attempts holds it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ResultRow {
    /// The job.
    pub job: JobId,
    /// Its task.
    pub task: TaskName,
    /// Its instance.
    pub instance: InstanceNo,
    /// The run that brought the result.
    pub run: RunId,
}

/// A core with its books.
pub struct Region {
    /// The committed world.
    pub world: World,
    /// Instances that finished, in the order in which that was accepted.
    pub results: Vec<ResultRow>,
    ids: IdMint,
    options: Options,
    checkpoint: BTreeMap<EntityKey, Entity>,
    journal: Vec<Event>,
    dirty: BTreeSet<EntityKey>,
    plant: Option<Plant>,
    events_seen: usize,
}

impl Region {
    /// An empty region.
    pub fn new(options: Options, seed: [u8; 32], plant: Option<Plant>) -> Self {
        let world = World::new(options.clone());
        let dirty = world.entity_keys().collect();
        Self {
            world,
            results: Vec::new(),
            ids: IdMint::new(seed),
            options,
            checkpoint: BTreeMap::new(),
            journal: Vec::new(),
            dirty,
            plant,
            events_seen: 0,
        }
    }

    /// Decides on a draft. Nothing has happened until it is committed.
    pub fn draft(&mut self, input: &Input, now: Timestamp) -> (World, Result<Decision, Refusal>) {
        let mut draft = self.world.clone();
        let decided = draft.step(input, now, &mut self.ids);
        (draft, decided)
    }

    /// Makes a draft the world.
    pub fn commit(&mut self, input: &Input, draft: World, decision: &Decision) {
        self.dirty.extend(decision.touched.iter().cloned());
        self.note_results(input, &decision.events);
        for event in &decision.events {
            self.events_seen += 1;
            let lost = self.plant == Some(Plant::LoseEvent) && self.events_seen.is_multiple_of(40);
            if !lost {
                self.journal.push(event.clone());
            }
        }
        self.world = draft;
    }

    fn note_results(&mut self, input: &Input, events: &[Event]) {
        if self.plant == Some(Plant::CountTwice) {
            return self.note_reports(input);
        }
        for event in events {
            if let Event::RunEnded { run, job, task, instance, after, .. } = event
                && *after == AfterRun::Finished
            {
                let (job, task, instance, run) = (*job, task.clone(), *instance, *run);
                self.results.push(ResultRow { job, task, instance, run });
            }
            if let Event::RunsFinished { job, task, runs, .. } = event {
                let row = |it: &FinishedRun| ResultRow {
                    job: *job,
                    task: task.clone(),
                    instance: it.instance,
                    run: it.run,
                };
                self.results.extend(runs.iter().map(row));
            }
        }
    }

    /// The planted bug: what an agent says is taken for a result before the mill was asked
    /// whether the run is still current.
    fn note_reports(&mut self, input: &Input) {
        let Input::WorkerReported { worker, reports, .. } = input else { return };
        for report in reports {
            let RunReport::Ended { run, .. } = report else { continue };
            let known = self.results.iter().find(|row| row.run == *run).cloned();
            let current = self.world.worker(*worker).and_then(|worker| worker.runs.get(run));
            let row = current.map(|what| ResultRow {
                job: what.job,
                task: what.task.clone(),
                instance: what.instance,
                run: *run,
            });
            self.results.extend(known.or(row));
        }
    }

    /// Writes what was touched since the last checkpoint and forgets the journal.
    pub fn checkpoint(&mut self) {
        for key in std::mem::take(&mut self.dirty) {
            match self.world.entity(&key) {
                Some(entity) => self.checkpoint.insert(key, entity),
                None => self.checkpoint.remove(&key),
            };
        }
        self.journal.clear();
    }

    /// Forgets everything that is not durable and starts again, perhaps with other options. Says
    /// what differs.
    pub fn restart(&mut self, seed: [u8; 32], options: Options) -> Result<(), String> {
        if self.recovered(self.options.clone())?.0 != self.world {
            return Err("after a restart the world is another one".to_owned());
        }
        (self.world, self.dirty) = self.recovered(options.clone())?;
        self.options = options;
        self.ids = IdMint::new(seed);
        Ok(())
    }

    /// The world of the checkpoint and the journal, and what the next checkpoint has to write.
    fn recovered(&self, options: Options) -> Result<(World, BTreeSet<EntityKey>), String> {
        let entities = self.checkpoint.values().cloned();
        let mut world = World::restore(options, entities).map_err(|error| error.to_string())?;
        let mut dirty = BTreeSet::new();
        for event in &self.journal {
            dirty.extend(world.touched(event));
            world.apply(event);
        }
        Ok((world, dirty))
    }
}
