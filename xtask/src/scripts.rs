//! Tests that are programs of their own: every executable `tests/*/run`.
//!
//! The contract
//! - It is started in the root of the repository, without standard input, in a process group of
//!   its own, with `GRISTMILL_BIN_DIR` naming the directory of `gristmill` and `bcs`.
//! - Its last line of output is `N passed, N failed, N skipped`; without such a line, or with an exit
//!   status other than 0, it counts as failed. What cannot run on this machine is skipped, with
//!   the reason in a line before.
//! - Its output goes into a file below the build directory and is shown when it fails.
//! - It takes at most [`TIME_MAX`], leaves no process, mount or file outside the build directory,
//!   and uses the network on the loopback only (except to install clients it tests with).

use crate::{house::House, shell, tally::Tally};
use anyhow::{Context, Result};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// The longest time one script may take.
const TIME_MAX: Duration = Duration::from_secs(12 * 60);

/// Runs them all, in the order of their names.
pub fn run(house: &House) -> Result<Tally> {
    let mut tally = Tally::default();
    fs::create_dir_all(house.workshop())?;
    for script in find(&house.root)? {
        tally += run_one(house, &script)?;
    }
    Ok(tally)
}

/// The executable `tests/*/run`.
fn find(root: &Path) -> Result<Vec<PathBuf>> {
    let Ok(entries) = fs::read_dir(root.join("tests")) else {
        return Ok(Vec::new());
    };
    let mut scripts = Vec::new();
    for entry in entries {
        let script = entry?.path().join("run");
        let executable =
            fs::metadata(&script).is_ok_and(|about| about.permissions().mode() & 0o111 != 0);
        if executable {
            scripts.push(script);
        }
    }
    scripts.sort();
    Ok(scripts)
}

fn run_one(house: &House, script: &Path) -> Result<Tally> {
    let name = script.parent().and_then(Path::file_name).context("a script has a directory")?;
    let log = house.workshop().join(name).with_extension("log");
    let mut command = Command::new(script);
    command.current_dir(&house.root).env("GRISTMILL_BIN_DIR", house.programs());
    let status = shell::logged(&mut command, &log, TIME_MAX)?;
    let output = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let (tally, complaint) = judge(&output, status.map(|status| status.success()));
    match complaint {
        Some(complaint) => {
            println!("{output}\n{}: {complaint} ({})", name.to_string_lossy(), log.display());
        }
        None => print_reasons(&output, tally),
    }
    Ok(tally)
}

/// What was left out should be seen in the log of a machine, too.
fn print_reasons(output: &str, tally: Tally) {
    for line in output.lines().filter(|line| tally.skipped > 0 && line.contains("skipped")) {
        println!("{line}");
    }
    if tally.skipped == 0 {
        println!("{tally}");
    }
}

/// The counts of a script, and what is wrong with it. `ended_well` is `None` when it had to be
/// ended.
fn judge(output: &str, ended_well: Option<bool>) -> (Tally, Option<&'static str>) {
    let counts = output.lines().last().and_then(Tally::of_summary);
    let complaint = match (counts, ended_well) {
        (_, None) => "took too long",
        (None, _) => "has no summary in its last line",
        (Some(tally), _) if tally.failed > 0 => return (tally, Some("failed")),
        (Some(_), Some(false)) => "ended with an error although nothing failed",
        (Some(tally), Some(true)) => return (tally, None),
    };
    let mut tally = counts.unwrap_or_default();
    tally += Tally::FAILED;
    (tally, Some(complaint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_believed_only_when_its_summary_and_its_end_agree() {
        let good = "words\n3 passed, 0 failed, 1 skipped\n";
        let bad = "3 passed, 2 failed, 0 skipped";
        let cases = [
            (good, Some(true), (3, 0, 1), true),
            (good, Some(false), (3, 1, 1), false),
            (good, None, (3, 1, 1), false),
            (bad, Some(false), (3, 2, 0), false),
            (bad, Some(true), (3, 2, 0), false),
            ("crashed", Some(false), (0, 1, 0), false),
            ("", Some(true), (0, 1, 0), false),
            ("3 passed, 0 failed, 0 skipped\nmore words", Some(true), (0, 1, 0), false),
        ];
        for (output, ended_well, (passed, failed, skipped), fine) in cases {
            let (tally, complaint) = judge(output, ended_well);
            assert_eq!(tally, Tally { passed, failed, skipped }, "{output}");
            assert_eq!(complaint.is_none(), fine, "{output}");
        }
    }

    #[test]
    fn only_executable_files_named_run_are_scripts() {
        let root = tempfile::tempdir().expect("a directory");
        for (name, mode) in [("b", 0o755), ("a", 0o755), ("no", 0o644)] {
            let dir = root.path().join("tests").join(name);
            fs::create_dir_all(&dir).expect("made");
            fs::write(dir.join("run"), "").expect("written");
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(dir.join("run"), permissions).expect("ours");
        }
        let found = find(root.path()).expect("read");
        let names: Vec<_> = found.iter().map(|path| path.strip_prefix(root.path())).collect();
        assert_eq!(names, [Ok(Path::new("tests/a/run")), Ok(Path::new("tests/b/run"))]);
    }
}
