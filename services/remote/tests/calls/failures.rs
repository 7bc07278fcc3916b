//! How long a call is tried, and what its caller hears in the end.

use std::time::Duration;

use api::temporal::api::workflowservice::v1 as wire;
use calls::{CallContext, GetHistory, History, Matching, ServiceError, UnwrittenEvents};
use settings::RemoteSettings;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::cluster_of_fakes::{Cluster, Relay, ctx, node, steady};
use crate::fake::Step;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn impatient() -> RemoteSettings {
    RemoteSettings { call_timeout: MS(300), ..steady() }
}

async fn describe(cluster: &Cluster) -> Result<wire::DescribeWorkflowExecutionResponse, ServiceError> {
    describe_within(cluster, &ctx()).await
}

async fn describe_within(
    cluster: &Cluster,
    ctx: &CallContext,
) -> Result<wire::DescribeWorkflowExecutionResponse, ServiceError> {
    cluster.history.describe_workflow(ctx, Default::default()).await
}

#[tokio::test]
async fn the_callers_deadline_travels_and_ends_the_call_on_both_sides() {
    let cluster = Cluster::new(steady());
    let process = cluster.process("there").await;
    cluster.publish(&[node("there", 1, &process.address)], Some("there"));
    process.fake.arrange([Step::Hang]);

    let (began, within) = (cluster.runtime.now(), Duration::from_secs(5));
    let answer = describe_within(&cluster, &ctx().until(began + within)).await;
    let took = cluster.runtime.now().since(began);
    assert!(matches!(answer, Err(ServiceError::DeadlineExceeded(_))), "{answer:?}");
    assert!(took >= within - MS(10), "{took:?}");
    let left = process.fake.time_left()[0].unwrap();
    assert!(!left.is_zero() && left <= within, "{left:?} of {within:?} was left on arrival");
    cluster.until("the handler is dropped", || process.fake.dropped.get() == 1).await;
}

#[tokio::test]
async fn a_deadline_of_the_trait_travels_as_what_is_left_of_it() {
    let cluster = Cluster::new(steady());
    let process = cluster.process("there").await;
    cluster.publish(&[node("there", 1, &process.address)], Some("there"));
    let deadline = cluster.runtime.now() + Duration::from_secs(600);
    let ctx = ctx().until(deadline);
    let get = GetHistory { unwritten: UnwrittenEvents::Hidden, request: Default::default() };
    cluster.history.get_history(&ctx, get).await.unwrap();
    cluster.matching.poll_workflow_task_queue(&ctx, Default::default()).await.unwrap();
    for left in process.fake.time_left() {
        let left = left.unwrap();
        assert!(left > Duration::from_secs(500) && left <= Duration::from_secs(600), "{left:?}");
    }
}

#[tokio::test]
async fn without_a_deadline_a_call_ends_unavailable_after_the_call_timeout() {
    let cluster = Cluster::new(impatient());
    let process = cluster.process("there").await;
    cluster.publish(&[node("there", 1, &process.address)], Some("there"));
    process.fake.arrange(vec![Step::Hang; 100]);
    let answer = describe(&cluster).await;
    assert!(matches!(answer, Err(ServiceError::Unavailable(_))), "{answer:?}");
}

#[tokio::test]
async fn without_an_owner_to_ask_the_call_ends_as_not_owner() {
    let cluster = Cluster::new(RemoteSettings { connect_timeout: MS(50), ..impatient() });
    let not_owner = |answer| matches!(answer, Err(ServiceError::NotOwner(_)));
    // On a slow machine call_timeout ends while the connection is being tried.
    let no_one_there = |answer| matches!(answer, Err(ServiceError::NotOwner(_) | ServiceError::Unavailable(_)));
    assert!(not_owner(describe(&cluster).await), "no ring");
    cluster.publish(&[], None);
    assert!(not_owner(describe(&cluster).await), "no owner");
    cluster.publish(&[node("there", 1, "127.0.0.1:1")], Some("there"));
    assert!(no_one_there(describe(&cluster).await), "nothing listens there");
    cluster.publish(&[node("there", 2, "no-such-host.invalid:7240")], Some("there"));
    assert!(no_one_there(describe(&cluster).await), "no such host");
}

