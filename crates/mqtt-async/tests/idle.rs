//! What a client costs that has nothing to do: a binary of its own, because the counting allocator is for all of
//! it.

mod common;

use std::future::{Future, Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allocation_counter::measure;
use common::bench::{Flag, Manual, VERSIONS, config};
use futures_io::{AsyncRead, AsyncWrite};
use mqtt_async::{Client, Config, Connector, Driver, QoS, Version};
use mqtt_proto::PacketId;

const CLIENTS: u64 = 100;

/// The most that one may hold, in bytes, its transport not counted: one that has done nothing, one that has just
/// subscribed to something, and one that has been used since then and was at rest for a keep-alive period.
const LIMIT: u64 = 5_250;
const LIMIT_SUBSCRIBED: u64 = 5_600;
const LIMIT_USED: u64 = 5_450;

/// How often a driver may be polled in a keep-alive period.
const WAKE_UPS: usize = 2;
const PERIOD: Duration = Duration::from_secs(60);

/// A server that is the transport. It holds nothing outside of itself but a waker.
struct Answering {
    version: Version,
    answer: Option<Vec<u8>>,
    reader: Option<Waker>,
    pings: Arc<AtomicUsize>,
}

impl AsyncRead for Answering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Some(answer) = self.answer.take() else {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        buffer[..answer.len()].copy_from_slice(&answer);
        Poll::Ready(Ok(answer.len()))
    }
}

impl AsyncWrite for Answering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let v5 = self.version == Version::V5;
        self.answer = match bytes[..] {
            [0x10, ..] if v5 => Some(vec![0x20, 3, 0, 0, 0]),
            [0x10, ..] => Some(vec![0x20, 2, 0, 0]),
            [0x30, ..] => None,
            [0x82, _, high, low, ..] if v5 => Some(vec![0x90, 4, high, low, 0, 0]),
            [0x82, _, high, low, ..] => Some(vec![0x90, 3, high, low, 0]),
            [0xC0, ..] => {
                self.pings.fetch_add(1, Ordering::Relaxed);
                Some(vec![0xD0, 0])
            }
            _ => panic!("{bytes:?}"),
        };
        self.reader.take().into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A client, and its driver as an executor holds it.
struct Idle<D> {
    client: Client,
    driver: Pin<Box<D>>,
    flag: Arc<Flag>,
    pings: Arc<AtomicUsize>,
    polls: usize,
}

type Connecting = Ready<io::Result<Answering>>;

fn idle(
    config: Config,
    clock: &Manual,
) -> Idle<Driver<impl Connector<Io = Answering, Connecting = Connecting> + use<>, Manual>> {
    let version = config.session.version;
    let pings = Arc::default();
    let counted = Arc::clone(&pings);
    let connector = move || {
        let pings = Arc::clone(&counted);
        ready(Ok(Answering { version, answer: None, reader: None, pings }))
    };
    let (client, driver) = Client::with_timer(config, connector, clock.clone());
    let mut idle = Idle { client, driver: Box::pin(driver), flag: Arc::default(), pings, polls: 0 };
    idle.flag.set();
    idle.turn();
    assert!(idle.client.status().connected.is_some());
    idle
}

impl<D: Future> Idle<D> {
    /// Polls the driver as often as it is woken.
    fn turn(&mut self) {
        while self.flag.take() {
            let waker = Waker::from(Arc::clone(&self.flag));
            assert!(self.driver.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            self.polls += 1;
        }
    }

    fn subscribe(&mut self) {
        let mut token = self.client.subscribe("plant/7/temperature", QoS::AtMostOnce).unwrap();
        let mut poll = || Pin::new(&mut token).poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll().is_pending());
        self.turn();
        assert!(matches!(poll(), Poll::Ready(Ok(_))));
    }
}

/// Returns how many bytes one of many holds that are made so.
fn held<T>(make: impl Fn() -> T) -> u64 {
    let mut all = Vec::new();
    let info = measure(|| all.extend((0..CLIENTS).map(|_| make())));
    assert_eq!(all.len() as u64, CLIENTS);
    u64::try_from(info.bytes_current).unwrap() / CLIENTS
}

#[test]
fn an_idle_client_holds_little() {
    for version in VERSIONS {
        let clock = Manual::new();
        let fresh = held(|| idle(config(version), &clock));
        println!("{version}: {fresh} bytes at rest");
        assert!(fresh <= LIMIT, "{version}: {fresh} bytes");
        let subscribed = held(|| {
            let mut config = config(version);
            // One near the end, as a client may choose.
            config.session.first_packet_id = PacketId::new(60_000).unwrap();
            let mut idle = idle(config, &clock);
            idle.subscribe();
            idle
        });
        println!("{version}: {subscribed} bytes after SUBSCRIBE");
        assert!(subscribed <= LIMIT_SUBSCRIBED, "{version}: {subscribed} bytes after SUBSCRIBE");
        // One that has subscribed, published, and pinged since then.
        let used = held(|| {
            let clock = Manual::new();
            let mut idle = idle(config(version), &clock);
            idle.subscribe();
            for _ in 0..1000 {
                drop(idle.client.publish("t", vec![0; 100], QoS::AtMostOnce).unwrap());
            }
            idle.turn();
            for _ in 0..3 {
                clock.advance(Duration::from_secs(60));
                idle.turn();
            }
            assert_eq!(idle.client.stats().acked, 1000);
            idle
        });
        println!("{version}: {used} bytes after use");
        assert!(used <= LIMIT_USED, "{version}: {used} bytes after use");
    }
}

#[test]
fn an_idle_client_wakes_up_for_its_ping_and_for_the_answer() {
    for version in VERSIONS {
        let clock = Manual::new();
        let mut config = config(version);
        config.session.connect.keep_alive = u16::try_from(PERIOD.as_secs()).unwrap();
        let mut idle = idle(config, &clock);
        idle.polls = 0;
        let periods = 100;
        let mut passed = Duration::ZERO;
        while passed < periods * PERIOD {
            let sleep = clock.asked();
            clock.advance(sleep);
            passed += sleep;
            idle.turn();
        }
        let pings = idle.pings.load(Ordering::Relaxed);
        let most = WAKE_UPS * periods as usize;
        assert!((1..=most).contains(&idle.polls), "{version}: {} for {pings} pings", idle.polls);
        assert!(pings >= periods as usize, "{version}: {pings} pings");
        println!("{version}: {} wake-ups, {pings} pings, {periods} periods", idle.polls);
    }
}
