//! Flow: the Receive Maximum both ways, the bounds of the session, identifiers that run out.

use std::collections::BTreeSet;

use bytes::Bytes;
use mqtt_proto::{
    Ack, Bounds, Client, ConnAck, Event, Packet, PacketType, Publish, PublishError, QoS,
    ReasonCode, ServerConfig, Token, Unsubscribe, Version,
};

use crate::pair::{CHUNKS, Pair, VERSIONS, durable, ends, message, subscribe, topic};
use crate::solo::{Solo, ack, ack_with, connect_packet, id, types};

const ALL: [Version; 3] = [Version::V31, Version::V311, Version::V5];
const SUCCESS: ReasonCode = ReasonCode::SUCCESS;

fn ids(packets: &[Packet]) -> Vec<u16> {
    let one = |packet: &Packet| match packet {
        Packet::Publish(publish) => publish.packet_id().map(|id| id.get()),
        _ => None,
    };
    packets.iter().filter_map(one).collect()
}

fn limited(maximum: Option<u16>) -> Solo<Client> {
    let connack = ConnAck { receive_maximum: maximum, ..ConnAck::default() };
    Solo::accepted(durable(Version::V5), connack)
}

// covers: v5 MQTT-3.3.4-7, v5 MQTT-4.9.0-1, v5 MQTT-4.9.0-2, v5 X5-4.9-a, v5 X5-3.1.2-f
// class: 29
#[test]
fn never_more_are_under_way_than_the_peer_takes() {
    for maximum in [Some(1), Some(2), Some(65_535), None] {
        let limit = usize::from(maximum.unwrap_or(65_535));
        // In all the ways in which an exchange can end.
        for end in 0..4 {
            let mut solo = limited(maximum);
            let qos = if end == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            let mut config_bound = 0;
            // 65,535 messages are more than the bound for messages: fill by turns.
            while config_bound < (limit + 3).min(16_000) {
                solo.publish("a", qos);
                config_bound += 1;
            }
            let mut open = ids(&solo.sent());
            assert_eq!(open.len(), limit.min(config_bound));
            let mut left = config_bound - open.len();
            while left > 0 {
                let first = open.remove(0);
                match end {
                    0 => solo.feed(&Packet::PubAck(ack(first))),
                    1 => solo.feed(&Packet::PubRec(ack_with(first, ReasonCode::QUOTA_EXCEEDED))),
                    _ => {
                        solo.feed(&Packet::PubRec(ack(first)));
                        assert_eq!(solo.sent_types(), [PacketType::PubRel], "no room yet");
                        let not_found = ReasonCode::PACKET_IDENTIFIER_NOT_FOUND;
                        let code = if end == 2 { SUCCESS } else { not_found };
                        solo.feed(&Packet::PubComp(ack_with(first, code)));
                    }
                }
                let new = ids(&solo.sent());
                assert_eq!(new.len(), 1, "one for one");
                open.extend(new);
                left -= 1;
            }
            // Answers that nobody waits for do not raise the quota.
            solo.feed(&Packet::PubAck(ack(60_000)));
            solo.feed(&Packet::PubComp(ack(60_001)));
            solo.publish("a", qos);
            let room = usize::from(open.len() < limit);
            assert_eq!(ids(&solo.sent()).len(), room);
        }
    }
}

