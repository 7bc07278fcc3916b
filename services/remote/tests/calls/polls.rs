//! Polls: they follow their queue, and what they hand out reaches its worker or is taken back.

use std::sync::Arc;
use std::time::Duration;

use api::temporal::api::workflowservice::v1 as wire;
use calls::{CallContext, GetHistory, History, Matching, ReceiptSlot, ServiceError, ServiceResult, UnwrittenEvents};
use internal_api::calls::calls_client::CallsClient;
use internal_api::calls::{CallRequest, Context, Header, PollRequest, Tenant};
use settings::RemoteSettings;
use tonic::transport::Endpoint;

use crate::cluster_of_fakes::{Cluster, Process, Relay, ctx, node, steady};
use crate::fake::{Fake, Step};

const MS: fn(u64) -> Duration = Duration::from_millis;

async fn poll(cluster: &Cluster, wait: Duration) -> ServiceResult<wire::PollWorkflowTaskQueueResponse> {
    poll_in(cluster, &ctx(), wait).await
}

async fn poll_in(
    cluster: &Cluster,
    ctx: &CallContext,
    wait: Duration,
) -> ServiceResult<wire::PollWorkflowTaskQueueResponse> {
    let ctx = ctx.clone().until(cluster.runtime.now() + wait);
    cluster.matching.poll_workflow_task_queue(&ctx, Default::default()).await?.open()
}

async fn poll_activity(cluster: &Cluster, wait: Duration) -> ServiceResult<wire::PollActivityTaskQueueResponse> {
    let ctx = ctx().until(cluster.runtime.now() + wait);
    cluster.matching.poll_activity_task_queue(&ctx, Default::default()).await?.open()
}

async fn one_process(settings: RemoteSettings) -> (Cluster, Process) {
    let cluster = Cluster::new(settings);
    let process = cluster.process("a").await;
    cluster.publish(&[node("a", 1, &process.address)], Some("a"));
    (cluster, process)
}

#[tokio::test]
async fn a_poll_goes_on_at_the_next_owner_for_what_is_left_of_its_time() {
    let cluster = Cluster::new(steady());
    let (a, b) = (cluster.process("a").await, cluster.process("b").await);
    let nodes = [node("a", 1, &a.address), node("b", 1, &b.address)];
    cluster.publish(&nodes, Some("a"));
    let moved = ServiceError::NotOwner("the shard has moved".to_owned());
    a.fake.arrange(vec![Step::Refuse(moved); 100]);
    let (task, ()) = tokio::join!(poll(&cluster, Duration::from_secs(60)), async {
        cluster.until("the former owner was polled", || a.fake.calls() > 0).await;
        cluster.runtime.sleep(MS(50)).await;
        cluster.publish(&nodes, Some("b"));
    });
    assert_eq!(task.unwrap().task_token, "a task");
    let (at_a, at_b) = (a.fake.time_left()[0].unwrap(), b.fake.time_left()[0].unwrap());
    assert!(at_b + MS(40) <= at_a && at_b > Duration::from_secs(20), "{at_a:?}, then {at_b:?}");
}

#[tokio::test]
async fn a_poll_whose_owner_dies_goes_on_elsewhere() {
    let cluster = Cluster::new(steady());
    let (a, b) = (cluster.process("a").await, cluster.process("b").await);
    let relay = Relay::to(&a).await;
    let nodes = [node("a", 1, &relay.address), node("b", 1, &b.address)];
    cluster.publish(&nodes, Some("a"));
    a.fake.arrange([Step::Hang]);
    let (task, ()) = tokio::join!(poll_activity(&cluster, Duration::from_secs(60)), async {
        cluster.until("the owner was polled", || a.fake.calls() == 1).await;
        relay.break_off();
        cluster.until("the owner has given the poll up", || a.fake.dropped.get() == 1).await;
        cluster.publish(&nodes[1..], Some("b"));
    });
    assert_eq!(task.unwrap().task_token, "a task");
}

