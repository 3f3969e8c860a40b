//! Streams, and messages for them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use mqtt_async::{
    Inbound, Listening, Overflow, Phase, Publish, QoS, Subscribe, Subscription, TopicFilter,
    TopicName,
};

use super::bench::{Bench, Flag};
use super::server::Seen;

/// The identifier of the first stream of a client.
pub const FIRST: u32 = 8192;

pub fn publish(topic: &str, payload: impl ToString, qos: QoS) -> Publish {
    Publish::new(TopicName::new(topic).unwrap(), payload.to_string()).qos(qos)
}

pub fn push(bench: &Bench, topic: &str, payload: impl ToString, qos: QoS) {
    let publish = publish(topic, payload, qos);
    bench.server.script(|script| script.push.push_back(publish));
}

pub fn push_with(bench: &Bench, topic: &str, payload: &str, identifiers: &[u32]) {
    let mut publish = publish(topic, payload, QoS::AtLeastOnce);
    publish.properties.edit().subscription_identifiers.extend(identifiers);
    bench.server.script(|script| script.push.push_back(publish));
}

pub fn acked(bench: &Bench) -> usize {
    bench.server.count(|seen| matches!(seen, Seen::Acked(_)))
}

pub fn subscribed(bench: &Bench, filter: &str) -> usize {
    let asks = |seen: &Seen| matches!(seen, Seen::Subscribe(filters) if filters.iter().any(|it| it == filter));
    bench.server.count(asks)
}

pub fn unsubscribed(bench: &Bench, filter: &str) -> usize {
    let asks = |seen: &Seen| matches!(seen, Seen::Unsubscribe(filters) if filters.iter().any(|it| it == filter));
    bench.server.count(asks)
}

pub fn filter(filter: &str) -> TopicFilter {
    TopicFilter::new(filter).unwrap()
}

pub fn bounds(messages: usize, overflow: Overflow) -> Inbound {
    let mut bounds = Inbound::default();
    bounds.messages = messages;
    bounds.overflow = overflow;
    bounds
}

pub fn listen(bench: &mut Bench, name: &str) -> Subscription {
    let stream = bench.client().listen(name, QoS::ExactlyOnce).unwrap();
    bench.done(stream.subscribed()).unwrap();
    stream
}

pub fn listen_with(bench: &mut Bench, name: &str, bounds: Inbound) -> Subscription {
    let subscribe = Subscribe::new(filter(name), QoS::ExactlyOnce);
    let stream = bench.client().listen_with(subscribe, bounds).unwrap();
    bench.done(stream.subscribed()).unwrap();
    stream
}

pub fn all(bench: &mut Bench, stream: &mut Subscription) -> Vec<String> {
    let mut all = Vec::new();
    bench.settle();
    while let Some(message) = stream.try_next() {
        all.push(String::from_utf8(message.payload().to_vec()).unwrap());
        bench.settle();
    }
    all
}

/// Cuts the connection, and lets the client connect again.
pub fn reconnect(bench: &mut Bench) {
    bench.server.cut();
    bench.settle();
    bench.advance(Duration::from_secs(60));
    assert_eq!(bench.client().status().phase, Phase::Connected);
}

/// Tells whether who waits was woken.
pub struct Watched(Arc<Flag>);

impl Watched {
    pub fn new(stream: &mut Subscription) -> Watched {
        Watched::poll(&mut stream.next())
    }

    pub fn token(token: &mut Listening) -> Watched {
        Watched::poll(token)
    }

    /// Polls it; the driver has a waker of its own.
    pub fn future<F: Future + Unpin>(future: &mut F) -> Watched {
        Watched::poll(future)
    }

    fn poll<F: Future + Unpin>(future: &mut F) -> Watched {
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&flag));
        assert!(Pin::new(future).poll(&mut Context::from_waker(&waker)).is_pending());
        Watched(flag)
    }

    pub fn take(&self) -> bool {
        self.0.take()
    }
}
