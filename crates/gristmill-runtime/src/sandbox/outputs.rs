//! The files that receive what the programs of a series write: each program gets them opened anew and
//! empty, so that nothing of the one before is in them or hangs on them.
//!
//! Invariants
//! - A program's descriptors are its own: no offset, flag or lock of an earlier one.
//! - A file that was changed in any other way than by writing to it cannot be judged: the series ends.

use crate::spec::QuickEnd;
use rustix::{
    fs::{CWD, FileType, Mode, OFlags, Stat, flistxattr, fstat, ftruncate, openat},
    io::{Errno, pread},
};
use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

/// What a program wrote to its standard output and standard error.
pub(super) type Said = [Vec<u8>; 2];

/// The two files.
pub(super) struct Outputs<'a>([Output<'a>; 2]);

struct Output<'a> {
    fd: BorrowedFd<'a>,
    about: Stat,
}

impl<'a> Outputs<'a> {
    /// Of files that are empty and can be read and opened anew.
    pub fn of([stdout, stderr]: [BorrowedFd<'a>; 2]) -> io::Result<Self> {
        let outputs = Self([Output::of(stdout)?, Output::of(stderr)?]);
        outputs.open()?;
        Ok(outputs)
    }

    /// Descriptors for a program.
    pub fn open(&self) -> io::Result<[OwnedFd; 2]> {
        let [stdout, stderr] = &self.0;
        Ok([stdout.open()?, stderr.open()?])
    }

    /// What the program wrote; the files are empty afterwards. `None`: it is too much, or more was
    /// done to them.
    pub fn take(&mut self) -> Option<Said> {
        let [stdout, stderr] = &mut self.0;
        if !(stdout.is_sound().ok()? && stderr.is_sound().ok()?) {
            return None;
        }
        Some([stdout.take().ok()?, stderr.take().ok()?])
    }
}

impl<'a> Output<'a> {
    fn of(fd: BorrowedFd<'a>) -> io::Result<Self> {
        let about = fstat(fd)?;
        let is_file = FileType::from_raw_mode(about.st_mode) == FileType::RegularFile;
        let output = Self { fd, about };
        match is_file && about.st_size == 0 && output.has_no_attributes()? {
            true => Ok(output),
            false => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn open(&self) -> io::Result<OwnedFd> {
        let path = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC;
        Ok(openat(CWD, path, flags, Mode::empty())?)
    }

    fn has_no_attributes(&self) -> io::Result<bool> {
        // Names that do not fit are an error, and as such a no.
        let mut names = [0_u8; 64];
        match flistxattr(self.fd, &mut names) {
            Err(Errno::OPNOTSUPP) => Ok(true),
            length => Ok(length? == 0),
        }
    }

    /// Whether nothing but writing was done to it, and not much of that.
    fn is_sound(&self) -> io::Result<bool> {
        let (now, then) = (fstat(self.fd)?, &self.about);
        let same = (now.st_mode, now.st_uid, now.st_gid, now.st_nlink)
            == (then.st_mode, then.st_uid, then.st_gid, then.st_nlink);
        Ok(same && now.st_size as u64 <= QuickEnd::SAID_BYTES_MAX && self.has_no_attributes()?)
    }

    fn take(&mut self) -> io::Result<Vec<u8>> {
        let length = usize::try_from(fstat(self.fd)?.st_size).unwrap_or_default();
        let mut bytes = vec![0; length];
        let mut read = 0;
        while read < length {
            match pread(self.fd, &mut bytes[read..], read as u64)? {
                0 => break,
                some => read += some,
            }
        }
        bytes.truncate(read);
        if length > 0 {
            ftruncate(self.fd, 0)?;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::File, io::Write, os::fd::AsFd, os::unix::fs::PermissionsExt};

    fn files() -> [File; 2] {
        [(); 2].map(|()| tempfile::tempfile().expect("a file"))
    }

    fn write(fd: OwnedFd, text: &str) {
        File::from(fd).write_all(text.as_bytes()).expect("written");
    }

    #[test]
    fn each_program_has_empty_files_and_what_it_wrote_is_taken() {
        let [stdout, stderr] = files();
        let mut outputs = Outputs::of([stdout.as_fd(), stderr.as_fd()]).expect("sound");
        for text in ["", "first", "second"] {
            let [out, _err] = outputs.open().expect("opened");
            write(out, text);
            assert_eq!(outputs.take().expect("sound"), [text.as_bytes().to_vec(), vec![]]);
        }
    }

    #[test]
    fn too_much_and_other_deeds_end_the_series() {
        let deeds: [fn(&File); 3] = [
            |file| file.set_len(QuickEnd::SAID_BYTES_MAX + 1).expect("grown"),
            |file| {
                let mode = std::fs::Permissions::from_mode(0o640);
                file.set_permissions(mode).expect("changed");
            },
            |file| {
                let flags = rustix::fs::XattrFlags::empty();
                rustix::fs::fsetxattr(file, "user.note", b"x", flags).expect("attached");
            },
        ];
        for (number, deed) in deeds.into_iter().enumerate() {
            let [stdout, stderr] = files();
            let mut outputs = Outputs::of([stdout.as_fd(), stderr.as_fd()]).expect("sound");
            deed(&stderr);
            assert_eq!(outputs.take(), None, "deed {number}");
        }
    }
}
