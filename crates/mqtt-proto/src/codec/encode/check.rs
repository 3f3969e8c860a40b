//! What may not be sent: the encoder refuses what the decoder would.

use bytes::Bytes;

use super::MAX_REMAINING_LENGTH;
use crate::error::{DecodeCause, EncodeError};
use crate::packet::{
    Ack, Auth, ConnAck, Connect, Disconnect, Packet, Publish, PublishHeader, PublishPacket,
    PublishProperties, SubAck, Subscribe, SubscriptionOptions, UnsubAck, Unsubscribe,
};
use crate::reason::ReasonCode;
use crate::text::MAX_FIELD;
use crate::types::{PacketType, QoS, Version};

type Checked = Result<(), EncodeError>;

pub(super) fn check(packet: &Packet, version: Version) -> Checked {
    match packet {
        Packet::Connect(packet) => connect(packet, version),
        Packet::ConnAck(packet) => connack(packet, version),
        Packet::Publish(packet) => publish_packet(packet, version),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            self::ack(ack, packet.packet_type(), version)
        }
        Packet::Subscribe(_, packet) => subscribe(packet, version),
        Packet::SubAck(packet) => suback(packet, version),
        Packet::Unsubscribe(_, packet) => unsubscribe(packet, version),
        Packet::UnsubAck(packet) => unsuback(packet, version),
        Packet::PingReq | Packet::PingResp => Ok(()),
        Packet::Disconnect(packet) => disconnect(packet, version),
        Packet::Auth(packet) => auth(packet, version),
    }
}

pub(super) fn remaining(len: usize) -> Result<usize, EncodeError> {
    if len > MAX_REMAINING_LENGTH { Err(EncodeError::PacketTooLarge { len }) } else { Ok(len) }
}

#[cold]
fn invalid(packet: PacketType, cause: DecodeCause) -> Checked {
    Err(EncodeError::Invalid { packet, cause })
}

pub(super) const fn invalid_publish(cause: DecodeCause) -> EncodeError {
    EncodeError::Invalid { packet: PacketType::Publish, cause }
}

/// Refuses what only MQTT 5.0 has.
fn v5_only(there: bool, what: &'static str, version: Version) -> Checked {
    if there && !version.is_v5() {
        Err(EncodeError::NotInVersion { what, version })
    } else {
        Ok(())
    }
}

fn field(field: &'static str, bytes: Option<&Bytes>) -> Checked {
    match bytes {
        Some(bytes) if bytes.len() > MAX_FIELD => {
            Err(EncodeError::FieldTooLong { field, len: bytes.len() })
        }
        _ => Ok(()),
    }
}

fn reason(code: ReasonCode, packet: PacketType) -> Checked {
    if code.is_valid_in(packet) { Ok(()) } else { invalid(packet, DecodeCause::ReasonCode) }
}

fn not_zero(values: &[Option<u32>], packet: PacketType) -> Checked {
    if values.contains(&Some(0)) { invalid(packet, DecodeCause::PropertyValue) } else { Ok(()) }
}

fn connect(packet: &Connect, version: Version) -> Checked {
    const PACKET: PacketType = PacketType::Connect;
    let properties = packet.session_expiry_interval.is_some()
        || packet.receive_maximum.is_some()
        || packet.maximum_packet_size.is_some()
        || packet.topic_alias_maximum.is_some()
        || packet.request_response_information.is_some()
        || packet.request_problem_information.is_some()
        || !packet.user_properties.is_empty()
        || packet.authentication_method.is_some()
        || packet.authentication_data.is_some();
    v5_only(properties, "a property of CONNECT", version)?;
    not_zero(&[packet.receive_maximum.map(u32::from), packet.maximum_packet_size], PACKET)?;
    field("the Password", packet.password.as_ref())?;
    field("the Authentication Data", packet.authentication_data.as_ref())?;
    if packet.authentication_data.is_some() && packet.authentication_method.is_none() {
        return invalid(PACKET, DecodeCause::AuthenticationMethodMissing);
    }
    if !version.is_v5() && packet.password.is_some() && packet.user_name.is_none() {
        return invalid(PACKET, DecodeCause::PasswordWithoutUserName);
    }
    let may_be_empty = match version {
        Version::V31 => false,
        Version::V311 => packet.clean_start,
        Version::V5 => true,
    };
    if packet.client_id.is_empty() && !may_be_empty {
        return invalid(PACKET, DecodeCause::ClientIdEmpty);
    }
    let Some(will) = &packet.will else {
        return Ok(());
    };
    v5_only(will.delay_interval.is_some(), "the Will Delay Interval", version)?;
    field("the Will Payload", Some(&will.payload))?;
    if will.properties.get().is_some_and(|fields| !fields.subscription_identifiers.is_empty()) {
        return invalid(PACKET, DecodeCause::PropertyMisplaced);
    }
    message_properties(&will.properties, version)
}

fn connack(packet: &ConnAck, version: Version) -> Checked {
    const PACKET: PacketType = PacketType::ConnAck;
    if packet.session_present && packet.reason != ReasonCode::SUCCESS {
        return invalid(PACKET, DecodeCause::SessionPresent);
    }
    if version.is_v5() {
        reason(packet.reason, PACKET)?;
    } else if packet.reason.to_return_code().is_none() {
        return invalid(PACKET, DecodeCause::ReasonCode);
    }
    if packet.session_present && version == Version::V31 {
        return Err(EncodeError::NotInVersion { what: "Session Present", version });
    }
    let bare = ConnAck { session_present: packet.session_present, ..ConnAck::new(packet.reason) };
    v5_only(*packet != bare, "a property of CONNACK", version)?;
    not_zero(&[packet.receive_maximum.map(u32::from), packet.maximum_packet_size], PACKET)?;
    field("the Authentication Data", packet.authentication_data.as_ref())
}

