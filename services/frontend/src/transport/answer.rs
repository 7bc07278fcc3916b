//! A response's body on its way out: charged until the connection has written it, and given to the connection in small
//! parts, which it takes as its peer reads them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use calls::ServiceResult;
use http::Response;
use http_body::Frame;
use http_body_util::BodyExt;
use tonic::Status;
use tonic::body::Body;

use super::unwritten::Unwritten;
use crate::memory::{Account, Held, SMALL};

/// What the connection is given at a time. It keeps one such part, or two, of a stream whose peer does not read. Bytes.
const PART: usize = 16 * 1024;

/// A body that waits to be taken.
struct Answer {
    body: Body,
    /// A frame of the body that is not data, read ahead.
    ahead: Option<Frame<Bytes>>,
    /// What waits of the last frame that was data.
    data: Bytes,
    /// Pays for `data`.
    held: Held,
    unwritten: Arc<Unwritten>,
}

/// `response` to a unary call, encoded now: a message that waits to be encoded would take several times as much. What
/// the request held is given back. Refused when it is large and there is no room for it.
pub(super) async fn unary(
    response: Response<Body>,
    account: &Account,
    unwritten: Arc<Unwritten>,
) -> ServiceResult<Response<Body>> {
    if response.headers().contains_key("grpc-status") {
        return Ok(response);
    }
    let (head, mut body) = response.into_parts();
    let (mut data, mut ahead) = (Bytes::new(), None);
    match body.frame().await.transpose() {
        Ok(None) => {}
        Ok(Some(frame)) => match frame.into_data() {
            Ok(encoded) => data = encoded,
            Err(other) => ahead = Some(other),
        },
        Err(status) => return Ok(status.into_http()),
    }
    let held = account.with(|held| {
        held.shrink(usize::MAX);
        let room = held.grow(data.len());
        if data.len() > SMALL {
            room?;
        } else if room.is_err() {
            // What it answers is done, and small: it leaves, and later requests are refused.
            held.add(data.len());
        }
        Ok(held.split(usize::MAX))
    })?;
    Ok(Response::from_parts(head, Body::new(Answer { body, ahead, data, held, unwritten })))
}

/// `response` of a stream, each of whose frames `held` pays for as it is sent.
pub(super) fn streamed(response: Response<Body>, held: Held, unwritten: Arc<Unwritten>) -> Response<Body> {
    response.map(|body| Body::new(Answer { body, ahead: None, data: Bytes::new(), held, unwritten }))
}

impl Answer {
    /// The next part of what waits. `None` when nothing does.
    fn part(&mut self) -> Option<Bytes> {
        if self.data.is_empty() {
            return None;
        }
        let data = if self.data.len() <= PART {
            std::mem::take(&mut self.data)
        } else {
            // A copy: a slice would keep all of it.
            Bytes::copy_from_slice(&self.data.split_to(PART))
        };
        let held = self.held.split(data.len());
        Some(self.unwritten.part(data, held))
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        loop {
            if let Some(part) = this.part() {
                return Poll::Ready(Some(Ok(Frame::data(part))));
            }
            if let Some(frame) = this.ahead.take() {
                return Poll::Ready(Some(Ok(frame)));
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) if frame.is_data() => {
                    this.data = frame.into_data().unwrap_or_default();
                    // What is there is there. Later requests are refused.
                    this.held.add(this.data.len());
                }
                other => return Poll::Ready(other),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_empty() && self.ahead.is_none() && self.body.is_end_stream()
    }
}

#[cfg(test)]
#[path = "answer_test.rs"]
mod tests;
