//! The admin API of a cluster of fake processes, over real connections.

mod cluster_of_fakes;

use std::time::Duration;

use admin::ShardRows;
use admin::{AdminClient, AdminError, VoterReport};
use calls::ServiceError;
use cluster::Sharded;
use cluster_of_fakes::{Fake, Fakes, report};

const WITHIN: Duration = Duration::from_secs(60);

async fn client(fake: &Fake) -> AdminClient {
    AdminClient::connect(&fake.address, WITHIN).await.unwrap()
}

/// What a node reports of all shards. Nodes are given seconds to answer, and these ones' machine may be slow, so it is asked
/// again until it names just these as unreachable.
async fn shards(fake: &Fake, only: Option<Sharded>, unreachable: &[&str]) -> ShardRows {
    const TIMES: usize = 10;
    let mut rows = client(fake).await.shards(only, false).await.unwrap();
    for _ in 1..TIMES {
        if rows.unreachable.iter().map(|of| &of.node).eq(unreachable) {
            break;
        }
        rows = client(fake).await.shards(only, false).await.unwrap();
    }
    assert!(rows.unreachable.iter().map(|of| &of.node).eq(unreachable), "{:?}", rows.unreachable);
    rows
}

#[tokio::test]
async fn what_is_stored_is_verified_page_by_page() {
    let fakes = Fakes::start(&["a"], 1, 1).await;
    let mut node = client(fakes.of("a")).await;
    let (mut from, mut pages) = (None, Vec::new());
    loop {
        let page = node.verify(from).await.unwrap();
        from = page.next.clone();
        pages.push((page.partitions, page.rows, page.entries, page.problems));
        if from.is_none() {
            break;
        }
    }
    let damaged = vec!["a row is damaged".to_owned()];
    assert_eq!(pages, [(10, 25, 1, vec![]), (10, 25, 0, vec![]), (10, 25, 0, damaged)]);
}

