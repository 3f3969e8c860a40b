//! What the encoder refuses: the rules that forbid something, seen from the sending side.

use bytes::Bytes;
use mqtt_proto::codec::{PublishHeader, TopicAlias};
use mqtt_proto::{
    Ack, AckProperties, Auth, ConnAck, Connect, DecodeCause, Disconnect, EncodeError, Packet,
    PacketType, Publish, PublishFields, QoS, ReasonCode, RetainHandling, SubAck, Subscribe,
    SubscriptionOptions, UnsubAck, Unsubscribe, Version, Version::*, Will,
};

use crate::hex::{ALL_VERSIONS, encode, encode_publish, filter, hex, id, text, topic};

fn connect(connect: Connect) -> Packet {
    Packet::Connect(Box::new(connect))
}

fn client() -> Connect {
    Connect { client_id: text("c"), clean_start: true, ..Connect::default() }
}

fn connack(connack: ConnAck) -> Packet {
    Packet::ConnAck(Box::new(connack))
}

fn subscribe(subscribe: Subscribe) -> Packet {
    Packet::Subscribe(id(1), Box::new(subscribe))
}

fn one(options: SubscriptionOptions) -> Subscribe {
    Subscribe::new(filter("a"), options)
}

#[track_caller]
fn invalid(packet: &Packet, version: Version, cause: DecodeCause) {
    let wanted = EncodeError::Invalid { packet: packet.packet_type(), cause };
    assert_eq!(encode(packet, version), Err(wanted), "{version}: {packet:?}");
}

#[track_caller]
fn only_in_v5(packet: &Packet) {
    assert!(encode(packet, V5).is_ok(), "{packet:?}");
    for version in [V31, V311] {
        match encode(packet, version) {
            Err(EncodeError::NotInVersion { version: named, .. }) => assert_eq!(named, version),
            other => panic!("{version}: {packet:?}: {other:?}"),
        }
    }
}

// covers: v3 MQTT-3.1.2-22
#[test]
fn a_password_needs_a_user_name_in_3_x() {
    let packet = connect(Connect { password: Some(Bytes::from_static(b"p")), ..client() });
    for version in [V31, V311] {
        invalid(&packet, version, DecodeCause::PasswordWithoutUserName);
    }
    assert!(encode(&packet, V5).is_ok());
}

// covers: v3 MQTT-3.1.3-7
#[test]
fn an_empty_client_identifier_needs_a_clean_session_in_3_1_1() {
    let nameless = |clean_start| connect(Connect { clean_start, ..Connect::default() });
    invalid(&nameless(false), V311, DecodeCause::ClientIdEmpty);
    invalid(&nameless(false), V31, DecodeCause::ClientIdEmpty);
    invalid(&nameless(true), V31, DecodeCause::ClientIdEmpty);
    assert!(encode(&nameless(true), V311).is_ok());
    assert!(encode(&nameless(false), V5).is_ok());
}

// covers: v5 X5-3.1.2-m, v5 X5-3.1.2-e, v5 X5-3.1.2-g
#[test]
fn connect_with_properties_that_do_not_fit() {
    let data = Some(Bytes::from_static(b"d"));
    let lonely = connect(Connect { authentication_data: data, ..client() });
    invalid(&lonely, V5, DecodeCause::AuthenticationMethodMissing);
    let zero = connect(Connect { receive_maximum: Some(0), ..client() });
    invalid(&zero, V5, DecodeCause::PropertyValue);
    let zero = connect(Connect { maximum_packet_size: Some(0), ..client() });
    invalid(&zero, V5, DecodeCause::PropertyValue);
    let mut will = Will::new(topic("w"), "");
    will.properties.edit().subscription_identifiers = vec![1];
    let will = connect(Connect { will: Some(will), ..client() });
    invalid(&will, V5, DecodeCause::PropertyMisplaced);
}

