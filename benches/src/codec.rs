//! Decoding and encoding, packet by packet.

mod feed;
pub mod input;
#[cfg(feature = "peers")]
mod limit;
pub mod ours;
#[cfg(feature = "peers")]
mod peers;

#[cfg(feature = "peers")]
pub use peers::cases;
