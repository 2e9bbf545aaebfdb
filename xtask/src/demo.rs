//! Builds the programs and runs `gristmill demo`.

use crate::{house::House, shell};
use anyhow::{Context, Result};
use std::process::{Command, ExitCode};

/// Runs the demo with the given arguments; its exit status is ours.
pub fn run(house: &House, arguments: &[String]) -> Result<ExitCode> {
    let mut build = Command::new("cargo");
    build.args(["build", "--package", "gristmill", "--bins"]).current_dir(&house.root);
    if !shell::succeeds(&mut build)? {
        return Ok(ExitCode::FAILURE);
    }
    let mut demo = Command::new(house.programs().join("gristmill"));
    demo.arg("demo").args(arguments);
    shell::announce(&demo);
    let status = demo.status().context("could not start gristmill")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
