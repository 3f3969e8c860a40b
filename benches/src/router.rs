//! Which filters match a topic, and to add and remove one.

use mqtt_proto::{FilterTree, TopicFilter, TopicName};

use crate::measure::{Case, Contender, Run};

/// How many topics one run looks up.
pub const TOPICS: usize = 1000;

/// How many filters there are.
pub const SIZES: [usize; 6] = [1, 10, 100, 1000, 10_000, 100_000];

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for size in SIZES {
        for (name, run) in [("match", find(size)), ("insert-remove", change(size))] {
            let contenders = vec![Contender { name: "mqtt-proto", run }];
            cases.push(Case { name: format!("{name}/{size}"), units: TOPICS, contenders });
        }
    }
    cases
}

/// One in ten has a wildcard.
fn filter(index: usize) -> TopicFilter {
    let (site, device) = (index / 100, index % 100);
    let text = match index % 10 {
        0 => format!("site-{site}/+/device-{device}/temperature"),
        5 => format!("site-{site}/line-{device}/#"),
        _ => format!("site-{site}/line-{device}/device-{device}/temperature"),
    };
    TopicFilter::new(text).expect("a filter")
}

fn tree(size: usize) -> FilterTree<usize> {
    let mut tree = FilterTree::new();
    for index in 0..size {
        tree.insert(&filter(index), index);
    }
    tree
}

/// Looks topics up that match about one filter each, wherever they lie in the tree.
pub fn find(size: usize) -> Run {
    let tree = tree(size);
    let topics: Vec<TopicName> = (0..TOPICS)
        .map(|index| {
            let index = index.wrapping_mul(7919) % size;
            let (site, device) = (index / 100, index % 100);
            let text = format!("site-{site}/line-{device}/device-{device}/temperature");
            TopicName::new(text).expect("a topic")
        })
        .collect();
    Box::new(move || {
        let mut sum = 0;
        for topic in &topics {
            tree.for_each_match(topic, |value| sum += *value as u64 + 1);
        }
        sum
    })
}

/// Adds filters and removes them again.
fn change(size: usize) -> Run {
    let mut tree = tree(size);
    let filters: Vec<TopicFilter> = (0..TOPICS).map(|index| filter(1_000_000 + index)).collect();
    Box::new(move || {
        for (index, filter) in filters.iter().enumerate() {
            tree.insert(filter, index);
        }
        for filter in &filters {
            tree.remove(filter);
        }
        tree.len() as u64
    })
}
