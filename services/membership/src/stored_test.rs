//! Log, vote and snapshots on disk: the Raft library's own suite, and crashes at every operation of the disk.

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::testing::{StoreBuilder, Suite, blank_ent, log_id};
use openraft::{EntryPayload, RaftLogReader, RaftSnapshotBuilder};
use redb::{Database, StorageBackend};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::command::{Batch, Command};
use crate::disk::{Disk, Fact, Write};
use crate::identities::Identities;
use crate::log_store::LogStore;
use crate::raft_group::{Entry, Group, LogId, SnapshotMeta, StorageError, Vote};
use crate::settings::ClusterSettings;
use crate::state_machine::StateMachine;

fn identities(disk: &Disk) -> Arc<Identities> {
    let cluster = ClusterSettings { name: "test".into(), history_shards: 8, matching_shards: 4 };
    let none = Default::default();
    Arc::new(Identities::new(cluster, "v".into(), "uuid".into(), disk.clone(), String::new(), none))
}

async fn open(database: Database) -> (LogStore, StateMachine) {
    let (disk, contents) = Disk::start(database).expect("the file opens");
    let machine = StateMachine::open(disk.clone(), &contents, identities(&disk)).expect("the snapshot can be read");
    let log = LogStore::open(disk, &contents, machine.on_disk()).await.expect("the log can be read");
    (log, machine)
}

fn snapshot_on_disk(machine: &StateMachine) -> Option<LogId> {
    machine.on_disk().borrow().clone().expect("none has failed")
}

struct Folders;

impl StoreBuilder<Group, LogStore, StateMachine, TempDir> for Folders {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError> {
        let folder = tempfile::tempdir().expect("a folder");
        let database = Database::create(folder.path().join("voter.redb")).expect("a file");
        let (disk, contents) = Disk::start(database).expect("the file opens");
        let machine = StateMachine::open(disk.clone(), &contents, identities(&disk)).expect("no snapshot yet");
        // The suite cuts logs that no snapshot has.
        let anything = watch::Sender::new(Ok(None));
        let log = LogStore::open(disk, &contents, anything.subscribe()).await.expect("an empty log");
        drop(anything.send_replace(Ok(Some(log_id(u64::MAX, 0, u64::MAX)))));
        Ok((folder, log, machine))
    }
}

#[test]
fn the_raft_librarys_suite_passes() {
    Suite::test_all(Folders).expect("all of it");
}

/// A disk that dies: after so many writes and syncs everything fails, and only what was synced is there afterwards, plus,
/// when `torn`, every other one of the writes that were not.
#[derive(Clone, Debug)]
struct DyingDisk(Arc<Mutex<Bytes>>);

#[derive(Debug)]
struct Bytes {
    synced: Vec<u8>,
    /// What has been done since the last sync.
    pending: Vec<Pending>,
    now: Vec<u8>,
    operations_left: usize,
    operations: usize,
}

#[derive(Debug, Clone)]
enum Pending {
    Length(usize),
    Write(usize, Vec<u8>),
}

impl Pending {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Write(offset, data) => {
                let end = offset + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(data);
            }
        }
    }
}

impl DyingDisk {
    fn new(content: Vec<u8>, operations_left: usize) -> Self {
        let bytes =
            Bytes { synced: content.clone(), pending: Vec::new(), now: content, operations_left, operations: 0 };
        Self(Arc::new(Mutex::new(bytes)))
    }

    fn bytes(&self) -> std::sync::MutexGuard<'_, Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn operate(&self) -> io::Result<std::sync::MutexGuard<'_, Bytes>> {
        let mut bytes = self.bytes();
        if bytes.operations_left == 0 {
            return Err(io::Error::other("the disk has died"));
        }
        bytes.operations_left -= 1;
        bytes.operations += 1;
        Ok(bytes)
    }

