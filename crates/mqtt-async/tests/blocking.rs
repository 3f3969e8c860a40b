//! The client without an executor: what waits, what does not, and how it ends.

mod common;

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use common::actor::Play;
use common::bench::{Manual, VERSIONS, config};
use common::pipe::{Pipe, Shape, pipe};
use common::runtime::guarded;
use common::server::{Greeting, Seen, Server};
use futures_lite::future;
use mqtt_async::blocking::{Client, Receiver, RecvError, Responder, Token};
use mqtt_async::{
    Config, Connector, Error, Event, Phase, Publish, PublishError, QoS, ReasonCode, RequestError,
    TokenError, TopicName, Version,
};

/// As long as something may take that does come.
const LONG: Duration = Duration::from_secs(60);
/// Too short for what does not come.
const SHORT: Duration = Duration::from_millis(1);

/// Connects to the server, of which each connection has a thread.
fn connector(
    server: &Server,
    shape: Shape,
) -> impl Connector<Io = Pipe, Connecting = std::future::Ready<io::Result<Pipe>>> + Send + use<> {
    let server = server.clone();
    move || {
        let (ours, theirs) = pipe(shape);
        let connection = server.serve(theirs);
        thread::spawn(move || future::block_on(connection));
        std::future::ready(Ok(ours))
    }
}

fn start(config: Config) -> (Client, Server) {
    let server = Server::new();
    let connector = connector(&server, Shape::default());
    (Client::with_timer(config, connector, Manual::new()).unwrap(), server)
}

fn disconnects(server: &Server) -> usize {
    server.count(|seen| *seen == Seen::Disconnect(ReasonCode::SUCCESS))
}

#[test]
fn publishes_subscribes_and_receives() {
    guarded(|| {
        for version in VERSIONS {
            let (client, server) = start(config(version));
            client.connected().wait().unwrap();
            let granted = client.subscribe("a/#", QoS::ExactlyOnce).unwrap().wait().unwrap();
            assert_eq!(granted.reasons, [ReasonCode::GRANTED_QOS_2]);
            let mut own = client.listen("b", QoS::AtLeastOnce).unwrap();
            own.subscribed().wait().unwrap();
            let mut messages = client.messages();
            assert_eq!(messages.try_recv().unwrap_err(), RecvError::Empty);
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                for topic in ["a/1", "b", "a/2"] {
                    let mut token = client.publish(topic, format!("{qos}"), qos).unwrap();
                    assert_eq!(token.received().unwrap(), ReasonCode::SUCCESS);
                    assert_eq!(token.wait().unwrap().reason, ReasonCode::SUCCESS);
                }
                assert_eq!(messages.recv().unwrap().topic(), "a/1");
                assert_eq!(messages.recv_timeout(LONG).unwrap().topic(), "a/2");
                assert_eq!(own.recv().unwrap().payload(), format!("{qos}"));
            }
            for number in 0..9 {
                drop(client.publish("b", number.to_string(), QoS::AtLeastOnce).unwrap());
            }
            // It comes behind them: so all of them are there.
            drop(client.publish("a/3", "", QoS::AtLeastOnce).unwrap());
            assert_eq!(messages.recv().unwrap().topic(), "a/3");
            let taken: Vec<_> = own.iter().take(3).map(|message| message.payload()).collect();
            assert_eq!(taken, ["0", "1", "2"]);
            client.unsubscribe("b").unwrap().wait().unwrap();
            // What waits can still be taken, and then it is over.
            assert_eq!((&mut own).into_iter().count(), 6);
            assert_eq!(own.try_recv().unwrap_err(), RecvError::Ended);
            assert_eq!(own.recv_timeout(LONG).unwrap_err(), RecvError::Ended);
            assert!(own.recv().is_none() && own.error().is_none() && own.lagged() == 0);
            client.disconnect().wait().unwrap();
            assert!(messages.into_iter().next().is_none());
            client.join().unwrap();
            assert_eq!(disconnects(&server), 1);
            assert_eq!(client.status().phase, Phase::Ended);
        }
    });
}

