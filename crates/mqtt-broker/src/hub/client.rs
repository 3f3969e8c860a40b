//! Sessions: how they begin, outlive connections, and end.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mqtt_proto::{
    Accept, CloseReason, ConnAck, Connect, Instant, QoS, ReasonCode, Server, Session, Text,
    TopicFilter, TopicName, Version, Will,
};

use super::Hub;
use super::deadlines::{ConnectionKey, Due};
use super::expiring::Expiring;
use super::notice::Notice;
use crate::hooks::ClientInfo;
use crate::subscriptions::ClientKey;

/// A session, connected or not.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: Text,
    /// The User Name of the connection that it began with.
    user_name: Option<Text>,
    /// The version of its last connection.
    pub(super) version: Version,
    pub(super) place: Place,
    pub(super) filters: HashSet<TopicFilter>,
    /// Retained messages that a subscription asked for and that the queue had no room for yet: their
    /// topics, because what is retained may change until then, and the oldest first.
    pub(super) backlog: VecDeque<Wanted>,
    /// How many messages its queue had no room for.
    pub(super) dropped: u64,
    /// What of its queue expires while it is away.
    pub(super) expiring: Expiring,
    /// What it counts for in [`Hub::queued_bytes`].
    pub(super) queued_bytes: usize,
    /// How long the session outlives its connection, in seconds; the highest number is for ever.
    expiry_interval: u32,
    /// When it ends, while it is not connected.
    expires: Option<Instant>,
    /// A Will that waits for its delay to pass.
    will: Option<(Instant, Box<Will>)>,
    /// What `deadlines` has for it.
    deadline: Option<Instant>,
}

/// A retained message that waits to be sent for a subscription.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) topic: TopicName,
    pub(super) qos: QoS,
    pub(super) identifier: Option<u32>,
}

/// Where the state of a session is.
#[derive(Debug)]
pub(super) enum Place {
    /// In this connection.
    Connected(ConnectionKey),
    /// Here, and it goes on to collect messages.
    Away(Box<Session<Server>>),
}

const FOR_EVER: u32 = u32::MAX;

impl Client {
    /// Notes how much its session holds now, also in the total of all of them.
    pub(super) fn recount(&mut self, total: &mut usize, held: usize) {
        *total = *total - self.queued_bytes + held;
        self.queued_bytes = held;
    }
}

impl Hub {
    pub(super) fn connect(&mut self, key: ConnectionKey, connect: Connect, now: Instant) {
        match connect.authentication_method {
            // Nobody is there who knows a method.
            Some(_) => {
                let connack = ConnAck::new(ReasonCode::BAD_AUTHENTICATION_METHOD);
                self.refuse(key, connack, now);
            }
            None => self.connect_with(key, connect, ConnAck::default(), now),
        }
    }

    /// Lets a client in, unless a limit forbids it; CONNACK says what is given, and the limits.
    pub(super) fn connect_with(
        &mut self,
        key: ConnectionKey,
        connect: Connect,
        connack: ConnAck,
        now: Instant,
    ) {
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let Some(version) = connection.session.as_ref().and_then(Session::version) else {
            return;
        };
        connection.version = version;
        match self.admit(key, version, connect, connack, now) {
            Ok(accept) => {
                let resumed = accept.state.is_some();
                let Some(session) = self.session(key) else { return };
                match session.accept(accept, now) {
                    Ok(()) => self.admitted(key, resumed),
                    Err(error) => {
                        // CONNACK cannot be sent, so there is nothing to say; and the client was never in.
                        session.handle_eof(now);
                        if let Some(connection) = self.connections.get_mut(&key) {
                            connection.info = None;
                            connection.unaccepted = error.state;
                        }
                    }
                }
            }
            Err(reason) => self.refuse(key, ConnAck::new(reason), now),
        }
    }

    /// A client is in: the hooks hear of it.
    fn admitted(&mut self, key: ConnectionKey, resumed: bool) {
        if let Some(client) = self.connections.get(&key).and_then(|it| it.info.clone()) {
            self.notices.push(Notice::Connected { client, resumed });
        }
    }

