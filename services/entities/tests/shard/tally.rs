//! A kind unlike the ledger, to be hosted beside it: a number in one row, which grows by one whenever its time has come.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use entities::{
    BoxFuture, Corrupt, EntityKey, Env, Host, Kind, OwedChanges, Refusal, Release, RowAddress, Touch, Transition,
};
use ids::{KindId, Timestamp};
use storage::RowKey;

pub struct Tally;

pub enum Input {
    Add(u64),
    /// Adds one at this time.
    AddAt(Timestamp),
    TimeHasCome,
    Read,
    /// Adds something that cannot be applied when it is read again.
    Poison,
    /// The number has been reported.
    Reported,
    /// Sets what only memory has.
    #[allow(dead_code, reason = "one of the two suites that host this kind does without")]
    Hint(u64),
}

/// What the number was made to be, what has been reported of it, and when it grows.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
pub struct Count {
    pub number: u64,
    pub reported: u64,
    grows_at: i64,
    /// Only memory has it. An odd one is to be reported, and is gone then.
    pub hint: u64,
}

/// Hints are reported as numbers from here on.
pub const HINTS: u64 = 1_000_000;

/// The one part.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Whole;

const POISON: u64 = u64::MAX;

impl Count {
    fn encode(self) -> Bytes {
        let fields = [self.number, self.reported, self.grows_at.cast_unsigned()];
        fields.map(u64::to_be_bytes).concat().into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let fields = bytes.chunks_exact(8).map(|field| u64::from_be_bytes(field.try_into().unwrap()));
        let fields: Vec<_> = fields.collect();
        let [number, reported, grows_at] = fields[..] else { return Err(Corrupt(format!("{} fields", fields.len()))) };
        Ok(Self { number, reported, grows_at: grows_at.cast_signed(), hint: 0 })
    }
}

const ROW: &[u8] = b"count";

/// A change is the count as it is after it.
/// The number, until it has been reported.
fn owed_by(count: Count) -> Vec<u64> {
    let number = (count.number != count.reported).then_some(count.number);
    let hint = (count.hint % 2 == 1).then_some(HINTS + count.hint);
    number.into_iter().chain(hint).collect()
}

impl Kind for Tally {
    const ID: KindId = KindId::of_test(2);

    type State = Count;
    type Part = Whole;
    type Input = Input;
    type Change = Count;
    type Reply = Count;
    type Rejection = ();
    type Obligation = u64;
    type ObligationId = u64;

    fn entity_partitions(&self) -> &'static [u8] {
        b"tally/"
    }

    fn entity_of(&self, partition: &[u8]) -> Option<EntityKey> {
        EntityKey::of_name::<Self>(partition.strip_prefix(b"tally/")?)
    }

    fn vacant(&self, _: &EntityKey) -> Count {
        Count::default()
    }

    fn step(
        &self,
        _: &EntityKey,
        state: &mut Count,
        input: Input,
        env: &Env,
    ) -> Result<Transition<Self>, Refusal<Self>> {
        let mut count = *state;
        match input {
            Input::Add(some) => count.number += some,
            Input::AddAt(at) => count.grows_at = at.nanos(),
            Input::TimeHasCome if count.grows_at != 0 && count.grows_at <= env.now.nanos() => {
                (count.number, count.grows_at) = (count.number + 1, 0);
            }
            Input::Poison => count.number = POISON,
            Input::Reported => (count.reported, count.hint) = (count.number, 0),
            Input::Hint(hint) => count.hint = hint,
            Input::TimeHasCome | Input::Read => {}
        }
        let is_volatile = count.hint != state.hint;
        let is_durable = count != Count { hint: count.hint, ..*state };
        let changes = if is_durable { vec![count] } else { vec![] };
        let before = owed_by(*state);
        *state = count;
        let owed = OwedChanges::between(before, owed_by(count));
        Ok(Transition { changes, is_volatile, reply: count, release: Release::Durable, owed })
    }

    fn apply(
        &self,
        _: &EntityKey,
        state: &mut Count,
        change: &Count,
        _: &dyn Fn(&Whole) -> bool,
    ) -> Result<(), Corrupt> {
        if change.number == POISON {
            return Err(Corrupt("poison".to_owned()));
        }
        *state = Count { hint: 0, ..*change };
        Ok(())
    }

    fn encode_change(&self, change: &Count) -> Bytes {
        change.encode()
    }

    fn decode_change(&self, bytes: Bytes) -> Result<Count, Corrupt> {
        Count::decode(&bytes)
    }

    fn obligations(&self, _: &EntityKey, state: &Count) -> Vec<u64> {
        owed_by(*state)
    }

    fn obligation(&self, _: &EntityKey, state: &Count, number: &u64) -> Option<u64> {
        owed_by(*state).contains(number).then_some(*number)
    }

    fn next_wake_up(&self, state: &Count) -> Option<Timestamp> {
        Some(state.grows_at).filter(|at| *at != 0).map(Timestamp::from_nanos)
    }

    fn wake_up(&self) -> Input {
        Input::TimeHasCome
    }

    fn root(&self) -> Whole {
        Whole
    }

    fn address(&self, key: &EntityKey, _: &Whole) -> RowAddress {
        let partition = Bytes::from(format!("tally/{}\0{}", key.namespace, key.id));
        RowAddress { partition, key: Bytes::from_static(ROW) }
    }

    fn encode_part(&self, state: &Count, _: &Whole) -> Vec<(RowKey, Bytes)> {
        vec![(Bytes::from_static(ROW), state.encode())]
    }

    fn decode_part(&self, _: &EntityKey, state: &mut Count, _: &Whole, row: Option<Bytes>) -> Result<(), Corrupt> {
        *state = row.map_or(Ok(Count::default()), |row| Count::decode(&row))?;
        Ok(())
    }

    fn parts_of(&self, _: &Count) -> Vec<Touch<Whole>> {
        vec![Touch::Changes(Whole)]
    }

    fn leave_to_rows(&self, _: &mut Count, _: &dyn Fn(&Whole) -> bool) {}

    fn weight(&self, _: &Count) -> usize {
        0
    }

    fn is_pinned(&self, state: &Count) -> bool {
        state.hint != 0
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
        Box::pin(async { Some(Input::Reported) })
    }

    fn committed(&self, _: &EntityKey) {}
}
