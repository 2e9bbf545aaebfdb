//! Reports of runs between the model and the wire. Agents are not trusted: texts are cut, and what
//! cannot be understood is an error.

use super::{EndKind, Report, RunEnd};
use gristmill_model::{Cause, RunId, RunOutcome, RunReport, Timestamp};

/// A report that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} `{value}` in a report")]
pub struct BadReport {
    /// Which part.
    pub what: &'static str,
    /// As sent.
    pub value: String,
}

/// Longest text that is kept of an agent's words, bytes. Agents are not trusted with memory.
const WORDS_MAX: usize = 4096;

const CAUSES: [Cause; 11] = [
    Cause::NonZeroExit,
    Cause::Signal,
    Cause::Timeout,
    Cause::OutOfMemory,
    Cause::Command,
    Cause::Package,
    Cause::Mount,
    Cause::Upload,
    Cause::Image,
    Cause::WorkerLost,
    Cause::Sandbox,
];

fn cause(code: &str) -> Result<Cause, BadReport> {
    let known = CAUSES.into_iter().find(|cause| cause.code() == code);
    known.ok_or_else(|| BadReport { what: "cause", value: cut(code.to_owned()) })
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(WORDS_MAX));
    text
}

impl From<&RunReport> for Report {
    fn from(report: &RunReport) -> Self {
        match report {
            RunReport::Started { run, at } => {
                Self { run: run.0, started: at.0, end: None, streams: None }
            }
            RunReport::Ended { run, started, ended, outcome, detail } => Self {
                run: run.0,
                started: started.map_or(0, |at| at.0),
                end: Some(end_of(*ended, outcome, detail)),
                streams: None,
            },
        }
    }
}

fn end_of(at: Timestamp, outcome: &RunOutcome, detail: &str) -> RunEnd {
    let (kind, number, cause, message) = match outcome {
        RunOutcome::Exited { code } => (EndKind::Exited, *code, "", ""),
        RunOutcome::Signalled { signal } => (EndKind::Signalled, *signal, "", ""),
        RunOutcome::TimedOut => (EndKind::TimedOut, 0, "", ""),
        RunOutcome::OutOfMemory => (EndKind::OutOfMemory, 0, "", ""),
        RunOutcome::Unable { cause, message } => {
            (EndKind::Unable, 0, cause.code(), message.as_str())
        }
        RunOutcome::Infrastructure { cause, message } => {
            (EndKind::Infrastructure, 0, cause.code(), message.as_str())
        }
        RunOutcome::Cancelled => (EndKind::Cancelled, 0, "", ""),
    };
    RunEnd {
        at: at.0,
        kind: kind.into(),
        number,
        cause: cause.to_owned(),
        message: message.to_owned(),
        detail: detail.to_owned(),
        spans: None,
    }
}

impl TryFrom<Report> for RunReport {
    type Error = BadReport;

    fn try_from(report: Report) -> Result<Self, BadReport> {
        let run = RunId(report.run);
        let Some(end) = report.end else {
            return Ok(Self::Started { run, at: Timestamp(report.started) });
        };
        Ok(Self::Ended {
            run,
            started: (report.started != 0).then_some(Timestamp(report.started)),
            ended: Timestamp(end.at),
            detail: cut(end.detail.clone()),
            outcome: outcome_of(end)?,
        })
    }
}

fn outcome_of(end: RunEnd) -> Result<RunOutcome, BadReport> {
    let kind = EndKind::try_from(end.kind)
        .map_err(|_| BadReport { what: "end", value: end.kind.to_string() })?;
    Ok(match kind {
        EndKind::Exited => RunOutcome::Exited { code: end.number },
        EndKind::Signalled => RunOutcome::Signalled { signal: end.number },
        EndKind::TimedOut => RunOutcome::TimedOut,
        EndKind::OutOfMemory => RunOutcome::OutOfMemory,
        EndKind::Unable => {
            RunOutcome::Unable { cause: cause(&end.cause)?, message: cut(end.message) }
        }
        EndKind::Infrastructure => {
            RunOutcome::Infrastructure { cause: cause(&end.cause)?, message: cut(end.message) }
        }
        EndKind::Cancelled => RunOutcome::Cancelled,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};
    use prost::Message;

    #[test]
    fn reports_survive_the_wire() {
        let outcomes = [
            RunOutcome::Exited { code: -1 },
            RunOutcome::Signalled { signal: 9 },
            RunOutcome::TimedOut,
            RunOutcome::OutOfMemory,
            RunOutcome::Unable { cause: Cause::Package, message: "no such object".into() },
            RunOutcome::Infrastructure { cause: Cause::Upload, message: "503".into() },
            RunOutcome::Cancelled,
        ];
        let ended = outcomes.map(|outcome| RunReport::Ended {
            run: RunId(7),
            started: Some(Timestamp(1)),
            ended: Timestamp(2),
            outcome,
            detail: "two files discarded".into(),
        });
        let started = RunReport::Started { run: RunId(7), at: Timestamp(1) };
        for report in ended.into_iter().chain([started]) {
            let bytes = Report::from(&report).encode_to_vec();
            let read = Report::decode(bytes.as_slice()).expect("just encoded");
            assert_eq!(RunReport::try_from(read), Ok(report));
        }
    }

    #[test]
    fn an_unknown_end_is_refused_and_long_words_are_cut() {
        let end = RunEnd { kind: 99, ..RunEnd::default() };
        let report = Report { run: 1, started: 0, end: Some(end), streams: None };
        assert!(RunReport::try_from(report).is_err());
        let end = RunEnd { detail: "é".repeat(5000), ..RunEnd::default() };
        let report = Report { run: 1, started: 0, end: Some(end), streams: None };
        let Ok(RunReport::Ended { detail, .. }) = RunReport::try_from(report) else {
            panic!("the report is legal")
        };
        assert_eq!(detail.len(), 4096);
    }
}
