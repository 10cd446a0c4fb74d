//! Philox4x32-10, the counter-based generator behind sampling.
//!
//! Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). A block is
//! a pure function of key and counter: there is no state to carry, so the word that belongs to one
//! token at one position is the same in any order, batch or replay. Here the key is derived from
//! the sampling seed and the counter names position, token and choice (`spec/arithmetic.md`,
//! Sampling). The generator is not cryptographic; the key's derivation is.

use crate::{digest::Digest, tag};

const MULTIPLIER_0: u32 = 0xd251_1f53;
const MULTIPLIER_1: u32 = 0xcd9e_8d57;
const WEYL_0: u32 = 0x9e37_79b9;
const WEYL_1: u32 = 0xbb67_ae85;
const ROUNDS: u32 = 10;

/// One block of Philox4x32-10: four words from a counter of four and a key of two.
#[must_use]
pub fn block(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let [mut c0, mut c1, mut c2, mut c3] = counter;
    let [mut k0, mut k1] = key;
    for _ in 0..ROUNDS {
        let (low0, high0) = MULTIPLIER_0.carrying_mul(c0, 0);
        let (low1, high1) = MULTIPLIER_1.carrying_mul(c2, 0);
        (c0, c1, c2, c3) = (high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0);
        k0 = k0.wrapping_add(WEYL_0);
        k1 = k1.wrapping_add(WEYL_1);
    }
    [c0, c1, c2, c3]
}

/// The sampler's key: 64 bits derived from a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamplerKey([u32; 2]);

impl SamplerKey {
    /// Derives the key: the first eight bytes of SHA-256(`SAMPLER_KEY` ‖ seed), taken as two
    /// little-endian words.
    #[must_use]
    pub fn from_seed(seed: &[u8]) -> Self {
        let digest = Digest::of_tagged(tag::SAMPLER_KEY, &[seed]);
        let [a, b, c, d, e, f, g, h, ..] = *digest.as_bytes();
        Self([u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])])
    }

    /// Takes two words as a key: for known answers and tests of distributions.
    #[must_use]
    pub const fn from_words(words: [u32; 2]) -> Self {
        Self(words)
    }

    /// The key's two words.
    #[must_use]
    pub const fn words(self) -> [u32; 2] {
        self.0
    }

    /// The word drawn for one token at one position: the first word of the block whose counter is
    /// (position, token, choice, 0).
    #[must_use]
    pub fn word(self, position: u32, token: u32, choice: u32) -> u32 {
        let [word, ..] = block([position, token, choice, 0], self.0);
        word
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the known-answer file of Random123 (`kat_vectors`, philox4x32, 10 rounds).
    #[test]
    fn published_vectors_are_reproduced() {
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(block(counter, key), expected);
        }
    }

    #[test]
    fn every_part_of_counter_and_seed_moves_the_word() {
        let key = SamplerKey::from_seed(b"seed");
        let word = key.word(1, 2, 3);
        assert_eq!(word, SamplerKey::from_words(key.words()).word(1, 2, 3));
        assert_ne!(word, key.word(2, 2, 3));
        assert_ne!(word, key.word(1, 3, 3));
        assert_ne!(word, key.word(1, 2, 4));
        assert_ne!(word, SamplerKey::from_seed(b"seee").word(1, 2, 3));
    }

    /// Pins the derivation; `python3 -c` with hashlib reproduces it.
    #[test]
    fn key_is_the_first_eight_bytes_of_the_tagged_digest() {
        let digest = Digest::of_content(b"tally/sampler-key/v1\0seed");
        let key = SamplerKey::from_seed(b"seed").words();
        assert_eq!(key[0].to_le_bytes(), digest.as_bytes()[..4]);
        assert_eq!(key[1].to_le_bytes(), digest.as_bytes()[4..8]);
    }
}
