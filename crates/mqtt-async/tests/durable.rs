//! A durable client: what a restart at any moment loses and doubles, which is nothing, and what a store
//! that is slow, fails or holds something else does.

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use common::bench::{Bench, VERSIONS, lasting};
use common::pipe::Shape;
use common::server::{Greeting, Seen, Server};
use common::store::Scripted;
use common::streams::push;
use mqtt_async::{
    Change, CommandError, Config, Error, Event, Failure, Messages, Phase, PublishError, QoS,
    ReasonCode, Recovered, StoreError, TokenError, Version,
};

/// What is in a store for good: whose session it is.
const IDENTITY: usize = 1;

fn start(config: Config, server: &Server, store: &Scripted) -> (Bench, Vec<Recovered>) {
    Bench::durable(config, server, store.clone()).unwrap()
}

fn received(server: &Server) -> BTreeMap<String, usize> {
    let mut received = BTreeMap::new();
    for seen in server.seen() {
        if let Seen::Publish { payload, .. } = seen {
            *received.entry(String::from_utf8(payload).unwrap()).or_default() += 1;
        }
    }
    received
}

fn take_all(messages: &mut Messages, taken: &mut Vec<String>) {
    while let Some(message) = messages.try_next() {
        taken.push(String::from_utf8(message.payload().to_vec()).unwrap());
    }
}

fn published(server: &Server) -> usize {
    server.count(|seen| matches!(seen, Seen::Publish { .. }))
}

const NAMES: [&str; 6] = ["1 a", "2 a", "1 b", "2 b", "1 c", "2 c"];

fn qos(name: &str) -> QoS {
    if name.starts_with('1') { QoS::AtLeastOnce } else { QoS::ExactlyOnce }
}

/// Messages go in both directions, and the program crashes after so many turns; then another one goes on.
/// Returns how many turns the whole took.
///
/// A slow store is done with its write each third turn.
fn exchange(version: Version, crash: Option<usize>, slow: bool) -> usize {
    let (server, store) = (Server::new(), Scripted::default());
    let make = |shape| {
        let made = Bench::durable_in(lasting(version), &server, store.clone(), shape).unwrap();
        let client = made.0.client().clone();
        (made, client)
    };
    // So little at once that each packet takes several turns.
    let ((mut bench, recovered), client) = make(Shape { capacity: 1, chunk: 1 });
    assert!(recovered.is_empty());
    let mut messages = client.messages();
    let mut taken = Vec::new();
    let mut tokens = Vec::new();
    for name in NAMES {
        tokens.push((name, client.publish("up", name, qos(name)).unwrap()));
        push(&bench, "down", name, qos(name));
    }
    drop(client);
    let (mut turns, mut resting) = (0, 0);
    let mut run = |bench: &mut Bench, messages: &mut Messages, taken: &mut Vec<String>| {
        take_all(messages, taken);
        if slow {
            store.script(|script| script.held = turns % 3 != 2);
        }
        let more = bench.turn();
        turns += 1;
        // The store is slower than that something happens in each turn.
        resting = if more { 0 } else { resting + 1 };
        assert!(turns < 10_000, "it does not come to rest");
        (turns, resting > 3)
    };
    loop {
        let (turns, over) = run(&mut bench, &mut messages, &mut taken);
        if crash == Some(turns) || (over && crash.is_none()) {
            break;
        }
        assert!(!over, "it was over before the crash");
    }
    let mut accepted: Vec<&str> = Vec::new();
    for (name, mut token) in tokens {
        if let std::task::Poll::Ready(result) = bench.poll(&mut token) {
            result.unwrap();
            accepted.push(name);
        }
    }
    if crash.is_some() {
        drop(messages);
        bench.crash();
        store.script(|script| script.held = false);
        let ((mut bench, recovered), client) = make(Shape::default());
        let mut messages = client.messages();
        // Each has its outcome in one of the two runs; those that wait are told by name.
        let waiting = recovered.iter().filter_map(|it| it.message.as_ref());
        let waiting: Vec<_> = waiting.map(|it| it.payload.clone()).collect();
        assert!(waiting.iter().all(|name| NAMES.iter().any(|it| it.as_bytes() == name)));
        if !slow {
            assert_eq!(recovered.len() + accepted.len(), NAMES.len(), "{crash:?}");
        }
        accepted.extend(NAMES.iter().filter(|name| waiting.iter().any(|it| it == name)));
        while !run(&mut bench, &mut messages, &mut taken).1 {}
        for message in recovered {
            let done = bench.done(message.publishing).unwrap();
            assert_eq!(done.reason, ReasonCode::SUCCESS);
        }
        take_all(&mut messages, &mut taken);
        store.script(|script| script.held = false);
        bench.settle();
    }
    let context = format!("{version}, crash {crash:?}, slow {slow}");
    let received = received(&server);
    for name in NAMES {
        let sent = received.get(name).copied().unwrap_or(0);
        assert!(sent <= 1 || qos(name) == QoS::AtLeastOnce, "{name} came twice: {context}");
        // What was not in the store yet is as if it had never been accepted.
        assert!(sent >= 1 || (slow && !accepted.contains(&name)), "{name} is lost: {context}");
        let times = taken.iter().filter(|it| *it == name).count();
        // A message that was taken, but not in the store yet, comes back.
        let most = if qos(name) == QoS::AtLeastOnce { 9 } else { 1 + usize::from(slow) };
        assert!((1..=most).contains(&times), "{name} was taken {times} times: {context}");
    }
    assert_eq!(store.memory.records().len(), IDENTITY, "{context}");
    turns
}

