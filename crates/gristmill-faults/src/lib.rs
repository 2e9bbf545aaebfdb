//! Fail points: steps of the path of a job at which a test lets a process fail.
//!
//! ```text
//! DIR/armed/<point>   says which deed is to be done; made by the test
//! DIR/hit/<point>     the same file once a process came by: claimed by one rename, then done
//! ```
//!
//! `GRISTMILL_FAULTS` names DIR and travels from the server to its agents and their mounters. A
//! claim is one rename, so a deed is done once, whichever process comes by first and however often
//! processes start anew. Without the variable a point costs one look at a static; in a release
//! build (without the feature `fail-points`) it is nothing at all.
//!
//! Invariants
//! - [`Point::ALL`] is the whole list, because only its members can be named in code. `tests/faults`
//!   walks it and fails for a point that nothing comes by.
//! - A point decides nothing. What it asks for is an error, an end or a repetition that can come
//!   without it.
//!
//! Start at [`at`]; the list is in [`Point`].

mod points;

pub use points::Point;

use std::{fmt, io, path::PathBuf};

/// The variable that names the directory of armed points.
pub const VARIABLE: &str = "GRISTMILL_FAULTS";

/// Whether this build has fail points.
pub const BUILT_IN: bool = cfg!(any(debug_assertions, feature = "fail-points"));

/// What a point can be asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// The process ends at once, as by `kill -9`.
    Kill,
    /// The thread or task panics.
    Panic,
    /// The step fails with an error.
    Fail,
    /// The step is done twice.
    Twice,
    /// The step takes a second and a half.
    Slow,
    /// The step is done although it is not due.
    Early,
}

impl Deed {
    /// Every deed.
    pub const ALL: [Self; 6] =
        [Self::Kill, Self::Panic, Self::Fail, Self::Twice, Self::Slow, Self::Early];

    /// How tests name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Panic => "panic",
            Self::Fail => "fail",
            Self::Twice => "twice",
            Self::Slow => "slow",
            Self::Early => "early",
        }
    }
}

/// What a step learns at its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Go on.
    Go,
    /// Fail.
    Fail(Point),
    /// Do the step twice.
    Twice,
    /// Do the step although it is not due.
    Early,
}

impl Turn {
    /// The error of a step that is to fail.
    pub fn or_fail(self) -> Result<(), Fault> {
        match self {
            Self::Fail(point) => Err(Fault(point)),
            Self::Go | Self::Twice | Self::Early => Ok(()),
        }
    }

    /// Whether the step is to fail, for steps without an error of their own.
    pub fn is_fail(self) -> bool {
        matches!(self, Self::Fail(_))
    }

    /// How often the step is to be done.
    pub fn times(self) -> usize {
        if self == Self::Twice { 2 } else { 1 }
    }

    /// Whether the step is to be done although it is not due.
    pub fn is_early(self) -> bool {
        self == Self::Early
    }
}

/// An error that a test asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault(Point);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a test let this fail at `{}`", self.0.name())
    }
}

impl std::error::Error for Fault {}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        Self::other(fault)
    }
}

/// A step of the path of a job. What was armed for it is done now, or told to the step.
#[cfg(not(any(debug_assertions, feature = "fail-points")))]
#[inline(always)]
pub fn at(_: Point) -> Turn {
    Turn::Go
}

/// A step of the path of a job. What was armed for it is done now, or told to the step.
#[cfg(any(debug_assertions, feature = "fail-points"))]
pub fn at(point: Point) -> Turn {
    armed::directory().map_or(Turn::Go, |directory| armed::carry_out(directory, point))
}

/// The variable and its value for a process that is started by this one.
pub fn environment() -> Option<(&'static str, PathBuf)> {
    BUILT_IN.then(|| std::env::var_os(VARIABLE)).flatten().map(|dir| (VARIABLE, dir.into()))
}

#[cfg(any(debug_assertions, feature = "fail-points"))]
mod armed {
    use super::{Deed, Point, Turn};
    use rustix::process::{Signal, getpid, kill_process};
    use std::{
        fs,
        path::{Path, PathBuf},
        sync::OnceLock,
        thread,
        time::Duration,
    };

    /// Longer than any beat and poll, shorter than the patience with a silent machine.
    const SLOW: Duration = Duration::from_millis(1_500);

    /// Where points are armed, if they are.
    pub fn directory() -> Option<&'static Path> {
        static DIRECTORY: OnceLock<Option<PathBuf>> = OnceLock::new();
        let find = || std::env::var_os(super::VARIABLE).map(PathBuf::from);
        DIRECTORY.get_or_init(find).as_deref()
    }

    /// Claims what is armed for this point and does it.
    pub fn carry_out(directory: &Path, point: Point) -> Turn {
        match claim(directory, point) {
            None => Turn::Go,
            Some(Deed::Fail) => Turn::Fail(point),
            Some(Deed::Twice) => Turn::Twice,
            Some(Deed::Early) => Turn::Early,
            Some(Deed::Panic) => panic!("a test asked for it at `{}`", point.name()),
            Some(Deed::Slow) => {
                thread::sleep(SLOW);
                Turn::Go
            }
            Some(Deed::Kill) => loop {
                // It cannot fail, and nothing runs after it; the loop is for the compiler.
                let _ = kill_process(getpid(), Signal::KILL);
            },
        }
    }

    /// What this process is to do: it is nobody else's from now on.
    pub fn claim(directory: &Path, point: Point) -> Option<Deed> {
        let place = |side: &str| directory.join(side).join(point.name());
        // Read first: a test that has seen the claim may take the file away.
        let word = fs::read_to_string(place("armed")).ok()?;
        fs::rename(place("armed"), place("hit")).ok()?;
        let deed = Deed::ALL.into_iter().find(|deed| deed.name() == word.trim());
        let known = deed.filter(|deed| point.deeds().contains(deed));
        Some(known.unwrap_or_else(|| panic!("`{}` cannot be armed with `{word}`", point.name())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, fs};

    #[test]
    fn names_are_unique_and_every_point_can_be_armed() {
        let names: BTreeSet<_> = Point::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), Point::ALL.len());
        assert!(Point::ALL.iter().all(|point| !point.deeds().is_empty()));
    }

    #[test]
    fn what_is_armed_is_done_once() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["armed", "hit"] {
            fs::create_dir(directory.path().join(name)).expect("made");
        }
        let point = Point::StoreCommit;
        assert_eq!(armed::claim(directory.path(), point), None);
        let file = directory.path().join("armed").join(point.name());
        fs::write(&file, "fail\n").expect("written");
        assert_eq!(armed::carry_out(directory.path(), point), Turn::Fail(point));
        assert_eq!(armed::carry_out(directory.path(), point), Turn::Go);
        assert!(directory.path().join("hit").join(point.name()).exists());
    }

    #[test]
    fn a_fault_says_that_it_was_asked_for() {
        let fault = Turn::Fail(Point::StoreCommit).or_fail().expect_err("it fails");
        assert_eq!(fault.to_string(), "a test let this fail at `store.commit`");
        assert_eq!((Turn::Twice.times(), Turn::Go.times(), Turn::Go.or_fail()), (2, 1, Ok(())));
    }
}
