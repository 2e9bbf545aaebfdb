//! Resident programs: started once on a machine, they serve run after run of an app
//! (`Daemonize`, `reference/api.md` 11.1; the protocol is in `docs/daemons.md`, why in the ADR).
//!
//! ```text
//! fetch inputs -> idle process, or a new one -> files into its slots -> one line on its stdin
//!   -> its output into the run's logs, until the answer -> uploads -> slots cleared -> idle again
//! ```
//!
//! A process serves one run at a time; a machine with more slots has more processes. What it
//! prints while it serves a run is that run's log. Runs share a process only if everything about
//! it is the same: account, app, revision, command line, environment, mounts ([`Kind`]).
//!
//! Whose fault: what the program does is the job's (it ended before it answered, its answer says
//! so, it took too long and was killed); what the sandbox or the store does is the machine's. A
//! program that ended before it read the call is started anew, once, and given the call again.
//!
//! Start at [`Place::serve_call`]; the conversation is in `process`.

mod answer;
mod pool;
mod process;
mod slots;

pub use pool::Pool;

use crate::{
    inputs,
    oss::Opening,
    place::RunDirectory,
    program::end_of,
    results::{self, Notes},
    runs::Begun,
    trouble::{Trouble, chain},
    work::{Place, machine_environment, now, unless_cancelled},
};
use gristmill_model::Cause;
use gristmill_mounts::remote::{Patience, Remote};
use gristmill_runtime::{ProgramSpec, command};
use gristmill_wire::agent::{EndKind, Resident as Wish, RunEnd, Task};
use process::{Outcome, Process};
use serde_json::{Value, json};
use slots::Slots;
use std::{collections::BTreeMap, time::Duration};

/// Everything about a process that a run can notice: runs with equal kinds may share one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kind {
    /// Account, app, revision.
    key: String,
    program: Vec<String>,
    env: Vec<(String, String)>,
    /// Local paths.
    inputs: Vec<String>,
    outputs: Vec<String>,
}

impl Kind {
    fn of(task: &Task, wish: &Wish) -> Result<Self, Trouble> {
        let program = command::split(&task.command_line).map_err(|error| Trouble::Job {
            cause: Cause::Command,
            message: format!("the command line cannot be split: {error}"),
        })?;
        let mut env = task.env.clone();
        env.retain(|name, _| !wish.run_env.contains(name));
        env.insert("BATCH_COMPUTE_DAEMON".into(), "1".into());
        // What a Python program prints belongs to the call it serves, not to a later one.
        env.entry("PYTHONUNBUFFERED".into()).or_insert_with(|| "1".into());
        let local = |mappings: &[gristmill_wire::agent::Mapping]| {
            mappings.iter().map(|mapping| mapping.local.clone()).collect()
        };
        Ok(Self {
            key: wish.key.clone(),
            program,
            env: machine_environment(&env),
            inputs: local(&task.inputs),
            outputs: local(&task.outputs),
        })
    }
}

/// The line that a program is given for a run.
fn request(task: &Task, wish: &Wish, begun: &Begun) -> Vec<u8> {
    let parameters: Value = serde_json::from_str(&wish.parameters).unwrap_or_else(|_| json!({}));
    let instance = begun.run.instance.to_string();
    let names = ["BATCH_COMPUTE_DAG_INSTANCE_ID", "BATCH_COMPUTE_INSTANCE_ID"];
    let mut env: BTreeMap<&str, &str> =
        names.into_iter().map(|name| (name, instance.as_str())).collect();
    let of_run = task.env.iter().filter(|(name, _)| wish.run_env.contains(name));
    env.extend(of_run.map(|(name, value)| (name.as_str(), value.as_str())));
    let request = json!({
        "Call": begun.run.run,
        "JobId": task.job,
        "TaskName": task.task,
        "InstanceId": begun.run.instance,
        "Parameters": parameters,
        "EnvVars": env,
    });
    let mut line = request.to_string().into_bytes();
    line.push(b'\n');
    line
}

