//! `mqtt sub`.

use std::time::{Duration, Instant, SystemTime};

use mqtt_async::{
    FilterSubscription, Inbound, Message, Messages, QoS, RetainHandling, Subscribe, Subscription,
    SubscriptionOptions, TopicFilter, Version,
};
use smol::{Timer, future};

use crate::args::{Connection, qos, seconds_or_duration};
use crate::failure::{Failure, Kind};
use crate::format::TEMPLATE_HELP;
use crate::look::LookArgs;
use crate::output;
use crate::signal::Interrupts;

/// Subscribes, and prints the messages.
///
/// Ctrl-C ends it. If the connection is lost, it is made again. With --session, what was subscribed to before is printed
/// as well.
#[derive(Debug, clap::Args)]
#[command(after_help = format!("In a FORMAT stand: {TEMPLATE_HELP}."))]
pub(crate) struct Args {
    /// What to subscribe to; may be given several times. + stands for one level, # for all that follow.
    #[arg(short, long = "topic", required = true, value_name = "FILTER")]
    topics: Vec<String>,

    /// The highest QoS that the messages may come with.
    #[arg(short, long, value_parser = qos, default_value = "0")]
    qos: QoS,

    /// Ends after so many messages.
    #[arg(short = 'C', long, value_name = "COUNT")]
    count: Option<u64>,

    /// Ends after so long, counted from the subscription; that is exit code 6.
    #[arg(short = 'W', long, value_name = "DURATION", value_parser = seconds_or_duration)]
    timeout: Option<Duration>,

    /// Prints only what is retained, and ends when nothing has come for a second, or after --timeout.
    #[arg(long, conflicts_with = "no_retained")]
    retained_only: bool,

    /// Leaves out what is retained.
    #[arg(short = 'R', long)]
    no_retained: bool,

    /// Leaves out what this Client Identifier has published (MQTT 5.0).
    #[arg(long)]
    no_local: bool,

    #[command(flatten)]
    look: LookArgs,

    #[command(flatten)]
    connection: Connection,
}

/// How many bytes are printed at once at most.
const AT_ONCE: usize = 64 * 1024;

/// What is retained comes at once, so a short silence is its end.
const SILENCE: Duration = Duration::from_secs(1);

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let config = args.connection.config()?;
    let subscribe = args.subscribe(config.session.version)?;
    let mut interrupts = Interrupts::new()?;
    let prepared = args.connection.prepare(config)?;
    // Before there is a connection, so that what waits in a session finds it. It is dropped behind the
    // goodbye: before, it would unsubscribe, and --session keeps what it has.
    let mut messages = Incoming {
        subscription: prepared.client.listen_with(subscribe, Inbound::default())?,
        others: prepared.client.messages(),
    };
    prepared.tell(args.connection.quiet);
    let Some(session) = interrupts.unless(prepared.connect()).await else { return Ok(()) };
    let session = session?;
    let result = match interrupts.unless(args.print(&mut messages)).await {
        Some(result) => result,
        // That is how it is meant to end, unless it was to wait for something.
        None if args.count.is_some() => Err(Failure::interrupted()),
        None => Ok(()),
    };
    let lagged = session.client.stats().lagged;
    if lagged > 0 && !args.connection.quiet {
        anstream::eprintln!(
            "mqtt: {lagged} messages of QoS 0 came faster than they could be printed"
        );
    }
    result.and(session.close(&mut interrupts).await)
}

/// What comes in.
struct Incoming {
    subscription: Subscription,
    /// What a session has subscribed to before. Nobody else takes it, and then nothing would follow on it.
    others: Messages,
}

impl Incoming {
    fn try_next(&mut self) -> Option<Message> {
        self.subscription.try_next().or_else(|| self.others.try_next())
    }

    /// Waits for the next message; `None` is the end of the subscription.
    async fn next(&mut self) -> Option<Message> {
        let others = async {
            match self.others.next().await {
                Some(message) => Some(message),
                None => future::pending().await,
            }
        };
        future::or(self.subscription.next(), others).await
    }
}

impl Args {
    fn subscribe(&self, version: Version) -> Result<Subscribe, Failure> {
        let mut options = SubscriptionOptions::from(self.qos);
        options.no_local = self.no_local;
        // MQTT 3.1.1 cannot ask the server to leave them out: then this program does.
        if self.no_retained && version.is_v5() {
            options.retain_handling = RetainHandling::DoNotSend;
        }
        let mut filters = Vec::new();
        for topic in &self.topics {
            let filter = TopicFilter::new(topic)
                .map_err(|error| Failure::usage(format_args!("--topic {topic}: {error}")))?;
            if !filters.contains(&filter) {
                filters.push(filter);
            }
        }
        let mut filters = filters.into_iter();
        let Some(first) = filters.next() else {
            return Err(Failure::usage("there is nothing to subscribe to"));
        };
        let mut subscribe = Subscribe::new(first, options);
        for filter in filters {
            subscribe.subscriptions.push(FilterSubscription { filter, options });
        }
        Ok(subscribe)
    }

    async fn print(&self, messages: &mut Incoming) -> Result<(), Failure> {
        let look = self.look.look();
        messages.subscription.subscribed().await?;
        // A time that is too far away does not come.
        let deadline = self.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut left = self.count.unwrap_or(u64::MAX);
        let mut out = Vec::new();
        while left > 0 {
            let Some(message) = self.next(messages, deadline, &mut out).await? else { break };
            if (self.no_retained && message.retain()) || (self.retained_only && !message.retain()) {
                continue;
            }
            look.write(&message, SystemTime::now(), &mut out);
            left -= 1;
        }
        output::print(&out)?;
        match messages.subscription.error() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// Returns the next message; what was printed before is flushed if there is none yet.
    async fn next(
        &self,
        messages: &mut Incoming,
        deadline: Option<Instant>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Message>, Failure> {
        // Looked at before each message: there may be one at any time.
        let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if !is_over
            && out.len() < AT_ONCE
            && let Some(message) = messages.try_next()
        {
            return Ok(Some(message));
        }
        output::print(out)?;
        out.clear();
        if is_over {
            return self.late();
        }
        let silence = self.retained_only.then(|| Instant::now() + SILENCE);
        let late = async {
            match deadline.into_iter().chain(silence).min() {
                Some(at) => Timer::at(at).await,
                None => future::pending().await,
            };
            self.late()
        };
        future::or(async { Ok(messages.next().await) }, late).await
    }

    /// What it means that the time is up.
    fn late(&self) -> Result<Option<Message>, Failure> {
        match self.timeout {
            Some(timeout) if !self.retained_only => {
                let what = format_args!("{} are over", humantime::format_duration(timeout));
                Err(Failure::new(Kind::Timeout, what))
            }
            _ => Ok(None),
        }
    }
}
