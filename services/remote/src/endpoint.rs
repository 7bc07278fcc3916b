//! The services of this process, for other nodes.
//!
//! A task in a poll's answer stays a receipt in that poll's stream until the caller says that it was written to its worker.
//! If the stream ends otherwise, or the caller is silent for too long, the receipt is dropped and the task taken back:
//! better delivered twice, which history notices, than not at all.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use calls::{CallContext, History, Matching, Receipt, ReceiptSlot, Service, ServiceError, ServiceResult};
use futures::stream::{self, BoxStream, StreamExt};
use internal_api::calls as proto;
use internal_api::calls::calls_server::{Calls, CallsServer};
use runtime::Runtime;
use settings::RemoteSettings;
use tonic::{Request, Response, Status, Streaming};

use crate::identity::Identity;
use crate::serving::Door;
use crate::wire::{from_context, to_reply};

/// Serves the services of a process to other nodes.
pub struct Endpoint {
    history: Option<Arc<dyn History>>,
    matching: Option<Arc<dyn Matching>>,
    receipt_timeout: Duration,
    door: Door,
}

/// The tonic service for those services that this process has, for calls that are meant for `identity`. When a caller goes
/// away, its call is dropped, and with it the poll.
#[must_use]
pub fn calls_server(
    history: Option<Arc<dyn History>>,
    matching: Option<Arc<dyn Matching>>,
    identity: Identity,
    runtime: Runtime,
    settings: &RemoteSettings,
) -> CallsServer<Endpoint> {
    let door = Door { identity, runtime };
    let endpoint = Endpoint { history, matching, receipt_timeout: settings.receipt_timeout, door };
    CallsServer::new(endpoint).max_decoding_message_size(settings.message_bytes)
}

/// The result of a poll, with the receipt of what it handed out.
type Polled = (ServiceResult<Bytes>, Option<Box<dyn Receipt>>);

impl Endpoint {
    /// Carries out a call with a receipt for `slot`, if it has one.
    ///
    /// # Errors
    /// The status for a call that is meant for another process, or that this one does not know.
    async fn serve(
        &self,
        call: proto::CallRequest,
        slot: Option<&ReceiptSlot>,
    ) -> Result<ServiceResult<Bytes>, Status> {
        let proto::CallRequest { header, context, call: name, request } = call;
        let deadline = self.door.admit(header.as_ref())?;
        let result = match from_context(context) {
            Ok(ctx) => {
                let ctx = CallContext { receipts: slot.cloned(), ..ctx.until(deadline) };
                self.find(&name, &ctx, request).await?
            }
            Err(error) => Err(error),
        };
        if let (Some(header), Err(ServiceError::NotOwner(reason))) = (header, &result) {
            let proto::Header { caller, shard, ring_version, .. } = header;
            tracing::debug!(caller, shard, ring_version, reason, "refused a call: the shard is not served here");
        }
        Ok(result)
    }

    async fn find(&self, name: &str, ctx: &CallContext, request: Bytes) -> Result<ServiceResult<Bytes>, Status> {
        if let Some(row) = <dyn History>::find(name) {
            let history = self.history.as_ref().ok_or_else(|| unknown(name))?;
            return Ok((row.serve)(&**history, ctx, request).await);
        }
        if let Some(row) = <dyn Matching>::find(name) {
            let matching = self.matching.as_ref().ok_or_else(|| unknown(name))?;
            return Ok((row.serve)(&**matching, ctx, request).await);
        }
        Err(unknown(name))
    }

    /// Runs a poll for as long as its caller keeps its side of the stream open.
    async fn watched(
        &self,
        requests: &mut Streaming<proto::PollRequest>,
        poll: proto::CallRequest,
    ) -> Result<Polled, Status> {
        let slot = ReceiptSlot::default();
        let result = tokio::select! {
            biased;
            result = self.serve(poll, Some(&slot)) => result?,
            _ = requests.message() => return Err(Status::cancelled("the caller cancelled the poll")),
        };
        let receipt = slot.take().filter(|_| result.is_ok());
        Ok((result, receipt))
    }

    /// The answer, and then, for what was handed out, what its caller says about it.
    fn conversation(
        &self,
        (result, receipt): Polled,
        mut requests: Streaming<proto::PollRequest>,
    ) -> BoxStream<'static, Result<proto::PollReply, Status>> {
        let reply = proto::PollReply { answer: Some(to_reply(result)), awaits_receipt: receipt.is_some() };
        let answer = stream::iter([Ok(reply)]);
        let Some(receipt) = receipt else { return answer.boxed() };
        let (runtime, within) = (self.door.runtime.clone(), self.receipt_timeout);
        // It owns the receipt from now on, so a stream that is dropped before it gets here takes the task back as well.
        let heard = stream::once(async move {
            match runtime.timeout(within, requests.message()).await {
                Some(Ok(Some(message))) if message.is_written => receipt.written(),
                _ => drop(receipt),
            }
            None
        });
        answer.chain(heard.filter_map(std::future::ready)).boxed()
    }
}

fn unknown(name: &str) -> Status {
    Status::unimplemented(format!("{name} is not served here"))
}

#[tonic::async_trait]
impl Calls for Endpoint {
    type PollStream = BoxStream<'static, Result<proto::PollReply, Status>>;

    async fn call(&self, request: Request<proto::CallRequest>) -> Result<Response<proto::CallReply>, Status> {
        Ok(Response::new(to_reply(self.serve(request.into_inner(), None).await?)))
    }

    async fn poll(
        &self,
        request: Request<Streaming<proto::PollRequest>>,
    ) -> Result<Response<Self::PollStream>, Status> {
        let mut requests = request.into_inner();
        let poll = requests.message().await?.and_then(|first| first.poll);
        let poll = poll.ok_or_else(|| Status::cancelled("the caller cancelled the poll before it began"))?;
        let polled = self.watched(&mut requests, poll).await?;
        Ok(Response::new(self.conversation(polled, requests)))
    }
}