// covers: v5 X5-2.2.2-c
#[test]
fn properties_of_connect_only_in_5_0() {
    let will = Will::new(topic("w"), "");
    let mut typed = will.clone();
    typed.properties.edit().content_type = Some(text("t"));
    let late = Will { delay_interval: Some(0), ..will };
    let method = || Some(text("m"));
    let data = Some(Bytes::new());
    for packet in [
        Connect { session_expiry_interval: Some(0), ..client() },
        Connect { receive_maximum: Some(1), ..client() },
        Connect { maximum_packet_size: Some(1), ..client() },
        Connect { topic_alias_maximum: Some(0), ..client() },
        Connect { request_response_information: Some(false), ..client() },
        Connect { request_problem_information: Some(true), ..client() },
        Connect { user_properties: vec![(text("k"), text("v"))], ..client() },
        Connect { authentication_method: method(), ..client() },
        Connect { authentication_method: method(), authentication_data: data, ..client() },
        Connect { will: Some(typed), ..client() },
        Connect { will: Some(late), ..client() },
    ] {
        only_in_v5(&connect(packet));
    }
}

// covers: v5 MQTT-3.2.2-6, v3 MQTT-3.2.2-4
#[test]
fn a_refusal_has_no_session_present() {
    let refusal = ConnAck { session_present: true, ..ConnAck::new(ReasonCode::NOT_AUTHORIZED) };
    for version in ALL_VERSIONS {
        invalid(&connack(refusal.clone()), version, DecodeCause::SessionPresent);
    }
    // MQTT 3.1 has no place for it at all.
    let resumed = connack(ConnAck { session_present: true, ..ConnAck::default() });
    let wanted = EncodeError::NotInVersion { what: "Session Present", version: V31 };
    assert_eq!(encode(&resumed, V31), Err(wanted));
}

// covers: v5 X5-3.2.2-b, v5 X5-3.2.2-e
#[test]
fn connack_with_limits_of_zero() {
    let zero = connack(ConnAck { receive_maximum: Some(0), ..ConnAck::default() });
    invalid(&zero, V5, DecodeCause::PropertyValue);
    let zero = connack(ConnAck { maximum_packet_size: Some(0), ..ConnAck::default() });
    invalid(&zero, V5, DecodeCause::PropertyValue);
}

// covers: v5 X5-3.2.2-c
#[test]
fn maximum_qos_2_is_said_by_saying_nothing() {
    let two = ConnAck { maximum_qos: Some(QoS::ExactlyOnce), ..ConnAck::default() };
    assert_eq!(encode(&connack(two), V5), Ok(hex("20 03 00 00 00")));
}

// covers: v5 X5-2.2.2-c
#[test]
fn properties_of_connack_only_in_5_0() {
    let nothing = ConnAck::default;
    for packet in [
        ConnAck { session_expiry_interval: Some(0), ..nothing() },
        ConnAck { receive_maximum: Some(1), ..nothing() },
        ConnAck { maximum_qos: Some(QoS::AtMostOnce), ..nothing() },
        ConnAck { retain_available: Some(true), ..nothing() },
        ConnAck { maximum_packet_size: Some(1), ..nothing() },
        ConnAck { assigned_client_identifier: Some(text("c")), ..nothing() },
        ConnAck { topic_alias_maximum: Some(0), ..nothing() },
        ConnAck { reason_string: Some(text("")), ..nothing() },
        ConnAck { user_properties: vec![(text(""), text(""))], ..nothing() },
        ConnAck { wildcard_subscription_available: Some(true), ..nothing() },
        ConnAck { subscription_identifier_available: Some(true), ..nothing() },
        ConnAck { shared_subscription_available: Some(true), ..nothing() },
        ConnAck { server_keep_alive: Some(0), ..nothing() },
        ConnAck { response_information: Some(text("")), ..nothing() },
        ConnAck { server_reference: Some(text("")), ..nothing() },
        ConnAck { authentication_method: Some(text("")), ..nothing() },
        ConnAck { authentication_data: Some(Bytes::new()), ..nothing() },
    ] {
        only_in_v5(&connack(packet));
    }
}

