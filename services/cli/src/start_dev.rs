//! `outlast server start-dev`.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use config::ByteSize;
use server::{ServerSettings, StoreChoice};
use settings::LEAST_MEMORY;
use telemetry::LogFormat;

use crate::signals::Signals;
use crate::{on_threads, say};

/// Flags, as people know them.
#[derive(Args)]
pub(crate) struct Flags {
    /// Address to listen at.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    ip: IpAddr,
    /// Port for gRPC.
    #[arg(long, short, default_value_t = 7233)]
    port: u16,
    /// Port for /metrics; no metrics without it.
    #[arg(long)]
    metrics_port: Option<u16>,
    /// File that keeps everything; without it, everything is in memory and ends with the process.
    #[arg(long, short = 'f')]
    db_filename: Option<PathBuf>,
    /// Namespace that shall exist beside `default`; may be given again.
    #[arg(long, short)]
    namespace: Vec<String>,
    /// debug, info, warn, error or never, or a filter such as `info,history=debug`.
    #[arg(long, default_value = "warn")]
    log_level: String,
    /// text or json.
    #[arg(long, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Shards of workflows: fixed at the file's first start.
    #[arg(long, default_value_t = 4)]
    history_shards: u32,
    /// Shards of task queues: fixed at the file's first start.
    #[arg(long, default_value_t = 1)]
    matching_shards: u32,
    /// Memory of the process, such as 512MiB, at least 64MiB; by default half of what the machine has or the process's control
    /// group allows. When a part of it is full, calls are refused.
    #[arg(long)]
    memory_total: Option<ByteSize>,
}

/// Runs until SIGTERM or SIGINT, or until its terminal is gone.
pub(crate) fn run(flags: Flags) -> Result<()> {
    telemetry::init_logging(&flags.log_level, flags.log_format)?;
    on_threads(serve(flags))
}

fn memory_total(given: Option<ByteSize>) -> Result<usize> {
    match given {
        Some(total) if total.in_memory() < LEAST_MEMORY => {
            bail!("--memory-total is {total}, at least {} is needed", ByteSize::from(LEAST_MEMORY))
        }
        Some(total) => Ok(total.in_memory()),
        None => Ok(usize::try_from(config::default_memory_total()).unwrap_or(usize::MAX)),
    }
}

async fn serve(flags: Flags) -> Result<()> {
    let mut signals = Signals::listen()?;
    let settings = ServerSettings {
        ip: flags.ip,
        port: flags.port,
        metrics_port: flags.metrics_port,
        store: flags.db_filename.map_or(StoreChoice::Memory, StoreChoice::File),
        namespaces: flags.namespace,
        history_shards: flags.history_shards,
        matching_shards: flags.matching_shards,
        ..ServerSettings::default()
    };
    let settings = settings.within_memory(memory_total(flags.memory_total)?);
    let store = settings.store.to_string();
    let Some(mut server) = signals.start(settings).await? else { return Ok(()) };
    let print = |line: &str| say(std::io::stdout(), line);
    print(concat!("outlast ", env!("CARGO_PKG_VERSION")));
    if let Some(address) = server.address() {
        print(&format!("server:  {address}"));
    }
    if let Some(address) = server.metrics_address() {
        print(&format!("metrics: http://{address}/metrics"));
    }
    print(&format!("store:   {store}"));

    let signal = tokio::select! {
        signal = signals.next() => signal,
        why = server.failed() => bail!("serving has ended: {why}"),
    };
    print(&format!("{signal}: stopping"));
    server.stop().await;
    print("stopped");
    Ok(())
}
