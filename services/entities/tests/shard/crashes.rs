//! Whatever happens to shards and stores: all that was acknowledged survives, nothing happens twice, no alarm rings early.
//!
//! Clients work on a few entities while their shard is abandoned, fenced and closed at random moments, and while every
//! method of the store fails, fails after taking effect, or stalls. A failure names the seed that repeats it:
//! `SHARD_SEED` is the first seed to run, `SHARD_SEEDS` how many.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use entities::CallError;
use ids::Timestamp;
use storage::fault::{FaultPlan, Faults, Method};

use crate::ledger::{Input, Reply};
use crate::world::{Handle, World, key, read};

const CLIENTS: u64 = 8;
const ENTITIES: u64 = 12;

/// A small generator (splitmix64), so that a seed is all that a run depends on.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

/// What clients got as answers.
#[derive(Default)]
struct Acknowledged {
    deposits: BTreeMap<u64, BTreeMap<u64, i64>>,
    alarms: BTreeMap<u64, BTreeMap<u64, Timestamp>>,
    owed: BTreeMap<u64, BTreeSet<u64>>,
    /// The lowest balance of deposits that a later read may show, by entity.
    seen: BTreeMap<u64, u64>,
}

struct Run {
    world: World,
    owner: Mutex<Handle>,
    acknowledged: Mutex<Acknowledged>,
    over: AtomicBool,
}

fn name(entity: u64) -> String {
    format!("account {entity}")
}

impl Run {
    fn owner(&self) -> Handle {
        self.owner.lock().unwrap().clone()
    }

    /// Asks until there is an answer.
    async fn insist(&self, entity: u64, mut input: impl FnMut() -> Input) -> Reply {
        loop {
            let shard = self.owner();
            let asked = shard.call(key(&name(entity)), input());
            // A caller that times out asks again.
            match self.world.runtime.timeout(Duration::from_secs(3), asked).await {
                Some(Ok(reply)) => return reply,
                Some(Err(CallError::Quarantined(reason))) => panic!("entity {entity} is corrupt: {reason}"),
                Some(Err(_)) | None => {}
            }
            self.world.runtime.sleep(Duration::from_millis(7)).await;
        }
    }

    async fn client(&self, number: u64, mut dice: Dice) {
        let mut request = number << 32;
        while !self.over.load(Ordering::Relaxed) {
            request += 1;
            let entity = dice.roll(ENTITIES);
            match dice.roll(10) {
                0..5 => {
                    let amount = dice.roll(100) as i64;
                    self.insist(entity, || Input::Deposit { request, amount }).await;
                    self.acknowledged.lock().unwrap().deposits.entry(entity).or_default().insert(request, amount);
                }
                5 => {
                    let ahead = [20, 5_000, 700_000, 90_000_000][dice.roll(4) as usize];
                    let at = self.world.runtime.now() + Duration::from_millis(dice.roll(ahead));
                    self.insist(entity, || Input::SetAlarm { name: request, at }).await;
                    self.acknowledged.lock().unwrap().alarms.entry(entity).or_default().insert(request, at);
                }
                6 => {
                    self.insist(entity, || Input::Owe(request)).await;
                    self.acknowledged.lock().unwrap().owed.entry(entity).or_default().insert(request);
                }
                7 => {
                    // Brings to memory what another owner would not have there.
                    let number = dice.roll(8);
                    self.insist(entity, || Input::ReadEntry(number)).await;
                }
                _ => self.read_back(entity).await,
            }
            // Mostly busy, sometimes quiet for long, so that a run spans hours in a few thousand requests.
            let pause = [20, 20, 20, 20, 2_000, 300_000][dice.roll(6) as usize];
            self.world.runtime.sleep(Duration::from_millis(dice.roll(pause))).await;
        }
    }

    /// A read shows everything acknowledged before it was asked for, and no less than an earlier read showed.
    async fn read_back(&self, entity: u64) {
        let (known, seen) = {
            let acknowledged = self.acknowledged.lock().unwrap();
            let known = acknowledged.deposits.get(&entity).cloned().unwrap_or_default();
            (known, acknowledged.seen.get(&entity).copied().unwrap_or(0))
        };
        let view = self.insist(entity, || Input::Read).await.view();
        for request in known.keys() {
            assert!(view.requests.contains(request), "a read of {entity} lacks the acknowledged deposit {request}");
        }
        assert!(view.deposits >= seen, "a read of {entity} went back from {seen} to {}", view.deposits);
        let mut acknowledged = self.acknowledged.lock().unwrap();
        let latest = acknowledged.seen.entry(entity).or_default();
        *latest = view.deposits.max(*latest);
    }

