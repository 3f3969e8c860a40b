//! The grid of MQTT 5.0 table 2-4: 27 properties against all packets and the Will Properties.

use bytes::Bytes;
use mqtt_proto::{DecodeCause, PacketType, PacketType::*, Version, codec};

use crate::hex::{self, field, framed, refused_at, variable};

/// Where properties may stand: in a packet, or among the Will Properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    In(PacketType),
    Will,
}

/// A row of the table: identifier, where it may stand, good values, and bad ones with their cause.
struct Row {
    number: u8,
    places: &'static [Place],
    good: Vec<Vec<u8>>,
    bad: Vec<(Vec<u8>, DecodeCause, u8)>,
}

const MESSAGE: &[Place] = &[Place::In(Publish), Place::Will];
const CONNECTING: &[Place] = &[Place::In(Connect), Place::In(ConnAck)];
const CONNACK: &[Place] = &[Place::In(ConnAck)];
const AUTHENTICATING: &[Place] = &[Place::In(Connect), Place::In(ConnAck), Place::In(Auth)];
const WITH_REASON_STRING: &[Place] = &[
    Place::In(ConnAck),
    Place::In(PubAck),
    Place::In(PubRec),
    Place::In(PubRel),
    Place::In(PubComp),
    Place::In(SubAck),
    Place::In(UnsubAck),
    Place::In(Disconnect),
    Place::In(Auth),
];

/// Everywhere that properties exist.
const EVERYWHERE: [Place; 14] = [
    Place::In(Connect),
    Place::In(ConnAck),
    Place::In(Publish),
    Place::In(PubAck),
    Place::In(PubRec),
    Place::In(PubRel),
    Place::In(PubComp),
    Place::In(Subscribe),
    Place::In(SubAck),
    Place::In(Unsubscribe),
    Place::In(UnsubAck),
    Place::In(Disconnect),
    Place::In(Auth),
    Place::Will,
];

fn flag(number: u8, places: &'static [Place]) -> Row {
    let bad = [2, 3, 0x80, 0xFF].map(|byte| (vec![byte], DecodeCause::PropertyValue, 0x82));
    Row { number, places, good: vec![vec![0], vec![1]], bad: bad.to_vec() }
}

fn integer(number: u8, places: &'static [Place], width: usize) -> Row {
    let good = vec![vec![0; width], vec![0xFF; width], [&vec![0; width - 1][..], &[1]].concat()];
    Row { number, places, good, bad: vec![] }
}

fn non_zero(number: u8, places: &'static [Place], width: usize, reason: u8) -> Row {
    let cause = match reason {
        0x94 => DecodeCause::TopicAliasZero,
        _ => DecodeCause::PropertyValue,
    };
    let mut row = integer(number, places, width);
    row.bad.push((row.good.remove(0), cause, reason));
    row
}

fn string(number: u8, places: &'static [Place]) -> Row {
    let good = vec![field(b""), field(b"text"), field("\u{10FFFF}".as_bytes())];
    Row { number, places, good, bad: vec![] }
}

fn binary(number: u8, places: &'static [Place]) -> Row {
    Row { number, places, good: vec![field(b""), field(&[0, 0xFF, 0xC0])], bad: vec![] }
}

/// The table, written down from the standard and not from the code.
fn table() -> Vec<Row> {
    let topic = Row { good: vec![field(b"r/1")], ..string(0x08, MESSAGE) };
    let identifier = Row {
        number: 0x0B,
        places: &[Place::In(Publish), Place::In(Subscribe)],
        good: [1, 127, 128, 268_435_455].map(variable).to_vec(),
        bad: vec![(vec![0], DecodeCause::PropertyValue, 0x82)],
    };
    let pair = [field(b"name"), field(b"value")].concat();
    let expiry = &[Place::In(Connect), Place::In(ConnAck), Place::In(Disconnect)];
    vec![
        flag(0x01, MESSAGE),
        integer(0x02, MESSAGE, 4),
        string(0x03, MESSAGE),
        topic,
        binary(0x09, MESSAGE),
        identifier,
        integer(0x11, expiry, 4),
        string(0x12, CONNACK),
        integer(0x13, CONNACK, 2),
        string(0x15, AUTHENTICATING),
        binary(0x16, AUTHENTICATING),
        flag(0x17, &[Place::In(Connect)]),
        integer(0x18, &[Place::Will], 4),
        flag(0x19, &[Place::In(Connect)]),
        string(0x1A, CONNACK),
        string(0x1C, &[Place::In(ConnAck), Place::In(Disconnect)]),
        string(0x1F, WITH_REASON_STRING),
        non_zero(0x21, CONNECTING, 2, 0x82),
        integer(0x22, CONNECTING, 2),
        non_zero(0x23, &[Place::In(Publish)], 2, 0x94),
        flag(0x24, CONNACK),
        flag(0x25, CONNACK),
        Row { number: 0x26, places: &EVERYWHERE, good: vec![pair], bad: vec![] },
        non_zero(0x27, CONNECTING, 4, 0x82),
        flag(0x28, CONNACK),
        flag(0x29, CONNACK),
        flag(0x2A, CONNACK),
    ]
}

