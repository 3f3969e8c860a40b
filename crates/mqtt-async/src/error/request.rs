//! Why a request has no response.

use std::error::Error as StdError;
use std::fmt;

use mqtt_proto::Publish;

use super::{CommandError, PublishError, TokenError};

/// Tells why a request has no response; see [`Client::request`](crate::Client::request).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RequestError {
    /// No response came in time. The request may have been delivered, and acted upon.
    TimedOut,
    /// The server says that nobody has subscribed to the topic (reason code 0x10): there is nobody who
    /// could respond. MQTT 5.0, QoS 1 and 2, and not every server says it.
    NoMatchingSubscribers,
    /// As many requests are outstanding as [`Config::requests`](crate::Config::requests) permits; here is
    /// the message. It was not sent.
    Full(Box<Publish>),
    /// The message cannot be a request. It was not sent.
    Unexpected(&'static str),
    /// The client did not accept the message. It was not sent.
    NotAccepted(PublishError),
    /// The client did not accept the subscription to the response topic. The request was not sent.
    NotSubscribed(CommandError),
    /// The server refused the subscription to the response topic, or it has ended.
    Refused(TokenError),
    /// The message was accepted and came to nothing: the server rejected it, it was dropped, or the session
    /// was lost.
    NotDelivered(TokenError),
    /// The client has ended. The request may have been delivered.
    Ended(TokenError),
}

impl RequestError {
    /// Tells whether the same request may succeed later, on this client.
    ///
    /// After [`TimedOut`](RequestError::TimedOut) it may be served twice.
    pub fn is_retryable(&self) -> bool {
        match self {
            RequestError::TimedOut
            | RequestError::NoMatchingSubscribers
            | RequestError::Full(_)
            | RequestError::NotAccepted(PublishError::Full(_))
            | RequestError::NotSubscribed(CommandError::Full) => true,
            RequestError::Refused(error) | RequestError::NotDelivered(error) => {
                error.is_retryable()
            }
            RequestError::Unexpected(_)
            | RequestError::NotAccepted(_)
            | RequestError::NotSubscribed(_)
            | RequestError::Ended(_) => false,
        }
    }

    /// Tells whether the server does not permit the request, or the response topic, to this client.
    pub fn is_auth(&self) -> bool {
        match self {
            RequestError::Refused(error)
            | RequestError::NotDelivered(error)
            | RequestError::Ended(error) => error.is_auth(),
            _ => false,
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::TimedOut => f.write_str("no response came in time"),
            RequestError::NoMatchingSubscribers => {
                f.write_str("nobody who could respond has subscribed to the topic of the request")
            }
            RequestError::Full(_) => f.write_str(
                "as many requests wait for a response as the configuration permits: wait for some",
            ),
            RequestError::Unexpected(what) => f.write_str(what),
            RequestError::NotAccepted(error) => error.fmt(f),
            RequestError::NotSubscribed(error) => {
                write!(f, "cannot subscribe to the response topic: {error}")
            }
            RequestError::Refused(error) => {
                write!(f, "there is no subscription to the response topic: {error}")
            }
            RequestError::NotDelivered(error) => write!(f, "the request came to nothing: {error}"),
            RequestError::Ended(error) => error.fmt(f),
        }
    }
}

impl StdError for RequestError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            RequestError::NotAccepted(error) => Some(error),
            RequestError::NotSubscribed(error) => Some(error),
            RequestError::Refused(error)
            | RequestError::NotDelivered(error)
            | RequestError::Ended(error) => Some(error),
            _ => None,
        }
    }
}
