//! Enhanced authentication, step by step: MQTT 5.0 section 4.12.

use mqtt_proto::{
    Auth, Client, ClientConfig, CloseReason, CommandError, ConnAck, Connect, Disconnect, Event,
    Packet, PacketType, Phase, QoS, ReasonCode, Server, ServerConfig, Timeout, Version,
};

use crate::pair::{CHUNKS, Pair, durable, message, subscribe, wire};
use crate::solo::{Solo, connect_packet, secs, text};

const CONTINUE: ReasonCode = ReasonCode::CONTINUE_AUTHENTICATION;
const AGAIN: ReasonCode = ReasonCode::RE_AUTHENTICATE;
const SUCCESS: ReasonCode = ReasonCode::SUCCESS;

fn step(reason: ReasonCode, method: &str, data: &'static str) -> Auth {
    Auth {
        reason,
        authentication_method: Some(text(method)),
        authentication_data: Some(data.into()),
        ..Auth::default()
    }
}

fn config(method: &str) -> ClientConfig {
    let mut config = durable(Version::V5);
    config.connect.authentication_method = Some(text(method));
    config
}

fn connack(method: &str) -> ConnAck {
    ConnAck { authentication_method: Some(text(method)), ..ConnAck::default() }
}

fn connect(method: &str) -> Connect {
    Connect { authentication_method: Some(text(method)), ..connect_packet(true) }
}

/// A server that has seen a CONNECT with a method.
fn asked(method: &str) -> Solo<Server> {
    let mut solo = Solo::server(ServerConfig::default(), Version::V5);
    solo.feed(&Packet::Connect(Box::new(connect(method))));
    assert!(matches!(solo.events()[..], [Event::Connect(_)]));
    solo
}

fn serving(method: &str) -> Solo<Server> {
    let mut solo = asked(method);
    solo.accept(connack(method), None);
    assert_eq!(solo.sent_types(), [PacketType::ConnAck]);
    solo
}

// covers: v5 MQTT-4.12.0-2, v5 MQTT-4.12.0-3, v5 MQTT-4.12.0-5, v5 MQTT-3.1.2-30, v5 MQTT-3.2.0-1
// class: 38
#[test]
fn several_steps_before_connack() {
    for chunk in CHUNKS {
        let mut pair = Pair::new(config("m"));
        (pair.chunk, pair.accept) = (chunk, None);
        pair.client.subscribe(subscribe("a", QoS::AtMostOnce)).unwrap();
        pair.client.publish(message("a", "x", QoS::AtMostOnce), pair.now).unwrap();
        pair.open();
        pair.settle();
        for round in 0..3 {
            pair.server.authenticate(step(CONTINUE, "m", "who?"), pair.now).unwrap();
            let twice = pair.server.authenticate(step(CONTINUE, "m", "who?"), pair.now);
            assert!(twice.is_err(), "it is the client's turn");
            pair.settle();
            let Some(Event::Auth(auth)) = pair.client_events.pop() else { panic!("{round}") };
            assert_eq!(*auth, step(CONTINUE, "m", "who?"));
            for wrong in [SUCCESS, AGAIN] {
                pair.client.authenticate(step(wrong, "m", ""), pair.now).unwrap_err();
            }
            pair.client.authenticate(step(CONTINUE, "m", "me"), pair.now).unwrap();
            let twice = pair.client.authenticate(step(CONTINUE, "m", "me"), pair.now);
            assert!(twice.is_err(), "nobody asked");
            pair.settle();
            let Some(Event::Auth(auth)) = pair.server_events.pop() else { panic!("{round}") };
            assert_eq!(*auth, step(CONTINUE, "m", "me"));
        }
        use PacketType as P;
        assert_eq!(
            crate::solo::types(&pair.sent_by_client()),
            [P::Connect, P::Auth, P::Auth, P::Auth]
        );
        assert_eq!(crate::solo::types(&pair.sent_by_server()), [P::Auth; 3]);
        pair.answer_connect(connack("m"));
        pair.settle();
        assert!(pair.was_connected());
        assert_eq!(Pair::payloads(&pair.server_messages), ["x"]);
    }
}

