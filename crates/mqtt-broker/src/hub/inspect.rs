//! What the application sees of sessions and retained messages, and what it may end.

use mqtt_proto::{Instant, Publish, ReasonCode, Text, TopicFilter, Version};

use super::Hub;
use super::client::Place;
use super::deadlines::ConnectionKey;
use crate::subscriptions::ClientKey;

/// A session of the broker, as it is at one moment; see [`Broker::sessions`](crate::Broker::sessions).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The Client Identifier.
    pub client_id: Text,
    /// The version of the last connection.
    pub version: Version,
    /// Whether the client is connected now.
    pub connected: bool,
    /// What it has subscribed to, in no particular order.
    pub subscriptions: Vec<TopicFilter>,
    /// How many messages wait to be sent to it.
    pub queued: usize,
    /// How many messages were sent to it and are not acknowledged.
    pub in_flight: usize,
    /// The bytes of both.
    pub held_bytes: usize,
    /// How many messages were dropped because its queue was full; see
    /// [`QueueOverflow`](crate::QueueOverflow).
    pub dropped: u64,
}

impl Hub {
    pub(crate) fn sessions(&self) -> Vec<SessionInfo> {
        let mut sessions: Vec<_> = self.ids.values().filter_map(|key| self.info_of(*key)).collect();
        sessions
            .sort_unstable_by(|one, other| one.client_id.as_str().cmp(other.client_id.as_str()));
        sessions
    }

    fn info_of(&self, key: ClientKey) -> Option<SessionInfo> {
        let client = self.clients.get(&key)?;
        let (session, connected) = match &client.place {
            Place::Connected(connection) => {
                (self.connections.get(connection)?.session.as_ref(), true)
            }
            Place::Away(session) => (Some(&**session), false),
        };
        let stats = session.map(|session| session.stats()).unwrap_or_default();
        Some(SessionInfo {
            client_id: client.id.clone(),
            version: client.version,
            connected,
            subscriptions: client.filters.iter().cloned().collect(),
            queued: stats.queued,
            in_flight: stats.in_flight,
            held_bytes: stats.held_bytes,
            dropped: client.dropped,
        })
    }

    pub(crate) fn retained(&self, filter: &TopicFilter, now: Instant) -> Vec<Publish> {
        let topics = self.retained.matching(filter);
        topics.filter_map(|topic| self.retained.get(&topic, now)).collect()
    }

    /// Ends the connection of a client; tells whether it had one.
    pub(crate) fn disconnect(&mut self, client_id: &str, reason: ReasonCode, now: Instant) -> bool {
        let Some(key) = self.connection_of(client_id) else { return false };
        self.end_session(key, reason, now);
        if let Some(connection) = self.connections.get_mut(&key) {
            self.wakers.extend(connection.waker.take());
        }
        true
    }

    /// Forgets the session of a client, and ends its connection; tells whether there was one.
    ///
    /// A Will is published, as if the session had come to its end.
    pub(crate) fn remove_session(&mut self, client_id: &str, now: Instant) -> bool {
        let Some(key) = self.session_of(client_id) else { return false };
        if let Some(connection) = self.connection_of(client_id) {
            self.take_over(connection, ReasonCode::ADMINISTRATIVE_ACTION, now);
        }
        self.end(key, now);
        true
    }

    fn session_of(&self, client_id: &str) -> Option<ClientKey> {
        self.ids.get(&Text::new(client_id).ok()?).copied()
    }

    fn connection_of(&self, client_id: &str) -> Option<ConnectionKey> {
        match self.clients.get(&self.session_of(client_id)?)?.place {
            Place::Connected(connection) => Some(connection),
            Place::Away(_) => None,
        }
    }
}
