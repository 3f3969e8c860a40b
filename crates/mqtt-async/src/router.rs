//! Which stream a message goes to, and when it is acknowledged.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::task::Waker;

use mqtt_proto::{
    AckId, AckProperties, Client, FilterTree, Message, Property, PublishPacket, QoS, ReasonCode,
    Session, SubAck, Subscribe, SubscriptionOptions, Token, TopicFilter, matches,
};

use crate::config::Inbound;
use crate::error::{CommandError, Rejected, TokenError};
use crate::queue::Queue;

/// The first Subscription Identifier of a stream; what is below is left to the application.
const FIRST_IDENTIFIER: u32 = 8192;
const LAST_IDENTIFIER: u32 = 268_435_455;

/// Tells whether messages can carry Subscription Identifiers; without a connection it is assumed.
pub(crate) fn has_identifiers(session: &Session<Client>) -> bool {
    session.config().version.is_v5()
        && session.limits().is_none_or(|limits| limits.subscription_identifier_available)
}

#[derive(Debug)]
pub(crate) struct Router {
    /// What matches no stream: the queue of `messages()`.
    rest: Queue,
    streams: BTreeMap<u64, Listener>,
    next_stream: u64,
    filters: FilterTree<Listened>,
    /// The filters that share an identifier were subscribed to in one SUBSCRIBE.
    identifiers: HashMap<u32, Vec<TopicFilter>>,
    next_identifier: u32,
    /// The SUBSCRIBEs of streams that have no answer yet.
    requests: HashMap<Token, Subscribe>,
    /// Messages that more than one stream has had.
    copies: HashMap<AckId, Copies>,
    /// What nobody listens to any more, to be unsubscribed from.
    unwanted: VecDeque<Vec<TopicFilter>>,
    /// How many of these, the last ones, are not to be subscribed to anew, and nobody has noted that yet.
    unnoted: usize,
    /// What streams that are gone have dropped.
    lagged: u64,
    copy_up_to: usize,
    /// Counts the blocks that were read.
    block: u64,
    /// The streams that have had more than their bounds, and perhaps still do: there may be thousands that
    /// have not.
    over: BTreeSet<u64>,
    /// Kept for their capacity.
    targets: Vec<u64>,
    dropped: Vec<AckId>,
}

/// A stream.
#[derive(Debug)]
pub(crate) struct Listener {
    queue: Queue,
    filters: Vec<TopicFilter>,
    pub(crate) waker: Option<Waker>,
    /// Set when nothing more will come, with the reason if it is a failure.
    end: Option<Option<TokenError>>,
}

/// A filter that streams listen to.
#[derive(Debug)]
struct Listened {
    options: SubscriptionOptions,
    identifier: Option<u32>,
    /// In the order in which they came, never empty.
    streams: Vec<u64>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Asked(Token),
    Granted(ReasonCode, AckProperties),
}

#[derive(Debug)]
struct Copies {
    qos: QoS,
    /// How many streams have not acknowledged it.
    left: usize,
    /// Whether somebody has taken it; else it must not end with the streams that had it.
    taken: bool,
    /// The first failure, if there is one.
    reason: ReasonCode,
}

impl Listener {
    pub(crate) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    pub(crate) fn error(&self) -> Option<&TokenError> {
        self.end.as_ref()?.as_ref()
    }

    pub(crate) fn lagged(&self) -> u64 {
        self.queue.lagged()
    }

    fn finish(&mut self, error: Option<TokenError>, woken: &mut Vec<Waker>) {
        self.end.get_or_insert(error);
        woken.extend(self.waker.take());
    }
}

impl Router {
    pub(crate) fn new(bounds: Inbound, copy_up_to: usize) -> Router {
        Router {
            rest: Queue::new(bounds, copy_up_to),
            streams: BTreeMap::new(),
            next_stream: 0,
            filters: FilterTree::new(),
            identifiers: HashMap::new(),
            next_identifier: FIRST_IDENTIFIER,
            requests: HashMap::new(),
            copies: HashMap::new(),
            unwanted: VecDeque::new(),
            unnoted: 0,
            lagged: 0,
            copy_up_to,
            block: 0,
            over: BTreeSet::new(),
            targets: Vec::new(),
            dropped: Vec::new(),
        }
    }

