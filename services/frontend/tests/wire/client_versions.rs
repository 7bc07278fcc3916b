//! Clients and servers that do not go together: whatever is asked, nothing of it is looked at.

use api::temporal::api::errordetails::v1::{ClientVersionNotSupportedFailure, ServerVersionNotSupportedFailure};
use api::temporal::api::workflowservice::v1 as wire;
use frontend::RpcStatus;
use prost::Message;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::raw;
use super::server::Server;

fn from<T>(message: T, version: &'static str, servers: &'static str) -> Request<T> {
    let mut request = Request::new(message);
    let headers = request.metadata_mut();
    headers.insert("client-name", "temporal-go".parse().unwrap());
    headers.insert("client-version", version.parse().unwrap());
    headers.insert("supported-server-versions", servers.parse().unwrap());
    request
}

fn failure<T: Message + Default>(status: &Status, name: &str) -> T {
    let rpc = RpcStatus::decode(status.details()).unwrap();
    assert_eq!((rpc.code, rpc.message.as_str()), (status.code() as i32, status.message()));
    assert_eq!(rpc.details[0].type_url, format!("type.googleapis.com/temporal.api.errordetails.v1.{name}"));
    T::decode(&rpc.details[0].value[..]).unwrap()
}

#[tokio::test]
async fn a_client_that_is_too_new_hears_which_versions_are_served() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let status = client.get_system_info(from(wire::GetSystemInfoRequest {}, "2.0.0", "")).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.message(), "Client version 2.0.0 is not supported. Server supports temporal-go versions: <2.0.0");
    let failure: ClientVersionNotSupportedFailure = failure(&status, "ClientVersionNotSupportedFailure");
    assert_eq!(
        (failure.client_name.as_str(), failure.client_version.as_str(), failure.supported_versions.as_str()),
        ("temporal-go", "2.0.0", "<2.0.0")
    );
    client.get_system_info(from(wire::GetSystemInfoRequest {}, "1.51.0", ">=1.0.0 <2.0.0")).await.unwrap();
    let malformed = client.get_system_info(from(wire::GetSystemInfoRequest {}, "1.51", "")).await.unwrap_err();
    assert_eq!(malformed.code(), Code::InvalidArgument);
    assert!(malformed.message().starts_with("Unable to parse client version: client-version is \"1.51\", "));
}

#[tokio::test]
async fn a_client_that_does_not_know_this_server_hears_its_version() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let info = client.get_cluster_info(wire::GetClusterInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(info.supported_clients["temporal-ui"], "<3.0.0");
    let poll = wire::PollWorkflowTaskQueueRequest::default();
    let status = client.poll_workflow_task_queue(from(poll, "1.51.0", ">=3.0.0")).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    let text =
        format!("Server version {} is not supported. Client supports server versions: >=3.0.0", info.server_version);
    assert_eq!(status.message(), text);
    let failure: ServerVersionNotSupportedFailure = failure(&status, "ServerVersionNotSupportedFailure");
    assert_eq!(failure.server_version, info.server_version);
    assert_eq!(failure.client_supported_server_versions, ">=3.0.0");
    assert!(server.neighbours.seen().is_empty());
}

#[tokio::test]
async fn other_services_of_the_socket_ask_the_same_and_unknown_services_stay_unknown() {
    let server = Server::start().await;
    let channel = server.channel().await;
    let check = from(HealthCheckRequest::default(), "2.0.0", "");
    let status = HealthClient::new(channel.clone()).check(check).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    let path = "/temporal.api.workflowservice.v1.WorkflowService/Nonsense";
    let status = raw::send(&channel, path, from(bytes::Bytes::new(), "2.0.0", "")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}
