//! SUBSCRIBE, SUBACK, UNSUBSCRIBE and UNSUBACK: MQTT 5.0 sections 3.8 to 3.11.

use alloc::vec::Vec;

use super::{AckProperties, UserProperties};
use crate::reason::ReasonCode;
use crate::topic::TopicFilter;
use crate::types::{PacketId, QoS};

/// The content of a SUBSCRIBE packet. The Packet Identifier is the session's business.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscribe {
    /// What to subscribe to; at least one.
    pub subscriptions: Vec<Subscription>,
    /// The number that messages of these subscriptions carry; not zero. MQTT 5.0 only.
    pub subscription_identifier: Option<u32>,
    /// User Properties. MQTT 5.0 only.
    pub user_properties: UserProperties,
}

impl Subscribe {
    /// Returns a SUBSCRIBE for one filter.
    pub fn new(filter: TopicFilter, options: impl Into<SubscriptionOptions>) -> Subscribe {
        Subscribe {
            subscriptions: alloc::vec![Subscription { filter, options: options.into() }],
            ..Subscribe::default()
        }
    }

    /// Adds another filter.
    ///
    /// ```
    /// use mqtt_proto::{QoS, Subscribe, TopicFilter};
    ///
    /// let subscribe = Subscribe::new(TopicFilter::new("plant/+/temperature")?, QoS::AtLeastOnce)
    ///     .and(TopicFilter::new("plant/+/alarm")?, QoS::ExactlyOnce);
    /// assert_eq!(subscribe.subscriptions.len(), 2);
    /// # Ok::<(), mqtt_proto::TopicError>(())
    /// ```
    #[must_use]
    pub fn and(
        mut self,
        filter: TopicFilter,
        options: impl Into<SubscriptionOptions>,
    ) -> Subscribe {
        self.subscriptions.push(Subscription { filter, options: options.into() });
        self
    }
}

/// One filter of a SUBSCRIBE, with its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The Topic Filter.
    pub filter: TopicFilter,
    /// The Subscription Options.
    pub options: SubscriptionOptions,
}

/// The Subscription Options: MQTT 5.0 section 3.8.3.1. In MQTT 3.x there is only the QoS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscriptionOptions {
    /// The highest QoS at which the server sends messages.
    pub qos: QoS,
    /// Whether the client's own messages are left out.
    pub no_local: bool,
    /// Whether messages keep the RETAIN flag that they were published with.
    pub retain_as_published: bool,
    /// Whether retained messages are sent when the subscription is made.
    pub retain_handling: RetainHandling,
}

impl From<QoS> for SubscriptionOptions {
    fn from(qos: QoS) -> SubscriptionOptions {
        SubscriptionOptions { qos, ..SubscriptionOptions::default() }
    }
}

/// Says when retained messages are sent for a subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    /// Whenever the subscription is made.
    #[default]
    Send = 0,
    /// Only if the subscription did not exist before.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

impl RetainHandling {
    pub(crate) const fn from_u8(bits: u8) -> Option<RetainHandling> {
        match bits {
            0 => Some(RetainHandling::Send),
            1 => Some(RetainHandling::SendIfNew),
            2 => Some(RetainHandling::DoNotSend),
            _ => None,
        }
    }
}

/// The content of a SUBACK packet: the server's answer to each filter of a SUBSCRIBE, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubAck {
    /// The Packet Identifier of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// The granted QoS or a failure, one for each filter.
    pub reasons: Vec<ReasonCode>,
    /// Reason String and User Properties. MQTT 5.0 only.
    pub properties: AckProperties,
}

/// The content of an UNSUBSCRIBE packet. The Packet Identifier is the session's business.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsubscribe {
    /// The filters, character for character as they were subscribed; at least one.
    pub filters: Vec<TopicFilter>,
    /// User Properties. MQTT 5.0 only.
    pub user_properties: UserProperties,
}

impl Unsubscribe {
    /// Returns an UNSUBSCRIBE for one filter.
    pub fn new(filter: TopicFilter) -> Unsubscribe {
        Unsubscribe { filters: alloc::vec![filter], ..Unsubscribe::default() }
    }

    /// Adds another filter.
    #[must_use]
    pub fn and(mut self, filter: TopicFilter) -> Unsubscribe {
        self.filters.push(filter);
        self
    }
}

/// The content of an UNSUBACK packet: the server's answer to each filter of an UNSUBSCRIBE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsubAck {
    /// The Packet Identifier of the UNSUBSCRIBE.
    pub packet_id: PacketId,
    /// One for each filter, in its order. MQTT 5.0 only: in 3.x it is empty.
    pub reasons: Vec<ReasonCode>,
    /// Reason String and User Properties. MQTT 5.0 only.
    pub properties: AckProperties,
}