// class: 35, 38
#[test]
fn each_step_has_its_own_time() {
    let mut client = Solo::client(config("m"));
    for _ in 0..3 {
        client.wait(secs(9));
        client.feed(&Packet::Auth(Box::new(step(CONTINUE, "m", ""))));
        assert!(client.is_open());
        client.session.authenticate(step(CONTINUE, "m", ""), client.now).unwrap();
    }
    client.wait(secs(10));
    assert!(matches!(client.all_closed()[..], [CloseReason::Timeout(Timeout::Connect)]));
    let mut server = asked("m");
    server.wait(secs(1000));
    for _ in 0..3 {
        server.session.authenticate(step(CONTINUE, "m", ""), server.now).unwrap();
        assert!(server.session.wants_input());
        server.wait(secs(9));
        server.feed(&Packet::Auth(Box::new(step(CONTINUE, "m", ""))));
        assert!(matches!(server.events()[..], [Event::Auth(_)]));
        // Now it is the application's turn again.
        assert!(!server.session.wants_input());
        assert_eq!(server.session.poll_timeout(), None);
    }
    server.session.authenticate(step(CONTINUE, "m", ""), server.now).unwrap();
    server.wait(secs(10));
    assert_eq!(server.closed(), CloseReason::Timeout(Timeout::Connect));
}

// covers: v5 MQTT-4.12.1-2
// class: 35
#[test]
fn each_step_of_a_re_authentication_has_its_time() {
    for answers in 0..3 {
        let mut config = config("m");
        config.connect.keep_alive = 0;
        let mut client = Solo::accepted(config, connack("m"));
        // The time counts from the step, not from what was last heard of it.
        client.now = client.now + secs(1000);
        client.session.authenticate(step(AGAIN, "m", ""), client.now).unwrap();
        for _ in 0..answers {
            client.wait(secs(9));
            client.feed(&Packet::Auth(Box::new(step(CONTINUE, "m", ""))));
            client.wait(secs(9));
            client.session.authenticate(step(CONTINUE, "m", ""), client.now).unwrap();
        }
        client.sent();
        client.wait(secs(9));
        assert!(client.is_open());
        client.wait(secs(1));
        assert_eq!(client.closed(), CloseReason::Timeout(Timeout::Authentication));
        assert_eq!(client.sent_raw(), [0xE0, 1, 0x80]);
    }
    // Once it is complete, there is no such limit.
    let mut client = Solo::accepted(config("m"), connack("m"));
    client.session.authenticate(step(AGAIN, "m", ""), client.now).unwrap();
    client.feed(&Packet::Auth(Box::new(step(SUCCESS, "m", ""))));
    client.wait(secs(20));
    assert!(client.is_open());
}

// covers: v5 MQTT-4.12.0-1, v5 MQTT-4.12.0-4, v5 MQTT-3.1.4-6
#[test]
fn a_server_may_refuse_at_any_step() {
    for steps in 0..3 {
        for code in [ReasonCode::NOT_AUTHORIZED, ReasonCode::BAD_AUTHENTICATION_METHOD] {
            let mut solo = asked("m");
            for _ in 0..steps {
                solo.session.authenticate(step(CONTINUE, "m", ""), solo.now).unwrap();
                solo.sent();
                solo.feed(&Packet::Auth(Box::new(step(CONTINUE, "m", ""))));
            }
            solo.session.refuse(ConnAck::new(code), solo.now).unwrap();
            assert_eq!(solo.sent_raw(), [0x20, 3, 0, code.get(), 0]);
            let closed = solo.all_closed();
            assert!(matches!(&closed[..], [CloseReason::Refused(_)]));
            solo.feed(&Packet::PingReq);
            assert_eq!((solo.sent_raw(), solo.events()), (vec![], vec![]));
        }
    }
}

