//! What publishing and receiving allocate in steady state: a binary of its own, because the counting allocator is for all of
//! it.

mod common;

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use allocation_counter::measure;
use bytes::Bytes;
use common::bench::{Manual, VERSIONS, config};
use futures_io::{AsyncRead, AsyncWrite};
use mqtt_async::{Client, Config, Driver, QoS, TopicName, Version};

/// How many messages one turn of the driver finds.
const BATCH: usize = 200;

/// A server that is the transport: it allocates nothing once it has its memory.
struct Memory {
    version: Version,
    /// What was written and is no whole packet yet.
    partial: Vec<u8>,
    answers: Vec<u8>,
    reader: Option<Waker>,
}

impl Memory {
    fn new(version: Version) -> Memory {
        let [partial, answers] = [(); 2].map(|()| Vec::with_capacity(256 * 1024));
        Memory { version, partial, answers, reader: None }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        let mut at = 0;
        // No packet of these tests is longer than 127 bytes.
        while let [first, length, ..] = self.partial[at..]
            && self.partial.len() >= at + 2 + usize::from(length)
        {
            let body = &self.partial[at + 2..at + 2 + usize::from(length)];
            match first >> 4 {
                1 if self.version == Version::V5 => self.answers.extend([0x20, 3, 0, 0, 0]),
                1 => self.answers.extend([0x20, 2, 0, 0]),
                3 if first & 0b0110 == 0b0010 => {
                    let id = 2 + usize::from(body[1]);
                    self.answers.extend([0x40, 2, body[id], body[id + 1]]);
                }
                _ => {}
            }
            if first >> 4 == 3 && body[2..].starts_with(b"echo") {
                self.answers.extend(&self.partial[at..at + 2 + usize::from(length)]);
            }
            at += 2 + usize::from(length);
        }
        self.partial.drain(..at);
        if !self.answers.is_empty() {
            self.reader.take().into_iter().for_each(Waker::wake);
        }
    }
}

