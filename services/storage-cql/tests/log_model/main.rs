//! The log's protocol on Cassandra and ScyllaDB, model-checked.
//!
//! A model says which steps owners and the database can take; the checker takes all of them in every order, within bounds, and holds
//! every state against the [`properties`]. The model stands alone: it shares no code with the adapter, whose steps it names.
//!
//! | in the model | in the adapter |
//! | --- | --- |
//! | [`opening`] | `open` and `reopen` |
//! | [`serving`] | `append` with its rolls, `epoch` (the fence check), `trim`; checkpoints are the entities' |
//! | [`store`] | the tables `log_head` and `log`, and what an LWT without an answer may still do |
//!
//! Segments have numbers here and random names there: what matters is that each attempt to create one takes a name that no attempt
//! took before under its epoch.
//!
//! What it takes for granted: a conditional write happens at one instant or never, and at most once; a plain quorum read sees what an
//! applied conditional write has done; a deleted partition stays deleted. It leaves out what no rule depends on: the bytes, the
//! watermark, blobs, and the time that anything takes.
//!
//! Start with [`owner`] (what an owner knows), then `opening`. Each rule of the protocol has a [`mutant`] that breaks it.
//!
//! `OUTLAST_MODEL_DEPTH=long` explores wider bounds (minutes, and some gigabytes).

mod model;
mod mutant;
mod opening;
mod owner;
mod properties;
mod script;
mod serving;
mod store;
mod world;

use std::collections::BTreeSet;

use model::LogModel;
use mutant::Mutant;
use properties::{
    FENCED_WITH_CAUSE, FRESH_ANSWERS, IN_OFFICE, NEVER_CORRUPT, ONE_ACKNOWLEDGEMENT, READ_BY_LATER_OWNERS, STORED,
};
use stateright::{Checker, HasDiscoveries, Model};

/// Two owners of different processes, an existing log.
const SMALL: LogModel = LogModel {
    mutant: None,
    owners: 2,
    positions: 2,
    unknowns: 1,
    rolls: 1,
    checkpoints: 1,
    one_process: false,
    log_exists: true,
};

fn long() -> bool {
    std::env::var("OUTLAST_MODEL_DEPTH").is_ok_and(|depth| depth == "long")
}

/// Explores everything within the bounds: nothing that must not be is there, and everything that makes this mean something is.
fn holds(model: LogModel, states_at_least: usize) {
    let checker = model.checker().spawn_bfs().join();
    println!("{} states, {} steps deep: {model:?}", checker.unique_state_count(), checker.max_depth());
    assert!(checker.is_done(), "not explored to the end");
    checker.assert_properties();
    let states = checker.unique_state_count();
    assert!(
        states >= states_at_least,
        "{states} states, expected at least {states_at_least}: the model has lost steps"
    );
}

/// Explores a mutant until it does what it must not.
fn finds(mutant: Mutant, wrong: &'static str, bounds: LogModel) {
    let model = LogModel { mutant: Some(mutant), ..bounds };
    let enough = HasDiscoveries::AnyOf(BTreeSet::from([wrong]));
    let checker = model.checker().finish_when(enough).spawn_bfs().join();
    let states = checker.unique_state_count();
    let found = checker.discovery(wrong);
    let found = found.unwrap_or_else(|| panic!("{mutant:?} got away with it, in {states} states: {wrong}"));
    println!("{mutant:?}, after {states} states: not so: {wrong}\n    {:?}", found.into_actions());
}

#[test]
fn two_owners() {
    holds(LogModel { positions: 3, ..SMALL }, 80_000);
    let two_unknowns = LogModel { unknowns: 2, ..SMALL };
    let model = if long() { LogModel { positions: 3, checkpoints: 2, ..two_unknowns } } else { two_unknowns };
    holds(model, 300_000);
}

#[test]
fn two_owners_of_one_process_that_roll_twice() {
    let wide = LogModel { rolls: 2, one_process: true, ..SMALL };
    let model = if long() { LogModel { unknowns: 2, ..wide } } else { wide };
    holds(model, 100_000);
}

#[test]
fn three_owners() {
    let tight = LogModel { owners: 3, unknowns: 0, ..SMALL };
    holds(tight, 80_000);
    let unknown = LogModel { owners: 3, rolls: 0, ..SMALL };
    let model = if long() { LogModel { rolls: 1, ..unknown } } else { unknown };
    holds(model, 100_000);
}

#[test]
fn a_log_that_was_never_used() {
    let model = LogModel { log_exists: false, rolls: 2, ..SMALL };
    holds(model, 20_000);
}

/// The mistakes that must be found whatever else is.
mod named_mistakes {
    use super::*;

    #[test]
    fn the_head_moved_before_the_segment_exists() {
        finds(Mutant::HeadMovedBeforeSegment, NEVER_CORRUPT, SMALL);
        finds(Mutant::HeadMovedBeforeSegmentAndMissingIsEmpty, READ_BY_LATER_OWNERS, SMALL);
    }

