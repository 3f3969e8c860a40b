//! How connections come about: a connector that fails, hangs and takes its time, and hooks that do.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};

use mqtt_async::{Connector, Error, Progress};

use crate::net::{Manual, Net, Shared, Transport};
use crate::random::Random;

/// What the connector shares with the world.
pub struct Dials {
    random: Random,
    /// Transports that the server does not know yet.
    pub fresh: Vec<Shared>,
    /// Attempts that wait for a nudge.
    pub slow: Vec<Waker>,
    /// Of a hundred attempts, those that fail, never end, or take their time.
    fails: u64,
    hangs: u64,
    waits: u64,
    pub calm: bool,
    /// Where the next attempt was sent to.
    target: Option<String>,
    /// Where the attempts were sent to that nobody has looked at.
    pub gone_to: Vec<Option<String>>,
}

pub struct Dialer(pub Rc<RefCell<Dials>>);

impl Connector for Dialer {
    type Io = Transport;
    type Connecting = Pin<Box<dyn Future<Output = io::Result<Transport>>>>;

    fn connect(&mut self, _: &Progress) -> Self::Connecting {
        let dials = Rc::clone(&self.0);
        let (fails, hangs, mut waits) = {
            let mut dials = dials.borrow_mut();
            let target = dials.target.take();
            dials.gone_to.push(target);
            dials.choose()
        };
        Box::pin(std::future::poll_fn(move |cx| {
            let dials = &mut *dials.borrow_mut();
            if hangs {
                return Poll::Pending;
            }
            if std::mem::take(&mut waits) {
                dials.slow.push(cx.waker().clone());
                return Poll::Pending;
            }
            if fails {
                return Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()));
            }
            let net = Net::new(&mut dials.random, dials.calm);
            dials.fresh.push(Rc::clone(&net));
            Poll::Ready(Ok(Transport(net)))
        }))
    }

    fn redirect(&mut self, server: &str) -> io::Result<()> {
        if server == "nowhere" {
            return Err(io::ErrorKind::Unsupported.into());
        }
        self.0.borrow_mut().target = Some(server.to_owned());
        Ok(())
    }
}

impl Dials {
    pub fn new(random: &mut Random) -> Rc<RefCell<Dials>> {
        Rc::new(RefCell::new(Dials {
            random: Random::new(random.next()),
            fresh: Vec::new(),
            slow: Vec::new(),
            fails: random.pick(&[0, 5, 30]),
            hangs: random.pick(&[0, 0, 5]),
            waits: random.pick(&[0, 50]),
            calm: false,
            target: None,
            gone_to: Vec::new(),
        }))
    }

    /// Whether an attempt fails, never ends, and takes its time.
    fn choose(&mut self) -> (bool, bool, bool) {
        let Dials { random, fails, hangs, waits, calm, .. } = self;
        let mut chance = |percent| !*calm && random.chance(percent);
        (chance(*fails), chance(*hangs), chance(*waits))
    }
}

pub type Driver = Pin<Box<dyn Future<Output = Result<(), Error>>>>;

/// Sets hooks that take their time and fail, and one that never gives up.
pub fn hooked(mut driver: mqtt_async::Driver<Dialer, Manual>, random: &mut Random) -> Driver {
    if random.chance(25) {
        let dice = Arc::new(Mutex::new(Random::new(random.next())));
        driver = driver.before_connect(move |attempt| {
            let (slow, fails) = {
                let mut dice = dice.lock().unwrap();
                (dice.chance(50), dice.chance(20) && attempt.failed < 3)
            };
            async move {
                if slow {
                    futures_lite::future::yield_now().await;
                }
                if fails { Err("no token".into()) } else { Ok(attempt) }
            }
        });
    }
    if random.chance(50) {
        driver = driver.reconnect_if(|_, _| true);
    }
    Box::pin(driver)
}
