//! Any packet that a version permits.

use bytes::Bytes;
use mqtt_proto::codec::{self, PublishHeader, TopicAlias};
use mqtt_proto::{
    Ack, AckProperties, Auth, ConnAck, Connect, Disconnect, Packet, PacketId, PacketType, Publish,
    PublishFields, QoS, ReasonCode, RetainHandling, SubAck, Subscribe, Subscription,
    SubscriptionOptions, Text, TopicFilter, TopicName, UnsubAck, Unsubscribe, UserProperties,
    Version, Will,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

/// A packet together with the version that it is for.
pub(crate) fn packet_and_version() -> impl Strategy<Value = (Packet, Version)> {
    version().prop_flat_map(|version| (packet(version), Just(version)))
}

pub(crate) fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V31), Just(Version::V311), Just(Version::V5)]
}

/// A packet of any type that the version has.
pub(crate) fn packet(version: Version) -> BoxedStrategy<Packet> {
    let v5 = version.is_v5();
    let any = prop_oneof![
        connect(version),
        connack(version),
        publish(v5),
        ack(v5, PacketType::PubAck).prop_map(Packet::PubAck),
        ack(v5, PacketType::PubRec).prop_map(Packet::PubRec),
        ack(v5, PacketType::PubRel).prop_map(Packet::PubRel),
        ack(v5, PacketType::PubComp).prop_map(Packet::PubComp),
        subscribe(v5),
        suback(v5),
        unsubscribe(v5),
        unsuback(v5),
        Just(Packet::PingReq),
        Just(Packet::PingResp),
        disconnect(v5),
    ];
    if v5 { prop_oneof![14 => any, 1 => auth()].boxed() } else { any.boxed() }
}

/// What exists in MQTT 5.0 only.
fn only<T: Clone + std::fmt::Debug + 'static>(
    v5: bool,
    strategy: impl Strategy<Value = T> + 'static,
) -> BoxedStrategy<Option<T>> {
    if v5 { of(strategy).boxed() } else { Just(None).boxed() }
}

fn id() -> impl Strategy<Value = PacketId> {
    (1..=u16::MAX).prop_map(|id| PacketId::new(id).unwrap())
}

fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => vec(prop_oneof![Just('a'), Just('/'), Just(' '), Just('\u{FEFF}'), Just('\u{20AC}')], 0..12),
        1 => vec(any::<char>().prop_filter("no NUL", |c| *c != '\0'), 0..24),
        1 => vec(Just('x'), 120..140),
    ]
    .prop_map(|chars| chars.into_iter().collect())
}

fn text() -> impl Strategy<Value = Text> {
    string().prop_map(|string| Text::new(string).unwrap())
}

fn data() -> impl Strategy<Value = Bytes> {
    prop_oneof![4 => vec(any::<u8>(), 0..8), 1 => vec(any::<u8>(), 120..140)].prop_map(Bytes::from)
}

fn topic() -> impl Strategy<Value = TopicName> {
    string().prop_filter_map("a Topic Name", |string| {
        TopicName::new(string.replace(['#', '+'], "-")).ok()
    })
}

fn filter() -> impl Strategy<Value = TopicFilter> {
    let level = prop_oneof![Just("a"), Just("+"), Just(""), Just("$SYS"), Just("\u{20AC}")];
    let ends = any::<bool>();
    let share = prop_oneof![3 => Just(""), 1 => Just("$share/g/"), 1 => Just("$share/\u{20AC} /")];
    (share, vec(level, 1..6), ends).prop_filter_map("a Topic Filter", |(share, levels, ends)| {
        let end = if ends { "/#" } else { "" };
        TopicFilter::new(format!("{share}{}{end}", levels.join("/"))).ok()
    })
}

fn user() -> impl Strategy<Value = UserProperties> {
    prop_oneof![3 => Just(Vec::new()), 1 => vec((text(), text()), 0..5)]
}

fn user_if(v5: bool) -> BoxedStrategy<UserProperties> {
    if v5 { user().boxed() } else { Just(Vec::new()).boxed() }
}

fn ack_properties(v5: bool) -> BoxedStrategy<AckProperties> {
    (only(v5, text()), user_if(v5))
        .prop_map(|(reason, user)| AckProperties::new(reason, user))
        .boxed()
}

/// A reason code that the packet may have.
fn reason(packet: PacketType) -> impl Strategy<Value = ReasonCode> {
    let valid: Vec<_> =
        (0..=255).map(ReasonCode::new).filter(|code| code.is_valid_in(packet)).collect();
    proptest::sample::select(valid)
}

fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce), Just(QoS::ExactlyOnce)]
}

fn identifier() -> impl Strategy<Value = u32> {
    prop_oneof![1..200u32, 1..=268_435_455u32]
}

