//! The floor under every start of a program: a loop that starts `true` and waits for it, bare or
//! in new namespaces (pid, mount, ipc, uts), and does nothing else. `cargo xtask bench short` puts
//! Gristmill beside it.
//!
//! `spawn_floor bare|namespaces COUNT PARALLEL` prints one line of JSON: seconds on the wall, and
//! seconds on the processors of this process and everything it collected.
//!
//! Both loops start their child the cheapest way there is: the child borrows the parent's memory
//! until it executes. Standard streams are `/dev/null`.

// `posix_spawn` cannot make namespaces; `clone` has no safe wrapper.
#![allow(unsafe_code)]

use nix::sys::resource::{UsageWho, getrusage};
use std::{
    error::Error,
    ffi::{CStr, c_void},
    io,
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

const PROGRAM: &CStr = c"/bin/true";
const NAMESPACES: i32 =
    libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
const STACK_BYTES: usize = 64 * 1024;

fn main() -> Outcome {
    let mut words = std::env::args().skip(1);
    let start = match words.next().as_deref() {
        Some("bare") => bare,
        Some("namespaces") => {
            silence()?;
            in_namespaces
        }
        _ => return Err("spawn_floor bare|namespaces COUNT PARALLEL".into()),
    };
    let count: u64 = words.next().ok_or("COUNT is missing")?.parse()?;
    let parallel: u64 = words.next().ok_or("PARALLEL is missing")?.parse()?;
    let clock = Instant::now();
    run(count, parallel, start)?;
    let seconds = clock.elapsed().as_secs_f64();
    println!(r#"{{"seconds":{seconds},"processor_seconds":{}}}"#, processor_seconds()?);
    Ok(())
}

/// Starts `count` programs from `parallel` threads, each waiting for its own.
fn run(count: u64, parallel: u64, start: fn() -> Outcome) -> Outcome {
    let next = AtomicU64::new(0);
    let work = || {
        while next.fetch_add(1, Ordering::Relaxed) < count {
            start()?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..parallel).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })
}

fn bare() -> Outcome {
    let mut command = Command::new(PROGRAM.to_str()?);
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if command.status()?.success() { Ok(()) } else { Err("true failed".into()) }
}

/// Standard streams of the children of `in_namespaces`, which inherit them. Standard output stays:
/// `true` says nothing.
fn silence() -> Outcome {
    let nothing = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&nothing)?;
    Ok(())
}

fn in_namespaces() -> Outcome {
    let mut stack = vec![0_u128; STACK_BYTES / 16];
    let top = stack.as_mut_ptr_range().end;
    let flags = NAMESPACES | libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack is as large as said, aligned, ours, and outlives the child's use of our
    // memory: with CLONE_VFORK this thread sleeps until the child has executed or ended.
    let pid = unsafe { libc::clone(execute, top.cast(), flags, std::ptr::null_mut()) };
    if pid < 0 {
        return Err(io::Error::last_os_error().into());
    }
    let mut status = 0;
    // SAFETY: `status` is a place for the answer.
    if unsafe { libc::waitpid(pid, &mut status, 0) } != pid {
        return Err(io::Error::last_os_error().into());
    }
    if status == 0 { Ok(()) } else { Err(format!("true ended with {status}").into()) }
}

/// The child: shares the parent's memory, so it calls nothing but the kernel.
extern "C" fn execute(_: *mut c_void) -> libc::c_int {
    let arguments = [PROGRAM.as_ptr(), std::ptr::null()];
    // SAFETY: both arrays end with a null pointer and hold texts that live for ever.
    unsafe {
        libc::execve(PROGRAM.as_ptr(), arguments.as_ptr(), arguments[1..].as_ptr());
        libc::_exit(127)
    }
}

fn processor_seconds() -> Result<f64, Box<dyn Error + Send + Sync>> {
    let mut total = 0.0;
    for who in [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN] {
        let used = getrusage(who)?;
        for time in [used.user_time(), used.system_time()] {
            total += time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        }
    }
    Ok(total)
}
