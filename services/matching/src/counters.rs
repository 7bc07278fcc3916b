//! What matching counts.

use metrics::{Counter, Gauge};

/// Handles to the metrics; made once, so that the hot path looks nothing up.
pub(crate) struct Counters {
    /// Tasks taken by a poller without having been persisted.
    pub(crate) sync_match: Counter,
    /// Tasks persisted in backlogs.
    pub(crate) persisted: Counter,
    /// Answers that could not be written because their caller was gone.
    pub(crate) unwritten: Counter,
    /// Polls begun.
    pub(crate) polls: Counter,
    /// Polls that wait now.
    pub(crate) pollers: Gauge,
}

impl Counters {
    pub(crate) fn new() -> Self {
        Self {
            sync_match: metrics::counter!("outlast_matching_sync_match_total"),
            persisted: metrics::counter!("outlast_matching_persisted_total"),
            unwritten: metrics::counter!("outlast_matching_unwritten_total"),
            polls: metrics::counter!("outlast_matching_polls_total"),
            pollers: metrics::gauge!("outlast_matching_pollers"),
        }
    }
}
