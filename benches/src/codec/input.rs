//! The streams that every codec is fed with: as bytes, and as what users build.

use bytes::{Buf, Bytes};
use mqtt_proto::codec::{self, PublishHeader};
use mqtt_proto::{
    Ack, Packet, PacketId, Publish, PublishFields, QoS, ReasonCode, SubAck, Text, TopicName, TxBuf,
    Version,
};

/// How much is read at once, and written at once.
pub const BLOCK: usize = 64 * 1024;

/// Enough packets to leave the first cache, as in real life, and large ones fewer.
const PACKETS: usize = 4096;
const BYTES: usize = 1024 * 1024;

/// One packet to send.
#[derive(Clone)]
pub enum Item {
    Publish(Publish, PublishHeader),
    Packet(Packet),
}

impl Item {
    pub fn encode(&self, version: Version, out: &mut TxBuf) {
        let result = match self {
            Item::Publish(publish, header) => codec::encode_publish(publish, header, version, out),
            Item::Packet(packet) => codec::encode(packet, version, out),
        };
        result.expect("it may be sent");
    }
}

/// A stream of one version.
pub struct Stream {
    pub name: String,
    pub version: Version,
    pub items: Vec<Item>,
    pub wire: Bytes,
}

impl Stream {
    fn new(name: &str, version: Version, items: Vec<Item>) -> Stream {
        let number = if version.is_v5() { "v5" } else { "v311" };
        let mut out = TxBuf::new();
        for item in &items {
            item.encode(version, &mut out);
        }
        let wire = out.copy_to_bytes(out.remaining());
        Stream { name: format!("{number}/{name}"), version, items, wire }
    }
}

/// The streams by name: each varies one thing. The properties are those of MQTT 5.0.
pub const NAMES: &[(Version, &[&str])] =
    &[(Version::V311, PLAIN), (Version::V5, PLAIN), (Version::V5, PROPERTIES)];

const PLAIN: &[&str] = &[
    "publish-64",
    "publish-empty",
    "publish-64-topic-100",
    "publish-64-topic-utf8",
    "publish-1k",
    "publish-16k",
    "puback",
    "mixed",
];

const PROPERTIES: &[&str] =
    &["publish-64-1-property", "publish-64-3-properties", "publish-64-9-properties"];

/// Returns a stream by its name.
pub fn stream(version: Version, name: &str) -> Stream {
    let publish = |message: &dyn Fn(usize) -> Publish| {
        let size = message(0).payload.len() + 32;
        (0..PACKETS.min(BYTES / size)).map(|index| item(message(index), index)).collect()
    };
    let sized = |size: usize| publish(&|index| Publish::new(topic(index), payload(size)));
    let named =
        |topic: fn(usize) -> TopicName| publish(&|index| Publish::new(topic(index), payload(64)));
    let with = |fields: fn() -> PublishFields| {
        publish(&|index| Publish {
            properties: fields().into(),
            ..Publish::new(topic(index), payload(64))
        })
    };
    let items = match name {
        "publish-64" => sized(64),
        "publish-empty" => sized(0),
        "publish-64-topic-100" => named(long_topic),
        "publish-64-topic-utf8" => named(utf8_topic),
        "publish-1k" => sized(1024),
        "publish-16k" => sized(16 * 1024),
        "publish-64-1-property" => with(one),
        "publish-64-3-properties" => with(three),
        "publish-64-9-properties" => with(nine),
        "puback" => {
            (0..4 * PACKETS).map(|index| Item::Packet(Packet::PubAck(ack(index)))).collect()
        }
        "mixed" => mixed(),
        other => panic!("no stream {other}"),
    };
    Stream::new(name, version, items)
}

fn item(publish: Publish, index: usize) -> Item {
    let header = PublishHeader { packet_id: Some(id(index)), ..PublishHeader::default() };
    Item::Publish(publish.qos(QoS::AtLeastOnce), header)
}

fn id(index: usize) -> PacketId {
    PacketId::new((index % 65_535) as u16 + 1).unwrap_or(PacketId::MIN)
}

fn ack(index: usize) -> Ack {
    Ack::new(id(index), ReasonCode::SUCCESS)
}

fn topic(index: usize) -> TopicName {
    let topic = format!("sensors/plant7/node-{:04}", index % 1000);
    TopicName::new(topic).expect("a topic of 24 bytes")
}

fn long_topic(index: usize) -> TopicName {
    let levels = "a-long-level/".repeat(7);
    TopicName::new(format!("{levels}node-{:04}", index % 1000)).expect("a topic of 100 bytes")
}

fn utf8_topic(index: usize) -> TopicName {
    TopicName::new(format!("sensors/größe/node-{:04}", index % 1000)).expect("a topic of 24 bytes")
}

fn payload(size: usize) -> Vec<u8> {
    (0..size).map(|byte| (byte as u8).wrapping_mul(31)).collect()
}

fn text(text: &str) -> Text {
    Text::new(text).expect("a text")
}

fn one() -> PublishFields {
    PublishFields { message_expiry_interval: Some(3600), ..PublishFields::default() }
}

fn three() -> PublishFields {
    PublishFields {
        content_type: Some(text("application/json")),
        user_properties: vec![(text("origin"), text("plant-7/line-3"))],
        ..one()
    }
}

fn nine() -> PublishFields {
    let user = ["origin", "unit", "trace", "host"].map(|name| (text(name), text("plant-7/line-3")));
    PublishFields {
        payload_format_indicator: Some(true),
        response_topic: Some(TopicName::new("answers/plant7/node-0001").expect("a topic")),
        correlation_data: Some(Bytes::from_static(b"0123456789abcdef")),
        user_properties: user.into(),
        ..three()
    }
}

/// 80 % PUBLISH of 32 to 512 bytes, half of them QoS 0; 14 % PUBACK, 3 % PINGRESP, 3 % SUBACK.
fn mixed() -> Vec<Item> {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let topics: Vec<TopicName> = (0..32).map(mixed_topic).collect();
    let one = |index| match random.below(100) {
        kind @ 0..80 => {
            let size = 32 + random.below(481);
            let payload: Vec<u8> = (0..size).map(|_| random.below(256) as u8).collect();
            let topic = topics.get(random.below(32)).cloned().unwrap_or_else(|| topic(index));
            let publish = Publish::new(topic, payload);
            match kind % 2 {
                0 => Item::Publish(publish, PublishHeader::default()),
                _ => item(publish, index),
            }
        }
        80..94 => Item::Packet(Packet::PubAck(ack(index))),
        94..97 => Item::Packet(Packet::PingResp),
        _ => {
            let codes = 0..1 + random.below(4);
            let reasons = codes.map(|_| ReasonCode::new(random.below(3) as u8)).collect();
            let properties = Default::default();
            Item::Packet(Packet::SubAck(SubAck { packet_id: id(index), reasons, properties }))
        }
    };
    (0..PACKETS).map(one).collect()
}

/// A topic of 12 to 43 bytes.
fn mixed_topic(index: usize) -> TopicName {
    let letters = "abcdefghijklmnopqrstuvwxyz".repeat(2);
    let topic = format!("site/{index:02}/{letters}");
    TopicName::new(topic.split_at(12 + index).0).expect("a topic")
}

/// Xorshift: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % bound
    }
}
