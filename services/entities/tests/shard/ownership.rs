//! Shards follow the ring, and what happens when nodes disagree about it.

use std::sync::Arc;
use std::time::Duration;

use entities::{CallError, EntityKey, ShardSettings};
use runtime::Runtime;
use storage::fault::{Fate, FaultPlan, Faults, FaultyStore, Method};
use storage::memory::MemoryStore;
use storage::{GroupId, LogId, OwnerNonce, Seq, StorageError};

use crate::ledger::{Input, Reply};
use crate::ring::{Leader, Node, routed};
use crate::world::{DONE, Damaged, START, deposit, key};

const MOMENT: Duration = Duration::from_millis(20);

fn runtime() -> Runtime {
    Runtime::virtual_from(START)
}

/// Some entity of a shard.
fn in_shard(node: &Node, shard: u32) -> EntityKey {
    (0..).map(|n| key(&format!("{n}"))).find(|key| node.shards.shard_of(key) == Some(shard)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_the_ring_gives_is_opened_and_what_it_takes_away_is_closed() {
    let (runtime, leader, memory) = (runtime(), Leader::new(16), MemoryStore::new());
    let a = Node::start("a", &leader, memory.store(), &runtime);
    let b = Node::start("b", &leader, memory.store(), &runtime);
    assert_eq!(a.call(&key("1"), Input::Read).await, Err(CallError::NotOwner));
    leader.turn(|_| Some("a"));
    a.shards.settled().await.unwrap();
    b.shards.settled().await.unwrap();
    assert_eq!((a.open_shards(), b.open_shards(), a.shards.unserved()), (16, 0, 0));
    for n in 0..50 {
        assert_eq!(a.call(&key(&n.to_string()), deposit(n, 1)).await, DONE);
    }
    leader.turn(|shard| Some(if shard % 2 == 0 { "a" } else { "b" }));
    b.shards.settled().await.unwrap();
    runtime.sleep(MOMENT).await;
    assert_eq!((a.open_shards(), b.open_shards()), (8, 8));
    let mut closed = a.door.closed.lock().unwrap().clone();
    closed.sort_unstable();
    assert_eq!(closed, [1, 3, 5, 7, 9, 11, 13, 15], "each once");
    for n in 0..50 {
        let here = key(&n.to_string());
        let (owner, other) = if a.shards.shard_of(&here).unwrap().is_multiple_of(2) { (&a, &b) } else { (&b, &a) };
        assert_eq!(other.call(&here, Input::Read).await, Err(CallError::NotOwner));
        assert_eq!(owner.call(&here, Input::Read).await.unwrap().view().balance, 1);
    }
    leader.turn(|_| None);
    runtime.sleep(MOMENT).await;
    assert_eq!((a.open_shards(), b.open_shards(), a.shards.unserved()), (0, 0, 0));
    assert_eq!((a.door.closed.lock().unwrap().len(), b.door.closed.lock().unwrap().len()), (16, 8));
    a.shards.close().await;
    b.shards.close().await;
}

/// To find the timers of a damaged bucket a shard goes through the entities of all shards, and must leave others' alone.
#[tokio::test(start_paused = true)]
async fn a_shard_with_a_damaged_bucket_looks_at_its_own_entities_only() {
    let (runtime, leader, memory) = (runtime(), Leader::new(4), MemoryStore::new());
    leader.turn(|_| Some("a"));
    let at = START + Duration::from_secs(5 * 3600);
    let node = Node::start("a", &leader, memory.store(), &runtime);
    node.shards.settled().await.unwrap();
    let keys: Vec<_> = (0..100).map(|n| key(&n.to_string())).collect();
    for key in &keys {
        assert_eq!(node.call(key, Input::SetAlarm { name: 1, at }).await, DONE);
    }
    // So that their versions lie far above those of the first shard.
    let busy = in_shard(&node, 3);
    for n in 0..200 {
        assert_eq!(node.call(&busy, deposit(n, 1)).await, DONE);
    }
    node.shards.close().await;
    let mut store = memory.store();
    let bucket = at.nanos() / 600_000_000_000;
    store.table = Damaged::of(store.table, format!("wake-ups/history/0/{bucket}").into());
    let node = Node::start("a", &leader, store, &runtime);
    node.shards.settled().await.unwrap();
    runtime.sleep_until(at - Duration::from_secs(60)).await;
    let loaded = node.shards.stats().into_iter().map(|(number, stats)| (number, stats.loaded_entities));
    let own = |shard| keys.iter().filter(|key| node.shards.shard_of(key) == Some(shard)).count();
    assert_eq!(loaded.take(2).collect::<Vec<_>>(), [(0, own(0)), (1, 0)]);
    runtime.sleep_until(at + Duration::from_secs(1)).await;
    for key in &keys {
        let view = node.call(key, Input::Read).await.unwrap().view();
        assert!(view.rang[&1][0].1.since(at) < Duration::from_millis(300), "{key:?} {view:?}");
    }
    node.shards.close().await;
}

const CLIENTS: u64 = 8;
const REQUESTS: u64 = 60;

fn account(client: u64) -> EntityKey {
    key(&format!("account {client}"))
}

/// Deposits again and again, and reads after each that all so far are there, under every owner of the shard.
async fn deposit_and_read(nodes: Arc<Vec<Node>>, runtime: Runtime, client: u64) {
    let nodes: Vec<&Node> = nodes.iter().collect();
    for request in 0..REQUESTS {
        loop {
            match routed(&nodes, &runtime, &account(client), || deposit(request, 1)).await {
                Ok(Reply::Done { .. }) => break,
                Err(CallError::Overloaded { .. }) => runtime.sleep(MOMENT).await,
                other => panic!("{other:?}"),
            }
        }
        let seen = loop {
            match routed(&nodes, &runtime, &account(client), || Input::Read).await {
                Err(CallError::Overloaded { .. }) => runtime.sleep(MOMENT).await,
                answer => break answer.unwrap().view(),
            }
        };
        assert_eq!(seen.balance, request as i64 + 1, "what was acknowledged is read from every owner");
    }
}

#[tokio::test(start_paused = true)]
async fn shards_that_move_back_and_forth_under_load_lose_nothing_and_do_nothing_twice() {
    for seed in 1..9_u64 {
        let (runtime, leader, memory) = (runtime(), Leader::new(4), MemoryStore::new());
        let bad = Faults { fail: 0.02, fail_after_effect: 0.04, stall: 0.2, stall_for: Duration::from_millis(7) };
        let faulty = FaultyStore::wrap(memory.store(), FaultPlan::new(seed).hiding_local_epoch().everywhere(bad));
        let settings = ShardSettings { checkpoint_age: Duration::from_millis(40), ..ShardSettings::default() };
        let start = |name| Node::start_with(name, &leader, faulty.store(), &runtime, settings.clone());
        let nodes: Arc<Vec<Node>> = Arc::new(["a", "b", "c"].map(start).into_iter().collect());
        leader.turn(|_| Some("a"));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| runtime.spawn(deposit_and_read(Arc::clone(&nodes), runtime.clone(), client)))
            .collect();
        for turn in 0..40_u64 {
            runtime.sleep(Duration::from_millis((turn * 37 + seed * 11) % 90)).await;
            leader.turn(|shard| Some(["a", "b", "c"][((u64::from(shard) + turn * seed) % 3) as usize]));
            let view = &nodes[(turn % 3) as usize].view;
            view.cut_off(turn.is_multiple_of(4));
        }
        nodes.iter().for_each(|node| node.view.cut_off(false));
        for client in clients {
            client.await.unwrap();
        }
        for node in nodes.iter() {
            node.shards.abandon().await;
        }
        // Rows and logs together hold the same, to the last entry.
        let next = Node::start("a", &leader, memory.store(), &runtime);
        leader.turn(|_| Some("a"));
        next.shards.settled().await.unwrap();
        for client in 0..CLIENTS {
            let seen = next.call(&account(client), Input::Read).await.unwrap().view();
            assert_eq!((seen.balance, seen.deposits), (REQUESTS as i64, REQUESTS), "seed {seed}");
            for entry in 0..REQUESTS {
                let entry = next.call(&account(client), Input::ReadEntry(entry)).await;
                assert_eq!(entry, Ok(Reply::Entry(Some(1))), "seed {seed}");
            }
        }
        next.shards.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_who_think_that_they_own_a_shard_one_succeeds_and_they_do_not_fight_over_it() {
    let (runtime, leader, memory) = (runtime(), Leader::new(1), MemoryStore::new());
    let a = Node::start("a", &leader, memory.store(), &runtime);
    let b = Node::start("b", &leader, memory.store(), &runtime);
    leader.turn(|_| Some("a"));
    a.shards.settled().await.unwrap();
    assert_eq!(a.call(&key("x"), deposit(1, 1)).await, DONE);
    // A hears nothing of the new ring, and cannot ask.
    a.view.cut_off(true);
    leader.turn(|_| Some("b"));
    b.shards.settled().await.unwrap();
    assert_eq!(a.shards.unserved(), 0, "it thinks so");
    let epoch = b.epoch(0);
    assert_eq!(b.call(&key("x"), deposit(2, 1)).await, DONE);
    assert_eq!(a.call(&key("x"), deposit(3, 1)).await, Err(CallError::NotOwner));
    assert_eq!(a.call(&key("x"), Input::Read).await, Err(CallError::NotOwner));
    runtime.sleep(Duration::from_secs(120)).await;
    assert_eq!((a.open_shards(), b.epoch(0)), (0, epoch), "it waits for a newer ring");
    let asked = leader.asked();
    assert!((5..40).contains(&asked), "and asks, more and more slowly: {asked} times");
    assert_eq!(b.call(&key("x"), Input::Read).await.unwrap().view().balance, 2);
    // It may be asked again and answers that the shard is not its own.
    a.view.cut_off(false);
    runtime.sleep(Duration::from_secs(60)).await;
    assert_eq!((a.open_shards(), a.shards.unserved(), b.epoch(0)), (0, 0, epoch));
    leader.turn(|_| Some("a"));
    a.shards.settled().await.unwrap();
    assert_eq!(a.call(&key("x"), Input::Read).await.unwrap().view().balance, 2);
    a.shards.close().await;
    b.shards.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_fenced_by_one_with_an_older_ring_asks_the_leader_and_takes_it_back_once() {
    let (runtime, leader, memory) = (runtime(), Leader::new(1), MemoryStore::new());
    let b = Node::start("b", &leader, memory.store(), &runtime);
    leader.turn(|_| Some("b"));
    b.shards.settled().await.unwrap();
    b.view.cut_off(true);
    leader.turn(|_| Some("a"));
    let a = Node::start("a", &leader, memory.store(), &runtime);
    a.shards.settled().await.unwrap();
    // B has not noticed, and is started anew with its old ring: it takes the shard.
    b.shards.abandon().await;
    let old = Leader::new(1);
    old.turn(|_| Some("b"));
    let again = Node::start("b", &old, memory.store(), &runtime);
    again.view.cut_off(true);
    again.shards.settled().await.unwrap();
    assert_eq!(a.call(&key("x"), deposit(1, 1)).await, Err(CallError::NotOwner));
    runtime.sleep(Duration::from_secs(1)).await;
    assert_eq!(a.call(&key("x"), deposit(1, 1)).await, DONE);
    let epoch = a.epoch(0);
    assert_eq!(again.call(&key("x"), deposit(2, 1)).await, Err(CallError::NotOwner));
    runtime.sleep(Duration::from_secs(60)).await;
    assert_eq!((a.epoch(0), again.open_shards()), (epoch, 0));
    a.shards.close().await;
    again.shards.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_taken_away_while_it_is_being_opened_is_let_go() {
    let (runtime, leader, memory) = (runtime(), Leader::new(1), MemoryStore::new());
    let slow = Faults { stall: 1.0, stall_for: Duration::from_secs(5), ..Faults::default() };
    let faulty = FaultyStore::wrap(memory.store(), FaultPlan::new(1).on(Method::Open, slow));
    let a = Node::start("a", &leader, faulty.store(), &runtime);
    let b = Node::start("b", &leader, memory.store(), &runtime);
    leader.turn(|_| Some("a"));
    runtime.sleep(Duration::from_secs(1)).await;
    assert_eq!(a.shards.unserved(), 1);
    leader.turn(|_| Some("b"));
    b.shards.settled().await.unwrap();
    runtime.sleep(Duration::from_secs(30)).await;
    assert_eq!((a.open_shards(), b.epoch(0)), (0, Some(1)), "and does not open it later");
    // Nothing was served, so nothing has closed.
    assert!(a.door.closed.lock().unwrap().is_empty());
    a.shards.close().await;
    b.shards.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_given_back_while_its_close_hangs_is_served_again_at_once() {
    let (runtime, leader, memory) = (runtime(), Leader::new(1), MemoryStore::new());
    let faulty = FaultyStore::wrap(memory.store(), FaultPlan::new(1));
    let a = Node::start("a", &leader, faulty.store(), &runtime);
    leader.turn(|_| Some("a"));
    a.shards.settled().await.unwrap();
    assert_eq!(a.call(&key("x"), deposit(1, 5)).await, DONE);
    for _ in 0..1000 {
        faulty.control().arrange(Method::Write, Fate::Fails);
    }
    leader.turn(|_| None);
    runtime.sleep(Duration::from_secs(2)).await;
    assert_eq!(a.call(&key("x"), Input::Read).await, Err(CallError::NotOwner));
    leader.turn(|_| Some("a"));
    let asked = runtime.now();
    a.shards.settled().await.unwrap();
    assert!(runtime.now().since(asked) < Duration::from_millis(100));
    assert_eq!(a.call(&key("x"), Input::Read).await.unwrap().view().balance, 5);
    assert_eq!(*a.door.closed.lock().unwrap(), [0]);
    a.shards.abandon().await;
}

#[tokio::test(start_paused = true)]
async fn a_close_that_hangs_does_not_hold_up_others() {
    let (runtime, leader, memory) = (runtime(), Leader::new(1), MemoryStore::new());
    let away = Faults { fail: 1.0, ..Faults::default() };
    let faulty = FaultyStore::wrap(memory.store(), FaultPlan::new(1).on(Method::Write, away));
    let a = Node::start("a", &leader, faulty.store(), &runtime);
    let b = Node::start("b", &leader, memory.store(), &runtime);
    leader.turn(|_| Some("a"));
    a.shards.settled().await.unwrap();
    assert_eq!(a.call(&key("x"), deposit(1, 5)).await, DONE);
    leader.turn(|_| Some("b"));
    let asked = runtime.now();
    b.shards.settled().await.unwrap();
    assert!(runtime.now().since(asked) < MOMENT);
    assert_eq!(b.call(&key("x"), Input::Read).await.unwrap().view().balance, 5);
    leader.turn(|_| Some("c"));
    runtime.sleep(Duration::from_secs(60)).await;
    assert_eq!((a.open_shards(), b.open_shards()), (0, 0));
    a.shards.close().await;
    b.shards.close().await;
}

#[tokio::test(start_paused = true)]
async fn callers_of_a_shard_that_is_lost_are_sent_away_and_get_no_success() {
    let (runtime, leader, memory) = (runtime(), Leader::new(1), MemoryStore::new());
    let slow = Faults { stall: 1.0, stall_for: Duration::from_millis(200), ..Faults::default() };
    let plan = FaultPlan::new(1).hiding_local_epoch().on(Method::Append, slow).on(Method::Epoch, slow);
    let a = Node::start("a", &leader, FaultyStore::wrap(memory.store(), plan).store(), &runtime);
    leader.turn(|_| Some("a"));
    a.shards.settled().await.unwrap();
    assert_eq!(a.call(&key("x"), deposit(0, 1)).await, DONE);
    let ask = |input| {
        let accounts = a.accounts.clone();
        runtime.spawn(async move { accounts.call(&key("x"), input).await })
    };
    let waiting = [ask(deposit(1, 1)), ask(deposit(2, 1)), ask(Input::Read)];
    runtime.sleep(MOMENT).await;
    // Another process opens the log: what is in flight is fenced.
    memory.store().log.open(&LogId("history/0".to_owned()), OwnerNonce(7)).await.unwrap();
    for caller in waiting {
        assert_eq!(caller.await.unwrap(), Err(CallError::NotOwner));
    }
    a.shards.abandon().await;
    let next = Node::start("a", &leader, memory.store(), &runtime);
    next.shards.settled().await.unwrap();
    assert_eq!(next.call(&key("x"), Input::Read).await.unwrap().view().balance, 1);
    next.shards.close().await;
}

#[tokio::test(start_paused = true)]
async fn openings_wait_for_a_store_that_is_away_and_go_on_a_few_at_a_time() {
    let (runtime, leader, memory) = (runtime(), Leader::new(40), MemoryStore::new());
    let slow = Faults { stall: 1.0, stall_for: Duration::from_millis(100), ..Faults::default() };
    let faulty = FaultyStore::wrap(memory.store(), FaultPlan::new(1).on(Method::Open, slow));
    for _ in 0..20 {
        faulty.control().arrange(Method::Open, Fate::Fails);
    }
    let settings = ShardSettings { concurrent_openings: 10, ..ShardSettings::default() };
    let a = Node::start_with("a", &leader, faulty.store(), &runtime, settings);
    leader.turn(|_| Some("a"));
    runtime.sleep(Duration::from_millis(250)).await;
    assert!((1..=20).contains(&a.open_shards()), "{} are open already", a.open_shards());
    a.shards.settled().await.unwrap();
    assert_eq!(a.open_shards(), 40);
    a.shards.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_corrupt_log_is_reported_and_does_not_keep_others_from_being_served() {
    let (runtime, leader, memory) = (runtime(), Leader::new(4), MemoryStore::new());
    let log = LogId("history/2".to_owned());
    let opened = memory.store().log.open(&log, OwnerNonce(1)).await.unwrap();
    let garbage = bytes::Bytes::from_static(b"\xff\xff");
    memory.store().log.append(&log, opened.head.epoch, Seq(1), GroupId(1), garbage).await;
    let a = Node::start("a", &leader, memory.store(), &runtime);
    leader.turn(|_| Some("a"));
    let error = a.shards.settled().await.unwrap_err();
    assert!(
        matches!(&error, StorageError::Corrupt(reason) if reason.contains("history/2") && reason.contains("position 1"))
    );
    assert_eq!((a.open_shards(), a.shards.unserved()), (3, 1));
    let lost = in_shard(&a, 2);
    let said = a.call(&lost, Input::Read).await.unwrap_err().to_string();
    for expected in ["shard 2 of history is not served", "position 1", "restore a backup"] {
        assert!(said.contains(expected), "{said}");
    }
    // Nothing that follows from work done elsewhere is given up for good.
    assert_eq!(a.accounts.call_unshed(&lost, Input::Read).await, Err(CallError::NotOwner));
    assert_eq!(a.call(&in_shard(&a, 3), deposit(1, 1)).await, DONE);
    // Taken away, it is no concern of this node any more.
    leader.turn(|shard| (shard != 2).then_some("a"));
    runtime.sleep(MOMENT).await;
    a.shards.settled().await.unwrap();
    assert_eq!(a.call(&lost, Input::Read).await, Err(CallError::NotOwner));
    a.shards.close().await;
}

#[tokio::test(start_paused = true)]
async fn five_hundred_shards_open_and_change_hands() {
    let (runtime, leader, memory) = (runtime(), Leader::new(512), MemoryStore::new());
    let nodes = ["a", "b", "c"].map(|name| Node::start(name, &leader, memory.store(), &runtime));
    leader.turn(|shard| Some(["a", "b", "c"][shard as usize % 3]));
    for node in &nodes {
        node.shards.settled().await.unwrap();
    }
    let refs: Vec<&Node> = nodes.iter().collect();
    for n in 0..600 {
        assert_eq!(routed(&refs, &runtime, &key(&n.to_string()), || deposit(n, 1)).await, DONE);
    }
    leader.turn(|shard| Some(["a", "b"][shard as usize % 2]));
    nodes[0].shards.settled().await.unwrap();
    nodes[1].shards.settled().await.unwrap();
    runtime.sleep(MOMENT).await;
    assert_eq!(nodes.each_ref().map(Node::open_shards), [256, 256, 0]);
    for n in 0..600 {
        let seen = routed(&refs, &runtime, &key(&n.to_string()), || Input::Read).await.unwrap().view();
        assert_eq!(seen.balance, 1);
    }
    for node in &nodes {
        node.shards.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_loses_all_its_shards_at_once_asks_the_leader_once_for_all() {
    let (runtime, leader, memory) = (runtime(), Leader::new(200), MemoryStore::new());
    let a = Node::start("a", &leader, memory.store(), &runtime);
    leader.turn(|_| Some("a"));
    a.shards.settled().await.unwrap();
    // A stray process opens every log and ends.
    for shard in 0..200 {
        memory.store().log.open(&LogId(format!("history/{shard}")), OwnerNonce(7)).await.unwrap();
    }
    for shard in 0..200 {
        assert_eq!(a.call(&in_shard(&a, shard), Input::Read).await, Err(CallError::NotOwner));
    }
    runtime.sleep(Duration::from_secs(1)).await;
    assert_eq!((a.open_shards(), a.shards.unserved()), (200, 0));
    assert!((1..=3).contains(&leader.asked()), "{} times", leader.asked());
    a.shards.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_flush_writes_what_is_dirty_and_the_shard_serves_on() {
    let (runtime, leader, memory) = (runtime(), Leader::new(2), MemoryStore::new());
    let a = Node::start("a", &leader, memory.store(), &runtime);
    leader.turn(|_| Some("a"));
    a.shards.settled().await.unwrap();
    for n in 0..30 {
        assert_eq!(a.call(&key(&n.to_string()), deposit(n, 1)).await, DONE);
    }
    let dirty = |node: &Node| node.shards.stats().iter().map(|(_, stats)| stats.dirty_entities).sum::<usize>();
    assert_eq!(dirty(&a), 30);
    a.shards.flush().await;
    runtime.sleep(MOMENT).await;
    assert_eq!(dirty(&a), 0);
    assert!(a.shards.stats().iter().all(|(_, stats)| stats.log_depth == 0 && stats.log_since.is_none()));
    assert_eq!(a.call(&key("1"), deposit(100, 1)).await, DONE);
    a.shards.close().await;
}
