//! What becomes of messages that cannot be sent at once: bounds, policies, offline classes.

mod common;

use std::task::Poll;
use std::time::Duration;

use common::bench::{Bench, VERSIONS, config, lasting};
use common::pipe::Shape;
use common::server::Seen;
use mqtt_async::{
    Config, Dropped, Offline, OutboundOverflow as Overflow, Phase, PublishError, Publishing, QoS,
    TokenError, Version,
};

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

fn bounded(version: Version, overflow: Overflow, messages: usize, bytes: usize) -> Config {
    let mut config = lasting(version);
    config.session.bounds.messages = messages;
    config.session.bounds.bytes = bytes;
    config.outbound.overflow = overflow;
    config
}

/// What the server has got, each once.
fn arrived(bench: &Bench) -> Vec<String> {
    let payload = |seen: Seen| match seen {
        Seen::Publish { payload, dup: false, .. } => Some(String::from_utf8(payload).unwrap()),
        _ => None,
    };
    bench.server.seen().into_iter().filter_map(payload).collect()
}

fn reason(bench: &mut Bench, token: Publishing) -> Option<Dropped> {
    match bench.done(token) {
        Ok(_) => None,
        Err(TokenError::Dropped(dropped)) => Some(dropped),
        Err(error) => panic!("{error}"),
    }
}

// class: 42, 43
#[test]
fn each_policy_at_each_bound() {
    for qos in QOS {
        // Each message has 4 bytes: t/0 or t/1, and a digit.
        for (messages, bytes) in [(3, 1000), (1000, 12)] {
            let cases: [(Overflow, &[&str], Option<Dropped>); 4] = [
                (Overflow::Reject, &["0", "1", "2"], None),
                (Overflow::DropOldest, &["3", "4", "5"], Some(Dropped::Oldest)),
                (Overflow::DropNewest, &["0", "1", "2"], Some(Dropped::Newest)),
                (Overflow::LatestPerTopic, &["4", "5"], Some(Dropped::Replaced)),
            ];
            for (overflow, expected, dropped) in cases {
                let config = bounded(Version::V5, overflow, messages, bytes);
                let mut bench = Bench::new(config, Shape::default());
                let mut tokens = Vec::new();
                for number in 0..6 {
                    let topic = format!("t/{}", number % 2);
                    match bench.client().publish(topic, number.to_string(), qos) {
                        Ok(token) => tokens.push((number.to_string(), token)),
                        Err(PublishError::Full(publish)) if overflow == Overflow::Reject => {
                            assert!(number >= 3 && publish.payload == number.to_string());
                        }
                        Err(error) => panic!("{overflow:?} {qos}: {error}"),
                    }
                }
                let stats = bench.client().stats();
                assert_eq!(stats.queued, expected.len(), "{overflow:?} {qos}");
                assert_eq!(stats.dropped.total(), (tokens.len() - expected.len()) as u64);
                let dropped_tokens = tokens.len() - expected.len();
                let mut told = 0;
                for (payload, mut token) in tokens {
                    if expected.contains(&payload.as_str()) {
                        assert!(bench.poll(&mut token).is_pending());
                        drop(token);
                        continue;
                    }
                    let Poll::Ready(Err(TokenError::Dropped(reason))) = bench.poll(&mut token)
                    else {
                        panic!("{overflow:?} {payload}");
                    };
                    assert_eq!(Some(reason), dropped);
                    told += 1;
                }
                assert_eq!(told, dropped_tokens);
                bench.settle();
                assert_eq!(arrived(&bench), expected, "{overflow:?} {qos} {messages}");
            }
        }
    }
}

#[test]
fn drops_are_counted_by_their_reason_and_reported() {
    let mut config = bounded(Version::V5, Overflow::LatestPerTopic, 2, 1000);
    config.outbound.offline = Offline::Acknowledged;
    let mut bench = Bench::new(config, Shape::default());
    let publish = |topic| bench.client().publish(topic, "x", QoS::AtLeastOnce).unwrap();
    let tokens = ["a", "a", "b", "c"].map(publish);
    let reasons = tokens.map(|token| reason_now(&bench, token));
    assert_eq!(reasons, [Some(Dropped::Replaced), Some(Dropped::Oldest), None, None]);
    let report = bench.client().shutdown(Duration::ZERO);
    bench.end().unwrap();
    let report = bench.done(report);
    assert_eq!((report.dropped.replaced, report.dropped.oldest), (1, 1));
    assert_eq!(report.dropped.total(), 2);
    assert_eq!(report.unsent.len() + report.unacked + arrived(&bench).len(), 2);
}

