//! The tables, in versions.
//!
//! [`apply()`] brings a keyspace to this release's version and may run in ten processes at once; [`check`] only looks. A
//! version is never taken back: an older release refuses a newer schema.

mod apply;
pub(crate) mod tables;

use std::fmt;

use runtime::Runtime;
use scylla::client::session::Session;
use scylla::errors::ExecutionError;
use scylla::statement::Consistency;
use scylla::statement::unprepared::Statement;

use crate::connect::{self, ConnectError};
use crate::settings::CqlSettings;

pub use apply::{Applied, apply};

/// The version of the tables that this release uses.
pub const VERSION: i32 = 1;

/// What tables a keyspace has, seen from this release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaState {
    /// No tables, or only some of the first version's.
    Missing {
        /// The keyspace.
        keyspace: String,
    },
    /// Those of an earlier release.
    Older {
        /// The keyspace.
        keyspace: String,
        /// Their version.
        found: i32,
    },
    /// This release's.
    Current,
    /// Those of a later release.
    Newer {
        /// The keyspace.
        keyspace: String,
        /// Their version.
        found: i32,
    },
}

impl fmt::Display for SchemaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const RUN: &str = "run `outlast schema apply --config …`";
        match self {
            Self::Missing { keyspace } => write!(f, "keyspace {keyspace} has no schema: {RUN}"),
            Self::Older { keyspace, found } => {
                write!(f, "schema version {found} of keyspace {keyspace} is older than this release's {VERSION}: {RUN}")
            }
            Self::Current => write!(f, "schema version {VERSION} is this release's"),
            Self::Newer { keyspace, found } => write!(
                f,
                "schema version {found} of keyspace {keyspace} is newer than this release's {VERSION}: \
                 use the release that applied it, or a later one"
            ),
        }
    }
}

/// Why a schema could not be applied or checked.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// No session.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The schema is of a later release, and stays so.
    #[error("{0}")]
    Newer(SchemaState),
    /// Another process held the schema for too long.
    #[error("another process is changing the schema of keyspace {keyspace} for more than {waited_seconds} s now")]
    Busy {
        /// The keyspace.
        keyspace: String,
        /// How long we waited.
        waited_seconds: u64,
    },
    /// The role that we log in as lacks a right.
    #[error("{doing}: {reason}: grant it to the role that username names")]
    Denied {
        /// What was being done.
        doing: String,
        /// The database's message.
        reason: String,
    },
    /// A statement failed.
    #[error("{doing}: {reason}")]
    Failed {
        /// What was being done.
        doing: String,
        /// The database's message.
        reason: String,
    },
}

pub(crate) fn failed(doing: &str, reason: impl fmt::Display) -> SchemaError {
    SchemaError::Failed { doing: doing.to_owned(), reason: reason.to_string() }
}

/// Looks at which tables the keyspace of `settings` has. Changes nothing.
///
/// # Errors
/// When the database cannot be queried.
pub async fn check(settings: &CqlSettings, runtime: &Runtime) -> Result<SchemaState, SchemaError> {
    let session = connect::session(settings, runtime).await?;
    state(&session, settings).await
}

pub(crate) async fn state(session: &Session, settings: &CqlSettings) -> Result<SchemaState, SchemaError> {
    let keyspace = settings.keyspace.clone();
    let tables = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?";
    let found = one::<(String,)>(session, settings, tables, (&keyspace, tables::VERSIONS), Consistency::LocalOne);
    if found.await?.is_none() {
        return Ok(SchemaState::Missing { keyspace });
    }
    let version = format!("SELECT version FROM {keyspace}.{} WHERE id = ?", tables::VERSIONS);
    let found = one::<(Option<i32>,)>(session, settings, &version, (tables::ID,), Consistency::LocalSerial).await?;
    Ok(match found.and_then(|(version,)| version).unwrap_or(0) {
        0 => SchemaState::Missing { keyspace },
        VERSION => SchemaState::Current,
        found if found < VERSION => SchemaState::Older { keyspace, found },
        found => SchemaState::Newer { keyspace, found },
    })
}

async fn one<Row>(
    session: &Session,
    settings: &CqlSettings,
    cql: &str,
    values: impl scylla::serialize::row::SerializeRow,
    consistency: Consistency,
) -> Result<Option<Row>, SchemaError>
where
    Row: for<'frame, 'metadata> scylla::deserialize::row::DeserializeRow<'frame, 'metadata>,
{
    let failed = |reason: &dyn fmt::Display| failed("reading the schema version", reason);
    let mut statement = Statement::new(cql);
    statement.set_consistency(consistency);
    statement.set_request_timeout(Some(settings.timeouts.read));
    let result = session.query_unpaged(statement, values).await.map_err(|error: ExecutionError| failed(&error))?;
    let result = result.into_rows_result().map_err(|error| failed(&error))?;
    result.maybe_first_row().map_err(|error| failed(&error))
}
