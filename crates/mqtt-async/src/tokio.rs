//! Time, transport adapter and sockets of tokio: feature `tokio`.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures_io::{AsyncRead, AsyncWrite};

use crate::time::{Clock, Timer};

mod tcp;
#[cfg(unix)]
mod unix;

pub use tcp::TokioTcp;
#[cfg(unix)]
pub use unix::TokioUnix;

/// The timer of tokio. The driver that uses it must be polled inside a tokio runtime with time enabled.
///
/// It follows tokio's clock, also when a test has paused that.
#[derive(Default)]
pub struct TokioTimer {
    armed: Option<(Instant, Pin<Box<tokio::time::Sleep>>)>,
}

impl TokioTimer {
    /// Returns a timer that waits for nothing yet; this needs no runtime.
    pub const fn new() -> TokioTimer {
        TokioTimer { armed: None }
    }
}

impl fmt::Debug for TokioTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let armed = self.armed.as_ref().map(|(at, _)| at);
        f.debug_struct("TokioTimer").field("armed", &armed).finish()
    }
}

impl Timer for TokioTimer {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.now() >= deadline {
                return Poll::Ready(());
            }
            // As in `AsyncIoTimer`: a timer that is set too early is left as it is.
            let sleep = match &mut self.armed {
                Some((at, sleep)) if *at <= deadline => sleep,
                slot => {
                    let sleep = Box::pin(tokio::time::sleep_until(deadline.into()));
                    &mut slot.insert((deadline, sleep)).1
                }
            };
            match sleep.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => self.armed = None,
            }
        }
    }

    fn clock(&self) -> Clock {
        Clock::new(|| tokio::time::Instant::now().into_std())
    }
}

/// Makes a transport of tokio usable here; vectored writes are forwarded.
///
/// The usual adapters leave `poll_write_vectored` at its default, which writes the first slice only: a
/// message then takes one system call for its header and another one for its payload.
///
/// ```
/// use mqtt_async::{Client, Config, TokioIo, TokioTimer, Version};
/// use tokio::net::TcpStream;
///
/// let connector = || async { TcpStream::connect("127.0.0.1:1883").await.map(TokioIo::new) };
/// let (client, driver) = Client::with_timer(Config::new(Version::V5), connector, TokioTimer::new());
/// # drop((client, driver));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioIo<T>(T);

impl<T> TokioIo<T> {
    /// Wraps a transport of tokio.
    pub const fn new(io: T) -> TokioIo<T> {
        TokioIo(io)
    }

    /// Returns what is wrapped.
    pub fn into_inner(self) -> T {
        self.0
    }

    /// Returns what is wrapped.
    pub const fn get_ref(&self) -> &T {
        &self.0
    }
}

impl<T: tokio::io::AsyncRead + Unpin> AsyncRead for TokioIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = tokio::io::ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }
}

impl<T: tokio::io::AsyncWrite + Unpin> AsyncWrite for TokioIo<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
