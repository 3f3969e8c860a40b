//! Reason codes: which exist, in which packets, and what MQTT 3.x has in their place.

use core::fmt;

use crate::types::PacketSet;
use crate::types::PacketType::{self, *};

/// A reason code: MQTT 5.0 section 2.4, and the return codes of 3.x mapped onto it.
///
/// Values below 0x80 are successes. A code that is not in the standard can be held, but the codec
/// neither takes it from a peer nor sends it.
///
/// ```
/// use mqtt_proto::{PacketType, ReasonCode};
///
/// assert!(ReasonCode::NOT_AUTHORIZED.is_error());
/// assert!(ReasonCode::NOT_AUTHORIZED.is_valid_in(PacketType::PubAck));
/// assert!(!ReasonCode::BANNED.is_valid_in(PacketType::PubAck));
/// assert_eq!(ReasonCode::BANNED.to_string(), "0x8A Banned");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ReasonCode(u8);

macro_rules! reason_codes {
    ($($name:ident = $value:literal $text:literal in [$($packet:ident),*];)*) => {
        impl ReasonCode {
            $(#[doc = concat!($text, ".")] pub const $name: ReasonCode = ReasonCode($value);)*

            /// Returns the standard's name of the code, or `"Unknown"`.
            pub const fn name(self) -> &'static str {
                match self.0 { $($value => $text,)* _ => "Unknown" }
            }

            /// Returns the packets that may carry the code: table 2-6.
            const fn packets(self) -> PacketSet {
                match self.0 { $($value => const { PacketSet::of(&[$($packet),*]) },)* _ => PacketSet::of(&[]) }
            }
        }
    };
}

reason_codes! {
    SUCCESS = 0x00 "Success" in [ConnAck, PubAck, PubRec, PubRel, PubComp, SubAck, UnsubAck, Disconnect, Auth];
    GRANTED_QOS_1 = 0x01 "Granted QoS 1" in [SubAck];
    GRANTED_QOS_2 = 0x02 "Granted QoS 2" in [SubAck];
    DISCONNECT_WITH_WILL = 0x04 "Disconnect with Will Message" in [Disconnect];
    NO_MATCHING_SUBSCRIBERS = 0x10 "No matching subscribers" in [PubAck, PubRec];
    NO_SUBSCRIPTION_EXISTED = 0x11 "No subscription existed" in [UnsubAck];
    CONTINUE_AUTHENTICATION = 0x18 "Continue authentication" in [Auth];
    RE_AUTHENTICATE = 0x19 "Re-authenticate" in [Auth];
    UNSPECIFIED_ERROR = 0x80 "Unspecified error" in [ConnAck, PubAck, PubRec, SubAck, UnsubAck, Disconnect];
    MALFORMED_PACKET = 0x81 "Malformed Packet" in [ConnAck, Disconnect];
    PROTOCOL_ERROR = 0x82 "Protocol Error" in [ConnAck, Disconnect];
    IMPLEMENTATION_SPECIFIC_ERROR = 0x83 "Implementation specific error" in [ConnAck, PubAck, PubRec, SubAck, UnsubAck, Disconnect];
    UNSUPPORTED_PROTOCOL_VERSION = 0x84 "Unsupported Protocol Version" in [ConnAck];
    CLIENT_IDENTIFIER_NOT_VALID = 0x85 "Client Identifier not valid" in [ConnAck];
    BAD_USER_NAME_OR_PASSWORD = 0x86 "Bad User Name or Password" in [ConnAck];
    NOT_AUTHORIZED = 0x87 "Not authorized" in [ConnAck, PubAck, PubRec, SubAck, UnsubAck, Disconnect];
    SERVER_UNAVAILABLE = 0x88 "Server unavailable" in [ConnAck];
    SERVER_BUSY = 0x89 "Server busy" in [ConnAck, Disconnect];
    BANNED = 0x8A "Banned" in [ConnAck];
    SERVER_SHUTTING_DOWN = 0x8B "Server shutting down" in [Disconnect];
    BAD_AUTHENTICATION_METHOD = 0x8C "Bad authentication method" in [ConnAck, Disconnect];
    KEEP_ALIVE_TIMEOUT = 0x8D "Keep Alive timeout" in [Disconnect];
    SESSION_TAKEN_OVER = 0x8E "Session taken over" in [Disconnect];
    TOPIC_FILTER_INVALID = 0x8F "Topic Filter invalid" in [SubAck, UnsubAck, Disconnect];
    TOPIC_NAME_INVALID = 0x90 "Topic Name invalid" in [ConnAck, PubAck, PubRec, Disconnect];
    PACKET_IDENTIFIER_IN_USE = 0x91 "Packet Identifier in use" in [PubAck, PubRec, SubAck, UnsubAck];
    PACKET_IDENTIFIER_NOT_FOUND = 0x92 "Packet Identifier not found" in [PubRel, PubComp];
    RECEIVE_MAXIMUM_EXCEEDED = 0x93 "Receive Maximum exceeded" in [Disconnect];
    TOPIC_ALIAS_INVALID = 0x94 "Topic Alias invalid" in [Disconnect];
    PACKET_TOO_LARGE = 0x95 "Packet too large" in [ConnAck, Disconnect];
    MESSAGE_RATE_TOO_HIGH = 0x96 "Message rate too high" in [Disconnect];
    QUOTA_EXCEEDED = 0x97 "Quota exceeded" in [ConnAck, PubAck, PubRec, SubAck, Disconnect];
    ADMINISTRATIVE_ACTION = 0x98 "Administrative action" in [Disconnect];
    PAYLOAD_FORMAT_INVALID = 0x99 "Payload format invalid" in [ConnAck, PubAck, PubRec, Disconnect];
    RETAIN_NOT_SUPPORTED = 0x9A "Retain not supported" in [ConnAck, Disconnect];
    QOS_NOT_SUPPORTED = 0x9B "QoS not supported" in [ConnAck, Disconnect];
    USE_ANOTHER_SERVER = 0x9C "Use another server" in [ConnAck, Disconnect];
    SERVER_MOVED = 0x9D "Server moved" in [ConnAck, Disconnect];
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E "Shared Subscriptions not supported" in [SubAck, Disconnect];
    CONNECTION_RATE_EXCEEDED = 0x9F "Connection rate exceeded" in [ConnAck, Disconnect];
    MAXIMUM_CONNECT_TIME = 0xA0 "Maximum connect time" in [Disconnect];
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED = 0xA1 "Subscription Identifiers not supported" in [SubAck, Disconnect];
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED = 0xA2 "Wildcard Subscriptions not supported" in [SubAck, Disconnect];
}

