//! What has to be true: a ledger of one direction of a session, from the command to the application.
//!
//! `Flow` follows every message of one sender to one receiver over all their connections. It knows only
//! the contract and what stands on the wire, nothing of the machine. Each rule has a name, which a
//! failure tells. What belongs to a single connection is in `wire`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mqtt_proto::{
    AckId, Bounds, Event, Failure, Instant, Message, Packet, PacketId, Publish, QoS, Stats,
    StoreKey, Token, Version, codec,
};

use crate::disk::Disk;
use crate::wire::{Watch, has_type};

/// A rule that was broken.
#[derive(Debug)]
pub struct Fault {
    pub rule: &'static str,
    pub detail: String,
}

pub type Check = Result<(), Fault>;

macro_rules! ensure {
    ($holds:expr, $rule:expr, $($detail:tt)*) => {
        if !$holds {
            return Err(crate::oracle::Fault { rule: $rule, detail: format!($($detail)*) });
        }
    };
}
pub(crate) use ensure;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It has no outcome yet.
    Open,
    /// Its token has been resolved.
    Resolved,
    /// The sender took it back.
    Cancelled,
    /// A crash without its record, or the end of the session at the server's wish: nobody knows of it.
    Abandoned,
}

/// A message, as its sender's application knows it, and what has become of it.
#[derive(Debug)]
pub struct Entry {
    pub qos: QoS,
    retain: bool,
    typed: bool,
    /// Whether it was sent in MQTT 3.x, where a message has no properties.
    pub plain: bool,
    topic: String,
    payload: usize,
    expires: Option<Instant>,
    pub end: End,
    pub token: Token,
    /// Put into an output buffer as part of this session, or read from a record, which says that it
    /// may have been: the next PUBLISH has DUP.
    pub sent: bool,
    /// The identifier that it was sent with.
    pub id: Option<PacketId>,
    /// The how-manieth PUBREC of the session answered it.
    pub received: Option<u64>,
    /// The session was lost while this QoS 2 message was under way: it has to fail.
    doomed: bool,
    /// It was sent, and a later connection did not take it: only its identifier is left.
    given_up: bool,
    /// It had ended, that was not durable, and a crash has brought it back: by then others have overtaken
    /// it.
    revived: bool,
    /// Whether the receiver's application ever had it.
    seen: bool,
    /// How often the receiver's application had it, and nothing excuses another time.
    deliveries: u32,
    /// What the receiver's application said to it.
    pub taken: bool,
    pub refused: bool,
    /// Whether PUBREC has left: then no crash of the receiver excuses another delivery.
    pub settled: bool,
}

impl Entry {
    /// Another delivery is excused.
    pub fn uncount(&mut self) {
        (self.deliveries, self.settled) = (0, false);
    }
}

/// Who has a packet identifier of the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    Message(u64),
    Request,
    /// A QoS 2 message that has failed, and that the receiver may hold.
    GivenUp(u64),
}

impl Owner {
    /// The message that is or was sent with it.
    pub const fn message(self) -> Option<u64> {
        match self {
            Owner::Message(number) | Owner::GivenUp(number) => Some(number),
            Owner::Request => None,
        }
    }
}

/// What the receiver permits beside sizes and numbers.
#[derive(Clone, Copy, Debug)]
pub struct Permits {
    pub qos: QoS,
    pub retain: bool,
    /// Properties that only MQTT 5.0 has.
    pub properties: bool,
}

impl Default for Permits {
    fn default() -> Permits {
        Permits { qos: QoS::ExactlyOnce, retain: true, properties: true }
    }
}

impl Permits {
    pub fn takes(self, qos: QoS, retain: bool, typed: bool) -> bool {
        qos <= self.qos && (self.retain || !retain) && (self.properties || !typed)
    }
}

/// Whether a message has a property that only MQTT 5.0 has.
pub fn is_typed(publish: &Publish) -> bool {
    publish.properties.get().is_some_and(|fields| fields.content_type.is_some())
}

