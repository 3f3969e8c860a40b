//! The beginning of a connection: which packet may come first, and what begins with it.

use mqtt_proto::{
    ClientConfig, CloseReason, ConnAck, Event, Packet, PacketType, PeerError, Phase, QoS,
    ReasonCode, ServerConfig, Timeout, Version,
};

use crate::pair::{CHUNKS, Pair, VERSIONS, durable, message, subscribe, wire};
use crate::solo::{Solo, connect_packet, one_of_each, secs, text, type_of, types};

const ALL: [Version; 3] = [Version::V31, Version::V311, Version::V5];

// covers: v5 MQTT-3.1.0-1, v3 MQTT-3.1.0-1, v5 MQTT-3.1.2-30
// class: 38
#[test]
fn a_client_sends_connect_and_then_nothing_until_connack() {
    for version in ALL {
        let mut config = durable(version);
        if version.is_v5() {
            config.connect.authentication_method = Some(text("m"));
        }
        let mut solo = Solo::client(config);
        let connack = ConnAck {
            authentication_method: version.is_v5().then(|| text("m")),
            ..ConnAck::default()
        };
        solo.publish("a", QoS::AtMostOnce);
        solo.publish("b", QoS::ExactlyOnce);
        solo.session.subscribe(subscribe("a", QoS::AtMostOnce)).unwrap();
        solo.wait(secs(9));
        assert_eq!(solo.sent(), []);
        solo.feed(&Packet::ConnAck(Box::new(connack)));
        let expected = [PacketType::Subscribe, PacketType::Publish, PacketType::Publish];
        assert_eq!(solo.sent_types(), expected);
    }
}

// covers: v5 X5-4.13.1-a, v5 MQTT-3.1.4-5, v3 MQTT-3.2.0-1
// class: 38, 45
#[test]
fn a_server_that_does_not_begin_with_connack_is_left() {
    for version in ALL {
        for packet in one_of_each(version) {
            if type_of(&packet) == PacketType::ConnAck {
                continue;
            }
            for chunk in CHUNKS {
                let mut solo = Solo::client(durable(version));
                solo.chunk = chunk;
                solo.feed_raw(&packet);
                solo.closed_for(ReasonCode::PROTOCOL_ERROR);
                assert_eq!(solo.session.phase(), Phase::Closed);
            }
        }
    }
}

// covers: v5 MQTT-3.14.0-1, v5 MQTT-3.2.0-1
// class: 38
#[test]
fn a_client_that_does_not_begin_with_connect_is_left_without_a_word() {
    for version in ALL {
        for packet in one_of_each(version) {
            if type_of(&packet) == PacketType::Connect {
                continue;
            }
            for chunk in CHUNKS {
                let mut solo = Solo::server(ServerConfig::default(), version);
                solo.chunk = chunk;
                solo.feed_raw(&packet);
                assert_eq!(solo.sent_raw(), [], "{:?}", type_of(&packet));
                assert!(matches!(solo.closed(), CloseReason::Peer(_)));
            }
        }
    }
}

// covers: v5 X5-2.1.2-b, v3 X3-2.2.1-b, v3 MQTT-4.8.0-1
// class: 38, 45
#[test]
fn a_connected_client_takes_only_what_servers_send() {
    use PacketType::*;
    for version in ALL {
        for packet in one_of_each(version) {
            let mut solo = Solo::connected(version);
            solo.feed_raw(&packet);
            match type_of(&packet) {
                Publish | PubAck | PubRec | PubRel | PubComp | SubAck | UnsubAck | PingResp => {
                    assert!(solo.is_open(), "{:?}", type_of(&packet));
                }
                Disconnect if version.is_v5() => {
                    assert_eq!(solo.sent_raw(), []);
                    assert!(matches!(solo.closed(), CloseReason::Disconnected(_)));
                }
                _ => _ = solo.closed_for(ReasonCode::PROTOCOL_ERROR),
            }
        }
    }
}

