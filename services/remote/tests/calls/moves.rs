//! Shards move while calls are out.

use std::time::Duration;

use api::temporal::api::workflowservice::v1 as wire;
use calls::{History, Matching, ServiceError, ServiceResult};
use settings::RemoteSettings;

use crate::cluster_of_fakes::{Cluster, Process, Relay, ctx, node, steady};
use crate::fake::Step;

async fn signal(cluster: &Cluster) -> ServiceResult<wire::SignalWorkflowExecutionResponse> {
    cluster.history.signal_workflow(&ctx(), wire::SignalWorkflowExecutionRequest::default()).await
}

/// Both were asked the same, the former perhaps more than once.
fn is_same_request(former: &Process, now: &Process) -> bool {
    let asked = now.fake.asked();
    asked.len() == 1 && !former.fake.asked().is_empty() && former.fake.asked().iter().all(|former| *former == asked[0])
}

#[tokio::test]
async fn a_call_follows_its_shard_under_the_same_request_id() {
    let cluster = Cluster::new(steady());
    let (a, b) = (cluster.process("a").await, cluster.process("b").await);
    let nodes = [node("a", 1, &a.address), node("b", 1, &b.address)];
    cluster.publish(&nodes, Some("a"));
    a.fake.arrange(vec![Step::Refuse(ServiceError::NotOwner("not any more".to_owned())); 500]);
    let (answer, ()) = tokio::join!(signal(&cluster), async {
        cluster.until("the former owner was asked", || a.fake.calls() > 0).await;
        cluster.publish(&nodes, Some("b"));
    });
    answer.unwrap();
    assert!(is_same_request(&a, &b), "{:?} and {:?}", a.fake.asked(), b.fake.asked());
    assert!(!a.fake.asked()[0].contains("request_id: \"\""));
}

#[tokio::test]
async fn a_call_waits_for_an_owner_and_goes_there_as_soon_as_there_is_one() {
    let lazy = Duration::from_secs(60);
    let cluster =
        Cluster::new(RemoteSettings { initial_backoff: lazy, max_backoff: lazy, call_timeout: lazy * 3, ..steady() });
    let a = cluster.process("a").await;
    let nodes = [node("a", 1, &a.address)];
    let began = cluster.runtime.now();
    let (answer, ()) = tokio::join!(signal(&cluster), async {
        cluster.publish(&nodes, None);
        cluster.runtime.sleep(Duration::from_millis(50)).await;
        cluster.publish(&nodes, Some("a"));
    });
    answer.unwrap();
    let took = cluster.runtime.now().since(began);
    assert!(took < Duration::from_secs(20), "a newer ring ends a pause of up to {lazy:?}, this took {took:?}");
}

#[tokio::test]
async fn a_call_to_a_process_that_stands_still_ends_when_the_ring_no_longer_has_it() {
    let cluster = Cluster::new(RemoteSettings { moved_grace: Duration::from_secs(60), ..steady() });
    let (a, b) = (cluster.process("a").await, cluster.process("b").await);
    let relay = Relay::to(&a).await;
    let (there, other) = (node("a", 1, &relay.address), node("b", 1, &b.address));
    cluster.publish(&[there, other.clone()], Some("a"));
    signal(&cluster).await.unwrap();
    relay.swallow();
    let began = cluster.runtime.now();
    let (answer, ()) = tokio::join!(signal(&cluster), async {
        cluster.runtime.sleep(Duration::from_millis(100)).await;
        cluster.publish(&[other], Some("b"));
    });
    answer.unwrap();
    let took = cluster.runtime.now().since(began);
    assert!(took < Duration::from_secs(20), "{took:?} with a ring that came after 100 ms");
    assert_eq!(b.fake.calls(), 1);
}

/// A call to the owner `a`, which does as `step` says and loses its shard to `b` meanwhile.
async fn asked_while_the_shard_moves(moved_grace: Duration, step: Step) -> (Process, Process) {
    let cluster = Cluster::new(RemoteSettings { moved_grace, ..steady() });
    let (a, b) = (cluster.process("a").await, cluster.process("b").await);
    let nodes = [node("a", 1, &a.address), node("b", 1, &b.address)];
    cluster.publish(&nodes, Some("a"));
    a.fake.arrange([step]);
    let (answer, ()) = tokio::join!(signal(&cluster), async {
        cluster.until("the former owner was asked", || a.fake.calls() == 1).await;
        cluster.publish(&nodes, Some("b"));
    });
    answer.unwrap();
    (a, b)
}

#[tokio::test]
async fn a_call_to_a_node_that_lost_only_the_shard_may_still_be_answered_but_not_for_long() {
    let (_, b) = asked_while_the_shard_moves(Duration::from_secs(60), Step::After(Duration::from_millis(200))).await;
    assert!(b.fake.asked().is_empty(), "the former owner's answer was good");
    let (a, b) = asked_while_the_shard_moves(Duration::from_millis(200), Step::Hang).await;
    assert_eq!(a.fake.asked(), b.fake.asked());
}

