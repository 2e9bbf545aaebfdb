//! `c cc dc uc`: clusters, as far as jobs need them.

use super::{End, Outcome, number, required, text};
use crate::{
    caches::Kind,
    grammar::CLUSTER,
    moment,
    session::Session,
    submit::{
        Layers, Written, mapping,
        task::{spot, vpc},
    },
    table,
    words::messages as m,
};
use clap::ArgMatches;
use serde_json::{Map, Value, json};

/// The name of the one group that `cc` makes.
const GROUP: &str = "group";

/// `bcs c [cluster] [group] [machine]`.
pub(super) async fn show(words: &ArgMatches, session: &mut Session) -> Outcome {
    let client = session.client()?;
    let Some(written) = text(words, "cluster") else { return list(session).await };
    let id = session.caches.resolve(Kind::Clusters, written)?;
    if words.get_flag("show_json") || words.get_flag("description") {
        let answer = client.get_raw(&["clusters", &id]).await?;
        session.out.data(&serde_json::to_string_pretty(&answer)?)?;
        return Ok(End::Success);
    }
    if let Some(group) = text(words, "group") {
        let group = session.caches.resolve(Kind::Groups, group)?;
        let Some(machine) = text(words, "machine") else {
            return machines(&id, &group, session).await;
        };
        let machine = session.caches.resolve(Kind::Machines, machine)?;
        return match words.get_flag("bootstrap_log") {
            true => bootstrap_log([&id, &group, &machine], session).await,
            false => machine_of([&id, &group, &machine], session).await,
        };
    }
    let cluster = client.get_cluster(&id).await?;
    session.say(m::EXEC, &[("words", &format!("c {id}"))]);
    let created = moment::local(cluster.creation_time, &(session.env.zone)());
    for (name, value) in [
        ("Id", &cluster.id),
        ("Name", &cluster.name),
        ("State", &cluster.state),
        ("ImageId", &cluster.image_id),
        ("Created", &created),
    ] {
        session.out.data(&format!("{name}: {value}"))?;
    }
    let rows: Vec<Vec<String>> = cluster
        .groups
        .iter()
        .map(|(name, group)| {
            let count = format!("{} / {}", group.actual, group.desired);
            vec![name.clone(), count, group.instance_type.clone(), group.resource_type.clone()]
        })
        .collect();
    let header = ["Name", "VMCount", "InstanceType", "ResourceType"];
    session.out.data(&table::numbered(&header, &rows, session.out.colour))?;
    if words.get_flag("log") {
        for line in &cluster.operation_logs {
            session.out.data(line)?;
        }
    }
    session.caches.remember(Kind::Groups, cluster.groups.into_keys().collect())?;
    Ok(End::Success)
}

async fn list(session: &mut Session) -> Outcome {
    let mut clusters = session.client()?.list_clusters().await?;
    clusters.sort_by_key(|cluster| {
        std::cmp::Reverse((cluster.state == "Deleting", cluster.creation_time, cluster.id.clone()))
    });
    let rows: Vec<Vec<String>> = clusters
        .iter()
        .map(|cluster| {
            let created = moment::local(cluster.creation_time, &(session.env.zone)());
            vec![
                cluster.id.clone(),
                cluster.name.clone(),
                cluster.state.clone(),
                cluster.counts(),
                created,
            ]
        })
        .collect();
    let header = ["Id", "Name", "State", "Counts", "CreationTime"];
    session.out.data(&table::numbered(&header, &rows, session.out.colour))?;
    let count = rows.len().to_string();
    session.say(m::TOTAL, &[("total", &count), ("rows", &count)]);
    session
        .caches
        .remember(Kind::Clusters, clusters.into_iter().map(|cluster| cluster.id).collect())?;
    Ok(End::Success)
}

async fn machine_of([cluster, group, machine]: [&str; 3], session: &mut Session) -> Outcome {
    let machine = session.client()?.get_machine(cluster, group, machine).await?;
    let created = moment::local(machine.creation_time, &(session.env.zone)());
    let code = machine.error_code.to_string();
    for (name, value) in [
        ("Id", &machine.id),
        ("HostName", &machine.host_name),
        ("IpAddress", &machine.ip_address),
        ("State", &machine.state),
        ("CreationTime", &created),
        ("Hint", &machine.hint),
        ("ErrorCode", &code),
        ("ErrorMessage", &machine.error_message),
    ] {
        session.out.data(&format!("{name}: {value}"))?;
    }
    Ok(End::Success)
}

/// Everything that is there now.
async fn bootstrap_log([cluster, group, machine]: [&str; 3], session: &mut Session) -> Outcome {
    let (client, mut offset) = (session.client()?, 0);
    loop {
        let chunk = client.read_bootstrap_log(cluster, group, machine, offset).await?;
        session.out.raw(&chunk.bytes)?;
        if chunk.is_end || chunk.bytes.is_empty() {
            return Ok(End::Success);
        }
        offset = chunk.next_offset;
    }
}

async fn machines(cluster: &str, group: &str, session: &mut Session) -> Outcome {
    let machines = session.client()?.list_machines(cluster, group).await?;
    session.say(m::EXEC, &[("words", &format!("c {cluster} {group}"))]);
    let ids = machines.iter().map(|machine| machine.id.clone()).collect();
    let rows: Vec<Vec<String>> = machines
        .into_iter()
        .map(|machine| {
            let created = moment::local(machine.creation_time, &(session.env.zone)());
            vec![machine.id, machine.host_name, machine.ip_address, machine.state, created]
        })
        .collect();
    let header = ["Id", "HostName", "IpAddress", "State", "CreationTime"];
    session.out.data(&table::numbered(&header, &rows, session.out.colour))?;
    session.caches.remember(Kind::Machines, ids)?;
    Ok(End::Success)
}

