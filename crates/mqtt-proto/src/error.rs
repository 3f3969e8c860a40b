//! What can be wrong with bytes, with packets and with topics.

use core::fmt;

use crate::reason::ReasonCode;
use crate::types::{PacketType, Version};

/// Tells why bytes from the peer are not an MQTT packet. The peer is at fault.
///
/// It names the packet, how far into the packet the fault was found, the cause, and for MQTT 5.0
/// the reason code to send back (section 4.13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    packet: Option<PacketType>,
    offset: u32,
    cause: DecodeCause,
    // For `TooLarge` only: what the header announces and what was permitted.
    size: u32,
    limit: u32,
}

impl DecodeError {
    pub(crate) const fn new(
        packet: Option<PacketType>,
        offset: u32,
        cause: DecodeCause,
    ) -> DecodeError {
        DecodeError { packet, offset, cause, size: 0, limit: 0 }
    }

    pub(crate) const fn too_large(
        packet: Option<PacketType>,
        size: u32,
        limit: u32,
    ) -> DecodeError {
        DecodeError { packet, offset: 1, cause: DecodeCause::TooLarge, size, limit }
    }

    /// Returns the type of the packet, where the first byte named one.
    pub const fn packet(&self) -> Option<PacketType> {
        self.packet
    }

    /// Returns how many bytes into the packet the offending field begins.
    pub const fn offset(&self) -> usize {
        self.offset as usize
    }

    /// Returns what is wrong.
    pub const fn cause(&self) -> DecodeCause {
        self.cause
    }

    /// Returns the size that the header announced and the limit that it exceeds, in bytes.
    ///
    /// `None` unless the cause is [`DecodeCause::TooLarge`].
    pub const fn size_and_limit(&self) -> Option<(u32, u32)> {
        match self.cause {
            DecodeCause::TooLarge => Some((self.size, self.limit)),
            _ => None,
        }
    }

    /// Returns the reason code that MQTT 5.0 wants in the CONNACK or DISCONNECT that answers this.
    pub const fn reason(&self) -> ReasonCode {
        self.cause.reason()
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the peer sent an invalid {}", self.packet.map_or("packet", PacketType::name))?;
        write!(f, " (at byte {}): {}", self.offset, self.cause.text())?;
        if let Some((size, limit)) = self.size_and_limit() {
            write!(f, ": {size} bytes, and the limit (Maximum Packet Size) is {limit}")?;
        }
        Ok(())
    }
}

impl core::error::Error for DecodeError {}

