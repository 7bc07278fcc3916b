//! Messages that are too large. tonic says so in its own words, with codes that differ by whether the message was
//! compressed; SDKs know those of grpc-go, and fail a workflow task with that cause instead of sending it again.

use http::{HeaderMap, Response};
use tonic::body::Body;
use tonic::{Code, Status};

/// How tonic begins when a message is announced to be larger than the limit; a number follows.
const ANNOUNCED: &str = "Error, decoded message length too large: found ";
/// How tonic begins when a compressed message turns out to be larger.
const DECOMPRESSED: &str = "Error decompressing: size limit, of ";

/// `response`, with tonic's words for an over-size request replaced.
pub(super) fn rewritten(response: Response<Body>, limit: usize) -> Response<Body> {
    match oversize(response.headers(), limit) {
        Some(size) => Status::resource_exhausted(text(size, limit)).into_http(),
        None => response,
    }
}

/// The size of the refused message, if that is what these headers tell.
fn oversize(headers: &HeaderMap, limit: usize) -> Option<usize> {
    // An answer carries its status in trailers; only a refusal has it here.
    headers.get("grpc-status")?;
    let status = Status::from_header_map(headers)?;
    match status.code() {
        Code::OutOfRange => {
            let (size, _) = status.message().strip_prefix(ANNOUNCED)?.split_once(' ')?;
            size.parse().ok()
        }
        // Decompression stops at the limit, so that all there is to tell is "more".
        Code::ResourceExhausted => status.message().starts_with(DECOMPRESSED).then_some(limit + 1),
        _ => None,
    }
}

fn text(size: usize, limit: usize) -> String {
    format!("grpc: received message larger than max ({size} vs. {limit})")
}
