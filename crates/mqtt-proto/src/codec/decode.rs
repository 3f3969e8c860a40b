//! One complete frame to a packet: MQTT 5.0 chapter 3.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::cmp::Ordering;

use bytes::Bytes;

use super::frame::{Header, header};
use super::parse::{Fail, Input, Parsed, be_u8, end, ensure, fail, packet_id, topic_or_empty};
use super::props::{properties, publish_properties};
use crate::error::{DecodeCause, DecodeError};
use crate::packet::{
    Ack, AckProperties, Auth, Disconnect, Packet, Properties, Property, PublishPacket,
    UserProperties,
};
use crate::reason::ReasonCode;
use crate::text::Text;
use crate::types::{PacketId, PacketType, Version};

mod connect;
mod subscribe;

use connect::{connack, connect, protocol};
use subscribe::{suback, subscribe, unsuback, unsubscribe};

/// Reads one whole frame, as [`frame`](super::frame()) cuts it, as a packet of that version.
///
/// Nothing is copied: the packet's strings and payloads are handles into the frame. A PUBLISH, an
/// acknowledgement without properties and a ping allocate nothing. All of the packet is checked here,
/// properties and text included, so that reading it later cannot fail.
///
/// A CONNECT names its own version; it is an error if that is not `version`. A server asks
/// [`connect_version`] first.
///
/// ```
/// use bytes::Bytes;
/// use mqtt_proto::{Packet, Version, codec};
///
/// let frame = Bytes::from_static(b"\x30\x07\x00\x03a/bhi");
/// let Packet::Publish(publish) = codec::decode(&frame, Version::V311)? else { panic!() };
/// assert_eq!(publish.topic(), "a/b");
/// assert_eq!(publish.payload_bytes(), b"hi");
/// # Ok::<(), mqtt_proto::DecodeError>(())
/// ```
pub fn decode(frame: &Bytes, version: Version) -> Result<Packet, DecodeError> {
    let header = match header(frame, u32::MAX)? {
        Some(header) => header,
        None => return Err(DecodeError::new(None, 0, DecodeCause::Truncated)),
    };
    match frame.len().cmp(&(header.packet_len as usize)) {
        Ordering::Equal => {
            let mut packet = Packet::PingReq;
            decode_into(&mut packet, frame, 0, header, version)?;
            Ok(packet)
        }
        order => {
            let cause =
                if order.is_lt() { DecodeCause::Truncated } else { DecodeCause::TrailingBytes };
            let at = frame.len().min(header.packet_len as usize) as u32;
            Err(DecodeError::new(PacketType::from_u8(header.first >> 4), at, cause))
        }
    }
}

/// Reads the packet that begins at `start` of a block and has that header and is all there.
///
/// The block is only shared where the packet has something to keep in it. What streams consist of is read
/// here and built in its place: a packet that is returned is moved twice, and each time the processor
/// has to wait until what it has just written can be read. That was half of the time of a PUBLISH.
#[inline(never)]
pub(super) fn decode_into(
    place: &mut Packet,
    block: &Bytes,
    start: usize,
    header: Header,
    version: Version,
) -> Result<(), DecodeError> {
    let end = start + header.packet_len as usize;
    let frame = block.get(start..end).unwrap_or_default();
    let source = Source { block, start, frame };
    let body = frame.get(usize::from(header.len)..).unwrap_or_default();
    if header.first >> 4 == PacketType::Publish as u8 {
        return match publish(&source, body, header, version) {
            Ok((_, publish)) => {
                *place = Packet::Publish(publish);
                Ok(())
            }
            Err(error) => Err(describe(error, header)),
        };
    }
    if let Some(ack) = short_ack(header, body) {
        *place = ack;
        return Ok(());
    }
    *place = other(&source, body, header, version)?;
    Ok(())
}

#[inline(never)]
fn other(
    source: &Source<'_>,
    body: Input<'_>,
    header: Header,
    version: Version,
) -> Result<Packet, DecodeError> {
    match packet(source, body, header, version) {
        Ok((_, packet)) => Ok(packet),
        Err(error) => Err(describe(error, header)),
    }
}