#[track_caller]
fn invalid_publish(publish: &Publish, header: PublishHeader, version: Version, cause: DecodeCause) {
    let wanted = EncodeError::Invalid { packet: PacketType::Publish, cause };
    assert_eq!(encode_publish(publish, &header, version), Err(wanted), "{version}: {publish:?}");
}

// covers: v5 MQTT-3.3.1-2, v5 MQTT-4.3.1-1, v3 MQTT-3.3.1-2, v3 MQTT-4.3.1-1
#[test]
fn dup_at_qos_0() {
    let publish = Publish::new(topic("a"), "");
    for version in ALL_VERSIONS {
        let header = PublishHeader { dup: true, ..Default::default() };
        invalid_publish(&publish, header, version, DecodeCause::DupOnQos0);
        let sent = encode_publish(&publish, &PublishHeader::default(), version).unwrap();
        assert_eq!(sent[0], 0x30, "QoS 0 and DUP 0");
    }
}

// covers: v5 MQTT-3.3.1-1, v3 MQTT-3.3.1-1, v5 MQTT-3.3.1-4, v3 MQTT-3.3.1-4
#[test]
fn first_byte_of_publish() {
    let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    for version in ALL_VERSIONS {
        for (bits, qos) in qos.into_iter().enumerate() {
            for (dup, retain) in [(false, false), (false, true), (true, false), (true, true)] {
                if bits == 0 && dup {
                    continue;
                }
                let publish = Publish::new(topic("a"), "").qos(qos).retain(retain);
                let header = PublishHeader { packet_id: Some(id(1)), dup, ..Default::default() };
                let sent = encode_publish(&publish, &header, version).unwrap();
                let first = 0x30 | u8::from(dup) << 3 | (bits as u8) << 1 | u8::from(retain);
                assert_eq!(sent[0], first, "{version}");
            }
        }
    }
}

// covers: v5 MQTT-2.2.1-2, v3 MQTT-2.3.1-5, v3 MQTT-2.3.1-1, v5 X5-2.2.1-a
#[test]
fn packet_identifiers_of_publish() {
    for (version, with_id, without) in [
        (V31, "32 05 0001'a' 0007", "30 03 0001'a'"),
        (V311, "32 05 0001'a' 0007", "30 03 0001'a'"),
        (V5, "32 06 0001'a' 0007 00", "30 04 0001'a' 00"),
    ] {
        let header = PublishHeader { packet_id: Some(id(7)), ..Default::default() };
        let publish = Publish::new(topic("a"), "");
        assert_eq!(encode_publish(&publish, &header, version), Ok(hex(without)), "ignored");
        let publish = publish.qos(QoS::AtLeastOnce);
        assert_eq!(encode_publish(&publish, &header, version), Ok(hex(with_id)));
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let nameless = PublishHeader::default();
            let cause = DecodeCause::PacketIdZero;
            invalid_publish(&publish.clone().qos(qos), nameless, version, cause);
        }
    }
    assert_eq!(mqtt_proto::PacketId::new(0), None);
}

// covers: v5 MQTT-3.3.2-8
#[test]
fn topic_aliases() {
    let publish = Publish::new(topic("a"), "x");
    let with = |alias| PublishHeader { topic_alias: Some(alias), ..Default::default() };
    for alias in [TopicAlias::Set(0), TopicAlias::Use(0)] {
        invalid_publish(&publish, with(alias), V5, DecodeCause::TopicAliasZero);
    }
    for alias in [TopicAlias::Set(1), TopicAlias::Use(1)] {
        for version in [V31, V311] {
            let wanted = EncodeError::NotInVersion { what: "a Topic Alias", version };
            assert_eq!(encode_publish(&publish, &with(alias), version), Err(wanted));
        }
    }
    let set = encode_publish(&publish, &with(TopicAlias::Set(0x102)), V5);
    assert_eq!(set, Ok(hex("30 08 0001'a' 03 23 0102 'x'")));
    let used = encode_publish(&publish, &with(TopicAlias::Use(0xFFFF)), V5);
    assert_eq!(used, Ok(hex("30 07 0000 03 23 FFFF 'x'")));
}

