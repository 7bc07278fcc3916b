//! The service as one value: everything that an RPC needs to answer.

use std::sync::{Arc, Weak};

use api::temporal::api::common::v1::WorkflowExecution;
use calls::{CallContext, History, Matching, ServiceResult};
use cluster::Ownership;
use entities::{CallError, EntityKey, KindHandle, Kinds, ShardOpener, ShardSettings, ShardStats, Shards};
use execution::{Asked, Input, Limits, Read, Rejection, Run, RunRef};
use ids::NamespaceId;
use runtime::Runtime;
use settings::HistorySettings;
use storage::{StorageResult, Store};

use crate::errors::{refused, rejected, unexpected};
use crate::host::WorkflowHost;
use crate::kind::{Answer, WorkflowKind};
use crate::namespace_names::{LookUpName, NamespaceNames};
use crate::queries::BufferedQueries;
use crate::watch::Watchers;

/// History: workflow executions in shards.
pub struct HistoryService {
    pub(crate) settings: HistorySettings,
    pub(crate) store: Store,
    pub(crate) runtime: Runtime,
    pub(crate) watchers: Watchers,
    pub(crate) queries: BufferedQueries,
    pub(crate) matching: Arc<dyn Matching>,
    pub(crate) peers: Arc<dyn History>,
    names: NamespaceNames,
    pub(crate) workflows: KindHandle<WorkflowKind>,
}

/// Whom history calls. None of them keeps this service alive, or it would never end.
pub struct Neighbours {
    /// Where tasks are offered.
    pub matching: Arc<dyn Matching>,
    /// Where messages go to workflows that are not served here.
    pub peers: Arc<dyn History>,
    /// Knows the namespaces that no request has named since the start.
    pub names: LookUpName,
}

impl HistoryService {
    /// No shard is open before [`HistoryService::serve`].
    pub fn new(
        settings: HistorySettings,
        shard_settings: ShardSettings,
        ownership: Ownership,
        store: Store,
        runtime: Runtime,
        neighbours: Neighbours,
    ) -> Arc<Self> {
        let Neighbours { matching, peers, names } = neighbours;
        Arc::new_cyclic(|service: &Weak<Self>| {
            let watchers = Watchers::default();
            let host = WorkflowHost { service: Weak::clone(service), watchers: watchers.clone() };
            let opener = ShardOpener {
                kinds: Kinds::default().with(Arc::new(WorkflowKind::new(limits_of(&settings))), Arc::new(host)),
                store: store.clone(),
                runtime: runtime.clone(),
                settings: shard_settings,
                ownership,
            };
            Self {
                queries: BufferedQueries::new(settings.buffered_queries),
                settings,
                store,
                runtime,
                watchers,
                matching,
                peers,
                names: NamespaceNames::new(names),
                workflows: Shards::new(opener).of(),
            }
        })
    }

    /// Serves the shards that the ring gives to this node, from now on and as the ring changes; returns at once. Their
    /// workflows go on when they are open. Called once. Must be closed.
    pub fn serve(&self) {
        self.shards().serve();
    }

    /// Returns when every shard that the ring gives to this node is open. Waits for a first ring, and while the store is
    /// away.
    ///
    /// # Errors
    /// Of a shard that cannot be opened because of what is stored, once all others are open.
    pub async fn settled(&self) -> StorageResult<()> {
        self.shards().settled().await
    }

    /// How many of the shards that the ring gives to this node now are not open.
    pub fn unserved(&self) -> usize {
        self.shards().unserved()
    }

    /// Writes to the tables all that is dirty now, while serving on.
    pub async fn flush(&self) {
        self.shards().flush().await;
    }

    /// Writes everything to the tables and stops serving.
    pub async fn close(&self) {
        self.shards().close().await;
    }

    /// Stops at once and leaves everything to the logs, as a crash would.
    pub async fn abandon(&self) {
        self.shards().abandon().await;
    }

    /// What each shard that is open here looks like, by number.
    pub fn stats(&self) -> Vec<(u32, ShardStats)> {
        self.shards().stats()
    }

