use bytes::Bytes;
use mqtt_proto::{
    Ack, AckProperties, Auth, ConnAck, Connect, Disconnect, Packet, Property, PublishFields, QoS,
    ReasonCode, RetainHandling, SubAck, Subscribe, Subscription, SubscriptionOptions, Text,
    UnsubAck, Unsubscribe, UserProperties, Will,
};

use super::{Good, ONLY_V5, View, good, publish, written_as};
use crate::hex::{filter, id, text, topic};

fn user(pairs: &[(&str, &str)]) -> UserProperties {
    pairs.iter().map(|(name, value)| (text(name), text(value))).collect()
}

fn why(reason_string: &str) -> AckProperties {
    AckProperties::new(Some(text(reason_string)), Vec::new())
}

fn some(string: &str) -> Option<Text> {
    Some(text(string))
}

pub(super) fn connect() -> Vec<Good> {
    let client = |name: &str| Connect { client_id: text(name), ..Connect::default() };
    let clean = |name: &str| Connect { clean_start: true, ..client(name) };
    let packet = |connect: Connect| Packet::Connect(Box::new(connect));
    let all = Connect {
        session_expiry_interval: Some(10),
        authentication_method: some("m"),
        authentication_data: Some(Bytes::from_static(b"\x00\xFF")),
        request_problem_information: Some(false),
        request_response_information: Some(true),
        receive_maximum: Some(20),
        topic_alias_maximum: Some(0),
        user_properties: user(&[("k", "v"), ("k", "")]),
        maximum_packet_size: Some(256),
        ..clean("c")
    };
    let last_will = || Will::new(topic("w"), "bye").qos(QoS::AtLeastOnce);
    let full_will = Will {
        delay_interval: Some(5),
        properties: PublishFields {
            payload_format_indicator: Some(true),
            message_expiry_interval: Some(60),
            content_type: some("text"),
            response_topic: Some(topic("r")),
            correlation_data: Some(Bytes::from_static(b"\x01")),
            user_properties: user(&[("a", "b")]),
            ..PublishFields::default()
        }
        .into(),
        ..last_will()
    };
    vec![
        // The variable header of figure 3-6, with a payload. All fields, in their order.
        // covers: v5 MQTT-3.1.3-1, v5 MQTT-3.1.2-9, v5 MQTT-3.1.2-17, v5 MQTT-3.1.2-19
        good(
            ONLY_V5,
            "1022 0004'MQTT' 05 CE 000A 05 11 0000000A 0001'c' 00 0001'w' 0003'bye' 0001'u' 0001'p'",
            packet(Connect {
                keep_alive: 10,
                session_expiry_interval: Some(10),
                will: Some(last_will()),
                user_name: some("u"),
                password: Some(Bytes::from_static(b"p")),
                ..clean("c")
            }),
        ),
        // covers: v5 MQTT-3.1.2-16, v5 MQTT-3.1.2-18, v5 MQTT-2.2.2-1
        good(ONLY_V5, "100E 0004'MQTT' 05 02 003C 00 0001'c'", {
            packet(Connect { keep_alive: 60, ..clean("c") })
        }),
        // covers: v5 MQTT-3.1.3-3
        good(ONLY_V5, "100D 0004'MQTT' 05 00 0000 00 0000", packet(client(""))),
        // covers: v5 MQTT-3.1.2-19, v5 MQTT-3.1.2-16
        good(ONLY_V5, "1012 0004'MQTT' 05 42 0000 00 0001'c' 000200FF", {
            packet(Connect { password: Some(Bytes::from_static(b"\x00\xFF")), ..clean("c") })
        }),
        // covers: v5 MQTT-3.1.2-17, v5 MQTT-3.1.2-18
        good(ONLY_V5, "1012 0004'MQTT' 05 82 0000 00 0001'c' 0002'me'", {
            packet(Connect { user_name: some("me"), ..clean("c") })
        }),
        // covers: v5 MQTT-3.1.3-4
        good(ONLY_V5, "1010 0004'MQTT' 05 02 0000 00 0003E282AC", packet(clean("\u{20AC}"))),
        good(
            ONLY_V5,
            "1038 0004'MQTT' 05 02 0000 2A 11 0000000A 15 0001'm' 16 000200FF 1700 1901 210014  220000 26 0001'k' 0001'v' 26 0001'k' 0000 27 00000100 0001'c'",
            packet(all.clone()),
        ),
        // The same properties in another order mean the same.
        // covers: v5 X5-2.2.2-d
        written_as(
            "1038 0004'MQTT' 05 02 0000 2A 11 0000000A 15 0001'm' 16 000200FF 1700 1901 210014  220000 26 0001'k' 0001'v' 26 0001'k' 0000 27 00000100 0001'c'",
            good(
                ONLY_V5,
                "1038 0004'MQTT' 05 02 0000 2A 27 00000100 26 0001'k' 0001'v' 220000 210014 1901  1700 26 0001'k' 0000 16 000200FF 15 0001'm' 11 0000000A 0001'c'",
                packet(all),
            ),
        ),
        good(
            ONLY_V5,
            "101D 0004'MQTT' 05 02 0000 10 11 FFFFFFFF 21 FFFF 22 FFFF 27 FFFFFFFF 0000",
            {
                packet(Connect {
                    session_expiry_interval: Some(u32::MAX),
                    receive_maximum: Some(65_535),
                    topic_alias_maximum: Some(65_535),
                    maximum_packet_size: Some(u32::MAX),
                    ..clean("")
                })
            },
        ),
        // covers: v5 MQTT-3.1.2-9, v5 MQTT-3.1.2-12
        good(
            ONLY_V5,
            "1039 0004'MQTT' 05 0E 0000 00 0001'c' 22 0101 02 0000003C 03 0004'text' 08 0001'r'  09 000101 18 00000005 26 0001'a' 0001'b' 0001'w' 0003'bye'",
            packet(Connect { will: Some(full_will), ..clean("c") }),
        ),
        // covers: v5 MQTT-3.1.2-12
        good(ONLY_V5, "1014 0004'MQTT' 05 06 0000 00 0001'c' 00 0001'w' 0000", {
            packet(Connect { will: Some(Will::new(topic("w"), "")), ..clean("c") })
        }),
        // covers: v5 MQTT-3.1.2-12
        good(ONLY_V5, "1017 0004'MQTT' 05 36 0000 00 0001'c' 00 0001'w' 0003 00FF80", {
            let will = Will::new(topic("w"), Bytes::from_static(b"\x00\xFF\x80"));
            packet(Connect { will: Some(will.qos(QoS::ExactlyOnce).retain(true)), ..clean("c") })
        }),
    ]
}

