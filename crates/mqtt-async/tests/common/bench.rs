//! Client, driver and server in one thread, polled by the test: no runtime, no waiting, no chance.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use mqtt_async::{
    Client, Clock, Config, Connector, Error, Progress, Recovered, Store, StoreError, Timer, Version,
};

use super::pipe::{Pipe, Shape, pipe};
use super::server::{Connection, Server};

/// Time passes when the test says so.
#[derive(Clone, Debug)]
pub struct Manual(Arc<Mutex<(Instant, Option<Waker>)>>, Arc<Mutex<Option<Instant>>>);

impl Manual {
    pub fn new() -> Manual {
        Manual(Arc::new(Mutex::new((Instant::now(), None))), Arc::default())
    }

    /// How long the driver wants to sleep at most.
    pub fn asked(&self) -> Duration {
        self.1.lock().unwrap().unwrap().duration_since(self.now())
    }

    pub fn advance(&self, by: Duration) {
        let waker = {
            let mut inner = self.0.lock().unwrap();
            inner.0 += by;
            inner.1.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }
}

impl Timer for Manual {
    fn now(&self) -> Instant {
        self.0.lock().unwrap().0
    }

    fn poll_until(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        *self.1.lock().unwrap() = Some(deadline);
        let mut inner = self.0.lock().unwrap();
        if inner.0 >= deadline {
            return Poll::Ready(());
        }
        inner.1 = Some(cx.waker().clone());
        Poll::Pending
    }

    fn clock(&self) -> Clock {
        let timer = self.clone();
        Clock::new(move || timer.now())
    }
}

#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }

    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.set();
    }
}

/// Connects to the server of the bench; notes the names that were selected.
pub struct Dial {
    server: Server,
    list: Arc<Mutex<Vec<Connection<Pipe>>>>,
    shape: Shape,
    pub selected: Arc<Mutex<Vec<String>>>,
}

impl Connector for Dial {
    type Io = Pipe;
    type Connecting = std::future::Ready<io::Result<Pipe>>;

    fn connect(&mut self, _: &Progress) -> Self::Connecting {
        let (ours, theirs) = pipe(self.shape);
        self.list.lock().unwrap().push(self.server.serve(theirs));
        std::future::ready(Ok(ours))
    }

    fn select(&mut self, server: &str) -> io::Result<()> {
        if server == "unknown" {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.selected.lock().unwrap().push(server.to_owned());
        Ok(())
    }
}

type Driver = Pin<Box<dyn Future<Output = Result<(), Error>>>>;

pub struct Bench {
    pub client: Option<Client>,
    pub driver: Option<Driver>,
    pub result: Option<Result<(), Error>>,
    pub server: Server,
    pub clock: Manual,
    pub connections: Arc<Mutex<Vec<Connection<Pipe>>>>,
    pub selected: Arc<Mutex<Vec<String>>>,
    flag: Arc<Flag>,
}

pub fn config(version: Version) -> Config {
    Config::new(version).client_id("bench").unwrap()
}

/// A session that outlives connections.
pub fn lasting(version: Version) -> Config {
    let mut config = config(version);
    config.session.connect.clean_start = false;
    if version == Version::V5 {
        config.session.connect.session_expiry_interval = Some(3600);
    }
    config
}

/// Returns what a future comes to that has nothing to wait for.
#[track_caller]
pub fn now<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it has to wait"),
    }
}

/// Those whose CONNACK says whether there is a session.
pub const PRESENT: [Version; 2] = [Version::V311, Version::V5];

pub const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

impl Bench {
    pub fn new(config: Config, shape: Shape) -> Bench {
        Bench::hooked(config, shape, |driver| driver)
    }

    /// A client whose driver has hooks.
    pub fn hooked(
        config: Config,
        shape: Shape,
        hook: impl FnOnce(mqtt_async::Driver<Dial, Manual>) -> mqtt_async::Driver<Dial, Manual>,
    ) -> Bench {
        let made = Bench::with(Server::new(), shape, |connector, clock| {
            let (client, driver) = Client::with_timer(config, connector, clock);
            Ok::<_, Infallible>((client, hook(driver), ()))
        });
        let Ok((bench, ())) = made;
        bench
    }

