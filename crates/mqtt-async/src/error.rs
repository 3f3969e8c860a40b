//! What the caller is told when something does not work, whose fault it is, and what to do.

use std::error::Error as StdError;
use std::sync::Arc;
use std::{fmt, io};

use mqtt_proto::{
    AckProperties, CloseReason, ConnAck, DecodeCause, Disconnect, EncodeError, Failure, PacketType,
    PeerError, Publish, ReasonCode, Timeout, TopicError,
};

use crate::config::Dropped;
use crate::redirect::{RedirectError, RedirectFault};
use crate::stage::ConnectStage;

mod authentication;
mod request;
mod store;

pub use authentication::AuthenticationStep;
pub use request::RequestError;
pub use store::StoreError;

/// Tells why a connection could not be made or has ended, and why the driver gave up.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The connector failed: wrong host, refused port, failed handshake of a layer below MQTT.
    Connect(Arc<io::Error>),
    /// The transport was not there in time: see [`StageTimeouts`](crate::StageTimeouts).
    ConnectTimeout {
        /// What the connector was at, if it said so.
        stage: Option<ConnectStage>,
    },
    /// The hook [`before_connect`](crate::Driver::before_connect) failed, or was not done within
    /// [`connect_timeout`](crate::Config::connect_timeout).
    Hook(Arc<dyn StdError + Send + Sync>),
    /// The transport broke while it was used.
    Io(Arc<io::Error>),
    /// The server closed the transport without a word.
    Eof {
        /// Whether that was before it had answered CONNECT.
        before_connack: bool,
    },
    /// The server refused the connection with this CONNACK.
    Refused(Box<ConnAck>),
    /// The server ended the connection with this DISCONNECT (MQTT 5.0).
    Disconnected(Box<Disconnect>),
    /// The server did not answer in time.
    Timeout(Timeout),
    /// What answered does not speak MQTT: its first bytes are no CONNACK.
    NotMqtt(PeerError),
    /// The server broke the protocol.
    Protocol(PeerError),
    /// The server has sent the client to another server, and
    /// [`Config::redirects`](crate::Config::redirects) does not let it go there.
    Redirect(Box<RedirectError>),
    /// The enhanced authentication failed on this side: the
    /// [`Authenticator`](crate::Authenticator) said so, or there is none.
    Authentication {
        /// What was to be done.
        step: AuthenticationStep,
        /// Why it failed.
        error: Arc<dyn StdError + Send + Sync>,
    },
    /// The configuration makes a CONNECT that breaks a rule of the standard.
    Config(EncodeError),
    /// The store of a durable session failed, or an attempt would not be durable; see
    /// [`Client::durable`](crate::Client::durable).
    Store(StoreError),
    /// The session ended for a reason that this version of the crate does not know.
    Other(CloseReason),
}

impl Error {
    pub(crate) fn from_close(reason: CloseReason, connected: bool) -> Error {
        match reason {
            CloseReason::Eof => Error::Eof { before_connack: !connected },
            CloseReason::Refused(connack) => Error::Refused(connack),
            CloseReason::Disconnected(disconnect) => Error::Disconnected(disconnect),
            CloseReason::Timeout(timeout) => Error::Timeout(timeout),
            CloseReason::Peer(error @ PeerError::Decode(_)) if !connected => Error::NotMqtt(error),
            CloseReason::Peer(error) => Error::Protocol(error),
            CloseReason::Local(error) => Error::Config(error),
            reason => Error::Other(reason),
        }
    }

    /// Returns the reason code that the server gave, if it gave one.
    pub fn reason(&self) -> Option<ReasonCode> {
        match self {
            Error::Refused(connack) => Some(connack.reason),
            Error::Disconnected(disconnect) => Some(disconnect.reason),
            Error::Redirect(redirect) => Some(redirect.reason),
            _ => None,
        }
    }

