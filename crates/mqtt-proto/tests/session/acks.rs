//! Acknowledgements: their order, late and unknown ones, every reason code.

use mqtt_proto::{
    AckId, AckProperties, Client, CloseReason, ConnAck, Event, Packet, PacketType, QoS, ReasonCode,
    SubAck, Token, UnsubAck, Unsubscribe, Version,
};

use crate::pair::{CHUNKS, Pair, VERSIONS, durable, message, subscribe};
use crate::solo::{Solo, ack, ack_with, id, text};

const ALL: [Version; 3] = [Version::V31, Version::V311, Version::V5];
const SUCCESS: ReasonCode = ReasonCode::SUCCESS;

/// The identifiers of the acknowledgements of that type, in their order.
fn ids_of(packets: &[Packet], wanted: PacketType) -> Vec<u16> {
    let of = |packet: &Packet| match packet {
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack)
            if packet.packet_type() == wanted =>
        {
            Some(ack.packet_id.get())
        }
        _ => None,
    };
    packets.iter().filter_map(of).collect()
}

/// All orders of the numbers below `count`.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![vec![]];
    }
    let mut all = Vec::new();
    for shorter in orders(count - 1) {
        for at in 0..count {
            let mut order = shorter.clone();
            order.insert(at, count - 1);
            all.push(order);
        }
    }
    all
}

// covers: v5 MQTT-4.6.0-2, v5 MQTT-4.6.0-3, v3 MQTT-4.6.0-2, v3 MQTT-4.6.0-3
// covers: v5 MQTT-4.5.0-2, v3 MQTT-4.5.0-2, v3 MQTT-3.3.4-1
// class: 19, 20
#[test]
fn acks_leave_in_the_order_of_arrival_whatever_the_order_of_the_calls() {
    for version in ALL {
        for order in orders(6) {
            let mut solo = Solo::connected(version);
            // QoS 1 and 2 in turns, with identifiers that do not ascend.
            let ids = [40, 3, 7, 65_535, 2, 5];
            for (at, packet_id) in ids.iter().enumerate() {
                let qos = if at % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
                solo.feed_publish(&message("a", "x", qos), *packet_id, false);
            }
            let acks: Vec<AckId> = solo.messages().iter().filter_map(|m| m.ack).collect();
            assert_eq!(solo.sent_raw(), [], "no ack before the application has spoken");
            let mut all = Vec::new();
            let mut acked = [false; 6];
            for at in order {
                solo.session.ack(acks[at], SUCCESS);
                acked[at] = true;
                all.extend(solo.sent());
                // What was acknowledged up to the first gap has left, and nothing else.
                for (first, wanted) in [(0, PacketType::PubAck), (1, PacketType::PubRec)] {
                    let expected: Vec<u16> = (first..6)
                        .step_by(2)
                        .take_while(|at| acked[*at])
                        .map(|at| ids[at])
                        .collect();
                    assert_eq!(ids_of(&all, wanted), expected);
                }
            }
            for ack in acks {
                solo.session.ack(ack, SUCCESS);
            }
            assert_eq!(solo.sent_raw(), [], "once is enough");
            assert_eq!(all.len(), 6);
        }
    }
}

// covers: v5 MQTT-4.6.0-4, v3 MQTT-4.6.0-4
// class: 20
#[test]
fn pubrels_leave_in_the_order_of_pubrecs_also_when_sent_again() {
    for version in ALL {
        for order in orders(4) {
            let mut solo = Solo::connected(version);
            for _ in 0..4 {
                solo.publish("a", QoS::ExactlyOnce);
            }
            solo.sent();
            let order: Vec<u16> = order.iter().map(|at| *at as u16 + 1).collect();
            for packet_id in &order[..3] {
                solo.feed(&Packet::PubRec(ack(*packet_id)));
            }
            assert_eq!(ids_of(&solo.sent(), PacketType::PubRel), order[..3]);
            solo.resume();
            let again = solo.sent();
            assert_eq!(ids_of(&again, PacketType::PubRel), order[..3]);
            assert_eq!(again.len(), 4, "and PUBLISH of the fourth");
            solo.feed(&Packet::PubRec(ack(order[3])));
            solo.sent();
            solo.resume();
            assert_eq!(ids_of(&solo.sent(), PacketType::PubRel), order);
            for packet_id in order.iter().rev() {
                solo.feed(&Packet::PubComp(ack(*packet_id)));
            }
            assert!(solo.session.is_idle());
        }
    }
}

