//! `mqtt pub`.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use mqtt_async::{Publish, Publishing, QoS, TopicName};
use smol::io::{AsyncBufReadExt, BufReader};
use smol::stream::{Stream, StreamExt};
use smol::{Timer, future};

use crate::args::{Connection, Payload, Properties, cannot_read_stdin, qos, seconds_or_duration};
use crate::connection::Session;
use crate::failure::{Failure, Kind};
use crate::signal::Interrupts;

/// How many messages wait for their answers at most; then the next one is not read.
const WINDOW: usize = 1000;

/// Publishes messages.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The topic to publish to.
    #[arg(short, long)]
    topic: String,

    #[command(flatten)]
    payload: Payload,

    /// Each line of standard input is a message.
    #[arg(short, long = "lines", group = "payload")]
    lines: bool,

    /// The QoS.
    #[arg(short, long, value_parser = qos, default_value = "0")]
    qos: QoS,

    /// The server keeps it for later subscribers.
    #[arg(short, long)]
    retain: bool,

    /// Publishes it so many times.
    #[arg(long, default_value_t = 1, value_name = "COUNT", conflicts_with = "lines")]
    repeat: u64,

    /// Waits so long in between, such as 500ms.
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = seconds_or_duration)]
    interval: Duration,

    #[command(flatten)]
    properties: Properties,

    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let mut publish = Publish::new(TopicName::new(&args.topic)?, args.payload.read()?);
    publish = publish.qos(args.qos).retain(args.retain);
    args.properties.put(&mut publish)?;
    let mut interrupts = Interrupts::new()?;
    let config = args.connection.config()?;
    let prepared = args.connection.prepare(config)?;
    prepared.tell(args.connection.quiet);
    let connecting = prepared.connect();
    let session = interrupts.unless(connecting).await.ok_or_else(Failure::interrupted)??;
    let accepted = Cell::new(0);
    let work = async {
        if args.lines {
            publish_all(&session, lines(publish), args.interval, &accepted).await
        } else {
            let copies =
                std::iter::repeat_n(publish, usize::try_from(args.repeat).unwrap_or(usize::MAX));
            let copies = smol::stream::iter(copies).map(Ok);
            publish_all(&session, copies, args.interval, &accepted).await
        }
    };
    let done = interrupts.unless(work).await;
    // What was accepted before a Ctrl-C is still seen to its end.
    let closed = session.close(&mut interrupts).await;
    let result = match done {
        Some(result) => result,
        None => args.interrupted(accepted.get()),
    };
    closed.and(result)
}

impl Args {
    /// Tells how far it has come: lines end when somebody ends them, and repetitions by themselves.
    fn interrupted(&self, accepted: u64) -> Result<(), Failure> {
        if !self.lines {
            let what = format_args!("interrupted after {accepted} of {} messages", self.repeat);
            return Err(Failure::new(Kind::Interrupted, what));
        }
        if !self.connection.quiet {
            anstream::eprintln!("mqtt: {accepted} messages were published");
        }
        Ok(())
    }
}

/// Makes a message of each line that comes, as soon as it comes; it need not be text.
fn lines(like: Publish) -> impl Stream<Item = Result<Publish, Failure>> + Unpin {
    let input = BufReader::new(smol::Unblock::new(io::stdin()));
    input.split(b'\n').map(move |line| {
        let payload = line.map_err(cannot_read_stdin)?.into();
        Ok(Publish { payload, ..like.clone() })
    })
}

/// Publishes one after the other, and looks at the answers in the same order, as they come: the next message may take
/// its time.
async fn publish_all(
    session: &Session,
    mut messages: impl Stream<Item = Result<Publish, Failure>> + Unpin,
    interval: Duration,
    accepted: &Cell<u64>,
) -> Result<(), Failure> {
    let mut waiting = VecDeque::new();
    while let Some(message) = next(&mut messages, &mut waiting).await? {
        if accepted.get() > 0 && !interval.is_zero() {
            Timer::after(interval).await;
        }
        waiting.push_back(session.accept(message).await?);
        accepted.set(accepted.get() + 1);
        if waiting.len() >= WINDOW
            && let Some(oldest) = waiting.pop_front()
        {
            oldest.await?;
        }
    }
    for publishing in waiting {
        publishing.await?;
    }
    Ok(())
}

/// Returns the next message; answers that come before it are looked at and forgotten.
async fn next(
    messages: &mut (impl Stream<Item = Result<Publish, Failure>> + Unpin),
    waiting: &mut VecDeque<Publishing>,
) -> Result<Option<Publish>, Failure> {
    let answers = async {
        while let Some(oldest) = waiting.front_mut() {
            oldest.await?;
            waiting.pop_front();
        }
        future::pending().await
    };
    future::or(async { messages.try_next().await }, answers).await
}
