//! What a token comes to, and when.

mod common;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use common::bench::{Bench, Flag, Manual, VERSIONS, config};
use common::pipe::Shape;
use futures_io::{AsyncRead, AsyncWrite};
use mqtt_async::{Client, Failure, QoS, ReasonCode, TokenError, Version};

/// A pipe that takes one packet and a half of those that [`stuck`] publishes.
const NARROW: Shape = Shape { capacity: 150, chunk: usize::MAX };

/// A client whose server does not read, with three messages: the first one lies in the pipe.
fn stuck(version: Version) -> (Bench, Vec<mqtt_async::Publishing>) {
    let mut bench = Bench::new(config(version), NARROW);
    bench.settle();
    bench.server.script(|script| script.deaf = true);
    let payload = "x".repeat(90);
    let publish = || bench.client().publish("t", payload.clone(), QoS::AtMostOnce).unwrap();
    let tokens = vec![publish(), publish(), publish()];
    (bench, tokens)
}

fn poll_all(bench: &Bench, tokens: &mut [mqtt_async::Publishing]) -> Vec<bool> {
    tokens.iter_mut().map(|token| bench.poll(token).is_ready()).collect()
}

#[test]
fn at_most_once_is_done_when_the_transport_has_taken_it() {
    for version in VERSIONS {
        let (mut bench, mut tokens) = stuck(version);
        assert_eq!(poll_all(&bench, &mut tokens), [false; 3], "nothing has been written");
        bench.settle();
        let mut first = tokens.remove(0);
        assert!(matches!(bench.poll(&mut first), Poll::Ready(Ok(_))));
        assert_eq!(poll_all(&bench, &mut tokens), [false; 2], "the pipe is full");
        assert_eq!(bench.client().stats().acked, 1);
        bench.server.script(|script| script.deaf = false);
        for token in tokens {
            bench.done(token).unwrap();
        }
        assert_eq!(bench.client().stats().acked, 3);
    }
}

// class: 43
#[test]
fn at_most_once_says_so_if_the_connection_broke_before_it_was_written() {
    for version in VERSIONS {
        let (mut bench, mut tokens) = stuck(version);
        bench.settle();
        bench.server.cut();
        bench.settle();
        let first = tokens.remove(0);
        bench.done(first).unwrap();
        for token in tokens {
            let error = bench.done(token).unwrap_err();
            assert!(matches!(error, TokenError::Failed(Failure::NotWritten)), "{error}");
            assert!(error.is_retryable());
        }
        // What waits for a connection is sent with the next one.
        let waits = bench.client().publish("t", "later", QoS::AtMostOnce).unwrap();
        bench.server.script(|script| script.deaf = false);
        bench.advance(Duration::from_secs(1));
        bench.done(waits).unwrap();
    }
}

// class: 44
#[test]
fn at_most_once_is_done_while_the_connection_ends() {
    for version in VERSIONS {
        let (mut bench, mut tokens) = stuck(version);
        let closing = bench.client().disconnect();
        bench.settle();
        // DISCONNECT stands behind them: the session's part is over.
        assert!(bench.done(tokens.remove(0)).is_ok());
        assert_eq!(poll_all(&bench, &mut tokens), [false; 2]);
        bench.server.script(|script| script.deaf = false);
        bench.settle();
        for token in tokens {
            bench.done(token).unwrap();
        }
        bench.end().unwrap();
        bench.done(closing).unwrap();
    }
}

// class: 43, 44
#[test]
fn at_most_once_fails_with_a_server_that_takes_no_more_at_the_end() {
    let (mut bench, mut tokens) = stuck(Version::V5);
    drop(bench.client().disconnect());
    bench.end().unwrap();
    bench.done(tokens.remove(0)).unwrap();
    for token in tokens {
        let error = bench.done(token).unwrap_err();
        assert!(matches!(error, TokenError::Failed(Failure::NotWritten)), "{error}");
    }
}

/// A server that says CONNACK, and nothing more once it has got a message.
#[derive(Default)]
struct Leaving {
    writes: usize,
    said: usize,
}

impl AsyncRead for Leaving {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let connack = [0x20, 2, 0, 0];
        match (self.writes, self.said) {
            (0, _) => Poll::Pending,
            (_, 0) => {
                buffer[..4].copy_from_slice(&connack);
                self.said = 4;
                Poll::Ready(Ok(4))
            }
            (1, _) => Poll::Pending,
            _ => Poll::Ready(Ok(0)),
        }
    }
}

impl AsyncWrite for Leaving {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writes += 1;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[test]
fn at_most_once_is_done_if_the_end_is_read_right_after_it_was_written() {
    let connector = || std::future::ready(io::Result::Ok(Leaving::default()));
    let (client, mut driver) = Client::with_timer(config(Version::V311), connector, Manual::new());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut driver).poll(&mut cx).is_pending());
    assert!(client.status().connected.is_some());
    let mut token = client.publish("t", "x", QoS::AtMostOnce).unwrap();
    assert!(Pin::new(&mut driver).poll(&mut cx).is_pending());
    assert!(client.status().last_error.is_some());
    assert!(matches!(Pin::new(&mut token).poll(&mut cx), Poll::Ready(Ok(_))));
}

