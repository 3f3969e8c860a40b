//! The server: a session of ours at the other end, and a broker above it that accepts, refuses, hesitates,
//! forgets sessions, and ends connections.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use mqtt_async::{Publish, QoS, ReasonCode, TopicFilter, Version};
use mqtt_proto::{
    Accept, AckId, CloseReason, ConnAck, Connect, Disconnect, Event, Instant, Phase, RequestId,
    Server, ServerConfig, Session, Text, Token, TxBuf,
};

use crate::calls::Asked;
use crate::habits::REFERENCES;
use crate::net;
use crate::oracle::{Check, Fault, Oracle, ensure};
use crate::random::Random;

/// One connection, from the server's side.
struct Conn {
    net: net::Shared,
    input: BytesMut,
    out: TxBuf,
    /// Whether the session has ended it.
    over: bool,
    /// Whether the end of what the client sends was told.
    eof: bool,
}

/// What the server remembers about the session of its client.
#[derive(Clone, Copy, Debug, Default)]
struct Record {
    known: bool,
    /// Whether the client has shown that it had CONNACK: else it would take the next one for that of the
    /// session before.
    confirmed: bool,
    expiry: Option<u32>,
    since: Option<Duration>,
}

/// What the server's application is like in this run.
#[derive(Clone, Copy)]
struct Habits {
    /// Of a hundred: messages that are answered at once, those that are refused, filters that are refused.
    prompt: u64,
    refuses: u64,
    refuses_filters: u64,
    /// CONNECTs that are refused, or not answered at all.
    refuses_connect: u64,
    silent: u64,
    /// Refusals after which there is no point in trying on.
    fatal: u64,
    /// Refusals and ends that send the client elsewhere.
    redirects: u64,
}

pub struct Broker {
    version: Version,
    config: ServerConfig,
    habits: Habits,
    pub session: Session<Server>,
    record: Record,
    main: Option<Conn>,
    pending: Option<(Session<Server>, Conn)>,
    /// Messages that wait for an answer.
    todo: Vec<(AckId, u64)>,
    requests: Vec<(RequestId, Vec<ReasonCode>)>,
    /// What is subscribed to, with the Subscription Identifier.
    pub table: BTreeMap<String, Option<u32>>,
    tokens: BTreeMap<Token, u64>,
    /// Requests that have no response yet, and responses that are on their way, at QoS 1 and 2.
    asked: Vec<Asked>,
    responses: BTreeMap<Token, u64>,
    /// The session is to be lost before the next connection.
    pub forget: bool,
    pub calm: bool,
    pub loud: bool,
    /// Whether the client sends what was lost with the session again, at QoS 2 as well.
    resends: bool,
    /// The servers that the client was sent to.
    named: BTreeSet<&'static str>,
    /// What the last connection that was accepted ended with.
    pub last_end: Option<CloseReason>,
    /// How often a session began.
    pub sessions: u64,
    /// The most messages of QoS 1 and 2 that wait at the client at once, as it has asked for it.
    pub window: usize,
}

/// Whether a policy of the client can have dropped a message of that topic.
pub type MayDrop<'a> = &'a dyn Fn(&str) -> bool;

impl Broker {
    pub fn new(version: Version, resends: bool, random: &mut Random) -> Broker {
        // MQTT 3.x cannot tell a client how large a packet may be.
        let smallest = if version.is_v5() { 250 } else { 1 << 20 };
        let config = ServerConfig {
            connect_timeout: Duration::from_secs(random.pick(&[1, 10])),
            write_timeout: Duration::from_secs(random.pick(&[1, 30])),
            max_in_flight: random.pick(&[1, 2, 5, 50]),
            maximum_packet_size: random.pick(&[smallest, 1 << 20, 1 << 20, 1 << 20]),
            subscription_identifier_available: random.chance(70),
            receive_maximum: random.pick(&[1, 2, 10, 1000]),
            ..ServerConfig::default()
        };
        let habits = Habits {
            prompt: random.pick(&[0, 20, 60, 100]),
            refuses: random.pick(&[0, 0, 10, 40]),
            refuses_filters: random.pick(&[0, 0, 20]),
            refuses_connect: random.pick(&[0, 5, 30]),
            silent: random.pick(&[0, 0, 5]),
            fatal: random.pick(&[0, 0, 0, 10]),
            redirects: if version.is_v5() { random.pick(&[0, 0, 40]) } else { 0 },
        };
        Broker {
            version,
            habits,
            session: Session::new(config.clone()),
            config,
            record: Record::default(),
            main: None,
            pending: None,
            todo: Vec::new(),
            requests: Vec::new(),
            table: BTreeMap::new(),
            tokens: BTreeMap::new(),
            asked: Vec::new(),
            responses: BTreeMap::new(),
            forget: false,
            calm: false,
            loud: false,
            resends,
            named: BTreeSet::new(),
            last_end: None,
            sessions: 0,
            window: 0,
        }
    }

