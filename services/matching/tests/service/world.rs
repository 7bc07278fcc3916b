//! A matching service on the memory store and the virtual clock, with the calls that tests make.

use std::sync::Arc;
use std::time::Duration;

use api::temporal::api::common::v1::Priority;
use api::temporal::api::enums::v1::TaskQueueKind as WireKind;
use api::temporal::api::namespace::v1::{NamespaceConfig, NamespaceInfo};
use api::temporal::api::taskqueue::v1::{TaskQueue, TaskQueueMetadata, TaskQueueStats};
use api::temporal::api::workflowservice::v1 as wire;
use calls::{CallContext, Matching, Namespace, OfferOutcome, OfferedTask, QueueName, ServiceResult, TaskQueueKind};
use cluster::{FixedRing, NodeId, Ownership, Ring, Sharded};
use entities::ShardSettings;
use ids::{TaskKey, TaskRef, Timestamp};
use matching::MatchingService;
use runtime::Runtime;
use settings::MatchingSettings;
use storage::memory::MemoryStore;
use storage::{LogId, OwnerNonce, Store};
use tokio::task::JoinHandle;

use crate::history::StartRecorder;

/// A service and what surrounds it.
#[derive(Clone)]
pub struct World {
    pub service: Arc<MatchingService>,
    pub history: Arc<StartRecorder>,
    pub runtime: Runtime,
    pub store: Store,
    pub settings: MatchingSettings,
    pub ownership: Ownership,
    pub ctx: CallContext,
}

/// A poll in the background.
pub type PollTask<T> = JoinHandle<ServiceResult<T>>;

impl World {
    pub async fn new() -> Self {
        Self::with(MatchingSettings::default()).await
    }

    pub async fn with(settings: MatchingSettings) -> Self {
        Self::on(MemoryStore::new().store(), settings).await
    }

    pub async fn on(store: Store, settings: MatchingSettings) -> Self {
        let runtime = Runtime::virtual_from(Timestamp::from_millis(1_700_000_000_000));
        let history = Arc::new(StartRecorder::new(runtime.clone()));
        let node = NodeId::new("matching");
        let membership = Arc::new(FixedRing::new(Ring::alone(&node, 1, 1)));
        let ownership = Ownership { membership, service: Sharded::Matching, node };
        let service = open(&settings, &ownership, &store, &runtime, &history).await;
        Self { service, history, runtime, store, settings, ownership, ctx: tenant() }
    }

    /// The process ends properly and another one starts on its store.
    pub async fn restart(&mut self) {
        self.service.close().await;
        self.service = open(&self.settings, &self.ownership, &self.store, &self.runtime, &self.history).await;
    }

    /// The process dies and another one starts on its store.
    pub async fn crash(&mut self) {
        self.service.abandon().await;
        self.service = open(&self.settings, &self.ownership, &self.store, &self.runtime, &self.history).await;
    }

    /// How many groups were ever appended to the only shard's log. Ends the service.
    pub async fn log_appends(self) -> u64 {
        self.service.close().await;
        let opened = self.store.log.open(&LogId("matching/0".to_owned()), OwnerNonce(1)).await.expect("a log");
        opened.head.last.0
    }

    pub fn in_a(&self, duration: Duration) -> Timestamp {
        self.runtime.now() + duration
    }

    pub fn task(&self, kind: TaskQueueKind, queue: &str, number: i64) -> OfferedTask {
        OfferedTask {
            queue: QueueName { namespace: self.ctx.namespace.id.clone(), name: queue.to_owned(), kind },
            key: TaskKey {
                workflow_id: format!("w-{number}").into(),
                run_id: "r".into(),
                task: TaskRef { scheduled_event_id: number, attempt: 1, stamp: 1 },
            },
            normal_name: String::new(),
            priority: None,
            scheduled_at: self.runtime.now(),
            expires_at: None,
        }
    }

    pub fn activity(&self, number: i64) -> OfferedTask {
        self.task(TaskQueueKind::Activity, "q", number)
    }

    pub fn at_level(&self, number: i64, level: i32) -> OfferedTask {
        let priority = Some(Priority { priority_key: level, ..Default::default() });
        OfferedTask { priority, ..self.activity(number) }
    }

    pub async fn offer(&self, task: &OfferedTask) -> OfferOutcome {
        self.service.offer(&self.ctx, task.clone()).await.expect("an outcome")
    }

    pub fn offer_later(&self, task: &OfferedTask) -> JoinHandle<ServiceResult<OfferOutcome>> {
        let (service, task) = (Arc::clone(&self.service), task.clone());
        self.runtime.spawn(async move { service.offer(&tenant(), task).await })
    }

    pub async fn keep(&self, task: &OfferedTask) {
        assert_eq!(self.offer(task).await, OfferOutcome::Persisted, "{task:?}");
    }

