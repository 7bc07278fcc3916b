//! What entities owe to the outside: carried out once the group that owes it is durable, answered as an input, and
//! carried out again, more and more slowly, while it is still owed.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use runtime::Backoff;
use storage::Seq;

use crate::arrival::Arrival;
use crate::entity_slot::{Residence, SlotId};
use crate::hosted::Opaque;
use crate::log_writer::Start;
use crate::panics::caught;
use crate::request::{Origin, Request};
use crate::shard::ShardTask;
use crate::{ObligationId, OwedChanges};

/// Between the repetitions of something that was carried out and did not help.
pub(crate) const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Until this position is durable.
    Waiting(Seq),
    /// In the host's hands.
    Running,
    /// The answer was given to the entity, which has not decided on it yet.
    Answered,
    /// Carried out in vain; will be again.
    Resting,
}

struct Debt {
    phase: Phase,
    attempts: u32,
    /// False once the state does not owe it any more while the host still works on it.
    owed: bool,
}

/// The obligations of one entity that are under way.
#[derive(Default)]
pub(crate) struct Owed {
    debts: BTreeMap<ObligationId, Debt>,
}

impl Owed {
    pub(crate) fn is_empty(&self) -> bool {
        self.debts.is_empty()
    }

    /// Each debt, how it stands, and how often it was tried in vain.
    pub(crate) fn standings(&self) -> Vec<(&ObligationId, &'static str, u32)> {
        let standing = |debt: &Debt| match debt.phase {
            _ if !debt.owed => "not owed any more",
            Phase::Waiting(_) => "waiting for the log",
            Phase::Running => "being carried out",
            Phase::Answered => "answered",
            Phase::Resting => "resting",
        };
        self.debts.iter().map(|(id, debt)| (id, standing(debt), debt.attempts)).collect()
    }

    /// Follows what the state owes as of `seq`; returns what is to be started once `seq` is durable.
    fn reconcile(&mut self, changes: OwedChanges<ObligationId>, seq: Seq) -> Vec<ObligationId> {
        for id in changes.settled {
            match self.debts.get_mut(&id) {
                // What the host works on is not torn from its hands; its answer will find nothing to do.
                Some(debt) if debt.phase == Phase::Running => debt.owed = false,
                _ => {
                    self.debts.remove(&id);
                }
            }
        }
        let mut fresh = changes.fresh;
        fresh.retain(|id| match self.debts.get_mut(id) {
            Some(debt) => {
                debt.owed = true;
                false
            }
            None => {
                self.debts.insert(id.clone(), Debt { phase: Phase::Waiting(seq), attempts: 0, owed: true });
                true
            }
        });
        fresh
    }

    fn may_start(&mut self, id: &ObligationId, seq: Seq) -> bool {
        match self.debts.get_mut(id) {
            Some(debt) if debt.phase == Phase::Waiting(seq) => {
                debt.phase = Phase::Running;
                true
            }
            _ => false,
        }
    }
}

impl ShardTask {
    /// Attaches what the entity has newly come to owe to the group at `seq`, and starts it if that is durable.
    pub(crate) fn reconcile_obligations(&mut self, id: SlotId, changes: OwedChanges<ObligationId>, seq: Seq) {
        let Some(slot) = self.entities.get_mut(id) else { return };
        for obligation in slot.owed.reconcile(changes, seq) {
            self.start_when_durable(Start { slot: id, id: obligation, seq });
        }
    }

    fn start_when_durable(&mut self, start: Start) {
        if let Some(start) = self.writer.attach_start(start) {
            self.start(start);
        }
    }

    /// Hands an obligation to the host, if it is still owed.
    pub(crate) fn start(&mut self, start: Start) {
        if self.closing.is_some() {
            return;
        }
        let Some(slot) = self.entities.get_mut(start.slot) else { return };
        if !slot.owed.may_start(&start.id, start.seq) {
            return;
        }
        let Residence::Ready(entity) = &slot.residence else { return };
        let obligation = match caught(|| entity.obligation(&slot.key, &start.id)) {
            Ok(Some(obligation)) => obligation,
            Ok(None) => {
                slot.owed.debts.remove(&start.id);
                return;
            }
            Err(panic) => {
                return self.accuse(start.slot, format!("panicked while computing an obligation: {panic}"), None);
            }
        };
        let (kind, key) = (Arc::clone(&slot.kind), slot.key.clone());
        let Start { slot, id, .. } = start;
        self.obligations.spawn(async move {
            let carrying = async move { kind.kind.carry_out(key, obligation).await };
            let carried = AssertUnwindSafe(carrying).catch_unwind();
            // A host that panics has carried nothing out.
            let input = carried.await.unwrap_or(None);
            Arrival::CarriedOut { slot, id, input }
        });
    }