#[tokio::test]
async fn a_node_that_came_back_elsewhere_is_asked_there_and_never_again_where_it_was() {
    let cluster = Cluster::new(steady());
    let (former, now) = (cluster.process("a").await, cluster.process("a").await);
    cluster.publish(&[node("a", 1, &former.address)], Some("a"));
    former.fake.arrange([Step::Hang]);
    let (answer, ()) = tokio::join!(signal(&cluster), async {
        cluster.until("the former process was asked", || former.fake.calls() == 1).await;
        cluster.publish(&[node("a", 2, &now.address)], Some("a"));
    });
    answer.unwrap();
    assert!(is_same_request(&former, &now));
    for _ in 0..20 {
        signal(&cluster).await.unwrap();
    }
    assert_eq!((former.fake.calls(), now.fake.calls()), (1, 21));
}

#[tokio::test]
async fn a_new_process_at_the_same_address_is_another_one() {
    let cluster = Cluster::new(steady());
    let process = cluster.process("a").await;
    cluster.publish(&[node("a", 1, &process.address)], Some("a"));
    process.fake.arrange([Step::Hang]);
    let (answer, ()) = tokio::join!(signal(&cluster), async {
        cluster.until("the former process was asked", || process.fake.calls() == 1).await;
        cluster.publish(&[node("a", 2, &process.address)], Some("a"));
    });
    answer.unwrap();
    cluster.until("the former process is left", || process.fake.dropped.get() == 1).await;
}

#[tokio::test]
async fn a_local_shard_that_moves_away_is_followed_over_the_wire() {
    let cluster = Cluster::new(steady());
    let b = cluster.process("b").await;
    let nodes = [node("here", 1, "127.0.0.1:1"), node("b", 1, &b.address)];
    cluster.publish(&nodes, Some("here"));
    cluster.local.arrange(vec![Step::Refuse(ServiceError::NotOwner("closed".to_owned())); 500]);
    let (answer, ()) = tokio::join!(signal(&cluster), async {
        cluster.until("this node was asked", || cluster.local.calls() > 0).await;
        cluster.publish(&nodes, Some("b"));
    });
    answer.unwrap();
    assert_eq!(cluster.local.asked()[..1], b.fake.asked());
}

#[tokio::test]
async fn a_local_call_does_not_wait_for_a_shard_that_has_long_moved() {
    let cluster = Cluster::new(steady());
    let b = cluster.process("b").await;
    let nodes = [node("here", 1, "127.0.0.1:1"), node("b", 1, &b.address)];
    cluster.publish(&nodes, Some("here"));
    cluster.local.arrange([Step::Hang]);
    let (answer, ()) = tokio::join!(signal(&cluster), async {
        cluster.until("this node was asked", || cluster.local.calls() == 1).await;
        cluster.publish(&nodes, Some("b"));
    });
    answer.unwrap();
    assert_eq!(cluster.local.asked(), b.fake.asked());
}

#[tokio::test]
async fn a_process_that_stops_in_order_fails_no_call() {
    let cluster = Cluster::new(RemoteSettings { moved_grace: Duration::from_secs(60), ..steady() });
    let (a, b) = (cluster.process("a").await, cluster.process("b").await);
    let nodes = [node("a", 1, &a.address), node("b", 1, &b.address)];
    cluster.publish(&nodes, Some("a"));
    a.fake.arrange([Step::After(Duration::from_millis(300))]);
    let later = async {
        cluster.until("a call is being served", || a.fake.calls() == 1).await;
        a.stop();
        // The connection ends in order; calls that find it so, and no listener either, wait for the ring.
        let calls = futures::future::join_all((0..20).map(|_| signal(&cluster)));
        let ring = async {
            cluster.runtime.sleep(Duration::from_millis(100)).await;
            cluster.publish(&nodes, Some("b"));
        };
        let (answers, ()) = tokio::join!(calls, ring);
        answers.into_iter().for_each(|answer| drop(answer.unwrap()));
    };
    let (answer, ()) = tokio::join!(signal(&cluster), later);
    answer.unwrap();
    assert_eq!((a.fake.dropped.get(), a.fake.calls() + b.fake.calls()), (0, 21));
}

#[tokio::test]
async fn every_matching_node_that_is_there_hears_that_a_worker_leaves() {
    let call_timeout = Duration::from_secs(3);
    let cluster = Cluster::new(RemoteSettings { shutdown_worker_timeout: call_timeout, ..steady() });
    let (a, b) = (cluster.process("a").await, cluster.process("b").await);
    let relay = Relay::to(&a).await;
    relay.swallow();
    let silent = node("silent", 1, &relay.address);
    let dead = node("dead", 1, "127.0.0.1:1");
    let here = node("here", 1, "127.0.0.1:1");
    let there = [node("a", 1, &a.address), node("b", 1, &b.address)];
    cluster.publish(&[&there[..], &[silent.clone(), dead.clone(), here]].concat(), Some("dead"));
    cluster.matching.shutdown_worker(&ctx(), Default::default()).await.unwrap();
    assert_eq!([a.fake.calls(), b.fake.calls(), cluster.local.calls()], [1, 1, 1]);

    cluster.publish(&[silent, dead], None);
    let answer = cluster.matching.shutdown_worker(&ctx(), Default::default()).await;
    assert!(answer.is_err(), "no node got it");
    cluster.publish(&[], None);
    let answer = cluster.matching.shutdown_worker(&ctx(), Default::default()).await;
    assert!(matches!(answer, Err(ServiceError::NotOwner(_))), "{answer:?}");
}
