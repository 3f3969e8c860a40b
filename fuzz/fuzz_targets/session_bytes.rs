//! Any bytes to a client or a server in any phase, and any commands between them: no panic, bounded
//! memory, `Closed` once for each connection, an end to all polling, and only valid packets come out.

#![no_main]

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use mqtt_fuzz::side::Side;
use mqtt_fuzz::{allocated_at_most, packets};
use mqtt_proto::{
    Accept, Bounds, Client, ClientConfig, ConnAck, Connect, Disconnect, Event, Instant, Publish,
    QoS, ReasonCode, RequestId, Role, Server, ServerConfig, Session, SessionState, Subscribe,
    Token, TopicAliases, Unsubscribe, Version,
};

fuzz_target!(|data: &[u8]| {
    // What the largest packets take in memory for each of their bytes, with lists that double; and what a
    // session takes anyway.
    allocated_at_most(200 * data.len() as u64 + 16 * 1024, || {
        // It ends where the input does.
        let _ = run(&mut Unstructured::new(data));
    });
});

/// One for each value of two bits.
const VERSIONS: [Version; 4] = [Version::V5, Version::V311, Version::V5, Version::V31];

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let [kind, a, b]: [u8; 3] = u.arbitrary()?;
    let version = VERSIONS[usize::from(kind >> 1 & 3)];
    let has = |bit: u8| a & 1 << bit != 0;
    let bounds = Bounds { messages: 4, bytes: 256, requests: 3 };
    let topic_aliases =
        if has(0) { TopicAliases::Automatic { maximum: 2 } } else { TopicAliases::Manual };
    let journal = has(1);
    let full_from = if has(2) { 16 } else { 64 * 1024 };
    let maximum_packet_size = if has(3) { 64 } else { 1 << 20 };
    if kind & 1 == 0 {
        let mut config = ClientConfig::new(version);
        config.connect.client_id = packets::text("c");
        config.connect.clean_start = has(4);
        config.connect.keep_alive = (b & 3).into();
        if version.is_v5() {
            config.connect.session_expiry_interval = has(5).then_some(60);
            config.connect.topic_alias_maximum = Some((b >> 2 & 3).into());
            config.connect.receive_maximum = Some(u16::from(b >> 4 & 3) + 1);
            config.connect.authentication_method = has(6).then(|| packets::text("m"));
            config.connect.request_problem_information = has(7).then_some(false);
        }
        let config = ClientConfig { bounds, topic_aliases, journal, maximum_packet_size, ..config };
        Talk::<Client>::new(config, version, full_from, journal).run(u)
    } else {
        let config = ServerConfig {
            bounds,
            topic_aliases,
            journal,
            maximum_packet_size,
            topic_alias_maximum: (b >> 2 & 3).into(),
            receive_maximum: u16::from(b >> 4 & 3) + 1,
            maximum_qos: if has(5) { QoS::AtLeastOnce } else { QoS::ExactlyOnce },
            retain_available: !has(6),
            wildcard_subscription_available: !has(7),
            ..ServerConfig::default()
        };
        Talk::<Server>::new(config, version, full_from, journal).run(u)
    }
}

struct Talk<R: Role> {
    config: R::Config,
    side: Side<R>,
    /// The version of the packets that come in.
    version: Version,
    now: Instant,
    requests: Vec<RequestId>,
    connect: Option<Box<Connect>>,
}

/// What only one of the roles does.
trait Command: Role {
    fn command(talk: &mut Talk<Self>, a: u8, b: u8)
    where
        Self: Sized;

    /// Returns the version of the connection that begins now.
    fn version(talk: &Talk<Self>) -> Version
    where
        Self: Sized;

    /// Returns the versions of which one is spoken on this connection.
    fn versions(talk: &Talk<Self>) -> Vec<Version>
    where
        Self: Sized;
}

