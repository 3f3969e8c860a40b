//! Enhanced authentication: who takes which step, and what happens when one fails.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::actor::{Actor, Play, auths, staged, staged_with, text};
use common::bench::{Bench, config, lasting};
use common::pipe::Shape;
use common::server::{Seen, wire};
use mqtt_async::{
    AuthenticationStep as Step, CommandError, Error, Event, Phase, QoS, ReasonCode, Text, Timeout,
    Version,
};
use mqtt_proto::{Auth, ConnAck, Packet, Publish, TopicName, codec};

const CONTINUE: ReasonCode = ReasonCode::CONTINUE_AUTHENTICATION;
const NO: ReasonCode = ReasonCode::NOT_AUTHORIZED;

/// A CONNACK that accepts.
fn accepted(method: Option<Text>) -> Packet {
    Packet::ConnAck(Box::new(ConnAck { authentication_method: method, ..ConnAck::default() }))
}

fn ended(bench: &mut Bench) -> Error {
    bench.settle();
    bench.result.clone().expect("the driver has not ended").unwrap_err()
}

#[test]
fn each_step_of_the_server_is_answered() {
    for steps in 0..3 {
        for chunk in [1, usize::MAX] {
            let play = Play::default();
            let mut config = lasting(Version::V5);
            // What the authenticator says counts.
            config.session.connect.authentication_method = text("other");
            config.session.connect.authentication_data = Some("other".into());
            let mut bench = staged_with(config, &play, Shape { capacity: 100, chunk });
            bench.server.script(|script| {
                script.challenges = ["one", "two"][..steps].iter().copied().collect();
                script.proof = Some("proof");
            });
            let token = bench.client().publish("t", "queued", QoS::AtLeastOnce).unwrap();
            bench.done(token).unwrap();
            let connect = bench.server.script(|script| script.connects[0].clone());
            assert_eq!(connect.authentication_method, text("METHOD"));
            assert_eq!(connect.authentication_data.as_deref(), Some(&b"start()"[..]));
            let answers = [(CONTINUE, "answer(one)".into()), (CONTINUE, "answer(two)".into())];
            assert_eq!(auths(&bench), answers[..steps]);
            let log = ["start()", "answer(one)", "answer(two)", "finish(proof)"];
            assert_eq!(play.log(), [&log[..=steps], &log[3..]].concat());
            assert_eq!(play.made(), 1);
            // The next attempt has another one, and all steps again.
            bench.server.cut();
            bench.settle();
            bench.advance(Duration::from_secs(1));
            assert_eq!(bench.client().status().phase, Phase::Connected);
            assert_eq!(
                (play.made(), play.log()),
                (2, vec!["start()".into(), "finish(proof)".into()])
            );
        }
    }
}

#[test]
fn nothing_is_used_of_a_connection_before_the_server_is_proven() {
    for good in [true, false] {
        let play = Play::default();
        play.waits(Some("finish"));
        let mut bench = staged(&play);
        // CONNACK and a message in one block.
        let publish = Publish::new(TopicName::new("t").unwrap(), "early");
        let packet = codec::publish_packet(&publish, &Default::default()).unwrap();
        let bytes = wire(&[accepted(text("METHOD")), Packet::Publish(packet)]);
        bench.server.script(|script| script.refuse_v5 = Some(bytes));
        let client = bench.client().clone();
        let mut messages = client.messages();
        let mut events = client.events();
        drop(client.publish("t", "queued", QoS::AtMostOnce).unwrap());
        bench.settle();
        assert_eq!(play.log(), ["start()", "finish()"]);
        let status = client.status();
        assert_eq!((status.phase, status.connections, status.inbound), (Phase::Connecting, 0, 0));
        assert!(status.connected.is_none() && events.try_next().is_none());
        assert!(messages.try_next().is_none());
        assert_eq!(client.stats().queued, 1);
        // Nor does what the server goes on to say pile up.
        let before = client.stats().bytes_in;
        bench.server.script(|script| script.raw = Some([0xD0, 0].repeat(1000)));
        bench.settle();
        assert_eq!(client.stats().bytes_in, before);
        play.fails((!good).then_some("finish"));
        play.waits(None);
        if good {
            assert_eq!(bench.messages(&mut messages), ["early"]);
            assert_eq!((client.status().phase, client.stats().queued), (Phase::Connected, 0));
            continue;
        }
        let error = ended(&mut bench);
        assert!(matches!(error, Error::Authentication { step: Step::Finish, .. }), "{error:?}");
        assert!(!error.is_retryable() && !error.is_auth());
        assert_eq!(error.to_string(), "the server did not prove who it is: finish fails");
        assert!(matches!(events.try_next(), Some(Event::AttemptFailed { .. })));
        assert!(messages.try_next().is_none());
        assert_eq!(client.stats().losses.authentication, 1);
        assert_eq!((client.status().connections, client.stats().queued), (0, 1));
    }
}

