//! The few system calls that neither `rustix` nor `nix` wraps, each behind a safe function.
#![allow(unsafe_code)] // raw clone3, mount_setattr, wait4, keyctl and _exit have no safe wrapper

use crate::spec::Usage;
use nix::sched::CloneFlags;
use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

/// A child process and a descriptor that stands for it.
pub(crate) struct Child {
    /// Its id as the caller sees it.
    pub pid: i32,
    /// Readable when it ended.
    pub pidfd: OwnedFd,
}

/// Exit status of a child whose own code failed.
pub(crate) const BROKEN: i32 = 126;

/// Makes a child that runs `body` in the namespaces of `flags` (`CLONE_NEW…`, `CLONE_VFORK`).
///
/// Only for processes with one thread: the child has a copy of all memory and may allocate.
pub(crate) fn clone_child(flags: libc::c_int, body: impl FnOnce() -> i32) -> io::Result<Child> {
    let mut pidfd: libc::c_int = -1;
    // SAFETY: clone_args is plain numbers; zero means "not used" for each.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags as u64 | libc::CLONE_PIDFD as u64;
    args.pidfd = (&raw mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: no CLONE_VM and no stack, so this is a fork; the caller has a single thread, so
    // no lock can be held by another one in the copy.
    let pid = unsafe {
        libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<libc::clone_args>()) as i32
    };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => exit_now(catch_unwind(AssertUnwindSafe(body)).unwrap_or(BROKEN)),
        // SAFETY: the kernel has just stored a descriptor here that nobody else knows.
        pid => Ok(Child { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
    }
}

/// What a child of [`fork_until_execution`] stands on. Pages that were never needed cost nothing.
pub(crate) struct Stack(Vec<u8>);

impl Default for Stack {
    fn default() -> Self {
        const STACK_BYTES: usize = 512 << 10;
        Self(vec![0; STACK_BYTES])
    }
}

/// Makes a child that borrows this process's memory until it has executed a program or ended,
/// while this process waits. Works under a filter that knows no `clone3`. What `body` leaves
/// behind in memory stays; what it still owned when it executed a program leaks.
pub(crate) fn fork_until_execution(
    Stack(stack): &mut Stack,
    mut body: impl FnMut() -> i32,
) -> io::Result<i32> {
    let child = || catch_unwind(AssertUnwindSafe(&mut body)).unwrap_or(BROKEN) as isize;
    let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
    // SAFETY: like vfork, with a stack of its own: this process has a single thread and runs
    // on only when the child no longer uses its memory. Descriptors and signal actions are
    // the child's own.
    let pid = unsafe { nix::sched::clone(Box::new(child), stack, flags, Some(libc::SIGCHLD)) };
    Ok(pid?.as_raw())
}

/// Ends this process without running destructors that belong to its parent's copy.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: always sound; it does not return.
    unsafe { libc::_exit(status) }
}

/// Sets attributes of a mount and, if asked, of everything mounted below it.
pub(crate) fn change_mount(mount: BorrowedFd<'_>, set: u64, recursive: bool) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    set_mount(mount, attributes, if recursive { libc::AT_RECURSIVE } else { 0 })
}

