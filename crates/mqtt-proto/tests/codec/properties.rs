//! What holds for all packets, all bytes and all ways to cut a stream.

use bytes::{Buf, Bytes, BytesMut};
use mqtt_proto::codec;
use mqtt_proto::{DecodeError, Packet, TxBuf, Version};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::arbitrary::{message, packet, packet_and_version, version};
use crate::hex::{encode, encode_publish, framed, show};

/// Touches all that is read lazily, and holds the two views of a message against each other.
fn read_all(packet: &Packet) {
    let Packet::Publish(publish) = packet else {
        return;
    };
    let properties = publish.properties().count();
    assert_eq!(publish.topic().as_bytes(), publish.topic_bytes());
    assert_eq!(publish.payload(), publish.payload_bytes());
    assert_eq!(publish.clone().into_owned(), *publish);
    assert_eq!(publish.packet_id().is_some(), publish.qos() as u8 > 0);
    match publish.to_publish() {
        Some(message) => {
            assert_eq!(message.topic.as_str(), publish.topic());
            let empty = message.properties.is_empty();
            let alias = usize::from(publish.topic_alias().is_some());
            assert_eq!(empty, properties == alias, "{publish:?}");
        }
        None => assert!(publish.topic().is_empty() && publish.topic_alias().is_some()),
    }
}

/// Decodes a complete frame; what is a packet has to survive being written and read again.
fn decode_and_repeat(frame: &Bytes, version: Version) -> bool {
    match codec::decode(frame, version) {
        Ok(packet) => {
            read_all(&packet);
            let written = encode(&packet, version)
                .unwrap_or_else(|error| panic!("{}: {packet:?}: {error}", show(frame)));
            assert_eq!(codec::decode(&written, version), Ok(packet), "{}", show(frame));
            assert!(written.len() <= frame.len(), "{}: written longer", show(frame));
            true
        }
        Err(error) => {
            assert!(error.offset() <= frame.len(), "{}: {error}", show(frame));
            assert!(error.reason().is_error());
            false
        }
    }
}

/// Reads a stream, fed in pieces of these sizes over and over, up to its end or to its first fault.
fn read_frames(stream: &[u8], sizes: &[usize], version: Version, max: u32) -> Read {
    read_pieces(stream, sizes, |input| {
        codec::frame(input, max)?.map(|frame| codec::decode(&frame, version)).transpose()
    })
}

/// The same by blocks.
fn read_blocks(stream: &[u8], sizes: &[usize], version: Version, max: u32) -> Read {
    let mut block = codec::packets(&mut BytesMut::new(), version, max);
    read_pieces(stream, sizes, |input| {
        if let Some(packet) = block.read()? {
            return Ok(Some(packet.clone()));
        }
        block = codec::packets(input, version, max);
        let packet = block.read().map(|packet| packet.cloned());
        if packet.is_err() {
            assert_eq!(block.read().map(|packet| packet.cloned()), packet, "the fault stays");
        }
        packet
    })
}

/// The packets, and what stopped the reading: a fault, or the number of bytes that are left.
type Read = (Vec<Packet>, Result<usize, DecodeError>);

fn read_pieces(
    stream: &[u8],
    sizes: &[usize],
    mut read: impl FnMut(&mut BytesMut) -> Result<Option<Packet>, DecodeError>,
) -> Read {
    let (mut input, mut rest, mut packets) = (BytesMut::new(), stream, Vec::new());
    for size in sizes.iter().cycle() {
        loop {
            match read(&mut input) {
                Ok(Some(packet)) => packets.push(packet),
                Ok(None) => break,
                Err(error) => return (packets, Err(error)),
            }
        }
        if rest.is_empty() {
            break;
        }
        let (piece, later) = rest.split_at((*size).min(rest.len()));
        input.extend_from_slice(piece);
        rest = later;
    }
    (packets, Ok(input.len()))
}

