//! Responders: which requests they get, what they answer, and when requests are acknowledged.

mod common;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use common::bench::{Bench, VERSIONS, config, lasting};
use common::pipe::Shape;
use common::requests::{SECOND, filters, payload, requests};
use common::server::Seen;
use common::streams::{acked, filter, publish, push, reconnect, unsubscribed};
use mqtt_async::{
    CommandError, Offline, Publish, PublishProperties, QoS, ReasonCode, Request, Responder,
    Response, Text, TokenError, TopicName, Version,
};

/// A request of MQTT 5.0, or the same in the words of MQTT 3.1.1.
fn ask(bench: &Bench, version: Version, payload: &str, qos: QoS) {
    let publish = match version {
        Version::V5 => {
            let mut publish = publish("service/7", payload, qos);
            let fields = publish.properties.edit();
            fields.response_topic = Some(TopicName::new("answers/x").unwrap());
            fields.correlation_data = Some(payload.to_owned().into());
            publish
        }
        _ => publish(&format!("service/7/$response/answers/x/{payload}"), payload, qos),
    };
    bench.server.script(|script| script.push.push_back(publish));
}

/// Lets everything come to rest, with the responder.
fn serve<F: Future + Unpin>(bench: &mut Bench, responder: &mut F) {
    for _ in 0..100 {
        bench.settle();
        assert!(bench.poll(responder).is_pending());
    }
    bench.settle();
}

/// Answers what it is told to answer, and only then.
#[derive(Clone, Default)]
struct Desk(Arc<Mutex<Papers>>);

#[derive(Default)]
struct Papers {
    seen: Vec<String>,
    answers: HashMap<String, Response>,
}

type Answering = Pin<Box<dyn Future<Output = Response>>>;

impl Desk {
    fn handler(&self) -> impl FnMut(Request) -> Answering + use<> {
        let desk = self.clone();
        move |request| {
            let payload = String::from_utf8(request.payload().to_vec()).unwrap();
            assert_eq!(request.topic(), "service/7");
            desk.0.lock().unwrap().seen.push(payload.clone());
            let desk = desk.clone();
            Box::pin(std::future::poll_fn(move |_| {
                let answer = desk.0.lock().unwrap().answers.remove(&payload);
                answer.map_or(Poll::Pending, Poll::Ready)
            }))
        }
    }

    fn answer(&self, request: &str, response: impl Into<Response>) {
        self.0.lock().unwrap().answers.insert(request.to_owned(), response.into());
    }

    /// What has come so far.
    fn seen(&self) -> Vec<String> {
        self.0.lock().unwrap().seen.clone()
    }
}

fn respond(
    bench: &Bench,
    desk: &Desk,
) -> Responder<impl FnMut(Request) -> Answering + use<>, Answering> {
    bench.client().respond("service/+", desk.handler()).unwrap()
}

fn texts(publishes: &[Publish]) -> Vec<&[u8]> {
    publishes.iter().map(|publish| &*publish.payload).collect()
}

#[test]
fn a_response_waits_for_a_connection_whatever_may_wait_in_line() {
    for offline in [Offline::None, Offline::Acknowledged, Offline::All] {
        let mut config = lasting(Version::V5);
        config.outbound.offline = offline;
        let mut bench = Bench::connected(config);
        let desk = Desk::default();
        let mut responder = respond(&bench, &desk);
        bench.settle();
        ask(&bench, Version::V5, "1", QoS::AtMostOnce);
        ask(&bench, Version::V5, "2", QoS::ExactlyOnce);
        serve(&mut bench, &mut responder);
        bench.server.cut();
        bench.settle();
        desk.answer("1", "one");
        desk.answer("2", "two");
        serve(&mut bench, &mut responder);
        bench.advance(60 * SECOND);
        serve(&mut bench, &mut responder);
        let published = bench.server.script(|script| script.published.clone());
        assert_eq!(texts(&published), [b"one", b"two"], "{offline:?}");
        let calls = bench.client().stats().calls;
        assert_eq!((calls.answered, calls.unsent), (2, 0), "{offline:?}");
    }
}

#[test]
fn requests_and_responses_meet_on_every_version() {
    for (asks, in_topic) in [(Version::V311, false), (Version::V5, false), (Version::V5, true)] {
        let mut config = config(asks);
        config.requests.in_topic = in_topic;
        let mut bench = Bench::connected(config);
        let handler = |request: Request| async move {
            assert_eq!(request.topic(), "service/7");
            format!("{} back", String::from_utf8_lossy(request.payload_bytes()))
        };
        let mut responder = Box::pin(bench.client().respond("service/+", handler).unwrap());
        bench.settle();
        let one = bench.client().request("service/7", "1", 10 * SECOND);
        let two = bench.client().request("service/7", "2", 10 * SECOND);
        serve(&mut bench, &mut responder);
        assert_eq!(payload(bench.done(two)), "2 back");
        assert_eq!(payload(bench.done(one)), "1 back");
        let calls = bench.client().stats().calls;
        assert_eq!((calls.answered, calls.responses, calls.strays), (2, 2, 0));
        assert_eq!((calls.unanswerable, calls.unsent), (0, 0));
        // Both requests and both responses.
        assert_eq!(acked(&bench), 4);
    }
}

