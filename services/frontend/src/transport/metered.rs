//! A request's body on its way in: what has arrived of it counts as memory in flight until it is decoded.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use cluster::ServiceResult;
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use crate::errors::to_status;
use crate::memory::{Held, RequestMemory};

/// A body that refuses to go on once memory is short.
pub(super) struct Metered {
    body: Body,
    held: Held,
    message_chars: usize,
}

impl Metered {
    /// Meters `body` against `memory`.
    pub(super) fn body(body: Body, memory: &Arc<RequestMemory>, message_chars: usize) -> ServiceResult<Body> {
        let held = memory.hold(0)?;
        Ok(Body::new(Self { body, held, message_chars }))
    }
}

impl http_body::Body for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(error) = self.held.grow(data.len())
        {
            return Poll::Ready(Some(Err(to_status(&error, self.message_chars))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
