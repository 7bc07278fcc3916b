//! `outlast schema`.

use anyhow::{Context, Result, anyhow, bail};
use clap::Subcommand;
use config::StoreChoice;
use runtime::Runtime;
use storage_cql::CqlSettings;
use storage_cql::schema::{self, Applied, SchemaState};

use crate::configuration::Source;
use crate::say;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create the keyspace and its tables, or bring them to this release's version. Changes nothing if they are; may run
    /// in many places at once.
    Apply(Source),
    /// Say whether the tables are of this release's version; end with 1 if not.
    Check(Source),
}

pub(crate) fn run(command: &Command) -> Result<()> {
    let (Command::Apply(source) | Command::Check(source)) = command;
    let config = source.read()?;
    let StoreChoice::Cassandra(cassandra) = config.store.choice() else {
        bail!(
            "the store is {}, only store.cassandra has a schema to apply or check",
            store_name(&config.store.choice())
        );
    };
    let settings = server::cql_settings(cassandra);
    telemetry::init_logging(&config.log.level, crate::start::log_format(&config))?;
    let threads = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the threads")?;
    let runtime = Runtime::system();
    match command {
        Command::Apply(_) => threads.block_on(apply(&settings, &runtime)),
        Command::Check(_) => threads.block_on(check(&settings, &runtime)),
    }
}

async fn apply(settings: &CqlSettings, runtime: &Runtime) -> Result<()> {
    let keyspace = &settings.keyspace;
    // The text of why not holds those of its causes.
    let line = match schema::apply(settings, runtime).await.map_err(|error| anyhow!("{error}"))? {
        Applied::AlreadyCurrent => format!("keyspace {keyspace} has schema version {} already", schema::VERSION),
        Applied::Upgraded { from: 0, to } => format!("keyspace {keyspace} has schema version {to} now, its first"),
        Applied::Upgraded { from, to } => format!("keyspace {keyspace} has schema version {to} now, {from} before"),
    };
    say(std::io::stdout(), &line);
    Ok(())
}

async fn check(settings: &CqlSettings, runtime: &Runtime) -> Result<()> {
    let state = schema::check(settings, runtime).await.map_err(|error| anyhow!("{error}"))?;
    match state {
        SchemaState::Current => {
            say(std::io::stdout(), &state.to_string());
            Ok(())
        }
        SchemaState::Missing { .. } | SchemaState::Older { .. } | SchemaState::Newer { .. } => Err(anyhow!("{state}")),
    }
}

fn store_name(store: &StoreChoice<'_>) -> &'static str {
    match store {
        StoreChoice::Cassandra(_) => "cassandra",
        StoreChoice::Sqlite(_) => "sqlite",
        StoreChoice::Memory => "memory",
    }
}
