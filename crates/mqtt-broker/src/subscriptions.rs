//! Who has subscribed to what, and who therefore gets a message.

use std::cell::Cell;

use mqtt_proto::{FilterTree, QoS, SubscriptionOptions, TopicFilter};

/// Names a session of the broker; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClientKey(pub(crate) u64);

/// What a client asked for with one filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) options: SubscriptionOptions,
    pub(crate) identifier: Option<u32>,
}

/// How ready a member of a group is for one more message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    Ready,
    /// It is connected, and has more than half of its queue still to take or to acknowledge.
    Busy,
    Away,
}

/// One copy of a message for one client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) client: ClientKey,
    /// The highest QoS that was granted.
    pub(crate) qos: QoS,
    /// Whether the copy keeps the RETAIN flag.
    pub(crate) retain_as_published: bool,
    /// The Subscription Identifiers of all matching subscriptions that have one.
    pub(crate) identifiers: Vec<u32>,
}

impl Delivery {
    fn new(client: ClientKey, wish: &Wish) -> Delivery {
        Delivery {
            client,
            qos: wish.options.qos,
            retain_as_published: wish.options.retain_as_published,
            identifiers: wish.identifier.into_iter().collect(),
        }
    }
}

/// The subscriptions of all sessions.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    tree: FilterTree<Subscribers>,
    len: usize,
}

/// Who has subscribed to one filter. With `$share` they are the members of one group.
#[derive(Debug, Default)]
struct Subscribers {
    shared: bool,
    /// Sorted by client.
    members: Vec<(ClientKey, Wish)>,
    /// Whose turn it is, in a group.
    next: Cell<usize>,
}

impl Subscriptions {
    pub(crate) const fn new() -> Subscriptions {
        Subscriptions { tree: FilterTree::new(), len: 0 }
    }

    /// Returns how many there are.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Makes a subscription, or replaces the client's one to the same filter; tells whether it is new.
    pub(crate) fn insert(&mut self, filter: &TopicFilter, client: ClientKey, wish: Wish) -> bool {
        let subscribers = match self.tree.get_mut(filter) {
            Some(subscribers) => subscribers,
            None => {
                let shared = filter.is_shared();
                self.tree.insert(filter, Subscribers { shared, ..Subscribers::default() });
                match self.tree.get_mut(filter) {
                    Some(subscribers) => subscribers,
                    None => return false,
                }
            }
        };
        match subscribers.members.binary_search_by_key(&client, |(client, _)| *client) {
            Ok(at) => {
                if let Some((_, old)) = subscribers.members.get_mut(at) {
                    *old = wish;
                }
                false
            }
            Err(at) => {
                subscribers.members.insert(at, (client, wish));
                self.len += 1;
                true
            }
        }
    }

    /// Ends a subscription; tells whether there was one.
    pub(crate) fn remove(&mut self, filter: &TopicFilter, client: ClientKey) -> bool {
        let Some(subscribers) = self.tree.get_mut(filter) else {
            return false;
        };
        let found = subscribers.members.binary_search_by_key(&client, |(client, _)| *client);
        let Ok(at) = found else {
            return false;
        };
        subscribers.members.remove(at);
        if subscribers.members.is_empty() {
            self.tree.remove(filter);
        }
        self.len -= 1;
        true
    }

    /// Returns the copies to make of a message: one for each client with matching subscriptions, and
    /// one more for each matching Shared Subscription.
    ///
    /// In a group, those members take turns that are the readiest.
    pub(crate) fn deliveries(
        &self,
        topic: &[u8],
        publisher: Option<ClientKey>,
        readiness: impl Fn(ClientKey) -> Readiness,
    ) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        let mut shared = Vec::new();
        self.tree.for_each_match_bytes(topic, |subscribers| {
            if subscribers.shared {
                shared.extend(subscribers.next(&readiness));
                return;
            }
            for (client, wish) in &subscribers.members {
                if !(wish.options.no_local && publisher == Some(*client)) {
                    deliveries.push(Delivery::new(*client, wish));
                }
            }
        });
        merge(&mut deliveries);
        deliveries.append(&mut shared);
        deliveries
    }
}

impl Subscribers {
    fn next(&self, readiness: impl Fn(ClientKey) -> Readiness) -> Option<Delivery> {
        let count = self.members.len();
        let turn = |step: usize| self.members.get((self.next.get() + step) % count.max(1));
        let first = |wanted| {
            let is = |step: &usize| turn(*step).is_some_and(|(key, _)| readiness(*key) == wanted);
            (0..count).find(is)
        };
        let step = first(Readiness::Ready).or_else(|| first(Readiness::Busy)).unwrap_or(0);
        let (client, wish) = turn(step)?;
        self.next.set((self.next.get() + step + 1) % count);
        Some(Delivery::new(*client, wish))
    }
}

