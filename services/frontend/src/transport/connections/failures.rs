//! Connections that could not be accepted, and how often that is worth a line in the log.

use std::io;
use std::time::Duration;

use ids::Timestamp;

/// One line in each such interval.
const INTERVAL: Duration = Duration::from_secs(10);

/// Error numbers of accept that say that there are no file descriptors left: of the process, of the system.
const SHORTAGES: [i32; 2] = [24, 23];

/// What has not been logged yet.
#[derive(Default)]
pub(super) struct Failures {
    logged_at: Option<Timestamp>,
    since_then: u64,
}

impl Failures {
    /// Counts a failure, and logs it unless another was logged just now.
    pub(super) fn note(&mut self, error: &io::Error, now: Timestamp) {
        self.since_then += 1;
        // A clock that was set back must not silence it.
        if self.logged_at.is_some_and(|at| at <= now && now.since(at) < INTERVAL) {
            return;
        }
        tracing::warn!(%error, failures = self.since_then, "connections could not be accepted");
        self.logged_at = Some(now);
        self.since_then = 0;
    }
}

/// Whether closing a connection helps: EMFILE and ENFILE.
pub(super) fn is_shortage(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|number| SHORTAGES.contains(&number))
}
