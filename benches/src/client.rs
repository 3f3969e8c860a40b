//! Clients end to end over TCP: each in a process of its own on one core, the server on the other.

use std::io;

use self::process::Awake;
use self::programs::Program;
use self::server::Server;
use crate::load::{Measured, Mode};
use crate::measure::{self, Options, Row};
use crate::plot;

mod calls;
mod endpoint;
mod limit;
mod mqtt5;
mod ntex;
mod ours;
mod process;
mod programs;
mod rumqttc;
mod server;

pub use self::process::{one, spin};
pub use self::server::{feed, serve};

/// Runs a future on tokio's current-thread runtime: what most of these clients are fastest on.
fn runtime(work: impl Future<Output = Measured>) -> Measured {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime").block_on(work)
}

/// How much processor time a run takes, in seconds: enough for what else the machine does to be spread over it, also
/// where the run is faster than the one that it was reckoned from. Others have less than ours.
const OURS: f64 = 0.28;
const OTHERS: f64 = 0.09;

/// How long a run takes at most on the clock, in seconds: some mostly wait.
const LONGEST: f64 = 1.5;

/// A round trip once more: else most of it is the time that a core takes to wake up.
const AWAKE: (&str, Mode) = ("round-trip-awake", Mode::RoundTrip);

/// All that take part in a case.
struct Case {
    name: String,
    mode: Mode,
    /// Whether the cores never sleep meanwhile: see [`Awake`].
    awake: bool,
    turns: Vec<Turns>,
}

/// What all rounds of one program in one case came to.
struct Turns {
    program: &'static Program,
    /// How many messages each of its runs has.
    messages: usize,
    measured: Vec<Measured>,
    /// Why it is left out.
    error: Option<String>,
}

/// Measures all programs, in turns, and writes what came out.
pub fn bench(options: &Options) -> io::Result<()> {
    let sink = server::sink()?;
    let cases = run("client", &sink, options)?;
    // Its clients are slower than any of these: that is where a broker is the bottleneck.
    if let Some(mosquitto) = server::mosquitto()? {
        let less = Options { rounds: options.rounds.div_ceil(2), only: options.only.clone() };
        run("mosquitto", &mosquitto, &less)?;
    }
    calls::bench(&sink, &cases)
}

fn run(name: &str, server: &Server, options: &Options) -> io::Result<Vec<Case>> {
    eprintln!("{name}: warming up");
    let mut cases = Vec::new();
    for version in ["v311", "v5"] {
        for (mode_name, mode) in Mode::ALL.into_iter().chain([AWAKE]) {
            let name = format!("{version}/{mode_name}");
            if name.contains(&options.only) {
                let programs = Program::all(version, mode, server.is_broker);
                let turns = programs.map(|it| warm_up(it, mode, server)).collect();
                cases.push(Case { name, mode, awake: mode_name == AWAKE.0, turns });
            }
        }
    }
    for round in 0..options.rounds {
        eprintln!("{name}: round {} of {}", round + 1, options.rounds);
        for Case { mode, awake, turns, .. } in &mut cases {
            let awake = if *awake { Some(Awake::start()?) } else { None };
            // The next round goes the other way, so that nobody always follows the same one.
            match round % 2 {
                0 => turns.iter_mut().for_each(|turns| take_turn(turns, *mode, server)),
                _ => turns.iter_mut().rev().for_each(|turns| take_turn(turns, *mode, server)),
            }
            drop(awake);
        }
    }
    report(name, &cases)?;
    Ok(cases)
}

/// Finds how many messages a run has.
fn warm_up(program: &'static Program, mode: Mode, server: &Server) -> Turns {
    let mut turns = Turns { program, messages: 0, measured: Vec::new(), error: None };
    let known = program.fails.filter(|(fails, _)| *fails == mode);
    let messages = match known {
        Some((_, why)) => Err(io::Error::other(why)),
        None => enough(program, mode, server),
    };
    match messages {
        Ok(messages) => turns.messages = messages,
        Err(error) => turns.error = Some(error.to_string()),
    }
    turns
}

/// Tries more and more messages, until it can be told how many take long enough.
fn enough(program: &Program, mode: Mode, server: &Server) -> io::Result<usize> {
    let wanted = if program.is_ours() { OURS } else { OTHERS };
    let mut messages = if mode == Mode::RoundTrip { 16 } else { 1000 };
    loop {
        let measured = process::run(program, mode, messages, server, &[])?;
        let Measured { seconds, processor_seconds, .. } = measured;
        if processor_seconds > wanted / 4.0 || seconds > LONGEST / 4.0 {
            let times = (wanted / processor_seconds).min(LONGEST / seconds);
            return Ok((messages as f64 * times) as usize);
        }
        messages *= 4;
    }
}

fn take_turn(turns: &mut Turns, mode: Mode, server: &Server) {
    if turns.error.is_some() {
        return;
    }
    match process::run(turns.program, mode, turns.messages, server, &[]) {
        Ok(measured) => turns.measured.push(measured),
        Err(error) => turns.error = Some(error.to_string()),
    }
}

fn report(name: &str, cases: &[Case]) -> io::Result<()> {
    let mut left_out = Vec::new();
    for Case { name, turns, .. } in cases {
        for Turns { program, error, .. } in turns {
            left_out.extend(error.iter().map(|why| format!("{} in {name}: {why}", program.name)));
        }
    }
    let processor = rows(cases, |_| true, |it, messages| it.processor_seconds * 1e9 / messages);
    measure::report(&format!("{name}-processor"), &processor, &left_out)?;
    for version in ["v311", "v5"] {
        let rows: Vec<_> = processor.iter().filter(|row| row.case.starts_with(version)).collect();
        if !rows.is_empty() {
            let title = "microseconds of processor time for each message, logarithmic";
            plot::bars(&format!("{name}-{version}"), title, &rows)?;
        }
    }
    let is_trip = |mode| mode == Mode::RoundTrip;
    let time = rows(cases, |mode| !is_trip(mode), |it, messages| it.seconds * 1e9 / messages);
    measure::report(&format!("{name}-time"), &time, &[])?;
    let p50 = rows(cases, is_trip, |it, _| it.p50 * 1e3);
    measure::report(&format!("{name}-round-trip-p50"), &p50, &[])?;
    let p99 = rows(cases, is_trip, |it, _| it.p99 * 1e3);
    measure::report(&format!("{name}-round-trip-p99"), &p99, &[])
}

/// Makes the rows of all cases of such a mode: nanoseconds, by what a run has measured and how many messages it had.
fn rows(
    cases: &[Case],
    is_wanted: impl Fn(Mode) -> bool,
    nanos: impl Fn(&Measured, f64) -> f64,
) -> Vec<Row> {
    let mut rows = Vec::new();
    for Case { name, turns, .. } in cases.iter().filter(|case| is_wanted(case.mode)) {
        let well = turns.iter().filter(|it| it.error.is_none());
        rows.extend(measure::rows(
            name,
            well.map(|Turns { program, messages, measured, .. }| {
                let times = measured.iter().map(|it| nanos(it, *messages as f64));
                (program.name, times.collect())
            }),
        ));
    }
    rows
}
