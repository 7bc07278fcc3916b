//! SIGTERM, SIGINT and SIGHUP, from the first moment of a server to its last.
//!
//! SIGHUP stops a server whose standard input is a terminal, since it says that the terminal is gone. Any other server, of an
//! init system, a container or `nohup`, logs and ignores it: there it makes daemons read their configuration again,
//! and this one reads it at its start only.

use std::io::IsTerminal;

use anyhow::{Context, Result, anyhow};
use runtime::Runtime;
use server::{Server, ServerSettings, StartError};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::say;

/// The signals that stop a server.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    stops_on_hangup: bool,
}

impl Signals {
    /// Listens from now on: the process is not ended by them any more.
    pub(crate) fn listen() -> Result<Self> {
        Self::listen_with(std::io::stdin().is_terminal())
    }

    fn listen_with(stops_on_hangup: bool) -> Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("listen for SIGTERM")?,
            interrupt: signal(SignalKind::interrupt()).context("listen for SIGINT")?,
            hangup: signal(SignalKind::hangup()).context("listen for SIGHUP")?,
            stops_on_hangup,
        })
    }

    /// Returns with the name of the next one that stops a server.
    pub(crate) async fn next(&mut self) -> &'static str {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.hangup.recv() => {}
            }
            if self.stops_on_hangup {
                return "SIGHUP";
            }
            tracing::warn!("SIGHUP is ignored: the configuration is read at the start only; SIGTERM stops the server");
        }
    }

    /// Starts a server. `None` when a signal stopped it before that was done; then it has ended in order. To start may take
    /// long, as while a database is away: that is no reason not to stop.
    pub(crate) async fn start(&mut self, settings: ServerSettings) -> Result<Option<Server>> {
        let stop_signal = async {
            let name = self.next().await;
            say(std::io::stdout(), &format!("{name} before the start was done: stopping"));
        };
        match Server::start(settings, Runtime::system(), stop_signal).await {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn send(signal: &str) {
        let me = std::process::id().to_string();
        assert!(std::process::Command::new("kill").args([signal, &me]).status().unwrap().success());
    }

    /// One test: signals are the process's, and go to all listeners.
    #[tokio::test]
    async fn a_hangup_stops_only_the_server_of_a_terminal() {
        let (mut in_terminal, mut daemon) = (Signals::listen_with(true).unwrap(), Signals::listen_with(false).unwrap());
        send("-HUP");
        assert_eq!(in_terminal.next().await, "SIGHUP");
        send("-TERM");
        assert_eq!(daemon.next().await, "SIGTERM", "it went on until then");
    }
}
