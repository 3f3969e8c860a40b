//! What goes on after a reconnect, and how: each of the resume rules.

use mqtt_proto::{
    Client, ConnAck, Event, Failure, Packet, PacketType, QoS, ReasonCode, Session, SessionState,
    Token, TopicFilter, Unsubscribe, Version,
};

use crate::pair::{CHUNKS, Pair, VERSIONS, durable, ends, message, published, subscribe};
use crate::solo::{Solo, ack, secs, types};

const ALL: [Version; 3] = [Version::V31, Version::V311, Version::V5];
const SUCCESS: ReasonCode = ReasonCode::SUCCESS;

/// Topic, identifier and DUP of each PUBLISH, or the type and the identifier of another packet.
fn told(packets: &[Packet]) -> Vec<(String, u16, bool)> {
    let one = |packet: &Packet| match packet {
        Packet::Publish(publish) => {
            let id = publish.packet_id().map_or(0, |id| id.get());
            (publish.topic().to_string(), id, publish.dup())
        }
        Packet::PubRel(ack) => ("PUBREL".to_string(), ack.packet_id.get(), false),
        Packet::Subscribe(id, _) => ("SUBSCRIBE".to_string(), id.get(), false),
        Packet::Unsubscribe(id, _) => ("UNSUBSCRIBE".to_string(), id.get(), false),
        other => panic!("{other:?}"),
    };
    packets.iter().map(one).collect()
}

fn is(expected: &[(&str, u16, bool)]) -> Vec<(String, u16, bool)> {
    expected.iter().map(|(name, id, dup)| (name.to_string(), *id, *dup)).collect()
}

// covers: v5 MQTT-3.3.1-1, v3 MQTT-3.3.1-1, v5 MQTT-4.3.3-3, v5 MQTT-4.3.3-5, v5 MQTT-4.4.0-1
// covers: v3 MQTT-4.4.0-1, v3 MQTT-2.3.1-3, v5 MQTT-4.6.0-1, v3 MQTT-4.6.0-1
// class: 18, 22, 25
#[test]
fn a_resumed_session_repeats_what_is_open_in_order_and_only_what_was_sent_has_dup() {
    for version in ALL {
        let mut solo = Solo::connected(version);
        for (name, qos) in [
            ("done", QoS::AtLeastOnce),
            ("two", QoS::ExactlyOnce),
            ("released", QoS::ExactlyOnce),
            ("one", QoS::AtLeastOnce),
            ("zero", QoS::AtMostOnce),
        ] {
            solo.publish(name, qos);
        }
        assert_eq!(solo.sent().len(), 5);
        solo.feed(&Packet::PubAck(ack(1)));
        solo.feed(&Packet::PubRec(ack(3)));
        assert_eq!(told(&solo.sent()), is(&[("PUBREL", 3, false)]));
        // Accepted but never handed to a buffer, before the cut and after it.
        solo.publish("never sent", QoS::AtLeastOnce);
        solo.eof();
        solo.publish("offline", QoS::ExactlyOnce);
        solo.publish("offline zero", QoS::AtMostOnce);
        let resent = [("PUBREL", 3, false), ("two", 2, true), ("one", 4, true)];
        solo.resume();
        let sent = solo.sent();
        let new = [("never sent", 5, false), ("offline", 6, false), ("offline zero", 0, false)];
        assert_eq!(told(&sent), is(&[&resent[..], &new[..]].concat()));
        // All of it once more, and now everything was sent before.
        solo.resume();
        let new = [("never sent", 5, true), ("offline", 6, true)];
        assert_eq!(told(&solo.sent()), is(&[&resent[..], &new[..]].concat()));
        // A connection that is cut before anything was polled changes nothing.
        for _ in 0..3 {
            solo.eof();
            solo.open();
        }
        solo.resume();
        assert_eq!(told(&solo.sent()), is(&[&resent[..], &new[..]].concat()));
    }
}

// covers: v5 MQTT-4.3.3-6, v3 MQTT-4.3.3-1
// class: 18
#[test]
fn after_pubrec_the_message_is_freed_and_never_sent_again() {
    for version in ALL {
        let mut solo = Solo::connected(version);
        let token = solo.publish("a", QoS::ExactlyOnce);
        solo.sent();
        assert_eq!(solo.session.stats().held_bytes, 2);
        solo.feed(&Packet::PubRec(ack(1)));
        assert_eq!(solo.events(), [Event::Received { token, reason: ReasonCode::SUCCESS }]);
        assert_eq!(solo.session.stats().held_bytes, 0);
        // Also when PUBREL never reached a buffer.
        for _ in 0..3 {
            solo.resume();
            solo.events();
            assert_eq!(told(&solo.sent()), is(&[("PUBREL", 1, false)]));
            // PUBREC once more: PUBREL once more.
            solo.feed(&Packet::PubRec(ack(1)));
            assert_eq!(told(&solo.sent()), is(&[("PUBREL", 1, false)]));
        }
        solo.feed(&Packet::PubComp(ack(1)));
        let event = solo.events().into_iter().find(published(SUCCESS));
        assert!(event.is_some_and(|event| ends(&event) == Some(token)));
    }
}