// covers: v5 MQTT-3.1.0-2, v3 MQTT-3.1.0-2, v5 MQTT-4.13.1-1, v5 X5-4.13.1-b, v5 MQTT-4.13.2-1
// class: 38, 45
#[test]
fn a_connected_server_takes_only_what_clients_send() {
    use PacketType::*;
    for version in ALL {
        for packet in one_of_each(version) {
            let mut solo = Solo::plain(version);
            solo.feed_raw(&packet);
            match type_of(&packet) {
                Publish | PubAck | PubRec | PubRel | PubComp | Subscribe | Unsubscribe
                | PingReq => assert!(solo.is_open(), "{:?}", type_of(&packet)),
                Disconnect => {
                    assert_eq!(solo.sent_raw(), []);
                    assert!(matches!(solo.closed(), CloseReason::Disconnected(_)));
                }
                _ => _ = solo.closed_for(ReasonCode::PROTOCOL_ERROR),
            }
        }
    }
}

// covers: v5 X5-3.1.4-b, v3 X3-3.1.4-c
#[test]
fn what_follows_connect_at_once_waits_for_the_answer() {
    for version in ALL {
        for chunk in CHUNKS {
            for accepted in [true, false] {
                let mut solo = Solo::server(ServerConfig::default(), version);
                solo.chunk = chunk;
                let mut bytes = wire(&Packet::Connect(Box::new(connect_packet(true))), version);
                bytes.extend(one_of_each(version).last().unwrap());
                bytes.extend(wire(&Packet::PingReq, version));
                solo.feed_raw(&bytes);
                assert!(matches!(solo.events()[..], [Event::Connect(_)]));
                assert_eq!((solo.sent_raw(), solo.session.wants_input()), (vec![], false));
                if accepted {
                    solo.accept(ConnAck::default(), None);
                    assert_eq!(solo.messages().len(), 1);
                    assert_eq!(solo.sent_types(), [PacketType::ConnAck, PacketType::PingResp]);
                } else {
                    let connack = ConnAck::new(ReasonCode::NOT_AUTHORIZED);
                    solo.session.refuse(connack, solo.now).unwrap();
                    solo.feed_again();
                    assert_eq!(solo.sent_types(), [PacketType::ConnAck]);
                    assert!(matches!(solo.closed(), CloseReason::Refused(_)));
                }
            }
        }
    }
}

/// The refusals that a version has.
fn refusals(version: Version) -> Vec<ReasonCode> {
    let all = (0x80..=0xFF).map(ReasonCode::new);
    match version {
        Version::V5 => all.filter(|code| code.is_valid_in(PacketType::ConnAck)).collect(),
        _ => all.filter(|code| code.to_return_code().is_some()).collect(),
    }
}

// covers: v5 MQTT-3.2.2-7, v3 MQTT-3.2.2-5, v5 MQTT-3.2.2-6, v3 MQTT-3.2.2-4, v5 MQTT-3.1.4-6
// covers: v3 MQTT-3.1.4-5, v5 MQTT-3.1.3-8, v3 MQTT-3.1.3-9, v5 MQTT-3.1.4-2, v3 X3-3.1.4-b
// covers: v5 X5-4.11-a
// class: 38
#[test]
fn each_refusal_ends_the_connection_on_both_sides() {
    for version in ALL {
        assert!(refusals(version).len() >= 5);
        for code in refusals(version) {
            for chunk in CHUNKS {
                let mut server = Solo::server(ServerConfig::default(), version);
                server.feed(&Packet::Connect(Box::new(connect_packet(false))));
                let mut connack = ConnAck { session_present: true, ..ConnAck::new(code) };
                if version.is_v5() {
                    connack.server_reference = Some(text("elsewhere"));
                }
                server.session.refuse(connack, server.now).unwrap();
                let said = server.sent_raw();
                assert!(matches!(server.closed(), CloseReason::Refused(_)));
                server.feed(&Packet::PingReq);
                assert_eq!((server.sent_raw(), server.events()), (vec![], vec![]));

                let mut client = Solo::client(durable(version));
                client.chunk = chunk;
                let token = client.publish("a", QoS::AtLeastOnce);
                client.feed_raw(&said);
                assert_eq!(client.sent(), []);
                let CloseReason::Refused(connack) = client.closed() else { panic!() };
                assert_eq!((connack.reason, connack.session_present), (code, false));
                assert_eq!(connack.server_reference.is_some(), version.is_v5());
                assert_eq!(client.session.stats().queued, 1, "{token:?} is kept");
            }
        }
    }
}

