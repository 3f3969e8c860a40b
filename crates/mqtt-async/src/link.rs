//! One transport, with what is on its way in and out.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use futures_io::{AsyncRead, AsyncWrite};
use mqtt_proto::TxBuf;

/// How much is read at once: the least and the most.
const BLOCK: (usize, usize) = (4 * 1024, 64 * 1024);

/// By how much the buffer may outgrow what has come, for a packet that then needs no more.
const GROWTH: usize = 4;

/// How many slices a vectored write has at most.
const SLICES: usize = 16;

/// How often it writes before it lets others have a turn: a transport may take little at a time, for ever.
const WRITES: usize = 16;

#[derive(Debug)]
pub(crate) struct Link<Io> {
    io: Io,
    /// What was read and not handled; one partial packet remains in it.
    pub(crate) input: BytesMut,
    /// What is to be written. A part that was written is gone from it, so writing goes on exactly there.
    pub(crate) out: TxBuf,
    /// How much to read next; it follows what the last reads brought.
    block: usize,
    /// The most that it grows to; see [`portion`](Link::portion).
    most: usize,
    /// Whether something was written and not flushed.
    unflushed: bool,
    /// How many bytes were read and written since it was last asked.
    moved: (usize, usize),
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Link<Io> {
    pub(crate) fn new(io: Io) -> Link<Io> {
        Link {
            io,
            input: BytesMut::new(),
            out: TxBuf::new(),
            block: BLOCK.0,
            most: BLOCK.1,
            unflushed: false,
            moved: (0, 0),
        }
    }

    /// Writes what there is, as much as possible at once, and flushes when nothing is left.
    ///
    /// Returns `Ready` then, or when it has written often: it is to be called again if something is left.
    /// `progress` is set when bytes were written.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        progress: &mut bool,
    ) -> Poll<io::Result<()>> {
        let mut writes = 0;
        while !self.out.is_empty() {
            if writes == WRITES {
                return Poll::Ready(Ok(()));
            }
            writes += 1;
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = self.out.chunks_vectored(&mut slices);
            let slices = slices.get(..filled).unwrap_or_default();
            let written = match slices {
                [slice] => ready!(Pin::new(&mut self.io).poll_write(cx, slice))?,
                slices => ready!(Pin::new(&mut self.io).poll_write_vectored(cx, slices))?,
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(written);
            self.moved.1 += written;
            self.unflushed = true;
            *progress = true;
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once and adds it to the input; 0 is the end.
    ///
    /// The buffer grows by what has come, whatever a packet claims to be long: see [`room`](Link::room).
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let before = self.input.len();
        let (result, read, room) = if before == 0 && self.block == BLOCK.0 {
            // Most of these reads find nothing: what they find is copied, and an idle connection has no block.
            let mut block = [0; BLOCK.0];
            let result = Pin::new(&mut self.io).poll_read(cx, &mut block);
            let read = count(&result, BLOCK.0);
            self.input.extend_from_slice(block.get(..read).unwrap_or_default());
            (result, read, BLOCK.0)
        } else {
            let room = self.room();
            self.input.resize(before + room, 0);
            let buffer = self.input.get_mut(before..).unwrap_or_default();
            let result = Pin::new(&mut self.io).poll_read(cx, buffer);
            let read = count(&result, room);
            self.input.truncate(before + read);
            (result, read, room)
        };
        self.moved.0 += read;
        if read == self.block {
            self.block = (self.block * 2).min(self.most);
        } else if read < room && read < self.block / 4 {
            self.block = (self.block / 2).max(BLOCK.0);
        }
        if self.input.is_empty() && !matches!(result, Poll::Ready(Ok(1..))) {
            // An idle connection keeps no block.
            self.input = BytesMut::new();
        }
        result
    }

    /// Returns how much to read now: a block, and of a large packet no more than what is left of it.
    ///
    /// Left to itself, the buffer doubles, moves what is there each time, and is twice as large as the packet
    /// in the end. So it gets the room for all of the packet as soon as a quarter of that has come: no byte is
    /// moved more than once on average, and a message that is kept takes no more memory than it needs.
    fn room(&mut self) -> usize {
        let before = self.input.len();
        let packet = packet_len(&self.input).filter(|packet| *packet > before.max(BLOCK.1));
        let Some(packet) = packet else { return self.block };
        let rest = packet - before;
        if packet <= GROWTH * before {
            self.input.reserve(rest);
        }
        self.block.min(rest)
    }

    /// Reads less at once if a block brought more messages than streams should be given in one go, and more
    /// again if it brought few.
    pub(crate) fn portion(&mut self, messages: usize, bound: usize) {
        if messages > bound / 2 {
            self.most = (self.block / 2).max(BLOCK.0);
            self.block = self.block.min(self.most);
        } else if messages > 0 && messages < bound / 8 {
            self.most = (self.most * 2).min(BLOCK.1);
        }
    }

    /// Returns how many bytes were read and written since the last call.
    pub(crate) fn take_moved(&mut self) -> (usize, usize) {
        std::mem::take(&mut self.moved)
    }

    /// Ends the direction to the server.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_close(cx)
    }
}

/// Returns how long the packet is that begins there, if that has come: MQTT 5.0 section 2.1.4.
fn packet_len(input: &[u8]) -> Option<usize> {
    let mut remaining_length = 0;
    for (at, byte) in input.iter().skip(1).take(4).enumerate() {
        remaining_length |= usize::from(byte & 0x7F) << (7 * at);
        if byte & 0x80 == 0 {
            return Some(2 + at + remaining_length);
        }
    }
    None
}

/// Returns how many bytes were read; a transport that claims more than there was room for is not believed.
fn count(result: &Poll<io::Result<usize>>, most: usize) -> usize {
    match result {
        Poll::Ready(Ok(count)) => (*count).min(most),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// A transport that has so many bytes to be read, the first of them those of a fixed header.
    struct Feed {
        header: Vec<u8>,
        left: usize,
        /// How much it gives at once.
        most: usize,
    }

    impl AsyncRead for Feed {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let count = buffer.len().min(self.left).min(self.most);
            if count == 0 {
                return Poll::Pending;
            }
            self.left -= count;
            let header = self.header.len().min(count);
            buffer[..count].fill(b'x');
            buffer[..header].copy_from_slice(&self.header);
            self.header.clear();
            Poll::Ready(Ok(count))
        }
    }

    impl AsyncWrite for Feed {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// A PUBLISH that claims to be so long.
    fn header(packet: usize) -> Vec<u8> {
        let mut rest = packet - 5;
        let digits = [(); 4].map(|()| {
            let digit = (rest & 0x7F) as u8 | 0x80;
            rest >>= 7;
            digit
        });
        vec![0x30, digits[0], digits[1], digits[2], digits[3] & 0x7F]
    }

    /// Reads so much; returns the link, and how many bytes lay in a buffer that had to grow.
    fn read(feed: Feed, count: usize) -> (Link<Feed>, usize) {
        let mut link = Link::new(feed);
        let (mut moved, mut capacity, mut len) = (0, 0, 0);
        let cx = &mut Context::from_waker(Waker::noop());
        while len < count {
            assert!(link.poll_read(cx).is_ready());
            if link.input.capacity() != capacity {
                capacity = link.input.capacity();
                moved += len;
            }
            len = link.input.len();
            assert!(capacity <= GROWTH * len + 2 * BLOCK.1, "{capacity} for {len} bytes");
        }
        (link, moved)
    }

    #[test]
    fn no_byte_of_a_large_packet_is_moved_more_than_once_on_average() {
        for packet in [3_000_000, 4 << 20, (4 << 20) + 1, 5_000_000, 7_654_321] {
            for most in [usize::MAX, 10_000, 1448] {
                let feed = Feed { header: header(packet), left: packet, most };
                let (link, moved) = read(feed, packet);
                assert_eq!((link.input.len(), packet_len(&link.input)), (packet, Some(packet)));
                assert!(moved <= packet, "{moved} of {packet} bytes were moved");
                let capacity = link.input.capacity();
                assert!(capacity <= packet + 2 * BLOCK.1, "{capacity} for {packet} bytes");
            }
        }
    }

    // class: 2
    #[test]
    fn a_claim_is_believed_by_what_has_come() {
        for came in [5, 4096, 100_000, 1_000_000] {
            let feed = Feed { header: header(268_435_460), left: came, most: usize::MAX };
            let (link, _) = read(feed, came);
            assert_eq!(packet_len(&link.input), Some(268_435_460));
            assert!(link.input.capacity() <= GROWTH * came + 2 * BLOCK.1);
        }
    }

    #[test]
    fn what_follows_a_large_packet_is_not_read_with_it() {
        let packet = 1_000_000;
        let feed = Feed { header: header(packet), left: packet + 1000, most: usize::MAX };
        let (mut link, _) = read(feed, packet);
        assert_eq!(link.input.len(), packet);
        assert!(link.poll_read(&mut Context::from_waker(Waker::noop())).is_ready());
        assert_eq!((link.input.len(), link.block), (packet + 1000, BLOCK.1 / 2));
    }
}
