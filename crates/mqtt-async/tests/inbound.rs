//! Inbound flow on every version: streams with bounds and policies of their own side by side, consumers that
//! sleep, and a task that receives and publishes where there is room for one of everything.

mod common;

use std::time::Duration;

use common::bench::{Bench, VERSIONS, config, lasting};
use common::pipe::Shape;
use common::server::Seen;
use common::streams::{acked, all, bounds, listen_with, push, reconnect, subscribed, unsubscribed};
use mqtt_async::{Overflow, Phase, QoS, Version};

const NARROW: Shape = Shape { capacity: 100, chunk: 30 };

fn numbers(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    numbers.into_iter().map(|number| number.to_string()).collect()
}

// class: 42
#[test]
fn streams_with_bounds_and_policies_of_their_own_have_the_same_messages() {
    for version in VERSIONS {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut bench = Bench::connected(config(version));
            let mut oldest = listen_with(&mut bench, "t/#", bounds(2, Overflow::DropOldest));
            let mut newest = listen_with(&mut bench, "t/+", bounds(3, Overflow::DropNewest));
            let mut latest = listen_with(&mut bench, "+/+", bounds(9, Overflow::LatestPerTopic));
            let mut few = bounds(100, Overflow::DropOldest);
            // A message takes 13 bytes at most, with a Packet Identifier and the properties.
            few.bytes = 39;
            let mut few = listen_with(&mut bench, "#", few);
            // This one has all, and is what holds the acknowledgements back.
            let mut every = listen_with(&mut bench, "t/0/#", bounds(100, Overflow::Block));
            let mut block = listen_with(&mut bench, "t/+/#", bounds(100, Overflow::Block));
            for number in 0..10 {
                push(&bench, &format!("t/{}", number % 2), number, qos);
            }
            bench.settle();
            if qos != QoS::AtMostOnce {
                assert_eq!(acked(&bench), 0, "{version} {qos}: one has them all");
            }
            let lagged = [&oldest, &newest, &latest, &every, &block].map(|it| it.lagged());
            assert_eq!(lagged, [8, 7, 8, 0, 0], "{version} {qos}");
            let all_lagged = lagged.iter().sum::<u64>() + few.lagged();
            assert_eq!(bench.client().status().lagged, all_lagged);
            assert_eq!(bench.client().stats().lagged, all_lagged);
            assert_eq!(all(&mut bench, &mut oldest), ["8", "9"]);
            assert_eq!(all(&mut bench, &mut newest), ["0", "1", "2"]);
            assert_eq!(all(&mut bench, &mut latest), ["8", "9"]);
            let got = all(&mut bench, &mut few);
            assert_eq!(got, numbers(10 - got.len()..10));
            assert!((3..=6).contains(&got.len()) && few.lagged() == 10 - got.len() as u64);
            assert_eq!(all(&mut bench, &mut every), numbers([0, 2, 4, 6, 8]));
            if qos != QoS::AtMostOnce {
                assert_eq!(acked(&bench), 0);
            }
            assert_eq!(all(&mut bench, &mut block), numbers(0..10));
            assert_eq!(acked(&bench), 10, "each once: {version} {qos}");
        }
    }
}

#[test]
fn a_bound_in_bytes_blocks_as_well() {
    for version in VERSIONS {
        for stream in [false, true] {
            let mut inbound = bounds(1000, Overflow::Block);
            inbound.bytes = 5000;
            let mut config = config(version);
            config.inbound = inbound;
            if version == Version::V5 {
                config.session.connect.receive_maximum = Some(100);
            }
            let mut bench = Bench::new(config, NARROW);
            bench.settle();
            let mut listener = stream.then(|| listen_with(&mut bench, "t", inbound));
            for number in 0..60 {
                let payload = format!("{number:02}").repeat(500);
                push(&bench, "t", payload, QoS::AtLeastOnce);
            }
            bench.settle();
            // Five fit; then one more, and what was read with it.
            let held = bench.client().status().inbound;
            assert!((5..=12).contains(&held), "{version}: {held}");
            let mut messages = bench.client().messages();
            let got = match &mut listener {
                Some(listener) => all(&mut bench, listener),
                None => bench.messages(&mut messages),
            };
            let got: Vec<_> = got.iter().map(|payload| payload[..2].to_owned()).collect();
            let expected: Vec<_> = (0..60).map(|number| format!("{number:02}")).collect();
            assert_eq!(got, expected, "{version}");
            assert_eq!(acked(&bench), 60);
        }
    }
}

