//! Messages and subscriptions: from one session to the others.

use mqtt_proto::{
    Bounds, Failure, Instant, Message, Publish, PublishError, PublishFields, PublishProperties,
    QoS, ReasonCode, RequestId, RetainHandling, Server, Session, Subscribe, Subscription,
    TopicName, Unsubscribe, Version,
};

use super::Hub;
use super::client::{Client, Place, Wanted};
use super::deadlines::ConnectionKey;
use crate::config::QueueOverflow;
use crate::subscriptions::{ClientKey, Delivery, Readiness, Wish};

/// Messages below this size are copied out of the block that they were read with, so that one that
/// waits in a queue or is retained does not keep the whole block: at most four times its own size.
const COPY_BELOW: usize = 16 * 1024;

impl Hub {
    /// Passes a client's message on and acknowledges it: from here on it is the broker's. Returns to how
    /// many sessions it went.
    pub(super) fn message(&mut self, key: ConnectionKey, message: &Message, now: Instant) -> usize {
        let publisher = self.connections.get(&key).and_then(|connection| connection.client);
        let packet = &message.publish;
        if self.is_own_topic(packet.topic_bytes()) {
            return self.refuse_message(key, message, ReasonCode::NOT_AUTHORIZED);
        }
        let deliveries = self.deliveries(packet.topic_bytes(), publisher);
        let receivers = deliveries.len();
        let matched = receivers > 0;
        self.stats.messages_in += 1;
        // Most of what nobody wants costs no copy.
        if matched || packet.retain() {
            let publish = if packet.wire_len() < COPY_BELOW {
                packet.clone().into_owned().to_publish()
            } else {
                packet.to_publish()
            };
            if let Some(publish) = publish {
                self.distribute(&publish, deliveries, now);
            }
        }
        if let (Some(ack), Some(session)) = (message.ack, self.session(key)) {
            let reason =
                if matched { ReasonCode::SUCCESS } else { ReasonCode::NO_MATCHING_SUBSCRIBERS };
            session.ack(ack, reason);
        }
        receivers
    }

    /// Passes a message on to nobody, and says so as far as the version can.
    pub(super) fn refuse_message(
        &mut self,
        key: ConnectionKey,
        message: &Message,
        reason: ReasonCode,
    ) -> usize {
        self.stats.not_authorized += 1;
        if let (Some(ack), Some(session)) = (message.ack, self.session(key)) {
            session.ack(ack, reason);
        }
        0
    }

    /// Publishes a message, and returns to how many sessions it went.
    pub(crate) fn publish(
        &mut self,
        publisher: Option<ClientKey>,
        publish: &Publish,
        now: Instant,
    ) -> usize {
        self.stats.messages_in += 1;
        let deliveries = self.deliveries(publish.topic.as_bytes(), publisher);
        let matched = deliveries.len();
        self.distribute(publish, deliveries, now);
        matched
    }

    pub(super) fn deliveries(&self, topic: &[u8], publisher: Option<ClientKey>) -> Vec<Delivery> {
        self.subscriptions.deliveries(topic, publisher, |key| self.readiness(key))
    }

    fn readiness(&self, key: ClientKey) -> Readiness {
        let Some(Client { place: Place::Connected(connection), .. }) = self.clients.get(&key)
        else {
            return Readiness::Away;
        };
        let session = self.connections.get(connection).and_then(|it| it.session.as_ref());
        match session {
            Some(session) if lags(session, &self.config.session.bounds) => Readiness::Busy,
            Some(_) => Readiness::Ready,
            None => Readiness::Away,
        }
    }

    /// Retains a message if it wants to be, and hands out the copies.
    pub(super) fn distribute(
        &mut self,
        publish: &Publish,
        deliveries: Vec<Delivery>,
        now: Instant,
    ) {
        if publish.retain
            && self.config.session.retain_available
            && !self.retained.set(publish, now)
        {
            self.stats.retained_refused += 1;
        }
        for delivery in deliveries {
            let retain = publish.retain && delivery.retain_as_published;
            self.deliver(publish, delivery, retain, now);
        }
    }

