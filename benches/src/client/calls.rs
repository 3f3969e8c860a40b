//! System calls, with the kernel's own counter: for that, perf and its rights are needed.

use std::path::PathBuf;
use std::{env, fs, io};

use super::programs::Program;
use super::server::Server;
use super::{messages, process};
use crate::load::Mode;
use crate::measure::{self, Options, Row, Spread};

/// Counts the system calls of all programs, against the sink.
pub fn bench(sink: &Server, options: &Options) -> io::Result<()> {
    let file = env::temp_dir().join(format!("mqtt-benches-{}.calls", std::process::id()));
    let mut rows = Vec::new();
    for version in ["v311", "v5"] {
        for (name, mode) in Mode::ALL {
            let case = format!("{version}/{name}");
            if mode == Mode::RoundTrip || !case.contains(&options.only) {
                continue;
            }
            for program in Program::all(version, mode) {
                let messages = messages(mode, program);
                if program.fails.is_some_and(|(fails, _)| fails == mode) {
                    continue;
                }
                let count = |messages| count(program, mode, messages, sink, &file);
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

fn count(
    program: &Program,
    mode: Mode,
    messages: usize,
    sink: &Server,
    file: &PathBuf,
) -> Option<f64> {
    let perf = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-o"];
    let mut prefix = perf.map(String::from).to_vec();
    prefix.push(file.to_string_lossy().into_owned());
    process::run(program, mode, messages, sink, &prefix).ok()?;
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.contains("sys_enter"))?;
    line.split(',').next()?.parse().ok()
}
