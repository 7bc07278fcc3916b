//! The three outcomes of an append.

use std::time::Duration;

use entities::CallError;
use storage::Epoch;
use storage::fault::{Fate, FaultPlan, Faults, Method};

use crate::ledger::Input;
use crate::world::{DONE, World, asking, deposit, key, read};

#[tokio::test(start_paused = true)]
async fn an_unknown_append_that_landed_is_found_and_one_that_did_not_is_repeated() {
    for fate in [Fate::Fails, Fate::FailsAfterEffect] {
        for reopens in [vec![], vec![Fate::Fails], vec![Fate::FailsAfterEffect, Fate::Fails]] {
            let world = World::new();
            let shard = world.open().await;
            world.faults().arrange(Method::Append, fate);
            for reopen in &reopens {
                world.faults().arrange(Method::Reopen, *reopen);
            }
            let seeing = asking(&shard, "a", deposit(1, 5));
            assert_eq!(shard.call(key("a"), deposit(1, 5)).await.map(|_| ()), Ok(()));
            assert!(seeing.await.unwrap().is_ok());
            assert_eq!(shard.call(key("a"), deposit(2, 7)).await, DONE);
            assert_eq!(read(&shard, "a").await.balance, 12);
            let stats = shard.stats();
            assert_eq!((stats.last.0, stats.epoch), (2, Epoch(2)));
            shard.abandon().await;
            // Nothing twice: applying a request twice would be corrupt.
            assert_eq!(read(&world.open().await, "a").await.balance, 12);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_append_unknown_again_and_again_lands_once() {
    let world = World::new();
    let shard = world.open().await;
    for fate in [Fate::Fails, Fate::Fails, Fate::FailsAfterEffect] {
        world.faults().arrange(Method::Append, fate);
    }
    assert_eq!(shard.call(key("a"), deposit(1, 5)).await, DONE);
    assert_eq!(shard.stats().epoch, Epoch(4));
    assert_eq!(shard.stats().last.0, 1);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_append_after_which_another_process_opened_the_log_closes_the_shard() {
    for fate in [Fate::Fails, Fate::FailsAfterEffect] {
        let world = World::new();
        let shard = world.open().await;
        world.faults().arrange(Method::Append, fate);
        for _ in 0..3 {
            world.faults().arrange(Method::Reopen, Fate::Fails);
        }
        let write = asking(&shard, "a", deposit(1, 5));
        let see = asking(&shard, "a", Input::Read);
        world.settle().await;
        let owner = world.open().await;
        assert_eq!(write.await.unwrap(), Err(CallError::NotOwner));
        assert_eq!(see.await.unwrap(), Err(CallError::NotOwner));
        shard.closed().await;
        let landed = if fate == Fate::Fails { 0 } else { 5 };
        assert_eq!(read(&owner, "a").await.balance, landed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_during_an_unknown_append_waits_for_its_resolution() {
    for plan in [FaultPlan::new(1), FaultPlan::new(1).hiding_local_epoch()] {
        let slow = Faults { stall: 1.0, stall_for: Duration::from_millis(300), ..Faults::default() };
        let world = World::with(plan.on(Method::Reopen, slow));
        let shard = world.open().await;
        assert_eq!(shard.call(key("b"), deposit(1, 1)).await, DONE);
        world.faults().arrange(Method::Append, Fate::FailsAfterEffect);
        let write = asking(&shard, "a", deposit(1, 5));
        world.settle().await;
        assert_eq!(read(&shard, "b").await.balance, 1);
        assert_eq!(read(&shard, "a").await.balance, 5);
        assert_eq!(write.await.unwrap(), DONE);
    }
}

#[tokio::test(start_paused = true)]
async fn our_own_reopening_does_not_make_a_trim_look_fenced() {
    let slow = Faults { stall: 1.0, stall_for: Duration::from_millis(300), ..Faults::default() };
    let mut world = World::with(FaultPlan::new(1).on(Method::Trim, slow));
    world.settings.checkpoint_age = Duration::from_millis(10);
    let shard = world.open().await;
    assert_eq!(shard.call(key("a"), deposit(1, 5)).await, DONE);
    world.pass(Duration::from_millis(50)).await;
    // The trim is on its way, with the epoch that the next append makes an old one.
    world.faults().arrange(Method::Append, Fate::Fails);
    assert_eq!(shard.call(key("a"), deposit(2, 5)).await, DONE);
    world.pass(Duration::from_secs(5)).await;
    assert_eq!(read(&shard, "a").await.balance, 10);
    assert_eq!(shard.stats().log_depth, 0);
}
