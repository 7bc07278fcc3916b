//! Reading a run's history: old events from the table, the newest from memory, as one sequence.

use api::temporal::api::history::v1::HistoryEvent;
use bytes::Bytes;
use calls::{ServiceError, ServiceResult};
use entities::EntityKey;
use execution::Run;
use storage::{PartitionKey, ScanOrder, ScanRange, Table};

use crate::errors::{corrupt, unreadable};
use crate::kind::{decode_history, history_key, history_range, run_partition};

/// A page ends once its events take this much, as encoded.
const PAGE_BYTES: usize = 2 << 20;
/// Rows asked for at first: one may be as large as a request, and its size is unknown before it is read.
const FIRST_ROWS: usize = 8;
/// Rows asked for at a time at the most.
const MOST_ROWS: usize = 128;

/// Events of one page.
pub(crate) struct Page {
    /// In the order in which they were asked for.
    pub(crate) events: Vec<HistoryEvent>,
    most: usize,
    bytes: usize,
}

impl Page {
    fn of(most: usize) -> Self {
        Self { events: Vec::new(), most: most.max(1), bytes: 0 }
    }

    fn is_full(&self) -> bool {
        self.events.len() >= self.most || self.bytes >= PAGE_BYTES
    }

    /// How many rows to ask for, in view of what those so far held: each holds an event or more, and the page shall not
    /// cost much more than it shows.
    fn rows_wanted(&self) -> usize {
        let events = self.most.saturating_sub(self.events.len());
        let rows = match self.bytes {
            0 => FIRST_ROWS,
            bytes => PAGE_BYTES.saturating_sub(bytes) / (bytes / self.events.len().max(1)).max(1),
        };
        rows.min(events).clamp(1, MOST_ROWS)
    }

    /// Adds events of a batch while there is room; `share` is what one of them takes.
    fn add(&mut self, events: impl Iterator<Item = HistoryEvent>, share: usize) {
        for event in events {
            if self.is_full() {
                return;
            }
            self.events.push(event);
            self.bytes += share;
        }
    }
}

/// Events from `from` (inclusive) to `end` (exclusive) in order, at least one if there is one, at most `most`. `run` is the
/// run as it was lately.
pub(crate) async fn read_forward(
    table: &dyn Table,
    key: &EntityKey,
    run: &Run,
    from: i64,
    end: i64,
    most: usize,
) -> ServiceResult<Page> {
    let mut page = Page::of(most);
    let mut next = from.max(1);
    let end = end.min(run.core.next_event_id);
    let in_memory = run.first_event_in_memory();
    if next < end && next < in_memory {
        if next > 1 {
            next = enter_batch(table, &Home::of(key, run, next), next, end, &mut page).await?;
        }
        let stored_end = in_memory.min(end);
        while next < stored_end && !page.is_full() {
            let home = Home::of(key, run, next);
            let home_end = stored_end.min(home.end);
            let range = history_range(next, home_end);
            let rows = page.rows_wanted();
            let rows = table.scan(&home.partition, range, ScanOrder::Ascending, rows).await.map_err(unreadable)?;
            for row in rows.rows {
                if page.is_full() {
                    break;
                }
                let (events, share) = decode_batch(row.value)?;
                let last = check_batch(run, &events, next)?;
                page.add(events.into_iter().take_while(|event| event.event_id < end), share);
                next = last + 1;
            }
            if !rows.more && next < home_end && !page.is_full() {
                return Err(missing(run, next));
            }
        }
        next = page.events.last().map_or(next, |event| event.event_id + 1);
    }
    for batch in run.batches.values() {
        if batch.last_event_id() < next || batch.first_event_id >= end || page.is_full() {
            continue;
        }
        let events = batch.events().into_iter();
        let wanted = events.filter(|event| event.event_id >= next && event.event_id < end);
        page.add(wanted, batch.bytes.len() / batch.count.max(1));
    }
    Ok(page)
}