// covers: v5 MQTT-4.3.3-9, v3 MQTT-3.3.5-2
// class: 28
#[test]
fn a_message_can_be_refused_with_a_reason_in_5_0_only() {
    for version in ALL {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut solo = Solo::connected(version);
            solo.feed_publish(&message("a", "x", qos), 5, false);
            let ack = solo.messages().remove(0).ack.unwrap();
            let why = AckProperties::new(Some(text("full")), vec![]);
            solo.session.ack_with(ack, ReasonCode::QUOTA_EXCEEDED, why.clone());
            let sent = solo.sent();
            let [Packet::PubAck(said) | Packet::PubRec(said)] = &sent[..] else { panic!() };
            let v5 = version.is_v5();
            let reason = if v5 { ReasonCode::QUOTA_EXCEEDED } else { SUCCESS };
            assert_eq!((said.packet_id, said.reason), (id(5), reason));
            assert_eq!(said.properties, if v5 { why } else { AckProperties::NONE });
            // In 5.0 the exchange is over, in 3.x it goes on.
            solo.feed_publish(&message("a", "y", qos), 5, true);
            let new = v5 || qos == QoS::AtLeastOnce;
            assert_eq!(solo.messages().len(), usize::from(new));
        }
    }
}

// class: 28
#[test]
fn a_code_that_acks_do_not_have_still_says_whether_the_message_was_taken() {
    for code in 0..=0xFF {
        let mut solo = Solo::connected(Version::V5);
        solo.feed_publish(&message("a", "x", QoS::AtLeastOnce), 5, false);
        let ack = solo.messages().remove(0).ack.unwrap();
        let code = ReasonCode::new(code);
        solo.session.ack(ack, code);
        let sent = solo.sent();
        let [Packet::PubAck(said)] = &sent[..] else { panic!("{code}") };
        assert_eq!(said.reason.is_error(), code.is_error());
        assert!(said.reason == code || !code.is_valid_in(PacketType::PubAck));
    }
}

/// A client in which every kind of exchange is open: PUBLISH of QoS 1 (1), of QoS 2 (2), one that
/// waits for PUBCOMP (3), SUBSCRIBE (4) and UNSUBSCRIBE (5); 6 and above are free.
fn busy(version: Version) -> (Solo<Client>, [Token; 5]) {
    let mut solo = Solo::connected(version);
    let mut tokens = vec![
        solo.publish("a", QoS::AtLeastOnce),
        solo.publish("b", QoS::ExactlyOnce),
        solo.publish("c", QoS::ExactlyOnce),
    ];
    solo.sent();
    tokens.push(solo.session.subscribe(subscribe("a", QoS::AtMostOnce)).unwrap());
    let filter = mqtt_proto::TopicFilter::new("a").unwrap();
    tokens.push(solo.session.unsubscribe(Unsubscribe::new(filter)).unwrap());
    solo.feed(&Packet::PubRec(ack(3)));
    let expected = [PacketType::PubRel, PacketType::Subscribe, PacketType::Unsubscribe];
    assert_eq!(solo.sent_types(), expected);
    solo.events();
    (solo, tokens.try_into().unwrap())
}

fn suback(packet_id: u16, count: usize) -> Packet {
    let reasons = vec![ReasonCode::GRANTED_QOS_1; count];
    Packet::SubAck(SubAck { packet_id: id(packet_id), reasons, properties: AckProperties::NONE })
}

fn unsuback(version: Version, packet_id: u16, count: usize) -> Packet {
    let reasons = if version.is_v5() { vec![SUCCESS; count] } else { vec![] };
    let properties = AckProperties::NONE;
    Packet::UnsubAck(UnsubAck { packet_id: id(packet_id), reasons, properties })
}

