//! A request's message on its way in: read whole, within what memory there is, before anything is decoded.
//!
//! What a message's prefix announces is charged when the prefix has come, what it takes once decoded is charged before it
//! is decoded, and both stay charged until the answer has left.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use calls::ServiceError;
use http::Extensions;
use http_body_util::BodyExt;
use runtime::Runtime;
use settings::TransportSettings;
use tokio::sync::Semaphore;
use tonic::Status;
use tonic::body::Body;

use super::oversize;
use crate::decoded::{self, Limits, TooLarge};
use crate::errors::to_status;
use crate::memory::{self, Account};
use crate::methods::{Decoded, MessageBytes, methods};

/// Whether a message is compressed, and its length.
pub(super) const PREFIX: usize = 5;
/// A body that brings less than this within the time makes no progress. Bytes.
const PROGRESS: usize = 16 * 1024;
/// Smaller messages are read on the spot: anything else costs more. Bytes, as sent and as decompressed.
const LARGE: usize = 64 * 1024;
/// Messages that take more than this once decoded are decoded off the threads that serve everyone. Bytes.
const LARGE_DECODED: usize = 256 * 1024;
/// What inflated data is charged by. Bytes.
const STEP: usize = 64 * 1024;

/// Reads requests.
pub(super) struct Reader {
    settings: TransportSettings,
    runtime: Runtime,
    /// Large messages that are decoded at a time.
    places: Semaphore,
}

/// A message as it came.
struct Framed {
    compressed: bool,
    /// With the prefix.
    bytes: Bytes,
}

/// A message that was read.
pub(super) enum Message {
    /// To be decoded where it is handled. With its prefix, not compressed.
    Framed(Bytes),
    /// Decoded, and how long it was before that.
    Decoded(Decoded, MessageBytes),
}

impl Message {
    /// The body to hand on; the message's length goes along as an extension. So does what is decoded, and its body is that of
    /// an empty message.
    pub(super) fn into_body(self, extensions: &mut Extensions) -> Body {
        let (bytes, length) = match self {
            Self::Framed(bytes) => {
                let length = MessageBytes(bytes.len() - PREFIX);
                (bytes, length)
            }
            Self::Decoded(decoded, length) => {
                extensions.insert(decoded);
                (Bytes::from_static(&[0; PREFIX]), length)
            }
        };
        extensions.insert(length);
        Body::new(http_body_util::Full::new(bytes))
    }
}

impl Reader {
    pub(super) fn new(settings: TransportSettings, runtime: Runtime) -> Self {
        decoded::prepare();
        let places = std::thread::available_parallelism().map_or(2, usize::from);
        Self { settings, runtime, places: Semaphore::new(places) }
    }

    /// Reads the one message of a request to the `number`th method. `gzip` says that it may be compressed.
    pub(super) async fn read(
        &self,
        number: usize,
        body: Body,
        gzip: bool,
        account: &Account,
    ) -> Result<Message, Status> {
        let framed = self.framed(body, gzip, account).await?;
        let limits = Limits { bytes: self.settings.decoded_bytes, elements: self.settings.request_elements };
        let chars = self.settings.error_message_chars;
        if framed.bytes.len() <= LARGE
            && let Some(message) = plain(&framed, LARGE, account).map_err(|error| error.status(chars))?
        {
            let taken = charge(number, &message[PREFIX..], limits, account).map_err(|error| error.status(chars))?;
            if taken <= LARGE_DECODED {
                return Ok(Message::Framed(message));
            }
            return self.apart(move || decode(number, &message), chars).await;
        }
        let (account, limit) = (account.clone(), self.settings.request_bytes);
        let job = move || {
            let Some(message) = plain(&framed, limit, &account)? else {
                memory::refused("announced");
                // Decompression stops at the limit, so that the size is only known to be more.
                return Err(Refused::Status(oversize::status(limit + 1, limit)));
            };
            charge(number, &message[PREFIX..], limits, &account)?;
            decode(number, &message)
        };
        self.apart(job, chars).await
    }

    /// Runs `job` on a thread that serves no connection.
    async fn apart(
        &self,
        job: impl FnOnce() -> Result<Message, Refused> + Send + 'static,
        chars: usize,
    ) -> Result<Message, Status> {
        // The semaphore is never closed, and what panics is a bug in us.
        let _place = self.places.acquire().await.map_err(|_| Status::internal("a bug in the server: no decoders"))?;
        match self.runtime.spawn_blocking(job).await {
            Ok(message) => message.map_err(|error| error.status(chars)),
            Err(_) => Err(Status::internal("a bug in the server: the request's decoder panicked")),
        }
    }

    /// Reads a body to its end.
    async fn framed(&self, mut body: Body, gzip: bool, account: &Account) -> Result<Framed, Status> {
        let mut read = Read { whole: Bytes::new(), parts: BytesMut::new(), wanted: PREFIX };
        self.fill(&mut body, &mut read).await?;
        let compressed = match *read.bytes().first().ok_or_else(|| Status::internal("Missing request message."))? {
            0 => false,
            1 if gzip => true,
            1 => return Err(Status::internal("a message is compressed, but grpc-encoding does not say how")),
            flag => return Err(Status::internal(format!("a message's compression flag is {flag}, 0 or 1 is needed"))),
        };
        let length = announced(read.bytes()).ok_or_else(|| Status::internal("Unexpected EOF decoding stream."))?;
        if length > self.settings.request_bytes {
            memory::refused("announced");
            return Err(oversize::status(length, self.settings.request_bytes));
        }
        account.with(|held| held.grow(length)).map_err(|error| self.status(&error))?;
        read.wanted = PREFIX + length;
        self.fill(&mut body, &mut read).await?;
        // The end of the stream is part of the request.
        read.wanted += 1;
        self.fill(&mut body, &mut read).await?;
        match read.bytes().len() {
            all if all == PREFIX + length => Ok(Framed { compressed, bytes: read.into_bytes() }),
            all if all < PREFIX + length => Err(Status::internal("Unexpected EOF decoding stream.")),
            _ => Err(Status::internal("a unary request has more than one message")),
        }
    }

