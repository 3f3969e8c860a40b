//! What a client tells about itself.

use super::Client;
use crate::events::{Events, StatusChanges};
use crate::status::Stats;

impl Client {
    /// Returns the present status, and then each time it has changed: a stream, of which the latest counts.
    pub fn status_changes(&self) -> StatusChanges {
        StatusChanges::new(self.0.shared())
    }

    /// Returns a stream of what happens to the connection from now on.
    ///
    /// After a close that was asked for it just ends.
    pub fn events(&self) -> Events {
        Events::new(self.0.shared())
    }

    /// Returns what the client has counted; this is cheap.
    pub fn stats(&self) -> Stats {
        self.0.shared().lock().stats()
    }
}