/// Cuts a stream into frames, fed in pieces of these sizes over and over.
fn frames(stream: &[u8], sizes: &[usize]) -> Vec<Bytes> {
    let (mut input, mut rest, mut frames) = (BytesMut::new(), stream, Vec::new());
    for size in sizes.iter().cycle() {
        while let Some(frame) = codec::frame(&mut input, u32::MAX).unwrap() {
            frames.push(frame);
        }
        if rest.is_empty() {
            break;
        }
        let (piece, later) = rest.split_at((*size).min(rest.len()));
        input.extend_from_slice(piece);
        rest = later;
    }
    assert!(input.is_empty(), "{} bytes are left", input.len());
    frames
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    // `encode` here also holds `encoded_len` to what is written.
    // class: 10
    #[test]
    fn what_is_written_is_read_again((packet, version) in packet_and_version()) {
        let written = encode(&packet, version).unwrap();
        read_all(&packet);
        prop_assert_eq!(codec::decode(&written, version), Ok(packet));
    }

    // class: 10
    #[test]
    fn messages_are_read_as_they_were_built(
        (publish, header, version) in version().prop_flat_map(|version| {
            message(version.is_v5()).prop_map(move |(publish, header)| (publish, header, version))
        })
    ) {
        let written = encode_publish(&publish, &header, version).unwrap();
        let Ok(Packet::Publish(packet)) = codec::decode(&written, version) else {
            panic!("{}", show(&written));
        };
        prop_assert_eq!(packet.dup(), header.dup);
        prop_assert_eq!(packet.packet_id(), header.packet_id);
        prop_assert_eq!(packet.wire_len(), written.len());
        prop_assert_eq!(&packet, &codec::publish_packet(&publish, &header).unwrap());
        prop_assert_eq!(encode(&Packet::Publish(packet.clone()), version).unwrap(), written);
        match header.topic_alias {
            Some(codec::TopicAlias::Use(alias)) => {
                prop_assert_eq!(packet.topic_alias(), Some(alias));
                prop_assert_eq!(packet.to_publish(), None);
            }
            Some(codec::TopicAlias::Set(alias)) => {
                prop_assert_eq!(packet.topic_alias(), Some(alias));
                prop_assert_eq!(packet.to_publish(), Some(publish));
            }
            None => prop_assert_eq!(packet.to_publish(), Some(publish)),
        }
    }

    // class: 4
    // class: 5
    #[test]
    fn any_bytes_in_a_frame_are_a_packet_or_an_error(
        first in any::<u8>(),
        body in vec(prop_oneof![3 => 0..4u8, 1 => any::<u8>()], 0..40),
        version in version(),
    ) {
        decode_and_repeat(&framed(first, &body), version);
    }

    // class: 4
    // class: 5
    #[test]
    fn any_bytes_at_all_do_no_harm(bytes in vec(any::<u8>(), 0..64), version in version()) {
        let mut input = BytesMut::from(&bytes[..]);
        while let Ok(Some(frame)) = codec::frame(&mut input, u32::MAX) {
            decode_and_repeat(&frame, version);
        }
        let bytes = Bytes::from(bytes);
        decode_and_repeat(&bytes, version);
        if let Ok(version) = codec::connect_version(&bytes) {
            decode_and_repeat(&bytes, version);
        }
    }

    // Read as another version, with bytes changed, put in, taken out or repeated.
    // class: 4
    // class: 5
    #[test]
    fn spoiled_packets_are_packets_or_errors(
        (packet, version) in packet_and_version(),
        read_as in version(),
        changes in vec((0..5u8, any::<Index>(), any::<u8>()), 0..4),
    ) {
        let written = encode(&packet, version).unwrap();
        let header = 1 + written[1..].iter().take_while(|byte| **byte >= 0x80).count() + 1;
        let mut body = written[header..].to_vec();
        for (kind, at, byte) in changes {
            let at = at.index(body.len() + 1);
            match kind {
                0 if at < body.len() => body[at] = byte,
                1 if at < body.len() => body[at] ^= 1 << (byte % 8),
                2 => body.insert(at, byte),
                3 if at < body.len() => { body.remove(at); }
                _ => { let copy = body[at..].to_vec(); body.extend(copy); }
            }
        }
        let frame = framed(written[0], &body);
        let mut input = BytesMut::from(&frame[..]);
        if let Some(frame) = codec::frame(&mut input, u32::MAX).unwrap() {
            prop_assert!(input.is_empty());
            decode_and_repeat(&frame, read_as);
        } else {
            panic!("incomplete: {}", show(&frame));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    // The same packets come out however the stream is cut, and however they were written.
    // covers: v5 X5-2.1.4-a, v3 X3-2.2.3-b
    // class: 1
    // class: 5
    #[test]
    fn all_ways_to_cut_a_stream_give_the_same_packets(
        (packets, version) in version()
            .prop_flat_map(|version| (vec(packet(version), 1..8), Just(version))),
        sizes in vec(1..200usize, 1..8),
    ) {
        let mut out = TxBuf::new();
        for packet in &packets {
            codec::encode(packet, version, &mut out).unwrap();
        }
        let stream = out.copy_to_bytes(out.remaining());
        for sizes in [&[1][..], &[7], &[stream.len()], &sizes] {
            let frames = frames(&stream, sizes);
            let read: Vec<_> =
                frames.iter().map(|frame| codec::decode(frame, version).unwrap()).collect();
            prop_assert_eq!(&read, &packets);
            let (read, left) = read_blocks(&stream, sizes, version, u32::MAX);
            prop_assert_eq!((&read, left), (&packets, Ok(0)));
        }
        if stream.len() < 400 {
            for cut in 1..stream.len() {
                prop_assert_eq!(frames(&stream, &[cut, stream.len()]).len(), packets.len());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    // By blocks or by frames: the same packets, the same fault behind the same packet, and the same rest.
    // class: 1
    // class: 5
    #[test]
    fn blocks_give_what_frames_give(
        (packets, version) in version()
            .prop_flat_map(|version| (vec(packet(version), 1..6), Just(version))),
        changes in vec((any::<Index>(), any::<u8>()), 0..3),
        cut in any::<Index>(),
        sizes in vec(1..300usize, 1..5),
        max in prop_oneof![Just(u32::MAX), 2..200u32],
        read_as in version(),
    ) {
        let mut out = TxBuf::new();
        for packet in &packets {
            codec::encode(packet, version, &mut out).unwrap();
        }
        let mut stream = out.copy_to_bytes(out.remaining()).to_vec();
        for (at, byte) in changes {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        stream.truncate(stream.len() - cut.index(stream.len()).min(5));
        for read_as in [version, read_as] {
            let frames = read_frames(&stream, &sizes, read_as, max);
            prop_assert_eq!(read_blocks(&stream, &sizes, read_as, max), frames);
        }
    }
}

// Properties that were opened and left empty are the same as none: the wire cannot tell them apart.
#[test]
fn opened_but_empty_properties_survive_the_wire() {
    let mut will = mqtt_proto::Will::new(crate::hex::topic("w"), "");
    let plain = mqtt_proto::Connect { will: Some(will.clone()), ..Default::default() };
    will.properties.edit();
    let opened = mqtt_proto::Connect { will: Some(will), ..Default::default() };
    assert_eq!(plain, opened);
    let packet = Packet::Connect(Box::new(opened));
    let written = encode(&packet, Version::V5).unwrap();
    assert_eq!(codec::decode(&written, Version::V5), Ok(packet));
}
