//! The matcher, and the tree of many filters, against one that follows the words of the standard and
//! recurses.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use mqtt_proto::{FilterTree, TopicFilter, TopicName, matches};

fuzz_target!(|data: (bool, &str, &str, Vec<(Step, &str)>)| {
    let (narrow, filter, topic, steps) = data;
    // From a few characters something that matches is found far sooner than from all of Unicode.
    let text = |text: &str| match narrow {
        true => text.bytes().map(letter).collect(),
        false => text.to_owned(),
    };
    one(&text(filter), &text(topic));
    let mut tree = FilterTree::new();
    let mut list = BTreeMap::new();
    for (number, (step, given)) in steps.into_iter().enumerate() {
        many(&mut tree, &mut list, number, step, &text(given));
    }
});

#[derive(Clone, Copy, Debug, arbitrary::Arbitrary)]
enum Step {
    Insert,
    Remove,
    /// Of those that are there, so that removing is not left to chance.
    RemoveAt(u8),
    Match,
}

/// Does the same to the tree and to a list, and compares what they find.
fn many(
    tree: &mut FilterTree<usize>,
    list: &mut BTreeMap<String, usize>,
    number: usize,
    step: Step,
    text: &str,
) {
    let at = |at: u8| list.keys().nth(usize::from(at) % list.len().max(1)).cloned();
    match (step, TopicFilter::new(text), TopicName::new(text)) {
        (Step::Insert, Ok(filter), _) => {
            assert_eq!(tree.insert(&filter, number), list.insert(text.to_owned(), number));
            assert_eq!(tree.get(&filter), Some(&number));
        }
        (Step::Remove, Ok(filter), _) => assert_eq!(tree.remove(&filter), list.remove(text)),
        (Step::RemoveAt(place), ..) => {
            let Some(text) = at(place) else { return };
            let filter = TopicFilter::new(&*text).expect("it was one");
            assert_eq!(tree.remove(&filter), list.remove(&text));
            assert_eq!(tree.get(&filter), None);
        }
        (Step::Match, _, Ok(topic)) => {
            let mut found: Vec<usize> = tree.matches(&topic).copied().collect();
            found.sort_unstable();
            let wanted = list.iter().filter(|(filter, _)| {
                let filter = TopicFilter::new(filter.as_str()).expect("it was one");
                wants(&filter, text)
            });
            let mut wanted: Vec<usize> = wanted.map(|(_, number)| *number).collect();
            wanted.sort_unstable();
            assert_eq!(found, wanted, "{topic:?} in {list:?}");
        }
        _ => {}
    }
    assert_eq!((tree.len(), tree.is_empty()), (list.len(), list.is_empty()));
    let held: BTreeMap<String, usize> =
        tree.iter().map(|(filter, number)| (filter.as_str().to_owned(), *number)).collect();
    assert_eq!(&held, list);
}

fn one(filter: &str, topic: &str) {
    // An invalid filter matches something or nothing, but it does no harm.
    let _ = matches(filter.as_bytes(), topic.as_bytes());
    assert_eq!(TopicFilter::new(filter).is_ok(), is_filter(filter), "{filter:?}");
    assert_eq!(TopicName::new(topic).is_ok(), is_name(topic), "{topic:?}");
    let (Ok(filter), Ok(name)) = (TopicFilter::new(filter), TopicName::new(topic)) else {
        return;
    };
    assert_eq!(filter.matches(&name), wants(&filter, topic), "{filter:?} {name:?}");
}

fn wants(filter: &TopicFilter, topic: &str) -> bool {
    let levels = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
    let (wanted, given) = (levels(filter.filter()), levels(topic));
    let hidden = topic.starts_with('$') && wanted[0] != given[0];
    !hidden && naive(&wanted, &given)
}

fn letter(byte: u8) -> &'static str {
    ["a", "/", "+", "#", "$", "/+", "/#", "$share/"][usize::from(byte % 8)]
}

/// Sections 4.7.1.2 and 4.7.1.3, one level at a time.
fn naive(filter: &[String], topic: &[String]) -> bool {
    match (filter, topic) {
        ([last], _) if last == "#" => true,
        ([], []) => true,
        ([], _) | (_, []) => false,
        ([level, filter @ ..], [name, topic @ ..]) => {
            (level == "+" || level == name)
                && (naive(filter, topic) || (topic.is_empty() && filter == ["#"]))
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 65_535 && !name.contains(['\0', '#', '+'])
}

fn is_filter(filter: &str) -> bool {
    let good = |filter: &str| {
        let levels: Vec<_> = filter.split('/').collect();
        let (last, others) = levels.split_last().expect("there is always one");
        let level = |level: &str| level == "+" || !level.contains(['#', '+']);
        !filter.is_empty() && others.iter().all(|name| level(name)) && (*last == "#" || level(last))
    };
    if filter.len() > 65_535 || filter.contains('\0') {
        return false;
    }
    match filter.strip_prefix("$share/") {
        None => good(filter),
        Some(rest) => rest.split_once('/').is_some_and(|(name, filter)| {
            !name.is_empty() && !name.contains(['#', '+']) && good(filter)
        }),
    }
}
