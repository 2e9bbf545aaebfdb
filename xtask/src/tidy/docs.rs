//! The pages everybody is sent to exist, and links between files lead somewhere.

use super::{Finding, sources::Sources};
use std::path::{Component, Path, PathBuf};

/// What a reader may count on.
const PAGES: &[&str] = &[
    "README.md",
    "README.zh-CN.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "docs/benchmarks.md",
    "docs/compat.md",
    "docs/gaps.md",
];

/// Checks the pages and the links of all pages.
pub fn check(sources: &Sources) -> Vec<Finding> {
    let missing = PAGES.iter().filter(|page| !sources.contains_key(**page));
    let mut findings: Vec<_> = missing.map(|page| format!("{page}: is missing")).collect();
    for (path, text) in sources.iter().filter(|(path, _)| path.ends_with(".md")) {
        let dir = Path::new(path).parent().unwrap_or(Path::new(""));
        for link in links(text) {
            if !leads_somewhere(sources, &plain(&dir.join(link))) {
                findings.push(format!("{path}: the link to `{link}` leads nowhere"));
            }
        }
    }
    findings
}

/// Targets of links to other files of the repository, without their anchors.
fn links(text: &str) -> Vec<&str> {
    let targets = text.match_indices("](").filter_map(|(at, _)| {
        let target = text[at + 2..].split([')', ' ', '\n']).next()?;
        let target = target.split('#').next()?;
        (!target.is_empty() && !target.contains("://") && !target.starts_with("mailto:"))
            .then_some(target)
    });
    targets.collect()
}

/// The path without `.` and `..`.
fn plain(path: &Path) -> String {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(name) => parts.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    parts.to_string_lossy().into_owned()
}

/// Whether there is such a file, or files below it.
fn leads_somewhere(sources: &Sources, path: &str) -> bool {
    let below = format!("{path}/");
    path.is_empty()
        || sources.contains_key(path)
        || sources.range(below.clone()..).next().is_some_and(|(name, _)| name.starts_with(&below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_between_files_are_found() {
        let text = "[a](b.md) and ![c](../d/e.png#x \"t\") but [f](https://example.org) [g](#h)";
        assert_eq!(links(text), ["b.md", "../d/e.png"]);
    }

    #[test]
    fn a_link_may_lead_to_a_file_or_a_directory() {
        let sources: Sources =
            ["docs/adr/001.md", "README.md"].map(|path| (path.to_owned(), String::new())).into();
        for (link, good) in [
            ("docs/adr", true),
            ("docs/adr/", true),
            ("docs/adr/../../README.md", true),
            ("docs/ad", false),
            ("docs/adr/002.md", false),
        ] {
            assert_eq!(leads_somewhere(&sources, &plain(Path::new(link))), good, "{link}");
        }
    }

    #[test]
    fn missing_pages_are_named() {
        let findings = check(&Sources::new());
        assert_eq!(findings.len(), PAGES.len());
        assert_eq!(findings[0], "README.md: is missing");
    }
}
