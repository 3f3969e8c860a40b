//! The outcomes of commands, for the tokens that are alive.
//!
//! A token has one byte, its mark, in a page that it shares with the state. What nearly every command
//! comes to fits into the mark: then nothing else is kept, and dropping the token takes no lock. A waker,
//! and an outcome that says more, stand in a map.

use std::collections::hash_map::Entry;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};

use mqtt_proto::{AckProperties, Publish, ReasonCode, Token};

use super::{End, Look, Numbered, Shared};
use crate::error::TokenError;

mod pages;

use pages::{Page, Pages};

/// What a command came to.
#[derive(Debug)]
pub(crate) enum Answer {
    Published(ReasonCode, AckProperties),
    Request(Vec<ReasonCode>, AckProperties),
}

/// The bits of a mark. All but `DROPPED` change under the lock only.
mod bits {
    /// The server has taken the message, and said no more than that.
    pub(super) const DONE: u8 = 1;
    /// As `DONE`, but there was no matching subscription.
    pub(super) const UNMATCHED: u8 = 2;
    /// How far to the left of these two stand those for PUBREC.
    pub(super) const RECEIVED: u32 = 2;
    /// There is more in the map.
    pub(super) const KEPT: u8 = 16;
    /// Nobody will ask.
    pub(super) const DROPPED: u8 = 32;
}

/// Returns the bit that says it all, if there is one.
fn bit(reason: ReasonCode) -> Option<u8> {
    match reason {
        ReasonCode::SUCCESS => Some(bits::DONE),
        ReasonCode::NO_MATCHING_SUBSCRIBERS => Some(bits::UNMATCHED),
        _ => None,
    }
}

fn reason(mark: u8) -> Option<ReasonCode> {
    match mark & (bits::DONE | bits::UNMATCHED) {
        0 => None,
        bits::DONE => Some(ReasonCode::SUCCESS),
        _ => Some(ReasonCode::NO_MATCHING_SUBSCRIBERS),
    }
}

/// What a token has: where its outcome is found. Dropping it says that nobody will ask any more.
#[derive(Debug)]
pub(crate) struct Slot {
    page: Arc<Page>,
    token: Token,
}

impl Slot {
    fn mark(&self) -> u8 {
        self.page.mark(self.token).load(Ordering::Acquire)
    }

    /// Looks for the outcome; one that says more than its reason code is there once.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Result<Answer, TokenError>> {
        let done = || Some(Answer::Published(reason(self.mark())?, AckProperties::NONE));
        if let Some(answer) = done() {
            return Poll::Ready(Ok(answer));
        }
        self.page.shared.poll(cx, |state, waker| {
            if let Some(answer) = done() {
                return Look::Ready(Ok(answer));
            }
            match state.slots.take_result(self.token) {
                Some(result) => Look::Ready(result),
                None => state.slots.wait(self, state.end.as_ref(), waker, cx),
            }
        })
    }

    /// Looks for the first answer; the final one stays where it is.
    pub(crate) fn poll_received(&self, cx: &Context<'_>) -> Poll<Result<ReasonCode, TokenError>> {
        let received = || reason(self.mark()).or_else(|| reason(self.mark() >> bits::RECEIVED));
        if let Some(reason) = received() {
            return Poll::Ready(Ok(reason));
        }
        self.page.shared.poll(cx, |state, waker| {
            if let Some(reason) = received() {
                return Look::Ready(Ok(reason));
            }
            match state.slots.kept.get(&self.token.get()).and_then(Kept::result) {
                Some(Ok(Answer::Published(reason, _))) => Look::Ready(Ok(*reason)),
                Some(Err(error)) => Look::Ready(Err(error.clone())),
                _ => state.slots.wait(self, state.end.as_ref(), waker, cx),
            }
        })
    }

    /// Takes the message back, if it was never put on a wire.
    pub(crate) fn cancel(self) -> Option<Publish> {
        self.page.shared.command(|state| {
            let publish = state.session.cancel(self.token)?;
            state.slots.pages.close(self.token);
            Some(publish)
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let before = self.page.mark(self.token).fetch_or(bits::DROPPED, Ordering::AcqRel);
        if before & bits::KEPT != 0 {
            // A waker, or what the server said: it is dropped behind the lock.
            let kept = self.page.shared.lock().slots.kept.remove(&self.token.get());
            drop(kept);
        }
    }
}

/// What does not fit into a mark.
#[derive(Debug)]
pub(crate) enum Kept {
    Waiting(Waker),
    /// Apart, because it is three times as large and seldom there.
    Done(Box<Result<Answer, TokenError>>),
}

impl Kept {
    fn result(&self) -> Option<&Result<Answer, TokenError>> {
        match self {
            Kept::Waiting(_) => None,
            Kept::Done(result) => Some(result),
        }
    }

    fn into_result(self) -> Option<Result<Answer, TokenError>> {
        match self {
            Kept::Waiting(_) => None,
            Kept::Done(result) => Some(*result),
        }
    }

    fn into_waker(self) -> Option<Waker> {
        match self {
            Kept::Waiting(waker) => Some(waker),
            Kept::Done(_) => None,
        }
    }
}

/// The state's side of it.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    pages: Pages,
    /// By the numbers of the tokens.
    kept: Numbered<Kept>,
    /// The requests whose messages have no outcome yet, by the tokens of these.
    requests: Numbered<u64>,
    /// What became of the messages of requests.
    outcomes: Vec<(u64, Result<Answer, TokenError>)>,
}

