//! The simulator of the client: whole worlds of one client, its driver, its application, a server and
//! transports that break, from a seed.
//!
//! ```text
//! cargo test -p mqtt-async --test simulate           # 15 s of the same seeds in CI, 5 s of fresh ones elsewhere
//! SIMULATE_SECONDS=600 cargo test --release -p mqtt-async --test simulate -- --nocapture
//! SIMULATE_REPLAY=SEED cargo test -p mqtt-async --test simulate -- --nocapture       # tells every step
//! ```
//!
//! A seed decides everything: there is no clock, no thread and no socket in a world. A run makes a client
//! of some version and configuration and takes some hundreds of random steps. Transports deliver in parts,
//! say `Pending` for no reason, buffer, stall, and break at any byte; attempts fail, hang and are refused;
//! the server forgets sessions, refuses messages and filters, ends connections, and sends the client to
//! other servers; policies drop what cannot be sent or is not taken; the application
//! publishes, waits for room, asks, cancels, listens, drops tokens and streams, takes messages late, acknowledges them in any
//! order or never. It may end the client at any time, in each of the ways that there are. Then the faults
//! stop, and everything has to come to rest.
//!
//! Each task is polled only when it was woken, the driver as well: a wake-up that is lost is a run that
//! stands still. At rest time does not pass before everything is done: a keep alive that is due must not
//! hide that nobody was woken.
//!
//! - `world` has the clock, the dice and the driver, `ending` the ways in which a client ends; `app` is the
//!   application, with its `habits`, `waits` and `calls` its messages that wait for room and its requests,
//!   `sleeper` how it waits, `broker` the server; `dial` has the connector,
//!   `net` the transport and the timer; `tally` counts.
//! - `checks` is what has to hold for the application, `oracle` the ledger of messages. They know what the
//!   applications did and were told, and nothing of the client. Each of their rules has a name.
//!
//! What the session alone decides (identifiers, Receive Maximum, what stands on the wire, journals) is the
//! business of the simulator of `mqtt-proto`.

#![allow(unreachable_pub, reason = "nothing here is for anybody else")]

#[path = "../common/mod.rs"]
mod common;

mod app;
mod broker;
mod calls;
mod checks;
mod dial;
mod ending;
mod habits;
mod net;
mod oracle;
#[path = "../../../mqtt-proto/tests/simulate/random.rs"]
mod random;
mod sleeper;
mod tally;
mod waits;
mod world;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tally::Tally;

fn run(seed: u64) -> Tally {
    world::run(seed, false).unwrap_or_else(|failure| {
        panic!(
            "{failure}\nto replay: SIMULATE_REPLAY={seed} cargo test -p mqtt-async --test simulate \
             seeds_hold -- --nocapture"
        )
    })
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn a_seed_decides_everything() {
    for seed in 0..20 {
        assert_eq!(run(seed), run(seed), "{seed}");
    }
}

/// In CI the seeds are always the same, so that a change fails for what it changes.
#[test]
fn seeds_hold() {
    if let Some(seed) = variable("SIMULATE_REPLAY") {
        match world::run(seed, true) {
            Ok(tally) => println!("{tally:?}"),
            Err(failure) => panic!("{failure}"),
        }
        return;
    }
    let ci = std::env::var_os("CI").is_some();
    let seconds = variable("SIMULATE_SECONDS").unwrap_or(if ci { 15 } else { 5 });
    let start = SystemTime::now();
    let fresh = start.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as u64);
    let mut seed = variable("SIMULATE_SEED").unwrap_or(if ci { 1 } else { fresh });
    let mut tally = Tally::default();
    while start.elapsed().is_ok_and(|elapsed| elapsed < Duration::from_secs(seconds)) {
        tally += run(seed);
        seed = seed.wrapping_add(1);
    }
    println!("{tally:?}; next seed {seed}");
}
