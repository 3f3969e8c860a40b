//! The server's side: requests and their answers, its own limits, sessions between connections.

use mqtt_proto::{
    Accept, AckProperties, CloseReason, ConnAck, Connect, Disconnect, Event, Failure, Message,
    Packet, PacketType, QoS, ReasonCode, RequestId, Server, ServerConfig, SubAck, Subscribe,
    Subscription, TopicFilter, UnsubAck, Unsubscribe, Version,
};

use crate::pair::{CHUNKS, message, published, subscribe};
use crate::solo::{Solo, ack, connect_packet, header_bytes, id, secs, text, types};

const ALL: [Version; 3] = [Version::V31, Version::V311, Version::V5];

fn filters(names: &[&str]) -> Vec<TopicFilter> {
    names.iter().map(|name| TopicFilter::new(*name).unwrap()).collect()
}

fn subscribe_to(names: &[&str]) -> Subscribe {
    let all = filters(names).into_iter();
    let subscription = |filter| Subscription { filter, options: QoS::ExactlyOnce.into() };
    Subscribe { subscriptions: all.map(subscription).collect(), ..Subscribe::default() }
}

fn unsubscribe_from(names: &[&str]) -> Unsubscribe {
    Unsubscribe { filters: filters(names), ..Unsubscribe::default() }
}

fn requests(solo: &mut Solo<Server>) -> Vec<RequestId> {
    let request = |event| match event {
        Event::Subscribe(request, _) | Event::Unsubscribe(request, _) => Some(request),
        _ => None,
    };
    solo.events().into_iter().filter_map(request).collect()
}

fn codes(codes: &[u8]) -> Vec<ReasonCode> {
    codes.iter().map(|code| ReasonCode::new(*code)).collect()
}

// covers: v5 MQTT-3.8.4-1, v5 MQTT-3.8.4-2, v5 MQTT-3.8.4-6, v5 MQTT-3.8.4-7, v5 MQTT-3.9.3-1
// covers: v5 MQTT-3.10.4-4, v5 MQTT-3.10.4-5, v5 MQTT-3.11.3-1, v5 MQTT-2.2.1-6, v5 X5-4.13.2-a
// covers: v3 MQTT-3.8.4-1, v3 MQTT-3.8.4-2, v3 MQTT-3.8.4-5, v3 MQTT-3.9.3-1, v3 MQTT-2.3.1-7
// covers: v3 MQTT-3.10.4-4, v3 MQTT-3.10.4-5
#[test]
fn requests_are_answered_with_their_id_in_the_order_of_their_filters() {
    for version in ALL {
        for chunk in CHUNKS {
            let mut solo = Solo::plain(version);
            solo.chunk = chunk;
            let names = ["a", "b", "c", "d"];
            solo.feed(&Packet::Subscribe(id(7), Box::new(subscribe_to(&names))));
            solo.feed(&Packet::Unsubscribe(id(9), Box::new(unsubscribe_from(&names[..3]))));
            solo.feed(&Packet::Subscribe(id(300), Box::new(subscribe_to(&names[..1]))));
            let requests = requests(&mut solo);
            assert_eq!((requests.len(), solo.sent()), (3, vec![]));
            // In any order, one answer each.
            let grant = |solo: &mut Solo<Server>, at: usize, answer: &[u8]| {
                solo.session.grant(requests[at], codes(answer))
            };
            grant(&mut solo, 2, &[0x01]).unwrap();
            grant(&mut solo, 2, &[0x01]).unwrap_err();
            grant(&mut solo, 0, &[0, 1, 2]).unwrap_err();
            grant(&mut solo, 0, &[0, 1, 2, 0, 1]).unwrap_err();
            grant(&mut solo, 0, &[]).unwrap_err();
            grant(&mut solo, 1, &[0x11, 0, 0x87]).unwrap();
            grant(&mut solo, 0, &[0x02, 0x87, 0x00, 0x01]).unwrap();
            let v5 = version.is_v5();
            let failure = if v5 { 0x87 } else { 0x80 };
            let properties = AckProperties::NONE;
            let suback = |packet_id, reasons: &[u8]| {
                let reasons = codes(reasons);
                let properties = properties.clone();
                Packet::SubAck(SubAck { packet_id: id(packet_id), reasons, properties })
            };
            let reasons = if v5 { codes(&[0x11, 0, 0x87]) } else { vec![] };
            let unsuback = UnsubAck { packet_id: id(9), reasons, properties: properties.clone() };
            let expected =
                [suback(300, &[1]), Packet::UnsubAck(unsuback), suback(7, &[2, failure, 0, 1])];
            assert_eq!(solo.sent(), expected);
            assert!(solo.is_open() && solo.session.is_idle());
        }
    }
}

