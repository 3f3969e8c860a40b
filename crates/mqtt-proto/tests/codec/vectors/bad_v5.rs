use mqtt_proto::DecodeCause::*;

use super::{Bad, ONLY_V5};

const fn bad(hex: &'static str, cause: mqtt_proto::DecodeCause, reason: u8) -> Bad {
    Bad(ONLY_V5, hex, cause, reason)
}

pub(super) fn connect() -> Vec<Bad> {
    vec![
        // covers: v5 MQTT-3.1.2-1
        bad("100D ^0004'MQTX' 05 02 0000 00 0000", ProtocolName, 0x84),
        // covers: v5 MQTT-3.1.2-1
        bad("100D ^0004'mqtt' 05 02 0000 00 0000", ProtocolName, 0x84),
        // covers: v5 MQTT-3.1.2-1
        bad("100E ^0005'MQTT'00 05 02 0000 00 0000", ProtocolName, 0x84),
        // covers: v5 MQTT-3.1.2-1
        bad("100F ^0006'MQIsdp' 05 02 0000 00 0000", ProtocolVersion, 0x84),
        // covers: v5 MQTT-3.1.2-2
        bad("100D ^0004'MQTT' 06 02 0000 00 0000", ProtocolVersion, 0x84),
        // covers: v5 MQTT-3.1.2-2
        bad("100C ^0004'MQTT' 04 02 0000 0000", ProtocolVersion, 0x84),
        // covers: v5 MQTT-3.1.2-2
        bad("100D ^0004'MQTT' 00 02 0000 00 0000", ProtocolVersion, 0x84),
        // covers: v5 MQTT-3.1.2-3
        bad("100D 0004'MQTT' 05 ^01 0000 00 0000", ConnectFlagsReserved, 0x81),
        // covers: v5 MQTT-3.1.2-11
        bad("100D 0004'MQTT' 05 ^08 0000 00 0000", WillFlags, 0x81),
        // covers: v5 MQTT-3.1.2-11
        bad("100D 0004'MQTT' 05 ^10 0000 00 0000", WillFlags, 0x81),
        // covers: v5 MQTT-3.1.2-11
        bad("100D 0004'MQTT' 05 ^18 0000 00 0000", WillFlags, 0x81),
        // covers: v5 MQTT-3.1.2-13
        bad("100D 0004'MQTT' 05 ^20 0000 00 0000", WillFlags, 0x81),
        // covers: v5 MQTT-3.1.2-12
        bad("1014 0004'MQTT' 05 ^1C 0000 00 0001'c' 00 0001'w' 0000", WillQoS, 0x81),
        // covers: v5 MQTT-3.1.3-3
        bad("100B 0004'MQTT' 05 02 0000 00 ^", Truncated, 0x81),
        // covers: v5 MQTT-3.1.3-4
        bad("1010 0004'MQTT' 05 02 0000 00 ^0003EDA080", Utf8, 0x81),
        // covers: v5 MQTT-3.1.3-4
        bad("100E 0004'MQTT' 05 02 0000 00 ^0001 00", Nul, 0x81),
        // covers: v5 MQTT-3.1.2-9
        bad("100E 0004'MQTT' 05 06 0000 00 0001'c' ^", Truncated, 0x81),
        // The Will Properties are missing, so its topic is taken for them.
        // covers: v5 MQTT-3.1.2-9
        bad("1013 0004'MQTT' 05 06 0000 00 0001'c' 00 01'w' ^0000", Truncated, 0x81),
        // covers: v5 MQTT-3.1.2-9
        bad("1012 0004'MQTT' 05 06 0000 00 0001'c' 00 0001'w' ^", Truncated, 0x81),
        // covers: v5 MQTT-3.1.2-17
        bad("100E 0004'MQTT' 05 82 0000 00 0001'c' ^", Truncated, 0x81),
        // covers: v5 MQTT-3.1.2-16
        bad("1011 0004'MQTT' 05 02 0000 00 0001'c' ^0001'u'", TrailingBytes, 0x81),
        // covers: v5 MQTT-3.1.2-19
        bad("100E 0004'MQTT' 05 42 0000 00 0001'c' ^", Truncated, 0x81),
        // covers: v5 MQTT-3.1.2-18
        bad("1014 0004'MQTT' 05 82 0000 00 0001'c' 0001'u' ^0001'p'", TrailingBytes, 0x81),
        // covers: v5 MQTT-3.1.3-11
        bad("1014 0004'MQTT' 05 06 0000 00 0001'c' 00 ^0001FF 0000", Utf8, 0x81),
        bad("1014 0004'MQTT' 05 06 0000 00 0001'c' 00 ^0001'+' 0000", TopicNameWildcard, 0x81),
        bad("1013 0004'MQTT' 05 06 0000 00 0001'c' 00 ^0000 0000", TopicNameEmpty, 0x82),
        // covers: v5 MQTT-3.1.3-12
        bad("1011 0004'MQTT' 05 82 0000 00 0001'c' ^0001F8", Utf8, 0x81),
        // covers: v5 MQTT-3.1.3-12
        bad("1011 0004'MQTT' 05 82 0000 00 0001'c' ^0001 00", Nul, 0x81),
        // covers: v5 MQTT-3.1.4-1
        bad("10 00 ^", Truncated, 0x81),
        // covers: v5 MQTT-3.1.4-1
        bad("1009 0004'MQTT' 05 02 ^3C", Truncated, 0x81),
        // covers: v5 MQTT-3.1.4-1
        bad("100A 0004'MQTT' 05 02 003C ^", Truncated, 0x81),
        // covers: v5 MQTT-3.1.4-1
        bad("100F 0004'MQTT' 05 02 003C 05 ^11 000000", Truncated, 0x81),
        // covers: v5 MQTT-3.1.4-1
        bad("100F 0004'MQTT' 05 02 003C 00 0001'c' ^00", TrailingBytes, 0x81),
        // covers: v5 X5-3.1.2-m
        bad("1011 0004'MQTT' 05 02 0000 ^04 16 0001'd' 0000", AuthenticationMethodMissing, 0x82),
        // covers: v5 X5-2.2.2-b
        bad("1011 0004'MQTT' 05 02 0000 04 11 ^000000 0000", PropertyLength, 0x81),
        // covers: v5 X5-2.2.2-a
        bad("100E 0004'MQTT' 05 02 0000 01 ^00 0000", PropertyUnknown, 0x81),
        // covers: v5 X5-2.2.2-a
        bad("1010 0004'MQTT' 05 02 0000 03 1901 ^FF 0000", PropertyUnknown, 0x81),
    ]
}

