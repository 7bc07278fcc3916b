//! The first bytes of a file, by which it is accepted or refused before SQLite gets to see it: to look at a file, SQLite may
//! create others beside it or carry on what was interrupted in it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::OpenError;
use crate::schema::{APPLICATION, FORMAT};

/// The header of a SQLite file (<https://sqlite.org/fileformat2.html#the_database_header>).
const HEADER_BYTES: usize = 100;
const MAGIC: &[u8] = b"SQLite format 3\0";
const FORMAT_AT: usize = 60;
const APPLICATION_AT: usize = 68;

/// Accepts an empty file and a store of this release or an earlier one.
pub(crate) fn accept(file: &File, path: &Path) -> Result<(), OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    let not_a_store = || OpenError::NotAStore(path.to_owned());
    if file.metadata().map_err(io)?.len() == 0 {
        return Ok(());
    }
    let mut header = [0; HEADER_BYTES];
    match file.read_exact_at(&mut header, 0) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Err(not_a_store()),
        read => read.map_err(io)?,
    }
    // A power cut while the file was created may have left the sector behind this one. What is to be undone lies beside it.
    let is_blank = header == [0; HEADER_BYTES];
    if !header.starts_with(MAGIC) && !is_blank {
        return Err(not_a_store());
    }
    match (number(&header, APPLICATION_AT), number(&header, FORMAT_AT)) {
        (APPLICATION, found) if found > FORMAT => {
            Err(OpenError::NewerFormat { path: path.to_owned(), found, known: FORMAT })
        }
        (APPLICATION, _) => Ok(()),
        // Whose it is may still be in the log beside it, if the process that created it died. SQLite will tell.
        (0, _) if is_unfinished(path) => Ok(()),
        _ => Err(not_a_store()),
    }
}

fn number(header: &[u8; HEADER_BYTES], at: usize) -> i64 {
    header[at..].first_chunk().map_or(0, |bytes| i64::from(i32::from_be_bytes(*bytes)))
}

fn is_unfinished(path: &Path) -> bool {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    ["-wal", "-journal"].into_iter().any(|suffix| beside(&path, suffix).exists())
}

/// The name of a file that SQLite keeps beside the one at `path`.
pub(crate) fn beside(path: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(suffix);
    name.into()
}