#[test]
fn a_wait_that_ran_out_has_lost_nothing() {
    guarded(|| {
        for version in VERSIONS {
            let (client, server) = start(config(version));
            let mut stream = client.listen("t", QoS::AtLeastOnce).unwrap();
            stream.subscribed().wait().unwrap();
            server.script(|script| script.hold_acks = true);
            let mut token = client.publish("t", "1", QoS::AtLeastOnce).unwrap();
            assert!(token.wait_timeout(SHORT).is_none());
            assert_eq!(stream.recv().unwrap().payload(), "1");
            let before = Instant::now();
            assert_eq!(stream.recv_timeout(20 * SHORT).unwrap_err(), RecvError::Empty);
            assert!(before.elapsed() >= 20 * SHORT);
            server.script(|script| script.hold_acks = false);
            token.wait_timeout(LONG).unwrap().unwrap();
            // A time that is too far away to come.
            let second = client.publish("t", "2", QoS::AtLeastOnce).unwrap();
            assert_eq!(stream.recv_timeout(Duration::MAX).unwrap().payload(), "2");
            second.wait().unwrap();
        }
    });
}

#[test]
fn who_publishes_waits_for_room() {
    guarded(|| {
        for version in VERSIONS {
            let mut config = config(version);
            config.session.bounds.messages = 1;
            let (client, server) = start(config);
            client.connected().wait().unwrap();
            server.script(|script| script.hold_acks = true);
            let first = client.publish_wait("t", "1", QoS::AtLeastOnce).unwrap();
            let full = client.publish("t", "2", QoS::AtLeastOnce);
            assert!(matches!(full, Err(PublishError::Full(_))), "{full:?}");
            let waiting = thread::spawn({
                let client = client.clone();
                move || client.publish_wait("t", "2", QoS::AtLeastOnce).unwrap().wait()
            });
            server.script(|script| script.hold_acks = false);
            first.wait().unwrap();
            waiting.join().unwrap().unwrap();
            client.disconnect().wait().unwrap();
            let publish = Publish::new(TopicName::new("t").unwrap(), "3");
            let Err(PublishError::Closed(back)) = client.send_wait(publish) else { panic!() };
            assert_eq!(back.payload, "3");
        }
    });
}

#[test]
fn who_authenticates_anew_waits_for_the_outcome() {
    guarded(|| {
        let play = Play::default();
        let server = Server::new();
        server.script(|script| script.challenges = ["one"].into());
        let (made, config) = (play.clone(), config(Version::V5));
        let connector = connector(&server, Shape::default());
        let (client, driver) = mqtt_async::Client::with_timer(config, connector, Manual::new());
        let client =
            Client::start(client, driver.authenticator(move || made.actor(Arc::default())))
                .unwrap();
        client.connected().wait().unwrap();
        play.log();
        client.reauthenticate().unwrap().wait().unwrap();
        assert_eq!(play.log(), ["start()", "finish()"]);
        server.script(|script| script.challenges = ["two"].into());
        client.reauthenticate().unwrap().wait().unwrap();
        assert_eq!(play.log(), ["start()", "answer(two)", "finish()"]);
    });
}

