//! What the answer to a conditional write says.
//!
//! The two databases shape it differently. Cassandra answers `[applied] = true` alone, or one row with the columns that
//! the conditions name. ScyllaDB answers one row for every statement of a batch, with all columns it compared, applied
//! or not, and nulls where a statement's row has none. So nothing here counts rows or positions: columns are read by
//! name, and nulls ignored.

use scylla::response::query_result::QueryResult;
use scylla::value::{CqlValue, Row};
use storage::{Append, Epoch};

use crate::failure::Failure;

/// The rows of an answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    columns: Vec<String>,
    rows: Vec<Vec<Option<CqlValue>>>,
}

/// Whether a conditional write took effect, as far as its answer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It did.
    Applied,
    /// Its conditions did not hold.
    Refused,
    /// The answer does not say.
    Unclear,
}

impl Answer {
    pub(crate) fn read(result: QueryResult) -> Result<Self, Failure> {
        let result = result.into_rows_result().map_err(Failure::unreadable)?;
        let columns = result.column_specs().iter().map(|column| column.name().to_owned()).collect();
        let rows = result.rows::<Row>().map_err(Failure::unreadable)?;
        let rows = rows.map(|row| row.map(|row| row.columns)).collect::<Result<_, _>>().map_err(Failure::unreadable)?;
        Ok(Self { columns, rows })
    }

    fn values<'a>(&'a self, column: &'a str) -> impl Iterator<Item = Option<&'a CqlValue>> {
        let place = self.columns.iter().position(|name| name == column);
        self.rows.iter().map(move |row| place.and_then(|place| row.get(place)).and_then(Option::as_ref))
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let mut said = self.values("[applied]").map(|value| value.and_then(CqlValue::as_boolean));
        let Some(first) = said.next() else { return Verdict::Unclear };
        match first {
            Some(applied) if said.all(|other| other == first) => {
                if applied {
                    Verdict::Applied
                } else {
                    Verdict::Refused
                }
            }
            _ => Verdict::Unclear,
        }
    }

    /// The highest value of a `bigint` column among the rows that have one.
    pub(crate) fn bigint(&self, column: &str) -> Option<i64> {
        self.values(column).flatten().filter_map(CqlValue::as_bigint).max()
    }

    /// What a conditional write on `epoch` means to the owner of `ours`: only a higher epoch is a fence. Any other
    /// refusal may come from an earlier write of our own.
    pub(crate) fn owner_outcome(&self, ours: Epoch) -> Append {
        match self.verdict() {
            Verdict::Applied => Append::Appended,
            Verdict::Refused if self.epoch() > Some(ours) => Append::Fenced,
            Verdict::Refused | Verdict::Unclear => Append::Unknown,
        }
    }

    /// The epoch that a refusal shows.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.bigint("epoch").and_then(|epoch| u64::try_from(epoch).ok()).map(Epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUE: Option<CqlValue> = Some(CqlValue::Boolean(true));
    const FALSE: Option<CqlValue> = Some(CqlValue::Boolean(false));
    const NULL: Option<CqlValue> = None;

    fn number(number: i64) -> Option<CqlValue> {
        Some(CqlValue::BigInt(number))
    }

    fn name(name: &str) -> Option<CqlValue> {
        Some(CqlValue::Text(name.to_owned()))
    }

    fn answer(columns: &[&str], rows: Vec<Vec<Option<CqlValue>>>) -> Answer {
        Answer { columns: columns.iter().map(|&name| name.to_owned()).collect(), rows }
    }

    #[test]
    fn appends_on_cassandra() {
        let refused = |epoch, last| {
            answer(
                &["[applied]", "log", "segment", "epoch", "last_seq"],
                vec![vec![FALSE, name("a"), number(1), epoch, last]],
            )
        };
        let cases = [
            (answer(&["[applied]"], vec![vec![TRUE]]), Append::Appended),
            (refused(number(8), number(3)), Append::Fenced),
            // Our own epoch, another position: it may be our own earlier append.
            (refused(number(7), number(4)), Append::Unknown),
            // An epoch that we were never given by this segment.
            (refused(number(6), number(3)), Append::Unknown),
            (refused(NULL, NULL), Append::Unknown),
            // A segment that is gone: Cassandra names no columns at all.
            (answer(&["[applied]"], vec![vec![FALSE]]), Append::Unknown),
            (answer(&["[applied]"], vec![vec![NULL]]), Append::Unknown),
            (answer(&["[applied]"], vec![]), Append::Unknown),
            (answer(&["log"], vec![vec![name("a")]]), Append::Unknown),
            (Answer::default(), Append::Unknown),
        ];
        for (answer, expected) in cases {
            assert_eq!(answer.owner_outcome(Epoch(7)), expected, "{answer:?}");
        }
    }

    #[test]
    fn appends_on_scylladb() {
        let columns = ["[applied]", "log", "segment", "seq", "epoch", "last_seq"];
        let of_update = |applied: Option<CqlValue>, epoch, last| vec![applied, name("a"), number(1), NULL, epoch, last];
        let of_insert = |applied: Option<CqlValue>| vec![applied, NULL, NULL, NULL, NULL, NULL];
        let insert_with_statics =
            |applied: Option<CqlValue>, epoch| vec![applied, name("a"), number(1), number(4), epoch, number(3)];
        let cases = [
            // Applied: the old values come along, and say nothing.
            (vec![of_update(TRUE, number(7), number(3)), of_insert(TRUE)], Append::Appended),
            (vec![of_insert(TRUE), of_update(TRUE, number(7), number(3))], Append::Appended),
            (vec![of_update(FALSE, number(8), number(3)), of_insert(FALSE)], Append::Fenced),
            (vec![of_insert(FALSE), of_update(FALSE, number(8), number(3))], Append::Fenced),
            (vec![of_update(FALSE, number(8), number(3)), insert_with_statics(FALSE, number(8))], Append::Fenced),
            (vec![of_update(FALSE, number(7), number(4)), of_insert(FALSE)], Append::Unknown),
            (vec![of_insert(FALSE), of_insert(FALSE)], Append::Unknown),
            // A contradiction is no answer.
            (vec![of_update(TRUE, number(7), number(3)), of_insert(FALSE)], Append::Unknown),
            (vec![of_update(FALSE, number(8), number(3)), of_insert(NULL)], Append::Unknown),
        ];
        for (rows, expected) in cases {
            let answer = answer(&columns, rows);
            assert_eq!(answer.owner_outcome(Epoch(7)), expected, "{answer:?}");
        }
    }

    #[test]
    fn columns_are_found_by_name_wherever_they_stand() {
        let answer = answer(&["last_seq", "epoch", "[applied]"], vec![vec![number(99), number(8), FALSE]]);
        assert_eq!(answer.verdict(), Verdict::Refused);
        assert_eq!(
            (answer.epoch(), answer.bigint("last_seq"), answer.bigint("gone")),
            (Some(Epoch(8)), Some(99), None)
        );
    }
}
