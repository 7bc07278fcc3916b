//! Histories: pages, tails of polled tasks, long polls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use api::temporal::api::command::v1::command::Attributes;
use api::temporal::api::common::v1::{Payload, Payloads};
use api::temporal::api::enums::v1::EventType;
use api::temporal::api::history::v1::HistoryEvent;
use api::temporal::api::workflowservice::v1 as wire;
use calls::{History, ServiceError, UnwrittenEvents};
use entities::ShardSettings;
use prost::bytes::Bytes;
use settings::HistorySettings;
use storage::fault::TableInFront;
use storage::{PartitionKey, ScanOrder, ScanPage, ScanRange, StorageResult, Table};

use super::commands;
use super::rig::{Rig, assert_whole, execution, types};

fn markers(from: usize, to: usize) -> Vec<api::temporal::api::command::v1::Command> {
    (from..to).map(|number| commands::marker(&number.to_string())).collect()
}

/// A workflow with some 700 events in batches of several sizes, whose last task is failed once, so that the next is
/// transient.
async fn long_workflow(rig: &Rig) -> String {
    let run_id = rig.start("w", "long").await;
    for (from, to) in [(0, 300), (300, 301), (301, 650)] {
        let task = rig.poll().await.unwrap();
        rig.complete(&task, markers(from, to)).await;
        rig.signal("w", "go", "").await.unwrap();
    }
    rig.fail(&rig.poll().await.unwrap()).await;
    run_id
}

/// All events of a polled task, following its page token.
async fn all_events(rig: &Rig, task: &wire::PollWorkflowTaskQueueResponse) -> Vec<HistoryEvent> {
    let mut events = task.history.clone().unwrap().events;
    if !task.next_page_token.is_empty() {
        // An SDK names the workflow and takes the run from the token.
        let pages = rig.pages("w", "", 0, task.next_page_token.clone()).await;
        assert!(pages.iter().all(|page| page.len() <= 258), "at most 256 events and the task's own two");
        events.extend(pages.into_iter().flatten());
    }
    events
}

#[tokio::test(start_paused = true)]
async fn a_polled_tasks_pages_end_in_its_started_event_which_is_then_written_as_shown() {
    let rig = Rig::new().await;
    let run_id = long_workflow(&rig).await;
    let task = rig.poll().await.unwrap();
    assert_eq!(task.attempt, 2);
    assert!(!task.next_page_token.is_empty());
    let shown = all_events(&rig, &task).await;
    assert_whole(&shown);
    assert_eq!(shown.last().unwrap().event_id, task.started_event_id);
    assert_eq!(shown.last().unwrap().event_type(), EventType::WorkflowTaskStarted);
    let stored = rig.events("w", &run_id).await;
    assert_eq!(stored.len() + 2, shown.len(), "a transient attempt is not in the history");

    rig.runtime.sleep(Duration::from_secs(3)).await;
    rig.complete(&task, vec![commands::complete("")]).await;
    let written = rig.events("w", &run_id).await;
    assert_eq!(written[..shown.len()], shown[..], "what the worker was shown is what is written");
    assert_whole(&written);

    let request = wire::GetWorkflowExecutionHistoryRequest {
        execution: execution("w", ""),
        next_page_token: task.next_page_token,
        ..Default::default()
    };
    assert!(rig.get_history(UnwrittenEvents::Hidden, request, 1).await.is_ok(), "a late page is still right");
}

fn ids(task: &wire::PollWorkflowTaskQueueResponse) -> Vec<i64> {
    task.history.as_ref().unwrap().events.iter().map(|event| event.event_id).collect()
}

#[tokio::test(start_paused = true)]
async fn a_task_that_comes_with_an_answer_holds_what_its_worker_has_not_seen_and_the_next_poller_gets_all() {
    let rig = Rig::new().await;
    rig.start("w", "inline").await;
    let first = rig.poll().await.unwrap();
    rig.signal("w", "go", "").await.unwrap();
    let complete = async |task: &wire::PollWorkflowTaskQueueResponse| {
        // No sticky queue: the worker keeps no cache, but it has just run the workflow.
        let request = wire::RespondWorkflowTaskCompletedRequest {
            return_new_workflow_task: true,
            force_create_new_workflow_task: true,
            ..Default::default()
        };
        rig.complete_with(task, request).await.unwrap().workflow_task.unwrap()
    };
    let second = complete(&first).await;
    assert_eq!((ids(&second), second.previous_started_event_id), (vec![4, 5, 6, 7], 3));
    let third = complete(&second).await;
    assert_eq!((ids(&third), third.previous_started_event_id), (vec![8, 9, 10], 7));

    rig.fail(&third).await;
    let again = rig.poll().await.unwrap();
    assert_eq!((ids(&again), again.previous_started_event_id), ((1..=13).collect(), 7));
    assert_eq!(again.attempt, 2);
    let fourth = complete(&again).await;
    assert_eq!((ids(&fourth), fourth.previous_started_event_id), (vec![14, 15, 16], 13));
}