// covers: v5 MQTT-4.1.0-1, v5 MQTT-4.3.2-1, v5 MQTT-4.3.3-1, v5 MQTT-4.4.0-1
// class: 17, 18, 22
#[test]
fn a_restart_at_any_moment_loses_and_doubles_nothing() {
    for version in VERSIONS {
        for slow in [false, true] {
            let turns = exchange(version, None, slow);

            assert!(turns > 100, "{turns}");
            for crash in 1..turns - 4 {
                exchange(version, Some(crash), slow);
            }
        }
    }
}

#[test]
fn nothing_leaves_before_it_is_stored() {
    for version in VERSIONS {
        let (server, store) = (Server::new(), Scripted::default());
        let (mut bench, _) = start(lasting(version), &server, &store);
        let client = bench.client().clone();
        bench.settle();
        store.script(|script| script.held = true);
        bench.done(client.publish("up", "0", QoS::AtMostOnce).unwrap()).unwrap();
        let one = client.publish("up", "1", QoS::AtLeastOnce).unwrap();
        let mut stored = client.stored().unwrap();
        bench.settle();
        assert_eq!(published(&server), 1, "QoS 0 has no record");
        assert!(bench.poll(&mut stored).is_pending());
        // What is accepted while the store is at it makes one batch.
        for number in 0..100 {
            drop(client.publish("up", number.to_string(), QoS::ExactlyOnce).unwrap());
        }
        // The connection does not mind: it is kept alive.
        (0..5).for_each(|_| bench.advance(Duration::from_secs(40)));
        assert!(client.status().connected.is_some() && client.status().connections == 1);
        assert_eq!(published(&server), 1);
        store.script(|script| script.held = false);
        bench.done(stored).unwrap();
        bench.done(one).unwrap();
        assert_eq!(published(&server), 102);
        let batches = store.script(|script| std::mem::take(&mut script.batches));
        // Whose session it is, and that there was a connection; then those.
        let sizes: Vec<_> = batches.iter().take(4).map(Vec::len).collect();
        assert_eq!(sizes, [1, 1, 1, 100]);
        assert!(batches[3].iter().all(|change| matches!(change, Change::Put { .. })));
        bench.done(client.stored().unwrap()).unwrap();
        assert_eq!(store.memory.records().len(), IDENTITY);
    }
}

#[test]
fn the_first_connection_is_stored_before_anything_leaves_on_it() {
    let (server, store) = (Server::new(), Scripted::default());
    let (mut bench, _) = start(lasting(Version::V5), &server, &store);
    let client = bench.client().clone();
    server.script(|script| script.greeting = Greeting::Nothing);
    drop(client.publish("up", "0", QoS::AtMostOnce).unwrap());
    drop(client.publish("up", "2", QoS::ExactlyOnce).unwrap());
    bench.settle();
    assert_eq!(store.memory.records().len(), IDENTITY + 1);
    server.script(|script| script.greeting = Greeting::Mqtt);
    store.script(|script| script.held = true);
    bench.advance(Duration::from_secs(60));
    assert!(client.status().connected.is_some());
    assert_eq!(published(&server), 0, "a restart now takes it that nothing was sent");
    store.script(|script| script.held = false);
    bench.settle();
    assert_eq!(published(&server), 2);
    // Once that is known, QoS 0 waits for no store.
    server.cut();
    bench.settle();
    store.script(|script| script.held = true);
    drop(client.publish("up", "0", QoS::AtMostOnce).unwrap());
    bench.advance(Duration::from_secs(60));
    assert_eq!(published(&server), 3);
}

