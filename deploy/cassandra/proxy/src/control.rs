//! The handle by which tests steer a running proxy, and what all its connections share.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;

use crate::counts::{Counts, Resent};
use crate::prepared::Prepared;
use crate::request::Request;
use crate::rule::{Class, Fault, NodeMode, Rule};

/// How many different conditional requests are remembered in order to notice a second copy.
const REMEMBERED: usize = 1 << 20;

/// Steers a proxy while it runs. Clones steer the same proxy.
#[derive(Clone)]
pub struct ProxyControl {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    modes: watch::Sender<Modes>,
    cuts: Vec<watch::Sender<u64>>,
}

/// How nodes can be reached, by everyone and by some.
#[derive(Clone, Debug, Default)]
pub(crate) struct Modes {
    nodes: Vec<NodeMode>,
    links: HashMap<(String, usize), NodeMode>,
}

impl Modes {
    /// How one source reaches one node: the way that is said for it, if it is not open, else the node's.
    pub(crate) fn between(&self, source: &str, node: usize) -> NodeMode {
        match self.links.get(&(source.to_owned(), node)) {
            Some(mode) if *mode != NodeMode::Open => *mode,
            _ => self.nodes[node],
        }
    }
}

#[derive(Default)]
struct State {
    rules: Vec<(Rule, u64)>,
    lots: Lots,
    counts: Counts,
    prepared: Prepared,
    sent: HashMap<u64, Sent>,
    order: u64,
}

struct Sent {
    statement: String,
    order: u64,
    times: u64,
}

