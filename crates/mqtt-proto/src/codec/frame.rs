//! Cuts whole packets from a stream: MQTT 5.0 section 2.1. By hand, because it runs on every packet.

use bytes::{Bytes, BytesMut};

use crate::error::{DecodeCause, DecodeError};
use crate::types::PacketType;

/// What the fixed header says of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The first byte: type and flags.
    pub(crate) first: u8,
    /// How many bytes the fixed header takes: 2 to 5.
    pub(crate) len: u8,
    /// How many bytes the packet takes, fixed header included.
    pub(crate) packet_len: u32,
}

/// Reads the fixed header, or returns `None` if more bytes are needed for that.
///
/// The type and its reserved flags are checked here, before the length is believed: a peer that
/// speaks something else is caught at its first byte.
#[inline(always)]
pub(crate) fn header(input: &[u8], max: u32) -> Result<Option<Header>, DecodeError> {
    // What streams consist of is short. The rest is a call of its own, so that this is small enough to be
    // inlined.
    if let Some(&[first, len]) = input.first_chunk()
        && len < 0x80
        && has_good_flags(first)
        && first != POST_OR_PUT
        && u32::from(len) + 2 <= max
    {
        return Ok(Some(Header { first, len: 2, packet_len: u32::from(len) + 2 }));
    }
    match long_header(input) {
        Ok(Some(header)) if header.packet_len > max => {
            let packet = PacketType::from_u8(header.first >> 4);
            Err(DecodeError::too_large(packet, header.packet_len, max))
        }
        Ok(header) => Ok(header),
        Err(cause) => Err(bad_header(input, cause)),
    }
}

/// The flags that each packet type may have, as a set of the sixteen values: MQTT 5.0 section 2.1.3.
const FLAGS: [u16; 16] = {
    const NONE: u16 = 1 << 0b0000;
    const ANY: u16 = 0xFFFF;
    // With the DUP flag in MQTT 3.1 only; `decode` knows the version and looks again.
    const FIXED: u16 = 1 << 0b0010 | 1 << 0b1010;
    // The number 0 is no packet type; 3 is PUBLISH; 6, 8 and 10 are PUBREL, SUBSCRIBE and UNSUBSCRIBE.
    [0, NONE, NONE, ANY, NONE, NONE, FIXED, NONE, FIXED, NONE, FIXED, NONE, NONE, NONE, NONE, NONE]
};

#[inline(always)]
fn has_good_flags(first: u8) -> bool {
    FLAGS.get(usize::from(first >> 4)).is_some_and(|flags| flags >> (first & 0x0F) & 1 != 0)
}

/// The first byte of PUBREC, and of an HTTP request.
const POST_OR_PUT: u8 = b'P';

/// The error is one byte, so that the result fits into registers.
#[inline(never)]
fn long_header(input: &[u8]) -> Result<Option<Header>, DecodeCause> {
    let Some((&first, rest)) = input.split_first() else {
        return Ok(None);
    };
    if !has_good_flags(first) || http_request(input) {
        return Err(DecodeCause::ReservedFlags);
    }
    let mut value = 0;
    for (len, (shift, &byte)) in (2..).zip([0, 7, 14, 21].into_iter().zip(rest)) {
        value |= u32::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            if byte == 0 && shift > 0 {
                return Err(DecodeCause::RemainingLength);
            }
            return Ok(Some(Header { first, len, packet_len: value + u32::from(len) }));
        }
    }
    if rest.len() >= 4 { Err(DecodeCause::RemainingLength) } else { Ok(None) }
}

#[cold]
fn bad_header(input: &[u8], cause: DecodeCause) -> DecodeError {
    let packet = input.first().and_then(|first| PacketType::from_u8(first >> 4));
    match cause {
        DecodeCause::RemainingLength => DecodeError::new(packet, 1, cause),
        _ => DecodeError::new(packet, 0, foreign(input)),
    }
}

/// Tells whether what begins like a PUBREC is an HTTP request: none has such a reason code.
fn http_request(input: &[u8]) -> bool {
    input.starts_with(b"POST ") || input.starts_with(b"PUT /")
}

/// Looks whether the bytes are the beginning of something well known that is not MQTT.
fn foreign(input: &[u8]) -> DecodeCause {
    const HTTP: [&[u8]; 4] = [b"HTTP/", b"GET ", b"POST ", b"PUT "];
    // The first bytes of a TLS record: handshake or alert, version 3.x.
    match input {
        [0x15 | 0x16, 0x03, ..] => DecodeCause::ForeignTls,
        _ if HTTP.iter().any(|start| {
            let len = start.len().min(input.len());
            len >= 2 && input.get(..len) == start.get(..len)
        }) =>
        {
            DecodeCause::ForeignHttp
        }
        [0x00..=0x0F, ..] => DecodeCause::PacketType,
        _ => DecodeCause::ReservedFlags,
    }
}

/// Cuts one whole packet from the front of `input`, or returns `None` if it is not all there yet.
///
/// `max` is the largest packet to accept in bytes, fixed header included; it is compared with what
/// the header announces, before the rest has come. Nothing is reserved: `input` grows by what the
/// caller reads into it. After an error the stream is out of step and has to be closed.
///
/// MQTT 5.0 sections 1.5.5 and 2.1.4. A Remaining Length in more bytes than it needs is refused in
/// every version.
///
/// ```
/// use bytes::BytesMut;
/// use mqtt_proto::codec;
///
/// let mut input = BytesMut::from(&[0xC0, 0x00, 0xD0][..]);
/// assert_eq!(codec::frame(&mut input, 1024)?.unwrap(), &[0xC0, 0x00][..]);
/// assert_eq!(codec::frame(&mut input, 1024)?, None);
/// # Ok::<(), mqtt_proto::DecodeError>(())
/// ```
#[inline]
pub fn frame(input: &mut BytesMut, max: u32) -> Result<Option<Bytes>, DecodeError> {
    match header(input, max)? {
        Some(header) if header.packet_len as usize <= input.len() => {
            Ok(Some(input.split_to(header.packet_len as usize).freeze()))
        }
        _ => Ok(None),
    }
}
