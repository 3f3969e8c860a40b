//! Requests and their responses: what is sent, what fits what, and what is refused.

mod common;

use common::bench::{Bench, VERSIONS, config};
use common::pipe::Shape;
use common::requests::{
    SECOND, answer, filters, is_hex, payload, request, requests, response, send,
};
use common::streams::{acked, push};
use mqtt_async::{
    CommandError, Config, Publish, PublishError, QoS, ReasonCode, RequestError, Text, TokenError,
    TopicName, Version,
};

#[test]
fn responses_find_their_requests_in_any_order_over_one_subscription() {
    for version in VERSIONS {
        let mut bench = Bench::connected(config(version));
        let mut one = request(&bench, "1");
        let two = request(&bench, "2");
        bench.settle();
        assert!(bench.poll(&mut one).is_pending());
        let seen = requests(&bench);
        assert_eq!(seen.iter().map(|it| it.payload.clone()).collect::<Vec<_>>(), ["1", "2"]);
        answer(&mut bench, 1, "two");
        answer(&mut bench, 0, "one");
        assert_eq!(payload(bench.done(two)), "two");
        assert_eq!(payload(bench.done(one)), "one");
        assert_eq!(acked(&bench), 2);
        let three = request(&bench, "3");
        bench.settle();
        answer(&mut bench, 2, "three");
        assert_eq!(payload(bench.done(three)), "three");
        assert_eq!(filters(&bench).len(), 1);
        let calls = bench.client().stats().calls;
        assert_eq!((calls.awaited, calls.responses, calls.strays), (0, 3, 0));
        assert!(bench.client().messages().try_next().is_none());
    }
}

#[test]
fn in_v5_properties_say_where_the_response_goes() {
    let mut bench = Bench::connected(config(Version::V5));
    let (_one, _two) = (request(&bench, "1"), request(&bench, "2"));
    bench.settle();
    let filters = filters(&bench);
    let random = filters[0].strip_prefix("response/bench/").unwrap();
    assert!(is_hex(random, 16), "{filters:?}");
    let seen = requests(&bench);
    let fields: Vec<_> = seen.iter().map(|it| it.properties.get().unwrap()).collect();
    for (publish, fields) in seen.iter().zip(&fields) {
        assert_eq!((publish.topic.as_str(), publish.qos), ("service", QoS::AtLeastOnce));
        assert_eq!(fields.response_topic.as_ref().unwrap().as_str(), filters[0]);
        assert_eq!(fields.correlation_data.as_ref().unwrap().len(), 16);
        assert_eq!(fields.message_expiry_interval, Some(10));
    }
    assert_ne!(fields[0].correlation_data, fields[1].correlation_data);
}

#[test]
fn without_properties_the_topic_says_it() {
    let mut on_request = config(Version::V5);
    on_request.requests.in_topic = true;
    for config in [config(Version::V311), on_request] {
        let mut bench = Bench::connected(config);
        let (_one, _two) = (request(&bench, "1"), request(&bench, "2"));
        bench.settle();
        let filters = filters(&bench);
        let name = filters[0].strip_suffix("/+").unwrap();
        let begin = format!("service/$response/{name}/");
        let seen = requests(&bench);
        let levels = [0, 1].map(|at| seen[at].topic.as_str().strip_prefix(&*begin).unwrap());
        assert!(levels.iter().all(|level| is_hex(level, 32)), "{levels:?}");
        assert_ne!(levels[0], levels[1]);
        assert!(seen[0].properties.get().is_none_or(|it| it.response_topic.is_none()));
        assert_eq!(seen[0].payload, "1");
    }
}

#[test]
fn the_response_topic_has_the_client_identifier_where_it_makes_a_level() {
    let named = |id: &str, prefix: Option<&str>, connected: bool| {
        let mut config = Config::new(Version::V5).client_id(id).unwrap();
        config.requests.prefix = prefix.map(|prefix| TopicName::new(prefix).unwrap());
        let mut bench = Bench::new(config, Shape::default());
        if id.is_empty() {
            let assigned = Some(Text::new("assigned").unwrap());
            bench.server.script(|script| script.connack.assigned_client_identifier = assigned);
        }
        if connected {
            bench.settle();
        }
        let _request = request(&bench, "1");
        bench.settle();
        let (begin, random) = {
            let filters = filters(&bench);
            let (begin, random) = filters[0].rsplit_once('/').unwrap();
            (begin.to_owned(), random.to_owned())
        };
        assert!(is_hex(&random, 16));
        (begin, random)
    };
    for (id, prefix, expected) in [
        ("panel", None, "response/panel"),
        ("a/b", None, "response"),
        ("a+", None, "response"),
        ("#", None, "response"),
        ("panel", Some("plant/answers"), "plant/answers/panel"),
    ] {
        assert_eq!(named(id, prefix, true).0, expected, "{id}");
    }
    assert_eq!(named("", None, true).0, "response/assigned");
    assert_eq!(named("", None, false).0, "response");
    assert_ne!(named("x", None, true).1, named("x", None, true).1);
}