// covers: v5 MQTT-3.14.0-1
// class: 38
#[test]
fn before_connack_a_client_says_nothing_but_auth_and_disconnect() {
    for (bytes, disconnects) in [
        (wire(&Packet::PingReq, Version::V5), false),
        (wire(&Packet::Connect(Box::new(connect("m"))), Version::V5), false),
        (wire(&Packet::Auth(Box::new(step(AGAIN, "m", ""))), Version::V5), false),
        (wire(&Packet::Auth(Box::new(step(SUCCESS, "m", ""))), Version::V5), false),
        (wire(&Packet::Auth(Box::new(step(CONTINUE, "other", ""))), Version::V5), false),
        (wire(&Packet::Disconnect(Disconnect::default()), Version::V5), true),
    ] {
        let mut solo = asked("m");
        solo.session.authenticate(step(CONTINUE, "m", ""), solo.now).unwrap();
        solo.sent();
        solo.feed_raw(&bytes);
        assert_eq!(solo.sent_raw(), [], "no DISCONNECT before CONNACK");
        let closed = solo.closed();
        assert_eq!(matches!(closed, CloseReason::Disconnected(_)), disconnects);
        assert_eq!(matches!(closed, CloseReason::Peer(_)), !disconnects);
    }
}

// covers: v5 MQTT-4.12.0-6, v5 MQTT-4.12.0-7, v5 X5-3.15-a, v5 MQTT-4.12.0-5
// class: 45
#[test]
fn without_a_method_or_with_another_there_is_no_auth() {
    let mut client = Solo::connected(Version::V5);
    client.session.authenticate(step(AGAIN, "m", ""), client.now).unwrap_err();
    let mut server = Solo::plain(Version::V5);
    server.session.authenticate(step(CONTINUE, "m", ""), server.now).unwrap_err();
    assert_eq!((client.sent_raw(), server.sent_raw()), (vec![], vec![]));
    client.feed(&Packet::Auth(Box::new(step(CONTINUE, "m", ""))));
    client.closed_for(ReasonCode::PROTOCOL_ERROR);
    server.feed(&Packet::Auth(Box::new(step(AGAIN, "m", ""))));
    server.closed_for(ReasonCode::PROTOCOL_ERROR);

    let mut client = Solo::accepted(config("m"), connack("m"));
    client.session.authenticate(step(AGAIN, "other", ""), client.now).unwrap_err();
    client.session.authenticate(step(AGAIN, "m", ""), client.now).unwrap();
    client.sent();
    client.feed(&Packet::Auth(Box::new(step(CONTINUE, "other", ""))));
    client.closed_for(ReasonCode::PROTOCOL_ERROR);
    let mut server = serving("m");
    server.session.authenticate(step(CONTINUE, "other", ""), server.now).unwrap_err();
    server.feed(&Packet::Auth(Box::new(step(AGAIN, "other", ""))));
    server.closed_for(ReasonCode::PROTOCOL_ERROR);

    // CONNACK has the method of CONNECT, or none if that has none.
    for (own, theirs) in [(Some("m"), None), (Some("m"), Some("n")), (None, Some("m"))] {
        let mut config = durable(Version::V5);
        config.connect.authentication_method = own.map(text);
        let mut client = Solo::client(config);
        let connack = ConnAck { authentication_method: theirs.map(text), ..ConnAck::default() };
        client.feed(&Packet::ConnAck(Box::new(connack.clone())));
        client.closed_for(ReasonCode::PROTOCOL_ERROR);
        let mut server = Solo::server(ServerConfig::default(), Version::V5);
        let connect = Connect { authentication_method: own.map(text), ..connect_packet(true) };
        server.feed(&Packet::Connect(Box::new(connect)));
        let accept = mqtt_proto::Accept { connack, state: None };
        server.session.accept(accept, server.now).unwrap_err();
        assert_eq!(server.sent_raw(), []);
    }
}

