//! Runs workflows against a server: starts them, plays their worker, and times each from its start request to the
//! acknowledgement of the completion that closed it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use api::temporal::api::common::v1::{Payload, Payloads, WorkflowType};
use api::temporal::api::taskqueue::v1::TaskQueue;
use api::temporal::api::workflowservice::v1::{GetSystemInfoRequest, StartWorkflowExecutionRequest};
use grpc::workflow_service_client::WorkflowServiceClient;
use hdrhistogram::Histogram;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, Endpoint};

use crate::Tuning;
use crate::worker;

/// A client of the server under load.
pub type Client = WorkflowServiceClient<Channel>;

/// How long one workflow may take before it counts as lost.
const WORKFLOW_LIMIT: Duration = Duration::from_secs(60);
/// More failed calls than this end the run: something is wrong that more load will not show.
const ERRORS_ALLOWED: u64 = 1000;

/// What each workflow does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Activities of each workflow.
    pub activities: u32,
    /// All at once, or one after the other.
    pub parallel: bool,
}

/// When the next workflow starts.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// When one has closed: as many are open as that.
    Closed { concurrency: usize },
    /// At a fixed rate. Times count from the moment at which the workflow should have started.
    Rate { per_second: f64 },
}

/// What a series of workflows, or of calls, showed.
pub struct Outcome {
    /// Workflows that closed, or calls that were answered.
    pub closed: u64,
    /// Workflows that were started and did not close in time.
    pub lost: u64,
    /// Calls that the server refused for now, with RESOURCE_EXHAUSTED.
    pub refused: u64,
    /// Calls that failed otherwise.
    pub errors: u64,
    /// One of their messages.
    pub last_error: Option<String>,
    /// From the first start to the last close.
    pub elapsed: Duration,
    /// Start to close, in microseconds.
    pub latency: Histogram<u64>,
}

/// What starters and pollers share.
pub struct Shared {
    pub namespace: String,
    pub task_queue: String,
    pub sticky_queue: String,
    pub tuning: Tuning,
    /// Starters that wait for the close of their workflow, by workflow id.
    waiting: Mutex<HashMap<String, oneshot::Sender<Instant>>>,
    refused: AtomicU64,
    errors: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Shared {
    /// Notifies the starter of this workflow that the completion that closes it was acknowledged.
    pub fn closed(&self, workflow_id: &str) {
        let starter = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(workflow_id);
        if let Some(starter) = starter {
            // A starter that gave up has dropped its end.
            let _ = starter.send(Instant::now());
        }
    }

    /// Counts a failed call.
    pub fn failed(&self, call: &str, status: &tonic::Status) {
        let refused = status.code() == tonic::Code::ResourceExhausted;
        if refused { &self.refused } else { &self.errors }.fetch_add(1, Ordering::Relaxed);
        let text = format!("{call}: {:?}: {}", status.code(), status.message());
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }

    fn too_many_errors(&self) -> bool {
        self.errors.load(Ordering::Relaxed) > ERRORS_ALLOWED
    }
}

/// Connections to a server, and pollers on a task queue of their own.
pub struct Load {
    clients: Vec<Client>,
    shared: Arc<Shared>,
    pollers: Vec<JoinHandle<()>>,
    series: AtomicU64,
}

impl Load {
    /// Connects and starts polling. Fails when the server does not answer.
    pub async fn open(address: &str, namespace: &str, tuning: Tuning) -> Result<Load> {
        let mut clients = Vec::new();
        for _ in 0..tuning.connections.max(1) {
            clients.push(connect(address, tuning.gzip).await?);
        }
        let unique = format!("load-{}-{:x}", std::process::id(), now_ns());
        let shared = Arc::new(Shared {
            namespace: namespace.to_owned(),
            sticky_queue: format!("{unique}-sticky"),
            task_queue: unique,
            tuning,
            waiting: Mutex::new(HashMap::new()),
            refused: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            last_error: Mutex::new(None),
        });
        let pollers = worker::poll(&clients, &shared);
        Ok(Load { clients, shared, pollers, series: AtomicU64::new(0) })
    }

    /// Ends all polls. Workflows still open stay as they are.
    pub fn close(self) {
        for poller in self.pollers {
            poller.abort();
        }
    }