    /// Hands one copy to a session; what the policy drops because its queue is full is counted.
    fn deliver(&mut self, publish: &Publish, delivery: Delivery, retain: bool, now: Instant) {
        let key = delivery.client;
        let acknowledged = publish.qos.min(delivery.qos) > QoS::AtMostOnce;
        if self.is_crowded_out(key, acknowledged, publish.size(), now) {
            return self.count_dropped(key, 1);
        }
        let policy = self.config.queue_overflow;
        let dropped = self.offer(publish, delivery, retain, Some(policy), now);
        if dropped == 0 {
            return;
        }
        self.count_dropped(key, dropped);
        let Some(client) = self.clients.get(&key) else { return };
        if let (QueueOverflow::Disconnect, true, Place::Connected(connection)) =
            (policy, acknowledged, &client.place)
            && let Some(connection) = self.connections.get_mut(connection)
            && !connection.overflowed
        {
            // Not here and now: its Will would be published in the middle of this message, and may make the
            // next client overflow.
            connection.overflowed = true;
            self.stats.disconnected_full += 1;
            self.wakers.extend(connection.waker.take());
        }
    }

    /// Tells whether all queues together have no room for so many bytes more in that of a client.
    fn is_crowded_out(
        &self,
        key: ClientKey,
        acknowledged: bool,
        size: usize,
        now: Instant,
    ) -> bool {
        let most = self.config.max_queued_total;
        let total = self.queued_bytes.saturating_add(size);
        if total <= most / 2 {
            return false;
        }
        let Some(client) = self.clients.get(&key) else { return false };
        let (held, share) = (client.queued_bytes, most / 2 / self.clients.len().max(1));
        match client.place {
            // One message, and the next one when it has acknowledged that.
            Place::Connected(_) => held > share || (total > most && held > 0),
            // Some of it may have to go first.
            Place::Away(_) if client.expiring.is_due(now) => false,
            Place::Away(_) => acknowledged && (held > share || total > most),
        }
    }

    fn count_dropped(&mut self, key: ClientKey, copies: u64) {
        self.stats.dropped_full += copies;
        if let Some(client) = self.clients.get_mut(&key) {
            client.dropped += copies;
        }
    }

    /// Hands one copy to a session, and returns how many copies were dropped because its queue was full: this one,
    /// or those that the policy makes give way to it.
    ///
    /// Without a policy it can wait: it pushes nothing out, has all of the queue, and `Writable` follows where it had
    /// no room.
    fn offer(
        &mut self,
        publish: &Publish,
        delivery: Delivery,
        retain: bool,
        policy: Option<QueueOverflow>,
        now: Instant,
    ) -> u64 {
        let Some(client) = self.clients.get_mut(&delivery.client) else {
            return 0;
        };
        let qos = publish.qos.min(delivery.qos);
        let (session, waker) = match &mut client.place {
            Place::Connected(key) => match self.connections.get_mut(key) {
                Some(connection) => match &mut connection.session {
                    Some(session) => (session, Some(&mut connection.waker)),
                    None => return 0,
                },
                None => return 0,
            },
            // QoS 0 does not wait for a client to come back.
            Place::Away(_) if qos == QoS::AtMostOnce => return 0,
            Place::Away(session) => {
                self.stats.dropped_expired += client.expiring.forget(session, now);
                (&mut **session, None)
            }
        };
        let may_be_lost = qos == QoS::AtMostOnce && policy.is_some();
        if may_be_lost && is_half_full(session, &self.config.session.bounds) {
            return 1;
        }
        let copy = Publish {
            topic: publish.topic.clone(),
            payload: publish.payload.clone(),
            qos,
            retain,
            properties: properties(&publish.properties, delivery.identifiers, client.version),
        };
        let mut gave_way = Vec::new();
        let taken = match policy {
            Some(QueueOverflow::DropOldest) if qos != QoS::AtMostOnce => {
                session.publish_over(copy, None, now, &mut gave_way).map(|(token, _)| token)
            }
            _ => session.publish(copy, now),
        };
        let held = session.stats().held_bytes;
        match taken {
            Ok(token) => {
                self.stats.messages_out += 1;
                match waker {
                    Some(waker) => self.wakers.extend(waker.take()),
                    None => client.expiring.push(token, &publish.properties, session, now),
                }
                client.recount(&mut self.queued_bytes, held);
            }
            Err(PublishError::Full(_)) => return 1,
            Err(PublishError::TooLarge { .. }) => self.stats.dropped_too_large += 1,
            Err(_) => self.stats.dropped_other += 1,
        }
        gave_way.len() as u64
    }

