//! What a thread answers to a task.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// Returns the end for the thread and the end for the task.
pub(crate) fn answer<T>() -> (Giver<T>, Answer<T>) {
    let slot = Arc::new(Mutex::new(Slot::Waiting(None)));
    (Giver(Some(Arc::clone(&slot))), Answer(slot))
}

/// Where the thread gives its answer.
#[derive(Debug)]
pub(crate) struct Giver<T>(Option<Arc<Mutex<Slot<T>>>>);

/// Resolves to the answer, or to `None` if the thread has dropped its end without one.
#[derive(Debug)]
pub(crate) struct Answer<T>(Arc<Mutex<Slot<T>>>);

#[derive(Debug)]
enum Slot<T> {
    Waiting(Option<Waker>),
    Given(T),
    Over,
}

fn replace<T>(slot: &Mutex<Slot<T>>, with: Slot<T>) -> Slot<T> {
    mem::replace(&mut *slot.lock().unwrap_or_else(PoisonError::into_inner), with)
}

impl<T> Giver<T> {
    pub(crate) fn give(mut self, value: T) {
        self.end(Slot::Given(value));
    }

    fn end(&mut self, with: Slot<T>) {
        if let Some(slot) = self.0.take()
            && let Slot::Waiting(Some(waker)) = replace(&slot, with)
        {
            waker.wake();
        }
    }
}

impl<T> Drop for Giver<T> {
    fn drop(&mut self) {
        self.end(Slot::Over);
    }
}

impl<T> Future for Answer<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let waker = cx.waker().clone();
        match replace(&self.0, Slot::Waiting(Some(waker))) {
            Slot::Waiting(_) => Poll::Pending,
            Slot::Given(value) => Poll::Ready(Some(value)),
            Slot::Over => Poll::Ready(None),
        }
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        // Nobody waits any more: the waker must not keep its task.
        drop(replace(&self.0, Slot::Over));
    }
}
