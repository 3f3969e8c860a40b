//! Streams of their own: which messages they have, when these are acknowledged, and how they end.

mod common;

use std::time::Duration;

use common::bench::{Bench, VERSIONS, config, lasting};
use common::pipe::Shape;
use common::runtime::guarded;
use common::server::Seen;
use common::streams::{
    FIRST, Watched, acked, all, filter, listen, push, push_with, reconnect, subscribed,
    unsubscribed,
};
use mqtt_async::{
    CommandError, Inbound, QoS, ReasonCode, Resubscribe, Subscribe, TokenError, Version,
};

#[test]
fn messages_go_to_the_stream_of_their_filter_and_the_rest_to_messages() {
    for version in VERSIONS {
        let mut bench = Bench::connected(config(version));
        let mut a = listen(&mut bench, "a/+");
        let mut b = listen(&mut bench, "b/#");
        let mut rest = bench.client().messages();
        let (woken, not_woken) = (Watched::new(&mut b), Watched::new(&mut a));
        push(&bench, "b", "b", QoS::AtLeastOnce);
        bench.settle();
        assert_eq!((woken.take(), not_woken.take()), (true, false));
        assert_eq!(all(&mut bench, &mut b), ["b"]);
        for topic in ["a/1", "b", "c", "b/2/3"] {
            push(&bench, topic, topic, QoS::AtLeastOnce);
        }
        assert_eq!(all(&mut bench, &mut b), ["b", "b/2/3"]);
        // Acknowledgements leave in the order in which the messages came (MQTT-4.6.0-2).
        assert_eq!(acked(&bench), 1);
        assert_eq!(all(&mut bench, &mut a), ["a/1"]);
        assert_eq!(acked(&bench), 3);
        assert_eq!(bench.messages(&mut rest), ["c"]);
        assert_eq!(acked(&bench), 5);
    }
}

#[test]
fn identifiers_decide_where_the_server_has_them() {
    let mut bench = Bench::connected(config(Version::V5));
    let mut a = listen(&mut bench, "x/#");
    let mut b = listen(&mut bench, "x/y");
    let mut shared = listen(&mut bench, "$share/group/x/y");
    let mut rest = bench.client().messages();
    let identifiers = bench.server.script(|script| script.identifiers.clone());
    assert_eq!(identifiers, [Some(FIRST), Some(FIRST + 1), Some(FIRST + 2)]);
    push_with(&bench, "x/y", "b", &[FIRST + 1]);
    push_with(&bench, "x/y", "shared", &[FIRST + 2]);
    push_with(&bench, "x/y", "a+b", &[FIRST + 1, FIRST]);
    // Nobody's identifier, or none: the topic decides.
    push_with(&bench, "x/y", "unknown", &[7]);
    push_with(&bench, "x/y", "none", &[]);
    // An identifier that an earlier process of this session used for another filter.
    push_with(&bench, "other", "earlier", &[FIRST]);
    assert_eq!(all(&mut bench, &mut a), ["a+b", "unknown", "none"]);
    assert_eq!(all(&mut bench, &mut b), ["b", "a+b", "unknown", "none"]);
    assert_eq!(all(&mut bench, &mut shared), ["shared", "unknown", "none"]);
    assert_eq!(bench.messages(&mut rest), ["earlier"]);
    assert_eq!(acked(&bench), 6);
}

#[test]
fn without_identifiers_the_topic_decides() {
    for version in VERSIONS {
        let mut bench = Bench::new(config(version), Shape::default());
        bench.server.script(|script| script.config.subscription_identifier_available = false);
        // It is asked for before anybody knows what the server has.
        let early = bench.client().listen("x/#", QoS::AtLeastOnce).unwrap();
        bench.settle();
        assert!(bench.done(early.subscribed()).is_ok(), "{:?}", early.error());
        let mut early = early;
        let mut late = listen(&mut bench, "$share/group/x/+");
        let identifiers = bench.server.script(|script| script.identifiers.clone());
        assert_eq!(identifiers, [None, None]);
        push(&bench, "x/y", "both", QoS::AtLeastOnce);
        assert_eq!(all(&mut bench, &mut early), ["both"]);
        assert_eq!(all(&mut bench, &mut late), ["both"]);
        assert_eq!(acked(&bench), 1);
    }
}

