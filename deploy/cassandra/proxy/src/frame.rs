//! Frames of the native protocol: nine bytes of header, then a body.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The length of a header.
pub const HEADER: usize = 9;
/// The longest body that the protocol allows.
const LONGEST: usize = 256 << 20;

/// Operation codes that mean something here, by the protocol's own names.
pub mod opcode {
    pub const ERROR: u8 = 0x00;
    pub const QUERY: u8 = 0x07;
    pub const RESULT: u8 = 0x08;
    pub const PREPARE: u8 = 0x09;
    pub const EXECUTE: u8 = 0x0a;
    pub const BATCH: u8 = 0x0d;
}

/// One frame, with the bytes it came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Header and body as they came.
    pub bytes: Bytes,
}

impl Frame {
    /// A frame that this proxy makes up.
    pub fn new(version: u8, stream: i16, opcode: u8, body: &[u8]) -> Self {
        let mut bytes = BytesMut::with_capacity(HEADER + body.len());
        bytes.put_u8(version);
        bytes.put_u8(0);
        bytes.put_i16(stream);
        bytes.put_u8(opcode);
        bytes.put_u32(u32::try_from(body.len()).unwrap_or(u32::MAX));
        bytes.put_slice(body);
        Self { bytes: bytes.freeze() }
    }

    /// Whether the body is compressed, and so cannot be read here.
    pub fn compressed(&self) -> bool {
        self.bytes[1] & 0x01 != 0
    }

    /// A reader of a reply's own fields, behind the tracing id, warnings and custom payload that may come first.
    pub fn reply(&self) -> Option<Reader> {
        let flags = self.bytes[1];
        let mut reader = Reader(self.body());
        if flags & 0x02 != 0 {
            reader.take(16)?;
        }
        if flags & 0x08 != 0 {
            for _ in 0..reader.short()? {
                reader.short_bytes()?;
            }
        }
        if flags & 0x04 != 0 {
            for _ in 0..reader.short()? {
                reader.short_bytes()?;
                reader.value()?;
            }
        }
        Some(reader)
    }

    /// The number that joins a reply to its request; -1 for events.
    pub fn stream(&self) -> i16 {
        i16::from_be_bytes([self.bytes[2], self.bytes[3]])
    }

    /// What the frame is.
    pub fn opcode(&self) -> u8 {
        self.bytes[4]
    }

    /// All behind the header.
    pub fn body(&self) -> Bytes {
        self.bytes.slice(HEADER..)
    }

    /// The same frame under another stream number.
    pub fn with_stream(&self, stream: i16) -> Self {
        let mut bytes = BytesMut::from(&self.bytes[..]);
        bytes[2..4].copy_from_slice(&stream.to_be_bytes());
        Self { bytes: bytes.freeze() }
    }
}

/// What the bytes at hand begin with.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A whole frame, which was taken.
    Frame(Frame),
    /// Part of one.
    More,
    /// Nothing that v3 or v4 would send. The bytes are all still there.
    Foreign,
}

/// Takes the next frame off the buffer.
pub fn next(buffer: &mut BytesMut) -> Next {
    if buffer.first().is_some_and(|version| !matches!(version & 0x7f, 3 | 4)) {
        return Next::Foreign;
    }
    if buffer.len() < HEADER {
        return Next::More;
    }
    let length = u32::from_be_bytes([buffer[5], buffer[6], buffer[7], buffer[8]]) as usize;
    if length > LONGEST {
        return Next::Foreign;
    }
    if buffer.len() < HEADER + length {
        buffer.reserve(HEADER + length - buffer.len());
        return Next::More;
    }
    Next::Frame(Frame { bytes: buffer.split_to(HEADER + length).freeze() })
}

/// Reads the protocol's notations; nothing where the bytes end too soon.
pub struct Reader(pub Bytes);

impl Reader {
    /// \[byte\]
    pub fn byte(&mut self) -> Option<u8> {
        self.0.has_remaining().then(|| self.0.get_u8())
    }

    /// \[short\]
    pub fn short(&mut self) -> Option<u16> {
        (self.0.remaining() >= 2).then(|| self.0.get_u16())
    }

    /// \[int\]
    pub fn int(&mut self) -> Option<i32> {
        (self.0.remaining() >= 4).then(|| self.0.get_i32())
    }

    /// \[long string\]
    pub fn long_string(&mut self) -> Option<String> {
        let length = usize::try_from(self.int()?).ok()?;
        self.take(length).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// \[short bytes\]
    pub fn short_bytes(&mut self) -> Option<Bytes> {
        let length = usize::from(self.short()?);
        self.take(length)
    }

    /// \[value\]; null and unset have no bytes.
    pub fn value(&mut self) -> Option<Bytes> {
        match usize::try_from(self.int()?) {
            Ok(length) => self.take(length),
            Err(_) => Some(Bytes::new()),
        }
    }

    fn take(&mut self, length: usize) -> Option<Bytes> {
        (self.0.remaining() >= length).then(|| self.0.split_to(length))
    }
}

#[cfg(test)]
#[path = "frame_test.rs"]
mod tests;
