//! A connection that can be read from and not written to any more.

mod common;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::bench::{Flag, Manual, config};
use common::pipe::{Pipe, Shape, pipe};
use common::server::Server;
use futures_io::{AsyncRead, AsyncWrite};
use mqtt_async::{Client, Error, Phase, QoS, Version};

/// Fails to write when it is told to.
struct HalfOpen(Pipe, Arc<AtomicBool>);

impl AsyncRead for HalfOpen {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for HalfOpen {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.1.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

// class: 45
#[test]
fn what_is_unread_is_waited_for_without_turning_round() {
    let (ours, theirs) = pipe(Shape { capacity: 30, chunk: usize::MAX });
    let (server, broken, clock) = (Server::new(), Arc::new(AtomicBool::new(false)), Manual::new());
    let mut transport = Some(HalfOpen(ours, Arc::clone(&broken)));
    let connector = move || std::future::ready(transport.take().ok_or(io::ErrorKind::Other.into()));
    let mut config = config(Version::V5);
    config.session.write_timeout = Duration::from_millis(500);
    let (client, mut driver) = Client::with_timer(config, connector, clock.clone());
    let mut connection = server.serve(theirs);
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&flag));
    let mut cx = Context::from_waker(&waker);
    let mut turn = |serves: bool| {
        let mut turns = 0;
        while turns == 0 || flag.take() {
            turns += 1;
            assert!(turns < 50, "it turns round");
            assert!(Pin::new(&mut driver).poll(&mut cx).is_pending());
            if serves {
                let _ = Pin::new(&mut connection).poll(&mut cx);
            }
        }
    };
    turn(true);
    assert_eq!(client.status().phase, Phase::Connected);
    // Some of it is stuck when the direction to the server breaks.
    drop(client.publish("t", vec![0; 100], QoS::AtMostOnce).unwrap());
    turn(false);
    broken.store(true, Ordering::Relaxed);
    drop(client.publish("t", "", QoS::AtMostOnce).unwrap());
    turn(false);
    assert_eq!(client.status().phase, Phase::Connected);
    // That nothing is written is no news; `close_timeout` is what counts.
    clock.advance(Duration::from_millis(600));
    turn(false);
    assert_eq!(client.status().phase, Phase::Connected);
    clock.advance(Duration::from_millis(400));
    turn(false);
    assert_eq!(client.status().phase, Phase::Waiting);
    let error = client.status().last_error;
    assert!(matches!(error, Some(Error::Io(_))), "{error:?}");
}