// covers: v5 MQTT-3.3.4-8, v5 MQTT-4.9.0-3, v5 MQTT-3.3.4-10, v5 MQTT-3.3.4-9
// class: 29
#[test]
fn only_publish_is_held_back() {
    let mut solo = limited(Some(1));
    solo.publish("a", QoS::ExactlyOnce);
    solo.publish("b", QoS::AtLeastOnce);
    solo.session.subscribe(subscribe("a", QoS::AtMostOnce)).unwrap();
    let filter = mqtt_proto::TopicFilter::new("a").unwrap();
    solo.session.unsubscribe(Unsubscribe::new(filter)).unwrap();
    let expected = [PacketType::Subscribe, PacketType::Unsubscribe, PacketType::Publish];
    assert_eq!(solo.sent_types(), expected);
    for (packet_id, qos) in [(1, QoS::AtLeastOnce), (2, QoS::ExactlyOnce)] {
        solo.feed_publish(&message("x", "x", qos), packet_id, false);
    }
    for message in solo.messages() {
        solo.session.ack(message.ack.unwrap(), SUCCESS);
    }
    assert_eq!(solo.sent_types(), [PacketType::PubAck, PacketType::PubRec]);
    solo.feed(&Packet::PubRel(ack(2)));
    assert_eq!(solo.sent_types(), [PacketType::PubComp]);
    solo.wait(crate::solo::secs(60));
    assert_eq!(solo.sent_types(), [PacketType::PingReq]);
    solo.session.disconnect(Default::default(), solo.now).unwrap();
    assert_eq!(solo.sent_types(), [PacketType::Disconnect]);

    let connect = mqtt_proto::Connect { receive_maximum: Some(1), ..connect_packet(false) };
    let mut server = Solo::serving(ServerConfig::default(), Version::V5, connect);
    server.publish("a", QoS::ExactlyOnce);
    server.publish("b", QoS::AtLeastOnce);
    assert_eq!(server.sent_types(), [PacketType::Publish]);
    server.feed(&Packet::PingReq);
    server.feed(&Packet::Subscribe(id(1), Box::new(subscribe("a", QoS::AtMostOnce))));
    let Event::Subscribe(request, _) = server.events().remove(0) else { panic!() };
    server.session.grant(request, vec![SUCCESS]).unwrap();
    server.feed(&Packet::PubRec(ack(1)));
    let expected = [PacketType::SubAck, PacketType::PubRel, PacketType::PingResp];
    assert_eq!(server.sent_types(), expected);
    server.feed(&Packet::PubComp(ack(1)));
    assert_eq!(server.sent_types(), [PacketType::Publish]);
}

// covers: v5 X5-4.9-b, v5 MQTT-4.9.0-2
// class: 29
#[test]
fn a_resumed_session_keeps_to_the_new_maximum() {
    for maximum in [1, 2, 3, 7] {
        let mut solo = limited(None);
        for _ in 0..6 {
            solo.publish("a", QoS::ExactlyOnce);
        }
        solo.sent();
        // The last two wait for PUBCOMP, behind four that wait for PUBREC.
        solo.feed(&Packet::PubRec(ack(5)));
        solo.feed(&Packet::PubRec(ack(6)));
        solo.sent();
        solo.publish("new", QoS::AtLeastOnce);
        let receive_maximum = Some(maximum);
        let connack = ConnAck { session_present: true, receive_maximum, ..ConnAck::default() };
        solo.reconnect(connack);
        solo.events();
        let (mut open, mut done) = (BTreeSet::from([5, 6]), 0);
        for round in 0.. {
            let sent = solo.sent();
            for packet in &sent {
                match packet {
                    Packet::Publish(publish) => {
                        open.insert(publish.packet_id().unwrap().get());
                        assert_eq!(publish.dup(), publish.topic() == "a");
                        assert!(open.len() <= usize::from(maximum), "{maximum}: {open:?}");
                    }
                    Packet::PubRel(_) => {}
                    other => panic!("{other:?}"),
                }
            }
            if round == 0 {
                let expected = [PacketType::PubRel, PacketType::PubRel];
                assert_eq!(types(&sent)[..2], expected, "PUBREL does not wait");
            }
            for packet in sent {
                match packet {
                    Packet::Publish(publish) => {
                        let packet_id = publish.packet_id().unwrap().get();
                        if publish.qos() == QoS::AtLeastOnce {
                            open.remove(&packet_id);
                            done += 1;
                            solo.feed(&Packet::PubAck(ack(packet_id)));
                        } else {
                            solo.feed(&Packet::PubRec(ack(packet_id)));
                        }
                    }
                    Packet::PubRel(Ack { packet_id, .. }) => {
                        open.remove(&packet_id.get());
                        done += 1;
                        solo.feed(&Packet::PubComp(ack(packet_id.get())));
                    }
                    _ => {}
                }
            }
            if done == 7 {
                break;
            }
            assert!(round < 20, "{maximum}: it goes on");
        }
        assert!(solo.session.is_idle());
    }
}

