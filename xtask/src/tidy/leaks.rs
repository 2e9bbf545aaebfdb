//! Nothing of the machine it was written on may stand in the repository: no path of the working
//! tree, no host of a private package index. What to look for is read from this machine, so the
//! rule itself names none.

use super::{Finding, sources::Sources};
use crate::house::House;
use std::{collections::BTreeSet, env, fs, path::Path};

/// Hosts everybody knows; naming them tells nothing.
const PUBLIC: &[&str] = &[
    "crates.io",
    "index.crates.io",
    "static.crates.io",
    "github.com",
    "pypi.org",
    "files.pythonhosted.org",
    "registry.npmjs.org",
    "proxy.golang.org",
    "sum.golang.org",
    "localhost",
    "127.0.0.1",
];

/// The only source of packages in the lock file.
const INDEX: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Looks for the words of this machine in all files.
pub fn check(house: &House, sources: &Sources) -> Vec<Finding> {
    let mut words = sources_of_this_machine();
    words.extend(path_of(&house.root));
    let mut findings = Vec::new();
    for (path, text) in sources {
        for word in words.iter().filter(|word| text.contains(word.as_str())) {
            findings.push(format!("{path}: names `{word}`, which only this machine knows"));
        }
    }
    findings.extend(sources.get("Cargo.lock").map(|text| other_sources(text)).unwrap_or_default());
    findings
}

/// The path, unless it is so short that it may stand for something else.
fn path_of(path: &Path) -> Option<String> {
    (path.is_absolute() && path.components().count() > 2).then(|| path.display().to_string())
}

/// Hosts and directories in the settings of package tools.
fn sources_of_this_machine() -> BTreeSet<String> {
    let about_packages = |name: &str| {
        ["INDEX", "REGISTRY", "PROXY", "FIND_LINKS", "MIRROR"]
            .iter()
            .any(|part| name.contains(part))
    };
    let variables = env::vars().filter(|(name, _)| about_packages(&name.to_uppercase()));
    let mut texts: Vec<_> = variables.map(|(_, value)| value).collect();
    let paths: Vec<_> = texts.iter().filter_map(|value| path_of(Path::new(value))).collect();
    let cargo = env::var("CARGO_HOME").or_else(|_| env::var("HOME").map(|home| home + "/.cargo"));
    texts.extend(cargo.ok().and_then(|dir| fs::read_to_string(dir + "/config.toml").ok()));
    texts.iter().flat_map(|text| hosts(text)).chain(paths).collect()
}

/// The hosts of all addresses in a text, without the public ones.
fn hosts(text: &str) -> Vec<String> {
    let ends = |c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '-');
    let mut found = Vec::new();
    for (at, _) in text.match_indices("://") {
        let rest = &text[at + 3..];
        let authority = rest.split(['/', '"', ' ', '\n', '?']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = host.split(ends).next().unwrap_or_default();
        if host.contains('.') && !PUBLIC.contains(&host) {
            found.push(host.to_owned());
        }
    }
    found
}

/// Packages of the lock file that come from elsewhere.
fn other_sources(lock: &str) -> Vec<Finding> {
    lock.lines()
        .filter_map(|line| line.strip_prefix("source = "))
        .map(|source| source.trim_matches('"'))
        .filter(|source| *source != INDEX)
        .map(|source| format!("Cargo.lock: a package comes from `{source}`"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_in_settings() {
        let text = "index = \"sparse+https://user:word@mirror.example.net:8080/index/\"\n\
                    other = \"https://index.crates.io/\" http://cache.example.org";
        assert_eq!(hosts(text), ["mirror.example.net", "cache.example.org"]);
        assert!(hosts("no address here: //x").is_empty());
    }

    #[test]
    fn the_lock_file_names_one_index() {
        let good = format!("source = \"{INDEX}\"\n");
        assert!(other_sources(&good).is_empty());
        assert_eq!(other_sources("source = \"git+https://example.org/x#1\"\n").len(), 1);
    }

    #[test]
    fn a_short_root_is_no_word_to_look_for() {
        assert_eq!(path_of(Path::new("/src")), None);
        assert_eq!(path_of(Path::new("https://a.example.net/b")), None);
        assert_eq!(path_of(Path::new("/home/me/house")).as_deref(), Some("/home/me/house"));
    }
}
