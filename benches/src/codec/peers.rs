//! The other codecs, each as a good user would call it: its documentation's way, into reused buffers.
//!
//! Packets to encode come from decoding the stream with the same library.

use std::hint::black_box;
use std::iter;

use bytes::BytesMut;

use super::input::{BLOCK, NAMES, Stream, stream};
use super::{feed, limit, ours};
use crate::measure::{Case, Contender, Run};

/// All cases: decoding and encoding of each stream.
pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    let names =
        NAMES.iter().flat_map(|(version, names)| names.iter().map(|name| (*version, *name)));
    for (version, name) in names {
        let stream = stream(version, name);
        let mut decode = vec![
            Contender { name: "mqtt-proto", run: ours::decode(&stream) },
            Contender { name: "mqtt-proto, frame by frame", run: ours::decode_frames(&stream) },
            Contender { name: "limit", run: limit::decode(&stream) },
        ];
        let mut encode = vec![Contender { name: "limit", run: limit::encode(&stream) }];
        for (name, [decoder, encoder]) in peers(&stream) {
            decode.push(Contender { name, run: decoder });
            encode.push(Contender { name, run: encoder });
        }
        let (decoding, encoding) =
            (format!("decode/{}", stream.name), format!("encode/{}", stream.name));
        let units = stream.items.len();
        encode.insert(0, Contender { name: "mqtt-proto", run: ours::encode(&stream) });
        all.push(Case { name: decoding, units, contenders: decode });
        all.push(Case { name: encoding, units, contenders: encode });
    }
    all
}

