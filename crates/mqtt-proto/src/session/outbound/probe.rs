//! How long the peer takes to answer, measured with one message at a time.

use core::time::Duration;

use crate::time::Instant;
use crate::types::Token;

/// Follows one message from the buffer to its answer; those that are sent meanwhile cost nothing.
#[derive(Debug, Default)]
pub(super) struct Probe {
    followed: Option<(Token, Instant)>,
    /// What was measured last and nobody has taken.
    round_trip: Option<Duration>,
}

impl Probe {
    /// A message that waits for an answer was put into the buffer.
    #[inline]
    pub(super) const fn sent(&mut self, token: Token, now: Instant) {
        if self.followed.is_none() {
            self.followed = Some((token, now));
        }
    }

    /// The first answer to a message came: PUBACK or PUBREC.
    #[inline]
    pub(super) fn answered(&mut self, token: Token, now: Instant) {
        if let Some((_, sent)) = self.followed.take_if(|(followed, _)| *followed == token) {
            self.round_trip = Some(now.since(sent));
        }
    }

    pub(super) const fn take(&mut self) -> Option<Duration> {
        self.round_trip.take()
    }
}
