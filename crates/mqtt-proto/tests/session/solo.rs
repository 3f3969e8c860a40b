//! One session against a scripted peer: the test writes each packet that the peer sends.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use mqtt_proto::{
    Accept, Ack, Client, ClientConfig, CloseReason, ConnAck, Connect, Event, Instant, Message,
    Packet, PacketId, PacketType, PeerError, Publish, QoS, ReasonCode, Role, Server, ServerConfig,
    Session, SessionState, Text, TxBuf, Version, codec,
};

use crate::pair::{message, wire};

pub fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

pub fn ack(packet_id: u16) -> Ack {
    Ack::new(id(packet_id), ReasonCode::SUCCESS)
}

pub fn ack_with(packet_id: u16, reason: ReasonCode) -> Ack {
    Ack::new(id(packet_id), reason)
}

pub fn text(text: &str) -> Text {
    Text::new(text).unwrap()
}

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn types(packets: &[Packet]) -> Vec<PacketType> {
    packets.iter().map(Packet::packet_type).collect()
}

/// The bytes of a PUBLISH as a peer sends it.
pub fn publish_bytes(version: Version, publish: &Publish, packet_id: u16, dup: bool) -> Vec<u8> {
    let header = codec::PublishHeader {
        packet_id: PacketId::new(packet_id),
        dup,
        ..codec::PublishHeader::default()
    };
    header_bytes(version, publish, &header)
}

pub fn header_bytes(version: Version, publish: &Publish, header: &codec::PublishHeader) -> Vec<u8> {
    let mut out = TxBuf::new();
    codec::encode_publish(publish, header, version, &mut out).unwrap();
    out.copy_to_bytes(out.remaining()).to_vec()
}

pub fn connect_packet(clean_start: bool) -> Connect {
    Connect { client_id: text("solo"), clean_start, keep_alive: 0, ..Connect::default() }
}

/// A session whose peer is the test.
pub struct Solo<R: Role> {
    pub session: Session<R>,
    pub version: Version,
    pub now: Instant,
    /// How many bytes arrive at once.
    pub chunk: usize,
    events: Vec<Event>,
    input: BytesMut,
    out: TxBuf,
    recorded: BytesMut,
}

impl<R: Role> Solo<R> {
    fn with(session: Session<R>, version: Version) -> Solo<R> {
        Solo {
            session,
            version,
            now: Instant::from_epoch(secs(1000)),
            chunk: 64 * 1024,
            events: Vec::new(),
            input: BytesMut::new(),
            out: TxBuf::new(),
            recorded: BytesMut::new(),
        }
    }

    pub fn open(&mut self) {
        self.input.clear();
        self.out.clear();
        self.recorded.clear();
        self.session.handle_open(self.now);
        self.collect();
    }

    pub fn eof(&mut self) {
        self.session.handle_eof(self.now);
        self.collect();
    }

    /// Lets the peer send a packet.
    pub fn feed(&mut self, packet: &Packet) {
        self.feed_raw(&wire(packet, self.version));
    }

    pub fn feed_publish(&mut self, publish: &Publish, packet_id: u16, dup: bool) {
        self.feed_raw(&publish_bytes(self.version, publish, packet_id, dup));
    }

    pub fn feed_raw(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(self.chunk) {
            self.input.extend_from_slice(chunk);
            self.session.handle_input(&mut self.input, self.now);
            self.collect();
        }
    }

    /// Hands what has come and was not taken over once more.
    pub fn feed_again(&mut self) {
        self.session.handle_input(&mut self.input, self.now);
        self.collect();
    }

    pub fn collect(&mut self) {
        while let Some(event) = self.session.poll_event() {
            self.events.push(event);
        }
    }

    fn transmit(&mut self) {
        while self.session.poll_transmit(&mut self.out, self.now) {
            while !self.out.is_empty() {
                let chunk = self.out.chunk();
                self.recorded.extend_from_slice(chunk);
                let len = chunk.len();
                self.out.advance(len);
            }
        }
        self.collect();
    }

    /// Returns what the session has sent since the last call.
    pub fn sent_raw(&mut self) -> Vec<u8> {
        self.transmit();
        self.recorded.split().to_vec()
    }

    pub fn sent(&mut self) -> Vec<Packet> {
        self.transmit();
        let mut packets = Vec::new();
        while let Some(frame) = codec::frame(&mut self.recorded, u32::MAX).unwrap() {
            packets.push(codec::decode(&frame, self.version).unwrap());
        }
        assert!(self.recorded.is_empty(), "nothing but whole packets");
        packets
    }

    pub fn sent_types(&mut self) -> Vec<PacketType> {
        types(&self.sent())
    }

    /// Returns what happened since the last call.
    pub fn events(&mut self) -> Vec<Event> {
        self.collect();
        std::mem::take(&mut self.events)
    }

    pub fn messages(&mut self) -> Vec<Message> {
        let message = |event| match event {
            Event::Message(message) => Some(message),
            _ => None,
        };
        self.events().into_iter().filter_map(message).collect()
    }

    /// Returns why the connection ended; it has to have ended once.
    pub fn closed(&mut self) -> CloseReason {
        let mut reasons: Vec<CloseReason> = self.all_closed();
        assert_eq!(reasons.len(), 1, "closed once: {reasons:?}");
        reasons.remove(0)
    }

    pub fn all_closed(&mut self) -> Vec<CloseReason> {
        let reason = |event| match event {
            Event::Closed { reason, .. } => Some(reason),
            _ => None,
        };
        self.events().into_iter().filter_map(reason).collect()
    }

