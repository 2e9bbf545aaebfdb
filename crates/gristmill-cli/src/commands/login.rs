//! `login`, `logout`, `config`: what the client remembers.

use super::{End, Outcome, required, text};
use crate::{
    client::{Available, Client},
    grammar::SETTINGS,
    oss_path::OssPath,
    session::Session,
    settings::masked,
    words::{Tell, messages as m, regions},
};
use clap::ArgMatches;
use serde_json::{Map, Value, json};

/// What the official tool sets on login when nothing is set.
const DEFAULTS: [(&str, &str); 2] =
    [("defaultimage", "img-ubuntu"), ("vpc_cidr_block", "192.168.0.0/16")];

/// In the bucket that a Gristmill server makes on its first start.
const OSSPATH_DEFAULT: &str = "oss://gristmill/bcs/";

/// `bcs login <region> [id] [secret]`: checks the key against the service, then remembers it.
pub(super) async fn login(words: &ArgMatches, session: &mut Session) -> Outcome {
    let id = match text(words, "id") {
        Some(id) => id.to_owned(),
        None => session.ask("AccessKey id: ")?.ok_or_else(|| m::KEY_NEEDED.complain([]))?,
    };
    let secret = match text(words, "secret") {
        Some(secret) => secret.to_owned(),
        None => {
            session.ask_secret("AccessKey secret: ")?.ok_or_else(|| m::KEY_NEEDED.complain([]))?
        }
    };
    let settings = &mut session.settings;
    settings.set("region", required(words, "region"));
    settings.set("accesskeyid", &id);
    settings.set("accesskeysecret", &secret);
    for key in ["endpoint", "oss_endpoint", "osspath"] {
        if let Some(value) = text(words, key) {
            settings.set(key, value);
        }
    }
    let client = session.client()?;
    client.ping().await.tell(m::LOGIN_FAILED, "")?;
    remember_types(&client.available().await.unwrap_or_default(), session)?;
    for (key, value) in DEFAULTS {
        if session.settings.get(key).is_none() {
            session.settings.set(key, value);
            session.say(m::DEFAULT_SET, &[("key", key), ("value", value)]);
        }
    }
    propose_osspath(session).await;
    session.settings.save()?;
    check_osspath(session).await;
    let region = required(words, "region");
    if let Some(label) = regions::label_of(region, session.language) {
        session.say(m::REGION_KNOWN, &[("region", region), ("label", label)]);
    }
    session.say(m::LOGIN_DONE, &[]);
    Ok(End::Success)
}

/// On a service of one's own the bucket that it made itself is a good default path, so that the
/// first job needs no more settings.
async fn propose_osspath(session: &mut Session) {
    let settings = &session.settings;
    if settings.get("osspath").is_some() || settings.get("endpoint").is_none() {
        return;
    }
    let (Ok(path), Ok(store)) = (OssPath::parse(OSSPATH_DEFAULT), session.store()) else { return };
    if store.page(&path, Some("/"), "").await.is_ok() {
        session.settings.set("osspath", OSSPATH_DEFAULT);
        session.say(m::DEFAULT_SET, &[("key", "osspath"), ("value", OSSPATH_DEFAULT)]);
    }
}

/// The table of machine types that the official tool reads.
fn remember_types(available: &Available, session: &Session) -> anyhow::Result<()> {
    let lists =
        [&available.available_cluster_instance_type, &available.available_spot_instance_type];
    let types: Map<String, Value> = lists
        .into_iter()
        .flatten()
        .map(|kind| {
            let entry = json!({"name": kind.instance_type, "cpu": kind.cpu_core, "memory": kind.memory_size});
            (kind.instance_type.clone(), entry)
        })
        .collect();
    if types.is_empty() {
        return Ok(());
    }
    let path = session.env.config_dir.join("clicache_ecs_instancetypes.json");
    crate::settings::private_folder(&session.env.config_dir)
        .and_then(|()| std::fs::write(&path, Value::Object(types).to_string()))
        .tell(m::CANNOT_WRITE, path.display())
}

