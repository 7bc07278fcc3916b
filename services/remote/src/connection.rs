//! One HTTP/2 connection to a peer: any number of calls at a time, and pings that notice when it has fallen silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use runtime::Runtime;
use settings::RemoteSettings;
use tokio::net::TcpStream;
use tonic::body::Body;
use tonic::codegen::Service;

/// Streams that this side reset and still knows, so that what was on its way for them is no error. Count: polls are given
/// up by the hundred when a frontend stops.
const REMEMBERED_RESETS: usize = 4096;

/// A connection, as generated clients use it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connection {
    requests: SendRequest<Body>,
    is_misdirected: Arc<AtomicBool>,
}

impl Connection {
    /// Connects to `address`, which is looked up each time: a name may mean another machine than the last time.
    ///
    /// This is the place where TLS would wrap the stream, with the certificate by which peers know each other.
    pub(crate) async fn connect(address: &str, settings: &RemoteSettings, runtime: &Runtime) -> Result<Self, String> {
        let connecting = async {
            let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
            // Calls are small and awaited: none may wait for the next one.
            stream.set_nodelay(true).map_err(|error| error.to_string())?;
            let mut builder = Builder::new(Tasks(runtime.clone()));
            builder
                .timer(TokioTimer::new())
                .keep_alive_interval(settings.keepalive_interval)
                .keep_alive_timeout(settings.keepalive_timeout)
                .keep_alive_while_idle(true)
                .initial_stream_window_size(settings.stream_window_bytes)
                .initial_connection_window_size(settings.connection_window_bytes)
                .max_concurrent_reset_streams(REMEMBERED_RESETS);
            builder.handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())
        };
        let Some(connected) = runtime.timeout(settings.connect_timeout, connecting).await else {
            return Err(format!("no connection within {:?}", settings.connect_timeout));
        };
        let (requests, connection) = connected?;
        let address = address.to_owned();
        runtime.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(address, %error, "a connection to a peer ended");
            }
        });
        Ok(Self { requests, is_misdirected: Arc::default() })
    }

    /// Whether it ended, whatever ended it.
    pub(crate) fn is_closed(&self) -> bool {
        self.requests.is_closed()
    }

    /// Whether another process was found at its other end.
    pub(crate) fn is_misdirected(&self) -> bool {
        self.is_misdirected.load(Ordering::Relaxed)
    }

    /// Another process is at its other end than was meant. True the first time.
    pub(crate) fn mark_misdirected(&self) -> bool {
        !self.is_misdirected.swap(true, Ordering::Relaxed)
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.requests.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.requests.send_request(request))
    }
}

/// Where hyper starts its tasks.
#[derive(Clone)]
struct Tasks(Runtime);

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}
