//! The keeper of one shard: opens it when the ring gives it to this node, closes it when the ring takes it away.
//!
//! Two nodes whose rings differ must not take the shard from each other in turns. So a fenced node opens it again
//! only under a newer ring than the one under which that happened, or once the leader confirms that it should.

use std::sync::Arc;
use std::time::Duration;

use cluster::Ring;
use ids::Timestamp;
use metrics::counter;
use runtime::Backoff;
use storage::StorageError;
use tokio::sync::watch;

use super::confirmation::Doubt;
use super::{Shards, Standing};
use crate::ShardHandle;

/// Between the attempts to open a shard.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
/// A shard that was served for this long was lost for a reason of its own.
const STEADY: Duration = Duration::from_secs(30);

/// How long a shard that cannot be read is left alone. It may be mended, or a hole may turn out to have been a race.
const CORRUPT_DELAY: Duration = Duration::from_secs(60);

/// What the keeper of one shard knows.
pub(super) struct Keeper {
    shards: Arc<Shards>,
    number: u32,
    rings: watch::Receiver<Arc<Ring>>,
    /// The ring under which another node took the shard, until it may be opened again, and the doubt that this left.
    fenced_under: Option<(u64, Doubt)>,
    /// How long to wait before opening it again, or before asking whether to; grows while it is lost again and again.
    backoff: Backoff,
}

impl Keeper {
    pub(super) fn new(shards: Arc<Shards>, number: u32) -> Self {
        let rings = shards.opener.ownership.membership.ring();
        Self { shards, number, rings, fenced_under: None, backoff: BACKOFF }
    }

    /// Keeps the shard until the service closes.
    pub(super) async fn keep(mut self) {
        while self.until_it_may_be_opened().await {
            if let Some(handle) = self.open().await {
                self.serve(handle).await;
            }
        }
    }

