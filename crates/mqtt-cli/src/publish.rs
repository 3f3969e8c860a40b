//! `mqtt pub`.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::ArgGroup;
use mqtt_async::{Client, Publish, PublishError, Publishing, QoS, Text, TopicName};
use smol::Timer;
use smol::io::{AsyncBufReadExt, BufReader};
use smol::stream::{Stream, StreamExt};

use crate::args::{Connection, pair, qos};
use crate::failure::Failure;
use crate::signal::Interrupts;

/// How many messages wait for their answers at most; then the next one is not read.
const WINDOW: usize = 1000;

/// Publishes messages.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("payload").required(true))]
pub(crate) struct Args {
    /// The topic to publish to.
    #[arg(short, long)]
    topic: String,

    /// The payload, as it stands here.
    #[arg(short, long, group = "payload", value_name = "TEXT")]
    message: Option<String>,

    /// The payload is the content of a file.
    #[arg(short, long, group = "payload", value_name = "PATH")]
    file: Option<PathBuf>,

    /// The payload is all that comes on standard input.
    #[arg(short, long, group = "payload")]
    stdin: bool,

    /// Each line of standard input is a message.
    #[arg(short, long = "lines", group = "payload")]
    lines: bool,

    /// The payload is empty; with --retain this removes what is retained.
    #[arg(short, long = "null", group = "payload")]
    null: bool,

    /// The QoS.
    #[arg(short, long, value_parser = qos, default_value = "0")]
    qos: QoS,

    /// The server keeps it for later subscribers.
    #[arg(short, long)]
    retain: bool,

    /// Publishes it so many times.
    #[arg(long, default_value_t = 1, value_name = "COUNT", conflicts_with = "lines")]
    repeat: u64,

    /// Waits so long in between.
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    interval: Duration,

    #[command(flatten)]
    properties: Properties,

    #[command(flatten)]
    connection: Connection,
}

/// What MQTT 5.0 can say of a message.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Properties (MQTT 5.0)")]
pub(crate) struct Properties {
    /// What the payload is, such as application/json.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,

    /// Where a response is expected.
    #[arg(long, value_name = "TOPIC")]
    response_topic: Option<String>,

    /// What a response has to bring along.
    #[arg(long, value_name = "TEXT")]
    correlation_data: Option<String>,

    /// How long the message is worth delivering.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    expiry: Option<Duration>,

    /// A User Property; may be given several times.
    #[arg(short = 'D', long = "user-property", value_name = "NAME=VALUE", value_parser = pair)]
    user_properties: Vec<(String, String)>,
}

impl Properties {
    pub(crate) fn put(&self, publish: &mut Publish) -> Result<(), Failure> {
        let text = |text: &str| Text::new(text).map_err(Failure::usage);
        if let Some(content_type) = &self.content_type {
            publish.properties.edit().content_type = Some(text(content_type)?);
        }
        if let Some(topic) = &self.response_topic {
            publish.properties.edit().response_topic = Some(TopicName::new(topic)?);
        }
        if let Some(data) = &self.correlation_data {
            publish.properties.edit().correlation_data = Some(Bytes::from(data.clone()));
        }
        if let Some(expiry) = self.expiry {
            let seconds = u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX);
            publish.properties.edit().message_expiry_interval = Some(seconds);
        }
        for (name, value) in &self.user_properties {
            let property = (text(name)?, text(value)?);
            publish.properties.edit().user_properties.push(property);
        }
        Ok(())
    }
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let mut publish = Publish::new(TopicName::new(&args.topic)?, args.payload()?);
    publish = publish.qos(args.qos).retain(args.retain);
    args.properties.put(&mut publish)?;
    let mut interrupts = Interrupts::new()?;
    let config = args.connection.config()?;
    let connecting = args.connection.prepare(config).connect();
    let session = interrupts.unless(connecting).await.ok_or_else(Failure::interrupted)??;
    let work = async {
        if args.lines {
            publish_all(&session.client, lines(publish), args.interval).await
        } else {
            let copies =
                std::iter::repeat_n(publish, usize::try_from(args.repeat).unwrap_or(usize::MAX));
            publish_all(&session.client, smol::stream::iter(copies).map(Ok), args.interval).await
        }
    };
    // What was accepted before a Ctrl-C is still seen to its end.
    let result = interrupts.unless(work).await.unwrap_or(Ok(()));
    let closed = session.close(&mut interrupts).await;
    result.and(closed)
}

impl Args {
    /// Returns the payload of the one message, if there is just one.
    fn payload(&self) -> Result<Bytes, Failure> {
        if let Some(message) = &self.message {
            return Ok(Bytes::from(message.clone()));
        }
        if let Some(path) = &self.file {
            let content = fs::read(path);
            let cannot =
                |error| Failure::usage(format_args!("cannot read {}: {error}", path.display()));
            return content.map(Bytes::from).map_err(cannot);
        }
        let mut content = Vec::new();
        if self.stdin {
            io::stdin().lock().read_to_end(&mut content).map_err(cannot_read_stdin)?;
        }
        Ok(content.into())
    }
}

fn cannot_read_stdin(error: io::Error) -> Failure {
    Failure::other(format_args!("cannot read the standard input: {error}"))
}

/// Makes a message of each line that comes, as soon as it comes; it need not be text.
fn lines(like: Publish) -> impl Stream<Item = Result<Publish, Failure>> + Unpin {
    let input = BufReader::new(smol::Unblock::new(io::stdin()));
    input.split(b'\n').map(move |line| {
        let payload = line.map_err(cannot_read_stdin)?.into();
        Ok(Publish { payload, ..like.clone() })
    })
}

/// Publishes one after the other, and looks at the answers in the same order.
async fn publish_all(
    client: &Client,
    mut messages: impl Stream<Item = Result<Publish, Failure>> + Unpin,
    interval: Duration,
) -> Result<(), Failure> {
    let mut waiting = VecDeque::new();
    let mut first = true;
    while let Some(message) = messages.next().await {
        if !std::mem::take(&mut first) && !interval.is_zero() {
            Timer::after(interval).await;
        }
        waiting.push_back(accept(client, message?).await?);
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

async fn accept(client: &Client, mut publish: Publish) -> Result<Publishing, Failure> {
    loop {
        match client.send(publish) {
            Ok(publishing) => return Ok(publishing),
            Err(PublishError::Full(back)) => publish = *back,
            Err(error) => return Err(error.into()),
        }
        client.ready().await?;
    }
}
