//! What about a keyspace could lose acknowledged writes.

use std::collections::{BTreeMap, HashMap};

use scylla::client::session::Session;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::statement::unprepared::Statement;
use scylla::statement::{Consistency, SerialConsistency};
use scylla::value::{CqlValue, Row};
use uuid::Uuid;

use crate::connect::ConnectError;
use crate::schema::tables::{ALL, FENCED, TOMBSTONE_SECONDS};
use crate::settings::CqlSettings;

/// Refuses a keyspace that is not safe, and warns of one that has few replicas.
pub(crate) async fn verify(session: &Session, settings: &CqlSettings) -> Result<(), ConnectError> {
    let keyspaces = "SELECT * FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let tables = "SELECT * FROM system_schema.tables WHERE keyspace_name = ?";
    let keyspace = rows(session, settings, keyspaces).await?.pop().unwrap_or_default();
    let tables = rows(session, settings, tables).await?;
    let mut findings = of_keyspace(&keyspace, settings);
    findings.extend(tables.iter().flat_map(of_table));
    findings.extend(missing_tables(&tables));
    log_paxos_variant(session, settings).await;
    if findings.is_empty() {
        return Ok(());
    }
    Err(ConnectError::Unsafe { keyspace: settings.keyspace.clone(), findings })
}

/// Logs which Paxos Cassandra runs. Both are right; version 1 may lose linearizability while nodes join or leave, and
/// takes more round trips.
async fn log_paxos_variant(session: &Session, settings: &CqlSettings) {
    let mut statement = Statement::new("SELECT value FROM system_views.settings WHERE name = 'paxos_variant'");
    statement.set_consistency(Consistency::LocalOne);
    statement.set_request_timeout(Some(settings.timeouts.read));
    let result = match session.query_unpaged(statement, ()).await {
        Ok(result) => result,
        Err(ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Unauthorized, _))) => {
            tracing::warn!(
                "the database role may not see which Paxos variant is in use: GRANT SELECT ON system_views.settings"
            );
            return;
        }
        // ScyllaDB has neither the table nor the choice.
        Err(_) => return,
    };
    let Ok(result) = result.into_rows_result() else { return };
    match result.maybe_first_row::<(Option<String>,)>() {
        Ok(Some((Some(variant),))) if variant.eq_ignore_ascii_case("v1") => tracing::warn!(
            paxos_variant = %variant,
            "Paxos v1 may lose a fence while nodes join or leave: set paxos_variant: v2 on every node, then repair"
        ),
        Ok(Some((Some(variant),))) => tracing::info!(paxos_variant = %variant, "connected to Cassandra"),
        _ => {}
    }
}

/// Refuses a role that may not write, by a conditional write that cannot apply. Any other failure is left to
/// the writes that matter.
pub(crate) async fn may_write(session: &Session, settings: &CqlSettings, unused: Uuid) -> Result<(), ConnectError> {
    let table = format!("{}.registry_entries", settings.keyspace);
    let cql = format!("UPDATE {table} SET content = null WHERE registry = 'none' AND key = ? IF version = -1");
    let mut statement = Statement::new(cql);
    statement.set_consistency(Consistency::LocalQuorum);
    statement.set_serial_consistency(Some(SerialConsistency::LocalSerial));
    statement.set_request_timeout(Some(settings.timeouts.conditional));
    match session.query_unpaged(statement, (unused.to_string(),)).await {
        Err(ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Unauthorized, reason))) => {
            Err(ConnectError::Failed(format!("{reason}: grant it to the role that username names")))
        }
        _ => Ok(()),
    }
}

/// A row of a system table, by column name. Which columns there are depends on the database.
type SystemRow = HashMap<String, CqlValue>;

async fn rows(session: &Session, settings: &CqlSettings, cql: &str) -> Result<Vec<SystemRow>, ConnectError> {
    let failed = |error: &dyn std::fmt::Display| ConnectError::Failed(format!("{cql}: {error}"));
    let mut statement = Statement::new(cql);
    statement.set_consistency(Consistency::LocalOne);
    statement.set_request_timeout(Some(settings.timeouts.read));
    let result = session.query_unpaged(statement, (&settings.keyspace,)).await.map_err(|error| failed(&error))?;
    let result = result.into_rows_result().map_err(|error| failed(&error))?;
    let names: Vec<String> = result.column_specs().iter().map(|column| column.name().to_owned()).collect();
    let mut found = Vec::new();
    for row in result.rows::<Row>().map_err(|error| failed(&error))? {
        let columns = row.map_err(|error| failed(&error))?.columns;
        let named = names.iter().cloned().zip(columns);
        found.push(named.filter_map(|(name, value)| Some((name, value?))).collect());
    }
    Ok(found)
}

fn of_keyspace(keyspace: &SystemRow, settings: &CqlSettings) -> Vec<String> {
    let mut findings = Vec::new();
    let (name, local) = (&settings.keyspace, &settings.local_datacenter);
    if keyspace.get("durable_writes") == Some(&CqlValue::Boolean(false)) {
        findings.push(format!(
            "durable_writes is off, so nothing survives a restart of the database: \
             ALTER KEYSPACE {name} WITH durable_writes = true"
        ));
    }
    let (strategy, factors) = replication(keyspace);
    if !strategy.ends_with("NetworkTopologyStrategy") {
        findings.push(format!("replication is {strategy}, which knows no datacentres: use NetworkTopologyStrategy"));
        return findings;
    }
    match factors.get(local) {
        None | Some(0) => findings.push(format!("datacenter {local} has no replicas: add it to the replication")),
        Some(factor @ 1..=2) => tracing::warn!(
            datacenter = %local, factor,
            "few replicas: one lost node loses data (1 replica) or stops the service (2)"
        ),
        Some(_) => {}
    }
    if !settings.replication.is_empty() && settings.replication != factors {
        let (found, wanted) = (listed(&factors), listed(&settings.replication));
        findings.push(format!(
            "replication is {found}, the settings say {wanted}: change the settings, or ALTER KEYSPACE {name} and repair"
        ));
    }
    findings
}