pub(super) fn publish_and_acks() -> Vec<Bad> {
    let mut all = publishes();
    all.extend(acks());
    all
}

fn publishes() -> Vec<Bad> {
    vec![
        // covers: v5 X5-2.1.2-a
        bad("^00 00", PacketType, 0x81),
        // covers: v5 MQTT-3.3.1-4, v5 X5-3.3.1-a
        bad("^36 06 0001'a' 0001 00", QoS, 0x81),
        // covers: v5 MQTT-3.3.1-4, v5 X5-3.3.1-a
        bad("^3E 06 0001'a' 0001 00", QoS, 0x81),
        // covers: v5 MQTT-3.3.1-2
        bad("^38 04 0001'a' 00", DupOnQos0, 0x81),
        // covers: v5 X5-2.2.1-a
        bad("32 06 0001'a' ^0000 00", PacketIdZero, 0x81),
        // covers: v5 X5-2.2.1-a
        bad("34 06 0001'a' ^0000 00", PacketIdZero, 0x81),
        // A Packet Identifier at QoS 0 would be read as a property.
        // covers: v5 MQTT-2.2.1-2
        bad("3006 0001'a' 01 ^00 00", PropertyUnknown, 0x81),
        // covers: v5 MQTT-3.3.2-1
        bad("3004 ^0001FF 00", Utf8, 0x81),
        // covers: v5 MQTT-3.3.2-1
        bad("30 03 ^0000 00", TopicNameEmpty, 0x82),
        // covers: v5 MQTT-4.7.3-1
        bad("3005 ^0000 02 0101", TopicNameEmpty, 0x82),
        // covers: v5 MQTT-3.3.2-2, v5 MQTT-4.7.0-1
        bad("3006 ^0003'a/#' 00", TopicNameWildcard, 0x81),
        // covers: v5 MQTT-3.3.2-2, v5 MQTT-4.7.0-1
        bad("3006 ^0003'+/a' 00", TopicNameWildcard, 0x81),
        // covers: v5 MQTT-3.3.2-2, v5 MQTT-4.7.0-1
        bad("3007 ^0004 C3A4'/#' 00", TopicNameWildcard, 0x81),
        // covers: v5 MQTT-4.7.3-2
        bad("3006 ^0003'a'00'b' 00", Nul, 0x81),
        // covers: v5 MQTT-2.2.2-1
        bad("30 03 0001'a' ^", Truncated, 0x81),
        // covers: v5 MQTT-2.2.2-1
        bad("32 05 0001'a' 0001 ^", Truncated, 0x81),
        // covers: v5 X5-2.1.4-a
        bad("30 01 ^00", Truncated, 0x81),
        // covers: v5 X5-2.1.4-a
        bad("30 04 0003 ^'ab'", Truncated, 0x81),
        bad("3005 0001'a' 02 ^01", Truncated, 0x81),
        // covers: v5 MQTT-3.3.2-8
        bad("3007 0001'a' 03 ^23 0000", TopicAliasZero, 0x94),
        // covers: v5 MQTT-3.3.2-8
        bad("3006 0000 03 ^23 0000", TopicAliasZero, 0x94),
        // covers: v5 MQTT-3.3.2-13
        bad("3009 0001'a' 05 08 ^0002C1BF", Utf8, 0x81),
        // covers: v5 MQTT-3.3.2-13
        bad("3008 0001'a' 04 08 ^0001 00", Nul, 0x81),
        // covers: v5 MQTT-3.3.2-14, v5 MQTT-4.7.0-1
        bad("300A 0001'a' 06 08 ^0003'r/+'", TopicNameWildcard, 0x81),
        // covers: v5 MQTT-3.3.2-14, v5 MQTT-4.7.0-1
        bad("3008 0001'a' 04 08 ^0001'#'", TopicNameWildcard, 0x81),
        // covers: v5 MQTT-4.7.3-1
        bad("3007 0001'a' 03 08 ^0000", TopicNameEmpty, 0x82),
        // covers: v5 MQTT-3.3.2-19
        bad("3008 0001'a' 04 03 ^0001 80", Utf8, 0x81),
        // covers: v5 MQTT-3.3.2-19
        bad("3008 0001'a' 04 03 ^0001 00", Nul, 0x81),
        // covers: v5 MQTT-1.5.7-1
        bad("300B 0001'a' 07 26 ^0001FF 0001'v'", Utf8, 0x81),
        // covers: v5 MQTT-1.5.7-1
        bad("300B 0001'a' 07 26 0001'k' ^0001FF", Utf8, 0x81),
        // covers: v5 MQTT-1.5.7-1
        bad("300C 0001'a' 07 26 ^000100 0001'v' 'x'", Nul, 0x81),
        // covers: v5 MQTT-1.5.7-1
        bad("300C 0001'a' 07 26 0001'k' ^000100 'x'", Nul, 0x81),
        // covers: v5 X5-3.3.2-c
        bad("3006 0001'a' 02 ^0B 00", PropertyValue, 0x82),
        // covers: v5 MQTT-1.5.5-1
        bad("3007 0001'a' 03 0B ^8000", VariableByteInteger, 0x81),
        // covers: v5 MQTT-1.5.5-1
        bad("3009 0001'a' 05 0B ^FFFFFF00", VariableByteInteger, 0x81),
        // covers: v5 X5-1.5.5-a
        bad("300A 0001'a' 06 0B ^8080808001", VariableByteInteger, 0x81),
        // covers: v5 MQTT-1.5.5-1
        bad("3005 0001'a' ^8000", VariableByteInteger, 0x81),
        // covers: v5 X5-1.5.5-a
        bad("3008 0001'a' ^8080808001", VariableByteInteger, 0x81),
        bad("3006 0001'a' 02 ^01 02", PropertyValue, 0x82),
        // covers: v5 X5-2.2.2-a
        bad("300B 0001'a' 07 0101 ^11 00000000", PropertyMisplaced, 0x81),
        // covers: v5 X5-2.2.2-a
        bad("300A 0001'a' 05 ^18 00000000 'x'", PropertyMisplaced, 0x81),
        // covers: v5 X5-2.2.2-b
        bad("3006 0001'a' 01 01 ^'x'", PropertyLength, 0x81),
        // covers: v5 X5-2.2.2-b
        bad("300A 0001'a' 03 02 ^0000 'xyz'", PropertyLength, 0x81),
        // covers: v5 X5-2.2.2-b
        bad("300B 0001'a' 04 03 0002 ^'a' 'xyz'", PropertyLength, 0x81),
        // covers: v5 X5-2.2.2-b
        bad("300C 0001'a' 05 26 0001'k' ^00 'xyz'", PropertyLength, 0x81),
    ]
}

