//! The small languages of option values: pairs, mounts, disks, clusters, containers,
//! dependencies (`reference/bcs-cli.md` 10.2-10.5 and 11).
//!
//! Pure: text in, JSON members out, or a [`Complaint`] that shows what was expected. Where the
//! official tool mis-parses (`/local:oss://b/k/:true`), this does what was meant.

use crate::words::{Complaint, messages as m};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// `k:v,k2:v2`. A value may contain `:`; without one it is empty.
pub fn pairs(text: &str) -> BTreeMap<String, String> {
    items(text)
        .map(|item| item.split_once(':').unwrap_or((item, "")))
        .map(|(key, value)| (key.trim().to_owned(), value.to_owned()))
        .collect()
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// A comma list.
pub fn list(text: &str) -> Vec<String> {
    items(text).map(str::to_owned).collect()
}

/// Where bytes come from, where they appear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// `oss://…`, `nas://…`, or another scheme in the `:::` form.
    pub source: String,
    /// A local path, or a Windows drive `E:`.
    pub destination: String,
    /// Whether changes go back.
    pub write: bool,
}

impl Mount {
    /// As an entry of `Mounts.Entries`.
    pub fn entry(&self) -> Value {
        json!({"Source": self.source, "Destination": self.destination, "WriteSupport": self.write})
    }
}

/// Mount strings, comma-separated. Equal source and destination are one mount, the last wins.
pub fn mounts(text: &str) -> Result<Vec<Mount>, Complaint> {
    let mut found: Vec<Mount> = Vec::new();
    for item in items(text) {
        add_mount(&mut found, mount(item)?);
    }
    Ok(found)
}

/// Adds a mount in place of an equal one.
pub fn add_mount(found: &mut Vec<Mount>, mount: Mount) {
    let same =
        |other: &&mut Mount| other.source == mount.source && other.destination == mount.destination;
    match found.iter_mut().find(same) {
        Some(earlier) => *earlier = mount,
        None => found.push(mount),
    }
}

fn mount(item: &str) -> Result<Mount, Complaint> {
    let broken = || m::INVALID_MOUNT.complain([("text", &item)]);
    let (paths, write) = write_suffix(item);
    let (source, destination) = match paths.split_once(":::") {
        Some(sides) => sides,
        None => remote_and_local(paths).ok_or_else(broken)?,
    };
    if source.is_empty() || destination.is_empty() {
        return Err(broken());
    }
    Ok(Mount {
        source: source.to_owned(),
        destination: drive(destination),
        write: write.unwrap_or_else(|| source.ends_with('/')),
    })
}

fn write_suffix(item: &str) -> (&str, Option<bool>) {
    for (suffix, write) in
        [(":::true", true), (":::false", false), (":true", true), (":false", false)]
    {
        if let Some(rest) = item.strip_suffix(suffix) {
            return (rest, Some(write));
        }
    }
    (item, None)
}

/// Splits `remote:/local` at the last colon, or `/local:remote` before the scheme.
fn remote_and_local(text: &str) -> Option<(&str, &str)> {
    let scheme = ["oss://", "nas://"].iter().filter_map(|scheme| text.find(scheme)).min()?;
    if scheme == 0 {
        // The scheme's own colon is not a separator.
        text.rsplit_once(':').filter(|(remote, _)| remote.len() > "oss".len())
    } else {
        let (local, remote) = text.split_at(scheme);
        Some((remote, local.strip_suffix(':')?))
    }
}

/// A single letter is a Windows drive.
fn drive(path: &str) -> String {
    let is_letter = path.len() == 1 && path.chars().all(|letter| letter.is_ascii_alphabetic());
    if is_letter { format!("{path}:") } else { path.to_owned() }
}

/// `-w` and `--log_mapping`: `remote:local` or `local:remote` pairs, as local -> remote.
pub fn outputs(text: &str) -> Result<BTreeMap<String, String>, Complaint> {
    items(text)
        .map(|item| {
            remote_and_local(item)
                .filter(|(remote, local)| !remote.is_empty() && !local.is_empty())
                .map(|(remote, local)| (local.to_owned(), remote.to_owned()))
                .ok_or_else(|| m::INVALID_MAPPING.complain([("text", &item)]))
        })
        .collect()
}