    /// Tells whether another attempt with the same configuration may succeed.
    ///
    /// What is not retryable ends the driver, unless [`reconnect_if`](crate::Driver::reconnect_if) decides
    /// otherwise:
    ///
    /// | | tried again | not tried again |
    /// |--|--|--|
    /// | no transport | the connector or the hook failed, or took too long | the connector says `InvalidInput`: what it was told is wrong |
    /// | transport lost | ended, broken, no answer in time | |
    /// | the server's protocol | what came is no MQTT, or breaks its rules | it has a session that [`adopt_session`](crate::ClientConfig::adopt_session) does not want |
    /// | this side's CONNECT | | breaks a rule of the standard |
    /// | CONNACK | 0x80 Unspecified error, 0x83 Implementation specific error, 0x88 Server unavailable, 0x89 Server busy, 0x97 Quota exceeded, 0x9F Connection rate exceeded | all others: they say that this client is not wanted (0x86, 0x87, 0x8A, 0x8C), that this CONNECT is not understood (0x81, 0x82, 0x84, 0x85, 0x95) or its Will not taken (0x90, 0x99, 0x9A, 0x9B), or that another server is to be used (0x9C, 0x9D) |
    /// | this side's part of an enhanced authentication | it could not begin | it found fault with what the server said |
    /// | a redirect that is not followed | there were too many: it begins anew with the own server | to a host that is not allowed, or unknown to the connector |
    /// | DISCONNECT | all others: the server has something else to do, or complains about one packet | 0x87 Not authorized, 0x8C Bad authentication method, 0x8E Session taken over, 0x9C Use another server, 0x9D Server moved |
    ///
    /// Two clients with one Client Identifier would take the session from each other for ever, so 0x8E is
    /// not answered with an attempt. A DISCONNECT that complains about a packet (0x81, 0x82, 0x8F, 0x90,
    /// 0x93 to 0x97, 0x99 to 0x9B, 0x9E, 0xA1, 0xA2) may come again, if that packet is sent again on the next
    /// connection; the wait then grows up to [`Backoff::max`](crate::Backoff::max), because no connection
    /// is stable. MQTT 5.0 sections 3.2.2.2 and 3.14.2.1.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Connect(error) => error.kind() != io::ErrorKind::InvalidInput,
            Error::Refused(connack) => matches!(
                connack.reason,
                ReasonCode::UNSPECIFIED_ERROR
                    | ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR
                    | ReasonCode::SERVER_UNAVAILABLE
                    | ReasonCode::SERVER_BUSY
                    | ReasonCode::QUOTA_EXCEEDED
                    | ReasonCode::CONNECTION_RATE_EXCEEDED
            ),
            Error::Disconnected(disconnect) => !matches!(
                disconnect.reason,
                ReasonCode::NOT_AUTHORIZED
                    | ReasonCode::BAD_AUTHENTICATION_METHOD
                    | ReasonCode::SESSION_TAKEN_OVER
                    | ReasonCode::USE_ANOTHER_SERVER
                    | ReasonCode::SERVER_MOVED
            ),
            Error::Redirect(redirect) => redirect.fault == RedirectFault::TooMany,
            Error::Authentication { step, .. } => *step == AuthenticationStep::Start,
            Error::Config(_) | Error::Store(_) | Error::Other(CloseReason::SessionUnknown) => false,
            Error::ConnectTimeout { .. }
            | Error::Hook(_)
            | Error::Io(_)
            | Error::Eof { .. }
            | Error::Timeout(_)
            | Error::NotMqtt(_)
            | Error::Protocol(_)
            | Error::Other(_) => true,
        }
    }

    /// Tells whether a server refuses MQTT 5.0, in its own words or in those of MQTT 3.1.1, whose return
    /// codes are no reason codes.
    pub(crate) fn refuses_v5(&self) -> bool {
        match self {
            Error::Refused(connack) => connack.reason == ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
            Error::NotMqtt(PeerError::Decode(error)) => {
                error.packet() == Some(PacketType::ConnAck)
                    && error.cause() == DecodeCause::ReasonCode
            }
            _ => false,
        }
    }

    /// Tells whether the server does not accept who this client says it is.
    pub fn is_auth(&self) -> bool {
        self.reason().is_some_and(is_auth)
    }
}

