//! Clients end to end over TCP: each in a process of its own on one core, the server on the other.

use std::io;

use self::programs::Program;
use self::server::Server;
use crate::load::{Measured, Mode};
use crate::measure::{self, Options};
use crate::plot;

mod calls;
mod endpoint;
mod mqtt5;
mod ntex;
mod ours;
mod process;
mod programs;
mod rumqttc;
mod server;

pub use self::process::one;
pub use self::server::{feed, serve};

/// Runs a future on tokio's current-thread runtime: what most of these clients are fastest on.
fn runtime(work: impl Future<Output = Measured>) -> Measured {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime").block_on(work)
}

/// How many messages a run has.
fn messages(mode: Mode, program: &Program) -> usize {
    let full = match mode {
        Mode::Publish(0) | Mode::Receive(0) => 200_000,
        Mode::Publish(1) | Mode::Receive(_) => 100_000,
        Mode::Publish(_) => 50_000,
        Mode::RoundTrip if program.name.contains("with Nagle") => return 40,
        Mode::RoundTrip => return 1000,
    };
    full / program.share
}

/// What all rounds of one program in one case came to.
#[derive(Default)]
struct Results {
    measured: Vec<Measured>,
    error: Option<String>,
}

/// Measures all programs, in turns, and writes what came out.
pub fn bench(options: &Options) -> io::Result<()> {
    let sink = server::sink()?;
    run("client", &sink, options)?;
    // Its clients are slower than any of these: that is where a broker is the bottleneck.
    if let Some(mosquitto) = server::mosquitto()? {
        let less = Options { rounds: options.rounds.div_ceil(2), only: options.only.clone() };
        run("mosquitto", &mosquitto, &less)?;
    }
    calls::bench(&sink, options)
}

fn run(name: &str, server: &Server, options: &Options) -> io::Result<()> {
    let mut cases: Vec<(String, Mode, Vec<&Program>, Vec<Results>)> = Vec::new();
    for version in ["v311", "v5"] {
        for (mode_name, mode) in Mode::ALL {
            let case = format!("{version}/{mode_name}");
            if !case.contains(&options.only) {
                continue;
            }
            let programs: Vec<_> = Program::all(version, mode).collect();
            let results = programs.iter().map(|_| Results::default()).collect();
            cases.push((case, mode, programs, results));
        }
    }
    let slower = if name == "mosquitto" { 10 } else { 1 };
    for round in 0..options.rounds {
        eprintln!("{name}: round {} of {}", round + 1, options.rounds);
        for (_, mode, programs, results) in &mut cases {
            let mut turns: Vec<_> = programs.iter().zip(results).collect();
            if round % 2 == 1 {
                turns.reverse();
            }
            for (program, results) in turns {
                if let Some((fails, why)) = program.fails
                    && fails == *mode
                {
                    results.error = Some(why.into());
                }
                if results.error.is_some() {
                    continue;
                }
                let slower = if *mode == Mode::RoundTrip { 1 } else { slower };
                match process::run(program, *mode, messages(*mode, program) / slower, server, &[]) {
                    Ok(measured) => results.measured.push(measured),
                    Err(error) => results.error = Some(error.to_string()),
                }
            }
        }
    }
    let per_message = |program: &Program, mode: Mode, seconds: f64| {
        let slower = if mode == Mode::RoundTrip { 1 } else { slower };
        seconds * 1e9 / (messages(mode, program) / slower) as f64
    };
    let mut left_out = Vec::new();
    for (case, _, programs, results) in &cases {
        for (program, results) in programs.iter().zip(results) {
            let error = results.error.iter();
            left_out.extend(error.map(|why| format!("{} in {case}: {why}", program.name)));
        }
    }
    let rows = |is_wanted: fn(Mode) -> bool, value: &dyn Fn(&Program, Mode, &Measured) -> f64| {
        let mut rows = Vec::new();
        for (case, mode, programs, results) in cases.iter().filter(|it| is_wanted(it.1)) {
            let well = programs.iter().zip(results).filter(|(_, results)| results.error.is_none());
            rows.extend(measure::rows(
                case,
                well.map(|(program, results)| {
                    let values = results.measured.iter().map(|it| value(program, *mode, it));
                    (program.name, values.collect())
                }),
            ));
        }
        rows
    };
    let is_trip = |mode| mode == Mode::RoundTrip;
    let processor =
        rows(|_| true, &|program, mode, it| per_message(program, mode, it.processor_seconds));
    let time = rows(|mode| mode != Mode::RoundTrip, &|program, mode, it| {
        per_message(program, mode, it.seconds)
    });
    let p50 = rows(is_trip, &|_, _, it| it.p50 * 1e3);
    let p99 = rows(is_trip, &|_, _, it| it.p99 * 1e3);
    measure::report(&format!("{name}-processor"), &processor, &left_out)?;
    for version in ["v311", "v5"] {
        let rows: Vec<_> = processor.iter().filter(|row| row.case.starts_with(version)).collect();
        if !rows.is_empty() {
            let title = "microseconds of processor time for each message, logarithmic";
            plot::bars(&format!("{name}-{version}"), title, &rows)?;
        }
    }
    measure::report(&format!("{name}-time"), &time, &[])?;
    measure::report(&format!("{name}-round-trip-p50"), &p50, &[])?;
    measure::report(&format!("{name}-round-trip-p99"), &p99, &[])
}
