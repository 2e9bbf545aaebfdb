//! What becomes of runs: exits, errors, mounts, stops, and that nothing is left.

mod support;

use gristmill_runtime::{Exit, Limits, MountKind, Root, RunEvent, Stage};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;
use std::{fs, os::unix::fs::PermissionsExt, path::Path};
use support::{Agent, By, as_everyone, is_root, processes_with, until};

#[test]
fn exit_codes_and_signals_are_told_apart() {
    as_everyone(|agent| {
        for (script, exit) in [
            ("exit 0", Exit::Code(0)),
            ("exit 3", Exit::Code(3)),
            ("exit 255", Exit::Code(255)),
            ("exit 137", Exit::Code(137)),
            ("kill -TERM $$", Exit::Signal(15)),
            ("kill -KILL $$", Exit::Signal(9)),
            ("kill -SEGV $$", Exit::Signal(11)),
            ("kill -PIPE $$", Exit::Signal(13)),
        ] {
            assert_eq!(agent.sh(script).exit(), exit, "{script}");
        }
        let probe = agent.probe();
        let plan = agent.plan(&["/probe", "abort"]).mount("/probe", probe);
        assert_eq!(agent.run(plan).exit(), Exit::Signal(6));
    });
}

#[test]
fn a_run_is_started_once_and_ends_once_with_what_it_used() {
    as_everyone(|agent| {
        let words = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; sleep 0.1";
        let plan = agent.plan(&["sh", "-c", words]);
        let run = agent.spawn(plan);
        agent.wait(run);
        let [RunEvent::Started { pid, at_micros }, RunEvent::Exited(ended)] = agent.events(run)
        else {
            panic!("{:?}", agent.events(run));
        };
        assert!(*pid > 1 && *at_micros > 0 && *at_micros == ended.started_micros);
        assert!(!ended.kept, "it has no lineage");
        assert!(ended.usage.user_micros > 0 && ended.usage.resident_bytes_max > 100_000);
    });
}

#[test]
fn output_goes_where_it_was_asked_to_and_can_be_opened_anew() {
    as_everyone(|agent| {
        let outcome =
            agent.sh("echo out; echo err >&2; echo again >> /dev/stderr; echo x > /dev/null");
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("out\n", "err\nagain\n"));
    });
}

#[test]
fn a_terminal_controls_the_program_that_reads_from_it() {
    as_everyone(|agent| {
        let script = "read word && test -t 0 && echo \"$word\" && echo said >/dev/tty && stty size";
        let mut plan = agent.plan(&["sh", "-c", script]);
        plan.typed = Some("hello\n".into());
        let run = agent.spawn(plan);
        assert_eq!(agent.wait(run).output(), "hello\n17 91");
    });
}

#[test]
fn a_program_that_cannot_be_executed_says_precisely_why() {
    as_everyone(|agent| {
        let home = agent.directory("package");
        let script = |name: &str, text: &str, mode| {
            fs::write(home.join(name), text).expect("written");
            fs::set_permissions(home.join(name), fs::Permissions::from_mode(mode)).expect("set");
        };
        script("plain", "echo x", 0o755);
        script("sealed", "#!/bin/sh\n", 0o644);
        script("lost", "#!/no/such/python -u\n", 0o755);
        script("windows", "#!/bin/sh\r\necho x\r\n", 0o755);
        fs::create_dir(home.join("directory")).expect("made");
        let (pipe, all) = (home.join("pipe"), Mode::from_raw_mode(0o755));
        mknodat(CWD, &pipe, FileType::Fifo, all, 0).expect("made");
        let table: &[(&[&str], Stage, &str)] = &[
            (
                &["no-such-program"],
                Stage::Program,
                "`no-such-program` was not found in PATH (/usr/bin:/bin)",
            ),
            (&["./nothing"], Stage::Program, "`./nothing` does not exist"),
            (&["/work/nothing"], Stage::Program, "`/work/nothing` does not exist"),
            (&["./sealed"], Stage::Program, "`./sealed` is not executable"),
            (
                &["./lost"],
                Stage::Program,
                "the interpreter `/no/such/python` of `./lost` does not exist",
            ),
            (
                &["./windows"],
                Stage::Program,
                "the interpreter `/bin/sh\\r` of `./windows` does not exist",
            ),
            (&["./directory"], Stage::Program, "`./directory` is a directory"),
            (&["./pipe"], Stage::Program, "`./pipe` is not executable"),
            (&["./plain"], Stage::Program, "`./plain` is not a program for this machine"),
            (&[""], Stage::Program, "the program's name is empty"),
            (&[], Stage::Program, "the program's name is empty"),
        ];
        for (words, stage, message) in table {
            let plan = agent
                .plan(words)
                .mount("/package", MountKind::Bind { source: home.clone(), read_only: false })
                .directory("/package");
            let outcome = agent.run(plan);
            let failure = outcome.failure();
            assert!(failure.message.starts_with(message), "{message}: {failure:?}");
            assert_eq!(failure.stage, *stage);
            assert!(failure.is_users());
        }
        let plan = agent.plan(&["true"]).directory("/no/such/directory");
        let outcome = agent.run(plan);
        assert_eq!(outcome.failure().stage, Stage::Directory);
        assert!(
            outcome.failure().message.starts_with(
                "cannot enter the working directory `/no/such/directory`: No such file"
            )
        );
    });
}

