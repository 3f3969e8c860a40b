//! Memory that users lend the client, as `Bytes` that they own: its end is code of theirs, which may call the
//! client, and so must not come under the lock.
//!
//! The session drops a message as soon as it is done with it, which is under the lock. So the state has a
//! second handle to what was lent, until the message has its outcome: the session's handle is never the last.
//! [`Locked`] drops those when it has unlocked. What is small and seldom given to the client is copied instead:
//! then nothing that is made of it can be lent.

use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;

use bytes::Bytes;
use mqtt_proto::{Connect, Publish, PublishFields, Subscribe, Text, Token, Unsubscribe};

use super::{Numbered, State};

/// The state, while it is locked. What has come to its end meanwhile is dropped when it is not any more.
#[derive(Debug)]
pub(crate) struct Locked<'a> {
    // Fields are dropped in this order: the lock first.
    state: MutexGuard<'a, State>,
    spent: Vec<Lent>,
}

impl<'a> Locked<'a> {
    pub(super) fn new(state: MutexGuard<'a, State>) -> Locked<'a> {
        Locked { state, spent: Vec::new() }
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // What is empty keeps its capacity.
        if !self.state.loans.spent.is_empty() {
            self.spent = mem::take(&mut self.state.loans.spent);
        }
    }
}

/// What was lent with one message.
#[derive(Debug, Default)]
pub(crate) struct Lent {
    _payload: Bytes,
    /// Of its properties; most have none.
    _others: Vec<Bytes>,
}

impl Lent {
    /// Returns another handle to what is lent, if anything is.
    pub(super) fn of(publish: &Publish) -> Option<Lent> {
        let payload = Some(&publish.payload).filter(|it| is_lent(it)).cloned();
        let fields = publish.properties.get().into_iter().flat_map(handles);
        let others: Vec<Bytes> = fields.filter(|it| is_lent(it)).cloned().collect();
        if payload.is_none() && others.is_empty() {
            return None;
        }
        Some(Lent { _payload: payload.unwrap_or_default(), _others: others })
    }
}

/// Tells whether the end of these bytes may be code of the user.
///
/// It is not if they are a vector that nobody else has a handle to. Those that are static, or shared, cannot be
/// told from those that are lent; another handle to them allocates nothing.
fn is_lent(bytes: &Bytes) -> bool {
    !bytes.is_unique()
}

/// Returns what properties have of the user's; Topic Names are always copies.
fn handles(fields: &PublishFields) -> impl Iterator<Item = &Bytes> {
    let texts = fields.user_properties.iter().flat_map(|(name, value)| [name, value]);
    let texts = texts.chain(&fields.content_type).map(Text::handle);
    texts.chain(&fields.correlation_data)
}

/// The handles that the state has.
#[derive(Debug, Default)]
pub(crate) struct Loans {
    /// By the tokens of messages that have no outcome yet.
    out: Numbered<Lent>,
    /// To be dropped outside of the lock.
    spent: Vec<Lent>,
}

impl Loans {
    /// The session has taken a message, or has not: then it may have dropped it.
    pub(super) fn begin(&mut self, lent: Option<Lent>, token: Option<Token>) {
        match (lent, token) {
            (Some(lent), Some(token)) => drop(self.out.insert(token.get(), lent)),
            (lent, _) => self.spent.extend(lent),
        }
    }

    /// The session is done with a message.
    pub(super) fn end(&mut self, token: Token) {
        if !self.out.is_empty() {
            self.spent.extend(self.out.remove(&token.get()));
        }
    }

    /// The session is done with all of them.
    pub(super) fn end_all(&mut self) {
        self.spent.extend(self.out.drain().map(|(_, lent)| lent));
    }

    /// Gives back what a burst needed.
    pub(super) fn relax(&mut self) {
        self.out.shrink_to_fit();
        self.spent.shrink_to_fit();
    }
}

impl State {
    /// Takes what is to be dropped outside of the lock. What is handed in is empty, and kept for its capacity.
    pub(crate) fn swap_spent(&mut self, with: &mut Vec<Lent>) {
        mem::swap(&mut self.loans.spent, with);
    }
}

/// Returns bytes that are not lent.
pub(crate) fn owned(bytes: Bytes) -> Bytes {
    if is_lent(&bytes) { Bytes::copy_from_slice(&bytes) } else { bytes }
}

fn owned_text(text: &mut Text) {
    if is_lent(text.handle()) {
        *text = mem::take(text).into_owned();
    }
}

fn owned_properties(properties: &mut [(Text, Text)]) {
    for (name, value) in properties {
        owned_text(name);
        owned_text(value);
    }
}

/// Returns a SUBSCRIBE of which nothing is lent.
pub(crate) fn owned_subscribe(mut subscribe: Subscribe) -> Subscribe {
    for subscription in &mut subscribe.subscriptions {
        if is_lent(subscription.filter.as_text().handle()) {
            subscription.filter = subscription.filter.clone().into_owned();
        }
    }
    owned_properties(&mut subscribe.user_properties);
    subscribe
}

/// Returns an UNSUBSCRIBE of which nothing is lent.
pub(crate) fn owned_unsubscribe(mut unsubscribe: Unsubscribe) -> Unsubscribe {
    for filter in &mut unsubscribe.filters {
        if is_lent(filter.as_text().handle()) {
            *filter = filter.clone().into_owned();
        }
    }
    owned_properties(&mut unsubscribe.user_properties);
    unsubscribe
}

/// Copies what the session may replace in a CONNECT; the rest stays there until the driver replaces all of it.
pub(crate) fn own_connect(connect: &mut Connect) {
    owned_text(&mut connect.client_id);
}
