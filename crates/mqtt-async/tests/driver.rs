//! The client against a scripted server, polled by hand: what is sent, seen and resolved, and when.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use common::bench::{Bench, Manual, PRESENT, VERSIONS, config, lasting};
use common::pipe::{Pipe, Shape};
use common::server::{Greeting, Seen};
use mqtt_async::{
    Client, Clock, Error, Failure, Message, Messages, Phase, Publish, PublishError, Publishing,
    QoS, ReasonCode, Timer, TokenError, TopicName, Version,
};

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

#[test]
fn publishes_and_receives_at_each_qos() {
    for version in VERSIONS {
        for chunk in [1, 7, usize::MAX] {
            let shape = Shape { capacity: 100, chunk };
            let mut bench = Bench::new(config(version), shape);
            let client = bench.client().clone();
            let mut messages = client.messages();
            let granted = client.subscribe("a/#", QoS::ExactlyOnce).unwrap();
            assert_eq!(bench.done(granted).unwrap().reasons, [ReasonCode::GRANTED_QOS_2]);
            for qos in QOS {
                for size in [0, 10, 3000, if chunk < 10 { 5000 } else { 100_000 }] {
                    let payload = vec![b'x'; size];
                    let token = client.publish("a/b", payload.clone(), qos).unwrap();
                    let mut next = messages.next();
                    bench.settle();
                    let Poll::Ready(Some(message)) = bench.poll(&mut next) else {
                        panic!("no message: {version} {qos} {size}");
                    };
                    assert_eq!(message.topic(), "a/b");
                    assert_eq!(message.payload(), payload);
                    assert_eq!(message.qos(), qos);
                    assert!(!message.dup());
                    assert_eq!(bench.done(token).unwrap().reason, ReasonCode::SUCCESS);
                    // The server has its acknowledgement.
                    bench.settle();
                }
            }
            assert_eq!(bench.server.count(|seen| matches!(seen, Seen::Acked(_))), 12);
            let granted = bench.done(client.unsubscribe("a/#").unwrap()).unwrap();
            let expected = if version == Version::V5 { vec![ReasonCode::SUCCESS] } else { vec![] };
            assert_eq!(granted.reasons, expected);
            drop(bench.done(client.publish("a/b", "unheard", QoS::AtLeastOnce).unwrap()));
            assert!(messages.try_next().is_none());
            let closing = client.disconnect();
            assert!(bench.end().is_ok());
            assert!(bench.done(closing).is_ok());
            bench.server.count(|seen| *seen == Seen::Closed { politely: true });
        }
    }
}

#[test]
fn refuses_what_is_no_topic() {
    let bench = Bench::connected(config(Version::V5));
    let result = bench.client().publish("a/+", "", QoS::AtMostOnce);
    assert!(matches!(result, Err(PublishError::Topic(_))), "{result:?}");
    assert!(bench.client().subscribe("a/#/b", QoS::AtMostOnce).is_err());
    assert!(bench.client().unsubscribe("",).is_err());
}

#[test]
fn failures_of_the_server_are_errors_of_the_token() {
    let mut bench = Bench::connected(config(Version::V5));
    let client = bench.client().clone();
    bench.server.script(|script| {
        script.reject_filters = Some(ReasonCode::NOT_AUTHORIZED);
        script.publish_reason = ReasonCode::QUOTA_EXCEEDED;
    });
    let error = bench.done(client.subscribe("a", QoS::AtMostOnce).unwrap()).unwrap_err();
    assert_eq!(error.reason(), Some(ReasonCode::NOT_AUTHORIZED));
    assert!(error.is_auth() && !error.is_retryable());
    assert!(error.to_string().contains("Not authorized"), "{error}");
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let error = bench.done(client.publish("a", "", qos).unwrap()).unwrap_err();
        assert_eq!(error.reason(), Some(ReasonCode::QUOTA_EXCEEDED), "{qos}");
        assert!(error.is_retryable());
    }
}

