//! The driver drops the futures of connectors when they take too long, when the client is closed, and when it is
//! dropped itself.

use std::convert::Infallible;
use std::future::{Future, Ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use mqtt_async::{Client, Connector, Phase, Progress, QoS, Version};

use crate::common::bench::{Bench, Dial, lasting};
use crate::common::pipe::{Pipe, Shape};
use crate::common::requests::SECOND;
use crate::common::server::Server;

/// Connects, but its first future never does.
struct Slow {
    dial: Dial,
    made: usize,
    polls: Arc<AtomicUsize>,
    alive: Arc<()>,
}

struct Slowly {
    io: Option<Ready<io::Result<Pipe>>>,
    polls: Arc<AtomicUsize>,
    _alive: Arc<()>,
}

impl Connector for Slow {
    type Io = Pipe;
    type Connecting = Slowly;

    fn connect(&mut self, progress: &Progress) -> Slowly {
        self.made += 1;
        let io = (self.made > 1).then(|| self.dial.connect(progress));
        Slowly { io, polls: Arc::clone(&self.polls), _alive: Arc::clone(&self.alive) }
    }
}

impl Future for Slowly {
    type Output = io::Result<Pipe>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Pipe>> {
        self.polls.fetch_add(1, Ordering::SeqCst);
        match &mut self.io {
            Some(io) => Pin::new(io).poll(cx),
            None => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}

#[test]
fn the_driver_drops_one_and_goes_on_with_the_next() {
    for polls in 0..6 {
        for end in ["timeout", "abort", "disconnect", "driver"] {
            let (count, alive) = (Arc::new(AtomicUsize::new(0)), Arc::new(()));
            let made = Bench::with(Server::new(), Shape::default(), |dial, clock| {
                let (polls, alive) = (Arc::clone(&count), Arc::clone(&alive));
                let connector = Slow { dial, made: 0, polls, alive };
                let (client, driver) = Client::with_timer(lasting(Version::V5), connector, clock);
                Ok::<_, Infallible>((client, driver, ()))
            });
            let Ok((mut bench, ())) = made;
            let mut token = bench.client().publish("t", "it", QoS::ExactlyOnce).unwrap();
            for _ in 0..polls {
                bench.step();
            }
            let before = count.load(Ordering::SeqCst);
            assert_eq!(before > 0, polls > 0);
            match end {
                "timeout" => {
                    bench.step();
                    bench.clock.advance(60 * SECOND);
                    bench.settle();
                    bench.advance(60 * SECOND);
                    assert_eq!(bench.client().status().phase, Phase::Connected);
                    bench.done(token).unwrap();
                }
                "driver" => {
                    bench.driver = None;
                    assert!(matches!(bench.poll(&mut token), Poll::Ready(Err(_))));
                }
                // What is queued is worth the attempt that is under way.
                "disconnect" => {
                    drop(token.cancel());
                    drop(bench.client().disconnect());
                    bench.end().unwrap();
                }
                _ => {
                    drop(bench.client().abort());
                    bench.end().unwrap();
                    assert!(matches!(bench.poll(&mut token), Poll::Ready(Err(_))));
                }
            }
            drop(bench);
            assert_eq!(Arc::strong_count(&alive), 1, "{end}: a future is left");
        }
    }
}
