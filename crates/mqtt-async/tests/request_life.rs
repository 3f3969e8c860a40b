//! How long requests wait, and over what: timeouts, reconnects, the end of the client.

mod common;

use std::time::Duration;

use common::bench::{Bench, PRESENT, VERSIONS, config, lasting};
use common::pipe::Shape;
use common::requests::{SECOND, answer, filters, is_hex, payload, request, requests};
use common::server::{Greeting, Seen};
use common::streams::{Watched, acked, reconnect, subscribed, unsubscribed};
use mqtt_async::{
    Failure, Publish, PublishError, QoS, ReasonCode, RequestError, Resubscribe, Text, TokenError,
    TopicName, Version,
};

// class: 43
#[test]
fn the_timer_of_the_driver_rules_the_timeout() {
    for version in VERSIONS {
        let mut bench = Bench::connected(config(version));
        let short = bench.client().request("service", "1", 10 * SECOND);
        let mut long = bench.client().request("service", "2", 20 * SECOND);
        bench.settle();
        assert_eq!(bench.clock.asked(), 10 * SECOND);
        bench.advance(10 * SECOND - Duration::from_nanos(1));
        assert_eq!(bench.client().stats().calls.timed_out, 0);
        bench.advance(Duration::from_nanos(1));
        let error = bench.done(short).unwrap_err();
        assert!(matches!(error, RequestError::TimedOut) && error.is_retryable());
        assert!(bench.poll(&mut long).is_pending());
        assert_eq!(bench.clock.asked(), 10 * SECOND);
        answer(&mut bench, 0, "late");
        answer(&mut bench, 1, "in time");
        answer(&mut bench, 1, "again");
        assert_eq!(payload(bench.done(long)), "in time");
        answer(&mut bench, 1, "and again");
        let calls = bench.client().stats().calls;
        assert_eq!((calls.responses, calls.timed_out), (1, 1));
        assert_eq!((calls.late, calls.duplicates, calls.strays), (1, 2, 0));
        assert_eq!(acked(&bench), 4, "what is dropped is acknowledged");
    }
}

#[test]
fn a_timeout_holds_at_every_stage_of_a_connection() {
    let mut greeting = Bench::connected(config(Version::V5));
    greeting.server.script(|script| script.greeting = Greeting::Silence);
    greeting.server.cut();
    greeting.settle();
    // While the driver waits to connect again.
    let waiting = greeting.client().request("service", "1", Duration::from_millis(1));
    greeting.settle();
    greeting.advance(Duration::from_millis(1));
    assert!(matches!(greeting.done(waiting), Err(RequestError::TimedOut)));
    // While it waits for CONNACK.
    greeting.advance(60 * SECOND);
    let connecting = greeting.client().request("service", "1", Duration::from_millis(1));
    greeting.settle();
    greeting.advance(Duration::from_millis(1));
    assert!(matches!(greeting.done(connecting), Err(RequestError::TimedOut)));
    // Never, and too far away to count.
    let mut never = greeting.client().request("service", "1", Duration::MAX);
    greeting.advance(60 * SECOND);
    assert!(greeting.poll(&mut never).is_pending());
    let now = greeting.client().request("service", "1", Duration::ZERO);
    assert!(matches!(greeting.done(now), Err(RequestError::TimedOut)));
}

#[test]
fn a_hook_and_a_connector_that_take_their_time_do_not_stop_the_clock() {
    let mut bench = Bench::hooked(config(Version::V5), Shape::default(), |driver| {
        driver.before_connect(|_| std::future::pending())
    });
    let mut request = bench.client().request("service", "1", 5 * SECOND);
    bench.settle();
    let woken = Watched::future(&mut request);
    bench.advance(5 * SECOND - Duration::from_nanos(1));
    assert_eq!((bench.client().stats().calls.timed_out, woken.take()), (0, false));
    bench.advance(Duration::from_nanos(1));
    assert!(woken.take());
    assert!(matches!(bench.done(request), Err(RequestError::TimedOut)));
}

#[test]
fn a_request_that_is_dropped_is_forgotten() {
    for version in VERSIONS {
        let mut bench = Bench::connected(config(version));
        drop(request(&bench, "1"));
        let mut polled = request(&bench, "2");
        bench.settle();
        assert!(bench.poll(&mut polled).is_pending());
        drop(polled);
        // The first one was held when it was dropped.
        assert_eq!(requests(&bench).len(), 1);
        answer(&mut bench, 0, "late");
        let calls = bench.client().stats().calls;
        assert_eq!((calls.awaited, calls.late), (0, 1));
        assert!(bench.clock.asked() > 10 * SECOND, "nothing is waited for");
    }
}

