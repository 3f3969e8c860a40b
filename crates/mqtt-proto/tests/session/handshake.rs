//! What CONNECT and CONNACK agree on: versions, clean start, the session, the Will.

use bytes::Bytes;
use mqtt_proto::{
    ClientConfig, CloseReason, ConnAck, Connect, Disconnect, Event, Failure, Packet, PacketType,
    QoS, ReasonCode, ServerConfig, Version, Will,
};

use crate::pair::{CHUNKS, durable, published, topic, wire};
use crate::solo::{Solo, connect_packet, text, types};

const ALL: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// A CONNECT of any name and level, as long as wanted.
fn connect_bytes(name: &str, level: u8, client_id: &str) -> Vec<u8> {
    let mut body = (name.len() as u16).to_be_bytes().to_vec();
    body.extend(name.as_bytes());
    body.extend([level, 0b0000_0010, 0, 0]);
    if level == 5 {
        body.push(0);
    }
    body.extend((client_id.len() as u16).to_be_bytes());
    body.extend(client_id.as_bytes());
    let mut bytes = vec![0x10];
    match body.len() {
        len @ ..128 => bytes.push(len as u8),
        len => bytes.extend([len as u8 | 0x80, (len >> 7) as u8]),
    }
    bytes.extend(body);
    bytes
}

// covers: v5 MQTT-3.1.2-2, v3 MQTT-3.1.2-2, v3 MQTT-3.1.2-1
#[test]
fn other_versions_are_told_so_in_words_that_they_know() {
    let old: &[u8] = &[0x20, 2, 0, 1];
    let new: &[u8] = &[0x20, 3, 0, 0x84, 0];
    let cases: [(&str, u8, &[u8]); 11] = [
        ("MQTT", 3, old),
        ("MQTT", 2, old),
        ("MQTT", 0, old),
        ("MQIsdp", 4, old),
        ("MQIsdp", 2, old),
        ("MQTT", 6, new),
        ("MQTT", 0x7F, new),
        // A bridge that sets the highest bit speaks the version of the other bits.
        ("MQTT", 0x84, old),
        ("MQIsdp", 0x83, old),
        ("MQTt", 4, &[]),
        ("AMQP", 5, &[]),
    ];
    for (name, level, answer) in cases {
        for len in [4, 200, 16_000] {
            for chunk in CHUNKS {
                let mut solo = Solo::server(ServerConfig::default(), Version::V311);
                solo.chunk = chunk;
                solo.feed_raw(&connect_bytes(name, level, &"x".repeat(len)));
                assert_eq!(solo.sent_raw(), answer, "{name} {level}, {len}");
                assert!(matches!(solo.closed(), CloseReason::Peer(_)));
            }
        }
    }
}

// covers: v5 MQTT-3.1.4-1, v3 MQTT-3.1.4-1, v5 MQTT-4.13.2-1
// class: 38
#[test]
fn a_malformed_connect_is_answered_in_5_0_only() {
    for version in ALL {
        let good = wire(&Packet::Connect(Box::new(connect_packet(true))), version);
        let flags = 2 + 2 + version.protocol_name().len() + 1;
        let mut bad = vec![];
        // The reserved flag; a Will QoS without a Will; bytes after the last field.
        for (at, with) in [(flags, good[flags] | 1), (flags, good[flags] | 8)] {
            let mut bytes = good.clone();
            bytes[at] = with;
            bad.push(bytes);
        }
        let mut longer = good.clone();
        longer[1] += 1;
        longer.push(0);
        bad.push(longer);
        for bytes in bad {
            let mut solo = Solo::server(ServerConfig::default(), version);
            solo.feed_raw(&bytes);
            let expected: &[u8] = if version.is_v5() { &[0x20, 3, 0, 0x81, 0] } else { &[] };
            assert_eq!(solo.sent_raw(), expected, "{version} {bytes:02x?}");
            assert!(matches!(solo.closed(), CloseReason::Peer(_)));
            solo.feed(&Packet::PingReq);
            assert_eq!((solo.sent_raw(), solo.events()), (vec![], vec![]));
        }
    }
}

