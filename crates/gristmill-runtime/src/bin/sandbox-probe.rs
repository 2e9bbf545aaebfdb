//! What tests run inside a sandbox: tries forbidden things and says how they ended, uses up
//! memory and processes.
#![allow(unsafe_code)] // forbidden system calls have no safe wrapper, which is the point

use std::{env, fs, io, process::exit};

fn main() {
    let mut arguments = env::args().skip(1);
    let what = arguments.next().unwrap_or_default();
    let amount: usize = arguments.next().and_then(|a| a.parse().ok()).unwrap_or(0);
    match what.as_str() {
        "calls" => try_calls(),
        "eat" => eat(amount),
        "fork" => fork(amount),
        "descriptors" => descriptors(),
        "leave" => leave(&env::args().nth(2).unwrap_or_default()),
        "abort" => std::process::abort(),
        _ => exit(2),
    }
}

/// One line for each call: its name and its error.
fn try_calls() {
    let no = 0usize;
    let new_user = libc::CLONE_NEWUSER as usize;
    let calls: &[(&str, libc::c_long, [usize; 5])] = &[
        (
            "mount",
            libc::SYS_mount,
            [c"t".as_ptr() as usize, c"/tmp".as_ptr() as usize, c"tmpfs".as_ptr() as usize, no, no],
        ),
        ("umount2", libc::SYS_umount2, [c"/proc".as_ptr() as usize, no, no, no, no]),
        ("fsopen", libc::SYS_fsopen, [c"tmpfs".as_ptr() as usize, no, no, no, no]),
        (
            "open_tree",
            libc::SYS_open_tree,
            [libc::AT_FDCWD as usize, c"/".as_ptr() as usize, 1, no, no],
        ),
        (
            "pivot_root",
            libc::SYS_pivot_root,
            [c".".as_ptr() as usize, c".".as_ptr() as usize, no, no, no],
        ),
        ("chroot", libc::SYS_chroot, [c"/tmp".as_ptr() as usize, no, no, no, no]),
        ("unshare user", libc::SYS_unshare, [new_user, no, no, no, no]),
        ("unshare mount", libc::SYS_unshare, [libc::CLONE_NEWNS as usize, no, no, no, no]),
        ("clone user", libc::SYS_clone, [new_user | libc::SIGCHLD as usize, no, no, no, no]),
        ("clone3", libc::SYS_clone3, [no, no, no, no, no]),
        ("setns", libc::SYS_setns, [no, no, no, no, no]),
        ("ptrace", libc::SYS_ptrace, [libc::PTRACE_TRACEME as usize, no, no, no, no]),
        ("process_vm_readv", libc::SYS_process_vm_readv, [1, no, no, no, no]),
        ("pidfd_getfd", libc::SYS_pidfd_getfd, [no, no, no, no, no]),
        ("keyctl", libc::SYS_keyctl, [no, no, no, no, no]),
        ("add_key", libc::SYS_add_key, [no, no, no, no, no]),
        ("bpf", libc::SYS_bpf, [no, no, no, no, no]),
        ("perf_event_open", libc::SYS_perf_event_open, [no, no, no, no, no]),
        ("io_uring_setup", libc::SYS_io_uring_setup, [8, no, no, no, no]),
        ("userfaultfd", libc::SYS_userfaultfd, [no, no, no, no, no]),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, [no, no, no, no, no]),
        ("init_module", libc::SYS_init_module, [no, no, no, no, no]),
        ("kexec_load", libc::SYS_kexec_load, [no, no, no, no, no]),
        ("reboot", libc::SYS_reboot, [no, no, no, no, no]),
        ("sethostname", libc::SYS_sethostname, [c"x".as_ptr() as usize, 1, no, no, no]),
        ("settimeofday", libc::SYS_settimeofday, [no, no, no, no, no]),
        ("syslog", libc::SYS_syslog, [no, no, no, no, no]),
        ("ioctl TIOCSTI", libc::SYS_ioctl, [no, libc::TIOCSTI as usize, no, no, no]),
        ("socket vsock", libc::SYS_socket, [libc::AF_VSOCK as usize, 1, no, no, no]),
        (
            "socket packet",
            libc::SYS_socket,
            [libc::AF_PACKET as usize, libc::SOCK_RAW as usize, no, no, no],
        ),
        ("setuid", libc::SYS_setuid, [1, no, no, no, no]),
        (
            "mknod disk",
            libc::SYS_mknodat,
            [libc::AT_FDCWD as usize, c"/tmp/disk".as_ptr() as usize, 0o60600, 0x0800, no],
        ),
        ("a later call", 4_000, [no, no, no, no, no]),
        ("a call of another interface", 0x4000_0000 + 39, [no, no, no, no, no]),
    ];
    for (name, number, a) in calls {
        // SAFETY: each is refused before it looks at its arguments, or they are valid.
        let answer = unsafe { libc::syscall(*number, a[0], a[1], a[2], a[3], a[4]) };
        let error = io::Error::last_os_error().raw_os_error();
        if answer == 0 && name.starts_with("clone") {
            exit(0); // a child that should not exist
        }
        match (answer, error) {
            (-1, Some(libc::EPERM)) => println!("{name}: EPERM"),
            (-1, Some(libc::ENOSYS)) => println!("{name}: ENOSYS"),
            (-1, Some(libc::EINVAL)) => println!("{name}: EINVAL"),
            (-1, other) => println!("{name}: {other:?}"),
            (_, _) => println!("{name}: allowed"),
        }
    }
}