fn listed(factors: &BTreeMap<String, u32>) -> String {
    factors.iter().map(|(datacenter, factor)| format!("{datacenter}: {factor}")).collect::<Vec<_>>().join(", ")
}

fn replication(keyspace: &SystemRow) -> (String, BTreeMap<String, u32>) {
    let (mut strategy, mut factors) = (String::new(), BTreeMap::new());
    let options = match keyspace.get("replication") {
        Some(CqlValue::Map(options)) => options.as_slice(),
        _ => &[],
    };
    for (option, value) in options {
        let (Some(option), Some(value)) = (option.as_text(), value.as_text()) else { continue };
        if option == "class" {
            strategy.clone_from(value);
        } else if let Ok(factor) = value.parse() {
            factors.insert(option.clone(), factor);
        } else if let Some(Ok(factor)) = value.split('/').next().map(str::parse) {
            // Transient replicas, as in 3/1.
            factors.insert(option.clone(), factor);
        }
    }
    (strategy, factors)
}

fn of_table(table: &SystemRow) -> Vec<String> {
    let mut findings = Vec::new();
    let Some(name) = table.get("table_name").and_then(CqlValue::as_text) else { return findings };
    let grace = table.get("gc_grace_seconds").and_then(CqlValue::as_int);
    if FENCED.contains(&name.as_str())
        && let Some(grace) = grace
        && grace < TOMBSTONE_SECONDS
    {
        findings.push(format!(
            "gc_grace_seconds of {name} is {grace}, so that a returning node could bring back what was deleted: \
             set it to at least {TOMBSTONE_SECONDS}"
        ));
    }
    // Only Cassandra has this option; ScyllaDB always repairs what it reads.
    if ALL.contains(&name.as_str())
        && let Some(CqlValue::Text(repair)) = table.get("read_repair")
        && !repair.eq_ignore_ascii_case("blocking")
    {
        findings.push(format!(
            "read_repair of {name} is {repair}, so that a row once read could be gone at the next read: \
             set it to 'BLOCKING'"
        ));
    }
    findings
}

fn missing_tables(tables: &[SystemRow]) -> Vec<String> {
    let has = |name: &str| {
        tables.iter().any(|row| row.get("table_name").and_then(CqlValue::as_text).is_some_and(|found| found == name))
    };
    ALL.iter()
        .filter(|name| !has(name))
        .map(|name| format!("table {name} is missing, although the schema version says it is there"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> CqlValue {
        CqlValue::Text(text.to_owned())
    }

    fn keyspace(options: &[(&str, &str)]) -> SystemRow {
        let options = options.iter().map(|(option, value)| (text(option), text(value))).collect();
        HashMap::from([("replication".to_owned(), CqlValue::Map(options))])
    }

    const TOPOLOGY: (&str, &str) = ("class", "org.apache.cassandra.locator.NetworkTopologyStrategy");

    #[test]
    fn keyspaces_that_could_lose_writes_are_found() {
        let settings = CqlSettings::default();
        let expecting_three =
            CqlSettings { replication: [("datacenter1".to_owned(), 3)].into(), ..CqlSettings::default() };
        let simple = ("class", "org.apache.cassandra.locator.SimpleStrategy");
        let cases = [
            (keyspace(&[TOPOLOGY, ("datacenter1", "3")]), &settings, 0),
            (keyspace(&[TOPOLOGY, ("datacenter1", "1")]), &settings, 0),
            (keyspace(&[TOPOLOGY, ("datacenter1", "3/1")]), &expecting_three, 0),
            (keyspace(&[TOPOLOGY, ("elsewhere", "3")]), &settings, 1),
            (keyspace(&[simple, ("replication_factor", "3")]), &settings, 1),
            (keyspace(&[TOPOLOGY, ("datacenter1", "2")]), &expecting_three, 1),
            (keyspace(&[TOPOLOGY, ("datacenter1", "3"), ("elsewhere", "3")]), &expecting_three, 1),
            (SystemRow::new(), &settings, 1),
        ];
        for (keyspace, settings, expected) in cases {
            let findings = of_keyspace(&keyspace, settings);
            assert_eq!(findings.len(), expected, "{keyspace:?}: {findings:?}");
        }
        let mut forgetful = keyspace(&[TOPOLOGY, ("datacenter1", "3")]);
        forgetful.insert("durable_writes".to_owned(), CqlValue::Boolean(false));
        assert!(of_keyspace(&forgetful, &settings)[0].contains("durable_writes = true"));
    }

    #[test]
    fn tables_that_could_lose_writes_are_found() {
        let table = |name: &str, grace, repair: Option<&str>| {
            let mut row = SystemRow::from([
                ("table_name".to_owned(), text(name)),
                ("gc_grace_seconds".to_owned(), CqlValue::Int(grace)),
            ]);
            row.extend(repair.map(|repair| ("read_repair".to_owned(), text(repair))));
            row
        };
        let cases = [
            (table("log_groups", 864_000, Some("BLOCKING")), 0),
            (table("log_groups", 864_000, None), 0),
            (table("log_groups", 3600, None), 1),
            (table("table_rows", 3600, None), 0),
            (table("table_rows", 864_000, Some("NONE")), 1),
            (table("log_heads", 0, Some("NONE")), 2),
            (table("of_another_program", 0, Some("NONE")), 0),
        ];
        for (row, expected) in cases {
            assert_eq!(of_table(&row).len(), expected, "{row:?}");
        }
    }
}
