use mqtt_proto::DecodeCause::*;

use super::{Bad, ONLY_V31, ONLY_V311, V3};

pub(super) fn connect() -> Vec<Bad> {
    vec![
        // covers: v3 MQTT-3.1.2-1
        Bad(ONLY_V311, "100D ^0004'MQTX' 04 02 0000 0001'c'", ProtocolName, 0x84),
        // covers: v3 MQTT-3.1.2-1
        Bad(ONLY_V311, "100D ^0004'mqtt' 04 02 0000 0001'c'", ProtocolName, 0x84),
        // covers: v3 MQTT-3.1.2-1
        Bad(ONLY_V311, "100C ^0003'MQT' 04 02 0000 0001'c'", ProtocolName, 0x84),
        // covers: v3 MQTT-3.1.2-1
        Bad(V3, "1009 ^0000 04 02 0000 0001'c'", ProtocolName, 0x84),
        Bad(ONLY_V311, "100F ^0006'MQIsdp' 03 02 0000 0001'c'", ProtocolVersion, 0x84),
        Bad(ONLY_V31, "100D ^0004'MQTT' 04 02 0000 0001'c'", ProtocolVersion, 0x84),
        Bad(ONLY_V311, "100E ^0004'MQTT' 05 02 0000 00 0001'c'", ProtocolVersion, 0x84),
        Bad(ONLY_V311, "100D ^0004'MQTT' 03 02 0000 0001'c'", ProtocolVersion, 0x84),
        Bad(ONLY_V31, "100F ^0006'MQIsdp' 04 02 0000 0001'c'", ProtocolVersion, 0x84),
        Bad(V3, "100D ^0004'MQTT' FF 02 0000 0001'c'", ProtocolVersion, 0x84),
        // covers: v3 MQTT-3.1.2-3
        Bad(ONLY_V311, "100D 0004'MQTT' 04 ^03 0000 0001'c'", ConnectFlagsReserved, 0x81),
        // covers: v3 MQTT-3.1.2-13, v3 MQTT-3.1.2-11
        Bad(ONLY_V311, "100D 0004'MQTT' 04 ^0A 0000 0001'c'", WillFlags, 0x81),
        // covers: v3 MQTT-3.1.2-13, v3 MQTT-3.1.2-11
        Bad(ONLY_V311, "100D 0004'MQTT' 04 ^12 0000 0001'c'", WillFlags, 0x81),
        // covers: v3 MQTT-3.1.2-15, v3 MQTT-3.1.2-11
        Bad(ONLY_V311, "100D 0004'MQTT' 04 ^22 0000 0001'c'", WillFlags, 0x81),
        // covers: v3 MQTT-3.1.2-14
        Bad(ONLY_V311, "1012 0004'MQTT' 04 ^1E 0000 0001'c' 0001'w' 0000", WillQoS, 0x81),
        // covers: v3 MQTT-3.1.2-22
        Bad(
            ONLY_V311,
            "1010 0004'MQTT' 04 ^42 0000 0001'c' 0001'p'",
            PasswordWithoutUserName,
            0x81,
        ),
        Bad(
            ONLY_V31,
            "1012 0006'MQIsdp' 03 ^42 0000 0001'c' 0001'p'",
            PasswordWithoutUserName,
            0x81,
        ),
        // An empty client identifier goes with Clean Session only.
        // covers: v3 MQTT-3.1.3-7
        Bad(ONLY_V311, "100C 0004'MQTT' 04 00 0000 ^0000", ClientIdEmpty, 0x85),
        Bad(ONLY_V31, "100E 0006'MQIsdp' 03 02 0000 ^0000", ClientIdEmpty, 0x85),
        // covers: v3 MQTT-3.1.3-3
        Bad(ONLY_V311, "100A 0004'MQTT' 04 02 0000 ^", Truncated, 0x81),
        // covers: v3 MQTT-3.1.3-4
        Bad(ONLY_V311, "100D 0004'MQTT' 04 02 0000 ^0001FF", Utf8, 0x81),
        // covers: v3 MQTT-3.1.3-4
        Bad(ONLY_V311, "100D 0004'MQTT' 04 02 0000 ^0001 00", Nul, 0x81),
        // The Will Flag says that there is more than there is.
        // covers: v3 MQTT-3.1.2-9
        Bad(ONLY_V311, "100D 0004'MQTT' 04 06 0000 0001'c' ^", Truncated, 0x81),
        // covers: v3 MQTT-3.1.2-9
        Bad(ONLY_V311, "1010 0004'MQTT' 04 06 0000 0001'c' 0001'w' ^", Truncated, 0x81),
        // covers: v3 MQTT-3.1.2-19
        Bad(ONLY_V311, "100D 0004'MQTT' 04 82 0000 0001'c' ^", Truncated, 0x81),
        // covers: v3 MQTT-3.1.2-21
        Bad(ONLY_V311, "1010 0004'MQTT' 04 C2 0000 0001'c' 0001'u' ^", Truncated, 0x81),
        // The flags say that there is less than there is.
        // covers: v3 MQTT-3.1.2-11
        Bad(ONLY_V311, "1012 0004'MQTT' 04 02 0000 0001'c' ^0001'w' 0000", TrailingBytes, 0x81),
        // covers: v3 MQTT-3.1.2-18
        Bad(ONLY_V311, "1010 0004'MQTT' 04 02 0000 0001'c' ^0001'u'", TrailingBytes, 0x81),
        // covers: v3 MQTT-3.1.2-20
        Bad(ONLY_V311, "1013 0004'MQTT' 04 82 0000 0001'c' 0001'u' ^0001'p'", TrailingBytes, 0x81),
        // covers: v3 MQTT-3.1.3-10
        Bad(ONLY_V311, "1012 0004'MQTT' 04 06 0000 0001'c' ^0001C3 0000", Utf8, 0x81),
        Bad(ONLY_V311, "1012 0004'MQTT' 04 06 0000 0001'c' ^0001'#' 0000", TopicNameWildcard, 0x81),
        Bad(ONLY_V311, "1011 0004'MQTT' 04 06 0000 0001'c' ^0000 0000", TopicNameEmpty, 0x82),
        // covers: v3 MQTT-3.1.3-11
        Bad(ONLY_V311, "1011 0004'MQTT' 04 82 0000 0001'c' ^0002C3C3", Utf8, 0x81),
        // covers: v3 MQTT-3.1.3-11
        Bad(ONLY_V311, "1011 0004'MQTT' 04 82 0000 0001'c' ^0002'a'00", Nul, 0x81),
        // A CONNECT that is no CONNECT.
        // covers: v3 MQTT-3.1.4-1
        Bad(V3, "10 00 ^", Truncated, 0x81),
        // covers: v3 MQTT-3.1.4-1
        Bad(V3, "10 02 0004 ^", Truncated, 0x81),
        // covers: v3 MQTT-3.1.4-1
        Bad(ONLY_V311, "1009 0004'MQTT' 04 02 ^00", Truncated, 0x81),
        // covers: v3 MQTT-3.1.4-1
        Bad(ONLY_V311, "100D 0004'MQTT' 04 02 0000 0002 ^'c'", Truncated, 0x81),
        // covers: v3 MQTT-3.1.4-1, v3 MQTT-2.2.2-2
        Bad(V3, "^110D 0004'MQTT' 04 02 0000 0001'c'", ReservedFlags, 0x81),
    ]
}

