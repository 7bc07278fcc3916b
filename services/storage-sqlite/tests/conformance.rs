//! The SQLite adapter against the conformance suite; a restart closes the file and opens it again.

use async_trait::async_trait;
use storage::Store;
use storage::conformance::Subject;
use storage_sqlite::{SqliteOptions, SqliteStore};
use tempfile::TempDir;

struct InFile {
    directory: TempDir,
    store: SqliteStore,
}

impl InFile {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let store = open(&directory);
        Self { directory, store }
    }
}

/// A write-ahead log that is restarted all the time, so that the suite meets checkpoints too.
fn open(directory: &TempDir) -> SqliteStore {
    SqliteOptions::default().checkpoint_after_bytes(64 << 10).open(&directory.path().join("store.db")).unwrap()
}

#[async_trait]
impl Subject for InFile {
    fn store(&self) -> Store {
        self.store.store()
    }

    async fn restart(&mut self) {
        self.store.close().await;
        self.store = open(&self.directory);
    }
}

storage::conformance_suite!(InFile::new());
