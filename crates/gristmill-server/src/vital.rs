//! Work without which a region only seems to run.
//!
//! A panic in the answer to a request costs that request. A panic in a task that nobody waits for
//! would cost all that the task was there for, in silence. So the process ends: what was under way
//! stands in the books, and a restart carries it out.

use futures::FutureExt;
use std::{panic::AssertUnwindSafe, process};
use tracing::error;

/// The exit status of a process that cannot go on.
pub const BROKEN: i32 = 70;

/// Does the work; if it panics, the process ends.
pub async fn vital<T>(what: &'static str, work: impl Future<Output = T>) -> T {
    // Nothing is used after the panic.
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(value) => value,
        Err(_) => {
            error!(what, "a panic: the process ends, a restart recovers");
            process::exit(BROKEN)
        }
    }
}
