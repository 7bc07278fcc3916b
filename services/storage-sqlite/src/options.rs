//! How a store is opened.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::{OpenError, SqliteStore, WriteFailure};

/// Whether a commit waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// A commit is on disk when it is acknowledged.
    Full,
    /// A commit is in the operating system's memory when it is acknowledged: a power cut loses it, and may ruin the
    /// file. For suites that must show that they notice, and for throw-away data.
    Off,
}

/// A moment in the writer's work. Crash tests end the process at each of them in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A statement is about to run inside the transaction.
    BeforeStatement,
    /// A statement has run.
    AfterStatement,
    /// All statements have run.
    BeforeCommit,
    /// The commit is durable; its callers have no answer yet.
    AfterCommit,
    /// All callers with a part in the commit have their answers.
    AfterReplies,
}

pub(crate) type OnFailure = Arc<dyn Fn(&WriteFailure) + Send + Sync>;
pub(crate) type OnStep = Arc<dyn Fn(Step) + Send + Sync>;

/// How a store is opened. The defaults are what a server wants.
#[derive(Clone)]
pub struct SqliteOptions {
    pub(crate) synchronous: Synchronous,
    pub(crate) readers: usize,
    pub(crate) cache_bytes: usize,
    pub(crate) checkpoint_after_bytes: u64,
    pub(crate) tombstone_age: Duration,
    pub(crate) vfs: Option<String>,
    pub(crate) on_failure: OnFailure,
    pub(crate) on_step: Option<OnStep>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            synchronous: Synchronous::Full,
            readers: 2,
            cache_bytes: 16 << 20,
            checkpoint_after_bytes: 16 << 20,
            tombstone_age: Duration::from_secs(24 * 3600),
            vfs: None,
            on_failure: Arc::new(end_process),
            on_step: None,
        }
    }
}

/// The default reaction to a failed write. Standard error, since a logger might not get to write any more.
fn end_process(failure: &WriteFailure) {
    eprintln!("outlast: {failure}; what was not acknowledged may or may not be on disk; the process ends");
    match failure {
        WriteFailure::Sqlite { .. } | WriteFailure::File { .. } | WriteFailure::Damaged { .. } => std::process::exit(1),
        WriteFailure::Panicked { .. } => std::process::abort(),
    }
}

impl SqliteOptions {
    /// Whether commits wait for the disk. By default they do.
    #[must_use]
    pub fn synchronous(mut self, synchronous: Synchronous) -> Self {
        self.synchronous = synchronous;
        self
    }

    /// How many threads read. At least 1, by default 2.
    #[must_use]
    pub fn readers(mut self, readers: usize) -> Self {
        self.readers = readers.max(1);
        self
    }

    /// Pages that all connections together keep in memory, in bytes: half of it is the writer's, the other half the readers'.
    /// By default 16 MiB.
    #[must_use]
    pub fn cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// How large the write-ahead log may grow before it is copied into the file and begun again, in bytes. By default
    /// 16 MiB; under load it may overshoot to four times as much.
    #[must_use]
    pub fn checkpoint_after_bytes(mut self, bytes: u64) -> Self {
        self.checkpoint_after_bytes = bytes;
        self
    }

    /// How long a delete is remembered at least, so that a late put of a lower version stays deleted. By default a day;
    /// late puts die with the process at the latest.
    #[must_use]
    pub fn tombstone_age(mut self, age: Duration) -> Self {
        self.tombstone_age = age;
        self
    }

    /// Opens the file through a registered SQLite VFS.
    #[must_use]
    pub fn vfs(mut self, name: impl Into<String>) -> Self {
        self.vfs = Some(name.into());
        self
    }

    /// What happens when writing fails. By default the process ends with a message and exit code 1; whatever else is done, the store
    /// writes nothing any more and answers every call with `Unknown` or `Unavailable`.
    #[must_use]
    pub fn on_failure(mut self, reaction: impl Fn(&WriteFailure) + Send + Sync + 'static) -> Self {
        self.on_failure = Arc::new(reaction);
        self
    }

    /// Called by the writer's thread at each step.
    #[must_use]
    pub fn on_step(mut self, observer: impl Fn(Step) + Send + Sync + 'static) -> Self {
        self.on_step = Some(Arc::new(observer));
        self
    }

    /// Opens the store at `path`, creating it if need be; its directory must exist. Blocks for some milliseconds.
    pub fn open(self, path: &Path) -> Result<SqliteStore, OpenError> {
        SqliteStore::open_with(path, self)
    }
}