fn acks() -> Vec<Bad> {
    vec![
        // covers: v5 X5-2.2.1-a
        bad("40 02 ^0000", PacketIdZero, 0x81),
        // covers: v5 X5-2.2.1-a
        bad("50 03 ^0000 00", PacketIdZero, 0x81),
        // covers: v5 X5-2.2.1-a
        bad("62 02 ^0000", PacketIdZero, 0x81),
        // covers: v5 X5-2.2.1-a
        bad("70 02 ^0000", PacketIdZero, 0x81),
        // covers: v5 X5-2.1.4-a
        bad("40 00 ^", Truncated, 0x81),
        // covers: v5 X5-2.1.4-a
        bad("40 01 ^00", Truncated, 0x81),
        // covers: v5 X5-2.3-a, v5 X5-2.1.4-a
        bad("40 05 0001 00 00 ^00", TrailingBytes, 0x81),
        // covers: v5 X5-2.3-a, v5 X5-2.1.4-a
        bad("50 05 0001 00 00 ^'x'", TrailingBytes, 0x81),
        // covers: v5 X5-2.3-a, v5 X5-2.1.4-a
        bad("62 05 0001 00 00 ^FF", TrailingBytes, 0x81),
        // covers: v5 X5-2.3-a, v5 X5-2.1.4-a
        bad("7008 0001 00 03 1F 0000 ^00", TrailingBytes, 0x81),
        // covers: v5 MQTT-3.4.2-1
        bad("40 03 0001 ^92", ReasonCode, 0x81),
        // covers: v5 MQTT-3.5.2-1
        bad("50 03 0001 ^01", ReasonCode, 0x81),
        // covers: v5 MQTT-3.6.2-1
        bad("62 03 0001 ^80", ReasonCode, 0x81),
        // covers: v5 MQTT-3.7.2-1
        bad("70 03 0001 ^10", ReasonCode, 0x81),
        // covers: v5 X5-3.4.2-c
        bad("400A 0001 00 06 1F 0000 ^1F 0000", PropertyDuplicate, 0x82),
        bad("40 04 0001 00 05 ^", Truncated, 0x81),
        bad("4008 0001 00 04 1F ^0001FF", Utf8, 0x81),
        // covers: v5 MQTT-3.6.1-1
        bad("^60 02 0001", ReservedFlags, 0x81),
        // covers: v5 MQTT-3.6.1-1
        bad("^6A 02 0001", ReservedFlags, 0x81),
        // covers: v5 MQTT-3.6.1-1
        bad("^63 02 0001", ReservedFlags, 0x81),
    ]
}

