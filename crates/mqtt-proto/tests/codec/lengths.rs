//! Lengths: of packets, of what lies in them, and how packets are cut from a stream.

use bytes::{Buf, Bytes, BytesMut};
use mqtt_proto::{
    Ack, DecodeCause, Packet, PacketType, Publish, QoS, ReasonCode, Text, TxBuf, Version,
    Version::*,
    codec::{self, PublishHeader},
};

use crate::hex::{self, decode_bytes, encode, hex, id, refused_at, show, topic, variable};

/// The values at which the length of a Variable Byte Integer changes: table 1-1.
const EDGES: [(u32, &[u8]); 9] = [
    (0, &[0x00]),
    (1, &[0x01]),
    (127, &[0x7F]),
    (128, &[0x80, 0x01]),
    (16_383, &[0xFF, 0x7F]),
    (16_384, &[0x80, 0x80, 0x01]),
    (2_097_151, &[0xFF, 0xFF, 0x7F]),
    (2_097_152, &[0x80, 0x80, 0x80, 0x01]),
    (268_435_455, &[0xFF, 0xFF, 0xFF, 0x7F]),
];

/// Reads a Remaining Length through the only door that there is: the limit that it exceeds.
fn announced(bytes: &[u8]) -> u32 {
    let mut input = BytesMut::from(&[&[0x30], bytes].concat()[..]);
    let error = codec::frame(&mut input, 0).unwrap_err();
    assert_eq!(error.cause(), DecodeCause::TooLarge);
    assert_eq!(error.size_and_limit().unwrap().1, 0);
    error.size_and_limit().unwrap().0
}

// covers: v3 X3-2.2.3-a, v5 X5-1.5.5-a, v5 X5-2.1.4-a, v3 X3-2.2.3-b
// class: 1
#[test]
fn remaining_length_at_its_edges() {
    for (value, bytes) in EDGES {
        assert_eq!(variable(value as usize), bytes);
        assert_eq!(announced(bytes), 1 + bytes.len() as u32 + value);
        let size = 1 + bytes.len() + value as usize;
        // One byte at a time: more is wanted until the header is there, then until all is.
        let mut input = BytesMut::new();
        for byte in [&[0x30][..], bytes].concat() {
            assert_eq!(codec::frame(&mut input, u32::MAX), Ok(None));
            input.extend_from_slice(&[byte]);
        }
        if value > 2_097_152 {
            assert_eq!(codec::frame(&mut input, u32::MAX), Ok(None));
            continue;
        }
        input.resize(size.saturating_sub(1), 0);
        assert_eq!(codec::frame(&mut input, u32::MAX), Ok(None), "{value}");
        input.resize(size + 1, 0);
        let frame = codec::frame(&mut input, u32::MAX).unwrap().unwrap();
        assert_eq!((frame.len(), input.len()), (size, 1), "{value}");
    }
}

// The algorithm of the 3.1.1 standard gives up at the fourth byte; ours does not.
// covers: v3 X3-2.2.3-a, v5 MQTT-1.5.5-1
// class: 1
#[test]
fn a_packet_of_four_length_bytes_both_ways() {
    let payload = Bytes::from(vec![b'x'; 2_097_152]);
    for version in hex::ALL_VERSIONS {
        let publish = Publish::new(topic("a"), payload.clone());
        let frame = hex::encode_publish(&publish, &Default::default(), version).unwrap();
        let rest = if version == V5 { 4 } else { 3 };
        assert_eq!(frame[1..5], variable(payload.len() + rest)[..]);
        assert_eq!(frame[1..5].len(), 4);
        let Packet::Publish(packet) = codec::decode(&frame, version).unwrap() else { panic!() };
        assert!(packet.payload() == payload);
    }
}

// covers: v5 MQTT-1.5.5-1
// class: 1
#[test]
fn written_lengths_are_as_short_as_they_can_be() {
    for (value, bytes) in EDGES.into_iter().filter(|(value, _)| (5..=2_097_152).contains(value)) {
        // The topic takes 3 bytes, the Property Length 1.
        let payload = Bytes::from(vec![0; value as usize - 4]);
        let publish = Publish::new(topic("a"), payload);
        let frame = hex::encode_publish(&publish, &Default::default(), V5).unwrap();
        assert_eq!(&frame[1..=bytes.len()], bytes);
        assert_eq!(frame.len(), 1 + bytes.len() + value as usize);
    }
    let mut publish = Publish::new(topic("a"), "");
    for (value, bytes) in EDGES.into_iter().filter(|(value, _)| *value > 0) {
        publish.properties.edit().subscription_identifiers = vec![value];
        let frame = hex::encode_publish(&publish, &Default::default(), V5).unwrap();
        assert_eq!(frame[7..], *bytes, "{value}");
    }
}

