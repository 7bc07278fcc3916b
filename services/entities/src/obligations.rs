//! What entities owe to the outside: carried out once the group that owes it is durable, answered as an input, and
//! carried out again, more and more slowly, while it is still owed.

use std::collections::BTreeMap;
use std::time::Duration;

use runtime::Backoff;
use storage::Seq;

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
    pub(crate) fn reconcile(&mut self, changes: OwedChanges<ObligationId>, seq: Seq) -> Vec<ObligationId> {
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

    pub(crate) fn may_start(&mut self, id: &ObligationId, seq: Seq) -> bool {
        match self.debts.get_mut(id) {
            Some(debt) if debt.phase == Phase::Waiting(seq) => {
                debt.phase = Phase::Running;
                true
            }
            _ => false,
        }
    }

    /// The host is done; the entity has not decided on its answer yet.
    pub(crate) fn answered(&mut self, id: &ObligationId) {
        match self.debts.get_mut(id) {
            Some(debt) if debt.owed => debt.phase = Phase::Answered,
            Some(_) => self.forget(id),
            None => {}
        }
    }

    /// The entity has seen the answer: for how long what it owes all the same rests; `None` if it does not owe it any more.
    pub(crate) fn rest(&mut self, id: &ObligationId) -> Option<Duration> {
        let debt = self.debts.get_mut(id).filter(|debt| debt.phase == Phase::Answered)?;
        debt.phase = Phase::Resting;
        debt.attempts += 1;
        Some(BACKOFF.after(debt.attempts))
    }

    /// Whether it is owed, and rests.
    pub(crate) fn is_resting(&self, id: &ObligationId) -> bool {
        self.debts.get(id).is_some_and(|debt| debt.phase == Phase::Resting)
    }

    /// It waits for this position, to be carried out again.
    pub(crate) fn wait_for(&mut self, id: &ObligationId, seq: Seq) {
        if let Some(debt) = self.debts.get_mut(id) {
            debt.phase = Phase::Waiting(seq);
        }
    }

    /// It is not owed any more.
    pub(crate) fn forget(&mut self, id: &ObligationId) {
        self.debts.remove(id);
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
