//! The `outlast` binary.

mod start_dev;

use std::io::Write;
use std::process::ExitCode;

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
}

#[derive(Subcommand)]
enum ServerCommand {
    /// Run all roles in one process, on one file or in memory.
    StartDev(start_dev::Flags),
}

/// Writes a line. Whoever reads them may be gone; that is no reason to stop.
fn say(mut to: impl Write, line: &str) {
    let _ = writeln!(to, "{line}");
}

fn main() -> ExitCode {
    let Command::Server { command: ServerCommand::StartDev(flags) } = Cli::parse().command;
    match start_dev::run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(std::io::stderr(), &format!("outlast: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
