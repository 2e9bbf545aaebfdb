//! Trees, hostile and friendly, become objects.

use super::*;
use crate::testing::{BUCKET, Faults, FaultyStore, pattern};
use rustix::fs::{Mode, open};
use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::symlink},
    sync::atomic::Ordering::Relaxed,
    time::Duration,
};

const SMALL_PARTS: PartSizes = PartSizes { single_max: 3 << 20, part_min: 1 << 20 };

fn directory(path: &Path) -> OwnedFd {
    open(path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).expect("it is there")
}

fn uploader(store: &Arc<FaultyStore>) -> Uploader {
    Uploader::new(store.remote(), "GBK".parse().expect("known"), SMALL_PARTS)
}

fn to(prefix: &str) -> Destination {
    Destination { bucket: BUCKET.to_owned(), prefix: prefix.to_owned(), seen_as: None }
}

async fn upload(store: &Arc<FaultyStore>, path: &Path) -> UploadReport {
    uploader(store).tree(directory(path), to("out/")).await
}

#[tokio::test]
async fn a_tree_becomes_objects_across_faults() {
    let (store, local) = (FaultyStore::new(), tempfile::tempdir().expect("a directory"));
    let large = pattern((5 << 20) + 17);
    fs::create_dir_all(local.path().join("a/b")).expect("made");
    fs::create_dir(local.path().join("empty")).expect("made");
    fs::write(local.path().join("a/b/large"), &large).expect("written");
    fs::write(local.path().join("zero"), "").expect("written");
    for number in 0..300 {
        fs::write(local.path().join(format!("a/{number}")), pattern(number)).expect("written");
    }
    store.set(Faults { errors_percent: 5, wrong_crc_every: 50, ..Faults::default() });
    let report = upload(&store, local.path()).await;
    assert_eq!((report.files, report.failed, report.skipped), (302, 0, 0), "{report:?}");
    assert!(report.is_complete());
    assert_eq!(store.bytes("out/a/b/large").await, Some(large));
    assert_eq!(store.bytes("out/zero").await, Some(vec![]));
    assert_eq!(store.bytes("out/empty/").await, Some(vec![]));
    assert_eq!(store.bytes("out/a/299").await, Some(pattern(299)));
    assert_eq!(store.keys().await.len(), 303, "nothing else was written");
    assert!(store.parts.load(Relaxed) >= 6);
}

#[tokio::test]
async fn a_hostile_tree_gives_away_nothing_of_the_host() {
    let (store, local) = (FaultyStore::new(), tempfile::tempdir().expect("a directory"));
    let host = tempfile::tempdir().expect("a directory");
    fs::write(host.path().join("secret"), "secret").expect("written");
    let at = |name: &str| local.path().join(name);
    fs::create_dir(at("sub")).expect("made");
    fs::write(at("sub/file"), "inside").expect("written");
    symlink(host.path().join("secret"), at("absolute")).expect("linked");
    symlink("/etc/shadow", at("shadow")).expect("linked");
    symlink(host.path(), at("directory")).expect("linked");
    symlink("../../../../../../../etc/passwd", at("sub/climb")).expect("linked");
    symlink("/proc/self/root/etc/passwd", at("magic")).expect("linked");
    symlink("circle", at("circle")).expect("linked");
    symlink(".", at("here")).expect("linked");
    symlink("nothing", at("dangling")).expect("linked");
    symlink("../sub", at("sub/up")).expect("linked");
    symlink("sub/file", at("good")).expect("linked");
    rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, Mode::RWXU, 0)
        .expect("made");
    symlink("pipe", at("to-pipe")).expect("linked");
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("bound");
    let report = tokio::time::timeout(Duration::from_secs(60), upload(&store, local.path()))
        .await
        .expect("nothing blocks");
    assert_eq!(store.keys().await, ["out/good", "out/sub/file"]);
    assert_eq!((report.files, report.failed), (2, 0), "{report:?}");
    assert_eq!(report.skipped, 12, "{report:?}");
    assert_eq!(report.warnings.len(), 12);
}

#[tokio::test]
async fn a_name_deleted_in_an_overlay_is_told_and_its_object_stays() {
    use rustix::fs::{CWD, FileType, mknodat};
    let (store, local) = (FaultyStore::new(), tempfile::tempdir().expect("a directory"));
    store.fill("out/old", b"kept".to_vec()).await;
    let whiteout = local.path().join("old");
    mknodat(CWD, whiteout, FileType::CharacterDevice, Mode::empty(), 0).expect("made by anybody");
    let report = upload(&store, local.path()).await;
    assert_eq!((report.failed, report.skipped), (0, 1), "{report:?}");
    assert_eq!(report.warnings, ["old: deleted here; an object of that name stays"]);
    assert_eq!(store.bytes("out/old").await, Some(b"kept".to_vec()));
}

#[tokio::test]
async fn links_inside_the_tree_are_followed() {
    let (store, local) = (FaultyStore::new(), tempfile::tempdir().expect("a directory"));
    let at = |name: &str| local.path().join(name);
    fs::create_dir(at("v1")).expect("made");
    fs::write(at("v1/data"), "d").expect("written");
    symlink("v1", at("current")).expect("linked");
    symlink("/home/out/v1/data", at("by-path")).expect("linked");
    symlink("/home/outer", at("other")).expect("linked");
    let to = Destination { seen_as: Some("/home/out".into()), ..to("") };
    let report = uploader(&store).tree(directory(local.path()), to).await;
    assert_eq!(store.keys().await, ["by-path", "current/data", "v1/data"]);
    assert_eq!(report.skipped, 1, "{report:?}");
}

