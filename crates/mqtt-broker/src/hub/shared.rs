//! The hub behind its lock, and the clock.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use mqtt_async::Clock;
use mqtt_proto::Instant;

use super::Hub;
use crate::hooks::Hooks;

/// What the handles, the driver and the connections have in common.
pub(crate) struct Shared {
    hub: Mutex<Hub>,
    hooks: Option<Arc<dyn Hooks>>,
    clock: Clock,
    /// What the core's time counts from.
    epoch: std::time::Instant,
}

impl Shared {
    pub(crate) fn new(hub: Hub, clock: Clock) -> Shared {
        let epoch = clock.now();
        let hooks = hub.hooks();
        Shared { hub: Mutex::new(hub), hooks, clock, epoch }
    }

    pub(crate) fn hooks(&self) -> Option<&Arc<dyn Hooks>> {
        self.hooks.as_ref()
    }

    /// Returns what time it is. Not to be called inside `with`: a clock may be anybody's code.
    pub(crate) fn now(&self) -> Instant {
        Instant::from_epoch(self.clock.now().saturating_duration_since(self.epoch))
    }

    /// Returns a deadline in the time of the timer, or `None` if that does not reach so far.
    pub(crate) fn at(&self, deadline: Instant) -> Option<std::time::Instant> {
        self.epoch.checked_add(deadline.since_epoch())
    }

    /// Locks the hub, changes it, unlocks it, and then wakes and tells whom that concerns.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Hub) -> T) -> T {
        let (result, (wakers, notices)) = {
            // Nothing panics in there; if something does, going on is better than to stop everybody.
            let mut hub = self.hub.lock().unwrap_or_else(PoisonError::into_inner);
            (change(&mut hub), hub.take_wakers())
        };
        for waker in wakers {
            waker.wake();
        }
        if let Some(hooks) = &self.hooks {
            notices.iter().for_each(|notice| notice.tell(&**hooks));
        }
        result
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
