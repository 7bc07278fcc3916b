//! What a request takes in memory once it is decoded, estimated from its undecoded bytes.
//!
//! A message of two bytes on the wire may become a struct of a thousand, so the length of a request says little of what
//! decoding it costs. [`bound`] walks over the tags of a request, with a table made from the API's descriptors, and adds
//! up what the decoder would allocate; it allocates nothing itself and ends as soon as a limit is passed.
//!
//! Absent on purpose: any judgement of malformed requests. The walk ends where the decoder would, with what it has got.

mod layout;
mod table;
mod walk;

use std::sync::LazyLock;

use table::Table;
pub use walk::{Limits, Size, TooLarge};

use crate::methods::{Method, methods};

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let rows = methods().rows();
    Table::of(rows.iter().map(|Method { service, name, .. }| (*service, *name)))
});

/// Makes the table now, which takes some milliseconds, instead of at the first request.
pub(crate) fn prepare() {
    LazyLock::force(&TABLE);
}

/// An upper bound of what the request to the `number`th method takes once decoded. `message` itself, which the fields of
/// type `bytes` share, is not counted.
pub(crate) fn bound(number: usize, message: &[u8], limits: Limits) -> Result<Size, TooLarge> {
    TABLE.bound(number, message, limits)
}

/// The same by the name of the RPC, for tests. `None` when it is not served.
pub fn bound_of(rpc: &str, message: &[u8], limits: Limits) -> Option<Result<Size, TooLarge>> {
    let number = methods().named(rpc)?;
    Some(bound(number, message, limits))
}

/// Decodes `message` as the server does with a large one, for tests. `None` when it is no request to this RPC.
pub fn decode_of(rpc: &str, message: bytes::Bytes) -> Option<Box<dyn std::any::Any + Send>> {
    let method = methods().rows().get(methods().named(rpc)?)?;
    method.decode(message).ok().map(|decoded| Box::new(decoded) as Box<dyn std::any::Any + Send>)
}
