//! What a message costs without a client: the same bytes on the same transport, into memory.

use std::io::IoSlice;

use futures_lite::future::block_on;
use futures_lite::io::{AsyncReadExt, AsyncWriteExt};

use super::Prepare;
use crate::load::TOPIC;
use crate::measure::Run;
use crate::memory::Memory;
use crate::sink::put_variable;

/// What the memory is that the bytes are read into. Who hands a message to an application, to keep it, cannot do
/// with the same one each time.
pub(super) const FLOORS: [(&str, Prepare); 2] = [
    ("no client, the same memory each time", |size| (exchange(size, false), 1)),
    ("no client, new memory each time", |size| (exchange(size, true), 1)),
];

/// How much is read at once, as the client does.
const BLOCK: usize = 64 * 1024;

/// CONNECT of MQTT 5.0, without a Client Identifier.
const CONNECT: [u8; 15] = *b"\x10\x0D\0\x04MQTT\x05\x02\0\0\0\0\0";

/// Writes one PUBLISH at QoS 1, and reads PUBACK and the message.
fn exchange(size: usize, fresh: bool) -> Run {
    let mut memory = Memory::default();
    let topic = [&(TOPIC.len() as u16).to_be_bytes(), TOPIC.as_bytes()].concat();
    let subscribe = packet(0x82, &[&[0, 1, 0], topic.as_slice(), &[0]].concat(), 0);
    let publish = packet(0x32, &[topic.as_slice(), &[0, 1, 0]].concat(), size);
    let back = packet(0x30, &[topic.as_slice(), &[0]].concat(), size).len() + size;
    block_on(async {
        memory.write_all(&CONNECT).await.expect("memory");
        memory.write_all(&subscribe).await.expect("memory");
        memory.read(&mut [0; 64]).await.expect("CONNACK and SUBACK");
    });
    let (payload, mut kept) = (vec![b'x'; size], vec![0; PUBACK + back]);
    Box::new(move || {
        let mut new = Vec::new();
        if fresh {
            new = vec![0; PUBACK + back];
        }
        let into = if fresh { &mut new } else { &mut kept };
        block_on(async {
            let slices = [IoSlice::new(&publish), IoSlice::new(&payload)];
            memory.write_vectored(&slices).await.expect("memory");
            let mut at = 0;
            while at < into.len() {
                let end = into.len().min(at + BLOCK);
                at += memory.read(&mut into[at..end]).await.expect("memory");
            }
            at as u64
        })
    })
}

/// How long a PUBACK is.
const PUBACK: usize = 4;

/// Returns the beginning of a packet that has so many bytes more.
fn packet(first: u8, body: &[u8], more: usize) -> Vec<u8> {
    let mut packet = vec![first];
    put_variable(&mut packet, body.len() + more);
    packet.extend(body);
    packet
}