// covers: v5 X5-3.6.2-a
// class: 27
#[test]
fn pubcomp_not_found_is_no_error_while_a_session_is_recovered() {
    for resumed in [true, false] {
        let mut solo = Solo::connected(Version::V5);
        let token = solo.publish("a", QoS::ExactlyOnce);
        solo.sent();
        solo.feed(&Packet::PubRec(ack(1)));
        solo.sent();
        if resumed {
            solo.resume();
            solo.sent();
        }
        let not_found = ReasonCode::PACKET_IDENTIFIER_NOT_FOUND;
        solo.feed(&Packet::PubComp(crate::solo::ack_with(1, not_found)));
        let told = if resumed { SUCCESS } else { not_found };
        let event = solo.events().into_iter().find(published(told)).unwrap();
        assert_eq!(ends(&event), Some(token));
        assert!(solo.session.is_idle());
    }
}

/// A client with all kinds of unfinished messages; its tokens in the order of publishing.
fn unfinished(version: Version, clean: bool, resend_qos2: bool) -> (Solo<Client>, [Token; 5]) {
    let mut config = durable(version);
    config.connect.clean_start = clean;
    config.resend_lost_qos2 = resend_qos2;
    if clean {
        config.connect.session_expiry_interval = None;
    }
    let mut solo = Solo::accepted(config, ConnAck::default());
    let a = solo.publish("a1", QoS::AtLeastOnce);
    let b = solo.publish("b2", QoS::ExactlyOnce);
    let c = solo.publish("c2 released", QoS::ExactlyOnce);
    let d = solo.publish("d1", QoS::AtLeastOnce);
    solo.sent();
    solo.feed(&Packet::PubRec(ack(3)));
    solo.sent();
    let e = solo.publish("e2 never sent", QoS::ExactlyOnce);
    solo.eof();
    solo.events();
    (solo, [a, b, c, d, e])
}

fn lost(events: Vec<Event>) -> Vec<Token> {
    let one = |event| match event {
        Event::Failed { token, error: Failure::SessionLost } => Some(token),
        Event::Failed { error, .. } => panic!("{error}"),
        _ => None,
    };
    events.into_iter().filter_map(one).collect()
}

// covers: v5 MQTT-3.2.2-5, v3 MQTT-3.1.2-6
// class: 22, 23, 24, 25
#[test]
fn a_lost_session_loses_only_what_is_in_doubt() {
    let cases =
        [(Version::V5, false), (Version::V5, true), (Version::V311, true), (Version::V31, true)];
    for (version, clean) in cases {
        for resend_qos2 in [false, true] {
            let (mut solo, tokens) = unfinished(version, clean, resend_qos2);
            solo.reconnect(ConnAck::default());
            let sent = solo.sent();
            let names: Vec<_> = told(&sent).into_iter().map(|(name, ..)| name).collect();
            let dups = told(&sent).into_iter().filter(|(_, _, dup)| *dup).count();
            assert_eq!(dups, 0, "all of it is new");
            if resend_qos2 {
                assert_eq!(names, ["a1", "b2", "d1", "e2 never sent"]);
                assert_eq!(lost(solo.events()), [tokens[2]]);
            } else {
                assert_eq!(names, ["a1", "d1", "e2 never sent"]);
                assert_eq!(lost(solo.events()), [tokens[1], tokens[2]]);
            }
            // The identifiers of the old session mean nothing.
            solo.feed(&Packet::PubAck(ack(1)));
            solo.feed(&Packet::PubComp(ack(3)));
            assert!(solo.events().iter().all(|event| ends(event).is_none()));
            assert!(solo.is_open());
            // What was on a wire cannot be taken back.
            solo.eof();
            solo.reconnect(ConnAck::default());
            assert_eq!(solo.session.cancel(tokens[0]), None);
        }
    }
}