// covers: v3 MQTT-3.2.2-6
#[test]
fn a_refusal_without_a_return_code_is_silent() {
    for version in [Version::V31, Version::V311] {
        let mut solo = Solo::server(ServerConfig::default(), version);
        solo.feed(&Packet::Connect(Box::new(connect_packet(true))));
        solo.session.refuse(ConnAck::new(ReasonCode::BANNED), solo.now).unwrap();
        assert_eq!(solo.sent_raw(), []);
        assert!(matches!(solo.closed(), CloseReason::Refused(_)));
    }
}

// class: 38
#[test]
fn a_success_is_no_refusal_and_a_refusal_says_nothing_of_a_session() {
    let mut solo = Solo::server(ServerConfig::default(), Version::V5);
    solo.feed(&Packet::Connect(Box::new(connect_packet(true))));
    solo.session.refuse(ConnAck::default(), solo.now).unwrap_err();
    solo.session.refuse(ConnAck::new(ReasonCode::SESSION_TAKEN_OVER), solo.now).unwrap_err();
    assert_eq!(solo.session.phase(), Phase::Accepting);
    for (version, bytes) in
        [(Version::V311, &[0x20, 2, 1, 5][..]), (Version::V5, &[0x20, 3, 1, 0x87, 0])]
    {
        let mut client = Solo::client(durable(version));
        client.feed_raw(bytes);
        client.closed_for(ReasonCode::PROTOCOL_ERROR);
    }
}

// covers: v5 MQTT-3.2.0-2
#[test]
fn a_connection_is_accepted_once() {
    for version in ALL {
        let mut solo = Solo::plain(version);
        let again = mqtt_proto::Accept::default();
        solo.session.accept(again, solo.now).unwrap_err();
        solo.session.refuse(ConnAck::new(ReasonCode::NOT_AUTHORIZED), solo.now).unwrap_err();
        assert_eq!(solo.sent_raw(), []);
        assert_eq!(solo.session.phase(), Phase::Connected);
    }
}

// covers: v5 MQTT-3.1.2-4, v5 MQTT-3.1.2-5, v5 MQTT-3.1.2-6, v3 MQTT-3.1.2-4, v3 MQTT-3.1.2-6
// covers: v5 MQTT-3.2.2-2, v5 MQTT-3.2.2-3, v3 MQTT-3.2.2-1, v3 MQTT-3.2.2-2, v3 MQTT-3.2.2-3
// covers: v5 MQTT-3.1.4-4, v3 MQTT-3.1.4-3, v3 MQTT-3.1.4-4
// class: 23, 24
#[test]
fn a_server_goes_on_with_a_session_unless_it_is_to_be_clean() {
    for version in ALL {
        for clean in [true, false] {
            for stored in [true, false] {
                let mut old =
                    Solo::serving(ServerConfig::default(), version, connect_packet(false));
                old.publish("kept", QoS::AtLeastOnce);
                let state = old.session.into_state();
                assert!(!state.is_empty());

                let mut solo = Solo::server(ServerConfig::default(), version);
                solo.feed(&Packet::Connect(Box::new(connect_packet(clean))));
                solo.accept(ConnAck::default(), stored.then_some(state));
                let sent = solo.sent();
                let Packet::ConnAck(connack) = &sent[0] else { panic!() };
                assert_eq!(connack.reason, ReasonCode::SUCCESS);
                let goes_on = stored && !clean;
                // CONNACK of 3.1 does not say it.
                assert_eq!(connack.session_present, goes_on && version != Version::V31);
                let expected: &[_] = if goes_on { &[PacketType::Publish] } else { &[] };
                assert_eq!(types(&sent[1..]), expected);
                assert_eq!(solo.session.is_idle(), !goes_on);
            }
        }
    }
}

