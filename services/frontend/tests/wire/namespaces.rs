//! Namespaces as clients see them.

use api::temporal::api::common::v1::WorkflowType;
use api::temporal::api::namespace::v1::{BadBinaries, BadBinaryInfo, NamespaceConfig, UpdateNamespaceInfo};
use api::temporal::api::taskqueue::v1::TaskQueue;
use api::temporal::api::workflowservice::v1 as wire;
use prost::Message;
use prost_types::Duration;
use settings::{FrontendSettings, QuotaSettings};
use storage::memory::MemoryStore;
use tonic::{Code, Status};

use super::server::Server;

const DAY: Option<Duration> = Some(Duration { seconds: 86_400, nanos: 0 });

fn register(name: &str, retention: Option<Duration>) -> wire::RegisterNamespaceRequest {
    wire::RegisterNamespaceRequest {
        namespace: name.to_owned(),
        description: "all orders".to_owned(),
        owner_email: "ann@example.com".to_owned(),
        workflow_execution_retention_period: retention,
        ..Default::default()
    }
}

fn describe(name: &str, id: &str) -> wire::DescribeNamespaceRequest {
    wire::DescribeNamespaceRequest { namespace: name.to_owned(), id: id.to_owned(), ..Default::default() }
}

fn code_and_text(status: Status) -> (Code, String) {
    (status.code(), status.message().to_owned())
}

#[tokio::test]
async fn a_registered_namespace_is_described_by_name_and_by_id_and_survives_a_restart() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    client.register_namespace(register("orders", DAY)).await.unwrap();
    let shown = client.describe_namespace(describe("orders", "")).await.unwrap().into_inner();
    let info = shown.namespace_info.clone().unwrap();
    assert_eq!((info.name.as_str(), info.description.as_str(), info.state), ("orders", "all orders", 1));
    assert_eq!(info.limits.unwrap().blob_size_limit_error, 2 * 1024 * 1024);
    let can = info.capabilities.unwrap();
    assert!(can.eager_workflow_start && can.sync_update && can.async_update && !can.worker_heartbeats);
    assert_eq!(shown.config.clone().unwrap().workflow_execution_retention_ttl, DAY);
    let by_id = client.describe_namespace(describe("", &info.id)).await.unwrap().into_inner();
    assert_eq!(by_id, shown);

    let restarted = Server::on(server.store.clone(), Default::default()).await;
    let after = restarted.client().await.describe_namespace(describe("orders", "")).await.unwrap().into_inner();
    assert_eq!(after, shown);
}

#[tokio::test]
async fn names_are_taken_once_and_retention_has_a_floor() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let taken = code_and_text(client.register_namespace(register("default", DAY)).await.unwrap_err());
    assert_eq!(taken, (Code::AlreadyExists, "Namespace \"default\" already exists".to_owned()));
    let reserved = code_and_text(client.register_namespace(register("temporal-system", DAY)).await.unwrap_err());
    assert_eq!(reserved, (Code::AlreadyExists, "Namespace \"temporal-system\" already exists".to_owned()));
    let short = Some(Duration { seconds: 3599, nanos: 999_999_999 });
    let (code, text) = code_and_text(client.register_namespace(register("orders", short)).await.unwrap_err());
    assert_eq!(code, Code::InvalidArgument);
    let expected = "workflow_execution_retention_period is 3599.999999999s, at least 3600s is allowed";
    assert_eq!(text, expected);
    let unset = code_and_text(client.register_namespace(register("orders", None)).await.unwrap_err()).1;
    assert_eq!(unset, "workflow_execution_retention_period is not set, at least 3600s is allowed");
    let nameless = code_and_text(client.register_namespace(register("", DAY)).await.unwrap_err());
    assert_eq!(nameless, (Code::InvalidArgument, "namespace is not set".to_owned()));
    let global = wire::RegisterNamespaceRequest { is_global_namespace: true, ..register("orders", DAY) };
    assert_eq!(code_and_text(client.register_namespace(global).await.unwrap_err()).0, Code::FailedPrecondition);
    let missing = code_and_text(client.describe_namespace(describe("orders", "")).await.unwrap_err());
    assert_eq!(missing, (Code::NotFound, "Namespace orders is not found.".to_owned()));
}

#[tokio::test]
async fn updates_change_what_they_name_and_keep_the_rest() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    client.register_namespace(register("orders", DAY)).await.unwrap();
    let week = Some(Duration { seconds: 7 * 86_400, nanos: 0 });
    let update = wire::UpdateNamespaceRequest {
        namespace: "orders".to_owned(),
        update_info: Some(UpdateNamespaceInfo {
            description: "some orders".to_owned(),
            data: [("team".to_owned(), "blue".to_owned())].into(),
            ..Default::default()
        }),
        config: Some(NamespaceConfig { workflow_execution_retention_ttl: week, ..Default::default() }),
        ..Default::default()
    };
    let updated = client.update_namespace(update).await.unwrap().into_inner();
    let info = updated.namespace_info.unwrap();
    assert_eq!((info.description.as_str(), info.owner_email.as_str()), ("some orders", "ann@example.com"));
    let shown = client.describe_namespace(describe("orders", "")).await.unwrap().into_inner();
    assert_eq!(shown.config.unwrap().workflow_execution_retention_ttl, week);
    assert_eq!(shown.namespace_info.unwrap().data["team"], "blue");

    let update = wire::UpdateNamespaceRequest { namespace: "nowhere".to_owned(), ..Default::default() };
    assert_eq!(code_and_text(client.update_namespace(update).await.unwrap_err()).0, Code::NotFound);
}

