//! The rules of meeting, one by one.

use std::sync::Arc;
use std::time::Duration;

use api::temporal::api::common::v1::Priority;
use ids::{TaskKey, TaskRef, Timestamp};

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);

fn task(number: i64, level: i32) -> Task {
    Task {
        key: TaskKey {
            workflow_id: "w".into(),
            run_id: "r".into(),
            task: TaskRef { scheduled_event_id: number, attempt: 1, stamp: 0 },
        },
        priority: Some(Priority { priority_key: level, ..Priority::default() }),
        scheduled_at: NOW,
        expires_at: None,
        request_id: None,
    }
}

fn position(level: u8, sequence: u64) -> Position {
    Position { level: PriorityLevel::numbered(level).expect("1 to 5"), sequence }
}

fn queue(partitions: u32) -> Queue {
    let mut queue = Queue::new(QueueShape { partitions, fan_out: 2, window: 4, durable: true });
    while let Some(request) = queue.next_read() {
        queue.read(request.partition, Reading::default());
    }
    queue
}

fn delivered(queue: &mut Queue) -> Option<Match> {
    match queue.decide(NOW) {
        Some(Decision::Deliver(matched)) => Some(matched),
        Some(Decision::Expire(settled)) => panic!("{settled:?} expired"),
        None => None,
    }
}

fn number(matched: &Match) -> i64 {
    matched.task.as_ref().map_or(0, |task| task.key.task.scheduled_event_id)
}

#[test]
fn an_offer_meets_the_poller_that_has_waited_longest() {
    let mut queue = queue(1);
    let (first, second) = (queue.poll(0, NOW), queue.poll(0, NOW));
    queue.offer(0, Arc::new(task(1, 3)));
    queue.offer(0, Arc::new(task(2, 3)));
    assert_eq!(delivered(&mut queue).map(|matched| (matched.poller, number(&matched))), Some((first, 1)));
    assert_eq!(delivered(&mut queue).map(|matched| (matched.poller, number(&matched))), Some((second, 2)));
    assert_eq!(delivered(&mut queue), None);
}

#[test]
fn levels_go_before_age_and_age_decides_within_a_level() {
    let mut queue = queue(1);
    for (index, level) in [5, 3, 1, 3, 2, 1].into_iter().enumerate() {
        queue.offer(0, Arc::new(task(index as i64, level)));
    }
    let sequence: Vec<_> = std::iter::from_fn(|| {
        queue.poll(0, NOW);
        delivered(&mut queue).map(|matched| number(&matched))
    })
    .collect();
    assert_eq!(sequence, [2, 5, 4, 1, 3, 0]);
}

#[test]
fn what_was_kept_comes_before_what_is_offered_in_its_level_only() {
    let mut queue = queue(1);
    queue.offer(0, Arc::new(task(1, 3)));
    queue.offer(0, Arc::new(task(2, 2)));
    queue.persisted(0, position(3, 1), Arc::new(task(3, 3)));
    let sequence: Vec<_> = std::iter::from_fn(|| {
        queue.poll(0, NOW);
        delivered(&mut queue).map(|matched| number(&matched))
    })
    .collect();
    assert_eq!(sequence, [2, 3, 1]);
}

#[test]
fn until_the_backlog_has_been_read_nothing_overtakes_it() {
    let mut queue = Queue::new(QueueShape { partitions: 1, fan_out: 2, window: 4, durable: true });
    queue.poll(0, NOW);
    queue.offer(0, Arc::new(task(2, 3)));
    assert_eq!(delivered(&mut queue), None);
    let request = queue.next_read().expect("a first reading");
    assert_eq!(queue.next_read(), None, "one reading at a time");
    let mut reading = Reading { tasks: vec![(position(3, 7), task(1, 3))], ..Reading::default() };
    reading.last[position(3, 0).level] = 7;
    queue.read(request.partition, reading);
    assert_eq!(delivered(&mut queue).map(|matched| number(&matched)), Some(1));
}

#[test]
fn a_task_kept_during_a_reading_is_neither_missed_nor_taken_twice() {
    let mut queue = queue(1);
    let level = position(3, 1).level;
    // Sequence 2 arrives before sequence 1: the window is behind and reads.
    queue.persisted(0, position(3, 2), Arc::new(task(2, 3)));
    let request = queue.next_read().expect("it is behind");
    assert_eq!(request.after[level], 0);
    queue.persisted(0, position(3, 1), Arc::new(task(1, 3)));
    let mut reading =
        Reading { tasks: vec![(position(3, 1), task(1, 3)), (position(3, 2), task(2, 3))], ..Reading::default() };
    reading.last[level] = 2;
    queue.read(0, reading);
    let taken: Vec<_> = std::iter::from_fn(|| {
        queue.poll(0, NOW);
        delivered(&mut queue).map(|matched| number(&matched))
    })
    .collect();
    assert_eq!(taken, [1, 2]);
    assert_eq!(queue.next_read(), None);
}

#[test]
fn a_stale_task_leaves_its_poller_waiting_in_its_old_place() {
    let mut queue = queue(1);
    let first = queue.poll(0, NOW);
    queue.poll(0, NOW);
    queue.offer(0, Arc::new(task(1, 3)));
    let matched = delivered(&mut queue).expect("a match");
    assert!(matches!(queue.stale(matched.item), Some(Settled { origin: Origin::Offer, .. })));
    queue.offer(0, Arc::new(task(2, 3)));
    assert_eq!(delivered(&mut queue).map(|matched| matched.poller), Some(first));
}

