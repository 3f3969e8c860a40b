//! The client's application: what it does with the client, and what it is told.
//!
//! Whatever it waits for it polls once, and then only when it was woken: a wake-up that is lost shows.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use futures_lite::Stream;
use mqtt_async::{
    Client, CommandError, Config, Event, Events, Inbound, Message, Messages, OutboundOverflow,
    Overflow, Phase, Publish, PublishError, Publishing, QoS, Ready, ReasonCode, Resubscribe,
    StatusChanges, Subscribe, Subscribing, Subscription, TopicFilter, TopicName, Unsubscribing,
    Version,
};

use crate::calls::{Calling, is_for_responses};
use crate::habits::{self, FILTERS, Payloads};
use crate::oracle::{Check, Fault, Oracle, ensure, number_of, waits_offline};
use crate::random::Random;
use crate::sleeper::Sleeper;
use crate::tally::Tally;
use crate::waits::Line;

pub struct Waiting {
    pub number: u64,
    pub token: Publishing,
    pub sleeper: Sleeper,
    /// Whether the first answer is waited for, and then the last one.
    pub received: bool,
}

pub enum Request {
    Subscribing(Subscribing),
    Unsubscribing(Unsubscribing),
}

pub struct Listening {
    pub name: u64,
    pub filter: TopicFilter,
    pub stream: Subscription,
    pub sleeper: Sleeper,
    pub bounds: Inbound,
    /// The last message that the server had when it was made.
    since: u64,
}

pub struct App {
    pub version: Version,
    pub client: Option<Client>,
    pub rest: Option<(Messages, Sleeper)>,
    pub streams: Vec<Listening>,
    pub tokens: Vec<Waiting>,
    pub requests: Vec<(String, Request, Sleeper)>,
    /// Messages that wait for room, in the order in which they were made.
    pub line: Vec<Line>,
    pub calls: Vec<Calling>,
    pub held: Vec<(u64, Message)>,
    pub ready: Option<(Ready, Sleeper)>,
    pub events: Option<(Events, Sleeper)>,
    pub changes: Option<(StatusChanges, Sleeper)>,
    /// Filters that were subscribed to, and whether the last word on each was that it is there.
    pub wanted: BTreeMap<String, bool>,
    /// Filters of streams that may drop messages.
    pub dropping: Vec<TopicFilter>,
    pub bounds: Inbound,
    pub outbound: mqtt_proto::Bounds,
    pub manual: bool,
    pub resubscribe: Resubscribe,
    pub payloads: Payloads,
    pub next_stream: u64,
    /// Of a hundred messages of manual acknowledgement, how many are dropped without an answer.
    pub forgets: u64,
    /// Whether a stream was dropped that had ended before: what it had not taken then comes behind messages
    /// that came later.
    late: bool,
    /// Whether a message was dropped without an answer, for which the server waits.
    pub owes: bool,
    pub connected: bool,
    pub phase: Option<Phase>,
    /// Whether the faults are over.
    pub calm: bool,
    pub tally: Tally,
}

impl App {
    pub fn new(client: Client, config: &Config, random: &mut Random) -> App {
        App {
            version: config.session.version,
            rest: Some((client.messages(), Sleeper::default())),
            streams: Vec::new(),
            tokens: Vec::new(),
            requests: Vec::new(),
            line: Vec::new(),
            calls: Vec::new(),
            held: Vec::new(),
            ready: None,
            events: Some((client.events(), Sleeper::default())),
            changes: Some((client.status_changes(), Sleeper::default())),
            wanted: BTreeMap::new(),
            dropping: Vec::new(),
            bounds: config.inbound,
            outbound: config.session.bounds,
            manual: config.manual_ack,
            resubscribe: config.resubscribe,
            payloads: Payloads::default(),
            next_stream: 1,
            forgets: random.pick(&[0, 0, 20]),
            late: false,
            owes: false,
            connected: false,
            phase: None,
            calm: false,
            tally: Tally::default(),
            client: Some(client),
        }
    }

    /// Tells whether a policy may have dropped a message of that topic.
    pub fn may_drop(&self, topic: &str) -> bool {
        let name = TopicName::new(topic).expect("a topic");
        self.bounds.overflow != Overflow::Block
            || self.dropping.iter().any(|filter| filter.matches(&name))
    }

    // ---- commands ----