impl AsyncRead for Memory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let count = self.answers.len().min(buffer.len());
        if count == 0 {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
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
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        slices.iter().for_each(|slice| self.take(slice));
        Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs a driver by hand.
fn turn(driver: &mut (impl Future + Unpin)) {
    assert!(Pin::new(driver).poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

type Connecting = std::future::Ready<io::Result<Memory>>;

fn connected(
    config: Config,
) -> (Client, Driver<impl mqtt_async::Connector<Io = Memory, Connecting = Connecting>, Manual>) {
    let version = config.session.version;
    let connector = move || std::future::ready(io::Result::Ok(Memory::new(version)));
    let (client, mut driver) = Client::with_timer(config, connector, Manual::new());
    turn(&mut driver);
    assert!(client.status().connected.is_some());
    (client, driver)
}

/// Returns what a batch allocates once everything has grown.
fn steady(mut batch: impl FnMut()) -> u64 {
    for _ in 0..20 {
        batch();
    }
    measure(|| {
        for _ in 0..20 {
            batch();
        }
    })
    .count_total
}

fn message() -> (TopicName, Bytes) {
    (TopicName::new("plant/7/temperature").unwrap(), Bytes::from(vec![b'x'; 64]))
}

#[test]
fn qos_0_allocates_nothing() {
    for version in VERSIONS {
        let (client, mut driver) = connected(config(version));
        let (topic, payload) = message();
        let allocated = steady(|| {
            for _ in 0..BATCH {
                drop(client.publish(&topic, payload.clone(), QoS::AtMostOnce).unwrap());
            }
            turn(&mut driver);
        });
        assert_eq!(allocated, 0, "{version}");
        assert_eq!(client.stats().acked, 40 * BATCH as u64);
    }
}

#[test]
fn tokens_of_qos_0_that_are_awaited_late_allocate_nothing() {
    let (client, mut driver) = connected(config(Version::V5));
    let (topic, payload) = message();
    let mut tokens = Vec::with_capacity(BATCH);
    let allocated = steady(|| {
        for _ in 0..BATCH {
            tokens.push(client.publish(&topic, payload.clone(), QoS::AtMostOnce).unwrap());
        }
        turn(&mut driver);
        for mut token in tokens.drain(..) {
            let poll = Pin::new(&mut token).poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(poll, Poll::Ready(Ok(_))));
        }
    });
    assert_eq!(allocated, 0);
}

#[test]
fn qos_0_that_waits_in_line_allocates_nothing() {
    // Everything goes through the line here.
    let mut config = config(Version::V5);
    config.outbound.overflow = mqtt_async::OutboundOverflow::DropOldest;
    let (client, mut driver) = connected(config);
    let (topic, payload) = message();
    let allocated = steady(|| {
        // What does not fit into the output buffer waits.
        for _ in 0..5 * BATCH {
            drop(client.publish(&topic, payload.clone(), QoS::AtMostOnce).unwrap());
        }
        turn(&mut driver);
    });
    assert_eq!(allocated, 0);
}

#[test]
fn a_dropped_token_of_qos_1_allocates_nothing() {
    // Also where the payload is memory of the user's own kind.
    let payloads = [message().1, Bytes::from_owner([b'x'; 64]), Bytes::from_static(&[b'x'; 64])];
    for (version, payload) in
        VERSIONS.into_iter().flat_map(|version| payloads.iter().map(move |it| (version, it)))
    {
        let (client, mut driver) = connected(config(version));
        let (topic, _) = message();
        let allocated = steady(|| {
            for _ in 0..BATCH {
                drop(client.publish(&topic, payload.clone(), QoS::AtLeastOnce).unwrap());
            }
            turn(&mut driver);
            assert_eq!(client.stats().in_flight, 0);
        });
        // What is read is a block, which packets may share: a few for each batch, whatever its size.
        assert!(allocated <= 20 * 4, "{version}: {allocated} for {} messages", 20 * BATCH);
    }
}

/// Returns what it allocates to receive so many messages in one turn, and how many came.
fn receiving(config: Config, qos: QoS, count: usize) -> (u64, u64) {
    let (client, mut driver) = connected(config);
    let mut messages = client.messages();
    let (topic, payload) = (TopicName::new("echo").unwrap(), Bytes::from(vec![b'x'; 64]));
    let mut came = 0;
    let allocated = steady(|| {
        for _ in 0..count {
            drop(client.publish(&topic, payload.clone(), qos).unwrap());
        }
        for _ in 0..2 {
            turn(&mut driver);
            while let Some(message) = messages.try_next() {
                assert_eq!((message.topic(), message.payload_bytes().len()), ("echo", 64));
                came += 1;
            }
        }
    });
    (allocated, came)
}

/// How often a turn may allocate for the blocks that it reads into, whatever comes in them.
const BLOCKS: u64 = 12;

#[test]
fn a_message_that_is_received_allocates_once_at_most() {
    for version in VERSIONS {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            // It is small, and gets memory of its own.
            let (allocated, came) = receiving(config(version), qos, BATCH);
            assert_eq!(came, 40 * BATCH as u64, "{version}, {qos:?}");
            let messages = came / 2;
            assert!(
                allocated <= messages + 20 * BLOCKS,
                "{version}, {qos:?}: {allocated} for {messages} messages"
            );
        }
    }
}

#[test]
fn a_message_that_is_not_copied_allocates_nothing_of_its_own() {
    for version in VERSIONS {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce] {
            let mut config = config(version);
            config.copy_up_to = 0;
            let (allocated, came) = receiving(config, qos, BATCH);
            assert_eq!(came, 40 * BATCH as u64, "{version}, {qos:?}");
            let messages = came / 2;
            assert!(
                allocated <= 20 * BLOCKS,
                "{version}, {qos:?}: {allocated} for {messages} messages"
            );
        }
    }
}

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(std::hint::black_box(vec![0_u8; 1000]))).count_total, 1);
}