// class: 15, 22
#[test]
fn what_was_sent_is_not_taken_back_after_the_session_is_lost() {
    let (mut solo, tokens) = unfinished(Version::V5, false, false);
    // Nothing has been polled: both wait as new messages.
    solo.reconnect(ConnAck::default());
    assert_eq!(solo.session.stats().queued, 3);
    assert_eq!(solo.session.cancel(tokens[0]), None, "it may have been delivered");
    assert!(solo.session.cancel(tokens[4]).is_some());
    assert_eq!(told(&solo.sent()).len(), 2);
}

// covers: v3 MQTT-4.4.0-1, v3 X3-3.2.2-c, v3 MQTT-3.1.2-4
// class: 23
#[test]
fn without_a_clean_session_3_x_repeats_even_into_a_new_session() {
    for version in [Version::V31, Version::V311] {
        let (mut solo, tokens) = unfinished(version, false, false);
        solo.reconnect(ConnAck::default());
        let expected = [
            ("PUBREL", 3, false),
            ("a1", 1, true),
            ("b2", 2, true),
            ("d1", 4, true),
            ("e2 never sent", 5, false),
        ];
        assert_eq!(told(&solo.sent()), is(&expected));
        assert_eq!(lost(solo.events()), []);
        solo.feed(&Packet::PubComp(ack(3)));
        let event = solo.events().into_iter().find(published(SUCCESS));
        assert!(event.is_some_and(|event| ends(&event) == Some(tokens[2])));
    }
}

// covers: v5 MQTT-4.3.3-10, v3 MQTT-4.3.3-2, v5 X5-4.1-a, v3 X3-4.1-a
// class: 17, 19
#[test]
fn inbound_qos_2_is_known_over_any_number_of_connections() {
    for version in ALL {
        for dup in [true, false] {
            let mut solo = Solo::connected(version);
            let publish = message("a", "x", QoS::ExactlyOnce);
            solo.feed_publish(&publish, 9, false);
            let ack_id = solo.messages().remove(0).ack.unwrap();
            for _ in 0..5 {
                solo.resume();
                solo.feed_publish(&publish, 9, dup);
                assert_eq!((solo.messages(), solo.sent()), (vec![], vec![]));
            }
            // Acknowledged between two connections: the answer waits for the PUBLISH.
            solo.eof();
            solo.session.ack(ack_id, SUCCESS);
            solo.resume();
            assert_eq!(solo.sent(), []);
            solo.events();
            for _ in 0..5 {
                solo.feed_publish(&publish, 9, dup);
                assert_eq!((solo.messages(), solo.sent()), (vec![], vec![Packet::PubRec(ack(9))]));
                solo.resume();
                solo.events();
            }
            solo.feed(&Packet::PubRel(ack(9)));
            assert_eq!(solo.sent(), [Packet::PubComp(ack(9))]);
            assert_eq!(solo.session.stats(), Default::default());
            solo.feed_publish(&publish, 9, dup);
            assert_eq!(solo.messages().len(), 1, "a new message");
        }
    }
}

// covers: v5 MQTT-3.1.2-4, v5 MQTT-3.2.2-5
// class: 17, 21, 24
#[test]
fn inbound_ids_of_a_lost_session_are_forgotten() {
    for version in [Version::V311, Version::V5] {
        let mut solo = Solo::connected(version);
        let publish = message("a", "x", QoS::ExactlyOnce);
        solo.feed_publish(&publish, 9, false);
        let old = solo.messages().remove(0).ack.unwrap();
        solo.reconnect(ConnAck::default());
        solo.feed_publish(&publish, 9, true);
        let messages = solo.messages();
        assert_eq!(messages.len(), 1, "a new session: a new message");
        solo.session.ack(old, SUCCESS);
        assert_eq!(solo.sent(), [], "the old one's ack is inert");
        solo.session.ack(messages[0].ack.unwrap(), SUCCESS);
        assert_eq!(solo.sent(), [Packet::PubRec(ack(9))]);
    }
}

// class: 19, 21
#[test]
fn an_ack_of_an_old_connection_is_inert_for_qos_1_and_good_for_qos_2() {
    for version in ALL {
        let mut solo = Solo::connected(version);
        for (packet_id, qos) in [(1, QoS::AtLeastOnce), (2, QoS::ExactlyOnce)] {
            solo.feed_publish(&message("a", "x", qos), packet_id, false);
        }
        let old: Vec<_> = solo.messages().iter().filter_map(|message| message.ack).collect();
        solo.resume();
        solo.feed_publish(&message("a", "x", QoS::AtLeastOnce), 1, true);
        let again = solo.messages();
        assert_eq!(again.len(), 1, "QoS 1 comes again");
        solo.feed_publish(&message("a", "x", QoS::ExactlyOnce), 2, true);
        solo.session.ack(old[0], SUCCESS);
        assert_eq!(solo.sent(), []);
        solo.session.ack(old[1], SUCCESS);
        assert_eq!(solo.sent(), [Packet::PubRec(ack(2))]);
        solo.session.ack(again[0].ack.unwrap(), SUCCESS);
        assert_eq!(solo.sent(), [Packet::PubAck(ack(1))]);
    }
}