#[test]
fn what_came_in_is_not_acknowledged_before_that_is_stored() {
    for version in VERSIONS {
        let (server, store) = (Server::new(), Scripted::default());
        let (mut bench, _) = start(lasting(version), &server, &store);
        let client = bench.client().clone();
        let mut messages = client.messages();
        push(&bench, "down", "x", QoS::ExactlyOnce);
        bench.settle();
        store.script(|script| script.held = true);
        assert_eq!(messages.try_next().unwrap().payload_bytes(), b"x");
        bench.settle();
        assert_eq!(server.count(|seen| matches!(seen, Seen::Acked(_))), 0);
        store.script(|script| script.held = false);
        bench.settle();
        assert_eq!(server.count(|seen| matches!(seen, Seen::Acked(_))), 1);
    }
}

#[test]
fn a_slow_store_fills_the_bounds_and_no_more() {
    let (server, store) = (Server::new(), Scripted::default());
    let mut config = lasting(Version::V5);
    config.session.bounds.messages = 10;
    let (mut bench, _) = start(config, &server, &store);
    let client = bench.client().clone();
    bench.settle();
    store.script(|script| script.held = true);
    for _ in 0..10 {
        drop(client.publish("up", "x", QoS::AtLeastOnce).unwrap());
        bench.settle();
    }
    let error = client.publish("up", "x", QoS::AtLeastOnce).unwrap_err();
    assert!(matches!(error, PublishError::Full(_)), "{error:?}");
    let mut ready = client.ready();
    assert!(bench.poll(&mut ready).is_pending());
    store.script(|script| script.held = false);
    bench.done(ready).unwrap();
    assert_eq!(client.stats().acked, 10);
}

/// Whoever waits learns that the store failed, and why.
#[track_caller]
fn assert_store_failed(error: &TokenError) {
    assert!(matches!(error, TokenError::Ended(Error::Store(StoreError::Failed(_)))), "{error:?}");
    let mut source: &dyn std::error::Error = error;
    while let Some(inner) = source.source() {
        source = inner;
    }
    assert_eq!(source.to_string(), "disk full");
}

#[test]
fn a_store_that_fails_ends_the_client() {
    for version in VERSIONS {
        let (server, store) = (Server::new(), Scripted::default());
        let (mut bench, _) = start(lasting(version), &server, &store);
        let client = bench.client().clone();
        let mut events = client.events();
        bench.settle();
        assert!(matches!(events.try_next(), Some(Event::Connected(_))));
        store.script(|script| script.failure = Some("disk full"));
        let token = client.publish("up", "x", QoS::AtLeastOnce).unwrap();
        let stored = client.stored().unwrap();
        let error = bench.end().unwrap_err();
        assert!(matches!(error, Error::Store(StoreError::Failed(_))) && !error.is_retryable());
        assert_store_failed(&bench.done(token).unwrap_err());
        assert_store_failed(&bench.done(stored).unwrap_err());
        let lost = events.try_next();
        let is_store = |error: &Error| matches!(error, Error::Store(_));
        assert!(
            matches!(&lost, Some(Event::Disconnected { error, retry_in: None }) if is_store(error)),
            "{lost:?}"
        );
        assert!(is_store(&client.status().last_error.unwrap()));
        assert_eq!(client.stats().losses.other, 1);
        // The server is left as by a crash, and nothing was sent.
        assert_eq!(server.count(|seen| *seen == Seen::Closed { politely: false }), 1);
        assert_eq!(published(&server), 0);
        // What may not be in the store is handed back.
        let report = bench.done(client.shutdown(Duration::ZERO));
        assert_eq!((report.unsent.len(), report.kept), (1, 0));
    }
}

#[test]
fn a_store_that_fails_ends_a_client_that_is_not_connected() {
    let (server, store) = (Server::new(), Scripted::default());
    let (mut bench, _) = start(lasting(Version::V5), &server, &store);
    let client = bench.client().clone();
    bench.settle();
    server.cut();
    bench.settle();
    assert_eq!(client.status().phase, Phase::Waiting);
    store.script(|script| script.failure = Some("disk full"));
    let token = client.publish("up", "x", QoS::ExactlyOnce).unwrap();
    bench.settle();
    assert!(matches!(bench.result, Some(Err(Error::Store(_)))), "at once: {:?}", bench.result);
    assert_store_failed(&bench.done(token).unwrap_err());
}

