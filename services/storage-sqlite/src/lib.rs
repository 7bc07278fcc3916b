//! The embedded store: everything in one SQLite file, for one process.
//!
//! One thread writes. Whatever waits for it when it becomes free shares one transaction and one fsync, so a busy store
//! commits in groups and an idle one at once. A few other threads read, from snapshots, and never wait for the writer.
//! Nothing here blocks a tokio worker.
//!
//! An acknowledgement means fsynced. A commit that fails in any way ends the process (see [`SqliteOptions`]): after a
//! failed fsync it is not known what the disk holds, and only reading it again can show. So does a file that is deleted, replaced
//! or linked while it is open.
//!
//! Absent on purpose: anything for a second process. The file is locked for as long as the store is open, which is why
//! a fence check costs nothing here.
//!
//! What is stored is held against checksums whenever it is read: rows, groups and entries against their own, every page of
//! the file against that of `page_sums`, and the write-ahead log, before the file is opened, against what `wal` knows of it.
//!
//! Start at [`SqliteStore`], then `writer`.

mod backup;
mod checkpointer;
mod command;
mod error;
mod file_lock;
mod file_watch;
mod first_page;
mod options;
mod page_sums;
mod ports;
mod queue;
mod reader;
mod schema;
mod stats;
mod store;
mod thread;
mod verify;
mod wal;
mod writer;

pub use backup::{BackupError, backup};
pub use error::{FileChange, OpenError, WriteFailure};
pub use options::{SqliteOptions, Step, Synchronous};
pub use stats::SqliteStats;
pub use store::SqliteStore;
pub use verify::{RowCheck, Verified, verify};
