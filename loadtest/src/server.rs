//! A server of the bench's own: started on a new file, stopped whatever happens.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::load;

/// A running server process and its files. Dropping it kills the process and removes the files.
pub struct Server {
    child: Child,
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
        let log_path = folder.path().join("server.log");
        let log = std::fs::File::create(&log_path)?;
        let (port, metrics_port) = (free_port()?, free_port()?);
        let began = Instant::now();
        let child = Command::new(binary)
            .args(["server", "start-dev", "--ip", "127.0.0.1", "--namespace", "default", "--log-level", "warn"])
            .args(["--port", &port.to_string(), "--metrics-port", &metrics_port.to_string()])
            .arg("--db-filename")
            .arg(folder.path().join("bench.db"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let mut server = Server {
            child,
            _folder: folder,
            address: format!("http://127.0.0.1:{port}"),
            metrics: format!("127.0.0.1:{metrics_port}"),
            start_time: Duration::ZERO,
        };
        loop {
            let told = || std::fs::read_to_string(&log_path).unwrap_or_default();
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended with {status}: {}", last_lines(&told()));
            }
            if load::connect(&server.address, false).await.is_ok() {
                server.start_time = began.elapsed();
                return Ok(server);
            }
            if began.elapsed() > limit {
                bail!("the server does not answer after {limit:?}: {}", last_lines(&told()));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error when the process has ended.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the server ended with {status} during the bench"),
            None => Ok(()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be gone already, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" | ")
}
