//! The laws of a workflow execution, over generated conversations: callers, workers, matching, other workflows, the clock
//! and crashes say mostly sensible and sometimes nonsensical things to one workflow ID, and after each of them everything
//! that must hold is checked.
//!
//! A conversation is a list of numbers, one for each thing that is said: `talk.rs` turns a number into words by looking at
//! the state. So a failing conversation shrinks by leaving out what does not matter. `PROPTEST_CASES` sets how many
//! conversations there are.

mod accounts;
mod bookkeeping;
mod commands;
mod dice;
mod rebuild;
mod reset;
mod talk;
mod world;

use proptest::prelude::*;
use proptest::test_runner::Config;

use world::World;

/// As many cases as asked for, or what takes some seconds.
fn config(cases: u32) -> Config {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let config = Config { failure_persistence: None, max_shrink_iters: 4000, ..Config::default() };
    if asked { config } else { Config { cases, ..config } }
}

fn hold_conversation(sayings: &[u64]) -> Result<(), String> {
    let mut world = World::new();
    for (number, saying) in sayings.iter().enumerate() {
        world.step(*saying).map_err(|broken| format!("after saying {number}: {broken}\n{}", world.last_words()))?;
    }
    world.settle().map_err(|broken| format!("while settling: {broken}\n{}", world.last_words()))
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn laws_hold_over_any_conversation(sayings in prop::collection::vec(any::<u64>(), 1..250)) {
        hold_conversation(&sayings).map_err(TestCaseError::fail)?;
    }
}

/// A workflow that waits until the last moment that can be written.
#[test]
fn a_conversation_may_last_to_the_end_of_time() {
    hold_conversation(&[6_591_268_497_326_186_933]).unwrap();
}

/// The generator must reach what it is meant to: else the laws hold of nothing.
#[test]
fn conversations_reach_every_kind_of_event_and_answer() {
    let mut seen = std::collections::BTreeMap::new();
    for seed in 0..150u64 {
        let mut world = World::new();
        let mut dice = dice::Dice::new(seed);
        for _ in 0..250 {
            world.step(dice.number()).unwrap();
        }
        world.seen(&mut seen);
    }
    let missing: Vec<_> = world::EXPECTED.iter().filter(|kind| !seen.contains_key(**kind)).collect();
    assert!(missing.is_empty(), "never seen: {missing:?}; seen: {seen:#?}");
}
