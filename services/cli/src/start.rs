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
    let print = |line: &str| say(std::io::stdout(), line);
    let roles: Vec<&str> = config.node.roles.iter().map(|role| role.name()).collect();
    print(concat!("outlast ", env!("CARGO_PKG_VERSION")));
    print(&format!("node:     {} of {}: {}", config.node.id, config.cluster.name, roles.join(", ")));

    let settings = ServerSettings::of(config);
    print(&format!("store:    {}", settings.store));
    let Some(mut server) = signals.start(settings).await? else { return Ok(()) };
    let print_address = |name: &str, address: Option<SocketAddr>, before: &str, after: &str| {
        if let Some(address) = address {
            print(&format!("{name:<9} {before}{address}{after}"));
        }
    };
    print_address("internal:", server.internal_address(), "", "");
    print_address("health:", server.http_address(), "http://", "/health/ready");
    print_address("metrics:", server.http_address(), "http://", "/metrics");
    print_address("server:", server.address(), "", "");

    let signal = tokio::select! {
        signal = signals.next() => signal,
        why = server.failed() => bail!("serving has ended: {why}"),
    };
    print(&format!("{signal}: handing over"));
    server.stop().await;
    print("stopped");
    Ok(())
}
