//! Strings, binary data and topics, in every place that has one.

use bytes::Bytes;
use mqtt_proto::codec::PublishHeader;
use mqtt_proto::{
    Auth, ConnAck, Connect, DecodeCause, EncodeError, Packet, Publish, PublishFields, QoS, Text,
    TextError, TopicError, TopicFilter, TopicName, Version, Version::*, Will,
};

use crate::hex::{ALL_VERSIONS, decode_bytes, encode, encode_publish, field, framed, refused_at};
use crate::hex::{show, text, topic, variable};

/// A place that has a string: what stands before and after it in the body.
struct Place {
    version: Version,
    first: u8,
    before: Vec<u8>,
    after: Vec<u8>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    Name,
    Filter,
}

impl Place {
    /// The packet with that string, and where the string begins.
    fn packet(&self, string: &[u8]) -> (Bytes, usize) {
        let body = [&self.before[..], &field(string), &self.after].concat();
        let frame = framed(self.first, &body);
        let at = frame.len() - body.len() + self.before.len();
        (frame, at)
    }

    /// The same for a string in a property: the Property Length is worked out.
    fn property(&self, number: &[u8], string: &[u8], rest: &[u8]) -> (Bytes, usize) {
        let property = [number, &field(string), rest].concat();
        let block = [variable(property.len()), property.clone()].concat();
        let body = [&self.before[..], &block, &self.after].concat();
        let frame = framed(self.first, &body);
        let at = frame.len() - self.after.len() - property.len() + number.len();
        (frame, at)
    }
}

fn place(version: Version, first: u8, before: &[u8], after: &[u8], kind: Kind) -> Place {
    Place { version, first, before: before.to_vec(), after: after.to_vec(), kind }
}

/// Every string field that is no property.
fn fields() -> Vec<Place> {
    use Kind::*;
    let mut all = vec![
        place(V5, 0x10, b"\0\x04MQTT\x05\x02\0\0\0", b"", Plain),
        place(V5, 0x10, b"\0\x04MQTT\x05\x06\0\0\0\0\x01c\0", b"\0\0", Name),
        place(V5, 0x10, b"\0\x04MQTT\x05\x82\0\0\0\0\x01c", b"", Plain),
        place(V5, 0x30, b"", b"\0x", Name),
        place(V5, 0x32, b"", b"\0\x01\0x", Name),
        place(V5, 0x82, b"\0\x01\0", b"\0", Filter),
        place(V5, 0x82, b"\0\x01\0\0\x01a\0", b"\x01", Filter),
        place(V5, 0xA2, b"\0\x01\0", b"", Filter),
        place(V5, 0xA2, b"\0\x01\0\0\x01a", b"", Filter),
    ];
    for (version, head) in [(V31, &b"\0\x06MQIsdp\x03"[..]), (V311, &b"\0\x04MQTT\x04"[..])] {
        let connect = |rest: &[u8]| [head, rest].concat();
        all.extend([
            place(version, 0x10, &connect(b"\x02\0\0"), b"", Plain),
            place(version, 0x10, &connect(b"\x06\0\0\0\x01c"), b"\0\0", Name),
            place(version, 0x10, &connect(b"\x82\0\0\0\x01c"), b"", Plain),
            place(version, 0x30, b"", b"x", Name),
            place(version, 0x82, b"\0\x01", b"\0", Filter),
            place(version, 0xA2, b"\0\x01", b"", Filter),
        ]);
    }
    all
}