    /// A client of a server that there is already.
    pub fn with<X, E, C: Connector + 'static>(
        server: Server,
        shape: Shape,
        make: impl FnOnce(Dial, Manual) -> Result<(Client, mqtt_async::Driver<C, Manual>, X), E>,
    ) -> Result<(Bench, X), E> {
        let connections = Arc::new(Mutex::new(Vec::new()));
        let selected = Arc::default();
        let connector = Dial {
            server: server.clone(),
            list: Arc::clone(&connections),
            shape,
            selected: Arc::clone(&selected),
        };
        let clock = Manual::new();
        let (client, driver, rest) = make(connector, clock.clone())?;
        let bench = Bench {
            selected,
            client: Some(client),
            driver: Some(Box::pin(driver)),
            result: None,
            server,
            clock,
            connections,
            flag: Arc::default(),
        };
        Ok((bench, rest))
    }

    /// A client whose session is stored, and what the last run has left.
    pub fn durable(
        config: Config,
        server: &Server,
        store: impl Store,
    ) -> Result<(Bench, Vec<Recovered>), StoreError> {
        Bench::durable_in(config, server, store, Shape::default())
    }

    pub fn durable_in(
        config: Config,
        server: &Server,
        store: impl Store,
        shape: Shape,
    ) -> Result<(Bench, Vec<Recovered>), StoreError> {
        Bench::with(server.clone(), shape, |connector, clock| {
            now(Client::durable_with_timer(config, connector, clock, store))
        })
    }

    /// Ends as a crash does: nothing that waits is done. The server notices.
    pub fn crash(mut self) {
        self.driver = None;
        self.client = None;
        self.poll_server();
    }

    /// A client that is connected.
    pub fn connected(config: Config) -> Bench {
        let mut bench = Bench::new(config, Shape::default());
        bench.settle();
        assert!(bench.client().status().connected.is_some(), "{:?}", bench.client().status());
        bench
    }

    pub fn client(&self) -> &Client {
        self.client.as_ref().unwrap()
    }

    /// Polls driver and server until both are at rest.
    pub fn settle(&mut self) {
        for _ in 0..100_000 {
            if !self.turn() {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    /// Polls driver and server once; tells whether there is more to do.
    pub fn turn(&mut self) -> bool {
        self.flag.take();
        self.step();
        self.flag.take()
    }

    /// Polls driver and server once.
    pub fn step(&mut self) {
        let waker = Waker::from(Arc::clone(&self.flag));
        let mut cx = Context::from_waker(&waker);
        if let Some(driver) = &mut self.driver
            && let Poll::Ready(result) = driver.as_mut().poll(&mut cx)
        {
            self.driver = None;
            self.result = Some(result);
        }
        self.poll_server();
    }

    pub fn poll_server(&mut self) {
        let waker = Waker::from(Arc::clone(&self.flag));
        let mut cx = Context::from_waker(&waker);
        let mut connections = std::mem::take(&mut *self.connections.lock().unwrap());
        connections.retain_mut(|connection| Pin::new(connection).poll(&mut cx).is_pending());
        self.connections.lock().unwrap().extend(connections);
    }

    /// Polls a future once.
    pub fn poll<F: Future + Unpin>(&self, future: &mut F) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(&self.flag));
        Pin::new(future).poll(&mut Context::from_waker(&waker))
    }

    /// Lets everything come to rest, and returns what the future has come to.
    #[track_caller]
    pub fn done<F: Future + Unpin>(&mut self, mut future: F) -> F::Output {
        self.settle();
        match self.poll(&mut future) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("it is not done: {:?}", self.client().status()),
        }
    }

    pub fn advance(&mut self, by: Duration) {
        self.clock.advance(by);
        self.settle();
    }

    /// Lets time pass until the driver has ended.
    pub fn end(&mut self) -> Result<(), Error> {
        for _ in 0..1000 {
            self.settle();
            if let Some(result) = self.result.clone() {
                return result;
            }
            self.clock.advance(Duration::from_millis(100));
        }
        panic!("the driver does not end: {:?}", self.client.as_ref().map(Client::status));
    }

    /// Takes all messages that are there.
    pub fn messages(&mut self, messages: &mut mqtt_async::Messages) -> Vec<String> {
        let mut all = Vec::new();
        self.settle();
        while let Some(message) = messages.try_next() {
            all.push(String::from_utf8(message.payload().to_vec()).unwrap());
            self.settle();
        }
        all
    }
}
