//! Topic aliases that come in: MQTT 5.0 section 3.3.2.3.4.

use mqtt_proto::{
    ClientConfig, ConnAck, Publish, QoS, ReasonCode, Role, ServerConfig, Version,
    codec::{PublishHeader, TopicAlias},
};

use crate::pair::{CHUNKS, durable, message};
use crate::solo::{Solo, connect_packet, header_bytes};

fn config(maximum: Option<u16>) -> ClientConfig {
    let mut config = durable(Version::V5);
    config.connect.topic_alias_maximum = maximum;
    config
}

fn client(maximum: Option<u16>) -> Solo<mqtt_proto::Client> {
    Solo::accepted(config(maximum), ConnAck::default())
}

fn server(maximum: u16) -> Solo<mqtt_proto::Server> {
    let config = ServerConfig { topic_alias_maximum: maximum, ..ServerConfig::default() };
    Solo::serving(config, Version::V5, connect_packet(false))
}

fn bytes(publish: &Publish, alias: TopicAlias, packet_id: u16) -> Vec<u8> {
    let packet_id = mqtt_proto::PacketId::new(packet_id);
    let header = PublishHeader { topic_alias: Some(alias), packet_id, ..Default::default() };
    header_bytes(Version::V5, publish, &header)
}

fn set<R: Role>(solo: &mut Solo<R>, topic: &str, alias: u16) {
    let publish = message(topic, "x", QoS::AtMostOnce);
    solo.feed_raw(&bytes(&publish, TopicAlias::Set(alias), 0));
}

fn used<R: Role>(solo: &mut Solo<R>, alias: u16) {
    let publish = message("-", "x", QoS::AtMostOnce);
    solo.feed_raw(&bytes(&publish, TopicAlias::Use(alias), 0));
}

fn topics<R: Role>(solo: &mut Solo<R>) -> Vec<String> {
    solo.messages().iter().map(|message| message.publish.topic().to_string()).collect()
}

fn sets_uses_and_replaces<R: Role>(solo: &mut Solo<R>, maximum: u16) {
    for alias in [1, maximum] {
        set(solo, "first", alias);
        used(solo, alias);
        used(solo, alias);
        set(solo, "second", alias);
        used(solo, alias);
        assert_eq!(topics(solo), ["first", "first", "first", "second", "second"]);
    }
    // Copies do not depend on what the alias stands for later.
    used(solo, 1);
    let kept = solo.messages().remove(0);
    set(solo, "third", 1);
    assert_eq!(kept.publish.topic(), "second");
    assert_eq!(kept.publish.to_publish().unwrap().topic.as_bytes(), b"second");
    assert_eq!(kept.publish.clone().into_owned().topic(), "second");
    // Without an alias nothing changes.
    solo.feed_publish(&message("plain", "x", QoS::AtMostOnce), 0, false);
    used(solo, 1);
    assert_eq!(topics(solo), ["third", "plain", "third"]);
}

// covers: v5 MQTT-3.3.2-10, v5 MQTT-3.3.2-12, v5 X5-3.3.4-c
// class: 31
#[test]
fn every_alias_up_to_the_maximum_is_taken() {
    for maximum in [1, 2, 16, 1000, 65_535] {
        for chunk in CHUNKS {
            let mut client = client(Some(maximum));
            client.chunk = chunk;
            sets_uses_and_replaces(&mut client, maximum);
            let mut server = server(maximum);
            server.chunk = chunk;
            sets_uses_and_replaces(&mut server, maximum);
        }
    }
}

// covers: v5 X5-3.3.4-a, v5 MQTT-3.3.2-8
// class: 31, 45
#[test]
fn alias_0_and_one_above_the_maximum_are_faults() {
    let zero = &[0x30, 7, 0, 1, b'a', 3, 0x23, 0, 0];
    for maximum in [0, 1, 16] {
        for wanted in [maximum.max(1) + 1, 65_535] {
            let mut client = client((maximum > 0).then_some(maximum));
            set(&mut client, "a", wanted);
            client.closed_for(ReasonCode::TOPIC_ALIAS_INVALID);
            let mut server = server(maximum);
            set(&mut server, "a", wanted);
            server.closed_for(ReasonCode::TOPIC_ALIAS_INVALID);
        }
        let mut client = client(Some(maximum));
        client.feed_raw(zero);
        client.closed_for(ReasonCode::TOPIC_ALIAS_INVALID);
        let mut server = server(maximum);
        server.feed_raw(zero);
        server.closed_for(ReasonCode::TOPIC_ALIAS_INVALID);
    }
}

