//! Matching, for other nodes: the server of its service.
//!
//! A task in a poll's answer stays a receipt in that poll's stream until the caller says that it was written to its worker.
//! If the stream ends otherwise, or the caller is silent for too long, the receipt is dropped and the task taken back:
//! better delivered twice, which history notices, than not at all.

use std::sync::Arc;
use std::time::Duration;

use cluster::{Deadline, Handover, Matching, Receipt, ServiceResult};
use futures::stream::{self, BoxStream, StreamExt};
use ids::Timestamp;
use internal_api::matching as proto;
use internal_api::matching::matching_server::{self, MatchingServer};
use runtime::Runtime;
use settings::RemoteSettings;
use tonic::{Request, Response, Status, Streaming};

use crate::identity::Identity;
use crate::serving::{Door, note, serve};
use crate::wire::{Reply, from_query, from_task, from_tenant, from_token, required, to_ending, to_outcome};

/// Serves a [`Matching`] to other nodes.
pub struct MatchingEndpoint {
    matching: Arc<dyn Matching>,
    receipt_within: Duration,
    door: Door,
}

/// The tonic service for `matching`, for calls that are meant for `identity`. When a caller goes away, its call is dropped, and with it the poll.
#[must_use]
pub fn matching_server(
    matching: Arc<dyn Matching>,
    identity: Identity,
    runtime: Runtime,
    settings: &RemoteSettings,
) -> MatchingServer<MatchingEndpoint> {
    let door = Door { identity, runtime };
    let endpoint = MatchingEndpoint { matching, receipt_within: settings.receipt_within, door };
    MatchingServer::new(endpoint).max_decoding_message_size(settings.message_bytes)
}

/// A poll's result, with the receipt of what it handed out.
type Polled<T> = (ServiceResult<T>, Option<Box<dyn Receipt>>);

/// Runs a poll for as long as its caller keeps its side of the stream open.
async fn watched<Q, T>(
    said: &mut Streaming<Q>,
    deadline: Timestamp,
    poll: impl Future<Output = ServiceResult<T>>,
) -> Result<Polled<T>, Status> {
    let handover = Handover::default();
    let result = tokio::select! {
        biased;
        result = handover.watch(Deadline::within(deadline, poll)) => result,
        _ = said.message() => return Err(Status::cancelled("the caller gave the poll up")),
    };
    let receipt = handover.take().filter(|_| result.is_ok());
    Ok((result, receipt))
}

impl MatchingEndpoint {
    /// The answer, and then, for what was handed out, what its caller says about it.
    fn conversation<Q, R>(
        &self,
        reply: R,
        receipt: Option<Box<dyn Receipt>>,
        mut said: Streaming<Q>,
        is_written: fn(&Q) -> bool,
    ) -> BoxStream<'static, Result<R, Status>>
    where
        Q: Send + 'static,
        R: Send + 'static,
    {
        let answer = stream::iter([Ok(reply)]);
        let Some(receipt) = receipt else { return answer.boxed() };
        let (runtime, within) = (self.door.runtime.clone(), self.receipt_within);
        // It owns the receipt from now on, so a stream that is dropped before it gets here takes the task back as well.
        let heard = stream::once(async move {
            match runtime.timeout(within, said.message()).await {
                Some(Ok(Some(message))) if is_written(&message) => receipt.written(),
                _ => drop(receipt),
            }
            None
        });
        answer.chain(heard.filter_map(std::future::ready)).boxed()
    }
}

async fn first<Q>(said: &mut Streaming<Q>) -> Result<Q, Status> {
    said.message().await?.ok_or_else(|| Status::cancelled("the caller gave the poll up before it began"))
}

/// Serves one kind of poll.
macro_rules! poll {
    ($self:ident, $request:ident, $method:ident -> $reply:ident) => {{
        let mut said = $request.into_inner();
        let message = first(&mut said).await?;
        let deadline = $self.door.admit(message.call.as_ref())?;
        let poll = async {
            let ctx = from_tenant(message.tenant)?;
            $self.matching.$method(&ctx, required(message.request, "request")?, deadline).await
        };
        let (result, receipt) = watched(&mut said, deadline, poll).await?;
        note(message.call, &result);
        let reply = proto::$reply { awaits_receipt: receipt.is_some(), ..Reply::of(result) };
        Ok(Response::new($self.conversation(reply, receipt, said, |message| message.is_written)))
    }};
}

