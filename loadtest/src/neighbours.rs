//! What a light client feels of another namespace: its times alone, and beside each of a table of loads.
//!
//! Each load has a server and a file of its own. The light client runs one workflow at a time; alone first, then again
//! while the load runs. Both are processes of their own, with a lower priority than the server.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::task::JoinHandle;

use crate::bench::find_binary;
use crate::load;
use crate::neighbour::{Report, register};
use crate::process;
use crate::server::Server;

#[derive(Args)]
pub struct NeighboursArgs {
    /// The server's binary. By default the `outlast` beside this program.
    #[arg(long, env = "OUTLAST_BIN")]
    server: Option<PathBuf>,
    /// Seconds for each measurement.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Only loads whose title contains one of these.
    #[arg(long)]
    only: Vec<String>,
    /// By how much the light client gives way to the server.
    #[arg(long, default_value_t = 3)]
    nice_light: i32,
    /// By how much the load's driver gives way to the server.
    #[arg(long, default_value_t = 15)]
    nice_loud: i32,
}

/// A load of the neighbour.
struct Loud {
    title: &'static str,
    /// Arguments of the process that makes it.
    args: &'static [&'static str],
}

const LOADS: &[Loud] = &[
    Loud { title: "8 workflows open", args: &["--kind", "closed", "--size", "8"] },
    Loud { title: "256 workflows open", args: &["--kind", "closed", "--size", "256"] },
    Loud { title: "512 workflows open", args: &["--kind", "closed", "--size", "512"] },
    Loud { title: "bursts of 8,000 starts", args: &["--kind", "burst", "--size", "8000", "--connections", "10"] },
    Loud {
        title: "32 workflows of 256 KiB open",
        args: &["--kind", "closed", "--size", "32", "--payload-bytes", "262144"],
    },
    Loud { title: "1,000 polls", args: &["--kind", "polls", "--size", "1000", "--connections", "4"] },
    Loud { title: "16 registrations at a time", args: &["--kind", "registrations", "--size", "16"] },
    Loud { title: "512 unfinished requests", args: &["--kind", "unfinished", "--size", "512", "--connections", "8"] },
];

const LIGHT: &[&str] = &["--kind", "closed", "--size", "1", "--pollers", "4", "--connections", "1"];

/// The load runs this long before the light client is measured, and as long after.
const LEAD: Duration = Duration::from_secs(2);

struct Row {
    title: &'static str,
    alone: Report,
    beside: Report,
    loud: Report,
    /// Of the server, while both ran.
    cores: f64,
}

/// Measures and prints. Ends with an error when a call of the light client failed.
pub async fn bench(args: NeighboursArgs) -> Result<()> {
    let binary = find_binary(args.server.clone())?;
    let wanted = |loud: &&Loud| args.only.is_empty() || args.only.iter().any(|part| loud.title.contains(part));
    let mut rows = Vec::new();
    for loud in LOADS.iter().filter(wanted) {
        rows.push(measure(&binary, &args, loud).await.with_context(|| format!("beside {}", loud.title))?);
    }
    print!("{}", table(&rows));
    let failed: u64 = rows.iter().map(|row| row.alone.failed + row.beside.failed + row.beside.refused).sum();
    if failed > 0 {
        bail!("{failed} calls of the light client were refused or failed");
    }
    Ok(())
}

async fn measure(binary: &Path, args: &NeighboursArgs, loud: &Loud) -> Result<Row> {
    let mut server = Server::start(binary, Duration::from_secs(30)).await?;
    let mut client = load::connect(&server.address, false).await?;
    register(&mut client, "light").await?;
    register(&mut client, "loud").await?;
    let light = |seconds| neighbour(&server.address, "light", args.nice_light, LIGHT, seconds);
    let limit = Duration::from_secs_f64(args.seconds);
    // Connections, code and caches are warm before anything counts.
    report(light(Duration::from_secs(1)).await??)?;
    let alone = report(light(limit).await??)?;
    let noise = neighbour(&server.address, "loud", args.nice_loud, loud.args, limit + 2 * LEAD);
    tokio::time::sleep(LEAD).await;
    let (cpu, began) = (process::cpu(server.pid())?, Instant::now());
    let beside = report(light(limit).await??)?;
    let cores = (process::cpu(server.pid())? - cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    let loud_report = report(noise.await??)?;
    server.check()?;
    Ok(Row { title: loud.title, alone, beside, loud: loud_report, cores })
}

/// A process that plays a neighbour, until it has ended. It ends by itself.
fn neighbour(
    address: &str,
    namespace: &str,
    nice: i32,
    args: &[&str],
    time: Duration,
) -> JoinHandle<std::io::Result<Output>> {
    let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("loadtest"));
    let mut command = Command::new("nice");
    command.args(["-n", &nice.to_string()]).arg(own).args(["neighbour", "--address", address]);
    command.args(["--namespace", namespace, "--seconds", &time.as_secs_f64().to_string()]).args(args);
    command.stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output())
}

fn report(output: Output) -> Result<Report> {
    if !output.status.success() {
        bail!("a neighbour ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| load in the other namespace | p50 alone | beside | × | p99 alone | beside | × | light/s | load/s | refused | failed | server cores |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for Row { title, alone, beside, loud, cores } in rows {
        text.push_str(&format!(
            "| {title} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.0} | {:.0} | {} | {} | {cores:.2} |\n",
            alone.p50_ms,
            beside.p50_ms,
            beside.p50_ms / alone.p50_ms,
            alone.p99_ms,
            beside.p99_ms,
            beside.p99_ms / alone.p99_ms,
            beside.rate(),
            loud.rate(),
            loud.refused,
            loud.failed,
        ));
    }
    text
}
