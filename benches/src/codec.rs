//! Decoding and encoding against two peers: medians of interleaved rounds.

use std::hint::black_box;
use std::time::Instant;

use bytes::{Buf, BytesMut};
use mqtt_proto::{
    Ack, Packet, PacketId, Publish, PublishFields, QoS, ReasonCode, Text, TopicName, TxBuf,
    Version, codec,
};

const BLOCK: usize = 64 * 1024;
const PACKETS: usize = 4096;
const ROUNDS: usize = 41;

/// One codec on one stream; returns a sum over what it saw, to be compared.
type Run<'a> = Box<dyn FnMut() -> u64 + 'a>;

struct Case<'a> {
    name: &'static str,
    ours: Run<'a>,
    peers: Vec<(&'static str, Run<'a>)>,
}

fn id(index: usize) -> PacketId {
    PacketId::new((index % 65_535) as u16 + 1).unwrap_or(PacketId::MIN)
}

fn publish(index: usize, payload: usize, properties: bool) -> Publish {
    let topic = TopicName::new(format!("sensors/plant7/node-{:04}", index % 1000));
    let payload: Vec<u8> = (0..payload).map(|byte| (byte as u8).wrapping_mul(31)).collect();
    let mut publish = Publish::new(topic.expect("a topic"), payload).qos(QoS::AtLeastOnce);
    if properties {
        let text = |text: &str| Text::new(text).expect("a text");
        publish.properties = PublishFields {
            message_expiry_interval: Some(3600),
            content_type: Some(text("application/json")),
            user_properties: vec![(text("origin"), text("plant-7/line-3"))],
            ..PublishFields::default()
        }
        .into();
    }
    publish
}

fn publish_stream(version: Version, payload: usize, properties: bool) -> Vec<u8> {
    let mut out = TxBuf::new();
    for index in 0..PACKETS.min(4 * 1024 * 1024 / (payload + 32)) {
        let header = codec::PublishHeader { packet_id: Some(id(index)), ..Default::default() };
        let publish = publish(index, payload, properties);
        codec::encode_publish(&publish, &header, version, &mut out).expect("it encodes");
    }
    out.copy_to_bytes(out.remaining()).to_vec()
}

fn ack_stream() -> Vec<u8> {
    let mut out = TxBuf::new();
    for index in 0..4 * PACKETS {
        let ack = Packet::PubAck(Ack::new(id(index), ReasonCode::SUCCESS));
        codec::encode(&ack, Version::V311, &mut out).expect("it encodes");
    }
    out.copy_to_bytes(out.remaining()).to_vec()
}

/// Feeds the stream in blocks, as reads from a socket would, into a reused buffer.
fn feed(
    wire: &[u8],
    buffer: &mut BytesMut,
    mut packet: impl FnMut(&mut BytesMut) -> Option<u64>,
) -> u64 {
    let mut sum = 0;
    buffer.clear();
    for block in wire.chunks(BLOCK) {
        buffer.reserve(BLOCK);
        buffer.extend_from_slice(block);
        while let Some(seen) = packet(buffer) {
            sum += seen;
        }
    }
    sum
}

fn ours(wire: &[u8], version: Version) -> Run<'_> {
    let mut buffer = BytesMut::new();
    Box::new(move || {
        feed(wire, &mut buffer, |buffer| {
            let frame = codec::frame(buffer, u32::MAX).expect("a frame")?;
            let packet = black_box(codec::decode(&frame, version).expect("a packet"));
            Some(match &packet {
                Packet::Publish(publish) => {
                    let id = publish.packet_id().map_or(0, PacketId::get);
                    (publish.topic_bytes().len() + publish.payload_bytes().len()) as u64
                        + u64::from(id)
                }
                Packet::PubAck(ack) => ack.packet_id.get().into(),
                _ => 0,
            })
        })
    })
}

macro_rules! peer {
    ($name:ident, $read:expr, $packet:path) => {
        fn $name(wire: &[u8]) -> Run<'_> {
            use $packet as Packet;
            let mut buffer = BytesMut::new();
            Box::new(move || {
                feed(wire, &mut buffer, |buffer| {
                    let packet = black_box($read(buffer).ok()?);
                    Some(match &packet {
                        Packet::Publish(publish) => {
                            (publish.topic.len() + publish.payload.len()) as u64
                                + u64::from(publish.pkid)
                        }
                        Packet::PubAck(ack) => ack.pkid.into(),
                        _ => 0,
                    })
                })
            })
        }
    };
}

peer!(rumqttc_v4, |buffer| rumqttc::mqttbytes::v4::Packet::read(buffer, 1 << 28), rumqttc::Packet);
peer!(mqttbytes_v4, |buffer| mqttbytes::v4::read(buffer, 1 << 28), mqttbytes::v4::Packet);
peer!(
    rumqttc_v5,
    |buffer| rumqttc::v5::mqttbytes::v5::Packet::read(buffer, Some(1 << 28)),
    rumqttc::v5::mqttbytes::v5::Packet
);

