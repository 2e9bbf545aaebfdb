//! `qsub qstat qdel qhost`: jobs in the manner of PBS.

use super::{End, Outcome, required, text};
use crate::{
    client::{Client, Job},
    moment,
    oss_path::OssPath,
    progress::Bar,
    qsub::{self, Place, Surroundings, WRAPPER, Wishes, resources::Resources},
    session::Session,
    submit::pack::archive,
    table,
    words::{Tell, messages as m},
};
use clap::ArgMatches;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Options that wishes are made of, with their letters in PBS.
const WISHES: [(&str, &str); 6] = [
    ("work_path", "d"),
    ("stderr_path", "e"),
    ("join", "j"),
    ("resource_list", "l"),
    ("job_name", "N"),
    ("stdout_path", "o"),
];

/// `bcs qsub [options] <script>`.
pub(super) async fn submit(words: &ArgMatches, session: &mut Session) -> Outcome {
    let file = session.env.path(required(words, "script"));
    let script = std::fs::read_to_string(&file).tell(m::CANNOT_READ, file.display())?;
    let wishes = wishes(words, &script)?;
    let name = file.file_name().map_or_else(String::new, |it| it.to_string_lossy().into_owned());
    let place = Place::of(&wishes, &name, &session.env.directory.to_string_lossy());
    if words.get_flag("show_opt") {
        session.out.data(&format!("{:#}", wishes.shown(&place)))?;
        return Ok(End::Success);
    }
    let settings = &session.settings;
    let variable = |name: &str| session.env.variables.get(name).cloned().unwrap_or_default();
    let instance_type = match wishes.resources.asks_for_a_size() {
        true => fitting_type(&session.client()?, &wishes.resources).await?,
        false => settings.get("defaulttype").unwrap_or_default(),
    };
    let user = settings.get("qsubuser").unwrap_or_else(|| "root".to_owned());
    let image = settings.get("defaultimage").unwrap_or_else(|| "img-ubuntu".to_owned());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let around = Surroundings {
        user: &user,
        description: json!({"type": "qsub", "host": host, "user": variable("USER")}),
        run_folder: format!("{}{}/", settings.osspath()?, (session.env.fresh_id)()),
        image: &image,
        instance_type: &instance_type,
    };
    let job = qsub::describe(&wishes, &place, &around);
    if words.get_flag("show_json") {
        session.out.data(&format!("{job:#}"))?;
        return Ok(End::Success);
    }
    let wrapper = qsub::wrapper(&wishes, &place, &session.env.variables);
    upload(&wrapper, &file, &name, &around.run_folder, session).await?;
    let id = session.client()?.create_job(&job).await?;
    session.out.data(&qsub::number_of(&id))?;
    Ok(End::Success)
}

fn wishes(words: &ArgMatches, script: &str) -> anyhow::Result<Wishes> {
    let mut wishes = Wishes::of(script)?;
    for (option, letter) in WISHES {
        if let Some(value) = text(words, option) {
            wishes.take(letter, value)?;
        }
    }
    if words.get_flag("env") {
        wishes.take("V", "")?;
    }
    Ok(wishes)
}

/// The smallest type that has what is asked for.
async fn fitting_type(client: &Client, wanted: &Resources) -> anyhow::Result<String> {
    let (quotas, available) = (client.quotas().await?, client.available().await?);
    let mut kinds = available.available_cluster_instance_type;
    kinds.retain(|kind| {
        wanted.fit(kind.cpu_core as f64, kind.memory_size)
            && quotas.available_cluster_instance_type.contains(&kind.instance_type)
    });
    let smallest = kinds.into_iter().min_by(|one, two| {
        let size = |core: u64, memory: f64| (core as f64, memory);
        let sizes = (size(one.cpu_core, one.memory_size), size(two.cpu_core, two.memory_size));
        sizes.0.partial_cmp(&sizes.1).unwrap_or(std::cmp::Ordering::Equal)
    });
    Ok(smallest.ok_or_else(|| m::NO_FITTING_TYPE.complain([]))?.instance_type)
}