impl Command for Client {
    fn command(talk: &mut Talk<Client>, a: u8, b: u8) {
        let session = &mut talk.side.session;
        let result = match a & 3 {
            0 | 1 => session.subscribe(Subscribe::new(packets::filter("t/#"), QoS::AtLeastOnce)),
            2 => session.unsubscribe(Unsubscribe::new(packets::filter("t/#"))),
            _ => {
                session.config_mut().connect.clean_start = b & 1 == 0;
                session.config_mut().resend_lost_qos2 = b & 2 == 0;
                session.config_mut().adopt_session = b & 4 == 0;
                if b & 16 != 0 {
                    // What it was sent before may be too large now.
                    session.config_mut().maximum_packet_size =
                        if b & 32 == 0 { 64 } else { 1 << 20 };
                }
                if b & 8 != 0 {
                    session.config_mut().version = VERSIONS[usize::from(b >> 6)];
                }
                return;
            }
        };
        talk.accepted(result.ok(), None);
    }

    fn version(talk: &Talk<Client>) -> Version {
        talk.side.session.config().version
    }

    fn versions(talk: &Talk<Client>) -> Vec<Version> {
        vec![talk.version]
    }
}

impl Command for Server {
    fn command(talk: &mut Talk<Server>, a: u8, b: u8) {
        let (session, now) = (&mut talk.side.session, talk.now);
        match a & 7 {
            0..=3 => {
                let method = talk.connect.as_ref().and_then(|c| c.authentication_method.clone());
                let connack = ConnAck {
                    assigned_client_identifier: (b & 1 == 0).then(|| packets::text("a")),
                    authentication_method: method,
                    server_keep_alive: (b & 2 == 0).then_some(1),
                    ..ConnAck::default()
                };
                // With a session of which nothing is left, or a new one.
                let state = (b & 4 == 0).then(SessionState::default);
                if session.accept(Accept { connack, state }, now).is_ok() {
                    session.handle_input(&mut talk.side.arrived, now);
                }
            }
            4 => {
                let _ = session.refuse(ConnAck::new(ReasonCode::new(b)), now);
            }
            _ if talk.requests.is_empty() => {}
            _ => {
                let request = talk.requests[usize::from(b) % talk.requests.len()];
                let reasons = vec![ReasonCode::new(b); usize::from(a >> 4 & 3)];
                let _ = session.grant(request, reasons);
            }
        }
    }

    fn version(talk: &Talk<Server>) -> Version {
        talk.version
    }

    fn versions(talk: &Talk<Server>) -> Vec<Version> {
        // Before CONNECT is understood, the answer is that of the version which it is likely to be.
        match talk.connect.is_some() {
            true => vec![talk.version],
            false => vec![Version::V5, Version::V311],
        }
    }
}