// covers: v5 MQTT-4.12.1-1, v5 X5-4.12.1-a, v5 X5-3.15.2-c
#[test]
fn re_authentication_while_messages_flow() {
    for chunk in CHUNKS {
        let mut pair = Pair::new(config("m"));
        (pair.chunk, pair.accept) = (chunk, Some(connack("m")));
        pair.open();
        pair.settle();
        assert!(pair.was_connected());
        for wrong in [SUCCESS, CONTINUE] {
            pair.client.authenticate(step(wrong, "m", ""), pair.now).unwrap_err();
        }
        pair.client.authenticate(step(AGAIN, "m", "again"), pair.now).unwrap();
        pair.client.publish(message("a", "1", QoS::ExactlyOnce), pair.now).unwrap();
        pair.settle();
        assert_eq!(pair.server_events.pop(), Some(Event::Auth(step(AGAIN, "m", "again").into())));
        pair.server.authenticate(step(AGAIN, "m", ""), pair.now).unwrap_err();
        pair.server.authenticate(step(CONTINUE, "m", "who?"), pair.now).unwrap();
        pair.server.publish(message("a", "2", QoS::ExactlyOnce), pair.now).unwrap();
        pair.settle();
        pair.client.authenticate(step(CONTINUE, "m", "me"), pair.now).unwrap();
        pair.client.publish(message("a", "3", QoS::AtMostOnce), pair.now).unwrap();
        pair.settle();
        assert_eq!(pair.server_events.pop(), Some(Event::Auth(step(CONTINUE, "m", "me").into())));
        pair.server.authenticate(step(SUCCESS, "m", "fine"), pair.now).unwrap();
        pair.settle();
        assert!(pair.client_events.contains(&Event::Auth(step(SUCCESS, "m", "fine").into())));
        assert_eq!(Pair::payloads(&pair.server_messages), ["1", "3"]);
        assert_eq!(Pair::payloads(&pair.client_messages), ["2"]);
        assert!(pair.client.phase() == Phase::Connected && pair.client.is_idle());
    }
    let mut server = serving("m");
    server.feed(&Packet::Auth(Box::new(step(SUCCESS, "m", ""))));
    server.closed_for(ReasonCode::PROTOCOL_ERROR);
    let mut client = Solo::accepted(config("m"), connack("m"));
    client.feed(&Packet::Auth(Box::new(step(AGAIN, "m", ""))));
    client.closed_for(ReasonCode::PROTOCOL_ERROR);
}

// covers: v5 X5-4.12.1-a
#[test]
fn nobody_takes_a_step_out_of_turn() {
    // The server, unasked; and once more after the end.
    for reason in [CONTINUE, SUCCESS] {
        for before in [false, true] {
            let mut client = Solo::accepted(config("m"), connack("m"));
            if before {
                client.session.authenticate(step(AGAIN, "m", ""), client.now).unwrap();
                client.sent();
                client.feed(&Packet::Auth(Box::new(step(SUCCESS, "m", ""))));
                assert!(client.is_open());
            }
            client.feed(&Packet::Auth(Box::new(step(reason, "m", ""))));
            client.closed_for(ReasonCode::PROTOCOL_ERROR);
        }
    }
    // The server, although it is the client's turn: before CONNACK and later.
    for mut client in [Solo::client(config("m")), Solo::accepted(config("m"), connack("m"))] {
        let _ = client.session.authenticate(step(AGAIN, "m", ""), client.now);
        client.sent();
        client.feed(&Packet::Auth(Box::new(step(CONTINUE, "m", ""))));
        assert!(client.is_open());
        client.feed(&Packet::Auth(Box::new(step(CONTINUE, "m", ""))));
        client.closed_for(ReasonCode::PROTOCOL_ERROR);
    }
    let mut client = Solo::accepted(config("m"), connack("m"));
    client.session.authenticate(step(AGAIN, "m", ""), client.now).unwrap();
    client.sent();
    client.feed(&Packet::Auth(Box::new(step(CONTINUE, "m", ""))));
    client.feed(&Packet::Auth(Box::new(step(SUCCESS, "m", ""))));
    client.closed_for(ReasonCode::PROTOCOL_ERROR);
    // The client: one at a time.
    let mut client = Solo::accepted(config("m"), connack("m"));
    client.session.authenticate(step(AGAIN, "m", ""), client.now).unwrap();
    client.session.authenticate(step(AGAIN, "m", ""), client.now).unwrap_err();
    client.feed(&Packet::Auth(Box::new(step(SUCCESS, "m", ""))));
    client.session.authenticate(step(AGAIN, "m", ""), client.now).unwrap();
    // Another connection begins anew.
    client.eof();
    client.reconnect(connack("m"));
    client.session.authenticate(step(AGAIN, "m", ""), client.now).unwrap();
}

