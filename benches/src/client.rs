//! Clients end to end over TCP: each in a process of its own on one core, the server on the other.

use std::io::{self, BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use mqtt_proto::Version;
use rustix::thread::CpuSet;

use crate::load::{Load, Measured, Mode};
use crate::measure::{self, Options, Row, Spread};
use crate::{plot, sink};

mod endpoint;
mod mqtt5;
mod ntex;
mod ours;
mod rumqttc;

/// How many messages wait for their answer at most, and how long payloads are.
const WINDOW: u16 = 100;
const SIZE: usize = 64;

/// How long one run may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// One client, or one way to use it.
struct Program {
    version: &'static str,
    name: &'static str,
    run: fn(Load) -> Measured,
    /// Slow ones get fewer messages.
    share: usize,
    /// What it is known not to do, and why.
    fails: Option<(Mode, &'static str)>,
}

const fn program(version: &'static str, name: &'static str, run: fn(Load) -> Measured) -> Program {
    Program { version, name, run, share: 1, fails: None }
}

const NTEX_FAILS: &str = "it ends with UnexpectedRelease when several are released at once";

/// For each version, ours stands first.
const PROGRAMS: &[Program] = &[
    program("v311", "mqtt-async (smol)", |load| ours::smol(Version::V311, load)),
    program("v311", "mqtt-async (tokio)", |load| ours::tokio_current_thread(Version::V311, load)),
    program("v311", "mqtt-async (tokio, multi-thread)", |load| {
        ours::tokio_multi_thread(Version::V311, load)
    }),
    Program { share: 4, ..program("v311", "rumqttc", |load| rumqttc::v311::run(load, true)) },
    program("v311", "rumqttc (with Nagle)", |load| rumqttc::v311::run(load, false)),
    Program {
        fails: Some((Mode::Publish(2), NTEX_FAILS)),
        ..program("v311", "ntex-mqtt", ntex::v311)
    },
    Program { share: 8, ..program("v311", "mqtt-endpoint-tokio", endpoint::v311) },
    program("v5", "mqtt-async (smol)", |load| ours::smol(Version::V5, load)),
    program("v5", "mqtt-async (tokio)", |load| ours::tokio_current_thread(Version::V5, load)),
    program("v5", "mqtt-async (tokio, multi-thread)", |load| {
        ours::tokio_multi_thread(Version::V5, load)
    }),
    Program { share: 4, ..program("v5", "rumqttc", |load| rumqttc::v5::run(load, true)) },
    program("v5", "rumqttc (with Nagle)", |load| rumqttc::v5::run(load, false)),
    Program { fails: Some((Mode::Publish(2), NTEX_FAILS)), ..program("v5", "ntex-mqtt", ntex::v5) },
    Program { share: 8, ..program("v5", "mqtt5", mqtt5::v5) },
];

/// Runs a future on tokio's current-thread runtime: what most of these clients are fastest on.
fn runtime(work: impl Future<Output = Measured>) -> Measured {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime").block_on(work)
}

/// The server side of a measurement: it is killed when this is dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `benches sink`: serves on core 0 until it is killed, and says on which port.
pub fn serve() -> io::Result<()> {
    pin(0);
    println!("{}", sink::listen()?);
    loop {
        thread::park();
    }
}

/// `benches one VERSION NAME MODE MESSAGES PORT`: what runs in a process of its own, on core 1.
pub fn one(args: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let [version, name, mode, messages, port] = args else { return Err("five arguments".into()) };
    let known = |program: &&Program| program.version == version && program.name == name;
    let program = PROGRAMS.iter().find(known).ok_or("no such program")?;
    pin(1);
    let (mode, messages, port) = (mode.parse()?, messages.parse()?, port.parse()?);
    let load = Load { mode, messages, size: SIZE, window: WINDOW, port };
    println!("{}", (program.run)(load).line());
    // Some of them do not end by themselves.
    std::process::exit(0);
}

/// Keeps this process on one core, if the machine has so many.
fn pin(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    let _ = rustix::thread::sched_setaffinity(None, &cores);
}

fn start_sink() -> io::Result<Server> {
    let mut command = Command::new(env::current_exe()?);
    let mut child = command.arg("sink").stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    let port = line.trim().parse().map_err(io::Error::other)?;
    Ok(Server { child, port })
}

/// Starts mosquitto, if it is there.
fn start_mosquitto() -> io::Result<Option<Server>> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let config = env::temp_dir().join(format!("mqtt-benches-{}.conf", std::process::id()));
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n\
         max_inflight_messages 0\nset_tcp_nodelay true\npersistence false\nlog_type none\n"
    );
    fs::write(&config, text)?;
    let mut command = Command::new("mosquitto");
    let Ok(child) = command.arg("-c").arg(&config).stderr(Stdio::null()).spawn() else {
        return Ok(None);
    };
    let server = Server { child, port };
    let start = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        if start.elapsed() > PATIENCE {
            return Ok(None);
        }
        thread::yield_now();
    }
    let _ = fs::remove_file(&config);
    Ok(Some(server))
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
    let sink = start_sink()?;
    run("client", &sink, options, &Mode::ALL.map(|(_, mode)| mode))?;
    // Its clients are slower than any of these: that is where a broker is the bottleneck.
    if let Some(mosquitto) = start_mosquitto()? {
        let modes = [Mode::Publish(0), Mode::Publish(1), Mode::Publish(2), Mode::RoundTrip];
        let less = Options { rounds: options.rounds.div_ceil(2), only: options.only.clone() };
        run("mosquitto", &mosquitto, &less, &modes)?;
    }
    calls(&sink, options)
}

