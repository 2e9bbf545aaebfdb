//! One task of a submission as JSON: parameters, mappings, and the machine it wants.
//!
//! Options of the automatic cluster are ignored when a cluster is named, as the official tool
//! does; `AutoCluster` is then `{}`. Start at [`describe`].

use super::{
    Defaults, Layers,
    mapping::{self, Cluster},
};
use crate::words::{Complaint, messages as m};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The image used when neither an option nor the settings name one.
const IMAGE_DEFAULT: &str = "img-ubuntu";

const DAY: u64 = 86400;
const INSTANCES_MAX: u64 = 1_000_000;
const RETRIES_MAX: u64 = 1000;

/// The member of `DAG.Tasks` for these options.
pub(super) fn describe(
    layers: &Layers,
    package: Option<&str>,
    defaults: &Defaults,
) -> Result<Value, Complaint> {
    let command = layers.get("cmd").ok_or_else(|| m::NO_COMMAND.complain([]))?;
    let logs = defaults.object("logs/");
    let (cluster_id, auto_cluster) = machine(layers, defaults)?;
    Ok(json!({
        "InstanceCount": layers.number("nodes", 1..=INSTANCES_MAX, 1)?,
        "MaxRetryCount": layers.number("retry", 0..=RETRIES_MAX, 0)?,
        "Timeout": timeout(layers)?,
        "ClusterId": cluster_id,
        "AutoCluster": auto_cluster,
        "InputMapping": {},
        "OutputMapping": outputs(layers, "write_mount")?,
        "LogMapping": log_mapping(layers)?,
        "WriteSupport": true,
        "Mounts": mounts(layers)?,
        "Parameters": {
            "Command": {
                "CommandLine": command,
                "PackagePath": package.unwrap_or(""),
                "EnvVars": variables(layers)?,
            },
            "InputMappingConfig": input_mapping_config(layers)?,
            "StdoutRedirectPath": logs,
            "StderrRedirectPath": logs,
        },
    }))
}

/// An all-digit `-t` is a time-out, as in early versions of the tool.
fn legacy_timeout<'a>(layers: &'a Layers) -> Option<&'a str> {
    layers.get("type").filter(|text| text.bytes().all(|letter| letter.is_ascii_digit()))
}

fn timeout(layers: &Layers) -> Result<u64, Complaint> {
    let default = match (layers.get("timeout"), legacy_timeout(layers)) {
        (None, Some(text)) => text.parse().unwrap_or(DAY),
        _ => DAY,
    };
    layers.number("timeout", 1..=u64::from(u32::MAX), default)
}

fn variables(layers: &Layers) -> Result<BTreeMap<String, String>, Complaint> {
    let mut variables = BTreeMap::new();
    for layer in layers.0.iter().rev() {
        if let Some(text) = layer.get("env") {
            variables.extend(mapping::pairs(text));
        }
        if let Some(text) = layer.get("docker").filter(|text| !text.is_empty()) {
            variables.extend(mapping::docker(text)?);
        }
    }
    Ok(variables)
}

fn outputs(layers: &Layers, option: &str) -> Result<BTreeMap<String, String>, Complaint> {
    let mut merged = BTreeMap::new();
    for text in layers.all(option) {
        merged.extend(mapping::outputs(text)?);
    }
    Ok(merged)
}

fn log_mapping(layers: &Layers) -> Result<BTreeMap<String, String>, Complaint> {
    let logs = outputs(layers, "log_mapping")?;
    match logs.values().find(|folder| !folder.ends_with('/')) {
        Some(file) => Err(m::LOG_NOT_A_FOLDER.complain([("path", file)])),
        None => Ok(logs),
    }
}

fn mounts(layers: &Layers) -> Result<Value, Complaint> {
    let mut entries = Vec::new();
    for text in ["mount", "read_mount"].into_iter().flat_map(|option| layers.all(option)) {
        for mount in mapping::mounts(text)? {
            mapping::add_mount(&mut entries, mount);
        }
    }
    let mut nas = Map::new();
    for (option, member) in [("nas_access_group", "AccessGroup"), ("nas_file_system", "FileSystem")]
    {
        if let Some(text) = layers.get(option) {
            nas.insert(member.to_owned(), mapping::list(text).into());
        }
    }
    let mut mounts = Map::from_iter([("NAS".to_owned(), Value::Object(nas))]);
    if !entries.is_empty() {
        let entries: Vec<Value> = entries.iter().map(mapping::Mount::entry).collect();
        mounts.insert("Entries".to_owned(), entries.into());
    }
    if layers.flag("no_cache_support")? {
        mounts.insert("CacheSupport".to_owned(), false.into());
    }
    Ok(Value::Object(mounts))
}

