//! Requests that wait for a response, and the subscription that brings it.
//!
//! A request is held until the server has granted the subscription to the response topic: one that could not
//! be answered is not made. Then its message is one like all others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::task::{Context, Waker};
use std::time::Instant;

use mqtt_proto::{
    AckProperties, Publish, PublishPacket, QoS, ReasonCode, Subscribe, Text, TopicFilter,
    TopicName, Unsubscribe,
};

use super::{Answer, Close, Look, State, rejected};
use crate::config::{Inbound, Overflow, Requests};
use crate::error::{CommandError, PublishError, RequestError, TokenError};
use crate::queue::own;
use crate::status::Calls;

mod names;

pub(crate) use names::MARK;
use names::Names;

/// How many requests are remembered as answered.
const ANSWERED: usize = 128;

#[derive(Debug)]
pub(crate) struct Calling {
    outstanding: usize,
    in_topic: bool,
    names: Names,
    /// The number of the next request.
    next: u64,
    pending: BTreeMap<u64, Pending>,
    /// The requests that were not given to the session yet, in their order, and the bytes of these.
    held: BTreeSet<u64>,
    held_bytes: usize,
    deadlines: BTreeSet<(Instant, u64)>,
    /// How many have no outcome.
    awaited: usize,
    /// The last ones that had a response.
    answered: VecDeque<u64>,
    topic: Option<Box<ResponseTopic>>,
    /// The one before: responses to it may be under way.
    former: Option<Box<ResponseTopic>>,
    /// What the server wants response topics to begin with.
    information: Option<Text>,
    /// Whether it was unsubscribed from, because the client ends.
    left: bool,
    copy_up_to: usize,
    pub(crate) calls: Calls,
}

/// A request whose future is alive.
#[derive(Debug)]
pub(crate) struct Pending {
    stage: Stage,
    deadline: Option<Instant>,
    waker: Option<Waker>,
    /// The expiry of the message, if it has none of its own.
    expiry: Option<u32>,
    /// What is left of a message that was not sent, or the topic that another one took the place of: memory
    /// of the user, to be dropped outside of the lock.
    rest: (Option<Publish>, Option<TopicName>),
}

#[derive(Debug)]
enum Stage {
    /// Waits for the subscription, with its size.
    Held(Publish, usize),
    /// The session has it.
    Sent,
    Done(Result<PublishPacket, RequestError>),
}

/// A topic that responses come to.
#[derive(Debug)]
struct ResponseTopic {
    name: TopicName,
    filter: TopicFilter,
    stream: u64,
    basis: Basis,
}

/// What makes one response topic another than the next.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Basis {
    information: Option<Text>,
    in_topic: bool,
}

impl Pending {
    /// Returns what became of the request, once that is known.
    pub(crate) fn into_result(self) -> Result<PublishPacket, RequestError> {
        match self.stage {
            Stage::Done(result) => result,
            _ => Err(RequestError::Ended(TokenError::Closed)),
        }
    }
}

impl Calling {
    pub(super) fn new(options: Requests, copy_up_to: usize) -> Calling {
        Calling {
            outstanding: options.outstanding.max(1),
            in_topic: options.in_topic,
            names: Names::new(options.prefix),
            next: 0,
            pending: BTreeMap::new(),
            held: BTreeSet::new(),
            held_bytes: 0,
            deadlines: BTreeSet::new(),
            awaited: 0,
            answered: VecDeque::new(),
            topic: None,
            former: None,
            information: None,
            left: false,
            copy_up_to,
            calls: Calls::default(),
        }
    }

    pub(super) fn calls(&self) -> Calls {
        Calls { awaited: self.awaited, ..self.calls }
    }

    /// How many requests have no outcome yet.
    pub(super) fn awaited(&self) -> usize {
        self.awaited
    }

    /// The time is up for some, perhaps; returns when it is for the next one.
    pub(super) fn expire(&mut self, now: Instant, woken: &mut Vec<Waker>) -> Option<Instant> {
        while let Some((deadline, number)) = self.deadlines.first().copied() {
            if now < deadline {
                return Some(deadline);
            }
            self.deadlines.pop_first();
            self.calls.timed_out += 1;
            self.finish(number, Err(RequestError::TimedOut), woken);
        }
        None
    }

    /// There is a connection; `information` is what CONNACK says about response topics.
    pub(super) fn connected(&mut self, information: Option<&Text>) {
        self.information = information.cloned();
    }

