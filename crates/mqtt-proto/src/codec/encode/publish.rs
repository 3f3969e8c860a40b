//! PUBLISH from what users build: MQTT 5.0 section 3.3. The one packet whose encoding is hot.

use bytes::{Buf, Bytes};

use super::{Count, Sink, check, check_written, variable_len};
use crate::codec::decode;
use crate::error::{DecodeCause, EncodeError};
use crate::packet::{
    Packet, PropertyId as Id, Publish, PublishHeader, PublishPacket, PublishProperties, TopicAlias,
};
use crate::txbuf::{TxBuf, Writer, is_copied};
use crate::types::{PacketId, QoS, Version};

/// The lengths of the parts of a PUBLISH.
struct Lens {
    properties: usize,
    remaining: usize,
}

#[inline(always)]
fn lens(publish: &Publish, header: &PublishHeader, version: Version) -> Result<Lens, EncodeError> {
    check::publish(publish, header)?;
    let id = if publish.qos == QoS::AtMostOnce { 0 } else { 2 };
    let plain = 2 + wire_topic(publish, header).len() + id + publish.payload.len();
    let mut lens = Lens { properties: 0, remaining: plain + usize::from(version.is_v5()) };
    if has_properties(publish, header) {
        check::publish_properties(publish, header, version)?;
        let mut count = Count(0);
        let expiry = header.message_expiry_interval;
        properties(&publish.properties, expiry, None, header.topic_alias, &mut count);
        lens.properties = count.0;
        if version.is_v5() {
            lens.remaining = plain + variable_len(lens.properties) + lens.properties;
        }
    }
    check::remaining(lens.remaining)?;
    Ok(lens)
}

#[inline(always)]
fn has_properties(publish: &Publish, header: &PublishHeader) -> bool {
    !publish.properties.is_none() || header.topic_alias.is_some()
}

#[inline(always)]
fn wire_topic<'a>(publish: &'a Publish, header: &PublishHeader) -> &'a [u8] {
    match header.topic_alias {
        Some(TopicAlias::Use(_)) => &[],
        _ => publish.topic.as_bytes(),
    }
}

/// Returns how many bytes [`encode_publish`] will write, or why it will not.
pub fn publish_len(
    publish: &Publish,
    header: &PublishHeader,
    version: Version,
) -> Result<usize, EncodeError> {
    let lens = lens(publish, header, version)?;
    Ok(1 + variable_len(lens.remaining) + lens.remaining)
}

/// Appends a PUBLISH packet with that message, or says why it may not be sent and appends nothing.
///
/// A large payload is not copied: the buffer refers to it.
///
/// ```
/// use bytes::Buf;
/// use mqtt_proto::{Publish, TopicName, TxBuf, Version, codec};
///
/// let message = Publish::new(TopicName::new("a/b")?, "hi");
/// let mut out = TxBuf::new();
/// codec::encode_publish(&message, &Default::default(), Version::V311, &mut out)?;
/// assert_eq!(out.chunk(), b"\x30\x07\x00\x03a/bhi");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[inline]
pub fn encode_publish(
    publish: &Publish,
    header: &PublishHeader,
    version: Version,
    out: &mut TxBuf,
) -> Result<(), EncodeError> {
    // Most messages have no properties, and what is for them does well without the rest.
    if has_properties(publish, header) {
        encode_with_properties(publish, header, version, out)
    } else if is_copied(publish.payload.len()) {
        encode_plain(publish, header, version, out)
    } else {
        encode_any(publish, header, version, out)
    }
}

/// Appends a packet without properties, whose payload is copied.
///
/// Nothing here branches on QoS or length but where packets are large: in a stream of all kinds the processor cannot
/// foretell these, and a branch that it has guessed wrong takes half as long as a small packet.
#[inline(never)]
fn encode_plain(
    publish: &Publish,
    header: &PublishHeader,
    version: Version,
    out: &mut TxBuf,
) -> Result<(), EncodeError> {
    check::publish(publish, header)?;
    let id_and_zero =
        2 * usize::from(publish.qos != QoS::AtMostOnce) + usize::from(version.is_v5());
    let remaining = 2 + publish.topic.as_bytes().len() + id_and_zero + publish.payload.len();
    if remaining > SHORT {
        return encode_any(publish, header, version, out);
    }
    let len = 2 + usize::from(remaining > 0x7F) + remaining;
    let Some(room) = out.extend(len, SLACK) else {
        return encode_any(publish, header, version, out);
    };
    let behind = room.len() - len;
    let left = write_plain(publish, header, id_and_zero, remaining, room);
    debug_assert_eq!(left, Some(behind), "a packet is not as long as predicted");
    Ok(())
}

