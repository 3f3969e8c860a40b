//! How a number comes about: cases whose contenders take turns, medians, ranges, and where they are written.

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs, io};

use cpu_time::ThreadTime;

use crate::about::about;

/// What stands above the lines for other programs.
const HEADER: &str = "bench\tcase\tours\tpeer\tpeer_value\tratio";

/// How long one sample takes at least: long enough for the clock, short enough for many turns.
const SAMPLE: Duration = Duration::from_millis(2);

/// Does the work of a case once, and returns a sum over what it saw: all contenders must see the same.
pub type Run = Box<dyn FnMut() -> u64>;

/// One library, or one way to use it.
pub struct Contender {
    pub name: &'static str,
    pub run: Run,
}

impl Contender {
    pub fn new(name: &'static str, run: impl FnMut() -> u64 + 'static) -> Contender {
        Contender { name, run: Box::new(run) }
    }
}

/// A piece of work, and who does it. The first contender is ours.
pub struct Case {
    pub name: String,
    /// How many packets (or messages, or topics) one run handles.
    pub units: usize,
    pub contenders: Vec<Contender>,
}

/// What was measured of one contender in one case, per unit.
pub struct Row {
    pub case: String,
    pub name: &'static str,
    /// Nanoseconds.
    pub time: Spread,
    /// How many times as long as ours, round by round.
    pub ratio: Spread,
}

/// A median between the smallest and the largest.
#[derive(Clone, Copy)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

