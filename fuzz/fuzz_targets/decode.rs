//! Any bytes, in all versions: no panic, no memory beyond a multiple of the input, and whatever is
//! a packet survives being written and read again.

#![no_main]

use bytes::{Buf, Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use mqtt_fuzz::allocated_at_most;
use mqtt_proto::{DecodeError, Packet, TxBuf, Version, codec};

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    let _ = codec::connect_version(&bytes);
    for version in [Version::V31, Version::V311, Version::V5] {
        // As a stream of packets, and as one frame.
        let mut input = BytesMut::from(data);
        let mut read = Vec::new();
        loop {
            let before = input.len();
            let result = allocated_at_most(64, || codec::frame(&mut input, u32::MAX));
            let Ok(Some(frame)) = result else {
                assert_eq!(input.len(), before, "nothing is taken");
                break;
            };
            one(&frame, version);
            read.push(codec::decode(&frame, version));
        }
        one(&bytes, version);
        by_blocks(data, version, &read);
    }
});

/// Reads the stream another way: the same packets up to the first fault, and the same fault.
fn by_blocks(data: &[u8], version: Version, frames: &[Result<Packet, DecodeError>]) {
    let mut packets = codec::packets(&mut BytesMut::from(data), version, u32::MAX);
    let mut frames = frames.iter();
    loop {
        match (packets.read(), frames.next()) {
            (Ok(Some(packet)), Some(Ok(expected))) => assert_eq!(packet, expected),
            (Err(error), Some(Err(expected))) => return assert_eq!(error, *expected),
            // What comes behind the last whole packet is no header.
            (Ok(None) | Err(_), None) => return,
            (read, expected) => panic!("{read:?}, not {expected:?}"),
        }
    }
}

fn one(frame: &Bytes, version: Version) {
    // A pair of handles takes 64 bytes and stands for at least 5 on the wire; lists double, so that
    // the old and the new one are held for a moment; a CONNACK is about 600 bytes.
    let limit = 40 * frame.len() as u64 + 2048;
    let packet = match allocated_at_most(limit, || codec::decode(frame, version)) {
        Ok(packet) => packet,
        Err(error) => {
            assert!(error.offset() <= frame.len());
            assert!(error.reason().is_error());
            return;
        }
    };
    if let Packet::Publish(publish) = &packet {
        allocated_at_most(0, || {
            assert_eq!(publish.topic().len(), publish.topic_bytes().len());
            assert_eq!(publish.payload().len(), publish.payload_bytes().len());
            publish.properties().count()
        });
        match publish.to_publish() {
            Some(message) => assert_eq!(message.payload, publish.payload()),
            None => assert!(publish.topic_alias().is_some()),
        }
    }
    let mut out = TxBuf::new();
    codec::encode(&packet, version, &mut out).expect("what was read can be written");
    assert_eq!(codec::encoded_len(&packet, version), Ok(out.len()));
    assert!(out.len() <= frame.len(), "the shortest form is no longer");
    let written = out.copy_to_bytes(out.remaining());
    let again = codec::decode(&written, version).expect("what was written can be read");
    assert_eq!(again, packet);
}
