//! Several clients of one server, the clock, and the dice.
//!
//! A run makes its clients and their habits from its seed, then takes random steps: an application
//! commands something, some bytes move, a disk gets on, time passes, or something breaks. How likely each
//! of these is differs from run to run, so that each run has a trouble of its own. Then the faults stop,
//! and everything has to come to rest.

use std::fmt;
use std::time::Duration;

use mqtt_proto::Instant;

use crate::node::{Node, SIDES, Side};
use crate::oracle::{Check, Fault};
use crate::random::Random;
use crate::tally::Tally;

/// How many rounds a world without faults may take until it is at rest.
const ROUNDS: usize = 3000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Publish,
    Forward,
    Transmit,
    Deliver,
    Round,
    Answer,
    Sync,
    Request,
    Grant,
    Tick,
    Open,
    Cut,
    Stall,
    Jump,
    CrashClient,
    CrashServer,
    RestartServer,
    Forget,
    Disconnect,
    Cancel,
    Vary,
    Idle,
}

/// Each step with its weight, and the factors that a run may give it.
const STEPS: [(Step, u64, &[u64]); 22] = [
    (Step::Publish, 12, &[1, 1, 3]),
    (Step::Forward, 8, &[0, 1, 3]),
    (Step::Transmit, 80, &[1, 2]),
    (Step::Deliver, 80, &[1, 2]),
    (Step::Round, 25, &[0, 1, 3]),
    (Step::Answer, 25, &[0, 1, 3]),
    (Step::Sync, 60, &[1, 2]),
    (Step::Request, 2, &[0, 0, 1, 3]),
    (Step::Grant, 2, &[0, 1, 3]),
    (Step::Tick, 5, &[0, 1, 1, 4]),
    (Step::Open, 20, &[1, 2]),
    (Step::Cut, 2, &[0, 1, 2, 6]),
    (Step::Stall, 1, &[0, 0, 1]),
    (Step::Jump, 1, &[0, 0, 0, 1]),
    (Step::CrashClient, 1, &[0, 1, 2, 4]),
    (Step::CrashServer, 1, &[0, 0, 1, 2]),
    (Step::RestartServer, 1, &[0, 0, 1]),
    (Step::Forget, 1, &[0, 0, 0, 1]),
    (Step::Disconnect, 1, &[0, 0, 1]),
    (Step::Cancel, 1, &[0, 1]),
    (Step::Vary, 1, &[0, 1]),
    (Step::Idle, 1, &[1]),
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
    random: Random,
    now: Instant,
    nodes: Vec<Node>,
    weights: Vec<(Step, u64)>,
    next_number: u64,
    steps: u64,
    jumps: u64,
    /// Tells each step on the standard error output.
    loud: bool,
}

/// Runs the world of that seed to its end.
pub fn run(seed: u64, loud: bool) -> Result<Tally, Failure> {
    let mut world = World::new(seed, loud);
    let result = world.live();
    let step = world.steps;
    result.map_err(|fault| Failure { seed, step, fault })?;
    let mut tally = Tally { runs: 1, steps: world.steps, jumps: world.jumps, ..Tally::default() };
    for node in world.nodes {
        tally += node.tally;
    }
    Ok(tally)
}

impl World {
    fn new(seed: u64, loud: bool) -> World {
        let mut random = Random::new(seed);
        let count = random.pick(&[1, 1, 2, 3]);
        let nodes = (0..count).map(|name| Node::new(name, &mut random)).collect();
        let weights =
            STEPS.iter().map(|(step, weight, factors)| (*step, weight * random.pick(factors)));
        let weights: Vec<_> = weights.collect();
        World {
            now: Instant::from_epoch(Duration::from_secs(1000)),
            nodes,
            weights,
            next_number: 1,
            steps: 0,
            jumps: 0,
            random,
            loud,
        }
    }

    fn live(&mut self) -> Check {
        let length = self.random.pick(&[100, 400, 2000]);
        if self.loud {
            for node in &mut self.nodes {
                node.loud = true;
                eprintln!("{:?}\n{:?}", node.client.config, node.server.config);
            }
        }
        for _ in 0..length {
            self.step()?;
        }
        self.rest()
    }