    fn service(&self) -> &'static str {
        self.shards.opener.ownership.service.name()
    }

    fn is_given_by(&self, ring: &Ring) -> bool {
        let ownership = &self.shards.opener.ownership;
        let owner = ring.shards(ownership.service).get(self.number as usize);
        owner.is_some_and(|owner| owner.as_ref() == Some(&ownership.node))
    }

    /// The newest ring here: its version, and whether it gives the shard to this node.
    fn now_given(&mut self) -> (u64, bool) {
        let ring = Arc::clone(&self.rings.borrow_and_update());
        (ring.version, self.is_given_by(&ring))
    }

    /// Says false when the service closes.
    async fn until_it_may_be_opened(&mut self) -> bool {
        let shards = Arc::clone(&self.shards);
        loop {
            let (version, given) = self.now_given();
            if shards.closing.is_cancelled() {
                return false;
            }
            let doubt = self.fenced_under.filter(|(under, _)| version <= *under).map(|(_, doubt)| doubt);
            if given && doubt.is_none() {
                self.fenced_under = None;
                return true;
            }
            let mut rings = self.rings.clone();
            tokio::select! {
                () = shards.closing.cancelled() => return false,
                Ok(()) = rings.changed() => {}
                confirmed = self.confirm(doubt), if given => {
                    if confirmed {
                        self.fenced_under = None;
                    } else {
                        // The next answer must be newer than this one.
                        self.fenced_under = Some((version, shards.confirmation.doubt()));
                        self.backoff.next_delay();
                    }
                }
            }
        }
    }

    /// Waits a moment, and asks the leader whether the shard is this node's all the same.
    async fn confirm(&self, doubt: Option<Doubt>) -> bool {
        let (shards, Some(doubt)) = (&self.shards, doubt) else { return true };
        shards.opener.runtime.sleep(self.backoff.delay()).await;
        match shards.confirmation.settle(doubt, &*shards.opener.ownership.membership).await {
            Ok(ring) => self.is_given_by(&ring),
            Err(error) => {
                tracing::debug!(service = self.service(), shard = self.number, %error, "the leader cannot be asked yet");
                false
            }
        }
    }

    /// Returns once the newest ring gives the shard to this node, or once it does not.
    async fn until_given(mut rings: watch::Receiver<Arc<Ring>>, is_wanted: impl Fn(&Ring) -> bool) {
        if rings.wait_for(|ring| is_wanted(ring)).await.is_err() {
            // Membership has ended, and with it all news.
            std::future::pending::<()>().await;
        }
    }

    /// Opens the shard, however long the store is away. `None` when it is not to be opened any more, or when another process
    /// opened it.
    async fn open(&mut self) -> Option<ShardHandle> {
        let shards = Arc::clone(&self.shards);
        let mut backoff = BACKOFF;
        loop {
            let attempt = async {
                let _permit = shards.openings.acquire().await;
                counter!("outlast_shard_openings_total", "service" => self.service()).increment(1);
                shards.opener.open(self.number, shards.count() as u32).await
            };
            let opened = tokio::select! {
                biased;
                () = shards.closing.cancelled() => break,
                () = Self::until_given(self.rings.clone(), |ring| !self.is_given_by(ring)) => break,
                opened = attempt => opened,
            };
            let mut delay = backoff.next_delay();
            match opened {
                Ok(Some(handle)) => return Some(handle),
                Ok(None) => {
                    self.fenced(Duration::ZERO);
                    break;
                }
                Err(error @ (StorageError::Corrupt(_) | StorageError::Invalid(_))) => {
                    tracing::error!(service = self.service(), shard = self.number, %error, "a shard cannot be opened and is not served");
                    shards.stand(self.number, Standing::Corrupt(error));
                    delay = CORRUPT_DELAY;
                }
                Err(error) => {
                    tracing::warn!(service = self.service(), shard = self.number, %error, "a shard cannot be opened yet");
                }
            }
            tokio::select! {
                () = shards.closing.cancelled() => break,
                () = Self::until_given(self.rings.clone(), |ring| !self.is_given_by(ring)) => break,
                () = shards.opener.runtime.sleep(delay) => {}
            }
        }
        shards.stand(self.number, Standing::Closed);
        None
    }

    /// Serves the shard until it stops by itself, the ring takes it away, or the service closes.
    async fn serve(&mut self, handle: ShardHandle) {
        let shards = Arc::clone(&self.shards);
        let began = shards.opener.runtime.now();
        shards.stand(self.number, Standing::Open(handle.clone()));
        let stopped = tokio::select! {
            biased;
            () = handle.closed() => true,
            () = shards.closing.cancelled() => false,
            () = Self::until_given(self.rings.clone(), |ring| !self.is_given_by(ring)) => false,
        };
        // Before its checkpoint: callers need not wait for that.
        shards.stand(self.number, Standing::Closed);
        shards.opener.kinds.iter().for_each(|kind| kind.closed(self.number));
        if stopped {
            self.stopped_by_itself(&handle, began).await;
        } else {
            self.close(&handle).await;
        }
    }

    /// Writes the shard out, unless it is wanted again first: then what is not written is left to the log.
    async fn close(&self, handle: &ShardHandle) {
        if self.shards.abandoning.is_cancelled() {
            return handle.abandon().await;
        }
        tokio::select! {
            biased;
            () = handle.close() => return,
            () = self.shards.abandoning.cancelled() => {}
            () = Self::until_given(self.rings.clone(), |ring| self.is_given_by(ring)), if !self.shards.closing.is_cancelled() => {}
        }
        handle.abandon().await;
    }

    async fn stopped_by_itself(&mut self, handle: &ShardHandle, began: Timestamp) {
        let served = self.shards.opener.runtime.now().since(began);
        if handle.was_fenced() {
            tracing::info!(service = self.service(), shard = self.number, "another owner took over a shard");
            return self.fenced(served);
        }
        tracing::error!(
            service = self.service(),
            shard = self.number,
            "a shard has stopped by itself and is opened again"
        );
        self.note_service(served);
        tokio::select! {
            () = self.shards.opener.runtime.sleep(self.backoff.delay()) => {}
            () = self.shards.closing.cancelled() => {}
        }
    }

    /// Another process has opened the log. The newest ring that is known here may have been published before that.
    fn fenced(&mut self, served: Duration) {
        self.note_service(served);
        self.fenced_under = Some((self.now_given().0, self.shards.confirmation.doubt()));
    }

    fn note_service(&mut self, served: Duration) {
        if served >= STEADY {
            self.backoff.reset();
        }
        self.backoff.next_delay();
    }
}
