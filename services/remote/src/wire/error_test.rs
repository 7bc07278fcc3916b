//! What an error's way over the wire must not change.

use api::temporal::api::failure::v1::Failure;
use proptest::prelude::*;
use prost::Message;

use super::*;

/// Any error. A new variant does not compile here until it is added to `number`.
fn errors() -> impl Strategy<Value = ServiceError> {
    (0..VARIANTS, ".{0,40}", ".{0,20}", proptest::option::of(".{0,20}")).prop_map(|(number, text, id, cause)| {
        let failure = cause.map(|cause| {
            let cause = Box::new(Failure { message: cause, ..Failure::default() });
            Box::new(Failure { message: id.clone(), cause: Some(cause), ..Failure::default() })
        });
        let error = variant(number, text, id, failure);
        assert_eq!(self::number(&error), number);
        error
    })
}

const VARIANTS: usize = 18;

fn variant(number: usize, text: String, id: String, failure: Option<Box<Failure>>) -> ServiceError {
    match number {
        0 => ServiceError::InvalidArgument(text),
        1 => ServiceError::NotFound(text),
        2 => ServiceError::NamespaceNotFound(text),
        3 => ServiceError::NamespaceAlreadyExists(text),
        4 => ServiceError::WorkflowAlreadyStarted {
            message: text,
            start_request_id: format!("request {id}"),
            run_id: format!("run {id}"),
            first_execution_run_id: format!("first {id}"),
        },
        5 => ServiceError::CancellationAlreadyRequested(text),
        6 => ServiceError::QueryFailed { message: text, failure },
        7 => ServiceError::WorkflowNotReady(text),
        8 => ServiceError::FailedPrecondition(text),
        9 => ServiceError::ResourceExhausted {
            cause: ResourceExhaustedCause::try_from(i32::try_from(id.chars().count() % 10).unwrap()).unwrap(),
            message: text,
            retry_after: failure.map(|failure| Duration::from_nanos(failure.encoded_len() as u64 * 1_000_000_007)),
        },
        10 => ServiceError::PermissionDenied(text),
        11 => ServiceError::NotOwner(text),
        12 => ServiceError::Unavailable(text),
        13 => ServiceError::DeadlineExceeded(text),
        14 => ServiceError::DataLoss(text),
        15 => ServiceError::Unimplemented(text),
        16 => ServiceError::MultiOperation {
            operation: id.len(),
            count: text.len(),
            error: Box::new(ServiceError::NotFound(text)),
        },
        _ => ServiceError::Internal(text),
    }
}

/// Exhaustive on purpose: a new variant fails to compile here, and belongs in [`VARIANTS`].
fn number(error: &ServiceError) -> usize {
    match error {
        ServiceError::InvalidArgument(_) => 0,
        ServiceError::NotFound(_) => 1,
        ServiceError::NamespaceNotFound(_) => 2,
        ServiceError::NamespaceAlreadyExists(_) => 3,
        ServiceError::WorkflowAlreadyStarted { .. } => 4,
        ServiceError::CancellationAlreadyRequested(_) => 5,
        ServiceError::QueryFailed { .. } => 6,
        ServiceError::WorkflowNotReady(_) => 7,
        ServiceError::FailedPrecondition(_) => 8,
        ServiceError::ResourceExhausted { .. } => 9,
        ServiceError::PermissionDenied(_) => 10,
        ServiceError::NotOwner(_) => 11,
        ServiceError::Unavailable(_) => 12,
        ServiceError::DeadlineExceeded(_) => 13,
        ServiceError::DataLoss(_) => 14,
        ServiceError::Unimplemented(_) => 15,
        ServiceError::MultiOperation { .. } => 16,
        ServiceError::Internal(_) => 17,
    }
}

proptest! {
    #[test]
    fn an_error_arrives_as_it_left(error in errors()) {
        let bytes = to_error(error.clone()).encode_to_vec();
        prop_assert_eq!(from_error(proto::Error::decode(&*bytes).unwrap()), error);
    }
}

#[test]
fn every_variant_has_a_kind_of_its_own() {
    let kinds = (0..VARIANTS).map(|number| to_error(variant(number, String::new(), String::new(), None)).kind);
    let kinds: std::collections::BTreeSet<i32> = kinds.collect();
    assert_eq!(kinds, (1..=18).collect());
}

#[test]
fn a_kind_that_only_a_newer_release_knows_keeps_its_text_and_whether_to_try_again() {
    let newer = |is_retryable| proto::Error {
        kind: 9999,
        text: "handed over".to_owned(),
        is_retryable,
        ..proto::Error::default()
    };
    assert_eq!(from_error(newer(true)), ServiceError::Unavailable("handed over".to_owned()));
    assert_eq!(from_error(newer(false)), ServiceError::Internal("handed over".to_owned()));
}
