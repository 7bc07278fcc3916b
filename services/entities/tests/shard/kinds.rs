//! Two kinds in one shard, with the same names: each has its own entities, and neither is in the other's way.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::{Membership, NodeId, Ownership, Sharded};
use entities::{CallError, EntityKey, KindHandle, Shard, ShardHandle, ShardOpener, Shards};
use storage::{ScanOrder, ScanRange, Store};

use crate::ledger::{Input, Ledger};
use crate::ring::Leader;
use crate::tally::{self, Count, HINTS, Listener, Tally};
use crate::world::{DONE, Damaged, Handle, START, World, accounts, deposit, key, read};

const HOUR: Duration = Duration::from_secs(3600);

fn tally(id: &str) -> EntityKey {
    EntityKey::of::<Tally>("namespace", id)
}

async fn open_on(world: &World, listener: &Arc<Listener>, store: Store) -> Handle {
    let kinds = accounts(Arc::clone(&world.bank) as _).with(Arc::new(Tally), Arc::clone(listener) as _);
    Handle(Shard::open(world.log(), kinds, store, world.runtime.clone(), world.settings.clone()).await.unwrap())
}

async fn open(world: &World, listener: &Arc<Listener>) -> Handle {
    open_on(world, listener, world.store()).await
}

async fn count(shard: &ShardHandle, id: &str) -> Result<Count, CallError<()>> {
    shard.call::<Tally>(tally(id), tally::Input::Read).await
}

async fn add(shard: &ShardHandle, id: &str, some: u64) {
    shard.call::<Tally>(tally(id), tally::Input::Add(some)).await.unwrap();
}

async fn hint(shard: &ShardHandle, id: &str, hint: u64) -> u64 {
    shard.call::<Tally>(tally(id), tally::Input::Hint(hint)).await.unwrap().hint
}

#[tokio::test(start_paused = true)]
async fn both_decide_owe_and_survive_a_crash() {
    let (world, listener) = (World::new(), Arc::new(Listener::default()));
    let shard = open(&world, &listener).await;
    for n in 0..20 {
        let id = n.to_string();
        assert_eq!(shard.call(key(&id), deposit(1, 7)).await, DONE);
        add(&shard, &id, n).await;
        assert_eq!(shard.call(key(&id), Input::Owe(n)).await, DONE);
    }
    world.settle().await;
    assert_eq!(world.bank.asked("3", 3), 1);
    assert!(listener.heard.lock().unwrap().contains(&("3".to_owned(), 3)));
    // Some of it is in the tables, and some in the log alone.
    shard.flush().await;
    for n in 0..10 {
        assert_eq!(shard.call(key(&n.to_string()), deposit(2, 1)).await, DONE);
        add(&shard, &n.to_string(), 100).await;
    }
    shard.abandon().await;

    let next = open(&world, &listener).await;
    for n in 0..20_u64 {
        let (id, later) = (n.to_string(), u64::from(n < 10));
        assert_eq!(read(&next, &id).await.balance, 7 + later as i64);
        assert_eq!(count(&next, &id).await.unwrap().number, n + 100 * later);
    }
    world.pass(Duration::from_secs(30)).await;
    assert_eq!((next.stats().log_depth, next.stats().dirty_entities, next.stats().loaded_entities), (0, 0, 40));
    assert_eq!(count(&next, "3").await.unwrap().reported, 103);
}

