//! Calls that arrive at another process than they are meant for: none is carried out, and all go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use calls::{History, Matching};
use settings::RemoteSettings;

use crate::cluster_of_fakes::{Cluster, Process, Relay, ctx, node, steady};
use crate::fake::Fake;

/// A call of each kind: to history, to matching, and a poll.
async fn one_of_each(cluster: &Cluster) {
    let ctx = ctx();
    let waiting = ctx.clone().until(cluster.runtime.now() + Duration::from_secs(60));
    let (signalled, described, polled) = tokio::join!(
        cluster.history.signal_workflow(&ctx, Default::default()),
        cluster.matching.describe_task_queue(&ctx, Default::default()),
        cluster.matching.poll_workflow_task_queue(&waiting, Default::default()),
    );
    signalled.unwrap();
    described.unwrap();
    assert_eq!(polled.unwrap().open().unwrap().task_token, "a task");
}

fn quickly_connected() -> RemoteSettings {
    RemoteSettings { max_reconnect_backoff: Duration::from_millis(50), ..steady() }
}

#[tokio::test]
async fn what_arrives_in_another_cluster_is_not_carried_out_there() {
    let (ours, theirs) = (Cluster::named("ours", quickly_connected()), Cluster::named("theirs", steady()));
    let (a, stranger) = (ours.process("a").await, theirs.process("a").await);
    // Their node has the same name and incarnation, and owns as many shards of the same numbers.
    theirs.publish(&[node("a", 1, &stranger.address)], Some("a"));
    let address = Relay::to(&stranger).await;
    ours.publish(&[node("a", 1, &address.address)], Some("a"));
    tokio::join!(one_of_each(&ours), async {
        ours.until("the address is looked at again and again", || address.connections() > 2).await;
        address.lead_to(&a);
    });
    assert_eq!(a.fake.calls(), 3);
    assert_eq!(stranger.fake.asked(), Vec::<String>::new());

    // All nodes are called when a worker leaves, and this one is not of ours.
    ours.publish(&[node("a", 2, &stranger.address)], None);
    ours.matching.shutdown_worker(&ctx(), Default::default()).await.unwrap_err();
    assert_eq!(stranger.fake.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn what_arrives_at_another_node_of_the_cluster_is_not_carried_out_there() {
    let cluster = Cluster::new(quickly_connected());
    let (a, b) = (cluster.process("a").await, cluster.process("b").await);
    let address = Relay::to(&b).await;
    cluster.publish(&[node("a", 1, &address.address), node("b", 1, &b.address)], Some("a"));
    tokio::join!(one_of_each(&cluster), async {
        cluster.until("the address is looked at again", || address.connections() > 1).await;
        address.lead_to(&a);
    });
    assert_eq!((a.fake.calls(), b.fake.calls()), (3, 0));
}

#[tokio::test]
async fn a_restarted_process_refuses_what_was_meant_for_its_predecessor() {
    let cluster = Cluster::new(steady());
    let process = Process::start(Fake::new(), cluster.identity("a", || 2), &cluster.settings).await;
    cluster.publish(&[node("a", 1, &process.address)], Some("a"));
    let soon = cluster.runtime.now() + Duration::from_secs(1);
    let answer = cluster.history.signal_workflow(&ctx().until(soon), Default::default()).await;
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(process.fake.asked(), Vec::<String>::new());

    tokio::join!(one_of_each(&cluster), async {
        cluster.runtime.sleep(Duration::from_millis(50)).await;
        cluster.publish(&[node("a", 2, &process.address)], Some("a"));
    });
    assert_eq!(process.fake.calls(), 3);
}

#[tokio::test]
async fn a_process_that_has_not_heard_yet_who_it_is_is_asked_again() {
    let cluster = Cluster::new(steady());
    let incarnation = Arc::new(AtomicU64::new(0));
    let its = Arc::clone(&incarnation);
    let identity = cluster.identity("a", move || its.load(Ordering::SeqCst));
    let process = Process::start(Fake::new(), identity, &cluster.settings).await;
    let address = Relay::to(&process).await;
    cluster.publish(&[node("a", 1, &address.address)], Some("a"));
    tokio::join!(one_of_each(&cluster), async {
        cluster.until("it is asked", || address.connections() == 1).await;
        cluster.runtime.sleep(Duration::from_millis(50)).await;
        assert_eq!(process.fake.asked(), Vec::<String>::new());
        incarnation.store(1, Ordering::SeqCst);
    });
    assert_eq!(process.fake.calls(), 3);
    assert_eq!(address.connections(), 1, "the connection leads to the right process, and is kept");
}
