//! `outlast admin`: one function per command; how things are shown is in `show.rs`.

mod drain;
mod show;
mod store;

use std::path::PathBuf;
use std::time::Duration;

use admin::{AdminClient, AdminError, Sharded};
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand, ValueEnum};
use config::Span;
use runtime::Runtime;
use serde::Serialize;

use crate::say;

/// How long a node may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an answer may take that needs nothing but to be given.
const USUAL: Duration = Duration::from_secs(10);
/// A change of voters is tried for 25 s by the node that is called: a new one has to catch up first.
const VOTER_CHANGE: Duration = Duration::from_secs(40);
/// How long a node may take to hand its shards over. As long as that takes a process that stops.
const HAND_OVER: Duration = Duration::from_secs(60);
/// The node that is called waits for two minutes for each other one.
const FLUSH: Duration = Duration::from_secs(130);

/// Flags of all commands.
#[derive(Args)]
pub(crate) struct Flags {
    /// The internal address of any node: internal.advertise in its configuration.
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "OUTLAST_ADMIN_ADDRESS",
        default_value = "127.0.0.1:7240",
        global = true
    )]
    address: String,
    /// How long to wait for an answer [default: 10s; voters add and remove: 40s; drain --wait: 1m; flush: 2m10s].
    #[arg(long, value_name = "DURATION", global = true)]
    timeout: Option<Span>,
    /// How answers look.
    #[arg(long, value_enum, default_value_t = Output::Table, global = true)]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For machines: one JSON document.
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum Service {
    /// Workflows.
    History,
    /// Task queues.
    Matching,
}

#[derive(Subcommand)]
enum Command {
    /// Show nodes and voters.
    Members,
    /// Show which node should own which shards.
    Ring,
    /// Show shards: which nodes should own and which serve them, and their state.
    Shards {
        /// Only those of one service.
        #[arg(long, value_enum)]
        service: Option<Service>,
        /// Only those that their owner does not serve.
        #[arg(long)]
        unserved: bool,
        /// Only those that the called node serves.
        #[arg(long)]
        local: bool,
    },
    /// Have all shards written to their tables, while they go on serving.
    Flush {
        /// Only those that the called node serves.
        #[arg(long)]
        local: bool,
    },
    /// Give a shard to a node, whatever the ring would do by itself.
    MoveShard {
        /// Whose shard.
        #[arg(long, value_enum)]
        service: Service,
        /// Its number.
        #[arg(long)]
        shard: u32,
        /// The node that gets it.
        #[arg(long, value_name = "NODE", required_unless_present = "undo", conflicts_with = "undo")]
        to: Option<String>,
        /// Undo an earlier move of it.
        #[arg(long)]
        undo: bool,
    },
    /// Take all shards from a node. It stays a member, without shards, until it is stopped.
    Drain {
        /// Its node.id.
        node: String,
        /// Wait until it serves no shard any more, and those that it had are served elsewhere.
        #[arg(long)]
        wait: bool,
    },
    /// Show or change the voters.
    Voters {
        #[command(subcommand)]
        command: Option<VotersCommand>,
    },
    /// Hold everything that is stored against its checksums, and against what it should look like: in a file, beside the server
    /// that uses it or without one; or in the store of a running cluster, through one of its nodes.
    Verify {
        /// The file, as given to `server start-dev`.
        #[arg(long, short = 'f')]
        db_filename: Option<PathBuf>,
        /// How many partitions of a cluster's store to look at in a second: about one for each run and each workflow ID.
        #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
        per_second: u32,
    },
    #[command(flatten)]
    Store(store::StoreCommand),
    /// Look into workflows.
    Workflow {
        #[command(subcommand)]
        command: WorkflowCommand,
    },
}

#[derive(Subcommand)]
enum VotersCommand {
    /// Make a node of the role membership a voter.
    Add {
        /// Its node.id.
        id: String,
        /// Its internal.advertise.
        address: String,
    },
    /// Take a voter's vote.
    Remove {
        /// Its node.id.
        id: String,
    },
}

#[derive(Subcommand)]
enum WorkflowCommand {
    /// Print the state and the changes of a workflow as its owner has them.
    Dump {
        /// The id (not the name) of its namespace.
        #[arg(long)]
        namespace_id: String,
        /// Its id.
        #[arg(long)]
        workflow_id: String,
    },
}

/// Calls the node, and prints the answer. The commands about a file call no node.
pub(crate) fn run(flags: Flags) -> Result<()> {
    match &flags.command {
        Command::Store(command) => return store::run(command, flags.output),
        Command::Verify { db_filename: Some(file), per_second: _ } => return store::verify(file, flags.output),
        _ => {}
    }
    let threads = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the threads")?;
    threads.block_on(async move {
        let within = flags.timeout.map_or_else(|| default_timeout(&flags.command), |timeout| timeout.duration());
        let connecting = AdminClient::connect(&flags.address, within);
        let connected = Runtime::system().timeout(CONNECT_TIMEOUT, connecting).await;
        let node =
            connected.ok_or_else(|| anyhow!("nothing answers at {} within {CONNECT_TIMEOUT:?}", flags.address))?;
        Asking { node: node.map_err(refusal)?, output: flags.output, within }.run(flags.command).await
    })
}

/// The timeout without `--timeout`.
fn default_timeout(command: &Command) -> Duration {
    match command {
        Command::Voters { command: Some(VotersCommand::Add { .. } | VotersCommand::Remove { .. }) } => VOTER_CHANGE,
        Command::Drain { wait: true, .. } => HAND_OVER,
        Command::Flush { .. } | Command::Verify { .. } => FLUSH,
        Command::Voters { command: None }
        | Command::Drain { wait: false, .. }
        | Command::Members
        | Command::Ring
        | Command::Shards { .. }
        | Command::MoveShard { .. }
        | Command::Store(_)
        | Command::Workflow { .. } => USUAL,
    }
}

