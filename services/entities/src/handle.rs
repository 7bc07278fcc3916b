//! How the rest of the process calls a shard.

use std::fmt::Debug;
use std::future::Future;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ids::{NamespaceId, Timestamp};
use storage::{Epoch, Seq};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::inbox::{Inbox, NotAdmitted};
use crate::inspection::{EntityView, Inspection};
use crate::request::{Origin, Request, outcome_of};
use crate::stop::Stop;
use crate::{EntityKey, Kind};

/// Why a request has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError<R> {
    /// The entity said no, and that answer is as good as a read.
    #[error("rejected")]
    Rejected(R),
    /// The shard is not (or no longer) served here. The request may or may not have taken effect; ask the owner.
    #[error("the shard is not served here")]
    NotOwner,
    /// There is no room now. The request had no effect.
    #[error("the shard is overloaded, retry after {retry_after:?}")]
    Overloaded {
        /// When a retry makes sense.
        retry_after: Duration,
    },
    /// The entity's stored state cannot be read. The request had no effect.
    #[error("the entity is quarantined: {0}")]
    Quarantined(String),
    /// The rows that were needed could not be had. The request had no effect.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

impl<R> CallError<R> {
    /// The same, with what the entity said as another type.
    pub(crate) fn map<S>(self, rejection: impl FnOnce(R) -> S) -> CallError<S> {
        match self {
            Self::Rejected(said) => CallError::Rejected(rejection(said)),
            Self::NotOwner => CallError::NotOwner,
            Self::Overloaded { retry_after } => CallError::Overloaded { retry_after },
            Self::Quarantined(reason) => CallError::Quarantined(reason),
            Self::Unavailable(reason) => CallError::Unavailable(reason),
        }
    }
}

/// What a shard looks like from outside, as of its last turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShardStats {
    /// Groups in the log that are not trimmed yet.
    pub log_depth: u64,
    /// Their bytes.
    pub log_bytes: u64,
    /// Entities whose latest changes the tables may not show yet.
    pub dirty_entities: usize,
    /// The memory they take.
    pub dirty_bytes: usize,
    /// Entities in memory.
    pub loaded_entities: usize,
    /// The memory they take.
    pub loaded_bytes: usize,
    /// When the oldest of those groups became durable here.
    pub log_since: Option<Timestamp>,
    /// The last durable position.
    pub last: Seq,
    /// The epoch under which the shard writes.
    pub epoch: Epoch,
}

/// The same numbers where the shard's task leaves them.
#[derive(Default)]
pub(crate) struct StatsBoard {
    log_depth: AtomicU64,
    log_bytes: AtomicU64,
    dirty_entities: AtomicUsize,
    dirty_bytes: AtomicUsize,
    loaded_entities: AtomicUsize,
    loaded_bytes: AtomicUsize,
    /// Nanoseconds; 0 for none.
    log_since: AtomicI64,
    /// How long the oldest group has waited for the log, as of the last turn. Nanoseconds.
    log_wait: AtomicU64,
    last: AtomicU64,
    epoch: AtomicU64,
}