/// A decoder and an encoder for each library that has the version.
fn peers(stream: &Stream) -> Vec<(&'static str, [Run; 2])> {
    let mut all: Vec<(&'static str, [Run; 2])> = Vec::new();
    if stream.version.is_v5() {
        all.push(("rumqttc", rumqttc_v5::runs(stream)));
        all.push(("mqttbytes", mqttbytes_v5::runs(stream)));
        all.push(("ntex-mqtt", ntex_v5::runs(stream)));
        all.push(("mqtt-protocol-core", core_v5::runs(stream)));
    } else {
        all.push(("rumqttc", rumqttc_v4::runs(stream)));
        all.push(("mqttbytes", mqttbytes_v4::runs(stream)));
        all.push(("ntex-mqtt", ntex_v3::runs(stream)));
        all.push(("mqtt-protocol-core", core_v4::runs(stream)));
        all.push(("mqttrs, borrowed", mqttrs_v4::runs(stream)));
    }
    all.push(("mqtt5-protocol", mqtt5::runs(stream)));
    all
}

/// The codecs of one family: they differ in how to read, how to write and where the types are.
macro_rules! rumqtt {
    ($module:ident, $types:path, $read:expr, $write:expr) => {
        mod $module {
            use super::*;
            use $types::*;

            fn saw(packet: &Packet) -> u64 {
                match packet {
                    Packet::Publish(publish) => {
                        (publish.topic.len() + publish.payload.len()) as u64
                            + u64::from(publish.pkid)
                    }
                    Packet::PubAck(ack) => ack.pkid.into(),
                    Packet::SubAck(ack) => u64::from(ack.pkid) + ack.return_codes.len() as u64,
                    _ => 0,
                }
            }

            pub(super) fn runs(stream: &Stream) -> [Run; 2] {
                let read: fn(&mut BytesMut) -> Option<Packet> = $read;
                let write: fn(&Packet, &mut BytesMut) = $write;
                let mut wire = BytesMut::from(stream.wire.as_ref());
                let items = iter::from_fn(|| read(&mut wire)).collect();
                let decode = feed::one_by_one(stream.wire.clone(), |buffer| {
                    Some(saw(&black_box(($read)(buffer)?)))
                });
                let encode = feed::encode(items, BytesMut::new(), write);
                [Box::new(decode), Box::new(encode)]
            }
        }
    };
}

rumqtt!(
    rumqttc_v4,
    rumqttc::mqttbytes::v4,
    |buffer: &mut BytesMut| Packet::read(buffer, 1 << 28).ok(),
    |packet, out| {
        packet.write(out, 1 << 28).expect("it encodes");
    }
);
rumqtt!(
    rumqttc_v5,
    rumqttc::v5::mqttbytes::v5,
    |buffer: &mut BytesMut| Packet::read(buffer, Some(1 << 28)).ok(),
    |packet, out| {
        packet.write(out, None).expect("it encodes");
    }
);
rumqtt!(
    mqttbytes_v4,
    mqttbytes::v4,
    |buffer: &mut BytesMut| read(buffer, 1 << 28).ok(),
    |packet, out| {
        match packet {
            Packet::Publish(publish) => publish.write(out),
            Packet::PubAck(ack) => ack.write(out),
            Packet::SubAck(ack) => ack.write(out),
            _ => PingResp.write(out),
        }
        .expect("it encodes");
    }
);
rumqtt!(
    mqttbytes_v5,
    mqttbytes::v5,
    |buffer: &mut BytesMut| read(buffer, 1 << 28).ok(),
    |packet, out| {
        match packet {
            Packet::Publish(publish) => publish.write(out),
            Packet::PubAck(ack) => ack.write(out),
            Packet::SubAck(ack) => ack.write(out),
            _ => PingResp.write(out),
        }
        .expect("it encodes");
    }
);

macro_rules! ntex {
    ($module:ident, $types:path, $saw_ack:expr) => {
        mod $module {
            use super::*;
            use ntex_bytes::{BytePages, BytesMut as Buffer};
            use ntex_codec::{Decoder as _, Encoder as _};
            use $types::*;

            fn saw(decoded: &Decoded) -> u64 {
                match decoded {
                    Decoded::Publish(publish, payload, _) => {
                        let id = publish.packet_id.map_or(0, |id| id.get());
                        (publish.topic.len() + payload.len()) as u64 + u64::from(id)
                    }
                    Decoded::PayloadChunk(payload, _) => payload.len() as u64,
                    Decoded::Packet(packet, _) => ($saw_ack)(packet),
                }
            }

            pub(super) fn runs(stream: &Stream) -> [Run; 2] {
                let codec = Codec::new();
                let mut buffer = Buffer::from(stream.wire.as_ref());
                let next = || codec.decode(&mut buffer).expect("a packet");
                let items: Vec<Encoded> = iter::from_fn(next)
                    .map(|decoded| match decoded {
                        Decoded::Packet(packet, _) => Encoded::Packet(packet),
                        Decoded::Publish(publish, payload, _) => {
                            Encoded::Publish(publish, Some(payload))
                        }
                        Decoded::PayloadChunk(..) => panic!("a payload in pieces"),
                    })
                    .collect();
                let codec = Codec::new();
                // Whole packets, as a user sets it who does not want payloads in pieces.
                codec.set_min_chunk_size(1 << 20);
                let (wire, mut buffer) = (stream.wire.clone(), Buffer::new());
                let decode = move || {
                    let mut sum = 0;
                    for block in wire.chunks(BLOCK) {
                        buffer.reserve(BLOCK);
                        buffer.extend_from_slice(block);
                        while let Some(decoded) = codec.decode(&mut buffer).expect("a packet") {
                            sum += saw(&black_box(decoded));
                        }
                    }
                    sum
                };
                let codec = Codec::new();
                let mut pages = BytePages::default();
                let encode = move || {
                    let mut sum = 0;
                    for item in &items {
                        codec.encodev(item.clone(), &mut pages).expect("it encodes");
                        if pages.len() >= BLOCK {
                            sum += pages.len() as u64;
                            black_box(&pages);
                            pages.clear();
                        }
                    }
                    sum += pages.len() as u64;
                    pages.clear();
                    sum
                };
                [Box::new(decode), Box::new(encode)]
            }
        }
    };
}

ntex!(ntex_v3, ntex_mqtt::v3::codec, |packet: &Packet| match packet {
    Packet::PublishAck { packet_id } => packet_id.get().into(),
    Packet::SubscribeAck { packet_id, status } => {
        u64::from(packet_id.get()) + status.len() as u64
    }
    _ => 0,
});
ntex!(ntex_v5, ntex_mqtt::v5::codec, |packet: &Packet| match packet {
    Packet::PublishAck(ack) => ack.packet_id.get().into(),
    Packet::SubscribeAck(ack) => u64::from(ack.packet_id.get()) + ack.status.len() as u64,
    _ => 0,
});

macro_rules! core {
    ($module:ident, $version:ident, $publish:ident $puback:ident $suback:ident $pingresp:ident, $fixed:literal) => {
        mod $module {
            use super::*;
            use mqtt_protocol_core::mqtt::common::Cursor;
            use mqtt_protocol_core::mqtt::connection::{
                PacketBuildResult, PacketBuilder, PacketData, RawPacket,
            };
            use mqtt_protocol_core::mqtt::packet::{GenericPacketTrait as _, Packet, $version};

            fn parse(raw: RawPacket) -> Packet {
                let kind = raw.packet_type();
                match (kind, raw.flags(), raw.data) {
                    (3, flags, PacketData::Publish(body)) => {
                        let parsed = $version::Publish::parse(flags, body).expect("a PUBLISH");
                        Packet::$publish(parsed.0)
                    }
                    (_, _, PacketData::Normal(body)) => match kind {
                        4 => Packet::$puback($version::Puback::parse(&body).expect("an ack").0),
                        9 => Packet::$suback($version::Suback::parse(&body).expect("an ack").0),
                        _ => Packet::$pingresp($version::Pingresp::parse(&body).expect("a ping").0),
                    },
                    _ => panic!("only a PUBLISH is kept as one"),
                }
            }

            fn saw(packet: &Packet) -> u64 {
                match packet {
                    Packet::$publish(publish) => {
                        let id = publish.packet_id().unwrap_or(0);
                        (publish.topic_name().len() + publish.payload().len()) as u64
                            + u64::from(id)
                    }
                    Packet::$puback(ack) => ack.packet_id().into(),
                    Packet::$suback(ack) => {
                        u64::from(ack.packet_id()) + (ack.size() - $fixed) as u64
                    }
                    _ => 0,
                }
            }

            pub(super) fn runs(stream: &Stream) -> [Run; 2] {
                let mut builder = PacketBuilder::new();
                let mut cursor = Cursor::new(stream.wire.as_ref());
                let mut items: Vec<Packet> = Vec::new();
                while let PacketBuildResult::Complete(raw) = builder.feed(&mut cursor) {
                    items.push(parse(raw));
                }
                let (wire, mut buffer) = (stream.wire.clone(), Vec::with_capacity(BLOCK));
                let decode = move || {
                    let mut sum = 0;
                    for block in wire.chunks(BLOCK) {
                        buffer.clear();
                        buffer.extend_from_slice(block);
                        let mut cursor = Cursor::new(buffer.as_slice());
                        while let PacketBuildResult::Complete(raw) = builder.feed(&mut cursor) {
                            sum += saw(&black_box(parse(raw)));
                        }
                    }
                    sum
                };
                let encode = feed::encode(items, Vec::new(), |packet, out: &mut Vec<u8>| {
                    for part in packet.to_buffers() {
                        out.extend_from_slice(&part);
                    }
                });
                [Box::new(decode), Box::new(encode)]
            }
        }
    };
}

core!(core_v4, v3_1_1, V3_1_1Publish V3_1_1Puback V3_1_1Suback V3_1_1Pingresp, 4);
core!(core_v5, v5_0, V5_0Publish V5_0Puback V5_0Suback V5_0Pingresp, 5);

mod mqttrs_v4 {
    use super::*;
    use mqttrs::{Packet, QosPid, decode_slice, encode_slice};

    fn saw(packet: &Packet<'_>) -> u64 {
        match packet {
            Packet::Publish(publish) => {
                let id = match publish.qospid {
                    QosPid::AtMostOnce => 0,
                    QosPid::AtLeastOnce(id) | QosPid::ExactlyOnce(id) => id.get(),
                };
                (publish.topic_name.len() + publish.payload.len()) as u64 + u64::from(id)
            }
            Packet::Puback(id) => id.get().into(),
            Packet::Suback(ack) => u64::from(ack.pid.get()) + ack.return_codes.len() as u64,
            _ => 0,
        }
    }

    /// It does not say how long the packet was, so that its user has to find that out.
    fn read(bytes: &[u8]) -> Option<(usize, Packet<'_>)> {
        let len = limit::packet_len(bytes)?;
        Some((len, decode_slice(bytes.get(..len)?).expect("a packet")?))
    }

    pub(super) fn runs(stream: &Stream) -> [Run; 2] {
        // The process ends soon.
        let mut wire: &'static [u8] = Box::leak(stream.wire.to_vec().into_boxed_slice());
        let items: Vec<Packet<'static>> = iter::from_fn(|| {
            let (len, packet) = read(wire)?;
            wire = wire.get(len..)?;
            Some(packet)
        })
        .collect();
        let decode = feed::slices(stream.wire.clone(), |bytes| {
            let (len, packet) = read(bytes)?;
            Some((len, saw(&black_box(packet))))
        });
        let mut out = vec![0; 3 * BLOCK];
        let encode = move || {
            let (mut at, mut sum) = (0, 0);
            for packet in &items {
                at += encode_slice(packet, &mut out[at..]).expect("it encodes");
                if at >= BLOCK {
                    sum += at as u64;
                    black_box(&out);
                    at = 0;
                }
            }
            sum + at as u64
        };
        [Box::new(decode), Box::new(encode)]
    }
}

