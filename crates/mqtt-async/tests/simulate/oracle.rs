//! What has to be true: a ledger for each direction, from the command of one application to the other.
//!
//! It knows what the applications did and were told, and nothing of the client in between. Each rule has
//! a name, which a failure tells.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use mqtt_async::{
    Dropped, Failure, Offline, Outbound, OutboundOverflow, Publish, PublishPacket, QoS, ReasonCode,
    TokenError,
};

use crate::calls::Calls;

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

/// What the sender of a message knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    topic: String,
    qos: QoS,
    len: usize,
}

impl Content {
    fn of(publish: &Publish) -> Content {
        let topic = publish.topic.as_str().to_owned();
        Content { topic, qos: publish.qos, len: publish.payload.len() }
    }

    fn is_kept(&self, number: u64, packet: &PublishPacket) -> Check {
        let kept = packet.topic() == self.topic
            && packet.qos() == self.qos
            && packet.payload_bytes() == payload(number, self.len);
        ensure!(kept, "content_is_kept", "{number} {self:?} {packet:?}");
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    /// Its token was dropped: nobody will know.
    Detached,
    Resolved,
    Cancelled,
    /// By a policy.
    Dropped,
}

/// A message of the client.
#[derive(Debug)]
struct Outgoing {
    content: Content,
    /// The first one that the client took has 1.
    place: usize,
    expires: Option<Duration>,
    end: End,
    /// Whether the server lost its session since.
    lost: bool,
    /// Whether the server's application ever had it.
    seen: bool,
    /// How often it had it, and nothing excuses another time.
    deliveries: u32,
    taken: bool,
    refused: BTreeSet<u8>,
}

/// A message of the server.
#[derive(Debug)]
struct Incoming {
    content: Content,
    /// The server has its outcome, or lost the session.
    ended: bool,
    /// How often each stream had it, and nothing excuses another time.
    taken: BTreeMap<u64, u32>,
    /// Whether any stream ever had it.
    seen: bool,
    /// Whether the application has answered it, or left that to the client.
    answered: bool,
    refused: bool,
    /// Whether it was dropped by a policy, as far as the server can tell.
    dropped: bool,
}

/// How the client has ended, as far as its application has to expect it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Endings {
    pub closed: bool,
    pub driver_dropped: bool,
    pub driver_failed: bool,
}

#[derive(Default)]
pub struct Oracle {
    outgoing: BTreeMap<u64, Outgoing>,
    incoming: BTreeMap<u64, Incoming>,
    /// What the client was told about messages that cannot be sent at once.
    pub outbound: Outbound,
    /// The last message of the client that its server had for the first time; by topic, where messages take
    /// the places of others.
    last_first: BTreeMap<String, usize>,
    /// How many tokens have said that a policy dropped the message.
    dropped_unsent: usize,
    /// The last one that a stream had for the first time, by stream, topic and QoS.
    last_taken: BTreeMap<(u64, String, u8), u64>,
    /// Messages that were acknowledged and taken by nobody.
    dropped: u64,
    /// Tokens that ended with the client, and tokens that were dropped.
    unanswered: usize,
    detached: usize,
    pub ends: Endings,
    pub calls: Calls,
}

/// Tells whether a policy can have dropped a message for that reason.
fn is_permitted(dropped: Dropped, outbound: Outbound, qos: QoS, followed: bool) -> bool {
    let Outbound { overflow, offline, .. } = outbound;
    match dropped {
        Dropped::Oldest => {
            matches!(overflow, OutboundOverflow::DropOldest | OutboundOverflow::LatestPerTopic)
        }
        Dropped::Newest => overflow == OutboundOverflow::DropNewest,
        Dropped::Replaced => overflow == OutboundOverflow::LatestPerTopic && followed,
        Dropped::Offline => !waits_offline(offline, qos),
        _ => false,
    }
}

/// Tells whether a message waits for a connection.
pub fn waits_offline(offline: Offline, qos: QoS) -> bool {
    match offline {
        Offline::All => true,
        Offline::Acknowledged => qos != QoS::AtMostOnce,
        _ => false,
    }
}

