//! What a client tells about itself.

use std::sync::Arc;

use mqtt_proto::{ConnAck, ReasonCode, TopicFilter};

use crate::error::Error;

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
    /// Why the last connection ended or could not be made.
    pub last_error: Option<Error>,
    /// How many connections the server has accepted.
    pub connections: u64,
    /// How many attempts have failed in a row.
    pub failed_attempts: u32,
    /// How many messages of QoS 0 were dropped because nobody took them.
    pub lagged: u64,
    /// How many messages wait to be taken.
    pub inbound: usize,
    /// The filters that the server refused when they were subscribed to anew after it had lost the
    /// session; they are tried again on the next connection.
    pub not_resubscribed: Arc<[(TopicFilter, ReasonCode)]>,
}