    /// Decides on a CONNECT, and makes the session or finds it.
    fn admit(
        &mut self,
        key: ConnectionKey,
        version: Version,
        connect: Connect,
        mut connack: ConnAck,
        now: Instant,
    ) -> Result<Accept, ReasonCode> {
        let id = if !connect.client_id.is_empty() {
            connect.client_id.into_owned()
        } else if version == Version::V31 || (version == Version::V311 && !connect.clean_start) {
            return Err(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
        } else {
            let id = self.assigned_id();
            connack.assigned_client_identifier = Some(id.clone());
            id
        };
        // Nobody is there to refuse it to when it is published.
        if connect.will.as_ref().is_some_and(|will| self.is_own_topic(will.topic.as_bytes())) {
            return Err(ReasonCode::NOT_AUTHORIZED);
        }
        if let Some(known) = self.ids.get(&id).copied() {
            // It may have come to its end at this very moment.
            self.client_due(known, now);
        }
        let known = self.ids.get(&id).copied();
        let user_name = connect.user_name.map(Text::into_owned);
        if self.config.sessions_belong_to_users
            && let Some(known) = known.and_then(|known| self.clients.get(&known))
            && known.user_name != user_name
        {
            return Err(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
        }
        if known.is_none() && self.clients.len() >= self.config.max_sessions {
            return Err(ReasonCode::QUOTA_EXCEEDED);
        }

        let maximum = self.config.max_session_expiry_interval;
        let wanted = match version {
            Version::V5 => connect.session_expiry_interval.unwrap_or(0),
            _ if connect.clean_start => 0,
            _ => FOR_EVER,
        };
        if wanted > maximum {
            connack.session_expiry_interval = Some(maximum);
        }
        if let Some(maximum) = self.config.max_keep_alive
            && (connect.keep_alive == 0 || connect.keep_alive > maximum)
        {
            connack.server_keep_alive = Some(maximum);
        }

        // The session leaves it out unless the client has asked for it.
        connack.response_information = self.response_information(&id);

        let mut state = None;
        if let Some(known) = known {
            if let Some(Client { place: Place::Connected(older), .. }) = self.clients.get(&known) {
                // Its Will is published now, or waits for its delay; see below.
                self.take_over(*older, ReasonCode::SESSION_TAKEN_OVER, now);
            }
            if connect.clean_start {
                self.end(known, now);
            }
        }
        let client = match self.ids.get(&id).copied() {
            Some(client) => client,
            None => self.begin(id.clone(), user_name.clone(), key),
        };
        if let Some(this) = self.clients.get_mut(&client) {
            // A Will that still waits is not published: the session is connected again in time.
            this.will = None;
            this.expires = None;
            this.version = version;
            this.expiry_interval = wanted.min(maximum);
            let place = std::mem::replace(&mut this.place, Place::Connected(key));
            this.expiring = Expiring::default();
            if let Place::Away(session) = place {
                state = Some(session.into_state());
            }
            self.deadlines.set(Due::Client(client), &mut this.deadline, None);
        }
        let has_hooks = self.config.hooks.is_some();
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.client = Some(client);
            if has_hooks {
                let peer = Arc::clone(&connection.peer);
                connection.info = Some(Arc::new(ClientInfo::new(id, user_name, version, peer)));
            }
        }
        Ok(Accept { connack, state })
    }

    fn begin(&mut self, id: Text, user_name: Option<Text>, connection: ConnectionKey) -> ClientKey {
        let key = ClientKey(self.next_key());
        let client = Client {
            id: id.clone(),
            user_name,
            version: Version::V311,
            place: Place::Connected(connection),
            filters: HashSet::new(),
            backlog: VecDeque::new(),
            dropped: 0,
            expiring: Expiring::default(),
            queued_bytes: 0,
            expiry_interval: 0,
            expires: None,
            will: None,
            deadline: None,
        };
        self.clients.insert(key, client);
        self.ids.insert(id, key);
        key
    }

    pub(super) fn closed(
        &mut self,
        key: ConnectionKey,
        reason: &CloseReason,
        will: Option<Box<Will>>,
        now: Instant,
    ) {
        let Some(session) = self.ended(key, now) else {
            return;
        };
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        let (client, unaccepted) = (connection.client, connection.unaccepted.take());
        if let Some(client) = connection.info.clone() {
            self.notices.push(Notice::Disconnected { client, reason: reason.clone() });
        }
        let Some((key, client)) = client.and_then(|key| Some((key, self.clients.get_mut(&key)?)))
        else {
            return;
        };
        if let CloseReason::Disconnected(packet) = reason
            && let Some(interval) = packet.session_expiry_interval
        {
            client.expiry_interval = interval.min(self.config.max_session_expiry_interval);
        }
        let state = unaccepted.map_or_else(|| session.into_state(), |state| *state);
        // A new one around the state: the old one remembers CONNECT, and so the block it came with.
        let session = Session::with_state(self.config.session.clone(), state);
        client.recount(&mut self.queued_bytes, session.stats().held_bytes);
        client.place = Place::Away(Box::new(session));
        self.stats.dropped_full += client.backlog.len() as u64;
        client.backlog = VecDeque::new();
        client.expires = match client.expiry_interval {
            FOR_EVER => None,
            seconds => Some(now + Duration::from_secs(seconds.into())),
        };
        client.will = will.map(|will| {
            let delay = will.delay_interval.unwrap_or(0);
            (now + Duration::from_secs(delay.into()), will)
        });
        self.client_due(key, now);
    }

    /// Publishes the Will and ends the session if it is time, and waits for what is left.
    pub(super) fn client_due(&mut self, key: ClientKey, now: Instant) {
        let Some(client) = self.clients.get_mut(&key) else {
            return;
        };
        self.deadlines.set(Due::Client(key), &mut client.deadline, None);
        if client.expires.is_some_and(|expires| expires <= now) {
            return self.end(key, now);
        }
        if let Some((_, will)) = client.will.take_if(|(due, _)| *due <= now) {
            self.publish_will(key, *will, now);
        }
        if let Some(client) = self.clients.get_mut(&key) {
            let due = client.will.as_ref().map(|(due, _)| *due);
            let next = due.into_iter().chain(client.expires).min();
            self.deadlines.set(Due::Client(key), &mut client.deadline, next);
        }
    }

    /// Ends a session that is not connected: the Will does not wait any longer then.
    pub(super) fn end(&mut self, key: ClientKey, now: Instant) {
        let Some(mut client) = self.clients.remove(&key) else {
            return;
        };
        self.ids.remove(&client.id);
        self.queued_bytes -= client.queued_bytes;
        self.deadlines.set(Due::Client(key), &mut client.deadline, None);
        for filter in &client.filters {
            self.subscriptions.remove(filter, key);
        }
        if let Some((_, will)) = client.will {
            self.publish_will(key, *will, now);
        }
    }

    fn publish_will(&mut self, key: ClientKey, mut will: Will, now: Instant) {
        // Who is about to be cut off anyway need not hear who else is.
        if self.stop_by.is_none() {
            // It may wait in queues or be retained, and must not keep the block of CONNECT there.
            will.topic = will.topic.into_owned();
            will.payload = Bytes::copy_from_slice(&will.payload);
            self.publish(Some(key), &will.into_publish(), now);
        }
    }
}
