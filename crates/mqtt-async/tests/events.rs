//! What a client tells about itself: its status, what happens, what it counts.

mod common;

use std::task::Poll;
use std::time::Duration;

use common::bench::{Bench, VERSIONS, config};
use common::pipe::Shape;
use common::server::Greeting;
use mqtt_async::{Client, Error, Event, Phase, QoS, ReasonCode, Version};

#[test]
fn status_changes_end_with_the_latest() {
    let mut bench = Bench::new(config(Version::V5), Shape::default());
    let mut changes = bench.client().status_changes();
    let mut phase = |bench: &Bench| match bench.poll(&mut changes.next()) {
        Poll::Ready(status) => Poll::Ready(status.map(|status| status.phase)),
        Poll::Pending => Poll::Pending,
    };
    // The present one comes at once, and no other before there is one.
    assert_eq!(phase(&bench), Poll::Ready(Some(Phase::Connecting)));
    assert_eq!(phase(&bench), Poll::Pending);
    bench.settle();
    assert_eq!(phase(&bench), Poll::Ready(Some(Phase::Connected)));
    assert_eq!(phase(&bench), Poll::Pending);
    // Messages are no change.
    bench.done(bench.client().publish("t", "", QoS::AtLeastOnce).unwrap()).unwrap();
    assert_eq!(phase(&bench), Poll::Pending);
    // Of several changes the last one counts.
    bench.server.cut();
    bench.settle();
    bench.advance(Duration::from_secs(1));
    assert_eq!(phase(&bench), Poll::Ready(Some(Phase::Connected)));
    assert_eq!(phase(&bench), Poll::Pending);
    drop(bench.client().disconnect());
    bench.end().unwrap();
    assert_eq!(phase(&bench), Poll::Ready(Some(Phase::Ended)));
    assert_eq!(phase(&bench), Poll::Ready(None));
}

#[test]
fn each_change_wakes_who_watches() {
    let bench = Bench::new(config(Version::V5), Shape::default());
    let client = bench.client().clone();
    let (mut changes, mut events) = (client.status_changes(), client.events());
    let flag = std::sync::Arc::new(common::bench::Flag::default());
    let waker = std::task::Waker::from(std::sync::Arc::clone(&flag));
    let mut cx = std::task::Context::from_waker(&waker);
    let mut poll = |flag: &common::bench::Flag| {
        use std::future::Future;
        use std::pin::Pin;
        flag.take();
        let mut phases = Vec::new();
        while let Poll::Ready(Some(status)) = Pin::new(&mut changes.next()).poll(&mut cx) {
            phases.push(status.phase);
        }
        let mut happened = 0;
        while let Poll::Ready(Some(_)) = Pin::new(&mut events.next()).poll(&mut cx) {
            happened += 1;
        }
        (phases, happened)
    };
    let mut bench = bench;
    assert_eq!(poll(&flag), (vec![Phase::Connecting], 0));
    bench.settle();
    assert!(flag.take(), "connected");
    assert_eq!(poll(&flag), (vec![Phase::Connected], 1));
    bench.server.script(|script| script.greeting = Greeting::Nothing);
    bench.server.cut();
    bench.settle();
    assert!(flag.take(), "lost");
    assert_eq!(poll(&flag), (vec![Phase::Waiting], 1));
    bench.advance(Duration::from_secs(1));
    assert!(flag.take(), "failed");
    assert_eq!(poll(&flag), (vec![Phase::Waiting], 1));
    bench.driver = None;
    assert!(flag.take(), "ended");
    assert_eq!(poll(&flag), (vec![Phase::Ended], 0));
}

#[test]
fn events_tell_what_happened_in_order() {
    for version in VERSIONS {
        let mut bench = Bench::new(config(version), Shape::default());
        let client = bench.client().clone();
        let mut events = client.events();
        bench.settle();
        assert!(matches!(events.try_next(), Some(Event::Connected(it)) if !it.resumed));
        let busy = Greeting::Refuse(ReasonCode::SERVER_UNAVAILABLE);
        bench.server.script(|script| script.greeting = busy);
        bench.server.cut();
        bench.settle();
        let Some(Event::Disconnected { error: Error::Eof { .. }, retry_in: Some(delay) }) =
            events.try_next()
        else {
            panic!("{version}");
        };
        assert!(delay <= Duration::from_secs(1));
        // Not before the delay that was told.
        bench.advance(delay - Duration::from_nanos(1));
        assert!(events.try_next().is_none());
        bench.advance(Duration::from_nanos(1));
        let event = events.try_next();
        let Some(Event::AttemptFailed { error, failed: 1, retry_in: Some(delay) }) = event else {
            panic!("{event:?}");
        };
        assert_eq!(error.reason(), Some(ReasonCode::SERVER_UNAVAILABLE));
        let banned = Greeting::Refuse(ReasonCode::NOT_AUTHORIZED);
        bench.server.script(|script| script.greeting = banned);
        bench.advance(delay);
        let event = events.try_next();
        assert!(matches!(event, Some(Event::AttemptFailed { failed: 2, retry_in: None, .. })));
        assert!(matches!(bench.poll(&mut events.next()), Poll::Ready(None)));
        assert_eq!(events.lagged(), 0);
        // A stream that begins late has missed it.
        assert!(client.events().try_next().is_none());
        let losses = client.stats().losses;
        assert_eq!((losses.transport, losses.refused, losses.total()), (1, 2, 3));
    }
}

