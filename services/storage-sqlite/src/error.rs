//! What can go wrong with the file itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::ErrorCode;
use storage::StorageError;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process (or another store in this one) has it open.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// The file is a database of something else.
    #[error("{0} is not an outlast store")]
    NotAStore(PathBuf),
    /// The file was written by a newer release.
    #[error("{path} has format {found}, this release reads formats up to {known}")]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this release knows.
        known: i64,
    },
    /// The file has more than one name. Its write-ahead log lies beside one of them, and whoever opens another misses it.
    #[error(
        "{path} has {names} names (hard links), only a file with 1 can be a store: copy the file instead of linking it"
    )]
    Linked {
        /// The file, by the name that was given.
        path: PathBuf,
        /// How many names it has.
        names: u64,
    },
    /// The file or its directory cannot be used.
    #[error("{path} cannot be opened: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite refused.
    #[error("{path} cannot be opened: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
}

/// An [`OpenError`] of one of these kinds that does not know yet about which file it is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

impl Cause {
    pub(crate) fn at(self, path: &Path) -> OpenError {
        let path = path.to_owned();
        match self {
            Self::Io(source) => OpenError::Io { path, source },
            Self::Sqlite(source) => OpenError::Sqlite { path, source },
        }
    }
}

/// What happened to a file of the store while it was open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileChange {
    /// There is no file of its name.
    #[error("was deleted or moved away")]
    Gone,
    /// Its name is another file's.
    #[error("was replaced by another file")]
    Replaced,
    /// It has so many names.
    #[error("was given another name ({0} hard links)")]
    Linked(u64),
}

/// Why writing had to end. What was being written may or may not be on disk.
#[derive(Debug, thiserror::Error)]
pub enum WriteFailure {
    /// SQLite failed, in a statement, a commit, an fsync or a checkpoint.
    #[error("writing to {path} failed: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file, or its write-ahead log, is not the one that is open any more.
    #[error("{path} {change} while it was open")]
    File {
        /// Which of them.
        path: PathBuf,
        /// What happened to it.
        change: FileChange,
    },
    /// A bug in the writer.
    #[error("the writer of {path} panicked")]
    Panicked {
        /// The file.
        path: PathBuf,
    },
}

/// What a failed read means to its caller.
pub(crate) fn read_error(error: rusqlite::Error) -> StorageError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StorageError::Corrupt(error.to_string()),
        Some(_) => unavailable(error.to_string()),
        // Only a column of another type than was written ends here.
        None => StorageError::Corrupt(error.to_string()),
    }
}

pub(crate) fn unavailable(message: impl Into<String>) -> StorageError {
    StorageError::Unavailable { message: message.into(), retry_after: Duration::from_millis(100) }
}

pub(crate) fn closed() -> StorageError {
    unavailable("the store is closed")
}
