//! Sessions: over reconnects, taken over, expired.

mod support;

use std::time::Duration;

use mqtt_broker::BrokerConfig;
use mqtt_proto::{
    ClientConfig, CloseReason, Connect, Disconnect, Event, QoS, ReasonCode, Subscribe, Text,
    Version,
};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use support::*;

// covers: v5 MQTT-4.5.0-1, v3 MQTT-4.5.0-1, v3 MQTT-3.1.2-5, v3 MQTT-3.1.2-4, v3 MQTT-3.2.2-2
// covers: v3 MQTT-3.2.2-3
#[test]
fn messages_wait_for_a_client_that_is_away() {
    scenario(async |world| {
        let mut client = world.connect(world.lasting("client")).await;
        assert!(!client.connack.session_present);
        client.subscribe("a/+", QoS::ExactlyOnce).await;
        client.disconnect(ReasonCode::SUCCESS).await;
        let mut publisher = world.client("publisher").await;
        for (number, qos) in [(0, 1), (1, 0), (2, 2), (3, 1)] {
            let qos = QoS::from_u8(qos).unwrap();
            let reason = publisher.send(&format!("a/{number}"), &number.to_string(), qos).await;
            assert_eq!(reason, ReasonCode::SUCCESS);
        }
        let mut client = world.connect(world.lasting("client")).await;
        assert!(client.connack.session_present);
        let got = [client.message().await, client.message().await, client.message().await];
        let payloads: Vec<_> = got.iter().map(|got| got.payload.as_str()).collect();
        assert_eq!(payloads, ["0", "2", "3"], "QoS 0 does not wait");
        assert!(got.iter().all(|got| !got.packet.dup()), "none of them was sent before");
        world.silent(&mut client).await;
        assert_eq!(publisher.send("a/b", "now", QoS::AtMostOnce).await, ReasonCode::SUCCESS);
        assert_eq!(client.message().await.payload, "now", "the subscription is still there");
    });
}

// covers: v5 X5-4.1-b
#[test]
fn what_was_not_acknowledged_comes_again() {
    scenario(async |world| {
        let mut client = Peer::connect(world.lasting("client"), world.pipe()).await;
        client.acks = false;
        client.subscribe("a", QoS::ExactlyOnce).await;
        let mut publisher = world.client("publisher").await;
        for (payload, qos) in [("1", QoS::AtLeastOnce), ("2", QoS::ExactlyOnce)] {
            publisher.send("a", payload, qos).await;
        }
        assert_eq!(client.payloads(2).await, ["1", "2"]);
        client.reconnect(world.pipe()).await;
        assert!(client.resumed);
        client.acks = true;
        let again = client.message().await;
        assert_eq!((again.payload.as_str(), again.packet.dup()), ("1", true));
        world.silent(&mut client).await;
    });
}

// class: 22
#[test]
fn a_session_outlives_a_connection_that_cannot_be_accepted() {
    scenario_with(&[Version::V5], BrokerConfig::default(), async |world| {
        let mut client = world.connect(world.lasting("client")).await;
        client.subscribe("a", QoS::AtLeastOnce).await;
        client.disconnect(ReasonCode::SUCCESS).await;
        world.broker.publish(&message("a", "waits").qos(QoS::AtLeastOnce));
        // Not even CONNACK fits.
        let mut config = world.lasting("client");
        config.connect.maximum_packet_size = Some(10);
        let mut small = Peer::new(config, world.pipe());
        assert_eq!(small.handshake().await, Err(CloseReason::Eof));
        let mut client = world.connect(world.lasting("client")).await;
        assert!(client.connack.session_present);
        assert_eq!(client.message().await.payload, "waits");
    });
}