#[tokio::test]
async fn a_poll_that_no_node_serves_ends_empty_at_its_deadline() {
    let cluster = Cluster::new(RemoteSettings { deadline_grace: MS(50), ..steady() });
    cluster.publish(&[], None);
    let began = cluster.runtime.now();
    assert_eq!(poll(&cluster, MS(500)).await, Ok(Default::default()));
    let took = cluster.runtime.now().since(began);
    assert!(took >= MS(250) && took < Duration::from_secs(10), "{took:?}");

    let (cluster, process) = one_process(RemoteSettings { deadline_grace: MS(50), ..steady() }).await;
    process.fake.arrange([Step::Hang]);
    assert_eq!(poll(&cluster, MS(3000)).await, Ok(Default::default()));
    cluster.until("the owner has given the poll up", || process.fake.dropped.get() == 1).await;
}

#[tokio::test]
async fn a_wait_for_history_that_no_node_serves_can_be_continued() {
    let cluster = Cluster::new(steady());
    cluster.publish(&[], None);
    let ctx = || ctx().until(cluster.runtime.now() + MS(200));
    let mut request = wire::GetWorkflowExecutionHistoryRequest { wait_new_event: true, ..Default::default() };
    let get = |request: &wire::GetWorkflowExecutionHistoryRequest| GetHistory {
        unwritten: UnwrittenEvents::Hidden,
        request: request.clone(),
    };
    let first = cluster.history.get_history(&ctx(), get(&request)).await;
    assert!(matches!(first, Err(ServiceError::NotOwner(_))), "there is no page to go on from: {first:?}");
    request.next_page_token = "page 2".into();
    let next = cluster.history.get_history(&ctx(), get(&request)).await.unwrap();
    assert_eq!(next.next_page_token, "page 2");
    assert!(next.history.unwrap().events.is_empty());
}

#[tokio::test]
async fn a_poll_that_is_dropped_is_given_up_by_its_owner_at_once() {
    let (cluster, process) = one_process(steady()).await;
    process.fake.arrange([Step::Hang]);
    {
        let poll = poll(&cluster, Duration::from_secs(60));
        let arrived = cluster.until("the poll is there", || process.fake.calls() == 1);
        tokio::select! {
            _ = poll => panic!("it has no answer"),
            () = arrived => {}
        }
    }
    let dropped = cluster.runtime.now();
    cluster.until("the owner has given the poll up", || process.fake.dropped.get() == 1).await;
    assert!(cluster.runtime.now().since(dropped) < Duration::from_secs(20));
}

#[tokio::test]
async fn a_caller_that_closes_its_side_of_a_poll_has_given_it_up() {
    let (cluster, process) = one_process(steady()).await;
    process.fake.arrange([Step::Hang]);
    let to = Endpoint::from_shared(format!("http://{}", process.address)).unwrap();
    let mut client = CallsClient::new(to.connect().await.unwrap());
    let namespace = ctx().namespace;
    let tenant = Tenant {
        id: namespace.id.to_string(),
        name: namespace.name.clone(),
        info: Some(namespace.info.clone()),
        config: Some(namespace.config.clone()),
    };
    let call = CallRequest {
        header: Some(Header { remaining_ms: 60_000, ..Header::default() }),
        context: Some(Context { tenant: Some(tenant), request_id: String::new() }),
        call: "matching/poll_workflow_task_queue".to_owned(),
        request: Default::default(),
    };
    let poll = PollRequest { poll: Some(call), is_written: false };
    let status = client.poll(tokio_stream::iter([poll])).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Cancelled);
    assert_eq!((process.fake.calls(), process.fake.dropped.get()), (1, 1));
    drop(cluster);
}