    async fn mischief(&self, mut dice: Dice) {
        for _ in 0..20 {
            let wait = [50, 500, 5_000, 50_000, 1_500_000][dice.roll(5) as usize];
            self.world.runtime.sleep(Duration::from_millis(1 + dice.roll(wait))).await;
            match dice.roll(4) {
                // A crash: no caller gets an answer.
                0 => self.owner().abandon().await,
                // Handed over.
                1 => self.owner().close().await,
                // Taken over: the former owner finds out by being fenced.
                _ => {}
            }
            let next = self.world.open_patiently().await;
            *self.owner.lock().unwrap() = next;
        }
        self.over.store(true, Ordering::Relaxed);
    }

    async fn check(&self) {
        let world = &self.world;
        world.faults().heal();
        // The shard's owner is gone, and the last alarm is due.
        world.pass(Duration::from_secs(2 * 24 * 3600)).await;
        let shard = world.open().await;
        world.pass(Duration::from_secs(60)).await;
        let acknowledged = std::mem::take(&mut *self.acknowledged.lock().unwrap());
        for entity in 0..ENTITIES {
            let view = read(&shard, &name(entity)).await;
            for request in acknowledged.deposits.get(&entity).into_iter().flatten().map(|(request, _)| request) {
                assert!(view.requests.contains(request), "deposit {request} of {entity} is lost");
            }
            assert_eq!(view.requests.len() as u64, view.deposits, "a deposit of {entity} happened twice");
            let mut balance = 0;
            for number in 0..view.deposits {
                let entry = shard.call(key(&name(entity)), Input::ReadEntry(number)).await.unwrap();
                let Reply::Entry(Some(amount)) = entry else { panic!("entry {number} of {entity} is lost") };
                balance += amount;
            }
            assert_eq!(view.balance, balance, "the journal of {entity} does not add up");
            for (alarm, at) in acknowledged.alarms.get(&entity).into_iter().flatten() {
                let rang = view.rang.get(alarm).unwrap_or_else(|| panic!("alarm {alarm} of {entity} never rang"));
                assert!(
                    rang.iter().all(|(due, rang)| due == at && rang >= due),
                    "alarm {alarm} of {entity} rang early"
                );
            }
            assert!(view.alarms.is_empty(), "alarms of {entity} are due: {:?}", view.alarms);
            assert!(view.owed.is_empty(), "{entity} still owes {:?}", view.owed);
            for owed in acknowledged.owed.get(&entity).into_iter().flatten() {
                assert!(
                    world.bank.asked(&name(entity), *owed) > 0,
                    "obligation {owed} of {entity} was never carried out"
                );
            }
        }
        shard.close().await;
        assert_eq!(world.witness.ambiguous(), Vec::<String>::new());
        let last = world.open().await;
        assert_eq!(last.stats().log_depth, 0);
    }
}

async fn run(seed: u64) {
    let mut dice = Dice(seed);
    let rate = [0.0, 0.02, 0.15][dice.roll(3) as usize];
    let faults = Faults { fail: rate, fail_after_effect: rate, stall: rate, stall_for: Duration::from_millis(30) };
    let mut plan = FaultPlan::new(seed).everywhere(faults);
    if dice.roll(2) == 0 {
        plan = plan.hiding_local_epoch();
    }
    if dice.roll(2) == 0 {
        let slow = Faults { stall: 1.0, stall_for: Duration::from_millis(4), ..faults };
        plan = plan.on(Method::Append, slow).on(Method::Get, slow);
    }
    let mut world = World::with(plan);
    world.settings.checkpoint_age = Duration::from_millis(20 + dice.roll(3000));
    world.settings.checkpoint_batch = 1 + dice.roll(5) as usize;
    world.settings.memory_bytes = 2_000 + dice.roll(20_000) as usize;
    world.settings.tail_bytes = 500 + dice.roll(5000);
    world.settings.group_bytes = 200 + dice.roll(2000) as usize;
    world.settings.close_deadline = Duration::from_millis(200);
    let owner = Mutex::new(world.open_patiently().await);
    let (acknowledged, over) = (Mutex::default(), AtomicBool::new(false));
    let run = Arc::new(Run { world, owner, acknowledged, over });
    let mut parties: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (run, dice) = (Arc::clone(&run), Dice(seed ^ (number + 1).wrapping_mul(0xD134_2543_DE82_EF95)));
            run.world.runtime.clone().spawn(async move { run.client(number, dice).await })
        })
        .collect();
    let chaos = Arc::clone(&run);
    parties.push(run.world.runtime.spawn(async move { chaos.mischief(dice).await }));
    for party in parties {
        party.await.unwrap();
    }
    run.check().await;
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_happens_twice() {
    let seeds = std::env::var("SHARD_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(20);
    let first = std::env::var("SHARD_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0);
    for seed in first..first + seeds {
        println!("seed {seed}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(run(seed));
    }
}