pub(super) fn publish_and_acks() -> Vec<Good> {
    let mut all = publishes();
    all.extend(acks());
    all
}

fn publishes() -> Vec<Good> {
    let with = |view: View, properties: &[Property<'static>]| View {
        properties: properties.to_vec(),
        ..view
    };
    let alias = |view: View, alias: u16| View {
        topic_alias: Some(alias),
        properties: vec![Property::TopicAlias(alias)],
        ..view
    };
    let flagged = |qos: u8, dup, retain, id: Option<u16>| View {
        flags: (qos, dup, retain),
        packet_id: id,
        ..publish("a", "x")
    };
    vec![
        // Figure 3-9: topic a/b, Packet Identifier 10, no properties.
        // covers: v5 MQTT-2.2.2-1
        good(
            ONLY_V5,
            "32 08 0003'a/b' 000A 00",
            View { flags: (1, false, false), packet_id: Some(10), ..publish("a/b", "") },
        ),
        // covers: v5 MQTT-2.2.1-2, v5 MQTT-3.3.2-1
        good(ONLY_V5, "300B 0003'a/b' 00 'hello'", publish("a/b", "hello")),
        // covers: v5 X5-3.3.3-a, v5 X5-2.3-a
        good(ONLY_V5, "30 06 0003'a/b' 00", publish("a/b", "")),
        good(ONLY_V5, "3105 0001'a' 00 'x'", flagged(0, false, true, None)),
        good(ONLY_V5, "3207 0001'a' 0001 00 'x'", flagged(1, false, false, Some(1))),
        good(ONLY_V5, "3B07 0001'a' FFFF 00 'x'", flagged(1, true, true, Some(65_535))),
        good(ONLY_V5, "3407 0001'a' 8000 00 'x'", flagged(2, false, false, Some(32_768))),
        good(ONLY_V5, "3C07 0001'a' 0001 00 'x'", flagged(2, true, false, Some(1))),
        good(
            ONLY_V5,
            "3035 0001'a' 30 0101 02 FFFFFFFF 03 000A'text/plain' 08 0003'r/1' 09 000200FF 0B 01  0B FFFFFF7F 23 FFFF 26 0001'k' 0001'v' 'x'",
            View {
                topic_alias: Some(65_535),
                ..with(
                    publish("a", "x"),
                    &[
                        Property::PayloadFormatIndicator(true),
                        Property::MessageExpiryInterval(u32::MAX),
                        Property::ContentType("text/plain"),
                        Property::ResponseTopic("r/1"),
                        Property::CorrelationData(b"\x00\xFF"),
                        Property::SubscriptionIdentifier(1),
                        Property::SubscriptionIdentifier(268_435_455),
                        Property::TopicAlias(65_535),
                        Property::UserProperty("k", "v"),
                    ],
                )
            },
        ),
        // A PUBLISH from the wire keeps its own order.
        // covers: v5 X5-2.2.2-d
        good(
            ONLY_V5,
            "3018 0001'a' 14 26 0001'k' 0001'v' 23 0001 0100 0B 8001 02 00000000",
            View {
                topic_alias: Some(1),
                ..with(
                    publish("a", ""),
                    &[
                        Property::UserProperty("k", "v"),
                        Property::TopicAlias(1),
                        Property::PayloadFormatIndicator(false),
                        Property::SubscriptionIdentifier(128),
                        Property::MessageExpiryInterval(0),
                    ],
                )
            },
        ),
        // covers: v5 MQTT-3.3.2-1
        good(ONLY_V5, "3007 0000 03 23 0001 'x'", alias(publish("", "x"), 1)),
        good(ONLY_V5, "3008 0001'a' 03 23 0002 'x'", alias(publish("a", "x"), 2)),
        good(
            ONLY_V5,
            "3208 0000 0007 03 23 FFFF",
            View { flags: (1, false, false), packet_id: Some(7), ..alias(publish("", ""), 65_535) },
        ),
        // covers: v5 X5-2.2.2-e
        good(
            ONLY_V5,
            "3017 0001'a' 13 26 0001'k' 0001'2' 26 0001'k' 0001'1' 26 0000 0000",
            with(
                publish("a", ""),
                &[
                    Property::UserProperty("k", "2"),
                    Property::UserProperty("k", "1"),
                    Property::UserProperty("", ""),
                ],
            ),
        ),
        // covers: v5 X5-3.3.2-c
        good(ONLY_V5, "3017 0001'a' 13 0B 01 0B 7F 0B 8001 0B FF7F 0B 808001 0B 80808001", {
            let ids = [1, 127, 128, 16_383, 16_384, 2_097_152];
            with(publish("a", ""), &ids.map(Property::SubscriptionIdentifier))
        }),
        good(ONLY_V5, "300A 0001'a' 06 03 0000 09 0000", {
            with(publish("a", ""), &[Property::ContentType(""), Property::CorrelationData(b"")])
        }),
        // covers: v5 X5-4.7.3-a
        good(ONLY_V5, "3004 0001'/' 00", publish("/", "")),
        // covers: v5 X5-4.7.3-a
        good(ONLY_V5, "300C 0009'Accounts ' 00", publish("Accounts ", "")),
        // covers: v5 X5-4.7.3-a
        good(ONLY_V5, "300B 0008'/finance' 00", publish("/finance", "")),
        // covers: v5 X5-4.7.3-a
        good(ONLY_V5, "300B 0008'ACCOUNT/' 00", publish("ACCOUNT/", "")),
        // covers: v5 MQTT-1.5.4-3
        good(ONLY_V5, "300D 0004EFBBBF'a' 06 03 0003EFBBBF", {
            with(publish("\u{FEFF}a", ""), &[Property::ContentType("\u{FEFF}")])
        }),
        // Figure 1-3: A and U+2A6D4.
        good(ONLY_V5, "3008 0005 'A' F0AA9B94 00", publish("A\u{2A6D4}", "")),
        // Control characters and non-characters are taken: see the policy in `text.rs`.
        // covers: v5 X5-1.5.4-a
        good(ONLY_V5, "3009 000101 05 03 0002C280", {
            with(publish("\u{1}", ""), &[Property::ContentType("\u{80}")])
        }),
        // covers: v5 X5-1.5.4-a
        good(ONLY_V5, "3010 00037FC29F 0A 03 0007EFBFBFF09FBFBE", {
            with(publish("\u{7F}\u{9F}", ""), &[Property::ContentType("\u{FFFF}\u{1FFFE}")])
        }),
    ]
}