#[test]
fn an_end_waits_for_the_store_and_fails_with_it() {
    for fails in [false, true] {
        let (server, store) = (Server::new(), Scripted::default());
        let (mut bench, _) = start(lasting(Version::V5), &server, &store);
        let client = bench.client().clone();
        bench.settle();
        store.script(|script| script.held = true);
        let token = client.publish("up", "x", QoS::ExactlyOnce).unwrap();
        let mut closing = client.disconnect();
        bench.settle();
        // DISCONNECT is sent, and the message is still on its way into the store.
        assert_eq!(server.count(|seen| *seen == Seen::Closed { politely: true }), 1);
        assert!(bench.result.is_none() && bench.poll(&mut closing).is_pending());
        assert_eq!(client.status().phase, Phase::Closing);
        let refused = client.publish("up", "y", QoS::ExactlyOnce).unwrap_err();
        assert!(matches!(refused, PublishError::Closed(_)));
        store.script(|script| {
            script.held = false;
            script.failure = fails.then_some("disk full");
        });
        if fails {
            assert_store_failed(&bench.done(closing).unwrap_err());
            assert_store_failed(&bench.done(token).unwrap_err());
            assert!(matches!(bench.result, Some(Err(Error::Store(_)))));
        } else {
            bench.done(closing).unwrap();
            assert!(matches!(bench.done(token), Err(TokenError::Closed)));
            let (_, recovered) = start(lasting(Version::V5), &server, &store);
            assert_eq!(recovered.len(), 1);
        }
    }
}

#[test]
fn a_driver_that_gives_up_stores_what_it_has() {
    // An error of the server, while the store is slow.
    let (server, store) = (Server::new(), Scripted::default());
    let (mut bench, _) = start(lasting(Version::V5), &server, &store);
    let client = bench.client().clone();
    bench.settle();
    store.script(|script| script.held = true);
    let stored = client.publish("up", "x", QoS::AtLeastOnce).and(Ok(client.stored().unwrap()));
    server.script(|script| script.disconnect = Some(ReasonCode::NOT_AUTHORIZED));
    bench.settle();
    assert!(bench.result.is_none());
    let refused = client.publish("up", "y", QoS::ExactlyOnce).unwrap_err();
    assert!(matches!(refused, PublishError::Closed(_)));
    store.script(|script| script.held = false);
    bench.settle();
    assert!(matches!(bench.result, Some(Err(Error::Disconnected(_)))), "{:?}", bench.result);
    let report = bench.done(client.shutdown(Duration::ZERO));
    assert_eq!((report.unsent.len(), report.kept, report.unacked), (0, 1, 0));
    bench.done(stored.unwrap()).unwrap();
    assert_eq!(start(lasting(Version::V5), &server, &store).1.len(), 1);
}

#[test]
fn a_driver_that_is_dropped_leaves_what_was_stored() {
    let (server, store) = (Server::new(), Scripted::default());
    let (mut bench, _) = start(lasting(Version::V5), &server, &store);
    let client = bench.client().clone();
    bench.settle();
    let one = client.publish("up", "1", QoS::AtLeastOnce).unwrap();
    server.script(|script| script.hold_acks = true);
    bench.settle();
    store.script(|script| script.held = true);
    let two = client.publish("up", "2", QoS::AtLeastOnce).unwrap();
    let stored = client.stored().unwrap();
    bench.settle();
    bench.driver = None;
    for token in [one, two] {
        assert!(matches!(bench.done(token), Err(TokenError::DriverGone)));
    }
    assert!(matches!(bench.done(stored), Err(TokenError::DriverGone)));
    let report = bench.done(client.shutdown(Duration::ZERO));
    assert_eq!((report.unsent.len(), report.kept, report.unacked), (1, 0, 1));
    // The write was dropped with the driver: the second never came to be stored.
    store.script(|script| script.held = false);
    let (_, recovered) = start(lasting(Version::V5), &server, &store);
    let names: Vec<_> = recovered.iter().map(|it| it.message.as_ref().unwrap()).collect();
    assert_eq!(names.len(), 1);
    assert_eq!(names[0].payload, Bytes::from_static(b"1"));
}

