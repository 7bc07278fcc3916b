//! The table, row by row.

use api::temporal::api::failure::v1::Failure;
use prost::Message;

use super::*;

fn row_of(error: ServiceError) -> (Code, String, String) {
    let status = to_status(&error, 4000);
    let detail = match status.details() {
        [] => String::new(),
        bytes => {
            let rpc = RpcStatus::decode(bytes).unwrap();
            assert_eq!(rpc.code, status.code() as i32);
            assert_eq!(rpc.message, status.message());
            let names: Vec<_> = rpc.details.iter().map(|any| any.type_url.rsplit('.').next().unwrap()).collect();
            names.join(" ")
        }
    };
    (status.code(), detail, status.message().to_owned())
}

#[test]
fn every_error_has_its_code_and_detail() {
    let text = || "because".to_owned();
    let table = [
        (ServiceError::InvalidArgument(text()), Code::InvalidArgument, ""),
        (ServiceError::NotFound(text()), Code::NotFound, "NotFoundFailure"),
        (ServiceError::NamespaceAlreadyExists(text()), Code::AlreadyExists, "NamespaceAlreadyExistsFailure"),
        (
            ServiceError::WorkflowAlreadyStarted {
                message: text(),
                start_request_id: "r".to_owned(),
                run_id: "u".to_owned(),
                first_execution_run_id: "f".to_owned(),
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
                cause: ResourceExhaustedCause::RpsLimit,
                message: text(),
                retry_after: None,
            },
            Code::ResourceExhausted,
            "ResourceExhaustedFailure",
        ),
        (
            ServiceError::ResourceExhausted {
                cause: ResourceExhaustedCause::RpsLimit,
                message: text(),
                retry_after: Some(Duration::ZERO),
            },
            Code::ResourceExhausted,
            "ResourceExhaustedFailure RetryInfo",
        ),
        (ServiceError::PermissionDenied(text()), Code::PermissionDenied, "PermissionDeniedFailure"),
        (ServiceError::Unavailable(text()), Code::Unavailable, ""),
        (ServiceError::DeadlineExceeded(text()), Code::DeadlineExceeded, ""),
        (ServiceError::DataLoss(text()), Code::DataLoss, ""),
        (ServiceError::Unimplemented(text()), Code::Unimplemented, ""),
        (ServiceError::Internal(text()), Code::Internal, ""),
    ];
    for (error, code, detail) in table {
        assert_eq!(row_of(error), (code, detail.to_owned(), text()));
    }
    let missing = row_of(ServiceError::NamespaceNotFound("orders".to_owned()));
    let text = "Namespace orders is not found.".to_owned();
    assert_eq!(missing, (Code::NotFound, "NamespaceNotFoundFailure".to_owned(), text));
}

fn detail_of<M: Message + Default>(error: ServiceError) -> M {
    let rpc = RpcStatus::decode(to_status(&error, 4000).details()).unwrap();
    assert!(rpc.details[0].type_url.starts_with("type.googleapis.com/temporal.api.errordetails.v1."));
    M::decode(&*rpc.details[0].value).unwrap()
}

#[test]
fn details_say_what_clients_branch_on() {
    let started: details::WorkflowExecutionAlreadyStartedFailure = detail_of(ServiceError::WorkflowAlreadyStarted {
        message: String::new(),
        start_request_id: "request".to_owned(),
        run_id: "run".to_owned(),
        first_execution_run_id: "first".to_owned(),
    });
    assert_eq!((started.start_request_id.as_str(), started.run_id.as_str()), ("request", "run"));
    assert_eq!(started.first_execution_run_id, "first");

    let exhausted: details::ResourceExhaustedFailure = detail_of(ServiceError::ResourceExhausted {
        cause: ResourceExhaustedCause::ConcurrentLimit,
        message: String::new(),
        retry_after: None,
    });
    assert_eq!(exhausted.cause, ResourceExhaustedCause::ConcurrentLimit as i32);
    assert_eq!(exhausted.scope, ResourceExhaustedScope::Namespace as i32);
}

#[test]
fn no_error_outgrows_the_trailers_that_clients_accept() {
    let failure = Failure { message: "m".repeat(1 << 20), stack_trace: "s".repeat(1 << 20), ..Failure::default() };
    let text = "é".repeat(1 << 20);
    let query = ServiceError::QueryFailed { message: text.clone(), failure: Some(Box::new(failure)) };
    for error in
        [query, ServiceError::NamespaceNotFound(text.clone()), ServiceError::InvalidArgument("a".repeat(1 << 20))]
    {
        let status = to_status(&error, 4000);
        assert!(status.message().chars().count() <= 4000);
        let headers = status.into_http::<tonic::body::Body>();
        let bytes: usize = headers.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        assert!(bytes < 16 * 1024, "{bytes}");
    }
    let exact = ServiceError::InvalidArgument("a".repeat(4001));
    assert_eq!(to_status(&exact, 4000).message().len(), 4000);
}

#[test]
fn a_moving_shard_is_unavailable_with_a_hint_when_to_retry() {
    let status = to_status(&ServiceError::NotOwner("the shard is moving".to_owned()), 4000);
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the shard is moving"));
    let rpc = RpcStatus::decode(status.details()).unwrap();
    assert_eq!(rpc.details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
}

#[test]
fn an_exhausted_resource_says_when_to_retry_in_the_bytes_of_google_rpc() {
    let error = ServiceError::ResourceExhausted {
        cause: ResourceExhaustedCause::SystemOverloaded,
        message: "full".to_owned(),
        retry_after: Some(Duration::from_millis(2_500)),
    };
    let rpc = RpcStatus::decode(to_status(&error, 4000).details()).unwrap();
    assert!(rpc.details[0].type_url.ends_with("ResourceExhaustedFailure"), "the API's own comes first");
    assert_eq!(rpc.details[1].type_url, "type.googleapis.com/google.rpc.RetryInfo");
    // Field 1, a message of 8 bytes: its field 1 is 2 (seconds), its field 2 is 500,000,000 (nanoseconds).
    assert_eq!(rpc.details[1].value, [0x0a, 8, 0x08, 2, 0x10, 0x80, 0xca, 0xb5, 0xee, 0x01]);
}
