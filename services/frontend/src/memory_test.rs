//! Bounds, shares and the reserve.

use api::temporal::api::namespace::v1::{NamespaceConfig, NamespaceInfo};

use super::*;

const BOUNDS: Bounds = Bounds { total: 1000, reserve: 0, connection: 1000, namespace: 1000 };

fn namespace(name: &str) -> Arc<Namespace> {
    let (info, config) = (NamespaceInfo::default(), NamespaceConfig::default());
    Arc::new(Namespace { id: NamespaceId::new(name), name: name.to_owned(), info, config })
}

#[test]
fn requests_share_what_there_is_and_give_it_back() {
    let memory = RequestMemory::new(BOUNDS);
    let request = || memory.request(ConnectionShare::default());
    let (mut first, mut second) = (request(), request());
    first.grow(600).unwrap();
    let refused = second.grow(401).unwrap_err().to_string();
    assert_eq!(refused, "requests in flight hold 600 bytes, at most 1000 are allowed, try again");
    first.grow(400).unwrap();
    assert!(second.grow(1).is_err());
    assert!(first.grow(1).is_err());
    let part = first.split(300);
    drop(first);
    assert_eq!(memory.held.load(Ordering::Relaxed), 300, "what was refused is not held");
    drop(part);
    second.grow(1000).unwrap();
    second.shrink(999);
    assert_eq!(memory.held.load(Ordering::Relaxed), 1);
}

#[test]
fn one_connection_leaves_room_for_others() {
    let memory = RequestMemory::new(Bounds { connection: 250, ..BOUNDS });
    let flooding = ConnectionShare::default();
    let held: Vec<_> = (0..25)
        .map(|_| {
            let mut held = memory.request(flooding.clone());
            held.grow(10).unwrap();
            held
        })
        .collect();
    let refused = memory.request(flooding.clone()).grow(10).unwrap_err().to_string();
    assert_eq!(refused, "requests of this connection hold 250 bytes, at most 250 are allowed, try again");
    memory.request(ConnectionShare::default()).grow(250).unwrap();
    drop(held);
    memory.request(flooding).grow(250).unwrap();
}

#[tokio::test]
async fn one_namespace_leaves_room_for_others() {
    let memory = RequestMemory::new(Bounds { namespace: 500, ..BOUNDS });
    let call = async |name: &'static str, bytes: usize| {
        let mut held = memory.request(ConnectionShare::default());
        held.grow(bytes).unwrap();
        let account = Account::new(held);
        (account.watch(async { attribute(&namespace(name)) }).await, account)
    };
    let (admitted, first) = call("a", 500).await;
    admitted.unwrap();
    let (refused, _account) = call("a", 1).await;
    let expected = "requests to namespace \"a\" hold 500 bytes, at most 500 are allowed, try again";
    assert_eq!(refused.unwrap_err().to_string(), expected);
    assert_eq!(first.with(|held| held.grow(1)).unwrap_err().to_string(), expected, "its answer counts too");
    call("b", 499).await.0.unwrap();
    drop(first);
    call("a", 500).await.0.unwrap();
    assert_eq!(memory.held.load(Ordering::Relaxed), 1);
}

#[test]
fn small_requests_have_a_reserve() {
    let memory = RequestMemory::new(Bounds { total: 4 * SMALL, reserve: SMALL, connection: 4 * SMALL, ..BOUNDS });
    let (mut large, mut other) =
        (memory.request(ConnectionShare::default()), memory.request(ConnectionShare::default()));
    large.grow(3 * SMALL).unwrap();
    let refused = other.grow(SMALL + 1).unwrap_err().to_string();
    assert_eq!(refused, "requests in flight hold 196608 bytes, at most 196608 are allowed, try again");
    other.grow(SMALL).unwrap();
    assert!(memory.request(ConnectionShare::default()).grow(1).is_err(), "the reserve has an end too");
}

#[test]
fn shares_have_room_for_the_largest_request() {
    let mut settings = TransportSettings::default();
    let mib = 1024 * 1024;
    let expected = Bounds { total: 256 * mib, reserve: 32 * mib, connection: 64 * mib, namespace: 128 * mib };
    let close = |a: usize, b: usize| a.abs_diff(b) < 3 * mib;
    let bounds = Bounds::of(&settings);
    assert!(close(bounds.reserve, expected.reserve) && close(bounds.connection, expected.connection), "{bounds:?}");
    assert!(bounds.total == expected.total && close(bounds.namespace, expected.namespace), "{bounds:?}");
    settings.in_flight_bytes = 64 * mib;
    assert_eq!(Bounds::of(&settings).connection, 40 * mib);
    settings.in_flight_bytes = mib;
    assert_eq!(Bounds::of(&settings).connection, mib);
}