    /// Makes a stream; returns its name, and the SUBSCRIBE that was sent if there was need of one.
    pub(crate) fn listen(
        &mut self,
        session: &mut Session<Client>,
        subscribe: Subscribe,
        bounds: Inbound,
    ) -> Result<(u64, Option<(Token, Subscribe)>), CommandError> {
        if subscribe.subscription_identifier.is_some() {
            let what = "a stream chooses its Subscription Identifier itself";
            return Err(CommandError::Unexpected(what));
        }
        let mut filters = Vec::new();
        let mut asked = Subscribe { subscriptions: Vec::new(), ..subscribe };
        let subscriptions = subscribe.subscriptions;
        let empty = subscriptions.is_empty();
        for subscription in subscriptions {
            if filters.contains(&subscription.filter) {
                return Err(CommandError::Unexpected("a filter stands twice in the SUBSCRIBE"));
            }
            filters.push(subscription.filter.clone());
            match self.filters.get(&subscription.filter) {
                Some(listened) if listened.options == subscription.options => {}
                Some(_) => {
                    let what = "another stream listens to this filter with other options";
                    return Err(CommandError::Unexpected(what));
                }
                None => asked.subscriptions.push(subscription),
            }
        }
        let stream = self.next_stream;
        let mut sent = None;
        if empty || !asked.subscriptions.is_empty() {
            let identifier = has_identifiers(session).then(|| self.free_identifier());
            asked.subscription_identifier = identifier;
            let token = session.subscribe(asked.clone())?;
            if let Some(identifier) = identifier {
                let filters = asked.subscriptions.iter().map(|it| it.filter.clone());
                self.identifiers.insert(identifier, filters.collect());
            }
            for subscription in &asked.subscriptions {
                let listened = Listened {
                    options: subscription.options,
                    identifier,
                    streams: Vec::new(),
                    stage: Stage::Asked(token),
                };
                self.filters.insert(&subscription.filter, listened);
            }
            self.requests.insert(token, asked.clone());
            sent = Some((token, asked));
        }
        for filter in &filters {
            if let Some(listened) = self.filters.get_mut(filter) {
                listened.streams.push(stream);
            }
            // An UNSUBSCRIBE that was not sent yet would end what is just being made.
            self.unwanted.iter_mut().for_each(|unwanted| unwanted.retain(|it| it != filter));
        }
        self.unwanted.retain(|unwanted| !unwanted.is_empty());
        self.next_stream += 1;
        let queue = Queue::new(bounds, self.copy_up_to);
        self.streams.insert(stream, Listener { queue, filters, waker: None, end: None });
        Ok((stream, sent))
    }

    fn free_identifier(&mut self) -> u32 {
        while self.identifiers.contains_key(&self.next_identifier) {
            self.advance_identifier();
        }
        let identifier = self.next_identifier;
        self.advance_identifier();
        identifier
    }

    fn advance_identifier(&mut self) {
        let next = self.next_identifier + 1;
        self.next_identifier = if next > LAST_IDENTIFIER { FIRST_IDENTIFIER } else { next };
    }

    /// Tells whether a stream has that identifier.
    pub(crate) fn knows(&self, identifier: u32) -> bool {
        self.identifiers.contains_key(&identifier)
    }

    /// The messages that come now are parts of another block.
    pub(crate) fn begin_block(&mut self) {
        self.block += 1;
    }

    /// Gives a message to whom it concerns; tells whether that is the queue of `messages()`.
    #[inline]
    pub(crate) fn deliver(
        &mut self,
        message: Message,
        session: &mut Session<Client>,
        woken: &mut Vec<Waker>,
    ) -> bool {
        if self.streams.is_empty() {
            self.rest.push(message, self.block, &mut self.dropped);
            self.acknowledge_dropped(session);
            return true;
        }
        self.deliver_to_streams(message, session, woken)
    }

    fn deliver_to_streams(
        &mut self,
        message: Message,
        session: &mut Session<Client>,
        woken: &mut Vec<Waker>,
    ) -> bool {
        self.find_targets(&message.publish);
        let targets = std::mem::take(&mut self.targets);
        if let (Some(ack), 2..) = (message.ack, targets.len()) {
            let qos = message.publish.qos();
            let (left, reason) = (targets.len(), ReasonCode::SUCCESS);
            self.copies.insert(ack, Copies { qos, left, taken: false, reason });
        }
        if let Some((last, others)) = targets.split_last() {
            for stream in others {
                self.push(*stream, message.clone(), woken);
            }
            self.push(*last, message, woken);
        } else {
            self.rest.push(message, self.block, &mut self.dropped);
        }
        let rest = targets.is_empty();
        self.targets = targets;
        self.acknowledge_dropped(session);
        rest
    }

