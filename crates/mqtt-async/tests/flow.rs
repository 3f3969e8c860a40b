//! Inbound messages: when they are acknowledged, what bounds them, and what a slow consumer does.

mod common;

use std::time::Duration;

use common::bench::{Bench, VERSIONS, config, lasting};
use common::pipe::Shape;
use common::server::Seen;
use mqtt_async::{Phase, Publish, QoS, ReasonCode, TopicName, Version};

fn push(bench: &Bench, payload: impl ToString, qos: QoS) {
    let topic = TopicName::new("t").unwrap();
    let publish = Publish::new(topic, payload.to_string()).qos(qos);
    bench.server.script(|script| script.push.push_back(publish));
}

fn acked(bench: &Bench) -> usize {
    bench.server.count(|seen| matches!(seen, Seen::Acked(_)))
}

// class: 19
#[test]
fn acknowledged_only_when_taken() {
    for version in VERSIONS {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut bench = Bench::connected(config(version));
            for number in 0..3 {
                push(&bench, number, qos);
            }
            bench.settle();
            // Nobody has asked for messages: they are held.
            assert_eq!((acked(&bench), bench.client().status().inbound), (0, 3));
            let mut messages = bench.client().messages();
            assert!(messages.try_next().is_some());
            bench.settle();
            assert_eq!(acked(&bench), 1);
            // class: 40: dropped before it resolves, `next` takes nothing.
            drop(messages.next());
            bench.settle();
            assert_eq!(acked(&bench), 1);
            assert_eq!(bench.messages(&mut messages), ["1", "2"]);
            assert_eq!(acked(&bench), 3);
        }
    }
}

#[test]
fn manual_acknowledgement_is_up_to_the_application() {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut config = lasting(Version::V5);
        config.manual_ack = true;
        let mut bench = Bench::connected(config);
        let mut messages = bench.client().messages();
        for number in 0..4 {
            push(&bench, number, qos);
        }
        bench.settle();
        let [first, second, third, fourth] = [(); 4].map(|()| messages.try_next().unwrap());
        bench.settle();
        assert_eq!(acked(&bench), 0);
        // The second waits for the first: MQTT-4.6.0-2.
        second.reject(ReasonCode::QUOTA_EXCEEDED);
        bench.settle();
        assert_eq!(acked(&bench), 0);
        first.ack();
        bench.settle();
        let seen = bench.server.seen();
        let expected = [Seen::Acked(ReasonCode::SUCCESS), Seen::Acked(ReasonCode::QUOTA_EXCEEDED)];
        let is_acked = |seen: &&Seen| matches!(seen, Seen::Acked(_));
        let mut answers: Vec<_> = seen.iter().filter(is_acked).cloned().collect();
        answers.sort_by_key(|seen| *seen != expected[0]);
        assert_eq!(answers, expected);
        // Dropped unacknowledged: it comes again with the next connection, if it is of QoS 1.
        drop(third);
        fourth.ack();
        bench.settle();
        assert_eq!(acked(&bench), 2);
        bench.server.cut();
        bench.settle();
        bench.advance(Duration::from_secs(1));
        let again = messages.try_next();
        assert_eq!(again.is_some(), qos == QoS::AtLeastOnce);
        if let Some(again) = again {
            assert!(again.dup());
            assert_eq!(again.payload(), "2");
            again.ack();
        }
    }
}

// class: 42
#[test]
fn at_the_bound_qos0_is_dropped_and_counted_and_receive_maximum_stops_the_rest() {
    let mut config = config(Version::V5);
    config.inbound.messages = 4;
    let mut bench = Bench::connected(config);
    for number in 0..20 {
        push(&bench, format!("0-{number}"), QoS::AtMostOnce);
    }
    for number in 0..20 {
        push(&bench, format!("1-{number}"), QoS::AtLeastOnce);
    }
    bench.settle();
    let status = bench.client().status();
    assert_eq!((status.inbound, status.lagged), (8, 16), "{status:?}");
    assert_eq!(status.phase, Phase::Connected);
    let mut messages = bench.client().messages();
    let got = bench.messages(&mut messages);
    let qos1: Vec<_> = got.iter().filter(|payload| payload.starts_with("1-")).collect();
    let expected: Vec<_> = (0..20).map(|number| format!("1-{number}")).collect();
    assert_eq!(qos1, expected.iter().collect::<Vec<_>>(), "none lost, in order");
}

// class: 42
#[test]
fn a_consumer_that_sleeps_keeps_its_connection_and_loses_nothing() {
    for version in VERSIONS {
        let mut config = config(version);
        config.inbound.messages = 2;
        config.session.connect.keep_alive = 10;
        // A narrow pipe: most of what the server sends does not even fit into it.
        let mut bench = Bench::new(config, Shape { capacity: 100, chunk: 30 });
        bench.settle();
        for number in 0..300 {
            push(&bench, number, QoS::AtLeastOnce);
        }
        bench.settle();
        let held = bench.client().status().inbound;
        // One block beyond the bound in MQTT 3.1.1, which has no Receive Maximum.
        assert!(held <= 10, "{version}: {held}");
        for _ in 0..40 {
            bench.advance(Duration::from_secs(1));
        }
        let status = bench.client().status();
        assert_eq!((status.phase, status.connections), (Phase::Connected, 1), "{status:?}");
        assert!(status.inbound <= 40, "{version}: {}", status.inbound);
        let mut messages = bench.client().messages();
        let expected: Vec<_> = (0..300).map(|number| number.to_string()).collect();
        assert_eq!(bench.messages(&mut messages), expected);
        bench.settle();
        assert_eq!(acked(&bench), 300);
    }
}

