//! What is measured while it runs.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::failure::Failure;

/// How long a point of a curve stands for.
const SLICE: Duration = Duration::from_millis(100);

/// How exact latencies are kept.
const DIGITS: u8 = 3;

/// Results, by when they came.
pub(super) struct Tally {
    inner: Mutex<Inner>,
}

struct Inner {
    since: Instant,
    last: Instant,
    expected: u64,
    /// In microseconds.
    latencies: Histogram<u64>,
    slices: Vec<Slice>,
}

/// What came in a tenth of a second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slice {
    pub(super) count: u64,
    /// The sum and the longest, to draw.
    pub(super) sum: Duration,
    pub(super) longest: Duration,
}

/// What there is at the end.
pub(super) struct Sums {
    pub(super) expected: u64,
    pub(super) took: Duration,
    pub(super) latencies: Histogram<u64>,
    pub(super) slices: Vec<Slice>,
}

impl Tally {
    pub(super) fn new(expected: u64) -> Result<Tally, Failure> {
        let now = Instant::now();
        let latencies = Histogram::new(DIGITS).map_err(Failure::other)?;
        let inner = Inner { since: now, last: now, expected, latencies, slices: Vec::new() };
        Ok(Tally { inner: Mutex::new(inner) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The clients are ready: time counts from now.
    pub(super) fn start(&self) {
        let mut inner = self.lock();
        inner.since = Instant::now();
        inner.last = inner.since;
    }

    /// Counts one that began then and has its result now.
    pub(super) fn record(&self, began: Instant) {
        let now = Instant::now();
        let latency = now.saturating_duration_since(began);
        let mut inner = self.lock();
        inner.last = now;
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        // It grows by itself, unlike with `saturating_record`; a number that is too large for it would be years.
        let _ = inner.latencies.record(micros);
        let at = now.saturating_duration_since(inner.since).as_nanos() / SLICE.as_nanos();
        let at = usize::try_from(at).unwrap_or(usize::MAX).min(1_000_000);
        if inner.slices.len() <= at {
            inner.slices.resize(at + 1, Slice::default());
        }
        if let Some(slice) = inner.slices.get_mut(at) {
            slice.count += 1;
            slice.sum += latency;
            slice.longest = slice.longest.max(latency);
        }
    }

    pub(super) fn done(&self) -> u64 {
        self.lock().latencies.len()
    }

    pub(super) fn sums(&self) -> Sums {
        let inner = self.lock();
        Sums {
            expected: inner.expected,
            took: inner.last.saturating_duration_since(inner.since),
            latencies: inner.latencies.clone(),
            slices: inner.slices.clone(),
        }
    }
}

/// Returns when a slice ends, counted from the start.
pub(super) fn end_of(slice: usize) -> Duration {
    SLICE.saturating_mul(u32::try_from(slice + 1).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_what_they_were() {
        let tally = Tally::new(100).unwrap();
        for millis in 1..=100 {
            let began = Instant::now().checked_sub(Duration::from_millis(100 * millis)).unwrap();
            tally.record(began);
        }
        let latencies = tally.sums().latencies;
        for (percent, millis) in [(1.0, 100), (50.0, 5_000), (99.0, 9_900), (100.0, 10_000)] {
            let found = latencies.value_at_percentile(percent);
            // Three digits, and what this test took.
            assert!((millis * 999..millis * 1_050).contains(&found), "{percent} %: {found} µs");
        }
    }
}
