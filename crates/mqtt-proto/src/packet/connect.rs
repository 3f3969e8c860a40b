//! CONNECT: MQTT 5.0 section 3.1.

use core::fmt;

use bytes::Bytes;

use super::{Publish, PublishProperties, UserProperties};
use crate::text::Text;
use crate::topic::TopicName;
use crate::types::QoS;

/// The content of a CONNECT packet: who the client is and what it wants.
///
/// The version is not part of it; it is an argument of the codec. `None` means that the property is
/// absent. Properties exist in MQTT 5.0 only. `Debug` shows neither the password nor
/// the authentication data.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Connect {
    /// The Client Identifier; empty: the server chooses one.
    pub client_id: Text,
    /// Whether to begin with a new session (Clean Session in 3.x).
    pub clean_start: bool,
    /// The longest time between two packets of the client, in seconds; 0: any.
    pub keep_alive: u16,
    /// What the server publishes if the connection breaks.
    pub will: Option<Will>,
    /// The User Name.
    pub user_name: Option<Text>,
    /// The Password; in 3.x only beside a User Name.
    pub password: Option<Bytes>,
    /// How long the session outlives the connection, in seconds; absent: not at all.
    pub session_expiry_interval: Option<u32>,
    /// How many QoS 1 and 2 PUBLISH packets the client takes unacknowledged; absent: 65,535.
    pub receive_maximum: Option<u16>,
    /// The largest packet that the client takes, in bytes; absent: no limit but the protocol's.
    pub maximum_packet_size: Option<u32>,
    /// How many topic aliases the client takes; absent: none.
    pub topic_alias_maximum: Option<u16>,
    /// Whether the server may send Response Information; absent: no.
    pub request_response_information: Option<bool>,
    /// Whether the server may send Reason Strings with any packet; absent: yes.
    pub request_problem_information: Option<bool>,
    /// User Properties.
    pub user_properties: UserProperties,
    /// The name of the method of enhanced authentication.
    pub authentication_method: Option<Text>,
    /// What that method wants to say; only beside a method.
    pub authentication_data: Option<Bytes>,
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("client_id", &self.client_id)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("will", &self.will)
            .field("user_name", &self.user_name)
            .field("password", &hidden(self.password.is_some()))
            .field("session_expiry_interval", &self.session_expiry_interval)
            .field("receive_maximum", &self.receive_maximum)
            .field("maximum_packet_size", &self.maximum_packet_size)
            .field("topic_alias_maximum", &self.topic_alias_maximum)
            .field("request_response_information", &self.request_response_information)
            .field("request_problem_information", &self.request_problem_information)
            .field("user_properties", &self.user_properties)
            .field("authentication_method", &self.authentication_method)
            .field("authentication_data", &hidden(self.authentication_data.is_some()))
            .finish()
    }
}

/// What `Debug` shows of a secret, so that credentials stay out of logs: only whether there is one.
pub(super) const fn hidden(there: bool) -> &'static str {
    if there { "(hidden)" } else { "(none)" }
}

/// The Will Message: MQTT 5.0 section 3.1.2.5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    /// Where it is published to.
    pub topic: TopicName,
    /// What is published; at most 65,535 bytes.
    pub payload: Bytes,
    /// The QoS that it is published with.
    pub qos: QoS,
    /// Whether it is published as a retained message.
    pub retain: bool,
    /// How long the server waits before it publishes, in seconds; absent: not at all.
    pub delay_interval: Option<u32>,
    /// The properties that it is published with; a Will has no Subscription Identifier.
    pub properties: PublishProperties,
}

impl Will {
    /// Returns a Will of QoS 0 that is not retained.
    pub fn new(topic: TopicName, payload: impl Into<Bytes>) -> Will {
        Will {
            topic,
            payload: payload.into(),
            qos: QoS::AtMostOnce,
            retain: false,
            delay_interval: None,
            properties: PublishProperties::default(),
        }
    }

    /// Sets the QoS.
    #[must_use]
    pub fn qos(mut self, qos: QoS) -> Will {
        self.qos = qos;
        self
    }

    /// Sets whether it is retained.
    #[must_use]
    pub fn retain(mut self, retain: bool) -> Will {
        self.retain = retain;
        self
    }

    /// Returns the message that a server publishes for it.
    pub fn into_publish(self) -> Publish {
        Publish {
            topic: self.topic,
            payload: self.payload,
            qos: self.qos,
            retain: self.retain,
            properties: self.properties,
        }
    }
}
