//! Asking the other nodes, each for itself.

use std::time::Duration;

use cluster::{Node, NodeId, Ring, Role};
use futures::future::join_all;
use internal_api::admin as wire;
use internal_api::admin::admin_client::AdminClient;
use internal_api::calls::Callee;
use runtime::Runtime;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::endpoint::LARGEST_MESSAGE;

/// Another node.
pub(crate) type Peer = AdminClient<Channel>;

/// How long a node may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a node may take to say how its shards are.
pub(crate) const LIST_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a node may take to write everything to its tables.
pub(crate) const FLUSH_TIMEOUT: Duration = Duration::from_secs(120);

/// Asks every other node of the ring that may serve shards, all at once, and returns each one's answer or why there is
/// none. A call names its callee: the address may be another process's by now.
pub(crate) async fn call_all<T, F>(
    ring: &Ring,
    own: &NodeId,
    runtime: &Runtime,
    within: Duration,
    call: impl Fn(Peer, Callee) -> F,
) -> Vec<(String, Result<T, String>)>
where
    F: Future<Output = Result<tonic::Response<T>, Status>>,
{
    let others = ring.nodes.values().filter(|node| node.id != *own && serves_shards(node));
    let calls = others.map(|node| {
        let call = &call;
        async move {
            let attempt = async {
                call(connect(&node.address).await?, callee(ring, node)).await.map_err(|status| message_of(&status))
            };
            let answer = runtime.timeout(within, attempt).await;
            let answer = answer.unwrap_or_else(|| Err(format!("no answer from {} within {within:?}", node.address)));
            (node.id.to_string(), answer.map(tonic::Response::into_inner))
        }
    });
    join_all(calls).await
}

fn callee(ring: &Ring, node: &Node) -> Callee {
    Callee { cluster_id: ring.cluster_id.clone(), node: node.id.to_string(), incarnation: node.incarnation }
}

fn serves_shards(node: &Node) -> bool {
    node.roles.contains(&Role::History) || node.roles.contains(&Role::Matching)
}

/// A connection of its own: operators call seldom.
async fn connect(address: &str) -> Result<Peer, String> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| format!("{address}: {error}"))?;
    let channel = endpoint.connect_timeout(CONNECT_TIMEOUT).connect().await;
    let channel = channel.map_err(|error| format!("cannot connect to {address}: {}", causes(&error)))?;
    Ok(AdminClient::new(channel).max_decoding_message_size(LARGEST_MESSAGE))
}

pub(crate) fn message_of(status: &Status) -> String {
    match status.message() {
        "" => format!("{:?}", status.code()),
        message => message.to_owned(),
    }
}

/// An error with what caused it, once each.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// The nodes that gave no answer.
pub(crate) fn unreachable<T>(answers: &[(String, Result<T, String>)]) -> Vec<wire::Unreachable> {
    let silent = answers.iter().filter_map(|(node, answer)| Some((node, answer.as_ref().err()?)));
    silent.map(|(node, why)| wire::Unreachable { node: node.clone(), why: why.clone() }).collect()
}