// covers: v5 X5-1.5.5-a, v5 MQTT-1.5.5-1, v3 X3-2.2.3-a
// class: 1
#[test]
fn remaining_lengths_that_are_none() {
    let too_long: [&[u8]; 3] =
        [&[0x80, 0x80, 0x80, 0x80], &[0xFF, 0xFF, 0xFF, 0xFF], &[0x80, 0x80, 0x80, 0x80, 0x01]];
    let over_long: [&[u8]; 5] = [
        &[0x80, 0x00],
        &[0x80, 0x80, 0x00],
        &[0x80, 0x80, 0x80, 0x00],
        &[0xFF, 0x00],
        &[0xFF, 0xFF, 0xFF, 0x00],
    ];
    for bytes in too_long.into_iter().chain(over_long) {
        for first in [0x10, 0x20, 0x30, 0x40, 0x62, 0xC0] {
            let frame = [&[first], bytes].concat();
            let mut input = BytesMut::new();
            // Fed byte by byte, it fails with the byte that makes it wrong and not later.
            let fails_at = 1 + bytes.len().min(4);
            for (at, byte) in frame.iter().enumerate() {
                input.extend_from_slice(&[*byte]);
                let result = codec::frame(&mut input, u32::MAX);
                if at + 1 < fails_at {
                    assert_eq!(result, Ok(None), "{}", show(&frame));
                } else {
                    let error = result.unwrap_err();
                    assert_eq!(error.cause(), DecodeCause::RemainingLength, "{}", show(&frame));
                    assert_eq!((error.offset(), error.reason().get()), (1, 0x81));
                }
            }
            for version in hex::ALL_VERSIONS {
                let cause = DecodeCause::RemainingLength;
                refused_at(version, &frame.clone().into(), cause, 0x81, 1);
            }
        }
    }
}

// covers: v5 X5-3.1.2-h, v5 X5-3.2.2-j
// class: 10
#[test]
fn packets_larger_than_permitted_are_known_by_their_header() {
    for (packet, size) in [("30 05 0003'a/b'", 7), ("40 02 0001", 4), ("C0 00", 2)] {
        let whole = hex(packet);
        for limit in 0..10 {
            // The header alone, and the whole packet.
            for bytes in [&whole[..2], &whole[..]] {
                let result = codec::frame(&mut BytesMut::from(bytes), limit);
                if limit < size {
                    let error = result.unwrap_err();
                    assert_eq!(error.cause(), DecodeCause::TooLarge, "{packet}, {limit}");
                    assert_eq!(error.reason(), ReasonCode::PACKET_TOO_LARGE);
                    assert_eq!(error.size_and_limit(), Some((size, limit)));
                    assert_eq!(error.packet(), PacketType::from_u8(whole[0] >> 4));
                } else if bytes.len() as u32 == size {
                    assert_eq!(result, Ok(Some(whole.clone())));
                } else {
                    assert_eq!(result, Ok(None));
                }
            }
        }
    }
}