    /// Reads until there is what is wanted, or to the end of the body.
    async fn fill(&self, body: &mut Body, read: &mut Read) -> Result<(), Status> {
        let within = self.settings.stalled_within;
        loop {
            let goal = read.wanted.min(read.bytes().len() + PROGRESS);
            match self.runtime.timeout(within, advance(body, read, goal)).await {
                Some(Ok(true)) if goal < read.wanted => {}
                Some(advanced) => return advanced.map(drop),
                None => {
                    memory::refused("stalled");
                    let length = read.bytes().len();
                    return Err(Status::deadline_exceeded(format!(
                        "the request made no progress within {within:?}, {length} bytes of it came"
                    )));
                }
            }
        }
    }

    fn status(&self, error: &ServiceError) -> Status {
        to_status(error, self.settings.error_message_chars)
    }
}

/// What was read of a body: the first part as it came, which is all there is mostly, or a copy of several.
struct Read {
    whole: Bytes,
    parts: BytesMut,
    wanted: usize,
}

impl Read {
    fn bytes(&self) -> &[u8] {
        if self.parts.is_empty() { &self.whole } else { &self.parts }
    }

    fn push(&mut self, data: Bytes) {
        if self.bytes().is_empty() {
            self.whole = data;
            return;
        }
        if self.parts.is_empty() {
            self.parts.put(std::mem::take(&mut self.whole));
        }
        let needed = self.parts.len() + data.len();
        if needed > self.parts.capacity() {
            // Doubles, but never beyond what was announced and charged.
            let capacity = (2 * self.parts.capacity()).min(self.wanted).max(needed);
            self.parts.reserve(capacity - self.parts.len());
        }
        self.parts.put(data);
    }

    fn into_bytes(self) -> Bytes {
        if self.parts.is_empty() { self.whole } else { self.parts.freeze() }
    }
}

/// Reads until there are `goal` bytes. False at the end of the body.
async fn advance(body: &mut Body, read: &mut Read, goal: usize) -> Result<bool, Status> {
    while read.bytes().len() < goal {
        match body.frame().await {
            None => return Ok(false),
            Some(frame) => {
                if let Ok(data) = frame?.into_data() {
                    read.push(data);
                }
            }
        }
    }
    Ok(true)
}

/// The length that the prefix at the beginning of `bytes` announces.
pub(super) fn announced(bytes: &[u8]) -> Option<usize> {
    let mut length = bytes.get(1..PREFIX)?;
    usize::try_from(length.get_u32()).ok()
}

/// Why a message is refused.
enum Refused {
    Memory(ServiceError),
    Status(Status),
}

impl Refused {
    fn status(self, chars: usize) -> Status {
        match self {
            Self::Memory(error) => to_status(&error, chars),
            Self::Status(status) => status,
        }
    }
}

/// Charges what `message` takes once decoded, and says how much that is.
fn charge(number: usize, message: &[u8], limits: Limits, account: &Account) -> Result<usize, Refused> {
    let size = decoded::bound(number, message, limits).map_err(|passed| {
        let (reason, status) = match passed {
            TooLarge::Bytes(bytes) => ("decoded", oversize::decoded(bytes, limits.bytes)),
            TooLarge::Elements(elements) => ("elements", oversize::elements(elements, limits.elements)),
        };
        memory::refused(reason);
        Refused::Status(status)
    })?;
    account.with(|held| held.grow(size.bytes)).map_err(Refused::Memory)?;
    Ok(size.bytes)
}

fn decode(number: usize, message: &Bytes) -> Result<Message, Refused> {
    // Fields of type `bytes` share this copy. What the connection reads into is its own.
    let message =
        if message.len() <= LARGE { Bytes::copy_from_slice(&message[PREFIX..]) } else { message.slice(PREFIX..) };
    let length = MessageBytes(message.len());
    let decoded = methods().rows()[number].decode(message);
    decoded
        .map(|decoded| Message::Decoded(decoded, length))
        .map_err(|error| Refused::Status(Status::internal(error.to_string())))
}

/// The message as if it had never been compressed, with its prefix; what it expands to is charged as it does. `None` when
/// that is more than `limit`.
fn plain(framed: &Framed, limit: usize, account: &Account) -> Result<Option<Bytes>, Refused> {
    use std::io::Read as _;
    if !framed.compressed {
        return Ok(Some(framed.bytes.clone()));
    }
    let mut source = flate2::read::GzDecoder::new(&framed.bytes[PREFIX..]);
    let mut plain = vec![0; PREFIX];
    loop {
        let length = plain.len() - PREFIX;
        if length > limit {
            account.with(|held| held.shrink(length));
            return Ok(None);
        }
        let step = STEP.min(limit + 1 - length) as u64;
        let read = (&mut source).take(step).read_to_end(&mut plain);
        let read = read
            .map_err(|error| Refused::Status(Status::internal(format!("a message cannot be decompressed: {error}"))))?;
        if read == 0 {
            break;
        }
        account.with(|held| held.grow(read)).map_err(Refused::Memory)?;
    }
    let length = u32::try_from(plain.len() - PREFIX).unwrap_or(u32::MAX);
    plain[1..PREFIX].copy_from_slice(&length.to_be_bytes());
    Ok(Some(Bytes::from(plain)))
}

#[cfg(test)]
#[path = "incoming_test.rs"]
mod tests;
