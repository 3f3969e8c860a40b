//! A packet to bytes: MQTT 5.0 chapter 3.
//!
//! Each packet is checked first, then written twice by one and the same code: into a counter, which
//! gives the lengths, and into the buffer. So the two cannot disagree.

use crate::error::EncodeError;
use crate::packet::{
    AckProperties, Auth, ConnAck, Connect, Disconnect, Packet, PropertyId as Id, SubAck, Subscribe,
    SubscriptionOptions, UnsubAck, Unsubscribe, UserProperties, Will,
};
use crate::reason::ReasonCode;
use crate::text::Text;
use crate::txbuf::{TxBuf, Writer};
use crate::types::{PacketId, QoS, Version};

mod check;
mod publish;

pub use publish::{encode_publish, publish_len, publish_packet};

/// The largest Remaining Length: MQTT 5.0 section 2.1.4.
pub const MAX_REMAINING_LENGTH: usize = 268_435_455;

/// Returns how many bytes [`encode`] will write, or why it will not.
pub fn encoded_len(packet: &Packet, version: Version) -> Result<usize, EncodeError> {
    if let Some(bytes) = short_ack(packet) {
        return Ok(bytes.len());
    }
    let remaining = remaining_len(packet, version)?;
    Ok(1 + variable_len(remaining) + remaining)
}

/// Appends a packet, or says why it may not be sent in that version and appends nothing.
///
/// What the standard forbids is refused: reason codes that the packet does not have, fields and
/// properties that the version does not have, empty lists of filters, and the like. Acknowledgements
/// and DISCONNECT take their shortest form, and properties stand in the order of their identifiers
/// (a PUBLISH that came from the wire keeps its own order).
///
/// ```
/// use bytes::Buf;
/// use mqtt_proto::{Ack, Packet, PacketId, ReasonCode, TxBuf, Version, codec};
///
/// let ack = Packet::PubAck(Ack::new(PacketId::new(7).unwrap(), ReasonCode::SUCCESS));
/// let mut out = TxBuf::new();
/// codec::encode(&ack, Version::V5, &mut out)?;
/// assert_eq!(out.chunk(), [0x40, 2, 0, 7]);
/// # Ok::<(), mqtt_proto::EncodeError>(())
/// ```
pub fn encode(packet: &Packet, version: Version, out: &mut TxBuf) -> Result<(), EncodeError> {
    if let Some(bytes) = short_ack(packet) {
        out.put(bytes);
        return Ok(());
    }
    match packet {
        Packet::Publish(publish) => publish::encode_packet(publish, version, out),
        Packet::PingReq | Packet::PingResp => {
            out.put([(packet.packet_type() as u8) << 4, 0]);
            Ok(())
        }
        _ => encode_rare(packet, version, out),
    }
}

#[inline(never)]
fn encode_rare(packet: &Packet, version: Version, out: &mut TxBuf) -> Result<(), EncodeError> {
    let remaining = remaining_len(packet, version)?;
    let flags = match packet {
        Packet::PubRel(_) | Packet::Subscribe(..) | Packet::Unsubscribe(..) => 0b0010,
        _ => 0,
    };
    let before = out.len();
    out.append(5 + remaining, |out| {
        out.u8((packet.packet_type() as u8) << 4 | flags);
        out.variable(remaining);
        body(packet, version, out);
    });
    check_written(before, remaining, out);
    Ok(())
}

/// Returns an acknowledgement as all versions write it: without reason and properties. Nearly all are so.
#[inline(always)]
fn short_ack(packet: &Packet) -> Option<[u8; 4]> {
    let (first, ack) = match packet {
        Packet::PubAck(ack) => (0x40, ack),
        Packet::PubRec(ack) => (0x50, ack),
        Packet::PubRel(ack) => (0x62, ack),
        Packet::PubComp(ack) => (0x70, ack),
        _ => return None,
    };
    let [high, low] = ack.packet_id.get().to_be_bytes();
    let short = ack.reason == ReasonCode::SUCCESS && ack.properties.is_empty();
    short.then_some([first, 2, high, low])
}