// covers: v5 MQTT-3.1.3-5, v3 MQTT-3.1.3-5, v3 MQTT-3.1.3-6, v3 MQTT-3.1.3-8
#[test]
fn client_identifiers_are_taken_as_the_version_has_it() {
    let all = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for version in ALL {
        for (name, clean) in [(&all[..23], true), (&all[39..], false), ("a", false), ("", true)] {
            let mut solo = Solo::server(ServerConfig::default(), version);
            let connect = Connect { client_id: text(name), ..connect_packet(clean) };
            if version == Version::V31 && name.is_empty() {
                continue;
            }
            solo.feed(&Packet::Connect(Box::new(connect)));
            assert!(matches!(solo.events()[..], [Event::Connect(_)]));
            let assigned = (version.is_v5() && name.is_empty()).then(|| text("new"));
            let connack = ConnAck { assigned_client_identifier: assigned, ..ConnAck::default() };
            solo.accept(connack, None);
            assert_eq!(solo.sent_types(), [PacketType::ConnAck]);
        }
    }
    for (bytes, version) in [
        (&b"\x10\x0c\x00\x04MQTT\x04\x00\x00\x00\x00\x00"[..], Version::V311),
        (b"\x10\x0e\x00\x06MQIsdp\x03\x00\x00\x00\x00\x00", Version::V31),
    ] {
        let mut solo = Solo::server(ServerConfig::default(), version);
        solo.feed_raw(bytes);
        assert_eq!(solo.sent_raw(), [0x20, 2, 0, 2]);
        assert!(matches!(solo.closed(), CloseReason::Peer(_)));
    }
}

// covers: v3 MQTT-3.1.3-7
#[test]
fn no_client_identifier_needs_a_clean_session() {
    for version in [Version::V31, Version::V311] {
        let mut config = ClientConfig::new(version);
        config.connect.clean_start = version == Version::V31;
        let mut session = mqtt_proto::Session::<mqtt_proto::Client>::new(config);
        let now = mqtt_proto::Instant::EPOCH;
        session.handle_open(now);
        let mut out = mqtt_proto::TxBuf::new();
        assert!(!session.poll_transmit(&mut out, now));
        let event = session.poll_event();
        assert!(matches!(event, Some(Event::Closed { reason: CloseReason::Local(_), .. })));
    }
}

// covers: v5 MQTT-3.1.2-23, v5 X5-3.1.2-d, v5 X5-3.2.2-g
// class: 24
#[test]
fn only_the_first_connection_of_a_session_that_lasts_is_clean() {
    let cases = [
        // Clean Start and expiry asked for, expiry granted, Clean Start of the second connection.
        (true, None, None, true),
        (true, Some(0), None, true),
        (true, Some(60), None, false),
        (true, Some(u32::MAX), None, false),
        (true, Some(60), Some(0), true),
        (true, Some(60), Some(5), false),
        (true, None, Some(60), false),
        (false, None, None, false),
        (false, Some(60), None, false),
    ];
    for (clean, expiry, granted, again) in cases {
        let mut config = durable(Version::V5);
        config.connect.clean_start = clean;
        config.connect.session_expiry_interval = expiry;
        let connack = ConnAck { session_expiry_interval: granted, ..ConnAck::default() };
        let mut solo = Solo::client(config);
        // Refused or cut: then the next connection is still the first.
        solo.feed(&Packet::ConnAck(Box::new(ConnAck::new(ReasonCode::SERVER_BUSY))));
        assert_eq!(solo.reconnect(connack.clone()).clean_start, clean);
        for _ in 0..3 {
            let next = solo.reconnect(connack.clone());
            assert_eq!(next.clean_start, again, "{clean} {expiry:?} {granted:?}");
            assert_eq!(next.session_expiry_interval, expiry);
        }
    }
    for clean in [true, false] {
        let mut config = durable(Version::V311);
        config.connect.clean_start = clean;
        let mut solo = Solo::client(config);
        for _ in 0..3 {
            assert_eq!(solo.reconnect(ConnAck::default()).clean_start, clean);
        }
    }
}

