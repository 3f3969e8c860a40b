//! The 27 properties: which exist, of which type, in which packets, and how often.

use alloc::vec::Vec;

use crate::error::DecodeCause;
use crate::text::{self, Text};
use crate::types::PacketSet;
use crate::types::PacketType::{self, *};

/// User Properties: pairs of name and value, in the order given; a name may stand more than once.
pub type UserProperties = Vec<(Text, Text)>;

/// One property as it stands in a packet: MQTT 5.0 section 2.2.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the standard's")]
pub enum Property<'a> {
    PayloadFormatIndicator(bool),
    MessageExpiryInterval(u32),
    ContentType(&'a str),
    ResponseTopic(&'a str),
    CorrelationData(&'a [u8]),
    SubscriptionIdentifier(u32),
    SessionExpiryInterval(u32),
    AssignedClientIdentifier(&'a str),
    ServerKeepAlive(u16),
    AuthenticationMethod(&'a str),
    AuthenticationData(&'a [u8]),
    RequestProblemInformation(bool),
    WillDelayInterval(u32),
    RequestResponseInformation(bool),
    ResponseInformation(&'a str),
    ServerReference(&'a str),
    ReasonString(&'a str),
    ReceiveMaximum(u16),
    TopicAliasMaximum(u16),
    TopicAlias(u16),
    MaximumQoS(u8),
    RetainAvailable(bool),
    UserProperty(&'a str, &'a str),
    MaximumPacketSize(u32),
    WildcardSubscriptionAvailable(bool),
    SubscriptionIdentifierAvailable(bool),
    SharedSubscriptionAvailable(bool),
}

/// The identifier of a property, as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum PropertyId {
    PayloadFormatIndicator = 0x01,
    MessageExpiryInterval = 0x02,
    ContentType = 0x03,
    ResponseTopic = 0x08,
    CorrelationData = 0x09,
    SubscriptionIdentifier = 0x0B,
    SessionExpiryInterval = 0x11,
    AssignedClientIdentifier = 0x12,
    ServerKeepAlive = 0x13,
    AuthenticationMethod = 0x15,
    AuthenticationData = 0x16,
    RequestProblemInformation = 0x17,
    WillDelayInterval = 0x18,
    RequestResponseInformation = 0x19,
    ResponseInformation = 0x1A,
    ServerReference = 0x1C,
    ReasonString = 0x1F,
    ReceiveMaximum = 0x21,
    TopicAliasMaximum = 0x22,
    TopicAlias = 0x23,
    MaximumQoS = 0x24,
    RetainAvailable = 0x25,
    UserProperty = 0x26,
    MaximumPacketSize = 0x27,
    WildcardSubscriptionAvailable = 0x28,
    SubscriptionIdentifierAvailable = 0x29,
    SharedSubscriptionAvailable = 0x2A,
}

/// The type of a property's value: MQTT 5.0 table 2-4.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum PropertyKind {
    /// A byte that is 0 or 1.
    Flag,
    /// Two bytes; any value.
    Two,
    /// Two bytes that are not zero.
    TwoNonZero,
    /// Two bytes, the Topic Alias: zero is an error of its own.
    Alias,
    /// Four bytes; any value.
    Four,
    /// Four bytes that are not zero.
    FourNonZero,
    /// A Variable Byte Integer that is not zero.
    Variable,
    /// A UTF-8 Encoded String.
    Text,
    /// A UTF-8 Encoded String that is a Topic Name.
    Topic,
    /// Binary Data.
    Binary,
    /// A UTF-8 String Pair.
    Pair,
}

impl PropertyId {
    /// Returns the property of that number, its type, and the packets that may have it.
    ///
    /// The Will Properties are those of PUBLISH with Will Delay Interval in place of Topic Alias and
    /// Subscription Identifier; the set `PingReq` stands for them, a packet that has no properties.
    #[inline]
    pub(crate) const fn lookup(number: u8) -> Option<(PropertyId, PropertyKind, PacketSet)> {
        use PropertyKind::*;
        macro_rules! table {
            ($($number:literal $id:ident $kind:ident [$($packet:ident)*];)*) => {
                match number {
                    $($number => Some((
                        PropertyId::$id, $kind, const { PacketSet::of(&[$($packet),*]) },
                    )),)*
                    _ => None,
                }
            };
        }
        table! {
            0x01 PayloadFormatIndicator Flag [Publish PingReq];
            0x02 MessageExpiryInterval Four [Publish PingReq];
            0x03 ContentType Text [Publish PingReq];
            0x08 ResponseTopic Topic [Publish PingReq];
            0x09 CorrelationData Binary [Publish PingReq];
            0x0B SubscriptionIdentifier Variable [Publish Subscribe];
            0x11 SessionExpiryInterval Four [Connect ConnAck Disconnect];
            0x12 AssignedClientIdentifier Text [ConnAck];
            0x13 ServerKeepAlive Two [ConnAck];
            0x15 AuthenticationMethod Text [Connect ConnAck Auth];
            0x16 AuthenticationData Binary [Connect ConnAck Auth];
            0x17 RequestProblemInformation Flag [Connect];
            0x18 WillDelayInterval Four [PingReq];
            0x19 RequestResponseInformation Flag [Connect];
            0x1A ResponseInformation Text [ConnAck];
            0x1C ServerReference Text [ConnAck Disconnect];
            0x1F ReasonString Text [ConnAck PubAck PubRec PubRel PubComp SubAck UnsubAck Disconnect Auth];
            0x21 ReceiveMaximum TwoNonZero [Connect ConnAck];
            0x22 TopicAliasMaximum Two [Connect ConnAck];
            0x23 TopicAlias Alias [Publish];
            0x24 MaximumQoS Flag [ConnAck];
            0x25 RetainAvailable Flag [ConnAck];
            0x26 UserProperty Pair [Connect ConnAck Publish PingReq PubAck PubRec PubRel PubComp
                Subscribe SubAck Unsubscribe UnsubAck Disconnect Auth];
            0x27 MaximumPacketSize FourNonZero [Connect ConnAck];
            0x28 WildcardSubscriptionAvailable Flag [ConnAck];
            0x29 SubscriptionIdentifierAvailable Flag [ConnAck];
            0x2A SharedSubscriptionAvailable Flag [ConnAck];
        }
    }

    /// Tells whether the property may stand more than once in that packet.
    #[inline]
    pub(crate) const fn may_repeat(self, packet: PacketType) -> bool {
        match self {
            PropertyId::UserProperty => true,
            PropertyId::SubscriptionIdentifier => matches!(packet, Publish),
            _ => false,
        }
    }
}

/// The properties of a packet, read lazily from the block that was checked when it came in.
#[derive(Clone, Debug)]
pub struct Properties<'a> {
    block: &'a [u8],
}

impl<'a> Properties<'a> {
    pub(crate) const fn new(checked: &'a [u8]) -> Properties<'a> {
        Properties { block: checked }
    }
}

impl<'a> Iterator for Properties<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        let (rest, property) = next_property(self.block).ok()?;
        self.block = rest;
        Some(property)
    }
}

/// Splits a length-prefixed field off.
fn field(block: &[u8]) -> Result<(&[u8], &[u8]), DecodeCause> {
    let (len, rest) = block.split_first_chunk::<2>().ok_or(DecodeCause::PropertyLength)?;
    let (field, rest) = rest
        .split_at_checked(u16::from_be_bytes(*len) as usize)
        .ok_or(DecodeCause::PropertyLength)?;
    Ok((rest, field))
}

/// Reads one property of a block that has been checked: order, number and text are taken as they are.
fn next_property(block: &[u8]) -> Result<(&[u8], Property<'_>), DecodeCause> {
    use Property as P;
    let (number, rest) = block.split_first().ok_or(DecodeCause::PropertyLength)?;
    let (id, ..) = PropertyId::lookup(*number).ok_or(DecodeCause::PropertyUnknown)?;
    macro_rules! number {
        ($type:ty) => {{
            let (value, rest) = rest.split_first_chunk().ok_or(DecodeCause::PropertyLength)?;
            (rest, <$type>::from_be_bytes(*value))
        }};
    }
    macro_rules! text {
        ($property:path) => {{
            let (rest, value) = field(rest)?;
            (rest, $property(text::as_str(value)))
        }};
    }
    macro_rules! plain {
        ($property:path, $type:ty) => {{
            let (rest, value) = number!($type);
            (rest, $property(value))
        }};
    }
    macro_rules! flag {
        ($property:path) => {{
            let (rest, value) = number!(u8);
            (rest, $property(value != 0))
        }};
    }
    macro_rules! binary {
        ($property:path) => {{
            let (rest, value) = field(rest)?;
            (rest, $property(value))
        }};
    }
    Ok(match id {
        PropertyId::PayloadFormatIndicator => flag!(P::PayloadFormatIndicator),
        PropertyId::MessageExpiryInterval => plain!(P::MessageExpiryInterval, u32),
        PropertyId::ContentType => text!(P::ContentType),
        PropertyId::ResponseTopic => text!(P::ResponseTopic),
        PropertyId::CorrelationData => binary!(P::CorrelationData),
        PropertyId::SubscriptionIdentifier => {
            let mut value = 0;
            let mut rest = rest;
            for shift in [0, 7, 14, 21] {
                let (byte, tail) = rest.split_first().ok_or(DecodeCause::PropertyLength)?;
                rest = tail;
                value |= u32::from(byte & 0x7F) << shift;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            (rest, P::SubscriptionIdentifier(value))
        }
        PropertyId::SessionExpiryInterval => plain!(P::SessionExpiryInterval, u32),
        PropertyId::AssignedClientIdentifier => text!(P::AssignedClientIdentifier),
        PropertyId::ServerKeepAlive => plain!(P::ServerKeepAlive, u16),
        PropertyId::AuthenticationMethod => text!(P::AuthenticationMethod),
        PropertyId::AuthenticationData => binary!(P::AuthenticationData),
        PropertyId::RequestProblemInformation => flag!(P::RequestProblemInformation),
        PropertyId::WillDelayInterval => plain!(P::WillDelayInterval, u32),
        PropertyId::RequestResponseInformation => flag!(P::RequestResponseInformation),
        PropertyId::ResponseInformation => text!(P::ResponseInformation),
        PropertyId::ServerReference => text!(P::ServerReference),
        PropertyId::ReasonString => text!(P::ReasonString),
        PropertyId::ReceiveMaximum => plain!(P::ReceiveMaximum, u16),
        PropertyId::TopicAliasMaximum => plain!(P::TopicAliasMaximum, u16),
        PropertyId::TopicAlias => plain!(P::TopicAlias, u16),
        PropertyId::MaximumQoS => plain!(P::MaximumQoS, u8),
        PropertyId::RetainAvailable => flag!(P::RetainAvailable),
        PropertyId::UserProperty => {
            let (rest, name) = field(rest)?;
            let (rest, value) = field(rest)?;
            (rest, P::UserProperty(text::as_str(name), text::as_str(value)))
        }
        PropertyId::MaximumPacketSize => plain!(P::MaximumPacketSize, u32),
        PropertyId::WildcardSubscriptionAvailable => flag!(P::WildcardSubscriptionAvailable),
        PropertyId::SubscriptionIdentifierAvailable => flag!(P::SubscriptionIdentifierAvailable),
        PropertyId::SharedSubscriptionAvailable => flag!(P::SharedSubscriptionAvailable),
    })
}
