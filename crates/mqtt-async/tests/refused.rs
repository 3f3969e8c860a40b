//! Servers that are not there, do not answer, or answer something else: typed errors, no hang.

mod common;

use std::io;
use std::task::Poll;
use std::time::Duration;

use common::bench::{Bench, VERSIONS, config, lasting};
use common::pipe::Shape;
use common::server::{Greeting, Seen};
use mqtt_async::{
    Client, Config, Error, Event, PacketType, Phase, QoS, ReasonCode, Timeout, TokenError, Version,
};

fn once(version: Version) -> Config {
    let mut config = config(version);
    config.reconnect = None;
    config
}

fn greeted(config: Config, greeting: Greeting) -> (Error, Bench) {
    let mut bench = Bench::new(config, Shape::default());
    bench.server.script(|script| script.greeting = greeting);
    let client = bench.client().clone();
    let token = client.publish("t", "", QoS::AtLeastOnce).unwrap();
    let error = bench.end().unwrap_err();
    // Whoever waits is told the same.
    let failed = [bench.done(client.connected()).err(), bench.done(token).err()];
    for other in failed.into_iter().flatten() {
        assert!(
            matches!(&other, TokenError::Ended(other) if other.to_string() == error.to_string())
        );
    }
    assert_eq!(client.status().phase, Phase::Ended);
    (error, bench)
}

#[test]
fn connack_with_each_refusal_code() {
    use ReasonCode as R;
    let v3 = [
        R::UNSUPPORTED_PROTOCOL_VERSION,
        R::CLIENT_IDENTIFIER_NOT_VALID,
        R::SERVER_UNAVAILABLE,
        R::BAD_USER_NAME_OR_PASSWORD,
        R::NOT_AUTHORIZED,
    ];
    let is_refusal = |reason: &R| reason.is_error() && reason.is_valid_in(PacketType::ConnAck);
    let v5: Vec<_> = (0x80..=0xFF).map(R::new).filter(is_refusal).collect();
    assert_eq!(v5.len(), 21);
    for version in VERSIONS {
        let reasons = if version == Version::V5 { &v5[..] } else { &v3[..] };
        for &reason in reasons {
            let (error, bench) = greeted(once(version), Greeting::Refuse(reason));
            let Error::Refused(connack) = &error else { panic!("{error:?}") };
            assert_eq!(connack.reason, reason);
            assert_eq!(error.reason(), Some(reason));
            assert!(error.to_string().contains(reason.name()), "{error}");
            assert_eq!(bench.server.count(|seen| matches!(seen, Seen::Connect { .. })), 1);

            // With reconnection, some end the driver at once, and the others do not.
            let mut bench = Bench::new(config(version), Shape::default());
            bench.server.script(|script| script.greeting = Greeting::Refuse(reason));
            bench.settle();
            assert_eq!(bench.result.is_none(), error.is_retryable(), "{reason}");
            if error.is_retryable() {
                bench.server.script(|script| script.greeting = Greeting::Mqtt);
                bench.advance(Duration::from_secs(1));
                assert_eq!(bench.client().status().phase, Phase::Connected);
            }
        }
    }
}

#[test]
fn a_server_that_closes_at_once() {
    for version in VERSIONS {
        let (error, _) = greeted(once(version), Greeting::Nothing);
        assert!(matches!(error, Error::Eof { before_connack: true } | Error::Io(_)), "{error:?}");
        assert!(error.is_retryable());
    }
}

// class: 38
#[test]
fn a_server_that_never_answers() {
    for version in VERSIONS {
        let mut bench = Bench::new(once(version), Shape::default());
        bench.server.script(|script| script.greeting = Greeting::Silence);
        let start = bench.clock.clone();
        bench.settle();
        bench.advance(Duration::from_millis(9_999));
        assert!(bench.result.is_none());
        bench.advance(Duration::from_millis(1));
        let error = bench.end().unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{error:?}");
        assert!(error.to_string().contains("did not answer CONNECT"), "{error}");
        drop(start);
    }
}

#[test]
fn a_server_that_speaks_http() {
    for version in VERSIONS {
        let (error, _) = greeted(once(version), Greeting::Http);
        assert!(matches!(error, Error::NotMqtt(_)), "{error:?}");
        assert!(error.to_string().contains("does not speak MQTT"), "{error}");
    }
}

#[test]
fn a_connector_that_fails_or_hangs() {
    let fail = || std::future::ready(Err::<common::pipe::Pipe, _>(io::ErrorKind::NotFound.into()));
    let clock = common::bench::Manual::new();
    let (_client, mut driver) = Client::with_timer(once(Version::V5), fail, clock.clone());
    let bench = Bench::new(once(Version::V5), Shape::default());
    let Poll::Ready(Err(error)) = bench.poll(&mut driver) else { panic!("no end") };
    assert!(matches!(&error, Error::Connect(error) if error.kind() == io::ErrorKind::NotFound));

    let hang = std::future::pending::<io::Result<common::pipe::Pipe>>;
    let (_client, mut driver) = Client::with_timer(once(Version::V5), hang, clock.clone());
    assert!(bench.poll(&mut driver).is_pending());
    clock.advance(Duration::from_secs(30));
    let Poll::Ready(Err(error)) = bench.poll(&mut driver) else { panic!("no end") };
    assert!(matches!(error, Error::ConnectTimeout { stage: None }), "{error:?}");
}

