//! Connections whose peer does not read.

use bytes::Bytes;
use ids::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::memory::{Bounds, RequestMemory};

const WITHIN: Duration = Duration::from_secs(30);

fn begun() -> (Watched<DuplexStream>, DuplexStream, Runtime) {
    let runtime = Runtime::virtual_from(Timestamp::from_millis(1_000_000));
    let (connection, peer) = duplex(16);
    let (memory, unwritten) = Default::default();
    let period = Period::new(WITHIN / 2, runtime.clone());
    (Watched { connection, memory, unwritten, period }, peer, runtime)
}

/// A part that the connection was given.
fn given(connection: &Watched<DuplexStream>) -> Bytes {
    let memory = RequestMemory::new(Bounds { total: 1, reserve: 0, connection: 2, namespace: 1 });
    let mut held = memory.request(connection.memory.clone());
    held.grow(1).unwrap();
    connection.unwritten.part(Bytes::from_static(b"x"), held)
}

#[tokio::test(start_paused = true)]
async fn a_connection_ends_when_a_part_stays_unwritten() {
    let (mut connection, _peer, runtime) = begun();
    let part = given(&connection);
    let began = runtime.now();
    let error = connection.read_u8().await.unwrap_err();
    assert_eq!(error.to_string(), "the peer does not read what it asked for");
    let took = runtime.now().since(began);
    assert!((WITHIN..=WITHIN * 3 / 2 + Duration::from_millis(10)).contains(&took), "{took:?}");
    drop(part);
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_writes_are_blocked_ends_as_well() {
    let (mut connection, _peer, _) = begun();
    let _part = given(&connection);
    let error = connection.write_all(&[0; 17]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn a_connection_stays_when_there_is_always_something_but_nothing_for_long() {
    let (mut connection, mut peer, runtime) = begun();
    let mut part = given(&connection);
    for _ in 0..10 {
        assert!(runtime.timeout(WITHIN * 2 / 3, connection.read_u8()).await.is_none());
        part = given(&connection);
    }
    drop(part);
    assert!(runtime.timeout(10 * WITHIN, connection.read_u8()).await.is_none(), "nothing waits");
    peer.write_u8(7).await.unwrap();
    assert_eq!(connection.read_u8().await.unwrap(), 7);
}
