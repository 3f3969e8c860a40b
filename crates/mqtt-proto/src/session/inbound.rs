//! The receiving side of messages: MQTT 5.0 section 4.3, and the order of acknowledgements: 4.6.

use alloc::collections::{BTreeMap, VecDeque};
use core::num::NonZeroU64;

use super::list::relax;
use super::store::{Journal, StoreKey, StoreSeq};
use crate::packet::{Ack, AckProperties, PublishPacket};
use crate::reason::ReasonCode;
use crate::types::{AckId, PacketId, PacketType, QoS};

/// What the application said to a message.
type Answer = (ReasonCode, AckProperties);

/// What the session remembers of inbound messages, whatever becomes of the connection.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    /// QoS 2 exchanges that PUBREL has not ended. The identifier alone tells a repeated PUBLISH from
    /// a new one; the DUP flag says nothing about that.
    held: BTreeMap<PacketId, Held>,
    /// The numbers of the next message of QoS 1 and of QoS 2.
    next_qos1: u64,
    next_qos2: u64,
}

#[derive(Debug)]
struct Held {
    /// Tells this exchange from a later one with the same identifier.
    number: u64,
    /// `None`: the application has the message and has not answered yet.
    answer: Option<Answer>,
    /// Whether PUBREC has left: then PUBREL may come.
    answered: bool,
    /// What has to be durable before PUBREC may leave, once the message is taken.
    stored: Option<StoreSeq>,
    /// The connection on which it counts against Receive Maximum.
    link: u32,
    /// Whether it waits for PUBREC on that connection.
    queued: bool,
}

/// What one connection remembers of inbound messages.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    link: u32,
    /// QoS 1 messages that PUBACK has not answered, in the order in which they came.
    qos1: VecDeque<(PacketId, Option<Answer>)>,
    /// The number of the first of them.
    first_qos1: u64,
    /// QoS 2 messages that PUBREC has not answered, in the order in which they came.
    qos2: VecDeque<PacketId>,
    /// How many messages count against this side's Receive Maximum.
    unanswered: u32,
}

impl Arrivals {
    /// Gives back what a burst needed.
    pub(super) fn relax(&mut self) {
        relax(&mut self.qos1);
        relax(&mut self.qos2);
    }
}

/// What to do with a PUBLISH.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    Deliver(Option<AckId>),
    /// It was delivered before.
    Repeated,
    /// The peer has exceeded this side's Receive Maximum.
    TooMany,
}

/// An `AckId` is a number, the QoS and the packet identifier.
fn ack_id(number: u64, qos2: bool, id: PacketId) -> Option<AckId> {
    let bits = number << 17 | u64::from(qos2) << 16 | u64::from(id.get());
    NonZeroU64::new(bits).map(AckId)
}

impl Inbound {
    /// Begins a connection.
    pub(super) fn begin(&self, link: u32) -> Arrivals {
        Arrivals { link, first_qos1: self.next_qos1, ..Arrivals::default() }
    }

    /// Takes the place of the inbound half of another session, whose `AckId`s mean nothing here.
    pub(super) fn succeed(&mut self, old: &Inbound) {
        self.next_qos1 = self.next_qos1.max(old.next_qos1);
        self.next_qos2 = self.next_qos2.max(old.next_qos2);
    }

    /// Forgets everything: the session is new.
    pub(super) fn clear(&mut self, journal: &mut Journal) {
        for (id, held) in core::mem::take(&mut self.held) {
            if held.stored.is_some() {
                journal.delete(StoreKey::Inbound(id));
            }
        }
    }

    pub(super) fn publish(
        &mut self,
        arrivals: &mut Arrivals,
        publish: &PublishPacket,
        receive_maximum: u32,
    ) -> Arrival {
        let Some(id) = publish.packet_id() else { return Arrival::Deliver(None) };
        if publish.qos() == QoS::AtLeastOnce {
            if arrivals.unanswered >= receive_maximum {
                return Arrival::TooMany;
            }
            arrivals.unanswered += 1;
            arrivals.qos1.push_back((id, None));
            self.next_qos1 += 1;
            return Arrival::Deliver(ack_id(self.next_qos1 - 1, false, id));
        }
        let repeated = self.held.get_mut(&id);
        let here = repeated.as_ref().is_some_and(|held| held.link == arrivals.link);
        if !here {
            if arrivals.unanswered >= receive_maximum {
                return Arrival::TooMany;
            }
            arrivals.unanswered += 1;
        }
        match repeated {
            Some(held) => {
                held.link = arrivals.link;
                // On this connection it may wait for its answer already; then one answer is enough.
                if !here || !held.queued {
                    held.queued = true;
                    arrivals.qos2.push_back(id);
                }
                Arrival::Repeated
            }
            None => {
                let number = self.next_qos2;
                self.next_qos2 += 1;
                let link = arrivals.link;
                let held = Held {
                    number,
                    answer: None,
                    answered: false,
                    stored: None,
                    link,
                    queued: true,
                };
                self.held.insert(id, held);
                arrivals.qos2.push_back(id);
                Arrival::Deliver(ack_id(number, true, id))
            }
        }
    }