// covers: v5 X5-3.3.2-c
#[test]
fn subscription_identifiers_of_publish() {
    for bad in [0, 268_435_456, u32::MAX] {
        let mut publish = Publish::new(topic("a"), "");
        publish.properties.edit().subscription_identifiers = vec![1, bad];
        invalid_publish(&publish, PublishHeader::default(), V5, DecodeCause::PropertyValue);
    }
}

// What is left of the Message Expiry Interval takes the place of what the message says.
#[test]
fn message_expiry_interval_that_has_run_down() {
    let mut publish = Publish::new(topic("a"), "");
    let header = PublishHeader { message_expiry_interval: Some(5), ..Default::default() };
    assert_eq!(encode_publish(&publish, &header, V5), Ok(hex("30 04 0001'a' 00")));
    publish.properties.edit().message_expiry_interval = Some(60);
    let sent = encode_publish(&publish, &header, V5);
    assert_eq!(sent, Ok(hex("30 09 0001'a' 05 02 00000005")));
    let sent = encode_publish(&publish, &PublishHeader::default(), V5);
    assert_eq!(sent, Ok(hex("30 09 0001'a' 05 02 0000003C")));
}

// covers: v5 X5-2.2.2-c
#[test]
fn properties_of_publish_only_in_5_0() {
    let none = PublishFields::default;
    for fields in [
        PublishFields { payload_format_indicator: Some(false), ..none() },
        PublishFields { message_expiry_interval: Some(0), ..none() },
        PublishFields { content_type: Some(text("")), ..none() },
        PublishFields { response_topic: Some(topic("r")), ..none() },
        PublishFields { correlation_data: Some(Bytes::new()), ..none() },
        PublishFields { subscription_identifiers: vec![1], ..none() },
        PublishFields { user_properties: vec![(text("k"), text("v"))], ..none() },
    ] {
        let mut publish = Publish::new(topic("a"), "");
        publish.properties = fields.into();
        assert!(encode_publish(&publish, &PublishHeader::default(), V5).is_ok());
        for version in [V31, V311] {
            let wanted = EncodeError::NotInVersion { what: "a property of a message", version };
            let header = PublishHeader::default();
            assert_eq!(encode_publish(&publish, &header, version), Err(wanted));
        }
        // The same for one that came from the wire.
        let packet = mqtt_proto::codec::publish_packet(&publish, &PublishHeader::default());
        only_in_v5(&Packet::Publish(packet.unwrap()));
    }
    // Properties that were opened and left empty are none.
    let mut publish = Publish::new(topic("a"), "");
    publish.properties.edit();
    for version in ALL_VERSIONS {
        assert!(encode_publish(&publish, &PublishHeader::default(), version).is_ok());
    }
}

// covers: v5 X5-2.2.2-c
#[test]
fn properties_of_the_other_packets_only_in_5_0() {
    let why = || AckProperties::new(Some(text("")), Vec::new());
    let user = || vec![(text("k"), text("v"))];
    let ack = || Ack { properties: why(), ..Ack::new(id(1), ReasonCode::SUCCESS) };
    let reasons = || vec![ReasonCode::SUCCESS];
    let bye = || Disconnect::new(ReasonCode::SUCCESS);
    let filters = vec![filter("a")];
    for packet in [
        Packet::PubAck(ack()),
        Packet::PubRec(ack()),
        Packet::PubRel(ack()),
        Packet::PubComp(ack()),
        subscribe(Subscribe { subscription_identifier: Some(1), ..one(QoS::AtMostOnce.into()) }),
        subscribe(Subscribe { user_properties: user(), ..one(QoS::AtMostOnce.into()) }),
        Packet::SubAck(SubAck { packet_id: id(1), reasons: reasons(), properties: why() }),
        Packet::Unsubscribe(id(1), Box::new(Unsubscribe { filters, user_properties: user() })),
        Packet::UnsubAck(UnsubAck { packet_id: id(1), reasons: reasons(), properties: why() }),
        Packet::Disconnect(Disconnect { session_expiry_interval: Some(0), ..bye() }),
        Packet::Disconnect(Disconnect { server_reference: Some(text("s")), ..bye() }),
        Packet::Disconnect(Disconnect { properties: why(), ..bye() }),
        // AUTH itself is of 5.0.
        Packet::Auth(Box::default()),
        Packet::Auth(Box::new(Auth { authentication_method: Some(text("m")), ..Auth::default() })),
    ] {
        only_in_v5(&packet);
    }
}