impl<R: Command> Talk<R>
where
    R::Config: Clone,
{
    fn new(config: R::Config, version: Version, full_from: usize, journal: bool) -> Talk<R> {
        let side = Side::new(Session::new(config.clone()), full_from, journal);
        Talk { config, side, version, now: Instant::EPOCH, requests: Vec::new(), connect: None }
    }

    fn run(mut self, u: &mut Unstructured<'_>) -> Result<()> {
        while !u.is_empty() {
            self.step(u)?;
            self.poll();
        }
        self.take(usize::MAX);
        self.side.eof(self.now);
        self.poll();
        assert_eq!(self.side.session.poll_timeout(), None, "nothing to wait for");
        Ok(())
    }

    fn step(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let kind: u8 = u.arbitrary()?;
        let now = self.now;
        match kind % 32 {
            0..=7 => {
                let len = usize::from(u.arbitrary::<u8>()?).min(u.len());
                let bytes = u.bytes(len)?;
                self.input(bytes);
            }
            8..=15 => {
                let bytes = packets::bytes(u, self.version)?;
                // Whole, or in two parts with whatever comes in between.
                let part = if kind & 128 != 0 { bytes.len() / 2 } else { bytes.len() };
                self.input(&bytes[..part]);
                self.poll();
                self.input(&bytes[part..]);
            }
            other => {
                let [a, b]: [u8; 2] = u.arbitrary()?;
                self.command(other, a, b, now);
            }
        }
        Ok(())
    }

    fn command(&mut self, kind: u8, a: u8, b: u8, now: Instant) {
        let session = &mut self.side.session;
        match kind {
            16 | 17 => {
                let mut publish: Publish = packets::publish(a, b >> 2);
                if a & 32 != 0 {
                    publish.properties.edit().message_expiry_interval = Some((b & 3).into());
                }
                if a & 64 != 0 {
                    publish.properties.edit().topic_alias = Some((b & 3).into());
                }
                let result = session.publish(publish, now);
                self.accepted(result.ok(), Some(0));
            }
            18 | 19 if !self.side.acks.is_empty() => {
                let (ack, _) = self.side.acks[usize::from(a) % self.side.acks.len()];
                session.ack(ack, ReasonCode::new(b));
            }
            20 => {
                let open = self.side.open.len().max(1);
                let token = self.side.open.keys().nth(usize::from(a) % open).copied();
                if let Some(token) = token.filter(|token| session.cancel(*token).is_some()) {
                    self.side.open.remove(&token);
                }
            }
            21 => {
                let _ = session.disconnect(Disconnect::new(ReasonCode::new(a)), now);
            }
            22 => {
                let _ = session.authenticate(packets::auth(a), now);
            }
            23 | 24 => {
                // All that came out of the last connection is whole packets.
                self.take(usize::MAX);
                self.connect = None;
                self.version = R::version(self);
                self.side.open(now);
            }
            25 => {
                self.take(usize::MAX);
                self.side.eof(now);
            }
            26 => {
                self.now = now + Duration::from_millis(u64::from(a) * 20 + u64::from(b));
                session.handle_timeout(self.now);
            }
            27 => {
                self.side.sync(usize::from(a));
            }
            28 => self.take(usize::from(a)),
            29 => self.hand_over(),
            _ => R::command(self, a, b),
        }
    }

    /// The session goes on in another one, as from one connection of a broker to the next.
    fn hand_over(&mut self) {
        self.take(usize::MAX);
        self.side.eof(self.now);
        self.poll();
        let next = Session::new(self.config.clone());
        let state = std::mem::replace(&mut self.side.session, next).into_state();
        self.side.session = Session::with_state(self.config.clone(), state);
    }

    fn accepted(&mut self, token: Option<Token>, message: Option<usize>) {
        if let Some(token) = token {
            assert_eq!(self.side.open.insert(token, message), None, "used once");
        }
    }

    fn input(&mut self, bytes: &[u8]) {
        self.side.arrived.extend_from_slice(bytes);
        self.side.session.handle_input(&mut self.side.arrived, self.now);
        assert!(!self.side.is_closed() || self.side.arrived.is_empty(), "the rest is thrown away");
    }

    /// Takes bytes out; they are packets of the version.
    fn take(&mut self, bytes: usize) {
        let versions = R::versions(self);
        self.side.take(bytes, &versions);
        assert!(!self.side.out.is_empty() || self.side.is_whole(), "half a packet came out");
    }

    fn poll(&mut self) {
        for round in 0.. {
            assert!(round < 100, "polling never ends, or a deadline stays due");
            let events = self.side.poll(self.now);
            let mut any = !events.is_empty();
            events.into_iter().for_each(|event| self.event(event));
            if self.side.session.poll_timeout().is_some_and(|deadline| deadline <= self.now) {
                self.side.session.handle_timeout(self.now);
                any = true;
            }
            if !any {
                return;
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Message(message) => {
                self.side.acks.extend(message.ack.map(|ack| (ack, 0)));
            }
            Event::Connect(connect) => self.connect = Some(connect),
            Event::Subscribe(request, _) | Event::Unsubscribe(request, _) => {
                self.requests.push(request);
            }
            Event::Published { token, .. }
            | Event::Subscribed { token, .. }
            | Event::Unsubscribed { token, .. }
            | Event::Failed { token, .. } => {
                self.side.end(token);
            }
            _ => {}
        }
    }
}
