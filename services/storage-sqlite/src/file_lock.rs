//! The lock that keeps a second process away, and which files are given to SQLite at all.

use std::collections::BTreeSet;
use std::fs::{File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::OpenError;

/// Which file something is, by whatever name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(crate) fn of(found: &Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }
}

/// The files that this process has open as stores.
static OPEN: Mutex<BTreeSet<Identity>> = Mutex::new(BTreeSet::new());

fn open_here() -> MutexGuard<'static, BTreeSet<Identity>> {
    // Nothing panics while holding the lock.
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An exclusive lock on a store's file, held until dropped or until the process ends in any way.
///
/// It is a `flock`, which knows nothing of the POSIX locks that SQLite takes on the same file. Those are lost when the process
/// closes *any* handle of the file, this one included. So it must be dropped after the last connection, and a file that
/// is open here already is not opened again.
#[derive(Debug)]
pub(crate) struct FileLock {
    /// `None` only while being dropped.
    held: Option<File>,
    identity: Identity,
}

impl FileLock {
    /// Opens and locks the file, creating it if there is none. Nothing is written to it, nor created beside it; one that has
    /// a second name is refused.
    pub(crate) fn take(store: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { path: store.to_owned(), source };
        let mut open_here = open_here();
        match store.metadata() {
            Ok(found) if open_here.contains(&Identity::of(&found)) => return Err(OpenError::InUse(store.to_owned())),
            Ok(found) if found.is_dir() => return Err(io(io::ErrorKind::IsADirectory.into())),
            // To open a device or a pipe may already do something to it.
            Ok(found) if !found.is_file() => return Err(OpenError::NotAStore(store.to_owned())),
            // The reason why it cannot be examined is why it cannot be opened.
            _ => {}
        }
        // Workflow data is private to the server's user. SQLite gives its other files the same mode.
        let options = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(store);
        let held = options.map_err(io)?;
        match held.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::InUse(store.to_owned())),
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        let found = held.metadata().map_err(io)?;
        if found.nlink() > 1 {
            return Err(OpenError::Linked { path: store.to_owned(), names: found.nlink() });
        }
        let identity = Identity::of(&found);
        open_here.insert(identity);
        Ok(Self { held: Some(held), identity })
    }

    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }
}

impl Drop for FileLock {
    /// Gives the lock up rather than only closing the file: a child process that is just being started has a copy of the
    /// handle until it runs its program, and would hold the lock with it.
    fn drop(&mut self) {
        let mut open_here = open_here();
        if let Some(held) = self.held.take() {
            // Closing the file comes next, and gives it up too where no such copy is around.
            let _ = held.unlock();
        }
        open_here.remove(&self.identity);
    }
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
        let copy = lock.held.as_ref().unwrap().try_clone().unwrap();
        assert!(FileLock::take(&store).is_err());
        drop(lock);
        assert!(FileLock::take(&store).is_ok());
        drop(copy);
    }

    /// Of another process, since those of this one are refused before the lock is tried.
    #[test]
    fn the_lock_is_on_the_file_itself() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store.db");
        let theirs = File::create(&store).unwrap();
        theirs.lock().unwrap();
        assert!(matches!(FileLock::take(&store), Err(OpenError::InUse(_))));
        theirs.unlock().unwrap();
        assert!(FileLock::take(&store).is_ok());
    }
}
