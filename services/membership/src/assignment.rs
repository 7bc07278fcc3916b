//! Pure: which node owns which shard. Consistent hashing gives each shard its preferred nodes, bounds say how many one may
//! have, and shards that fit both do not move.
//!
//! With a fair share `f` of the shards, by weight, a node gets at most `max(⌈f⌉, ⌊1.1 f⌋)` and at least
//! `min(⌊f⌋, ⌈0.9 f⌉)`. Pinned shards count, and do not move.

mod preference;

use std::collections::{BTreeMap, BTreeSet};

use preference::Preference;

/// A node that may own shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Its name.
    pub(crate) id: String,
    /// Its share, relative to others.
    pub(crate) weight: u32,
}

/// What an assignment starts from.
pub(crate) struct Before<'a> {
    /// Makes the preferred nodes of services' shards differ.
    pub(crate) service: &'a str,
    /// The owner of each shard until now.
    pub(crate) owners: &'a [Option<String>],
    /// For each shard the node that lost it by going away.
    pub(crate) former: &'a [Option<String>],
    /// Shards that stay where an operator has put them, as long as that node is a candidate.
    pub(crate) pinned: &'a BTreeMap<u32, String>,
}

/// The owner of each shard from now on. Depends on nothing but its arguments.
pub(crate) fn assign(before: &Before<'_>, candidates: &[Candidate]) -> Vec<Option<String>> {
    if candidates.is_empty() {
        return vec![None; before.owners.len()];
    }
    let mut draft = Draft::new(before, candidates);
    draft.release_excess();
    draft.bring_home();
    draft.place_orphans();
    draft.fill_the_short();
    draft.owners.iter().map(|owner| owner.map(|node| candidates[node].id.clone())).collect()
}

/// The most and the fewest shards that each candidate may own.
pub(crate) fn bounds(shards: usize, candidates: &[Candidate]) -> Vec<(usize, usize)> {
    let even = candidates.iter().all(|candidate| candidate.weight == 0);
    let weight = |candidate: &Candidate| if even { 1 } else { u64::from(candidate.weight) };
    let total: u64 = candidates.iter().map(weight).sum::<u64>().max(1);
    let bounds_of = |candidate: &Candidate| {
        // The fair share is `part / total`; everything stays in whole numbers.
        let part = shards as u64 * weight(candidate);
        let most = part.div_ceil(total).max(part * 11 / (total * 10)).min(shards as u64);
        let fewest = (part / total).min((part * 9).div_ceil(total * 10));
        (most as usize, fewest as usize)
    };
    candidates.iter().map(bounds_of).collect()
}

struct Draft<'a> {
    owners: Vec<Option<usize>>,
    loads: Vec<usize>,
    bounds: Vec<(usize, usize)>,
    /// Where a shard was before its owner went away, if that node is back.
    home: Vec<Option<usize>>,
    /// Candidates that own nothing that they did not just get: they have come, or come back.
    arrived: BTreeSet<usize>,
    pinned: Vec<bool>,
    preference: Preference<'a>,
}

impl<'a> Draft<'a> {
    fn new(before: &Before<'a>, candidates: &'a [Candidate]) -> Self {
        let index: BTreeMap<&str, usize> = candidates.iter().map(|c| c.id.as_str()).zip(0..).collect();
        let find = |id: &Option<String>| id.as_ref().and_then(|id| index.get(id.as_str()).copied());
        let mut owners: Vec<Option<usize>> = before.owners.iter().map(find).collect();
        let owning: BTreeSet<usize> = owners.iter().flatten().copied().collect();
        let mut pinned = vec![false; owners.len()];
        for (shard, id) in before.pinned {
            let shard = *shard as usize;
            if let (Some(node), true) = (index.get(id.as_str()), shard < owners.len()) {
                owners[shard] = Some(*node);
                pinned[shard] = true;
            }
        }
        let mut loads = vec![0; candidates.len()];
        owners.iter().flatten().for_each(|owner| loads[*owner] += 1);
        Self {
            loads,
            bounds: bounds(owners.len(), candidates),
            home: before.former.iter().map(find).collect(),
            arrived: (0..candidates.len()).filter(|node| !owning.contains(node)).collect(),
            pinned,
            preference: Preference::new(before.service, candidates),
            owners,
        }
    }

