//! A walk over all that is stored, through the ports and so on any store, while the store is in use: each row and entry is read
//! and checked against its checksum and its format. A run whose chain has vanished, which
//! cannot be found any more, is reported.
//!
//! The groups of logs are not checked here: they are read, and checked, when their shard is opened.

use std::time::Duration;

use admin::VerifiedPage;
use bytes::Bytes;
use entities::Corrupt;
use runtime::Runtime;
use storage::checksum::readable;
use storage::{PartitionKey, RowKey, ScanOrder, ScanRange, StorageError, StorageResult, Store};

use crate::last_clock;

/// How many partitions one page has.
const PAGE: usize = 100;
/// How many rows of a partition are read at a time.
const ROWS: usize = 500;
/// What is written together is not to be seen at the same moment: how often a row that should be there is looked for, and how
/// long after each other.
const MAX_CHECKS: usize = 3;
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Checks a row against what it is by its address.
///
/// # Errors
/// What is wrong with it.
pub fn check_row(partition: &[u8], key: &[u8], value: &Bytes) -> Result<(), String> {
    let checked = history::check_row(partition, key, value)
        .or_else(|| matching::check_row(partition, key, value))
        .or_else(|| entities::check_row(partition, key, value))
        .or_else(|| last_clock::check_row(partition, value))
        .unwrap_or_else(|| Err(Corrupt("no rows lie there".to_owned())));
    checked
        .map_err(|Corrupt(what)| format!("row \"{}\" of partition \"{}\": {what}", readable(key), readable(partition)))
}

/// The next page of the walk.
pub(crate) async fn next_page(store: &Store, from: Option<Bytes>, runtime: &Runtime) -> StorageResult<VerifiedPage> {
    let mut verified = VerifiedPage::default();
    if from.is_none() {
        let entries = store.registry.list("").await;
        verified.entries = count(noted(entries, &mut verified)?.map_or(0, |entries| entries.len()));
    }
    let page = store.table.partitions(b"", from, PAGE).await?;
    verified.partitions = count(page.partitions.len());
    verified.next = page.next;
    for partition in page.partitions {
        verify_partition(store, &partition, &mut verified).await?;
        if let Some(chain) = history::chain_of_run(&partition)
            && !is_there(store, &chain.partition, &chain.key, &mut verified, runtime).await?
        {
            let (run, chain) = (readable(&partition), readable(&chain.partition));
            verified.problems.push(format!("partition \"{chain}\" has vanished, and with it \"{run}\" is not found"));
        }
    }
    Ok(verified)
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// What was read; `None` if it is damaged, which is noted.
fn noted<T>(read: StorageResult<T>, verified: &mut VerifiedPage) -> StorageResult<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(StorageError::Corrupt(what)) => {
            verified.problems.push(what);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn verify_partition(store: &Store, partition: &PartitionKey, verified: &mut VerifiedPage) -> StorageResult<()> {
    let mut range = ScanRange::default();
    loop {
        let page = store.table.scan(partition, range.clone(), ScanOrder::Ascending, ROWS).await;
        // What follows a damaged row in its partition is not checked.
        let Some(page) = noted(page, verified)? else { return Ok(()) };
        verified.rows += count(page.rows.len());
        verified.problems.extend(page.rows.iter().filter_map(|row| check_row(partition, &row.key, &row.value).err()));
        match page.next_from() {
            Some(next) => range.from = next,
            None => return Ok(()),
        }
    }
}

async fn is_there(
    store: &Store,
    partition: &PartitionKey,
    key: &RowKey,
    verified: &mut VerifiedPage,
    runtime: &Runtime,
) -> StorageResult<bool> {
    for check in 0..MAX_CHECKS {
        if check > 0 {
            runtime.sleep(POLL_INTERVAL).await;
        }
        match noted(store.table.get(partition, key).await, verified)? {
            Some(None) => {}
            // A damaged one is there.
            Some(Some(_)) | None => return Ok(true),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use ids::Timestamp;
    use storage::PartitionWrite;
    use storage::memory::MemoryStore;

    use super::*;

    async fn problems(store: &Store) -> (VerifiedPage, usize) {
        let runtime = Runtime::virtual_from(Timestamp::from_millis(1_700_000_000_000));
        let (mut all, mut from, mut pages) = (VerifiedPage::default(), None, 0);
        loop {
            let page = next_page(store, from, &runtime).await.unwrap();
            pages += 1;
            all.partitions += page.partitions;
            all.rows += page.rows;
            all.problems.extend(page.problems);
            from = page.next;
            if from.is_none() {
                return (all, pages);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_row_is_looked_at_and_what_has_vanished_is_said() {
        let store = MemoryStore::new().store();
        let put = async |partition: String, key: &'static [u8], value: &'static [u8]| {
            let puts = vec![(Bytes::from_static(key), Bytes::from_static(value))];
            let write = PartitionWrite { partition: partition.into(), version: 1, puts, deletes: Vec::new() };
            store.table.write(vec![write]).await.unwrap();
        };
        for number in 0..250 {
            // What is empty has all its fields unset, which for these is sound.
            put(format!("run/n\0r\0{number}"), b"h\0\0\0\0\0\0\0\x01", b"").await;
            put(format!("chain/n\0{number}"), b"s", b"\x08\x02\x12\x02\x08\x02").await;
        }
        let (found, pages) = problems(&store).await;
        assert_eq!((found.partitions, found.rows, found.problems.as_slice(), pages > 4), (500, 500, &[][..], true));

        store.table.drop_partition(&Bytes::from("chain/n\x007")).await.unwrap();
        put("task-queue/n\0w/0/q".to_owned(), b"h", b"\xff").await;
        put("wake-ups/history/0/5".to_owned(), b"short", b"").await;
        put("quarantine/history/0".to_owned(), b"short", b"").await;
        put("clock/a".to_owned(), b"s", b"\xff").await;
        put("elsewhere".to_owned(), b"k", b"v").await;
        let (found, _) = problems(&store).await;
        let expected = [
            "partition \"chain/n\\x007\" has vanished, and with it \"run/n\\x00r\\x007\" is not found",
            "row \"h\" of partition \"task-queue/n",
            "row \"short\" of partition \"wake-ups/history/0/5\"",
            "row \"short\" of partition \"quarantine/history/0\"",
            "row \"s\" of partition \"clock/a\"",
            "row \"k\" of partition \"elsewhere\": no rows lie there",
        ];
        for expected in expected {
            assert!(found.problems.iter().any(|what| what.starts_with(expected)), "{expected}: {:?}", found.problems);
        }
        assert_eq!(found.problems.len(), expected.len());
    }
}
