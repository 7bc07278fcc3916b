//! The statements of the log port.

use scylla::statement::batch::Batch;
use scylla::statement::prepared::PreparedStatement;

use crate::failure::Failure;
use crate::requests::Requests;
use crate::stats::Kind;

pub(super) struct Statements {
    pub(super) read_head: PreparedStatement,
    pub(super) read_epoch: PreparedStatement,
    pub(super) create_head: PreparedStatement,
    pub(super) raise_head: PreparedStatement,
    pub(super) move_head: PreparedStatement,
    pub(super) trim_head: PreparedStatement,
    pub(super) move_watermark: PreparedStatement,
    pub(super) create_segment: PreparedStatement,
    pub(super) raise_segment: PreparedStatement,
    pub(super) read_segment: PreparedStatement,
    pub(super) read_segment_serially: PreparedStatement,
    pub(super) read_groups: PreparedStatement,
    /// The conditional batch of an append, with the content in the row.
    pub(super) append_inline: Batch,
    /// The same with the content beside the log. Another statement, since a column that is set to null is a tombstone.
    pub(super) append_beside: Batch,
    pub(super) write_chunk: PreparedStatement,
    pub(super) read_chunks: PreparedStatement,
    pub(super) delete_segment: PreparedStatement,
    pub(super) delete_chunks: PreparedStatement,
}

/// How many groups a page of the tail has: none is larger than what is kept inline.
const GROUPS_IN_PAGE: i32 = 64;
/// How many chunks a page has.
const CHUNKS_IN_PAGE: i32 = 16;

impl Statements {
    pub(super) async fn prepare(requests: &Requests, keyspace: &str) -> Result<Self, Failure> {
        let (heads, groups, chunks) =
            (format!("{keyspace}.log_heads"), format!("{keyspace}.log_groups"), format!("{keyspace}.log_chunks"));
        let conditional = async |cql: String| requests.prepare(Kind::ConditionalUpdate, &cql).await;
        let read = async |cql: String| requests.prepare(Kind::Read, &cql).await;
        let fields = "datacenter, epoch, owner, reopened_from, segment, trimmed_below, watermark";
        let statics =
            format!("SELECT epoch, last_seq, first_seq, previous FROM {groups} WHERE log = ? AND segment = ? LIMIT 1");
        Ok(Self {
            read_head: requests
                .prepare(Kind::SerialRead, &format!("SELECT {fields} FROM {heads} WHERE log = ?"))
                .await?,
            read_epoch: read(format!("SELECT epoch FROM {heads} WHERE log = ?")).await?,
            create_head: conditional(format!(
                "INSERT INTO {heads} (log, {fields}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS"
            ))
            .await?,
            raise_head: conditional(format!(
                "UPDATE {heads} SET epoch = ?, owner = ?, reopened_from = ? WHERE log = ? \
                 IF datacenter = ? AND epoch = ? AND owner = ? AND reopened_from = ? AND segment = ? \
                 AND trimmed_below = ? AND watermark = ?"
            ))
            .await?,
            move_head: conditional(format!(
                "UPDATE {heads} SET segment = ? WHERE log = ? IF epoch = ? AND segment = ?"
            ))
            .await?,
            trim_head: conditional(format!(
                "UPDATE {heads} SET trimmed_below = ? WHERE log = ? IF epoch = ? AND trimmed_below < ?"
            ))
            .await?,
            move_watermark: conditional(format!(
                "UPDATE {heads} SET watermark = ? WHERE log = ? IF epoch = ? AND watermark < ?"
            ))
            .await?,
            create_segment: conditional(format!(
                "UPDATE {groups} SET epoch = ?, last_seq = ?, first_seq = ?, previous = ? \
                 WHERE log = ? AND segment = ? IF epoch = null"
            ))
            .await?,
            raise_segment: conditional(format!(
                "UPDATE {groups} SET epoch = ? WHERE log = ? AND segment = ? IF epoch < ?"
            ))
            .await?,
            read_segment: read(statics.clone()).await?,
            read_segment_serially: requests.prepare(Kind::SerialRead, &statics).await?,
            read_groups: Self::read_groups(requests, &groups).await?,
            append_inline: Self::append(requests, &groups, &["content"]).await?,
            append_beside: Self::append(requests, &groups, &["beside", "chunks", "length", "checksum"]).await?,
            write_chunk: Self::write_chunk(requests, &chunks).await?,
            read_chunks: Self::read_chunks(requests, &chunks).await?,
            delete_segment: Self::delete(requests, &groups, "").await?,
            // Above the timestamp of chunks, below any other.
            delete_chunks: Self::delete(requests, &chunks, "USING TIMESTAMP 2").await?,
        })
    }

    async fn read_groups(requests: &Requests, groups: &str) -> Result<PreparedStatement, Failure> {
        let cql = format!(
            "SELECT seq, written_epoch, id, content, beside, chunks, length, checksum FROM {groups} \
             WHERE log = ? AND segment = ? AND seq >= ? AND seq <= ?"
        );
        let mut statement = requests.prepare(Kind::Read, &cql).await?;
        statement.set_page_size(GROUPS_IN_PAGE);
        Ok(statement)
    }

    async fn read_chunks(requests: &Requests, chunks: &str) -> Result<PreparedStatement, Failure> {
        let cql = format!("SELECT chunk, content FROM {chunks} WHERE log = ? AND segment = ? AND beside = ?");
        let mut statement = requests.prepare(Kind::Read, &cql).await?;
        statement.set_page_size(CHUNKS_IN_PAGE);
        Ok(statement)
    }

    /// At a fixed timestamp: a chunk that arrives after its segment's deletion stays deleted.
    async fn write_chunk(requests: &Requests, chunks: &str) -> Result<PreparedStatement, Failure> {
        let cql = format!(
            "INSERT INTO {chunks} (log, segment, beside, chunk, content) VALUES (?, ?, ?, ?, ?) USING TIMESTAMP 1"
        );
        requests.prepare(Kind::ChunkWrite, &cql).await
    }

    async fn delete(requests: &Requests, table: &str, at: &str) -> Result<PreparedStatement, Failure> {
        let cql = format!("DELETE FROM {table} {at} WHERE log = ? AND segment = ?");
        requests.prepare(Kind::PartitionDelete, &cql).await
    }

    async fn append(requests: &Requests, groups: &str, content: &[&str]) -> Result<Batch, Failure> {
        let kind = Kind::ConditionalBatch;
        let position =
            format!("UPDATE {groups} SET last_seq = ? WHERE log = ? AND segment = ? IF epoch = ? AND last_seq = ?");
        let (columns, values) = (content.join(", "), ["?"].repeat(content.len()).join(", "));
        let group = format!(
            "INSERT INTO {groups} (log, segment, seq, written_epoch, id, {columns}) VALUES (?, ?, ?, ?, ?, {values})"
        );
        let statements = [requests.prepare(kind, &position).await?, requests.prepare(kind, &group).await?];
        Ok(requests.batch(kind, statements))
    }
}