// class: 19
#[test]
fn a_message_of_several_streams_is_acknowledged_once_after_the_last_has_taken_it() {
    for version in VERSIONS {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut bench = Bench::connected(config(version));
            let mut streams = ["#", "a/+", "a/b"].map(|name| listen(&mut bench, name));
            push(&bench, "a/b", "x", qos);
            bench.settle();
            for (taken, stream) in streams.iter_mut().enumerate() {
                assert_eq!((acked(&bench), taken < 3), (0, true));
                assert_eq!(all(&mut bench, stream), ["x"]);
            }
            assert_eq!(acked(&bench), 1);
        }
    }
}

#[test]
fn manual_acknowledgement_waits_for_all_streams_and_one_rejection_counts() {
    let mut config = config(Version::V5);
    config.manual_ack = true;
    let mut bench = Bench::connected(config);
    let mut streams = ["#", "a/+", "a/b"].map(|name| listen(&mut bench, name));
    for reasons in [
        [ReasonCode::SUCCESS, ReasonCode::QUOTA_EXCEEDED, ReasonCode::SUCCESS],
        [ReasonCode::SUCCESS; 3],
    ] {
        let before = acked(&bench);
        push(&bench, "a/b", "x", QoS::AtLeastOnce);
        bench.settle();
        for (stream, reason) in streams.iter_mut().zip(reasons) {
            assert_eq!(acked(&bench), before);
            stream.try_next().unwrap().reject(reason);
            bench.settle();
        }
        let worst = reasons.into_iter().max_by_key(|reason| reason.is_error()).unwrap();
        assert_eq!(bench.server.count(|seen| *seen == Seen::Acked(worst)), 1);
        assert_eq!(acked(&bench), before + 1);
    }
}

// class: 42
#[test]
fn a_filter_is_subscribed_to_once_and_unsubscribed_from_with_the_last() {
    for version in VERSIONS {
        let mut bench = Bench::connected(config(version));
        let mut one = listen(&mut bench, "a");
        let mut two = listen(&mut bench, "a");
        assert_eq!(subscribed(&bench, "a"), 1);
        let other = bench.client().listen("a", QoS::AtMostOnce);
        assert!(matches!(other, Err(CommandError::Unexpected(_))), "other options");
        push(&bench, "a", "both", QoS::AtLeastOnce);
        assert_eq!(all(&mut bench, &mut one), ["both"]);
        assert_eq!(acked(&bench), 0);
        assert_eq!(all(&mut bench, &mut two), ["both"]);
        assert_eq!(acked(&bench), 1);
        drop(one);
        bench.settle();
        assert_eq!(unsubscribed(&bench, "a"), 0);
        push(&bench, "a", "one", QoS::AtLeastOnce);
        assert_eq!(all(&mut bench, &mut two), ["one"]);
        drop(two);
        bench.settle();
        assert_eq!(unsubscribed(&bench, "a"), 1);
        // And again, with the UNSUBSCRIBE of the one before under way.
        drop(bench.client().listen("a", QoS::AtLeastOnce).unwrap());
        let mut again = listen(&mut bench, "a");
        push(&bench, "a", "again", QoS::AtLeastOnce);
        assert_eq!(all(&mut bench, &mut again), ["again"]);
        assert_eq!((subscribed(&bench, "a"), unsubscribed(&bench, "a")), (3, 2));
    }
}