    #[test]
    fn open_with_a_stale_head() {
        finds(Mutant::StaleHead, READ_BY_LATER_OWNERS, SMALL);
        finds(Mutant::StaleHead, ONE_ACKNOWLEDGEMENT, SMALL);
        finds(Mutant::NoLastLook, READ_BY_LATER_OWNERS, SMALL);
    }

    #[test]
    fn unknown_resolved_by_position_alone() {
        finds(Mutant::PositionAlone, ONE_ACKNOWLEDGEMENT, SMALL);
    }

    #[test]
    fn a_read_or_rejection_without_a_fence_check() {
        finds(Mutant::NoFenceCheck, FRESH_ANSWERS, SMALL);
        finds(Mutant::OldFenceCheck, FRESH_ANSWERS, SMALL);
        finds(Mutant::FenceCheckOnSegment, FRESH_ANSWERS, SMALL);
    }

    #[test]
    fn trim_on_another_owners_word() {
        finds(Mutant::TrimOnShownRows, STORED, SMALL);
    }
}

/// Others, each of which looks harmless.
mod other_mistakes {
    use super::*;

    #[test]
    fn in_fencing() {
        finds(Mutant::SegmentNotFenced, ONE_ACKNOWLEDGEMENT, SMALL);
        finds(Mutant::TailReadBeforeFence, ONE_ACKNOWLEDGEMENT, SMALL);
        finds(Mutant::AppendWithoutEpoch, STORED, SMALL);
        finds(Mutant::OwnEpochIsFenced, FENCED_WITH_CAUSE, SMALL);
    }

    #[test]
    fn in_reopening() {
        finds(Mutant::ReopenByNonceAlone, NEVER_CORRUPT, LogModel { one_process: true, ..SMALL });
        finds(Mutant::ReopenByEpochAlone, ONE_ACKNOWLEDGEMENT, SMALL);
        finds(Mutant::ReopenRemembersSegment, STORED, SMALL);
    }

    #[test]
    fn in_rolling() {
        let two_rolls = LogModel { rolls: 2, ..SMALL };
        finds(Mutant::UnknownMoveShruggedOff, STORED, SMALL);
        finds(Mutant::CreateRepeated, ONE_ACKNOWLEDGEMENT, two_rolls);
        finds(Mutant::OrphanUsed, IN_OFFICE, two_rolls);
        finds(Mutant::NumberReused, STORED, two_rolls);
    }

    #[test]
    fn in_trimming() {
        finds(Mutant::TrimByEpochAlone, NEVER_CORRUPT, LogModel { checkpoints: 2, ..SMALL });
        finds(Mutant::DeleteOnUnknownTrim, NEVER_CORRUPT, SMALL);
    }
}

/// Deeper than the checker gets: an owner creates segment 2 under epoch 2, unknown, and is overtaken. The next creates segment 2 under
/// epoch 3, reopens, and repeats an unknown raise of the segment's epoch to 4. The third fills segment 2, rolls, trims, deletes it.
/// Then both late writes land, and segment 2 is there again just as the paused second owner remembers it.
#[test]
fn a_repeated_raise_of_a_segments_epoch_lets_it_come_back_from_the_dead() {
    use model::Action::{Append, Checkpoint, Continue, Delete, Land, Roll, Trim};
    use script::{follow, go_on};
    use world::Fate::{Answered, Unknown};

    let bounds = LogModel { owners: 3, unknowns: 3, rolls: 3, ..SMALL };
    let before = [
        go_on(0, 5),
        vec![Append(0, Answered), Roll(0), Continue(0, Unknown)],
        go_on(1, 5),
        vec![Roll(1)],
        go_on(1, 2),
        vec![Append(1, Unknown)],
        go_on(1, 2),
        vec![Continue(1, Unknown)],
    ];
    let third = |steps| {
        [
            go_on(2, steps),
            vec![Append(2, Answered), Roll(2)],
            go_on(2, 2),
            vec![Checkpoint(2, Answered), Trim(2, Answered), Delete(2)],
        ]
    };
    let late = vec![Land(3), Land(2), Append(1, Answered)];

    let repeats = LogModel { mutant: Some(Mutant::FenceRepeated), ..bounds };
    let path = [before.concat(), go_on(1, 4), third(6).concat(), late.clone()].concat();
    let world = follow(&repeats, &path).expect("every step is possible");
    assert!(world.wrong.two_acknowledged);

    // The protocol takes a new epoch instead. The same late writes bring back a segment that cannot be used.
    let path = [before.concat(), go_on(1, 6), third(6).concat(), late].concat();
    let world = follow(&bounds, &path).expect("every step is possible");
    assert!(!world.wrong.two_acknowledged && world.everything_acknowledged_is_stored());
}
