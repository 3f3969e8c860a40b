//! What publishing costs end to end: nanoseconds, and calls of the transport, for each message.
//!
//! Arguments: the cases to run, by a part of their names. The transport is either memory, where the sink
//! runs inside `poll_write` and nothing waits (for callgrind), or TCP to a sink in a thread of its own.

use std::cell::Cell;
use std::future::Future;
use std::io::{self, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};
use mqtt_async::{Client, Config, Connector, PublishError, QoS, TopicName, Version};

/// How many messages wait for their answer at most.
const WINDOW: usize = 100;

/// Calls of the transport that would be system calls.
static CALLS: AtomicU64 = AtomicU64::new(0);

/// Frames what comes, and acknowledges it.
#[derive(Default)]
struct Sink {
    partial: Vec<u8>,
}

impl Sink {
    fn take(&mut self, bytes: &[u8], answers: &mut Vec<u8>) {
        if self.partial.is_empty() {
            let taken = frames(bytes, answers);
            self.partial.extend_from_slice(&bytes[taken..]);
        } else {
            self.partial.extend_from_slice(bytes);
            let taken = frames(&self.partial, answers);
            self.partial.drain(..taken);
        }
    }
}

/// Answers all whole packets; returns how many bytes these take.
fn frames(bytes: &[u8], answers: &mut Vec<u8>) -> usize {
    let mut at = 0;
    while let [first, rest @ ..] = &bytes[at..] {
        let (mut length, mut digits) = (0, 0);
        let whole = loop {
            let Some(digit) = rest.get(digits) else { return at };
            length |= usize::from(digit & 0x7F) << (7 * digits);
            digits += 1;
            if digit & 0x80 == 0 {
                break digits + length;
            }
        };
        let Some(body) = rest.get(digits..whole) else { return at };
        match first {
            0x10..=0x1F => answers.extend([0x20, 2, 0, 0]),
            0x32..=0x35 => {
                let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
                let answer = if first & 0b0100 == 0 { 0x40 } else { 0x50 };
                answers.extend([answer, 2, body[2 + topic], body[3 + topic]]);
            }
            0x60..=0x6F => answers.extend([0x70, 2, body[0], body[1]]),
            0xC0..=0xCF => answers.extend([0xD0, 0]),
            _ => {}
        }
        at += 1 + whole;
    }
    at
}

/// A transport that is the sink itself.
#[derive(Default)]
struct Memory {
    sink: Sink,
    answers: Vec<u8>,
    reader: Option<Waker>,
}

impl AsyncRead for Memory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.answers.is_empty() {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = self.answers.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.answers[..count]);
        self.answers.drain(..count);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Memory {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.sink.take(bytes, &mut this.answers);
        if !this.answers.is_empty() {
            this.reader.take().into_iter().for_each(Waker::wake);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

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

/// Listens on a port of its own, and acknowledges what comes.
fn listen() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

fn serve(mut stream: TcpStream) {
    stream.set_nodelay(true).expect("an option of the socket");
    let (mut block, mut answers, mut sink) = (vec![0; 256 * 1024], Vec::new(), Sink::default());
    while let Ok(count @ 1..) = stream.read(&mut block) {
        sink.take(&block[..count], &mut answers);
        if stream.write_all(&answers).is_err() {
            return;
        }
        answers.clear();
    }
}

/// What publishes: it takes the client, and how many messages.
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

/// Runs one case; returns seconds, and how often the transport was called.
fn run<C>(case: &Case, messages: usize, connector: C) -> (f64, u64)
where
    C: Connector + 'static,
{
    let mut config = Config::new(Version::V311);
    if case.name != "qos0" {
        config.session.bounds.messages = WINDOW;
    }
    let (client, driver) = Client::new(config, connector);
    let executor = async_executor::LocalExecutor::new();
    let result = Cell::new((0.0, 0));
    let driver = executor.spawn(driver);
    async_io::block_on(executor.run(async {
        client.connected().await.expect("a connection");
        let (start, calls) = (Instant::now(), CALLS.load(Ordering::Relaxed));
        (case.load)(client.clone(), messages).await;
        let calls = CALLS.load(Ordering::Relaxed) - calls;
        result.set((start.elapsed().as_secs_f64(), calls));
        client.disconnect().await.expect("an orderly end");
    }));
    drop(driver);
    result.get()
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let share = std::env::var("SHARE").ok().and_then(|share| share.parse().ok()).unwrap_or(1);
    let port = listen();
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
            println!("publish\t{name}\t{nanos:.1} ns\t{calls:.4} calls");
        }
    }
}