// class: 22
#[test]
fn in_flight_messages_complete_after_a_cut() {
    for version in PRESENT {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut bench = Bench::connected(lasting(version));
            let client = bench.client().clone();
            bench.server.script(|script| script.hold_acks = true);
            let tokens: Vec<_> =
                ["1", "2", "3"].map(|payload| client.publish("t", payload, qos).unwrap()).into();
            bench.settle();
            assert_eq!(bench.server.count(|seen| matches!(seen, Seen::Publish { .. })), 3);
            bench.server.script(|script| script.hold_acks = false);
            // The answers are on their way when the connection breaks.
            bench.server.cut();
            bench.settle();
            assert_eq!(client.status().phase, Phase::Waiting);
            assert!(matches!(client.status().last_error, Some(Error::Eof { .. })));
            let offline = client.publish("t", "4", qos).unwrap();
            bench.advance(Duration::from_secs(1));
            for token in tokens.into_iter().chain([offline]) {
                assert_eq!(bench.done(token).unwrap().reason, ReasonCode::SUCCESS);
            }
            assert_eq!(client.status().connections, 2);
            assert!(client.status().connected.unwrap().resumed);
        }
    }
}

#[test]
fn subscribes_anew_when_the_session_is_lost() {
    for version in VERSIONS {
        let mut bench = Bench::connected(lasting(version));
        let client = bench.client().clone();
        let filters: Vec<_> = (0..20).map(|number| format!("f/{number}")).collect();
        for filter in &filters {
            let granted = client.subscribe(filter, QoS::AtLeastOnce).unwrap();
            bench.done(granted).unwrap();
        }
        bench.done(client.unsubscribe("f/3").unwrap()).unwrap();
        let mut messages = client.messages();
        bench.server.script(|script| script.forget = true);
        bench.server.cut();
        bench.settle();
        // It is queued when the connection comes back, and echoed: the subscription came first.
        drop(client.publish("f/7", "back", QoS::AtLeastOnce).unwrap());
        bench.advance(Duration::from_secs(1));
        let seen = bench.server.seen();
        let again = seen.iter().rposition(|seen| matches!(seen, Seen::Connect { .. })).unwrap();
        let mut renewed = Vec::new();
        for seen in &seen[again..] {
            if let Seen::Subscribe(filters) = seen {
                renewed.extend(filters.clone());
            }
        }
        let expected: Vec<_> = filters.iter().filter(|filter| *filter != "f/3").cloned().collect();
        assert_eq!(renewed, expected, "each once, in the order of the application");
        assert_eq!(bench.messages(&mut messages), ["back"]);
        assert!(client.status().not_resubscribed.is_empty());

        // A refusal is visible, and the next connection tries again.
        bench.server.script(|script| script.reject_filters = Some(ReasonCode::UNSPECIFIED_ERROR));
        bench.server.cut();
        bench.settle();
        bench.advance(Duration::from_secs(60));
        assert_eq!(client.status().not_resubscribed.len(), 19);
        bench.server.script(|script| script.reject_filters = None);
        bench.server.cut();
        bench.settle();
        bench.advance(Duration::from_secs(60));
        assert_eq!(client.status().not_resubscribed.len(), 0);
    }
}

#[test]
fn what_is_unsubscribed_from_offline_is_not_subscribed_anew() {
    for version in VERSIONS {
        let mut bench = Bench::connected(config(version));
        let client = bench.client().clone();
        for filter in ["a", "b"] {
            bench.done(client.subscribe(filter, QoS::AtLeastOnce).unwrap()).unwrap();
        }
        bench.server.cut();
        bench.settle();
        let unsubscribing = client.unsubscribe("a").unwrap();
        let subscribing = client.subscribe("c", QoS::AtLeastOnce).unwrap();
        bench.advance(Duration::from_secs(1));
        assert!(bench.done(unsubscribing).is_ok());
        assert!(bench.done(subscribing).is_ok());
        let seen = bench.server.seen();
        let count = |filter: &str| {
            let asks = |seen: &&Seen| matches!(seen, Seen::Subscribe(filters) if filters.iter().any(|it| it == filter));
            seen.iter().filter(asks).count()
        };
        assert_eq!(["a", "b", "c"].map(count), [1, 2, 1], "{seen:?}");
    }
}

#[test]
fn a_resumed_session_is_not_subscribed_anew() {
    for version in PRESENT {
        let mut bench = Bench::connected(lasting(version));
        let client = bench.client().clone();
        bench.done(client.subscribe("a", QoS::AtLeastOnce).unwrap()).unwrap();
        bench.server.cut();
        bench.settle();
        bench.advance(Duration::from_secs(1));
        assert_eq!(bench.server.count(|seen| matches!(seen, Seen::Connect { .. })), 2);
        assert_eq!(bench.server.count(|seen| matches!(seen, Seen::Subscribe(_))), 1);
    }
}