fn fields(v5: bool, identifiers: bool) -> BoxedStrategy<PublishFields> {
    if !v5 {
        return Just(PublishFields::default()).boxed();
    }
    let identifiers = if identifiers { 0..4usize } else { 0..1 };
    (
        of(any::<bool>()),
        of(any::<u32>()),
        of(text()),
        of(topic()),
        of(data()),
        vec(identifier(), identifiers),
        user(),
    )
        .prop_map(|fields| PublishFields {
            payload_format_indicator: fields.0,
            message_expiry_interval: fields.1,
            content_type: fields.2,
            response_topic: fields.3,
            correlation_data: fields.4,
            subscription_identifiers: fields.5,
            // It is the header of the packet that says it.
            topic_alias: None,
            user_properties: fields.6,
        })
        .boxed()
}

fn connect(version: Version) -> impl Strategy<Value = Packet> {
    let v5 = version.is_v5();
    let will = (topic(), data(), qos(), any::<bool>(), only(v5, any::<u32>()), fields(v5, false))
        .prop_map(|(topic, payload, qos, retain, delay_interval, fields)| Will {
            topic,
            payload,
            qos,
            retain,
            delay_interval,
            properties: fields.into(),
        });
    let basics = (text(), any::<bool>(), any::<u16>(), of(will), of(text()), of(data()));
    let properties = (
        only(v5, any::<u32>()),
        only(v5, 1..=u16::MAX),
        only(v5, 1..=u32::MAX),
        only(v5, any::<u16>()),
        only(v5, any::<bool>()),
        only(v5, any::<bool>()),
        user_if(v5),
        only(v5, (text(), of(data()))),
    );
    (basics, properties).prop_map(move |(basics, properties)| {
        let (mut client_id, clean_start, keep_alive, will, user_name, password) = basics;
        let nameless = v5 || (version == Version::V311 && clean_start);
        if client_id.is_empty() && !nameless {
            client_id = Text::new("c").unwrap();
        }
        let password = password.filter(|_| v5 || user_name.is_some());
        let (method, data) = properties.7.unzip();
        Packet::Connect(Box::new(Connect {
            client_id,
            clean_start,
            keep_alive,
            will,
            user_name,
            password,
            session_expiry_interval: properties.0,
            receive_maximum: properties.1,
            maximum_packet_size: properties.2,
            topic_alias_maximum: properties.3,
            request_response_information: properties.4,
            request_problem_information: properties.5,
            user_properties: properties.6,
            authentication_method: method,
            authentication_data: data.flatten(),
        }))
    })
}

fn connack(version: Version) -> impl Strategy<Value = Packet> {
    let v5 = version.is_v5();
    let reason = if v5 {
        reason(PacketType::ConnAck).boxed()
    } else {
        (0..6u8).prop_map(|code| ReasonCode::from_return_code(code).unwrap()).boxed()
    };
    let limits = (
        only(v5, any::<u32>()),
        only(v5, 1..=u16::MAX),
        // QoS 2 is not written: absent means it.
        only(v5, prop_oneof![Just(QoS::AtMostOnce), Just(QoS::AtLeastOnce)]),
        only(v5, any::<bool>()),
        only(v5, 1..=u32::MAX),
        only(v5, any::<u16>()),
        only(v5, any::<bool>()),
        only(v5, any::<bool>()),
        only(v5, any::<bool>()),
        only(v5, any::<u16>()),
    );
    let texts = (
        only(v5, text()),
        only(v5, text()),
        user_if(v5),
        only(v5, text()),
        only(v5, text()),
        only(v5, text()),
        only(v5, data()),
    );
    (any::<bool>(), reason, limits, texts).prop_map(move |(present, reason, limits, texts)| {
        let session_present = present && reason == ReasonCode::SUCCESS && version != Version::V31;
        Packet::ConnAck(Box::new(ConnAck {
            session_present,
            reason,
            session_expiry_interval: limits.0,
            receive_maximum: limits.1,
            maximum_qos: limits.2,
            retain_available: limits.3,
            maximum_packet_size: limits.4,
            assigned_client_identifier: texts.0,
            topic_alias_maximum: limits.5,
            reason_string: texts.1,
            user_properties: texts.2,
            wildcard_subscription_available: limits.6,
            subscription_identifier_available: limits.7,
            shared_subscription_available: limits.8,
            server_keep_alive: limits.9,
            response_information: texts.3,
            server_reference: texts.4,
            authentication_method: texts.5,
            authentication_data: texts.6,
        }))
    })
}

