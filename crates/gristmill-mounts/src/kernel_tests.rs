//! Real mounts. Each test runs in a thread with a mount namespace of its own, so that nothing is
//! left behind, and under a time limit. Without the right to mount they say so and pass.

use crate::{
    mounter::{MountReport, Mounted, MounterSpec},
    source::{Source, SourceKind},
    testing::{BUCKET, Faults, FaultyStore, pattern},
};
use nix::sched::{CloneFlags, unshare};
use rustix::{
    io::Errno,
    mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount},
};
use std::{
    ffi::{CString, OsStr},
    fs::{self, File},
    io::{self, Read},
    os::{
        fd::AsFd,
        unix::{
            ffi::OsStrExt,
            fs::{FileExt, MetadataExt},
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{Arc, atomic::Ordering::Relaxed, mpsc},
    thread,
    time::Duration,
};
use tokio::runtime::Runtime;

/// The longest a test may take before it counts as hanging.
const TEST_MAX: Duration = Duration::from_secs(120);

const MB: usize = 1 << 20;

/// A mount in a test.
struct Scene {
    store: Arc<FaultyStore>,
    runtime: Runtime,
    mounted: Option<Mounted>,
    /// Where source 0 is.
    input: PathBuf,
    place: tempfile::TempDir,
}

impl Scene {
    fn path(&self, relative: &str) -> PathBuf {
        self.input.join(relative)
    }

    fn fill(&self, key: &str, body: impl Into<bytes::Bytes>) {
        self.runtime.block_on(self.store.fill(key, body));
    }

    fn stop(&mut self) -> MountReport {
        self.runtime.block_on(self.mounted.take().expect("mounted").stop())
    }

    fn locale(&self) -> &'static str {
        "GBK"
    }

    fn mount(&mut self) {
        let source =
            |key: &str, kind| Source { bucket: BUCKET.to_owned(), key: key.to_owned(), kind };
        let spec = MounterSpec {
            sources: vec![source("in/", SourceKind::Prefix), source("single", SourceKind::Object)],
            mount_point: self.place.path().join("mnt"),
            locale: self.locale().to_owned(),
            lock: false,
            uid: 0,
            gid: 0,
            memory_budget: 256 << 20,
        };
        let started = self.runtime.block_on(Mounted::start(&spec, self.store.clone()));
        self.mounted = Some(started.expect("mounted"));
    }
}

/// Runs `test` with the objects that `prepare` made mounted.
fn on_a_mount(
    prepare: impl FnOnce(&Scene) + Send + 'static,
    test: impl FnOnce(&mut Scene) + Send + 'static,
) {
    if let Err(error) = may_mount() {
        eprintln!("skipped, because this machine does not let the test mount: {error}");
        return;
    }
    let (done, finished) = mpsc::channel();
    let thread = thread::spawn(move || {
        private_namespace().expect("just tried");
        let place = tempfile::tempdir().expect("a directory");
        fs::create_dir(place.path().join("mnt")).expect("made");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let input = place.path().join("mnt/0");
        let mut scene = Scene { store: FaultyStore::new(), runtime, mounted: None, input, place };
        scene.fill("single", "one object");
        prepare(&scene);
        scene.mount();
        test(&mut scene);
        if scene.mounted.is_some() {
            assert!(!scene.stop().busy, "somebody still holds the mount");
        }
        done.send(()).expect("somebody waits");
    });
    match finished.recv_timeout(TEST_MAX) {
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => thread.join().expect("the test"),
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the test hangs"),
    }
}

/// Tries in a thread of its own, because namespaces are not left again.
fn may_mount() -> io::Result<()> {
    crate::kernel::open_device()?;
    thread::spawn(private_namespace).join().expect("no panic")
}

fn private_namespace() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    Ok(mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}

fn names(path: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(path).expect("readable");
    let mut names: Vec<Vec<u8>> =
        entries.map(|entry| entry.expect("readable").file_name().as_bytes().to_vec()).collect();
    names.sort();
    names
}

/// A child that a test beside this one forks has our open files, too, until it executes its program.
fn unmount_when_free(path: &Path) {
    while let Err(error) = unmount(path, UnmountFlags::empty()) {
        assert_eq!(error, Errno::BUSY, "{}", path.display());
        thread::sleep(Duration::from_millis(5));
    }
}

/// Says where two bodies differ instead of printing them.
fn assert_same(got: &[u8], expected: &[u8]) {
    let differs = got.iter().zip(expected).position(|(one, other)| one != other);
    assert_eq!((got.len(), differs), (expected.len(), None));
}

fn errno_of(error: &io::Error) -> i32 {
    error.raw_os_error().expect("from the kernel")
}

#[test]
fn objects_look_like_files_nobody_may_write() {
    on_a_mount(
        |scene| {
            scene.fill("in/a", "hidden by the directory");
            scene.fill("in/a/b", "text");
            scene.fill("in/zero", "");
            scene.fill("in/日志", "gbk");
            scene.fill("in/marker/", "");
        },
        |scene| {
            let gbk: &[u8] = &[0xC8, 0xD5, 0xD6, 0xBE];
            assert_eq!(names(&scene.input), [b"a", &b"marker"[..], b"zero", gbk]);
            assert_eq!(fs::read(scene.path("a/b")).expect("readable"), b"text");
            assert_eq!(fs::read(scene.path("zero")).expect("readable"), b"");
            assert_eq!(
                fs::read(scene.input.join(OsStr::from_bytes(gbk))).expect("readable"),
                b"gbk"
            );
            assert_eq!(fs::read(scene.path("日志")).expect("readable"), b"gbk");
            let single = scene.place.path().join("mnt/1/object");
            assert_eq!(fs::read(&single).expect("readable"), b"one object");
            let file = fs::metadata(scene.path("a/b")).expect("there");
            assert_eq!((file.mode(), file.len(), file.uid()), (0o100_555, 4, 0));
            assert_eq!((file.mtime(), file.nlink()), (1_700_000_000, 1));
            assert_eq!(fs::metadata(scene.path("marker")).expect("there").mode(), 0o40_555);
            let missing = fs::metadata(scene.path("none")).expect_err("not there");
            assert_eq!(errno_of(&missing), libc::ENOENT);
            let refused = fs::write(scene.path("new"), "x").expect_err("read-only");
            assert_eq!(errno_of(&refused), libc::EROFS);
            let report = scene.stop();
            assert_eq!((report.hidden_names, report.busy), (1, false), "{report:?}");
            assert_eq!(report.changed_inputs, Vec::<String>::new());
        },
    );
}

#[test]
fn random_and_sequential_reads_are_the_bytes_of_the_object() {
    on_a_mount(
        |scene| scene.fill("in/large", pattern(48 * MB + 12_345)),
        |scene| {
            let body = pattern(48 * MB + 12_345);
            let file = File::open(scene.path("large")).expect("opens");
            let mut state = 3_u64;
            for _ in 0..400 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(77);
                let offset = (state >> 16) as usize % body.len();
                let length = (1 + (state >> 50) as usize * 17).min(body.len() - offset);
                let mut got = vec![0; length];
                file.read_exact_at(&mut got, offset as u64).expect("readable");
                assert!(got == body[offset..offset + length], "at {offset}");
            }
            let whole = fs::read(scene.path("large")).expect("readable");
            assert!(whole == body, "in one pass");
            // The kernel may lose pages when others need memory, but not every time.
            let costs_nothing = (0..20).any(|_| {
                let before = scene.store.gets.load(Relaxed);
                assert!(fs::read(scene.path("large")).expect("readable") == body);
                scene.store.gets.load(Relaxed) == before
            });
            assert!(costs_nothing, "the kernel keeps what it has read");
        },
    );
}