// class: 44
#[test]
fn disconnect_sends_what_was_accepted_then_says_so_and_closes() {
    for version in VERSIONS {
        // A narrow pipe: everything is written in many parts.
        let shape = Shape { capacity: 64, chunk: 5 };
        let mut bench = Bench::new(config(version), shape);
        bench.settle();
        let client = bench.client().clone();
        bench.server.script(|script| script.hold_acks = true);
        let tokens: Vec<_> = (0..50)
            .map(|number| client.publish("t", format!("{number}"), QoS::AtLeastOnce).unwrap())
            .collect();
        let closing = client.disconnect();
        let refused = client.publish("t", "late", QoS::AtMostOnce);
        assert!(matches!(refused, Err(PublishError::Closed(_))), "{refused:?}");
        assert!(bench.end().is_ok());
        assert_eq!(bench.server.count(|seen| matches!(seen, Seen::Publish { .. })), 50);
        let seen = bench.server.seen();
        let end = [Seen::Disconnect(ReasonCode::SUCCESS), Seen::Closed { politely: true }];
        assert!(seen.ends_with(&end), "{seen:?}");
        assert!(bench.done(closing).is_ok());
        // class: 43
        for token in tokens {
            let error = bench.done(token).unwrap_err();
            assert!(matches!(error, TokenError::Closed), "{error}");
        }
        assert_eq!(client.status().phase, Phase::Ended);
    }
}

// class: 44
#[test]
fn a_server_that_never_reads_is_not_waited_for() {
    let shape = Shape { capacity: 64, chunk: 64 };
    let mut bench = Bench::new(config(Version::V5), shape);
    bench.settle();
    let client = bench.client().clone();
    bench.server.script(|script| script.deaf = true);
    for _ in 0..50 {
        drop(client.publish("t", "much", QoS::AtMostOnce).unwrap());
    }
    bench.settle();
    let closing = client.disconnect();
    bench.settle();
    assert!(bench.result.is_none());
    bench.advance(Duration::from_secs(1));
    assert!(bench.end().is_ok());
    assert!(bench.done(closing).is_ok());
}

// class: 44
#[test]
fn what_the_server_still_sends_does_not_destroy_the_disconnect() {
    for version in VERSIONS {
        let mut bench = Bench::new(config(version), Shape { capacity: 200, chunk: 50 });
        bench.settle();
        let topic = TopicName::new("t").unwrap();
        for _ in 0..100 {
            let publish = Publish::new(topic.clone(), vec![0; 100]);
            bench.server.script(|script| script.push.push_back(publish));
        }
        drop(bench.client().disconnect());
        assert!(bench.end().is_ok());
        let seen = bench.server.seen();
        assert!(seen.contains(&Seen::Disconnect(ReasonCode::SUCCESS)), "{seen:?}");
    }
}

// class: 37
#[test]
fn the_timer_rules_the_expiry_of_messages() {
    for version in VERSIONS {
        let mut bench = Bench::new(config(version), Shape::default());
        bench.server.script(|script| script.greeting = Greeting::Nothing);
        bench.settle();
        let mut publish = Publish::new(TopicName::new("t").unwrap(), "old news");
        publish.properties.edit().message_expiry_interval = Some(10);
        let token = bench.client().send(publish).unwrap();
        bench.advance(Duration::from_secs(11));
        bench.server.script(|script| script.greeting = Greeting::Mqtt);
        bench.advance(Duration::from_secs(60));
        let error = bench.done(token).unwrap_err();
        assert!(matches!(error, TokenError::Failed(Failure::Expired)), "{error:?}");
    }
}