#[cold]
fn describe(error: nom::Err<Fail>, header: Header) -> DecodeError {
    let packet = PacketType::from_u8(header.first >> 4);
    match error {
        nom::Err::Error(fail) | nom::Err::Failure(fail) => {
            let offset = header.packet_len.saturating_sub(fail.left);
            DecodeError::new(packet, offset, fail.cause)
        }
        // Not produced: every parser knows that it has all there is.
        nom::Err::Incomplete(_) => DecodeError::new(packet, 0, DecodeCause::Truncated),
    }
}

/// Returns the version that a CONNECT frame names, without reading the rest of it.
///
/// Fails with [`DecodeCause::ProtocolName`] or [`DecodeCause::ProtocolVersion`] if it is none of
/// ours (MQTT 5.0 section 3.1.2.1 and 3.1.2.2), and with another cause if this is no CONNECT at all.
pub fn connect_version(frame: &[u8]) -> Result<Version, DecodeError> {
    let header = header(frame, u32::MAX)?;
    let Some(header) = header.filter(|header| header.first == 0x10) else {
        let packet = frame.first().and_then(|first| PacketType::from_u8(first >> 4));
        return Err(DecodeError::new(packet, 0, DecodeCause::PacketType));
    };
    let body = frame.get(usize::from(header.len)..).unwrap_or_default();
    match protocol(body) {
        Ok((_, version)) => Ok(version),
        // The frame may be cut off behind the version: what counts is how much of it is there.
        Err(error) => Err(describe(error, Header { packet_len: frame.len() as u32, ..header })),
    }
}

/// Returns the protocol level that a CONNECT frame names, whatever its protocol name.
pub(crate) fn connect_level(frame: &[u8]) -> Option<u8> {
    let header = header(frame, u32::MAX).ok()??;
    let (len, rest) = frame.get(usize::from(header.len)..)?.split_first_chunk::<2>()?;
    rest.get(usize::from(u16::from_be_bytes(*len))).copied()
}

/// The frame, and where it begins in the block that it lies in.
struct Source<'a> {
    block: &'a Bytes,
    start: usize,
    frame: &'a [u8],
}

impl Source<'_> {
    /// Returns a handle to the frame.
    #[inline(always)]
    fn whole(&self) -> Bytes {
        self.block.slice(self.start..self.start + self.frame.len())
    }

    /// Returns a handle to a part of the frame. The part always lies in the block.
    fn share(&self, part: &[u8]) -> Bytes {
        self.block.slice_ref(part)
    }

    fn text(&self, checked: &[u8]) -> Text {
        Text::from_checked(self.share(checked))
    }

    fn text_of(&self, checked: &str) -> Text {
        self.text(checked.as_bytes())
    }

    fn user(&self, list: &mut UserProperties, name: &str, value: &str) {
        list.push((self.text_of(name), self.text_of(value)));
    }
}

