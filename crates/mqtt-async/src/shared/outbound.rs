//! What the state does for messages on their way out.

use std::mem;
use std::sync::Arc;

use mqtt_proto::{Publish, Token, TxBuf};

use super::{Shared, Slot, State};
use crate::error::PublishError;

impl Shared {
    pub(crate) fn publish(self: &Arc<Self>, publish: Publish) -> Result<Slot, PublishError> {
        let expires =
            publish.properties.get().is_some_and(|it| it.message_expiry_interval.is_some());
        // The session takes an earlier time for the last one it was told: most messages need no clock.
        let now = match expires {
            true => self.instant(self.clock.now()),
            false => mqtt_proto::Instant::EPOCH,
        };
        let mut state = self.lock();
        if state.is_closing() {
            drop(state);
            return Err(PublishError::Closed(Box::new(publish)));
        }
        let token = match state.send_now(&publish) {
            Some(token) => token,
            None => state.publish(publish, now)?,
        };
        let slot = state.slots.open(token, self);
        let driver = state.touch();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        Ok(slot)
    }
}

impl State {
    /// Puts a message of QoS 0 into the output buffer, if it may leave at once.
    fn send_now(&mut self, publish: &Publish) -> Option<Token> {
        if !self.is_writing {
            return None;
        }
        self.session.send_now(publish, &mut self.out)
    }

    /// Gives a message to the session.
    pub(super) fn publish(
        &mut self,
        publish: Publish,
        now: mqtt_proto::Instant,
    ) -> Result<Token, PublishError> {
        self.session.publish(publish, now).map_err(|error| {
            let error = PublishError::from(error);
            self.full |= matches!(error, PublishError::Full(_));
            error
        })
    }

    /// Notes how many bytes the link has read and written.
    pub(crate) fn note_moved(&mut self, (read, written): (usize, usize)) {
        self.counts.bytes_in += read as u64;
        self.counts.bytes_out += written as u64;
        self.out.written(written);
        self.session.handle_written(&self.out);
    }

    /// The link is gone, and with it what it had to write. What is returned is to be dropped outside of the
    /// lock: there are payloads in it.
    #[must_use]
    pub(crate) fn lose_link(&mut self, now: mqtt_proto::Instant) -> TxBuf {
        self.is_writing = false;
        // Messages of QoS 0 that were not written have to be told so.
        self.session.handle_written(&self.out);
        self.session.handle_eof(now);
        mem::take(&mut self.out)
    }
}