    pub fn serve(&mut self, net: net::Shared, now: Duration) {
        let mut session = Session::new(self.config.clone());
        session.handle_open(instant(now));
        let out = TxBuf::with_limit(1000);
        let conn = Conn { net, input: BytesMut::new(), out, over: false, eof: false };
        self.pending = Some((session, conn));
    }

    /// Gets on with all connections: at most so many bytes in each direction; tells whether anything moved.
    pub fn step(
        &mut self,
        most: usize,
        now: Duration,
        random: &mut Random,
        oracle: &mut Oracle,
        may_drop: MayDrop<'_>,
    ) -> Result<bool, Fault> {
        let mut any = false;
        if let Some((mut session, mut conn)) = self.pending.take() {
            any |= conn.read(&mut session, most, now);
            let mut connect = None;
            while let Some(event) = session.poll_event() {
                match event {
                    Event::Connect(asked) => connect = Some(asked),
                    Event::Closed { reason, .. } => {
                        conn.over = true;
                        faultless(&reason)?;
                    }
                    _ => {}
                }
            }
            match connect {
                Some(connect) => {
                    any = true;
                    self.connect(&connect, session, conn, now, random, oracle)?;
                }
                None => {
                    any |= conn.write(&mut session, most, now);
                    if !conn.is_done() {
                        self.pending = Some((session, conn));
                    }
                }
            }
        }
        if let Some(mut conn) = self.main.take() {
            any |= conn.read(&mut self.session, most, now);
            self.main = Some(conn);
            any |= self.events(now, random, oracle, may_drop)?;
        }
        if let Some(mut conn) = self.main.take() {
            any |= conn.write(&mut self.session, most, now);
            if !conn.is_done() {
                self.main = Some(conn);
            }
        }
        any |= self.events(now, random, oracle, may_drop)?;
        Ok(any)
    }

    pub fn timeout(&mut self, now: Duration) {
        self.session.handle_timeout(instant(now));
        if let Some((pending, _)) = &mut self.pending {
            pending.handle_timeout(instant(now));
        }
    }

    pub fn next_deadline(&self) -> Option<Duration> {
        let pending = self.pending.as_ref().and_then(|(session, _)| session.poll_timeout());
        let all = [self.session.poll_timeout(), pending];
        all.into_iter().flatten().min().map(|at| at.since_epoch().saturating_sub(EPOCH))
    }

    pub fn is_connected(&self) -> bool {
        self.main.is_some() && self.session.phase() == Phase::Connected && self.pending.is_none()
    }

    pub fn is_idle(&self) -> bool {
        let stats = self.session.stats();
        self.session.is_idle()
            && stats.queued + stats.in_flight == 0
            && self.todo.is_empty()
            && self.asked.is_empty()
    }

    // ---- what the broker decides ----