/// The lengths were computed by the code that writes.
#[inline]
fn check_written(before: usize, remaining: usize, out: &TxBuf) {
    let predicted = 1 + variable_len(remaining) + remaining;
    debug_assert_eq!(out.len() - before, predicted, "a packet is not as long as predicted");
}

fn remaining_len(packet: &Packet, version: Version) -> Result<usize, EncodeError> {
    check::check(packet, version)?;
    let mut count = Count(0);
    body(packet, version, &mut count);
    let payload = match packet {
        Packet::Publish(publish) => publish.payload_bytes().len(),
        _ => 0,
    };
    check::remaining(count.0 + payload)
}

/// Returns how many bytes a Variable Byte Integer takes.
pub(super) const fn variable_len(value: usize) -> usize {
    match value {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

/// Where bytes go: into a buffer, or only into a count.
trait Sink {
    fn put(&mut self, bytes: &[u8]);

    /// The same for what is short in most packets.
    #[inline(always)]
    fn put_short(&mut self, bytes: &[u8]) {
        self.put(bytes);
    }

    #[inline]
    fn u8(&mut self, value: u8) {
        self.put(&[value]);
    }

    #[inline]
    fn u16(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    #[inline]
    fn packet_id(&mut self, id: PacketId) {
        self.u16(id.get());
    }

    /// Variable Byte Integer: section 1.5.5.
    #[inline]
    fn variable(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.u8(value as u8);
    }

    /// Binary Data or a string, of a length that was checked.
    #[inline]
    fn field(&mut self, bytes: &[u8]) {
        self.put_behind((bytes.len() as u16).to_be_bytes(), bytes);
    }

    /// What is short in most packets, and a few bytes before it.
    #[inline(always)]
    fn put_behind<const N: usize>(&mut self, head: [u8; N], bytes: &[u8]) {
        self.put(&head);
        self.put_short(bytes);
    }

    /// A property whose value has a length.
    #[inline(always)]
    fn put_property(&mut self, id: Id, value: &[u8]) {
        let [high, low] = (value.len() as u16).to_be_bytes();
        self.put_behind([id as u8, high, low], value);
    }

    /// Property Length and properties.
    fn properties(&mut self, properties: &impl WriteProperties)
    where
        Self: Sized,
    {
        let mut count = Count(0);
        properties.write(&mut count);
        self.variable(count.0);
        properties.write(self);
    }

    #[inline(always)]
    fn property_flag(&mut self, id: Id, value: Option<bool>) {
        if let Some(value) = value {
            self.put(&[id as u8, u8::from(value)]);
        }
    }

    #[inline(always)]
    fn property_u16(&mut self, id: Id, value: Option<u16>) {
        if let Some(value) = value {
            let [high, low] = value.to_be_bytes();
            self.put(&[id as u8, high, low]);
        }
    }

    #[inline(always)]
    fn property_u32(&mut self, id: Id, value: Option<u32>) {
        if let Some(value) = value {
            let [a, b, c, d] = value.to_be_bytes();
            self.put(&[id as u8, a, b, c, d]);
        }
    }

    #[inline(always)]
    fn property_field(&mut self, id: Id, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.put_property(id, value);
        }
    }

    #[inline(always)]
    fn property_text(&mut self, id: Id, value: Option<&Text>) {
        if let Some(value) = value {
            self.put_property(id, value.as_bytes());
        }
    }

    #[inline(always)]
    fn property_user(&mut self, list: &[(Text, Text)]) {
        for (name, value) in list {
            self.put_property(Id::UserProperty, name.as_bytes());
            self.field(value.as_bytes());
        }
    }
}

/// Counts what would be written.
struct Count(usize);

impl Sink for Count {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
}

/// What has no room is lost: the length was computed by the code that writes, and is compared in debug builds.
impl Sink for Writer<'_> {
    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) {
        Writer::put(self, bytes);
    }

    #[inline(always)]
    fn put_short(&mut self, bytes: &[u8]) {
        Writer::put_short(self, bytes);
    }

    #[inline(always)]
    fn put_behind<const N: usize>(&mut self, head: [u8; N], bytes: &[u8]) {
        Writer::put_behind(self, head, bytes);
    }
}

