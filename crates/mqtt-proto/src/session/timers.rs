//! Deadlines, one of each kind.

use crate::time::Instant;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Timer {
    /// CONNECT or CONNACK has to be there, or the next step of an authentication.
    Connect,
    /// A packet has to be sent, or the server takes the client for dead (client).
    Send,
    /// Something has to be received, or it is time to ask with PINGREQ (client) or to close (server).
    Receive,
    /// The answer to PINGREQ has to be there (client).
    PingResp,
    /// What is in the output buffer has to have got shorter.
    Write,
}

const COUNT: usize = 5;

/// The deadlines of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers([Option<Instant>; COUNT]);

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, deadline: Option<Instant>) {
        if let Some(slot) = self.0.get_mut(timer as usize) {
            *slot = deadline;
        }
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.set(timer, None);
    }

    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.0.get(timer as usize).is_some_and(Option::is_some)
    }

    /// Tells whether the deadline has come, and if so clears it.
    pub(super) fn take_due(&mut self, timer: Timer, now: Instant) -> bool {
        match self.0.get_mut(timer as usize) {
            Some(slot) => slot.take_if(|deadline| *deadline <= now).is_some(),
            None => false,
        }
    }

    /// Returns the earliest deadline.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }
}