fn is_auth(reason: ReasonCode) -> bool {
    matches!(
        reason,
        ReasonCode::BAD_USER_NAME_OR_PASSWORD
            | ReasonCode::NOT_AUTHORIZED
            | ReasonCode::BANNED
            | ReasonCode::BAD_AUTHENTICATION_METHOD
    )
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Connect(error) => write!(f, "cannot connect to the server: {error}"),
            Error::ConnectTimeout { stage: Some(stage) } => {
                write!(f, "cannot connect to the server: {stage} was not done in time")
            }
            Error::ConnectTimeout { stage: None } => f.write_str(
                "cannot connect to the server: nothing answered within the connect timeout",
            ),
            Error::Hook(error) => write!(f, "cannot prepare to connect: {error}"),
            Error::Io(error) => write!(f, "the connection broke: {error}"),
            Error::Eof { before_connack: true } => f.write_str(
                "the server closed the connection instead of answering CONNECT: \
                 is this an MQTT port, and one for plain text?",
            ),
            Error::Eof { before_connack: false } => CloseReason::Eof.fmt(f),
            Error::Refused(connack) => {
                write!(f, "the server refused the connection: {}", connack.reason)?;
                connack.reason_string.as_ref().map_or(Ok(()), |text| write!(f, " ({text})"))
            }
            Error::Disconnected(packet) => {
                write!(f, "the server ended the connection: {}", packet.reason)?;
                packet.properties.reason_string().map_or(Ok(()), |text| write!(f, " ({text})"))
            }
            Error::Timeout(Timeout::Connect) => {
                f.write_str("the server took the connection but did not answer CONNECT in time")
            }
            Error::Timeout(timeout) => timeout.fmt(f),
            Error::NotMqtt(error) => {
                write!(f, "what answered does not speak MQTT (is the port right?): {error}")
            }
            Error::Protocol(error) => error.fmt(f),
            Error::Redirect(redirect) => redirect.fmt(f),
            Error::Authentication { step, error } => write!(f, "{step}: {error}"),
            Error::Config(error) => write!(f, "the configuration makes no valid CONNECT: {error}"),
            Error::Store(error) => error.fmt(f),
            Error::Other(reason) => reason.fmt(f),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Error::Connect(error) | Error::Io(error) => Some(&**error),
            Error::NotMqtt(error) | Error::Protocol(error) => Some(error),
            Error::Redirect(redirect) => Some(redirect),
            Error::Authentication { error, .. } => Some(&**error),
            Error::Config(error) => Some(error),
            Error::Store(error) => Some(error),
            Error::Other(reason) => Some(reason),
            _ => None,
        }
    }
}

/// Tells why a message was not accepted. It was not sent, and there is no token for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishError {
    /// As much is queued as [`bounds`](mqtt_proto::ClientConfig::bounds) permits; here is the message.
    /// Wait with [`ready`](crate::Client::ready).
    Full(Box<Publish>),
    /// There is no connection, and [`Config::outbound`](crate::Config::outbound) does not let a message of
    /// this QoS wait for one; here it is. Wait with [`connected`](crate::Client::connected).
    Offline(Box<Publish>),
    /// The client is closing or has ended; here is the message.
    Closed(Box<Publish>),
    /// The packet would exceed the server's Maximum Packet Size.
    TooLarge {
        /// What it would take, in bytes.
        size: usize,
        /// What the server takes, in bytes.
        limit: u32,
    },
    /// The version or the server does not have this.
    NotSupported(&'static str),
    /// That is no Topic Name.
    Topic(TopicError),
    /// The message breaks a rule of the standard.
    Invalid(EncodeError),
}

impl PublishError {
    /// Returns the message, if it is worth another try.
    pub fn into_publish(self) -> Option<Publish> {
        match self {
            PublishError::Full(publish)
            | PublishError::Offline(publish)
            | PublishError::Closed(publish) => Some(*publish),
            _ => None,
        }
    }
}

impl From<mqtt_proto::PublishError> for PublishError {
    fn from(error: mqtt_proto::PublishError) -> PublishError {
        use mqtt_proto::PublishError as Proto;
        match error {
            Proto::Full(publish) => PublishError::Full(publish),
            Proto::Closing(publish) => PublishError::Closed(publish),
            Proto::TooLarge { size, limit } => PublishError::TooLarge { size, limit },
            Proto::NotSupported(what) => PublishError::NotSupported(what),
            Proto::Invalid(error) => PublishError::Invalid(error),
            _ => PublishError::NotSupported("what was asked for"),
        }
    }
}

