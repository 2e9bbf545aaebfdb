//! Fetches a task's package and unpacks it into the working directory.

use crate::{
    place::RunDirectory,
    trouble::{Trouble, chain},
};
use gristmill_faults::{self as faults, Point};
use gristmill_model::{Cause, OssPath};
use gristmill_mounts::{download::to_file, remote::Remote};
use gristmill_objects::ObjectError;
use gristmill_runtime::{
    Identity,
    package::{self, PackageError, PackageLimits},
};
use gristmill_wire::agent::Task;
use std::{fs::File, io};

/// Fetches and unpacks; a task without a package has an empty working directory.
pub async fn fetch(
    task: &Task,
    directory: &RunDirectory,
    remote: &Remote,
    identity: Identity,
) -> Result<(), Trouble> {
    if task.package.is_empty() {
        return Ok(());
    }
    fail(Point::AgentPackage)?;
    let place: OssPath = task.package.parse().map_err(|error| Trouble::Job {
        cause: Cause::Package,
        message: format!("the package `{}` {error}", task.package),
    })?;
    let file = directory.package();
    let key = (place.bucket(), place.key());
    let fetched = to_file(remote, key, &file, |info| check_size(info.size)).await;
    fetched.map_err(|error| {
        Trouble::of_store(Cause::Package, &format!("could not fetch the package `{place}`"), &error)
    })?;
    fail(Point::AgentUnpack)?;
    let (archive, workdir) = (file.clone(), directory.workdir());
    let unpacked = tokio::task::spawn_blocking(move || {
        let reader = io::BufReader::new(File::open(&archive)?);
        let limits = PackageLimits::default();
        Ok::<_, io::Error>(package::unpack(reader, &workdir, identity, &limits))
    });
    let unpacked = unpacked
        .await
        .map_err(|error| Trouble::of_machine(Cause::Package, "unpacking stopped", error))?
        .map_err(|error| {
            Trouble::of_machine(Cause::Package, "the fetched package is gone", error)
        })?;
    // The archive has served; a failed removal only keeps disk space until the run ends.
    let _ = std::fs::remove_file(&file);
    match unpacked {
        Ok(_) => Ok(()),
        Err(error) => Err(trouble(&place, &error)),
    }
}

fn fail(point: Point) -> Result<(), Trouble> {
    let failed = faults::at(point).or_fail();
    failed.map_err(|fault| Trouble::of_machine(Cause::Package, "no package", fault))
}

/// Whose fault it is: a full disk of this machine is not the archive's.
fn trouble(place: &OssPath, error: &PackageError) -> Trouble {
    let cause = Cause::Package;
    let message = format!("the package `{place}` cannot be unpacked: {}", chain(error));
    match error.is_users() {
        true => Trouble::Job { cause, message },
        false => Trouble::Infrastructure { cause, message },
    }
}

/// What may be unpacked to so many bytes need not be fetched when it is larger already.
fn check_size(size: u64) -> Result<(), ObjectError> {
    let max = PackageLimits::default().bytes_max;
    if size <= max {
        return Ok(());
    }
    let message = format!("it has {size} bytes, the limit is {max}");
    Err(ObjectError::Refused { code: "EntityTooLarge".to_owned(), message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_larger_than_what_it_may_unpack_to_is_not_fetched() {
        assert!(check_size(16 << 30).is_ok());
        let error = check_size((16 << 30) + 1).expect_err("too large");
        assert!(!error.is_transient(), "{error}");
        assert!(chain(&error).contains("17179869185 bytes, the limit is 17179869184"), "{error}");
    }

    #[test]
    fn a_bad_archive_is_the_jobs_fault_and_a_full_disk_the_machines() {
        let place: OssPath = "oss://bucket/worker.tar.gz".parse().expect("legal");
        let bad = PackageError::Refused { name: "../x".into(), why: "a device" };
        let full =
            PackageError::Write { name: "x".into(), source: io::ErrorKind::StorageFull.into() };
        for (error, of_job) in [(bad, true), (full, false)] {
            let trouble = trouble(&place, &error);
            let message = trouble.to_string();
            assert!(message.starts_with("the package `oss://bucket/worker.tar.gz`"), "{message}");
            assert_eq!(matches!(trouble, Trouble::Job { .. }), of_job, "{message}");
        }
    }
}