/// Every property that is a string: its place, and what stands around the string in it.
fn string_properties() -> Vec<(Place, Vec<u8>, Vec<u8>)> {
    use Kind::*;
    let connect = || place(V5, 0x10, b"\0\x04MQTT\x05\x02\0\0", b"\0\x01c", Plain);
    let will = |kind| place(V5, 0x10, b"\0\x04MQTT\x05\x06\0\0\0\0\x01c", b"\0\x01w\0\0", kind);
    let connack = || place(V5, 0x20, b"\0\0", b"", Plain);
    let publish = |kind| place(V5, 0x30, b"\0\x01a", b"x", kind);
    let ack = |first| place(V5, first, b"\0\x01\0", b"", Plain);
    let method = b"\x15\0\x01m";
    let mut all = vec![
        (publish(Plain), vec![0x03], vec![]),
        (publish(Name), vec![0x08], vec![]),
        (will(Plain), vec![0x03], vec![]),
        (will(Name), vec![0x08], vec![]),
        (connack(), vec![0x12], vec![]),
        (connect(), vec![0x15], vec![]),
        (connack(), vec![0x15], vec![]),
        (place(V5, 0xF0, b"\x18", b"", Plain), vec![0x15], vec![]),
        (connack(), vec![0x1A], vec![]),
        (connack(), vec![0x1C], vec![]),
        (place(V5, 0xE0, b"\x9D", b"", Plain), vec![0x1C], vec![]),
        (connack(), vec![0x1F], vec![]),
        (ack(0x40), vec![0x1F], vec![]),
        (ack(0x50), vec![0x1F], vec![]),
        (ack(0x62), vec![0x1F], vec![]),
        (ack(0x70), vec![0x1F], vec![]),
        (place(V5, 0x90, b"\0\x01", b"\0", Plain), vec![0x1F], vec![]),
        (place(V5, 0xB0, b"\0\x01", b"\0", Plain), vec![0x1F], vec![]),
        (place(V5, 0xE0, b"\0", b"", Plain), vec![0x1F], vec![]),
        (place(V5, 0xF0, b"\x18", b"", Plain), [method, &b"\x1F"[..]].concat(), vec![]),
    ];
    // Name and value of a User Property.
    for at in [connect, || place(V5, 0x82, b"\0\x01", b"\0\x01a\0", Plain)] {
        all.push((at(), vec![0x26], field(b"v")));
        all.push((at(), [&[0x26], &field(b"k")[..]].concat(), vec![]));
    }
    for at in [publish, will] {
        all.push((at(Plain), vec![0x26], field(b"v")));
        all.push((at(Plain), [&[0x26], &field(b"k")[..]].concat(), vec![]));
    }
    all
}

/// Ill-formed UTF-8: lone and overlong forms, surrogates, and what lies above U+10FFFF.
fn ill_formed() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = [
        &b"\x80"[..],
        b"\xBF",
        b"\xC0\x80",
        b"\xC1\xBF",
        b"\xC3",
        b"\xC3(",
        b"\xE0\x80\x80",
        b"\xE0\x9F\xBF",
        b"\xE2\x82",
        b"\xF0\x80\x80\x80",
        b"\xF0\x8F\xBF\xBF",
        b"\xF0\x9F\x98",
        b"\xF4\x90\x80\x80",
        b"\xF5\x80\x80\x80",
        b"\xF8\x88\x80\x80\x80",
        b"\xFE",
        b"\xFF",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    // Surrogates, alone and as the pair that CESU-8 would write.
    for second in [0xA0, 0xAF, 0xB0, 0xBF] {
        all.push(vec![0xED, second, 0x80]);
    }
    all.push(b"\xED\xA0\xB4\xED\xBC\x80".to_vec());
    // Behind and before plain text, so that any way of looking through it comes across it.
    let plain = b"abcdefgh01234567";
    for bad in all.clone() {
        all.push([plain, &bad[..]].concat());
        all.push([&bad[..], plain].concat());
        all.push([&plain[..3], &bad, plain].concat());
    }
    all
}

/// Every byte position of a string may hold the fault.
fn with_nul() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for len in 1..=17 {
        for at in 0..len {
            let mut string = vec![b'a'; len];
            string[at] = 0;
            all.push(string);
        }
    }
    all.push("\u{20AC}\0".into());
    all
}

// covers: v5 MQTT-1.5.4-1, v5 MQTT-1.5.4-2, v5 MQTT-1.5.7-1, v5 MQTT-3.1.3-4
// covers: v5 MQTT-3.1.3-11, v5 MQTT-3.1.3-12, v5 MQTT-3.3.2-1, v5 MQTT-3.3.2-13
// covers: v5 MQTT-3.3.2-19, v5 MQTT-3.8.3-1, v5 MQTT-3.10.3-1, v5 MQTT-4.7.3-2
// covers: v3 MQTT-1.5.3-1, v3 MQTT-1.5.3-2, v3 MQTT-3.1.3-4, v3 MQTT-3.1.3-10
// covers: v3 MQTT-3.1.3-11, v3 MQTT-3.3.2-1, v3 MQTT-3.8.3-1, v3 MQTT-3.10.3-1
// covers: v3 MQTT-4.7.3-2
// class: 9
#[test]
fn ill_formed_strings_are_refused_everywhere() {
    let cases = ill_formed().into_iter().map(|bytes| (bytes, DecodeCause::Utf8));
    let cases: Vec<_> =
        cases.chain(with_nul().into_iter().map(|b| (b, DecodeCause::Nul))).collect();
    for place in fields() {
        for (bad, cause) in &cases {
            let (frame, at) = place.packet(bad);
            refused_at(place.version, &frame, *cause, 0x81, at);
        }
    }
    for (place, before, after) in string_properties() {
        for (bad, cause) in &cases {
            let (frame, at) = place.property(&before, bad, &after);
            refused_at(place.version, &frame, *cause, 0x81, at);
        }
    }
}

