//! The header of SQLite's index of the write-ahead log, in the `-shm` file: <https://www.sqlite.org/walformat.html>.
//!
//! A process that is killed leaves it behind as it was. It is raised after a commit's fsync only, so whatever state of it
//! has reached the disk, it never counts a frame that has not.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::Checksum;

/// The header lies there twice, then comes how far the log has been copied.
const HEADER_BYTES: usize = 48;
const VERSION: u32 = 3_007_000;

/// What the index says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Index {
    /// How many frames have been committed, and so fsynced.
    pub(super) frames: u32,
    /// The salts of the log that it is about.
    pub(super) salts: [u8; 8],
    /// How many frames have been copied into the file, and fsynced there.
    pub(super) copied: u32,
}

impl Index {
    /// `None` if there is none, or none that can be relied on.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(file) => file.take(2 * HEADER_BYTES as u64 + 4).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Self::parse(&bytes))
    }

    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let (copy, rest) = rest.split_first_chunk::<HEADER_BYTES>()?;
        let copied = u32::from_ne_bytes(*rest.first_chunk()?);
        // Its numbers are in the machine's order, unlike those of the log.
        let number = |offset: usize| {
            let word = header.get(offset..offset + 4).and_then(|word| word.try_into().ok());
            word.map_or(0, u32::from_ne_bytes)
        };
        let sum = Checksum::default().over(&header[..40], u32::from_ne_bytes);
        let is_whole =
            header == copy && number(0) == VERSION && header[12] == 1 && sum == Checksum(number(40), number(44));
        let mut salts = [0; 8];
        salts.copy_from_slice(&header[32..40]);
        is_whole.then(|| Self { frames: number(16), salts, copied })
    }
}