async fn upload(
    wrapper: &str,
    script: &Path,
    name: &str,
    run_folder: &str,
    session: &mut Session,
) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().tell(m::CANNOT_WRITE, WRAPPER)?;
    let wrapper_file = folder.path().join(WRAPPER);
    std::fs::write(&wrapper_file, wrapper).tell(m::CANNOT_WRITE, WRAPPER)?;
    let entries: [(String, PathBuf); 2] =
        [(WRAPPER.to_owned(), wrapper_file), (name.to_owned(), script.to_owned())];
    let packed = tokio::task::spawn_blocking(move || archive(&entries, |_| ())).await??;
    drop(folder);
    let to = OssPath::parse(&format!("{run_folder}worker.tar.gz"))?;
    let size = packed.file.as_file().metadata().tell(m::CANNOT_READ, name)?.len();
    let bar = Bar::bytes("worker.tar.gz", size, session.out.bars);
    let store = session.store()?;
    let sent = store.upload(packed.file.path(), &to, Some("application/x-tar"), &bar).await;
    bar.clear();
    sent.tell(m::CANNOT_UPLOAD, &to).map(drop)
}

/// `bcs qstat`.
pub(super) async fn status(words: &ArgMatches, session: &mut Session) -> Outcome {
    if let Some(written) = text(words, "for_job_id").or_else(|| text(words, "job_id")) {
        return show_one(written, session).await;
    }
    let mut states: Vec<&str> = Vec::new();
    for (flag, state) in [("waiting", "Waiting"), ("running", "Running")] {
        if words.get_flag(flag) {
            states.push(state);
        }
    }
    if states.is_empty() {
        states = vec!["Waiting", "Running"];
    }
    let users: Vec<&str> =
        text(words, "user_list").into_iter().flat_map(|it| it.split(',')).collect();
    let jobs = session.client()?.list_jobs().await?;
    let wanted = |job: &&Job| {
        let owner = qsub::owner_and_name(&job.name).map(|(owner, _)| owner);
        owner.is_some_and(|owner| users.is_empty() || users.contains(&owner))
            && (words.get_flag("all") || states.contains(&job.state.as_str()))
    };
    let rows: Vec<Vec<String>> = jobs.iter().filter(wanted).map(|job| row(job, session)).collect();
    let header = ["job-Id", "name", "state", "owner", "submit at", "start at", "end at"];
    session.out.data(&table::table(&header, &rows, false))?;
    Ok(End::Success)
}

fn row(job: &Job, session: &Session) -> Vec<String> {
    let (owner, name) = qsub::owner_and_name(&job.name).unwrap_or(("root", &job.name));
    let time = |at| moment::local(at, &(session.env.zone)());
    vec![
        qsub::number_of(&job.id),
        name.to_owned(),
        letter(&job.state).to_owned(),
        owner.to_owned(),
        time(job.creation_time),
        time(job.start_time),
        time(job.end_time),
    ]
}

/// As PBS shows a state.
fn letter(state: &str) -> &str {
    match state {
        "Running" => "R",
        "Finished" => "C",
        "Waiting" => "W",
        "Failed" => "F",
        "Stopped" => "S",
        other => other,
    }
}

fn id(written: &str) -> anyhow::Result<String> {
    Ok(qsub::job_of(written).ok_or_else(|| m::INVALID_ID.complain([("id", &written)]))?)
}

async fn show_one(written: &str, session: &mut Session) -> Outcome {
    let job = session.client()?.get_job(&id(written)?).await?;
    session.out.data(&format!("Job Id: {}", job.id))?;
    let time = |at| moment::local(at, &(session.env.zone)());
    for (member, value) in [
        ("Name", job.name.clone()),
        ("State", job.state.clone()),
        ("Message", job.message.clone()),
        ("CreationTime", time(job.creation_time)),
        ("StartTime", time(job.start_time)),
        ("EndTime", time(job.end_time)),
    ] {
        session.out.data(&format!("{member}={value}"))?;
    }
    Ok(End::Success)
}

/// `bcs qdel <job>`: stops first; a job that has already ended is fine.
pub(super) async fn delete(words: &ArgMatches, session: &mut Session) -> Outcome {
    let job = id(required(words, "job"))?;
    super::act::delete(&session.client()?, &job).await?;
    session.say(m::DONE, &[]);
    Ok(End::Success)
}

/// `bcs qhost`: the machines of one's clusters.
pub(super) async fn hosts(session: &mut Session) -> Outcome {
    let client = session.client()?;
    let mut rows = Vec::new();
    for cluster in client.list_clusters().await? {
        for group in cluster.groups.keys() {
            for machine in client.list_machines(&cluster.id, group).await? {
                let place = format!("{}/{group}", cluster.id);
                rows.push(vec![machine.host_name, machine.ip_address, machine.state, place]);
            }
        }
    }
    session.out.data(&table::table(&["HostName", "IpAddress", "State", "Group"], &rows, false))?;
    Ok(End::Success)
}