#[test]
fn events_that_nobody_takes_are_dropped_and_counted() {
    let mut config = config(Version::V5);
    config.reconnect.as_mut().unwrap().max = Duration::from_millis(1);
    let mut bench = Bench::new(config, Shape::default());
    let client = bench.client().clone();
    let mut events = client.events();
    bench.settle();
    for _ in 0..50 {
        bench.server.cut();
        bench.settle();
        bench.advance(Duration::from_millis(1));
    }
    let mut taken = 0;
    while events.try_next().is_some() {
        taken += 1;
    }
    assert_eq!((taken, events.lagged()), (64, 101 - 64));
    // Another one begins with what comes now.
    assert!(client.events().try_next().is_none());
    drop(events);
    let mut late = client.events();
    bench.server.cut();
    bench.settle();
    assert!(matches!(late.try_next(), Some(Event::Disconnected { .. })));
    assert_eq!(late.lagged(), 0);
}

#[test]
fn streams_of_events_do_not_keep_the_client() {
    let mut bench = Bench::connected(config(Version::V5));
    let client = bench.client.take().unwrap();
    let (events, changes) = (client.events(), client.status_changes());
    drop(client);
    assert!(bench.end().is_ok());
    drop((events, changes));
}

#[test]
fn stats_count() {
    let mut bench = Bench::connected(config(Version::V5));
    let client: Client = bench.client().clone();
    let before = client.stats();
    assert_eq!((before.connections, before.acked), (1, 0));
    assert!(before.bytes_out > 10 && before.bytes_in > 3, "{before:?}");
    bench.server.script(|script| script.hold_acks = true);
    let token = client.publish("t", vec![0; 1000], QoS::AtLeastOnce).unwrap();
    assert_eq!((client.stats().queued, client.stats().in_flight), (1, 0));
    bench.settle();
    assert_eq!((client.stats().queued, client.stats().in_flight), (0, 1));
    // Header, topic, identifier, properties, payload.
    bench.server.script(|script| script.hold_acks = false);
    bench.done(token).unwrap();
    let now = client.stats();
    assert_eq!((now.in_flight, now.acked, now.rejected), (0, 1, 0));
    assert_eq!(now.bytes_out - before.bytes_out, 3 + 3 + 2 + 1 + 1000);
    assert_eq!(now.bytes_in - before.bytes_in, 4);
    bench.server.script(|script| script.publish_reason = ReasonCode::QUOTA_EXCEEDED);
    bench.done(client.publish("t", "", QoS::AtLeastOnce).unwrap()).unwrap_err();
    assert_eq!(client.stats().rejected, 1);
    let before = client.stats();
    drop(client.disconnect());
    bench.end().unwrap();
    assert!(client.stats().bytes_out > before.bytes_out, "DISCONNECT counts");
    assert_eq!(client.stats().losses.total(), 0);
}

#[test]
fn stats_tell_how_long_the_server_takes() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut bench = Bench::connected(config(Version::V5));
        let client = bench.client().clone();
        bench.done(client.publish("t", "", QoS::AtMostOnce).unwrap()).unwrap();
        assert_eq!(client.stats().round_trips.count(), 0, "nothing answers QoS 0");
        for millis in [300, 40] {
            bench.server.script(|script| script.hold_acks = true);
            let token = client.publish("t", "", qos).unwrap();
            bench.settle();
            bench.advance(Duration::from_millis(millis));
            bench.server.script(|script| script.hold_acks = false);
            bench.done(token).unwrap();
        }
        let round_trips = client.stats().round_trips;
        assert_eq!((round_trips.count(), round_trips.longest()), (2, Duration::from_millis(300)));
        let median = round_trips.percentile(50.0).unwrap();
        assert!(median >= Duration::from_millis(40) && median <= Duration::from_millis(50));
    }
}

#[test]
fn a_connection_that_ends_at_once_was_one() {
    let mut bench = Bench::new(config(Version::V5), Shape::default());
    let client = bench.client().clone();
    let mut events = client.events();
    // DISCONNECT stands right behind CONNACK: one read brings both.
    bench.server.script(|script| script.disconnect = Some(ReasonCode::SERVER_BUSY));
    bench.step();
    bench.poll_server();
    bench.settle();
    assert!(matches!(events.try_next(), Some(Event::Connected(_))));
    let event = events.try_next();
    assert!(matches!(event, Some(Event::Disconnected { .. })), "{event:?}");
    assert_eq!((client.status().connections, client.status().failed_attempts), (1, 0));
}
