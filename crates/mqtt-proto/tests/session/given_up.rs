//! QoS 2 messages that were sent, and that the next connection does not take: their identifiers.

use mqtt_proto::{
    Client, ConnAck, Event, Failure, Packet, Publish, QoS, ReasonCode, Session, SessionState,
    StoreKey, Text, Token, Version,
};

use crate::pair::{Pair, VERSIONS, durable, message};
use crate::solo::{Solo, ack, ack_with, id, secs};
use crate::store::Disk;

const SUCCESS: ReasonCode = ReasonCode::SUCCESS;

fn large(qos: QoS) -> Publish {
    message("large", &"x".repeat(200), qos)
}

/// What a server says that takes less than before, as far as its version has words for it.
fn narrow() -> ConnAck {
    let (session_present, maximum_packet_size) = (true, Some(100));
    ConnAck { session_present, maximum_packet_size, ..ConnAck::default() }
}

fn failed(events: &[Event]) -> Vec<Token> {
    let one = |event: &Event| match event {
        Event::Failed { token, error: Failure::TooLarge { .. } | Failure::NotSupported(_) } => {
            Some(*token)
        }
        Event::Published { .. } | Event::Failed { .. } => panic!("{event:?}"),
        _ => None,
    };
    events.iter().filter_map(one).collect()
}

// The next message with that identifier was taken for a repetition of the first, acknowledged, and lost.
// covers: v5 MQTT-2.2.1-3, v5 MQTT-4.3.3-1
// class: 22, 32
#[test]
fn no_other_message_gets_an_identifier_that_the_server_may_hold() {
    let mut config = durable(Version::V5);
    config.connect.keep_alive = 0;
    let mut pair = Pair::new(config);
    pair.open();
    pair.settle();
    // The server has it and its PUBREC is lost.
    let token = pair.client.publish(large(QoS::ExactlyOnce), pair.now).unwrap();
    pair.server_acks = false;
    pair.settle();
    pair.server_acks = true;
    pair.cut();
    pair.accept = Some(ConnAck { maximum_packet_size: Some(100), ..ConnAck::default() });
    pair.reconnect();
    assert!(pair.resumed());
    let error = Failure::TooLarge { size: 213, limit: 100 };
    assert_eq!(pair.outcome(token), Event::Failed { token, error });
    // Once around.
    for number in 1..=65_536_u32 {
        let text = number.to_string();
        pair.client.publish(message("a", &text, QoS::ExactlyOnce), pair.now).unwrap();
        if number % 1000 == 0 || number == 65_536 {
            pair.settle();
            let got: Vec<u32> = Pair::payloads(&pair.server_messages)
                .iter()
                .filter_map(|t| t.parse().ok())
                .collect();
            assert_eq!(got.last(), Some(&number), "nothing was taken for a repetition");
            pair.server_messages.clear();
            pair.client_events.clear();
            pair.sent_by_client();
            pair.sent_by_server();
        }
    }
    assert!(pair.client.is_idle());
    assert_eq!(pair.client.stats().given_up, 1);
}

/// The ways in which a connection takes less than the one before.
fn ways() -> Vec<(&'static str, Publish, ConnAck, Version)> {
    let plain = || message("a", "x", QoS::ExactlyOnce);
    let mut retained = plain();
    retained.retain = true;
    let mut typed = plain();
    typed.properties.edit().content_type = Text::new("text/plain").ok();
    let present = ConnAck { session_present: true, ..ConnAck::default() };
    vec![
        ("size", large(QoS::ExactlyOnce), narrow(), Version::V5),
        (
            "QoS",
            plain(),
            ConnAck { maximum_qos: Some(QoS::AtLeastOnce), ..present.clone() },
            Version::V5,
        ),
        (
            "retain",
            retained,
            ConnAck { retain_available: Some(false), ..present.clone() },
            Version::V5,
        ),
        ("version", typed, present, Version::V311),
    ]
}

