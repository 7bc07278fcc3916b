//! What a partition is said to hold follows what the allocator says that it holds. Alone in its binary, since it counts what
//! is allocated.

use std::collections::BTreeMap;

use allocated::allocated;
use bytes::Bytes;
use ids::{RunId, TaskKey, TaskRef, Timestamp, WorkflowId};
use taskqueue::{Backlog, Input, Task};

#[global_allocator]
static ALLOCATOR: allocated::Counting = allocated::Counting;

fn task(number: usize) -> Task {
    Task {
        key: TaskKey {
            workflow_id: WorkflowId::new(format!("sequence-{number}")),
            run_id: RunId::new("018f2b1c-1111-7222-8333-444455556666"),
            task: TaskRef { scheduled_event_id: 5, attempt: 1, stamp: 1 },
        },
        priority: None,
        scheduled_at: Timestamp::from_millis(1),
        expires_at: number.is_multiple_of(2).then(|| Timestamp::from_millis(1_000_000 + number as i64)),
        request_id: None,
    }
}

fn persisted(tasks: usize) -> Backlog {
    let mut backlog = Backlog::default();
    for number in 0..tasks {
        backlog.step(Input::Persist(Box::new(task(number))), Timestamp::EPOCH).unwrap();
    }
    backlog
}

fn stored(tasks: usize) -> (Backlog, BTreeMap<Bytes, Bytes>) {
    let mut backlog = persisted(tasks);
    let row = (Backlog::header_key(), backlog.encode_header());
    backlog.evict_clean(|_| true);
    (backlog, BTreeMap::from([row]))
}

/// As a new owner has it who has read the header alone.
fn found(tasks: usize) -> Backlog {
    let (_, rows) = stored(tasks);
    Backlog::from_header(&rows[&Backlog::header_key()]).unwrap()
}

#[test]
fn what_is_said_to_be_held_is_within_a_quarter_of_what_is() {
    type Shape = (&'static str, fn() -> Backlog);
    let shapes: [Shape; 6] = [
        ("an empty partition", Backlog::default),
        ("one task", || persisted(1)),
        ("a page of tasks", || persisted(31)),
        ("many pages of tasks", || persisted(10_000)),
        ("many pages, most of them in their rows", || stored(10_000).0),
        ("the same as a new owner finds it", || found(100_000)),
    ];
    let mut off = Vec::new();
    for (name, shape) in shapes {
        let (backlog, allocated) = allocated(shape);
        let held = allocated.held.cast_signed();
        let said = backlog.weight().cast_signed();
        println!("{name}: {held} held, {said} said");
        if (said - held).abs() * 4 > held {
            off.push(format!("{name}: {held} bytes are held, {said} are said to be"));
        }
    }
    assert!(off.is_empty(), "{off:#?}");
}