// covers: v5 MQTT-4.4.0-1
// class: 26
#[test]
fn nothing_is_sent_twice_on_a_live_connection() {
    for version in ALL {
        let mut config = durable(version);
        config.connect.keep_alive = 0;
        let mut solo = Solo::accepted(config, ConnAck::default());
        solo.publish("a", QoS::AtLeastOnce);
        solo.publish("b", QoS::ExactlyOnce);
        solo.publish("c", QoS::ExactlyOnce);
        solo.session.subscribe(subscribe("a", QoS::AtMostOnce)).unwrap();
        solo.sent();
        solo.feed(&Packet::PubRec(ack(3)));
        solo.sent();
        for _ in 0..100 {
            solo.wait(secs(24 * 3600));
            assert_eq!(solo.sent_raw(), []);
        }
        assert!(solo.is_open());
    }
}

// covers: v5 MQTT-2.2.1-3, v3 MQTT-2.3.1-2
// class: 22
#[test]
fn requests_without_an_answer_are_made_again_with_their_tokens_and_in_their_order() {
    for version in ALL {
        let mut solo = Solo::connected(version);
        let filter = TopicFilter::new("b").unwrap();
        let first = solo.session.subscribe(subscribe("a", QoS::AtMostOnce)).unwrap();
        let second = solo.session.unsubscribe(Unsubscribe::new(filter)).unwrap();
        solo.publish("x", QoS::AtLeastOnce);
        let sent = solo.sent();
        let expected = [("SUBSCRIBE", 1, false), ("UNSUBSCRIBE", 2, false), ("x", 3, false)];
        assert_eq!(told(&sent), is(&expected));
        solo.eof();
        let third = solo.session.subscribe(subscribe("c", QoS::AtMostOnce)).unwrap();
        assert_eq!(solo.session.stats().requests, 3);
        for resumed in [true, false] {
            if resumed {
                solo.resume();
            } else {
                solo.reconnect(ConnAck::default());
            }
            let sent = solo.sent();
            let named = told(&sent);
            let requests: Vec<_> = named.iter().filter(|one| one.0.ends_with("SCRIBE")).collect();
            let names: Vec<_> = requests.iter().map(|one| one.0.as_str()).collect();
            assert_eq!(names, ["SUBSCRIBE", "UNSUBSCRIBE", "SUBSCRIBE"]);
            let mut ids: Vec<_> = named.iter().map(|one| one.1).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), 4, "no identifier stands twice: {named:?}");
        }
        solo.events();
        // Answer all of them: each token ends once.
        let ids: Vec<u16> = {
            solo.resume();
            told(&solo.sent()).iter().filter(|o| o.0.ends_with("SCRIBE")).map(|o| o.1).collect()
        };
        let properties = mqtt_proto::AckProperties::NONE;
        for (at, packet_id) in ids.iter().enumerate() {
            let packet_id = crate::solo::id(*packet_id);
            let (reasons, properties) = (vec![SUCCESS], properties.clone());
            solo.feed(&match at {
                1 => {
                    let reasons = if version.is_v5() { reasons } else { vec![] };
                    Packet::UnsubAck(mqtt_proto::UnsubAck { packet_id, reasons, properties })
                }
                _ => Packet::SubAck(mqtt_proto::SubAck { packet_id, reasons, properties }),
            });
        }
        let ended: Vec<_> = solo.events().iter().filter_map(ends).collect();
        assert_eq!(ended, [first, second, third]);
    }
}

