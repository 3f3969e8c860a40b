//! One client with its driver, its application, its server and its transports, the clock, and the dice.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mqtt_async::{Client, Error, Phase, TokenError, Version};

use crate::app::App;
use crate::broker::Broker;
use crate::common::bench::Flag;
use crate::dial::{Dialer, Dials, Driver, hooked};
use crate::ending::Ending;
use crate::habits::{self, PERMITTED};
use crate::net::{Manual, Shared, TICK};
use crate::oracle::{Check, Fault, Oracle, ensure};
use crate::random::Random;
use crate::tally::Tally;

/// How many rounds a world without faults may take until it is at rest.
pub const ROUNDS: usize = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Driver,
    Server,
    Publish,
    Wait,
    Call,
    Request,
    Listen,
    DropStream,
    Take,
    Acknowledge,
    Tokens,
    DropToken,
    Cancel,
    Send,
    Answer,
    Respond,
    Grant,
    Nudge,
    Tick,
    Jump,
    Cut,
    Stall,
    Forget,
    Disconnect,
}

/// Each step with its weight, and the factors that a run may give it.
const STEPS: [(Step, u64, &[u64]); 24] = [
    (Step::Driver, 80, &[1, 2, 4]),
    (Step::Server, 80, &[1, 2, 4]),
    (Step::Publish, 12, &[0, 1, 1, 4]),
    (Step::Wait, 6, &[0, 0, 1, 4]),
    (Step::Call, 4, &[0, 0, 1, 3]),
    (Step::Request, 2, &[0, 1, 3]),
    (Step::Listen, 2, &[0, 1, 3]),
    (Step::DropStream, 1, &[0, 1, 3]),
    (Step::Take, 25, &[0, 1, 1, 3]),
    (Step::Acknowledge, 15, &[0, 1, 3]),
    (Step::Tokens, 15, &[0, 1, 3]),
    (Step::DropToken, 1, &[0, 1]),
    (Step::Cancel, 1, &[0, 1]),
    (Step::Send, 12, &[0, 1, 1, 4]),
    (Step::Answer, 20, &[0, 1, 3]),
    (Step::Respond, 6, &[0, 1, 3]),
    (Step::Grant, 6, &[0, 1, 3]),
    (Step::Nudge, 30, &[1]),
    (Step::Tick, 8, &[0, 1, 1, 4]),
    (Step::Jump, 1, &[0, 0, 0, 1]),
    (Step::Cut, 2, &[0, 1, 2, 6]),
    (Step::Stall, 1, &[0, 0, 1]),
    (Step::Forget, 1, &[0, 0, 0, 1]),
    (Step::Disconnect, 1, &[0, 0, 1]),
];

/// A run that broke a rule.
#[derive(Debug)]
pub struct Failure {
    pub seed: u64,
    pub step: u64,
    pub fault: Fault,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { seed, step, fault } = self;
        write!(f, "seed {seed}, step {step}: {}: {}", fault.rule, fault.detail)
    }
}

pub struct World {
    pub random: Random,
    pub now: Duration,
    pub timer: Manual,
    pub app: App,
    pub driver: Option<Driver>,
    pub flag: Arc<Flag>,
    pub result: Option<Result<(), Error>>,
    pub dials: Rc<RefCell<Dials>>,
    /// The transport of the last connection.
    pub net: Option<Shared>,
    pub broker: Broker,
    pub oracle: Oracle,
    weights: Vec<(Step, u64)>,
    pub next_number: u64,
    /// Of a hundred steps, how many poll the driver although nobody has woken it.
    pub spurious: u64,
    pub steps: u64,
    pub tally: Tally,
    pub loud: bool,
    pub ending: Option<Ending>,
    /// Whether redirects are followed, and where the last attempt was sent to.
    redirects: bool,
    target: Option<String>,
}

/// Runs the world of that seed to its end.
pub fn run(seed: u64, loud: bool) -> Result<Tally, Failure> {
    let mut world = World::new(seed, loud);
    let result = world.live();
    let step = world.steps;
    result.map_err(|fault| Failure { seed, step, fault })?;
    let (steps, tally) = (world.steps, world.tally);
    let mut tally = Tally { runs: 1, steps, ..tally };
    tally += world.app.tally;
    Ok(tally)
}

