//! `outlast admin drain --wait`.

use std::collections::BTreeSet;
use std::time::Duration;

use admin::{AdminError, ShardRow, ShardRows};
use anyhow::{Result, anyhow};
use runtime::Runtime;

use super::refusal;

/// How often it is looked.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// A shard by its service and number.
type Name = (&'static str, u32);

/// Notes what a node has, drains it by `begin`, and returns the version of the ring that shows that once the node has
/// nothing left and others serve what it had. A look that fails is followed by another.
///
/// # Errors
/// When it cannot be drained. When all takes longer than `within`, with what was missing at the last look.
pub(super) async fn and_wait(
    node: &str,
    begin: impl Future<Output = Result<u64, AdminError>>,
    mut look: impl AsyncFnMut() -> Result<ShardRows, AdminError>,
    within: Duration,
    runtime: &Runtime,
) -> Result<u64> {
    let mut missing = format!("{node} has not been drained: there was no answer");
    let waiting = async {
        let had = loop {
            match look().await {
                Ok(rows) => break rows.shards.iter().filter(|row| is_of(node, row)).map(name).collect(),
                Err(error) => missing = format!("{node} has not been drained: {error}"),
            }
            runtime.sleep(POLL_INTERVAL).await;
        };
        missing = format!("it may be that {node} is being drained: there was no answer");
        let version = begin.await.map_err(refusal)?;
        loop {
            match look().await.map(|rows| left_to_do(node, &had, version, &rows)) {
                Ok(None) => return Ok(version),
                Ok(Some(what)) => missing = what,
                Err(error) => missing = format!("{node} is being drained, and how far that is cannot be seen: {error}"),
            }
            runtime.sleep(POLL_INTERVAL).await;
        }
    };
    let done = runtime.timeout(within, waiting).await;
    done.unwrap_or_else(|| Err(anyhow!("after {within:?} {missing}")))
}

fn name(row: &ShardRow) -> Name {
    (row.service, row.shard)
}

fn is_served_by(node: &str, row: &ShardRow) -> bool {
    row.serving.as_ref().is_some_and(|serving| serving.node == node)
}

/// Whether a node has a shard, or should have it.
fn is_of(node: &str, row: &ShardRow) -> bool {
    row.owner.as_deref() == Some(node) || is_served_by(node, row)
}

/// What is missing until a node is drained that had the shards `had`; `None` when nothing is. What becomes of shards that
/// were others' all the time is ignored.
fn left_to_do(node: &str, had: &BTreeSet<Name>, version: u64, rows: &ShardRows) -> Option<String> {
    if rows.ring_version < version {
        return Some(format!(
            "the node that was called knows of ring version {} only, not {version}",
            rows.ring_version
        ));
    }
    if let Some(silent) = rows.unreachable.iter().find(|of| of.node == node) {
        return Some(format!("{node} does not say what it serves: {}", silent.why));
    }
    let kept: BTreeSet<Name> = rows.shards.iter().filter(|row| is_of(node, row)).map(name).collect();
    if !kept.is_empty() {
        return Some(format!("{node} still has shards: {}", listed(&kept)));
    }
    let served: BTreeSet<Name> = rows.shards.iter().filter(|row| row.is_served()).map(name).collect();
    let unserved: BTreeSet<Name> = had.difference(&served).copied().collect();
    (!unserved.is_empty()).then(|| {
        let silent = match rows.unreachable.as_slice() {
            [] => String::new(),
            of => format!(" ({} did not answer)", of.iter().map(|of| &*of.node).collect::<Vec<_>>().join(", ")),
        };
        format!(
            "{node} has no shards any more, and these are not served by their new owners yet: {}{silent}",
            listed(&unserved)
        )
    })
}

fn listed(names: &BTreeSet<Name>) -> String {
    names.iter().map(|(service, shard)| format!("{service}/{shard}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use admin::{Serving, Unreachable};

    use super::*;

    fn serving(node: &str) -> Serving {
        Serving {
            node: node.to_owned(),
            epoch: 1,
            last_position: 1,
            log_groups: 0,
            log_bytes: 0,
            dirty_entities: 0,
            dirty_bytes: 0,
            loaded_entities: 0,
            loaded_bytes: 0,
            lag_ms: None,
        }
    }

    /// History's shards from 0 on: which node should own each, and which serves it, if any.
    fn rows(ring_version: u64, shards: &[(&str, &str)]) -> ShardRows {
        let row = |(shard, (owner, by)): (u32, &(&str, &str))| ShardRow {
            service: "history",
            shard,
            owner: Some((*owner).to_owned()),
            serving: (!by.is_empty()).then(|| serving(by)),
        };
        ShardRows { ring_version, shards: (0..).zip(shards).map(row).collect(), unreachable: Vec::new() }
    }

    type Look = Result<ShardRows, AdminError>;

    /// Drains `a` while what is seen is this, and in the end the last of it.
    async fn drained(looks: impl IntoIterator<Item = Look>) -> Result<u64, String> {
        let runtime = Runtime::system();
        let mut looks: VecDeque<Look> = looks.into_iter().collect();
        let look = async || if looks.len() > 1 { looks.pop_front().unwrap() } else { looks[0].clone() };
        let done = and_wait("a", async { Ok(7) }, look, Duration::from_secs(60), &runtime).await;
        done.map_err(|error| error.to_string())
    }

    fn broken() -> Look {
        Err(AdminError::Unreachable("the connection to the node has broken".to_owned()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_shard_of_others_that_no_node_serves_is_not_waited_for() {
        let before = rows(6, &[("a", "a"), ("b", "b"), ("c", "")]);
        let moving = rows(7, &[("b", "a"), ("b", "b"), ("c", "")]);
        let closed = rows(7, &[("b", ""), ("b", "b"), ("c", "")]);
        let after = rows(7, &[("b", "b"), ("b", "b"), ("c", "")]);
        assert_eq!(drained([Ok(before), Ok(moving), Ok(closed), Ok(after)]).await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_fails_is_followed_by_another() {
        let (before, after) = (rows(6, &[("a", "a")]), rows(7, &[("b", "b")]));
        assert_eq!(drained([broken(), Ok(before), broken(), broken(), Ok(after)]).await, Ok(7));
        let error = drained([broken()]).await.unwrap_err();
        assert_eq!(error, "after 60s a has not been drained: the connection to the node has broken");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_missing_in_the_end_is_reported_with_its_node() {
        let before = || Ok(rows(6, &[("a", "a"), ("a", "a"), ("b", "b")]));
        let error = drained([before(), Ok(rows(7, &[("b", "b"), ("b", ""), ("b", "b")]))]).await.unwrap_err();
        assert_eq!(
            error,
            "after 60s a has no shards any more, and these are not served by their new owners yet: history/1"
        );
        let error = drained([before(), Ok(rows(7, &[("b", "a"), ("b", "b"), ("b", "b")]))]).await.unwrap_err();
        assert_eq!(error, "after 60s a still has shards: history/0");
        let mut silent = rows(7, &[("b", "b"), ("b", "b"), ("b", "b")]);
        silent.unreachable.push(Unreachable { node: "a".to_owned(), why: "cannot connect".to_owned() });
        let error = drained([before(), Ok(silent)]).await.unwrap_err();
        assert_eq!(error, "after 60s a does not say what it serves: cannot connect");
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_not_known_is_said_at_once() {
        let runtime = Runtime::system();
        let look = async || Ok(rows(6, &[("b", "b")]));
        let begin = async { Err(AdminError::Refused("no node is called \"a\"".to_owned())) };
        let done = and_wait("a", begin, look, Duration::from_secs(60), &runtime).await;
        assert_eq!(done.unwrap_err().to_string(), "no node is called \"a\"");
    }
}
