//! Bytes to packets and packets to bytes, for all versions.
//!
//! [`frame`] cuts one whole packet from a stream, [`decode`] reads it, [`encode`] writes one;
//! [`packets()`] does the first two for all there is. They are strict: what the standard forbids is refused, in both directions, with an error that
//! says what and where. None of them panics, and none reserves memory for bytes that are not there.

mod decode;
mod encode;
mod frame;
mod packets;
mod parse;
mod props;

pub use crate::packet::{PublishHeader, TopicAlias};
pub(crate) use decode::connect_level;
pub use decode::{connect_version, decode};
pub use encode::{
    MAX_REMAINING_LENGTH, encode, encode_publish, encoded_len, publish_len, publish_packet,
};
pub use frame::frame;
pub use packets::{Packets, packets};