#[test]
fn a_responder_subscribes_to_both_kinds_of_requests() {
    for (version, wildcards, name, expected) in [
        (Version::V5, true, "a/+", &["a/+", "a/+/$response/#"][..]),
        (Version::V311, true, "a", &["a", "a/$response/#"]),
        (Version::V5, true, "a/#", &["a/#"]),
        (Version::V5, true, "$share/g/a", &["$share/g/a", "$share/g/a/$response/#"]),
        (Version::V5, false, "a", &["a"]),
    ] {
        let mut bench = Bench::new(config(version), Shape::default());
        bench.server.script(|script| {
            script.config.wildcard_subscription_available = wildcards;
        });
        bench.settle();
        let responder = bench.client().respond(name, |_| async { "" }).unwrap();
        bench.settle();
        assert_eq!(filters(&bench), expected);
        drop(responder);
        bench.settle();
        assert_eq!(unsubscribed(&bench, name), 1);
    }
    let bench = Bench::connected(config(Version::V5));
    for bad in ["a/$response/b", "$response"] {
        let result = bench.client().respond(bad, |_| async { "" });
        assert!(matches!(result, Err(CommandError::Unexpected(_))), "{bad}");
    }
    assert!(bench.client().respond("a#", |_| async { "" }).is_err());
}

// class: 19
#[test]
fn a_request_is_acknowledged_after_its_response_was_accepted() {
    for version in VERSIONS {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut bench = Bench::connected(config(version));
            let desk = Desk::default();
            let mut responder = respond(&bench, &desk);
            ask(&bench, version, "one", qos);
            serve(&mut bench, &mut responder);
            assert_eq!((desk.seen().len(), acked(&bench)), (1, 0));
            desk.answer("one", "response");
            serve(&mut bench, &mut responder);
            assert_eq!(acked(&bench), 1);
            let sent = requests(&bench);
            assert_eq!((texts(&sent), sent[0].qos), (vec![&b"response"[..]], qos));
            let fields = sent[0].properties.get();
            match version {
                Version::V5 => {
                    assert_eq!(sent[0].topic.as_str(), "answers/x");
                    assert_eq!(fields.unwrap().correlation_data.as_ref().unwrap(), "one");
                }
                _ => assert_eq!((sent[0].topic.as_str(), fields), ("answers/x/one", None)),
            }
        }
    }
}

#[test]
fn a_responder_of_v5_answers_those_that_have_no_properties() {
    let mut bench = Bench::connected(config(Version::V5));
    let desk = Desk::default();
    let mut responder = respond(&bench, &desk);
    ask(&bench, Version::V311, "one", QoS::AtLeastOnce);
    desk.answer("one", "response");
    serve(&mut bench, &mut responder);
    let sent = requests(&bench);
    assert_eq!(sent[0].topic.as_str(), "answers/x/one");
    assert!(sent[0].properties.is_empty());
}

#[test]
fn one_request_is_served_at_a_time_unless_more_are_wanted() {
    let order = |concurrency: Option<usize>| {
        let mut bench = Bench::connected(config(Version::V5));
        let desk = Desk::default();
        let mut responder = respond(&bench, &desk);
        if let Some(concurrency) = concurrency {
            responder = responder.concurrency(concurrency);
        }
        for request in ["1", "2", "3"] {
            ask(&bench, Version::V5, request, QoS::AtLeastOnce);
        }
        serve(&mut bench, &mut responder);
        let begun = desk.seen().len();
        for request in ["3", "2", "1"] {
            desk.answer(request, request.to_owned());
            serve(&mut bench, &mut responder);
        }
        assert_eq!(acked(&bench), 3);
        let sent = requests(&bench);
        (begun, sent.iter().map(|it| it.payload.clone()).collect::<Vec<_>>())
    };
    let in_order = ["1", "2", "3"].map(Into::into).to_vec();
    assert_eq!(order(None), (1, in_order.clone()));
    assert_eq!(order(Some(0)), (1, in_order));
    assert_eq!(order(Some(2)), (2, ["2", "3", "1"].map(Into::into).to_vec()));
    assert_eq!(order(Some(3)), (3, ["3", "2", "1"].map(Into::into).to_vec()));
}