// class: 29
#[test]
fn qos_0_takes_nothing_of_the_quota_and_needs_none() {
    for version in ALL {
        let mut config = durable(version);
        config.max_in_flight = 1;
        let mut solo = Solo::accepted(config, ConnAck::default());
        solo.publish("1", QoS::AtLeastOnce);
        for _ in 0..10 {
            solo.publish("0", QoS::AtMostOnce);
        }
        assert_eq!(solo.sent().len(), 11);
        assert_eq!(solo.session.stats().in_flight, 1);
        // But behind a message that waits it waits: the order stays.
        solo.publish("1", QoS::AtLeastOnce);
        solo.publish("0", QoS::AtMostOnce);
        assert_eq!(solo.sent(), []);
    }
}

// class: 25, 29
#[test]
fn nothing_new_overtakes_what_has_to_be_sent_again() {
    let mut solo = limited(None);
    for topic in ["1", "2", "3"] {
        solo.publish(topic, QoS::AtLeastOnce);
    }
    solo.sent();
    let receive_maximum = Some(1);
    let connack = ConnAck { session_present: true, receive_maximum, ..ConnAck::default() };
    solo.reconnect(connack);
    solo.publish("zero", QoS::AtMostOnce);
    solo.publish("4", QoS::AtLeastOnce);
    let mut seen = Vec::new();
    for packet_id in 1..=4 {
        for packet in solo.sent() {
            let Packet::Publish(publish) = packet else { panic!() };
            seen.push(publish.topic().to_string());
        }
        solo.feed(&Packet::PubAck(ack(packet_id)));
    }
    assert_eq!(seen, ["1", "2", "3", "zero", "4"]);
}

// class: 29
#[test]
fn a_limit_of_our_own_holds_in_every_version() {
    for version in ALL {
        for own in [0, 1, 5] {
            let mut config = durable(version);
            config.max_in_flight = own;
            let mut solo = Solo::accepted(config, ConnAck::default());
            for _ in 0..10 {
                solo.publish("a", QoS::AtLeastOnce);
            }
            // A quota of 0 is none: MQTT-4.9.0-1.
            assert_eq!(solo.sent().len(), usize::from(own.max(1)));
        }
    }
}

// covers: v5 X5-3.3.4-d
// class: 30, 45
#[test]
fn a_peer_that_sends_more_than_it_may_is_told_0x93() {
    for maximum in [1, 2, 5] {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for chunk in CHUNKS {
                let mut config = durable(Version::V5);
                config.connect.receive_maximum = Some(maximum);
                let mut solo = Solo::accepted(config, ConnAck::default());
                solo.chunk = chunk;
                let publish = message("a", "x", qos);
                for packet_id in 1..=maximum {
                    solo.feed_publish(&publish, packet_id, false);
                }
                solo.feed_publish(&message("a", "x", QoS::AtMostOnce), 0, false);
                let messages = solo.messages();
                assert_eq!(messages.len(), usize::from(maximum) + 1);
                if qos == QoS::ExactlyOnce {
                    // The same again takes no second slot.
                    solo.feed_publish(&publish, 1, true);
                    assert_eq!(solo.messages(), []);
                }
                // One is answered: one more may come. With QoS 2 the last answer counts.
                solo.session.ack(messages[0].ack.unwrap(), SUCCESS);
                solo.sent();
                if qos == QoS::ExactlyOnce {
                    solo.feed(&Packet::PubRel(ack(1)));
                    solo.sent();
                }
                solo.feed_publish(&publish, 100, false);
                assert_eq!(solo.messages().len(), 1);
                solo.feed_publish(&publish, 101, false);
                solo.closed_for(ReasonCode::RECEIVE_MAXIMUM_EXCEEDED);
            }
        }
    }
}

