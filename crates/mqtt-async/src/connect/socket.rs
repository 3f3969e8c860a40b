//! Sockets of the operating system, over `async-io`.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_io::{Async, IoSafe};
use futures_io::{AsyncRead, AsyncWrite};

/// A connected socket, as [`Tcp`](crate::Tcp) and `Unix` make it.
///
/// Closing it ends the direction to the peer and leaves the other one open; `Async` itself only flushes.
///
/// ```
/// use mqtt_async::Socket;
///
/// # async fn accept(listener: async_io::Async<std::net::TcpListener>) -> std::io::Result<()> {
/// let (stream, _) = listener.accept().await?;
/// let socket = Socket::new(stream);
/// # drop(socket);
/// # Ok(()) }
/// ```
pub struct Socket<T>(Async<T>);

impl<T> Socket<T> {
    /// Wraps a connected socket, such as one that a listener has accepted.
    pub fn new(socket: Async<T>) -> Socket<T> {
        Socket(socket)
    }

    /// Returns the socket, to look at or to set options of.
    pub fn get_ref(&self) -> &T {
        self.0.get_ref()
    }
}

/// A socket whose two directions end apart.
pub trait Duplex: IoSafe + Read + Write + Unpin {
    /// Ends a direction.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;
}

impl Duplex for std::net::TcpStream {
    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }
}

#[cfg(unix)]
impl Duplex for std::os::unix::net::UnixStream {
    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.shutdown(how)
    }
}

impl<T: fmt::Debug> fmt::Debug for Socket<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get_ref().fmt(f)
    }
}

impl<T: Duplex> AsyncRead for Socket<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read_vectored(cx, buffers)
    }
}

impl<T: Duplex> AsyncWrite for Socket<T> {
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

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_ref().shutdown(Shutdown::Write))
    }
}