#[test]
fn a_huge_environment_arrives_and_a_larger_one_is_refused_clearly() {
    as_everyone(|agent| {
        let large = "x".repeat(100_000);
        let env = [("PATH", "/usr/bin:/bin"), ("A", &large), ("B", &large), ("C", &large)];
        let plan = agent.plan(&["sh", "-c", "echo ${#A} ${#C}"]).env(&env);
        assert_eq!(agent.run(plan).output(), "100000 100000");
        let too_large = "x".repeat(200_000); // one text may have 128 KiB
        let plan = agent.plan(&["/bin/true"]).env(&[("A", &too_large)]);
        assert_eq!(
            agent.run(plan).failure().message,
            "the arguments and the environment are too long"
        );
    });
}

#[test]
fn binds_show_the_agent_s_files() {
    as_everyone(|agent| {
        let data = agent.directory("data");
        agent.file(&data.join("word"), "hello");
        let bind = |read_only| MountKind::Bind { source: data.clone(), read_only };
        let one = MountKind::Bind { source: data.join("word"), read_only: true };
        let plan = agent
            .plan(&[
                "sh",
                "-c",
                "cat /in/deep/word /one.txt /out/word; echo new > /out/new; \
                     echo bad > /in/deep/new || echo refused; echo bad > /one.txt || echo refused",
            ])
            .mount("/in/deep", bind(true))
            .mount("/out", bind(false))
            .mount("/one.txt", one);
        if is_root() && agent.by == By::Root {
            std::os::unix::fs::chown(&data, Some(65_534), Some(65_534)).expect("given away");
        }
        assert_eq!(agent.run(plan).output(), "hellohellohellorefused\nrefused");
        assert_eq!(fs::read_to_string(data.join("new")).expect("written"), "new\n");
        assert_eq!(fs::read_to_string(data.join("word")).expect("kept"), "hello");
    });
}

#[test]
fn changes_in_an_overlay_are_thrown_away() {
    as_everyone(|agent| {
        let data = agent.directory("data");
        agent.file(&data.join("kept"), "kept");
        agent.file(&data.join("removed"), "removed");
        let script =
            "cd /in && rm removed && echo more >> kept && echo new > new && cat kept new; ls";
        for _ in 0..2 {
            let overlay = MountKind::Overlay { lower: data.clone() };
            let plan = agent.plan(&["sh", "-c", script]).mount("/in", overlay);
            assert_eq!(agent.run(plan).output(), "keptmore\nnew\nkept\nnew");
        }
        assert_eq!(fs::read_to_string(data.join("kept")).expect("kept"), "kept");
        assert!(data.join("removed").exists() && !data.join("new").exists());
    });
}

