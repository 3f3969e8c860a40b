//! One transport, with what is on its way in and out.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use futures_io::{AsyncRead, AsyncWrite};
use mqtt_proto::TxBuf;

/// How much is read at once: the least and the most.
const BLOCK: (usize, usize) = (4 * 1024, 64 * 1024);

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
    /// The buffer grows by what has come, never by what a packet claims to be long.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let before = self.input.len();
        let (result, read) = if before == 0 && self.block == BLOCK.0 {
            // Most of these reads find nothing: what they find is copied, and an idle connection has no block.
            let mut block = [0; BLOCK.0];
            let result = Pin::new(&mut self.io).poll_read(cx, &mut block);
            let read = count(&result, BLOCK.0);
            self.input.extend_from_slice(block.get(..read).unwrap_or_default());
            (result, read)
        } else {
            self.input.resize(before + self.block, 0);
            let buffer = self.input.get_mut(before..).unwrap_or_default();
            let result = Pin::new(&mut self.io).poll_read(cx, buffer);
            let read = count(&result, self.block);
            self.input.truncate(before + read);
            (result, read)
        };
        self.moved.0 += read;
        if read == self.block {
            self.block = (self.block * 2).min(self.most);
        } else if read < self.block / 4 {
            self.block = (self.block / 2).max(BLOCK.0);
        }
        if self.input.is_empty() && !matches!(result, Poll::Ready(Ok(1..))) {
            // An idle connection keeps no block.
            self.input = BytesMut::new();
        }
        result
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

/// Returns how many bytes were read; a transport that claims more than there was room for is not believed.
fn count(result: &Poll<io::Result<usize>>, most: usize) -> usize {
    match result {
        Poll::Ready(Ok(count)) => (*count).min(most),
        _ => 0,
    }
}