/// A QoS 2 exchange at the receiver.
#[derive(Debug)]
pub struct Held {
    pub number: u64,
    pub ack: Option<AckId>,
    pub answer: Option<bool>,
}

/// One direction of one session.
#[derive(Default)]
pub struct Flow {
    pub entries: BTreeMap<u64, Entry>,
    tokens: BTreeMap<Token, Option<u64>>,
    pub ids: BTreeMap<PacketId, Owner>,
    pub held: BTreeMap<PacketId, Held>,
    /// Messages whose identifier was taken by others: they have to have ended, which is told a little
    /// later.
    evicted: Vec<u64>,
    /// The last message that came with an identifier.
    pub last_held: BTreeMap<PacketId, u64>,
    pub received: u64,
    /// The last message that the receiver's application had for the first time.
    last_first: u64,
    /// Whether the sender was told `Full` and not yet `Writable`.
    pub waits: bool,
    /// What the receiver has permitted last.
    pub permits: Permits,
}

/// The content of message `number`: the number, and as many copies of its lowest byte as it takes.
pub fn payload(number: u64, len: usize) -> Bytes {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(len.max(8), number as u8);
    payload.into()
}

pub fn number_of(payload: &[u8]) -> Result<u64, Fault> {
    let number = payload.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
    number.ok_or_else(|| Fault { rule: "content_is_kept", detail: format!("{payload:?}") })
}

impl Flow {
    // ---- the sender's application ----

    pub fn accept(
        &mut self,
        (number, token): (u64, Token),
        publish: &Publish,
        expires: Option<Instant>,
    ) -> Check {
        let entry = Entry {
            qos: publish.qos,
            retain: publish.retain,
            typed: is_typed(publish),
            plain: false,
            topic: publish.topic.as_str().to_owned(),
            payload: publish.payload.len(),
            expires,
            end: End::Open,
            token,
            sent: false,
            id: None,
            received: None,
            doomed: false,
            given_up: false,
            revived: false,
            seen: false,
            deliveries: 0,
            taken: false,
            refused: false,
            settled: false,
        };
        self.entries.insert(number, entry);
        self.token(token, Some(number))
    }

    /// Enters the token of a message, or of a request.
    pub fn token(&mut self, token: Token, number: Option<u64>) -> Check {
        let known = self.tokens.insert(token, number);
        ensure!(known.is_none(), "tokens_are_never_reused", "{token:?}");
        Ok(())
    }

    pub fn cancelled(&mut self, token: Token) -> Check {
        let Some(Some(number)) = self.tokens.get(&token) else { return Ok(()) };
        let entry = self.entries.get_mut(number).expect("a message for each token");
        ensure!(entry.end == End::Open, "every_token_ends_once", "cancelled {number} {entry:?}");
        ensure!(!entry.sent, "only_what_was_never_sent_is_cancelled", "{number} {entry:?}");
        entry.end = End::Cancelled;
        Ok(())
    }

    /// A token that can be cancelled, perhaps: the `nth` of those that are known.
    pub fn some_token(&self, nth: usize) -> Option<Token> {
        let count = self.tokens.len();
        (count > 0).then(|| *self.tokens.keys().rev().nth(nth % count).expect("there are so many"))
    }

