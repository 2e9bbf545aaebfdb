//! `it r d e` and `completion`: what there is to choose from.

use super::{End, Outcome, required};
use crate::{client::MachineType, grammar, session::Session, table, words::messages as m};
use clap::ArgMatches;
use gristmill_wire::api::JOB_EVENTS;
use std::collections::BTreeMap;

/// Events a cluster can notify of.
pub(super) const CLUSTER_EVENTS: [&str; 3] =
    ["OnClusterDeleted", "OnInstanceCreated", "OnInstanceActive"];

/// `bcs it`: the types of the quota, with what `available` says of them.
pub(super) async fn instance_types(session: &mut Session) -> Outcome {
    let client = session.client()?;
    let (quotas, available) = (client.quotas().await?, client.available().await?);
    let known: BTreeMap<&str, &MachineType> =
        [&available.available_cluster_instance_type, &available.available_spot_instance_type]
            .into_iter()
            .flatten()
            .map(|kind| (kind.instance_type.as_str(), kind))
            .collect();
    for (title, names) in [
        (m::ON_DEMAND_TYPES, &quotas.available_cluster_instance_type),
        (m::SPOT_TYPES, &quotas.available_spot_instance_type),
    ] {
        let mut kinds: Vec<MachineType> = names
            .iter()
            .map(|name| match known.get(name.as_str()) {
                Some(kind) => (*kind).clone(),
                None => MachineType { instance_type: name.clone(), ..MachineType::default() },
            })
            .collect();
        kinds.sort_by(|a, b| {
            (a.cpu_core, a.memory_size)
                .partial_cmp(&(b.cpu_core, b.memory_size))
                .unwrap_or(std::cmp::Ordering::Equal)
        });
        let rows: Vec<Vec<String>> = kinds
            .iter()
            .map(|kind| {
                vec![
                    kind.instance_type.clone(),
                    kind.cpu_core.to_string(),
                    kind.memory_size.to_string(),
                ]
            })
            .collect();
        let title = session.word(title);
        session.out.data(title)?;
        session.out.data(&table::table(&["Name", "CPU(Core)", "Memory(GB)"], &rows, false))?;
    }
    Ok(End::Success)
}

/// `bcs r`.
pub(super) async fn resource_types(session: &mut Session) -> Outcome {
    let quotas = session.client()?.quotas().await?;
    names("Name", &quotas.available_cluster_resource_type, session)
}

/// `bcs d`.
pub(super) async fn disk_types(session: &mut Session) -> Outcome {
    let quotas = session.client()?.quotas().await?;
    names("SystemDisk", &quotas.available_cluster_instance_system_disk_type, session)?;
    names("DataDisk", &quotas.available_cluster_instance_data_disk_type, session)
}

/// `bcs e`.
pub(super) fn events(session: &mut Session) -> Outcome {
    names("ClusterEvent", &CLUSTER_EVENTS.map(str::to_owned), session)?;
    names("JobEvent", &JOB_EVENTS.map(str::to_owned), session)
}

fn names(title: &str, names: &[String], session: &mut Session) -> Outcome {
    let rows: Vec<Vec<String>> = names.iter().map(|name| vec![name.clone()]).collect();
    session.out.data(&table::table(&[title], &rows, false))?;
    Ok(End::Success)
}

/// `bcs completion <shell>`.
pub(super) fn completion(words: &ArgMatches, session: &mut Session) -> Outcome {
    let written = required(words, "shell");
    let shell: clap_complete::Shell =
        written.parse().map_err(|_| m::UNKNOWN_SHELL.complain([("shell", &written)]))?;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut grammar::tree(session.language), "bcs", &mut script);
    session.out.raw(&script)?;
    Ok(End::Success)
}