fn unknown(rule: &'static str, number: u64) -> Fault {
    Fault { rule, detail: format!("nobody sent {number}") }
}

// ---- from the client to the server ----

impl Oracle {
    pub fn new(outbound: Outbound) -> Oracle {
        Oracle { outbound, ..Oracle::default() }
    }

    pub fn accepted(&mut self, number: u64, publish: &Publish, expires: Option<Duration>) {
        let entry = Outgoing {
            content: Content::of(publish),
            place: self.outgoing.len() + 1,
            expires,
            end: End::Open,
            lost: false,
            seen: false,
            deliveries: 0,
            taken: false,
            refused: BTreeSet::new(),
        };
        self.outgoing.insert(number, entry);
    }

    fn outgoing(&mut self, number: u64) -> Result<&mut Outgoing, Fault> {
        self.outgoing.get_mut(&number).ok_or_else(|| unknown("content_is_kept", number))
    }

    /// The server's application gets a message.
    pub fn arrived(&mut self, packet: &PublishPacket) -> Result<u64, Fault> {
        let number = number_of(packet.payload_bytes())?;
        let replaces = self.replaces();
        let entry = self.outgoing(number)?;
        entry.content.is_kept(number, packet)?;
        ensure!(entry.end != End::Dropped, "what_is_dropped_is_not_sent", "{number} {entry:?}");
        ensure!(entry.end != End::Cancelled, "what_is_cancelled_is_not_sent", "{number}");
        entry.deliveries += 1;
        let rule = match entry.content.qos {
            QoS::ExactlyOnce => "exactly_once",
            _ => "at_most_once",
        };
        let once = entry.content.qos == QoS::AtLeastOnce || entry.deliveries == 1;
        ensure!(once, rule, "{number} {entry:?}");
        if !entry.seen {
            entry.seen = true;
            let line = if replaces { packet.topic() } else { "" };
            let last = self.last_first.entry(line.to_owned()).or_default();
            let place = self.outgoing.get(&number).map_or(0, |entry| entry.place);
            ensure!(place > *last, "first_deliveries_in_order", "{number}: {place} after {last}");
            *last = place;
        }
        Ok(number)
    }

    /// Tells whether a message can take the place of an earlier one.
    pub fn replaces(&self) -> bool {
        self.outbound.overflow == OutboundOverflow::LatestPerTopic
    }

    /// The server's application answers a message.
    pub fn server_answers(&mut self, number: u64, reason: ReasonCode, v5: bool) {
        let Some(entry) = self.outgoing.get_mut(&number) else { return };
        if reason.is_error() && v5 {
            entry.refused.insert(reason.get());
            // If the answer is lost, it comes again.
            entry.deliveries = 0;
        } else {
            entry.taken = true;
        }
    }

    /// The server has no session any more; whether the client sends all of it again.
    pub fn session_lost(&mut self, resends: bool) {
        self.calls.session_lost();
        for entry in self.outgoing.values_mut() {
            entry.lost = true;
            if resends {
                entry.deliveries = 0;
            }
        }
        for entry in self.incoming.values_mut() {
            entry.ended = true;
        }
    }

