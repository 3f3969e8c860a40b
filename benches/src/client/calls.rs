//! System calls, with the kernel's own counter: for that, perf and its rights are needed.

use std::path::PathBuf;
use std::{env, fs, io};

use super::programs::Program;
use super::server::Server;
use super::{messages, process};
use crate::load::Mode;
use crate::measure::{self, Options};

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
            let programs = Program::all(version, mode);
            let going_well = programs.filter(|it| it.fails.is_none_or(|(fails, _)| fails != mode));
            rows.extend(measure::rows(
                &case,
                going_well.filter_map(|program| {
                    let messages = messages(mode, program);
                    let count = |messages| count(program, mode, messages, sink, &file);
                    // What two runs differ by: the connection and the runtime do not count.
                    let more = count(messages)? - count(messages / 2)?;
                    Some((program.name, vec![more / (messages - messages / 2) as f64]))
                }),
            ));
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