fn encode_ours(version: Version, payload: usize, properties: bool) -> Run<'static> {
    let messages: Vec<Publish> = (0..PACKETS.min(4 * 1024 * 1024 / (payload + 32)))
        .map(|index| publish(index, payload, properties))
        .collect();
    let mut out = TxBuf::new();
    Box::new(move || {
        let mut sum = 0;
        for (index, publish) in messages.iter().enumerate() {
            let header = codec::PublishHeader { packet_id: Some(id(index)), ..Default::default() };
            codec::encode_publish(publish, &header, version, &mut out).expect("it encodes");
            if out.len() >= BLOCK {
                sum += out.len() as u64;
                black_box(&out);
                out.clear();
            }
        }
        sum += out.len() as u64;
        out.clear();
        sum
    })
}

fn encode_rumqttc(payload: usize) -> Run<'static> {
    let messages: Vec<rumqttc::Publish> = (0..PACKETS.min(4 * 1024 * 1024 / (payload + 32)))
        .map(|index| {
            let ours = publish(index, payload, false);
            let qos = rumqttc::QoS::AtLeastOnce;
            let mut publish =
                rumqttc::Publish::new(ours.topic.as_str(), qos, ours.payload.to_vec());
            publish.pkid = id(index).get();
            publish
        })
        .collect();
    let mut out = BytesMut::new();
    Box::new(move || {
        let mut sum = 0;
        for publish in &messages {
            publish.write(&mut out).expect("it encodes");
            if out.len() >= BLOCK {
                sum += out.len() as u64;
                black_box(&out);
                out.clear();
            }
        }
        sum += out.len() as u64;
        out.clear();
        sum
    })
}

/// Returns nanoseconds, and what the run saw.
fn time(run: &mut Run<'_>) -> (f64, u64) {
    let start = Instant::now();
    let sum = run();
    (start.elapsed().as_nanos() as f64, sum)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() {
    let [v4, v5] = [Version::V311, Version::V5].map(|version| publish_stream(version, 64, false));
    let v5_properties = publish_stream(Version::V5, 64, true);
    let large = publish_stream(Version::V311, 16 * 1024, false);
    let acks = ack_stream();
    let mut cases = [
        Case {
            name: "decode/v311/publish-64",
            ours: ours(&v4, Version::V311),
            peers: vec![("rumqttc", rumqttc_v4(&v4)), ("mqttbytes", mqttbytes_v4(&v4))],
        },
        Case {
            name: "decode/v5/publish-64",
            ours: ours(&v5, Version::V5),
            peers: vec![("rumqttc", rumqttc_v5(&v5))],
        },
        Case {
            name: "decode/v5/publish-64-properties",
            ours: ours(&v5_properties, Version::V5),
            peers: vec![("rumqttc", rumqttc_v5(&v5_properties))],
        },
        Case {
            name: "decode/v311/puback",
            ours: ours(&acks, Version::V311),
            peers: vec![("rumqttc", rumqttc_v4(&acks)), ("mqttbytes", mqttbytes_v4(&acks))],
        },
        Case {
            name: "decode/v311/publish-16k",
            ours: ours(&large, Version::V311),
            peers: vec![("rumqttc", rumqttc_v4(&large)), ("mqttbytes", mqttbytes_v4(&large))],
        },
        Case {
            name: "encode/v311/publish-64",
            ours: encode_ours(Version::V311, 64, false),
            peers: vec![("rumqttc", encode_rumqttc(64))],
        },
        Case {
            name: "encode/v311/publish-16k",
            ours: encode_ours(Version::V311, 16 * 1024, false),
            peers: vec![("rumqttc", encode_rumqttc(16 * 1024))],
        },
    ];
    let packets = [v4.as_slice(), &v5, &v5_properties, &acks, &large].map(count);
    let counts =
        [packets[0], packets[1], packets[2], packets[3], packets[4], packets[0], packets[4]];
    println!("bench\tcase\tours\tpeer\tpeer_value\tratio");
    for (case, count) in cases.iter_mut().zip(counts) {
        let mut ours = Vec::new();
        let mut peers: Vec<(Vec<f64>, Vec<f64>)> = vec![Default::default(); case.peers.len()];
        for round in 0..ROUNDS {
            let (mine, seen) = time(&mut case.ours);
            for ((name, peer), (times, ratios)) in case.peers.iter_mut().zip(&mut peers) {
                let (theirs, seen_by_peer) = time(peer);
                assert_eq!(seen, seen_by_peer, "{} and {name} see the same", case.name);
                if round > 0 {
                    times.push(theirs / count as f64);
                    ratios.push(theirs / mine);
                }
            }
            if round > 0 {
                ours.push(mine / count as f64);
            }
        }
        let mine = median(&mut ours);
        for ((name, _), (mut times, mut ratios)) in case.peers.iter().zip(peers) {
            let (theirs, ratio) = (median(&mut times), median(&mut ratios));
            println!("codec\t{}\t{mine:.1}\t{name}\t{theirs:.1}\t{ratio:.2}", case.name);
        }
    }
}

fn count(wire: &[u8]) -> usize {
    let mut wire = BytesMut::from(wire);
    std::iter::from_fn(|| codec::frame(&mut wire, u32::MAX).ok()?).count()
}
