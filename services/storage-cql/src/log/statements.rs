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
    /// The conditional batch of an append.
    pub(super) append: Batch,
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
        let mut read_groups = read(format!(
            "SELECT seq, written_epoch, id, content, beside, chunks, length, checksum FROM {groups} \
             WHERE log = ? AND segment = ? AND seq >= ? AND seq <= ?"
        ))
        .await?;
        read_groups.set_page_size(GROUPS_IN_PAGE);
        let of_chunks = "log = ? AND segment = ? AND beside = ?";
        let mut read_chunks = read(format!("SELECT chunk, content FROM {chunks} WHERE {of_chunks}")).await?;
        read_chunks.set_page_size(CHUNKS_IN_PAGE);
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
            read_groups,
            append: Self::append(requests, &groups).await?,
            // Fixed timestamps: a chunk that arrives after its segment's deletion stays deleted.
            write_chunk: requests
                .prepare(
                    Kind::ChunkWrite,
                    &format!(
                        "INSERT INTO {chunks} (log, segment, beside, chunk, content) VALUES (?, ?, ?, ?, ?) \
                         USING TIMESTAMP 1"
                    ),
                )
                .await?,
            read_chunks,
            delete_segment: requests
                .prepare(Kind::PartitionDelete, &format!("DELETE FROM {groups} WHERE log = ? AND segment = ?"))
                .await?,
            delete_chunks: requests
                .prepare(
                    Kind::PartitionDelete,
                    &format!("DELETE FROM {chunks} USING TIMESTAMP 2 WHERE log = ? AND segment = ?"),
                )
                .await?,
        })
    }

    async fn append(requests: &Requests, groups: &str) -> Result<Batch, Failure> {
        let kind = Kind::ConditionalBatch;
        let position = requests
            .prepare(
                kind,
                &format!(
                    "UPDATE {groups} SET last_seq = ? WHERE log = ? AND segment = ? IF epoch = ? AND last_seq = ?"
                ),
            )
            .await?;
        let group = requests
            .prepare(
                kind,
                &format!(
                    "INSERT INTO {groups} (log, segment, seq, written_epoch, id, content, beside, chunks, length, checksum) \
                     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                ),
            )
            .await?;
        Ok(requests.batch(kind, [position, group]))
    }
}
