//! Packets that are well formed, so that the fuzzer gets past the door without finding each byte.

use arbitrary::{Result, Unstructured};
use bytes::{Buf, Bytes};
use mqtt_proto::codec::{self, PublishHeader, TopicAlias};
use mqtt_proto::{
    Ack, AckProperties, Auth, ConnAck, Connect, Disconnect, Packet, PacketId, Publish, QoS,
    ReasonCode, SubAck, Subscribe, Text, TopicFilter, TopicName, TxBuf, UnsubAck, Unsubscribe,
    Version, Will,
};

/// Returns the bytes of a packet of either side, or none if the version does not have it.
pub fn bytes(u: &mut Unstructured<'_>, version: Version) -> Result<Vec<u8>> {
    let packet = packet(u, version)?;
    let mut out = TxBuf::new();
    // Nothing is written then.
    let _ = codec::encode(&packet, version, &mut out);
    Ok(out.copy_to_bytes(out.remaining()).to_vec())
}

pub fn text(text: &'static str) -> Text {
    Text::new(text).expect("a text")
}

pub fn filter(name: &'static str) -> TopicFilter {
    TopicFilter::new(name).expect("a filter")
}

pub fn publish(flags: u8, len: u8) -> Publish {
    let topic = ["t", "long/topic/1", "long/topic/2", "long/topic/3"][usize::from(flags >> 2 & 3)];
    let topic = TopicName::from_static(topic).expect("a name");
    let qos = QoS::from_u8(flags & 3).unwrap_or_default();
    Publish::new(topic, Bytes::from(vec![7; len.into()])).qos(qos).retain(flags & 16 != 0)
}

pub fn auth(reason: u8) -> Auth {
    let reason = ReasonCode::new([0x18, 0x00, 0x19][usize::from(reason % 3)]);
    Auth { reason, authentication_method: Some(text("m")), ..Auth::default() }
}

fn packet(u: &mut Unstructured<'_>, version: Version) -> Result<Packet> {
    let [kind, a, b]: [u8; 3] = u.arbitrary()?;
    let has = |bit: u8| a & 1 << bit != 0;
    let v5 = version.is_v5();
    // A few identifiers, so that they meet.
    let packet_id = PacketId::new(u16::from(b & 3) + 1).expect("not zero");
    let reason = ReasonCode::new([0, 0, 0, 0x10, 0x80, 0x92, 0x97, a][usize::from(b >> 5)]);
    let properties = match has(7) && v5 {
        true => AckProperties::new(Some(text("why")), vec![(text("a"), text("b"))]),
        false => AckProperties::NONE,
    };
    let answers = if has(4) { 2 } else { 1 };
    let ack = Ack { packet_id, reason, properties: properties.clone() };
    Ok(match kind % 20 {
        0 | 1 => Packet::Connect(Box::new(Connect {
            client_id: text(if has(0) { "" } else { "c" }),
            clean_start: has(1) || has(0),
            keep_alive: (b & 3).into(),
            will: has(2).then(|| {
                let Publish { topic, payload, qos, retain, properties } = publish(b, 3);
                Will { topic, payload, qos, retain, delay_interval: None, properties }
            }),
            session_expiry_interval: (v5 && has(3)).then_some(60),
            receive_maximum: (v5 && has(4)).then_some(u16::from(b >> 2 & 3) + 1),
            maximum_packet_size: (v5 && has(5)).then_some(u32::from(b) + 1),
            topic_alias_maximum: (v5 && has(6)).then_some((b >> 6).into()),
            request_problem_information: (v5 && b & 64 != 0).then_some(false),
            authentication_method: (v5 && has(7)).then(|| text("m")),
            ..Connect::default()
        })),
        2 | 3 => Packet::ConnAck(Box::new(ConnAck {
            session_present: has(0),
            reason: if b & 7 == 7 { ReasonCode::SERVER_UNAVAILABLE } else { ReasonCode::SUCCESS },
            receive_maximum: (v5 && has(1)).then_some(u16::from(b >> 3 & 3) + 1),
            maximum_packet_size: (v5 && has(2)).then_some(u32::from(b) + 1),
            maximum_qos: (v5 && has(3)).then_some(QoS::AtLeastOnce),
            topic_alias_maximum: (v5 && has(4)).then_some((b >> 6).into()),
            server_keep_alive: (v5 && has(5)).then_some((b & 3).into()),
            retain_available: (v5 && has(6)).then_some(false),
            authentication_method: (v5 && has(7)).then(|| text("m")),
            ..ConnAck::default()
        })),
        4..=6 => {
            let publish = publish(a, b >> 4);
            let header = PublishHeader {
                packet_id: (publish.qos != QoS::AtMostOnce).then_some(packet_id),
                dup: has(5) && publish.qos != QoS::AtMostOnce,
                topic_alias: (v5 && has(6)).then(|| {
                    let alias = u16::from(b >> 2 & 3);
                    if has(7) { TopicAlias::Set(alias) } else { TopicAlias::Use(alias) }
                }),
                ..PublishHeader::default()
            };
            match codec::publish_packet(&publish, &header) {
                Ok(packet) => Packet::Publish(packet),
                Err(_) => Packet::PingReq,
            }
        }
        7 => Packet::PubAck(ack),
        8 => Packet::PubRec(ack),
        9 => Packet::PubRel(ack),
        10 => Packet::PubComp(ack),
        11 => {
            let subscribe = Subscribe::new(filter("t/#"), QoS::ExactlyOnce);
            Packet::Subscribe(packet_id, Box::new(subscribe))
        }
        12 => Packet::Unsubscribe(packet_id, Box::new(Unsubscribe::new(filter("t/#")))),
        13 => Packet::SubAck(SubAck { packet_id, reasons: vec![reason; answers], properties }),
        14 => {
            let reasons = if v5 { vec![reason; answers] } else { Vec::new() };
            Packet::UnsubAck(UnsubAck { packet_id, reasons, properties })
        }
        15 => Packet::PingReq,
        16 => Packet::PingResp,
        17 => Packet::Disconnect(Disconnect::new(reason)),
        _ => Packet::Auth(Box::new(auth(a))),
    })
}
