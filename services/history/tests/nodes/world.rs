//! Two history services whose ring the test turns, and a matching service that keeps every task for the test.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use api::temporal::api::command::v1::Command;
use api::temporal::api::command::v1::command::Attributes;
use api::temporal::api::common::v1::{Payload, Payloads, WorkflowExecution, WorkflowType};
use api::temporal::api::enums::v1::CommandType;
use api::temporal::api::history::v1::HistoryEvent;
use api::temporal::api::taskqueue::v1::TaskQueue;
use api::temporal::api::workflowservice::v1 as wire;
use async_trait::async_trait;
use bytes::Bytes;
use calls::token::WorkflowTaskToken;
use calls::{
    CallContext, GetHistory, History, Matching, Namespace, OfferOutcome, OfferedTask, Opened, RecordStart,
    RecordedStart, SendToWorkflow, ServiceError, ServiceResult, TaskStart, UnwrittenEvents,
};
use cluster::{Membership, NoLeader, NodeId, Ownership, Ring, Sharded};
use entities::ShardSettings;
use history::{HistoryService, Neighbours};
use ids::{Slot, Timestamp};
use prost::Message;
use runtime::Runtime;
use settings::HistorySettings;
use storage::Store;
use storage::memory::MemoryStore;
use tokio::sync::{mpsc, watch};

pub const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A ring that the test turns.
pub struct Turned(watch::Sender<Arc<Ring>>);

#[async_trait]
impl Membership for Turned {
    fn ring(&self) -> watch::Receiver<Arc<Ring>> {
        self.0.subscribe()
    }

    async fn confirm(&self) -> Result<Arc<Ring>, NoLeader> {
        Ok(Arc::clone(&self.0.borrow()))
    }
}

/// Keeps every task for the test.
struct Keep(mpsc::UnboundedSender<OfferedTask>);

#[async_trait]
impl Matching for Keep {
    async fn offer(&self, _: &CallContext, task: OfferedTask) -> ServiceResult<OfferOutcome> {
        self.0.send(task).map_err(|_| ServiceError::Unavailable("the test is over".to_owned()))?;
        Ok(OfferOutcome::Persisted)
    }
}

/// The way to a node that is opened later.
#[derive(Default)]
struct Peer(OnceLock<Weak<HistoryService>>);

#[async_trait]
impl History for Peer {
    async fn send_to_workflow(&self, ctx: &CallContext, sent: SendToWorkflow) -> ServiceResult<Bytes> {
        let node = self.0.get().and_then(Weak::upgrade);
        node.ok_or_else(|| ServiceError::Unavailable("the node is gone".to_owned()))?.send_to_workflow(ctx, sent).await
    }
}

/// Nodes `a` and `b`, each with one of two shards at first.
pub struct World {
    pub runtime: Runtime,
    pub ctx: CallContext,
    pub a: Arc<HistoryService>,
    pub b: Arc<HistoryService>,
    ring: Arc<Turned>,
    tasks: mpsc::UnboundedReceiver<OfferedTask>,
}

impl World {
    pub async fn new() -> Self {
        Self::with_clocks(START, START).await
    }

    /// Nodes whose clocks show different times. The world's own is that of `a`.
    pub async fn with_clocks(at_a: Timestamp, at_b: Timestamp) -> Self {
        Self::on(MemoryStore::new().store(), at_a, at_b).await
    }

    /// The same on a store of the test's.
    pub async fn on(store: Store, at_a: Timestamp, at_b: Timestamp) -> Self {
        let runtime = Runtime::virtual_from(at_a);
        let ring = Arc::new(Turned(watch::Sender::new(Arc::default())));
        let (sender, tasks) = mpsc::unbounded_channel();
        let matching: Arc<dyn Matching> = Arc::new(Keep(sender));
        let (to_a, to_b) = (Arc::<Peer>::default(), Arc::<Peer>::default());
        let open = |name, runtime, peers: &Arc<Peer>| {
            let membership = Arc::clone(&ring) as Arc<dyn Membership>;
            let ownership = Ownership { membership, service: Sharded::History, node: NodeId::new(name) };
            let settings = HistorySettings::default();
            let neighbours = Neighbours {
                matching: Arc::clone(&matching),
                peers: Arc::clone(peers) as _,
                names: Arc::new(|_| None),
            };
            HistoryService::new(settings, ShardSettings::default(), ownership, store.clone(), runtime, neighbours)
        };
        let (a, b) = (open("a", runtime.clone(), &to_b), open("b", Runtime::virtual_from(at_b), &to_a));
        for (way, node) in [(to_a, &a), (to_b, &b)] {
            way.0.set(Arc::downgrade(node)).expect("set once");
            node.serve();
        }
        let namespace = Namespace {
            id: "2f7b1a58-5c1e-4f0e-9a49-0d7c2d9c9a11".into(),
            name: "default".to_owned(),
            info: Default::default(),
            config: Default::default(),
        };
        let world = Self { runtime, ctx: CallContext::new(Arc::new(namespace)), a, b, ring, tasks };
        world.turn(["a", "b"]);
        world.settled().await;
        world
    }

