//! Gives up everything a program should not have.
//!
//! The order: become the sandbox's user outside, make the user namespace in which that user is
//! root, then shrink what this root may do. The namespaces that own the mounts, processes and
//! the host name stay with the parent user namespace, so nothing here can reach them.

use super::{AtStage, Setup, SetupError, seccomp};
use crate::spec::{Identity, Limits, Stage};
use rustix::{
    process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit},
    thread::{
        CapabilitySet, CapabilitySets, remove_capability_from_bounding_set, set_capabilities,
        set_no_new_privs,
    },
};
use std::{fs, io};

/// What the sandbox's root may do, to files and processes of its own user namespace only.
const KEPT: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::KILL);

/// The largest capability number that a kernel may know.
const CAPABILITIES_MAX: u32 = 63;

pub(super) fn give_up(setup: &Setup<'_>) -> Result<(), SetupError> {
    let identity = setup.prepared.identity;
    let step = |what: &'static str| move || format!("cannot {what}");
    become_user(identity, setup.prepared.privileged)
        .at(Stage::Confinement, step("change to the sandbox's user"))?;
    own_user_namespace(identity).at(Stage::Confinement, step("make a user namespace"))?;
    limit(&setup.sandbox.limits).at(Stage::Limits, step("set resource limits"))?;
    shrink_capabilities().at(Stage::Confinement, step("drop capabilities"))?;
    set_no_new_privs(true).at(Stage::Confinement, step("forbid new privileges"))?;
    seccomp::install(setup.filter).at(Stage::Confinement, step("install the call filter"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .at(Stage::Confinement, step("hide from the program"))
}

/// Leaves all rights of the agent's user behind. An ordinary user's agent has its own user already
/// and may not leave its supplementary groups.
fn become_user(identity: Identity, privileged: bool) -> io::Result<()> {
    use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
    let (uid, gid) = (Uid::from_raw(identity.uid), Gid::from_raw(identity.gid));
    if privileged {
        setgroups(&[])?;
    }
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    Ok(())
}

/// Does, in a process that is thrown away, what `give_up` will need.
pub(crate) fn try_user_namespace(identity: Identity, privileged: bool) -> io::Result<()> {
    become_user(identity, privileged)?;
    own_user_namespace(identity)
}

/// Makes a user namespace where `identity` is root and nobody else exists.
fn own_user_namespace(identity: Identity) -> io::Result<()> {
    // After a change of user the files below /proc/self belong to root, unless we say again
    // that this process has nothing to hide; that ends in `give_up`.
    set_dumpable_behavior(DumpableBehavior::Dumpable)?;
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER)?;
    map_to_root(identity)
}

/// Writes the maps of a user namespace this process has just made.
pub(crate) fn map_to_root(identity: Identity) -> io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("0 {} 1", identity.uid))?;
    fs::write("/proc/self/gid_map", format!("0 {} 1", identity.gid))
}

/// Sets resource limits. A hard limit that may not be raised stays where it is.
fn limit(limits: &Limits) -> io::Result<()> {
    // One byte is too little for a file, and the only value that also keeps the kernel from
    // starting a program that `core_pattern` names.
    set_limit(Resource::Core, 1)?;
    if let Some(files) = limits.files_max {
        set_limit(Resource::Nofile, files)?;
    }
    if let Some(processes) = limits.processes_max {
        // Counted in this user namespace alone (Linux 5.14 and later), pid 1 included.
        set_limit(Resource::Nproc, processes.saturating_add(1))?;
    }
    Ok(())
}

fn set_limit(resource: Resource, value: u64) -> io::Result<()> {
    let allowed = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let value = Some(value.min(allowed));
    Ok(setrlimit(resource, Rlimit { current: value, maximum: value })?)
}

/// The program runs as root of its user namespace, so it gets what the bounding set leaves.
fn shrink_capabilities() -> io::Result<()> {
    for number in 0..=CAPABILITIES_MAX {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if !KEPT.contains(one) && remove_capability_from_bounding_set(one).is_err() {
            break; // this kernel knows no capability of this number
        }
    }
    let sets =
        CapabilitySets { effective: KEPT, permitted: KEPT, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}
