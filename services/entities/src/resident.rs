//! An entity in memory, as its parts are: which of them their rows do not show yet, or not for certain; and how it came there.
//!
//! A part that is not noted here is in its row, where every reader finds it, and may be in memory as well. One that has changed
//! is dirty until a checkpoint takes it, and unacknowledged until the store has acknowledged what was taken.
//!
//! **What taking over reads**: the root, the parts that belong in memory with it, and those that the log's tail touches, unless
//! they begin in it. So it is bounded by the tail. Rows are read one by one, and each may show another position: what a former
//! owner wrote without hearing of success may be read or not. So each part is brought up to date by its own row's version; and
//! all that the tail touches is written again, whatever its row shows, since that row may lie on a single replica. What the
//! tail does not touch was acknowledged to a former owner: otherwise the tail would begin earlier.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::size_of;
use std::sync::Arc;

use bytes::Bytes;
use storage::{PartitionKey, PartitionWrite, Row, Seq, Version};

use crate::{Corrupt, EntityKey, Env, Kind, OwedChanges, Refusal, RowAddress, Touch, Transition};

/// How a part stands that is not safe in its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether it has changed since it was last taken.
    pub dirty: bool,
    /// Whether it was taken for a checkpoint that is not acknowledged yet.
    pub unacknowledged: bool,
    /// Whether there may be a row of it.
    may_have_row: bool,
}

/// An entity of kind `K` in memory.
pub struct Resident<K: Kind> {
    kind: Arc<K>,
    state: K::State,
    unsafe_parts: BTreeMap<K::Part, Standing>,
    /// Parts that a step needs, in the order in which their rows were asked for.
    needed: Vec<K::Part>,
}

/// An entity on its way to memory.
pub struct Loading<K: Kind> {
    resident: Resident<K>,
    tail: Vec<(Seq, K::Change)>,
    /// What has been asked for, or begins in the tail.
    known: BTreeSet<K::Part>,
    /// What to ask for next.
    wanted: Vec<K::Part>,
    /// The positions up to which the rows that were found show their parts.
    versions: BTreeMap<K::Part, Version>,
}

impl<K: Kind> Loading<K> {
    /// Begins to load an entity, to which the log's tail has done this.
    ///
    /// # Errors
    /// When a change cannot be decoded.
    pub fn begin(kind: Arc<K>, key: &EntityKey, tail: &[(Seq, Bytes)]) -> Result<Self, Corrupt> {
        let decoded = tail.iter().map(|(seq, bytes)| Ok((*seq, kind.decode_change(bytes.clone())?)));
        let tail = decoded.collect::<Result<Vec<_>, Corrupt>>()?;
        let mut known = BTreeSet::from([kind.root()]);
        let mut wanted = vec![kind.root()];
        for touched in tail.iter().flat_map(|(_, change)| kind.parts_of(change)) {
            match touched {
                Touch::Begins(part) => {
                    known.insert(part);
                }
                Touch::Changes(part) => {
                    if known.insert(part.clone()) {
                        wanted.push(part);
                    }
                }
            }
        }
        let state = kind.vacant(key);
        let resident = Resident { kind, state, unsafe_parts: BTreeMap::new(), needed: Vec::new() };
        Ok(Self { resident, tail, known, wanted, versions: BTreeMap::new() })
    }

    /// The rows to look up next; none when all are there.
    pub fn wants(&self, key: &EntityKey) -> Vec<RowAddress> {
        self.wanted.iter().map(|part| self.resident.kind.address(key, part)).collect()
    }

    /// Adds the rows that were wanted, in that order.
    ///
    /// # Errors
    /// When one of them makes no sense.
    pub fn add(&mut self, key: &EntityKey, rows: Vec<Option<Row>>) -> Result<(), Corrupt> {
        let Resident { kind, state, .. } = &mut self.resident;
        for (part, row) in std::mem::take(&mut self.wanted).into_iter().zip(rows) {
            let (value, version) = row.map_or((None, 0), |row| (Some(row.value), row.version));
            kind.decode_part(key, state, &part, value)?;
            self.versions.insert(part, version);
        }
        for part in kind.companions(state) {
            if self.known.insert(part.clone()) {
                self.wanted.push(part);
            }
        }
        Ok(())
    }

    /// Brings what was loaded up to date with the tail.
    ///
    /// # Errors
    /// When a change cannot be applied.
    pub fn finish(self, key: &EntityKey) -> Result<Resident<K>, Corrupt> {
        let Self { mut resident, tail, versions, .. } = self;
        let Resident { kind, state, unsafe_parts, .. } = &mut resident;
        for (seq, change) in &tail {
            let is_behind = |part: &K::Part| seq.0 > versions.get(part).copied().unwrap_or(0);
            let touched = kind.parts_of(change);
            if touched.iter().any(|touched| is_behind(touched.part())) {
                kind.apply(key, state, change, &is_behind)?;
            }
            for touched in touched {
                // A former owner may have written it, for some readers or for all.
                let standing = Standing { dirty: true, unacknowledged: false, may_have_row: true };
                unsafe_parts.insert(touched.into_part(), standing);
            }
        }
        Ok(resident)
    }
}

