//! Every row of the table of errors, as a client receives it.

use std::time::Duration;

use api::temporal::api::common::v1::WorkflowExecution;
use api::temporal::api::enums::v1::ResourceExhaustedCause;
use api::temporal::api::errordetails::v1 as details;
use api::temporal::api::workflowservice::v1 as wire;
use calls::ServiceError;
use frontend::RpcStatus;
use prost::Message;
use tonic::{Code, Status};

use super::server::Server;

fn detail(status: &Status) -> (String, bytes::Bytes) {
    if status.details().is_empty() {
        return Default::default();
    }
    let mut rpc = RpcStatus::decode(status.details()).unwrap();
    let any = rpc.details.remove(0);
    (any.type_url, any.value.into())
}

#[tokio::test]
async fn rejections_of_history_arrive_with_code_text_and_detail() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let text = || "because of that".to_owned();
    let table = [
        (ServiceError::InvalidArgument(text()), Code::InvalidArgument, ""),
        (ServiceError::NotFound(text()), Code::NotFound, "NotFoundFailure"),
        (
            ServiceError::WorkflowAlreadyStarted {
                message: text(),
                start_request_id: "a".to_owned(),
                run_id: "b".to_owned(),
                first_execution_run_id: "c".to_owned(),
            },
            Code::AlreadyExists,
            "WorkflowExecutionAlreadyStartedFailure",
        ),
        (
            ServiceError::CancellationAlreadyRequested(text()),
            Code::AlreadyExists,
            "CancellationAlreadyRequestedFailure",
        ),
        (ServiceError::QueryFailed { message: text(), failure: None }, Code::InvalidArgument, "QueryFailedFailure"),
        (ServiceError::WorkflowNotReady(text()), Code::FailedPrecondition, "WorkflowNotReadyFailure"),
        (ServiceError::FailedPrecondition(text()), Code::FailedPrecondition, ""),
        (
            ServiceError::ResourceExhausted {
                cause: ResourceExhaustedCause::BusyWorkflow,
                message: text(),
                retry_after: Some(Duration::from_millis(20)),
            },
            Code::ResourceExhausted,
            "ResourceExhaustedFailure",
        ),
        (ServiceError::PermissionDenied(text()), Code::PermissionDenied, "PermissionDeniedFailure"),
        (ServiceError::Unavailable(text()), Code::Unavailable, ""),
        (ServiceError::DeadlineExceeded(text()), Code::DeadlineExceeded, ""),
        (ServiceError::DataLoss(text()), Code::DataLoss, ""),
        (ServiceError::Unimplemented(text()), Code::Unimplemented, ""),
        (ServiceError::Internal(text()), Code::Internal, ""),
    ];
    for (error, code, name) in table {
        server.neighbours.fail_next(error);
        let request = wire::DescribeWorkflowExecutionRequest {
            namespace: "default".to_owned(),
            execution: Some(WorkflowExecution { workflow_id: "order-1".to_owned(), run_id: String::new() }),
        };
        let status = client.describe_workflow_execution(request).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, "because of that"));
        let expected = match name {
            "" => String::new(),
            name => format!("type.googleapis.com/temporal.api.errordetails.v1.{name}"),
        };
        assert_eq!(detail(&status).0, expected);
    }
}

#[tokio::test]
async fn an_unknown_namespace_is_named_in_text_and_detail() {
    let server = Server::start().await;
    let request = wire::DescribeWorkflowExecutionRequest {
        namespace: "nowhere".to_owned(),
        execution: Some(WorkflowExecution { workflow_id: "order-1".to_owned(), run_id: String::new() }),
    };
    let status = server.client().await.describe_workflow_execution(request).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::NotFound, "Namespace nowhere is not found."));
    let (url, value) = detail(&status);
    assert_eq!(url, "type.googleapis.com/temporal.api.errordetails.v1.NamespaceNotFoundFailure");
    assert_eq!(details::NamespaceNotFoundFailure::decode(value).unwrap().namespace, "nowhere");
    assert!(server.neighbours.seen().is_empty());
}