    fn connect(
        &mut self,
        connect: &Connect,
        mut session: Session<Server>,
        mut conn: Conn,
        now: Duration,
        random: &mut Random,
        oracle: &mut Oracle,
    ) -> Check {
        if session.phase() != Phase::Accepting {
            self.pending = Some((session, conn));
            return Ok(());
        }
        if !self.calm && random.chance(self.habits.silent) {
            // It says nothing until the client has lost its patience.
            conn.out.clear();
            self.pending = Some((session, conn));
            return Ok(());
        }
        let Habits { refuses_connect, redirects, .. } = self.habits;
        if !self.calm && random.chance(refuses_connect.max(redirects / 2)) {
            let reason = match random.chance(self.habits.fatal) {
                true => ReasonCode::BAD_USER_NAME_OR_PASSWORD,
                false => ReasonCode::SERVER_UNAVAILABLE,
            };
            let mut connack = ConnAck::new(reason);
            if let Some((reason, reference)) = self.redirect(random) {
                (connack.reason, connack.server_reference) = (reason, Some(reference));
            }
            let refused = session.refuse(connack, instant(now));
            ensure!(refused.is_ok(), "commands_work", "refuse: {refused:?}");
            while session.poll_event().is_some() {}
            conn.over = true;
            self.pending = Some((session, conn));
            return Ok(());
        }
        let kept = self.keeps(connect, now);
        let old = std::mem::replace(&mut self.session, session);
        self.main = Some(conn);
        self.requests.clear();
        self.forget = false;
        let state = old.into_state();
        if !kept {
            self.lose(oracle, connect.clean_start);
        }
        let v5 = self.version.is_v5();
        let mut connack = ConnAck::default();
        if v5 {
            connack.receive_maximum = Some(random.pick(&[1, 2, 10, 1000]));
            connack.server_keep_alive = random.chance(20).then(|| random.pick(&[1, 5]));
        }
        let expiry = match v5 {
            true => connect.session_expiry_interval,
            false => (!connect.clean_start).then_some(u32::MAX),
        };
        self.record = Record { known: true, confirmed: kept, expiry, since: None };
        let asked = connect.receive_maximum.map_or(usize::from(u16::MAX), usize::from);
        self.window = asked.min(self.config.max_in_flight.into());
        let state = kept.then_some(state);
        let accepted = self.session.accept(Accept { connack, state }, instant(now));
        ensure!(accepted.is_ok(), "commands_work", "accept: {accepted:?}");
        self.last_end = None;
        if let Some(conn) = &mut self.main {
            self.session.handle_input(&mut conn.input, instant(now));
        }
        Ok(())
    }

    /// Whether the server goes on with the session that it has.
    fn keeps(&self, connect: &Connect, now: Duration) -> bool {
        let since = self.record.since.unwrap_or(now);
        let expired = match (self.version.is_v5(), self.record.expiry) {
            (true, None | Some(0)) => true,
            (_, Some(u32::MAX)) => false,
            (true, Some(seconds)) => (now - since).as_secs() >= seconds.into(),
            (false, expiry) => expiry.is_none(),
        };
        // MQTT 3.1 cannot tell the client that the session is lost.
        let confirmed = self.record.confirmed || self.version == Version::V31;
        let lost = self.forget && self.version != Version::V31;
        self.record.known && confirmed && !expired && !connect.clean_start && !lost
    }

    fn lose(&mut self, oracle: &mut Oracle, clean: bool) {
        self.sessions += 1;
        self.table.clear();
        self.todo.clear();
        self.tokens.clear();
        self.asked.clear();
        self.responses.clear();
        let resends = self.resends || (!self.version.is_v5() && !clean);
        oracle.session_lost(resends);
    }

    /// Sends a message to the client, now or when it comes back; tells whether it was taken.
    pub fn publish(
        &mut self,
        number: u64,
        mut publish: Publish,
        now: Duration,
        oracle: &mut Oracle,
    ) -> bool {
        if !self.record.known {
            return false;
        }
        self.match_filters(&mut publish);
        let token = self.session.publish(publish.clone(), instant(now)).ok();
        if let Some(token) = token {
            oracle.sent(number, &publish);
            self.tokens.insert(token, number);
        }
        token.is_some()
    }

    /// Adds the identifiers of the filters that match; tells whether any filter does.
    fn match_filters(&self, publish: &mut Publish) -> bool {
        let mut any = false;
        for (filter, identifier) in &self.table {
            let filter = TopicFilter::new(filter.as_str()).expect("it came in");
            if !filter.matches(&publish.topic) {
                continue;
            }
            any = true;
            if let Some(identifier) = identifier {
                publish.properties.edit().subscription_identifiers.push(*identifier);
            }
        }
        any
    }

