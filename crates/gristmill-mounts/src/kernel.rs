//! The kernel's side of a mount: the device, the mount call, read-ahead, unmounting.
//!
//! No helper program is used: the caller has the right to mount, as root or in a user namespace
//! of its own.

use rustix::{
    fs::{Mode, OFlags, open},
    mount::{MountFlags, UnmountFlags, mount, unmount},
    process::{getegid, geteuid},
};
use std::{
    ffi::CString,
    fs, io,
    os::fd::{AsRawFd, OwnedFd},
    path::Path,
};
use tracing::debug;

/// The device all FUSE mounts talk through.
const DEVICE: &str = "/dev/fuse";

/// How far the kernel reads ahead, where we may say so. Without it reads come in 128 KiB.
const READ_AHEAD_KB: &str = "1024";

/// Opens the device.
pub fn open_device() -> io::Result<OwnedFd> {
    Ok(open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}

/// Mounts `device` at a directory, read-only and for every user; permissions are the kernel's to
/// check.
pub fn mount_at(device: &OwnedFd, mount_point: &Path) -> io::Result<()> {
    let data = format!(
        "fd={},rootmode=40555,user_id={},group_id={},default_permissions,allow_other",
        device.as_raw_fd(),
        geteuid().as_raw(),
        getegid().as_raw(),
    );
    let data = CString::new(data).expect("no NUL in numbers");
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    Ok(mount("gristmill", mount_point, "fuse.gristmill", flags, data.as_c_str())?)
}

/// Takes a mount away; files that are still open stay readable until they are closed.
pub fn detach(mount_point: &Path) -> io::Result<()> {
    Ok(unmount(mount_point, UnmountFlags::DETACH)?)
}

/// Lets the kernel read ahead in large steps. Not permitted everywhere, and only a matter of
/// speed.
pub fn raise_read_ahead(mount_point: &Path) {
    let raised = device_number(mount_point).and_then(|number| {
        fs::write(format!("/sys/class/bdi/{number}/read_ahead_kb"), READ_AHEAD_KB)
    });
    if let Err(error) = raised {
        debug!(%error, "the kernel keeps its own read-ahead");
    }
}

/// `major:minor` of a mount, from the mount table: looking at the mount itself would ask us.
fn device_number(mount_point: &Path) -> io::Result<String> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo")?;
    let found = table.lines().rev().find_map(|line| {
        let mut fields = line.split(' ');
        let number = fields.nth(2)?;
        (unescape(fields.nth(1)?) == mount_point.as_os_str().as_encoded_bytes())
            .then(|| number.to_owned())
    });
    found.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// The mount table writes blanks and backslashes as three octal digits.
fn unescape(field: &str) -> Vec<u8> {
    let mut bytes = vec![];
    let mut rest = field.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = (*first == b'\\').then(|| tail.get(..3)).flatten();
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

/// Whether a thread that asked for something is being killed, or is gone. It cannot take an
/// answer any more, but the kernel keeps it until there is one.
pub fn is_dying(thread: u32) -> bool {
    if thread == 0 {
        return false; // asked by the kernel, or from a namespace we do not see
    }
    match fs::read_to_string(format!("/proc/{thread}/status")) {
        Ok(status) => has_kill_pending(&status),
        Err(error) => error.kind() == io::ErrorKind::NotFound && Path::new("/proc/self").exists(),
    }
}

fn has_kill_pending(status: &str) -> bool {
    const KILL: u64 = 1 << (libc::SIGKILL - 1);
    let pending = status.lines().filter_map(|line| {
        let mask = line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    });
    pending.into_iter().any(|mask| mask & KILL != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_in_mount_points_are_understood() {
        assert_eq!(unescape(r"/a\040b\134c\0"), br"/a b\c\0");
    }

    #[test]
    fn a_pending_kill_is_seen_in_either_mask() {
        let status =
            |thread: &str, group: &str| format!("Name:\tx\nSigPnd:\t{thread}\nShdPnd:\t{group}\n");
        assert!(has_kill_pending(&status("0000000000000100", "0000000000000000")));
        assert!(has_kill_pending(&status("0000000000000000", "0000000000000100")));
        assert!(!has_kill_pending(&status("0000000000004000", "0000000000000200")));
        assert!(!is_dying(std::process::id()));
    }
}
