//! Limits: sizes to the byte, what a server does not have, expiry, how connections end.

use bytes::Bytes;
use mqtt_proto::{
    AckProperties, Client, CloseReason, CommandError, ConnAck, Connect, Disconnect, Event, Failure,
    Packet, PacketType, Publish, PublishError, PublishPacket, QoS, ReasonCode, Server,
    ServerConfig, Subscribe, SubscriptionOptions, Token, TopicFilter, TxBuf, Unsubscribe, Version,
    codec,
};

use crate::pair::{CHUNKS, durable, message, subscribe, topic, wire};
use crate::solo::{Solo, ack, connect_packet, id, publish_bytes, secs, text, types};

const ALL: [Version; 3] = [Version::V31, Version::V311, Version::V5];

fn client(maximum: u32) -> Solo<Client> {
    let connack = ConnAck { maximum_packet_size: Some(maximum), ..ConnAck::default() };
    Solo::accepted(durable(Version::V5), connack)
}

fn server(maximum: u32) -> Solo<Server> {
    let connect = Connect { maximum_packet_size: Some(maximum), ..connect_packet(false) };
    let mut solo = Solo::server(ServerConfig::default(), Version::V5);
    solo.feed(&Packet::Connect(Box::new(connect)));
    solo.accept(ConnAck::default(), None);
    solo.sent();
    solo.events();
    solo
}

fn of_size(size: usize, qos: QoS) -> Publish {
    let overhead = publish_bytes(Version::V5, &message("t", "", qos), 1, false).len();
    // The Remaining Length takes one byte more from 128 on.
    let more = usize::from(size - 2 > 127);
    Publish::new(topic("t"), Bytes::from(vec![b'x'; size - overhead - more])).qos(qos)
}

// covers: v5 MQTT-3.2.2-15, v5 MQTT-3.1.2-24, v5 MQTT-3.1.2-25
// class: 15, 32
#[test]
fn a_publish_may_take_the_maximum_and_not_a_byte_more() {
    for maximum in [30, 127, 128, 129, 130, 131, 200, 5000] {
        if maximum == 130 {
            // No PUBLISH has that size: the Remaining Length grows there.
            continue;
        }
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for (size, fits) in [(maximum - 1, true), (maximum, true), (maximum + 1, false)] {
                if size == 130 {
                    continue;
                }
                let publish = of_size(size, qos);
                let len = publish_bytes(Version::V5, &publish, 1, false).len();
                if len != size {
                    continue;
                }
                let limit = maximum as u32;
                let (mut client, mut server) = (client(limit), server(limit));
                let results = [
                    client.session.publish(publish.clone(), client.now),
                    server.session.publish(publish, server.now),
                ];
                for (result, sent) in
                    results.into_iter().zip([client.sent_raw(), server.sent_raw()])
                {
                    if fits {
                        result.unwrap();
                        assert_eq!(sent.len(), size);
                    } else {
                        assert_eq!(result, Err(PublishError::TooLarge { size, limit }));
                        assert_eq!(sent, []);
                    }
                }
                // Nothing is used up by what was refused.
                assert_eq!(client.session.stats().in_flight, usize::from(fits && qos as u8 > 0));
            }
        }
    }
}

// class: 32
#[test]
fn requests_and_auth_and_disconnect_keep_to_the_maximum() {
    for (size, filter) in [(40, "x".repeat(32)), (41, "x".repeat(33))] {
        let filter = TopicFilter::new(filter).unwrap();
        let one = Subscribe::new(filter.clone(), QoS::AtMostOnce);
        let packet = Packet::Subscribe(id(1), Box::new(one.clone()));
        let len = wire(&packet, Version::V5).len();
        assert_eq!(len, size);
        for limit in [len - 1, len, len + 1] {
            let mut solo = client(limit as u32);
            let expected = CommandError::TooLarge { size: len, limit: limit as u32 };
            match solo.session.subscribe(one.clone()) {
                Ok(_) => assert_eq!(solo.sent_raw().len(), len),
                Err(error) => assert_eq!((error, limit), (expected, len - 1)),
            }
        }
        let other = Unsubscribe::new(filter);
        let packet = Packet::Unsubscribe(id(1), Box::new(other.clone()));
        let len = wire(&packet, Version::V5).len();
        for limit in [len - 1, len, len + 1] {
            let mut solo = client(limit as u32);
            assert_eq!(solo.session.unsubscribe(other.clone()).is_ok(), limit >= len);
        }
    }
}