    /// Responds to one of the requests, if somebody has subscribed to the responses.
    pub fn respond(
        &mut self,
        now: Duration,
        random: &mut Random,
        oracle: &mut Oracle,
    ) -> Result<bool, Fault> {
        if self.asked.is_empty() {
            return Ok(false);
        }
        let asked = self.asked.remove(random.index(self.asked.len()));
        let number = asked.number;
        let qos = random.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]);
        let mut response = asked.response(qos);
        if self.match_filters(&mut response)
            && let Ok(token) = self.session.publish(response, instant(now))
        {
            oracle.calls.answered(number)?;
            if qos != QoS::AtMostOnce {
                self.responses.insert(token, number);
            }
        }
        Ok(true)
    }

    /// Answers one of the messages that wait.
    pub fn answer(&mut self, random: &mut Random, oracle: &mut Oracle) -> bool {
        if self.todo.is_empty() {
            return false;
        }
        let (ack, number) = self.todo.remove(random.index(self.todo.len()));
        let reason = match random.chance(self.habits.refuses) {
            true => random.pick(&[ReasonCode::QUOTA_EXCEEDED, ReasonCode::UNSPECIFIED_ERROR]),
            false => ReasonCode::SUCCESS,
        };
        oracle.server_answers(number, reason, self.version.is_v5());
        self.session.ack(ack, reason);
        true
    }

    /// Answers one of the requests that wait.
    pub fn grant(&mut self, random: &mut Random) -> Result<bool, Fault> {
        if self.requests.is_empty() {
            return Ok(false);
        }
        let (request, reasons) = self.requests.remove(random.index(self.requests.len()));
        let granted = self.session.grant(request, reasons);
        ensure!(granted.is_ok(), "commands_work", "grant: {granted:?}");
        Ok(true)
    }

    /// Ends the connection with a DISCONNECT.
    pub fn disconnect(&mut self, random: &mut Random, now: Duration) {
        let reason = match random.chance(self.habits.fatal) {
            true => random.pick(&[ReasonCode::SESSION_TAKEN_OVER, ReasonCode::SERVER_MOVED]),
            false => random.pick(&[ReasonCode::SERVER_BUSY, ReasonCode::SERVER_SHUTTING_DOWN]),
        };
        let mut disconnect = Disconnect::new(reason);
        if let Some((reason, reference)) = self.redirect(random) {
            (disconnect.reason, disconnect.server_reference) = (reason, Some(reference));
        }
        let _ = self.session.disconnect(disconnect, instant(now));
    }

    /// Sends the client to another server, now and then.
    fn redirect(&mut self, random: &mut Random) -> Option<(ReasonCode, Text)> {
        let reasons = [ReasonCode::USE_ANOTHER_SERVER, ReasonCode::SERVER_MOVED];
        if !random.chance(self.habits.redirects) {
            return None;
        }
        let reference = random.pick(&REFERENCES);
        self.named.extend(reference.split(' '));
        Some((random.pick(&reasons), Text::new(reference).expect("a text")))
    }

    /// Tells whether it has ever sent the client there.
    pub fn has_named(&self, server: &str) -> bool {
        self.named.contains(server)
    }

    fn refuses_filter(&self, random: &mut Random) -> bool {
        !self.calm && random.chance(self.habits.refuses_filters)
    }

    // ---- what the session tells ----

    fn events(
        &mut self,
        now: Duration,
        random: &mut Random,
        oracle: &mut Oracle,
        may_drop: MayDrop<'_>,
    ) -> Result<bool, Fault> {
        let mut any = false;
        while let Some(event) = self.session.poll_event() {
            any = true;
            if self.loud {
                eprintln!("    server: {event:?}");
            }
            match event {
                Event::Message(message) => {
                    self.record.confirmed = true;
                    let number = match Asked::read(&message.publish)? {
                        Some(asked) => {
                            let number = asked.number;
                            oracle.calls.arrived(number)?;
                            self.asked.push(asked);
                            number
                        }
                        None => oracle.arrived(&message.publish)?,
                    };
                    if message.publish.qos() == QoS::AtMostOnce {
                        continue;
                    }
                    self.todo.extend(message.ack.map(|ack| (ack, number)));
                    if self.calm || random.chance(self.habits.prompt) {
                        self.answer(random, oracle);
                    }
                }
                Event::Subscribe(request, subscribe) => {
                    self.record.confirmed = true;
                    let mut reasons = Vec::new();
                    for subscription in subscribe.subscriptions {
                        let filter = subscription.filter.as_str().to_owned();
                        if self.refuses_filter(random) {
                            self.table.remove(&filter);
                            reasons.push(ReasonCode::UNSPECIFIED_ERROR);
                            continue;
                        }
                        reasons.push(ReasonCode::new(subscription.options.qos as u8));
                        self.table.insert(filter, subscribe.subscription_identifier);
                    }
                    self.requests.push((request, reasons));
                }
                Event::Unsubscribe(request, unsubscribe) => {
                    self.record.confirmed = true;
                    let reasons = vec![ReasonCode::SUCCESS; unsubscribe.filters.len()];
                    for filter in unsubscribe.filters {
                        self.table.remove(filter.as_str());
                    }
                    self.requests.push((request, reasons));
                }
                Event::Published { token, .. } => {
                    if let Some(number) = self.tokens.remove(&token) {
                        let (topic, qos) = oracle.facts_of(number);
                        // QoS 0 has only been handed to the output buffer.
                        self.record.confirmed |= qos != QoS::AtMostOnce;
                        oracle.server_told(number, may_drop(&topic))?;
                    } else if let Some(number) = self.responses.remove(&token) {
                        self.record.confirmed = true;
                        oracle.calls.told(number, now)?;
                    }
                }
                Event::Failed { token, .. } => {
                    self.responses.remove(&token);
                    if let Some(number) = self.tokens.remove(&token) {
                        oracle.server_failed(number)?;
                    }
                }
                Event::Closed { reason, .. } => {
                    self.record.since = Some(now);
                    if let CloseReason::Disconnected(disconnect) = &reason
                        && let Some(expiry) = disconnect.session_expiry_interval
                    {
                        self.record.expiry = Some(expiry);
                    }
                    if let Some(conn) = &mut self.main {
                        conn.over = true;
                    }
                    faultless(&reason)?;
                    self.last_end = Some(reason);
                }
                _ => {}
            }
        }
        Ok(any)
    }
}