    fn choose(&mut self) -> Step {
        let total = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut at = self.random.below(total);
        for (step, weight) in &self.weights {
            if at < *weight {
                return *step;
            }
            at -= weight;
        }
        Step::Idle
    }

    fn step(&mut self) -> Check {
        self.steps += 1;
        let step = self.choose();
        let random = &mut self.random;
        let at = random.index(self.nodes.len());
        let side = random.pick(&SIDES);
        let some = random.pick(&[1, 2, 7, 40, 1 << 20, 1 << 20]);
        let now = self.now;
        if self.loud {
            eprintln!("{} {now:?} client {at}: {step:?} {side:?} {some}", self.steps);
        }
        let node = &mut self.nodes[at];
        match step {
            Step::Publish => {
                for _ in 0..random.pick(&[1, 1, 4]) {
                    node.publish(side, self.next_number, now, random)?;
                    self.next_number += 1;
                }
            }
            Step::Forward => {
                if node.forwards > 0 {
                    node.forwards -= 1;
                    let to = random.index(self.nodes.len());
                    self.nodes[to].publish(Side::Server, self.next_number, now, random)?;
                    self.next_number += 1;
                }
            }
            Step::Transmit => {
                node.transmit(side, some, now, random)?;
            }
            Step::Deliver => {
                node.deliver(side, some, now, random)?;
            }
            Step::Round => {
                for side in SIDES {
                    node.transmit(side, usize::MAX, now, random)?;
                    let other = if side == Side::Client { Side::Server } else { Side::Client };
                    node.deliver(other, usize::MAX, now, random)?;
                }
            }
            Step::Answer => node.answer_some(side, now, random)?,
            Step::Sync => {
                node.sync(side, now, random)?;
            }
            Step::Request => node.request(random)?,
            Step::Grant => node.grant(random)?,
            Step::Tick => return self.tick(),
            Step::Open => {
                if !node.is_open(Side::Client) {
                    node.open(now, random)?;
                }
            }
            Step::Cut => {
                node.tally.cuts += 1;
                node.cut(now, random)?;
            }
            Step::Stall => node.stall(random),
            Step::Jump => {
                self.jumps += 1;
                return self.pass(Duration::from_secs(3600));
            }
            Step::CrashClient => node.crash_client(random)?,
            Step::CrashServer => node.crash_server(now, random)?,
            Step::RestartServer => node.restart_server(now, random)?,
            Step::Forget => node.forget_session(now, random)?,
            Step::Disconnect => node.disconnect(side, now, random)?,
            Step::Cancel => node.cancel(side, random)?,
            Step::Vary => node.vary(random),
            Step::Idle => {}
        }
        let random = &mut self.random;
        self.nodes[at].events(now, random)
    }

    /// Time passes: to the next deadline, just before or behind it, or a little.
    fn tick(&mut self) -> Check {
        let next = self.nodes.iter().filter_map(Node::next_deadline).min();
        let left = next.map_or(Duration::ZERO, |next| next.since(self.now));
        let by = match self.random.below(4) {
            0 => left,
            1 => left + Duration::from_millis(1),
            2 => left.saturating_sub(Duration::from_millis(1)),
            _ => Duration::from_millis(self.random.range(0, 3000)),
        };
        self.pass(by)
    }

    fn pass(&mut self, by: Duration) -> Check {
        self.now = self.now + by;
        for node in &mut self.nodes {
            node.timeout(self.now, &mut self.random)?;
        }
        Ok(())
    }

    /// The faults stop: everything comes to rest.
    fn rest(&mut self) -> Check {
        for node in &mut self.nodes {
            node.calm = true;
        }
        for round in 0..ROUNDS {
            self.steps += 1;
            let mut any = false;
            for node in &mut self.nodes {
                any |= node.settle(self.now, &mut self.random)?;
            }
            if !any && self.nodes.iter().all(Node::is_at_rest) {
                return self.nodes.iter().try_for_each(Node::at_rest);
            }
            if !any || round % 16 == 15 {
                self.pass(Duration::from_millis(50))?;
            }
        }
        let phases: Vec<_> = self
            .nodes
            .iter()
            .map(|node| {
                let (client, server) = (&node.client.session, &node.server.session);
                (client.phase(), client.stats(), server.phase(), server.stats())
            })
            .collect();
        Err(Fault { rule: "it_comes_to_rest", detail: format!("{phases:?}") })
    }
}
