//! What becomes of messages on their way out that cannot be sent at once.

use std::fmt;

use mqtt_proto::QoS;

/// What becomes of messages that cannot be sent at once: because there is no connection, because the server
/// has not answered earlier ones and its Receive Maximum is used up, or because the transport takes no more.
///
/// They wait in line, in the order of the calls, within the [`bounds`](mqtt_proto::ClientConfig::bounds) that
/// `config.session` has, by messages and by bytes. The bounds count every message that has no outcome yet,
/// whether it waits or was sent. A message of QoS 0 that may leave at once goes straight to the transport and
/// counts nowhere.
///
/// Only a message that was never sent is ever dropped. Its token resolves to
/// [`TokenError::Dropped`](crate::TokenError::Dropped) with the reason, and
/// [`Stats::dropped`](crate::Stats::dropped) counts it.
///
/// ```
/// use mqtt_async::{Config, Offline, OutboundOverflow, Version};
///
/// // Readings: of each sensor the newest is enough, and while there is no connection none is kept.
/// let mut config = Config::new(Version::V5);
/// config.session.bounds.messages = 100;
/// config.outbound.overflow = OutboundOverflow::LatestPerTopic;
/// config.outbound.offline = Offline::None;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outbound {
    /// What happens at a bound; default [`OutboundOverflow::Reject`].
    pub overflow: OutboundOverflow,
    /// Which messages wait for a connection; default [`Offline::All`].
    pub offline: Offline,
}

/// What happens to a message that comes when a bound is reached.
///
/// With `DropOldest` and `LatestPerTopic`, a message is always taken when no other waits, even if those that were
/// sent fill the bounds: they are held until the server answers, and the newest one is what counts. At most as many
/// are sent without an answer as may be held, so that one waits beside them, and whatever size these have.
///
/// The policies that drop rule [`publish`](crate::Client::publish) and [`send`](crate::Client::send) as well as
/// the ways that wait, which then never have to. How a [request](crate::Client::request) is made they do not rule:
/// it has [bounds of its own](crate::Requests). Its message then waits in line as others do, and if it is dropped
/// there, the request ends with [`NotDelivered`](crate::RequestError::NotDelivered).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OutboundOverflow {
    /// [`publish`](crate::Client::publish) and [`send`](crate::Client::send) hand it back, as
    /// [`PublishError::Full`](crate::PublishError::Full).
    ///
    /// To wait instead: [`publish_wait`](crate::Client::publish_wait) and
    /// [`send_wait`](crate::Client::send_wait) do, or [`ready`](crate::Client::ready) before another try.
    #[default]
    Reject,
    /// The message that has waited longest is dropped, or several, until there is room.
    DropOldest,
    /// It is dropped itself: there is a token, which says so.
    DropNewest,
    /// At any time, it takes the place in line of the message with the same topic that waits; at the bound,
    /// what has waited longest is dropped. For readings of which only the present one counts.
    ///
    /// With a message that was sent and has no answer yet, nothing happens. All messages go through the line
    /// here, so that those of one turn of the driver replace each other.
    LatestPerTopic,
}

/// Which messages wait while the client is offline.
///
/// It is offline as long as there is no connection that the server has accepted: from the beginning, and from
/// the moment in which the loss of a connection is noticed. What may not wait then is handed back at once, as
/// [`PublishError::Offline`](crate::PublishError::Offline), also by the ways that wait for room:
/// [`connected`](crate::Client::connected) waits for a connection.
///
/// When a connection is lost, messages that may not wait and were never sent are dropped. What was sent stays
/// in the session, which answers for it: QoS 1 and 2 are sent again, and QoS 0 is never sent twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Offline {
    /// All.
    #[default]
    All,
    /// Those of QoS 1 and 2.
    Acknowledged,
    /// None.
    None,
}

impl OutboundOverflow {
    /// Tells whether a message may wait beside those that were sent, whatever the bounds say.
    pub(crate) const fn takes_one_more(self) -> bool {
        matches!(self, OutboundOverflow::DropOldest | OutboundOverflow::LatestPerTopic)
    }
}

impl Offline {
    pub(crate) fn admits(self, qos: QoS) -> bool {
        match self {
            Offline::All => true,
            Offline::Acknowledged => qos != QoS::AtMostOnce,
            Offline::None => false,
        }
    }
}

/// Why a message was dropped by the policies that [`Outbound`] has. It was never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dropped {
    /// A newer message needed its room.
    Oldest,
    /// There was no room for it.
    Newest,
    /// A newer message with the same topic took its place.
    Replaced,
    /// The connection was lost before it could be sent, and it may not wait for another one.
    Offline,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dropped::Oldest => "the message was dropped unsent: a newer one needed its room",
            Dropped::Newest => "the message was dropped unsent: there was no room for it",
            Dropped::Replaced => {
                "the message was dropped unsent: a newer one with the same topic took its place"
            }
            Dropped::Offline => {
                "the message was dropped unsent: the connection was lost, and it may not wait for another"
            }
        })
    }
}