#[test]
fn a_server_that_is_refused_is_told() {
    for (fails, steps) in [("answer", 1), ("finish", 0), ("finish", 1)] {
        let play = Play::default();
        let mut bench = staged(&play);
        bench
            .server
            .script(|script| script.challenges = ["one"; 1][..steps].iter().copied().collect());
        play.fails(Some(fails));
        let step = if fails == "answer" { Step::Answer } else { Step::Finish };
        let error = ended(&mut bench);
        assert!(matches!(error, Error::Authentication { step: it, .. } if it == step), "{error:?}");
        let told = Seen::Disconnect(ReasonCode::UNSPECIFIED_ERROR);
        assert!(bench.server.seen().contains(&told), "{:?}", bench.server.seen());
    }
}

#[test]
fn a_server_that_refuses_is_the_error_that_it_is_without() {
    for steps in 0..3 {
        let play = Play::default();
        let mut bench = staged(&play);
        bench.server.script(|script| {
            script.challenges = ["one", "two"][..steps].iter().copied().collect();
            script.authentication_refused = Some(NO);
        });
        let error = ended(&mut bench);
        assert!(matches!(&error, Error::Refused(connack) if connack.reason == NO), "{error:?}");
        assert!(error.is_auth());
        assert_eq!(play.log().len(), steps + 1);
    }
}

// covers: v5 MQTT-4.12.0-5
#[test]
fn a_server_that_changes_the_method_breaks_the_protocol() {
    let auth = |method| {
        let reason = CONTINUE;
        Packet::Auth(Box::new(Auth {
            reason,
            authentication_method: text(method),
            ..Auth::default()
        }))
    };
    for bytes in [
        wire(&[auth("other")]),
        wire(&[accepted(text("other"))]),
        wire(&[accepted(None)]),
        wire(&[auth("METHOD"), accepted(text("other"))]),
    ] {
        let play = Play::default();
        let mut bench = staged(&play);
        bench.server.script(|script| script.refuse_v5 = Some(bytes));
        bench.settle();
        let error = bench.client().status().last_error;
        assert!(matches!(error, Some(Error::Protocol(_))), "{error:?}");
        let log = play.log();
        assert!(!log.iter().any(|it| it.starts_with("finish")), "{log:?}");
    }
    // What is no MQTT at all is found as always, and so is a packet that is too large.
    for bytes in [b"HTTP/1.1 400".to_vec(), vec![0x20, 0xFF, 0xFF, 0x7F]] {
        let mut bench = staged(&Play::default());
        bench.server.script(|script| script.refuse_v5 = Some(bytes));
        bench.settle();
        let error = bench.client().status().last_error;
        assert!(matches!(error, Some(Error::NotMqtt(_))), "{error:?}");
    }
}

#[test]
fn an_authentication_that_cannot_begin_is_a_failed_attempt() {
    let play = Play::default();
    let mut bench = staged(&play);
    let mut events = bench.client().events();
    play.fails(Some("start"));
    bench.settle();
    let Some(Event::AttemptFailed { error, retry_in: Some(delay), .. }) = events.try_next() else {
        panic!()
    };
    assert!(matches!(error, Error::Authentication { step: Step::Start, .. }), "{error:?}");
    assert!(bench.server.script(|script| script.connects.is_empty()));
    play.fails(None);
    bench.advance(delay);
    assert_eq!(bench.client().status().phase, Phase::Connected);

    // A name that cannot be sent.
    let play = Play::default();
    play.0.lock().unwrap().method = Some("nul\0");
    let mut bench = staged(&play);
    bench.settle();
    let error = bench.client().status().last_error;
    assert!(matches!(error, Some(Error::Authentication { step: Step::Start, .. })), "{error:?}");
}