// class: 32
#[test]
fn whatever_the_connection_lacks_the_identifier_stays_taken_and_nothing_else() {
    for (what, publish, connack, version) in ways() {
        let mut config = durable(Version::V5);
        config.bounds.messages = 1;
        let mut solo = Solo::accepted(config, ConnAck::default());
        let token = solo.session.publish(publish, solo.now).unwrap();
        assert_eq!(solo.sent().len(), 1);
        switch(&mut solo, version);
        solo.reconnect(ConnAck { receive_maximum: Some(1).filter(|_| version.is_v5()), ..connack });
        assert_eq!(solo.sent(), [], "{what}");
        assert_eq!(failed(&solo.events()), [token], "{what}");
        let stats = solo.session.stats();
        assert_eq!((stats.in_flight, stats.held_bytes, stats.given_up), (0, 0, 1), "{what}");
        assert!(solo.session.is_idle(), "{what}");
        // It takes no room and no quota.
        solo.publish("b", QoS::AtLeastOnce);
        assert_eq!(solo.sent().len(), 1, "{what}");
        solo.feed(&Packet::PubAck(ack(2)));
        solo.events();
        // Nothing of it is sent again, also where it would be taken.
        let session_present = true;
        switch(&mut solo, Version::V5);
        solo.reconnect(ConnAck { session_present, ..ConnAck::default() });
        assert_eq!((solo.sent(), failed(&solo.events())), (vec![], vec![]), "{what}");
        assert!(!Session::into_state(solo.session).is_empty(), "an identifier is something");
    }
}

/// Lets the next connection have that version.
pub fn switch(solo: &mut Solo<Client>, version: Version) {
    solo.eof();
    solo.events();
    solo.version = version;
    let mut config = durable(version);
    std::mem::swap(solo.session.config_mut(), &mut config);
    solo.session.config_mut().bounds = config.bounds;
}

/// A client that was connected with a large message of that QoS under way, and is now where it is not
/// taken.
fn given_up(qos: QoS) -> Solo<Client> {
    let mut solo = Solo::connected(Version::V5);
    let token = solo.session.publish(large(qos), solo.now).unwrap();
    solo.sent();
    solo.reconnect(narrow());
    assert_eq!(solo.sent(), []);
    assert_eq!(failed(&solo.events()), [token]);
    solo
}

// Some servers send PUBREC again by themselves.
// covers: v5 MQTT-4.3.3-4, v5 MQTT-4.4.0-1
#[test]
fn a_late_pubrec_is_answered_and_pubcomp_frees_the_identifier() {
    let mut solo = given_up(QoS::ExactlyOnce);
    for _ in 0..2 {
        solo.feed(&Packet::PubRec(ack(1)));
        assert_eq!(solo.sent(), [Packet::PubRel(ack(1))]);
    }
    // The promise outlives the connection, and is kept once on each.
    for _ in 0..2 {
        solo.resume();
        solo.events();
        assert_eq!(solo.sent(), [Packet::PubRel(ack(1))]);
    }
    solo.resume();
    solo.feed(&Packet::PubRec(ack(1)));
    assert_eq!(solo.sent(), [Packet::PubRel(ack(1))], "an answer is enough");
    solo.feed(&Packet::PubComp(ack(1)));
    assert!(failed(&solo.events()).is_empty(), "its outcome was told");
    assert_eq!(solo.session.stats(), Default::default());
    let unknown = ack_with(1, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND);
    solo.feed(&Packet::PubRec(ack(1)));
    assert_eq!(solo.sent(), [Packet::PubRel(unknown)]);
}

// covers: v5 MQTT-4.4.0-1
#[test]
fn pubrels_leave_in_the_order_of_the_pubrecs_whatever_became_of_the_messages() {
    let mut solo = Solo::connected(Version::V5);
    for publish in [large(QoS::ExactlyOnce), message("a", "x", QoS::ExactlyOnce)] {
        solo.session.publish(publish, solo.now).unwrap();
    }
    solo.sent();
    solo.reconnect(narrow());
    assert_eq!(solo.sent().len(), 1);
    for order in [[2, 1], [1, 2]] {
        for packet_id in order {
            solo.feed(&Packet::PubRec(ack(packet_id)));
        }
        solo.sent();
        solo.resume();
        assert_eq!(solo.sent(), [Packet::PubRel(ack(2)), Packet::PubRel(ack(1))]);
    }
}