    /// Counts a copy that a session took and could not send.
    pub(super) fn failed(&mut self, error: &Failure) {
        match error {
            Failure::Expired => self.stats.dropped_expired += 1,
            Failure::TooLarge { .. } => self.stats.dropped_too_large += 1,
            _ => self.stats.dropped_other += 1,
        }
    }

    /// Subscribes to the filters of a request but those that are refused, by their place.
    pub(super) fn subscribe(
        &mut self,
        key: ConnectionKey,
        request: RequestId,
        subscribe: Subscribe,
        refused: Vec<Option<ReasonCode>>,
        now: Instant,
    ) {
        let Some(connection) = self.connections.get(&key) else { return };
        let (Some(client), version) = (connection.client, connection.version) else { return };
        let identifier = subscribe.subscription_identifier;
        let mut reasons = Vec::with_capacity(subscribe.subscriptions.len());
        let mut retained = Vec::new();
        let mut refused = refused.into_iter();
        for subscription in subscribe.subscriptions {
            let asked = subscription.options.qos;
            let reason = match refused.next().flatten() {
                Some(reason) => reason,
                None => self.subscribe_one(client, subscription, identifier, &mut retained),
            };
            // MQTT 3.1 has no way to refuse, and wants a positive answer all the same: its section 3.8.
            let unheard = reason.is_error() && version == Version::V31;
            reasons.push(if unheard { granted(asked) } else { reason });
        }
        if let Some(session) = self.session(key) {
            // It can only fail if the connection is gone, and with it the request.
            let _ = session.grant(request, reasons);
        }
        let wanted = retained.into_iter().map(|(topic, qos)| Wanted { topic, qos, identifier });
        if let Some(this) = self.clients.get_mut(&client) {
            // Whoever subscribes again and again and never reads gets no more than one of each.
            let room = self.config.max_retained_messages.saturating_sub(this.backlog.len());
            let count = wanted.len();
            this.backlog.extend(wanted.take(room));
            self.count_dropped(client, count.saturating_sub(room) as u64);
        }
        self.resume_backlog(key, now);
    }

    /// Sends retained messages that were asked for, as far as there is room for them.
    pub(super) fn resume_backlog(&mut self, key: ConnectionKey, now: Instant) {
        let Some(key) = self.connections.get(&key).and_then(|connection| connection.client) else {
            return;
        };
        while let Some(client) = self.clients.get_mut(&key)
            && let Some(wanted) = client.backlog.pop_front()
        {
            let Some(publish) = self.retained.get(&wanted.topic, now) else {
                continue;
            };
            let identifiers = wanted.identifier.into_iter().collect();
            let (client, qos) = (key, wanted.qos);
            let delivery = Delivery { client, qos, retain_as_published: true, identifiers };
            if self.offer(&publish, delivery, true, None, now) > 0 {
                if let Some(client) = self.clients.get_mut(&key) {
                    client.backlog.push_front(wanted);
                }
                return;
            }
        }
    }

