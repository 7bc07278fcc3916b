//! The service as one value, and the trait that it serves.

use std::future::Future;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use api::temporal::api::workflowservice::v1 as wire;
use async_trait::async_trait;
use calls::token::QueryTaskToken;
use calls::{
    CallContext, History, Matching, OfferOutcome, OfferedQuery, OfferedTask, Opened, QueryOutcome, Relayed,
    ServiceResult,
};
use cluster::Ownership;
use entities::{KindHandle, Kinds, ShardOpener, ShardSettings, ShardStats, Shards};
use runtime::{Backoff, Runtime};
use settings::MatchingSettings;
use storage::{StorageResult, Store};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::counters::Counters;
use crate::host::PartitionHost;
use crate::kind::PartitionKind;
use crate::query::PendingQueries;
use crate::queues::Queues;
use crate::task_queue::TaskQueue;
use crate::workers::Workers;

/// Between the attempts of something that failed.
pub(crate) const BACKOFF: Backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
/// How long closing waits for what is under way.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// The matching service of one process. Must be closed: its tasks hold it.
pub struct MatchingService {
    pub(crate) core: Arc<Core>,
}

/// How much of what is in the memory of a matching service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InMemory {
    /// Task queues.
    pub queues: usize,
    /// Polls that wait in them.
    pub polls: usize,
    /// Offers that wait in them.
    pub offers: usize,
    /// Queries that have no answer yet.
    pub queries: usize,
    /// Deliveries and other things under way, the service's own upkeep included.
    pub jobs: usize,
}

/// What all parts of the service share.
pub(crate) struct Core {
    pub(crate) settings: MatchingSettings,
    pub(crate) runtime: Runtime,
    pub(crate) shards: Arc<Shards>,
    pub(crate) partitions: KindHandle<PartitionKind>,
    pub(crate) history: Arc<dyn History>,
    pub(crate) queues: Queues,
    pub(crate) workers: Workers,
    pub(crate) pending_queries: Mutex<PendingQueries>,
    pub(crate) counters: Counters,
    /// Cancelled when the service closes.
    pub(crate) closing: CancellationToken,
    /// Queues to advance, from code that cannot spawn tasks itself.
    pub(crate) wake_queue: mpsc::UnboundedSender<Arc<TaskQueue>>,
    tasks: TaskTracker,
}

impl MatchingService {
    /// For the matching shards (logs `matching/0` and so on in `store`) that the ring gives to this node; none is open
    /// before [`MatchingService::serve`]. `history` records starts, and must not keep this service alive. Must be closed.
    pub fn new(
        settings: MatchingSettings,
        shard_settings: ShardSettings,
        ownership: Ownership,
        store: Store,
        runtime: Runtime,
        history: Arc<dyn History>,
    ) -> Arc<Self> {
        let (wake_queue, woken) = mpsc::unbounded_channel();
        let core = Arc::new_cyclic(|core: &Weak<Core>| {
            let opener = ShardOpener {
                kinds: Kinds::default().with(Arc::new(PartitionKind), Arc::new(PartitionHost(Weak::clone(core)))),
                store,
                runtime: runtime.clone(),
                settings: shard_settings,
                ownership,
            };
            let shards = Shards::new(opener);
            Core {
                settings,
                runtime,
                partitions: shards.of(),
                shards,
                history,
                queues: Queues::default(),
                workers: Workers::default(),
                pending_queries: Mutex::default(),
                counters: Counters::new(),
                closing: CancellationToken::new(),
                wake_queue,
                tasks: TaskTracker::new(),
            }
        });
        core.spawn(Arc::clone(&core).upkeep(woken));
        Arc::new(Self { core })
    }

    /// Serves the shards that the ring gives to this node, from now on and as the ring changes, and delivers their
    /// backlogs; returns at once. Called once.
    pub fn serve(&self) {
        self.core.shards.serve();
    }