#[test]
fn a_connect_that_breaks_a_rule_is_the_callers_fault() {
    let mut config = config(Version::V311);
    config.session.connect.password = Some("without a name".into());
    let mut bench = Bench::new(config, Shape::default());
    let error = bench.end().unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error:?}");
    assert!(!error.is_retryable());
}

// class: 35
#[test]
fn a_server_that_falls_silent_is_noticed() {
    let mut config = once(Version::V5);
    config.session.connect.keep_alive = 10;
    let mut bench = Bench::connected(config);
    bench.server.script(|script| script.deaf = true);
    bench.advance(Duration::from_secs(10));
    assert!(bench.result.is_none());
    bench.advance(Duration::from_secs(10));
    assert!(matches!(bench.end(), Err(Error::Timeout(_))));
}

// class: 35
#[test]
fn a_server_that_falls_silent_within_a_packet_is_noticed() {
    let mut config = once(Version::V5);
    config.session.connect.keep_alive = 10;
    let mut bench = Bench::connected(config);
    bench.server.script(|script| script.raw = Some(vec![0x30, 100, 0]));
    bench.settle();
    bench.server.script(|script| script.deaf = true);
    // What this side sends is no sign of life.
    for _ in 0..25 {
        let _ = bench.client().publish("t", "", QoS::AtMostOnce);
        bench.advance(Duration::from_secs(1));
    }
    assert!(matches!(bench.result, Some(Err(Error::Timeout(_)))), "{:?}", bench.result);
}

#[test]
fn keeps_alive() {
    let mut config = once(Version::V5);
    config.session.connect.keep_alive = 10;
    let mut bench = Bench::connected(config);
    for _ in 0..100 {
        bench.advance(Duration::from_secs(5));
    }
    assert_eq!(bench.client().status().phase, Phase::Connected);
}

// class: 45
#[test]
fn the_servers_disconnect_is_what_the_error_says() {
    let reason = ReasonCode::SESSION_TAKEN_OVER;
    for chunk in [1, usize::MAX] {
        let mut bench = Bench::new(once(Version::V5), Shape { capacity: 1000, chunk });
        bench.settle();
        bench.server.script(|script| script.disconnect = Some(reason));
        // The server has said it and closed; this side writes into a broken pipe before it has read that.
        bench.poll_server();
        drop(bench.client().publish("t", vec![0; 1000], QoS::AtLeastOnce).unwrap());
        let error = bench.end().unwrap_err();
        assert_eq!(error.reason(), Some(reason), "{error:?}");
    }

    let mut bench = Bench::connected(lasting(Version::V5));
    bench.server.script(|script| script.disconnect = Some(reason));
    bench.settle();
    assert!(matches!(bench.result, Some(Err(_))), "taken over: no ping-pong with the other one");
}

// class: 45
#[test]
fn the_server_learns_what_it_did_wrong() {
    let mut bench = Bench::connected(once(Version::V5));
    bench.server.script(|script| script.raw = Some(vec![0x36, 0x05, 0, 1, b't', 0, 1]));
    let error = bench.end().unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
    let told = Seen::Disconnect(ReasonCode::MALFORMED_PACKET);
    assert!(bench.server.seen().contains(&told), "{:?}", bench.server.seen());
}

// class: 39
#[test]
fn a_server_that_kicks_at_once_is_not_stormed() {
    let mut bench = Bench::new(config(Version::V311), Shape::default());
    bench.server.script(|script| script.cut_on_publish = usize::MAX);
    drop(bench.client().publish("t", "poison", QoS::AtLeastOnce).unwrap());
    for _ in 0..3600 {
        bench.advance(Duration::from_secs(1));
    }
    let attempts = bench.server.count(|seen| matches!(seen, Seen::Connect { .. }));
    assert!((60..400).contains(&attempts), "{attempts}");
}

// class: 39
#[test]
fn only_a_connection_that_was_stable_begins_the_backoff_anew() {
    let stable = Duration::from_secs(30);
    for stood in [stable - Duration::from_millis(1), stable] {
        let mut bench = Bench::connected(config(Version::V5));
        let mut events = bench.client().events();
        let mut lose = |bench: &mut Bench, after| {
            bench.advance(after);
            bench.server.cut();
            bench.settle();
            let lost = std::iter::from_fn(|| events.try_next()).last();
            let Some(Event::Disconnected { retry_in: Some(delay), .. }) = lost else {
                panic!("{lost:?}")
            };
            bench.advance(delay);
            assert_eq!(bench.client().status().phase, Phase::Connected);
            delay
        };
        for _ in 0..10 {
            lose(&mut bench, Duration::ZERO);
        }
        // Of a wait of up to a minute, twenty times none above a second is as likely as nothing.
        let longest = (0..20).map(|_| lose(&mut bench, stood)).max().unwrap();
        assert_eq!(longest <= Duration::from_secs(1), stood == stable, "{stood:?}: {longest:?}");
    }
}

