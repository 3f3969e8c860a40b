//! A list in order of arrival from which anything can be taken at once.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::num::NonZeroU32;

/// Names an entry of a [`List`]; it may name another one after that entry was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(NonZeroU32);

impl Key {
    /// Names no entry: it is beyond what a list can hold.
    pub(super) const NONE: Key = Key(NonZeroU32::MAX);

    fn new(index: usize) -> Key {
        // An index is far below the limit: each entry takes more than one byte.
        Key(NonZeroU32::MIN.saturating_add(index as u32))
    }

    const fn index(self) -> usize {
        self.0.get() as usize - 1
    }

    #[cfg(test)]
    pub(super) fn for_tests(index: usize) -> Key {
        Key::new(index)
    }
}

/// A doubly linked list in one block of memory. It keeps the block, until it is told to [`relax`](List::relax).
#[derive(Clone, Debug)]
pub(super) struct List<T> {
    slots: Vec<Slot<T>>,
    first: Option<Key>,
    last: Option<Key>,
    free: Option<Key>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Slot<T> {
    value: Option<T>,
    previous: Option<Key>,
    /// The next entry, or the next free slot.
    next: Option<Key>,
}

impl<T> Default for List<T> {
    fn default() -> List<T> {
        List { slots: Vec::new(), first: None, last: None, free: None, len: 0 }
    }
}

/// Gives back the memory of an empty queue.
///
/// For when the connection is at rest, and not each time when it runs empty: a steady flow would allocate for
/// every batch.
pub(super) fn relax<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() {
        *queue = VecDeque::new();
    }
}

impl<T> List<T> {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn first(&self) -> Option<Key> {
        self.first
    }

    pub(super) fn next(&self, key: Key) -> Option<Key> {
        self.slots.get(key.index())?.next
    }

    pub(super) fn get(&self, key: Key) -> Option<&T> {
        self.slots.get(key.index())?.value.as_ref()
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slots.get_mut(key.index())?.value.as_mut()
    }

    /// Returns the key that the next [`push`](List::push) will use.
    pub(super) fn next_key(&self) -> Key {
        self.free.unwrap_or_else(|| Key::new(self.slots.len()))
    }

    pub(super) fn push(&mut self, value: T) -> Key {
        let key = self.next_key();
        let slot = Slot { value: Some(value), previous: self.last, next: None };
        match self.slots.get_mut(key.index()) {
            Some(place) => {
                self.free = place.next;
                *place = slot;
            }
            None => {
                if self.slots.capacity() == 0 {
                    // Of most there is no second one: a SUBSCRIBE on a connection that then is at rest.
                    self.slots.reserve_exact(1);
                }
                self.slots.push(slot);
            }
        }
        match self.last.and_then(|last| self.slots.get_mut(last.index())) {
            Some(last) => last.next = Some(key),
            None => self.first = Some(key),
        }
        self.last = Some(key);
        self.len += 1;
        key
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index())?;
        let value = slot.value.take()?;
        let (previous, next) = (slot.previous, slot.next);
        slot.next = self.free;
        self.free = Some(key);
        match previous.and_then(|key| self.slots.get_mut(key.index())) {
            Some(slot) => slot.next = next,
            None => self.first = next,
        }
        match next.and_then(|key| self.slots.get_mut(key.index())) {
            Some(slot) => slot.previous = previous,
            None => self.last = previous,
        }
        self.len -= 1;
        if self.len == 0 {
            self.slots.clear();
            self.free = None;
        }
        Some(value)
    }

    /// Gives back what a burst needed, as far as it is at the end of the block.
    pub(super) fn relax(&mut self) {
        self.slots.shrink_to_fit();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let mut at = self.first;
        core::iter::from_fn(move || {
            let slot = self.slots.get(at?.index())?;
            at = slot.next;
            slot.value.as_ref()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_whatever_is_removed() {
        let mut list = List::default();
        let mut model: VecDeque<(Key, u32)> = VecDeque::new();
        let mut random = 12345u32;
        for step in 0..20_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Grows and shrinks in turns, so that it also runs empty.
            if (random >> 16) % 100 < if step / 500 % 2 == 0 { 60 } else { 30 } {
                assert_eq!(list.next_key(), list.clone().push(step));
                model.push_back((list.push(step), step));
            } else if !model.is_empty() {
                let at = (random >> 8) as usize % model.len();
                let (key, value) = model.remove(at).unwrap();
                assert_eq!(list.get(key), Some(&value));
                assert_eq!(list.remove(key), Some(value));
                if !model.is_empty() {
                    assert_eq!(list.remove(key), None);
                }
            }
            assert!(list.iter().eq(model.iter().map(|(_, value)| value)));
            assert_eq!(list.len(), model.len());
        }
    }
}
