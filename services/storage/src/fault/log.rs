//! Logs with faults.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ids::Timestamp;

use super::{Fate, FaultControl, Method, lost, refused};
use crate::{Append, Epoch, GroupId, Log, LogId, Opened, OwnerNonce, Reopen, Seq, StorageResult};

pub(super) struct FaultyLog {
    pub(super) inner: Arc<dyn Log>,
    pub(super) control: FaultControl,
}

impl FaultyLog {
    /// Sends one of the calls that answer with an [`Append`] to its fate.
    async fn meet(&self, method: Method, call: impl Future<Output = Append>) -> Append {
        match self.control.meet(method).await.fate {
            Fate::Passes => call.await,
            Fate::Fails => Append::Unknown,
            Fate::FailsAfterEffect => {
                call.await;
                Append::Unknown
            }
        }
    }
}

#[async_trait]
impl Log for FaultyLog {
    async fn open(&self, log: &LogId, owner: OwnerNonce) -> StorageResult<Opened> {
        match self.control.meet(Method::Open).await.fate {
            Fate::Passes => self.inner.open(log, owner).await,
            Fate::Fails => Err(refused(Method::Open)),
            Fate::FailsAfterEffect => {
                self.inner.open(log, owner).await?;
                Err(lost(Method::Open))
            }
        }
    }

    async fn reopen(&self, log: &LogId, epoch: Epoch, owner: OwnerNonce) -> StorageResult<Reopen> {
        match self.control.meet(Method::Reopen).await.fate {
            Fate::Passes => self.inner.reopen(log, epoch, owner).await,
            Fate::Fails => Ok(Reopen::Unknown),
            Fate::FailsAfterEffect => {
                self.inner.reopen(log, epoch, owner).await?;
                Ok(Reopen::Unknown)
            }
        }
    }

    async fn append(&self, log: &LogId, epoch: Epoch, seq: Seq, id: GroupId, bytes: Bytes) -> Append {
        self.meet(Method::Append, self.inner.append(log, epoch, seq, id, bytes)).await
    }

    async fn epoch(&self, log: &LogId) -> StorageResult<Epoch> {
        match self.control.meet(Method::Epoch).await.fate {
            Fate::Passes => self.inner.epoch(log).await,
            Fate::Fails | Fate::FailsAfterEffect => Err(refused(Method::Epoch)),
        }
    }

    fn epoch_if_local(&self, log: &LogId) -> Option<Epoch> {
        if self.control.hides_local_epoch() { None } else { self.inner.epoch_if_local(log) }
    }

    async fn set_watermark(&self, log: &LogId, epoch: Epoch, at: Timestamp) -> Append {
        self.meet(Method::SetWatermark, self.inner.set_watermark(log, epoch, at)).await
    }

    async fn trim(&self, log: &LogId, epoch: Epoch, below: Seq) -> Append {
        self.meet(Method::Trim, self.inner.trim(log, epoch, below)).await
    }
}