    pub fn publish(
        &mut self,
        number: u64,
        now: Duration,
        random: &mut Random,
        oracle: &mut Oracle,
    ) -> Check {
        let Some(client) = &self.client else { return Ok(()) };
        let publish = habits::publish(number, random, Some(&self.payloads));
        let facts = publish.clone();
        let seconds = publish.properties.get().and_then(|fields| fields.message_expiry_interval);
        let expires = seconds.map(|seconds| now + Duration::from_secs(seconds.into()));
        match client.send(publish) {
            Ok(token) => {
                self.accepted(number, &facts, expires, token, random, oracle);
                Ok(())
            }
            Err(PublishError::Full(back)) => {
                self.tally.full += 1;
                let stats = client.stats();
                let full = stats.queued + stats.in_flight > 0
                    && *back == facts
                    && oracle.outbound.overflow == OutboundOverflow::Reject;
                ensure!(full, "full_hands_the_message_back", "{number}: {stats:?}");
                if self.ready.is_none() {
                    self.ready = Some((client.ready(), Sleeper::default()));
                }
                Ok(())
            }
            Err(error) => self.refused(number, &facts, error, oracle),
        }
    }

    /// The client has taken a message.
    pub fn accepted(
        &mut self,
        number: u64,
        facts: &Publish,
        expires: Option<Duration>,
        token: Publishing,
        random: &mut Random,
        oracle: &mut Oracle,
    ) {
        self.tally.published += 1;
        oracle.accepted(number, facts, expires);
        if random.chance(20) {
            oracle.detached(number);
            return;
        }
        let (sleeper, received) = (Sleeper::default(), random.chance(30));
        self.tokens.push(Waiting { number, token, sleeper, received });
    }

    /// The client has not taken a message, and that is not for want of room.
    pub fn refused(
        &self,
        number: u64,
        facts: &Publish,
        error: PublishError,
        oracle: &Oracle,
    ) -> Check {
        match error {
            PublishError::Offline(back) => {
                let waits = waits_offline(oracle.outbound.offline, facts.qos);
                let connected =
                    self.client.as_ref().is_some_and(|it| it.status().connected.is_some());
                let offline = !connected && *back == *facts;
                ensure!(offline && !waits, "what_may_not_wait_is_handed_back", "{number}");
            }
            PublishError::Closed(back) => {
                let ended =
                    oracle.ends.closed || oracle.ends.driver_dropped || oracle.ends.driver_failed;
                ensure!(ended && *back == *facts, "commands_work", "{number} was refused");
            }
            PublishError::TooLarge { size, limit } => {
                ensure!(size > limit as usize, "commands_work", "{size} {limit}");
            }
            error => {
                return Err(Fault { rule: "commands_work", detail: format!("{error:?}") });
            }
        }
        Ok(())
    }

