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
    held: File,
}

impl FileLock {
    pub(crate) fn take(store: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { path: store.to_owned(), source };
        let file = File::options().create(true).truncate(false).write(true).open(lock_path(store)).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { held: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(store.to_owned())),
            Err(TryLockError::Error(error)) => Err(io(error)),
        }
    }
}

impl Drop for FileLock {
    /// Gives the lock up rather than only closing the file: a child process that is just being started has a copy of the
    /// handle until it runs its program, and would hold the lock with it.
    fn drop(&mut self) {
        // Closing the file comes next, and gives it up too where no such copy is around.
        let _ = self.held.unlock();
    }
}

/// Two names of one file must give one lock, hence the resolved path.
fn lock_path(store: &Path) -> PathBuf {
    let mut name = store.canonicalize().unwrap_or_else(|_| store.to_owned()).into_os_string();
    name.push("-lock");
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_handle_in_a_child_process_does_not_keep_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store.db");
        let lock = FileLock::take(&store).unwrap();
        // What a child has between being forked and running its program.
        let copy = lock.held.try_clone().unwrap();
        assert!(FileLock::take(&store).is_err());
        drop(lock);
        assert!(FileLock::take(&store).is_ok());
        drop(copy);
    }
}
