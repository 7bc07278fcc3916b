//! A Cassandra for tests: started once for each test binary, stopped with it.

pub mod fresh;

use std::path::{Path, PathBuf};
use std::process::Command;

use runtime::Runtime;
use storage_cql::{CqlSettings, schema};
use tokio::sync::OnceCell;

/// Where a running database is, and how it was started.
#[derive(Clone, Debug)]
pub struct Database {
    pub contact_points: Vec<String>,
    pub datacenter: String,
    pub replicas: u32,
    /// The launcher's folder, if we started it.
    pub directory: Option<PathBuf>,
}

/// How a database is started.
#[derive(Clone, Debug)]
pub struct Start {
    pub name: &'static str,
    pub nodes: u32,
    pub paxos: &'static str,
    /// More arguments of the launcher.
    pub more: Vec<String>,
}

impl Start {
    pub const ONE: Self = Self { name: "one", nodes: 1, paxos: "v2", more: Vec::new() };
}

/// Settings for a store of its own in the binary's shared database, whose schema has been applied.
pub async fn settings() -> CqlSettings {
    static SHARED: OnceCell<Database> = OnceCell::const_new();
    let database = SHARED.get_or_init(async || {
        let database = match std::env::var("OUTLAST_CASSANDRA") {
            Ok(nodes) if !nodes.is_empty() => Database::running(&nodes),
            _ => Database::start(Start::ONE),
        };
        database.apply_schema().await;
        database
    });
    database.await.settings()
}

impl Database {
    /// One that was started elsewhere.
    pub fn running(nodes: &str) -> Self {
        let datacenter = std::env::var("OUTLAST_CASSANDRA_DATACENTER").unwrap_or_else(|_| "datacenter1".to_owned());
        let contact_points: Vec<String> = nodes.split(',').map(str::to_owned).collect();
        let replicas = if contact_points.len() >= 3 { 3 } else { 1 };
        Self { contact_points, datacenter, replicas, directory: None }
    }

    /// Starts one that ends with this process.
    pub fn start(start: Start) -> Self {
        for program in ["java", "mvn", "python3"] {
            let found = Command::new(program).arg(if program == "python3" { "-V" } else { "-version" }).output();
            assert!(found.is_ok(), "these tests need a real Cassandra, and for that {program}, which is not installed");
        }
        let base = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        remove_leftovers(&base);
        let directory = base.join(format!("cassandra-{}-{}", std::process::id(), start.name));
        let output = launcher("start", &directory)
            .args(["--nodes", &start.nodes.to_string(), "--paxos", start.paxos, "--detach", "--with-parent", "--json"])
            .args(["--timeout", "180"])
            .args(&start.more)
            .output()
            .expect("deploy/cassandra/cassandra can be run");
        let (stdout, complaint) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "no Cassandra started (logs in {}): {complaint}{stdout}", directory.display());
        let started: serde_json::Value =
            serde_json::from_str(stdout.lines().last().unwrap_or_default()).expect("the launcher prints JSON");
        let texts = |value: &serde_json::Value| -> Vec<String> {
            value.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_owned)).collect()
        };
        Self {
            contact_points: texts(&started["contact_points"]),
            datacenter: started["datacenter"].as_str().expect("a datacenter").to_owned(),
            replicas: start.nodes,
            directory: Some(directory),
        }
    }

    /// Settings for a store of its own.
    pub fn settings(&self) -> CqlSettings {
        CqlSettings {
            contact_points: self.contact_points.clone(),
            keyspace: "conformance".to_owned(),
            local_datacenter: self.datacenter.clone(),
            replication: [(self.datacenter.clone(), self.replicas)].into(),
            within: Runtime::system().uuid(),
            ..CqlSettings::default()
        }
    }

    pub async fn apply_schema(&self) {
        schema::apply(&self.settings(), &Runtime::system()).await.expect("the schema can be applied");
    }

    /// Ends it and removes what it stored. Without this it ends with the process.
    pub fn stop(self) {
        let directory = self.directory.as_deref().expect("a database that we started");
        let status = launcher("stop", directory).arg("--delete").status();
        assert!(status.is_ok_and(|status| status.success()), "stop");
    }

    /// Starts a node again on its data, under an address that no node had before.
    pub fn move_node(&self, number: u32) {
        let directory = self.directory.as_deref().expect("a database that we started");
        let host = self.contact_points[0].split(':').next().expect("an address");
        let (net, _) = host.rsplit_once('.').expect("an address of four numbers");
        let address = format!("{net}.{}", 50 + number);
        let status =
            launcher("restart", directory).args(["--node", &number.to_string(), "--address", &address]).status();
        assert!(status.is_ok_and(|status| status.success()), "restart node {number} at {address}");
    }

    /// What the launcher does with one node: `kill`, `pause`, `resume` or `restart`.
    pub fn node(&self, command: &str, number: u32) {
        let directory = self.directory.as_deref().expect("a database that we started");
        let status = launcher(command, directory).args(["--node", &number.to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "{command} node {number}");
    }
}

fn launcher(command: &str, directory: &Path) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut launcher = Command::new(root.join("deploy/cassandra/cassandra"));
    launcher.arg(command).arg("--dir").arg(directory);
    launcher
}

/// Folders of runs that are over. The last run's are kept until the next, for its logs.
fn remove_leftovers(base: &Path) {
    for entry in std::fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix("cassandra-") else { continue };
        let process = rest.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(process).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
