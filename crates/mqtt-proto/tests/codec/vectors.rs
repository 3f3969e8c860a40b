//! Vectors: the examples and figures of the standards, and hand-made packets, good and bad.

use mqtt_proto::codec;
use mqtt_proto::{DecodeCause, Packet, Property, PublishPacket, Version, Version::*};

use crate::hex;

mod bad_v3;
mod bad_v5;
mod good_v3;
mod good_v5;

/// A packet that has to be taken.
pub(crate) struct Good {
    versions: &'static [Version],
    hex: &'static str,
    expect: Expect,
    /// How we write it, where that is not how it came.
    canonical: Option<&'static str>,
}

pub(crate) enum Expect {
    Packet(Packet),
    Publish(View),
}

impl From<Packet> for Expect {
    fn from(packet: Packet) -> Expect {
        Expect::Packet(packet)
    }
}

impl From<View> for Expect {
    fn from(view: View) -> Expect {
        Expect::Publish(view)
    }
}

/// What a PUBLISH has to say.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    pub(crate) topic: &'static str,
    pub(crate) payload: &'static [u8],
    /// QoS, DUP and RETAIN.
    pub(crate) flags: (u8, bool, bool),
    pub(crate) packet_id: Option<u16>,
    pub(crate) topic_alias: Option<u16>,
    pub(crate) properties: Vec<Property<'static>>,
}

pub(crate) fn publish(topic: &'static str, payload: &'static str) -> View {
    View {
        topic,
        payload: payload.as_bytes(),
        flags: (0, false, false),
        packet_id: None,
        topic_alias: None,
        properties: Vec::new(),
    }
}

fn good(versions: &'static [Version], hex: &'static str, expect: impl Into<Expect>) -> Good {
    Good { versions, hex, expect: expect.into(), canonical: None }
}

fn written_as(canonical: &'static str, good: Good) -> Good {
    Good { canonical: Some(canonical), ..good }
}

const V3: &[Version] = &[V31, V311];
const ONLY_V31: &[Version] = &[V31];
const ONLY_V311: &[Version] = &[V311];
const ONLY_V5: &[Version] = &[V5];

/// A packet that has to be refused, with `^` before what is wrong in it.
pub(crate) struct Bad(&'static [Version], &'static str, DecodeCause, u8);

fn compare(packet: &PublishPacket, view: &View, case: &str) {
    let properties: Vec<_> = packet.properties().collect();
    assert_eq!(packet.topic(), view.topic, "{case}");
    assert_eq!(packet.topic_bytes(), view.topic.as_bytes(), "{case}");
    assert_eq!(packet.topic_name().is_none(), view.topic.is_empty(), "{case}");
    assert_eq!(packet.payload_bytes(), view.payload, "{case}");
    assert_eq!(packet.payload(), view.payload, "{case}");
    assert_eq!((packet.qos() as u8, packet.dup(), packet.retain()), view.flags, "{case}");
    assert_eq!(packet.packet_id().map(|id| id.get()), view.packet_id, "{case}");
    assert_eq!(packet.topic_alias(), view.topic_alias, "{case}");
    assert_eq!(properties, view.properties, "{case}");
}

fn check_good(table: Vec<Good>) -> usize {
    let mut count = 0;
    for good in table {
        let frame = hex::hex(good.hex);
        for version in good.versions {
            let case = format!("{version}: {}", good.hex);
            let packet = hex::decode(good.hex, *version).unwrap_or_else(|e| panic!("{case}: {e}"));
            match &good.expect {
                Expect::Packet(expected) => assert_eq!(packet, *expected, "{case}"),
                Expect::Publish(view) => match &packet {
                    Packet::Publish(packet) => compare(packet, view, &case),
                    other => panic!("{case}: {other:?}"),
                },
            }
            let canonical = good.canonical.map_or(frame.clone(), hex::hex);
            let written = hex::encode(&packet, *version).unwrap_or_else(|e| panic!("{case}: {e}"));
            assert_eq!(hex::show(&written), hex::show(&canonical), "{case}");
            assert_eq!(written, canonical, "{case}");
            count += 1;
        }
    }
    count
}

