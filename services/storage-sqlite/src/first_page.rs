//! Looks at the file before SQLite does: whose it is, of which format, and whether its first page is what was written.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::OpenError;
use crate::error::Cause;
use crate::page_sums::{Page, is_intact};
use crate::schema::{APPLICATION, FORMAT, PAGE_BYTES};
use crate::wal::{self, WalState};

/// How SQLite's files begin.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Refuses a file of another program, of another format, or damaged; and a damaged write-ahead log. No process may have
/// the store open.
pub(crate) fn check(path: &Path) -> Result<(), OpenError> {
    let at = |cause: Cause| cause.at(path);
    let found = FirstPage::read(path).map_err(|error| at(error.into()))?;
    // What was written to the file last is taken back by SQLite first: it is the very first that was ever written.
    if wal::beside(path, "-journal").exists() {
        return Ok(());
    }
    if let FirstPage::Foreign = found {
        return Err(OpenError::NotAStore(path.to_owned()));
    }
    let wal = wal::check(path).map_err(|error| at(error.into()))?;
    match found {
        // SQLite would delete the log.
        FirstPage::Missing if wal.committed_frames > 0 => {
            Err(at(Cause::Damaged("it is empty, and its write-ahead log is not".to_owned())))
        }
        FirstPage::Missing | FirstPage::Intact | FirstPage::Foreign => Ok(()),
        FirstPage::OtherFormat(found) => Err(OpenError::OtherFormat { path: path.to_owned(), found, known: FORMAT }),
        // A checkpoint that was cut short left it in parts, and the log has it whole.
        FirstPage::Changed if wal == (WalState { has_first_page: true, ..wal }) => Ok(()),
        FirstPage::Changed => Err(at(Cause::Damaged("page 1 of the file does not match its checksum".to_owned()))),
    }
}

enum FirstPage {
    /// The file is empty.
    Missing,
    Intact,
    /// An Outlast file of before there were sums.
    OtherFormat(i64),
    /// An Outlast file, by its looks, and not as it was written.
    Changed,
    Foreign,
}

impl FirstPage {
    fn read(path: &Path) -> io::Result<Self> {
        let mut bytes = Vec::with_capacity(PAGE_BYTES as usize);
        File::open(path)?.take(PAGE_BYTES).read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            return Ok(Self::Missing);
        }
        if <&Page>::try_from(&bytes[..]).is_ok_and(|page| is_intact(1, page)) {
            return Ok(Self::Intact);
        }
        let number = |offset: usize| {
            let word = bytes.get(offset..offset + 4).and_then(|word| word.try_into().ok());
            word.map_or(0, |word| i64::from(i32::from_be_bytes(word)))
        };
        let (reserved, format, application) = (bytes.get(20), number(60), number(68));
        let has_sums = reserved == Some(&8);
        Ok(match (bytes.starts_with(MAGIC), application == APPLICATION) {
            (true, true) if reserved == Some(&0) => Self::OtherFormat(format),
            (true, true) => Self::Changed,
            (true, false) | (false, true) if has_sums => Self::Changed,
            // Of a file of ours no single damage leaves so little.
            _ => Self::Foreign,
        })
    }
}