#[test]
fn a_code_that_does_not_belong_there_is_refused_and_the_request_stays_open() {
    for version in ALL {
        let mut solo = Solo::plain(version);
        solo.feed(&Packet::Subscribe(id(1), Box::new(subscribe_to(&["a"]))));
        solo.feed(&Packet::Unsubscribe(id(2), Box::new(unsubscribe_from(&["a"]))));
        let requests = requests(&mut solo);
        for code in 0..=0xFF {
            let code = ReasonCode::new(code);
            for (request, packet) in requests.iter().zip([PacketType::SubAck, PacketType::UnsubAck])
            {
                let valid = match (version, packet) {
                    (Version::V5, _) => code.is_valid_in(packet),
                    (_, PacketType::SubAck) => code.is_error() || code.get() <= 2,
                    _ => true,
                };
                if !valid {
                    solo.session.grant(*request, vec![code]).unwrap_err();
                }
            }
        }
        assert_eq!(solo.sent(), []);
        for request in requests {
            solo.session.grant(request, vec![ReasonCode::SUCCESS]).unwrap();
        }
        assert_eq!(solo.sent_types(), [PacketType::SubAck, PacketType::UnsubAck]);
    }
}

// class: 21, 24
#[test]
fn what_belongs_to_an_old_connection_is_inert() {
    for version in ALL {
        for resumed in [true, false] {
            let mut solo = Solo::serving(ServerConfig::default(), version, connect_packet(false));
            solo.feed(&Packet::Subscribe(id(7), Box::new(subscribe_to(&["a"]))));
            let old_request = requests(&mut solo)[0];
            let mut old_acks = Vec::new();
            for (packet_id, qos) in [(1, QoS::AtLeastOnce), (2, QoS::ExactlyOnce)] {
                solo.feed_publish(&message("a", "old", qos), packet_id, false);
                old_acks.extend(solo.messages().remove(0).ack);
            }
            let old_token = solo.publish("old", QoS::AtLeastOnce);
            solo.sent();

            solo.open();
            solo.events();
            solo.feed(&Packet::Connect(Box::new(connect_packet(false))));
            // Either the session of somebody else, or a new one.
            let state = resumed.then(|| {
                let mut other = Solo::plain(version);
                other.publish("other", QoS::AtLeastOnce);
                other.session.into_state()
            });
            solo.accept(ConnAck::default(), state);
            let events = solo.events();
            let lost = Event::Failed { token: old_token, error: Failure::SessionLost };
            assert!(events.contains(&lost), "every token ends: {events:?}");
            solo.sent();
            solo.feed(&Packet::Subscribe(id(7), Box::new(subscribe_to(&["a"]))));
            for (packet_id, qos) in [(1, QoS::AtLeastOnce), (2, QoS::ExactlyOnce)] {
                solo.feed_publish(&message("a", "new", qos), packet_id, false);
            }
            let events = solo.events();
            assert_eq!(events.len(), 3, "{events:?}");
            solo.session.grant(old_request, vec![ReasonCode::SUCCESS]).unwrap();
            for old in old_acks {
                solo.session.ack(old, ReasonCode::SUCCESS);
            }
            assert_eq!(solo.sent(), [], "{version} {resumed}");
            for event in events {
                match event {
                    Event::Subscribe(request, _) => {
                        solo.session.grant(request, vec![ReasonCode::SUCCESS]).unwrap();
                    }
                    Event::Message(Message { ack: Some(ack), .. }) => {
                        solo.session.ack(ack, ReasonCode::SUCCESS);
                    }
                    other => panic!("{other:?}"),
                }
            }
            let expected = [PacketType::SubAck, PacketType::PubAck, PacketType::PubRec];
            assert_eq!(solo.sent_types(), expected);
            assert_ne!(solo.publish("new", QoS::AtLeastOnce), old_token);
        }
    }
}

