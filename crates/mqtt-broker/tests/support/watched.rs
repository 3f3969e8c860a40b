//! A driver whose steps can be waited for.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use mqtt_broker::Driver;

/// Who waits for a step of any broker of this process.
static WAITING: Mutex<Vec<Waker>> = Mutex::new(Vec::new());

/// Waits for the next step of a broker, but for that of this moment too: to be called before one looks.
pub(crate) fn wake_after_step(waker: &Waker) {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner).push(waker.clone());
}

/// A driver that tells after each step. All that a broker does by itself, it does in there.
pub(crate) struct Watched(pub(crate) Driver);

impl Future for Watched {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let step = Pin::new(&mut self.0).poll(cx);
        let waiting = std::mem::take(&mut *WAITING.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().for_each(Waker::wake);
        step
    }
}