fn set_mount(mount: BorrowedFd<'_>, attributes: libc::mount_attr, flags: i32) -> io::Result<()> {
    // SAFETY: both pointers are valid for the call; the size is the structure's own.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags | libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes a detached mount read-only and shows its owners as the user namespace `users` maps them.
pub(crate) fn map_mount(mount: BorrowedFd<'_>, users: BorrowedFd<'_>) -> io::Result<()> {
    let set = libc::MOUNT_ATTR_IDMAP | libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID;
    set_mount(
        mount,
        libc::mount_attr {
            attr_set: set | libc::MOUNT_ATTR_NODEV,
            attr_clr: 0,
            propagation: 0,
            userns_fd: users.as_raw_fd() as u64,
        },
        0,
    )
}

/// Takes any signal that is held back, waiting for one so long, or for ever. `None`: none came.
pub(crate) fn wait_for_signal(most: Option<Duration>) -> Option<libc::c_int> {
    let most = most.map(|most| libc::timespec {
        tv_sec: most.as_secs() as libc::time_t,
        tv_nsec: most.subsec_nanos().into(),
    });
    let most = most.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    loop {
        // SAFETY: `sigfillset` writes the set; the pointers are valid for the call.
        let signal = unsafe {
            let mut all = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::sigtimedwait(&raw const all, std::ptr::null_mut(), most)
        };
        if signal >= 0 {
            return Some(signal);
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return None;
        }
    }
}

/// Sends `SIGTERM` to a process group.
pub(crate) fn terminate_group(group: i32) {
    // SAFETY: no pointers. It fails when the group has just ended.
    unsafe { libc::kill(-group, libc::SIGTERM) };
}

/// Closes every descriptor from 3 on but these.
///
/// For a process that is about to leave its copy of another one's memory behind: owners of the
/// closed descriptors in that memory must never be dropped.
pub(crate) fn close_all_but(mut keep: Vec<i32>) {
    keep.sort_unstable();
    let mut from = 3;
    for fd in keep {
        close_range(from, i64::from(fd) - 1, 0);
        from = from.max(fd as u32 + 1);
    }
    close_range(from, i64::from(u32::MAX), 0);
}

/// Marks every descriptor from 3 on to close when the next program is executed.
pub(crate) fn close_from_3_on_execution() {
    close_range(3, i64::from(u32::MAX), libc::CLOSE_RANGE_CLOEXEC);
}

fn close_range(from: u32, to: i64, flags: libc::c_uint) {
    if to >= i64::from(from) {
        // SAFETY: the callers say who owns these. It fails only for ranges that are no ranges.
        unsafe { libc::syscall(libc::SYS_close_range, from, to as libc::c_uint, flags) };
    }
}

/// Collects a child that ended: its wait status and what its whole tree used. `None`: it lives.
pub(crate) fn collect(pid: i32, wait: bool) -> io::Result<Option<(i32, Usage)>> {
    let mut status = 0;
    // SAFETY: rusage is plain numbers.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    let options = libc::__WALL | if wait { 0 } else { libc::WNOHANG };
    loop {
        // SAFETY: both pointers are valid for the call.
        match unsafe { libc::wait4(pid, &raw mut status, options, &raw mut used) } {
            0 => return Ok(None),
            -1 => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
            _ => return Ok(Some((status, usage(&used)))),
        }
    }
}

fn usage(used: &libc::rusage) -> Usage {
    let micros = |t: libc::timeval| t.tv_sec as u64 * 1_000_000 + t.tv_usec as u64;
    Usage {
        user_micros: micros(used.ru_utime),
        system_micros: micros(used.ru_stime),
        resident_bytes_max: used.ru_maxrss as u64 * 1024,
    }
}

/// Leaves the session keyring of the parent for a fresh, empty one.
pub(crate) fn fresh_session_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    let answer = unsafe {
        libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>())
    };
    if answer >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets every signal to its default action (Rust ignores `SIGPIPE`, and ignoring is inherited).
