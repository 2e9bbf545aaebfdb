//! `job.cfg`: a job of several tasks as an INI file (`reference/bcs-cli.md` 11).
//!
//! `[DEFAULT]` holds the job's settings and defaults for all tasks; every other section is a
//! task. The file is read as people have it: UTF-8 with or without a mark, UTF-16, GBK, any line
//! ends. Values then go through two steps, in this order: `%(name)s` interpolation as the
//! official reader does it, and macros, keys that begin with `$`.
//!
//! Invariant: what comes out holds only long option names, `cmd`, `job_name` and `deps`; anything
//! else in the file is a [`Complaint`], so that a misspelt key does not silently do nothing.

use super::Written;
use crate::{
    ini_text,
    words::{Complaint, messages as m},
};
use std::collections::BTreeMap;

/// A parsed file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobCfg {
    /// `[DEFAULT]`.
    pub defaults: Written,
    /// The tasks in the order of the file, each with its own keys only.
    pub tasks: Vec<(String, Written)>,
}

/// The name of the section that all others inherit from.
const DEFAULT: &str = "DEFAULT";

/// Keys that are not options of the command line.
const OWN_KEYS: [&str; 3] = ["cmd", "job_name", "deps"];

impl JobCfg {
    /// Reads the bytes of a file. `known` are the long option names.
    pub fn parse(bytes: &[u8], known: &[&str]) -> Result<Self, Complaint> {
        let file = ini_text::read(&decode(bytes), true)
            .map_err(|error| m::BROKEN_JOB_CFG.complain([("why", &error)]))?;
        let raw = |section: &ini::Properties| {
            section
                .iter()
                .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
                .collect::<Vec<_>>()
        };
        let defaults = file.section(Some(DEFAULT)).map(raw).unwrap_or_default();
        let mut parsed = Self { defaults: settle(&[], &defaults, known)?, tasks: Vec::new() };
        for (name, section) in file.iter() {
            match name {
                Some(DEFAULT) => {}
                None if section.is_empty() => {}
                None => {
                    return Err(m::BROKEN_JOB_CFG
                        .complain([("why", &"a key stands before the first [section]")]));
                }
                Some(task) => {
                    let own = settle(&defaults, &raw(section), known)?;
                    parsed.tasks.push((task.trim().to_owned(), own));
                }
            }
        }
        if parsed.tasks.is_empty() { Err(m::NO_TASKS.complain([])) } else { Ok(parsed) }
    }
}

/// The bytes as text, by their mark, else as UTF-8, else as GBK.
fn decode(bytes: &[u8]) -> String {
    let text = match encoding_rs::Encoding::for_bom(bytes) {
        Some((encoding, mark)) => encoding.decode_without_bom_handling(&bytes[mark..]).0,
        None => match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => encoding_rs::GB18030.decode(bytes).0,
        },
    };
    text.replace("\r\n", "\n").replace('\r', "\n")
}

type Lines = [(String, String)];

/// A section's own keys with interpolation and macros done.
fn settle(defaults: &Lines, own: &Lines, known: &[&str]) -> Result<Written, Complaint> {
    let visible: BTreeMap<String, &str> = defaults
        .iter()
        .chain(own)
        .map(|(key, value)| (key.to_lowercase(), value.as_str()))
        .collect();
    let mut macros: Vec<(&str, String)> = Vec::new();
    for (key, value) in defaults.iter().chain(own).filter(|(key, _)| key.starts_with('$')) {
        macros.push((key, interpolate(value, &visible, 0)?));
    }
    // The longest first, so that `$data` does not spoil `$database`; a task's own after that.
    macros.reverse();
    macros.sort_by_key(|(key, _)| std::cmp::Reverse(key.len()));

    let mut written = Written::default();
    for (key, value) in own.iter().filter(|(key, _)| !key.starts_with('$')) {
        let key = key.to_lowercase();
        if !known.contains(&key.as_str()) && !OWN_KEYS.contains(&key.as_str()) {
            return Err(m::UNKNOWN_KEY.complain([("key", &key)]));
        }
        let value = expand(interpolate(value, &visible, 0)?, &macros);
        written.set(&key, &value);
    }
    Ok(written)
}

/// Values may name other values, but not for ever.
const INTERPOLATION_DEPTH_MAX: usize = 10;

/// `%(name)s` is the value of another key, `%%` a percent sign.
fn interpolate(
    value: &str,
    visible: &BTreeMap<String, &str>,
    depth: usize,
) -> Result<String, Complaint> {
    let broken = || m::BROKEN_PERCENT.complain([("text", &value)]);
    if depth > INTERPOLATION_DEPTH_MAX {
        return Err(broken());
    }
    let mut done = String::with_capacity(value.len());
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('%') {
        done.push_str(before);
        if let Some(after) = after.strip_prefix('%') {
            done.push('%');
            rest = after;
        } else {
            let named = after.strip_prefix('(').and_then(|after| after.split_once(")s"));
            let (name, after) = named.ok_or_else(broken)?;
            let other = visible.get(&name.to_lowercase()).ok_or_else(broken)?;
            done.push_str(&interpolate(other, visible, depth + 1)?);
            rest = after;
        }
    }
    Ok(done + rest)
}

