//! What a partition writes down: its changes in the log, its header and its pages in rows. Every record has a format
//! number; a record of a higher one is refused rather than misread.

use api::temporal::api::common::v1::Priority;
use bytes::Bytes;
use ids::{TaskKey, TaskRef, Timestamp};
use prost::Message;

use crate::{Corrupt, Position, PriorityLevel, Task};

/// A task.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StoredTask {
    #[prost(string, tag = "1")]
    workflow_id: String,
    #[prost(string, tag = "2")]
    run_id: String,
    #[prost(int64, tag = "3")]
    scheduled_event_id: i64,
    #[prost(int32, tag = "4")]
    attempt: i32,
    #[prost(int64, tag = "5")]
    stamp: i64,
    #[prost(message, optional, tag = "6")]
    priority: Option<Priority>,
    #[prost(int64, tag = "7")]
    scheduled_at: i64,
    #[prost(int64, optional, tag = "8")]
    expires_at: Option<i64>,
    #[prost(string, optional, tag = "9")]
    request_id: Option<String>,
    /// Its sequence within its level.
    #[prost(uint64, tag = "10")]
    pub sequence: u64,
}

impl StoredTask {
    pub fn from_task(sequence: u64, task: &Task) -> Self {
        let TaskKey { workflow_id, run_id, task: TaskRef { scheduled_event_id, attempt, stamp } } = task.key.clone();
        Self {
            workflow_id: workflow_id.as_str().to_owned(),
            run_id: run_id.as_str().to_owned(),
            scheduled_event_id,
            attempt,
            stamp,
            priority: task.priority.clone(),
            scheduled_at: task.scheduled_at.nanos(),
            expires_at: task.expires_at.map(Timestamp::nanos),
            request_id: task.request_id.clone(),
            sequence,
        }
    }

    pub fn into_task(self) -> Task {
        Task {
            key: TaskKey {
                workflow_id: self.workflow_id.into(),
                run_id: self.run_id.into(),
                task: TaskRef { scheduled_event_id: self.scheduled_event_id, attempt: self.attempt, stamp: self.stamp },
            },
            priority: self.priority,
            scheduled_at: Timestamp::from_nanos(self.scheduled_at),
            expires_at: self.expires_at.map(Timestamp::from_nanos),
            request_id: self.request_id,
        }
    }
}

/// A position.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct StoredPosition {
    #[prost(uint32, tag = "1")]
    pub level: u32,
    #[prost(uint64, tag = "2")]
    pub sequence: u64,
}

impl StoredPosition {
    pub fn from_position(at: Position) -> Self {
        Self { level: u32::from(at.level.number()), sequence: at.sequence }
    }

    pub fn into_position(self) -> Result<Position, Corrupt> {
        let level = u8::try_from(self.level).ok().and_then(PriorityLevel::numbered);
        let level = level.ok_or_else(|| Corrupt(format!("task queue level {}, known are 1 to 5", self.level)))?;
        Ok(Position { level, sequence: self.sequence })
    }
}

/// A change in the log: a task added or replaced, or tasks removed.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StoredChange {
    #[prost(uint32, tag = "1")]
    pub format: u32,
    #[prost(message, optional, tag = "2")]
    pub added: Option<StoredTask>,
    #[prost(message, repeated, tag = "3")]
    pub removed: Vec<StoredPosition>,
    #[prost(message, optional, tag = "4")]
    pub replaced: Option<StoredTask>,
}

/// Neighbouring pages that hold equally many tasks each.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct StoredRun {
    #[prost(uint64, tag = "1")]
    pub first: u64,
    #[prost(uint64, tag = "2")]
    pub pages: u64,
    #[prost(uint32, tag = "3")]
    pub tasks_each: u32,
}

/// One level of the header.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StoredLevel {
    #[prost(uint64, tag = "1")]
    pub last: u64,
    #[prost(message, repeated, tag = "2")]
    pub runs: Vec<StoredRun>,
}

/// The header row: which pages there are.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StoredHeader {
    #[prost(uint32, tag = "1")]
    pub format: u32,
    #[prost(message, repeated, tag = "2")]
    pub levels: Vec<StoredLevel>,
    #[prost(uint64, tag = "3")]
    pub generation: u64,
}

/// A page row.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StoredPage {
    #[prost(uint32, tag = "1")]
    pub format: u32,
    #[prost(message, repeated, tag = "2")]
    pub tasks: Vec<StoredTask>,
}

/// A record that says in which format it is.
pub(crate) trait Record: Message + Default {
    /// What it is called in messages.
    const NAME: &'static str;
    /// The format that this release writes and reads.
    const FORMAT: u32;
    fn format(&mut self) -> &mut u32;

    fn to_bytes(mut self) -> Bytes {
        *self.format() = Self::FORMAT;
        self.encode_to_vec().into()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut record = Self::decode(bytes).map_err(|e| Corrupt(format!("task queue {}: {e}", Self::NAME)))?;
        match *record.format() {
            format if format == Self::FORMAT => Ok(record),
            format => {
                let (name, known) = (Self::NAME, Self::FORMAT);
                Err(Corrupt(format!("task queue {name} of format {format}, this release reads format {known}")))
            }
        }
    }
}

macro_rules! record {
    ($record:ty, $name:literal, $format:literal) => {
        impl Record for $record {
            const NAME: &'static str = $name;
            const FORMAT: u32 = $format;
            fn format(&mut self) -> &mut u32 {
                &mut self.format
            }
        }
    };
}

record!(StoredChange, "change", 2);
record!(StoredHeader, "header", 3);
record!(StoredPage, "page", 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_format_is_refused() {
        let of = |format| StoredHeader { format, ..Default::default() }.encode_to_vec();
        for format in [StoredHeader::FORMAT - 1, StoredHeader::FORMAT + 1] {
            assert!(StoredHeader::from_bytes(&of(format)).is_err());
        }
        assert!(StoredHeader::from_bytes(b"\xff\xff").is_err());
        assert!(StoredHeader::from_bytes(&StoredHeader::default().to_bytes()).is_ok());
        let page = StoredPage { format: StoredPage::FORMAT + 1, ..Default::default() };
        assert!(StoredPage::from_bytes(&page.encode_to_vec()).is_err());
    }
}