    /// Runs `count` workflows, or as many as fit into `limit`.
    pub async fn run(&self, shape: Shape, pace: Pace, count: u64, limit: Duration) -> Result<Outcome> {
        let series = self.series.fetch_add(1, Ordering::Relaxed);
        let errors_before = self.shared.errors.load(Ordering::Relaxed);
        let refused_before = self.shared.refused.load(Ordering::Relaxed);
        let began = Instant::now();
        let deadline = began + limit;
        let mut outcome = Outcome::new()?;
        let mut open = JoinSet::new();
        for number in 0..count {
            let (room, intended) = match pace {
                Pace::Closed { concurrency } => (concurrency.max(1), None),
                Pace::Rate { per_second } => {
                    let at = began + Duration::from_secs_f64(number as f64 / per_second);
                    tokio::time::sleep_until(at.into()).await;
                    (usize::MAX, Some(at))
                }
            };
            while open.len() >= room {
                outcome.take(open.join_next().await);
            }
            while let Some(done) = open.try_join_next() {
                outcome.take(Some(done));
            }
            if Instant::now() >= deadline || self.shared.too_many_errors() {
                break;
            }
            let client = self.clients[number as usize % self.clients.len()].clone();
            let id = format!("{}-{series}-{number}", self.shared.task_queue);
            open.spawn(one_workflow(client, self.shared.clone(), id, shape, intended));
        }
        while let Some(done) = open.join_next().await {
            outcome.take(Some(done));
        }
        outcome.elapsed = began.elapsed();
        outcome.refused = self.shared.refused.load(Ordering::Relaxed) - refused_before;
        outcome.errors = self.shared.errors.load(Ordering::Relaxed) - errors_before;
        outcome.last_error = self.shared.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if outcome.closed == 0 {
            bail!("no workflow closed; last error: {}", outcome.last_error.as_deref().unwrap_or("none"));
        }
        Ok(outcome)
    }
}

impl Outcome {
    /// Nothing yet.
    pub fn new() -> Result<Self> {
        Ok(Self {
            closed: 0,
            lost: 0,
            refused: 0,
            errors: 0,
            last_error: None,
            elapsed: Duration::ZERO,
            latency: Histogram::new_with_bounds(1, 600_000_000, 3)?,
        })
    }

    fn take(&mut self, done: Option<Result<Option<Duration>, tokio::task::JoinError>>) {
        match done {
            Some(Ok(Some(took))) => {
                self.closed += 1;
                self.latency.saturating_record(took.as_micros() as u64);
            }
            Some(Ok(None) | Err(_)) => self.lost += 1,
            None => {}
        }
    }
}

/// Starts a workflow and waits until its worker has closed it. None: it could not be started, or did not close in time.
async fn one_workflow(
    mut client: Client,
    shared: Arc<Shared>,
    workflow_id: String,
    shape: Shape,
    intended: Option<Instant>,
) -> Option<Duration> {
    let (closed, waiting) = oneshot::channel();
    shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(workflow_id.clone(), closed);
    let began = intended.unwrap_or_else(Instant::now);
    let request = StartWorkflowExecutionRequest {
        namespace: shared.namespace.clone(),
        request_id: workflow_id.clone(),
        workflow_id: workflow_id.clone(),
        workflow_type: Some(WorkflowType { name: worker::workflow_type(shape) }),
        task_queue: Some(TaskQueue { name: shared.task_queue.clone(), ..Default::default() }),
        input: Some(payloads(shared.tuning.payload_bytes)),
        identity: "loadtest".to_owned(),
        ..Default::default()
    };
    let outcome = match client.start_workflow_execution(request).await {
        Ok(_) => tokio::time::timeout(WORKFLOW_LIMIT, waiting).await.ok().and_then(Result::ok),
        Err(status) => {
            shared.failed("StartWorkflowExecution", &status);
            // A server that refuses work is not asked again at once.
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    };
    if outcome.is_none() {
        shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&workflow_id);
    }
    outcome.map(|at| at.saturating_duration_since(began))
}

/// A JSON string of that many bytes.
pub fn payloads(bytes: usize) -> Payloads {
    let text = format!("\"{}\"", "x".repeat(bytes.saturating_sub(2)));
    let metadata = [("encoding".to_owned(), "json/plain".into())].into();
    Payloads { payloads: vec![Payload { metadata, data: text.into(), ..Default::default() }] }
}

/// Connects, and asks the server one question to see that it serves.
pub async fn connect(address: &str, gzip: bool) -> Result<Client> {
    let endpoint = Endpoint::from_shared(address.to_owned())?.tcp_nodelay(true).connect_timeout(Duration::from_secs(5));
    let channel = endpoint.connect().await.with_context(|| format!("connecting to {address}"))?;
    let mut client = WorkflowServiceClient::new(channel);
    if gzip {
        client = client.send_compressed(CompressionEncoding::Gzip).accept_compressed(CompressionEncoding::Gzip);
    }
    client.get_system_info(GetSystemInfoRequest {}).await.with_context(|| format!("asking {address}"))?;
    Ok(client)
}

/// Distinguishes the queues of one run from those of another on the same server.
fn now_ns() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos()
}
