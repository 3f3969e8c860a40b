//! Streams at their bounds, and what a slow consumer does.

mod common;

use std::time::Duration;

use common::bench::{Bench, VERSIONS, config, lasting};
use common::pipe::Shape;
use common::server::Seen;
use common::streams::{acked, all, bounds, listen_with, push, reconnect};
use mqtt_async::{Overflow, Phase, QoS, Version};

#[test]
fn each_policy_at_its_bound() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let cases: [(Overflow, &[&str]); 4] = [
            (Overflow::DropOldest, &["3", "4", "5"]),
            (Overflow::DropNewest, &["0", "1", "2"]),
            // The topics are t/0, t/1, t/0, …: a message takes the place of the one that waits.
            (Overflow::LatestPerTopic, &["4", "5"]),
            (Overflow::Block, &["0", "1", "2"]),
        ];
        for (overflow, expected) in cases {
            let mut bench = Bench::connected(config(Version::V5));
            let mut stream = listen_with(&mut bench, "t/+", bounds(3, overflow));
            for number in 0..6 {
                push(&bench, &format!("t/{}", number % 2), number, qos);
            }
            bench.settle();
            let acknowledges = qos != QoS::AtMostOnce;
            if overflow == Overflow::Block && acknowledges {
                assert_eq!((acked(&bench), stream.lagged()), (0, 0));
                assert_eq!(all(&mut bench, &mut stream), ["0", "1", "2", "3", "4", "5"]);
                assert_eq!((acked(&bench), stream.lagged()), (6, 0));
                continue;
            }
            let dropped = 6 - expected.len();
            assert_eq!(stream.lagged(), dropped as u64, "{overflow:?} {qos}");
            assert_eq!(bench.client().status().lagged, dropped as u64);
            // What is dropped is acknowledged as it is dropped, behind what came before and waits.
            let expected_acks = match overflow {
                _ if !acknowledges => 6,
                Overflow::DropNewest => 0,
                _ => dropped,
            };
            assert_eq!(acked(&bench), expected_acks, "{overflow:?} {qos}");
            assert_eq!(all(&mut bench, &mut stream), expected, "{overflow:?} {qos}");
            assert_eq!(acked(&bench), 6);
            drop(stream);
            assert_eq!(bench.client().status().lagged, dropped as u64, "it is not forgotten");
        }
    }
}

#[test]
fn a_bound_in_bytes_counts_as_well_and_one_message_is_always_taken() {
    for (overflow, expected) in [
        (Overflow::DropOldest, ["3", "4"]),
        (Overflow::DropNewest, ["0", "1"]),
        (Overflow::LatestPerTopic, ["3", "4"]),
    ] {
        let mut bench = Bench::connected(config(Version::V5));
        let mut bounds = bounds(100, overflow);
        // A message takes 7 + 200 bytes and more.
        bounds.bytes = 450;
        let mut stream = listen_with(&mut bench, "t/+", bounds);
        for number in 0..5 {
            let payload = number.to_string().repeat(200);
            push(&bench, &format!("t/{number}"), payload, QoS::AtLeastOnce);
        }
        let got = all(&mut bench, &mut stream);
        let got: Vec<_> = got.iter().map(|payload| &payload[..1]).collect();
        assert_eq!(got, expected, "{overflow:?}");
        push(&bench, "t/0", "x".repeat(1000), QoS::AtLeastOnce);
        assert_eq!(all(&mut bench, &mut stream).len(), 1);
    }
}

#[test]
fn the_latest_of_each_topic_survives_reconnects_and_turns() {
    let mut bench = Bench::connected(lasting(Version::V5));
    let mut stream = listen_with(&mut bench, "t/+", bounds(2, Overflow::LatestPerTopic));
    push(&bench, "t/1", "1", QoS::ExactlyOnce);
    push(&bench, "t/2", "lost with the connection", QoS::AtMostOnce);
    push(&bench, "t/2", "2", QoS::AtLeastOnce);
    bench.settle();
    reconnect(&mut bench);
    // The message of QoS 1 has come again, and is there once.
    push(&bench, "t/1", "3", QoS::AtMostOnce);
    assert_eq!(all(&mut bench, &mut stream), ["3", "2"]);
    for number in 0..100 {
        push(&bench, &format!("t/{}", number % 3), number, QoS::AtMostOnce);
    }
    assert_eq!(all(&mut bench, &mut stream), ["98", "99"]);
    // What comes again comes behind what has stayed.
    push(&bench, "t/1", "1", QoS::AtLeastOnce);
    push(&bench, "t/2", "2", QoS::ExactlyOnce);
    bench.settle();
    reconnect(&mut bench);
    assert_eq!(all(&mut bench, &mut stream), ["2", "1"]);
}

