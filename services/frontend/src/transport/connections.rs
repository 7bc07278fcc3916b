//! Connections: how many at a time, in all and of one address, and that a new one completes its handshake. HTTP/2 pings
//! look after those that have.

mod failures;
mod handshake;
mod io;
mod open;

use std::io::Result;
use std::net::SocketAddr;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use runtime::Runtime;
use settings::TransportSettings;
use tokio::net::{TcpListener, TcpStream};

use self::failures::Failures;
pub(super) use self::io::Connection;
pub(super) use self::open::ConnectionInfo;
use self::open::Open;

/// After a failure to accept, others get this long to close their connections.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(20);

/// Accepts connections as long as the stream is polled.
pub(super) fn accept(
    listener: TcpListener,
    settings: &TransportSettings,
    runtime: Runtime,
) -> impl Stream<Item = Result<Connection>> + Send + use<> {
    let acceptor = Acceptor::new(settings, runtime);
    stream::unfold((listener, acceptor), |(listener, mut acceptor)| async move {
        let connection = loop {
            let accepted = listener.accept().await;
            if let Some(connection) = acceptor.accepted(accepted).await {
                break connection;
            }
        };
        Some((Ok(connection), (listener, acceptor)))
    })
    .boxed()
}

struct Acceptor {
    open: std::sync::Arc<Open>,
    handshake_within: Duration,
    failures: Failures,
    runtime: Runtime,
}

impl Acceptor {
    fn new(settings: &TransportSettings, runtime: Runtime) -> Self {
        let open = Open::new(settings.connections, settings.connections_per_address);
        Self { open, handshake_within: settings.handshake_within, failures: Failures::default(), runtime }
    }

    /// The connection to serve, if there is one and it gets a place.
    async fn accepted(&mut self, accepted: Result<(TcpStream, SocketAddr)>) -> Option<Connection> {
        // Answers are small and awaited: none may wait for the next one.
        let accepted = accepted.and_then(|(stream, peer)| stream.set_nodelay(true).map(|()| (stream, peer)));
        match accepted {
            Ok((stream, peer)) => {
                let place = self.open.admit(peer.ip()).await?;
                let (runtime, within) = (self.runtime.clone(), self.handshake_within);
                Some(Connection::new(stream, place, async move { runtime.sleep(within).await }))
            }
            Err(error) => {
                self.failures.note(&error, self.runtime.now());
                if failures::is_shortage(&error) {
                    self.open.close_one("descriptors");
                }
                self.runtime.sleep(PAUSE_AFTER_FAILURE).await;
                None
            }
        }
    }
}

#[cfg(test)]
#[path = "connections_test.rs"]
mod tests;
