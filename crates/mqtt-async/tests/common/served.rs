//! The server side of WebSocket.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use async_tungstenite::tungstenite::handshake::server::{Request, Response};
use async_tungstenite::tungstenite::http::HeaderValue;
use async_tungstenite::tungstenite::{Error as WsError, Message};
use async_tungstenite::{WebSocketStream as Ws, accept_hdr_async};
use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::Stream;
use futures_sink::Sink;

/// Takes a client in, with the subprotocol; notes its requests.
pub async fn accept<Io>(io: Io, requests: Requests) -> Ws<Io>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    try_accept(io, requests).await.unwrap()
}

/// The same with a client that may go away.
pub async fn try_accept<Io>(io: Io, requests: Requests) -> Result<Ws<Io>, WsError>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    #[allow(clippy::result_large_err, reason = "the signature of the callback")]
    let callback = move |request: &Request, mut response: Response| {
        requests.lock().unwrap().push(request.clone());
        response.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("mqtt"));
        Ok(response)
    };
    accept_hdr_async(io, callback).await
}

pub type Requests = Arc<Mutex<Vec<Request>>>;

/// The server's end as a stream of bytes, whose frames are now small, now large.
pub struct Served<Io> {
    ws: Ws<Io>,
    input: Vec<u8>,
    frames: usize,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Served<Io> {
    pub async fn accept(io: Io) -> Served<Io> {
        Served { ws: accept(io, Requests::default()).await, input: Vec::new(), frames: 0 }
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncRead for Served<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        while self.input.is_empty() {
            match ready!(Pin::new(&mut self.ws).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.input = bytes.to_vec(),
                Some(Ok(Message::Close(_))) | None | Some(Err(WsError::Protocol(_))) => {
                    return Poll::Ready(Ok(0));
                }
                other => panic!("{other:?}"),
            }
        }
        let count = buffer.len().min(self.input.len());
        for (to, from) in buffer.iter_mut().zip(self.input.drain(..count)) {
            *to = from;
        }
        Poll::Ready(Ok(count))
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Served<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let count = bytes.len().min([1, 2, 500, 3, 70_000][self.frames % 5]);
        ready!(Pin::new(&mut self.ws).poll_ready(cx)).map_err(io::Error::other)?;
        let message = Message::binary(bytes[..count].to_vec());
        Pin::new(&mut self.ws).start_send(message).map_err(io::Error::other)?;
        self.frames += 1;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.ws).poll_flush(cx).map_err(io::Error::other)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.ws).poll_close(cx).map_err(io::Error::other)
    }
}
