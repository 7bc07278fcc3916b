//! Measures one series of workflows from all sides and writes the results as markdown.

use std::fmt::Write;
use std::time::Duration;

use anyhow::Result;

use crate::Tuning;
use crate::counters::Counters;
use crate::load::{Load, Outcome, Pace, Shape};
use crate::process;

/// Where to look at the server besides its API. What is absent is left out of the report.
#[derive(Default)]
pub struct Probe {
    pub server_pids: Vec<u32>,
    pub database_pids: Vec<u32>,
    pub metrics: Vec<String>,
}

/// Counters of the server that are told per workflow: name in the report, name of the counter.
const PER_WORKFLOW: [(&str, &str); 8] = [
    ("log appends", "outlast_log_appends_total"),
    ("requests to Cassandra", "outlast_cql_requests_total"),
    ("log bytes", "outlast_log_append_bytes_total"),
    ("table rows written", "outlast_table_rows_written_total"),
    ("table rows deleted", "outlast_table_rows_deleted_total"),
    ("store reads", "outlast_store_reads_total"),
    ("fsyncs", "outlast_store_fsyncs_total"),
    ("gRPC requests", "outlast_grpc_requests_total"),
];

/// One series of workflows and what it cost.
pub struct Measured {
    /// What was run.
    pub title: String,
    outcome: Outcome,
    server_cpu: Option<Duration>,
    database_cpu: Option<Duration>,
    driver_cpu: Option<Duration>,
    per_workflow: Vec<(&'static str, Option<f64>)>,
    peak_kib: Option<u64>,
}

/// Runs a series and reads CPU, memory and counters around it.
pub async fn measure(
    load: &Load,
    probe: &Probe,
    shape: Shape,
    pace: Pace,
    count: u64,
    limit: Duration,
) -> Result<Measured> {
    let counters_before = scrape(probe).await?;
    let cpu_before = (cpu_of(&probe.server_pids)?, cpu_of(&probe.database_pids)?);
    let own_before = process::cpu(std::process::id()).ok();
    let outcome = load.run(shape, pace, count, limit).await?;
    let cpu_after = (cpu_of(&probe.server_pids)?, cpu_of(&probe.database_pids)?);
    let own_after = process::cpu(std::process::id()).ok();
    let counters_after = scrape(probe).await?;
    let peaks: Vec<u64> = probe
        .server_pids
        .iter()
        .map(|pid| process::memory(*pid).map(|memory| memory.peak_kib))
        .collect::<Result<_>>()?;
    let peak_kib = (!peaks.is_empty()).then(|| peaks.iter().sum());
    let per_workflow = PER_WORKFLOW
        .iter()
        .map(|(title, name)| {
            let grown = counters_after.as_ref().zip(counters_before.as_ref());
            let grown = grown.and_then(|(after, before)| after.growth(before, name));
            (*title, grown.map(|value| value / outcome.closed as f64))
        })
        .collect();
    Ok(Measured {
        title: title(shape, pace),
        server_cpu: cpu_after.0.zip(cpu_before.0).map(|(after, before)| after - before),
        database_cpu: cpu_after.1.zip(cpu_before.1).map(|(after, before)| after - before),
        driver_cpu: own_after.zip(own_before).map(|(after, before)| after - before),
        outcome,
        per_workflow,
        peak_kib,
    })
}

/// What the processes have used together; `None` when there are none to look at.
fn cpu_of(pids: &[u32]) -> Result<Option<Duration>> {
    let used: Vec<Duration> = pids.iter().map(|pid| process::cpu(*pid)).collect::<Result<_>>()?;
    Ok((!used.is_empty()).then(|| used.iter().sum()))
}

async fn scrape(probe: &Probe) -> Result<Option<Counters>> {
    let mut sum = None::<Counters>;
    for address in &probe.metrics {
        sum.get_or_insert_default().add(Counters::scrape(address).await?);
    }
    Ok(sum)
}

fn title(shape: Shape, pace: Pace) -> String {
    let order = if shape.parallel { " at once" } else { "" };
    let activities = if shape.activities == 1 { "activity" } else { "activities" };
    let pace = match pace {
        Pace::Closed { concurrency: 1 } => "one at a time".to_owned(),
        Pace::Closed { concurrency } => format!("{concurrency} open"),
        Pace::Rate { per_second } => format!("{per_second}/s"),
    };
    format!("{} {activities}{order}, {pace}", shape.activities)
}

/// A markdown table with one column for each series, and a line on how it was measured.
pub fn table(series: &[Measured], tuning: &Tuning) -> String {
    let mut text = String::new();
    row(&mut text, "", series.iter().map(|one| one.title.clone()));
    row(&mut text, "---", series.iter().map(|_| "---:".to_owned()));
    row(&mut text, "workflows", series.iter().map(|one| one.outcome.closed.to_string()));
    row(&mut text, "workflows/s", series.iter().map(|one| format!("{:.0}", one.rate())));
    for (title, quantile) in [("p50 start → close, ms", 0.5), ("p99 start → close, ms", 0.99)] {
        row(&mut text, title, series.iter().map(|one| format!("{:.1}", one.latency_ms(quantile))));
    }
    row(&mut text, "server CPU, ms/workflow", series.iter().map(|one| one.cpu_per_workflow(one.server_cpu)));
    row(&mut text, "server CPU, cores", series.iter().map(|one| one.cores(one.server_cpu)));
    if series.iter().any(|one| one.database_cpu.is_some()) {
        row(&mut text, "Cassandra CPU, ms/workflow", series.iter().map(|one| one.cpu_per_workflow(one.database_cpu)));
        row(&mut text, "Cassandra CPU, cores", series.iter().map(|one| one.cores(one.database_cpu)));
    }
    row(&mut text, "driver CPU, ms/workflow", series.iter().map(|one| one.cpu_per_workflow(one.driver_cpu)));
    for (index, (title, _)) in PER_WORKFLOW.iter().enumerate() {
        let title = format!("{title} per workflow");
        row(&mut text, &title, series.iter().map(|one| optional(one.per_workflow[index].1, 2)));
    }
    let peak = |one: &Measured| optional(one.peak_kib.map(|kib| kib as f64 / 1024.0), 0);
    row(&mut text, "peak memory so far, MiB", series.iter().map(peak));
    row(&mut text, "lost workflows", series.iter().map(|one| one.outcome.lost.to_string()));
    row(&mut text, "refused calls", series.iter().map(|one| one.outcome.refused.to_string()));
    row(&mut text, "failed calls", series.iter().map(|one| one.outcome.errors.to_string()));
    let _ = writeln!(
        text,
        "\ngzip {}, sticky {}, eager activities {}, {} pollers of each kind, {} connections, payloads of {} bytes",
        on(tuning.gzip),
        on(!tuning.no_sticky),
        on(tuning.eager),
        tuning.pollers,
        tuning.connections,
        tuning.payload_bytes
    );
    for error in series.iter().filter(|one| !one.clean()).filter_map(|one| one.outcome.last_error.as_ref()) {
        let _ = writeln!(text, "\nlast failed call: {error}");
    }
    text
}

impl Measured {
    /// Whether every workflow that was started has closed and every call was answered.
    pub fn clean(&self) -> bool {
        self.outcome.lost == 0 && self.outcome.refused == 0 && self.outcome.errors == 0
    }

    fn rate(&self) -> f64 {
        self.outcome.closed as f64 / self.outcome.elapsed.as_secs_f64()
    }

    fn latency_ms(&self, quantile: f64) -> f64 {
        self.outcome.latency.value_at_quantile(quantile) as f64 / 1000.0
    }

    fn cpu_per_workflow(&self, cpu: Option<Duration>) -> String {
        optional(cpu.map(|cpu| cpu.as_secs_f64() * 1000.0 / self.outcome.closed as f64), 2)
    }

    fn cores(&self, cpu: Option<Duration>) -> String {
        optional(cpu.map(|cpu| cpu.as_secs_f64() / self.outcome.elapsed.as_secs_f64()), 2)
    }
}

fn row(text: &mut String, head: &str, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.collect();
    let _ = writeln!(text, "| {head} | {} |", cells.join(" | "));
}

fn optional(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}

fn on(flag: bool) -> &'static str {
    if flag { "on" } else { "off" }
}
