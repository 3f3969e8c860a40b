//! Reason codes: the whole byte range for each packet, both ways: MQTT 5.0 table 2-6.

use mqtt_proto::{
    AckProperties, DecodeCause, EncodeError, Packet, PacketType, PacketType::*, ReasonCode, Version,
};

use crate::hex::{self, framed, id, refused_at, text};

/// The table, packet by packet, written down from the standard and not from the code.
const TABLE: [(PacketType, &[u8]); 9] = [
    (
        ConnAck,
        &[
            0x00, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90,
            0x95, 0x97, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9F,
        ],
    ),
    (PubAck, &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
    (PubRec, &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99]),
    (PubRel, &[0x00, 0x92]),
    (PubComp, &[0x00, 0x92]),
    (SubAck, &[0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2]),
    (UnsubAck, &[0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91]),
    (
        Disconnect,
        &[
            0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8C, 0x8D, 0x8E, 0x8F, 0x90,
            0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0,
            0xA1, 0xA2,
        ],
    ),
    (Auth, &[0x00, 0x18, 0x19]),
];

fn build(packet: PacketType, reason: ReasonCode) -> Packet {
    let ack = || mqtt_proto::Ack::new(id(1), reason);
    let properties = AckProperties::NONE;
    match packet {
        ConnAck => Packet::ConnAck(Box::new(mqtt_proto::ConnAck::new(reason))),
        PubAck => Packet::PubAck(ack()),
        PubRec => Packet::PubRec(ack()),
        PubRel => Packet::PubRel(ack()),
        PubComp => Packet::PubComp(ack()),
        SubAck => Packet::SubAck(mqtt_proto::SubAck {
            packet_id: id(1),
            reasons: vec![ReasonCode::SUCCESS, reason],
            properties,
        }),
        UnsubAck => Packet::UnsubAck(mqtt_proto::UnsubAck {
            packet_id: id(1),
            reasons: vec![ReasonCode::SUCCESS, reason],
            properties,
        }),
        Disconnect => Packet::Disconnect(mqtt_proto::Disconnect::new(reason)),
        Auth => Packet::Auth(Box::new(mqtt_proto::Auth {
            reason,
            authentication_method: Some(text("m")),
            ..Default::default()
        })),
        other => panic!("{other} has no reason code"),
    }
}

/// Returns the packet on the wire, and where the code stands in it.
fn wire(packet: PacketType, code: u8) -> (Vec<u8>, usize) {
    let first = (packet as u8) << 4 | if packet == PubRel { 2 } else { 0 };
    let (body, at): (Vec<u8>, usize) = match packet {
        ConnAck => (vec![0, code, 0], 1),
        PubAck | PubRec | PubRel | PubComp => (vec![0, 1, code], 2),
        SubAck | UnsubAck => (vec![0, 1, 0, 0, code], 4),
        Disconnect => (vec![code], 0),
        Auth => (vec![code, 4, 0x15, 0, 1, b'm'], 0),
        other => panic!("{other} has no reason code"),
    };
    (framed(first, &body).to_vec(), 2 + at)
}

// covers: v5 X5-2.4-a, v5 MQTT-3.2.2-8, v5 MQTT-3.4.2-1, v5 MQTT-3.5.2-1, v5 MQTT-3.6.2-1
// covers: v5 MQTT-3.7.2-1, v5 MQTT-3.9.3-2, v5 MQTT-3.11.3-2, v5 MQTT-3.14.2-1, v5 MQTT-3.15.2-1
#[test]
fn every_byte_in_every_packet() {
    for (packet, valid) in TABLE {
        for code in 0..=255 {
            let reason = ReasonCode::new(code);
            let (frame, at) = wire(packet, code);
            let built = build(packet, reason);
            let case = format!("{packet}: {reason}");
            assert_eq!(reason.is_valid_in(packet), valid.contains(&code), "{case}");
            if valid.contains(&code) {
                assert_eq!(hex::decode_bytes(&frame, Version::V5), Ok(built.clone()), "{case}");
                let written = hex::encode(&built, Version::V5).unwrap();
                assert_eq!(hex::decode_bytes(&written, Version::V5), Ok(built), "{case}");
            } else {
                let cause = DecodeCause::ReasonCode;
                refused_at(Version::V5, &frame.into(), cause, 0x81, at);
                let error = hex::encode(&built, Version::V5).unwrap_err();
                assert_eq!(error, EncodeError::Invalid { packet, cause }, "{case}");
            }
        }
    }
}

// covers: v5 X5-2.4-a
#[test]
fn packets_without_a_reason_code_have_no_valid_one() {
    let without = [Connect, Publish, Subscribe, Unsubscribe, PingReq, PingResp];
    for packet in without {
        for code in 0..=255 {
            assert!(!ReasonCode::new(code).is_valid_in(packet), "{packet}: {code}");
        }
    }
}

// covers: v3 MQTT-3.9.3-2
#[test]
fn return_codes_of_suback_in_3_x() {
    for version in [Version::V31, Version::V311] {
        for code in 0..=255 {
            let frame = [0x90, 4, 0, 1, 0, code];
            let built = build(SubAck, ReasonCode::new(code));
            if matches!(code, 0..=2 | 0x80) {
                assert_eq!(hex::decode_bytes(&frame, version), Ok(built.clone()));
                assert_eq!(hex::encode(&built, version).unwrap(), frame[..]);
            } else {
                let cause = DecodeCause::ReasonCode;
                refused_at(version, &frame.to_vec().into(), cause, 0x81, 5);
                let error = hex::encode(&built, version).unwrap_err();
                assert_eq!(error, EncodeError::Invalid { packet: SubAck, cause });
            }
        }
    }
}

// covers: v3 X3-3.2.2-b
#[test]
fn return_codes_of_connack_in_3_x() {
    // Section 3.2.2.3, with the reason codes that mean the same.
    let known = [0x00, 0x84, 0x85, 0x88, 0x86, 0x87];
    for version in [Version::V31, Version::V311] {
        for code in 0..=255 {
            let frame = [0x20, 2, 0, code];
            match known.get(usize::from(code)) {
                Some(reason) => {
                    let built = build(ConnAck, ReasonCode::new(*reason));
                    assert_eq!(hex::decode_bytes(&frame, version), Ok(built.clone()));
                    assert_eq!(hex::encode(&built, version).unwrap(), frame[..]);
                }
                None => {
                    let cause = DecodeCause::ReasonCode;
                    refused_at(version, &frame.to_vec().into(), cause, 0x81, 3);
                }
            }
            // What 3.x has no return code for cannot be said in it.
            if !known.contains(&code) {
                let error = hex::encode(&build(ConnAck, ReasonCode::new(code)), version);
                let cause = DecodeCause::ReasonCode;
                assert_eq!(error, Err(EncodeError::Invalid { packet: ConnAck, cause }));
            }
        }
    }
}

// covers: v3 X3-2.2.3-b
#[test]
fn acknowledgements_of_3_x_say_nothing_but_success() {
    for version in [Version::V31, Version::V311] {
        for packet in [PubAck, PubRec, PubRel, PubComp, Disconnect] {
            for code in 1..=255 {
                let error = hex::encode(&build(packet, ReasonCode::new(code)), version);
                let Err(EncodeError::NotInVersion { version: named, .. }) = error else {
                    panic!("{packet} with {code:#x}: {error:?}");
                };
                assert_eq!(named, version);
            }
        }
        let error = hex::encode(&build(UnsubAck, ReasonCode::SUCCESS), version);
        assert!(matches!(error, Err(EncodeError::NotInVersion { .. })), "{error:?}");
    }
}