fn reason_now(bench: &Bench, mut token: Publishing) -> Option<Dropped> {
    match bench.poll(&mut token) {
        Poll::Ready(Err(TokenError::Dropped(dropped))) => Some(dropped),
        Poll::Ready(other) => panic!("{other:?}"),
        Poll::Pending => None,
    }
}

// class: 18, 22
#[test]
fn what_was_sent_is_never_dropped_and_the_newest_always_waits() {
    for overflow in [Overflow::DropOldest, Overflow::LatestPerTopic] {
        for version in VERSIONS {
            let mut bench = Bench::connected(bounded(version, overflow, 2, 1000));
            bench.server.script(|script| script.hold_acks = true);
            // These two are sent, and fill the bound.
            let publish = |topic: &str, payload: &str| {
                bench.client().publish(topic, payload.to_owned(), QoS::AtLeastOnce).unwrap()
            };
            let sent = ["a", "b"].map(|topic| publish(topic, topic));
            bench.settle();
            assert_eq!(bench.client().stats().in_flight, 2);
            bench.server.cut();
            bench.settle();
            let publish = |topic: &str, payload: &str| {
                bench.client().publish(topic, payload.to_owned(), QoS::AtLeastOnce).unwrap()
            };
            let first = publish("a", "first");
            let last = publish("c", "last");
            assert_eq!(reason_now(&bench, first), Some(Dropped::Oldest));
            bench.server.script(|script| script.hold_acks = false);
            bench.advance(Duration::from_secs(60));
            for token in sent.into_iter().chain([last]) {
                assert_eq!(reason(&mut bench, token), None);
            }
            assert_eq!(arrived(&bench), ["a", "b", "last"]);
        }
    }
}

// class: 42
#[test]
fn a_server_that_does_not_answer_does_not_get_more_than_the_bound() {
    for overflow in [Overflow::DropOldest, Overflow::DropNewest, Overflow::LatestPerTopic] {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut bench = Bench::connected(bounded(Version::V5, overflow, 3, 1000));
            bench.server.script(|script| script.hold_acks = true);
            for number in 0..20 {
                drop(bench.client().publish(format!("t/{number}"), "x", qos).unwrap());
                bench.settle();
                let stats = bench.client().stats();
                assert!(stats.in_flight <= 3 && stats.queued <= 1, "{overflow:?}: {stats:?}");
            }
            let waits = usize::from(overflow != Overflow::DropNewest);
            assert_eq!(bench.client().stats().dropped.total(), 17 - waits as u64);
            bench.server.script(|script| script.hold_acks = false);
            bench.settle();
            assert_eq!(arrived(&bench).len(), 3 + waits);
        }
    }
}

#[test]
fn the_latest_keeps_its_place_over_many_turns() {
    let config = bounded(Version::V5, Overflow::LatestPerTopic, 1000, 1_000_000);
    let mut bench = Bench::connected(config);
    let mut expected = Vec::new();
    for turn in 0..20 {
        // More topics than are remembered, each twice.
        for number in 0..600 {
            let topic = format!("t/{}", (number + turn * 37) % 300);
            let payload = format!("{turn} {number}");
            drop(bench.client().publish(topic, payload, QoS::AtMostOnce).unwrap());
        }
        expected.extend((300..600).map(|number| format!("{turn} {number}")));
        bench.settle();
    }
    assert_eq!(arrived(&bench), expected);
    assert_eq!(bench.client().stats().dropped.replaced, 20 * 300);
}

// class: 15
#[test]
fn cancel_takes_back_what_took_the_place_of_another() {
    let mut bench =
        Bench::new(bounded(Version::V5, Overflow::LatestPerTopic, 10, 1000), Shape::default());
    let publish =
        |payload: &str| bench.client().publish("t", payload.to_owned(), QoS::AtLeastOnce).unwrap();
    let [first, second] = ["1", "2"].map(publish);
    assert!(first.cancel().is_none());
    assert_eq!(second.cancel().unwrap().payload, "2");
    let third = publish("3");
    bench.settle();
    assert_eq!(reason(&mut bench, third), None);
    assert_eq!(arrived(&bench), ["3"]);
}

