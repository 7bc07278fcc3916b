//! A checksum at the end of every page of the file, made when a page is written and checked when it is read.
//!
//! Sums of rows show that bytes changed. They do not show that a row cannot be found any more, because a key or a pointer
//! between pages changed on the way to it. So each page ends with a sum over its number and its bytes, in the bytes that
//! SQLite reserves there when asked to, and a page that does not match is an error and never an answer.
//!
//! This is done by a layer between SQLite and the file system, which it sees as a VFS of its own. The write-ahead log is
//! left alone: its frames have checksums of SQLite's, which `wal` looks at before the file is opened.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::schema::PAGE_BYTES;

mod vfs;

pub(crate) use vfs::{reserve, take_mismatch, vfs_over};

/// How many bytes at the end of each page hold its sum.
pub(crate) const SUM_BYTES: usize = 8;

/// The length of a page.
const PAGE: usize = PAGE_BYTES as usize;

/// A page's bytes.
pub(crate) type Page = [u8; PAGE];

/// The sum of a page, whatever its last bytes are.
fn sum_of(number: u64, page: &Page) -> [u8; SUM_BYTES] {
    xxh3_64_with_seed(&page[..PAGE - SUM_BYTES], number).to_le_bytes()
}

/// Whether a page is what was written as the page of this number. The first is 1.
pub(crate) fn is_intact(number: u64, page: &Page) -> bool {
    page[PAGE - SUM_BYTES..] == sum_of(number, page)
}

/// Makes a page end with its sum.
fn seal(number: u64, page: &mut Page) {
    let sum = sum_of(number, page);
    page[PAGE - SUM_BYTES..].copy_from_slice(&sum);
}

/// The number of the page that lies at `offset`, if a page begins there and `length` is a page's.
fn page_at(offset: i64, length: usize) -> Option<u64> {
    let offset = u64::try_from(offset).ok()?;
    (length == PAGE && offset.is_multiple_of(PAGE_BYTES)).then_some(offset / PAGE_BYTES + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_intact_at_its_own_place_only_and_without_any_flipped_bit() {
        let mut page: Page = std::array::from_fn(|at| (at % 251) as u8);
        assert!(!is_intact(7, &page));
        seal(7, &mut page);
        assert!(is_intact(7, &page) && !is_intact(8, &page));
        for bit in 0..PAGE * 8 {
            page[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_intact(7, &page), "bit {bit}");
            page[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(is_intact(7, &page));
    }

    #[test]
    fn only_whole_pages_have_numbers() {
        assert_eq!(page_at(0, PAGE), Some(1));
        assert_eq!(page_at(2 * 4096, PAGE), Some(3));
        for (offset, length) in [(0, 100), (24, 16), (100, PAGE), (-4096, PAGE), (4096, 2 * PAGE)] {
            assert_eq!(page_at(offset, length), None, "{length} bytes at {offset}");
        }
    }
}