#[test]
fn an_error_or_the_end_of_the_session_frees_the_identifier() {
    let mut solo = given_up(QoS::ExactlyOnce);
    solo.feed(&Packet::PubRec(ack_with(1, ReasonCode::QUOTA_EXCEEDED)));
    assert_eq!((solo.sent(), failed(&solo.events())), (vec![], vec![]));
    assert_eq!(solo.session.stats(), Default::default());

    let mut solo = given_up(QoS::ExactlyOnce);
    solo.reconnect(ConnAck::default());
    assert_eq!(failed(&solo.events()), []);
    assert_eq!(solo.session.stats(), Default::default());

    // MQTT 3.1.1 keeps what is in flight then, but the server has none of it.
    let mut solo = given_up(QoS::ExactlyOnce);
    switch(&mut solo, Version::V311);
    solo.reconnect(ConnAck::default());
    assert_eq!(solo.session.stats(), Default::default());
}

#[test]
fn pubcomp_without_pubrel_is_the_servers_fault() {
    let mut solo = given_up(QoS::ExactlyOnce);
    solo.feed(&Packet::PubComp(ack(1)));
    solo.closed_for(ReasonCode::PROTOCOL_ERROR);
    assert_eq!(solo.session.stats().given_up, 1);
}

// Nobody remembers identifiers of QoS 1, so they are free at once.
// class: 27
#[test]
fn at_qos_1_nothing_is_kept_and_a_late_puback_is_harmless() {
    let mut solo = given_up(QoS::AtLeastOnce);
    assert_eq!(solo.session.stats(), Default::default());
    solo.feed(&Packet::PubAck(ack(1)));
    assert!(solo.is_open());
    assert_eq!(failed(&solo.events()), []);
}

#[test]
fn what_was_never_sent_leaves_nothing_behind() {
    let mut solo = Solo::connected(Version::V5);
    solo.eof();
    let token = solo.session.publish(large(QoS::ExactlyOnce), solo.now).unwrap();
    solo.reconnect(narrow());
    solo.sent();
    assert_eq!(failed(&solo.events()), [token]);
    assert_eq!(solo.session.stats(), Default::default());
}

// A client may well take less on its next connection.
// covers: v5 MQTT-3.1.2-25
#[test]
fn a_server_keeps_the_identifier_as_well() {
    let mut pair = Pair::new(durable(Version::V5));
    pair.open();
    pair.settle();
    pair.client_acks = false;
    let token = pair.server.publish(large(QoS::ExactlyOnce), pair.now).unwrap();
    pair.settle();
    assert_eq!(pair.client_messages.len(), 1);
    pair.client.config_mut().connect.maximum_packet_size = Some(100);
    pair.reconnect();
    assert!(pair.resumed());
    let error = Failure::TooLarge { size: 213, limit: 100 };
    assert_eq!(pair.server_outcome(token), Event::Failed { token, error });
    assert_eq!(pair.server.stats().given_up, 1);
    // It goes on to the session of the next connection, and ends with that of the client.
    pair.reconnect();
    assert_eq!(pair.server.stats().given_up, 1);
    pair.forgetful = true;
    pair.reconnect();
    assert_eq!(pair.server.stats(), Default::default());
}

/// Stores all that the session has handed out.
pub fn store(disk: &mut Disk, session: &mut Session<Client>) {
    disk.write(session);
    while let Some(seq) = disk.sync_one() {
        session.handle_stored(seq);
    }
}

