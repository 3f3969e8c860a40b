//! How long the server took to answer messages, as a histogram.

use std::time::Duration;

/// The first bucket ends here, in microseconds: 2 to the power of `FIRST`.
const FIRST: u32 = 4;

/// Each power of two has 2 to the power of `PARTS` buckets of the same width.
const PARTS: u32 = 2;

/// The last bucket begins below 2 to the power of `LAST` microseconds, which are 134 s.
const LAST: u32 = 27;

const BUCKETS: usize = 1 + ((LAST - FIRST) << PARTS) as usize;

/// How long the server took to answer messages of QoS 1 and 2: from the moment that one was handed to the
/// connection to its PUBACK or PUBREC.
///
/// One message at a time is measured, the others are not counted: this costs nothing for each message. It
/// is a histogram whose buckets are at most a quarter wider than what they count, from 16 µs to 134 s.
// 93 numbers inline: it is copied with `Stats`, and an idle client stays small. The histograms of libraries
// are on the heap, and ten times as large at this resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrips {
    counts: [u32; BUCKETS],
    longest: Duration,
}

impl Default for RoundTrips {
    fn default() -> RoundTrips {
        RoundTrips { counts: [0; BUCKETS], longest: Duration::ZERO }
    }
}

impl RoundTrips {
    /// Returns how many were measured.
    pub fn count(&self) -> u64 {
        self.counts.iter().copied().map(u64::from).sum()
    }

    /// Returns the longest, or zero if there was none.
    pub fn longest(&self) -> Duration {
        self.longest
    }

    /// Returns the time that so many percent did not exceed, or `None` if there was none.
    ///
    /// It is the end of a bucket, at most a quarter too long, and never longer than the longest. What is
    /// no percentage counts as the nearest one.
    ///
    /// ```
    /// # fn example(client: mqtt_async::Client) {
    /// let round_trips = client.stats().round_trips;
    /// if let (Some(median), Some(slow)) = (round_trips.percentile(50.0), round_trips.percentile(99.0)) {
    ///     println!("{median:?}, and for one in a hundred {slow:?} or more");
    /// }
    /// # }
    /// ```
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        let count = self.count();
        // The cast saturates, and takes what is no number for 0: the shortest.
        let rank = (count as f64 * percent / 100.0).ceil() as u64;
        let mut left = rank.clamp(1, count.max(1));
        let mut buckets = self.buckets();
        let (end, _) = buckets.find(|(_, count)| {
            left = left.saturating_sub(u64::from(*count));
            left == 0
        })?;
        Some(end.min(self.longest))
    }

    /// Returns all buckets, the shortest first: the time that its round trips were shorter than, and how
    /// many there were. The end of the last one is [`Duration::MAX`].
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u32)> {
        self.counts.iter().enumerate().map(|(index, count)| (end(index), *count))
    }

    pub(crate) fn record(&mut self, round_trip: Duration) {
        if let Some(count) = self.counts.get_mut(index(round_trip)) {
            *count = count.saturating_add(1);
        }
        self.longest = self.longest.max(round_trip);
    }
}

/// Returns the bucket of a time.
fn index(time: Duration) -> usize {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let Some(power) = micros.checked_ilog2().filter(|power| *power >= FIRST) else { return 0 };
    let part = (micros >> (power - PARTS)) as usize & ((1 << PARTS) - 1);
    let index = 1 + (((power - FIRST) << PARTS) as usize) + part;
    index.min(BUCKETS - 1)
}

/// Returns the time that all in a bucket are shorter than.
fn end(index: usize) -> Duration {
    if index + 1 >= BUCKETS {
        return Duration::MAX;
    }
    // The bucket number `index` ends where the part number `index` begins.
    let (power, part) = (FIRST + (index >> PARTS) as u32, index as u64 & ((1 << PARTS) - 1));
    Duration::from_micros(((1 << PARTS) + part) << (power - PARTS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_bucket_that_ends_behind_it_and_that_is_narrow() {
        let mut last = 0;
        let mut micros = 0;
        while micros < 200_000_000 {
            let time = Duration::from_micros(micros);
            let at = index(time);
            assert!(at == last || at == last + 1, "{micros}: {last} and then {at}");
            assert!(time < end(at), "{micros}");
            assert!(at == 0 || end(at - 1) <= time, "{micros}");
            if at > 0 && at < BUCKETS - 1 {
                assert!(end(at).as_micros() * 4 <= end(at - 1).as_micros() * 5, "{micros}");
            }
            last = at;
            micros += 1 + micros / 500;
        }
        assert_eq!(last, BUCKETS - 1, "all buckets have their time");
        assert_eq!(index(Duration::MAX), BUCKETS - 1);
        assert_eq!(end(0), Duration::from_micros(16));
        assert_eq!(end(BUCKETS - 2), Duration::from_micros(7 << 24));
    }

    #[test]
    fn percentiles_are_at_most_a_quarter_too_long() {
        let mut all = RoundTrips::default();
        assert_eq!((all.count(), all.percentile(50.0), all.longest()), (0, None, Duration::ZERO));
        for millis in 1..=1000 {
            all.record(Duration::from_millis(millis));
        }
        assert_eq!(all.count(), 1000);
        for (percent, exact) in [(1.0, 10), (50.0, 500), (90.0, 900), (99.0, 990), (99.9, 999)] {
            let exact = Duration::from_millis(exact);
            let told = all.percentile(percent).unwrap();
            assert!(told >= exact && told <= exact * 5 / 4, "{percent}: {told:?}");
        }
        assert_eq!(all.percentile(100.0), Some(Duration::from_secs(1)));
        for (odd, like) in [(-1.0, 0.0), (f64::NAN, 0.0), (1e300, 100.0), (f64::INFINITY, 100.0)] {
            assert_eq!(all.percentile(odd), all.percentile(like), "{odd}");
        }
        assert_eq!(all.buckets().map(|(_, count)| count).sum::<u32>(), 1000);
        all.record(Duration::from_secs(1000));
        assert_eq!(all.percentile(100.0), Some(Duration::from_secs(1000)));
    }

    #[test]
    fn counts_stop_at_their_end() {
        let mut full = RoundTrips::default();
        full.counts[0] = u32::MAX;
        full.record(Duration::ZERO);
        assert_eq!(full.count(), u64::from(u32::MAX));
    }
}