/// Events from `from` down to 1, at most `most`.
pub(crate) async fn read_backward(
    table: &dyn Table,
    key: &EntityKey,
    run: &Run,
    from: i64,
    most: usize,
) -> ServiceResult<Page> {
    let mut page = Page::of(most);
    let mut next = from.min(run.last_event_id());
    for batch in run.batches.values().rev() {
        if page.is_full() || batch.first_event_id > next {
            continue;
        }
        let events = batch.events().into_iter().rev();
        let wanted = events.filter(|event| event.event_id <= next);
        page.add(wanted, batch.bytes.len() / batch.count.max(1));
        next = page.events.last().map_or(next, |event| event.event_id - 1);
    }
    while next >= 1 && !page.is_full() {
        let home = Home::of(key, run, next);
        let range = history_range(home.from, next + 1);
        let rows = page.rows_wanted();
        let rows = table.scan(&home.partition, range, ScanOrder::Descending, rows).await.map_err(unreadable)?;
        for row in rows.rows {
            if page.is_full() {
                break;
            }
            let (events, share) = decode_batch(row.value)?;
            if events.last().is_none_or(|last| last.event_id < next) {
                return Err(missing(run, next));
            }
            page.add(events.into_iter().rev().filter(|event| event.event_id <= next), share);
            next = page.events.last().map_or(next, |event| event.event_id - 1);
        }
        if !rows.more && next >= home.from && !page.is_full() {
            return Err(missing(run, next));
        }
    }
    Ok(page)
}

/// Where a stored event is: under the run itself, or under one that a reset has made it from.
struct Home {
    partition: PartitionKey,
    /// The first event of the run that is there.
    from: i64,
    /// The first one that is not.
    end: i64,
}

impl Home {
    fn of(key: &EntityKey, run: &Run, event_id: i64) -> Self {
        let mut from = 1;
        for ancestor in &run.core.ancestors {
            if event_id < ancestor.end_event_id {
                return Self { partition: run_partition(key, &ancestor.run_id), from, end: ancestor.end_event_id };
            }
            from = ancestor.end_event_id;
        }
        Self { partition: run_partition(key, &run.core.run_id), from, end: i64::MAX }
    }
}

/// The first event of the row that a stored event is in.
pub(crate) async fn row_of(table: &dyn Table, key: &EntityKey, run: &Run, event_id: i64) -> ServiceResult<i64> {
    let row = read_row(table, &Home::of(key, run, event_id), event_id).await?.ok_or_else(|| missing(run, event_id))?;
    let (events, _) = decode_batch(row)?;
    events.first().map(|event| event.event_id).ok_or_else(|| missing(run, event_id))
}

async fn read_row(table: &dyn Table, home: &Home, event_id: i64) -> ServiceResult<Option<Bytes>> {
    let range = ScanRange { from: history_key(home.from), to: Some(history_key(event_id + 1)) };
    let rows = table.scan(&home.partition, range, ScanOrder::Descending, 1).await.map_err(unreadable)?;
    Ok(rows.rows.into_iter().next().map(|row| row.value))
}

/// Adds the rest of the stored batch that `from` lies in; the first event after that batch.
async fn enter_batch(table: &dyn Table, home: &Home, from: i64, end: i64, page: &mut Page) -> ServiceResult<i64> {
    let Some(row) = read_row(table, home, from).await? else { return Ok(from) };
    let (events, share) = decode_batch(row)?;
    let after = events.last().map_or(from, |event| event.event_id + 1);
    page.add(events.into_iter().filter(|event| event.event_id >= from && event.event_id < end), share);
    Ok(after.max(from))
}

fn decode_batch(bytes: Bytes) -> ServiceResult<(Vec<HistoryEvent>, usize)> {
    let size = bytes.len();
    let events = decode_history(bytes).map_err(corrupt)?.events;
    let share = size / events.len().max(1);
    Ok((events, share))
}

/// The batch's last event, if the batch begins where it must.
fn check_batch(run: &Run, events: &[HistoryEvent], expected: i64) -> ServiceResult<i64> {
    match (events.first(), events.last()) {
        (Some(first), Some(last)) if first.event_id == expected => Ok(last.event_id),
        _ => Err(missing(run, expected)),
    }
}

fn missing(run: &Run, event_id: i64) -> ServiceError {
    ServiceError::DataLoss(format!("event {event_id} of run {} is missing from its history", run.core.run_id))
}
