//! `mqtt bench`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};
use mqtt_async::QoS;
use smol::stream::StreamExt;
use smol::{Executor, Timer};

use crate::args::{Connection, qos};
use crate::failure::Failure;
use crate::output;
use crate::signal::Interrupts;

mod report;
mod tally;
mod work;

use report::Report;
use tally::Tally;

/// How often the display on a terminal is brought up to date.
const REFRESH: Duration = Duration::from_millis(200);

/// Measures a server and the way to it.
///
/// The clients of one measurement run in one thread, so this measures what a client costs as well. Nothing else
/// should run on the machine. Ctrl-C ends it early, with a report of what was measured so far, and exit code 130. To
/// a --client-id, each client appends a number of its own.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// How fast messages are published: from the call to the answer of the server.
    Publish(Options),
    /// How fast messages come through: one client publishes, the others have subscribed.
    Subscribe(Options),
    /// How long a message takes to the server and back, one at a time.
    Roundtrip(Options),
    /// How fast clients connect, and how many can be.
    Connections(Options),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// How many clients.
    #[arg(short, long, value_name = "COUNT", default_value_t = 1)]
    clients: u32,

    /// How many messages for each client.
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 10_000)]
    messages: u64,

    /// The size of a payload, in bytes; at least 8 where a time has to stand in it.
    #[arg(short, long, value_name = "BYTES", default_value_t = 64)]
    size: usize,

    /// The QoS.
    #[arg(short, long, value_parser = qos, default_value = "1")]
    qos: QoS,

    /// How many messages of a client wait for their answers at most.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    window: usize,

    /// What the topics begin with; each client has one of its own below it.
    #[arg(short, long, value_name = "TOPIC", default_value = "bench")]
    topic: String,

    /// How the result is printed.
    #[arg(long, value_enum, default_value = "text")]
    output: Output,

    /// Draws throughput and latency over time into an SVG file.
    #[arg(long, value_name = "PATH")]
    svg: Option<PathBuf>,

    #[command(flatten)]
    connection: Connection,
}

impl Mode {
    const fn options(&self) -> &Options {
        match self {
            Mode::Publish(options)
            | Mode::Subscribe(options)
            | Mode::Roundtrip(options)
            | Mode::Connections(options) => options,
        }
    }

    const fn name(&self) -> &'static str {
        match self {
            Mode::Publish(_) => "publish",
            Mode::Subscribe(_) => "subscribe",
            Mode::Roundtrip(_) => "roundtrip",
            Mode::Connections(_) => "connections",
        }
    }

    /// Returns how many results there will be.
    fn expected(&self) -> u64 {
        let Options { clients, messages, .. } = self.options();
        match self {
            Mode::Connections(_) => u64::from(*clients),
            _ => u64::from(*clients).saturating_mul(*messages),
        }
    }
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let mode = args.mode;
    let options = mode.options();
    if options.clients == 0 || (options.messages == 0 && !matches!(mode, Mode::Connections(_))) {
        return Err(Failure::usage("there is nothing to measure: --clients and --messages"));
    }
    let mut interrupts = Interrupts::new()?;
    let tally = Arc::new(Tally::new(mode.expected())?);
    let executor = Executor::new();
    let work = work::all(&mode, &tally, &executor);
    let shown = show(&mode, &tally);
    let measured = executor.run(smol::future::or(work, shown));
    let result = match interrupts.unless(measured).await {
        Some(result) => result,
        None => Err(Failure::interrupted()),
    };
    if tally.done() == 0 {
        return result.and(Err(Failure::other("nothing came back, so nothing was measured")));
    }
    let report = Report::new(mode.name(), options, &tally);
    match options.output {
        Output::Text => output::print(report.text().as_bytes())?,
        Output::Json => output::print(format!("{}\n", report.json()).as_bytes())?,
    }
    if let Some(path) = &options.svg {
        report.draw(path).map_err(|error| {
            Failure::other(format_args!("cannot draw {}: {error}", path.display()))
        })?;
    }
    result
}

/// Shows how it gets on, on a terminal; it has no end of its own.
async fn show(mode: &Mode, tally: &Tally) -> Result<(), Failure> {
    if mode.options().connection.quiet {
        return std::future::pending().await;
    }
    // Nothing is drawn where the standard error is no terminal. At the end it goes, to leave the report alone.
    let bar = ProgressBar::with_draw_target(Some(mode.expected()), ProgressDrawTarget::stderr())
        .with_finish(ProgressFinish::AndClear);
    let style = "{bar:30} {percent:>3} %  {msg}  {elapsed}";
    bar.set_style(
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let (mut last, mut at) = (0, Instant::now());
    let mut ticks = Timer::interval(REFRESH);
    while ticks.next().await.is_some() {
        let (done, now) = (tally.done(), Instant::now());
        let rate = (done - last) as f64 / (now - at).as_secs_f64();
        (last, at) = (done, now);
        bar.set_position(done);
        bar.set_message(format!("{rate:.0}/s"));
    }
    Ok(())
}
