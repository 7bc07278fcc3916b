//! Where one attempt of a call goes: a peer, with what its caller believes and how long it waits.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use cluster::{NodeId, ServiceError, ServiceResult};
use http::Uri;
use ids::Timestamp;
use internal_api::history as proto;
use runtime::Runtime;
use settings::RemoteSettings;
use tonic::{Code, Request, Response, Status};

use crate::channels::Peer;
use crate::identity::is_elsewhere;
use crate::link::Link;
use crate::measures::{Measures, Method};
use crate::wire::Reply;

/// One attempt's destination.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) peer: Arc<Peer>,
    pub(crate) method: Method,
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
pub(crate) fn origin() -> Uri {
    Uri::from_static("http://outlast.internal")
}

impl Target {
    /// What every message says about its call. `until` is when the answer must have left.
    pub(crate) fn call(&self, until: Timestamp) -> Option<proto::Call> {
        let remaining = until.since(self.runtime.now());
        Some(proto::Call {
            caller: self.caller.as_str().to_owned(),
            shard: self.shard,
            ring_version: self.ring_version,
            remaining_ms: u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX),
            callee: Some(self.peer.callee()),
        })
    }

    /// A request which its server drops when nobody can be waiting any more.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        /// What gRPC's eight digits say in milliseconds, and longer than any call.
        const LONGEST: Duration = Duration::from_secs(24 * 3600);
        let mut request = Request::new(message);
        let remaining = self.until.since(self.runtime.now());
        request.set_timeout((remaining + self.settings.late).min(LONGEST));
        request
    }

    /// Asks the peer.
    pub(crate) async fn ask<R: Reply>(
        &self,
        call: impl AsyncFnOnce(Link) -> Result<Response<R>, Status> + Send,
    ) -> ServiceResult<R::Response> {
        self.measured(async |link| Ok(call(link).await?.into_inner().into_result())).await
    }

    /// Calls the peer, and counts how that ends.
    pub(crate) async fn measured<T>(
        &self,
        call: impl AsyncFnOnce(Link) -> Result<ServiceResult<T>, Status>,
    ) -> ServiceResult<T> {
        let measures = self.measures.of(self.method);
        let in_flight = measures.sent();
        let began = self.runtime.now();
        let link = match self.peer.link().await {
            Ok(link) => link,
            Err(error) => {
                in_flight.unreachable();
                return Err(self.lost(&error));
            }
        };
        match call(link.clone()).await {
            Ok(result) => {
                in_flight.answered(&result, self.runtime.now().since(began).as_secs_f64());
                result
            }
            Err(status) => {
                in_flight.unreachable();
                if is_elsewhere(&status) {
                    self.peer.note_elsewhere(&link, status.message());
                }
                Err(self.failed(&status))
            }
        }
    }

    /// The call failed below the service, so nobody knows what became of it: as if another were the owner.
    pub(crate) fn lost(&self, why: &str) -> ServiceError {
        ServiceError::NotOwner(format!("node {} could not be reached for shard {}: {why}", self.peer.id(), self.shard))
    }

    /// What a status means that is not an answer.
    fn failed(&self, status: &Status) -> ServiceError {
        let is_of_connection = status.source().is_some();
        let text = || format!("a call to node {} failed: {}", self.peer.id(), status.message());
        match status.code() {
            // A peer of another release, or of other roles than the ring says: a little later, another may be asked.
            Code::Unimplemented => ServiceError::Unavailable(text()),
            // The message is too large, or cannot be decoded: the next attempt would fail like this one.
            Code::OutOfRange | Code::InvalidArgument => ServiceError::Internal(text()),
            Code::Internal if !is_of_connection => ServiceError::Internal(text()),
            _ => self.lost(status.message()),
        }
    }
}