/// Follows the pages of a listing; with `wait`, one page.
async fn read(rig: &Rig, unwritten: UnwrittenEvents, size: i32, wait: bool, token: Bytes) -> (Vec<Vec<i64>>, Bytes) {
    let mut pages = Vec::new();
    let mut next_page_token = token;
    loop {
        let request = wire::GetWorkflowExecutionHistoryRequest {
            execution: execution("w", ""),
            maximum_page_size: size,
            next_page_token,
            wait_new_event: wait,
            ..Default::default()
        };
        let page = rig.get_history(unwritten, request, 1).await.unwrap();
        pages.push(page.history.unwrap().events.iter().map(|event| event.event_id).collect());
        next_page_token = page.next_page_token;
        if wait || next_page_token.is_empty() {
            return (pages, next_page_token);
        }
    }
}

async fn read_by(rig: &Rig, unwritten: UnwrittenEvents) -> Vec<i64> {
    read(rig, unwritten, 0, false, Bytes::new()).await.0.concat()
}

#[tokio::test(start_paused = true)]
async fn a_later_attempt_follows_the_last_event_for_a_worker_that_reads_and_not_for_people() {
    use UnwrittenEvents::{Hidden, Shown};
    let rig = Rig::new().await;
    rig.start("w", "transient").await;
    rig.fail(&rig.poll().await.unwrap()).await;
    assert_eq!(read_by(&rig, Shown).await, [1, 2, 3, 4, 5], "scheduled");
    assert_eq!(read_by(&rig, Hidden).await, [1, 2, 3, 4]);
    let task = rig.poll().await.unwrap();
    assert_eq!((task.attempt, ids(&task)), (2, vec![1, 2, 3, 4, 5, 6]));
    assert_eq!(read_by(&rig, Shown).await, [1, 2, 3, 4, 5, 6], "started");
    assert_eq!(read_by(&rig, Hidden).await, [1, 2, 3, 4]);
    let described = rig.describe("w").await.unwrap().workflow_execution_info.unwrap();
    assert_eq!(described.history_length, 4, "it is not in the history");

    let (pages, _) = read(&rig, Shown, 2, false, Bytes::new()).await;
    assert_eq!(pages, [vec![1, 2], vec![3, 4, 5, 6]], "with the last page");
    let (pages, token) = read(&rig, Shown, 0, true, Bytes::new()).await;
    assert_eq!(pages, [vec![1, 2, 3, 4, 5, 6]]);
    let (pages, token) = read(&rig, Shown, 0, true, token).await;
    assert_eq!(pages, [Vec::<i64>::new()], "it is no news");
    rig.complete(&task, vec![]).await;
    assert_eq!(read(&rig, Shown, 0, true, token).await.0, [vec![5, 6, 7]], "now it is written");
}

#[tokio::test(start_paused = true)]
async fn a_later_attempt_that_comes_to_nothing_is_not_shown() {
    let rig = Rig::new().await;
    rig.start("w", "transient").await;
    rig.fail(&rig.poll().await.unwrap()).await;
    let first_page = wire::GetWorkflowExecutionHistoryRequest {
        execution: execution("w", ""),
        maximum_page_size: 2,
        ..Default::default()
    };
    let page = rig.get_history(UnwrittenEvents::Shown, first_page, 1).await.unwrap();
    rig.signal("w", "go", "").await.unwrap();
    assert_eq!(read_by(&rig, UnwrittenEvents::Shown).await, [1, 2, 3, 4, 5], "another event has its place");
    assert_eq!(types(&rig.events("w", "").await).last(), Some(&"WORKFLOW_EXECUTION_SIGNALED"));
    let (rest, _) = read(&rig, UnwrittenEvents::Shown, 0, false, page.next_page_token).await;
    assert_eq!(rest, [vec![3, 4]], "a listing shows the history as its first page found it");

    rig.fail(&rig.poll().await.unwrap()).await;
    let written = rig.events("w", "").await.len();
    assert_eq!(read_by(&rig, UnwrittenEvents::Shown).await.len(), written + 1);
    rig.terminate("w").await;
    assert_eq!(read_by(&rig, UnwrittenEvents::Shown).await.len(), written + 1, "the end has its place");
    assert_eq!(types(&rig.events("w", "").await).last(), Some(&"WORKFLOW_EXECUTION_TERMINATED"));
}

