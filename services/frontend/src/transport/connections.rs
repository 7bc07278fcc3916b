//! Connections: how many at a time, and that a new one says something. HTTP/2 pings look after those that have.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use runtime::Runtime;
use settings::TransportSettings;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// After a failure to accept (no file descriptors left, mostly), others get this long to close theirs.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_millis(20);

/// Accepts connections as long as the stream is polled.
pub(super) fn accept(
    listener: TcpListener,
    settings: &TransportSettings,
    runtime: Runtime,
) -> impl Stream<Item = io::Result<Connection>> + Send + use<> {
    let places = Arc::new(Semaphore::new(settings.connections));
    let first_bytes_within = settings.first_bytes_within;
    stream::unfold((listener, runtime), move |(listener, runtime)| {
        let places = Arc::clone(&places);
        async move {
            // The semaphore is never closed.
            let place = places.acquire_owned().await.ok()?;
            let accepted = match listener.accept().await {
                // Answers are small and awaited: none may wait for the next one.
                Ok((stream, _)) => stream.set_nodelay(true).map(|()| {
                    let patience = runtime.clone();
                    let first_bytes = async move { patience.sleep(first_bytes_within).await };
                    Connection { stream, silent: Some(Box::pin(first_bytes)), _place: place }
                }),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    runtime.sleep(PAUSE_AFTER_FAILURE).await;
                    Err(error)
                }
            };
            Some((accepted, (listener, runtime)))
        }
    })
    .boxed()
}

/// An accepted connection. Reading fails when its peer stays silent from the beginning.
pub(super) struct Connection {
    stream: TcpStream,
    /// Runs out unless the peer says something first.
    silent: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    _place: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;
    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(cx, buffer) {
            this.silent = None;
            return Poll::Ready(read);
        }
        if let Some(silent) = &mut this.silent {
            ready!(silent.as_mut().poll(cx));
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer said nothing")));
        }
        Poll::Pending
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
