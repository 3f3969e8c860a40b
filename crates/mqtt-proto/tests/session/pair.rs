//! A client session and a server session over a simulated wire: no socket, no sleep.
//!
//! The wire delivers in chunks of a chosen size and can be cut after any number of bytes. Time moves
//! only when a test moves it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use mqtt_proto::{
    Accept, AckId, Client, ClientConfig, CloseReason, ConnAck, Connect, Event, Instant, Message,
    Packet, Phase, Publish, QoS, ReasonCode, Server, ServerConfig, Session, SessionState,
    Subscribe, Text, Token, TopicFilter, TopicName, TxBuf, Version, codec,
};

/// Both versions that have a Session Present flag.
pub const VERSIONS: [Version; 2] = [Version::V311, Version::V5];

/// Byte by byte, at odd boundaries, and whatever there is.
pub const CHUNKS: [usize; 3] = [1, 7, 64 * 1024];

pub fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

pub fn message(name: &str, payload: &str, qos: QoS) -> Publish {
    Publish::new(topic(name), Bytes::copy_from_slice(payload.as_bytes())).qos(qos)
}

pub fn subscribe(filter: &str, qos: QoS) -> Subscribe {
    Subscribe::new(TopicFilter::new(filter).unwrap(), qos)
}

/// A client with a session that outlives its connections.
pub fn durable(version: Version) -> ClientConfig {
    let mut config = ClientConfig::new(version);
    config.connect.client_id = Text::new("pair").unwrap();
    config.connect.clean_start = false;
    if version.is_v5() {
        config.connect.session_expiry_interval = Some(3600);
    }
    config
}

/// One direction of the wire.
#[derive(Default)]
struct Lane {
    out: TxBuf,
    on_the_way: VecDeque<u8>,
    arrived: BytesMut,
    /// All that was put on the wire, for tests that look at packets.
    recorded: BytesMut,
}

impl Lane {
    /// Moves what was encoded onto the wire.
    fn send(&mut self) -> bool {
        let moved = !self.out.is_empty();
        while !self.out.is_empty() {
            let chunk = self.out.chunk();
            self.on_the_way.extend(chunk);
            self.recorded.extend_from_slice(chunk);
            let len = chunk.len();
            self.out.advance(len);
        }
        moved
    }

    fn deliver(&mut self, count: usize) {
        for byte in self.on_the_way.drain(..count) {
            self.arrived.extend_from_slice(&[byte]);
        }
    }

    fn reset(&mut self) {
        self.out.clear();
        self.on_the_way.clear();
        self.arrived.clear();
    }
}

pub struct Pair {
    pub version: Version,
    pub client: Session<Client>,
    pub server: Session<Server>,
    server_config: ServerConfig,
    pub now: Instant,
    pub chunk: usize,
    open: bool,
    to_server: Lane,
    to_client: Lane,
    /// Bytes that may still be delivered before the wire is cut.
    pub cut_after: Option<usize>,
    pub delivered: usize,
    /// What the sides were told and no rule below has dealt with; messages are not in it.
    pub client_events: Vec<Event>,
    pub server_events: Vec<Event>,
    /// Messages in the order of delivery to the application.
    pub client_messages: Vec<Message>,
    pub server_messages: Vec<Message>,
    /// Whether the applications acknowledge at once.
    pub client_acks: bool,
    pub server_acks: bool,
    /// What the server's application says to CONNECT; `None`: the test answers itself.
    pub accept: Option<ConnAck>,
    pub connects: Vec<Connect>,
    /// The state that the server's application keeps between connections.
    stored: Option<SessionState>,
    /// Whether the server's application forgets sessions.
    pub forgetful: bool,
    /// What the server grants; `None`: the test answers itself.
    pub grant: Option<ReasonCode>,
}

impl Pair {
    pub fn new(config: ClientConfig) -> Pair {
        Pair::with_server(config, ServerConfig::default())
    }

    pub fn with_server(config: ClientConfig, server_config: ServerConfig) -> Pair {
        Pair {
            version: config.version,
            client: Session::new(config),
            server: Session::new(server_config.clone()),
            server_config,
            now: Instant::from_epoch(Duration::from_secs(1000)),
            chunk: 64 * 1024,
            open: false,
            to_server: Lane::default(),
            to_client: Lane::default(),
            cut_after: None,
            delivered: 0,
            client_events: Vec::new(),
            server_events: Vec::new(),
            client_messages: Vec::new(),
            server_messages: Vec::new(),
            client_acks: true,
            server_acks: true,
            accept: Some(ConnAck::default()),
            connects: Vec::new(),
            stored: None,
            forgetful: false,
            grant: Some(ReasonCode::GRANTED_QOS_2),
        }
    }

