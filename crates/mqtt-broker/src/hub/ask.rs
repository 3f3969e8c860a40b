//! What the hooks have to decide, and what becomes of their answers.
//!
//! Hooks are the application's code, so none is called under the lock: a turn ends with a question, the
//! connection puts it to the hooks, brings the answer back, and takes its next turn.

use std::sync::Arc;

use bytes::Bytes;
use mqtt_proto::{
    Auth, ConnAck, Connect, Disconnect, Event, Instant, Message, ReasonCode, RequestId, Session,
    Subscribe, Text, UserProperties, Version,
};

use super::deadlines::ConnectionKey;
use super::{Connection, Hub};
use crate::hooks::{ClientInfo, Connecting};

/// A question to the hooks.
#[derive(Debug)]
pub(crate) enum Ask {
    /// Whether a client may connect, or go on after it has authenticated again.
    Authenticate(Box<Connecting>),
    /// What follows on this answer of the client to a challenge.
    Answered(Option<Bytes>),
    /// Whether this may be published.
    Publish(Arc<ClientInfo>, Message),
    /// Which of these filters may be subscribed to.
    Subscribe(Arc<ClientInfo>, RequestId, Box<Subscribe>),
}

/// What the hooks say to an authentication; an exchange that goes on stays with the connection.
#[derive(Debug)]
pub(crate) enum Outcome {
    Accept { authentication_data: Option<Bytes>, user_properties: UserProperties },
    Refuse(Box<ConnAck>),
    Challenge { authentication_data: Option<Bytes> },
}

impl Outcome {
    pub(crate) fn refuse(reason: ReasonCode) -> Outcome {
        Outcome::Refuse(Box::new(ConnAck::new(reason)))
    }
}

/// How far the authentication of a connection has got.
#[derive(Debug, Default)]
pub(super) struct Authentication {
    pending: Option<Pending>,
    /// By when the hooks have to answer.
    decide_by: Option<Instant>,
}

#[derive(Debug)]
enum Pending {
    Connect(Box<Connect>),
    /// The client is connected, and authenticates again with that method.
    Again(Option<Text>),
}

impl Authentication {
    pub(super) const fn decide_by(&self) -> Option<Instant> {
        self.decide_by
    }
}

impl Hub {
    /// Makes a question of an event that the hooks have to decide about; `None` if it came to nothing.
    ///
    /// The event comes back if it is none of their business.
    pub(super) fn ask(
        &mut self,
        key: ConnectionKey,
        event: Event,
        now: Instant,
    ) -> Result<Option<Ask>, Event> {
        match event {
            Event::Connect(connect) => {
                let pending = Pending::Connect(connect.clone());
                Ok(self.ask_for_authentication(key, *connect, pending, now))
            }
            Event::Auth(auth) => Ok(self.ask_about_step(key, *auth, now)),
            Event::Message(message) => {
                Ok(self.info(key).map(|client| Ask::Publish(client, message)))
            }
            Event::Subscribe(request, subscribe) => {
                Ok(self.info(key).map(|client| Ask::Subscribe(client, request, subscribe)))
            }
            event => Err(event),
        }
    }

    fn info(&self, key: ConnectionKey) -> Option<Arc<ClientInfo>> {
        self.connections.get(&key)?.info.clone()
    }

    fn ask_for_authentication(
        &mut self,
        key: ConnectionKey,
        connect: Connect,
        pending: Pending,
        now: Instant,
    ) -> Option<Ask> {
        let by = now + self.config.session.connect_timeout;
        let connection = self.connections.get_mut(&key)?;
        let version = connection.session.as_ref().and_then(Session::version);
        let again = matches!(pending, Pending::Again(_));
        connection.authentication = Authentication { pending: Some(pending), decide_by: Some(by) };
        let peer = Arc::clone(&connection.peer);
        let version = version.unwrap_or(Version::V5);
        Some(Ask::Authenticate(Box::new(Connecting { connect, version, peer, again })))
    }

    /// A client has sent AUTH: the answer to a challenge, or the beginning of another authentication.
    fn ask_about_step(&mut self, key: ConnectionKey, auth: Auth, now: Instant) -> Option<Ask> {
        let by = now + self.config.session.connect_timeout;
        let info = self.info(key);
        let Authentication { pending, decide_by } =
            &mut self.connections.get_mut(&key)?.authentication;
        let expected = match auth.reason {
            ReasonCode::RE_AUTHENTICATE => pending.is_none(),
            // A challenge is open: the hooks are not thinking about an earlier step.
            _ => pending.is_some() && decide_by.is_none(),
        };
        if !expected {
            self.end_session(key, ReasonCode::PROTOCOL_ERROR, now);
            return None;
        }
        if pending.is_some() {
            *decide_by = Some(by);
            return Some(Ask::Answered(auth.authentication_data));
        }
        let connect = Connect {
            client_id: info.as_ref().map(|info| info.client_id.clone()).unwrap_or_default(),
            user_name: info.and_then(|info| info.user_name.clone()),
            authentication_method: auth.authentication_method.clone(),
            authentication_data: auth.authentication_data,
            ..Connect::default()
        };
        self.ask_for_authentication(key, connect, Pending::Again(auth.authentication_method), now)
    }

