//! Draws the fate of each call, and lets tests interfere.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runtime::Runtime;

use super::plan::{Fate, FaultPlan, Faults, Method};
use crate::PartitionKey;
use crate::dice::Dice;

/// Heals and breaks a [`FaultyStore`](super::FaultyStore) while it is in use. Cheap to clone; clones act on the same
/// store.
#[derive(Clone)]
pub struct FaultControl(Arc<Mutex<State>>);

struct State {
    plan: FaultPlan,
    healed: bool,
    calls: BTreeMap<Method, u64>,
    arranged: BTreeMap<Method, VecDeque<Fate>>,
    injected: u64,
}

/// What was drawn for one call: its fate, and a number for whatever else the call must draw.
pub(super) struct Drawn {
    pub(super) fate: Fate,
    pub(super) dice: u64,
}

impl FaultControl {
    pub(super) fn new(plan: FaultPlan) -> Self {
        let state = State { plan, healed: false, calls: BTreeMap::new(), arranged: BTreeMap::new(), injected: 0 };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Stops all planned faults. Calls still count, so that the plan goes on where it would have been.
    pub fn heal(&self) {
        self.lock().healed = true;
    }

    /// Lets planned faults happen again.
    pub fn break_again(&self) {
        self.lock().healed = false;
    }

    /// Replaces the plan.
    pub fn follow(&self, plan: FaultPlan) {
        self.lock().plan = plan;
    }

    /// Arranges the fate of the next call of `method` that has none arranged yet, healed or not. It does not stall.
    pub fn arrange(&self, method: Method, fate: Fate) {
        self.lock().arranged.entry(method).or_default().push_back(fate);
    }

    /// How often `method` was called so far.
    #[must_use]
    pub fn calls(&self, method: Method) -> u64 {
        self.lock().calls.get(&method).copied().unwrap_or_default()
    }

    /// How many calls have failed by injection so far.
    #[must_use]
    pub fn injected(&self) -> u64 {
        self.lock().injected
    }

    pub(super) fn hides_local_epoch(&self) -> bool {
        self.lock().plan.hides_local_epoch
    }

    /// Counts the call, delays it if the plan says so, and returns its fate.
    pub(super) async fn meet(&self, method: Method) -> Drawn {
        let faults = self.lock().plan.faults_of(method);
        self.meet_faults(method, faults).await
    }

    /// The same for a call that touches these partitions.
    pub(super) async fn meet_at(&self, method: Method, partitions: impl Iterator<Item = &PartitionKey>) -> Drawn {
        let faults = self.lock().plan.faults_at(method, partitions);
        self.meet_faults(method, faults).await
    }

    async fn meet_faults(&self, method: Method, faults: Faults) -> Drawn {
        let (drawn, stall) = self.lock().draw(method, faults);
        if let Some(stall) = stall {
            Runtime::system().sleep(stall).await;
        }
        drawn
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while holding the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn draw(&mut self, method: Method, faults: Faults) -> (Drawn, Option<Duration>) {
        let call = self.calls.entry(method).or_default();
        *call += 1;
        let mut dice = dice_of(self.plan.seed, method, *call);
        let (stall, failure, rest) = (dice.unit(), dice.unit(), dice.roll());
        let stall = (!self.healed && stall < faults.stall).then_some(faults.stall_for);
        let planned = if self.healed || failure >= faults.fail + faults.fail_after_effect {
            Fate::Passes
        } else if failure < faults.fail {
            Fate::Fails
        } else {
            Fate::FailsAfterEffect
        };
        let arranged = self.arranged.get_mut(&method).and_then(VecDeque::pop_front);
        let stall = stall.filter(|_| arranged.is_none());
        let fate = arranged.unwrap_or(planned);
        self.injected += u64::from(fate != Fate::Passes);
        (Drawn { fate, dice: rest }, stall)
    }
}

/// The dice of one call. Each method has its own sequence, so that a call more of one changes nothing for the others.
fn dice_of(seed: u64, method: Method, call: u64) -> Dice {
    let of_method = Dice::from_seed(seed ^ (method as u64 + 1).wrapping_mul(0xA24B_AED4_963E_E407)).roll();
    Dice::from_seed(of_method ^ call.wrapping_mul(0x9FB2_1C65_1E98_DF25))
}