fn acks() -> Vec<Good> {
    let ack = |reason| Ack::new(id(1), reason);
    let success = || ack(ReasonCode::SUCCESS);
    let explained = |reason| Ack { properties: why("no"), ..ack(reason) };
    vec![
        // covers: v5 X5-3.4.2-a
        good(ONLY_V5, "40 02 0001", Packet::PubAck(success())),
        // covers: v5 X5-3.4.2-a
        good(ONLY_V5, "50 02 0001", Packet::PubRec(success())),
        // covers: v5 X5-3.4.2-a
        good(ONLY_V5, "62 02 0001", Packet::PubRel(success())),
        // covers: v5 X5-3.4.2-a
        good(ONLY_V5, "70 02 0001", Packet::PubComp(success())),
        // covers: v5 X5-3.4.2-b
        good(ONLY_V5, "40 03 0001 10", Packet::PubAck(ack(ReasonCode::NO_MATCHING_SUBSCRIBERS))),
        // covers: v5 X5-3.4.2-b
        good(ONLY_V5, "50 03 0001 97", Packet::PubRec(ack(ReasonCode::QUOTA_EXCEEDED))),
        // covers: v5 X5-3.4.2-b
        good(
            ONLY_V5,
            "62 03 0001 92",
            Packet::PubRel(ack(ReasonCode::PACKET_IDENTIFIER_NOT_FOUND)),
        ),
        // covers: v5 X5-3.4.2-b
        good(ONLY_V5, "70 03 0001 92", {
            Packet::PubComp(ack(ReasonCode::PACKET_IDENTIFIER_NOT_FOUND))
        }),
        // Long forms of what has a shorter one.
        // class: 6
        written_as("40 02 0001", good(ONLY_V5, "40 03 0001 00", Packet::PubAck(success()))),
        written_as("50 02 0001", good(ONLY_V5, "50 04 0001 00 00", Packet::PubRec(success()))),
        written_as("62 02 0001", good(ONLY_V5, "62 04 0001 00 00", Packet::PubRel(success()))),
        written_as("70 03 0001 92", {
            let unknown = Packet::PubComp(ack(ReasonCode::PACKET_IDENTIFIER_NOT_FOUND));
            good(ONLY_V5, "70 04 0001 92 00", unknown)
        }),
        // Properties need the reason code, even if it is Success.
        good(
            ONLY_V5,
            "4009 0001 00 05 1F 0002'no'",
            Packet::PubAck(explained(ReasonCode::SUCCESS)),
        ),
        good(ONLY_V5, "5009 0001 80 05 1F 0002'no'", {
            Packet::PubRec(explained(ReasonCode::UNSPECIFIED_ERROR))
        }),
        good(
            ONLY_V5,
            "6209 0001 00 05 1F 0002'no'",
            Packet::PubRel(explained(ReasonCode::SUCCESS)),
        ),
        // covers: v5 X5-2.2.2-e
        good(
            ONLY_V5,
            "7019 0001 00 15 26 0001'b' 0001'1' 26 0001'a' 0001'2' 26 0001'b' 0001'1'",
            {
                let list = user(&[("b", "1"), ("a", "2"), ("b", "1")]);
                Packet::PubComp(Ack { properties: AckProperties::new(None, list), ..success() })
            },
        ),
        // covers: v5 X5-2.2.2-d
        written_as(
            "4010 0001 00 0C 1F 0002'no' 26 0001'k' 0001'v'",
            good(ONLY_V5, "4010 0001 00 0C 26 0001'k' 0001'v' 1F 0002'no'", {
                let properties = AckProperties::new(some("no"), user(&[("k", "v")]));
                Packet::PubAck(Ack { properties, ..success() })
            }),
        ),
        // An empty Reason String is a Reason String.
        good(ONLY_V5, "4007 0001 00 03 1F 0000", {
            Packet::PubAck(Ack { properties: why(""), ..success() })
        }),
    ]
}

