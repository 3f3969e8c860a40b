//! The ways to end a client, and what is left then; and the stage in between at QoS 2.

mod common;

use std::task::Poll;
use std::time::Duration;

use common::bench::{Bench, VERSIONS, config, lasting};
use common::pipe::Shape;
use common::server::{Greeting, Seen};
use mqtt_async::{
    Failure, Phase, Publish, PublishError, Publishing, QoS, ReasonCode, TokenError, TopicName,
    Version,
};

fn payloads(unsent: &[mqtt_async::Publish]) -> Vec<&[u8]> {
    unsent.iter().map(|publish| publish.payload.as_ref()).collect()
}

#[test]
fn shutdown_waits_for_answers_and_reports_nothing() {
    for version in VERSIONS {
        let mut bench = Bench::connected(config(version));
        let client = bench.client().clone();
        bench.server.script(|script| script.hold_acks = true);
        let token = client.publish("t", "1", QoS::AtLeastOnce).unwrap();
        let mut shutdown = client.shutdown(Duration::from_secs(5));
        bench.settle();
        let refused = client.publish("t", "2", QoS::AtLeastOnce);
        assert!(matches!(refused, Err(PublishError::Closed(_))));
        bench.advance(Duration::from_millis(4999));
        assert!(bench.poll(&mut shutdown).is_pending());
        bench.server.script(|script| script.hold_acks = false);
        let report = bench.done(shutdown);
        assert!(report.unsent.is_empty() && report.result.is_ok());
        assert_eq!((report.unacked, report.unconsumed), (0, 0));
        assert!(bench.done(token).is_ok());
        assert!(bench.end().is_ok());
        assert_eq!(bench.server.count(|seen| *seen == Seen::Closed { politely: true }), 1);
    }
}

// class: 43, 44
#[test]
fn shutdown_ends_at_its_deadline_and_hands_back_what_is_left() {
    for version in VERSIONS {
        let mut config = lasting(version);
        config.session.max_in_flight = 2;
        let mut bench = Bench::connected(config);
        let client = bench.client().clone();
        bench.done(client.subscribe("t", QoS::AtMostOnce).unwrap()).unwrap();
        bench.server.script(|script| script.hold_acks = true);
        let tokens: Vec<Publishing> = ["1", "2", "3", "4", "5"]
            .map(|payload| client.publish("t", payload, QoS::AtLeastOnce).unwrap())
            .into();
        bench.settle();
        let stats = client.stats();
        assert_eq!((stats.in_flight, stats.queued), (2, 3));
        let inbound = client.status().inbound;
        let mut shutdown = client.shutdown(Duration::from_secs(5));
        // A later one changes nothing; the earliest counts.
        drop(client.shutdown(Duration::MAX));
        bench.settle();
        assert_eq!(bench.clock.asked(), Duration::from_secs(5));
        bench.advance(Duration::from_millis(4999));
        assert!(bench.poll(&mut shutdown).is_pending());
        bench.advance(Duration::from_millis(1));
        let report = bench.done(shutdown);
        assert_eq!(payloads(&report.unsent), [b"3", b"4", b"5"]);
        assert_eq!((report.unacked, report.unconsumed), (2, inbound));
        assert!(report.result.is_ok());
        for token in tokens {
            assert!(matches!(bench.done(token), Err(TokenError::Closed)));
        }
        assert!(bench.end().is_ok());
        assert_eq!(bench.server.count(|seen| *seen == Seen::Closed { politely: true }), 1);
        // What was handed out is gone.
        let again = bench.done(client.shutdown(Duration::ZERO));
        assert_eq!((again.unsent.len(), again.unacked), (0, 0));
        assert_eq!(client.stats().queued, 0);
    }
}

