//! What comes in: packets of both roles are handled here, the others by the role.

use bytes::BytesMut;

use super::{Connection, Core, Logic, SessionState, protocol};
use crate::codec;
use crate::packet::{Ack, AckProperties, Packet, Property, PublishPacket};
use crate::reason::ReasonCode;
use crate::session::error::{CloseReason, PeerError};
use crate::session::event::{Event, Message};
use crate::session::inbound::Arrival;
use crate::session::link::{Phase, Reply};
use crate::time::Instant;
use crate::types::{AckId, PacketType};

impl Core {
    pub(in crate::session) fn input<R: Logic>(
        &mut self,
        role: &mut R,
        input: &mut BytesMut,
        now: Instant,
    ) {
        let known = self.link().map_or(0, |link| link.partial);
        if input.is_empty() {
            return;
        }
        if input.len() != known {
            // What lay there before is no sign of life.
            self.received(now);
        }
        self.handle(role, input, now);
        if let Some(link) = self.link_mut() {
            link.partial = input.len();
        }
    }

    fn handle<R: Logic>(&mut self, role: &mut R, input: &mut BytesMut, now: Instant) {
        loop {
            let result: Result<(), PeerError> = match self.phase() {
                Phase::Closed => {
                    input.clear();
                    return;
                }
                Phase::Accepting if !self.wants_input() => return,
                // One packet decides about what follows it.
                Phase::Connecting | Phase::Accepting => match role.first(self, input, now) {
                    Ok(true) => continue,
                    Ok(false) => return,
                    Err(error) => Err(error),
                },
                Phase::Connected | Phase::Closing => match self.packets(role, input, now) {
                    Ok(()) => return,
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = result {
                let code = error.reason();
                self.end_for(CloseReason::Peer(error), code);
            }
        }
    }

    /// Handles all whole packets of the input, as parts of one block.
    fn packets<R: Logic>(
        &mut self,
        role: &mut R,
        input: &mut BytesMut,
        now: Instant,
    ) -> Result<(), PeerError> {
        let Some(version) = self.link().map(|link| link.version) else { return Ok(()) };
        let mut packets = codec::packets(input, version, self.settings.maximum_packet_size);
        while let Some(packet) = packets.read()? {
            self.packet(role, packet, now)?;
            if self.connection.is_none() {
                input.clear();
                return Ok(());
            }
        }
        Ok(())
    }

    #[inline]
    fn packet<R: Logic>(
        &mut self,
        role: &mut R,
        packet: &mut Packet,
        now: Instant,
    ) -> Result<(), PeerError> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let Connection { link, sending, arrivals, .. } = connection;
        let (outbound, events) = (&mut self.state.outbound, &mut self.events);
        let packet_type = packet.packet_type();
        if !link.problem_information && self.settings.is_client() && has_problem_information(packet)
        {
            let rule = "it has a Reason String or User Properties, which CONNECT did not ask for";
            return Err(protocol(packet_type, rule, ReasonCode::PROTOCOL_ERROR));
        }
        if link.owes_too_much() {
            let rule = "more answers have not been taken than there are Packet Identifiers";
            return Err(protocol(packet_type, rule, ReasonCode::QUOTA_EXCEEDED));
        }
        let answer = match packet {
            Packet::Publish(publish) => return self.publish_in(publish),
            Packet::PubAck(ack) => outbound.puback(sending, link.number, ack.take(), now, events),
            Packet::PubRec(ack) => outbound
                .pubrec(sending, link.number, ack.take(), link.version, now, events)
                .map(|answer| {
                    if let Some((stored, ack)) = answer {
                        link.replies.push_back((stored, Reply::Ack(PacketType::PubRel, ack)));
                    }
                    None
                }),
            Packet::PubRel(ack) => {
                let journal = &mut outbound.journal;
                let known = self.state.inbound.pubrel(arrivals, ack.packet_id, journal);
                let reason = match known {
                    None if link.version.is_v5() => ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
                    _ => ReasonCode::SUCCESS,
                };
                let ack = Ack::new(ack.packet_id, reason);
                let reply = Reply::Ack(PacketType::PubComp, ack);
                // An unknown exchange may have been forgotten just now, on the connection before: that
                // has to be durable as well.
                let stored = known.unwrap_or_else(|| outbound.journal.latest());
                link.replies.push_back((stored, reply));
                self.answer();
                return Ok(());
            }
            Packet::PubComp(ack) => outbound.pubcomp(sending, link.number, ack.take(), events),
            other => match core::mem::replace(other, Packet::PingReq) {
                Packet::SubAck(ack) if self.settings.is_client() => {
                    outbound.suback(sending, ack, events)
                }
                Packet::UnsubAck(ack) if self.settings.is_client() => {
                    outbound.unsuback(sending, ack, link.version, events)
                }
                other => return role.packet(self, other, now),
            },
        };
        self.make_writable();
        match answer {
            Ok(_) => Ok(()),
            Err(rule) => Err(protocol(packet_type, rule, ReasonCode::PROTOCOL_ERROR)),
        }
    }

    #[inline]
    fn publish_in(&mut self, publish: &mut PublishPacket) -> Result<(), PeerError> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let Connection { link, arrivals, receive_maximum, .. } = connection;
        let broken = |rule, reason| protocol(PacketType::Publish, rule, reason);
        if publish.qos() > self.settings.maximum_qos {
            let rule = "the QoS is above the Maximum QoS";
            return Err(broken(rule, ReasonCode::QOS_NOT_SUPPORTED));
        }
        if publish.retain() && !self.settings.retain_available {
            let rule = "RETAIN is set although Retain Available is 0";
            return Err(broken(rule, ReasonCode::RETAIN_NOT_SUPPORTED));
        }
        if !self.settings.is_client()
            && publish.properties().any(|p| matches!(p, Property::SubscriptionIdentifier(_)))
        {
            let rule = "a client sends no Subscription Identifier";
            return Err(broken(rule, ReasonCode::PROTOCOL_ERROR));
        }
        if let Some(alias) = publish.topic_alias() {
            link.resolve(publish, alias)
                .map_err(|(rule, reason)| protocol(PacketType::Publish, rule, reason))?;
        }
        match self.state.inbound.publish(arrivals, publish, *receive_maximum) {
            Arrival::Deliver(ack) => {
                let publish = publish.take();
                self.events.push_back(Event::Message(Message { publish, ack }));
            }
            Arrival::Repeated => self.answer(),
            Arrival::TooMany => {
                let rule = "there are more unanswered messages than Receive Maximum permits";
                return Err(broken(rule, ReasonCode::RECEIVE_MAXIMUM_EXCEEDED));
            }
        }
        Ok(())
    }

