//! Who gets in.

use std::time::Duration;

use cluster::{Membership, NodeId, NodeState, Role, Sharded};
use membership::{ClusterSettings, JoinError, JoinRefusal, Member, MemberSettings, StartError, Voter, VoterSettings};
use runtime::Runtime;
use settings::MembershipSettings;

use crate::cluster_in_process::{Cluster, NEVER, RunningMember, SOON, cluster_settings, eventually, steady, voter_id};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_share_the_shards_and_see_the_same_ring() {
    let cluster = Cluster::of(3).await;
    let (a, b) = (cluster.member("a").await, cluster.member("b").await);
    a.sees("both own six", |ring| ring.owned(Sharded::History, &NodeId::new("b")).len() == 6).await;
    let confirmed = a.member.confirm().await.expect("there is a leader");
    assert_eq!(confirmed.owned(Sharded::History, &NodeId::new("a")).len(), 6);
    assert_eq!(confirmed.owned(Sharded::Matching, &NodeId::new("a")).len(), 2);
    b.sees("b catches up", |ring| *ring == *confirmed).await;
    assert!(!confirmed.cluster_id.is_empty());
    assert_ne!(a.member.incarnation(), b.member.incarnation());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_joins_first_and_takes_part_when_it_says_so_and_drains_and_leaves() {
    let cluster = Cluster::of(1).await;
    let a = cluster.member("a").await;
    let b = RunningMember::start(&cluster, "b").await.expect("it joins");
    let state = |ring: &cluster::Ring| ring.nodes.get(&NodeId::new("b")).map(|node| node.state);
    assert_eq!((state(&b.ring()), b.owned("b")), (Some(NodeState::Joining), 0));
    let ring = b.member.take_part().await.expect("there is a leader");
    assert_eq!((state(&ring), b.owned("b")), (Some(NodeState::Up), 6));
    let ring = b.member.drain().await.expect("there is a leader");
    assert_eq!((state(&ring), b.owned("b"), b.owned("a")), (Some(NodeState::Draining), 0, 12));
    b.member.leave().await.expect("there is a leader");
    a.sees("b is gone", |ring| state(ring).is_none()).await;
}

/// What the leader says to a member with such settings.
async fn refusal(settings: MemberSettings, runtime: Runtime) -> (JoinRefusal, String) {
    match Member::join(settings, runtime).await {
        Err(JoinError::Refused { reason, message }) => (reason, message),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was accepted"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_belong_is_refused() {
    let limit = Duration::from_secs(100);
    let cluster = Cluster::with_timings(1, MembershipSettings { max_clock_difference: limit, ..steady() }).await;
    let _a = cluster.member("a").await;
    let settings = || cluster.member_settings("b", "127.0.0.1:9".parse().expect("an address"));

    let other_name = ClusterSettings { name: "other".into(), ..cluster_settings() };
    let (reason, message) = refusal(MemberSettings { cluster: other_name, ..settings() }, Runtime::system()).await;
    assert_eq!(reason, JoinRefusal::WrongCluster);
    assert!(message.contains(r#"this is cluster "test", the node is configured for "other""#), "{message}");

    let other_counts = ClusterSettings { history_shards: 13, ..cluster_settings() };
    let (reason, message) = refusal(MemberSettings { cluster: other_counts, ..settings() }, Runtime::system()).await;
    assert_eq!(reason, JoinRefusal::OtherShardCounts);
    assert!(message.contains("history_shards is 13") && message.contains("formed with 12"), "{message}");

    let ahead = Runtime::virtual_from(Runtime::system().now() + NEVER);
    let (reason, message) = refusal(settings(), ahead).await;
    assert_eq!(reason, JoinRefusal::ClockDiffers);
    assert!(message.contains("at most 100000 ms are accepted"), "{message}");

    let within = Runtime::virtual_from(Runtime::system().now() + limit / 2);
    let member = Member::join(settings(), within).await.expect("half of the limit is well");
    eventually("the offset is known", || async { Some(()).filter(|()| member.clock_offset_ms() < -10_000) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_make_no_sense_are_refused_at_once() {
    let cluster = Cluster::of(1).await;
    let settings = || cluster.member_settings("b", "127.0.0.1:9".parse().expect("an address"));
    let rows: Vec<(MemberSettings, &str)> = vec![
        (MemberSettings { seeds: Vec::new(), ..settings() }, "membership.seeds is empty"),
        (MemberSettings { seeds: vec!["voter-0".into()], ..settings() }, r#"is "voter-0": accepted is host:port"#),
        (MemberSettings { node: NodeId::new(""), ..settings() }, "node.id is empty"),
        (MemberSettings { roles: Default::default(), ..settings() }, "node.roles is empty"),
        (MemberSettings { weight: 10_001, ..settings() }, "node.weight is 10001: accepted are 0 to 10000"),
        (MemberSettings { address: ":1".into(), ..settings() }, "internal.advertise"),
    ];
    for (settings, expected) in rows {
        let refused = Member::start(settings, Runtime::system()).err().map(|error| error.to_string());
        assert!(refused.as_ref().is_some_and(|said| said.contains(expected)), "{refused:?} says not {expected:?}");
    }
    let two = cluster.voter_settings(0).initial_voters.into_iter().cycle().take(2).collect();
    let start = Voter::start(VoterSettings { initial_voters: two, ..cluster.voter_settings(0) }, Runtime::system());
    assert!(matches!(start.await, Err(StartError::Settings(said)) if said.contains("names a node twice")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_answer_the_member_names_the_addresses_that_it_tried() {
    let cluster = Cluster::of(1).await;
    let timings = MembershipSettings { join_timeout: Duration::from_millis(300), ..cluster.timings.clone() };
    let address = "127.0.0.1:9".parse().expect("an address");
    let seeds = vec!["127.0.0.1:1".to_owned(), "no-such-name.invalid:1".to_owned()];
    let settings = MemberSettings { seeds, timings, ..cluster.member_settings("a", address) };
    let said = Member::join(settings, Runtime::system())
        .await
        .err()
        .map(|error| error.to_string())
        .expect("no voter is there");
    assert!(said.contains("did not join within 300ms"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_under_a_live_node_id_is_refused_and_takes_over_once_the_first_is_dead() {
    let cluster = Cluster::of(1).await;
    let mut first = cluster.member("a").await;
    let elsewhere = "127.0.0.1:9".parse().expect("an address");
    // It waits for the first one's end for some leases of its own.
    let timings = MembershipSettings { lease: Duration::from_millis(100), ..cluster.timings.clone() };
    let settings = MemberSettings { timings, ..cluster.member_settings("a", elsewhere) };
    let (reason, message) = refusal(settings, Runtime::system()).await;
    assert_eq!(reason, JoinRefusal::NodeIdTaken);
    assert!(message.contains(&first.address.to_string()), "{message}");
    assert_eq!(first.owned("a"), 12, "the first is not disturbed");

    first.kill();
    let second = cluster.member("a").await;
    assert!(second.member.incarnation() > first.member.incarnation());
    assert_eq!(second.owned("a"), 12);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_taken_for_dead_learns_that_another_has_its_place() {
    let lease = Duration::from_secs(4);
    let mut cluster = Cluster::with_cables(1, MembershipSettings { lease, ..steady() }).await;
    // The second waits for the first one's end for some leases of its own.
    cluster.timings.lease = NEVER;
    let cable = &cluster.cables[0];
    let first = RunningMember::start_at(&cluster, "a", vec![cable.address.to_string()]).await.expect("it joins");
    first.member.take_part().await.expect("a leader");
    cable.cut();
    let known = first.ring();
    let second = cluster.member("a").await;
    assert_eq!(first.ring(), known, "the first knows nothing of it");
    cable.mend();
    let replaced = Runtime::system().timeout(SOON, first.member.replaced()).await;
    assert!(replaced.expect("it is replaced").contains("is taken by"));
    second.sees("the second owns all", |ring| ring.owned(Sharded::History, &NodeId::new("a")).len() == 12).await;
    assert_eq!(first.owned("a"), 0, "and the first nothing");
    assert!(first.member.confirm().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_sees_members_and_moves_shards_and_drains_nodes() {
    let cluster = Cluster::of(1).await;
    let (a, _b) = (cluster.member("a").await, cluster.member("b").await);
    let admin = membership::Admin::with_seeds(cluster.seeds(), cluster.timings.clone(), Runtime::system());
    cluster.all_connected(&admin, 2).await;
    let members = admin.members().await.expect("there is a leader");
    assert_eq!((members.leader.as_str(), members.voters.len(), members.feature_level), ("voter-0", 1, 1));
    let b = NodeId::new("b");
    let shard = *members.ring.owned(Sharded::History, &NodeId::new("a")).first().expect("a owns some");
    let ring = admin.move_shard(Sharded::History, shard, Some(&b)).await.expect("b can own it");
    assert_eq!(ring.owner(Sharded::History, shard).map(|node| &node.id), Some(&b));
    assert_eq!(admin.members().await.expect("a leader").pinned.len(), 1);
    let refused = admin.move_shard(Sharded::History, 99, Some(&b)).await.expect_err("there is no such shard");
    assert!(refused.to_string().contains("they are 0 to 11"), "{refused}");
    let ring = admin.drain_node(&b).await.expect("b is there");
    assert_eq!(ring.owned(Sharded::History, &b).len(), 0);
    a.sees("b drains", |ring| ring.owned(Sharded::History, &NodeId::new("a")).len() == 12).await;
    let refused = admin.drain_node(&NodeId::new("a")).await.expect_err("a is the last");
    assert!(refused.to_string().contains("the only one"), "{refused}");
    let refused = admin.drain_node(&NodeId::new("c")).await.expect_err("there is no c");
    assert!(matches!(refused, membership::CallError::UnknownNode(_)), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_voter_process_is_a_member_too() {
    let cluster = Cluster::at_localhost().await;
    let settings = MemberSettings {
        node: voter_id(0),
        roles: [Role::Membership, Role::Frontend].into(),
        // A name, which is resolved, to more than one address on most machines.
        seeds: vec![format!("localhost:{}", cluster.voters[0].address.port())],
        ..cluster.member_settings("", cluster.voters[0].address)
    };
    let member = Member::join(settings, Runtime::system()).await.expect("it joins through itself");
    let ring = member.take_part().await.expect("it leads itself");
    assert_eq!(ring.nodes_of(Role::Frontend).count(), 1);
    assert_eq!(ring.owner(Sharded::History, 0), None, "no node has that role");
}
