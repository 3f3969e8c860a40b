//! What all connections share: sessions, subscriptions and retained messages.
//!
//! One mutex stands around it. A connection locks it, feeds its session and takes what comes out,
//! unlocks it, wakes those that got something to do, and only then reads and writes.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::mem;
use std::sync::Arc;
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use mqtt_proto::{
    ConnAck, Disconnect, Event, Instant, Packet, ReasonCode, Server, Session, SessionState, Text,
    TxBuf, Version, codec,
};

use crate::config::BrokerConfig;
use crate::hooks::{ClientInfo, Hooks, Peer};
use crate::retained::Retained;
use crate::subscriptions::{ClientKey, Subscriptions};

mod ask;
mod client;
mod deadlines;
mod expiring;
mod inspect;
mod notice;
mod route;
mod shared;
mod stats;
mod sys;

use ask::Authentication;
use client::Client;
use deadlines::{Deadlines, Due};
use notice::Notice;
use sys::{Gate, Sys};

pub(crate) use ask::{Ask, Outcome};
pub(crate) use deadlines::ConnectionKey;
pub use inspect::SessionInfo;
pub(crate) use shared::Shared;
pub use stats::BrokerStats;

#[derive(Debug)]
pub(crate) struct Hub {
    config: BrokerConfig,
    connections: HashMap<ConnectionKey, Connection>,
    clients: HashMap<ClientKey, Client>,
    /// The sessions by Client Identifier.
    ids: HashMap<Text, ClientKey>,
    subscriptions: Subscriptions,
    retained: Retained,
    /// How much all sessions hold for their clients.
    queued_bytes: usize,
    deadlines: Deadlines,
    stats: BrokerStats,
    sys: Sys,
    /// Who may connect now, if there is a limit for that.
    gate: Gate,
    /// The last number that a connection or a session got.
    last_key: u64,
    /// Makes assigned Client Identifiers hard to guess.
    random: RandomState,
    /// Whom to wake once the lock is open.
    wakers: Vec<Waker>,
    /// What to tell the hooks once the lock is open.
    notices: Vec<Notice>,
    /// The future that waits for deadlines, and the deadline that it waits for.
    keeper: Option<Waker>,
    armed: Option<Instant>,
    /// By when the last connection has to be gone: set when the broker stops.
    stop_by: Option<Instant>,
}

#[derive(Debug)]
struct Connection {
    /// `None` once the connection has ended.
    session: Option<Session<Server>>,
    version: Version,
    /// Who it is, once the connection was accepted.
    client: Option<ClientKey>,
    /// The same for the hooks; `None` also where there are none.
    info: Option<Arc<ClientInfo>>,
    peer: Arc<Peer>,
    /// What an authentication has come to.
    authentication: Authentication,
    /// The session that was to go on here, and could not.
    unaccepted: Option<Box<SessionState>>,
    /// The queue was full, and that ends the connection.
    overflowed: bool,
    /// What is left to write when the connection has ended.
    last: TxBuf,
    /// Wakes its task; `None` while it is in its turn, or has been woken.
    waker: Option<Waker>,
    /// What `deadlines` has for it.
    deadline: Option<Instant>,
}

/// How a turn of a connection went.
#[derive(Debug)]
pub(crate) enum Turn {
    /// Go on, and perhaps read.
    Open { wants_input: bool },
    /// The hooks have to decide about something first.
    Ask(Ask),
    /// Write what is left and this, then close, within the time that [`Hub::linger`] gives.
    Ended { last: TxBuf },
}

impl Hub {
    pub(crate) fn new(mut config: BrokerConfig) -> Hub {
        // Nobody here would store what it hands out, and it would wait for that.
        config.session.journal = false;
        Hub {
            connections: HashMap::new(),
            clients: HashMap::new(),
            ids: HashMap::new(),
            subscriptions: Subscriptions::new(),
            retained: Retained::new(config.max_retained_messages, config.max_retained_bytes),
            queued_bytes: 0,
            deadlines: Deadlines::default(),
            stats: BrokerStats::default(),
            sys: Sys::default(),
            gate: Gate::default(),
            last_key: 0,
            random: RandomState::new(),
            wakers: Vec::new(),
            notices: Vec::new(),
            keeper: None,
            armed: None,
            stop_by: None,
            config,
        }
    }

