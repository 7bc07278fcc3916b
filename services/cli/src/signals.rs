//! SIGTERM and SIGINT, from the first moment of a server to its last.

use anyhow::{Context, Result, anyhow};
use runtime::Runtime;
use server::{Server, ServerSettings, StartError};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::say;

/// What tells a server to stop.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from now on: the process is not ended by them any more.
    pub(crate) fn listen() -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("listen for SIGINT")?,
        })
    }

    /// Returns with the name of the next one.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Starts a server. `None` when it was told to stop before that was done; then it has ended in order. To start may take
    /// long, as while a database is away: that is no reason not to stop.
    pub(crate) async fn start(&mut self, settings: ServerSettings) -> Result<Option<Server>> {
        let told = async {
            let name = self.next().await;
            say(std::io::stdout(), &format!("{name} before the start was done: stopping"));
        };
        match Server::start(settings, Runtime::system(), told).await {
            Ok(server) => Ok(Some(server)),
            Err(StartError::Stopped) => {
                say(std::io::stdout(), "stopped");
                Ok(None)
            }
            // The text of why not holds those of its causes.
            Err(error) => Err(anyhow!("{error}")),
        }
    }
}