#[tokio::test(start_paused = true)]
async fn pages_are_the_same_from_memory_from_the_table_and_across_both() {
    let rig = Rig::new().await;
    let run_id = long_workflow(&rig).await;
    let from_memory = rig.events("w", &run_id).await;
    assert_whole(&from_memory);
    let mut rig = rig.restart().await;
    for size in [1, 7, 100, 256, 10_000] {
        let pages = rig.pages("w", &run_id, size, Bytes::new()).await;
        assert!(pages.iter().all(|page| page.len() <= 256.min(size as usize)));
        assert_eq!(pages.concat(), from_memory, "page size {size}");
    }
    // Some of the next events are in memory only.
    for _ in 0..3 {
        let task = rig.poll().await.unwrap();
        rig.complete(&task, markers(0, 20)).await;
        rig.signal("w", "go", "").await.unwrap();
        let across = rig.events("w", &run_id).await;
        assert_whole(&across);
        assert_eq!(across[..from_memory.len()], from_memory[..]);
        rig = rig.crash().await;
        assert_eq!(rig.events("w", &run_id).await, across);
    }
    reversed(&rig, &run_id).await;
}

async fn reversed(rig: &Rig, run_id: &str) {
    let mut forward = rig.events("w", run_id).await;
    forward.reverse();
    for size in [3, 100, 0] {
        let mut backward = Vec::new();
        let mut next_page_token = Bytes::new();
        loop {
            let request = wire::GetWorkflowExecutionHistoryReverseRequest {
                execution: execution("w", run_id),
                maximum_page_size: size,
                next_page_token,
                ..Default::default()
            };
            let page = rig.history.get_history_reverse(&rig.ctx, request).await.unwrap();
            backward.extend(page.history.unwrap().events);
            next_page_token = page.next_page_token;
            if next_page_token.is_empty() {
                break;
            }
        }
        assert_eq!(backward, forward, "page size {size}");
    }
}