#[tokio::test]
async fn names_in_gbk_become_utf8_and_are_kept_apart() {
    let (store, local) = (FaultyStore::new(), tempfile::tempdir().expect("a directory"));
    let write = |name: &[u8], text: &str| {
        fs::write(local.path().join(OsStr::from_bytes(name)), text).expect("written");
    };
    write(&[0xC8, 0xD5], "gbk");
    write("日".as_bytes(), "utf8");
    write(&[0xCE, 0xC4], "only gbk");
    write(b"bad\xFF", "neither");
    let report = upload(&store, local.path()).await;
    assert_eq!(store.keys().await, ["out/bad%FF", "out/文", "out/日", "out/日~2"]);
    assert_eq!(store.bytes("out/日").await, Some(b"utf8".to_vec()));
    assert_eq!((report.files, report.warnings.len()), (4, 2), "{report:?}");
}

#[tokio::test]
async fn a_single_file_that_is_not_there_is_a_warning() {
    let (store, local) = (FaultyStore::new(), tempfile::tempdir().expect("a directory"));
    fs::write(local.path().join("result"), "42").expect("written");
    let uploader = uploader(&store);
    let mut report =
        uploader.file(directory(local.path()), Path::new("result"), BUCKET, "r/one").await;
    report.add(uploader.file(directory(local.path()), Path::new("none"), BUCKET, "r/two").await);
    symlink("/etc/shadow", local.path().join("shadow")).expect("linked");
    fs::create_dir(local.path().join("directory")).expect("made");
    for name in ["shadow", "directory"] {
        report.add(uploader.file(directory(local.path()), Path::new(name), BUCKET, "r/x").await);
    }
    assert_eq!((report.files, report.bytes, report.failed, report.skipped), (1, 2, 0, 3));
    let expected = [
        "none: the file does not exist",
        "shadow: the link leads out of the directory",
        "directory: not a regular file",
    ];
    assert_eq!(report.warnings, expected);
    assert_eq!(store.keys().await, ["r/one"]);
}

#[tokio::test]
async fn a_refusal_stops_the_upload_and_is_named() {
    let (store, local) = (FaultyStore::new(), tempfile::tempdir().expect("a directory"));
    for number in 0..200 {
        fs::write(local.path().join(format!("{number}")), "x").expect("written");
    }
    store.set(Faults { denied: Some("out/".to_owned()), ..Faults::default() });
    let report = upload(&store, local.path()).await;
    assert!(report.failed > 0 && report.files == 0, "{report:?}");
    assert_eq!(report.refused, report.failed);
    assert!(report.failures[0].contains("access to `bkt/out/"), "{report:?}");
    assert!(store.puts.load(Relaxed) < 200, "the rest was not tried");
}

#[tokio::test]
async fn a_store_that_does_not_answer_refuses_nothing() {
    let (store, local) = (FaultyStore::new(), tempfile::tempdir().expect("a directory"));
    fs::write(local.path().join("access denied"), "x").expect("written");
    store.set(Faults { errors_percent: 100, ..Faults::default() });
    let report = upload(&store, local.path()).await;
    assert_eq!((report.files, report.failed, report.refused), (0, 1, 0), "{report:?}");
}

#[tokio::test]
async fn an_upload_that_fails_or_is_dropped_leaves_no_parts() {
    let (store, local) = (FaultyStore::new(), tempfile::tempdir().expect("a directory"));
    fs::write(local.path().join("large"), pattern(8 << 20)).expect("written");
    store.set(Faults { delay: Duration::from_millis(20), ..Faults::default() });
    let uploader = uploader(&store);
    let uploading = uploader.tree(directory(local.path()), to("out/"));
    let dropped = tokio::select! {
        _ = uploading => false,
        () = async { while store.parts.load(Relaxed) == 0 { tokio::task::yield_now().await } } => true,
    };
    assert!(dropped, "the upload was under way");
    while store.aborts.load(Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(store.keys().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_file_that_grows_meanwhile_is_uploaded_again() {
    let (store, local) = (FaultyStore::new(), tempfile::tempdir().expect("a directory"));
    let path = local.path().join("log");
    fs::write(&path, "one").expect("written");
    let file = LocalFile::new(
        open_beneath(directory(local.path()).as_fd(), Path::new("log"), OFlags::RDONLY)
            .expect("opens"),
    );
    let file = file.expect("regular");
    fs::write(&path, "one two").expect("written");
    let sent = send_file(&uploader(&store), &file, BUCKET, "log").await.expect("stored");
    assert!(!sent.unsteady);
    assert_eq!(store.bytes("log").await, Some(b"one two".to_vec()));
    fs::write(&path, "1").expect("written");
    let sent = send_file(&uploader(&store), &file, BUCKET, "log").await.expect("stored");
    assert_eq!((sent.bytes, store.bytes("log").await), (1, Some(b"1".to_vec())));
}

#[test]
fn parts_are_large_enough_that_nine_thousand_do() {
    let sizes = PartSizes::default();
    assert_eq!(sizes.part_bytes(16 << 20), 8 << 20);
    assert_eq!(sizes.part_bytes(1 << 40), 117 << 20);
    assert!((1_u64 << 42).div_ceil(sizes.part_bytes(1 << 42)) <= 9_000);
}

#[test]
fn log_objects_are_named_by_job_task_and_instance() {
    let job: JobId = "job-000000005BE3E8AA0000000100000012".parse().expect("legal");
    let task: TaskName = "split".parse().expect("legal");
    let name = log_object_name("stdout", job, &task, InstanceNo(0));
    assert_eq!(name, format!("stdout.{job}.split.0"));
}
