//! System calls, with the kernel's own counter: for that, perf and its rights are needed.

use std::path::PathBuf;
use std::{env, fs, io};

use super::programs::Program;
use super::server::Server;
use super::{Case, process};
use crate::load::Mode;
use crate::measure;

/// Counts the system calls of all that have gone well, against the sink.
pub fn bench(sink: &Server, cases: &[Case]) -> io::Result<()> {
    let file = env::temp_dir().join(format!("mqtt-benches-{}.calls", std::process::id()));
    let mut rows = Vec::new();
    for Case { name, mode, turns, .. } in cases.iter().filter(|case| case.mode != Mode::RoundTrip) {
        let counted = turns.iter().filter(|it| it.error.is_none()).filter_map(|it| {
            let count = |messages| count(it.program, *mode, messages, sink, &file);
            // What two runs differ by: the connection and the runtime do not count.
            let (few, more) = (it.messages / 8, it.messages / 4);
            let calls = count(more)? - count(few)?;
            Some((it.program.name, vec![calls / (more - few) as f64]))
        });
        rows.extend(measure::rows(name, counted));
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