impl ProxyControl {
    pub(crate) fn new(seed: u64, nodes: usize) -> Self {
        let state = State { lots: Lots(seed), ..State::default() };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                modes: watch::Sender::new(Modes { nodes: vec![NodeMode::Open; nodes], links: HashMap::new() }),
                cuts: (0..nodes).map(|_| watch::Sender::new(0)).collect(),
            }),
        }
    }

    /// Replaces all rules. Requests that already met one keep their fate.
    pub fn set_rules(&self, rules: Vec<Rule>) {
        self.state().rules = rules.into_iter().map(|rule| (rule, 0)).collect();
    }

    /// Removes all rules.
    pub fn clear_rules(&self) {
        self.set_rules(Vec::new());
    }

    /// Says whether a node can be reached. Nodes are counted from 0, in the order of the routes; others do not exist.
    pub fn set_mode(&self, node: usize, mode: NodeMode) {
        self.shared.modes.send_modify(|modes| {
            if let Some(known) = modes.nodes.get_mut(node) {
                *known = mode;
            }
        });
    }

    /// Says whether one process can reach a node. It is known by the variable `PROXY_SOURCE` of its environment.
    pub fn set_link(&self, source: &str, node: usize, mode: NodeMode) {
        self.shared.modes.send_modify(|modes| {
            modes.links.insert((source.to_owned(), node), mode);
        });
    }

    /// Breaks every connection to a node. New ones may come at once.
    pub fn cut(&self, node: usize) {
        if let Some(sender) = self.shared.cuts.get(node) {
            sender.send_modify(|times| *times += 1);
        }
    }

    /// All nodes can be reached by everyone, and no rule is left.
    pub fn heal(&self) {
        self.clear_rules();
        self.shared.modes.send_modify(|modes| {
            modes.links.clear();
            modes.nodes.fill(NodeMode::Open);
        });
    }

    /// What was seen and done since the start or the last [`reset_counts`](Self::reset_counts).
    #[must_use]
    pub fn counts(&self) -> Counts {
        let state = self.state();
        let mut resent: Vec<&Sent> = state.sent.values().filter(|sent| sent.times > 1).collect();
        resent.sort_by_key(|sent| sent.order);
        Counts {
            resent: resent
                .into_iter()
                .map(|sent| Resent { statement: sent.statement.clone(), times: sent.times })
                .collect(),
            ..state.counts.clone()
        }
    }

    /// Starts all counts from zero, and forgets which conditional requests came.
    pub fn reset_counts(&self) {
        let mut state = self.state();
        state.counts = Counts::default();
        state.sent.clear();
    }

    pub(crate) fn nodes(&self) -> usize {
        self.shared.cuts.len()
    }

    pub(crate) fn modes(&self) -> watch::Receiver<Modes> {
        self.shared.modes.subscribe()
    }

    pub(crate) fn cuts(&self, node: usize) -> watch::Receiver<u64> {
        self.shared.cuts[node].subscribe()
    }

    pub(crate) fn connected(&self) {
        self.state().counts.connections += 1;
    }

    pub(crate) fn learn(&self, id: Bytes, text: Arc<str>) {
        self.state().prepared.learn(id, text);
    }

    /// The node has answered that it does not know the statement of the conditional request with this body, as one does that
    /// has restarted: it did nothing, and the driver prepares the statement and sends the same again.
    pub(crate) fn not_prepared(&self, key: u64) {
        let mut state = self.state();
        let Some(sent) = state.sent.get_mut(&key) else { return };
        sent.times -= 1;
        if sent.times == 0 {
            state.sent.remove(&key);
        }
    }

    /// Reads a request and draws its lot. A delay comes back as one time: both ends of its range are the same.
    pub(crate) fn meet(&self, node: usize, frame: &crate::frame::Frame) -> (Request, Option<Fault>) {
        let mut state = self.state();
        let request = Request::read(frame, &state.prepared);
        state.note(&request, &frame.body());
        let fault = state.draw(node, &request);
        if let Some(fault) = &fault {
            let by_name = state.counts.faults.entry(request.class).or_default();
            *by_name.entry(fault.name().to_owned()).or_default() += 1;
        }
        (request, fault)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Identifies conditional requests with the same bytes.
pub(crate) fn key_of(body: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

impl State {
    fn note(&mut self, request: &Request, body: &[u8]) {
        *self.counts.seen.entry(request.class).or_default() += 1;
        self.counts.unknown_prepared += u64::from(request.unknown_prepared);
        if request.class != Class::Conditional {
            return;
        }
        let key = key_of(body);
        if let Some(sent) = self.sent.get_mut(&key) {
            sent.times += 1;
        } else if self.sent.len() < REMEMBERED {
            self.order += 1;
            self.sent.insert(key, Sent { statement: request.text.clone(), order: self.order, times: 1 });
        }
    }

    fn draw(&mut self, node: usize, request: &Request) -> Option<Fault> {
        for (rule, hits) in &mut self.rules {
            if !meets(rule, *hits, node, request) || self.lots.fraction() >= rule.probability {
                continue;
            }
            *hits += 1;
            return Some(match rule.fault.clone() {
                Fault::DelayRequest { min_ms, max_ms } => {
                    let delay_ms = self.lots.between(min_ms, max_ms);
                    Fault::DelayRequest { min_ms: delay_ms, max_ms: delay_ms }
                }
                Fault::DelayReply { min_ms, max_ms } => {
                    let delay_ms = self.lots.between(min_ms, max_ms);
                    Fault::DelayReply { min_ms: delay_ms, max_ms: delay_ms }
                }
                other => other,
            });
        }
        None
    }
}

fn meets(rule: &Rule, hits: u64, node: usize, request: &Request) -> bool {
    let class = match rule.class {
        Some(class) => class == request.class,
        None => request.class != Class::Other,
    };
    class
        && rule.node.is_none_or(|only| only == node)
        && rule.at_most.is_none_or(|most| hits < most)
        && rule
            .containing
            .as_ref()
            .is_none_or(|piece| request.text.to_ascii_lowercase().contains(&piece.to_ascii_lowercase()))
}

/// SplitMix64: small, and the same in every release of everything.
#[derive(Default)]
struct Lots(u64);

impl Lots {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 up to, and without, 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high.saturating_sub(low) + 1)
    }
}
