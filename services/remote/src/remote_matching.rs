//! Matching on another node. One of these is made for each attempt of a call.
//!
//! A poll is a conversation on one stream: the poll, its answer, and, if something was handed out, whether that was written
//! to the worker. When the connection breaks at any point of it, both sides know.

use api::temporal::api::workflowservice::v1 as wire;
use async_trait::async_trait;
use cluster::token::QueryTaskToken;
use cluster::{
    Handover, Matching, OfferOutcome, OfferedQuery, OfferedTask, QueryOutcome, Receipt, ServiceResult, TenantCtx,
};
use ids::Timestamp;
use internal_api::matching as proto;
use internal_api::matching::matching_client::MatchingClient;
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::link::Link;
use crate::target::{Target, origin};
use crate::wire::{Reply, from_ending, from_outcome, to_query, to_task, to_tenant};

/// The trait, as a client of its service.
pub(crate) struct RemoteMatching(pub(crate) Target);

impl RemoteMatching {
    fn client(&self, link: Link) -> MatchingClient<Link> {
        MatchingClient::with_origin(link, origin()).max_decoding_message_size(self.0.settings.message_bytes)
    }

    /// Reads a poll's answer. Leaves a receipt, if its owner waits for one, with whoever writes the answer to the worker.
    async fn answer<Q, R>(
        &self,
        mut replies: Streaming<R>,
        say: mpsc::Sender<Q>,
        written: Q,
    ) -> Result<ServiceResult<R::Response>, Status>
    where
        Q: Send + 'static,
        R: Reply + AwaitsReceipt + Send + 'static,
    {
        let answer = replies.message().await?;
        let answer = answer.ok_or_else(|| Status::unavailable("a poll ended without an answer"))?;
        if answer.awaits_receipt() {
            let (receipt, is_written) = oneshot::channel();
            let patience = (self.0.runtime.clone(), self.0.settings.receipt_within);
            self.0.runtime.spawn(async move {
                if is_written.await.is_ok() && say.send(written).await.is_err() {
                    tracing::debug!("a task was written to its worker, but its owner is gone and will offer it again");
                }
                drop(say);
                // Until the owner has heard it: if this end went first, its reset of the stream could overtake it.
                let (runtime, within) = patience;
                runtime.timeout(within, async { while let Ok(Some(_)) = replies.message().await {} }).await;
            });
            Handover::leave(Box::new(RemoteReceipt(receipt)));
        }
        Ok(answer.into_result())
    }
}

/// The receipt of a task that another node handed out. Dropped, that node is told nothing but that the stream is closed.
struct RemoteReceipt(oneshot::Sender<()>);

impl Receipt for RemoteReceipt {
    fn written(self: Box<Self>) {
        // The other half is gone only when everything is.
        let _ = self.0.send(());
    }
}

/// Whether the owner waits to hear that an answer was written.
trait AwaitsReceipt {
    fn awaits_receipt(&self) -> bool;
}

impl AwaitsReceipt for proto::PollWorkflowTaskQueueReply {
    fn awaits_receipt(&self) -> bool {
        self.awaits_receipt
    }
}

impl AwaitsReceipt for proto::PollActivityTaskQueueReply {
    fn awaits_receipt(&self) -> bool {
        self.awaits_receipt
    }
}

impl AwaitsReceipt for proto::PollNexusTaskQueueReply {
    fn awaits_receipt(&self) -> bool {
        self.awaits_receipt
    }
}

/// Sends a message with the given fields to a method, and waits until `until` (the call's own deadline, if none is given).
macro_rules! ask {
    ($self:ident.$method:ident($message:ident { $($field:ident: $value:expr),* })) => {
        ask!($self.$method($message { $($field: $value),* }) until $self.0.until)
    };
    ($self:ident.$method:ident($message:ident { $($field:ident: $value:expr),* }) until $until:expr) => {{
        let message = proto::$message { call: $self.0.call($until), $($field: $value),* };
        let request = $self.0.request(message);
        $self.0.ask(async |link| $self.client(link).$method(request).await).await
    }};
}

/// Holds a poll's conversation.
macro_rules! poll {
    ($self:ident.$method:ident($message:ident, $ctx:ident, $request:ident) until $until:expr) => {{
        let poll = proto::$message {
            call: $self.0.call($until),
            tenant: to_tenant($ctx),
            request: Some($request),
            is_written: false,
        };
        let written = proto::$message { is_written: true, ..Default::default() };
        $self
            .0
            .measured(async |link| {
                // Dropping the sending half gives the poll up.
                let (say, said) = mpsc::channel(2);
                let _ = say.try_send(poll);
                let request = $self.0.request(ReceiverStream::new(said));
                let replies = $self.client(link).$method(request).await?.into_inner();
                $self.answer(replies, say, written).await
            })
            .await
    }};
}

#[async_trait]
impl Matching for RemoteMatching {
    async fn offer(&self, task: OfferedTask) -> ServiceResult<OfferOutcome> {
        from_ending(ask!(self.offer(OfferRequest { task: to_task(task) }))?)
    }

    async fn query(&self, query: OfferedQuery, deadline: Timestamp) -> ServiceResult<QueryOutcome> {
        from_outcome(ask!(self.query(QueryRequest { query: to_query(query) }) until deadline)?)
    }

    async fn poll_workflow_task_queue(
        &self,
        ctx: &TenantCtx,
        request: wire::PollWorkflowTaskQueueRequest,
        deadline: Timestamp,
    ) -> ServiceResult<wire::PollWorkflowTaskQueueResponse> {
        poll!(self.poll_workflow_task_queue(PollWorkflowTaskQueueRequest, ctx, request) until deadline)
    }

    async fn poll_activity_task_queue(
        &self,
        ctx: &TenantCtx,
        request: wire::PollActivityTaskQueueRequest,
        deadline: Timestamp,
    ) -> ServiceResult<wire::PollActivityTaskQueueResponse> {
        poll!(self.poll_activity_task_queue(PollActivityTaskQueueRequest, ctx, request) until deadline)
    }

    async fn poll_nexus_task_queue(
        &self,
        ctx: &TenantCtx,
        request: wire::PollNexusTaskQueueRequest,
        deadline: Timestamp,
    ) -> ServiceResult<wire::PollNexusTaskQueueResponse> {
        poll!(self.poll_nexus_task_queue(PollNexusTaskQueueRequest, ctx, request) until deadline)
    }

    async fn respond_query_task_completed(
        &self,
        ctx: &TenantCtx,
        token: QueryTaskToken,
        request: wire::RespondQueryTaskCompletedRequest,
    ) -> ServiceResult<wire::RespondQueryTaskCompletedResponse> {
        ask!(self.respond_query_task_completed(RespondQueryTaskCompletedRequest {
            tenant: to_tenant(ctx),
            request: Some(request),
            token: token.encode_to_vec().into()
        }))
    }

    async fn describe_task_queue(
        &self,
        ctx: &TenantCtx,
        request: wire::DescribeTaskQueueRequest,
    ) -> ServiceResult<wire::DescribeTaskQueueResponse> {
        ask!(self.describe_task_queue(DescribeTaskQueueRequest { tenant: to_tenant(ctx), request: Some(request) }))
    }

    async fn shutdown_worker(
        &self,
        ctx: &TenantCtx,
        request: wire::ShutdownWorkerRequest,
    ) -> ServiceResult<wire::ShutdownWorkerResponse> {
        ask!(self.shutdown_worker(ShutdownWorkerRequest { tenant: to_tenant(ctx), request: Some(request) }))
    }
}
