//! A response's body on its way out: charged until the connection is done with it, and given to the connection in small
//! parts, which it takes as its peer reads them.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use cluster::ServiceResult;
use http::Response;
use http_body::Frame;
use http_body_util::BodyExt;
use runtime::Runtime;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::body::Body;

use crate::memory::{self, Account, Held, SMALL};

/// What the connection is given at a time. It keeps one such part of a stream whose peer does not read. Bytes.
const PART: usize = 16 * 1024;

/// A body that waits to be taken.
struct Answer {
    body: Body,
    /// A frame of the body that is not data, read ahead.
    ahead: Option<Frame<Bytes>>,
    waiting: Arc<Mutex<Waiting>>,
    watch: Option<JoinHandle<()>>,
    stalled_within: Duration,
    runtime: Runtime,
}

/// What waits of a frame.
struct Waiting {
    data: Bytes,
    /// Pays for `data`.
    held: Held,
    /// Parts that were taken so far.
    taken: u64,
    /// Nothing was taken for too long: the data is gone.
    ended: bool,
}

/// A part, charged until the connection drops it.
struct Part {
    data: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

/// `response` to a unary call, encoded now: a message that waits to be encoded would take several times as much. What
/// the request held is given back. Refused when it is large and there is no room for it.
pub(super) async fn unary(
    response: Response<Body>,
    account: &Account,
    stalled_within: Duration,
    runtime: Runtime,
) -> ServiceResult<Response<Body>> {
    if response.headers().contains_key("grpc-status") {
        return Ok(response);
    }
    let (head, mut body) = response.into_parts();
    let (mut data, mut ahead) = (Bytes::new(), None);
    if let Some(Ok(frame)) = body.frame().await {
        match frame.into_data() {
            Ok(encoded) => data = encoded,
            Err(other) => ahead = Some(other),
        }
    }
    let held = account.with(|held| {
        held.shrink(usize::MAX);
        let room = held.grow(data.len());
        if data.len() > SMALL {
            room?;
        } else if room.is_err() {
            // What it answers is done, and small: it leaves, and those who ask next are refused.
            held.add(data.len());
        }
        Ok(held.split(usize::MAX))
    })?;
    let body = Answer::new(body, ahead, Waiting { data, held, taken: 0, ended: false }, stalled_within, runtime);
    Ok(Response::from_parts(head, Body::new(body)))
}

/// `response` of a stream, each of whose frames `held` pays for as it is sent.
pub(super) fn streamed(
    response: Response<Body>,
    held: Held,
    stalled_within: Duration,
    runtime: Runtime,
) -> Response<Body> {
    let waiting = Waiting { data: Bytes::new(), held, taken: 0, ended: false };
    response.map(|body| Body::new(Answer::new(body, None, waiting, stalled_within, runtime)))
}

impl Answer {
    fn new(
        body: Body,
        ahead: Option<Frame<Bytes>>,
        waiting: Waiting,
        stalled_within: Duration,
        runtime: Runtime,
    ) -> Self {
        let waiting = Arc::new(Mutex::new(waiting));
        Self { body, ahead, waiting, watch: None, stalled_within, runtime }
    }

    /// The next part of what waits. `None` when nothing does.
    fn part(&mut self) -> Option<Result<Bytes, Status>> {
        let mut waiting = locked(&self.waiting);
        if waiting.ended {
            return Some(Err(stalled(self.stalled_within)));
        }
        if waiting.data.is_empty() {
            return None;
        }
        waiting.taken += 1;
        let data = if waiting.data.len() <= PART {
            std::mem::take(&mut waiting.data)
        } else {
            // A copy: a slice would keep all of it.
            Bytes::copy_from_slice(&waiting.data.split_to(PART))
        };
        let held = waiting.held.split(data.len());
        let more = !waiting.data.is_empty();
        drop(waiting);
        if !more {
            self.unwatch();
        } else if self.watch.is_none() {
            let watch = end_when_stalled(Arc::downgrade(&self.waiting), self.stalled_within, self.runtime.clone());
            self.watch = Some(self.runtime.spawn(watch));
        }
        Some(Ok(Bytes::from_owner(Part { data, _held: held })))
    }

    fn unwatch(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.abort();
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.unwatch();
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        loop {
            if let Some(part) = this.part() {
                return Poll::Ready(Some(part.map(Frame::data)));
            }
            if let Some(frame) = this.ahead.take() {
                return Poll::Ready(Some(Ok(frame)));
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) if frame.is_data() => {
                    let data = frame.into_data().unwrap_or_default();
                    let mut waiting = locked(&this.waiting);
                    // What is there is there. Those who ask next are refused.
                    waiting.held.add(data.len());
                    waiting.data = data;
                }
                other => return Poll::Ready(other),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let waiting = locked(&self.waiting);
        !waiting.ended && waiting.data.is_empty() && self.ahead.is_none() && self.body.is_end_stream()
    }
}

/// Gives up what waits once nothing was taken of it for `within`. The connection, which does not ask for more until its
/// peer reads, hears of it when it does.
async fn end_when_stalled(waiting: Weak<Mutex<Waiting>>, within: Duration, runtime: Runtime) {
    let mut taken = 0;
    loop {
        runtime.sleep(within).await;
        let Some(waiting) = waiting.upgrade() else { return };
        let mut waiting = locked(&waiting);
        if waiting.taken == taken {
            waiting.ended = true;
            waiting.data = Bytes::new();
            waiting.held.shrink(usize::MAX);
            memory::refused("unread");
            return;
        }
        taken = waiting.taken;
    }
}

fn stalled(within: Duration) -> Status {
    Status::aborted(format!("nothing of the answer was read within {within:?}"))
}

fn locked(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "answer_test.rs"]
mod tests;
