//! A stream of bytes in the binary messages of a WebSocket.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_tungstenite::tungstenite::protocol::CloseFrame;
use async_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use async_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use bytes::{Buf, Bytes, BytesMut};
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::Stream;
use futures_sink::Sink;

use super::error::{WebSocketError, while_used};

/// The most that one frame takes: it is masked in a copy.
const FRAME: usize = 64 * 1024;

/// How many messages without a byte one poll passes over before it lets others run.
const EMPTY: usize = 32;

/// A connection that [`WebSocket`](crate::WebSocket) has made, or a server has accepted: a stream of bytes.
#[derive(Debug)]
pub struct WebSocketStream<Io> {
    inner: async_tungstenite::WebSocketStream<Io>,
    /// What is left of the last message.
    input: Bytes,
    /// The peer has closed.
    ended: bool,
}

impl<Io> WebSocketStream<Io> {
    /// Wraps a WebSocket whose handshake is over, in either role.
    ///
    /// Its [`WebSocketConfig`](async_tungstenite::tungstenite::protocol::WebSocketConfig) should write each
    /// frame at once (`write_buffer_size` of 0): what the transport does not take then holds the writer back.
    pub fn new(inner: async_tungstenite::WebSocketStream<Io>) -> WebSocketStream<Io> {
        WebSocketStream { inner, input: Bytes::new(), ended: false }
    }

    /// Returns the transport below.
    pub fn get_ref(&self) -> &Io
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        self.inner.get_ref()
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> WebSocketStream<Io> {
    /// Waits for the next message with bytes; `false` is the end.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        for _ in 0..EMPTY {
            match ready!(Pin::new(&mut self.inner).poll_next(cx)) {
                None => return Poll::Ready(Ok(false)),
                Some(Ok(Message::Binary(bytes))) if bytes.is_empty() => {}
                Some(Ok(Message::Binary(bytes))) => {
                    self.input = bytes;
                    return Poll::Ready(Ok(true));
                }
                Some(Ok(Message::Text(_))) => {
                    self.refuse_text();
                    return Poll::Ready(Err(WebSocketError::Text.into()));
                }
                Some(Ok(Message::Close(close))) => return Poll::Ready(closed(close)),
                // Pings are answered below.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Poll::Ready(while_used(error).map(|()| false)),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Tells the peer why it loses the connection, if the transport takes it at once.
    fn refuse_text(&mut self) {
        let reason = Utf8Bytes::from_static("MQTT is in binary frames");
        let close = CloseFrame { code: CloseCode::Unsupported, reason };
        let _ = Pin::new(&mut self.inner).start_send(Message::Close(Some(close)));
    }
}

/// What the end says: nothing, if the peer closes in order.
fn closed(close: Option<CloseFrame>) -> io::Result<bool> {
    match close {
        Some(CloseFrame { code, reason })
            if !matches!(code, CloseCode::Normal | CloseCode::Away | CloseCode::Status) =>
        {
            Err(WebSocketError::Closed { code: code.into(), reason: reason.to_string() }.into())
        }
        _ => Ok(false),
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocketStream<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.input.is_empty() && !this.ended {
            this.ended = !ready!(this.poll_message(cx))?;
        }
        let count = this.input.len().min(buffer.len());
        if let Some(buffer) = buffer.get_mut(..count) {
            this.input.copy_to_slice(buffer);
        }
        Poll::Ready(Ok(count))
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocketStream<Io> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wanted: usize = slices.iter().map(|slice| slice.len()).sum();
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        ready!(Pin::new(&mut self.inner).poll_ready(cx)).map_err(broken)?;
        let mut frame = BytesMut::with_capacity(wanted.min(FRAME));
        for slice in slices {
            let room = FRAME - frame.len();
            frame.extend_from_slice(slice.get(..room).unwrap_or(slice));
        }
        let count = frame.len();
        let message = Message::Binary(frame.freeze());
        Pin::new(&mut self.inner).start_send(message).map_err(broken)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx).map_err(broken)
    }

    /// Sends a Close frame. A server answers it and closes the transport, as RFC 6455 section 7.1.1 wants
    /// it.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_close(cx)).or_else(while_used)?;
        Poll::Ready(Ok(()))
    }
}

/// What is wrong where bytes can no longer be sent: also an end in order.
fn broken(error: Error) -> io::Error {
    while_used(error).err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
}
