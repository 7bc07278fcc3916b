//! Looks at the write-ahead log before SQLite does, and distinguishes damage from a torn end.
//!
//! SQLite takes the log up to the first frame whose checksum is wrong, whatever lies behind it. After a power cut that
//! is right: the last transaction may have reached the disk in parts. After damage in the middle it would silently drop
//! what was acknowledged. Two things show that frames were acknowledged, because the writer begins a transaction only
//! after the fsync of the one before:
//!
//! - Behind a bad frame a transaction ends and another one begins.
//! - SQLite's index of the log (the `-shm` file, which a killed process leaves behind) counts only frames that were
//!   fsynced, and it counts more than there are.
//!
//! The format is that of <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>.

mod index;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use self::index::Index;
use crate::schema::PAGE_BYTES;

const MAGIC: u32 = 0x377f_0682;
const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;
const PAGE: usize = PAGE_BYTES as usize;

/// What is to be known of an undamaged log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WalState {
    /// How many frames are committed.
    pub(crate) committed_frames: u32,
    /// Whether they hold the file's first page, so that the one in the file does not count.
    pub(crate) has_first_page: bool,
}

/// Why the log was not checked, or is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WalError {
    #[error("{0}")]
    Damaged(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A name beside the store's file, as SQLite makes it: from the file that a link leads to.
pub(crate) fn beside(store: &Path, suffix: &str) -> PathBuf {
    let mut name = store.canonicalize().unwrap_or_else(|_| store.to_owned()).into_os_string();
    name.push(suffix);
    name.into()
}

/// Checks the log of a store that no process has open.
pub(crate) fn check(store: &Path) -> Result<WalState, WalError> {
    let index = Index::read(&beside(store, "-shm"))?;
    let found = match File::open(beside(store, "-wal")) {
        Ok(file) => Found::read(&mut BufReader::with_capacity(1 << 20, file))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Found::default(),
        Err(error) => return Err(error.into()),
    };
    match found.damage(index.as_ref()) {
        Some(what) => Err(WalError::Damaged(what)),
        None => Ok(WalState { committed_frames: found.committed, has_first_page: found.has_first_page }),
    }
}

/// A checksum of SQLite's: two sums over pairs of words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Checksum(u32, u32);

impl Checksum {
    fn at(bytes: &[u8], offset: usize) -> Self {
        Self(word(bytes, offset), word(bytes, offset + 4))
    }

    /// Goes on over bytes, in pairs of words of the order that `to_word` reads.
    fn over(self, bytes: &[u8], to_word: fn([u8; 4]) -> u32) -> Self {
        let (words, _) = bytes.as_chunks::<4>();
        let (pairs, _) = words.as_chunks::<2>();
        pairs.iter().fold(self, |Self(first, second), [left, right]| {
            let first = first.wrapping_add(to_word(*left)).wrapping_add(second);
            Self(first, second.wrapping_add(to_word(*right)).wrapping_add(first))
        })
    }
}

/// The big-endian word at an offset; 0 beyond the end, where nothing reads.
fn word(bytes: &[u8], offset: usize) -> u32 {
    bytes.get(offset..offset + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_be_bytes)
}

/// The log's header.
struct Header {
    salts: [u8; 8],
    to_word: fn([u8; 4]) -> u32,
    /// The checksum that it carries, from which that of the first frame goes on.
    checksum: Checksum,
    computed: Checksum,
    is_valid: bool,
}

impl Header {
    fn parse(bytes: &[u8; HEADER_BYTES]) -> Self {
        let magic = word(bytes, 0);
        let to_word = if magic & 1 == 1 { u32::from_be_bytes } else { u32::from_le_bytes };
        let (checksum, computed) = (Checksum::at(bytes, 24), Checksum::default().over(&bytes[..24], to_word));
        let is_valid = magic & !1 == MAGIC && word(bytes, 8) == PAGE as u32 && checksum == computed;
        let mut salts = [0; 8];
        salts.copy_from_slice(&bytes[16..24]);
        Self { salts, to_word, checksum, computed, is_valid }
    }
}

/// A frame, as it lies there.
struct Frame {
    bytes: Box<[u8; FRAME_HEADER_BYTES + PAGE]>,
}

impl Frame {
    fn page(&self) -> u32 {
        word(&self.bytes[..], 0)
    }

    fn ends_transaction(&self) -> bool {
        word(&self.bytes[..], 4) != 0
    }

    fn salts(&self) -> &[u8] {
        &self.bytes[8..16]
    }

    fn checksum(&self) -> Checksum {
        Checksum::at(&self.bytes[..], 16)
    }

    /// Whether it follows what has that checksum.
    fn follows(&self, before: Checksum, to_word: fn([u8; 4]) -> u32) -> bool {
        let sum = before.over(&self.bytes[..8], to_word).over(&self.bytes[FRAME_HEADER_BYTES..], to_word);
        self.page() != 0 && sum == self.checksum()
    }
}

/// What a log holds.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// The salts of a valid header.
    salts: Option<[u8; 8]>,
    /// The header is wrong, but the first frame follows from it.
    header_is_damaged: bool,
    /// The last frame that SQLite takes: the last one of a transaction before the first that is wrong.
    committed: u32,
    has_first_page: bool,
    /// The first frame that is wrong, though it or what is behind it was written in this round of the log.
    bad: Option<u32>,
    /// Where a transaction ends at or behind `bad`.
    ends_at: Option<u32>,
    /// A frame of a later transaction than that.
    later: Option<u32>,
}