/// Returns a packet with that property block, and where the block begins.
fn packet(place: Place, block: &[u8]) -> (Bytes, usize) {
    let properties = [variable(block.len()), block.to_vec()].concat();
    let (first, before, after): (u8, &[u8], &[u8]) = match place {
        Place::In(Connect) => (0x10, b"\0\x04MQTT\x05\x02\0\0", b"\0\x01c"),
        Place::Will => (0x10, b"\0\x04MQTT\x05\x06\0\0\0\0\x01c", b"\0\x01w\0\x01p"),
        Place::In(ConnAck) => (0x20, b"\0\0", b""),
        Place::In(Publish) => (0x30, b"\0\x01a", b"payload"),
        Place::In(PubAck) => (0x40, b"\0\x01\0", b""),
        Place::In(PubRec) => (0x50, b"\0\x01\0", b""),
        Place::In(PubRel) => (0x62, b"\0\x01\0", b""),
        Place::In(PubComp) => (0x70, b"\0\x01\0", b""),
        Place::In(Subscribe) => (0x82, b"\0\x01", b"\0\x01a\0"),
        Place::In(SubAck) => (0x90, b"\0\x01", b"\0"),
        Place::In(Unsubscribe) => (0xA2, b"\0\x01", b"\0\x01a"),
        Place::In(UnsubAck) => (0xB0, b"\0\x01", b"\0"),
        Place::In(Disconnect) => (0xE0, b"\0", b""),
        Place::In(Auth) => (0xF0, b"\x18", b""),
        Place::In(PingReq | PingResp) => panic!("no properties in {place:?}"),
    };
    let frame = framed(first, &[before, &properties, after].concat());
    let start = frame.len() - after.len() - block.len();
    (frame, start)
}

fn property(number: u8, value: &[u8]) -> Vec<u8> {
    [&[number], value].concat()
}

/// What has to stand before a property so that the packet is right apart from it.
fn company(place: Place, number: u8) -> Vec<u8> {
    let needs_method = place == Place::In(Auth) || (place == Place::In(Connect) && number == 0x16);
    if needs_method && number != 0x15 { property(0x15, &field(b"m")) } else { Vec::new() }
}

#[track_caller]
fn taken(place: Place, block: &[u8]) {
    let (frame, _) = packet(place, block);
    let packet = codec::decode(&frame, Version::V5)
        .unwrap_or_else(|error| panic!("{place:?}: {}: {error}", hex::show(&frame)));
    // One property, or several in ascending order, come back byte for byte.
    let written = hex::encode(&packet, Version::V5).unwrap();
    assert_eq!(hex::show(&written), hex::show(&frame), "{place:?}");
}

#[track_caller]
fn refused(place: Place, good: &[u8], bad: &[u8], cause: DecodeCause, reason: u8) {
    let (frame, start) = packet(place, &[good, bad].concat());
    refused_at(Version::V5, &frame, cause, reason, start + good.len());
}

// covers: v5 X5-2.2.2-c, v5 X5-2.2.2-a
// class: 7
#[test]
fn every_property_in_every_place() {
    let table = table();
    assert_eq!(table.len(), 27);
    let mut allowed = 0;
    for row in &table {
        for place in EVERYWHERE {
            let before = company(place, row.number);
            for value in &row.good {
                let property = property(row.number, value);
                if row.places.contains(&place) {
                    allowed += 1;
                    taken(place, &[&before[..], &property].concat());
                } else {
                    refused(place, &before, &property, DecodeCause::PropertyMisplaced, 0x81);
                }
            }
        }
    }
    assert!(allowed > 100, "{allowed}");
}

// covers: v5 X5-2.2.2-a
// class: 7
#[test]
fn identifiers_that_no_property_has() {
    let known: Vec<u8> = table().iter().map(|row| row.number).collect();
    for number in (0..=255).filter(|number| !known.contains(number)) {
        for place in EVERYWHERE {
            let block = property(number, &[0, 0, 0, 0]);
            refused(place, &[], &block, DecodeCause::PropertyUnknown, 0x81);
        }
    }
}

// PINGREQ and PINGRESP have no properties, not even a Property Length.
// covers: v5 X5-2.2.2-c
#[test]
fn pings_have_no_properties() {
    for first in [0xC0, 0xD0] {
        let frame = Bytes::from(vec![first, 1, 0]);
        refused_at(Version::V5, &frame, DecodeCause::TrailingBytes, 0x81, 2);
    }
}

