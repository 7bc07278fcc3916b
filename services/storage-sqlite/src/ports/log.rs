//! The log port.

use async_trait::async_trait;
use bytes::Bytes;
use ids::Timestamp;
use storage::{
    Append, Epoch, Group, GroupId, Head, Log, LogId, Opened, OwnerNonce, Reopen, Seq, StorageError, StorageResult,
};

use crate::command::{Command, OpenedHead, ReopenedHead};
use crate::error::unavailable;
use crate::reader::Request;
use crate::store::Shared;

impl Shared {
    async fn tail_of(&self, log: &LogId, opened: OpenedHead) -> StorageResult<Opened> {
        let OpenedHead { log_number, head } = opened;
        let (from, to) = (head.trimmed_below, head.last);
        let tail = self.request(|answer| Request::Groups { log: log.clone(), log_number, from, to, answer }).await?;
        if is_contiguous(&head, &tail) {
            Ok(Opened { head, tail })
        } else if self.epochs.of(log) != head.epoch {
            // The next owner may have trimmed what we were about to read.
            Err(unavailable(format!("log {} was opened again meanwhile", log.0)))
        } else {
            let found = tail.len();
            Err(StorageError::Corrupt(format!("log {} holds {found} groups from {} to {}", log.0, from.0, to.0)))
        }
    }
}

fn is_contiguous(head: &Head, tail: &[Group]) -> bool {
    let expected = head.trimmed_below.0..=head.last.0;
    tail.iter().map(|group| group.seq.0).eq(expected)
}

#[async_trait]
impl Log for Shared {
    async fn open(&self, log: &LogId, owner: OwnerNonce) -> StorageResult<Opened> {
        let opened = self.command(|answer| Command::Open { log: log.clone(), owner, answer }).await?;
        self.tail_of(log, opened).await
    }

    async fn reopen(&self, log: &LogId, epoch: Epoch, owner: OwnerNonce) -> StorageResult<Reopen> {
        match self.command(|answer| Command::Reopen { log: log.clone(), epoch, owner, answer }).await {
            Ok(ReopenedHead::Reopened(opened)) => Ok(Reopen::Reopened(self.tail_of(log, opened).await?)),
            Ok(ReopenedHead::Fenced) => Ok(Reopen::Fenced),
            Err(_) => Ok(Reopen::Unknown),
        }
    }

    async fn append(&self, log: &LogId, epoch: Epoch, seq: Seq, id: GroupId, bytes: Bytes) -> Append {
        let append = |answer| Command::Append { log: log.clone(), epoch, seq, id, bytes, answer };
        self.command(append).await.unwrap_or(Append::Unknown)
    }

    async fn epoch(&self, log: &LogId) -> StorageResult<Epoch> {
        Ok(self.epochs.of(log))
    }

    fn epoch_if_local(&self, log: &LogId) -> Option<Epoch> {
        Some(self.epochs.of(log))
    }

    async fn set_watermark(&self, log: &LogId, epoch: Epoch, at: Timestamp) -> Append {
        let set = |answer| Command::SetWatermark { log: log.clone(), epoch, at, answer };
        self.command(set).await.unwrap_or(Append::Unknown)
    }

    async fn trim(&self, log: &LogId, epoch: Epoch, below: Seq) -> Append {
        let trim = |answer| Command::Trim { log: log.clone(), epoch, below, answer };
        self.command(trim).await.unwrap_or(Append::Unknown)
    }
}
