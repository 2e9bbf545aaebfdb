//! The language of the scenarios. One command per line; what is not said is the smallest valid
//! thing. The account is 1 unless a line ends in `by N`.
//!
//! ```text
//! options slots 2, machines 5, auto 3, put back 2    later: the server starts again with these
//! cluster C group*2                      a fixed cluster with its groups
//! job J on C: a*2, b -> c*3; retries 1; keep going; auto release; priority 5; token t body
//! job J on auto: a*2                     or `on auto reserved`
//! job J on attach C: a*2                 or `on attach C type T; image I`, `spot 500`, `prepaid`
//! stop J | restart J | delete J | priority J 7
//! resize C group*1 | remove C
//! change C type T, image I, g type T, g price 500, g price goes, env K=V
//! cluster C g*2; spot 500; type T        or `spot goes`, `prepaid`; a job `on auto spot 500`
//! price T 700 | price T none | prepaid 1 T 3 | quota 1 machines 3, cores 4
//! drop H | recreate H                    one machine by host name
//! call                                   every machine that was asked for calls
//! call H | call H holding nothing        one machine calls, holding what it should or nothing
//! call H ahead 4                         it takes runs beyond those it executes
//! place                                  plan and place until nothing more can be
//! start a/0 | exit a/0 137 | finish a/0 | signal a/0 9 | timeout a/0 | oom a/0
//! unable a/0 | broken a/0 | cancel a/0   what the machine says of the current run of a/0
//! finish all                             place, start and finish until nothing is left
//! silent H | gone H | noroom H WORDS     what is seen of a machine
//! unfit H WORDS                          it came and could not be set up
//! wait 5                                 seconds pass and what is due is done
//! later 5                                seconds pass and nobody looks
//! twice COMMAND                          the second time nothing may happen
//! stale COMMAND                          a report of the run before the current one, or a
//!                                        word of an older generation: nothing may happen
//! log C                                  its operation log
//! show J | show C | why J | effects      what is compared with the expected text
//! notices                                whom it was told since the last `notices`, for jobs
//!                                        and clusters made with `; notify all` or `; notify A B`
//! ```
//!
//! Tasks are `J:a/0` or, for the job `J`, `a/0`. Machines go by host name. Refusals and the
//! answers of clusters are printed by themselves.

use crate::{market, notices};
use gristmill_core::{Decision, Entity, IdMint, Options, World, decide, plan};
use gristmill_model::{
    AccountId, Answer, Cause, ClusterChange, ClusterId, ClusterSpec, Effect, Event, Generation,
    GroupChange, GroupName, GroupSpec, Input, InstanceNo, InstanceState, JobId, JobSpec, Placement,
    Refusal, RunId, RunOutcome, RunReport, Seconds, TaskName, Timestamp, WorkerId, WorkerState,
    catalogue::InstanceTypeName,
    input::{Seen, Token, WorkerPlace},
    samples::{self, a_cluster, a_shape, a_task},
};
use std::{collections::BTreeMap, sync::Arc};

