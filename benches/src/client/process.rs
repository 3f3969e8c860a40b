//! One run of a program, in a process of its own.

use std::io::{self, BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, thread};

use rustix::thread::CpuSet;

use super::PATIENCE;
use super::programs::{PROGRAMS, Program};
use crate::load::{Load, Measured, Mode};

/// How many messages wait for their answer at most, and how long payloads are.
const WINDOW: u16 = 100;
const SIZE: usize = 64;

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

/// Runs a program in a process of its own.
pub fn run(
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

/// Keeps this process on one core, if the machine has so many.
pub fn pin(core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    let _ = rustix::thread::sched_setaffinity(None, &cores);
}
