//! Runs simulated worlds for as long as asked: see `tests/simulate/main.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::unreachable, unreachable_pub, reason = "it is a test that runs as a command")]

#[path = "../tests/simulate/app.rs"]
mod app;
#[path = "../tests/simulate/broker.rs"]
mod broker;
#[path = "../tests/simulate/commands.rs"]
mod commands;
#[path = "../tests/simulate/disk.rs"]
mod disk;
#[path = "../tests/simulate/link.rs"]
mod link;
#[path = "../tests/simulate/node.rs"]
mod node;
#[path = "../tests/simulate/oracle.rs"]
mod oracle;
#[path = "../tests/simulate/random.rs"]
mod random;
#[path = "../tests/simulate/tally.rs"]
mod tally;
#[path = "../tests/simulate/wire.rs"]
mod wire;
#[path = "../tests/simulate/world.rs"]
mod world;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use tally::Tally;

const USAGE: &str = "usage: simulate [--seconds N] [--seed N], or simulate --replay SEED";

#[allow(clippy::disallowed_methods, reason = "the clock says when to stop and when to tell")]
fn main() -> ExitCode {
    let (mut seconds, mut seed, mut replay) = (10, 1, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse::<u64>().ok());
        match (name.as_str(), value) {
            ("--seconds", Some(value)) => seconds = value,
            ("--seed", Some(value)) => seed = value,
            ("--replay", Some(value)) => replay = Some(value),
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    if let Some(seed) = replay {
        return match world::run(seed, true) {
            Ok(tally) => {
                println!("{tally}");
                ExitCode::SUCCESS
            }
            Err(failure) => {
                eprintln!("{failure}");
                ExitCode::FAILURE
            }
        };
    }
    let (start, mut told) = (Instant::now(), 0);
    let mut tally = Tally::default();
    while start.elapsed() < Duration::from_secs(seconds) {
        match world::run(seed, false) {
            Ok(done) => tally += done,
            Err(failure) => {
                eprintln!("{failure}\nafter {tally}\nto replay: --replay {seed}");
                return ExitCode::FAILURE;
            }
        }
        seed = seed.wrapping_add(1);
        if start.elapsed().as_secs() / 10 > told {
            told = start.elapsed().as_secs() / 10;
            println!("{} s: {tally}", told * 10);
        }
    }
    let rate = tally.steps as f64 / start.elapsed().as_secs_f64();
    println!("{tally}; {} faults; {rate:.0} steps a second; next seed {seed}", tally.faults());
    ExitCode::SUCCESS
}
