//! What a request frame asks for: its class, its statements, and how it would time out.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use crate::frame::{Frame, Reader, opcode};
use crate::prepared::Prepared;
use crate::rule::Class;
use crate::statement::class_of;

const LOCAL_QUORUM: u16 = 6;
const UNAVAILABLE: u32 = 0x1000;
const OVERLOADED: u32 = 0x1001;
const WRITE_TIMEOUT: u32 = 0x1100;
const READ_TIMEOUT: u32 = 0x1200;
const CAS_WRITE_UNKNOWN: u32 = 0x1700;

/// A request as far as this proxy reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What kind it is.
    pub class: Class,
    /// Its statements, joined with `; `.
    pub text: String,
    /// The statement to remember under the id that the reply will bring.
    pub preparing: Option<Arc<str>>,
    /// An execution names an id that never came by.
    pub unknown_prepared: bool,
    write_type: &'static str,
}

impl Request {
    fn other() -> Self {
        Self {
            class: Class::Other,
            text: String::new(),
            preparing: None,
            unknown_prepared: false,
            write_type: "SIMPLE",
        }
    }

    fn of_statement(text: &str) -> Self {
        let class = class_of(text);
        let write_type = if class == Class::Conditional { "CAS" } else { "SIMPLE" };
        Self { class, text: text.to_owned(), write_type, ..Self::other() }
    }

    /// Reads a request. What cannot be read is [`Class::Other`].
    pub fn read(frame: &Frame, prepared: &Prepared) -> Self {
        if frame.compressed() {
            return Self::other();
        }
        let mut reader = Reader(frame.body());
        let read = match frame.opcode() {
            opcode::QUERY => reader.long_string().map(|text| Self::of_statement(&text)),
            opcode::PREPARE => reader.long_string().map(|text| Self { preparing: Some(text.into()), ..Self::other() }),
            opcode::EXECUTE => reader.short_bytes().map(|id| match prepared.text(&id) {
                Some(text) => Self::of_statement(&text),
                None => Self { unknown_prepared: true, ..Self::other() },
            }),
            opcode::BATCH => batch(&mut reader, prepared),
            _ => None,
        };
        read.unwrap_or_else(Self::other)
    }

    /// The error that a node answers when the request timed out.
    pub fn timeout(&self, version: u8, stream: i16, write_type: Option<&str>) -> Frame {
        if self.class == Class::Read {
            let mut more = counts(1, 2);
            more.put_u8(0);
            return error(version, stream, READ_TIMEOUT, &more);
        }
        let write_type = write_type.unwrap_or(self.write_type);
        let mut more = counts(1, 2);
        more.put_u16(u16::try_from(write_type.len()).unwrap_or(0));
        more.put_slice(write_type.as_bytes());
        error(version, stream, WRITE_TIMEOUT, &more)
    }
}

/// A batch is conditional if any of its statements is.
fn batch(reader: &mut Reader, prepared: &Prepared) -> Option<Request> {
    let kind = reader.byte()?;
    let mut all = Request { class: Class::Write, ..Request::other() };
    all.write_type = match kind {
        0 => "BATCH",
        1 => "UNLOGGED_BATCH",
        _ => "COUNTER",
    };
    for _ in 0..reader.short()? {
        let text: Arc<str> = match reader.byte()? {
            0 => reader.long_string()?.into(),
            _ => match prepared.text(&reader.short_bytes()?) {
                Some(text) => text,
                None => return Some(Request { unknown_prepared: true, ..Request::other() }),
            },
        };
        for _ in 0..reader.short()? {
            reader.value()?;
        }
        if class_of(&text) == Class::Conditional {
            all.class = Class::Conditional;
            all.write_type = "CAS";
        }
        if !all.text.is_empty() {
            all.text.push_str("; ");
        }
        all.text.push_str(&text);
    }
    Some(all)
}

/// The id that a reply gives to a prepared statement.
pub fn prepared_id(reply: &Frame) -> Option<Bytes> {
    const PREPARED: i32 = 4;
    if reply.opcode() != opcode::RESULT || reply.compressed() {
        return None;
    }
    let mut reader = reply.reply()?;
    (reader.int()? == PREPARED).then(|| reader.short_bytes())?
}

/// Whether a node answers that it does not know a statement: then it did nothing.
pub fn is_unprepared(reply: &Frame) -> bool {
    const UNPREPARED: i32 = 0x2500;
    let code = || reply.reply()?.int();
    reply.opcode() == opcode::ERROR && !reply.compressed() && code() == Some(UNPREPARED)
}

/// UNAVAILABLE.
pub fn unavailable(version: u8, stream: i16) -> Frame {
    error(version, stream, UNAVAILABLE, &counts(2, 1))
}

/// OVERLOADED.
pub fn overloaded(version: u8, stream: i16) -> Frame {
    error(version, stream, OVERLOADED, &[])
}

/// CAS_WRITE_UNKNOWN.
pub fn cas_write_unknown(version: u8, stream: i16) -> Frame {
    error(version, stream, CAS_WRITE_UNKNOWN, &counts(1, 2))
}

fn counts(first: i32, second: i32) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_u16(LOCAL_QUORUM);
    bytes.put_i32(first);
    bytes.put_i32(second);
    bytes
}

fn error(version: u8, stream: i16, code: u32, more: &[u8]) -> Frame {
    const MESSAGE: &str = "made up by cql-proxy";
    let mut body = BytesMut::new();
    body.put_u32(code);
    body.put_u16(MESSAGE.len() as u16);
    body.put_slice(MESSAGE.as_bytes());
    body.put_slice(more);
    Frame::new(version | 0x80, stream, opcode::ERROR, &body)
}

#[cfg(test)]
#[path = "request_test.rs"]
mod tests;
