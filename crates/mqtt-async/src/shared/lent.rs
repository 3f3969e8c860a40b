//! Memory that users lend the client, as `Bytes` that they own: its end is code of theirs, which may call the
//! client, and so must not come under the lock.
//!
//! The session keeps the messages that it is done with, and [`Locked`] drops them when it has unlocked. What is
//! small and seldom given to the client is copied instead: then nothing that is made of it can be lent.

use std::mem;
use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;

use bytes::Bytes;
use mqtt_proto::{Connect, Publish, Subscribe, Text, Unsubscribe};

use super::State;

/// The state, while it is locked. What has come to its end meanwhile is dropped when it is not any more.
#[derive(Debug)]
pub(crate) struct Locked<'a> {
    // Fields are dropped in this order: the lock first.
    state: MutexGuard<'a, State>,
    spent: Vec<Publish>,
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
    #[inline]
    fn drop(&mut self) {
        // What is empty keeps its capacity.
        if self.state.session.has_spent() || !self.state.spent.is_empty() {
            self.spent = self.state.take_spent(Vec::new());
        }
    }
}

impl State {
    /// Takes the messages that are to be dropped outside of the lock. What is handed in is empty, and kept for
    /// its capacity.
    pub(crate) fn take_spent(&mut self, room: Vec<Publish>) -> Vec<Publish> {
        let mut spent = mem::replace(&mut self.spent, room);
        self.session.take_spent(&mut spent);
        spent
    }
}

/// Tells whether the end of these bytes may be code of the user.
///
/// It is not if they are a vector that nobody else has a handle to. Those that are static, or shared, cannot be
/// told from those that are lent; another handle to them allocates nothing.
fn is_lent(bytes: &Bytes) -> bool {
    !bytes.is_unique()
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
