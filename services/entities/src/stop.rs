//! Why a shard stops.

/// Why a shard stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// Another process has opened the log.
    Fenced,
    /// By request, everything written.
    Closed,
    /// By request, in time rather than completely.
    ClosedEarly,
    /// By request, as it was.
    Abandoned,
}