    /// A command has ended.
    pub fn outcome(&mut self, event: &Event, now: Instant) -> Check {
        let rule = "every_token_ends_once";
        let (token, failure) = match event {
            Event::Published { token, .. }
            | Event::Subscribed { token, .. }
            | Event::Unsubscribed { token, .. } => (*token, None),
            Event::Failed { token, error } => (*token, Some(error)),
            _ => return Ok(()),
        };
        let Some(number) = self.tokens.get(&token).copied() else {
            return Err(Fault { rule, detail: format!("unknown: {event:?}") });
        };
        let Some(number) = number else {
            self.tokens.remove(&token);
            let request = !matches!(event, Event::Published { .. });
            ensure!(request, rule, "a request was published: {event:?}");
            return Ok(());
        };
        let entry = self.entries.get_mut(&number).expect("a message for each token");
        ensure!(entry.end == End::Open, rule, "{number} {entry:?} {event:?}");
        entry.end = End::Resolved;
        let (qos, doomed) = (entry.qos, entry.doomed);
        entry.given_up = entry.sent
            && qos == QoS::ExactlyOnce
            && matches!(failure, Some(Failure::TooLarge { .. } | Failure::NotSupported(_)));
        if entry.given_up {
            let owners = self.ids.values_mut();
            owners.filter(|owner| **owner == Owner::Message(number)).for_each(|owner| {
                *owner = Owner::GivenUp(number);
            });
        } else {
            self.ids.retain(|_, owner| *owner != Owner::Message(number));
        }
        ensure!(
            !doomed || failure == Some(&Failure::SessionLost),
            "a_lost_session_is_told",
            "{number} {event:?}"
        );
        match (event, failure) {
            (Event::Published { reason, .. }, _) if qos != QoS::AtMostOnce => {
                published_means_taken(number, entry, reason.is_error())
            }
            (Event::Published { .. }, _) => {
                ensure!(entry.sent, "at_most_once_is_published_when_sent", "{number} {entry:?}");
                Ok(())
            }
            (_, Some(failure)) => failure_has_a_cause(number, entry, failure, self.permits, now),
            _ => Err(Fault { rule, detail: format!("{number} {event:?}") }),
        }
    }

    // ---- the sender's session ----

    /// The server has a new session, and the sender, a client, has learned it.
    pub fn session_lost(&mut self, keeps: bool, resends: bool) {
        for entry in self.entries.values_mut().filter(|entry| entry.end == End::Open) {
            let exactly_once = entry.qos == QoS::ExactlyOnce;
            if keeps {
                // MQTT 3.1.1 sends it again, and the server does not know it any more.
                entry.uncount();
                continue;
            }
            entry.doomed = exactly_once && entry.sent && (!resends || entry.received.is_some());
            if !entry.doomed && entry.sent {
                entry.uncount();
                (entry.sent, entry.id) = (false, None);
            }
        }
        // Whatever becomes of the messages, the server holds nothing.
        self.ids.retain(|_, owner| keeps && !matches!(owner, Owner::GivenUp(_)));
    }

    /// The sender is gone, or has given its session up.
    pub fn abandon(&mut self) {
        for entry in self.entries.values_mut().filter(|entry| entry.end == End::Open) {
            entry.end = End::Abandoned;
        }
        self.tokens.clear();
        self.ids.clear();
        self.waits = false;
    }

    /// The sender goes on with its records.
    pub fn restart(&mut self, disk: &Disk) -> Check {
        let mut kept = BTreeMap::new();
        for (key, record) in disk.records() {
            let StoreKey::Outbound(token) = key else { continue };
            let packet = codec::decode(&record, Version::V5);
            let (id, released, given_up) = match packet {
                Ok(Packet::Publish(publish)) => (publish.packet_id(), false, false),
                Ok(Packet::PubRel(ack)) => (Some(ack.packet_id), true, ack.reason.is_error()),
                Ok(Packet::PubComp(ack)) => (Some(ack.packet_id), false, true),
                other => panic!("the session took this for a record: {other:?}"),
            };
            let number = self.tokens.get(&token).copied().flatten();
            let known = number.map(|number| (number, id, released, given_up));
            let rule = "records_are_of_known_messages";
            ensure!(known.is_some(), rule, "{token:?} {record:?}");
            kept.insert(token, known.expect("it was asked above"));
        }
        let numbers: BTreeSet<u64> = kept.values().map(|(number, ..)| *number).collect();
        for (number, entry) in &mut self.entries {
            if entry.end == End::Open && !numbers.contains(number) {
                let lost = entry.sent && entry.qos != QoS::AtMostOnce;
                ensure!(!lost, "a_crash_forgets_nothing_that_was_sent", "{number} {entry:?}");
                entry.end = End::Abandoned;
            }
        }
        self.ids.clear();
        self.tokens = kept.iter().map(|(token, (number, ..))| (*token, Some(*number))).collect();
        self.received = 0;
        self.waits = false;
        for (number, id, released, given_up) in kept.into_values() {
            let entry = self.entries.get_mut(&number).expect("a message for each token");
            let id = id.expect("records have one");
            let order = released.then_some(self.received);
            self.received += u64::from(released);
            entry.received = order;
            if given_up {
                ensure!(entry.given_up, "records_are_of_known_messages", "{number} {entry:?}");
                self.ids.insert(id, Owner::GivenUp(number));
                continue;
            }
            entry.revived |= entry.end != End::Open;
            // It may have ended, and the end was not durable: then it ends again.
            (entry.end, entry.sent, entry.id, entry.doomed) = (End::Open, true, Some(id), false);
            self.ids.insert(id, Owner::Message(number));
        }
        Ok(())
    }

