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

/// Counters of the server that are reported per workflow or call: name in the report, name of the counter.
const COUNTERS: [(&str, &str); 8] = [
    ("log appends", "outlast_log_appends_total"),
    ("requests to Cassandra", "outlast_cql_requests_total"),
    ("log bytes", "outlast_log_append_bytes_total"),
    ("table rows written", "outlast_table_rows_written_total"),
    ("table rows deleted", "outlast_table_rows_deleted_total"),
    ("store reads", "outlast_store_reads_total"),
    ("fsyncs", "outlast_store_fsyncs_total"),
    ("gRPC requests", "outlast_grpc_requests_total"),
];

/// One series and what it cost.
pub struct Measured {
    /// What was run.
    pub title: String,
    outcome: Outcome,
    server_cpu: Option<Duration>,
    database_cpu: Option<Duration>,
    driver_cpu: Option<Duration>,
    grown: Vec<Option<f64>>,
    peak_kib: Option<u64>,
}

/// A number of a series, as a row of a table.
pub struct Figure {
    pub title: String,
    /// None where there was nothing to look at.
    pub value: Option<f64>,
    /// Digits behind the point.
    pub digits: usize,
}

/// Runs a series of workflows and reads CPU, memory and counters around it.
pub async fn measure(
    load: &Load,
    probe: &Probe,
    shape: Shape,
    pace: Pace,
    count: u64,
    limit: Duration,
) -> Result<Measured> {
    measure_around(probe, title(shape, pace), load.run(shape, pace, count, limit)).await
}

/// Does some work and reads CPU, memory and counters around it.
pub async fn measure_around(
    probe: &Probe,
    title: String,
    work: impl Future<Output = Result<Outcome>>,
) -> Result<Measured> {
    let counters_before = scrape(probe).await?;
    let cpu_before = (cpu_of(&probe.server_pids)?, cpu_of(&probe.database_pids)?);
    let own_before = process::cpu(std::process::id()).ok();
    let outcome = work.await?;
    let cpu_after = (cpu_of(&probe.server_pids)?, cpu_of(&probe.database_pids)?);
    let own_after = process::cpu(std::process::id()).ok();
    let counters_after = scrape(probe).await?;
    let peaks: Vec<u64> = probe
        .server_pids
        .iter()
        .map(|pid| process::memory(*pid).map(|memory| memory.peak_kib))
        .collect::<Result<_>>()?;
    let peak_kib = (!peaks.is_empty()).then(|| peaks.iter().sum());
    let growth = |name| counters_after.as_ref()?.growth(counters_before.as_ref()?, name);
    Ok(Measured {
        title,
        server_cpu: cpu_after.0.zip(cpu_before.0).map(|(after, before)| after - before),
        database_cpu: cpu_after.1.zip(cpu_before.1).map(|(after, before)| after - before),
        driver_cpu: own_after.zip(own_before).map(|(after, before)| after - before),
        outcome,
        grown: COUNTERS.iter().map(|(_, name)| growth(name)).collect(),
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

/// A markdown table with one column for each series, and a line on how it was measured. "Each" is a workflow.
pub fn table(series: &[Measured], tuning: &Tuning) -> String {
    let mut text = String::new();
    row(&mut text, "", series.iter().map(|one| one.title.clone()));
    row(&mut text, "---", series.iter().map(|_| "---:".to_owned()));
    let columns: Vec<Vec<Figure>> = series.iter().map(Measured::figures).collect();
    for (index, Figure { title, .. }) in columns.first().into_iter().flatten().enumerate() {
        if columns.iter().any(|column| column[index].value.is_some()) {
            row(&mut text, title, columns.iter().map(|column| column[index].text()));
        }
    }
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

    /// What of it was not clean, in one line.
    pub fn what_went_wrong(&self) -> String {
        let Outcome { lost, refused, errors, last_error, .. } = &self.outcome;
        let last = last_error.as_deref().unwrap_or("none");
        format!("{lost} workflows lost, {refused} calls refused, {errors} failed; last failed call: {last}")
    }

    /// All that was counted and timed, the same figures in the same order for every series.
    pub fn figures(&self) -> Vec<Figure> {
        let seconds = self.outcome.elapsed.as_secs_f64();
        let each = |total: f64| total / self.outcome.closed as f64;
        let latency_ms = |quantile| self.outcome.latency.value_at_quantile(quantile) as f64 / 1000.0;
        let cpu_ms = |cpu: Option<Duration>| cpu.map(|cpu| each(cpu.as_secs_f64() * 1000.0));
        let cores = |cpu: Option<Duration>| cpu.map(|cpu| cpu.as_secs_f64() / seconds);
        let mut figures = vec![
            Figure::new("number", Some(self.outcome.closed as f64), 0),
            Figure::new("per second", Some(self.outcome.closed as f64 / seconds), 0),
            Figure::new("p50, ms", Some(latency_ms(0.5)), 1),
            Figure::new("p99, ms", Some(latency_ms(0.99)), 1),
            Figure::new("server CPU, ms each", cpu_ms(self.server_cpu), 3),
            Figure::new("server CPU, cores", cores(self.server_cpu), 2),
            Figure::new("Cassandra CPU, ms each", cpu_ms(self.database_cpu), 2),
            Figure::new("Cassandra CPU, cores", cores(self.database_cpu), 2),
            Figure::new("driver CPU, ms each", cpu_ms(self.driver_cpu), 2),
        ];
        let counters = COUNTERS.iter().zip(&self.grown);
        figures.extend(counters.map(|((title, _), grown)| Figure::new(&format!("{title} each"), grown.map(each), 2)));
        figures.extend([
            Figure::new("peak memory so far, MiB", self.peak_kib.map(|kib| kib as f64 / 1024.0), 0),
            Figure::new("lost workflows", Some(self.outcome.lost as f64), 0),
            Figure::new("refused calls", Some(self.outcome.refused as f64), 0),
            Figure::new("failed calls", Some(self.outcome.errors as f64), 0),
        ]);
        figures
    }
}

impl Figure {
    fn new(title: &str, value: Option<f64>, digits: usize) -> Self {
        Self { title: title.to_owned(), value, digits }
    }

    fn text(&self) -> String {
        number(self.value, self.digits)
    }
}

/// A number with that many digits behind the point, or a dash.
pub fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
}

fn row(text: &mut String, head: &str, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.collect();
    let _ = writeln!(text, "| {head} | {} |", cells.join(" | "));
}

fn on(flag: bool) -> &'static str {
    if flag { "on" } else { "off" }
}