pub(crate) fn default_signals() {
    for number in 1..=libc::SIGRTMAX() {
        // SAFETY: the default action runs no code of ours. Numbers that cannot be set refuse.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}

/// Texts as the kernel takes them: a list of pointers with a null pointer at its end.
pub(crate) struct Texts {
    owned: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl Default for Texts {
    fn default() -> Self {
        Self { owned: Vec::new(), pointers: vec![std::ptr::null()] }
    }
}

impl Texts {
    pub(crate) fn push(&mut self, text: CString) {
        self.pointers.insert(self.owned.len(), text.as_ptr());
        self.owned.push(text);
    }

    /// Keeps the first `count` of them.
    pub(crate) fn truncate(&mut self, count: usize) {
        self.owned.truncate(count);
        self.pointers.truncate(self.owned.len());
        self.pointers.push(std::ptr::null());
    }
}

/// Replaces this process by `path`, without allocating. Returns only when that fails.
pub(crate) fn execute(path: &CString, arguments: &Texts, env: &Texts) -> io::Error {
    let (arguments, env) = (arguments.pointers.as_ptr(), env.pointers.as_ptr());
    // SAFETY: both lists end with a null pointer, point to texts that they own, and live until the
    // call is over.
    unsafe { libc::execve(path.as_ptr(), arguments, env) };
    io::Error::last_os_error()
}

/// Ignores these signals.
pub(crate) fn ignore_signals(numbers: &[libc::c_int]) {
    for number in numbers {
        // SAFETY: ignoring runs no code of ours.
        unsafe { libc::signal(*number, libc::SIG_IGN) };
    }
}

/// Collects any child that ended: its id, wait status and what it used. `None`: none ended so far,
/// if not to `wait`. `ECHILD`: there is none.
pub(crate) fn collect_next(wait: bool) -> io::Result<Option<(i32, i32, Usage)>> {
    let mut status = 0;
    // SAFETY: rusage is plain numbers.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    let options = libc::__WALL | if wait { 0 } else { libc::WNOHANG };
    // SAFETY: both pointers are valid for the call.
    match unsafe { libc::wait4(-1, &raw mut status, options, &raw mut used) } {
        0 => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Some((pid, status, usage(&used)))),
    }
}

/// What another process of the same user may do to this one without looking into it: bounds,
/// priority, processors.
#[derive(PartialEq, Eq)]
pub(crate) struct Standing {
    bounds: [[u64; 2]; RESOURCES as usize],
    /// `struct sched_attr`, as it comes.
    scheduling: [u8; 56],
    processors: [u64; 128],
    disk_priority: libc::c_long,
}

/// Resources that a kernel bounds (`RLIM_NLIMITS`).
const RESOURCES: u32 = 16;

impl Standing {
    pub(crate) fn of_self() -> io::Result<Self> {
        const IOPRIO_WHO_PROCESS: libc::c_int = 1;
        let mut standing = Self {
            bounds: [[0; 2]; RESOURCES as usize],
            scheduling: [0; 56],
            processors: [0; 128],
            disk_priority: 0,
        };
        let checked = |answer: libc::c_long| match answer {
            -1 => Err(io::Error::last_os_error()),
            answer => Ok(answer),
        };
        for (resource, bound) in (0..RESOURCES).zip(&mut standing.bounds) {
            let bound = bound.as_mut_ptr();
            // SAFETY: `struct rlimit64` is two numbers of 64 bits; nothing is set.
            checked(unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, 0usize, bound) })?;
        }
        let (scheduling, size) = (standing.scheduling.as_mut_ptr(), standing.scheduling.len());
        // SAFETY: the kernel writes at most `size` bytes.
        checked(unsafe { libc::syscall(libc::SYS_sched_getattr, 0, scheduling, size, 0) })?;
        let (processors, size) =
            (standing.processors.as_mut_ptr(), size_of_val(&standing.processors));
        // SAFETY: the kernel writes at most `size` bytes, and refuses when it needs more.
        checked(unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size, processors) })?;
        // SAFETY: no pointers.
        standing.disk_priority =
            checked(unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0) })?;
        Ok(standing)
    }
}

/// Whether this namespace holds no shared memory, semaphores or message queues of System V.
pub(crate) fn no_ipc_objects() -> bool {
    const SHM_INFO: libc::c_int = 14;
    const SEM_INFO: libc::c_int = 19;
    const MSG_INFO: libc::c_int = 12;
    // Each structure is smaller. Where the count of objects stands in it (`used_ids`, `semusz`,
    // `msgpool`), in numbers of 32 bits.
    let mut space = [0_i32; 32];
    let mut count = |call: libc::c_long, command: libc::c_int, at: usize| {
        space.fill(0);
        let place = space.as_mut_ptr();
        // SAFETY: the commands ignore the id and write one structure. `semctl` has its pointer in
        // the fourth place, the others in the third.
        let answer = unsafe {
            match call {
                libc::SYS_semctl => libc::syscall(call, 0, 0, command, place),
                _ => libc::syscall(call, 0, command, place),
            }
        };
        // A kernel without them (`ENOSYS`) holds none.
        match answer {
            -1 => match io::Error::last_os_error().raw_os_error() {
                Some(libc::ENOSYS) => 0,
                _ => -1,
            },
            _ => space[at],
        }
    };
    count(libc::SYS_shmctl, SHM_INFO, 0) == 0
        && count(libc::SYS_semctl, SEM_INFO, 7) == 0
        && count(libc::SYS_msgctl, MSG_INFO, 0) == 0
}

/// Kills every process this one can see but itself.
pub(crate) fn kill_all_others() {
    // SAFETY: no pointers. It fails when there is nobody.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}
