//! Reason Strings and User Properties in answers: left out where they do not fit or are not wanted.

use mqtt_proto::{
    Ack, AckProperties, Auth, CloseReason, ConnAck, Disconnect, Event, Packet, QoS, ReasonCode,
    ServerConfig, SubAck, TopicFilter, UnsubAck, Unsubscribe, Version,
};

use crate::pair::{Pair, durable, message, subscribe};
use crate::solo::{Solo, id, text};

fn words(len: usize) -> AckProperties {
    AckProperties::new(Some(text(&"r".repeat(len))), vec![(text("name"), text(&"u".repeat(len)))])
}

/// Returns the properties of SUBACK, UNSUBACK, PUBACK and PUBREC that a server sent with these words.
fn answers(maximum: Option<u32>, wanted: Option<bool>, len: usize) -> Vec<AckProperties> {
    let mut config = durable(Version::V5);
    config.connect.maximum_packet_size = maximum;
    config.connect.request_problem_information = wanted;
    let mut pair = Pair::with_server(config, ServerConfig::default());
    pair.grant = None;
    pair.server_acks = false;
    pair.open();
    pair.settle();
    pair.sent_by_server();
    pair.client.subscribe(subscribe("a", QoS::AtMostOnce)).unwrap();
    pair.client.unsubscribe(Unsubscribe::new(TopicFilter::new("a").unwrap())).unwrap();
    pair.client.publish(message("a", "x", QoS::AtLeastOnce), pair.now).unwrap();
    pair.client.publish(message("a", "x", QoS::ExactlyOnce), pair.now).unwrap();
    pair.settle();
    for event in std::mem::take(&mut pair.server_events) {
        let (Event::Subscribe(request, _) | Event::Unsubscribe(request, _)) = event else {
            continue;
        };
        pair.server.grant_with(request, vec![ReasonCode::SUCCESS], words(len)).unwrap();
    }
    for message in std::mem::take(&mut pair.server_messages) {
        pair.server.ack_with(message.ack.unwrap(), ReasonCode::SUCCESS, words(len));
    }
    pair.settle();
    let packets = pair.sent_by_server().into_iter();
    let properties = packets.filter_map(|packet| match packet {
        Packet::SubAck(ack) => Some(ack.properties),
        Packet::UnsubAck(ack) => Some(ack.properties),
        Packet::PubAck(ack) | Packet::PubRec(ack) => Some(ack.properties),
        _ => None,
    });
    properties.collect()
}

#[test]
fn they_are_sent_to_a_client_that_wants_them() {
    assert_eq!(answers(None, None, 20), vec![words(20); 4]);
    assert_eq!(answers(Some(100), Some(true), 20), vec![words(20); 4]);
}

// covers: v5 MQTT-3.9.2-1, v5 MQTT-3.9.2-2, v5 MQTT-3.11.2-1, v5 MQTT-3.11.2-2
// covers: v5 MQTT-3.4.2-2, v5 MQTT-3.4.2-3, v5 MQTT-3.5.2-2, v5 MQTT-3.5.2-3
// class: 32
#[test]
fn they_are_left_out_where_they_do_not_fit() {
    assert_eq!(answers(Some(100), None, 60), vec![AckProperties::NONE; 4]);
}

// covers: v5 MQTT-3.1.2-29
#[test]
fn they_are_left_out_where_they_are_not_wanted() {
    assert_eq!(answers(None, Some(false), 20), vec![AckProperties::NONE; 4]);
}

// covers: v5 MQTT-3.1.2-29
#[test]
fn connack_and_disconnect_have_them_all_the_same() {
    let mut config = durable(Version::V5);
    config.connect.request_problem_information = Some(false);
    let mut pair = Pair::new(config);
    pair.accept = Some(ConnAck { reason_string: Some(text("hello")), ..ConnAck::default() });
    pair.open();
    pair.settle();
    let goodbye = Disconnect { properties: words(5), ..Disconnect::default() };
    pair.server.disconnect(goodbye.clone(), pair.now).unwrap();
    pair.settle();
    let packets = pair.sent_by_server();
    let [Packet::ConnAck(connack), Packet::Disconnect(disconnect)] = &packets[..] else {
        panic!("{packets:?}")
    };
    assert_eq!(connack.reason_string, Some(text("hello")));
    assert_eq!(*disconnect, goodbye);
}

// covers: v5 X5-3.1.2-l
#[test]
fn a_client_that_did_not_want_them_leaves_a_server_that_sends_them() {
    let mut config = durable(Version::V5);
    config.connect.request_problem_information = Some(false);
    config.connect.authentication_method = Some(text("method"));
    let connack = ConnAck { authentication_method: Some(text("method")), ..ConnAck::default() };
    let ack = |properties: AckProperties| {
        let reason = ReasonCode::SUCCESS;
        Ack { packet_id: id(1), reason, properties }
    };
    let reasons = vec![ReasonCode::SUCCESS];
    let auth = |user_properties| Auth {
        reason: ReasonCode::CONTINUE_AUTHENTICATION,
        authentication_method: Some(text("method")),
        user_properties,
        ..Auth::default()
    };
    let suback = SubAck { packet_id: id(1), reasons: reasons.clone(), properties: words(1) };
    let unsuback = UnsubAck { packet_id: id(1), reasons, properties: words(1) };
    let cases = [
        (Packet::PubAck(ack(words(1))), false),
        (Packet::PubRec(ack(words(1))), false),
        (Packet::PubRel(ack(words(1))), false),
        (Packet::PubComp(ack(words(1))), false),
        (Packet::SubAck(suback), false),
        (Packet::UnsubAck(unsuback), false),
        (Packet::Auth(Box::new(auth(vec![(text("a"), text("b"))]))), false),
        (Packet::Auth(Box::new(auth(Vec::new()))), true),
        (Packet::PubAck(ack(AckProperties::NONE)), true),
    ];
    for (packet, good) in cases {
        let mut solo = Solo::accepted(config.clone(), connack.clone());
        // So that AUTH may come.
        let again = Auth { reason: ReasonCode::RE_AUTHENTICATE, ..auth(Vec::new()) };
        solo.session.authenticate(again, solo.now).unwrap();
        solo.sent();
        solo.feed(&packet);
        let closed = solo.events().into_iter().find_map(|event| match event {
            Event::Closed { reason, .. } => Some(reason),
            _ => None,
        });
        match closed {
            None => assert!(good, "{packet:?}"),
            Some(CloseReason::Peer(error)) => {
                assert!(!good, "{packet:?}");
                assert_eq!(error.reason(), ReasonCode::PROTOCOL_ERROR);
                let last = solo.sent();
                let expected = Disconnect::new(ReasonCode::PROTOCOL_ERROR);
                assert_eq!(last, [Packet::Disconnect(expected)]);
            }
            other => panic!("{other:?}"),
        }
    }
}
