//! CONNECT and CONNACK: MQTT 5.0 sections 3.1 and 3.2.

use nom::Parser;

use super::{Source, reason};
use crate::codec::parse::{Input, Parsed, be_u8, be_u16, binary, end, ensure, fail, string, topic};
use crate::codec::props::{WILL, properties};
use crate::error::DecodeCause;
use crate::packet::{ConnAck, Connect, Property, PublishProperties, Will};
use crate::reason::ReasonCode;
use crate::topic::TopicName;
use crate::types::{PacketType, QoS, Version};

/// Protocol name and version: sections 3.1.2.1 and 3.1.2.2.
pub(super) fn protocol(input: Input<'_>) -> Parsed<'_, Version> {
    let (rest, (name, level)) = (binary, be_u8).parse_complete(input)?;
    let version = match (name, level) {
        (b"MQTT", 5) => Version::V5,
        (b"MQTT", 4) => Version::V311,
        (b"MQIsdp", 3) => Version::V31,
        (b"MQTT" | b"MQIsdp", _) => return fail(input, DecodeCause::ProtocolVersion),
        _ => return fail(input, DecodeCause::ProtocolName),
    };
    Ok((rest, version))
}

/// Section 3.1.
pub(super) fn connect<'a>(
    source: &Source<'a>,
    body: Input<'a>,
    version: Version,
) -> Parsed<'a, Connect> {
    let (rest, named) = protocol(body)?;
    ensure(named == version, body, DecodeCause::ProtocolVersion)?;
    let at = rest;
    let (rest, (flags, keep_alive)) = (be_u8, be_u16).parse_complete(rest)?;
    let has_will = flags & 0b0000_0100 != 0;
    let has_user_name = flags & 0b1000_0000 != 0;
    let has_password = flags & 0b0100_0000 != 0;
    ensure(flags & 1 == 0, at, DecodeCause::ConnectFlagsReserved)?;
    ensure(has_will || flags & 0b0011_1000 == 0, at, DecodeCause::WillFlags)?;
    let Some(will_qos) = QoS::from_u8(flags >> 3 & 0b11) else {
        return fail(at, DecodeCause::WillQoS);
    };
    ensure(
        version.is_v5() || has_user_name || !has_password,
        at,
        DecodeCause::PasswordWithoutUserName,
    )?;
    let mut connect =
        Connect { clean_start: flags & 0b0000_0010 != 0, keep_alive, ..Connect::default() };
    let rest =
        if version.is_v5() { connect_properties(source, rest, &mut connect)?.0 } else { rest };
    let (after, client_id) = string(rest)?;
    let may_be_empty = match version {
        Version::V31 => false,
        Version::V311 => connect.clean_start,
        Version::V5 => true,
    };
    ensure(!client_id.is_empty() || may_be_empty, rest, DecodeCause::ClientIdEmpty)?;
    connect.client_id = source.text(client_id);
    let mut rest = after;
    if has_will {
        let (after, will) = will(source, rest, version, will_qos, flags & 0b0010_0000 != 0)?;
        connect.will = Some(will);
        rest = after;
    }
    // MQTT 3.1 section 3.1: the Remaining Length takes precedence over these two flags.
    let may_be_missing = version == Version::V31;
    if has_user_name && !(may_be_missing && rest.is_empty()) {
        let (after, user_name) = string(rest)?;
        connect.user_name = Some(source.text(user_name));
        rest = after;
    }
    if has_password && !(may_be_missing && rest.is_empty()) {
        let (after, password) = binary(rest)?;
        connect.password = Some(source.share(password));
        rest = after;
    }
    end(rest)?;
    Ok((rest, connect))
}

fn connect_properties<'a>(
    source: &Source<'a>,
    input: Input<'a>,
    connect: &mut Connect,
) -> Parsed<'a, ()> {
    let (rest, properties) = properties(input, PacketType::Connect)?;
    for property in properties {
        match property {
            Property::SessionExpiryInterval(value) => connect.session_expiry_interval = Some(value),
            Property::ReceiveMaximum(value) => connect.receive_maximum = Some(value),
            Property::MaximumPacketSize(value) => connect.maximum_packet_size = Some(value),
            Property::TopicAliasMaximum(value) => connect.topic_alias_maximum = Some(value),
            Property::RequestResponseInformation(value) => {
                connect.request_response_information = Some(value);
            }
            Property::RequestProblemInformation(value) => {
                connect.request_problem_information = Some(value);
            }
            Property::UserProperty(name, value) => {
                source.user(&mut connect.user_properties, name, value);
            }
            Property::AuthenticationMethod(value) => {
                connect.authentication_method = Some(source.text_of(value));
            }
            Property::AuthenticationData(value) => {
                connect.authentication_data = Some(source.share(value));
            }
            _ => {}
        }
    }
    let method = connect.authentication_method.is_some() || connect.authentication_data.is_none();
    ensure(method, input, DecodeCause::AuthenticationMethodMissing)?;
    Ok((rest, ()))
}

