//! What the caller is told when something does not work.

use alloc::boxed::Box;
use core::fmt;

use crate::error::{DecodeError, EncodeError};
use crate::packet::{ConnAck, Disconnect, Publish};
use crate::reason::ReasonCode;
use crate::types::PacketType;

/// Tells why a message was not accepted. It was not sent, and there is no token for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// A bound of the session is reached; here is the message. `Event::Writable` follows.
    Full(Box<Publish>),
    /// The session is closing; here is the message.
    Closing(Box<Publish>),
    /// The packet would exceed the peer's Maximum Packet Size.
    TooLarge {
        /// What it would take, in bytes.
        size: usize,
        /// What the peer takes, in bytes.
        limit: u32,
    },
    /// The version or the peer does not have this.
    NotSupported(&'static str),
    /// The message breaks a rule of the standard.
    Invalid(EncodeError),
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublishError::Full(_) => f.write_str(
                "the session holds as many messages or bytes as `bounds` permits: wait until it is writable",
            ),
            PublishError::Closing(_) => f.write_str("the session is closing: it takes no more messages"),
            PublishError::TooLarge { size, limit } => too_large(f, *size, *limit),
            PublishError::NotSupported(what) => not_supported(f, what),
            PublishError::Invalid(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for PublishError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            PublishError::Invalid(error) => Some(error),
            _ => None,
        }
    }
}

fn too_large(f: &mut fmt::Formatter<'_>, size: usize, limit: u32) -> fmt::Result {
    write!(f, "the packet takes {size} bytes, and the peer's Maximum Packet Size is {limit}")
}

fn not_supported(f: &mut fmt::Formatter<'_>, what: &str) -> fmt::Result {
    write!(f, "this connection does not have {what}")
}

/// Tells why a command was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// As many requests wait for an answer as `bounds` permits: wait for some.
    Full,
    /// There is no connection, or it is closing.
    NotConnected,
    /// The packet would exceed the peer's Maximum Packet Size.
    TooLarge {
        /// What it would take, in bytes.
        size: usize,
        /// What the peer takes, in bytes.
        limit: u32,
    },
    /// The version or the peer does not have this.
    NotSupported(&'static str),
    /// The command breaks a rule of the standard.
    Invalid(EncodeError),
    /// The command does not fit what the session is doing.
    Unexpected(&'static str),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::Full => f.write_str(
                "as many requests wait for an answer as `bounds` permits: wait for some",
            ),
            CommandError::NotConnected => f.write_str("there is no connection, or it is closing"),
            CommandError::TooLarge { size, limit } => too_large(f, *size, *limit),
            CommandError::NotSupported(what) => not_supported(f, what),
            CommandError::Invalid(error) => error.fmt(f),
            CommandError::Unexpected(what) => f.write_str(what),
        }
    }
}

impl core::error::Error for CommandError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            CommandError::Invalid(error) => Some(error),
            _ => None,
        }
    }
}

impl From<EncodeError> for CommandError {
    fn from(error: EncodeError) -> CommandError {
        CommandError::Invalid(error)
    }
}

