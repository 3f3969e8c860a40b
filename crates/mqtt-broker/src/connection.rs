//! One connection: it takes turns at the hub, writes and reads.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use futures_io::{AsyncRead, AsyncWrite};
use mqtt_proto::TxBuf;

use crate::hub::{ConnectionKey, Shared, Turn};

/// How much is read at once, at first and at most.
const READ_FIRST: usize = 2 * 1024;
const READ_MOST: usize = 64 * 1024;

/// How many rounds one poll may take before others get their chance.
const ROUNDS: usize = 8;

/// How many slices one write is given.
const SLICES: usize = 16;

/// The task of a connection.
pub(crate) struct Connection<S> {
    shared: Arc<Shared>,
    key: ConnectionKey,
    stream: S,
    input: BytesMut,
    out: TxBuf,
    /// What comes behind `out`, once the connection has ended.
    last: TxBuf,
    stage: Stage,
    /// How much the next read may bring.
    step: usize,
    /// How many bytes have been written since the last read.
    written: usize,
    flush: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// The session has ended: what is left is written, and then the write side closed.
    Closing,
    /// What still arrives is read away: to close with unread bytes makes the kernel send RST, which
    /// can destroy the DISCONNECT on its way.
    Draining,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn new(shared: Arc<Shared>, key: ConnectionKey, stream: S) -> Connection<S> {
        Connection {
            shared,
            key,
            stream,
            input: BytesMut::new(),
            out: TxBuf::new(),
            last: TxBuf::new(),
            stage: Stage::Open,
            step: READ_FIRST,
            written: 0,
            flush: false,
        }
    }

    /// Takes a turn at the hub, and tells whether the session wants to be read for.
    fn turn(&mut self, cx: &Context<'_>) -> bool {
        let now = self.shared.now();
        let Connection { key, input, out, .. } = self;
        match self.shared.with(|hub| hub.turn(*key, input, out, cx.waker(), now)) {
            Turn::Open { wants_input } => wants_input,
            Turn::Ended { last } => {
                self.last = last;
                self.stage = Stage::Closing;
                false
            }
        }
    }

    /// Writes until nothing is left, and flushes once then.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let buf = if self.out.is_empty() { &mut self.last } else { &mut self.out };
            if buf.is_empty() {
                break;
            }
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = buf.chunks_vectored(&mut slices);
            let slices = slices.get(..count).unwrap_or_default();
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            buf.advance(written);
            self.written += written;
            self.flush = true;
        }
        if self.flush {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.flush = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once, behind what is there already; zero is the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let start = self.input.len();
        self.input.resize(start + self.step, 0);
        let room = self.input.get_mut(start..).unwrap_or_default();
        let read = Pin::new(&mut self.stream).poll_read(cx, room);
        let count = match &read {
            Poll::Ready(Ok(count)) => (*count).min(self.step),
            _ => 0,
        };
        self.input.truncate(start + count);
        if count == self.step {
            // There is more than fits: the steps grow by what has come, not by what a header claims.
            self.step = (self.step * 2).min(READ_MOST);
        } else if read.is_pending() {
            self.step = READ_FIRST;
            if self.input.is_empty() && self.input.capacity() > READ_FIRST {
                // Most connections are silent most of the time.
                self.input = BytesMut::new();
            }
        }
        read
    }

    /// Tells whether a read is in order although the peer has not taken what waits for it.
    ///
    /// A peer that takes nothing is not listened to, so that its answers cannot pile up. One that is
    /// merely slow is heard as much as it takes, so that its PINGREQ gets through.
    fn may_read(&self) -> bool {
        !self.out.is_full() || self.written >= self.step
    }

    /// One round; `Ready(true)` asks for another one, and `Ready(false)` ends the task.
    fn poll_round(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        match self.stage {
            Stage::Open => self.poll_open(cx),
            Stage::Closing | Stage::Draining => {
                let now = self.shared.now();
                if !self.shared.with(|hub| hub.linger(self.key, cx.waker(), now)) {
                    return Poll::Ready(false);
                }
                let step = ready!(self.poll_end(cx));
                Poll::Ready(step.is_ok_and(|count| count > 0))
            }
        }
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let wants_input = self.turn(cx);
        if self.stage != Stage::Open {
            return Poll::Ready(true);
        }
        let was_full = self.out.is_full();
        let wrote = match self.poll_write(cx) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(_)) => return self.broken(),
            Poll::Pending => false,
        };
        // The session may hold back what had no room, and nobody else would wake this task for it.
        let more = wrote && was_full;
        if wants_input && self.may_read() {
            match self.poll_read(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return self.broken(),
                Poll::Ready(Ok(_)) => {
                    self.written = 0;
                    return Poll::Ready(true);
                }
                Poll::Pending => {}
            }
        }
        if more { Poll::Ready(true) } else { Poll::Pending }
    }

    /// The transport has ended: the session hears of it, and then closes what is left.
    fn broken(&mut self) -> Poll<bool> {
        let now = self.shared.now();
        self.shared.with(|hub| hub.eof(self.key, now));
        Poll::Ready(true)
    }

    /// Writes what is left, closes the write side, and reads until the peer closes; zero is the end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.stage == Stage::Closing {
            ready!(self.poll_write(cx))?;
            ready!(Pin::new(&mut self.stream).poll_close(cx))?;
            self.stage = Stage::Draining;
        }
        self.input.clear();
        self.poll_read(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Connection<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            if !ready!(self.poll_round(cx)) {
                return Poll::Ready(());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        let now = self.shared.now();
        self.shared.with(|hub| hub.close(self.key, now));
    }
}