#[test]
fn messages_has_a_policy_as_well() {
    let mut config = config(Version::V5);
    config.inbound = bounds(2, Overflow::DropOldest);
    let mut bench = Bench::connected(config);
    for number in 0..9 {
        push(&bench, "t", number, QoS::AtLeastOnce);
    }
    let mut messages = bench.client().messages();
    assert_eq!(bench.messages(&mut messages), ["7", "8"]);
    assert_eq!((acked(&bench), bench.client().status().lagged), (9, 7));
}

#[test]
fn a_stream_that_sleeps_keeps_the_connection_and_loses_nothing() {
    for version in VERSIONS {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut config = config(version);
            config.session.connect.keep_alive = 10;
            let mut bench = Bench::new(config, Shape { capacity: 100, chunk: 30 });
            bench.settle();
            let mut stream = listen_with(&mut bench, "t", bounds(2, Overflow::Block));
            for number in 0..300 {
                push(&bench, "t", number, qos);
            }
            bench.settle();
            let held = bench.client().status().inbound;
            assert!(held <= 10, "{version}: {held}");
            for _ in 0..40 {
                bench.advance(Duration::from_secs(1));
            }
            let status = bench.client().status();
            assert_eq!((status.phase, status.connections), (Phase::Connected, 1), "{status:?}");
            assert!(status.inbound <= 40, "{version}: {}", status.inbound);
            let expected: Vec<_> = (0..300).map(|number| number.to_string()).collect();
            assert_eq!(all(&mut bench, &mut stream), expected);
            assert_eq!((acked(&bench), stream.lagged()), (300, 0));
        }
    }
}

#[test]
fn receiving_on_two_streams_and_publishing_in_one_task_does_not_deadlock() {
    for version in VERSIONS {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut config = config(version);
            config.inbound.messages = 1;
            config.session.bounds.messages = 1;
            config.session.max_in_flight = 1;
            let mut bench = Bench::new(config, Shape { capacity: 16, chunk: 3 });
            bench.settle();
            let one = bounds(1, Overflow::Block);
            let mut odd = listen_with(&mut bench, "t/1", one);
            let mut even = listen_with(&mut bench, "t/0", one);
            let client = bench.client().clone();
            for number in 0..100 {
                push(&bench, &format!("t/{}", number % 2), number, qos);
            }
            let mut answer = Box::pin(async {
                for number in 0..100 {
                    let stream = if number % 2 == 0 { &mut even } else { &mut odd };
                    let message = stream.next().await.unwrap();
                    assert_eq!(message.payload(), number.to_string());
                    let mut publish = message.to_publish().unwrap();
                    loop {
                        match client.send(publish) {
                            Ok(token) => break token.await.map(drop).unwrap(),
                            Err(error) => publish = error.into_publish().unwrap(),
                        }
                        client.ready().await.unwrap();
                    }
                }
            });
            bench.server.script(|script| script.silent = true);
            let mut rounds = 0;
            while bench.poll(&mut answer).is_pending() {
                bench.settle();
                rounds += 1;
                assert!(rounds < 10_000, "no progress: {:?}", client.status());
            }
            let published = bench.server.count(|seen| matches!(seen, Seen::Publish { .. }));
            assert_eq!(published, 100);
        }
    }
}

// Whoever takes messages runs in turn with the driver: as long as it takes them all, none is dropped,
// however much lies in the transport, and however small they are.
#[test]
fn a_burst_at_qos_0_is_no_more_at_once_than_a_stream_takes() {
    for size in [0, 10, 70, 300] {
        let shape = Shape { capacity: 4 * 1024 * 1024, chunk: usize::MAX };
        let mut bench = Bench::new(config(Version::V5), shape);
        bench.settle();
        let mut stream = bench.client().listen("t", QoS::AtMostOnce).unwrap();
        bench.settle();
        for _ in 0..15_000 {
            push(&bench, "t", "x".repeat(size), QoS::AtMostOnce);
        }
        bench.poll_server();
        let mut came = 0;
        let mut more = true;
        while more {
            more = bench.turn();
            while stream.try_next().is_some() {
                came += 1;
            }
        }
        assert_eq!((came, stream.lagged()), (15_000, 0), "{size}");
    }
}