#[test]
fn offline_messages_wait_in_the_store_for_the_next_run() {
    for version in VERSIONS {
        let (server, store) = (Server::new(), Scripted::default());
        let mut config = lasting(version);
        config.reconnect = None;
        server.script(|script| script.greeting = Greeting::Nothing);
        // Twice, because the first time there is nothing in the store to begin with.
        for run in 0..2 {
            let (mut bench, recovered) = start(config.clone(), &server, &store);
            assert_eq!(recovered.len(), 2 * run);
            let client = bench.client().clone();
            drop(client.publish("up", format!("1 {run}"), QoS::AtLeastOnce).unwrap());
            drop(client.publish("up", format!("2 {run}"), QoS::ExactlyOnce).unwrap());
            drop(client.publish("up", "0", QoS::AtMostOnce).unwrap());
            bench.end().unwrap_err();
            assert_eq!(client.status().connections, 0);
            let report = bench.done(client.shutdown(Duration::ZERO));
            let unsent: Vec<_> = report.unsent.iter().map(|publish| publish.qos).collect();
            assert_eq!((unsent, report.kept), (vec![QoS::AtMostOnce], 2 * run + 2));
        }
        server.script(|script| script.greeting = Greeting::Mqtt);
        let (mut bench, recovered) = start(config, &server, &store);
        bench.settle();
        for message in recovered {
            bench.done(message.publishing).unwrap();
        }
        let dups = server.count(|seen| matches!(seen, Seen::Publish { dup: true, .. }));
        assert_eq!((published(&server), dups), (4, 0), "{version}: they were never sent before");
        let order: Vec<_> = received(&server).into_keys().collect();
        assert_eq!(order, ["1 0", "1 1", "2 0", "2 1"]);
        assert_eq!(store.memory.records().len(), IDENTITY);
    }
}

#[test]
fn a_message_that_the_server_has_is_only_finished() {
    for version in VERSIONS {
        let (server, store) = (Server::new(), Scripted::default());
        let (mut bench, _) = start(lasting(version), &server, &store);
        bench.settle();
        let client = bench.client().clone();
        let mut token = client.publish("up", "x", QoS::ExactlyOnce).unwrap();
        // PUBREC is in the store; then the program ends before PUBREL is answered.
        while bench.poll(&mut token.received()).is_pending() {
            bench.turn();
        }
        drop((client, token));
        bench.crash();
        let (mut bench, mut recovered) = start(lasting(version), &server, &store);
        let mut message = recovered.pop().unwrap();
        assert!(recovered.is_empty() && message.message.is_none());
        assert!(bench.poll(&mut message.publishing.received()).is_ready());
        bench.done(message.publishing).unwrap();
        assert_eq!(published(&server), 1);
        assert_eq!(store.memory.records().len(), IDENTITY);
    }
}

// covers: v5 MQTT-3.2.2-5
// class: 23
#[test]
fn recovered_messages_are_told_when_the_server_has_lost_the_session() {
    let (server, store) = (Server::new(), Scripted::default());
    let (mut bench, _) = start(lasting(Version::V5), &server, &store);
    bench.settle();
    server.script(|script| script.hold_acks = true);
    drop(bench.client().publish("up", "1", QoS::AtLeastOnce).unwrap());
    drop(bench.client().publish("up", "2", QoS::ExactlyOnce).unwrap());
    bench.settle();
    bench.crash();
    server.script(|script| (script.hold_acks, script.forget) = (false, true));
    let (mut bench, mut recovered) = start(lasting(Version::V5), &server, &store);
    let (two, one) = (recovered.pop().unwrap(), recovered.pop().unwrap());
    assert_eq!(two.message.unwrap().payload, Bytes::from_static(b"2"));
    let error = bench.done(two.publishing).unwrap_err();
    assert!(matches!(error, TokenError::Failed(Failure::SessionLost)), "{error:?}");
    bench.done(one.publishing).unwrap();
    assert_eq!(received(&server), BTreeMap::from([("1".into(), 2), ("2".into(), 1)]));
    assert_eq!(store.memory.records().len(), IDENTITY);
}

#[test]
fn a_client_without_a_store_does_not_wait_for_one() {
    let mut config = lasting(Version::V5);
    config.session.journal = true;
    let mut bench = Bench::connected(config);
    let client = bench.client().clone();
    bench.done(client.publish("up", "x", QoS::ExactlyOnce).unwrap()).unwrap();
    let error = client.stored().unwrap_err();
    assert!(matches!(error, CommandError::NotSupported(_)) && error.to_string().contains("store"));
}