/// The properties of a packet, to be written in the order of their identifiers.
trait WriteProperties {
    fn write(&self, out: &mut impl Sink);
}

/// Writes what follows the fixed header of a packet that was checked, but for a payload.
fn body(packet: &Packet, version: Version, out: &mut impl Sink) {
    match packet {
        Packet::Connect(packet) => connect(packet, version, out),
        Packet::ConnAck(packet) => connack(packet, version, out),
        Packet::Publish(packet) => publish::packet_body(packet, version, out),
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            out.packet_id(ack.packet_id);
            reason_and_properties(ack.reason, &ack.properties, ack.properties.is_empty(), out);
        }
        Packet::Subscribe(id, packet) => subscribe(*id, packet, version, out),
        Packet::SubAck(SubAck { packet_id, reasons, properties })
        | Packet::UnsubAck(UnsubAck { packet_id, reasons, properties }) => {
            out.packet_id(*packet_id);
            if version.is_v5() {
                out.properties(properties);
            }
            for reason in reasons {
                out.u8(reason.get());
            }
        }
        Packet::Unsubscribe(id, packet) => unsubscribe(*id, packet, version, out),
        Packet::PingReq | Packet::PingResp => {}
        Packet::Disconnect(packet) => {
            let bare = packet.session_expiry_interval.is_none()
                && packet.server_reference.is_none()
                && packet.properties.is_empty();
            reason_and_properties(packet.reason, packet, bare, out);
        }
        Packet::Auth(packet) => {
            // The empty form means Success without a method; any other has both fields.
            let bare = packet.authentication_method.is_none();
            reason_and_properties(packet.reason, &**packet, bare, out);
        }
    }
}

/// The shortest form: no properties if there are none, and no Success if nothing follows it.
fn reason_and_properties(
    reason: ReasonCode,
    properties: &impl WriteProperties,
    bare: bool,
    out: &mut impl Sink,
) {
    if bare && reason == ReasonCode::SUCCESS {
        return;
    }
    out.u8(reason.get());
    if !bare {
        out.properties(properties);
    }
}

fn connect(packet: &Connect, version: Version, out: &mut impl Sink) {
    out.field(version.protocol_name().as_bytes());
    out.u8(version.level());
    let bit = |shift: u8, set: bool| u8::from(set) << shift;
    let will = packet
        .will
        .as_ref()
        .map_or(0, |will| bit(2, true) | (will.qos as u8) << 3 | bit(5, will.retain));
    out.u8(bit(7, packet.user_name.is_some())
        | bit(6, packet.password.is_some())
        | will
        | bit(1, packet.clean_start));
    out.u16(packet.keep_alive);
    if version.is_v5() {
        out.properties(packet);
    }
    out.field(packet.client_id.as_bytes());
    if let Some(will) = &packet.will {
        if version.is_v5() {
            out.properties(will);
        }
        out.field(will.topic.as_bytes());
        out.field(&will.payload);
    }
    if let Some(user_name) = &packet.user_name {
        out.field(user_name.as_bytes());
    }
    if let Some(password) = &packet.password {
        out.field(password);
    }
}

impl WriteProperties for Connect {
    fn write(&self, out: &mut impl Sink) {
        out.property_u32(Id::SessionExpiryInterval, self.session_expiry_interval);
        out.property_text(Id::AuthenticationMethod, self.authentication_method.as_ref());
        out.property_field(Id::AuthenticationData, self.authentication_data.as_deref());
        out.property_flag(Id::RequestProblemInformation, self.request_problem_information);
        out.property_flag(Id::RequestResponseInformation, self.request_response_information);
        out.property_u16(Id::ReceiveMaximum, self.receive_maximum);
        out.property_u16(Id::TopicAliasMaximum, self.topic_alias_maximum);
        out.property_user(&self.user_properties);
        out.property_u32(Id::MaximumPacketSize, self.maximum_packet_size);
    }
}

impl WriteProperties for Will {
    fn write(&self, out: &mut impl Sink) {
        publish::properties(&self.properties, None, self.delay_interval, None, out);
    }
}

