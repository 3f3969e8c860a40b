//! How the cost of a message grows with what there is of everything.

use std::hint::black_box;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use async_executor::{Executor, LocalExecutor};
use bytes::Bytes;
use cpu_time::ProcessTime;
use mqtt_async::{Client, Config, PublishError, QoS, TopicName, Version};

use crate::load::TOPIC;
use crate::measure::{self, Options, Run, Spread};
use crate::memory::Memory;
use crate::{plot, router, session};

mod floor;

/// How long one sample takes at least.
const SAMPLE: Duration = Duration::from_millis(10);

/// One thing that grows.
pub struct Curve {
    pub name: &'static str,
    /// What there is more and more of.
    pub of: &'static str,
    /// Nanoseconds of processor time for each message or topic, by how much there is.
    pub points: Vec<(usize, f64)>,
}

struct Point {
    x: usize,
    run: Run,
    units: usize,
    repeat: u32,
    times: Vec<f64>,
}

type Prepare = fn(usize) -> (Run, usize);

/// Name, what grows, how far, and how to prepare a point: what it runs, and for how many messages that is.
const CURVES: &[(&str, &str, &[usize], Prepare)] = &[
    ("in-flight", "messages in flight, QoS 1", &[1, 10, 100, 1000, 10_000, 65_535], in_flight),
    ("subscriptions", "filters in the tree", &router::SIZES, subscriptions),
    ("connections", "connections in one process", &[1, 10, 100, 1000, 10_000], connections),
    ("payload", "bytes of payload, there and back", PAYLOADS, payloads),
    ("threads", "threads that publish on one client, QoS 0", &[1, 2, 4, 8], threads),
];

const PAYLOADS: &[usize] =
    &[0, 64, 1024, 16 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20];

/// Measures all curves, and draws them.
pub fn bench(options: &Options) -> io::Result<()> {
    let mut rows = Vec::new();
    for (name, of, sizes, prepare) in CURVES {
        if !name.contains(&options.only) {
            continue;
        }
        let mut points: Vec<Point> = sizes.iter().map(|x| point(*x, *prepare)).collect();
        let mut floors = floors(name, sizes);
        for _ in 0..options.rounds {
            points.iter_mut().chain(floors.iter_mut().map(|(_, floor)| floor)).for_each(sample);
        }
        // What the others are compared with.
        let reference = points.iter().position(|point| point.x >= 100).unwrap_or(0);
        for point in &points {
            let mut all = vec![
                ("mqtt-async", point.times.clone()),
                ("itself at the reference", points[reference].times.clone()),
            ];
            let here = floors.iter().filter(|(_, floor)| floor.x == point.x);
            all.extend(here.map(|(who, floor)| (*who, floor.times.clone())));
            rows.extend(measure::rows(&format!("{name}/{}", point.x), all));
        }
        let points = points.into_iter().map(|it| (it.x, Spread::of(it.times).median));
        plot::curve(&Curve { name, of, points: points.collect() })?;
    }
    measure::report("growth", &rows, &[])
}

/// Prepares what the points of a curve cannot be had for less than, where that is known.
fn floors(curve: &str, sizes: &[usize]) -> Vec<(&'static str, Point)> {
    let known: &[(&str, Prepare)] = if curve == "payload" { &floor::FLOORS } else { &[] };
    let points = known.iter().flat_map(|(who, prepare)| sizes.iter().map(|x| (*who, *x, *prepare)));
    points.map(|(who, x, prepare)| (who, point(x, prepare))).collect()
}

fn point(x: usize, prepare: Prepare) -> Point {
    let (mut run, units) = prepare(x);
    // Buffers grow first.
    black_box(run());
    let (start, mut repeat) = (ProcessTime::now(), 0);
    while start.elapsed() < SAMPLE {
        black_box(run());
        repeat += 1;
    }
    Point { x, run, units, repeat, times: Vec::new() }
}

