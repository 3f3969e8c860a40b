//! Particulars of MQTT 3.1.1 and 3.1.

use mqtt_proto::{
    AckProperties, CloseReason, ConnAck, Connect, Disconnect, Event, Failure, Packet, PacketType,
    QoS, ReasonCode, ServerConfig, SubAck, Version,
};

use crate::given_up::{store, switch};
use crate::pair::{CHUNKS, Pair, VERSIONS, durable, message, published, subscribe};
use crate::solo::{Solo, ack, connect_packet, id, publish_bytes, secs, text};
use crate::store::Disk;

const OLD: [Version; 2] = [Version::V31, Version::V311];

// class: 11
#[test]
fn mqtt_3_1_carries_messages_over_a_reconnect() {
    for chunk in CHUNKS {
        let mut pair = Pair::connected(Version::V31, chunk);
        let token = pair.client.publish(message("a", "up", QoS::ExactlyOnce), pair.now).unwrap();
        pair.server.publish(message("a", "down", QoS::ExactlyOnce), pair.now).unwrap();
        pair.cut_after = Some(20);
        pair.settle();
        pair.cut_after = None;
        pair.reconnect();
        assert!(!pair.resumed(), "CONNACK of 3.1 does not say");
        assert_eq!(Pair::payloads(&pair.server_messages), ["up"]);
        assert_eq!(Pair::payloads(&pair.client_messages), ["down"]);
        assert!(published(ReasonCode::SUCCESS)(&pair.outcome(token)));
        assert!(pair.client.is_idle() && pair.server.is_idle());
    }
}

#[test]
fn the_reserved_byte_of_a_3_1_connack_says_nothing() {
    for byte in [0, 1, 0xFF] {
        let mut solo = Solo::client(durable(Version::V31));
        solo.feed_raw(&[0x20, 2, byte, 0]);
        assert!(matches!(solo.events()[..], [Event::Connected { resumed: false, .. }]));
    }
    let mut solo = Solo::client(durable(Version::V311));
    solo.feed_raw(&[0x20, 2, 2, 0]);
    assert!(matches!(solo.closed(), CloseReason::Peer(_)));
}

// covers: v3 MQTT-4.8.0-1
// class: 45
#[test]
fn faults_close_without_a_word() {
    for version in OLD {
        for bytes in [
            &[0x00][..],
            &[0x36, 5, 0, 1, b'a', 0, 1],
            &[0xD0, 1, 0],
            &[0xE0, 0],
            &[0x40, 3, 0, 1, 0],
        ] {
            let mut solo = Solo::connected(version);
            solo.feed_raw(bytes);
            assert_eq!(solo.sent_raw(), []);
            assert!(matches!(solo.closed(), CloseReason::Peer(_)));
        }
    }
}

#[test]
fn a_server_has_no_disconnect_and_just_closes() {
    for version in OLD {
        for reason in [ReasonCode::SUCCESS, ReasonCode::SERVER_SHUTTING_DOWN] {
            let mut solo = Solo::plain(version);
            solo.publish("last", QoS::AtMostOnce);
            solo.session.disconnect(Disconnect::new(reason), solo.now).unwrap();
            assert_eq!(solo.sent_types(), [PacketType::Publish]);
            assert_eq!(solo.closed(), CloseReason::Requested);
        }
    }
}

// covers: v5 X5-3.8.4-a, v3 X3-3.8.4-a
#[test]
fn messages_may_come_before_suback() {
    for version in VERSIONS {
        let mut solo = Solo::connected(version);
        let token = solo.session.subscribe(subscribe("a", QoS::AtLeastOnce)).unwrap();
        solo.sent();
        solo.feed_publish(&message("a", "early", QoS::AtLeastOnce), 1, false);
        let suback = SubAck {
            packet_id: id(1),
            reasons: vec![ReasonCode::GRANTED_QOS_1],
            properties: AckProperties::NONE,
        };
        solo.feed(&Packet::SubAck(suback));
        let events = solo.events();
        assert!(matches!(&events[..], [Event::Message(_), Event::Subscribed { token: got, .. }]
            if *got == token));
    }
}

// class: 34
#[test]
fn v5_connack_properties_are_left_out_in_3_x() {
    for version in OLD {
        let mut solo = Solo::server(ServerConfig::default(), version);
        let connect = Connect { keep_alive: 10, ..connect_packet(true) };
        solo.feed(&Packet::Connect(Box::new(connect)));
        let connack = ConnAck {
            server_keep_alive: Some(1),
            reason_string: Some(text("hello")),
            maximum_qos: Some(QoS::AtMostOnce),
            receive_maximum: Some(1),
            ..ConnAck::default()
        };
        solo.accept(connack, None);
        assert_eq!(solo.sent_raw(), [0x20, 2, 0, 0]);
        // And so none of them holds.
        assert_eq!(solo.session.poll_timeout(), Some(solo.now + secs(15)));
        for packet_id in 1..=10 {
            solo.feed_publish(&message("a", "x", QoS::ExactlyOnce), packet_id, false);
        }
        assert!(solo.is_open());
    }
}

// class: 30
#[test]
fn there_is_no_receive_maximum_in_3_x() {
    for version in OLD {
        let mut solo = Solo::connected(version);
        let mut all = Vec::new();
        for packet_id in 1..=u16::MAX {
            let publish = message("a", "", QoS::AtLeastOnce);
            all.extend(publish_bytes(version, &publish, packet_id, false));
        }
        solo.feed_raw(&all);
        assert_eq!(solo.messages().len(), 65_535);
        assert!(solo.is_open());
    }
}

