//! Messages of each QoS in both directions, and the cut after every byte of their exchange.

use std::collections::BTreeMap;

use mqtt_proto::{Event, Packet, PacketType, QoS, ReasonCode, Version};

use crate::pair::{CHUNKS, Pair, VERSIONS, durable, ends, message, published, wire};
use crate::solo::Solo;

const ALL: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

fn types(packets: &[Packet]) -> Vec<PacketType> {
    packets.iter().map(Packet::packet_type).collect()
}

// covers: v5 MQTT-3.3.4-1, v3 MQTT-3.3.4-1, v5 MQTT-4.3.1-1, v3 MQTT-4.3.1-1
// covers: v5 MQTT-4.3.2-1, v5 MQTT-4.3.2-2, v5 MQTT-4.3.2-4, v5 MQTT-4.3.3-1, v5 MQTT-4.3.3-2
// covers: v5 MQTT-4.3.3-4, v5 MQTT-4.3.3-8, v5 MQTT-4.3.3-11, v5 MQTT-2.2.1-5, v3 MQTT-2.3.1-6
#[test]
fn each_qos_is_delivered_and_answered_by_its_rules() {
    for version in VERSIONS {
        for chunk in CHUNKS {
            for qos in ALL {
                let mut pair = Pair::connected(version, chunk);
                pair.sent_by_client();
                pair.sent_by_server();
                let token = pair.client.publish(message("a/b", "hello", qos), pair.now).unwrap();
                pair.settle();
                assert_eq!(Pair::payloads(&pair.server_messages), ["hello"]);
                assert!(published(ReasonCode::SUCCESS)(&pair.outcome(token)));
                let (sent, answered) = (pair.sent_by_client(), pair.sent_by_server());
                let (expected_sent, expected_answers): (&[_], &[_]) = match qos {
                    QoS::AtMostOnce => (&[PacketType::Publish], &[]),
                    QoS::AtLeastOnce => (&[PacketType::Publish], &[PacketType::PubAck]),
                    QoS::ExactlyOnce => (
                        &[PacketType::Publish, PacketType::PubRel],
                        &[PacketType::PubRec, PacketType::PubComp],
                    ),
                };
                assert_eq!(types(&sent), expected_sent);
                assert_eq!(types(&answered), expected_answers);
                let Packet::Publish(publish) = &sent[0] else { panic!() };
                assert_eq!((publish.qos(), publish.dup()), (qos, false));
                let ids: Vec<_> = sent.iter().chain(&answered).map(id_of).collect();
                assert!(ids.iter().all(|id| *id == ids[0]), "one identifier: {ids:?}");
                assert_eq!(ids[0].is_some(), qos != QoS::AtMostOnce);
                assert!(pair.client.is_idle() && pair.server.is_idle());
            }
        }
    }
}

fn id_of(packet: &Packet) -> Option<u16> {
    match packet {
        Packet::Publish(publish) => publish.packet_id().map(|id| id.get()),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            Some(ack.packet_id.get())
        }
        _ => None,
    }
}

// covers: v5 X5-2.2.1-c, v3 X3-2.3.1-a, v5 MQTT-2.2.1-4
#[test]
fn both_directions_number_their_packets_independently() {
    for version in VERSIONS {
        for chunk in CHUNKS {
            let mut pair = Pair::connected(version, chunk);
            let mut tokens = Vec::new();
            for index in 0..20 {
                let text = format!("{index}");
                for qos in ALL {
                    let up = pair.client.publish(message("up", &text, qos), pair.now).unwrap();
                    let down = pair.server.publish(message("down", &text, qos), pair.now).unwrap();
                    tokens.push((up, down));
                }
            }
            pair.settle();
            let expected: Vec<String> = (0..60).map(|index| format!("{}", index / 3)).collect();
            assert_eq!(Pair::payloads(&pair.server_messages), expected);
            assert_eq!(Pair::payloads(&pair.client_messages), expected);
            for (up, down) in tokens {
                assert!(published(ReasonCode::SUCCESS)(&pair.outcome(up)));
                assert!(published(ReasonCode::SUCCESS)(&pair.server_outcome(down)));
            }
        }
    }
}

