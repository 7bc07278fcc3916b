//! The `outlast` binary: one file per command.
//!
//! A command ends with 0 when it has succeeded, with 1 when it could not, and with 2 when it was not understood.

mod admin_command;
mod config_command;
mod configuration;
mod schema_command;
mod signals;
mod start;
mod start_dev;
mod table;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// Small objects come and go by the million; the system's allocator was a quarter slower and kept more (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Durable executions: a server for the Temporal API.
#[derive(Parser)]
#[command(name = "outlast", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a server.
    Server {
        #[command(subcommand)]
        command: ServerCommand,
    },
    /// Look at configuration files.
    Config {
        #[command(subcommand)]
        command: config_command::Command,
    },
    /// Make or look at the tables that a cluster keeps everything in.
    Schema {
        #[command(subcommand)]
        command: schema_command::Command,
    },
    /// Look at a running cluster, move its shards; verify and copy the file of one process.
    Admin(admin_command::Flags),
}

#[derive(Subcommand)]
enum ServerCommand {
    /// Run one process of a cluster, as a configuration file says.
    Start(start::Flags),
    /// Run all roles in one process, on one file or in memory.
    StartDev(start_dev::Flags),
}

/// After so many steps of tasks a thread looks for bytes that have arrived, and for wake-ups that came from other threads
/// (of the store, mostly). By default it is 61, and a light client waits behind so many steps of busy ones some thirty times
/// for one workflow; a look costs about a tenth of a step.
const STEPS_BETWEEN_CHECKS: u32 = 16;

/// Runs a server on threads of its own. What still blocks one of them when the server has ended is not waited for.
fn on_threads(server: impl Future<Output = Result<()>>) -> Result<()> {
    let threads = tokio::runtime::Builder::new_multi_thread()
        .event_interval(STEPS_BETWEEN_CHECKS)
        .global_queue_interval(STEPS_BETWEEN_CHECKS)
        .enable_all()
        .build()
        .context("start the threads")?;
    let ended = threads.block_on(server);
    threads.shutdown_background();
    ended
}

/// Writes a line. A closed pipe is ignored.
fn say(mut to: impl Write, line: &str) {
    let _ = writeln!(to, "{line}");
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Server { command: ServerCommand::Start(flags) } => start::run(&flags),
        Command::Server { command: ServerCommand::StartDev(flags) } => start_dev::run(flags),
        Command::Config { command } => config_command::run(command),
        Command::Schema { command } => schema_command::run(&command),
        Command::Admin(flags) => admin_command::run(flags),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(std::io::stderr(), &format!("outlast: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
