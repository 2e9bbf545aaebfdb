//! `asub`: a job made from an app (`reference/bcs-cli.md` 12).
//!
//! The app's parameters are options: `--input_NAME VALUE`, `--input_from_file_NAME FILE`,
//! `--output_NAME VALUE`. They are not known before the app was looked up, so [`gathered`] turns
//! them into values of one hidden option before the words are read.

use super::{End, Outcome, required, text};
use crate::{
    client::{Client, ClientError, apps::Scope},
    oss_path::OssPath,
    progress::Bar,
    session::Session,
    submit::mapping,
    words::{Tell, messages as m},
};
use clap::ArgMatches;
use serde_json::{Map, Value, json};

/// The hidden option that holds what was gathered.
pub const PARAMETER: &str = "parameter";

const INPUT: &str = "--input_";
const INPUT_FROM_FILE: &str = "--input_from_file_";
const OUTPUT: &str = "--output_";

/// The words of a command line with options of parameters gathered, if it is an `asub`.
pub fn gathered(args: Vec<String>) -> Vec<String> {
    if args.first().map(String::as_str) != Some("asub") {
        return args;
    }
    let mut words = Vec::new();
    let mut rest = args.into_iter();
    while let Some(word) = rest.next() {
        let is_one = [INPUT, OUTPUT].iter().any(|prefix| word.starts_with(prefix));
        if !is_one {
            words.push(word);
            continue;
        }
        let parameter = match word.contains('=') {
            true => word,
            false => format!("{word}={}", rest.next().unwrap_or_default()),
        };
        words.push(format!("--{PARAMETER}={parameter}"));
    }
    words
}

/// `bcs asub <app> [job_name]`.
pub(super) async fn submit(words: &ArgMatches, session: &mut Session) -> Outcome {
    let client = session.client()?;
    let (name, app) = find(&client, required(words, "app")).await?;
    let folder = format!("{}{}/", session.settings.osspath()?, (session.env.fresh_id)());
    let is_dry = words.get_flag("show_json");
    let (mut inputs, mut outputs) = (Map::new(), Map::new());
    for parameter in words.get_many::<String>(PARAMETER).into_iter().flatten() {
        let (option, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if let Some(key) = option.strip_prefix(INPUT_FROM_FILE) {
            known(&app, "InputParameters", key)?;
            inputs.insert(key.into(), sent(&folder, value, is_dry, session).await?.into());
        } else if let Some(key) = option.strip_prefix(INPUT) {
            known(&app, "InputParameters", key)?;
            inputs.insert(key.into(), value.into());
        } else if let Some(key) = option.strip_prefix(OUTPUT) {
            known(&app, "OutputParameters", key)?;
            outputs.insert(key.into(), value.into());
        }
    }
    let logs = format!("{folder}logs/");
    let job = json!({
        "Name": text(words, "job_name").unwrap_or("app-job"),
        "Description": text(words, "description").unwrap_or("BatchCompute cli job"),
        "Type": "App",
        "App": {
            "AppName": name,
            "Inputs": inputs,
            "Outputs": outputs,
            "Logging": {"StdoutPath": logs, "StderrPath": logs},
            "Config": config(words)?,
        },
    });
    if is_dry {
        session.out.data(&serde_json::to_string_pretty(&job)?)?;
        return Ok(End::Success);
    }
    let id = client.create_job(&job).await?;
    session.say(m::JOB_CREATED, &[("job", &id)]);
    session.out.data(&id)?;
    Ok(End::Success)
}

/// Looks the app up where its name says, then in the other scope; the name as a job must have it.
async fn find(client: &Client, written: &str) -> anyhow::Result<(String, Value)> {
    let (scope, name) = Scope::of(written);
    let other = if scope == Scope::Private { Scope::Public } else { Scope::Private };
    for scope in [scope, other] {
        match client.get_app(scope, name).await {
            Ok(app) if scope == Scope::Public => return Ok((format!(":{name}"), app)),
            Ok(app) => return Ok((name.to_owned(), app)),
            Err(ClientError::Refused { status: 404, .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(m::NO_APP.complain([("app", &written)]).into())
}

fn known(app: &Value, member: &str, key: &str) -> anyhow::Result<()> {
    let parameters = app[member].as_object().cloned().unwrap_or_default();
    if parameters.contains_key(key) {
        return Ok(());
    }
    let names: Vec<_> = parameters.keys().cloned().collect();
    Err(m::NO_PARAMETER.complain([("name", &key), ("names", &names.join(", ").as_str())]).into())
}

/// Uploads a file below the job's folder; where it is then.
async fn sent(
    folder: &str,
    file: &str,
    is_dry: bool,
    session: &mut Session,
) -> anyhow::Result<String> {
    let path = session.env.path(file);
    let size = std::fs::metadata(&path).tell(m::CANNOT_READ, path.display())?.len();
    let base = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let to = OssPath::parse(&format!("{folder}input/{}", base.unwrap_or_default()))?;
    if !is_dry {
        let bar = Bar::bytes(file, size, session.out.bars);
        let uploaded = session.store()?.upload(&path, &to, None, &bar).await;
        bar.clear();
        uploaded.tell(m::CANNOT_UPLOAD, &to)?;
        session.say(m::UPLOADED, &[("from", file), ("to", &to.to_string())]);
    }
    Ok(to.to_string())
}

/// `App.Config`: what the options say, and `--config k=v,k:v` for the rest.
fn config(words: &ArgMatches) -> anyhow::Result<Value> {
    let mut config = Map::new();
    for item in mapping::list(text(words, "config").unwrap_or("")) {
        let (key, value) = item.split_once(['=', ':']).unwrap_or((&item, ""));
        let value = match value {
            "true" => true.into(),
            "false" => false.into(),
            value => value.into(),
        };
        config.insert(key.to_owned(), value);
    }
    for (option, member) in [
        ("resource_type", "ResourceType"),
        ("type", "InstanceType"),
        ("disk_type", "DiskType"),
        ("cluster", "ClusterId"),
    ] {
        if let Some(value) = text(words, option) {
            config.insert(member.into(), value.into());
        }
    }
    for (option, member) in [
        ("nodes", "InstanceCount"),
        ("min_disk_size", "MinDiskSize"),
        ("max_retry_count", "MaxRetryCount"),
        ("timeout", "Timeout"),
    ] {
        if let Some(value) = super::number::<u32>(words, option)? {
            config.insert(member.into(), value.into());
        }
    }
    Ok(config.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_gathered_wherever_they_stand() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (line, wanted) in [
            ("asub copy -n 2", "asub copy -n 2"),
            (
                "asub --input_a 1 copy --output_b=x=y",
                "asub --parameter=--input_a=1 copy --parameter=--output_b=x=y",
            ),
            (
                "asub copy --input_from_file_a f.txt",
                "asub copy --parameter=--input_from_file_a=f.txt",
            ),
            ("asub copy --input_a", "asub copy --parameter=--input_a="),
            ("sub copy --input_a 1", "sub copy --input_a 1"),
        ] {
            assert_eq!(gathered(words(line)), words(wanted), "{line}");
        }
    }
}
