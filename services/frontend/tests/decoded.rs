//! What a request takes once decoded, by the allocator's own count, against the estimate from its undecoded bytes: for
//! every list and map that a served request can have, at all levels.

#[path = "decoded/flood.rs"]
mod flood;

use allocated::{Allocated, allocated};
use api::temporal::api::command::v1::{Command, ScheduleActivityTaskCommandAttributes, command::Attributes};
use api::temporal::api::common::v1::{Header, Payload, Payloads};
use api::temporal::api::workflowservice::v1 as wire;
use bytes::Bytes;
use flood::{Flood, floods};
use frontend::decoded::{self, Limits, Size};
use prost::Message;

#[global_allocator]
static ALLOCATOR: allocated::Counting = allocated::Counting;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const REQUEST: usize = 4 * MIB;
/// As in the default settings.
const LIMITS: Limits = Size { bytes: 32 * MIB, elements: 100_000 };
const NO_LIMITS: Limits = Size { bytes: usize::MAX, elements: usize::MAX };
/// The handle of a decoded message.
const HANDLE: usize = 256;

fn bound(flood: &Flood, message: &[u8], limits: Limits) -> Result<usize, decoded::TooLarge> {
    decoded::bound_of(&flood.rpc, message, limits).expect("it is served").map(|size| size.bytes)
}

/// Decodes, and checks that no more was allocated than estimated. Returns what was held at the end, and at most.
fn decoded_within(flood: &Flood, message: Vec<u8>, estimate: usize) -> (usize, usize) {
    let message = Bytes::from(message);
    let (decoded, Allocated { held: kept, peak }) = allocated(|| decoded::decode_of(&flood.rpc, message));
    let is_a_request = decoded.is_some();
    assert!(is_a_request, "{}: not a request", flood.name);
    assert!(kept <= estimate + HANDLE, "{}: {kept} bytes are held, {estimate} were estimated", flood.name);
    (kept, peak)
}

#[test]
fn no_list_or_map_takes_more_than_estimated_nor_much_less() {
    let floods = floods();
    assert!(floods.len() > 140, "{}", floods.len());
    for flood in &floods {
        let message = flood.message(6 * KIB);
        let estimate = bound(flood, &message, NO_LIMITS).unwrap();
        assert!(estimate > 2 * message.len(), "{}: {estimate}, it floods nothing", flood.name);
        let (kept, _) = decoded_within(flood, message, estimate);
        assert!(estimate <= 3 * kept + 16 * KIB, "{}: {kept} bytes are held, {estimate} were estimated", flood.name);
    }
}

#[test]
fn whatever_fits_into_a_request_is_refused_or_takes_less_than_64_mib() {
    let mut largest = Vec::new();
    let floods = floods();
    for flood in floods.iter().filter(|flood| flood.first_of_its_kind) {
        let message = flood.message(REQUEST);
        assert!(message.len() <= REQUEST && message.len() > REQUEST - KIB, "{}: {}", flood.name, message.len());
        match bound(flood, &message, LIMITS) {
            Ok(estimate) => {
                let (_, peak) = decoded_within(flood, message, estimate);
                assert!(peak <= 64 * MIB, "{}: {peak}", flood.name);
            }
            Err(_) => largest.push(flood),
        }
    }
    // The largest that is let through of those that are refused; some, since decoding takes a while.
    for flood in largest.iter().step_by(16) {
        let sample = flood.message(64 * KIB);
        let all = decoded::bound_of(&flood.rpc, &sample, NO_LIMITS).unwrap().unwrap();
        let by_bytes = sample.len() as f64 * LIMITS.bytes as f64 / all.bytes as f64;
        let by_elements = sample.len() as f64 * LIMITS.elements as f64 / all.elements as f64;
        let message = flood.message((0.95 * by_bytes.min(by_elements)) as usize);
        let estimate = bound(flood, &message, LIMITS).expect("it fits, just");
        let (_, peak) = decoded_within(flood, message, estimate);
        assert!(peak <= 64 * MIB, "{}: {peak}", flood.name);
    }
}

fn payload(bytes: usize) -> Payload {
    let metadata = [("encoding".to_owned(), Bytes::from_static(b"json/plain"))].into();
    Payload { metadata, data: Bytes::from(vec![b'x'; bytes]), ..Payload::default() }
}

#[test]
fn what_workers_send_is_let_through() {
    let command = |number: usize| Command {
        attributes: Some(Attributes::ScheduleActivityTaskCommandAttributes(ScheduleActivityTaskCommandAttributes {
            activity_id: number.to_string(),
            input: Some(Payloads { payloads: vec![payload(400)] }),
            header: Some(Header { fields: [("trace".to_owned(), payload(60))].into() }),
            ..Default::default()
        })),
        ..Command::default()
    };
    let completion =
        wire::RespondWorkflowTaskCompletedRequest { commands: (0..4000).map(command).collect(), ..Default::default() };
    let blob = wire::RespondActivityTaskCompletedRequest {
        result: Some(Payloads { payloads: vec![payload(2 * MIB)] }),
        ..Default::default()
    };
    for (rpc, message) in [
        ("RespondWorkflowTaskCompleted", completion.encode_to_vec()),
        ("RespondActivityTaskCompleted", blob.encode_to_vec()),
    ] {
        assert!(message.len() <= REQUEST, "{rpc}: {}", message.len());
        decoded::bound_of(rpc, &message, LIMITS).unwrap().expect(rpc);
    }
}