impl ReasonCode {
    /// Wraps a byte, known to the standard or not.
    #[inline]
    pub const fn new(code: u8) -> ReasonCode {
        ReasonCode(code)
    }

    /// Returns the byte that stands on the wire of MQTT 5.0.
    #[inline]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Tells whether the code reports a failure: 0x80 and above.
    #[inline]
    pub const fn is_error(self) -> bool {
        self.0 >= 0x80
    }

    /// Tells whether MQTT 5.0 defines the code for that packet (section 2.4, table 2-6).
    ///
    /// 0x8C counts as valid in DISCONNECT, as table 2-6 says; table 3-10 forgets it.
    #[inline]
    pub const fn is_valid_in(self, packet: PacketType) -> bool {
        // Nearly every acknowledgement carries Success.
        (self.0 == 0 && ReasonCode::SUCCESS.packets().has(packet)) || self.packets().has(packet)
    }

    /// Returns the meaning of a CONNACK return code of MQTT 3.x, or `None` for a reserved one.
    ///
    /// MQTT 3.1.1 section 3.2.2.3.
    pub const fn from_return_code(code: u8) -> Option<ReasonCode> {
        Some(match code {
            0 => ReasonCode::SUCCESS,
            1 => ReasonCode::UNSUPPORTED_PROTOCOL_VERSION,
            2 => ReasonCode::CLIENT_IDENTIFIER_NOT_VALID,
            3 => ReasonCode::SERVER_UNAVAILABLE,
            4 => ReasonCode::BAD_USER_NAME_OR_PASSWORD,
            5 => ReasonCode::NOT_AUTHORIZED,
            _ => return None,
        })
    }

    /// Returns the CONNACK return code of MQTT 3.x for this reason, or `None` where it has none.
    pub const fn to_return_code(self) -> Option<u8> {
        Some(match self {
            ReasonCode::SUCCESS => 0,
            ReasonCode::UNSUPPORTED_PROTOCOL_VERSION => 1,
            ReasonCode::CLIENT_IDENTIFIER_NOT_VALID => 2,
            ReasonCode::SERVER_UNAVAILABLE => 3,
            ReasonCode::BAD_USER_NAME_OR_PASSWORD => 4,
            ReasonCode::NOT_AUTHORIZED => 5,
            _ => return None,
        })
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:02X} {}", self.0, self.name())
    }
}

impl fmt::Debug for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
