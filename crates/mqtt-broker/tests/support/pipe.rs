//! A stream in memory, with a bound in each direction.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures_lite::{AsyncRead, AsyncWrite};

#[derive(Default)]
struct Direction {
    bytes: VecDeque<u8>,
    capacity: usize,
    closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

type Half = Arc<Mutex<Direction>>;

/// One end.
pub(crate) struct Pipe {
    incoming: Half,
    outgoing: Half,
}

/// Returns two ends that hold `capacity` bytes on their way in each direction.
pub(crate) fn pipe(capacity: usize) -> (Pipe, Pipe) {
    let half = || Arc::new(Mutex::new(Direction { capacity, ..Direction::default() }));
    let (one, two) = (half(), half());
    let near = Pipe { incoming: one.clone(), outgoing: two.clone() };
    (near, Pipe { incoming: two, outgoing: one })
}

impl Pipe {
    /// Returns how many bytes wait to be read.
    pub(crate) fn waiting(&self) -> usize {
        self.incoming.lock().unwrap().bytes.len()
    }
}

fn wake(slot: &mut Option<Waker>) {
    slot.take().into_iter().for_each(Waker::wake);
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut half = self.incoming.lock().unwrap();
        if half.bytes.is_empty() && !half.closed {
            half.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = room.len().min(half.bytes.len());
        for (slot, byte) in room.iter_mut().zip(half.bytes.drain(..count)) {
            *slot = byte;
        }
        wake(&mut half.writer);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut half = self.outgoing.lock().unwrap();
        if half.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let count = bytes.len().min(half.capacity - half.bytes.len());
        if count == 0 {
            half.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        half.bytes.extend(&bytes[..count]);
        wake(&mut half.reader);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut half = self.outgoing.lock().unwrap();
        half.closed = true;
        wake(&mut half.reader);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        for half in [&self.incoming, &self.outgoing] {
            let mut half = half.lock().unwrap();
            half.closed = true;
            wake(&mut half.reader);
            wake(&mut half.writer);
        }
    }
}
