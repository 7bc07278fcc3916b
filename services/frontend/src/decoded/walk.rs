//! The walk over a request's tags.

use super::table::{Content, Field, Table};

/// Deeper messages are refused by the decoder.
const DEPTH: u32 = 101;
/// What an allocation may take beyond the text in it.
const ALLOCATION: usize = 16;

/// What a request takes once decoded, at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Structs, lists, maps and texts. Bytes.
    pub bytes: usize,
    /// Elements of lists and maps, at all levels; those of lists of numbers are not counted. Count.
    pub elements: usize,
}

/// How much a request may take.
pub type Limits = Size;

/// The limit that a request passes, with what was counted until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLarge {
    /// It takes more than is allowed.
    Bytes(usize),
    /// It has more elements than are allowed.
    Elements(usize),
}

/// Why a walk ends early.
enum Stop {
    /// The decoder would stop here too.
    Malformed,
    TooLarge(TooLarge),
}

struct Walk<'a> {
    table: &'a Table,
    bytes: &'a [u8],
    position: usize,
    size: Size,
    limits: Limits,
}

impl Table {
    /// An upper bound of what the request to the `number`th RPC takes.
    pub(super) fn bound(&self, number: usize, message: &[u8], limits: Limits) -> Result<Size, TooLarge> {
        let Some(&request) = self.requests.get(number) else { return Ok(Size::default()) };
        let size = Size { bytes: self.messages[request].bytes, elements: 0 };
        let mut walk = Walk { table: self, bytes: message, position: 0, size, limits };
        match walk.message(request, message.len(), DEPTH) {
            Ok(()) | Err(Stop::Malformed) => Ok(walk.size),
            Err(Stop::TooLarge(limit)) => Err(limit),
        }
    }
}

impl Walk<'_> {
    /// Walks over a message that ends at `end`. One that is longer than the message around it is walked to its own end,
    /// since the decoder notices no earlier.
    fn message(&mut self, number: usize, end: usize, depth: u32) -> Result<(), Stop> {
        let table = self.table;
        let fields = &table.messages[number].fields;
        // Elements of a list come one after the other, mostly. Where they do not, each run of them counts as a list of
        // its own, which is more.
        let mut run = 0;
        while self.position < end {
            let key = self.varint()?;
            let number = usize::try_from(key >> 3).map_err(|_| Stop::Malformed)?;
            let field = fields.get(number).copied().unwrap_or_default();
            match key & 7 {
                0 => drop(self.varint()?),
                1 => self.skip(8)?,
                2 => {
                    let length = usize::try_from(self.varint()?).map_err(|_| Stop::Malformed)?;
                    let before = self.position;
                    self.skip(length)?;
                    self.occurs(field, run == number)?;
                    self.content(field.content, before, length, depth)?;
                }
                3 => self.group(number, depth)?,
                5 => self.skip(4)?,
                _ => return Err(Stop::Malformed),
            }
            if field.repeated {
                if key & 7 != 2 {
                    self.occurs(field, run == number)?;
                }
                run = number;
            }
        }
        if self.position > end { Err(Stop::Malformed) } else { Ok(()) }
    }

    /// Counts an occurrence of a field, the first of its run or a later one.
    fn occurs(&mut self, field: Field, again: bool) -> Result<(), Stop> {
        self.size.elements += usize::from(field.repeated);
        if self.size.elements > self.limits.elements {
            return Err(Stop::TooLarge(TooLarge::Elements(self.size.elements)));
        }
        self.take(if again { field.next } else { field.first })
    }

    fn content(&mut self, content: Content, begin: usize, length: usize, depth: u32) -> Result<(), Stop> {
        match content {
            Content::Nothing => Ok(()),
            Content::Text if length == 0 => Ok(()),
            Content::Text => self.take(length + ALLOCATION),
            Content::Body => self.body(begin, length, depth),
            Content::Packed(each) => self.take(length.saturating_mul(each)),
            Content::Message(_) if depth == 0 => Err(Stop::Malformed),
            Content::Message(number) => {
                self.position = begin;
                self.message(number, begin + length, depth - 1)
            }
        }
    }

    /// Counts what may be decoded later from the bytes of a message in a request: the most that it could be.
    fn body(&mut self, begin: usize, length: usize, depth: u32) -> Result<(), Stop> {
        self.take(length + ALLOCATION)?;
        let (table, before, mut most) = (self.table, self.size, self.size);
        for &number in &table.bodies {
            self.size = before;
            self.position = begin;
            self.take(table.messages[number].bytes)?;
            // What is no such message is malformed by itself, and not the request around it.
            match self.message(number, begin + length, depth.saturating_sub(1)) {
                Ok(()) | Err(Stop::Malformed) => {}
                Err(stop) => return Err(stop),
            }
            most.bytes = most.bytes.max(self.size.bytes);
            most.elements = most.elements.max(self.size.elements);
        }
        (self.size, self.position) = (most, begin + length);
        Ok(())
    }

    fn take(&mut self, bytes: usize) -> Result<(), Stop> {
        self.size.bytes += bytes;
        if self.size.bytes > self.limits.bytes {
            return Err(Stop::TooLarge(TooLarge::Bytes(self.size.bytes)));
        }
        Ok(())
    }

    /// Skips a group, which no message of the API has.
    fn group(&mut self, number: usize, depth: u32) -> Result<(), Stop> {
        if depth == 0 {
            return Err(Stop::Malformed);
        }
        loop {
            let key = self.varint()?;
            match key & 7 {
                0 => drop(self.varint()?),
                1 => self.skip(8)?,
                2 => {
                    let length = usize::try_from(self.varint()?).map_err(|_| Stop::Malformed)?;
                    self.skip(length)?;
                }
                3 => self.group(usize::try_from(key >> 3).map_err(|_| Stop::Malformed)?, depth - 1)?,
                4 if key >> 3 == number as u64 => return Ok(()),
                5 => self.skip(4)?,
                _ => return Err(Stop::Malformed),
            }
        }
    }

    fn skip(&mut self, bytes: usize) -> Result<(), Stop> {
        if bytes > self.bytes.len() - self.position {
            return Err(Stop::Malformed);
        }
        self.position += bytes;
        Ok(())
    }

    fn varint(&mut self) -> Result<u64, Stop> {
        let rest = &self.bytes[self.position..];
        // Tags and lengths have one byte, mostly.
        if let Some(&byte) = rest.first()
            && byte < 0x80
        {
            self.position += 1;
            return Ok(u64::from(byte));
        }
        let mut value = 0;
        for (at, byte) in rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if *byte < 0x80 {
                self.position += at + 1;
                return Ok(value);
            }
        }
        Err(Stop::Malformed)
    }
}

#[cfg(test)]
#[path = "walk_test.rs"]
mod tests;
