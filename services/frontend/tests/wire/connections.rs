//! What connections may do beside sending requests.

use std::time::Duration;

use api::temporal::api::taskqueue::v1::TaskQueue;
use api::temporal::api::workflowservice::v1 as wire;
use runtime::Runtime;
use settings::{FrontendSettings, TransportSettings};
use storage::memory::MemoryStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::server::Server;

async fn server(transport: TransportSettings) -> Server {
    Server::on(MemoryStore::new(), FrontendSettings { transport, ..FrontendSettings::default() }).await
}

/// What a client says first: the preface, and SETTINGS without content.
const HANDSHAKE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

/// A connection that has said `bytes`.
async fn saying(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut peer = TcpStream::connect(server.address).await.unwrap();
    // The server may have closed it already, which is for the caller to find out.
    let _closed = peer.write_all(bytes).await;
    peer
}

/// A connection without a request, which the server has accepted.
async fn idle(server: &Server) -> TcpStream {
    let mut peer = saying(server, HANDSHAKE).await;
    peer.read_exact(&mut [0; 9]).await.expect("the server's SETTINGS");
    peer
}

/// Whether the server closes the connection. It may say something before.
async fn is_closed(mut peer: TcpStream) -> bool {
    let mut heard = Vec::new();
    Runtime::system().timeout(Duration::from_secs(60), peer.read_to_end(&mut heard)).await.is_some()
}

/// Whether the server answers a ping.
async fn answers(peer: &mut TcpStream) -> bool {
    peer.write_all(b"\x00\x00\x08\x06\x00\x00\x00\x00\x00waiting?").await.unwrap();
    let mut heard = Vec::new();
    while !heard.windows(8).any(|heard| heard == b"waiting?") {
        if peer.read_buf(&mut heard).await.unwrap() == 0 {
            return false;
        }
    }
    true
}

/// A poll that waits in the server, on a connection of its own.
async fn polling(server: &Server) -> tokio::task::JoinHandle<()> {
    let (mut client, before) = (server.client().await, server.neighbours.seen().len());
    let poll = Runtime::system().spawn(async move {
        let request = wire::PollWorkflowTaskQueueRequest {
            namespace: "default".to_owned(),
            task_queue: Some(TaskQueue { name: "waits".to_owned(), ..TaskQueue::default() }),
            ..Default::default()
        };
        client.poll_workflow_task_queue(request).await.unwrap();
    });
    while server.neighbours.seen().len() == before {
        tokio::task::yield_now().await;
    }
    poll
}

async fn is_served(server: &Server) {
    server.client().await.get_system_info(wire::GetSystemInfoRequest {}).await.expect("there is a place for it");
}

#[tokio::test]
async fn a_peer_that_does_not_complete_its_handshake_is_left() {
    // Those that do so must do it within this as well, and the machine may be slow.
    let server = server(TransportSettings { handshake_within: Duration::from_secs(3), ..Default::default() }).await;
    let mut complete = idle(&server).await;
    for said in [0, 1, HANDSHAKE.len() - 1] {
        assert!(is_closed(saying(&server, &HANDSHAKE[..said]).await).await, "after {said} bytes");
    }
    assert!(answers(&mut complete).await, "those that completed it stay");
}

#[tokio::test]
async fn silent_peers_do_not_keep_others_out() {
    let server = Server::start().await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    server.client().await.get_system_info(wire::GetSystemInfoRequest {}).await.unwrap();
}

#[tokio::test]
async fn above_the_bound_a_connection_without_a_request_goes_and_not_the_newcomer() {
    let server = server(TransportSettings { connections: 3, ..Default::default() }).await;
    let poll = polling(&server).await;
    let (oldest, mut newer) = (idle(&server).await, idle(&server).await);
    is_served(&server).await;
    assert!(is_closed(oldest).await);
    assert!(answers(&mut newer).await);
    for _ in 0..5 {
        is_served(&server).await;
    }
    assert!(!poll.is_finished(), "a connection with a request stays");
}

#[tokio::test]
async fn connections_above_the_bound_wait_while_all_have_requests() {
    let server = server(TransportSettings { connections: 1, ..Default::default() }).await;
    let poll = polling(&server).await;
    let mut waiting = saying(&server, HANDSHAKE).await;
    let heard = Runtime::system().timeout(Duration::from_millis(100), waiting.read_u8()).await;
    assert!(heard.is_none(), "there is one place, and it is in use");
    poll.abort();
    assert!(answers(&mut waiting).await, "the place is free again");
}

#[tokio::test]
async fn an_address_that_uses_all_its_connections_gets_no_more() {
    let server = server(TransportSettings { connections_per_address: 1, ..Default::default() }).await;
    let first = idle(&server).await;
    let poll = polling(&server).await;
    assert!(is_closed(first).await, "it had no request");
    assert!(is_closed(saying(&server, HANDSHAKE).await).await, "the other one has");
    assert!(!poll.is_finished());
    // The server learns sooner or later that the caller has left.
    poll.abort();
    while is_closed_at_once(&server).await {}
    is_served(&server).await;
}

/// Whether a newcomer is closed without a word.
async fn is_closed_at_once(server: &Server) -> bool {
    saying(server, HANDSHAKE).await.read_u8().await.is_err()
}

#[tokio::test]
async fn health_says_that_the_server_is_stopping() {
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
    let server = Server::start().await;
    let mut health = HealthClient::new(server.channel().await);
    let mut watch = health.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    server.shutdown.cancel();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
}
