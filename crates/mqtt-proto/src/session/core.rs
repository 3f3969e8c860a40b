//! What both roles share: dispatch, the send scheduler, and the ends of connections.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::time::Duration;

use bytes::BytesMut;

use super::config::Bounds;
use super::error::{CloseReason, CommandError, PeerError, PublishError};
use super::event::{Event, Message};
use super::inbound::{Arrival, Arrivals, Inbound};
use super::limits::Limits;
use super::link::{Link, Phase, Reply};
use super::outbound::{Outbound, Request, Sending, has_v5_properties};
use super::role::Logic;
use super::timers::Timer;
use crate::codec;
use crate::packet::{
    Ack, AckProperties, Disconnect, Packet, Property, Publish, PublishPacket, Will,
};
use crate::reason::ReasonCode;
use crate::time::Instant;
use crate::txbuf::TxBuf;
use crate::types::{AckId, PacketId, PacketType, QoS, Token, Version};

/// What a session keeps while it is not connected, to be handed to a later one.
#[derive(Debug, Default)]
pub struct SessionState {
    outbound: Outbound,
    inbound: Inbound,
}

impl SessionState {
    /// Tells whether it holds anything.
    pub fn is_empty(&self) -> bool {
        self.outbound.is_empty() && self.inbound.unfinished(None) == 0
    }
}

/// What a session holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages that were accepted and never sent.
    pub queued: usize,
    /// Messages that were sent and not completed.
    pub in_flight: usize,
    /// Bytes of both.
    pub held_bytes: usize,
    /// SUBSCRIBE and UNSUBSCRIBE without an answer.
    pub requests: usize,
    /// Inbound messages that wait for the application's answer or for PUBREL.
    pub unfinished_inbound: usize,
}

/// What does not change in the life of a session.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "public in name only: `Role::new` returns it")]
pub struct Settings {
    pub(super) bounds: Bounds,
    pub(super) maximum_packet_size: u32,
    /// The version, where it is known before the connection.
    pub(super) version: Option<Version>,
    /// How long to wait after PINGREQ, or `None` for the side that does not send it.
    pub(super) ping_timeout: Option<Duration>,
    /// What this side permits of inbound messages: (QoS, retain). A client takes everything.
    pub(super) maximum_qos: QoS,
    pub(super) retain_available: bool,
}

impl Settings {
    const fn is_client(&self) -> bool {
        self.ping_timeout.is_some()
    }
}

/// The role-less part of a session.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "public in name only: the methods of `Logic` take it")]
pub struct Core {
    pub(super) settings: Settings,
    state: SessionState,
    connection: Option<Connection>,
    /// A packet that is sent although its connection has ended for this side: DISCONNECT or CONNACK.
    last_words: Option<(Version, Packet)>,
    events: VecDeque<Event>,
    now: Instant,
    links: u32,
    /// Whether a message was handed back, so that `Writable` has to follow.
    refused: bool,
}

/// One connection: the facts, and what each direction remembers of it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) link: Link,
    sending: Sending,
    arrivals: Arrivals,
    /// How many unanswered QoS 1 and 2 messages this side takes.
    receive_maximum: u32,
    /// What the server has to publish if the connection breaks.
    pub(super) will: Option<Box<Will>>,
}

/// Shorthand for a fault of the peer.
pub(super) const fn protocol(
    packet: PacketType,
    rule: &'static str,
    reason: ReasonCode,
) -> PeerError {
    PeerError::Protocol { packet, rule, reason }
}

impl Core {
    pub(super) fn new(state: SessionState, settings: Settings) -> Core {
        Core {
            settings,
            state,
            connection: None,
            last_words: None,
            events: VecDeque::new(),
            now: Instant::EPOCH,
            links: 0,
            refused: false,
        }
    }

    pub(super) fn into_state(mut self) -> SessionState {
        self.state.outbound.end();
        self.state
    }

    /// Takes the time, which never runs backwards.
    pub(super) fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    // --- the life of a connection ---

