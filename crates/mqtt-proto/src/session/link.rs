//! All that dies with a connection, but for what belongs to one direction of messages.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::error::{CloseReason, PeerError};
use super::limits::{Limits, Wire};
use super::store::StoreSeq;
use super::timers::Timers;
use crate::codec;
use crate::error::EncodeError;
use crate::packet::{Ack, AckProperties, Disconnect, Packet, PublishPacket};
use crate::reason::ReasonCode;
use crate::time::Instant;
use crate::topic::TopicName;
use crate::txbuf::TxBuf;
use crate::types::{PacketId, PacketType, Version};

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// There is none, or it has ended.
    Closed,
    /// CONNECT or CONNACK is awaited.
    Connecting,
    /// CONNECT has come and the application has not answered yet (server).
    Accepting,
    /// CONNACK has accepted the connection.
    Connected,
    /// DISCONNECT will be sent.
    Closing,
}

/// A packet that answers the peer, small as long as it is an acknowledgement.
#[derive(Debug)]
pub(super) enum Reply {
    Ack(PacketType, Ack),
    Packet(Box<Packet>),
}

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    /// Tells this connection from the ones before it; given when it is accepted.
    pub(super) number: u32,
    pub(super) version: Version,
    pub(super) phase: Phase,
    pub(super) limits: Limits,
    /// Whether messages go out without the properties that the version does not have (server).
    pub(super) drops_properties: bool,
    pub(super) timers: Timers,
    /// The longest time between two packets that this side sends (client) or gets (server); zero: any.
    pub(super) keep_alive: core::time::Duration,
    /// CONNECT, CONNACK and AUTH: what may be sent before the connection stands.
    pub(super) handshake: VecDeque<Packet>,
    /// Answers, each with what has to be durable before it may leave.
    pub(super) replies: VecDeque<(StoreSeq, Reply)>,
    /// How many PINGRESP are owed (server). They are all alike, so a peer that takes none costs nothing.
    pub(super) pings_owed: u32,
    /// What has to be durable before anything leaves: that a lost session is forgotten. Otherwise a restart
    /// would bring its messages back into the new one.
    pub(super) forgotten: StoreSeq,
    /// How much of a packet lay in the input when it was last looked at.
    pub(super) partial: usize,
    /// Whether the next step of an authentication is the client's.
    pub(super) auth_owed: bool,
    /// Whether a re-authentication is under way (client).
    pub(super) reauthenticating: bool,
    /// When something was last sent.
    pub(super) sent_at: Instant,
    /// Whether something was sent that `sent_at` does not know of, because nobody said what time it was.
    pub(super) sent_between: bool,
    /// How far writing had got when it was last looked at.
    pub(super) write_progress: u64,
    /// Whether Reason Strings and User Properties may stand in any packet (MQTT-3.1.2-29).
    pub(super) problem_information: bool,
    pub(super) ping_due: bool,
    pub(super) ping_outstanding: bool,
    /// What to send last.
    pub(super) disconnect: Option<Disconnect>,
    /// What the peer's topic aliases stand for; the first is alias 1.
    pub(super) aliases: Vec<Option<Arc<TopicName>>>,
    /// How many aliases the peer may use.
    pub(super) alias_maximum: u16,
    /// SUBSCRIBE and UNSUBSCRIBE that the application has not answered: packet id, type, filters (server).
    pub(super) requests: Vec<(PacketId, PacketType, usize)>,
}

impl Link {
    pub(super) fn new(version: Version, limits: Limits) -> Link {
        Link {
            number: 0,
            version,
            phase: Phase::Connecting,
            limits,
            drops_properties: false,
            timers: Timers::default(),
            keep_alive: core::time::Duration::ZERO,
            handshake: VecDeque::new(),
            replies: VecDeque::new(),
            pings_owed: 0,
            forgotten: StoreSeq::default(),
            partial: 0,
            auth_owed: false,
            reauthenticating: false,
            sent_at: Instant::EPOCH,
            sent_between: false,
            write_progress: 0,
            problem_information: true,
            ping_due: false,
            ping_outstanding: false,
            disconnect: None,
            aliases: Vec::new(),
            alias_maximum: 0,
            requests: Vec::new(),
        }
    }

