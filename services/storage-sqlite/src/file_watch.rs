//! Notices that the file at the store's path is not, or not only, the one that is open. What is written then is lost with the
//! process, or damages what another process writes.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::FileChange;
use crate::file_lock::Identity;
use crate::store::Fuse;
use crate::wal::beside;
use crate::{WriteFailure, thread};

/// How often an idle store looks. A busy one looks before the answers of each commit.
const EVERY: Duration = Duration::from_secs(1);

/// The files of a store, as they were when it was opened.
#[derive(Debug)]
pub(crate) struct Files {
    store: (PathBuf, Identity),
    wal: Option<(PathBuf, Identity)>,
}

impl Files {
    /// To be called once SQLite has the write-ahead log open: it stays the same one as long as the connection lives.
    pub(crate) fn of(path: &Path, identity: Identity) -> Self {
        // SQLite keeps its other files where the file really is.
        let wal = beside(path, "-wal");
        let found = wal.metadata().ok().map(|found| Identity::of(&found));
        Self { store: (path.to_owned(), identity), wal: found.map(|identity| (wal, identity)) }
    }

    /// What has happened to one of them, if anything has.
    pub(crate) fn change(&self) -> Option<WriteFailure> {
        [Some(&self.store), self.wal.as_ref()].into_iter().flatten().find_map(|(path, identity)| {
            let change = change_of(path.metadata(), *identity)?;
            Some(WriteFailure::File { path: path.clone(), change })
        })
    }
}

fn change_of(found: io::Result<Metadata>, identity: Identity) -> Option<FileChange> {
    match found {
        Ok(found) if Identity::of(&found) != identity => Some(FileChange::Replaced),
        Ok(found) if found.nlink() > 1 => Some(FileChange::Linked(found.nlink())),
        Ok(_) => None,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Some(FileChange::Gone)
        }
        // A failure to examine the path says nothing about the file that is open.
        Err(_) => None,
    }
}

/// The thread that looks while nothing is written.
pub(crate) struct FileWatch {
    ending: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl FileWatch {
    pub(crate) fn start(files: Arc<Files>, fuse: Arc<Fuse>) -> io::Result<Self> {
        let ending = Arc::new((Mutex::new(false), Condvar::new()));
        let ends = Arc::clone(&ending);
        let watch = move || {
            while !ends_within(&ends, EVERY) {
                if let Some(failure) = files.change() {
                    return fuse.react(&failure);
                }
            }
        };
        Ok(Self { ending, thread: Some(thread::start("sqlite-watch", watch)?) })
    }
}

fn ends_within(ending: &(Mutex<bool>, Condvar), time: Duration) -> bool {
    let (is_ending, changed) = ending;
    // Nothing panics while holding the lock.
    let is_ending = is_ending.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = changed.wait_timeout_while(is_ending, time, |is_ending| !*is_ending);
    *waited.unwrap_or_else(PoisonError::into_inner).0
}

impl Drop for FileWatch {
    fn drop(&mut self) {
        let (is_ending, changed) = &*self.ending;
        *is_ending.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // If it panicked there is nothing left to end.
            let _ = thread.join();
        }
    }
}