// covers: v3 MQTT-3.1.2-6, v3 MQTT-3.2.2-1, v3 MQTT-3.1.4-3
#[test]
fn a_clean_start_forgets_the_session() {
    scenario(async |world| {
        let mut client = world.connect(world.lasting("client")).await;
        client.subscribe("a", QoS::AtLeastOnce).await;
        client.disconnect(ReasonCode::SUCCESS).await;
        world.broker.publish(&message("a", "waits").qos(QoS::AtLeastOnce));
        let mut config = world.lasting("client");
        config.connect.clean_start = true;
        let mut client = world.connect(config).await;
        assert!(!client.connack.session_present);
        assert_eq!(world.broker.stats().subscriptions, 0);
        world.silent(&mut client).await;
        client.disconnect(ReasonCode::SUCCESS).await;
        // In 3.1.1 Clean Session also means that the session ends with the connection.
        let sessions = usize::from(world.version.is_v5());
        world.until(|stats| stats.sessions == sessions).await;
    });
}

#[test]
fn a_session_that_does_not_last_ends_with_its_connection() {
    scenario(async |world| {
        for polite in [true, false] {
            let mut client = world.client("client").await;
            client.subscribe("a", QoS::AtLeastOnce).await;
            assert_eq!(world.broker.stats().subscriptions, 1);
            if polite {
                client.disconnect(ReasonCode::SUCCESS).await;
            }
            drop(client);
            world.until(|stats| (stats.sessions, stats.subscriptions) == (0, 0)).await;
        }
    });
}

// covers: v5 MQTT-4.1.0-2, v5 X5-3.14.2-e
#[test]
fn a_session_expires() {
    scenario_with(&ALL[2..], BrokerConfig::default(), async |world| {
        let mut config = world.lasting("client");
        config.connect.session_expiry_interval = Some(10);
        for seconds in [9, 10] {
            let mut client = world.connect(config.clone()).await;
            client.subscribe("a", QoS::AtLeastOnce).await;
            client.disconnect(ReasonCode::SUCCESS).await;
            world.time.advance(Duration::from_secs(seconds));
            if seconds < 10 {
                let client = world.connect(config.clone()).await;
                assert!(client.connack.session_present);
                drop(client);
                world.until(|stats| stats.connections == 0).await;
            } else {
                world.until(|stats| stats.sessions == 0).await;
                assert_eq!(world.broker.stats().subscriptions, 0);
            }
        }
    });
}

#[test]
fn a_disconnect_changes_the_expiry() {
    scenario_with(&ALL[2..], BrokerConfig::default(), async |world| {
        let mut config = world.lasting("client");
        config.connect.session_expiry_interval = Some(10);
        let mut client = world.connect(config).await;
        let goodbye = Disconnect { session_expiry_interval: Some(20), ..Disconnect::default() };
        let now = client.now();
        client.session.disconnect(goodbye, now).unwrap();
        client.flush().await.unwrap();
        drop(client);
        world.until(|stats| stats.connections == 0).await;
        world.time.advance(Duration::from_secs(19));
        let mut client = world.connect(world.lasting("client")).await;
        assert!(client.connack.session_present);
        // And zero ends it at once.
        let goodbye = Disconnect { session_expiry_interval: Some(0), ..Disconnect::default() };
        let now = client.now();
        client.session.disconnect(goodbye, now).unwrap();
        client.flush().await.unwrap();
        world.until(|stats| stats.sessions == 0).await;
    });
}

#[test]
fn a_session_can_last_for_ever() {
    scenario(async |world| {
        world.connect(world.lasting("client")).await.disconnect(ReasonCode::SUCCESS).await;
        world.time.advance(Duration::from_secs(200 * 365 * 24 * 3600));
        assert!(world.connect(world.lasting("client")).await.connack.session_present);
    });
}

#[test]
fn the_expiry_has_a_bound() {
    let mut config = BrokerConfig::default();
    config.max_session_expiry_interval = 100;
    config.max_keep_alive = Some(30);
    scenario_with(&BOTH, config, async |world| {
        let mut client = world.connect(world.lasting("client")).await;
        let v5 = world.version.is_v5();
        assert_eq!(client.connack.session_expiry_interval, v5.then_some(100));
        assert_eq!(client.connack.server_keep_alive, v5.then_some(30));
        client.disconnect(ReasonCode::SUCCESS).await;
        world.time.advance(Duration::from_secs(100));
        world.until(|stats| stats.sessions == 0).await;
    });
}

