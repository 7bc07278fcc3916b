//! Keeps the write-ahead log short.
//!
//! SQLite restarts the write-ahead log only once all of it has been copied into the file, which under steady load
//! never happens by itself: while it is being copied, it grows. So a thread of its own copies most of it, fsyncing
//! beside the writer, and then the writer, between two transactions, copies the little that has come meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;

use crate::error::Cause;
use crate::queue::WorkQueue;
use crate::schema::{BUSY_TIMEOUT, PAGE_BYTES};
use crate::stats::Counters;
use crate::store::Fuse;
use crate::thread;

/// At this multiple of its bound the write-ahead log stops the writer until it has restarted.
const HARD_FACTOR: u64 = 4;

/// How long it waits then.
const READER_WAIT: Duration = Duration::from_millis(500);

/// Copies what no reader needs where it is.
const NOT_WAITING: &str = "PRAGMA wal_checkpoint(PASSIVE)";
/// Copies everything, waiting for readers.
const WAITING_FOR_READERS: &str = "PRAGMA wal_checkpoint(RESTART)";

/// The writer's side: watches the write-ahead log's length after each commit.
pub(crate) struct WalBound {
    bound_bytes: u64,
    /// From here on the writer waits for the log to restart.
    hard_bytes: u64,
    wal_bytes: Arc<AtomicU64>,
    progress: Arc<Progress>,
    passes: Arc<WorkQueue<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Progress {
    pass: Mutex<Pass>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Pass {
    /// Nothing is to be copied.
    #[default]
    Idle,
    /// The copying thread is at it.
    Copying,
    /// It has finished, and what has come since is left to the writer.
    RestDue,
    /// It has failed and ended.
    Failed,
}

impl Progress {
    fn now(&self) -> Pass {
        *self.lock()
    }

    fn set(&self, pass: Pass) {
        *self.lock() = pass;
        self.changed.notify_all();
    }

    /// Waits for the copying thread to finish its pass, if it is at one.
    fn settled(&self) -> Pass {
        let settled = self.changed.wait_while(self.lock(), |pass| *pass == Pass::Copying);
        *settled.unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Pass> {
        // Nothing panics while holding the lock.
        self.pass.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WalBound {
    /// Starts the copying thread on a connection of its own, and watches the writer's.
    pub(crate) fn start(
        writer: &mut Connection,
        copier: Connection,
        bound_bytes: u64,
        counters: Arc<Counters>,
        fuse: Arc<Fuse>,
    ) -> Result<Self, Cause> {
        let wal_bytes = Arc::new(AtomicU64::new(0));
        let seen = wal_bytes.clone();
        writer.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: std::ffi::c_int| {
            seen.store(u64::from(pages.unsigned_abs()) * PAGE_BYTES, Ordering::Relaxed);
            Ok(())
        }))?;
        let (progress, passes) = (Arc::new(Progress::default()), Arc::new(WorkQueue::new()));
        let copying = Copying { copier, progress: progress.clone(), passes: passes.clone(), counters, fuse };
        let thread = thread::start("sqlite-checkpoint", move || copying.run())?;
        let hard_bytes = bound_bytes.saturating_mul(HARD_FACTOR);
        Ok(Self { bound_bytes, hard_bytes, wal_bytes, progress, passes, thread: Some(thread) })
    }

    /// To be called after each commit, outside a transaction.
    pub(crate) fn keep(&mut self, writer: &Connection, counters: &Counters) -> rusqlite::Result<()> {
        let wal_bytes = self.wal_bytes.load(Ordering::Relaxed);
        counters.wal_bytes.store(wal_bytes, Ordering::Relaxed);
        if wal_bytes < self.bound_bytes {
            return Ok(());
        }
        let is_far_over = wal_bytes >= self.hard_bytes;
        // A checkpoint does not wait for another one by itself, whatever its mode.
        match if is_far_over { self.progress.settled() } else { self.progress.now() } {
            Pass::Idle | Pass::RestDue if is_far_over => self.wait_for_readers(writer, wal_bytes, counters)?,
            Pass::RestDue => self.copy_rest(writer, NOT_WAITING, counters)?,
            Pass::Idle => {
                self.progress.set(Pass::Copying);
                self.passes.push(());
            }
            Pass::Copying | Pass::Failed => {}
        }
        Ok(())
    }

    /// Waits for readers, but not for long, and not again before the log has doubled: a backup or a tool may read for
    /// minutes, and all other requests would wait with it.
    fn wait_for_readers(&mut self, writer: &Connection, wal_bytes: u64, counters: &Counters) -> rusqlite::Result<()> {
        writer.busy_timeout(READER_WAIT)?;
        let outcome = checkpoint(writer, WAITING_FOR_READERS, counters);
        writer.busy_timeout(BUSY_TIMEOUT)?;
        self.hard_bytes = match outcome? {
            Copied::All => self.bound_bytes.saturating_mul(HARD_FACTOR),
            Copied::Some => wal_bytes.saturating_mul(2),
        };
        self.begun_anew();
        Ok(())
    }

    fn copy_rest(&self, writer: &Connection, pragma: &'static str, counters: &Counters) -> rusqlite::Result<()> {
        checkpoint(writer, pragma, counters)?;
        self.begun_anew();
        Ok(())
    }

    fn begun_anew(&self) {
        self.progress.set(Pass::Idle);
        // The next commit restarts the log, unless a reader is in the way; then it shows the true length.
        self.wal_bytes.store(0, Ordering::Relaxed);
    }

    /// Ends the copying thread.
    pub(crate) fn finish(&mut self) {
        self.passes.abandon();
        if let Some(thread) = self.thread.take() {
            // If it panicked there is nothing left to end.
            let _ = thread.join();
        }
    }
}

impl Drop for WalBound {
    /// Ends the thread of a store that failed to open.
    fn drop(&mut self) {
        self.finish();
    }
}

/// The copying thread's side.
struct Copying {
    copier: Connection,
    progress: Arc<Progress>,
    passes: Arc<WorkQueue<()>>,
    counters: Arc<Counters>,
    fuse: Arc<Fuse>,
}

impl Copying {
    fn run(self) {
        while self.passes.take(|waiting| waiting).is_some() {
            match checkpoint(&self.copier, NOT_WAITING, &self.counters) {
                Ok(_) => self.progress.set(Pass::RestDue),
                // Part of the file may be lost although a later fsync would succeed.
                Err(error) => {
                    self.fuse.blow(error);
                    return self.progress.set(Pass::Failed);
                }
            }
        }
    }
}

/// Whether no reader or writer blocked a checkpoint.
enum Copied {
    All,
    Some,
}

fn checkpoint(connection: &Connection, pragma: &'static str, counters: &Counters) -> rusqlite::Result<Copied> {
    // That it could not copy everything, or had to leave because the other thread is at it, is no error.
    let was_busy: bool = connection.prepare_cached(pragma)?.query_row([], |row| row.get(0))?;
    counters.checkpointed();
    Ok(if was_busy { Copied::Some } else { Copied::All })
}
