//! The listener: plain HTTP/1.1, within bounds, so that no client can stall the process.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use runtime::Runtime;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::endpoints::answer;
use super::{HealthBoard, Metrics};

/// Connections at a time; more wait to be accepted.
const CONNECTIONS: usize = 256;
/// A connection without requests for so long is ended.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(30);
/// The headers of one request. Bytes.
const HEADER_BYTES: usize = 16 * 1024;
/// When accepting fails, as it does without file descriptors, it is tried again after this.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Answers on `listener` until `shutdown`, and then lets the requests that have begun finish. Cancel it last: a process
/// that drains keeps answering.
pub async fn serve(
    listener: TcpListener,
    board: HealthBoard,
    metrics: Option<Metrics>,
    shutdown: CancellationToken,
    runtime: Runtime,
) {
    let (places, connections) = (Arc::new(Semaphore::new(CONNECTIONS)), TaskTracker::new());
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, place)) => {
                let connection = converse(stream, board.clone(), metrics.clone(), shutdown.clone());
                runtime.spawn(connections.track_future(async move {
                    connection.await;
                    drop(place);
                }));
            }
            Err(error) => {
                tracing::warn!(%error, "the health listener cannot accept");
                runtime.sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, Option<OwnedSemaphorePermit>)> {
    // The semaphore is never closed, so there is always a place.
    let place = Arc::clone(places).acquire_owned().await.ok();
    let (stream, _) = listener.accept().await?;
    Ok((stream, place))
}

async fn converse(stream: TcpStream, board: HealthBoard, metrics: Option<Metrics>, shutdown: CancellationToken) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = answer(request.method(), request.uri().path(), &board, metrics.as_ref());
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a health connection broke");
    }
}
