//! What the owner of a log reads before it serves the log's shard.

use std::collections::HashMap;

use ids::{KindId, Timestamp};
use storage::{
    Append, Head, LogId, OwnerNonce, PartitionKey, Row, RowKey, ScanOrder, ScanRange, StorageError, StorageResult,
    Store, Table,
};

use crate::EntityKey;
use crate::quarantine::{self, Quarantined};
use crate::tail::{TailGroup, read_tail};
use crate::wake_ups::buckets::{Bucket, Index};

/// How many rows one read brings.
const PAGE: usize = 1000;

/// What was found.
pub(crate) struct Opening {
    pub(crate) head: Head,
    pub(crate) tail: Vec<TailGroup>,
    pub(crate) quarantined: HashMap<EntityKey, Quarantined>,
    pub(crate) index: Index,
}

/// Takes a log over, fencing every earlier owner, and reads what there is; `None` when another process has opened it meanwhile.
/// Dropping the future leaves nothing behind but a higher epoch.
pub(crate) async fn open(
    log: &LogId,
    nonce: OwnerNonce,
    store: &Store,
    is_hosted: impl Fn(KindId) -> bool,
    now: Timestamp,
) -> StorageResult<Option<Opening>> {
    let opened = match store.log.open(log, nonce).await {
        Ok(opened) => read_tail(log, &opened, is_hosted).map(|tail| (opened.head, tail)),
        Err(error) => Err(error),
    };
    let (mut head, tail) = opened.map_err(|error| match error {
        StorageError::Corrupt(what) => StorageError::Corrupt(format!(
            "{what}; the whole shard is refused until its log can be read: restore a backup of the store"
        )),
        error => error,
    })?;
    if !ensure_watermark(store, log, &mut head, now).await? {
        return Ok(None);
    }
    let quarantined = read_quarantined(&*store.table, log).await?;
    let index = read_index(&*store.table, log).await?;
    Ok(Some(Opening { head, tail, quarantined, index }))
}

/// A log that never had a watermark gets one before anything is written, so that no owner reads buckets from 1970 on.
/// False when another process has opened the log.
async fn ensure_watermark(store: &Store, log: &LogId, head: &mut Head, now: Timestamp) -> StorageResult<bool> {
    if head.watermark != Timestamp::EPOCH {
        return Ok(true);
    }
    let at = Bucket::of(now).start();
    match store.log.set_watermark(log, head.epoch, at).await {
        Append::Appended => {
            head.watermark = at;
            Ok(true)
        }
        Append::Fenced => Ok(false),
        Append::Unknown => Err(StorageError::Unknown(format!("setting the first watermark of log {}", log.0))),
    }
}

async fn read_quarantined(table: &dyn Table, log: &LogId) -> StorageResult<HashMap<EntityKey, Quarantined>> {
    let mut quarantined = HashMap::new();
    let read = |rows: &[Row]| quarantined.extend(rows.iter().filter_map(|row| quarantine::read_row(log, row)));
    read_partition(table, &quarantine::partition(log), read).await?;
    Ok(quarantined)
}

async fn read_index(table: &dyn Table, log: &LogId) -> StorageResult<Index> {
    let mut index = Index::unread(log);
    let partition = index.partition().clone();
    match read_partition(table, &partition, |rows| index.read(rows)).await {
        Err(error @ StorageError::Corrupt(_)) => {
            tracing::error!(log = %log.0, %error, "the index of wake-ups is damaged, looking at each bucket");
            index.distrust();
        }
        read => read?,
    }
    Ok(index)
}

async fn read_partition(
    table: &dyn Table,
    partition: &PartitionKey,
    mut each: impl FnMut(&[Row]),
) -> StorageResult<()> {
    let mut from = RowKey::new();
    loop {
        let range = ScanRange { from, to: None };
        let page = table.scan(partition, range, ScanOrder::Ascending, PAGE).await?;
        each(&page.rows);
        match page.next_from() {
            Some(next) => from = next,
            None => return Ok(()),
        }
    }
}
