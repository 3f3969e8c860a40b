//! What a client tells about itself.

use std::sync::Arc;
use std::time::Duration;

use mqtt_proto::{ConnAck, ReasonCode, TopicFilter};

use crate::config::Dropped;
use crate::error::Error;

mod round_trips;

pub use round_trips::RoundTrips;

/// Where a client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// The driver makes a connection, or has not been polled yet.
    Connecting,
    /// The server has accepted the connection.
    Connected,
    /// The driver waits before it tries again.
    Waiting,
    /// The driver ends the connection.
    Closing,
    /// The driver has ended, or was dropped.
    Ended,
}

/// A connection that the server has accepted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Connected {
    /// Whether the server goes on with the session of this client.
    pub resumed: bool,
    /// The server's answer, with its limits.
    pub connack: Arc<ConnAck>,
}

/// What a client tells about itself at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Status {
    /// Where it stands.
    pub phase: Phase,
    /// The present connection.
    pub connected: Option<Connected>,
    /// The name of the server that this connection, or the last attempt, was directed to, by a redirect or by
    /// the hook [`before_connect`](crate::Driver::before_connect); `None`: the connector chose.
    pub server: Option<Arc<str>>,
    /// Why the last connection ended or could not be made.
    pub last_error: Option<Error>,
    /// How many connections the server has accepted.
    pub connections: u64,
    /// How many attempts have failed in a row.
    pub failed_attempts: u32,
    /// How many messages were dropped because nobody took them in time, on all streams: see
    /// [`Overflow`](crate::Overflow).
    pub lagged: u64,
    /// How many messages wait to be taken, on all streams.
    pub inbound: usize,
    /// The filters that the server refused when they were subscribed to anew after it had lost the
    /// session; they are tried again on the next connection.
    pub not_resubscribed: Arc<[(TopicFilter, ReasonCode)]>,
}

/// Something that happened to the connection; see [`Client::events`](crate::Client::events).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The server has accepted a connection.
    Connected(Connected),
    /// A connection that the server had accepted is lost.
    Disconnected {
        /// Why.
        error: Error,
        /// How long the driver waits before it tries again; `None`: it ends.
        retry_in: Option<Duration>,
    },
    /// A connection could not be made.
    AttemptFailed {
        /// Why.
        error: Error,
        /// How many attempts have failed in a row, this one included.
        failed: u32,
        /// How long the driver waits before it tries again; `None`: it ends.
        retry_in: Option<Duration>,
    },
    /// The server has sent the client to another one, and it goes there: see
    /// [`Redirects`](crate::Redirects). It follows on the `Disconnected` or `AttemptFailed` that brought it.
    Redirected {
        /// The servers that are tried, in turn.
        servers: Arc<[Arc<str>]>,
        /// Whether this holds from now on (0x9D Server moved), or for one connection (0x9C Use another
        /// server).
        permanent: bool,
    },
    /// The server has answered for filters that were subscribed to anew; there may be several of these for
    /// one connection.
    Resubscribed {
        /// What it said to each: the granted QoS, or an error.
        results: Arc<[(TopicFilter, ReasonCode)]>,
    },
}

/// What a client counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// How many messages were accepted and never sent, until now.
    pub queued: usize,
    /// How many messages were sent and have no final answer yet.
    pub in_flight: usize,
    /// The bytes of both.
    pub held_bytes: usize,
    /// How many SUBSCRIBE and UNSUBSCRIBE have no answer yet.
    pub requests: usize,
    /// How many messages the server has taken; those of QoS 0 count when they are
    /// written to the transport.
    pub acked: u64,
    /// How many messages the server has rejected.
    pub rejected: u64,
    /// How many messages were dropped unsent by the policies of [`Config::outbound`](crate::Config::outbound).
    pub dropped: Drops,
    /// How many messages of QoS 0 were lost with a connection before the transport had taken them.
    pub unwritten: u64,
    /// How many messages that came in were dropped because nobody took them.
    pub lagged: u64,
    /// How many bytes were read from transports.
    pub bytes_in: u64,
    /// How many bytes were written to transports.
    pub bytes_out: u64,
    /// How many connections the server has accepted.
    pub connections: u64,
    /// How often a connection was lost or could not be made.
    pub losses: Losses,
    /// How long the server took to answer messages.
    pub round_trips: RoundTrips,
    /// What became of requests and responses.
    pub calls: Calls,
}