fn check_bad(table: Vec<Bad>) -> usize {
    let mut count = 0;
    for Bad(versions, text, cause, reason) in table {
        for version in versions {
            hex::refused(*version, text, cause, reason);
            count += 1;
        }
    }
    count
}

#[test]
fn good_vectors_of_3_x() {
    let count = check_good(good_v3::connect()) + check_good(good_v3::others());
    assert!(count >= 60, "{count}");
}

#[test]
fn good_vectors_of_5_0() {
    let count = check_good(good_v5::connect())
        + check_good(good_v5::publish_and_acks())
        + check_good(good_v5::others());
    assert!(count >= 60, "{count}");
}

#[test]
fn bad_vectors_of_3_x() {
    let count = check_bad(bad_v3::connect()) + check_bad(bad_v3::others());
    assert!(count >= 90, "{count}");
}

#[test]
fn bad_vectors_of_5_0() {
    let count = check_bad(bad_v5::connect())
        + check_bad(bad_v5::publish_and_acks())
        + check_bad(bad_v5::others());
    assert!(count >= 90, "{count}");
}

// A server has to know the version before it can read a CONNECT.
// covers: v5 MQTT-3.1.2-1, v5 MQTT-3.1.2-2, v3 MQTT-3.1.2-1
#[test]
fn the_version_that_a_connect_names() {
    let mut count = 0;
    for good in good_v3::connect().into_iter().chain(good_v5::connect()) {
        for version in good.versions {
            assert_eq!(codec::connect_version(&hex::hex(good.hex)), Ok(*version), "{}", good.hex);
            count += 1;
        }
    }
    assert!(count > 30, "{count}");
    for Bad(_, text, cause, _) in bad_v3::connect().into_iter().chain(bad_v5::connect()) {
        let (frame, mark) = hex::marked(text);
        // A version of ours is one here, although the caller of `decode` wanted another.
        let result = codec::connect_version(&frame);
        if cause == DecodeCause::ProtocolName {
            let error = result.unwrap_err();
            assert_eq!((error.cause(), Some(error.offset())), (cause, mark), "{text}");
        }
    }
    for good in good_v3::others().into_iter().chain(good_v5::others()) {
        let error = codec::connect_version(&hex::hex(good.hex)).unwrap_err();
        assert_eq!(error.cause(), DecodeCause::PacketType, "{}", good.hex);
    }
    let unknown = codec::connect_version(&hex::hex("10 0D 0004'MQTT' 06 02 0000 00 0000"));
    assert_eq!(unknown.unwrap_err().cause(), DecodeCause::ProtocolVersion);
    // The rest of the packet need not be there.
    let whole = hex::hex("10 0D 0004'MQTT' 05 02 0000 00 0000");
    assert_eq!(codec::connect_version(&whole[..9]), Ok(V5));
    for len in 2..9 {
        let error = codec::connect_version(&whole[..len]).unwrap_err();
        assert_eq!(error.cause(), DecodeCause::Truncated, "{len}");
        assert!(error.offset() <= len, "{len}: {error}");
    }
}

// What stands in every packet stays small, and packets can go from thread to thread.
#[test]
fn sizes_and_auto_traits() {
    fn shared<T: Send + Sync + 'static>() -> usize {
        size_of::<T>()
    }
    let word = size_of::<usize>();
    assert_eq!(shared::<mqtt_proto::PublishProperties>(), word);
    assert_eq!(shared::<mqtt_proto::AckProperties>(), word);
    assert!(shared::<PublishPacket>() <= 64, "{}", shared::<PublishPacket>());
    assert!(shared::<mqtt_proto::Ack>() <= 16);
    assert!(shared::<Packet>() <= 64, "{}", shared::<Packet>());
    assert!(shared::<mqtt_proto::DecodeError>() <= 24);
}