impl Slots {
    /// Makes a slot for a command that was accepted.
    #[inline]
    pub(crate) fn open(&mut self, token: Token, shared: &Arc<Shared>) -> Slot {
        Slot { page: self.pages.open(token, shared), token }
    }

    /// The message is that of a request; nobody else has its token.
    pub(super) fn insert_request(&mut self, token: Token, request: u64) {
        self.requests.insert(token.get(), request);
    }

    /// Takes what became of the messages of requests.
    pub(super) fn take_outcomes(&mut self) -> Vec<(u64, Result<Answer, TokenError>)> {
        mem::take(&mut self.outcomes)
    }

    /// Notes that the server has taken a message, if somebody may still ask; returns who waits for it.
    #[inline]
    pub(crate) fn published(
        &mut self,
        token: Token,
        reason: ReasonCode,
        properties: AckProperties,
    ) -> Option<Waker> {
        if let Some(bit) = bit(reason)
            && properties.is_empty()
            && self.requests.is_empty()
        {
            // What nearly all come to: nothing but a bit is moved.
            let Slots { pages, kept, .. } = self;
            let before = pages.close_with(token, |mark| set(mark, bit, kept, token))?;
            return before.and_then(Kept::into_waker);
        }
        self.resolve(token, Ok(Answer::Published(reason, properties)))
    }

    /// Notes the outcome, if somebody may still ask; returns who waits for it.
    pub(crate) fn resolve(
        &mut self,
        token: Token,
        result: Result<Answer, TokenError>,
    ) -> Option<Waker> {
        if !self.requests.is_empty()
            && let Some(request) = self.requests.remove(&token.get())
        {
            self.outcomes.push((request, result));
            return None;
        }
        let mark = self.pages.get(token)?.mark(token);
        let before = match &result {
            Ok(Answer::Published(reason, properties))
                if properties.is_empty()
                    && let Some(bit) = bit(*reason) =>
            {
                set(mark, bit, &mut self.kept, token)
            }
            _ => {
                let before = self.kept.insert(token.get(), Kept::Done(Box::new(result)));
                if mark.fetch_or(bits::KEPT, Ordering::AcqRel) & bits::DROPPED != 0 {
                    // Whoever dropped it has not seen that something would be kept.
                    self.kept.remove(&token.get());
                }
                before
            }
        };
        self.pages.close(token);
        before.and_then(Kept::into_waker)
    }

    /// Notes what PUBREC said, if somebody may still ask; returns who waits for it.
    pub(crate) fn received(&mut self, token: Token, reason: ReasonCode) -> Option<Waker> {
        let mark = self.pages.get(token)?.mark(token);
        // Anything else is an error, and the final answer as well.
        let bit = bit(reason)? << bits::RECEIVED;
        set(mark, bit, &mut self.kept, token).and_then(Kept::into_waker)
    }

    /// Registers a waker with the token, or says that the client has ended.
    fn wait<T>(
        &mut self,
        slot: &Slot,
        end: Option<&End>,
        waker: &mut Option<Waker>,
        cx: &Context<'_>,
    ) -> Look<Result<T, TokenError>> {
        let number = slot.token.get();
        if let Some(end) = end {
            Look::Ready(Err(end.token_error()))
        } else if let Some(waker) = waker.take() {
            slot.page.mark(slot.token).fetch_or(bits::KEPT, Ordering::Relaxed);
            Look::Waiting(self.kept.insert(number, Kept::Waiting(waker)).and_then(Kept::into_waker))
        } else if let Some(Kept::Waiting(known)) = self.kept.get(&number)
            && known.will_wake(cx.waker())
        {
            Look::Waiting(None)
        } else {
            Look::NeedsWaker
        }
    }

    /// Takes an outcome out that does not fit into a mark.
    fn take_result(&mut self, token: Token) -> Option<Result<Answer, TokenError>> {
        let result = match self.kept.entry(token.get()) {
            Entry::Occupied(entry) if entry.get().result().is_some() => {
                entry.remove().into_result()
            }
            _ => None,
        };
        if result.is_some() && self.kept.is_empty() {
            // Mostly the answer to a SUBSCRIBE: there is seldom a next one.
            self.kept = Numbered::default();
        }
        result
    }

