//! Counts instructions under callgrind and compares them with the numbers in `instructions.tsv`.
//!
//! `instructions` fails if a case needs more than 5 % over its number; `instructions --update` writes
//! new numbers; `instructions count CASE` counts any case. Instructions are not time, but they are the same on
//! a busy machine. They depend on the toolchain: after a new one, update.

use std::error::Error;
use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::{env, fs};

use mqtt_benches::codec::input::stream;
use mqtt_benches::codec::ours;
use mqtt_benches::measure::Run;
use mqtt_benches::session::exchange;
use mqtt_proto::{QoS, Version};

const NUMBERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.tsv");

/// How much more than the number is too much.
const TOLERANCE: f64 = 1.05;

/// What is watched. Any other case can be counted by its name as well.
const CASES: &[&str] =
    &["decode/v5/publish-64", "decode/v311/puback", "encode/v5/publish-64", "session/v5/qos1"];

/// How many messages a case of the session sends.
const MESSAGES: usize = 1000;

/// Prepares a case; tells of how many packets it is.
fn prepare(case: &str) -> Result<(Run, usize), Box<dyn Error>> {
    let [what, version, name] = case.split('/').collect::<Vec<_>>()[..] else {
        return Err(format!("no case {case}").into());
    };
    let version = if version == "v5" { Version::V5 } else { Version::V311 };
    if what == "session" {
        let qos = match name {
            "qos0" => QoS::AtMostOnce,
            "qos1" => QoS::AtLeastOnce,
            "qos2" => QoS::ExactlyOnce,
            _ => return Err(format!("no case {case}").into()),
        };
        return Ok((exchange(version, qos, 100, MESSAGES), MESSAGES));
    }
    let stream = stream(version, name);
    let packets = stream.items.len();
    match what {
        "decode" => Ok((ours::decode(&stream), packets)),
        "encode" => Ok((ours::encode(&stream), packets)),
        _ => Err(format!("no case {case}").into()),
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => check(),
        ["--update"] => update(),
        ["count", case] => {
            println!("{case}: {:.1} instructions each", count(case)?);
            Ok(ExitCode::SUCCESS)
        }
        ["run", case, times] => run(case, times.parse()?),
        _ => Err("usage: instructions [--update | count CASE | run CASE TIMES]".into()),
    }
}

fn check() -> Result<ExitCode, Box<dyn Error>> {
    let numbers = fs::read_to_string(NUMBERS)?;
    println!("the numbers are those of {}", numbers.lines().next().unwrap_or_default());
    let mut good = true;
    for case in CASES {
        let line = numbers.lines().filter_map(|line| line.split_once('\t'));
        let number = line.filter(|(name, _)| name == case).map(|(_, number)| number).next();
        let number: f64 = number.ok_or("a case has no number: run with --update")?.parse()?;
        let counted = count(case)?;
        let change = 100.0 * (counted / number - 1.0);
        println!("{case}: {counted:.1} instructions each, {number:.1} before ({change:+.1} %)");
        good &= counted <= number * TOLERANCE;
    }
    if good {
        return Ok(ExitCode::SUCCESS);
    }
    println!(
        "That is more than 5 % too many. If it has to be, or if the toolchain is another one: \
         `instructions --update`, and say why."
    );
    Ok(ExitCode::FAILURE)
}

fn update() -> Result<ExitCode, Box<dyn Error>> {
    let mut numbers = toolchain()?;
    for case in CASES {
        let counted = count(case)?;
        println!("{case}: {counted:.1} instructions each");
        numbers.push_str(&format!("{case}\t{counted:.1}\n"));
    }
    fs::write(NUMBERS, numbers)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the line that says what the numbers were counted with.
fn toolchain() -> Result<String, Box<dyn Error>> {
    let output = Command::new("rustc").arg("--version").output()?;
    Ok(String::from_utf8(output.stdout)?)
}

/// Does a case so many times: what callgrind looks at.
fn run(case: &str, times: usize) -> Result<ExitCode, Box<dyn Error>> {
    let (mut run, _) = prepare(case)?;
    for _ in 0..times {
        black_box(run());
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns instructions per packet or message: what three runs need more than one does. So neither the preparation
/// nor the first growth of buffers counts.
fn count(case: &str) -> Result<f64, Box<dyn Error>> {
    let (_, packets) = prepare(case)?;
    let more = callgrind(case, 3)? - callgrind(case, 1)?;
    Ok(more / (2 * packets) as f64)
}

fn callgrind(case: &str, times: usize) -> Result<f64, Box<dyn Error>> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg(env::current_exe()?).args(["run", case, &times.to_string()]);
    let output = command.output().map_err(|error| format!("valgrind: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find_map(|line| line.split_once("Collected : "));
    let (_, count) = line.ok_or_else(|| format!("valgrind failed:\n{text}"))?;
    Ok(count.trim().parse()?)
}