/// Reason String and User Properties that take more than `size` bytes.
fn chatty(size: usize) -> AckProperties {
    AckProperties::new(Some(text(&"r".repeat(size))), vec![(text("u"), text("v"))])
}

// covers: v5 MQTT-3.4.2-2, v5 MQTT-3.4.2-3, v5 MQTT-3.5.2-2, v5 MQTT-3.5.2-3
// covers: v5 MQTT-3.14.2-3, v5 MQTT-3.14.2-4
// class: 32
#[test]
fn answers_leave_out_what_the_peer_does_not_take() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let whole = 2 + 2 + 1 + 1 + (3 + 20) + (1 + 3 + 3);
        for limit in [5, 6, whole - 1, whole, whole + 1] {
            let mut solo = client(limit);
            solo.feed_publish(&message("a", "x", qos), 7, false);
            let ack_id = solo.messages().remove(0).ack.unwrap();
            solo.session.ack_with(ack_id, ReasonCode::QUOTA_EXCEEDED, chatty(20));
            let sent = solo.sent_raw();
            assert_eq!(sent.len() as u32, if limit >= whole { whole } else { 5 }, "{limit}");
            assert_eq!(sent[4], 0x97);
        }
    }
    let whole = 2 + 1 + 1 + (3 + 20) + (1 + 3 + 3);
    for limit in [2, 3, whole - 1, whole] {
        let words =
            || Disconnect { properties: chatty(20), ..Disconnect::new(ReasonCode::new(0x80)) };
        let (mut client, mut server) = (client(limit), server(40));
        client.session.disconnect(words(), client.now).unwrap();
        let expected = if limit == 2 {
            0
        } else if limit >= whole {
            whole
        } else {
            3
        };
        assert_eq!(client.sent_raw().len() as u32, expected, "{limit}");
        assert_eq!(client.closed(), CloseReason::Requested);
        server.session.disconnect(words(), server.now).unwrap();
        assert_eq!(server.sent_raw().len() as u32, whole);
    }
}

// covers: v5 MQTT-3.2.2-19, v5 MQTT-3.2.2-20
// class: 32
#[test]
fn connack_leaves_out_what_the_client_does_not_take() {
    let config = ServerConfig { topic_alias_maximum: 0, ..ServerConfig::default() };
    for (limit, talks) in [(1000, true), (30, false), (13, false)] {
        for refused in [false, true] {
            let connect = Connect { maximum_packet_size: Some(limit), ..connect_packet(false) };
            let mut solo = Solo::server(config.clone(), Version::V5);
            solo.feed(&Packet::Connect(Box::new(connect)));
            let connack = ConnAck {
                reason_string: Some(text(&"r".repeat(20))),
                user_properties: vec![(text("u"), text("v"))],
                ..ConnAck::default()
            };
            if refused {
                let connack = ConnAck { reason: ReasonCode::BANNED, ..connack };
                solo.session.refuse(connack, solo.now).unwrap();
            } else {
                solo.accept(connack, None);
            }
            let sent = solo.sent();
            let [Packet::ConnAck(connack)] = &sent[..] else { panic!("{limit} {sent:?}") };
            assert_eq!(connack.reason_string.is_some(), talks);
            assert_eq!(connack.user_properties.is_empty(), !talks);
        }
    }
    // Not even the limits fit: the application has to know.
    let connect = Connect { maximum_packet_size: Some(12), ..connect_packet(false) };
    let mut solo = Solo::server(config, Version::V5);
    solo.feed(&Packet::Connect(Box::new(connect)));
    let accept = mqtt_proto::Accept::default();
    let error = solo.session.accept(accept, solo.now).unwrap_err();
    assert_eq!(error.error, CommandError::TooLarge { size: 13, limit: 12 });
    solo.session.refuse(ConnAck::new(ReasonCode::PACKET_TOO_LARGE), solo.now).unwrap();
    assert_eq!(solo.sent_raw(), [0x20, 3, 0, 0x95, 0]);
}