    /// Gives back what a burst needed; for when the connection has been at rest.
    pub(crate) fn relax(&mut self) {
        self.pages.relax();
        self.kept.shrink_to_fit();
    }

    /// The client has ended: who waits is to be woken, and there are no more outcomes.
    pub(crate) fn end(&mut self, woken: &mut Vec<Waker>) {
        self.pages.clear();
        let waiting = self.kept.extract_if(|_, kept| matches!(kept, Kept::Waiting(_)));
        woken.extend(waiting.filter_map(|(_, kept)| kept.into_waker()));
    }
}

/// Sets a bit, by which the outcome is known; returns who waited for it.
#[inline]
fn set(mark: &AtomicU8, bit: u8, kept: &mut Numbered<Kept>, token: Token) -> Option<Kept> {
    if mark.load(Ordering::Relaxed) & bits::DROPPED != 0 {
        // Whoever dropped it takes out what is kept.
        return None;
    }
    if mark.fetch_or(bit, Ordering::Release) & bits::KEPT == 0 {
        return None;
    }
    mark.fetch_and(!bits::KEPT, Ordering::Relaxed);
    kept.remove(&token.get())
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;
    use std::time::Instant;

    use mqtt_proto::{QoS, SessionState, TopicName, Version};

    use super::*;
    use crate::config::Config;
    use crate::time::Clock;

    fn open(shared: &Arc<Shared>, count: usize) -> Vec<Slot> {
        (0..count).filter_map(|_| shared.publish(message()).unwrap()).collect()
    }

    fn message() -> Publish {
        Publish::new(TopicName::new("t").unwrap(), "x").qos(QoS::AtLeastOnce)
    }

    fn shared() -> Arc<Shared> {
        let mut config = Config::new(Version::V5);
        config.session.bounds.messages = usize::MAX;
        let session = SessionState::default();
        Arc::new(Shared::new(config, session, Clock::system(), Instant::now()))
    }

    #[test]
    fn nothing_is_left_when_tokens_are_dropped_while_they_get_their_outcomes() {
        let shared = shared();
        for round in 0..100 {
            let slots = open(&shared, 300);
            let start = Barrier::new(2);
            let tokens: Vec<Token> = slots.iter().map(|slot| slot.token).collect();
            thread::scope(|scope| {
                scope.spawn(|| {
                    start.wait();
                    for token in tokens {
                        // One that is kept, or one that fits into the mark.
                        let result = match round % 2 {
                            0 => Err(TokenError::Closed),
                            _ => Ok(Answer::Published(ReasonCode::SUCCESS, AckProperties::NONE)),
                        };
                        shared.lock().slots.resolve(token, result);
                    }
                });
                start.wait();
                for slot in slots {
                    let _ = slot.poll(&Context::from_waker(Waker::noop()));
                }
            });
            let state = shared.lock();
            assert!(state.slots.kept.is_empty(), "{:?}", state.slots.kept);
            assert_eq!(state.slots.pages.len(), 0);
        }
    }

    #[test]
    fn one_old_token_keeps_one_page() {
        let shared = shared();
        let mut old = Vec::new();
        for _ in 0..10 {
            let slots = open(&shared, 1000);
            for slot in &slots {
                if slot.token.get() % 1000 != 7 {
                    let result = Ok(Answer::Published(ReasonCode::SUCCESS, AckProperties::NONE));
                    shared.lock().slots.resolve(slot.token, result);
                }
            }
            old.extend(slots.into_iter().filter(|slot| slot.token.get() % 1000 == 7));
        }
        assert_eq!((old.len(), shared.lock().slots.pages.len()), (10, 10));
    }

    #[test]
    fn tokens_may_be_opened_in_any_order() {
        let shared = shared();
        let mut state = shared.lock();
        let mut tokens: Vec<Token> = (0..500)
            .map(|_| state.publish(message(), mqtt_proto::Instant::EPOCH).unwrap())
            .collect();
        tokens.sort_by_key(|token| (token.get() * 7) % 500);
        let slots: Vec<Slot> =
            tokens.iter().map(|token| state.slots.open(*token, &shared)).collect();
        for token in tokens {
            let result = Ok(Answer::Published(ReasonCode::SUCCESS, AckProperties::NONE));
            state.slots.resolve(token, result);
        }
        assert_eq!(state.slots.pages.len(), 0);
        drop(state);
        let cx = Context::from_waker(Waker::noop());
        assert!(slots.iter().all(|slot| slot.poll(&cx).is_ready()));
    }

    #[test]
    fn what_is_taken_back_keeps_no_page() {
        let shared = shared();
        let slots = open(&shared, 1000);
        assert!(slots.into_iter().all(|slot| slot.cancel().is_some()));
        assert_eq!(shared.lock().slots.pages.len(), 0);
    }

    #[test]
    fn a_slot_is_small() {
        assert!(size_of::<Slot>() <= 16);
    }
}
