//! What may leave, and when.

use std::sync::atomic::Ordering;
use std::time::Duration;

use entities::CallError;
use futures::FutureExt;
use futures::future::join_all;
use storage::fault::{FaultPlan, Faults, Method};

use crate::ledger::{Input, Overdrawn, Reply};
use crate::world::{DONE, START, World, asking, deposit, is_waiting, key, read};

fn stalled(method: Method, stall_for: Duration) -> FaultPlan {
    FaultPlan::new(1).on(method, Faults { stall: 1.0, stall_for, ..Faults::default() })
}

const STALL: Duration = Duration::from_millis(100);

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
    let world = World::with(stalled(Method::Append, STALL));
    let shard = world.open().await;
    let keys: Vec<_> = (0..100).map(|n| key(&format!("account {n}"))).collect();
    // Loads first, so that all is decided at once.
    join_all(keys.iter().map(|key| shard.call(key.clone(), Input::Read))).await;
    let first = asking(&shard, "account 0", deposit(1, 1));
    world.settle().await;
    let rest = join_all(keys.iter().map(|key| shard.call(key.clone(), deposit(2, 1)))).await;
    assert!(rest.into_iter().all(|outcome| outcome == DONE));
    assert_eq!(first.await.unwrap(), DONE);
    assert_eq!(shard.stats().last.0, 2);
}

#[tokio::test(start_paused = true)]
async fn a_group_is_closed_at_its_size_and_the_rest_forms_the_next() {
    let mut world = World::with(stalled(Method::Append, STALL));
    world.settings.group_bytes = 1000;
    let shard = world.open().await;
    let outcomes = join_all((0..200).map(|n| shard.call(key("a"), deposit(n, 1)))).await;
    assert!(outcomes.into_iter().all(|outcome| outcome == DONE));
    let groups = shard.stats().last.0;
    assert!((5..20).contains(&groups), "{groups} groups");
}