// covers: v5 MQTT-3.1.3-6, v5 MQTT-3.1.3-7, v5 MQTT-3.2.2-16, v5 MQTT-3.1.3-2, v3 MQTT-3.1.3-2
#[test]
fn an_assigned_client_identifier_is_used_from_then_on() {
    let mut config = ClientConfig::new(Version::V5);
    config.connect.session_expiry_interval = Some(60);
    let mut pair = Pair::new(config);
    pair.accept = None;
    pair.open();
    pair.settle();
    assert!(pair.connects[0].client_id.is_empty());
    let accept = |connack| mqtt_proto::Accept { connack, state: None };
    pair.server.accept(accept(ConnAck::default()), pair.now).unwrap_err();
    let assigned = text("assigned-1");
    let connack =
        ConnAck { assigned_client_identifier: Some(assigned.clone()), ..ConnAck::default() };
    pair.server.accept(accept(connack), pair.now).unwrap();
    pair.accept = Some(ConnAck::default());
    pair.settle();
    assert!(pair.was_connected());
    assert_eq!(pair.client.config().connect.client_id, assigned);
    pair.reconnect();
    assert_eq!(pair.connects[1].client_id, assigned);
    for version in VERSIONS {
        let mut pair = Pair::connected(version, 7);
        pair.reconnect();
        assert!(pair.connects.iter().all(|connect| connect.client_id == "pair"));
    }
}

// covers: v5 X5-3.2-a, v3 X3-3.2-a, v5 X5-3.1.4-a, v3 X3-3.1.4-a
// class: 35, 38
#[test]
fn both_sides_wait_for_the_beginning_only_so_long() {
    for version in ALL {
        // A part of a packet is no answer.
        for begun in [&[][..], &[0x20]] {
            let mut client = Solo::client(durable(version));
            let deadline = client.session.poll_timeout().unwrap();
            assert_eq!(deadline, client.now + secs(10));
            client.feed_raw(begun);
            client.wait(secs(9));
            assert!(client.is_open());
            client.wait(secs(1));
            assert_eq!(client.closed(), CloseReason::Timeout(Timeout::Connect));
            assert_eq!((client.sent_raw(), client.session.poll_timeout()), (vec![], None));
        }
        for begun in [&[][..], &[0x10]] {
            let mut server = Solo::server(ServerConfig::default(), version);
            server.wait(secs(9));
            server.feed_raw(begun);
            assert!(server.is_open());
            server.wait(secs(1));
            assert_eq!(server.closed(), CloseReason::Timeout(Timeout::Connect));
            assert_eq!((server.sent_raw(), server.session.poll_timeout()), (vec![], None));
        }
        let mut server = Solo::server(ServerConfig::default(), version);
        server.feed(&Packet::Connect(Box::new(connect_packet(true))));
        server.wait(secs(3600));
        assert!(server.is_open(), "the application may take its time");
    }
}

#[test]
fn input_is_thrown_away_once_the_connection_has_ended() {
    for version in ALL {
        let mut solo = Solo::connected(version);
        let mut input = bytes::BytesMut::from(&[0xD0, 0, 0x00, 0xD0, 0][..]);
        solo.session.handle_input(&mut input, solo.now);
        assert!(input.is_empty() && !solo.is_open());
        input.extend_from_slice(&[1, 2, 3]);
        assert!(!solo.session.wants_input());
        solo.session.handle_input(&mut input, solo.now);
        assert!(input.is_empty());
    }
}

#[test]
fn a_new_transport_ends_the_old_connection() {
    for version in ALL {
        let mut solo = Solo::connected(version);
        solo.open();
        assert_eq!(solo.closed(), CloseReason::Eof);
        solo.eof();
        solo.eof();
        assert_eq!(solo.closed(), CloseReason::Eof);
        solo.open();
        solo.feed_raw(&[0]);
        assert!(matches!(solo.closed(), CloseReason::Peer(PeerError::Decode(_))));
        solo.feed_raw(&[0; 100]);
        solo.eof();
        assert_eq!(solo.events(), []);
    }
}

#[test]
fn chunks_of_a_whole_connection_do_not_matter() {
    for version in VERSIONS {
        for chunk in CHUNKS {
            let mut pair = Pair::new(durable(version));
            pair.chunk = chunk;
            pair.client.subscribe(subscribe("a", QoS::AtLeastOnce)).unwrap();
            let message = message("a", "x", QoS::AtLeastOnce);
            pair.client.publish(message, pair.now).unwrap();
            pair.open();
            pair.settle();
            assert_eq!(Pair::payloads(&pair.server_messages), ["x"]);
            assert!(pair.client.is_idle());
        }
    }
}
