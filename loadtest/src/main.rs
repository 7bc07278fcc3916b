//! A raw gRPC load driver for a Temporal API server: no SDK, so that what it measures is the server.
//!
//! `loadtest run` drives a server that is already there; `loadtest bench` starts one on a new SQLite file, takes every
//! measurement of docs/performance.md and prints them as a table; `loadtest bench-cassandra` and `loadtest scale` do so with
//! a Cassandra node; `loadtest against` compares two builds; `loadtest neighbours` measures what one namespace feels of another. All end by themselves.
//!
//! Absent on purpose: anything that only this server has. The driver sees the API, Prometheus text and `/proc`.
//!
//! Start reading at [`load`], then [`worker`].

mod against;
mod bench;
mod bench_cassandra;
mod counters;
mod fleet;
mod load;
mod neighbour;
mod neighbours;
mod process;
mod report;
mod server;
mod signals;
mod unfinished;
mod worker;

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::load::{Load, Pace, Shape};

#[derive(Parser)]
#[command(about = "Loads a Temporal API server over plain gRPC and measures it")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Load a server that is already running, and print what came of it.
    Run(RunArgs),
    /// Start a server on a new file, take all measurements, and print them as a markdown table.
    Bench(bench::BenchArgs),
    /// Start a Cassandra node and a server on it, take all measurements, and print them as a markdown table.
    BenchCassandra(bench_cassandra::CassandraArgs),
    /// The same load on different numbers of shards and of history processes, on one Cassandra node.
    Scale(bench_cassandra::CassandraArgs),
    /// Two builds in turn on new stores: their figures and the ratios between them.
    Against(against::AgainstArgs),
    /// Start a server on a new file, measure a light client alone and beside each load of another namespace.
    Neighbours(neighbours::NeighboursArgs),
    /// One of the processes that `neighbours` starts: plays a client, prints one line of JSON.
    #[command(hide = true)]
    Neighbour(neighbour::NeighbourArgs),
}

#[derive(Args)]
struct RunArgs {
    /// Where the server listens.
    #[arg(long, default_value = "http://127.0.0.1:7233")]
    address: String,
    #[arg(long, default_value = "default")]
    namespace: String,
    /// How many workflows to run.
    #[arg(long, default_value_t = 1000)]
    workflows: u64,
    /// Activities of each workflow.
    #[arg(long, default_value_t = 1)]
    activities: u32,
    /// Schedule the activities of a workflow at once instead of one after the other.
    #[arg(long)]
    parallel: bool,
    /// Workflows open at a time.
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// Start this many workflows a second, however long they take, instead of a new one for each that closes.
    #[arg(long)]
    rate: Option<f64>,
    #[command(flatten)]
    tuning: Tuning,
    /// Stop after this many seconds, whatever is still open.
    #[arg(long, default_value_t = 120)]
    limit_s: u64,
    /// The server's processes, to read their CPU time and memory.
    #[arg(long)]
    server_pid: Vec<u32>,
    /// The database's processes, to read their CPU time.
    #[arg(long)]
    database_pid: Vec<u32>,
    /// The server's metrics endpoints, as host:port.
    #[arg(long)]
    metrics: Vec<String>,
}

/// How the driver behaves as a client and worker.
#[derive(Args, Clone)]
pub struct Tuning {
    /// Long polls for workflow tasks, and as many for activity tasks.
    #[arg(long, default_value_t = 128)]
    pub pollers: usize,
    /// Connections to the server.
    #[arg(long, default_value_t = 2)]
    pub connections: usize,
    /// Do without a sticky queue: every workflow task brings the whole history.
    #[arg(long)]
    pub no_sticky: bool,
    /// Ask for activity tasks in the response to the workflow task that schedules them.
    #[arg(long)]
    pub eager: bool,
    /// Compress requests and accept compressed responses, as current SDKs do.
    #[arg(long)]
    pub gzip: bool,
    /// Bytes of input for each workflow and each activity.
    #[arg(long, default_value_t = 64)]
    pub payload_bytes: usize,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Run(args) => run(args).await,
            Command::Bench(args) => bench::bench(args).await,
            Command::BenchCassandra(args) => bench_cassandra::bench(args).await,
            Command::Scale(args) => bench_cassandra::scale(args).await,
            Command::Against(args) => against::bench(args).await,
            Command::Neighbours(args) => neighbours::bench(args).await,
            Command::Neighbour(args) => neighbour::run(args).await,
        }
    });
    // Long polls may be under way; their results are not needed.
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome
}

async fn run(args: RunArgs) -> Result<()> {
    let load = Load::open(&args.address, &args.namespace, args.tuning.clone()).await?;
    let shape = Shape { activities: args.activities, parallel: args.parallel };
    let pace = match args.rate {
        Some(per_second) => Pace::Rate { per_second },
        None => Pace::Closed { concurrency: args.concurrency },
    };
    let probe = report::Probe { server_pids: args.server_pid, database_pids: args.database_pid, metrics: args.metrics };
    let limit = Duration::from_secs(args.limit_s);
    let measured = report::measure(&load, &probe, shape, pace, args.workflows, limit).await?;
    load.close();
    print!("{}", report::table(&[measured], &args.tuning));
    Ok(())
}
