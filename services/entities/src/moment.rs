//! What a shard knows of the world when something comes to it. It reads no clock and draws no randomness by itself.

use ids::{Timestamp, WallClock};
use storage::Epoch;

/// The world as it is when something comes to a shard.
#[derive(Clone, Copy)]
pub(crate) struct Moment {
    /// The time that the process goes by. Never goes back from one moment to the next.
    pub(crate) now: Timestamp,
    pub(crate) wall: WallClock,
    /// Random bits from which nothing has been drawn. They cost a system call: those that no moment drew from serve the next.
    pub(crate) seed: u128,
    /// The log's epoch, where the process holds the whole store for itself; read after whatever comes had come.
    pub(crate) local_epoch: Option<Epoch>,
}

/// Random bits for all that one moment needs.
pub(crate) struct Seeds {
    seed: u128,
    drawn: u64,
}

impl Seeds {
    pub(crate) fn of(seed: u128) -> Self {
        Self { seed, drawn: 0 }
    }

    /// Whether any were drawn.
    pub(crate) fn are_drawn(&self) -> bool {
        self.drawn > 0
    }

    /// Bits that were not drawn before: the first time those of the moment, then others that follow from them.
    pub(crate) fn draw(&mut self) -> u128 {
        let nth = self.drawn;
        self.drawn += 1;
        if nth == 0 {
            return self.seed;
        }
        let step = nth.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let low = mixed(self.seed as u64 ^ step);
        let high = mixed((self.seed >> 64) as u64 ^ low.rotate_left(17) ^ step);
        u128::from(high) << 64 | u128::from(low)
    }
}

/// The finalizer of splitmix64.
fn mixed(bits: u64) -> u64 {
    let bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_as_many_seeds_as_are_needed_and_the_first_is_its_own() {
        let mut seeds = Seeds::of(7);
        assert!(!seeds.are_drawn());
        let drawn: std::collections::BTreeSet<_> = (0..1000).map(|_| seeds.draw()).collect();
        assert!(seeds.are_drawn());
        assert_eq!(drawn.len(), 1000);
        assert!(drawn.contains(&7));
        assert_eq!((Seeds::of(7).draw(), Seeds::of(8).draw()), (7, 8));
    }
}
