//! PUBLISH from what users build: MQTT 5.0 section 3.3. The one packet whose encoding is hot.

use bytes::{Buf, Bytes};

use super::{Count, Sink, check, variable_len};
use crate::codec::decode;
use crate::error::{DecodeCause, EncodeError};
use crate::packet::{
    Packet, PropertyId as Id, Publish, PublishHeader, PublishPacket, PublishProperties, TopicAlias,
};
use crate::txbuf::TxBuf;
use crate::types::Version;

/// The lengths of the parts of a PUBLISH.
struct Lens {
    properties: usize,
    remaining: usize,
}

#[inline]
fn lens(publish: &Publish, header: &PublishHeader, version: Version) -> Result<Lens, EncodeError> {
    check::publish(publish, header, version)?;
    let topic = wire_topic(publish, header).len();
    let packet_id = if publish.qos as u8 == 0 { 0 } else { 2 };
    let mut lens = Lens { properties: 0, remaining: 2 + topic + packet_id + publish.payload.len() };
    if version.is_v5() {
        let alias = header.topic_alias;
        if !publish.properties.is_none() || alias.is_some() {
            let mut count = Count(0);
            let expiry = header.message_expiry_interval;
            properties(&publish.properties, expiry, None, alias, &mut count);
            lens.properties = count.0;
        }
        lens.remaining += variable_len(lens.properties) + lens.properties;
    }
    check::remaining(lens.remaining)?;
    Ok(lens)
}

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
pub fn encode_publish(
    publish: &Publish,
    header: &PublishHeader,
    version: Version,
    out: &mut TxBuf,
) -> Result<(), EncodeError> {
    let lens = lens(publish, header, version)?;
    let topic = wire_topic(publish, header);
    let before = out.len();
    out.reserve(5 + lens.remaining - publish.payload.len());
    let qos = publish.qos as u8;
    out.u8(0x30 | u8::from(header.dup) << 3 | qos << 1 | u8::from(publish.retain));
    out.variable(lens.remaining);
    out.field(topic);
    if qos != 0
        && let Some(id) = header.packet_id
    {
        out.packet_id(id);
    }
    if version.is_v5() {
        out.variable(lens.properties);
        if lens.properties > 0 {
            let (expiry, alias) = (header.message_expiry_interval, header.topic_alias);
            properties(&publish.properties, expiry, None, alias, out);
        }
    }
    out.payload(&publish.payload);
    debug_assert_eq!(out.len() - before, 1 + variable_len(lens.remaining) + lens.remaining);
    Ok(())
}

/// Writes the properties of a message or of a Will, in the order of their identifiers.
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
