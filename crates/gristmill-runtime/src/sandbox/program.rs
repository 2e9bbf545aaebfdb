//! Turns pid 2 into the program, or says precisely why that is impossible.

use super::{AtStage, SetupError};
use crate::{
    spec::{ProgramSpec, Series, Stage},
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

/// Everything a new process needs, made by its parent: what the child allocates before it executes
/// its program stays in the parent's memory for ever.
pub(super) struct Launch<'a> {
    program: &'a ProgramSpec,
    /// The file that is executed.
    path: PathBuf,
    file: CString,
    arguments: sys::Texts,
    env: sys::Texts,
    /// How much of the environment all programs of the series have.
    common: usize,
}

impl<'a> Launch<'a> {
    /// Enters the working directory and finds the program.
    pub fn of(Series { program, .. }: &'a Series) -> Result<Self, SetupError> {
        rustix::process::chdir(program.directory.as_str()).at(Stage::Directory, || {
            format!("cannot enter the working directory `{}`", program.directory)
        })?;
        let name = name_of(program);
        let path = look_up(name, search_path(&program.env))?;
        let file = CString::new(path.as_os_str().as_encoded_bytes())
            .at(Stage::Program, || format!("`{name}` holds a NUL character"))?;
        let mut arguments = sys::Texts::default();
        for argument in &program.arguments {
            let argument = CString::new(argument.as_str());
            arguments
                .push(argument.at(Stage::Program, || "an argument holds a NUL character".into())?);
        }
        let mut launch =
            Self { program, path, file, arguments, env: sys::Texts::default(), common: 0 };
        launch.add_env(&program.env)?;
        launch.common = program.env.len();
        Ok(launch)
    }

    /// The next program has these variables beside the common ones.
    pub fn add_env(&mut self, own: &[(String, String)]) -> Result<(), SetupError> {
        self.env.truncate(self.common);
        for (name, value) in own {
            let text = CString::new(format!("{name}={value}"));
            self.env.push(
                text.at(Stage::Program, || "an environment variable holds a NUL character".into())?,
            );
        }
        Ok(())
    }
}

fn name_of(program: &ProgramSpec) -> &str {
    program.arguments.first().map(String::as_str).unwrap_or_default()
}

/// The rest of the life of a new process that shares its parent's memory, where signals are held
/// back and none is ignored. None of the `streams` (standard input, output and error) is 0, 1 or 2.
pub(super) fn execute(
    launch: &Launch<'_>,
    streams: [BorrowedFd<'_>; 3],
) -> Result<Infallible, SetupError> {
    rustix::process::setsid().at(Stage::Process, || "cannot make a session".into())?;
    connect(streams).at(Stage::Process, || "cannot connect the program's streams".into())?;
    SigSet::empty().thread_set_mask().at(Stage::Process, || "cannot release signals".into())?;
    let error = sys::execute(&launch.file, &launch.arguments, &launch.env);
    Err(explain(name_of(launch.program), &launch.path, &error))
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
    if !path.is_file() {
        return None; // a pipe would hold us up for ever
    }
    let mut start = Vec::new();
    File::open(path).ok()?.take(LINE_BYTES_MAX).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
    // A carriage return stays in the name: it is why the interpreter is not found.
    let line = String::from_utf8_lossy(line).replace('\r', "\\r");
    line.split_whitespace().next().map(str::to_owned)
}
