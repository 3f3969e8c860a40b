//! Any bytes, in all versions: no panic, no memory beyond a multiple of the input, and whatever is
//! a packet survives being written and read again.

#![no_main]

use bytes::{Buf, Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use mqtt_fuzz::allocated_at_most;
use mqtt_proto::{Packet, TxBuf, Version, codec};

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    let _ = codec::connect_version(&bytes);
    for version in [Version::V31, Version::V311, Version::V5] {
        // As a stream of packets, and as one frame.
        let mut input = BytesMut::from(data);
        loop {
            let before = input.len();
            let result = allocated_at_most(64, || codec::frame(&mut input, u32::MAX));
            let Ok(Some(frame)) = result else {
                assert_eq!(input.len(), before, "nothing is taken");
                break;
            };
            one(&frame, version);
        }
        one(&bytes, version);
    }
});

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
