//! What may leave, and when.

use std::sync::atomic::Ordering;
use std::time::Duration;

use entities::CallError;
use futures::future::join_all;
use storage::fault::{FaultPlan, Faults, Method};

use crate::ledger::{Input, Overdrawn, Reply};
use crate::world::{DONE, World, deposit, key, read};

fn stalled_appends(stall_for: Duration) -> FaultPlan {
    FaultPlan::new(1).on(Method::Append, Faults { stall: 1.0, stall_for, ..Faults::default() })
}

#[tokio::test(start_paused = true)]
async fn a_request_is_decided_logged_and_answered() {
    let world = World::new();
    let shard = world.open().await;
    assert_eq!(shard.call(key("a"), deposit(1, 5)).await, DONE);
    assert_eq!(shard.call(key("a"), deposit(1, 5)).await, Ok(Reply::Done { repeated: true }));
    assert_eq!(shard.call(key("a"), Input::Overdraw).await, Err(CallError::Rejected(Overdrawn(5))));
    let view = read(&shard, "a").await;
    assert_eq!((view.balance, view.deposits), (5, 1));
    assert_eq!(shard.stats().last.0, 1);
    assert_eq!(world.bank.committed.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_decided_during_an_append_shares_the_next_group() {
    let world = World::with(stalled_appends(Duration::from_millis(100)));
    let shard = world.open().await;
    let keys: Vec<_> = (0..100).map(|n| key(&format!("account {n}"))).collect();
    // Loads first, so that all is decided at once.
    join_all(keys.iter().map(|key| shard.call(key.clone(), Input::Read))).await;
    let first = tokio::spawn({
        let (shard, key) = (shard.clone(), keys[0].clone());
        async move { shard.call(key, deposit(1, 1)).await }
    });
    world.settle().await;
    let rest = join_all(keys.iter().map(|key| shard.call(key.clone(), deposit(2, 1)))).await;
    assert!(rest.into_iter().all(|outcome| outcome == DONE));
    assert_eq!(first.await.unwrap(), DONE);
    assert_eq!(shard.stats().last.0, 2);
}