#[test]
fn unacknowledged_messages_do_not_pile_up_over_reconnects() {
    for version in VERSIONS {
        let mut bench = Bench::connected(lasting(version));
        for number in 0..10 {
            push(&bench, number, QoS::AtLeastOnce);
        }
        for _ in 0..5 {
            bench.settle();
            assert_eq!(bench.client().status().inbound, 10);
            bench.server.cut();
            bench.settle();
            bench.advance(Duration::from_secs(60));
        }
        let mut messages = bench.client().messages();
        assert_eq!(bench.messages(&mut messages).len(), 10);
    }
}

// CONNACK of MQTT 3.1 does not tell whether the server has the session: messages with DUP do.
#[test]
fn where_nobody_tells_of_a_lost_session_what_waits_is_kept_until_it_comes_again() {
    for forget in [true, false] {
        let mut bench = Bench::connected(lasting(Version::V31));
        for number in 0..3 {
            push(&bench, number, QoS::AtLeastOnce);
        }
        bench.settle();
        bench.server.script(|script| script.forget = forget);
        bench.server.cut();
        bench.settle();
        push(&bench, 3, QoS::AtLeastOnce);
        bench.advance(Duration::from_secs(60));
        assert_eq!(bench.client().status().inbound, 4, "forget: {forget}");
        let mut messages = bench.client().messages();
        assert_eq!(bench.messages(&mut messages), ["0", "1", "2", "3"]);
        assert_eq!(acked(&bench), if forget { 1 } else { 4 });
    }
}

#[test]
fn what_comes_again_stands_where_it_stood() {
    // When the first has come again, the others have not: they are taken, as they are, behind it.
    let mut bench = Bench::new(lasting(Version::V31), Shape { capacity: 100, chunk: 10 });
    bench.settle();
    let mut messages = bench.client().messages();
    for number in 0..3u8 {
        push(&bench, number.to_string().repeat(400), QoS::AtLeastOnce);
    }
    bench.settle();
    bench.server.cut();
    bench.settle();
    bench.clock.advance(Duration::from_secs(60));
    let bytes = bench.client().stats().bytes_in;
    // CONNACK has 4 bytes, and the message 408.
    while bench.client().stats().bytes_in < bytes + 412 {
        bench.step();
    }
    let mut got = Vec::new();
    while let Some(message) = messages.try_next() {
        got.push(message.payload_bytes()[0]);
    }
    assert_eq!(got, *b"012");
}

// class: 41
#[test]
fn receiving_and_publishing_in_one_task_with_room_for_one_does_not_deadlock() {
    for version in VERSIONS {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut config = config(version);
            config.inbound.messages = 1;
            config.session.bounds.messages = 1;
            config.session.max_in_flight = 1;
            let mut bench = Bench::new(config, Shape { capacity: 16, chunk: 3 });
            bench.settle();
            let client = bench.client().clone();
            let mut messages = client.messages();
            for number in 0..100 {
                push(&bench, number, qos);
            }
            let answer = async {
                for number in 0..100 {
                    let message = messages.next().await.unwrap();
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
            };
            let mut answer = Box::pin(answer);
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

#[test]
fn a_small_message_does_not_keep_its_block() {
    let mut bench = Bench::connected(config(Version::V5));
    let mut messages = bench.client().messages();
    for size in [10, 900] {
        push(&bench, "x".repeat(size), QoS::AtMostOnce);
        push(&bench, "y".repeat(size), QoS::AtMostOnce);
    }
    bench.settle();
    for size in [10, 900] {
        let payload = messages.try_next().unwrap().payload();
        let neighbour = messages.try_next().unwrap();
        assert_eq!(payload.len(), size);
        // A payload that is alone in its memory can be taken back as bytes that may be written to.
        assert!(payload.try_into_mut().is_ok(), "{size}");
        drop(neighbour);
    }
}

#[test]
fn a_header_that_announces_much_reserves_little() {
    let mut bench = Bench::connected(config(Version::V5));
    bench.server.script(|script| script.raw = Some(vec![0x30, 0xF0, 0xFF, 0x3F, 0, 1]));
    bench.settle();
    // Within the limit of 1 MiB: the rest is waited for. Beyond it: a fault of the server.
    assert_eq!(bench.client().status().phase, Phase::Connected);
    bench.server.script(|script| script.raw = None);
    let mut bench = Bench::connected(config(Version::V5));
    bench.server.script(|script| script.raw = Some(vec![0x30, 0xFF, 0xFF, 0xFF, 0x7F, 0, 1]));
    bench.settle();
    let error = bench.client().status().last_error.unwrap();
    assert!(error.to_string().contains("Maximum Packet Size"), "{error}");
    assert!(bench.server.seen().contains(&Seen::Disconnect(ReasonCode::PACKET_TOO_LARGE)));
}