    fn push(&mut self, stream: u64, message: Message, woken: &mut Vec<Waker>) {
        if let Some(listener) = self.streams.get_mut(&stream) {
            listener.queue.push(message, self.block, &mut self.dropped);
            if listener.queue.is_over() {
                self.over.insert(stream);
            }
            woken.extend(listener.waker.take());
        }
    }

    /// Finds the streams of a message: by its identifiers if these say something, else by its topic.
    fn find_targets(&mut self, publish: &PublishPacket) {
        self.targets.clear();
        let topic = publish.topic_bytes();
        if !self.identifiers.is_empty() {
            for property in publish.properties() {
                let Property::SubscriptionIdentifier(identifier) = property else { continue };
                // An earlier process may have used the number for another filter of this session.
                for filter in self.identifiers.get(&identifier).into_iter().flatten() {
                    if matches(filter.filter().as_bytes(), topic)
                        && let Some(listened) = self.filters.get(filter)
                    {
                        self.targets.extend(&listened.streams);
                    }
                }
            }
        }
        if self.targets.is_empty() {
            let targets = &mut self.targets;
            self.filters.for_each_match_bytes(topic, |it| targets.extend(&it.streams));
        }
        self.targets.sort_unstable();
        self.targets.dedup();
    }

    #[inline]
    fn acknowledge_dropped(&mut self, session: &mut Session<Client>) {
        if self.dropped.is_empty() {
            return;
        }
        let mut dropped = std::mem::take(&mut self.dropped);
        for ack in dropped.drain(..) {
            self.forgo(session, ack, ReasonCode::SUCCESS);
        }
        self.dropped = dropped;
    }

    /// Acknowledges a message for one who has taken it; what others have as well waits for the last of them.
    pub(crate) fn acknowledge(
        &mut self,
        session: &mut Session<Client>,
        ack: AckId,
        reason: ReasonCode,
    ) {
        if let Some(copies) = self.copies.get_mut(&ack) {
            copies.taken = true;
        }
        self.forgo(session, ack, reason);
    }

    /// One who had a message has it no more.
    fn forgo(&mut self, session: &mut Session<Client>, ack: AckId, mut reason: ReasonCode) {
        if let Some(copies) = self.copies.get_mut(&ack) {
            if !copies.reason.is_error() {
                copies.reason = reason;
            }
            copies.left = copies.left.saturating_sub(1);
            if copies.left > 0 {
                return;
            }
            reason = copies.reason;
            self.copies.remove(&ack);
        }
        session.ack(ack, reason);
    }

    /// Takes the next message of a stream, or of `messages()`.
    #[inline(always)]
    pub(crate) fn pop(&mut self, stream: Option<u64>, settled: &mut bool) -> Option<Message> {
        match stream {
            Some(stream) => self.streams.get_mut(&stream)?.queue.pop(settled),
            None => self.rest.pop(settled),
        }
    }

    pub(crate) fn stream(&self, stream: u64) -> Option<&Listener> {
        self.streams.get(&stream)
    }

    pub(crate) fn stream_mut(&mut self, stream: u64) -> Option<&mut Listener> {
        self.streams.get_mut(&stream)
    }

    /// Returns what the server granted for each filter of a stream, once it has answered all.
    pub(crate) fn granted(&self, stream: u64) -> Option<(Vec<ReasonCode>, AckProperties)> {
        let mut granted = (Vec::new(), AckProperties::default());
        for filter in &self.streams.get(&stream)?.filters {
            let Stage::Granted(reason, properties) = &self.filters.get(filter)?.stage else {
                return None;
            };
            granted.0.push(*reason);
            granted.1 = properties.clone();
        }
        Some(granted)
    }