/// `bcs cc <name>`.
pub(super) async fn create(words: &ArgMatches, session: &mut Session) -> Outcome {
    let mut written = Written::default();
    for option in CLUSTER.iter().filter(|option| option.value.is_some()) {
        if let Some(value) = text(words, option.long) {
            written.set(option.long, value);
        }
    }
    let settings = &session.settings;
    let default = |option: &str, key: &str| {
        written.get(option).map(str::to_owned).or_else(|| settings.get(key))
    };
    let image = default("image", "defaultimage").unwrap_or_else(|| "img-ubuntu".to_owned());
    let instance_type = default("type", "defaulttype").unwrap_or_default();
    let cidr = settings.get("vpc_cidr_block");
    let body = describe(
        required(words, "name"),
        &image,
        &instance_type,
        cidr.as_deref(),
        &Layers(vec![&written]),
    )?;
    if words.get_flag("show_json") {
        session.out.data(&serde_json::to_string_pretty(&body)?)?;
        return Ok(End::Success);
    }
    let id = session.client()?.create_cluster(&body).await?;
    session.say(m::CLUSTER_CREATED, &[("cluster", &id)]);
    session.out.data(&id)?;
    Ok(End::Success)
}

fn describe(
    name: &str,
    image: &str,
    instance_type: &str,
    cidr: Option<&str>,
    layers: &Layers,
) -> anyhow::Result<Value> {
    let mut group = Map::new();
    group.insert("DesiredVMCount".into(), layers.number("nodes", 0..=65_536, 1)?.into());
    group.insert("InstanceType".into(), instance_type.into());
    spot(layers, &mut group)?;
    let mounts: Vec<Value> = match layers.get("mount") {
        Some(text) => mapping::mounts(text)?.iter().map(mapping::Mount::entry).collect(),
        None => Vec::new(),
    };
    let mut configs = Map::from_iter([("Mounts".to_owned(), json!({"Entries": mounts}))]);
    if let Some(text) = layers.get("disk") {
        configs.insert("Disks".into(), mapping::disks(text)?);
    }
    if let Some(vpc) = vpc(layers, cidr)? {
        configs.insert("Networks".into(), json!({"VPC": vpc}));
    }
    Ok(json!({
        "Name": name,
        "Description": layers.get("description").unwrap_or(""),
        "ImageId": image,
        "InstanceType": instance_type,
        "Groups": {GROUP: group},
        "UserData": mapping::pairs(layers.get("user_data").unwrap_or("")),
        "EnvVars": mapping::pairs(layers.get("env").unwrap_or("")),
        "Configs": configs,
        "Notification": {"Topic": {}},
    }))
}

/// `bcs dc <ids>`.
pub(super) async fn delete(words: &ArgMatches, session: &mut Session) -> Outcome {
    let god = session.settings.is_god();
    let ids = session.caches.resolve_many(Kind::Clusters, required(words, "clusters"), god)?;
    session.confirm(
        words.get_flag("yes"),
        m::ASK_DELETE_CLUSTER,
        &[("clusters", &ids.join(", "))],
    )?;
    let client = session.client()?;
    for id in &ids {
        client.delete_cluster(id).await?;
        session.say(m::DONE_WITH, &[("what", id)]);
    }
    Ok(End::Success)
}

/// `bcs uc <id> [group] -n N`.
pub(super) async fn update(words: &ArgMatches, session: &mut Session) -> Outcome {
    let god = session.settings.is_god();
    let ids = session.caches.resolve_many(Kind::Clusters, required(words, "cluster"), god)?;
    let mut group = Map::new();
    if let Some(count) = number::<u32>(words, "nodes")? {
        group.insert("DesiredVMCount".into(), count.into());
    }
    if let Some(name) = text(words, "type") {
        group.insert("InstanceType".into(), name.into());
    }
    if let Some(price) = text(words, "spot_price_limit") {
        let limits =
            Written::default().with("resource_type", "Spot").with("spot_price_limit", price);
        spot(&Layers(vec![&limits]), &mut group)?;
        group.remove("ResourceType");
    }
    let mut change = Map::from_iter([(
        "Groups".to_owned(),
        json!({text(words, "group").unwrap_or(GROUP): group}),
    )]);
    if let Some(image) = text(words, "image") {
        change.insert("ImageId".into(), image.into());
    }
    if let Some(mounts) = text(words, "mount") {
        let entries: Vec<Value> =
            mapping::mounts(mounts)?.iter().map(mapping::Mount::entry).collect();
        change.insert("Configs".into(), json!({"Mounts": {"Entries": entries}}));
    }
    for (option, member) in [("user_data", "UserData"), ("env", "EnvVars")] {
        if let Some(pairs) = text(words, option) {
            change.insert(member.into(), json!(mapping::pairs(pairs)));
        }
    }
    let change = Value::Object(change);
    if words.get_flag("show_json") {
        session.out.data(&serde_json::to_string_pretty(&change)?)?;
        return Ok(End::Success);
    }
    session.confirm(
        words.get_flag("yes"),
        m::ASK_UPDATE_CLUSTER,
        &[("clusters", &ids.join(", "))],
    )?;
    let client = session.client()?;
    for id in &ids {
        client.modify_cluster(id, &change).await?;
        session.say(m::DONE_WITH, &[("what", id)]);
    }
    Ok(End::Success)
}
