//! Topic aliases that this side gives out: MQTT 5.0 section 3.3.2.3.4.

use alloc::collections::BTreeMap;

use super::config::TopicAliases;
use super::list::{Key, List};
use crate::packet::{Publish, TopicAlias};
use crate::topic::TopicName;

/// Topics shorter than this are sent as they are: the alias itself takes three bytes.
const WORTH_IT: usize = 4;

/// The aliases that one connection has given out.
///
/// They are part of the connection: with it goes what the peer has learned.
#[derive(Debug, Default)]
pub(super) struct Aliases {
    /// How many the peer takes, or this side wants to use if that is less.
    maximum: u16,
    automatic: bool,
    /// By hand: what each alias stands for.
    by_hand: BTreeMap<u16, TopicName>,
    /// Automatic: each topic with its alias and its place in `used`.
    topics: BTreeMap<TopicName, (u16, Key)>,
    /// The topics, the least recently used one first.
    used: List<TopicName>,
}

impl Aliases {
    /// Begins a connection whose peer takes so many aliases.
    pub(super) fn new(mode: TopicAliases, peer_maximum: u16) -> Aliases {
        let (automatic, maximum) = match mode {
            TopicAliases::Manual => (false, peer_maximum),
            TopicAliases::Automatic { maximum } => (true, peer_maximum.min(maximum)),
        };
        Aliases { maximum, automatic, ..Aliases::default() }
    }

    /// Tells whether there is anything to do at all.
    #[inline]
    pub(super) const fn is_off(&self) -> bool {
        self.maximum == 0
    }

    /// Returns the alias to send with a message, if there is one for it.
    ///
    /// The packet has to be sent then: the peer learns from it.
    pub(super) fn alias(&mut self, publish: &Publish) -> Option<TopicAlias> {
        if self.automatic { self.next(&publish.topic) } else { self.given(publish) }
    }

    fn given(&mut self, publish: &Publish) -> Option<TopicAlias> {
        let alias = publish.properties.get()?.topic_alias?;
        if alias == 0 || alias > self.maximum {
            // It was chosen for another connection: the topic is sent as it is.
            return None;
        }
        if self.by_hand.get(&alias) == Some(&publish.topic) {
            return Some(TopicAlias::Use(alias));
        }
        self.by_hand.insert(alias, publish.topic.clone().into_owned());
        Some(TopicAlias::Set(alias))
    }

    fn next(&mut self, topic: &TopicName) -> Option<TopicAlias> {
        if topic.as_bytes().len() < WORTH_IT {
            return None;
        }
        if let Some((alias, key)) = self.topics.get_mut(topic) {
            if let Some(topic) = self.used.remove(*key) {
                *key = self.used.push(topic);
            }
            return Some(TopicAlias::Use(*alias));
        }
        let given = self.topics.len();
        let alias = if given < usize::from(self.maximum) {
            given as u16 + 1
        } else {
            let oldest = self.used.first().and_then(|key| self.used.remove(key))?;
            self.topics.remove(&oldest)?.0
        };
        // A copy of its own, so that an alias does not keep the block alive that a topic came with.
        let topic = topic.clone().into_owned();
        let key = self.used.push(topic.clone());
        self.topics.insert(topic, (alias, key));
        Some(TopicAlias::Set(alias))
    }
}
