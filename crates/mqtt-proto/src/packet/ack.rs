//! PUBACK, PUBREC, PUBREL and PUBCOMP: MQTT 5.0 sections 3.4 to 3.7. They have one shape.

use alloc::boxed::Box;

use super::UserProperties;
use crate::reason::ReasonCode;
use crate::text::Text;
use crate::types::PacketId;

/// The content of a PUBACK, PUBREC, PUBREL or PUBCOMP packet.
///
/// In MQTT 3.x only the Packet Identifier is on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The Packet Identifier of the PUBLISH that is answered.
    pub packet_id: PacketId,
    /// What became of the message.
    pub reason: ReasonCode,
    /// Reason String and User Properties.
    pub properties: AckProperties,
}

impl Ack {
    /// Returns an acknowledgement with a reason code and no properties.
    #[inline]
    pub const fn new(packet_id: PacketId, reason: ReasonCode) -> Ack {
        Ack { packet_id, reason, properties: AckProperties::NONE }
    }

    /// Takes it out of a place that nobody looks at any more.
    #[inline]
    pub(crate) fn take(&mut self) -> Ack {
        Ack { properties: core::mem::take(&mut self.properties), ..*self }
    }
}

/// Reason String and User Properties, which nearly every answer of MQTT 5.0 may have.
///
/// It is one pointer wide: having none costs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AckProperties(Option<Box<Fields>>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Fields {
    reason_string: Option<Text>,
    user: UserProperties,
}

impl AckProperties {
    /// No properties.
    pub const NONE: AckProperties = AckProperties(None);

    /// Returns these two properties.
    pub fn new(reason_string: Option<Text>, user: UserProperties) -> AckProperties {
        if reason_string.is_none() && user.is_empty() {
            return AckProperties::NONE;
        }
        AckProperties(Some(Box::new(Fields { reason_string, user })))
    }

    /// Returns the Reason String: text for a human who looks for a fault.
    pub fn reason_string(&self) -> Option<&Text> {
        self.0.as_ref()?.reason_string.as_ref()
    }

    /// Returns the User Properties.
    pub fn user_properties(&self) -> &[(Text, Text)] {
        self.0.as_ref().map_or(&[], |fields| &fields.user)
    }

    /// Tells whether there is neither.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}
