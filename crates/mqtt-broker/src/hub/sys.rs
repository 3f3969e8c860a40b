//! What the broker tells about itself below `$SYS/`, and how many clients it lets in at a time.

use std::time::Duration;

use bytes::Bytes;
use mqtt_proto::{Instant, Publish, TopicName};

use super::Hub;
use super::deadlines::Due;

/// What topics about the broker begin with.
const PREFIX: &str = "$SYS/broker/";

/// When the broker tells about itself next, and what it told last.
#[derive(Debug, Default)]
pub(super) struct Sys {
    since: Option<Instant>,
    /// What `deadlines` has for it.
    deadline: Option<Instant>,
    told: Vec<(&'static str, Bytes)>,
}

impl Sys {
    /// Tells whether the broker has begun to tell about itself.
    pub(super) const fn is_told(&self) -> bool {
        self.since.is_some()
    }
}

impl Hub {
    /// Tells whether a topic is one that only the broker publishes to.
    pub(super) fn is_own_topic(&self, topic: &[u8]) -> bool {
        self.config.sys_interval.is_some() && topic.starts_with(b"$SYS/")
    }

    /// Publishes what has changed, and waits for the next time.
    pub(super) fn tell_sys(&mut self, now: Instant) {
        let Some(interval) = self.config.sys_interval else { return };
        // A clock that runs without an end is no interval.
        let next = now + interval.max(Duration::from_secs(1));
        self.deadlines.set(Due::Sys, &mut self.sys.deadline, Some(next));
        let since = *self.sys.since.get_or_insert(now);
        let stats = self.stats();
        let connected = self.connections.values().filter(|it| it.client.is_some()).count();
        let dropped = stats.dropped_full
            + stats.dropped_expired
            + stats.dropped_too_large
            + stats.dropped_other;
        let facts = [
            ("version", format!("mqtt-broker {}", env!("CARGO_PKG_VERSION"))),
            ("uptime", format!("{} seconds", now.since(since).as_secs())),
            ("clients/connected", connected.to_string()),
            ("clients/total", stats.sessions.to_string()),
            ("subscriptions/count", stats.subscriptions.to_string()),
            ("retained messages/count", stats.retained_messages.to_string()),
            ("messages/received", stats.messages_in.to_string()),
            ("messages/sent", stats.messages_out.to_string()),
            ("publish/messages/dropped", dropped.to_string()),
            ("queues/dropped", stats.dropped_full.to_string()),
            ("queues/disconnected", stats.disconnected_full.to_string()),
        ];
        for (name, value) in facts {
            let value = Bytes::from(value);
            match self.sys.told.iter_mut().find(|(known, _)| *known == name) {
                Some((_, last)) if *last == value => continue,
                Some((_, last)) => last.clone_from(&value),
                None => self.sys.told.push((name, value.clone())),
            }
            if let Ok(topic) = TopicName::new(format!("{PREFIX}{name}")) {
                let publish = Publish::new(topic, value).retain(true);
                let deliveries = self.deliveries(publish.topic.as_bytes(), None);
                self.distribute(&publish, deliveries, now);
            }
        }
    }
}

/// Lets so many through in a second, and no more than that at once.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// How many may still pass now; and when that was counted.
    left: f64,
    at: Option<Instant>,
}

impl Gate {
    /// Tells whether one may pass, and counts it.
    pub(super) fn pass(&mut self, per_second: u32, now: Instant) -> bool {
        let most = f64::from(per_second);
        let left = match self.at {
            Some(at) => (self.left + now.since(at).as_secs_f64() * most).min(most),
            None => most,
        };
        self.at = Some(now);
        let passes = left >= 1.0;
        self.left = if passes { left - 1.0 } else { left };
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_lets_so_many_through_in_a_second() {
        let mut gate = Gate::default();
        let at = |millis| Instant::from_epoch(Duration::from_millis(millis));
        let mut pass = |millis| (0..100).take_while(|_| gate.pass(10, at(millis))).count();
        assert_eq!(pass(5000), 10);
        assert_eq!(pass(5000), 0);
        assert_eq!(pass(5350), 3);
        assert_eq!(pass(60_000), 10, "what was not used is not saved up");
        assert!(!Gate::default().pass(0, at(1)));
    }
}
