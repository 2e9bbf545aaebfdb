//! `Configs`: disks, networks and mounts of machines, and the `Mounts` of a task
//! (`reference/api.md` 13.1 to 13.4).
//!
//! Clients send many members that say nothing (`""`, `{}`, 0, the default). They are dropped, so
//! equal wishes are equal values; `describe` puts the defaults back. Of `Mounts.OSS` only the
//! access key's id is kept: secret and token are dropped here and nothing can echo them.

use crate::{
    api::{
        kept::Kept,
        locale::LOCALE_DEFAULT,
        mappings::{check_entries, check_local},
        read::{Member, Object},
        shared::{filled, locale},
    },
    error::{ApiError, quote},
};
use gristmill_model::CidrBlock;
use gristmill_model::spec::{Configs, DataDisk, Disk, MountEntry, Mounts};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The type of a disk when the client does not say.
pub const DISK_KIND_DEFAULT: &str = "cloud_efficiency";

pub(super) const DISK_KINDS: [&str; 5] =
    [DISK_KIND_DEFAULT, "cloud_ssd", "cloud", "ephemeral", "ephemeral_ssd"];
pub(super) const SYSTEM_DISK_GB: std::ops::RangeInclusive<u32> = 40..=500;
pub(super) const DATA_DISK_GB: std::ops::RangeInclusive<u32> = 5..=32_768;

