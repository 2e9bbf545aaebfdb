//! Which system calls a program may not make.
//!
//! Two filters. The first knows numbers only: calls newer than this list and `clone3` do not
//! exist (`ENOSYS`), so that libraries fall back to what the second filter can judge. The second
//! refuses (`EPERM`) what reaches past a sandbox: mounts, namespaces, other processes' memory,
//! keys, kernel modules, and interfaces with a history of holes.
//!
//! `seccompiler` builds the second. The first is five instructions by hand, since a range of
//! numbers cannot be said there.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter, sock_filter,
};
use std::{collections::BTreeMap, io};

/// Built once by the node, installed in each sandbox.
pub(crate) struct Filters {
    numbers: BpfProgram,
    refused: BpfProgram,
}

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
const TERMINAL_INJECTION: [u64; 2] = [libc::TIOCSTI, libc::TIOCLINUX];

impl Filters {
    pub(crate) fn build() -> Result<Self, seccompiler::Error> {
        Ok(Self { numbers: numbers(), refused: refused()? })
    }
}

/// Puts this process and all its children under both filters, for ever.
pub(super) fn install(filters: &Filters) -> io::Result<()> {
    for program in [&filters.refused, &filters.numbers] {
        apply_filter(program).map_err(io::Error::other)?;
    }
    Ok(())
}

fn numbers() -> BpfProgram {
    const LOAD_WORD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const JUMP_IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const JUMP_IF_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const NUMBER_OFFSET: u32 = 0; // seccomp_data.nr
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![
        step(LOAD_WORD, 0, 0, NUMBER_OFFSET),
        step(JUMP_IF_GREATER, 2, 0, NUMBER_MAX),
        step(JUMP_IF_EQUAL, 1, 0, libc::SYS_clone3 as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
    ]
}

fn refused() -> Result<BpfProgram, seccompiler::Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        REFUSED.iter().chain(REFUSED_HERE).map(|call| (*call, vec![])).collect();
    let namespaces = NAMESPACE_FLAGS.iter().map(|flag| {
        let flag = *flag as u64;
        rule(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(flag), flag)
    });
    rules.insert(libc::SYS_clone, namespaces.collect::<Result<_, _>>()?);
    let injections = TERMINAL_INJECTION
        .iter()
        .map(|request| rule(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, *request));
    rules.insert(libc::SYS_ioctl, injections.collect::<Result<_, _>>()?);
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let here = std::env::consts::ARCH.try_into()?;
    Ok(SeccompFilter::new(rules, SeccompAction::Allow, refuse, here)?.try_into()?)
}

fn rule(
    argument: u8,
    length: SeccompCmpArgLen,
    compare: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, seccompiler::Error> {
    Ok(SeccompRule::new(vec![SeccompCondition::new(argument, length, compare, value)?])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_build_and_fit_the_kernel() {
        let filters = Filters::build().expect("the lists are valid");
        assert!(filters.refused.len() < 4096 && filters.refused.len() > REFUSED.len());
        assert_eq!(filters.numbers.len(), 5);
    }
}
