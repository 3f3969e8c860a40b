//! What decoding allocates: a binary of its own, because the counting allocator is for all of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; clippy knows test functions, but not their helpers"
)]

use allocation_counter::{AllocationInfo, measure};
use bytes::{Bytes, BytesMut};
use mqtt_proto::{DecodeCause, Packet, Publish, QoS, TopicName, TxBuf, Version, codec};

const ALL_VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

fn counted<T>(work: impl FnOnce() -> T) -> (T, AllocationInfo) {
    let mut result = None;
    let info = measure(|| result = Some(work()));
    (result.unwrap(), info)
}

#[test]
fn the_counter_counts() {
    let (block, info) = counted(|| vec![0_u8; 1000]);
    assert_eq!((info.count_total, info.bytes_total), (1, 1000));
    drop(block);
}

// class: 2
#[test]
fn a_header_that_claims_256_mb_costs_nothing() {
    for first in [0x10, 0x20, 0x30, 0x32, 0x40, 0x82, 0x90, 0xE0] {
        for limit in [1, 1024, 268_435_460, u32::MAX] {
            let mut input = BytesMut::from(&[first, 0xFF, 0xFF, 0xFF, 0x7F, 0][..]);
            let before = input.capacity();
            let (result, info) = counted(|| codec::frame(&mut input, limit));
            assert_eq!(info.count_total, 0, "nothing is reserved");
            assert_eq!((input.len(), input.capacity()), (6, before));
            if limit < 268_435_460 {
                let error = result.unwrap_err();
                assert_eq!(error.cause(), DecodeCause::TooLarge);
                assert_eq!(error.size_and_limit(), Some((268_435_460, limit)));
            } else {
                assert_eq!(result, Ok(None));
            }
        }
    }
}

// The limit is known to be exceeded from the header alone: no byte of the body has come.
// covers: v5 X5-3.1.2-h, v5 X5-3.2.2-j
// class: 2
#[test]
fn a_packet_that_is_too_large_is_refused_without_its_body() {
    let mut input = BytesMut::from(&[0x30, 0x80, 0x08][..]);
    let (result, info) = counted(|| codec::frame(&mut input, 1026));
    let error = result.unwrap_err();
    assert_eq!(error.size_and_limit(), Some((1027, 1026)));
    assert_eq!(error.reason().get(), 0x95);
    assert_eq!(info.count_total, 0);
    assert_eq!(codec::frame(&mut input, 1027), Ok(None));
}

// class: 2
#[test]
fn lengths_inside_a_packet_reserve_nothing() {
    let frames: [&[u8]; 6] = [
        b"\x30\x05\xFF\xFFa/b",
        b"\x30\x07\x00\x01a\xFF\xFF\xFF\x7F",
        b"\x40\x08\x00\x01\x00\x80\x80\x80\x01x",
        b"\x82\x07\x00\x01\x00\xFF\xFFa\x00",
        b"\x10\x0D\x00\x04MQTT\x05\x02\x00\x00\x00\xFF\xFF",
        b"\xE0\x06\x00\x04\x1F\xFF\xFFx",
    ];
    for frame in frames {
        let frame = Bytes::from_static(frame);
        for version in ALL_VERSIONS {
            let (result, info) = counted(|| codec::decode(&frame, version));
            assert!(result.is_err() || version != Version::V5, "{frame:?}");
            assert!(info.bytes_max <= 256, "{frame:?}: {info:?}");
        }
    }
}