// class: 32, 45
#[test]
fn an_answer_that_cannot_be_shortened_ends_the_connection() {
    let many = Subscribe {
        subscriptions: vec![subscribe("a", QoS::AtMostOnce).subscriptions[0].clone(); 30],
        ..Subscribe::default()
    };
    for (limit, fits) in [(34, false), (35, true)] {
        let mut solo = server(limit);
        solo.feed(&Packet::Subscribe(id(1), Box::new(many.clone())));
        let Event::Subscribe(request, _) = solo.events().remove(0) else { panic!() };
        solo.session.grant(request, vec![ReasonCode::SUCCESS; 30]).unwrap();
        if fits {
            assert_eq!(solo.sent_types(), [PacketType::SubAck]);
        } else {
            solo.closed_for(ReasonCode::PACKET_TOO_LARGE);
        }
    }
}

// class: 32
#[test]
fn a_stored_message_that_is_too_large_now_fails_alone() {
    for queued in [false, true] {
        let mut solo = client(1000);
        let mut tokens = Vec::new();
        for size in [100, 101, 50] {
            tokens.push(solo.session.publish(of_size(size, QoS::AtLeastOnce), solo.now).unwrap());
        }
        if !queued {
            assert_eq!(solo.sent().len(), 3);
        }
        let (session_present, maximum_packet_size) = (true, Some(100));
        let connack = ConnAck { session_present, maximum_packet_size, ..ConnAck::default() };
        solo.reconnect(connack.clone());
        solo.events();
        let sent = solo.sent();
        assert_eq!(sent.len(), 2);
        let error = Failure::TooLarge { size: 101, limit: 100 };
        assert_eq!(solo.events(), [Event::Failed { token: tokens[1], error }]);
        for packet in sent {
            let Packet::Publish(publish) = packet else { panic!() };
            solo.feed(&Packet::PubAck(ack(publish.packet_id().unwrap().get())));
        }
        assert!(solo.session.is_idle() && solo.is_open());
        solo.reconnect(connack);
        assert_eq!(solo.sent(), [], "no endless loop");
    }
}

// class: 33, 45
#[test]
fn a_packet_that_is_larger_than_announced_is_refused_at_its_header() {
    for version in ALL {
        for chunk in CHUNKS {
            let mut config = durable(version);
            config.maximum_packet_size = 200;
            let mut solo = Solo::client(config);
            solo.chunk = chunk;
            solo.feed(&Packet::ConnAck(Box::default()));
            solo.events();
            for size in [199, 200] {
                let mut publish = of_size(size, QoS::AtMostOnce);
                if !version.is_v5() {
                    publish.payload = Bytes::from(vec![b'x'; publish.payload.len() + 1]);
                }
                let bytes = publish_bytes(version, &publish, 0, false);
                assert_eq!(bytes.len(), size);
                solo.feed_raw(&bytes);
                assert_eq!(solo.messages().len(), 1);
            }
            solo.feed_raw(&[0x30, 0xC6, 0x01]);
            solo.closed_for(ReasonCode::PACKET_TOO_LARGE);
        }
    }
    let mut solo = Solo::client(durable(Version::V5));
    solo.open();
    let sent = solo.sent();
    let [Packet::Connect(connect)] = &sent[..] else { panic!() };
    assert_eq!(connect.maximum_packet_size, Some(1024 * 1024), "the default is announced");
}

fn nothing() -> ConnAck {
    ConnAck {
        maximum_qos: Some(QoS::AtMostOnce),
        retain_available: Some(false),
        wildcard_subscription_available: Some(false),
        subscription_identifier_available: Some(false),
        shared_subscription_available: Some(false),
        ..ConnAck::default()
    }
}

fn numbered() -> Subscribe {
    Subscribe { subscription_identifier: Some(3), ..subscribe("a", QoS::AtMostOnce) }
}