impl StatsBoard {
    /// Leaves the numbers there.
    pub(crate) fn publish(&self, stats: &ShardStats, log_wait: Duration) {
        self.log_depth.store(stats.log_depth, Ordering::Relaxed);
        self.log_bytes.store(stats.log_bytes, Ordering::Relaxed);
        self.dirty_entities.store(stats.dirty_entities, Ordering::Relaxed);
        self.dirty_bytes.store(stats.dirty_bytes, Ordering::Relaxed);
        self.loaded_entities.store(stats.loaded_entities, Ordering::Relaxed);
        self.loaded_bytes.store(stats.loaded_bytes, Ordering::Relaxed);
        self.log_since.store(stats.log_since.map_or(0, Timestamp::nanos), Ordering::Relaxed);
        self.log_wait.store(u64::try_from(log_wait.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.last.store(stats.last.0, Ordering::Relaxed);
        self.epoch.store(stats.epoch.0, Ordering::Relaxed);
    }
}

/// What handles ask of the task beyond what they ask of entities.
#[derive(Default)]
pub(crate) struct ControlRequests {
    /// Checkpoint, trim, stop.
    pub(crate) close: CancellationToken,
    /// Stop as you are.
    pub(crate) abandon: CancellationToken,
    /// Checkpoint, and go on.
    pub(crate) flushes: Mutex<Vec<oneshot::Sender<()>>>,
    /// Show an entity.
    pub(crate) inspections: Mutex<Vec<Inspection>>,
}

/// Talks to one shard. Cheap to clone; dropping it does not stop the shard.
#[derive(Clone)]
pub struct ShardHandle {
    pub(crate) inbox: Arc<Inbox<Request>>,
    pub(crate) stopped: CancellationToken,
    /// Why it stopped; nothing if its task has died.
    pub(crate) why: Arc<OnceLock<Stop>>,
    pub(crate) control: Arc<ControlRequests>,
    pub(crate) stats: Arc<StatsBoard>,
    /// The shortest wait that a refused call is asked for.
    pub(crate) retry_after: Duration,
}

impl ShardHandle {
    /// A user's request. Refused with [`CallError::Overloaded`] when the shard is behind.
    pub async fn call<K: Kind>(&self, key: EntityKey, input: K::Input) -> Result<K::Reply, CallError<K::Rejection>> {
        let (to, answer) = oneshot::channel();
        let namespace = key.namespace.clone();
        let request = Request::of::<K>(key, input, Origin::Call(to));
        self.inbox.push_call(&namespace, request).map_err(|refused| self.not_admitted(refused))?;
        outcome_of::<K>(answer.await.unwrap_or(Err(CallError::NotOwner)))
    }

    /// A completion or an answer that the shard itself waits for: has room of its own and is never refused as overload,
    /// though it may have to wait. Once let in it is decided even if the returned future is dropped.
    pub async fn call_unshed<K: Kind>(
        &self,
        key: EntityKey,
        input: K::Input,
    ) -> Result<K::Reply, CallError<K::Rejection>> {
        let (to, answer) = oneshot::channel();
        let namespace = key.namespace.clone();
        let request = |room| Request::of::<K>(key, input, Origin::Unshed(to, room));
        self.inbox.push_unshed(&namespace, request).await.map_err(|refused| self.not_admitted(refused))?;
        outcome_of::<K>(answer.await.unwrap_or(Err(CallError::NotOwner)))
    }

    /// Writes what is dirty to the tables, trims the log, and stops. Later requests get [`CallError::NotOwner`], as do those
    /// not yet decided. Returns when the shard has stopped, whatever stopped it.
    pub async fn close(&self) {
        self.control.close.cancel();
        self.inbox.wake();
        self.stopped.cancelled().await;
    }

    /// Writes to the tables all that is dirty now, while serving on. Returns when that is done, or the shard has stopped.
    pub async fn flush(&self) {
        let (to, done) = oneshot::channel();
        self.control.flushes.lock().unwrap_or_else(PoisonError::into_inner).push(to);
        self.inbox.wake();
        tokio::select! {
            _ = done => {}
            () = self.stopped.cancelled() => {}
        }
    }

    /// Looks at an entity as it is in memory here, on the shard's task: must be quick. `None` if the shard has stopped.
    pub async fn inspect<T: Send + 'static>(
        &self,
        key: EntityKey,
        look: impl FnOnce(EntityView<'_>) -> T + Send + 'static,
    ) -> Option<T> {
        let (to, seen) = oneshot::channel();
        let look = Box::new(move |view: EntityView<'_>| {
            // A caller that is gone needs no answer.
            let _ = to.send(look(view));
        });
        self.control.inspections.lock().unwrap_or_else(PoisonError::into_inner).push(Inspection { key, look });
        self.inbox.wake();
        tokio::select! {
            seen = seen => seen.ok(),
            () = self.stopped.cancelled() => None,
        }
    }

    /// Stops at once and leaves everything to the log, as a crash would.
    pub async fn abandon(&self) {
        self.control.abandon.cancel();
        self.inbox.wake();
        self.stopped.cancelled().await;
    }

    /// Resolves when the shard has stopped: closed, abandoned, or fenced by another owner.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        self.stopped.clone().cancelled_owned()
    }

    /// Whether it stopped because another process has opened the log.
    pub fn was_fenced(&self) -> bool {
        self.why.get() == Some(&Stop::Fenced)
    }

    /// How many requests of a namespace are decided per turn of the fair queue; 1 unless set.
    pub fn set_weight(&self, namespace: &NamespaceId, weight: u32) {
        self.inbox.set_weight(namespace, weight);
    }

    /// What the shard looked like at the end of its last turn.
    pub fn stats(&self) -> ShardStats {
        let board = &self.stats;
        ShardStats {
            log_depth: board.log_depth.load(Ordering::Relaxed),
            log_bytes: board.log_bytes.load(Ordering::Relaxed),
            dirty_entities: board.dirty_entities.load(Ordering::Relaxed),
            dirty_bytes: board.dirty_bytes.load(Ordering::Relaxed),
            loaded_entities: board.loaded_entities.load(Ordering::Relaxed),
            loaded_bytes: board.loaded_bytes.load(Ordering::Relaxed),
            log_since: Some(board.log_since.load(Ordering::Relaxed)).filter(|at| *at != 0).map(Timestamp::from_nanos),
            last: Seq(board.last.load(Ordering::Relaxed)),
            epoch: Epoch(board.epoch.load(Ordering::Relaxed)),
        }
    }

    /// A log that has not taken a group for some time is given as long again.
    fn retry_after(&self) -> Duration {
        Duration::from_nanos(self.stats.log_wait.load(Ordering::Relaxed)).max(self.retry_after)
    }

    fn not_admitted<R>(&self, refused: NotAdmitted) -> CallError<R> {
        match refused {
            NotAdmitted::Overloaded => CallError::Overloaded { retry_after: self.retry_after() },
            NotAdmitted::Closed => CallError::NotOwner,
        }
    }
}