// The encoder cannot be given such a string: every field is a type that refuses it.
// covers: v5 MQTT-1.5.4-1, v5 MQTT-1.5.4-2, v5 MQTT-4.7.3-2
// covers: v3 MQTT-1.5.3-1, v3 MQTT-1.5.3-2, v3 MQTT-4.7.3-2
// class: 9
#[test]
fn ill_formed_strings_cannot_be_made() {
    for bad in ill_formed() {
        assert_eq!(Text::from_bytes(Bytes::from(bad)), Err(TextError::Utf8));
    }
    for bad in with_nul() {
        assert_eq!(Text::from_bytes(Bytes::from(bad.clone())), Err(TextError::Nul));
        let bad = String::from_utf8(bad).unwrap();
        assert_eq!(Text::new(bad.as_str()), Err(TextError::Nul));
        assert_eq!(TopicName::new(bad.as_str()), Err(TopicError::Nul));
        assert_eq!(TopicFilter::new(bad.as_str()), Err(TopicError::Nul));
    }
    assert_eq!(Text::from_static("a\0"), Err(TextError::Nul));
    assert_eq!(TopicName::from_static("\0"), Err(TopicError::Nul));
    assert_eq!(TopicFilter::from_static("#\0"), Err(TopicError::Nul));
}

/// Well-formed strings that somebody might refuse or change.
const UNUSUAL: [&str; 12] = [
    "\u{FEFF}",
    "\u{FEFF}\u{FEFF}a",
    "a\u{FEFF}",
    "\u{1}",
    "\u{1F}\u{7F}",
    "\u{80}\u{9F}",
    "\u{D7FF}\u{E000}",
    "\u{FFFE}\u{FFFF}",
    "\u{FDD0}",
    "\u{10FFFF}",
    "A\u{2A6D4}",
    " e\u{301} \u{E9}",
];

// covers: v5 MQTT-1.5.4-3, v5 X5-1.5.4-a, v3 MQTT-1.5.3-3, v3 X3-1.5.3-a
// class: 9
#[test]
fn unusual_strings_are_taken_and_kept() {
    for string in UNUSUAL {
        for place in fields() {
            let (frame, _) = place.packet(string.as_bytes());
            let packet = decode_bytes(&frame, place.version).unwrap();
            assert_eq!(encode(&packet, place.version), Ok(frame), "{string:?}");
        }
        for (place, before, after) in string_properties() {
            let (frame, _) = place.property(&before, string.as_bytes(), &after);
            let packet = decode_bytes(&frame, place.version).unwrap();
            assert_eq!(encode(&packet, place.version), Ok(frame), "{string:?}");
        }
        assert_eq!(text(string).as_str(), string);
    }
}

/// Filters that are none, with the error of the type.
fn bad_filters() -> Vec<(&'static str, TopicError)> {
    use TopicError::*;
    vec![
        ("", Empty),
        ("sport/tennis#", MultiLevel),
        ("sport/tennis/#/ranking", MultiLevel),
        ("#/", MultiLevel),
        ("##", MultiLevel),
        ("#a", MultiLevel),
        ("/#/", MultiLevel),
        ("sport+", SingleLevel),
        ("+sport", SingleLevel),
        ("a/++/b", SingleLevel),
        ("a/+b/#", SingleLevel),
        ("+#", MultiLevel),
        ("$share/", Share),
        ("$share//a", Share),
        ("$share/g", Share),
        ("$share/g/", Share),
        ("$share/+/a", Share),
        ("$share/#", Share),
        ("$share/g#/a", Share),
        ("$share/g+h/a", Share),
        ("$share/g/a#", MultiLevel),
        ("$share/g/+a", SingleLevel),
    ]
}

