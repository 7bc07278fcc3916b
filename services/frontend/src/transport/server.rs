//! Serves a frontend on a socket.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tower::util::BoxCloneSyncService;

use super::announced::LIMIT;
use super::connections;
use super::dispatch::Dispatch;
use super::reflection;
use super::watched::watched;
use crate::client_versions::ClientVersions;
use crate::frontend::{Frontend, StartError};
use crate::methods::methods;

impl Frontend {
    /// Serves on `listener` until `shutdown`. Then polls answer empty at once, other requests get the shutdown grace to
    /// finish, and no new connections are taken.
    pub async fn serve(&self, listener: TcpListener, shutdown: CancellationToken) -> Result<(), StartError> {
        let (reporter, health) = tonic_health::server::health_reporter();
        for service in methods().services() {
            reporter.set_service_status(service, ServingStatus::Serving).await;
        }
        let dispatch = self.dispatch(health)?;
        let transport = &self.settings().transport;
        let connections = connections::accept(listener, transport, self.runtime().clone());
        let connections = watched(connections, transport.stalled_within, self.runtime().clone());
        let server = Server::builder()
            .max_concurrent_streams(transport.streams_per_connection)
            .http2_max_header_list_size(transport.header_bytes)
            .http2_max_pending_accept_reset_streams(Some(transport.pending_resets))
            .http2_keepalive_interval(Some(transport.keepalive_interval))
            .http2_keepalive_timeout(Some(transport.keepalive_timeout))
            .initial_stream_window_size(transport.stream_window_bytes)
            .initial_connection_window_size(transport.connection_window_bytes)
            .serve_with_incoming_shutdown(dispatch, connections, shutdown.clone().cancelled_owned());
        let grace = async {
            shutdown.cancelled().await;
            for service in methods().services().into_iter().chain([""]) {
                reporter.set_service_status(service, ServingStatus::NotServing).await;
            }
            self.stopping().cancel();
            self.runtime().sleep(transport.shutdown_grace).await;
        };
        tokio::select! {
            served = server => served.map_err(StartError::Transport),
            () = grace => {
                tracing::warn!("some requests did not finish within the shutdown grace");
                Ok(())
            }
        }
    }

    fn dispatch(&self, health: HealthServer<impl Health>) -> Result<Dispatch, StartError> {
        const GZIP: CompressionEncoding = CompressionEncoding::Gzip;
        // The limit holds for what compressed messages expand to as well.
        let health = health.accept_compressed(GZIP).send_compressed(GZIP).max_decoding_message_size(LIMIT);
        let current =
            reflection::current()?.accept_compressed(GZIP).send_compressed(GZIP).max_decoding_message_size(LIMIT);
        let former =
            reflection::former()?.accept_compressed(GZIP).send_compressed(GZIP).max_decoding_message_size(LIMIT);
        let others = vec![
            ("grpc.health.v1.Health", BoxCloneSyncService::new(health)),
            ("grpc.reflection.v1.ServerReflection", BoxCloneSyncService::new(current)),
            ("grpc.reflection.v1alpha.ServerReflection", BoxCloneSyncService::new(former)),
        ];
        let (memory, settings) = (Arc::clone(self.memory()), self.settings().transport.clone());
        let clients = ClientVersions::new(&self.settings().server_version).map_err(StartError::ServerVersion)?;
        let handlers = methods().rows().iter().map(|method| method.handler(self)).collect();
        Ok(Dispatch::new(handlers, others, clients, memory, settings, self.runtime().clone()))
    }
}
