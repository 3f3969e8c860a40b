//! An in-memory transport: two ends, each with a bounded buffer towards the other.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use futures_io::{AsyncRead, AsyncWrite};

/// How a pipe behaves.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// How many bytes wait in one direction at most.
    pub capacity: usize,
    /// How many bytes one read or write moves at most.
    pub chunk: usize,
}

impl Default for Shape {
    fn default() -> Shape {
        Shape { capacity: 64 * 1024, chunk: usize::MAX }
    }
}

#[derive(Debug, Default)]
struct Lane {
    bytes: VecDeque<u8>,
    /// The writer is done: the reader gets the rest and then the end.
    shut: bool,
    /// The reader is gone: the writer gets an error.
    gone: bool,
    /// The writer has left with bytes unread: what it wrote is lost, as TCP may do it.
    reset: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    writes: usize,
    flushes: usize,
}

/// One end of a pipe; dropping it ends both directions.
#[derive(Debug)]
pub struct Pipe {
    shape: Shape,
    read: Arc<Mutex<Lane>>,
    write: Arc<Mutex<Lane>>,
}

pub fn pipe(shape: Shape) -> (Pipe, Pipe) {
    let (there, back) = (Arc::default(), Arc::default());
    let one = Pipe { shape, read: Arc::clone(&back), write: Arc::clone(&there) };
    (one, Pipe { shape, read: there, write: back })
}

fn lock(lane: &Mutex<Lane>) -> MutexGuard<'_, Lane> {
    lane.lock().unwrap()
}

impl AsyncRead for Pipe {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut lane = lock(&self.read);
        if lane.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let count = lane.bytes.len().min(buffer.len()).min(self.shape.chunk);
        if count == 0 && !lane.shut {
            lane.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        for (to, from) in buffer.iter_mut().zip(lane.bytes.drain(..count)) {
            *to = from;
        }
        let writer = lane.writer.take();
        drop(lane);
        writer.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut lane = lock(&self.write);
        if lane.gone || lane.shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = (self.shape.capacity - lane.bytes.len()).min(self.shape.chunk);
        if room == 0 {
            lane.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut count = 0;
        for slice in slices {
            let part = slice.len().min(room - count);
            lane.bytes.extend(&slice[..part]);
            count += part;
        }
        lane.writes += 1;
        let reader = lane.reader.take();
        drop(lane);
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        lock(&self.write).flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut();
        Poll::Ready(Ok(()))
    }
}

impl Pipe {
    fn shut(&self) {
        let mut lane = lock(&self.write);
        lane.shut = true;
        let reader = lane.reader.take();
        drop(lane);
        reader.into_iter().for_each(Waker::wake);
    }

    /// How often the other end has written and flushed.
    pub fn writes_and_flushes(&self) -> (usize, usize) {
        let lane = lock(&self.read);
        (lane.writes, lane.flushes)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.shut();
        let mut lane = lock(&self.read);
        lane.gone = true;
        let unread = !lane.bytes.is_empty();
        lane.bytes.clear();
        let writer = lane.writer.take();
        drop(lane);
        if unread {
            let mut lane = lock(&self.write);
            lane.bytes.clear();
            lane.reset = true;
        }
        writer.into_iter().for_each(Waker::wake);
    }
}