/// Uses this many bytes.
fn eat(bytes: usize) {
    let mut held = Vec::new();
    for _ in 0..bytes / (1 << 20) {
        held.push(vec![1u8; 1 << 20]);
    }
    println!("ate {}", held.len());
}

/// Starts this many processes that stay, and says how many started.
fn fork(count: usize) {
    let mut started = 0;
    for _ in 0..count {
        // SAFETY: this program has one thread.
        match unsafe { libc::fork() } {
            // SAFETY: waits for a signal, and none comes but the last.
            0 => loop {
                unsafe { libc::pause() };
            },
            -1 => break,
            _ => started += 1,
        }
    }
    println!("{started}");
}

/// Leaves something behind that outlives this process.
fn leave(what: &str) {
    const INIT: libc::pid_t = 1;
    let low = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
    // SAFETY: no pointers but to texts, to `low` and to a set of processors, all valid for the call.
    let answer = unsafe {
        match what {
            "shared memory" => libc::shmget(7, 4096, libc::IPC_CREAT | 0o600),
            "semaphore" => libc::semget(7, 1, libc::IPC_CREAT | 0o600),
            "messages" => libc::msgget(7, libc::IPC_CREAT | 0o600),
            "queue" => libc::syscall(
                libc::SYS_mq_open,
                c"left".as_ptr(),
                libc::O_CREAT | libc::O_RDWR,
                0o600,
                0usize,
            ) as i32,
            "bound" => {
                libc::prlimit(INIT, libc::RLIMIT_NOFILE, &raw const low, std::ptr::null_mut())
            }
            "priority" => libc::setpriority(libc::PRIO_PROCESS, INIT as libc::id_t, 5),
            "disk priority" => libc::syscall(libc::SYS_ioprio_set, 1, INIT, 3 << 13) as i32,
            "policy" => {
                let idle = libc::sched_param { sched_priority: 0 };
                libc::sched_setscheduler(INIT, libc::SCHED_IDLE, &raw const idle)
            }
            "processors" => {
                let mut one: libc::cpu_set_t = std::mem::zeroed();
                libc::CPU_SET(0, &mut one);
                libc::sched_setaffinity(INIT, size_of_val(&one), &raw const one)
            }
            _ => -1,
        }
    };
    if answer < 0 {
        eprintln!("{what}: {}", io::Error::last_os_error());
        exit(1);
    }
}

/// What is open, without the descriptor that looks.
fn descriptors() {
    let list = fs::read_dir("/proc/self/fd").map(|entries| {
        entries
            .flatten()
            .filter_map(|e| {
                Some((e.file_name().into_string().ok()?, fs::read_link(e.path()).ok()?))
            })
            .filter(|(_, to)| !to.to_string_lossy().contains("/proc/"))
            .map(|(name, _)| name)
            .collect::<Vec<_>>()
    });
    let mut list = list.unwrap_or_default();
    list.sort();
    println!("{}", list.join(" "));
}
