//! What goes on after a restart or with the next connection: MQTT 5.0 section 4.4.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

use super::{Exchange, InFlight, Outbound, Queued, Release, Sending, adapt, encode, remaining};
use crate::codec::{self, PublishHeader};
use crate::packet::{Ack, Packet};
use crate::reason::ReasonCode;
use crate::session::alias::Aliases;
use crate::session::error::Failure;
use crate::session::event::Event;
use crate::session::limits::Wire;
use crate::session::list::relax;
use crate::session::store::{Kept, RecordError, StoreKey, StoreSeq};
use crate::time::Instant;
use crate::txbuf::TxBuf;
use crate::types::{PacketId, QoS, Token};

impl Outbound {
    /// Enters a message that was accepted before a restart.
    pub(in crate::session) fn restore(
        &mut self,
        token: Token,
        id: PacketId,
        kept: Kept,
    ) -> Result<(), RecordError> {
        if self.ids.get(id).is_some() {
            return Err(RecordError::Duplicate(StoreKey::Outbound(token)));
        }
        self.last_token = self.last_token.max(token.0);
        let (exchange, size) = match kept {
            Kept::Publish(publish) => {
                let size = publish.size();
                (Exchange::Publish { publish, expires: None, size }, size)
            }
            Kept::Released => {
                let release = self.release(StoreSeq::default(), 0);
                (Exchange::Released { release, reason: ReasonCode::SUCCESS }, 0)
            }
            Kept::GivenUp { released } => {
                self.restore_given_up(token, id, released);
                return Ok(());
            }
        };
        self.ids.assign(id, self.in_flight.next_key());
        self.in_flight.push(InFlight { token, id, link: 0, exchange });
        self.held += 1;
        self.held_bytes += size;
        Ok(())
    }

    /// Takes it that no message has ever been sent.
    pub(in crate::session) fn unsend(&mut self) {
        let mut at = self.in_flight.first();
        while let Some(key) = at {
            at = self.in_flight.next(key);
            let is_publish = |entry: &&InFlight| matches!(entry.exchange, Exchange::Publish { .. });
            if self.in_flight.get(key).filter(is_publish).is_some()
                && let Some(InFlight { token, id, exchange, .. }) = self.in_flight.remove(key)
                && let Exchange::Publish { publish, expires, size } = exchange
            {
                self.ids.reassign(id);
                let (id, stored) = (Some(id), StoreSeq::default());
                self.queue.push_back(Queued {
                    token,
                    place: token,
                    publish,
                    expires,
                    size,
                    sent: false,
                    id,
                    stored,
                });
            }
        }
    }

    /// Begins a connection that goes on with what was sent before.
    pub(in crate::session) fn begin(&self, aliases: Aliases) -> Sending {
        let mut pubrels = Vec::new();
        for entry in self.in_flight.iter() {
            if let Exchange::Released { release, .. } = &entry.exchange {
                pubrels.push((release.order, entry.id));
            }
        }
        // Those of messages that were given up take nothing of the quota.
        let open = pubrels.len() as u32;
        for (id, given_up) in &self.given_up {
            if let Some(release) = &given_up.release {
                pubrels.push((release.order, *id));
            }
        }
        pubrels.sort_unstable();
        let pubrels: VecDeque<PacketId> = pubrels.into_iter().map(|(_, id)| id).collect();
        Sending { pubrels, resend: self.in_flight.first(), open, aliases, ..Sending::default() }
    }

    /// Ends a connection: requests that have no answer are made again with the next one.
    pub(in crate::session) fn end(&mut self) {
        let mut again = Vec::new();
        let mut at = self.in_flight.first();
        // Most connections end without any, and with many messages in flight.
        while self.requests_in_flight > 0
            && let Some(key) = at
        {
            at = self.in_flight.next(key);
            let is_request = |entry: &&InFlight| matches!(entry.exchange, Exchange::Request(_));
            if self.in_flight.get(key).filter(is_request).is_some()
                && let Some(InFlight { token, id, exchange: Exchange::Request(request), .. }) =
                    self.in_flight.remove(key)
            {
                self.ids.free(id);
                self.requests_in_flight -= 1;
                again.push((token, request));
            }
        }
        for request in again.into_iter().rev() {
            self.requests.push_front(request);
        }
    }

