//! The embedded store: everything in one SQLite file, for one process.
//!
//! One thread writes. Whatever waits for it when it becomes free shares one transaction and one fsync, so a busy store
//! commits in groups and an idle one at once. A few other threads read, from snapshots, and never wait for the writer.
//! Nothing here blocks a tokio worker.
//!
//! An acknowledgement means fsynced. A commit that fails in any way ends the process (see [`SqliteOptions`]): after a
//! failed fsync nobody knows what the disk holds, and only reading it anew can tell. So does a file that is deleted, replaced
//! or linked while it is open.
//!
//! Absent on purpose: anything for a second process. The file is locked for as long as the store is open, which is why
//! a fence check costs nothing here.
//!
//! Start at [`SqliteStore`], then `writer`.

mod checkpointer;
mod command;
mod error;
mod file_lock;
mod file_watch;
mod header;
mod options;
mod ports;
mod queue;
mod reader;
mod schema;
mod stats;
mod store;
mod thread;
mod writer;

pub use error::{FileChange, OpenError, WriteFailure};
pub use options::{SqliteOptions, Step, Synchronous};
pub use stats::SqliteStats;
pub use store::SqliteStore;