/// What many tokens of all kinds come to, whoever asks, and whenever.
#[test]
fn each_token_finds_its_own_outcome() {
    const MESSAGES: usize = 1000;
    let unmatched = ReasonCode::NO_MATCHING_SUBSCRIBERS;
    for reason in [ReasonCode::SUCCESS, unmatched, ReasonCode::QUOTA_EXCEEDED] {
        for polls in [Polls::Never, Polls::Before, Polls::All] {
            let mut bench = Bench::connected(config(Version::V5));
            bench.server.script(|script| script.publish_reason = reason);
            let mut tokens = Vec::new();
            for number in 0..MESSAGES {
                let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce][number % 3];
                tokens.push((qos, bench.client().publish("t", "x", qos).unwrap()));
                if number % 7 == 0 {
                    // Another number of the session.
                    drop(bench.client().subscribe("t", qos).unwrap());
                }
            }
            let mut kept = Vec::new();
            for (number, mut token) in tokens.into_iter().enumerate() {
                match polls {
                    Polls::Never => {}
                    Polls::Before if number % 2 == 0 => {}
                    _ => assert!(bench.poll(&mut token.1).is_pending()),
                }
                // Those of the others are dropped, asked for or not.
                if number % 5 != 1 {
                    kept.push(token);
                }
            }
            bench.settle();
            kept.reverse();
            for (qos, token) in kept {
                match bench.done(token) {
                    Ok(published) if qos == QoS::AtMostOnce => {
                        assert_eq!(published.reason, ReasonCode::SUCCESS);
                    }
                    Ok(published) => assert_eq!(published.reason, reason),
                    Err(error) => {
                        assert!(reason.is_error() && qos != QoS::AtMostOnce);
                        assert_eq!(error.reason(), Some(reason));
                    }
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Polls {
    Never,
    Before,
    All,
}

#[test]
fn the_last_waker_that_polled_is_woken_once() {
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut bench = Bench::connected(config(Version::V5));
        let mut token = bench.client().publish("t", "x", qos).unwrap();
        let [first, second] = [(); 2].map(|()| Arc::new(Flag::default()));
        for flag in [&first, &second, &second] {
            let waker = Waker::from(Arc::clone(flag));
            assert!(Pin::new(&mut token).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        bench.settle();
        assert!(!first.take() && second.take());
        assert_eq!(Arc::strong_count(&second), 1, "no waker is left behind");
        bench.done(token).unwrap();
    }
}

// class: 43
#[test]
fn every_token_has_an_end_when_the_client_has_one() {
    for aborts in [false, true] {
        let mut bench = Bench::connected(config(Version::V5));
        bench.server.script(|script| {
            script.hold_acks = true;
            script.hold_grants = true;
        });
        let client = bench.client().clone();
        let mut polled = client.publish("t", "x", QoS::ExactlyOnce).unwrap();
        let unpolled = client.publish("t", "x", QoS::AtLeastOnce).unwrap();
        let mut received = client.publish("t", "x", QoS::ExactlyOnce).unwrap();
        let (subscribing, unsubscribing) =
            (client.subscribe("t", QoS::AtMostOnce).unwrap(), client.unsubscribe("u").unwrap());
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&flag));
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut polled).poll(&mut cx).is_pending());
        assert!(Pin::new(&mut received.received()).poll(&mut cx).is_pending());
        bench.settle();
        if aborts {
            bench.driver = None;
        } else {
            drop(client.disconnect());
            bench.end().unwrap();
        }
        assert!(flag.take());
        let is_end = |error: &TokenError| match aborts {
            true => matches!(error, TokenError::DriverGone),
            false => matches!(error, TokenError::Closed),
        };
        assert!(bench.done(received.received()).is_err_and(|error| is_end(&error)));
        for token in [polled, unpolled, received] {
            assert!(bench.done(token).is_err_and(|error| is_end(&error)));
        }
        assert!(bench.done(subscribing).is_err_and(|error| is_end(&error)));
        assert!(bench.done(unsubscribing).is_err_and(|error| is_end(&error)));
        assert!(client.publish("t", "x", QoS::AtMostOnce).is_err());
    }
}

#[test]
fn the_client_is_freed_with_its_last_token() {
    /// The end of a payload.
    struct Payload(Arc<Flag>);

    impl AsRef<[u8]> for Payload {
        fn as_ref(&self) -> &[u8] {
            b"x"
        }
    }

    impl Drop for Payload {
        fn drop(&mut self) {
            self.0.set();
        }
    }

    let mut bench = Bench::connected(config(Version::V5));
    bench.server.script(|script| script.hold_acks = true);
    let flag = Arc::new(Flag::default());
    let payload = Bytes::from_owner(Payload(Arc::clone(&flag)));
    let token = bench.client().publish("t", payload, QoS::AtLeastOnce).unwrap();
    for _ in 0..100 {
        drop(bench.client().publish("t", "x", QoS::AtLeastOnce).unwrap());
    }
    bench.settle();
    bench.client = None;
    bench.end().unwrap();
    assert!(!flag.take(), "the token holds what is left of the client");
    drop(token);
    assert!(flag.take());
}