    /// Begins a connection.
    pub(super) fn open(&mut self, version: Version, limits: Limits) {
        self.last_words = None;
        self.links = self.links.wrapping_add(1);
        self.connection = Some(Connection {
            link: Link::new(self.links, version, limits),
            sending: Sending::default(),
            arrivals: Arrivals::default(),
            receive_maximum: u32::MAX,
            will: None,
        });
    }

    /// Lets messages flow: the connection was accepted.
    pub(super) fn establish(&mut self, limits: Limits, receive_maximum: u32, now: Instant) {
        let Some(connection) = &mut self.connection else { return };
        connection.link.phase = Phase::Connected;
        connection.link.limits = limits;
        connection.link.timers.stop(Timer::Connect);
        connection.receive_maximum = receive_maximum;
        connection.sending = self.state.outbound.begin();
        connection.arrivals = self.state.inbound.begin(connection.link.number);
        // From CONNECT on, not from CONNACK: that is how the server counts.
        let sent_at = connection.link.sent_at;
        self.sent(sent_at);
        self.received(now);
    }

    /// Replaces the state: the server goes on with that of another connection.
    pub(super) fn set_state(&mut self, state: SessionState) {
        self.state = state;
    }

    /// The server has no session: what this side knows of one is outdated.
    ///
    /// `keep_outbound` is the rule of MQTT 3.x: what is in flight is sent again all the same.
    pub(super) fn session_lost(&mut self, keep_outbound: bool, resend_qos2: bool) {
        self.state.inbound.clear();
        if !keep_outbound {
            self.state.outbound.session_lost(resend_qos2, &mut self.events);
        }
        self.make_writable();
    }

    /// Ends the connection, if there is one, and says so.
    pub(super) fn end(&mut self, reason: CloseReason) {
        if let Some(connection) = self.connection.take() {
            self.state.outbound.end();
            self.events.push_back(Event::Closed { reason, will: connection.will });
        }
    }

    /// Ends the connection, and sends one more packet if there is one to say why.
    pub(super) fn end_with(&mut self, reason: CloseReason, last: Option<Packet>) {
        if let Some(connection) = &self.connection {
            self.last_words = last.map(|packet| (connection.link.version, packet));
        }
        self.end(reason);
    }

    /// Ends the connection as the standard says for that reason: MQTT 5.0 has a DISCONNECT for it.
    pub(super) fn end_for(&mut self, reason: CloseReason, code: ReasonCode) {
        let says = self.connection.as_ref().is_some_and(|connection| {
            connection.link.version.is_v5()
                && matches!(connection.link.phase, Phase::Connected | Phase::Closing)
        });
        let last = says.then(|| Packet::Disconnect(Disconnect::new(code)));
        self.end_with(reason, last);
    }

    pub(super) fn eof(&mut self) {
        self.last_words = None;
        self.end(CloseReason::Eof);
    }

    pub(super) fn disconnect(
        &mut self,
        disconnect: Disconnect,
        _now: Instant,
    ) -> Result<(), CommandError> {
        let connected = self.link_mut().filter(|link| link.phase == Phase::Connected);
        let Some(link) = connected else { return Err(CommandError::NotConnected) };
        link.phase = Phase::Closing;
        link.disconnect = Some(disconnect);
        Ok(())
    }

    pub(super) fn link(&self) -> Option<&Link> {
        self.connection.as_ref().map(|connection| &connection.link)
    }

    pub(super) fn link_mut(&mut self) -> Option<&mut Link> {
        self.connection.as_mut().map(|connection| &mut connection.link)
    }

    pub(super) fn connection_mut(&mut self) -> Option<&mut Connection> {
        self.connection.as_mut()
    }

    pub(super) fn event(&mut self, event: Event) {
        self.events.push_back(event);
    }

    pub(super) fn reply(&mut self, reply: Reply) {
        if let Some(link) = self.link_mut() {
            link.replies.push_back(reply);
        }
    }

    // --- what comes in ---

