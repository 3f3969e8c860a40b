//! The byte stream stays in step, however little the transport takes and whoever publishes.

mod common;

use std::collections::BTreeMap;
use std::thread;

use common::bench::{Bench, VERSIONS, config};
use common::pipe::Shape;
use common::server::Seen;
use mqtt_async::QoS;

fn received(bench: &Bench) -> Vec<String> {
    let seen = bench.server.seen().into_iter();
    let payloads = seen.filter_map(|seen| match seen {
        Seen::Publish { payload, .. } => Some(String::from_utf8_lossy(&payload).into_owned()),
        _ => None,
    });
    payloads.collect()
}

// class: 12
#[test]
fn a_transport_that_takes_little_at_a_time_gets_whole_packets_one_after_the_other() {
    for version in VERSIONS {
        for (capacity, chunk) in [(1, 1), (2, 1), (3, 2), (7, 5), (64, 13), (5000, 1000)] {
            let mut bench = Bench::new(config(version), Shape { capacity, chunk });
            // Small ones are copied beside their header, large ones are slices of their own.
            let payloads: Vec<String> = [0, 1, 100, 2047, 2048, 5000, 3]
                .iter()
                .enumerate()
                .map(|(index, len)| format!("{index}:{}", "x".repeat(*len)))
                .collect();
            let tokens: Vec<_> = payloads
                .iter()
                .zip([QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce].iter().cycle())
                .map(|(payload, qos)| bench.client().publish("t", payload.clone(), *qos).unwrap())
                .collect();
            for token in tokens {
                bench.done(token).unwrap();
            }
            assert_eq!(received(&bench), payloads, "{version}: {capacity} {chunk}");
        }
    }
}

// class: 16
#[test]
fn threads_that_publish_at_once_get_identifiers_of_their_own() {
    const THREADS: usize = 4;
    const EACH: usize = 500;
    for version in VERSIONS {
        let mut bench = Bench::connected(config(version));
        let client = bench.client().clone();
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let client = client.clone();
                thread::spawn(move || {
                    let publish = |index| {
                        let payload = format!("{thread} {index}");
                        client.publish("t", payload, QoS::ExactlyOnce).unwrap()
                    };
                    (0..EACH).map(publish).collect::<Vec<_>>()
                })
            })
            .collect();
        // The driver works while they publish.
        while threads.iter().any(|thread| !thread.is_finished()) {
            bench.step();
        }
        for token in threads.into_iter().flat_map(|thread| thread.join().unwrap()) {
            bench.done(token).unwrap();
        }
        // Each message arrived once, and those of one thread in its order.
        let mut next: BTreeMap<String, usize> = BTreeMap::new();
        let all = received(&bench);
        assert_eq!(all.len(), THREADS * EACH);
        for payload in all {
            let (thread, index) = payload.split_once(' ').unwrap();
            let expected = next.entry(thread.to_owned()).or_default();
            assert_eq!(index.parse::<usize>().unwrap(), *expected);
            *expected += 1;
        }
    }
}
