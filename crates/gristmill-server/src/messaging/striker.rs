//! Strikes delivered notices from the books, many at a time: while one strike is written the next
//! ones gather.

use crate::mill::Mill;
use gristmill_store::NoticeProgress;
use tokio::sync::{mpsc, oneshot};

/// Strikes that wait for the books; one more makes its sender wait.
const STRIKES_MAX: usize = 4_096;

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
        tokio::spawn(async move {
            let mut batch = Vec::new();
            while orders.recv_many(&mut batch, STRIKES_MAX).await > 0 {
                let (mut progress, mut settled) = (Vec::new(), Vec::new());
                for order in batch.drain(..) {
                    match order {
                        Order::Strike(step) => progress.push(step),
                        Order::Settle(reply) => settled.push(reply),
                    }
                }
                if !progress.is_empty() {
                    mill.notices_delivered(progress).await;
                }
                for reply in settled {
                    let _ = reply.send(());
                }
            }
        });
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