    /// What is there after the crash.
    fn left_over(&self, torn: bool) -> Vec<u8> {
        let bytes = self.bytes();
        let mut left = bytes.synced.clone();
        for (position, pending) in bytes.pending.iter().enumerate() {
            if torn && position % 2 == 0 {
                pending.apply(&mut left);
            }
        }
        left
    }
}

impl StorageBackend for DyingDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (start, bytes) = (usize::try_from(offset).expect("small"), self.bytes());
        let part = bytes.now.get(start..start + out.len()).ok_or_else(|| io::Error::other("beyond the end"))?;
        out.copy_from_slice(part);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let length = Pending::Length(usize::try_from(length).expect("small"));
        let mut bytes = self.operate()?;
        length.apply(&mut bytes.now);
        bytes.pending.push(length);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut bytes = self.operate()?;
        bytes.synced = bytes.now.clone();
        bytes.pending.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let write = Pending::Write(usize::try_from(offset).expect("small"), data.to_vec());
        let mut bytes = self.operate()?;
        write.apply(&mut bytes.now);
        bytes.pending.push(write);
        Ok(())
    }
}

/// What was acknowledged to a voter as durable.
#[derive(Clone, Debug, Default, PartialEq)]
struct Acknowledged {
    vote: Option<Vote>,
    last: Option<LogId>,
    purged: Option<LogId>,
    snapshot: Option<LogId>,
}

fn command_entry(index: u64) -> Entry {
    let command = if index == 1 {
        Command::Form {
            cluster_id: "id".into(),
            cluster_name: "test".into(),
            history_shards: 8,
            matching_shards: 4,
            feature_level: 1,
        }
    } else {
        Command::Voter { id: format!("v{index}"), uuid: "u".into(), address: "a:1".into() }
    };
    Entry { log_id: log_id(1, 0, index), payload: EntryPayload::Normal(Batch { commands: vec![command] }) }
}

/// What a voter does in its life: each step is noted once it has been acknowledged.
async fn live(
    log: &mut LogStore,
    machine: &mut StateMachine,
    acknowledged: &mut Acknowledged,
) -> Result<(), StorageError> {
    for round in 0..2u64 {
        let vote = Vote::new_committed(round + 1, 7);
        log.save_vote(&vote).await?;
        acknowledged.vote = Some(vote);
        let first = round * 6 + 1;
        for index in first..first + 6 {
            log.blocking_append([command_entry(index)]).await?;
            acknowledged.last = Some(log_id(1, 0, index));
        }
        log.save_committed(acknowledged.last).await?;
        machine.apply((first..first + 6).map(command_entry)).await?;
        // Two more that are taken back.
        log.blocking_append([blank_ent::<Group>(1, 0, first + 6), blank_ent::<Group>(1, 0, first + 7)]).await?;
        log.truncate(log_id(1, 0, first + 6)).await?;
        let snapshot = machine.build_snapshot().await?;
        acknowledged.snapshot = snapshot.meta.last_log_id;
        let upto = log_id(1, 0, first + 3);
        log.purge(upto).await?;
        acknowledged.purged = Some(upto);
    }
    Ok(())
}

