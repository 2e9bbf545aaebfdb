//! What the tests need beside the Rust toolchain and a C compiler. As root on a system with apt it
//! is installed; otherwise it is said what is missing, and the scripts that need it say what they
//! leave out.

use crate::shell;
use anyhow::Result;
use std::{os::unix::fs::MetadataExt, process::Command};

/// A program the tests use.
struct Need {
    /// For people.
    name: &'static str,
    /// How to see that it is there.
    probe: (&'static str, &'static [&'static str]),
    /// The package that brings it.
    package: &'static str,
    /// What is left out without it.
    reason: &'static str,
}

const NEEDS: &[Need] = &[
    Need {
        name: "python3 with venv",
        probe: ("python3", &["-c", "import venv, ensurepip"]),
        package: "python3-venv",
        reason: "the official clients",
    },
    Need {
        name: "unshare",
        probe: ("unshare", &["--version"]),
        package: "util-linux",
        reason: "tests in namespaces of their own",
    },
    Need {
        name: "ip",
        probe: ("ip", &["-V"]),
        package: "iproute2",
        reason: "tests in a network of their own",
    },
    Need {
        name: "nft",
        probe: ("nft", &["--version"]),
        package: "nftables",
        reason: "the way of clusters' networks to the outside",
    },
    Need {
        name: "fusermount3",
        probe: ("fusermount3", &["--version"]),
        package: "fuse3",
        reason: "mounts of an ordinary user",
    },
    Need {
        name: "ssh",
        probe: ("ssh", &["-V"]),
        package: "openssh-client",
        reason: "the SSH door",
    },
    Need {
        name: "java",
        probe: ("java", &["-version"]),
        package: "default-jdk-headless",
        reason: "the official Java SDK",
    },
    Need {
        name: "mvn",
        probe: ("mvn", &["--version"]),
        package: "maven",
        reason: "the official Java SDK",
    },
    Need {
        name: "busybox",
        probe: ("busybox", &["true"]),
        package: "busybox-static",
        reason: "the smallest image",
    },
    Need {
        name: "openssl",
        probe: ("openssl", &["version"]),
        package: "openssl",
        reason: "registries with an authority of their own",
    },
    Need {
        name: "docker-registry",
        probe: ("docker-registry", &["--version"]),
        package: "docker-registry",
        reason: "images of a registry",
    },
    Need {
        name: "valgrind",
        probe: ("valgrind", &["--version"]),
        package: "valgrind",
        reason: "counting instructions of hot paths",
    },
];

/// Sees to it that the needs are there as far as possible.
pub fn provide() -> Result<()> {
    let missing: Vec<_> = NEEDS.iter().filter(|need| !is_met(need)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if is_root() && shell::is_there("apt-get", &["--version"]) {
        install(&missing)?;
    }
    for need in missing.iter().filter(|need| !is_met(need)) {
        println!("missing: {} (package {}): for {}", need.name, need.package, need.reason);
    }
    Ok(())
}

fn is_met(need: &Need) -> bool {
    shell::is_there(need.probe.0, need.probe.1)
}

/// Our own files in `/proc` belong to whom we are.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|about| about.uid() == 0)
}

fn install(missing: &[&Need]) -> Result<()> {
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    shell::succeeds(apt().args(["update", "--quiet"]))?;
    let packages = missing.iter().map(|need| need.package);
    shell::succeeds(apt().args(["install", "--yes", "--no-install-recommends"]).args(packages))?;
    Ok(())
}
