//! What an answer is charged with on its way out.

use bytes::BytesMut;
use http::HeaderMap;
use http_body_util::{Full, StreamBody};

use super::*;
use crate::memory::{Bounds, ConnectionShare, RequestMemory};

fn memory(total: usize) -> Arc<RequestMemory> {
    RequestMemory::new(Bounds { total, reserve: 0, connection: total, namespace: total })
}

fn account(memory: &Arc<RequestMemory>) -> Account {
    Account::new(memory.request(ConnectionShare::default()))
}

/// What is left of `total` bytes.
fn free(memory: &Arc<RequestMemory>, total: usize) -> usize {
    let mut probe = memory.request(ConnectionShare::default());
    (0..=total).rev().find(|bytes| probe.grow(*bytes).is_ok()).unwrap()
}

fn response(bytes: usize) -> Response<Body> {
    let content = Bytes::from((0..bytes).map(|at| (at % 251) as u8).collect::<Vec<_>>());
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let frames = [Ok::<_, Status>(Frame::data(content)), Ok(Frame::trailers(trailers))];
    Response::new(Body::new(StreamBody::new(futures::stream::iter(frames))))
}

#[tokio::test]
async fn an_answer_is_charged_in_place_of_its_request_until_the_connection_drops_its_parts() {
    let total = 40_000;
    let memory = memory(total);
    let account = account(&memory);
    account.with(|held| held.grow(10_000)).unwrap();
    let response = unary(response(33_000), &account, Arc::default()).await.unwrap();
    drop(account);
    assert_eq!(free(&memory, total), 7_000);
    let mut body = response.into_body();
    let (mut content, mut parts) = (BytesMut::new(), Vec::new());
    while let Some(frame) = body.frame().await {
        match frame.unwrap().into_data() {
            Ok(data) => {
                content.extend_from_slice(&data);
                parts.push(data);
            }
            Err(frame) => assert_eq!(frame.into_trailers().unwrap()["grpc-status"], "0"),
        }
    }
    assert_eq!(parts.iter().map(Bytes::len).collect::<Vec<_>>(), [PART, PART, 33_000 - 2 * PART]);
    assert!(content.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));
    assert_eq!(free(&memory, total), 7_000, "the connection still has them");
    parts.pop();
    assert_eq!(free(&memory, total), 7_000 + 33_000 - 2 * PART);
    drop(parts);
    assert_eq!(free(&memory, total), total);
}

#[tokio::test]
async fn large_answers_need_room_and_small_ones_take_it() {
    let memory = memory(1000);
    let large = account(&memory);
    let refused = unary(response(SMALL + 1), &large, Arc::default()).await.err().unwrap();
    assert_eq!(refused.to_string(), "requests in flight hold 0 bytes, at most 1000 are allowed, try again");
    let small = unary(response(SMALL), &account(&memory), Arc::default()).await.unwrap();
    assert!(memory.request(ConnectionShare::default()).grow(1).is_err(), "no other request begins meanwhile");
    drop(small);
    memory.request(ConnectionShare::default()).grow(1000).unwrap();
}

#[tokio::test]
async fn a_stream_pays_for_each_frame_as_it_goes() {
    let memory = memory(1_000_000);
    let frames = [PART + 1, 10, 0, 5].map(|bytes| Ok::<_, Status>(Frame::data(Bytes::from(vec![7; bytes]))));
    let body = Body::new(StreamBody::new(futures::stream::iter(frames)));
    let held = memory.request(ConnectionShare::default());
    let mut body = streamed(Response::new(body), held, Arc::default()).into_body();
    for expected in [PART, 1, 10, 5] {
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(data.len(), expected);
        drop(data);
    }
    assert!(body.frame().await.is_none());
    memory.request(ConnectionShare::default()).grow(1_000_000).unwrap();
}

#[tokio::test]
async fn a_refusal_passes_as_it_is() {
    let refusal = Status::not_found("no such workflow").into_http::<Body>();
    let response = unary(refusal, &account(&memory(0)), Arc::default()).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "5");
    let empty = unary(Response::new(Body::new(Full::default())), &account(&memory(0)), Arc::default()).await.unwrap();
    assert!(empty.into_body().frame().await.is_none());
}
