//! A response's body on its way out, when something depends on whether it goes out at all.
//!
//! The connection looks for a reset of the stream and then asks for the body; for a stream that was reset it drops the
//! body unasked. So a body that is asked for leaves, as far as this side of the wire can know.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use calls::Receipt;
use http::Response;
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

/// A body whose first data is what the receipt is for.
struct NotifyOnWrite {
    body: Body,
    receipt: Option<Box<dyn Receipt>>,
}

/// `response`, which notifies `receipt` when it is written. One without a body is a refusal, and hands nothing out.
pub(super) fn notify_on_write(response: Response<Body>, receipt: Option<Box<dyn Receipt>>) -> Response<Body> {
    match receipt {
        None => response,
        receipt => response.map(|body| Body::new(NotifyOnWrite { body, receipt })),
    }
}

impl http_body::Body for NotifyOnWrite {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if matches!(&frame, Some(Ok(frame)) if frame.is_data())
            && let Some(receipt) = self.receipt.take()
        {
            receipt.written();
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
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use http_body_util::{BodyExt, Full};

    use super::*;

    struct Noted(Arc<AtomicBool>);

    impl Receipt for Noted {
        fn written(self: Box<Self>) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    fn response(content: &'static [u8]) -> (Response<Body>, Arc<AtomicBool>) {
        let written = Arc::new(AtomicBool::new(false));
        let body = Body::new(Full::new(Bytes::from_static(content)));
        (notify_on_write(Response::new(body), Some(Box::new(Noted(Arc::clone(&written))))), written)
    }

    #[tokio::test]
    async fn a_response_is_written_once_its_data_is_asked_for() {
        let (response, written) = response(b"a task");
        let mut body = response.into_body();
        assert!(!written.load(Ordering::Relaxed));
        assert!(body.frame().await.unwrap().unwrap().is_data());
        assert!(written.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn a_response_that_is_dropped_or_has_no_data_is_not_written() {
        let (unasked, written) = response(b"a task");
        drop(unasked);
        assert!(!written.load(Ordering::Relaxed));
        let (empty, written) = response(b"");
        empty.into_body().collect().await.unwrap();
        assert!(!written.load(Ordering::Relaxed));
    }
}