#[tokio::test]
async fn any_node_reports_all_shards() {
    let fakes = Fakes::start(&["a", "b", "c"], 6, 2).await;
    fakes.assign(Sharded::History, &["a", "a", "b", "b", "c", ""]);
    fakes.assign(Sharded::Matching, &["a", "b"]);
    fakes.of("a").serve(vec![report(Sharded::History, 0, 3), report(Sharded::Matching, 0, 1)]);
    fakes.of("b").serve(vec![report(Sharded::History, 2, 7), report(Sharded::History, 3, 1)]);
    // A former owner that does not know it yet: the higher epoch comes first.
    fakes.of("c").serve(vec![report(Sharded::History, 2, 6), report(Sharded::History, 4, 2)]);
    for asked in ["a", "b", "c"] {
        let rows = shards(fakes.of(asked), None, &[]).await;
        let rows_shown: Vec<String> = rows
            .shards
            .iter()
            .map(|row| {
                let owner = row.owner.as_deref().unwrap_or("-");
                let serving = row.serving.as_ref().map_or("-".to_owned(), |by| format!("{}@{}", by.node, by.epoch));
                format!("{} {} {owner} {serving}", row.service, row.shard)
            })
            .collect();
        let expected = [
            "history 0 a a@3",
            "history 1 a -",
            "history 2 b b@7",
            "history 2 b c@6",
            "history 3 b b@1",
            "history 4 c c@2",
            "history 5 - -",
            "matching 0 a a@1",
            "matching 1 b -",
        ];
        assert_eq!(rows_shown, expected, "asked {asked}");
        let matching = shards(fakes.of(asked), Some(Sharded::Matching), &[]).await;
        assert_eq!(matching.shards.len(), 2);
    }
    let local = client(fakes.of("b")).await.shards(None, true).await.unwrap();
    assert_eq!(local.shards.iter().map(|row| row.shard).collect::<Vec<_>>(), [2, 3]);
    let serving = local.shards[0].serving.clone().unwrap();
    let expected = report(Sharded::History, 2, 7);
    assert_eq!(
        (serving.log_groups, serving.log_bytes, serving.dirty_entities, serving.dirty_bytes),
        (expected.log_groups, expected.log_bytes, expected.dirty_entities, expected.dirty_bytes)
    );
    assert_eq!(
        (serving.loaded_entities, serving.loaded_bytes, serving.last_position, serving.lag_ms),
        (expected.loaded_entities, expected.loaded_bytes, expected.last_position, expected.lag_ms)
    );
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_named_and_the_rest_is_reported() {
    let fakes = Fakes::start(&["a", "b", "gone", "hanging"], 4, 1).await;
    fakes.assign(Sharded::History, &["a", "b", "gone", "hanging"]);
    fakes.of("a").serve(vec![report(Sharded::History, 0, 1)]);
    fakes.of("b").serve(vec![report(Sharded::History, 1, 1)]);
    fakes.of("gone").stop().await;
    // A listener that accepts connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    fakes.point("hanging", &silent.local_addr().unwrap().to_string());
    let rows = shards(fakes.of("a"), Some(Sharded::History), &["gone", "hanging"]).await;
    assert!(rows.unreachable[0].why.contains("Connection refused"), "{:?}", rows.unreachable);
    assert!(rows.unreachable[1].why.contains("no answer from"), "{:?}", rows.unreachable);
    let served: Vec<bool> = rows.shards.iter().map(|row| row.serving.is_some()).collect();
    assert_eq!(served, [true, true, false, false]);
}

#[tokio::test]
async fn members_are_reported_with_and_without_a_leader() {
    let fakes = Fakes::start(&["a", "b"], 3, 1).await;
    fakes.assign(Sharded::History, &["a", "b", "b"]);
    fakes.of("a").lead(vec![("a", true, Some(-5)), ("b", false, None)]);
    let members = client(fakes.of("a")).await.members().await.unwrap();
    assert_eq!((members.term, members.voters.len(), members.leader_unreachable.clone()), (4, 1, None));
    assert_eq!(members.voters[0].id, "a");
    let b = &members.nodes[1];
    assert_eq!((b.id.as_str(), b.state.as_str(), b.history_shards, b.matching_shards), ("b", "up", 2, 0));
    assert_eq!(b.roles, ["history", "matching"]);
    assert_eq!(members.nodes[0].session.as_ref().unwrap().clock_offset_ms, Some(-5));
    assert!(!b.session.as_ref().unwrap().connected);

    let members = client(fakes.of("b")).await.members().await.unwrap();
    assert_eq!(members.leader_unreachable.as_deref(), Some("no leader answers"));
    assert_eq!((members.nodes.len(), members.voters.len()), (2, 0), "the ring is reported all the same");
    let ring = client(fakes.of("b")).await.ring().await.unwrap();
    assert_eq!(ring.history, [Some("a".into()), Some("b".into()), Some("b".to_owned())]);
    assert_eq!(ring.matching, [None]);
    assert_eq!(ring.version, members.ring_version);
}

#[tokio::test]
async fn commands_reach_the_process_as_they_were_meant() {
    let fakes = Fakes::start(&["a", "b"], 4, 2).await;
    let mut a = client(fakes.of("a")).await;
    assert_eq!(a.move_shard(Sharded::Matching, 1, Some("b".into())).await, Ok(2));
    assert_eq!(a.move_shard(Sharded::History, 3, None).await, Ok(3));
    assert_eq!(a.drain("b".into()).await, Ok(4));
    let voter = VoterReport { id: "c".into(), address: "h:1".into(), voting: false, leader: false, matched: 0 };
    assert_eq!(a.add_voter("c".into(), "h:1".into()).await, Ok(vec![voter]));
    assert_eq!(a.remove_voter("c".into()).await, Ok(vec![]));
    assert_eq!(a.dump_workflow("ns".into(), "wf".into()).await.unwrap(), "dump of wf in ns");
    let log = fakes.of("a").log();
    let expected = ["move matching/1 to b", "move history/3 back", "drain b", "add voter c at h:1", "remove voter c"];
    assert_eq!(log, expected);
    assert!(fakes.of("b").log().is_empty(), "commands are the asked node's to pass on");
}

#[tokio::test]
async fn all_nodes_flush_and_those_that_did_not_are_named() {
    let fakes = Fakes::start(&["a", "b", "c"], 4, 2).await;
    let flushed = client(fakes.of("a")).await.flush(false).await.unwrap();
    assert_eq!((flushed.flushed.len(), flushed.unreachable.len()), (3, 0));
    fakes.of("a").fail(ServiceError::Unavailable("the store is away".into()));
    fakes.of("b").fail(ServiceError::Unavailable("the store is away".into()));
    let flushed = client(fakes.of("a")).await.flush(false).await.unwrap();
    assert_eq!(flushed.flushed, ["c"]);
    let mut failed: Vec<String> = flushed.unreachable.iter().map(|of| format!("{}: {}", of.node, of.why)).collect();
    failed.sort();
    assert_eq!(failed, ["a: the store is away", "b: the store is away"]);
    let alone = client(fakes.of("c")).await.flush(true).await.unwrap();
    assert_eq!(alone.flushed, ["c"]);
}

#[tokio::test]
async fn a_process_other_than_the_callee_is_not_called() {
    let fakes = Fakes::start(&["a", "b", "c"], 4, 2).await;
    let others = Fakes::of_cluster("another", &["b"], 4, 2).await;
    others.of("b").serve(vec![report(Sharded::History, 0, 9)]);
    fakes.point("b", &others.of("b").address);
    fakes.restart("c", 2);
    let flushed = client(fakes.of("a")).await.flush(false).await.unwrap();
    assert_eq!(flushed.flushed, ["a"]);
    let why = |node: &str| flushed.unreachable.iter().find(|of| of.node == node).unwrap().why.clone();
    assert_eq!(why("b"), "another process is there: incarnation 1 of node b of cluster \"another\"");
    assert_eq!(why("c"), "another process is there: incarnation 1 of node c of cluster \"test\"");
    assert!(others.of("b").log().is_empty() && fakes.of("c").log().is_empty());
    let rows = shards(fakes.of("a"), Some(Sharded::History), &["b", "c"]).await;
    assert!(rows.shards.iter().all(|row| row.serving.is_none()), "{:?}", rows.shards);
}

#[tokio::test]
async fn refusals_name_what_is_allowed() {
    let fakes = Fakes::start(&["a", "b"], 4, 2).await;
    let mut a = client(fakes.of("a")).await;
    let refused = |text: &str| AdminError::Refused(text.to_owned());
    assert_eq!(
        a.move_shard(Sharded::History, 4, Some("b".into())).await,
        Err(refused("shard is 4, 0 to 3 are allowed"))
    );
    let unknown = Err(refused("no node is called \"x\", there are a, b"));
    assert_eq!(a.move_shard(Sharded::History, 3, Some("x".into())).await, unknown);
    assert_eq!(a.drain("x".into()).await, unknown);
    assert_eq!(a.drain(String::new()).await, Err(refused("no node is called \"\", there are a, b")));
    let needed = "id or address is not set, both are needed";
    assert_eq!(a.add_voter("c".into(), String::new()).await.unwrap_err(), refused(needed));
    let needed = "namespace_id or workflow_id is not set, both are needed";
    assert_eq!(a.dump_workflow(String::new(), "wf".into()).await, Err(refused(needed)));
    fakes.of("a").fail(ServiceError::FailedPrecondition("b is the only node of its role".into()));
    assert_eq!(a.drain("b".into()).await, Err(refused("b is the only node of its role")));
    assert!(fakes.of("a").log().is_empty());
}

#[tokio::test]
async fn an_address_without_a_node_is_said() {
    let fakes = Fakes::start(&["a"], 1, 1).await;
    fakes.of("a").stop().await;
    for address in [fakes.of("a").address.as_str(), "not an address", "", "nowhere.invalid:7240"] {
        match AdminClient::connect(address, WITHIN).await {
            Err(AdminError::Unreachable(why)) => {
                assert!(why.starts_with(&format!("cannot reach a node at {address}: ")), "{why}");
            }
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("connected to {address:?}"),
        }
    }
}