pub(super) fn others() -> Vec<Good> {
    let mut all = connack();
    all.extend(subscriptions());
    all.extend(disconnect_and_auth());
    all
}

fn connack() -> Vec<Good> {
    let packet = |connack: ConnAck| Packet::ConnAck(Box::new(connack));
    let all = ConnAck {
        session_present: true,
        session_expiry_interval: Some(0),
        assigned_client_identifier: some("id"),
        server_keep_alive: Some(30),
        authentication_method: some("m"),
        authentication_data: Some(Bytes::from_static(b"d")),
        response_information: some("r/"),
        server_reference: some("s"),
        reason_string: some("ok"),
        receive_maximum: Some(1),
        topic_alias_maximum: Some(65_535),
        maximum_qos: Some(QoS::AtMostOnce),
        retain_available: Some(false),
        user_properties: user(&[("k", "v")]),
        maximum_packet_size: Some(1),
        wildcard_subscription_available: Some(true),
        subscription_identifier_available: Some(false),
        shared_subscription_available: Some(true),
        ..ConnAck::default()
    };
    vec![
        // covers: v5 MQTT-2.2.2-1
        good(ONLY_V5, "20 03 00 00 00", packet(ConnAck::default())),
        good(ONLY_V5, "20 03 01 00 00", {
            packet(ConnAck { session_present: true, ..ConnAck::default() })
        }),
        good(ONLY_V5, "20 03 00 87 00", packet(ConnAck::new(ReasonCode::NOT_AUTHORIZED))),
        good(ONLY_V5, "2009 00 9C 06 1C 0003'b:1'", {
            let away = ConnAck::new(ReasonCode::USE_ANOTHER_SERVER);
            packet(ConnAck { server_reference: some("b:1"), ..away })
        }),
        good(ONLY_V5, "2005 00 00 02 24 01", {
            packet(ConnAck { maximum_qos: Some(QoS::AtLeastOnce), ..ConnAck::default() })
        }),
        good(
            ONLY_V5,
            "2042 01 00 3F 11 00000000 12 0002'id' 13 001E 15 0001'm' 16 0001'd' 1A 0002'r/'  1C 0001's' 1F 0002'ok' 21 0001 22 FFFF 2400 2500 26 0001'k' 0001'v' 27 00000001  2801 2900 2A01",
            packet(all),
        ),
        // covers: v5 X5-2.2.2-d
        written_as(
            "200C 00 00 09 13 0000 21 000A 22 0000",
            good(ONLY_V5, "200C 00 00 09 22 0000 13 0000 21 000A", {
                packet(ConnAck {
                    server_keep_alive: Some(0),
                    receive_maximum: Some(10),
                    topic_alias_maximum: Some(0),
                    ..ConnAck::default()
                })
            }),
        ),
    ]
}

