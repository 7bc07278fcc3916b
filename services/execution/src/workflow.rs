//! A workflow ID with its chain and those of its runs that are in memory.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::refs::RunRef;
use crate::shared_map::SharedMap;
use crate::{Chain, Run};

/// A workflow ID: the entity. Cheap to copy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workflow {
    /// The chain of runs.
    pub chain: Arc<Chain>,
    /// Live runs (open, or owing something), and closed ones that were asked for lately; by run id.
    pub runs: SharedMap<Arc<Run>>,
    /// Runs that were looked up and do not exist.
    pub absent: BTreeSet<String>,
}

impl Workflow {
    /// The newest run, if it is in memory.
    pub fn current(&self) -> Option<&Arc<Run>> {
        self.runs.get(&self.chain.current_run_id)
    }

    /// The id of the run that is meant, if one is and there has ever been one.
    pub(crate) fn run_id_of<'a>(&'a self, run: &'a RunRef) -> Option<&'a String> {
        match run {
            RunRef::Chain => None,
            RunRef::Current => Some(&self.chain.current_run_id),
            RunRef::Run(run_id) => Some(run_id),
        }
    }

    /// Whether there has never been a run.
    pub fn is_vacant(&self) -> bool {
        self.chain.current_run_id.is_empty()
    }
}
