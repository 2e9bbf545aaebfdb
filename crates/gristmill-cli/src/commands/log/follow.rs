//! Follows logs while they are written, several at once.
//!
//! One task per log reads pieces and sends them through one bounded channel; the command prints
//! them. Lines of different logs are never mixed: with several logs, only whole lines leave, and
//! what is left of a line leaves at the end of its log.

use super::Wanted;
use crate::{
    client::{Client, ClientError, Stream},
    commands::{End, Outcome},
    oss_path::OssPath,
    session::Session,
    store::Store,
    words::messages as m,
};
use futures::TryStreamExt;
use std::time::Duration;
use tokio::{sync::mpsc, task::JoinSet};

/// How many logs are followed together.
const LOGS_MAX: usize = 32;
/// How long the service may wait for new bytes.
const WAIT_SECONDS: u32 = 10;
/// Pauses between two looks where the service does not wait for us: the first, the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Pieces on their way to the screen.
const PIECES_MAX: usize = 64;

/// Which log, and how its lines are marked.
#[derive(Clone)]
struct Log {
    job: String,
    task: String,
    instance: u64,
    stream: Stream,
}

/// What a reader sends.
type Piece = (usize, Vec<u8>);

pub(super) async fn follow(
    client: &Client,
    job: &str,
    tasks: &[String],
    instance: Option<u64>,
    wanted: Wanted,
    session: &mut Session,
) -> Outcome {
    let (logs, total) = choose(client, job, tasks, instance, wanted).await?;
    if total > logs.len() {
        session.say(
            m::FOLLOW_LIMIT,
            &[("shown", &logs.len().to_string()), ("total", &total.to_string())],
        );
    }
    let (pieces, mut arrived) = mpsc::channel::<Piece>(PIECES_MAX);
    let mut readers = JoinSet::new();
    for (at, log) in logs.iter().enumerate() {
        let reader = Reader {
            client: client.clone(),
            store: session.store().ok(),
            log: log.clone(),
            at,
            pieces: pieces.clone(),
        };
        readers.spawn(reader.run());
    }
    drop(pieces);
    let mut printer = Printer { rests: vec![Vec::new(); logs.len()], marks: marks(&logs) };
    while let Some((at, bytes)) = arrived.recv().await {
        session.out.raw(&printer.take(at, &bytes))?;
    }
    session.out.raw(&printer.rest())?;
    while let Some(ended) = readers.join_next().await {
        ended.expect("readers do not panic")?;
    }
    Ok(End::Success)
}

async fn choose(
    client: &Client,
    job: &str,
    tasks: &[String],
    instance: Option<u64>,
    wanted: Wanted,
) -> Result<(Vec<Log>, usize), ClientError> {
    let mut logs = Vec::new();
    let mut total = 0;
    for task in tasks {
        let instances: Vec<u64> = match instance {
            Some(number) => vec![number],
            None => (0..client.get_task(job, task).await?.instance_metrics.total()).collect(),
        };
        for instance in instances {
            for (stream, is_wanted) in
                [(Stream::Stdout, wanted.stdout), (Stream::Stderr, wanted.stderr)]
            {
                total += usize::from(is_wanted);
                if is_wanted && logs.len() < LOGS_MAX {
                    logs.push(Log { job: job.to_owned(), task: task.clone(), instance, stream });
                }
            }
        }
    }
    Ok((logs, total))
}

/// What each line of a log begins with: nothing while all come from one instance.
fn marks(logs: &[Log]) -> Vec<String> {
    let one = logs.iter().all(|log| (&log.task, log.instance) == (&logs[0].task, logs[0].instance));
    let mark =
        |log: &Log| if one { String::new() } else { format!("{}/{} ", log.task, log.instance) };
    logs.iter().map(mark).collect()
}

/// Puts pieces of many logs together to whole lines.
struct Printer {
    rests: Vec<Vec<u8>>,
    marks: Vec<String>,
}

impl Printer {
    /// The bytes to print now that a piece has come.
    fn take(&mut self, at: usize, bytes: &[u8]) -> Vec<u8> {
        if self.rests.len() == 1 {
            return bytes.to_vec();
        }
        let rest = &mut self.rests[at];
        rest.extend_from_slice(bytes);
        let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { return Vec::new() };
        let whole: Vec<u8> = rest.drain(..=end).collect();
        let mark = self.marks[at].as_bytes();
        whole
            .split_inclusive(|byte| *byte == b'\n')
            .flat_map(|line| [mark, line].concat())
            .collect()
    }