    /// A token has its outcome.
    pub fn resolved(
        &mut self,
        number: u64,
        result: &Result<ReasonCode, TokenError>,
        now: Duration,
    ) -> Check {
        let (ends, outbound) = (self.ends, self.outbound);
        let dropped = matches!(result, Err(TokenError::Dropped(_)));
        let known = self.outgoing.get(&number).filter(|_| dropped);
        let followed = known.is_some_and(|it| {
            let follows = |other: &Outgoing| {
                other.place > it.place && other.content.topic == it.content.topic
            };
            self.outgoing.values().any(follows)
        });
        let entry = self.outgoing(number)?;
        ensure!(entry.end == End::Open, "every_token_ends_once", "{number} {entry:?} {result:?}");
        entry.end = End::Resolved;
        let rule = "an_outcome_has_its_cause";
        let caused = match result {
            Ok(_) if entry.content.qos == QoS::AtMostOnce => true,
            Ok(_) => {
                ensure!(entry.taken, "at_least_once", "{number} {entry:?}");
                true
            }
            Err(TokenError::Rejected(rejected)) => {
                rejected.reasons.iter().any(|reason| entry.refused.contains(&reason.get()))
            }
            Err(TokenError::Failed(failure)) => match failure {
                Failure::SessionLost => entry.lost && entry.content.qos == QoS::ExactlyOnce,
                // After a loss it waits once more, whether it had arrived or not.
                Failure::Expired => {
                    entry.expires.is_some_and(|at| at <= now) && (!entry.seen || entry.lost)
                }
                Failure::NotWritten => entry.content.qos == QoS::AtMostOnce,
                Failure::TooLarge { size, limit } => *size > *limit as usize,
                _ => false,
            },
            Err(TokenError::Dropped(dropped)) => {
                entry.end = End::Dropped;
                !entry.seen && is_permitted(*dropped, outbound, entry.content.qos, followed)
            }
            Err(TokenError::Closed) => ends.closed,
            Err(TokenError::DriverGone) => ends.driver_dropped,
            Err(TokenError::Ended(_)) => ends.driver_failed,
            Err(_) => false,
        };
        ensure!(caused, rule, "{number} {entry:?} {result:?} {ends:?} {outbound:?}");
        self.dropped_unsent += usize::from(matches!(result, Err(TokenError::Dropped(_))));
        if let Err(TokenError::Closed | TokenError::DriverGone | TokenError::Ended(_)) = result {
            self.unanswered += 1;
        }
        Ok(())
    }

    /// The first answer to a message of QoS 2, or the only one.
    pub fn received(&mut self, number: u64, result: &Result<ReasonCode, TokenError>) -> Check {
        let entry = self.outgoing(number)?;
        let told = result.is_err() || entry.content.qos == QoS::AtMostOnce || entry.taken;
        ensure!(told, "received_means_taken", "{number} {entry:?}");
        Ok(())
    }

    pub fn cancelled(&mut self, number: u64, back: Option<&Publish>) -> Check {
        let entry = self.outgoing(number)?;
        let Some(back) = back else {
            entry.end = End::Detached;
            self.detached += 1;
            return Ok(());
        };
        ensure!(!entry.seen, "only_what_was_never_sent_is_cancelled", "{number} {entry:?}");
        ensure!(Content::of(back) == entry.content, "content_is_kept", "{number} {back:?}");
        entry.end = End::Cancelled;
        Ok(())
    }

    pub fn detached(&mut self, number: u64) {
        if let Some(entry) = self.outgoing.get_mut(&number) {
            entry.end = End::Detached;
            self.detached += 1;
        }
    }

    /// A message has no token at all.
    pub fn unseen(&mut self) {
        self.detached += 1;
    }

    /// A message is reported as never sent; returns its place.
    pub fn unsent(&mut self, publish: &Publish) -> Result<usize, Fault> {
        let number = number_of(&publish.payload)?;
        let entry = self.outgoing(number)?;
        let unsent = entry.deliveries == 0 && Content::of(publish) == entry.content;
        ensure!(unsent, "what_is_unsent_was_not_sent", "{number} {entry:?}");
        Ok(entry.place)
    }

    /// The client says how many messages its policies have dropped.
    pub fn counted(&self, dropped: u64) -> Check {
        let Oracle { dropped_unsent, detached, .. } = self;
        let right = (*dropped_unsent..=dropped_unsent + detached).contains(&(dropped as usize));
        let detail = format!("{dropped}: {dropped_unsent} were told, {detached} tokens are gone");
        ensure!(right, "what_is_dropped_unsent_is_counted", "{detail}");
        Ok(())
    }

    /// The client has ended, and says how many messages had no answer.
    pub fn left(&self, count: usize) -> Check {
        let Oracle { unanswered, detached, .. } = self;
        let right = (*unanswered..=unanswered + detached).contains(&count);
        ensure!(right, "the_report_counts_all", "{count}: {unanswered} waited, {detached} did not");
        Ok(())
    }
}

// ---- from the server to the client ----