// class: 27
#[test]
fn acks_that_nobody_waits_for_are_harmless_in_every_state() {
    for version in ALL {
        for chunk in CHUNKS {
            let idle = Solo::connected(version);
            for mut solo in [idle, busy(version).0] {
                solo.chunk = chunk;
                for packet_id in [6, 7, 65_535] {
                    for packet in [
                        Packet::PubAck(ack(packet_id)),
                        Packet::PubComp(ack(packet_id)),
                        suback(packet_id, 1),
                        suback(packet_id, 5),
                        unsuback(version, packet_id, 1),
                    ] {
                        solo.feed(&packet);
                        assert_eq!(solo.sent(), []);
                    }
                    solo.feed(&Packet::PubRec(ack(packet_id)));
                    let not_found = ReasonCode::PACKET_IDENTIFIER_NOT_FOUND;
                    let unknown = ack_with(packet_id, not_found);
                    let v5 = version.is_v5();
                    let expected = if v5 { vec![Packet::PubRel(unknown.clone())] } else { vec![] };
                    assert_eq!(solo.sent(), expected);
                    solo.feed(&Packet::PubRel(ack(packet_id)));
                    let expected = if v5 { unknown } else { ack(packet_id) };
                    assert_eq!(solo.sent(), [Packet::PubComp(expected)]);
                    if v5 {
                        let refused = ReasonCode::QUOTA_EXCEEDED;
                        solo.feed(&Packet::PubRec(ack_with(packet_id, refused)));
                        assert_eq!(solo.sent(), []);
                    }
                }
                assert_eq!(solo.events(), []);
            }
        }
    }
}

// class: 27
#[test]
fn an_ack_of_another_kind_is_a_fault_and_ends_nothing() {
    for version in ALL {
        for packet_id in 1..=5 {
            for (packet, right) in [
                (Packet::PubAck(ack(packet_id)), &[1][..]),
                (Packet::PubRec(ack(packet_id)), &[2, 3]),
                (Packet::PubComp(ack(packet_id)), &[3]),
                (suback(packet_id, 1), &[4]),
                (unsuback(version, packet_id, 1), &[5]),
            ] {
                let (mut solo, _) = busy(version);
                let before = solo.session.stats();
                solo.feed(&packet);
                if right.contains(&packet_id) {
                    assert!(solo.is_open(), "{packet:?}");
                } else {
                    solo.closed_for(ReasonCode::PROTOCOL_ERROR);
                    let after = solo.session.stats();
                    assert_eq!(before, after, "nothing is lost: {packet:?}");
                }
            }
        }
    }
}

// covers: v3 MQTT-2.3.1-3, v3 MQTT-2.3.1-4, v5 X5-2.2.1-b
// class: 28
#[test]
fn suback_and_unsuback_need_one_code_for_each_filter() {
    for version in ALL {
        for count in [2, 3] {
            let (mut solo, _) = busy(version);
            solo.feed(&suback(4, count));
            solo.closed_for(ReasonCode::PROTOCOL_ERROR);
        }
        if version.is_v5() {
            let (mut solo, _) = busy(version);
            solo.feed(&unsuback(version, 5, 2));
            solo.closed_for(ReasonCode::PROTOCOL_ERROR);
        }
        let (mut solo, tokens) = busy(version);
        assert_eq!(solo.session.stats().requests, 2);
        solo.feed(&suback(4, 1));
        solo.feed(&unsuback(version, 5, 1));
        let events = solo.events();
        assert!(matches!(&events[..], [
            Event::Subscribed { token: first, .. },
            Event::Unsubscribed { token: second, .. },
        ] if *first == tokens[3] && *second == tokens[4]));
        assert_eq!(solo.session.stats().requests, 0);
    }
}

