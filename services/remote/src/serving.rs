//! The server for calls between nodes, and its door.

use std::time::Duration;

use ids::Timestamp;
use internal_api::calls as proto;
use runtime::Runtime;
use settings::RemoteSettings;
use tonic::Status;

use crate::identity::Identity;

/// Streams that callers reset before they were handled. Count: a frontend that stops cancels all its polls at once, and
/// peers are no attackers.
const PENDING_RESETS: usize = 100_000;

/// A server for calls between nodes, to which services are added: it notices peers that fell silent, and takes as many
/// calls at a time as they send.
///
/// Any process that reaches its port may call. Here is where it would ask for a peer's certificate.
#[must_use]
pub fn internal_server(settings: &RemoteSettings) -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(settings.keepalive_interval))
        .http2_keepalive_timeout(Some(settings.server_keepalive_timeout))
        .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS))
        .max_concurrent_streams(u32::MAX)
        .initial_stream_window_size(settings.stream_window_bytes)
        .initial_connection_window_size(settings.connection_window_bytes)
}

/// The first checks of a call.
pub(crate) struct Door {
    pub(crate) identity: Identity,
    pub(crate) runtime: Runtime,
}

impl Door {
    /// Lets a call in that is meant for this process. Returns when its answer must have left, by this node's clock.
    ///
    /// # Errors
    /// The status for a call that is meant for another.
    pub(crate) fn admit(&self, header: Option<&proto::Header>) -> Result<Timestamp, Status> {
        self.identity.admit(header)?;
        Ok(self.runtime.now() + Duration::from_millis(header.map_or(0, |header| header.remaining_ms)))
    }
}