    fn subscribe_one(
        &mut self,
        key: ClientKey,
        Subscription { filter, mut options }: Subscription,
        identifier: Option<u32>,
        retained: &mut Vec<(TopicName, QoS)>,
    ) -> ReasonCode {
        let Some(client) = self.clients.get_mut(&key) else {
            return ReasonCode::UNSPECIFIED_ERROR;
        };
        let offer = &self.config.session;
        if filter.is_shared() && !offer.shared_subscription_available {
            return ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED;
        }
        if filter.has_wildcards() && !offer.wildcard_subscription_available {
            return ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED;
        }
        let levels = filter.filter().split('/').count();
        let known = client.filters.contains(&filter);
        if levels > self.config.max_filter_levels
            || (!known && client.filters.len() >= self.config.max_subscriptions)
        {
            return ReasonCode::QUOTA_EXCEEDED;
        }
        options.qos = options.qos.min(offer.maximum_qos);
        self.subscriptions.insert(&filter, key, Wish { options, identifier });
        let wanted = match options.retain_handling {
            RetainHandling::Send => !filter.is_shared(),
            RetainHandling::SendIfNew => !filter.is_shared() && !known,
            RetainHandling::DoNotSend => false,
        };
        if wanted {
            let found = self.retained.matching(&filter);
            retained.extend(found.map(|topic| (topic, options.qos)));
        }
        if !known {
            client.filters.insert(filter.into_owned());
        }
        granted(options.qos)
    }

    pub(super) fn unsubscribe(
        &mut self,
        key: ConnectionKey,
        request: RequestId,
        unsubscribe: &Unsubscribe,
    ) {
        let Some(key_of_client) = self.connections.get(&key).and_then(|it| it.client) else {
            return;
        };
        let mut reasons = Vec::with_capacity(unsubscribe.filters.len());
        for filter in &unsubscribe.filters {
            if let Some(client) = self.clients.get_mut(&key_of_client) {
                client.filters.remove(filter);
            }
            let found = self.subscriptions.remove(filter, key_of_client);
            let none = ReasonCode::NO_SUBSCRIPTION_EXISTED;
            reasons.push(if found { ReasonCode::SUCCESS } else { none });
        }
        if let Some(session) = self.session(key) {
            let _ = session.grant(request, reasons);
        }
    }
}

const fn granted(qos: QoS) -> ReasonCode {
    match qos {
        QoS::AtMostOnce => ReasonCode::SUCCESS,
        QoS::AtLeastOnce => ReasonCode::GRANTED_QOS_1,
        QoS::ExactlyOnce => ReasonCode::GRANTED_QOS_2,
    }
}

/// Tells whether QoS 0 has had its share of a queue: a flood of it leaves half to what must not be lost.
fn is_half_full(session: &Session<Server>, bounds: &Bounds) -> bool {
    let held = session.stats();
    held.queued > bounds.messages / 2 || held.held_bytes > bounds.bytes / 2
}

/// Tells whether a client has more than half of what it may have still to take or to acknowledge.
fn lags(session: &Session<Server>, bounds: &Bounds) -> bool {
    let held = session.stats();
    held.queued + held.in_flight > bounds.messages / 2 || held.held_bytes > bounds.bytes / 2
}

/// Returns the properties that a copy has: clients of MQTT 3.x only see that it expires.
fn properties(
    properties: &PublishProperties,
    identifiers: Vec<u32>,
    version: Version,
) -> PublishProperties {
    if version.is_v5() {
        let mut copy = properties.clone();
        // Identifiers and an alias belong to one subscriber and one connection; only a message of the
        // application can come with any.
        let own = |fields: &PublishFields| {
            fields.topic_alias.is_some() || !fields.subscription_identifiers.is_empty()
        };
        if !identifiers.is_empty() || copy.get().is_some_and(own) {
            let fields = copy.edit();
            fields.topic_alias = None;
            fields.subscription_identifiers = identifiers;
        }
        return copy;
    }
    let expiry = properties.get().and_then(|fields| fields.message_expiry_interval);
    PublishProperties::from(PublishFields {
        message_expiry_interval: expiry,
        ..PublishFields::default()
    })
}