// covers: v5 MQTT-3.1.4-3, v3 MQTT-3.1.4-2
#[test]
fn a_second_connection_takes_the_session_over() {
    scenario_with(&ALL, BrokerConfig::default(), async |world| {
        let mut old = world.connect(world.lasting("client")).await;
        old.subscribe("a", QoS::AtLeastOnce).await;
        old.acks = false;
        world.broker.publish(&message("a", "in flight").qos(QoS::AtLeastOnce));
        old.message().await;
        let mut new = world.connect(world.lasting("client")).await;
        assert_eq!(new.connack.session_present, world.version != Version::V31);
        let reason = world.version.is_v5().then_some(ReasonCode::SESSION_TAKEN_OVER);
        assert_eq!(old.disconnected().await, reason);
        let again = new.message().await;
        assert_eq!((again.payload.as_str(), again.packet.dup()), ("in flight", true));
        drop(old);
        world.until(|stats| (stats.connections, stats.sessions) == (1, 1)).await;
        world.silent(&mut new).await;
    });
}

#[test]
fn a_clean_start_takes_over_as_well() {
    scenario(async |world| {
        let mut old = world.connect(world.lasting("client")).await;
        old.subscribe("a", QoS::AtLeastOnce).await;
        let mut new = world.client("client").await;
        assert!(!new.connack.session_present);
        let reason = world.version.is_v5().then_some(ReasonCode::SESSION_TAKEN_OVER);
        assert_eq!(old.disconnected().await, reason);
        assert_eq!(world.broker.stats().subscriptions, 0);
        world.silent(&mut new).await;
    });
}

#[test]
fn a_session_belongs_to_its_user_if_that_is_wanted() {
    for belongs in [true, false] {
        let mut config = BrokerConfig::default();
        config.sessions_belong_to_users = belongs;
        scenario_with(&BOTH, config, async |world| {
            let of = |name: Option<&str>, mut config: ClientConfig| {
                config.connect.user_name = name.map(|name| Text::new(name).unwrap());
                config
            };
            let mut ann = world.connect(of(Some("ann"), world.lasting("id"))).await;
            ann.subscribe("secret", QoS::AtLeastOnce).await;
            for connected in [true, false] {
                if !connected {
                    ann.disconnect(ReasonCode::SUCCESS).await;
                }
                for (name, clean) in [(Some("bob"), true), (Some("bob"), false), (None, false)] {
                    let config = if clean { world.clean("id") } else { world.lasting("id") };
                    let mut other = Peer::new(of(name, config), world.pipe());
                    match other.handshake().await {
                        Err(CloseReason::Refused(connack)) if belongs => {
                            assert_eq!(connack.reason, ReasonCode::CLIENT_IDENTIFIER_NOT_VALID);
                        }
                        Ok(()) if !belongs => return,
                        answer => panic!("{name:?}, {connected}: {answer:?}"),
                    }
                }
                world.broker.publish(&message("secret", "for ann").qos(QoS::AtLeastOnce));
                if connected {
                    assert_eq!(ann.message().await.payload, "for ann");
                }
            }
            let mut ann = world.connect(of(Some("ann"), world.lasting("id"))).await;
            assert_eq!(ann.message().await.payload, "for ann");
            world.broker.remove_session("id");
            world.connect(of(Some("bob"), world.lasting("id"))).await;
        });
    }
}

// covers: v3 MQTT-3.1.3-5, v3 MQTT-3.1.3-6
#[test]
fn client_identifiers() {
    scenario(async |world| {
        for id in ["0", "abcdefghijklmnopqrstuvw", "0123456789ABCDEFXYZ"] {
            world.client(id).await;
        }
        let mut anonymous = Vec::new();
        // In 3.1.1 nobody without an identifier can ask for a session that lasts; see below.
        for clean_start in [true, true, !world.version.is_v5()] {
            let mut config = world.clean("");
            config.connect.clean_start = clean_start;
            let peer = world.connect(config).await;
            let assigned = peer.connack.assigned_client_identifier.clone();
            assert_eq!(assigned.is_some(), world.version.is_v5());
            assert!(assigned.is_none() || anonymous.iter().all(|(id, _)| *id != assigned));
            anonymous.push((assigned, peer));
        }
        world.until(|stats| stats.sessions == 3).await;
    });
}