#[test]
fn a_stream_of_several_filters_shares_what_others_listen_to() {
    let mut bench = Bench::connected(config(Version::V5));
    let only = listen(&mut bench, "b");
    let subscribe = two("a", "b").and(filter("c"), QoS::ExactlyOnce);
    let mut stream = bench.client().listen_with(subscribe, Inbound::default()).unwrap();
    assert_eq!(bench.done(stream.subscribed()).unwrap().reasons, [ReasonCode::GRANTED_QOS_2; 3]);
    assert_eq!(["a", "b", "c"].map(|name| subscribed(&bench, name)), [1; 3]);
    push_with(&bench, "c", "c", &[FIRST + 1]);
    push_with(&bench, "b", "b", &[FIRST]);
    assert_eq!(all(&mut bench, &mut stream), ["c", "b"]);
    drop(stream);
    bench.settle();
    assert_eq!(["a", "b", "c"].map(|name| unsubscribed(&bench, name)), [1, 0, 1]);
    drop(only);
    bench.settle();
    assert_eq!(unsubscribed(&bench, "b"), 1);
}

#[test]
fn a_lost_session_is_subscribed_anew_with_the_same_identifiers() {
    let mut bench = Bench::connected(lasting(Version::V5));
    let mut streams = ["a", "b", "c"].map(|name| listen(&mut bench, name));
    drop(listen(&mut bench, "d"));
    bench.server.script(|script| {
        script.forget = true;
        script.identifiers.clear();
    });
    reconnect(&mut bench);
    let identifiers = bench.server.script(|script| script.identifiers.clone());
    assert_eq!(identifiers, [Some(FIRST), Some(FIRST + 1), Some(FIRST + 2)]);
    assert_eq!(subscribed(&bench, "d"), 1, "nobody listens to it any more");
    push_with(&bench, "b", "b", &[FIRST + 1]);
    assert_eq!(all(&mut bench, &mut streams[1]), ["b"]);
    // A server that has no identifiers any more.
    bench.server.script(|script| {
        script.config.subscription_identifier_available = false;
        script.identifiers.clear();
    });
    reconnect(&mut bench);
    assert_eq!(bench.server.script(|script| script.identifiers.clone()), [None; 3]);
    assert!(bench.client().status().not_resubscribed.is_empty());
    push(&bench, "c", "c", QoS::AtLeastOnce);
    assert_eq!(all(&mut bench, &mut streams[2]), ["c"]);
}

fn two(one: &str, other: &str) -> Subscribe {
    Subscribe::new(filter(one), QoS::ExactlyOnce).and(filter(other), QoS::ExactlyOnce)
}

#[test]
fn a_lost_session_ends_the_streams_that_are_not_subscribed_anew() {
    for version in [Version::V31, Version::V311, Version::V5] {
        for forget in [false, true] {
            let mut config = lasting(version);
            config.resubscribe = Resubscribe::Never;
            let mut bench = Bench::connected(config);
            let client = bench.client().clone();
            let mut lost = client.listen_with(two("a", "c"), Inbound::default()).unwrap();
            bench.done(lost.subscribed()).unwrap();
            let mut both = listen(&mut bench, "a");
            push(&bench, "a", "kept", QoS::AtMostOnce);
            bench.settle();
            bench.server.script(|script| script.forget = forget);
            bench.server.cut();
            bench.settle();
            // Asked for on the new connection: the answer is not lost.
            let new = client.listen("new", QoS::ExactlyOnce).unwrap();
            let mixed = client.listen_with(two("a", "b"), Inbound::default()).unwrap();
            lost.try_next().unwrap();
            let woken = Watched::new(&mut lost);
            bench.advance(Duration::from_secs(1));
            assert!(client.status().connected.is_some());
            bench.done(new.subscribed()).unwrap();
            assert!(new.error().is_none());
            // MQTT 3.1 does not say whether there is a session: it is taken to be there.
            let ends = forget && version != Version::V31;
            assert_eq!(woken.take(), ends);
            assert_eq!(mixed.error().is_some(), ends);
            assert_eq!(unsubscribed(&bench, "b"), usize::from(ends));
            assert_eq!(all(&mut bench, &mut both), ["kept"]);
            for stream in [&mut lost, &mut both] {
                let end = bench.poll(&mut stream.next());
                assert_eq!(end.is_ready(), ends, "{version} {forget}");
                let error = stream.error();
                assert_eq!(matches!(error, Some(TokenError::SubscriptionLost)), ends, "{error:?}");
                assert_eq!(bench.done(stream.subscribed()).is_err(), ends);
            }
            assert_eq!((subscribed(&bench, "a"), unsubscribed(&bench, "a")), (1, 0));
            assert_eq!((subscribed(&bench, "c"), unsubscribed(&bench, "c")), (1, 0));
            // It can be listened to again.
            drop((lost, both, mixed));
            bench.settle();
            assert_eq!(unsubscribed(&bench, "a"), usize::from(!ends));
            let mut again = listen(&mut bench, "a");
            push(&bench, "a", "again", QoS::AtMostOnce);
            assert_eq!(all(&mut bench, &mut again), ["again"]);
        }
    }
}

