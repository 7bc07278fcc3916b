//! The thread that writes: takes all that waits, carries it out in one transaction, commits with one fsync, answers.
//!
//! An answer is given only after the commit. Any error ends writing for good, so nothing that was decided in memory
//! during a transaction ever needs to be taken back. But for one: bulk that meets a damaged page. What shares that page
//! cannot be written, and all others go on: the transaction is rolled back, no caller with a part in it gets an
//! answer, what is known of logs is read again, and from then on each piece of bulk has a transaction of its own.

mod logs;
mod registry;
mod rows;
mod session;
mod tombstones;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ffi};
use tokio::sync::watch;

use self::logs::Logs;
pub(crate) use self::logs::{Epochs, StoredHead};
use self::rows::DropProgress;
use self::session::Session;
pub(crate) use self::tombstones::Sweeper;
use crate::checkpointer::WalBound;
use crate::command::{Bulk, Command, Reply};
use crate::error::{Cause, damage};
use crate::file_lock::FileLock;
use crate::file_watch::{FileWatch, Files};
use crate::options::{OnStep, Step};
use crate::queue::WorkQueue;
use crate::reader::Readers;
use crate::stats::Counters;
use crate::store::Fuse;

/// How much bulk a transaction takes at most before it commits. Some 10 ms of work.
const BULK_BUDGET_BYTES: u64 = 1 << 20;

/// How much bulk a transaction takes even though logs wait for their turn, so that checkpoints come to an end. Less than
/// the work of a commit.
const BULK_SHARE_BYTES: u64 = 32 << 10;

/// A transaction whose logs have written this much takes no bulk while other logs wait; but so many in a row at most.
const LARGE_BYTES: u64 = 256 << 10;
const LARGE_IN_A_ROW: u32 = 4;

/// What the writer's thread owns.
pub(crate) struct Writer {
    connection: Connection,
    logs: Logs,
    sweeper: Sweeper,
    wal: WalBound,
    /// Bulk that did not fit into earlier transactions.
    backlog: VecDeque<Bulk>,
    files: Option<Arc<Files>>,
    /// Whether bulk has met a damaged page.
    met_damage: bool,
    /// Transactions in a row that took no bulk, since something urgent waited.
    without_bulk: u32,
    shared: WriterShared,
}

/// What the writer shares with the rest of the store.
pub(crate) struct WriterShared {
    pub(crate) commands: Arc<WorkQueue<Command>>,
    pub(crate) epochs: Arc<Epochs>,
    pub(crate) registry_changes: Arc<watch::Sender<u64>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) fuse: Arc<Fuse>,
    pub(crate) on_step: Option<OnStep>,
}

/// What outlives the writer's work and is released in order.
pub(crate) struct Remains {
    pub(crate) watch: FileWatch,
    pub(crate) readers: Readers,
    pub(crate) lock: FileLock,
    pub(crate) closed: watch::Sender<bool>,
}

impl Writer {
    /// Takes over the connection and reads the heads of all logs.
    pub(crate) fn new(
        connection: Connection,
        wal: WalBound,
        sweeper: Sweeper,
        shared: WriterShared,
    ) -> Result<Self, Cause> {
        let logs = Logs::load(&connection, &shared.epochs)?;
        let backlog = VecDeque::new();
        Ok(Self { connection, logs, sweeper, wal, backlog, files: None, met_damage: false, without_bulk: 0, shared })
    }

    /// Has each commit look at the files before its answers leave.
    pub(crate) fn watch(&mut self, files: Arc<Files>) {
        self.files = Some(files);
    }

    /// Works until the queue is closed and empty or something fails, then closes everything.
    pub(crate) fn run(mut self, remains: Remains) {
        let fuse = self.shared.fuse.clone();
        match catch_unwind(AssertUnwindSafe(|| self.work())) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => fuse.blow(error),
            Err(_) => fuse.blow_by_panic(),
        }
        self.shared.commands.abandon();
        drop(remains.watch);
        remains.readers.finish();
        self.wal.finish();
        if fuse.is_blown() {
            // The last connection to close would otherwise copy the write-ahead log into the file.
            let _ = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
        drop(self);
        drop(remains.lock);
        remains.closed.send_replace(true);
    }

    fn work(&mut self) -> rusqlite::Result<()> {
        loop {
            let taken = if self.backlog.is_empty() {
                self.shared.commands.take(|waiting| waiting)
            } else {
                Some(self.shared.commands.take_waiting())
            };
            let Some(commands) = taken else { return Ok(()) };
            if self.shared.fuse.is_blown() {
                return Ok(());
            }
            if self.met_damage {
                self.transact(commands, 0)?;
                self.transact(VecDeque::new(), 1)?;
            } else {
                self.transact(commands, usize::MAX)?;
            }
            self.wal.keep(&self.connection, &self.shared.counters)?;
        }
    }

    /// One transaction, which is taken back if its bulk meets a damaged page.
    fn transact(&mut self, commands: VecDeque<Command>, most_bulk: usize) -> rusqlite::Result<()> {
        match self.try_transact(commands, most_bulk) {
            Ok(()) => Ok(()),
            Err(Failed::Bulk(what)) => self.roll_back(&what),
            Err(Failed::Writing(error)) => Err(error),
        }
    }