/// Returns the names of the methods that are defined in a source text.
fn methods(source: &'static str) -> BTreeSet<&'static str> {
    let named = |line: &&str| line.starts_with("    pub ");
    let name = |line: &'static str| line.split("fn ").nth(1)?.split(['(', '<']).next();
    source.lines().filter(named).filter_map(name).collect()
}

// Whoever reads the documentation of one has to find the method in the other.
#[test]
fn it_has_every_method_of_the_async_client() {
    let ours = methods(include_str!("../src/blocking.rs"));
    let theirs = [
        include_str!("../src/client.rs"),
        include_str!("../src/client/authentication.rs"),
        include_str!("../src/client/durable.rs"),
        include_str!("../src/client/ending.rs"),
        include_str!("../src/client/outbound.rs"),
        include_str!("../src/client/state.rs"),
        include_str!("../src/request.rs"),
    ];
    let constructors = BTreeSet::from(["durable", "durable_with_timer"]);
    // Of other types that are defined there.
    let others = BTreeSet::from(["into_publish"]);
    let theirs: BTreeSet<&str> = theirs.iter().flat_map(|source| methods(source)).collect();
    assert!(theirs.len() > 25, "{theirs:?}");
    let missing: Vec<_> = theirs
        .difference(&ours)
        .filter(|it| !constructors.contains(*it) && !others.contains(*it))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn a_message_can_be_taken_back() {
    guarded(|| {
        let server = Server::new();
        server.script(|script| script.greeting = Greeting::Silence);
        let connector = connector(&server, Shape::default());
        let client = Client::with_timer(config(Version::V5), connector, Manual::new()).unwrap();
        let token = client.publish("t", "1", QoS::AtLeastOnce).unwrap();
        assert_eq!(token.cancel().unwrap().payload, "1");
    });
}

#[test]
fn a_thread_serves_requests_and_may_wait_for_the_client_in_between() {
    guarded(|| {
        for version in VERSIONS {
            let (client, _server) = start(config(version));
            let inner = client.clone();
            let responder = client.respond("double", move |request| {
                inner.publish("log", "asked", QoS::AtLeastOnce).unwrap().wait().unwrap();
                let number = String::from_utf8_lossy(request.payload_bytes()).parse::<u32>();
                number.map_or("?".to_owned(), |number| (2 * number).to_string())
            });
            let responder = responder.unwrap();
            let serving = thread::spawn(|| responder.wait());
            for (asked, answered) in [("21", "42"), ("x", "?")] {
                let request = client.request("double", asked, LONG);
                assert_eq!(request.wait().unwrap().payload(), answered);
            }
            client.disconnect().wait().unwrap();
            serving.join().unwrap().unwrap();
        }
    });
}

#[test]
fn the_timer_of_the_driver_rules_a_request() {
    guarded(|| {
        let (server, clock) = (Server::new(), Manual::new());
        let connector = connector(&server, Shape::default());
        let client = Client::with_timer(config(Version::V5), connector, clock.clone()).unwrap();
        let mut request = client.request("nobody", "", LONG);
        assert!(request.wait_timeout(SHORT).is_none());
        clock.advance(LONG);
        assert!(matches!(request.wait(), Err(RequestError::TimedOut)));
    });
}

#[test]
fn shutdown_reports_what_is_left_and_the_thread_ends() {
    guarded(|| {
        let (client, server) = start(config(Version::V5));
        client.connected().wait().unwrap();
        let mut events = client.events();
        let changes = client.status_changes();
        client.publish("t", "1", QoS::AtLeastOnce).unwrap().wait().unwrap();
        let report = client.shutdown(LONG);
        assert_eq!((report.unsent.len(), report.unacked, report.unconsumed), (0, 0, 0));
        report.result.unwrap();
        client.join().unwrap();
        assert!(client.publish("t", "2", QoS::AtLeastOnce).is_err());
        assert!(events.recv().is_none());
        assert_eq!(changes.into_iter().last().unwrap().phase, Phase::Ended);
        assert_eq!(disconnects(&server), 1);
    });
}

// class: 44
#[test]
fn the_last_one_to_be_dropped_waits_for_a_polite_end() {
    guarded(|| {
        for version in VERSIONS {
            let (client, server) = start(config(version));
            let stream = client.listen("t", QoS::AtLeastOnce).unwrap();
            stream.subscribed().wait().unwrap();
            drop(client.publish("t", "1", QoS::AtLeastOnce).unwrap());
            drop(client.clone());
            drop(client);
            assert_eq!(disconnects(&server), 0);
            drop(stream);
            // The driver has ended, and its side of the transport with it.
            assert_eq!(disconnects(&server), 1);
            assert_eq!(server.count(|seen| matches!(seen, Seen::Publish { .. })), 1);
        }
    });
}

// class: 44
#[test]
fn a_drop_waits_only_so_long_and_then_breaks_the_connection() {
    guarded(|| {
        let server = Server::new();
        let mut config = config(Version::V5);
        config.close_timeout = 10 * SHORT;
        // The clock of the driver stands: it would wait for ever.
        let connector = connector(&server, Shape { capacity: 100, chunk: 100 });
        let client = Client::with_timer(config, connector, Manual::new()).unwrap();
        client.connected().wait().unwrap();
        server.script(|script| script.deaf = true);
        client.publish("t", "x".repeat(1000), QoS::AtLeastOnce).unwrap();
        let before = Instant::now();
        drop(client);
        assert!(before.elapsed() >= 20 * SHORT);
        server.script(|script| script.deaf = false);
        future::block_on(server.wait(1, |seen| matches!(seen, Seen::Closed { politely: false })));
    });
}

#[test]
fn a_handle_of_the_async_client_keeps_it() {
    guarded(|| {
        let (client, server) = start(config(Version::V5));
        let other = client.as_async().clone();
        drop(client);
        let token = other.publish("t", "1", QoS::AtLeastOnce).unwrap();
        future::block_on(token).unwrap();
        drop(other);
        let closed = Seen::Closed { politely: true };
        future::block_on(server.wait(1, |seen| *seen == closed));
    });
}

#[test]
fn the_client_says_why_it_has_ended() {
    guarded(|| {
        let server = Server::new();
        let refusal = ReasonCode::BAD_USER_NAME_OR_PASSWORD;
        server.script(|script| script.greeting = Greeting::Refuse(refusal));
        let connector = connector(&server, Shape::default());
        let client = Client::with_timer(config(Version::V5), connector, Manual::new()).unwrap();
        let mut events = client.events();
        let token = client.publish("t", "1", QoS::AtLeastOnce).unwrap();
        let ended = |error: &TokenError| matches!(error, TokenError::Ended(Error::Refused(_)));
        assert!(ended(&client.join().unwrap_err()));
        assert!(ended(&token.wait().unwrap_err()));
        assert!(ended(&client.connected().wait().unwrap_err()));
        if let Some(event) = events.recv() {
            assert!(matches!(event, Event::AttemptFailed { .. }), "{event:?}");
        }
        assert!(events.recv().is_none());
    });
}

// class: 43
#[test]
fn a_panic_in_the_thread_ends_the_client() {
    guarded(|| {
        let connector = || -> std::future::Ready<io::Result<Pipe>> { panic!("on purpose") };
        let client = Client::with_timer(config(Version::V5), connector, Manual::new()).unwrap();
        let mut messages = client.messages();
        assert!(matches!(client.join(), Err(TokenError::DriverGone)));
        assert!(matches!(client.connected().wait(), Err(TokenError::DriverGone)));
        assert!(messages.recv().is_none());
    });
}

#[test]
fn a_hook_may_have_the_last_handle() {
    guarded(|| {
        let server = Server::new();
        let (send, take) = mpsc::channel::<()>();
        let slot = Arc::new(OnceLock::<Client>::new());
        let mut config = config(Version::V5);
        config.close_timeout = LONG;
        let (client, driver) = mqtt_async::Client::with_timer(
            config,
            connector(&server, Shape::default()),
            Manual::new(),
        );
        // Dropped in this order, in the thread of the driver, when that has ended.
        let kept = (Arc::clone(&slot), send);
        let driver = driver.reconnect_if(move |_, _| {
            let (slot, _) = &kept;
            slot.get().is_none()
        });
        let client = Client::start(client, driver).unwrap();
        assert!(slot.set(client.clone()).is_ok());
        drop(slot);
        client.connected().wait().unwrap();
        drop(client);
        // The hook says that this is the end.
        server.script(|script| script.disconnect = Some(ReasonCode::SERVER_BUSY));
        assert!(take.recv().is_err(), "the hook is gone, and its drop has not waited for itself");
    });
}

#[test]
fn it_does_not_mind_the_thread_of_an_executor() {
    guarded(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, server) = start(config(Version::V5));
            client.publish("t", "1", QoS::AtLeastOnce).unwrap().wait().unwrap();
            drop(client);
            assert_eq!(disconnects(&server), 1);
        });
    });
}

