//! Matching, wherever in the cluster the queue's shard is.
//!
//! A poll goes on at the next owner when its queue moves, with what is left of its time, and ends empty when that is over,
//! also if nobody could be asked: its worker polls again in any case.

use std::sync::Arc;

use api::temporal::api::workflowservice::v1 as wire;
use async_trait::async_trait;
use cluster::token::QueryTaskToken;
use cluster::{
    Matching, Membership, NodeId, OfferOutcome, OfferedQuery, OfferedTask, QueryOutcome, QueueName, ServiceError,
    ServiceResult, Sharded, TaskQueueKind, TenantCtx,
};
use futures::future::join_all;
use ids::{Slot, Timestamp};
use runtime::Runtime;
use settings::RemoteSettings;

use crate::channels::Channels;
use crate::measures::Method;
use crate::remote_matching::RemoteMatching;
use crate::retry::Bound;
use crate::router::{Route, Router};

/// Matching of the whole cluster.
pub struct RoutedMatching {
    router: Router<dyn Matching>,
    settings: RemoteSettings,
}

impl RoutedMatching {
    /// Calls the owners that `membership` names; for those shards that `node`, this one, owns itself, `local`.
    #[must_use]
    pub fn new(
        membership: &Arc<dyn Membership>,
        node: NodeId,
        local: Option<Arc<dyn Matching>>,
        channels: Channels,
        runtime: Runtime,
        settings: RemoteSettings,
    ) -> Self {
        let remote = |target| Arc::new(RemoteMatching(target)) as Arc<dyn Matching>;
        let parts = (settings.clone(), runtime);
        let router = Router::new((Sharded::Matching, remote), membership, node, local, channels, parts);
        Self { router, settings }
    }

    fn usual(&self, method: Method, slot: Slot) -> Route {
        Route { method, slot, bound: self.router.usual() }
    }
}

/// All kinds of a queue live in one place.
fn slot(ctx: &TenantCtx, name: &str) -> Slot {
    let kind = TaskQueueKind::Workflow;
    QueueName { namespace: ctx.namespace.id.clone(), name: name.to_owned(), kind }.slot()
}

fn slot_of(ctx: &TenantCtx, queue: Option<&api::temporal::api::taskqueue::v1::TaskQueue>) -> Slot {
    slot(ctx, queue.map_or("", |queue| &queue.name))
}

/// A poll that nobody could serve until its time was over is one without a task.
fn or_empty<T: Default>(polled: ServiceResult<T>) -> ServiceResult<T> {
    match polled {
        Err(ServiceError::NotOwner(_) | ServiceError::DeadlineExceeded(_)) => Ok(T::default()),
        polled => polled,
    }
}

#[async_trait]
impl Matching for RoutedMatching {
    async fn offer(&self, task: OfferedTask) -> ServiceResult<OfferOutcome> {
        let (route, task) = (self.usual(Method::Offer, task.queue.slot()), &task);
        self.router.route(route, |matching| async move { matching.offer(task.clone()).await }).await
    }

    async fn query(&self, query: OfferedQuery, deadline: Timestamp) -> ServiceResult<QueryOutcome> {
        let route = Route { method: Method::Query, slot: query.queue.slot(), bound: Bound::Kept(deadline) };
        let query = &query;
        self.router.route(route, |matching| async move { matching.query(query.clone(), deadline).await }).await
    }

    async fn poll_workflow_task_queue(
        &self,
        ctx: &TenantCtx,
        request: wire::PollWorkflowTaskQueueRequest,
        deadline: Timestamp,
    ) -> ServiceResult<wire::PollWorkflowTaskQueueResponse> {
        let slot = slot_of(ctx, request.task_queue.as_ref());
        let route = Route { method: Method::PollWorkflowTaskQueue, slot, bound: Bound::Kept(deadline) };
        let request = &request;
        let poll = |matching: Arc<dyn Matching>| async move {
            matching.poll_workflow_task_queue(ctx, request.clone(), deadline).await
        };
        or_empty(self.router.route(route, poll).await)
    }

    async fn poll_activity_task_queue(
        &self,
        ctx: &TenantCtx,
        request: wire::PollActivityTaskQueueRequest,
        deadline: Timestamp,
    ) -> ServiceResult<wire::PollActivityTaskQueueResponse> {
        let slot = slot_of(ctx, request.task_queue.as_ref());
        let route = Route { method: Method::PollActivityTaskQueue, slot, bound: Bound::Kept(deadline) };
        let request = &request;
        let poll = |matching: Arc<dyn Matching>| async move {
            matching.poll_activity_task_queue(ctx, request.clone(), deadline).await
        };
        or_empty(self.router.route(route, poll).await)
    }

    async fn poll_nexus_task_queue(
        &self,
        ctx: &TenantCtx,
        request: wire::PollNexusTaskQueueRequest,
        deadline: Timestamp,
    ) -> ServiceResult<wire::PollNexusTaskQueueResponse> {
        let slot = slot_of(ctx, request.task_queue.as_ref());
        let route = Route { method: Method::PollNexusTaskQueue, slot, bound: Bound::Kept(deadline) };
        let request = &request;
        let poll = |matching: Arc<dyn Matching>| async move {
            matching.poll_nexus_task_queue(ctx, request.clone(), deadline).await
        };
        or_empty(self.router.route(route, poll).await)
    }

    /// The queue of the token is the one whose owner asked; if it moved, the question went with it and this is NotFound.
    async fn respond_query_task_completed(
        &self,
        ctx: &TenantCtx,
        token: QueryTaskToken,
        request: wire::RespondQueryTaskCompletedRequest,
    ) -> ServiceResult<wire::RespondQueryTaskCompletedResponse> {
        let route = self.usual(Method::RespondQueryTaskCompleted, slot(ctx, &token.task_queue));
        let (token, request) = (&token, &request);
        let respond = |matching: Arc<dyn Matching>| async move {
            matching.respond_query_task_completed(ctx, token.clone(), request.clone()).await
        };
        self.router.route(route, respond).await
    }

    async fn describe_task_queue(
        &self,
        ctx: &TenantCtx,
        request: wire::DescribeTaskQueueRequest,
    ) -> ServiceResult<wire::DescribeTaskQueueResponse> {
        let route = self.usual(Method::DescribeTaskQueue, slot_of(ctx, request.task_queue.as_ref()));
        let request = &request;
        let describe =
            |matching: Arc<dyn Matching>| async move { matching.describe_task_queue(ctx, request.clone()).await };
        self.router.route(route, describe).await
    }

    /// All matching nodes are told at once, since a worker polls queues anywhere. It has worked when one was told: a node
    /// that is not there holds no polls.
    async fn shutdown_worker(
        &self,
        ctx: &TenantCtx,
        request: wire::ShutdownWorkerRequest,
    ) -> ServiceResult<wire::ShutdownWorkerResponse> {
        let runtime = self.router.runtime();
        let patience = self.settings.shutdown_worker_patience;
        let request = &request;
        let told = self.router.everywhere(Method::ShutdownWorker, runtime.now() + patience).into_iter().map(
            |matching| async move {
                let telling = matching.shutdown_worker(ctx, request.clone());
                let late = || ServiceError::Unavailable("a matching node did not answer, try again".to_owned());
                runtime.timeout(patience, telling).await.unwrap_or_else(|| Err(late()))
            },
        );
        let mut answers = join_all(told).await;
        match answers.iter().position(Result::is_ok) {
            Some(position) => answers.swap_remove(position),
            None => answers.pop().unwrap_or_else(|| {
                Err(ServiceError::NotOwner("the ring has no matching node yet, try again".to_owned()))
            }),
        }
    }
}