#[test]
fn a_request_waits_for_the_subscription_and_is_not_made_without_one() {
    for version in VERSIONS {
        let mut bench = Bench::connected(config(version));
        bench.server.script(|script| script.hold_grants = true);
        let (one, two) = (request(&bench, "1"), request(&bench, "2"));
        bench.settle();
        assert!(requests(&bench).is_empty());
        bench.server.script(|script| script.hold_grants = false);
        bench.settle();
        assert_eq!(requests(&bench).len(), 2);
        drop((one, two));

        let mut bench = Bench::connected(config(version));
        let refusal = ReasonCode::UNSPECIFIED_ERROR;
        bench.server.script(|script| script.reject_filters = Some(refusal));
        let (one, two) = (request(&bench, "1"), request(&bench, "2"));
        for request in [one, two] {
            let error = bench.done(request).unwrap_err();
            assert!(matches!(&error, RequestError::Refused(it) if it.reason() == Some(refusal)));
            assert!(std::error::Error::source(&error).is_some());
        }
        assert!(requests(&bench).is_empty());
        // The next one tries again.
        bench.server.script(|script| script.reject_filters = None);
        let three = request(&bench, "3");
        bench.settle();
        answer(&mut bench, 0, "three");
        assert_eq!(payload(bench.done(three)), "three");
    }
}

// class: 41
#[test]
fn a_response_behind_messages_that_nobody_takes_is_reached() {
    for version in VERSIONS {
        let mut config = config(version);
        config.inbound.messages = 1;
        config.session.connect.receive_maximum = version.is_v5().then_some(u16::MAX);
        let mut bench = Bench::connected(config);
        let first = request(&bench, "1");
        bench.settle();
        for number in 0..50 {
            push(&bench, "news", number, QoS::AtLeastOnce);
        }
        answer(&mut bench, 0, "behind");
        assert_eq!(payload(bench.done(first)), "behind");
        assert_eq!(bench.client().status().inbound, 50);
    }
}

#[test]
fn nobody_makes_up_a_response() {
    let mut bench = Bench::connected(config(Version::V5));
    let (one, two) = (request(&bench, "1"), request(&bench, "2"));
    bench.settle();
    let genuine = response(&requests(&bench)[0], "genuine");
    let data = genuine.properties.get().unwrap().correlation_data.clone().unwrap();
    // Who answers the first request knows its data, and guesses those of the second.
    let mut forged = data.to_vec();
    forged[7] += 1;
    let odd: Vec<Option<Vec<u8>>> =
        vec![None, Some(vec![]), Some(data[..8].to_vec()), Some([&data[..], b"x"].concat())];
    for data in odd.into_iter().chain([Some(forged)]) {
        let mut response = genuine.clone();
        response.properties.edit().correlation_data = data.map(Into::into);
        send(&mut bench, response);
    }
    assert_eq!(bench.client().stats().calls.strays, 5);
    send(&mut bench, genuine);
    assert_eq!(payload(bench.done(one)), "genuine");
    drop(two);

    let mut bench = Bench::connected(config(Version::V311));
    let request = request(&bench, "1");
    bench.settle();
    let genuine = response(&requests(&bench)[0], "genuine");
    let (name, level) = genuine.topic.as_str().rsplit_once('/').unwrap();
    let other = if level.ends_with('0') { "1" } else { "0" };
    for level in ["x", "", "äääääääääääääääää", &format!("{}{other}", &level[..31])]
    {
        push(&bench, &format!("{name}/{level}"), "forged", QoS::AtLeastOnce);
    }
    bench.settle();
    assert_eq!(bench.client().stats().calls.strays, 4);
    send(&mut bench, genuine.clone());
    assert_eq!(payload(bench.done(request)), "genuine");
}

#[test]
fn that_there_is_no_responder_is_an_error_at_once() {
    let mut bench = Bench::connected(config(Version::V5));
    let nobody = ReasonCode::NO_MATCHING_SUBSCRIBERS;
    bench.server.script(|script| script.publish_reason = nobody);
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let publish = Publish::new(TopicName::new("service").unwrap(), "1").qos(qos);
        let request = bench.client().request_with(publish, 10 * SECOND);
        let error = bench.done(request).unwrap_err();
        assert!(matches!(error, RequestError::NoMatchingSubscribers) && error.is_retryable());
    }
    let refused = ReasonCode::NOT_AUTHORIZED;
    bench.server.script(|script| script.publish_reason = refused);
    let request = request(&bench, "1");
    let error = bench.done(request).unwrap_err();
    assert!(matches!(&error, RequestError::NotDelivered(TokenError::Rejected(_))), "{error}");
    assert!(error.is_auth() && !error.is_retryable());
    assert_eq!(bench.client().stats().calls.awaited, 0);
}