impl World {
    fn new(seed: u64, loud: bool) -> World {
        let mut random = Random::new(seed);
        let version =
            random.pick(&[Version::V31, Version::V311, Version::V5, Version::V5, Version::V5]);
        let config = habits::config(version, &mut random);
        if loud {
            eprintln!("{config:?}");
        }
        let dials = Dials::new(&mut random);
        let timer = Manual::new();
        let connector = Dialer(Rc::clone(&dials));
        let (client, driver) = Client::with_timer(config.clone(), connector, timer.clone());
        let driver = hooked(driver, &mut random);
        let app = App::new(client, &config, &mut random);
        let mut broker = Broker::new(version, config.session.resend_lost_qos2, &mut random);
        broker.loud = loud;
        let weights = STEPS.iter().map(|(step, weight, of)| (*step, weight * random.pick(of)));
        let weights = weights.collect();
        let flag = Arc::new(Flag::default());
        flag.set();
        World {
            now: Duration::ZERO,
            timer,
            app,
            driver: Some(driver),
            flag,
            result: None,
            dials,
            net: None,
            broker,
            oracle: Oracle::new(config.outbound),
            weights,
            next_number: 1,
            spurious: random.pick(&[0, 0, 0, 50]),
            steps: 0,
            tally: Tally::default(),
            loud,
            ending: None,
            redirects: config.redirects.is_some(),
            target: None,
            random,
        }
    }

    fn live(&mut self) -> Check {
        let length = self.random.pick(&[100, 400, 400, 2000]);
        let end_at = self.random.chance(30).then(|| self.random.below(length));
        for step in 0..length {
            if end_at == Some(step) {
                self.begin_to_end()?;
            }
            self.step()?;
            if self.driver.is_none() {
                break;
            }
        }
        self.calm_down()?;
        if self.ending.is_none() && self.driver.is_some() {
            self.rest()?;
            self.stay()?;
            self.begin_to_end()?;
            self.end()?;
            self.was_polite()?;
        } else {
            self.end()?;
        }
        self.leave_nothing()
    }

    // ---- steps ----

    fn choose(&mut self) -> Step {
        let total = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut at = self.random.below(total);
        for (step, weight) in &self.weights {
            if at < *weight {
                return *step;
            }
            at -= weight;
        }
        Step::Driver
    }

    fn step(&mut self) -> Check {
        self.steps += 1;
        let step = self.choose();
        let most = self.random.pick(&[1, 2, 7, 40, 1 << 20, 1 << 20, 1 << 20]);
        if self.loud {
            eprintln!("{} {:?}: {step:?} {most}", self.steps, self.now);
        }
        let (random, oracle, now) = (&mut self.random, &mut self.oracle, self.now);
        match step {
            Step::Driver => {
                let spurious = self.random.chance(self.spurious);
                self.poll_driver(spurious)?;
            }
            Step::Server => {
                self.serve(most)?;
            }
            Step::Publish => {
                for _ in 0..random.pick(&[1, 1, 5]) {
                    self.app.publish(self.next_number, now, random, oracle)?;
                    self.next_number += 1;
                }
            }
            Step::Wait => {
                for _ in 0..random.pick(&[1, 1, 5]) {
                    self.app.send_wait(self.next_number, now, random);
                    self.next_number += 1;
                }
            }
            Step::Call => {
                self.app.call(self.next_number, now, random, oracle);
                self.next_number += 1;
            }
            Step::Request => self.app.request(random)?,
            Step::Listen => self.app.listen(random, oracle)?,
            Step::DropStream => self.app.drop_stream(random),
            Step::Take => {
                self.app.take(random, oracle)?;
            }
            Step::Acknowledge => {
                self.app.acknowledge(random, oracle);
            }
            Step::Tokens => {
                self.app.tokens(now, random, oracle)?;
                self.app.waits(random, oracle)?;
                self.app.answers(now, random, oracle)?;
            }
            Step::DropToken => {
                self.app.drop_token(random, oracle);
                self.app.drop_call(random);
                self.app.give_up_waiting(random)?;
            }
            Step::Cancel => self.app.cancel(random, oracle)?,
            Step::Send => {
                for _ in 0..random.pick(&[1, 1, 5]) {
                    let publish = habits::publish(self.next_number, random, None);
                    let sent = self.broker.publish(self.next_number, publish, now, oracle);
                    self.tally.sent += u64::from(sent);
                    self.next_number += 1;
                }
            }
            Step::Answer => {
                self.broker.answer(random, oracle);
            }
            Step::Respond => {
                self.broker.respond(now, random, oracle)?;
            }
            Step::Grant => {
                self.broker.grant(random)?;
            }
            Step::Nudge => {
                self.nudge();
            }
            Step::Tick => self.tick(),
            Step::Jump => {
                let seconds = random.pick(&[30, 100, 4000]);
                self.pass(Duration::from_secs(seconds));
            }
            Step::Cut => self.cut(),
            Step::Stall => self.stall(),
            Step::Forget => {
                self.tally.faults += 1;
                self.broker.forget = true;
                self.cut();
            }
            Step::Disconnect => {
                self.tally.faults += 1;
                self.broker.disconnect(random, now);
            }
        }
        self.app.bounded(self.broker.window, self.broker.sessions, self.oracle.outbound.overflow)
    }

