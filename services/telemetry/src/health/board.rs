//! Where the parts of a process post how they are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a part is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartState {
    /// Not ready for the first time yet: what it waits for.
    Starting(String),
    /// Serving.
    Ready,
    /// Not serving at the moment: why.
    NotReady(String),
    /// It will not serve again in this process: why. The process wants to be started again.
    Failed(String),
}

/// The states of all parts of one process. Cheap to clone; all clones are one board.
#[derive(Clone, Default)]
pub struct HealthBoard(Arc<Mutex<Posted>>);

#[derive(Default)]
struct Posted {
    parts: BTreeMap<&'static str, Part>,
    started: bool,
    draining: bool,
}

enum Part {
    /// It says when it changes.
    Posted(PartState),
    /// It is queried for each request.
    Asked(Box<dyn Fn() -> PartState + Send>),
}

/// A part that is in the way, for an answer.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Reason {
    pub(crate) part: &'static str,
    pub(crate) state: &'static str,
    pub(crate) why: String,
}

impl HealthBoard {
    /// An empty board of a process that has not started.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Posts how a part is, in place of what it posted before.
    pub fn set(&self, part: &'static str, state: PartState) {
        self.posted().parts.insert(part, Part::Posted(state));
    }

    /// Registers a part that is queried at each reading of the board. `state` must return at once, and not use the board.
    pub fn ask(&self, part: &'static str, state: impl Fn() -> PartState + Send + 'static) {
        self.posted().parts.insert(part, Part::Asked(Box::new(state)));
    }

    /// The process has started: logged once, when everything has been ready for the first time.
    pub fn started(&self) {
        self.posted().started = true;
    }

    /// The process leaves: from now on it is not ready, whatever its parts say.
    pub fn draining(&self) {
        self.posted().draining = true;
    }

    /// Why an orchestrator should start the process again; empty for no reason.
    pub(crate) fn against_living(&self) -> Vec<Reason> {
        self.posted().reasons(|state| matches!(state, PartState::Failed(_)))
    }

    /// Why the process does not count as started; empty once it has.
    pub(crate) fn against_started(&self) -> Vec<Reason> {
        let posted = self.posted();
        match posted.started {
            true => Vec::new(),
            false => posted.reasons_or(|state| *state != PartState::Ready, "starting", "not everything is started yet"),
        }
    }

    /// Why nothing should be sent to the process; empty when it is ready.
    pub(crate) fn against_ready(&self) -> Vec<Reason> {
        let posted = self.posted();
        let mut reasons = posted.reasons(|state| *state != PartState::Ready);
        if posted.draining {
            reasons.insert(0, Reason { part: "process", state: "draining", why: "it is leaving".to_owned() });
        } else if !posted.started && reasons.is_empty() {
            reasons = posted.reasons_or(|_| false, "starting", "not everything is started yet");
        }
        reasons
    }

    fn posted(&self) -> MutexGuard<'_, Posted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    fn now(&self) -> PartState {
        match self {
            Self::Posted(state) => state.clone(),
            Self::Asked(state) => state(),
        }
    }
}

impl Posted {
    fn reasons(&self, against: impl Fn(&PartState) -> bool) -> Vec<Reason> {
        let states = self.parts.iter().map(|(part, state)| (part, state.now()));
        states.filter(|(_, state)| against(state)).map(|(part, state)| reason(part, &state)).collect()
    }

    /// At least one reason: the process itself when no part is one.
    fn reasons_or(&self, against: impl Fn(&PartState) -> bool, state: &'static str, why: &str) -> Vec<Reason> {
        let mut reasons = self.reasons(against);
        if reasons.is_empty() {
            reasons.push(Reason { part: "process", state, why: why.to_owned() });
        }
        reasons
    }
}

fn reason(part: &'static str, state: &PartState) -> Reason {
    let (state, why) = match state {
        PartState::Starting(why) => ("starting", why.as_str()),
        PartState::Ready => ("ready", ""),
        PartState::NotReady(why) => ("not ready", why.as_str()),
        PartState::Failed(why) => ("failed", why.as_str()),
    };
    Reason { part, state, why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Living, started, ready.
    fn verdicts(board: &HealthBoard) -> [bool; 3] {
        [board.against_living(), board.against_started(), board.against_ready()].map(|reasons| reasons.is_empty())
    }

    #[test]
    fn a_process_starts_serves_stumbles_and_leaves() {
        let board = HealthBoard::new();
        assert_eq!(verdicts(&board), [true, false, false], "an empty board is no proof of readiness");
        board.set("store", PartState::Starting("connecting".into()));
        board.set("history", PartState::Starting("8 shards to open".into()));
        assert_eq!(verdicts(&board), [true, false, false]);
        board.set("store", PartState::Ready);
        board.set("history", PartState::Ready);
        assert_eq!(verdicts(&board), [true, false, false], "ready parts do not make it started");
        board.started();
        assert_eq!(verdicts(&board), [true, true, true]);
        board.set("history", PartState::NotReady("3 of 8 shards are not served".into()));
        assert_eq!(verdicts(&board), [true, true, false], "started stays");
        assert_eq!(board.against_ready()[0].why, "3 of 8 shards are not served");
        board.set("history", PartState::Ready);
        board.draining();
        assert_eq!(verdicts(&board), [true, true, false]);
        board.set("frontend", PartState::Failed("the listener has closed".into()));
        assert_eq!(verdicts(&board), [false, true, false]);
    }

    #[test]
    fn a_part_that_is_asked_is_never_behind() {
        let (board, open) = (HealthBoard::new(), Arc::new(AtomicU32::new(0)));
        let asked = Arc::clone(&open);
        board.ask("history", move || match asked.load(Ordering::Relaxed) {
            2 => PartState::Ready,
            open => PartState::NotReady(format!("{open} of 2 shards are served")),
        });
        board.started();
        assert_eq!(board.against_ready()[0].why, "0 of 2 shards are served");
        open.store(2, Ordering::Relaxed);
        assert_eq!(verdicts(&board), [true, true, true]);
    }

    #[test]
    fn clones_are_one_board() {
        let board = HealthBoard::new();
        board.clone().started();
        assert_eq!(verdicts(&board), [true, true, true]);
    }
}