// class: 41
#[test]
fn while_a_consumer_sleeps_the_rest_of_the_connection_is_awake() {
    for version in VERSIONS {
        for (stream, manual) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut config = config(version);
            (config.inbound.messages, config.manual_ack) = (2, manual);
            config.session.connect.keep_alive = 10;
            if version == Version::V5 {
                config.session.connect.receive_maximum = Some(2);
            }
            let mut bench = Bench::new(config, NARROW);
            bench.settle();
            let asleep = bounds(2, Overflow::Block);
            let mut sleeper = stream.then(|| listen_with(&mut bench, "t/1", asleep));
            let mut other = listen_with(&mut bench, "t/0", bounds(2, Overflow::DropOldest));
            for number in 0..100 {
                let qos = if number % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
                push(&bench, "t/1", number, qos);
            }
            bench.settle();
            // Three periods and more: what this side sends has its answers, and so has a ping.
            let mut published = 0;
            for second in 0..40 {
                bench.advance(Duration::from_secs(1));
                if second % 7 == 0 {
                    let token = bench.client().publish("out", "x", QoS::ExactlyOnce).unwrap();
                    bench.done(token).unwrap();
                    published += 1;
                }
            }
            let status = bench.client().status();
            assert_eq!((status.phase, status.connections), (Phase::Connected, 1), "{status:?}");
            assert_eq!(acked(&bench), 0, "{version}: nobody has taken anything");
            let arrived = bench.server.count(|seen| matches!(seen, Seen::Publish { .. }));
            assert_eq!(arrived, published);
            // It wakes up, and has all of them.
            let mut messages = bench.client().messages();
            let mut got = Vec::new();
            while let Some(message) = match &mut sleeper {
                Some(sleeper) => sleeper.try_next(),
                None => messages.try_next(),
            } {
                got.push(String::from_utf8(message.payload().to_vec()).unwrap());
                if manual {
                    message.ack();
                }
                bench.settle();
            }
            // Those of QoS 1 and 2 are acknowledged each in their own order.
            assert_eq!(got, numbers(0..100), "{version} {stream} {manual}");
            assert_eq!((acked(&bench), bench.client().status().lagged), (100, 0));
            assert!(other.try_next().is_none());
        }
    }
}

#[test]
fn what_a_resumed_session_brings_before_there_is_a_stream_is_held_within_bounds() {
    for version in VERSIONS {
        let mut first = Bench::connected(lasting(version));
        drop(first.client().subscribe("t", QoS::ExactlyOnce).unwrap());
        first.settle();
        drop(first.client().disconnect());
        first.end().unwrap();
        // The program is gone, and the server has something for it.
        let server = first.server.clone();
        for number in 0..50 {
            let qos = if number % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            push(&first, "t", number, qos);
        }
        let mut config = lasting(version);
        config.inbound.messages = 5;
        let made = Bench::with(server, NARROW, |connector, clock| {
            let (client, driver) = mqtt_async::Client::with_timer(config, connector, clock);
            Ok::<_, std::convert::Infallible>((client, driver, ()))
        });
        let Ok((mut bench, ())) = made;
        bench.settle();
        let status = bench.client().status();
        assert_eq!(status.connected.unwrap().resumed, version != Version::V31);
        let held = status.inbound;
        assert!((5..=20).contains(&held), "{version}: {held}");
        assert_eq!((acked(&bench), status.lagged), (0, 0));
        // There is a stream now. What came before is not for it, and is not lost.
        let mut stream = bench.client().listen("t", QoS::ExactlyOnce).unwrap();
        let mut messages = bench.client().messages();
        let mut got = bench.messages(&mut messages);
        assert!(got.len() >= held);
        got.extend(all(&mut bench, &mut stream));
        assert_eq!(got, numbers(0..50), "{version}");
        bench.settle();
        assert_eq!(acked(&bench), 50);
    }
}