#[tokio::test(start_paused = true)]
async fn nothing_that_is_not_durable_leaves() {
    for plan in [stalled(Method::Append, STALL), stalled(Method::Append, STALL).hiding_local_epoch()] {
        let world = World::with(plan);
        let shard = world.open().await;
        read(&shard, "a").await;
        let mut change = asking(&shard, "a", deposit(1, 5));
        world.settle().await;
        // Memory runs ahead: these see the deposit, and wait for it.
        let mut seeing = asking(&shard, "a", Input::Read);
        let mut refused = asking(&shard, "a", Input::Overdraw);
        let mut repeated = asking(&shard, "a", deposit(1, 5));
        world.settle().await;
        for waiting in [&mut change, &mut seeing, &mut refused, &mut repeated] {
            assert!(is_waiting(waiting));
        }
        // This does not see it.
        assert_eq!(read(&shard, "b").await.balance, 0);
        assert!(world.runtime.now().since(START) < STALL);
        assert_eq!(change.await.unwrap(), DONE);
        assert_eq!(seeing.await.unwrap().unwrap().view().balance, 5);
        assert_eq!(refused.await.unwrap(), Err(CallError::Rejected(Overdrawn(5))));
        assert_eq!(repeated.await.unwrap(), Ok(Reply::Done { repeated: true }));
        assert!(world.runtime.now().since(START) >= STALL);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lazy_reply_leaves_at_once_and_its_change_goes_into_the_next_group() {
    let world = World::with(stalled(Method::Append, STALL));
    let shard = world.open().await;
    assert_eq!(shard.call(key("a"), Input::DepositLazily { request: 1, amount: 5 }).await, DONE);
    assert!(world.runtime.now().since(START) < STALL);
    // A read of it waits.
    assert_eq!(read(&shard, "a").await.balance, 5);
    assert!(world.runtime.now().since(START) >= STALL);
    assert_eq!(shard.stats().last.0, 1);
}

#[tokio::test(start_paused = true)]
async fn a_former_owner_answers_nothing_from_the_past() {
    for plan in [FaultPlan::new(1), FaultPlan::new(1).hiding_local_epoch()] {
        let world = World::with(plan);
        let former = world.open().await;
        assert_eq!(former.call(key("a"), deposit(1, 5)).await, DONE);
        let owner = world.open().await;
        assert_eq!(owner.call(key("a"), deposit(2, 5)).await, DONE);
        for input in [Input::Read, Input::Overdraw, deposit(1, 5)] {
            assert_eq!(former.call(key("a"), input).await, Err(CallError::NotOwner));
        }
        former.closed().await;
        assert_eq!(former.call(key("a"), deposit(3, 5)).await, Err(CallError::NotOwner));
        assert_eq!(read(&owner, "a").await.balance, 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_former_owner_that_writes_is_fenced_and_answers_everyone() {
    let world = World::with(stalled(Method::Append, STALL));
    let former = world.open().await;
    read(&former, "a").await;
    let write = asking(&former, "a", deposit(1, 5));
    let see = asking(&former, "a", Input::Read);
    world.settle().await;
    let owner = world.open().await;
    assert_eq!(write.await.unwrap(), Err(CallError::NotOwner));
    assert_eq!(see.await.unwrap(), Err(CallError::NotOwner));
    former.closed().await;
    assert_eq!(read(&owner, "a").await.balance, 0);
}

#[tokio::test(start_paused = true)]
async fn reads_share_a_fence_check_that_began_after_they_came() {
    let world = World::with(stalled(Method::Epoch, STALL).hiding_local_epoch());
    let shard = world.open().await;
    let early = asking(&shard, "a", Input::Read);
    world.settle().await;
    let begun = world.runtime.now();
    let views = join_all((0..50).map(|n| read(&shard, if n % 2 == 0 { "a" } else { "b" }).boxed_local())).await;
    assert!(views.iter().all(|view| view.balance == 0));
    let took = world.runtime.now().since(begun);
    // The check under way when they came does not count, the next serves them all.
    assert!(took > STALL && took < STALL * 2 + Duration::from_millis(1), "{took:?}");
    assert!(early.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn the_next_append_serves_as_a_fence_check() {
    let plan = stalled(Method::Epoch, Duration::from_secs(60)).hiding_local_epoch();
    let world = World::with(plan);
    let shard = world.open().await;
    assert_eq!(shard.call(key("a"), deposit(1, 5)).await, DONE);
    let write = asking(&shard, "a", deposit(2, 5));
    let see = asking(&shard, "a", Input::Read);
    assert_eq!(write.await.unwrap(), DONE);
    assert_eq!(see.await.unwrap().unwrap().view().balance, 10);
    assert!(world.runtime.now().since(START) < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_failing_fence_check_is_tried_again() {
    let world = World::with(FaultPlan::new(1).hiding_local_epoch());
    for _ in 0..3 {
        world.faults().arrange(Method::Epoch, storage::fault::Fate::Fails);
    }
    let shard = world.open().await;
    assert_eq!(read(&shard, "a").await.balance, 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_log_sheds_calls_but_not_unshed_ones() {
    let world = World::with(stalled(Method::Append, Duration::from_secs(5)));
    let shard = world.open().await;
    let stuck = asking(&shard, "a", deposit(1, 5));
    world.pass(Duration::from_millis(1900)).await;
    let admitted = asking(&shard, "a", deposit(2, 5));
    world.pass(Duration::from_millis(200)).await;
    let Err(CallError::Overloaded { retry_after }) = shard.call(key("a"), deposit(3, 5)).await else {
        panic!("a slow log takes no calls")
    };
    assert!(retry_after > Duration::from_secs(2), "as long again as the group has waited, not {retry_after:?}");
    assert_eq!(shard.call_unshed(key("a"), deposit(4, 5)).await, DONE);
    assert_eq!(stuck.await.unwrap(), DONE);
    assert_eq!(admitted.await.unwrap(), DONE);
    assert_eq!(shard.call(key("a"), deposit(5, 5)).await, DONE);
    assert_eq!(read(&shard, "a").await.balance, 20);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_caller_is_not_decided_and_an_unshed_one_is() {
    let world = World::with(stalled(Method::Get, STALL));
    let shard = world.open().await;
    let dropped = asking(&shard, "a", deposit(1, 5));
    let unshed = {
        let shard = shard.clone();
        world.runtime.spawn(async move { shard.call_unshed(key("a"), deposit(2, 7)).await })
    };
    world.settle().await;
    dropped.abort();
    unshed.abort();
    assert_eq!(read(&shard, "a").await.balance, 7);
}

#[tokio::test(start_paused = true)]
async fn requests_keep_their_order_while_an_entity_loads() {
    let world = World::with(stalled(Method::Get, STALL));
    let shard = world.open().await;
    let first = asking(&shard, "a", deposit(1, 5));
    let refused = asking(&shard, "a", Input::Overdraw);
    let second = asking(&shard, "a", deposit(2, 5));
    assert_eq!(first.await.unwrap(), DONE);
    assert_eq!(refused.await.unwrap(), Err(CallError::Rejected(Overdrawn(5))));
    assert_eq!(second.await.unwrap(), DONE);
}
