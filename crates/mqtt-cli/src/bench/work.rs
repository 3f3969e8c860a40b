//! What the clients do.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mqtt_async::{Message, Publish, Publishing, QoS, Subscription, Text, TopicName};
use smol::{Executor, Timer};

use super::tally::Tally;
use super::{Mode, Options};
use crate::connection::Session;
use crate::failure::Failure;

/// How long a silence is the end.
const SILENCE: Duration = Duration::from_secs(2);

/// Runs all clients until each has done its part.
pub(super) async fn all(
    mode: &Mode,
    tally: &Arc<Tally>,
    executor: &Executor<'_>,
) -> Result<(), Failure> {
    let options = mode.options();
    if let Mode::Connections(_) = mode {
        return connections(options, tally).await;
    }
    let mut sessions = Vec::new();
    for _ in 0..options.clients {
        sessions.push(connect(options).await?);
    }
    match mode {
        Mode::Publish(_) => publish(options, tally, executor, sessions).await,
        Mode::Roundtrip(_) => roundtrip(options, tally, executor, sessions).await,
        _ => subscribe(options, tally, executor, sessions).await,
    }
}

async fn connect(options: &Options) -> Result<Session, Failure> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let mut config = options.connection.config()?;
    // Two clients cannot have the same one.
    if let Some(id) = &options.connection.client_id {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let id = Text::new(format!("{id}-{number}")).map_err(Failure::usage)?;
        config.session.connect.client_id = id;
    }
    options.connection.prepare(config)?.connect().await
}

/// Says goodbye. What was measured stands, so nothing can go wrong any more.
async fn leave(session: Session) {
    let _ = session.client.disconnect().await;
}

async fn connections(options: &Options, tally: &Tally) -> Result<(), Failure> {
    let mut sessions = Vec::new();
    tally.start();
    for _ in 0..options.clients {
        let began = Instant::now();
        sessions.push(connect(options).await?);
        tally.record(began);
    }
    for session in sessions {
        leave(session).await;
    }
    Ok(())
}

/// Waits for all of them; the first failure is the one that is told.
async fn join(
    executor: &Executor<'_>,
    parts: Vec<impl Future<Output = Result<(), Failure>> + Send + 'static>,
) -> Result<(), Failure> {
    let tasks: Vec<_> = parts.into_iter().map(|part| executor.spawn(part)).collect();
    for task in tasks {
        task.await?;
    }
    Ok(())
}

fn topic(options: &Options, number: usize) -> Result<TopicName, Failure> {
    Ok(TopicName::new(format!("{}/{number}", options.topic))?)
}

async fn publish(
    options: &Options,
    tally: &Arc<Tally>,
    executor: &Executor<'_>,
    sessions: Vec<Session>,
) -> Result<(), Failure> {
    let payload = Bytes::from(vec![b'x'; options.size]);
    let mut parts = Vec::new();
    for (number, session) in sessions.into_iter().enumerate() {
        let (tally, options) = (Arc::clone(tally), options.clone());
        let publish = Publish::new(topic(&options, number)?, payload.clone()).qos(options.qos);
        parts.push(async move {
            let mut waiting = VecDeque::new();
            for _ in 0..options.messages {
                if waiting.len() >= options.window.max(1) {
                    answered(&mut waiting, &tally).await?;
                }
                waiting.push_back((Instant::now(), session.accept(publish.clone()).await?));
            }
            while !waiting.is_empty() {
                answered(&mut waiting, &tally).await?;
            }
            leave(session).await;
            Ok(())
        });
    }
    tally.start();
    join(executor, parts).await
}

async fn answered(
    waiting: &mut VecDeque<(Instant, Publishing)>,
    tally: &Tally,
) -> Result<(), Failure> {
    if let Some((began, publishing)) = waiting.pop_front() {
        publishing.await?;
        tally.record(began);
    }
    Ok(())
}

/// Subscribes to what a client of that number is to get.
async fn listen(session: &Session, topic: &str, qos: QoS) -> Result<Subscription, Failure> {
    let stream = session.client.listen(topic, qos)?;
    stream.subscribed().await?;
    Ok(stream)
}

async fn next(stream: &mut Subscription) -> Result<Message, Failure> {
    stream.next().await.ok_or_else(|| Failure::other("the subscription has ended"))
}

/// A payload that begins with when it was made, in nanoseconds since then.
fn stamped(since: Instant, size: usize) -> Bytes {
    let nanos = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let mut payload = nanos.to_be_bytes().to_vec();
    payload.resize(size.max(8), b'x');
    payload.into()
}

fn stamp(since: Instant, payload: &[u8]) -> Option<Instant> {
    let nanos = u64::from_be_bytes(*payload.first_chunk()?);
    since.checked_add(Duration::from_nanos(nanos))
}

async fn roundtrip(
    options: &Options,
    tally: &Arc<Tally>,
    executor: &Executor<'_>,
    sessions: Vec<Session>,
) -> Result<(), Failure> {
    let payload = Bytes::from(vec![b'x'; options.size]);
    let mut parts = Vec::new();
    for (number, session) in sessions.into_iter().enumerate() {
        let (tally, options) = (Arc::clone(tally), options.clone());
        let topic = topic(&options, number)?;
        let mut stream = listen(&session, topic.as_str(), options.qos).await?;
        let publish = Publish::new(topic, payload.clone()).qos(options.qos);
        parts.push(async move {
            for _ in 0..options.messages {
                let began = Instant::now();
                drop(session.accept(publish.clone()).await?);
                next(&mut stream).await?;
                tally.record(began);
            }
            leave(session).await;
            Ok(())
        });
    }
    tally.start();
    join(executor, parts).await
}

async fn subscribe(
    options: &Options,
    tally: &Arc<Tally>,
    executor: &Executor<'_>,
    sessions: Vec<Session>,
) -> Result<(), Failure> {
    let topic = topic(options, 0)?;
    let since = Instant::now();
    let publisher = connect(options).await?;
    let mut parts = Vec::new();
    for session in sessions {
        let (tally, messages) = (Arc::clone(tally), options.messages);
        let mut stream = listen(&session, topic.as_str(), options.qos).await?;
        parts.push(async move {
            for _ in 0..messages {
                let message = next(&mut stream).await?;
                if let Some(began) = stamp(since, message.payload_bytes()) {
                    tally.record(began);
                }
            }
            leave(session).await;
            Ok(())
        });
    }
    tally.start();
    let options = options.clone();
    let publishing = executor.spawn(async move {
        let mut waiting = VecDeque::new();
        for _ in 0..options.messages {
            if waiting.len() >= options.window.max(1)
                && let Some(oldest) = waiting.pop_front()
            {
                oldest.await?;
            }
            let publish = Publish::new(topic.clone(), stamped(since, options.size));
            waiting.push_back(publisher.accept(publish.qos(options.qos)).await?);
        }
        for publishing in waiting {
            publishing.await?;
        }
        leave(publisher).await;
        Ok::<(), Failure>(())
    });
    // At QoS 0 some may be lost, and nobody would ever say so.
    let published = async {
        publishing.await?;
        silence(tally).await;
        Ok(())
    };
    smol::future::or(join(executor, parts), published).await
}

/// Waits until nothing has come for a while.
async fn silence(tally: &Tally) {
    let mut before = None;
    while before != Some(tally.done()) {
        before = Some(tally.done());
        Timer::after(SILENCE).await;
    }
}
