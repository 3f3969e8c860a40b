//! What the peer answers to messages and requests.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::mem;

use super::{Exchange, InFlight, Outbound, Request, Sending, published};
use crate::packet::{Ack, SubAck, UnsubAck};
use crate::reason::ReasonCode;
use crate::session::event::Event;
use crate::session::list::Key;
use crate::session::store::StoreSeq;
use crate::time::Instant;
use crate::types::{PacketId, QoS, Version};

/// What to answer to an acknowledgement, and what has to be durable before; an error names the rule
/// that it breaks.
pub(in crate::session) type Answer = Result<Option<(StoreSeq, Ack)>, &'static str>;

const WRONG_KIND: &str = "the packet identifier belongs to an exchange of another kind";

impl Outbound {
    fn find(&mut self, id: PacketId) -> Option<(Key, &mut InFlight)> {
        let key = self.ids.get(id)?;
        Some((key, self.in_flight.get_mut(key)?))
    }

    /// PUBACK. An identifier that nobody knows is a late answer, and harmless.
    #[inline]
    pub(in crate::session) fn puback(
        &mut self,
        sending: &mut Sending,
        link: u32,
        ack: Ack,
        now: Instant,
        events: &mut VecDeque<Event>,
    ) -> Answer {
        let Some((key, entry)) = self.find(ack.packet_id) else { return Ok(None) };
        match &entry.exchange {
            Exchange::Publish { publish, .. } if publish.qos == QoS::AtLeastOnce => {
                let token = entry.token;
                sending.probe.answered(token, now);
                self.finish(sending, link, key);
                events.push_back(published(token, ack.reason, ack.properties));
                Ok(None)
            }
            _ => Err(WRONG_KIND),
        }
    }

    /// PUBREC. Returns the PUBREL that answers it.
    pub(in crate::session) fn pubrec(
        &mut self,
        sending: &mut Sending,
        link: u32,
        ack: Ack,
        version: Version,
        now: Instant,
        events: &mut VecDeque<Event>,
    ) -> Answer {
        let id = ack.packet_id;
        let Some((key, entry)) = self.find(id) else {
            if let Some(answer) = self.given_up_pubrec(link, &ack) {
                return Ok(answer);
            }
            // MQTT 3.1.1 has no way to say that the identifier is unknown.
            let unknown = Ack::new(id, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND);
            let answers = version.is_v5() && !ack.reason.is_error();
            return Ok(answers.then_some((StoreSeq::default(), unknown)));
        };
        let token = entry.token;
        sending.probe.answered(token, now);
        match &mut entry.exchange {
            Exchange::Publish { publish, .. } if publish.qos != QoS::ExactlyOnce => Err(WRONG_KIND),
            Exchange::Request(_) => Err(WRONG_KIND),
            _ if ack.reason.is_error() => {
                self.finish(sending, link, key);
                events.push_back(published(token, ack.reason, ack.properties));
                Ok(None)
            }
            Exchange::Publish { size, .. } => {
                let size = *size;
                if entry.link != link {
                    // Not sent again yet, and never will be; from now on it takes of the quota.
                    sending.open += 1;
                }
                let stored = self.journal.released(token, id);
                let released =
                    Exchange::Released { release: self.release(stored, link), reason: ack.reason };
                if let Some(entry) = self.in_flight.get_mut(key)
                    && let Exchange::Publish { publish, .. } =
                        mem::replace(&mut entry.exchange, released)
                {
                    self.spent.put(publish);
                }
                self.held_bytes -= size;
                events.push_back(Event::Received { token, reason: ack.reason });
                Ok(Some((stored, Ack::new(id, ReasonCode::SUCCESS))))
            }
            Exchange::Released { release, .. } => {
                release.link = link;
                Ok(Some((release.stored, Ack::new(id, ReasonCode::SUCCESS))))
            }
        }
    }

    /// PUBCOMP. An identifier that nobody knows is a late answer, and harmless.
    pub(in crate::session) fn pubcomp(
        &mut self,
        sending: &mut Sending,
        link: u32,
        ack: Ack,
        events: &mut VecDeque<Event>,
    ) -> Answer {
        let Some((key, entry)) = self.find(ack.packet_id) else {
            let harmless = self.given_up_pubcomp(ack.packet_id);
            return if harmless { Ok(None) } else { Err(WRONG_KIND) };
        };
        match &entry.exchange {
            Exchange::Released { release, reason: received } => {
                // No error while a session is being recovered: section 3.7.2.1.
                let done = release.resent && ack.reason == ReasonCode::PACKET_IDENTIFIER_NOT_FOUND;
                let done = done || !ack.reason.is_error();
                let reason = if done { *received } else { ack.reason };
                let token = entry.token;
                self.finish(sending, link, key);
                events.push_back(published(token, reason, ack.properties));
                Ok(None)
            }
            _ => Err(WRONG_KIND),
        }
    }

    pub(in crate::session) fn suback(
        &mut self,
        sending: &mut Sending,
        ack: SubAck,
        events: &mut VecDeque<Event>,
    ) -> Answer {
        let Some((key, entry)) = self.find(ack.packet_id) else { return Ok(None) };
        let Exchange::Request(Request::Subscribe(subscribe)) = &entry.exchange else {
            return Err(WRONG_KIND);
        };
        if subscribe.subscriptions.len() != ack.reasons.len() {
            return Err("SUBACK has not one reason code for each filter");
        }
        let (token, link) = (entry.token, entry.link);
        self.finish(sending, link, key);
        events.push_back(Event::Subscribed { token, ack: Box::new(ack) });
        Ok(None)
    }

    pub(in crate::session) fn unsuback(
        &mut self,
        sending: &mut Sending,
        ack: UnsubAck,
        version: Version,
        events: &mut VecDeque<Event>,
    ) -> Answer {
        let Some((key, entry)) = self.find(ack.packet_id) else { return Ok(None) };
        let Exchange::Request(Request::Unsubscribe(unsubscribe)) = &entry.exchange else {
            return Err(WRONG_KIND);
        };
        if version.is_v5() && unsubscribe.filters.len() != ack.reasons.len() {
            return Err("UNSUBACK has not one reason code for each filter");
        }
        let (token, link) = (entry.token, entry.link);
        self.finish(sending, link, key);
        events.push_back(Event::Unsubscribed { token, ack: Box::new(ack) });
        Ok(None)
    }
}