    /// The host is done: gives its answer to the entity.
    pub(crate) fn on_carried_out(&mut self, id: SlotId, obligation: ObligationId, input: Option<Opaque>) {
        let Some(slot) = self.entities.get_mut(id) else { return };
        match slot.owed.debts.get_mut(&obligation) {
            Some(debt) if debt.owed => debt.phase = Phase::Answered,
            Some(_) => {
                slot.owed.debts.remove(&obligation);
            }
            None => {}
        }
        match input {
            Some(input) => {
                let key = slot.key.clone();
                self.give(Request { key, input, origin: Origin::Obligation(obligation) });
            }
            None => self.settle_obligation(id, obligation),
        }
    }

    /// After the entity has seen the answer: an obligation that it owes all the same rests before it is carried out again.
    pub(crate) fn settle_obligation(&mut self, id: SlotId, obligation: ObligationId) {
        let Some(slot) = self.entities.get_mut(id) else { return };
        let Some(debt) = slot.owed.debts.get_mut(&obligation) else { return };
        if debt.phase != Phase::Answered {
            return;
        }
        debt.phase = Phase::Resting;
        debt.attempts += 1;
        let delay = BACKOFF.after(debt.attempts);
        let runtime = self.runtime.clone();
        self.obligations.spawn(async move {
            runtime.sleep(delay).await;
            Arrival::Rested { slot: id, id: obligation }
        });
        // It would be tried for ever by a former owner that writes nothing and so never learns that it is one.
        self.suspect_fence();
    }

    /// The rest is over: carries the obligation out again as the state has it now.
    pub(crate) fn on_rested(&mut self, id: SlotId, obligation_id: ObligationId) {
        let Some(slot) = self.entities.get_mut(id) else { return };
        let Some(debt) = slot.owed.debts.get_mut(&obligation_id) else { return };
        if debt.phase != Phase::Resting {
            return;
        }
        let seq = slot.last_change;
        debt.phase = Phase::Waiting(seq);
        self.start_when_durable(Start { slot: id, id: obligation_id, seq });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[&'static str]) -> Vec<ObligationId> {
        ids.iter().map(|id| ObligationId::of(*id)).collect()
    }

    fn owes(fresh: &[&'static str]) -> OwedChanges<ObligationId> {
        OwedChanges::all(ids(fresh))
    }

    fn settles(settled: &[&'static str]) -> OwedChanges<ObligationId> {
        OwedChanges { settled: ids(settled), fresh: vec![] }
    }

    #[test]
    fn each_debt_is_started_once() {
        let mut owed = Owed::default();
        assert_eq!(owed.reconcile(owes(&["a"]), Seq(1)), ids(&["a"]));
        assert_eq!(owed.reconcile(owes(&["b"]), Seq(2)), ids(&["b"]));
        assert!(owed.may_start(&ObligationId::of("a"), Seq(1)));
        assert!(!owed.may_start(&ObligationId::of("a"), Seq(1)));
    }

    #[test]
    fn a_debt_discharged_before_its_group_is_durable_is_not_started() {
        let mut owed = Owed::default();
        owed.reconcile(owes(&["a"]), Seq(1));
        owed.reconcile(settles(&["a"]), Seq(2));
        assert!(!owed.may_start(&ObligationId::of("a"), Seq(1)));
        assert!(owed.is_empty());
    }

    #[test]
    fn a_debt_owed_again_waits_for_the_later_group() {
        let mut owed = Owed::default();
        owed.reconcile(owes(&["a"]), Seq(1));
        owed.reconcile(settles(&["a"]), Seq(2));
        assert_eq!(owed.reconcile(owes(&["a"]), Seq(3)), ids(&["a"]));
        assert!(!owed.may_start(&ObligationId::of("a"), Seq(1)));
        assert!(owed.may_start(&ObligationId::of("a"), Seq(3)));
    }

    #[test]
    fn a_debt_owed_again_while_the_host_works_on_it_is_not_started_twice() {
        let mut owed = Owed::default();
        owed.reconcile(owes(&["a"]), Seq(1));
        assert!(owed.may_start(&ObligationId::of("a"), Seq(1)));
        owed.reconcile(settles(&["a"]), Seq(2));
        assert!(!owed.is_empty());
        assert_eq!(owed.reconcile(owes(&["a"]), Seq(3)), []);
    }
}
