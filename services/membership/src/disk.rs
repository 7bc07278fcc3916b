//! A voter's file: one redb database, written by one thread in the order of requests.
//!
//! All that wait are committed together with one fsync. After the first error nothing is written any more, and every
//! request is answered with that error: what is on disk then is a prefix of what was asked for.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::mpsc;

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use tokio::sync::oneshot;

/// Small things by name.
const FACTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("facts");
/// The Raft log: JSON by index.
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
/// The identity under which each voter was met first.
const PEERS: TableDefinition<'_, &str, &str> = TableDefinition::new("peers");

/// Written into every file; a release refuses a number that it does not know.
const FORMAT: &[u8] = b"1";

/// What a fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// The number of the format.
    Format,
    /// The voter's node name.
    Node,
    /// Drawn when the file was made.
    Uuid,
    /// The cluster it belongs to.
    ClusterId,
    /// Raft's vote.
    Vote,
    /// The last entry known to be committed.
    Committed,
    /// The last entry that was dropped.
    Purged,
    /// The newest snapshot.
    Snapshot,
}

impl Fact {
    fn key(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::Node => "node",
            Self::Uuid => "uuid",
            Self::ClusterId => "cluster_id",
            Self::Vote => "vote",
            Self::Committed => "committed",
            Self::Purged => "purged",
            Self::Snapshot => "snapshot",
        }
    }
}

/// One change to the file.
#[derive(Debug)]
pub(crate) enum Write {
    /// Sets a fact.
    Fact(Fact, Vec<u8>),
    /// Adds log entries, by index.
    Append(Vec<(u64, Vec<u8>)>),
    /// Drops log entries from this index on.
    Truncate(u64),
    /// Drops log entries up to and with this index.
    Purge(u64),
    /// Sets or forgets the identity of a peer.
    Peer(String, Option<String>),
}

struct Request {
    writes: Vec<Write>,
    /// Whether the answer waits for an fsync.
    synced: bool,
    done: Box<dyn FnOnce(io::Result<()>) + Send>,
}

/// The file, to write to. Cheap to clone; the file closes when the last clone is dropped.
#[derive(Clone)]
pub(crate) struct Disk {
    requests: mpsc::Sender<Request>,
}

/// What a file holds when it is opened.
#[derive(Default)]
pub(crate) struct Contents {
    facts: BTreeMap<String, Vec<u8>>,
    /// The log.
    pub(crate) log: BTreeMap<u64, Vec<u8>>,
    /// Identities of peers.
    pub(crate) peers: BTreeMap<String, String>,
}

impl Contents {
    pub(crate) fn fact(&self, fact: Fact) -> Option<&[u8]> {
        self.facts.get(fact.key()).map(Vec::as_slice)
    }