const GOOD_FILTERS: [&str; 22] = [
    "#",
    "+",
    "/",
    "//",
    "/#",
    "+/",
    "/+",
    "+/+",
    "+/#",
    "a/#",
    "a/+/b",
    "+/tennis/#",
    " ",
    "a b",
    "$SYS/#",
    "$share",
    "$shared/x",
    "$SHARE/g",
    "$share/g/#",
    "$share/g//",
    "$share/a b/+/c",
    "a//b",
];

const BAD_NAMES: [&str; 8] = ["#", "+", "a/#", "a/+/b", "a+", "#a", "0123456789+", "\u{E4}/+"];

const GOOD_NAMES: [&str; 11] = [
    "/",
    "//",
    " ",
    "a b",
    "/a",
    "a/",
    "ACCOUNTS",
    "Accounts",
    "$SYS/x",
    "$share/g/a",
    "01234567/9*!",
];

// covers: v5 MQTT-3.3.2-2, v5 MQTT-3.3.2-14, v5 MQTT-4.7.0-1, v5 MQTT-4.7.1-1, v5 MQTT-4.7.1-2
// covers: v5 MQTT-4.7.3-1, v5 MQTT-4.8.2-1, v5 MQTT-4.8.2-2, v5 X5-4.7.3-a
// covers: v3 MQTT-3.3.2-2, v3 MQTT-4.7.1-1, v3 MQTT-4.7.1-2, v3 MQTT-4.7.1-3
// covers: v3 MQTT-4.7.3-1, v3 X3-4.7.3-a
// class: 9
#[test]
fn topics_in_every_place_both_ways() {
    let mut places: Vec<(Place, Vec<u8>)> = string_properties()
        .into_iter()
        .filter(|(place, ..)| place.kind == Kind::Name)
        .map(|(place, number, _)| (place, number))
        .collect();
    assert_eq!(places.len(), 2);
    places.extend(fields().into_iter().map(|place| (place, Vec::new())));
    for (place, number) in places {
        let packet = |topic: &str| match number.is_empty() {
            true => place.packet(topic.as_bytes()),
            false => place.property(&number, topic.as_bytes(), &[]),
        };
        let (good, bad): (&[&str], Vec<(&str, DecodeCause, u8)>) = match place.kind {
            Kind::Plain => continue,
            Kind::Name => {
                let wild = |name: &&'static str| (*name, DecodeCause::TopicNameWildcard, 0x81);
                let empty = ("", DecodeCause::TopicNameEmpty, 0x82);
                (&GOOD_NAMES, BAD_NAMES.iter().map(wild).chain([empty]).collect())
            }
            Kind::Filter => {
                let cause = |(filter, error)| match error {
                    TopicError::Share => (filter, DecodeCause::ShareName, 0x81),
                    _ => (filter, DecodeCause::TopicFilter, 0x81),
                };
                (&GOOD_FILTERS, bad_filters().into_iter().map(cause).collect())
            }
        };
        for topic in good {
            let (frame, _) = packet(topic);
            let read = decode_bytes(&frame, place.version)
                .unwrap_or_else(|error| panic!("{topic}: {}: {error}", show(&frame)));
            assert_eq!(encode(&read, place.version), Ok(frame), "{topic}");
        }
        for (topic, cause, reason) in bad {
            let (frame, at) = packet(topic);
            // The Topic Name of PUBLISH may be empty, but not without an alias: seen after it.
            refused_at(place.version, &frame, cause, reason, at);
        }
    }
    for (filter, error) in bad_filters() {
        assert_eq!(TopicFilter::new(filter), Err(error), "{filter}");
    }
    for name in BAD_NAMES {
        assert_eq!(TopicName::new(name), Err(TopicError::Wildcard), "{name}");
    }
    assert_eq!(TopicName::new(""), Err(TopicError::Empty));
}

// covers: v5 X5-4.7.3-a, v3 X3-4.7.3-a
#[test]
fn topics_differ_by_case_spaces_and_slashes() {
    let names = ["Accounts", "ACCOUNTS", "/Accounts", "Accounts/", "Accounts ", " Accounts"];
    for (i, filter) in names.iter().enumerate() {
        for (j, name) in names.iter().enumerate() {
            assert_eq!(crate::hex::filter(filter).matches(&topic(name)), i == j, "{filter} {name}");
            assert_eq!(topic(filter) == topic(name), i == j);
        }
    }
}

