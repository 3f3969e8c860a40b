//! Nobody is starved: not who reads by who writes, not who writes by who reads, and not the other tasks of the
//! executor by the driver. All of it is counted in calls of the transport: there is no time here.

mod common;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use common::bench::{Flag, Manual, config};
use common::runtime::guarded;
use futures_io::{AsyncRead, AsyncWrite};
use mqtt_async::{Client, Config, Error, Messages, QoS, Version};

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];

/// How often one poll of the driver calls the transport at most: 16 rounds of 16 writes, a flush and a read.
const MOST: usize = 16 * 18;

/// A transport that is always ready.
#[derive(Default)]
struct Inner {
    /// What the server says, over and over again, when it has accepted the connection.
    flood: Vec<u8>,
    at: usize,
    connack: Vec<u8>,
    written: Vec<u8>,
    /// How much it takes at once, if not all.
    most: Option<usize>,
    /// Who publishes a message in each write.
    publisher: Option<Client>,
    reads: usize,
    writes: usize,
    flushes: usize,
    waker: Option<Waker>,
}

#[derive(Clone, Default)]
struct Ready(Arc<Mutex<Inner>>);

impl AsyncRead for Ready {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.0.lock().unwrap();
        inner.reads += 1;
        if !inner.connack.is_empty() && !inner.written.is_empty() {
            let connack = std::mem::take(&mut inner.connack);
            buffer[..connack.len()].copy_from_slice(&connack);
            return Poll::Ready(Ok(connack.len()));
        }
        if inner.flood.is_empty() || inner.written.is_empty() {
            inner.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let mut filled = 0;
        while filled < buffer.len() {
            let part = &inner.flood[inner.at..];
            let count = part.len().min(buffer.len() - filled);
            buffer[filled..filled + count].copy_from_slice(&part[..count]);
            filled += count;
            inner.at = (inner.at + count) % inner.flood.len();
        }
        Poll::Ready(Ok(buffer.len()))
    }
}

impl AsyncWrite for Ready {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let (count, publisher, waker) = {
            let mut inner = self.0.lock().unwrap();
            inner.writes += 1;
            let count = bytes.len().min(inner.most.unwrap_or(usize::MAX));
            inner.written.extend_from_slice(&bytes[..count]);
            (count, inner.publisher.clone(), inner.waker.take())
        };
        if let Some(publisher) = publisher {
            let _ = publisher.publish("loop", [b'x'; 100].as_slice(), QoS::AtMostOnce);
            let _ = publisher.publish("loop", [b'x'; 100].as_slice(), QoS::AtLeastOnce);
        }
        waker.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().unwrap().flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

struct World {
    client: Client,
    messages: Messages,
    driver: Pin<Box<dyn Future<Output = Result<(), Error>>>>,
    io: Ready,
    flag: Arc<Flag>,
    /// How much of what was written was looked at, and what was found.
    looked: usize,
    arrived: usize,
}

impl World {
    /// A client that is connected.
    fn new(version: Version, config: Config) -> World {
        let io = Ready::default();
        io.0.lock().unwrap().connack = match version {
            Version::V5 => vec![0x20, 3, 0, 0, 0],
            _ => vec![0x20, 2, 0, 0],
        };
        let transport = io.clone();
        let connector = move || std::future::ready(io::Result::Ok(transport.clone()));
        let (client, driver) = Client::with_timer(config, connector, Manual::new());
        let messages = client.messages();
        let (driver, flag) = (Box::pin(driver), Arc::default());
        let mut world = World { client, messages, driver, io, flag, looked: 0, arrived: 0 };
        world.poll();
        assert!(world.client.status().connected.is_some());
        world
    }

    fn io<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.io.0.lock().unwrap())
    }

    /// Polls the driver once; returns how often it has called the transport to read and to write, and whether
    /// it wants to be polled again at once.
    fn poll(&mut self) -> (usize, usize, bool) {
        let before = self.io(|io| (io.reads, io.writes, io.flushes));
        let waker = Waker::from(Arc::clone(&self.flag));
        let poll = self.driver.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(poll.is_pending());
        let after = self.io(|io| (io.reads, io.writes, io.flushes));
        let (reads, writes) = (after.0 - before.0, after.1 - before.1);
        assert!(reads + writes + after.2 - before.2 <= MOST, "{before:?} {after:?}");
        (reads, writes, self.flag.take())
    }

    /// How many PUBLISHes with the topic `out` the server has got whole.
    fn arrived(&mut self) -> usize {
        let io = self.io.0.lock().unwrap();
        while let Some((head, length)) = header(&io.written[self.looked..]) {
            let body = self.looked + head;
            let Some(bytes) = io.written.get(body..body + length) else { break };
            let is_publish = io.written[self.looked] >> 4 == 3;
            self.arrived += usize::from(is_publish && bytes[2..].starts_with(b"out"));
            self.looked = body + length;
        }
        self.arrived
    }
}