    pub(crate) fn text(&self, fact: Fact) -> Option<String> {
        self.fact(fact).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

/// Why a voter's file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    /// Another process has it open.
    #[error("it is in use by another process")]
    InUse,
    /// A later release wrote it.
    #[error("it is of format {0:?}, this release reads {known:?}", known = "1")]
    Format(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

fn failed(error: impl Into<redb::Error>) -> DiskError {
    match error.into() {
        redb::Error::DatabaseAlreadyOpen => DiskError::InUse,
        error => DiskError::Failed(error.to_string()),
    }
}

impl Disk {
    /// Opens the file in `folder`, which is made if need be.
    pub(crate) fn open(folder: &Path) -> Result<(Self, Contents), DiskError> {
        std::fs::create_dir_all(folder).map_err(|error| DiskError::Failed(error.to_string()))?;
        let database = Database::create(folder.join("voter.redb")).map_err(failed)?;
        Self::start(database)
    }

    /// Takes a database and starts the thread that writes to it.
    pub(crate) fn start(database: Database) -> Result<(Self, Contents), DiskError> {
        let contents = prepare(&database)?;
        let (requests, inbox) = mpsc::channel();
        #[allow(clippy::disallowed_methods, reason = "fsync blocks: the writer has a thread of its own")]
        std::thread::Builder::new()
            .name("voter-disk".to_owned())
            .spawn(move || write_all(&database, &inbox))
            .map_err(|error| DiskError::Failed(error.to_string()))?;
        Ok((Self { requests }, contents))
    }

    /// Writes, and returns once it is synced.
    pub(crate) async fn write(&self, writes: Vec<Write>) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.write_then(writes, move |result| drop(done.send(result)));
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Writes, and calls `done` once it is synced. Returns at once.
    pub(crate) fn write_then(&self, writes: Vec<Write>, done: impl FnOnce(io::Result<()>) + Send + 'static) {
        self.request(Request { writes, synced: true, done: Box::new(done) });
    }

    /// Writes sooner or later: what is lost must not matter.
    pub(crate) fn write_lazily(&self, writes: Vec<Write>) {
        self.request(Request { writes, synced: false, done: Box::new(|_| ()) });
    }

    fn request(&self, request: Request) {
        if let Err(mpsc::SendError(request)) = self.requests.send(request) {
            (request.done)(Err(closed()));
        }
    }
}

fn closed() -> io::Error {
    io::Error::other("the voter's file is closed")
}

/// Reads everything; a new file gets its format number first.
fn prepare(database: &Database) -> Result<Contents, DiskError> {
    let transaction = database.begin_write().map_err(failed)?;
    {
        let mut facts = transaction.open_table(FACTS).map_err(failed)?;
        transaction.open_table(LOG).map_err(failed)?;
        transaction.open_table(PEERS).map_err(failed)?;
        let format = facts.get(Fact::Format.key()).map_err(failed)?.map(|value| value.value().to_vec());
        match format {
            None => drop(facts.insert(Fact::Format.key(), FORMAT).map_err(failed)?),
            Some(known) if known == FORMAT => (),
            Some(other) => return Err(DiskError::Format(String::from_utf8_lossy(&other).into_owned())),
        }
    }
    transaction.commit().map_err(failed)?;

    let transaction = database.begin_read().map_err(failed)?;
    let mut contents = Contents::default();
    for row in transaction.open_table(FACTS).map_err(failed)?.iter().map_err(failed)? {
        let (key, value) = row.map_err(failed)?;
        contents.facts.insert(key.value().to_owned(), value.value().to_vec());
    }
    for row in transaction.open_table(LOG).map_err(failed)?.iter().map_err(failed)? {
        let (key, value) = row.map_err(failed)?;
        contents.log.insert(key.value(), value.value().to_vec());
    }
    for row in transaction.open_table(PEERS).map_err(failed)?.iter().map_err(failed)? {
        let (key, value) = row.map_err(failed)?;
        contents.peers.insert(key.value().to_owned(), value.value().to_owned());
    }
    Ok(contents)
}

fn write_all(database: &Database, inbox: &mpsc::Receiver<Request>) {
    let mut broken: Option<(io::ErrorKind, String)> = None;
    while let Ok(first) = inbox.recv() {
        let requests: Vec<Request> = std::iter::once(first).chain(inbox.try_iter()).collect();
        let result = match &broken {
            Some((kind, message)) => Err(io::Error::new(*kind, message.clone())),
            None => commit(database, &requests).map_err(io::Error::other),
        };
        if let (Err(error), None) = (&result, &broken) {
            tracing::error!(%error, "cannot write the voter's file any more");
            broken = Some((error.kind(), error.to_string()));
        }
        for request in requests {
            (request.done)(match &broken {
                Some((kind, message)) => Err(io::Error::new(*kind, message.clone())),
                None => Ok(()),
            });
        }
    }
}

fn commit(database: &Database, requests: &[Request]) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    if !requests.iter().any(|request| request.synced) {
        transaction.set_durability(Durability::None)?;
    }
    {
        let mut facts = transaction.open_table(FACTS)?;
        let mut log = transaction.open_table(LOG)?;
        let mut peers = transaction.open_table(PEERS)?;
        for write in requests.iter().flat_map(|request| &request.writes) {
            match write {
                Write::Fact(fact, value) => drop(facts.insert(fact.key(), value.as_slice())?),
                Write::Append(entries) => {
                    for (index, entry) in entries {
                        log.insert(index, entry.as_slice())?;
                    }
                }
                Write::Truncate(from) => log.retain_in(*from.., |_, _| false)?,
                Write::Purge(upto) => log.retain_in(..=*upto, |_, _| false)?,
                Write::Peer(peer, Some(uuid)) => drop(peers.insert(peer.as_str(), uuid.as_str())?),
                Write::Peer(peer, None) => drop(peers.remove(peer.as_str())?),
            }
        }
    }
    transaction.commit()?;
    Ok(())
}