/// Runs a script and compares what it printed, line by line and without indentation.
#[track_caller]
pub fn check(script: &str, expected: &str) {
    let mut stage = Stage::new();
    for line in lines(script) {
        stage.command(line);
    }
    let printed = stage.readable();
    let wanted: Vec<_> = lines(expected).collect();
    assert_eq!(printed.lines().collect::<Vec<_>>(), wanted, "printed:\n{printed}");
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

struct Stage {
    world: World,
    /// Made of nothing but the events.
    replayed: World,
    ids: IdMint,
    now: Timestamp,
    jobs: BTreeMap<String, JobId>,
    clusters: BTreeMap<String, ClusterId>,
    hosts: BTreeMap<WorkerId, String>,
    last_run: BTreeMap<(JobId, TaskName, InstanceNo), Vec<(RunId, WorkerId)>>,
    last_decision: Option<Decision>,
    told: Vec<String>,
    quiet: bool,
    printed: String,
}

impl Stage {
    fn new() -> Self {
        let world = World::new(market::options());
        Self {
            replayed: world.clone(),
            world,
            ids: IdMint::new([3; 32]),
            now: Timestamp(1_000_000),
            jobs: BTreeMap::new(),
            clusters: BTreeMap::new(),
            hosts: BTreeMap::new(),
            last_run: BTreeMap::new(),
            last_decision: None,
            told: Vec::new(),
            quiet: false,
            printed: String::new(),
        }
    }

    fn command(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "twice" => self.twice(rest),
            "stale" => self.stale(rest),
            "options" => self.options(rest),
            "cluster" => self.cluster(rest),
            "job" => self.job(rest),
            "stop" | "restart" | "delete" | "priority" => self.job_command(verb, rest),
            "drop" | "recreate" => self.single(verb, rest),
            "price" | "prepaid" | "quota" => drop(self.input(market::input(verb, rest))),
            "log" => self.show_log(rest),
            "resize" | "remove" | "change" => self.cluster_command(verb, rest),
            "call" => self.call(rest),
            "place" => self.place(),
            "finish" if rest == "all" => self.finish_all(),
            "silent" | "gone" | "noroom" | "unfit" => self.seen(verb, rest),
            "wait" => self.wait(rest.parse().expect("seconds")),
            "later" => self.now = self.now.after(Seconds(rest.parse().expect("seconds"))),
            "show" => self.show(rest),
            "why" => {
                let why = self.world.why(self.jobs[rest]).unwrap_or_else(|| "no job".to_owned());
                self.say(&why);
            }
            "effects" => self.show_effects(),
            "notices" => {
                let told = std::mem::take(&mut self.told).join("\n");
                self.say(if told.is_empty() { "nothing" } else { &told });
            }
            _ => self.report(verb, rest),
        }
    }

    /// One input, and everything that must hold after any input.
    fn input(&mut self, input: Input) -> Option<Answer> {
        let drafted = decide(&self.world, &input, self.now, &mut self.ids.clone());
        let before = self.world.clone();
        let decided = self.world.step(&input, self.now, &mut self.ids);
        assert_eq!(drafted, decided, "a draft decides like a step");
        let decision = match decided {
            Ok(decision) => decision,
            Err(refusal) => {
                assert!(self.world == before, "a refusal changes nothing");
                self.say_refusal(&refusal);
                return None;
            }
        };
        self.world.check().unwrap_or_else(|wrong| panic!("{}", wrong.join("\n")));
        for event in &decision.events {
            self.replayed.apply(event);
        }
        assert!(self.world == self.replayed, "a replay gives an equal world");
        self.check_restore();
        self.note_runs(&decision);
        let answer = decision.answer.clone();
        self.last_decision = Some(decision);
        Some(answer)
    }

    fn check_restore(&self) {
        let restored = World::restore(self.options_now(), self.entities());
        assert!(
            restored.expect("a sound checkpoint") == self.world,
            "a restore gives an equal world"
        );
    }

    /// What a checkpoint holds, written and read.
    fn entities(&self) -> Vec<Entity> {
        let entities = self.world.entity_keys().map(|key| {
            assert_eq!(key.to_string().parse(), Ok(key.clone()), "keys read back");
            let entity = self.world.entity(&key).expect("a listed key has an entity");
            let text = serde_json::to_string(&entity).expect("entities can be written");
            serde_json::from_str(&text).expect("entities can be read")
        });
        entities.collect()
    }

    fn options_now(&self) -> Options {
        self.world.options().clone()
    }

    fn note_runs(&mut self, decision: &Decision) {
        for event in &decision.events {
            if let Event::RunsPlaced { first, job, task, instances, worker, .. } = event {
                for (run, instance) in (first.0..).zip(instances.iter()) {
                    let key = (*job, task.clone(), InstanceNo(instance));
                    self.last_run.entry(key).or_default().push((RunId(run), *worker));
                }
            }
            if let Event::WorkerWanted { worker, host_name, .. } = event {
                self.hosts.insert(*worker, host_name.clone());
            }
        }
        for effect in &decision.effects {
            if let Effect::Notify(notice) = effect {
                self.told.push(notices::text(notice));
            }
        }
    }

    fn twice(&mut self, command: &str) {
        self.command(command);
        self.quiet = true;
        let before = self.world.clone();
        self.command(command);
        self.quiet = false;
        assert!(self.world == before, "the second `{command}` changed something");
    }

    fn stale(&mut self, command: &str) {
        let before = self.world.clone();
        let (verb, rest) = command.split_once(' ').expect("a report or an observation");
        match verb {
            "call" | "silent" | "gone" | "noroom" | "unfit" => {
                let (worker, generation) = self.machine(rest.split(' ').next().expect("a host"));
                let older = Generation(generation.0 - 1);
                self.seen_of(verb, worker, older, "late words");
            }
            _ => {
                let (key, words) = self.instance(rest);
                let runs = &self.last_run[&key];
                // The one before the current one while there is a current one.
                let live = self.current(&key).is_some();
                let (run, worker) = runs[runs.len() - 1 - usize::from(live)];
                self.report_run(verb, run, worker, &words);
            }
        }
        assert!(self.world == before, "the stale `{command}` changed something");
    }

    fn options(&mut self, text: &str) {
        let mut options = self.options_now();
        for option in text.split(", ") {
            let (name, value) = option.rsplit_once(' ').expect("a name and a number");
            let value = value.parse().expect("a number");
            match name {
                "slots" => options.slots_per_worker = value,
                "machines" => options.limits.machines_max = value,
                "auto" => options.limits.auto_cluster_machines_max = value,
                "put back" => options.limits.infrastructure_retry_max = value,
                "jobs" => options.limits.jobs_max = value,
                _ => panic!("no option `{name}`"),
            }
        }
        self.world = World::restore(options, self.entities()).expect("a sound checkpoint");
        self.replayed = self.world.clone();
        self.input(Input::Resumed);
    }

    fn cluster(&mut self, text: &str) {
        let (text, account) = by(text);
        let (name, rest) = text.split_once(' ').expect("a name and groups");
        let (rest, events) = rest.split_once("; notify ").unwrap_or((rest, ""));
        let (rest, token) = rest.split_once("; token ").unwrap_or((rest, ""));
        let (groups, parts) = rest.split_once("; ").unwrap_or((rest, ""));
        let made = market::group(parts);
        let groups = counted(groups).into_iter().map(|(group, desired)| {
            (group.parse().expect("a group name"), GroupSpec { desired, ..made.clone() })
        });
        let (name_of, groups) = (name.parse().expect("a name"), groups.collect());
        let notification = notices::subscription(events);
        let spec = Arc::new(ClusterSpec { name: name_of, groups, notification, ..a_cluster() });
        let token = read_token(token);
        let answer = self.input(Input::CreateCluster { account, spec, token });
        if let Some(Answer::Cluster(id)) = answer
            && let Some(before) = self.clusters.insert(name.to_owned(), id)
        {
            self.say(if before == id { "the same cluster" } else { "another cluster" });
        }
    }

    fn job(&mut self, text: &str) {
        let (text, account) = by(text);
        let (head, body) = text.split_once(": ").expect("a head and tasks");
        let (name, placement) = head.split_once(" on ").expect("where it runs");
        let placement = match placement {
            "auto" => Placement::Auto(a_shape(false)),
            "auto reserved" => Placement::Auto(a_shape(true)),
            auto if auto.starts_with("auto ") => Placement::Auto(market::shape(&auto[5..])),
            "nowhere" => Placement::Fixed(ClusterId(7)),
            attached if attached.starts_with("attach ") => self.attached(&attached[7..]),
            cluster => Placement::Fixed(self.clusters[cluster]),
        };
        let mut parts = body.split("; ");
        let mut spec = job_of_stages(name, parts.next().expect("tasks"), &placement);
        let mut token = None;
        for part in parts {
            match part.split_once(' ').unwrap_or((part, "")) {
                ("retries", count) => {
                    let count = count.parse().expect("a number");
                    spec.tasks.values_mut().for_each(|task| task.retry_count_max = count);
                }
                ("keep", _) => spec.fail_on_instance_fail = false,
                ("auto", _) => spec.auto_release = true,
                ("priority", value) => spec.priority = value.parse().expect("a number"),
                ("token", words) => token = read_token(words),
                ("notify", events) => spec.notification = notices::subscription(events),
                _ => panic!("no part `{part}`"),
            }
        }
        let spec = Arc::new(spec);
        let answer = self.input(Input::SubmitJob { account, spec, token });
        if let Some(Answer::Job(id)) = answer
            && let Some(before) = self.jobs.insert(name.to_owned(), id)
        {
            self.say(if before == id { "the same job" } else { "another job" });
        }
    }

    /// `C type T; image I`: attached to a cluster, with the machines it asks for.
    fn attached(&self, text: &str) -> Placement {
        let (name, parts) = text.split_once(' ').unwrap_or((text, ""));
        Placement::Attach { cluster: self.cluster_named(name), shape: market::shape(parts) }
    }

    fn job_command(&mut self, verb: &str, text: &str) {
        let (text, account) = by(text);
        let (name, value) = text.split_once(' ').unwrap_or((text, ""));
        let job = self.jobs[name];
        let answer = self.input(match verb {
            "stop" => Input::StopJob { account, job },
            "restart" => Input::StartJob { account, job },
            "delete" => Input::DeleteJob { account, job },
            _ => Input::ChangePriority { account, job, priority: value.parse().expect("a number") },
        });
        assert!(matches!(answer, None | Some(Answer::Done)));
    }

    fn cluster_command(&mut self, verb: &str, text: &str) {
        let (text, account) = by(text);
        let (name, sizes) = text.split_once(' ').unwrap_or((text, ""));
        let cluster = self.cluster_named(name);
        if verb == "resize" {
            let sizes = counted(sizes).into_iter();
            let size = |(group, size): (&str, u32)| {
                (group.parse().expect("a group"), GroupChange::size(size))
            };
            self.modify(
                account,
                cluster,
                ClusterChange { groups: sizes.map(size).collect(), ..ClusterChange::default() },
            );
        } else if verb == "change" {
            self.modify(account, cluster, read_change(sizes));
        } else if let Some(answer) = self.input(Input::DeleteCluster { account, cluster }) {
            let Answer::Deleting { machines_left } = answer else { panic!("{answer:?}") };
            self.say(if machines_left { "deleting" } else { "deleted" });
        }
    }

    fn modify(&mut self, account: AccountId, cluster: ClusterId, change: ClusterChange) {
        self.input(Input::ModifyCluster { account, cluster, change: Arc::new(change) });
    }

    fn single(&mut self, verb: &str, text: &str) {
        let (host, account) = by(text);
        let (worker, _) = self.machine(host);
        let known = self.world.worker(worker).expect("a machine");
        let place = WorkerPlace { cluster: known.cluster, group: known.group.clone(), worker };
        self.input(match verb {
            "drop" => Input::DeleteWorker { account, place },
            _ => Input::RecreateWorker { account, place },
        });
    }

    fn call(&mut self, text: &str) {
        if text.is_empty() {
            let starting: Vec<_> = self
                .world
                .all_workers()
                .filter(|worker| worker.state == WorkerState::Starting)
                .map(|worker| worker.host_name.clone())
                .collect();
            starting.iter().for_each(|host| self.call(host));
            return;
        }
        let (text, ahead) = text.split_once(" ahead ").unwrap_or((text, "0"));
        let ahead = ahead.parse().expect("a number");
        let (host, holding) = text.split_once(" holding ").unwrap_or((text, "all"));
        let (worker, generation) = self.machine(host);
        let mut holds: Vec<_> = self.world.runs_of(worker).map(|view| view.run).collect();
        if holding == "nothing" {
            holds.clear();
        }
        let address = format!("at-{host}");
        let input = Input::WorkerCalled { worker, generation, address, holds, ahead };
        if self.input(input) == Some(Answer::Unwanted) {
            self.say(&format!("{host} is unwanted"));
        }
    }

    fn place(&mut self) {
        loop {
            let proposals = plan(&self.world, self.now, 3);
            if proposals.is_empty() {
                return;
            }
            let count = proposals.len();
            self.input(Input::Place(proposals));
            let events = self.last_decision.as_ref().map_or(0, |decision| decision.events.len());
            assert_eq!(events, count, "a fresh plan holds");
        }
    }

    fn finish_all(&mut self) {
        for _ in 0..1_000 {
            self.call("");
            self.place();
            let runs: Vec<_> = self
                .world
                .all_workers()
                .flat_map(|worker| worker.runs.keys().map(|run| (*run, worker.id)))
                .collect();
            if runs.is_empty() {
                return;
            }
            for (run, worker) in runs {
                self.report_run("start", run, worker, "");
                self.report_run("finish", run, worker, "");
            }
        }
        panic!("it never ends");
    }

    /// A report about the current run of an instance.
    fn report(&mut self, verb: &str, text: &str) {
        let (key, words) = self.instance(text);
        let Some((run, worker)) = self.current(&key).or_else(|| self.newest(&key)) else {
            panic!("`{text}` was never placed");
        };
        self.report_run(verb, run, worker, &words);
    }

    fn report_run(&mut self, verb: &str, run: RunId, worker: WorkerId, words: &str) {
        let number = || words.parse().expect("a number");
        let text = || format!("{verb} words");
        let outcome = match verb {
            "start" => None,
            "finish" => Some(RunOutcome::Exited { code: 0 }),
            "exit" => Some(RunOutcome::Exited { code: number() }),
            "signal" => Some(RunOutcome::Signalled { signal: number() }),
            "timeout" => Some(RunOutcome::TimedOut),
            "oom" => Some(RunOutcome::OutOfMemory),
            "unable" => Some(RunOutcome::Unable { cause: Cause::Package, message: text() }),
            "broken" => Some(RunOutcome::Infrastructure { cause: Cause::Upload, message: text() }),
            "cancel" => Some(RunOutcome::Cancelled),
            _ => panic!("no command `{verb}`"),
        };
        let (at, detail) = (self.now, String::new());
        let report = match outcome {
            None => RunReport::Started { run, at },
            Some(outcome) => {
                RunReport::Ended { run, started: Some(at), ended: at, outcome, detail }
            }
        };
        let generation = self.world.worker(worker).map_or(Generation(1), |it| it.generation);
        self.input(Input::WorkerReported { worker, generation, reports: vec![report] });
    }

    fn seen(&mut self, verb: &str, text: &str) {
        let (host, words) = text.split_once(' ').unwrap_or((text, ""));
        let going = self.world.all_workers().find(|worker| {
            worker.host_name == host && worker.state == WorkerState::Deleting && verb == "gone"
        });
        let (worker, generation) =
            going.map_or_else(|| self.machine(host), |worker| (worker.id, worker.generation));
        self.seen_of(verb, worker, generation, words);
    }

    fn seen_of(&mut self, verb: &str, worker: WorkerId, generation: Generation, words: &str) {
        self.input(match verb {
            "silent" => Input::WorkerSilent { worker, generation },
            "call" => {
                let (address, holds) = (String::new(), Vec::new());
                Input::WorkerCalled { worker, generation, address, holds, ahead: 0 }
            }
            "unfit" => {
                let seen = Seen::Failed { reason: words.to_owned() };
                Input::WorkerObserved { worker, generation, seen }
            }
            "gone" => Input::WorkerObserved { worker, generation, seen: Seen::Gone },
            _ => {
                let seen = Seen::NoRoom { reason: words.to_owned() };
                Input::WorkerObserved { worker, generation, seen }
            }
        });
    }

    fn wait(&mut self, seconds: u32) {
        self.now = self.now.after(Seconds(seconds));
        self.input(Input::Tick);
        assert!(self.world.next_deadline().is_none_or(|due| due > self.now));
    }

    // Names.

    fn instance(&self, text: &str) -> ((JobId, TaskName, InstanceNo), String) {
        let (place, words) = text.split_once(' ').unwrap_or((text, ""));
        let (job, place) = place.split_once(':').unwrap_or(("J", place));
        let (task, number) = place.split_once('/').expect("task/number");
        let number = InstanceNo(number.parse().expect("a number"));
        ((self.jobs[job], task.parse().expect("a task"), number), words.to_owned())
    }

    fn current(&self, key: &(JobId, TaskName, InstanceNo)) -> Option<(RunId, WorkerId)> {
        match self.world.instance(key.0, &key.1, key.2)? {
            InstanceState::Placed { run, worker, .. }
            | InstanceState::Running { run, worker, .. } => Some((run, worker)),
            _ => None,
        }
    }

    fn newest(&self, key: &(JobId, TaskName, InstanceNo)) -> Option<(RunId, WorkerId)> {
        self.last_run.get(key)?.last().copied()
    }

    /// A machine by host name: the one that stays, if one of that name stays.
    fn machine(&self, host: &str) -> (WorkerId, Generation) {
        let named = self.world.all_workers().filter(|worker| worker.host_name == host);
        let worker = named.max_by_key(|worker| worker.state != WorkerState::Deleting);
        let worker = worker.unwrap_or_else(|| panic!("no machine `{host}`"));
        (worker.id, worker.generation)
    }

    /// A cluster by its name in the script, or an automatic one by its own.
    fn cluster_named(&self, name: &str) -> ClusterId {
        let made = self.clusters.get(name).copied();
        made.unwrap_or_else(|| {
            let accounts = [AccountId(1), AccountId(2)].into_iter();
            let mut all = accounts.flat_map(|account| self.world.clusters_of(account, None));
            let found = all.find(|cluster| cluster.spec.name.as_str() == name);
            found.unwrap_or_else(|| panic!("no cluster `{name}`")).id
        })
    }

    // What is printed.

    fn say(&mut self, text: &str) {
        if !self.quiet {
            self.printed.push_str(text);
            self.printed.push('\n');
        }
    }

    fn say_refusal(&mut self, refusal: &Refusal) {
        self.say(&format!("refused: {refusal}"));
    }

    fn show(&mut self, name: &str) {
        let text = match self.jobs.get(name) {
            Some(job) => self.job_text(name, *job),
            None => self.cluster_text(name),
        };
        self.say(&text);
    }

    fn job_text(&self, name: &str, id: JobId) -> String {
        let Some(job) = self.world.any_job(id) else { return format!("{name} is gone") };
        let mut text = format!("{name} {}", job.state);
        if !job.message.is_empty() {
            text += &format!(" ({})", job.message);
        }
        for (task_name, task) in &job.tasks {
            text += &format!("; {task_name} {}:", task.state);
            for (number, state) in task.instances(InstanceNo(0), None) {
                text += &format!(" {}", self.instance_text(&state));
                let tried = task.attempts(number);
                text += &"'".repeat(tried.retries as usize);
                text += &"~".repeat(tried.put_back as usize);
            }
        }
        text
    }

    fn instance_text(&self, state: &InstanceState) -> String {
        let host = |worker: &WorkerId| {
            self.world.worker(*worker).map_or("?".to_owned(), |worker| worker.host_name.clone())
        };
        match state {
            InstanceState::Placed { worker, .. } => format!("given to {}", host(worker)),
            InstanceState::Running { worker, .. } => format!("runs on {}", host(worker)),
            state => state.name().to_owned(),
        }
    }

    fn cluster_text(&self, name: &str) -> String {
        let accounts = [AccountId(1), AccountId(2)].into_iter();
        let mut all = accounts.flat_map(|account| self.world.clusters_of(account, None));
        let named = self.clusters.get(name).copied();
        let found = all.find(|cluster| match named {
            Some(id) => cluster.id == id,
            None => cluster.spec.name.as_str() == name,
        });
        let Some(cluster) = found else { return format!("{name} is gone") };
        let mut text = format!("{name} {}", if cluster.deleting { "Deleting" } else { "Active" });
        for (group_name, group) in &cluster.groups {
            text += &format!("; {group_name} of {}:", group.desired);
            text += &self.machines_text(cluster.id, group_name);
        }
        text
    }

    fn machines_text(&self, cluster: ClusterId, group: &GroupName) -> String {
        let mut machines: Vec<_> = self
            .world
            .all_workers()
            .filter(|worker| worker.cluster == cluster && worker.group == *group)
            .map(|worker| {
                let hint = match worker.hint.as_str() {
                    "" => String::new(),
                    hint => format!(" ({hint})"),
                };
                format!(" {} {}{hint}", worker.host_name, worker.state.name())
            })
            .collect();
        machines.sort();
        machines.join(",")
    }

    fn show_log(&mut self, name: &str) {
        let id = self.cluster_named(name);
        let cluster = self.world.any_cluster(id).expect("it was found");
        let lines: Vec<_> = cluster
            .log
            .iter()
            .map(|line| {
                let group = line.group.as_ref().map(|group| format!("[{group}]"));
                let worker = line.worker.as_ref().map(|worker| format!("[{worker}]"));
                format!("{}{}{}", group.unwrap_or_default(), worker.unwrap_or_default(), line.text)
            })
            .collect();
        lines.iter().for_each(|line| self.say(line));
    }

    fn show_effects(&mut self) {
        let decision = self.last_decision.clone().expect("something was decided");
        let texts: Vec<_> =
            decision.effects.iter().map(|effect| self.effect_text(effect)).collect();
        self.say(&if texts.is_empty() { "no effects".to_owned() } else { texts.join(", ") });
    }

    fn effect_text(&self, effect: &Effect) -> String {
        let host = |id: WorkerId| {
            self.world.worker(id).map_or("?".to_owned(), |worker| worker.host_name.clone())
        };
        match effect {
            Effect::EnsureWorker(wanted) => {
                let kind = wanted.instance_type.as_ref().map(|kind| format!(" {kind}"));
                let image = wanted.image.as_ref().map(|image| format!(" {image}"));
                format!(
                    "ensure {} {}{}{}",
                    host(wanted.worker),
                    wanted.generation,
                    kind.unwrap_or_default(),
                    image.unwrap_or_default()
                )
            }
            Effect::RemoveWorker { worker, generation } => {
                format!("remove {} {generation}", host(*worker))
            }
            Effect::Notify(notice) => notices::text(notice),
        }
    }

    /// What was printed, with names instead of ids.
    fn readable(&self) -> String {
        let mut text = self.printed.clone();
        for (name, id) in &self.jobs {
            text = text.replace(&id.to_string(), name);
        }
        for (id, host) in &self.hosts {
            text = text.replace(&id.to_string(), host);
        }
        for (name, id) in &self.clusters {
            text = text.replace(&id.to_string(), name);
        }
        for account in [AccountId(1), AccountId(2)] {
            for cluster in self.world.clusters_of(account, None) {
                text = text.replace(&cluster.id.to_string(), cluster.spec.name.as_str());
            }
        }
        text
    }
}

