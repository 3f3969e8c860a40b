//! Proves the codec: vectors, every rule of the standard that it can decide, and properties.
//!
//! A comment `covers:` names statements of the standard that a test would notice the breach of, each
//! with the version it stands in; `class:` names a class of failures that other clients had.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; clippy knows test functions, but not their helpers"
)]

mod arbitrary;
mod fields;
mod grid;
mod hex;
mod lengths;
mod linear;
mod matching;
mod properties;
mod reasons;
mod refused;
mod secrets;
mod vectors;