#[tokio::test]
async fn few_binaries_are_bad_and_each_is_small() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let update = |numbers: std::ops::Range<u32>, reason: &str| {
        let marked = BadBinaryInfo { reason: reason.to_owned(), ..Default::default() };
        let binaries = numbers.map(|number| (format!("binary-{number}"), marked.clone())).collect();
        let config = NamespaceConfig { bad_binaries: Some(BadBinaries { binaries }), ..Default::default() };
        wire::UpdateNamespaceRequest { namespace: "other".to_owned(), config: Some(config), ..Default::default() }
    };
    client.update_namespace(update(0..10, "it leaks")).await.unwrap();
    // The same again are no more.
    client.update_namespace(update(5..10, "it leaks")).await.unwrap();
    let (code, text) = code_and_text(client.update_namespace(update(10..11, "it leaks")).await.unwrap_err());
    let why = "config.bad_binaries would have 11 entries, at most 10 are allowed";
    assert_eq!((code, text.as_str()), (Code::InvalidArgument, why));
    let (code, text) = code_and_text(client.update_namespace(update(0..1, &"x".repeat(3 << 20))).await.unwrap_err());
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.starts_with("config.bad_binaries.binaries[].reason is "), "{text}");
    let shown = client.describe_namespace(describe("other", "")).await.unwrap().into_inner();
    assert_eq!(shown.config.unwrap().bad_binaries.unwrap().binaries.len(), 10);
}

#[tokio::test]
async fn namespaces_are_listed_page_by_page() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    for name in ["a", "z"] {
        client.register_namespace(register(name, DAY)).await.unwrap();
    }
    let mut names = Vec::new();
    let mut request = wire::ListNamespacesRequest { page_size: 3, ..Default::default() };
    loop {
        let page = client.list_namespaces(request.clone()).await.unwrap().into_inner();
        assert!(page.namespaces.len() <= 3);
        names.extend(page.namespaces.into_iter().map(|shown| shown.namespace_info.unwrap().name));
        if page.next_page_token.is_empty() {
            break;
        }
        request.next_page_token = page.next_page_token;
    }
    assert_eq!(names, ["a", "default", "other", "z"]);
    let forged = wire::ListNamespacesRequest { next_page_token: "default".into(), ..Default::default() };
    let (code, text) = code_and_text(client.list_namespaces(forged).await.unwrap_err());
    assert_eq!((code, text.as_str()), (Code::InvalidArgument, "next_page_token is malformed: 7 bytes"));
}

#[tokio::test]
async fn what_one_frontend_changes_others_follow() {
    let ours = Server::start().await;
    let theirs = Server::on(ours.store.clone(), Default::default()).await;
    let update = wire::UpdateNamespaceRequest {
        namespace: "default".to_owned(),
        update_info: Some(UpdateNamespaceInfo { description: "changed".to_owned(), ..Default::default() }),
        ..Default::default()
    };
    ours.client().await.update_namespace(update).await.unwrap();
    let client = &mut theirs.client().await;
    loop {
        let shown = client.describe_namespace(describe("default", "")).await.unwrap().into_inner();
        if shown.namespace_info.unwrap().description == "changed" {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_deprecated_namespace_starts_nothing_new() {
    let server = Server::start().await;
    let client = &mut server.client().await;
    let deprecated = UpdateNamespaceInfo { state: 2, ..Default::default() };
    let update = wire::UpdateNamespaceRequest {
        namespace: "default".to_owned(),
        update_info: Some(deprecated),
        replication_config: client
            .describe_namespace(describe("default", ""))
            .await
            .unwrap()
            .into_inner()
            .replication_config,
        ..Default::default()
    };
    client.update_namespace(update).await.unwrap();
    let start = wire::StartWorkflowExecutionRequest {
        namespace: "default".to_owned(),
        workflow_id: "order-1".to_owned(),
        workflow_type: Some(WorkflowType { name: "Order".to_owned() }),
        task_queue: Some(TaskQueue { name: "orders".to_owned(), ..TaskQueue::default() }),
        ..Default::default()
    };
    let (code, text) = code_and_text(client.start_workflow_execution(start).await.unwrap_err());
    assert_eq!(code, Code::FailedPrecondition);
    let expected = "namespace \"default\" is NAMESPACE_STATE_DEPRECATED, new workflows start in registered ones only";
    assert_eq!(text, expected);
    let poll = wire::PollWorkflowTaskQueueRequest {
        namespace: "default".to_owned(),
        task_queue: Some(TaskQueue { name: "empty".to_owned(), ..TaskQueue::default() }),
        ..Default::default()
    };
    client.poll_workflow_task_queue(poll).await.expect("what runs may finish");
}

#[tokio::test]
async fn registrations_above_their_rate_are_refused_with_a_time_to_retry() {
    let quotas =
        QuotaSettings { namespace_changes_rps: 0.01, namespace_changes_burst: 2.0, ..QuotaSettings::default() };
    let server = Server::on(MemoryStore::new(), FrontendSettings { quotas, ..FrontendSettings::default() }).await;
    let client = &mut server.client().await;
    for name in ["a", "b"] {
        client.register_namespace(register(name, DAY)).await.unwrap();
    }
    let status = client.register_namespace(register("c", DAY)).await.unwrap_err();
    let details = frontend::RpcStatus::decode(status.details()).unwrap().details;
    let names: Vec<_> = details.iter().map(|any| any.type_url.rsplit('.').next().unwrap()).collect();
    assert_eq!(names, ["ResourceExhaustedFailure", "RetryInfo"]);
    let text = "this frontend registers or updates 0.01 namespaces per second, 2 in a burst, try again";
    assert_eq!(code_and_text(status), (Code::ResourceExhausted, text.to_owned()));
    let taken = code_and_text(client.register_namespace(register("a", DAY)).await.unwrap_err());
    assert_eq!(taken.0, Code::ResourceExhausted, "whatever the name");
}
