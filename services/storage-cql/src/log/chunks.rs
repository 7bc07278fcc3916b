//! Groups too large for a conditional write: their bytes lie beside the log, in chunks.
//!
//! A conditional write carries its content several times between the nodes, and all of it waits for the slowest. So
//! the bytes go first, by plain quorum writes, and the conditional write then only refers to them. Chunks lie in a
//! partition of the segment's name, and go when it is trimmed. Each attempt to append gives its chunks a new random name,
//! so whatever an earlier one left behind is not mixed with a later one's.

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use scylla::response::PagingState;
use storage::{LogId, StorageError, StorageResult};
use uuid::Uuid;

use super::CqlLog;
use crate::failure::Failure;
use crate::stats::Kind;

/// How many chunks of a group are written at once.
const IN_FLIGHT: usize = 4;

/// What a group's row says about the chunks that hold its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reference {
    /// The chunks' name.
    pub(super) beside: Uuid,
    pub(super) chunks: i32,
    pub(super) length: i64,
    /// That of the group, whose content this is.
    pub(super) checksum: i64,
}

impl Reference {
    fn to(content: &[u8], sum: u64, chunk_bytes: usize, beside: Uuid) -> Option<Self> {
        Some(Self {
            beside,
            chunks: i32::try_from(content.len().div_ceil(chunk_bytes)).ok()?,
            length: i64::try_from(content.len()).ok()?,
            checksum: sum.cast_signed(),
        })
    }
}

impl CqlLog {
    /// Writes the content of a group beside the log. Nothing refers to it yet. `sum` is the group's checksum.
    pub(super) async fn write_chunks(
        &self,
        log: &LogId,
        segment: Uuid,
        content: &Bytes,
        sum: u64,
    ) -> Result<Reference, Failure> {
        let size = self.limits.chunk_bytes;
        let reference = Reference::to(content, sum, size, self.new_name())
            .ok_or_else(|| Failure::Refused(format!("a group of {} bytes has too many chunks", content.len())))?;
        let name = self.names.log(log);
        let mut writes = Vec::new();
        for (number, chunk) in (0..reference.chunks).zip(content.chunks(size)) {
            let values = (&name, segment, reference.beside, number, chunk);
            writes.push(self.requests.write(Kind::ChunkWrite, &self.statements.write_chunk, values));
        }
        stream::iter(writes).buffer_unordered(IN_FLIGHT).try_collect::<()>().await?;
        Ok(reference)
    }

    /// Puts the content of a group together again. Its checksum is still to be checked.
    pub(super) async fn read_chunks(&self, log: &LogId, segment: Uuid, reference: Reference) -> StorageResult<Bytes> {
        let corrupt =
            |what: String| StorageError::Corrupt(format!("log {}, chunks {}: {what}", log.0, reference.beside));
        let name = self.names.log(log);
        let values = (&name, segment, reference.beside);
        let mut content = BytesMut::new();
        let mut expected = 0;
        let mut page = Some(PagingState::start());
        while let Some(from) = page {
            let (rows, next) =
                self.requests.page(&self.statements.read_chunks, values, from).await.map_err(Failure::of_read)?;
            for row in rows.rows::<(i32, &[u8])>().map_err(|error| corrupt(error.to_string()))? {
                let (number, chunk) = row.map_err(|error| corrupt(error.to_string()))?;
                if number != expected {
                    return Err(corrupt(format!("chunk {expected} is missing")));
                }
                content.extend_from_slice(chunk);
                expected += 1;
            }
            page = next;
        }
        if expected != reference.chunks || i64::try_from(content.len()) != Ok(reference.length) {
            let (length, chunks) = (content.len(), reference.chunks);
            return Err(corrupt(format!(
                "{expected} chunks of {length} bytes are there, {chunks} of {} were written",
                reference.length
            )));
        }
        Ok(content.freeze())
    }
}
