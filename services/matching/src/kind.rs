//! The partition as an entity of a shard: the pure backlog of crate `taskqueue`, with its rows.

#[cfg(test)]
mod backlog_test;
#[cfg(test)]
mod replicas_test;

use std::convert::Infallible;
use std::fmt::{Display, Formatter};

use bytes::{BufMut, Bytes, BytesMut};
use entities::{
    CallError, Corrupt, EntityKey, Env, Kind, OwedChanges, Refusal, Release, RowAddress, Touch, Transition,
};
use ids::{KindId, Slot, Timestamp, WorkflowId};
use storage::{PartitionKey, RowKey};
use taskqueue::{Backlog, Change, Input, PageId, Rejected, Reply, Touched};

use crate::partition::PartitionName;

/// A shard's refusal: partitions reject nothing.
pub(crate) type ShardError = CallError<Infallible>;

/// The entity kind `partition`.
pub(crate) struct PartitionKind;

/// A part of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PartitionPart {
    /// Which pages there are.
    Header,
    /// Tasks.
    Page(PageId),
}

/// While tasks wait, matching must try to deliver them.
pub(crate) struct DeliverBacklog;

/// Names that by the backlog's generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeliveryId(u64);

impl Display for DeliveryId {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "deliver/{}", self.0)
    }
}

/// What the names of partitions begin with, one for each entity.
const ROWS: &[u8] = b"task-queue/";

fn rows_of(key: &EntityKey) -> PartitionKey {
    let mut bytes = BytesMut::with_capacity(16 + key.namespace.as_str().len() + key.id.len());
    bytes.put_slice(ROWS);
    bytes.put_slice(key.namespace.as_str().as_bytes());
    bytes.put_u8(0);
    bytes.put_slice(key.id.as_bytes());
    bytes.freeze()
}

fn row_key(part: PartitionPart) -> RowKey {
    match part {
        PartitionPart::Header => Backlog::header_key(),
        PartitionPart::Page(page) => page.row_key(),
    }
}

/// Holds a row against what it is by its address; `None` for one that is not matching's.
pub fn check_row(partition: &[u8], key: &[u8], value: &[u8]) -> Option<Result<(), Corrupt>> {
    partition.starts_with(ROWS).then(|| {
        if *key == Backlog::header_key() {
            return Backlog::from_header(value).map(drop).map_err(corrupt);
        }
        match PageId::of_row_key(key) {
            Some(page) => Backlog::default().load_page(page, Some(value)).map_err(corrupt),
            None => Err(Corrupt("no row of a task queue has such a key".to_owned())),
        }
    })
}

fn corrupt(found: taskqueue::Corrupt) -> Corrupt {
    Corrupt(found.0)
}

impl Kind for PartitionKind {
    type State = Backlog;
    type Part = PartitionPart;
    type Input = Input;
    type Change = Change;
    type Reply = Reply;
    type Rejection = Infallible;
    type Obligation = DeliverBacklog;
    type ObligationId = DeliveryId;

    const ID: KindId = KindId::PARTITION;

    /// A queue lives in one shard, with all its partitions and kinds.
    fn slot(&self, key: &EntityKey) -> Slot {
        let queue = PartitionName::of_key(key).map(|partition| partition.queue);
        queue.map_or_else(|| Slot::of(&key.namespace, &WorkflowId::new(&*key.id)), |queue| queue.slot())
    }

    fn entity_partitions(&self) -> &'static [u8] {
        ROWS
    }

    fn entity_of(&self, partition: &[u8]) -> Option<EntityKey> {
        EntityKey::of_name::<Self>(partition.strip_prefix(ROWS)?)
    }

    fn vacant(&self, _key: &EntityKey) -> Backlog {
        Backlog::default()
    }

    fn step(
        &self,
        _key: &EntityKey,
        backlog: &mut Backlog,
        input: Input,
        env: &Env,
    ) -> Result<Transition<Self>, Refusal<Self>> {
        let before = backlog.owed();
        match backlog.step(input, env.now) {
            Ok((changes, reply)) => {
                let owed = |generation: Option<u64>| generation.map(DeliveryId).into_iter().collect();
                let owed = OwedChanges::between(owed(before), owed(backlog.owed()));
                Ok(Transition { changes, is_volatile: false, reply, release: Release::Durable, owed })
            }
            Err(Rejected::Needs(pages, input)) => {
                Err(Refusal::Needs(pages.into_iter().map(PartitionPart::Page).collect(), input))
            }
        }
    }

    /// What a page shows already may be done to it again, as the tail has all that follows: what is there makes no difference.
    fn apply(
        &self,
        _key: &EntityKey,
        backlog: &mut Backlog,
        change: &Change,
        _is_behind: &dyn Fn(&PartitionPart) -> bool,
    ) -> Result<(), Corrupt> {
        backlog.apply(change).map_err(corrupt)
    }

    fn encode_change(&self, change: &Change) -> Bytes {
        change.encode()
    }

    fn decode_change(&self, bytes: Bytes) -> Result<Change, Corrupt> {
        Change::decode(&bytes).map_err(corrupt)
    }

    fn obligations(&self, _key: &EntityKey, backlog: &Backlog) -> Vec<DeliveryId> {
        backlog.owed().map(DeliveryId).into_iter().collect()
    }

    fn obligation(&self, _key: &EntityKey, backlog: &Backlog, id: &DeliveryId) -> Option<DeliverBacklog> {
        (backlog.owed() == Some(id.0)).then_some(DeliverBacklog)
    }

    fn next_wake_up(&self, backlog: &Backlog) -> Option<Timestamp> {
        backlog.next_wake_up()
    }

    fn wake_up(&self) -> Input {
        Input::WakeUp
    }

    fn root(&self) -> PartitionPart {
        PartitionPart::Header
    }

    fn address(&self, key: &EntityKey, part: &PartitionPart) -> RowAddress {
        RowAddress { partition: rows_of(key), key: row_key(*part) }
    }

    fn encode_part(&self, backlog: &Backlog, part: &PartitionPart) -> Vec<(RowKey, Bytes)> {
        let row = match part {
            PartitionPart::Header => Some(backlog.encode_header()),
            PartitionPart::Page(page) => backlog.encode_page(*page),
        };
        row.map(|row| (row_key(*part), row)).into_iter().collect()
    }

    fn decode_part(
        &self,
        _key: &EntityKey,
        backlog: &mut Backlog,
        part: &PartitionPart,
        row: Option<Bytes>,
    ) -> Result<(), Corrupt> {
        match part {
            PartitionPart::Header => {
                *backlog =
                    row.map_or_else(|| Ok(Backlog::default()), |row| Backlog::from_header(&row)).map_err(corrupt)?
            }
            PartitionPart::Page(page) => backlog.load_page(*page, row.as_deref()).map_err(corrupt)?,
        }
        Ok(())
    }

    fn parts_of(&self, change: &Change) -> Vec<Touch<PartitionPart>> {
        let pages = change.touches().into_iter().map(|Touched { page, begins }| {
            let page = PartitionPart::Page(page);
            if begins { Touch::Begins(page) } else { Touch::Changes(page) }
        });
        pages.chain([Touch::Changes(PartitionPart::Header)]).collect()
    }

    fn leave_to_rows(&self, backlog: &mut Backlog, is_safe: &dyn Fn(&PartitionPart) -> bool) {
        backlog.evict_clean(|page| is_safe(&PartitionPart::Page(page)));
    }

    fn weight(&self, backlog: &Backlog) -> usize {
        backlog.weight()
    }
}