fn refusal(error: AdminError) -> anyhow::Error {
    anyhow!("{error}")
}

/// What a walk through a cluster's store has found.
#[derive(Default, Serialize)]
struct Found {
    partitions: u64,
    rows: u64,
    registry_entries: u64,
    problems: Vec<String>,
}

struct Asking {
    node: AdminClient,
    output: Output,
    within: Duration,
}

impl Asking {
    async fn run(mut self, command: Command) -> Result<()> {
        match command {
            Command::Members => {
                let members = self.node.members().await.map_err(refusal)?;
                self.print(&members, || show::members(&members))
            }
            Command::Ring => {
                let ring = self.node.ring().await.map_err(refusal)?;
                self.print(&ring, || show::ring(&ring))
            }
            Command::Shards { service, unserved, local } => self.shards(service.map(sharded), unserved, local).await,
            Command::Flush { local } => self.flush(local).await,
            Command::MoveShard { service, shard, to, undo: _ } => {
                let version = self.node.move_shard(sharded(service), shard, to).await.map_err(refusal)?;
                self.print_version(version)
            }
            Command::Drain { node, wait } => self.drain(node, wait).await,
            Command::Voters { command } => self.voters(command).await,
            Command::Store(command) => store::run(&command, self.output),
            Command::Verify { db_filename: _, per_second } => self.verify(per_second).await,
            Command::Workflow { command: WorkflowCommand::Dump { namespace_id, workflow_id } } => {
                let dump = self.node.dump_workflow(namespace_id, workflow_id).await.map_err(refusal)?;
                self.print(&dump, || dump.clone())
            }
        }
    }

    async fn shards(&mut self, service: Option<Sharded>, unserved: bool, local: bool) -> Result<()> {
        let mut rows = self.node.shards(service, local).await.map_err(refusal)?;
        if unserved {
            let served: Vec<_> =
                rows.shards.iter().filter(|row| row.is_served()).map(|row| (row.service, row.shard)).collect();
            rows.shards.retain(|row| !served.contains(&(row.service, row.shard)));
        }
        self.print(&rows, || show::shards(&rows))
    }

    async fn flush(&mut self, local: bool) -> Result<()> {
        let flushed = self.node.flush(local).await.map_err(refusal)?;
        self.print(&flushed, || show::flushed(&flushed))?;
        if flushed.unreachable.is_empty() {
            Ok(())
        } else {
            bail!("not every node has written its shards to their tables")
        }
    }

    /// Goes through the store, page by page, no faster than asked for.
    async fn verify(&mut self, per_second: u32) -> Result<()> {
        // What only logs have yet, because it is new or could not be written before, is checked in the tables.
        let flushed = self.node.flush(false).await.map_err(refusal)?;
        if !flushed.unreachable.is_empty() {
            show::flushed(&flushed).lines().for_each(|line| say(std::io::stderr(), line));
            bail!("not every node has written its shards to their tables, so their rows cannot be checked");
        }
        let (mut found, mut from) = (Found::default(), None);
        loop {
            let page = self.node.verify(from).await.map_err(refusal)?;
            found.partitions += page.partitions;
            found.rows += page.rows;
            found.registry_entries += page.entries;
            found.problems.extend(page.problems);
            from = page.next;
            if from.is_none() {
                break;
            }
            Runtime::system().sleep(Duration::from_secs(1) * page.partitions as u32 / per_second).await;
        }
        self.print(&found, || show::found(&found))?;
        match found.problems.len() {
            0 => Ok(()),
            problems => bail!("the store is damaged: {problems} problems"),
        }
    }

    async fn drain(&mut self, node: String, wait: bool) -> Result<()> {
        let version = match wait {
            false => self.node.drain(node).await.map_err(refusal)?,
            true => {
                let asked = self.node.clone();
                let look = async || asked.clone().shards(None, false).await;
                let begin = self.node.drain(node.clone());
                drain::and_wait(&node, begin, look, self.within, &Runtime::system()).await?
            }
        };
        self.print_version(version)
    }

    async fn voters(&mut self, command: Option<VotersCommand>) -> Result<()> {
        let voters = match command {
            None => {
                let members = self.node.members().await.map_err(refusal)?;
                if let Some(why) = members.leader_unreachable {
                    bail!("{why}");
                }
                members.voters
            }
            Some(VotersCommand::Add { id, address }) => self.node.add_voter(id, address).await.map_err(refusal)?,
            Some(VotersCommand::Remove { id }) => self.node.remove_voter(id).await.map_err(refusal)?,
        };
        self.print(&voters, || show::voters(&voters))
    }

    fn print_version(&self, ring_version: u64) -> Result<()> {
        #[derive(Serialize)]
        struct Changed {
            ring_version: u64,
        }
        self.print(&Changed { ring_version }, || format!("done, in ring version {ring_version}"))
    }

    fn print(&self, value: &impl Serialize, table: impl FnOnce() -> String) -> Result<()> {
        let text = match self.output {
            Output::Table => table(),
            Output::Json => serde_json::to_string_pretty(value).context("write the answer as JSON")?,
        };
        say(std::io::stdout(), text.trim_end());
        Ok(())
    }
}

fn sharded(service: Service) -> Sharded {
    match service {
        Service::History => Sharded::History,
        Service::Matching => Sharded::Matching,
    }
}