// covers: v5 MQTT-3.2.2-11, v5 MQTT-3.2.2-14
// class: 15, 34
#[test]
fn what_the_server_does_not_have_is_refused_or_fails_if_it_waited() {
    type Command = fn(&mut Solo<Client>) -> Result<Token, String>;
    let commands: [(Command, &str); 6] = [
        (
            |solo| {
                let publish = message("a", "x", QoS::AtLeastOnce);
                solo.session.publish(publish, solo.now).map_err(|error| error.to_string())
            },
            "Maximum QoS",
        ),
        (
            |solo| {
                let publish = message("a", "x", QoS::ExactlyOnce);
                solo.session.publish(publish, solo.now).map_err(|error| error.to_string())
            },
            "Maximum QoS",
        ),
        (
            |solo| {
                let publish = message("a", "x", QoS::AtMostOnce).retain(true);
                solo.session.publish(publish, solo.now).map_err(|error| error.to_string())
            },
            "Retain Available",
        ),
        (
            |solo| {
                let subscribe = subscribe("a/+", QoS::AtMostOnce);
                solo.session.subscribe(subscribe).map_err(|error| error.to_string())
            },
            "Wildcard Subscription Available",
        ),
        (
            |solo| {
                let subscribe = subscribe("$share/g/a", QoS::AtMostOnce);
                solo.session.subscribe(subscribe).map_err(|error| error.to_string())
            },
            "Shared Subscription Available",
        ),
        (
            |solo| solo.session.subscribe(numbered()).map_err(|error| error.to_string()),
            "Subscription Identifier Available",
        ),
    ];
    for (command, named) in commands {
        let mut solo = Solo::accepted(durable(Version::V5), nothing());
        let error = command(&mut solo).unwrap_err();
        assert!(error.contains(named), "{error}");
        assert_eq!((solo.sent(), solo.session.is_idle()), (vec![], true));
        // With everything there it is taken.
        command(&mut Solo::connected(Version::V5)).unwrap();
        // Queued before CONNACK.
        let mut solo = Solo::client(durable(Version::V5));
        let token = command(&mut solo).unwrap();
        solo.feed(&Packet::ConnAck(Box::new(nothing())));
        assert_eq!(solo.sent(), []);
        let failed = solo.events().into_iter().any(|event| {
            matches!(&event, Event::Failed { token: got, error: Failure::NotSupported(what) }
                if *got == token && what.contains(named))
        });
        assert!(failed, "{named}");
        assert!(solo.session.is_idle() && solo.is_open());
        // Sent on a connection that had it, and in flight when the next has not.
        let mut solo = Solo::connected(Version::V5);
        let token = command(&mut solo).unwrap();
        assert_eq!(solo.sent().len(), 1);
        solo.events();
        solo.reconnect(ConnAck { session_present: true, ..nothing() });
        assert_eq!(solo.sent(), []);
        let failed =
            |event: &Event| matches!(event, Event::Failed { token: got, .. } if *got == token);
        let zero = named == "Retain Available";
        assert_eq!(solo.events().iter().any(failed), !zero, "{named}");
    }
}

fn expiring(seconds: u32, qos: QoS) -> Publish {
    let mut publish = message("a", "x", qos);
    publish.properties.edit().message_expiry_interval = Some(seconds);
    publish
}

fn expiry(packet: &Packet) -> Option<u32> {
    let Packet::Publish(publish) = packet else { panic!("{packet:?}") };
    let publish: &PublishPacket = publish;
    publish.to_publish().unwrap().properties.get()?.message_expiry_interval
}

// covers: v5 MQTT-4.3.3-7, v5 MQTT-4.3.3-13
#[test]
fn expiry_counts_down_while_a_message_waits_and_not_once_it_was_sent() {
    for version in ALL {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut solo = Solo::connected(version);
            solo.eof();
            let publish = |solo: &mut Solo<Client>, seconds| {
                solo.session.publish(expiring(seconds, qos), solo.now).unwrap()
            };
            let dead = publish(&mut solo, 10);
            publish(&mut solo, 11);
            publish(&mut solo, u32::MAX);
            solo.wait(secs(4));
            let born_dead = publish(&mut solo, 0);
            publish(&mut solo, 100);
            solo.wait(secs(6));
            solo.resume();
            solo.events();
            let sent = solo.sent();
            let told: Vec<_> = sent.iter().map(expiry).collect();
            let expected = [Some(1), Some(u32::MAX - 10), Some(94)];
            assert_eq!(told, if version.is_v5() { expected } else { [None; 3] });
            let failed: Vec<_> = solo
                .events()
                .into_iter()
                .filter_map(|event| match event {
                    Event::Failed { token, error: Failure::Expired } => Some(token),
                    _ => None,
                })
                .collect();
            assert_eq!(failed, [dead, born_dead]);
            if qos == QoS::AtMostOnce {
                continue;
            }
            // Long after: what was sent is sent again all the same, and finished.
            solo.eof();
            solo.wait(secs(1_000));
            solo.resume();
            solo.events();
            let again = solo.sent();
            assert_eq!(again.len(), 3);
            let expected = [Some(1), Some(u32::MAX - 1010), Some(1)];
            let told: Vec<_> = again.iter().map(expiry).collect();
            assert_eq!(told, if version.is_v5() { expected } else { [None; 3] });
            for packet_id in 1..=3 {
                if qos == QoS::ExactlyOnce {
                    solo.feed(&Packet::PubRec(ack(packet_id)));
                    solo.feed(&Packet::PubComp(ack(packet_id)));
                } else {
                    solo.feed(&Packet::PubAck(ack(packet_id)));
                }
            }
            solo.sent();
            assert!(solo.session.is_idle());
        }
    }
}

