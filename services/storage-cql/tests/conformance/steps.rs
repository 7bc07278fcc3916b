//! Every conditional write of the log protocol may end without an answer, having happened, not having happened, or
//! happening later. Whatever it was, the log goes on afterwards with every acknowledged group, in order.

use std::time::Duration;

use bytes::Bytes;
use cql_proxy::{Class, Fault};
use runtime::Runtime;
use storage::{Append, Epoch, GroupId, Log, LogId, OwnerNonce, Registry, RegistryEntry, Reopen, Seq, StorageError};
use storage_cql::{CqlSettings, LogLimits};

use crate::clusters::is_wanted;
use crate::database;
use crate::proxied::{Behind, behind_proxy, unknown_outcomes};

const OWNER: OwnerNonce = OwnerNonce(0xA11CE);
const RIVAL: OwnerNonce = OwnerNonce(0xB0B);

/// Long enough for an idle node, short enough to lose many answers in a test.
const IMPATIENT: Duration = Duration::from_millis(600);
/// Longer than any request is delayed here.
const PATIENT: Duration = Duration::from_secs(5);

/// A new segment after every two groups, and all but the smallest beside the log.
const LIMITS: LogLimits = LogLimits { segment_bytes: 1 << 20, segment_groups: 2, inline_bytes: 20, chunk_bytes: 16 };

/// The steps, by a piece of their statement that no other has.
const STEPS: &[&str] = &[
    "IF epoch = null",
    "IF NOT EXISTS",
    "IF datacenter = ?",
    "IF epoch < ?",
    "SET last_seq = ?",
    "SET segment = ?",
    "SET trimmed_below = ?",
    "SET watermark = ?",
];

async fn settings() -> CqlSettings {
    CqlSettings { log: LIMITS, ..database::settings().await }
}

fn content(seq: u64) -> Bytes {
    Bytes::from(format!("the content of group {seq}").repeat(3))
}

/// A shard's writer in small: it appends, and settles what is unknown as shards do.
struct Writer<'a> {
    log: &'a dyn Log,
    id: LogId,
    epoch: Epoch,
    /// The groups that were acknowledged, by position.
    acknowledged: Vec<GroupId>,
    next_id: u128,
}

