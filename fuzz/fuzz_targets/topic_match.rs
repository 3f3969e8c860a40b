//! The matcher against one that follows the words of the standard and recurses.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mqtt_proto::{TopicFilter, TopicName, matches};

fuzz_target!(|data: (bool, &str, &str)| {
    let (narrow, filter, topic) = data;
    // From a few characters something that matches is found far sooner than from all of Unicode.
    let narrowed = |text: &str| text.bytes().map(letter).collect::<String>();
    let (filter, topic) = match narrow {
        true => (&*narrowed(filter), &*narrowed(topic)),
        false => (filter, topic),
    };
    // An invalid filter matches something or nothing, but it does no harm.
    let _ = matches(filter.as_bytes(), topic.as_bytes());
    assert_eq!(TopicFilter::new(filter).is_ok(), is_filter(filter), "{filter:?}");
    assert_eq!(TopicName::new(topic).is_ok(), is_name(topic), "{topic:?}");
    let (Ok(filter), Ok(name)) = (TopicFilter::new(filter), TopicName::new(topic)) else {
        return;
    };
    let levels = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
    let (wanted, given) = (levels(filter.filter()), levels(topic));
    let hidden = topic.starts_with('$') && wanted[0] != given[0];
    assert_eq!(filter.matches(&name), !hidden && naive(&wanted, &given), "{filter:?} {name:?}");
});

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