    /// How many shards there are, here and elsewhere; 0 before the ring is known.
    pub fn shard_count(&self) -> usize {
        self.shards().count()
    }

    /// In which shard a workflow lives; `None` before the ring is known.
    pub(crate) fn shard_of(&self, key: &EntityKey) -> Option<u32> {
        self.shards().shard_of(key)
    }

    pub(crate) fn name_of(&self, namespace: &NamespaceId) -> String {
        self.names.name_of(namespace)
    }

    /// The entity of a workflow ID. Remembers the namespace's name.
    pub(crate) fn key(&self, ctx: &CallContext, workflow_id: &str) -> EntityKey {
        self.names.learn(ctx);
        EntityKey::of::<WorkflowKind>(ctx.namespace.id.clone(), workflow_id)
    }

    fn shards(&self) -> &Arc<Shards> {
        self.workflows.shards()
    }

    /// Gives an input to a workflow: has room of its own and is never refused as overload.
    pub(crate) async fn send_unshed(&self, key: &EntityKey, input: Input) -> Result<Answer, CallError<Rejection>> {
        self.workflows.call_unshed(key, input).await
    }

    /// Calls a workflow on a user's behalf.
    pub(crate) async fn call<A: Asked>(
        &self,
        key: &EntityKey,
        run: impl Into<RunRef>,
        ask: A,
    ) -> ServiceResult<A::Reply> {
        settled::<A>(self.workflows.call(key, Input::new(run, ask)).await)
    }

    /// Gives a worker's answer to a workflow: never refused as overload.
    pub(crate) async fn call_unshed<A: Asked>(
        &self,
        key: &EntityKey,
        run: impl Into<RunRef>,
        ask: A,
    ) -> ServiceResult<A::Reply> {
        settled::<A>(self.send_unshed(key, Input::new(run, ask)).await)
    }

    /// A run as it is now; an empty run id means the current one.
    pub(crate) async fn read(&self, key: &EntityKey, run_id: &str) -> ServiceResult<Arc<Run>> {
        self.call(key, run_id, Read).await
    }

    /// The most events of a page.
    pub(crate) fn page_events(&self) -> usize {
        usize::try_from(self.settings.page_events).unwrap_or(1).max(1)
    }

    /// The events of a page for a caller who wants `wanted`; 0 leaves it to us.
    pub(crate) fn page_size(&self, wanted: i32) -> usize {
        usize::try_from(wanted).ok().filter(|wanted| *wanted > 0).unwrap_or(usize::MAX).min(self.page_events())
    }

    /// A fresh request id where the caller sent none.
    pub(crate) fn request_id(&self, sent: String) -> String {
        if sent.is_empty() { self.runtime.uuid() } else { sent }
    }
}

fn settled<A: Asked>(answer: Result<Answer, CallError<Rejection>>) -> ServiceResult<A::Reply> {
    let reply = answer.map_err(refused)?.map_err(rejected)?;
    A::Reply::try_from(reply).map_err(|_| unexpected(std::any::type_name::<A>()))
}

/// The workflow ID and run ID that a request names.
pub(crate) fn named(execution: Option<WorkflowExecution>) -> WorkflowExecution {
    execution.unwrap_or_default()
}

fn limits_of(settings: &HistorySettings) -> Limits {
    let bytes = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
    Limits {
        history_hint_bytes: bytes(settings.suggest_continue_bytes),
        history_hint_events: settings.suggest_continue_events,
        history_max_bytes: bytes(settings.history_bytes),
        history_max_events: settings.history_events,
        state_max_bytes: settings.state_bytes,
        pending_max: settings.pending,
        signals_max: bytes(settings.signals),
        updates_in_flight_max: settings.updates_in_flight,
        updates_max: settings.updates,
        buffered_max: settings.buffered_events,
        buffered_max_bytes: settings.buffered_bytes,
        kept_failure_bytes: settings.activity_failure_bytes,
        workflow_task_timeout: settings.workflow_task_timeout,
        workflow_task_heartbeat_max: settings.workflow_task_heartbeat,
        workflow_task_backoff_max: settings.workflow_task_retry_ceiling,
        ..Limits::default()
    }
}
