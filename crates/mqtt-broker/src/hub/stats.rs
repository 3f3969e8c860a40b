//! What a broker counts.

/// What the broker holds now, and what it has counted since it was made.
///
/// ```
/// let (broker, _driver) = mqtt_broker::Broker::new(mqtt_broker::BrokerConfig::default());
/// assert_eq!(broker.stats().connections, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerStats {
    /// Connections that are open now, from the first byte to the last.
    pub connections: usize,
    /// Sessions, connected or not.
    pub sessions: usize,
    /// Subscriptions of all sessions.
    pub subscriptions: usize,
    /// Retained messages.
    pub retained_messages: usize,
    /// Bytes of topics, payloads and properties of retained messages.
    pub retained_bytes: usize,
    /// Bytes of messages that wait for clients or for their acknowledgements; see
    /// [`BrokerConfig::max_queued_total`](crate::BrokerConfig::max_queued_total).
    pub queued_bytes: usize,
    /// Connections that were closed unheard because there were too many, or refused because they came too
    /// fast.
    pub connections_refused: u64,
    /// Messages that came in: from clients, as wills, and from [`publish`](crate::Broker::publish).
    pub messages_in: u64,
    /// Copies of messages that sessions took for their clients.
    pub messages_out: u64,
    /// Copies that were dropped because a queue was full, or half full at QoS 0, or all of them together; see
    /// [`QueueOverflow`](crate::QueueOverflow) and
    /// [`BrokerConfig::max_queued_total`](crate::BrokerConfig::max_queued_total).
    pub dropped_full: u64,
    /// Clients that were cut off because their queue was full.
    pub disconnected_full: u64,
    /// Copies that were larger than the client's Maximum Packet Size.
    pub dropped_too_large: u64,
    /// Copies that expired in a queue.
    pub dropped_expired: u64,
    /// Copies that could not be sent for another reason: such as those of a message of the application that breaks a
    /// rule of the standard.
    pub dropped_other: u64,
    /// Messages that the hooks did not permit, and those of clients below `$SYS/` where that is the broker's.
    pub not_authorized: u64,
    /// Messages that should have been retained, but there were too many.
    pub retained_refused: u64,
}