/// Writes a packet without properties, of which it is known how long it is, and returns how much room is left.
#[inline(always)]
fn write_plain(
    publish: &Publish,
    header: &PublishHeader,
    id_and_zero: usize,
    remaining: usize,
    room: &mut [u8],
) -> Option<usize> {
    let (topic, mut out) = (publish.topic.as_bytes(), Writer::new(room));
    let is_long = remaining > 0x7F;
    // One or two bytes, the lowest first: what is beyond seven bits moves up by one.
    let variable = (remaining as u32 & 0x3F80) + remaining as u32 + (u32::from(is_long) << 7);
    let start = u32::from(first_byte(publish, header)) + (variable << 8);
    out.put_first(2 + usize::from(is_long), start.to_le_bytes())?;
    out.put(&(topic.len() as u16).to_be_bytes())?;
    out.put_short(topic)?;
    // The Packet Identifier if there is one, and the zero of the Property Length.
    let id = if id_and_zero >= 2 { header.packet_id.map_or(0, PacketId::get) } else { 0 };
    out.put_first(id_and_zero, u32::from(id.swap_bytes()).to_le_bytes())?;
    out.put(&publish.payload)?;
    Some(out.room())
}

/// The largest Remaining Length that takes two bytes.
const SHORT: usize = 0x3FFF;

/// How much is written behind what counts, at most.
const SLACK: usize = 4;

#[inline(never)]
fn encode_with_properties(
    publish: &Publish,
    header: &PublishHeader,
    version: Version,
    out: &mut TxBuf,
) -> Result<(), EncodeError> {
    let before = out.len();
    if version.is_v5() && is_copied(publish.payload.len()) {
        check::publish(publish, header)?;
        check::publish_properties(publish, header, version)?;
        let room = wire_topic(publish, header).len() + ROOM + publish.payload.len();
        if let Some(len) = out.append_some(room, |room| at_once(publish, header, room)) {
            debug_assert_eq!(Ok(len), publish_len(publish, header, version));
            debug_assert_eq!(out.len() - before, len);
            return Ok(());
        }
    }
    encode_any(publish, header, version, out)
}

/// How long the fixed header of most packets is.
const START: usize = 3;

/// The room for what is not topic or payload: in most packets that takes less.
const ROOM: usize = 1024;

/// Writes a packet whose lengths are known only when it has been written: to reckon them before takes half as
/// long as to write the properties. `None`: it is longer than most, and it has to be done that way.
#[inline(always)]
fn at_once(publish: &Publish, header: &PublishHeader, room: &mut [u8]) -> Option<usize> {
    let (topic, payload) = (wire_topic(publish, header), &publish.payload);
    let id_len = 2 * usize::from(publish.qos != QoS::AtMostOnce);
    let mut out = Writer::new(room.get_mut(START..)?);
    out.put(&(topic.len() as u16).to_be_bytes())?;
    out.put_short(topic)?;
    let id = header.packet_id.map_or(0, PacketId::get);
    out.put_first(id_len, id.to_be_bytes())?;
    let at = START + 2 + topic.len() + id_len;
    // Here stands the Property Length: of one byte, as long as it is not known.
    let len = write_properties(publish, header, room.get_mut(at + 1..)?)?;
    let mut payload_at = at + 1 + len;
    if len <= 0x7F {
        *room.get_mut(at)? = len as u8;
    } else {
        room.copy_within(at + 1..payload_at, at + 2);
        *room.get_mut(at..)?.first_chunk_mut()? = [len as u8 | 0x80, (len >> 7) as u8];
        payload_at += 1;
    }
    let end = payload_at + payload.len();
    room.get_mut(payload_at..end)?.copy_from_slice(payload);
    let (first, remaining) = (first_byte(publish, header), end - START);
    match remaining {
        0..=0x7F => {
            // A short one: its Remaining Length takes one byte less.
            room.copy_within(START..end, START - 1);
            *room.first_chunk_mut()? = [first, remaining as u8];
            Some(end - 1)
        }
        0x80..=SHORT => {
            *room.first_chunk_mut()? = [first, remaining as u8 | 0x80, (remaining >> 7) as u8];
            Some(end)
        }
        _ => None,
    }
}

/// Writes the properties and returns how long they are, if that is not more than two bytes can say.
///
/// It is a call of its own because there are so many kinds: together with the rest, the processor would have too few
/// registers for all that is in use.
#[inline(never)]
fn write_properties(publish: &Publish, header: &PublishHeader, room: &mut [u8]) -> Option<usize> {
    let mut out = Writer::new(room);
    let (before, expiry) = (out.room(), header.message_expiry_interval);
    properties(&publish.properties, expiry, None, header.topic_alias, &mut out);
    let len = before - out.room();
    // What has not fitted has taken all that was left. A longer Property Length needs one byte of it.
    (out.room() > 0 && len <= SHORT).then_some(len)
}

/// DUP, QoS and RETAIN: section 3.3.1.
#[inline(always)]
fn first_byte(publish: &Publish, header: &PublishHeader) -> u8 {
    0x30 + 8 * u8::from(header.dup) + 2 * publish.qos as u8 + u8::from(publish.retain)
}

