//! Sets of tasks that wait for the same thing.

use std::task::{Context, Waker};

use super::Look;

/// Tasks that wait; each is woken once and then has to register again.
#[derive(Debug, Default)]
pub(crate) struct Wakers {
    list: Vec<(u64, Waker)>,
    next: u64,
}

/// Names a task's place in a set; keep it as long as the task may wait.
#[derive(Debug, Default)]
pub(crate) struct Key(Option<u64>);

impl Wakers {
    /// Registers the waker under the key, or asks for one: it is cloned outside of the lock.
    pub(crate) fn wait<T>(
        &mut self,
        key: &mut Key,
        waker: &mut Option<Waker>,
        cx: &Context<'_>,
    ) -> Look<T> {
        match waker.take() {
            Some(waker) => Look::Waiting(self.register(key, waker)),
            None if self.has(key, cx.waker()) => Look::Waiting(None),
            None => Look::NeedsWaker,
        }
    }

    /// Tells whether that waker is registered under the key.
    pub(crate) fn has(&self, key: &Key, waker: &Waker) -> bool {
        let Key(Some(key)) = key else { return false };
        self.list.iter().any(|(other, known)| other == key && known.will_wake(waker))
    }

    /// Registers a waker under the key; returns the one that it replaces.
    pub(crate) fn register(&mut self, key: &mut Key, waker: Waker) -> Option<Waker> {
        let key = *key.0.get_or_insert_with(|| {
            self.next += 1;
            self.next
        });
        match self.list.iter_mut().find(|(other, _)| *other == key) {
            Some((_, known)) => Some(std::mem::replace(known, waker)),
            None => {
                if self.list.capacity() == 0 {
                    // Mostly it is one task.
                    self.list.reserve_exact(1);
                }
                self.list.push((key, waker));
                None
            }
        }
    }

    /// Takes the waker out that is registered under the key.
    pub(crate) fn remove(&mut self, key: &Key) -> Option<Waker> {
        let Key(Some(key)) = key else { return None };
        let index = self.list.iter().position(|(other, _)| other == key)?;
        Some(self.list.swap_remove(index).1)
    }

    /// Takes all wakers out.
    pub(crate) fn take(&mut self, into: &mut Vec<Waker>) {
        into.extend(self.list.drain(..).map(|(_, waker)| waker));
    }
}