    /// Returns when every shard that the ring gives to this node is open. Waits for a first ring, and while the store is
    /// away.
    ///
    /// # Errors
    /// Of a shard that cannot be opened because of what is stored, once all others are open.
    pub async fn settled(&self) -> StorageResult<()> {
        self.core.shards.settled().await
    }

    /// How many of the shards that the ring gives to this node now are not open.
    pub fn unserved(&self) -> usize {
        self.core.shards.unserved()
    }

    /// What the shards that are open here look like, by number.
    pub fn stats(&self) -> Vec<(u32, ShardStats)> {
        self.core.shards.stats()
    }

    /// Writes to the tables all that is dirty now, while serving on: what the next owner of a shard then reads is short.
    pub async fn flush(&self) {
        self.core.shards.flush().await;
    }

    /// Ends all polls with empty answers, refuses offers, and closes the shards. Returns when that is done. Before that, a
    /// node that leaves a cluster waits until the ring gives it no shards: then no call waits here any more.
    pub async fn close(&self) {
        self.core.end_everything().await;
        self.core.shards.close().await;
    }

    /// Stops as a crash would: what is not durable yet is gone.
    pub async fn abandon(&self) {
        self.core.shards.abandon().await;
        self.core.end_everything().await;
    }

    /// What is in memory now.
    pub fn in_memory(&self) -> InMemory {
        let queues = self.core.queues.all();
        let mut counted = InMemory { queues: queues.len(), jobs: self.core.tasks.len(), ..InMemory::default() };
        for queue in queues {
            let state = queue.lock();
            counted.polls += state.waiters.len();
            counted.offers += state.offers.len();
        }
        counted.queries = self.core.pending_queries().len();
        counted
    }
}

impl Core {
    async fn end_everything(&self) {
        self.closing.cancel();
        self.tasks.close();
        self.runtime.timeout(CLOSE_TIMEOUT, self.tasks.wait()).await;
    }

    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(self.tasks.track_future(future));
    }
}

#[async_trait]
impl Matching for MatchingService {
    async fn offer(&self, _: &CallContext, task: OfferedTask) -> ServiceResult<OfferOutcome> {
        self.core.offer(task).await
    }

    async fn query(&self, ctx: &CallContext, query: OfferedQuery) -> ServiceResult<QueryOutcome> {
        self.core.query(ctx, query).await
    }

    async fn poll_workflow_task_queue(
        &self,
        ctx: &CallContext,
        request: wire::PollWorkflowTaskQueueRequest,
    ) -> ServiceResult<Relayed<wire::PollWorkflowTaskQueueResponse>> {
        self.core.poll_workflow_task_queue(ctx, request).await
    }

    async fn poll_activity_task_queue(
        &self,
        ctx: &CallContext,
        request: wire::PollActivityTaskQueueRequest,
    ) -> ServiceResult<Relayed<wire::PollActivityTaskQueueResponse>> {
        self.core.poll_activity_task_queue(ctx, request).await
    }

    async fn poll_nexus_task_queue(
        &self,
        ctx: &CallContext,
        request: wire::PollNexusTaskQueueRequest,
    ) -> ServiceResult<Relayed<wire::PollNexusTaskQueueResponse>> {
        self.core.poll_nexus_task_queue(ctx, request).await
    }

    async fn respond_query_task_completed(
        &self,
        ctx: &CallContext,
        answer: Opened<QueryTaskToken, wire::RespondQueryTaskCompletedRequest>,
    ) -> ServiceResult<wire::RespondQueryTaskCompletedResponse> {
        self.core.respond_query_task_completed(ctx, answer)
    }

    async fn describe_task_queue(
        &self,
        ctx: &CallContext,
        request: wire::DescribeTaskQueueRequest,
    ) -> ServiceResult<wire::DescribeTaskQueueResponse> {
        self.core.describe_task_queue(ctx, request).await
    }

    async fn shutdown_worker(
        &self,
        ctx: &CallContext,
        request: wire::ShutdownWorkerRequest,
    ) -> ServiceResult<wire::ShutdownWorkerResponse> {
        Ok(self.core.shutdown_worker(ctx, request))
    }
}
