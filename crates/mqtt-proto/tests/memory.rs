//! What a session holds: a binary of its own, because the counting allocator is for all of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::unreachable, unreachable_pub, dead_code, reason = "shared with the scenarios")]

#[path = "session/pair.rs"]
mod pair;
#[path = "session/solo.rs"]
mod solo;

use std::time::Duration;

use allocation_counter::measure;
use mqtt_proto::{
    Ack, AckProperties, ClientConfig, CloseReason, ConnAck, Event, Packet, PacketId, PacketType,
    QoS, ReasonCode, Role, Session, SubAck, Version,
};
use pair::{VERSIONS, message, subscribe};
use solo::{Solo, publish_bytes};

const LIMIT: u64 = 4096;
const BURST: u16 = 10_000;
const ALL: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// Returns how many bytes a session holds that was made so, itself included.
fn held<R: Role>(make: impl FnOnce() -> Session<R>) -> u64 {
    let mut session = None;
    let info = measure(|| session = Some(make()));
    drop(session);
    u64::try_from(info.bytes_current).unwrap() + size_of::<Session<R>>() as u64
}

/// Answers all that was sent, until nothing more is.
fn answer<R: Role>(solo: &mut Solo<R>) {
    loop {
        let sent = solo.sent();
        if sent.is_empty() {
            break;
        }
        let mut answers = Vec::new();
        for packet in sent {
            let answer = match packet {
                Packet::Publish(publish) => match (publish.qos(), publish.packet_id()) {
                    (QoS::AtLeastOnce, Some(id)) => {
                        Packet::PubAck(Ack::new(id, ReasonCode::SUCCESS))
                    }
                    (_, Some(id)) => Packet::PubRec(Ack::new(id, ReasonCode::SUCCESS)),
                    _ => continue,
                },
                Packet::PubRel(ack) => Packet::PubComp(ack),
                Packet::PubRec(ack) => Packet::PubRel(ack),
                Packet::Subscribe(packet_id, _) => Packet::SubAck(SubAck {
                    packet_id,
                    reasons: vec![ReasonCode::SUCCESS],
                    properties: AckProperties::NONE,
                }),
                _ => continue,
            };
            answers.extend(pair::wire(&answer, solo.version));
        }
        solo.feed_raw(&answers);
        solo.events();
    }
}

/// Ten thousand messages of each QoS in both directions, all of them under way at the same time.
fn burst<R: Role>(solo: &mut Solo<R>, version: Version) {
    for qos in ALL {
        for _ in 0..BURST {
            solo.session.publish(message("t", "some payload", qos), solo.now).unwrap();
        }
        answer(solo);
        let mut block = Vec::new();
        for id in 1..=BURST {
            let id = if qos == QoS::AtMostOnce { 0 } else { id };
            block.extend(publish_bytes(version, &message("t", "some payload", qos), id, false));
        }
        solo.feed_raw(&block);
        let messages = solo.messages();
        assert_eq!(messages.len(), usize::from(BURST));
        for message in messages {
            if let Some(ack) = message.ack {
                solo.session.ack(ack, ReasonCode::SUCCESS);
            }
        }
        answer(solo);
    }
    assert!(solo.session.is_idle());
    assert_eq!(solo.session.stats(), Default::default());
}

#[test]
fn an_idle_session_is_small() {
    for version in VERSIONS {
        let client = held(|| Solo::connected(version).session);
        assert!(client < LIMIT, "{version}: {client} bytes");
        let server = held(|| Solo::plain(version).session);
        assert!(server < LIMIT, "{version}: {server} bytes");
    }
}

#[test]
fn an_assigned_client_identifier_keeps_no_block() {
    let assigned_client_identifier = Some(solo::text("assigned"));
    let connack = ConnAck { assigned_client_identifier, ..ConnAck::default() };
    let mut block = pair::wire(&Packet::ConnAck(Box::new(connack)), Version::V5);
    let large = message("t", &"x".repeat(100_000), QoS::AtMostOnce);
    block.extend(publish_bytes(Version::V5, &large, 0, false));
    let mut kept = None;
    let info = measure(|| {
        let mut solo = Solo::client(ClientConfig::new(Version::V5));
        solo.feed_raw(&block);
        let events = solo.events();
        let [Event::Connected { connack, .. }, Event::Message(_)] = &events[..] else { panic!() };
        // An application may keep what the server said for as long as it is connected.
        kept = Some((solo.session, connack.clone()));
    });
    let held = u64::try_from(info.bytes_current).unwrap();
    assert!(held < LIMIT, "{held} bytes");
}