#[test]
fn what_could_not_be_handed_over_goes_first_and_keeps_its_request_id() {
    let mut queue = queue(1);
    let gone = queue.poll(0, NOW);
    queue.offer(0, Arc::new(task(1, 3)));
    let matched = delivered(&mut queue).expect("a match");
    queue.leave(gone, NOW);
    queue.offer(0, Arc::new(task(2, 3)));
    assert_eq!(queue.put_back(matched.item, Some("once".to_owned())), None);
    queue.poll(0, NOW);
    let again = delivered(&mut queue).expect("a match");
    assert_eq!(again.item, matched.item);
    assert_eq!(again.task.and_then(|task| task.request_id.clone()).as_deref(), Some("once"));
}

#[test]
fn an_offer_withdrawn_during_delivery_is_given_out_when_that_fails() {
    let mut queue = queue(1);
    queue.poll(0, NOW);
    let item = queue.offer(0, Arc::new(task(1, 3)));
    assert!(delivered(&mut queue).is_some());
    assert_eq!(queue.withdraw(item), Withdrawal::InDelivery);
    let (settled, task) = queue.put_back(item, Some("once".to_owned())).expect("it leaves");
    assert_eq!((settled.item, settled.origin), (item, Origin::Offer));
    assert_eq!(task.and_then(|task| task.request_id.clone()).as_deref(), Some("once"));
    assert_eq!(queue.withdraw(item), Withdrawal::Gone);
}

#[test]
fn a_resting_task_frees_its_poller_for_others() {
    let mut queue = queue(1);
    let poller = queue.poll(0, NOW);
    queue.offer(0, Arc::new(task(1, 3)));
    let sick = delivered(&mut queue).expect("a match");
    assert_eq!(queue.separate(sick.item), Separation::Waits);
    queue.offer(0, Arc::new(task(2, 3)));
    let other = delivered(&mut queue).expect("a match");
    assert_eq!((other.poller, number(&other)), (poller, 2));
    queue.put_back(sick.item, None);
    queue.poll(0, NOW);
    assert_eq!(delivered(&mut queue).map(|matched| matched.item), Some(sick.item));
}

#[test]
fn tokens_are_used_up_by_dispatched_tasks_only() {
    let mut queue = queue(1);
    queue.set_rate(1.0, NOW);
    for _ in 0..3 {
        queue.poll(0, NOW);
    }
    let expired = Task { expires_at: Some(NOW), ..task(1, 1) };
    queue.offer(0, Arc::new(expired));
    queue.offer(0, Arc::new(task(2, 2)));
    queue.offer(0, Arc::new(task(3, 3)));
    queue.offer(0, Arc::new(task(4, 4)));
    assert!(matches!(queue.decide(NOW), Some(Decision::Expire(_))));
    let stale = delivered(&mut queue).expect("the only token");
    assert_eq!(delivered(&mut queue), None, "no second token");
    queue.stale(stale.item);
    assert_eq!(delivered(&mut queue).map(|matched| number(&matched)), Some(3));
    assert_eq!(delivered(&mut queue), None);
    let at = queue.next_token_at(NOW).expect("something waits for it");
    assert_eq!(at.since(NOW).as_millis(), 1_000);
    assert!(matches!(queue.decide(at), Some(Decision::Deliver(matched)) if number(&matched) == 4));
}

#[test]
fn queries_go_first_and_need_no_token() {
    let mut queue = queue(1);
    queue.set_rate(0.0, NOW);
    queue.offer(0, Arc::new(task(1, 1)));
    let query = queue.query(0);
    queue.poll(0, NOW);
    queue.poll(0, NOW);
    assert_eq!(delivered(&mut queue).map(|matched| matched.item), Some(query));
    assert_eq!(delivered(&mut queue), None);
    assert_eq!(queue.next_token_at(NOW), None, "a rate of zero never has one");
}

#[test]
fn polls_and_tasks_of_different_branches_meet_above() {
    // 0 is the root, 1 and 2 below it, 3 and 4 below 1, 5 and 6 below 2.
    for (poll_at, task_at) in [(3, 6), (6, 3), (0, 5), (5, 0), (1, 2), (3, 4)] {
        let mut queue = queue(7);
        let poller = queue.poll(poll_at, NOW);
        queue.offer(task_at, Arc::new(task(1, 3)));
        assert_eq!(delivered(&mut queue).map(|matched| matched.poller), Some(poller), "{poll_at} {task_at}");
    }
}

#[test]
fn a_partition_serves_its_own_before_what_is_forwarded() {
    let mut queue = queue(4);
    queue.offer(1, Arc::new(task(1, 1)));
    queue.offer(3, Arc::new(task(2, 5)));
    queue.poll(3, NOW);
    assert_eq!(delivered(&mut queue).map(|matched| number(&matched)), Some(2));
    queue.poll(3, NOW);
    assert_eq!(delivered(&mut queue).map(|matched| number(&matched)), Some(1));
}

#[test]
fn a_closed_queue_matches_nothing() {
    let mut queue = queue(1);
    queue.poll(0, NOW);
    let item = queue.offer(0, Arc::new(task(1, 3)));
    queue.close();
    assert_eq!(delivered(&mut queue), None);
    assert!(matches!(queue.withdraw(item), Withdrawal::Withdrawn(Some(_))));
}

#[test]
fn the_last_poll_is_now_while_a_poller_waits_and_dated_afterwards() {
    let mut queue = queue(1);
    let later = NOW + Duration::from_secs(7);
    assert_eq!(queue.last_poll(NOW), None);
    let poller = queue.poll(0, NOW);
    assert_eq!(queue.last_poll(later), Some(later));
    queue.leave(poller, later);
    assert_eq!(queue.last_poll(later + Duration::from_secs(1)), Some(later));
    assert!(queue.is_idle());
}