#[test]
fn one_pass_fetches_every_byte_once_and_random_reads_little_more_than_they_ask() {
    on_a_mount(
        |scene| {
            scene.fill("in/once", pattern(64 * MB));
            scene.fill("in/random", pattern(64 * MB));
        },
        |scene| {
            let fetched = |scene: &Scene| {
                let mounted = scene.mounted.as_ref().expect("mounted");
                mounted.meter().bytes_read.load(Relaxed) as usize
            };
            let mut file = File::open(scene.path("once")).expect("opens");
            while file.read(&mut vec![0; MB]).expect("readable") > 0 {}
            let once = fetched(scene);
            assert!((64 * MB..66 * MB).contains(&once), "{once} bytes for one pass");
            let file = File::open(scene.path("random")).expect("opens");
            let mut state = 11_u64;
            for _ in 0..200 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(7);
                let offset = (state >> 20) % (64 * MB as u64 / 4096) * 4096;
                file.read_exact_at(&mut [0; 4096], offset).expect("readable");
            }
            let random = fetched(scene) - once;
            assert!(random <= 16 * 200 * 4096, "{random} bytes for 200 reads");
        },
    );
}

#[test]
fn faults_of_the_store_are_not_seen_through_the_mount() {
    on_a_mount(
        |scene| {
            for number in 0..200 {
                scene.fill(&format!("in/d{}/f{number}", number % 5), pattern(number * 100));
            }
            scene.fill("in/large", pattern(20 * MB));
            scene.store.set(Faults { errors_percent: 5, short_percent: 10, ..Faults::default() });
        },
        |scene| {
            for number in 0..200 {
                let path = scene.path(&format!("d{}/f{number}", number % 5));
                assert!(fs::read(path).expect("readable") == pattern(number * 100), "{number}");
            }
            assert!(fs::read(scene.path("large")).expect("readable") == pattern(20 * MB));
            assert!(scene.stop().retries > 0);
        },
    );
}

