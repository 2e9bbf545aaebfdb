//! What cargo knows about the workspace: where it is, which packages there are, and what each
//! uses. Read once per command.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// The workspace.
pub struct House {
    /// Its root directory.
    pub root: PathBuf,
    /// Where cargo builds.
    pub target: PathBuf,
    /// Our packages, by name.
    pub packages: BTreeMap<String, Package>,
}

/// One of our packages.
pub struct Package {
    /// Its directory.
    pub dir: PathBuf,
    /// Names of the dependencies, as its manifest has them; without those for tests only.
    pub uses: Vec<String>,
    /// All dependencies, also those for tests: name in the manifest and name in the code.
    pub names: Vec<(String, String)>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<RawPackage>,
    workspace_members: Vec<String>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct RawPackage {
    name: String,
    id: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<NodeDependency>,
}

#[derive(Deserialize)]
struct NodeDependency {
    name: String,
    pkg: String,
}

impl House {
    /// Asks cargo.
    pub fn look() -> Result<Self> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1"])
            .output()
            .context("could not start cargo")?;
        ensure!(
            output.status.success(),
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let metadata =
            serde_json::from_slice(&output.stdout).context("could not read cargo's answer")?;
        Self::from_metadata(metadata)
    }

    /// Where the programs of an ordinary build are.
    pub fn programs(&self) -> PathBuf {
        self.target.join("debug")
    }

    /// Where this tool keeps logs and helpers.
    pub fn workshop(&self) -> PathBuf {
        self.target.join("xtask")
    }

    fn from_metadata(metadata: Metadata) -> Result<Self> {
        let name_of: BTreeMap<&str, &str> =
            metadata.packages.iter().map(|one| (one.id.as_str(), one.name.as_str())).collect();
        let mut packages = BTreeMap::new();
        for raw in &metadata.packages {
            if !metadata.workspace_members.contains(&raw.id) {
                continue;
            }
            let node = metadata.resolve.nodes.iter().find(|node| node.id == raw.id);
            let node = node.context("cargo names a package it did not resolve")?;
            let names = node.deps.iter().map(|used| {
                let name = name_of.get(used.pkg.as_str()).copied().unwrap_or(&used.name);
                (name.to_owned(), used.name.clone())
            });
            let uses = raw.dependencies.iter().filter(|used| used.kind.as_deref() != Some("dev"));
            let package = Package {
                dir: raw.manifest_path.parent().map(Path::to_owned).unwrap_or_default(),
                uses: uses.map(|used| used.name.clone()).collect(),
                names: names.collect(),
            };
            packages.insert(raw.name.clone(), package);
        }
        Ok(Self { root: metadata.workspace_root, target: metadata.target_directory, packages })
    }
}
