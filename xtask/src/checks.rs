//! Checks without tests: form, lints, house rules, and (in `ci`) licences and spelling. Each counts
//! as one in the summary; one whose tool is not here is left out and says so.

use crate::{house::House, shell, tally::Tally, tidy};
use anyhow::Result;
use std::{fs, path::PathBuf, process::Command};

/// The spelling checker, from PyPI, where it comes as a program.
const TYPOS: &str = "typos==1.52.0";

/// Form, lints, house rules.
pub fn always(house: &House) -> Result<Tally> {
    let mut tally = Tally::default();
    tally += component(house, "fmt", &["--all", "--check"])?;
    let lints = ["--workspace", "--all-targets", "--", "-D", "warnings"];
    tally += component(house, "clippy", &lints)?;
    println!("\n$ cargo xtask tidy");
    tally += Tally::of(tidy::check(house)?);
    Ok(tally)
}

/// Licences and spelling.
pub fn with_more_tools(house: &House) -> Result<Tally> {
    let mut tally = Tally::default();
    // Not the advisories: their database needs a network that a build machine may lack.
    tally += component(house, "deny", &["check", "bans", "licenses", "sources"])?;
    tally += spelling(house)?;
    Ok(tally)
}

/// A subcommand of cargo that may not be installed.
fn component(house: &House, name: &str, arguments: &[&str]) -> Result<Tally> {
    if !shell::is_there("cargo", &[name, "--version"]) {
        println!("\nleft out: cargo {name} is not installed");
        return Ok(Tally::SKIPPED);
    }
    let mut command = Command::new("cargo");
    command.arg(name).args(arguments).current_dir(&house.root);
    Ok(Tally::of(shell::succeeds(&mut command)?))
}

fn spelling(house: &House) -> Result<Tally> {
    let Some(typos) = typos(house)? else {
        println!("\nleft out: the spelling checker could not be installed");
        return Ok(Tally::SKIPPED);
    };
    let mut command = Command::new(typos);
    command.current_dir(&house.root);
    Ok(Tally::of(shell::succeeds(&mut command)?))
}

/// The spelling checker, installed once below the build directory.
fn typos(house: &House) -> Result<Option<PathBuf>> {
    let place = house.workshop().join("typos");
    let program = place.join("bin/typos");
    if program.exists() {
        return Ok(Some(program));
    }
    if !shell::is_there("python3", &["-c", "import venv, ensurepip"]) {
        return Ok(None);
    }
    fs::create_dir_all(&place)?;
    let made = shell::succeeds(Command::new("python3").args(["-m", "venv"]).arg(&place))?
        && shell::succeeds(
            Command::new(place.join("bin/pip")).args(["install", "--quiet", TYPOS]),
        )?;
    Ok(made.then_some(program))
}
