//! Bodies of requests to the small services (health, reflection) on their way in. These services may take a stream of
//! messages and read them themselves, so what is announced is looked for as the bytes pass.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use runtime::Runtime;
use tonic::Status;
use tonic::body::Body;

use super::incoming::{PREFIX, announced};
use super::oversize;
use crate::errors::to_status;
use crate::memory::{self, Held};

/// One message to a small service. Bytes.
pub(super) const LIMIT: usize = 64 * 1024;

/// A body that is refused from the first message on that is too long or that memory has no room for, and when it stops
/// in the middle of one, or before the first.
pub(super) struct Announced {
    body: Body,
    held: Held,
    prefix: Vec<u8>,
    /// Bytes of the current message that are still to come.
    left: usize,
    /// Messages so far.
    begun: bool,
    stalled: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    stalled_within: Duration,
    message_chars: usize,
    runtime: Runtime,
}

impl Announced {
    /// `body`, whose messages `held` pays for, one at a time.
    pub(super) fn body(
        body: Body,
        held: Held,
        stalled_within: Duration,
        message_chars: usize,
        runtime: Runtime,
    ) -> Body {
        let prefix = Vec::with_capacity(PREFIX);
        let (left, begun, stalled) = (0, false, None);
        Body::new(Self { body, held, prefix, left, begun, stalled, stalled_within, message_chars, runtime })
    }

    /// Looks at what comes for the lengths in it.
    fn pass(&mut self, mut data: &[u8]) -> Result<(), Status> {
        while !data.is_empty() {
            if self.left > 0 {
                let passed = self.left.min(data.len());
                self.left -= passed;
                data = &data[passed..];
                continue;
            }
            let part = (PREFIX - self.prefix.len()).min(data.len());
            self.prefix.extend_from_slice(&data[..part]);
            data = &data[part..];
            if let Some(length) = announced(&self.prefix) {
                self.begin(length)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, length: usize) -> Result<(), Status> {
        self.prefix.clear();
        if length > LIMIT {
            memory::refused("announced");
            return Err(oversize::status(length, LIMIT));
        }
        // The message before this one has been read.
        self.held.shrink(usize::MAX);
        self.held.grow(length).map_err(|error| to_status(&error, self.message_chars))?;
        self.left = length;
        self.begun = true;
        Ok(())
    }

    fn within_a_message(&self) -> bool {
        !self.begun || self.left > 0 || !self.prefix.is_empty()
    }
}

impl http_body::Body for Announced {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            if this.within_a_message() {
                let (runtime, within) = (this.runtime.clone(), this.stalled_within);
                let stalled = this.stalled.get_or_insert_with(|| Box::pin(async move { runtime.sleep(within).await }));
                ready!(stalled.as_mut().poll(cx));
                this.stalled = None;
                memory::refused("stalled");
                let text = format!("the request made no progress within {within:?}");
                return Poll::Ready(Some(Err(Status::deadline_exceeded(text))));
            }
            return Poll::Pending;
        };
        this.stalled = None;
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(status) = this.pass(data)
        {
            return Poll::Ready(Some(Err(status)));
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

#[cfg(test)]
#[path = "announced_test.rs"]
mod tests;
