//! The random numbers of one sequence.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// A stream of uniform numbers from a seed: ChaCha with 8 rounds, keyed by the seed's 8 bytes
/// (little endian) and 24 zeros.
///
/// The same seed gives the same numbers on every machine and in every version: the key and the
/// conversion are fixed here.
#[derive(Debug, Clone)]
pub struct Randomness(ChaCha8Rng);

impl Randomness {
    /// The stream of a seed, from its start.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Randomness(ChaCha8Rng::from_seed(key))
    }

    /// The next number, in [0, 1), a multiple of 2^-53.
    pub fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_and_another_seed_others() {
        let stream = |seed| {
            let mut randomness = Randomness::new(seed);
            (0..50).map(|_| randomness.uniform()).collect::<Vec<_>>()
        };
        assert_eq!(stream(7), stream(7));
        assert_ne!(stream(7), stream(8));
        assert!(stream(7).iter().all(|u| (0.0..1.0).contains(u)));
    }

    /// Oracle: the ChaCha8 key stream of an all-zero key and nonce begins 3e00ef2f 895f40d6 (as
    /// bytes; eSTREAM test vectors, set 6 of the ChaCha8 256-bit family as published with
    /// draft-strombergson-chacha-test-vectors, TC1).
    #[test]
    fn seed_zero_is_the_published_key_stream() {
        let word = u64::from_le_bytes([0x3e, 0x00, 0xef, 0x2f, 0x89, 0x5f, 0x40, 0xd6]);
        assert_eq!(Randomness::new(0).uniform(), (word >> 11) as f64 / (1_u64 << 53) as f64);
    }
}
