//! Shards that move while callers wait for their workflows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::temporal::api::common::v1::WorkflowType;
use api::temporal::api::history::v1::history_event::Attributes;
use api::temporal::api::query::v1::WorkflowQuery;
use api::temporal::api::taskqueue::v1::TaskQueue;
use api::temporal::api::workflowservice::v1 as wire;
use calls::{GetHistory, History, ServiceError, UnwrittenEvents};

use crate::world::{World, describe, execution};

#[tokio::test(start_paused = true)]
async fn long_polls_and_queries_of_a_shard_that_moves_end_at_once() {
    let world = World::new().await;
    let (moving, staying) = (world.id_in(0, "moving"), world.id_in(1, "staying"));
    world.start(&moving).await;
    world.start(&staying).await;
    let poll = |workflow_id: &str, node: &Arc<history::HistoryService>| {
        let request = wire::GetWorkflowExecutionHistoryRequest {
            execution: execution(workflow_id),
            wait_new_event: true,
            history_event_filter_type: 2,
            ..Default::default()
        };
        let (node, ctx) = (Arc::clone(node), world.within(300));
        let get = GetHistory { unwritten: UnwrittenEvents::Hidden, request };
        world.runtime.spawn(async move { node.get_history(&ctx, get).await })
    };
    let (lost, kept) = (poll(&moving, &world.a), poll(&staying, &world.b));
    let query = {
        // Its first task is scheduled, so the query waits for it.
        let request = wire::QueryWorkflowRequest {
            execution: execution(&moving),
            query: Some(WorkflowQuery { query_type: "how".to_owned(), ..Default::default() }),
            ..Default::default()
        };
        let (node, ctx) = (Arc::clone(&world.a), world.within(300));
        world.runtime.spawn(async move { node.query_workflow(&ctx, request).await })
    };
    world.runtime.sleep(Duration::from_secs(1)).await;
    assert!(!lost.is_finished() && !query.is_finished() && !kept.is_finished());
    world.turn(["b", "b"]);
    let waited = world.runtime.timeout(Duration::from_millis(100), async { (lost.await, query.await) }).await;
    let (poll, query) = waited.expect("both end");
    assert!(matches!(poll.unwrap(), Err(ServiceError::NotOwner(_))));
    assert!(matches!(query.unwrap(), Err(ServiceError::NotOwner(_))));
    assert!(!kept.is_finished());
    // The new owner takes the poll.
    world.settled().await;
    assert!(world.b.describe_workflow(&world.ctx, describe(&moving)).await.is_ok());
    assert_eq!((world.a.unserved(), world.a.stats().len(), world.b.stats().len()), (0, 0, 2));
    kept.abort();
    world.close().await;
}

#[tokio::test(start_paused = true)]
async fn workflows_go_on_while_their_shards_change_hands() {
    let mut world = World::new().await;
    let workflow = world.id_in(0, "traveller");
    world.start(&workflow).await;
    for round in 0..10 {
        world.turn(if round % 2 == 0 { ["b", "a"] } else { ["a", "b"] });
        world.settled().await;
        world.decide(&workflow, vec![]).await;
        let signal = wire::SignalWorkflowExecutionRequest {
            workflow_execution: execution(&workflow),
            signal_name: "go on".to_owned(),
            request_id: round.to_string(),
            ..Default::default()
        };
        world.owner_of(&workflow).await.signal_workflow(&world.ctx, signal).await.unwrap();
    }
    let events = world.events(&workflow).await;
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.event_id, index as i64 + 1);
    }
    let signals = world.types(&workflow).await.iter().filter(|word| *word == "WORKFLOW_EXECUTION_SIGNALED").count();
    assert_eq!(signals, 10);
    world.close().await;
}

/// B52: concurrent signal-with-starts while the shard moves all succeed, and start one run. B60: a signal that was
/// acknowledged during a move is there, once.
#[tokio::test(start_paused = true)]
async fn concurrent_signal_with_starts_during_moves_make_one_run_with_every_signal_once() {
    let world = Arc::new(World::new().await);
    let workflow = world.id_in(0, "wanted");
    let callers: Vec<_> = (0..100)
        .map(|n| {
            let (world, workflow) = (Arc::clone(&world), workflow.clone());
            world.runtime.clone().spawn(async move {
                let request = wire::SignalWithStartWorkflowExecutionRequest {
                    namespace: "default".to_owned(),
                    workflow_id: workflow,
                    workflow_type: Some(WorkflowType { name: "kind".to_owned() }),
                    task_queue: Some(TaskQueue { name: "work".to_owned(), ..Default::default() }),
                    request_id: format!("request {n}"),
                    signal_name: format!("{n}"),
                    ..Default::default()
                };
                world.runtime.sleep(Duration::from_millis(n * 3)).await;
                // As a router does: to the node that serves the shard, with the same request id.
                for _ in 0..10_000 {
                    for node in [&world.a, &world.b] {
                        match node.signal_with_start(&world.ctx, request.clone()).await {
                            Ok(response) => return response.run_id,
                            Err(ServiceError::NotOwner(_)) => {}
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                    world.runtime.sleep(Duration::from_millis(1)).await;
                }
                panic!("no node serves the shard");
            })
        })
        .collect();
    for round in 0..30 {
        world.turn(if round % 2 == 0 { ["b", "b"] } else { ["a", "a"] });
        world.runtime.sleep(Duration::from_millis(10)).await;
    }
    let mut runs = BTreeSet::new();
    for caller in callers {
        runs.insert(caller.await.unwrap());
    }
    assert_eq!(runs.len(), 1);
    let signals = world.events(&workflow).await.into_iter().filter_map(|event| match event.attributes {
        Some(Attributes::WorkflowExecutionSignaledEventAttributes(signal)) => Some(signal.signal_name),
        _ => None,
    });
    let mut signals: Vec<String> = signals.collect();
    assert_eq!(signals.len(), 100);
    signals.sort();
    signals.dedup();
    assert_eq!(signals.len(), 100);
    world.a.close().await;
    world.b.close().await;
}