/// All packets but PUBLISH.
fn packet<'a>(
    source: &Source<'a>,
    body: Input<'a>,
    header: Header,
    version: Version,
) -> Parsed<'a, Packet> {
    use PacketType::*;
    let Some(packet) = PacketType::from_u8(header.first >> 4) else {
        return fail(source.frame, DecodeCause::PacketType);
    };
    if matches!(packet, PubRel | Subscribe | Unsubscribe) {
        // The flags are 0010; MQTT 3.1 knows DUP there as well.
        let good = header.first & 0x0F == 0b0010 || version == Version::V31;
        ensure(good, source.frame, DecodeCause::ReservedFlags)?;
    }
    let ack = |packet| ack(source, body, packet, version);
    match packet {
        PubAck => ack(packet).map(|(rest, ack)| (rest, Packet::PubAck(ack))),
        PubRec => ack(packet).map(|(rest, ack)| (rest, Packet::PubRec(ack))),
        PubRel => ack(packet).map(|(rest, ack)| (rest, Packet::PubRel(ack))),
        PubComp => ack(packet).map(|(rest, ack)| (rest, Packet::PubComp(ack))),
        PingReq => end(body).map(|(rest, ())| (rest, Packet::PingReq)),
        PingResp => end(body).map(|(rest, ())| (rest, Packet::PingResp)),
        Connect => connect(source, body, version)
            .map(|(rest, connect)| (rest, Packet::Connect(Box::new(connect)))),
        ConnAck => connack(source, body, version)
            .map(|(rest, connack)| (rest, Packet::ConnAck(Box::new(connack)))),
        Subscribe => subscribe(source, body, version)
            .map(|(rest, (id, subscribe))| (rest, Packet::Subscribe(id, Box::new(subscribe)))),
        SubAck => suback(source, body, version),
        Unsubscribe => unsubscribe(source, body, version).map(|(rest, (id, unsubscribe))| {
            (rest, Packet::Unsubscribe(id, Box::new(unsubscribe)))
        }),
        UnsubAck => unsuback(source, body, version),
        Disconnect => disconnect(source, body, version)
            .map(|(rest, disconnect)| (rest, Packet::Disconnect(disconnect))),
        Auth if version.is_v5() => {
            auth(source, body).map(|(rest, auth)| (rest, Packet::Auth(Box::new(auth))))
        }
        // AUTH of MQTT 3.x. PUBLISH is read elsewhere.
        Auth | Publish => fail(source.frame, DecodeCause::PacketType),
    }
}

/// Section 3.3.
#[inline(always)]
fn publish<'a>(
    source: &Source<'a>,
    body: Input<'a>,
    header: Header,
    version: Version,
) -> Parsed<'a, PublishPacket> {
    let flags = header.first & 0x0F;
    let qos = flags & 0b0110;
    ensure(qos != 0b0110, source.frame, DecodeCause::QoS)?;
    ensure(flags & 0b1110 != 0b1000, source.frame, DecodeCause::DupOnQos0)?;
    let (rest, topic) = topic_or_empty(body)?;
    let (rest, packet_id) = if qos != 0 {
        let (rest, id) = packet_id(rest)?;
        (rest, id.get())
    } else {
        (rest, 0)
    };
    let (payload, (block, topic_alias)) =
        if version.is_v5() { publish_properties(rest)? } else { (rest, (&[][..], 0)) };
    ensure(!topic.is_empty() || topic_alias != 0, body, DecodeCause::TopicNameEmpty)?;
    let payload_at = header.packet_len - payload.len() as u32;
    let publish = PublishPacket {
        frame: source.whole(),
        alias_topic: None,
        properties: payload_at - block.len() as u32,
        payload: payload_at,
        topic_len: topic.len() as u16,
        packet_id,
        topic_alias,
        topic: header.len + 2,
        flags,
    };
    Ok((&[], publish))
}

/// Reads an acknowledgement of two bytes: the form that all versions share, and nearly all there are.
#[inline(always)]
fn short_ack(header: Header, body: Input<'_>) -> Option<Packet> {
    let id = PacketId::new(u16::from_be_bytes(*<&[u8; 2]>::try_from(body).ok()?))?;
    let ack = Ack::new(id, ReasonCode::SUCCESS);
    Some(match header.first {
        0x40 => Packet::PubAck(ack),
        0x50 => Packet::PubRec(ack),
        0x62 => Packet::PubRel(ack),
        0x70 => Packet::PubComp(ack),
        _ => return None,
    })
}

/// Sections 3.4 to 3.7.
fn ack<'a>(
    source: &Source<'a>,
    body: Input<'a>,
    packet: PacketType,
    version: Version,
) -> Parsed<'a, Ack> {
    let (rest, id) = packet_id(body)?;
    if rest.is_empty() {
        return Ok((rest, Ack::new(id, ReasonCode::SUCCESS)));
    }
    if !version.is_v5() {
        return fail(rest, DecodeCause::TrailingBytes);
    }
    long_ack(source, rest, id, packet)
}

