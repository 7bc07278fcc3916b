//! A service that came later is guarded like the first.

use api::temporal::api::operatorservice::v1 as wire;
use api::temporal::api::workflowservice::v1::GetClusterInfoRequest;
use grpc::operator_service_client::OperatorServiceClient;
use settings::{FrontendSettings, QuotaSettings};
use storage::memory::MemoryStore;
use tonic::{Code, Request};

use super::raw;
use super::server::Server;

const LIST: &str = "/temporal.api.operatorservice.v1.OperatorService/ListClusters";

#[tokio::test]
async fn the_cluster_lists_itself() {
    let server = Server::start().await;
    let mut client = OperatorServiceClient::new(server.channel().await);
    let listed = client.list_clusters(wire::ListClustersRequest::default()).await.unwrap().into_inner();
    let info = server.client().await.get_cluster_info(GetClusterInfoRequest {}).await.unwrap().into_inner();
    assert_eq!(listed.clusters.len(), 1);
    let cluster = &listed.clusters[0];
    assert_eq!((&cluster.cluster_id, &cluster.cluster_name), (&info.cluster_id, &info.cluster_name));
    assert_eq!((cluster.history_shard_count, cluster.is_connection_enabled), (info.history_shard_count, true));
    assert!(listed.next_page_token.is_empty());

    let bad = wire::ListClustersRequest { next_page_token: vec![1].into(), ..Default::default() };
    let status = client.list_clusters(bad).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "next_page_token is set, but there is one page: none is allowed");
}

#[tokio::test]
async fn size_version_and_rate_are_bounded_alike() {
    let quotas = QuotaSettings { instance_rps: 1.0, ..QuotaSettings::default() };
    let server = Server::on(MemoryStore::new(), FrontendSettings { quotas, ..FrontendSettings::default() }).await;
    let channel = server.channel().await;
    let status = raw::call(&channel, LIST, vec![0; (4 << 20) + 1]).await.unwrap_err();
    assert_eq!(status.message(), "grpc: received message larger than max (4194305 vs. 4194304)");

    let mut foreign = Request::new(bytes::Bytes::new());
    foreign.metadata_mut().insert("client-name", "temporal-go".parse().unwrap());
    foreign.metadata_mut().insert("client-version", "2.0.0".parse().unwrap());
    let status = raw::send(&channel, LIST, foreign).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);

    for _ in 0..2 {
        raw::call(&channel, LIST, "").await.expect("two seconds' worth");
    }
    let status = raw::call(&channel, LIST, "").await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().starts_with("this frontend takes 1 requests per second"), "{}", status.message());
}
