//! Retained messages: the last one of each topic.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;
use mqtt_proto::{Instant, Publish, TopicFilter, TopicName, matches};

/// The retained messages, by topic in the order of the bytes, so that a filter only looks at the
/// topics that begin like it.
#[derive(Debug)]
pub(crate) struct Retained {
    messages: BTreeMap<Bytes, Entry>,
    /// When messages expire, the earliest first.
    expiry: BTreeSet<(Instant, Bytes)>,
    bytes: usize,
    max_messages: usize,
    max_bytes: usize,
}

#[derive(Debug)]
struct Entry {
    publish: Publish,
    expires: Option<Instant>,
    size: usize,
}

impl Retained {
    pub(crate) const fn new(max_messages: usize, max_bytes: usize) -> Retained {
        Retained {
            messages: BTreeMap::new(),
            expiry: BTreeSet::new(),
            bytes: 0,
            max_messages,
            max_bytes,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps a message in place of the topic's last one, or only forgets that if the new one has no
    /// payload. Tells whether there was room for it.
    ///
    /// The message must not share a large block for a small payload.
    pub(crate) fn set(&mut self, publish: &Publish, now: Instant) -> bool {
        // Also when there is no room for the new one: an outdated value would be worse than none.
        self.remove(publish.topic.as_bytes());
        if publish.payload.is_empty() {
            return true;
        }
        let size = size(publish);
        if self.messages.len() >= self.max_messages || size > self.max_bytes - self.bytes {
            return false;
        }
        let topic = publish.topic.as_text().clone().into_bytes();
        let expires = publish
            .properties
            .get()
            .and_then(|fields| fields.message_expiry_interval)
            .map(|seconds| now + Duration::from_secs(seconds.into()));
        if let Some(expires) = expires {
            self.expiry.insert((expires, topic.clone()));
        }
        self.bytes += size;
        self.messages.insert(topic, Entry { publish: publish.clone(), expires, size });
        true
    }

    fn remove(&mut self, topic: &[u8]) {
        if let Some((topic, entry)) = self.messages.remove_entry(topic) {
            self.bytes -= entry.size;
            if let Some(expires) = entry.expires {
                self.expiry.remove(&(expires, topic));
            }
        }
    }

    /// Forgets what has expired.
    pub(crate) fn expire(&mut self, now: Instant) {
        while self.expiry.first().is_some_and(|(expires, _)| *expires <= now) {
            if let Some((_, topic)) = self.expiry.pop_first()
                && let Some(entry) = self.messages.remove(&topic)
            {
                self.bytes -= entry.size;
            }
        }
    }

    /// Returns when the next message expires.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.expiry.first().map(|(expires, _)| *expires)
    }

    /// Returns the message of a topic, with the Message Expiry Interval that is left of its own.
    pub(crate) fn get(&self, topic: &TopicName, now: Instant) -> Option<Publish> {
        self.messages.get(topic.as_bytes())?.at(now)
    }

    /// Returns the topics that match.
    pub(crate) fn matching(&self, filter: &TopicFilter) -> impl Iterator<Item = TopicName> {
        let filter = filter.filter().as_bytes();
        let prefix = literal_prefix(filter);
        self.messages
            .range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(topic, _)| topic.starts_with(prefix))
            .filter(move |(topic, _)| matches(filter, topic))
            .map(|(_, entry)| entry.publish.topic.clone())
    }
}

impl Entry {
    fn at(&self, now: Instant) -> Option<Publish> {
        let mut publish = self.publish.clone();
        if let Some(expires) = self.expires {
            let left = expires.since(now);
            if left.is_zero() {
                return None;
            }
            // Rounded up: zero seconds would be none at all.
            let seconds = left.as_secs() + u64::from(left.subsec_nanos() > 0);
            publish.properties.edit().message_expiry_interval =
                Some(u32::try_from(seconds).unwrap_or(u32::MAX));
        }
        Some(publish)
    }
}

/// Returns what every topic begins with that matches the filter: all before the first wildcard, and
/// without the `/` in front of it, since `a/#` matches `a`.
fn literal_prefix(filter: &[u8]) -> &[u8] {
    match filter.iter().position(|byte| matches!(byte, b'+' | b'#')) {
        None => filter,
        Some(at) => filter.get(..at.saturating_sub(1)).unwrap_or_default(),
    }
}