    pub(super) fn hooks(&self) -> Option<Arc<dyn Hooks>> {
        self.config.hooks.as_ref().map(|hooks| Arc::clone(&hooks.0))
    }

    /// Lets a connection in, or not.
    pub(crate) fn open(&mut self, peer: Peer, now: Instant) -> Option<ConnectionKey> {
        if self.stop_by.is_some() || self.connections.len() >= self.config.max_connections {
            self.stats.connections_refused += 1;
            return None;
        }
        let key = ConnectionKey(self.next_key());
        let mut session = Session::new(self.config.session.clone());
        session.handle_open(now);
        let connection = Connection {
            session: Some(session),
            version: Version::V311,
            client: None,
            info: None,
            peer: Arc::new(peer),
            authentication: Authentication::default(),
            unaccepted: None,
            overflowed: false,
            last: TxBuf::new(),
            waker: None,
            deadline: None,
        };
        self.connections.insert(key, connection);
        Some(key)
    }

    pub(crate) const fn maximum_packet_size(&self) -> u32 {
        self.config.session.maximum_packet_size
    }

    /// Notes the certificates that a client has shown in its handshake.
    pub(crate) fn secured(&mut self, key: ConnectionKey, certificates: Vec<Bytes>) {
        if let Some(connection) = self.connections.get_mut(&key) {
            Arc::make_mut(&mut connection.peer).certificates.extend(certificates);
        }
    }

    fn next_key(&mut self) -> u64 {
        self.last_key += 1;
        self.last_key
    }

    /// Lets a connection take its turn: handles all whole packets of `input`, and fills `out`.
    ///
    /// The waker is kept for when there is more to do.
    pub(crate) fn turn(
        &mut self,
        key: ConnectionKey,
        input: &mut BytesMut,
        out: &mut TxBuf,
        waker: &Waker,
        now: Instant,
    ) -> Turn {
        let stop = self.stop_by.is_some_and(|stop_by| stop_by <= now);
        self.give_up_deciding(key, now);
        if let Some(session) = self.session(key) {
            session.handle_timeout(now);
            if stop {
                // A peer that does not read would keep its DISCONNECT from leaving for ever.
                session.handle_eof(now);
            }
            if let Some(ask) = self.pump(key, Some(input), out, now) {
                return Turn::Ask(ask);
            }
        }
        if self.connections.get(&key).is_some_and(|it| it.overflowed && it.session.is_some()) {
            self.take_over(key, ReasonCode::QUOTA_EXCEEDED, now);
        }
        let Some(connection) = self.connections.get_mut(&key) else {
            return Turn::Ended { last: TxBuf::new() };
        };
        connection.waker = Some(waker.clone());
        let Some(session) = &connection.session else {
            return Turn::Ended { last: mem::take(&mut connection.last) };
        };
        if let Some(client) = connection.client.and_then(|key| self.clients.get_mut(&key)) {
            client.recount(&mut self.queued_bytes, session.stats().held_bytes);
        }
        let decide_by = connection.authentication.decide_by();
        let deadline =
            session.poll_timeout().into_iter().chain(self.stop_by).chain(decide_by).min();
        let turn = Turn::Open { wants_input: session.wants_input() };
        let due = Due::Connection(key);
        self.deadlines.set_lazily(due, &mut connection.deadline, deadline);
        turn
    }

    /// Tells that the transport has ended, or failed; the next turn ends the session.
    pub(crate) fn eof(&mut self, key: ConnectionKey, now: Instant) {
        if let Some(session) = self.session(key) {
            session.handle_eof(now);
        }
    }

    /// Ends a session here and now; what it has not handed over comes to nothing.
    fn cut(&mut self, key: ConnectionKey, now: Instant) {
        self.eof(key, now);
        // There is nobody to send this to any more, and nobody left to ask: a turn leaves no questions
        // behind, and so there are none but about what came in a turn that was never finished.
        while self.pump(key, None, &mut TxBuf::new(), now).is_some() {}
    }