    fn filter(&self, random: &mut Random) -> &'static str {
        let count = FILTERS.len() - usize::from(!self.version.is_v5());
        FILTERS[random.index(count)]
    }

    /// Subscribes or unsubscribes, without a stream.
    pub fn request(&mut self, random: &mut Random) -> Check {
        let filter = self.filter(random);

        // The server knows one subscription for a filter: what a stream listens to is left alone.
        if self.streams.iter().any(|stream| stream.filter.as_str() == filter) {
            return Ok(());
        }
        let Some(client) = &self.client else { return Ok(()) };
        let busy = self.requests.iter().any(|(other, ..)| other == filter);
        let known = self.wanted.contains_key(filter);
        if busy || (known && random.chance(50)) {
            return Ok(());
        }
        let request = if known {
            client.unsubscribe(filter).map(Request::Unsubscribing)
        } else {
            client.subscribe(filter, QoS::ExactlyOnce).map(Request::Subscribing)
        };
        match request {
            Ok(request) => {
                self.wanted.remove(filter);

                self.requests.push((filter.to_owned(), request, Sleeper::default()));
            }
            Err(CommandError::Full | CommandError::Closed) => {}
            Err(error) => {
                return Err(Fault { rule: "commands_work", detail: format!("{error:?}") });
            }
        }
        Ok(())
    }

    pub fn listen(&mut self, random: &mut Random, oracle: &Oracle) -> Check {
        let filter = self.filter(random);

        let asked = |(other, ..): &(String, _, _)| other == filter;
        if self.streams.len() > 3
            || self.wanted.contains_key(filter)
            || self.requests.iter().any(asked)
        {
            return Ok(());
        }
        let Some(client) = &self.client else { return Ok(()) };
        let filter = TopicFilter::new(filter).expect("a filter");
        let bounds = habits::inbound(random);
        match client.listen_with(Subscribe::new(filter.clone(), QoS::ExactlyOnce), bounds) {
            Ok(stream) => {
                self.tally.streams += 1;
                if bounds.overflow != Overflow::Block {
                    self.dropping.push(filter.clone());
                }
                let name = self.next_stream;
                self.next_stream += 1;
                let (sleeper, since) = (Sleeper::default(), oracle.last_sent());
                self.streams.push(Listening { name, filter, stream, sleeper, bounds, since });
                Ok(())
            }
            Err(CommandError::Full | CommandError::Closed) => Ok(()),
            Err(error) => Err(Fault { rule: "commands_work", detail: format!("{error:?}") }),
        }
    }

    pub fn drop_stream(&mut self, random: &mut Random) {
        if !self.streams.is_empty() {
            self.remove_stream(random.index(self.streams.len()));
        }
    }

    fn remove_stream(&mut self, at: usize) {
        let Listening { stream, .. } = self.streams.remove(at);
        self.late |= stream.error().is_some();
    }

    pub fn drop_streams_and_handles(&mut self) {
        self.streams.clear();
        self.rest = None;
        self.client = None;
    }

    // ---- what is waited for ----

    /// Takes one message out of some stream, if there is one; tells whether there was.
    pub fn take(&mut self, random: &mut Random, oracle: &mut Oracle) -> Result<bool, Fault> {
        let count = self.streams.len() + 1;
        let first = random.index(count);
        for at in (first..count).chain(0..first) {
            if self.take_from(at, random, oracle)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn take_from(
        &mut self,
        at: usize,
        random: &mut Random,
        oracle: &mut Oracle,
    ) -> Result<bool, Fault> {
        // Who only tries does not learn of the end.
        let tries = !self.calm && random.chance(20);
        let (name, since, taken) = match self.streams.get_mut(at) {
            Some(listening) => {
                let Listening { name, stream, sleeper, since, .. } = listening;
                (*name, *since, take_one(stream, sleeper, tries, random, Subscription::try_next))
            }
            None => {
                let Some((messages, sleeper)) = &mut self.rest else { return Ok(false) };
                (0, 0, take_one(messages, sleeper, tries, random, Messages::try_next))
            }
        };
        let Some(next) = taken else { return Ok(false) };
        let Some(message) = next else {
            let ended = self.client.as_ref().is_none_or(|it| it.status().phase == Phase::Ended);
            let refused = self.streams.get(at).is_some_and(|it| it.stream.error().is_some());
            ensure!(ended || refused, "streams_end_with_the_client", "{name}");
            if refused {
                self.remove_stream(at);
            }
            return Ok(refused);
        };
        if let Some(listening) = self.streams.get(at) {
            let topic = message.topic_name().expect("it has a topic");
            let belongs = listening.filter.matches(&topic);
            ensure!(belongs, "a_stream_has_its_messages", "{topic:?} {:?}", listening.filter);
        }
        if is_for_responses(message.topic()) {
            // It came too late, or to a filter for everything.
            if self.manual {
                message.ack();
            }
            return Ok(true);
        }
        self.tally.taken += 1;
        // At QoS 1 what a policy has dropped comes again if its acknowledgement was lost; and what one stream
        // has dropped, another may leave behind when it is dropped itself.
        let loose = name == 0 || message.qos() == QoS::AtLeastOnce;
        // What waits elsewhere since before the stream was made comes again on the next connection, and then to the
        // stream.
        let moved = message.packet().dup() && number_of(message.packet().payload_bytes())? <= since;
        let excused =
            (loose && self.may_drop(message.topic())) || (name == 0 && self.late) || moved;
        let number = oracle.taken((name, !excused), message.packet(), self.manual)?;
        if self.manual && message.qos() != QoS::AtMostOnce {
            self.held.push((number, message));
        }
        Ok(true)
    }

    /// Acknowledges one of the messages that are held, refuses or forgets it.
    pub fn acknowledge(&mut self, random: &mut Random, oracle: &mut Oracle) -> bool {
        if self.held.is_empty() {
            return false;
        }
        let (number, message) = self.held.remove(random.index(self.held.len()));
        if !self.calm && self.version != Version::V31 && random.chance(self.forgets) {
            self.owes = true;
            return true;
        }
        let refuses = random.chance(10);
        oracle.answered(number, refuses && self.version.is_v5());
        match refuses {
            true => message.reject(ReasonCode::QUOTA_EXCEEDED),
            false => message.ack(),
        }
        true
    }

    /// Polls the tokens that were woken.
    pub fn tokens(
        &mut self,
        now: Duration,
        random: &mut Random,
        oracle: &mut Oracle,
    ) -> Result<bool, Fault> {
        let mut any = false;
        let mut at = 0;
        while let Some(waiting) = self.tokens.get_mut(at) {
            let Waiting { number, token, sleeper, received } = waiting;
            if *received {
                if let Some(result) = sleeper.future(random, &mut token.received()) {
                    oracle.received(*number, &result)?;
                    *received = false;
                    any = true;
                }
                at += 1;
            } else if let Some(result) = sleeper.future(random, token) {
                self.tally.resolved += 1;
                oracle.resolved(*number, &result.map(|published| published.reason), now)?;
                self.tokens.remove(at);
                any = true;
            } else {
                at += 1;
            }
        }
        let mut at = 0;
        while let Some((filter, request, sleeper)) = self.requests.get_mut(at) {
            let result = match request {
                Request::Subscribing(token) => {
                    sleeper.future(random, token).map(|result| (true, result.is_ok()))
                }
                Request::Unsubscribing(token) => {
                    sleeper.future(random, token).map(|result| (false, result.is_ok()))
                }
            };
            let Some((subscribes, granted)) = result else {
                at += 1;
                continue;
            };
            any = true;
            if subscribes && granted {
                self.wanted.insert(filter.clone(), true);
            }
            self.requests.remove(at);
        }
        Ok(any)
    }

    pub fn drop_token(&mut self, random: &mut Random, oracle: &mut Oracle) {
        if !self.tokens.is_empty() {
            let waiting = self.tokens.remove(random.index(self.tokens.len()));
            oracle.detached(waiting.number);
        }
    }

    pub fn cancel(&mut self, random: &mut Random, oracle: &mut Oracle) -> Check {
        if self.tokens.is_empty() {
            return Ok(());
        }
        let waiting = self.tokens.remove(random.index(self.tokens.len()));
        let back = waiting.token.cancel();
        self.tally.cancelled += u64::from(back.is_some());
        oracle.cancelled(waiting.number, back.as_ref())
    }

    /// Looks at what the client tells about itself, if it was woken for it.
    pub fn watch(&mut self, random: &mut Random) -> Result<bool, Fault> {
        let mut any = false;
        if let Some((ready, sleeper)) = &mut self.ready
            && sleeper.future(random, ready).is_some()
        {
            self.ready = None;
            any = true;
        }
        while let Some((events, sleeper)) = &mut self.events
            && let Some(event) = sleeper.poll(random, |cx| Pin::new(&mut *events).poll_next(cx))
        {
            any = true;
            ensure!(events.lagged() == 0, "events_are_told", "{} are lost", events.lagged());
            let rule = "events_alternate";
            match event {
                Some(Event::Connected(_)) => {
                    ensure!(!self.connected, rule, "connected twice");
                    self.connected = true;
                    self.tally.connections += 1;
                }
                Some(Event::Disconnected { .. }) => {
                    ensure!(self.connected, rule, "disconnected without a connection");
                    self.connected = false;
                }
                Some(Event::AttemptFailed { .. }) => {
                    ensure!(!self.connected, rule, "an attempt beside a connection");
                }
                None => self.events = None,
                _ => {}
            }
        }
        while let Some((changes, sleeper)) = &mut self.changes
            && let Some(status) = sleeper.poll(random, |cx| Pin::new(&mut *changes).poll_next(cx))
        {
            any = true;
            match status {
                Some(status) => self.phase = Some(status.phase),
                None => self.changes = None,
            }
        }
        Ok(any)
    }
}

/// Looks for a message, as one who waits or as one who does not.
fn take_one<S: Stream<Item = Message> + Unpin>(
    stream: &mut S,
    sleeper: &mut Sleeper,
    tries: bool,
    random: &mut Random,
    try_next: fn(&mut S) -> Option<Message>,
) -> Option<Option<Message>> {
    match tries {
        true => try_next(stream).map(Some),
        false => sleeper.poll(random, |cx| Pin::new(stream).poll_next(cx)),
    }
}