#[test]
fn listing_ten_thousand_with_attributes_costs_eleven_requests() {
    on_a_mount(
        |scene| (0..10_000).for_each(|number| scene.fill(&format!("in/f-{number:05}"), "xyz")),
        |scene| {
            let entries = fs::read_dir(scene.input.clone()).expect("readable");
            let sizes =
                entries.map(|entry| entry.expect("readable").metadata().expect("there").len());
            assert_eq!(sizes.collect::<Vec<_>>(), vec![3; 10_000]);
            // One more looks at the single object.
            let requests = scene.store.requests.load(Relaxed) - 1;
            assert!(requests <= 11, "{requests}");
        },
    );
}

#[test]
fn small_files_cost_one_request_each() {
    on_a_mount(
        |scene| {
            (0..300).for_each(|number| scene.fill(&format!("in/f-{number}"), pattern(16 << 10)))
        },
        |scene| {
            for number in 0..300 {
                let got = fs::read(scene.path(&format!("f-{number}"))).expect("readable");
                assert!(got == pattern(16 << 10));
            }
            assert_eq!(scene.store.gets.load(Relaxed), 300);
        },
    );
}

#[test]
fn an_object_replaced_or_deleted_while_it_is_read_is_stale() {
    on_a_mount(
        |scene| {
            scene.fill("in/replaced", pattern(40 * MB));
            scene.fill("in/deleted", pattern(40 * MB));
            scene.fill("in/before", "old");
        },
        |scene| {
            let body = pattern(40 * MB);
            let open = |name: &str| {
                let file = File::open(scene.path(name)).expect("opens");
                let mut first = vec![0; 4096];
                file.read_exact_at(&mut first, 0).expect("readable");
                assert!(first == body[..4096]);
                file
            };
            let (replaced, deleted) = (open("replaced"), open("deleted"));
            scene.fill("in/replaced", pattern(40 * MB + 1));
            scene.fill("in/before", "new");
            scene.runtime.block_on(async {
                use gristmill_objects::ObjectStore;
                scene.store.inner.delete(BUCKET, "in/deleted").await.expect("deleted");
            });
            for file in [&replaced, &deleted] {
                for offset in [30 * MB as u64, 10 * MB as u64, 30 * MB as u64 + 5] {
                    let error = file.read_at(&mut [0; 4096], offset).expect_err("stale");
                    assert_eq!(errno_of(&error), libc::ESTALE);
                }
            }
            let error = fs::read(scene.path("before")).expect_err("stale before its first read");
            assert_eq!(errno_of(&error), libc::ESTALE);
            let again = File::open(scene.path("replaced")).expect_err("stale for good");
            assert_eq!(errno_of(&again), libc::ESTALE);
            drop((replaced, deleted));
            let mut changed = scene.stop().changed_inputs;
            changed.sort();
            let expected =
                ["before", "deleted", "replaced"].map(|name| format!("oss://bkt/in/{name}"));
            assert_eq!(changed, expected);
        },
    );
}

