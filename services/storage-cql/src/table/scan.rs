//! Reading a range of a partition, page by page.
//!
//! The protocol counts rows, not bytes, so the number of rows to ask for next follows from how large they have been.

use bytes::Bytes;
use scylla::response::PagingState;
use scylla::response::query_result::QueryRowsResult;
use scylla::statement::prepared::PreparedStatement;
use storage::{Row, ScanOrder, ScanPage, ScanRange, StorageError, StorageResult};

use super::row;
use crate::failure::Failure;
use crate::requests::Requests;
use crate::stats::Kind;

/// What a page should hold at most. One that meets larger rows than those before it may hold more.
const PAGE_BYTES: usize = 4 << 20;
/// How many rows to ask for before any has been seen.
const FIRST_PAGE_ROWS: usize = 64;
/// How many to ask for at most.
const PAGE_ROWS: usize = 5000;

pub(super) struct Scans {
    up: Ranges,
    down: Ranges,
}

struct Ranges {
    from: PreparedStatement,
    from_to: PreparedStatement,
}

impl Scans {
    pub(super) async fn prepare(requests: &Requests, table: &str) -> Result<Self, Failure> {
        let columns = format!("SELECT row_key, content, writetime(content) FROM {table} WHERE partition_key = ?");
        let prepare = async |bounds: &str, order: &str| {
            requests.prepare(Kind::Read, &format!("{columns} AND {bounds} ORDER BY row_key {order} LIMIT ?")).await
        };
        let ranges = async |order: &str| {
            Ok::<_, Failure>(Ranges {
                from: prepare("row_key >= ?", order).await?,
                from_to: prepare("row_key >= ? AND row_key < ?", order).await?,
            })
        };
        Ok(Self { up: ranges("ASC").await?, down: ranges("DESC").await? })
    }

    pub(super) async fn scan(
        &self,
        requests: &Requests,
        partition: Vec<u8>,
        range: ScanRange,
        order: ScanOrder,
        limit: usize,
    ) -> StorageResult<ScanPage> {
        if range.to.as_ref().is_some_and(|to| *to <= range.from) {
            return Ok(ScanPage::default());
        }
        // One row beyond the page shows whether there are more.
        let wanted = limit.saturating_add(1);
        let mut read = Read { rows: Vec::new(), bytes: 0 };
        let mut next = Some(PagingState::start());
        while let Some(from) = next {
            let page_rows = read.next_page_rows(wanted);
            let (rows, after) = self.page(requests, &partition, &range, order, wanted, page_rows, from).await?;
            read.take(&partition, &rows)?;
            next = after;
            if read.rows.len() >= wanted {
                break;
            }
            if read.bytes >= PAGE_BYTES && !read.rows.is_empty() {
                let more = next.is_some();
                return Ok(ScanPage { rows: read.rows, more });
            }
        }
        let more = read.rows.len() > limit;
        read.rows.truncate(limit);
        Ok(ScanPage { rows: read.rows, more })
    }

    #[allow(clippy::too_many_arguments, reason = "one request, with everything that varies in it")]
    async fn page(
        &self,
        requests: &Requests,
        partition: &[u8],
        range: &ScanRange,
        order: ScanOrder,
        wanted: usize,
        page_rows: usize,
        from: PagingState,
    ) -> StorageResult<(QueryRowsResult, Option<PagingState>)> {
        let ranges = match order {
            ScanOrder::Ascending => &self.up,
            ScanOrder::Descending => &self.down,
        };
        let limit = i32::try_from(wanted).unwrap_or(i32::MAX);
        let sized = |statement: &PreparedStatement| {
            let mut statement = statement.clone();
            statement.set_page_size(i32::try_from(page_rows).unwrap_or(1));
            statement
        };
        let page = match &range.to {
            None => requests.page(&sized(&ranges.from), (partition, &range.from, limit), from).await,
            Some(to) => requests.page(&sized(&ranges.from_to), (partition, &range.from, to, limit), from).await,
        };
        page.map_err(Failure::of_read)
    }
}

/// What has been read so far.
struct Read {
    rows: Vec<Row>,
    bytes: usize,
}

impl Read {
    fn next_page_rows(&self, wanted: usize) -> usize {
        let left = wanted - self.rows.len().min(wanted);
        let fitting = match self.bytes.checked_div(self.rows.len()) {
            None => FIRST_PAGE_ROWS,
            Some(average) => PAGE_BYTES.saturating_sub(self.bytes) / average.max(1),
        };
        left.min(fitting).clamp(1, PAGE_ROWS)
    }

    fn take(&mut self, partition: &[u8], rows: &QueryRowsResult) -> StorageResult<()> {
        let corrupt = |error: &dyn std::fmt::Display| StorageError::Corrupt(format!("table row: {error}"));
        for found in rows.rows::<(&[u8], &[u8], i64)>().map_err(|error| corrupt(&error))? {
            let (key, value, timestamp) = found.map_err(|error| corrupt(&error))?;
            self.bytes += key.len() + value.len();
            // Copies that pin nothing of the page.
            self.rows.push(row(partition, Bytes::copy_from_slice(key), value, timestamp)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_shrink_when_rows_are_large() {
        let after = |rows: usize, bytes: usize, wanted: usize| {
            let row = Row { key: Bytes::new(), value: Bytes::new(), version: 1 };
            Read { rows: vec![row; rows], bytes }.next_page_rows(wanted)
        };
        assert_eq!(after(0, 0, 1), 1);
        assert_eq!(after(0, 0, 1001), FIRST_PAGE_ROWS);
        assert_eq!(after(64, 64 * 100, 1001), 937);
        assert_eq!(after(64, 64 << 15, 1001), 64, "what is left of the page, by the size of the rows so far");
        assert_eq!(after(64, PAGE_BYTES, 1001), 1);
        assert_eq!(after(64, 0, 1 << 30), PAGE_ROWS);
    }
}