#[test]
fn names_with_odd_characters_can_be_mounted() {
    as_everyone(|agent| {
        let data = agent.directory("a:b,c\\d 你好");
        agent.file(&data.join("f"), "found");
        let plan = agent
            .plan(&["cat", "/x:y,z\\ 你/f", "/bound: ,/f"])
            .mount("/x:y,z\\ 你", MountKind::Overlay { lower: data.clone() })
            .mount("/bound: ,", MountKind::Bind { source: data, read_only: true });
        assert_eq!(agent.run(plan).output(), "foundfound");
    });
}

#[test]
fn what_a_program_wrote_is_found_where_the_layout_says() {
    as_everyone(|agent| {
        let data = agent.directory("data");
        let script = "for f in $FILES; do mkdir -p $(dirname $f) && echo $f > $f || exit 1; done";
        let files = [
            "/made",
            "/tmp/made",
            "/var/tmp/made",
            "/home/made",
            "/usr/made",
            "/new/deep/made",
            "/in/made",
            "/root/made",
            "/opt/made",
        ];
        let mut plan = agent
            .plan(&["sh", "-c", script])
            .env(&[("PATH", "/usr/bin:/bin"), ("FILES", &files.join(" "))])
            .mount("/in", MountKind::Overlay { lower: data })
            .masked(Path::new("/opt"));
        plan.locate = files.map(String::from).to_vec();
        let run = agent.spawn(plan);
        agent.wait(run).output();
        for (file, place) in files.iter().zip(&agent.located[&run]) {
            let place = place.as_deref().expect(file);
            assert_eq!(fs::read_to_string(place).expect(file), format!("{file}\n"), "{place:?}");
        }
    });
}

#[test]
fn a_scratch_directory_may_be_bounded_memory() {
    as_everyone(|agent| {
        let mut plan = agent.plan(&[
            "sh",
            "-c",
            "echo x > /usr/new && ls -A /tmp && head -c 3000000 /dev/zero > /tmp/f || wc -c < /tmp/f",
        ]);
        plan.scratch_bytes = Some(2 << 20);
        let outcome = agent.run(plan);
        let written: u64 = outcome.output().parse().expect("a number");
        assert!((1 << 20..=2 << 20).contains(&written), "{outcome:?}");
    });
}

#[test]
fn memory_mounts_have_a_bound() {
    as_everyone(|agent| {
        let plan = agent
            .plan(&["sh", "-c", "head -c 3000000 /dev/zero > /m/f || wc -c < /m/f"])
            .mount("/m", MountKind::Tmpfs { size: 1 << 20 });
        let outcome = agent.run(plan);
        assert_eq!(outcome.output(), "1048576");
        assert!(outcome.stderr.contains("No space left"), "{outcome:?}");
    });
}

#[test]
fn a_mount_that_cannot_be_made_is_named() {
    as_everyone(|agent| {
        let lost = MountKind::Bind { source: "/no/such/source".into(), read_only: true };
        let plan = agent.plan(&["true"]).mount("/in", lost);
        let outcome = agent.run(plan);
        assert_eq!(outcome.failure().stage, Stage::Files);
        assert!(outcome.failure().message.starts_with("cannot mount `/in`: No such file"));
        let plan = agent.plan(&["true"]).mount("/etc/passwd/x", MountKind::Tmpfs { size: 1 << 20 });
        let outcome = agent.run(plan);
        assert!(outcome.failure().message.starts_with("cannot mount `/etc/passwd/x`: Not a dir"));
    });
}

#[test]
fn the_sandbox_has_what_programs_expect() {
    as_everyone(|agent| {
        let checks = [
            "[ $(hostname) = worker-0 ]",
            "[ -c /dev/null ] && [ -c /dev/zero ] && head -c 1 /dev/urandom > /dev/null",
            "echo x > /dev/shm/x",
            "[ -e /dev/ptmx ] && [ -d /dev/pts ]",
            "[ -d /proc/self ] && [ -d /sys/devices/system/cpu ]",
            "mkdir /data && echo x > /data/x && mkdir -p /home/admin/work /opt/tool /srv/x",
            "[ \"$(stat -c %a /tmp /var/tmp | tr '\\n' ' ')\" = '1777 1777 ' ]",
            "[ $(ulimit -c) = 0 ]",
            "getent hosts localhost > /dev/null",
            "mktemp > /dev/null && touch /root/x && [ ! -t 0 ]",
            "touch /etc/new && mv /etc/new /etc/newer",
        ];
        for check in checks {
            assert_eq!(agent.sh(check).exit(), Exit::Code(0), "{check}");
        }
    });
}