// class: 30
#[test]
fn pubrec_alone_makes_no_room_but_a_refusal_does() {
    for (code, room) in [(SUCCESS, false), (ReasonCode::QUOTA_EXCEEDED, true)] {
        let config = ServerConfig { receive_maximum: 1, ..ServerConfig::default() };
        let mut solo = Solo::serving(config, Version::V5, connect_packet(true));
        solo.feed_publish(&message("a", "x", QoS::ExactlyOnce), 1, false);
        let ack = solo.messages().remove(0).ack.unwrap();
        solo.session.ack(ack, code);
        solo.sent();
        solo.feed_publish(&message("a", "x", QoS::AtLeastOnce), 2, false);
        assert_eq!(solo.is_open(), room);
    }
}

// class: 30
#[test]
fn held_identifiers_take_a_slot_only_on_the_connection_on_which_they_are_sent() {
    let mut config = durable(Version::V5);
    config.connect.receive_maximum = Some(2);
    let mut solo = Solo::accepted(config, ConnAck::default());
    for packet_id in [1, 2] {
        solo.feed_publish(&message("a", "x", QoS::ExactlyOnce), packet_id, false);
    }
    for message in solo.messages() {
        solo.session.ack(message.ack.unwrap(), SUCCESS);
    }
    solo.sent();
    solo.resume();
    solo.events();
    // The quota begins anew (X5-4.9-b): only PUBREL is open, and two more may come.
    for packet_id in [3, 4] {
        solo.feed_publish(&message("a", "x", QoS::ExactlyOnce), packet_id, false);
    }
    assert_eq!(solo.messages().len(), 2);
    for packet_id in [1, 2] {
        solo.feed(&Packet::PubRel(ack(packet_id)));
    }
    assert!(solo.is_open());
    // Their end makes no room on this connection.
    solo.feed_publish(&message("a", "x", QoS::ExactlyOnce), 5, false);
    assert!(!solo.is_open());
}

fn bounded(messages: usize, bytes: usize) -> Solo<Client> {
    let mut config = durable(Version::V5);
    config.bounds = Bounds { messages, bytes, requests: 2 };
    Solo::accepted(config, ConnAck::default())
}

fn sized(size: usize, qos: QoS) -> Publish {
    Publish::new(topic("t"), Bytes::from(vec![b'x'; size - 1])).qos(qos)
}

fn full(solo: &mut Solo<Client>, publish: &Publish) -> bool {
    match solo.session.publish(publish.clone(), solo.now) {
        Ok(_) => false,
        Err(PublishError::Full(back)) => {
            assert_eq!(*back, *publish, "the message comes back");
            true
        }
        Err(error) => panic!("{error}"),
    }
}

// class: 42
#[test]
fn the_bounds_hold_and_writable_follows() {
    for in_flight in [false, true] {
        for (messages, bytes, size) in [(3, 1000, 10), (100, 35, 10), (100, 30, 10)] {
            let mut solo = bounded(messages, bytes);
            let publish = sized(size, QoS::AtLeastOnce);
            for _ in 0..3 {
                assert!(!full(&mut solo, &publish));
            }
            if in_flight {
                solo.sent();
            }
            for _ in 0..5 {
                assert!(full(&mut solo, &publish));
            }
            assert_eq!(solo.session.stats().held_bytes, 30);
            solo.sent();
            assert_eq!(solo.events(), [], "sent is not yet free");
            solo.feed(&Packet::PubAck(ack(1)));
            let events = solo.events();
            assert!(matches!(events[..], [Event::Published { .. }, Event::Writable]));
            assert!(!full(&mut solo, &publish));
            assert!(full(&mut solo, &publish));
        }
    }
}