    /// A connected pair with a durable session.
    pub fn connected(version: Version, chunk: usize) -> Pair {
        let mut pair = Pair::new(durable(version));
        pair.chunk = chunk;
        pair.open();
        pair.settle();
        assert!(pair.was_connected(), "{:?}", pair.client_events);
        pair
    }

    /// Opens the transport on both sides, with a fresh server session as a broker makes one.
    pub fn open(&mut self) {
        self.to_server.reset();
        self.to_client.reset();
        self.client.handle_open(self.now);
        self.keep_server_state();
        self.server.handle_open(self.now);
        self.open = true;
    }

    fn keep_server_state(&mut self) {
        let server = std::mem::replace(&mut self.server, Session::new(self.server_config.clone()));
        let state = server.into_state();
        if self.stored.is_none() {
            self.stored = Some(state);
        }
    }

    /// Cuts the transport: what is on the way is lost.
    pub fn cut(&mut self) {
        self.open = false;
        self.client.handle_written(&self.to_server.out);
        self.server.handle_written(&self.to_client.out);
        self.client.handle_eof(self.now);
        self.server.handle_eof(self.now);
        self.take_events();
        self.to_server.reset();
        self.to_client.reset();
    }

    pub fn reconnect(&mut self) {
        if self.open {
            self.cut();
        }
        self.open();
        self.settle();
    }

    /// Goes on until nothing moves any more.
    pub fn settle(&mut self) {
        for _ in 0..1_000_000 {
            if !self.step() {
                return;
            }
        }
        panic!("the pair does not come to rest");
    }

    /// Transmits, delivers a chunk in each direction and takes events; tells whether anything happened.
    pub fn step(&mut self) -> bool {
        let mut moved = false;
        if self.open {
            moved |= self.client.poll_transmit(&mut self.to_server.out, self.now);
            self.to_server.send();
            moved |= self.take_events();
            moved |= self.carry(true);
            moved |= self.take_events();
        }
        if self.open {
            moved |= self.server.poll_transmit(&mut self.to_client.out, self.now);
            self.to_client.send();
            moved |= self.take_events();
            moved |= self.carry(false);
        }
        moved | self.take_events()
    }

    fn carry(&mut self, to_server: bool) -> bool {
        let lane = if to_server { &mut self.to_server } else { &mut self.to_client };
        let wanted = lane.on_the_way.len().min(self.chunk);
        let count = wanted.min(self.cut_after.unwrap_or(usize::MAX));
        lane.deliver(count);
        self.delivered += count;
        if to_server {
            self.server.handle_input(&mut lane.arrived, self.now);
        } else {
            self.client.handle_input(&mut lane.arrived, self.now);
        }
        if let Some(left) = &mut self.cut_after {
            *left -= count;
            if *left == 0 && wanted >= count {
                self.cut_after = None;
                self.cut();
                return true;
            }
        }
        count > 0
    }

    fn take_events(&mut self) -> bool {
        let mut any = false;
        while let Some(event) = self.client.poll_event() {
            any = true;
            match event {
                Event::Message(message) => {
                    if let (true, Some(ack)) = (self.client_acks, message.ack) {
                        self.client.ack(ack, ReasonCode::SUCCESS);
                    }
                    self.client_messages.push(message);
                }
                other => self.client_events.push(other),
            }
        }
        while let Some(event) = self.server.poll_event() {
            any = true;
            self.server_event(event);
        }
        any
    }

    fn server_event(&mut self, event: Event) {
        match event {
            Event::Message(message) => {
                if let (true, Some(ack)) = (self.server_acks, message.ack) {
                    self.server.ack(ack, ReasonCode::SUCCESS);
                }
                self.server_messages.push(message);
            }
            Event::Connect(connect) => {
                self.connects.push(*connect);
                if let Some(connack) = self.accept.clone() {
                    self.answer_connect(connack);
                }
            }
            Event::Subscribe(request, subscribe) if self.grant.is_some() => {
                let granted = self.grant.unwrap();
                let reasons = vec![granted; subscribe.subscriptions.len()];
                self.server.grant(request, reasons).unwrap();
            }
            Event::Unsubscribe(request, unsubscribe) if self.grant.is_some() => {
                let reasons = vec![ReasonCode::SUCCESS; unsubscribe.filters.len()];
                self.server.grant(request, reasons).unwrap();
            }
            other => self.server_events.push(other),
        }
    }

