//! Workflows that want more than a row of the store can take.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use api::temporal::api::command::v1::command::Attributes;
use api::temporal::api::command::v1::{
    Command, RecordMarkerCommandAttributes, ScheduleActivityTaskCommandAttributes, StartTimerCommandAttributes,
};
use api::temporal::api::common::v1::{ActivityType, Payload, Payloads};
use api::temporal::api::enums::v1::CommandType;
use api::temporal::api::history::v1::history_event::Attributes as Event;
use api::temporal::api::workflowservice::v1::RespondWorkflowTaskCompletedRequest;
use async_trait::async_trait;
use calls::ServiceError;
use storage::fault::TableInFront;
use storage::memory::MemoryStore;
use storage::{PartitionWrite, StorageError, StorageResult, Store, Table};

use crate::world::{START, World, command};

const MIB: usize = 1 << 20;

/// A table that takes no larger row than Cassandra does, and notes how large they were.
struct Narrow {
    table: Arc<dyn Table>,
    largest_state: AtomicUsize,
    history: Mutex<Vec<usize>>,
}

impl Narrow {
    /// A store in memory with this table.
    fn store() -> (Store, Arc<Self>) {
        let store = MemoryStore::new().store();
        let table = Arc::clone(&store.table);
        let narrow = Arc::new(Self { table, largest_state: AtomicUsize::new(0), history: Mutex::default() });
        (Store { table: Arc::clone(&narrow) as _, ..store }, narrow)
    }
}

#[async_trait]
impl TableInFront for Narrow {
    fn behind(&self) -> &dyn Table {
        &*self.table
    }

    async fn write(&self, writes: Vec<PartitionWrite>) -> StorageResult<()> {
        for (key, value) in writes.iter().flat_map(|write| &write.puts) {
            if value.len() > 15 * MIB {
                return Err(StorageError::Invalid(format!("a row has {} bytes", value.len())));
            }
            if key.starts_with(b"h") {
                self.history.lock().unwrap().push(value.len());
            } else {
                self.largest_state.fetch_max(value.len(), Ordering::SeqCst);
            }
        }
        self.table.write(writes).await
    }
}

fn large(bytes: usize) -> Option<Payloads> {
    Some(Payloads { payloads: vec![Payload { data: vec![b'x'; bytes].into(), ..Payload::default() }] })
}

fn activity(id: String, input: usize) -> Command {
    let attributes = ScheduleActivityTaskCommandAttributes {
        activity_id: id,
        activity_type: Some(ActivityType { name: "kind".to_owned() }),
        input: large(input),
        start_to_close_timeout: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        ..Default::default()
    };
    command(CommandType::ScheduleActivityTask, Attributes::ScheduleActivityTaskCommandAttributes(attributes))
}

fn marker(details: usize) -> Command {
    let attributes = RecordMarkerCommandAttributes {
        marker_name: "large".to_owned(),
        details: large(details).map(|details| ("data".to_owned(), details)).into_iter().collect(),
        ..Default::default()
    };
    command(CommandType::RecordMarker, Attributes::RecordMarkerCommandAttributes(attributes))
}

fn timer() -> Command {
    let attributes = StartTimerCommandAttributes {
        timer_id: "t".to_owned(),
        start_to_fire_timeout: Some(prost_types::Duration { seconds: 5, nanos: 0 }),
    };
    command(CommandType::StartTimer, Attributes::StartTimerCommandAttributes(attributes))
}

/// An answer after which the worker wants to go on at once.
fn more(commands: Vec<Command>) -> RespondWorkflowTaskCompletedRequest {
    RespondWorkflowTaskCompletedRequest { commands, force_create_new_workflow_task: true, ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_waits_for_too_much_is_terminated_and_its_shard_goes_on() {
    let (store, table) = Narrow::store();
    let mut world = World::on(store, START, START).await;
    let (greedy, other) = (world.id_in(0, "greedy"), world.id_in(0, "other"));
    world.start(&greedy).await;
    for (round, count) in [2, 2, 1].into_iter().enumerate() {
        let commands = (0..count).map(|n| activity(format!("{round}-{n}"), 19 * MIB / 10)).collect();
        world.answer(&greedy, more(commands)).await.unwrap();
        world.a.flush().await;
    }
    let largest = table.largest_state.load(Ordering::SeqCst);
    assert!(largest > 9 * MIB && largest < 10 * MIB, "{largest}");

    let refused = world.answer(&greedy, more(vec![activity("last".to_owned(), 19 * MIB / 10)])).await;
    let expected = ServiceError::InvalidArgument("Workflow mutable state size exceeds limit.".to_owned());
    assert_eq!(refused, Err(expected));
    let types = world.types(&greedy).await;
    assert_eq!(types[types.len() - 2..], ["WORKFLOW_TASK_FAILED", "WORKFLOW_EXECUTION_TERMINATED"]);
    let Some(Event::WorkflowExecutionTerminatedEventAttributes(end)) =
        world.events(&greedy).await.pop().unwrap().attributes
    else {
        panic!("{types:?}");
    };
    assert_eq!(end.reason, "Workflow mutable state size exceeds limit.");

    // Others go on, here and on the node that takes the shard over.
    world.start(&other).await;
    world.decide(&other, vec![timer()]).await;
    world.a.flush().await;
    world.turn(["b", "b"]);
    world.settled().await;
    world.has(&other, "TIMER_FIRED").await;
    assert_eq!(world.types(&greedy).await, types);
    world.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_events_of_a_large_transition_are_stored_in_several_rows() {
    let (store, table) = Narrow::store();
    let mut world = World::on(store, START, START).await;
    let workflow = world.id_in(0, "talkative");
    world.start(&workflow).await;
    world.decide(&workflow, vec![marker(MIB / 2), marker(MIB / 3), marker(MIB / 3), marker(10), timer()]).await;
    let events = world.events(&workflow).await;
    world.a.flush().await;
    let rows = std::mem::take(&mut *table.history.lock().unwrap());
    let large: Vec<_> = rows.iter().filter(|bytes| **bytes > MIB / 4).collect();
    assert!(large.len() == 2 && large.iter().all(|bytes| **bytes <= MIB), "{rows:?}");

    world.turn(["b", "b"]);
    world.settled().await;
    assert_eq!(world.events(&workflow).await, events);
    world.close().await;
}
