//! The partition as an entity of a shard: the pure backlog of crate `taskqueue`, with its rows.

use std::convert::Infallible;

use bytes::{BufMut, Bytes, BytesMut};
use entities::{
    CallError, Corrupt, EntityKey, Env, Kind, Load, ObligationId, Refusal, Release, RowAddress, StoredRow, Transition,
};
use ids::{KindId, Slot, Timestamp, WorkflowId};
use storage::{PartitionKey, PartitionWrite, Version};
use taskqueue::{Backlog, Change, Input, PageId, Rejected, Reply};

use crate::partition::PartitionName;

/// A shard's refusal: no partition ever says no.
pub(crate) type ShardError = CallError<Infallible>;

/// The entity kind `partition`.
pub(crate) struct PartitionKind;

/// While tasks wait, somebody must try to deliver them.
pub(crate) struct DeliverBacklog;

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

fn address(key: &EntityKey, row: Bytes) -> RowAddress {
    RowAddress { partition: rows_of(key), key: row }
}

fn supply_page(backlog: &mut Backlog, found: &StoredRow) -> Result<(), Corrupt> {
    let Some(page) = PageId::of_row_key(&found.address.key) else {
        return Err(Corrupt(format!("{:?} is no row of a task queue partition", found.address.key)));
    };
    backlog.supply(page, found.row.as_ref().map(|row| &*row.value)).map_err(corrupt)
}

/// Holds a row against what it is by its address; `None` for one that is not matching's.
pub fn check_row(partition: &[u8], key: &[u8], value: &[u8]) -> Option<Result<(), Corrupt>> {
    partition.starts_with(ROWS).then(|| {
        if *key == Backlog::header_key() {
            return Backlog::from_header(value).map(drop).map_err(corrupt);
        }
        match PageId::of_row_key(key) {
            Some(page) => Backlog::default().supply(page, Some(value)).map_err(corrupt),
            None => Err(Corrupt("no row of a task queue has such a key".to_owned())),
        }
    })
}

fn corrupt(found: taskqueue::Corrupt) -> Corrupt {
    Corrupt(found.0)
}

impl Kind for PartitionKind {
    type State = Backlog;
    type Input = Input;
    type Change = Change;
    type Reply = Reply;
    type Rejection = Infallible;
    type Obligation = DeliverBacklog;

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
        key: &EntityKey,
        backlog: &mut Backlog,
        input: Input,
        env: &Env,
    ) -> Result<Transition<Self>, Refusal<Self>> {
        match backlog.step(input, env.now) {
            Ok((changes, reply)) => Ok(Transition { changes, reply, release: Release::Durable }),
            Err(Rejected::Needs(pages, input)) => {
                let needs = pages.into_iter().map(|page| address(key, page.row_key())).collect();
                Err(Refusal::Needs(needs, input))
            }
        }
    }

    fn apply(&self, _key: &EntityKey, backlog: &mut Backlog, change: &Change) -> Result<(), Corrupt> {
        backlog.apply(change).map_err(corrupt)
    }

    /// All of the log's tail is applied, whatever the rows show. They are read one by one, and each may be from another
    /// checkpoint of a former owner that had not reached all replicas: a header of a late one beside a page of an early one.
    /// A change that is there already makes no difference, and marks what it touches as not yet safe.
    fn loaded_version(&self, _backlog: &Backlog, _change: &Change) -> Version {
        0
    }

    fn encode_change(&self, change: &Change) -> Bytes {
        change.encode()
    }

    fn decode_change(&self, bytes: Bytes) -> Result<Change, Corrupt> {
        Change::decode(&bytes).map_err(corrupt)
    }

    fn obligations(&self, _key: &EntityKey, backlog: &Backlog) -> Vec<(ObligationId, DeliverBacklog)> {
        backlog.owed().map(|generation| (format!("deliver/{generation}"), DeliverBacklog)).into_iter().collect()
    }

    fn next_wake_up(&self, backlog: &Backlog) -> Option<Timestamp> {
        backlog.next_wake_up()
    }

    fn wake_up(&self) -> Input {
        Input::WakeUp
    }

    fn load(&self, key: &EntityKey, found: &[StoredRow]) -> Result<Load<Backlog>, Corrupt> {
        let header_key = Backlog::header_key();
        let Some(header) = found.iter().find(|row| row.address.key == header_key) else {
            return Ok(Load::Fetch(vec![address(key, header_key)]));
        };
        let Some(header) = &header.row else { return Ok(Load::Ready(self.vacant(key))) };
        // Pages are read when they are needed, however long the backlog is.
        Ok(Load::Ready(Backlog::from_header(&header.value).map_err(corrupt)?))
    }

    fn supply(&self, _key: &EntityKey, backlog: &mut Backlog, rows: Vec<StoredRow>) -> Result<(), Corrupt> {
        rows.iter().try_for_each(|row| supply_page(backlog, row))
    }

    fn take_dirty(&self, key: &EntityKey, backlog: &mut Backlog) -> Vec<PartitionWrite> {
        let write = backlog.take_dirty().map(|rows| PartitionWrite {
            partition: rows_of(key),
            version: 0,
            puts: rows.puts,
            deletes: rows.deletes,
        });
        write.into_iter().collect()
    }

    /// The header, which says what the tail did to pages that are not here. Pages that it did not touch are where every
    /// reader finds them, or the tail would begin earlier.
    fn mark_all_dirty(&self, backlog: &mut Backlog) {
        backlog.distrust_header();
    }

    fn shed(&self, backlog: &mut Backlog) {
        backlog.shed();
    }

    fn weight(&self, backlog: &Backlog) -> usize {
        backlog.weight()
    }
}