#[test]
fn waits_for_any_future() {
    let rung = Arc::new(AtomicBool::new(false));
    let (ring, wait) = (Arc::clone(&rung), Arc::clone(&rung));
    let (send, take) = mpsc::channel::<std::task::Waker>();
    let other = thread::spawn(move || {
        let waker = take.recv().unwrap();
        ring.store(true, Ordering::SeqCst);
        waker.wake();
    });
    let value = mqtt_async::blocking::wait(std::future::poll_fn(|cx| {
        if wait.load(Ordering::SeqCst) {
            return std::task::Poll::Ready(7);
        }
        send.send(cx.waker().clone()).unwrap();
        std::task::Poll::Pending
    }));
    assert_eq!(value, 7);
    other.join().unwrap();
}

#[test]
fn handles_can_be_shared_among_threads() {
    fn shared<T: Send + Sync>() {}
    fn sent<T: Send>() {}
    shared::<Client>();
    sent::<Receiver<mqtt_async::Messages>>();
    sent::<Receiver<mqtt_async::Subscription>>();
    sent::<Token<mqtt_async::Publishing>>();
    sent::<Token<mqtt_async::Requesting>>();
    sent::<Responder<String>>();
    assert_eq!(RecvError::Empty.to_string(), "there is nothing yet");
}
