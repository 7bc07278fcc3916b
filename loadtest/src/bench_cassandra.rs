//! The measurements on Cassandra: what a workflow costs server and database, and how that changes with the number of
//! shards and of history processes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::Tuning;
use crate::bench::{ENDLESS, ONE, find_binary, series};
use crate::fleet::{Database, Fleet, Plan};
use crate::load::{Load, Pace};
use crate::report::{Measured, Probe, measure, table};

#[derive(Args)]
pub struct CassandraArgs {
    /// The server's binary. By default the `outlast` beside this program.
    #[arg(long, env = "OUTLAST_BIN")]
    server: Option<PathBuf>,
    /// What starts Cassandra.
    #[arg(long, default_value = "deploy/cassandra/cassandra")]
    launcher: PathBuf,
    /// The variant of Paxos: v1 or v2.
    #[arg(long, default_value = "v2")]
    paxos: String,
    /// When Cassandra acknowledges: periodic (before its disk has it), batch or group (after).
    #[arg(long, default_value = "periodic")]
    commitlog: String,
    /// Seconds for each series at saturation, at most.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Workflows open at a time at saturation.
    #[arg(long, default_value_t = 512)]
    concurrency: usize,
    /// Shards of workflows.
    #[arg(long, default_value_t = 4)]
    history_shards: u32,
    /// Shards of task queues.
    #[arg(long, default_value_t = 2)]
    matching_shards: u32,
    #[command(flatten)]
    tuning: Tuning,
}

impl CassandraArgs {
    fn conditions(&self) -> String {
        format!("one Cassandra 5.0.9 node, RF 1, Paxos {}, commit log {}", self.paxos, self.commitlog)
    }
}

/// One process with all roles on one node. Ends with an error when a workflow was lost or a call failed.
pub async fn bench(args: CassandraArgs) -> Result<()> {
    let binary = find_binary(args.server.clone())?;
    let database = Database::start(&args.launcher, &args.paxos, &args.commitlog)?;
    let plan =
        Plan { history_processes: 1, history_shards: args.history_shards, matching_shards: args.matching_shards };
    let mut fleet = Fleet::start(&binary, &database, &plan, "bench").await?;
    println!("{}; one process, {} history shards\n", args.conditions(), plan.history_shards);
    let probe = probe(&fleet, &database);
    let clean = series(&fleet.address, &probe, &args.tuning, args.seconds, args.concurrency).await?;
    fleet.check()?;
    if !clean {
        bail!("workflows were lost or calls failed: see the table");
    }
    Ok(())
}

/// The same load on 4, 64 and 512 shards with one history process, and on 1, 2 and 4 history processes with 64 shards.
pub async fn scale(args: CassandraArgs) -> Result<()> {
    let binary = find_binary(args.server.clone())?;
    let database = Database::start(&args.launcher, &args.paxos, &args.commitlog)?;
    let mut measured: Vec<Measured> = Vec::new();
    let plans = [(1, 4), (1, 64), (1, 512), (2, 64), (4, 64)];
    for (number, (history_processes, history_shards)) in plans.into_iter().enumerate() {
        let plan = Plan { history_processes, history_shards, matching_shards: args.matching_shards };
        let mut fleet = Fleet::start(&binary, &database, &plan, &format!("scale{number}")).await?;
        let load = Load::open(&fleet.address, "default", args.tuning.clone()).await?;
        let limit = Duration::from_secs(args.seconds.max(1));
        load.run(ONE, Pace::Closed { concurrency: 8 }, 100, limit).await?;
        let full = Pace::Closed { concurrency: args.concurrency };
        let mut one = measure(&load, &probe(&fleet, &database), ONE, full, ENDLESS, limit).await?;
        one.title = format!("{history_processes} history, {history_shards} shards");
        measured.push(one);
        load.close();
        fleet.check()?;
    }
    println!("{}; {} open\n", args.conditions(), args.concurrency);
    print!("{}", table(&measured, &args.tuning));
    if !measured.iter().all(Measured::clean) {
        bail!("workflows were lost or calls failed: see the table");
    }
    Ok(())
}

fn probe(fleet: &Fleet, database: &Database) -> Probe {
    Probe { server_pids: fleet.pids(), database_pids: database.pids(), metrics: fleet.metrics.clone() }
}
