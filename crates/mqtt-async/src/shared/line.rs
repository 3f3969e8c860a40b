//! The line of those who wait for room for a message.

use std::collections::BTreeMap;
use std::task::{Context, Waker};

use super::Look;

/// Who waits, in the order of their tickets.
///
/// To be woken is a hint and no promise: whoever is woken leaves the line, tries, and comes back with the
/// same ticket if somebody was faster. So nobody holds anything that it does not use, and one who never tries
/// keeps no other waiting for long.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// By ticket: how large the message is.
    waiting: BTreeMap<u64, (usize, Waker)>,
    last: u64,
}

/// A place in the line; keep it as long as the message waits.
#[derive(Debug, Default)]
pub(crate) struct Ticket(Option<u64>);

impl Ticket {
    /// Tells whether it was ever in a line.
    pub(crate) const fn is_used(&self) -> bool {
        self.0.is_some()
    }
}

/// How much there is room for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) messages: usize,
    pub(super) bytes: usize,
    /// Nothing is held: one message is then taken, however large it is.
    pub(super) empty: bool,
}

impl Line {
    /// Tells whether somebody waits who came before.
    pub(super) fn is_behind(&self, ticket: &Ticket) -> bool {
        let own = ticket.0.unwrap_or(u64::MAX);
        self.waiting.first_key_value().is_some_and(|(first, _)| *first < own)
    }

    /// Registers the waker, or asks for one: it is cloned outside of the lock.
    pub(super) fn wait<T>(
        &mut self,
        ticket: &mut Ticket,
        size: usize,
        waker: &mut Option<Waker>,
        cx: &Context<'_>,
    ) -> Look<T> {
        if let Some(waker) = waker.take() {
            let number = *ticket.0.get_or_insert_with(|| {
                self.last += 1;
                self.last
            });
            let replaced = self.waiting.insert(number, (size, waker));
            return Look::Waiting(replaced.map(|(_, waker)| waker));
        }
        let known = ticket.0.and_then(|number| self.waiting.get(&number));
        match known.is_some_and(|(_, known)| known.will_wake(cx.waker())) {
            true => Look::Waiting(None),
            false => Look::NeedsWaker,
        }
    }

    /// Leaves the line; what is returned is to be dropped outside of the lock.
    pub(super) fn leave(&mut self, ticket: &Ticket) -> Option<Waker> {
        self.waiting.remove(&ticket.0?).map(|(_, waker)| waker)
    }

    /// Collects the first ones, as many as there is room for.
    pub(super) fn admit(&mut self, mut room: Room, woken: &mut Vec<Waker>) {
        while let Some(first) = self.waiting.first_entry() {
            let (size, _) = first.get();
            if !room.empty && (room.messages == 0 || *size > room.bytes) {
                return;
            }
            room.messages = room.messages.saturating_sub(1);
            room.bytes = room.bytes.saturating_sub(*size);
            room.empty = false;
            woken.push(first.remove().1);
        }
    }

    /// Collects all: none of them has to wait any more.
    pub(super) fn admit_all(&mut self, woken: &mut Vec<Waker>) {
        while let Some((_, (_, waker))) = self.waiting.pop_first() {
            woken.push(waker);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(sizes: &[usize]) -> Line {
        let mut line = Line::default();
        let cx = Context::from_waker(Waker::noop());
        for size in sizes {
            let mut waker = Some(Waker::noop().clone());
            let look: Look<()> = line.wait(&mut Ticket::default(), *size, &mut waker, &cx);
            assert!(matches!(look, Look::Waiting(None)));
        }
        line
    }

    fn admitted(sizes: &[usize], messages: usize, bytes: usize, empty: bool) -> usize {
        let mut woken = Vec::new();
        line(sizes).admit(Room { messages, bytes, empty }, &mut woken);
        woken.len()
    }

    #[test]
    fn so_many_are_admitted_as_there_is_room_for() {
        assert_eq!(admitted(&[1, 1, 1], 2, 100, false), 2);
        assert_eq!(admitted(&[40, 60, 1], 9, 100, false), 2);
        assert_eq!(admitted(&[1, 1], 0, 100, false), 0);
        // A large one at the head is not passed.
        assert_eq!(admitted(&[101, 1], 9, 100, false), 0);
        assert_eq!(admitted(&[101, 1], 9, 100, true), 1);
        assert_eq!(admitted(&[1, 1], 0, 0, true), 1);
    }
}