// covers: v5 MQTT-4.12.1-2
#[test]
fn a_failed_re_authentication_ends_the_connection_with_a_reason() {
    let code = ReasonCode::NOT_AUTHORIZED;
    let mut pair = Pair::new(config("m"));
    pair.accept = Some(connack("m"));
    pair.open();
    pair.settle();
    pair.client.authenticate(step(AGAIN, "m", ""), pair.now).unwrap();
    pair.settle();
    pair.server_events.clear();
    pair.server.disconnect(Disconnect::new(code), pair.now).unwrap();
    pair.settle();
    assert_eq!(pair.server_closed(), CloseReason::Requested);
    let CloseReason::Disconnected(words) = pair.client_closed() else { panic!() };
    assert_eq!(words.reason, code);
    let mut client = Solo::accepted(config("m"), connack("m"));
    let words = Disconnect::new(ReasonCode::BAD_AUTHENTICATION_METHOD);
    client.session.disconnect(words, client.now).unwrap();
    assert_eq!(client.sent_raw(), [0xE0, 1, 0x8C]);
    assert_eq!(client.closed(), CloseReason::Requested);
}

// covers: v5 MQTT-3.15.2-2, v5 MQTT-3.15.2-3
// class: 32
#[test]
fn auth_leaves_out_what_the_peer_does_not_take() {
    let chatty = || Auth {
        reason_string: Some(text(&"r".repeat(20))),
        user_properties: vec![(text("u"), text("v"))],
        ..step(CONTINUE, "m", "d")
    };
    let whole = wire(&Packet::Auth(Box::new(chatty())), Version::V5).len() as u32;
    let short = wire(&Packet::Auth(Box::new(step(CONTINUE, "m", "d"))), Version::V5).len() as u32;
    for limit in [short - 1, short, whole - 1, whole] {
        let mut server = Solo::server(ServerConfig::default(), Version::V5);
        let connect = Connect { maximum_packet_size: Some(limit), ..connect("m") };
        server.feed(&Packet::Connect(Box::new(connect)));
        let mut client: Solo<Client> = Solo::accepted(
            config("m"),
            ConnAck { maximum_packet_size: Some(limit), ..connack("m") },
        );
        let again = Auth { reason: AGAIN, ..chatty() };
        let results = [
            server.session.authenticate(chatty(), server.now),
            client.session.authenticate(again, client.now),
        ];
        for (result, sent) in results.into_iter().zip([server.sent_raw(), client.sent_raw()]) {
            if limit < short {
                let size = short as usize;
                assert_eq!(result, Err(CommandError::TooLarge { size, limit }));
                assert_eq!(sent, []);
            } else {
                result.unwrap();
                assert_eq!(sent.len() as u32, if limit < whole { short } else { whole });
            }
        }
    }
}