// covers: v5 MQTT-4.1.0-1, v3 MQTT-4.1.0-1
// class: 22
#[test]
fn a_state_goes_on_in_another_session() {
    for version in ALL {
        let (solo, tokens) = unfinished(version, false, false);
        let state: SessionState = solo.session.into_state();
        assert!(!state.is_empty());
        let mut solo = Solo::client_with(durable(version), state);
        let present = version != Version::V31;
        let connack = ConnAck { session_present: present, ..ConnAck::default() };
        solo.feed(&Packet::ConnAck(Box::new(connack)));
        let sent = told(&solo.sent());
        let expected = [
            ("PUBREL", 3, false),
            ("a1", 1, true),
            ("b2", 2, true),
            ("d1", 4, true),
            ("e2 never sent", 5, false),
        ];
        assert_eq!(sent, is(&expected));
        let new = solo.publish("new", QoS::AtLeastOnce);
        assert!(!tokens.contains(&new), "tokens are never used again");
        solo.sent();
        for packet_id in [1, 4, 6] {
            solo.feed(&Packet::PubAck(ack(packet_id)));
        }
        for packet_id in [2, 5] {
            solo.feed(&Packet::PubRec(ack(packet_id)));
        }
        for packet_id in [2, 3, 5] {
            solo.feed(&Packet::PubComp(ack(packet_id)));
        }
        let mut ended: Vec<_> = solo.events().iter().filter_map(ends).collect();
        ended.sort();
        assert_eq!(ended, [&tokens[..], &[new]].concat());
    }
    assert!(Session::<Client>::new(durable(Version::V5)).into_state().is_empty());
}

/// Publishes in both directions, with subscriptions, and cuts after `cut` bytes; the applications
/// acknowledge late, and the side that loses its session does so at the reconnect.
fn late_acks(version: Version, chunk: usize, cut: Option<usize>) -> usize {
    let mut pair = Pair::connected(version, chunk);
    (pair.client_acks, pair.server_acks) = (false, false);
    pair.delivered = 0;
    pair.cut_after = cut;
    let subscribed = pair.client.subscribe(subscribe("down", QoS::ExactlyOnce)).unwrap();
    let mut tokens = vec![subscribed];
    for qos in [QoS::ExactlyOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        tokens.push(pair.client.publish(message("up", "u", qos), pair.now).unwrap());
        pair.server.publish(message("down", "d", qos), pair.now).unwrap();
    }
    pair.settle();
    acknowledge(&mut pair);
    pair.settle();
    let delivered = pair.delivered;
    pair.cut_after = None;
    for _ in 0..3 {
        pair.reconnect();
        acknowledge(&mut pair);
        pair.settle();
    }
    let mut ended: Vec<_> = pair.client_events.iter().filter_map(ends).collect();
    ended.sort();
    assert_eq!(ended, tokens, "cut at {cut:?}");
    for messages in [&pair.client_messages, &pair.server_messages] {
        let twos = messages.iter().filter(|m| m.publish.qos() == QoS::ExactlyOnce).count();
        assert_eq!(twos, 2, "exactly once, cut at {cut:?}");
        assert!(messages.len() >= 3, "cut at {cut:?}");
    }
    assert_eq!(pair.client.stats(), Default::default(), "cut at {cut:?}");
    assert_eq!(pair.server.stats(), Default::default(), "cut at {cut:?}");
    delivered
}

/// Acknowledges all that was ever delivered, the last first; most of it is outdated.
fn acknowledge(pair: &mut Pair) {
    for ack in pair.client_acks_of().into_iter().rev() {
        pair.client.ack(ack, SUCCESS);
    }
    let acks: Vec<_> = pair.server_messages.iter().filter_map(|message| message.ack).collect();
    for ack in acks.into_iter().rev() {
        pair.server.ack(ack, SUCCESS);
    }
}

// covers: v5 MQTT-3.1.2-5, v3 MQTT-3.1.2-4
// class: 17, 19, 20, 21, 22, 43
#[test]
fn late_acks_and_a_cut_after_any_byte_lose_and_double_nothing() {
    for version in VERSIONS {
        for chunk in CHUNKS {
            let total = late_acks(version, chunk, None);
            for cut in 1..total {
                late_acks(version, chunk, Some(cut));
            }
        }
    }
}

// class: 22, 23, 43
#[test]
fn a_server_that_forgets_at_any_byte_loses_nothing_silently() {
    for version in VERSIONS {
        for cut in 1..120 {
            let mut pair = Pair::connected(version, 7);
            let mut tokens = Vec::new();
            for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::AtMostOnce, QoS::ExactlyOnce] {
                tokens.push(pair.client.publish(message("up", "u", qos), pair.now).unwrap());
            }
            pair.cut_after = Some(cut);
            pair.settle();
            pair.cut_after = None;
            pair.forgetful = true;
            pair.reconnect();
            let mut ended: Vec<_> = pair.client_events.iter().filter_map(ends).collect();
            ended.sort();
            assert_eq!(ended, tokens, "cut at {cut}");
            assert!(!pair.resumed());
            assert!(pair.client.is_idle() && pair.server.is_idle());
            let failed = lost(std::mem::take(&mut pair.client_events));
            assert!(version.is_v5() || failed.is_empty());
            let types = types(&pair.sent_by_client());
            assert!(types.contains(&PacketType::Publish));
        }
    }
}
