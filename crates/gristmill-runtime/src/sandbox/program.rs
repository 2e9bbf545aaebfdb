//! Turns pid 2 into the program, or says precisely why that is impossible.

use super::{AtStage, SetupError};
use crate::{
    spec::{ProgramSpec, Stage},
    sys,
};
use nix::sys::signal::SigSet;
use rustix::{
    fs::{Access, AtFlags, CWD, accessat},
    io::Errno,
};
use std::{
    convert::Infallible,
    ffi::CString,
    fs::File,
    io::{self, Read},
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
};

/// Where names are looked up when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Everything the new process needs.
pub(super) struct Launch<'a> {
    pub program: &'a ProgramSpec,
    pub texts: Texts,
    /// What becomes standard input, output and error. None of them is 0, 1 or 2.
    pub streams: [BorrowedFd<'a>; 3],
}

/// Arguments and environment as the kernel takes them.
pub(super) struct Texts {
    arguments: Vec<CString>,
    env: Vec<CString>,
}

impl Texts {
    pub fn of(program: &ProgramSpec) -> Result<Self, SetupError> {
        let arguments = program.arguments.iter().map(|a| CString::new(a.as_str()));
        let env = program.env.iter().map(|(name, value)| CString::new(format!("{name}={value}")));
        Ok(Self {
            arguments: arguments
                .collect::<Result<_, _>>()
                .at(Stage::Program, || "an argument holds a NUL character".into())?,
            env: env
                .collect::<Result<_, _>>()
                .at(Stage::Program, || "an environment variable holds a NUL character".into())?,
        })
    }
}

/// The rest of the life of a new process that shares its parent's memory, where signals are held
/// back and none is ignored.
pub(super) fn execute(launch: &Launch<'_>) -> Result<Infallible, SetupError> {
    let program = launch.program;
    rustix::process::setsid().at(Stage::Process, || "cannot make a session".into())?;
    connect(launch.streams).at(Stage::Process, || "cannot connect the program's streams".into())?;
    rustix::process::chdir(program.directory.as_str()).at(Stage::Directory, || {
        format!("cannot enter the working directory `{}`", program.directory)
    })?;
    let name = program.arguments.first().map(String::as_str).unwrap_or_default();
    let path = look_up(name, search_path(&program.env))?;
    let file = CString::new(path.as_os_str().as_encoded_bytes())
        .at(Stage::Program, || format!("`{name}` holds a NUL character"))?;
    SigSet::empty().thread_set_mask().at(Stage::Process, || "cannot release signals".into())?;
    let error = sys::execute(&file, &launch.texts.arguments, &launch.texts.env);
    Err(explain(name, &path, &error))
}

/// Input and output lead where the agent said; everything else closes with the execution. A terminal
/// as input controls the session made before.
fn connect([input, output, errors]: [BorrowedFd<'_>; 3]) -> io::Result<()> {
    if rustix::termios::isatty(input) {
        rustix::process::ioctl_tiocsctty(input)?;
    }
    nix::unistd::dup2_stdin(input)?;
    nix::unistd::dup2_stdout(output)?;
    nix::unistd::dup2_stderr(errors)?;
    sys::close_from_3_on_execution();
    Ok(())
}

fn search_path(env: &[(String, String)]) -> &str {
    env.iter().rev().find(|(key, _)| key == "PATH").map_or(DEFAULT_PATH, |(_, value)| value)
}

/// The file that `name` means. A name with `/` is a path already.
fn look_up(name: &str, search: &str) -> Result<PathBuf, SetupError> {
    if name.is_empty() {
        return Err(SetupError::new(Stage::Program, "the program's name is empty"));
    }
    if name.contains('/') {
        return Ok(name.into());
    }
    let mut unusable = None;
    for directory in search.split(':') {
        let directory = if directory.is_empty() { "." } else { directory };
        let path = Path::new(directory).join(name);
        if !path.is_file() {
            continue;
        }
        if accessat(CWD, &path, Access::EXEC_OK, AtFlags::EACCESS).is_ok() {
            return Ok(path);
        }
        unusable.get_or_insert(path);
    }
    Err(SetupError::new(
        Stage::Program,
        match unusable {
            Some(path) => format!("`{}` is not executable", path.display()),
            None => format!("`{name}` was not found in PATH ({search})"),
        },
    ))
}

/// Why the kernel refused to execute `path`.
fn explain(name: &str, path: &Path, error: &io::Error) -> SetupError {
    let shown = path.display();
    let plain = |what: String| SetupError::new(Stage::Program, what);
    match Errno::from_io_error(error) {
        Some(Errno::NOENT) if !path.exists() => plain(format!("`{name}` does not exist")),
        Some(Errno::NOENT | Errno::NOTDIR) if path.exists() => match interpreter(path) {
            Some(interpreter) => {
                plain(format!("the interpreter `{interpreter}` of `{shown}` does not exist"))
            }
            None => plain(format!("a loader or library that `{shown}` needs does not exist")),
        },
        Some(Errno::ACCESS) if path.is_dir() => plain(format!("`{shown}` is a directory")),
        Some(Errno::ACCESS) => match interpreter(path) {
            Some(interpreter) if !is_executable(Path::new(&interpreter)) => {
                plain(format!("the interpreter `{interpreter}` of `{shown}` is not executable"))
            }
            _ => plain(format!("`{shown}` is not executable")),
        },
        Some(Errno::NOEXEC) => plain(format!(
            "`{shown}` is not a program for this machine: neither a binary nor a script with `#!`"
        )),
        Some(Errno::TOOBIG) => plain("the arguments and the environment are too long".into()),
        _ => SetupError {
            stage: Stage::Program,
            what: format!("cannot execute `{shown}`"),
            source: error.raw_os_error().map(io::Error::from_raw_os_error),
        },
    }
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

/// What a script names in its first line.
fn interpreter(path: &Path) -> Option<String> {
    const LINE_BYTES_MAX: u64 = 256;
    let mut start = Vec::new();
    File::open(path).ok()?.take(LINE_BYTES_MAX).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
    // A carriage return stays in the name: it is why the interpreter is not found.
    let line = String::from_utf8_lossy(line).replace('\r', "\\r");
    line.split_whitespace().next().map(str::to_owned)
}
