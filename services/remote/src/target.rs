//! One attempt of a call at a peer, with its caller's view of the ring and how long it waits.
//!
//! A poll is a conversation on one stream: the poll, its answer, and, if something was handed out, whether that was written
//! to the worker. When the connection breaks at any point of it, both sides know.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use calls::{Call, CallContext, Receipt, ServiceError, ServiceResult, Way, Wire};
use cluster::NodeId;
use http::Uri;
use ids::Timestamp;
use internal_api::calls as proto;
use internal_api::calls::calls_client::CallsClient;
use runtime::Runtime;
use settings::RemoteSettings;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, Streaming};

use crate::channels::Peer;
use crate::connection::Connection;
use crate::identity::is_elsewhere;
use crate::measures::Measures;
use crate::wire::{from_reply, to_context};

/// One attempt's destination.
pub(crate) struct Target {
    pub(crate) peer: Arc<Peer>,
    /// This node.
    pub(crate) caller: NodeId,
    pub(crate) shard: u32,
    pub(crate) ring_version: u64,
    /// When the caller stops waiting.
    pub(crate) until: Timestamp,
    pub(crate) measures: Arc<Measures>,
    pub(crate) settings: Arc<RemoteSettings>,
    pub(crate) runtime: Runtime,
}

/// What clients put into the authority of their requests; connections are made to addresses.
const ORIGIN: &str = "http://outlast.internal";

/// The receipt of a task that another node handed out. Dropped, it closes the stream, which that node takes for a no.
struct RemoteReceipt(oneshot::Sender<()>);

impl Receipt for RemoteReceipt {
    fn written(self: Box<Self>) {
        // The other half is gone only when everything is.
        let _ = self.0.send(());
    }
}

impl Target {
    /// Asks the peer, and counts how that ends.
    pub(crate) async fn call<C: Call>(&self, ctx: &CallContext, request: Bytes) -> ServiceResult<C::Reply> {
        let measures = self.measures.of::<C>();
        let in_flight = measures.sent();
        let began = self.runtime.now();
        let connection = match self.peer.connection().await {
            Ok(connection) => connection,
            Err(error) => {
                in_flight.unreachable();
                return Err(self.lost(&error));
            }
        };
        let request = proto::CallRequest {
            header: Some(self.header()),
            context: Some(to_context(ctx)),
            call: C::NAME.to_owned(),
            request,
        };
        let answer = match C::WAY {
            Way::AtOnce | Way::Waits | Way::Everywhere => self.ask(connection.clone(), request).await,
            Way::Poll => self.poll(connection.clone(), ctx, request).await,
        };
        match answer {
            Ok(reply) => {
                let result = from_reply(reply).and_then(C::Reply::from_bytes);
                in_flight.answered(&result, self.runtime.now().since(began).as_secs_f64());
                result
            }
            Err(status) => {
                in_flight.unreachable();
                if is_elsewhere(&status) {
                    self.peer.mark_misdirected(&connection, status.message());
                }
                Err(self.failed(&status))
            }
        }
    }

    fn header(&self) -> proto::Header {
        let remaining = self.until.since(self.runtime.now());
        proto::Header {
            caller: self.caller.as_str().to_owned(),
            shard: self.shard,
            ring_version: self.ring_version,
            remaining_ms: u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX),
            callee: Some(self.peer.callee()),
        }
    }

    fn client(&self, connection: Connection) -> CallsClient<Connection> {
        CallsClient::with_origin(connection, Uri::from_static(ORIGIN))
            .max_decoding_message_size(self.settings.message_bytes)
    }

    /// A request which its server drops when nothing can be waiting for the answer any more.
    fn request<T>(&self, message: T) -> Request<T> {
        /// What gRPC's eight digits say in milliseconds, and longer than any call.
        const LONGEST: Duration = Duration::from_secs(24 * 3600);
        let mut request = Request::new(message);
        let remaining = self.until.since(self.runtime.now());
        request.set_timeout((remaining + self.settings.deadline_grace).min(LONGEST));
        request
    }

    async fn ask(&self, connection: Connection, request: proto::CallRequest) -> Result<proto::CallReply, Status> {
        Ok(self.client(connection).call(self.request(request)).await?.into_inner())
    }

    async fn poll(
        &self,
        connection: Connection,
        ctx: &CallContext,
        request: proto::CallRequest,
    ) -> Result<proto::CallReply, Status> {
        // Dropping the sending half cancels the poll.
        let (sender, requests) = mpsc::channel(2);
        let _ = sender.try_send(proto::PollRequest { poll: Some(request), is_written: false });
        let mut replies = self.client(connection).poll(self.request(ReceiverStream::new(requests))).await?.into_inner();
        let reply = replies.message().await?;
        let reply = reply.ok_or_else(|| Status::unavailable("a poll ended without an answer"))?;
        if reply.awaits_receipt {
            ctx.attach_receipt(self.receipt(sender, replies));
        }
        reply.answer.ok_or_else(|| Status::internal("a poll was answered with nothing"))
    }

    /// Notifies the peer when what it handed out has been written, on the stream of the poll.
    fn receipt(
        &self,
        sender: mpsc::Sender<proto::PollRequest>,
        mut rest: Streaming<proto::PollReply>,
    ) -> Box<dyn Receipt> {
        let (receipt, is_written) = oneshot::channel();
        let (runtime, within) = (self.runtime.clone(), self.settings.receipt_timeout);
        self.runtime.spawn(async move {
            let written = proto::PollRequest { poll: None, is_written: true };
            if is_written.await.is_ok() && sender.send(written).await.is_err() {
                tracing::debug!("a task was written to its worker, but its owner is gone and will offer it again");
            }
            drop(sender);
            // Until the owner has read it: if this end went first, its reset of the stream could overtake it.
            runtime.timeout(within, async { while let Ok(Some(_)) = rest.message().await {} }).await;
        });
        Box::new(RemoteReceipt(receipt))
    }

    /// The call failed below the service, so it is not known what became of it: as if another were the owner.
    fn lost(&self, why: &str) -> ServiceError {
        ServiceError::NotOwner(format!("node {} could not be reached for shard {}: {why}", self.peer.id(), self.shard))
    }

    /// What a status means that is not an answer.
    fn failed(&self, status: &Status) -> ServiceError {
        let is_of_connection = status.source().is_some();
        let text = || format!("a call to node {} failed: {}", self.peer.id(), status.message());
        match status.code() {
            // A peer of another release, or of other roles than the ring says: a little later, another may be called.
            Code::Unimplemented => ServiceError::Unavailable(text()),
            // The message is too large, or cannot be decoded: the next attempt would fail like this one.
            Code::OutOfRange | Code::InvalidArgument => ServiceError::Internal(text()),
            Code::Internal if !is_of_connection => ServiceError::Internal(text()),
            _ => self.lost(status.message()),
        }
    }
}
