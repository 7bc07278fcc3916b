//! What a fuzzer calls: arbitrary bytes as a request to any method, through everything that needs no history.

use bytes::Bytes;
use calls::token::{ActivityTaskToken, HistoryPageToken, QueryTaskToken, WorkflowTaskToken};
use settings::RequestLimits;

use crate::methods::methods;
use crate::tokens::{self, Content, Keys, Kind};

/// Takes the first byte as the number of a method, the rest as its request; decodes and checks it, and opens the rest as
/// each kind of token. Returns whether the request was understood and accepted. Must never panic.
pub fn decode_and_check(input: &[u8]) -> bool {
    let Some((&number, bytes)) = input.split_first() else { return false };
    open_as_token::<WorkflowTaskToken>(Kind::WorkflowTask, bytes);
    open_as_token::<ActivityTaskToken>(Kind::ActivityTask, bytes);
    open_as_token::<QueryTaskToken>(Kind::QueryTask, bytes);
    open_as_token::<HistoryPageToken>(Kind::HistoryPage, bytes);
    let rows = methods().rows();
    let method = &rows[usize::from(number) % rows.len()];
    let checked = method.decode_and_check(bytes, &RequestLimits::default());
    checked.is_some_and(|result| result.is_ok())
}

/// Opens `bytes` as they are, which must fail, and sealed, which must succeed as far as the seal goes.
fn open_as_token<T: Content>(kind: Kind, bytes: &[u8]) {
    let Some(keys) = Keys::of_secret(1, b"known to everyone") else { return };
    let _refused = tokens::open(&keys, kind, &Bytes::copy_from_slice(bytes));
    let sealed = tokens::seal(&keys, kind, bytes);
    if let Ok(content) = tokens::open(&keys, kind, &sealed) {
        let _read = tokens::read::<T>(kind, &content);
    }
}

#[cfg(test)]
#[path = "fuzz_test.rs"]
mod tests;
