//! Which methods are served, what the others answer, health and reflection.

use std::collections::BTreeSet;

use api::temporal::api::workflowservice::v1 as wire;
use prost_reflect::{DescriptorPool, Kind, MessageDescriptor};
use tonic::Code;

use super::raw;
use super::server::Server;

const SERVED: &[&str] = &[
    "GetSystemInfo",
    "GetClusterInfo",
    "RegisterNamespace",
    "DescribeNamespace",
    "ListNamespaces",
    "UpdateNamespace",
    "StartWorkflowExecution",
    "SignalWorkflowExecution",
    "SignalWithStartWorkflowExecution",
    "RequestCancelWorkflowExecution",
    "TerminateWorkflowExecution",
    "ResetWorkflowExecution",
    "DescribeWorkflowExecution",
    "GetWorkflowExecutionHistory",
    "GetWorkflowExecutionHistoryReverse",
    "QueryWorkflow",
    "PollWorkflowTaskQueue",
    "PollActivityTaskQueue",
    "PollNexusTaskQueue",
    "RespondWorkflowTaskCompleted",
    "RespondWorkflowTaskFailed",
    "RespondQueryTaskCompleted",
    "RecordActivityTaskHeartbeat",
    "RecordActivityTaskHeartbeatById",
    "RespondActivityTaskCompleted",
    "RespondActivityTaskCompletedById",
    "RespondActivityTaskFailed",
    "RespondActivityTaskFailedById",
    "RespondActivityTaskCanceled",
    "RespondActivityTaskCanceledById",
    "ResetStickyTaskQueue",
    "ShutdownWorker",
    "DescribeTaskQueue",
    "UpdateWorkflowExecution",
    "PollWorkflowExecutionUpdate",
    "ExecuteMultiOperation",
];

/// Of OperatorService.
const SERVED_TO_OPERATORS: &[&str] = &["ListClusters"];

#[tokio::test]
async fn every_method_of_the_descriptors_is_served_or_says_that_it_is_not() {
    let server = Server::start().await;
    let channel = server.channel().await;
    let pool = DescriptorPool::decode(api::DESCRIPTORS).unwrap();
    let mut unserved = 0;
    let mut served = BTreeSet::new();
    for service in pool.services() {
        for method in service.methods() {
            let path = format!("/{}/{}", service.full_name(), method.name());
            let answer = raw::call(&channel, &path, "").await;
            let ours = match service.full_name() {
                "temporal.api.workflowservice.v1.WorkflowService" => SERVED,
                "temporal.api.operatorservice.v1.OperatorService" => SERVED_TO_OPERATORS,
                _ => &[],
            };
            if ours.contains(&method.name()) {
                let code = answer.err().map_or(Code::Ok, |status| status.code());
                assert!(matches!(code, Code::Ok | Code::InvalidArgument | Code::NotFound), "{path} {code:?}");
                served.insert(method.name().to_owned());
            } else {
                let status = answer.unwrap_err();
                let text =
                    format!("unknown method {} for service {}: not implemented", method.name(), service.full_name());
                assert_eq!((status.code(), status.message()), (Code::Unimplemented, text.as_str()));
                unserved += 1;
            }
        }
    }
    assert_eq!(served.len(), SERVED.len() + SERVED_TO_OPERATORS.len());
    assert!(unserved > 80, "the walk saw {unserved} methods that are not served");
}

#[tokio::test]
async fn unknown_paths_and_services_get_the_same_error() {
    let server = Server::start().await;
    let channel = server.channel().await;
    let paths = [
        (
            "/temporal.api.workflowservice.v1.WorkflowService/Nonsense",
            "Nonsense",
            "temporal.api.workflowservice.v1.WorkflowService",
        ),
        ("/no.such.Service/Method", "Method", "no.such.Service"),
        ("/nothing", "nothing", ""),
        ("/a/b/c", "c", "a/b"),
    ];
    for (path, method, service) in paths {
        let status = raw::call(&channel, path, "").await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
        assert_eq!(status.message(), format!("unknown method {method} for service {service}: not implemented"));
    }
}

#[tokio::test]
async fn capabilities_are_what_is_here() {
    let server = Server::start().await;
    let info = server.client().await.get_system_info(wire::GetSystemInfoRequest {}).await.unwrap().into_inner();
    assert!(info.server_version.starts_with("1."), "SDKs and UI read a semantic version: {}", info.server_version);
    let can = info.capabilities.unwrap();
    assert!(can.signal_and_query_header && can.internal_error_differentiation && can.encoded_failure_attributes);
    assert!(can.activity_failure_include_heartbeat && can.upsert_memo && can.eager_workflow_start && can.sdk_metadata);
    assert!(can.build_id_based_versioning, "or workers do not say which build they are");
    assert!(!can.supports_schedules && !can.nexus);
    assert!(!can.count_group_by_execution_status);
}

#[tokio::test]
async fn the_cluster_keeps_its_id_across_restarts() {
    let first = Server::start().await;
    let request = wire::GetClusterInfoRequest {};
    let before = first.client().await.get_cluster_info(request).await.unwrap().into_inner();
    let second = Server::on(first.store.clone(), Default::default()).await;
    let after = second.client().await.get_cluster_info(request).await.unwrap().into_inner();
    assert_eq!(before.cluster_id.len(), 36);
    assert_eq!(before, after);
    assert_eq!((after.history_shard_count, after.persistence_store.as_str()), (4, "memory"));
}

