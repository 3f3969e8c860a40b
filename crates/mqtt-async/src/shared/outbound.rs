//! What the state does for messages on their way out.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use mqtt_proto::{Publish, ReasonCode, Token, TxBuf};

use super::line::Room;
use super::{Close, Line, Look, Shared, Slot, State, Ticket};
use crate::config::{Dropped, Offline, Outbound, OutboundOverflow};
use crate::error::{PublishError, TokenError};

/// How many outdated topics are remembered besides those of messages that wait.
const OUTDATED: usize = 256;

/// The policies, and who waits by them.
#[derive(Debug)]
pub(crate) struct Outgoing {
    policy: Outbound,
    line: Line,
    /// The places of messages that wait, by their topics, for `LatestPerTopic`. A place may be outdated.
    latest: HashMap<Box<[u8]>, Token>,
}

impl Outgoing {
    pub(super) fn new(policy: Outbound) -> Outgoing {
        Outgoing { policy, line: Line::default(), latest: HashMap::new() }
    }
}

/// What became of a message that was given to the client: `None` is one that was dropped at once.
type Accepted = Result<Option<Slot>, PublishError>;

/// What a publisher has to do behind the lock.
#[derive(Debug, Default)]
struct After {
    woken: Vec<Waker>,
    /// One that is not needed any more.
    replaced: Option<Waker>,
}

impl After {
    #[inline]
    fn run(self) {
        let After { woken, replaced } = self;
        drop(replaced);
        // Nearly always there is none.
        if !woken.is_empty() {
            woken.into_iter().for_each(Waker::wake);
        }
    }
}

impl Shared {
    pub(crate) fn publish(self: &Arc<Self>, publish: Publish) -> Accepted {
        let now = self.time_for(&publish);
        let mut after = After::default();
        let mut state = self.lock();
        if state.is_closing() {
            drop(state);
            return Err(PublishError::Closed(Box::new(publish)));
        }
        // The short way does not even move the message; it is dropped behind the lock.
        let accepted = match state.send_now(&publish) {
            Some(token) => Ok(Some(token)),
            None => state.accept(publish, now, &mut after),
        };
        let accepted = accepted.map(|token| token.map(|token| state.slots.open(token, self)));
        let driver = state.touch();
        drop(state);
        after.run();
        driver.into_iter().for_each(Waker::wake);
        accepted
    }

    /// As [`publish`](Shared::publish), as soon as there is room. When it is ready, the message was accepted,
    /// or is in the error; what is left of it is to be dropped.
    pub(crate) fn poll_publish(
        self: &Arc<Self>,
        publish: &mut Option<Publish>,
        ticket: &mut Ticket,
        cx: &Context<'_>,
    ) -> Poll<Accepted> {
        let now = publish.as_ref().map(|it| self.time_for(it)).unwrap_or_default();
        let mut after = After::default();
        let mut driver = None;
        let poll = self.poll(cx, |state, waker| {
            let Some(accepted) = state.try_accept(publish, ticket, now, &mut after) else {
                let size = publish.as_ref().map_or(0, Publish::size);
                return state.outgoing.line.wait(ticket, size, waker, cx);
            };
            // If it was woken, and did not use the room after all, the driver wakes the next one.
            driver = state.touch();
            after.replaced = state.outgoing.line.leave(ticket);
            Look::Ready(accepted.map(|token| token.map(|token| state.slots.open(token, self))))
        });
        after.run();
        driver.into_iter().for_each(Waker::wake);
        poll
    }

    /// Gives a place in the line up.
    pub(crate) fn leave_line(&self, ticket: &Ticket) {
        if !ticket.is_used() {
            return;
        }
        // If it was woken and did not try, the driver wakes the next one.
        let waker = self.command(|state| state.outgoing.line.leave(ticket));
        drop(waker);
    }

    /// Returns the time for the session: most messages need no clock, and the session takes an earlier time
    /// for the last one it was told.
    fn time_for(&self, publish: &Publish) -> mqtt_proto::Instant {
        match publish.properties.get().is_some_and(|it| it.message_expiry_interval.is_some()) {
            true => self.instant(self.clock.now()),
            false => mqtt_proto::Instant::EPOCH,
        }
    }
}

impl State {
    /// Puts a message of QoS 0 into the output buffer, if it may leave at once.
    fn send_now(&mut self, publish: &Publish) -> Option<Token> {
        if !self.is_writing || self.outgoing.policy.overflow == OutboundOverflow::LatestPerTopic {
            return None;
        }
        self.session.send_now(publish, &mut self.out)
    }

    /// Takes a message, unless it has to wait for room.
    fn try_accept(
        &mut self,
        publish: &mut Option<Publish>,
        ticket: &Ticket,
        now: mqtt_proto::Instant,
        after: &mut After,
    ) -> Option<Result<Option<Token>, PublishError>> {
        let waiting = publish.as_ref()?;
        if self.is_closing() {
            return publish.take().map(|publish| Err(PublishError::Closed(Box::new(publish))));
        }
        if let Some(token) = self.send_now(waiting) {
            return Some(Ok(Some(token)));
        }
        let Outbound { overflow, offline } = self.outgoing.policy;
        let may_wait = self.connected.is_some() || offline.admits(waiting.qos);
        if overflow == OutboundOverflow::Reject
            && may_wait
            && (self.outgoing.line.is_behind(ticket) || !self.session.has_room(waiting))
        {
            return None;
        }
        publish.take().map(|publish| self.accept(publish, now, after))
    }

