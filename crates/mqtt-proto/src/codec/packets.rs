//! All whole packets of what was read, as parts of one block.

use bytes::{Bytes, BytesMut};

use super::decode::decode_into;
use super::frame::header;
use crate::error::DecodeError;
use crate::packet::Packet;
use crate::types::Version;

/// Takes all whole packets from the front of `input`, to be read one after the other.
///
/// A part of a packet stays in `input`. `max` and the rest are as for [`frame`](super::frame()), and each
/// packet is checked as by [`decode`](super::decode()); this is the faster way, because all packets of a
/// read share one block.
///
/// ```
/// use bytes::BytesMut;
/// use mqtt_proto::{Packet, Version, codec};
///
/// let mut input = BytesMut::from(&b"\x40\x02\x00\x07\x30\x07\x00\x03a/bhi\x30\x07"[..]);
/// let mut packets = codec::packets(&mut input, Version::V311, 1024);
/// let mut topics = Vec::new();
/// while let Some(packet) = packets.read()? {
///     if let Packet::Publish(publish) = packet {
///         topics.push(publish.topic().to_string());
///     }
/// }
/// assert_eq!(topics, ["a/b"]);
/// assert_eq!(input, b"\x30\x07"[..]);
/// # Ok::<(), mqtt_proto::DecodeError>(())
/// ```
pub fn packets(input: &mut BytesMut, version: Version, max: u32) -> Packets {
    let mut whole = 0;
    let fault = loop {
        match header(input.get(whole..).unwrap_or_default(), max) {
            Ok(Some(header)) if header.packet_len as usize <= input.len() - whole => {
                whole += header.packet_len as usize;
            }
            Ok(_) => break None,
            Err(error) => break Some(error),
        }
    };
    // Splitting nothing off would still begin to share the buffer.
    let block = if whole > 0 { input.split_to(whole).freeze() } else { Bytes::new() };
    Packets { block, at: 0, version, fault, packet: Packet::PingReq }
}

/// The packets that [`packets()`] has taken.
#[derive(Debug)]
pub struct Packets {
    block: Bytes,
    /// Where the next packet begins.
    at: usize,
    version: Version,
    /// What is wrong behind the last packet of the block.
    fault: Option<DecodeError>,
    /// The packet that was read last.
    packet: Packet,
}

impl Packets {
    /// Reads the next packet, or returns `None` behind the last one.
    ///
    /// The packet is built in its place here, and stays until the next call: to move it would take as
    /// long as to read it. Clone it to keep it, or take it out with [`core::mem::replace`].
    ///
    /// # Errors
    ///
    /// See [`DecodeError`]: the stream is out of step and has to be closed. Each further call returns
    /// the same error.
    #[inline(always)]
    pub fn read(&mut self) -> Result<Option<&mut Packet>, DecodeError> {
        let (block, at) = (&self.block, self.at);
        let Ok(Some(header)) = header(block.get(at..).unwrap_or_default(), u32::MAX) else {
            return self.fault.clone().map_or(Ok(None), Err);
        };
        if let Err(error) = decode_into(&mut self.packet, block, at, header, self.version) {
            self.at = block.len();
            self.fault = Some(error.clone());
            return Err(error);
        }
        self.at += header.packet_len as usize;
        Ok(Some(&mut self.packet))
    }
}
