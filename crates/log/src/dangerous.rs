//! Storages that lose and break things on purpose. Nothing of value belongs in them.
//!
//! They stand here and not among the tests so that a whole program can be run over them.

mod faulty;
mod unsynced;

pub use faulty::{Fault, Faulty};
pub use unsynced::Unsynced;

/// A small seeded generator (SplitMix64), so that a crash can be repeated from its seed.
#[derive(Clone, Debug)]
pub struct Seed(u64);

impl Seed {
    /// Starts from a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `bound`, 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).checked_rem(bound).unwrap_or(0)
    }
}