impl<K: Kind> Resident<K> {
    /// Loads an entity from rows that are at hand.
    ///
    /// # Errors
    /// When what is stored makes no sense.
    pub fn load(
        kind: Arc<K>,
        key: &EntityKey,
        tail: &[(Seq, Bytes)],
        mut find: impl FnMut(&RowAddress) -> Option<Row>,
    ) -> Result<Self, Corrupt> {
        let mut loading = Loading::begin(kind, key, tail)?;
        loop {
            let wanted = loading.wants(key);
            if wanted.is_empty() {
                return loading.finish(key);
            }
            loading.add(key, wanted.iter().map(&mut find).collect())?;
        }
    }

    /// The state.
    pub fn state(&self) -> &K::State {
        &self.state
    }

    pub(crate) fn kind(&self) -> &K {
        &self.kind
    }

    /// How a part stands; `None` for one that is safe in its row.
    pub fn standing(&self, part: &K::Part) -> Option<Standing> {
        self.unsafe_parts.get(part).copied()
    }

    /// Decides, and applies what was decided. When rows are needed first, they are to be given to [`Resident::supply`] in the order
    /// of [`Resident::needs`].
    ///
    /// # Errors
    /// When nothing was done.
    pub fn step(&mut self, key: &EntityKey, input: K::Input, env: &Env) -> Result<Transition<K>, Refusal<K>> {
        let owed = cfg!(debug_assertions).then(|| self.kind.obligations(key, &self.state));
        let stepped = self.kind.step(key, &mut self.state, input, env);
        if let (Some(before), Ok(transition)) = (owed, &stepped) {
            self.check_owed(key, before, &transition.owed);
        }
        match &stepped {
            Ok(transition) => transition.changes.iter().for_each(|change| self.touch(change)),
            Err(Refusal::Needs(parts, _)) => self.needed.clone_from(parts),
            Err(Refusal::Rejected(_)) => {}
        }
        stepped
    }

    /// Panics unless what a step says of what is owed is what all that is owed comes to.
    fn check_owed(&self, key: &EntityKey, before: Vec<K::ObligationId>, said: &OwedChanges<K::ObligationId>) {
        let mut owed = BTreeSet::from_iter(before);
        let settled = said.settled.iter().all(|id| owed.remove(id));
        let fresh = said.fresh.iter().all(|id| owed.insert(id.clone()));
        let now = BTreeSet::from_iter(self.kind.obligations(key, &self.state));
        assert!(settled && fresh && owed == now, "a step of {key:?} says {said:?} of what is owed, which is {now:?}");
    }

    fn touch(&mut self, change: &K::Change) {
        for touched in self.kind.parts_of(change) {
            let may_have_row = matches!(touched, Touch::Changes(_));
            let fresh = Standing { dirty: true, unacknowledged: false, may_have_row };
            self.unsafe_parts.entry(touched.into_part()).or_insert(fresh).dirty = true;
        }
    }

    /// The rows of the parts that the last step needs.
    pub fn needs(&self, key: &EntityKey) -> Vec<RowAddress> {
        self.needed.iter().map(|part| self.kind.address(key, part)).collect()
    }

    /// Adds the rows that a step needed.
    ///
    /// # Errors
    /// When one of them makes no sense.
    pub fn supply(&mut self, key: &EntityKey, rows: Vec<Option<Row>>) -> Result<(), Corrupt> {
        for (part, row) in std::mem::take(&mut self.needed).into_iter().zip(rows) {
            self.kind.decode_part(key, &mut self.state, &part, row.map(|row| row.value))?;
        }
        Ok(())
    }

    /// The rows of all that is dirty, which is then unacknowledged. One call at a time, until [`Resident::written`].
    pub fn take_dirty(&mut self, key: &EntityKey, version: Version) -> Vec<PartitionWrite> {
        let mut writes: BTreeMap<PartitionKey, PartitionWrite> = BTreeMap::new();
        for (part, standing) in self.unsafe_parts.iter_mut().filter(|(_, standing)| standing.dirty) {
            let rows = self.kind.encode_part(&self.state, part);
            let RowAddress { partition, key } = self.kind.address(key, part);
            let fresh = || PartitionWrite { partition: partition.clone(), version, ..PartitionWrite::default() };
            if !rows.is_empty() {
                writes.entry(partition.clone()).or_insert_with(fresh).puts.extend(rows);
            } else if standing.may_have_row {
                writes.entry(partition.clone()).or_insert_with(fresh).deletes.push(key);
            }
            *standing = Standing { dirty: false, unacknowledged: true, may_have_row: true };
        }
        writes.into_values().collect()
    }

    /// What was taken last is acknowledged: what is safe and need not be in memory leaves it.
    pub fn written(&mut self) {
        self.unsafe_parts.retain(|_, standing| {
            standing.unacknowledged = false;
            standing.dirty
        });
        let unsafe_parts = &self.unsafe_parts;
        self.kind.leave_to_rows(&mut self.state, &|part| !unsafe_parts.contains_key(part));
    }

    /// Bytes of memory in all.
    pub fn weight(&self) -> usize {
        // A tree's nodes are a little less than three quarters full.
        let noted = self.unsafe_parts.len() * (size_of::<(K::Part, Standing)>() + K::PART_BYTES) / 3 * 4;
        size_of::<Self>() + noted + self.kind.weight(&self.state)
    }
}
