//! The lock is held over no I/O, no waker and no code of the user: all of these call the client here.
//! If it were held, the second lock would hang, and the guard would say so.

mod common;

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use common::bench::{Manual, config};
use common::pipe::{Pipe, Shape, pipe};
use common::runtime::guarded;
use common::server::{Connection, Seen, Server};
use futures_io::{AsyncRead, AsyncWrite};
use mqtt_async::{Client, Clock, QoS, Timer, Version};

/// Calls the client, as often as there are calls left.
#[derive(Clone, Default)]
struct Caller {
    client: Arc<OnceLock<Client>>,
    publishes: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
    /// Publish in the call of that number.
    publish_at: Arc<AtomicUsize>,
}

impl Caller {
    fn call(&self) {
        let Some(client) = self.client.get() else { return };
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        if call == self.publish_at.load(Ordering::Relaxed) {
            let _ = client.publish("between", "x", QoS::AtMostOnce);
        }
        let _ = client.status();
        drop((client.ready(), client.connected()));
        let left = self.publishes.load(Ordering::Relaxed);
        if left > 0 {
            self.publishes.store(left - 1, Ordering::Relaxed);
            drop(client.publish("again", "x", QoS::AtLeastOnce).unwrap());
        }
    }
}

struct Reentrant(Pipe, Caller);

impl AsyncRead for Reentrant {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.1.call();
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Reentrant {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1.call();
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.1.call();
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.1.call();
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.1.call();
        Pin::new(&mut self.0).poll_close(cx)
    }
}

impl Drop for Reentrant {
    fn drop(&mut self) {
        self.1.call();
    }
}

struct CallingTimer(Manual, Caller);

impl Timer for CallingTimer {
    fn now(&self) -> Instant {
        self.1.call();
        self.0.now()
    }

    fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        self.1.call();
        self.0.poll_until(deadline, cx)
    }

    fn clock(&self) -> Clock {
        let (clock, caller) = (self.0.clone(), self.1.clone());
        Clock::new(move || {
            caller.call();
            clock.now()
        })
    }
}

/// A waker that calls the client when it is woken and when it is dropped.
struct CallingWaker(Caller, common::bench::Flag);

impl Wake for CallingWaker {
    fn wake(self: Arc<Self>) {
        self.1.set();
        self.0.call();
    }
}

impl Drop for CallingWaker {
    fn drop(&mut self) {
        self.0.call();
    }
}

fn poll<F: Future + Unpin>(future: &mut F, caller: &Caller) -> (Poll<F::Output>, bool) {
    let waker = Arc::new(CallingWaker(caller.clone(), common::bench::Flag::default()));
    let poll = Pin::new(future).poll(&mut Context::from_waker(&Waker::from(Arc::clone(&waker))));
    (poll, waker.1.take())
}

#[test]
fn a_command_at_any_point_of_a_poll_wakes_the_driver() {
    guarded(|| {
        let mut reached = 0;
        for after in 0..60 {
            let (caller, server) = (Caller::default(), Server::new());
            caller.publish_at.store(usize::MAX, Ordering::Relaxed);
            let connections = Arc::new(Mutex::new(Vec::<Connection<Pipe>>::new()));
            let (calls, serve, list) = (caller.clone(), server.clone(), Arc::clone(&connections));
            let connector = move || {
                let (ours, theirs) = pipe(Shape::default());
                list.lock().unwrap().push(serve.serve(theirs));
                std::future::ready(io::Result::Ok(Reentrant(ours, calls.clone())))
            };
            let timer = CallingTimer(Manual::new(), caller.clone());
            let (client, mut driver) = Client::with_timer(config(Version::V5), connector, timer);
            assert!(caller.client.set(client.clone()).is_ok());
            // Each is polled only when it is woken itself.
            let [ours, theirs] = [(); 2].map(|()| Arc::new(common::bench::Flag::default()));
            ours.set();
            let mut settle = || {
                loop {
                    if ours.take() {
                        let waker = Waker::from(Arc::clone(&ours));
                        let poll = Pin::new(&mut driver).poll(&mut Context::from_waker(&waker));
                        assert!(poll.is_pending());
                        // A new connection is polled for the first time.
                        theirs.set();
                    } else if theirs.take() {
                        let waker = Waker::from(Arc::clone(&theirs));
                        for connection in connections.lock().unwrap().iter_mut() {
                            let _ = Pin::new(connection).poll(&mut Context::from_waker(&waker));
                        }
                    } else {
                        break;
                    }
                }
            };
            settle();
            let at = caller.calls.load(Ordering::Relaxed) + after;
            caller.publish_at.store(at, Ordering::Relaxed);
            // It wakes the driver, whose waker is then gone until it sleeps again.
            drop(client.publish("first", "x", QoS::AtMostOnce).unwrap());
            settle();
            let called = caller.calls.load(Ordering::Relaxed) > at;
            let published = server.count(|seen| matches!(seen, Seen::Publish { .. }));
            assert_eq!(published, 1 + usize::from(called), "{after}");
            reached += usize::from(called);
        }
        assert!((5..60).contains(&reached), "{reached}");
    });
}

#[test]
fn everything_may_call_the_client() {
    guarded(|| {
        let (caller, server) = (Caller::default(), Server::new());
        caller.publish_at.store(usize::MAX, Ordering::Relaxed);
        let connections = Arc::new(Mutex::new(Vec::<Connection<Pipe>>::new()));
        let (calls, serve, list) = (caller.clone(), server.clone(), Arc::clone(&connections));
        let connector = move || {
            calls.call();
            let (ours, theirs) = pipe(Shape { capacity: 50, chunk: 9 });
            list.lock().unwrap().push(serve.serve(theirs));
            std::future::ready(io::Result::Ok(Reentrant(ours, calls.clone())))
        };
        let clock = Manual::new();
        let timer = CallingTimer(clock.clone(), caller.clone());
        let (client, mut driver) = Client::with_timer(config(Version::V5), connector, timer);
        assert!(caller.client.set(client.clone()).is_ok());
        let mut messages = client.messages();
        let mut subscribing = client.subscribe("#", QoS::AtLeastOnce).unwrap();
        let mut got = 0;
        let mut turn = || {
            let (poll_driver, _) = poll(&mut driver, &caller);
            let (mut next, mut connected) = (messages.next(), client.connected());
            let _ = poll(&mut subscribing, &caller);
            let _ = poll(&mut connected, &caller);
            got += usize::from(poll(&mut next, &caller).0.is_ready());
            // A waker that is replaced is dropped: that one calls as well.
            let _ = poll(&mut next, &caller);
            for connection in connections.lock().unwrap().iter_mut() {
                let _ = poll(connection, &caller);
            }
            (poll_driver, got)
        };
        for _ in 0..200 {
            assert!(turn().0.is_pending());
        }
        caller.publishes.store(30, Ordering::Relaxed);
        for _ in 0..1000 {
            assert!(turn().0.is_pending());
        }
        assert_eq!(server.count(|seen| matches!(seen, Seen::Publish { .. })), 30);
        server.cut();
        for _ in 0..100 {
            clock.advance(Duration::from_millis(100));
            assert!(turn().0.is_pending());
        }
        drop(client.disconnect());
        let mut ended = false;
        for _ in 0..100 {
            clock.advance(Duration::from_millis(100));
            ended |= turn().0.is_ready();
        }
        assert!(ended);
        assert!(turn().1 >= 28, "echoed and taken");
        assert!(caller.calls.load(Ordering::Relaxed) > 1000);
    });
}
