//! The model: which steps there are in a state, and what each does. `opening` and `serving` have the steps themselves.

use stateright::{Model, Property};

use crate::mutant::Mutant;
use crate::owner::{Owner, Phase};
use crate::properties;
use crate::store::{Lwt, SEGMENTS, Store};
pub use crate::world::World;
use crate::world::{Fate, NONE, OWNERS, Wrong};

/// What is explored: the protocol, or a mutant of it, within bounds.
#[derive(Clone, Copy, Debug)]
pub struct LogModel {
    /// The rule that is missing, if any.
    pub mutant: Option<Mutant>,
    /// How many owners.
    pub owners: usize,
    /// How many positions.
    pub positions: u8,
    /// How many outcomes may be unknown.
    pub unknowns: u8,
    /// How many times owners may begin to roll.
    pub rolls: u8,
    /// How many checkpoints there may be, and with them trims.
    pub checkpoints: u8,
    /// Whether all owners are tasks of one process, and so have one nonce.
    pub one_process: bool,
    /// Whether the log exists, or is created by the first opener.
    pub log_exists: bool,
}

/// One step of one owner, or of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// An owner makes the one step that its phase asks for.
    Continue(usize, Fate),
    /// After an unknown outcome of a roll's step: gives up and reopens.
    Reopen(usize),
    /// A serving owner appends.
    Append(usize, Fate),
    /// A serving owner answers a read.
    Answer(usize),
    /// A serving owner makes a fence check before there is a request: a mutant only.
    CheckFenceEarly(usize),
    /// A serving owner begins to roll.
    Roll(usize),
    /// A serving owner checkpoints its memory.
    Checkpoint(usize, Fate),
    /// A serving owner trims what it has checkpointed.
    Trim(usize, Fate),
    /// A write whose sender stopped waiting happens.
    Land(usize),
    /// A trimmed segment is deleted.
    Delete(u8),
}