// covers: v3 MQTT-3.1.3-8, v3 MQTT-3.1.3-9
#[test]
fn a_session_that_lasts_needs_a_client_identifier() {
    scenario_with(&[Version::V311], BrokerConfig::default(), async |world| {
        let connects: [&[u8]; 2] =
            [b"\x10\x0E\0\x06MQIsdp\x03\x02\0\0\0\0", b"\x10\x0C\0\x04MQTT\x04\x00\0\0\0\0"];
        for connect in connects {
            let mut pipe = world.pipe();
            pipe.write_all(connect).await.unwrap();
            let mut answer = Vec::new();
            pipe.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, [0x20, 0x02, 0x00, 0x02]);
        }
    });
}

#[test]
fn the_queue_of_an_absent_client_is_bounded() {
    let mut config = BrokerConfig::default();
    config.session.bounds.messages = 10;
    scenario_with(&BOTH, config, async |world| {
        let mut client = world.connect(world.lasting("client")).await;
        client.subscribe("a", QoS::AtLeastOnce).await;
        client.disconnect(ReasonCode::SUCCESS).await;
        for number in 0..25 {
            world.broker.publish(&message("a", &number.to_string()).qos(QoS::AtLeastOnce));
        }
        assert_eq!(world.broker.stats().dropped_full, 15);
        let mut client = world.connect(world.lasting("client")).await;
        let expected: Vec<_> = (0..10).map(|number| number.to_string()).collect();
        assert_eq!(client.payloads(10).await, expected, "the newest are dropped");
        world.silent(&mut client).await;
    });
}

// covers: v5 MQTT-3.3.2-5
#[test]
fn messages_expire_in_the_queue() {
    scenario(async |world| {
        let mut client = world.connect(world.lasting("client")).await;
        client.subscribe("a", QoS::AtLeastOnce).await;
        client.disconnect(ReasonCode::SUCCESS).await;
        for seconds in [5, 100] {
            let mut publish = message("a", &seconds.to_string()).qos(QoS::AtLeastOnce);
            publish.properties.edit().message_expiry_interval = Some(seconds);
            world.broker.publish(&publish);
        }
        world.time.advance(Duration::from_secs(10));
        let mut client = world.connect(world.lasting("client")).await;
        let got = client.message().await;
        assert_eq!(got.payload, "100");
        let publish = got.packet.to_publish().unwrap();
        let left = publish.properties.get().and_then(|fields| fields.message_expiry_interval);
        assert_eq!(left, world.version.is_v5().then_some(90));
        world.silent(&mut client).await;
        assert_eq!(world.broker.stats().dropped_expired, 1);
    });
}

// covers: v5 MQTT-3.10.4-3, v3 MQTT-3.10.4-3
#[test]
fn unsubscribing_leaves_what_was_under_way() {
    scenario(async |world| {
        let mut client = world.client("client").await;
        client.acks = false;
        client.subscribe("a", QoS::ExactlyOnce).await;
        world.broker.publish(&message("a", "under way").qos(QoS::ExactlyOnce));
        let got = client.message().await;
        client.unsubscribe("a").await;
        assert_eq!(world.broker.publish(&message("a", "too late")), 0);
        client.session.ack(got.ack.unwrap(), ReasonCode::SUCCESS);
        client.acks = true;
        world.silent(&mut client).await;
        assert!(client.session.is_idle(), "the exchange has come to its end");
    });
}

// covers: v5 MQTT-4.8.2-4, v5 MQTT-4.8.2-5
#[test]
fn a_shared_message_stays_with_its_client() {
    scenario(async |world| {
        let mut one = world.connect(world.lasting("one")).await;
        let mut two = world.client("two").await;
        one.acks = false;
        one.subscribe("$share/g/a", QoS::ExactlyOnce).await;
        two.subscribe("$share/g/a", QoS::ExactlyOnce).await;
        world.broker.publish(&message("a", "mine").qos(QoS::ExactlyOnce));
        let first = one.message().await;
        assert_eq!(first.payload, "mine");
        drop(one);
        world.until(|stats| stats.connections == 1).await;
        world.broker.publish(&message("a", "yours").qos(QoS::ExactlyOnce));
        assert_eq!(two.message().await.payload, "yours");
        let mut one = world.connect(world.lasting("one")).await;
        let again = one.message().await;
        assert_eq!((again.payload.as_str(), again.packet.dup()), ("mine", true));
        world.silent(&mut two).await;
        // With the session, the message ends as well.
        one.acks = false;
        drop(one);
        world.until(|stats| stats.connections == 1).await;
        let _new = world.client("one").await;
        world.silent(&mut two).await;
    });
}