// covers: v5 MQTT-3.14.4-1, v3 MQTT-3.14.4-2, v3 MQTT-3.14.4-1
// class: 44
#[test]
fn disconnect_comes_last_and_nothing_after_it() {
    for version in ALL {
        for limit in [1, 100, 64 * 1024] {
            let mut solo = Solo::connected(version);
            solo.feed_publish(&message("a", "x", QoS::AtLeastOnce), 7, false);
            let ack_id = solo.messages().remove(0).ack.unwrap();
            solo.session.subscribe(subscribe("a", QoS::AtMostOnce)).unwrap();
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                solo.session.publish(message("b", &"y".repeat(3000), qos), solo.now).unwrap();
            }
            solo.session.ack(ack_id, ReasonCode::SUCCESS);
            solo.session.disconnect(Disconnect::default(), solo.now).unwrap();
            solo.session.disconnect(Disconnect::default(), solo.now).unwrap_err();
            let late = solo.session.publish(message("c", "", QoS::AtMostOnce), solo.now);
            assert!(matches!(late, Err(PublishError::Closing(_))));
            solo.session.subscribe(subscribe("a", QoS::AtMostOnce)).unwrap_err();
            let mut out = TxBuf::with_limit(limit);
            let mut bytes = bytes::BytesMut::new();
            while solo.session.poll_transmit(&mut out, solo.now) {
                while !out.is_empty() {
                    bytes.extend_from_slice(bytes::Buf::chunk(&out));
                    let len = bytes::Buf::chunk(&out).len();
                    bytes::Buf::advance(&mut out, len);
                }
            }
            let mut packets = Vec::new();
            while let Some(frame) = codec::frame(&mut bytes, u32::MAX).unwrap() {
                packets.push(codec::decode(&frame, version).unwrap());
            }
            let publish = PacketType::Publish;
            let (first, last) = (PacketType::PubAck, PacketType::Disconnect);
            let expected = [first, PacketType::Subscribe, publish, publish, publish, last];
            assert_eq!(types(&packets), expected);
            assert_eq!(solo.closed(), CloseReason::Requested);
            solo.feed(&Packet::PingResp);
            solo.wait(secs(1000));
            assert_eq!((solo.sent_raw(), solo.events()), (vec![], vec![]));
            let offline = solo.session.publish(message("c", "", QoS::AtLeastOnce), solo.now);
            offline.unwrap();
        }
    }
}