// covers: v5 MQTT-3.12.4-1, v3 MQTT-3.12.4-1
#[test]
fn each_pingreq_is_answered() {
    for version in ALL {
        for chunk in CHUNKS {
            let mut solo = Solo::plain(version);
            solo.chunk = chunk;
            solo.feed_raw(&[0xC0, 0, 0xC0, 0, 0xC0, 0]);
            assert_eq!(solo.sent(), [Packet::PingResp, Packet::PingResp, Packet::PingResp]);
        }
    }
}

fn limited() -> ConnAck {
    ConnAck {
        wildcard_subscription_available: Some(false),
        subscription_identifier_available: Some(false),
        shared_subscription_available: Some(false),
        retain_available: Some(false),
        maximum_qos: Some(QoS::AtLeastOnce),
        maximum_packet_size: Some(100),
        ..ConnAck::default()
    }
}

fn limited_config() -> ServerConfig {
    ServerConfig {
        wildcard_subscription_available: false,
        subscription_identifier_available: false,
        shared_subscription_available: false,
        retain_available: false,
        maximum_qos: QoS::AtLeastOnce,
        maximum_packet_size: 100,
        ..ServerConfig::default()
    }
}

/// What breaks each of the limits above, and the code for it.
fn offences(version: Version) -> Vec<(Vec<u8>, ReasonCode)> {
    let mut numbered = subscribe_to(&["a"]);
    if version.is_v5() {
        numbered.subscription_identifier = Some(5);
    }
    let subscribe = |subscribe: Subscribe| {
        crate::pair::wire(&Packet::Subscribe(id(3), Box::new(subscribe)), version)
    };
    let publish =
        |publish, packet_id| crate::solo::publish_bytes(version, &publish, packet_id, false);
    let mut all = vec![
        (subscribe(subscribe_to(&["a", "b/#"])), 0xA2),
        (subscribe(subscribe_to(&["a", "$share/g/a"])), 0x9E),
        (publish(message("a", "x", QoS::AtMostOnce).retain(true), 0), 0x9A),
        (publish(message("a", "x", QoS::ExactlyOnce), 5), 0x9B),
        // The header alone says it.
        (publish(message("a", &"x".repeat(200), QoS::AtMostOnce), 0)[..3].to_vec(), 0x95),
    ];
    if version.is_v5() {
        all.push((subscribe(numbered), 0xA1));
    }
    all.into_iter().map(|(bytes, code)| (bytes, ReasonCode::new(code))).collect()
}

// covers: v5 X5-3.2.2-h, v5 X5-3.2.2-i, v5 X5-3.2.2-j, v5 X5-3.2.2-k, v5 MQTT-3.2.2-9
// class: 33, 34, 45
#[test]
fn a_server_holds_the_client_to_what_this_connection_was_told() {
    for (bytes, code) in offences(Version::V5) {
        // Told by the configuration, or by the application for this connection.
        for (config, connack) in
            [(limited_config(), ConnAck::default()), (ServerConfig::default(), limited())]
        {
            for chunk in CHUNKS {
                let mut solo = Solo::server(config.clone(), Version::V5);
                solo.chunk = chunk;
                solo.feed(&Packet::Connect(Box::new(connect_packet(true))));
                solo.accept(connack.clone(), None);
                let sent = solo.sent();
                let [Packet::ConnAck(told)] = &sent[..] else { panic!("{sent:?}") };
                assert_eq!(told.maximum_qos, Some(QoS::AtLeastOnce));
                assert_eq!(told.retain_available, Some(false));
                solo.feed_raw(&bytes);
                solo.closed_for(code);
            }
        }
        // Told that there is no such limit.
        let connack = ConnAck {
            wildcard_subscription_available: Some(true),
            subscription_identifier_available: Some(true),
            shared_subscription_available: Some(true),
            retain_available: Some(true),
            maximum_qos: Some(QoS::ExactlyOnce),
            maximum_packet_size: Some(1000),
            ..ConnAck::default()
        };
        let mut solo = Solo::server(limited_config(), Version::V5);
        solo.feed(&Packet::Connect(Box::new(connect_packet(true))));
        solo.accept(connack, None);
        solo.feed_raw(&bytes);
        assert!(solo.is_open(), "{code}");
        // The next connection begins with the configuration.
        solo.open();
        solo.feed(&Packet::Connect(Box::new(connect_packet(true))));
        solo.accept(ConnAck::default(), None);
        solo.sent();
        solo.events();
        solo.feed_raw(&bytes);
        solo.closed_for(code);
    }
}

