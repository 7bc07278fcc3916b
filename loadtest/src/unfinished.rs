//! Requests that are announced, begun and never finished: what a client that stalls, or means harm, leaves at a server.

use std::future::poll_fn;
use std::time::Duration;

use anyhow::{Result, anyhow};
use bytes::{BufMut, Bytes, BytesMut};
use futures::{StreamExt, stream};
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::transport::{Channel, Endpoint};

/// What each request announces.
const ANNOUNCED: u32 = 1 << 20;
/// What comes of it.
const SENT: usize = 16 << 10;

/// A connection to the server.
pub async fn connect(address: &str) -> Result<Channel> {
    Ok(Endpoint::from_shared(address.to_owned())?.connect_timeout(Duration::from_secs(5)).connect().await?)
}

/// Begins a request and waits until the server ends it. Says whether it was refused with RESOURCE_EXHAUSTED.
pub async fn begin(channel: &mut Channel) -> Result<bool> {
    let mut begun = BytesMut::with_capacity(5 + SENT);
    begun.put_u8(0);
    begun.put_u32(ANNOUNCED);
    begun.resize(5 + SENT, 0);
    let first = Ok::<_, std::convert::Infallible>(Frame::data(begun.freeze()));
    let body = Body::new(StreamBody::new(stream::iter([first]).chain(stream::pending())));
    let request = Request::post("/temporal.api.workflowservice.v1.WorkflowService/StartWorkflowExecution")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)?;
    poll_fn(|cx| GrpcService::<Body>::poll_ready(channel, cx)).await?;
    let response = GrpcService::<Body>::call(channel, request).await?;
    let code =
        |headers: &http::HeaderMap| headers.get("grpc-status").map(|code| Bytes::copy_from_slice(code.as_bytes()));
    let mut status = code(response.headers());
    if status.is_none() {
        let answer = response.into_body().collect().await.map_err(|error| anyhow!("{error}"))?;
        status = answer.trailers().and_then(code);
    }
    Ok(status.as_deref() == Some(b"8"))
}
