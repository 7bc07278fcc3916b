//! Values as the database has them: the bytes, then the checksum of what they are and where they belong.

use bytes::Bytes;
use scylla::cluster::metadata::ColumnType;
use scylla::errors::SerializationError;
use scylla::serialize::value::SerializeValue;
use scylla::serialize::writers::{CellWriter, WrittenCellProof};
use storage::{StorageError, StorageResult};

/// How long the checksum is.
const SUM_BYTES: usize = 8;

/// A value on its way into a blob. Copied once, into the request.
pub(crate) struct Sealed<'a> {
    pub(crate) value: &'a [u8],
    pub(crate) sum: u64,
}

impl SerializeValue for Sealed<'_> {
    fn serialize<'b>(
        &self,
        _: &ColumnType<'_>,
        writer: CellWriter<'b>,
    ) -> Result<WrittenCellProof<'b>, SerializationError> {
        let mut cell = writer.into_value_builder();
        cell.append_bytes(self.value);
        cell.append_bytes(&self.sum.to_le_bytes());
        cell.finish().map_err(SerializationError::new)
    }
}

/// The value in a blob, in a copy that pins nothing of the page it came with.
pub(crate) fn opened(
    stored: &[u8],
    sum_of: impl FnOnce(&[u8]) -> u64,
    what: impl FnOnce() -> String,
) -> StorageResult<Bytes> {
    match stored.split_last_chunk::<SUM_BYTES>() {
        Some((value, sum)) if sum_of(value) == u64::from_le_bytes(*sum) => Ok(Bytes::copy_from_slice(value)),
        _ => Err(StorageError::Corrupt(format!("{}: its checksum does not match", what()))),
    }
}

#[cfg(test)]
mod tests {
    use scylla::cluster::metadata::NativeType;
    use storage::checksum::of_entry;

    use super::*;

    fn stored(value: &[u8], sum: u64) -> Vec<u8> {
        let mut request = Vec::new();
        let column = ColumnType::Native(NativeType::Blob);
        Sealed { value, sum }.serialize(&column, CellWriter::new(&mut request)).unwrap();
        // A cell begins with its length.
        let (length, cell) = request.split_first_chunk::<4>().unwrap();
        assert_eq!(u32::from_be_bytes(*length) as usize, cell.len());
        cell.to_vec()
    }

    #[test]
    fn what_was_sealed_opens_at_its_place_and_without_any_flipped_bit() {
        for value in [&b""[..], b"v", &[7; 1000]] {
            let mut cell = stored(value, of_entry("key", 3, value));
            let open =
                |cell: &[u8], version| opened(cell, |value| of_entry("key", version, value), || "here".to_owned());
            assert_eq!(open(&cell, 3).unwrap(), value);
            assert!(matches!(open(&cell, 4), Err(StorageError::Corrupt(what)) if what.starts_with("here: ")));
            for bit in 0..cell.len() * 8 {
                cell[bit / 8] ^= 1 << (bit % 8);
                assert!(open(&cell, 3).is_err(), "bit {bit}");
                cell[bit / 8] ^= 1 << (bit % 8);
            }
            for length in 0..cell.len() {
                assert!(open(&cell[..length], 3).is_err(), "cut off at {length}");
            }
        }
    }
}
