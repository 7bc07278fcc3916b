//! The walk by small examples. `tests/decoded.rs` holds it against the allocator.

use std::sync::LazyLock;

use api::temporal::api::common::v1::Payload;

use super::*;

const NO_LIMITS: Limits = Size { bytes: usize::MAX, elements: usize::MAX };

fn table() -> &'static Table {
    static TABLE: LazyLock<Table> =
        LazyLock::new(|| Table::of([(crate::workflow_service::NAME, "SignalWorkflowExecution")].into_iter()));
    &TABLE
}

fn bound(message: &[u8]) -> Size {
    table().bound(0, message, NO_LIMITS).unwrap()
}

/// `input`, field 4 of a signal, with this content.
fn input(content: &[u8]) -> Vec<u8> {
    let mut message = vec![0x22, u8::try_from(content.len()).unwrap()];
    message.extend_from_slice(content);
    message
}

/// An empty payload: field 1 of `input`.
const EMPTY: [u8; 2] = [0x0a, 0];

#[test]
fn elements_cost_their_struct_and_what_their_list_has_to_spare() {
    let [none, one, two] = [0, 1, 2].map(|count| bound(&input(&EMPTY.repeat(count))));
    let payload = size_of::<Payload>();
    assert_eq!((one.elements, two.elements), (1, 2));
    assert!(one.bytes - none.bytes >= 4 * payload, "the smallest list has four places");
    assert!(two.bytes - one.bytes >= 2 * payload, "a list doubles");
}

#[test]
fn each_run_of_elements_counts_as_a_list_of_its_own() {
    let (metadata, external) = ([0x0a, 0], [0x1a, 0]);
    let payload = |content: &[u8]| {
        let mut payload = vec![0x0a, u8::try_from(content.len()).unwrap()];
        payload.extend_from_slice(content);
        bound(&input(&payload))
    };
    let in_turns = payload(&[metadata, external, metadata, external].concat());
    let sorted = payload(&[metadata, metadata, external, external].concat());
    assert_eq!(in_turns.elements, sorted.elements);
    assert!(in_turns.bytes > sorted.bytes);
}

#[test]
fn a_walk_ends_where_a_limit_is_passed() {
    let message = input(&EMPTY.repeat(50));
    let limits = Size { elements: 49, ..NO_LIMITS };
    assert_eq!(table().bound(0, &message, limits), Err(TooLarge::Elements(50)));
    let whole = bound(&message);
    assert_eq!(table().bound(0, &message, whole), Ok(whole));
    let limits = Size { bytes: whole.bytes - 1, ..NO_LIMITS };
    assert_eq!(table().bound(0, &message, limits), Err(TooLarge::Bytes(whole.bytes)));
}

#[test]
fn what_the_decoder_reads_before_it_finds_a_fault_is_counted() {
    let (none, fifty) = (bound(b""), bound(&input(&EMPTY.repeat(50))));
    assert!(fifty.bytes > none.bytes);
    // `input` says that it ends after two bytes, what is in it says otherwise, and the decoder believes that first.
    let mut longer = vec![0x22, 2, 0x0a, 100];
    longer.extend(EMPTY.repeat(50));
    assert!(bound(&longer).elements == 51, "metadata of the payload that goes beyond its list");
    let cut = &input(&EMPTY.repeat(50))[..];
    assert_eq!(bound(&cut[..cut.len() - 1]), none, "a length beyond the end is found at once");
    let mut torn = input(&EMPTY.repeat(50));
    torn.push(0xff);
    assert_eq!(bound(&torn), fifty);
}

#[test]
fn unknown_fields_and_groups_are_passed_over() {
    let none = bound(b"");
    // Numbers of all widths, text and a group with a group in it, all with unknown field numbers.
    let unknown = b"\xf8\x3f\x01\xf9\x3f12345678\xfd\x3f1234\xfa\x3f\x02ab\xfb\x3f\x0b\x0a\x01x\x0c\xfc\x3f";
    assert_eq!(bound(unknown), none);
    let mut with_input = unknown.to_vec();
    with_input.extend(input(&EMPTY));
    assert_eq!(bound(&with_input), bound(&input(&EMPTY)));
}

#[test]
fn arbitrary_bytes_end_the_walk_and_nothing_else() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for length in 0..2000 {
        let bytes: Vec<u8> = (0..length % 97)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .collect();
        bound(&bytes);
    }
    bound(&[0x22; 4000]);
    bound(&[0x0b; 4000]);
}

#[test]
fn what_is_decoded_later_from_within_a_message_is_counted_with_the_request() {
    use api::temporal::api::common::v1::Payloads;
    use api::temporal::api::protocol::v1::Message;
    use api::temporal::api::update::v1::outcome::Value;
    use api::temporal::api::update::v1::{Outcome, Response};
    use api::temporal::api::workflowservice::v1::RespondWorkflowTaskCompletedRequest;
    use prost::Message as _;

    let table = Table::of([(crate::workflow_service::NAME, "RespondWorkflowTaskCompleted")].into_iter());
    let bound = |value: Vec<u8>| {
        let body = Some(prost_types::Any { type_url: String::new(), value });
        let message = Message { body, ..Message::default() };
        let request = RespondWorkflowTaskCompletedRequest { messages: vec![message; 2], ..Default::default() };
        table.bound(0, &request.encode_to_vec(), NO_LIMITS).unwrap()
    };
    let answer = |count| {
        let payloads = Payloads { payloads: vec![Payload::default(); count] };
        let outcome = Some(Outcome { value: Some(Value::Success(payloads)) });
        bound(Response { outcome, ..Response::default() }.encode_to_vec())
    };
    let (few, many) = (answer(1), answer(1001));
    assert_eq!(many.elements - few.elements, 2000);
    assert!(many.bytes - few.bytes >= 2000 * size_of::<Payload>());
    // What is no such message costs its bytes, and hides nothing of what follows.
    assert_eq!(bound(vec![0xff; 100]).elements, 2);
}
