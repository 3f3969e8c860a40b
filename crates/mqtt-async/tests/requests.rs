//! What is subscribed to in the end, whatever becomes of the answers to SUBSCRIBE and UNSUBSCRIBE.

mod common;

use common::bench::{Bench, PRESENT, VERSIONS, config, lasting};
use common::pipe::Shape;
use common::streams::{filter, reconnect, subscribed, unsubscribed};
use mqtt_async::{Event, QoS, ReasonCode, Resubscribe, Subscribe, Version};

/// Whether the server sends back what is published to it.
fn has(bench: &mut Bench, filter: &str) -> bool {
    let mut messages = bench.client().messages();
    bench.done(bench.client().publish(filter, "", QoS::AtMostOnce).unwrap()).unwrap();
    !bench.messages(&mut messages).is_empty()
}

#[test]
fn older_requests_that_go_out_again_do_not_undo_newer_ones() {
    for version in PRESENT {
        let mut bench = Bench::connected(lasting(version));
        let client = bench.client().clone();
        bench.server.script(|script| script.hold_grants = true);
        drop(client.subscribe("a", QoS::AtLeastOnce).unwrap());
        drop(client.unsubscribe("a").unwrap());
        drop(client.subscribe("a", QoS::AtLeastOnce).unwrap());
        bench.settle();
        // Answers need not come in the order of the requests.
        bench.server.script(|script| script.grant_newest = 1);
        bench.settle();
        bench.server.script(|script| script.hold_grants = false);
        reconnect(&mut bench);
        assert!(has(&mut bench, "a"), "{version}");
        assert_eq!((subscribed(&bench, "a"), unsubscribed(&bench, "a")), (4, 2));
        // There is nothing to be mended any more.
        reconnect(&mut bench);
        assert_eq!((subscribed(&bench, "a"), unsubscribed(&bench, "a")), (4, 2));
        // It is known what there is, also when the server has lost it.
        bench.server.script(|script| script.forget = true);
        reconnect(&mut bench);
        assert!(has(&mut bench, "a"), "{version}");
    }
}

#[test]
fn an_old_subscribe_that_goes_out_again_does_not_bring_back_what_nobody_wants() {
    for version in VERSIONS {
        let mut bench = Bench::connected(lasting(version));
        let client = bench.client().clone();
        bench.server.script(|script| script.hold_grants = true);
        drop(client.subscribe("a", QoS::AtLeastOnce).unwrap());
        drop(client.unsubscribe("a").unwrap());
        bench.settle();
        bench.server.script(|script| script.grant_newest = 1);
        bench.settle();
        bench.server.script(|script| script.hold_grants = false);
        reconnect(&mut bench);
        assert!(!has(&mut bench, "a"), "{version}");
        assert_eq!((subscribed(&bench, "a"), unsubscribed(&bench, "a")), (2, 2));
    }
}

#[test]
fn what_is_forgotten_with_the_session_is_not_brought_back_by_what_was_under_way() {
    let mut config = lasting(Version::V5);
    config.resubscribe = Resubscribe::Never;
    let mut bench = Bench::connected(config);
    let client = bench.client().clone();
    bench.server.script(|script| script.hold_grants = true);
    drop(client.unsubscribe("a").unwrap());
    drop(client.subscribe("a", QoS::AtLeastOnce).unwrap());
    bench.settle();
    bench.server.script(|script| script.grant_newest = 1);
    bench.settle();
    // The UNSUBSCRIBE goes out again, and so does the SUBSCRIBE.
    reconnect(&mut bench);
    bench.server.script(|script| script.forget = true);
    reconnect(&mut bench);
    bench.server.script(|script| script.hold_grants = false);
    bench.settle();
    assert!(!has(&mut bench, "a"));
}

#[test]
fn a_late_answer_to_what_was_unsubscribed_from_is_no_subscription() {
    let mut bench = Bench::connected(config(Version::V5));
    let client = bench.client().clone();
    bench.server.script(|script| script.hold_grants = true);
    drop(client.subscribe("a", QoS::AtLeastOnce).unwrap());
    drop(client.unsubscribe("a").unwrap());
    bench.settle();
    bench.server.script(|script| script.hold_grants = false);
    bench.settle();
    reconnect(&mut bench);
    assert_eq!(subscribed(&bench, "a"), 1);
}

