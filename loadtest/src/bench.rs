//! The measurements of docs/performance.md, in one go, against a server of its own.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::Tuning;
use crate::load::{Load, Pace, Shape};
use crate::process;
use crate::report::{Measured, Probe, measure, table};
use crate::server::Server;

#[derive(Args)]
pub struct BenchArgs {
    /// The server's binary. By default the `outlast` beside this program.
    #[arg(long, env = "OUTLAST_BIN")]
    server: Option<PathBuf>,
    /// Seconds for each series at saturation, at most.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Workflows open at a time at saturation.
    #[arg(long, default_value_t = 512)]
    concurrency: usize,
    /// Also print how much is measured with gzip on, as SDKs have it.
    #[arg(long)]
    with_gzip: bool,
    #[command(flatten)]
    tuning: Tuning,
}

pub(crate) const ONE: Shape = Shape { activities: 1, parallel: false };
pub(crate) const TEN: Shape = Shape { activities: 10, parallel: false };
/// So many that only the time limit ends a series.
pub(crate) const ENDLESS: u64 = u64::MAX;

/// Starts a server, measures, prints. Ends with an error when a workflow was lost or a call failed.
pub async fn bench(args: BenchArgs) -> Result<()> {
    let binary = find_binary(args.server)?;
    let mut server = Server::start(&binary, Duration::from_secs(30)).await?;
    // What it holds before its first request, once start-up work is over.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = process::memory(server.pid())?;
    println!("| | |\n| --- | ---: |");
    println!("| exec to first answer, ms | {} |", server.start_time.as_millis());
    println!("| resident when idle, MiB | {:.1} |\n", idle.resident_kib as f64 / 1024.0);

    let probe = Probe { server_pids: vec![server.pid()], metrics: vec![server.metrics.clone()], ..Probe::default() };
    let mut clean = series(&server.address, &probe, &args.tuning, args.seconds, args.concurrency).await?;
    server.check()?;
    if args.with_gzip && !args.tuning.gzip {
        let tuning = Tuning { gzip: true, ..args.tuning };
        println!();
        clean &= series(&server.address, &probe, &tuning, args.seconds, args.concurrency).await?;
        server.check()?;
    }
    if !clean {
        bail!("workflows were lost or calls failed: see the table");
    }
    Ok(())
}

/// Idle latency, then saturation with one and with ten activities. Says whether nothing went wrong.
pub(crate) async fn series(
    address: &str,
    probe: &Probe,
    tuning: &Tuning,
    seconds: u64,
    concurrency: usize,
) -> Result<bool> {
    let load = Load::open(address, "default", tuning.clone()).await?;
    let limit = Duration::from_secs(seconds.max(1));
    let alone = Pace::Closed { concurrency: 1 };
    let full = Pace::Closed { concurrency };
    // Connections, code and caches are warm before anything counts.
    load.run(ONE, Pace::Closed { concurrency: 8 }, 100, limit).await?;
    let measured: [Measured; 3] = [
        measure(&load, probe, ONE, alone, 300, limit).await?,
        measure(&load, probe, ONE, full, ENDLESS, limit).await?,
        measure(&load, probe, TEN, full, ENDLESS, limit).await?,
    ];
    load.close();
    print!("{}", table(&measured, tuning));
    Ok(measured.iter().all(Measured::clean))
}

/// The server that was named, or the one beside this program.
pub fn find_binary(named: Option<PathBuf>) -> Result<PathBuf> {
    let binary = match named {
        Some(path) => path,
        None => std::env::current_exe()?.with_file_name("outlast"),
    };
    if !binary.exists() {
        bail!("no server at {}: build it, or name it with --server", binary.display());
    }
    Ok(binary)
}