    /// Lines that never ended.
    fn rest(&mut self) -> Vec<u8> {
        let open = self.rests.iter_mut().zip(&self.marks).filter(|(rest, _)| !rest.is_empty());
        open.flat_map(|(rest, mark)| [mark.as_bytes(), rest, b"\n"].concat()).collect()
    }
}

struct Reader {
    client: Client,
    store: Option<Store>,
    log: Log,
    at: usize,
    pieces: mpsc::Sender<Piece>,
}

impl Reader {
    /// Live while the program runs, then what the live log did not have from the log object.
    async fn run(self) -> anyhow::Result<()> {
        let mut offset = 0;
        match self.live(&mut offset).await {
            Ok(true) => self.objects(offset).await,
            // Nobody listens any more.
            Ok(false) => Ok(()),
            Err(error) if has_no_live_log(&error) => self.objects(offset).await,
            Err(error) => Err(error.into()),
        }
    }

    /// `false` when nobody listens any more.
    async fn send(&self, bytes: Vec<u8>) -> bool {
        bytes.is_empty() || self.pieces.send((self.at, bytes)).await.is_ok()
    }

    /// Reads to the end of the run; whether somebody still listens then.
    async fn live(&self, offset: &mut u64) -> Result<bool, ClientError> {
        let log = &self.log;
        loop {
            let read = self.client.read_log(
                &log.job,
                &log.task,
                log.instance,
                log.stream,
                *offset,
                WAIT_SECONDS,
            );
            let chunk = read.await?;
            let is_stuck = chunk.bytes.is_empty() && chunk.next_offset == *offset;
            *offset = chunk.next_offset;
            if !self.send(chunk.bytes.to_vec()).await {
                return Ok(false);
            }
            if chunk.is_end {
                return Ok(true);
            }
            if is_stuck {
                // The server has waited already; this only bounds one that does not.
                tokio::time::sleep(PAUSE_FIRST).await;
            }
        }
    }

    /// Reads what is new in the log object until its instance has ended.
    async fn objects(&self, mut offset: u64) -> anyhow::Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let log = &self.log;
        let mut pause = PAUSE_FIRST;
        loop {
            let instance = self.client.get_instance(&log.job, &log.task, log.instance).await?;
            let path = match log.stream {
                Stream::Stdout => &instance.stdout_redirect_path,
                Stream::Stderr => &instance.stderr_redirect_path,
            };
            // Read after the state: an instance that has ended has all its bytes there.
            let is_heard = match OssPath::parse(path) {
                Ok(path) => self.new_bytes(store, &path, &mut offset).await?,
                Err(_) => true,
            };
            let has_ended = matches!(instance.state.as_str(), "Finished" | "Failed" | "Stopped");
            if !is_heard || has_ended {
                return Ok(());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Sends what an object holds beyond `offset`; `false` when nobody listens any more.
    async fn new_bytes(
        &self,
        store: &Store,
        path: &OssPath,
        offset: &mut u64,
    ) -> anyhow::Result<bool> {
        let size = store.head(path).await?.map_or(0, |info| info.size);
        if size <= *offset {
            return Ok(true);
        }
        let mut body = store.open(path, Some(*offset..size)).await?;
        while let Some(chunk) = body.try_next().await? {
            *offset += chunk.len() as u64;
            if !self.send(chunk.to_vec()).await {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// How services without the extension refuse it.
fn has_no_live_log(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused { status: 400 | 404 | 405 | 501, .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_several_logs_are_marked_and_never_mixed() {
        let mut printer =
            Printer { rests: vec![Vec::new(); 2], marks: vec!["a/0 ".into(), "a/1 ".into()] };
        let mut shown = Vec::new();
        for (at, bytes) in [(0, "one "), (1, "x\ny"), (0, "two\nthree\nfo"), (1, "\n")] {
            shown.extend(printer.take(at, bytes.as_bytes()));
        }
        shown.extend(printer.rest());
        let text = String::from_utf8(shown).unwrap();
        assert_eq!(text, "a/1 x\na/0 one two\na/0 three\na/1 y\na/0 fo\n");
    }

    #[test]
    fn a_single_log_is_passed_on_as_it_is() {
        let mut printer = Printer { rests: vec![Vec::new()], marks: vec![String::new()] };
        assert_eq!(printer.take(0, b"half"), b"half");
        assert!(printer.rest().is_empty());
    }
}
