//! What can go wrong with the file itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::ErrorCode;
use storage::StorageError;

use crate::page_sums::take_mismatch;
use crate::wal::WalError;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process (or another store in this one) has it open.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// The file is a database of something else.
    #[error("{0} is not an outlast store")]
    NotAStore(PathBuf),
    /// The file was written by another release, which wrote another format.
    #[error("{path} has format {found}, this release reads format {known} only")]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The format that this release reads and writes.
        known: i64,
    },
    /// The file has more than one name. Its write-ahead log lies beside one of them, and a process that opens another misses it.
    #[error(
        "{path} has {names} names (hard links), only a file with 1 can be a store: copy the file instead of linking it"
    )]
    Linked {
        /// The file, by the name that was given.
        path: PathBuf,
        /// How many names it has.
        names: u64,
    },
    /// What was stored is not what is there now.
    #[error(
        "{path} is damaged: {what}; start from a backup (`outlast admin backup` makes them), see what is left with `outlast admin verify`"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where, and how it shows.
        what: String,
    },
    /// The file or its directory cannot be used.
    #[error("cannot open {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite refused.
    #[error("cannot open {path}: {source}")]
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
    #[error("{0}")]
    Damaged(String),
}

impl From<WalError> for Cause {
    fn from(error: WalError) -> Self {
        match error {
            WalError::Damaged(what) => Self::Damaged(what),
            WalError::Io(error) => Self::Io(error),
        }
    }
}

impl Cause {
    pub(crate) fn at(self, path: &Path) -> OpenError {
        let path = path.to_owned();
        match self {
            Self::Io(source) => OpenError::Io { path, source },
            Self::Sqlite(source) => match damage(&source) {
                Some(what) => OpenError::Damaged { path, what },
                None => OpenError::Sqlite { path, source },
            },
            Self::Damaged(what) => OpenError::Damaged { path, what },
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
    /// What is in the file is not what was written there.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where, and how it shows.
        what: String,
    },
    /// A bug in the writer.
    #[error("the writer of {path} panicked")]
    Panicked {
        /// The file.
        path: PathBuf,
    },
}

/// Why a read failed.
#[derive(Debug)]
pub(crate) enum ReadError {
    Sqlite(rusqlite::Error),
    /// What was read does not match its checksum.
    Mismatch,
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// How an error of SQLite shows that the file is damaged, if it does. To be asked on the thread that got it, at once.
pub(crate) fn damage(error: &rusqlite::Error) -> Option<String> {
    let page = take_mismatch();
    match (error, page) {
        (rusqlite::Error::SqliteFailure(failure, _), Some(page)) if failure.code == ErrorCode::DatabaseCorrupt => {
            Some(format!("page {page} of the file does not match its checksum"))
        }
        (rusqlite::Error::SqliteFailure(failure, _), _) => {
            let shows = matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase);
            shows.then(|| error.to_string())
        }
        // Only a column of another type than was written ends here.
        _ => Some(error.to_string()),
    }
}

/// What a failed read of `what` means to its caller.
pub(crate) fn read_error(error: ReadError, what: impl FnOnce() -> String) -> StorageError {
    let error = match error {
        ReadError::Mismatch => return StorageError::Corrupt(format!("{}: its checksum does not match", what())),
        ReadError::Sqlite(error) => error,
    };
    match damage(&error) {
        Some(damage) => StorageError::Corrupt(format!("{}: {damage}", what())),
        None => unavailable(error.to_string()),
    }
}

pub(crate) fn unavailable(message: impl Into<String>) -> StorageError {
    StorageError::Unavailable { message: message.into(), retry_after: Duration::from_millis(100) }
}

pub(crate) fn closed() -> StorageError {
    unavailable("the store is closed")
}