#[test]
fn a_refused_object_is_a_refused_read_and_others_are_not_touched() {
    on_a_mount(
        |scene| {
            scene.fill("in/secret", "no");
            scene.fill("in/public", "yes");
        },
        |scene| {
            scene.store.set(Faults { denied: Some("secret".to_owned()), ..Faults::default() });
            let error = fs::read(scene.path("secret")).expect_err("denied");
            assert_eq!(errno_of(&error), libc::EACCES);
            assert_eq!(fs::read(scene.path("public")).expect("readable"), b"yes");
        },
    );
}

#[test]
fn many_readers_share_the_mount() {
    on_a_mount(
        |scene| {
            (0..8)
                .for_each(|number| scene.fill(&format!("in/f-{number}"), pattern(9 * MB + number)))
        },
        |scene| {
            let scene = &*scene;
            let bodies: Vec<Vec<u8>> = (0..8).map(|number| pattern(9 * MB + number)).collect();
            let bodies = &bodies;
            thread::scope(|scope| {
                for reader in 0..64 {
                    scope.spawn(move || {
                        let number = reader % 8;
                        let got = fs::read(scene.path(&format!("f-{number}"))).expect("readable");
                        assert_same(&got, &bodies[number]);
                    });
                }
            });
        },
    );
}

#[test]
fn a_killed_reader_ends_although_the_store_does_not_answer() {
    on_a_mount(
        |scene| scene.fill("in/slow", pattern(4 * MB)),
        |scene| {
            scene.store.set(Faults { delay: Duration::from_secs(100), ..Faults::default() });
            let before = scene.store.gets.load(Relaxed);
            let child = Command::new("cat")
                .arg(scene.path("slow"))
                .stdout(std::process::Stdio::null())
                .spawn()
                .expect("cat is there");
            while scene.store.gets.load(Relaxed) == before {
                thread::yield_now();
            }
            assert_ends_when_killed(child);
        },
    );
}

#[test]
fn who_lists_or_looks_for_a_name_can_be_killed_although_the_store_does_not_answer() {
    on_a_mount(
        |scene| {
            (0..1_001).for_each(|number| scene.fill(&format!("in/{number:04}"), "x"));
            scene.store.set(Faults { quiet_after_lists: Some(1), ..Faults::default() });
        },
        |scene| {
            for (program, name) in [("ls", ""), ("cat", "1000")] {
                let mut command = Command::new(program);
                let child = command.arg(scene.path(name)).spawn().expect("it is there");
                wait_until_asked(child.id());
                assert_ends_when_killed(child);
            }
        },
    );
}

