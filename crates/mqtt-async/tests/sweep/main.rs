//! Every public future, dropped at every point: polled so often, dropped, and on it goes. Nothing is lost: no
//! message, no room, no identifier; and what is a stream stays in step.
//!
//! A table has all of them, and a test compares it with the sources.

#![allow(unreachable_pub, reason = "nothing here is for anybody else")]

#[path = "../common/certificates.rs"]
mod certificates;
#[path = "../common/mod.rs"]
mod common;
mod connectors;
mod sources;
mod transports;

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::task::Poll;
use std::time::Duration;

use common::actor::{Play, standing};
use common::bench::{Bench, Manual, lasting, now};
use common::pipe::{Pipe, Shape, pipe};
use common::requests::{SECOND, answer, payload, request};
use common::runtime::guarded;
use common::server::{Seen, Server};
use common::store::Scripted;
use common::streams::{acked, listen, publish, push, subscribed, unsubscribed};
use mqtt_async::{
    Client, Event, Phase, PublishError, Publishing, QoS, RequestError, TokenError, Version,
};
use sources::Found;

const NARROW: Shape = Shape { capacity: 40, chunk: 7 };

/// A future, and a run in which it is polled so often at most: returns whether it was resolved by then.
type Row = (&'static str, fn(usize) -> bool);

/// What implements `Future`, and the functions that return one without a name.
const FUTURES: &[Row] = &[
    ("Publishing", publishing),
    ("Received", received),
    ("Subscribing", subscribing),
    ("Unsubscribing", unsubscribing),
    ("SendWait", send_wait),
    ("Connecting", connecting),
    ("Ready", ready),
    ("Listening", listening),
    ("Next", next),
    ("Next", next_of_a_subscription),
    ("Events::next", next_event),
    ("StatusChanges::next", next_status),
    ("Stored", stored),
    ("Requesting", requesting),
    ("Responder", responder),
    ("Reauthenticating", reauthenticating),
    ("Closing", closing),
    ("Closing", draining),
    ("Shutdown", shutdown),
    ("Driver", driver),
    ("Client::durable_with_timer", durable),
];

/// What is made of nothing but others in the table.
const THIN: &[(&str, &str)] = &[("Client::durable", "Client::durable_with_timer")];

// class: 40
#[test]
fn every_future_may_be_dropped_after_any_number_of_polls() {
    guarded(|| {
        for (name, run) in FUTURES {
            let resolved = (0..1000).find(|polls| run(*polls));
            let polls = resolved.unwrap_or_else(|| panic!("{name} is never resolved"));
            // One that is there at once has nothing to be dropped in the middle of.
            assert!(polls >= 2, "{name} is resolved by poll {polls}");
        }
    });
}

/// Polls it so often at most, with a step of everybody else in between, and drops it.
fn polled<F: Future + Unpin>(bench: &mut Bench, mut future: F, polls: usize) -> Option<F::Output> {
    for _ in 0..polls {
        if let Poll::Ready(output) = bench.poll(&mut future) {
            return Some(output);
        }
        bench.step();
    }
    None
}

/// A client with little room, so that what is lost of it is missed soon.
fn tight(connected: bool) -> Bench {
    let mut config = lasting(Version::V5);
    config.session.bounds.messages = 3;
    config.session.max_in_flight = 2;
    config.session.connect.receive_maximum = Some(2);
    config.inbound.messages = 2;
    let mut bench = Bench::new(config, NARROW);
    if connected {
        bench.settle();
    }
    bench
}

/// How often the server has got a message.
fn arrived(bench: &Bench, what: &str) -> usize {
    let is_it = |seen: &Seen| matches!(seen, Seen::Publish { payload, dup: false, .. } if payload == what.as_bytes());
    bench.server.count(is_it)
}

/// Everything works as if nothing had been dropped, and there is room for everything.
fn goes_on(mut bench: Bench) {
    bench.settle();
    let mut messages = bench.client().messages();
    bench.messages(&mut messages);
    let client = bench.client().clone();
    for round in 0..5 {
        let tokens: Vec<Publishing> = [QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce]
            .into_iter()
            .map(|qos| client.publish("on", format!("on {round}"), qos).unwrap())
            .collect();
        for token in tokens {
            bench.done(token).unwrap();
        }
        assert_eq!(arrived(&bench, &format!("on {round}")), 3);
        for number in 0..5 {
            push(&bench, "in", format!("{round} {number}"), QoS::ExactlyOnce);
        }
        let expected: Vec<_> = (0..5).map(|number| format!("{round} {number}")).collect();
        assert_eq!(bench.messages(&mut messages), expected);
    }
    let (stats, status) = (client.stats(), client.status());
    assert_eq!((stats.queued, stats.in_flight, stats.held_bytes), (0, 0, 0));
    assert_eq!((stats.requests, stats.calls.awaited), (0, 0));
    assert_eq!((status.inbound, status.lagged), (0, 0));
    drop(client.drain());
    bench.end().unwrap();
}

fn publishing(polls: usize) -> bool {
    let mut all = true;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut bench = tight(true);
        let token = bench.client().publish("t", "it", qos).unwrap();
        all &= polled(&mut bench, token, polls).is_some();
        bench.settle();
        assert_eq!(arrived(&bench, "it"), 1);
        goes_on(bench);
    }
    all
}

