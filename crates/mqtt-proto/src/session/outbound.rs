//! The sending side of messages: queue, QoS 1 and 2, Receive Maximum, resume. MQTT 5.0 sections 4.3,
//! 4.4 and 4.9. SUBSCRIBE and UNSUBSCRIBE share its packet identifiers.

use alloc::collections::{BTreeMap, VecDeque};
use core::time::Duration;

use super::alias::Aliases;
use super::config::Bounds;
use super::error::Failure;
use super::event::Event;
use super::ids::Ids;
use super::limits::Wire;
use super::list::{Key, List, relax};
use super::store::{Journal, StoreKey, StoreSeq};
use crate::codec::{self, PublishHeader};
use crate::error::EncodeError;
use crate::packet::{AckProperties, Publish, PublishFields};
use crate::reason::ReasonCode;
use crate::time::Instant;
use crate::txbuf::TxBuf;
use crate::types::{PacketId, QoS, Token};

mod answers;
mod direct;
mod given_up;
mod line;
mod probe;
mod requests;
mod resume;
mod spent;
mod unwritten;

use given_up::GivenUp;
use probe::Probe;
pub(super) use requests::Request;
pub(super) use spent::Spent;
use unwritten::Unwritten;

/// What the session remembers of outbound messages, whatever becomes of the connection.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    /// To be sent as new.
    queue: VecDeque<Queued>,
    /// SUBSCRIBE and UNSUBSCRIBE to be sent.
    requests: VecDeque<(Token, Request)>,
    /// Sent at least once and not completed, in the order of the first sending.
    in_flight: List<InFlight>,
    /// Sent, ended for this side, and perhaps not for the peer.
    given_up: BTreeMap<PacketId, GivenUp>,
    ids: Ids,
    /// Messages and bytes in `queue` and `in_flight`.
    held: usize,
    held_bytes: usize,
    unwritten: Unwritten,
    /// Messages that have ended, if the caller takes them.
    pub(super) spent: Spent,
    /// Requests that were sent and have no answer.
    requests_in_flight: usize,
    last_token: u64,
    /// How many PUBRECs have come.
    released: u64,
    /// What of all this has to be on disk, and of inbound messages as well.
    pub(super) journal: Journal,
}

#[derive(Debug)]
struct Queued {
    token: Token,
    /// By what it stands in the line: its token, or that of the message whose place it took.
    place: Token,
    publish: Publish,
    expires: Option<Instant>,
    size: usize,
    /// Whether it was sent in a session that was lost since: it is not taken back then.
    sent: bool,
    /// The identifier that its record has, if there is one; without a journal it is given at sending.
    id: Option<PacketId>,
    /// What has to be durable before it may be sent.
    stored: StoreSeq,
}

#[derive(Debug)]
struct InFlight {
    token: Token,
    id: PacketId,
    /// The connection on which it was last sent.
    link: u32,
    exchange: Exchange,
}

#[derive(Debug)]
enum Exchange {
    Publish {
        publish: Publish,
        expires: Option<Instant>,
        size: usize,
    },
    /// PUBREC has come: the message is freed, and only PUBREL is ever sent again. Then PUBCOMP may say
    /// that the identifier is unknown: the exchange was completed, and that answer was lost.
    Released {
        release: Release,
        /// What PUBREC said.
        reason: ReasonCode,
    },
    Request(Request),
}

/// A PUBREL that waits for PUBCOMP.
#[derive(Debug)]
struct Release {
    /// The connection on which it was last sent.
    link: u32,
    resent: bool,
    /// The number of the PUBREC: PUBRELs leave in that order, also when they are sent again.
    order: u64,
    /// What has to be durable before it may be sent.
    stored: StoreSeq,
}

/// What is left of an exchange that was taken out.
struct Removed {
    token: Token,
    id: PacketId,
    is_request: bool,
}

