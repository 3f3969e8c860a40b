//! Work that grows with the size of the input and no faster, on a stack that does not grow at all.

use std::time::Duration;

use bytes::Bytes;
use mqtt_proto::{DecodeCause, TopicFilter, TopicName, Version, codec, matches};

use crate::hex::{field, framed, variable};

/// The least time of several runs, so that what else the machine does counts little.
#[allow(clippy::disallowed_methods, reason = "it is the time of this machine that is measured")]
fn least_time(mut work: impl FnMut()) -> Duration {
    let run = |_| {
        let start = std::time::Instant::now();
        work();
        start.elapsed()
    };
    (0..3).map(run).min().unwrap()
}

/// Expects that 16 times the input takes far less than 16 * 16 times the time.
///
/// A machine that is busy with something else can spoil a measurement, but hardly six of them; work
/// that is quadratic fails all six.
#[track_caller]
fn linear<T>(what: &str, make: impl Fn(usize) -> T, work: impl Fn(&T)) {
    let (small, large) = (make(512), make(16 * 512));
    let mut measured = Vec::new();
    for _ in 0..6 {
        let small = least_time(|| work(&small)).max(Duration::from_micros(10));
        let large = least_time(|| work(&large));
        if large < small * 90 {
            return;
        }
        measured.push((small, large));
    }
    panic!("{what} is not linear: for 1 and for 16 it took {measured:?}");
}

fn repeated(first: u8, before: &[u8], unit: &[u8], count: usize, after: &[u8]) -> Bytes {
    let units = unit.repeat(count);
    framed(first, &[before, &variable(units.len()), &units, after].concat())
}

// class: 8
#[test]
fn properties_filters_and_codes() {
    let pair = [&[0x26][..], &field(b"k"), &field(b"v")].concat();
    let taken = |frame: &Bytes| assert!(codec::decode(frame, Version::V5).is_ok());
    let messages = |count| repeated(0x30, b"\0\x01a", &pair, count, b"");
    linear("User Properties of PUBLISH", messages, taken);
    linear("User Properties of PUBACK", |n| repeated(0x40, b"\0\x01\0", &pair, n, b""), taken);
    linear(
        "User Properties of SUBSCRIBE",
        |n| repeated(0x82, b"\0\x01", &pair, n, b"\0\x01a\0"),
        taken,
    );
    linear("Subscription Identifiers", |n| repeated(0x30, b"\0\x01a", &[0x0B, 1], n, b""), taken);
    let list = |first, unit: &'static [u8]| {
        move |count| framed(first, &[b"\0\x01\0", &unit.repeat(count)[..]].concat())
    };
    linear("filters of SUBSCRIBE", list(0x82, b"\0\x03a/b\0"), taken);
    linear("filters of UNSUBSCRIBE", list(0xA2, b"\0\x03a/b"), taken);
    linear("codes of SUBACK", list(0x90, b"\0"), taken);
    linear("reading User Properties", messages, |frame| {
        let Ok(mqtt_proto::Packet::Publish(publish)) = codec::decode(frame, Version::V5) else {
            panic!();
        };
        assert!(publish.properties().count() >= 512);
        assert!(publish.to_publish().is_some());
    });
}

// A duplicate at the very end of many properties is found, in one pass.
// class: 8
#[test]
fn a_duplicate_behind_many_properties() {
    let pair = [&[0x26][..], &field(b""), &field(b"")].concat();
    let make = |count| {
        let block = [&[0x01, 0][..], &pair.repeat(count), &[0x01, 0]].concat();
        framed(0x30, &[b"\0\x01a", &variable(block.len())[..], &block].concat())
    };
    linear("a late duplicate", make, |frame| {
        let error = codec::decode(frame, Version::V5).unwrap_err();
        assert_eq!(error.cause(), DecodeCause::PropertyDuplicate);
        assert_eq!(error.offset(), frame.len() - 2);
    });
}

// class: 8
#[test]
fn many_levels() {
    let topics = |levels: usize| TopicName::new("/".repeat(levels - 1)).unwrap();
    let filters = |levels: usize| TopicFilter::new(vec!["+"; levels].join("/")).unwrap();
    linear(
        "the check of a filter",
        |n| "+/".repeat(n - 1),
        |filter| {
            assert!(TopicFilter::new(filter.as_str()).is_ok());
        },
    );
    let both = |levels| (filters(levels), topics(levels));
    linear("the matcher", both, |(filter, topic)| assert!(filter.matches(topic)));
    // A wildcard that could be tried at every level, and fails at the end.
    let late = |levels: usize| (filters(levels), topics(levels + 1));
    linear("a match that fails late", late, |(filter, topic)| assert!(!filter.matches(topic)));
}

// class: 8
#[test]
fn no_recursion_at_32_768_levels() {
    let work = || {
        let topic = TopicName::new("/".repeat(32_767)).unwrap();
        let filter = TopicFilter::new(vec!["+"; 32_768].join("/")).unwrap();
        assert!(filter.matches(&topic));
        let deep = TopicFilter::new("/".repeat(32_766) + "/#").unwrap();
        assert!(deep.matches(&topic));
        assert!(!matches(b"/", topic.as_bytes()));
        let pair = [&[0x26][..], &field(b""), &field(b"")].concat();
        let frame = repeated(0x30, b"\0\x01a", &pair, 50_000, b"");
        assert!(codec::decode(&frame, Version::V5).is_ok());
    };
    // Sixteen bytes a level would already be too much for this stack.
    let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(work).unwrap();
    thread.join().unwrap();
}