#[test]
fn requests_survive_a_reconnect_and_the_loss_of_the_session() {
    for version in PRESENT {
        for (forget, resubscribe) in [
            (false, Resubscribe::OnNewSession),
            (true, Resubscribe::OnNewSession),
            (true, Resubscribe::Always),
            (true, Resubscribe::Never),
        ] {
            let mut config = lasting(version);
            config.resubscribe = resubscribe;
            let mut bench = Bench::connected(config);
            bench.server.script(|script| script.forget = forget);
            let one = bench.client().request("service", "1", 200 * SECOND);
            bench.settle();
            reconnect(&mut bench);
            let two = bench.client().request("service", "2", 100 * SECOND);
            bench.settle();
            let name = filters(&bench)[0].clone();
            assert_eq!(subscribed(&bench, &name), 1 + usize::from(forget), "{resubscribe:?}");
            assert_eq!(filters(&bench).len(), 1 + usize::from(forget));
            assert_eq!(unsubscribed(&bench, &name), 0);
            answer(&mut bench, 0, "one");
            answer(&mut bench, 1, "two");
            assert_eq!(payload(bench.done(one)), "one");
            assert_eq!(payload(bench.done(two)), "two");
        }
    }
}

// class: 43
#[test]
fn a_response_topic_that_the_server_refuses_after_a_loss_is_told_at_once_and_asked_for_again() {
    for version in PRESENT {
        let mut bench = Bench::connected(lasting(version));
        let one = bench.client().request("service", "1", 200 * SECOND);
        bench.settle();
        bench.server.script(|script| {
            script.forget = true;
            script.reject_filters = Some(ReasonCode::UNSPECIFIED_ERROR);
        });
        reconnect(&mut bench);
        let error = bench.done(one).unwrap_err();
        assert!(matches!(&error, RequestError::Refused(TokenError::Rejected(_))), "{error:?}");
        assert!(bench.client().status().not_resubscribed.is_empty());
        // Each request asks for the subscription again.
        let two = bench.client().request("service", "2", 200 * SECOND);
        assert!(matches!(bench.done(two), Err(RequestError::Refused(_))));
        bench.server.script(|script| (script.forget, script.reject_filters) = (false, None));
        let three = bench.client().request("service", "3", 200 * SECOND);
        bench.settle();
        let place = requests(&bench).len() - 1;
        answer(&mut bench, place, "three");
        assert_eq!(payload(bench.done(three)), "three", "{version}");
    }
}

#[test]
fn a_request_of_qos_2_that_is_in_doubt_fails() {
    let mut bench = Bench::connected(lasting(Version::V5));
    bench.server.script(|script| {
        script.hold_acks = true;
        script.forget = true;
    });
    let publish = Publish::new(TopicName::new("service").unwrap(), "1").qos(QoS::ExactlyOnce);
    let request = bench.client().request_with(publish, 100 * SECOND);
    bench.settle();
    reconnect(&mut bench);
    let error = bench.done(request).unwrap_err();
    let lost = RequestError::NotDelivered(TokenError::Failed(Failure::SessionLost));
    assert_eq!(error.to_string(), lost.to_string());
    assert!(error.is_retryable());
}

#[test]
fn response_information_says_where_responses_go() {
    let mut config = lasting(Version::V5);
    config.session.connect.request_response_information = Some(true);
    let mut bench = Bench::new(config, Shape::default());
    let information = |text: &str| Some(Text::new(text).unwrap());
    bench.server.script(|script| script.connack.response_information = information("mine/7/"));
    // Before the first connection nobody knows.
    let one = bench.client().request("service", "1", 200 * SECOND);
    bench.settle();
    let name = filters(&bench)[0].clone();
    let random = name.strip_prefix("mine/7/").unwrap().to_owned();
    assert!(is_hex(&random, 16));
    // Another one: the former stays until there is a third, for what is under way.
    bench.server.script(|script| script.connack.response_information = information("mine/8"));
    reconnect(&mut bench);
    let two = bench.client().request("service", "2", 100 * SECOND);
    bench.settle();
    assert_eq!(filters(&bench)[1], format!("mine/8/{random}"));
    assert_eq!(unsubscribed(&bench, &name), 0);
    answer(&mut bench, 0, "one");
    answer(&mut bench, 1, "two");
    assert_eq!(payload(bench.done(one)), "one");
    assert_eq!(payload(bench.done(two)), "two");
    // What makes no topic counts as none.
    bench.server.script(|script| script.connack.response_information = information("#"));
    reconnect(&mut bench);
    let three = bench.client().request("service", "3", 100 * SECOND);
    bench.settle();
    assert_eq!(filters(&bench)[2], format!("response/bench/{random}"));
    assert_eq!(unsubscribed(&bench, &name), 1);
    drop(three);
}

#[test]
fn a_fall_back_takes_requests_along_that_were_not_sent() {
    let mut config = config(Version::V5);
    config.fall_back_to_v311 = true;
    let mut bench = Bench::new(config, Shape::default());
    bench.server.script(|script| script.refuse_v5 = Some(vec![0x20, 2, 0, 1]));
    let request = bench.client().request("service", "1", 100 * SECOND);
    bench.settle();
    bench.advance(60 * SECOND);
    let seen = requests(&bench);
    assert!(seen[0].topic.as_str().starts_with("service/$response/response/bench/"), "{seen:?}");
    answer(&mut bench, 0, "one");
    assert_eq!(payload(bench.done(request)), "one");
}