#[test]
fn there_is_a_bound_on_sessions() {
    let mut config = BrokerConfig::default();
    config.max_sessions = 2;
    scenario_with(&BOTH, config, async |world| {
        let _one = world.client("one").await;
        let mut two = world.connect(world.lasting("two")).await;
        two.disconnect(ReasonCode::SUCCESS).await;
        let refused = Peer::new(world.clean("three"), world.pipe()).handshake().await.unwrap_err();
        let CloseReason::Refused(connack) = refused else { panic!("{refused}") };
        let v5 = world.version.is_v5();
        let full = if v5 { ReasonCode::QUOTA_EXCEEDED } else { ReasonCode::SERVER_UNAVAILABLE };
        assert_eq!(connack.reason, full);
        world.connect(world.lasting("two")).await;
    });
}

// covers: v5 MQTT-4.12.0-1
#[test]
fn authentication_methods_are_refused() {
    scenario_with(&ALL[2..], BrokerConfig::default(), async |world| {
        let mut config = world.clean("client");
        config.connect.authentication_method = Some(Text::new("SCRAM").unwrap());
        let refused = Peer::new(config, world.pipe()).handshake().await.unwrap_err();
        let CloseReason::Refused(connack) = refused else { panic!("{refused}") };
        assert_eq!(connack.reason, ReasonCode::BAD_AUTHENTICATION_METHOD);
    });
}

// covers: v5 X5-3.1.4-b, v3 X3-3.1.4-c
#[test]
fn packets_right_behind_connect() {
    scenario(async |world| {
        let mut pipe = world.pipe();
        let config: ClientConfig = world.clean("eager");
        let mut bytes = connect_bytes(world.version, config.connect);
        let mut behind = mqtt_proto::TxBuf::new();
        let packet = mqtt_proto::Packet::Subscribe(
            mqtt_proto::PacketId::new(1).unwrap(),
            Box::new(Subscribe::new(filter("a"), QoS::AtMostOnce)),
        );
        mqtt_proto::codec::encode(&packet, world.version, &mut behind).unwrap();
        bytes.extend_from_slice(bytes::Buf::chunk(&behind));
        pipe.write_all(&bytes).await.unwrap();
        world.until(|stats| stats.subscriptions == 1).await;
        let mut first = [0; 1];
        pipe.read_exact(&mut first).await.unwrap();
        assert_eq!(first[0] >> 4, 2, "CONNACK comes first");
    });
}

#[test]
fn a_return_with_another_version() {
    scenario_with(&ALL[2..], BrokerConfig::default(), async |world| {
        let mut client = world.connect(world.lasting("client")).await;
        client.subscribe("a", QoS::AtLeastOnce).await;
        client.disconnect(ReasonCode::SUCCESS).await;
        world.broker.publish(&message("a", "plain").qos(QoS::AtLeastOnce));
        let mut full = message("a", "with properties").qos(QoS::AtLeastOnce);
        full.properties.edit().content_type = Some(Text::new("text/plain").unwrap());
        world.broker.publish(&full);
        let mut old = world.clean("client");
        old.version = Version::V311;
        old.connect = Connect { clean_start: false, ..old.connect };
        let mut client = world.connect(old).await;
        assert_eq!(client.payloads(2).await, ["plain", "with properties"]);
        assert_eq!(world.broker.stats().dropped_other, 0);
        client.start(message("b", "x").qos(QoS::AtLeastOnce));
        let event = client.event().await;
        assert!(matches!(event, Event::Published { .. }), "{event:?}");
    });
}