/// A default path that cannot be listed is worth a warning, not a failure: it may be made later.
async fn check_osspath(session: &mut Session) {
    let Ok(path) = session.settings.osspath() else { return };
    let listed = match (session.store(), OssPath::parse(&path)) {
        (Ok(store), Ok(parsed)) => {
            store.page(&parsed, Some("/"), "").await.map(drop).map_err(anyhow::Error::from)
        }
        (Err(error), _) => Err(error),
        (_, Err(complaint)) => Err(complaint.into()),
    };
    if let Err(error) = listed {
        session.say(m::OSSPATH_UNREADABLE, &[("path", &path), ("why", &format!("{error:#}"))]);
    }
}

/// `bcs logout`: forgets everything.
pub(super) fn logout(session: &mut Session) -> Outcome {
    session.settings.clear();
    session.settings.save()?;
    session.say(m::LOGOUT_DONE, &[]);
    Ok(End::Success)
}

/// `bcs config`: shows settings, or changes those that are named.
pub(super) async fn config(words: &ArgMatches, session: &mut Session) -> Outcome {
    let changes: Vec<(&str, &str)> = SETTINGS
        .iter()
        .filter_map(|(option, key)| Some((*key, text(words, option.long)?)))
        .collect();
    if changes.is_empty() {
        return show(session);
    }
    for (key, value) in &changes {
        change(session, key, value)?;
    }
    let names = |key: &str| changes.iter().any(|(changed, _)| *changed == key);
    if names("region") && session.settings.credentials().is_ok() {
        let client: Client = session.client()?;
        client.ping().await.tell(m::LOGIN_FAILED, "")?;
    }
    if let Some((_, wanted)) = changes.iter().find(|(key, _)| *key == "defaulttype") {
        check_type(wanted, session).await?;
    }
    session.settings.save()?;
    if (names("osspath") || names("oss_endpoint")) && session.settings.oss_credentials().is_ok() {
        check_osspath(session).await;
    }
    session.say(m::DONE, &[]);
    Ok(End::Success)
}

/// A machine type must be one the account may use. Removing the setting, or setting it before
/// logging in, asks nobody.
async fn check_type(wanted: &str, session: &Session) -> anyhow::Result<()> {
    if session.settings.get("defaulttype").is_none() || session.settings.credentials().is_err() {
        return Ok(());
    }
    let quotas = session.client()?.quotas().await?;
    let known =
        [quotas.available_cluster_instance_type, quotas.available_spot_instance_type].concat();
    if known.iter().any(|name| name == wanted) {
        return Ok(());
    }
    Err(m::INVALID_TYPE.complain([("type", &wanted)]).into())
}

fn change(session: &mut Session, key: &str, value: &str) -> anyhow::Result<()> {
    let settings = &mut session.settings;
    match key {
        "osspath" if value.starts_with("oss://") => {
            let folder = format!("{}/", value.trim_end_matches('/'));
            OssPath::parse(&folder)?;
            settings.set(key, &folder);
        }
        "locale" if !["en", "zh", "zh_CN", ""].contains(&value) => {
            return Err(m::INVALID_LOCALE.complain([("text", &value)]).into());
        }
        // The key's presence means "no TLS", so `true` removes it and `false` is kept.
        "ssl" if value == "true" => settings.remove(key),
        "ssl" if value == "false" => settings.keep(key, value),
        "osspath"
            if !value.is_empty() && !["null", "None", "false", "False", "0"].contains(&value) =>
        {
            return Err(m::INVALID_OSS_PATH.complain([("path", &value)]).into());
        }
        _ => settings.set(key, value),
    }
    Ok(())
}

fn show(session: &mut Session) -> Outcome {
    for (key, value) in session.settings.entries() {
        let secret = ["accesskeysecret", "oss_key", "securitytoken"].contains(&key.as_str());
        let shown = if secret { masked(&value) } else { value };
        session.out.data(&format!("{key}: {shown}"))?;
    }
    Ok(End::Success)
}