/// Makes one copy of the copies for the same client: with the highest QoS, the RETAIN flag if one
/// subscription wants it, and all identifiers.
fn merge(deliveries: &mut Vec<Delivery>) {
    if deliveries.len() > 1 {
        deliveries.sort_by_key(|delivery| delivery.client);
        deliveries.dedup_by(|later, first| {
            let same = later.client == first.client;
            if same {
                first.qos = first.qos.max(later.qos);
                first.retain_as_published |= later.retain_as_published;
                first.identifiers.append(&mut later.identifiers);
            }
            same
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ClientKey = ClientKey(1);
    const B: ClientKey = ClientKey(2);
    const C: ClientKey = ClientKey(3);

    fn filter(filter: &str) -> TopicFilter {
        TopicFilter::new(filter).unwrap()
    }

    fn wish(qos: QoS, identifier: u32) -> Wish {
        Wish { options: qos.into(), identifier: Some(identifier) }
    }

    // covers: v5 MQTT-3.3.4-2, v5 MQTT-3.3.4-4, v3 MQTT-3.3.5-1
    #[test]
    fn overlapping_subscriptions_make_one_copy() {
        let mut subscriptions = Subscriptions::new();
        subscriptions.insert(&filter("a/#"), A, wish(QoS::AtMostOnce, 1));
        subscriptions.insert(&filter("a/+"), A, wish(QoS::ExactlyOnce, 2));
        subscriptions.insert(&filter("a/b"), B, wish(QoS::AtLeastOnce, 3));
        subscriptions.insert(&filter("a/b"), A, wish(QoS::AtLeastOnce, 4));
        let mut found = subscriptions.deliveries(b"a/b", None, |_| Readiness::Ready);
        found.iter_mut().for_each(|delivery| delivery.identifiers.sort());
        let delivery = |client, qos, identifiers: &[u32]| Delivery {
            client,
            qos,
            retain_as_published: false,
            identifiers: identifiers.to_vec(),
        };
        assert_eq!(
            found,
            [delivery(A, QoS::ExactlyOnce, &[1, 2, 4]), delivery(B, QoS::AtLeastOnce, &[3])]
        );
    }

    #[test]
    fn counts_and_forgets() {
        let mut subscriptions = Subscriptions::new();
        assert!(subscriptions.insert(&filter("a"), A, wish(QoS::AtMostOnce, 1)));
        assert!(!subscriptions.insert(&filter("a"), A, wish(QoS::AtMostOnce, 2)));
        assert!(subscriptions.insert(&filter("a"), B, wish(QoS::AtMostOnce, 1)));
        assert_eq!(subscriptions.len(), 2);
        assert!(subscriptions.remove(&filter("a"), A));
        assert!(!subscriptions.remove(&filter("a"), A));
        assert!(subscriptions.remove(&filter("a"), B));
        assert!(subscriptions.tree.is_empty());
        assert_eq!(subscriptions.len(), 0);
    }

    // covers: v5 MQTT-3.8.3-3
    #[test]
    fn no_local_leaves_the_publisher_out() {
        let mut subscriptions = Subscriptions::new();
        let mut no_local = wish(QoS::AtMostOnce, 1);
        no_local.options.no_local = true;
        subscriptions.insert(&filter("a"), A, no_local);
        assert!(subscriptions.deliveries(b"a", Some(A), |_| Readiness::Ready).is_empty());
        assert_eq!(subscriptions.deliveries(b"a", Some(B), |_| Readiness::Ready).len(), 1);
        assert_eq!(subscriptions.deliveries(b"a", None, |_| Readiness::Ready).len(), 1);
    }

    // covers: v5 X5-4.8.2-a
    #[test]
    fn a_group_takes_turns() {
        let mut subscriptions = Subscriptions::new();
        for client in [A, B, C] {
            subscriptions.insert(&filter("$share/g/a"), client, wish(QoS::AtMostOnce, 1));
        }
        subscriptions.insert(&filter("$share/h/+"), A, wish(QoS::AtMostOnce, 2));
        subscriptions.insert(&filter("a"), A, wish(QoS::AtMostOnce, 3));
        let turn = |ready: &[ClientKey], busy: &[ClientKey]| {
            let found = subscriptions.deliveries(b"a", None, |client| {
                match (ready.contains(&client), busy.contains(&client)) {
                    (true, _) => Readiness::Ready,
                    (_, true) => Readiness::Busy,
                    _ => Readiness::Away,
                }
            });
            assert_eq!(found.len(), 3, "one of each group, and the subscription of its own");
            found.iter().find(|found| found.identifiers == [1]).unwrap().client
        };
        assert_eq!([0; 4].map(|_| turn(&[A, B, C], &[])), [A, B, C, A]);
        assert_eq!([0; 3].map(|_| turn(&[A, C], &[])), [C, A, C], "who is away is left out");
        assert_eq!([0; 2].map(|_| turn(&[C], &[A])), [C, C], "and who does not keep up");
        assert_eq!([0; 3].map(|_| turn(&[], &[A, B])), [A, B, A], "unless nobody does");
        assert_eq!([0; 3].map(|_| turn(&[], &[])), [B, C, A], "or all are away");
    }
}
