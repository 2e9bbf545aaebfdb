//! `bcs sub` and `bcs cj`: packs, uploads, submits.

use super::{End, Outcome, jobs, text};
use crate::{
    dag,
    grammar::SUBMIT,
    oss_path::OssPath,
    progress::Bar,
    session::Session,
    submit::{Defaults, Options, Package, Plan, Written, describe, job_cfg::JobCfg, pack::pack},
    words::{Tell, messages as m},
};
use clap::ArgMatches;
use serde_json::Value;

/// `bcs sub <cmd> [job_name] [options]`.
pub(super) async fn submit(words: &ArgMatches, session: &mut Session) -> Outcome {
    let options = options(words, session)?;
    let plan = describe(&options)?;
    if words.get_flag("show_dag") {
        return show_dag(&plan, session);
    }
    if words.get_flag("show_json") {
        session.out.data(&to_json(&plan.description))?;
        return Ok(End::Success);
    }
    for package in &plan.packages {
        upload(package, session).await?;
    }
    create_and_tell(&plan.description, words.get_flag("watch"), session).await
}

/// `bcs cj [json]`: a description as it is.
pub(super) async fn create(words: &ArgMatches, session: &mut Session) -> Outcome {
    let written = match (text(words, "json"), text(words, "filePath")) {
        (_, Some(file)) => read(file, session)?,
        (Some(json), None) => json.as_bytes().to_vec(),
        (None, None) => return Err(m::NO_DESCRIPTION.complain([]).into()),
    };
    let description: Value = serde_json::from_slice(&written)
        .map_err(|error| m::NOT_JSON.complain([("why", &error)]))?;
    create_and_tell(&description, false, session).await
}

async fn create_and_tell(description: &Value, watch: bool, session: &mut Session) -> Outcome {
    let client = session.client()?;
    let job = client.create_job(description).await?;
    session.say(m::JOB_CREATED, &[("job", &job)]);
    session.out.data(&job)?;
    if !watch {
        return Ok(End::Success);
    }
    jobs::watch(&client, &job, Some(description), session).await
}

/// What the words, the file and the settings say together.
fn options(words: &ArgMatches, session: &Session) -> anyhow::Result<Options> {
    let mut written = Written::default();
    for option in SUBMIT {
        if option.value.is_none() {
            if words.get_flag(option.long) {
                written.set(option.long, "true");
            }
        } else if let Some(value) = text(words, option.long) {
            written.set(option.long, value);
        }
    }
    for argument in ["cmd", "job_name"] {
        if let Some(value) = text(words, argument) {
            written.set(argument, value);
        }
    }
    let job_cfg = match text(words, "file") {
        None => None,
        Some(file) => {
            let known: Vec<&str> = SUBMIT.iter().map(|option| option.long).collect();
            Some(JobCfg::parse(&read(file, session)?, &known)?)
        }
    };
    let settings = &session.settings;
    let defaults = Defaults {
        osspath: settings.osspath()?,
        run_folder: (session.env.fresh_id)(),
        image: settings.get("defaultimage"),
        instance_type: settings.get("defaulttype"),
        vpc_cidr_block: settings.get("vpc_cidr_block"),
    };
    Ok(Options { written, job_cfg, defaults })
}

fn read(file: &str, session: &Session) -> anyhow::Result<Vec<u8>> {
    let path = session.env.path(file);
    std::fs::read(&path).tell(m::CANNOT_READ, path.display())
}

/// As the official tool prints it: four spaces per level.
fn to_json(value: &Value) -> String {
    use serde::Serialize;
    let mut bytes = Vec::new();
    let format = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, format);
    value.serialize(&mut writer).expect("a value is always JSON");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

fn show_dag(plan: &Plan, session: &mut Session) -> Outcome {
    let dag = &plan.description["DAG"];
    let names: Vec<String> =
        dag["Tasks"].as_object().into_iter().flat_map(|tasks| tasks.keys().cloned()).collect();
    let after = serde_json::from_value(dag["Dependencies"].clone()).unwrap_or_default();
    for line in dag::picture(&names, &after) {
        session.out.data(&line)?;
    }
    Ok(End::Success)
}

async fn upload(package: &Package, session: &mut Session) -> anyhow::Result<()> {
    session.say(m::PACKING, &[("what", &package.text)]);
    let (text, directory) = (package.text.clone(), session.env.directory.clone());
    let packed = tokio::task::spawn_blocking(move || pack(&text, &directory, |_| ())).await??;
    let size =
        packed.file.as_file().metadata().tell(m::CANNOT_READ, session.word(m::ARCHIVE))?.len();
    let counts = [("files", packed.files.to_string()), ("bytes", size.to_string())];
    session.say(m::PACKED, &[("files", &counts[0].1), ("bytes", &counts[1].1)]);
    let bar = Bar::bytes("worker.tar.gz", size, session.out.bars);
    let to = OssPath::parse(&package.object)?;
    let sent =
        session.store()?.upload(packed.file.path(), &to, Some("application/x-tar"), &bar).await;
    bar.clear();
    sent.tell(m::CANNOT_UPLOAD, &to)?;
    session.say(m::UPLOADED, &[("from", "worker.tar.gz"), ("to", &package.object)]);
    Ok(())
}