// covers: v5 X5-1.5.4-b, v5 MQTT-4.7.3-3, v3 X3-1.5.3-b, v3 MQTT-4.7.3-3
// class: 10
#[test]
fn fields_of_65_535_bytes_and_one_more() {
    let (most, more) = ("a".repeat(65_535), "a".repeat(65_536));
    assert_eq!(Text::new(more.as_str()), Err(TextError::TooLong));
    assert_eq!(Text::from_bytes(Bytes::from(more.clone())), Err(TextError::TooLong));
    assert_eq!(Text::from_static(more.clone().leak()), Err(TextError::TooLong));
    assert_eq!(TopicName::new(more.as_str()), Err(TopicError::TooLong));
    assert_eq!(TopicName::from_static(more.clone().leak()), Err(TopicError::TooLong));
    assert_eq!(TopicFilter::new(more.as_str()), Err(TopicError::TooLong));
    // As characters it would fit: bytes count.
    assert_eq!(Text::new("\u{20AC}".repeat(21_846)), Err(TextError::TooLong));
    assert_eq!(Text::new("\u{20AC}".repeat(21_845)).unwrap().len(), 65_535);
    for place in fields() {
        let (frame, _) = place.packet(most.as_bytes());
        let packet = decode_bytes(&frame, place.version).unwrap();
        assert!(encode(&packet, place.version) == Ok(frame));
    }
    for (place, before, after) in string_properties() {
        let (frame, _) = place.property(&before, most.as_bytes(), &after);
        let packet = decode_bytes(&frame, place.version).unwrap();
        assert!(encode(&packet, place.version) == Ok(frame));
    }
}

// covers: v5 X5-1.5.4-b, v3 X3-3.1.3-a
// class: 10
#[test]
fn binary_data_of_65_535_bytes_and_one_more() {
    let data = |len: usize| Bytes::from(vec![0xFF; len]);
    let client = || Connect { client_id: text("c"), ..Connect::default() };
    let connect = |connect| Packet::Connect(Box::new(connect));
    let method = || Some(text("m"));
    type Build<'a> = Box<dyn Fn(usize) -> Packet + 'a>;
    let builds: [(&str, &[Version], Build<'_>); 6] = [
        ("the Password", &ALL_VERSIONS, {
            let user_name = Some(text("u"));
            Box::new(move |len| {
                let user_name = user_name.clone();
                connect(Connect { user_name, password: Some(data(len)), ..client() })
            })
        }),
        ("the Will Payload", &ALL_VERSIONS, {
            Box::new(|len| {
                connect(Connect { will: Some(Will::new(topic("w"), data(len))), ..client() })
            })
        }),
        ("the Correlation Data", &[V5], {
            Box::new(|len| {
                let mut will = Will::new(topic("w"), "");
                will.properties.edit().correlation_data = Some(data(len));
                connect(Connect { will: Some(will), ..client() })
            })
        }),
        ("the Authentication Data", &[V5], {
            Box::new(|len| {
                let authentication_data = Some(data(len));
                connect(Connect {
                    authentication_method: method(),
                    authentication_data,
                    ..client()
                })
            })
        }),
        ("the Authentication Data", &[V5], {
            Box::new(|len| {
                let authentication_data = Some(data(len));
                Packet::ConnAck(Box::new(ConnAck { authentication_data, ..ConnAck::default() }))
            })
        }),
        ("the Authentication Data", &[V5], {
            Box::new(|len| {
                let authentication_data = Some(data(len));
                let authentication_method = method();
                Packet::Auth(Box::new(Auth {
                    authentication_method,
                    authentication_data,
                    ..Auth::default()
                }))
            })
        }),
    ];
    for (field, versions, build) in builds {
        for version in versions {
            let frame = encode(&build(65_535), *version).unwrap();
            assert!(decode_bytes(&frame, *version) == Ok(build(65_535)), "{field}");
            let wanted = EncodeError::FieldTooLong { field, len: 65_536 };
            assert_eq!(encode(&build(65_536), *version), Err(wanted));
        }
    }
    let correlated = |len| {
        let correlation_data = Some(data(len));
        let mut publish = Publish::new(topic("a"), "").qos(QoS::AtMostOnce);
        publish.properties = PublishFields { correlation_data, ..Default::default() }.into();
        encode_publish(&publish, &PublishHeader::default(), V5)
    };
    let wanted = EncodeError::FieldTooLong { field: "the Correlation Data", len: 65_536 };
    assert!(correlated(65_535).is_ok());
    assert_eq!(correlated(65_536), Err(wanted));
}