#[test]
fn a_message_without_expiry_reads_no_clock() {
    #[derive(Clone)]
    struct Counting(Manual, Arc<AtomicUsize>);

    impl Timer for Counting {
        fn now(&self) -> Instant {
            self.0.now()
        }

        fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
            self.0.poll_until(deadline, cx)
        }

        fn clock(&self) -> Clock {
            let timer = self.clone();
            Clock::new(move || {
                timer.1.fetch_add(1, Ordering::Relaxed);
                timer.now()
            })
        }
    }

    let timer = Counting(Manual::new(), Arc::default());
    let hang = std::future::pending::<std::io::Result<Pipe>>;
    let (client, _driver) = Client::with_timer(config(Version::V5), hang, timer.clone());
    let publish = Publish::new(TopicName::new("t").unwrap(), "");
    drop(client.send(publish.clone()).unwrap());
    assert_eq!(timer.1.load(Ordering::Relaxed), 0);
    let mut expires = publish;
    expires.properties.edit().message_expiry_interval = Some(1);
    drop(client.send(expires).unwrap());
    assert_eq!(timer.1.load(Ordering::Relaxed), 1);
}

#[test]
fn handles_and_driver_can_be_sent() {
    fn send<T: Send>() {}
    fn sync<T: Send + Sync + Clone>() {}
    fn unpin<T: Unpin>(_: &T) {}
    sync::<Client>();
    send::<(Messages, Message, Publishing)>();
    #[cfg(feature = "async-io")]
    send::<mqtt_async::Driver<mqtt_async::Tcp, mqtt_async::AsyncIoTimer>>();
    #[cfg(feature = "tokio")]
    send::<mqtt_async::Driver<mqtt_async::TokioTcp, mqtt_async::TokioTimer>>();
    // A future that is not `Unpin` makes no difference.
    let connector = || async { Err::<Pipe, _>(std::io::ErrorKind::Other.into()) };
    let (_client, driver) = Client::with_timer(config(Version::V5), connector, Manual::new());
    unpin(&driver);
}

#[test]
fn disconnect_waits_for_an_attempt_only_if_something_is_queued() {
    let mut bench = Bench::new(config(Version::V5), Shape::default());
    drop(bench.client().disconnect());
    assert!(bench.end().is_ok());
    assert!(bench.server.seen().is_empty());

    let mut bench = Bench::new(config(Version::V5), Shape::default());
    let client = bench.client.take().unwrap();
    drop(client.publish("t", "last words", QoS::AtMostOnce).unwrap());
    drop(client);
    assert!(bench.end().is_ok());
    assert_eq!(bench.server.count(|seen| matches!(seen, Seen::Publish { .. })), 1);
    assert_eq!(bench.server.count(|seen| matches!(seen, Seen::Disconnect(_))), 1);
}

#[test]
fn drain_waits_for_every_answer_over_a_reconnect() {
    for version in VERSIONS {
        let mut bench = Bench::connected(lasting(version));
        let client = bench.client().clone();
        bench.server.script(|script| script.hold_acks = true);
        let token = client.publish("t", "1", QoS::ExactlyOnce).unwrap();
        let mut closing = client.drain();
        bench.settle();
        assert!(bench.poll(&mut closing).is_pending());
        let refused = client.publish("t", "late", QoS::AtMostOnce);
        assert!(matches!(refused, Err(PublishError::Closed(_))));
        bench.server.cut();
        bench.settle();
        bench.server.script(|script| script.hold_acks = false);
        bench.advance(Duration::from_secs(1));
        assert!(bench.done(token).is_ok());
        assert!(bench.end().is_ok());
        assert!(bench.done(closing).is_ok());
        assert!(
            bench.server.seen().ends_with(&[
                Seen::Disconnect(ReasonCode::SUCCESS),
                Seen::Closed { politely: true }
            ])
        );
    }
}

#[test]
fn the_last_handle_disconnects_politely() {
    let mut bench = Bench::connected(config(Version::V5));
    let client = bench.client.take().unwrap();
    let messages = client.messages();
    let token = client.publish("t", "", QoS::AtLeastOnce).unwrap();
    drop(client.clone());
    drop(client);
    bench.settle();
    assert!(bench.result.is_none(), "a stream is a handle");
    drop(messages);
    assert!(bench.end().is_ok());
    assert!(bench.server.seen().contains(&Seen::Closed { politely: true }));
    assert!(bench.poll(&mut { token }).is_ready());
}

