//! Brings a keyspace to this release's version.
//!
//! Two nodes that create the same table at the same moment give it two identities, which Cassandra does not mend. So all
//! processes send their statements to one and the same node, which takes them one after another; a lease, held by
//! conditional writes, keeps later versions' changes from interleaving. Every statement can be repeated, so a process
//! that dies half-way leaves nothing that the next one cannot finish.

use std::sync::Arc;
use std::time::Duration;

use runtime::Runtime;
use scylla::client::execution_profile::ExecutionProfileHandle;
use scylla::client::session::Session;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::policies::load_balancing::{LoadBalancingPolicy, NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::statement::unprepared::Statement;
use scylla::statement::{Consistency, SerialConsistency};
use uuid::Uuid;

use super::{SchemaError, SchemaState, VERSION, failed, one, state, tables};
use crate::answer::{Answer, Verdict};
use crate::connect;
use crate::requests::Profiles;
use crate::settings::CqlSettings;

/// How long a process that died while applying keeps the others waiting, in seconds.
const LEASE_SECONDS: u32 = 120;
/// How often waiting processes check again.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// What [`apply`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Nothing: the schema was this release's already.
    AlreadyCurrent,
    /// It made or changed tables.
    Upgraded {
        /// The version before; 0 for none.
        from: i32,
        /// The version now.
        to: i32,
    },
}

/// Creates the keyspace and tables, or brings them to this release's version. Safe to repeat, and to run in many
/// processes at once.
///
/// # Errors
/// When the database cannot be reached or refuses, and when the schema is of a later release.
pub async fn apply(settings: &CqlSettings, runtime: &Runtime) -> Result<Applied, SchemaError> {
    let session = connect::session(settings, runtime).await?;
    let applier = Applier {
        profile: Profiles::schema(settings, one_node(&session, &settings.local_datacenter)?),
        session,
        settings,
        runtime,
        name: Uuid::from_u128(runtime.seed()),
    };
    applier.create_keyspace().await?;
    applier.change(&tables::versions(&settings.keyspace)).await?;
    if let SchemaState::Current = refuse_newer(state(&applier.session, settings).await?)? {
        return Ok(Applied::AlreadyCurrent);
    }
    applier.take_lease().await?;
    let applied = applier.upgrade().await;
    applier.leave_lease().await;
    applied
}

/// The node that every process with the same view chooses.
fn one_node(session: &Session, datacenter: &str) -> Result<Arc<dyn LoadBalancingPolicy>, SchemaError> {
    let nodes = session.get_cluster_state();
    let nearby = nodes
        .get_nodes_info()
        .iter()
        .filter(|node| node.datacenter.as_deref() == Some(datacenter) && node.is_connected());
    let chosen = nearby.min_by_key(|node| node.host_id).map(|node| NodeIdentifier::HostId(node.host_id));
    chosen
        .map(|node| SingleTargetLoadBalancingPolicy::new(node, None))
        .ok_or_else(|| failed("choosing a node", "no node of the local datacenter is connected"))
}

fn refuse_newer(state: SchemaState) -> Result<SchemaState, SchemaError> {
    match state {
        SchemaState::Newer { .. } => Err(SchemaError::Newer(state)),
        state => Ok(state),
    }
}

struct Applier<'a> {
    session: Session,
    profile: ExecutionProfileHandle,
    settings: &'a CqlSettings,
    runtime: &'a Runtime,
    /// The identity of this process.
    name: Uuid,
}

