//! Finding the leader: calls every seed and every known voter at once, and follows their redirects.

use std::collections::BTreeSet;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use internal_api::membership::membership_client::MembershipClient;
use internal_api::membership::{ClockReading, FindReply, FindRequest};
use runtime::Runtime;
use settings::MembershipSettings;
use tonic::transport::Channel;

use crate::clock_offset::reading;
use crate::peer_client::{MAX_MESSAGE_BYTES, endpoint, whole};
use crate::session::now_ms;

/// The leader, with a connection to it.
pub(crate) struct Leader {
    pub(crate) address: String,
    pub(crate) client: MembershipClient<Channel>,
    /// How its clock differs, by one exchange.
    pub(crate) clock: ClockReading,
}

/// Looks for the leader. `known` are addresses learned from the cluster, `seeds` those of the configuration.
///
/// # Errors
/// Each one's error.
pub(crate) async fn find_leader(
    runtime: &Runtime,
    timings: &MembershipSettings,
    seeds: &[String],
    known: &BTreeSet<String>,
) -> Result<Leader, Vec<String>> {
    let mut errors = Vec::new();
    let mut asked: BTreeSet<String> = known.clone();
    let resolved = seeds.iter().map(|seed| async move {
        (seed, runtime.timeout(timings.connect_timeout, tokio::net::lookup_host(seed)).await)
    });
    for (seed, addresses) in futures::future::join_all(resolved).await {
        match addresses {
            Some(Ok(addresses)) => asked.extend(addresses.map(|address| address.to_string())),
            Some(Err(error)) => errors.push(format!("{seed}: {error}")),
            None => errors.push(format!("{seed}: its name was not resolved within {:?}", timings.connect_timeout)),
        }
    }
    let mut answers: FuturesUnordered<_> =
        asked.iter().cloned().map(|address| ask(runtime, timings, address)).collect();
    while let Some((address, answer)) = answers.next().await {
        let (client, clock, reply) = match answer {
            Ok(answer) => answer,
            Err(why) => {
                errors.push(format!("{address}: {why}"));
                continue;
            }
        };
        if reply.leading {
            return Ok(Leader { address, client, clock });
        }
        errors.push(match reply.leader_address.as_str() {
            "" => format!("{address}: there is no leader now"),
            leader => format!("{address}: the leader is at {leader}"),
        });
        if !reply.leader_address.is_empty() && asked.insert(reply.leader_address.clone()) {
            answers.push(ask(runtime, timings, reply.leader_address));
        }
    }
    errors.sort();
    Err(errors)
}

type Answer = Result<(MembershipClient<Channel>, ClockReading, FindReply), String>;

async fn ask(runtime: &Runtime, timings: &MembershipSettings, address: String) -> (String, Answer) {
    let conversation = async {
        let channel = endpoint(&address, timings)?.connect().await.map_err(|error| whole(&error))?;
        let mut client = MembershipClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        let asked = now_ms(runtime);
        let reply = client.find(FindRequest {}).await.map_err(|status| status.message().to_owned())?.into_inner();
        let clock = reading(asked, now_ms(runtime), reply.now_ms);
        Ok((client, clock, reply))
    };
    let answer = runtime.timeout(timings.call_timeout, conversation).await;
    (address, answer.unwrap_or_else(|| Err(format!("no answer within {:?}", timings.call_timeout))))
}
