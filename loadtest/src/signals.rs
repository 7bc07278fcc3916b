//! Signals to one long-lived run: what one costs when the run has had few, and when it has had many.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use api::temporal::api::common::v1::{WorkflowExecution, WorkflowType};
use api::temporal::api::taskqueue::v1::TaskQueue;
use api::temporal::api::workflowservice::v1::{SignalWorkflowExecutionRequest, StartWorkflowExecutionRequest};
use tokio::task::JoinSet;

use crate::load::{Client, Outcome, connect, payloads};
use crate::report::{Measured, Probe, measure_around};

/// Signals under way at a time.
const SENDERS: u64 = 8;
/// Signals of a series.
const MEASURED: u64 = 1_000;
/// A series begins when the run has had so many. A run takes 10,000 at most.
const HAD: [u64; 2] = [100, 8_900];

/// Signals one run, which no worker looks at, and measures a series early and one late in its life.
pub async fn series(address: &str, probe: &Probe, workflow_id: &str) -> Result<Vec<Measured>> {
    let mut client = connect(address, false).await?;
    let request = StartWorkflowExecutionRequest {
        namespace: "default".to_owned(),
        workflow_id: workflow_id.to_owned(),
        request_id: workflow_id.to_owned(),
        workflow_type: Some(WorkflowType { name: "signalled".to_owned() }),
        task_queue: Some(TaskQueue { name: format!("{workflow_id}-unpolled"), ..Default::default() }),
        ..Default::default()
    };
    client.start_workflow_execution(request).await.context("StartWorkflowExecution")?;
    let mut measured = Vec::new();
    let mut sent = 0;
    for had in HAD {
        send(&client, workflow_id, sent..had).await?;
        sent = had + MEASURED;
        let title = format!("signals to a run that has had {had}");
        measured.push(measure_around(probe, title, send(&client, workflow_id, had..sent)).await?);
    }
    Ok(measured)
}

/// Sends the signals with these numbers, several at a time. The first that fails ends it.
async fn send(client: &Client, workflow_id: &str, numbers: std::ops::Range<u64>) -> Result<Outcome> {
    let began = Instant::now();
    let mut senders: JoinSet<Result<Vec<Duration>>> = JoinSet::new();
    for sender in 0..SENDERS {
        let (mut client, workflow_id, numbers) = (client.clone(), workflow_id.to_owned(), numbers.clone());
        senders.spawn(async move {
            let mut times = Vec::new();
            for number in numbers.filter(|number| number % SENDERS == sender) {
                let began = Instant::now();
                client
                    .signal_workflow_execution(signal(&workflow_id, number))
                    .await
                    .context("SignalWorkflowExecution")?;
                times.push(began.elapsed());
            }
            Ok(times)
        });
    }
    let mut outcome = Outcome::new()?;
    while let Some(times) = senders.join_next().await {
        for time in times?? {
            outcome.closed += 1;
            outcome.latency.saturating_record(time.as_micros() as u64);
        }
    }
    outcome.elapsed = began.elapsed();
    Ok(outcome)
}

fn signal(workflow_id: &str, number: u64) -> SignalWorkflowExecutionRequest {
    SignalWorkflowExecutionRequest {
        namespace: "default".to_owned(),
        workflow_execution: Some(WorkflowExecution { workflow_id: workflow_id.to_owned(), ..Default::default() }),
        signal_name: "tick".to_owned(),
        input: Some(payloads(64)),
        request_id: format!("{workflow_id}-{number}"),
        ..Default::default()
    }
}
