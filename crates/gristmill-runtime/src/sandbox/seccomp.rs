//! Which system calls a program may not make.
//!
//! Refused (`EPERM`) is what reaches past a sandbox: mounts, namespaces, other processes' memory,
//! keys, kernel modules, and interfaces with a history of holes. Calls newer than this list and
//! `clone3` do not exist (`ENOSYS`), so that libraries fall back to what can be judged.
//!
//! The filter is a binary search over ranges of call numbers, made here and not by `seccompiler`,
//! whose filters compare one number after the other. The kernel runs a filter once for every
//! call number when it is installed, which happens for each sandbox: the chain took 260
//! microseconds, the search takes 30. A test runs the filter on every number instead.

use nix::errno::Errno;
use seccompiler::{BpfProgram, apply_filter, sock_filter};
use std::io;

/// Built once by the node, installed in each sandbox.
pub(crate) struct Filter(BpfProgram);

/// The largest call number looked at when the list below was made (Linux 6.18:
/// `file_setattr`). The same on all architectures.
const NUMBER_MAX: u32 = 469;

const REFUSED: &[libc::c_long] = &[
    // File systems and roots
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_fanotify_init,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    // Namespaces
    libc::SYS_unshare,
    libc::SYS_setns,
    // Other processes
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    // Keys
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // The kernel itself
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_lookup_dcookie,
    libc::SYS_vhangup,
    // Clocks and names of the host
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // Interfaces with a history of holes
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
];

#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[libc::c_long] = &[
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
    libc::SYS__sysctl,
    libc::SYS_nfsservctl,
];

#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[libc::c_long] = &[];

/// Flags of `clone` that make namespaces.
const NAMESPACE_FLAGS: [libc::c_int; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// `ioctl` requests that put text into a terminal as if it had been typed.
const TERMINAL_INJECTION: [u32; 2] = [libc::TIOCSTI as u32, libc::TIOCLINUX as u32];

/// Kinds of sockets that lead past a sandbox: to the hypervisor, and into kernel code with a history
/// of holes.
const SOCKETS: [u32; 2] = [libc::AF_VSOCK as u32, libc::AF_ALG as u32];

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Allow,
    /// `EPERM`.
    Refuse,
    /// `ENOSYS`.
    Unknown,
    /// Refused with one of [`NAMESPACE_FLAGS`].
    Clone,
    /// Refused with one of [`TERMINAL_INJECTION`].
    Ioctl,
    /// Refused with one of [`SOCKETS`].
    Socket,
}