/// What one connection remembers of outbound messages.
#[derive(Debug, Default)]
pub(super) struct Sending {
    /// PUBRELs to be sent again. They go first, because a PUBLISH may have to wait until they have made
    /// room in the Receive Maximum.
    pubrels: VecDeque<PacketId>,
    /// Where sending PUBLISH again has got to.
    resend: Option<Key>,
    /// How many exchanges take of the peer's Receive Maximum: PUBLISH sent on this connection, and
    /// those that wait for PUBCOMP whenever they were sent.
    open: u32,
    aliases: Aliases,
    probe: Probe,
}

impl Sending {
    pub(super) const fn take_round_trip(&mut self) -> Option<Duration> {
        self.probe.take()
    }
}

impl Outbound {
    pub(super) const fn start_ids_at(&mut self, first: PacketId) {
        self.ids.start_at(first);
    }

    fn token(&mut self) -> Token {
        self.last_token += 1;
        Token(self.last_token)
    }

    /// Returns the size of the message's packet if it is more than the peer takes.
    #[inline]
    pub(super) fn oversize(
        publish: &Publish,
        wire: &Wire<'_>,
    ) -> Result<Option<usize>, EncodeError> {
        // Any identifier will do for the length.
        let header = PublishHeader { packet_id: PacketId::new(1), ..PublishHeader::default() };
        oversize(publish, &header, wire)
    }

    /// Tells whether a message of that size would be taken, at QoS 0 or above.
    pub(super) fn has_room(&self, size: usize, acknowledged: bool, bounds: &Bounds) -> bool {
        if acknowledged && self.lacks_identifier() {
            return false;
        }
        self.held == 0
            || (self.held < bounds.messages && self.held_bytes.saturating_add(size) <= bounds.bytes)
    }

    /// Tells whether the record of a message above QoS 0 needs an identifier, and none is free.
    pub(super) fn lacks_identifier(&self) -> bool {
        self.journal.on && !self.ids.has_free()
    }

    /// Queues a message; hands it back if its record needs an identifier and there is none.
    pub(super) fn push(
        &mut self,
        publish: Publish,
        size: usize,
        now: Instant,
    ) -> Result<Token, Publish> {
        let journalled = self.journal.on && publish.qos != QoS::AtMostOnce;
        let id = if journalled { self.ids.reserve() } else { None };
        if journalled && id.is_none() {
            return Err(publish);
        }
        let token = self.token();
        let stored =
            id.map_or_else(StoreSeq::default, |id| self.journal.publish(token, &publish, id));
        let expiry = publish.properties.get().and_then(|fields| fields.message_expiry_interval);
        let expires = expiry.map(|seconds| now + Duration::from_secs(seconds.into()));
        self.held += 1;
        self.held_bytes += size;
        let place = token;
        let queued = Queued { token, place, publish, expires, size, sent: false, id, stored };
        self.queue.push_back(queued);
        Ok(token)
    }

    /// Frees the identifier and the record of a message.
    fn forget(&mut self, token: Token, id: Option<PacketId>) {
        if let Some(id) = id {
            self.ids.free(id);
            self.journal.delete(StoreKey::Outbound(token));
        }
    }

    fn give_room(&mut self, size: usize) {
        self.held -= 1;
        self.held_bytes -= size;
    }

    /// Gives back what a burst needed.
    pub(super) fn relax(&mut self) {
        relax(&mut self.queue);
        relax(&mut self.requests);
        self.in_flight.relax();
        self.ids.relax();
        self.unwritten.relax();
    }