// class: 34
#[test]
fn a_client_of_3_x_was_told_of_no_limit_but_the_size() {
    for version in [Version::V31, Version::V311] {
        for (bytes, code) in offences(version) {
            let mut solo = Solo::serving(limited_config(), version, connect_packet(true));
            solo.feed_raw(&bytes);
            let too_large = code == ReasonCode::PACKET_TOO_LARGE;
            assert_eq!(solo.is_open(), !too_large, "{code}");
        }
    }
}

// class: 33
#[test]
fn a_size_that_one_client_was_told_is_not_the_next_one_s() {
    let mut solo = Solo::server(limited_config(), Version::V5);
    solo.feed(&Packet::Connect(Box::new(connect_packet(true))));
    solo.accept(ConnAck { maximum_packet_size: Some(1000), ..ConnAck::default() }, None);
    solo.version = Version::V311;
    solo.open();
    solo.feed(&Packet::Connect(Box::new(connect_packet(true))));
    solo.accept(ConnAck::default(), None);
    solo.sent();
    solo.events();
    solo.feed_publish(&message("a", &"x".repeat(200), QoS::AtMostOnce), 0, false);
    assert!(matches!(solo.closed(), CloseReason::Peer(_)));
}

// class: 32, 45
#[test]
fn a_peer_that_takes_no_disconnect_is_told_nothing() {
    for (limit, said) in [(2, &[][..]), (3, &[0xE0, 1, 0x81])] {
        let connack = ConnAck { maximum_packet_size: Some(limit), ..ConnAck::default() };
        let mut solo = Solo::accepted(crate::pair::durable(Version::V5), connack);
        solo.feed_raw(&[0]);
        assert_eq!(solo.sent_raw(), said);
        assert!(matches!(solo.closed(), CloseReason::Peer(_)));
    }
}

// covers: v5 MQTT-3.2.2-10
#[test]
fn subscriptions_to_any_qos_are_taken_whatever_the_maximum() {
    let config = ServerConfig { maximum_qos: QoS::AtMostOnce, ..ServerConfig::default() };
    let mut solo = Solo::serving(config, Version::V5, connect_packet(true));
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        solo.feed(&Packet::Subscribe(id(3), Box::new(subscribe("a", qos))));
    }
    assert_eq!(requests(&mut solo).len(), 3);
}

// covers: v5 MQTT-3.1.2-28
#[test]
fn response_information_is_given_on_request_only() {
    for asked in [None, Some(false), Some(true)] {
        let connect = Connect { request_response_information: asked, ..connect_packet(true) };
        let mut solo = Solo::server(ServerConfig::default(), Version::V5);
        solo.feed(&Packet::Connect(Box::new(connect)));
        let information = Some(text("replies/"));
        solo.accept(ConnAck { response_information: information, ..ConnAck::default() }, None);
        let sent = solo.sent();
        let [Packet::ConnAck(connack)] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!(connack.response_information.is_some(), asked == Some(true));
    }
}

