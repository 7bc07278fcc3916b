//! What may be done to requests: classes, faults, and the rules that join them.

use serde::{Deserialize, Serialize};

/// What kind of request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// A write with a condition: a lightweight transaction.
    Conditional,
    /// A write without one.
    Write,
    /// A read, at whatever consistency.
    Read,
    /// Everything else: schema, what drivers ask about the cluster, what this proxy could not read.
    Other,
}

/// Whether a request that is answered with an error reaches the node nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forward {
    /// It is carried out, and the error takes the place of the node's reply.
    First,
    /// It never reaches the node.
    Never,
    /// The error comes at once, and the node gets the request this much later: a write out of the past.
    Late {
        /// How much later.
        after_ms: u64,
    },
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Fault {
    /// It is carried out, and its reply is lost.
    DropReply,
    /// It is lost before it reaches the node.
    DropRequest,
    /// It reaches the node late, by a time drawn evenly from this range.
    DelayRequest {
        /// The shortest delay.
        min_ms: u64,
        /// The longest.
        max_ms: u64,
    },
    /// It is carried out at once, and its reply is late.
    DelayReply {
        /// The shortest delay.
        min_ms: u64,
        /// The longest.
        max_ms: u64,
    },
    /// WRITE_TIMEOUT, or READ_TIMEOUT for a read.
    Timeout {
        /// Whether it is carried out.
        forward: Forward,
        /// The write type to report; by default CAS for a conditional write, SIMPLE or the batch's type for others.
        #[serde(default)]
        write_type: Option<String>,
    },
    /// CAS_WRITE_UNKNOWN. Nodes say this only in protocol v5, where v4 has a WRITE_TIMEOUT of type CAS.
    CasWriteUnknown {
        /// Whether it is carried out.
        forward: Forward,
    },
    /// UNAVAILABLE, and the node never sees it.
    Unavailable,
    /// OVERLOADED, and the node never sees it.
    Overloaded,
    /// The connection breaks, with all that is in flight on it.
    Cut {
        /// Whether it is carried out first.
        forward: bool,
    },
}

impl Fault {
    /// The name under which it is counted.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::DropReply => "drop_reply",
            Self::DropRequest => "drop_request",
            Self::DelayRequest { .. } => "delay_request",
            Self::DelayReply { .. } => "delay_reply",
            Self::Timeout { .. } => "timeout",
            Self::CasWriteUnknown { .. } => "cas_write_unknown",
            Self::Unavailable => "unavailable",
            Self::Overloaded => "overloaded",
            Self::Cut { .. } => "cut",
        }
    }
}

/// Which requests a fault meets, and how often. The first rule whose lot is drawn decides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// The class it meets; none means conditional, write and read.
    #[serde(default)]
    pub class: Option<Class>,
    /// The node it meets, by its place among the routes; none means all.
    #[serde(default)]
    pub node: Option<usize>,
    /// A piece of the statement, for rules on one table. Capitals do not matter.
    #[serde(default)]
    pub containing: Option<String>,
    /// From 0 to 1.
    pub probability: f64,
    /// After so many hits the rule is spent; none means never.
    #[serde(default)]
    pub at_most: Option<u64>,
    /// What happens.
    pub fault: Fault,
}

impl Rule {
    /// A rule for one class of requests, on every node and statement.
    #[must_use]
    pub fn new(class: Class, probability: f64, fault: Fault) -> Self {
        Self { class: Some(class), node: None, containing: None, probability, at_most: None, fault }
    }

    /// The same rule, for this many requests at most.
    #[must_use]
    pub fn at_most(mut self, times: u64) -> Self {
        self.at_most = Some(times);
        self
    }

    /// The same rule, only for statements with this piece of text.
    #[must_use]
    pub fn containing(mut self, piece: &str) -> Self {
        self.containing = Some(piece.to_owned());
        self
    }

    /// The same rule, only on one node.
    #[must_use]
    pub fn on_node(mut self, node: usize) -> Self {
        self.node = Some(node);
        self
    }
}

/// Whether a node can be reached through the proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeMode {
    /// It can.
    #[default]
    Open,
    /// Connections break, and new ones are closed at once: the process is gone, its machine is there.
    Refuse,
    /// What is sent disappears, in both directions, and nothing says so.
    Swallow,
    /// What is sent waits, in both directions, and arrives when the node opens again: a partition that heals.
    Stall,
}
