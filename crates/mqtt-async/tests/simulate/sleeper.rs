//! A task that polls only when it was woken.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::common::bench::Flag;
use crate::random::Random;

/// Who waits for something: it is polled once, and then not before it was woken.
#[derive(Default)]
pub struct Sleeper {
    flag: Arc<Flag>,
    asleep: bool,
}

impl Sleeper {
    /// Whether it is to be polled.
    pub fn is_awake(&self) -> bool {
        !self.asleep || self.flag.is_set()
    }

    /// Polls, unless it would be for no reason. Now and then another task takes over.
    pub fn poll<T>(
        &mut self,
        random: &mut Random,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Option<T> {
        if self.asleep && !self.flag.take() {
            return None;
        }
        if random.chance(20) {
            self.flag = Arc::default();
        }
        let waker = Waker::from(Arc::clone(&self.flag));
        match poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => {
                self.asleep = false;
                Some(value)
            }
            Poll::Pending => {
                self.asleep = true;
                None
            }
        }
    }

    pub fn future<F: Future + Unpin>(
        &mut self,
        random: &mut Random,
        future: &mut F,
    ) -> Option<F::Output> {
        self.poll(random, |cx| Pin::new(future).poll(cx))
    }
}
