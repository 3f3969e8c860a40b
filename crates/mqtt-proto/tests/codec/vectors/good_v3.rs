use bytes::Bytes;
use mqtt_proto::{
    Ack, AckProperties, ConnAck, Connect, Disconnect, Packet, QoS, ReasonCode, SubAck, Subscribe,
    Subscription, UnsubAck, Unsubscribe, Will,
};

use super::{Good, ONLY_V31, ONLY_V311, V3, View, good, publish, written_as};
use crate::hex::{filter, id, text, topic};

fn will(name: &str, payload: &'static [u8]) -> Will {
    Will::new(topic(name), Bytes::from_static(payload))
}

pub(super) fn connect() -> Vec<Good> {
    let client = |name: &str| Connect { client_id: text(name), ..Connect::default() };
    let clean = |name: &str| Connect { clean_start: true, ..client(name) };
    let packet = |connect: Connect| Packet::Connect(Box::new(connect));
    let figure = |client_id: &str| {
        packet(Connect {
            keep_alive: 10,
            will: Some(will("w", b"bye").qos(QoS::AtLeastOnce)),
            user_name: Some(text("u")),
            password: Some(Bytes::from_static(b"p")),
            ..clean(client_id)
        })
    };
    let with_will = |will: Will| packet(Connect { will: Some(will), ..clean("c") });
    let secret = |password: &'static [u8]| {
        packet(Connect {
            user_name: Some(text("u")),
            password: Some(Bytes::from_static(password)),
            ..clean("c")
        })
    };
    vec![
        // The variable header of figure 3.6, with a payload. All fields, in their order.
        // covers: v3 MQTT-3.1.3-1, v3 MQTT-3.1.2-9, v3 MQTT-3.1.2-19, v3 MQTT-3.1.2-21
        good(
            ONLY_V311,
            "101B 0004'MQTT' 04 CE 000A 0001'c' 0001'w' 0003'bye' 0001'u' 0001'p'",
            figure("c"),
        ),
        // The example of MQTT 3.1 section 3.1.
        good(
            ONLY_V31,
            "101D 0006'MQIsdp' 03 CE 000A 0001'c' 0001'w' 0003'bye' 0001'u' 0001'p'",
            figure("c"),
        ),
        // covers: v3 MQTT-3.1.2-18, v3 MQTT-3.1.2-20, v3 MQTT-3.1.2-11
        good(ONLY_V311, "100D 0004'MQTT' 04 02 003C 0001'c'", {
            packet(Connect { keep_alive: 60, ..clean("c") })
        }),
        good(ONLY_V31, "100F 0006'MQIsdp' 03 02 003C 0001'c'", {
            packet(Connect { keep_alive: 60, ..clean("c") })
        }),
        // covers: v3 MQTT-3.1.3-3
        good(ONLY_V311, "100C 0004'MQTT' 04 02 0000 0000", packet(clean(""))),
        good(ONLY_V311, "100D 0004'MQTT' 04 00 FFFF 0001'c'", {
            packet(Connect { keep_alive: 65_535, ..client("c") })
        }),
        good(ONLY_V31, "100F 0006'MQIsdp' 03 00 0000 0001'c'", packet(client("c"))),
        // MQTT 3.1 asked for 1 to 23 characters; longer ones were always in use.
        good(ONLY_V31, "1026 0006'MQIsdp' 03 02 0000 0018'abcdefghijklmnopqrstuvwx'", {
            packet(clean("abcdefghijklmnopqrstuvwx"))
        }),
        // covers: v3 MQTT-3.1.3-4
        good(ONLY_V311, "100F 0004'MQTT' 04 02 0000 0003E282AC", packet(clean("\u{20AC}"))),
        // covers: v3 MQTT-3.1.2-14
        good(
            ONLY_V311,
            "1012 0004'MQTT' 04 06 0000 0001'c' 0001'w' 0000",
            with_will(will("w", b"")),
        ),
        good(
            ONLY_V311,
            "1015 0004'MQTT' 04 16 0000 0001'c' 0003'w/x' 0001'1'",
            with_will(will("w/x", b"1").qos(QoS::ExactlyOnce)),
        ),
        good(
            ONLY_V311,
            "1013 0004'MQTT' 04 36 0000 0001'c' 0001'w' 0001'1'",
            with_will(will("w", b"1").qos(QoS::ExactlyOnce).retain(true)),
        ),
        // A Will Message and a password that are not text.
        // covers: v3 X3-3.1.3-a
        good(
            ONLY_V311,
            "1016 0004'MQTT' 04 26 0000 0001'c' 0001'w' 000400FF80C0",
            with_will(will("w", b"\x00\xFF\x80\xC0").retain(true)),
        ),
        // covers: v3 X3-3.1.3-a
        good(
            ONLY_V311,
            "1015 0004'MQTT' 04 C2 0000 0001'c' 0001'u' 000300FFFE",
            secret(b"\x00\xFF\xFE"),
        ),
        good(ONLY_V311, "1012 0004'MQTT' 04 C2 0000 0001'c' 0001'u' 0000", secret(b"")),
        good(ONLY_V31, "1016 0006'MQIsdp' 03 C2 0000 0001'c' 0001'u' 0002'pw'", secret(b"pw")),
        good(ONLY_V311, "100F 0004'MQTT' 04 82 0000 0001'c' 0000", {
            packet(Connect { user_name: Some(text("")), ..clean("c") })
        }),
        good(ONLY_V31, "1012 0006'MQIsdp' 03 82 0000 0001'c' 0001'u'", {
            packet(Connect { user_name: Some(text("u")), ..clean("c") })
        }),
        // MQTT 3.1 section 3.1: the Remaining Length takes precedence over the User Name and Password
        // flags, and a server has to go on although the strings are missing.
        written_as(
            "100F 0006'MQIsdp' 03 02 0000 0001'c'",
            good(ONLY_V31, "100F 0006'MQIsdp' 03 C2 0000 0001'c'", packet(clean("c"))),
        ),
        written_as(
            "1012 0006'MQIsdp' 03 82 0000 0001'c' 0001'u'",
            good(ONLY_V31, "1012 0006'MQIsdp' 03 C2 0000 0001'c' 0001'u'", {
                packet(Connect { user_name: Some(text("u")), ..clean("c") })
            }),
        ),
    ]
}