    /// The connection of a client has ended: its requests give their identifiers back.
    pub fn requests_end(&mut self) {
        self.ids.retain(|_, owner| *owner != Owner::Request);
    }

    /// An identifier is sent with something.
    pub fn takes(&mut self, id: PacketId, owner: Owner) -> Check {
        match self.ids.insert(id, owner) {
            Some(before) if before == owner && owner != Owner::Request => {}
            Some(Owner::Message(number)) => self.evicted.push(number),
            Some(before) => {
                let detail = format!("{id} of {before:?} for {owner:?}");
                return Err(Fault { rule: "no_live_identifier_is_reused", detail });
            }
            None => {}
        }
        Ok(())
    }

    /// All events are in: whose identifier was taken has to have ended.
    pub fn no_live_identifier_is_reused(&mut self) -> Check {
        for number in std::mem::take(&mut self.evicted) {
            let entry = &self.entries[&number];
            let free = entry.end != End::Open && !entry.given_up;
            ensure!(free, "no_live_identifier_is_reused", "{number} {entry:?}");
        }
        Ok(())
    }

    // ---- the receiver ----

    /// The receiver's application gets a message.
    pub fn message(&mut self, watch: &mut Watch, message: &Message) -> Check {
        let publish = &message.publish;
        let number = number_of(publish.payload_bytes())?;
        let Some(entry) = self.entries.get_mut(&number) else {
            return Err(Fault { rule: "content_is_kept", detail: format!("nobody sent {number}") });
        };
        let kept = publish.topic() == entry.topic
            && publish.qos() == entry.qos
            && publish.payload_bytes() == payload(number, entry.payload)
            && (has_type(publish) == entry.typed || entry.plain);
        ensure!(kept, "content_is_kept", "{number} {entry:?} {publish:?}");
        ensure!(entry.end != End::Cancelled, "what_is_cancelled_is_not_sent", "{number} {entry:?}");
        entry.deliveries += 1;
        let once = entry.qos == QoS::AtLeastOnce || entry.deliveries == 1;
        let rule = match entry.qos {
            QoS::ExactlyOnce => "exactly_once",
            _ => "at_most_once",
        };
        ensure!(once, rule, "{number} {entry:?}");
        if !entry.seen {
            entry.seen = true;
            let last = self.last_first;
            let in_order = number > last || entry.revived;
            ensure!(in_order, "first_deliveries_in_order", "{number} after {last}");
            self.last_first = number.max(last);
        }
        let acknowledged = entry.qos != QoS::AtMostOnce;
        ensure!(message.ack.is_some() == acknowledged, "ack_ids_are_given", "{number}");
        if let (Some(ack), Some(id)) = (message.ack, publish.packet_id()) {
            let found = match entry.qos {
                QoS::ExactlyOnce => self.held.get_mut(&id).map(|held| {
                    held.answer = None;
                    &mut held.ack
                }),
                _ => watch.awaiting(number),
            };
            let Some(slot) = found else {
                let detail = format!("{number} {id} did not come in");
                return Err(Fault { rule: "content_is_kept", detail });
            };
            *slot = Some(ack);
        }
        Ok(())
    }

