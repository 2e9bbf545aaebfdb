//! `a ca ua da`: apps (`reference/bcs-cli.md` 7 and 8).

use super::{End, Outcome, required, text};
use crate::{
    caches::Kind,
    client::apps::Scope,
    moment,
    session::Session,
    submit::mapping,
    table,
    words::{Complaint, Tell, messages as m},
};
use clap::ArgMatches;
use serde_json::{Map, Value, json};

/// The settings of an app with the options that give them, and whether they are numbers.
const CONFIG: [(&str, &str, bool); 7] = [
    ("resource_type", "ResourceType", false),
    ("type", "InstanceType", false),
    ("nodes", "InstanceCount", true),
    ("min_disk_size", "MinDiskSize", true),
    ("disk_type", "DiskType", false),
    ("max_retry_count", "MaxRetryCount", true),
    ("timeout", "Timeout", true),
];

/// `bcs a [app] [revision]`.
pub(super) async fn show(words: &ArgMatches, session: &mut Session) -> Outcome {
    let Some(written) = text(words, "app") else { return list(session).await };
    let written = session.caches.resolve(Kind::Apps, written)?;
    let (scope, name) = Scope::of(&written);
    let client = session.client()?;
    let app = match text(words, "revision") {
        Some(revision) => client.get_app_detail(name, revision).await?,
        None => client.get_app(scope, name).await?,
    };
    if words.get_flag("show_json") || words.get_flag("description") {
        session.out.data(&serde_json::to_string_pretty(&app)?)?;
        return Ok(End::Success);
    }
    session.say(m::EXEC, &[("words", &format!("a {written}"))]);
    heading(&app, session)?;
    tables(&app, session)?;
    if scope == Scope::Private && text(words, "revision").is_none() {
        let revisions = client.get_app_revisions(name).await?;
        let row = |it: &Value| vec![it["Revision"].to_string(), local(&it["UpdateTime"], session)];
        let rows: Vec<_> = revisions.iter().map(row).collect();
        let shown = table::table(&["Revision", "UpdateTime"], &rows, session.out.colour);
        session.out.data(&shown)?;
    }
    Ok(End::Success)
}

/// What an app is, line by line; members that are not there are left out.
fn heading(app: &Value, session: &mut Session) -> anyhow::Result<()> {
    let created = local(&app["CreationTime"], session);
    let docker = &app["Docker"];
    for (name, value) in [
        ("Name", cell(&app["Name"])),
        ("Description", cell(&app["Description"])),
        ("CreationTime", created),
        ("CommandLine", cell(&app["CommandLine"])),
        ("Daemonize", cell(&app["Daemonize"])),
        ("ECSImageId", cell(&app["VM"]["ECSImageId"])),
        ("Docker.Image", cell(&docker["Image"])),
        ("Docker.RegistryOSSPath", cell(&docker["RegistryOSSPath"])),
    ] {
        if !value.is_empty() {
            session.out.data(&format!("{name}: {value}"))?;
        }
    }
    for (name, value) in app["EnvVars"].as_object().into_iter().flatten() {
        session.out.data(&format!("EnvVars.{name}: {}", cell(value)))?;
    }
    Ok(())
}

fn tables(app: &Value, session: &mut Session) -> anyhow::Result<()> {
    let members = |member: &str| app[member].as_object().cloned().unwrap_or_default();
    for member in ["InputParameters", "OutputParameters"] {
        let rows: Vec<Vec<String>> = members(member)
            .iter()
            .map(|(name, it)| {
                let required = member == "InputParameters" && it["Default"].is_null();
                let mut row = vec![name.clone(), required.to_string()];
                let rest = ["Default", "Type", "LocalPath", "Description"];
                row.extend(rest.map(|member| cell(&it[member])));
                row
            })
            .collect();
        let header = [member, "Required", "Default", "Type", "LocalPath", "Description"];
        session.out.data(&table::table(&header, &rows, session.out.colour))?;
    }
    let rows: Vec<Vec<String>> = members("Config")
        .iter()
        .map(|(name, it)| {
            let mut row = vec![name.clone()];
            row.extend(["Default", "Overwritable", "Description"].map(|member| cell(&it[member])));
            row
        })
        .collect();
    let header = ["Config", "Default", "Overwritable", "Description"];
    session.out.data(&table::table(&header, &rows, session.out.colour))?;
    Ok(())
}

