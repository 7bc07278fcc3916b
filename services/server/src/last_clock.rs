//! What the clocks of a node showed last, for its next process. When the wall clock is set back, that goes on with the time in
//! which deadlines are written down, instead of waiting until the wall clock comes to them again.
//!
//! Kept in a row of the node's own, written now and then, more often while its time is ahead of the wall clock.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cluster::NodeId;
use entities::Corrupt;
use ids::{Timestamp, WallClock};
use prost::Message;
use runtime::Runtime;
use storage::{PartitionKey, PartitionWrite, StorageResult, Table};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const FORMAT: u32 = 1;
/// How long the store may take to say what is kept. Without that, time begins at the wall clock.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is written.
const INTERVAL: Duration = Duration::from_secs(60);
/// How often, while time is ahead of the wall clock.
const INTERVAL_AHEAD: Duration = Duration::from_secs(5);
/// From where on it is ahead.
const IS_AHEAD: Duration = Duration::from_millis(100);

/// The row.
#[derive(Clone, PartialEq, Message)]
struct LastClock {
    #[prost(uint32, tag = "1")]
    format: u32,
    /// Nanoseconds since 1970, these and the others: the process's time.
    #[prost(int64, tag = "2")]
    now: i64,
    /// The wall clock.
    #[prost(int64, tag = "3")]
    wall: i64,
    /// The process's time when that was last set back.
    #[prost(int64, tag = "4")]
    set_back_at: i64,
}

impl LastClock {
    fn of((now, wall): (Timestamp, WallClock)) -> Self {
        let WallClock { shows, set_back_at } = wall;
        Self { format: FORMAT, now: now.nanos(), wall: shows.nanos(), set_back_at: set_back_at.nanos() }
    }

    fn clocks(&self) -> (Timestamp, WallClock) {
        let at = Timestamp::from_nanos;
        (at(self.now), WallClock { shows: at(self.wall), set_back_at: at(self.set_back_at) })
    }
}

/// What the names of the partitions begin with.
const ROWS: &[u8] = b"clock/";

fn partition(node: &NodeId) -> PartitionKey {
    [ROWS, node.as_str().as_bytes()].concat().into()
}

/// Whether a row is one of these; `None` for a row of another partition.
pub(crate) fn check_row(partition: &[u8], value: &Bytes) -> Option<Result<(), Corrupt>> {
    let decoded = || LastClock::decode(value.clone()).map(drop).map_err(|error| Corrupt(error.to_string()));
    partition.starts_with(ROWS).then(decoded)
}

const ROW: Bytes = Bytes::from_static(b"s");

/// Keeps it written.
pub(crate) struct Keeping {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Keeping {
    /// Goes on with the time of the node's process before this one, and keeps that of this one from now on.
    pub(crate) async fn begin(table: &Arc<dyn Table>, node: &NodeId, runtime: &Runtime) -> Self {
        let reading = read(&**table, node);
        let last = match runtime.timeout(READ_TIMEOUT, reading).await {
            Some(Ok(last)) => last,
            Some(Err(error)) => {
                tracing::warn!(%error, "cannot read the clock row");
                None
            }
            None => {
                tracing::warn!("cannot read the clock row within {READ_TIMEOUT:?}");
                None
            }
        };
        let version = last.as_ref().map_or(0, |(version, _)| *version);
        if let Some((_, last)) = last.filter(|(_, last)| last.format == FORMAT) {
            runtime.go_on_from(last.clocks());
        }
        let stop = CancellationToken::new();
        let keeping = keep(Arc::clone(table), partition(node), version, runtime.clone(), stop.clone());
        Self { stop, task: runtime.spawn(keeping) }
    }

    /// Writes it once more.
    pub(crate) async fn end(self) {
        self.stop.cancel();
        // If it panicked there is nothing left to end.
        let _ = self.task.await;
    }
}

async fn read(table: &dyn Table, node: &NodeId) -> StorageResult<Option<(u64, LastClock)>> {
    let row = table.get(&partition(node), &ROW).await?;
    Ok(row.and_then(|row| Some((row.version, LastClock::decode(row.value).ok()?))))
}

async fn keep(
    table: Arc<dyn Table>,
    partition: PartitionKey,
    mut version: u64,
    runtime: Runtime,
    stop: CancellationToken,
) {
    loop {
        version += 1;
        let clocks = runtime.clocks();
        let puts = vec![(ROW, Bytes::from(LastClock::of(clocks).encode_to_vec()))];
        let write = PartitionWrite { partition: partition.clone(), version, puts, deletes: Vec::new() };
        if let Err(error) = table.write(vec![write]).await {
            tracing::debug!(%error, "cannot write the clock row");
        }
        if stop.is_cancelled() {
            return;
        }
        let (now, wall) = clocks;
        let was_ahead = now.since(wall.shows) >= IS_AHEAD;
        // A clock that is set meanwhile is noticed early enough.
        for _ in 0..if was_ahead { 1 } else { INTERVAL.as_secs() / INTERVAL_AHEAD.as_secs() } {
            tokio::select! {
                () = runtime.sleep(INTERVAL_AHEAD) => {}
                () = stop.cancelled() => break,
            }
            let (now, wall) = runtime.clocks();
            if (now.since(wall.shows) >= IS_AHEAD) != was_ahead {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ids::Timestamp;
    use storage::memory::MemoryStore;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);
    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_next_process_goes_on_with_the_time_of_the_one_before() {
        let (table, node) = (MemoryStore::new().store().table, NodeId::new("a"));
        let (before, dial) = Runtime::virtual_with_wall_clock(START);
        let keeping = Keeping::begin(&table, &node, &before).await;
        before.sleep(HOUR).await;
        dial.back(HOUR);
        before.sleep(60 * SECOND).await;
        // Killed, not stopped.
        keeping.task.abort();
        before.sleep(30 * SECOND).await;
        let (next, _) = Runtime::virtual_with_wall_clock(before.wall());
        let keeping = Keeping::begin(&table, &node, &next).await;
        let gone = before.now();
        assert!(next.now() <= gone && gone.since(next.now()) <= SECOND, "{} and {gone}", next.now());
        assert_eq!(next.clocks().1.set_back_at, before.clocks().1.set_back_at);
        next.sleep(SECOND).await;
        keeping.end().await;

        // Another node's time is its own.
        let (other, _) = Runtime::virtual_with_wall_clock(before.wall());
        Keeping::begin(&table, &NodeId::new("b"), &other).await.end().await;
        assert_eq!(other.now(), other.wall());

        // Set right again while there is no process.
        let (right, _) = Runtime::virtual_with_wall_clock(gone + 10 * SECOND);
        Keeping::begin(&table, &node, &right).await.end().await;
        assert_eq!(right.now(), right.wall());
    }
}