// class: 22
#[test]
fn a_record_keeps_the_identifier_over_a_restart() {
    for late_pubrec in [false, true] {
        let mut config = durable(Version::V5);
        config.journal = true;
        let mut disk = Disk::default();
        let mut solo = Solo::accepted(config.clone(), ConnAck::default());
        let token = solo.session.publish(large(QoS::ExactlyOnce), solo.now).unwrap();
        store(&mut disk, &mut solo.session);
        assert_eq!(solo.sent().len(), 1);
        solo.reconnect(narrow());
        solo.sent();
        assert_eq!(failed(&solo.events()), [token]);
        store(&mut disk, &mut solo.session);
        if late_pubrec {
            solo.feed(&Packet::PubRec(ack(1)));
            assert_eq!(solo.sent(), [], "not before the record");
            store(&mut disk, &mut solo.session);
            assert_eq!(solo.sent(), [Packet::PubRel(ack(1))]);
        }
        assert_eq!(disk.durable.len(), 1);
        let state = disk.crash();
        assert_eq!(state.tokens(), [], "its outcome was told");
        let mut solo = Solo::client_with(config, state);
        solo.feed(&Packet::ConnAck(Box::new(narrow())));
        let expected = if late_pubrec { vec![Packet::PubRel(ack(1))] } else { vec![] };
        assert_eq!(solo.sent(), expected);
        assert_eq!((solo.session.is_idle(), solo.session.stats().given_up), (true, 1));
        let next = solo.publish("a", QoS::ExactlyOnce);
        assert!(next > token, "tokens are never reused");
        store(&mut disk, &mut solo.session);
        let sent = solo.sent();
        assert!(
            matches!(&sent[..], [Packet::Publish(publish)] if publish.packet_id() == Some(id(2))),
            "{sent:?}"
        );
        // Its end is the end of the record.
        if !late_pubrec {
            solo.feed(&Packet::PubRec(ack(1)));
            store(&mut disk, &mut solo.session);
            assert_eq!(solo.sent(), [Packet::PubRel(ack(1))]);
        }
        solo.feed(&Packet::PubComp(ack(1)));
        store(&mut disk, &mut solo.session);
        assert_eq!((disk.durable.len(), solo.session.stats().given_up), (1, 0));
        solo.now = solo.now + secs(1);
    }
}

#[test]
fn two_records_with_one_identifier_are_no_session() {
    let mut config = durable(Version::V5);
    config.journal = true;
    let mut solo = Solo::accepted(config, ConnAck::default());
    let mut disk = Disk::default();
    solo.session.publish(large(QoS::ExactlyOnce), solo.now).unwrap();
    store(&mut disk, &mut solo.session);
    let (bytes, published) = disk.durable.first_key_value().map(|(k, r)| (*k, r.clone())).unwrap();
    let key = StoreKey::from_bytes(bytes).unwrap();
    solo.sent();
    solo.reconnect(narrow());
    solo.sent();
    store(&mut disk, &mut solo.session);
    let other = StoreKey::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 9]).unwrap();
    let given_up = disk.durable[&bytes].clone();
    assert_ne!(given_up, published);
    for records in [
        [(key, given_up.clone()), (other, published)],
        [(key, given_up.clone()), (other, given_up)],
    ] {
        let error = SessionState::from_records(records).unwrap_err();
        assert!(matches!(error, mqtt_proto::RecordError::Duplicate(at) if at == other), "{error}");
    }
}

#[test]
fn an_answer_is_told_once_in_every_version() {
    for version in VERSIONS {
        let mut solo = Solo::connected(version);
        let mut typed = message("a", "x", QoS::ExactlyOnce);
        if version.is_v5() {
            typed.properties.edit().content_type = Text::new("text/plain").ok();
        }
        let token = solo.session.publish(typed, solo.now).unwrap();
        solo.sent();
        // There and back.
        let mut failures = Vec::new();
        for to in [Version::V311, Version::V5] {
            switch(&mut solo, to);
            solo.reconnect(ConnAck { session_present: true, ..ConnAck::default() });
            solo.sent();
            failures.extend(failed(&solo.events()));
        }
        assert_eq!(failures, if version.is_v5() { vec![token] } else { vec![] });
        solo.feed(&Packet::PubRec(ack(1)));
        solo.feed(&Packet::PubComp(ack(1)));
        let done = solo.events().into_iter().filter(|event| {
            matches!(event, Event::Published { token: of, reason: SUCCESS, .. } if *of == token)
        });
        assert_eq!(done.count(), usize::from(!version.is_v5()));
    }
}