impl From<TopicError> for PublishError {
    fn from(error: TopicError) -> PublishError {
        PublishError::Topic(error)
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublishError::Full(_) => f.write_str(
                "as much is queued as the configuration permits: wait until the client is ready",
            ),
            PublishError::Offline(_) => f.write_str(
                "there is no connection, and the configuration does not let this message wait for one",
            ),
            PublishError::Closed(_) => f.write_str(CLOSED),
            PublishError::TooLarge { size, limit } => too_large(f, *size, *limit),
            PublishError::NotSupported(what) => not_supported(f, what),
            PublishError::Topic(error) => error.fmt(f),
            PublishError::Invalid(error) => error.fmt(f),
        }
    }
}

impl StdError for PublishError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            PublishError::Topic(error) => Some(error),
            PublishError::Invalid(error) => Some(error),
            _ => None,
        }
    }
}

const CLOSED: &str =
    "the client is closing or has ended (`Status::last_error` says why): it takes no more commands";

fn too_large(f: &mut fmt::Formatter<'_>, size: usize, limit: u32) -> fmt::Result {
    write!(f, "the packet takes {size} bytes, and the server's Maximum Packet Size is {limit}")
}

fn not_supported(f: &mut fmt::Formatter<'_>, what: &str) -> fmt::Result {
    write!(f, "this connection does not have {what}")
}

/// Tells why a SUBSCRIBE or UNSUBSCRIBE was not accepted. It was not sent, and there is no token for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// As many requests wait for an answer as [`bounds`](mqtt_proto::ClientConfig::bounds) permits.
    Full,
    /// The client is closing or has ended.
    Closed,
    /// There is no connection; this is about the present one.
    NotConnected,
    /// The packet would exceed the server's Maximum Packet Size.
    TooLarge {
        /// What it would take, in bytes.
        size: usize,
        /// What the server takes, in bytes.
        limit: u32,
    },
    /// The version or the server does not have this.
    NotSupported(&'static str),
    /// That is no Topic Filter.
    Filter(TopicError),
    /// The command breaks a rule of the standard.
    Invalid(EncodeError),
    /// The command does not fit what the session is doing.
    Unexpected(&'static str),
}

impl From<mqtt_proto::CommandError> for CommandError {
    fn from(error: mqtt_proto::CommandError) -> CommandError {
        use mqtt_proto::CommandError as Proto;
        match error {
            Proto::Full => CommandError::Full,
            Proto::NotConnected => CommandError::Closed,
            Proto::TooLarge { size, limit } => CommandError::TooLarge { size, limit },
            Proto::NotSupported(what) => CommandError::NotSupported(what),
            Proto::Invalid(error) => CommandError::Invalid(error),
            Proto::Unexpected(what) => CommandError::Unexpected(what),
            _ => CommandError::Unexpected("the session does not take this now"),
        }
    }
}

impl From<TopicError> for CommandError {
    fn from(error: TopicError) -> CommandError {
        CommandError::Filter(error)
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::Full => f.write_str(
                "as many requests wait for an answer as the configuration permits: wait for some",
            ),
            CommandError::Closed => f.write_str(CLOSED),
            CommandError::NotConnected => f.write_str("there is no connection at present"),
            CommandError::TooLarge { size, limit } => too_large(f, *size, *limit),
            CommandError::NotSupported(what) => not_supported(f, what),
            CommandError::Filter(error) => error.fmt(f),
            CommandError::Invalid(error) => error.fmt(f),
            CommandError::Unexpected(what) => f.write_str(what),
        }
    }
}

impl StdError for CommandError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            CommandError::Filter(error) => Some(error),
            CommandError::Invalid(error) => Some(error),
            _ => None,
        }
    }
}

