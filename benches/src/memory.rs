//! A transport that is the server itself: nothing waits, and there is no kernel.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_io::{AsyncRead, AsyncWrite};

use crate::sink::{Sink, WINDOW};

/// The sink runs inside `poll_write`, and its answers are read at once.
#[derive(Debug, Default)]
pub struct Memory {
    sink: Sink,
    answers: Vec<u8>,
    /// How much of `answers` has been read.
    read: usize,
    reader: Option<Waker>,
    serving: Option<Serving>,
}

/// Messages that were asked for: the same packets again and again.
#[derive(Debug)]
struct Serving {
    packets: Vec<u8>,
    /// How long each is.
    len: usize,
    acknowledged: bool,
    /// How many bytes there are in all, and how many have been read.
    bytes: usize,
    read: usize,
}

impl Memory {
    fn take(&mut self, bytes: &[u8]) {
        self.sink.take(bytes, &mut self.answers);
        if let Some(wanted) = self.sink.wanted.take() {
            let (packets, len) = self.sink.packets(&wanted);
            let (acknowledged, bytes) = (wanted.qos > 0, wanted.messages * len);
            self.serving = Some(Serving { packets, len, acknowledged, bytes, read: 0 });
        }
        if !self.answers.is_empty() || self.serving.is_some() {
            self.reader.take().into_iter().for_each(Waker::wake);
        }
    }
}

impl Memory {
    /// Copies the next of the messages that were asked for; returns how many bytes.
    fn serve(&mut self, buffer: &mut [u8]) -> usize {
        let Some(Serving { packets, len, acknowledged, bytes, read }) = &mut self.serving else {
            return 0;
        };
        let window = (self.sink.acknowledged + WINDOW) * *len;
        let end = if *acknowledged { window.min(*bytes) } else { *bytes };
        let from = &packets[*read % packets.len()..];
        let count = from.len().min(buffer.len()).min(end - *read);
        buffer[..count].copy_from_slice(&from[..count]);
        *read += count;
        count
    }
}

impl AsyncRead for Memory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let waiting = &self.answers[self.read..];
        let count = waiting.len().min(buffer.len());
        if count == 0 {
            let served = self.serve(buffer);
            if served > 0 {
                return Poll::Ready(Ok(served));
            }
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        buffer[..count].copy_from_slice(&waiting[..count]);
        self.read += count;
        if self.read == self.answers.len() {
            self.answers.clear();
            self.read = 0;
        }
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Memory {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        slices.iter().for_each(|slice| self.take(slice));
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