async fn check(content: Vec<u8>, acknowledged: &Acknowledged, at: usize) {
    let database = Database::builder().create_with_backend(DyingDisk::new(content, usize::MAX));
    let (mut log, mut machine) = open(database.expect("it opens after a crash")).await;
    let vote = log.read_vote().await.expect("a vote");
    assert!(vote >= acknowledged.vote, "crash at {at}: the vote {vote:?} is older than {:?}", acknowledged.vote);
    let state = log.get_log_state().await.expect("a state");
    assert!(
        state.last_log_id >= acknowledged.last,
        "crash at {at}: the log ends at {:?}, not {:?}",
        state.last_log_id,
        acknowledged.last
    );
    assert!(state.last_purged_log_id >= acknowledged.purged, "crash at {at}: {state:?}");
    let snapshot = machine.get_current_snapshot().await.expect("it can be read").and_then(|kept| kept.meta.last_log_id);
    assert!(
        snapshot >= acknowledged.snapshot,
        "crash at {at}: snapshot {snapshot:?}, acknowledged {:?}",
        acknowledged.snapshot
    );
    assert!(snapshot >= state.last_purged_log_id, "crash at {at}: nothing is dropped that no snapshot has");
    // No holes, and every entry is what was written.
    let first = state.last_purged_log_id.map_or(1, |purged| purged.index + 1);
    let entries = log.try_get_log_entries(first..).await.expect("entries");
    let expected: Vec<u64> = (first..first + entries.len() as u64).collect();
    assert_eq!(entries.iter().map(|entry| entry.log_id.index).collect::<Vec<_>>(), expected, "crash at {at}");
    // Applying what is left again gives the state that an unbroken life has.
    let applied = machine.applied_state().await.expect("a state").0.map_or(0, |last| last.index);
    let acknowledged_last = acknowledged.last.map_or(0, |last| last.index);
    let again = entries.into_iter().filter(|entry| (applied + 1..=acknowledged_last).contains(&entry.log_id.index));
    machine.apply(again).await.expect("applied");
    let mut unbroken = crate::cluster_state::ClusterState::default();
    for index in 1..=applied.max(acknowledged_last) {
        if let EntryPayload::Normal(batch) = command_entry(index).payload {
            unbroken.apply(&batch);
        }
    }
    assert_eq!(machine.state(), unbroken, "crash at {at}");
}

#[tokio::test]
async fn a_voter_survives_a_crash_at_every_operation_of_its_disk() {
    let counting = DyingDisk::new(Vec::new(), usize::MAX);
    let (mut log, mut machine) = open(Database::builder().create_with_backend(counting.clone()).expect("a file")).await;
    let formatted = counting.bytes().operations;
    live(&mut log, &mut machine, &mut Acknowledged::default()).await.expect("no crash");
    let total = counting.bytes().operations;
    assert!(total > formatted + 100, "{total} operations, {formatted} of them to make the file");

    let mut deaths = 0;
    for operations in formatted..total {
        let disk = DyingDisk::new(Vec::new(), operations);
        let database = Database::builder().create_with_backend(disk.clone()).expect("a file");
        let (mut log, mut machine) = open(database).await;
        let mut acknowledged = Acknowledged::default();
        // A lazy write may share its transaction with the next one, and the disk outlives the last operations counted.
        deaths += usize::from(live(&mut log, &mut machine, &mut acknowledged).await.is_err());
        for torn in [false, true] {
            check(disk.left_over(torn), &acknowledged, operations).await;
        }
    }
    assert!(deaths > 100, "{deaths} crashes in {total} operations");
}

/// After a restart from what is on the disk, the log begins where the snapshot ends, and has nothing in it.
async fn nothing_follows_the_snapshot(disk: &DyingDisk, meta: &SnapshotMeta) {
    let database = Database::builder().create_with_backend(DyingDisk::new(disk.left_over(false), usize::MAX));
    let (mut log, _) = open(database.expect("it opens")).await;
    let state = log.get_log_state().await.expect("a state");
    assert_eq!((state.last_purged_log_id, state.last_log_id), (meta.last_log_id, meta.last_log_id));
    assert!(log.try_get_log_entries(..).await.expect("entries").is_empty());
}

#[tokio::test]
async fn entries_that_contradict_an_installed_snapshot_are_dropped() {
    let disk = DyingDisk::new(Vec::new(), usize::MAX);
    let (mut log, mut machine) = open(Database::builder().create_with_backend(disk.clone()).expect("a file")).await;
    // A leader that was deposed had appended these; the next one's snapshot arrives, and the process dies before the log
    // is cut.
    log.blocking_append((1..=9).map(|index| blank_ent::<Group>(1, 0, index))).await.expect("appended");
    let mut meta = machine.build_snapshot().await.expect("a snapshot").meta;
    meta.last_log_id = Some(log_id(2, 1, 5));
    let state = serde_json::to_vec(&crate::cluster_state::ClusterState::default()).expect("it encodes");
    machine.install_snapshot(&meta, Box::new(io::Cursor::new(state))).await.expect("installed");
    nothing_follows_the_snapshot(&disk, &meta).await;
}

