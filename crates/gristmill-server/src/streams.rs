//! What programs said, when it came with the report of their end: short streams become objects here,
//! all of a message in one commit, instead of being sent to the object store's door one by one.
//!
//! Invariants
//! - The objects are durable before the report goes to the mill, so an end that counts has its
//!   streams. Doing it twice is harmless.
//! - Only a run that the world has on this worker is heard, and where its streams go is read in the
//!   job's specification, never in the message.
//! - The account of the job must be allowed to write there, as if it had sent the objects itself.

use gristmill_core::{RunView, World};
use gristmill_faults::{self as faults, Point};
use gristmill_model::{AccountId, Cause, OssPath, RunId, WorkerId};
use gristmill_objects::{BucketAcl, LocalStore, ObjectError, SmallPut};
use gristmill_wire::agent::{self, EndKind, Report};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};
use tracing::warn;

/// The longest stream that may come with a report, bytes: what the store keeps without a file.
pub const STREAM_BYTES_MAX: u32 = 16 * 1024;
/// Pause before streams are offered again to a store in trouble.
const TROUBLE_PAUSE: Duration = Duration::from_millis(500);

/// Stores streams.
pub struct Streams {
    store: Arc<dyn LocalStore>,
}

/// One stream on its way.
struct Letter {
    /// Of which of the reports.
    report: usize,
    account: AccountId,
    put: SmallPut,
}

impl Streams {
    /// Into this store.
    pub fn new(store: Arc<dyn LocalStore>) -> Self {
        Self { store }
    }

    /// Stores what came with the reports; durable when this returns. A run whose streams the store
    /// refuses for good has failed because of that.
    pub async fn keep(&self, world: &World, worker: WorkerId, reports: &mut [Report]) {
        let letters = self.permitted(letters(world, worker, reports), reports).await;
        if letters.is_empty() {
            return;
        }
        let puts: Vec<SmallPut> = letters.iter().map(|letter| letter.put.clone()).collect();
        let outcomes = loop {
            match self.put(&puts).await {
                Ok(outcomes) => break outcomes,
                Err(error) => {
                    warn!(%worker, %error, "streams of programs wait for the object store");
                    tokio::time::sleep(TROUBLE_PAUSE).await;
                }
            }
        };
        for (letter, outcome) in letters.iter().zip(outcomes) {
            if let Err(error) = outcome {
                refuse(&mut reports[letter.report], &letter.put, &error);
            }
        }
        faults::at(Point::StreamsKept);
    }

    async fn put(&self, puts: &[SmallPut]) -> Result<Vec<Result<(), ObjectError>>, ObjectError> {
        let turn = faults::at(Point::StreamsKeep);
        if turn.is_fail() {
            return Err(ObjectError::Full);
        }
        for _ in 1..turn.times() {
            self.store.put_many(puts.to_vec()).await?;
        }
        self.store.put_many(puts.to_vec()).await
    }

    /// Those that their account may send where they go. The others fail their runs.
    async fn permitted(&self, letters: Vec<Letter>, reports: &mut [Report]) -> Vec<Letter> {
        let mut known: HashMap<(String, AccountId), bool> = HashMap::new();
        let mut kept = Vec::with_capacity(letters.len());
        for letter in letters {
            let SmallPut { bucket, key, .. } = &letter.put;
            let asked = (bucket.clone(), letter.account);
            let may = match known.get(&asked) {
                Some(may) => *may,
                None => {
                    // A bucket that cannot be looked up is named by the store itself.
                    let may = self.store.bucket(bucket).await.map_or(true, |bucket| {
                        bucket.owner == letter.account || bucket.acl == BucketAcl::PublicReadWrite
                    });
                    known.insert(asked, may);
                    may
                }
            };
            if may {
                kept.push(letter);
                continue;
            }
            let error = ObjectError::Denied {
                bucket: bucket.clone(),
                key: key.clone(),
                message: "the bucket belongs to another account".into(),
            };
            refuse(&mut reports[letter.report], &letter.put, &error);
        }
        kept
    }
}

/// Takes the streams out of the reports.
fn letters(world: &World, worker: WorkerId, reports: &mut [Report]) -> Vec<Letter> {
    let mut letters = Vec::new();
    let mut views: Option<BTreeMap<RunId, RunView<'_>>> = None;
    for (number, report) in reports.iter_mut().enumerate() {
        let Some(agent::Streams { stdout, stderr }) = report.streams.take() else { continue };
        let views =
            views.get_or_insert_with(|| world.runs_of(worker).map(|v| (v.run, v)).collect());
        let Some(view) = views.get(&RunId(report.run)).filter(|_| report.end.is_some()) else {
            continue; // the world has decided about this run already
        };
        let Some(task) = view.spec.tasks.get(&view.what.task) else { continue };
        let streams = [("stdout", &task.stdout, stdout), ("stderr", &task.stderr, stderr)];
        for (name, destination, bytes) in streams {
            let Some(destination) = destination else { continue };
            let place = object_of(view, name, destination);
            let (bucket, key) = (place.bucket().to_owned(), place.key().to_owned());
            let headers = [("content-type".into(), "application/octet-stream".into())].into();
            let put = SmallPut { bucket, key, headers, bytes };
            letters.push(Letter { report: number, account: view.account, put });
        }
    }
    letters
}

/// `<directory><name>.<job>.<task>.<instance>` (`reference/api.md` 14.3).
fn object_of(view: &RunView<'_>, name: &str, destination: &OssPath) -> OssPath {
    let what = view.what;
    let name = format!("{name}.{}.{}.{}", what.job, what.task, what.instance);
    destination.clone().into_prefix().join(&name)
}

/// The end of a run whose results could not be kept.
fn refuse(report: &mut Report, put: &SmallPut, error: &ObjectError) {
    let Some(end) = &mut report.end else { return };
    end.kind = EndKind::Unable.into();
    end.number = 0;
    Cause::Upload.code().clone_into(&mut end.cause);
    end.message = format!("{} could not be stored: {error}", put.key);
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_wire::agent::RunEnd;

    #[test]
    fn a_refused_stream_is_why_the_run_failed() {
        let mut report = Report { run: 1, end: Some(RunEnd::default()), ..Report::default() };
        let put = SmallPut {
            bucket: "bkt".into(),
            key: "logs/stdout.job-1.task.0".into(),
            headers: BTreeMap::new(),
            bytes: "x".into(),
        };
        let error = ObjectError::NoSuchBucket { bucket: "bkt".into() };
        refuse(&mut report, &put, &error);
        let end = report.end.expect("it ended");
        assert_eq!((end.kind(), end.cause.as_str()), (EndKind::Unable, Cause::Upload.code()));
        assert_eq!(
            end.message,
            "logs/stdout.job-1.task.0 could not be stored: bucket `bkt` does not exist"
        );
    }
}
