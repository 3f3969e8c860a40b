//! `mqtt respond`.

use std::ffi::OsString;
use std::io;
use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;

use mqtt_async::{Messages, Request, Response};
use smol::future;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::process::Command;

use crate::args::Connection;
use crate::failure::Failure;
use crate::signal::Interrupts;

/// Answers requests, until Ctrl-C.
///
/// It understands those of MQTT 5.0, with Response Topic and Correlation Data, and those that `mqtt request` makes
/// with 3.1.1.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What the requests come to; `$share/GROUP/FILTER` shares them among several responders.
    #[arg(short, long, value_name = "FILTER")]
    topic: String,

    /// How many requests are answered at a time.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    concurrency: usize,

    #[command(flatten)]
    answer: Answer,

    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Answer {
    /// Answers with this text.
    #[arg(short, long, value_name = "TEXT", allow_hyphen_values = true)]
    message: Option<String>,

    /// Answers with what was asked.
    #[arg(long)]
    echo: bool,

    /// Answers with what a program prints. It has the request on standard input, and its topic in MQTT_TOPIC. If
    /// it fails, there is no answer.
    #[arg(last = true, value_name = "PROGRAM")]
    program: Vec<OsString>,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let mut interrupts = Interrupts::new()?;
    let prepared = args.connection.prepare(args.connection.config()?)?;
    let answer = Arc::new(args.answer);
    let quiet = args.connection.quiet;
    let handler = move |request: Request| {
        let answer = Arc::clone(&answer);
        async move {
            answer.to(&request).await.unwrap_or_else(|error| {
                if !quiet {
                    anstream::eprintln!("mqtt: no answer to {:?}: {error}", request.topic());
                }
                Response::none()
            })
        }
    };
    let responder = prepared.client.respond(&*args.topic, handler)?.concurrency(args.concurrency);
    let mut responder = pin!(responder);
    let others = ignore(prepared.client.messages(), quiet);
    prepared.tell(quiet);
    let Some(session) = interrupts.unless(prepared.connect()).await else { return Ok(()) };
    let session = session?;
    let answering = future::or(&mut responder, others);
    let result = interrupts.unless(answering).await.unwrap_or(Ok(()));
    // Before the responder is dropped: what it has not answered stays unacknowledged, for another one.
    let closed = session.close(&mut interrupts).await;
    result.map_err(Failure::from).and(closed)
}

/// Takes what a session has subscribed to before: where nobody takes it, nothing follows on it. It has no end of its own.
async fn ignore<T>(mut messages: Messages, quiet: bool) -> T {
    while let Some(message) = messages.next().await {
        if !quiet {
            anstream::eprintln!("mqtt: no answer to {:?}: it is not of --topic", message.topic());
        }
    }
    future::pending().await
}

impl Answer {
    async fn to(&self, request: &Request) -> io::Result<Response> {
        if let Some(message) = &self.message {
            return Ok(Response::new(message.clone()));
        }
        let [program, args @ ..] = &*self.program else {
            return Ok(Response::new(request.payload()));
        };
        let mut child = Command::new(program)
            .args(args)
            .env("MQTT_TOPIC", request.topic())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let write = async {
            if let Some(mut input) = input {
                // A program may answer before it has read everything, or anything.
                let _ = input.write_all(request.payload_bytes()).await;
            }
        };
        let read = async {
            let mut printed = Vec::new();
            match output {
                Some(mut output) => output.read_to_end(&mut printed).await.map(|_| printed),
                None => Ok(printed),
            }
        };
        let ((), printed) = future::zip(write, read).await;
        let status = child.status().await?;
        if !status.success() {
            return Err(io::Error::other(format!("the program has failed: {status}")));
        }
        Ok(Response::new(printed?))
    }
}