#[tokio::test]
async fn entries_of_a_later_term_that_end_before_an_installed_snapshot_are_dropped() {
    let disk = DyingDisk::new(Vec::new(), usize::MAX);
    let (mut log, mut machine) = open(Database::builder().create_with_backend(disk.clone()).expect("a file")).await;
    // The last was of a leader without followers; the group went on with entries of the term before.
    log.blocking_append([blank_ent::<Group>(1, 0, 1), blank_ent::<Group>(5, 0, 2)]).await.expect("appended");
    let meta = SnapshotMeta { last_log_id: Some(log_id(3, 1, 9)), ..SnapshotMeta::default() };
    machine.install_snapshot(&meta, Box::new(io::Cursor::new(sent_state()))).await.expect("installed");
    nothing_follows_the_snapshot(&disk, &meta).await;
}

#[tokio::test]
async fn the_log_is_cut_on_disk_only_after_the_snapshot_is_there() {
    let disk = DyingDisk::new(Vec::new(), usize::MAX);
    let (mut log, mut machine) = open(Database::builder().create_with_backend(disk.clone()).expect("a file")).await;
    log.blocking_append((1..=9).map(command_entry)).await.expect("appended");
    let mut cutting = log.clone();
    let mut purge = pin!(cutting.purge(log_id(2, 1, 12)));
    assert!(futures::poll!(&mut purge).is_pending());
    // What is asked of the disk later is there; what was asked before would be, too.
    log.save_vote(&Vote::new_committed(2, 1)).await.expect("saved");
    let database = Database::builder().create_with_backend(DyingDisk::new(disk.left_over(false), usize::MAX));
    let (mut crashed, _) = open(database.expect("it opens")).await;
    let state = crashed.get_log_state().await.expect("a state");
    assert_eq!((state.last_purged_log_id, state.last_log_id), (None, Some(log_id(1, 0, 9))));

    let meta = SnapshotMeta { last_log_id: Some(log_id(2, 1, 12)), ..SnapshotMeta::default() };
    machine.install_snapshot(&meta, Box::new(io::Cursor::new(sent_state()))).await.expect("installed");
    purge.await.expect("cut");
    assert_eq!(log.get_log_state().await.expect("a state").last_log_id, meta.last_log_id);
}

#[tokio::test]
async fn a_log_that_waits_for_a_snapshot_that_cannot_be_installed_fails_with_it() {
    let disk = DyingDisk::new(Vec::new(), usize::MAX);
    let (mut log, mut machine) = open(Database::builder().create_with_backend(disk.clone()).expect("a file")).await;
    let meta = SnapshotMeta { last_log_id: Some(log_id(2, 1, 12)), ..SnapshotMeta::default() };
    let nonsense = Box::new(io::Cursor::new(b"nonsense".to_vec()));
    let (cut, installed) = tokio::join!(log.purge(log_id(2, 1, 12)), machine.install_snapshot(&meta, nonsense));
    assert!(cut.is_err() && installed.is_err(), "{cut:?} {installed:?}");
}

#[tokio::test]
async fn a_snapshot_that_was_being_built_does_not_replace_a_newer_one_that_was_installed() {
    let disk = DyingDisk::new(Vec::new(), usize::MAX);
    let (_, mut machine) = open(Database::builder().create_with_backend(disk.clone()).expect("a file")).await;
    machine.apply((1..=3).map(command_entry)).await.expect("applied");
    let mut builder = machine.clone();
    let meta = SnapshotMeta { last_log_id: Some(log_id(2, 1, 5)), ..SnapshotMeta::default() };
    // The older one is made while the newer one is on its way to the disk.
    let install = machine.install_snapshot(&meta, Box::new(io::Cursor::new(sent_state())));
    let (installed, built) = tokio::join!(install, builder.build_snapshot());
    assert!(installed.is_ok() && built.is_ok(), "{installed:?} {built:?}");
    let database = Database::builder().create_with_backend(DyingDisk::new(disk.left_over(false), usize::MAX));
    let (_, machine) = open(database.expect("it opens")).await;
    assert_eq!(snapshot_on_disk(&machine), meta.last_log_id);
}