fn received(polls: usize) -> bool {
    let mut bench = tight(true);
    let mut token = bench.client().publish("t", "it", QoS::ExactlyOnce).unwrap();
    let resolved = polled(&mut bench, token.received(), polls).is_some();
    bench.settle();
    assert!(matches!(bench.poll(&mut token.received()), Poll::Ready(Ok(_))));
    bench.done(token).unwrap();
    goes_on(bench);
    resolved
}

fn subscribing(polls: usize) -> bool {
    let mut bench = tight(true);
    let token = bench.client().subscribe("t", QoS::ExactlyOnce).unwrap();
    let resolved = polled(&mut bench, token, polls).is_some();
    bench.settle();
    assert_eq!(subscribed(&bench, "t"), 1);
    goes_on(bench);
    resolved
}

fn unsubscribing(polls: usize) -> bool {
    let mut bench = tight(true);
    let token = bench.client().subscribe("t", QoS::ExactlyOnce).unwrap();
    bench.done(token).unwrap();
    let token = bench.client().unsubscribe("t").unwrap();
    let resolved = polled(&mut bench, token, polls).is_some();
    bench.settle();
    assert_eq!(unsubscribed(&bench, "t"), 1);
    goes_on(bench);
    resolved
}

/// A client with no room for another message; it will have some.
fn full() -> Bench {
    let bench = tight(true);
    for _ in 0..3 {
        drop(bench.client().publish("t", "before", QoS::ExactlyOnce).unwrap());
    }
    let result = bench.client().publish("t", "before", QoS::ExactlyOnce);
    assert!(matches!(result, Err(PublishError::Full(_))));
    bench
}

fn send_wait(polls: usize) -> bool {
    let mut bench = full();
    let client = bench.client().clone();
    let waits = client.publish_wait("t", "it", QoS::ExactlyOnce);
    let resolved = polled(&mut bench, waits, polls);
    // Who stands behind it has its turn.
    let mut behind = client.publish_wait("t", "behind", QoS::ExactlyOnce);
    if bench.poll(&mut behind).is_pending() {
        assert!(bench.done(behind).is_ok());
    }
    bench.settle();
    // It was sent if it was resolved, and only then.
    assert_eq!(arrived(&bench, "it"), usize::from(resolved.is_some()));
    assert_eq!((arrived(&bench, "behind"), arrived(&bench, "before")), (1, 3));
    goes_on(bench);
    resolved.is_some()
}

fn connecting(polls: usize) -> bool {
    let mut bench = tight(false);
    let token = bench.client().connected();
    let resolved = polled(&mut bench, token, polls).is_some();
    goes_on(bench);
    resolved
}

fn ready(polls: usize) -> bool {
    let mut bench = full();
    let token = bench.client().ready();
    let resolved = polled(&mut bench, token, polls).is_some();
    let again = bench.client().ready();
    bench.done(again).unwrap();
    goes_on(bench);
    resolved
}