macro_rules! decode_causes {
    ($($(#[$attr:meta])* $name:ident => $reason:ident, $text:literal;)*) => {
        /// Says what is wrong with a packet that a peer sent.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum DecodeCause {
            $(#[doc = concat!("The reason: ", $text, ".")] $name,)*
        }

        impl DecodeCause {
            /// Returns the reason code for it (MQTT 5.0 section 4.13).
            pub const fn reason(self) -> ReasonCode {
                match self { $(DecodeCause::$name => ReasonCode::$reason,)* }
            }

            /// Describes it in a few words.
            pub const fn text(self) -> &'static str {
                match self { $(DecodeCause::$name => $text,)* }
            }
        }
    };
}

decode_causes! {
    PacketType => MALFORMED_PACKET, "a packet type that this version does not have";
    ReservedFlags => MALFORMED_PACKET, "reserved flags of the fixed header are not as required";
    RemainingLength => MALFORMED_PACKET, "the Remaining Length takes more than four bytes, or more than its value needs";
    TooLarge => PACKET_TOO_LARGE, "the packet is too large";
    Truncated => MALFORMED_PACKET, "a field runs beyond the end of the packet";
    TrailingBytes => MALFORMED_PACKET, "bytes are left over after the last field";
    VariableByteInteger => MALFORMED_PACKET, "a Variable Byte Integer takes more than four bytes, or more than its value needs";
    Utf8 => MALFORMED_PACKET, "a string is not well-formed UTF-8";
    Nul => MALFORMED_PACKET, "a string has the character U+0000";
    PacketIdZero => MALFORMED_PACKET, "the Packet Identifier is zero";
    QoS => MALFORMED_PACKET, "the QoS bits are 3";
    DupOnQos0 => MALFORMED_PACKET, "DUP is set on a QoS 0 PUBLISH";
    TopicNameEmpty => PROTOCOL_ERROR, "the Topic Name is empty and there is no Topic Alias";
    TopicNameWildcard => MALFORMED_PACKET, "the Topic Name has a wildcard character";
    TopicFilter => MALFORMED_PACKET, "the Topic Filter is empty or has a wildcard in the wrong place";
    ShareName => MALFORMED_PACKET, "the Shared Subscription filter is not $share/name/filter";
    SubscriptionOptionsReserved => MALFORMED_PACKET, "reserved bits of the Subscription Options are set";
    SubscriptionOptions => PROTOCOL_ERROR, "the Subscription Options ask for QoS 3 or Retain Handling 3";
    NoLocalShared => PROTOCOL_ERROR, "No Local is set on a Shared Subscription";
    NoFilters => PROTOCOL_ERROR, "there is no Topic Filter";
    NoReasonCodes => PROTOCOL_ERROR, "there is no reason code";
    ReasonCode => MALFORMED_PACKET, "the reason code is not defined for this packet";
    ProtocolName => UNSUPPORTED_PROTOCOL_VERSION, "the protocol name is neither MQTT nor MQIsdp";
    ProtocolVersion => UNSUPPORTED_PROTOCOL_VERSION, "the protocol version is not the one expected";
    ConnectFlagsReserved => MALFORMED_PACKET, "the reserved bit of the Connect Flags is set";
    WillFlags => MALFORMED_PACKET, "Will QoS or Will Retain is set without the Will Flag";
    WillQoS => MALFORMED_PACKET, "the Will QoS is 3";
    PasswordWithoutUserName => MALFORMED_PACKET, "there is a Password without a User Name";
    ClientIdEmpty => CLIENT_IDENTIFIER_NOT_VALID, "the Client Identifier is empty where it may not be";
    ConnAckFlags => MALFORMED_PACKET, "reserved Connect Acknowledge Flags are set";
    SessionPresent => PROTOCOL_ERROR, "Session Present is set beside a refusal";
    PropertyUnknown => MALFORMED_PACKET, "a property has an unknown identifier";
    PropertyMisplaced => MALFORMED_PACKET, "a property is not allowed in this packet";
    PropertyDuplicate => PROTOCOL_ERROR, "a property that may stand once stands twice";
    PropertyLength => MALFORMED_PACKET, "a property runs beyond the Property Length";
    PropertyValue => PROTOCOL_ERROR, "a property has a value that it may not have";
    TopicAliasZero => TOPIC_ALIAS_INVALID, "the Topic Alias is zero";
    AuthenticationMethodMissing => PROTOCOL_ERROR, "the Authentication Method is missing";
    ForeignHttp => MALFORMED_PACKET, "the peer speaks HTTP, not MQTT";
    ForeignTls => MALFORMED_PACKET, "the peer speaks TLS on a plain connection";
}

/// Tells why a packet cannot be put on the wire. The caller is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string or Binary Data field is longer than 65,535 bytes.
    FieldTooLong {
        /// The field, in the standard's words.
        field: &'static str,
        /// Its length in bytes.
        len: usize,
    },
    /// The packet is larger than any MQTT packet may be: 268,435,455 bytes after its fixed header.
    PacketTooLarge {
        /// Its length in bytes after the fixed header.
        len: usize,
    },
    /// The packet, or something in it, does not exist in that version of MQTT.
    NotInVersion {
        /// What does not exist.
        what: &'static str,
        /// The version that was asked for.
        version: Version,
    },
    /// The packet breaks a rule of the standard.
    Invalid {
        /// The packet.
        packet: PacketType,
        /// The same rule, seen from the receiving side.
        cause: DecodeCause,
    },
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EncodeError::FieldTooLong { field, len } => {
                write!(f, "{field} takes {len} bytes; at most 65,535 fit: shorten it")
            }
            EncodeError::PacketTooLarge { len } => {
                write!(
                    f,
                    "the packet takes {len} bytes; at most 268,435,455 fit: split the payload"
                )
            }
            EncodeError::NotInVersion { what, version } => {
                write!(
                    f,
                    "{what} does not exist in {version}: leave it out, or connect with MQTT 5.0"
                )
            }
            EncodeError::Invalid { packet, cause } => {
                write!(f, "this {packet} may not be sent: {}", cause.text())
            }
        }
    }
}

impl core::error::Error for EncodeError {}

/// Tells why a string is not a Topic Name or a Topic Filter. The caller is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TopicError {
    /// It is empty (MQTT-4.7.3-1).
    Empty,
    /// It takes more than 65,535 bytes (MQTT-4.7.3-3).
    TooLong,
    /// It has the character U+0000 (MQTT-4.7.3-2).
    Nul,
    /// A Topic Name has `#` or `+` (MQTT-4.7.0-1).
    Wildcard,
    /// In a Topic Filter `#` is not the whole of the last level (MQTT-4.7.1-1).
    MultiLevel,
    /// In a Topic Filter `+` is not a whole level (MQTT-4.7.1-2).
    SingleLevel,
    /// A filter that begins with `$share/` is not `$share/name/filter` (MQTT-4.8.2-1, -2).
    Share,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TopicError::Empty => "the topic is empty",
            TopicError::TooLong => "the topic takes more than 65,535 bytes",
            TopicError::Nul => "the topic has the character U+0000",
            TopicError::Wildcard => "a Topic Name has no wildcards: # and + belong into filters",
            TopicError::MultiLevel => "# has to be the whole last level of a Topic Filter",
            TopicError::SingleLevel => "+ has to be a whole level of a Topic Filter",
            TopicError::Share => "a Shared Subscription is written $share/name/filter",
        })
    }
}

impl core::error::Error for TopicError {}

/// Tells why a string cannot be a field of a packet. The caller is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TextError {
    /// It takes more than 65,535 bytes.
    TooLong,
    /// It has the character U+0000 (MQTT-1.5.4-2).
    Nul,
    /// The bytes are not well-formed UTF-8 (MQTT-1.5.4-1).
    Utf8,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TextError::TooLong => "the string takes more than 65,535 bytes",
            TextError::Nul => "the string has the character U+0000",
            TextError::Utf8 => "the string is not well-formed UTF-8",
        })
    }
}

impl core::error::Error for TextError {}