pub(super) fn others() -> Vec<Good> {
    let mut all = connack();
    all.extend(publishes());
    all.extend(acks());
    all.extend(subscriptions());
    all
}

fn connack() -> Vec<Good> {
    let code = |reason| Packet::ConnAck(Box::new(ConnAck::new(reason)));
    let resumed = ConnAck { session_present: true, ..ConnAck::default() };
    vec![
        good(V3, "20 02 00 00", code(ReasonCode::SUCCESS)),
        good(V3, "20 02 00 01", code(ReasonCode::UNSUPPORTED_PROTOCOL_VERSION)),
        good(V3, "20 02 00 02", code(ReasonCode::CLIENT_IDENTIFIER_NOT_VALID)),
        good(V3, "20 02 00 03", code(ReasonCode::SERVER_UNAVAILABLE)),
        good(V3, "20 02 00 04", code(ReasonCode::BAD_USER_NAME_OR_PASSWORD)),
        good(V3, "20 02 00 05", code(ReasonCode::NOT_AUTHORIZED)),
        good(ONLY_V311, "20 02 01 00", Packet::ConnAck(Box::new(resumed))),
        // MQTT 3.1 has a reserved byte there, which says nothing.
        written_as("20 02 00 00", good(ONLY_V31, "20 02 01 00", code(ReasonCode::SUCCESS))),
        written_as("20 02 00 00", good(ONLY_V31, "20 02 FF 00", code(ReasonCode::SUCCESS))),
    ]
}

fn publishes() -> Vec<Good> {
    let with_id = |view: View, qos: u8, id: u16| View {
        flags: (qos, false, false),
        packet_id: Some(id),
        ..view
    };
    vec![
        // Figure 3.11: topic a/b and Packet Identifier 10.
        good(V3, "32 07 0003'a/b' 000A", with_id(publish("a/b", ""), 1, 10)),
        // covers: v3 MQTT-2.3.1-5, v3 MQTT-3.3.2-1
        good(V3, "300A 0003'a/b' 'hello'", publish("a/b", "hello")),
        good(
            V3,
            "310A 0003'a/b' 'hello'",
            View { flags: (0, false, true), ..publish("a/b", "hello") },
        ),
        // covers: v3 X3-3.3.3-a
        good(V3, "31 05 0003'a/b'", View { flags: (0, false, true), ..publish("a/b", "") }),
        good(V3, "3206 0001'a' 0001 'x'", with_id(publish("a", "x"), 1, 1)),
        good(V3, "3406 0001'a' FFFF 'x'", with_id(publish("a", "x"), 2, 65_535)),
        good(
            V3,
            "3A06 0001'a' 0100 'x'",
            View { flags: (1, true, false), packet_id: Some(256), ..publish("a", "x") },
        ),
        good(
            V3,
            "3D06 0001'a' 0001 'x'",
            View { flags: (2, true, true), packet_id: Some(1), ..publish("a", "x") },
        ),
        good(
            V3,
            "3505 0001'a' 0001",
            View { flags: (2, false, true), packet_id: Some(1), ..publish("a", "") },
        ),
        // Topics that need not look like paths.
        // covers: v3 X3-4.7.3-a
        good(V3, "3003 0001'/'", publish("/", "")),
        // covers: v3 X3-4.7.3-a
        good(V3, "300A 0008'/ACCOUNT'", publish("/ACCOUNT", "")),
        // covers: v3 X3-4.7.3-a
        good(V3, "300B 0009'Accounts '", publish("Accounts ", "")),
        // covers: v3 X3-4.7.3-a
        good(V3, "300A 0008'Account/'", publish("Account/", "")),
        good(V3, "3008 0005'$SYS/' '1'", publish("$SYS/", "1")),
        // A topic that begins with EF BB BF keeps it.
        // covers: v3 MQTT-1.5.3-3
        good(V3, "3006 0004EFBBBF'a'", publish("\u{FEFF}a", "")),
        // Figure 1.1: A and U+2A6D4.
        good(V3, "3007 0005 'A' F0AA9B94", publish("A\u{2A6D4}", "")),
        // Control characters and non-characters are taken: see the policy in `text.rs`.
        // covers: v3 X3-1.5.3-a
        good(V3, "3003 000101", publish("\u{1}", "")),
        // covers: v3 X3-1.5.3-a
        good(V3, "3004 0002C280", publish("\u{80}", "")),
        // covers: v3 X3-1.5.3-a
        good(V3, "3005 0003EFBFBF", publish("\u{FFFF}", "")),
    ]
}

