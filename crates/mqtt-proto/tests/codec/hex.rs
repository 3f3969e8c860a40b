//! Packets written down so that they can be compared with the figures of the standard.

use bytes::{Buf, Bytes};
use mqtt_proto::codec::{self, PublishHeader};
use mqtt_proto::{
    DecodeCause, DecodeError, EncodeError, Packet, PacketId, PacketType, Publish, ReasonCode,
    TopicFilter, TopicName, TxBuf, Version,
};

/// Reads pairs of hexadecimal digits and `'text'`; spaces mean nothing. A `^` marks a place.
pub(crate) fn marked(text: &str) -> (Bytes, Option<usize>) {
    let (mut bytes, mut mark) = (Vec::new(), None);
    let mut chars = text.chars();
    while let Some(first) = chars.next() {
        match first {
            ' ' => {}
            '^' => mark = Some(bytes.len()),
            '\'' => bytes.extend(chars.by_ref().take_while(|c| *c != '\'').map(|c| c as u8)),
            _ => {
                let digit = |c: char| c.to_digit(16).unwrap_or_else(|| panic!("{c:?} in {text}"));
                let second = chars.next().unwrap_or_else(|| panic!("half a byte in {text}"));
                bytes.push((digit(first) << 4 | digit(second)) as u8);
            }
        }
    }
    (Bytes::from(bytes), mark)
}

pub(crate) fn hex(text: &str) -> Bytes {
    marked(text).0
}

pub(crate) fn decode(text: &str, version: Version) -> Result<Packet, DecodeError> {
    codec::decode(&hex(text), version)
}

/// Encodes, and holds the encoder to what it said about the length.
pub(crate) fn encode(packet: &Packet, version: Version) -> Result<Bytes, EncodeError> {
    let mut out = TxBuf::new();
    let result = codec::encode(packet, version, &mut out);
    let predicted = codec::encoded_len(packet, version);
    match result {
        Ok(()) => assert_eq!(predicted, Ok(out.len()), "{packet:?}"),
        Err(error) => {
            assert_eq!(predicted, Err(error.clone()), "{packet:?}");
            assert!(out.is_empty(), "something was written before {error:?}");
            return Err(error);
        }
    }
    Ok(out.copy_to_bytes(out.remaining()))
}

/// Returns an empty buffer with room for so many bytes, at least 5, where others lay before.
pub(crate) fn used(room: usize) -> TxBuf {
    let (mut out, header) = (TxBuf::new(), PublishHeader::default());
    while out.len() < room {
        let left = room - out.len();
        let payload = vec![0xEE; if left < 130 { left - 5 } else { 100 }];
        let other = Publish::new(topic("t"), payload);
        codec::encode_publish(&other, &header, Version::V311, &mut out).unwrap();
    }
    out.shrink();
    assert_eq!(out.capacity(), room);
    out.advance(room);
    out
}

/// Does the same for a message, which is written in another way where the buffer need not grow.
pub(crate) fn encode_publish(
    publish: &Publish,
    header: &PublishHeader,
    version: Version,
) -> Result<Bytes, EncodeError> {
    let (mut out, mut used) = (TxBuf::new(), used(4000));
    let result = codec::encode_publish(publish, header, version, &mut out);
    let predicted = codec::publish_len(publish, header, version);
    match &result {
        Ok(()) => assert_eq!(predicted, Ok(out.len()), "{publish:?}"),
        Err(error) => {
            assert_eq!(predicted, Err(error.clone()), "{publish:?}");
            assert!(out.is_empty(), "something was written before {error:?}");
            assert_eq!(codec::encode_publish(publish, header, version, &mut used), result);
            assert!(used.is_empty(), "something was written before {error:?}");
            return Err(error.clone());
        }
    }
    let written = out.copy_to_bytes(out.remaining());
    codec::encode_publish(publish, header, version, &mut used).unwrap();
    assert_eq!(used.copy_to_bytes(used.remaining()), written, "{publish:?}");
    Ok(written)
}

/// Expects that a packet is refused for that cause, with that reason code, at the `^`.
#[track_caller]
pub(crate) fn refused(version: Version, text: &str, cause: DecodeCause, reason: u8) {
    let (bytes, mark) = marked(text);
    let Some(mark) = mark else { panic!("no ^ in {text}") };
    refused_at(version, &bytes, cause, reason, mark);
}

#[track_caller]
pub(crate) fn refused_at(
    version: Version,
    bytes: &Bytes,
    cause: DecodeCause,
    reason: u8,
    offset: usize,
) {
    let shown = || format!("{version}: {}", show(bytes));
    let error = match codec::decode(bytes, version) {
        Ok(packet) => panic!("{}: taken as {packet:?}", shown()),
        Err(error) => error,
    };
    let wanted = (cause, offset, ReasonCode::new(reason));
    assert_eq!((error.cause(), error.offset(), error.reason()), wanted, "{}", shown());
    let number = usize::from(bytes[0] >> 4);
    let packet = number.checked_sub(1).map(|index| PacketType::ALL[index]);
    assert_eq!(error.packet(), packet, "{}", shown());
}

pub(crate) fn show(bytes: &[u8]) -> String {
    let mut text: String = bytes.iter().take(64).map(|byte| format!("{byte:02X} ")).collect();
    if bytes.len() > 64 {
        text.push_str(&format!("... {} bytes", bytes.len()));
    }
    text
}

/// Puts the fixed header before a body.
pub(crate) fn framed(first: u8, body: &[u8]) -> Bytes {
    let mut frame = vec![first];
    frame.extend(variable(body.len()));
    frame.extend_from_slice(body);
    Bytes::from(frame)
}

/// A Variable Byte Integer, as section 1.5.5 writes its algorithm down.
pub(crate) fn variable(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value % 128) as u8;
        value /= 128;
        if value == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 128);
    }
}

/// A string or Binary Data with its length.
pub(crate) fn field(content: &[u8]) -> Vec<u8> {
    let mut bytes = (content.len() as u16).to_be_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes
}

pub(crate) fn id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

pub(crate) fn topic(name: &str) -> TopicName {
    TopicName::new(name).unwrap()
}

pub(crate) fn filter(filter: &str) -> TopicFilter {
    TopicFilter::new(filter).unwrap()
}

pub(crate) fn text(text: &str) -> mqtt_proto::Text {
    mqtt_proto::Text::new(text).unwrap()
}

pub(crate) const ALL_VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

pub(crate) fn decode_bytes(bytes: &[u8], version: Version) -> Result<Packet, DecodeError> {
    codec::decode(&Bytes::copy_from_slice(bytes), version)
}
