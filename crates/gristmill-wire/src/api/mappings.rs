//! Paths: what is seen where, and what is written back (`reference/mounts.md` 1, rule 8).
//!
//! | Together | Verdict |
//! |---|---|
//! | one source at several local paths | fine |
//! | two sources at one local path | refused |
//! | one local path read and written back | refused |
//! | local paths inside each other | fine |
//! | one source read here and written back from elsewhere | fine (the guide's log-count does it) |
//!
//! Local paths are compared without a slash at the end, without `//` and `/./`, and kept as sent.

use crate::{
    api::read::Texts,
    error::{ApiError, quote},
};
use gristmill_model::{
    OssPath,
    spec::{Input, MountEntry, Mounts, Output},
};
use std::collections::BTreeMap;

/// The longest local path in bytes; the kernel's bound is 4096 with its NUL.
pub(super) const LOCAL_PATH_BYTES_MAX: usize = 4000;

/// Trees the sandbox makes itself: nothing may be mounted over them.
const RESERVED: [&str; 3] = ["/proc", "/sys", "/dev"];

/// `InputMapping`: object-store path to local path.
pub(super) fn inputs(mapping: Texts) -> Result<Vec<Input>, ApiError> {
    let name = "InputMapping";
    let mut inputs = mapping
        .into_iter()
        .map(|(source, local)| {
            check_local(name, &local)?;
            Ok(Input { source: oss_path(name, &source)?, local })
        })
        .collect::<Result<Vec<_>, ApiError>>()?;
    inputs.sort_by(|a, b| a.source.cmp(&b.source));
    if let Some(pair) = inputs.windows(2).find(|pair| pair[0].source == pair[1].source) {
        let source = pair[0].source.to_string();
        return Err(ApiError::invalid(name, format!("has {} twice", quote(&source))));
    }
    Ok(inputs)
}

/// `OutputMapping` or `LogMapping`: local path to object-store path.
pub(super) fn outputs(name: &'static str, mapping: Texts) -> Result<Vec<Output>, ApiError> {
    mapping
        .into_iter()
        .map(|(local, destination)| {
            check_local(name, &local)?;
            Ok(Output { destination: oss_path(name, &destination)?, local })
        })
        .collect()
}

/// The sources at their local paths, each path once, and none of them written back.
pub(super) fn check_together(
    inputs: &[Input],
    mounts: Option<&Mounts>,
    outputs: &[Output],
) -> Result<(), ApiError> {
    let mut seen = BTreeMap::new();
    for Input { source, local } in inputs {
        if let Some(other) = seen.insert(normal(local), source.to_string()) {
            return Err(twice("InputMapping", local, &other, &source.to_string()));
        }
    }
    for MountEntry { source, destination, .. } in mounts.iter().flat_map(|m| &m.entries) {
        if let Some(other) = seen.insert(normal(destination), source.clone()) {
            return Err(twice("Mounts", destination, &other, source));
        }
    }
    match outputs.iter().find(|output| seen.contains_key(&normal(&output.local))) {
        None => Ok(()),
        Some(Output { local, .. }) => {
            let reason = format!("writes {} back, which is also an input", quote(local));
            Err(ApiError::invalid("OutputMapping", reason))
        }
    }
}

/// The entries of `Mounts`, each destination once. An entry that is there twice with the same
/// source counts once, the last as the official command line merges them.
pub(super) fn check_entries(entries: Vec<MountEntry>) -> Result<Vec<MountEntry>, ApiError> {
    let mut kept: Vec<MountEntry> = Vec::with_capacity(entries.len());
    let mut places = BTreeMap::new();
    for entry in entries {
        let (name, MountEntry { source, destination, .. }) = ("Mounts", &entry);
        check_local(name, destination)?;
        check_source(name, source)?;
        match places.insert(normal(destination), kept.len()) {
            None => kept.push(entry),
            Some(at) if kept[at].source == *source => {
                places.insert(normal(destination), at);
                kept[at] = entry;
            }
            Some(at) => return Err(twice(name, destination, &kept[at].source, source)),
        }
    }
    Ok(kept)
}

/// `oss://bucket/key`.
pub(super) fn oss_path(name: &'static str, text: &str) -> Result<OssPath, ApiError> {
    text.parse().map_err(|error| ApiError::invalid(name, format_args!("{}: {error}", quote(text))))
}

/// The source of an entry of `Mounts`: a path in the object store, or a file server.
fn check_source(name: &'static str, source: &str) -> Result<(), ApiError> {
    let wrong = |reason: &str| Err(ApiError::invalid(name, format!("{}: {reason}", quote(source))));
    match source.split_once("://") {
        Some(("oss", _)) => oss_path(name, source).map(drop),
        Some(("nas", rest)) => match rest.split_once(":/") {
            Some((host, path)) if !host.is_empty() && !path.contains(char::is_control) => Ok(()),
            _ => wrong("must be nas://host:/path"),
        },
        _ => wrong("must start with oss:// or nas://"),
    }
}

/// An absolute path that stays where it is and can be mounted on.
pub(super) fn check_local(name: &'static str, path: &str) -> Result<(), ApiError> {
    match fault_of(path) {
        None => Ok(()),
        Some(reason) => {
            Err(ApiError::invalid(name, format_args!("local path {} {reason}", quote(path))))
        }
    }
}

