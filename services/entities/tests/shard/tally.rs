//! A kind unlike the ledger, to be hosted beside it: a number in one row, which grows by one whenever its time has come.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use entities::{
    BoxFuture, Corrupt, EntityKey, Env, Host, Kind, Load, ObligationId, Refusal, Release, RowAddress, StoredRow,
    Transition,
};
use ids::{KindId, Timestamp};
use storage::{PartitionWrite, Version};

pub struct Tally;

pub enum Input {
    Add(u64),
    /// Adds one at this time.
    AddAt(Timestamp),
    TimeHasCome,
    Read,
    /// Adds something that cannot be applied when it is read again.
    Poison,
    /// The number has been told.
    Told,
}

/// What the number was made to be, what has been told of it, and when it grows.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct Count {
    pub number: u64,
    pub told: u64,
    grows_at: i64,
}

#[derive(Default)]
pub struct State {
    count: Count,
    dirty: bool,
    loaded: Version,
}

const POISON: u64 = u64::MAX;

impl Count {
    fn encode(self) -> Bytes {
        let fields = [self.number, self.told, self.grows_at.cast_unsigned()];
        fields.map(u64::to_be_bytes).concat().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let fields = bytes.chunks_exact(8).map(|field| u64::from_be_bytes(field.try_into().unwrap()));
        let fields: Vec<_> = fields.collect();
        let [number, told, grows_at] = fields[..] else { return Err(Corrupt(format!("{} fields", fields.len()))) };
        Ok(Self { number, told, grows_at: grows_at.cast_signed() })
    }
}

fn row(key: &EntityKey) -> RowAddress {
    RowAddress {
        partition: Bytes::from(format!("tally/{}\0{}", key.namespace, key.id)),
        key: Bytes::from_static(b"count"),
    }
}

/// A change is the count as it is after it.
impl Kind for Tally {
    const ID: KindId = KindId::of_test(2);

    type State = State;
    type Input = Input;
    type Change = Count;
    type Reply = Count;
    type Rejection = ();
    type Obligation = u64;

    fn entity_partitions(&self) -> &'static [u8] {
        b"tally/"
    }

    fn entity_of(&self, partition: &[u8]) -> Option<EntityKey> {
        EntityKey::of_name::<Self>(partition.strip_prefix(b"tally/")?)
    }

    fn vacant(&self, _: &EntityKey) -> State {
        State::default()
    }

    fn step(
        &self,
        _: &EntityKey,
        state: &mut State,
        input: Input,
        env: &Env,
    ) -> Result<Transition<Self>, Refusal<Self>> {
        let mut count = state.count;
        match input {
            Input::Add(some) => count.number += some,
            Input::AddAt(at) => count.grows_at = at.nanos(),
            Input::TimeHasCome if count.grows_at != 0 && count.grows_at <= env.now.nanos() => {
                (count.number, count.grows_at) = (count.number + 1, 0);
            }
            Input::Poison => count.number = POISON,
            Input::Told => count.told = count.number,
            Input::TimeHasCome | Input::Read => {}
        }
        let changes = if count == state.count { vec![] } else { vec![count] };
        state.dirty |= !changes.is_empty();
        state.count = count;
        Ok(Transition { changes, reply: count, release: Release::Durable })
    }

    fn apply(&self, _: &EntityKey, state: &mut State, change: &Count) -> Result<(), Corrupt> {
        if change.number == POISON {
            return Err(Corrupt("poison".to_owned()));
        }
        (state.count, state.dirty) = (*change, true);
        Ok(())
    }

    fn loaded_version(&self, state: &State, _: &Count) -> Version {
        state.loaded
    }

    fn encode_change(&self, change: &Count) -> Bytes {
        change.encode()
    }

    fn decode_change(&self, bytes: Bytes) -> Result<Count, Corrupt> {
        Count::decode(&bytes)
    }

    /// The number, until it has been told.
    fn obligations(&self, _: &EntityKey, state: &State) -> Vec<(ObligationId, u64)> {
        let Count { number, told, .. } = state.count;
        if number == told { vec![] } else { vec![(format!("tell {number}"), number)] }
    }

    fn next_wake_up(&self, state: &State) -> Option<Timestamp> {
        Some(state.count.grows_at).filter(|at| *at != 0).map(Timestamp::from_nanos)
    }

    fn wake_up(&self) -> Input {
        Input::TimeHasCome
    }

    fn load(&self, key: &EntityKey, found: &[StoredRow]) -> Result<Load<State>, Corrupt> {
        let Some(stored) = found.first() else { return Ok(Load::Fetch(vec![row(key)])) };
        let Some(row) = &stored.row else { return Ok(Load::Ready(State::default())) };
        Ok(Load::Ready(State { count: Count::decode(&row.value)?, dirty: false, loaded: row.version }))
    }

    fn supply(&self, _: &EntityKey, _: &mut State, _: Vec<StoredRow>) -> Result<(), Corrupt> {
        Err(Corrupt("nobody asked for rows".to_owned()))
    }

    fn take_dirty(&self, key: &EntityKey, state: &mut State) -> Vec<PartitionWrite> {
        if !std::mem::take(&mut state.dirty) {
            return vec![];
        }
        let RowAddress { partition, key } = row(key);
        vec![PartitionWrite { partition, version: 0, puts: vec![(key, state.count.encode())], deletes: vec![] }]
    }

    fn mark_all_dirty(&self, state: &mut State) {
        state.dirty = true;
    }

    fn shed(&self, _: &mut State) {}

    fn weight(&self, _: &State) -> usize {
        0
    }
}

/// Hears of numbers.
#[derive(Default)]
pub struct Listener {
    pub heard: Mutex<Vec<(String, u64)>>,
}

impl Host<Tally> for Listener {
    fn carry_out(self: Arc<Self>, key: EntityKey, number: u64) -> BoxFuture<Option<Input>> {
        self.heard.lock().unwrap().push((key.id.to_string(), number));
        Box::pin(async { Some(Input::Told) })
    }

    fn committed(&self, _: &EntityKey) {}
}