// covers: v5 MQTT-3.8.3-2, v5 X5-3.8.3-a, v5 MQTT-3.10.3-2, v5 X5-3.10.3-a, v5 X5-2.3-a
// covers: v3 MQTT-3.8.3-3, v3 MQTT-3.10.3-2, v3 X3-2.4-a
#[test]
fn packets_without_their_payload() {
    let empty = || SubAck { packet_id: id(1), reasons: vec![], properties: AckProperties::NONE };
    for version in ALL_VERSIONS {
        invalid(&subscribe(Subscribe::default()), version, DecodeCause::NoFilters);
        let unsubscribe = Packet::Unsubscribe(id(1), Box::default());
        invalid(&unsubscribe, version, DecodeCause::NoFilters);
        invalid(&Packet::SubAck(empty()), version, DecodeCause::NoReasonCodes);
        let SubAck { packet_id, reasons, properties } = empty();
        let unsuback = Packet::UnsubAck(UnsubAck { packet_id, reasons, properties });
        match version {
            V5 => invalid(&unsuback, version, DecodeCause::NoReasonCodes),
            _ => assert_eq!(encode(&unsuback, version), Ok(hex("B0 02 0001"))),
        }
    }
}

// covers: v5 MQTT-3.8.3-4
#[test]
fn no_local_on_a_shared_subscription() {
    let options = SubscriptionOptions { no_local: true, ..Default::default() };
    let shared = subscribe(Subscribe::new(filter("$share/g/a"), options));
    invalid(&shared, V5, DecodeCause::NoLocalShared);
    let mut second = one(options);
    second.subscriptions.extend(Subscribe::new(filter("$share/g/a"), options).subscriptions);
    invalid(&subscribe(second), V5, DecodeCause::NoLocalShared);
    assert!(encode(&subscribe(one(options)), V5).is_ok());
}

// covers: v5 X5-3.8.2-a
#[test]
fn subscription_identifiers_of_subscribe() {
    for bad in [0, 268_435_456, u32::MAX] {
        let subscription_identifier = Some(bad);
        let packet = Subscribe { subscription_identifier, ..one(QoS::AtMostOnce.into()) };
        invalid(&subscribe(packet), V5, DecodeCause::PropertyValue);
    }
}

// covers: v3 MQTT-3.8.3-4, v5 MQTT-3.8.3-5, v5 X5-3.8.3-b
#[test]
fn every_byte_of_subscription_options() {
    for version in ALL_VERSIONS {
        let mut taken = 0;
        for byte in 0..=255 {
            let text = match version {
                V5 => format!("82 07 0001 00 0001'a' {byte:02X}"),
                _ => format!("82 06 0001 0001'a' {byte:02X}"),
            };
            let (frame, at) = (hex(&text), if version == V5 { 8 } else { 7 });
            let reserved = if version == V5 { 0b1100_0000 } else { 0b1111_1100 };
            let three = byte & 0b11 == 0b11 || byte & 0b11_0000 == 0b11_0000;
            if byte & reserved != 0 {
                let cause = DecodeCause::SubscriptionOptionsReserved;
                crate::hex::refused_at(version, &frame, cause, 0x81, at);
            } else if three {
                let cause = DecodeCause::SubscriptionOptions;
                crate::hex::refused_at(version, &frame, cause, 0x82, at);
            } else {
                let packet = crate::hex::decode(&text, version).unwrap();
                assert_eq!(encode(&packet, version), Ok(frame));
                taken += 1;
            }
        }
        assert_eq!(taken, if version == V5 { 3 * 3 * 4 } else { 3 });
    }
    for options in [
        SubscriptionOptions { no_local: true, ..Default::default() },
        SubscriptionOptions { retain_as_published: true, ..Default::default() },
        SubscriptionOptions { retain_handling: RetainHandling::SendIfNew, ..Default::default() },
    ] {
        only_in_v5(&subscribe(one(options)));
    }
}