    pub(in crate::session) fn ack(
        &mut self,
        ack: AckId,
        reason: ReasonCode,
        properties: AckProperties,
    ) {
        let arrivals = self.connection.as_mut().map(|connection| &mut connection.arrivals);
        // A code that PUBACK and PUBREC do not have still says whether the message was taken.
        let reason = match reason.is_valid_in(PacketType::PubAck) {
            true => reason,
            false if reason.is_error() => ReasonCode::UNSPECIFIED_ERROR,
            false => ReasonCode::SUCCESS,
        };
        let SessionState { outbound, inbound, .. } = &mut self.state;
        inbound.ack(arrivals, ack, (reason, properties), &mut outbound.journal);
        self.answer();
    }

    /// Queues the acknowledgements that may leave now.
    fn answer(&mut self) {
        let Some(Connection { link, arrivals, .. }) = &mut self.connection else { return };
        let v5 = link.version.is_v5();
        let SessionState { outbound, inbound, .. } = &mut self.state;
        while let Some((stored, packet, ack)) =
            inbound.next_answer(arrivals, v5, &mut outbound.journal)
        {
            link.replies.push_back((stored, Reply::Ack(packet, ack)));
        }
    }
}

/// Tells whether a packet has what Request Problem Information 0 asks to leave out: MQTT 5.0 section
/// 3.1.2.11.7 permits it in PUBLISH, CONNACK and DISCONNECT only.
fn has_problem_information(packet: &Packet) -> bool {
    match packet {
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => {
            !ack.properties.is_empty()
        }
        Packet::SubAck(ack) => !ack.properties.is_empty(),
        Packet::UnsubAck(ack) => !ack.properties.is_empty(),
        Packet::Auth(auth) => auth.reason_string.is_some() || !auth.user_properties.is_empty(),
        _ => false,
    }
}