fn subscriptions() -> Vec<Good> {
    let one =
        |name: &str, options: SubscriptionOptions| Subscription { filter: filter(name), options };
    let packet = |number, subscribe: Subscribe| Packet::Subscribe(id(number), Box::new(subscribe));
    let subscribe = |subscriptions| Subscribe { subscriptions, ..Subscribe::default() };
    let a = |options| packet(1, Subscribe::new(filter("a"), options));
    let numbered = |identifier| Subscribe {
        subscription_identifier: Some(identifier),
        ..Subscribe::new(filter("a"), QoS::AtMostOnce)
    };
    let plain = SubscriptionOptions::default();
    let suback = |codes: &[u8], properties| {
        let reasons = codes.iter().map(|code| ReasonCode::new(*code)).collect();
        SubAck { packet_id: id(10), reasons, properties }
    };
    let unsuback = |codes: &[u8], properties| {
        let reasons = codes.iter().map(|code| ReasonCode::new(*code)).collect();
        Packet::UnsubAck(UnsubAck { packet_id: id(10), reasons, properties })
    };
    let unsubscribe = |filters: &[&str], pairs: &[(&str, &str)]| {
        let filters = filters.iter().map(|name| filter(name)).collect();
        let packet = Unsubscribe { filters, user_properties: user(pairs) };
        Packet::Unsubscribe(id(10), Box::new(packet))
    };
    vec![
        // Figures 3-18 and 3-20: a/b with QoS 1 and c/d with QoS 2.
        // covers: v5 MQTT-2.2.2-1
        good(ONLY_V5, "82 0F 000A 00 0003'a/b' 01 0003'c/d' 02", {
            let (first, second) = (QoS::AtLeastOnce.into(), QoS::ExactlyOnce.into());
            packet(10, subscribe(vec![one("a/b", first), one("c/d", second)]))
        }),
        good(ONLY_V5, "8207 0001 00 0001'a' 04", {
            a(SubscriptionOptions { no_local: true, ..plain })
        }),
        good(ONLY_V5, "8207 0001 00 0001'a' 08", {
            a(SubscriptionOptions { retain_as_published: true, ..plain })
        }),
        good(ONLY_V5, "8207 0001 00 0001'a' 10", {
            a(SubscriptionOptions { retain_handling: RetainHandling::SendIfNew, ..plain })
        }),
        good(ONLY_V5, "8207 0001 00 0001'a' 2E", {
            a(SubscriptionOptions {
                qos: QoS::ExactlyOnce,
                no_local: true,
                retain_as_published: true,
                retain_handling: RetainHandling::DoNotSend,
            })
        }),
        // covers: v5 MQTT-4.8.2-1, v5 MQTT-4.8.2-2
        good(ONLY_V5, "8210 0001 00 000A'$share/g/#' 01", {
            packet(1, Subscribe::new(filter("$share/g/#"), QoS::AtLeastOnce))
        }),
        // covers: v5 MQTT-4.7.1-1, v5 MQTT-4.7.1-2
        good(ONLY_V5, "8212 0001 00 000C'+/tennis/+/#' 00", {
            packet(1, Subscribe::new(filter("+/tennis/+/#"), QoS::AtMostOnce))
        }),
        good(ONLY_V5, "8209 0001 02 0B 01 0001'a' 00", packet(1, numbered(1))),
        good(ONLY_V5, "820C 0001 05 0B FFFFFF7F 0001'a' 00", packet(1, numbered(268_435_455))),
        // covers: v5 X5-2.2.2-e
        good(ONLY_V5, "8218 0001 11 0B 8001 26 0001'k' 0001'v' 26 0001'k' 0001'v' 0001'a' 00", {
            let user_properties = user(&[("k", "v"), ("k", "v")]);
            packet(1, Subscribe { user_properties, ..numbered(128) })
        }),
        // Figure 3-24 has no properties: granted 0 and 2, and refused.
        good(ONLY_V5, "90 06 000A 00 00 02 80", {
            Packet::SubAck(suback(&[0x00, 0x02, 0x80], AckProperties::NONE))
        }),
        good(ONLY_V5, "9009 000A 05 1F 0002'no' 87", Packet::SubAck(suback(&[0x87], why("no")))),
        good(ONLY_V5, "900B 000A 07 26 0001'k' 0001'v' A2", {
            let properties = AckProperties::new(None, user(&[("k", "v")]));
            Packet::SubAck(suback(&[0xA2], properties))
        }),
        // Figures 3-28 and 3-30: a/b and c/d.
        // covers: v5 MQTT-2.2.2-1
        good(ONLY_V5, "A2 0D 000A 00 0003'a/b' 0003'c/d'", unsubscribe(&["a/b", "c/d"], &[])),
        good(ONLY_V5, "A216 000A 07 26 0001'k' 0001'v' 000A'$share/g/a'", {
            unsubscribe(&["$share/g/a"], &[("k", "v")])
        }),
        good(ONLY_V5, "B0 05 000A 00 00 11", unsuback(&[0x00, 0x11], AckProperties::NONE)),
        good(ONLY_V5, "B009 000A 05 1F 0002'no' 80", unsuback(&[0x80], why("no"))),
    ]
}

