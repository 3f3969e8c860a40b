//! How bytes reach a decoder and leave an encoder, the same for all: in blocks, as with a socket.

use std::hint::black_box;

use bytes::{Buf, Bytes, BytesMut};

use super::input::BLOCK;

/// Decodes a stream through a reused `BytesMut`: a block is copied in, as a read would, then everything
/// whole in it is decoded. The decoder takes what it can and returns the sum over what it saw.
pub fn buffers(
    wire: Bytes,
    mut decode: impl FnMut(&mut BytesMut) -> u64 + 'static,
) -> impl FnMut() -> u64 {
    let mut buffer = BytesMut::new();
    move || {
        buffer.clear();
        let blocks = wire.chunks(BLOCK).map(|block| {
            buffer.reserve(BLOCK);
            buffer.extend_from_slice(block);
            decode(&mut buffer)
        });
        blocks.sum()
    }
}

/// The same for decoders that take one packet from a `BytesMut` at each call.
pub fn one_by_one(
    wire: Bytes,
    mut decode: impl FnMut(&mut BytesMut) -> Option<u64> + 'static,
) -> impl FnMut() -> u64 {
    buffers(wire, move |buffer| std::iter::from_fn(|| decode(buffer)).sum())
}

/// The same for decoders that borrow from a slice: they return how long the packet was, too.
#[cfg(feature = "peers")]
pub fn slices(
    wire: Bytes,
    mut decode: impl FnMut(&[u8]) -> Option<(usize, u64)> + 'static,
) -> impl FnMut() -> u64 {
    let mut buffer: Vec<u8> = Vec::with_capacity(2 * BLOCK);
    move || {
        let mut sum = 0;
        buffer.clear();
        for block in wire.chunks(BLOCK) {
            buffer.extend_from_slice(block);
            let mut rest = buffer.as_slice();
            while let Some((len, saw)) = decode(rest) {
                sum += saw;
                rest.advance(len);
            }
            let used = buffer.len() - rest.len();
            buffer.drain(..used);
        }
        sum
    }
}

/// Where an encoder writes to.
pub trait Output {
    fn len(&self) -> usize;
    fn clear(&mut self);
}

impl Output for BytesMut {
    fn len(&self) -> usize {
        BytesMut::len(self)
    }

    fn clear(&mut self) {
        BytesMut::clear(self);
    }
}

impl Output for Vec<u8> {
    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn clear(&mut self) {
        Vec::clear(self);
    }
}

impl Output for mqtt_proto::TxBuf {
    fn len(&self) -> usize {
        mqtt_proto::TxBuf::len(self)
    }

    fn clear(&mut self) {
        // As a transport does that takes everything.
        self.advance(self.remaining());
    }
}

/// Encodes all items to a reused buffer that is emptied at each block; returns how many bytes came out.
pub fn encode<T: 'static, O: Output + 'static>(
    items: Vec<T>,
    mut out: O,
    mut encode: impl FnMut(&T, &mut O) + 'static,
) -> impl FnMut() -> u64 {
    move || {
        let mut sum = 0;
        for item in &items {
            encode(item, &mut out);
            if out.len() >= BLOCK {
                sum += out.len() as u64;
                black_box(&mut out);
                out.clear();
            }
        }
        sum += out.len() as u64;
        black_box(&mut out);
        out.clear();
        sum
    }
}