/// Publishes three messages of each QoS in both directions and cuts the wire after `cut` bytes; then
/// connects again and lets everything finish. Returns how many bytes were delivered.
fn exchange(version: Version, chunk: usize, cut: Option<usize>) -> usize {
    let mut pair = Pair::connected(version, chunk);
    pair.delivered = 0;
    let mut tokens = Vec::new();
    for index in 0..3 {
        for qos in ALL {
            let text = format!("{} {index}", qos as u8);
            tokens.push(pair.client.publish(message("up", &text, qos), pair.now).unwrap());
            pair.server.publish(message("down", &text, qos), pair.now).unwrap();
        }
    }
    pair.cut_after = cut;
    pair.settle();
    let delivered = pair.delivered;
    pair.cut_after = None;
    pair.reconnect();
    assert!(pair.resumed());
    let ended: Vec<_> = pair.client_events.iter().filter_map(ends).collect();
    let mut sorted = ended.clone();
    sorted.sort();
    assert_eq!(sorted, tokens, "every token ends once, cut at {cut:?}");
    for messages in [&pair.server_messages, &pair.client_messages] {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut first: Vec<String> = Vec::new();
        for text in Pair::payloads(messages) {
            let count = seen.entry(text.clone()).or_default();
            *count += 1;
            if *count == 1 {
                first.push(text);
            }
        }
        for index in 0..3 {
            assert_eq!(seen.get(&format!("2 {index}")), Some(&1), "exactly once, cut at {cut:?}");
            assert!(seen.contains_key(&format!("1 {index}")), "at least once, cut at {cut:?}");
            assert!(seen.get(&format!("0 {index}")).is_none_or(|n| *n == 1), "at most once");
        }
        for qos in ["1 ", "2 "] {
            let order: Vec<_> = first.iter().filter(|text| text.starts_with(qos)).collect();
            assert!(order.is_sorted(), "first deliveries in order, cut at {cut:?}: {order:?}");
        }
    }
    assert!(pair.client.is_idle() && pair.server.is_idle(), "at rest, cut at {cut:?}");
    assert_eq!(pair.client.stats(), Default::default());
    assert_eq!(pair.server.stats(), Default::default());
    delivered
}

// covers: v5 MQTT-4.4.0-1, v3 MQTT-4.4.0-1, v5 MQTT-4.3.3-10, v3 MQTT-4.3.3-2, v5 MQTT-4.3.3-6
// covers: v3 MQTT-4.3.3-1, v3 MQTT-4.3.2-1, v5 MQTT-4.6.0-1, v3 MQTT-4.6.0-1
// class: 11, 17, 18, 22, 25
#[test]
fn a_cut_after_any_byte_loses_and_doubles_nothing() {
    for version in VERSIONS {
        for chunk in CHUNKS {
            let total = exchange(version, chunk, None);
            assert!(total > 100);
            for cut in 1..total {
                exchange(version, chunk, Some(cut));
            }
        }
    }
}

// class: 17
#[test]
fn qos2_survives_a_cut_at_every_byte_of_several_connections() {
    for version in VERSIONS {
        for step in 1..60 {
            let mut pair = Pair::connected(version, 64 * 1024);
            let token =
                pair.client.publish(message("up", "x", QoS::ExactlyOnce), pair.now).unwrap();
            pair.server.publish(message("down", "y", QoS::ExactlyOnce), pair.now).unwrap();
            // Each connection gets a little further than the one before.
            for cut in (step..400).step_by(step) {
                pair.cut_after = Some(cut);
                pair.settle();
                pair.cut_after = None;
                if pair.client.is_idle() && pair.server.is_idle() {
                    break;
                }
                pair.reconnect();
            }
            pair.reconnect();
            assert_eq!(Pair::payloads(&pair.server_messages), ["x"], "step {step}");
            assert_eq!(Pair::payloads(&pair.client_messages), ["y"], "step {step}");
            assert!(published(ReasonCode::SUCCESS)(&pair.outcome(token)));
        }
    }
}

#[test]
fn received_comes_before_published() {
    for version in VERSIONS {
        let mut pair = Pair::connected(version, 1);
        let token = pair.client.publish(message("a", "x", QoS::ExactlyOnce), pair.now).unwrap();
        pair.settle();
        let at = |wanted: fn(&Event) -> bool| pair.client_events.iter().position(wanted).unwrap();
        let received = at(|event| matches!(event, Event::Received { .. }));
        let done = at(|event| matches!(event, Event::Published { .. }));
        assert!(received < done);
        assert!(
            matches!(pair.client_events[received], Event::Received { token: got, .. } if got == token)
        );
    }
}

#[test]
fn what_waits_to_be_sent_can_be_named() {
    for version in VERSIONS {
        let mut solo = Solo::client(durable(version));
        assert_eq!(solo.session.waiting(), None);
        let tokens = ALL.map(|qos| solo.publish("t", qos));
        assert_eq!(solo.session.waiting(), Some((tokens[0], tokens[2])));
        solo.session.cancel(tokens[2]).unwrap();
        solo.session.cancel(tokens[0]).unwrap();
        assert_eq!(solo.session.waiting(), Some((tokens[1], tokens[1])));
        solo.feed(&Packet::ConnAck(Box::default()));
        assert_eq!(solo.sent_types(), [PacketType::Publish]);
        assert_eq!(solo.session.waiting(), None);
        // What a lost session had in flight goes out as new, in MQTT 5.0.
        solo.eof();
        let later = solo.publish("t", QoS::AtMostOnce);
        solo.open();
        solo.session.handle_input(
            &mut wire(&Packet::ConnAck(Box::default()), version).as_slice().into(),
            solo.now,
        );
        let first = if version.is_v5() { tokens[1] } else { later };
        assert_eq!(solo.session.waiting(), Some((first, later)));
    }
}