// class: 40
#[test]
fn an_authenticator_that_hangs_is_dropped_when_its_time_is_up_or_the_client_is_closed() {
    for (step, limit) in [("start", 30), ("answer", 10), ("finish", 10)] {
        for closes in [false, true] {
            let play = Play::default();
            play.waits(Some(step));
            let mut bench = staged(&play);
            let challenges = if step == "answer" { vec!["one"] } else { vec![] };
            bench.server.script(|script| script.challenges = challenges.into());
            bench.settle();
            assert!(!play.log().contains(&"dropped".into()));
            if closes {
                let closing = bench.client().disconnect();
                bench.done(closing).unwrap();
                assert_eq!(play.log(), ["dropped"]);
                continue;
            }
            bench.advance(Duration::from_secs(limit) - Duration::from_millis(1));
            assert!(play.log().is_empty(), "{step}");
            bench.advance(Duration::from_millis(1));
            assert_eq!(play.log(), ["dropped"]);
            bench.advance(Duration::from_secs(1));
            let error = bench.client().status().last_error;
            match step {
                "start" => assert!(
                    matches!(error, Some(Error::Authentication { step: Step::Start, .. })),
                    "{error:?}"
                ),
                _ => assert!(matches!(error, Some(Error::Timeout(Timeout::Connect))), "{error:?}"),
            }
        }
    }
}

#[test]
fn a_challenge_without_an_authenticator_is_an_error_and_no_wait() {
    let mut config = config(Version::V5);
    config.session.connect.authentication_method = text("METHOD");
    let mut bench = Bench::new(config.clone(), Shape::default());
    bench.settle();
    assert_eq!(bench.client().status().phase, Phase::Connected, "one step needs none");
    let reauthenticate = bench.client().reauthenticate();
    assert!(matches!(reauthenticate, Err(CommandError::NotSupported(_))), "{reauthenticate:?}");

    let mut bench = Bench::new(config, Shape::default());
    bench.server.script(|script| script.challenges.push_back("one"));
    let error = ended(&mut bench);
    assert!(matches!(error, Error::Authentication { step: Step::Answer, .. }), "{error:?}");
    assert!(error.to_string().contains("no authenticator"), "{error}");
}

#[test]
fn authentication_is_not_left_out_for_an_older_version() {
    let play = Play::default();
    let mut bench = staged_with(config(Version::V311), &play, Shape::default());
    let error = ended(&mut bench);
    assert!(matches!(error, Error::Config(_)), "{error:?}");
    assert!(bench.server.script(|script| script.connects.is_empty()));

    let mut config = config(Version::V5);
    config.fall_back_to_v311 = true;
    let mut bench = staged_with(config, &play, Shape::default());
    bench.server.script(|script| script.refuse_v5 = Some(vec![0x20, 3, 0, 0x84, 0]));
    let error = ended(&mut bench);
    assert_eq!(error.reason(), Some(ReasonCode::UNSUPPORTED_PROTOCOL_VERSION));
    assert_eq!(bench.server.script(|script| script.connects.len()), 1);
}

#[test]
fn the_hook_comes_first() {
    let play = Play::default();
    let (first, second) = (play.clone(), play.clone());
    let mut bench = Bench::hooked(config(Version::V5), Shape::default(), |driver| {
        driver
            .before_connect(move |mut attempt| {
                first.note("hook".into());
                attempt.connect.user_name = text("user");
                std::future::ready(Ok(attempt))
            })
            .authenticator(move || Actor {
                play: second.clone(),
                client: Arc::default(),
                method: "METHOD",
            })
    });
    bench.settle();
    assert_eq!(play.log(), ["hook", "start()", "finish()"]);
    let connect = bench.server.script(|script| script.connects[0].clone());
    assert_eq!((connect.user_name, connect.authentication_method), (text("user"), text("METHOD")));
}