/// What becomes of an unfinished QoS 1 and QoS 2 message in one cell of the grid.
#[derive(Debug, PartialEq)]
enum Cell {
    /// The client leaves the server, which says what cannot be.
    Left,
    /// Both are sent again, with DUP.
    Resumed,
    /// QoS 1 is sent as new, QoS 2 is in doubt.
    New,
    /// There was nothing.
    Empty,
}

fn cell(version: Version, clean: bool, has_state: bool, present: bool, adopt: bool) -> Cell {
    let mut config = durable(version);
    config.adopt_session = adopt;
    config.connect.clean_start = clean;
    if clean {
        config.connect.session_expiry_interval = None;
    }
    let mut solo = Solo::client(config);
    let mut tokens = Vec::new();
    if has_state {
        solo.feed(&Packet::ConnAck(Box::default()));
        tokens.push(solo.publish("1", QoS::AtLeastOnce));
        tokens.push(solo.publish("2", QoS::ExactlyOnce));
        assert_eq!(solo.sent().len(), 2);
        solo.eof();
        solo.open();
        assert_eq!(solo.sent_types(), [PacketType::Connect]);
        solo.events();
    }
    let connack = ConnAck { session_present: present, ..ConnAck::default() };
    solo.feed(&Packet::ConnAck(Box::new(connack)));
    let events = solo.events();
    if events.iter().any(|event| matches!(event, Event::Closed { .. })) {
        let sent = types(&solo.sent());
        assert_eq!(sent, if version.is_v5() { vec![PacketType::Disconnect] } else { vec![] });
        assert_eq!(solo.session.stats().in_flight, tokens.len(), "nothing is forgotten");
        return Cell::Left;
    }
    let told =
        |event: &Event| matches!(event, Event::Connected { resumed, .. } if *resumed == present);
    assert!(told(&events[0]), "{events:?}");
    let sent = solo.sent();
    let dups: Vec<bool> = sent
        .iter()
        .map(|packet| match packet {
            Packet::Publish(publish) => publish.dup(),
            other => panic!("{other:?}"),
        })
        .collect();
    match dups[..] {
        [true, true] => Cell::Resumed,
        [false] => {
            let lost = Event::Failed { token: tokens[1], error: Failure::SessionLost };
            assert_eq!(events[1..], [lost]);
            Cell::New
        }
        [] => Cell::Empty,
        _ => panic!("{dups:?}"),
    }
}

// covers: v5 MQTT-3.2.2-4, v5 MQTT-3.2.2-5, v3 X3-3.2.2-c, v5 MQTT-3.1.2-4, v3 MQTT-3.1.2-6
// covers: v5 X5-4.1-a, v3 X3-4.1-a
// class: 23, 24
#[test]
fn session_present_has_a_meaning_in_each_of_eight_cases() {
    use Version::*;
    let cases = [
        // Clean Start, state of the client, Session Present.
        (false, false, false, Cell::Empty, Cell::Empty),
        // 3.1.1 leaves it to the client whether to go on.
        (false, false, true, Cell::Empty, Cell::Left),
        // MQTT-4.4.0-1 of 3.1.1 knows no exception.
        (false, true, false, Cell::Resumed, Cell::New),
        (false, true, true, Cell::Resumed, Cell::Resumed),
        (true, false, false, Cell::Empty, Cell::Empty),
        (true, false, true, Cell::Left, Cell::Left),
        (true, true, false, Cell::New, Cell::New),
        (true, true, true, Cell::Left, Cell::Left),
    ];
    for (clean, state, present, in_v311, in_v5) in cases {
        let cell = |version, adopt| cell(version, clean, state, present, adopt);
        assert_eq!(cell(V311, false), in_v311, "{clean} {state} {present}");
        assert_eq!(cell(V5, false), in_v5, "{clean} {state} {present}");
        // The default goes on with a session that it does not know, if it did not ask for a new one.
        let adopts = (clean, state, present) == (false, false, true);
        assert_eq!(cell(V311, true), in_v311);
        assert_eq!(cell(V5, true), if adopts { Cell::Empty } else { in_v5 });
    }
}

