//! Dependencies: versions and reasons stand in the root manifest only, and what is not used goes.

use super::{Finding, sources::Sources};
use crate::house::{House, Package};

/// Checks the root manifest, the others, and the code below each.
pub fn check(house: &House, sources: &Sources) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in sources.iter().filter(|(path, _)| path.ends_with("Cargo.toml")) {
        if path == "Cargo.toml" {
            findings.extend(without_reason(text));
        } else {
            findings.extend(own_version(path, text));
        }
    }
    for (name, package) in &house.packages {
        findings.extend(unused(house, name, package, sources));
    }
    findings
}

/// The lines of a manifest's tables whose name is `table`, without comments and empty lines.
fn rows(text: &str, table: impl Fn(&str) -> bool) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.lines().filter(move |line| {
        if let Some(name) = line.strip_prefix('[') {
            inside = table(name.trim_end_matches(']'));
            return false;
        }
        inside && line.contains('=') && !line.starts_with('#')
    })
}

fn without_reason(text: &str) -> Vec<Finding> {
    rows(text, |table| table == "workspace.dependencies")
        .filter(|row| !row.contains("path = ") && !row.contains(" # "))
        .map(|row| format!("Cargo.toml: `{row}` has no reason; add one behind ` # `"))
        .collect()
}

fn own_version(path: &str, text: &str) -> Vec<Finding> {
    rows(text, |table| table.ends_with("dependencies"))
        .filter(|row| !row.contains("workspace = true"))
        .map(|row| format!("{path}: `{row}` must take its version from the root manifest"))
        .collect()
}

/// Dependencies no file of the package names.
fn unused(house: &House, name: &str, package: &Package, sources: &Sources) -> Vec<Finding> {
    let Some(dir) = package.dir.strip_prefix(&house.root).ok().and_then(|dir| dir.to_str()) else {
        return Vec::new();
    };
    let code = |path: &str| path.starts_with(&format!("{dir}/")) && path.ends_with(".rs");
    let files: Vec<_> = sources.iter().filter(|(path, _)| code(path)).collect();
    let names = package.names.iter();
    names
        .filter(|(_, in_code)| !files.iter().any(|(_, text)| names_it(text, in_code)))
        .map(|(in_manifest, _)| format!("{name}: does not use its dependency `{in_manifest}`"))
        .collect()
}

/// Whether `name` stands in `text` as a word.
fn names_it(text: &str, name: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        !text[..at].ends_with(part_of_word) && !text[at + name.len()..].starts_with(part_of_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_has_a_reason() {
        let text = "[workspace.dependencies]\n# rooms\nours = { path = \"x\" }\ngood = \"1\" # why\n\
                    bad = \"2\"\n[profile.dev]\ndebug = 1\n";
        assert_eq!(without_reason(text).len(), 1);
        assert!(without_reason(text)[0].contains("bad"));
    }

    #[test]
    fn versions_stand_in_the_root_only() {
        let text = "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\n\
                    b = { workspace = true, optional = true }\nc = \"1\"\n\
                    [dev-dependencies]\nd = { version = \"1\" }\n[lints]\nworkspace = true\n";
        assert_eq!(own_version("x/Cargo.toml", text).len(), 2);
    }

    #[test]
    fn a_name_is_used_when_it_stands_as_a_word() {
        assert!(names_it("use http::Method;", "http"));
        assert!(!names_it("use http_body::Body; // https", "http"));
        assert!(names_it("(http)", "http"));
        assert!(!names_it("", "http"));
    }
}
