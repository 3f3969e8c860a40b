//! What an application decides about the connection: hooks, and when to subscribe anew.

mod common;

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use common::bench::{Bench, VERSIONS, config, lasting};
use common::pipe::Shape;
use common::server::{Greeting, Seen};
use mqtt_async::{
    Client, Connector, Error, Event, Phase, Progress, QoS, ReasonCode, Resubscribe,
    ResubscribeOrder, Tcp, Text, TokioTcp, Version, Will,
};

const BAD: ReasonCode = ReasonCode::BAD_USER_NAME_OR_PASSWORD;

#[test]
fn each_attempt_has_fresh_credentials_and_a_server() {
    for version in VERSIONS {
        let tokens = Arc::new(AtomicU32::new(0));
        let mut bench = Bench::hooked(config(version), Shape::default(), |driver| {
            driver.reconnect_if(|error, failed| error.is_auth() && failed < 3).before_connect(
                move |mut attempt| {
                    let token = tokens.fetch_add(1, Ordering::SeqCst);
                    async move {
                        assert_eq!(attempt.failed, token);
                        assert_eq!(attempt.last_error.is_some(), token > 0);
                        attempt.connect.user_name = Some(Text::new("user")?);
                        attempt.connect.password = Some(format!("token {token}").into());
                        attempt.server = Some(format!("server {token}"));
                        Ok(attempt)
                    }
                },
            )
        });
        bench.server.script(|script| script.greeting = Greeting::Refuse(BAD));
        bench.settle();
        assert_eq!(bench.client().status().phase, Phase::Waiting);
        bench.advance(Duration::from_secs(1));
        bench.server.script(|script| script.greeting = Greeting::Mqtt);
        bench.advance(Duration::from_secs(2));
        assert_eq!(bench.client().status().phase, Phase::Connected);
        let passwords = bench.server.script(|script| {
            script.connects.iter().map(|it| it.password.clone().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(passwords, ["token 0", "token 1", "token 2"]);
        assert_eq!(*bench.selected.lock().unwrap(), ["server 0", "server 1", "server 2"]);
    }
}

#[test]
fn a_hook_stops_what_would_be_tried_again_and_the_other_way_round() {
    // Without a hook, bad credentials end the driver.
    let mut bench = Bench::new(config(Version::V5), Shape::default());
    bench.server.script(|script| script.greeting = Greeting::Refuse(BAD));
    assert!(bench.end().unwrap_err().is_auth());
    assert_eq!(bench.server.count(|seen| matches!(seen, Seen::Connect { .. })), 1);

    // With one, as long as it says so.
    let asked = Arc::new(Mutex::new(Vec::new()));
    let list = Arc::clone(&asked);
    let mut bench = Bench::hooked(config(Version::V5), Shape::default(), |driver| {
        driver.reconnect_if(move |error, failed| {
            list.lock().unwrap().push((error.reason(), failed));
            failed < 3
        })
    });
    bench.server.script(|script| script.greeting = Greeting::Refuse(BAD));
    assert!(bench.end().unwrap_err().is_auth());
    assert_eq!(bench.server.count(|seen| matches!(seen, Seen::Connect { .. })), 3);
    assert_eq!(*asked.lock().unwrap(), [1, 2, 3].map(|failed| (Some(BAD), failed)));

    // What is worth a retry is not tried again if it says so.
    let mut bench = Bench::hooked(config(Version::V5), Shape::default(), |driver| {
        driver.reconnect_if(|_, failed| failed > 0)
    });
    bench.settle();
    bench.server.cut();
    assert!(matches!(bench.end(), Err(Error::Eof { before_connack: false })));
}

#[test]
fn a_hook_that_fails_hangs_or_names_no_server_is_a_failed_attempt() {
    for fault in ["fails", "hangs", "unknown"] {
        let mut bench = Bench::hooked(config(Version::V5), Shape::default(), |driver| {
            driver.before_connect(move |mut attempt| async move {
                match fault {
                    "fails" => return Err(io::Error::other("no token").into()),
                    "hangs" => std::future::pending().await,
                    _ => attempt.server = Some(fault.to_owned()),
                }
                Ok(attempt)
            })
        });
        bench.settle();
        if fault == "hangs" {
            assert_eq!(bench.client().status().phase, Phase::Connecting);
            bench.advance(Duration::from_secs(30));
        }
        let status = bench.client().status();
        assert_eq!((status.phase, status.failed_attempts), (Phase::Waiting, 1), "{fault}");
        match status.last_error {
            Some(Error::Hook(_)) if fault != "unknown" => {}
            Some(Error::Connect(_)) if fault == "unknown" => {}
            other => panic!("{fault}: {other:?}"),
        }
        assert!(bench.server.script(|script| script.connects.is_empty()));
        assert!(bench.client().stats().losses.total() == 1);
    }
}

#[test]
fn a_closed_client_does_not_wait_for_its_hook() {
    let mut bench = Bench::hooked(config(Version::V5), Shape::default(), |driver| {
        driver.before_connect(|_| std::future::pending())
    });
    bench.settle();
    let closing = bench.client().disconnect();
    assert!(bench.done(closing).is_ok());
    assert!(matches!(bench.result, Some(Ok(()))));
}

/// Subscribes, loses the connection, and returns what is subscribed to anew and what is told of it.
fn renewed(policy: Resubscribe, forget: bool, refuse: bool) -> (usize, Vec<(String, ReasonCode)>) {
    let mut config = lasting(Version::V5);
    config.resubscribe = policy;
    let mut bench = Bench::connected(config);
    let client = bench.client().clone();
    for filter in ["a/+", "b"] {
        bench.done(client.subscribe(filter, QoS::AtLeastOnce).unwrap()).unwrap();
    }
    let mut events = client.events();
    bench.server.script(|script| {
        script.forget = forget;
        script.reject_filters = refuse.then_some(ReasonCode::NOT_AUTHORIZED);
    });
    bench.server.cut();
    bench.settle();
    bench.advance(Duration::from_secs(1));
    let mut told = Vec::new();
    while let Some(event) = events.try_next() {
        if let Event::Resubscribed { results } = event {
            told.extend(results.iter().map(|(filter, it)| (filter.as_str().to_owned(), *it)));
        }
    }
    assert_eq!(client.status().not_resubscribed.len(), if refuse { told.len() } else { 0 });
    (bench.server.count(|seen| matches!(seen, Seen::Subscribe(_))) - 2, told)
}

#[test]
fn subscribes_anew_as_the_policy_says_and_tells_the_results() {
    let both = |reason| vec![("a/+".to_owned(), reason), ("b".to_owned(), reason)];
    let granted = (1, both(ReasonCode::GRANTED_QOS_1));
    let refused = (1, both(ReasonCode::NOT_AUTHORIZED));
    let nothing = (0, Vec::new());
    assert_eq!(renewed(Resubscribe::OnNewSession, true, false), granted);
    assert_eq!(renewed(Resubscribe::OnNewSession, true, true), refused);
    assert_eq!(renewed(Resubscribe::OnNewSession, false, false), nothing);
    assert_eq!(renewed(Resubscribe::Always, true, false), granted);
    assert_eq!(renewed(Resubscribe::Always, false, false), granted);
    assert_eq!(renewed(Resubscribe::Never, true, false), nothing);
    assert_eq!(renewed(Resubscribe::Never, false, false), nothing);
}

/// What the server has seen of messages and subscriptions since its last CONNECT.
fn since_connect(bench: &Bench) -> Vec<String> {
    let mut seen = bench.server.seen();
    let connect = seen.iter().rposition(|seen| matches!(seen, Seen::Connect { .. })).unwrap();
    let seen = seen.drain(connect + 1..).filter_map(|seen| match seen {
        Seen::Subscribe(filters) => Some(filters.join(" ")),
        Seen::Publish { payload, .. } => Some(String::from_utf8(payload).unwrap()),
        _ => None,
    });
    seen.collect()
}

#[test]
fn subscribes_anew_before_or_after_what_waits() {
    for version in VERSIONS {
        for order in [ResubscribeOrder::BeforeQueued, ResubscribeOrder::AfterQueued] {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
                let mut config = lasting(version);
                config.resubscribe_order = order;
                // On all versions, one message at a time.
                config.session.max_in_flight = 1;
                let mut bench = Bench::connected(config);
                let client = bench.client().clone();
                bench.done(client.subscribe("a", QoS::AtLeastOnce).unwrap()).unwrap();
                bench.server.script(|script| (script.forget, script.hold_acks) = (true, true));
                bench.server.cut();
                bench.settle();
                for number in 1..=2 {
                    drop(client.publish("t", number.to_string(), qos).unwrap());
                }
                let taken_back = client.publish("t", "3", qos).unwrap();
                bench.advance(Duration::from_secs(1));
                let before = order == ResubscribeOrder::BeforeQueued;
                if qos == QoS::AtMostOnce {
                    let expected = if before { ["a", "1", "2", "3"] } else { ["1", "2", "3", "a"] };
                    assert_eq!(since_connect(&bench), expected);
                    continue;
                }
                // What comes later holds nothing back.
                drop(client.publish("t", "4", qos).unwrap());
                bench.settle();
                assert_eq!(since_connect(&bench), if before { &["a", "1"][..] } else { &["1"] });
                bench.server.script(|script| script.hold_acks = false);
                bench.poll_server();
                bench.server.script(|script| script.hold_acks = true);
                bench.settle();
                let sent = if before { &["a", "1", "2"][..] } else { &["1", "2"] };
                assert_eq!(since_connect(&bench), sent);
                assert!(taken_back.cancel().is_some());
                bench.settle();
                let sent = if before { ["a", "1", "2"] } else { ["1", "2", "a"] };
                assert_eq!(since_connect(&bench), sent);
            }
        }
    }
}

#[test]
fn falls_back_to_v311_once_if_it_may() {
    // In the words of MQTT 5.0, and in those of a server that knows 3.1.1 only.
    for bytes in [vec![0x20, 3, 0, 0x84, 0], vec![0x20, 2, 0, 1]] {
        for fall_back in [true, false] {
            let mut config = lasting(Version::V5);
            config.fall_back_to_v311 = fall_back;
            let mut will = Will::new("gone".try_into().unwrap(), "");
            will.delay_interval = Some(7);
            config.session.connect.will = Some(will);
            let mut bench = Bench::new(config, Shape::default());
            bench.server.script(|script| script.refuse_v5 = Some(bytes.clone()));
            let client = bench.client().clone();
            let mut events = client.events();
            let token = client.publish("t", "", QoS::AtLeastOnce).unwrap();
            bench.settle();
            let event = events.try_next();
            let Some(Event::AttemptFailed { retry_in, .. }) = event else { panic!("{event:?}") };
            if fall_back {
                assert_eq!(retry_in, Some(Duration::ZERO));
                bench.done(token).unwrap();
                assert!(client.status().connected.is_some());
                assert_eq!(bench.server.script(|script| script.connects.len()), 2);
                // It stays so.
                bench.server.cut();
                bench.settle();
                bench.advance(Duration::from_secs(1));
                assert!(client.status().connected.unwrap().resumed);
                assert_eq!(bench.server.script(|script| script.connects.len()), 3);
            } else {
                assert_eq!(client.status().phase == Phase::Ended, bytes.len() == 5);
                assert!(client.status().connected.is_none());
            }
        }
    }
}

#[test]
fn a_hook_that_sets_the_version_back_makes_no_loop() {
    let mut config = config(Version::V5);
    config.fall_back_to_v311 = true;
    let mut bench = Bench::hooked(config, Shape::default(), |driver| {
        driver.before_connect(|mut attempt| async move {
            attempt.version = Version::V5;
            Ok(attempt)
        })
    });
    bench.server.script(|script| script.refuse_v5 = Some(vec![0x20, 3, 0, 0x84, 0]));
    bench.settle();
    assert_eq!(bench.client().status().phase, Phase::Ended);
    assert_eq!(bench.server.script(|script| script.connects.len()), 2);
}

#[test]
fn hooks_may_call_the_client() {
    let place: Arc<OnceLock<Client>> = Arc::default();
    let (first, second) = (Arc::clone(&place), Arc::clone(&place));
    let mut bench = Bench::hooked(config(Version::V5), Shape::default(), |driver| {
        driver
            .before_connect(move |attempt| {
                let client = first.get().unwrap();
                drop(client.publish("t", "from a hook", QoS::AtLeastOnce).unwrap());
                assert_eq!(client.status().phase, Phase::Connecting);
                std::future::ready(Ok(attempt))
            })
            .reconnect_if(move |_, _| second.get().unwrap().stats().connections < 2)
    });
    place.set(bench.client().clone()).unwrap();
    bench.settle();
    bench.server.cut();
    bench.settle();
    bench.advance(Duration::from_secs(1));
    assert_eq!(bench.client().stats().acked, 2);
    bench.server.cut();
    assert!(bench.end().is_err());
}

#[test]
fn tcp_connectors_go_to_the_selected_server_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = format!("127.0.0.1:{port}");

    let mut tcp = Tcp::new("127.0.0.1", closed);
    tcp.select(&server).unwrap();
    assert!(futures_lite::future::block_on(tcp.connect(&Progress::default())).is_ok());
    assert!(futures_lite::future::block_on(tcp.connect(&Progress::default())).is_err());
    assert!(tcp.select("no port:x").is_err());

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut tcp = TokioTcp::new("127.0.0.1", closed);
    tcp.select(&server).unwrap();
    assert!(runtime.block_on(async { tcp.connect(&Progress::default()).await }).is_ok());
    assert!(runtime.block_on(async { tcp.connect(&Progress::default()).await }).is_err());
}