    /// The server has lost the session (MQTT-3.2.2-5): what was in flight is new again, but a QoS 2
    /// message that was sent may have been delivered.
    pub(in crate::session) fn session_lost(
        &mut self,
        resend_qos2: bool,
        events: &mut VecDeque<Event>,
    ) {
        let mut again = Vec::new();
        while let Some(entry) = self.in_flight.first().and_then(|key| self.in_flight.remove(key)) {
            let token = entry.token;
            let size = match entry.exchange {
                Exchange::Publish { publish, expires, size }
                    if publish.qos == QoS::AtLeastOnce || resend_qos2 =>
                {
                    // Its record has the identifier, which is as good as another one.
                    let id = self.journal.on.then_some(entry.id);
                    match id {
                        Some(id) => self.ids.reassign(id),
                        None => self.ids.free(entry.id),
                    }
                    let stored = StoreSeq::default();
                    let place = token;
                    let sent = true;
                    again.push(Queued { token, place, publish, expires, size, sent, id, stored });
                    continue;
                }
                Exchange::Publish { publish, size, .. } => {
                    self.spent.put(publish);
                    size
                }
                Exchange::Released { .. } => 0,
                // Requests are not in flight between connections.
                Exchange::Request(_) => continue,
            };
            self.ids.free(entry.id);
            self.journal.delete(StoreKey::Outbound(token));
            self.give_room(size);
            events.push_back(Event::Failed { token, error: Failure::SessionLost });
        }
        for queued in again.into_iter().rev() {
            self.queue.push_front(queued);
        }
    }

    /// Takes the place of the outbound half of another session: its commands come to nothing.
    pub(in crate::session) fn succeed(&mut self, mut old: Outbound, events: &mut VecDeque<Event>) {
        let in_flight = old.in_flight.iter().map(|entry| entry.token);
        let requests = old.requests.iter().map(|(token, _)| *token);
        let queued = old.queue.iter().map(|queued| queued.token);
        for token in in_flight.chain(requests).chain(queued) {
            events.push_back(Event::Failed { token, error: Failure::SessionLost });
        }
        self.last_token = self.last_token.max(old.last_token);
        self.spent = mem::take(&mut old.spent);
        for queued in old.queue {
            self.spent.put(queued.publish);
        }
        while let Some(entry) = old.in_flight.first().and_then(|key| old.in_flight.remove(key)) {
            if let Exchange::Publish { publish, .. } = entry.exchange {
                self.spent.put(publish);
            }
        }
    }

    /// Sends one packet again; false if there is none, or if it has to wait for the peer.
    pub(in crate::session) fn resend(
        &mut self,
        sending: &mut Sending,
        wire: &Wire<'_>,
        out: &mut TxBuf,
        now: Instant,
        events: &mut VecDeque<Event>,
    ) -> bool {
        while let Some(id) = sending.pubrels.front().copied() {
            let due = self.release_mut(id).filter(|release| release.link != wire.link);
            let stored = due.map(|release| release.stored);
            if stored.is_some_and(|stored| !self.journal.has(stored)) {
                return false;
            }
            sending.pubrels.pop_front();
            if stored.is_some()
                && let Some(release) = self.release_mut(id)
            {
                (release.link, release.resent) = (wire.link, true);
                let ack = Ack::new(id, ReasonCode::SUCCESS);
                return codec::encode(&Packet::PubRel(ack), wire.version, out).is_ok();
            }
        }
        relax(&mut sending.pubrels);
        while let Some(key) = sending.resend {
            let Some(entry) = self.in_flight.get_mut(key) else { return false };
            let mut sent = false;
            let mut failure = None;
            match &mut entry.exchange {
                _ if entry.link == wire.link => {}
                Exchange::Publish { publish, expires, .. } => {
                    if sending.open >= u32::from(wire.limits.receive_maximum) {
                        return false;
                    }
                    let header = PublishHeader {
                        packet_id: Some(entry.id),
                        dup: true,
                        // Once sent, a message does not expire any more (MQTT-4.3.3-7).
                        message_expiry_interval: expires.map(|at| remaining(at, now)),
                        ..PublishHeader::default()
                    };
                    let adapted = adapt(publish, wire, &mut self.spent);
                    match adapted.and_then(|()| encode(publish, &header, wire, out)) {
                        Ok(()) => {
                            entry.link = wire.link;
                            sending.open += 1;
                            sending.probe.sent(entry.token, now);
                            sent = true;
                        }
                        Err(error) => failure = Some(error),
                    }
                }
                Exchange::Released { .. } | Exchange::Request(_) => {}
            }
            sending.resend = self.in_flight.next(key);
            if let Some(error) = failure
                && let Some(token) = self.give_up(sending, wire.link, key)
            {
                events.push_back(Event::Failed { token, error });
            }
            if sent {
                return true;
            }
        }
        false
    }

    fn release_mut(&mut self, id: PacketId) -> Option<&mut Release> {
        let key = self.ids.get(id)?;
        match self.in_flight.get_mut(key) {
            Some(InFlight { exchange: Exchange::Released { release, .. }, .. }) => Some(release),
            Some(_) => None,
            None => self.given_up.get_mut(&id)?.release.as_mut(),
        }
    }

    /// Tells whether something has still to be sent again.
    pub(in crate::session) fn is_resending(sending: &Sending) -> bool {
        sending.resend.is_some() || !sending.pubrels.is_empty()
    }
}