#[test]
fn shutdown_ends_at_its_deadline_without_a_connection() {
    // In the wait for the next attempt, in the handshake, and in a hook.
    for greeting in [Greeting::Nothing, Greeting::Silence] {
        for hangs in [false, true] {
            let mut bench = Bench::hooked(config(Version::V5), Shape::default(), |driver| {
                driver.before_connect(move |attempt| async move {
                    if hangs {
                        std::future::pending::<()>().await;
                    }
                    Ok(attempt)
                })
            });
            bench.server.script(|script| script.greeting = greeting.clone());
            let client = bench.client().clone();
            let token = client.publish("t", "1", QoS::AtLeastOnce).unwrap();
            bench.settle();
            let mut shutdown = client.shutdown(Duration::from_millis(1));
            bench.settle();
            assert!(bench.poll(&mut shutdown).is_pending());
            assert!(bench.clock.asked() <= Duration::from_millis(1));
            bench.advance(Duration::from_millis(1));
            let report = bench.done(shutdown);
            assert_eq!(payloads(&report.unsent), [b"1"]);
            assert_eq!(report.unacked, 0);
            assert!(matches!(bench.result, Some(Ok(()))));
            drop(token);
        }
    }
}

#[test]
fn a_report_says_what_a_driver_left_that_is_gone() {
    let mut bench = Bench::new(config(Version::V5), Shape::default());
    let client = bench.client().clone();
    drop(client.publish("t", "1", QoS::AtMostOnce).unwrap());
    bench.driver = None;
    let report = bench.done(client.shutdown(Duration::from_secs(1)));
    assert_eq!(payloads(&report.unsent), [b"1"]);
    assert!(matches!(report.result, Err(TokenError::DriverGone)));
}

#[test]
fn abort_closes_without_a_word() {
    for version in VERSIONS {
        let mut bench = Bench::connected(config(version));
        let client = bench.client().clone();
        bench.server.script(|script| script.deaf = true);
        drop(client.publish("t", vec![0; 100_000], QoS::AtMostOnce).unwrap());
        bench.settle();
        // Also in the middle of an end that is polite.
        let closing = client.disconnect();
        bench.settle();
        assert_eq!(client.status().phase, Phase::Closing);
        assert!(bench.done(client.abort()).is_ok());
        assert!(bench.done(closing).is_ok());
        assert!(matches!(bench.result, Some(Ok(()))));
        bench.server.script(|script| script.deaf = false);
        bench.settle();
        assert_eq!(bench.server.count(|seen| matches!(seen, Seen::Disconnect(_))), 0);
        assert_eq!(bench.server.count(|seen| *seen == Seen::Closed { politely: false }), 1);
    }
}

#[test]
fn the_will_can_be_asked_for() {
    for version in VERSIONS {
        let mut bench = Bench::connected(config(version));
        // Answers are not waited for.
        bench.server.script(|script| script.hold_acks = true);
        drop(bench.client().publish("t", "", QoS::AtLeastOnce).unwrap());
        bench.settle();
        let closing = bench.client().disconnect_with_will();
        assert!(bench.done(closing).is_ok());
        assert!(bench.end().is_ok());
        bench.settle();
        let asked = Seen::Disconnect(ReasonCode::DISCONNECT_WITH_WILL);
        let (asked, any) = (
            bench.server.count(|seen| *seen == asked),
            bench.server.count(|seen| matches!(seen, Seen::Disconnect(_))),
        );
        let expected = if version == Version::V5 { 1 } else { 0 };
        assert_eq!((asked, any), (expected, expected), "{version}");
    }
}

/// Sends bytes as the server.
fn say(bench: &mut Bench, bytes: &[u8]) {
    bench.server.script(|script| script.raw = Some(bytes.to_vec()));
    bench.settle();
}