impl<'a> Writer<'a> {
    async fn open(log: &'a dyn Log, id: &LogId) -> Self {
        let opened = loop {
            match log.open(id, OWNER).await {
                Ok(opened) => break opened,
                Err(StorageError::Unknown(_) | StorageError::Unavailable { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        };
        // What was trimmed away has no name any more.
        let trimmed = usize::try_from(opened.head.trimmed_below.0 - 1).unwrap();
        let mut acknowledged = vec![GroupId(0); trimmed];
        acknowledged.extend(opened.tail.iter().map(|group| group.id));
        Self { log, id: id.clone(), epoch: opened.head.epoch, acknowledged, next_id: 1 }
    }

    fn next_seq(&self) -> Seq {
        Seq(self.acknowledged.len() as u64 + 1)
    }

    /// Appends a group, whatever it takes.
    async fn append(&mut self) {
        assert!(self.append_unless_fenced().await, "no other process opened the log");
    }

    /// Appends a group, unless another process has opened the log.
    async fn append_unless_fenced(&mut self) -> bool {
        let (seq, id) = (self.next_seq(), GroupId(self.next_id));
        self.next_id += 1;
        loop {
            match self.log.append(&self.id, self.epoch, seq, id, content(seq.0)).await {
                Append::Appended => break,
                Append::Fenced => return false,
                Append::Unknown => {
                    if self.reopen().await.contains(&(seq, id)) {
                        break;
                    }
                }
            }
        }
        self.acknowledged.push(id);
        true
    }

    /// Opens the log again, whatever it takes, and returns what its tail holds.
    async fn reopen(&mut self) -> Vec<(Seq, GroupId)> {
        loop {
            match self.log.reopen(&self.id, self.epoch, OWNER).await {
                Ok(Reopen::Reopened(opened)) => {
                    self.epoch = opened.head.epoch;
                    return opened.tail.iter().map(|group| (group.seq, group.id)).collect();
                }
                Ok(Reopen::Fenced) => panic!("no other process opened the log"),
                Ok(Reopen::Unknown) | Err(StorageError::Unavailable { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// What a new opener finds is what was acknowledged, above the trim point.
async fn holds(log: &dyn Log, id: &LogId, acknowledged: &[GroupId], what: &str) {
    let opened = loop {
        match log.open(id, RIVAL).await {
            Ok(opened) => break opened,
            // A slow machine, or a connection that has just broken.
            Err(StorageError::Unknown(_) | StorageError::Unavailable { .. }) => {}
            Err(error) => panic!("{what}: {error}"),
        }
    };
    let below = usize::try_from(opened.head.trimmed_below.0 - 1).unwrap();
    let found: Vec<_> = opened.tail.iter().map(|group| group.id).collect();
    assert_eq!(found, acknowledged[below..], "{what}");
    assert!(opened.tail.iter().all(|group| group.bytes == content(group.seq.0)), "{what}: a group's content changed");
    assert_eq!(opened.head.last.0, acknowledged.len() as u64, "{what}");
}

#[tokio::test]
async fn every_step_of_an_owner_may_be_unknown() {
    let settings = settings().await;
    let behind = behind_proxy(&settings, 1, IMPATIENT).await;
    let store = behind.store.store();
    let is_long = is_wanted("every second pair of a step and a fault");
    for (number, step) in STEPS.iter().enumerate() {
        for (variant, fault) in unknown_outcomes().into_iter().enumerate() {
            // Every second pair, so that each step meets half of the faults and each fault half of the steps.
            if !is_long && (number + variant) % 2 == 1 {
                continue;
            }
            let what = format!("{step} meets {fault:?}");
            let id = LogId(format!("steps/{number}/{variant}"));
            behind.control.reset_counts();
            behind.next(step, fault);
            let mut writer = Writer::open(&*store.log, &id).await;
            for _ in 0..5 {
                writer.append().await;
            }
            // Both may be unknown, and are then left at that, as shards do.
            store.log.trim(&id, writer.epoch, Seq(3)).await;
            store.log.set_watermark(&id, writer.epoch, ids::Timestamp::from_millis(7)).await;
            if *step == "IF datacenter = ?" || *step == "IF epoch < ?" {
                writer.reopen().await;
            }
            writer.append().await;
            let faults = behind.control.counts().faulted(Class::Conditional);
            assert_eq!(faults, 1, "{what}: the step was never taken");
            // Whatever is late lands now.
            Runtime::system().sleep(Duration::from_millis(60)).await;
            writer.append().await;
            holds(&*store.log, &id, &writer.acknowledged, &what).await;
            assert!(behind.sent_twice().is_empty(), "{what}: {:?}", behind.sent_twice());
        }
    }
    assert_eq!(behind.control.counts().unknown_prepared, 0);
}

/// An opener is delayed at each of its steps, while another opens the log, appends, rolls and trims. One of them has the
/// log in the end, and everything that was acknowledged is in it, whichever it is.
#[tokio::test]
async fn a_slow_opener_gets_the_log_whole_or_not_at_all() {
    let settings = settings().await;
    let slow = behind_proxy(&settings, 2, PATIENT).await;
    let quick = behind_proxy(&settings, 3, PATIENT).await;
    let steps = ["SELECT datacenter", "IF datacenter = ?", "IF epoch < ?", "SELECT seq", "SELECT epoch FROM"];
    for (number, step) in steps.into_iter().enumerate() {
        let id = LogId(format!("slow/{number}"));
        let (slow_log, quick_log) = (slow.store.store().log, quick.store.store().log);
        let mut before = Writer::open(&*quick_log, &id).await;
        for _ in 0..3 {
            before.append().await;
        }
        slow.next(step, Fault::DelayRequest { min_ms: 700, max_ms: 700 });
        let late = slow_log.open(&id, RIVAL);
        let meanwhile = async {
            Runtime::system().sleep(Duration::from_millis(200)).await;
            let mut owner = Writer::open(&*quick_log, &id).await;
            for _ in 0..5 {
                if !owner.append_unless_fenced().await {
                    return owner;
                }
            }
            quick_log.trim(&id, owner.epoch, Seq(7)).await;
            owner
        };
        let (late, mut owner) = futures::future::join(late, meanwhile).await;
        match late {
            Ok(opened) if opened.head.epoch > owner.epoch => {
                assert_eq!(opened.head.last.0, owner.acknowledged.len() as u64, "{step}");
                let outcome = quick_log.append(&id, owner.epoch, owner.next_seq(), GroupId(99), content(9)).await;
                assert_eq!(outcome, Append::Fenced, "{step}");
            }
            // It was through before the other began, on a slow machine.
            Ok(opened) => {
                let outcome = slow_log.append(&id, opened.head.epoch, Seq(4), GroupId(99), content(9)).await;
                assert_eq!(outcome, Append::Fenced, "{step}");
                owner.append().await;
            }
            Err(StorageError::Unavailable { .. }) => owner.append().await,
            Err(error) => panic!("{step}: {error}"),
        }
        holds(&*quick_log, &id, &owner.acknowledged, step).await;
    }
}

/// An owner is delayed at each step of an append with a roll, and of a trim, while another opens the log and goes on. The
/// first is fenced, and nothing that the second acknowledged is lost.
#[tokio::test]
async fn a_slow_owner_is_fenced_at_every_step() {
    let settings = settings().await;
    let slow = behind_proxy(&settings, 4, PATIENT).await;
    let quick = behind_proxy(&settings, 5, PATIENT).await;
    let steps = [
        "INSERT INTO conformance.log_chunks",
        "IF epoch = null",
        "SET segment = ?",
        "SET last_seq = ?",
        "SET trimmed_below = ?",
    ];
    for (number, step) in steps.into_iter().enumerate() {
        let id = LogId(format!("zombie/{number}"));
        let (slow_log, quick_log) = (slow.store.store().log, quick.store.store().log);
        let mut zombie = Writer::open(&*slow_log, &id).await;
        for _ in 0..4 {
            zombie.append().await;
        }
        slow.next(step, Fault::DelayRequest { min_ms: 1200, max_ms: 1200 });
        let late = async {
            if step == "SET trimmed_below = ?" {
                return slow_log.trim(&id, zombie.epoch, Seq(4)).await;
            }
            slow_log.append(&id, zombie.epoch, Seq(5), GroupId(77), content(5)).await
        };
        let meanwhile = async {
            Runtime::system().sleep(Duration::from_millis(100)).await;
            // It is not opened after this one.
            let mut owner = Writer::open(&*quick_log, &id).await;
            for _ in 0..5 {
                owner.append().await;
            }
            assert_eq!(quick_log.trim(&id, owner.epoch, Seq(6)).await, Append::Appended, "{step}");
            owner
        };
        let (late, owner) = futures::future::join(late, meanwhile).await;
        // On a slow machine it may have been through before the other began; then the other has seen it.
        let was_seen = owner.acknowledged.contains(&GroupId(77)) || step == "SET trimmed_below = ?";
        assert!(late != Append::Appended || was_seen, "{step}: acknowledged and lost");
        assert!(slow_log.epoch(&id).await.unwrap() > zombie.epoch, "{step}: a fence check shows it");
        assert_eq!(slow_log.reopen(&id, zombie.epoch, OwnerNonce(3)).await.unwrap(), Reopen::Fenced, "{step}");
        let again = slow_log.append(&id, zombie.epoch, Seq(5), GroupId(78), content(5)).await;
        assert_ne!(again, Append::Appended, "{step}");
        holds(&*quick_log, &id, &owner.acknowledged, step).await;
    }
}

/// Reads until a node answers: a connection may just have broken.
async fn read(registry: &dyn Registry, key: &str) -> Option<RegistryEntry> {
    loop {
        match registry.get(key).await {
            Ok(entry) => return entry,
            Err(StorageError::Unavailable { .. }) => Runtime::system().sleep(Duration::from_millis(20)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The registry's changes are sent once too, and a read after an unknown outcome says what is there for good.
#[tokio::test]
async fn an_unknown_change_of_the_registry_is_settled_by_reading() {
    use storage::CompareAndSet::{Applied, Conflict, Unknown};
    let settings = settings().await;
    let behind: Behind = behind_proxy(&settings, 6, Duration::from_secs(2)).await;
    let registry = behind.store.store().registry;
    for (number, fault) in unknown_outcomes().into_iter().enumerate() {
        let (key, what) = (format!("key/{number}"), format!("{fault:?}"));
        let is_late = matches!(fault, Fault::Timeout { forward: cql_proxy::Forward::Late { .. }, .. });
        behind.next("registry_entries", fault);
        let outcome = registry.compare_and_set(&key, 0, Some(content(1))).await;
        assert_eq!(outcome, Unknown, "{what}");
        let expected = match read(&*registry, &key).await {
            None => Applied,
            Some(entry) => {
                assert_eq!((entry.value, entry.version), (content(1), 1), "{what}");
                Conflict
            }
        };
        let outcome = registry.compare_and_set(&key, 0, Some(content(2))).await;
        // A change that is late may come before or after ours, but only one of them takes the place.
        assert!(outcome == expected || is_late && outcome == Conflict, "{what}: {outcome:?}");
        let version = read(&*registry, &key).await.map(|entry| entry.version);
        assert_eq!(version, Some(1), "{what}");
    }
    assert!(behind.sent_twice().is_empty(), "{:?}", behind.sent_twice());
}