fn connack(packet: &ConnAck, version: Version, out: &mut impl Sink) {
    out.u8(u8::from(packet.session_present));
    if version.is_v5() {
        out.u8(packet.reason.get());
        out.properties(packet);
    } else {
        out.u8(packet.reason.to_return_code().unwrap_or_default());
    }
}

impl WriteProperties for ConnAck {
    fn write(&self, out: &mut impl Sink) {
        let maximum_qos = self.maximum_qos.filter(|qos| *qos != QoS::ExactlyOnce);
        out.property_u32(Id::SessionExpiryInterval, self.session_expiry_interval);
        out.property_text(Id::AssignedClientIdentifier, self.assigned_client_identifier.as_ref());
        out.property_u16(Id::ServerKeepAlive, self.server_keep_alive);
        out.property_text(Id::AuthenticationMethod, self.authentication_method.as_ref());
        out.property_field(Id::AuthenticationData, self.authentication_data.as_deref());
        out.property_text(Id::ResponseInformation, self.response_information.as_ref());
        out.property_text(Id::ServerReference, self.server_reference.as_ref());
        out.property_text(Id::ReasonString, self.reason_string.as_ref());
        out.property_u16(Id::ReceiveMaximum, self.receive_maximum);
        out.property_u16(Id::TopicAliasMaximum, self.topic_alias_maximum);
        // QoS 2 is what an absent property means, and the wire has no way to say it otherwise.
        out.property_flag(Id::MaximumQoS, maximum_qos.map(|qos| qos == QoS::AtLeastOnce));
        out.property_flag(Id::RetainAvailable, self.retain_available);
        out.property_user(&self.user_properties);
        out.property_u32(Id::MaximumPacketSize, self.maximum_packet_size);
        out.property_flag(Id::WildcardSubscriptionAvailable, self.wildcard_subscription_available);
        out.property_flag(
            Id::SubscriptionIdentifierAvailable,
            self.subscription_identifier_available,
        );
        out.property_flag(Id::SharedSubscriptionAvailable, self.shared_subscription_available);
    }
}

impl WriteProperties for AckProperties {
    fn write(&self, out: &mut impl Sink) {
        out.property_text(Id::ReasonString, self.reason_string());
        out.property_user(self.user_properties());
    }
}

fn subscribe(id: PacketId, packet: &Subscribe, version: Version, out: &mut impl Sink) {
    out.packet_id(id);
    if version.is_v5() {
        out.properties(packet);
    }
    for subscription in &packet.subscriptions {
        out.field(subscription.filter.as_bytes());
        let SubscriptionOptions { qos, no_local, retain_as_published, retain_handling } =
            subscription.options;
        out.u8(qos as u8
            | u8::from(no_local) << 2
            | u8::from(retain_as_published) << 3
            | (retain_handling as u8) << 4);
    }
}

impl WriteProperties for Subscribe {
    fn write(&self, out: &mut impl Sink) {
        if let Some(identifier) = self.subscription_identifier {
            out.u8(Id::SubscriptionIdentifier as u8);
            out.variable(identifier as usize);
        }
        out.property_user(&self.user_properties);
    }
}

fn unsubscribe(id: PacketId, packet: &Unsubscribe, version: Version, out: &mut impl Sink) {
    out.packet_id(id);
    if version.is_v5() {
        out.properties(&packet.user_properties);
    }
    for filter in &packet.filters {
        out.field(filter.as_bytes());
    }
}

impl WriteProperties for UserProperties {
    fn write(&self, out: &mut impl Sink) {
        out.property_user(self);
    }
}

impl WriteProperties for Disconnect {
    fn write(&self, out: &mut impl Sink) {
        out.property_u32(Id::SessionExpiryInterval, self.session_expiry_interval);
        out.property_text(Id::ServerReference, self.server_reference.as_ref());
        self.properties.write(out);
    }
}

impl WriteProperties for Auth {
    fn write(&self, out: &mut impl Sink) {
        out.property_text(Id::AuthenticationMethod, self.authentication_method.as_ref());
        out.property_field(Id::AuthenticationData, self.authentication_data.as_deref());
        out.property_text(Id::ReasonString, self.reason_string.as_ref());
        out.property_user(&self.user_properties);
    }
}
