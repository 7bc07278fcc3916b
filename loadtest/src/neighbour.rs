//! One neighbour: a process that is a client of one namespace for some seconds and prints what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use api::temporal::api::taskqueue::v1::TaskQueue;
use api::temporal::api::workflowservice::v1::{PollActivityTaskQueueRequest, RegisterNamespaceRequest};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::Tuning;
use crate::bench::{ENDLESS, ONE};
use crate::load::{self, Client, Load, Pace};
use crate::unfinished;

/// Polls wait for a second less than this, so they come again once a second.
const POLL_TIMEOUT: Duration = Duration::from_secs(2);

/// What a neighbour does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// One-activity workflows, a new one for each that closes.
    Closed,
    /// One-activity workflows, all started at once, and again when all have closed.
    Burst,
    /// Polls of queues that stay empty, each again as soon as it comes back.
    Polls,
    /// Registrations of namespaces, a new one for each that was answered.
    Registrations,
    /// Requests of which a part comes and no more, a new one for each that the server ends.
    Unfinished,
}

#[derive(Args)]
pub struct NeighbourArgs {
    #[arg(long)]
    address: String,
    #[arg(long)]
    namespace: String,
    #[arg(long)]
    kind: Kind,
    /// Workflows open, polls waiting, registrations or unfinished requests under way at a time.
    #[arg(long)]
    size: usize,
    #[arg(long)]
    seconds: f64,
    #[command(flatten)]
    tuning: Tuning,
}

/// What a neighbour has to say in the end.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Workflows closed, or calls answered.
    pub done: u64,
    pub seconds: f64,
    /// Start to close. Zero for what are no workflows.
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Calls refused with RESOURCE_EXHAUSTED.
    pub refused: u64,
    /// Calls that failed otherwise, and workflows that were lost without a refusal.
    pub failed: u64,
}

impl Report {
    /// Workflows or calls in a second.
    pub fn rate(&self) -> f64 {
        self.done as f64 / self.seconds
    }
}

/// Plays the neighbour and prints its report.
pub async fn run(args: NeighbourArgs) -> Result<()> {
    let limit = Duration::from_secs_f64(args.seconds);
    let report = match args.kind {
        Kind::Closed | Kind::Burst => workflows(&args, limit).await?,
        Kind::Polls | Kind::Registrations => calls(&args, limit).await?,
        Kind::Unfinished => unfinished_requests(&args, limit).await?,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

async fn workflows(args: &NeighbourArgs, limit: Duration) -> Result<Report> {
    let load = Load::open(&args.address, &args.namespace, args.tuning.clone()).await?;
    let pace = Pace::Closed { concurrency: args.size };
    let count = if args.kind == Kind::Burst { args.size as u64 } else { ENDLESS };
    let began = Instant::now();
    let mut report = Report::default();
    loop {
        let outcome = load.run(ONE, pace, count, limit.saturating_sub(began.elapsed())).await?;
        report.done += outcome.closed;
        report.refused += outcome.refused;
        report.failed += outcome.errors + outcome.lost.saturating_sub(outcome.refused + outcome.errors);
        // Of bursts, the last one's.
        report.p50_ms = outcome.latency.value_at_quantile(0.5) as f64 / 1000.0;
        report.p99_ms = outcome.latency.value_at_quantile(0.99) as f64 / 1000.0;
        if began.elapsed() >= limit {
            break;
        }
    }
    report.seconds = began.elapsed().as_secs_f64();
    load.close();
    Ok(report)
}

/// Holds `size` unfinished requests open until the time is over.
async fn unfinished_requests(args: &NeighbourArgs, limit: Duration) -> Result<Report> {
    let counts = Arc::new(Counts::default());
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..args.tuning.connections.max(1) {
        let channel = unfinished::connect(&args.address).await?;
        for _ in 0..args.size / args.tuning.connections.max(1) {
            let (mut channel, counts) = (channel.clone(), Arc::clone(&counts));
            callers.spawn(async move {
                loop {
                    let count = match unfinished::begin(&mut channel).await {
                        Ok(true) => &counts.refused,
                        Ok(false) => &counts.done,
                        Err(_) => &counts.failed,
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        }
    }
    tokio::time::sleep(limit).await;
    callers.abort_all();
    Ok(counts.report(began))
}

#[derive(Default)]
struct Counts {
    done: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    fn report(&self, began: Instant) -> Report {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Report {
            done: read(&self.done),
            seconds: began.elapsed().as_secs_f64(),
            refused: read(&self.refused),
            failed: read(&self.failed),
            ..Report::default()
        }
    }
}

/// Makes calls, `size` at a time, until the time is over.
async fn calls(args: &NeighbourArgs, limit: Duration) -> Result<Report> {
    let counts = Arc::new(Counts::default());
    let mut clients = Vec::new();
    for _ in 0..args.tuning.connections.max(1) {
        clients.push(load::connect(&args.address, false).await?);
    }
    let began = Instant::now();
    let callers: Vec<_> = (0..args.size)
        .map(|number| {
            let (client, counts) = (clients[number % clients.len()].clone(), Arc::clone(&counts));
            tokio::spawn(call_again_and_again(client, counts, args.kind, args.namespace.clone(), number))
        })
        .collect();
    tokio::time::sleep(limit).await;
    callers.iter().for_each(tokio::task::JoinHandle::abort);
    let report = counts.report(began);
    if report.done + report.refused == 0 {
        bail!("no call was answered");
    }
    Ok(report)
}

async fn call_again_and_again(mut client: Client, counts: Arc<Counts>, kind: Kind, namespace: String, caller: usize) {
    for number in 0_u64.. {
        let answer = match kind {
            Kind::Registrations => register(&mut client, &format!("{namespace}-{caller}-{number}")).await,
            _ => poll(&mut client, &namespace, caller).await,
        };
        let count = match answer {
            Ok(()) => &counts.done,
            Err(status) if status.code() == tonic::Code::ResourceExhausted => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                &counts.refused
            }
            Err(_) => &counts.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// Registers a namespace with a retention of a day.
pub async fn register(client: &mut Client, name: &str) -> Result<(), tonic::Status> {
    let request = RegisterNamespaceRequest {
        namespace: name.to_owned(),
        workflow_execution_retention_period: Some(prost_types::Duration { seconds: 86_400, nanos: 0 }),
        ..Default::default()
    };
    client.register_namespace(request).await.map(drop)
}

async fn poll(client: &mut Client, namespace: &str, caller: usize) -> Result<(), tonic::Status> {
    let name = format!("empty-{}", caller % 16);
    let mut request = tonic::Request::new(PollActivityTaskQueueRequest {
        namespace: namespace.to_owned(),
        task_queue: Some(TaskQueue { name, ..Default::default() }),
        identity: "loadtest".to_owned(),
        ..Default::default()
    });
    request.set_timeout(POLL_TIMEOUT);
    client.poll_activity_task_queue(request).await.map(drop)
}
