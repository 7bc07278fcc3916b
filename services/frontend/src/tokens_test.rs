//! Tokens cannot be forged, changed, or taken for another kind or namespace.

use bytes::Bytes;
use calls::ServiceError;
use calls::token::WorkflowTaskToken;
use runtime::Runtime;
use storage::memory::MemoryStore;

use super::*;

fn keys(secret: &[u8]) -> Keys {
    Keys::of_secret(7, secret).unwrap()
}

fn message<T: std::fmt::Debug>(result: ServiceResult<T>) -> String {
    match result {
        Err(ServiceError::InvalidArgument(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_sealed_opens_and_nothing_else_does() {
    let ours = keys(b"ours");
    let token = seal(&ours, Kind::WorkflowTask, b"content");
    assert_eq!(open(&ours, Kind::WorkflowTask, &token).unwrap(), "content");

    for position in 0..token.len() {
        for bit in 0..8 {
            let mut forged = token.to_vec();
            forged[position] ^= 1 << bit;
            assert!(open(&ours, Kind::WorkflowTask, &Bytes::from(forged)).is_err(), "byte {position} bit {bit}");
        }
    }
    for length in 0..token.len() {
        assert!(open(&ours, Kind::WorkflowTask, &token.slice(..length)).is_err(), "{length} bytes");
    }
}

#[test]
fn a_token_of_one_kind_is_none_of_another() {
    let ours = keys(b"ours");
    let token = seal(&ours, Kind::WorkflowTask, b"content");
    for kind in [Kind::ActivityTask, Kind::QueryTask, Kind::HistoryPage] {
        let refused = message(open(&ours, kind, &token));
        assert!(refused.ends_with("is not one that this cluster has given out"), "{refused}");
    }
}

#[test]
fn a_token_of_another_cluster_is_refused() {
    let token = seal(&keys(b"theirs"), Kind::ActivityTask, b"content");
    assert_eq!(
        message(open(&keys(b"ours"), Kind::ActivityTask, &token)),
        "task_token is not one that this cluster has given out"
    );
}

#[test]
fn no_token_and_no_such_token_are_different_errors() {
    let ours = keys(b"ours");
    assert_eq!(message(open(&ours, Kind::WorkflowTask, &Bytes::new())), "task_token is not set");
    let short = Bytes::from_static(b"short");
    assert_eq!(message(open(&ours, Kind::HistoryPage, &short)), "next_page_token is malformed: 5 bytes");
    assert_eq!(seal(&ours, Kind::WorkflowTask, b""), Bytes::new());
}

#[test]
fn a_token_names_its_namespace() {
    let token = WorkflowTaskToken { namespace_id: "a-id".to_owned(), ..WorkflowTaskToken::default() };
    let namespace = |id: &str| Namespace {
        id: id.into(),
        name: "orders".to_owned(),
        info: Default::default(),
        config: Default::default(),
    };
    assert_eq!(check_namespace(Kind::WorkflowTask, &token, &namespace("a-id")), Ok(()));
    assert_eq!(
        message(check_namespace(Kind::WorkflowTask, &token, &namespace("b-id"))),
        "task_token belongs to another namespace than \"orders\""
    );
}

#[tokio::test]
async fn keys_are_drawn_once_and_survive_restarts() {
    let store = MemoryStore::new();
    let registry = store.store().registry;
    let runtime = Runtime::system();
    let (one, two) = tokio::join!(
        Keys::load_or_create(registry.as_ref(), &runtime),
        Keys::load_or_create(registry.as_ref(), &runtime)
    );
    let token = seal(&one.unwrap(), Kind::QueryTask, b"content");
    assert!(open(&two.unwrap(), Kind::QueryTask, &token).is_ok());

    let restarted = Keys::load_or_create(store.store().registry.as_ref(), &runtime).await.unwrap();
    assert!(open(&restarted, Kind::QueryTask, &token).is_ok());
    let elsewhere = Keys::load_or_create(MemoryStore::new().store().registry.as_ref(), &runtime).await.unwrap();
    assert!(open(&elsewhere, Kind::QueryTask, &token).is_err());
}