pub(super) fn others() -> Vec<Bad> {
    let mut all = connack();
    all.extend(subscriptions());
    all.extend(disconnect_and_auth());
    all
}

fn connack() -> Vec<Bad> {
    vec![
        // covers: v5 MQTT-3.2.2-1
        bad("20 03 ^02 00 00", ConnAckFlags, 0x81),
        // covers: v5 MQTT-3.2.2-1
        bad("20 03 ^81 00 00", ConnAckFlags, 0x81),
        // covers: v5 MQTT-3.2.2-6
        bad("20 03 ^01 87 00", SessionPresent, 0x82),
        // covers: v5 MQTT-3.2.2-8
        bad("20 03 00 ^01 00", ReasonCode, 0x81),
        // covers: v5 MQTT-3.2.2-8
        bad("20 03 00 ^8E 00", ReasonCode, 0x81),
        // covers: v5 MQTT-2.2.2-1
        bad("20 02 00 00 ^", Truncated, 0x81),
        bad("20 00 ^", Truncated, 0x81),
        bad("20 01 00 ^", Truncated, 0x81),
        // covers: v5 X5-2.3-a
        bad("20 04 00 00 00 ^00", TrailingBytes, 0x81),
        // covers: v5 X5-2.2.2-a
        bad("2005 00 00 02 ^17 01", PropertyMisplaced, 0x81),
        bad("2007 00 00 04 12 ^0001FF", Utf8, 0x81),
    ]
}