// covers: v5 X5-3.3.4-b, v5 X5-3.3.2-a
// class: 31, 45
#[test]
fn an_unknown_alias_and_no_topic_at_all_are_faults() {
    for known in [false, true] {
        for alias in [2, 16] {
            let mut client = client(Some(16));
            let mut server = server(16);
            if known {
                set(&mut client, "a", 5);
                set(&mut server, "a", 5);
            }
            used(&mut client, alias);
            client.closed_for(ReasonCode::PROTOCOL_ERROR);
            used(&mut server, alias);
            server.closed_for(ReasonCode::PROTOCOL_ERROR);
        }
    }
    let mut server = server(16);
    server.feed_raw(&[0x30, 3, 0, 0, 0]);
    server.closed_for(ReasonCode::PROTOCOL_ERROR);
}

// covers: v5 MQTT-3.3.2-7
// class: 31
#[test]
fn aliases_are_forgotten_with_the_connection() {
    let mut client = client(Some(16));
    set(&mut client, "a", 5);
    client.resume();
    client.events();
    used(&mut client, 5);
    client.closed_for(ReasonCode::PROTOCOL_ERROR);
    let mut server = server(16);
    set(&mut server, "a", 5);
    let state = server.session.into_state();
    let mut server = Solo::server(ServerConfig::default(), Version::V5);
    server.feed(&mqtt_proto::Packet::Connect(Box::new(connect_packet(false))));
    server.accept(ConnAck::default(), Some(state));
    server.sent();
    server.events();
    used(&mut server, 5);
    server.closed_for(ReasonCode::PROTOCOL_ERROR);
}

// covers: v5 X5-3.3.2-e
// class: 31
#[test]
fn the_directions_know_nothing_of_each_other() {
    // The server takes 16 aliases, the client none; the same topic is an alias in one direction only.
    let connack = ConnAck { topic_alias_maximum: Some(16), ..ConnAck::default() };
    let mut solo = Solo::accepted(config(Some(2)), connack);
    set(&mut solo, "a", 1);
    solo.publish("a", QoS::AtMostOnce);
    let sent = solo.sent();
    let [mqtt_proto::Packet::Publish(publish)] = &sent[..] else { panic!() };
    assert_eq!(publish.topic(), "a");
    solo.events();
    set(&mut solo, "a", 3);
    solo.closed_for(ReasonCode::TOPIC_ALIAS_INVALID);
}

// covers: v5 MQTT-3.1.2-26, v5 MQTT-3.1.2-27, v5 MQTT-3.2.2-17, v5 MQTT-3.2.2-18
// covers: v5 MQTT-3.3.2-9, v5 MQTT-3.3.2-11
// class: 31
#[test]
fn no_alias_is_sent_that_the_peer_does_not_take() {
    for maximum in [None, Some(0), Some(2)] {
        let connack = ConnAck { topic_alias_maximum: maximum, ..ConnAck::default() };
        let mut client = Solo::accepted(config(Some(100)), connack);
        let connect = mqtt_proto::Connect { topic_alias_maximum: maximum, ..connect_packet(true) };
        let mut server = Solo::serving(ServerConfig::default(), Version::V5, connect);
        for round in 0..3 {
            for topic in ["a", "b", "c", "d"] {
                client.publish(topic, QoS::AtLeastOnce);
                server.publish(topic, QoS::AtMostOnce);
            }
            for sent in [client.sent(), server.sent()] {
                assert_eq!(sent.len(), 4, "{round}");
                for packet in sent {
                    let mqtt_proto::Packet::Publish(publish) = packet else { panic!() };
                    assert!(publish.topic_alias().unwrap_or(0) <= maximum.unwrap_or(0));
                }
            }
        }
    }
}

// class: 17, 31
#[test]
fn a_repeated_message_may_have_an_alias_of_its_new_connection() {
    let mut solo = client(Some(4));
    let publish = message("a/b", "x", QoS::ExactlyOnce);
    solo.feed_raw(&bytes(&publish, TopicAlias::Set(1), 9));
    assert_eq!(topics(&mut solo), ["a/b"]);
    solo.resume();
    solo.feed_raw(&bytes(&publish, TopicAlias::Set(2), 9));
    used(&mut solo, 2);
    assert_eq!(topics(&mut solo), ["a/b"], "the mapping is set although the message is not new");
}
