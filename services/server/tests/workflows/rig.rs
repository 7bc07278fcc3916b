//! History and matching on one store, a tenant, and raw calls.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use api::temporal::api::command::v1::Command;
use api::temporal::api::common::v1::{Payload, Payloads, WorkflowExecution, WorkflowType};
use api::temporal::api::enums::v1::{EventType, TaskQueueKind};
use api::temporal::api::failure::v1::Failure;
use api::temporal::api::history::v1::HistoryEvent;
use api::temporal::api::taskqueue::v1::TaskQueue;
use api::temporal::api::workflowservice::v1 as wire;
use calls::token::{ActivityTaskToken, WorkflowTaskToken};
use calls::{
    ActivityRef, ActivityReport, Call, CallContext, Carrier, GetHistory, History, Matching, Namespace, Opened, Service,
    ServiceError, ServiceResult, UnwrittenEvents,
};
use cluster::{FixedRing, NodeId, Ownership, Ring, Sharded};
use entities::ShardSettings;
use history::{HistoryService, Neighbours};
use ids::Timestamp;
use matching::MatchingService;
use prost::Message;
use runtime::Runtime;
use settings::{HistorySettings, MatchingSettings};
use storage::Store;

/// The queue of every worker here.
pub const QUEUE: &str = "work";
/// Noon on some day.
const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// The way to a service of this process that is made later.
struct Direct<S: ?Sized>(OnceLock<Weak<S>>);

impl<S: Service + ?Sized> Direct<S> {
    fn new() -> Arc<Self> {
        Arc::new(Self(OnceLock::new()))
    }

    fn lead_to(&self, service: &Arc<S>) {
        assert!(self.0.set(Arc::downgrade(service)).is_ok(), "it leads somewhere already");
    }
}

impl<S: Service + ?Sized> Carrier<S> for Direct<S> {
    async fn carry<C: Call<Service = S>>(&self, ctx: &CallContext, request: C::Request) -> ServiceResult<C::Reply> {
        match self.0.get().and_then(Weak::upgrade) {
            Some(service) => C::serve(&*service, ctx, request).await,
            None => Err(ServiceError::Unavailable("the process is gone".to_owned())),
        }
    }
}

/// One process with all that is behind the frontend.
pub struct Rig {
    pub runtime: Runtime,
    pub history: Arc<HistoryService>,
    pub matching: Arc<MatchingService>,
    pub ctx: CallContext,
    pub store: Store,
}

impl Rig {
    /// A process on an empty store in memory.
    pub async fn new() -> Self {
        Self::on(storage::memory::MemoryStore::new().store(), Runtime::virtual_from(START)).await
    }

    /// A process on a store that others may have used before.
    pub async fn on(store: Store, runtime: Runtime) -> Self {
        Self::with(store, runtime, HistorySettings::default(), ShardSettings::default()).await
    }

    /// The same with other settings.
    pub async fn with(store: Store, runtime: Runtime, settings: HistorySettings, shards: ShardSettings) -> Self {
        let node = NodeId::new("alone");
        let membership = Arc::new(FixedRing::new(Ring::alone(&node, 4, 1)));
        let own = |service| Ownership { membership: Arc::clone(&membership) as _, service, node: node.clone() };
        let queues = (MatchingSettings::default(), shards.clone());
        let (to_history, to_matching) = (Direct::<dyn History>::new(), Direct::<dyn Matching>::new());
        let recorder = Arc::clone(&to_history) as _;
        let (of_matching, of_history) = (own(Sharded::Matching), own(Sharded::History));
        let matching = MatchingService::new(queues.0, queues.1, of_matching, store.clone(), runtime.clone(), recorder);
        let peers = Arc::clone(&to_history) as _;
        let neighbours = Neighbours { matching: Arc::clone(&to_matching) as _, peers, names: Arc::new(|_| None) };
        let history = HistoryService::new(settings, shards, of_history, store.clone(), runtime.clone(), neighbours);
        to_history.lead_to(&(Arc::clone(&history) as _));
        to_matching.lead_to(&(Arc::clone(&matching) as _));
        history.serve();
        matching.serve();
        history.settled().await.unwrap();
        matching.settled().await.unwrap();
        let namespace = Namespace {
            id: "2f7b1a58-5c1e-4f0e-9a49-0d7c2d9c9a11".into(),
            name: "default".to_owned(),
            info: Default::default(),
            config: Default::default(),
        };
        Self { runtime, history, matching, ctx: CallContext::new(Arc::new(namespace)), store }
    }

    /// Kills the process and starts another on the same store.
    pub async fn crash(self) -> Self {
        self.kill().await;
        Self::on(self.store.clone(), self.runtime.clone()).await
    }

    /// Stops as a crash would.
    pub async fn kill(&self) {
        self.matching.abandon().await;
        self.history.abandon().await;
    }

    /// Stops in an orderly way and starts another process on the same store.
    pub async fn restart(self) -> Self {
        self.matching.close().await;
        self.history.close().await;
        Self::on(self.store.clone(), self.runtime.clone()).await
    }