fn subscriptions() -> Vec<Bad> {
    vec![
        // covers: v5 X5-2.2.1-a
        bad("8207 ^0000 00 0001'a' 00", PacketIdZero, 0x81),
        // covers: v5 MQTT-3.8.3-2, v5 X5-3.8.3-a, v5 X5-2.3-a
        bad("82 03 0001 00 ^", NoFilters, 0x82),
        // covers: v5 MQTT-3.8.3-2
        bad("8206 0001 00 0001'a' ^", Truncated, 0x81),
        // covers: v5 MQTT-2.2.2-1
        bad("82 02 0001 ^", Truncated, 0x81),
        // covers: v5 MQTT-3.8.3-1
        bad("8208 0001 00 ^0002C328 00", Utf8, 0x81),
        // covers: v5 MQTT-4.7.3-2
        bad("8208 0001 00 ^0002'a'00 00", Nul, 0x81),
        // covers: v5 MQTT-4.7.3-1
        bad("8206 0001 00 ^0000 00", TopicFilter, 0x81),
        // covers: v5 MQTT-4.7.1-1
        bad("8213 0001 00 ^000D'sport/tennis#' 00", TopicFilter, 0x81),
        // covers: v5 MQTT-4.7.1-1
        bad("8209 0001 00 ^0003'#/a' 00", TopicFilter, 0x81),
        // covers: v5 MQTT-4.7.1-2
        bad("820C 0001 00 ^0006'sport+' 00", TopicFilter, 0x81),
        // covers: v5 MQTT-4.8.2-1
        bad("820F 0001 00 ^0009'$share//a' 00", ShareName, 0x81),
        // covers: v5 MQTT-4.8.2-1
        bad("820D 0001 00 ^0007'$share/' 00", ShareName, 0x81),
        // covers: v5 MQTT-4.8.2-2
        bad("820E 0001 00 ^0008'$share/g' 00", ShareName, 0x81),
        // covers: v5 MQTT-4.8.2-2
        bad("820F 0001 00 ^0009'$share/g/' 00", ShareName, 0x81),
        // covers: v5 MQTT-4.8.2-2
        bad("8210 0001 00 ^000A'$share/+/a' 00", ShareName, 0x81),
        // covers: v5 MQTT-4.8.2-2
        bad("A210 0001 00 ^000B'$share/g#/a'", ShareName, 0x81),
        // covers: v5 MQTT-4.7.1-1
        bad("8211 0001 00 ^000B'$share/g/a#' 00", TopicFilter, 0x81),
        // covers: v5 MQTT-3.8.3-4
        bad("8210 0001 00 ^000A'$share/g/a' 04", NoLocalShared, 0x82),
        // covers: v5 MQTT-3.8.3-5
        bad("8207 0001 00 0001'a' ^40", SubscriptionOptionsReserved, 0x81),
        // covers: v5 MQTT-3.8.3-5
        bad("820B 0001 00 0001'a' 00 0001'b' ^80", SubscriptionOptionsReserved, 0x81),
        // covers: v5 X5-3.8.3-b
        bad("8207 0001 00 0001'a' ^03", SubscriptionOptions, 0x82),
        // covers: v5 X5-3.8.3-b
        bad("8207 0001 00 0001'a' ^30", SubscriptionOptions, 0x82),
        // covers: v5 X5-3.8.2-a
        bad("8209 0001 02 ^0B 00 0001'a' 00", PropertyValue, 0x82),
        // covers: v5 X5-3.8.2-a
        bad("820B 0001 04 0B 01 ^0B 02 0001'a' 00", PropertyDuplicate, 0x82),
        // covers: v5 MQTT-3.8.1-1
        bad("^8007 0001 00 0001'a' 00", ReservedFlags, 0x81),
        // covers: v5 MQTT-3.8.1-1
        bad("^8A07 0001 00 0001'a' 00", ReservedFlags, 0x81),
        // covers: v5 MQTT-3.9.3-2
        bad("9005 0001 00 00 ^03", ReasonCode, 0x81),
        // covers: v5 X5-2.3-a
        bad("90 03 0001 00 ^", NoReasonCodes, 0x82),
        // covers: v5 X5-3.4.2-c
        bad("900A 0001 06 1F 0000 ^1F 0000 00", PropertyDuplicate, 0x82),
        // covers: v5 X5-2.2.1-a
        bad("9004 ^0000 00 00", PacketIdZero, 0x81),
        // covers: v5 MQTT-3.10.3-2, v5 X5-3.10.3-a, v5 X5-2.3-a
        bad("A2 03 0001 00 ^", NoFilters, 0x82),
        // covers: v5 MQTT-3.10.3-1
        bad("A206 0001 00 ^0001FF", Utf8, 0x81),
        // covers: v5 MQTT-4.7.3-1
        bad("A208 0001 00 0001'a' ^0000", TopicFilter, 0x81),
        // covers: v5 X5-2.2.1-a
        bad("A206 ^0000 00 0001'a'", PacketIdZero, 0x81),
        // covers: v5 MQTT-3.10.1-1
        bad("^A006 0001 00 0001'a'", ReservedFlags, 0x81),
        // covers: v5 MQTT-3.10.1-1
        bad("^AA06 0001 00 0001'a'", ReservedFlags, 0x81),
        // covers: v5 MQTT-3.11.3-2
        bad("B005 0001 00 00 ^01", ReasonCode, 0x81),
        // covers: v5 X5-2.3-a
        bad("B0 03 0001 00 ^", NoReasonCodes, 0x82),
        // covers: v5 X5-2.2.1-a
        bad("B004 ^0000 00 00", PacketIdZero, 0x81),
        // covers: v5 X5-3.4.2-c
        bad("B00A 0001 06 1F 0000 ^1F 0000 00", PropertyDuplicate, 0x82),
    ]
}

