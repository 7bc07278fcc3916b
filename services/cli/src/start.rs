//! `outlast server start`.

use std::net::SocketAddr;

use anyhow::{Result, bail};
use clap::Args;
use config::Config;
use server::ServerSettings;
use telemetry::LogFormat;

use crate::configuration::Source;
use crate::signals::Signals;
use crate::{on_threads, say};

#[derive(Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    source: Source,
}

/// Runs until SIGTERM or SIGINT, and then hands over before it ends.
pub(crate) fn run(flags: &Flags) -> Result<()> {
    let config = flags.source.read()?;
    telemetry::init_logging(&config.log.level, log_format(&config))?;
    on_threads(serve(&config))
}

/// As telemetry takes it.
pub(crate) fn log_format(config: &Config) -> LogFormat {
    match config.log.format {
        config::LogFormat::Text => LogFormat::Text,
        config::LogFormat::Json => LogFormat::Json,
    }
}

async fn serve(config: &Config) -> Result<()> {
    let mut signals = Signals::listen()?;
    let tell = |line: &str| say(std::io::stdout(), line);
    let roles: Vec<&str> = config.node.roles.iter().map(|role| role.name()).collect();
    tell(concat!("outlast ", env!("CARGO_PKG_VERSION")));
    tell(&format!("node:     {} of {}: {}", config.node.id, config.cluster.name, roles.join(", ")));

    let settings = ServerSettings::of(config);
    tell(&format!("store:    {}", settings.store));
    let Some(mut server) = signals.start(settings).await? else { return Ok(()) };
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
        signal = signals.next() => signal,
        why = server.failed() => bail!("serving has ended: {why}"),
    };
    tell(&format!("{signal}: handing over"));
    server.stop().await;
    tell("stopped");
    Ok(())
}