    pub(super) fn take_wakers(&mut self, into: &mut Vec<Waker>) {
        into.extend(self.pending.values_mut().filter_map(|pending| pending.waker.take()));
    }

    /// Takes a request out if it has its outcome, or registers who waits for it.
    pub(crate) fn poll(
        &mut self,
        number: u64,
        waker: &mut Option<Waker>,
        cx: &Context<'_>,
    ) -> Look<Option<Pending>> {
        match self.pending.get_mut(&number) {
            Some(Pending { stage: Stage::Held(..) | Stage::Sent, waker: waiting, .. }) => {
                if let Some(waker) = waker.take() {
                    Look::Waiting(waiting.replace(waker))
                } else if waiting.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                    Look::Waiting(None)
                } else {
                    Look::NeedsWaker
                }
            }
            _ => Look::Ready(self.pending.remove(&number)),
        }
    }

    /// Takes a request out, which comes to that if it had no outcome; what is returned is to be dropped
    /// outside of the lock.
    pub(crate) fn forget(&mut self, number: u64, error: RequestError) -> Option<Pending> {
        // Who asks is not to be woken, but the waker is to be dropped outside as well.
        let waker = self.pending.get_mut(&number).and_then(|pending| pending.waker.take());
        self.finish(number, Err(error), &mut Vec::new());
        let mut pending = self.pending.remove(&number)?;
        pending.waker = waker;
        Some(pending)
    }

    /// A request has its outcome, unless it had one before.
    fn finish(
        &mut self,
        number: u64,
        result: Result<PublishPacket, RequestError>,
        woken: &mut Vec<Waker>,
    ) -> bool {
        let Some(pending) = self.pending.get_mut(&number) else { return false };
        if let Stage::Done(_) = pending.stage {
            return false;
        }
        self.awaited -= 1;
        if let Some(deadline) = pending.deadline {
            self.deadlines.remove(&(deadline, number));
        }
        if let Stage::Held(publish, size) = mem::replace(&mut pending.stage, Stage::Done(result)) {
            self.held.remove(&number);
            self.held_bytes -= size;
            pending.rest.0 = Some(publish);
        }
        woken.extend(pending.waker.take());
        true
    }

    /// What was not sent yet is not sent.
    fn fail_held(&mut self, error: &CommandError, woken: &mut Vec<Waker>) {
        for number in mem::take(&mut self.held) {
            self.finish(number, Err(RequestError::NotSubscribed(error.clone())), woken);
        }
    }

    /// No response will come.
    fn fail_all(&mut self, error: &TokenError, woken: &mut Vec<Waker>) {
        let numbers: Vec<u64> = self.pending.keys().copied().collect();
        for number in numbers {
            self.finish(number, Err(RequestError::Refused(error.clone())), woken);
        }
    }

    /// A message came to a response topic.
    fn answer(&mut self, packet: PublishPacket, woken: &mut Vec<Waker>) {
        match self.names.number_of(&packet).filter(|number| *number < self.next) {
            None => self.calls.strays += 1,
            Some(number) => {
                if self.finish(number, Ok(packet), woken) {
                    self.calls.responses += 1;
                    self.answered.push_back(number);
                    if self.answered.len() > ANSWERED {
                        self.answered.pop_front();
                    }
                } else if self.answered.contains(&number) {
                    self.calls.duplicates += 1;
                } else {
                    self.calls.late += 1;
                }
            }
        }
    }
}

impl State {
    /// Takes a request; returns its number.
    pub(crate) fn request(
        &mut self,
        publish: Publish,
        expiry: Option<u32>,
        deadline: Option<Instant>,
    ) -> Result<u64, RequestError> {
        if self.is_closing() {
            return Err(RequestError::NotAccepted(PublishError::Closed(Box::new(publish))));
        }
        let size = size_of(&publish);
        let bound = self.session.config().bounds.bytes;
        let calling = &mut self.calling;
        if calling.pending.len() >= calling.outstanding {
            return Err(RequestError::Full(Box::new(publish)));
        }
        // What the session will hold is held here for the time being.
        if calling.held_bytes > 0 && calling.held_bytes + size > bound {
            return Err(RequestError::NotAccepted(PublishError::Full(Box::new(publish))));
        }
        let number = calling.next;
        calling.next += 1;
        calling.awaited += 1;
        calling.held.insert(number);
        calling.held_bytes += size;
        calling.deadlines.extend(deadline.map(|deadline| (deadline, number)));
        let stage = Stage::Held(publish, size);
        let pending = Pending { stage, deadline, waker: None, expiry, rest: (None, None) };
        calling.pending.insert(number, pending);
        Ok(number)
    }