    pub fn deadline(&self, seconds: u64) -> Timestamp {
        self.runtime.now() + Duration::from_secs(seconds)
    }

    /// Asks for events, and waits for that many seconds if the request says so.
    pub async fn get_history(
        &self,
        unwritten: UnwrittenEvents,
        request: wire::GetWorkflowExecutionHistoryRequest,
        seconds: u64,
    ) -> ServiceResult<wire::GetWorkflowExecutionHistoryResponse> {
        let ctx = self.ctx.clone().until(self.deadline(seconds));
        self.history.get_history(&ctx, GetHistory { unwritten, request }).await
    }

    /// Starts a workflow of type `kind`; its run id.
    pub async fn start(&self, workflow_id: &str, kind: &str) -> String {
        self.start_with(start_request(workflow_id, kind)).await.unwrap().run_id
    }

    pub async fn start_with(
        &self,
        request: wire::StartWorkflowExecutionRequest,
    ) -> ServiceResult<wire::StartWorkflowExecutionResponse> {
        self.history.start_workflow(&self.ctx, request).await
    }

    /// Waits for a workflow task; `None` when none came within a minute.
    pub async fn poll(&self) -> Option<wire::PollWorkflowTaskQueueResponse> {
        self.poll_on(normal(QUEUE), 60).await
    }

    pub async fn poll_on(&self, queue: TaskQueue, seconds: u64) -> Option<wire::PollWorkflowTaskQueueResponse> {
        let request = wire::PollWorkflowTaskQueueRequest {
            namespace: "default".to_owned(),
            task_queue: Some(queue),
            identity: "worker".to_owned(),
            ..Default::default()
        };
        let end = self.deadline(seconds);
        while self.runtime.now() < end {
            let soon = end.min(self.deadline(60));
            let task = self.matching.poll_workflow_task_queue(&self.ctx.clone().until(soon), request.clone()).await;
            let task = task.unwrap().open().unwrap();
            if !task.task_token.is_empty() {
                return Some(task);
            }
        }
        None
    }

    /// Waits for an activity task; `None` when none came within that many seconds.
    pub async fn poll_activity(&self, seconds: u64) -> Option<wire::PollActivityTaskQueueResponse> {
        let request = wire::PollActivityTaskQueueRequest {
            namespace: "default".to_owned(),
            task_queue: Some(normal(QUEUE)),
            identity: "worker".to_owned(),
            ..Default::default()
        };
        let end = self.deadline(seconds);
        while self.runtime.now() < end {
            let soon = end.min(self.deadline(60));
            let task = self.matching.poll_activity_task_queue(&self.ctx.clone().until(soon), request.clone()).await;
            let task = task.unwrap().open().unwrap();
            if !task.task_token.is_empty() {
                return Some(task);
            }
        }
        None
    }

    /// Completes a workflow task with commands.
    pub async fn complete(&self, task: &wire::PollWorkflowTaskQueueResponse, commands: Vec<Command>) {
        let request = wire::RespondWorkflowTaskCompletedRequest { commands, ..Default::default() };
        self.complete_with(task, request).await.unwrap();
    }

    pub async fn complete_with(
        &self,
        task: &wire::PollWorkflowTaskQueueResponse,
        request: wire::RespondWorkflowTaskCompletedRequest,
    ) -> ServiceResult<wire::RespondWorkflowTaskCompletedResponse> {
        let token = WorkflowTaskToken::decode(task.task_token.clone()).unwrap();
        self.history.complete_workflow_task(&self.ctx, Opened { token, request }).await
    }

    pub async fn fail(&self, task: &wire::PollWorkflowTaskQueueResponse) {
        let token = WorkflowTaskToken::decode(task.task_token.clone()).unwrap();
        self.history.fail_workflow_task(&self.ctx, Opened { token, request: Default::default() }).await.unwrap();
    }

    pub async fn complete_activity(
        &self,
        task: &wire::PollActivityTaskQueueResponse,
        result: &str,
    ) -> ServiceResult<wire::RespondActivityTaskCompletedResponse> {
        let request = wire::RespondActivityTaskCompletedRequest { result: payloads(result), ..Default::default() };
        self.history.complete_activity(&self.ctx, ActivityReport { activity: activity_of(task), request }).await
    }

    pub async fn fail_activity(
        &self,
        task: &wire::PollActivityTaskQueueResponse,
        message: &str,
    ) -> ServiceResult<wire::RespondActivityTaskFailedResponse> {
        let failure = Failure { message: message.to_owned(), ..Default::default() };
        let request = wire::RespondActivityTaskFailedRequest { failure: Some(failure), ..Default::default() };
        self.history.fail_activity(&self.ctx, ActivityReport { activity: activity_of(task), request }).await
    }

    pub async fn signal(&self, workflow_id: &str, name: &str, request_id: &str) -> ServiceResult<()> {
        let request = wire::SignalWorkflowExecutionRequest {
            workflow_execution: execution(workflow_id, ""),
            signal_name: name.to_owned(),
            request_id: request_id.to_owned(),
            ..Default::default()
        };
        self.history.signal_workflow(&self.ctx, request).await.map(drop)
    }