    /// Tells whether the peer goes on to ask although it has more answers to come than it can be owed: one
    /// for each Packet Identifier of either side.
    pub(super) fn owes_too_much(&self) -> bool {
        self.replies.len() + self.requests.len() > 2 * usize::from(u16::MAX)
    }

    /// Returns a deadline one Keep Alive from then, or `None` if there is none.
    pub(super) fn keep_alive_from(&self, now: Instant) -> Option<Instant> {
        (!self.keep_alive.is_zero()).then(|| now + self.keep_alive)
    }

    pub(super) const fn wire(&self) -> Wire<'_> {
        let Link { number: link, version, drops_properties, ref limits, .. } = *self;
        Wire { link, version, drops_properties, limits }
    }

    /// Puts the topic into a message that has an alias: MQTT 5.0 section 3.3.2.3.4.
    pub(super) fn resolve(
        &mut self,
        publish: &mut PublishPacket,
        alias: u16,
    ) -> Result<(), (&'static str, ReasonCode)> {
        if alias > self.alias_maximum {
            let rule = "the Topic Alias is above the Topic Alias Maximum";
            return Err((rule, ReasonCode::TOPIC_ALIAS_INVALID));
        }
        let index = usize::from(alias) - 1;
        if let Some(topic) = publish.topic_name() {
            if self.aliases.len() <= index {
                self.aliases.resize_with(index + 1, || None);
            }
            if let Some(slot) = self.aliases.get_mut(index) {
                // Copied, so that an alias does not keep the block alive that it came with.
                *slot = Some(Arc::new(topic.into_owned()));
            }
            return Ok(());
        }
        let known = self.aliases.get(index).and_then(Option::as_ref);
        let Some(topic) = known else {
            return Err(("the Topic Alias is not known", ReasonCode::PROTOCOL_ERROR));
        };
        publish.alias_topic = Some(Arc::clone(topic));
        Ok(())
    }

    /// Encodes an answer, without its Reason String and User Properties if the peer does not take
    /// that much (MQTT-3.4.2-2 and the like) or does not want them (MQTT-3.1.2-29).
    pub(super) fn encode_reply(&self, reply: Reply, out: &mut TxBuf) -> Result<(), CloseReason> {
        let mut packet = match reply {
            Reply::Ack(PacketType::PubAck, ack) => Packet::PubAck(ack),
            Reply::Ack(PacketType::PubRec, ack) => Packet::PubRec(ack),
            Reply::Ack(PacketType::PubRel, ack) => Packet::PubRel(ack),
            Reply::Ack(_, ack) => Packet::PubComp(ack),
            Reply::Packet(packet) => *packet,
        };
        if !self.shorten(&mut packet).map_err(CloseReason::Local)? {
            let rule = "its Maximum Packet Size leaves no room for the answer";
            let reason = ReasonCode::PACKET_TOO_LARGE;
            let packet = packet.packet_type();
            return Err(CloseReason::Peer(PeerError::Protocol { packet, rule, reason }));
        }
        codec::encode(&packet, self.version, out).map_err(CloseReason::Local)
    }

    /// Leaves Reason String and User Properties out if the peer does not take that much
    /// (MQTT-3.2.2-19, -20, MQTT-3.4.2-2, -3 and the like); tells whether the packet fits then.
    pub(super) fn shorten(&self, packet: &mut Packet) -> Result<bool, EncodeError> {
        let fits = |packet: &Packet| {
            let len = codec::encoded_len(packet, self.version)?;
            Ok(len <= self.limits.maximum_packet_size as usize)
        };
        let unwanted = !self.problem_information
            && !matches!(packet, Packet::ConnAck(_) | Packet::Disconnect(_));
        if !unwanted && fits(packet)? {
            return Ok(true);
        }
        match packet {
            Packet::PubAck(ack) | Packet::PubRec(ack) => ack.properties = AckProperties::NONE,
            Packet::SubAck(ack) => ack.properties = AckProperties::NONE,
            Packet::UnsubAck(ack) => ack.properties = AckProperties::NONE,
            Packet::Disconnect(disconnect) => disconnect.properties = AckProperties::NONE,
            Packet::ConnAck(connack) => {
                connack.reason_string = None;
                connack.user_properties = Vec::new();
            }
            Packet::Auth(auth) => {
                auth.reason_string = None;
                auth.user_properties = Vec::new();
            }
            _ => {}
        }
        fits(packet)
    }
}