    /// Polls the driver, if it was woken; tells whether it was.
    fn poll_driver(&mut self, spurious: bool) -> Result<bool, Fault> {
        let woken = self.flag.take();
        if !woken && !spurious {
            return Ok(false);
        }
        let Some(driver) = &mut self.driver else { return Ok(false) };
        self.tally.polls += 1;
        // Now and then it moves to another task.
        if self.random.chance(5) {
            self.flag = Arc::default();
        }
        let waker = Waker::from(Arc::clone(&self.flag));
        if let Poll::Ready(result) = driver.as_mut().poll(&mut Context::from_waker(&waker)) {
            if self.loud {
                eprintln!("    the driver ends: {result:?}");
            }
            self.oracle.ends.driver_failed = result.is_err();
            self.driver = None;
            self.result = Some(result);
        }
        // It says so before its last poll, if that has done much else.
        let gone = self.app.client.as_ref().filter(|it| it.status().phase == Phase::Ended);
        if let Some(client) = gone
            && let Poll::Ready(Err(TokenError::Ended(_))) =
                Pin::new(&mut client.connected()).poll(&mut Context::from_waker(Waker::noop()))
        {
            self.oracle.ends.driver_failed = true;
        }
        self.look_where_it_goes()?;
        let fresh = std::mem::take(&mut self.dials.borrow_mut().fresh);
        for net in fresh {
            self.broker.serve(Rc::clone(&net), self.now);
            self.net = Some(net);
        }
        self.app.watch(&mut self.random)?;
        Ok(true)
    }

    /// It goes where servers have sent it and the application permits, and says so.
    fn look_where_it_goes(&mut self) -> Check {
        let gone_to = std::mem::take(&mut self.dials.borrow_mut().gone_to);
        let rule = "redirects_are_permitted";
        for target in gone_to {
            self.tally.redirects += u64::from(target.is_some());
            if let Some(target) = &target {
                let host = target.split(':').next().unwrap_or_default();
                let permitted = self.redirects && PERMITTED.contains(&host);
                ensure!(permitted && self.broker.has_named(target), rule, "{target}");
            }
            self.target = target;
        }
        let Some(client) = &self.app.client else { return Ok(()) };
        let status = client.status();
        let same = status.connected.is_none() || status.server.as_deref() == self.target.as_deref();
        ensure!(same, "the_status_names_the_server", "{:?} {:?}", status.server, self.target);
        Ok(())
    }

    pub fn serve(&mut self, most: usize) -> Result<bool, Fault> {
        let app = &self.app;
        let may_drop = |topic: &str| app.may_drop(topic);
        let any =
            self.broker.step(most, self.now, &mut self.random, &mut self.oracle, &may_drop)?;
        // Also what a server that is done with the connection had sent.
        let net = self.net.as_ref();
        Ok(any | net.is_some_and(|net| net.borrow_mut().deliver_down(most)))
    }

    fn nudge(&mut self) -> bool {
        let slow = std::mem::take(&mut self.dials.borrow_mut().slow);
        let any = !slow.is_empty();
        slow.into_iter().for_each(Waker::wake);
        any | self.net.as_ref().is_some_and(|net| net.borrow_mut().nudge())
    }

    fn cut(&mut self) {
        self.tally.faults += 1;
        if let Some(net) = &self.net {
            net.borrow_mut().cut(&mut self.random);
        }
    }

    fn stall(&mut self) {
        self.tally.faults += 1;
        let Some(net) = &self.net else { return };
        let mut net = net.borrow_mut();
        let lane = if self.random.chance(50) { &mut net.up } else { &mut net.down };
        lane.stalled = !lane.stalled;
    }

    // ---- time ----

    pub fn next_deadline(&self) -> Option<Duration> {
        let client = self.driver.as_ref().and_then(|_| self.timer.left());
        let server = self.broker.next_deadline().map(|at| at.saturating_sub(self.now));
        client.into_iter().chain(server).min()
    }