fn listening(polls: usize) -> bool {
    let mut bench = tight(true);
    let mut stream = bench.client().listen("t", QoS::ExactlyOnce).unwrap();
    let resolved = polled(&mut bench, stream.subscribed(), polls).is_some();
    bench.done(stream.subscribed()).unwrap();
    push(&bench, "t", "it", QoS::ExactlyOnce);
    bench.settle();
    assert_eq!(stream.try_next().unwrap().payload(), "it");
    drop(stream);
    goes_on(bench);
    resolved
}

/// Takes all of a stream, and drops the future each time it has been polled so often; tells whether each was
/// resolved the first time.
fn taken<S>(
    bench: &mut Bench,
    polls: usize,
    count: usize,
    stream: &mut S,
    mut next: impl FnMut(&mut Bench, &mut S, usize) -> Option<String>,
) -> (Vec<String>, bool) {
    let (mut all, mut at_once) = (Vec::new(), true);
    for _ in 0..10_000 {
        match next(bench, stream, polls) {
            Some(one) => all.push(one),
            None => at_once = false,
        }
        if all.len() == count {
            break;
        }
        // Also where it is never polled.
        bench.step();
        if polls == 0 {
            return (all, false);
        }
    }
    (all, at_once)
}

fn text(message: mqtt_async::Message) -> String {
    String::from_utf8(message.payload().to_vec()).unwrap()
}

