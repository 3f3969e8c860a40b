//! Time, as the caller tells it.

use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

/// A point in time: the duration since an epoch that the caller chose once and keeps.
///
/// The core reads no clock, so that it works without an operating system and under a simulated
/// time. It only adds, subtracts and compares. Time that seems to run backwards counts as no time.
///
/// ```
/// use core::time::Duration;
/// use mqtt_proto::Instant;
///
/// let now = Instant::from_epoch(Duration::from_secs(10));
/// assert_eq!((now + Duration::from_secs(5)).since(now), Duration::from_secs(5));
/// assert_eq!(now.since(now + Duration::from_secs(5)), Duration::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(Duration);

impl Instant {
    /// The epoch itself.
    pub const EPOCH: Instant = Instant(Duration::ZERO);

    /// Returns the instant that lies `elapsed` after the caller's epoch.
    pub const fn from_epoch(elapsed: Duration) -> Instant {
        Instant(elapsed)
    }

    /// Returns the time since the caller's epoch.
    pub const fn since_epoch(self) -> Duration {
        self.0
    }

    /// Returns the time since `earlier`, or zero if `earlier` is later.
    pub const fn since(self, earlier: Instant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    /// Saturates at the far end of time instead of overflowing.
    fn add(self, by: Duration) -> Instant {
        Instant(self.0.saturating_add(by))
    }
}

impl Sub<Instant> for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.since(earlier)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t+{:?}", self.0)
    }
}
