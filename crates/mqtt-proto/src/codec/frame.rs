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
#[inline]
pub(crate) fn header(input: &[u8], max: u32) -> Result<Option<Header>, DecodeError> {
    let Some((&first, rest)) = input.split_first() else {
        return Ok(None);
    };
    let flags = first & 0x0F;
    let allowed = match first >> 4 {
        0 => return Err(foreign(input, DecodeCause::PacketType)),
        3 => true,
        5 => flags == 0 && !http_request(input),
        // With the DUP flag in MQTT 3.1 only; `decode` knows the version and looks again.
        6 | 8 | 10 => flags & 0b0111 == 0b0010,
        _ => flags == 0,
    };
    if !allowed {
        return Err(foreign(input, DecodeCause::ReservedFlags));
    }
    let packet = PacketType::from_u8(first >> 4);
    let mut value = 0;
    for (len, (shift, &byte)) in (2..).zip([0, 7, 14, 21].into_iter().zip(rest)) {
        value |= u32::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            if byte == 0 && shift > 0 {
                return Err(DecodeError::new(packet, 1, DecodeCause::RemainingLength));
            }
            let packet_len = value + u32::from(len);
            if packet_len > max {
                return Err(DecodeError::too_large(packet, packet_len, max));
            }
            return Ok(Some(Header { first, len, packet_len }));
        }
    }
    if rest.len() >= 4 {
        return Err(DecodeError::new(packet, 1, DecodeCause::RemainingLength));
    }
    Ok(None)
}

/// Tells whether what begins like a PUBREC is an HTTP request: none has such a reason code.
#[inline]
fn http_request(input: &[u8]) -> bool {
    // The second byte tells nearly always.
    matches!(input, [_, b'O' | b'U', ..])
        && (input.starts_with(b"POST ") || input.starts_with(b"PUT /"))
}

/// Looks whether the bytes are the beginning of something well known that is not MQTT.
#[cold]
fn foreign(input: &[u8], cause: DecodeCause) -> DecodeError {
    const HTTP: [&[u8]; 4] = [b"HTTP/", b"GET ", b"POST ", b"PUT "];
    // The first bytes of a TLS record: handshake or alert, version 3.x.
    let cause = match input {
        [0x15 | 0x16, 0x03, ..] => DecodeCause::ForeignTls,
        _ if HTTP.iter().any(|start| {
            let len = start.len().min(input.len());
            len >= 2 && input.get(..len) == start.get(..len)
        }) =>
        {
            DecodeCause::ForeignHttp
        }
        _ => cause,
    };
    let packet = input.first().and_then(|first| PacketType::from_u8(first >> 4));
    DecodeError::new(packet, 0, cause)
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
