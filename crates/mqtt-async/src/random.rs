//! Chance, to spread clients, and numbers that others do not guess.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// xorshift64*: enough to spread attempts, and no dependency.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Random {
        // The standard library seeds its hash maps from the operating system.
        Random(RandomState::new().build_hasher().finish() | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

/// Gives numbers other numbers that nobody guesses who has not seen them.
///
/// The standard library's hash is SipHash with a key of 128 bits from the operating system.
#[derive(Clone, Debug, Default)]
pub(crate) struct Key(RandomState);

impl Key {
    pub(crate) fn tag(&self, number: u64) -> u64 {
        self.0.hash_one(number)
    }
}