/// Replaces macros, written as defined or in small letters.
fn expand(mut value: String, macros: &[(&str, String)]) -> String {
    for (name, text) in macros {
        value = value.replace(name, text).replace(&name.to_lowercase(), text);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 5] = ["nodes", "env", "description", "timeout", "lock"];

    fn show(bytes: &[u8]) -> String {
        let parsed = match JobCfg::parse(bytes, &KNOWN) {
            Ok(parsed) => parsed,
            Err(complaint) => return complaint.to_string(),
        };
        let line = |written: &Written| {
            written
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect::<Vec<_>>()
                .join(" | ")
        };
        let mut lines = vec![format!("* {}", line(&parsed.defaults))];
        lines.extend(parsed.tasks.iter().map(|(name, own)| format!("{name}: {}", line(own))));
        lines.join("\n")
    }

    /// Guide chapter "Docker 作业示例".
    #[test]
    fn the_guides_file_is_three_tasks_with_defaults() {
        let text = "[DEFAULT]\njob_name=log-count\ndescription=demo\ndeps=split->count;count->merge\n\n\
                    [split]\ncmd=python split.py\n\n[count]\ncmd=python count.py\nnodes=3\n\n\
                    [merge]\ncmd=python merge.py\n";
        insta::assert_snapshot!(show(text.as_bytes()), @r"
        * deps=split->count;count->merge | description=demo | job_name=log-count
        split: cmd=python split.py
        count: cmd=python count.py | nodes=3
        merge: cmd=python merge.py
        ");
    }

    #[test]
    fn marks_line_ends_and_code_pages_do_not_matter() {
        let text = "[DEFAULT]\nDescription=日志统计\n[t]\ncmd=echo\n";
        let plain = show(text.as_bytes());
        assert_eq!(plain, "* description=日志统计\nt: cmd=echo");
        let crlf = text.replace('\n', "\r\n");
        let (gbk, _, _) = encoding_rs::GBK.encode(&crlf);
        let marked = [b"\xef\xbb\xbf".as_slice(), crlf.as_bytes()].concat();
        let wide: Vec<u8> = "\u{feff}"
            .chars()
            .chain(crlf.chars())
            .flat_map(|letter| {
                letter
                    .encode_utf16(&mut [0; 2])
                    .iter()
                    .flat_map(|unit| unit.to_le_bytes())
                    .collect::<Vec<_>>()
            })
            .collect();
        for bytes in [crlf.as_bytes(), &gbk, &marked, &wide] {
            assert_eq!(show(bytes), plain);
        }
    }

    #[test]
    fn comments_colons_and_spaces_are_ini() {
        let text = "# one\n; two\n[t]\ncmd: bash -c \"a; b # c\"\nnodes = 2  \nenv=a:C:\\dir\n";
        assert_eq!(
            show(text.as_bytes()),
            "* \nt: cmd=bash -c \"a; b # c\" | env=a:C:\\dir | nodes=2"
        );
    }

    #[test]
    fn an_indented_line_continues_the_value_above_it() {
        assert_eq!(show(b"[t]\ncmd=echo\n  one\nnodes=2\n"), "* \nt: cmd=echo\none | nodes=2");
    }

    #[test]
    fn macros_are_replaced_in_any_case_longest_first() {
        let text = "[DEFAULT]\n$data=/d\n$DataBase=/base\n[t]\n$data=/mine\ncmd=run $data $DataBase $database $data\n";
        assert_eq!(show(text.as_bytes()), "* \nt: cmd=run /mine /base /base /mine");
    }

    #[test]
    fn percent_signs_are_doubled_or_name_another_key() {
        let text = "[DEFAULT]\ndescription=100%% of %(nodes)s\nnodes=4\n[t]\ncmd=date +%%s %(description)s\nnodes=5\n";
        assert_eq!(
            show(text.as_bytes()),
            "* description=100% of 4 | nodes=4\nt: cmd=date +%s 100% of 5 | nodes=5"
        );
        assert!(show(b"[t]\ncmd=date +%s\n").contains("date +%s"));
        assert!(show(b"[t]\ncmd=%(cmd)s\n").contains("%(cmd)s"), "a value that names itself ends");
    }

    #[test]
    fn a_key_nobody_knows_is_refused_by_name() {
        assert!(show(b"[t]\ncmd=a\nndoes=3\n").contains("`ndoes`"));
        assert!(show(b"cmd=a\n").contains("[section]"));
        assert_eq!(show(b"[DEFAULT]\nnodes=1\n"), m::NO_TASKS.en);
        assert!(show(b"[t\ncmd=a").contains("job.cfg"));
    }
}