fn acks() -> Vec<Good> {
    let ack = |number| Ack::new(id(number), ReasonCode::SUCCESS);
    let codes = |number, codes: &[u8]| {
        Packet::SubAck(SubAck {
            packet_id: id(number),
            reasons: codes.iter().map(|code| ReasonCode::new(*code)).collect(),
            properties: AckProperties::NONE,
        })
    };
    vec![
        good(V3, "40 02 0001", Packet::PubAck(ack(1))),
        good(V3, "50 02 FFFF", Packet::PubRec(ack(65_535))),
        good(V3, "62 02 0100", Packet::PubRel(ack(256))),
        good(V3, "70 02 00FF", Packet::PubComp(ack(255))),
        // MQTT 3.1 has the DUP flag on three more packets.
        written_as("62 02 0001", good(ONLY_V31, "6A 02 0001", Packet::PubRel(ack(1)))),
        // Figure 3.26: 0x00, 0x02 and 0x80.
        good(V3, "90 05 000A 00 02 80", codes(10, &[0x00, 0x02, 0x80])),
        good(V3, "90 03 0001 01", codes(1, &[0x01])),
        good(V3, "B0 02 0007", {
            Packet::UnsubAck(UnsubAck {
                packet_id: id(7),
                reasons: vec![],
                properties: AckProperties::NONE,
            })
        }),
        good(V3, "C0 00", Packet::PingReq),
        good(V3, "D0 00", Packet::PingResp),
        good(V3, "E0 00", Packet::Disconnect(Disconnect::default())),
    ]
}

fn subscriptions() -> Vec<Good> {
    let subscribe = |number, filters: &[(&str, QoS)]| {
        let subscriptions = filters
            .iter()
            .map(|(name, qos)| Subscription { filter: filter(name), options: (*qos).into() })
            .collect();
        Packet::Subscribe(id(number), Box::new(Subscribe { subscriptions, ..Default::default() }))
    };
    let unsubscribe = |number, filters: &[&str]| {
        let filters = filters.iter().map(|name| filter(name)).collect();
        Packet::Unsubscribe(id(number), Box::new(Unsubscribe { filters, ..Default::default() }))
    };
    let two = [("a/b", QoS::AtLeastOnce), ("c/d", QoS::ExactlyOnce)];
    vec![
        // Figures 3.21 and 3.23: a/b with QoS 1 and c/d with QoS 2.
        good(V3, "82 0E 000A 0003'a/b' 01 0003'c/d' 02", subscribe(10, &two)),
        good(V3, "8206 0001 0001'#' 00", subscribe(1, &[("#", QoS::AtMostOnce)])),
        good(V3, "8206 0001 0001'+' 00", subscribe(1, &[("+", QoS::AtMostOnce)])),
        // covers: v3 MQTT-4.7.1-2
        good(V3, "820E 0001 0009'sport/+/#' 02", subscribe(1, &[("sport/+/#", QoS::ExactlyOnce)])),
        // covers: v3 MQTT-4.7.1-3
        good(V3, "820F 0001 000A'+/tennis/+' 00", {
            subscribe(1, &[("+/tennis/+", QoS::AtMostOnce)])
        }),
        good(V3, "820B 0001 0006'$SYS/#' 00", subscribe(1, &[("$SYS/#", QoS::AtMostOnce)])),
        written_as(
            "82 06 0001 0001'a' 01",
            good(ONLY_V31, "8A 06 0001 0001'a' 01", subscribe(1, &[("a", QoS::AtLeastOnce)])),
        ),
        // Figures 3.28 and 3.30: a/b and c/d, one directly after the other.
        // covers: v3 MQTT-3.10.3-1
        good(V3, "A2 0C 000A 0003'a/b' 0003'c/d'", unsubscribe(10, &["a/b", "c/d"])),
        good(V3, "A205 0001 0001'#'", unsubscribe(1, &["#"])),
        written_as(
            "A2 05 0001 0001'a'",
            good(ONLY_V31, "AA 05 0001 0001'a'", unsubscribe(1, &["a"])),
        ),
    ]
}
