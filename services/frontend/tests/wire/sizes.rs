//! How large a request may be, and gzip both ways.

use api::temporal::api::common::v1::{Header, Payload, WorkflowExecution};
use api::temporal::api::query::v1::WorkflowQuery;
use api::temporal::api::workflowservice::v1 as wire;
use bytes::Bytes;
use prost::Message;
use tonic::Code;
use tonic::codec::CompressionEncoding;

use settings::{FrontendSettings, TransportSettings};
use storage::memory::MemoryStore;

use super::neighbours::payloads;
use super::raw;
use super::server::Server;

const MIB: usize = 1024 * 1024;
const SIGNAL: &str = "/temporal.api.workflowservice.v1.WorkflowService/SignalWorkflowExecution";

/// A valid signal that takes exactly `bytes`, in two blobs since one may have only 2 MiB.
fn signal(bytes: usize) -> wire::SignalWorkflowExecutionRequest {
    let with_header = |data: usize| wire::SignalWorkflowExecutionRequest {
        namespace: "default".to_owned(),
        workflow_execution: Some(WorkflowExecution { workflow_id: "order-1".to_owned(), run_id: String::new() }),
        signal_name: "paid".to_owned(),
        request_id: "r".to_owned(),
        input: payloads(2 * MIB - 20),
        header: Some(Header {
            fields: [("h".to_owned(), Payload { data: Bytes::from(vec![0; data]), ..Payload::default() })].into(),
        }),
        ..Default::default()
    };
    let guess = bytes - with_header(0).encoded_len() - 20;
    let request = with_header(guess + bytes - with_header(guess).encoded_len());
    assert_eq!(request.encoded_len(), bytes);
    request
}

#[tokio::test]
async fn four_mebibytes_are_accepted_and_one_byte_more_is_refused_in_words_that_sdks_know() {
    let server = Server::start().await;
    let channel = server.channel().await;
    raw::call(&channel, SIGNAL, signal(4 * MIB).encode_to_vec()).await.unwrap();
    assert_eq!(server.neighbours.last("signal_workflow").request, "\"r\"");

    let mut larger = signal(4 * MIB);
    larger.signal_name.push('!');
    let status = raw::call(&channel, SIGNAL, larger.encode_to_vec()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "grpc: received message larger than max (4194305 vs. 4194304)");
    assert_eq!(server.neighbours.seen().len(), 1);
    raw::call(&channel, SIGNAL, signal(3 * MIB).encode_to_vec()).await.expect("the connection serves on");
}

#[tokio::test]
async fn the_bound_holds_for_what_compressed_requests_expand_to() {
    let server = Server::start().await;
    let channel = server.channel().await;
    raw::call_compressed(&channel, SIGNAL, signal(4 * MIB).encode_to_vec()).await.unwrap();
    for bytes in [4 * MIB + 1, 200 * MIB] {
        let status = raw::call_compressed(&channel, SIGNAL, vec![0; bytes]).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{bytes}");
        assert_eq!(status.message(), "grpc: received message larger than max (4194305 vs. 4194304)");
    }
    assert_eq!(server.neighbours.seen().len(), 1);
}

fn query(kind: &str) -> wire::QueryWorkflowRequest {
    wire::QueryWorkflowRequest {
        namespace: "default".to_owned(),
        execution: Some(WorkflowExecution { workflow_id: "order-1".to_owned(), run_id: String::new() }),
        query: Some(WorkflowQuery { query_type: kind.to_owned(), ..WorkflowQuery::default() }),
        ..Default::default()
    }
}

#[tokio::test]
async fn gzip_is_taken_and_given_to_those_who_accept_it() {
    let server = Server::start().await;
    let mut plain = server.client().await;
    let gzip = CompressionEncoding::Gzip;
    let mut zipping = server.client().await.send_compressed(gzip).accept_compressed(gzip);
    for kind in ["small", "large"] {
        let expected = plain.query_workflow(query(kind)).await.unwrap();
        assert!(expected.metadata().get("grpc-encoding").is_none(), "it was not asked for");
        let answer = zipping.query_workflow(query(kind)).await.unwrap();
        assert_eq!(answer.metadata().get("grpc-encoding").unwrap(), "gzip");
        assert_eq!(answer.into_inner(), expected.into_inner());
    }
}

#[tokio::test]
async fn errors_reach_those_who_compress() {
    let server = Server::start().await;
    let gzip = CompressionEncoding::Gzip;
    let mut zipping = server.client().await.send_compressed(gzip).accept_compressed(gzip);
    let status = zipping.query_workflow(wire::QueryWorkflowRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "execution is not set"));
}

#[tokio::test]
async fn requests_that_memory_has_no_room_for_are_refused_while_small_ones_go_on() {
    let transport = TransportSettings { in_flight_bytes: MIB, ..TransportSettings::default() };
    let settings = FrontendSettings { transport, ..FrontendSettings::default() };
    let server = Server::on(MemoryStore::new(), settings).await;
    let channel = server.channel().await;
    let large = signal(3 * MIB).encode_to_vec();
    let arriving = raw::call(&channel, SIGNAL, large.clone()).await.unwrap_err();
    // This one arrives as a few kilobytes, and is large only once it is read.
    let expanding = raw::call_compressed(&channel, SIGNAL, large).await.unwrap_err();
    for status in [arriving, expanding] {
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        // The rest is for small requests.
        assert!(status.message().ends_with("at most 922756 are allowed, try again"), "{status:?}");
    }
    server.client().await.query_workflow(query("small")).await.expect("what was refused holds nothing");
}