// covers: v5 MQTT-3.1.4-3, v3 MQTT-3.1.4-2, v5 MQTT-3.14.4-2, v5 MQTT-4.1.0-1, v3 MQTT-4.1.0-2
// covers: v3 MQTT-3.1.2-5
#[test]
fn a_session_can_be_taken_over_while_messages_are_under_way() {
    for version in ALL {
        let mut old = Solo::serving(ServerConfig::default(), version, connect_packet(false));
        let first = old.publish("1", QoS::AtLeastOnce);
        let second = old.publish("2", QoS::ExactlyOnce);
        old.sent();
        let third = old.publish("3", QoS::AtLeastOnce);
        old.session.disconnect(Disconnect::new(ReasonCode::SESSION_TAKEN_OVER), old.now).unwrap();
        let said = old.sent();
        let expected: &[_] = if version.is_v5() {
            &[PacketType::Publish, PacketType::Disconnect]
        } else {
            &[PacketType::Publish]
        };
        assert_eq!(types(&said), expected);
        if let Some(Packet::Disconnect(disconnect)) = said.last() {
            assert_eq!(disconnect.reason, ReasonCode::SESSION_TAKEN_OVER);
        }
        assert_eq!(old.closed(), CloseReason::Requested);
        // Offline, the session takes messages.
        let fourth = old.publish("4", QoS::ExactlyOnce);
        let mut new = Solo::server(ServerConfig::default(), version);
        new.feed(&Packet::Connect(Box::new(connect_packet(false))));
        new.accept(ConnAck::default(), Some(old.session.into_state()));
        let sent = new.sent();
        let of = |packet: &Packet| match packet {
            Packet::Publish(publish) => (publish.topic().to_string(), publish.dup()),
            other => panic!("{other:?}"),
        };
        let all: Vec<_> = sent[1..].iter().map(of).collect();
        let expected = [("1", true), ("2", true), ("3", true), ("4", false)];
        assert_eq!(all, expected.map(|(topic, dup)| (topic.to_string(), dup)));
        new.events();
        let ids: Vec<u16> = sent[1..]
            .iter()
            .map(|packet| match packet {
                Packet::Publish(publish) => publish.packet_id().unwrap().get(),
                _ => 0,
            })
            .collect();
        new.feed(&Packet::PubAck(ack(ids[0])));
        new.feed(&Packet::PubAck(ack(ids[2])));
        for at in [1, 3] {
            new.feed(&Packet::PubRec(ack(ids[at])));
            new.feed(&Packet::PubComp(ack(ids[at])));
        }
        let done: Vec<_> =
            new.events().into_iter().filter(published(ReasonCode::SUCCESS)).collect();
        let tokens: Vec<_> = done.iter().filter_map(crate::pair::ends).collect();
        assert_eq!(tokens, [first, third, second, fourth]);
        new.sent();
        assert!(new.session.is_idle());
    }
}

// covers: v5 X5-4.1-b
// class: 17, 22
#[test]
fn a_state_holds_both_directions() {
    for version in ALL {
        let mut old = Solo::serving(ServerConfig::default(), version, connect_packet(false));
        old.publish("sent", QoS::AtLeastOnce);
        old.publish("released", QoS::ExactlyOnce);
        old.sent();
        old.feed(&Packet::PubRec(ack(2)));
        old.feed_publish(&message("in", "x", QoS::ExactlyOnce), 1, false);
        old.feed_publish(&message("in", "y", QoS::ExactlyOnce), 2, false);
        let acks: Vec<_> = old.messages().iter().filter_map(|message| message.ack).collect();
        old.session.ack(acks[0], ReasonCode::SUCCESS);
        old.eof();
        old.publish("waiting", QoS::AtMostOnce);
        let mut new = Solo::server(ServerConfig::default(), version);
        new.feed(&Packet::Connect(Box::new(connect_packet(false))));
        new.accept(ConnAck::default(), Some(old.session.into_state()));
        use PacketType::{ConnAck as C, PubRel, Publish as P};
        assert_eq!(new.sent_types(), [C, PubRel, P, P]);
        new.events();
        for (packet_id, text) in [(1, "x"), (2, "y")] {
            new.feed_publish(&message("in", text, QoS::ExactlyOnce), packet_id, true);
        }
        assert_eq!(new.messages(), []);
        assert_eq!(new.sent(), [Packet::PubRec(ack(1))]);
        new.session.ack(acks[1], ReasonCode::SUCCESS);
        assert_eq!(new.sent(), [Packet::PubRec(ack(2))]);
    }
}

