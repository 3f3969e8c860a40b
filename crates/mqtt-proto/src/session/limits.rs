//! What the peer permits on this connection.

use crate::packet::{ConnAck, Connect, Publish, Subscribe};
use crate::types::{QoS, Version};

/// What the peer permits: the limits of CONNACK (for a client) or CONNECT (for a server).
///
/// They hold for one connection. In MQTT 3.x, which has none, they are the widest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many QoS 1 and 2 messages may be in flight; this side's own limit has been applied.
    pub receive_maximum: u16,
    /// The largest packet, in bytes.
    pub maximum_packet_size: u32,
    /// How many topic aliases the peer takes.
    pub topic_alias_maximum: u16,
    /// The highest QoS that the server takes.
    pub maximum_qos: QoS,
    /// Whether the server keeps retained messages.
    pub retain_available: bool,
    /// Whether wildcard subscriptions work.
    pub wildcard_subscription_available: bool,
    /// Whether subscription identifiers work.
    pub subscription_identifier_available: bool,
    /// Whether shared subscriptions work.
    pub shared_subscription_available: bool,
}

/// A quota of 0 would hold everything back for ever (MQTT-4.9.0-1).
const fn at_least_one(max_in_flight: u16) -> u16 {
    if max_in_flight == 0 { 1 } else { max_in_flight }
}

impl Limits {
    /// Nothing is limited but by the protocol itself.
    pub(super) const fn widest(max_in_flight: u16) -> Limits {
        Limits {
            receive_maximum: at_least_one(max_in_flight),
            maximum_packet_size: u32::MAX,
            topic_alias_maximum: 0,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            wildcard_subscription_available: true,
            subscription_identifier_available: true,
            shared_subscription_available: true,
        }
    }

    /// What a server says of itself: MQTT 5.0 section 3.2.2.3.
    pub(super) fn of_server(connack: &ConnAck, max_in_flight: u16) -> Limits {
        Limits {
            receive_maximum: connack
                .receive_maximum
                .unwrap_or(u16::MAX)
                .min(at_least_one(max_in_flight)),
            maximum_packet_size: connack.maximum_packet_size.unwrap_or(u32::MAX),
            topic_alias_maximum: connack.topic_alias_maximum.unwrap_or(0),
            maximum_qos: connack.maximum_qos.unwrap_or(QoS::ExactlyOnce),
            retain_available: connack.retain_available.unwrap_or(true),
            wildcard_subscription_available: connack
                .wildcard_subscription_available
                .unwrap_or(true),
            subscription_identifier_available: connack
                .subscription_identifier_available
                .unwrap_or(true),
            shared_subscription_available: connack.shared_subscription_available.unwrap_or(true),
        }
    }

    /// What a client says of itself: MQTT 5.0 section 3.1.2.11.
    pub(super) fn of_client(connect: &Connect, max_in_flight: u16) -> Limits {
        Limits {
            receive_maximum: connect
                .receive_maximum
                .unwrap_or(u16::MAX)
                .min(at_least_one(max_in_flight)),
            maximum_packet_size: connect.maximum_packet_size.unwrap_or(u32::MAX),
            topic_alias_maximum: connect.topic_alias_maximum.unwrap_or(0),
            ..Limits::widest(max_in_flight)
        }
    }

    /// Returns what the message needs and the peer does not have.
    #[inline]
    pub(super) fn lacks_for_publish(&self, publish: &Publish) -> Option<&'static str> {
        if publish.qos > self.maximum_qos {
            Some("that QoS (Maximum QoS)")
        } else if publish.retain && !self.retain_available {
            Some("retained messages (Retain Available)")
        } else {
            None
        }
    }

    /// Returns what the subscription needs and the peer does not have.
    pub(super) fn lacks_for_subscribe(&self, subscribe: &Subscribe) -> Option<&'static str> {
        let mut filters = subscribe.subscriptions.iter().map(|subscription| &subscription.filter);
        if !self.subscription_identifier_available && subscribe.subscription_identifier.is_some() {
            Some("subscription identifiers (Subscription Identifier Available)")
        } else if !self.shared_subscription_available
            && filters.clone().any(|filter| filter.is_shared())
        {
            Some("shared subscriptions (Shared Subscription Available)")
        } else if !self.wildcard_subscription_available
            && filters.any(|filter| filter.has_wildcards())
        {
            Some("wildcard subscriptions (Wildcard Subscription Available)")
        } else {
            None
        }
    }
}

/// What a sender has to know of the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wire<'a> {
    pub(super) link: u32,
    pub(super) version: Version,
    /// Whether properties that the version does not have are left out of a message: a server passes it
    /// on without them, a client does not send it.
    pub(super) drops_properties: bool,
    pub(super) limits: &'a Limits,
}