/// Tells why a command that was accepted came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The server lost the session while a QoS 2 message was under way: it may have been delivered.
    SessionLost,
    /// The connection ended before the transport had taken the whole packet: the peer has not got this
    /// message, which is of QoS 0 and therefore not sent again.
    NotWritten,
    /// The Message Expiry Interval ran out before the message could be sent.
    Expired,
    /// The packet exceeds the Maximum Packet Size of the connection that was made meanwhile.
    ///
    /// Nothing of it is sent any more. If it was sent on a connection before, it may have been delivered,
    /// or may still be.
    TooLarge {
        /// What it takes, in bytes.
        size: usize,
        /// What the peer takes, in bytes.
        limit: u32,
    },
    /// The connection that was made meanwhile does not have this.
    ///
    /// As with `TooLarge`, a message that was sent on a connection before may have been delivered.
    NotSupported(&'static str),
    /// The packet cannot be sent.
    Invalid(EncodeError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::SessionLost => f.write_str(
                "the server lost the session: nobody knows whether the message was delivered",
            ),
            Failure::NotWritten => f.write_str(
                "the connection ended before the message was written; at QoS 0 it is not sent again",
            ),
            Failure::Expired => f.write_str("the message expired before it could be sent"),
            Failure::TooLarge { size, limit } => too_large(f, *size, *limit),
            Failure::NotSupported(what) => not_supported(f, what),
            Failure::Invalid(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for Failure {}

/// Tells why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// This side asked for it with [`disconnect`](crate::Session::disconnect).
    Requested,
    /// The transport ended without a DISCONNECT.
    Eof,
    /// The peer sent DISCONNECT.
    Disconnected(Box<Disconnect>),
    /// The server refused the connection (client), or this side refused it (server).
    Refused(Box<ConnAck>),
    /// The server goes on with a session of which this side has no state, and
    /// [`adopt_session`](crate::ClientConfig::adopt_session) says not to (MQTT-3.2.2-4): hand the state in,
    /// or ask for a clean start.
    SessionUnknown,
    /// Nothing came in time.
    Timeout(Timeout),
    /// The peer broke the protocol: its fault.
    Peer(PeerError),
    /// This side cannot send what it has to, such as a CONNECT that breaks a rule: the caller's fault.
    Local(EncodeError),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CloseReason::Requested => f.write_str("closed as requested"),
            CloseReason::Eof => f.write_str("the peer closed the connection without a DISCONNECT"),
            CloseReason::Disconnected(packet) => {
                write!(f, "the peer disconnected: {}", packet.reason)?;
                packet.properties.reason_string().map_or(Ok(()), |text| write!(f, " ({text})"))
            }
            CloseReason::Refused(connack) => {
                write!(f, "the connection was refused: {}", connack.reason)?;
                connack.reason_string.as_ref().map_or(Ok(()), |text| write!(f, " ({text})"))
            }
            CloseReason::SessionUnknown => f.write_str(
                "the server has a session that this client has no state of: set `adopt_session` to go \
                 on with it, or `clean_start` to begin a new one",
            ),
            CloseReason::Timeout(timeout) => timeout.fmt(f),
            CloseReason::Peer(error) => error.fmt(f),
            CloseReason::Local(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for CloseReason {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            CloseReason::Peer(error) => Some(error),
            CloseReason::Local(error) => Some(error),
            _ => None,
        }
    }
}

/// Names what did not come in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Timeout {
    /// CONNECT (server) or CONNACK (client).
    Connect,
    /// The next step of a re-authentication (client).
    Authentication,
    /// A sign of life after PINGREQ (client).
    PingResp,
    /// Any packet within one and a half times the Keep Alive (server).
    KeepAlive,
    /// The transport's taking what has to be written.
    Write,
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Timeout::Connect => "the peer did not answer the connection in time",
            Timeout::Authentication => "the re-authentication did not get on in time",
            Timeout::PingResp => "the peer did not answer PINGREQ in time",
            Timeout::Write => "the transport took nothing for longer than the write timeout",
            Timeout::KeepAlive => "the peer was silent for longer than its Keep Alive",
        })
    }
}

/// Tells how the peer broke the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeerError {
    /// The bytes are no valid packet.
    Decode(DecodeError),
    /// The packet is valid but may not come here or now, or breaks a limit that the peer was told.
    Protocol {
        /// The packet.
        packet: PacketType,
        /// The rule that it breaks.
        rule: &'static str,
        /// The reason code that MQTT 5.0 has for it.
        reason: ReasonCode,
    },
}

impl PeerError {
    /// Returns the reason code that MQTT 5.0 has for it.
    pub const fn reason(&self) -> ReasonCode {
        match self {
            PeerError::Decode(error) => error.reason(),
            PeerError::Protocol { reason, .. } => *reason,
        }
    }
}

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerError::Decode(error) => error.fmt(f),
            PeerError::Protocol { packet, rule, .. } => {
                write!(f, "the peer broke the protocol with {packet}: {rule}")
            }
        }
    }
}

impl core::error::Error for PeerError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            PeerError::Decode(error) => Some(error),
            PeerError::Protocol { .. } => None,
        }
    }
}

impl From<DecodeError> for PeerError {
    fn from(error: DecodeError) -> PeerError {
        PeerError::Decode(error)
    }
}
