//! In whatever order jobs end, whatever of them is lost, and whenever an owner crashes: nothing is acknowledged before it is
//! durable, and nothing is forgotten.

use std::time::Duration;

use proptest::prelude::*;

use super::store::Fault;
use super::tally::{Input, Tally};
use super::world::World;
use crate::Kind;
use crate::arrival::Arrival;
use crate::stop::Stop;

const ENTITIES: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Event {
    Add(usize),
    AddLater(usize, u64),
    Read(usize),
    Turn,
    /// All jobs are carried out, and those that follow from them.
    Settle,
    /// A job is carried out: one of those that wait.
    Perform(usize, Fault),
    /// What came of a job arrives: of any that was carried out.
    Deliver(usize),
    /// A job of a crashed owner is carried out.
    PerformLate(usize),
    Advance(u64),
    Crash,
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![8 => Just(Fault::None), 1 => Just(Fault::Unheard), 1 => Just(Fault::Lost)]
}

fn event() -> impl Strategy<Value = Event> {
    let entity = || 0..ENTITIES.len();
    prop_oneof![
        4 => entity().prop_map(Event::Add),
        1 => (entity(), 0..2_000_000u64).prop_map(|(entity, millis)| Event::AddLater(entity, millis)),
        2 => entity().prop_map(Event::Read),
        6 => Just(Event::Turn),
        1 => Just(Event::Settle),
        8 => (any::<usize>(), fault()).prop_map(|(index, fault)| Event::Perform(index, fault)),
        8 => any::<usize>().prop_map(Event::Deliver),
        1 => any::<usize>().prop_map(Event::PerformLate),
        2 => (0..2_000_000u64).prop_map(Event::Advance),
        1 => Just(Event::Crash),
    ]
}

fn happen(world: &mut World, event: Event) {
    match event {
        Event::Add(entity) => drop(world.call(ENTITIES[entity], Input::Add(1))),
        Event::AddLater(entity, millis) => {
            let at = world.now() + Duration::from_millis(millis);
            world.call(ENTITIES[entity], Input::AddAt(at));
        }
        Event::Read(entity) => drop(world.call(ENTITIES[entity], Input::Read)),
        Event::Turn => drop(world.turn()),
        Event::Settle => world.settle(),
        Event::Perform(index, fault) if !world.jobs.is_empty() => world.perform_at(index % world.jobs.len(), fault),
        Event::Deliver(index) if world.arrivals() > 0 => world.deliver_at(index % world.arrivals()),
        Event::PerformLate(index) if !world.late.is_empty() => world.perform_late(index % world.late.len()),
        Event::Perform(..) | Event::Deliver(_) | Event::PerformLate(_) => {}
        Event::Advance(millis) => world.advance(Duration::from_millis(millis)),
        Event::Crash => world.crash(),
    }
}

/// Answers are held against the log as they leave (`World::listen`).
fn check(memory_bytes: usize, events: Vec<Event>) -> Result<(), TestCaseError> {
    let mut world = World::with_memory(memory_bytes);
    for event in events {
        happen(&mut world, event);
        prop_assert_eq!(world.state.stopped(), None, "no other process has opened the log");
    }
    world.settle();
    prop_assert_eq!(world.calls_waiting(), 0, "every call is answered once every job has ended");
    world.advance_to(world.now() + Duration::from_secs(2_000));
    for entity in ENTITIES {
        let logged = world.store.logged(entity);
        prop_assert_eq!(Tally.next_wake_up(&logged), None, "whatever was to grow has grown");
        prop_assert_eq!(logged.reported, logged.number, "whatever was owed was carried out");
        prop_assert_eq!(world.read(entity), logged.number);
    }
    world.give(Arrival::Close);
    world.settle();
    prop_assert_eq!(world.state.stopped(), Some(Stop::Closed));
    for entity in ENTITIES {
        prop_assert_eq!(world.store.stored(entity), world.store.logged(entity));
    }
    prop_assert!(world.store.opened().tail.is_empty(), "what is written is trimmed");
    Ok(())
}

/// Of all that happens, a crash is left out: it would open the log again.
fn check_deposed(before: Vec<Event>, after: Vec<Event>) -> Result<(), TestCaseError> {
    let mut world = World::new();
    before.into_iter().for_each(|event| happen(&mut world, event));
    world.steal();
    for event in after.into_iter().filter(|event| !matches!(event, Event::Crash)) {
        happen(&mut world, event);
    }
    let logged = ENTITIES.map(|entity| world.store.logged(entity));
    world.call(ENTITIES[0], Input::Add(1));
    world.settle();
    prop_assert_eq!(world.state.stopped(), Some(Stop::Fenced));
    prop_assert_eq!(ENTITIES.map(|entity| world.store.logged(entity)), logged);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_order_nothing_is_acknowledged_too_early_or_forgotten(
        memory_bytes in prop::sample::select(vec![0, usize::MAX]),
        events in prop::collection::vec(event(), 0..200),
    ) {
        check(memory_bytes, events)?;
    }

    #[test]
    fn an_owner_that_was_deposed_answers_nothing_from_the_past(
        before in prop::collection::vec(event(), 0..60),
        after in prop::collection::vec(event(), 0..60),
    ) {
        check_deposed(before, after)?;
    }
}