#[test]
fn a_refusal_ends_the_stream_and_says_why() {
    for version in VERSIONS {
        let mut bench = Bench::connected(config(version));
        let mut before = listen(&mut bench, "b");
        let refusal = ReasonCode::UNSPECIFIED_ERROR;
        bench.server.script(|script| script.reject_filters = Some(refusal));
        let mut stream = bench.client().listen_with(two("a", "b"), Inbound::default()).unwrap();
        let mut token = stream.subscribed();
        let (ended, refused) = (Watched::new(&mut stream), Watched::token(&mut token));
        bench.settle();
        assert!(ended.take() && refused.take(), "they are woken");
        assert!(bench.done(stream.next()).is_none());
        let error = bench.done(token).unwrap_err();
        assert!(matches!(&error, TokenError::Rejected(it) if it.reasons == [refusal]), "{error}");
        assert_eq!(stream.error().and_then(|error| error.reason()), Some(refusal));
        // It has no part in its other filter any more.
        push(&bench, "b", "b", QoS::AtLeastOnce);
        assert_eq!(all(&mut bench, &mut before), ["b"]);
        assert_eq!(acked(&bench), 1);
        drop(stream);
        bench.settle();
        assert_eq!((unsubscribed(&bench, "a"), unsubscribed(&bench, "b")), (0, 0));
        assert!(before.error().is_none());
        // It can be tried again.
        bench.server.script(|script| script.reject_filters = None);
        drop(listen(&mut bench, "a"));
    }
}

#[test]
fn streams_end_with_an_unsubscribe_and_with_the_client() {
    let mut bench = Bench::connected(config(Version::V5));
    let mut a = listen(&mut bench, "a");
    let mut b = listen(&mut bench, "b");
    push(&bench, "a", "1", QoS::AtLeastOnce);
    bench.settle();
    let unsubscribing = bench.client().unsubscribe("a").unwrap();
    bench.done(unsubscribing).unwrap();
    assert_eq!(bench.done(a.next()).unwrap().payload(), "1");
    assert!(bench.done(a.next()).is_none());
    assert!(a.error().is_none());
    let ended = Watched::new(&mut b);
    drop(bench.client().disconnect());
    bench.settle();
    assert!(ended.take(), "it is woken");
    assert!(bench.done(b.next()).is_none());
    assert!(bench.client().listen("c", QoS::AtLeastOnce).is_err());
    drop((a, b));
    bench.settle();
    assert_eq!(unsubscribed(&bench, "b"), 0, "the session keeps what is closed in order");
}

#[test]
fn what_a_dropped_stream_has_not_taken_is_not_lost() {
    for version in VERSIONS {
        let mut bench = Bench::connected(config(version));
        let one = listen(&mut bench, "a/#");
        let mut two = listen(&mut bench, "a/b");
        for (topic, qos) in [
            ("a", QoS::AtMostOnce),
            ("a/1", QoS::AtLeastOnce),
            ("a/2", QoS::ExactlyOnce),
            ("a/b", QoS::AtLeastOnce),
        ] {
            push(&bench, topic, topic, qos);
        }
        bench.settle();
        let before = acked(&bench);
        drop(one);
        let mut rest = bench.client().messages();
        // What `two` has as well is its business alone now.
        assert_eq!(bench.messages(&mut rest), ["a/1", "a/2"]);
        assert_eq!((acked(&bench), bench.client().status().lagged), (before + 2, 1));
        assert_eq!(all(&mut bench, &mut two), ["a/b"]);
        assert_eq!(acked(&bench), before + 3);
        // What was under way when it was dropped.
        push(&bench, "a/late", "late", QoS::AtLeastOnce);
        assert_eq!(bench.messages(&mut rest), ["late"]);
    }
}