    /// Does what there is to do for requests; whom it concerns is to be woken.
    ///
    /// `now` is what the session takes it for: an earlier time is the last one that it was told.
    pub(crate) fn serve_requests(&mut self, now: mqtt_proto::Instant, woken: &mut Vec<Waker>) {
        let calling = &self.calling;
        if calling.pending.is_empty() && calling.topic.is_none() {
            return;
        }
        self.take_responses(woken);
        self.note_outcomes(woken);
        self.keep_response_topic(woken);
        self.send_held(now, woken);
    }

    /// The messages of requests have outcomes: most say that there is nothing to wait for any more.
    fn note_outcomes(&mut self, woken: &mut Vec<Waker>) {
        for (number, outcome) in self.slots.take_outcomes() {
            let error = match outcome {
                Ok(Answer::Published(ReasonCode::NO_MATCHING_SUBSCRIBERS, _)) => {
                    RequestError::NoMatchingSubscribers
                }
                Ok(_) => continue,
                Err(error) => RequestError::NotDelivered(error),
            };
            self.calling.finish(number, Err(error), woken);
        }
    }

    /// A response has only to be matched, so it is taken as it comes: nobody can be slow here.
    fn take_responses(&mut self, woken: &mut Vec<Waker>) {
        let topics = [&self.calling.topic, &self.calling.former];
        for stream in topics.map(|topic| topic.as_ref().map(|topic| topic.stream)) {
            while let Some(stream) = stream
                && let Some(message) = self.router.pop(Some(stream), &mut false)
            {
                if let Some(ack) = message.ack {
                    self.acknowledge(ack, ReasonCode::SUCCESS);
                }
                let mut packet = message.publish;
                own(&mut packet, self.calling.copy_up_to);
                self.calling.answer(packet, woken);
            }
        }
    }

    /// Sees to it that there is a subscription to the response topic, if there is need of one.
    fn keep_response_topic(&mut self, woken: &mut Vec<Waker>) {
        let version = self.session.config().version;
        let basis = Basis {
            information: self.calling.information.clone(),
            in_topic: self.calling.in_topic || !version.is_v5(),
        };
        // Who ends the client now does not wait for responses.
        if let Some(topic) = &self.calling.topic
            && self.close <= Close::WhenIdle
            && self.end.is_none()
        {
            let ended = self.router.stream(topic.stream).filter(|listener| listener.has_ended());
            if let Some(listener) = ended {
                let error = listener.error().cloned().unwrap_or(TokenError::Closed);
                let topic = self.calling.topic.take();
                self.leave(topic, woken);
                match error {
                    // Nobody else makes it anew, and responses to what is under way still come.
                    TokenError::SubscriptionLost if !self.is_closing() => {
                        self.subscribe_to_responses(basis.clone(), woken);
                    }
                    error => self.calling.fail_all(&error, woken),
                }
            } else if let Some(reason) = self.subscriptions.refusal(&topic.filter) {
                let topic = self.calling.topic.take();
                self.leave(topic, woken);
                let error = rejected(vec![reason], AckProperties::default());
                self.calling.fail_all(&error, woken);
            } else if topic.basis != basis && !self.is_closing() {
                let topic = self.calling.topic.take();
                let former = mem::replace(&mut self.calling.former, topic);
                self.leave(former, woken);
            }
        }
        // What the server wants response topics to begin with is known after CONNACK.
        let asks = self.session.config().connect.request_response_information == Some(true);
        let knows = !asks || !version.is_v5() || self.connections > 0 || self.is_closing();
        if self.calling.topic.is_none() && !self.calling.held.is_empty() && knows {
            self.subscribe_to_responses(basis, woken);
        }
    }

    fn subscribe_to_responses(&mut self, basis: Basis, woken: &mut Vec<Waker>) {
        match self.listen_to_responses(basis) {
            Ok(topic) => self.calling.topic = Some(Box::new(topic)),
            Err(error) => self.calling.fail_held(&error, woken),
        }
    }

