//! What response topics are called, and how a response says which request it answers.

use bytes::Bytes;
use mqtt_proto::{Property, PublishPacket, Text, TopicError, TopicName};

use crate::random::Key;

/// The level of a topic that stands between the topic of a request and its response topic, where
/// properties cannot say it.
pub(crate) const MARK: &str = "$response";

/// What response topics begin with, unless somebody says otherwise.
const PREFIX: &str = "response";

#[derive(Debug)]
pub(super) struct Names {
    prefix: Option<TopicName>,
    /// What only those see who get a request.
    key: Key,
}

impl Names {
    pub(super) fn new(prefix: Option<TopicName>) -> Names {
        Names { prefix, key: Key::default() }
    }

    /// Makes the name of a response topic; `information` is the Response Information of the server.
    pub(super) fn response_topic(
        &self,
        information: Option<&Text>,
        client_id: &str,
    ) -> Result<TopicName, TopicError> {
        let random = self.key.tag(u64::MAX);
        if let Some(information) = information {
            let below = information.as_str().trim_end_matches('/');
            if let Ok(name) = TopicName::new(format!("{below}/{random:016x}")) {
                return Ok(name);
            }
            // It is no topic: as if the server had said nothing.
        }
        let prefix = self.prefix.as_ref().map_or(PREFIX, TopicName::as_str);
        let is_level = !client_id.is_empty() && !client_id.contains(['/', '+', '#']);
        TopicName::new(match is_level {
            true => format!("{prefix}/{client_id}/{random:016x}"),
            false => format!("{prefix}/{random:016x}"),
        })
    }

    /// Makes the topic of a request that names its response topic.
    pub(super) fn topic(
        &self,
        asked: &TopicName,
        response_topic: &TopicName,
        number: u64,
    ) -> Result<TopicName, TopicError> {
        let (asked, response_topic) = (asked.as_str(), response_topic.as_str());
        let level = self.correlation_level(number);
        TopicName::new(format!("{asked}/{MARK}/{response_topic}/{level}"))
    }

    /// The number of a request, and what proves that it comes from somebody who has seen the request: who
    /// answers one cannot make up answers to others.
    pub(super) fn correlation_data(&self, number: u64) -> Bytes {
        [number.to_be_bytes(), self.key.tag(number).to_be_bytes()].concat().into()
    }

    /// The same as a level of a topic.
    fn correlation_level(&self, number: u64) -> String {
        format!("{number:016x}{:016x}", self.key.tag(number))
    }

    /// Returns the request that a message answers: Correlation Data says it, or else the topic.
    pub(super) fn number_of(&self, packet: &PublishPacket) -> Option<u64> {
        let data = packet.properties().find_map(|property| match property {
            Property::CorrelationData(data) => Some(data),
            _ => None,
        });
        let Some(data) = data else {
            let (_, level) = packet.topic().rsplit_once('/')?;
            let number = u64::from_str_radix(level.get(..16)?, 16).ok()?;
            return (*level == self.correlation_level(number)).then_some(number);
        };
        let number = u64::from_be_bytes(data.get(..8)?.try_into().ok()?);
        (*data == self.correlation_data(number)).then_some(number)
    }
}