// covers: v5 X5-3.14.2-d, v5 X5-3.14.2-e, v5 MQTT-3.14.2-2
// class: 45
#[test]
fn disconnect_may_change_a_session_expiry_but_not_begin_one() {
    for (asked, changed, good) in [
        (None, Some(60), false),
        (Some(0), Some(1), false),
        (Some(0), Some(0), true),
        (None, None, true),
        (Some(60), Some(0), true),
        (Some(60), Some(u32::MAX), true),
    ] {
        let connect = Connect {
            session_expiry_interval: asked,
            will: Some(mqtt_proto::Will::new(crate::pair::topic("w"), "")),
            ..connect_packet(true)
        };
        let mut server = Solo::serving(ServerConfig::default(), Version::V5, connect.clone());
        let disconnect = Disconnect { session_expiry_interval: changed, ..Disconnect::default() };
        server.feed(&Packet::Disconnect(disconnect.clone()));
        if good {
            let events = server.events();
            let [Event::Closed { reason: CloseReason::Disconnected(told), will: None }] =
                &events[..]
            else {
                panic!("{events:?}")
            };
            assert_eq!(told.session_expiry_interval, changed);
        } else {
            let said = server.sent_raw();
            assert_eq!(said, [0xE0, 1, 0x82]);
            let events = server.events();
            assert!(matches!(events[..], [Event::Closed { will: Some(_), .. }]), "{events:?}");
        }
        let mut config = crate::pair::durable(Version::V5);
        config.connect = connect;
        let mut client = Solo::accepted(config, ConnAck::default());
        assert_eq!(client.session.disconnect(disconnect, client.now).is_ok(), good);
    }
    let mut server = Solo::plain(Version::V5);
    let disconnect = Disconnect { session_expiry_interval: Some(1), ..Disconnect::default() };
    server.session.disconnect(disconnect, server.now).unwrap_err();
    assert!(server.session.phase() == mqtt_proto::Phase::Connected);
}

// covers: v5 X5-3.14.2-b
#[test]
fn a_side_says_only_the_reasons_that_are_its_own() {
    let servers =
        [0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x9A, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2];
    for code in 0..=0xFF {
        let reason = ReasonCode::new(code);
        let valid = reason.is_valid_in(PacketType::Disconnect);
        let mut client = Solo::connected(Version::V5);
        let said = client.session.disconnect(Disconnect::new(reason), client.now).is_ok();
        assert_eq!(said, valid && !servers.contains(&code), "{reason}");
        let mut server = Solo::plain(Version::V5);
        let said = server.session.disconnect(Disconnect::new(reason), server.now).is_ok();
        assert_eq!(said, valid && code != 0x04, "{reason}");
    }
}

// covers: v5 MQTT-3.3.1-3, v3 MQTT-3.3.1-3
#[test]
fn dup_is_not_passed_on() {
    for version in ALL {
        let mut from = Solo::plain(version);
        from.feed_publish(&message("a", "x", QoS::AtLeastOnce), 3, true);
        let message = from.messages().remove(0);
        assert!(message.publish.dup());
        let mut to = Solo::plain(version);
        to.session.publish(message.publish.to_publish().unwrap(), to.now).unwrap();
        let sent = to.sent();
        assert!(matches!(&sent[..], [Packet::Publish(publish)] if !publish.dup()));
    }
}

#[test]
fn a_server_keeps_nothing_of_a_client_that_never_came() {
    let mut solo = Solo::server(ServerConfig::default(), Version::V5);
    let token = solo.publish("early", QoS::AtLeastOnce);
    solo.feed(&Packet::Connect(Box::new(connect_packet(true))));
    let state = None;
    solo.session.accept(Accept { connack: ConnAck::default(), state }, solo.now).unwrap();
    let lost = Event::Failed { token, error: Failure::SessionLost };
    assert!(solo.events().contains(&lost), "the session is another one");
    assert_eq!(solo.sent_types(), [PacketType::ConnAck]);
    solo.wait(secs(1));
    assert!(solo.session.is_idle());
    let bytes = header_bytes(Version::V5, &message("a", "x", QoS::AtMostOnce), &Default::default());
    solo.feed_raw(&bytes);
    assert!(solo.is_open());
}