// covers: v5 X5-3.1.2-e, v5 X5-3.1.2-g, v5 X5-3.1.2-j, v5 X5-3.1.2-k, v5 X5-3.2.2-b
// covers: v5 X5-3.2.2-c, v5 X5-3.2.2-d, v5 X5-3.2.2-e, v5 X5-3.2.2-f, v5 X5-3.3.2-c
// covers: v5 X5-3.8.2-a, v5 MQTT-3.3.2-8
#[test]
fn values_that_a_property_may_not_have() {
    let mut count = 0;
    for row in table() {
        for place in row.places {
            let before = company(*place, row.number);
            for (value, cause, reason) in &row.bad {
                refused(*place, &before, &property(row.number, value), *cause, *reason);
                count += 1;
            }
        }
    }
    assert_eq!(count, 4 * 9 + 2 + 2 + 2 + 1, "flags, identifiers, maxima, sizes, alias");
}

// covers: v5 X5-3.1.2-c, v5 X5-3.1.2-e, v5 X5-3.1.2-g, v5 X5-3.1.2-i, v5 X5-3.1.2-j
// covers: v5 X5-3.1.2-k, v5 X5-3.1.2-m, v5 X5-3.1.3-a, v5 X5-3.2.2-a, v5 X5-3.2.2-b
// covers: v5 X5-3.2.2-c, v5 X5-3.2.2-d, v5 X5-3.2.2-e, v5 X5-3.2.2-f, v5 X5-3.3.2-b
// covers: v5 X5-3.4.2-c, v5 X5-3.8.2-a, v5 X5-3.14.2-c, v5 X5-3.15.2-b, v5 X5-2.2.2-e
// class: 7
#[test]
fn how_often_a_property_may_stand() {
    let mut repeated = 0;
    for row in table() {
        for place in row.places {
            // The same value again, and another one.
            for second in [&row.good[0], row.good.last().unwrap()] {
                let before = [company(*place, row.number), property(row.number, &row.good[0])];
                let (before, again) = (before.concat(), property(row.number, second));
                let subscriptions = row.number == 0x0B && *place == Place::In(Publish);
                if row.number == 0x26 || subscriptions {
                    taken(*place, &[&before[..], &again].concat());
                    repeated += 1;
                } else {
                    refused(*place, &before, &again, DecodeCause::PropertyDuplicate, 0x82);
                }
            }
        }
    }
    assert_eq!(repeated, 2 * (EVERYWHERE.len() + 1));
}

// A duplicate is one even with something between the two.
// class: 7
#[test]
fn duplicates_that_do_not_touch() {
    let user = property(0x26, &[field(b"k"), field(b"v")].concat());
    for row in table().iter().filter(|row| row.number != 0x26) {
        for place in row.places.iter().filter(|place| **place != Place::In(Publish)) {
            let first = property(row.number, &row.good[0]);
            let before = [company(*place, row.number), first.clone(), user.repeat(3)].concat();
            refused(*place, &before, &first, DecodeCause::PropertyDuplicate, 0x82);
        }
    }
}

// Cut at every byte, with the Property Length telling the truth about what is left.
// covers: v5 X5-2.2.2-b
// class: 3
#[test]
fn values_that_run_beyond_the_property_length() {
    for row in table() {
        for place in row.places {
            for value in &row.good {
                let before = company(*place, row.number);
                let whole = property(row.number, value);
                for cut in 1..whole.len() {
                    let block = [&before[..], &whole[..cut]].concat();
                    let (frame, start) = packet(*place, &block);
                    let error = codec::decode(&frame, Version::V5).unwrap_err();
                    let case = format!("{place:?}: {}: {error}", hex::show(&frame));
                    assert_eq!(error.cause(), DecodeCause::PropertyLength, "{case}");
                    assert_eq!(error.reason().get(), 0x81, "{case}");
                    let at = start + before.len();
                    assert!((at + 1..=at + whole.len()).contains(&error.offset()), "{case}");
                }
            }
        }
    }
}

// covers: v5 MQTT-2.2.2-1
// class: 7
#[test]
fn property_blocks_of_all_sizes() {
    // A User Property of `size` bytes, or of several where one does not suffice.
    let block = |mut size: usize| {
        let mut block = Vec::new();
        while size > 0 {
            let step = if size <= 60_000 { size } else { 50_000 };
            block.extend(property(0x26, &[field(b""), field(&vec![b'v'; step - 5])].concat()));
            size -= step;
        }
        block
    };
    for size in [0_usize, 5, 6, 126, 127, 128, 129, 16_383, 16_384, 16_385, 2_097_151, 2_097_152] {
        for place in EVERYWHERE {
            if size == 0 && place == Place::In(Auth) {
                continue;
            }
            let before = company(place, 0x26);
            let block = block(size.saturating_sub(before.len()).max(if size == 0 { 0 } else { 5 }));
            let properties = [before, block].concat();
            let (frame, _) = packet(place, &properties);
            let packet = codec::decode(&frame, Version::V5)
                .unwrap_or_else(|error| panic!("{place:?}, {size}: {error}"));
            let written = hex::encode(&packet, Version::V5).unwrap();
            let again = codec::decode(&written, Version::V5).unwrap();
            assert!(again == packet, "{place:?}, {size}");
            // Acknowledgements and DISCONNECT leave out what is empty.
            assert!(written == frame || size == 0, "{place:?}, {size}");
        }
    }
}