    fn most(&self, node: usize) -> usize {
        self.bounds[node].0
    }

    fn fewest(&self, node: usize) -> usize {
        self.bounds[node].1
    }

    /// The node that a shard returns to, if it has just come back.
    fn home_of(&self, shard: usize) -> Option<usize> {
        self.home[shard].filter(|node| self.arrived.contains(node))
    }

    fn give(&mut self, shard: usize, to: Option<usize>) {
        if let Some(from) = std::mem::replace(&mut self.owners[shard], to) {
            self.loads[from] -= 1;
        }
        if let Some(to) = to {
            self.loads[to] += 1;
        }
    }

    /// Takes from each node what it has beyond its bound: first what belongs to a node that has come back, then what it
    /// likes least.
    fn release_excess(&mut self) {
        for node in 0..self.loads.len() {
            let excess = self.loads[node].saturating_sub(self.most(node));
            if excess == 0 {
                continue;
            }
            let mut own: Vec<usize> =
                (0..self.owners.len()).filter(|s| self.owners[*s] == Some(node) && !self.pinned[*s]).collect();
            own.sort_by_cached_key(|shard| {
                let at_home = self.home_of(*shard).is_none();
                (at_home, std::cmp::Reverse(self.preference.rank(*shard, node)), *shard)
            });
            for shard in own.into_iter().take(excess) {
                self.give(shard, None);
            }
        }
    }

    /// A node that was away for a moment gets back what it had, in one step, up to its fair share: a rolling restart
    /// returns to the assignment that it started from.
    fn bring_home(&mut self) {
        for shard in 0..self.owners.len() {
            let Some(home) = self.home_of(shard).filter(|_| !self.pinned[shard]) else { continue };
            let room = self.loads[home] < self.most(home);
            let spare = self.owners[shard].is_none_or(|owner| self.loads[owner] > self.fewest(owner));
            if room && spare && self.owners[shard] != Some(home) {
                self.give(shard, Some(home));
            }
        }
    }

    /// Shards without an owner go to the first in line that has room. When only as many are left as nodes lack to their
    /// fewest, these get them, so that nothing has to move afterwards.
    fn place_orphans(&mut self) {
        let orphans: Vec<usize> = (0..self.owners.len()).filter(|shard| self.owners[*shard].is_none()).collect();
        let nodes = self.loads.len();
        for (placed, shard) in orphans.iter().enumerate() {
            let lacking: usize = (0..nodes).map(|node| self.fewest(node).saturating_sub(self.loads[node])).sum();
            let only_short = orphans.len() - placed <= lacking;
            let order = self.preference.order(*shard);
            let room =
                |node: &&usize| self.loads[**node] < if only_short { self.fewest(**node) } else { self.most(**node) };
            // Pins can fill all nodes; then the least loaded takes one more.
            let least = || (0..nodes).min_by_key(|node| (self.loads[*node], *node));
            let to = order.iter().find(room).copied().or_else(least);
            self.give(*shard, to);
        }
    }

    /// Moves shards to nodes that have fewer than they should, one each time, from the node that has most to spare.
    fn fill_the_short(&mut self) {
        let lacks = |draft: &Self, node: usize| draft.fewest(node).saturating_sub(draft.loads[node]);
        while let Some(short) = (0..self.loads.len()).filter(|n| lacks(self, *n) > 0).max_by_key(|n| lacks(self, *n)) {
            let to_spare = |shard: usize| {
                let owner = self.owners[shard].filter(|_| !self.pinned[shard])?;
                self.loads[owner].checked_sub(self.fewest(owner)).filter(|spare| *spare > 0)
            };
            let Some(most) = (0..self.owners.len()).filter_map(to_spare).max() else { return };
            let best = (0..self.owners.len())
                .filter(|shard| to_spare(*shard) == Some(most))
                .min_by_key(|shard| (self.preference.rank(*shard, short), *shard));
            let Some(shard) = best else { return };
            self.give(shard, Some(short));
        }
    }
}

#[cfg(test)]
#[path = "assignment/assignment_test.rs"]
mod assignment_test;