fn disconnect_and_auth() -> Vec<Bad> {
    vec![
        // covers: v5 X5-2.3-a
        bad("C0 01 ^00", TrailingBytes, 0x81),
        // covers: v5 X5-2.3-a
        bad("D0 01 ^00", TrailingBytes, 0x81),
        // covers: v5 MQTT-3.14.2-1
        bad("E0 01 ^01", ReasonCode, 0x81),
        // covers: v5 MQTT-3.14.2-1
        bad("E0 01 ^84", ReasonCode, 0x81),
        // covers: v5 MQTT-3.14.1-1
        bad("^E1 00", ReservedFlags, 0x81),
        // covers: v5 MQTT-3.14.1-1
        bad("^E2 00", ReservedFlags, 0x81),
        // covers: v5 X5-2.3-a
        bad("E0 03 00 00 ^00", TrailingBytes, 0x81),
        bad("E0 02 00 01 ^", Truncated, 0x81),
        // covers: v5 X5-3.14.2-c
        bad("E00C 00 0A 11 00000000 ^11 00000000", PropertyDuplicate, 0x82),
        // covers: v5 X5-3.14.2-c
        bad("E00A 9D 08 1C 0001's' ^1C 0001's'", PropertyDuplicate, 0x82),
        // covers: v5 X5-3.4.2-c
        bad("E008 00 06 1F 0000 ^1F 0000", PropertyDuplicate, 0x82),
        // covers: v5 MQTT-3.15.1-1
        bad("^F1 00", ReservedFlags, 0x81),
        // covers: v5 MQTT-3.15.1-1
        bad("^F8 00", ReservedFlags, 0x81),
        // covers: v5 MQTT-3.15.2-1
        bad("F006 ^01 04 15 0001'm'", ReasonCode, 0x81),
        // covers: v5 MQTT-3.15.2-1
        bad("F006 ^8C 04 15 0001'm'", ReasonCode, 0x81),
        // covers: v5 X5-3.15.2-b
        bad("F0 01 18 ^", AuthenticationMethodMissing, 0x82),
        // covers: v5 X5-3.15.2-b
        bad("F0 02 18 ^00", AuthenticationMethodMissing, 0x82),
        // covers: v5 X5-3.15.2-b
        bad("F0 02 00 ^00", AuthenticationMethodMissing, 0x82),
        // covers: v5 X5-3.15.2-b
        bad("F006 18 ^04 16 0001'd'", AuthenticationMethodMissing, 0x82),
        // covers: v5 X5-3.15.2-b
        bad("F00A 18 08 15 0001'm' ^15 0001'm'", PropertyDuplicate, 0x82),
        // covers: v5 X5-3.15.2-b
        bad("F00C 18 0A 15 0001'm' 16 0000 ^16 0000", PropertyDuplicate, 0x82),
        // covers: v5 X5-3.4.2-c
        bad("F00C 18 0A 15 0001'm' 1F 0000 ^1F 0000", PropertyDuplicate, 0x82),
        // covers: v5 X5-2.3-a
        bad("F007 18 04 15 0001'm' ^00", TrailingBytes, 0x81),
    ]
}
