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
    /// The host carries it out.
    Running,
    /// The answer was given to the entity, which has not decided on it yet.
    Answered,
    /// Carried out without success; will be retried.
    BackingOff,
}

struct Tracked {
    phase: Phase,
    attempts: u32,
    /// False once the state does not owe it any more while the host still works on it.
    owed: bool,
}

/// The obligations of one entity that are under way.
#[derive(Default)]
pub(crate) struct Owed {
    obligations: BTreeMap<ObligationId, Tracked>,
}

impl Owed {
    pub(crate) fn is_empty(&self) -> bool {
        self.obligations.is_empty()
    }

    /// Each obligation, its phase, and how often it was tried without success.
    pub(crate) fn standings(&self) -> Vec<(&ObligationId, &'static str, u32)> {
        let standing = |tracked: &Tracked| match tracked.phase {
            _ if !tracked.owed => "not owed any more",
            Phase::Waiting(_) => "waiting for the log",
            Phase::Running => "being carried out",
            Phase::Answered => "answered",
            Phase::BackingOff => "backing off",
        };
        self.obligations.iter().map(|(id, tracked)| (id, standing(tracked), tracked.attempts)).collect()
    }

    /// Follows what the state owes as of `seq`; returns what is to be started once `seq` is durable.
    pub(crate) fn reconcile(&mut self, changes: OwedChanges<ObligationId>, seq: Seq) -> Vec<ObligationId> {
        for id in changes.settled {
            match self.obligations.get_mut(&id) {
                // What the host is carrying out is not cancelled; its answer will find nothing to do.
                Some(tracked) if tracked.phase == Phase::Running => tracked.owed = false,
                _ => {
                    self.obligations.remove(&id);
                }
            }
        }
        let mut fresh = changes.fresh;
        fresh.retain(|id| match self.obligations.get_mut(id) {
            Some(tracked) => {
                tracked.owed = true;
                false
            }
            None => {
                self.obligations.insert(id.clone(), Tracked { phase: Phase::Waiting(seq), attempts: 0, owed: true });
                true
            }
        });
        fresh
    }

    pub(crate) fn may_start(&mut self, id: &ObligationId, seq: Seq) -> bool {
        match self.obligations.get_mut(id) {
            Some(tracked) if tracked.phase == Phase::Waiting(seq) => {
                tracked.phase = Phase::Running;
                true
            }
            _ => false,
        }
    }

    /// The host is done; the entity has not decided on its answer yet.
    pub(crate) fn answered(&mut self, id: &ObligationId) {
        match self.obligations.get_mut(id) {
            Some(tracked) if tracked.owed => tracked.phase = Phase::Answered,
            Some(_) => self.forget(id),
            None => {}
        }
    }

    /// The entity has seen the answer: the backoff of what it still owes; `None` if it does not owe it any more.
    pub(crate) fn back_off(&mut self, id: &ObligationId) -> Option<Duration> {
        let tracked = self.obligations.get_mut(id).filter(|tracked| tracked.phase == Phase::Answered)?;
        tracked.phase = Phase::BackingOff;
        tracked.attempts += 1;
        Some(BACKOFF.after(tracked.attempts))
    }

    /// Whether it is owed, and waits for its retry.
    pub(crate) fn is_backing_off(&self, id: &ObligationId) -> bool {
        self.obligations.get(id).is_some_and(|tracked| tracked.phase == Phase::BackingOff)
    }

    /// It waits for this position, to be carried out again.
    pub(crate) fn wait_for(&mut self, id: &ObligationId, seq: Seq) {
        if let Some(tracked) = self.obligations.get_mut(id) {
            tracked.phase = Phase::Waiting(seq);
        }
    }

    /// It is not owed any more.
    pub(crate) fn forget(&mut self, id: &ObligationId) {
        self.obligations.remove(id);
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
    fn each_obligation_is_started_once() {
        let mut owed = Owed::default();
        assert_eq!(owed.reconcile(owes(&["a"]), Seq(1)), ids(&["a"]));
        assert_eq!(owed.reconcile(owes(&["b"]), Seq(2)), ids(&["b"]));
        assert!(owed.may_start(&ObligationId::of("a"), Seq(1)));
        assert!(!owed.may_start(&ObligationId::of("a"), Seq(1)));
    }

    #[test]
    fn an_obligation_discharged_before_its_group_is_durable_is_not_started() {
        let mut owed = Owed::default();
        owed.reconcile(owes(&["a"]), Seq(1));
        owed.reconcile(settles(&["a"]), Seq(2));
        assert!(!owed.may_start(&ObligationId::of("a"), Seq(1)));
        assert!(owed.is_empty());
    }

    #[test]
    fn an_obligation_owed_again_waits_for_the_later_group() {
        let mut owed = Owed::default();
        owed.reconcile(owes(&["a"]), Seq(1));
        owed.reconcile(settles(&["a"]), Seq(2));
        assert_eq!(owed.reconcile(owes(&["a"]), Seq(3)), ids(&["a"]));
        assert!(!owed.may_start(&ObligationId::of("a"), Seq(1)));
        assert!(owed.may_start(&ObligationId::of("a"), Seq(3)));
    }

    #[test]
    fn an_obligation_owed_again_while_the_host_works_on_it_is_not_started_twice() {
        let mut owed = Owed::default();
        owed.reconcile(owes(&["a"]), Seq(1));
        assert!(owed.may_start(&ObligationId::of("a"), Seq(1)));
        owed.reconcile(settles(&["a"]), Seq(2));
        assert!(!owed.is_empty());
        assert_eq!(owed.reconcile(owes(&["a"]), Seq(3)), []);
    }
}