pub(super) fn others() -> Vec<Bad> {
    let mut all = connack_and_publish();
    all.extend(acks());
    all.extend(subscriptions());
    all
}

fn connack_and_publish() -> Vec<Bad> {
    vec![
        // covers: v3 X3-2.2.1-a
        Bad(V3, "^00 00", PacketType, 0x81),
        // covers: v3 X3-2.2.1-a
        Bad(V3, "^F0 00", PacketType, 0x81),
        // covers: v3 X3-2.2.1-a
        Bad(V3, "^F006 18 04 15 0001'm'", PacketType, 0x81),
        // covers: v3 X3-3.2.2-a
        Bad(ONLY_V311, "20 02 ^02 00", ConnAckFlags, 0x81),
        // covers: v3 X3-3.2.2-a
        Bad(ONLY_V311, "20 02 ^80 00", ConnAckFlags, 0x81),
        // covers: v3 MQTT-3.2.2-4
        Bad(ONLY_V311, "20 02 ^01 05", SessionPresent, 0x82),
        // covers: v3 X3-2.2.3-b
        Bad(V3, "20 01 00 ^", Truncated, 0x81),
        // covers: v3 X3-2.2.3-b, v3 X3-2.4-a
        Bad(V3, "20 03 00 00 ^00", TrailingBytes, 0x81),
        // covers: v3 MQTT-3.3.1-4
        Bad(V3, "^36 05 0001'a' 0001", QoS, 0x81),
        // covers: v3 MQTT-3.3.1-4
        Bad(V3, "^3F 05 0001'a' 0001", QoS, 0x81),
        // covers: v3 MQTT-3.3.1-2
        Bad(V3, "^38 03 0001'a'", DupOnQos0, 0x81),
        // covers: v3 MQTT-2.3.1-1
        Bad(V3, "32 05 0001'a' ^0000", PacketIdZero, 0x81),
        // covers: v3 MQTT-2.3.1-1
        Bad(V3, "34 05 0001'a' ^0000", PacketIdZero, 0x81),
        // covers: v3 MQTT-2.3.1-1
        Bad(V3, "32 03 0001'a' ^", Truncated, 0x81),
        // covers: v3 MQTT-2.3.1-1
        Bad(V3, "34 04 0001'a' ^01", Truncated, 0x81),
        // covers: v3 MQTT-3.3.2-2, v3 MQTT-4.7.1-1
        Bad(V3, "3005 ^0003'a/#'", TopicNameWildcard, 0x81),
        // covers: v3 MQTT-3.3.2-2, v3 MQTT-4.7.1-1
        Bad(V3, "3005 ^0003'+/a'", TopicNameWildcard, 0x81),
        // covers: v3 MQTT-3.3.2-2, v3 MQTT-4.7.1-1
        Bad(V3, "320F ^000B'sport/long+' 0001", TopicNameWildcard, 0x81),
        // covers: v3 MQTT-4.7.3-1
        Bad(V3, "30 03 ^0000 'x'", TopicNameEmpty, 0x82),
        // covers: v3 MQTT-4.7.3-2
        Bad(V3, "3005 ^0003'a'00'b'", Nul, 0x81),
        // covers: v3 MQTT-3.3.2-1
        Bad(V3, "3004 ^0002C080", Utf8, 0x81),
        Bad(V3, "30 00 ^", Truncated, 0x81),
        Bad(V3, "30 01 ^00", Truncated, 0x81),
        Bad(V3, "30 03 0002 ^'a'", Truncated, 0x81),
    ]
}