/// A message and what goes with it on one connection.
pub(crate) fn message(v5: bool) -> impl Strategy<Value = (Publish, PublishHeader)> {
    let payload = prop_oneof![
        8 => vec(any::<u8>(), 0..40),
        1 => vec(any::<u8>(), 120..140),
        1 => (2000..20_000usize).prop_map(|len| vec![7; len]),
    ];
    let alias = (any::<bool>(), 1..=u16::MAX)
        .prop_map(|(set, alias)| if set { TopicAlias::Set(alias) } else { TopicAlias::Use(alias) });
    let header = (id(), any::<bool>(), only(v5, alias));
    (topic(), payload, qos(), any::<bool>(), fields(v5, true), header).prop_map(
        |(topic, payload, qos, retain, fields, (packet_id, dup, topic_alias))| {
            let mut publish = Publish::new(topic, payload).qos(qos).retain(retain);
            publish.properties = fields.into();
            let header = PublishHeader {
                packet_id: (qos != QoS::AtMostOnce).then_some(packet_id),
                dup: dup && qos != QoS::AtMostOnce,
                topic_alias,
                message_expiry_interval: None,
            };
            (publish, header)
        },
    )
}

fn publish(v5: bool) -> impl Strategy<Value = Packet> {
    message(v5).prop_map(|(publish, header)| {
        Packet::Publish(codec::publish_packet(&publish, &header).unwrap())
    })
}

fn ack(v5: bool, packet: PacketType) -> impl Strategy<Value = Ack> {
    let reason = if v5 { reason(packet).boxed() } else { Just(ReasonCode::SUCCESS).boxed() };
    (id(), reason, ack_properties(v5)).prop_map(|(packet_id, reason, properties)| Ack {
        packet_id,
        reason,
        properties,
    })
}

fn options(v5: bool) -> BoxedStrategy<SubscriptionOptions> {
    let handling = prop_oneof![
        Just(RetainHandling::Send),
        Just(RetainHandling::SendIfNew),
        Just(RetainHandling::DoNotSend),
    ];
    if !v5 {
        return qos().prop_map(SubscriptionOptions::from).boxed();
    }
    (qos(), any::<bool>(), any::<bool>(), handling)
        .prop_map(|(qos, no_local, retain_as_published, retain_handling)| SubscriptionOptions {
            qos,
            no_local,
            retain_as_published,
            retain_handling,
        })
        .boxed()
}

fn subscribe(v5: bool) -> impl Strategy<Value = Packet> {
    let one = (filter(), options(v5)).prop_map(|(filter, mut options)| {
        options.no_local &= !filter.is_shared();
        Subscription { filter, options }
    });
    (id(), vec(one, 1..5), only(v5, identifier()), user_if(v5)).prop_map(
        |(id, subscriptions, subscription_identifier, user_properties)| {
            let packet = Subscribe { subscriptions, subscription_identifier, user_properties };
            Packet::Subscribe(id, Box::new(packet))
        },
    )
}

fn suback(v5: bool) -> impl Strategy<Value = Packet> {
    let reason = if v5 {
        reason(PacketType::SubAck).boxed()
    } else {
        proptest::sample::select(vec![0, 1, 2, 0x80]).prop_map(ReasonCode::new).boxed()
    };
    (id(), vec(reason, 1..6), ack_properties(v5)).prop_map(|(packet_id, reasons, properties)| {
        Packet::SubAck(SubAck { packet_id, reasons, properties })
    })
}

fn unsubscribe(v5: bool) -> impl Strategy<Value = Packet> {
    (id(), vec(filter(), 1..5), user_if(v5)).prop_map(|(id, filters, user_properties)| {
        Packet::Unsubscribe(id, Box::new(Unsubscribe { filters, user_properties }))
    })
}

fn unsuback(v5: bool) -> impl Strategy<Value = Packet> {
    let reasons =
        if v5 { vec(reason(PacketType::UnsubAck), 1..6).boxed() } else { Just(Vec::new()).boxed() };
    (id(), reasons, ack_properties(v5)).prop_map(|(packet_id, reasons, properties)| {
        Packet::UnsubAck(UnsubAck { packet_id, reasons, properties })
    })
}

fn disconnect(v5: bool) -> BoxedStrategy<Packet> {
    if !v5 {
        return Just(Packet::Disconnect(Disconnect::default())).boxed();
    }
    (reason(PacketType::Disconnect), of(any::<u32>()), of(text()), ack_properties(true))
        .prop_map(|(reason, session_expiry_interval, server_reference, properties)| {
            Packet::Disconnect(Disconnect {
                reason,
                session_expiry_interval,
                server_reference,
                properties,
            })
        })
        .boxed()
}

fn auth() -> impl Strategy<Value = Packet> {
    let full = (reason(PacketType::Auth), text(), of(data()), of(text()), user()).prop_map(
        |(reason, method, authentication_data, reason_string, user_properties)| Auth {
            reason,
            authentication_method: Some(method),
            authentication_data,
            reason_string,
            user_properties,
        },
    );
    prop_oneof![1 => Just(Auth::default()), 9 => full].prop_map(|auth| Packet::Auth(Box::new(auth)))
}