/// What is wrong with a local path.
fn fault_of(path: &str) -> Option<&'static str> {
    let bytes = path.as_bytes();
    if bytes.first().is_some_and(u8::is_ascii_alphabetic) && bytes.get(1) == Some(&b':') {
        return Some("is a Windows path; no provider here offers Windows");
    }
    if !path.starts_with('/') {
        return Some("must be absolute");
    }
    if path.len() > LOCAL_PATH_BYTES_MAX || path.split('/').any(|part| part.len() > 255) {
        return Some("is too long");
    }
    if path.contains(char::is_control) {
        return Some("must not hold control characters");
    }
    if path.split('/').any(|part| part == "..") {
        return Some("must not hold `..`");
    }
    let normal = normal(path);
    let below = |tree: &str| {
        normal.strip_prefix(tree).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if normal.is_empty() || RESERVED.into_iter().any(below) {
        return Some("belongs to the system");
    }
    None
}

/// The path without empty and `.` parts: equal for paths that are the same place.
fn normal(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.fold(String::with_capacity(path.len()), |mut whole, part| {
        whole.push('/');
        whole.push_str(part);
        whole
    })
}

fn twice(name: &'static str, local: &str, first: &str, second: &str) -> ApiError {
    let reason = format!("has {} and {} at {}", quote(first), quote(second), quote(local));
    ApiError::invalid(name, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts<const N: usize>(pairs: [(&str, &str); N]) -> Texts {
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    fn entry(source: &str, destination: &str) -> MountEntry {
        let (source, destination) = (source.to_owned(), destination.to_owned());
        MountEntry { source, destination, write_support: true }
    }

    #[test]
    fn local_paths_are_absolute_and_stay_where_they_are() {
        for good in ["/home/in", "/home/in/", "/a", "/home//x/./y", "/процесс", "/devil", "/a..b"]
        {
            assert_eq!(fault_of(good), None, "{good}");
        }
        for bad in [
            "",
            "home",
            "./x",
            "~/x",
            "E:",
            "E:\\x",
            "/",
            "//",
            "/.",
            "/home/../etc",
            "/..",
            "/proc",
            "/proc/",
            "/dev/shm/x",
            "/sys//kernel",
            "/./proc",
            "/a\0b",
            "/a\nb",
        ] {
            assert!(fault_of(bad).is_some(), "{bad:?}");
        }
        assert!(fault_of(&format!("/{}", "x".repeat(256))).is_some());
        assert!(fault_of(&"/x".repeat(2001)).is_some());
    }

    #[test]
    fn the_guides_log_count_reads_and_writes_one_prefix() {
        let mounts = [entry("oss://bucket/log-count/", "/home/input")].to_vec();
        let outputs =
            outputs("OutputMapping", texts([("/home/output", "oss://bucket/log-count/")]));
        let mounts = Mounts { entries: mounts, ..crate::api::configs::default_mounts() };
        assert_eq!(check_together(&[], Some(&mounts), &outputs.expect("legal")), Ok(()));
    }

    #[test]
    fn two_sources_cannot_be_at_one_path() {
        let inputs = |pairs| super::inputs(pairs).expect("legal");
        let same = inputs(texts([("oss://bucket/a/", "/x"), ("oss://bucket/b/", "/x/")]));
        assert!(check_together(&same, None, &[]).is_err());
        let apart = inputs(texts([("oss://bucket/a", "/x/1"), ("oss://other/b", "/x/2")]));
        assert_eq!(check_together(&apart, None, &[]), Ok(()));
        let nested = inputs(texts([("oss://bucket/a/", "/x/"), ("oss://bucket/b/", "/x/y/")]));
        assert_eq!(check_together(&nested, None, &[]), Ok(()));
    }

    #[test]
    fn an_input_cannot_be_written_back() {
        let inputs = inputs(texts([("oss://bucket/a/", "/x/")])).expect("legal");
        for (local, good) in [("/x", false), ("/x/", false), ("//x/.", false), ("/x/out", true)] {
            let outputs = outputs("OutputMapping", texts([(local, "oss://bucket/o/")]));
            let verdict = check_together(&inputs, None, &outputs.expect("legal"));
            assert_eq!(verdict.is_ok(), good, "{local}");
        }
    }

    #[test]
    fn one_source_in_two_spellings_is_there_twice() {
        assert!(inputs(texts([("oss://bucket", "/x"), ("oss://bucket/", "/y")])).is_err());
    }

    #[test]
    fn equal_entries_count_once_and_unequal_ones_are_refused() {
        let mut last = entry("oss://bucket/a/", "/x/");
        last.write_support = false;
        let kept = check_entries(vec![entry("oss://bucket/a/", "/x"), last.clone()]);
        assert_eq!(kept, Ok(vec![last]));
        assert!(
            check_entries(vec![entry("oss://bucket/a/", "/x"), entry("nas://h:/", "/x")]).is_err()
        );
        for source in ["", "oss://b/x", "smb://h/x", "nas://host", "nas://:/x", "/etc"] {
            assert!(check_entries(vec![entry(source, "/x")]).is_err(), "{source}");
        }
    }
}