// covers: v5 MQTT-4.4.0-2, v5 X5-4.9-a, v5 X5-4.13.2-a, v5 X5-2.2.1-b, v5 MQTT-4.3.2-3
// class: 15, 28, 29
#[test]
fn every_reason_code_frees_what_it_should() {
    for code in 0..=0xFF {
        let code = ReasonCode::new(code);
        // One slot, so that a slot that is not freed shows at once.
        for packet in [PacketType::PubAck, PacketType::PubRec, PacketType::PubComp] {
            if !code.is_valid_in(packet) {
                continue;
            }
            let connack = ConnAck { receive_maximum: Some(1), ..ConnAck::default() };
            let mut solo = Solo::accepted(durable(Version::V5), connack.clone());
            let qos = match packet {
                PacketType::PubAck => QoS::AtLeastOnce,
                _ => QoS::ExactlyOnce,
            };
            let token = solo.publish("a", qos);
            solo.publish("b", QoS::AtLeastOnce);
            assert_eq!(solo.sent().len(), 1);
            let answer = ack_with(1, code);
            let ended = match packet {
                PacketType::PubAck => {
                    solo.feed(&Packet::PubAck(answer));
                    true
                }
                PacketType::PubRec => {
                    solo.feed(&Packet::PubRec(answer));
                    code.is_error()
                }
                _ => {
                    solo.feed(&Packet::PubRec(ack(1)));
                    assert_eq!(solo.sent_types(), [PacketType::PubRel]);
                    solo.feed(&Packet::PubComp(answer));
                    true
                }
            };
            assert!(solo.is_open());
            let told: Vec<_> = solo
                .events()
                .into_iter()
                .filter_map(|event| match event {
                    Event::Published { token, reason, .. } => Some((token, reason)),
                    _ => None,
                })
                .collect();
            if ended {
                assert_eq!(told, [(token, code)], "{packet} {code}");
                assert_eq!(solo.sent_types(), [PacketType::Publish]);
                assert_eq!(solo.session.stats().in_flight, 1);
                // It is not sent again.
                let connack = ConnAck { session_present: true, ..connack };
                solo.reconnect(connack);
                let sent = solo.sent();
                assert!(matches!(&sent[..], [Packet::Publish(p)] if p.topic() == "b"));
            } else {
                assert_eq!(told, []);
                assert_eq!(solo.sent_types(), [PacketType::PubRel]);
            }
        }
    }
}

// class: 28
#[test]
fn every_code_of_suback_and_unsuback_is_told_and_ends_the_request() {
    for version in ALL {
        for code in 0..=0xFF {
            let code = ReasonCode::new(code);
            let valid = match version {
                Version::V5 => code.is_valid_in(PacketType::SubAck),
                _ => matches!(code.get(), 0..=2 | 0x80),
            };
            let properties = AckProperties::NONE;
            if valid {
                let (mut solo, tokens) = busy(version);
                let suback = SubAck { packet_id: id(4), reasons: vec![code], properties };
                solo.feed(&Packet::SubAck(suback.clone()));
                let ack = Box::new(suback);
                assert_eq!(solo.events(), [Event::Subscribed { token: tokens[3], ack }]);
                assert_eq!(solo.session.stats().requests, 1);
            } else if version.is_v5() && code.is_valid_in(PacketType::UnsubAck) {
                let (mut solo, tokens) = busy(version);
                let unsuback = UnsubAck { packet_id: id(5), reasons: vec![code], properties };
                solo.feed(&Packet::UnsubAck(unsuback.clone()));
                let ack = Box::new(unsuback);
                assert_eq!(solo.events(), [Event::Unsubscribed { token: tokens[4], ack }]);
            }
        }
    }
}

// covers: v5 MQTT-4.3.2-5, v3 MQTT-4.3.2-2, v5 MQTT-4.3.3-12, v3 X3-4.4-a
// class: 17
#[test]
fn after_the_last_answer_an_identifier_is_new_whatever_dup_says() {
    for version in ALL {
        for dup in [false, true] {
            let mut solo = Solo::connected(version);
            for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
                for round in 0..3 {
                    solo.feed_publish(&message("a", "x", qos), 5, dup);
                    let messages = solo.messages();
                    assert_eq!(messages.len(), 1, "{qos} {round}");
                    assert_eq!(messages[0].publish.dup(), dup);
                    solo.session.ack(messages[0].ack.unwrap(), SUCCESS);
                    solo.sent();
                    if qos == QoS::ExactlyOnce {
                        for again in [false, true, true] {
                            solo.feed_publish(&message("a", "x", qos), 5, again);
                            assert_eq!(solo.messages(), []);
                            assert_eq!(solo.sent(), [Packet::PubRec(ack(5))]);
                        }
                        solo.feed(&Packet::PubRel(ack(5)));
                        assert_eq!(solo.sent(), [Packet::PubComp(ack(5))]);
                    }
                }
            }
        }
    }
}