#[test]
fn received_resolves_at_pubrec_and_the_final_answer_follows() {
    for version in VERSIONS {
        let mut config = config(version);
        config.session.first_packet_id = mqtt_proto::PacketId::MIN;
        let mut bench = Bench::connected(config);
        let client = bench.client().clone();
        bench.server.script(|script| script.hold_acks = true);
        let mut token = client.publish("t", "1", QoS::ExactlyOnce).unwrap();
        bench.settle();
        assert!(bench.poll(&mut token.received()).is_pending());
        assert!(bench.poll(&mut token).is_pending());
        // Whoever polled last is woken.
        assert!(bench.poll(&mut token.received()).is_pending());
        // The server of the bench is not to hear the PUBREL: it has not said PUBREC itself.
        bench.server.script(|script| script.deaf = true);
        say(&mut bench, &[0x50, 2, 0, 1]);
        for _ in 0..2 {
            let Poll::Ready(Ok(reason)) = bench.poll(&mut token.received()) else { panic!() };
            assert_eq!(reason, ReasonCode::SUCCESS);
        }
        assert!(bench.poll(&mut token).is_pending());
        say(&mut bench, &[0x70, 2, 0, 1]);
        // Afterwards it is the final answer, which is still there.
        assert_eq!(bench.done(token.received()).unwrap(), ReasonCode::SUCCESS);
        assert_eq!(bench.done(&mut token).unwrap().reason, ReasonCode::SUCCESS);
        assert!(matches!(bench.poll(&mut token.received()), Poll::Ready(Err(TokenError::Closed))));
    }
}

#[test]
fn received_is_the_final_answer_where_there_is_only_one() {
    let mut bench = Bench::connected(config(Version::V5));
    let client = bench.client().clone();
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
        let mut token = client.publish("t", "", qos).unwrap();
        bench.settle();
        assert_eq!(bench.done(token.received()).unwrap(), ReasonCode::SUCCESS);
        assert!(bench.done(token).is_ok());
    }
    bench.server.script(|script| script.publish_reason = ReasonCode::QUOTA_EXCEEDED);
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut token = client.publish("t", "", qos).unwrap();
        for _ in 0..2 {
            let error = bench.done(token.received()).unwrap_err();
            assert_eq!(error.reason(), Some(ReasonCode::QUOTA_EXCEEDED));
        }
        assert!(bench.done(token).is_err());
    }
    let mut token = client.publish("t", "", QoS::AtLeastOnce).unwrap();
    bench.driver = None;
    assert!(matches!(bench.done(token.received()), Err(TokenError::DriverGone)));
}

#[test]
fn abort_sends_nothing_more() {
    for version in VERSIONS {
        let mut bench = Bench::connected(config(version));
        let client = bench.client().clone();
        let token = client.publish("t", "", QoS::AtMostOnce).unwrap();
        let closing = client.abort();
        assert!(bench.done(closing).is_ok());
        let error = bench.done(token).unwrap_err();
        assert!(matches!(error, TokenError::Failed(Failure::NotWritten)), "{error}");
        let sent = |seen: &Seen| matches!(seen, Seen::Publish { .. } | Seen::Disconnect(_));
        assert_eq!(bench.server.count(sent), 0);
        assert_eq!(bench.server.count(|seen| *seen == Seen::Closed { politely: false }), 1);
    }
}

// class: 44
#[test]
fn drain_does_not_wait_when_the_last_message_comes_to_nothing() {
    for version in VERSIONS {
        let mut bench = Bench::new(config(version), Shape::default());
        let client = bench.client().clone();
        let mut publish = Publish::new(TopicName::new("t").unwrap(), "");
        publish.properties.edit().message_expiry_interval = Some(1);
        let token = client.send(publish).unwrap();
        drop(client.drain());
        bench.clock.advance(Duration::from_secs(2));
        // It is found out when it would be sent: nothing is written then, and nothing else happens.
        bench.settle();
        assert!(matches!(bench.result, Some(Ok(()))), "{version}: {:?}", client.status());
        let error = bench.done(token).unwrap_err();
        assert!(matches!(error, TokenError::Failed(Failure::Expired)), "{error:?}");
    }
}