    /// Tells whether an ended connection may still take its time, and wakes it when it may not.
    pub(crate) fn linger(&mut self, key: ConnectionKey, waker: &Waker, now: Instant) -> bool {
        let Some(connection) = self.connections.get_mut(&key) else {
            return false;
        };
        // Set by `ended`, and taken out when it has come.
        let lingers = connection.deadline.is_some_and(|deadline| deadline > now);
        connection.waker = lingers.then(|| waker.clone());
        lingers
    }

    /// Forgets a connection; one that has not ended yet breaks here.
    pub(crate) fn close(&mut self, key: ConnectionKey, now: Instant) {
        self.cut(key, now);
        if let Some(mut connection) = self.connections.remove(&key) {
            self.deadlines.set(Due::Connection(key), &mut connection.deadline, None);
        }
        if self.stop_by.is_some() && self.connections.is_empty() {
            self.wakers.extend(self.keeper.take());
        }
    }

    fn session(&mut self, key: ConnectionKey) -> Option<&mut Session<Server>> {
        self.connections.get_mut(&key)?.session.as_mut()
    }

    /// Runs a session until it has nothing more to say, or has something that the hooks have to decide.
    fn pump(
        &mut self,
        key: ConnectionKey,
        mut input: Option<&mut BytesMut>,
        out: &mut TxBuf,
        now: Instant,
    ) -> Option<Ask> {
        while let Some(session) = self.session(key) {
            if let Some(input) = input.as_deref_mut().filter(|input| !input.is_empty()) {
                session.handle_input(input, now);
            }
            session.poll_transmit(out, now);
            let mut event = session.poll_event();
            if event.is_none() {
                break;
            }
            while let Some(next) = event {
                if let Some(ask) = self.event(key, next, now) {
                    return Some(ask);
                }
                event = self.session(key).and_then(Session::poll_event);
            }
        }
        None
    }

    /// Handles an event, or returns what the hooks have to decide about it.
    fn event(&mut self, key: ConnectionKey, event: Event, now: Instant) -> Option<Ask> {
        if let (Event::Connect(_), Some(rate)) = (&event, self.config.max_connect_rate)
            && !self.gate.pass(rate, now)
        {
            self.stats.connections_refused += 1;
            self.refuse(key, ConnAck::new(ReasonCode::CONNECTION_RATE_EXCEEDED), now);
            return None;
        }
        let event = match self.config.hooks.is_some() {
            true => match self.ask(key, event, now) {
                Ok(ask) => return ask,
                Err(event) => event,
            },
            false => event,
        };
        match event {
            Event::Connect(connect) => self.connect(key, *connect, now),
            Event::Subscribe(request, subscribe) => {
                self.subscribe(key, request, *subscribe, Vec::new(), now);
            }
            Event::Unsubscribe(request, unsubscribe) => {
                self.unsubscribe(key, request, &unsubscribe);
            }
            Event::Message(message) => {
                self.message(key, &message, now);
            }
            Event::Writable => self.resume_backlog(key, now),
            Event::Failed { error, .. } => self.failed(&error),
            Event::Closed { reason, will } => self.closed(key, &reason, will, now),
            _ => {}
        }
        None
    }

    /// Takes the session out of a connection that has ended, and leaves it the last words.
    fn ended(&mut self, key: ConnectionKey, now: Instant) -> Option<Session<Server>> {
        let connection = self.connections.get_mut(&key)?;
        let mut session = connection.session.take()?;
        // No limit: the session gives no more than the packet that ends the connection.
        let mut last = TxBuf::with_limit(usize::MAX);
        while session.poll_transmit(&mut last, now) {}
        connection.last = last;
        self.wakers.extend(connection.waker.take());
        let linger = self.stop_by.into_iter().chain([now + self.config.linger]).min();
        self.deadlines.set(Due::Connection(key), &mut connection.deadline, linger);
        Some(session)
    }