    pub(super) fn input<R: Logic>(&mut self, role: &mut R, input: &mut BytesMut, now: Instant) {
        if input.is_empty() {
            return;
        }
        self.received(now);
        loop {
            let result: Result<(), PeerError> = match self.phase() {
                Phase::Closed => {
                    input.clear();
                    return;
                }
                // One packet decides about what follows it.
                Phase::Connecting => match role.first(self, input, now) {
                    Ok(true) => continue,
                    Ok(false) => return,
                    Err(error) => Err(error),
                },
                Phase::Accepting => return,
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
        let max = self.settings.maximum_packet_size;
        let mut whole = 0;
        // A bad header is found again below, after the packets before it.
        while let Some(rest) = input.get(whole..)
            && let Ok(Some(header)) = codec::header(rest, max)
            && header.packet_len as usize <= rest.len()
        {
            whole += header.packet_len as usize;
        }
        let block = input.split_to(whole).freeze();
        let mut at = 0;
        while let Some(header) = codec::header(block.get(at..).unwrap_or_default(), max)? {
            let packet = codec::decode_at(&block, at, header, version)?;
            at += header.packet_len as usize;
            self.packet(role, packet, now)?;
            if self.connection.is_none() {
                input.clear();
                return Ok(());
            }
        }
        codec::header(input, max)?;
        Ok(())
    }

    #[inline]
    fn packet<R: Logic>(
        &mut self,
        role: &mut R,
        packet: Packet,
        now: Instant,
    ) -> Result<(), PeerError> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let Connection { link, sending, arrivals, .. } = connection;
        let (outbound, events) = (&mut self.state.outbound, &mut self.events);
        let packet_type = packet.packet_type();
        let answer = match packet {
            Packet::Publish(publish) => return self.publish_in(publish),
            Packet::PubAck(ack) => outbound.puback(sending, link.number, ack, events),
            Packet::PubRec(ack) => {
                outbound.pubrec(sending, link.number, ack, link.version, events).map(|answer| {
                    if let Some(ack) = answer {
                        link.replies.push_back(Reply::Ack(PacketType::PubRel, ack));
                    }
                    None
                })
            }
            Packet::PubRel(ack) => {
                let known = self.state.inbound.pubrel(arrivals, ack.packet_id);
                let unknown = !known && link.version.is_v5();
                let reason = if unknown {
                    ReasonCode::PACKET_IDENTIFIER_NOT_FOUND
                } else {
                    ReasonCode::SUCCESS
                };
                let ack = Ack::new(ack.packet_id, reason);
                link.replies.push_back(Reply::Ack(PacketType::PubComp, ack));
                Ok(None)
            }
            Packet::PubComp(ack) => outbound.pubcomp(sending, link.number, ack, events),
            Packet::SubAck(ack) if self.settings.is_client() => {
                outbound.suback(sending, ack, events)
            }
            Packet::UnsubAck(ack) if self.settings.is_client() => {
                outbound.unsuback(sending, ack, link.version, events)
            }
            other => return role.packet(self, other, now),
        };
        self.make_writable();
        match answer {
            Ok(_) => Ok(()),
            Err(rule) => Err(protocol(packet_type, rule, ReasonCode::PROTOCOL_ERROR)),
        }
    }

    #[inline]
    fn publish_in(&mut self, mut publish: PublishPacket) -> Result<(), PeerError> {
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
            link.resolve(&mut publish, alias)
                .map_err(|(rule, reason)| protocol(PacketType::Publish, rule, reason))?;
        }
        match self.state.inbound.publish(arrivals, &publish, *receive_maximum) {
            Arrival::Deliver(ack) => {
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

    pub(super) fn ack(&mut self, ack: AckId, reason: ReasonCode, properties: AckProperties) {
        let arrivals = self.connection.as_mut().map(|connection| &mut connection.arrivals);
        // A code that PUBACK and PUBREC do not have still says whether the message was taken.
        let reason = match reason.is_valid_in(PacketType::PubAck) {
            true => reason,
            false if reason.is_error() => ReasonCode::UNSPECIFIED_ERROR,
            false => ReasonCode::SUCCESS,
        };
        self.state.inbound.ack(arrivals, ack, (reason, properties));
        self.answer();
    }

    /// Queues the acknowledgements that may leave now.
    fn answer(&mut self) {
        let Some(Connection { link, arrivals, .. }) = &mut self.connection else { return };
        let v5 = link.version.is_v5();
        while let Some((packet, ack)) = self.state.inbound.next_answer(arrivals, v5) {
            link.replies.push_back(Reply::Ack(packet, ack));
        }
    }

    // --- what goes out ---

    #[inline]
    pub(super) fn publish(
        &mut self,
        publish: Publish,
        now: Instant,
    ) -> Result<Token, PublishError> {
        let link = self.link();
        let version = link.map(|link| link.version).or(self.settings.version);
        if link.is_some_and(|link| link.phase == Phase::Closing) {
            return Err(PublishError::Closing(Box::new(publish)));
        }
        if self.settings.is_client()
            && let Some(fields) = publish.properties.get()
        {
            if !fields.subscription_identifiers.is_empty() {
                let what = "subscription identifiers in messages from a client";
                return Err(PublishError::NotSupported(what));
            }
            if version.is_some_and(|version| !version.is_v5()) && has_v5_properties(fields) {
                let what = "properties of messages: they need MQTT 5.0";
                return Err(PublishError::NotSupported(what));
            }
        }
        if let Some(link) = link.filter(|link| link.phase == Phase::Connected) {
            if let Some(what) = link.limits.lacks_for_publish(&publish) {
                return Err(PublishError::NotSupported(what));
            }
            let oversize = Outbound::oversize(&publish, &link.wire());
            if let Some(size) = oversize.map_err(PublishError::Invalid)? {
                let limit = link.limits.maximum_packet_size;
                return Err(PublishError::TooLarge { size, limit });
            }
        }
        let size = Outbound::size(&publish);
        if !self.state.outbound.has_room(size, &self.settings.bounds) {
            self.refused = true;
            return Err(PublishError::Full(Box::new(publish)));
        }
        Ok(self.state.outbound.push(publish, size, now))
    }

    pub(super) fn cancel(&mut self, token: Token) -> Option<Publish> {
        let publish = self.state.outbound.cancel(token)?;
        self.make_writable();
        Some(publish)
    }

    /// Says that there is room again, if somebody was told that there was none.
    fn make_writable(&mut self) {
        if self.refused && self.state.outbound.has_room(0, &self.settings.bounds) {
            self.refused = false;
            self.events.push_back(Event::Writable);
        }
    }

    pub(super) fn request(&mut self, request: Request) -> Result<Token, CommandError> {
        if self.link().is_some_and(|link| link.phase == Phase::Closing) {
            return Err(CommandError::NotConnected);
        }
        if self.state.outbound.requests() >= self.settings.bounds.requests {
            return Err(CommandError::Full);
        }
        Ok(self.state.outbound.push_request(request))
    }

    pub(super) fn transmit(&mut self, out: &mut TxBuf, now: Instant) -> bool {
        let before = out.len();
        if self.connection.is_some() {
            if let Err(reason) = self.transmit_connection(out, now) {
                self.end(reason);
            }
            if out.len() > before {
                self.sent(now);
                self.make_writable();
            }
        }
        if let Some((version, packet)) = self.last_words.take() {
            // It was made to fit; if the peer takes not even that, there is nothing left to say.
            let _ = codec::encode(&packet, version, out);
        }
        out.len() > before
    }

    fn transmit_connection(&mut self, out: &mut TxBuf, now: Instant) -> Result<(), CloseReason> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let Connection { link, sending, .. } = connection;
        let outbound = &mut self.state.outbound;
        while let Some(packet) = link.handshake.pop_front() {
            codec::encode(&packet, link.version, out).map_err(CloseReason::Local)?;
        }
        if !matches!(link.phase, Phase::Connected | Phase::Closing) {
            return Ok(());
        }
        while !out.is_full()
            && let Some(reply) = link.replies.pop_front()
        {
            link.encode_reply(reply, out).map_err(CloseReason::Local)?;
        }
        if link.ping_due && !out.is_full() {
            link.ping_due = false;
            link.ping_outstanding = true;
            codec::encode(&Packet::PingReq, link.version, out).map_err(CloseReason::Local)?;
            let deadline = self.settings.ping_timeout.map(|timeout| now + timeout);
            link.timers.set(Timer::PingResp, deadline);
        }
        let wire = link.wire();
        let events = &mut self.events;
        while !out.is_full() && outbound.resend(sending, &wire, out, now, events) {}
        while !out.is_full() && outbound.send_request(&wire, out, events) {}
        while !out.is_full()
            && !Outbound::is_resending(sending)
            && outbound.send_next(sending, &wire, out, now, events)
        {}
        if link.phase == Phase::Closing && !out.is_full() {
            let disconnect = link.disconnect.take().unwrap_or_default();
            let version = link.version;
            let packet = match version {
                Version::V5 => Some(Packet::Disconnect(link.shortened(disconnect))),
                _ => self.settings.is_client().then(|| Packet::Disconnect(Disconnect::default())),
            };
            if let Some(packet) = packet {
                codec::encode(&packet, version, out).map_err(CloseReason::Local)?;
            }
            return Err(CloseReason::Requested);
        }
        Ok(())
    }

    // --- time ---

    /// Something was sent: the client's Keep Alive begins anew.
    fn sent(&mut self, now: Instant) {
        let client = self.settings.is_client();
        if let Some(link) = self.link_mut() {
            link.sent_at = now;
            if client && link.phase == Phase::Connected {
                let deadline = link.keep_alive_from(now);
                link.timers.set(Timer::Send, deadline);
            }
        }
    }

    /// Something was received: the peer is alive.
    fn received(&mut self, now: Instant) {
        let ping_timeout = self.settings.ping_timeout;
        if let Some(link) = self.link_mut()
            && link.phase != Phase::Connecting
        {
            let deadline = link.keep_alive_from(now);
            link.timers.set(Timer::Receive, deadline);
            if link.ping_outstanding {
                // PINGRESP may stand behind a lot of messages; whoever sends those is alive.
                link.timers.set(Timer::PingResp, ping_timeout.map(|timeout| now + timeout));
            }
        }
    }

    /// Takes a due deadline.
    pub(super) fn take_due(&mut self, timer: Timer, now: Instant) -> bool {
        self.link_mut().is_some_and(|link| link.timers.take_due(timer, now))
    }

    // --- getters ---

    #[inline]
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if event.is_none() {
            // Idle: what a burst needed is given back.
            self.events.shrink_to(8);
        }
        event
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.link()?.timers.next()
    }

    pub(super) fn phase(&self) -> Phase {
        self.link().map_or(Phase::Closed, |link| link.phase)
    }

    pub(super) fn wants_input(&self) -> bool {
        matches!(self.phase(), Phase::Connecting | Phase::Connected | Phase::Closing)
    }

    pub(super) fn is_idle(&self) -> bool {
        let arrivals = self.connection.as_ref().map(|connection| &connection.arrivals);
        let replies = self.link().is_some_and(|link| !link.replies.is_empty());
        self.state.outbound.is_empty() && !self.state.inbound.owes(arrivals) && !replies
    }

    pub(super) fn limits(&self) -> Option<&Limits> {
        self.link().filter(|link| link.phase == Phase::Connected).map(|link| &link.limits)
    }

    pub(super) fn stats(&self) -> Stats {
        let arrivals = self.connection.as_ref().map(|connection| &connection.arrivals);
        let SessionState { outbound, inbound } = &self.state;
        Stats {
            queued: outbound.queued(),
            in_flight: outbound.messages_in_flight(),
            held_bytes: outbound.held_bytes(),
            requests: outbound.requests(),
            unfinished_inbound: inbound.unfinished(arrivals),
        }
    }
}

/// Any identifier: for checks of packets that have none yet.
pub(super) const ANY_ID: PacketId = PacketId::MIN;