fn acks() -> Vec<Bad> {
    vec![
        Bad(V3, "40 02 ^0000", PacketIdZero, 0x81),
        Bad(V3, "50 02 ^0000", PacketIdZero, 0x81),
        Bad(V3, "62 02 ^0000", PacketIdZero, 0x81),
        Bad(V3, "70 02 ^0000", PacketIdZero, 0x81),
        // The long forms are of MQTT 5.0.
        // covers: v3 X3-2.2.3-b, v3 X3-2.4-a
        Bad(V3, "40 03 0001 ^00", TrailingBytes, 0x81),
        // covers: v3 X3-2.2.3-b, v3 X3-2.4-a
        Bad(V3, "50 04 0001 ^0000", TrailingBytes, 0x81),
        // covers: v3 X3-2.2.3-b, v3 X3-2.4-a
        Bad(V3, "62 03 0001 ^00", TrailingBytes, 0x81),
        // covers: v3 X3-2.2.3-b, v3 X3-2.4-a
        Bad(V3, "70 03 0001 ^00", TrailingBytes, 0x81),
        // covers: v3 X3-2.2.3-b
        Bad(V3, "40 01 ^00", Truncated, 0x81),
        // covers: v3 X3-2.2.3-b
        Bad(V3, "70 00 ^", Truncated, 0x81),
        // covers: v3 X3-2.2.3-b, v3 X3-2.4-a
        Bad(V3, "C0 01 ^00", TrailingBytes, 0x81),
        // covers: v3 X3-2.2.3-b, v3 X3-2.4-a
        Bad(V3, "D0 01 ^00", TrailingBytes, 0x81),
        // covers: v3 X3-2.2.3-b, v3 X3-2.4-a
        Bad(V3, "E0 01 ^00", TrailingBytes, 0x81),
        // covers: v3 X3-2.2.3-b
        Bad(V3, "B0 01 ^00", Truncated, 0x81),
        // covers: v3 X3-2.2.3-b, v3 X3-2.4-a
        Bad(V3, "B0 03 0001 ^00", TrailingBytes, 0x81),
        Bad(V3, "B0 02 ^0000", PacketIdZero, 0x81),
        // covers: v3 MQTT-3.14.1-1
        Bad(V3, "^E1 00", ReservedFlags, 0x81),
        // covers: v3 MQTT-3.14.1-1
        Bad(V3, "^E8 00", ReservedFlags, 0x81),
        // covers: v3 MQTT-3.9.3-2
        Bad(V3, "90 03 0001 ^03", ReasonCode, 0x81),
        // covers: v3 MQTT-3.9.3-2
        Bad(V3, "90 04 0001 00 ^87", ReasonCode, 0x81),
        // covers: v3 X3-2.4-a
        Bad(V3, "90 02 0001 ^", NoReasonCodes, 0x82),
        Bad(V3, "90 03 ^0000 00", PacketIdZero, 0x81),
        // covers: v3 MQTT-3.6.1-1
        Bad(V3, "^60 02 0001", ReservedFlags, 0x81),
        // covers: v3 MQTT-3.6.1-1
        Bad(ONLY_V311, "^6A 02 0001", ReservedFlags, 0x81),
    ]
}

