//! The log port: one partition for each segment of a log, one row that is the log's head.
//!
//! The head (`log_heads`) says which process owns the log, under which epoch, and into which segment it writes. Each segment
//! (`log_groups`) repeats the epoch, and an append is conditional on that copy alone: one conditional batch, in one
//! partition. So opening a log raises the head's epoch first and the segment's second; from then on no append of an
//! earlier owner can succeed, and what it managed to append until then is in the tail that is read third.
//!
//! Start at `open`, then `append`, `roll` and `trim`; what this process remembers of a log between calls is in `place`.

mod append;
mod chunks;
mod head;
mod open;
mod place;
mod roll;
mod segment;
mod statements;
mod trim;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use ids::Timestamp;
use storage::{Append, Epoch, GroupId, Log, LogId, Opened, OwnerNonce, Reopen, Seq, StorageError, StorageResult};
use uuid::Uuid;

use self::place::Place;
use self::statements::Statements;
use crate::failure::Failure;
use crate::names::Names;
use crate::requests::Requests;
use crate::settings::{CqlSettings, LogLimits};

pub(crate) struct CqlLog {
    requests: Arc<Requests>,
    statements: Statements,
    names: Names,
    datacenter: String,
    limits: LogLimits,
    places: Mutex<HashMap<LogId, Arc<Place>>>,
}

impl CqlLog {
    pub(crate) async fn prepare(requests: &Arc<Requests>, settings: &CqlSettings) -> Result<Self, Failure> {
        Ok(Self {
            requests: Arc::clone(requests),
            statements: Statements::prepare(requests, &settings.keyspace).await?,
            names: Names::within(&settings.within),
            datacenter: settings.local_datacenter.clone(),
            limits: settings.log,
            places: Mutex::default(),
        })
    }

    fn places(&self) -> MutexGuard<'_, HashMap<LogId, Arc<Place>>> {
        // Nothing panics while holding the lock, and if it did, the map would still be whole.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers where an owner of a log writes, unless a later one is known already.
    fn remember(&self, log: &LogId, place: Arc<Place>) {
        let mut places = self.places();
        if places.get(log).is_none_or(|known| known.epoch <= place.epoch) {
            places.insert(log.clone(), place);
        }
    }

    /// A deposed owner's place is useless.
    fn forget(&self, log: &LogId, deposed: Epoch) {
        let mut places = self.places();
        if places.get(log).is_some_and(|known| known.epoch == deposed) {
            places.remove(log);
        }
    }
}

#[async_trait]
impl Log for CqlLog {
    async fn open(&self, log: &LogId, owner: OwnerNonce) -> StorageResult<Opened> {
        self.open_log(log, owner).await
    }

    async fn reopen(&self, log: &LogId, epoch: Epoch, owner: OwnerNonce) -> StorageResult<Reopen> {
        self.reopen_log(log, epoch, owner).await
    }

    async fn append(&self, log: &LogId, epoch: Epoch, seq: Seq, id: GroupId, bytes: Bytes) -> Append {
        self.append_group(log, epoch, seq, id, bytes).await
    }

    /// Asks the head, by a quorum read of its own: none is shared with an earlier caller, and nothing is remembered. Every
    /// opener raises the head first, and goes on (reads the tail, serves) only when a quorum has acknowledged that. So if
    /// a quorum shows our epoch, no other owner had begun to serve when this read began, which is all that a read at serial
    /// consistency could prove. The segment would do as well, but not for someone whose segment was trimmed meanwhile.
    async fn epoch(&self, log: &LogId) -> StorageResult<Epoch> {
        let known = self.places().get(log).map(|place| place.epoch);
        match (self.read_epoch(log).await?, known) {
            (Some(epoch), _) => Ok(epoch),
            (None, None) => Ok(Epoch(0)),
            (None, Some(known)) => {
                Err(StorageError::Corrupt(format!("log {} has no head, yet was opened at epoch {}", log.0, known.0)))
            }
        }
    }

    async fn set_watermark(&self, log: &LogId, epoch: Epoch, at: Timestamp) -> Append {
        self.move_watermark(log, epoch, at).await
    }

    async fn trim(&self, log: &LogId, epoch: Epoch, below: Seq) -> Append {
        self.trim_log(log, epoch, below).await
    }
}

/// Numbers as the database has them. Those of logs never come near the sign.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn number(log: &LogId, column: &str, stored: i64) -> StorageResult<u64> {
    u64::try_from(stored).map_err(|_| StorageError::Corrupt(format!("log {}: {column} is {stored}", log.0)))
}

fn missing(log: &LogId, column: &str) -> StorageError {
    StorageError::Corrupt(format!("log {}: {column} is missing", log.0))
}

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}
