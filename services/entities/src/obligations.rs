//! What entities owe to the outside: carried out once the group that owes it is durable, answered as an input, and
//! carried out again, more and more slowly, while it is still owed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use runtime::Backoff;
use storage::Seq;

use crate::ObligationId;
use crate::arrival::Arrival;
use crate::entity_slot::{Residence, SlotId};
use crate::hosted::Opaque;
use crate::job::Job;
use crate::log_writer::Start;
use crate::panics::caught;
use crate::request::{Origin, Request};
use crate::shard_state::ShardState;

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
    seen: u32,
}

/// The obligations of one entity that are under way.
#[derive(Default)]
pub(crate) struct Owed {
    debts: HashMap<ObligationId, Debt>,
    round: u32,
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
        let mut standings: Vec<_> = self.debts.iter().map(|(id, debt)| (id, standing(debt), debt.attempts)).collect();
        standings.sort_unstable_by_key(|(id, _, _)| *id);
        standings
    }

    /// Compares with what the state owes as of `seq`; returns what is new, to be started once `seq` is durable.
    fn reconcile<O>(&mut self, now_owed: Vec<(ObligationId, O)>, seq: Seq) -> Vec<(ObligationId, O)> {
        if now_owed.is_empty() && self.debts.is_empty() {
            return Vec::new();
        }
        self.round = self.round.wrapping_add(1);
        let round = self.round;
        let mut fresh = Vec::new();
        for (id, obligation) in now_owed {
            if let Some(debt) = self.debts.get_mut(&id) {
                debt.owed = true;
                debt.seen = round;
            } else {
                let debt = Debt { phase: Phase::Waiting(seq), attempts: 0, owed: true, seen: round };
                self.debts.insert(id.clone(), debt);
                fresh.push((id, obligation));
            }
        }
        self.debts.retain(|_, debt| {
            if debt.seen == round {
                return true;
            }
            debt.owed = false;
            // What the host works on is not torn from its hands; its answer will find nothing to do.
            debt.phase == Phase::Running
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

impl ShardState {
    /// Attaches what the entity has newly come to owe to the group at `seq`, and starts it if that is durable.
    pub(crate) fn reconcile_obligations(&mut self, id: SlotId, now_owed: Vec<(ObligationId, Opaque)>, seq: Seq) {
        let Some(slot) = self.entities.get_mut(id) else { return };
        for (obligation_id, obligation) in slot.owed.reconcile(now_owed, seq) {
            self.start_when_durable(Start { slot: id, id: obligation_id, obligation, seq });
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
        let (kind, key) = (Arc::clone(&slot.kind), slot.key.clone());
        let Start { slot, id, obligation, .. } = start;
        self.jobs.push(Job::CarryOut { slot, kind, key, id, obligation });
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
        self.jobs.push(Job::Sleep { delay, then: Arrival::Rested { slot: id, id: obligation } });
        // It would be tried for ever by a former owner that writes nothing and so never learns that it is one.
        self.suspect_fence();
    }

    /// The rest is over: carries the obligation out again as the state has it now.
    pub(crate) fn on_rested(&mut self, id: SlotId, obligation_id: ObligationId) {
        let Some(slot) = self.entities.get_mut(id) else { return };
        let Residence::Ready(entity) = &slot.residence else { return };
        let Some(debt) = slot.owed.debts.get_mut(&obligation_id) else { return };
        if debt.phase != Phase::Resting {
            return;
        }
        let now_owed = match caught(|| entity.obligations(&slot.key)) {
            Ok(now_owed) => now_owed,
            Err(panic) => return self.accuse(id, format!("panicked while computing obligations: {panic}"), None),
        };
        match now_owed.into_iter().find(|(id, _)| *id == obligation_id) {
            Some((_, obligation)) => {
                let seq = slot.last_change;
                debt.phase = Phase::Waiting(seq);
                self.start_when_durable(Start { slot: id, id: obligation_id, obligation, seq });
            }
            None => {
                slot.owed.debts.remove(&obligation_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(fresh: Vec<(ObligationId, ())>) -> Vec<ObligationId> {
        fresh.into_iter().map(|(id, ())| id).collect()
    }

    fn owing(ids: &[&str]) -> Vec<(ObligationId, ())> {
        ids.iter().map(|id| ((*id).to_owned(), ())).collect()
    }

    #[test]
    fn each_debt_is_started_once() {
        let mut owed = Owed::default();
        assert_eq!(ids(owed.reconcile(owing(&["a"]), Seq(1))), ["a"]);
        assert_eq!(ids(owed.reconcile(owing(&["a", "b"]), Seq(2))), ["b"]);
        assert!(owed.may_start(&"a".to_owned(), Seq(1)));
        assert!(!owed.may_start(&"a".to_owned(), Seq(1)));
    }

    #[test]
    fn a_debt_discharged_before_its_group_is_durable_is_not_started() {
        let mut owed = Owed::default();
        owed.reconcile(owing(&["a"]), Seq(1));
        owed.reconcile(owing(&[]), Seq(2));
        assert!(!owed.may_start(&"a".to_owned(), Seq(1)));
        assert!(owed.is_empty());
    }

    #[test]
    fn a_debt_owed_again_waits_for_the_later_group() {
        let mut owed = Owed::default();
        owed.reconcile(owing(&["a"]), Seq(1));
        owed.reconcile(owing(&[]), Seq(2));
        assert_eq!(ids(owed.reconcile(owing(&["a"]), Seq(3))), ["a"]);
        assert!(!owed.may_start(&"a".to_owned(), Seq(1)));
        assert!(owed.may_start(&"a".to_owned(), Seq(3)));
    }
}
