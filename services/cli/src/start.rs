//! `outlast server start`.

use std::net::SocketAddr;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use config::Config;
use runtime::Runtime;
use server::{Server, ServerSettings};
use telemetry::LogFormat;
use tokio::signal::unix::{SignalKind, signal};

use crate::configuration::Source;
use crate::say;

#[derive(Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    source: Source,
}

/// Runs until SIGTERM or SIGINT, and then hands over before it ends.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    let config = flags.source.read()?;
    telemetry::init_logging(&config.log.level, log_format(&config))?;
    let threads = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the threads")?;
    threads.block_on(serve(&config))
}

/// As telemetry takes it.
pub(crate) fn log_format(config: &Config) -> LogFormat {
    match config.log.format {
        config::LogFormat::Text => LogFormat::Text,
        config::LogFormat::Json => LogFormat::Json,
    }
}

async fn serve(config: &Config) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let tell = |line: &str| say(std::io::stdout(), line);
    let roles: Vec<&str> = config.node.roles.iter().map(|role| role.name()).collect();
    tell(concat!("outlast ", env!("CARGO_PKG_VERSION")));
    tell(&format!("node:     {} of {}: {}", config.node.id, config.cluster.name, roles.join(", ")));

    let settings = ServerSettings::of(config);
    tell(&format!("store:    {}", settings.store));
    let starting = Server::start(settings, Runtime::system());
    // To start may take long, as while a database is away; that is no reason not to stop.
    let starting = tokio::select! {
        starting = starting => starting,
        _ = terminate.recv() => bail!("SIGTERM before the start was done"),
        _ = interrupt.recv() => bail!("SIGINT before the start was done"),
    };
    // The text of why not holds those of its causes.
    let mut server = starting.map_err(|error| anyhow!("{error}"))?;
    let told = |name: &str, address: Option<SocketAddr>, before: &str, after: &str| {
        if let Some(address) = address {
            tell(&format!("{name:<9} {before}{address}{after}"));
        }
    };
    told("internal:", server.internal_address(), "", "");
    told("health:", server.http_address(), "http://", "/health/ready");
    told("metrics:", server.http_address(), "http://", "/metrics");
    told("server:", server.address(), "", "");

    let signal = tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        why = server.failed() => bail!("serving has ended: {why}"),
    };
    tell(&format!("{signal}: handing over"));
    server.stop().await;
    tell("stopped");
    Ok(())
}