#[test]
fn a_response_before_the_acknowledgement_is_a_response() {
    for version in VERSIONS {
        let mut bench = Bench::connected(config(version));
        bench.server.script(|script| {
            script.hold_acks = true;
            script.publish_reason = ReasonCode::NO_MATCHING_SUBSCRIBERS;
        });
        let mut request = request(&bench, "1");
        bench.settle();
        assert!(bench.poll(&mut request).is_pending());
        answer(&mut bench, 0, "early");
        bench.server.script(|script| script.hold_acks = false);
        assert_eq!(payload(bench.done(request)), "early");
    }
}

#[test]
fn what_cannot_be_a_request_is_refused_and_not_sent() {
    let mut bench = Bench::connected(config(Version::V5));
    let topic = |topic: &str| TopicName::new(topic).unwrap();
    let mut chosen = Publish::new(topic("service"), "1");
    chosen.properties.edit().response_topic = Some(topic("mine"));
    let mut correlated = Publish::new(topic("service"), "1");
    correlated.properties.edit().correlation_data = Some("mine".into());
    let marked = Publish::new(topic("service/$response/x"), "1");
    for publish in [chosen, correlated, marked] {
        let request = bench.client().request_with(publish, SECOND);
        assert!(matches!(bench.done(request), Err(RequestError::Unexpected(_))));
    }
    let request = bench.client().request("a/+", "1", SECOND);
    let error = bench.done(request).unwrap_err();
    assert!(matches!(error, RequestError::NotAccepted(PublishError::Topic(_))));
    assert!(filters(&bench).is_empty());

    // What a version does not have is said as for any other message.
    let mut bench = Bench::connected(config(Version::V311));
    let mut publish = Publish::new(topic("service"), "1");
    publish.properties.edit().content_type = Some(Text::new("text/plain").unwrap());
    let request = bench.client().request_with(publish, SECOND);
    let error = bench.done(request).unwrap_err();
    assert!(matches!(error, RequestError::NotAccepted(PublishError::NotSupported(_))));
    let long = "x".repeat(65_500);
    let request = bench.client().request(long, "1", SECOND);
    let error = bench.done(request).unwrap_err();
    assert!(matches!(error, RequestError::NotAccepted(PublishError::Topic(_))), "{error}");
    assert!(requests(&bench).is_empty());
    assert_eq!(bench.client().stats().calls.awaited, 0);
}

// class: 42
#[test]
fn requests_are_bounded_until_their_responses_are_taken() {
    for version in VERSIONS {
        let mut config = config(version);
        config.requests.outstanding = 2;
        let mut bench = Bench::connected(config);
        let (one, two) = (request(&bench, "1"), request(&bench, "2"));
        bench.settle();
        answer(&mut bench, 0, "one");
        // The response waits here, and takes its place.
        let full = request(&bench, "3");
        let error = bench.done(full).unwrap_err();
        assert!(matches!(&error, RequestError::Full(it) if it.payload == "3"), "{error}");
        assert!(error.is_retryable());
        assert_eq!(payload(bench.done(one)), "one");
        let three = request(&bench, "3");
        bench.settle();
        assert_eq!(requests(&bench).len(), 3);
        drop(two);
        let four = request(&bench, "4");
        bench.settle();
        assert_eq!(requests(&bench).len(), 4);
        drop((three, four));
    }
}

// class: 42
#[test]
fn what_is_held_is_bounded_in_bytes_and_given_back() {
    for version in VERSIONS {
        let mut config = config(version);
        config.session.bounds.bytes = 1000;
        let mut bench = Bench::new(config, Shape::default());
        let big = || bench.client().request("service", vec![b'x'; 600], SECOND);
        let (one, two) = (big(), big());
        let mut full = two;
        let std::task::Poll::Ready(Err(error)) = bench.poll(&mut full) else {
            panic!("it is held")
        };
        assert!(matches!(error, RequestError::NotAccepted(PublishError::Full(_))));
        drop(one);
        let three = big();
        bench.settle();
        assert_eq!(requests(&bench).len(), 1);
        // Now it is the session that holds it, and says the same.
        bench.server.script(|script| script.hold_acks = true);
        let (four, five) =
            (bench.client().request("service", vec![b'x'; 600], SECOND), request(&bench, "small"));
        bench.settle();
        let six = bench.client().request("service", vec![b'x'; 600], SECOND);
        let error = bench.done(six).unwrap_err();
        let RequestError::NotAccepted(PublishError::Full(back)) = error else { panic!("{error}") };
        // As it came: it can be tried again.
        assert_eq!(
            *back,
            Publish::new(TopicName::new("service").unwrap(), vec![b'x'; 600]).qos(QoS::AtLeastOnce)
        );
        drop((three, four, five));
    }
}

#[test]
fn a_subscription_that_cannot_be_made_is_said() {
    let mut config = config(Version::V5);
    config.session.bounds.requests = 1;
    let mut bench = Bench::connected(config);
    bench.server.script(|script| script.hold_grants = true);
    let _one = bench.client().subscribe("a", QoS::AtLeastOnce).unwrap();
    let request = request(&bench, "1");
    let error = bench.done(request).unwrap_err();
    assert!(matches!(error, RequestError::NotSubscribed(CommandError::Full)), "{error}");
    assert!(error.is_retryable());
}