impl Filter {
    pub(crate) fn build() -> Self {
        let mut program = vec![
            step(LOAD_WORD, 0, 0, ARCHITECTURE_OFFSET),
            step(JUMP_IF_EQUAL, 1, 0, ARCHITECTURE),
            step(RETURN, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
            step(LOAD_WORD, 0, 0, NUMBER_OFFSET),
        ];
        program.extend(search(&ranges()));
        Self(program)
    }
}

/// Puts this process and all its children under the filter, for ever.
pub(super) fn install(filter: &Filter) -> io::Result<()> {
    apply_filter(&filter.0).map_err(io::Error::other)
}

const LOAD_WORD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const JUMP_IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_IF_NOT_LESS: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const JUMP_IF_ANY_BIT: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K
// Offsets in `seccomp_data`; of arguments the lower half on a little-endian machine.
const NUMBER_OFFSET: u32 = 0;
const ARCHITECTURE_OFFSET: u32 = 4;
const ARGUMENT_OFFSETS: [u32; 2] = [16, 24];

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e; // AUDIT_ARCH_X86_64
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7; // AUDIT_ARCH_AARCH64
#[cfg(target_arch = "riscv64")]
const ARCHITECTURE: u32 = 0xc000_00f3; // AUDIT_ARCH_RISCV64

fn step(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

fn verdict(number: u32) -> Verdict {
    let call = libc::c_long::from(number);
    match call {
        _ if number > NUMBER_MAX => Verdict::Unknown,
        libc::SYS_clone3 => Verdict::Unknown,
        libc::SYS_clone => Verdict::Clone,
        libc::SYS_ioctl => Verdict::Ioctl,
        libc::SYS_socket => Verdict::Socket,
        _ if REFUSED.contains(&call) || REFUSED_HERE.contains(&call) => Verdict::Refuse,
        _ => Verdict::Allow,
    }
}

/// Where each run of equal verdicts starts, in order; the first starts at 0.
fn ranges() -> Vec<(u32, Verdict)> {
    let mut ranges: Vec<(u32, Verdict)> = Vec::new();
    for number in 0..=NUMBER_MAX + 1 {
        let verdict = verdict(number);
        if ranges.last().is_none_or(|(_, last)| *last != verdict) {
            ranges.push((number, verdict));
        }
    }
    ranges
}

/// Steps that find the range of the loaded number: jump over the lower half, or fall into it.
fn search(ranges: &[(u32, Verdict)]) -> Vec<sock_filter> {
    if let [(_, verdict)] = ranges {
        return leaf(*verdict);
    }
    let (lower, upper) = ranges.split_at(ranges.len() / 2);
    let below = search(lower);
    let over = u8::try_from(below.len()).expect("half of the list fits a jump, see the test");
    let mut steps = vec![step(JUMP_IF_NOT_LESS, over, 0, upper[0].0)];
    steps.extend(below);
    steps.extend(search(upper));
    steps
}

fn leaf(verdict: Verdict) -> Vec<sock_filter> {
    let answer = |value| step(RETURN, 0, 0, value);
    let allow = answer(libc::SECCOMP_RET_ALLOW);
    let refuse = answer(libc::SECCOMP_RET_ERRNO | Errno::EPERM as u32);
    match verdict {
        Verdict::Allow => vec![allow],
        Verdict::Refuse => vec![refuse],
        Verdict::Unknown => vec![answer(libc::SECCOMP_RET_ERRNO | Errno::ENOSYS as u32)],
        Verdict::Clone => {
            let namespaces = NAMESPACE_FLAGS.iter().fold(0, |all, flag| all | *flag as u32);
            vec![
                step(LOAD_WORD, 0, 0, ARGUMENT_OFFSETS[0]),
                step(JUMP_IF_ANY_BIT, 0, 1, namespaces),
                refuse,
                allow,
            ]
        }
        Verdict::Ioctl => refuse_either(ARGUMENT_OFFSETS[1], TERMINAL_INJECTION),
        Verdict::Socket => refuse_either(ARGUMENT_OFFSETS[0], SOCKETS),
    }
}

fn refuse_either(argument: u32, [first, second]: [u32; 2]) -> Vec<sock_filter> {
    let mut steps = vec![
        step(LOAD_WORD, 0, 0, argument),
        step(JUMP_IF_EQUAL, 1, 0, first),
        step(JUMP_IF_EQUAL, 0, 1, second),
    ];
    steps.extend(leaf(Verdict::Refuse));
    steps.extend(leaf(Verdict::Allow));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the filter as the kernel does; also how many steps it took.
    fn judge(filter: &Filter, architecture: u32, number: u32, arguments: [u32; 2]) -> (u32, usize) {
        let (mut at, mut loaded, mut steps) = (0, 0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = filter.0[at].clone();
            let jump = |yes: bool| at + 1 + usize::from(if yes { jt } else { jf });
            steps += 1;
            at = match code {
                LOAD_WORD => {
                    loaded = match k {
                        NUMBER_OFFSET => number,
                        ARCHITECTURE_OFFSET => architecture,
                        16 => arguments[0],
                        24 => arguments[1],
                        other => panic!("offset {other}"),
                    };
                    at + 1
                }
                JUMP_IF_EQUAL => jump(loaded == k),
                JUMP_IF_NOT_LESS => jump(loaded >= k),
                JUMP_IF_ANY_BIT => jump(loaded & k != 0),
                RETURN => return (k, steps),
                other => panic!("code {other}"),
            };
        }
    }

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

    #[test]
    fn every_call_gets_the_verdict_of_the_list_in_few_steps() {
        let filter = Filter::build();
        for number in (0..=1_000).chain([u32::MAX, 0x4000_0000, 0x4000_0000 + 165]) {
            let call = libc::c_long::from(number);
            let expected = match call {
                libc::SYS_clone3 => ENOSYS,
                _ if number > NUMBER_MAX => ENOSYS,
                _ if REFUSED.contains(&call) || REFUSED_HERE.contains(&call) => EPERM,
                _ => ALLOW,
            };
            let (answer, steps) = judge(&filter, ARCHITECTURE, number, [0, 0]);
            assert_eq!(answer, expected, "call {number}");
            assert!(steps <= 16, "call {number} takes {steps} steps");
        }
        assert!(REFUSED.iter().all(|call| *call <= NUMBER_MAX.into()));
    }

    #[test]
    fn some_calls_are_judged_by_their_arguments() {
        let filter = Filter::build();
        let clone = |flags: libc::c_int| {
            judge(&filter, ARCHITECTURE, libc::SYS_clone as u32, [flags as u32, 0]).0
        };
        assert_eq!(clone(libc::SIGCHLD | libc::CLONE_VM | libc::CLONE_VFORK), ALLOW);
        assert_eq!(clone(libc::CLONE_THREAD | libc::CLONE_SETTLS | libc::CLONE_SYSVSEM), ALLOW);
        for flag in NAMESPACE_FLAGS {
            assert_eq!(clone(libc::SIGCHLD | flag), EPERM, "{flag:#x}");
        }
        let ioctl = |request| judge(&filter, ARCHITECTURE, libc::SYS_ioctl as u32, [1, request]).0;
        assert_eq!(ioctl(libc::TIOCGWINSZ as u32), ALLOW);
        for request in TERMINAL_INJECTION {
            assert_eq!(ioctl(request), EPERM, "{request:#x}");
        }
        let socket = |kind| judge(&filter, ARCHITECTURE, libc::SYS_socket as u32, [kind, 1]).0;
        for kind in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK] {
            assert_eq!(socket(kind as u32), ALLOW, "{kind}");
        }
        for kind in SOCKETS {
            assert_eq!(socket(kind), EPERM, "{kind}");
        }
    }

    #[test]
    fn programs_of_another_architecture_are_killed() {
        const I386: u32 = 0x4000_0003;
        let (answer, _) = judge(&Filter::build(), I386, 0, [0, 0]);
        assert_eq!(answer, libc::SECCOMP_RET_KILL_PROCESS);
    }
}