    /// Takes a transaction back whose bulk met a damaged page.
    fn roll_back(&mut self, what: &str) -> rusqlite::Result<()> {
        tracing::error!(what, "cannot write rows: the file is damaged; other rows are still served");
        if !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        self.met_damage = true;
        self.sweeper.stop();
        self.logs = Logs::load(&self.connection, &self.shared.epochs).map_err(|cause| match cause {
            Cause::Sqlite(error) => error,
            cause => rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), Some(cause.to_string())),
        })?;
        Ok(())
    }

    /// One transaction with all `commands`, and as much bulk as fits and nothing urgent waits for, but no more pieces than
    /// `most_bulk`.
    fn try_transact(&mut self, commands: VecDeque<Command>, most_bulk: usize) -> Result<(), Failed> {
        let Self { connection, logs, sweeper, backlog, files, without_bulk, shared, .. } = self;
        let mut session = Session::begin(connection, shared.on_step.as_ref())?;
        let mut replies = Vec::with_capacity(commands.len());
        let mut registry_changed = false;
        for command in commands {
            let reply = match command {
                Command::Open { log, owner, answer } => Reply::Opened(answer, logs.open(&mut session, &log, owner)?),
                Command::Reopen { log, epoch, owner, answer } => {
                    Reply::Reopened(answer, logs.reopen(&mut session, &log, epoch, owner)?)
                }
                Command::Append { log, epoch, seq, id, bytes, answer } => {
                    Reply::Append(answer, logs.append(&mut session, &log, epoch, seq, id, &bytes)?)
                }
                Command::SetWatermark { log, epoch, at, answer } => {
                    Reply::Append(answer, logs.set_watermark(&mut session, &log, epoch, at)?)
                }
                Command::Trim { log, epoch, below, answer } => {
                    Reply::Append(answer, logs.trim(&mut session, &log, epoch, below)?)
                }
                Command::CompareAndSet { key, expected, value, answer } => {
                    let outcome = registry::compare_and_set(&mut session, &key, expected, value.as_deref())?;
                    registry_changed |= outcome == storage::CompareAndSet::Applied;
                    Reply::CompareAndSet(answer, outcome)
                }
                Command::Bulk(bulk) => {
                    backlog.push_back(bulk);
                    continue;
                }
            };
            replies.push(reply);
        }
        if most_bulk > 0 {
            let urgent = &shared.commands;
            take_bulk(&mut session, backlog, without_bulk, urgent, &mut replies, most_bulk).map_err(Failed::bulk)?;
        }
        sweeper.sweep_if_due(&mut session).map_err(Failed::bulk)?;
        if let Some(tally) = session.commit()? {
            shared.counters.committed(&tally);
            if let Some(failure) = files.as_ref().and_then(|files| files.change()) {
                shared.fuse.react(&failure);
            }
        }
        if shared.fuse.is_blown() {
            // What was committed may be in a file that will not be found: its callers get no answer.
            return Ok(());
        }
        logs.publish(&shared.epochs);
        if registry_changed {
            shared.registry_changes.send_modify(|changes| *changes += 1);
        }
        replies.into_iter().for_each(Reply::send);
        if let Some(on_step) = &shared.on_step {
            on_step(Step::AfterReplies);
        }
        Ok(())
    }
}

/// Why a transaction was not committed.
enum Failed {
    /// Bulk met a damaged page: this one.
    Bulk(String),
    /// Writing has to end.
    Writing(rusqlite::Error),
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Writing(error)
    }
}

impl Failed {
    fn bulk(error: rusqlite::Error) -> Self {
        match damage(&error) {
            Some(what) => Self::Bulk(what),
            None => Self::Writing(error),
        }
    }
}

/// Carries out as much of the backlog as fits into the transaction, `most_bulk` pieces of it at most, and leaves the rest.
fn take_bulk(
    session: &mut Session<'_>,
    backlog: &mut VecDeque<Bulk>,
    without_bulk: &mut u32,
    commands: &WorkQueue<Command>,
    replies: &mut Vec<Reply>,
    most_bulk: usize,
) -> rusqlite::Result<()> {
    let before = session.written_bytes();
    if before >= LARGE_BYTES && *without_bulk < LARGE_IN_A_ROW && commands.any_waiting(Command::is_urgent) {
        *without_bulk += 1;
        return Ok(());
    }
    *without_bulk = 0;
    let is_full = |session: &Session<'_>| {
        let bulk = session.written_bytes() - before;
        bulk >= BULK_BUDGET_BYTES || bulk >= BULK_SHARE_BYTES && commands.any_waiting(Command::is_urgent)
    };
    for _ in 0..most_bulk {
        if is_full(session) {
            break;
        }
        let Some(bulk) = backlog.pop_front() else { break };
        match carry_out(session, bulk, is_full)? {
            Carried::Done(reply) => replies.push(reply),
            Carried::Remains(bulk) => backlog.push_front(bulk),
        }
    }
    Ok(())
}

enum Carried {
    Done(Reply),
    Remains(Bulk),
}

fn carry_out(
    session: &mut Session<'_>,
    bulk: Bulk,
    is_full: impl Fn(&Session<'_>) -> bool,
) -> rusqlite::Result<Carried> {
    match bulk {
        Bulk::Write { mut writes, answer } => {
            while let Some(write) = writes.next() {
                rows::write(session, &write)?;
                if is_full(session) && !writes.as_slice().is_empty() {
                    return Ok(Carried::Remains(Bulk::Write { writes, answer }));
                }
            }
            Ok(Carried::Done(Reply::Done(answer)))
        }
        Bulk::DropPartition { partition, answer } => match rows::drop_some(session, &partition)? {
            DropProgress::Gone => Ok(Carried::Done(Reply::Done(answer))),
            DropProgress::SomeLeft => Ok(Carried::Remains(Bulk::DropPartition { partition, answer })),
        },
    }
}