// class: 42
#[test]
fn what_a_burst_needed_is_given_back_after_a_keep_alive_of_silence() {
    for version in VERSIONS {
        let client = held(|| {
            let mut solo = Solo::connected(version);
            burst(&mut solo, version);
            for _ in 0..1000 {
                solo.session.subscribe(subscribe("t", QoS::AtMostOnce)).unwrap();
            }
            answer(&mut solo);
            solo.wait(Duration::from_secs(60));
            assert_eq!(solo.sent(), [Packet::PingReq]);
            solo.feed(&Packet::PingResp);
            assert!(solo.session.is_idle());
            solo.session
        });
        assert!(client < LIMIT, "{version}: {client} bytes");
        let server = held(|| {
            let config = mqtt_proto::ServerConfig {
                receive_maximum: u16::MAX,
                ..mqtt_proto::ServerConfig::default()
            };
            let mut solo = Solo::serving(config, version, solo::connect_packet(false));
            burst(&mut solo, version);
            let mut block = Vec::new();
            for id in 1..=BURST {
                let subscribe = Box::new(subscribe("t", QoS::AtMostOnce));
                let packet = Packet::Subscribe(PacketId::new(id).unwrap(), subscribe);
                block.extend(pair::wire(&packet, version));
            }
            solo.feed_raw(&block);
            for event in solo.events() {
                let Event::Subscribe(request, _) = event else { panic!() };
                solo.session.grant(request, vec![ReasonCode::SUCCESS]).unwrap();
            }
            assert!(solo.sent_types().iter().all(|packet| *packet == PacketType::SubAck));
            solo.feed(&Packet::PingReq);
            assert_eq!(solo.sent(), [Packet::PingResp]);
            solo.session
        });
        assert!(server < LIMIT, "{version}: {server} bytes");
    }
}

// class: 42
#[test]
fn what_a_burst_needed_is_given_back_with_the_connection() {
    for version in VERSIONS {
        let client = held(|| {
            let mut solo = Solo::connected(version);
            burst(&mut solo, version);
            solo.eof();
            solo.session
        });
        assert!(client < LIMIT, "{version}: {client} bytes");
    }
}

/// Feeds packets of that kind to a session that can send nothing, for as long as it listens; returns how
/// many it took, and the most that it held.
fn flood<R: Role>(mut solo: Solo<R>, packet: &[u8], acks: bool) -> (usize, u64) {
    const BLOCK: usize = 1000;
    let block = packet.repeat(BLOCK);
    let (mut taken, mut closed) = (0, None);
    let info = measure(|| {
        while taken < 300_000 && closed.is_none() {
            solo.feed_raw(&block);
            taken += BLOCK;
            for event in solo.events() {
                match event {
                    Event::Message(message) if acks => {
                        solo.session.ack(message.ack.unwrap(), ReasonCode::SUCCESS);
                    }
                    Event::Closed { reason, .. } => closed = Some(reason),
                    _ => {}
                }
            }
        }
    });
    if let Some(reason) = closed {
        let CloseReason::Peer(error) = reason else { panic!("{reason}") };
        let code =
            if acks { ReasonCode::QUOTA_EXCEEDED } else { ReasonCode::RECEIVE_MAXIMUM_EXCEEDED };
        assert_eq!(error.reason(), code, "{error}");
    }
    (taken, info.bytes_max)
}

// class: 42
#[test]
fn a_peer_that_takes_no_answer_is_owed_a_bounded_number() {
    const MOST: u64 = 16 * 1024 * 1024;
    for version in VERSIONS {
        let pings = flood(Solo::plain(version), &pair::wire(&Packet::PingReq, version), true);
        // One block is on its way in.
        assert!(pings.0 == 300_000 && pings.1 < 4 * LIMIT, "{version}: {pings:?}");
        let subscribe = Packet::Subscribe(PacketId::MIN, Box::new(subscribe("t", QoS::AtMostOnce)));
        let ack = || Ack::new(PacketId::MIN, ReasonCode::SUCCESS);
        let mut kinds = vec![
            publish_bytes(version, &message("t", "", QoS::AtLeastOnce), 1, false),
            pair::wire(&Packet::PubRel(ack()), version),
        ];
        if version.is_v5() {
            kinds.push(pair::wire(&Packet::PubRec(ack()), version));
        }
        for packet in &kinds {
            for (taken, bytes) in [
                flood(Solo::plain(version), packet, true),
                flood(Solo::connected(version), packet, true),
            ] {
                assert!(taken < 200_000 && bytes < MOST, "{version}: {taken} {bytes}");
            }
        }
        let (taken, bytes) = flood(Solo::plain(version), &pair::wire(&subscribe, version), true);
        assert!(taken < 200_000 && bytes < MOST, "{version}: {taken} {bytes}");
        // An application that answers none; MQTT 3.1.1 has no Receive Maximum, but identifiers as well.
        let (taken, _) = flood(Solo::connected(version), &kinds[0], false);
        assert!(taken < 67_000, "{version}: {taken}");
    }
}