// class: 17
#[test]
fn what_has_come_in_outlives_the_session_that_it_came_with() {
    for version in VERSIONS {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut bench = Bench::connected(lasting(version));
            let mut stream = listen_with(&mut bench, "a", bounds(9, Overflow::Block));
            for number in 0..3 {
                push(&bench, "a", number, qos);
                push(&bench, "b", number, qos);
            }
            bench.settle();
            // Nobody will send them again.
            bench.server.script(|script| script.forget = true);
            reconnect(&mut bench);
            let mut messages = bench.client().messages();
            assert_eq!(all(&mut bench, &mut stream), ["0", "1", "2"], "{version} {qos}");
            assert_eq!(bench.messages(&mut messages), ["0", "1", "2"], "{version} {qos}");
            assert_eq!(acked(&bench), 0, "there is nobody to be told");
        }
    }
}

// class: 41
#[test]
fn with_room_for_one_of_everything_a_flood_comes_to_an_end() {
    for version in VERSIONS {
        for (stream, manual) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut config = config(version);
            (config.inbound.messages, config.manual_ack) = (1, manual);
            config.session.bounds.messages = 1;
            config.session.max_in_flight = 1;
            if version == Version::V5 {
                config.session.connect.receive_maximum = Some(1);
            }
            let mut bench = Bench::new(config, Shape { capacity: 16, chunk: 3 });
            bench.server.script(|script| {
                script.connack.receive_maximum = match version {
                    Version::V5 => Some(1),
                    _ => None,
                }
            });
            bench.settle();
            let client = bench.client().clone();
            let one = bounds(1, Overflow::Block);
            let mut listener = stream.then(|| listen_with(&mut bench, "t", one));
            for number in 0..150 {
                let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][number % 3];
                push(&bench, "t", number, qos);
            }
            let mut messages = client.messages();
            let mut task = Box::pin(async {
                let mut got = Vec::new();
                loop {
                    let message = match &mut listener {
                        Some(listener) => listener.next().await.unwrap(),
                        None => messages.next().await.unwrap(),
                    };
                    let number = String::from_utf8(message.payload().to_vec()).unwrap();
                    // The answer is on its way, or has come, before the message is acknowledged.
                    for qos in [QoS::AtMostOnce, QoS::ExactlyOnce, QoS::AtLeastOnce] {
                        let payload = number.clone();
                        let token = client.publish_wait("out", payload, qos).await.unwrap();
                        if qos == QoS::AtLeastOnce {
                            token.await.unwrap();
                        }
                    }
                    let last = number == "149";
                    if message.qos() != QoS::AtMostOnce {
                        got.push(number);
                    }
                    if manual {
                        message.ack();
                    }
                    if last {
                        break got;
                    }
                }
            });
            let mut rounds = 0;
            let got = loop {
                if let std::task::Poll::Ready(got) = bench.poll(&mut task) {
                    break got;
                }
                bench.settle();
                rounds += 1;
                assert!(rounds < 20_000, "no progress: {:?}", client.status());
            };
            drop(task);
            assert_eq!(got, numbers((0..150).filter(|number| number % 3 > 0)), "{version}");
            bench.settle();
            let taken = got.len() + (150 - got.len() - bench.client().status().lagged as usize);
            let arrived = bench.server.count(|seen| matches!(seen, Seen::Publish { .. }));
            assert_eq!(arrived, 3 * taken);
            assert_eq!((client.stats().queued, client.stats().in_flight), (0, 0));
        }
    }
}

#[test]
fn a_filter_of_two_streams_is_one_subscription_on_every_version() {
    for version in VERSIONS {
        let mut bench = Bench::connected(config(version));
        let mut one = listen_with(&mut bench, "t", bounds(5, Overflow::Block));
        let mut two = listen_with(&mut bench, "t", bounds(1, Overflow::DropOldest));
        assert_eq!(subscribed(&bench, "t"), 1);
        for number in 0..3 {
            push(&bench, "t", number, QoS::ExactlyOnce);
        }
        assert_eq!(all(&mut bench, &mut two), ["2"]);
        assert_eq!(acked(&bench), 0);
        assert_eq!(all(&mut bench, &mut one), ["0", "1", "2"]);
        assert_eq!((acked(&bench), two.lagged()), (3, 2));
        drop(one);
        bench.settle();
        assert_eq!(unsubscribed(&bench, "t"), 0);
        push(&bench, "t", "still", QoS::ExactlyOnce);
        assert_eq!(all(&mut bench, &mut two), ["still"]);
        drop(two);
        bench.settle();
        assert_eq!(unsubscribed(&bench, "t"), 1);
    }
}
