//! PUBLISH: MQTT 5.0 section 3.3. What users build, and what the wire brings.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::{Properties, Property, UserProperties};
use crate::text::{self, Text};
use crate::topic::TopicName;
use crate::types::{PacketId, QoS};

/// A message to publish: what users build.
///
/// ```
/// use mqtt_proto::{Publish, QoS, TopicName};
///
/// let topic = TopicName::new("plant/7/temperature")?;
/// let message = Publish::new(topic, "21.5").qos(QoS::AtLeastOnce).retain(true);
/// assert_eq!(message.payload, "21.5");
/// # Ok::<(), mqtt_proto::TopicError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Publish {
    /// The Topic Name.
    pub topic: TopicName,
    /// The payload; it is sent from where it lies, not copied.
    pub payload: Bytes,
    /// How hard sender and receiver try.
    pub qos: QoS,
    /// Whether the server keeps it for later subscribers.
    pub retain: bool,
    /// Properties. MQTT 5.0 only.
    pub properties: PublishProperties,
}

impl Publish {
    /// Returns a message of QoS 0 that is not retained and has no properties.
    pub fn new(topic: TopicName, payload: impl Into<Bytes>) -> Publish {
        Publish {
            topic,
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            properties: PublishProperties::default(),
        }
    }

    /// Sets the QoS.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Publish {
        self.qos = qos;
        self
    }

    /// Sets whether the server keeps it for later subscribers.
    #[must_use]
    pub fn retain(mut self, retain: bool) -> Publish {
        self.retain = retain;
        self
    }

    /// Returns how many bytes of topic, payload and properties it has: what it counts for in
    /// [`Bounds::bytes`](crate::Bounds::bytes).
    pub fn size(&self) -> usize {
        let content = self.topic.as_bytes().len() + self.payload.len();
        let Some(fields) = self.properties.get() else { return content };
        let user = fields.user_properties.iter().map(|(name, value)| name.len() + value.len());
        content
            + fields.content_type.as_ref().map_or(0, |text| text.len())
            + fields.response_topic.as_ref().map_or(0, |topic| topic.as_bytes().len())
            + fields.correlation_data.as_ref().map_or(0, |data| data.len())
            + user.sum::<usize>()
    }
}

impl fmt::Debug for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("topic", &self.topic)
            .field("payload", &format_args!("{} bytes", self.payload.len()))
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("properties", &self.properties)
            .finish()
    }
}

/// The properties of a message to publish: MQTT 5.0 section 3.3.2.3.
///
/// It is one pointer wide: having none costs nothing. Read with the getters, write through
/// [`edit`](PublishProperties::edit).
#[derive(Clone, Debug, Default)]
pub struct PublishProperties(Option<Box<PublishFields>>);

/// What [`PublishProperties`] points to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishFields {
    /// Whether the payload is UTF-8 text; absent: it is not said.
    pub payload_format_indicator: Option<bool>,
    /// How long the message is worth delivering, in seconds; absent: for ever.
    pub message_expiry_interval: Option<u32>,
    /// What the payload is, such as a MIME type.
    pub content_type: Option<Text>,
    /// Where a response is expected.
    pub response_topic: Option<TopicName>,
    /// What lets the requester match the response.
    pub correlation_data: Option<Bytes>,
    /// The subscriptions that this message was sent for; from a server only.
    pub subscription_identifiers: Vec<u32>,
    /// A number to send in place of the topic, once the peer has learned it; not zero.
    ///
    /// It is the session that sends it, and only while the peer takes it; a message that came in does
    /// not show it here.
    pub topic_alias: Option<u16>,
    /// User Properties.
    pub user_properties: UserProperties,
}

impl PublishProperties {
    /// Returns the fields, or `None` if there is no property at all.
    #[inline]
    pub fn get(&self) -> Option<&PublishFields> {
        self.0.as_deref()
    }

    /// Returns the fields to write to; they are allocated when this is first called.
    pub fn edit(&mut self) -> &mut PublishFields {
        self.0.get_or_insert_default()
    }

    /// Tells whether not even the fields are there: cheaper than [`is_empty`](Self::is_empty).
    #[inline]
    pub(crate) const fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Tells whether there is no property.
    pub fn is_empty(&self) -> bool {
        self.get().is_none_or(|fields| *fields == PublishFields::default())
    }
}

