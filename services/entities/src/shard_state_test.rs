//! The shard without a clock, a store or a task: jobs are carried out by hand, in any order, or never.

mod laws;
mod store;
#[path = "../tests/shard/tally.rs"]
mod tally;
mod world;

use storage::{Append, Epoch, Reopen, Seq};

use self::store::Fault;
use self::tally::Input;
use self::world::World;
use crate::arrival::Arrival;
use crate::job::Job;
use crate::stop::Stop;

#[test]
fn an_answer_leaves_when_its_append_is_durable_and_not_before() {
    let mut world = World::new();
    let call = world.call("a", Input::Add(3));
    world.turn();
    assert_eq!(world.names(), ["load"]);
    world.finish("load");
    assert_eq!(world.names(), [""; 0], "decided, and in a group that no turn has closed");
    world.turn();
    assert_eq!(world.names(), ["append"]);
    assert_eq!(world.answer(call), None);

    world.perform("append", Fault::None);
    assert_eq!(world.answer(call), None, "durable, but the shard has not heard of it");
    world.deliver();
    assert_eq!(world.answer(call), Some(3));
}

#[test]
fn all_that_is_decided_during_an_append_goes_into_the_next_group() {
    let mut world = World::loaded("a");
    let first = world.call("a", Input::Add(1));
    world.turn();
    let later: Vec<_> = (0..5).map(|_| world.call("a", Input::Add(1))).collect();
    world.turn();
    assert_eq!(world.count("append"), 1, "one append is in flight");
    world.finish("append");
    assert_eq!(world.answer(first), Some(1));
    world.turn();
    assert_eq!((world.count("append"), world.answer(later[4])), (1, None));
    world.finish("append");
    assert_eq!(later.iter().filter_map(|call| world.answer(*call)).collect::<Vec<_>>(), [2, 3, 4, 5, 6]);
    assert_eq!(world.store.last(), Seq(2));
}

#[test]
fn a_read_waits_for_a_fence_check_that_began_after_it_came() {
    let mut world = World::loaded("a");
    let first = world.call("a", Input::Read);
    world.turn();
    assert_eq!(world.count("fence"), 1);
    let second = world.call("a", Input::Read);
    world.finish("fence");
    assert_eq!((world.answer(first), world.answer(second)), (Some(0), None));
    world.turn();
    world.finish("fence");
    assert_eq!(world.answer(second), Some(0));
}

#[test]
fn an_unknown_append_that_happened_is_found_in_the_log_and_not_made_again() {
    let mut world = World::loaded("a");
    let call = world.call("a", Input::Add(1));
    world.turn();
    world.finish_with("append", Fault::Unheard);
    assert_eq!((world.names(), world.answer(call)), (vec!["reopen"], None));
    world.finish("reopen");
    assert_eq!((world.answer(call), world.count("append"), world.store.last()), (Some(1), 0, Seq(1)));
}

#[test]
fn an_unknown_append_that_did_not_happen_is_made_again_under_the_new_epoch() {
    let mut world = World::loaded("a");
    let call = world.call("a", Input::Add(1));
    world.turn();
    world.finish_with("append", Fault::Lost);
    world.finish_with("reopen", Fault::Unheard);
    assert_eq!(world.delay_of("reopen").as_millis(), 20);
    world.finish_with("reopen", Fault::Lost);
    assert_eq!(world.delay_of("reopen").as_millis(), 40);
    world.finish("reopen");
    let is_second = |job: &Job| matches!(job, Job::Append { epoch: Epoch(2), seq: Seq(1), .. });
    assert!(world.jobs.iter().any(|pending| is_second(&pending.job)));
    assert_eq!(world.answer(call), None);
    world.finish("append");
    assert_eq!((world.answer(call), world.store.last()), (Some(1), Seq(1)));
}

#[test]
fn a_fenced_shard_stops_and_answers_nothing() {
    let mut world = World::loaded("a");
    let calls = [world.call("a", Input::Add(1)), world.call("a", Input::Read)];
    world.turn();
    world.steal();
    world.finish("append");
    assert_eq!(world.state.stopped(), Some(Stop::Fenced));
    assert_eq!(calls.map(|call| world.answer(call)), [None, None]);
    assert_eq!(world.store.last(), Seq(0));
}

#[test]
fn a_group_of_another_in_our_place_stops_the_shard() {
    let mut world = World::loaded("a");
    world.call("a", Input::Add(1));
    world.turn();
    world.take("append");
    world.give(Arrival::Appended { epoch: Epoch(1), outcome: Append::Unknown });
    world.take("reopen");
    let mut opened = world.store.opened();
    (opened.head.epoch, opened.head.last) = (Epoch(2), Seq(1));
    world.give(Arrival::Reopened(Ok(Reopen::Reopened(opened))));
    assert_eq!(world.state.stopped(), Some(Stop::Fenced));
}

#[test]
fn an_obligation_is_handed_out_when_the_group_that_owes_it_is_durable() {
    let mut world = World::loaded("a");
    world.call("a", Input::Add(7));
    world.turn();
    assert_eq!(world.count("carry out"), 0);
    world.finish("append");
    assert_eq!(world.count("carry out"), 1);
    world.finish("carry out");
    assert_eq!(world.count("carry out"), 0, "the answer settles it");
    world.turn();
    assert_eq!(world.count("append"), 1, "and is a change itself");
}

#[test]
fn a_wake_up_comes_when_it_is_due_and_not_before() {
    let mut world = World::loaded("a");
    let at = world.now() + std::time::Duration::from_secs(60);
    world.call("a", Input::AddAt(at));
    world.settle();
    assert_eq!(world.state.next_turn().map(|turn| turn <= at), Some(true));
    world.advance_to(at - std::time::Duration::from_millis(1));
    assert_eq!(world.read("a"), 0);
    world.advance_to(at);
    assert_eq!(world.read("a"), 1);
}

#[test]
fn entities_do_not_wait_for_each_other() {
    let mut world = World::new();
    let calls = [world.call("a", Input::Add(1)), world.call("b", Input::Add(1))];
    world.turn();
    world.perform("load", Fault::None);
    world.perform("load", Fault::None);
    world.deliver_at(1);
    world.turn();
    world.perform("append", Fault::None);
    world.deliver_at(1);
    assert_eq!(calls.map(|call| world.answer(call)), [None, Some(1)], "a is still on its way");
    world.settle();
    assert_eq!(calls.map(|call| world.answer(call)), [Some(1), Some(1)]);
}

#[test]
fn an_owner_that_crashes_leaves_what_it_acknowledged_and_does_nothing_more() {
    let mut world = World::loaded("a");
    let acknowledged = world.call("a", Input::Add(1));
    world.turn();
    world.finish("append");
    assert_eq!(world.answer(acknowledged), Some(1));
    let unfinished = world.call("a", Input::Add(1));
    world.turn();
    world.crash();
    assert_eq!(world.read("a"), 1);
    while !world.late.is_empty() {
        world.perform_late(0);
    }
    world.crash();
    assert_eq!((world.read("a"), world.answer(unfinished)), (1, None), "its append was fenced");
}

#[test]
fn what_cannot_be_applied_is_quarantined_after_a_fence_check() {
    let mut world = World::loaded("a");
    world.call("a", Input::Poison);
    world.settle();
    world.crash();
    let call = world.call("a", Input::Read);
    world.turn();
    world.finish("load");
    assert!(world.is_waiting(call), "it may be that another owner wrote it");
    world.settle();
    assert!(!world.is_waiting(call));
    assert_eq!(world.answer(call), None);
}