mod mqtt5 {
    use super::*;
    use bytes::BufMut as _;
    use mqtt5_protocol::packet::{FixedHeader, MqttPacket as _, Packet, PacketType};

    fn saw(packet: &Packet) -> u64 {
        match packet {
            Packet::Publish(publish) => {
                (publish.topic_name.len() + publish.payload.len()) as u64
                    + u64::from(publish.packet_id.unwrap_or(0))
            }
            Packet::PubAck(ack) => ack.packet_id.into(),
            Packet::SubAck(ack) => u64::from(ack.packet_id) + ack.reason_codes.len() as u64,
            _ => 0,
        }
    }

    /// The steps of its own transport, which is not public.
    fn read(buffer: &mut BytesMut, level: u8) -> Option<Packet> {
        let len = limit::packet_len(buffer)?;
        let mut frame = buffer.split_to(len).freeze();
        let header = FixedHeader::decode(&mut frame).expect("a header");
        let kind = header.packet_type;
        let packet = Packet::decode_from_body_with_version(kind, &header, &mut frame, level);
        Some(packet.expect("a packet"))
    }

    fn write(packet: &Packet, out: &mut BytesMut) {
        match packet {
            Packet::Publish(publish) => {
                let len = publish.body_encoded_size() as u32;
                let header = FixedHeader::new(PacketType::Publish, publish.flags(), len);
                header.encode(out).expect("it encodes");
                publish.encode_body_direct(out).expect("it encodes");
            }
            Packet::PubAck(ack) => ack.encode(out).expect("it encodes"),
            Packet::SubAck(ack) => ack.encode(out).expect("it encodes"),
            _ => out.put_slice(&[0xD0, 0]),
        }
    }

    pub(super) fn runs(stream: &Stream) -> [Run; 2] {
        let level = stream.version.level();
        let mut wire = BytesMut::from(stream.wire.as_ref());
        let items: Vec<Packet> = iter::from_fn(|| read(&mut wire, level)).collect();
        let decode = feed::one_by_one(stream.wire.clone(), move |buffer| {
            Some(saw(&black_box(read(buffer, level)?)))
        });
        [Box::new(decode), Box::new(feed::encode(items, BytesMut::new(), write))]
    }
}
