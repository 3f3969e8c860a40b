//! One run of a program, in a process of its own.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{env, hint, thread};

use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, Pid};

use super::programs::{PROGRAMS, Program};
use super::server::Server;
use crate::load::{Load, Measured, Mode, SUBSCRIBED};
use crate::sink::RECEIVE_MAXIMUM;

/// How long payloads are.
pub const SIZE: usize = 64;

/// How long one run may take.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// A process, which is killed when this is dropped.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Two processes that keep the cores from sleeping, and give way to every other one: a core of a virtual machine
/// that sleeps takes longer to wake up than all the rest of a round trip.
pub struct Awake {
    _processes: [Running; 2],
}

impl Awake {
    pub fn start() -> io::Result<Awake> {
        let spin = |core: &str| {
            let mut command = Command::new(env::current_exe()?);
            io::Result::Ok(Running(command.args(["spin", core]).spawn()?))
        };
        Ok(Awake { _processes: [spin("0")?, spin("1")?] })
    }
}

/// `benches spin CORE`: keeps a core busy until it is killed, at the lowest priority.
pub fn spin(args: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let [core] = args else { return Err("one argument".into()) };
    pin(core.parse()?, None);
    setpriority_process(None, 19)?;
    // Not for ever, if nobody is left to kill it.
    let end = Instant::now() + 10 * PATIENCE;
    while Instant::now() < end {
        hint::spin_loop();
    }
    Ok(())
}

/// `benches one VERSION NAME MODE MESSAGES PORT`: what runs in a process of its own, on core 1.
pub fn one(args: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let [version, name, mode, messages, port] = args else { return Err("five arguments".into()) };
    let known = |program: &&Program| program.version == version && program.name == name;
    let program = PROGRAMS.iter().find(known).ok_or("no such program")?;
    pin(1, None);
    let (mode, messages, port) = (mode.parse()?, messages.parse()?, port.parse()?);
    let load = Load { mode, messages, size: SIZE, window: RECEIVE_MAXIMUM, port };
    println!("{}", (program.run)(load).line());
    // Some of them do not end by themselves.
    std::process::exit(0);
}

/// Runs a program in a process of its own, and has it fed as soon as it has subscribed.
pub fn run(
    program: &Program,
    mode: Mode,
    messages: usize,
    server: &Server,
    prefix: &[String],
) -> io::Result<Measured> {
    let mut words = prefix.to_vec();
    words.push(env::current_exe()?.to_string_lossy().into_owned());
    words.extend(["one", program.version, program.name, mode.name()].map(String::from));
    words.extend([messages.to_string(), server.port.to_string()]);
    let (first, rest) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Command::new(first);
    command.args(rest).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = Running(command.spawn()?);
    let (lines, end) = (lines(&mut child)?, Instant::now() + PATIENCE);
    let (mut feeder, mut measured) = (None, None);
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) if line == SUBSCRIBED => feeder = server.feed(mode, messages)?,
            Ok(line) => measured = measured.or(Measured::parse(&line)),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                return Err(io::Error::other(format!("no end within {} s", PATIENCE.as_secs())));
            }
        }
    }
    // What it runs under may still have something to write.
    child.0.wait()?;
    drop(feeder);
    measured.ok_or_else(|| io::Error::other("it ended without a result"))
}

/// Returns what a process says, line by line, until it ends.
fn lines(child: &mut Running) -> io::Result<Receiver<String>> {
    let stdout = child.0.stdout.take().ok_or(io::ErrorKind::NotFound)?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        lines.try_for_each(|line| sender.send(line))
    });
    Ok(receiver)
}

/// Keeps a process on one core, if the machine has so many: this one, if no other is named.
pub fn pin(core: usize, process: Option<Pid>) {
    let mut cores = CpuSet::new();
    cores.set(core);
    let _ = rustix::thread::sched_setaffinity(process, &cores);
}
