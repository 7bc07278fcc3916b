//! Rows that a step asks for may hold a time that the entity did not know of.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use entities::{
    BoxFuture, Corrupt, EntityKey, Env, Host, Kind, Kinds, OwedChanges, Refusal, Release, RowAddress, Shard, Touch,
    Transition,
};
use ids::{KindId, Timestamp};
use storage::{PartitionWrite, RowKey};

use crate::world::{START, World};

/// A drawer with a note, which says when to look at it; the note is read on request.
struct Drawer;

#[derive(Default)]
struct State {
    note: Option<Timestamp>,
    looked_at: Option<Timestamp>,
}

/// The drawer itself has no row.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Part {
    Drawer,
    Note,
}

enum Input {
    Read,
    TimeHasCome,
}

fn key(id: &str) -> EntityKey {
    EntityKey::of::<Drawer>("namespace", id)
}

impl Kind for Drawer {
    type State = State;
    type Part = Part;
    type Input = Input;
    type Change = Timestamp;
    type Reply = Option<Timestamp>;
    type Rejection = ();
    type Obligation = ();
    type ObligationId = u64;

    const ID: KindId = KindId::of_test(1);

    fn entity_partitions(&self) -> &'static [u8] {
        b"drawer/"
    }

    fn entity_of(&self, _: &[u8]) -> Option<EntityKey> {
        None
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
        let changes = match (&input, state.note) {
            (Input::Read, None) => return Err(Refusal::Needs(vec![Part::Note], input)),
            (Input::TimeHasCome, Some(at)) if state.looked_at.is_none() && at <= env.now => {
                state.looked_at = Some(env.now);
                vec![env.now]
            }
            _ => vec![],
        };
        Ok(Transition {
            changes,
            is_volatile: false,
            reply: state.looked_at,
            release: Release::Durable,
            owed: OwedChanges::default(),
        })
    }

    fn apply(
        &self,
        _: &EntityKey,
        state: &mut State,
        change: &Timestamp,
        _: &dyn Fn(&Part) -> bool,
    ) -> Result<(), Corrupt> {
        state.looked_at = Some(*change);
        Ok(())
    }

    fn encode_change(&self, change: &Timestamp) -> Bytes {
        Bytes::copy_from_slice(&change.nanos().to_be_bytes())
    }

    fn decode_change(&self, bytes: Bytes) -> Result<Timestamp, Corrupt> {
        let nanos = bytes[..].try_into().map_err(|_| Corrupt("not a time".to_owned()))?;
        Ok(Timestamp::from_nanos(i64::from_be_bytes(nanos)))
    }

    fn obligations(&self, _: &EntityKey, _: &State) -> Vec<u64> {
        vec![]
    }

    fn obligation(&self, _: &EntityKey, _: &State, _: &u64) -> Option<()> {
        None
    }

    fn next_wake_up(&self, state: &State) -> Option<Timestamp> {
        state.note.filter(|_| state.looked_at.is_none())
    }

    fn wake_up(&self) -> Input {
        Input::TimeHasCome
    }

    fn root(&self) -> Part {
        Part::Drawer
    }

    fn address(&self, key: &EntityKey, part: &Part) -> RowAddress {
        let row = match part {
            Part::Drawer => "drawer",
            Part::Note => "note",
        };
        RowAddress { partition: Bytes::from(format!("drawer/{}", key.id)), key: Bytes::from(row) }
    }

    fn encode_part(&self, _: &State, _: &Part) -> Vec<(RowKey, Bytes)> {
        vec![]
    }

    fn decode_part(&self, _: &EntityKey, state: &mut State, part: &Part, row: Option<Bytes>) -> Result<(), Corrupt> {
        if *part == Part::Note {
            let row = row.ok_or_else(|| Corrupt("no note".to_owned()))?;
            state.note = Some(self.decode_change(row)?);
        }
        Ok(())
    }

    fn parts_of(&self, _: &Timestamp) -> Vec<Touch<Part>> {
        vec![]
    }

    fn leave_to_rows(&self, _: &mut State, _: &dyn Fn(&Part) -> bool) {}

    fn weight(&self, _: &State) -> usize {
        100
    }
}

struct Idle;

impl Host<Drawer> for Idle {
    fn carry_out(self: Arc<Self>, _: EntityKey, (): ()) -> BoxFuture<Option<Input>> {
        Box::pin(async { None })
    }

    fn committed(&self, _: &EntityKey) {}
}

#[tokio::test(start_paused = true)]
async fn an_entity_is_woken_at_the_time_that_rows_it_asked_for_hold() {
    let world = World::new();
    let due = START + Duration::from_secs(60);
    let RowAddress { partition, key: row } = Drawer.address(&key("a"), &Part::Note);
    let puts = vec![(row, Drawer.encode_change(&due))];
    let write = PartitionWrite { partition, version: 0, puts, deletes: vec![] };
    world.store().table.write(vec![write]).await.unwrap();
    let (store, runtime, settings) = (world.store(), world.runtime.clone(), world.settings.clone());
    let kinds = Kinds::default().with(Arc::new(Drawer), Arc::new(Idle));
    let shard = Shard::open(world.log(), kinds, store, runtime, settings).await.unwrap();
    assert_eq!(shard.call::<Drawer>(key("a"), Input::Read).await, Ok(None));
    world.runtime.sleep_until(due + Duration::from_secs(1)).await;
    let looked_at = shard.call::<Drawer>(key("a"), Input::Read).await.unwrap();
    assert!(looked_at.is_some_and(|at| at.since(due) < Duration::from_millis(10)), "{looked_at:?}");
}