fn input_mapping_config(layers: &Layers) -> Result<Value, Complaint> {
    let mut config = Map::from_iter([("Lock".to_owned(), layers.flag("lock")?.into())]);
    if let Some(locale) = layers.get("locale") {
        config.insert("Locale".to_owned(), locale.into());
    }
    Ok(Value::Object(config))
}

/// `ClusterId` and `AutoCluster`; one of them says something, the other is empty.
fn machine(layers: &Layers, defaults: &Defaults) -> Result<(String, Value), Complaint> {
    let wish = layers.get("cluster").map(mapping::cluster).transpose()?;
    match wish {
        Some(Cluster::Fixed(id)) => Ok((id, json!({}))),
        Some(Cluster::Auto { image, instance_type }) => {
            Ok((String::new(), auto_cluster(layers, defaults, image, instance_type)?))
        }
        None => Ok((String::new(), auto_cluster(layers, defaults, None, None)?)),
    }
}

fn auto_cluster(
    layers: &Layers,
    defaults: &Defaults,
    image: Option<String>,
    instance_type: Option<String>,
) -> Result<Value, Complaint> {
    let named_type =
        layers.get("type").filter(|_| legacy_timeout(layers).is_none()).map(str::to_owned);
    let image = layers.get("image").map(str::to_owned).or(image).or_else(|| defaults.image.clone());
    let instance_type = named_type.or(instance_type).or_else(|| defaults.instance_type.clone());
    let mut cluster = Map::new();
    cluster.insert("ImageId".into(), image.unwrap_or_else(|| IMAGE_DEFAULT.to_owned()).into());
    // Empty lets the server choose, so a first job needs no setting.
    cluster.insert("InstanceType".into(), instance_type.unwrap_or_default().into());
    cluster.insert("ReserveOnFail".into(), layers.flag("reserve_on_fail")?.into());
    spot(layers, &mut cluster)?;
    let mut user_data = BTreeMap::new();
    for text in layers.all("user_data") {
        user_data.extend(mapping::pairs(text));
    }
    if !user_data.is_empty() {
        cluster.insert("UserData".into(), json!(user_data));
    }
    let configs = configs(layers, defaults)?;
    if !configs.is_empty() {
        cluster.insert("Configs".into(), Value::Object(configs));
    }
    Ok(Value::Object(cluster))
}

/// `ResourceType`, and for spot machines how much they may cost.
pub(crate) fn spot(layers: &Layers, group: &mut Map<String, Value>) -> Result<(), Complaint> {
    let resource_type = layers.get("resource_type").unwrap_or("OnDemand");
    group.insert("ResourceType".into(), resource_type.into());
    if resource_type != "Spot" {
        return Ok(());
    }
    let Some(text) = layers.get("spot_price_limit") else { return Ok(()) };
    let limit: f64 = text
        .parse()
        .ok()
        .filter(|limit: &f64| limit.is_finite() && *limit >= 0.0)
        .ok_or_else(|| m::NOT_A_PRICE.complain([("text", &text)]))?;
    if limit > 0.0 {
        group.insert("SpotStrategy".into(), "SpotWithPriceLimit".into());
        group.insert("SpotPriceLimit".into(), limit.into());
    } else {
        group.insert("SpotStrategy".into(), "SpotAsPriceGo".into());
    }
    Ok(())
}

fn configs(layers: &Layers, defaults: &Defaults) -> Result<Map<String, Value>, Complaint> {
    let mut configs = Map::new();
    if let Some(text) = layers.get("disk") {
        configs.insert("Disks".into(), mapping::disks(text)?);
    }
    if let Some(vpc) = vpc(layers, defaults.vpc_cidr_block.as_deref())? {
        configs.insert("Networks".into(), json!({"VPC": vpc}));
    }
    Ok(configs)
}

/// The private network; a "false" word for its range switches it off.
pub(crate) fn vpc(layers: &Layers, default: Option<&str>) -> Result<Option<Value>, Complaint> {
    const OFF: [&str; 5] = ["null", "None", "false", "False", "0"];
    let block = layers.get("vpc_cidr_block").or(default).filter(|text| !OFF.contains(text));
    let id = layers.get("vpc_id").filter(|text| !OFF.contains(text));
    match (block, id) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(m::VPC_NEEDS_CIDR.complain([])),
        (Some(block), None) => Ok(Some(json!({"CidrBlock": block}))),
        (Some(block), Some(id)) => Ok(Some(json!({"CidrBlock": block, "VpcId": id}))),
    }
}
