//! What a run waits for, found otherwise than by its events: activities by the author's ids, and what is on its way to
//! other workflows by these.

use std::sync::Arc;

use api::temporal::api::history::v1::ActivityTaskScheduledEventAttributes;

use crate::pending::Activity;
use crate::run::Run;
use crate::shared_map::{Entry, SharedMap};

/// They follow from the rest of the run (see [`Run::index`]), so two runs never differ by them alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Indexes {
    /// Pending activities.
    pub(crate) activities: SharedMap<NamedActivity>,
    /// What has been said to other workflows and not been answered.
    pub(crate) unanswered: SharedMap<Unanswered>,
}

/// A pending activity by the author's id.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NamedActivity {
    schedule: Arc<ActivityTaskScheduledEventAttributes>,
    pub(crate) scheduled_event_id: i64,
}

/// Something said to another workflow: by that one's workflow ID, then by the event that initiated it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unanswered {
    key: (Arc<str>, i64),
    pub(crate) kind: Relation,
}

/// What can be said to another workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Relation {
    /// It is to start, as a child.
    Child,
    /// A signal.
    Signal,
    /// A request to cancel itself.
    Cancel,
}

impl Entry for NamedActivity {
    type Key = str;
    type Sum = ();

    fn key(&self) -> &str {
        &self.schedule.activity_id
    }

    fn sum(&self) {}

    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.schedule, &other.schedule)
    }
}

impl Entry for Unanswered {
    type Key = (Arc<str>, i64);
    type Sum = usize;

    fn key(&self) -> &(Arc<str>, i64) {
        &self.key
    }

    /// Bytes on the heap.
    fn sum(&self) -> usize {
        2 * size_of::<usize>() + self.target().len()
    }

    fn is_same(&self, other: &Self) -> bool {
        self == other
    }
}

impl Unanswered {
    pub(crate) fn new(target: &str, event_id: i64, kind: Relation) -> Self {
        Self { key: (target.into(), event_id), kind }
    }

    /// The workflow ID that it is for.
    pub(crate) fn target(&self) -> &str {
        &self.key.0
    }

    /// The event that initiated it.
    pub(crate) fn event_id(&self) -> i64 {
        self.key.1
    }
}

impl Indexes {
    /// Bytes on the heap.
    pub(crate) fn held_bytes(&self) -> usize {
        let activities = self.activities.len() * SharedMap::<NamedActivity>::NODE_BYTES;
        activities + self.unanswered.sum() + self.unanswered.len() * SharedMap::<Unanswered>::NODE_BYTES
    }

    /// An activity is pending from now on.
    pub(crate) fn open_activity(&mut self, activity: &Activity) {
        let schedule = Arc::clone(&activity.schedule);
        self.activities.insert(NamedActivity { schedule, scheduled_event_id: activity.scheduled_event_id });
    }

    /// Something has been said to another workflow.
    pub(crate) fn ask(&mut self, target: &str, event_id: i64, kind: Relation) {
        self.unanswered.insert(Unanswered::new(target, event_id, kind));
    }

    /// It has been answered.
    pub(crate) fn answer(&mut self, target: &str, event_id: i64) {
        self.unanswered.remove(&(target.into(), event_id));
    }

    /// What is to be said to a workflow next: to one and the same it is said in the order of the commands, the next once the one
    /// before has been answered, so that a signal never comes before the start of the child that it is for.
    pub(crate) fn next_to(&self, target: &str) -> Option<&Unanswered> {
        self.unanswered.first_not(|asked| asked.target() < target).filter(|asked| asked.target() == target)
    }
}

impl PartialEq for Indexes {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Run {
    /// The indexes as they follow from the rest.
    pub(crate) fn index(&self) -> Indexes {
        let mut indexes = Indexes::default();
        self.activities.values().for_each(|activity| indexes.open_activity(activity));
        for child in self.children.values().filter(|child| !child.is_started()) {
            indexes.ask(child.workflow_id(), child.initiated_event_id, Relation::Child);
        }
        for signal in self.signals.values() {
            indexes.ask(signal.target(), signal.initiated_event_id, Relation::Signal);
        }
        for cancel in self.cancels.values() {
            indexes.ask(cancel.target(), cancel.initiated_event_id, Relation::Cancel);
        }
        indexes
    }
}
