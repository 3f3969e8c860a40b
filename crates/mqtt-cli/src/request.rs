//! `mqtt request`.

use std::time::{Duration, SystemTime};

use mqtt_async::{Publish, QoS, RequestError, TopicName};

use crate::args::{Connection, Payload, Properties, qos, seconds_or_duration};
use crate::failure::{Failure, Kind};
use crate::format::TEMPLATE_HELP;
use crate::look::LookArgs;
use crate::output;
use crate::signal::Interrupts;

/// Publishes a request, and prints the response.
///
/// In MQTT 5.0 by Response Topic and Correlation Data; in 3.1.1 by a convention that `mqtt respond` knows: the
/// response topic stands in the topic, behind `/$response/`.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("In a FORMAT stand: {TEMPLATE_HELP}."))]
pub(crate) struct Args {
    /// The topic of the request.
    #[arg(short, long)]
    topic: String,

    #[command(flatten)]
    payload: Payload,

    /// The QoS of the request.
    #[arg(short, long, value_parser = qos, default_value = "1")]
    qos: QoS,

    /// How long to wait for the response; without one it is exit code 6.
    #[arg(short = 'W', long, value_name = "DURATION", default_value = "10", value_parser = seconds_or_duration)]
    timeout: Duration,

    #[command(flatten)]
    properties: Properties,

    #[command(flatten)]
    look: LookArgs,

    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let mut publish =
        Publish::new(TopicName::new(&args.topic)?, args.payload.read()?).qos(args.qos);
    args.properties.put(&mut publish)?;
    let mut interrupts = Interrupts::new()?;
    let connecting = args.connection.prepare(args.connection.config()?)?.connect();
    let session = interrupts.unless(connecting).await.ok_or_else(Failure::interrupted)??;
    let requesting = session.client.request_with(publish, args.timeout);
    let result = match interrupts.unless(requesting).await {
        Some(Ok(message)) => {
            let mut out = Vec::new();
            args.look.look().write(&message, SystemTime::now(), &mut out);
            output::print(&out)
        }
        Some(Err(error)) => Err(failure(error)),
        None => Err(Failure::interrupted()),
    };
    result.and(session.close(&mut interrupts).await)
}

fn failure(error: RequestError) -> Failure {
    match error {
        RequestError::TimedOut => Failure::new(Kind::Timeout, error),
        RequestError::NotAccepted(error) => error.into(),
        RequestError::Unexpected(_) => Failure::usage(error),
        error => Failure::new(Kind::Rejected, error),
    }
}