/// Returns what a message takes, about.
fn size(publish: &Publish) -> usize {
    let properties = publish.properties.get().map_or(0, |fields| {
        let text = |text: &Option<mqtt_proto::Text>| text.as_ref().map_or(0, |text| text.len());
        let users = fields.user_properties.iter();
        text(&fields.content_type)
            + fields.response_topic.as_ref().map_or(0, |topic| topic.as_bytes().len())
            + fields.correlation_data.as_ref().map_or(0, Bytes::len)
            + users.map(|(name, value)| name.len() + value.len() + 64).sum::<usize>()
    });
    publish.topic.as_bytes().len() + publish.payload.len() + properties
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(topic: &str, payload: &'static str) -> Publish {
        Publish::new(TopicName::new(topic).unwrap(), payload).retain(true)
    }

    fn topics(retained: &Retained, filter: &str, now: Instant) -> Vec<String> {
        let filter = TopicFilter::new(filter).unwrap();
        let found = retained.matching(&filter).filter(|topic| retained.get(topic, now).is_some());
        found.map(|topic| topic.to_string()).collect()
    }

    const T0: Instant = Instant::EPOCH;

    // covers: v5 MQTT-3.3.1-5, v5 MQTT-3.3.1-6, v5 MQTT-3.3.1-7
    // covers: v3 MQTT-3.3.1-5, v3 MQTT-3.3.1-10, v3 MQTT-3.3.1-11
    #[test]
    fn keeps_the_last_one_of_each_topic() {
        let mut retained = Retained::new(10, 100);
        assert!(retained.set(&message("a", "1"), T0));
        assert!(retained.set(&message("a", "22"), T0));
        assert_eq!((retained.len(), retained.bytes()), (1, 3));
        assert!(retained.set(&message("a", ""), T0));
        assert_eq!((retained.len(), retained.bytes()), (0, 0));
        assert!(retained.set(&message("b", ""), T0));
        assert_eq!(retained.len(), 0);
    }

    #[test]
    fn looks_at_all_topics_that_a_filter_can_match() {
        let mut retained = Retained::new(100, 10_000);
        let all = ["$SYS/a", "/", "/a", "a", "a/", "a/b", "a/b/c", "a0", "ab", "b/b", "ä/b"];
        for topic in all {
            retained.set(&message(topic, "x"), T0);
        }
        for filter in
            ["#", "+", "+/+", "a", "a/#", "a/+", "a/b/#", "a/+/c", "/#", "/+", "$SYS/#", "+/b"]
        {
            let naive: Vec<_> = all
                .iter()
                .filter(|topic| matches(filter.as_bytes(), topic.as_bytes()))
                .map(|topic| (*topic).to_owned())
                .collect();
            assert_eq!(topics(&retained, filter, T0), naive, "{filter}");
        }
    }

    // covers: v5 MQTT-3.3.2-5, v5 MQTT-3.3.2-6
    #[test]
    fn expires() {
        let mut retained = Retained::new(10, 1000);
        let mut short = message("short", "x");
        short.properties.edit().message_expiry_interval = Some(10);
        retained.set(&short, T0);
        retained.set(&message("long", "x"), T0);
        let later = T0 + Duration::from_millis(3_500);
        let found = retained.get(&TopicName::new("short").unwrap(), later).unwrap();
        assert_eq!(found.properties.get().unwrap().message_expiry_interval, Some(7));
        let end = T0 + Duration::from_secs(10);
        assert_eq!(topics(&retained, "#", end), ["long"], "not shown even before it is swept");
        assert_eq!(retained.next_expiry(), Some(end));
        retained.expire(end);
        assert_eq!((retained.len(), retained.bytes(), retained.next_expiry()), (1, 5, None));
    }

    #[test]
    fn replacing_forgets_the_old_expiry() {
        let mut retained = Retained::new(10, 1000);
        let mut short = message("a", "x");
        short.properties.edit().message_expiry_interval = Some(1);
        retained.set(&short, T0);
        retained.set(&message("a", "y"), T0);
        retained.expire(T0 + Duration::from_secs(100));
        assert_eq!(retained.len(), 1);
    }

    #[test]
    fn is_bounded() {
        let mut retained = Retained::new(2, 20);
        assert!(retained.set(&message("a", "x"), T0));
        assert!(retained.set(&message("b", "x"), T0));
        assert!(!retained.set(&message("c", "x"), T0), "too many");
        assert!(retained.set(&message("b", "y"), T0), "no more than before");
        assert!(!retained.set(&message("b", "12345678901234567890"), T0), "too large");
        assert_eq!(topics(&retained, "#", T0), ["a"], "and the outdated value is gone");
    }
}
