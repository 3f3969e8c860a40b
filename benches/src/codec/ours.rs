//! Our codec, as its documentation says to use it.

use std::hint::black_box;

use bytes::BytesMut;
use mqtt_proto::codec::{self, PublishHeader};
use mqtt_proto::{Packet, PacketId, Publish, PublishFields, Text, TopicName, TxBuf};

use super::feed;
use super::input::{Item, Stream};
use crate::measure::Run;

/// All whole packets of a block at once.
pub fn decode(stream: &Stream) -> Run {
    let version = stream.version;
    Box::new(feed::buffers(stream.wire.clone(), move |buffer| {
        let mut sum = 0;
        let mut all = codec::packets(buffer, version, u32::MAX);
        while let Some(packet) = all.read().expect("a packet") {
            sum += saw(black_box(packet));
        }
        sum
    }))
}

/// One frame after the other, each a handle of its own.
pub fn decode_frames(stream: &Stream) -> Run {
    let version = stream.version;
    Box::new(feed::one_by_one(stream.wire.clone(), move |buffer| {
        let frame = codec::frame(buffer, u32::MAX).expect("a header")?;
        Some(saw(&black_box(codec::decode(&frame, version).expect("a packet"))))
    }))
}

pub fn encode(stream: &Stream) -> Run {
    let version = stream.version;
    // As with the peers, packets come from decoding the stream: strings are copies, payloads share it.
    let mut wire = BytesMut::from(stream.wire.as_ref());
    let mut packets = codec::packets(&mut wire, version, u32::MAX);
    let mut items = Vec::new();
    while let Some(packet) = packets.read().expect("a packet") {
        items.push(match packet {
            Packet::Publish(publish) => {
                let header =
                    PublishHeader { packet_id: publish.packet_id(), ..PublishHeader::default() };
                Item::Publish(owned(publish.to_publish().expect("a topic")), header)
            }
            other => Item::Packet(other.clone()),
        });
    }
    let encode = move |item: &Item, out: &mut TxBuf| item.encode(version, out);
    Box::new(feed::encode(items, TxBuf::new(), encode))
}

fn owned(mut publish: Publish) -> Publish {
    publish.topic = publish.topic.into_owned();
    if let Some(fields) = publish.properties.get() {
        let user = fields.user_properties.iter().cloned();
        let fields = PublishFields {
            content_type: fields.content_type.clone().map(Text::into_owned),
            response_topic: fields.response_topic.clone().map(TopicName::into_owned),
            user_properties: user
                .map(|(key, value)| (key.into_owned(), value.into_owned()))
                .collect(),
            ..fields.clone()
        };
        publish.properties = fields.into();
    }
    publish
}

/// What every codec has to see: lengths, identifiers and the number of codes.
fn saw(packet: &Packet) -> u64 {
    match packet {
        Packet::Publish(publish) => {
            let id = publish.packet_id().map_or(0, PacketId::get);
            (publish.topic_bytes().len() + publish.payload_bytes().len()) as u64 + u64::from(id)
        }
        Packet::PubAck(ack) => ack.packet_id.get().into(),
        Packet::SubAck(ack) => u64::from(ack.packet_id.get()) + ack.reasons.len() as u64,
        _ => 0,
    }
}