// class: 42
#[test]
fn writable_comes_only_when_there_is_room_for_what_was_refused() {
    let mut solo = bounded(100, 100);
    for size in [20, 20, 60] {
        assert!(!full(&mut solo, &sized(size, QoS::AtLeastOnce)));
    }
    assert!(full(&mut solo, &sized(90, QoS::AtLeastOnce)));
    assert!(full(&mut solo, &sized(40, QoS::AtLeastOnce)));
    solo.sent();
    assert_eq!(solo.events(), [], "there is no room yet");
    solo.feed(&Packet::PubAck(ack(1)));
    assert!(matches!(solo.events()[..], [Event::Published { .. }]), "not even for the smaller");
    solo.feed(&Packet::PubAck(ack(2)));
    assert!(matches!(solo.events()[..], [Event::Published { .. }, Event::Writable]));
    assert!(!full(&mut solo, &sized(40, QoS::AtLeastOnce)));
    assert!(full(&mut solo, &sized(90, QoS::AtLeastOnce)));
    solo.sent();
    solo.feed(&Packet::PubAck(ack(3)));
    assert!(matches!(solo.events()[..], [Event::Published { .. }]));
    solo.feed(&Packet::PubAck(ack(4)));
    assert!(matches!(solo.events()[..], [Event::Published { .. }, Event::Writable]));
    assert_eq!(solo.events(), []);
}

// class: 42, 43
#[test]
fn writable_follows_whatever_made_room() {
    let publish = || sized(10, QoS::ExactlyOnce);
    // A message that expired, without a byte being sent.
    let mut solo = bounded(1, 1000);
    let mut expiring = publish();
    expiring.properties.edit().message_expiry_interval = Some(5);
    solo.session.publish(expiring, solo.now).unwrap();
    assert!(full(&mut solo, &publish()));
    solo.now = solo.now + crate::solo::secs(5);
    assert_eq!(solo.sent(), []);
    assert!(matches!(solo.events()[..], [Event::Failed { .. }, Event::Writable]));
    // One that was taken back.
    let token = solo.session.publish(publish(), solo.now).unwrap();
    assert!(full(&mut solo, &publish()));
    assert_eq!(solo.session.cancel(token), Some(publish()));
    assert_eq!(solo.events(), [Event::Writable]);
    // The bytes of one that the peer has taken; a QoS 0 message that was sent; a lost session.
    let mut solo = bounded(10, 15);
    assert!(!full(&mut solo, &publish()));
    assert!(full(&mut solo, &publish()));
    solo.sent();
    solo.feed(&Packet::PubRec(ack(1)));
    assert!(matches!(solo.events()[..], [Event::Received { .. }, Event::Writable]));
    assert!(!full(&mut solo, &sized(10, QoS::AtMostOnce)));
    assert!(full(&mut solo, &publish()));
    solo.sent();
    assert!(matches!(solo.events()[..], [Event::Writable, Event::Published { .. }]));
    let mut solo = bounded(1, 1000);
    assert!(!full(&mut solo, &publish()));
    solo.sent();
    assert!(full(&mut solo, &publish()));
    solo.reconnect(ConnAck::default());
    assert!(solo.events().contains(&Event::Writable));
}

// class: 42
#[test]
fn one_message_is_always_taken_however_large() {
    let mut solo = bounded(3, 100);
    assert!(!full(&mut solo, &sized(100_000, QoS::AtLeastOnce)));
    assert!(full(&mut solo, &sized(2, QoS::AtMostOnce)));
    assert_eq!(ids(&solo.sent()), [1]);
    solo.feed(&Packet::PubAck(ack(1)));
    assert!(solo.events().contains(&Event::Writable));
    solo.session.subscribe(subscribe("a", QoS::AtMostOnce)).unwrap();
    solo.session.subscribe(subscribe("a", QoS::AtMostOnce)).unwrap();
    let refused = solo.session.subscribe(subscribe("a", QoS::AtMostOnce));
    assert_eq!(refused, Err(mqtt_proto::CommandError::Full));
    solo.sent();
    solo.session.subscribe(subscribe("a", QoS::AtMostOnce)).unwrap_err();
}

