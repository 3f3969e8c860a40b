//! What waits for a client that is away, and expires.

use std::collections::BTreeSet;
use std::time::Duration;

use mqtt_proto::{Instant, PublishProperties, Server, Session, Token};

/// How many messages are taken out at a time: more than come in, so that it ends, and not so many that it takes long.
const AT_ONCE: usize = 8;

/// The messages that a client has got while it was away and that expire, the earliest first.
///
/// The session leaves them out itself, when they would be sent: until then they would take the room of others.
#[derive(Debug, Default)]
pub(super) struct Expiring(BTreeSet<(Instant, Token)>);

impl Expiring {
    /// Tells whether one has expired.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.0.first().is_some_and(|(expires, _)| *expires <= now)
    }

    /// Takes some of those that have expired out of the session, and returns how many.
    pub(super) fn forget(&mut self, session: &mut Session<Server>, now: Instant) -> u64 {
        let mut count = 0;
        for _ in 0..AT_ONCE {
            if self.is_due(now)
                && let Some((_, token)) = self.0.pop_first()
            {
                // It may have given way to another one.
                count += u64::from(session.cancel(token).is_some());
            }
        }
        count
    }

    /// Notes a message that the session has taken now.
    pub(super) fn push(
        &mut self,
        token: Token,
        properties: &PublishProperties,
        session: &Session<Server>,
        now: Instant,
    ) {
        let expiry = properties.get().and_then(|fields| fields.message_expiry_interval);
        let Some(seconds) = expiry else { return };
        self.0.insert((now + Duration::from_secs(seconds.into()), token));
        if self.0.len() > 2 * session.stats().queued {
            // Most of them have given way: they were the oldest.
            let first = session.waiting().map(|(first, _)| first);
            self.0.retain(|(_, token)| first.is_some_and(|first| *token >= first));
        }
    }
}

#[cfg(test)]
mod tests {
    use mqtt_proto::{Publish, QoS, ServerConfig, TopicName};

    use super::*;

    #[test]
    fn what_has_given_way_is_not_remembered() {
        let mut config = ServerConfig::default();
        config.bounds.messages = 4;
        let mut session = Session::<Server>::new(config);
        let mut expiring = Expiring::default();
        let mut publish = Publish::new(TopicName::new("a").unwrap(), "x").qos(QoS::AtLeastOnce);
        publish.properties.edit().message_expiry_interval = Some(60);
        let begin = Instant::EPOCH;
        for _ in 0..100 {
            let taken = session.publish_over(publish.clone(), None, begin, &mut Vec::new());
            expiring.push(taken.unwrap().0, &publish.properties, &session, begin);
            assert!(expiring.0.len() <= 8, "{}", expiring.0.len());
        }
        let end = begin + Duration::from_secs(60);
        assert!(expiring.is_due(end) && !expiring.is_due(begin));
        assert_eq!(expiring.forget(&mut session, begin), 0);
        assert_eq!(expiring.forget(&mut session, end), 4);
        assert_eq!((session.stats().queued, expiring.0.len()), (0, 0));
    }
}