impl PublishProperties {
    /// Sets what stands in a packet; `share` makes handles of its parts. A Topic Alias is left out.
    pub(crate) fn set(&mut self, property: Property<'_>, share: impl Fn(&[u8]) -> Bytes) {
        let text = |text: &str| Text::from_checked(share(text.as_bytes()));
        match property {
            Property::PayloadFormatIndicator(value) => {
                self.edit().payload_format_indicator = Some(value);
            }
            Property::MessageExpiryInterval(value) => {
                self.edit().message_expiry_interval = Some(value);
            }
            Property::ContentType(value) => self.edit().content_type = Some(text(value)),
            Property::ResponseTopic(value) => {
                let topic = TopicName::from_checked(share(value.as_bytes()));
                self.edit().response_topic = Some(topic);
            }
            Property::CorrelationData(value) => self.edit().correlation_data = Some(share(value)),
            Property::SubscriptionIdentifier(value) => {
                self.edit().subscription_identifiers.push(value);
            }
            Property::UserProperty(name, value) => {
                self.edit().user_properties.push((text(name), text(value)));
            }
            // The check lets no other property but the alias into a PUBLISH.
            _ => {}
        }
    }
}

impl PartialEq for PublishProperties {
    /// Fields that were opened and left empty are no properties: the wire cannot tell them apart.
    fn eq(&self, other: &PublishProperties) -> bool {
        match (&self.0, &other.0) {
            (Some(fields), Some(others)) => fields == others,
            _ => self.is_empty() && other.is_empty(),
        }
    }
}

impl Eq for PublishProperties {}

impl From<PublishFields> for PublishProperties {
    fn from(fields: PublishFields) -> PublishProperties {
        PublishProperties((fields != PublishFields::default()).then(|| Box::new(fields)))
    }
}

/// What a PUBLISH packet has beside its message: all of it belongs to one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublishHeader {
    /// Names the exchange: required for QoS 1 and 2, and ignored for QoS 0.
    pub packet_id: Option<PacketId>,
    /// Whether this packet was sent before.
    pub dup: bool,
    /// A number in place of the Topic Name, or to be learned with it. MQTT 5.0 only.
    pub topic_alias: Option<TopicAlias>,
    /// What is left of the Message Expiry Interval, in seconds; `None`: as the message says.
    pub message_expiry_interval: Option<u32>,
}

/// Says how a Topic Alias is used: MQTT 5.0 section 3.3.2.3.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicAlias {
    /// The packet has the Topic Name too, and the receiver learns what the alias means.
    Set(u16),
    /// The Topic Name is left out: the receiver knows the alias.
    Use(u16),
}

impl TopicAlias {
    pub(crate) const fn number(self) -> u16 {
        match self {
            TopicAlias::Set(number) | TopicAlias::Use(number) => number,
        }
    }
}

/// A PUBLISH packet as the wire brings it: one handle to the block that was read.
///
/// Topic, payload and properties are ranges of it; nothing is copied, and properties, which were
/// checked when the packet came in, are read when somebody asks.
///
/// Holding one keeps the block alive that it was read with: use [`to_publish`](Self::to_publish) or
/// copy what you need if you keep small messages for long.
#[derive(Clone)]
pub struct PublishPacket {
    /// The packet, from its first byte to its last.
    pub(crate) frame: Bytes,
    /// The topic that a Topic Alias stands for, where the packet has an empty one.
    pub(crate) alias_topic: Option<Arc<TopicName>>,
    /// Where the properties begin; they end where the payload begins.
    pub(crate) properties: u32,
    /// Where the payload begins.
    pub(crate) payload: u32,
    pub(crate) topic_len: u16,
    /// 0: none.
    pub(crate) packet_id: u16,
    /// 0: none.
    pub(crate) topic_alias: u16,
    /// Where the topic begins.
    pub(crate) topic: u8,
    /// The low four bits of the first byte, checked.
    pub(crate) flags: u8,
}

impl PublishPacket {
    /// Returns the Topic Name; empty only if a Topic Alias stands for it and nobody resolved that.
    pub fn topic(&self) -> &str {
        text::as_str(self.topic_bytes())
    }

    /// Returns the UTF-8 bytes of the Topic Name.
    #[inline]
    pub fn topic_bytes(&self) -> &[u8] {
        match &self.alias_topic {
            Some(topic) => topic.as_bytes(),
            None => self.wire_topic(),
        }
    }

    /// Returns the Topic Name that stands in the packet itself.
    #[inline]
    pub(crate) fn wire_topic(&self) -> &[u8] {
        let start = usize::from(self.topic);
        self.frame.get(start..start + usize::from(self.topic_len)).unwrap_or_default()
    }