/// `system:<type|default>:<GB>[,data:<type|default>:<GB>:<mount point>]`.
pub fn disks(text: &str) -> Result<Value, Complaint> {
    let broken = || m::INVALID_DISK.complain([("text", &text)]);
    let mut disks = Map::new();
    for item in items(text) {
        let fields: Vec<&str> = item.splitn(4, ':').collect();
        let kind = |name: &str| if name == "default" { String::new() } else { name.to_owned() };
        let size = |text: &str| text.parse::<u32>().map_err(|_| broken());
        match fields[..] {
            ["system", name, gigabytes] => {
                disks.insert(
                    "SystemDisk".into(),
                    json!({"Type": kind(name), "Size": size(gigabytes)?}),
                );
            }
            ["data", name, gigabytes, point] if !point.is_empty() => {
                let disk =
                    json!({"Type": kind(name), "Size": size(gigabytes)?, "MountPoint": point});
                disks.insert("DataDisk".into(), disk);
            }
            _ => return Err(broken()),
        }
    }
    Ok(Value::Object(disks))
}

/// What `-c` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cluster {
    /// A cluster that exists.
    Fixed(String),
    /// One made for the task; what was not said comes from the settings.
    Auto {
        /// `img=`
        image: Option<String>,
        /// `type=`
        instance_type: Option<String>,
    },
}

/// `cls-…`, or `img=<image>:type=<instance type>`.
pub fn cluster(text: &str) -> Result<Cluster, Complaint> {
    if !text.contains('=') {
        return Ok(Cluster::Fixed(text.to_owned()));
    }
    let (mut image, mut instance_type) = (None, None);
    for part in text.split(':') {
        match part.split_once('=') {
            Some(("img", id)) if id.starts_with("img-") || id.starts_with("m-") => {
                image = Some(id.to_owned())
            }
            Some(("type", name)) if !name.is_empty() => instance_type = Some(name.to_owned()),
            _ => return Err(m::INVALID_CLUSTER.complain([("text", &text)])),
        }
    }
    Ok(Cluster::Auto { image, instance_type })
}

/// The two variables that put a task into a container.
pub fn docker(text: &str) -> Result<BTreeMap<String, String>, Complaint> {
    const IMAGE: &str = "BATCH_COMPUTE_DOCKER_IMAGE";
    const REGISTRY: &str = "BATCH_COMPUTE_DOCKER_REGISTRY_OSS_PATH";
    const LOCAL: &str = "localhost:5000/";
    match text.split_once('@') {
        Some((name, path)) if name.len() >= 2 && path.starts_with("oss://") => {
            let image =
                if name.starts_with(LOCAL) { name.to_owned() } else { format!("{LOCAL}{name}") };
            Ok(BTreeMap::from([(IMAGE.into(), image), (REGISTRY.into(), path.to_owned())]))
        }
        _ if text.starts_with("registry") => Ok(BTreeMap::from([(IMAGE.into(), text.to_owned())])),
        _ => Err(m::INVALID_DOCKER.complain([("text", &text)])),
    }
}