impl Place {
    /// Carries out one run by a resident program.
    pub(crate) async fn serve_call(
        &self,
        begun: &mut Begun,
        wish: &Wish,
        notes: &mut Notes,
    ) -> Result<RunEnd, Trouble> {
        let task = begun.task.clone();
        let kind = Kind::of(&task, wish)?;
        let directory = self.directories.make(begun.run.run, None).map_err(|error| {
            Trouble::of_machine(Cause::Sandbox, "no directory for the run", format!("{error:#}"))
        })?;
        let remote = self.remote(&self.opening(&task), begun.run.run)?;
        let fetched = inputs::fetch(self, &task, &directory, &remote);
        unless_cancelled(&mut begun.cancelled, fetched).await??;
        let (process, outcome) = self.converse(begun, wish, &kind, &directory).await?;
        let cancelled = matches!(outcome, Outcome::Cancelled);
        let uploads = results::Uploads {
            task: &task,
            instance: begun.run.instance,
            directory: &directory,
            sandbox: process.sandbox(),
            layout: &self.layout,
            remote,
            short_max: 0, // what a process says is not the run's alone
        };
        let (_, kept) = uploads.upload(cancelled, notes).await;
        let is_well = matches!(outcome, Outcome::Answered(_));
        if is_well && process.is_in_step() && process.clear_slots().await.is_ok() {
            let idle_max = Duration::from_secs(u64::from(wish.idle_seconds_max.max(1)));
            self.residents.give_back(kind, process, idle_max);
        } else {
            process.retire();
        }
        let ended = self.judge(outcome, notes)?;
        kept?;
        Ok(ended)
    }

    fn remote(&self, opening: &Opening, run: u64) -> Result<Remote, Trouble> {
        let store = self.open_store(opening).map_err(|error| {
            Trouble::of_machine(Cause::Sandbox, "no object store", chain(&error))
        })?;
        Ok(Remote::new(store, Patience::default(), run))
    }

    /// Finds or starts a process and lets it serve the run. One that ended without having read
    /// the call is replaced once.
    async fn converse(
        &self,
        begun: &mut Begun,
        wish: &Wish,
        kind: &Kind,
        directory: &RunDirectory,
    ) -> Result<(Process, Outcome), Trouble> {
        let line = request(&begun.task.clone(), wish, begun);
        let process = match self.residents.take(kind) {
            Some(process) => process,
            None => self.start_resident(kind)?,
        };
        let filled = process.fill_slots(directory.inputs()).await;
        let (process, outcome) = self.try_serve(process, filled, (begun, directory, &line)).await?;
        let is_new = !process.has_served();
        if is_new || !matches!(outcome, Outcome::Ended { unread: true, .. }) {
            return Ok((process, outcome));
        }
        let fresh = self.start_resident(kind)?;
        let filled = process.hand_slots_to(&fresh).await;
        process.retire();
        self.try_serve(fresh, filled, (begun, directory, &line)).await
    }

    /// Lets a process serve the run if its files are there; ends it when that cannot be.
    async fn try_serve(
        &self,
        mut process: Process,
        filled: Result<(), Trouble>,
        (begun, directory, line): (&mut Begun, &RunDirectory, &[u8]),
    ) -> Result<(Process, Outcome), Trouble> {
        let served = match filled {
            Ok(()) => process.serve(self, begun, directory, line).await,
            Err(trouble) => Err(trouble),
        };
        match served {
            Ok(outcome) => Ok((process, outcome)),
            Err(trouble) => {
                process.retire();
                Err(trouble)
            }
        }
    }

    fn start_resident(&self, kind: &Kind) -> Result<Process, Trouble> {
        let number = self.residents.number();
        let directory = self.directories.make(number, None).map_err(|error| {
            Trouble::of_machine(Cause::Sandbox, "no directory", format!("{error:#}"))
        })?;
        let (slots, shown) = Slots::make(&directory, &kind.inputs, &kind.outputs)
            .map_err(|error| Trouble::of_machine(Cause::Sandbox, "no directories", error))?;
        let mounts = std::iter::once(directory.workdir_mount()).chain(shown).collect();
        let name = format!("resident-{}", number & u64::from(u32::MAX));
        let sandbox = self.sandbox(&name, directory.scratch(), mounts, None);
        let program = ProgramSpec {
            arguments: kind.program.clone(),
            env: kind.env.clone(),
            directory: crate::work::WORKDIR.to_owned(),
        };
        Process::start(&self.spawner, sandbox, &program, slots, directory).map_err(|error| {
            self.broken.notify_one();
            Trouble::of_machine(Cause::Sandbox, "no sandbox", error)
        })
    }

