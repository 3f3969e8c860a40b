//! The command `mqtt`.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

mod args;
mod bench;
mod broker;
mod connection;
mod failure;
mod format;
mod look;
mod output;
mod publish;
mod request;
mod respond;
mod signal;
mod subscribe;
mod transport;

use failure::{EXIT_CODES, Failure};

/// Publishes, subscribes, requests, responds, measures, and runs a small broker, over MQTT.
#[derive(Debug, Parser)]
#[command(name = "mqtt", version, about, after_help = EXIT_CODES)]
#[command(disable_help_flag = true, disable_help_subcommand = true, disable_version_flag = true)]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Prints help; that of a command tells its options.
    // Not `-h`, which is the host, as people know it from other clients. It stands at the end.
    #[arg(long, action = clap::ArgAction::Help, global = true, display_order = 1000)]
    help: Option<bool>,

    /// Prints the version.
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
}

/// What they do stands at their arguments.
#[derive(Debug, Subcommand)]
enum Command {
    Pub(publish::Args),
    Sub(subscribe::Args),
    Request(request::Args),
    Respond(respond::Args),
    Bench(bench::Args),
    Broker(broker::Args),
    /// Prints completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if is_help(&error) => {
            let code = u8::try_from(error.exit_code()).unwrap_or(2);
            // A pager that was left is no error.
            let _ = error.print();
            return ExitCode::from(code);
        }
        Err(error) => return failed(&Failure::from(error)),
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failed(&failure),
    }
}

/// Tells whether somebody wants to be told how it works, if only by giving no command.
fn is_help(error: &clap::Error) -> bool {
    let without = clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    !error.use_stderr() || error.kind() == without
}

fn failed(failure: &Failure) -> ExitCode {
    anstream::eprintln!("mqtt: {failure}");
    failure.exit_code()
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Pub(args) => smol::block_on(publish::run(args)),
        Command::Sub(args) => smol::block_on(subscribe::run(args)),
        Command::Request(args) => smol::block_on(request::run(args)),
        Command::Respond(args) => smol::block_on(respond::run(args)),
        Command::Bench(args) => smol::block_on(bench::run(args)),
        Command::Broker(args) => smol::block_on(broker::run(args)),
        Command::Completions { shell } => {
            // Into memory first: the writer of the library panics where the pipe is broken.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "mqtt", &mut script);
            output::print(&script)
        }
    }
}