/// Makes the rows of a case, of what each contender took in each round; the first one is ours.
pub fn rows(
    case: &str,
    contenders: impl IntoIterator<Item = (&'static str, Vec<f64>)>,
) -> Vec<Row> {
    let (mut rows, mut ours) = (Vec::new(), None);
    for (name, times) in contenders {
        let ours = ours.get_or_insert_with(|| times.clone());
        let ratios = times.iter().zip(ours).map(|(time, ours)| time / *ours).collect();
        let (time, ratio) = (Spread::of(times), Spread::of(ratios));
        rows.push(Row { case: case.into(), name, time, ratio });
    }
    rows
}

impl Spread {
    pub fn of(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
        Spread { median: at(values.len() / 2), min: at(0), max: at(values.len().saturating_sub(1)) }
    }
}

/// What the command line asks for.
#[derive(Clone)]
pub struct Options {
    pub rounds: usize,
    /// Only cases whose name has this in it.
    pub only: String,
}

/// Runs all cases and writes what came out.
pub fn bench(name: &str, cases: Vec<Case>, options: &Options) -> io::Result<Vec<Row>> {
    let (rows, left_out) = measure(cases, options);
    report(name, &rows, &left_out)?;
    Ok(rows)
}

/// Writes what was measured, in nanoseconds.
pub fn report(name: &str, rows: &[Row], left_out: &[String]) -> io::Result<()> {
    report_as(name, "ns", 1, rows, left_out)
}

/// Writes what was measured, in that unit and with so many decimals.
pub fn report_as(
    name: &str,
    unit: &str,
    decimals: usize,
    rows: &[Row],
    left_out: &[String],
) -> io::Result<()> {
    if rows.is_empty() && left_out.is_empty() {
        return Ok(());
    }
    let mut table = format!("## {name}\n\n{}", table(unit, decimals, rows));
    for line in left_out {
        let _ = writeln!(table, "\nLeft out: {line}.");
    }
    let _ = writeln!(table, "\n{}", about());
    println!("{table}");
    write(&format!("{name}.md"), &table)?;
    write(&format!("{name}.tsv"), &tsv(name, decimals, rows))
}

/// Puts the lines of all measurements that have been made into one file.
pub fn gather() -> io::Result<()> {
    let mut lines = vec![HEADER.to_owned()];
    let mut files: Vec<_> = fs::read_dir(folder()?)?.filter_map(Result::ok).collect();
    files.sort_by_key(|file| file.file_name());
    for file in files {
        let path = file.path();
        if path.extension().is_some_and(|it| it == "tsv") && !path.ends_with("all.tsv") {
            lines.extend(fs::read_to_string(path)?.lines().skip(1).map(String::from));
        }
    }
    write("all.tsv", &(lines.join("\n") + "\n"))
}

struct Turns {
    contender: Contender,
    repeat: u32,
    times: Vec<f64>,
}

fn measure(cases: Vec<Case>, options: &Options) -> (Vec<Row>, Vec<String>) {
    let mut left_out = Vec::new();
    let mut all = Vec::new();
    for case in cases.into_iter().filter(|case| case.name.contains(&options.only)) {
        let mut expected = None;
        let mut turns = Vec::new();
        for mut contender in case.contenders {
            let saw = (contender.run)();
            let expected = *expected.get_or_insert(saw);
            if saw == expected {
                turns.push(warm_up(contender));
            } else {
                let name = contender.name;
                left_out.push(format!("{name} in {}: it saw {saw}, not {expected}", case.name));
            }
        }
        all.push((case.name, case.units, turns));
    }
    for round in 0..options.rounds {
        for (_, units, turns) in &mut all {
            take_turns(turns, *units, round % 2 == 1);
        }
    }
    let rows = all.into_iter().flat_map(|(case, _, turns)| {
        rows(&case, turns.into_iter().map(|turn| (turn.contender.name, turn.times)))
    });
    (rows.collect(), left_out)
}

/// Finds how often to repeat a run, which also warms caches and buffers.
fn warm_up(mut contender: Contender) -> Turns {
    let (start, mut repeat) = (ThreadTime::now(), 0);
    while start.elapsed() < SAMPLE {
        black_box((contender.run)());
        repeat += 1;
    }
    Turns { contender, repeat, times: Vec::new() }
}

/// One sample of each: the next round goes the other way, so that nobody always follows the same one.
fn take_turns(turns: &mut [Turns], units: usize, backwards: bool) {
    let len = turns.len();
    for at in 0..len {
        let Some(turn) = turns.get_mut(if backwards { len - 1 - at } else { at }) else { continue };
        let start = ThreadTime::now();
        for _ in 0..turn.repeat {
            black_box((turn.contender.run)());
        }
        let runs = f64::from(turn.repeat) * units as f64;
        turn.times.push(start.elapsed().as_nanos() as f64 / runs);
    }
}

fn table(unit: &str, decimals: usize, rows: &[Row]) -> String {
    let mut out = format!("| case | who | {unit} | range | ours is better by | range |\n");
    out.push_str("|---|---|---:|---:|---:|---:|\n");
    let mut last = "";
    for Row { case, name, time, ratio } in rows {
        let first = case != last;
        let shown = if first { case } else { "" };
        let (Spread { median: ns, min, max }, Spread { median: by, min: low, max: high }) =
            (time, ratio);
        let _ = write!(
            out,
            "| {shown} | {name} | {ns:.decimals$} | {min:.decimals$}–{max:.decimals$} |"
        );
        let _ = match first {
            true => writeln!(out, " | |"),
            false => writeln!(out, " {by:.2} | {low:.2}–{high:.2} |"),
        };
        last = case;
    }
    out
}

/// One line for each peer: what other programs read.
fn tsv(bench: &str, decimals: usize, rows: &[Row]) -> String {
    let mut out = format!("{HEADER}\n");
    let mut ours: Option<&Row> = None;
    for row in rows {
        match ours.filter(|ours| ours.case == row.case) {
            None => ours = Some(row),
            Some(ours) => {
                let (mine, theirs, ratio) = (ours.time.median, row.time.median, row.ratio.median);
                let (case, name) = (&row.case, row.name);
                let _ = writeln!(
                    out,
                    "{bench}\t{case}\t{mine:.decimals$}\t{name}\t{theirs:.decimals$}\t{ratio:.2}"
                );
            }
        }
    }
    out
}

/// Writes a file below `target/benches`, wherever `target` is.
pub fn write(name: &str, content: &str) -> io::Result<()> {
    fs::write(folder()?.join(name), content)
}

fn folder() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    let target = program.ancestors().nth(2).map_or_else(PathBuf::new, PathBuf::from);
    let folder = target.join("benches");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