    /// How the run ended, by what became of the conversation.
    fn judge(&self, outcome: Outcome, notes: &mut Notes) -> Result<RunEnd, Trouble> {
        match outcome {
            Outcome::Answered(answer) => {
                if !answer.message.is_empty() {
                    notes.add(answer.message);
                }
                let kind = EndKind::Exited.into();
                Ok(RunEnd { at: now(), kind, number: answer.exit_code, ..RunEnd::default() })
            }
            Outcome::Ended { exit: gristmill_runtime::Exit::Code(0), .. } => Err(Trouble::Job {
                cause: Cause::Command,
                message: "the resident program ended without answering the call".to_owned(),
            }),
            Outcome::Ended { exit, .. } => {
                notes.add("the resident program ended while it served the call");
                Ok(end_of(exit, false))
            }
            Outcome::Failed(failure) => Err(self.not_started(failure)),
            Outcome::TimedOut => Ok(end_of(gristmill_runtime::Exit::Signal(9), true)),
            Outcome::Cancelled => Err(Trouble::Cancelled),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_wire::agent::Run;
    use std::sync::Arc;

    fn a_task() -> (Task, Wish) {
        let mut task = Task {
            job: "job-1".into(),
            task: "task".into(),
            command_line: "serve --model 'a b'".into(),
            ..Task::default()
        };
        for (name, value) in [("n", "1"), ("MODE", "fast"), ("BATCH_COMPUTE_DAG_JOB_ID", "job-1")] {
            task.env.insert(name.into(), value.into());
        }
        let wish = Wish {
            key: "1/1/app/0".into(),
            run_env: vec!["n".into(), "BATCH_COMPUTE_DAG_JOB_ID".into()],
            parameters: r#"{"n":1}"#.into(),
            idle_seconds_max: 60,
        };
        (task, wish)
    }

    #[test]
    fn runs_that_differ_in_their_parameters_only_share_a_process() {
        let (task, wish) = a_task();
        let kind = Kind::of(&task, &wish).expect("legal");
        assert_eq!(kind.program, ["serve", "--model", "a b"]);
        let mut other = task.clone();
        other.env.insert("n".into(), "2".into());
        other.job = "job-2".into();
        assert_eq!(Kind::of(&other, &wish).expect("legal"), kind);
        other.env.insert("MODE".into(), "slow".into());
        assert_ne!(Kind::of(&other, &wish).expect("legal"), kind);
        let foreign = Wish { key: "2/1/app/0".into(), ..wish.clone() };
        assert_ne!(Kind::of(&task, &foreign).expect("legal"), kind);
        let newer = Task { command_line: "serve".into(), ..task };
        assert_ne!(Kind::of(&newer, &wish).expect("legal"), kind);
    }

    #[test]
    fn a_call_is_one_line_with_what_belongs_to_the_run() {
        let (task, wish) = a_task();
        let runs = crate::runs::Runs::default();
        let begun =
            runs.begin(Arc::new(task.clone()), Run { run: 7, task: 1, instance: 3 }).expect("new");
        let line = request(&task, &wish, &begun);
        assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
        let said: Value = serde_json::from_slice(&line).expect("JSON");
        assert_eq!(
            said,
            json!({"Call": 7, "JobId": "job-1", "TaskName": "task", "InstanceId": 3,
                "Parameters": {"n": 1},
                "EnvVars": {"n": "1", "BATCH_COMPUTE_DAG_JOB_ID": "job-1",
                    "BATCH_COMPUTE_DAG_INSTANCE_ID": "3", "BATCH_COMPUTE_INSTANCE_ID": "3"}})
        );
    }
}