fn long_ack<'a>(
    source: &Source<'a>,
    input: Input<'a>,
    packet_id: PacketId,
    packet: PacketType,
) -> Parsed<'a, Ack> {
    let (rest, reason) = reason(input, packet)?;
    let (rest, properties) = ack_properties_at_end(source, rest, packet)?;
    Ok((rest, Ack { packet_id, reason, properties }))
}

fn reason(input: Input<'_>, packet: PacketType) -> Parsed<'_, ReasonCode> {
    let (rest, code) = be_u8(input)?;
    let code = ReasonCode::new(code);
    ensure(code.is_valid_in(packet), input, DecodeCause::ReasonCode)?;
    Ok((rest, code))
}

/// Reads Reason String and User Properties up to the end of the packet; they may be left out.
fn ack_properties_at_end<'a>(
    source: &Source<'a>,
    input: Input<'a>,
    packet: PacketType,
) -> Parsed<'a, AckProperties> {
    if input.is_empty() {
        return Ok((input, AckProperties::NONE));
    }
    let (rest, found) = ack_properties(source, input, packet)?;
    end(rest)?;
    Ok((rest, found))
}

fn ack_properties<'a>(
    source: &Source<'a>,
    input: Input<'a>,
    packet: PacketType,
) -> Parsed<'a, AckProperties> {
    let (rest, properties) = properties(input, packet)?;
    Ok((rest, collect_ack_properties(source, properties)))
}

fn collect_ack_properties(source: &Source<'_>, properties: Properties<'_>) -> AckProperties {
    let (mut reason_string, mut user) = (None, Vec::new());
    for property in properties {
        match property {
            Property::ReasonString(value) => reason_string = Some(source.text_of(value)),
            Property::UserProperty(name, value) => source.user(&mut user, name, value),
            _ => {}
        }
    }
    AckProperties::new(reason_string, user)
}

/// Section 3.14.
fn disconnect<'a>(
    source: &Source<'a>,
    body: Input<'a>,
    version: Version,
) -> Parsed<'a, Disconnect> {
    let mut disconnect = Disconnect::default();
    if body.is_empty() {
        return Ok((body, disconnect));
    }
    if !version.is_v5() {
        return fail(body, DecodeCause::TrailingBytes);
    }
    let (rest, reason) = reason(body, PacketType::Disconnect)?;
    disconnect.reason = reason;
    if rest.is_empty() {
        return Ok((rest, disconnect));
    }
    let (rest, properties) = properties(rest, PacketType::Disconnect)?;
    end(rest)?;
    for property in properties.clone() {
        match property {
            Property::SessionExpiryInterval(value) => {
                disconnect.session_expiry_interval = Some(value);
            }
            Property::ServerReference(value) => {
                disconnect.server_reference = Some(source.text_of(value));
            }
            _ => {}
        }
    }
    disconnect.properties = collect_ack_properties(source, properties);
    Ok((rest, disconnect))
}

/// Section 3.15.
fn auth<'a>(source: &Source<'a>, body: Input<'a>) -> Parsed<'a, Auth> {
    let mut auth = Auth::default();
    if body.is_empty() {
        return Ok((body, auth));
    }
    let (rest, reason) = reason(body, PacketType::Auth)?;
    auth.reason = reason;
    ensure(!rest.is_empty(), rest, DecodeCause::AuthenticationMethodMissing)?;
    let (after, properties) = properties(rest, PacketType::Auth)?;
    end(after)?;
    for property in properties {
        match property {
            Property::AuthenticationMethod(value) => {
                auth.authentication_method = Some(source.text_of(value));
            }
            Property::AuthenticationData(value) => {
                auth.authentication_data = Some(source.share(value));
            }
            Property::ReasonString(value) => auth.reason_string = Some(source.text_of(value)),
            Property::UserProperty(name, value) => {
                source.user(&mut auth.user_properties, name, value);
            }
            _ => {}
        }
    }
    let method = auth.authentication_method.is_some();
    ensure(method, rest, DecodeCause::AuthenticationMethodMissing)?;
    Ok((after, auth))
}