#[test]
fn limits_are_set_and_asking_for_more_than_is_allowed_is_no_error() {
    as_everyone(|agent| {
        let limits = |files| Limits { files_max: Some(files), ..Limits::default() };
        let plan = agent.plan(&["sh", "-c", "ulimit -n"]).limits(limits(77));
        assert_eq!(agent.run(plan).output(), "77");
        let plan = agent.plan(&["sh", "-c", "ulimit -n"]).limits(limits(1 << 40));
        assert!(agent.run(plan).output().parse::<u64>().expect("a number") > 77);
    });
}

#[test]
fn the_processor_share_reaches_the_kernel() {
    as_everyone(|agent| {
        if !agent.enforces("processors") {
            return;
        }
        let limits = Limits { cpu_millis: Some(500), ..Limits::default() };
        let plan = agent.plan(&["sleep", "1000"]).limits(limits);
        let run = agent.spawn(plan);
        agent.wait_started(run);
        let quota = cgroup_directories(agent.pid())
            .into_iter()
            .find_map(|d| fs::read_to_string(d.join("run-1/cpu.cfs_quota_us")).ok());
        if let Some(quota) = quota {
            assert_eq!(quota.trim(), "50000");
        }
        agent.order(&json!({"Kill": {"run": run}}));
        agent.wait(run);
    });
}

#[test]
fn a_stop_is_polite_first_and_final_after_the_grace() {
    as_everyone(|agent| {
        let stop =
            |run, grace_millis: u64| json!({"Stop": {"run": run, "grace_millis": grace_millis}});
        let polite = "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.01; done";
        let plan = agent.plan(&["sh", "-c", polite]);
        let run = agent.spawn(plan);
        agent.wait_output(run, "ready");
        agent.order(&stop(run, 1_000_000));
        let outcome = agent.wait(run);
        assert_eq!((outcome.exit(), outcome.stdout.as_str()), (Exit::Code(5), "ready\nbye\n"));

        let deaf = "trap '' TERM; echo ready; while :; do sleep 0.01; done";
        let plan = agent.plan(&["sh", "-c", deaf]);
        let run = agent.spawn(plan);
        agent.wait_output(run, "ready");
        agent.order(&stop(run, 50));
        assert_eq!(agent.wait(run).exit(), Exit::Signal(9));

        let plan = agent.plan(&["sleep", "1000"]);
        let run = agent.spawn(plan);
        agent.wait_started(run);
        agent.order(&stop(run, 1_000_000));
        assert_eq!(agent.wait(run).exit(), Exit::Signal(15));
        agent.order(&stop(run, 0)); // late requests are harmless
        agent.order(&json!({"Kill": {"run": run}}));
        assert_eq!(agent.sh("echo on").output(), "on");
    });
}

#[test]
fn a_run_that_is_killed_while_it_starts_ends_all_the_same() {
    as_everyone(|agent| {
        let mark = format!("6{:07}", agent.pid());
        let runs: Vec<u64> = (0..20)
            .map(|_| {
                let plan = agent.plan(&["sleep", &mark]);
                let run = agent.spawn(plan);
                agent.order(&json!({"Kill": {"run": run}}));
                run
            })
            .collect();
        for run in runs {
            assert_eq!(agent.wait(run).exit(), Exit::Signal(9));
        }
        assert_eq!(processes_with(&mark), 0);
    });
}