#[tokio::test]
async fn a_busy_owner_is_asked_a_few_times_and_then_believed() {
    let cluster = Cluster::new(RemoteSettings { unavailable_backoff: MS(5), ..steady() });
    let process = cluster.process("there").await;
    cluster.publish(&[node("there", 1, &process.address)], Some("there"));
    let busy = ServiceError::Unavailable("shedding".to_owned());
    process.fake.arrange(vec![Step::Refuse(busy.clone()); 10]);
    assert_eq!(describe(&cluster).await, Err(busy));
    assert_eq!(process.fake.calls(), 4);
}

#[tokio::test]
async fn a_process_that_dies_in_the_middle_of_a_call_is_asked_again_when_it_is_back() {
    let cluster = Cluster::new(steady());
    let process = cluster.process("there").await;
    let relay = Relay::to(&process).await;
    cluster.publish(&[node("there", 1, &relay.address)], Some("there"));
    process.fake.arrange([Step::Hang]);
    let request = wire::StartWorkflowExecutionRequest { workflow_id: "w".to_owned(), ..Default::default() };
    let ctx = ctx();
    let (answer, ()) = tokio::join!(cluster.history.start_workflow(&ctx, request), async {
        cluster.until("the call is there", || process.fake.calls() == 1).await;
        relay.break_off();
        // Where it is back, its address is another.
        cluster.publish(&[node("there", 2, &process.address)], Some("there"));
    });
    answer.unwrap();
    let asked = process.fake.asked();
    assert!(asked.len() > 1);
    assert!(asked.iter().all(|again| *again == asked[0]), "all attempts are the same, request id and all: {asked:?}");
    assert!(!asked[0].contains("request_id: \"\""), "a request without an id got one: {}", asked[0]);
}

#[tokio::test]
async fn pings_find_out_that_a_peer_fell_silent() {
    let (interval, timeout) = (MS(100), Duration::from_secs(1));
    let keepalive = RemoteSettings { keepalive_interval: interval, keepalive_timeout: timeout, ..steady() };
    let cluster = Cluster::new(keepalive);
    let process = cluster.process("there").await;
    let relay = Relay::to(&process).await;
    cluster.publish(&[node("there", 1, &relay.address)], Some("there"));
    describe(&cluster).await.unwrap();
    relay.swallow();
    let (calls, connections) = (process.fake.calls(), relay.connections());
    tokio::select! {
        answer = describe(&cluster) => panic!("the call reached no peer: {answer:?}"),
        () = cluster.until("another connection is made", || relay.connections() > connections) => {}
    }
    assert_eq!(process.fake.calls(), calls);
    cluster.publish(&[node("there", 1, &process.address)], Some("there"));
    describe(&cluster).await.unwrap();
}

/// An address where attempts to connect are neither accepted nor refused: its line of waiting connections is full. It is
/// one for as long as what comes with it is kept.
async fn black_hole(cluster: &Cluster) -> (String, (TcpListener, Vec<TcpStream>)) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Some(connected) = cluster.runtime.timeout(MS(1000), TcpStream::connect(address)).await {
        waiting.push(connected.unwrap());
    }
    (address.to_string(), (listener, waiting))
}

#[tokio::test]
async fn one_failure_to_connect_serves_all_who_wait_for_it() {
    let pause = Duration::from_secs(60);
    let cluster = Cluster::new(RemoteSettings {
        connect_timeout: MS(100),
        initial_reconnect_backoff: pause,
        max_reconnect_backoff: pause,
        ..steady()
    });
    let (address, _full) = black_hole(&cluster).await;
    cluster.publish(&[node("there", 1, &address)], Some("there"));
    // One after the other, two hundred callers would not learn in their time that the connection fails, but run
    // out of time while they wait for their turn.
    let ctx = ctx();
    let call = async || {
        let until = cluster.runtime.now() + Duration::from_secs(5);
        describe_within(&cluster, &ctx.clone().until(until)).await
    };
    let answers = futures::future::join_all((0..200).map(|_| call())).await;
    let unreachable = |answer: &&Result<_, _>| matches!(answer, Err(ServiceError::NotOwner(_)));
    assert_eq!(
        answers.iter().filter(unreachable).count(),
        200,
        "{:?}",
        answers.iter().find(|answer| !unreachable(answer))
    );
}