    /// The server has answered a SUBSCRIBE; tells whether it was that of a stream.
    pub(crate) fn answered(&mut self, token: Token, ack: &SubAck, woken: &mut Vec<Waker>) -> bool {
        let Some(asked) = self.requests.remove(&token) else { return false };
        for (subscription, reason) in asked.subscriptions.iter().zip(&ack.reasons) {
            let Some(listened) = self.filters.get_mut(&subscription.filter) else { continue };
            // Nobody listened any more, and then somebody did again: that has a SUBSCRIBE of its own.
            if !matches!(&listened.stage, Stage::Asked(asked) if *asked == token) {
                continue;
            }
            if reason.is_error() {
                let error = TokenError::Rejected(Box::new(Rejected {
                    reasons: ack.reasons.clone(),
                    properties: ack.properties.clone(),
                }));
                self.refuse(&subscription.filter, &error, woken);
            } else {
                listened.stage = Stage::Granted(*reason, ack.properties.clone());
            }
        }
        true
    }

    /// A SUBSCRIBE came to nothing; returns the one that takes its place, or whether it was that of a stream.
    pub(crate) fn failed(
        &mut self,
        token: Token,
        error: TokenError,
        session: &mut Session<Client>,
        woken: &mut Vec<Waker>,
    ) -> Option<Option<(Token, Subscribe)>> {
        let mut asked = self.requests.remove(&token)?;
        // Who listened to it and does no more must not bring it back: UNSUBSCRIBE is on its way.
        asked.subscriptions.retain(|subscription| {
            let listened = self.filters.get(&subscription.filter).map(|it| &it.stage);
            matches!(listened, Some(Stage::Asked(asked)) if *asked == token)
        });
        if asked.subscriptions.is_empty() {
            return Some(None);
        }
        // Made before it was known that the server has no Subscription Identifiers.
        if asked.subscription_identifier.is_some() && !has_identifiers(session) {
            asked.subscription_identifier = None;
            if let Ok(again) = session.subscribe(asked.clone()) {
                for subscription in &asked.subscriptions {
                    if let Some(listened) = self.filters.get_mut(&subscription.filter) {
                        listened.stage = Stage::Asked(again);
                    }
                }
                self.requests.insert(again, asked.clone());
                return Some(Some((again, asked)));
            }
        }
        for subscription in &asked.subscriptions {
            self.refuse(&subscription.filter, &error, woken);
        }
        Some(None)
    }

    /// The server does not have a filter: its streams end, also for their other filters.
    fn refuse(&mut self, filter: &TopicFilter, error: &TokenError, woken: &mut Vec<Waker>) {
        for stream in self.remove_filter(filter) {
            let Some(listener) = self.streams.get_mut(&stream) else { continue };
            listener.finish(Some(error.clone()), woken);
            listener.filters.retain(|it| it != filter);
            self.release(stream);
        }
    }

    /// The server has lost what it had granted, and it is not asked for anew: those streams end, also for
    /// their other filters.
    pub(crate) fn lost(&mut self, woken: &mut Vec<Waker>) {
        let granted = self.filters.iter().filter(|(_, it)| matches!(it.stage, Stage::Granted(..)));
        let granted: Vec<TopicFilter> = granted.map(|(filter, _)| filter.clone()).collect();
        // All of them first: what the server does not have is not unsubscribed from.
        let streams: Vec<u64> =
            granted.iter().flat_map(|filter| self.remove_filter(filter)).collect();
        for stream in streams {
            if let Some(listener) = self.streams.get_mut(&stream) {
                listener.finish(Some(TokenError::SubscriptionLost), woken);
                self.release(stream);
            }
        }
    }

    /// The application has unsubscribed from filters: streams that have no others end.
    pub(crate) fn unsubscribed(&mut self, filters: &[TopicFilter], woken: &mut Vec<Waker>) {
        for filter in filters {
            for stream in self.remove_filter(filter) {
                let Some(listener) = self.streams.get_mut(&stream) else { continue };
                listener.filters.retain(|it| it != filter);
                if listener.filters.is_empty() {
                    listener.finish(None, woken);
                }
            }
            self.unwanted.iter_mut().for_each(|unwanted| unwanted.retain(|it| it != filter));
        }
        self.unwanted.retain(|unwanted| !unwanted.is_empty());
    }

    /// Removes a filter; returns who listened to it.
    fn remove_filter(&mut self, filter: &TopicFilter) -> Vec<u64> {
        let Some(listened) = self.filters.remove(filter) else { return Vec::new() };
        if let Some(identifier) = listened.identifier
            && let Some(filters) = self.identifiers.get_mut(&identifier)
        {
            filters.retain(|it| it != filter);
            if filters.is_empty() {
                self.identifiers.remove(&identifier);
            }
        }
        listened.streams
    }