    /// Time passes: to the next deadline, just before or behind it, or a little.
    fn tick(&mut self) {
        let left = self.next_deadline().unwrap_or(TICK);
        let by = match self.random.below(4) {
            0 => left,
            1 => left + TICK,
            2 => left.saturating_sub(TICK),
            _ => TICK * self.random.range(0, 300) as u32,
        };
        self.pass(by);
    }

    pub fn pass(&mut self, by: Duration) {
        self.now += by;
        self.timer.pass(by);
        self.broker.timeout(self.now);
    }

    // ---- the faults stop ----

    fn calm_down(&mut self) -> Check {
        self.app.calm = true;
        self.broker.calm = true;
        self.dials.borrow_mut().calm = true;
        if let Some(net) = &self.net {
            net.borrow_mut().calm_down();
        }
        if self.app.owes {
            // What was dropped without an answer holds back the answers behind it.
            self.broker.forget = true;
            self.cut();
        }
        Ok(())
    }

    /// One round of everything; tells whether anything happened.
    pub fn round(&mut self) -> Result<bool, Fault> {
        self.steps += 1;
        let mut any = self.nudge();
        any |= self.poll_driver(false)?;
        any |= self.serve(usize::MAX)?;
        let (random, oracle) = (&mut self.random, &mut self.oracle);
        while self.broker.answer(random, oracle)
            || self.broker.respond(self.now, random, oracle)?
            || self.broker.grant(random)?
        {
            any = true;
        }
        while self.app.take(random, oracle)? || self.app.acknowledge(random, oracle) {
            any = true;
        }
        any |= self.app.tokens(self.now, random, oracle)?;
        any |= self.app.waits(random, oracle)?;
        any |= self.app.answers(self.now, random, oracle)?;
        any |= self.app.watch(random)?;
        any |= self.poll_ending();
        self.app.bounded(
            self.broker.window,
            self.broker.sessions,
            self.oracle.outbound.overflow,
        )?;
        Ok(any)
    }

    /// Everything comes to rest: by itself, where there is a connection, and in time, where there is none.
    fn rest(&mut self) -> Check {
        for _ in 0..ROUNDS {
            if self.round()? {
                continue;
            }
            if self.driver.is_none() {
                // The server had said that there is no point in trying on.
                return Ok(());
            }
            if self.is_connected() {
                self.is_at_rest()?;
                // A response may have been lost, or never made: that takes time.
                if self.app.calls.is_empty() {
                    return Ok(());
                }
            }
            let Some(left) = self.next_deadline() else {
                let detail = format!("no connection, and nobody wants one: {}", self.describe());
                return Err(Fault { rule: "it_comes_to_rest", detail });
            };
            self.pass(left.max(TICK));
        }
        Err(Fault { rule: "it_comes_to_rest", detail: format!("never: {}", self.describe()) })
    }

    fn is_connected(&self) -> bool {
        let client = self.app.client.as_ref();
        let connected = client.is_some_and(|client| client.status().connected.is_some());
        let works = self.net.as_ref().is_some_and(|net| !net.borrow().broken);
        connected && works && self.broker.is_connected()
    }

    pub fn describe(&self) -> String {
        let client = self.app.client.as_ref().map(|client| (client.status(), client.stats()));
        let server = (self.broker.session.phase(), self.broker.session.stats());
        let net = self.net.as_ref().map(|net| net.borrow().describe());
        format!("{client:?}\n{server:?}\n{net:?}")
    }

    fn is_at_rest(&self) -> Check {
        let client = self.app.client.as_ref();
        let lagged = client.map_or(u64::MAX, |client| client.status().lagged);
        ensure!(self.broker.is_idle(), "it_comes_to_rest", "{}", self.describe());
        self.app.at_rest()?;
        self.oracle.at_rest(lagged)?;
        if let Some(client) = client {
            self.oracle.counted(client.stats().dropped.total())?;
        }
        self.app.subscribed(&self.broker.table)
    }

    /// The connection stays, whatever time passes.
    fn stay(&mut self) -> Check {
        if self.driver.is_none() {
            return Ok(());
        }
        let before = self.app.tally.connections;
        for _ in 0..8 {
            let Some(left) = self.next_deadline() else { break };
            self.pass(left.max(TICK));
            while self.round()? {}
        }
        let same = self.app.tally.connections == before && self.is_connected();
        ensure!(same, "an_idle_connection_stays", "{}", self.describe());
        self.is_at_rest()
    }
}
