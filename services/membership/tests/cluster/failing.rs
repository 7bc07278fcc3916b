//! What happens when nodes and leaders die, freeze and are cut off.

use std::time::Duration;

use cluster::{Membership, NodeId, Ring, Sharded};
use membership::{JoinError, JoinRefusal, Member, MemberSettings};
use runtime::Runtime;
use settings::MembershipSettings;

use crate::cables::Cable;
use crate::cluster_in_process::{Cluster, NEVER, RunningMember, eventually, patient, steady};

fn owns(ring: &Ring, node: &str) -> usize {
    ring.owned(Sharded::History, &NodeId::new(node)).len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_node_loses_its_shards_at_once_and_gets_them_back_when_it_returns() {
    let cluster = Cluster::of(1).await;
    let (a, mut b) = (cluster.member("a").await, cluster.member("b").await);
    let before = a.sees("both own six", |ring| owns(ring, "b") == 6 && owns(ring, "a") == 6).await;
    b.kill();
    a.sees("a owns all long before the lease ends", |ring| owns(ring, "a") == 12).await;
    let b = cluster.member("b").await;
    let after = b.sees("b is back", |ring| owns(ring, "b") == 6).await;
    assert_eq!(after.history, before.history);
}

/// A SIGKILL closes a process's sockets in any order: a first look at its address may still be answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_node_whose_port_outlives_its_connections_is_not_waited_for_either() {
    let cluster = Cluster::of(1).await;
    let (a, mut b) = (cluster.member("a").await, cluster.member("b").await);
    a.sees("both own six", |ring| owns(ring, "b") == 6 && owns(ring, "a") == 6).await;
    b.kill_connections_first().await;
    a.sees("a owns all long before the lease ends", |ring| owns(ring, "a") == 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_falls_silent_loses_its_shards_when_its_lease_ends() {
    let cluster = Cluster::with_cables(1, MembershipSettings { lease: Duration::from_secs(4), ..steady() }).await;
    // A voter that does not lead yet sends a member to the leader's advertised address, which is the cable's.
    cluster.leader().await;
    let a = cluster.member("a").await;
    // It reaches the voter through a cable, which is cut: no connection breaks.
    let cable = &cluster.cables[0];
    let b = RunningMember::start_at(&cluster, "b", vec![cable.address.to_string()]).await.expect("it joins");
    b.member.take_part().await.expect("a leader");
    a.sees("both own six", |ring| owns(ring, "b") == 6).await;
    let incarnation = b.member.incarnation();
    cable.cut();
    let known = b.ring();
    a.sees("a owns all", |ring| owns(ring, "a") == 12).await;
    assert_eq!(b.ring(), known, "a node that is cut off goes on with the ring that it has");
    cable.mend();
    a.sees("b registers again", |ring| owns(ring, "b") == 6).await;
    eventually("b has a session", || async { b.member.connected().then_some(()) }).await;
    assert_eq!(b.member.incarnation(), incarnation, "it is the same process");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leaders_death_moves_no_shard_and_the_ring_goes_on() {
    let mut cluster = Cluster::of(3).await;
    let (a, _b) = (cluster.member("a").await, cluster.member("b").await);
    let before = a.sees("both own six", |ring| owns(ring, "b") == 6 && owns(ring, "a") == 6).await;
    let leader = cluster.leader().await;
    cluster.kill_voter(leader);
    let confirmed = a.member.confirm().await.expect("another leads");
    assert_eq!(confirmed.version, before.version, "nothing has changed");
    cluster.all_connected(&a.member.admin(), 2).await;
    let later = a.member.confirm().await.expect("another leads");
    assert_eq!(later.version, before.version, "everyone found the new leader: {later:?}");
    let c = cluster.member("c").await;
    c.sees("the three share", |ring| owns(ring, "c") == 4).await;

    cluster.restart_voter(leader).await;
    let other = cluster.leader().await;
    cluster.kill_voter(other);
    let confirmed = a.member.confirm().await.expect("two of three are enough, one of them restarted");
    assert_eq!(owns(&confirmed, "c"), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_publishes_nothing_and_confirms_nothing() {
    // The next leader may have to wait for the dead node's lease to end.
    let timings = MembershipSettings { lease: Duration::from_secs(4), ..patient() };
    let cluster = Cluster::with_cables(3, timings).await;
    let (a, mut b) = (cluster.member("a").await, cluster.member("b").await);
    a.sees("both own six", |ring| owns(ring, "b") == 6 && owns(ring, "a") == 6).await;
    let old = cluster.leader().await;
    // The leader is cut off from all nodes; members reach all voters.
    cluster.cables.iter().for_each(Cable::cut);
    let at_leader = cluster.voters[old].address.to_string();
    let timings = MembershipSettings { leader_timeout: Duration::from_millis(1500), ..cluster.timings.clone() };
    let asked = membership::Admin::with_seeds(vec![at_leader], timings, Runtime::system());
    let known = a.ring();
    b.kill();
    assert!(asked.members().await.is_err(), "a leader without quorum confirms nothing");
    assert_eq!(a.ring(), known, "nor is there a new ring");
    eventually("it knows that it leads no more", || async { cluster.leader_now().is_none().then_some(()) }).await;
    cluster.cables.iter().for_each(Cable::mend);
    a.sees("the ring goes on", |ring| owns(ring, "a") == 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_clock_is_wrong_removes_no_node() {
    let mut cluster = Cluster::of(1).await;
    let clock = Runtime::virtual_from(Runtime::system().now() + NEVER);
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let settings = cluster.member_settings("a", port.local_addr().expect("bound"));
    let a = Member::join(settings.clone(), clock.clone()).await.expect("so much is accepted");
    let ring = a.take_part().await.expect("a leader");
    assert_eq!(owns(&ring, "a"), 12);
    // The next leader accepts less, which to the node is as if that one's clock were further off.
    cluster.kill_voter(0);
    cluster.timings.max_clock_difference = Duration::from_secs(1);
    cluster.restart_voter(0).await;
    cluster.all_connected(&a.admin(), 1).await;
    assert_eq!(owns(&a.confirm().await.expect("a leader"), "a"), 12);
    let newcomer = MemberSettings { node: NodeId::new("b"), ..settings };
    let refused = Member::join(newcomer, clock).await.err();
    let by_clock = |error: &JoinError| matches!(error, JoinError::Refused { reason: JoinRefusal::ClockDiffers, .. });
    assert!(refused.as_ref().is_some_and(by_clock), "a new node is refused: {refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_voter_that_is_cut_off_does_not_hold_up_the_others() {
    let cluster = Cluster::with_cables(3, patient()).await;
    let leader = cluster.leader().await;
    let cut_off = (leader + 1) % 3;
    cluster.cables[cut_off].cut();
    let (a, _b) = (cluster.member("a").await, cluster.member("b").await);
    a.sees("both own six", |ring| owns(ring, "b") == 6).await;
    cluster.cables[cut_off].mend();
    a.member.confirm().await.expect("a leader");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_restarts_as_a_whole_remembers_everything() {
    let mut cluster = Cluster::of(3).await;
    let a = cluster.member("a").await;
    let admin = a.member.admin();
    let mut version = 0;
    for round in 0..4u32 {
        let before = admin.move_shard(Sharded::Matching, round, Some(&NodeId::new("a"))).await.expect("a can own it");
        assert!(before.version >= version, "versions never go back");
        version = before.version;
        for number in 0..3 {
            match round {
                0 => cluster.stop_voter(number).await,
                _ => cluster.kill_voter(number),
            }
            // Between one and the next something may be in the middle of being written.
            Runtime::system().sleep(Duration::from_millis(u64::from(round) * 7)).await;
        }
        for number in 0..3 {
            cluster.restart_voter(number).await;
        }
        let after = a.member.confirm().await.expect("a leader");
        assert_eq!(after.cluster_id, before.cluster_id);
        assert!(after.version >= version, "versions never go back");
        let pinned = admin.members().await.expect("a leader").pinned.len();
        assert_eq!(pinned, round as usize + 1, "what was acknowledged is there");
    }
    a.sees("a owns all", |ring| owns(ring, "a") == 12).await;
}