    /// A stream listens no more: what it alone has listened to is to be unsubscribed from.
    fn release(&mut self, stream: u64) {
        let Some(listener) = self.streams.get_mut(&stream) else { return };
        let mut filters = std::mem::take(&mut listener.filters);
        filters.retain(|filter| {
            let Some(listened) = self.filters.get_mut(filter) else { return false };
            listened.streams.retain(|it| *it != stream);
            let unwanted = listened.streams.is_empty();
            if unwanted {
                self.remove_filter(filter);
            }
            unwanted
        });
        self.leave(filters);
    }

    /// Nobody listens to these any more.
    pub(crate) fn leave(&mut self, filters: Vec<TopicFilter>) {
        if !filters.is_empty() {
            self.unwanted.push_back(filters);
            self.unnoted += 1;
        }
    }

    /// Removes a stream; tells whether `messages()` has got something that was not taken.
    pub(crate) fn remove(
        &mut self,
        stream: u64,
        session: &mut Session<Client>,
    ) -> (Option<Listener>, bool) {
        self.release(stream);
        let Some(mut listener) = self.streams.remove(&stream) else { return (None, false) };
        let mut arrived = false;
        while let Some(message) = listener.queue.pop(&mut false) {
            let Some(ack) = message.ack else {
                self.lagged += 1;
                continue;
            };
            match self.copies.get(&ack) {
                Some(copies) if copies.taken || copies.left > 1 => {
                    self.forgo(session, ack, ReasonCode::SUCCESS);
                }
                _ => {
                    self.copies.remove(&ack);
                    self.rest.push(message, self.block, &mut self.dropped);
                    arrived = true;
                }
            }
        }
        self.lagged += listener.queue.lagged();
        self.acknowledge_dropped(session);
        (Some(listener), arrived)
    }

    /// What came to be unwanted since the last call. It is looked at once, and not each time: where there is no
    /// connection, thousands may wait.
    pub(crate) fn newly_unwanted(&mut self) -> impl Iterator<Item = &Vec<TopicFilter>> {
        let count = std::mem::take(&mut self.unnoted);
        self.unwanted.iter().rev().take(count)
    }

    /// What is to be unsubscribed from next; to be put back if there is no room for it.
    pub(crate) fn unwanted(&mut self) -> &mut VecDeque<Vec<TopicFilter>> {
        &mut self.unwanted
    }

    /// There is a new connection: what the server sends again is forgotten here.
    ///
    /// `in_doubt`: the server may go on with the session although it does not say so.
    pub(crate) fn reconnected(&mut self, resumed: bool, in_doubt: bool) {
        if resumed {
            self.rest.remove_repeated();
            self.streams.values_mut().for_each(|listener| listener.queue.remove_repeated());
            // An acknowledgement of an earlier connection says nothing on this one, but for QoS 2.
            self.copies.retain(|_, copies| copies.qos == QoS::ExactlyOnce);
        } else {
            // The server knows nothing of them; but some have still to be taken, and by all who have them.
            let queues = self.streams.values().map(|listener| &listener.queue);
            let waiting: HashSet<AckId> = queues.flat_map(Queue::acks).collect();
            self.copies.retain(|ack, _| waiting.contains(ack));
            if in_doubt {
                self.rest.doubt();
                self.streams.values_mut().for_each(|listener| listener.queue.doubt());
            }
        }
    }

    /// Tells whether reading has to stop until something is taken.
    pub(crate) fn is_over(&mut self) -> bool {
        let Router { over, streams, .. } = self;
        over.retain(|stream| streams.get(stream).is_some_and(|it| it.queue.is_over()));
        !over.is_empty() || self.rest.is_over()
    }

    pub(crate) fn len(&self) -> usize {
        self.rest.len() + self.streams.values().map(|it| it.queue.len()).sum::<usize>()
    }

    pub(crate) fn lagged(&self) -> u64 {
        let streams = self.streams.values().map(Listener::lagged);
        self.lagged + self.rest.lagged() + streams.sum::<u64>()
    }

    /// Gives back what a burst needed: the connection has been quiet.
    pub(crate) fn relax(&mut self) {
        self.rest.relax();
        self.streams.values_mut().for_each(|listener| listener.queue.relax());
    }

    pub(crate) fn take_wakers(&mut self, into: &mut Vec<Waker>) {
        into.extend(self.streams.values_mut().filter_map(|listener| listener.waker.take()));
    }
}