#[test]
fn an_unsubscribe_that_finds_no_room_is_sent_later() {
    let mut config = lasting(Version::V5);
    config.session.bounds.requests = 1;
    let mut bench = Bench::connected(config);
    let (one, two, three) = ("a", "b", "c");
    let streams = [one, two, three].map(|name| listen(&mut bench, name));
    bench.server.script(|script| script.hold_grants = true);
    drop(streams);
    bench.settle();
    assert_eq!([one, two, three].map(|name| unsubscribed(&bench, name)), [1, 0, 0]);
    // What nobody listens to is not subscribed to anew, either.
    bench.server.script(|script| script.forget = true);
    reconnect(&mut bench);
    bench.server.script(|script| script.hold_grants = false);
    bench.settle();
    assert_eq!([one, two, three].map(|name| unsubscribed(&bench, name)), [2, 1, 1]);
    assert_eq!([one, two, three].map(|name| subscribed(&bench, name)), [1; 3]);
}

// class: 42
#[test]
fn thousands_of_streams_may_be_dropped_while_there_is_no_connection() {
    guarded(|| {
        const STREAMS: usize = 4000;
        let mut bench = Bench::connected(lasting(Version::V5));
        let mut streams = Vec::new();
        for number in 0..STREAMS {
            streams.push(bench.client().listen(number.to_string(), QoS::AtLeastOnce).unwrap());
            if number % 500 == 0 {
                bench.settle();
            }
        }
        bench.settle();
        bench.server.cut();
        bench.settle();
        // Most of them find no room for an UNSUBSCRIBE, and each is done in a moment all the same.
        drop(streams);
        bench.advance(Duration::from_secs(60));
        let gone = bench.server.count(|seen| matches!(seen, Seen::Unsubscribe(_)));
        assert_eq!((gone, bench.client().stats().requests), (STREAMS, 0));
    });
}

#[test]
fn an_old_answer_does_not_count_for_a_new_stream() {
    let mut bench = Bench::connected(config(Version::V5));
    bench.server.script(|script| {
        script.hold_grants = true;
        script.reject_filters = Some(ReasonCode::UNSPECIFIED_ERROR);
    });
    drop(bench.client().listen("a", QoS::AtLeastOnce).unwrap());
    bench.settle();
    bench.server.script(|script| script.reject_filters = None);
    let stream = bench.client().listen("a", QoS::AtLeastOnce).unwrap();
    let mut token = stream.subscribed();
    bench.settle();
    let granted = Watched::token(&mut token);
    bench.server.script(|script| script.hold_grants = false);
    bench.settle();
    assert!(granted.take(), "it is woken");
    assert!(bench.done(token).is_ok());
    assert!(stream.error().is_none());
}

#[test]
fn a_stream_that_is_there_before_the_driver_misses_nothing_of_a_resumed_session() {
    for version in VERSIONS {
        let mut bench = Bench::new(lasting(version), Shape::default());
        let mut stream = bench.client().listen("a", QoS::AtLeastOnce).unwrap();
        // They come before SUBACK, the second with the identifier that an earlier process chose.
        bench.server.script(|script| script.hold_grants = true);
        push(&bench, "a", "1", QoS::AtLeastOnce);
        if version == Version::V5 {
            push_with(&bench, "a", "2", &[FIRST + 77]);
        }
        bench.settle();
        assert!(bench.poll(&mut stream.subscribed()).is_pending());
        let expected: &[_] = if version == Version::V5 { &["1", "2"] } else { &["1"] };
        assert_eq!(all(&mut bench, &mut stream), expected);
    }
}

