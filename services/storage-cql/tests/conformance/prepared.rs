//! A database that forgets what was prepared: it keeps as many statements as fit into a cache, and other clients fill that
//! too.

use bytes::Bytes;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use storage::{Append, CompareAndSet, GroupId, LogId, OwnerNonce, PartitionWrite, ScanOrder, ScanRange, Seq};

use crate::connect;
use crate::database::{Database, Start};

/// How many statements of this keyspace the node remembers.
async fn remembered(session: &Session, keyspace: &str) -> usize {
    let all = session.query_unpaged("SELECT query_string FROM system.prepared_statements", ()).await.unwrap();
    let rows = all.into_rows_result().unwrap();
    rows.rows::<(String,)>().unwrap().filter(|row| row.as_ref().unwrap().0.contains(&format!(" {keyspace}."))).count()
}

/// Fills the node's cache with statements that are asked for often, until none of this keyspace is left in it.
async fn fill_cache(session: &Session, keyspace: &str) {
    for turn in 0..200 {
        for number in 0..20 {
            let cql = format!("SELECT key FROM system.local WHERE key = '{turn} {number} {}'", "x".repeat(8000));
            for _ in 0..3 {
                session.prepare(cql.as_str()).await.unwrap();
            }
        }
        if remembered(session, keyspace).await == 0 {
            return;
        }
    }
    panic!("the node still remembers {} statements", remembered(session, keyspace).await);
}

#[tokio::test]
async fn what_the_database_has_forgotten_is_prepared_again_unnoticed() {
    let more = ["--set", "prepared_statements_cache_size=1MiB"].map(str::to_owned).to_vec();
    let database = Database::start(Start { name: "forgetful", more, ..Start::ONE });
    database.apply_schema().await;
    let settings = database.settings();
    let session = SessionBuilder::new().known_nodes(&settings.contact_points).build().await.unwrap();
    let store = connect(&settings).await;
    let (ports, id, content) = (store.store(), LogId("forgotten".into()), Bytes::from("content"));
    let epoch = ports.log.open(&id, OwnerNonce(1)).await.unwrap().head.epoch;
    for round in 1..=2_u64 {
        assert!(remembered(&session, &settings.keyspace).await > 0, "round {round}");
        fill_cache(&session, &settings.keyspace).await;
        let appended = ports.log.append(&id, epoch, Seq(round), GroupId(round.into()), content.clone()).await;
        assert_eq!(appended, Append::Appended, "round {round}");
        fill_cache(&session, &settings.keyspace).await;
        assert_eq!(ports.log.epoch(&id).await.unwrap(), epoch);
        let write = PartitionWrite {
            partition: "rows".into(),
            version: round,
            puts: vec![("row".into(), content.clone())],
            deletes: vec![],
        };
        ports.table.write(vec![write]).await.unwrap();
        let page = ports.table.scan(&"rows".into(), ScanRange::default(), ScanOrder::Ascending, 9).await.unwrap();
        assert_eq!(page.rows.len(), 1);
        let set = ports.registry.compare_and_set("key", round - 1, Some(content.clone())).await;
        assert_eq!(set, CompareAndSet::Applied);
    }
    let tail = ports.log.open(&id, OwnerNonce(2)).await.unwrap().tail;
    assert_eq!(tail.len(), 2);
    database.stop();
}
