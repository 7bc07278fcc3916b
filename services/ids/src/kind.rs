//! The kinds of entities, each with its number: the one list of them.

use std::fmt;

/// A kind of entity. Stored keys name kinds by number, so a number is never given to another kind, nor a kind another number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindId(u8);

impl KindId {
    /// A workflow ID, with its chain and its runs.
    pub const WORKFLOW: Self = Self(1);
    /// A partition of a task queue.
    pub const PARTITION: Self = Self(2);

    /// The first of the numbers that are left to tests.
    const FIRST_OF_TESTS: u8 = 200;

    /// A kind that only tests have, counted from 0.
    pub const fn of_test(count: u8) -> Self {
        Self(Self::FIRST_OF_TESTS + count)
    }

    /// The kind of this number, which may be one that this release does not know.
    pub const fn of_number(number: u8) -> Self {
        Self(number)
    }

    /// Its number. Part of the stored format.
    pub const fn number(self) -> u8 {
        self.0
    }

    /// Its name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WORKFLOW => "workflow",
            Self::PARTITION => "partition",
            Self(Self::FIRST_OF_TESTS..) => "test",
            Self(_) => "unknown",
        }
    }
}

impl fmt::Debug for KindId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_as_they_are() {
        let listed = [(KindId::WORKFLOW, 1, "workflow"), (KindId::PARTITION, 2, "partition")];
        for (kind, number, name) in listed {
            assert_eq!((kind.number(), kind.name()), (number, name));
            assert_eq!(KindId::of_number(number), kind);
        }
        assert_eq!(KindId::of_test(3).name(), "test");
        assert_eq!(format!("{:?}", KindId::of_number(199)), "unknown (199)");
    }
}
