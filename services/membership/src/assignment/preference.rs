//! The order of nodes for a shard, by consistent hashing: `hashring` behind one fixed hasher.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::rc::Rc;

use hashring::HashRing;
use xxhash_rust::xxh3::Xxh3;

use super::Candidate;

/// Points on the ring for a node of weight 100. More make shares evener and orders slower to compute.
const POINTS: u32 = 40;
/// The most points a node gets.
const MOST_POINTS: u32 = 400;

/// The same in every process, release and platform: assignments depend on it.
#[derive(Clone)]
struct FixedHasher;

impl BuildHasher for FixedHasher {
    type Hasher = Xxh3;

    fn build_hasher(&self) -> Xxh3 {
        Xxh3::new()
    }
}

/// One of the places of a node on the ring.
#[derive(Clone, Debug)]
struct Point<'a> {
    node: usize,
    id: &'a str,
    replica: u32,
}

impl Hash for Point<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.id.as_bytes());
        state.write(&[0]);
        state.write(&self.replica.to_le_bytes());
    }
}

struct ShardKey<'a> {
    service: &'a str,
    shard: usize,
}

impl Hash for ShardKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.service.as_bytes());
        state.write(&[0]);
        state.write(&(self.shard as u64).to_le_bytes());
    }
}

/// Each shard's nodes, in order of preference.
pub(super) struct Preference<'a> {
    service: &'a str,
    nodes: usize,
    ring: HashRing<Point<'a>, FixedHasher>,
    /// The ring's points from its start on.
    points: Vec<usize>,
    position: BTreeMap<(usize, u32), usize>,
    /// By shard, as far as they have been asked for.
    orders: RefCell<Vec<Option<Rc<Order>>>>,
}

/// All nodes, those first that come first; and the place of each node in that order.
struct Order {
    nodes: Vec<usize>,
    ranks: Vec<usize>,
}

impl<'a> Preference<'a> {
    pub(super) fn new(service: &'a str, candidates: &'a [Candidate]) -> Self {
        let mut points = Vec::new();
        for (node, candidate) in candidates.iter().enumerate() {
            let count = (POINTS * candidate.weight.min(10_000) / 100).clamp(1, MOST_POINTS);
            points.extend((0..count).map(|replica| Point { node, id: &candidate.id, replica }));
        }
        let mut ring = HashRing::with_hasher(FixedHasher);
        ring.batch_add(points);
        // All points in their order, from anywhere: it is a circle.
        let ordered = ring.get_with_replicas(&ShardKey { service, shard: 0 }, ring.len() + 1).unwrap_or_default();
        Self {
            service,
            nodes: candidates.len(),
            position: ordered.iter().map(|point| (point.node, point.replica)).zip(0..).collect(),
            points: ordered.iter().map(|point| point.node).collect(),
            ring,
            orders: RefCell::default(),
        }
    }

    /// All nodes in the order in which they come for this shard.
    pub(super) fn order(&self, shard: usize) -> Vec<usize> {
        self.computed(shard).nodes.clone()
    }

    /// How far back in the order a node stands.
    pub(super) fn rank(&self, shard: usize, node: usize) -> usize {
        self.computed(shard).ranks.get(node).copied().unwrap_or(usize::MAX)
    }

    fn computed(&self, shard: usize) -> Rc<Order> {
        let mut orders = self.orders.borrow_mut();
        if orders.len() <= shard {
            orders.resize(shard + 1, None);
        }
        Rc::clone(orders[shard].get_or_insert_with(|| Rc::new(self.compute(shard))))
    }

    fn compute(&self, shard: usize) -> Order {
        let first = self.ring.get(&ShardKey { service: self.service, shard });
        let start = first.and_then(|point| self.position.get(&(point.node, point.replica))).copied().unwrap_or(0);
        let mut nodes = Vec::with_capacity(self.nodes);
        let mut ranks = vec![usize::MAX; self.nodes];
        for node in self.points[start..].iter().chain(&self.points[..start]) {
            if ranks[*node] == usize::MAX {
                ranks[*node] = nodes.len();
                nodes.push(*node);
            }
            if nodes.len() == self.nodes {
                break;
            }
        }
        Order { nodes, ranks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes() {
        let point = Point { node: 0, id: "history-0", replica: 7 };
        assert_eq!(FixedHasher.hash_one(&point), xxhash_rust::xxh3::xxh3_64(b"history-0\0\x07\0\0\0"));
        let candidates = ["a", "b", "c", "d"].map(|id| Candidate { id: id.into(), weight: 100 });
        let preference = Preference::new("history", &candidates);
        let orders: Vec<Vec<usize>> = (0..4).map(|shard| preference.order(shard)).collect();
        // Recorded once: another answer would move shards when a cluster is upgraded.
        assert_eq!(orders, [[3, 2, 1, 0], [1, 2, 3, 0], [0, 3, 2, 1], [0, 2, 3, 1]]);
    }

    #[test]
    fn a_shard_lines_up_every_node_once() {
        let candidates: Vec<_> = (0..7).map(|n| Candidate { id: format!("n{n}"), weight: n * 50 }).collect();
        let preference = Preference::new("matching", &candidates);
        for shard in 0..100 {
            let mut order = preference.order(shard);
            assert_eq!(preference.rank(shard, order[3]), 3);
            order.sort_unstable();
            assert_eq!(order, (0..7).collect::<Vec<_>>());
        }
    }
}
