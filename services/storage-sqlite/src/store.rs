//! The open store: starts the threads, hands out the ports, closes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use storage::Store;
use tokio::sync::watch;

use crate::checkpointer::WalBound;
use crate::command::Command;
use crate::error::{Cause, damage};
use crate::file_lock::FileLock;
use crate::file_watch::{FileWatch, Files};
use crate::options::OnFailure;
use crate::queue::WorkQueue;
use crate::reader::{Readers, Request};
use crate::schema;
use crate::stats::Counters;
use crate::thread;
use crate::writer::{Epochs, Remains, Sweeper, Writer, WriterShared};
use crate::{OpenError, SqliteOptions, SqliteStats, WriteFailure};

/// A store in one SQLite file. Cheap to clone; the file is released by [`close`](Self::close), or some time after the
/// last clone and the last of its ports are dropped.
#[derive(Clone)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

/// What the ports use.
pub(crate) struct Shared {
    pub(crate) commands: Arc<WorkQueue<Command>>,
    pub(crate) requests: Arc<WorkQueue<Request>>,
    pub(crate) epochs: Arc<Epochs>,
    pub(crate) registry_changes: Arc<watch::Sender<u64>>,
    counters: Arc<Counters>,
    closed: watch::Receiver<bool>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.commands.close();
    }
}

impl SqliteStore {
    /// Opens the store at `path` with default options, creating it if need be; its directory must exist. Blocks for some
    /// milliseconds. Refuses a file that another process has open, that belongs to something else, that another
    /// release wrote in another format, or that is damaged.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        SqliteOptions::default().open(path)
    }

    pub(crate) fn open_with(path: &Path, options: SqliteOptions) -> Result<Self, OpenError> {
        let lock = FileLock::take(path)?;
        let connection = schema::open_writer(path, &options)?;
        Self::start(path, lock, connection, options).map_err(|cause| cause.at(path))
    }

    fn start(
        path: &Path,
        lock: FileLock,
        mut connection: rusqlite::Connection,
        options: SqliteOptions,
    ) -> Result<Self, Cause> {
        let (closing, closed) = watch::channel(false);
        let shared = Shared {
            commands: Arc::new(WorkQueue::new()),
            requests: Arc::new(WorkQueue::new()),
            epochs: Arc::default(),
            registry_changes: Arc::new(watch::Sender::new(0)),
            counters: Arc::default(),
            closed,
        };
        let fuse = Arc::new(Fuse::new(path, options.on_failure.clone()));
        let readers = Readers::start(path, &options, shared.requests.clone(), &shared.counters)?;
        let wal = WalBound::start(
            &mut connection,
            schema::open_checkpointer(path, &options)?,
            options.checkpoint_after_bytes,
            shared.counters.clone(),
            fuse.clone(),
        )?;
        let for_writer = WriterShared {
            commands: shared.commands.clone(),
            epochs: shared.epochs.clone(),
            registry_changes: shared.registry_changes.clone(),
            counters: shared.counters.clone(),
            fuse: fuse.clone(),
            on_step: options.on_step,
        };
        let mut writer = Writer::new(connection, wal, Sweeper::new(options.tombstone_age), for_writer)?;
        let files = Arc::new(Files::of(path, lock.identity()));
        writer.watch(files.clone());
        let remains = Remains { watch: FileWatch::start(files, fuse)?, readers, lock, closed: closing };
        thread::start("sqlite-write", move || writer.run(remains))?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The ports of this store.
    #[must_use]
    pub fn store(&self) -> Store {
        Store { log: self.shared.clone(), table: self.shared.clone(), registry: self.shared.clone() }
    }

    /// What this store has done since it was opened.
    #[must_use]
    pub fn stats(&self) -> SqliteStats {
        self.shared.counters.stats()
    }

    /// Completes earlier calls, folds the write-ahead log into the file and releases it. Later calls
    /// through any port are answered with `Unavailable` (or `Unknown`, where that is the only way to say no).
    pub async fn close(&self) {
        self.shared.commands.close();
        // An error means that the writer's thread is gone, and the file with it.
        let _ = self.shared.closed.clone().wait_for(|closed| *closed).await;
    }
}

/// Blows at the first failed write, and lets nothing be written afterwards.
pub(crate) struct Fuse {
    path: PathBuf,
    on_failure: OnFailure,
    is_blown: AtomicBool,
}

impl Fuse {
    fn new(path: &Path, on_failure: OnFailure) -> Self {
        Self { path: path.to_owned(), on_failure, is_blown: AtomicBool::new(false) }
    }

    pub(crate) fn is_blown(&self) -> bool {
        self.is_blown.load(Ordering::SeqCst)
    }

    /// Writing failed.
    pub(crate) fn blow(&self, source: rusqlite::Error) {
        let path = self.path.clone();
        self.react(&match damage(&source) {
            Some(what) => WriteFailure::Damaged { path, what },
            None => WriteFailure::Sqlite { path, source },
        });
    }

    /// The writer has a bug.
    pub(crate) fn blow_by_panic(&self) {
        self.react(&WriteFailure::Panicked { path: self.path.clone() });
    }

    /// Writing must end for this reason.
    pub(crate) fn react(&self, failure: &WriteFailure) {
        if !self.is_blown.swap(true, Ordering::SeqCst) {
            (self.on_failure)(failure);
        }
    }
}
