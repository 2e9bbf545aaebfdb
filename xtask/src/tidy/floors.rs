//! The arrows between rooms: a room uses rooms on lower floors, never one beside it.

use super::Finding;
use crate::house::House;

/// Every package and its floor. Workshops stand beside the house and nobody in it uses them.
const FLOORS: &[(&str, u8)] = &[
    ("gristmill-model", 0),
    ("gristmill-faults", 0),
    ("gristmill-files", 0),
    ("gristmill-wire", 1),
    ("gristmill-core", 1),
    ("gristmill-store", 1),
    ("gristmill-objects", 1),
    ("gristmill-messages", 1),
    ("gristmill-provider", 1),
    ("gristmill-runtime", 1),
    ("gristmill-networks", 1),
    ("gristmill-images", 2),
    ("gristmill-mounts", 2),
    ("gristmill-server", 3),
    ("gristmill-gateway", 3),
    ("gristmill-cli", 3),
    ("gristmill-agent", 3),
    ("gristmill", 4),
    ("gristmill-sim", 5),
    ("xtask", 6),
];

/// Checks what each package uses when it is built; tests may reach further.
pub fn check(house: &House) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, package) in &house.packages {
        match floor(name) {
            Some(here) => findings.extend(package.uses.iter().filter_map(|used| {
                let there = floor(used)?;
                (there >= here).then(|| too_high(name, here, used, there))
            })),
            None => findings.push(format!("{name}: has no floor; give it one in tidy/floors.rs")),
        }
    }
    findings
}

fn floor(name: &str) -> Option<u8> {
    FLOORS.iter().find(|row| row.0 == name).map(|row| row.1)
}

fn too_high(name: &str, here: u8, used: &str, there: u8) -> Finding {
    format!("{name} (floor {here}) uses {used} (floor {there}): only lower floors may be used")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::Package;
    use std::path::PathBuf;

    fn house(name: &str, uses: &str) -> House {
        let package = Package {
            dir: PathBuf::new(),
            uses: vec![uses.to_owned(), "serde".to_owned()],
            names: Vec::new(),
        };
        House {
            root: PathBuf::new(),
            target: PathBuf::new(),
            packages: [(name.to_owned(), package)].into(),
        }
    }

    #[test]
    fn only_arrows_downwards_are_allowed() {
        for (name, uses, findings) in [
            ("gristmill-store", "gristmill-model", 0),
            ("gristmill-mounts", "gristmill-objects", 0),
            ("gristmill-store", "gristmill-core", 1),
            ("gristmill-objects", "gristmill-mounts", 1),
            ("gristmill-server", "gristmill-agent", 1),
            ("gristmill-core", "gristmill-sim", 1),
            ("gristmill-cellar", "gristmill-model", 1),
        ] {
            assert_eq!(check(&house(name, uses)).len(), findings, "{name} -> {uses}");
        }
    }
}
