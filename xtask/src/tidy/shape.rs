//! The shape of source files: each says what it is for, none is a drawer, no function is a scroll,
//! no test is switched off.
//!
//! `xtask/long.txt` lists what is longer than allowed, with its length. An entry may shrink or go,
//! never grow; an entry that is no longer needed is a finding, too.

use super::{Finding, sources::Sources};
use std::collections::BTreeMap;

/// Files above this are listed, for a look.
const FILE_LINES_LISTED: usize = 500;

/// Files above this need an entry in the list.
const FILE_LINES_MAX: usize = 800;

/// Functions above this need an entry in the list.
const FUNCTION_LINES_MAX: usize = 100;

/// Where the exceptions stand.
const EXCEPTIONS: &str = "xtask/long.txt";

/// Checks all files of Rust code.
pub fn check(sources: &Sources) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut long = BTreeMap::new();
    for (path, text) in rust(sources) {
        if !has_header(text) {
            findings.push(format!("{path}: starts without a header (`//!`)"));
        }
        if switches_a_test_off(text) {
            findings.push(format!("{path}: a test is switched off; repair or remove it"));
        }
        long.extend(too_long(path, text));
    }
    let list = sources.get(EXCEPTIONS).map(String::as_str).unwrap_or_default();
    findings.extend(compare(&long, &exceptions(list)));
    findings
}

/// The files a reviewer should know as large; not a finding.
pub fn large_files(sources: &Sources) -> Vec<String> {
    let mut large: Vec<_> = rust(sources)
        .map(|(path, text)| (text.lines().count(), path))
        .filter(|(lines, _)| *lines > FILE_LINES_LISTED)
        .collect();
    large.sort();
    large.iter().rev().map(|(lines, path)| format!("large: {path} has {lines} lines")).collect()
}

fn rust(sources: &Sources) -> impl Iterator<Item = (&String, &String)> {
    sources.iter().filter(|(path, _)| path.ends_with(".rs"))
}

/// Whether documentation of the module comes before everything but attributes.
fn has_header(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim_start);
    lines
        .find(|line| !line.is_empty() && !line.starts_with("#!["))
        .is_some_and(|line| line.starts_with("//!"))
}

fn switches_a_test_off(text: &str) -> bool {
    text.lines().any(|line| line.trim_start().starts_with("#[ignore"))
}

/// What is longer than allowed: its name in the list, and its length.
fn too_long(path: &str, text: &str) -> Vec<(String, usize)> {
    let lines: Vec<_> = text.lines().collect();
    let mut found = Vec::new();
    if lines.len() > FILE_LINES_MAX {
        found.push((path.to_owned(), lines.len()));
    }
    for (at, line) in lines.iter().enumerate() {
        if let Some(name) = function_name(line) {
            let length = function_length(&lines[at..]);
            if length > FUNCTION_LINES_MAX {
                found.push((format!("{path}::{name}"), length));
            }
        }
    }
    found
}

/// The name of the function that begins in this line.
fn function_name(line: &str) -> Option<&str> {
    const BEFORE: &[&str] = &["const", "async", "unsafe", "extern", "\"C\"", "pub"];
    let mut words = line.split_whitespace();
    let word = words.find(|word| !BEFORE.contains(word) && !word.starts_with("pub("))?;
    let name = (word == "fn").then(|| words.next()).flatten()?;
    name.split(['(', '<']).next()
}

/// How many lines the function in the first line has. In formatted code it ends with a brace
/// as far in as its first line.
fn function_length(lines: &[&str]) -> usize {
    let first = lines[0];
    let indent = &first[..first.len() - first.trim_start().len()];
    let end = format!("{indent}}}");
    for (at, line) in lines.iter().enumerate() {
        let over = *line == end || (line.ends_with('}') && at == 0);
        let declared_only = line.ends_with(';') && !lines[..=at].iter().any(|l| l.ends_with('{'));
        if over || declared_only {
            return at + 1;
        }
    }
    lines.len()
}

/// The list: name and length in each line; `#` begins a comment.
fn exceptions(list: &str) -> BTreeMap<String, usize> {
    let rows = list.lines().filter(|line| !line.starts_with('#'));
    rows.filter_map(|row| {
        let (name, length) = row.split_once(' ')?;
        Some((name.to_owned(), length.trim().parse().ok()?))
    })
    .collect()
}

fn compare(long: &BTreeMap<String, usize>, exceptions: &BTreeMap<String, usize>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, lines) in long {
        match exceptions.get(name) {
            None => findings.push(format!("{name}: {lines} lines; is there a second noun in it?")),
            Some(allowed) if lines > allowed => findings
                .push(format!("{name}: grew from {allowed} to {lines} lines; it may only shrink")),
            Some(_) => {}
        }
    }
    for name in exceptions.keys().filter(|name| !long.contains_key(*name)) {
        findings.push(format!("{EXCEPTIONS}: `{name}` is short enough now; remove it"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_first() {
        assert!(has_header("//! Words.\nfn a() {}\n"));
        assert!(has_header("#![allow(x)]\n\n//! Words.\n"));
        assert!(!has_header("use a;\n//! Words.\n"));
        assert!(!has_header(""));
    }

    #[test]
    fn a_test_that_is_switched_off_is_seen() {
        let text = concat!("    #[", "ignore]\n    fn a() {}\n");
        assert!(switches_a_test_off(text));
        assert!(!switches_a_test_off("// it may #[ ignore ] words\n"));
    }

    #[test]
    fn functions_are_measured_from_name_to_brace() {
        let measure = |text: &str| function_length(&text.lines().collect::<Vec<_>>());
        assert_eq!(measure("fn a() {}\nfn b() {}\n"), 1);
        assert_eq!(measure("    fn a(&self);\n    fn b() {\n    }\n"), 1);
        assert_eq!(measure("fn a(\n    x: u8,\n) -> u8\nwhere\n    u8: Copy;\nfn b() {}"), 5);
        assert_eq!(measure("fn a() {\n    if x {\n    }\n}\nfn b() {\n}\n"), 4);
        for (line, name) in [
            ("    pub(crate) async fn one(x: u8) {", Some("one")),
            ("pub const unsafe fn two<T>() {", Some("two")),
            ("    let f = fn_name(x);", None),
            ("/// fn three() {", None),
            ("pub struct A;", None),
        ] {
            assert_eq!(function_name(line), name, "{line}");
        }
    }

    #[test]
    fn long_functions_are_found_and_may_only_shrink() {
        let body = "    x();\n".repeat(FUNCTION_LINES_MAX);
        let text = format!("fn short() {{\n}}\n\nfn long() {{\n{body}}}\n");
        let long: BTreeMap<_, _> = too_long("a.rs", &text).into_iter().collect();
        let length = FUNCTION_LINES_MAX + 2;
        assert_eq!(long, [("a.rs::long".to_owned(), length)].into());
        for (list, findings) in [
            (String::new(), 1),
            (format!("a.rs::long {length}"), 0),
            (format!("a.rs::long {}", length + 1), 0),
            (format!("a.rs::long {}", length - 1), 1),
            (format!("# words\na.rs::long {length}\nb.rs 900"), 1),
        ] {
            assert_eq!(compare(&long, &exceptions(&list)).len(), findings, "{list}");
        }
    }
}
