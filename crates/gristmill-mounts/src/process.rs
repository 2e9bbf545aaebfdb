//! The agent's handle on a mounter process.
//!
//! [`MounterProcess::start`] waits until the inputs can be used; [`MounterProcess::finish`] ends it
//! and returns what happened. A mounter that ends by itself takes its instance with it: open files
//! cannot be given back, so nothing is mounted again ([`MounterProcess::died`]).

use crate::mounter::{Failure, Line, MountReport};
use serde::Serialize;
use std::{
    io,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// How long a mounter that was asked to end may take.
const FINISH_MAX: Duration = Duration::from_secs(10);

/// A running mounter.
#[derive(Debug)]
pub struct MounterProcess {
    child: Child,
    /// Closing it ends the mounter.
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

/// What went wrong with a mounter.
#[derive(Debug, thiserror::Error)]
pub enum MounterError {
    /// It could not be started, or not be told what to do.
    #[error("could not start the mounter")]
    Start {
        /// The cause.
        source: io::Error,
    },
    /// It says why there is no mount.
    #[error("the inputs are not mounted: {0}")]
    Failed(Failure),
    /// It said nothing in time.
    #[error("the mounter was not ready after {} s", .0.as_secs())]
    Slow(Duration),
    /// It ended by itself.
    #[error("the mounter ended by itself: {status}")]
    Died {
        /// How.
        status: String,
    },
    /// It said something nobody understands.
    #[error("the mounter said `{line}`")]
    Babble {
        /// What.
        line: String,
    },
}

impl MounterError {
    /// Whether downloading the inputs is the way out.
    pub fn wants_download(&self) -> bool {
        matches!(self, Self::Failed(Failure::CannotMount { .. }))
    }
}

impl MounterProcess {
    /// Starts `command`, gives it `input` as one line, and waits until it is ready, at most
    /// `ready_max`. Its standard error stays the caller's.
    pub async fn start(
        mut command: Command,
        input: &impl Serialize,
        ready_max: Duration,
    ) -> Result<Self, MounterError> {
        let start_error = |source| MounterError::Start { source };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(start_error)?;
        let stdin = child.stdin.take().expect("it was piped");
        let stdout = child.stdout.take().expect("it was piped");
        let mut process = Self { child, input: stdin, output: BufReader::new(stdout).lines() };
        let mut line = serde_json::to_vec(input).map_err(|error| start_error(error.into()))?;
        line.push(b'\n');
        process.input.write_all(&line).await.map_err(start_error)?;
        match timeout(ready_max, read_line(&mut process.output, &mut process.child)).await {
            Err(_) => Err(MounterError::Slow(ready_max)),
            Ok(Ok(Line::Ready {})) => Ok(process),
            Ok(Ok(Line::Failed(failure))) => Err(MounterError::Failed(failure)),
            Ok(Ok(Line::Report(report))) => {
                Err(MounterError::Babble { line: format!("{report:?}") })
            }
            Ok(Err(error)) => Err(error),
        }
    }

    /// The process, for its cgroup.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until the mounter ends by itself, which it never should. May be dropped and called
    /// again.
    pub async fn died(&mut self) -> MounterError {
        died(self.child.wait().await)
    }

    /// Ends the mount and says what happened on it.
    pub async fn finish(self) -> Result<MountReport, MounterError> {
        let Self { mut child, input, mut output } = self;
        drop(input);
        let finished = timeout(FINISH_MAX, async {
            let report = read_line(&mut output, &mut child).await?;
            let ended = child.wait().await;
            match report {
                Line::Report(report) => Ok(report),
                Line::Ready {} | Line::Failed(_) => Err(died(ended)),
            }
        });
        finished.await.unwrap_or(Err(MounterError::Slow(FINISH_MAX)))
    }
}

async fn read_line(
    output: &mut Lines<BufReader<ChildStdout>>,
    child: &mut Child,
) -> Result<Line, MounterError> {
    match output.next_line().await {
        Ok(Some(line)) => serde_json::from_str(&line).map_err(|_| MounterError::Babble { line }),
        Ok(None) | Err(_) => Err(died(child.wait().await)),
    }
}

fn died(ended: io::Result<ExitStatus>) -> MounterError {
    let status = match ended {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    MounterError::Died { status }
}
