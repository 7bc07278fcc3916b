//! Announcements, wherever frames end, and streams that stop.

use http_body_util::{BodyExt, StreamBody};
use ids::Timestamp;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::*;
use crate::memory::{Bounds, ConnectionShare, RequestMemory};

const WITHIN: Duration = Duration::from_secs(30);

fn begun(total: usize) -> (UnboundedSender<Result<Frame<Bytes>, Status>>, Body, Runtime) {
    let (sender, frames) = unbounded_channel();
    let body = Body::new(StreamBody::new(UnboundedReceiverStream::new(frames)));
    let memory = RequestMemory::new(Bounds { total, reserve: 0, connection: total, namespace: total });
    let runtime = Runtime::virtual_from(Timestamp::from_millis(1_000_000));
    let held = memory.request(ConnectionShare::default());
    (sender, Announced::body(body, held, WITHIN, 1000, runtime.clone()), runtime)
}

fn prefix(length: usize) -> Vec<u8> {
    let mut prefix = vec![0];
    prefix.extend(u32::try_from(length).unwrap().to_be_bytes());
    prefix
}

fn data(bytes: &[u8]) -> Result<Frame<Bytes>, Status> {
    Ok(Frame::data(Bytes::copy_from_slice(bytes)))
}

#[tokio::test]
async fn an_announcement_is_judged_before_the_message_comes() {
    let (sender, mut body, _) = begun(LIMIT);
    sender.send(data(&prefix(LIMIT + 1))).unwrap();
    let status = body.frame().await.unwrap().unwrap_err();
    assert_eq!(status.message(), "grpc: received message larger than max (65537 vs. 65536)");

    let (sender, mut body, _) = begun(99);
    sender.send(data(&prefix(100))).unwrap();
    let status = body.frame().await.unwrap().unwrap_err();
    assert_eq!(status.message(), "requests in flight hold 0 bytes, at most 99 are allowed, try again");
}

#[tokio::test]
async fn messages_pay_one_after_the_other_wherever_frames_end() {
    let (sender, mut body, _) = begun(100);
    let mut stream = Vec::new();
    for length in [100, 0, 60, 100] {
        stream.extend(prefix(length));
        stream.extend(vec![9; length]);
    }
    for part in stream.chunks(7) {
        sender.send(data(part)).unwrap();
    }
    drop(sender);
    let passed = body.collect().await.unwrap().to_bytes();
    assert_eq!(passed, stream);
    let (sender, again, _) = begun(100);
    body = again;
    sender.send(data(&stream)).unwrap();
    sender.send(data(&prefix(101))).unwrap();
    body.frame().await.unwrap().unwrap();
    assert!(body.frame().await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_stops_coming_ends_the_stream_and_a_pause_between_messages_does_not() {
    let (sender, mut body, runtime) = begun(100);
    sender.send(data(&[prefix(2), vec![1, 2]].concat())).unwrap();
    body.frame().await.unwrap().unwrap();
    assert!(runtime.timeout(10 * WITHIN, body.frame()).await.is_none(), "the peer may have nothing to say");
    sender.send(data(&[prefix(2), vec![1]].concat())).unwrap();
    body.frame().await.unwrap().unwrap();
    let status = runtime.timeout(WITHIN + WITHIN, body.frame()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(status.message(), "the request made no progress within 30s");

    let (_sender, mut silent, runtime) = begun(100);
    let status = runtime.timeout(WITHIN + WITHIN, silent.frame()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(status.message(), "the request made no progress within 30s");
}