/// What became of requests and responses, on both sides: see [`Client::request`](crate::Client::request) and
/// [`Client::respond`](crate::Client::respond).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Calls {
    /// How many requests wait for a response now.
    pub awaited: usize,
    /// How many responses came in time.
    pub responses: u64,
    /// How many requests had no response in time.
    pub timed_out: u64,
    /// How many responses came when nobody waited any more: the request had timed out, or its future had
    /// been dropped. Dropped.
    pub late: u64,
    /// How many responses came to a request that had one, as far as that is remembered: for the last 128.
    /// What is not remembered counts as late. Dropped.
    pub duplicates: u64,
    /// How many messages came to a response topic that answer no request of this client. Dropped.
    pub strays: u64,
    /// How many responses a [`Responder`](crate::Responder) of this client has given to the client to send.
    pub answered: u64,
    /// How many messages a responder took that name no response topic, or none that it may answer to.
    pub unanswerable: u64,
    /// How many responses the client did not accept: they break a rule, or exceed what the server takes.
    pub unsent: u64,
}

/// How many messages were dropped unsent, by the reason; see [`Dropped`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drops {
    /// A newer message needed the room.
    pub oldest: u64,
    /// There was no room.
    pub newest: u64,
    /// A newer message with the same topic took the place.
    pub replaced: u64,
    /// The connection was lost.
    pub offline: u64,
}

impl Drops {
    /// Returns how many these are together.
    pub const fn total(&self) -> u64 {
        let Drops { oldest, newest, replaced, offline } = self;
        *oldest + *newest + *replaced + *offline
    }

    pub(crate) const fn count(&mut self, dropped: Dropped) {
        *match dropped {
            Dropped::Oldest => &mut self.oldest,
            Dropped::Newest => &mut self.newest,
            Dropped::Replaced => &mut self.replaced,
            Dropped::Offline => &mut self.offline,
        } += 1;
    }
}

/// How often a connection was lost or could not be made, by its cause; see [`Error`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Losses {
    /// The hook before the attempt failed.
    pub hook: u64,
    /// The enhanced authentication failed on this side.
    pub authentication: u64,
    /// There was no transport: the connector failed, or took too long.
    pub connect: u64,
    /// The server refused.
    pub refused: u64,
    /// The server sent DISCONNECT.
    pub disconnected: u64,
    /// The transport broke or ended.
    pub transport: u64,
    /// The server did not answer in time.
    pub timeout: u64,
    /// The server broke the protocol, or does not speak it.
    pub protocol: u64,
    /// Anything else.
    pub other: u64,
}

impl Losses {
    /// Returns how many these are together.
    pub fn total(&self) -> u64 {
        let Losses {
            hook,
            authentication,
            connect,
            refused,
            disconnected,
            transport,
            timeout,
            protocol,
            other,
        } = self;
        let known = hook + authentication + connect + refused + disconnected;
        known + transport + timeout + protocol + other
    }

    pub(crate) fn count(&mut self, error: &Error) {
        *match error {
            Error::Hook(_) => &mut self.hook,
            Error::Authentication { .. } => &mut self.authentication,
            Error::Connect(_) | Error::ConnectTimeout { .. } => &mut self.connect,
            Error::Refused(_) => &mut self.refused,
            Error::Disconnected(_) => &mut self.disconnected,
            Error::Io(_) | Error::Eof { .. } => &mut self.transport,
            Error::Timeout(_) => &mut self.timeout,
            Error::NotMqtt(_) | Error::Protocol(_) => &mut self.protocol,
            Error::Config(_) | Error::Store(_) | Error::Redirect(_) | Error::Other(_) => {
                &mut self.other
            }
        } += 1;
    }
}

/// What is counted as it happens; the rest of [`Stats`] is known anyway.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) acked: u64,
    pub(crate) rejected: u64,
    pub(crate) dropped: Drops,
    pub(crate) unwritten: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) losses: Losses,
    /// From the first one on: many clients publish nothing.
    pub(crate) round_trips: Option<Box<RoundTrips>>,
}