#[test]
fn a_session_that_the_client_does_not_know_can_be_adopted() {
    let mut config = durable(Version::V5);
    assert!(config.adopt_session);
    let connack = ConnAck { session_present: true, ..ConnAck::default() };
    let mut solo = Solo::accepted(config.clone(), connack.clone());
    assert!(solo.is_open());
    config.adopt_session = false;
    let mut solo = Solo::client_with(config.clone(), mqtt_proto::SessionState::default());
    solo.feed(&Packet::ConnAck(Box::new(connack.clone())));
    let events = solo.events();
    let unknown = CloseReason::SessionUnknown;
    assert!(matches!(&events[..], [Event::Closed { reason, .. }] if *reason == unknown));
    // Known from the last connection, also by way of the state.
    let state = Solo::connected(Version::V5).session.into_state();
    let mut solo = Solo::client_with(config, state);
    solo.feed(&Packet::ConnAck(Box::new(connack)));
    assert!(matches!(solo.events()[..], [Event::Connected { resumed: true, .. }]));
}

fn will() -> Will {
    Will::new(topic("will"), Bytes::from_static(b"gone")).qos(QoS::AtLeastOnce).retain(true)
}

/// Ends a connection that has a Will, and returns the Will that is to be published.
fn after(version: Version, end: impl Fn(&mut Solo<mqtt_proto::Server>)) -> Option<Will> {
    let connect = Connect { will: Some(will()), keep_alive: 10, ..connect_packet(true) };
    let mut solo = Solo::serving(ServerConfig::default(), version, connect);
    end(&mut solo);
    let events = solo.events();
    let [Event::Closed { will, .. }] = &events[..] else { panic!("{events:?}") };
    will.as_deref().cloned()
}

// covers: v5 MQTT-3.1.2-7, v5 MQTT-3.1.2-8, v5 MQTT-3.1.2-10, v5 MQTT-3.14.4-3
// covers: v3 MQTT-3.1.2-8, v3 MQTT-3.1.2-10, v3 MQTT-3.14.4-3, v3 X3-3.14.4-a, v5 X5-3.14.4-a
#[test]
fn the_will_is_handed_out_unless_disconnect_took_it_back() {
    for version in ALL {
        let all = Some(will());
        assert_eq!(after(version, |solo| solo.eof()), all);
        assert_eq!(after(version, |solo| solo.wait(crate::solo::secs(15))), all);
        assert_eq!(after(version, |solo| solo.feed_raw(&[0])), all);
        assert_eq!(after(version, |solo| solo.open()), all);
        let end = |solo: &mut Solo<mqtt_proto::Server>| {
            solo.session.disconnect(Disconnect::default(), solo.now).unwrap();
            solo.sent_raw();
        };
        assert_eq!(after(version, end), all, "what the server does is no DISCONNECT of the client");
        let disconnect = Packet::Disconnect(Disconnect::default());
        assert_eq!(after(version, |solo| solo.feed(&disconnect)), None);
    }
    for (code, will) in [(0x04, Some(will())), (0x80, Some(will())), (0x00, None)] {
        let disconnect = Disconnect::new(ReasonCode::new(code));
        let end = |solo: &mut Solo<_>| solo.feed(&Packet::Disconnect(disconnect.clone()));
        assert_eq!(after(Version::V5, end), will);
    }
}

// covers: v3 MQTT-3.1.2-12
#[test]
fn without_a_will_there_is_none_and_none_before_the_connection_is_accepted() {
    for version in ALL {
        let mut solo = Solo::plain(version);
        solo.eof();
        assert!(matches!(solo.events()[..], [Event::Closed { will: None, .. }]));
        let mut solo = Solo::server(ServerConfig::default(), version);
        let connect = Connect { will: Some(will()), ..connect_packet(true) };
        solo.feed(&Packet::Connect(Box::new(connect)));
        solo.events();
        solo.eof();
        assert!(matches!(solo.events()[..], [Event::Closed { will: None, .. }]));
    }
}