// class: 41
#[test]
fn a_response_that_finds_no_room_waits_for_it() {
    for version in VERSIONS {
        let mut config = config(version);
        config.session.bounds.messages = 1;
        config.inbound.messages = 1;
        let mut bench = Bench::connected(config);
        let desk = Desk::default();
        let mut responder = respond(&bench, &desk);
        bench.settle();
        bench.server.script(|script| script.hold_acks = true);
        let blocking = bench.client().publish("blocks", "", QoS::AtLeastOnce).unwrap();
        ask(&bench, version, "one", QoS::AtLeastOnce);
        desk.answer("one", "response");
        serve(&mut bench, &mut responder);
        assert_eq!((requests(&bench).len(), acked(&bench)), (1, 0));
        bench.server.script(|script| script.hold_acks = false);
        serve(&mut bench, &mut responder);
        bench.done(blocking).unwrap();
        assert_eq!((texts(&requests(&bench)), acked(&bench)), (vec![&b""[..], b"response"], 1));
    }
}

#[test]
fn what_names_no_topic_that_may_be_answered_is_handled_and_counted() {
    for version in VERSIONS {
        let mut bench = Bench::connected(config(version));
        let desk = Desk::default();
        let mut responder = respond(&bench, &desk).response_topics(filter("permitted/#"));
        push(&bench, "service/7", "told", QoS::AtLeastOnce);
        ask(&bench, version, "asked", QoS::AtLeastOnce);
        push(&bench, "service/7/$response/", "nonsense", QoS::AtLeastOnce);
        for request in ["told", "asked", "nonsense"] {
            desk.answer(request, "dropped");
        }
        serve(&mut bench, &mut responder);
        assert_eq!(desk.seen(), ["told", "asked", "nonsense"]);
        assert_eq!((requests(&bench).len(), acked(&bench)), (0, 3));
        let calls = bench.client().stats().calls;
        assert_eq!((calls.unanswerable, calls.answered), (3, 0));
        // And an answer that nobody wants to give.
        ask(&bench, version, "no", QoS::AtLeastOnce);
        desk.answer("no", Response::none());
        serve(&mut bench, &mut responder);
        assert_eq!((requests(&bench).len(), acked(&bench)), (0, 4));
    }
}

#[test]
fn a_response_that_cannot_be_sent_is_counted_and_its_request_rejected() {
    let mut bench = Bench::new(config(Version::V5), Shape::default());
    bench.server.script(|script| script.config.maximum_packet_size = 1000);
    bench.settle();
    let desk = Desk::default();
    let mut responder = respond(&bench, &desk);
    for request in ["large", "fits"] {
        ask(&bench, Version::V5, request, QoS::AtLeastOnce);
    }
    let mut properties = PublishProperties::default();
    properties.edit().content_type = Some(Text::new("text/plain").unwrap());
    desk.answer("large", vec![b'x'; 2000]);
    desk.answer("fits", Response::new("x").qos(QoS::AtMostOnce).properties(properties.clone()));
    serve(&mut bench, &mut responder);
    let error = ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR;
    assert_eq!(bench.server.count(|seen| *seen == Seen::Acked(error)), 1);
    let sent = requests(&bench);
    assert_eq!((sent.len(), sent[0].qos, acked(&bench)), (1, QoS::AtMostOnce, 2));
    let fields = sent[0].properties.get().unwrap();
    assert_eq!(fields.content_type.as_ref().unwrap().as_str(), "text/plain");
    assert_eq!(fields.correlation_data.as_ref().unwrap(), "fits");
    let calls = bench.client().stats().calls;
    assert_eq!((calls.answered, calls.unsent), (1, 1));

    let mut bench = Bench::connected(config(Version::V311));
    let mut responder = respond(&bench, &desk);
    ask(&bench, Version::V311, "one", QoS::AtLeastOnce);
    desk.answer("one", Response::new("x").properties(properties));
    serve(&mut bench, &mut responder);
    assert_eq!((requests(&bench).len(), acked(&bench)), (0, 1));
    assert_eq!(bench.client().stats().calls.unsent, 1);
}

// class: 40
#[test]
fn a_responder_that_is_dropped_holds_nothing_back() {
    for version in VERSIONS {
        let mut bench = Bench::connected(config(version));
        let mut messages = bench.client().messages();
        let desk = Desk::default();
        let mut responder = respond(&bench, &desk);
        for request in ["1", "2"] {
            ask(&bench, version, request, QoS::AtLeastOnce);
        }
        serve(&mut bench, &mut responder);
        assert_eq!((desk.seen().len(), acked(&bench)), (1, 0));
        drop(responder);
        bench.settle();
        assert_eq!(acked(&bench), 1);
        assert_eq!(unsubscribed(&bench, "service/+"), 1);
        assert_eq!(bench.messages(&mut messages), ["2"]);
        assert_eq!(acked(&bench), 2);
    }
}

