//! The time that each stage of a connector has, with a timer that the test advances.

mod common;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::bench::{Manual, config};
use common::pipe::Pipe;
use mqtt_async::{
    Client, Config, ConnectStage, Connector, Driver, Error, Progress, Servers, Version,
};

const ALL: [ConnectStage; 5] = [
    ConnectStage::Resolve,
    ConnectStage::Connect,
    ConnectStage::Proxy,
    ConnectStage::Tls,
    ConnectStage::WebSocket,
];

/// Never done; the test says which stage it is in.
#[derive(Clone, Debug, Default)]
struct Walk(Arc<Mutex<Option<ConnectStage>>>);

struct Walking(Walk, Progress);

impl Connector for Walk {
    type Io = Pipe;
    type Connecting = Walking;

    fn connect(&mut self, progress: &Progress) -> Walking {
        Walking(self.clone(), progress.clone())
    }
}

impl Future for Walking {
    type Output = io::Result<Pipe>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Pipe>> {
        if let Some(stage) = *self.0.0.lock().unwrap() {
            self.1.enter(stage);
        }
        Poll::Pending
    }
}

struct Bench {
    driver: Driver<Servers<Walk>, Manual>,
    walk: Walk,
    clock: Manual,
    _client: Client,
}

impl Bench {
    fn new(change: impl FnOnce(&mut Config)) -> Bench {
        let mut config = config(Version::V5);
        config.reconnect = None;
        change(&mut config);
        let (walk, clock) = (Walk::default(), Manual::new());
        // A layer passes the stages on.
        let servers = Servers::new("only", walk.clone());
        let (client, driver) = Client::with_timer(config, servers, clock.clone());
        let mut bench = Bench { driver, walk, clock, _client: client };
        assert_eq!(bench.poll(), None);
        bench
    }

    fn enter(&mut self, stage: ConnectStage) {
        *self.walk.0.lock().unwrap() = Some(stage);
        assert_eq!(self.poll(), None);
    }

    /// Returns the stage that was not done in time, once there is one.
    fn after(&mut self, millis: u64) -> Option<Option<ConnectStage>> {
        self.clock.advance(Duration::from_millis(millis));
        self.poll()
    }

    fn poll(&mut self) -> Option<Option<ConnectStage>> {
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(&mut self.driver).poll(&mut cx) {
            Poll::Pending => None,
            Poll::Ready(Err(error @ Error::ConnectTimeout { stage })) => {
                let named = stage.map_or("connect timeout".to_owned(), |stage| stage.to_string());
                assert!(error.to_string().contains(&named), "{error}");
                assert!(error.is_retryable());
                Some(stage)
            }
            Poll::Ready(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn each_stage_has_a_limit_of_its_own() {
    for (place, stage) in ALL.into_iter().enumerate() {
        let limit = 1000 * (place as u64 + 1);
        let mut bench = Bench::new(|config| {
            let limits = &mut config.stage_timeouts;
            *match stage {
                ConnectStage::Resolve => &mut limits.resolve,
                ConnectStage::Connect => &mut limits.connect,
                ConnectStage::Proxy => &mut limits.proxy,
                ConnectStage::Tls => &mut limits.tls,
                ConnectStage::WebSocket => &mut limits.websocket,
                other => panic!("{other}"),
            } = Duration::from_millis(limit);
        });
        // What was told before has used up nothing of it.
        assert_eq!(bench.after(7_000), None);
        bench.enter(if place == 0 { ConnectStage::Connect } else { ConnectStage::Resolve });
        assert_eq!(bench.after(7_000), None);
        bench.enter(stage);
        // The timer is set for it, and the next poll does not begin it anew.
        assert_eq!(bench.clock.asked(), Duration::from_millis(limit));
        assert_eq!(bench.after(limit - 1), None);
        assert_eq!(bench.after(1), Some(Some(stage)));
    }
}

#[test]
fn all_stages_together_have_a_limit() {
    let mut bench = Bench::new(|_| ());
    for stage in [ConnectStage::Resolve, ConnectStage::Connect, ConnectStage::Tls] {
        bench.enter(stage);
        assert_eq!(bench.after(9_500), None);
    }
    bench.enter(ConnectStage::WebSocket);
    assert_eq!(bench.after(1_499), None);
    assert_eq!(bench.after(1), Some(Some(ConnectStage::WebSocket)));
}

#[test]
fn who_names_no_stage_has_the_limit_on_all_of_it() {
    let mut bench = Bench::new(|_| ());
    assert_eq!(bench.after(29_999), None);
    assert_eq!(bench.after(1), Some(None));
}

#[test]
fn a_limit_past_what_the_clock_counts_is_none() {
    let mut bench = Bench::new(|config| {
        config.connect_timeout = Duration::MAX;
        config.stage_timeouts.tls = Duration::MAX;
    });
    assert_eq!(bench.after(3_600_000), None);
    bench.enter(ConnectStage::Tls);
    assert_eq!(bench.after(3_600_000), None);
    bench.enter(ConnectStage::WebSocket);
    assert_eq!(bench.after(10_000), Some(Some(ConnectStage::WebSocket)));
}