// covers: v5 MQTT-4.3.3-12
// class: 17, 22
#[test]
fn pubcomp_ends_the_exchange_even_if_pubrel_crossed_a_repeated_publish() {
    for version in ALL {
        let qos2 = |text| message("a", text, QoS::ExactlyOnce);
        let mut solo = Solo::connected(version);
        solo.feed_publish(&qos2("first"), 1, false);
        let first = solo.messages().remove(0).ack.unwrap();
        solo.session.ack(first, SUCCESS);
        assert_eq!(solo.sent(), [Packet::PubRec(ack(1))]);
        // The application is slow with the second; the first is repeated before PUBREC has arrived.
        solo.feed_publish(&qos2("second"), 2, false);
        let second = solo.messages().remove(0).ack.unwrap();
        solo.feed_publish(&qos2("first"), 1, true);
        assert_eq!((solo.messages(), solo.sent()), (vec![], vec![]));
        solo.feed(&Packet::PubRel(ack(1)));
        assert_eq!(solo.sent(), [Packet::PubComp(ack(1))]);
        // The identifier is free: this is a new message.
        solo.feed_publish(&qos2("third"), 1, false);
        let messages = solo.messages();
        assert_eq!(Pair::payloads(&messages), ["third"]);
        solo.session.ack(second, SUCCESS);
        assert_eq!(solo.sent(), [Packet::PubRec(ack(2))]);
        solo.session.ack(messages[0].ack.unwrap(), SUCCESS);
        assert_eq!(solo.sent(), [Packet::PubRec(ack(1))]);
        for packet_id in [1, 2] {
            solo.feed(&Packet::PubRel(ack(packet_id)));
        }
        assert_eq!(solo.sent(), [Packet::PubComp(ack(1)), Packet::PubComp(ack(2))]);
        assert_eq!(solo.session.stats(), Default::default());
    }
}

// covers: v5 MQTT-4.3.3-12
// class: 22, 27
#[test]
fn a_pubrel_that_comes_too_early_ends_the_exchange_as_well() {
    for version in ALL {
        let mut solo = Solo::connected(version);
        for packet_id in [1, 2] {
            solo.feed_publish(&message("a", "x", QoS::ExactlyOnce), packet_id, false);
        }
        let acks: Vec<_> = solo.messages().iter().filter_map(|message| message.ack).collect();
        solo.feed(&Packet::PubRel(ack(1)));
        assert_eq!(solo.sent_types(), [PacketType::PubComp]);
        solo.session.ack(acks[0], SUCCESS);
        assert_eq!(solo.sent(), [], "nothing waits for that any more");
        solo.session.ack(acks[1], SUCCESS);
        assert_eq!(solo.sent(), [Packet::PubRec(ack(2))]);
        solo.feed_publish(&message("a", "y", QoS::ExactlyOnce), 1, false);
        assert_eq!(solo.messages().len(), 1);
    }
}

#[test]
fn a_negative_pubrec_after_success_still_ends_once() {
    let (mut solo, tokens) = busy(Version::V5);
    solo.feed(&Packet::PubRec(ack_with(3, ReasonCode::NOT_AUTHORIZED)));
    solo.feed(&Packet::PubComp(ack(3)));
    let events = solo.events();
    assert!(matches!(events[..], [Event::Published { token, .. }] if token == tokens[2]));
}

#[test]
fn a_client_that_closes_still_answers() {
    for version in VERSIONS {
        let mut solo = Solo::connected(version);
        solo.feed_publish(&message("a", "x", QoS::AtLeastOnce), 5, false);
        let ack = solo.messages().remove(0).ack.unwrap();
        solo.session.disconnect(Default::default(), solo.now).unwrap();
        solo.session.ack(ack, SUCCESS);
        assert_eq!(solo.sent_types(), [PacketType::PubAck, PacketType::Disconnect]);
        assert_eq!(solo.closed(), CloseReason::Requested);
    }
}