/// A scalar as text; nothing for what is not there.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn local(time: &Value, session: &Session) -> String {
    match time.as_str() {
        Some(text) => moment::local(moment::parse(text), &(session.env.zone)()),
        None => String::new(),
    }
}

async fn list(session: &mut Session) -> Outcome {
    let client = session.client()?;
    let (mut rows, mut names) = (Vec::new(), Vec::new());
    for scope in [Scope::Public, Scope::Private] {
        for app in client.list_apps(scope).await? {
            let mark = if scope == Scope::Public { ":" } else { "" };
            let name = format!("{mark}{}", cell(&app["Name"]));
            let short: String = cell(&app["Description"]).chars().take(20).collect();
            let created = local(&app["CreationTime"], session);
            rows.push(vec![name.clone(), short, scope.name().to_owned(), created]);
            names.push(name);
        }
    }
    let header = ["Name", "Description", "Scope", "CreationTime"];
    session.out.data(&table::numbered(&header, &rows, session.out.colour))?;
    let count = rows.len().to_string();
    session.say(m::TOTAL, &[("total", &count), ("rows", &count)]);
    session.caches.remember(Kind::Apps, names)?;
    Ok(End::Success)
}

/// `bcs ca <app> <cmd>`.
pub(super) async fn create(words: &ArgMatches, session: &mut Session) -> Outcome {
    let mut app = match text(words, "file") {
        Some(file) => read_json(file, session)?,
        None => json!({}),
    };
    app["Name"] = required(words, "app").into();
    change(words, &mut app)?;
    let has_image = !app["VM"].is_null() || !app["Docker"].is_null();
    if !has_image {
        let image = session.settings.get("defaultimage");
        app["VM"] = json!({"ECSImageId": image.unwrap_or_else(|| "img-ubuntu".to_owned())});
    }
    if words.get_flag("show_json") {
        session.out.data(&serde_json::to_string_pretty(&app)?)?;
        return Ok(End::Success);
    }
    let name = session.client()?.create_app(&app).await?;
    session.say(m::APP_CREATED, &[("app", &name)]);
    session.out.data(&name)?;
    Ok(End::Success)
}

/// `bcs ua <app> [cmd]`: the newest revision with changes becomes the next.
pub(super) async fn update(words: &ArgMatches, session: &mut Session) -> Outcome {
    let written = session.caches.resolve(Kind::Apps, required(words, "app"))?;
    let (_, name) = Scope::of(&written);
    let client = session.client()?;
    let mut app = match text(words, "file") {
        Some(file) => read_json(file, session)?,
        None => client.get_app_detail(name, "").await?,
    };
    app["Name"] = name.into();
    change(words, &mut app)?;
    if words.get_flag("show_json") {
        session.out.data(&serde_json::to_string_pretty(&app)?)?;
        return Ok(End::Success);
    }
    session.confirm(words.get_flag("yes"), m::ASK_UPDATE_APP, &[("app", name)])?;
    client.modify_app(name, &app).await?;
    session.say(m::DONE_WITH, &[("what", name)]);
    Ok(End::Success)
}

/// `bcs da <apps> [revision]`.
pub(super) async fn delete(words: &ArgMatches, session: &mut Session) -> Outcome {
    let god = session.settings.is_god();
    let apps = session.caches.resolve_many(Kind::Apps, required(words, "apps"), god)?;
    let all = apps.join(", ");
    session.confirm(words.get_flag("yes"), m::ASK_DELETE_APP, &[("apps", &all)])?;
    let client = session.client()?;
    for app in &apps {
        client.delete_app(app, text(words, "revision").unwrap_or("")).await?;
        session.say(m::DONE_WITH, &[("what", app)]);
    }
    Ok(End::Success)
}