    /// The hooks have taken too long.
    pub(super) fn give_up_deciding(&mut self, key: ConnectionKey, now: Instant) {
        let due = |it: &Connection| it.authentication.decide_by.is_some_and(|by| by <= now);
        if self.config.hooks.is_some() && self.connections.get(&key).is_some_and(due) {
            self.authenticated(key, Outcome::refuse(ReasonCode::SERVER_BUSY), now);
        }
    }

    /// Does what the hooks have said to an authentication.
    pub(crate) fn authenticated(&mut self, key: ConnectionKey, outcome: Outcome, now: Instant) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        connection.authentication.decide_by = None;
        let pending = match &outcome {
            Outcome::Challenge { authentication_data } => {
                let method = match &connection.authentication.pending {
                    Some(Pending::Connect(connect)) => connect.authentication_method.clone(),
                    Some(Pending::Again(method)) => method.clone(),
                    None => return,
                };
                let data = authentication_data.clone();
                let step = step(ReasonCode::CONTINUE_AUTHENTICATION, method, data);
                return self.send_step(key, step, now);
            }
            _ => connection.authentication.pending.take(),
        };
        match (pending, outcome) {
            (
                Some(Pending::Connect(connect)),
                Outcome::Accept { authentication_data, user_properties },
            ) => {
                let mut connack = ConnAck { user_properties, ..ConnAck::default() };
                if connect.authentication_method.is_some() {
                    connack.authentication_method.clone_from(&connect.authentication_method);
                    connack.authentication_data = authentication_data;
                }
                self.connect_with(key, *connect, connack, now);
            }
            (Some(Pending::Again(method)), Outcome::Accept { authentication_data, .. }) => {
                let step = step(ReasonCode::SUCCESS, method, authentication_data);
                self.send_step(key, step, now);
            }
            (Some(Pending::Connect(_)), Outcome::Refuse(connack)) => {
                self.refuse(key, *connack, now)
            }
            (Some(Pending::Again(_)), Outcome::Refuse(connack)) => {
                self.end_session(key, connack.reason, now);
            }
            _ => {}
        }
    }

    fn send_step(&mut self, key: ConnectionKey, auth: Auth, now: Instant) {
        if let Some(session) = self.session(key)
            && session.authenticate(auth, now).is_err()
        {
            // Too large for the client, or the connection is about to end: it cannot be sent.
            session.handle_eof(now);
        }
    }

    /// Refuses a client that wants to connect.
    pub(super) fn refuse(&mut self, key: ConnectionKey, mut connack: ConnAck, now: Instant) {
        let Some(session) = self.session(key) else { return };
        // MQTT 3.x has one return code for all that may be better later.
        let later = matches!(
            connack.reason,
            ReasonCode::SERVER_BUSY
                | ReasonCode::QUOTA_EXCEEDED
                | ReasonCode::CONNECTION_RATE_EXCEEDED
        );
        if later && session.version() != Some(Version::V5) {
            connack.reason = ReasonCode::SERVER_UNAVAILABLE;
        }
        if session.refuse(connack, now).is_err() {
            // It is no refusal, or cannot be encoded: the client must not be let in all the same.
            session.handle_eof(now);
        }
    }

    /// Ends the connection of a client that was let in, with DISCONNECT in MQTT 5.0.
    pub(super) fn end_session(&mut self, key: ConnectionKey, reason: ReasonCode, now: Instant) {
        if let Some(session) = self.session(key)
            && session.disconnect(Disconnect::new(reason), now).is_err()
        {
            session.handle_eof(now);
        }
    }

    /// Passes a message on that the hooks have permitted, and returns to how many sessions it went; one
    /// that they have not goes to nobody.
    pub(crate) fn decided_message(
        &mut self,
        key: ConnectionKey,
        message: &Message,
        permitted: Result<(), ReasonCode>,
        now: Instant,
    ) -> usize {
        let Err(reason) = permitted else { return self.message(key, message, now) };
        self.refuse_message(key, message, at_least_an_error(reason))
    }

    /// Subscribes to the filters of a request that the hooks have permitted.
    pub(crate) fn decided_subscribe(
        &mut self,
        key: ConnectionKey,
        request: RequestId,
        subscribe: Subscribe,
        refused: &[Result<(), ReasonCode>],
        now: Instant,
    ) {
        let refused = refused.iter().map(|it| it.err().map(at_least_an_error)).collect();
        self.subscribe(key, request, subscribe, refused, now);
    }
}

/// A hook that refuses has said no, whatever code it says it with.
fn at_least_an_error(reason: ReasonCode) -> ReasonCode {
    if reason.is_error() { reason } else { ReasonCode::UNSPECIFIED_ERROR }
}

fn step(reason: ReasonCode, method: Option<Text>, data: Option<Bytes>) -> Auth {
    Auth { reason, authentication_method: method, authentication_data: data, ..Auth::default() }
}