/// Returns the length of the fixed header, and that of what follows it.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut length = 0;
    for (place, byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((place + 2, length));
        }
    }
    None
}

/// A PUBLISH of QoS 0 with the topic `in`, of 4 KiB.
fn incoming(version: Version) -> Vec<u8> {
    let mut packet = vec![0x30, 0x80, 0x20, 0, 2, b'i', b'n'];
    // The first byte is Property Length in MQTT 5.0.
    packet.extend([u8::from(version != Version::V5)]);
    packet.resize(3 + 4096, b'x');
    packet
}

fn each(test: impl Fn(Version) + Send + 'static) {
    guarded(move || VERSIONS.into_iter().for_each(test));
}

// class: 44
#[test]
fn a_publisher_in_a_tight_loop_does_not_starve_reading() {
    each(|version| {
        let mut world = World::new(version, config(version));
        world.io(|io| {
            io.publisher = Some(world.client.clone());
            io.flood = incoming(version);
        });
        drop(world.client.publish("loop", "x", QoS::AtMostOnce).unwrap());
        let mut taken = 0;
        for _ in 0..20 {
            let (reads, writes, again) = world.poll();
            assert!(again, "there is always more to write");
            assert!(writes >= reads && reads >= 1, "{version}: {reads} reads, {writes} writes");
            while world.messages.try_next().is_some() {
                taken += 1;
            }
        }
        assert!(taken > 20, "{version}: {taken}");
        world.io(|io| io.publisher = None);
    });
}

#[test]
fn a_flood_of_input_does_not_starve_writing() {
    each(|version| {
        let mut world = World::new(version, config(version));
        world.io(|io| io.flood = incoming(version));
        for round in 0..20 {
            // It leaves with the first poll that comes, whether the application reads or not.
            drop(world.client.publish("out", "x", QoS::AtMostOnce).unwrap());
            drop(world.client.publish("out", "x", QoS::AtLeastOnce).unwrap());
            let (reads, _, again) = world.poll();
            assert!(again && (1..=16).contains(&reads), "{version}: {reads}");
            assert_eq!(world.arrived(), 2 * (round + 1), "{version}");
            while round % 2 == 0 && world.messages.try_next().is_some() {}
        }
    });
}

#[test]
fn a_transport_that_takes_little_at_a_time_does_not_hold_the_driver() {
    each(|version| {
        let mut world = World::new(version, config(version));
        world.io(|io| io.most = Some(10));
        // Copied beside their headers, and sent from where they lie.
        for size in [100, 20_000] {
            for _ in 0..20 {
                drop(world.client.publish("out", vec![b'x'; size], QoS::AtMostOnce).unwrap());
            }
        }
        let mut polls = 0;
        while world.arrived() < 40 {
            let (_, writes, _) = world.poll();
            assert!(writes > 0);
            polls += 1;
        }
        assert!(polls > 100, "{polls}");
        assert_eq!(world.client.stats().queued, 0);
        // What was written is flushed when there is no more.
        let before = world.io(|io| io.flushes);
        while world.poll().2 {}
        assert!(before > 0 || world.io(|io| io.flushes) > before);
    });
}

#[test]
fn the_end_does_not_wait_for_a_flood_and_a_slow_transport_gets_all() {
    each(|version| {
        let mut world = World::new(version, config(version));
        world.io(|io| (io.most, io.flood) = (Some(10), incoming(version)));
        drop(world.client.publish("out", vec![b'x'; 20_000], QoS::AtMostOnce).unwrap());
        drop(world.client.disconnect());
        let waker = Waker::from(Arc::clone(&world.flag));
        // The flood never ends: what was sent meanwhile is read away for a while.
        for _ in 0..200 {
            if world.driver.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                break;
            }
        }
        assert_eq!(world.arrived(), 1);
        let written = world.io(|io| io.written.clone());
        assert_eq!(written[written.len() - 2] >> 4, 14, "DISCONNECT is the last packet");
    });
}