fn next(polls: usize) -> bool {
    let mut bench = tight(true);
    for number in 0..10 {
        push(&bench, "t", number, QoS::ExactlyOnce);
    }
    let mut messages = bench.client().messages();
    let next = |bench: &mut Bench, messages: &mut mqtt_async::Messages, polls: usize| {
        polled(bench, messages.next(), polls).map(|message| text(message.unwrap()))
    };
    let (all, at_once) = taken(&mut bench, polls, 10, &mut messages, next);
    if polls > 0 {
        assert_eq!(all, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
        bench.settle();
        assert_eq!(acked(&bench), 10);
    }
    drop(messages);
    goes_on(bench);
    at_once
}

fn next_of_a_subscription(polls: usize) -> bool {
    let mut bench = tight(true);
    let mut stream = listen(&mut bench, "t");
    for number in 0..10 {
        push(&bench, "t", number, QoS::ExactlyOnce);
    }
    let next = |bench: &mut Bench, stream: &mut mqtt_async::Subscription, polls: usize| {
        polled(bench, stream.next(), polls).map(|message| text(message.unwrap()))
    };
    let (all, at_once) = taken(&mut bench, polls, 10, &mut stream, next);
    if polls > 0 {
        assert_eq!(all, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
        bench.settle();
        assert_eq!((acked(&bench), stream.lagged()), (10, 0));
    }
    drop(stream);
    goes_on(bench);
    at_once
}

fn next_event(polls: usize) -> bool {
    let mut bench = tight(true);
    let mut events = bench.client().events();
    let kind = |event| match event {
        Event::Connected(_) => "connected".to_owned(),
        Event::Disconnected { .. } => "disconnected".to_owned(),
        other => panic!("{other:?}"),
    };
    bench.server.cut();
    let next = |bench: &mut Bench, events: &mut mqtt_async::Events, polls: usize| {
        let event = polled(bench, events.next(), polls).map(|event| kind(event.unwrap()));
        bench.clock.advance(Duration::from_millis(50));
        event
    };
    let (all, at_once) = taken(&mut bench, polls, 2, &mut events, next);
    if polls > 0 {
        assert_eq!(all, ["disconnected", "connected"]);
        assert_eq!((events.lagged(), events.try_next().is_none()), (0, true));
    }
    drop(events);
    bench.settle();
    bench.advance(60 * SECOND);
    goes_on(bench);
    // It waits for a timer in the middle: that one of many is resolved is enough.
    at_once || polls >= 30
}

fn next_status(polls: usize) -> bool {
    let mut bench = tight(false);
    let mut changes = bench.client().status_changes();
    let next = |bench: &mut Bench, changes: &mut mqtt_async::StatusChanges, polls: usize| {
        polled(bench, changes.next(), polls).map(|status| format!("{:?}", status.unwrap().phase))
    };
    let (all, at_once) = taken(&mut bench, polls, 2, &mut changes, next);
    if polls > 0 {
        assert_eq!(all, ["Connecting", "Connected"]);
    }
    drop(changes);
    goes_on(bench);
    at_once
}

fn stored(polls: usize) -> bool {
    let store = Scripted::held();
    store.script(|script| script.held = false);
    let server = Server::new();
    let made = Bench::durable_in(lasting(Version::V5), &server, store.clone(), NARROW);
    let (mut bench, _) = made.unwrap();
    bench.settle();
    store.script(|script| script.held = true);
    let mut token = bench.client().publish("t", "it", QoS::ExactlyOnce).unwrap();
    let future = bench.client().stored().unwrap();
    let mut resolved = false;
    if polled(&mut bench, future, polls.min(3)).is_none() {
        store.script(|script| script.held = false);
        let future = bench.client().stored().unwrap();
        resolved = polled(&mut bench, future, polls.saturating_sub(3)).is_some();
    }
    bench.settle();
    let future = bench.client().stored().unwrap();
    bench.done(future).unwrap();
    assert!(bench.poll(&mut token).is_ready());
    assert_eq!(arrived(&bench, "it"), 1);
    goes_on(bench);
    resolved
}

fn requesting(polls: usize) -> bool {
    let mut bench = tight(true);
    let mut requesting = request(&bench, "?");
    let mut resolved = false;
    for poll in 0..polls {
        if let Poll::Ready(result) = bench.poll(&mut requesting) {
            assert_eq!(payload(result), "!");
            resolved = true;
            break;
        }
        bench.step();
        // Answered as soon as it is there.
        if poll >= 20 && !common::requests::requests(&bench).is_empty() {
            answer(&mut bench, 0, "!");
        }
    }
    drop(requesting);
    let another = request(&bench, "another");
    bench.settle();
    let place = common::requests::requests(&bench).len() - 1;
    answer(&mut bench, place, "another");
    assert_eq!(payload(bench.done(another)), "another");
    let gone = request(&bench, "gone");
    bench.settle();
    bench.advance(10 * SECOND);
    assert!(matches!(bench.done(gone), Err(RequestError::TimedOut)));
    goes_on(bench);
    resolved
}

fn responder(polls: usize) -> bool {
    let mut bench = tight(true);
    let responder = bench.client().respond("service", |_| async {
        futures_lite::future::yield_now().await;
        "response"
    });
    let mut responder = Box::pin(responder.unwrap());
    bench.done(responder.subscribed()).unwrap();
    for _ in 0..5 {
        let mut request = publish("service", "?", QoS::ExactlyOnce);
        request.properties.edit().response_topic =
            Some(mqtt_async::TopicName::new("answers").unwrap());
        bench.server.script(|script| script.push.push_back(request));
    }
    for _ in 0..polls {
        let _ = bench.poll(&mut responder);
        bench.step();
    }
    drop(responder);
    bench.settle();
    // Those that were not served are for `messages`; nothing holds them back.
    let mut messages = bench.client().messages();
    let left = bench.messages(&mut messages).len();
    let answered = arrived(&bench, "response");
    assert_eq!(acked(&bench), 5, "{answered} answered, {left} left");
    assert!(answered + left <= 5 && answered + left >= 4, "one may have been rejected");
    assert_eq!(unsubscribed(&bench, "service"), 1);
    drop(messages);
    goes_on(bench);
    answered == 5
}

fn reauthenticating(polls: usize) -> bool {
    let play = Play::default();
    let mut bench = standing(&play);
    bench.server.script(|script| script.challenges.extend(["one", "two"]));
    let token = bench.client().reauthenticate().unwrap();
    let resolved = polled(&mut bench, token, polls).is_some();
    bench.settle();
    let again = bench.client().reauthenticate().unwrap();
    bench.done(again).unwrap();
    goes_on(bench);
    resolved
}

/// A client that is about to end, and has something to send.
fn ending(polls: usize, end: impl FnOnce(&mut Bench, usize) -> bool) -> bool {
    let mut bench = tight(true);
    let token = bench.client().publish("t", "it", QoS::ExactlyOnce).unwrap();
    let resolved = end(&mut bench, polls);
    bench.end().unwrap();
    assert_eq!(arrived(&bench, "it"), 1);
    assert!(bench.server.seen().contains(&Seen::Closed { politely: true }));
    let _ = bench.done(token);
    assert_eq!(bench.client().status().phase, Phase::Ended);
    let closing = bench.client().disconnect();
    bench.done(closing).unwrap();
    resolved
}

fn closing(polls: usize) -> bool {
    ending(polls, |bench, polls| {
        let closing = bench.client().disconnect();
        polled(bench, closing, polls).is_some()
    })
}

fn draining(polls: usize) -> bool {
    ending(polls, |bench, polls| {
        let closing = bench.client().drain();
        polled(bench, closing, polls).is_some()
    })
}

fn shutdown(polls: usize) -> bool {
    ending(polls, |bench, polls| {
        let shutdown = bench.client().shutdown(10 * SECOND);
        polled(bench, shutdown, polls).is_some()
    })
}

/// What is dropped ends, and says so to all.
fn driver(polls: usize) -> bool {
    let mut bench = tight(false);
    let client = bench.client().clone();
    let (mut token, mut subscribing) = (
        client.publish("t", "it", QoS::ExactlyOnce).unwrap(),
        client.subscribe("t", QoS::ExactlyOnce).unwrap(),
    );
    let (mut messages, mut ready) = (client.messages(), client.connected());
    push(&bench, "t", "in", QoS::ExactlyOnce);
    for _ in 0..polls {
        bench.step();
    }
    bench.driver = None;
    bench.settle();
    let published = match bench.poll(&mut token) {
        Poll::Ready(Ok(_)) => true,
        Poll::Ready(Err(TokenError::DriverGone)) => false,
        other => panic!("{other:?}"),
    };
    assert!(bench.poll(&mut subscribing).is_ready() && bench.poll(&mut ready).is_ready());
    // What had come in can be taken, and then there is an end.
    let mut taken = 0;
    while let Poll::Ready(Some(_)) = bench.poll(&mut messages.next()) {
        taken += 1;
    }
    assert!(taken <= 2 && matches!(bench.poll(&mut messages.next()), Poll::Ready(None)));
    let opened = !bench.server.seen().is_empty();
    assert_eq!(bench.server.seen().contains(&Seen::Closed { politely: false }), opened);
    published
}

fn durable(polls: usize) -> bool {
    let store = Scripted::held();
    let server = Server::new();
    // The store's first write waits for the third poll.
    let connector = || {
        let (ours, _) = pipe(NARROW);
        std::future::ready(io::Result::<Pipe>::Ok(ours))
    };
    let mut opening = Box::pin(Client::durable_with_timer(
        lasting(Version::V5),
        connector,
        Manual::new(),
        store.clone(),
    ));
    let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
    let mut resolved = false;
    for poll in 0..polls {
        if poll == 3 {
            store.script(|script| script.held = false);
        }
        resolved = opening.as_mut().poll(cx).is_ready();
        if resolved {
            break;
        }
    }
    drop(opening);
    store.script(|script| script.held = false);
    let (mut bench, recovered) =
        Bench::durable(lasting(Version::V5), &server, store.clone()).unwrap();
    assert_eq!(recovered.len(), 0);
    let token = bench.client().publish("t", "it", QoS::ExactlyOnce).unwrap();
    now(async { bench.done(token).unwrap() });
    goes_on(bench);
    resolved
}

#[test]
fn the_table_has_every_public_future_and_each_says_whether_it_is_cancel_safe() {
    let found = sources::futures();
    for Found { name, docs } in &found {
        assert!(docs.contains("cancel-safe"), "{name} does not say whether it is:\n{docs}");
    }
    let found: BTreeSet<&str> = found.iter().map(|found| found.name.as_str()).collect();
    let swept = FUTURES.iter().map(|(name, _)| *name);
    let table: BTreeSet<&str> = swept.chain(THIN.iter().map(|(name, _)| *name)).collect();
    assert_eq!(found, table);
    assert!(THIN.iter().all(|(_, of)| table.contains(of)));
}
