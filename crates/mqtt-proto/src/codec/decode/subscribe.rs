//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK: MQTT 5.0 sections 3.8 to 3.11.

use alloc::vec::Vec;

use super::{Source, ack_properties};
use crate::codec::parse::{Input, Parsed, be_u8, end, ensure, fail, packet_id, string};
use crate::codec::props::properties;
use crate::error::DecodeCause;
use crate::packet::{
    AckProperties, Packet, Properties, Property, RetainHandling, SubAck, Subscribe, Subscription,
    SubscriptionOptions, UnsubAck, Unsubscribe, UserProperties,
};
use crate::reason::ReasonCode;
use crate::topic::TopicFilter;
use crate::types::{PacketId, PacketType, QoS, Version};

fn user_properties<'a>(
    source: &Source<'a>,
    properties: Properties<'_>,
) -> (UserProperties, Option<u32>) {
    let (mut user, mut subscription_identifier) = (Vec::new(), None);
    for property in properties {
        match property {
            Property::UserProperty(name, value) => source.user(&mut user, name, value),
            Property::SubscriptionIdentifier(value) => subscription_identifier = Some(value),
            _ => {}
        }
    }
    (user, subscription_identifier)
}

fn filter<'a>(source: &Source<'a>, input: Input<'a>) -> Parsed<'a, TopicFilter> {
    let (rest, filter) = string(input)?;
    match TopicFilter::from_text(source.text(filter)) {
        Ok(filter) => Ok((rest, filter)),
        Err(error) => fail(input, error.into()),
    }
}

/// Section 3.8.
pub(super) fn subscribe<'a>(
    source: &Source<'a>,
    body: Input<'a>,
    version: Version,
) -> Parsed<'a, (PacketId, Subscribe)> {
    let (mut rest, id) = packet_id(body)?;
    let mut subscribe = Subscribe::default();
    if version.is_v5() {
        let (after, properties) = properties(rest, PacketType::Subscribe)?;
        (subscribe.user_properties, subscribe.subscription_identifier) =
            user_properties(source, properties);
        rest = after;
    }
    ensure(!rest.is_empty(), rest, DecodeCause::NoFilters)?;
    while !rest.is_empty() {
        let (after, filter) = filter(source, rest)?;
        let (after, options) = subscription_options(after, version)?;
        ensure(!(options.no_local && filter.is_shared()), rest, DecodeCause::NoLocalShared)?;
        subscribe.subscriptions.push(Subscription { filter, options });
        rest = after;
    }
    Ok((rest, (id, subscribe)))
}

fn subscription_options(input: Input<'_>, version: Version) -> Parsed<'_, SubscriptionOptions> {
    let (rest, byte) = be_u8(input)?;
    let reserved = if version.is_v5() { 0b1100_0000 } else { 0b1111_1100 };
    ensure(byte & reserved == 0, input, DecodeCause::SubscriptionOptionsReserved)?;
    let (Some(qos), Some(retain_handling)) =
        (QoS::from_u8(byte & 0b11), RetainHandling::from_u8(byte >> 4 & 0b11))
    else {
        return fail(input, DecodeCause::SubscriptionOptions);
    };
    let options = SubscriptionOptions {
        qos,
        no_local: byte & 0b0100 != 0,
        retain_as_published: byte & 0b1000 != 0,
        retain_handling,
    };
    Ok((rest, options))
}

/// Section 3.9.
pub(super) fn suback<'a>(
    source: &Source<'a>,
    body: Input<'a>,
    version: Version,
) -> Parsed<'a, Packet> {
    let (rest, packet_id) = packet_id(body)?;
    let (rest, properties) = optional_ack_properties(source, rest, PacketType::SubAck, version)?;
    let (rest, reasons) = reasons(rest, |code| match version {
        Version::V5 => code.is_valid_in(PacketType::SubAck),
        _ => matches!(code.get(), 0x00..=0x02 | 0x80),
    })?;
    Ok((rest, Packet::SubAck(SubAck { packet_id, reasons, properties })))
}

/// Section 3.11.
pub(super) fn unsuback<'a>(
    source: &Source<'a>,
    body: Input<'a>,
    version: Version,
) -> Parsed<'a, Packet> {
    let (rest, packet_id) = packet_id(body)?;
    let (rest, properties) = optional_ack_properties(source, rest, PacketType::UnsubAck, version)?;
    let (rest, reasons) = if version.is_v5() {
        reasons(rest, |code| code.is_valid_in(PacketType::UnsubAck))?
    } else {
        end(rest)?;
        (rest, Vec::new())
    };
    Ok((rest, Packet::UnsubAck(UnsubAck { packet_id, reasons, properties })))
}

fn optional_ack_properties<'a>(
    source: &Source<'a>,
    input: Input<'a>,
    packet: PacketType,
    version: Version,
) -> Parsed<'a, AckProperties> {
    if version.is_v5() {
        ack_properties(source, input, packet)
    } else {
        Ok((input, AckProperties::NONE))
    }
}

/// One reason code a byte, up to the end of the packet; at least one.
fn reasons(input: Input<'_>, valid: impl Fn(ReasonCode) -> bool) -> Parsed<'_, Vec<ReasonCode>> {
    ensure(!input.is_empty(), input, DecodeCause::NoReasonCodes)?;
    let reasons: Vec<ReasonCode> = input.iter().map(|byte| ReasonCode::new(*byte)).collect();
    match reasons.iter().position(|code| !valid(*code)) {
        Some(at) => fail(input.get(at..).unwrap_or_default(), DecodeCause::ReasonCode),
        None => Ok((&[], reasons)),
    }
}

/// Section 3.10.
pub(super) fn unsubscribe<'a>(
    source: &Source<'a>,
    body: Input<'a>,
    version: Version,
) -> Parsed<'a, (PacketId, Unsubscribe)> {
    let (mut rest, id) = packet_id(body)?;
    let mut unsubscribe = Unsubscribe::default();
    if version.is_v5() {
        let (after, properties) = properties(rest, PacketType::Unsubscribe)?;
        (unsubscribe.user_properties, _) = user_properties(source, properties);
        rest = after;
    }
    ensure(!rest.is_empty(), rest, DecodeCause::NoFilters)?;
    while !rest.is_empty() {
        let (after, filter) = filter(source, rest)?;
        unsubscribe.filters.push(filter);
        rest = after;
    }
    Ok((rest, (id, unsubscribe)))
}