fn run(name: &str, server: &Server, options: &Options, modes: &[Mode]) -> io::Result<()> {
    let mut cases: Vec<(String, Mode, Vec<&Program>, Vec<Results>)> = Vec::new();
    for version in ["v311", "v5"] {
        for mode in modes {
            let case = format!("{version}/{}", mode.name());
            if !case.contains(&options.only) {
                continue;
            }
            let programs: Vec<_> =
                PROGRAMS.iter().filter(|program| program.version == version).collect();
            let results = programs.iter().map(|_| Results::default()).collect();
            cases.push((case, *mode, programs, results));
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
                match spawn(program, *mode, messages(*mode, program) / slower, server.port, &[]) {
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
    let (mut processor, mut time) = (Vec::new(), Vec::new());
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    for (case, mode, programs, results) in &cases {
        for (program, Results { measured, error }) in programs.iter().zip(results) {
            if let Some(error) = error {
                left_out.push(format!("{} in {case}: {error}", program.name));
                continue;
            }
            let row = |rows: &mut Vec<Row>, value: &dyn Fn(&Measured) -> f64| {
                let time = Spread::of(measured.iter().map(value).collect());
                rows.push(Row::beside(rows, case, program.name, time));
            };
            row(&mut processor, &|it| per_message(program, *mode, it.processor_seconds));
            if *mode == Mode::RoundTrip {
                row(&mut p50, &|it| it.p50 * 1e3);
                row(&mut p99, &|it| it.p99 * 1e3);
            } else {
                row(&mut time, &|it| per_message(program, *mode, it.seconds));
            }
        }
    }
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

/// Runs a program in a process of its own.
fn spawn(
    program: &Program,
    mode: Mode,
    messages: usize,
    port: u16,
    prefix: &[String],
) -> io::Result<Measured> {
    let mut words = prefix.to_vec();
    words.push(env::current_exe()?.to_string_lossy().into_owned());
    words.extend(["one", program.version, program.name, mode.name()].map(String::from));
    words.extend([messages.to_string(), port.to_string()]);
    let (first, rest) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(first);
    let mut child = command.args(rest).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let start = Instant::now();
    while child.try_wait()?.is_none() {
        if start.elapsed() > PATIENCE {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::other(format!("no end within {} s", PATIENCE.as_secs())));
        }
        thread::sleep(Duration::from_millis(2));
    }
    let stdout = child.stdout.take().ok_or(io::ErrorKind::NotFound)?;
    let measured = BufReader::new(stdout).lines().map_while(Result::ok);
    let measured = measured.filter_map(|line| Measured::parse(&line)).next();
    measured.ok_or_else(|| io::Error::other("it ended without a result"))
}

/// Counts system calls, with the kernel's own counter: for that, perf and its rights are needed.
fn calls(sink: &Server, options: &Options) -> io::Result<()> {
    let file = env::temp_dir().join(format!("mqtt-benches-{}.calls", std::process::id()));
    let mut rows = Vec::new();
    for version in ["v311", "v5"] {
        for (name, mode) in Mode::ALL {
            let case = format!("{version}/{name}");
            if mode == Mode::RoundTrip || !case.contains(&options.only) {
                continue;
            }
            for program in PROGRAMS.iter().filter(|it| it.version == version) {
                let messages = messages(mode, program);
                if program.fails.is_some_and(|(fails, _)| fails == mode) {
                    continue;
                }
                let count = |messages| count_calls(program, mode, messages, sink.port, &file);
                // What two runs differ by: the connection and the runtime do not count.
                let (Some(one), Some(two)) = (count(messages / 2), count(messages)) else {
                    continue;
                };
                let each = (two - one) / (messages - messages / 2) as f64;
                rows.push(Row::beside(&rows, &case, program.name, Spread::of(vec![each])));
            }
        }
    }
    let _ = fs::remove_file(&file);
    measure::report_as("client-calls", "system calls each", 4, &rows, &[])
}

fn count_calls(
    program: &Program,
    mode: Mode,
    messages: usize,
    port: u16,
    file: &PathBuf,
) -> Option<f64> {
    let perf = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-o"];
    let mut prefix = perf.map(String::from).to_vec();
    prefix.push(file.to_string_lossy().into_owned());
    spawn(program, mode, messages, port, &prefix).ok()?;
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.contains("sys_enter"))?;
    line.split(',').next()?.parse().ok()
}