#[inline]
fn message_properties(properties: &PublishProperties, version: Version) -> Checked {
    let Some(fields) = properties.get() else {
        return Ok(());
    };
    // To look through all of them is only needed where there may be none.
    v5_only(!version.is_v5() && !properties.is_empty(), "a property of a message", version)?;
    field("the Correlation Data", fields.correlation_data.as_ref())?;
    // The largest Variable Byte Integer is also the largest Subscription Identifier.
    let in_range = |id: &u32| (1..=MAX_REMAINING_LENGTH).contains(&(*id as usize));
    if !fields.subscription_identifiers.iter().all(in_range) {
        return Err(invalid_publish(DecodeCause::PropertyValue));
    }
    Ok(())
}

/// Checks all but the properties.
#[inline(always)]
pub(super) fn publish(publish: &Publish, header: &PublishHeader) -> Checked {
    let has_id = publish.qos != QoS::AtMostOnce;
    // One branch that is never taken: where messages of QoS 0 and others alternate, nothing foretells which is next.
    if (has_id & header.packet_id.is_none()) | (!has_id & header.dup) {
        let cause = if has_id { DecodeCause::PacketIdZero } else { DecodeCause::DupOnQos0 };
        return Err(invalid_publish(cause));
    }
    Ok(())
}

#[inline(always)]
pub(super) fn publish_properties(
    publish: &Publish,
    header: &PublishHeader,
    version: Version,
) -> Checked {
    if let Some(alias) = header.topic_alias {
        v5_only(true, "a Topic Alias", version)?;
        if alias.number() == 0 {
            return Err(invalid_publish(DecodeCause::TopicAliasZero));
        }
    }
    message_properties(&publish.properties, version)
}

pub(super) fn publish_packet(packet: &PublishPacket, version: Version) -> Checked {
    v5_only(!packet.property_block().is_empty(), "a property of a message", version)
}

fn ack(ack: &Ack, packet: PacketType, version: Version) -> Checked {
    let plain = ack.reason == ReasonCode::SUCCESS && ack.properties.is_empty();
    v5_only(!plain, "a reason or a property in an acknowledgement", version)?;
    reason(ack.reason, packet)
}

fn subscribe(packet: &Subscribe, version: Version) -> Checked {
    const PACKET: PacketType = PacketType::Subscribe;
    let properties = packet.subscription_identifier.is_some() || !packet.user_properties.is_empty();
    v5_only(properties, "a property of SUBSCRIBE", version)?;
    if let Some(id) = packet.subscription_identifier
        && !(1..=MAX_REMAINING_LENGTH).contains(&(id as usize))
    {
        return invalid(PACKET, DecodeCause::PropertyValue);
    }
    if packet.subscriptions.is_empty() {
        return invalid(PACKET, DecodeCause::NoFilters);
    }
    for subscription in &packet.subscriptions {
        let options = subscription.options;
        let plain = options == SubscriptionOptions::from(options.qos);
        v5_only(!plain, "a Subscription Option but the QoS", version)?;
        if options.no_local && subscription.filter.is_shared() {
            return invalid(PACKET, DecodeCause::NoLocalShared);
        }
    }
    Ok(())
}

fn suback(packet: &SubAck, version: Version) -> Checked {
    const PACKET: PacketType = PacketType::SubAck;
    v5_only(!packet.properties.is_empty(), "a property of SUBACK", version)?;
    if packet.reasons.is_empty() {
        return invalid(PACKET, DecodeCause::NoReasonCodes);
    }
    let valid = |code: &ReasonCode| match version {
        Version::V5 => code.is_valid_in(PACKET),
        _ => matches!(code.get(), 0x00..=0x02 | 0x80),
    };
    if packet.reasons.iter().all(valid) { Ok(()) } else { invalid(PACKET, DecodeCause::ReasonCode) }
}

fn unsubscribe(packet: &Unsubscribe, version: Version) -> Checked {
    v5_only(!packet.user_properties.is_empty(), "a property of UNSUBSCRIBE", version)?;
    if packet.filters.is_empty() {
        return invalid(PacketType::Unsubscribe, DecodeCause::NoFilters);
    }
    Ok(())
}

fn unsuback(packet: &UnsubAck, version: Version) -> Checked {
    const PACKET: PacketType = PacketType::UnsubAck;
    let plain = packet.reasons.is_empty() && packet.properties.is_empty();
    v5_only(!plain, "a reason code or a property of UNSUBACK", version)?;
    if version.is_v5() && packet.reasons.is_empty() {
        return invalid(PACKET, DecodeCause::NoReasonCodes);
    }
    packet.reasons.iter().try_for_each(|code| reason(*code, PACKET))
}

fn disconnect(packet: &Disconnect, version: Version) -> Checked {
    let plain = *packet == Disconnect::default();
    v5_only(!plain, "a reason or a property of DISCONNECT", version)?;
    reason(packet.reason, PacketType::Disconnect)
}

fn auth(packet: &Auth, version: Version) -> Checked {
    const PACKET: PacketType = PacketType::Auth;
    v5_only(true, "AUTH", version)?;
    reason(packet.reason, PACKET)?;
    field("the Authentication Data", packet.authentication_data.as_ref())?;
    if packet.authentication_method.is_none() && *packet != Auth::default() {
        return invalid(PACKET, DecodeCause::AuthenticationMethodMissing);
    }
    Ok(())
}
