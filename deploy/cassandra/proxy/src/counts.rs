//! What was seen and done.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::rule::Class;

/// Numbers since the start, or since they were last reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests by class.
    pub seen: BTreeMap<Class, u64>,
    /// Requests by class and the fault that they met.
    pub faults: BTreeMap<Class, BTreeMap<String, u64>>,
    /// Connections that were accepted.
    pub connections: u64,
    /// Executions of a prepared statement whose text never came by, which no rule can meet.
    pub unknown_prepared: u64,
    /// Conditional requests that came more than once with the very same bytes, in the order of their first copy.
    pub resent: Vec<Resent>,
}

/// A conditional request that came more than once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resent {
    /// Its statements.
    pub statement: String,
    /// How often it came.
    pub times: u64,
}

impl Counts {
    /// How many requests of a class met a fault of any kind.
    #[must_use]
    pub fn faulted(&self, class: Class) -> u64 {
        self.faults.get(&class).map_or(0, |by_name| by_name.values().sum())
    }
}
