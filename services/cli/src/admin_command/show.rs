//! Answers as tables.

use std::collections::BTreeMap;

use admin::{Flushed, Members, RingView, ShardRow, ShardRows, Unreachable, VoterReport};

use super::Found;
use crate::table::{bytes, milliseconds, ranges, table};

const NONE: &str = "-";

fn or_none(text: &str) -> String {
    if text.is_empty() { NONE.to_owned() } else { text.to_owned() }
}

pub(super) fn found(of: &Found) -> String {
    let Found { partitions, rows, registry_entries, problems } = of;
    let head = format!("{partitions} partitions with {rows} rows, {registry_entries} registry entries");
    let end = problems.is_empty().then(|| "everything matches its checksums and reads as what it should be".to_owned());
    [head].into_iter().chain(problems.iter().cloned()).chain(end).collect::<Vec<_>>().join("\n")
}

pub(super) fn members(of: &Members) -> String {
    let nodes: Vec<Vec<String>> = of
        .nodes
        .iter()
        .map(|node| {
            let (heard, clock) = match &node.session {
                None => (NONE.to_owned(), NONE.to_owned()),
                Some(session) => (
                    if session.connected { "yes" } else { "no" }.to_owned(),
                    session.clock_offset_ms.map_or_else(|| NONE.to_owned(), |ms| format!("{ms:+}ms")),
                ),
            };
            vec![
                node.id.clone(),
                node.state.clone(),
                node.roles.join(","),
                or_none(&node.address),
                or_none(&node.zone),
                node.weight.to_string(),
                node.history_shards.to_string(),
                node.matching_shards.to_string(),
                heard,
                clock,
            ]
        })
        .collect();
    let heading = ["node", "state", "roles", "address", "zone", ">weight", ">history", ">matching", "heard", ">clock"];
    let head = format!("cluster {}, ring version {}", or_none(&of.cluster_id), of.ring_version);
    let about_voters = match &of.leader_unreachable {
        Some(why) => format!("no leader: {why}"),
        None if of.voters.is_empty() => "no voters: the process is alone".to_owned(),
        None => format!("term {}\n{}", of.term, voters(&of.voters)),
    };
    format!("{head}\n\n{}\n\n{about_voters}", table(&heading, &nodes))
}

pub(super) fn voters(of: &[VoterReport]) -> String {
    let rows: Vec<Vec<String>> = of
        .iter()
        .map(|voter| {
            let does = match (voter.leader, voter.voting) {
                (true, _) => "leads",
                (false, true) => "votes",
                (false, false) => "catches up",
            };
            vec![voter.id.clone(), does.to_owned(), voter.address.clone(), voter.matched.to_string()]
        })
        .collect();
    table(&["voter", "does", "address", ">matched"], &rows)
}

pub(super) fn ring(of: &RingView) -> String {
    let mut rows = Vec::new();
    for (service, shards) in [("history", &of.history), ("matching", &of.matching)] {
        let mut by_owner: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for (shard, owner) in (0..).zip(shards) {
            by_owner.entry(owner.as_deref().unwrap_or(NONE)).or_default().push(shard);
        }
        for (owner, shards) in by_owner {
            rows.push(vec![service.to_owned(), owner.to_owned(), shards.len().to_string(), ranges(shards)]);
        }
    }
    let head = format!("cluster {}, ring version {}", or_none(&of.cluster_id), of.version);
    format!("{head}\n\n{}", table(&["service", "owner", ">count", "shards"], &rows))
}

pub(super) fn shards(of: &ShardRows) -> String {
    let heading = [
        "service",
        ">shard",
        "owner",
        "served by",
        ">epoch",
        ">position",
        ">log groups",
        ">log bytes",
        ">lag",
        ">dirty",
        ">dirty bytes",
        ">loaded",
        ">loaded bytes",
    ];
    let rows: Vec<Vec<String>> = of.shards.iter().map(shard).collect();
    format!("ring version {}\n\n{}{}", of.ring_version, table(&heading, &rows), silent(&of.unreachable))
}

