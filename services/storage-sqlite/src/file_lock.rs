//! The lock that keeps a second process away.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::OpenError;

/// An exclusive lock on a store, held until dropped or until the process ends in any way.
///
/// It lies on a file of its own beside the store: POSIX locks, which SQLite uses, are lost when a process closes *any*
/// handle of the file they lie on.
#[derive(Debug)]
pub(crate) struct FileLock {
    _held: File,
}

impl FileLock {
    pub(crate) fn take(store: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { path: store.to_owned(), source };
        let file = File::options().create(true).truncate(false).write(true).open(lock_path(store)).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _held: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(store.to_owned())),
            Err(TryLockError::Error(error)) => Err(io(error)),
        }
    }
}

/// Two names of one file must give one lock, hence the resolved path.
fn lock_path(store: &Path) -> PathBuf {
    let mut name = store.canonicalize().unwrap_or_else(|_| store.to_owned()).into_os_string();
    name.push("-lock");
    name.into()
}