fn will<'a>(
    source: &Source<'a>,
    input: Input<'a>,
    version: Version,
    qos: QoS,
    retain: bool,
) -> Parsed<'a, Will> {
    let mut delay_interval = None;
    let mut wanted = PublishProperties::default();
    let mut rest = input;
    if version.is_v5() {
        let (after, properties) = properties(input, WILL)?;
        for property in properties {
            match property {
                Property::WillDelayInterval(value) => delay_interval = Some(value),
                other => wanted.set(other, |part| source.share(part)),
            }
        }
        rest = after;
    }
    let (rest, (topic, payload)) = (topic, binary).parse_complete(rest)?;
    let topic = TopicName::from_checked(source.share(topic));
    let payload = source.share(payload);
    Ok((rest, Will { topic, payload, qos, retain, delay_interval, properties: wanted }))
}

/// Section 3.2.
pub(super) fn connack<'a>(
    source: &Source<'a>,
    body: Input<'a>,
    version: Version,
) -> Parsed<'a, ConnAck> {
    let (rest, (flags, code)) = (be_u8, be_u8).parse_complete(body)?;
    // MQTT 3.1 has no flags there: the byte is reserved and says nothing.
    let flags = if version == Version::V31 { 0 } else { flags };
    ensure(flags & !1 == 0, body, DecodeCause::ConnAckFlags)?;
    let after_flags = body.get(1..).unwrap_or_default();
    let reason = match version {
        Version::V5 => reason(after_flags, PacketType::ConnAck)?.1,
        _ => match ReasonCode::from_return_code(code) {
            Some(reason) => reason,
            None => return fail(after_flags, DecodeCause::ReasonCode),
        },
    };
    let mut connack = ConnAck { session_present: flags == 1, ..ConnAck::new(reason) };
    let refused = reason != ReasonCode::SUCCESS;
    ensure(!(connack.session_present && refused), body, DecodeCause::SessionPresent)?;
    if !version.is_v5() {
        end(rest)?;
        return Ok((rest, connack));
    }
    let (rest, properties) = properties(rest, PacketType::ConnAck)?;
    end(rest)?;
    for property in properties {
        match property {
            Property::SessionExpiryInterval(value) => connack.session_expiry_interval = Some(value),
            Property::ReceiveMaximum(value) => connack.receive_maximum = Some(value),
            Property::MaximumQoS(value) => connack.maximum_qos = QoS::from_u8(value),
            Property::RetainAvailable(value) => connack.retain_available = Some(value),
            Property::MaximumPacketSize(value) => connack.maximum_packet_size = Some(value),
            Property::AssignedClientIdentifier(value) => {
                connack.assigned_client_identifier = Some(source.text_of(value));
            }
            Property::TopicAliasMaximum(value) => connack.topic_alias_maximum = Some(value),
            Property::ReasonString(value) => connack.reason_string = Some(source.text_of(value)),
            Property::UserProperty(name, value) => {
                source.user(&mut connack.user_properties, name, value);
            }
            Property::WildcardSubscriptionAvailable(value) => {
                connack.wildcard_subscription_available = Some(value);
            }
            Property::SubscriptionIdentifierAvailable(value) => {
                connack.subscription_identifier_available = Some(value);
            }
            Property::SharedSubscriptionAvailable(value) => {
                connack.shared_subscription_available = Some(value);
            }
            Property::ServerKeepAlive(value) => connack.server_keep_alive = Some(value),
            Property::ResponseInformation(value) => {
                connack.response_information = Some(source.text_of(value));
            }
            Property::ServerReference(value) => {
                connack.server_reference = Some(source.text_of(value));
            }
            Property::AuthenticationMethod(value) => {
                connack.authentication_method = Some(source.text_of(value));
            }
            Property::AuthenticationData(value) => {
                connack.authentication_data = Some(source.share(value));
            }
            _ => {}
        }
    }
    Ok((rest, connack))
}