// covers: v3 MQTT-3.10.4-3, v5 MQTT-3.10.4-3
#[test]
fn unsubscribe_does_not_end_deliveries_that_have_begun() {
    for version in VERSIONS {
        let mut solo = Solo::plain(version);
        let filter = mqtt_proto::TopicFilter::new("a").unwrap();
        let tokens = [solo.publish("a", QoS::AtLeastOnce), solo.publish("a", QoS::ExactlyOnce)];
        solo.sent();
        solo.feed(&Packet::Unsubscribe(id(1), Box::new(mqtt_proto::Unsubscribe::new(filter))));
        let Event::Unsubscribe(request, _) = solo.events().remove(0) else { panic!() };
        solo.session.grant(request, vec![ReasonCode::SUCCESS]).unwrap();
        solo.feed(&Packet::PubAck(ack(1)));
        solo.feed(&Packet::PubRec(ack(2)));
        solo.feed(&Packet::PubComp(ack(2)));
        assert_eq!(solo.sent_types(), [PacketType::UnsubAck, PacketType::PubRel]);
        let ended: Vec<_> = solo.events().iter().filter_map(crate::pair::ends).collect();
        assert_eq!(ended, tokens);
    }
}

// class: 34
#[test]
fn a_state_moves_between_versions_without_losing_messages() {
    for (from, to) in [(Version::V5, Version::V311), (Version::V311, Version::V5)] {
        let mut old = Solo::plain(from);
        let mut publish = message("a", "x", QoS::AtLeastOnce);
        publish.properties.edit().content_type = Some(text("text/plain"));
        for _ in 0..2 {
            old.session.publish(publish.clone(), old.now).unwrap();
        }
        assert_eq!(old.sent().len(), 2);
        old.session.publish(publish, old.now).unwrap();
        let mut new = Solo::server(ServerConfig::default(), to);
        new.feed(&Packet::Connect(Box::new(connect_packet(false))));
        new.accept(ConnAck::default(), Some(old.session.into_state()));
        let sent = new.sent();
        let dups: Vec<bool> = sent[1..]
            .iter()
            .map(|packet| match packet {
                Packet::Publish(publish) => publish.dup(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(dups, [true, true, false]);
        assert!(new.events().iter().all(|event| crate::pair::ends(event).is_none()));
    }
}

// Found by the simulator: what was in flight went into the next session with its identifiers and DUP.
// covers: v3 MQTT-3.1.2-6
#[test]
fn nothing_of_a_session_of_clean_session_1_is_used_again() {
    for version in OLD {
        let mut config = durable(version);
        config.connect.clean_start = true;
        let mut pair = Pair::new(config);
        pair.server_acks = false;
        pair.open();
        pair.settle();
        let once = pair.client.publish(message("a", "1", QoS::AtLeastOnce), pair.now).unwrap();
        let exactly = pair.client.publish(message("a", "2", QoS::ExactlyOnce), pair.now).unwrap();
        pair.settle();
        pair.client.config_mut().connect.clean_start = false;
        pair.forgetful = true;
        pair.server_acks = true;
        pair.sent_by_client();
        pair.reconnect();
        let sent = pair.sent_by_client();
        assert!(matches!(&sent[1..], [Packet::Publish(again)] if !again.dup()), "{sent:?}");
        assert!(published(ReasonCode::SUCCESS)(&pair.outcome(once)));
        let lost = pair.outcome(exactly);
        assert!(matches!(lost, Event::Failed { error: Failure::SessionLost, .. }), "{lost:?}");
        // The session that has begun now lives on.
        pair.forgetful = false;
        pair.server_acks = false;
        let token = pair.client.publish(message("a", "3", QoS::ExactlyOnce), pair.now).unwrap();
        pair.settle();
        pair.server_acks = true;
        if let Some(ack) = pair.server_messages.last().and_then(|message| message.ack) {
            pair.server.ack(ack, ReasonCode::SUCCESS);
        }
        pair.reconnect();
        assert!(published(ReasonCode::SUCCESS)(&pair.outcome(token)));
    }
}

// Found by the simulator: the answer of 3.1.1 was on record, and the error that followed it in 5.0 left the
// record behind.
// class: 17
#[test]
fn what_pubrec_has_said_in_one_version_it_says_in_the_other() {
    let mut config = durable(Version::V311);
    config.journal = true;
    let mut disk = Disk::default();
    let mut solo = Solo::accepted(config, ConnAck::default());
    let publish = message("a", "x", QoS::ExactlyOnce);
    solo.feed_publish(&publish, 9, false);
    let message = solo.messages().remove(0);
    solo.session.ack(message.ack.unwrap(), ReasonCode::QUOTA_EXCEEDED);
    for version in [Version::V311, Version::V5, Version::V311] {
        store(&mut disk, &mut solo.session);
        assert_eq!(solo.sent(), [Packet::PubRec(ack(9))], "{version}");
        assert_eq!(disk.durable.len(), 1);
        let next = if version.is_v5() { Version::V311 } else { Version::V5 };
        switch(&mut solo, next);
        solo.resume();
        solo.events();
        solo.feed_publish(&publish, 9, true);
    }
    store(&mut disk, &mut solo.session);
    solo.feed(&Packet::PubRel(ack(9)));
    store(&mut disk, &mut solo.session);
    assert!(disk.durable.is_empty() && solo.session.stats() == Default::default());
}
