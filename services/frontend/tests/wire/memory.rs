//! What requests and answers that make no progress leave for others.

use std::net::SocketAddr;
use std::time::Duration;

use api::temporal::api::common::v1::WorkflowExecution;
use api::temporal::api::query::v1::WorkflowQuery;
use api::temporal::api::workflowservice::v1 as wire;
use bytes::Bytes;
use futures::StreamExt;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use prost::Message;
use runtime::Runtime;
use settings::{FrontendSettings, TransportSettings};
use storage::memory::MemoryStore;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tower::{Service, ServiceExt};

use super::neighbours::payloads;
use super::raw;
use super::server::Server;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const SERVICE: &str = "/temporal.api.workflowservice.v1.WorkflowService";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

async fn server(transport: TransportSettings) -> Server {
    Server::on(MemoryStore::new(), FrontendSettings { transport, ..FrontendSettings::default() }).await
}

/// Room for a few requests: 8 MiB, of which a connection may have a quarter.
fn narrow() -> TransportSettings {
    TransportSettings { in_flight_bytes: 8 * MIB, request_bytes: MIB, decoded_bytes: 64 * KIB, ..Default::default() }
}

fn prefixed(length: usize, message: &[u8]) -> Bytes {
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(length).unwrap().to_be_bytes());
    bytes.extend_from_slice(message);
    Bytes::from(bytes)
}

/// Sends the beginning of a request and goes on until there is a response.
async fn begun(channel: &Channel, path: &str, beginning: Bytes, ends: bool) -> Response<Body> {
    let first = futures::stream::iter([Ok::<_, Status>(Frame::data(beginning))]);
    let body = if ends {
        Body::new(StreamBody::new(first))
    } else {
        Body::new(StreamBody::new(first.chain(futures::stream::pending())))
    };
    let request = Request::post(path).header("content-type", "application/grpc").header("te", "trailers");
    let mut channel = channel.clone();
    channel.ready().await.unwrap().call(request.body(body).unwrap()).await.unwrap()
}

fn refusal(response: &Response<Body>) -> (Code, String) {
    let status = Status::from_header_map(response.headers()).unwrap();
    (status.code(), status.message().to_owned())
}

fn signal(bytes: usize) -> wire::SignalWorkflowExecutionRequest {
    wire::SignalWorkflowExecutionRequest {
        namespace: "default".to_owned(),
        workflow_execution: Some(WorkflowExecution { workflow_id: "order-1".to_owned(), run_id: String::new() }),
        signal_name: "paid".to_owned(),
        input: payloads(bytes),
        ..Default::default()
    }
}

fn query(kind: &str) -> wire::QueryWorkflowRequest {
    wire::QueryWorkflowRequest {
        namespace: "default".to_owned(),
        execution: Some(WorkflowExecution { workflow_id: "order-1".to_owned(), run_id: String::new() }),
        query: Some(WorkflowQuery { query_type: kind.to_owned(), ..WorkflowQuery::default() }),
        ..Default::default()
    }
}

/// Calls until there is room: the server hears of a reset a little later.
async fn eventually<T>(mut call: impl AsyncFnMut() -> Result<T, Status>) {
    let calls = async {
        while let Err(status) = call().await {
            assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        }
    };
    Runtime::system().timeout(Duration::from_secs(60), calls).await.expect("there is room again");
}

#[tokio::test]
async fn unfinished_requests_of_one_connection_leave_room_for_others() {
    let server = server(narrow()).await;
    let path = format!("{SERVICE}/SignalWorkflowExecution");
    let flooding = server.channel().await;
    let begin = || Box::pin(begun(&flooding, &path, prefixed(MIB, b""), false));
    // Two megabytes are announced, and nothing of them comes. Which requests are refused is the server's choice.
    let (refused, _, unfinished) = futures::future::select_all((0..3).map(|_| begin())).await;
    let expected = "requests of this connection hold 2097152 bytes, at most 2162688 are allowed, try again";
    assert_eq!(refusal(&refused), (Code::ResourceExhausted, expected.to_owned()));
    assert_eq!(unfinished.len(), 2);

    let other = server.channel().await;
    raw::call(&other, &path, signal(900 * KIB).encode_to_vec()).await.unwrap();
    server.client().await.query_workflow(query("small")).await.unwrap();
    let same = raw::call(&flooding, &path, signal(900 * KIB).encode_to_vec()).await.unwrap_err();
    assert!(same.message().starts_with("requests of this connection hold 2097152 bytes"), "{same:?}");
    drop(unfinished);
    eventually(async || raw::call(&flooding, &path, signal(900 * KIB).encode_to_vec()).await).await;
}

/// A connection whose peer reads next to nothing unasked.
async fn hesitant(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.initial_stream_window_size(KIB as u32).connect().await.unwrap()
}

#[tokio::test]
async fn an_answer_that_is_not_read_counts_until_it_is_or_its_reader_leaves() {
    let server = server(TransportSettings { in_flight_bytes: 150_000, ..Default::default() }).await;
    let request = query("large").encode_to_vec();
    let request = prefixed(request.len(), &request);
    let path = format!("{SERVICE}/QueryWorkflow");
    let unread = begun(&hesitant(server.address).await, &path, request, true).await;
    assert!(unread.headers().get("grpc-status").is_none(), "{unread:?}");
    let mut other = server.client().await.max_decoding_message_size(usize::MAX);
    let refused = other.query_workflow(query("large")).await.unwrap_err();
    assert!(refused.message().starts_with("requests in flight hold "), "{refused:?}");
    other.query_workflow(query("small")).await.unwrap();
    drop(unread);
    eventually(async || other.clone().query_workflow(query("large")).await).await;
}

#[tokio::test]
async fn a_connection_that_reads_no_answer_ends() {
    let stalled_within = Duration::from_secs(1);
    let server = server(TransportSettings { in_flight_bytes: 150_000, stalled_within, ..Default::default() }).await;
    let request = query("large").encode_to_vec();
    let path = format!("{SERVICE}/QueryWorkflow");
    let unread = begun(&hesitant(server.address).await, &path, prefixed(request.len(), &request), true).await;
    let mut other = server.client().await.max_decoding_message_size(usize::MAX);
    other.query_workflow(query("large")).await.unwrap_err();
    eventually(async || other.clone().query_workflow(query("large")).await).await;
    unread.into_body().collect().await.unwrap_err();
}

#[tokio::test]
async fn small_services_take_small_messages() {
    let server = Server::start().await;
    let channel = server.channel().await;
    let response = begun(&channel, HEALTH, prefixed(64 * KIB + 1, b""), false).await;
    let expected = "grpc: received message larger than max (65537 vs. 65536)".to_owned();
    assert_eq!(refusal(&response), (Code::ResourceExhausted, expected));
    raw::call(&channel, HEALTH, "").await.unwrap();
}
