//! What the broker has to do at which time.

use std::collections::BTreeSet;

use mqtt_proto::Instant;

use crate::subscriptions::ClientKey;

/// Names a connection of the broker; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ConnectionKey(pub(crate) u64);

/// Who waits for a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// A connection wants to be polled.
    Connection(ConnectionKey),
    /// A session ends, or its Will is due.
    Client(ClientKey),
    /// The broker tells about itself.
    Sys,
}

/// Deadlines, the earliest first. There is one timer for all of them.
#[derive(Debug, Default)]
pub(crate) struct Deadlines(BTreeSet<(Instant, Due)>);

impl Deadlines {
    /// Moves a deadline from where its owner remembers it; `None` is nowhere.
    pub(crate) fn set(&mut self, due: Due, old: &mut Option<Instant>, new: Option<Instant>) {
        if *old == new {
            return;
        }
        if let Some(old) = *old {
            self.0.remove(&(old, due));
        }
        if let Some(new) = new {
            self.0.insert((new, due));
        }
        *old = new;
    }

    /// As `set`, but leaves a deadline that is earlier than the new one.
    ///
    /// The deadline of a connection moves away with every packet: one wake-up too early now and then
    /// costs less than to sort it in anew each time.
    pub(crate) fn set_lazily(&mut self, due: Due, old: &mut Option<Instant>, new: Option<Instant>) {
        match (*old, new) {
            (Some(old), Some(new)) if old <= new => {}
            _ => self.set(due, old, new),
        }
    }

    /// Takes out one that has come.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Due> {
        if self.0.first()?.0 > now {
            return None;
        }
        self.0.pop_first().map(|(_, due)| due)
    }

    /// Returns the earliest.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }
}
