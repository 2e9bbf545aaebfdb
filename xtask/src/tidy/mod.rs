//! What the house rules say and no compiler checks, so that reviews need not.
//!
//! Each rule is a function from the house and its files to findings: a place and a sentence that
//! says what to do. No finding, no output. The rules read files only; nothing is built or run.

mod dependencies;
mod docs;
mod floors;
mod leaks;
mod shape;
mod sources;

use crate::house::House;
use anyhow::Result;
use std::process::ExitCode;

/// Something that is not as the house wants it.
type Finding = String;

/// The command: prints the findings; fails when there are any.
pub fn run(house: &House) -> Result<ExitCode> {
    Ok(if check(house)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks all rules and prints what they find. Whether all is well.
pub fn check(house: &House) -> Result<bool> {
    let sources = sources::read(&house.root)?;
    let mut findings = floors::check(house);
    findings.extend(dependencies::check(house, &sources));
    findings.extend(shape::check(&sources));
    findings.extend(leaks::check(house, &sources));
    findings.extend(docs::check(&sources));
    let report = crate::bench::report::check(&sources);
    findings.extend(report.err().map(|it| format!("{}: {it:#}", crate::bench::report::PAGE)));
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => println!("tidy: {} files, all well", sources.len()),
        count => println!("tidy: {count} findings"),
    }
    for line in shape::large_files(&sources) {
        println!("{line}");
    }
    Ok(findings.is_empty())
}