    /// Returns the Topic Name as a handle, or `None` if it is empty.
    pub fn topic_name(&self) -> Option<TopicName> {
        if let Some(topic) = &self.alias_topic {
            return Some(TopicName::clone(topic));
        }
        let topic = self.wire_topic();
        (!topic.is_empty()).then(|| TopicName::from_checked(self.frame.slice_ref(topic)))
    }

    /// Returns the payload as a handle that shares the block.
    pub fn payload(&self) -> Bytes {
        self.frame.slice_ref(self.payload_bytes())
    }

    /// Returns the payload.
    #[inline]
    pub fn payload_bytes(&self) -> &[u8] {
        self.frame.get(self.payload as usize..).unwrap_or_default()
    }

    /// Returns the QoS.
    #[inline]
    pub const fn qos(&self) -> QoS {
        match self.flags & 0b0110 {
            0b0000 => QoS::AtMostOnce,
            0b0010 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        }
    }

    /// Tells whether the RETAIN flag is set.
    #[inline]
    pub const fn retain(&self) -> bool {
        self.flags & 0b0001 != 0
    }

    /// Tells whether the DUP flag is set: the sender has sent this packet before.
    #[inline]
    pub const fn dup(&self) -> bool {
        self.flags & 0b1000 != 0
    }

    /// Returns the Packet Identifier, which QoS 1 and 2 have.
    #[inline]
    pub const fn packet_id(&self) -> Option<PacketId> {
        PacketId::new(self.packet_id)
    }

    /// Returns the Topic Alias.
    #[inline]
    pub const fn topic_alias(&self) -> Option<u16> {
        if self.topic_alias == 0 { None } else { Some(self.topic_alias) }
    }

    /// Returns the properties, in the order in which they stand in the packet.
    pub fn properties(&self) -> Properties<'_> {
        Properties::new(self.property_block())
    }

    #[inline]
    pub(crate) fn property_block(&self) -> &[u8] {
        self.frame.get(self.properties as usize..self.payload as usize).unwrap_or_default()
    }

    /// Takes it out of a place that nobody looks at any more.
    #[inline]
    pub(crate) fn take(&mut self) -> PublishPacket {
        let (frame, alias_topic) = (core::mem::take(&mut self.frame), self.alias_topic.take());
        PublishPacket { frame, alias_topic, ..*self }
    }

    /// Returns the size of the packet on the wire, in bytes.
    pub fn wire_len(&self) -> usize {
        self.frame.len()
    }

    /// Returns a copy that shares no memory with the block that was read.
    #[must_use]
    pub fn into_owned(mut self) -> PublishPacket {
        self.make_owned();
        self
    }

    /// Copies what it refers to, so that it shares no memory with the block that was read.
    pub fn make_owned(&mut self) {
        self.frame = Bytes::copy_from_slice(&self.frame);
    }

    /// Returns the message as what users build, or `None` if its topic is an unresolved alias.
    ///
    /// Topic and payload share the block; Packet Identifier, DUP and Topic Alias, which belong to one
    /// connection, are left out.
    pub fn to_publish(&self) -> Option<Publish> {
        Some(Publish {
            topic: self.topic_name()?,
            payload: self.payload(),
            qos: self.qos(),
            retain: self.retain(),
            properties: self.publish_properties(),
        })
    }

    fn publish_properties(&self) -> PublishProperties {
        let mut properties = PublishProperties::default();
        for property in self.properties() {
            properties.set(property, |part| self.frame.slice_ref(part));
        }
        properties
    }
}

impl PartialEq for PublishPacket {
    /// Compares what the packets say, not the bytes in which they say it.
    fn eq(&self, other: &PublishPacket) -> bool {
        self.flags == other.flags
            && self.packet_id == other.packet_id
            && self.topic_alias == other.topic_alias
            && self.topic_bytes() == other.topic_bytes()
            && self.payload_bytes() == other.payload_bytes()
            && self.publish_properties() == other.publish_properties()
    }
}

impl Eq for PublishPacket {}

impl fmt::Debug for PublishPacket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishPacket")
            .field("topic", &self.topic())
            .field("payload", &format_args!("{} bytes", self.payload_bytes().len()))
            .field("qos", &self.qos())
            .field("retain", &self.retain())
            .field("dup", &self.dup())
            .field("packet_id", &self.packet_id)
            .field("topic_alias", &self.topic_alias)
            .field("properties", &self.publish_properties())
            .finish()
    }
}
