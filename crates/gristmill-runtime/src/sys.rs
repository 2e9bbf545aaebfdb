//! The few system calls that neither `rustix` nor `nix` wraps, each behind a safe function.
#![allow(unsafe_code)] // raw clone3, mount_setattr, wait4, keyctl and _exit have no safe wrapper

use crate::spec::Usage;
use nix::sched::CloneFlags;
use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
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

/// Makes a child that borrows this process's memory until it has executed a program or ended,
/// while this process waits. Works under a filter that knows no `clone3`. `body` should leave
/// nothing behind in memory but what may leak.
pub(crate) fn fork_until_execution(mut body: impl FnMut() -> i32) -> io::Result<i32> {
    const STACK_BYTES: usize = 512 << 10;
    let mut stack = vec![0u8; STACK_BYTES];
    let child = || catch_unwind(AssertUnwindSafe(&mut body)).unwrap_or(BROKEN) as isize;
    let flags = CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK;
    // SAFETY: like vfork, with a stack of its own: this process has a single thread and runs
    // on only when the child no longer uses its memory. Descriptors and signal actions are
    // the child's own.
    let pid = unsafe { nix::sched::clone(Box::new(child), &mut stack, flags, Some(libc::SIGCHLD)) };
    Ok(pid?.as_raw())
}

/// Ends this process without running destructors that belong to its parent's copy.
pub(crate) fn exit_now(status: i32) -> ! {
    // SAFETY: always sound; it does not return.
    unsafe { libc::_exit(status) }
}

/// Sets or clears attributes of a mount and, if asked, of everything mounted below it.
pub(crate) fn change_mount(mount: BorrowedFd<'_>, set: u64, recursive: bool) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: both pointers are valid for the call; the size is the structure's own.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Collects any child that ended: its id and wait status. `None`: none ended, or there is none.
pub(crate) fn collect_any() -> Option<(i32, i32)> {
    let mut status = 0;
    // SAFETY: the pointer is valid for the call; usage is not asked for.
    let pid = unsafe {
        libc::wait4(-1, &raw mut status, libc::__WALL | libc::WNOHANG, std::ptr::null_mut())
    };
    (pid > 0).then_some((pid, status))
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

/// Replaces this process by `path`. Returns only when that fails.
pub(crate) fn execute(path: &CString, arguments: &[CString], env: &[CString]) -> io::Error {
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts.iter().map(|t| t.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (arguments, env) = (pointers(arguments), pointers(env));
    // SAFETY: both lists end with a null pointer and live until the call is over.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// Ignores these signals.
pub(crate) fn ignore_signals(numbers: &[libc::c_int]) {
    for number in numbers {
        // SAFETY: ignoring runs no code of ours.
        unsafe { libc::signal(*number, libc::SIG_IGN) };
    }
}