/// A packet of every type, with every kind of field in it.
fn samples() -> Vec<(Version, Bytes)> {
    let v5 = [
        "1041 0004'MQTT' 05 EE 003C 13 11 0000000A 15 0001'm' 16 0001'd' 26 0001'k' 0000 0001'c' 10 18 00000005 08 0001'r' 26 0001'k' 0001'v' 0001'w' 0003'bye' 0001'u' 0002'pw'",
        "2012 01 00 0F 12 0002'id' 13 001E 26 0001'k' 0001'v'",
        "3A17 0003'a/b' 0007 0D 09 0002'cd' 0B 8001 03 0002'ct' 'hi'",
        "400B 0001 10 07 26 0001'k' 0001'v'",
        "5009 0001 80 05 1F 0002'no'",
        "6209 0001 92 05 1F 0002'no'",
        "7009 0001 92 05 1F 0002'no'",
        "8215 0001 0A 0B 8001 26 0001'k' 0001'v' 0001'a' 01 0001'b' 2E",
        "9009 000A 04 1F 0001'x' 00 80",
        "A20F 0001 07 26 0001'k' 0001'v' 0003'a/b'",
        "B009 000A 04 1F 0001'x' 00 11",
        "C0 00",
        "D0 00",
        "E00B 9D 09 1C 0001's' 1F 0002'no'",
        "F00A 18 08 15 0001'm' 16 0001'd'",
    ];
    let v311 = [
        "101C 0004'MQTT' 04 EE 003C 0001'c' 0001'w' 0003'bye' 0001'u' 0002'pw'",
        "20 02 01 00",
        "3A09 0003'a/b' 0007 'hi'",
        "40 02 0001",
        "50 02 0001",
        "62 02 0001",
        "70 02 0001",
        "820A 0001 0001'a' 01 0001'b' 02",
        "9004 000A 00 80",
        "A20A 0001 0003'a/b' 0001'c'",
        "B0 02 000A",
        "C0 00",
        "D0 00",
        "E0 00",
    ];
    let v5 = v5.iter().map(|text| (V5, hex(text)));
    v5.chain(v311.iter().map(|text| (V311, hex(text)))).collect()
}

#[test]
fn the_samples_are_right() {
    for (version, frame) in samples() {
        let packet = codec::decode(&frame, version)
            .unwrap_or_else(|error| panic!("{}: {error}", show(&frame)));
        let written = encode(&packet, version).unwrap();
        assert_eq!(written.len(), frame.len(), "{}", show(&frame));
    }
}

// What is left is always shorter than the packet says it is, so it is never "more bytes, please".
// covers: v5 X5-2.1.4-a, v3 X3-2.2.3-b, v5 MQTT-3.1.4-1, v3 MQTT-3.1.4-1
// class: 3
// class: 5
#[test]
fn packets_cut_short_with_a_header_that_agrees() {
    for (version, frame) in samples() {
        for len in 0..frame.len() - 2 {
            let cut = hex::framed(frame[0], &frame[2..2 + len]);
            let mut input = BytesMut::from(&cut[..]);
            let cut = codec::frame(&mut input, u32::MAX).unwrap().expect("the frame is complete");
            let case = show(&cut);
            match codec::decode(&cut, version) {
                Ok(packet) => {
                    // Only what may be left out may be missing: the payload of a PUBLISH, the last
                    // of several filters or codes, and reason and properties.
                    let kind = packet.packet_type();
                    let may_end_here = !matches!(
                        kind,
                        PacketType::Connect | PacketType::ConnAck | PacketType::PingReq
                    );
                    assert!(may_end_here, "{case}");
                    let again = encode(&packet, version).unwrap();
                    assert_eq!(codec::decode(&again, version), Ok(packet), "{case}");
                }
                Err(error) => {
                    let inner = matches!(
                        error.cause(),
                        DecodeCause::Truncated
                            | DecodeCause::NoFilters
                            | DecodeCause::NoReasonCodes
                            | DecodeCause::AuthenticationMethodMissing
                    );
                    assert!(inner, "{case}: {error}");
                    assert!(error.offset() <= cut.len(), "{case}: {error}");
                }
            }
        }
    }
}

// covers: v5 X5-2.1.4-a, v5 X5-2.3-a, v3 X3-2.2.3-b, v3 X3-2.4-a
// class: 6
#[test]
fn bytes_left_over() {
    use PacketType::*;
    for (version, frame) in samples() {
        let kind = PacketType::from_u8(frame[0] >> 4).unwrap();
        let body = [&frame[2..], &[0]].concat();
        let longer = hex::framed(frame[0], &body);
        match kind {
            // A longer payload, and one more code or a filter that is cut short.
            Publish => assert!(codec::decode(&longer, version).is_ok()),
            SubAck => assert!(codec::decode(&longer, version).is_ok()),
            UnsubAck if version == V5 => assert!(codec::decode(&longer, version).is_ok()),
            Subscribe | Unsubscribe => {
                let error = codec::decode(&longer, version).unwrap_err();
                assert_eq!(error.cause(), DecodeCause::Truncated);
            }
            // An acknowledgement of 3.x has no reason code, one of 5.0 has no payload.
            _ => {
                let at = longer.len() - 1;
                refused_at(version, &longer, DecodeCause::TrailingBytes, 0x81, at);
            }
        }
        // One byte beyond the frame, or one too few, is the caller's mistake and no packet.
        let beyond = [&frame[..], &[0]].concat();
        refused_at(version, &beyond.into(), DecodeCause::TrailingBytes, 0x81, frame.len());
        let at = frame.len() - 1;
        if at > 1 {
            refused_at(version, &frame.slice(..at), DecodeCause::Truncated, 0x81, at);
        }
    }
}

