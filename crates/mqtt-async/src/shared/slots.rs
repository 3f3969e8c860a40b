//! The outcomes of commands, for the tokens that are alive.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::task::Waker;

use mqtt_proto::{AckProperties, ReasonCode, Token};

use crate::error::TokenError;

/// What a command came to.
#[derive(Debug)]
pub(crate) enum Answer {
    Published(ReasonCode, AckProperties),
    Request(Vec<ReasonCode>, AckProperties),
}

/// One slot for each token that is alive; what becomes of a dropped one is not kept.
///
/// The map keeps its capacity: a message whose token is dropped allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    slots: HashMap<u64, Slot, BuildHasherDefault<TokenHasher>>,
    /// The requests whose messages have no outcome yet, by the tokens of these.
    requests: HashMap<u64, u64, BuildHasherDefault<TokenHasher>>,
    /// What became of the messages of requests.
    outcomes: Vec<(u64, Result<Answer, TokenError>)>,
}

#[derive(Debug)]
pub(crate) enum Slot {
    Waiting {
        waker: Option<Waker>,
        /// What PUBREC said.
        received: Option<ReasonCode>,
    },
    Done(Result<Answer, TokenError>),
}

impl Slots {
    pub(crate) fn insert(&mut self, token: Token) {
        self.slots.insert(token.get(), Slot::Waiting { waker: None, received: None });
    }

    /// The message is that of a request; nobody else has its token.
    pub(super) fn insert_request(&mut self, token: Token, request: u64) {
        self.requests.insert(token.get(), request);
    }

    /// Takes what became of the messages of requests.
    pub(super) fn take_outcomes(&mut self) -> Vec<(u64, Result<Answer, TokenError>)> {
        std::mem::take(&mut self.outcomes)
    }

    /// Takes the slot out; to be dropped outside of the lock.
    pub(crate) fn remove(&mut self, token: Token) -> Option<Slot> {
        let slot = self.slots.remove(&token.get());
        if self.slots.is_empty() && self.slots.capacity() > 1024 {
            self.slots.shrink_to(64);
        }
        slot
    }

    pub(crate) fn get_mut(&mut self, token: Token) -> Option<&mut Slot> {
        self.slots.get_mut(&token.get())
    }

    /// Stores an outcome, if somebody may still ask; returns who waits for it.
    pub(crate) fn resolve(
        &mut self,
        token: Token,
        result: Result<Answer, TokenError>,
    ) -> Option<Waker> {
        if let Some(request) = self.requests.remove(&token.get()) {
            self.outcomes.push((request, result));
            return None;
        }
        match std::mem::replace(self.slots.get_mut(&token.get())?, Slot::Done(result)) {
            Slot::Waiting { waker, .. } => waker,
            Slot::Done(_) => None,
        }
    }

    /// Notes what PUBREC said, if somebody may still ask; returns who waits.
    pub(crate) fn received(&mut self, token: Token, reason: ReasonCode) -> Option<Waker> {
        match self.slots.get_mut(&token.get())? {
            Slot::Waiting { waker, received } => {
                *received = Some(reason);
                waker.take()
            }
            Slot::Done(_) => None,
        }
    }

    /// Takes all wakers out.
    pub(crate) fn take_wakers(&mut self, into: &mut Vec<Waker>) {
        for slot in self.slots.values_mut() {
            if let Slot::Waiting { waker, .. } = slot {
                into.extend(waker.take());
            }
        }
    }
}

/// Spreads numbers that count up; the session chose them, so nobody can make them collide.
#[derive(Debug, Default)]
pub(crate) struct TokenHasher(u64);

impl Hasher for TokenHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // The map takes its group from the low bits and its tag from the high ones.
        let product = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = product ^ (product >> 32);
    }
}
