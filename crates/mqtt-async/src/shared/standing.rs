//! How the client stands, and what was counted.

use super::State;
use crate::status::{Counts, Stats, Status};

impl State {
    pub(crate) fn status(&self) -> Status {
        Status {
            phase: self.phase,
            connected: self.connected.clone(),
            server: self.server.clone(),
            last_error: self.last_error.clone(),
            connections: self.connections,
            failed_attempts: self.failed_attempts,
            lagged: self.router.lagged(),
            inbound: self.router.len(),
            not_resubscribed: self.subscriptions.refused(),
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let held = self.session.stats();
        let Counts {
            acked,
            rejected,
            dropped,
            unwritten,
            bytes_in,
            bytes_out,
            losses,
            ref round_trips,
        } = self.counts;
        Stats {
            queued: held.queued,
            in_flight: held.in_flight,
            held_bytes: held.held_bytes,
            requests: held.requests,
            acked,
            rejected,
            dropped,
            unwritten,
            lagged: self.router.lagged(),
            bytes_in,
            bytes_out,
            connections: self.connections,
            losses,
            round_trips: round_trips.as_deref().copied().unwrap_or_default(),
            calls: self.calling.calls(),
        }
    }
}
