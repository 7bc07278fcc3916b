//! Everything at once: random faults on every kind of request, while logs, rows and the registry are used as shards and
//! frontends use them. `STORM_SEED` chooses the faults, `STORM_ROUNDS` how long it lasts.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use cql_proxy::{Class, Fault, Forward, Rule};
use storage::{
    Append, CompareAndSet, Epoch, GroupId, LogId, OwnerNonce, PartitionWrite, Reopen, Seq, StorageError, StorageResult,
    Store,
};
use storage_cql::{CqlSettings, LogLimits};

use crate::database;
use crate::proxied::behind_proxy;

const LIMITS: LogLimits = LogLimits { segment_bytes: 1 << 20, segment_groups: 5, inline_bytes: 200, chunk_bytes: 150 };

fn rules() -> Vec<Rule> {
    let timeout = |forward| Fault::Timeout { forward, write_type: None };
    let conditional = [
        (0.01, Fault::DropReply),
        (0.02, timeout(Forward::First)),
        (0.02, timeout(Forward::Never)),
        (0.02, timeout(Forward::Late { after_ms: 100 })),
        (0.02, Fault::CasWriteUnknown { forward: Forward::First }),
        (0.02, Fault::Unavailable),
        (0.005, Fault::Cut { forward: true }),
        (0.05, Fault::DelayReply { min_ms: 1, max_ms: 20 }),
    ];
    let mut rules: Vec<Rule> =
        conditional.into_iter().map(|(often, fault)| Rule::new(Class::Conditional, often, fault)).collect();
    for class in [Class::Write, Class::Read] {
        rules.push(Rule::new(class, 0.03, timeout(Forward::First)));
        rules.push(Rule::new(class, 0.03, Fault::Unavailable));
        rules.push(Rule::new(class, 0.005, Fault::Cut { forward: false }));
    }
    rules
}

/// One owner of a log, who never gives up, and the answers that it got.
struct Owner {
    store: Store,
    id: LogId,
    nonce: OwnerNonce,
    epoch: Epoch,
    trimmed_below: u64,
    acknowledged: Vec<(GroupId, Bytes)>,
}

impl Owner {
    async fn open(&mut self) {
        loop {
            match self.store.log.open(&self.id, self.nonce).await {
                Ok(opened) => {
                    self.epoch = opened.head.epoch;
                    // What an open shows beyond what was acknowledged was unknown to the former owner.
                    let expected = &self.acknowledged[usize::try_from(opened.head.trimmed_below.0 - 1).unwrap()..];
                    let found: Vec<_> = opened.tail.into_iter().map(|group| (group.id, group.bytes)).collect();
                    assert!(found == expected, "seen {} groups, acknowledged {}", found.len(), expected.len());
                    return;
                }
                Err(StorageError::Corrupt(what) | StorageError::Invalid(what)) => panic!("{what}"),
                Err(_) => {}
            }
        }
    }

    async fn append(&mut self, id: GroupId, bytes: Bytes) {
        let seq = Seq(self.acknowledged.len() as u64 + 1);
        loop {
            match self.store.log.append(&self.id, self.epoch, seq, id, bytes.clone()).await {
                Append::Appended => break,
                Append::Fenced => panic!("no other process opened the log"),
                Append::Unknown if self.landed(seq, id).await => break,
                Append::Unknown => {}
            }
        }
        self.acknowledged.push((id, bytes));
    }

    async fn landed(&mut self, seq: Seq, id: GroupId) -> bool {
        loop {
            match self.store.log.reopen(&self.id, self.epoch, self.nonce).await {
                Ok(Reopen::Reopened(opened)) => {
                    self.epoch = opened.head.epoch;
                    return opened.tail.iter().any(|group| (group.seq, group.id) == (seq, id));
                }
                Ok(Reopen::Fenced) => panic!("no other process opened the log"),
                Err(StorageError::Corrupt(what) | StorageError::Invalid(what)) => panic!("{what}"),
                Ok(Reopen::Unknown) | Err(_) => {}
            }
        }
    }

    async fn trim(&mut self, below: u64) {
        assert_ne!(self.store.log.trim(&self.id, self.epoch, Seq(below)).await, Append::Fenced);
        self.trimmed_below = below;
    }
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_in_a_storm() {
    let rounds: u32 = std::env::var("STORM_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(150);
    let seed = std::env::var("STORM_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let settings = CqlSettings { log: LIMITS, ..database::settings().await };
    let behind = behind_proxy(&settings, seed, Duration::from_millis(800)).await;
    behind.control.set_rules(rules());
    let mut owner = Owner {
        store: behind.store.store(),
        id: LogId("storm".into()),
        nonce: OwnerNonce(1),
        epoch: Epoch(0),
        trimmed_below: 1,
        acknowledged: Vec::new(),
    };
    owner.open().await;
    let (mut rows, mut entry) = (HashMap::new(), 0);
    for round in 1..=rounds {
        owner.append(GroupId(round.into()), vec![7; round as usize * 37 % 600].into()).await;
        write_row(&owner.store, round.into(), &mut rows).await;
        entry = raise_entry(&owner.store, entry).await;
        if round % 7 == 0 {
            owner.trim(u64::from(round) - 3).await;
        }
        if round % 40 == 0 {
            owner.nonce = OwnerNonce(u128::from(round));
            owner.open().await;
        }
    }
    let counts = behind.control.counts();
    assert_eq!((behind.sent_twice(), counts.unknown_prepared), (vec![], 0), "seed {seed}: sent twice");
    assert!(counts.faults.values().flat_map(|faults| faults.values()).sum::<u64>() > u64::from(rounds) / 10);
    behind.control.clear_rules();
    owner.open().await;
    for (key, version) in rows {
        let row = until_answered(async || owner.store.table.get(&"storm".into(), &vec![key].into()).await).await;
        assert_eq!(row.map(|row| row.version), version, "seed {seed}, row {key}");
    }
    let found = until_answered(async || owner.store.registry.get("storm").await).await.expect("an entry");
    assert_eq!(found.version, entry, "seed {seed}");
}

/// Puts or deletes a row, again and again until it is acknowledged, now and then with an older write after it.
async fn write_row(store: &Store, version: u64, rows: &mut HashMap<u8, Option<u64>>) {
    let key = (version % 11) as u8;
    let is_delete = version.is_multiple_of(4);
    let write = |version: u64| PartitionWrite {
        partition: "storm".into(),
        version,
        puts: if is_delete { vec![] } else { vec![(vec![key].into(), Bytes::from(version.to_string()))] },
        deletes: if is_delete { vec![vec![key].into()] } else { vec![] },
    };
    for version in [version, version.saturating_sub(1)] {
        while store.table.write(vec![write(version)]).await.is_err() {}
    }
    rows.insert(key, (!is_delete).then_some(version));
}

/// Raises the entry by one, as one who settles what is unknown by reading does. The new version.
async fn raise_entry(store: &Store, version: u64) -> u64 {
    let wanted = Bytes::from((version + 1).to_string());
    loop {
        match store.registry.compare_and_set("storm", version, Some(wanted.clone())).await {
            CompareAndSet::Applied => return version + 1,
            CompareAndSet::Conflict | CompareAndSet::Unknown => {}
        }
        let found = until_answered(async || store.registry.get("storm").await).await;
        if found.is_some_and(|entry| entry.version == version + 1) {
            return version + 1;
        }
    }
}

/// Asks until a node answers.
async fn until_answered<T>(ask: impl AsyncFn() -> StorageResult<T>) -> T {
    loop {
        if let Ok(answer) = ask().await {
            return answer;
        }
    }
}