#[test]
fn gives_up_after_so_many_attempts() {
    let mut config = config(Version::V5);
    if let Some(backoff) = &mut config.reconnect {
        backoff.attempts = Some(3);
    }
    let mut bench = Bench::new(config, Shape::default());
    bench.server.script(|script| script.greeting = Greeting::Nothing);
    assert!(bench.end().is_err());
    assert_eq!(bench.client().status().failed_attempts, 4);
}

/// Reason codes after which the driver connects again: the table of [`Error::is_retryable`].
const RETRIED_CONNACK: [u8; 6] = [0x80, 0x83, 0x88, 0x89, 0x97, 0x9F];
/// Reason codes after which it does not.
const FINAL_DISCONNECT: [u8; 5] = [0x87, 0x8C, 0x8E, 0x9C, 0x9D];
/// Reason codes that say who the client is: [`Error::is_auth`].
const AUTH: [u8; 4] = [0x86, 0x87, 0x8A, 0x8C];

// class: 39
#[test]
fn connects_again_after_the_reason_codes_of_the_table_and_no_others() {
    let all =
        |packet| (0..=0xFF).map(ReasonCode::new).filter(move |reason| reason.is_valid_in(packet));
    let refusals = all(PacketType::ConnAck).filter(|reason| reason.is_error());
    let (mut refused, mut disconnected) = (0, 0);
    for reason in refusals {
        refused += 1;
        let mut bench = Bench::new(config(Version::V5), Shape::default());
        bench.server.script(|script| script.greeting = Greeting::Refuse(reason));
        bench.settle();
        let again = RETRIED_CONNACK.contains(&reason.get());
        check_retry(&mut bench, reason, again);
    }
    for reason in all(PacketType::Disconnect) {
        disconnected += 1;
        let mut bench = Bench::connected(config(Version::V5));
        bench.server.script(|script| script.raw = Some(vec![0xE0, 1, reason.get()]));
        bench.settle();
        check_retry(&mut bench, reason, !FINAL_DISCONNECT.contains(&reason.get()));
    }
    assert_eq!((refused, disconnected), (21, 30));
}

#[track_caller]
fn check_retry(bench: &mut Bench, reason: ReasonCode, again: bool) {
    let status = bench.client().status();
    let error = status.last_error.unwrap();
    assert_eq!(error.reason(), Some(reason), "{error:?}");
    assert_eq!(error.is_retryable(), again, "{error}");
    assert_eq!(status.phase, if again { Phase::Waiting } else { Phase::Ended }, "{error}");
    assert_eq!(error.is_auth(), AUTH.contains(&reason.get()), "{error}");
    bench.server.script(|script| script.greeting = Greeting::Mqtt);
    bench.advance(Duration::from_secs(1));
    let connected = bench.client().status().phase == Phase::Connected;
    assert_eq!(connected, again, "{error}");
}

// class: 35, 38
#[test]
fn each_wait_for_the_server_has_a_limit_of_its_own() {
    let limited = || {
        let mut config = once(Version::V5);
        config.session.connect.keep_alive = 10;
        config.session.connect_timeout = Duration::from_secs(2);
        config.session.ping_timeout = Duration::from_secs(3);
        config.session.write_timeout = Duration::from_secs(4);
        config
    };
    let mut bench = Bench::new(limited(), Shape::default());
    bench.server.script(|script| script.greeting = Greeting::Silence);
    bench.settle();
    ends_after(&mut bench, Duration::from_secs(2), Timeout::Connect);

    let mut bench = Bench::connected(limited());
    bench.server.script(|script| script.deaf = true);
    bench.advance(Duration::from_secs(10));
    ends_after(&mut bench, Duration::from_secs(3), Timeout::PingResp);

    let mut bench = Bench::new(limited(), Shape { capacity: 100, chunk: usize::MAX });
    bench.settle();
    bench.server.script(|script| script.deaf = true);
    drop(bench.client().publish("t", vec![0; 1000], QoS::AtMostOnce).unwrap());
    bench.settle();
    ends_after(&mut bench, Duration::from_secs(4), Timeout::Write);
}

#[track_caller]
fn ends_after(bench: &mut Bench, limit: Duration, timeout: Timeout) {
    bench.advance(limit - Duration::from_millis(1));
    assert!(bench.result.is_none(), "{timeout:?}");
    bench.advance(Duration::from_millis(1));
    let error = bench.client().status().last_error;
    // The end of the connection has its own time.
    let error = error.unwrap_or_else(|| bench.end().unwrap_err());
    assert!(matches!(error, Error::Timeout(other) if other == timeout), "{error:?}");
}