#[test]
fn messages_before_there_is_a_stream_go_to_messages() {
    let mut bench = Bench::connected(lasting(Version::V5));
    push(&bench, "a", "early", QoS::AtLeastOnce);
    bench.settle();
    let mut stream = listen(&mut bench, "a");
    push(&bench, "a", "late", QoS::AtLeastOnce);
    assert_eq!(all(&mut bench, &mut stream), ["late"]);
    let mut rest = bench.client().messages();
    assert_eq!(bench.messages(&mut rest), ["early"]);
}

// class: 42
// class: 41
#[test]
fn copies_are_forgotten_with_their_connection() {
    for version in VERSIONS {
        let mut bench = Bench::connected(lasting(version));
        let mut one = listen(&mut bench, "#");
        let mut two = listen(&mut bench, "a");
        let mut three = listen(&mut bench, "a");
        push(&bench, "a", "1", QoS::AtLeastOnce);
        push(&bench, "a", "2", QoS::ExactlyOnce);
        assert_eq!(all(&mut bench, &mut one), ["1", "2"]);
        reconnect(&mut bench);
        // At QoS 1 the server sends it again, to everybody; at QoS 2 two have still to take it.
        assert_eq!(all(&mut bench, &mut one), ["1"], "{version}");
        for (stream, expected) in [(&mut two, 0), (&mut three, 2)] {
            assert_eq!(acked(&bench), 0);
            let mut got = all(&mut bench, stream);
            got.sort();
            assert_eq!(got, ["1", "2"]);
            assert_eq!(acked(&bench), expected);
        }
    }
}

#[test]
fn the_last_stream_is_the_last_handle() {
    let mut bench = Bench::connected(config(Version::V5));
    let stream = listen(&mut bench, "a");
    bench.client = None;
    bench.settle();
    assert!(bench.result.is_none());
    drop(stream);
    bench.settle();
    assert!(matches!(bench.result, Some(Ok(()))));
    assert_eq!(unsubscribed(&bench, "a"), 1);
    assert!(bench.server.seen().contains(&Seen::Closed { politely: true }));
}

// class: 19
#[test]
fn what_several_streams_have_not_taken_outlives_the_last_of_them() {
    for version in VERSIONS {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut bench = Bench::connected(config(version));
            let streams = ["#", "a/+", "a/b"].map(|name| listen(&mut bench, name));
            push(&bench, "a/b", "x", qos);
            bench.settle();
            drop(streams);
            bench.settle();
            assert_eq!(acked(&bench), 0, "nobody has it");
            let mut rest = bench.client().messages();
            assert_eq!(bench.messages(&mut rest), ["x"]);
            assert_eq!(acked(&bench), 1);
        }
    }
}

// class: 17
#[test]
fn what_one_stream_has_taken_is_not_left_by_another_after_a_lost_session() {
    for version in VERSIONS {
        let mut bench = Bench::connected(lasting(version));
        let mut one = listen(&mut bench, "#");
        let two = listen(&mut bench, "a");
        push(&bench, "a", "x", QoS::ExactlyOnce);
        assert_eq!(all(&mut bench, &mut one), ["x"]);
        bench.server.script(|script| script.forget = true);
        reconnect(&mut bench);
        drop(two);
        let mut rest = bench.client().messages();
        assert!(bench.messages(&mut rest).is_empty(), "{version}: it would be the second time");
    }
}

// On MQTT 3.1, what waits stays over a reconnect, and comes again. The server never heard of a message whose newest
// copy had to give way to an older one.
#[test]
fn an_old_copy_of_a_dropped_stream_does_not_replace_the_one_that_can_be_acknowledged() {
    let mut bench = Bench::connected(lasting(Version::V31));
    push(&bench, "t", "it", QoS::AtLeastOnce);
    bench.settle();
    // One copy waits for `messages`, the next one for a stream, and the last one for `messages` again.
    let stream = listen(&mut bench, "t");
    reconnect(&mut bench);
    let client = bench.client().clone();
    bench.done(client.unsubscribe("t").unwrap()).unwrap();
    reconnect(&mut bench);
    assert_eq!(client.status().inbound, 2);
    drop(stream);
    let mut messages = client.messages();
    assert_eq!(bench.messages(&mut messages), ["it"]);
    assert_eq!(acked(&bench), 1);
}
