//! What a program must not be able to do or see, tried with real sandboxes as root and as an
//! ordinary user.

mod support;

use gristmill_runtime::{Exit, Limits, MountKind, Root};
use std::{fs, path::Path};
use support::{Agent, By, as_everyone, is_root, processes_with, until};

#[test]
fn only_its_own_processes_can_be_seen() {
    as_everyone(|agent| {
        let seen = agent.sh("ls /proc | grep -c '^[0-9]'");
        let count: u32 = seen.output().parse().expect("a number");
        assert!(count <= 5, "pid 1, the shell, ls, grep: {seen:?}");
        assert_eq!(agent.sh("cat /proc/1/environ").exit(), Exit::Code(1));
        assert_ne!(agent.sh("ls /proc/1/fd/").exit(), Exit::Code(0));
    });
}

#[test]
fn no_process_of_the_host_can_be_signalled() {
    as_everyone(|agent| {
        let me = std::process::id();
        let outcome = agent.sh(&format!("kill -9 {me} {}; kill -9 -1; true", agent.pid()));
        // `kill -1` reached only the shell itself, if anything.
        assert!(matches!(outcome.exit(), Exit::Code(0) | Exit::Signal(9)), "{outcome:?}");
        assert!(outcome.stderr.contains("No such process"), "{outcome:?}");
        assert_eq!(agent.sh("echo alive").output(), "alive");
    });
}

#[test]
fn a_device_given_as_output_keeps_its_owner() {
    use std::os::unix::fs::MetadataExt;
    as_everyone(|agent| {
        let owner = || fs::metadata("/dev/null").map(|about| (about.uid(), about.gid()));
        let before = owner().expect("it is there");
        let plan = agent.plan(&["echo", "lost"]);
        agent.run_into(plan, Path::new("/dev/null"));
        assert_eq!(owner().expect("it is there"), before);
    });
}

#[test]
fn secrets_of_the_host_s_root_cannot_be_read() {
    as_everyone(|agent| {
        let outcome = agent.sh("cat /etc/shadow");
        assert_eq!(outcome.exit(), Exit::Code(1));
        assert!(outcome.stderr.contains("Permission denied"), "{outcome:?}");
        assert_eq!(agent.sh("ls -A /root").output(), "");
    });
}

#[test]
fn masked_directories_are_empty_and_private() {
    as_everyone(|agent| {
        // Below /var/tmp nothing of the host shows at all, so this one lies in /etc or nowhere.
        let plan = agent.plan(&["sh", "-c", "ls -A /etc; echo mine > /etc/mine; cat /etc/mine"]);
        let plan = plan.masked(Path::new("/etc")).masked(Path::new("/does/not/exist"));
        assert_eq!(agent.run(plan).output(), "mine");
        assert!(!Path::new("/etc/mine").exists());
        let plan = agent.plan(&["cat", "/etc/passwd"]).masked(Path::new("/etc/passwd"));
        assert_eq!(agent.run(plan).output(), "");
    });
}

#[test]
fn the_agent_s_own_files_are_out_of_sight() {
    as_everyone(|agent| {
        let top = agent.top.path().display().to_string();
        assert_ne!(agent.sh(&format!("ls {top}")).exit(), Exit::Code(0));
    });
}

#[test]
fn a_scratch_directory_that_sandboxes_could_see_is_refused() {
    as_everyone(|agent| {
        let mut plan = agent.plan(&["true"]);
        plan.sandbox.scratch = agent.directory("elsewhere");
        let outcome = agent.run(plan);
        assert!(outcome.failure().message.contains("must lie in"), "{outcome:?}");
    });
}

#[test]
fn what_is_written_vanishes_with_the_sandbox() {
    as_everyone(|agent| {
        let places = [
            "/gristmill-trace",
            "/tmp/gristmill-trace",
            "/usr/gristmill-trace",
            "/var/tmp/gristmill-trace",
            "/dev/shm/gristmill-trace",
            "/run/gristmill-trace",
        ];
        let write = places.map(|p| format!("echo x > {p} || exit 1; ")).concat();
        agent.sh(&write).output();
        let look = places.map(|p| format!("[ ! -e {p} ] || exit 1; ")).concat();
        agent.sh(&look).output();
        for place in places {
            assert!(!Path::new(place).exists(), "{place}");
        }
    });
}

