//! Large messages, many calls at a time, and what one call costs.

use std::time::Duration;

use api::temporal::api::common::v1::{Payload, Payloads};
use api::temporal::api::workflowservice::v1 as wire;
use calls::{History, Matching};
use futures::stream::{FuturesUnordered, StreamExt};
use settings::RemoteSettings;

use crate::cluster_of_fakes::{Cluster, ctx, node, steady};
use crate::fake::Step;

#[tokio::test]
async fn a_message_of_many_megabytes_arrives() {
    let cluster = Cluster::new(steady());
    let process = cluster.process("a").await;
    cluster.publish(&[node("a", 1, &process.address)], Some("a"));
    let data = vec![7_u8; 40 << 20];
    let payload = Payload { data: data.into(), ..Payload::default() };
    let input = Some(Payloads { payloads: vec![payload] });
    let request = wire::SignalWorkflowExecutionRequest { input, ..Default::default() };
    cluster.history.signal_workflow(&ctx(), request).await.unwrap();
    assert_eq!(process.fake.calls(), 1);
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_and_not_tried_again() {
    let cluster = Cluster::new(RemoteSettings { message_bytes: 10_000, ..steady() });
    let process = cluster.process("a").await;
    cluster.publish(&[node("a", 1, &process.address)], Some("a"));
    let began = cluster.runtime.now();
    let payload = Payload { data: vec![7; 20_000].into(), ..Payload::default() };
    let input = Some(Payloads { payloads: vec![payload] });
    let request = wire::SignalWorkflowExecutionRequest { input, ..Default::default() };
    let answer = cluster.history.signal_workflow(&ctx(), request).await;
    assert!(matches!(answer, Err(calls::ServiceError::Internal(_))), "{answer:?}");
    assert!(cluster.runtime.now().since(began) < Duration::from_secs(20), "it was tried again");
    assert!(process.fake.asked().is_empty());
}

#[tokio::test]
async fn thousands_of_polls_wait_on_one_connection_and_all_can_be_given_up_at_once() {
    const POLLS: usize = 2000;
    let cluster = Cluster::new(steady());
    let process = cluster.process("a").await;
    cluster.publish(&[node("a", 1, &process.address)], Some("a"));
    process.fake.arrange(vec![Step::Hang; 2 * POLLS]);
    let ctx = ctx();
    let waiting = ctx.clone().until(cluster.runtime.now() + Duration::from_secs(600));
    let mut polls: FuturesUnordered<_> =
        (0..POLLS).map(|_| cluster.matching.poll_workflow_task_queue(&waiting, Default::default())).collect();
    tokio::select! {
        answer = polls.next() => panic!("polls get no answer: {answer:?}"),
        () = cluster.until("all polls wait", || process.fake.calls() >= POLLS) => {}
    }
    process.fake.answer_all();
    cluster.history.describe_workflow(&ctx, Default::default()).await.unwrap();
    drop(polls);
    cluster.until("all polls are given up", || process.fake.dropped.get() >= POLLS).await;
    cluster.history.describe_workflow(&ctx, Default::default()).await.unwrap();
}

/// What a call costs, both sides and the socket between them in one process, is printed by
/// `OUTLAST_CALLS=100000 cargo test --release -p remote --test calls -- --nocapture many_callers`.
#[tokio::test(flavor = "multi_thread")]
async fn many_callers_share_a_connection() {
    const AT_A_TIME: usize = 64;
    let calls: u32 = std::env::var("OUTLAST_CALLS").map_or(1000, |calls| calls.parse().unwrap());
    let cluster = Cluster::new(steady());
    let process = cluster.process("a").await;
    cluster.publish(&[node("a", 1, &process.address)], Some("a"));
    let ctx = ctx();
    let (began, cpu) = (cluster.runtime.now(), cpu_time());
    futures::stream::iter(0..calls)
        .for_each_concurrent(AT_A_TIME, async |_| {
            cluster.history.request_cancel(&ctx, Default::default()).await.unwrap();
        })
        .await;
    let (took, cpu) = (cluster.runtime.now().since(began), cpu_time().saturating_sub(cpu));
    let per_second = f64::from(calls) / took.as_secs_f64();
    assert!(process.fake.calls() >= calls as usize);
    println!("{per_second:.0} calls/s with {AT_A_TIME} at a time, {:?} of CPU per call", cpu / calls);
}

/// User and system time of this process so far, in ticks of 10 ms; nothing where there is no /proc.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    Duration::from_millis(ticks * 10)
}