#[test]
fn offline_only_those_wait_that_may() {
    for version in VERSIONS {
        for (offline, may) in [
            (Offline::All, [true, true, true]),
            (Offline::Acknowledged, [false, true, true]),
            (Offline::None, [false, false, false]),
        ] {
            let mut config = lasting(version);
            config.outbound.offline = offline;
            let mut bench = Bench::new(config, Shape::default());
            // Before the first connection, and between two.
            for connections in [0, 1] {
                let mut tokens = Vec::new();
                for (qos, may) in QOS.into_iter().zip(may) {
                    let mut waits = bench.client().publish_wait("t", "x", qos);
                    let result = bench.client().publish("t", "x", qos);
                    let refused = |result: Result<Publishing, PublishError>| match result {
                        Err(PublishError::Offline(publish)) => publish.qos == qos,
                        Err(error) => panic!("{error}"),
                        Ok(_) => false,
                    };
                    let Poll::Ready(waited) = bench.poll(&mut waits) else { panic!("{offline:?}") };
                    if may {
                        tokens.extend([result.unwrap(), waited.unwrap()]);
                    } else {
                        assert!(refused(result) && refused(waited), "{offline:?} {qos}");
                    }
                }
                assert_eq!(bench.client().status().connections, connections);
                bench.settle();
                bench.advance(Duration::from_secs(60));
                for token in tokens {
                    bench.done(token).unwrap();
                }
                // Online, all are taken.
                let tokens = QOS.map(|qos| bench.client().publish("t", "x", qos).unwrap());
                for token in tokens {
                    bench.done(token).unwrap();
                }
                bench.server.cut();
                bench.settle();
                assert_eq!(bench.client().status().phase, Phase::Waiting);
            }
        }
    }
}

// class: 22
#[test]
fn what_may_not_wait_is_dropped_when_the_connection_is_lost() {
    for (offline, dropped) in [(Offline::All, 0), (Offline::Acknowledged, 1), (Offline::None, 3)] {
        let mut config = lasting(Version::V5);
        config.outbound.offline = offline;
        config.session.max_in_flight = 1;
        let mut bench = Bench::connected(config);
        bench.server.script(|script| script.hold_acks = true);
        let publish = |qos| bench.client().publish("t", "x", qos).unwrap();
        let [sent, second, third] =
            [QoS::AtLeastOnce, QoS::AtLeastOnce, QoS::ExactlyOnce].map(publish);
        let fourth = publish(QoS::AtMostOnce);
        bench.settle();
        // The first is in flight; the others wait behind it.
        assert_eq!((bench.client().stats().in_flight, bench.client().stats().queued), (1, 3));
        bench.server.cut();
        bench.settle();
        assert_eq!(bench.client().stats().dropped.offline, dropped);
        bench.server.script(|script| script.hold_acks = false);
        bench.advance(Duration::from_secs(60));
        assert_eq!(reason(&mut bench, sent), None, "what was sent is sent again");
        for (token, kept) in [(second, offline != Offline::None), (third, offline != Offline::None)]
        {
            assert_eq!(reason(&mut bench, token), (!kept).then_some(Dropped::Offline));
        }
        let kept = offline == Offline::All;
        assert_eq!(reason(&mut bench, fourth), (!kept).then_some(Dropped::Offline));
    }
}

#[test]
fn a_client_that_ends_reports_what_it_would_have_dropped() {
    let mut config = config(Version::V5);
    config.outbound.offline = Offline::None;
    config.session.max_in_flight = 1;
    let mut bench = Bench::connected(config);
    bench.server.script(|script| script.hold_acks = true);
    for payload in ["1", "2", "3"] {
        drop(bench.client().publish("t", payload, QoS::AtLeastOnce).unwrap());
    }
    bench.settle();
    let report = bench.client().shutdown(Duration::ZERO);
    bench.end().unwrap();
    let report = bench.done(report);
    assert_eq!((report.unsent.len(), report.unacked, report.dropped.total()), (2, 1, 0));
}

#[test]
fn what_was_not_written_is_counted() {
    let mut bench = Bench::new(config(Version::V5), Shape { capacity: 150, chunk: usize::MAX });
    bench.settle();
    bench.server.script(|script| script.deaf = true);
    for _ in 0..3 {
        drop(bench.client().publish("t", "x".repeat(90), QoS::AtMostOnce).unwrap());
    }
    let report = bench.client().shutdown(Duration::ZERO);
    bench.end().unwrap();
    assert_eq!(bench.client().stats().unwritten, 2);
    assert_eq!(bench.done(report).unwritten, 2);
}
