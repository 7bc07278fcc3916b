//! Thousands of tasks, while shards move between nodes all the time: each is given to a worker, and to one only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use calls::{Matching, OfferedTask, ServiceError, TaskQueueKind};
use matching::InMemory;
use settings::MatchingSettings;
use storage::fault::{FaultPlan, Faults, FaultyStore, Method};
use storage::memory::MemoryStore;

use crate::dice::Dice;
use crate::nodes::Cluster;
use crate::world::{poll_activity, tenant};

const NODES: usize = 3;
const SHARDS: usize = 8;
const QUEUES: u64 = 12;
const TASKS: i64 = 1_500;

type Given = Arc<Mutex<BTreeMap<i64, u32>>>;

fn queue_name(number: u64) -> String {
    format!("queue-{}", number % QUEUES)
}

fn task(cluster: &Cluster, number: i64) -> OfferedTask {
    cluster.at(0).task(TaskQueueKind::Activity, &queue_name(number as u64), number)
}

/// History's part: offers a task until it is taken or kept.
async fn offer_until_settled(cluster: Arc<Cluster>, task: OfferedTask) {
    loop {
        let offered = cluster.routed(&task.queue, |service| {
            let task = task.clone();
            async move { service.offer(&tenant(), task).await }
        });
        match offered.await {
            Ok(_) => return,
            Err(ServiceError::NotOwner(_) | ServiceError::Unavailable(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
        cluster.runtime.sleep(Duration::from_millis(50)).await;
    }
}

/// A worker that polls one queue again and again.
async fn work(cluster: Arc<Cluster>, queue: u64, given: Given) {
    let name = queue_name(queue);
    let place = cluster.at(0).task(TaskQueueKind::Activity, &name, 0).queue;
    loop {
        let world = cluster.at(0);
        let deadline = world.in_a(Duration::from_secs(20));
        let mut request = world.activity_poll("worker", None);
        request.task_queue =
            Some(api::temporal::api::taskqueue::v1::TaskQueue { name: name.clone(), ..Default::default() });
        let polled = cluster.routed(&place, |service| {
            let (ctx, request) = (world.ctx.clone(), request.clone());
            async move { poll_activity(&service, &ctx, request, deadline).await }
        });
        let response = polled.await.expect("an answer, empty or not");
        if response.activity_id.is_empty() {
            // As from a node that is being closed.
            cluster.runtime.sleep(Duration::from_millis(10)).await;
            continue;
        }
        let number = response.activity_id.parse().expect("a number");
        *given.lock().expect("no panics").entry(number).or_default() += 1;
    }
}

/// What befalls the cluster meanwhile.
#[derive(Clone, Copy)]
struct Trouble {
    /// Nodes die, too.
    crashes: bool,
    faults: Faults,
}

async fn move_about(cluster: &Cluster, dice: &mut Dice, rounds: u32, trouble: Trouble) {
    for _ in 0..rounds {
        cluster.runtime.sleep(Duration::from_millis(30 + dice.below(250))).await;
        let owners: Vec<_> = (0..SHARDS).map(|_| dice.below(NODES as u64) as usize).collect();
        if trouble.crashes && dice.below(4) == 0 {
            cluster.crash(dice.below(NODES as u64) as usize).await;
        }
        cluster.give(&owners);
    }
}

async fn run(seed: u64, trouble: Trouble) {
    let plan = FaultPlan::new(seed).everywhere(trouble.faults).on(Method::Open, Faults::default());
    let store = FaultyStore::wrap(MemoryStore::new().store(), plan);
    let settings = MatchingSettings { partitions: 1 + (seed % 2) as u32 * 2, ..Default::default() };
    let cluster = Arc::new(Cluster::with(settings, store.store(), NODES, &[0; SHARDS]).await);
    cluster.history.delay(Duration::from_millis(6));
    let mut dice = Dice(seed * 2 + 1);
    let given = Given::default();
    // One queue has no worker until the end: its tasks are kept, and move.
    let mut workers: Vec<_> = (1..QUEUES * 2)
        .filter(|queue| queue % QUEUES != 0)
        .map(|queue| cluster.runtime.spawn(work(Arc::clone(&cluster), queue, Arc::clone(&given))))
        .collect();
    let pending = {
        let (cluster, mut dice) = (Arc::clone(&cluster), Dice(seed * 77 + 5));
        cluster.clone().runtime.spawn(async move {
            let mut offers = Vec::new();
            for number in 1..=TASKS {
                let offer = offer_until_settled(Arc::clone(&cluster), task(&cluster, number));
                offers.push(cluster.runtime.spawn(offer));
                cluster.runtime.sleep(Duration::from_millis(dice.below(5))).await;
            }
            for offer in offers {
                offer.await.expect("an offer");
            }
        })
    };
    move_about(&cluster, &mut dice, 25, trouble).await;
    store.control().heal();
    cluster.give(&[0; SHARDS]);
    workers.push(cluster.runtime.spawn(work(Arc::clone(&cluster), 0, Arc::clone(&given))));
    pending.await.expect("offers");
    cluster.runtime.sleep(Duration::from_secs(30)).await;

    let given = given.lock().expect("no panics").clone();
    let twice: Vec<_> = given.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.is_empty(), "seed {seed}: given twice: {twice:?}");
    let never: BTreeSet<_> = (1..=TASKS).filter(|number| !given.contains_key(number)).collect();
    assert!(never.is_empty(), "seed {seed}: never given: {never:?}");
    workers.iter().for_each(|worker| worker.abort());
    cluster.runtime.sleep(cluster.settings.idle_unload * 2).await;
    for node in 0..NODES {
        let nothing = InMemory { jobs: 1, ..InMemory::default() };
        assert_eq!(cluster.service(node).in_memory(), nothing, "seed {seed}: node {node}");
    }
    cluster.close().await;
}

#[tokio::test(start_paused = true)]
async fn every_task_is_given_once_while_shards_move() {
    for seed in 1..=3 {
        run(seed, Trouble { crashes: false, faults: Faults::default() }).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_task_is_given_once_while_shards_move_on_a_store_that_fails() {
    let faults = Faults { fail: 0.05, fail_after_effect: 0.05, stall: 0.05, stall_for: Duration::from_millis(50) };
    for seed in 1..=3 {
        run(seed, Trouble { crashes: false, faults }).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_task_is_given_once_while_shards_move_and_nodes_die() {
    let faults = Faults { fail: 0.02, fail_after_effect: 0.02, ..Faults::default() };
    for seed in 1..=3 {
        run(seed, Trouble { crashes: true, faults }).await;
    }
}