impl LogModel {
    /// Whether the model is that mutant.
    pub fn has(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// The nonce of an owner's process.
    pub fn nonce(&self, at: usize) -> u8 {
        if self.one_process { 1 } else { at as u8 + 1 }
    }

    /// Sends a conditional write: whether it was applied, or `None` if its sender does not hear.
    pub fn attempt(&self, world: &mut World, lwt: Lwt, fate: Fate) -> Option<bool> {
        if fate != Fate::Answered {
            world.unknowns_left -= 1;
        }
        if fate == Fate::Unknown {
            world.store.put_in_flight(lwt);
            return None;
        }
        let applied = world.store.execute(lwt);
        world.store.tidy_in_flight();
        Some(applied)
    }

    /// The owner hears that it is fenced, and drops its memory.
    pub fn fenced(&self, world: &mut World, at: usize) {
        world.wrong.fenced_without_cause |= world.head_epoch() <= world.owners[at].epoch;
        world.owners[at].drop_memory();
    }

    fn actions_of_owner(&self, world: &World, at: usize, actions: &mut Vec<Action>) {
        let owner = &world.owners[at];
        match owner.phase {
            // Owners are alike until they begin; let them begin in order.
            Phase::Idle if at > 0 && world.owners[at - 1].phase == Phase::Idle => {}
            Phase::CreatingHead | Phase::RaisingHead { .. } | Phase::Fencing => {
                with_fates(world, at, Action::Continue, actions);
            }
            Phase::CreatingSegment { uncertain, .. } | Phase::MovingHead { uncertain, .. } => {
                with_fates(world, at, Action::Continue, actions);
                if uncertain {
                    actions.push(Action::Reopen(at));
                }
            }
            Phase::Idle
            | Phase::ReadingHead
            | Phase::ReadingTail { .. }
            | Phase::CheckingHead { .. }
            | Phase::Peeking => actions.push(Action::Continue(at, Fate::Answered)),
            Phase::Serving => self.actions_while_serving(world, at, actions),
            Phase::Gone => {}
        }
        // A request that finds its owner's memory up to date can be answered whatever happens later. Others are interesting.
        if owner.serves() && owner.last < world.last_acknowledged() {
            actions.push(Action::Answer(at));
        }
    }

    fn actions_while_serving(&self, world: &World, at: usize, actions: &mut Vec<Action>) {
        let owner = &world.owners[at];
        if owner.last < self.positions && owner.segment != 0 {
            with_fates(world, at, Action::Append, actions);
            if world.unknowns_left > 0 && self.has(Mutant::OwnEpochIsFenced) {
                actions.push(Action::Append(at, Fate::Misreported));
            }
        }
        let leaves_groups = world.store.segment(owner.segment).is_some_and(|segment| segment.rows != NONE);
        if world.rolls_left > 0 && (leaves_groups || owner.segment == 0) {
            actions.push(Action::Roll(at));
        }
        if owner.checkpointed < owner.last && world.checkpoints_left > 0 {
            actions.push(Action::Checkpoint(at, Fate::Answered));
            // An unacknowledged write changes something only for an owner that believes what the table shows.
            if world.unknowns_left > 0 && self.has(Mutant::TrimOnShownRows) {
                actions.push(Action::Checkpoint(at, Fate::Unknown));
            }
        }
        if self.trim_point(world, at) > owner.trim {
            with_fates(world, at, Action::Trim, actions);
        }
        if self.has(Mutant::OldFenceCheck) && !owner.old_proof {
            actions.push(Action::CheckFenceEarly(at));
        }
    }

    fn go_on(&self, world: &mut World, at: usize, fate: Fate) {
        match world.owners[at].phase {
            Phase::Idle | Phase::ReadingHead => self.read_head(world, at),
            Phase::CreatingHead => self.create_head(world, at, fate),
            Phase::RaisingHead { read } => self.raise_head(world, at, read, fate),
            Phase::Fencing => self.fence_segment(world, at, fate),
            Phase::ReadingTail { segment } => self.read_segment(world, at, segment),
            Phase::CheckingHead { hole } => self.check_head(world, at, hole),
            Phase::CreatingSegment { to, .. } => self.create_segment(world, at, to, fate),
            Phase::MovingHead { to, .. } => self.move_head(world, at, to, fate),
            Phase::Peeking => self.peek(world, at),
            Phase::Serving | Phase::Gone => {}
        }
    }
}

/// The step with each fate that its write may have.
fn with_fates(world: &World, at: usize, step: fn(usize, Fate) -> Action, actions: &mut Vec<Action>) {
    actions.push(step(at, Fate::Answered));
    if world.unknowns_left > 0 {
        actions.push(step(at, Fate::Unknown));
    }
}

impl Model for LogModel {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let world = World {
            store: if self.log_exists { Store::with_empty_log() } else { Store::nothing() },
            owners: [Owner::default(); OWNERS],
            acknowledged: NONE,
            wrong: Wrong::default(),
            unknowns_left: self.unknowns,
            rolls_left: self.rolls,
            checkpoints_left: self.checkpoints,
            doomed: 0,
        };
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for at in 0..self.owners {
            self.actions_of_owner(world, at, actions);
        }
        let in_flight = world.store.in_flight.iter().enumerate().filter(|(_, lwt)| lwt.is_some());
        actions.extend(in_flight.map(|(slot, _)| Action::Land(slot)));
        let exists = |number: &u8| world.store.segment(*number).is_some();
        let goes = |number: &u8| *number < world.store.deletable || *number == world.doomed;
        actions.extend((1..SEGMENTS as u8).filter(exists).filter(goes).map(Action::Delete));
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Continue(at, fate) => self.go_on(&mut world, at, fate),
            Action::Reopen(at) => world.owners[at].start_reopening(),
            Action::Append(at, fate) => self.append(&mut world, at, fate),
            Action::Answer(at) => self.answer(&mut world, at),
            Action::CheckFenceEarly(at) => self.check_fence_early(&mut world, at),
            Action::Roll(at) => self.start_roll(&mut world, at),
            Action::Checkpoint(at, fate) => self.checkpoint(&mut world, at, fate),
            Action::Trim(at, fate) => self.trim(&mut world, at, fate),
            Action::Land(slot) => world.store.land(slot),
            Action::Delete(segment) => world.store.delete(segment),
        }
        (world != *before).then_some(world)
    }

    fn within_boundary(&self, world: &World) -> bool {
        // The protocol's own states are finite. A mutant may reopen for ever.
        self.mutant.is_none() || world.head_epoch() <= 8
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(self)
    }
}
