//! Any packet that a user can build, right or wrong: it is refused, or it is read as it was written.

#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::{Buf, Bytes};
use libfuzzer_sys::fuzz_target;
use mqtt_proto::codec::{self, PublishHeader, TopicAlias};
use mqtt_proto::{
    Ack, AckProperties, Auth, ConnAck, Connect, Disconnect, Packet, PacketId, Publish,
    PublishFields, PublishProperties, QoS, ReasonCode, RetainHandling, SubAck, Subscribe,
    Subscription, SubscriptionOptions, Text, TopicFilter, TopicName, TxBuf, UnsubAck, Unsubscribe,
    UserProperties, Version, Will,
};

fuzz_target!(|input: Input| {
    let Input(packet, version) = input;
    let mut out = TxBuf::new();
    let predicted = codec::encoded_len(&packet, version);
    if let Err(error) = codec::encode(&packet, version, &mut out) {
        assert_eq!(predicted, Err(error));
        assert!(out.is_empty());
        return;
    }
    assert_eq!(predicted, Ok(out.len()));
    let written = out.copy_to_bytes(out.remaining());
    let read = codec::decode(&written, version).expect("what was written can be read");
    assert_eq!(read, as_read(packet));
});

/// The one thing that the wire cannot say: a Maximum QoS of 2.
fn as_read(mut packet: Packet) -> Packet {
    if let Packet::ConnAck(connack) = &mut packet {
        connack.maximum_qos = connack.maximum_qos.filter(|qos| *qos != QoS::ExactlyOnce);
    }
    packet
}

#[derive(Debug)]
struct Input(Packet, Version);

impl<'a> Arbitrary<'a> for Input {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Input> {
        let version = *u.choose(&[Version::V31, Version::V311, Version::V5])?;
        Ok(Input(packet(u)?, version))
    }
}

fn packet(u: &mut Unstructured<'_>) -> Result<Packet> {
    Ok(match u.int_in_range(1..=15)? {
        1 => Packet::Connect(Box::new(connect(u)?)),
        2 => Packet::ConnAck(Box::new(connack(u)?)),
        3 => publish(u)?,
        4 => Packet::PubAck(ack(u)?),
        5 => Packet::PubRec(ack(u)?),
        6 => Packet::PubRel(ack(u)?),
        7 => Packet::PubComp(ack(u)?),
        8 => Packet::Subscribe(id(u)?, Box::new(subscribe(u)?)),
        9 => Packet::SubAck(SubAck {
            packet_id: id(u)?,
            reasons: list(u, reason)?,
            properties: ack_properties(u)?,
        }),
        10 => {
            let packet = Unsubscribe { filters: list(u, filter)?, user_properties: user(u)? };
            Packet::Unsubscribe(id(u)?, Box::new(packet))
        }
        11 => Packet::UnsubAck(UnsubAck {
            packet_id: id(u)?,
            reasons: list(u, reason)?,
            properties: ack_properties(u)?,
        }),
        12 => Packet::PingReq,
        13 => Packet::PingResp,
        14 => Packet::Disconnect(Disconnect {
            reason: reason(u)?,
            session_expiry_interval: u.arbitrary()?,
            server_reference: maybe(u, text)?,
            properties: ack_properties(u)?,
        }),
        _ => Packet::Auth(Box::new(Auth {
            reason: reason(u)?,
            authentication_method: maybe(u, text)?,
            authentication_data: maybe(u, data)?,
            reason_string: maybe(u, text)?,
            user_properties: user(u)?,
        })),
    })
}