// covers: v5 MQTT-4.3.2-1, v5 MQTT-4.3.3-1, v3 MQTT-4.3.2-1, v5 MQTT-2.2.1-3, v3 MQTT-2.3.1-1
// class: 13, 15
#[test]
fn many_exchanges_never_meet_an_identifier_that_is_in_use() {
    for version in VERSIONS {
        let mut solo = Solo::connected(version);
        let mut held = BTreeSet::new();
        // Twice around.
        for round in 0..140_000_u32 {
            let request = round % 3 == 2;
            if request {
                solo.session.subscribe(subscribe("a", QoS::AtMostOnce)).unwrap();
            } else {
                solo.publish("a", QoS::AtLeastOnce);
            }
            let packet_id = match &solo.sent()[..] {
                [Packet::Publish(publish)] => publish.packet_id().unwrap(),
                [Packet::Subscribe(packet_id, _)] => *packet_id,
                other => panic!("{other:?}"),
            };
            assert!(!held.contains(&packet_id.get()), "in use: {packet_id}");
            if matches!(round, 0 | 7 | 300 | 5000 | 65_500 | 65_533 | 65_534) {
                held.insert(packet_id.get());
            } else if request {
                let (reasons, properties) = (vec![SUCCESS], mqtt_proto::AckProperties::NONE);
                let suback = mqtt_proto::SubAck { packet_id, reasons, properties };
                solo.feed(&Packet::SubAck(suback));
            } else {
                solo.feed(&Packet::PubAck(Ack::new(packet_id, SUCCESS)));
            }
            solo.events();
        }
        assert_eq!(held.len(), 7);
        let stats = solo.session.stats();
        assert_eq!(stats.in_flight + stats.requests, 7);
    }
}

// class: 14
#[test]
fn exhausted_identifiers_hold_back_and_nothing_spins() {
    for version in VERSIONS {
        let mut config = durable(version);
        config.bounds.messages = 100_000;
        let mut solo = Solo::accepted(config, ConnAck::default());
        let mut tokens: Vec<Token> = Vec::new();
        for _ in 0..65_535 {
            tokens.push(solo.publish("a", QoS::AtLeastOnce));
        }
        let sent = ids(&solo.sent());
        assert_eq!(sent.len(), 65_535);
        assert_eq!(sent.iter().collect::<BTreeSet<_>>().len(), 65_535);
        let request = solo.session.subscribe(subscribe("a", QoS::AtMostOnce)).unwrap();
        tokens.push(solo.publish("b", QoS::AtLeastOnce));
        assert_eq!(solo.sent(), []);
        solo.feed(&Packet::PubAck(ack(77)));
        let sent = solo.sent();
        assert!(matches!(&sent[..], [Packet::Subscribe(packet_id, _)] if packet_id.get() == 77));
        solo.feed(&Packet::PubAck(ack(78)));
        assert_eq!(ids(&solo.sent()), [78]);
        let ended: Vec<_> = solo.events().iter().filter_map(ends).collect();
        assert_eq!(ended, [tokens[76], tokens[77]]);
        assert!(!ended.contains(&request));
    }
}

// class: 15
#[test]
fn what_is_taken_back_leaves_no_trace() {
    for version in VERSIONS {
        let mut pair = Pair::connected(version, 64 * 1024);
        pair.sent_by_client();
        let publish = |pair: &mut Pair, name: &str| {
            pair.client.publish(message(name, "x", QoS::ExactlyOnce), pair.now).unwrap()
        };
        let (a, b, c) = (publish(&mut pair, "a"), publish(&mut pair, "b"), publish(&mut pair, "c"));
        assert_eq!(pair.client.cancel(b), Some(message("b", "x", QoS::ExactlyOnce)));
        assert_eq!(pair.client.cancel(b), None);
        pair.settle();
        assert_eq!(pair.client.cancel(a), None);
        let ended: Vec<_> = pair.client_events.iter().filter_map(ends).collect();
        assert_eq!(ended, [a, c]);
        assert_eq!(ids(&pair.sent_by_client()), [1, 2], "no identifier is used up");
        assert_eq!(pair.client.stats(), Default::default());
    }
}