/// A follower with entries of a deposed leader gets the next one's snapshot. Raft has the log cut at once, while the state
/// machine installs.
async fn follow(log: &mut LogStore, machine: &mut StateMachine) -> Result<(), StorageError> {
    log.blocking_append((1..=9).map(command_entry)).await?;
    let mut meta = machine.build_snapshot().await?.meta;
    meta.last_log_id = Some(log_id(2, 1, 5));
    log.truncate(log_id(1, 0, 5)).await?;
    let purge = log.purge(log_id(2, 1, 5));
    let (cut, installed) =
        tokio::join!(purge, machine.install_snapshot(&meta, Box::new(io::Cursor::new(sent_state()))));
    installed.and(cut)
}

fn sent_state() -> Vec<u8> {
    let mut state = crate::cluster_state::ClusterState::default();
    if let EntryPayload::Normal(batch) = command_entry(1).payload {
        state.apply(&batch);
    }
    serde_json::to_vec(&state).expect("it encodes")
}

#[tokio::test]
async fn a_crash_anywhere_in_the_installation_of_a_snapshot_leaves_the_old_or_the_new() {
    let counting = DyingDisk::new(Vec::new(), usize::MAX);
    let (mut log, mut machine) = open(Database::builder().create_with_backend(counting.clone()).expect("a file")).await;
    let formatted = counting.bytes().operations;
    follow(&mut log, &mut machine).await.expect("no crash");
    let total = counting.bytes().operations;
    let mut seen = [0, 0];
    for operations in formatted..total {
        let disk = DyingDisk::new(Vec::new(), operations);
        let database = Database::builder().create_with_backend(disk.clone()).expect("a file");
        let (mut log, mut machine) = open(database).await;
        // The writer takes together what has come meanwhile, so the same steps may need fewer operations.
        let was_acknowledged = follow(&mut log, &mut machine).await.is_ok();
        let left = Database::builder().create_with_backend(DyingDisk::new(disk.left_over(true), usize::MAX));
        let (mut log, machine) = open(left.expect("it opens after a crash")).await;
        let state = log.get_log_state().await.expect("a state");
        match snapshot_on_disk(&machine) {
            Some(installed) => {
                assert_eq!(installed, log_id(2, 1, 5));
                assert_eq!(serde_json::to_vec(&machine.state()).expect("it encodes"), sent_state());
                let beyond = log.try_get_log_entries(5..).await.expect("entries");
                assert!(beyond.is_empty(), "crash at {operations}: {beyond:?} contradict the snapshot");
                seen[1] += 1;
            }
            None => {
                assert!(!was_acknowledged, "crash at {operations}: what was acknowledged is not there");
                assert!(!machine.state().formed(), "crash at {operations}");
                assert_eq!(state.last_purged_log_id, None, "crash at {operations}");
                seen[0] += 1;
            }
        }
    }
    assert!(seen.iter().all(|times| *times > 2), "crashes before and after: {seen:?}");
}

#[tokio::test]
async fn a_file_of_a_later_release_is_refused() {
    let disk = DyingDisk::new(Vec::new(), usize::MAX);
    let start = |disk: &DyingDisk| Disk::start(Database::builder().create_with_backend(disk.clone()).expect("a file"));
    let (writer, _) = start(&disk).expect("a new file");
    writer.write(vec![Write::Fact(Fact::Format, b"2".to_vec())]).await.expect("written");
    let later = DyingDisk::new(disk.left_over(false), usize::MAX);
    let refused = start(&later).err().map(|error| error.to_string());
    assert_eq!(refused.as_deref(), Some("it is of format \"2\", this release reads \"1\""));
}
