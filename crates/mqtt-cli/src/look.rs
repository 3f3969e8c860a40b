//! How messages look on the standard output: their format, and what a terminal needs.

use std::io::IsTerminal;
use std::time::SystemTime;

use anstyle::{AnsiColor, Style as Colour};
use mqtt_async::Message;

use crate::format::{Style, Template};

/// How messages are printed.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct LookArgs {
    /// How a message is printed.
    #[arg(long, value_enum, default_value = "plain", conflicts_with_all = ["verbose", "template"])]
    format: Style,

    /// Prints the topic as well: as --format topic.
    #[arg(short, long, conflicts_with = "template")]
    verbose: bool,

    /// Prints each message in a format of your own.
    #[arg(short = 'F', long, value_name = "FORMAT")]
    template: Option<Template>,

    /// Ends no message with a line break.
    #[arg(short = 'N', long)]
    no_newline: bool,

    /// Colours each message by its topic: on a terminal, unless NO_COLOR is set.
    #[arg(long, value_enum, default_value = "auto", value_name = "WHEN")]
    color: clap::ColorChoice,
}

/// How messages look.
pub(crate) struct Look {
    template: Template,
    newline: bool,
    coloured: bool,
    /// Whether bytes that would move the cursor or worse are made visible.
    escaped: bool,
}

impl LookArgs {
    pub(crate) fn look(&self) -> Look {
        let terminal = std::io::stdout().is_terminal();
        let style = if self.verbose { Style::Topic } else { self.format };
        let coloured = match self.color {
            clap::ColorChoice::Always => true,
            clap::ColorChoice::Never => false,
            clap::ColorChoice::Auto => {
                terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        Look {
            template: self.template.clone().unwrap_or_else(|| style.into()),
            newline: !self.no_newline,
            coloured,
            escaped: terminal,
        }
    }
}

impl Look {
    /// Appends a message that came at that time.
    pub(crate) fn write(&self, message: &Message, now: SystemTime, out: &mut Vec<u8>) {
        let mut line = Vec::new();
        self.template.write(message, now, self.escaped, &mut line);
        if self.coloured {
            let colour = colour(message.topic());
            out.extend_from_slice(colour.render().to_string().as_bytes());
            out.append(&mut line);
            out.extend_from_slice(colour.render_reset().to_string().as_bytes());
        } else {
            out.append(&mut line);
        }
        if self.newline {
            out.push(b'\n');
        }
    }
}

/// Returns a colour that is the same for the same topic.
fn colour(topic: &str) -> Colour {
    const COLOURS: [AnsiColor; 6] = [
        AnsiColor::Green,
        AnsiColor::Yellow,
        AnsiColor::Blue,
        AnsiColor::Magenta,
        AnsiColor::Cyan,
        AnsiColor::BrightBlue,
    ];
    let sum =
        topic.bytes().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    Colour::new().fg_color(COLOURS.get(sum % COLOURS.len()).copied().map(Into::into))
}
