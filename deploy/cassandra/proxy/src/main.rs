//! The proxy as a process of its own, steered over a socket.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use clap::Parser;
use cql_proxy::{Proxy, Route, serve_control};
use tokio::net::TcpListener;

#[derive(Parser)]
#[command(about = "Stands between a CQL driver and its nodes, and injects faults as ordered over --control")]
struct Cli {
    /// Where to listen and which node is behind it, as in `127.0.0.101:9042=127.0.0.1:9042`. Once per node.
    #[arg(long = "route", required = true, value_parser = route)]
    routes: Vec<Route>,
    /// Where to take commands, one JSON object a line (`Command` in the crate's docs). Port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    control: SocketAddr,
    /// What the lots are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn route(text: &str) -> Result<Route, String> {
    let wanted = || format!("{text:?} is not LISTEN=NODE, each with a port");
    let (listen, upstream) = text.split_once('=').ok_or_else(wanted)?;
    Ok(Route { listen: listen.parse().map_err(|_| wanted())?, upstream: upstream.parse().map_err(|_| wanted())? })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let proxy = Proxy::start(&cli.routes, cli.seed).await?;
    let listener = TcpListener::bind(cli.control).await.with_context(|| format!("--control {}", cli.control))?;
    let facts = serde_json::json!({
        "control": listener.local_addr()?.to_string(),
        "listen": proxy.addresses().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "seed": cli.seed,
    });
    let mut out = std::io::stdout();
    writeln!(out, "{facts}")?;
    out.flush()?;
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        done = serve_control(listener, proxy.control()) => done.context("the control socket failed"),
        _ = tokio::signal::ctrl_c() => Ok(()),
        _ = terminated.recv() => Ok(()),
    }
}