/// `a->b,c;b,c->d`: each task with those that run after it, in the order written.
pub fn dependencies(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut after: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for item in text.split(';') {
        let sides: Vec<Vec<String>> = item.split("->").map(list).collect();
        for pair in sides.windows(2) {
            for earlier in &pair[0] {
                let later = after.entry(earlier.clone()).or_default();
                later.extend(
                    pair[1]
                        .iter()
                        .filter(|name| !later.contains(name))
                        .cloned()
                        .collect::<Vec<_>>(),
                );
            }
        }
    }
    after.retain(|_, later| !later.is_empty());
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount_line(text: &str) -> String {
        match mounts(text) {
            Ok(found) => found
                .iter()
                .map(|mount| {
                    format!(
                        "{} at {} {}",
                        mount.source,
                        mount.destination,
                        if mount.write { "rw" } else { "ro" }
                    )
                })
                .collect::<Vec<_>>()
                .join("; "),
            Err(complaint) => complaint.to_string(),
        }
    }

    #[test]
    fn every_form_of_a_mount_is_understood() {
        for (text, meant) in [
            ("oss://b/k:/local", "oss://b/k at /local ro"),
            ("oss://b/k/:/local", "oss://b/k/ at /local rw"),
            ("oss://b/k/:/local:false", "oss://b/k/ at /local ro"),
            ("oss://b/k2:/loc:true", "oss://b/k2 at /loc rw"),
            ("/home/x:oss://b/k:false", "oss://b/k at /home/x ro"),
            // The official tool cuts this one too short; here it means what it says.
            ("/home/x:oss://b/k/:true", "oss://b/k/ at /home/x rw"),
            ("nas://h:/p:/l", "nas://h:/p at /l ro"),
            ("/l:nas://h:/p/", "nas://h:/p/ at /l rw"),
            ("smb://a/b:::E:::true", "smb://a/b at E: rw"),
            ("oss://b/d/:E", "oss://b/d/ at E: rw"),
            ("oss://b/d/:/x,oss://b/d/:/x:false", "oss://b/d/ at /x ro"),
            ("oss://b/a:/a, oss://b/c:/c", "oss://b/a at /a ro; oss://b/c at /c ro"),
        ] {
            assert_eq!(mount_line(text), meant, "{text}");
        }
    }

    #[test]
    fn a_mount_that_lacks_a_side_is_refused_with_its_text() {
        for text in ["/only/local", "oss://b/k", "oss://b/k:", ":oss://b/k"] {
            assert!(
                mount_line(text).contains(&format!("`{text}`")),
                "{text}: {}",
                mount_line(text)
            );
        }
    }

    #[test]
    fn outputs_map_local_to_remote_from_either_order() {
        let both = outputs("oss://b/o/:/home/o,/home/p:oss://b/p/").unwrap();
        assert_eq!(both["/home/o"], "oss://b/o/");
        assert_eq!(both["/home/p"], "oss://b/p/");
        assert!(outputs("/home/o:/home/p").is_err());
    }

    #[test]
    fn a_variable_may_hold_colons_and_may_be_empty() {
        let variables = pairs("a:b:c,empty, t : x");
        assert_eq!(variables["a"], "b:c");
        assert_eq!(variables["empty"], "");
        assert_eq!(variables["t"], " x");
    }

    #[test]
    fn disks_need_all_their_fields() {
        assert_eq!(
            disks("system:default:40,data:cloud_ssd:500:/d").unwrap(),
            json!({"SystemDisk": {"Type": "", "Size": 40},
                   "DataDisk": {"Type": "cloud_ssd", "Size": 500, "MountPoint": "/d"}})
        );
        assert_eq!(disks("data:cloud:5:E:").unwrap()["DataDisk"]["MountPoint"], "E:");
        for text in ["system:cloud", "data:cloud:5", "system:cloud:big", "floppy:a:1"] {
            assert!(disks(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_cluster_is_an_id_or_a_wish() {
        assert_eq!(cluster("cls-1").unwrap(), Cluster::Fixed("cls-1".into()));
        let wish = cluster("img=m-1:type=ecs.a").unwrap();
        assert_eq!(
            wish,
            Cluster::Auto { image: Some("m-1".into()), instance_type: Some("ecs.a".into()) }
        );
        assert!(cluster("img=ubuntu").is_err());
        assert!(cluster("size=3").is_err());
    }

    #[test]
    fn a_container_is_named_with_its_registry_or_by_a_public_one() {
        let own = docker("myubuntu@oss://b/dockers/").unwrap();
        assert_eq!(own["BATCH_COMPUTE_DOCKER_IMAGE"], "localhost:5000/myubuntu");
        assert_eq!(own["BATCH_COMPUTE_DOCKER_REGISTRY_OSS_PATH"], "oss://b/dockers/");
        assert_eq!(docker("registry.x/y:1").unwrap().len(), 1);
        assert!(docker("myubuntu").is_err());
    }

    #[test]
    fn dependencies_read_as_chains_of_lists() {
        let after = dependencies(" split -> count1, count2 -> merge ; split->log;alone");
        assert_eq!(after["split"], ["count1", "count2", "log"]);
        assert_eq!(after["count1"], ["merge"]);
        assert_eq!(after["count2"], ["merge"]);
        assert_eq!(after.len(), 3);
    }
}