#[tonic::async_trait]
impl matching_server::Matching for MatchingEndpoint {
    type PollWorkflowTaskQueueStream = BoxStream<'static, Result<proto::PollWorkflowTaskQueueReply, Status>>;
    type PollActivityTaskQueueStream = BoxStream<'static, Result<proto::PollActivityTaskQueueReply, Status>>;
    type PollNexusTaskQueueStream = BoxStream<'static, Result<proto::PollNexusTaskQueueReply, Status>>;

    async fn poll_workflow_task_queue(
        &self,
        request: Request<Streaming<proto::PollWorkflowTaskQueueRequest>>,
    ) -> Result<Response<Self::PollWorkflowTaskQueueStream>, Status> {
        poll!(self, request, poll_workflow_task_queue -> PollWorkflowTaskQueueReply)
    }

    async fn poll_activity_task_queue(
        &self,
        request: Request<Streaming<proto::PollActivityTaskQueueRequest>>,
    ) -> Result<Response<Self::PollActivityTaskQueueStream>, Status> {
        poll!(self, request, poll_activity_task_queue -> PollActivityTaskQueueReply)
    }

    async fn poll_nexus_task_queue(
        &self,
        request: Request<Streaming<proto::PollNexusTaskQueueRequest>>,
    ) -> Result<Response<Self::PollNexusTaskQueueStream>, Status> {
        poll!(self, request, poll_nexus_task_queue -> PollNexusTaskQueueReply)
    }

    async fn offer(&self, request: Request<proto::OfferRequest>) -> Result<Response<proto::OfferReply>, Status> {
        let message = request.into_inner();
        let deadline = self.door.admit(message.call.as_ref())?;
        serve(message.call, deadline, async { self.matching.offer(from_task(message.task)?).await.map(to_ending) })
            .await
    }

    async fn query(&self, request: Request<proto::QueryRequest>) -> Result<Response<proto::QueryReply>, Status> {
        let message = request.into_inner();
        let deadline = self.door.admit(message.call.as_ref())?;
        serve(message.call, deadline, async {
            self.matching.query(from_query(message.query)?, deadline).await.map(to_outcome)
        })
        .await
    }

    async fn respond_query_task_completed(
        &self,
        request: Request<proto::RespondQueryTaskCompletedRequest>,
    ) -> Result<Response<proto::RespondQueryTaskCompletedReply>, Status> {
        let message = request.into_inner();
        let deadline = self.door.admit(message.call.as_ref())?;
        serve(message.call, deadline, async {
            let ctx = from_tenant(message.tenant)?;
            let (token, request) = (from_token(message.token)?, required(message.request, "request")?);
            self.matching.respond_query_task_completed(&ctx, token, request).await
        })
        .await
    }

    async fn describe_task_queue(
        &self,
        request: Request<proto::DescribeTaskQueueRequest>,
    ) -> Result<Response<proto::DescribeTaskQueueReply>, Status> {
        let message = request.into_inner();
        let deadline = self.door.admit(message.call.as_ref())?;
        serve(message.call, deadline, async {
            let ctx = from_tenant(message.tenant)?;
            self.matching.describe_task_queue(&ctx, required(message.request, "request")?).await
        })
        .await
    }

    async fn shutdown_worker(
        &self,
        request: Request<proto::ShutdownWorkerRequest>,
    ) -> Result<Response<proto::ShutdownWorkerReply>, Status> {
        let message = request.into_inner();
        let deadline = self.door.admit(message.call.as_ref())?;
        serve(message.call, deadline, async {
            let ctx = from_tenant(message.tenant)?;
            self.matching.shutdown_worker(&ctx, required(message.request, "request")?).await
        })
        .await
    }
}