// Every pair of bytes is set to 0, to one less and one more than it was, and to 65,535: among
// them are all lengths of strings.
// class: 3
// class: 4
// class: 5
#[test]
fn every_length_field_spoiled() {
    for (version, frame) in samples() {
        for at in 2..frame.len() {
            let mut wrong = Vec::new();
            if let Some(pair) = frame.get(at..at + 2) {
                let value = u16::from_be_bytes([pair[0], pair[1]]);
                for spoiled in [0, value.wrapping_sub(1), value.wrapping_add(1), 65_535] {
                    let mut bytes = frame.to_vec();
                    bytes[at..at + 2].copy_from_slice(&spoiled.to_be_bytes());
                    wrong.push(bytes);
                }
            }
            for spoiled in 0..=255 {
                let mut bytes = frame.to_vec();
                bytes[at] = spoiled;
                wrong.push(bytes);
            }
            for bytes in wrong {
                let mut input = BytesMut::from(&bytes[..]);
                let whole = codec::frame(&mut input, u32::MAX).unwrap();
                assert_eq!(whole.as_deref(), Some(&bytes[..]), "never incomplete");
                match decode_bytes(&bytes, version) {
                    Ok(packet) => {
                        let again = encode(&packet, version).unwrap();
                        assert_eq!(codec::decode(&again, version), Ok(packet), "{}", show(&bytes));
                    }
                    Err(error) => assert!(error.offset() <= bytes.len(), "{error}"),
                }
            }
        }
    }
}

// A string length that reaches beyond the packet, in the fields where it is known what follows.
// class: 3
#[test]
fn string_lengths_that_reach_beyond_the_packet() {
    for (version, text) in [
        (V311, "10 0D 0004'MQTT' 04 02 0000 0002 ^'c'"),
        (V311, "10 0D 0004'MQTT' 04 02 0000 FFFF ^'c'"),
        (V311, "30 05 FFFF ^'a/b'"),
        (V311, "82 06 0001 0003 ^'a' 00"),
        (V311, "A2 06 0001 FFFF ^'ab'"),
        (V5, "82 07 0001 00 FFFF ^'a' 00"),
        (V5, "A2 06 0001 00 0002 ^'a'"),
        (V5, "10 11 0004'MQTT' 05 C2 0000 00 0000 0000 0001 ^"),
        (V5, "10 10 0004'MQTT' 05 42 0000 00 0000 FFFF ^'p'"),
        (V5, "40 04 0001 00 01 ^"),
        (V5, "40 05 0001 00 FF7F ^"),
    ] {
        hex::refused(version, text, DecodeCause::Truncated, 0x81);
    }
    for (number, value) in [(0x1F, 0), (0x1F, 2), (0x1F, 65_535)] {
        let [high, low] = u16::to_be_bytes(value);
        let frame = [0x40, 8, 0, 1, 0, 4, number, high, low, b'x'];
        let error = decode_bytes(&frame, V5).unwrap_err();
        let wanted = if value == 0 {
            DecodeCause::PropertyUnknown // The `x` is then taken for a property.
        } else {
            DecodeCause::PropertyLength
        };
        assert_eq!(error.cause(), wanted, "{value}");
    }
}