impl Oracle {
    pub fn sent(&mut self, number: u64, publish: &Publish) {
        let entry = Incoming {
            content: Content::of(publish),
            ended: false,
            taken: BTreeMap::new(),
            seen: false,
            answered: false,
            refused: false,
            dropped: false,
        };
        self.incoming.insert(number, entry);
    }

    /// Returns the number of the last message that the server had.
    pub fn last_sent(&self) -> u64 {
        self.incoming.last_key_value().map_or(0, |(number, _)| *number)
    }

    fn incoming(&mut self, number: u64) -> Result<&mut Incoming, Fault> {
        self.incoming.get_mut(&number).ok_or_else(|| unknown("content_is_kept", number))
    }

    /// The client's application takes a message out of a stream; `ordered` tells whether nothing excuses that
    /// it comes behind a later one.
    pub fn taken(
        &mut self,
        (stream, ordered): (u64, bool),
        packet: &PublishPacket,
        manual: bool,
    ) -> Result<u64, Fault> {
        let number = number_of(packet.payload_bytes())?;
        let entry = self.incoming(number)?;
        entry.content.is_kept(number, packet)?;
        let times = entry.taken.entry(stream).or_default();
        *times += 1;
        let (first, once) = (!entry.seen && !entry.refused, *times == 1);
        let qos = entry.content.qos;
        let rule = match qos {
            QoS::ExactlyOnce => "exactly_once",
            _ => "at_most_once",
        };
        // What was refused comes again if that answer was lost, to all who had it.
        let again = qos == QoS::AtLeastOnce || entry.refused;
        ensure!(once || again, rule, "{number} on {stream}: {entry:?}");
        let again =
            qos == QoS::ExactlyOnce && entry.taken.len() > 1 && entry.taken.contains_key(&0);
        ensure!(!again, rule, "{number} on a stream and on messages(): {entry:?}");
        entry.seen = true;
        if !manual {
            entry.answered = true;
        }
        if first && ordered {
            let key = (stream, entry.content.topic.clone(), qos as u8);
            let last = self.last_taken.entry(key).or_default();
            ensure!(number > *last, "order_of_a_topic", "{number} after {last} on {stream}");
            *last = number;
        }
        Ok(number)
    }

    /// The application acknowledges a message, or refuses it.
    pub fn answered(&mut self, number: u64, refused: bool) {
        let Some(entry) = self.incoming.get_mut(&number) else { return };
        entry.answered = true;
        if refused {
            entry.refused = true;
            entry.taken.clear();
        }
    }

    /// The server learns what became of its message; `may_drop` tells whether a policy can have dropped it.
    pub fn server_told(&mut self, number: u64, may_drop: bool) -> Check {
        let entry = self.incoming(number)?;
        ensure!(!entry.ended, "every_message_ends_once", "{number} {entry:?}");
        entry.ended = true;
        if entry.content.qos != QoS::AtMostOnce && !entry.answered {
            ensure!(may_drop, "nothing_is_acked_before_it_is_taken", "{number} {entry:?}");
            entry.dropped = true;
            self.dropped += u64::from(!entry.seen);
        }
        Ok(())
    }

    /// The server has given a message up: it expired, or is too large for the client.
    pub fn server_failed(&mut self, number: u64) -> Check {
        self.incoming(number)?.ended = true;
        Ok(())
    }

    /// Returns the topic and the QoS of a message that the server has sent.
    pub fn facts_of(&self, number: u64) -> (String, QoS) {
        let content = &self.incoming[&number].content;
        (content.topic.clone(), content.qos)
    }

    /// Everything that the server has sent was taken, or dropped by a policy, which counts.
    pub fn at_rest(&self, lagged: u64) -> Check {
        for (number, entry) in &self.incoming {
            ensure!(entry.ended, "at_least_once", "{number} has no end: {entry:?}");
        }
        ensure!(self.dropped <= lagged, "drops_are_counted", "{} of {lagged}", self.dropped);
        for (number, entry) in &self.outgoing {
            let open = entry.end == End::Open;
            ensure!(!open, "every_token_resolves", "{number}: {entry:?}");
        }
        Ok(())
    }
}
