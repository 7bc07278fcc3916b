//! The whole configuration, and how it is read.

use std::io::Read;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::MemoryParts;

use crate::section::{
    Cluster, Frontend, History, Http, Internal, Log, Matching, Membership, Node, ProcessMemory, Remote, Shards, Store,
};
use crate::tree::{LARGEST_FILE, Tree};
use crate::{Overrides, Problem, check, rules, schema};

/// The configuration of one process.
///
/// Keys can also be set by the environment: `OUTLAST__NODE__ID=history-0` sets `node.id`, two underscores between levels.
/// Values are YAML, and text is taken as it stands.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What all processes of one cluster must agree on.
    pub cluster: Cluster,
    /// This process as a member of the cluster.
    pub node: Node,
    /// Where other processes of the cluster, and `outlast admin`, reach this one. Not for users: admit no other clients.
    pub internal: Internal,
    /// Health and metrics, over HTTP: /health/live, /health/startup, /health/ready, /metrics.
    pub http: Http,
    /// The public API, in processes of the role `frontend`.
    #[serde(default)]
    pub frontend: Frontend,
    /// Bounds and defaults of workflow runs, in processes of the role `history`. They should be the same in all of them.
    #[serde(default)]
    pub history: History,
    /// Task queues, in processes of the role `matching`. They should be the same in all of them.
    #[serde(default)]
    pub matching: Matching,
    /// Memory of this process. It is divided among requests (an eighth, `frontend.in_flight_bytes`), workflows and task
    /// queues (three eighths, `shards.memory_bytes`), what waits for the logs (a sixteenth, `shards.waiting_bytes`) and the
    /// caches of a SQLite store (a sixteenth); the rest is for what is not counted. When a part is full, calls are refused
    /// with RESOURCE_EXHAUSTED.
    #[serde(default)]
    pub memory: ProcessMemory,
    /// Memory and checkpoints of the shards that this process serves. Bounds of memory are those of all of them together,
    /// others those of each.
    #[serde(default)]
    pub shards: Shards,
    /// How this process finds the others, and, in processes of the role `membership`, how it votes.
    #[serde(default)]
    pub membership: Membership,
    /// Where everything durable goes: exactly one of these.
    pub store: Store,
    /// Calls from process to process.
    #[serde(default)]
    pub remote: Remote,
    /// Log lines, on standard error.
    #[serde(default)]
    pub log: Log,
}

impl Config {
    /// Reads a file and what overrides it, and holds both against the schema and the rules between keys.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the file; at least one. Rules between keys are checked only when no
    /// needed key is missing.
    pub fn read(path: &Path, overrides: &Overrides) -> Result<Self, Vec<Problem>> {
        let text = read_text(path).map_err(|problem| vec![problem])?;
        Self::parse(&text, overrides)
    }

    /// As [`Config::read`], from a file's text.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn parse(text: &str, overrides: &Overrides) -> Result<Self, Vec<Problem>> {
        let schema = schema();
        let mut tree = Tree::parse(text).map_err(|problem| vec![problem])?;
        let mut problems = overrides.apply(&mut tree, &schema);
        let (usable, found) = check::check(&tree, &schema);
        problems.extend(found);
        match serde_json::from_value::<Self>(usable) {
            Ok(mut config) => {
                let broken = rules::check(&mut config, &tree);
                // What follows from a reported problem is not reported again.
                let item = |of: &str, list: &str| of.strip_prefix(list).is_some_and(|rest| rest.starts_with('['));
                let is_reported =
                    |path: &str| problems.iter().any(|known| within(path, &known.path) || item(&known.path, path));
                let news: Vec<Problem> = broken.into_iter().filter(|problem| !is_reported(&problem.path)).collect();
                problems.extend(news);
                if problems.is_empty() {
                    return Ok(config);
                }
            }
            // With problems known this is about one of them. Without, the schema lets through what a struct refuses.
            Err(error) if problems.is_empty() => problems.push(Problem::missing("", error.to_string())),
            Err(_) => {}
        }
        problems
            .sort_by(|a, b| (a.origin.is_none(), &a.origin, &a.path).cmp(&(b.origin.is_none(), &b.origin, &b.path)));
        Err(problems)
    }

    /// Whether this process plays a role.
    #[must_use]
    pub fn plays(&self, role: crate::Role) -> bool {
        self.node.roles.contains(&role)
    }

    /// Pages of a SQLite store that the process keeps in memory. Bytes.
    #[must_use]
    pub fn store_cache_bytes(&self) -> usize {
        MemoryParts::of(self.memory.total.map_or(0, crate::ByteSize::in_memory)).store_cache_bytes
    }

    /// The address that others connect to, as far as it is known before listening: `None` when `internal.listen` takes
    /// any free port.
    #[must_use]
    pub fn advertised(&self) -> Option<String> {
        let listen = self.internal.listen.socket();
        match &self.internal.advertise {
            Some(advertise) => Some(advertise.to_string()),
            None => (listen.port() != 0).then(|| listen.to_string()),
        }
    }

    /// The values in force as a file would have them, defaults included and secrets not shown.
    #[must_use]
    pub fn effective(&self) -> String {
        serde_saphyr::to_string(self).unwrap_or_else(|error| format!("# cannot be shown: {error}\n"))
    }
}

/// Whether a key is another, or lies below it. Below the whole file lies nothing: a problem with it is no problem with
/// each key.
fn within(path: &str, of: &str) -> bool {
    path.strip_prefix(of).is_some_and(|rest| !of.is_empty() && (rest.is_empty() || rest.starts_with(['.', '['])))
}

fn read_text(path: &Path) -> Result<String, Problem> {
    let refused = |why: String| Problem::missing("", format!("the file {} cannot be read: {why}", path.display()));
    let file = std::fs::File::open(path).map_err(|error| refused(error.to_string()))?;
    let mut bytes = Vec::new();
    // A device or a pipe may never end.
    let most = u64::try_from(LARGEST_FILE).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut bytes).map_err(|error| refused(error.to_string()))?;
    String::from_utf8(bytes)
        .map_err(|error| refused(format!("it is not UTF-8 at byte {}", error.utf8_error().valid_up_to())))
}
