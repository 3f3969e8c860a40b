//! Messages that the session is done with: it drops none of them, if it was told to keep them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use mqtt_proto::{
    Client, ConnAck, Packet, Publish, QoS, ReasonCode, Role, ServerConfig, Session, Text, Version,
};

use crate::pair::{durable, message};
use crate::solo::{Solo, ack, ack_with, connect_packet, secs};

/// Counts how many payloads and texts have come to their end.
#[derive(Clone, Default)]
struct Lender(Arc<AtomicUsize>);

struct Lent(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

impl Lender {
    fn bytes(&self, len: usize) -> Bytes {
        Bytes::from_owner(Lent(vec![b'x'; len], self.0.clone()))
    }

    fn message(&self, qos: QoS) -> Publish {
        Publish { payload: self.bytes(10), ..message("t", "", qos) }
    }

    fn ended(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Lets messages come to their end, and says how many there were, or how many lent parts of them.
type Ending<R> = fn(&mut Solo<R>, &Lender) -> usize;

fn check<R: Role>(name: &str, make: fn() -> Solo<R>, end: Ending<R>) {
    for keeps in [true, false] {
        let (mut solo, lender) = (make(), Lender::default());
        if keeps {
            solo.session.keep_spent();
        }
        let expected = end(&mut solo, &lender);
        solo.events();
        assert_eq!(solo.session.has_spent(), keeps, "{name}");
        assert_eq!(lender.ended(), if keeps { 0 } else { expected }, "{name}, kept: {keeps}");
        let mut spent = Vec::new();
        solo.session.take_spent(&mut spent);
        assert!(!solo.session.has_spent(), "{name}");
        drop(spent);
        assert_eq!(lender.ended(), expected, "{name}, kept: {keeps}");
    }
}

fn publish(solo: &mut Solo<Client>, publish: Publish) {
    let now = solo.now;
    solo.session.publish(publish, now).unwrap();
    solo.sent();
}

fn connected() -> Solo<Client> {
    Solo::connected(Version::V5)
}

/// What a server says that takes less than before.
fn narrow() -> ConnAck {
    ConnAck { session_present: true, maximum_packet_size: Some(12), ..ConnAck::default() }
}

const REFUSED: ReasonCode = ReasonCode::QUOTA_EXCEEDED;

const ENDINGS: &[(&str, Ending<Client>)] = &[
    ("QoS 0 is sent", |solo, lender| {
        publish(solo, lender.message(QoS::AtMostOnce));
        1
    }),
    ("PUBACK", |solo, lender| {
        publish(solo, lender.message(QoS::AtLeastOnce));
        publish(solo, lender.message(QoS::AtLeastOnce));
        solo.feed(&Packet::PubAck(ack(2)));
        solo.feed(&Packet::PubAck(ack_with(1, REFUSED)));
        2
    }),
    ("PUBREC", |solo, lender| {
        publish(solo, lender.message(QoS::ExactlyOnce));
        solo.feed(&Packet::PubRec(ack(1)));
        1
    }),
    ("PUBREC refuses", |solo, lender| {
        publish(solo, lender.message(QoS::ExactlyOnce));
        solo.feed(&Packet::PubRec(ack_with(1, REFUSED)));
        1
    }),
    ("it expires in the line", |solo, lender| {
        let mut message = lender.message(QoS::AtLeastOnce);
        message.properties.edit().message_expiry_interval = Some(1);
        let now = solo.now;
        solo.session.publish(message, now).unwrap();
        solo.wait(secs(2));
        solo.sent();
        1
    }),
    ("it is given up", |solo, lender| {
        publish(solo, lender.message(QoS::AtLeastOnce));
        publish(solo, lender.message(QoS::ExactlyOnce));
        solo.reconnect(narrow());
        solo.sent();
        2
    }),
    ("the session is lost", |solo, lender| {
        publish(solo, lender.message(QoS::ExactlyOnce));
        solo.reconnect(ConnAck::default());
        1
    }),
    ("it may not be sent", |solo, lender| {
        solo.reconnect(narrow());
        let now = solo.now;
        let message = lender.message(QoS::AtLeastOnce);
        solo.session.publish(message, now).unwrap_err();
        let (message, mut taken) = (lender.message(QoS::AtLeastOnce), Vec::new());
        solo.session.publish_over(message, None, now, &mut taken).unwrap_err();
        2
    }),
];

#[test]
fn a_client_drops_none() {
    for (name, end) in ENDINGS {
        check(name, connected, *end);
    }
}

/// Properties that the version does not have.
fn with_properties(lender: &Lender) -> Publish {
    let mut message = message("t", "x", QoS::AtLeastOnce);
    let name = || Text::from_bytes(lender.bytes(20)).unwrap();
    message.properties.edit().content_type = Some(name());
    message.properties.edit().user_properties = vec![(name(), name())];
    message
}

#[test]
fn a_server_drops_none() {
    fn serving() -> Solo<mqtt_proto::Server> {
        Solo::serving(ServerConfig::default(), Version::V311, connect_packet(false))
    }
    check("properties that the version does not have", serving, |solo, lender| {
        let now = solo.now;
        solo.session.publish(with_properties(lender), now).unwrap();
        solo.sent();
        3
    });
    check("another state takes its place", serving, |solo, lender| {
        let now = solo.now;
        solo.session.publish(lender.message(QoS::AtLeastOnce), now).unwrap();
        solo.sent();
        solo.session.publish(lender.message(QoS::AtLeastOnce), now).unwrap();
        solo.eof();
        solo.open();
        solo.feed(&Packet::Connect(Box::new(connect_packet(true))));
        solo.accept(ConnAck::default(), None);
        2
    });
}

#[test]
fn a_vector_that_is_not_empty_is_added_to() {
    let mut solo = connected();
    solo.session.keep_spent();
    let mut spent = vec![message("first", "", QoS::AtMostOnce)];
    publish(&mut solo, message("second", "", QoS::AtMostOnce));
    solo.session.take_spent(&mut spent);
    let topics: Vec<&str> = spent.iter().map(|publish| publish.topic.as_str()).collect();
    assert_eq!(topics, ["first", "second"]);
}

/// What is still held goes with the session, or with its state.
#[test]
fn what_has_not_ended_is_not_spent() {
    let lender = Lender::default();
    let mut session = Session::<Client>::new(durable(Version::V5));
    session.keep_spent();
    session.publish(lender.message(QoS::AtLeastOnce), mqtt_proto::Instant::EPOCH).unwrap();
    assert!(!session.has_spent());
    let state = session.into_state();
    assert_eq!(lender.ended(), 0);
    drop(state);
    assert_eq!(lender.ended(), 1);
}
