//! Strikes delivered notices from the books, many at a time: while one strike is written the next
//! ones gather.
//!
//! While the books cannot be written, because the disk is full, the strikes wait and are tried again
//! after a pause. Whoever delivered them waits too, so nothing that was taken is sent again.

use crate::{
    mill::{Mill, MillError},
    vital::vital,
};
use gristmill_store::NoticeProgress;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Strikes that wait for the books; one more makes its sender wait.
const STRIKES_MAX: usize = 4_096;

/// The first pause after strikes could not be written; it doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(5);

enum Order {
    Strike(NoticeProgress),
    Settle(oneshot::Sender<()>),
}

/// A handle on the striker. Cheap to clone.
#[derive(Clone)]
pub struct Striker(mpsc::Sender<Order>);

impl Striker {
    /// Starts a striker that writes through this mill; it ends when its last handle is gone.
    pub fn start(mill: Mill) -> Self {
        let (sender, mut orders) = mpsc::channel(STRIKES_MAX);
        tokio::spawn(vital("striker", async move {
            let mut batch = Vec::new();
            while orders.recv_many(&mut batch, STRIKES_MAX).await > 0 {
                let (mut progress, mut settled) = (Vec::new(), Vec::new());
                for order in batch.drain(..) {
                    match order {
                        Order::Strike(step) => progress.push(step),
                        Order::Settle(reply) => settled.push(reply),
                    }
                }
                if !write(&mill, progress).await {
                    return;
                }
                for reply in settled {
                    let _ = reply.send(());
                }
            }
        }));
        Self(sender)
    }

    /// Strikes soon.
    pub async fn strike(&self, progress: NoticeProgress) {
        // Without a striker the process is ending, and the notice is delivered again.
        let _ = self.0.send(Order::Strike(progress)).await;
    }

    /// Returns when everything that was struck before is written.
    pub async fn settle(&self) {
        let (reply, settled) = oneshot::channel();
        if self.0.send(Order::Settle(reply)).await.is_ok() {
            let _ = settled.await;
        }
    }
}

/// Writes strikes, however long the books cannot be written. Whether the mill is still there: without
/// it the process is ending, and what was not struck is delivered again.
async fn write(mill: &Mill, progress: Vec<NoticeProgress>) -> bool {
    let mut pause = PAUSE_FIRST;
    while !progress.is_empty() {
        match mill.notices_delivered(progress.clone()).await {
            Ok(()) => break,
            Err(MillError::Closed) => return false,
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
    true
}