impl Conn {
    fn read(&mut self, session: &mut Session<Server>, most: usize, now: Duration) -> bool {
        let (bytes, over) = self.net.borrow_mut().deliver_up(most);
        let any = !bytes.is_empty();
        self.input.extend_from_slice(&bytes);
        if any && !self.over {
            session.handle_input(&mut self.input, instant(now));
        }
        if over && !self.eof {
            self.eof = true;
            session.handle_eof(instant(now));
            return true;
        }
        any
    }

    fn write(&mut self, session: &mut Session<Server>, most: usize, now: Duration) -> bool {
        // What a session says last is still to be had.
        let mut any = session.poll_transmit(&mut self.out, instant(now));
        let mut net = self.net.borrow_mut();
        let mut left = most.min(net.room_down());
        while left > 0 && !self.out.is_empty() {
            let count = self.out.chunk().len().min(left);
            net.write_down(&self.out.chunk()[..count]);
            self.out.advance(count);
            left -= count;
            any = true;
        }
        if self.over && (self.out.is_empty() || net.dropped) {
            any |= net.shut_down();
        }
        any |= net.deliver_down(most);
        any
    }

    /// Nothing is left of the connection.
    fn is_done(&self) -> bool {
        let net = self.net.borrow();
        self.over && (self.out.is_empty() || net.dropped) && (self.eof || net.dropped)
    }
}

/// Whatever happens, a server of ours finds no fault with a client of ours.
fn faultless(reason: &CloseReason) -> Check {
    let fault = matches!(reason, CloseReason::Peer(_) | CloseReason::Local(_));
    ensure!(!fault, "the_client_keeps_to_the_protocol", "{reason:?}");
    Ok(())
}

const EPOCH: Duration = Duration::from_secs(1000);

fn instant(now: Duration) -> Instant {
    Instant::from_epoch(EPOCH + now)
}
