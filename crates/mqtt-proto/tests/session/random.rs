//! Random histories: commands, late acks, cuts, reconnects and time, and what has to hold after each.

use std::collections::BTreeMap;

use mqtt_proto::{ConnAck, QoS, ReasonCode, Role, ServerConfig, Version, codec};

use crate::pair::{Pair, durable, ends, message, subscribe};
use crate::solo::{Solo, one_of_each, secs};

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

const ALL: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

fn history(version: Version, seed: u64) {
    let mut random = Random(seed);
    let mut config = durable(version);
    config.max_in_flight = 1 + random.below(4) as u16;
    if version.is_v5() {
        config.connect.receive_maximum = Some(1 + random.below(3) as u16);
    }
    let receive_maximum = 1 + random.below(3) as u16;
    let server = ServerConfig { receive_maximum, ..ServerConfig::default() };
    let mut pair = Pair::with_server(config, server);
    pair.chunk = [1, 7, 64 * 1024][random.below(3) as usize];
    (pair.client_acks, pair.server_acks) = (false, false);
    let (mut tokens, mut sent) = (Vec::new(), 0);
    pair.open();
    for _ in 0..80 {
        match random.below(9) {
            0..=2 => {
                let qos = ALL[random.below(3) as usize];
                let text = format!("{} {sent:03}", qos as u8);
                sent += 1;
                tokens.push(pair.client.publish(message("up", &text, qos), pair.now).unwrap());
                // Like a broker: not before there is a session to keep it in.
                if pair.resumable() {
                    pair.server.publish(message("down", &text, qos), pair.now).unwrap();
                }
            }
            3 => tokens.push(pair.client.subscribe(subscribe("down", QoS::ExactlyOnce)).unwrap()),
            4 => {
                for _ in 0..random.below(20) {
                    pair.step();
                }
            }
            5 => acknowledge(&mut pair, &mut random),
            6 => pair.cut_after = Some(1 + random.below(60) as usize),
            7 => {
                pair.cut_after = None;
                if random.below(3) == 0 {
                    pair.reconnect();
                }
            }
            _ => _ = pair.advance(secs(100)),
        }
    }
    // The faults stop.
    pair.cut_after = None;
    (pair.client_acks, pair.server_acks) = (true, true);
    for _ in 0..3 {
        pair.reconnect();
        acknowledge_all(&mut pair);
        pair.settle();
    }
    let mut ended: Vec<_> = pair.client_events.iter().filter_map(ends).collect();
    ended.sort();
    assert_eq!(ended, tokens, "seed {seed}: every token ends once");
    for messages in [&pair.server_messages, &pair.client_messages] {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut firsts: BTreeMap<QoS, Vec<String>> = BTreeMap::new();
        for (text, message) in Pair::payloads(messages).into_iter().zip(messages) {
            let count = seen.entry(text.clone()).or_default();
            *count += 1;
            if *count == 1 {
                firsts.entry(message.publish.qos()).or_default().push(text);
            } else {
                assert_eq!(message.publish.qos(), QoS::AtLeastOnce, "seed {seed}: doubled");
            }
        }
        assert!(firsts.values().all(|texts| texts.is_sorted()), "seed {seed}: order");
    }
    let received = Pair::payloads(&pair.server_messages);
    assert!(received.len() <= sent * 30);
    assert!(pair.client.is_idle() && pair.server.is_idle(), "seed {seed}: at rest");
    assert_eq!(pair.client.stats(), Default::default(), "seed {seed}");
    assert_eq!(pair.server.stats(), Default::default(), "seed {seed}");
}

fn acknowledge(pair: &mut Pair, random: &mut Random) {
    for ack in pair.client_acks_of() {
        if random.below(2) == 0 {
            pair.client.ack(ack, ReasonCode::SUCCESS);
        }
    }
    let acks: Vec<_> = pair.server_messages.iter().filter_map(|message| message.ack).collect();
    for ack in acks.into_iter().rev() {
        if random.below(2) == 0 {
            pair.server.ack(ack, ReasonCode::SUCCESS);
        }
    }
}

fn acknowledge_all(pair: &mut Pair) {
    for ack in pair.client_acks_of() {
        pair.client.ack(ack, ReasonCode::SUCCESS);
    }
    let acks: Vec<_> = pair.server_messages.iter().filter_map(|message| message.ack).collect();
    for ack in acks {
        pair.server.ack(ack, ReasonCode::SUCCESS);
    }
}

// class: 13, 17, 20, 22, 25, 29, 43
#[test]
fn random_histories_lose_and_double_nothing() {
    for version in [Version::V31, Version::V311, Version::V5] {
        for seed in 0..400 {
            history(version, seed);
        }
    }
}

/// Feeds packets and pieces of packets in any order; nothing may panic, and what leaves is well-formed.
fn babble<R: Role>(mut solo: Solo<R>, random: &mut Random) {
    let packets = one_of_each(solo.version);
    for _ in 0..40 {
        let mut bytes = packets[random.below(packets.len() as u64) as usize].clone();
        match random.below(6) {
            0 => {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.below(256) as u8;
            }
            1 => bytes.truncate(1 + random.below(bytes.len() as u64) as usize),
            _ => {}
        }
        solo.feed_raw(&bytes);
        let wait = secs(random.below(30));
        solo.wait(wait);
        for message in solo.messages() {
            if let Some(ack) = message.ack {
                solo.session.ack(ack, ReasonCode::new(random.below(256) as u8));
            }
        }
        let mut out = bytes::BytesMut::from(&solo.sent_raw()[..]);
        while let Some(frame) = codec::frame(&mut out, u32::MAX).unwrap() {
            codec::decode(&frame, solo.version).unwrap();
        }
        assert!(out.is_empty());
    }
}

// class: 4
#[test]
fn no_bytes_make_a_session_panic() {
    for version in [Version::V31, Version::V311, Version::V5] {
        for seed in 0..300 {
            let mut random = Random(seed);
            babble(Solo::client(durable(version)), &mut random);
            let mut solo = Solo::accepted(durable(version), ConnAck::default());
            solo.publish("a", QoS::ExactlyOnce);
            solo.publish("b", QoS::AtLeastOnce);
            solo.session.subscribe(subscribe("a", QoS::AtMostOnce)).unwrap();
            solo.sent();
            babble(solo, &mut random);
            babble(Solo::server(ServerConfig::default(), version), &mut random);
            babble(Solo::plain(version), &mut random);
        }
    }
}
