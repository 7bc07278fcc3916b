//! What connections may do beside sending requests.

use std::time::Duration;

use api::temporal::api::workflowservice::v1 as wire;
use runtime::Runtime;
use settings::{FrontendSettings, TransportSettings};
use storage::memory::MemoryStore;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::server::Server;

async fn server(transport: TransportSettings) -> Server {
    Server::on(MemoryStore::new(), FrontendSettings { transport, ..FrontendSettings::default() }).await
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_left() {
    // The client that speaks must do so within this as well, and the machine may be slow.
    let server = server(TransportSettings { first_bytes_within: Duration::from_secs(3), ..Default::default() }).await;
    let mut client = server.client().await;
    client.get_system_info(wire::GetSystemInfoRequest {}).await.unwrap();
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut heard = Vec::new();
    // The server may greet first; what matters is that it closes.
    let closed = Runtime::system().timeout(Duration::from_secs(60), silent.read_to_end(&mut heard)).await;
    assert!(closed.is_some());
    client.get_system_info(wire::GetSystemInfoRequest {}).await.expect("those that spoke stay");
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
async fn connections_above_the_bound_wait_for_a_place() {
    let server = server(TransportSettings { connections: 1, ..Default::default() }).await;
    let first = server.client().await;
    let mut kept = first.clone();
    kept.get_system_info(wire::GetSystemInfoRequest {}).await.unwrap();
    let mut second = server.client().await;
    let request = wire::GetSystemInfoRequest {};
    let waits = Runtime::system().timeout(Duration::from_millis(100), second.get_system_info(request)).await;
    assert!(waits.is_none(), "there is one place");
    drop((first, kept));
    second.get_system_info(wire::GetSystemInfoRequest {}).await.expect("the place is free again");
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