fn maybe<T>(
    u: &mut Unstructured<'_>,
    make: impl FnOnce(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Option<T>> {
    if u.arbitrary()? { make(u).map(Some) } else { Ok(None) }
}

fn list<T>(
    u: &mut Unstructured<'_>,
    make: impl Fn(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let len = u.int_in_range(0..=4)?;
    (0..len).map(|_| make(u)).collect()
}

fn text(u: &mut Unstructured<'_>) -> Result<Text> {
    Text::new(u.arbitrary::<&str>()?).map_err(|_| arbitrary::Error::IncorrectFormat)
}

fn topic(u: &mut Unstructured<'_>) -> Result<TopicName> {
    TopicName::new(u.arbitrary::<&str>()?).map_err(|_| arbitrary::Error::IncorrectFormat)
}

fn filter(u: &mut Unstructured<'_>) -> Result<TopicFilter> {
    TopicFilter::new(u.arbitrary::<&str>()?).map_err(|_| arbitrary::Error::IncorrectFormat)
}

fn data(u: &mut Unstructured<'_>) -> Result<Bytes> {
    // Sometimes a field that is too long, without the fuzzer having to come up with all of it.
    let data: &[u8] = u.arbitrary()?;
    if u.ratio(1, 50)? {
        Ok(Bytes::from(vec![7; 65_530 + data.len()]))
    } else {
        Ok(data.to_vec().into())
    }
}

fn user(u: &mut Unstructured<'_>) -> Result<UserProperties> {
    list(u, |u| Ok((text(u)?, text(u)?)))
}

fn id(u: &mut Unstructured<'_>) -> Result<PacketId> {
    PacketId::new(u.arbitrary()?).ok_or(arbitrary::Error::IncorrectFormat)
}

fn reason(u: &mut Unstructured<'_>) -> Result<ReasonCode> {
    u.arbitrary().map(ReasonCode::new)
}

fn qos(u: &mut Unstructured<'_>) -> Result<QoS> {
    u.choose(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]).copied()
}

fn ack(u: &mut Unstructured<'_>) -> Result<Ack> {
    Ok(Ack { packet_id: id(u)?, reason: reason(u)?, properties: ack_properties(u)? })
}

fn ack_properties(u: &mut Unstructured<'_>) -> Result<AckProperties> {
    Ok(AckProperties::new(maybe(u, text)?, user(u)?))
}

fn properties(u: &mut Unstructured<'_>) -> Result<PublishProperties> {
    let mut properties = PublishProperties::default();
    if u.arbitrary()? {
        *properties.edit() = PublishFields {
            payload_format_indicator: u.arbitrary()?,
            message_expiry_interval: u.arbitrary()?,
            content_type: maybe(u, text)?,
            response_topic: maybe(u, topic)?,
            correlation_data: maybe(u, data)?,
            subscription_identifiers: u.arbitrary()?,
            topic_alias: None,
            user_properties: user(u)?,
        };
    }
    Ok(properties)
}

fn publish(u: &mut Unstructured<'_>) -> Result<Packet> {
    let publish = Publish {
        topic: topic(u)?,
        payload: data(u)?,
        qos: qos(u)?,
        retain: u.arbitrary()?,
        properties: properties(u)?,
    };
    let header = PublishHeader {
        packet_id: maybe(u, id)?,
        dup: u.arbitrary()?,
        topic_alias: maybe(u, |u| {
            let alias = u.arbitrary()?;
            Ok(if u.arbitrary()? { TopicAlias::Set(alias) } else { TopicAlias::Use(alias) })
        })?,
        message_expiry_interval: u.arbitrary()?,
    };
    let packet = codec::publish_packet(&publish, &header);
    packet.map(Packet::Publish).map_err(|_| arbitrary::Error::IncorrectFormat)
}

fn connect(u: &mut Unstructured<'_>) -> Result<Connect> {
    let will = maybe(u, |u| {
        Ok(Will {
            topic: topic(u)?,
            payload: data(u)?,
            qos: qos(u)?,
            retain: u.arbitrary()?,
            delay_interval: u.arbitrary()?,
            properties: properties(u)?,
        })
    })?;
    Ok(Connect {
        client_id: text(u)?,
        clean_start: u.arbitrary()?,
        keep_alive: u.arbitrary()?,
        will,
        user_name: maybe(u, text)?,
        password: maybe(u, data)?,
        session_expiry_interval: u.arbitrary()?,
        receive_maximum: u.arbitrary()?,
        maximum_packet_size: u.arbitrary()?,
        topic_alias_maximum: u.arbitrary()?,
        request_response_information: u.arbitrary()?,
        request_problem_information: u.arbitrary()?,
        user_properties: user(u)?,
        authentication_method: maybe(u, text)?,
        authentication_data: maybe(u, data)?,
    })
}

fn connack(u: &mut Unstructured<'_>) -> Result<ConnAck> {
    Ok(ConnAck {
        session_present: u.arbitrary()?,
        reason: reason(u)?,
        session_expiry_interval: u.arbitrary()?,
        receive_maximum: u.arbitrary()?,
        maximum_qos: maybe(u, qos)?,
        retain_available: u.arbitrary()?,
        maximum_packet_size: u.arbitrary()?,
        assigned_client_identifier: maybe(u, text)?,
        topic_alias_maximum: u.arbitrary()?,
        reason_string: maybe(u, text)?,
        user_properties: user(u)?,
        wildcard_subscription_available: u.arbitrary()?,
        subscription_identifier_available: u.arbitrary()?,
        shared_subscription_available: u.arbitrary()?,
        server_keep_alive: u.arbitrary()?,
        response_information: maybe(u, text)?,
        server_reference: maybe(u, text)?,
        authentication_method: maybe(u, text)?,
        authentication_data: maybe(u, data)?,
    })
}

fn subscribe(u: &mut Unstructured<'_>) -> Result<Subscribe> {
    let subscriptions = list(u, |u| {
        let handling = [RetainHandling::Send, RetainHandling::SendIfNew, RetainHandling::DoNotSend];
        let options = SubscriptionOptions {
            qos: qos(u)?,
            no_local: u.arbitrary()?,
            retain_as_published: u.arbitrary()?,
            retain_handling: *u.choose(&handling)?,
        };
        Ok(Subscription { filter: filter(u)?, options })
    })?;
    let user_properties = user(u)?;
    Ok(Subscribe { subscriptions, subscription_identifier: u.arbitrary()?, user_properties })
}
