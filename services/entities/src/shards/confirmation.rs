//! What the leader says to keepers in doubt. A node that was cut off may lose all its shards at once: one question serves
//! everyone who was in doubt when it was asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cluster::{Membership, NoLeader, Ring};
use tokio::sync::Mutex;

/// The latest answer, shared by all keepers.
#[derive(Default)]
pub(super) struct Confirmation {
    doubts: AtomicU64,
    answer: Mutex<Answer>,
}

#[derive(Default)]
struct Answer {
    /// The doubts that arose before it was asked for.
    settles: u64,
    ring: Arc<Ring>,
}

/// A doubt: settled by whatever the leader says after it arose.
#[derive(Clone, Copy)]
pub(super) struct Doubt(u64);

impl Confirmation {
    /// A new doubt.
    pub(super) fn doubt(&self) -> Doubt {
        Doubt(self.doubts.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// A ring that was the newest at some time after the doubt arose.
    pub(super) async fn settle(&self, doubt: Doubt, membership: &dyn Membership) -> Result<Arc<Ring>, NoLeader> {
        let mut answer = self.answer.lock().await;
        if answer.settles < doubt.0 {
            let settles = self.doubts.load(Ordering::Relaxed);
            let ring = membership.confirm().await?;
            *answer = Answer { settles, ring };
        }
        Ok(Arc::clone(&answer.ring))
    }
}
