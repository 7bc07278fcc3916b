//! What an input is decided on: the workflow, and which of its runs is meant.

use std::sync::Arc;

use api::texts;

use crate::draft::Draft;
use crate::refs::RunRef;
use crate::reply::Rejection;
use crate::run::Run;
use crate::{Env, Workflow};

/// A workflow, and the run that an input names.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) workflow: &'a Workflow,
    pub(super) run: &'a RunRef,
    pub(super) env: &'a Env<'a>,
}

impl<'a> Target<'a> {
    /// A transition of the workflow.
    pub(super) fn draft(self) -> Draft<'a> {
        Draft::of(self.workflow, self.env)
    }

    /// The run, if it is in memory.
    pub(super) fn find(self) -> Option<&'a Arc<Run>> {
        self.workflow.runs.get(self.workflow.run_id_of(self.run)?)
    }

    /// The same, if it is open.
    pub(super) fn find_open(self) -> Option<&'a Arc<Run>> {
        self.find().filter(|run| run.is_open())
    }

    /// The run; it must be in memory (see `needs`).
    pub(super) fn resolve(self) -> Result<&'a Arc<Run>, Rejection> {
        let not_found = || {
            Rejection::NotFound(match self.run {
                RunRef::Chain | RunRef::Current => texts::workflow_not_found(self.env.workflow_id),
                RunRef::Run(run_id) => texts::run_not_found(self.env.workflow_id, run_id),
            })
        };
        self.find().ok_or_else(not_found)
    }

    /// The same, for what only an open run can take.
    pub(super) fn resolve_open(self) -> Result<&'a Arc<Run>, Rejection> {
        let run = self.resolve()?;
        if run.is_open() { Ok(run) } else { Err(Rejection::AlreadyCompleted) }
    }
}