    pub(super) fn messages_in_flight(&self) -> usize {
        self.held - self.queue.len()
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Returns the first and the last message of the queue.
    pub(super) fn waiting(&self) -> Option<(Token, Token)> {
        Some((self.queue.front()?.place, self.queue.back()?.place))
    }

    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    pub(super) fn given_up(&self) -> usize {
        self.given_up.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held == 0 && self.requests.is_empty() && self.in_flight.len() == 0
    }

    /// Returns the messages in their order; `None` stands for one that PUBREC has answered.
    pub(super) fn messages(&self) -> impl Iterator<Item = (Token, Option<&Publish>)> {
        let sent = self.in_flight.iter().filter_map(|entry| match &entry.exchange {
            Exchange::Publish { publish, .. } => Some((entry.token, Some(publish))),
            Exchange::Released { .. } => Some((entry.token, None)),
            Exchange::Request(_) => None,
        });
        sent.chain(self.queue.iter().map(|queued| (queued.token, Some(&queued.publish))))
    }

    /// Sends the next new message; false if there is none, or if it has to wait for the peer.
    #[inline]
    pub(super) fn send_next(
        &mut self,
        sending: &mut Sending,
        wire: &Wire<'_>,
        out: &mut TxBuf,
        now: Instant,
        events: &mut VecDeque<Event>,
    ) -> bool {
        while let Some(queued) = self.queue.front_mut() {
            let token = queued.token;
            let acknowledged = queued.publish.qos != QoS::AtMostOnce;
            if acknowledged && sending.open >= u32::from(wire.limits.receive_maximum) {
                return false;
            }
            if !self.journal.has(queued.stored) {
                return false;
            }
            let mut header = PublishHeader::default();
            let result = match queued.expires {
                Some(at) if at <= now => Err(Failure::Expired),
                expires => {
                    header.message_expiry_interval = expires.map(|at| remaining(at, now));
                    if acknowledged {
                        let key = self.in_flight.next_key();
                        header.packet_id = match queued.id {
                            Some(id) if self.ids.assign(id, key) => Some(id),
                            _ => self.ids.allocate(key),
                        };
                        if header.packet_id.is_none() {
                            return false;
                        }
                    }
                    adapt(&mut queued.publish, wire, &mut self.spent).and_then(|()| {
                        encode_new(&queued.publish, header, &mut sending.aliases, wire, out)
                    })
                }
            };
            let Some(Queued { publish, expires, size, id: recorded, .. }) = self.queue.pop_front()
            else {
                return false;
            };
            match (result, header.packet_id) {
                (Ok(()), Some(id)) => {
                    let exchange = Exchange::Publish { publish, expires, size };
                    self.in_flight.push(InFlight { token, id, link: wire.link, exchange });
                    sending.open += 1;
                    sending.probe.sent(token, now);
                    return true;
                }
                (Ok(()), None) => {
                    self.spent.put(publish);
                    self.give_room(size);
                    self.unwritten.push(token, out);
                    return true;
                }
                (Err(error), id) => {
                    self.spent.put(publish);
                    if let Some(id) = id {
                        self.ids.free(id);
                    }
                    self.forget(token, recorded);
                    self.give_room(size);
                    events.push_back(Event::Failed { token, error });
                }
            }
        }
        false
    }

    /// Makes the promise of a PUBREL.
    fn release(&mut self, stored: StoreSeq, link: u32) -> Release {
        let order = self.released;
        self.released += 1;
        Release { link, resent: false, order, stored }
    }

    /// Ends an exchange: frees its identifier and its share of the quota. Returns its token.
    fn finish(&mut self, sending: &mut Sending, link: u32, key: Key) -> Option<Token> {
        let Removed { token, id, is_request } = self.remove(sending, link, key)?;
        if !is_request {
            self.forget(token, Some(id));
            return Some(token);
        }
        self.ids.free(id);
        if self.in_flight.len() == 0 {
            // Most clients subscribe once, and then are at rest.
            self.in_flight.relax();
            self.ids.relax();
        }
        Some(token)
    }

    /// Takes an exchange out, and frees its share of the quota.
    #[inline]
    fn remove(&mut self, sending: &mut Sending, link: u32, key: Key) -> Option<Removed> {
        if sending.resend == Some(key) {
            sending.resend = self.in_flight.next(key);
        }
        let InFlight { token, id, link: sent_on, exchange } = self.in_flight.remove(key)?;
        let (counted, size) = match exchange {
            Exchange::Publish { publish, size, .. } => {
                self.spent.put(publish);
                (sent_on == link, size)
            }
            Exchange::Released { .. } => (true, 0),
            Exchange::Request(_) => {
                self.requests_in_flight -= 1;
                return Some(Removed { token, id, is_request: true });
            }
        };
        if counted {
            sending.open = sending.open.saturating_sub(1);
        }
        self.give_room(size);
        Some(Removed { token, id, is_request: false })
    }
}

pub(super) fn published(token: Token, reason: ReasonCode, properties: AckProperties) -> Event {
    Event::Published { token, reason, properties }
}

/// Returns what is left of a Message Expiry Interval, in whole seconds; at least one.
fn remaining(expires: Instant, now: Instant) -> u32 {
    let left = expires.since(now);
    let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
    u32::try_from(seconds).unwrap_or(u32::MAX).max(1)
}

/// Leaves out of a message what the version does not have.
#[inline]
fn adapt(publish: &mut Publish, wire: &Wire<'_>, spent: &mut Spent) -> Result<(), Failure> {
    if !wire.version.is_v5()
        && let Some(fields) = publish.properties.get()
    {
        // The expiry is honoured here and needs no version.
        if !wire.drops_properties && has_v5_properties(fields) {
            return Err(Failure::NotSupported(NEEDS_V5));
        }
        spent.put_properties(publish);
    }
    Ok(())
}

/// Encodes a message, unless this connection does not permit it.
#[inline]
fn encode(
    publish: &Publish,
    header: &PublishHeader,
    wire: &Wire<'_>,
    out: &mut TxBuf,
) -> Result<(), Failure> {
    if let Some(what) = wire.limits.lacks_for_publish(publish) {
        return Err(Failure::NotSupported(what));
    }
    if let Some(size) = oversize(publish, header, wire).map_err(Failure::Invalid)? {
        return Err(Failure::TooLarge { size, limit: wire.limits.maximum_packet_size });
    }
    codec::encode_publish(publish, header, wire.version, out).map_err(Failure::Invalid)
}

/// Encodes a message for the first time: then it may have a Topic Alias.
#[inline]
fn encode_new(
    publish: &Publish,
    mut header: PublishHeader,
    aliases: &mut Aliases,
    wire: &Wire<'_>,
    out: &mut TxBuf,
) -> Result<(), Failure> {
    if !aliases.is_off() && wire.version.is_v5() {
        // The peer learns from the packet, so nothing may fail once there is an alias. With one that
        // is new, the packet is longer by what the property takes; then it is the plain one or none.
        let plain = codec::publish_len(publish, &header, wire.version).map_err(Failure::Invalid)?;
        let most = codec::MAX_REMAINING_LENGTH.min(wire.limits.maximum_packet_size as usize);
        if plain + ALIAS_LEN <= most && wire.limits.lacks_for_publish(publish).is_none() {
            header.topic_alias = aliases.alias(publish);
        }
    }
    encode(publish, &header, wire, out)
}

/// What a Topic Alias adds at most: the property, and a longer Property Length and Remaining Length.
const ALIAS_LEN: usize = 5;

/// Returns the size of the packet if it is more than the peer takes.
#[inline]
fn oversize(
    publish: &Publish,
    header: &PublishHeader,
    wire: &Wire<'_>,
) -> Result<Option<usize>, EncodeError> {
    let limit = wire.limits.maximum_packet_size;
    // Without a limit there is nothing to compare: the length is then computed only once.
    if limit == u32::MAX {
        return Ok(None);
    }
    let size = codec::publish_len(publish, header, wire.version)?;
    Ok((size > limit as usize).then_some(size))
}

pub(super) const NEEDS_V5: &str = "properties of messages: they need MQTT 5.0";

/// Tells whether there is a property that only MQTT 5.0 has; the expiry is honoured here as well.
pub(super) fn has_v5_properties(fields: &PublishFields) -> bool {
    let mut rest = fields.clone();
    rest.message_expiry_interval = None;
    rest != PublishFields::default()
}