    pub async fn terminate(&self, workflow_id: &str) {
        let request = wire::TerminateWorkflowExecutionRequest {
            workflow_execution: execution(workflow_id, ""),
            ..Default::default()
        };
        self.history.terminate_workflow(&self.ctx, request).await.unwrap();
    }

    pub async fn describe(&self, workflow_id: &str) -> ServiceResult<wire::DescribeWorkflowExecutionResponse> {
        let request =
            wire::DescribeWorkflowExecutionRequest { execution: execution(workflow_id, ""), ..Default::default() };
        self.history.describe_workflow(&self.ctx, request).await
    }

    /// The whole history, page by page.
    pub async fn events(&self, workflow_id: &str, run_id: &str) -> Vec<HistoryEvent> {
        self.pages(workflow_id, run_id, 0, Default::default()).await.into_iter().flatten().collect()
    }

    /// The pages of a history, from `token` on.
    pub async fn pages(
        &self,
        workflow_id: &str,
        run_id: &str,
        size: i32,
        token: prost::bytes::Bytes,
    ) -> Vec<Vec<HistoryEvent>> {
        let mut next_page_token = token;
        let mut pages = Vec::new();
        loop {
            let request = wire::GetWorkflowExecutionHistoryRequest {
                execution: execution(workflow_id, run_id),
                maximum_page_size: size,
                next_page_token,
                ..Default::default()
            };
            let page = self.get_history(UnwrittenEvents::Hidden, request, 10).await.unwrap();
            pages.push(page.history.unwrap().events);
            next_page_token = page.next_page_token;
            if next_page_token.is_empty() {
                return pages;
            }
        }
    }

    /// Waits until the workflow has closed; its closing event. Panics after a virtual year.
    pub async fn closing_event(&self, workflow_id: &str) -> HistoryEvent {
        let mut run_id = String::new();
        for _ in 0..1000 {
            let request = wire::GetWorkflowExecutionHistoryRequest {
                execution: execution(workflow_id, &run_id),
                wait_new_event: true,
                history_event_filter_type: 2,
                ..Default::default()
            };
            let page = self.get_history(UnwrittenEvents::Hidden, request, 365 * 24 * 3600).await;
            if let Ok(page) = page
                && let Some(event) = page.history.unwrap().events.pop()
            {
                return event;
            }
            run_id.clear();
            self.runtime.sleep(Duration::from_secs(1)).await;
        }
        panic!("workflow {workflow_id} does not close");
    }
}

pub fn start_request(workflow_id: &str, kind: &str) -> wire::StartWorkflowExecutionRequest {
    wire::StartWorkflowExecutionRequest {
        namespace: "default".to_owned(),
        workflow_id: workflow_id.to_owned(),
        workflow_type: Some(WorkflowType { name: kind.to_owned() }),
        task_queue: Some(normal(QUEUE)),
        request_id: format!("start-{workflow_id}"),
        ..Default::default()
    }
}

pub fn activity_of(task: &wire::PollActivityTaskQueueResponse) -> ActivityRef {
    ActivityRef::Token(ActivityTaskToken::decode(task.task_token.clone()).unwrap())
}

pub fn execution(workflow_id: &str, run_id: &str) -> Option<WorkflowExecution> {
    Some(WorkflowExecution { workflow_id: workflow_id.to_owned(), run_id: run_id.to_owned() })
}

pub fn normal(name: &str) -> TaskQueue {
    TaskQueue { name: name.to_owned(), kind: TaskQueueKind::Normal as i32, ..Default::default() }
}

pub fn payloads(text: &str) -> Option<Payloads> {
    let payload = Payload { data: text.to_owned().into(), ..Default::default() };
    Some(Payloads { payloads: vec![payload] })
}

pub fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

/// The types of events, as words.
pub fn types(events: &[HistoryEvent]) -> Vec<&'static str> {
    events.iter().map(|event| short(event.event_type())).collect()
}

fn short(kind: EventType) -> &'static str {
    kind.as_str_name().trim_start_matches("EVENT_TYPE_")
}

/// How many events of a type there are.
pub fn count(events: &[HistoryEvent], kind: EventType) -> usize {
    events.iter().filter(|event| event.event_type() == kind).count()
}

/// When an event was.
pub fn time_of(event: &HistoryEvent) -> Timestamp {
    let at = event.event_time.unwrap();
    Timestamp::from_seconds_and_nanos(at.seconds, at.nanos)
}

/// Event ids run from 1 without a gap, times never go back, nothing follows a closing event.
pub fn assert_whole(events: &[HistoryEvent]) {
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.event_id, index as i64 + 1, "{:?}", types(events));
        if index > 0 {
            assert!(
                time_of(event) >= time_of(&events[index - 1]),
                "event {} is earlier than its predecessor",
                index + 1
            );
        }
    }
}
