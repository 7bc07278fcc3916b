//! Copies a store while a server uses it.
//!
//! The copy is of one moment, after the call began, so it holds all that was acknowledged before. It is a store by itself:
//! to go back to it is to start a server on it.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::Cause;
use crate::{OpenError, Verified, first_page, verify};

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store cannot be read, or is damaged.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// Nothing is written over a file that is there.
    #[error("{0} is there already; a backup goes into a new file")]
    Exists(PathBuf),
    /// The copy cannot be written.
    #[error("cannot write the backup {path}: {source}")]
    Io {
        /// The copy.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// What was copied does not match its checksums.
    #[error("no backup was made: the copy is damaged: {0}")]
    Damaged(String),
}

/// Copies the store at `from` into a new file, verifies the copy, and only then gives it its name. Blocks for as long as
/// that takes. A server that has the store open goes on; until the copy is made, its write-ahead log only grows.
///
/// # Errors
/// When the store is damaged or cannot be read, and when the copy cannot be written.
pub fn backup(from: &Path, to: &Path) -> Result<Verified, BackupError> {
    if to.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    // Held until the copy is made, so that no server begins on a store that was not checked yet.
    let lock = verify::lock_unless_served(from)?;
    if lock.is_some() {
        first_page::check(from)?;
    }
    let partial = Partial::create(to)?;
    copy(from, &partial.path)?;
    drop(lock);
    let copied = verify::open(&partial.path)?;
    let verified = verify::walk(&copied, |_, _, _| Ok(())).map_err(|error| Cause::from(error).at(&partial.path))?;
    drop(copied);
    if let Some(problem) = verified.problems.first() {
        return Err(BackupError::Damaged(problem.clone()));
    }
    partial.name(to)?;
    Ok(verified)
}

fn copy(from: &Path, to: &Path) -> Result<(), BackupError> {
    let connection = verify::open(from)?;
    let Some(name) = to.to_str() else {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, "its name is not UTF-8");
        return Err(BackupError::Io { path: to.to_owned(), source });
    };
    // One statement, and so one moment. It reads every page, and so meets every sum of a page in use.
    connection.execute("VACUUM INTO ?1", [name]).map_err(|error| Cause::from(error).at(from))?;
    Ok(())
}

/// A copy that has no name of its own yet; without one it is removed.
struct Partial {
    path: PathBuf,
}

impl Partial {
    fn create(to: &Path) -> Result<Self, BackupError> {
        let mut name = to.as_os_str().to_owned();
        name.push(format!(".partial-{}", std::process::id()));
        let partial = Self { path: name.into() };
        // Workflow data is private to the server's user.
        match File::options().create_new(true).write(true).mode(0o600).open(&partial.path) {
            Ok(_) => Ok(partial),
            Err(source) => Err(partial.leave(source)),
        }
    }

    /// Of a file that was never made.
    fn leave(self, source: std::io::Error) -> BackupError {
        let path = self.path.clone();
        std::mem::forget(self);
        BackupError::Io { path, source }
    }

    /// Makes it durable, and gives it a name that nothing has yet.
    fn name(&self, to: &Path) -> Result<(), BackupError> {
        let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let named = File::open(&self.path)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::hard_link(&self.path, to))
            .and_then(|()| File::open(directory)?.sync_all());
        named.map_err(|source| match source.kind() {
            std::io::ErrorKind::AlreadyExists => BackupError::Exists(to.to_owned()),
            _ => BackupError::Io { path: to.to_owned(), source },
        })
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        for suffix in ["", "-journal", "-wal", "-shm"] {
            let mut name = self.path.clone().into_os_string();
            name.push(suffix);
            // Most of them were never there.
            let _ = fs::remove_file(name);
        }
    }
}
