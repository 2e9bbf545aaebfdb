//! The mounter as a process of its own: it becomes ready, reports, fails with a reason, and its
//! death is noticed. This program starts itself with the argument `mounter`.

use futures::{StreamExt, stream};
use gristmill_model::Timestamp;
use gristmill_mounts::{
    Source, SourceKind,
    mounter::{Failure, MounterSpec, read_input, serve},
    process::{MounterError, MounterProcess},
};
use gristmill_objects::{ObjectStore, PutOptions, memory::MemoryStore};
use nix::{
    sched::{CloneFlags, unshare},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_change, unmount};
use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::process::Command;

const READY_MAX: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    if env::args().nth(1).as_deref() == Some("mounter") {
        return mounter();
    }
    let in_user_namespace = env::args().nth(1).as_deref() == Some("user-namespace");
    if in_user_namespace && let Err(error) = user_namespace() {
        println!("skipped, because there are no user namespaces here: {error}");
        return ExitCode::SUCCESS;
    }
    if let Err(error) = private_namespace() {
        println!("skipped, because this machine does not let the test mount: {error}");
        return ExitCode::SUCCESS;
    }
    // As root, and once more with nothing but the rights inside a user namespace.
    if !in_user_namespace {
        let again = std::process::Command::new(env::current_exe().expect("we run"));
        let status = { again }.arg("user-namespace").status().expect("we can start ourselves");
        assert!(status.success(), "in a user namespace: {status}");
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let tests = async {
            a_mounter_serves_and_reports().await;
            println!("test a_mounter_serves_and_reports ... ok");
            an_input_that_is_not_there_is_named().await;
            println!("test an_input_that_is_not_there_is_named ... ok");
            the_death_of_a_mounter_is_noticed().await;
            println!("test the_death_of_a_mounter_is_noticed ... ok");
            a_mounter_that_is_told_to_go_unmounts().await;
            println!("test a_mounter_that_is_told_to_go_unmounts ... ok");
            a_command_that_is_no_mounter_is_an_error().await;
            println!("test a_command_that_is_no_mounter_is_an_error ... ok");
        };
        tokio::time::timeout(Duration::from_secs(120), tests).await.expect("nothing hangs");
    });
    ExitCode::SUCCESS
}

/// The child: a store in memory with one object, mounted.
fn mounter() -> ExitCode {
    let spec: MounterSpec = read_input().expect("the parent sends one line");
    let store = MemoryStore::with_bucket(Arc::new(|| Timestamp(1_000_000)), "bkt");
    let body = stream::iter([Ok("text".into())]).boxed();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let put = store.put("bkt", "in/file", PutOptions::default(), body);
    runtime.block_on(put).expect("memory takes it");
    drop(runtime);
    if serve(&spec, Arc::new(store)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn private_namespace() -> io::Result<()> {
    fs::OpenOptions::new().read(true).write(true).open("/dev/fuse")?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    Ok(mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}

/// Root in a user namespace, mapped to ourselves outside.
fn user_namespace() -> io::Result<()> {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    unshare(CloneFlags::CLONE_NEWUSER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1"))
}

fn spec(mount_point: &Path, key: &str, kind: SourceKind) -> MounterSpec {
    MounterSpec {
        sources: vec![Source { bucket: "bkt".to_owned(), key: key.to_owned(), kind }],
        mount_point: mount_point.to_owned(),
        locale: "GBK".to_owned(),
        lock: false,
        uid: 0,
        gid: 0,
        memory_budget: 64 << 20,
    }
}

async fn start(spec: &MounterSpec) -> Result<MounterProcess, MounterError> {
    let mut command = Command::new(env::current_exe().expect("we run"));
    command.arg("mounter");
    MounterProcess::start(command, spec, READY_MAX).await
}

async fn read(path: PathBuf) -> io::Result<Vec<u8>> {
    tokio::task::spawn_blocking(|| fs::read(path)).await.expect("no panic")
}

async fn a_mounter_serves_and_reports() {
    let place = tempfile::tempdir().expect("a directory");
    let mounter = start(&spec(place.path(), "in/", SourceKind::Prefix)).await.expect("ready");
    assert!(mounter.id().is_some());
    assert_eq!(read(place.path().join("0/file")).await.expect("readable"), b"text");
    let report = mounter.finish().await.expect("a report");
    assert_eq!((report.bytes_read, report.requests, report.busy), (4, 2, false));
    assert_eq!(fs::read_dir(place.path()).expect("no mount is left").count(), 0);
}

async fn an_input_that_is_not_there_is_named() {
    let place = tempfile::tempdir().expect("a directory");
    let error =
        start(&spec(place.path(), "none", SourceKind::Object)).await.expect_err("not there");
    let MounterError::Failed(Failure::Source { path, transient, .. }) = &error else {
        panic!("{error}")
    };
    assert_eq!((path.as_str(), *transient), ("oss://bkt/none", false));
    assert!(!error.wants_download());
    let nowhere = spec(Path::new("/nowhere"), "in/", SourceKind::Prefix);
    assert!(start(&nowhere).await.expect_err("no such directory").wants_download());
}

async fn the_death_of_a_mounter_is_noticed() {
    let place = tempfile::tempdir().expect("a directory");
    let mut mounter = start(&spec(place.path(), "in/", SourceKind::Prefix)).await.expect("ready");
    assert_eq!(read(place.path().join("0/file")).await.expect("readable"), b"text");
    kill(Pid::from_raw(mounter.id().expect("it runs") as i32), Signal::SIGKILL).expect("it runs");
    let died = mounter.died().await;
    assert!(matches!(died, MounterError::Died { .. }), "{died}");
    let error = read(place.path().join("0/other")).await.expect_err("nobody answers");
    assert_eq!(error.raw_os_error(), Some(libc::ENOTCONN));
    assert!(matches!(mounter.finish().await, Err(MounterError::Died { .. })));
    unmount(place.path(), UnmountFlags::DETACH).expect("the dead mount can be taken away");
}

async fn a_mounter_that_is_told_to_go_unmounts() {
    let place = tempfile::tempdir().expect("a directory");
    let mounter = start(&spec(place.path(), "in/", SourceKind::Prefix)).await.expect("ready");
    kill(Pid::from_raw(mounter.id().expect("it runs") as i32), Signal::SIGTERM).expect("it runs");
    assert!(!mounter.finish().await.expect("a report").busy);
    assert_eq!(fs::read_dir(place.path()).expect("no mount is left").count(), 0);
}

async fn a_command_that_is_no_mounter_is_an_error() {
    let started = MounterProcess::start(Command::new("echo"), &"x", READY_MAX).await;
    let error = started.expect_err("echo is no mounter");
    assert!(matches!(error, MounterError::Babble { .. } | MounterError::Start { .. }), "{error}");
}