    /// Takes a message by the policies.
    fn accept(
        &mut self,
        publish: Publish,
        now: mqtt_proto::Instant,
        after: &mut After,
    ) -> Result<Option<Token>, PublishError> {
        let Outbound { overflow, offline } = self.outgoing.policy;
        if self.connected.is_none() && !offline.admits(publish.qos) {
            return Err(PublishError::Offline(Box::new(publish)));
        }
        match overflow {
            OutboundOverflow::DropNewest if !self.session.has_room(&publish) => {
                self.counts.dropped.count(Dropped::Newest);
                self.spent.push(publish);
                Ok(None)
            }
            OutboundOverflow::Reject | OutboundOverflow::DropNewest => {
                self.publish(publish, now).map(Some)
            }
            OutboundOverflow::DropOldest => {
                self.publish_over(publish, None, now, after).map(|(token, _)| Some(token))
            }
            OutboundOverflow::LatestPerTopic => self.publish_latest(publish, now, after).map(Some),
        }
    }

    /// Gives a message to the session.
    pub(super) fn publish(
        &mut self,
        publish: Publish,
        now: mqtt_proto::Instant,
    ) -> Result<Token, PublishError> {
        self.session.publish(publish, now).map_err(|error| {
            let error = PublishError::from(error);
            self.full |= matches!(error, PublishError::Full(_));
            error
        })
    }

    /// Gives a message to the session, and lets others give way; returns its token and its place.
    fn publish_over(
        &mut self,
        publish: Publish,
        place: Option<Token>,
        now: mqtt_proto::Instant,
        after: &mut After,
    ) -> Result<(Token, Token), PublishError> {
        let mut taken = Vec::new();
        let (token, at) = self.session.publish_over(publish, place, now, &mut taken)?;
        for (index, (gone, publish)) in taken.into_iter().enumerate() {
            self.spent.push(publish);
            let replaced = index == 0 && place == Some(at);
            let dropped = if replaced { Dropped::Replaced } else { Dropped::Oldest };
            after.woken.extend(self.dropped(gone, dropped));
        }
        Ok((token, at))
    }

    /// Gives a message to the session, in place of the one of its topic that waits.
    fn publish_latest(
        &mut self,
        publish: Publish,
        now: mqtt_proto::Instant,
        after: &mut After,
    ) -> Result<Token, PublishError> {
        let topic = publish.topic.clone();
        let place = self.outgoing.latest.get(topic.as_bytes()).copied();
        let (token, at) = self.publish_over(publish, place, now, after)?;
        let latest = &mut self.outgoing.latest;
        match latest.get_mut(topic.as_bytes()) {
            Some(place) => *place = at,
            None => drop(latest.insert(topic.as_bytes().into(), at)),
        }
        // What has left the line is forgotten now and then.
        let stats = self.session.stats();
        if latest.len() > 2 * stats.queued + OUTDATED
            && let Some((first, _)) = self.session.waiting()
        {
            latest.retain(|_, place| *place >= first);
        }
        Ok(token)
    }

    /// A message was dropped: its token is told. Returns who waits for it.
    fn dropped(&mut self, token: Token, dropped: Dropped) -> Option<Waker> {
        self.counts.dropped.count(dropped);
        self.slots.resolve(token, Err(TokenError::Dropped(dropped)))
    }

    /// The connection is lost: what may not wait for another one is dropped.
    pub(super) fn went_offline(&mut self, woken: &mut Vec<Waker>) {
        let offline = self.outgoing.policy.offline;
        // What a client leaves when it ends is for its report.
        if offline == Offline::All || self.close >= Close::Now || self.end.is_some() {
            return;
        }
        for (token, publish) in self.session.take_back(|publish| !offline.admits(publish.qos)) {
            self.spent.push(publish);
            woken.extend(self.dropped(token, Dropped::Offline));
        }
        self.outgoing.line.admit_all(woken);
    }

    /// Wakes those who wait for room, as far as there is some.
    pub(super) fn admit(&mut self, woken: &mut Vec<Waker>) {
        if self.outgoing.line.is_empty() {
            return;
        }
        if self.is_closing() {
            self.outgoing.line.admit_all(woken);
            return;
        }
        let (held, bounds) = (self.session.stats(), self.session.config().bounds);
        let messages = held.queued + held.in_flight;
        let room = Room {
            messages: bounds.messages.saturating_sub(messages),
            bytes: bounds.bytes.saturating_sub(held.held_bytes),
            empty: messages == 0,
        };
        self.outgoing.line.admit(room, woken);
    }

    /// A message of an earlier run of the program is in the session.
    pub(crate) fn recover(
        &mut self,
        shared: &Arc<Shared>,
        token: Token,
        is_released: bool,
    ) -> Slot {
        let slot = self.slots.open(token, shared);
        if is_released {
            self.slots.received(token, ReasonCode::SUCCESS);
        }
        slot
    }

    /// Notes how many bytes the link has read and written.
    pub(crate) fn note_moved(&mut self, (read, written): (usize, usize)) {
        self.counts.bytes_in += read as u64;
        self.counts.bytes_out += written as u64;
        self.out.written(written);
        self.session.handle_written(&self.out);
    }

    /// The link is gone, and with it what it had to write. What is returned is to be dropped outside of the
    /// lock: there are payloads in it.
    #[must_use]
    pub(crate) fn lose_link(&mut self, now: mqtt_proto::Instant) -> TxBuf {
        self.is_writing = false;
        // Messages of QoS 0 that were not written have to be told so.
        self.session.handle_written(&self.out);
        self.session.handle_eof(now);
        mem::take(&mut self.out)
    }
}