#[tokio::test(start_paused = true)]
async fn both_are_woken_by_each_owner_of_the_shard() {
    let (world, listener) = (World::new(), Arc::new(Listener::default()));
    let shard = open(&world, &listener).await;
    let (soon, late) = (START + HOUR, START + 30 * HOUR);
    for (id, at) in [("soon", soon), ("late", late)] {
        assert_eq!(shard.call(key(id), Input::SetAlarm { name: 1, at }).await, DONE);
        shard.0.call::<Tally>(tally(id), tally::Input::AddAt(at)).await.unwrap();
    }
    shard.close().await;
    let shard = open(&world, &listener).await;
    world.runtime.sleep_until(soon + Duration::from_secs(1)).await;
    assert_eq!((read(&shard, "soon").await.rang.len(), count(&shard, "soon").await.unwrap().number), (1, 1));
    assert_eq!((read(&shard, "late").await.rang.len(), count(&shard, "late").await.unwrap().number), (0, 0));
    // Where it cannot be read whose wake-ups they are, entities of every kind are asked.
    shard.close().await;
    let bucket = Bytes::from(format!("wake-ups/test/0/{}", late.nanos() / 600_000_000_000));
    let table = Damaged::of(world.store().table, bucket);
    let shard = open_on(&world, &listener, Store { table, ..world.store() }).await;
    world.runtime.sleep_until(late + Duration::from_secs(1)).await;
    assert_eq!((read(&shard, "late").await.rang.len(), count(&shard, "late").await.unwrap().number), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn each_is_quarantined_by_itself() {
    let (world, listener) = (World::new(), Arc::new(Listener::default()));
    let shard = open(&world, &listener).await;
    for id in ["a", "b"] {
        assert_eq!(shard.call(key(id), deposit(1, 1)).await, DONE);
        add(&shard, id, 1).await;
    }
    shard.0.call::<Tally>(tally("a"), tally::Input::Poison).await.unwrap();
    assert_eq!(shard.call(key("b"), Input::Poison).await, DONE);
    shard.abandon().await;
    for _ in 0..2 {
        let next = open(&world, &listener).await;
        assert!(matches!(count(&next, "a").await, Err(CallError::Quarantined(_))));
        assert_eq!(read(&next, "a").await.balance, 1);
        assert!(matches!(next.call(key("b"), Input::Read).await, Err(CallError::Quarantined(_))));
        assert_eq!(count(&next, "b").await.unwrap().number, 1);
        // The log forgets, and the quarantine still says which of the two is meant.
        world.pass(Duration::from_secs(30)).await;
        assert_eq!(next.stats().log_depth, 0);
        next.abandon().await;
    }
    let partition = Bytes::from_static(b"quarantine/test/0");
    let rows =
        world.store().table.scan(&partition, ScanRange::default(), ScanOrder::Ascending, 100).await.unwrap().rows;
    assert!(rows.iter().all(|row| entities::check_row(&partition, &row.key, &row.value).unwrap().is_ok()));
}

/// Nor is it opened by a release that does not know one of them: what it would do to the log's tail is unknown.
#[tokio::test(start_paused = true)]
async fn a_log_with_a_kind_that_is_not_hosted_is_refused_and_nothing_is_lost() {
    let (world, listener) = (World::new(), Arc::new(Listener::default()));
    let shard = open(&world, &listener).await;
    assert_eq!(shard.call(key("a"), deposit(1, 1)).await, DONE);
    add(&shard, "a", 5).await;
    shard.abandon().await;
    let refused = world.try_open().await.err().map(|error| error.to_string());
    assert!(refused.as_ref().is_some_and(|text| text.contains("an entity of kind 202")), "{refused:?}");
    let next = open(&world, &listener).await;
    assert_eq!((read(&next, "a").await.balance, count(&next, "a").await.unwrap().number), (1, 5));
}

#[tokio::test(start_paused = true)]
async fn a_set_of_shards_gives_each_kind_a_handle_of_its_own() {
    let (world, leader) = (World::new(), Leader::new(4));
    let kinds = accounts(Arc::clone(&world.bank) as _).with(Arc::new(Tally), Arc::new(Listener::default()));
    let shards = Shards::new(ShardOpener {
        kinds,
        store: world.store(),
        runtime: world.runtime.clone(),
        settings: world.settings.clone(),
        ownership: Ownership {
            membership: leader.view() as Arc<dyn Membership>,
            service: Sharded::History,
            node: NodeId::new("a"),
        },
    });
    shards.serve();
    leader.turn(|_| Some("a"));
    shards.settled().await.unwrap();
    let (accounts, tallies): (KindHandle<Ledger>, KindHandle<Tally>) = (shards.of(), shards.of());
    for n in 0..30 {
        let id = n.to_string();
        assert_eq!(accounts.call(&key(&id), deposit(1, 1)).await, DONE);
        assert_eq!(tallies.call_unshed(&tally(&id), tally::Input::Add(n)).await.unwrap().number, n);
        let seen = tallies.inspect(&tally(&id), |view| view.slot.unwrap().resident::<Tally>().is_some()).await;
        assert_eq!(seen, Ok(true));
    }
    shards.close().await;
}

/// What only memory has is answered, owed and kept in memory like all else, costs no append, and is gone after a crash.
#[tokio::test(start_paused = true)]
async fn what_only_memory_has_is_never_written() {
    let (mut world, listener) = (World::new(), Arc::new(Listener::default()));
    world.settings.memory_bytes = 1;
    let shard = open(&world, &listener).await;
    for id in ["a", "b", "c"] {
        add(&shard, id, 1).await;
    }
    world.settle().await;
    let last = shard.stats().last;
    assert_eq!(hint(&shard, "a", 8).await, 8);
    assert_eq!(hint(&shard, "b", 7).await, 7);
    world.settle().await;
    assert!(listener.heard.lock().unwrap().contains(&("b".to_owned(), HINTS + 7)));
    assert_eq!((count(&shard, "a").await.unwrap().hint, count(&shard, "b").await.unwrap().hint), (8, 0));
    assert_eq!(shard.stats().last, last);

    shard.flush().await;
    world.pass(Duration::from_secs(30)).await;
    assert_eq!(shard.stats().loaded_entities, 1, "only what is pinned stays");
    assert_eq!(count(&shard, "a").await.unwrap().hint, 8);
    shard.abandon().await;
    let next = open(&world, &listener).await;
    let after = count(&next, "a").await.unwrap();
    assert_eq!((after.number, after.reported, after.hint), (1, 1, 0));
}