fn by(text: &str) -> (&str, AccountId) {
    match text.rsplit_once(" by ") {
        Some((text, account)) => (text, AccountId(account.parse().expect("a number"))),
        None => (text, AccountId(1)),
    }
}

/// `a*2, b` is a twice and b once.
fn counted(text: &str) -> Vec<(&str, u32)> {
    let read = |item: &str| -> u32 { item.parse().expect("a number") };
    text.split(", ")
        .map(|item| item.split_once('*').map_or((item, 1), |(name, n)| (name, read(n))))
        .collect()
}

fn read_token(words: &str) -> Option<Token> {
    let (text, body) = words.split_once(' ')?;
    Some(Token { text: text.to_owned(), body: body.to_owned() })
}

/// `a*2, b -> c`: c waits for a and b.
fn job_of_stages(name: &str, stages: &str, placement: &Placement) -> JobSpec {
    let stages: Vec<_> = stages.split(" -> ").filter(|it| *it != "nothing").map(counted).collect();
    let name_of = |name: &str| -> TaskName { name.parse().expect("a task name") };
    let tasks = stages.iter().flatten().map(|(name, n)| (name_of(name), a_task(*n, placement)));
    let after = |pair: &[Vec<(&str, u32)>]| -> Vec<_> {
        let later: std::collections::BTreeSet<_> =
            pair[1].iter().map(|(name, _)| name_of(name)).collect();
        pair[0].iter().map(|(name, _)| (name_of(name), later.clone())).collect()
    };
    JobSpec {
        tasks: tasks.collect(),
        dependencies: stages.windows(2).flat_map(after).collect(),
        app: None,
        ..samples::a_job(name)
    }
}

/// `image I, g type T, g price 500, g price goes, env K=V`.
fn read_change(text: &str) -> ClusterChange {
    let mut change = ClusterChange::default();
    for item in text.split(", ") {
        let words: Vec<_> = item.split(' ').collect();
        match words[..] {
            ["image", image] => change.image = Some(image.parse().expect("an image")),
            ["env", pair] => {
                let (key, value) = pair.split_once('=').expect("K=V");
                change.env = Some([(key.to_owned(), value.to_owned())].into());
            }
            [group, what, value] => {
                let group = change.groups.entry(group.parse().expect("a group")).or_default();
                change_group(group, what, value);
            }
            _ => panic!("no change `{item}`"),
        }
    }
    change
}

fn change_group(group: &mut GroupChange, what: &str, value: &str) {
    match what {
        "size" => group.desired = Some(value.parse().expect("a number")),
        "type" => group.instance_type = Some(InstanceTypeName(value.to_owned())),
        "image" => group.image = Some(value.parse().expect("an image")),
        "price" => group.spot = Some(market::spot(value)),
        _ => panic!("no member `{what}`"),
    }
}