#[test]
fn an_image_is_a_root_of_its_own() {
    as_everyone(|agent| {
        let image = agent.directory("image");
        for link in ["bin", "lib", "lib64"] {
            std::os::unix::fs::symlink(format!("usr/{link}"), image.join(link)).expect("linked");
        }
        agent.file(&image.join("release"), "mine");
        let usr = MountKind::Bind { source: "/usr".into(), read_only: true };
        for _ in 0..2 {
            let script = "cat /release && echo changed > /release && ls / && [ ! -e /etc/passwd ]";
            let plan = agent
                .plan(&["sh", "-c", script])
                .root(Root::Directory(image.clone()))
                .mount("/usr", usr.clone());
            let outcome = agent.run(plan);
            assert!(outcome.output().starts_with("minebatchcompute\nbin\ndev\n"), "{outcome:?}");
        }
        assert_eq!(fs::read_to_string(image.join("release")).expect("kept"), "mine");
    });
}

#[test]
fn two_hundred_sandboxes_leave_nothing() {
    as_everyone(|agent| {
        let mounts = |process: &str| {
            let text = fs::read_to_string(format!("/proc/{process}/mountinfo")).expect("it lives");
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        // Others on this host mount and unmount at the same time.
        let top = agent.top.path().display().to_string();
        let ours = || mounts("self").into_iter().filter(|it| it.contains(&top)).collect::<Vec<_>>();
        let (before, inside) = (ours(), mounts(&agent.pid().to_string()).len());
        let limits = Limits {
            memory_bytes: Some(256 << 20),
            processes_max: Some(50),
            cpu_millis: Some(1_000),
            files_max: Some(100),
        };
        let mut open = std::collections::VecDeque::new();
        for number in 0..200 {
            let text = format!("hello {number}");
            let mut plan = agent.plan(&["echo", &text]).limits(limits.clone());
            plan.scratch_bytes = (number % 4 != 0).then_some(1 << 20);
            open.push_back((agent.spawn(plan), text));
            if open.len() == 16 || number == 199 {
                while let Some((run, text)) = open.pop_front() {
                    assert_eq!(agent.wait(run).output(), text);
                    if open.len() < 8 && number < 199 {
                        break;
                    }
                }
            }
        }
        let now = mounts(&agent.pid().to_string()).len();
        assert!(now < inside + 20, "the agent's own view stays small: {inside}, now {now}");
        agent.finish();
        assert_eq!(ours(), before);
        until(|| cgroup_directories(agent.pid()).is_empty());
    });
}

#[test]
fn a_killed_agent_leaves_no_control_group_either() {
    as_everyone(|agent| {
        let limits = Limits { memory_bytes: Some(64 << 20), ..Limits::default() };
        let plan = agent.plan(&["sleep", "1000"]).limits(limits);
        let run = agent.spawn(plan);
        agent.wait_started(run);
        agent.kill();
        until(|| cgroup_directories(agent.pid()).is_empty());
    });
}

#[test]
fn when_the_spawner_dies_every_run_gets_a_last_word() {
    as_everyone(|agent| {
        let mark = format!("5{:07}", agent.pid());
        let plan = agent.plan(&["sleep", &mark]);
        let run = agent.spawn(plan);
        agent.wait_started(run);
        let spawner = children(agent.pid());
        let [spawner] = spawner[..] else { panic!("one child: {spawner:?}") };
        let spawner = rustix::process::Pid::from_raw(spawner).expect("not zero");
        rustix::process::kill_process(spawner, rustix::process::Signal::KILL).expect("killed");
        assert_eq!(agent.wait(run).failure().stage, Stage::Spawner);
        until(|| processes_with(&mark) == 0);
    });
}

#[test]
fn what_cannot_be_enforced_is_said() {
    as_everyone(|agent| {
        let report = &agent.report;
        assert_eq!(report["privileged"], json!(is_root() && agent.by == By::Root));
        let notes = report["notes"].as_array().expect("notes");
        if agent.by == By::User && is_root() {
            // Root's control groups and this machine's /dev/fuse are not for ordinary users.
            assert!(!agent.enforces("memory") || Path::new("/sys/fs/cgroup/cgroup.procs").exists());
            assert!(notes.iter().any(|n| n.as_str().is_some_and(|n| n.contains("no limit"))));
        }
        for note in notes {
            let note = note.as_str().expect("a sentence");
            assert!(note.len() > 20 && !note.ends_with('.'), "{note}");
        }
    });
}

fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("read");
    text.split_whitespace().map(|n| n.parse().expect("a number")).collect()
}