// covers: v5 MQTT-3.2.2-12, v5 MQTT-3.2.2-13
#[test]
fn a_will_that_the_server_cannot_publish_is_refused() {
    let no_qos = ServerConfig { maximum_qos: QoS::AtMostOnce, ..ServerConfig::default() };
    let no_retain = ServerConfig { retain_available: false, ..ServerConfig::default() };
    for (config, code) in [(no_qos, 0x9B), (no_retain, 0x9A)] {
        let connect = Connect { will: Some(will()), ..connect_packet(true) };
        let packet = Packet::Connect(Box::new(connect));
        let mut solo = Solo::server(config.clone(), Version::V5);
        solo.feed(&packet);
        assert_eq!(solo.sent_raw(), [0x20, 3, 0, code, 0]);
        assert!(matches!(solo.closed(), CloseReason::Peer(_)));
        // 3.1.1 has no such limits.
        let mut solo = Solo::server(config.clone(), Version::V311);
        solo.feed(&packet);
        solo.accept(ConnAck::default(), None);
        assert!(solo.is_open());
        // The limit that this connection is told counts, not the configuration.
        let mut solo = Solo::server(ServerConfig::default(), Version::V5);
        solo.feed(&packet);
        let connack = ConnAck {
            maximum_qos: Some(config.maximum_qos),
            retain_available: Some(config.retain_available),
            ..ConnAck::default()
        };
        let accept = mqtt_proto::Accept { connack, state: None };
        solo.session.accept(accept, solo.now).unwrap_err();
        solo.accept(ConnAck::default(), None);
        assert!(solo.is_open());
    }
}

#[test]
fn what_was_never_sent_outlives_refusals() {
    for version in ALL {
        let mut solo = Solo::client(durable(version));
        let token = solo.publish("a", QoS::ExactlyOnce);
        let code = ReasonCode::SERVER_UNAVAILABLE;
        solo.feed(&Packet::ConnAck(Box::new(ConnAck::new(code))));
        assert!(matches!(solo.closed(), CloseReason::Refused(_)));
        solo.reconnect(ConnAck::default());
        let sent = solo.sent();
        let [Packet::Publish(publish)] = &sent[..] else { panic!("{sent:?}") };
        let id = publish.packet_id().unwrap().get();
        assert!(!publish.dup());
        solo.feed(&Packet::PubRec(crate::solo::ack(id)));
        solo.feed(&Packet::PubComp(crate::solo::ack(id)));
        let done = solo.events().into_iter().find(published(ReasonCode::SUCCESS));
        assert!(matches!(done, Some(Event::Published { token: got, .. }) if got == token));
    }
}

// Found by the simulator: DISCONNECT came instead of CONNACK.
#[test]
fn a_fault_right_behind_connect_is_told_after_connack() {
    let mut solo = Solo::server(ServerConfig::default(), Version::V5);
    solo.feed(&Packet::Connect(Box::new(connect_packet(true))));
    solo.session.accept(mqtt_proto::Accept::default(), solo.now).unwrap();
    solo.session.handle_input(&mut wire(&Packet::PingResp, Version::V5)[..].into(), solo.now);
    solo.collect();
    assert_eq!(solo.sent_types(), [PacketType::ConnAck, PacketType::Disconnect]);
}

// Found by the simulator: a Receive Maximum for the next connection was enforced on this one.
#[test]
fn a_configuration_that_changes_during_the_handshake_is_for_the_next_connection() {
    let mut config = durable(Version::V5);
    config.connect.receive_maximum = Some(5);
    let mut solo = Solo::client(config);
    solo.session.config_mut().connect.receive_maximum = Some(1);
    solo.feed(&Packet::ConnAck(Box::default()));
    for id in 1..=5 {
        solo.feed_publish(&crate::pair::message("a", "x", QoS::AtLeastOnce), id, false);
    }
    assert!(solo.is_open());
    assert_eq!(solo.messages().len(), 5);
    assert_eq!(solo.reconnect(ConnAck::default()).receive_maximum, Some(1));
}
