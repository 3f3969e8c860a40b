//! Authentication that is made again on a connection: messages flow meanwhile, and each ends.

mod common;

use std::time::Duration;

use common::actor::{Play, auths, staged_with, standing};
use common::bench::lasting;
use common::pipe::Shape;
use common::server::Seen;
use mqtt_async::{
    AuthenticationStep as Step, CommandError, Error, Phase, QoS, ReasonCode, Timeout, TokenError,
    Version,
};

const AGAIN: ReasonCode = ReasonCode::RE_AUTHENTICATE;
const CONTINUE: ReasonCode = ReasonCode::CONTINUE_AUTHENTICATION;
const NO: ReasonCode = ReasonCode::NOT_AUTHORIZED;

#[test]
fn re_authentication_while_messages_flow() {
    for chunk in [1, usize::MAX] {
        let play = Play::default();
        let mut bench = staged_with(lasting(Version::V5), &play, Shape { capacity: 100, chunk });
        bench.settle();
        play.log();
        let client = bench.client().clone();
        bench.done(client.subscribe("t", QoS::AtLeastOnce).unwrap()).unwrap();
        let mut messages = client.messages();
        for step in ["start", "answer", "finish"] {
            bench.server.script(|script| {
                script.challenges = ["one", "two"].into();
                script.proof = Some("proof");
            });
            play.waits(Some(step));
            let mut token = client.reauthenticate().unwrap();
            let twice = client.reauthenticate();
            assert!(matches!(twice, Err(CommandError::Unexpected(_))), "{twice:?}");
            bench.settle();
            bench.done(client.publish("t", "1", QoS::AtLeastOnce).unwrap()).unwrap();
            assert_eq!(bench.messages(&mut messages), ["1"]);
            assert!(bench.poll(&mut token).is_pending());
            play.waits(None);
            bench.done(token).unwrap();
            let log = ["start()", "answer(one)", "answer(two)", "finish(proof)"];
            assert_eq!(play.log(), log);
            let said =
                [(AGAIN, log[0].into()), (CONTINUE, log[1].into()), (CONTINUE, log[2].into())];
            let auths = auths(&bench);
            assert_eq!(auths[auths.len() - 3..], said);
        }
        assert_eq!((client.status().connections, play.made()), (1, 4));
    }
}

#[test]
fn a_re_authentication_that_fails_says_why() {
    // The server refuses.
    let play = Play::default();
    let mut bench = standing(&play);
    bench.server.script(|script| script.authentication_refused = Some(NO));
    let token = bench.client().reauthenticate().unwrap();
    let error = bench.done(token).unwrap_err();
    assert!(matches!(error, TokenError::Reauthentication(Error::Disconnected(_))), "{error:?}");
    assert!(error.reason() == Some(NO) && error.is_auth() && !error.is_retryable());
    assert!(matches!(bench.result, Some(Err(Error::Disconnected(_)))));
    let late = bench.client().reauthenticate();
    assert!(matches!(late, Err(CommandError::Closed)), "{late:?}");

    // This side refuses: nothing more is sent but why.
    for step in ["answer", "finish"] {
        let play = Play::default();
        let mut bench = standing(&play);
        bench.server.script(|script| script.challenges.push_back("one"));
        play.waits(Some(step));
        play.fails(Some(step));
        let token = bench.client().reauthenticate().unwrap();
        bench.settle();
        play.waits(None);
        drop(bench.client().publish("t", "secret", QoS::AtLeastOnce).unwrap());
        let error = bench.done(token).unwrap_err();
        let TokenError::Reauthentication(Error::Authentication { error, .. }) = &error else {
            panic!("{error:?}")
        };
        assert_eq!(error.to_string(), format!("{step} fails"));
        let seen = bench.server.seen();
        assert!(seen.contains(&Seen::Disconnect(ReasonCode::UNSPECIFIED_ERROR)), "{seen:?}");
        assert!(!seen.iter().any(|seen| matches!(seen, Seen::Publish { .. })), "{seen:?}");
    }

    // It cannot even begin, or not with this method: the connection does not care.
    let play = Play::default();
    let mut bench = standing(&play);
    for method in ["METHOD", "OTHER", "nul\0"] {
        play.fails(Some("start").filter(|_| method == "METHOD"));
        play.0.lock().unwrap().method = Some(method);
        let token = bench.client().reauthenticate().unwrap();
        let error = bench.done(token).unwrap_err();
        let TokenError::Reauthentication(error) = &error else { panic!("{error:?}") };
        assert!(matches!(error, Error::Authentication { step: Step::Start, .. }), "{error:?}");
        assert_eq!(bench.client().status().phase, Phase::Connected);
    }
    assert_eq!((auths(&bench), bench.client().status().connections), (vec![], 1));
    play.fails(None);
    play.0.lock().unwrap().method = None;
    let token = bench.client().reauthenticate().unwrap();
    bench.done(token).unwrap();
}

// class: 43
#[test]
fn a_re_authentication_ends_with_its_connection() {
    for step in ["start", "answer", "finish"] {
        let play = Play::default();
        let mut bench = standing(&play);
        bench.server.script(|script| script.challenges.push_back("one"));
        play.waits(Some(step));
        let token = bench.client().reauthenticate().unwrap();
        bench.settle();
        play.log();
        bench.server.cut();
        let error = bench.done(token).unwrap_err();
        assert!(matches!(error, TokenError::Reauthentication(Error::Eof { .. })), "{error:?}");
        assert_eq!(play.log(), ["dropped"]);
        let early = bench.client().reauthenticate();
        assert!(matches!(early, Err(CommandError::NotConnected)), "{early:?}");
        // The next connection authenticates on its own, and then it works again.
        play.waits(None);
        bench.server.script(|script| script.challenges.clear());
        bench.advance(Duration::from_secs(1));
        let token = bench.client().reauthenticate().unwrap();
        bench.done(token).unwrap();
        assert_eq!(play.log(), ["start()", "finish()", "start()", "finish()"]);
    }
    // A server that says nothing, and an authenticator that does not.
    for step in [None, Some("answer")] {
        let play = Play::default();
        let mut bench = standing(&play);
        play.waits(step);
        bench.server.script(|script| {
            script.deaf = step.is_none();
            script.challenges.push_back("one");
        });
        let mut token = bench.client().reauthenticate().unwrap();
        bench.settle();
        bench.advance(Duration::from_millis(9_999));
        assert!(bench.poll(&mut token).is_pending());
        bench.advance(Duration::from_millis(1));
        bench.advance(Duration::from_secs(1));
        let error = bench.done(token).unwrap_err();
        let TokenError::Reauthentication(error) = &error else { panic!("{error:?}") };
        assert!(matches!(error, Error::Timeout(Timeout::Authentication)), "{error:?}");
    }
    // The end of the client.
    let play = Play::default();
    let mut bench = standing(&play);
    play.waits(Some("start"));
    let token = bench.client().reauthenticate().unwrap();
    bench.settle();
    let drained = bench.client().drain();
    bench.settle();
    assert!(bench.result.is_none(), "it is waited for");
    play.waits(None);
    bench.done(token).unwrap();
    bench.done(drained).unwrap();
    let play = Play::default();
    let mut bench = standing(&play);
    play.waits(Some("start"));
    let token = bench.client().reauthenticate().unwrap();
    bench.settle();
    bench.driver = None;
    assert!(matches!(bench.done(token), Err(TokenError::DriverGone)));
}
