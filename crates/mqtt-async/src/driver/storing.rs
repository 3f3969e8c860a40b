//! The store of a durable session: one batch at a time, beside whatever else goes on.

use std::mem;
use std::task::{Context, Poll};

use super::{Driver, Flow, Stage};
use crate::connect::Connector;
use crate::error::{Error, StoreError};
use crate::shared::{Close, End};
use crate::status::{Event, Phase};
use crate::store::{Batch, Journal};
use crate::time::Timer;

impl<C: Connector, T> Driver<C, T> {
    pub(crate) fn with_journal(mut self, journal: Journal) -> Driver<C, T> {
        self.journal = Some(Box::new(journal));
        self
    }
}

impl<C: Connector, T: Timer> Driver<C, T> {
    /// Gets on with the store; tells whether there is something to do at once, as to send what waited for
    /// it.
    pub(super) fn store(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(journal) = &mut self.journal else { return false };
        if journal.is_ready() {
            let batch = {
                let mut state = self.shared.lock();
                Batch::gather(|| state.session.poll_store())
            };
            journal.write(batch);
        }
        match journal.poll(cx) {
            Poll::Ready(Ok(upto)) => {
                self.shared.lock().stored(upto, &mut self.woken);
                self.wake();
                true
            }
            Poll::Ready(Err(error)) => {
                self.fail(error.into());
                true
            }
            Poll::Pending => false,
        }
    }

    /// Ends in the middle of everything: what the client would go on to promise could not be kept. For the
    /// server it is as if the program had crashed.
    fn fail(&mut self, error: Error) {
        self.journal = None;
        let stage = mem::replace(&mut self.stage, Stage::Ended);
        let since = match &stage {
            Stage::Running(running) => running.since,
            Stage::Ending(ending) => ending.since(),
            _ => None,
        };
        let ends = matches!(stage, Stage::Storing(_));
        // Whoever waits for the end finds the transport closed.
        drop(stage);
        let before = {
            let mut state = self.shared.lock();
            let failed = state.failed_attempts;
            if !ends {
                state.counts.losses.count(&error);
                state.log.push(|| match (error.clone(), since) {
                    (error, Some(_)) => Event::Disconnected { error, retry_in: None },
                    (error, None) => Event::AttemptFailed { error, failed, retry_in: None },
                });
            }
            state.log.change();
            state.last_error.replace(error.clone())
        };
        drop(before);
        self.tell();
        self.end(End::Failed(error));
    }

    /// Ends, when everything that was accepted is in the store.
    pub(super) fn end(&mut self, end: End) -> Flow {
        if self.journal.is_none() {
            return self.stop(end);
        }
        {
            let mut state = self.shared.lock();
            // Nothing more is accepted, so this comes to an end.
            state.close = state.close.max(Close::Now);
            state.set_phase(Phase::Closing);
        }
        self.tell();
        self.stage = Stage::Storing(end);
        Flow::Again
    }

    /// Waits for the store at the end.
    pub(super) fn finish_storing(&mut self, end: End) -> Flow {
        let stored = {
            let now = self.timer.now();
            let mut state = self.shared.lock();
            self.look_by = state.look(now, &mut self.woken);
            state.session.is_stored(state.session.last_store())
        };
        self.wake();
        if stored {
            return self.stop(end);
        }
        self.stage = Stage::Storing(end);
        Flow::Sleep
    }

    /// Checks that what a connection is about to be made with goes on with the stored session.
    pub(super) fn check_durable(&self) -> Result<(), StoreError> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let state = self.shared.lock();
        let config = state.session.config();
        journal.check(config.version, &config.connect)
    }
}
