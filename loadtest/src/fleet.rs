//! A cluster of the bench's own: one Cassandra node, and server processes that share its roles out.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use tempfile::TempDir;

use crate::load;
use crate::server::{Process, free_port};

/// What to start.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Processes of the role history. With 1, a single process plays all roles.
    pub history_processes: usize,
    /// Shards of workflows.
    pub history_shards: u32,
    /// Shards of task queues.
    pub matching_shards: u32,
}

/// A Cassandra node, stopped and removed when dropped.
pub struct Database {
    launcher: PathBuf,
    folder: TempDir,
    started: Started,
}

#[derive(Deserialize)]
struct Started {
    contact_points: Vec<String>,
    datacenter: String,
    nodes: Vec<StartedNode>,
}

#[derive(Deserialize)]
struct StartedNode {
    pid: u32,
}

impl Database {
    /// Starts a node with the launcher `deploy/cassandra/cassandra`.
    ///
    /// # Errors
    /// When it does not come up; the message holds what the launcher said.
    pub fn start(launcher: &Path, paxos: &str, commitlog: &str) -> Result<Self> {
        let folder = TempDir::with_prefix("outlast-bench-cassandra-")?;
        let output = Command::new(launcher)
            .args(["start", "--nodes", "1", "--detach", "--with-parent", "--json", "--jit", "full", "--heap", "2G"])
            .args(["--paxos", paxos, "--commitlog", commitlog, "--dir"])
            .arg(folder.path())
            .output()
            .with_context(|| format!("starting {}", launcher.display()))?;
        let stdout = succeeded(output)?;
        let line = stdout.lines().last().unwrap_or_default();
        let started = serde_json::from_str(line).with_context(|| format!("the launcher printed {line:?}"))?;
        Ok(Self { launcher: launcher.to_owned(), folder, started })
    }

    /// The processes of its nodes.
    pub fn pids(&self) -> Vec<u32> {
        self.started.nodes.iter().map(|node| node.pid).collect()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // It ends with this process in any case.
        let _ = Command::new(&self.launcher).args(["stop", "--dir"]).arg(self.folder.path()).output();
    }
}

/// Server processes on a database. Dropping it kills them.
pub struct Fleet {
    /// Where the API is served, as a URL.
    pub address: String,
    /// Where each process serves metrics, as host:port.
    pub metrics: Vec<String>,
    processes: Vec<Process>,
    _folder: TempDir,
}

/// The arguments of one process.
struct Member<'a> {
    id: String,
    roles: &'a [&'a str],
    internal: u16,
    http: u16,
    frontend: Option<u16>,
}

const ALL: &[&str] = &["membership", "frontend", "history", "matching"];
const ALL_BUT_HISTORY: &[&str] = &["membership", "frontend", "matching"];
const HISTORY: &[&str] = &["history"];

impl Fleet {
    /// Applies the schema in a keyspace of its own, starts the processes and waits until a workflow can be started.
    ///
    /// # Errors
    /// When one exits, or the API does not answer within a minute; the message holds the end of its log.
    pub async fn start(binary: &Path, database: &Database, plan: &Plan, keyspace: &str) -> Result<Self> {
        let folder = TempDir::with_prefix("outlast-bench-")?;
        let members = members(plan)?;
        let seed = members[0].internal;
        let mut processes = Vec::new();
        for (number, member) in members.iter().enumerate() {
            let file = folder.path().join(format!("{}.yaml", member.id));
            std::fs::write(&file, configuration(member, seed, plan, database, keyspace, folder.path()))?;
            if number == 0 {
                let applied = Command::new(binary).args(["schema", "apply", "--config"]).arg(&file).output()?;
                succeeded(applied).context("outlast schema apply")?;
            }
            let log = folder.path().join(format!("{}.log", member.id));
            let mut command = Command::new(binary);
            command.args(["server", "start", "--config"]).arg(&file);
            processes.push(Process::spawn(command, log)?);
        }
        let front = members[0].frontend.context("the first process is a frontend")?;
        let mut fleet = Self {
            address: format!("http://127.0.0.1:{front}"),
            metrics: members.iter().map(|member| format!("127.0.0.1:{}", member.http)).collect(),
            processes,
            _folder: folder,
        };
        fleet.wait_until_ready(Duration::from_secs(60)).await?;
        Ok(fleet)
    }

    async fn wait_until_ready(&mut self, limit: Duration) -> Result<()> {
        let began = Instant::now();
        loop {
            self.check()?;
            let mut waiting = Vec::new();
            for address in &self.metrics {
                if !is_ready(address).await {
                    waiting.push(address.clone());
                }
            }
            if waiting.is_empty() && load::connect(&self.address, false).await.is_ok() {
                return Ok(());
            }
            if began.elapsed() > limit {
                let logs: Vec<String> = self.processes.iter().map(Process::last_lines).collect();
                bail!("not ready after {limit:?}: {waiting:?}: {}", logs.join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The server processes.
    pub fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Process::pid).collect()
    }

    /// An error when a process has ended.
    pub fn check(&mut self) -> Result<()> {
        self.processes.iter_mut().try_for_each(Process::check)
    }
}

fn members(plan: &Plan) -> Result<Vec<Member<'static>>> {
    let alone = plan.history_processes <= 1;
    let mut members = vec![Member {
        id: "node-0".to_owned(),
        roles: if alone { ALL } else { ALL_BUT_HISTORY },
        internal: free_port()?,
        http: free_port()?,
        frontend: Some(free_port()?),
    }];
    for number in 1..=plan.history_processes {
        if alone {
            break;
        }
        members.push(Member {
            id: format!("history-{number}"),
            roles: HISTORY,
            internal: free_port()?,
            http: free_port()?,
            frontend: None,
        });
    }
    Ok(members)
}

fn configuration(
    member: &Member<'_>,
    seed: u16,
    plan: &Plan,
    database: &Database,
    keyspace: &str,
    folder: &Path,
) -> String {
    let Member { id, internal, http, .. } = member;
    let roles = member.roles.join(", ");
    let frontend = member.frontend.map(|port| format!("frontend: {{ listen: \"127.0.0.1:{port}\" }}\n"));
    let voter = member.frontend.map(|_| {
        let data = folder.join("membership").display().to_string();
        format!(", data_dir: \"{data}\", initial_voters: [{{ id: {id}, address: \"127.0.0.1:{internal}\" }}]")
    });
    let points: Vec<String> = database.started.contact_points.iter().map(|point| format!("{point:?}")).collect();
    let (datacenter, points) = (&database.started.datacenter, points.join(", "));
    format!(
        "cluster: {{ name: bench, history_shards: {}, matching_shards: {} }}\n\
         node: {{ id: {id}, roles: [{roles}] }}\n\
         internal: {{ listen: \"127.0.0.1:{internal}\" }}\n\
         http: {{ listen: \"127.0.0.1:{http}\" }}\n\
         {}\
         membership: {{ seeds: [\"127.0.0.1:{seed}\"]{} }}\n\
         store: {{ cassandra: {{ contact_points: [{points}], keyspace: {keyspace}, local_datacenter: {datacenter}, \
         replication: {{ {datacenter}: 1 }} }} }}\n\
         log: {{ level: warn, format: text }}\n",
        plan.history_shards,
        plan.matching_shards,
        frontend.unwrap_or_default(),
        voter.unwrap_or_default(),
    )
}

async fn is_ready(address: &str) -> bool {
    crate::counters::get(address, "/health/ready").await.is_ok()
}

fn succeeded(output: Output) -> Result<String> {
    if !output.status.success() {
        bail!("it ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