    /// The receiver's application answers; tells whether the answer counts.
    pub fn answer(
        &mut self,
        watch: Option<&mut Watch>,
        ack: AckId,
        error: bool,
        taken: bool,
    ) -> bool {
        let held = self.held.values_mut().find(|held| held.ack == Some(ack));
        let (number, slot) = match held {
            Some(held) => (held.number, &mut held.answer),
            None => match watch.and_then(|watch| watch.awaiting_ack(ack)) {
                Some(found) => found,
                None => return false,
            },
        };
        if slot.is_some() {
            return false;
        }
        *slot = Some(error);
        let entry = self.entries.get_mut(&number).expect("it came in");
        if error {
            // Refused is not delivered: if the answer is lost, the message comes again.
            entry.refused = true;
            entry.uncount();
        }
        entry.taken |= taken;
        true
    }

    /// The receiver has a new session.
    pub fn forget(&mut self) {
        self.held.clear();
    }

    /// The receiver goes on with its records.
    pub fn restart_receiver(&mut self, disk: Option<&Disk>) {
        for entry in self.entries.values_mut().filter(|entry| !entry.settled) {
            // Between the delivery and the record of it a crash brings the message back.
            entry.deliveries = 0;
        }
        self.held.clear();
        for (key, _) in disk.iter().flat_map(|disk| disk.records()) {
            if let StoreKey::Inbound(id) = key {
                // Also one that PUBREL has ended, and that was not durable.
                let number = self.last_held[&id];
                self.held.insert(id, Held { number, ack: None, answer: Some(false) });
            }
        }
    }

    // ---- at rest ----

    /// Everything has come to an end, and nothing is owed.
    pub fn at_rest(&self) -> Check {
        for (number, entry) in &self.entries {
            ensure!(entry.end != End::Open, "every_token_ends_once", "{number} never: {entry:?}");
        }
        let ids = &self.ids;
        let given_up = |owner: &Owner| matches!(owner, Owner::GivenUp(_));
        ensure!(ids.values().all(given_up), "no_identifier_leaks", "{ids:?}");
        let held = &self.held;
        let known = held.keys().all(|id| ids.contains_key(id));
        ensure!(known, "nothing_is_held_at_rest", "{held:?}, and the sender has {ids:?}");
        ensure!(!self.waits, "writable_follows_full", "at rest, and never told");
        Ok(())
    }
}

/// QoS 1 and 2: an acknowledgement is the application's word, so the message was delivered.
fn published_means_taken(number: u64, entry: &Entry, error: bool) -> Check {
    let said = if error { entry.refused } else { entry.taken };
    let rule = match entry.qos {
        QoS::ExactlyOnce => "exactly_once_is_at_least_once",
        _ => "at_least_once",
    };
    ensure!(said && entry.seen, rule, "{number} {entry:?}");
    Ok(())
}

fn failure_has_a_cause(
    number: u64,
    entry: &Entry,
    failure: &Failure,
    permits: Permits,
    now: Instant,
) -> Check {
    let cause = match failure {
        Failure::SessionLost => entry.doomed,
        Failure::NotWritten => entry.qos == QoS::AtMostOnce && entry.sent,
        Failure::Expired => !entry.sent && entry.expires.is_some_and(|at| at <= now),
        Failure::TooLarge { size, limit } => *size > *limit as usize,
        Failure::NotSupported(_) => !permits.takes(entry.qos, entry.retain, entry.typed),
        _ => false,
    };
    ensure!(cause, "failure_has_a_cause", "{number} {failure:?} {entry:?}");
    Ok(())
}

/// What a session holds for its caller stays within what it was told.
pub fn memory_is_bounded(stats: &Stats, bounds: &Bounds) -> Check {
    let messages = stats.queued + stats.in_flight;
    let rule = "memory_is_bounded";
    ensure!(messages <= bounds.messages.max(1), rule, "{stats:?} {bounds:?}");
    ensure!(stats.held_bytes <= bounds.bytes || messages == 1, rule, "{stats:?} {bounds:?}");
    ensure!(stats.requests <= bounds.requests, rule, "{stats:?} {bounds:?}");
    Ok(())
}