// class: 2
#[test]
fn publish_acknowledgements_and_pings_allocate_nothing() {
    let frames: [(&[u8], &[Version]); 14] = [
        (b"\x30\x07\x00\x03a/bhi", &[Version::V31, Version::V311]),
        (b"\x32\x09\x00\x03a/b\x00\x01hi", &[Version::V31, Version::V311]),
        (b"\x30\x08\x00\x03a/b\x00hi", &[Version::V5]),
        (b"\x34\x14\x00\x03a/b\x00\x01\x0A\x23\x00\x01\x26\x00\x01k\x00\x01vhi", &[Version::V5]),
        (b"\x30\x06\x00\x04\xF0\x9F\x98\x80", &[Version::V31, Version::V311]),
        (b"\x40\x02\x00\x01", &ALL_VERSIONS),
        (b"\x50\x02\x00\x01", &ALL_VERSIONS),
        (b"\x62\x02\x00\x01", &ALL_VERSIONS),
        (b"\x70\x02\x00\x01", &ALL_VERSIONS),
        (b"\x40\x03\x00\x01\x10", &[Version::V5]),
        (b"\x50\x04\x00\x01\x97\x00", &[Version::V5]),
        (b"\xC0\x00", &ALL_VERSIONS),
        (b"\xD0\x00", &ALL_VERSIONS),
        (b"\xE0\x01\x81", &[Version::V5]),
    ];
    for (bytes, versions) in frames {
        for version in versions {
            // From the stream: cutting it may share the block, which is once per block and no copy.
            let mut input = BytesMut::with_capacity(4096);
            for _ in 0..3 {
                input.extend_from_slice(bytes);
            }
            let frame = codec::frame(&mut input, u32::MAX).unwrap().unwrap();
            let (packet, info) = counted(|| codec::decode(&frame, *version).unwrap());
            assert_eq!(info.count_total, 0, "{version}: {packet:?}");
            let (_, info) = counted(|| codec::frame(&mut input, u32::MAX).unwrap().unwrap());
            assert_eq!(info.count_total, 0, "{version}: {packet:?}");
            // The same as a block. Now that the buffer is shared, not even that allocates.
            input.extend_from_slice(bytes);
            let (count, info) = counted(|| {
                let mut packets = codec::packets(&mut input, *version, u32::MAX);
                let mut count = 0;
                while let Some(read) = packets.read().unwrap() {
                    assert_eq!(read.packet_type(), packet.packet_type());
                    count += 1;
                }
                count
            });
            assert_eq!((count, info.count_total), (2, 0), "{version}: {packet:?}");
            let ((), info) = counted(|| {
                if let Packet::Publish(publish) = &packet {
                    assert!(!publish.topic().is_empty());
                    assert!(publish.payload().len() + publish.properties().count() < 10);
                }
            });
            assert_eq!(info.count_total, 0, "reading it: {packet:?}");
        }
    }
}

// What a hostile packet makes the decoder hold is a small multiple of what was received.
// class: 2
// class: 8
#[test]
fn many_small_things_cost_a_bounded_multiple() {
    let repeated = |first: u8, before: &[u8], unit: &[u8], after: &[u8], properties: bool| {
        let units = unit.repeat(60_000 / unit.len());
        let mut body = before.to_vec();
        if properties {
            body.extend(variable(units.len()));
        }
        body.extend([&units[..], after].concat());
        let mut frame = vec![first];
        frame.extend(variable(body.len()));
        frame.extend(body);
        Bytes::from(frame)
    };
    let pair = b"\x26\0\0\0\0";
    for frame in [
        repeated(0x30, b"\0\x01a", pair, b"", true),
        repeated(0x40, b"\0\x01\0", pair, b"", true),
        repeated(0x20, b"\0\0", pair, b"", true),
        repeated(0x82, b"\0\x01\0", b"\0\x01a\0", b"", false),
        repeated(0xA2, b"\0\x01\0", b"\0\x01a", b"", false),
        repeated(0x90, b"\0\x01\0", b"\0", b"", false),
    ] {
        let (packet, info) = counted(|| codec::decode(&frame, Version::V5).unwrap());
        // A pair of handles takes 64 bytes for 5 on the wire, and a list grows by doubling.
        let bound = 40 * frame.len() as u64;
        assert!(info.bytes_max <= bound, "{}: {info:?}", packet.packet_type());
        // The number of allocations grows with the logarithm: a list, not a tree.
        assert!(info.count_total < 40, "{}: {info:?}", packet.packet_type());
    }
}

// class: 10
#[test]
fn a_packet_that_is_too_long_to_write_reserves_nothing() {
    let payload = Bytes::from(vec![0; codec::MAX_REMAINING_LENGTH]);
    let publish = Publish::new(TopicName::new("a").unwrap(), payload).qos(QoS::AtMostOnce);
    for version in ALL_VERSIONS {
        let mut out = TxBuf::new();
        let header = codec::PublishHeader::default();
        let (result, info) =
            counted(|| codec::encode_publish(&publish, &header, version, &mut out));
        assert!(result.is_err());
        assert_eq!((info.count_total, out.capacity()), (0, 0));
    }
}

fn variable(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
