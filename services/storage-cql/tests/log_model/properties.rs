//! What must hold in every state, and what must be reachable so that the first means something.

use stateright::Property;

use crate::model::LogModel;
use crate::owner::{Owner, Phase};
use crate::store::{Head, NO_OWNER};
use crate::world::World;

/// An acknowledged group, and every group before it, can be read until the tables hold it.
pub const STORED: &str = "what was acknowledged is stored, in order, at its position";
/// Two owners never both get the acknowledgement that their group has a position.
pub const ONE_ACKNOWLEDGEMENT: &str = "no position is acknowledged to two owners";
/// An owner that begins to serve has every group that was acknowledged before.
pub const READ_BY_LATER_OWNERS: &str = "an owner that begins to serve has read all that was acknowledged";
/// Reads are linearizable.
pub const FRESH_ANSWERS: &str = "an answer reflects all that was acknowledged before its request";
/// No step of any owner makes the log look corrupt to another.
pub const NEVER_CORRUPT: &str = "an undamaged log is never called corrupt";
/// `Fenced` is only said to owners that were overtaken.
pub const FENCED_WITH_CAUSE: &str = "only overtaken owners get the answer that they are fenced";
/// The head, the segment and the owner's memory agree.
pub const IN_OFFICE: &str = "an owner that serves and that the head names can append";

/// All properties, with the milestones that the model's bounds can reach.
pub fn all(model: &LogModel) -> Vec<Property<LogModel>> {
    let mut all = vec![
        always(STORED, |_, world| world.everything_acknowledged_is_stored()),
        always(ONE_ACKNOWLEDGEMENT, |_, world| !world.wrong.two_acknowledged),
        always(READ_BY_LATER_OWNERS, |_, world| !world.wrong.served_without),
        always(FRESH_ANSWERS, |_, world| !world.wrong.stale_answer),
        always(NEVER_CORRUPT, |_, world| !world.wrong.called_corrupt),
        always(FENCED_WITH_CAUSE, |_, world| !world.wrong.fenced_without_cause),
        always(IN_OFFICE, |model, world| (0..model.owners).all(|at| can_append_if_in_office(world, at))),
        sometimes("all positions are acknowledged", |model, world| world.last_acknowledged() == model.positions),
        sometimes("an owner is fenced", |model, world| any(model, world, |owner| owner.phase == Phase::Gone)),
        sometimes("the last owner serves", |model, world| world.owners[model.owners - 1].phase == Phase::Serving),
        sometimes("a request finds an owner that was overtaken", |model, world| {
            any(model, world, |owner| owner.serves() && owner.last < world.last_acknowledged())
        }),
    ];
    let rolls_with_groups = model.rolls - u8::from(!model.log_exists);
    if model.unknowns > 0 {
        all.extend(milestones_of_unknowns());
    }
    if rolls_with_groups > 0 {
        all.push(sometimes("a log rolls", |_, world| world.head_segment() > 1));
    }
    if rolls_with_groups > 1 {
        all.push(sometimes("an orphaned segment is passed over", |model, world| any(model, world, passes_over)));
    }
    if rolls_with_groups > 0 && model.unknowns > 0 {
        all.push(sometimes("a write lands although its sender has gone on", |model, world| {
            any(model, world, |owner| was_moved_by_earlier_self(world, owner))
        }));
    }
    if model.checkpoints > 0 {
        all.push(sometimes("a log is trimmed", |_, world| world.store.head.is_some_and(|head| head.trim > 1)));
    }
    if model.checkpoints > 0 && rolls_with_groups > 0 {
        all.push(sometimes("a segment is deleted", |_, world| {
            world.store.deletable > 1 && world.store.segment(1).is_none()
        }));
        all.push(sometimes("an opener finds its tail gone", |model, world| {
            any(model, world, |owner| owner.phase == Phase::CheckingHead { hole: true })
        }));
    }
    all
}

fn milestones_of_unknowns() -> Vec<Property<LogModel>> {
    vec![
        sometimes("a reopener finds that its group has landed", |model, world| {
            any(model, world, |owner| finds_at_its_position(owner) == Some(true))
        }),
        sometimes("a reopener finds that its group has not landed", |model, world| {
            any(model, world, |owner| finds_at_its_position(owner) == Some(false))
        }),
    ]
}

/// Only its own earlier request could have moved the head that a reopener has just read.
fn was_moved_by_earlier_self(world: &World, owner: &Owner) -> bool {
    let head = world.store.head.unwrap_or_default();
    let moved = |read: Head| read.epoch == head.epoch && read.segment < head.segment;
    matches!(owner.phase, Phase::RaisingHead { read } if owner.reopening != 0 && moved(read))
}

fn passes_over(owner: &Owner) -> bool {
    matches!(owner.phase, Phase::MovingHead { to, .. } if to > owner.segment + 1)
}

/// Whether a reopener that has read the tail has found a group at its position.
fn finds_at_its_position(owner: &Owner) -> Option<bool> {
    let looks = owner.reopening != 0 && owner.phase == Phase::CheckingHead { hole: false };
    let row = owner.tail.get(usize::from(owner.last)).copied().unwrap_or(NO_OWNER);
    looks.then_some(row != NO_OWNER)
}

fn any(model: &LogModel, world: &World, is: impl Fn(&Owner) -> bool) -> bool {
    world.owners[..model.owners].iter().any(is)
}

fn always(name: &'static str, holds: fn(&LogModel, &World) -> bool) -> Property<LogModel> {
    Property::always(name, holds)
}

fn sometimes(name: &'static str, holds: fn(&LogModel, &World) -> bool) -> Property<LogModel> {
    Property::sometimes(name, holds)
}

fn can_append_if_in_office(world: &World, at: usize) -> bool {
    let owner = &world.owners[at];
    let head = world.store.head.unwrap_or_default();
    if owner.phase != Phase::Serving || head.epoch != owner.epoch {
        return true;
    }
    let segment = world.store.segment(owner.segment);
    let fits = match segment {
        Some(segment) => segment.epoch == owner.epoch && segment.last == owner.last,
        None => owner.segment == 0 && owner.last == 0,
    };
    head.segment == owner.segment && fits
}