/// Directories of an agent's own control groups, wherever they are.
fn cgroup_directories(pid: i32) -> Vec<std::path::PathBuf> {
    let name = format!("gristmill-{pid}");
    let mut found = Vec::new();
    let mut left = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|t| t.is_dir()) {
                continue;
            }
            if entry.file_name().to_string_lossy() == name {
                found.push(entry.path());
            } else {
                left.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn agents_are_told_apart() {
    // Two agents at once share nothing, not even when they were started by the same user.
    as_everyone(|agent| {
        let mut other = Agent::start(agent.by);
        let plan = agent.plan(&["sh", "-c", "echo 1 > /tmp/x; echo written; sleep 1000"]);
        let run = agent.spawn(plan);
        agent.wait_output(run, "written");
        assert_eq!(other.sh("ls -A /tmp").output(), "");
        other.finish();
        agent.order(&json!({"Kill": {"run": run}}));
        assert_eq!(agent.wait(run).exit(), Exit::Signal(9));
    });
}

/// Writes in all kinds of places.
const SETS_UP: &str =
    "mkdir -p /opt/tool/bin && echo one > /opt/tool/file && echo two > /opt/tool/bin/x
     echo three > /etc/tool; echo t > /root/note";
/// Reads them, and changes what it can.
const USES: &str = "cat /opt/tool/file /opt/tool/bin/x /etc/tool /root/note
     echo mine > /opt/tool/file; rm /opt/tool/bin/x; cat /opt/tool/file";

fn what_was_written_lies_below_the_next(agent: &mut Agent, scratch: Option<&Path>) {
    let mut first = agent.plan(&["sh", "-c", SETS_UP]);
    if let Some(scratch) = scratch {
        first.sandbox.scratch = scratch.into();
    }
    let base = first.sandbox.scratch.clone();
    assert_eq!(agent.run(first).output(), "");
    for _ in 0..2 {
        let mut plan = agent.plan(&["sh", "-c", USES]);
        plan.sandbox.base = Some(base.clone());
        assert_eq!(agent.run(plan).output(), "one\ntwo\nthree\nt\nmine");
    }
}

#[test]
fn what_a_sandbox_wrote_lies_below_the_next_and_stays_as_it_was() {
    what_was_written_lies_below_the_next(&mut Agent::start(By::User), None);
    if is_root() {
        let mut agent = Agent::start_with_disks(By::Root, &[("node/disk", 64 << 20)]);
        let scratch = agent.top.path().join("node/disk");
        what_was_written_lies_below_the_next(&mut agent, Some(&scratch));
    }
}

#[test]
fn a_full_disk_is_full_for_those_who_use_it_and_gone_with_its_agent() {
    if !is_root() {
        return println!("only root can mount disks");
    }
    let disks = [("node/disk", 16 << 20), ("node/other", 16 << 20)];
    let mut agent = Agent::start_with_disks(By::Root, &disks);
    let at = |agent: &Agent, name: &str| agent.top.path().join("node").join(name);
    let bind = |source| MountKind::Bind { source, read_only: false };
    let (disk, other) = (bind(at(&agent, "disk")), bind(at(&agent, "other")));
    let script = "dd if=/dev/zero of=/disk/big bs=1M count=64 2>&1 | grep -o 'No space left'
        echo ok > /other/file && cat /other/file; echo > /elsewhere && ls / | grep elsewhere";
    let plan = agent.plan(&["sh", "-c", script]).mount("/disk", disk).mount("/other", other);
    assert_eq!(agent.run(plan).output(), "No space left\nok\nelsewhere");
    let image = at(&agent, "disk.img");
    let loops = || {
        let files = fs::read_dir("/sys/block").expect("listed").flatten();
        let backing = files.filter_map(|e| fs::read(e.path().join("loop/backing_file")).ok());
        backing.filter(|b| b.starts_with(image.as_os_str().as_encoded_bytes())).count()
    };
    assert_eq!(loops(), 1);
    agent.kill();
    until(|| loops() == 0);
}