// covers: v5 X5-3.4.2-a, v5 X5-3.4.2-b, v5 X5-3.14.2-a, v5 X5-3.15.2-a
// class: 6
#[test]
fn short_forms_of_every_length() {
    let ack = |reason| Ack::new(id(1), reason);
    let not_found = ReasonCode::PACKET_IDENTIFIER_NOT_FOUND;
    type Build = fn(Ack) -> Packet;
    let acks: [(u8, Build, ReasonCode); 4] = [
        (0x40, Packet::PubAck, ReasonCode::QUOTA_EXCEEDED),
        (0x50, Packet::PubRec, ReasonCode::QUOTA_EXCEEDED),
        (0x62, Packet::PubRel, not_found),
        (0x70, Packet::PubComp, not_found),
    ];
    for (first, build, failure) in acks {
        let success = build(ack(ReasonCode::SUCCESS));
        let failed = build(ack(failure));
        for (body, packet, shortest) in [
            (vec![0, 1], &success, 2),
            (vec![0, 1, 0], &success, 2),
            (vec![0, 1, 0, 0], &success, 2),
            (vec![0, 1, failure.get()], &failed, 3),
            (vec![0, 1, failure.get(), 0], &failed, 3),
        ] {
            let frame = hex::framed(first, &body);
            assert_eq!(codec::decode(&frame, V5).as_ref(), Ok(packet), "{}", show(&frame));
            let wanted = hex::framed(first, &body[..shortest]);
            assert_eq!(encode(packet, V5), Ok(wanted));
        }
    }
    for len in [0, 1, 2] {
        let bye = decode_bytes(&hex::framed(0xE0, &[0, 0][..len]), V5).unwrap();
        assert_eq!(bye, Packet::Disconnect(Default::default()));
        assert_eq!(encode(&bye, V5), Ok(hex("E0 00")));
    }
    assert_eq!(decode_bytes(&[0xF0, 0], V5), Ok(Packet::Auth(Box::default())));
}

// A payload that fits in no packet is refused by its length; nothing is written.
// covers: v5 X5-2.1.4-a
// class: 10
#[test]
fn the_largest_packet_and_one_byte_more() {
    // Untouched zeros: the system does not even provide memory for them.
    let payload = Bytes::from(vec![0; codec::MAX_REMAINING_LENGTH]);
    for (version, rest) in [(V31, 3), (V311, 3), (V5, 4)] {
        let largest = payload.slice(..payload.len() - rest);
        let publish = Publish::new(topic("a"), largest);
        let mut out = TxBuf::new();
        codec::encode_publish(&publish, &Default::default(), version, &mut out).unwrap();
        assert_eq!(out.len(), 5 + codec::MAX_REMAINING_LENGTH);
        assert!(out.capacity() < 100, "the payload is referred to, not copied");
        let more = Publish::new(topic("a"), payload.slice(..payload.len() - rest + 1));
        let len = codec::MAX_REMAINING_LENGTH + 1;
        let error = hex::encode_publish(&more, &Default::default(), version).unwrap_err();
        assert_eq!(error, mqtt_proto::EncodeError::PacketTooLarge { len });
        let error = codec::publish_packet(&more.qos(QoS::AtMostOnce), &Default::default());
        assert!(error.is_err());
    }
}

// Somebody who speaks another protocol is told so, as soon as it is certain.
#[test]
fn other_protocols_are_recognized() {
    let http = DecodeCause::ForeignHttp;
    for (bytes, cause) in [
        (&b"GET / HTTP/1.1\r\n"[..], http),
        (b"POST /mqtt HTTP/1.1\r\n", http),
        (b"PUT /mqtt HTTP/1.1\r\n", http),
        (b"HTTP/1.1 400 Bad Request\r\n", http),
        (b"GE", http),
        (b"\x16\x03\x01\x02\x00", DecodeCause::ForeignTls),
        (b"\x15\x03\x03\x00\x02", DecodeCause::ForeignTls),
        (b"\x16\x04", DecodeCause::ReservedFlags),
        (b"Hello", DecodeCause::ReservedFlags),
    ] {
        let error = codec::frame(&mut BytesMut::from(bytes), u32::MAX).unwrap_err();
        assert_eq!((error.cause(), error.offset()), (cause, 0), "{}", show(bytes));
        assert_eq!(error.reason(), ReasonCode::MALFORMED_PACKET);
    }
    // `P` and what follows is also how a PUBREC of 79 or 85 bytes begins.
    for text in ["50 4F 5354 00", "50 55 5420 00"] {
        assert_eq!(codec::frame(&mut BytesMut::from(&hex(text)[..]), u32::MAX), Ok(None));
    }
}

/// What a PUBLISH with one property of so many bytes looks like, written by hand.
fn by_hand(qos: QoS, text: &str, payload: &[u8]) -> Vec<u8> {
    let mut properties = vec![0x03];
    properties.extend((text.len() as u16).to_be_bytes());
    properties.extend(text.as_bytes());
    let mut body = b"\x00\x01t".to_vec();
    if qos != QoS::AtMostOnce {
        body.extend([0, 9]);
    }
    body.extend(variable(properties.len()));
    body.extend(&properties);
    body.extend(payload);
    let mut packet = vec![0x30 | (qos as u8) << 1];
    packet.extend(variable(body.len()));
    packet.extend(&body);
    packet
}