#[test]
fn programs_of_the_host_cannot_be_changed() {
    as_everyone(|agent| {
        let before = fs::metadata("/usr/bin/env").expect("it is there");
        agent
            .sh("echo bad > /usr/bin/env; chmod 777 /usr/bin/env; rm -f /usr/bin/env; true")
            .output();
        let after = fs::metadata("/usr/bin/env").expect("it is still there");
        assert_eq!(before.len(), after.len());
        assert_eq!(before.permissions(), after.permissions());
        assert_eq!(before.modified().expect("known"), after.modified().expect("known"));
    });
}

#[test]
fn calls_that_reach_past_a_sandbox_are_refused() {
    as_everyone(|agent| {
        let probe = agent.probe();
        let plan = agent.plan(&["/probe", "calls"]).mount("/probe", probe);
        let outcome = agent.run(plan);
        let lines: Vec<_> = outcome.output().lines().collect();
        assert!(lines.len() > 30, "{lines:?}");
        for line in lines {
            let expected = match line.split(':').next().expect("one part at least") {
                "clone3" | "a later call" | "a call of another interface" => "ENOSYS",
                "setuid" => "EINVAL", // nobody else exists in there
                _ => "EPERM",
            };
            assert!(line.ends_with(expected), "{line}");
        }
    });
}

#[test]
fn kernel_settings_cannot_be_written() {
    as_everyone(|agent| {
        let host = ["kernel/hostname", "kernel/core_pattern", "vm/drop_caches"];
        let of_namespaces = ["kernel/msgmax", "kernel/shmmax", "fs/mqueue/queues_max"];
        for file in host.into_iter().chain(of_namespaces) {
            let outcome = agent.sh(&format!("echo 1 > /proc/sys/{file}"));
            assert_ne!(outcome.exit(), Exit::Code(0), "{file}");
        }
        assert_ne!(agent.sh("echo b > /proc/sysrq-trigger").exit(), Exit::Code(0));
    });
}

#[test]
fn capabilities_are_few_and_can_never_grow() {
    as_everyone(|agent| {
        let status = agent.sh("cat /proc/self/status");
        for line in [
            "CapPrm:\t000000000000003b",
            "CapEff:\t000000000000003b",
            "CapBnd:\t000000000000003b",
            "CapInh:\t0000000000000000",
            "CapAmb:\t0000000000000000",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
        ] {
            assert!(status.output().contains(line), "{line}: {status:?}");
        }
        assert_eq!(agent.sh("id -u; id -g; id -G").output(), "0\n0\n0");
    });
}

#[test]
fn programs_of_root_s_agent_are_not_root_outside() {
    if !is_root() {
        return; // an ordinary user's agent cannot be anybody else
    }
    let mut agent = Agent::start(By::Root);
    let plan = agent.plan(&["sleep", "1000"]);
    let run = agent.spawn(plan);
    let pid = agent.wait_started(run);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find(|l| l.starts_with("Uid:")).expect("it has users");
    assert_eq!(line, "Uid:\t65534\t65534\t65534\t65534");
    agent.order(&serde_json::json!({"Kill": {"run": run}}));
    assert_eq!(agent.wait(run).exit(), Exit::Signal(9));
}

#[test]
fn no_descriptor_leaks_in() {
    as_everyone(|agent| {
        let probe = agent.probe();
        let plan = agent.plan(&["/probe", "descriptors"]).mount("/probe", probe);
        assert_eq!(agent.run(plan).output(), "0 1 2");
        assert_eq!(agent.sh("wc -c < /dev/stdin").output(), "0");
    });
}

#[test]
fn the_environment_is_exactly_what_was_asked_for() {
    as_everyone(|agent| {
        let env = [("PATH", "/usr/bin:/bin"), ("A", "b c"), ("EMPTY", ""), ("NAME", "你好=x")];
        let plan = agent.plan(&["env"]).env(&env);
        assert_eq!(agent.run(plan).output(), "PATH=/usr/bin:/bin\nA=b c\nEMPTY=\nNAME=你好=x");
    });
}

#[test]
fn interprocess_communication_is_private() {
    as_everyone(|agent| {
        assert_eq!(agent.sh("tail -n +2 /proc/sysvipc/shm | wc -l").output(), "0");
        for kind in ["ipc", "pid", "mnt", "uts", "user"] {
            let link = format!("/proc/self/ns/{kind}");
            let ours = fs::read_link(&link).expect("it is there").display().to_string();
            assert_ne!(agent.do_words(&["readlink", &link]).output(), ours, "{kind}");
        }
    });
}