impl Applier<'_> {
    async fn create_keyspace(&self) -> Result<(), SchemaError> {
        let mut replication = self.settings.replication.clone();
        if replication.is_empty() {
            replication.insert(self.settings.local_datacenter.clone(), 3);
        }
        let mut options = "'class': 'NetworkTopologyStrategy'".to_owned();
        for (datacenter, factor) in replication {
            options.push_str(&format!(", '{}': {factor}", datacenter.replace('\'', "''")));
        }
        let keyspace = &self.settings.keyspace;
        let mut statement = format!("CREATE KEYSPACE IF NOT EXISTS {keyspace} WITH replication = {{{options}}}");
        if self.is_scylladb().await? {
            statement.push_str(&format!(" AND tablets = {{'enabled': {}}}", self.settings.tablets));
        }
        match self.change(&statement).await {
            // A role that may not create keyspaces may be given one.
            Err(denied @ SchemaError::Denied { .. }) => self.keyspace_exists().await?.then_some(()).ok_or(denied),
            changed => changed,
        }
    }

    async fn keyspace_exists(&self) -> Result<bool, SchemaError> {
        let keyspaces = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
        let values = (&self.settings.keyspace,);
        let found = one::<(String,)>(&self.session, self.settings, keyspaces, values, Consistency::LocalOne);
        Ok(found.await?.is_some())
    }

    async fn is_scylladb(&self) -> Result<bool, SchemaError> {
        let tables = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?";
        let values = ("system_schema", "scylla_tables");
        let found = one::<(String,)>(&self.session, self.settings, tables, values, Consistency::LocalOne);
        Ok(found.await?.is_some())
    }

    /// Changes the schema, and waits until all nodes know.
    async fn change(&self, cql: &str) -> Result<(), SchemaError> {
        let mut statement = Statement::new(cql);
        statement.set_execution_profile_handle(Some(self.profile.clone()));
        match self.session.query_unpaged(statement, ()).await {
            Ok(_) => {}
            // Another process was quicker, although the statement says IF NOT EXISTS.
            Err(ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::AlreadyExists { .. }, _))) => {}
            Err(ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Unauthorized, reason))) => {
                return Err(SchemaError::Denied { doing: cql.to_owned(), reason });
            }
            Err(error) => return Err(failed(cql, error)),
        }
        self.session.await_schema_agreement().await.map(drop).map_err(|error| failed(cql, error))
    }

    async fn take_lease(&self) -> Result<(), SchemaError> {
        let table = self.versions();
        let take = format!("UPDATE {table} USING TTL {LEASE_SECONDS} SET applier = ? WHERE id = ? IF applier = null");
        let began = self.runtime.now();
        loop {
            // An attempt whose outcome is unknown may have taken it: then the row has our name.
            if self.conditional(&take, (self.name, tables::ID)).await == Verdict::Applied || self.has_lease().await? {
                return Ok(());
            }
            let waited = self.runtime.now().since(began);
            if waited > Duration::from_secs(u64::from(LEASE_SECONDS) * 2) {
                let keyspace = self.settings.keyspace.clone();
                return Err(SchemaError::Busy { keyspace, waited_seconds: waited.as_secs() });
            }
            self.runtime.sleep(POLL_INTERVAL).await;
        }
    }

    async fn has_lease(&self) -> Result<bool, SchemaError> {
        let applier = format!("SELECT applier FROM {} WHERE id = ?", self.versions());
        let found =
            one::<(Option<Uuid>,)>(&self.session, self.settings, &applier, (tables::ID,), Consistency::LocalSerial);
        Ok(found.await?.is_some_and(|(applier,)| applier == Some(self.name)))
    }

    /// If this fails, the lease runs out by itself.
    async fn leave_lease(&self) {
        let leave = format!("UPDATE {} SET applier = null WHERE id = ? IF applier = ?", self.versions());
        if self.conditional(&leave, (tables::ID, self.name)).await != Verdict::Applied {
            tracing::debug!("the schema lease was not released and will expire");
        }
    }

    async fn upgrade(&self) -> Result<Applied, SchemaError> {
        let from = match refuse_newer(state(&self.session, self.settings).await?)? {
            SchemaState::Older { found, .. } => found,
            SchemaState::Missing { .. } => 0,
            SchemaState::Current | SchemaState::Newer { .. } => return Ok(Applied::AlreadyCurrent),
        };
        for version in from + 1..=VERSION {
            for statement in tables::steps_to(version, &self.settings.keyspace) {
                self.change(&statement).await?;
            }
            self.record(version).await?;
        }
        Ok(Applied::Upgraded { from, to: VERSION })
    }

    async fn record(&self, version: i32) -> Result<(), SchemaError> {
        let before = if version == 1 { "null".to_owned() } else { (version - 1).to_string() };
        let record = format!("UPDATE {} SET version = ? WHERE id = ? IF version = {before}", self.versions());
        if self.conditional(&record, (version, tables::ID)).await == Verdict::Applied {
            return Ok(());
        }
        // Unanswered or refused: another process whose lease we inherited may have come this far too.
        match state(&self.session, self.settings).await? {
            SchemaState::Missing { .. } => Err(failed("recording the schema version", "the database did not take it")),
            SchemaState::Older { found, .. } if found < version => {
                Err(failed("recording the schema version", "the database did not take it"))
            }
            _ => Ok(()),
        }
    }

    fn versions(&self) -> String {
        format!("{}.{}", self.settings.keyspace, tables::VERSIONS)
    }

    async fn conditional(&self, cql: &str, values: impl scylla::serialize::row::SerializeRow) -> Verdict {
        let mut statement = Statement::new(cql);
        statement.set_execution_profile_handle(Some(self.profile.clone()));
        statement.set_serial_consistency(Some(SerialConsistency::LocalSerial));
        statement.set_request_timeout(Some(self.settings.timeouts.conditional));
        match self.session.query_unpaged(statement, values).await {
            Ok(result) => Answer::read(result).map_or(Verdict::Unclear, |answer| answer.verdict()),
            Err(error) => {
                tracing::debug!(%error, "a schema version write has an unknown outcome");
                Verdict::Unclear
            }
        }
    }
}