    /// Ends a connection from this side, at once; its session then breaks as if the transport had.
    ///
    /// The session's own `disconnect` would first send what waits in it: that now belongs to the
    /// connection that takes the session over.
    fn take_over(&mut self, key: ConnectionKey, reason: ReasonCode, now: Instant) {
        self.cut(key, now);
        let Some(connection) = self.connections.get_mut(&key) else {
            return;
        };
        if connection.version.is_v5() {
            let packet = Packet::Disconnect(Disconnect::new(reason));
            // It has no properties, so it can always be encoded.
            let _ = codec::encode(&packet, Version::V5, &mut connection.last);
        }
    }

    /// Does what is due, and returns when there is more to do; `None` in it is never.
    ///
    /// Returns `None` when the broker has stopped and all connections have ended.
    pub(crate) fn tick(&mut self, waker: &Waker, now: Instant) -> Option<Option<Instant>> {
        while let Some(due) = self.deadlines.pop_due(now) {
            match due {
                Due::Connection(key) => {
                    if let Some(connection) = self.connections.get_mut(&key) {
                        connection.deadline = None;
                        self.wakers.extend(connection.waker.take());
                    }
                }
                Due::Client(key) => self.client_due(key, now),
                Due::Sys => self.tell_sys(now),
            }
        }
        if !self.sys.is_told() {
            self.tell_sys(now);
        }
        self.retained.expire(now);
        if self.stop_by.is_some() && self.connections.is_empty() {
            return None;
        }
        self.keeper = Some(waker.clone());
        self.armed = self.deadlines.next().into_iter().chain(self.retained.next_expiry()).min();
        Some(self.armed)
    }

    /// Wakes the future that waits for deadlines if there is an earlier one than it knows.
    fn arm(&mut self) {
        let next = self.deadlines.next().into_iter().chain(self.retained.next_expiry()).min();
        if next.is_some_and(|next| self.armed.is_none_or(|armed| next < armed)) {
            self.wakers.extend(self.keeper.take());
        }
    }

    /// Ends all connections, and lets no more in.
    pub(crate) fn shutdown(&mut self, now: Instant) {
        if self.stop_by.is_some() {
            return;
        }
        self.stop_by = Some(now + self.config.linger);
        for connection in self.connections.values_mut() {
            if let Some(session) = &mut connection.session {
                let goodbye = Disconnect::new(ReasonCode::SERVER_SHUTTING_DOWN);
                if session.disconnect(goodbye, now).is_err() {
                    // It has not got as far as CONNACK.
                    session.handle_eof(now);
                }
            }
            self.wakers.extend(connection.waker.take());
        }
        self.wakers.extend(self.keeper.take());
    }

    /// Tells whether no more connections are let in.
    #[cfg(feature = "async-io")]
    pub(crate) const fn is_stopping(&self) -> bool {
        self.stop_by.is_some()
    }

    pub(crate) fn stats(&self) -> BrokerStats {
        BrokerStats {
            connections: self.connections.len(),
            sessions: self.clients.len(),
            subscriptions: self.subscriptions.len(),
            retained_messages: self.retained.len(),
            retained_bytes: self.retained.bytes(),
            queued_bytes: self.queued_bytes,
            ..self.stats
        }
    }

    /// Returns whom to wake and what to tell the hooks now that the lock is opened.
    pub(crate) fn take_wakers(&mut self) -> (Vec<Waker>, Vec<Notice>) {
        self.arm();
        (mem::take(&mut self.wakers), mem::take(&mut self.notices))
    }

    /// Returns what a client is to build its response topics from: nobody else's begin like it.
    fn response_information(&self, client_id: &Text) -> Option<Text> {
        let prefix = self.config.response_topics.as_ref()?;
        Text::new(format!("{prefix}/{:016x}", self.random.hash_one(client_id))).ok()
    }

    /// Returns a Client Identifier that nobody has and nobody can guess.
    fn assigned_id(&mut self) -> Text {
        loop {
            let number = self.next_key();
            let id = format!("auto-{:016x}", self.random.hash_one(number));
            if let Ok(id) = Text::new(id)
                && !self.ids.contains_key(&id)
            {
                return id;
            }
        }
    }
}