#[tokio::test(start_paused = true)]
async fn old_history_leaves_memory_and_is_still_read() {
    let settings = ShardSettings { checkpoint_age: Duration::from_secs(1), ..ShardSettings::default() };
    let fresh = Rig::new().await;
    fresh.kill().await;
    let rig = Rig::with(fresh.store.clone(), fresh.runtime.clone(), HistorySettings::default(), settings).await;
    let run_id = rig.start("w", "long").await;
    let mut whole = Vec::new();
    for round in 0..20 {
        let task = rig.poll().await.unwrap();
        assert_whole(&all_events(&rig, &task).await);
        rig.complete(&task, markers(0, 100)).await;
        rig.signal("w", &"x".repeat(10_000), "").await.unwrap();
        rig.runtime.sleep(Duration::from_secs(5)).await;
        let events = rig.events("w", &run_id).await;
        assert_whole(&events);
        assert_eq!(events[..whole.len()], whole[..], "round {round}");
        whole = events;
    }
    let loaded: usize = rig.history.stats().iter().map(|(_, shard)| shard.loaded_bytes).sum();
    assert!(loaded < 800_000, "{loaded} bytes in memory for a history of which the tail is enough");
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_wakes_with_news_and_ends_empty_without() {
    let rig = Rig::new().await;
    let run_id = rig.start("w", "poll").await;
    let wait = |token: Bytes, seconds: u64| {
        let request = wire::GetWorkflowExecutionHistoryRequest {
            execution: execution("w", &run_id),
            wait_new_event: true,
            next_page_token: token,
            ..Default::default()
        };
        rig.get_history(UnwrittenEvents::Hidden, request, seconds)
    };
    let first = wait(Bytes::new(), 20).await.unwrap();
    assert_eq!(first.history.unwrap().events.len(), 2);
    let began = rig.runtime.now();
    let nothing = wait(first.next_page_token, 20).await.unwrap();
    assert!(nothing.history.unwrap().events.is_empty());
    assert_eq!(rig.runtime.now().since(began), Duration::from_secs(20));

    let began = rig.runtime.now();
    let signal = async {
        rig.runtime.sleep(Duration::from_secs(7)).await;
        rig.signal("w", "go", "").await.unwrap();
    };
    let (news, ()) = tokio::join!(wait(nothing.next_page_token, 20), signal);
    let news = news.unwrap();
    assert_eq!(types(&news.history.unwrap().events), ["WORKFLOW_EXECUTION_SIGNALED"]);
    assert_eq!(rig.runtime.now().since(began), Duration::from_secs(7));

    let finish = async {
        let task = rig.poll().await.unwrap();
        rig.complete(&task, vec![commands::complete("")]).await;
    };
    let (_, event) = tokio::join!(finish, rig.closing_event("w"));
    assert_eq!(event.event_type(), EventType::WorkflowExecutionCompleted);
    let last = wait(news.next_page_token, 20).await.unwrap();
    assert_eq!(last.history.unwrap().events.len(), 3);
    assert!(last.next_page_token.is_empty(), "a closed run has no more news");
}

#[tokio::test(start_paused = true)]
async fn a_page_token_works_for_its_own_workflow_only() {
    let rig = Rig::new().await;
    rig.start("w", "a").await;
    rig.start("v", "a").await;
    let request = |workflow: &str, token: Bytes| wire::GetWorkflowExecutionHistoryRequest {
        execution: execution(workflow, ""),
        maximum_page_size: 1,
        next_page_token: token,
        ..Default::default()
    };
    let page = rig.get_history(UnwrittenEvents::Hidden, request("w", Bytes::new()), 1).await.unwrap();
    let other = rig.get_history(UnwrittenEvents::Hidden, request("v", page.next_page_token), 1).await;
    assert!(matches!(other, Err(ServiceError::InvalidArgument(_))));
}

/// A table that counts the rows that listings read.
struct CountingTable {
    table: Arc<dyn Table>,
    rows: AtomicUsize,
}

#[async_trait::async_trait]
impl TableInFront for CountingTable {
    fn behind(&self) -> &dyn Table {
        &*self.table
    }

    async fn scan(
        &self,
        partition: &PartitionKey,
        range: ScanRange,
        order: ScanOrder,
        limit: usize,
    ) -> StorageResult<ScanPage> {
        let page = self.table.scan(partition, range, order, limit).await?;
        self.rows.fetch_add(page.rows.len(), Ordering::Relaxed);
        Ok(page)
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_reads_little_more_than_it_shows() {
    let rig = Rig::new().await;
    rig.start("w", "large").await;
    let mut large = commands::marker("large");
    let Some(Attributes::RecordMarkerCommandAttributes(attributes)) = &mut large.attributes else { unreachable!() };
    let payload = Payload { data: vec![b'x'; 300_000].into(), ..Payload::default() };
    attributes.details.insert("data".to_owned(), Payloads { payloads: vec![payload] });
    for _ in 0..40 {
        let task = rig.poll().await.unwrap();
        rig.complete(&task, vec![large.clone()]).await;
        rig.signal("w", "go", "").await.unwrap();
    }
    let Rig { runtime, store, history, matching, .. } = rig;
    matching.close().await;
    history.close().await;
    let counting = Arc::new(CountingTable { table: store.table.clone(), rows: AtomicUsize::new(0) });
    let rig = Rig::on(storage::Store { table: counting.clone(), ..store }, runtime).await;
    rig.describe("w").await.unwrap();
    counting.rows.store(0, Ordering::Relaxed);
    let request = wire::GetWorkflowExecutionHistoryRequest { execution: execution("w", ""), ..Default::default() };
    let page = rig.get_history(UnwrittenEvents::Hidden, request, 1).await.unwrap();
    let shown = page.history.unwrap().events.len();
    assert!(shown < 60, "{shown}: two mebibytes end a page");
    let read = counting.rows.load(Ordering::Relaxed);
    assert!(read <= shown + 8, "{read} rows read for {shown} events");
    let request =
        wire::GetWorkflowExecutionHistoryReverseRequest { execution: execution("w", ""), ..Default::default() };
    counting.rows.store(0, Ordering::Relaxed);
    rig.history.get_history_reverse(&rig.ctx, request).await.unwrap();
    let read = counting.rows.load(Ordering::Relaxed);
    assert!(read <= shown + 8, "{read} rows read for {shown} events, backward");
}
