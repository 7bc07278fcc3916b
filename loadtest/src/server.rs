//! A server of the bench's own: started on a new file, stopped whatever happens.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::load;

/// A process that is killed when dropped, and its log.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a command whose output goes to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(mut command: Command, log: PathBuf) -> Result<Self> {
        let file = std::fs::File::create(&log)?;
        let command = command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("starting {:?}", command.get_program()))?;
        Ok(Self { child, log })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error when the process has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("a server ended with {status}: {}", self.last_lines()),
            None => Ok(()),
        }
    }

    /// The end of its log.
    pub fn last_lines(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" | ")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running server process and its files. Dropping it kills the process and removes the files.
pub struct Server {
    process: Process,
    _folder: TempDir,
    /// Where it serves gRPC, as a URL.
    pub address: String,
    /// Where it serves metrics, as host:port.
    pub metrics: String,
    /// From exec to the first answer of an RPC.
    pub start_time: Duration,
}

impl Server {
    /// Starts the binary on free ports and waits until it answers.
    ///
    /// # Errors
    /// When it exits, or does not answer within `limit`; the message holds the end of its log.
    pub async fn start(binary: &Path, limit: Duration) -> Result<Server> {
        let folder = TempDir::with_prefix("outlast-bench-")?;
        let (port, metrics_port) = (free_port()?, free_port()?);
        let began = Instant::now();
        let mut command = Command::new(binary);
        command
            .args(["server", "start-dev", "--ip", "127.0.0.1", "--namespace", "default", "--log-level", "warn"])
            .args(["--port", &port.to_string(), "--metrics-port", &metrics_port.to_string()])
            .arg("--db-filename")
            .arg(folder.path().join("bench.db"));
        let mut server = Server {
            process: Process::spawn(command, folder.path().join("server.log"))?,
            _folder: folder,
            address: format!("http://127.0.0.1:{port}"),
            metrics: format!("127.0.0.1:{metrics_port}"),
            start_time: Duration::ZERO,
        };
        loop {
            server.check()?;
            if load::connect(&server.address, false).await.is_ok() {
                server.start_time = began.elapsed();
                return Ok(server);
            }
            if began.elapsed() > limit {
                bail!("the server does not answer after {limit:?}: {}", server.process.last_lines());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// An error when the process has ended.
    pub fn check(&mut self) -> Result<()> {
        self.process.check()
    }
}

pub(crate) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