const CACHE_BLOCK_SIZE: u32 = 262_144;
const CACHE_TOTAL_SIZE: u64 = 536_870_912;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ConfigsBody {
    disks: Member<Object<DisksBody>>,
    networks: Member<Kept>,
    mounts: Member<Object<MountsBody>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DisksBody {
    system_disk: Member<Object<DiskBody>>,
    data_disk: Member<Object<DiskBody>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DiskBody {
    size: Member<i64>,
    #[serde(rename = "Type")]
    kind: Member<String>,
    mount_point: Member<String>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct MountsBody {
    entries: Member<Vec<Object<EntryBody>>>,
    locale: Member<String>,
    lock: Member<bool>,
    cache_support: Member<bool>,
    cache_block_size: Member<i64>,
    cache_total_size: Member<i64>,
    #[serde(rename = "NAS")]
    nas: Member<Object<NasBody>>,
    #[serde(rename = "OSS")]
    oss: Member<Object<OssBody>>,
    refresh_strategy: Member<String>,
    refresh_topic_name: Member<String>,
    refresh_time_out: Member<i64>,
    nas_meta_cache: Member<bool>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct EntryBody {
    source: Member<String>,
    destination: Member<String>,
    write_support: Member<bool>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NasBody {
    access_group: Member<Vec<String>>,
    file_system: Member<Vec<String>>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct OssBody {
    access_key_id: Member<String>,
}

/// `Configs`; what is not given is the default of each part.
pub(super) fn configs(member: Member<Object<ConfigsBody>>) -> Result<Configs, ApiError> {
    let Some(Object(body)) = member.optional("Configs")? else { return Ok(Configs::default()) };
    let Object(disks) = body.disks.optional("Disks")?.unwrap_or_default();
    let system_disk = system_disk(disks.system_disk).map_err(|e| e.inside("Disks"))?;
    let data_disk =
        data_disk(disks.data_disk, system_disk.as_ref()).map_err(|e| e.inside("Disks"))?;
    let networks = body.networks.or_empty("Networks")?.0;
    Ok(Configs {
        system_disk,
        data_disk,
        networks: self::networks(&networks)?,
        mounts: mounts(body.mounts)?,
    })
}

fn system_disk(member: Member<Object<DiskBody>>) -> Result<Option<Disk>, ApiError> {
    let name = "SystemDisk";
    let Some(Object(body)) = member.optional(name)? else { return Ok(None) };
    let (size, kind) = (size(body.size, name)?, kind(body.kind, name)?);
    if size == 0 && kind.is_none() {
        return Ok(None);
    }
    let size_gb = match size {
        0 => *SYSTEM_DISK_GB.start(),
        size => within(size, SYSTEM_DISK_GB, name)?,
    };
    Ok(Some(Disk { size_gb, kind: kind.unwrap_or_else(|| DISK_KIND_DEFAULT.to_owned()) }))
}

fn data_disk(
    member: Member<Object<DiskBody>>,
    system: Option<&Disk>,
) -> Result<Option<DataDisk>, ApiError> {
    let name = "DataDisk";
    let Some(Object(body)) = member.optional(name)? else { return Ok(None) };
    let (size, kind) = (size(body.size, name)?, kind(body.kind, name)?);
    let mount_point = filled(body.mount_point, "MountPoint")?;
    if size == 0 && kind.is_none() && mount_point.is_none() {
        return Ok(None);
    }
    let same = system.map_or(DISK_KIND_DEFAULT, |disk| &disk.kind).to_owned();
    let kind = kind.unwrap_or_else(|| same.clone());
    if system.is_some() && kind != same {
        return Err(ApiError::invalid(name, "must have the Type of the system disk"));
    }
    let disk = Disk { size_gb: within(size, DATA_DISK_GB, name)?, kind };
    let mount_point = mount_point.ok_or_else(|| ApiError::missing("MountPoint"))?;
    let is_drive = mount_point.len() == 2
        && mount_point.ends_with(':')
        && mount_point.as_bytes()[0].is_ascii_alphabetic();
    if !is_drive {
        check_local("MountPoint", &mount_point)?;
    }
    Ok(Some(DataDisk { disk, mount_point }))
}

fn size(member: Member<i64>, name: &'static str) -> Result<i64, ApiError> {
    Ok(member.optional_as(name, "an object whose Size is a whole number")?.unwrap_or(0))
}

fn within(
    size: i64,
    range: std::ops::RangeInclusive<u32>,
    name: &'static str,
) -> Result<u32, ApiError> {
    let (min, max) = (range.start(), range.end());
    u32::try_from(size).ok().filter(|size| range.contains(size)).ok_or_else(|| {
        ApiError::invalid(name, format_args!("must have a Size in [{min}, {max}] GB"))
    })
}

fn kind(member: Member<String>, name: &'static str) -> Result<Option<String>, ApiError> {
    let kind = member.optional_as(name, "an object whose Type is a text")?;
    match kind.filter(|kind| !kind.is_empty()) {
        Some(kind) if !DISK_KINDS.contains(&kind.as_str()) => {
            let reason = format!("has Type {}, known are {}", quote(&kind), DISK_KINDS.join(", "));
            Err(ApiError::invalid(name, reason))
        }
        kind => Ok(kind),
    }
}

const CLASSIC: [&str; 4] =
    ["AllowSecurityGroup", "AllowSecurityGroupEgress", "AllowIpAddress", "AllowIpAddressEgress"];
const VPC: [&str; 8] = [
    "CidrBlock",
    "VpcId",
    "ExpressConnectSpec",
    "OppositeRegionId",
    "OppositeAccessPointId",
    "OppositeRouterType",
    "OppositeRouterId",
    "OppositeInterfaceId",
];

/// `Networks` with the members that say something: `{"Classic":{…}}` and `VPC` if it is not empty.
fn networks(body: &Map<String, Value>) -> Result<Option<Value>, ApiError> {
    let texts =
        |value: &Value| value.as_array().is_some_and(|items| items.iter().all(Value::is_string));
    let classic = part(body, "Classic", &CLASSIC, texts)?;
    let vpc = part(body, "VPC", &VPC, Value::is_string)?;
    if let Some(block) = vpc.get("CidrBlock").and_then(Value::as_str) {
        check_cidr(block)?;
    }
    Ok(match (classic.is_empty(), vpc.is_empty()) {
        (true, true) => None,
        (false, true) => Some(json!({ "Classic": classic })),
        (_, false) => Some(json!({ "Classic": classic, "VPC": vpc })),
    })
}

/// The known, not empty members of one part of `Networks`.
fn part(
    body: &Map<String, Value>,
    name: &'static str,
    members: &[&str],
    is_right: impl Fn(&Value) -> bool,
) -> Result<Map<String, Value>, ApiError> {
    let wrong = |member: &str| {
        ApiError::invalid("Networks", format_args!("has a {name}{member} of the wrong type"))
    };
    let part = match body.get(name) {
        None | Some(Value::Null) => return Ok(Map::new()),
        Some(Value::Object(part)) => part,
        Some(_) => return Err(wrong("")),
    };
    let mut kept = Map::new();
    for member in members {
        match part.get(*member) {
            None | Some(Value::Null) => {}
            Some(value) if !is_right(value) => return Err(wrong(&format!(".{member}"))),
            Some(Value::String(text)) if text.is_empty() => {}
            Some(Value::Array(items)) if items.is_empty() => {}
            Some(value) => drop(kept.insert((*member).to_owned(), value.clone())),
        }
    }
    Ok(kept)
}

/// Inside the ranges of the guide.
fn check_cidr(block: &str) -> Result<(), ApiError> {
    let checked = block.parse::<CidrBlock>();
    let wrong = |why| ApiError::invalid("CidrBlock", format_args!("{} {why}", quote(block)));
    checked.map(drop).map_err(wrong)
}

/// `Mounts`, unless everything in it is the default.
pub(super) fn mounts(member: Member<Object<MountsBody>>) -> Result<Option<Mounts>, ApiError> {
    let name = "Mounts";
    let Some(Object(body)) = member.optional(name)? else { return Ok(None) };
    let entries =
        body.entries.optional_as(name, "an object whose Entries are at most 10000 objects")?;
    let entries = entries.unwrap_or_default().into_iter().map(|Object(body)| entry(body));
    let default = default_mounts();
    let size = |member: Member<i64>| member.optional_as(name, "an object with sizes in bytes");
    let wrong = |_| ApiError::invalid(name, "has a cache size that is not a number of bytes");
    let mounts = Mounts {
        entries: check_entries(entries.collect::<Result<_, _>>()?)?,
        locale: locale(body.locale).map_err(|error| error.inside(name))?,
        lock: body.lock.or_empty("Lock").map_err(|error| error.inside(name))?,
        cache: body.cache_support.optional("CacheSupport")?.unwrap_or(default.cache),
        cache_block_size: match size(body.cache_block_size)? {
            None | Some(0) => default.cache_block_size,
            Some(bytes) => bytes.try_into().map_err(wrong)?,
        },
        cache_total_size: match size(body.cache_total_size)? {
            None | Some(0) => default.cache_total_size,
            Some(bytes) => bytes.try_into().map_err(wrong)?,
        },
        extra: Extra {
            nas: body.nas,
            oss: body.oss,
            refresh_strategy: body.refresh_strategy,
            refresh_topic_name: body.refresh_topic_name,
            refresh_time_out: body.refresh_time_out,
            nas_meta_cache: body.nas_meta_cache,
        }
        .kept()?,
    };
    Ok((mounts != default).then_some(mounts))
}

fn entry(body: EntryBody) -> Result<MountEntry, ApiError> {
    let name = "Mounts";
    let text = |member: Member<String>, what| {
        filled(member, name)?.ok_or_else(|| ApiError::invalid(name, what))
    };
    Ok(MountEntry {
        source: text(body.source, "has an entry without Source")?,
        destination: text(body.destination, "has an entry without Destination")?,
        write_support: body.write_support.optional("WriteSupport")?.unwrap_or(false),
    })
}

/// The members of `Mounts` that are only stored and echoed.
struct Extra {
    nas: Member<Object<NasBody>>,
    oss: Member<Object<OssBody>>,
    refresh_strategy: Member<String>,
    refresh_topic_name: Member<String>,
    refresh_time_out: Member<i64>,
    nas_meta_cache: Member<bool>,
}

impl Extra {
    /// Those that differ from their default.
    fn kept(self) -> Result<BTreeMap<String, Value>, ApiError> {
        let name = "Mounts";
        let Object(nas) = self.nas.optional(name)?.unwrap_or_default();
        let Object(oss) = self.oss.optional(name)?.unwrap_or_default();
        let access_group = nas.access_group.or_empty(name)?;
        let file_system = nas.file_system.or_empty(name)?;
        let key_id = oss.access_key_id.or_empty(name)?;
        let mut given = default_extra();
        given.insert("NAS".into(), json!({"AccessGroup": access_group, "FileSystem": file_system}));
        if !key_id.is_empty() {
            given.insert("OSS".into(), json!({ "AccessKeyId": key_id }));
        }
        let strategy = self.refresh_strategy.or_empty(name)?;
        given.insert("RefreshStrategy".into(), strategy.into());
        given.insert("RefreshTopicName".into(), self.refresh_topic_name.or_empty(name)?.into());
        let time_out = self.refresh_time_out.optional(name)?.unwrap_or(0);
        given.insert("RefreshTimeOut".into(), time_out.into());
        given.insert("NasMetaCache".into(), self.nas_meta_cache.or_empty(name)?.into());
        let defaults = default_extra();
        given.retain(|key, value| defaults.get(key) != Some(value));
        Ok(given)
    }
}

/// What the members that are only echoed are when nobody gave them.
pub(super) fn default_extra() -> BTreeMap<String, Value> {
    [
        ("NAS", json!({"AccessGroup": [], "FileSystem": []})),
        ("OSS", json!({})),
        ("RefreshStrategy", json!("")),
        ("RefreshTopicName", json!("")),
        ("RefreshTimeOut", json!(0)),
        ("NasMetaCache", json!(false)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// `Mounts` when nobody gave any.
pub(super) fn default_mounts() -> Mounts {
    Mounts {
        entries: Vec::new(),
        locale: LOCALE_DEFAULT.to_owned(),
        lock: false,
        cache: true,
        cache_block_size: CACHE_BLOCK_SIZE,
        cache_total_size: CACHE_TOTAL_SIZE,
        extra: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Configs, String> {
        let body: Member<Object<ConfigsBody>> = serde_json::from_str(text).expect("JSON");
        configs(body).map_err(|error| error.code.to_string())
    }

    #[test]
    fn members_that_say_nothing_are_not_given() {
        for text in [
            "null",
            "{}",
            r#"{"Disks":{},"Networks":{},"Mounts":{}}"#,
            r#"{"Disks":{"SystemDisk":{},"DataDisk":{"Size":0,"Type":"","MountPoint":""}}}"#,
            r#"{"Networks":{"Classic":{"AllowIpAddress":[]},"VPC":{"VpcId":"","CidrBlock":null}}}"#,
            r#"{"Mounts":{"Entries":[],"Locale":"","NAS":{},"OSS":{},"CacheBlockSize":262144}}"#,
        ] {
            assert_eq!(read(text), Ok(Configs::default()), "{text}");
        }
    }

    #[test]
    fn disks_follow_each_other() {
        let disks = |system: &str, data: &str| {
            read(&format!(r#"{{"Disks":{{"SystemDisk":{system},"DataDisk":{data}}}}}"#))
        };
        let read = disks(
            r#"{"Type":"ephemeral","Size":40}"#,
            r#"{"Type":"","Size":5,"MountPoint":"/home/disk1"}"#,
        )
        .expect("legal");
        let disk = |size_gb| Disk { size_gb, kind: "ephemeral".into() };
        assert_eq!(read.system_disk, Some(disk(40)));
        let data = DataDisk { disk: disk(5), mount_point: "/home/disk1".into() };
        assert_eq!(read.data_disk, Some(data));
        for (system, data, wanted) in [
            (r#"{"Size":39}"#, "{}", "InvalidSystemDisk"),
            (r#"{"Size":501}"#, "{}", "InvalidSystemDisk"),
            (r#"{"Size":"40"}"#, "{}", "InvalidSystemDisk"),
            (r#"{"Type":"floppy"}"#, "{}", "InvalidSystemDisk"),
            ("[]", "{}", "InvalidSystemDisk"),
            ("{}", r#"{"Size":4,"MountPoint":"/d"}"#, "InvalidDataDisk"),
            ("{}", r#"{"MountPoint":"/d"}"#, "InvalidDataDisk"),
            ("{}", r#"{"Size":5}"#, "MissingMountPoint"),
            ("{}", r#"{"Size":5,"MountPoint":"d"}"#, "InvalidMountPoint"),
            ("{}", r#"{"Size":5,"MountPoint":"/proc"}"#, "InvalidMountPoint"),
            (
                r#"{"Type":"cloud_ssd"}"#,
                r#"{"Size":5,"MountPoint":"/d","Type":"cloud"}"#,
                "InvalidDataDisk",
            ),
        ] {
            assert_eq!(disks(system, data), Err(wanted.into()), "{system} {data}");
        }
        assert!(disks("{}", r#"{"Size":5,"MountPoint":"E:"}"#).is_ok());
    }

    #[test]
    fn networks_are_checked_for_their_form() {
        let vpc =
            |block: &str| read(&format!(r#"{{"Networks":{{"VPC":{{"CidrBlock":"{block}"}}}}}}"#));
        let kept = vpc("192.168.0.0/16").expect("legal").networks.expect("given");
        assert_eq!(kept, json!({"Classic": {}, "VPC": {"CidrBlock": "192.168.0.0/16"}}));
        for block in ["192.168.0.0", "192.168.0/16", "10.0.0.0/33", "a/8", "10.0.0.0/+8", "/"] {
            assert_eq!(vpc(block), Err("InvalidCidrBlock".into()), "{block}");
        }
        for text in
            [r#"{"VPC":[]}"#, r#"{"VPC":{"VpcId":1}}"#, r#"{"Classic":{"AllowIpAddress":[1]}}"#]
        {
            let read = read(&format!(r#"{{"Networks":{text}}}"#));
            assert_eq!(read, Err("InvalidNetworks".into()), "{text}");
        }
    }

    #[test]
    fn secrets_of_mounts_are_not_kept() {
        let read = read(
            r#"{"Mounts":{"OSS":{"AccessKeyId":"id","AccessKeySecret":"s3cret","SecurityToken":"t0ken",
                "AccessSecurityToken":"t0ken"},"NasMetaCache":true,"Other":"x"}}"#,
        );
        let mounts = read.expect("legal").mounts.expect("given");
        let wanted: BTreeMap<_, _> = [
            ("OSS".to_owned(), json!({"AccessKeyId": "id"})),
            ("NasMetaCache".to_owned(), json!(true)),
        ]
        .into();
        assert_eq!(mounts.extra, wanted);
    }

    #[test]
    fn mounts_of_the_wrong_form_are_refused() {
        for (mounts, wanted) in [
            ("[]", "InvalidMounts"),
            (r#"{"Entries":{}}"#, "InvalidMounts"),
            (r#"{"Entries":[1]}"#, "InvalidMounts"),
            (r#"{"Entries":[{}]}"#, "InvalidMounts"),
            (r#"{"Entries":[{"Source":"oss://bucket/a/"}]}"#, "InvalidMounts"),
            (r#"{"Entries":[{"Source":"oss://bucket/a/","Destination":"../x"}]}"#, "InvalidMounts"),
            (r#"{"Locale":"klingon"}"#, "InvalidLocale"),
            (r#"{"Lock":"yes"}"#, "InvalidLock"),
            (r#"{"CacheSupport":1}"#, "InvalidCacheSupport"),
            (r#"{"CacheBlockSize":-1}"#, "InvalidMounts"),
            (r#"{"CacheTotalSize":"1"}"#, "InvalidMounts"),
            (r#"{"NAS":{"AccessGroup":"x"}}"#, "InvalidMounts"),
        ] {
            let read = read(&format!(r#"{{"Mounts":{mounts}}}"#));
            assert_eq!(read, Err(wanted.into()), "{mounts}");
        }
    }
}