// covers: v5 X5-3.15.2-b, v5 X5-3.15.2-a
#[test]
fn auth_without_a_method() {
    let data = Some(Bytes::from_static(b"d"));
    for auth in [
        Auth { reason: ReasonCode::CONTINUE_AUTHENTICATION, ..Auth::default() },
        Auth { authentication_data: data, ..Auth::default() },
        Auth { reason_string: Some(text("why")), ..Auth::default() },
        Auth { user_properties: vec![(text("k"), text("v"))], ..Auth::default() },
    ] {
        invalid(&Packet::Auth(Box::new(auth)), V5, DecodeCause::AuthenticationMethodMissing);
    }
    assert_eq!(encode(&Packet::Auth(Box::default()), V5), Ok(hex("F0 00")));
}

// covers: v5 MQTT-2.1.3-1, v5 MQTT-3.6.1-1, v5 MQTT-3.8.1-1, v5 MQTT-3.10.1-1
// covers: v5 MQTT-3.14.1-1, v5 MQTT-3.15.1-1
// covers: v3 MQTT-2.2.2-1, v3 MQTT-2.2.2-2, v3 MQTT-3.6.1-1, v3 MQTT-3.8.1-1
// covers: v3 MQTT-3.10.1-1, v3 MQTT-3.14.1-1
#[test]
fn flags_of_the_fixed_header() {
    let samples = [
        ("10 0D 0004'MQTT' 05 02 0000 00 0000", "10 0D 0004'MQTT' 04 02 0000 0001'c'"),
        ("20 03 00 00 00", "20 02 00 00"),
        ("40 02 0001", "40 02 0001"),
        ("50 02 0001", "50 02 0001"),
        ("62 02 0001", "62 02 0001"),
        ("70 02 0001", "70 02 0001"),
        ("82 07 0001 00 0001'a' 00", "82 06 0001 0001'a' 00"),
        ("90 04 0001 00 00", "90 03 0001 00"),
        ("A2 06 0001 00 0001'a'", "A2 05 0001 0001'a'"),
        ("B0 04 0001 00 00", "B0 02 0001"),
        ("C0 00", "C0 00"),
        ("D0 00", "D0 00"),
        ("E0 00", "E0 00"),
        ("F0 00", "F0 00"),
    ];
    for (v5, v311) in samples {
        for (version, text) in [(V5, v5), (V311, v311)] {
            let right = hex(text);
            if version == V311 && right[0] == 0xF0 {
                continue;
            }
            for flags in 0..16 {
                let mut frame = right.to_vec();
                frame[0] = frame[0] & 0xF0 | flags;
                if frame[0] == right[0] {
                    let packet = crate::hex::decode_bytes(&frame, version).unwrap();
                    assert_eq!(encode(&packet, version).unwrap()[0], right[0], "{text}");
                } else {
                    let cause = DecodeCause::ReservedFlags;
                    crate::hex::refused_at(version, &frame.clone().into(), cause, 0x81, 0);
                    // Already the first byte tells, before the length is believed; but MQTT 3.1
                    // knows DUP beside 0010, and the version is not known there.
                    if flags != 0b1010 || right[0] & 0x0F != 0b0010 {
                        let mut input = bytes::BytesMut::from(&frame[..1]);
                        let error = mqtt_proto::codec::frame(&mut input, u32::MAX).unwrap_err();
                        assert_eq!((error.cause(), error.offset()), (cause, 0));
                    }
                }
            }
        }
    }
}
