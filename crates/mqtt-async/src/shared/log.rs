//! What those who watch the client are told: that its status has changed, and what happened.

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

use super::Wakers;
use crate::status::Event;
use crate::trace;

/// How many events are kept for those who did not take them yet.
const EVENTS: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Log {
    /// Counts the changes of the status.
    version: u64,
    events: VecDeque<Event>,
    /// The number of the first event that is kept.
    first: u64,
    /// How many streams of events there are; without one, nothing is kept.
    readers: usize,
    /// Events to be told to the log of the program, and then dropped, outside of the lock: errors in them are
    /// the user's.
    untold: Vec<Event>,
    /// Events to be dropped outside of the lock.
    evicted: Vec<Event>,
    /// Who waits for a change or an event.
    pub(crate) watchers: Wakers,
    /// Whether there is something to tell them.
    news: bool,
}

/// What the log has collected, to be dropped outside of the lock.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// What is to be told to the log of the program, if it has one.
    pub(crate) happened: Vec<Event>,
    _evicted: Vec<Event>,
}

impl Log {
    /// The status has changed.
    pub(crate) fn change(&mut self) {
        self.version += 1;
        self.news = true;
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Notes what happened, if anybody asks.
    pub(crate) fn push(&mut self, event: impl FnOnce() -> Event) {
        if self.readers == 0 && !trace::ON {
            return;
        }
        let event = event();
        if trace::ON {
            self.untold.push(event.clone());
        }
        if self.readers == 0 {
            self.evicted.push(event);
            return;
        }
        self.news = true;
        if self.events.len() == EVENTS {
            self.evicted.extend(self.events.pop_front());
            self.first += 1;
        }
        self.events.push_back(event);
    }

    /// Collects who has to be woken.
    pub(crate) fn tell(&mut self, woken: &mut Vec<Waker>) -> News {
        if mem::take(&mut self.news) {
            self.watchers.take(woken);
        }
        News { happened: mem::take(&mut self.untold), _evicted: mem::take(&mut self.evicted) }
    }

    /// Another stream of events begins; returns the number of its first one.
    pub(crate) fn enter(&mut self) -> u64 {
        self.readers += 1;
        self.first + self.events.len() as u64
    }

    /// A stream of events ends; what it returns is to be dropped outside of the lock.
    pub(crate) fn leave(&mut self) -> VecDeque<Event> {
        self.readers = self.readers.saturating_sub(1);
        if self.readers > 0 {
            return VecDeque::new();
        }
        mem::take(&mut self.events)
    }

    /// Returns the event at the cursor and moves it on; counts what was lost before.
    pub(crate) fn read(&self, cursor: &mut u64, lagged: &mut u64) -> Option<Event> {
        if let Some(lost) = self.first.checked_sub(*cursor) {
            *lagged += lost;
            *cursor = self.first;
        }
        let at = usize::try_from(*cursor - self.first).ok()?;
        let event = self.events.get(at)?.clone();
        *cursor += 1;
        Some(event)
    }
}