fn sample(point: &mut Point) {
    let start = ProcessTime::now();
    for _ in 0..point.repeat {
        black_box((point.run)());
    }
    let units = f64::from(point.repeat) * point.units as f64;
    point.times.push(start.elapsed().as_nanos() as f64 / units);
}

fn in_flight(window: usize) -> (Run, usize) {
    let messages = (2 * window).max(4096) / window * window;
    (session::exchange(Version::V5, QoS::AtLeastOnce, window, messages), messages)
}

fn subscriptions(size: usize) -> (Run, usize) {
    (router::find(size), router::TOPICS)
}

fn client(config: Config) -> (Client, impl Future<Output = ()> + Send + 'static) {
    let connector = || std::future::ready(io::Result::Ok(Memory::default()));
    let (client, driver) = Client::new(config, connector);
    // It ends when its client is dropped.
    (client, async { drop(driver.await) })
}

fn message(size: usize) -> (TopicName, Bytes) {
    (TopicName::new(TOPIC).expect("a topic"), Bytes::from(vec![b'x'; size]))
}

/// Each client publishes one message at QoS 1, and then all answers are awaited.
fn connections(count: usize) -> (Run, usize) {
    let executor = Rc::new(LocalExecutor::new());
    let clients: Vec<Client> = (0..count)
        .map(|_| {
            let (client, driver) = client(Config::new(Version::V5));
            executor.spawn(driver).detach();
            client
        })
        .collect();
    let (topic, payload) = message(64);
    let run = move || {
        let work = async {
            let mut tokens = Vec::with_capacity(count);
            for client in &clients {
                let token = client.publish(&topic, payload.clone(), QoS::AtLeastOnce);
                tokens.push(token.expect("room"));
            }
            for token in tokens {
                token.await.expect("an answer");
            }
        };
        futures_lite::future::block_on(executor.run(work));
        count as u64
    };
    (Box::new(run), count)
}

/// One message at a time is published at QoS 1 and comes back.
fn payloads(size: usize) -> (Run, usize) {
    let mut config = Config::new(Version::V5);
    config.session.maximum_packet_size = 256 << 20;
    config.session.bounds.bytes = 256 << 20;
    let (client, driver) = client(config);
    let executor = Rc::new(LocalExecutor::new());
    executor.spawn(driver).detach();
    let mut messages = client.messages();
    let (topic, payload) = message(size);
    let subscribe = async {
        client.subscribe(TOPIC, QoS::AtMostOnce).expect("room").await.expect("a subscription");
    };
    futures_lite::future::block_on(executor.run(subscribe));
    let run = move || {
        let work = async {
            let sent = client.publish(&topic, payload.clone(), QoS::AtLeastOnce);
            sent.expect("room").await.expect("an answer");
            messages.next().await.expect("a message").payload_bytes().len() as u64
        };
        futures_lite::future::block_on(executor.run(work))
    };
    (Box::new(run), 1)
}

/// The threads share one client, whose driver has a thread of its own.
fn threads(count: usize) -> (Run, usize) {
    const MESSAGES: usize = 80_000;
    let (client, driver) = client(Config::new(Version::V5));
    let executor = Arc::new(Executor::new());
    executor.spawn(driver).detach();
    thread::spawn(move || {
        futures_lite::future::block_on(executor.run(std::future::pending::<()>()));
    });
    let (topic, payload) = message(64);
    let run = move || {
        thread::scope(|scope| {
            for _ in 0..count {
                scope.spawn(|| {
                    futures_lite::future::block_on(async {
                        for _ in 0..MESSAGES / count {
                            let one = || client.publish(&topic, payload.clone(), QoS::AtMostOnce);
                            while let Err(error) = one() {
                                assert!(matches!(error, PublishError::Full(_)), "{error}");
                                client.ready().await.expect("room");
                            }
                        }
                    });
                });
            }
        });
        count as u64
    };
    (Box::new(run), MESSAGES)
}
