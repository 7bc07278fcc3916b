//! The statements that make the tables. Names of columns are never reused: the timestamps of table rows lie before any
//! time at which a column could have been dropped, so the database would take them for rows of the dropped one.

/// The table that says which version the others have.
pub(super) const VERSIONS: &str = "outlast_schema";
/// The key of its only row.
pub(super) const ID: &str = "tables";

/// Tables that only conditional writes touch: a lost tombstone there would take a fence away.
pub(crate) const FENCED: &[&str] = &["log_heads", "log_groups", "registry_entries"];
/// All tables whose content must not be lost.
pub(crate) const ALL: &[&str] = &["log_heads", "log_groups", "log_chunks", "registry_entries", "table_rows"];

/// How long a tombstone is kept at least, in seconds: longer than a node may be down before it is repaired. The
/// default of both databases.
pub(crate) const TOMBSTONE_SECONDS: i32 = 864_000;

/// What makes the table of versions.
pub(super) fn versions(keyspace: &str) -> String {
    format!("CREATE TABLE IF NOT EXISTS {keyspace}.{VERSIONS} (id text PRIMARY KEY, version int, applier uuid)")
}

/// What leads from the version before to this one. Each statement can be repeated.
pub(super) fn steps_to(version: i32, keyspace: &str) -> Vec<String> {
    match version {
        1 => first(keyspace),
        _ => Vec::new(),
    }
}

fn first(keyspace: &str) -> Vec<String> {
    let table = |columns: &str| {
        format!("CREATE TABLE IF NOT EXISTS {keyspace}.{columns} WITH gc_grace_seconds = {TOMBSTONE_SECONDS}")
    };
    vec![
        table(
            "log_heads (log text PRIMARY KEY, datacenter text, epoch bigint, owner uuid, reopened_from bigint, \
             segment uuid, trimmed_below bigint, watermark bigint)",
        ),
        table(
            "log_groups (log text, segment uuid, seq bigint, \
             epoch bigint static, last_seq bigint static, first_seq bigint static, previous uuid static, \
             written_epoch bigint, id uuid, content blob, beside uuid, chunks int, length bigint, checksum bigint, \
             PRIMARY KEY ((log, segment), seq))",
        ),
        table(
            "log_chunks (log text, segment uuid, beside uuid, chunk int, content blob, \
             PRIMARY KEY ((log, segment), beside, chunk))",
        ),
        table("table_rows (partition_key blob, row_key blob, content blob, PRIMARY KEY (partition_key, row_key))"),
        table(
            "registry_entries (registry text, key text, change uuid static, version bigint, content blob, \
             PRIMARY KEY (registry, key))",
        ),
    ]
}