#[tokio::test]
async fn what_was_written_to_a_worker_counts_as_written_with_its_owner() {
    let (cluster, process) = one_process(steady()).await;
    let receipts = ReceiptSlot::default();
    let task = poll_in(&cluster, &ctx().receipts_to(&receipts), Duration::from_secs(60)).await.unwrap();
    assert_eq!(task.task_token, "a task");
    let receipt = receipts.take().expect("something was handed out");
    assert_eq!((process.fake.written.get(), process.fake.taken_back.get()), (0, 0));
    receipt.written();
    cluster.until("the owner has heard it", || process.fake.written.get() == 1).await;
    assert_eq!(process.fake.taken_back.get(), 0);

    // Without a receipt slot, an answer counts as written when it is returned.
    poll_activity(&cluster, Duration::from_secs(60)).await.unwrap();
    cluster.until("the owner has heard it", || process.fake.written.get() == 2).await;
}

#[tokio::test]
async fn what_could_not_be_written_to_a_worker_is_taken_back() {
    let (cluster, process) = one_process(steady()).await;
    let receipts = ReceiptSlot::default();
    poll_in(&cluster, &ctx().receipts_to(&receipts), Duration::from_secs(60)).await.unwrap();
    drop(receipts);
    cluster.until("the owner has heard it", || process.fake.taken_back.get() == 1).await;
    assert_eq!(process.fake.written.get(), 0);
}

#[tokio::test]
async fn what_was_with_a_frontend_that_died_is_taken_back() {
    let cluster = Cluster::new(steady());
    let process = cluster.process("a").await;
    let relay = Relay::to(&process).await;
    cluster.publish(&[node("a", 1, &relay.address)], Some("a"));
    let receipts = ReceiptSlot::default();
    poll_in(&cluster, &ctx().receipts_to(&receipts), Duration::from_secs(60)).await.unwrap();
    let receipt = receipts.take().expect("something was handed out");
    relay.break_off();
    cluster.until("the owner has noticed", || process.fake.taken_back.get() == 1).await;
    // Too late; the task may reach two workers, and history knows the second by its request id.
    receipt.written();
    cluster.runtime.sleep(MS(50)).await;
    assert_eq!(process.fake.written.get(), 0);
}

#[tokio::test]
async fn what_was_with_a_frontend_that_says_nothing_is_taken_back_after_a_while() {
    let (cluster, process) = one_process(RemoteSettings { receipt_timeout: MS(150), ..steady() }).await;
    let receipts = ReceiptSlot::default();
    let began = cluster.runtime.now();
    poll_in(&cluster, &ctx().receipts_to(&receipts), Duration::from_secs(60)).await.unwrap();
    cluster.until("the owner has lost timeout", || process.fake.taken_back.get() == 1).await;
    assert!(cluster.runtime.now().since(began) >= MS(150));
}

#[tokio::test]
async fn an_empty_poll_and_a_refused_one_wait_for_no_receipt() {
    let cluster = Cluster::new(steady());
    let process = cluster.process_of(Fake::with_tasks(false), "a").await;
    cluster.publish(&[node("a", 1, &process.address)], Some("a"));
    let receipts = ReceiptSlot::default();
    let empty = poll_in(&cluster, &ctx().receipts_to(&receipts), Duration::from_secs(60)).await;
    assert_eq!(empty, Ok(Default::default()));
    assert!(receipts.take().is_none());

    process.fake.arrange([Step::Refuse(ServiceError::InvalidArgument("no".to_owned()))]);
    let refused = poll_in(&cluster, &ctx().receipts_to(&receipts), Duration::from_secs(60)).await;
    assert_eq!(refused, Err(ServiceError::InvalidArgument("no".to_owned())));
    assert!(receipts.take().is_none());
}

#[tokio::test]
async fn a_local_polls_receipt_is_matchings_own() {
    let cluster = Cluster::new(steady());
    cluster.publish(&[node("here", 1, "127.0.0.1:1")], Some("here"));
    let receipts = ReceiptSlot::default();
    poll_in(&cluster, &ctx().receipts_to(&receipts), Duration::from_secs(60)).await.unwrap();
    let local: &Arc<Fake> = &cluster.local;
    receipts.take().expect("something was handed out").written();
    assert_eq!((local.written.get(), local.taken_back.get()), (1, 0));
}