/// Waits until a process waits for an answer of ours, for some seconds where the kernel does not tell.
fn wait_until_asked(process: u32) {
    let place = format!("/proc/{process}/wchan");
    let asks = |at: String| at.contains("request_wait_answer");
    for _ in 0..500 {
        if fs::read_to_string(&place).is_ok_and(asks) {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn assert_ends_when_killed(mut child: Child) {
    child.kill().expect("it runs");
    let (done, ended) = mpsc::channel();
    thread::spawn(move || done.send(child.wait().expect("it ends")));
    ended.recv_timeout(Duration::from_secs(30)).expect("it does not hang");
}

#[test]
fn a_slow_object_does_not_hold_up_others() {
    on_a_mount(
        |scene| {
            (0..20).for_each(|number| scene.fill(&format!("in/stuck-{number}"), "slow"));
            scene.fill("in/quick", "quick");
        },
        |scene| {
            scene.store.set(Faults { stuck: Some("stuck".to_owned()), ..Faults::default() });
            let stuck: Vec<_> = (0..20)
                .map(|number| {
                    let path = scene.path(&format!("stuck-{number}"));
                    Command::new("cat").arg(path).spawn().expect("cat is there")
                })
                .collect();
            while scene.store.gets.load(Relaxed) < 20 {
                thread::yield_now();
            }
            assert_eq!(fs::read(scene.path("quick")).expect("readable"), b"quick");
            assert_eq!(names(&scene.input).len(), 21);
            for mut child in stuck {
                child.kill().expect("it waits");
                child.wait().expect("it ends");
            }
        },
    );
}

#[test]
fn locks_work_among_the_programs_of_a_mount() {
    on_a_mount(
        |scene| scene.fill("in/f", "x"),
        |scene| {
            use nix::fcntl::{Flock, FlockArg};
            let open = || File::open(scene.path("f")).expect("opens");
            let held = Flock::lock(open(), FlockArg::LockExclusive).expect("locks work");
            let (_, error) =
                Flock::lock(open(), FlockArg::LockExclusiveNonblock).expect_err("held");
            assert_eq!(error, nix::errno::Errno::EWOULDBLOCK);
            drop(held);
            drop(Flock::lock(open(), FlockArg::LockExclusiveNonblock).expect("free again"));
        },
    );
}

#[test]
fn an_overlay_above_takes_changes_and_the_store_sees_none() {
    on_a_mount(
        |scene| {
            scene.fill("in/dir/keep", "kept");
            scene.fill("in/dir/edit", "before");
            scene.fill("in/dir/drop", "gone");
        },
        |scene| {
            let place = scene.place.path().to_owned();
            let at = |name: &str| place.join(name);
            fs::create_dir(at("scratch")).expect("made");
            mount("tmpfs", at("scratch"), "tmpfs", MountFlags::empty(), None).expect("a tmpfs");
            for name in ["scratch/upper", "scratch/work", "scratch/merged"] {
                fs::create_dir(at(name)).expect("made");
            }
            let show = |name: &str| at(name).display().to_string();
            let options = format!(
                "lowerdir={},upperdir={},workdir={}",
                show("mnt/0"),
                show("scratch/upper"),
                show("scratch/work")
            );
            let options = CString::new(options).expect("no NUL");
            let merged = at("scratch/merged");
            mount("overlay", merged.as_path(), "overlay", MountFlags::empty(), options.as_c_str())
                .expect("an overlay above the mount");
            fs::write(merged.join("dir/new"), "new").expect("writable");
            let mut text = fs::read_to_string(merged.join("dir/edit")).expect("readable");
            text.push_str(" and after");
            fs::write(merged.join("dir/edit"), &text).expect("writable");
            fs::remove_file(merged.join("dir/drop")).expect("removable");
            assert_eq!(names(&merged.join("dir")), [&b"edit"[..], b"keep", b"new"]);
            assert_eq!(
                fs::read_to_string(merged.join("dir/edit")).expect("readable"),
                "before and after"
            );
            let keys = scene.runtime.block_on(scene.store.keys());
            assert_eq!(keys, ["in/dir/drop", "in/dir/edit", "in/dir/keep", "single"]);
            unmount_when_free(&merged);
            let upper = File::open(at("scratch/upper")).expect("opens");
            let changes = crate::overlay::changes(upper.as_fd());
            drop(upper);
            assert_eq!(changes.files, 3);
            assert_eq!(changes.examples, ["dir/drop", "dir/edit", "dir/new"].map(PathBuf::from));
            unmount_when_free(&at("scratch"));
        },
    );
}

#[test]
fn a_mount_that_is_still_in_use_is_taken_away_all_the_same() {
    on_a_mount(
        |scene| scene.fill("in/f", "text"),
        |scene| {
            let mut file = File::open(scene.path("f")).expect("opens");
            let report = scene.stop();
            assert!(report.busy);
            assert!(!scene.path("f").exists());
            let mut text = String::new();
            file.read_to_string(&mut text).expect("readable until it is closed");
            assert_eq!(text, "text");
        },
    );
}