// class: 44
#[test]
fn a_drain_waits_for_responses_and_leaves_no_subscription_behind() {
    for version in VERSIONS {
        let mut bench = Bench::connected(lasting(version));
        let (one, two) = (request(&bench, "1"), request(&bench, "2"));
        bench.settle();
        let name = filters(&bench)[0].clone();
        let mut drained = bench.client().drain();
        let refused = request(&bench, "3");
        let error = bench.done(refused).unwrap_err();
        assert!(matches!(error, RequestError::NotAccepted(PublishError::Closed(_))));
        answer(&mut bench, 0, "one");
        assert_eq!(payload(bench.done(one)), "one");
        assert!(bench.poll(&mut drained).is_pending());
        assert_eq!(unsubscribed(&bench, &name), 0);
        // Nobody waits for the other one any more.
        drop(two);
        bench.done(drained).unwrap();
        assert_eq!(unsubscribed(&bench, &name), 1);
        assert_eq!(bench.server.count(|seen| matches!(seen, Seen::Disconnect(_))), 1);
    }
}

// class: 43
#[test]
fn the_end_of_the_client_is_the_end_of_its_requests() {
    for version in VERSIONS {
        let mut bench = Bench::connected(lasting(version));
        let (one, answered) = (request(&bench, "1"), request(&bench, "2"));
        bench.settle();
        answer(&mut bench, 1, "answered");
        let name = filters(&bench)[0].clone();
        let closing = bench.client().disconnect();
        bench.done(closing).unwrap();
        assert!(matches!(bench.done(one), Err(RequestError::Ended(TokenError::Closed))));
        assert_eq!(payload(bench.done(answered)), "answered");
        assert_eq!(unsubscribed(&bench, &name), 1);

        // An attempt to connect is not waited for because of a response.
        let mut bench = Bench::connected(lasting(version));
        let publish = Publish::new(TopicName::new("service").unwrap(), "1");
        let one = bench.client().request_with(publish, 1000 * SECOND);
        bench.settle();
        bench.server.script(|script| script.greeting = Greeting::Silence);
        bench.server.cut();
        bench.settle();
        bench.advance(60 * SECOND);
        let closing = bench.client().disconnect();
        bench.done(closing).unwrap();
        assert!(matches!(bench.done(one), Err(RequestError::Ended(TokenError::Closed))));

        let mut bench = Bench::connected(config(version));
        let mut one = request(&bench, "1");
        bench.settle();
        let woken = Watched::future(&mut one);
        bench.driver = None;
        assert!(woken.take());
        assert!(matches!(bench.done(one), Err(RequestError::Ended(TokenError::DriverGone))));
        let late = request(&bench, "2");
        assert!(matches!(bench.done(late), Err(RequestError::NotAccepted(_))));
    }
}

#[test]
fn who_waits_is_woken_by_each_outcome() {
    let mut bench = Bench::connected(config(Version::V5));
    let mut requests = [(); 4].map(|()| request(&bench, "x"));
    bench.settle();
    let woken = requests.each_mut().map(Watched::future);
    answer(&mut bench, 0, "one");
    assert_eq!(woken.each_ref().map(|it| it.take()), [true, false, false, false]);
    bench.advance(10 * SECOND);
    assert_eq!(woken.each_ref().map(|it| it.take()), [false, true, true, true]);
}

#[test]
fn a_long_silence_before_a_request_does_not_count_for_it() {
    // The message expires with the timeout, which counts from the call.
    let mut config = config(Version::V5);
    config.session.connect.keep_alive = 0;
    let mut bench = Bench::connected(config);
    drop(request(&bench, "1"));
    let first = request(&bench, "1");
    bench.settle();
    drop(first);
    bench.settle();
    // The driver sleeps, and nobody has told the session.
    bench.clock.advance(3600 * SECOND);
    let request = bench.client().request("service", "2", SECOND);
    bench.settle();
    answer(&mut bench, 1, "two");
    assert_eq!(payload(bench.done(request)), "two");
    // And the caller's own interval is left alone.
    let mut publish = Publish::new(TopicName::new("service").unwrap(), "3");
    publish.properties.edit().message_expiry_interval = Some(77);
    let _request = bench.client().request_with(publish, SECOND);
    bench.settle();
    let seen = requests(&bench);
    let fields = seen[2].properties.get().unwrap();
    assert_eq!(fields.message_expiry_interval, Some(77));
}

#[test]
fn a_refused_response_topic_ends_requests_also_while_the_client_drains() {
    for version in PRESENT {
        let mut bench = Bench::connected(lasting(version));
        bench.server.script(|script| {
            script.reject_filters = Some(ReasonCode::UNSPECIFIED_ERROR);
            script.hold_grants = true;
        });
        let requesting = request(&bench, "?");
        bench.settle();
        let drained = bench.client().drain();
        bench.server.script(|script| script.hold_grants = false);
        let result = bench.done(requesting);
        assert!(matches!(result, Err(RequestError::Refused(_))), "{version}: {result:?}");
        assert!(requests(&bench).is_empty(), "{version}: nobody would hear the response");
        bench.done(drained).unwrap();
    }
}