    pub fn activity_poll(&self, worker: &str, rate: Option<f64>) -> wire::PollActivityTaskQueueRequest {
        wire::PollActivityTaskQueueRequest {
            task_queue: Some(TaskQueue { name: "q".to_owned(), ..Default::default() }),
            identity: worker.to_owned(),
            worker_instance_key: worker.to_owned(),
            task_queue_metadata: rate.map(|rate| TaskQueueMetadata { max_tasks_per_second: Some(rate) }),
            ..Default::default()
        }
    }

    /// Polls the activity queue for up to a minute.
    pub async fn poll(&self) -> wire::PollActivityTaskQueueResponse {
        self.poll_for(Duration::from_secs(60)).await
    }

    pub async fn poll_for(&self, wait: Duration) -> wire::PollActivityTaskQueueResponse {
        let request = self.activity_poll("worker", None);
        poll_activity(&self.service, &self.ctx, request, self.in_a(wait)).await.expect("an answer")
    }

    /// The number of the next task; 0 if none comes within a second.
    pub async fn next(&self) -> i64 {
        let response = self.poll_for(Duration::from_secs(1)).await;
        response.activity_id.parse().unwrap_or(0)
    }

    pub fn poll_later(&self, worker: &str) -> PollTask<wire::PollActivityTaskQueueResponse> {
        let request = self.activity_poll(worker, None);
        let (world, deadline) = (self.clone(), self.in_a(Duration::from_secs(60)));
        self.runtime.spawn(async move { poll_activity(&world.service, &world.ctx, request, deadline).await })
    }

    pub fn workflow_poll(&self, queue: &str, worker: &str, sticky: bool) -> wire::PollWorkflowTaskQueueRequest {
        let kind = if sticky { WireKind::Sticky } else { WireKind::Normal };
        wire::PollWorkflowTaskQueueRequest {
            task_queue: Some(TaskQueue { name: queue.to_owned(), kind: kind as i32, ..Default::default() }),
            identity: worker.to_owned(),
            worker_instance_key: worker.to_owned(),
            ..Default::default()
        }
    }

    pub fn poll_workflow_later(
        &self,
        queue: &str,
        worker: &str,
        sticky: bool,
    ) -> PollTask<wire::PollWorkflowTaskQueueResponse> {
        let request = self.workflow_poll(queue, worker, sticky);
        let (world, deadline) = (self.clone(), self.in_a(Duration::from_secs(60)));
        self.runtime.spawn(async move { poll_workflow(&world.service, &world.ctx, request, deadline).await })
    }

    pub async fn stats(&self) -> TaskQueueStats {
        let request = wire::DescribeTaskQueueRequest {
            task_queue: Some(TaskQueue { name: "q".to_owned(), ..Default::default() }),
            task_queue_type: 2,
            report_stats: true,
            ..Default::default()
        };
        self.service.describe_task_queue(&self.ctx, request).await.expect("a description").stats.expect("stats")
    }

    /// Lets everything that can happen now happen.
    pub async fn settle(&self) {
        self.runtime.sleep(Duration::from_millis(20)).await;
    }
}

/// Polls, and reads the answer as a worker does.
pub async fn poll_workflow(
    service: &MatchingService,
    ctx: &CallContext,
    request: wire::PollWorkflowTaskQueueRequest,
    deadline: Timestamp,
) -> ServiceResult<wire::PollWorkflowTaskQueueResponse> {
    service.poll_workflow_task_queue(&ctx.clone().until(deadline), request).await?.open()
}

/// The same for an activity task.
pub async fn poll_activity(
    service: &MatchingService,
    ctx: &CallContext,
    request: wire::PollActivityTaskQueueRequest,
    deadline: Timestamp,
) -> ServiceResult<wire::PollActivityTaskQueueResponse> {
    service.poll_activity_task_queue(&ctx.clone().until(deadline), request).await?.open()
}

/// The same for a Nexus task.
pub async fn poll_nexus(
    service: &MatchingService,
    ctx: &CallContext,
    request: wire::PollNexusTaskQueueRequest,
    deadline: Timestamp,
) -> ServiceResult<wire::PollNexusTaskQueueResponse> {
    service.poll_nexus_task_queue(&ctx.clone().until(deadline), request).await?.open()
}

/// The only tenant.
pub fn tenant() -> CallContext {
    let namespace = Namespace {
        id: "namespace".into(),
        name: "n".to_owned(),
        info: NamespaceInfo::default(),
        config: NamespaceConfig::default(),
    };
    CallContext::new(Arc::new(namespace))
}

/// A service that serves all that its ring gives it.
pub async fn open(
    settings: &MatchingSettings,
    ownership: &Ownership,
    store: &Store,
    runtime: &Runtime,
    history: &Arc<StartRecorder>,
) -> Arc<MatchingService> {
    let (settings, shards) = (settings.clone(), ShardSettings::default());
    let (ownership, store, runtime) = (ownership.clone(), store.clone(), runtime.clone());
    let service = MatchingService::new(settings, shards, ownership, store, runtime, Arc::clone(history) as _);
    service.serve();
    service.settled().await.expect("a sound store");
    service
}