#[test]
fn what_is_being_served_at_the_end_of_the_client_is_left_to_the_next_one() {
    for version in VERSIONS {
        let mut bench = Bench::connected(lasting(version));
        let desk = Desk::default();
        let mut responder = respond(&bench, &desk);
        ask(&bench, version, "1", QoS::ExactlyOnce);
        serve(&mut bench, &mut responder);
        let closing = bench.client().disconnect();
        bench.done(closing).unwrap();
        assert!(bench.poll(&mut responder).is_pending());
        desk.answer("1", "too late");
        assert!(matches!(bench.poll(&mut responder), Poll::Ready(Ok(()))));
        assert_eq!((requests(&bench).len(), acked(&bench)), (0, 0));
        assert_eq!(bench.client().stats().calls.unsent, 0);

        // While the client drains, it accepts no response, but the connection is still there.
        let mut bench = Bench::connected(lasting(version));
        let mut responder = respond(&bench, &desk);
        ask(&bench, version, "1", QoS::ExactlyOnce);
        serve(&mut bench, &mut responder);
        bench.server.script(|script| script.hold_acks = true);
        let waited_for = bench.client().publish("t", "x", QoS::AtLeastOnce).unwrap();
        let draining = bench.client().drain();
        desk.answer("1", "too late");
        bench.settle();
        // It goes on until its stream ends.
        assert!(bench.poll(&mut responder).is_pending());
        bench.settle();
        bench.server.script(|script| script.hold_acks = false);
        bench.done(waited_for).unwrap();
        bench.done(draining).unwrap();
        bench.done(responder).unwrap();
        assert_eq!((requests(&bench).len(), acked(&bench)), (1, 0));
    }
}

#[test]
fn a_request_of_qos_1_comes_again_after_a_cut_and_one_of_qos_2_does_not() {
    for version in VERSIONS {
        let mut bench = Bench::connected(lasting(version));
        let desk = Desk::default();
        let mut responder = respond(&bench, &desk).concurrency(4);
        ask(&bench, version, "once", QoS::ExactlyOnce);
        ask(&bench, version, "twice", QoS::AtLeastOnce);
        serve(&mut bench, &mut responder);
        reconnect(&mut bench);
        serve(&mut bench, &mut responder);
        assert_eq!(desk.seen(), ["once", "twice", "twice"]);
        for request in ["once", "twice", "twice"] {
            desk.answer(request, request.to_owned());
            serve(&mut bench, &mut responder);
        }
        assert_eq!(texts(&requests(&bench)), [&b"once"[..], b"twice", b"twice"]);
        assert_eq!(acked(&bench), 2);
    }
}

#[test]
fn a_refusal_and_an_unsubscribe_end_it() {
    for version in VERSIONS {
        let mut bench = Bench::connected(config(version));
        let refusal = ReasonCode::UNSPECIFIED_ERROR;
        bench.server.script(|script| script.reject_filters = Some(refusal));
        let responder = respond(&bench, &Desk::default());
        let error = bench.done(responder).unwrap_err();
        assert!(matches!(&error, TokenError::Rejected(_)), "{error}");
        bench.server.script(|script| script.reject_filters = None);
        let responder = bench.client().respond("service/#", |_| async { "" }).unwrap();
        bench.settle();
        let unsubscribing = bench.client().unsubscribe("service/#").unwrap();
        bench.done(unsubscribing).unwrap();
        bench.done(responder).unwrap();
    }
}

#[test]
fn a_flood_of_requests_lets_others_run() {
    let mut bench = Bench::connected(config(Version::V5));
    let handler = |_| std::future::ready("at once");
    let mut responder = bench.client().respond("service/+", handler).unwrap();
    for request in 0..100 {
        ask(&bench, Version::V5, &request.to_string(), QoS::AtLeastOnce);
    }
    bench.settle();
    let mut polls = 0;
    while bench.client().stats().calls.answered < 100 {
        let woken = common::streams::Watched::future(&mut responder);
        let done = bench.client().stats().calls.answered == 100;
        assert!(woken.take() || done, "it wakes itself while there is more to do");
        polls += 1;
    }
    assert!((5..=101).contains(&polls), "{polls}");
    bench.settle();
    assert_eq!((requests(&bench).len(), acked(&bench)), (100, 100));
}

#[test]
fn a_responder_can_be_sent_where_its_handler_can() {
    fn send<T: Send>(_: &T) {}
    let bench = Bench::connected(config(Version::V5));
    let responder = bench.client().respond("a", |_| async { "" }).unwrap();
    send(&responder);
    send(&bench.client().request("a", "", SECOND));
    assert!(format!("{responder:?}").contains("Responder"));
}
