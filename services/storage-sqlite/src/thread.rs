//! Starts the store's threads.

use std::io;
use std::thread::JoinHandle;

/// Starts a thread. SQLite blocks, in reads and for whole fsyncs, so it gets threads of its own rather than a place on
/// the runtime; simulation uses the memory adapter, whose order of events tokio alone decides.
#[allow(clippy::disallowed_methods)]
pub(crate) fn start(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(run)
}