    /// The connection has ended because of the peer, for that reason, and MQTT 5.0 was told so.
    pub fn closed_for(&mut self, code: ReasonCode) -> PeerError {
        let said = self.sent();
        let expected = match self.version {
            Version::V5 => vec![PacketType::Disconnect],
            _ => vec![],
        };
        assert_eq!(types(&said), expected, "{code}");
        if let [Packet::Disconnect(disconnect)] = &said[..] {
            assert_eq!(disconnect.reason, code);
        }
        match self.closed() {
            CloseReason::Peer(error) => {
                assert_eq!(error.reason(), code, "{error}");
                error
            }
            other => panic!("not the peer's fault: {other}"),
        }
    }

    pub fn is_open(&mut self) -> bool {
        self.collect();
        !self.events.iter().any(|event| matches!(event, Event::Closed { .. }))
    }

    /// Lets time pass, and tells the session so.
    pub fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.session.handle_timeout(self.now);
        self.collect();
    }
}

impl Solo<Client> {
    /// A client that has sent its CONNECT.
    pub fn client(config: ClientConfig) -> Solo<Client> {
        Solo::client_with(config, SessionState::default())
    }

    pub fn client_with(config: ClientConfig, state: SessionState) -> Solo<Client> {
        let version = config.version;
        let mut solo = Solo::with(Session::with_state(config, state), version);
        solo.open();
        assert_eq!(solo.sent_types(), [PacketType::Connect]);
        solo
    }

    /// A client that is connected.
    pub fn accepted(config: ClientConfig, connack: ConnAck) -> Solo<Client> {
        let mut solo = Solo::client(config);
        solo.feed(&Packet::ConnAck(Box::new(connack)));
        assert!(matches!(solo.events()[..], [Event::Connected { .. }]));
        solo
    }

    pub fn connected(version: Version) -> Solo<Client> {
        Solo::accepted(crate::pair::durable(version), ConnAck::default())
    }

    /// Opens the next connection up to CONNACK and returns the CONNECT.
    pub fn reconnect(&mut self, connack: ConnAck) -> Connect {
        self.eof();
        self.open();
        let connect = match self.sent().remove(0) {
            Packet::Connect(connect) => *connect,
            other => panic!("not CONNECT: {other:?}"),
        };
        self.feed(&Packet::ConnAck(Box::new(connack)));
        connect
    }

    pub fn resume(&mut self) {
        let session_present = self.version != Version::V31;
        self.reconnect(ConnAck { session_present, ..ConnAck::default() });
    }

    pub fn publish(&mut self, name: &str, qos: QoS) -> mqtt_proto::Token {
        self.session.publish(message(name, name, qos), self.now).unwrap()
    }
}

impl Solo<Server> {
    /// A server whose transport is open.
    pub fn server(config: ServerConfig, version: Version) -> Solo<Server> {
        let mut solo = Solo::with(Session::new(config), version);
        solo.open();
        solo
    }

    /// A server that has accepted a client.
    pub fn serving(config: ServerConfig, version: Version, connect: Connect) -> Solo<Server> {
        let mut solo = Solo::server(config, version);
        solo.feed(&Packet::Connect(Box::new(connect)));
        solo.accept(ConnAck::default(), None);
        assert_eq!(solo.sent_types(), [PacketType::ConnAck]);
        solo.events();
        solo
    }

    pub fn plain(version: Version) -> Solo<Server> {
        Solo::serving(ServerConfig::default(), version, connect_packet(true))
    }

    pub fn accept(&mut self, connack: ConnAck, state: Option<SessionState>) {
        self.session.accept(Accept { connack, state }, self.now).unwrap();
        self.feed_again();
    }

    pub fn publish(&mut self, name: &str, qos: QoS) -> mqtt_proto::Token {
        self.session.publish(message(name, name, qos), self.now).unwrap()
    }
}

/// One packet of each type, as well-formed as it gets in that version.
pub fn one_of_each(version: Version) -> Vec<Vec<u8>> {
    let subscribe = crate::pair::subscribe("a", QoS::AtMostOnce);
    let reasons = vec![ReasonCode::SUCCESS];
    let properties = mqtt_proto::AckProperties::NONE;
    let suback = mqtt_proto::SubAck {
        packet_id: id(9),
        reasons: reasons.clone(),
        properties: properties.clone(),
    };
    let reasons = if version.is_v5() { reasons } else { Vec::new() };
    let unsuback = mqtt_proto::UnsubAck { packet_id: id(9), reasons, properties };
    let filter = mqtt_proto::TopicFilter::new("a").unwrap();
    let unsubscribe = mqtt_proto::Unsubscribe::new(filter);
    let mut all: Vec<Vec<u8>> = [
        Packet::Connect(Box::new(connect_packet(true))),
        Packet::ConnAck(Box::default()),
        Packet::PubAck(ack(9)),
        Packet::PubRec(ack(9)),
        Packet::PubRel(ack(9)),
        Packet::PubComp(ack(9)),
        Packet::Subscribe(id(9), Box::new(subscribe)),
        Packet::SubAck(suback),
        Packet::Unsubscribe(id(9), Box::new(unsubscribe)),
        Packet::UnsubAck(unsuback),
        Packet::PingReq,
        Packet::PingResp,
        Packet::Disconnect(mqtt_proto::Disconnect::default()),
    ]
    .iter()
    .map(|packet| wire(packet, version))
    .collect();
    if version.is_v5() {
        let auth = mqtt_proto::Auth {
            reason: ReasonCode::CONTINUE_AUTHENTICATION,
            authentication_method: Some(text("m")),
            ..mqtt_proto::Auth::default()
        };
        all.push(wire(&Packet::Auth(Box::new(auth)), version));
    }
    all.push(publish_bytes(version, &message("a", "x", QoS::AtMostOnce), 0, false));
    all
}

pub fn type_of(bytes: &[u8]) -> PacketType {
    PacketType::from_u8(bytes[0] >> 4).unwrap()
}