impl Found {
    fn read(log: &mut impl Read) -> io::Result<Self> {
        let mut header = [0; HEADER_BYTES];
        if !fill(log, &mut header)? {
            return Ok(Self::default());
        }
        let header = Header::parse(&header);
        let mut frame = Frame { bytes: Box::new([0; FRAME_HEADER_BYTES + PAGE]) };
        if !header.is_valid {
            let has_frame = fill(log, &mut frame.bytes[..])?;
            let follows = [header.checksum, header.computed]
                .into_iter()
                .any(|sum| frame.follows(sum, u32::from_le_bytes) || frame.follows(sum, u32::from_be_bytes));
            return Ok(Self { header_is_damaged: has_frame && follows, ..Self::default() });
        }
        let mut found = Self { salts: Some(header.salts), ..Self::default() };
        let (mut number, mut before, mut first_page_since) = (0, header.checksum, false);
        while fill(log, &mut frame.bytes[..])? {
            number += 1;
            let is_of_this_round = frame.salts() == header.salts;
            if found.bad.is_none() && is_of_this_round && frame.follows(before, header.to_word) {
                before = frame.checksum();
                first_page_since |= frame.page() == 1;
                if frame.ends_transaction() {
                    found.committed = number;
                    found.has_first_page |= first_page_since;
                }
            } else {
                found.bad.get_or_insert(number);
                found.note_behind(number, is_of_this_round, &frame);
            }
        }
        Ok(found)
    }

    /// A frame at or behind the first that is wrong.
    fn note_behind(&mut self, number: u32, is_of_this_round: bool, frame: &Frame) {
        // What an earlier round of the log left behind has other salts, and says nothing.
        if !is_of_this_round || self.later.is_some() {
            return;
        }
        if self.ends_at.is_some() {
            self.later = Some(number);
        } else if frame.ends_transaction() {
            self.ends_at = Some(number);
        }
    }

    /// What shows that acknowledged frames are missing, if anything does.
    fn damage(&self, index: Option<&Index>) -> Option<String> {
        if self.header_is_damaged {
            return Some("the header of its write-ahead log is damaged, and valid frames follow it".to_owned());
        }
        if let (Some(bad), Some(ends_at), Some(later)) = (self.bad, self.ends_at, self.later) {
            return Some(format!(
                "frame {bad} of its write-ahead log is damaged: frame {ends_at} ends a transaction that was acknowledged before frame {later} was written"
            ));
        }
        let index = index?;
        // An index of another round of the log says nothing of this one.
        let is_of_this_round = self.salts.is_none_or(|salts| salts == index.salts);
        if !is_of_this_round || self.committed >= index.frames {
            return None;
        }
        if self.committed == 0 && index.copied >= index.frames {
            // All of them have been copied into the file.
            return None;
        }
        let (whole, acknowledged) = (self.committed, index.frames);
        Some(format!(
            "its write-ahead log holds {whole} whole frames, of {acknowledged} that were acknowledged: it was cut off or damaged at frame {}",
            self.bad.unwrap_or(whole + 1)
        ))
    }
}

/// Reads as much as `to` holds; false if there is not so much.
fn fill(log: &mut impl Read, to: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(to) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[path = "wal_test.rs"]
mod tests;