fn read_json(file: &str, session: &Session) -> anyhow::Result<Value> {
    let path = session.env.path(file);
    let bytes = std::fs::read(&path).tell(m::CANNOT_READ, path.display())?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Puts what the options say into a description.
fn change(words: &ArgMatches, app: &mut Value) -> Result<(), Complaint> {
    for (option, member) in [("cmd", "CommandLine"), ("description", "Description")] {
        if let Some(written) = text(words, option) {
            app[member] = written.into();
        }
    }
    if let Some(image) = text(words, "image") {
        app["VM"] = json!({"ECSImageId": image});
        remove(app, "Docker");
    }
    if let Some(written) = text(words, "docker") {
        let variables = mapping::docker(written)?;
        let of = |name: &str| variables.get(name).cloned().unwrap_or_default();
        app["Docker"] = json!({"Image": of("BATCH_COMPUTE_DOCKER_IMAGE"),
            "RegistryOSSPath": of("BATCH_COMPUTE_DOCKER_REGISTRY_OSS_PATH")});
        remove(app, "VM");
    }
    if let Some(written) = text(words, "env") {
        app["EnvVars"] = json!(mapping::pairs(written));
    }
    if words.get_flag("daemonize") {
        app["Daemonize"] = true.into();
    }
    for (option, member) in [("inputs", "InputParameters"), ("outputs", "OutputParameters")] {
        if let Some(written) = text(words, option) {
            app[member] = parameters(written)?;
        }
    }
    for (option, member, is_number) in CONFIG {
        if let Some(written) = text(words, option) {
            app["Config"][member] = setting(option, written, is_number)?;
        }
    }
    Ok(())
}

fn remove(app: &mut Value, member: &str) {
    if let Some(members) = app.as_object_mut() {
        members.remove(member);
    }
}

/// `default[:overwritable[:description]]`. Unlike in the official tool `false` means false, and
/// what says nothing may be overridden, as the service has it.
fn setting(option: &'static str, written: &str, is_number: bool) -> Result<Value, Complaint> {
    let mut parts = written.splitn(3, ':');
    let default = parts.next().unwrap_or_default();
    let mut setting = Map::new();
    let value = match is_number {
        true => {
            let complaint = |_| m::NOT_A_COUNT.complain([("option", &option), ("text", &default)]);
            default.parse::<u32>().map_err(complaint)?.into()
        }
        false => default.into(),
    };
    setting.insert("Default".into(), value);
    if let Some(overwritable) = parts.next().filter(|text| !text.is_empty()) {
        let no = ["false", "no", "off", "0"].contains(&overwritable.to_ascii_lowercase().as_str());
        setting.insert("Overwritable".into(), (!no).into());
    }
    if let Some(description) = parts.next() {
        setting.insert("Description".into(), description.into());
    }
    Ok(setting.into())
}

/// `name[:type[:localpath[:description[:default]]]],…`
fn parameters(written: &str) -> Result<Value, Complaint> {
    let mut all = Map::new();
    for item in mapping::list(written) {
        let mut parts = item.splitn(5, ':');
        let name = parts.next().unwrap_or_default().to_owned();
        let kind = parts.next().filter(|kind| !kind.is_empty()).unwrap_or("String").to_owned();
        let mut parameter = json!({"Type": kind, "LocalPath": parts.next().unwrap_or("")});
        parameter["Description"] = parts.next().unwrap_or("").into();
        if let Some(default) = parts.next() {
            let complaint = |_| m::NOT_NUMERIC.complain([("name", &name), ("text", &default)]);
            parameter["Default"] = match kind.as_str() {
                "Number" => serde_json::from_str(default).map_err(complaint)?,
                _ => default.into(),
            };
        }
        all.insert(name, parameter);
    }
    Ok(all.into())
}
