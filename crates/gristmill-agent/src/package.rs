//! Fetches a task's package and unpacks it into the working directory.

use crate::{
    place::RunDirectory,
    trouble::{Trouble, chain},
};
use futures::TryStreamExt;
use gristmill_faults::{self as faults, Point};
use gristmill_model::{Cause, OssPath};
use gristmill_mounts::remote::Remote;
use gristmill_objects::{GetOptions, ObjectError};
use gristmill_runtime::{
    Identity,
    package::{self, PackageError, PackageLimits},
};
use gristmill_wire::agent::Task;
use std::{fs::File, io, path::Path};
use tokio::io::AsyncWriteExt;

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
    download(remote, &place, &file).await.map_err(|error| {
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

async fn download(remote: &Remote, place: &OssPath, file: &Path) -> Result<(), ObjectError> {
    remote
        .ask("fetch a package", || async {
            let object =
                remote.store().get(place.bucket(), place.key(), GetOptions::default()).await?;
            check_size(object.info.size)?;
            let io = |source| ObjectError::Io { doing: "write the package to disk".into(), source };
            let mut target = tokio::fs::File::create(file).await.map_err(io)?;
            let mut body = object.body;
            let mut length = 0;
            while let Some(piece) = body.try_next().await.map_err(io)? {
                target.write_all(&piece).await.map_err(io)?;
                length += piece.len() as u64;
            }
            target.flush().await.map_err(io)?;
            if length == object.info.size {
                Ok(())
            } else {
                Err(short(place, object.info.size, length))
            }
        })
        .await
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

fn short(place: &OssPath, expected: u64, actual: u64) -> ObjectError {
    ObjectError::Corrupt {
        what: "length",
        key: place.key().to_owned(),
        expected: expected.to_string(),
        actual: actual.to_string(),
    }
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