    /// The next ring: the owners of both shards.
    pub fn turn(&self, owners: [&'static str; 2]) {
        self.ring.0.send_modify(|ring| {
            let history = owners.map(|owner| Some(NodeId::new(owner))).to_vec();
            *ring = Arc::new(Ring { version: ring.version + 1, history, ..Ring::default() });
        });
    }

    pub async fn settled(&self) {
        self.a.settled().await.unwrap();
        self.b.settled().await.unwrap();
    }

    /// A workflow ID in a shard.
    pub fn id_in(&self, shard: u32, name: &str) -> String {
        let ids = (0..).map(|n| format!("{name}-{n}"));
        let shard_of = |id: &String| Slot::of(&self.ctx.namespace.id, &id.as_str().into()).shard(2).0;
        ids.into_iter().find(|id| shard_of(id) == shard).unwrap()
    }

    /// The context of a call that may wait so long.
    pub fn within(&self, seconds: u64) -> CallContext {
        self.ctx.clone().until(self.runtime.now() + Duration::from_secs(seconds))
    }

    /// The node that serves a workflow.
    pub async fn owner_of(&self, workflow_id: &str) -> &Arc<HistoryService> {
        match self.a.describe_workflow(&self.ctx, describe(workflow_id)).await {
            Err(ServiceError::NotOwner(_)) => &self.b,
            _ => &self.a,
        }
    }

    pub async fn start(&self, workflow_id: &str) {
        let request = wire::StartWorkflowExecutionRequest {
            namespace: "default".to_owned(),
            workflow_id: workflow_id.to_owned(),
            workflow_type: Some(WorkflowType { name: "kind".to_owned() }),
            task_queue: Some(TaskQueue { name: "work".to_owned(), ..Default::default() }),
            request_id: workflow_id.to_owned(),
            input: secret(),
            ..Default::default()
        };
        self.owner_of(workflow_id).await.start_workflow(&self.ctx, request).await.unwrap();
    }

    /// Waits for the next workflow task of a workflow, and completes it.
    pub async fn decide(&mut self, workflow_id: &str, commands: Vec<Command>) {
        let request = wire::RespondWorkflowTaskCompletedRequest { commands, ..Default::default() };
        self.answer(workflow_id, request).await.unwrap();
    }

    /// The same with all that an answer can say; what came of it.
    pub async fn answer(
        &mut self,
        workflow_id: &str,
        request: wire::RespondWorkflowTaskCompletedRequest,
    ) -> ServiceResult<()> {
        loop {
            let waiting = self.runtime.timeout(Duration::from_secs(60), self.tasks.recv()).await;
            let task = waiting.expect("a task within a minute").unwrap();
            if task.key.workflow_id.as_str() != workflow_id {
                continue;
            }
            let owner = Arc::clone(self.owner_of(workflow_id).await);
            let ctx = self.ctx.clone().under(&format!("{:?}", task.key));
            let record = RecordStart { task, start: TaskStart::default() };
            let RecordedStart::Started(task) = owner.record_workflow_task_started(&ctx, record).await.unwrap() else {
                continue;
            };
            let token = WorkflowTaskToken::decode(task.open().unwrap().task_token).unwrap();
            return owner.complete_workflow_task(&self.ctx, Opened { token, request }).await.map(drop);
        }
    }

    pub async fn events(&self, workflow_id: &str) -> Vec<HistoryEvent> {
        let owner = self.owner_of(workflow_id).await;
        let mut request =
            wire::GetWorkflowExecutionHistoryRequest { execution: execution(workflow_id), ..Default::default() };
        let mut events = Vec::new();
        loop {
            let get = GetHistory { unwritten: UnwrittenEvents::Hidden, request: request.clone() };
            let page = owner.get_history(&self.within(10), get).await.unwrap();
            events.extend(page.history.unwrap().events);
            if page.next_page_token.is_empty() {
                return events;
            }
            request.next_page_token = page.next_page_token;
        }
    }

    /// The types of a workflow's events, as words.
    pub async fn types(&self, workflow_id: &str) -> Vec<String> {
        let events = self.events(workflow_id).await;
        let word = |event: &HistoryEvent| event.event_type().as_str_name().trim_start_matches("EVENT_TYPE_").to_owned();
        events.iter().map(word).collect()
    }

    /// Waits until a workflow has an event of this type.
    pub async fn has(&self, workflow_id: &str, kind: &str) {
        for _ in 0..300 {
            if self.types(workflow_id).await.iter().any(|word| word == kind) {
                return;
            }
            self.runtime.sleep(Duration::from_millis(100)).await;
        }
        panic!("{workflow_id} has no {kind}: {:?}", self.types(workflow_id).await);
    }

    pub async fn close(self) {
        self.a.close().await;
        self.b.close().await;
    }
}

pub fn execution(workflow_id: &str) -> Option<WorkflowExecution> {
    Some(WorkflowExecution { workflow_id: workflow_id.to_owned(), run_id: String::new() })
}

pub fn describe(workflow_id: &str) -> wire::DescribeWorkflowExecutionRequest {
    wire::DescribeWorkflowExecutionRequest { execution: execution(workflow_id), ..Default::default() }
}

/// When an event was.
pub fn time_of(event: &HistoryEvent) -> Timestamp {
    let at = event.event_time.unwrap();
    Timestamp::from_seconds_and_nanos(at.seconds, at.nanos)
}

/// What no operator is to see.
pub fn secret() -> Option<Payloads> {
    let payload = Payload { data: "a secret of the user".into(), ..Default::default() };
    Some(Payloads { payloads: vec![payload] })
}

pub fn command(kind: CommandType, attributes: Attributes) -> Command {
    Command { command_type: kind as i32, attributes: Some(attributes), ..Default::default() }
}