#[test]
fn of_a_filter_that_stands_twice_in_a_subscribe_the_later_one_counts() {
    for version in PRESENT {
        let mut bench = Bench::connected(lasting(version));
        let client = bench.client().clone();
        let twice = Subscribe::new(filter("a"), QoS::AtMostOnce).and(filter("a"), QoS::ExactlyOnce);
        bench.done(client.subscribe_with(twice).unwrap()).unwrap();
        bench.server.script(|script| script.forget = true);
        let mut events = client.events();
        reconnect(&mut bench);
        let renewed = std::iter::from_fn(|| events.try_next()).find_map(|event| match event {
            Event::Resubscribed { results } => Some(results),
            _ => None,
        });
        assert_eq!(*renewed.unwrap(), [(filter("a"), ReasonCode::GRANTED_QOS_2)], "{version}");
    }
}

#[test]
fn what_was_refused_is_asked_for_again_until_nobody_wants_it() {
    for version in PRESENT {
        let mut bench = Bench::connected(lasting(version));
        let client = bench.client().clone();
        for name in ["a", "b", "c"] {
            bench.done(client.subscribe(name, QoS::AtLeastOnce).unwrap()).unwrap();
        }
        let refused = || {
            let refused = client.status().not_resubscribed;
            refused.iter().map(|(filter, _)| filter.as_str().to_owned()).collect::<Vec<_>>()
        };
        bench.server.script(|script| {
            script.forget = true;
            script.reject_filters = Some(ReasonCode::UNSPECIFIED_ERROR);
        });
        reconnect(&mut bench);
        assert_eq!(refused(), ["a", "b", "c"], "{version}");
        // Somebody wants it no more, and somebody asks for it again.
        let mut changes = client.status_changes();
        assert!(bench.poll(&mut changes.next()).is_ready());
        bench.server.script(|script| (script.forget, script.reject_filters) = (false, None));
        bench.done(client.unsubscribe("a").unwrap()).unwrap();
        assert!(bench.poll(&mut changes.next()).is_ready());
        bench.done(client.subscribe("b", QoS::AtLeastOnce).unwrap()).unwrap();
        assert!(bench.poll(&mut changes.next()).is_ready());
        assert_eq!(refused(), ["c"], "{version}");
        // The next connection tries again, also where the server goes on with the session.
        reconnect(&mut bench);
        assert!(refused().is_empty(), "{version}");
        assert_eq!(["a", "b", "c"].map(|name| has(&mut bench, name)), [false, true, true]);
    }
}

/// The server has no Subscription Identifiers, and the first SUBSCRIBE of a stream was made before that is
/// known.
fn without_identifiers() -> Bench {
    let bench = Bench::new(config(Version::V5), Shape::default());
    bench.server.script(|script| script.config.subscription_identifier_available = false);
    bench
}

#[test]
fn what_is_asked_for_again_leaves_at_once() {
    let mut bench = without_identifiers();
    let stream = bench.client().listen("a", QoS::AtLeastOnce).unwrap();
    // Nothing wakes the driver after the one poll in which it learns of it.
    bench.settle();
    assert_eq!(subscribed(&bench, "a"), 1);
    drop(stream);
}

#[test]
fn a_stream_that_is_gone_is_not_asked_for_again() {
    let mut bench = without_identifiers();
    drop(bench.client().listen("a", QoS::AtLeastOnce).unwrap());
    bench.settle();
    assert_eq!((subscribed(&bench, "a"), unsubscribed(&bench, "a")), (0, 1));
}

#[test]
fn a_late_refusal_of_what_nobody_wants_any_more_is_not_told() {
    for version in PRESENT {
        let mut bench = Bench::connected(lasting(version));
        let client = bench.client().clone();
        for name in ["a", "b"] {
            bench.done(client.subscribe(name, QoS::AtLeastOnce).unwrap()).unwrap();
        }
        bench.server.script(|script| {
            script.forget = true;
            script.hold_grants = true;
            script.reject_filters = Some(ReasonCode::UNSPECIFIED_ERROR);
        });
        reconnect(&mut bench);
        drop(client.unsubscribe("a").unwrap());
        bench.settle();
        bench.server.script(|script| script.hold_grants = false);
        bench.settle();
        let refused = client.status().not_resubscribed;
        let refused: Vec<_> = refused.iter().map(|(filter, _)| filter.as_str()).collect();
        assert_eq!(refused, ["b"], "{version}");
    }
}