/// Appends any packet: its lengths are reckoned first.
#[inline(never)]
fn encode_any(
    publish: &Publish,
    header: &PublishHeader,
    version: Version,
    out: &mut TxBuf,
) -> Result<(), EncodeError> {
    let lens = lens(publish, header, version)?;
    let payload = &publish.payload;
    let before = out.len();
    out.append(at_most(lens.remaining, payload.len()), |out| {
        let digits = variable_len(lens.remaining);
        let digit =
            |at: usize| (lens.remaining >> (7 * at)) as u8 & 0x7F | u8::from(at + 1 < digits) << 7;
        let first = first_byte(publish, header);
        out.put_first(1 + digits, [first, digit(0), digit(1), digit(2), digit(3)]);
        out.field(wire_topic(publish, header));
        if let Some(id) = header.packet_id.filter(|_| publish.qos != QoS::AtMostOnce) {
            out.packet_id(id);
        }
        if version.is_v5() {
            let expiry = header.message_expiry_interval;
            out.variable(lens.properties);
            properties(&publish.properties, expiry, None, header.topic_alias, out);
        }
        if is_copied(payload.len()) {
            Sink::put(out, payload);
        }
    });
    if !is_copied(payload.len()) {
        out.refer(payload.clone());
    }
    check_written(before, lens.remaining, out);
    Ok(())
}

/// Returns how much of a packet is copied, at most.
#[inline(always)]
const fn at_most(remaining: usize, payload: usize) -> usize {
    if is_copied(payload) { 5 + remaining } else { 5 + remaining - payload }
}

/// Appends a PUBLISH that came from the wire; its payload is referred to if it is large.
pub(super) fn encode_packet(
    packet: &PublishPacket,
    version: Version,
    out: &mut TxBuf,
) -> Result<(), EncodeError> {
    check::publish_packet(packet, version)?;
    let mut count = Count(0);
    packet_body(packet, version, &mut count);
    let payload = packet.payload_bytes();
    let remaining = check::remaining(count.0 + payload.len())?;
    let before = out.len();
    out.append(at_most(remaining, payload.len()), |out| {
        out.u8(0x30 | packet.flags);
        out.variable(remaining);
        packet_body(packet, version, out);
        if is_copied(payload.len()) {
            Sink::put(out, payload);
        }
    });
    if !is_copied(payload.len()) {
        out.refer(packet.payload());
    }
    check_written(before, remaining, out);
    Ok(())
}

/// Writes what stands between the fixed header and the payload.
pub(super) fn packet_body(packet: &PublishPacket, version: Version, out: &mut impl Sink) {
    out.field(packet.wire_topic());
    if let Some(id) = packet.packet_id() {
        out.packet_id(id);
    }
    if version.is_v5() {
        let block = packet.property_block();
        out.variable(block.len());
        out.put(block);
    }
}

/// Writes the properties of a message or of a Will, in the order of their identifiers.
#[inline(always)]
pub(super) fn properties(
    properties: &PublishProperties,
    message_expiry_interval: Option<u32>,
    will_delay_interval: Option<u32>,
    topic_alias: Option<TopicAlias>,
    out: &mut impl Sink,
) {
    let fields = properties.get();
    if let Some(fields) = fields {
        let expiry = fields.message_expiry_interval;
        out.property_flag(Id::PayloadFormatIndicator, fields.payload_format_indicator);
        out.property_u32(
            Id::MessageExpiryInterval,
            expiry.map(|all| message_expiry_interval.unwrap_or(all)),
        );
        out.property_text(Id::ContentType, fields.content_type.as_ref());
        out.property_text(Id::ResponseTopic, fields.response_topic.as_ref().map(|t| t.as_text()));
        out.property_field(Id::CorrelationData, fields.correlation_data.as_deref());
        for identifier in &fields.subscription_identifiers {
            out.u8(Id::SubscriptionIdentifier as u8);
            out.variable(*identifier as usize);
        }
    }
    out.property_u32(Id::WillDelayInterval, will_delay_interval);
    out.property_u16(Id::TopicAlias, topic_alias.map(TopicAlias::number));
    if let Some(fields) = fields {
        out.property_user(&fields.user_properties);
    }
}

/// Returns a message in the form in which the wire brings it, for tests and for fakes.
///
/// It copies the payload. Fails as [`encode_publish`] does.
pub fn publish_packet(
    publish: &Publish,
    header: &PublishHeader,
) -> Result<PublishPacket, EncodeError> {
    let mut out = TxBuf::new();
    encode_publish(publish, header, Version::V5, &mut out)?;
    let frame: Bytes = out.copy_to_bytes(out.remaining());
    match decode(&frame, Version::V5) {
        Ok(Packet::Publish(packet)) => Ok(packet),
        Ok(_) => Err(check::invalid_publish(DecodeCause::PacketType)),
        Err(error) => Err(check::invalid_publish(error.cause())),
    }
}