#[test]
fn a_fork_bomb_is_held() {
    as_everyone(|agent| {
        let probe = agent.probe();
        let limits = Limits { processes_max: Some(20), ..Limits::default() };
        let plan = agent.plan(&["/probe", "fork", "200"]).mount("/probe", probe).limits(limits);
        let started: u32 = agent.run(plan).output().parse().expect("a number");
        assert!((15..=20).contains(&started), "{started}");
        assert_eq!(agent.sh("echo others go on").output(), "others go on");
    });
}

#[test]
fn a_program_that_needs_too_much_memory_is_ended_for_it() {
    as_everyone(|agent| {
        if !agent.enforces("memory") {
            return;
        }
        let probe = agent.probe();
        let limits = Limits { memory_bytes: Some(64 << 20), ..Limits::default() };
        let mut eat = |bytes: u64| {
            let plan = agent.plan(&["/probe", "eat", &bytes.to_string()]);
            agent.run(plan.mount("/probe", probe.clone()).limits(limits.clone()))
        };
        assert_eq!(eat(500 << 20).exit(), Exit::OutOfMemory);
        assert_eq!(eat(16 << 20).output(), "ate 16");
    });
}

#[test]
fn a_private_tmp_cannot_be_reached_by_the_next_run_while_both_live() {
    as_everyone(|agent| {
        let plan = agent.plan(&["sh", "-c", "echo secret > /tmp/s; echo written; sleep 1000"]);
        let first = agent.spawn(plan);
        agent.wait_output(first, "written");
        assert_eq!(agent.sh("ls -A /tmp /dev/shm /var/tmp | grep -v :; true").output(), "");
        agent.order(&serde_json::json!({"Kill": {"run": first}}));
        agent.wait(first);
    });
}

#[test]
fn nothing_of_a_tree_outlives_its_end() {
    as_everyone(|agent| {
        let mark = format!("8{:07}", agent.pid());
        let script = format!(
            "sleep {mark} & (setsid sleep {mark} &) ; setsid sh -c 'trap \"\" TERM HUP; sleep {mark}' & \
             echo started; WAIT"
        );
        // The program ends by itself.
        assert_eq!(agent.sh(&script.replace("WAIT", "exit 7")).exit(), Exit::Code(7));
        assert_eq!(processes_with(&mark), 0);
        // It is killed.
        let plan = agent.plan(&["sh", "-c", &script.replace("WAIT", "wait")]);
        let run = agent.spawn(plan);
        agent.wait_output(run, "started");
        until(|| processes_with(&mark) == 3);
        agent.order(&serde_json::json!({"Kill": {"run": run}}));
        assert_eq!(agent.wait(run).exit(), Exit::Signal(9));
        assert_eq!(processes_with(&mark), 0);
    });
}

#[test]
fn the_death_of_the_agent_kills_everything() {
    as_everyone(|agent| {
        let mark = format!("7{:07}", agent.pid());
        for _ in 0..3 {
            let plan = agent.plan(&["sh", "-c", &format!("setsid sleep {mark} & sleep {mark}")]);
            let run = agent.spawn(plan);
            agent.wait_started(run);
        }
        until(|| processes_with(&mark) == 6);
        agent.kill();
        until(|| processes_with(&mark) == 0);
    });
}

#[test]
fn links_in_an_image_do_not_lead_mounts_out() {
    as_everyone(|agent| {
        let image = agent.directory("image");
        for link in ["bin", "lib", "lib64"] {
            std::os::unix::fs::symlink(format!("usr/{link}"), image.join(link)).expect("linked");
        }
        std::os::unix::fs::symlink("/etc", image.join("trap")).expect("linked");
        std::os::unix::fs::symlink("../../../../../..", image.join("up")).expect("linked");
        let bind = |source: &str| MountKind::Bind { source: source.into(), read_only: true };
        let memory = || MountKind::Tmpfs { size: 1 << 20 };
        let plan = agent
            .plan(&["sh", "-c", "echo x > /trap/made/x; echo x > /up/made/x; ls -A /; ls -A /etc"])
            .root(Root::Directory(image))
            .mount("/usr", bind("/usr"))
            .mount("/lib64", bind("/usr/lib64"))
            .mount("/etc", memory())
            .mount("/trap/made", memory())
            .mount("/up/made", memory());
        let outcome = agent.run(plan);
        assert!(outcome.output().ends_with("\nmade"), "{outcome:?}");
        assert!(!Path::new("/etc/made").exists() && !Path::new("/made").exists());
    });
}