    fn listen_to_responses(&mut self, basis: Basis) -> Result<ResponseTopic, CommandError> {
        // With a connection, it is the one that the server has assigned if there was none.
        let client_id = self.session.config().connect.client_id.as_str();
        let name = self.calling.names.response_topic(basis.information.as_ref(), client_id)?;
        let filter = TopicFilter::new(match basis.in_topic {
            true => format!("{}/+", name.as_str()),
            false => name.as_str().to_owned(),
        })?;
        // Each response at the QoS that the responder gives it.
        let subscribe = Subscribe::new(filter.clone(), QoS::ExactlyOnce);
        // Nothing waits in this stream.
        let bounds = Inbound { messages: usize::MAX, bytes: usize::MAX, overflow: Overflow::Block };
        let stream = self.listen(subscribe, bounds)?;
        Ok(ResponseTopic { name, filter, stream, basis })
    }

    /// Listens to a response topic no more.
    fn leave(&mut self, topic: Option<Box<ResponseTopic>>, woken: &mut Vec<Waker>) {
        // There is nothing of the user in the stream.
        topic.map(|topic| self.stop_listening(topic.stream, woken));
    }

    /// Gives requests to the session, once their responses can come.
    fn send_held(&mut self, now: mqtt_proto::Instant, woken: &mut Vec<Waker>) {
        let Some(topic) = self.calling.topic.take() else { return };
        if !self.calling.held.is_empty() && self.router.granted(topic.stream).is_some() {
            while let Some(number) = self.calling.held.pop_first() {
                if let Err(error) = self.send_request(number, &topic, now) {
                    self.calling.finish(number, Err(RequestError::NotAccepted(error)), woken);
                }
            }
        }
        self.calling.topic = Some(topic);
    }

    fn send_request(
        &mut self,
        number: u64,
        topic: &ResponseTopic,
        now: mqtt_proto::Instant,
    ) -> Result<(), PublishError> {
        let Some(pending) = self.calling.pending.get_mut(&number) else { return Ok(()) };
        let Stage::Held(mut publish, size) = mem::replace(&mut pending.stage, Stage::Sent) else {
            return Ok(());
        };
        self.calling.held_bytes -= size;
        let expiry = pending.expiry;
        let mut replaced = None;
        if topic.basis.in_topic {
            match self.calling.names.topic(&publish.topic, &topic.name, number) {
                Ok(addressed) => replaced = Some(mem::replace(&mut publish.topic, addressed)),
                Err(error) => {
                    pending.rest.0 = Some(publish);
                    return Err(PublishError::Topic(error));
                }
            }
        } else {
            let fields = publish.properties.edit();
            fields.response_topic = Some(topic.name.clone());
            fields.correlation_data = Some(self.calling.names.correlation_data(number));
        }
        if expiry.is_some() {
            publish.properties.edit().message_expiry_interval = expiry;
        }
        let result = self.publish(publish, now).map_err(|mut error| {
            // It is given back as it came.
            if let PublishError::Full(publish) | PublishError::Closed(publish) = &mut error {
                let fields = publish.properties.edit();
                fields.response_topic = None;
                fields.correlation_data = None;
                if expiry.is_some() {
                    fields.message_expiry_interval = None;
                }
                if let Some(topic) = replaced.take() {
                    publish.topic = topic;
                }
            }
            error
        });
        if let Some(pending) = self.calling.pending.get_mut(&number) {
            pending.rest.1 = replaced;
        }
        self.slots.insert_request(result?, number);
        Ok(())
    }

    /// The client ends: a session that outlives it is not to keep a subscription that nobody knows.
    pub(crate) fn unsubscribe_from_responses(&mut self) {
        let waits = self.close == Close::WhenIdle && self.is_busy();
        if self.connected.is_none() || waits || mem::replace(&mut self.calling.left, true) {
            return;
        }
        let topics = [&self.calling.topic, &self.calling.former];
        let filters: Vec<_> = topics.into_iter().flatten().map(|it| it.filter.clone()).collect();
        if !filters.is_empty() {
            let unsubscribe = Unsubscribe { filters, ..Unsubscribe::default() };
            if let Ok(token) = self.session.unsubscribe(unsubscribe.clone()) {
                self.subscriptions.asked_to_end(token, unsubscribe);
            }
        }
    }
}

/// Returns about how many bytes a message holds.
fn size_of(publish: &Publish) -> usize {
    let fields = publish.properties.get();
    let pairs = fields.into_iter().flat_map(|fields| fields.user_properties.iter());
    let properties: usize = pairs.map(|(name, value)| name.len() + value.len()).sum();
    publish.topic.as_bytes().len() + publish.payload.len() + properties
}