fn shard(row: &ShardRow) -> Vec<String> {
    let owner = row.owner.clone().unwrap_or_else(|| NONE.to_owned());
    let mut cells = vec![row.service.to_owned(), row.shard.to_string(), owner];
    match &row.serving {
        None => cells.push("none".to_owned()),
        Some(of) => cells.extend([
            of.node.clone(),
            of.epoch.to_string(),
            of.last_position.to_string(),
            of.log_groups.to_string(),
            bytes(of.log_bytes),
            of.lag_ms.map_or_else(|| NONE.to_owned(), milliseconds),
            of.dirty_entities.to_string(),
            bytes(of.dirty_bytes),
            of.loaded_entities.to_string(),
            bytes(of.loaded_bytes),
        ]),
    }
    cells
}

pub(super) fn flushed(of: &Flushed) -> String {
    format!("written to their tables: {}{}", or_none(&of.flushed.join(", ")), silent(&of.unreachable))
}

fn silent(of: &[Unreachable]) -> String {
    of.iter().map(|of| format!("\n{}: {}", of.node, of.why)).collect()
}

#[cfg(test)]
mod tests {
    use admin::{Member, Serving, SessionReport};

    use super::*;

    #[test]
    fn shards_are_shown_with_who_serves_them() {
        let serving = Serving {
            node: "history-0".into(),
            epoch: 7,
            last_position: 123,
            log_groups: 4,
            log_bytes: 2048,
            dirty_entities: 3,
            dirty_bytes: 100,
            loaded_entities: 50,
            loaded_bytes: 3 << 20,
            lag_ms: Some(1500),
        };
        let row = |shard, serving| ShardRow { service: "history", shard, owner: Some("history-0".into()), serving };
        let rows = ShardRows {
            ring_version: 9,
            shards: vec![row(0, Some(serving)), row(1, None)],
            unreachable: vec![Unreachable { node: "history-1".into(), why: "cannot connect".into() }],
        };
        let expected = "\
ring version 9

service  shard  owner      served by  epoch  position  log groups  log bytes   lag  dirty  dirty bytes  loaded  loaded bytes
history      0  history-0  history-0      7       123           4    2.0 KiB  1.5s      3          100      50       3.0 MiB
history      1  history-0  none
history-1: cannot connect";
        assert_eq!(shards(&rows), expected);
    }

    #[test]
    fn the_ring_is_shown_by_owner() {
        let own = |id: &str| Some(id.to_owned());
        let view = RingView {
            version: 3,
            cluster_id: "c".into(),
            history: vec![own("a"), own("a"), own("b"), own("a"), None],
            matching: vec![own("b")],
        };
        let expected = "\
cluster c, ring version 3

service   owner  count  shards
history   -          1  4
history   a          3  0-1, 3
history   b          1  2
matching  b          1  0";
        assert_eq!(ring(&view), expected);
    }

    #[test]
    fn members_are_shown_with_the_leader_and_without() {
        let node = Member {
            id: "a".into(),
            incarnation: 2,
            roles: vec!["frontend".into(), "history".into()],
            address: "h:1".into(),
            zone: String::new(),
            weight: 100,
            state: "up".into(),
            history_shards: 4,
            matching_shards: 0,
            session: Some(SessionReport { connected: true, clock_offset_ms: Some(-3) }),
        };
        let voter = VoterReport { id: "v".into(), address: "h:2".into(), voting: true, leader: true, matched: 17 };
        let mut of = Members {
            cluster_id: "c".into(),
            ring_version: 5,
            nodes: vec![node],
            voters: vec![voter],
            term: 2,
            leader_unreachable: None,
        };
        let expected = "\
cluster c, ring version 5

node  state  roles             address  zone  weight  history  matching  heard  clock
a     up     frontend,history  h:1      -        100        4         0  yes     -3ms

term 2
voter  does   address  matched
v      leads  h:2           17";
        assert_eq!(members(&of), expected);
        of.leader_unreachable = Some("no leader answers".into());
        of.nodes[0].session = None;
        assert!(members(&of).ends_with("no leader: no leader answers"));
    }
}