    /// Answers a CONNECT as a broker does: with the session that it has, if it has one.
    pub fn answer_connect(&mut self, connack: ConnAck) {
        if self.server.phase() != Phase::Accepting {
            // Cut meanwhile.
            return;
        }
        let known = self.connects.len() > 1 && !self.forgetful;
        let state = self.stored.take().filter(|_| known);
        if connack.reason.is_error() {
            self.server.refuse(connack, self.now).unwrap();
        } else {
            self.server.accept(Accept { connack, state }, self.now).unwrap();
            self.server.handle_input(&mut self.to_server.arrived, self.now);
        }
    }

    /// Moves time to the next deadline of either side, at most `limit` from now; false: there is none.
    pub fn advance(&mut self, limit: Duration) -> bool {
        let deadlines = [self.client.poll_timeout(), self.server.poll_timeout()];
        let next = deadlines.into_iter().flatten().min().filter(|next| *next <= self.now + limit);
        let Some(next) = next else { return false };
        self.now = self.now.max(next);
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
        true
    }

    /// Tells whether the server goes on with what is published now.
    pub fn resumable(&self) -> bool {
        self.server.phase() == Phase::Connected
            || self.stored.is_none() && !self.open && !self.connects.is_empty()
    }

    // --- what a test asks ---

    pub fn was_connected(&self) -> bool {
        self.client_events.iter().any(|event| matches!(event, Event::Connected { .. }))
    }

    /// Returns the `resumed` of the last `Connected`.
    pub fn resumed(&self) -> bool {
        let last = self.client_events.iter().rev().find_map(|event| match event {
            Event::Connected { resumed, .. } => Some(*resumed),
            _ => None,
        });
        last.expect("connected")
    }

    /// Returns why the client's connection ended, and takes the event.
    pub fn client_closed(&mut self) -> CloseReason {
        closed(&mut self.client_events)
    }

    pub fn server_closed(&mut self) -> CloseReason {
        closed(&mut self.server_events)
    }

    /// Returns what became of a client's token; it must have ended exactly once.
    pub fn outcome(&self, token: Token) -> Event {
        only_outcome(&self.client_events, token)
    }

    pub fn server_outcome(&self, token: Token) -> Event {
        only_outcome(&self.server_events, token)
    }

    pub fn payloads(messages: &[Message]) -> Vec<String> {
        let text = |message: &Message| {
            String::from_utf8(message.publish.payload_bytes().to_vec()).unwrap()
        };
        messages.iter().map(text).collect()
    }

    pub fn client_acks_of(&self) -> Vec<AckId> {
        self.client_messages.iter().filter_map(|message| message.ack).collect()
    }

    /// Returns the packets that a side has put on the wire since the last call.
    pub fn sent_by_client(&mut self) -> Vec<Packet> {
        packets(&mut self.to_server.recorded, self.version)
    }

    pub fn sent_by_server(&mut self) -> Vec<Packet> {
        packets(&mut self.to_client.recorded, self.version)
    }
}

fn closed(events: &mut Vec<Event>) -> CloseReason {
    let is_closed = |event: &Event| matches!(event, Event::Closed { .. });
    let count = events.iter().filter(|event| is_closed(event)).count();
    assert_eq!(count, 1, "closed once: {events:?}");
    let at = events.iter().position(is_closed).unwrap();
    match events.remove(at) {
        Event::Closed { reason, .. } => reason,
        _ => unreachable!(),
    }
}

/// Returns the token of an event that ends it.
pub fn ends(event: &Event) -> Option<Token> {
    match event {
        Event::Published { token, .. }
        | Event::Subscribed { token, .. }
        | Event::Unsubscribed { token, .. }
        | Event::Failed { token, .. } => Some(*token),
        _ => None,
    }
}

fn only_outcome(events: &[Event], token: Token) -> Event {
    let outcomes: Vec<&Event> = events.iter().filter(|event| ends(event) == Some(token)).collect();
    assert_eq!(outcomes.len(), 1, "one outcome for {token:?}: {events:?}");
    outcomes[0].clone()
}

fn packets(recorded: &mut BytesMut, version: Version) -> Vec<Packet> {
    let mut packets = Vec::new();
    while let Some(frame) = codec::frame(recorded, u32::MAX).unwrap() {
        packets.push(codec::decode(&frame, version).unwrap());
    }
    packets
}

/// Encodes a packet as a peer would.
pub fn wire(packet: &Packet, version: Version) -> Vec<u8> {
    let mut out = TxBuf::new();
    codec::encode(packet, version, &mut out).unwrap();
    out.copy_to_bytes(out.remaining()).to_vec()
}

pub fn published(reason: ReasonCode) -> impl Fn(&Event) -> bool {
    move |event| matches!(event, Event::Published { reason: got, .. } if *got == reason)
}
