//! When shards are placed again, and by what.

use std::collections::BTreeMap;

use cluster::Sharded;

use super::{ClusterState, Placement};
use crate::assignment::{Before, Candidate, assign};
use crate::command::Standing;

/// All that an assignment depends on besides itself. As long as this stays, shards stay.
#[derive(PartialEq, Eq)]
pub(super) struct PlacedBy {
    services: Vec<(Vec<Candidate>, BTreeMap<u32, String>, usize)>,
}

const SERVICES: [Sharded; 2] = [Sharded::History, Sharded::Matching];

impl ClusterState {
    pub(crate) fn placement(&self, service: Sharded) -> &Placement {
        match service {
            Sharded::History => &self.history,
            Sharded::Matching => &self.matching,
        }
    }

    pub(super) fn placement_mut(&mut self, service: Sharded) -> &mut Placement {
        match service {
            Sharded::History => &mut self.history,
            Sharded::Matching => &mut self.matching,
        }
    }

    /// The nodes that may own shards of a service.
    pub(super) fn candidates(&self, service: Sharded) -> Vec<Candidate> {
        let role = service.role().name();
        let fit = self.nodes.iter().filter(|(_, node)| node.standing == Standing::Up && node.roles.contains(role));
        fit.map(|(id, node)| Candidate { id: id.clone(), weight: node.weight }).collect()
    }

    /// A service that has a candidate, and none besides this one.
    pub(super) fn left_without(&self, node: &str) -> Option<Sharded> {
        SERVICES.into_iter().find(|service| {
            let candidates = self.candidates(*service);
            !candidates.is_empty() && candidates.iter().all(|candidate| candidate.id == node)
        })
    }

    pub(super) fn placed_by(&self) -> PlacedBy {
        let of = |service| {
            let placement = self.placement(service);
            (self.candidates(service), placement.pinned.clone(), placement.owners.len())
        };
        PlacedBy { services: SERVICES.into_iter().map(of).collect() }
    }

    /// Finds an owner for every shard, and remembers which node lost which by going away.
    pub(super) fn place(&mut self) {
        for service in SERVICES {
            let candidates = self.candidates(service);
            let placement = self.placement_mut(service);
            let owners = assign(
                &Before {
                    service: service.name(),
                    owners: &placement.owners,
                    former: &placement.former,
                    pinned: &placement.pinned,
                },
                &candidates,
            );
            let here = |id: &String| candidates.iter().any(|candidate| candidate.id == *id);
            for (former, owner) in placement.former.iter_mut().zip(&placement.owners) {
                match owner {
                    Some(lost) if !here(lost) => *former = Some(lost.clone()),
                    _ => *former = former.take().filter(|id| !here(id)),
                }
            }
            placement.owners = owners;
        }
    }

    /// Ends the pins on a node that goes away.
    pub(super) fn unpin(&mut self, node: &str) {
        for service in SERVICES {
            self.placement_mut(service).pinned.retain(|_, on| on != node);
        }
    }
}
