//! What our client costs by itself: nanoseconds, and calls of the transport, for each message.
//!
//! Arguments: the cases to run, by a part of their names. The transport is either memory, where the sink
//! runs inside `poll_write` and nothing waits (for profiles), or TCP to a sink in a thread of its own.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use cpu_time::ThreadTime;
use futures_io::{AsyncRead, AsyncWrite};
use mqtt_async::{Client, Config, Connector, PublishError, QoS, TopicName, Version};
use mqtt_benches::memory::Memory;
use mqtt_benches::sink;

/// How many messages wait for their answer at most.
const WINDOW: usize = 100;

/// Calls of the transport that would be system calls.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// Counts the calls of a transport.
struct Counted<Io>(Io);

impl<Io: AsyncRead + Unpin> AsyncRead for Counted<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        CALLS.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Counted<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        CALLS.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        CALLS.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

/// What publishes or receives: it takes the client, and how many messages.
type Load = fn(Client, usize) -> Pin<Box<dyn Future<Output = ()>>>;

struct Case {
    name: &'static str,
    load: Load,
    messages: usize,
}

const CASES: &[Case] = &[
    Case { name: "qos0", load: |client, n| Box::pin(qos0(client, n)), messages: 2_000_000 },
    Case {
        name: "qos1",
        load: |client, n| Box::pin(detached(client, n, QoS::AtLeastOnce)),
        messages: 500_000,
    },
    Case {
        name: "qos1-awaited",
        load: |client, n| Box::pin(awaited(client, n, QoS::AtLeastOnce)),
        messages: 500_000,
    },
    Case {
        name: "qos2",
        load: |client, n| Box::pin(detached(client, n, QoS::ExactlyOnce)),
        messages: 300_000,
    },
    Case {
        name: "receive-qos0",
        load: |client, n| Box::pin(receive(client, n, QoS::AtMostOnce)),
        messages: 1_000_000,
    },
    Case {
        name: "receive-qos1",
        load: |client, n| Box::pin(receive(client, n, QoS::AtLeastOnce)),
        messages: 500_000,
    },
];

fn message() -> (TopicName, Bytes) {
    (TopicName::new("sensors/plant7/node-0001").expect("a topic"), Bytes::from(vec![b'x'; 64]))
}

async fn qos0(client: Client, messages: usize) {
    let (topic, payload) = message();
    for index in 0..messages {
        drop(client.publish(&topic, payload.clone(), QoS::AtMostOnce).expect("room"));
        if index % 256 == 255 {
            futures_lite::future::yield_now().await;
        }
    }
    // The last word: when it is answered, everything has been taken in.
    let marker = client.publish(&topic, payload, QoS::AtLeastOnce).expect("room");
    marker.await.expect("an answer");
}

/// Fire and forget; the bounds hold it back.
async fn detached(client: Client, messages: usize, qos: QoS) {
    let (topic, payload) = message();
    for _ in 0..messages {
        while let Err(error) = client.publish(&topic, payload.clone(), qos) {
            assert!(matches!(error, PublishError::Full(_)), "{error}");
            client.ready().await.expect("room");
        }
    }
    while client.stats().in_flight + client.stats().queued > 0 {
        futures_lite::future::yield_now().await;
    }
}

/// Each token is awaited, in the order of the messages.
async fn awaited(client: Client, messages: usize, qos: QoS) {
    let (topic, payload) = message();
    let mut tokens = std::collections::VecDeque::new();
    for _ in 0..messages {
        if tokens.len() == WINDOW
            && let Some(oldest) = tokens.pop_front()
        {
            let oldest: mqtt_async::Publishing = oldest;
            oldest.await.expect("an answer");
        }
        tokens.push_back(client.publish(&topic, payload.clone(), qos).expect("room"));
    }
    for token in tokens {
        token.await.expect("an answer");
    }
}

/// Takes what the sink sends, in batches as large as are read at once.
async fn receive(client: Client, messages: usize, qos: QoS) {
    let mut stream = client.messages();
    client.subscribe(sink::serve(qos as u8, messages, 64), qos).expect("room");
    for _ in 0..messages {
        stream.next().await.expect("a message");
    }
}

/// Runs one case; returns seconds, and how often the transport was called.
fn run<C>(case: &Case, messages: usize, connector: C) -> (f64, u64)
where
    C: Connector + 'static,
{
    let mut config = Config::new(Version::V311);
    if !case.name.ends_with("qos0") {
        config.session.bounds.messages = WINDOW;
    }
    let (client, driver) = Client::new(config, connector);
    let executor = async_executor::LocalExecutor::new();
    let driver = executor.spawn(driver);
    let load = case.load;
    // In a task, as the driver is: this executor runs 200 of its tasks before it looks at the future that it
    // was called with.
    let work = executor.spawn(async move {
        client.connected().await.expect("a connection");
        let (start, calls) = (ThreadTime::now(), CALLS.load(Ordering::Relaxed));
        load(client.clone(), messages).await;
        let measured = (start.elapsed().as_secs_f64(), CALLS.load(Ordering::Relaxed) - calls);
        client.disconnect().await.expect("an orderly end");
        measured
    });
    let measured = async_io::block_on(executor.run(work));
    drop(driver);
    measured
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let share = std::env::var("SHARE").ok().and_then(|share| share.parse().ok()).unwrap_or(1);
    let port = sink::listen().expect("a port");
    for case in CASES {
        for transport in ["memory", "tcp"] {
            let name = format!("{}/{transport}", case.name);
            if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part.as_str())) {
                continue;
            }
            let messages = case.messages / share;
            let (seconds, calls) = match transport {
                "memory" => run(case, messages, || {
                    std::future::ready(io::Result::Ok(Counted(Memory::default())))
                }),
                _ => run(case, messages, move || async move {
                    let stream =
                        async_io::Async::<TcpStream>::connect(([127, 0, 0, 1], port)).await?;
                    stream.get_ref().set_nodelay(true)?;
                    Ok(Counted(stream))
                }),
            };
            let nanos = seconds * 1e9 / messages as f64;
            let calls = calls as f64 / messages as f64;
            println!("{name}\t{nanos:.1} ns\t{calls:.4} calls");
        }
    }
}