// Where their length, or that of the packet, begins to take a byte more, and where it is written in another way.
// covers: v5 MQTT-1.5.5-1
#[test]
fn publish_with_properties_of_every_length() {
    for (qos, payload) in [(QoS::AtMostOnce, 0), (QoS::AtLeastOnce, 3), (QoS::ExactlyOnce, 2500)] {
        let payload = vec![7; payload];
        for len in (0..300).chain(950..1100).chain(16_200..16_500).chain([65_535]) {
            let text = "x".repeat(len);
            let mut publish = Publish::new(topic("t"), payload.clone()).qos(qos);
            publish.properties.edit().content_type = Some(Text::new(text.as_str()).unwrap());
            let header = PublishHeader { packet_id: Some(id(9)), ..PublishHeader::default() };
            let mut out = TxBuf::new();
            // Behind another packet, as in a stream.
            codec::encode(&Packet::PingReq, Version::V5, &mut out).unwrap();
            codec::encode_publish(&publish, &header, Version::V5, &mut out).unwrap();
            let expected = by_hand(qos, &text, &payload);
            let size = codec::publish_len(&publish, &header, Version::V5).unwrap();
            let written = out.copy_to_bytes(out.remaining());
            assert_eq!((written.len() - 2, size), (expected.len(), expected.len()), "{len}");
            assert!(written[2..] == expected, "{len}");
        }
    }
}

// Where the length of the packet begins to take a byte more, and what is not there without a Packet Identifier or
// in MQTT 3: it is written all the same, and then overwritten.
// covers: v5 MQTT-1.5.5-1, v5 MQTT-2.2.1-2, v3 MQTT-2.3.1-5
#[test]
fn publish_without_properties_of_every_length() {
    let header = PublishHeader { packet_id: Some(id(0x1234)), ..PublishHeader::default() };
    let lengths = [1, 15, 16, 31, 32, 33, 64, 65, 100].into_iter();
    let lengths = lengths.flat_map(|topic| (0..140).map(move |payload| (topic, payload)));
    for (topic_len, payload) in lengths.chain((14_000..14_450).map(|topic| (topic, 2000))) {
        for (version, qos) in VERSIONS_AND_QOS {
            let name = "t".repeat(topic_len);
            let publish = Publish::new(topic(&name), vec![7; payload]).qos(qos);
            let mut body = (topic_len as u16).to_be_bytes().to_vec();
            body.extend(name.as_bytes());
            body.extend(if qos == QoS::AtMostOnce { &[][..] } else { &[0x12, 0x34] });
            body.extend(if version.is_v5() { &[0][..] } else { &[] });
            body.extend(&publish.payload);
            let mut expected = vec![0x30 | (qos as u8) << 1];
            expected.extend(variable(body.len()));
            expected.extend(&body);
            let mut out = hex::used(expected.len() + 8);
            codec::encode_publish(&publish, &header, version, &mut out).unwrap();
            assert!(out.chunk() == expected, "{version}, {qos:?}, {topic_len}, {payload}");
        }
    }
}

const VERSIONS_AND_QOS: [(Version, QoS); 5] = [
    (V311, QoS::AtMostOnce),
    (V311, QoS::AtLeastOnce),
    (V5, QoS::AtMostOnce),
    (V5, QoS::AtLeastOnce),
    (V5, QoS::ExactlyOnce),
];

// A buffer that has as much room as a packet takes, and a little less or more.
#[test]
fn publish_at_the_end_of_a_buffer() {
    for (version, qos) in VERSIONS_AND_QOS {
        let header = PublishHeader { packet_id: Some(id(9)), ..PublishHeader::default() };
        let mut publish = Publish::new(topic("a/b"), "").qos(qos);
        for properties in [false, version.is_v5()] {
            if properties {
                publish.properties.edit().payload_format_indicator = Some(true);
            }
            let mut out = TxBuf::new();
            codec::encode_publish(&publish, &header, version, &mut out).unwrap();
            for room in 5..out.len() + 12 {
                let mut used = hex::used(room);
                codec::encode_publish(&publish, &header, version, &mut used).unwrap();
                assert_eq!(used.chunk(), out.chunk(), "{version}, {qos:?}, {room}");
            }
        }
    }
}