fn subscriptions() -> Vec<Bad> {
    vec![
        // covers: v3 MQTT-2.3.1-1
        Bad(V3, "8206 ^0000 0001'a' 00", PacketIdZero, 0x81),
        // covers: v3 MQTT-2.3.1-1
        Bad(V3, "A205 ^0000 0001'a'", PacketIdZero, 0x81),
        // covers: v3 MQTT-3.8.3-3, v3 X3-2.4-a
        Bad(V3, "82 02 0001 ^", NoFilters, 0x82),
        // covers: v3 MQTT-3.10.3-2, v3 X3-2.4-a
        Bad(V3, "A2 02 0001 ^", NoFilters, 0x82),
        // covers: v3 MQTT-3.8.3-3
        Bad(V3, "8205 0001 0001'a' ^", Truncated, 0x81),
        // covers: v3 MQTT-3.8.3-1
        Bad(V3, "8206 0001 ^0001FF 00", Utf8, 0x81),
        // covers: v3 MQTT-3.10.3-1
        Bad(V3, "A205 0001 ^0001FF", Utf8, 0x81),
        // covers: v3 MQTT-4.7.3-2
        Bad(V3, "8206 0001 ^000100 00", Nul, 0x81),
        // covers: v3 MQTT-4.7.3-1
        Bad(V3, "8205 0001 ^0000 00", TopicFilter, 0x81),
        // covers: v3 MQTT-4.7.3-1
        Bad(V3, "A204 0001 ^0000", TopicFilter, 0x81),
        // covers: v3 MQTT-3.8.3-4
        Bad(V3, "8206 0001 0001'a' ^04", SubscriptionOptionsReserved, 0x81),
        // covers: v3 MQTT-3.8.3-4
        Bad(V3, "8206 0001 0001'a' ^80", SubscriptionOptionsReserved, 0x81),
        // covers: v3 MQTT-3.8.3-4
        Bad(V3, "820A 0001 0001'a' 00 0001'b' ^10", SubscriptionOptionsReserved, 0x81),
        // covers: v3 MQTT-3.8.3-4
        Bad(V3, "8206 0001 0001'a' ^03", SubscriptionOptions, 0x82),
        // covers: v3 MQTT-4.7.1-2
        Bad(V3, "8212 0001 ^000D'sport/tennis#' 00", TopicFilter, 0x81),
        // covers: v3 MQTT-4.7.1-2
        Bad(V3, "821B 0001 ^0016'sport/tennis/#/ranking' 00", TopicFilter, 0x81),
        // covers: v3 MQTT-4.7.1-3
        Bad(V3, "820F 0001 0001'a' 00 ^0006'sport+' 00", TopicFilter, 0x81),
        // covers: v3 MQTT-4.7.1-3
        Bad(V3, "A206 0001 ^0002'++'", TopicFilter, 0x81),
        // covers: v3 MQTT-3.8.1-1
        Bad(V3, "^8006 0001 0001'a' 00", ReservedFlags, 0x81),
        // covers: v3 MQTT-3.8.1-1
        Bad(ONLY_V311, "^8A06 0001 0001'a' 00", ReservedFlags, 0x81),
        // covers: v3 MQTT-3.10.1-1
        Bad(V3, "^A005 0001 0001'a'", ReservedFlags, 0x81),
        // covers: v3 MQTT-3.10.1-1
        Bad(ONLY_V311, "^AA05 0001 0001'a'", ReservedFlags, 0x81),
    ]
}