/// Tells why a command that was accepted came to nothing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TokenError {
    /// The server answered, and the answer is a failure.
    Rejected(Box<Rejected>),
    /// The session gave it up: the session was lost, the message expired, a new connection permits less,
    /// or, at QoS 0, the connection broke before the message was written.
    Failed(Failure),
    /// The message was never sent: a policy of [`Config::outbound`](crate::Config::outbound) dropped it.
    Dropped(Dropped),
    /// The server has lost the session and the subscription with it, and
    /// [`Config::resubscribe`](crate::Config::resubscribe) says not to subscribe anew: subscribe again.
    SubscriptionLost,
    /// The re-authentication came to nothing, for this reason: the server has ended the connection, the
    /// connection broke, or this side's authenticator failed.
    Reauthentication(Error),
    /// The client was closed before there was an answer. A message may have been delivered.
    Closed,
    /// The driver was dropped, and nothing will be sent any more. A message may have been delivered.
    DriverGone,
    /// The driver gave up with this error.
    Ended(Error),
}

/// An answer of the server that is a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejected {
    /// What the server said: one code for a message, one for each filter of a request.
    pub reasons: Vec<ReasonCode>,
    /// What else it said.
    pub properties: AckProperties,
}

impl TokenError {
    /// Returns the first failure that the server answered with, if it answered.
    pub fn reason(&self) -> Option<ReasonCode> {
        match self {
            TokenError::Rejected(answer) => {
                answer.reasons.iter().copied().find(|reason| reason.is_error())
            }
            TokenError::Ended(error) | TokenError::Reauthentication(error) => error.reason(),
            _ => None,
        }
    }

    /// Tells whether the same command may succeed later, on this client.
    pub fn is_retryable(&self) -> bool {
        match self {
            TokenError::Rejected(_) => matches!(
                self.reason(),
                Some(
                    ReasonCode::UNSPECIFIED_ERROR
                        | ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR
                        | ReasonCode::PACKET_IDENTIFIER_IN_USE
                        | ReasonCode::QUOTA_EXCEEDED
                )
            ),
            TokenError::Failed(failure) => {
                matches!(failure, Failure::SessionLost | Failure::NotWritten)
            }
            TokenError::SubscriptionLost => true,
            TokenError::Reauthentication(error) => error.is_retryable(),
            TokenError::Dropped(dropped) => *dropped != Dropped::Replaced,
            _ => false,
        }
    }

    /// Tells whether the server does not permit this to this client.
    pub fn is_auth(&self) -> bool {
        self.reason().is_some_and(is_auth)
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenError::Rejected(answer) => {
                f.write_str("the server rejected it: ")?;
                for (index, reason) in answer.reasons.iter().enumerate() {
                    write!(f, "{}{reason}", if index == 0 { "" } else { ", " })?;
                }
                let text = answer.properties.reason_string();
                text.map_or(Ok(()), |text| write!(f, " ({text})"))
            }
            TokenError::Failed(failure) => failure.fmt(f),
            TokenError::Dropped(dropped) => dropped.fmt(f),
            TokenError::SubscriptionLost => f.write_str(
                "the server has lost the session, and with it the subscription: subscribe again, or let \
                 `Config::resubscribe` do it",
            ),
            TokenError::Reauthentication(error) => write!(f, "the re-authentication failed: {error}"),
            TokenError::Closed => f.write_str("the client was closed before the server answered"),
            TokenError::DriverGone => f.write_str(
                "the driver was dropped before the server answered: keep it running in a task",
            ),
            TokenError::Ended(error) => write!(f, "the client has given up: {error}"),
        }
    }
}

impl StdError for TokenError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            TokenError::Failed(failure) => Some(failure),
            TokenError::Ended(error) | TokenError::Reauthentication(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_can_be_cloned_and_sent() {
        fn check<T: StdError + Clone + Send + Sync + 'static>() {}
        check::<Error>();
        check::<PublishError>();
        check::<CommandError>();
        check::<TokenError>();
        check::<RequestError>();
        check::<StoreError>();
    }

    #[test]
    fn a_connector_is_tried_again_unless_it_was_told_nonsense() {
        use io::ErrorKind as Kind;
        for (kind, again) in [
            (Kind::ConnectionRefused, true),
            (Kind::NotFound, true),
            (Kind::TimedOut, true),
            (Kind::Unsupported, true),
            (Kind::InvalidInput, false),
        ] {
            assert_eq!(Error::Connect(Arc::new(kind.into())).is_retryable(), again, "{kind}");
        }
    }
}