    /// Notes what the application says to a message; what is outdated changes nothing.
    ///
    /// That it has taken one of QoS 2 is to be stored from here on, also while its answer waits for those of
    /// earlier messages, or for a connection: a restart must not bring it back.
    pub(super) fn ack(
        &mut self,
        arrivals: Option<&mut Arrivals>,
        ack: AckId,
        answer: Answer,
        journal: &mut Journal,
    ) {
        let bits = ack.0.get();
        let number = bits >> 17;
        if bits & 1 << 16 == 0 {
            let Some(arrivals) = arrivals else { return };
            let Some(index) = number.checked_sub(arrivals.first_qos1) else { return };
            if let Some((_, slot)) = arrivals.qos1.get_mut(index as usize) {
                slot.get_or_insert(answer);
            }
        } else if let Some(id) = PacketId::new(bits as u16)
            && let Some(held) = self.held.get_mut(&id)
            && held.number == number
            && held.answer.is_none()
        {
            if !answer.0.is_error() {
                held.stored = Some(journal.taken(id));
            }
            held.answer = Some(answer);
        }
    }

    /// Hands out the next acknowledgement that may leave: none before those of earlier messages.
    ///
    /// MQTT 3.x has no way to refuse a message: there every answer is a plain acknowledgement.
    pub(super) fn next_answer(
        &mut self,
        arrivals: &mut Arrivals,
        v5: bool,
        journal: &mut Journal,
    ) -> Option<(StoreSeq, PacketType, Ack)> {
        let plain = |(reason, properties): Answer| {
            if v5 { (reason, properties) } else { (ReasonCode::SUCCESS, AckProperties::NONE) }
        };
        if let Some((_, Some(_))) = arrivals.qos1.front()
            && let Some((packet_id, Some(answer))) = arrivals.qos1.pop_front()
        {
            arrivals.first_qos1 += 1;
            arrivals.unanswered = arrivals.unanswered.saturating_sub(1);
            let (reason, properties) = plain(answer);
            let ack = Ack { packet_id, reason, properties };
            return Some((StoreSeq::default(), PacketType::PubAck, ack));
        }
        let packet_id = *arrivals.qos2.front()?;
        let Some(held) = self.held.get_mut(&packet_id) else {
            // Not reached: an exchange leaves the table only after its answer has left the queue.
            arrivals.qos2.pop_front();
            return None;
        };
        let (reason, properties) = plain(held.answer.clone()?);
        arrivals.qos2.pop_front();
        let mut stored = StoreSeq::default();
        if reason.is_error() {
            self.held.remove(&packet_id);
            arrivals.unanswered = arrivals.unanswered.saturating_sub(1);
        } else {
            if !v5 {
                // It may have been a refusal; what was said stays said, also on a connection of MQTT 5.0.
                held.answer = Some((reason, AckProperties::NONE));
            }
            held.answered = true;
            stored = *held.stored.get_or_insert_with(|| journal.taken(packet_id));
            held.queued = false;
        }
        Some((stored, PacketType::PubRec, Ack { packet_id, reason, properties }))
    }

    /// Ends a QoS 2 exchange; returns what has to be durable before PUBCOMP may leave, or `None` if there was
    /// none that PUBREL could end.
    ///
    /// It ends in any case: PUBCOMP follows, and then the identifier stands for a new message
    /// (MQTT-4.3.3-12).
    pub(super) fn pubrel(
        &mut self,
        arrivals: &mut Arrivals,
        id: PacketId,
        journal: &mut Journal,
    ) -> Option<StoreSeq> {
        let held = self.held.remove(&id)?;
        if held.link == arrivals.link {
            arrivals.unanswered = arrivals.unanswered.saturating_sub(1);
            if held.queued {
                // A repeated PUBLISH has crossed PUBREL, or PUBREL came too early.
                arrivals.qos2.retain(|queued| *queued != id);
            }
        }
        let gone = held.stored.is_some().then(|| journal.delete(StoreKey::Inbound(id)));
        held.answered.then(|| gone.unwrap_or_default())
    }

    /// Enters a message that the application had taken before a restart.
    pub(super) fn restore(&mut self, id: PacketId) {
        let number = self.next_qos2;
        self.next_qos2 += 1;
        let answer = Some((ReasonCode::SUCCESS, AckProperties::NONE));
        let stored = Some(StoreSeq::default());
        let held = Held { number, answer, answered: true, stored, link: 0, queued: false };
        self.held.insert(id, held);
    }

    /// Returns how many messages wait for an answer or for PUBREL.
    pub(super) fn unfinished(&self, arrivals: Option<&Arrivals>) -> usize {
        self.held.len() + arrivals.map_or(0, |arrivals| arrivals.qos1.len())
    }

    /// Tells whether an acknowledgement is still owed to the peer.
    pub(super) fn owes(&self, arrivals: Option<&Arrivals>) -> bool {
        arrivals.is_some_and(|arrivals| !arrivals.qos1.is_empty() || !arrivals.qos2.is_empty())
    }
}