// class: 45
#[test]
fn each_fault_is_answered_with_its_code_and_ends_the_connection() {
    let wrong: [(&[u8], u8); 12] = [
        // Packet type 0; reserved flags; a Remaining Length of five bytes.
        (&[0x00, 0x00], 0x81),
        (&[0xE1, 0x00], 0x81),
        (&[0x30, 0xFF, 0xFF, 0xFF, 0xFF], 0x81),
        // QoS 3; Packet Identifier 0; U+0000 and bad UTF-8 in the topic; DUP with QoS 0.
        (&[0x36, 5, 0, 1, b'a', 0, 1], 0x81),
        (&[0x32, 6, 0, 1, b'a', 0, 0, 0], 0x81),
        (&[0x30, 4, 0, 1, 0, 0], 0x81),
        (&[0x30, 4, 0, 1, 0xFF, 0], 0x81),
        (&[0x38, 4, 0, 1, b'a', 0], 0x81),
        // A property twice; an empty topic without an alias; alias 0.
        (&[0x30, 8, 0, 1, b'a', 4, 1, 0, 1, 0], 0x82),
        (&[0x30, 3, 0, 0, 0], 0x82),
        (&[0x30, 7, 0, 1, b'a', 3, 0x23, 0, 0], 0x94),
        // A reason code that PUBACK does not have.
        (&[0x40, 3, 0, 1, 0x8A], 0x81),
    ];
    for (bytes, code) in wrong {
        for chunk in CHUNKS {
            let code = ReasonCode::new(code);
            let mut client = Solo::connected(Version::V5);
            client.chunk = chunk;
            client.feed_raw(bytes);
            client.closed_for(code);
            let mut server = Solo::plain(Version::V5);
            server.chunk = chunk;
            server.feed_raw(bytes);
            server.closed_for(code);
        }
    }
    // What came before the fault in the same block is still handled.
    let mut solo = Solo::connected(Version::V5);
    let good = publish_bytes(Version::V5, &message("a", "x", QoS::AtMostOnce), 0, false);
    solo.feed_raw(&[&good[..], &[0x00], &good[..]].concat());
    let events = solo.events();
    assert!(matches!(events[..], [Event::Message(_), Event::Closed { .. }]));
    assert_eq!(solo.sent_types(), [PacketType::Disconnect]);
}

// class: 34
#[test]
fn what_only_5_0_has_is_refused_in_3_x() {
    for version in [Version::V31, Version::V311] {
        let mut online = Solo::connected(version);
        let mut offline = Solo::client(durable(version));
        for solo in [&mut online, &mut offline] {
            let mut publish = message("a", "x", QoS::AtMostOnce);
            publish.properties.edit().response_topic = Some(topic("r"));
            let error = solo.session.publish(publish, solo.now).unwrap_err();
            assert!(matches!(error, PublishError::NotSupported(_)), "{error}");
            let options = SubscriptionOptions { no_local: true, ..QoS::AtMostOnce.into() };
            let filter = TopicFilter::new("a").unwrap();
            solo.session.subscribe(Subscribe::new(filter, options)).unwrap_err();
            solo.session.subscribe(numbered()).unwrap_err();
            let words = Disconnect::new(ReasonCode::DISCONNECT_WITH_WILL);
            solo.session.disconnect(words, solo.now).unwrap_err();
            assert!(solo.session.is_idle());
        }
        assert_eq!(online.sent(), []);
    }
}

// class: 34
#[test]
fn a_message_with_properties_fails_if_the_version_has_become_3_1_1() {
    let mut solo = Solo::client(durable(Version::V5));
    let mut publish = message("a", "x", QoS::AtLeastOnce);
    publish.properties.edit().content_type = Some(text("text/plain"));
    let token = solo.session.publish(publish, solo.now).unwrap();
    let plain = solo.publish("plain", QoS::AtLeastOnce);
    solo.eof();
    let config = solo.session.config_mut();
    config.version = Version::V311;
    config.connect.session_expiry_interval = None;
    solo.version = Version::V311;
    solo.reconnect(ConnAck::default());
    let sent = solo.sent();
    assert!(matches!(&sent[..], [Packet::Publish(publish)] if publish.topic() == "plain"));
    let failed: Vec<_> = solo.events().iter().filter_map(crate::pair::ends).collect();
    assert_eq!(failed, [token], "not sent without them");
    assert_ne!(token, plain);
}

// covers: v5 MQTT-3.3.4-6
#[test]
fn a_client_neither_sends_nor_may_send_subscription_identifiers_with_messages() {
    let mut publish = message("a", "x", QoS::AtMostOnce);
    publish.properties.edit().subscription_identifiers = vec![3];
    for mut solo in [Solo::connected(Version::V5), Solo::client(durable(Version::V5))] {
        let error = solo.session.publish(publish.clone(), solo.now).unwrap_err();
        assert!(matches!(error, PublishError::NotSupported(_)));
    }
    let mut server = Solo::plain(Version::V5);
    server.session.publish(publish.clone(), server.now).unwrap();
    assert_eq!(server.sent().len(), 1);
    server.feed_publish(&publish, 0, false);
    server.closed_for(ReasonCode::PROTOCOL_ERROR);
}