// class: 43
#[test]
fn when_the_driver_is_dropped_everything_resolves() {
    let mut bench = Bench::connected(config(Version::V5));
    let client = bench.client().clone();
    bench.server.script(|script| script.hold_acks = true);
    let mut token = client.publish("t", "", QoS::AtLeastOnce).unwrap();
    let mut messages = client.messages();
    assert!(bench.poll(&mut token).is_pending());
    assert!(bench.poll(&mut messages.next()).is_pending());
    bench.settle();
    bench.driver = None;
    assert!(matches!(bench.poll(&mut token), Poll::Ready(Err(TokenError::DriverGone))));
    assert!(matches!(bench.poll(&mut messages.next()), Poll::Ready(None)));
    for result in [bench.poll(&mut client.disconnect()), bench.poll(&mut client.ready())] {
        assert!(matches!(result, Poll::Ready(Err(TokenError::DriverGone))), "{result:?}");
    }
    assert!(matches!(bench.poll(&mut client.connected()), Poll::Ready(Err(_))));
    let refused = client.send(Publish::new(TopicName::new("t").unwrap(), ""));
    assert!(matches!(refused, Err(PublishError::Closed(_))));
    bench.settle();
    assert!(bench.server.seen().ends_with(&[Seen::Closed { politely: false }]));
}

#[test]
fn a_message_can_be_taken_back_before_it_is_sent() {
    let mut bench = Bench::new(config(Version::V5), Shape::default());
    let client = bench.client().clone();
    let token = client.publish("t", "mistake", QoS::AtLeastOnce).unwrap();
    assert_eq!(token.cancel().unwrap().payload, "mistake");
    let token = client.publish("t", "meant", QoS::AtLeastOnce).unwrap();
    bench.settle();
    assert_eq!(token.cancel(), None);
    assert_eq!(bench.server.count(|seen| matches!(seen, Seen::Publish { .. })), 1);
}

#[test]
fn a_full_client_hands_the_message_back_and_says_when_there_is_room() {
    let mut config = config(Version::V5);
    config.session.bounds.messages = 2;
    let mut bench = Bench::connected(config);
    let client = bench.client().clone();
    bench.server.script(|script| script.hold_acks = true);
    assert!(bench.poll(&mut client.ready()).is_ready());
    for _ in 0..2 {
        drop(client.publish("t", "", QoS::AtLeastOnce).unwrap());
    }
    let Err(PublishError::Full(back)) = client.publish("t", "third", QoS::AtLeastOnce) else {
        panic!("it took a third one");
    };
    assert_eq!(back.payload, "third");
    let mut ready = client.ready();
    bench.settle();
    assert!(bench.poll(&mut ready).is_pending());
    bench.server.script(|script| script.hold_acks = false);
    assert!(bench.done(ready).is_ok());
    assert!(bench.done(client.send(*back).unwrap()).is_ok());
}

#[test]
fn what_is_ready_goes_out_in_one_write() {
    let mut bench = Bench::connected(config(Version::V5));
    let client = bench.client().clone();
    let before = bench.server.seen().len();
    for _ in 0..20 {
        drop(client.publish("t", "x", QoS::AtMostOnce).unwrap());
    }
    drop(client.publish("t", vec![0; 10_000], QoS::AtMostOnce).unwrap());
    // The server end counts what the client end wrote.
    let writes = |bench: &Bench| bench.connections.lock().unwrap()[0].writes_and_flushes();
    let (writes_before, flushes_before) = writes(&bench);
    bench.settle();
    assert_eq!(bench.server.seen().len(), before + 21);
    let (writes_after, flushes_after) = writes(&bench);
    assert_eq!((writes_after - writes_before, flushes_after - flushes_before), (1, 1));
}

#[test]
fn says_how_it_stands() {
    let mut bench = Bench::new(config(Version::V5), Shape::default());
    let client = bench.client().clone();
    assert_eq!(client.status().phase, Phase::Connecting);
    let mut connected = client.connected();
    assert!(bench.poll(&mut connected).is_pending());
    assert!(!bench.done(connected).unwrap().resumed);
    assert_eq!(client.status().phase, Phase::Connected);
    bench.server.script(|script| script.greeting = Greeting::Nothing);
    bench.server.cut();
    bench.settle();
    bench.advance(Duration::from_secs(60));
    let status = client.status();
    assert!(status.failed_attempts >= 1, "{status:?}");
    assert!(status.connected.is_none());
}