fn disconnect_and_auth() -> Vec<Good> {
    let bye = |reason| Packet::Disconnect(Disconnect::new(reason));
    let auth = |reason| Auth { reason, authentication_method: some("m"), ..Auth::default() };
    vec![
        good(ONLY_V5, "C0 00", Packet::PingReq),
        good(ONLY_V5, "D0 00", Packet::PingResp),
        // covers: v5 X5-3.14.2-a
        good(ONLY_V5, "E0 00", bye(ReasonCode::SUCCESS)),
        // covers: v5 X5-3.14.2-a
        good(ONLY_V5, "E0 01 04", bye(ReasonCode::DISCONNECT_WITH_WILL)),
        written_as("E0 00", good(ONLY_V5, "E0 01 00", bye(ReasonCode::SUCCESS))),
        written_as("E0 00", good(ONLY_V5, "E0 02 00 00", bye(ReasonCode::SUCCESS))),
        written_as("E0 01 81", good(ONLY_V5, "E0 02 81 00", bye(ReasonCode::MALFORMED_PACKET))),
        // The example of section 3.14.2.2: Session Expiry Interval 0.
        good(ONLY_V5, "E0 07 00 05 11 00000000", {
            let disconnect = Disconnect::new(ReasonCode::SUCCESS);
            Packet::Disconnect(Disconnect { session_expiry_interval: Some(0), ..disconnect })
        }),
        good(ONLY_V5, "E012 9D 10 1C 0001's' 1F 0002'no' 26 0001'k' 0001'v'", {
            Packet::Disconnect(Disconnect {
                server_reference: some("s"),
                properties: AckProperties::new(some("no"), user(&[("k", "v")])),
                ..Disconnect::new(ReasonCode::SERVER_MOVED)
            })
        }),
        good(ONLY_V5, "E0 01 8C", bye(ReasonCode::BAD_AUTHENTICATION_METHOD)),
        // covers: v5 X5-3.15.2-a
        good(ONLY_V5, "F0 00", Packet::Auth(Box::default())),
        good(ONLY_V5, "F006 18 04 15 0001'm'", {
            Packet::Auth(Box::new(auth(ReasonCode::CONTINUE_AUTHENTICATION)))
        }),
        good(ONLY_V5, "F017 19 15 15 0001'm' 16 000200FF 1F 0002'no' 26 0001'k' 0001'v'", {
            Packet::Auth(Box::new(Auth {
                authentication_data: Some(Bytes::from_static(b"\x00\xFF")),
                reason_string: some("no"),
                user_properties: user(&[("k", "v")]),
                ..auth(ReasonCode::RE_AUTHENTICATE)
            }))
        }),
        good(ONLY_V5, "F006 00 04 15 0001'm'", Packet::Auth(Box::new(auth(ReasonCode::SUCCESS)))),
    ]
}
