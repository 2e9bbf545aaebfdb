//! Shows the tree of an image as the root of sandboxes.
//!
//! A tree belongs to one user, the one who unpacked it. For an ordinary user that is the sandbox's own
//! user already. As root each machine's sandboxes have another user, so the tree is mounted with its
//! owner mapped to that user: what is root's in the image is the sandbox's root's, without a copy.

use crate::{host::Prepared, sandbox, spec::Identity, sys};
use rustix::{
    fs::CWD,
    mount::{OpenTreeFlags, open_tree},
    process::{Signal, pidfd_send_signal},
};
use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

/// Where sandboxes find the tree: at a place of the node's, or, with a note, where it is.
pub(crate) fn show(prepared: &Prepared, tree: &Path, notes: &mut Vec<String>) -> PathBuf {
    if !prepared.privileged || prepared.identity.uid == 0 {
        return tree.to_owned();
    }
    match mount(tree, prepared.identity, &prepared.image()) {
        Ok(()) => prepared.image(),
        Err(error) => {
            notes.push(format!(
                "the files of the image belong to nobody in sandboxes and cannot be changed there: \
                 their owner cannot be mapped: {error}"
            ));
            tree.to_owned()
        }
    }
}

fn mount(tree: &Path, identity: Identity, at: &Path) -> io::Result<()> {
    let users = users(identity)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, tree, flags)?;
    sys::map_mount(tree.as_fd(), users.as_fd())?;
    sandbox::attach(tree.as_fd(), at)
}

/// A user namespace in which root is this user outside. It lives as long as the descriptor.
fn users(identity: Identity) -> io::Result<OwnedFd> {
    let child = sys::clone_child(libc::CLONE_NEWUSER, || {
        nix::unistd::pause();
        0
    })?;
    let of_child = |name: &str| format!("/proc/{}/{name}", child.pid);
    let map = |name: &str, id: u32| fs::write(of_child(name), format!("0 {id} 1"));
    let made = map("uid_map", identity.uid)
        .and_then(|()| map("gid_map", identity.gid))
        .and_then(|()| File::open(of_child("ns/user")));
    pidfd_send_signal(&child.pidfd, Signal::KILL)?;
    sys::collect(child.pid, true)?;
    made.map(OwnedFd::from)
}
