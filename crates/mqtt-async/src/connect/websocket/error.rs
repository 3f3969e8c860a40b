//! What may be wrong with a WebSocket, and what to do about it.

use std::error::Error as StdError;
use std::sync::Arc;
use std::{fmt, io};

use async_tungstenite::tungstenite::Error;
use async_tungstenite::tungstenite::error::ProtocolError;
use async_tungstenite::tungstenite::http;

use super::super::is_end;

/// Tells why there is no WebSocket, or no more.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum WebSocketError {
    /// That is no path; it begins with `/`.
    Path(String),
    /// That header has characters that none may have.
    Header(String),
    /// The host makes no request.
    Request(Arc<http::Error>),
    /// The server answered the request with another status than 101.
    Refused {
        /// The status of HTTP.
        status: u16,
    },
    /// The server speaks WebSocket, but did not choose the subprotocol `mqtt`.
    NoMqtt,
    /// The server closed the connection in the handshake.
    Eof,
    /// The answer to the request is no handshake of WebSocket, or a frame breaks its rules.
    Protocol(Arc<Error>),
    /// The server sent text (MQTT-6.0.0-1).
    Text,
    /// The server closed for a reason: RFC 6455 section 7.4.
    Closed {
        /// Its code.
        code: u16,
        /// Its words.
        reason: String,
    },
}

/// What the caller can mend is an invalid input, and not worth another attempt.
impl From<WebSocketError> for io::Error {
    fn from(error: WebSocketError) -> io::Error {
        let kind = match &error {
            WebSocketError::Path(_) | WebSocketError::Header(_) | WebSocketError::Request(_) => {
                io::ErrorKind::InvalidInput
            }
            WebSocketError::Refused { status: 401 | 403 } => io::ErrorKind::PermissionDenied,
            WebSocketError::Refused { .. } | WebSocketError::NoMqtt => {
                io::ErrorKind::ConnectionRefused
            }
            WebSocketError::Eof => io::ErrorKind::UnexpectedEof,
            WebSocketError::Protocol(_) | WebSocketError::Text => io::ErrorKind::InvalidData,
            WebSocketError::Closed { .. } => io::ErrorKind::ConnectionAborted,
        };
        io::Error::new(kind, error)
    }
}

/// Tells apart what broke in a handshake.
pub(super) fn in_handshake(error: Error) -> io::Error {
    match error {
        // Who closes with our request unread resets.
        Error::Io(error) if is_end(error.kind()) => WebSocketError::Eof.into(),
        Error::Io(error) => error,
        Error::Http(answer) => WebSocketError::Refused { status: answer.status().as_u16() }.into(),
        Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => {
            WebSocketError::NoMqtt.into()
        }
        Error::Protocol(ProtocolError::HandshakeIncomplete) => WebSocketError::Eof.into(),
        // What a hook may have made of the request.
        Error::Url(_) | Error::HttpFormat(_) => io::Error::new(io::ErrorKind::InvalidInput, error),
        error => WebSocketError::Protocol(Arc::new(error)).into(),
    }
}

/// Tells apart what broke later; `Ok` is an end.
///
/// A transport that ends without a Close frame is an end as with plain TCP: MQTT does not count on it.
pub(super) fn while_used(error: Error) -> io::Result<()> {
    match error {
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(
            ProtocolError::ResetWithoutClosingHandshake | ProtocolError::SendAfterClosing,
        ) => Ok(()),
        Error::Io(error) => Err(error),
        error => Err(WebSocketError::Protocol(Arc::new(error)).into()),
    }
}

impl fmt::Display for WebSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WebSocketError::Path(path) => write!(f, "{path:?} is no path of a WebSocket"),
            WebSocketError::Header(name) => {
                write!(f, "the header {name:?} has characters that no header has")
            }
            WebSocketError::Request(error) => write!(f, "there is no such request: {error}"),
            WebSocketError::Refused { status } => {
                write!(f, "the server answered with HTTP {status} instead of a WebSocket")?;
                f.write_str(match status {
                    300..=399 => ": redirects are not followed",
                    401 | 403 => ": it wants other credentials in the request",
                    404 => ": is the path right?",
                    _ => "",
                })
            }
            WebSocketError::NoMqtt => f.write_str(
                "the server did not choose the subprotocol `mqtt`: is this a WebSocket for MQTT?",
            ),
            WebSocketError::Eof => f.write_str(
                "the server closed the connection in the WebSocket handshake: is this a port for \
                 WebSocket?",
            ),
            WebSocketError::Protocol(error) => write!(f, "the WebSocket failed: {error}"),
            WebSocketError::Text => f.write_str(
                "the server sent a text frame, and MQTT is in binary frames (MQTT-6.0.0-1)",
            ),
            WebSocketError::Closed { code, reason } => {
                write!(f, "the server closed the WebSocket with code {code}: {reason:?}")
            }
        }
    }
}

impl StdError for WebSocketError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            WebSocketError::Request(error) => Some(&**error),
            WebSocketError::Protocol(error) => Some(&**error),
            _ => None,
        }
    }
}