#[tokio::test]
async fn health_is_served_for_the_server_and_its_service() {
    use tonic_health::pb::health_client::HealthClient;
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus};
    let server = Server::start().await;
    let mut health = HealthClient::new(server.channel().await);
    let services =
        ["", "temporal.api.workflowservice.v1.WorkflowService", "temporal.api.operatorservice.v1.OperatorService"];
    for service in services {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap();
        assert_eq!(answer.into_inner().status(), ServingStatus::Serving);
    }
    let unknown = health.check(HealthCheckRequest { service: "no.such.Service".to_owned() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}

#[tokio::test]
async fn reflection_lists_services_and_files_with_their_http_routes() {
    use tokio_stream::StreamExt;
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

    let server = Server::start().await;
    let mut reflection = ServerReflectionClient::new(server.channel().await);
    let ask = |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let symbol = "temporal.api.workflowservice.v1.WorkflowService".to_owned();
    let requests =
        [ask(MessageRequest::ListServices(String::new())), ask(MessageRequest::FileContainingSymbol(symbol.clone()))];
    let answers = reflection.server_reflection_info(tokio_stream::iter(requests)).await.unwrap().into_inner();
    let answers: Vec<_> = answers.map(|answer| answer.unwrap().message_response.unwrap()).collect().await;
    let [MessageResponse::ListServicesResponse(services), MessageResponse::FileDescriptorResponse(file)] = &answers[..]
    else {
        panic!("{answers:?}");
    };
    assert!(services.service.iter().any(|service| service.name == symbol));
    let bytes = &file.file_descriptor_proto[0];
    let route = b"/api/v1/namespaces/{namespace}/workflows";
    assert!(bytes.windows(route.len()).any(|window| window == route), "the http option is kept");
}

#[tokio::test]
async fn reflection_answers_the_former_version_too() {
    use tokio_stream::StreamExt;
    use tonic_reflection::pb::v1alpha::ServerReflectionRequest;
    use tonic_reflection::pb::v1alpha::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1alpha::server_reflection_request::MessageRequest;

    let server = Server::start().await;
    let mut reflection = ServerReflectionClient::new(server.channel().await);
    let message_request = Some(MessageRequest::FileContainingSymbol("grpc.health.v1.Health".to_owned()));
    let requests = tokio_stream::iter([ServerReflectionRequest { host: String::new(), message_request }]);
    let mut answers = reflection.server_reflection_info(requests).await.unwrap().into_inner();
    let answer = format!("{:?}", answers.next().await.unwrap().unwrap().message_response);
    assert!(answer.contains("FileDescriptorResponse"), "{answer}");
}

/// Collects the messages below `message` that have a field which names a namespace.
fn namespaced(message: &MessageDescriptor, seen: &mut BTreeSet<String>, found: &mut BTreeSet<String>) {
    for field in message.fields() {
        if field.name().contains("namespace") {
            found.insert(format!("{}.{}", message.full_name(), field.name()));
        }
        if let Kind::Message(inner) = field.kind()
            && seen.insert(inner.full_name().to_owned())
        {
            namespaced(&inner, seen, found);
        }
    }
}

#[test]
fn every_field_that_names_a_namespace_within_a_request_has_been_thought_about() {
    let pool = DescriptorPool::decode(api::DESCRIPTORS).unwrap();
    let service = pool.get_service_by_name("temporal.api.workflowservice.v1.WorkflowService").unwrap();
    let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
    for method in service.methods().filter(|method| SERVED.contains(&method.name())) {
        for field in method.input().fields() {
            if let Kind::Message(inner) = field.kind() {
                namespaced(&inner, &mut seen, &mut found);
            }
        }
    }
    let reviewed = [
        // Must be the workflow's own: the execution refuses the command otherwise.
        "temporal.api.command.v1.RequestCancelExternalWorkflowExecutionCommandAttributes.namespace",
        "temporal.api.command.v1.SignalExternalWorkflowExecutionCommandAttributes.namespace",
        "temporal.api.command.v1.StartChildWorkflowExecutionCommandAttributes.namespace",
        // Operations are refused that name another than the request.
        "temporal.api.workflowservice.v1.StartWorkflowExecutionRequest.namespace",
        "temporal.api.workflowservice.v1.UpdateWorkflowExecutionRequest.namespace",
    ];
    // Text that is shown and never acted upon.
    let shown = [
        "temporal.api.common.v1.Link.Activity.namespace",
        "temporal.api.common.v1.Link.Callback.namespace",
        "temporal.api.common.v1.Link.NexusOperation.namespace",
        "temporal.api.common.v1.Link.Workflow.namespace",
        "temporal.api.common.v1.Link.WorkflowEvent.namespace",
        "temporal.api.failure.v1.ChildWorkflowExecutionFailureInfo.namespace",
    ];
    let thought_about: BTreeSet<String> = reviewed.iter().chain(&shown).map(|&name| name.to_owned()).collect();
    assert_eq!(found, thought_about);
}
