//! Starts the store's threads.

use std::io;
use std::thread::JoinHandle;

/// Starts a thread.
#[allow(
    clippy::disallowed_methods,
    reason = "SQLite blocks, in reads and for whole fsyncs; simulation uses the memory adapter instead"
)]
pub(crate) fn start(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}
