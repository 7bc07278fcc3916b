//! What requests and replies are between nodes.
//!
//! Messages of the API travel as they are. What services say to each other beyond that is encoded here, in one file for each
//! thing that is spoken of. Fields are added, never renumbered: neighbouring releases talk to each other. Whatever a field
//! cannot say is an error of the peer; nothing is guessed.

mod activity;
mod query;
mod task;

use std::fmt;

use bytes::{Bytes, BytesMut};
use prost::Message;

use crate::history::{GetHistory, Opened, UnwrittenEvents};
use crate::{ServiceError, ServiceResult};

/// Something that travels between nodes.
pub trait Wire: Sized + Send + 'static {
    /// As it travels.
    fn to_bytes(&self) -> Bytes;

    /// As it was.
    ///
    /// # Errors
    /// Internal when these bytes do not say it.
    fn from_bytes(bytes: Bytes) -> ServiceResult<Self>;
}

impl<T: Message + Default + 'static> Wire for T {
    fn to_bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    fn from_bytes(bytes: Bytes) -> ServiceResult<Self> {
        Self::decode(bytes).map_err(|error| unreadable(&error))
    }
}

/// The error for a message of a peer that this release cannot read.
pub(crate) fn unreadable(why: &dyn fmt::Display) -> ServiceError {
    ServiceError::Internal(format!("a call between nodes cannot be read: {why}"))
}

/// A field that a peer must set.
fn required<T>(field: Option<T>, name: &str) -> ServiceResult<T> {
    field.ok_or_else(|| unknown(name))
}

/// The error for a field that does not say anything that this release knows.
fn unknown(name: &str) -> ServiceError {
    unreadable(&format_args!("it has no {name} that this release knows"))
}

/// Two messages as one: its fields 1 and 2. Neither is copied before it is encoded.
fn pair(first: &impl Message, second: &impl Message) -> Bytes {
    use prost::encoding::message::{encode, encoded_len};
    let mut bytes = BytesMut::with_capacity(encoded_len(1, first) + encoded_len(2, second));
    encode(1, first, &mut bytes);
    encode(2, second, &mut bytes);
    bytes.freeze()
}

/// The same before its parts are decoded: to the encoding, a message is some bytes.
#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(bytes = "bytes", optional, tag = "1")]
    first: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    second: Option<Bytes>,
}

/// The two messages of a [`pair`].
fn from_pair<A: Wire, B: Wire>(bytes: Bytes) -> ServiceResult<(A, B)> {
    let pair = Pair::from_bytes(bytes)?;
    let first = A::from_bytes(required(pair.first, "first part")?)?;
    Ok((first, B::from_bytes(required(pair.second, "second part")?)?))
}

impl<T, R> Wire for Opened<T, R>
where
    T: Message + Default + 'static,
    R: Message + Default + 'static,
{
    fn to_bytes(&self) -> Bytes {
        pair(&self.token, &self.request)
    }

    fn from_bytes(bytes: Bytes) -> ServiceResult<Self> {
        let (token, request) = from_pair(bytes)?;
        Ok(Self { token, request })
    }
}

impl Wire for GetHistory {
    fn to_bytes(&self) -> Bytes {
        pair(&(self.unwritten == UnwrittenEvents::Shown), &self.request)
    }

    fn from_bytes(bytes: Bytes) -> ServiceResult<Self> {
        let (is_shown, request) = from_pair::<bool, _>(bytes)?;
        Ok(Self { unwritten: if is_shown { UnwrittenEvents::Shown } else { UnwrittenEvents::Hidden }, request })
    }
}
