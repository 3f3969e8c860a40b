//! Topic Names, Topic Filters and `FilterTree` against rules written down a second time, as plainly
//! as can be.

// Clippy spares the functions that are marked as tests, but not the ones that they share.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use bytes::Bytes;
use mqtt_proto::{
    DecodeCause, FilterTree, Packet, ReasonCode, TopicError, TopicFilter, TopicName, Version,
    codec, matches,
};
use proptest::prelude::*;
use proptest::sample::select;

// ---- the rules, naively ----

/// Compares level by level, from the text of the standard: section 4.7.
fn naive_match(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && (filter.starts_with('+') || filter.starts_with('#')) {
        return false;
    }
    let filter: Vec<&str> = filter.split('/').collect();
    let topic: Vec<&str> = topic.split('/').collect();
    naive_levels(&filter, &topic)
}

fn naive_levels(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) => true,
        ([], []) => true,
        (["+", filter @ ..], [_, topic @ ..]) => naive_levels(filter, topic),
        ([level, filter @ ..], [name, topic @ ..]) => level == name && naive_levels(filter, topic),
        _ => false,
    }
}

/// Returns the part of a filter that topics are compared with, if the filter is valid.
fn naive_filter(filter: &str) -> Option<&str> {
    let own = match filter.strip_prefix("$share/") {
        Some(shared) => {
            let (name, own) = shared.split_once('/')?;
            (!name.is_empty() && !name.contains(['+', '#'])).then_some(own)?
        }
        None => filter,
    };
    let levels: Vec<&str> = own.split('/').collect();
    let valid = levels.iter().enumerate().all(|(at, level)| match *level {
        "#" => at + 1 == levels.len(),
        "+" => true,
        level => !level.contains(['+', '#']),
    });
    (valid && !own.is_empty() && filter.len() <= 65_535 && !filter.contains('\0')).then_some(own)
}

// ---- what is tried ----

/// Small alphabets, so that topics and filters meet.
fn levels(alphabet: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(select(alphabet), 1..6).prop_map(|levels| levels.join("/"))
}

fn any_topic() -> impl Strategy<Value = String> {
    levels(&["", "a", "b", "$x"]).prop_filter("an empty name is none", |topic| !topic.is_empty())
}

fn any_filter() -> impl Strategy<Value = String> {
    let share = select(&["", "", "", "$share/g/", "$share/h/"][..]);
    let tail = select(&["", "", "/#"][..]);
    (share, levels(&["", "a", "b", "+", "#", "$x"]), tail)
        .prop_map(|(share, levels, tail)| format!("{share}{levels}{tail}"))
        .prop_filter("only valid filters", |filter| naive_filter(filter).is_some())
}

fn any_text() -> impl Strategy<Value = String> {
    let parts = &["a", "/", "/", "+", "#", "$share", "$share/", "é", " ", "\0"][..];
    prop::collection::vec(select(parts), 0..8).prop_map(|parts| parts.concat())
}

#[derive(Clone, Debug)]
enum Change {
    Insert(String, u32),
    Remove(String),
    Clear,
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        60 => (any_filter(), any::<u32>()).prop_map(|(filter, value)| Change::Insert(filter, value)),
        50 => any_filter().prop_map(Change::Remove),
        1 => Just(Change::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn one_filter_matches_as_the_naive_rule(filter in any_filter(), topic in any_topic()) {
        let expected = naive_match(naive_filter(&filter).unwrap(), &topic);
        let filter = TopicFilter::new(filter).unwrap();
        let topic = TopicName::new(topic).unwrap();
        prop_assert_eq!(filter.matches(&topic), expected);
        prop_assert_eq!(matches(filter.filter().as_bytes(), topic.as_bytes()), expected);
    }

    #[test]
    fn a_filter_is_valid_by_the_naive_rule(text in any_text()) {
        let filter = TopicFilter::new(text.as_str());
        prop_assert_eq!(filter.as_ref().ok().map(TopicFilter::filter), naive_filter(&text));
        let frame = subscribe(text.as_bytes(), Version::V5);
        prop_assert_eq!(codec::decode(&frame, Version::V5).is_ok(), filter.is_ok());
    }

    #[test]
    fn a_name_is_valid_by_the_naive_rule(text in any_text()) {
        let valid = !text.is_empty() && !text.contains(['+', '#', '\0']);
        prop_assert_eq!(TopicName::new(text.as_str()).is_ok(), valid);
        let frame = publish(text.as_bytes(), Version::V311);
        prop_assert_eq!(codec::decode(&frame, Version::V311).is_ok(), valid);
    }

    #[test]
    fn many_filters_match_as_each_alone(
        filters in prop::collection::btree_set(any_filter(), 0..60),
        topics in prop::collection::vec(any_topic(), 1..10),
    ) {
        let mut tree = FilterTree::new();
        for filter in &filters {
            tree.insert(&TopicFilter::new(filter.as_str()).unwrap(), filter.as_str());
        }
        for topic in &topics {
            let expected: Vec<&str> = filters
                .iter()
                .filter(|filter| naive_match(naive_filter(filter).unwrap(), topic))
                .map(String::as_str)
                .collect();
            let name = TopicName::new(topic.as_str()).unwrap();
            let mut found: Vec<&str> = tree.matches(&name).copied().collect();
            found.sort();
            prop_assert_eq!(&found, &expected, "matches, {}", topic);
            let (mut one, mut two) = (Vec::new(), Vec::new());
            tree.for_each_match(&name, |value| one.push(*value));
            tree.for_each_match_bytes(topic.as_bytes(), |value| two.push(*value));
            one.sort();
            two.sort();
            prop_assert_eq!(&one, &expected, "for_each_match, {}", topic);
            prop_assert_eq!(&two, &expected, "for_each_match_bytes, {}", topic);
        }
    }

    #[test]
    fn a_tree_changes_as_a_map_does(changes in prop::collection::vec(any_change(), 0..200)) {
        let mut tree = FilterTree::new();
        let mut model = BTreeMap::new();
        for change in changes {
            match change {
                Change::Insert(filter, value) => {
                    let old = tree.insert(&TopicFilter::new(filter.as_str()).unwrap(), value);
                    prop_assert_eq!(old, model.insert(filter, value));
                }
                Change::Remove(filter) => {
                    let old = tree.remove(&TopicFilter::new(filter.as_str()).unwrap());
                    prop_assert_eq!(old, model.remove(&filter));
                }
                Change::Clear => {
                    tree.clear();
                    model.clear();
                }
            }
            prop_assert_eq!((tree.len(), tree.is_empty()), (model.len(), model.is_empty()));
        }
        for (filter, value) in &mut model {
            let name = TopicFilter::new(filter.as_str()).unwrap();
            *value ^= 1;
            *tree.get_mut(&name).unwrap() ^= 1;
            prop_assert_eq!(tree.get(&name), Some(&*value));
        }
        let all: BTreeMap<String, u32> =
            tree.iter().map(|(filter, value)| (filter.to_string(), *value)).collect();
        prop_assert_eq!(&all, &model);
        let copy = tree.clone();
        for filter in model.keys() {
            tree.remove(&TopicFilter::new(filter.as_str()).unwrap());
        }
        prop_assert_eq!((tree.len(), copy.len()), (0, model.len()));
    }
}

// ---- the standard's own examples ----

/// The tree and the single match must agree, so each example is put to both.
fn check(filter: &str, topic: &str, expected: bool) {
    let name = TopicName::new(topic).unwrap();
    let text = filter;
    let filter = TopicFilter::new(filter).unwrap();
    assert_eq!(filter.matches(&name), expected, "{text} and {topic}");
    let mut tree = FilterTree::new();
    tree.insert(&filter, ());
    assert_eq!(tree.matches(&name).count(), expected as usize, "{text} and {topic}, in a tree");
}

// covers: v5 X5-4.7.1-a, v3 X3-4.7.1-a
#[test]
fn wildcards_match_parent_and_empty_levels() {
    for topic in ["sport/tennis/player1", "sport/tennis/player1/ranking"] {
        check("sport/tennis/player1/#", topic, true);
    }
    check("sport/#", "sport", true);
    check("sport/#", "sports", false);
    check("#", "sport/tennis", true);
    check("sport/tennis/+", "sport/tennis/player1", true);
    check("sport/tennis/+", "sport/tennis/player1/ranking", false);
    check("sport/+", "sport", false);
    check("sport/+", "sport/", true);
    check("+/+", "/finance", true);
    check("/+", "/finance", true);
    check("+", "/finance", false);
}

// covers: v5 MQTT-4.7.2-1, v3 MQTT-4.7.2-1
#[test]
fn leading_wildcards_do_not_match_dollar_topics() {
    check("#", "$SYS", false);
    check("+", "$SYS", false);
    check("+/#", "$SYS/uptime", false);
    check("+/monitor/Clients", "$SYS/monitor/Clients", false);
    check("$share/g/#", "$SYS/uptime", false);
    check("$SYS/#", "$SYS/monitor/Clients", true);
    check("$SYS/+/Clients", "$SYS/monitor/Clients", true);
    check("a/#", "a/$SYS", true);
    check("a/+", "a/$SYS", true);
}

// covers: v5 MQTT-4.7.3-4, v3 MQTT-4.7.3-4
#[test]
fn characters_are_compared_as_they_are() {
    check("Å", "\u{c5}", true);
    check("\u{c5}", "A\u{30a}", false);
    check("\u{fb01}", "fi", false);
    check("a\u{feff}", "a", false);
}

// covers: v5 X5-4.7.3-a, v3 X3-4.7.3-a
#[test]
fn case_spaces_and_slashes_count() {
    check("ACCOUNTS", "Accounts", false);
    check("a b", "a b", true);
    check("a b", "ab", false);
    check("/finance", "finance", false);
    check("finance/", "finance", false);
    check("/", "/", true);
    for version in [Version::V311, Version::V5] {
        for name in ["/", "A b", "/a/"] {
            let Packet::Publish(packet) = decode(publish(name.as_bytes(), version), version) else {
                panic!("a PUBLISH comes back as one")
            };
            assert_eq!(packet.topic(), name);
            let Packet::Subscribe(_, packet) = decode(subscribe(name.as_bytes(), version), version)
            else {
                panic!("a SUBSCRIBE comes back as one")
            };
            assert_eq!(packet.subscriptions.first().unwrap().filter, name);
        }
    }
}

// ---- what is refused, from the caller and from a peer ----

fn decode(frame: Bytes, version: Version) -> Packet {
    codec::decode(&frame, version).unwrap()
}

/// Builds a frame by hand, so that it can be wrong.
fn frame(first: u8, parts: &[&[u8]]) -> Bytes {
    let body = parts.concat();
    assert!(body.len() < 128, "the Remaining Length is one byte");
    let mut frame = vec![first, body.len() as u8];
    frame.extend(body);
    Bytes::from(frame)
}

fn no_properties(version: Version) -> &'static [u8] {
    if version == Version::V5 { &[0] } else { &[] }
}

fn publish(topic: &[u8], version: Version) -> Bytes {
    let len = (topic.len() as u16).to_be_bytes();
    frame(0x30, &[&len, topic, no_properties(version)])
}

fn subscribe(filter: &[u8], version: Version) -> Bytes {
    let len = (filter.len() as u16).to_be_bytes();
    frame(0x82, &[&[0, 1], no_properties(version), &len, filter, &[0]])
}

fn unsubscribe(filter: &[u8], version: Version) -> Bytes {
    let len = (filter.len() as u16).to_be_bytes();
    frame(0xa2, &[&[0, 1], no_properties(version), &len, filter])
}

fn refused(frame: &Bytes, version: Version) -> (DecodeCause, ReasonCode) {
    let error = codec::decode(frame, version).unwrap_err();
    (error.cause(), error.reason())
}

fn name_refused(name: &str, error: TopicError, cause: DecodeCause, reason: ReasonCode) {
    assert_eq!(TopicName::new(name), Err(error), "{name:?}");
    for version in [Version::V31, Version::V311, Version::V5] {
        let refused = refused(&publish(name.as_bytes(), version), version);
        assert_eq!(refused, (cause, reason), "{name:?} in {version}");
    }
}

fn filter_refused(filter: &str, error: TopicError, cause: DecodeCause) {
    assert_eq!(TopicFilter::new(filter), Err(error), "{filter:?}");
    for version in [Version::V31, Version::V311, Version::V5] {
        for frame in [subscribe, unsubscribe] {
            let refused = refused(&frame(filter.as_bytes(), version), version);
            assert_eq!(refused, (cause, ReasonCode::MALFORMED_PACKET), "{filter:?} in {version}");
        }
    }
}

// covers: v5 MQTT-4.7.0-1, v3 MQTT-4.7.1-1
#[test]
fn a_topic_name_has_no_wildcards() {
    for name in ["#", "+", "a/#", "a/+/b", "a+", "longer/than/eight/bytes/a#b"] {
        let cause = DecodeCause::TopicNameWildcard;
        name_refused(name, TopicError::Wildcard, cause, ReasonCode::MALFORMED_PACKET);
    }
}

// covers: v5 MQTT-4.7.1-1, v3 MQTT-4.7.1-2
#[test]
fn a_multi_level_wildcard_stands_alone_and_last() {
    for filter in ["sport/tennis#", "sport/tennis/#/ranking", "#/", "##", "a/#b", "+#"] {
        filter_refused(filter, TopicError::MultiLevel, DecodeCause::TopicFilter);
    }
    for filter in ["#", "/#", "sport/#", "+/#"] {
        assert!(TopicFilter::new(filter).unwrap().has_wildcards());
    }
}

// covers: v5 MQTT-4.7.1-2, v3 MQTT-4.7.1-3
#[test]
fn a_single_level_wildcard_fills_its_level() {
    for filter in ["sport+", "+a", "a/b+/c", "++", "a/+b/#"] {
        filter_refused(filter, TopicError::SingleLevel, DecodeCause::TopicFilter);
    }
    for filter in ["+", "+/tennis/#", "sport/+/player1", "/+/", "a/+"] {
        assert!(TopicFilter::new(filter).unwrap().has_wildcards());
    }
}

// covers: v5 MQTT-4.7.3-1, v3 MQTT-4.7.3-1
#[test]
fn nothing_is_no_topic() {
    let cause = DecodeCause::TopicNameEmpty;
    name_refused("", TopicError::Empty, cause, ReasonCode::PROTOCOL_ERROR);
    filter_refused("", TopicError::Empty, DecodeCause::TopicFilter);
}

// covers: v5 MQTT-4.7.3-2, v3 MQTT-4.7.3-2
#[test]
fn nul_is_in_no_topic() {
    for text in ["\0", "a\0b", "a/\0", "longer/than/eight/bytes/\0/é"] {
        name_refused(text, TopicError::Nul, DecodeCause::Nul, ReasonCode::MALFORMED_PACKET);
        filter_refused(text, TopicError::Nul, DecodeCause::Nul);
    }
}

// covers: v5 MQTT-4.7.3-3, v3 MQTT-4.7.3-3
#[test]
fn a_topic_fits_its_length_field() {
    let fits = "é".repeat(32_767) + "a";
    let too_long = "é".repeat(32_768);
    assert!(TopicName::new(fits.as_str()).is_ok());
    assert!(TopicFilter::new(fits).is_ok());
    assert_eq!(TopicName::new(too_long.as_str()), Err(TopicError::TooLong));
    assert_eq!(TopicFilter::new(too_long), Err(TopicError::TooLong));
}

// covers: v5 MQTT-4.8.2-1
#[test]
fn a_shared_subscription_has_a_name() {
    filter_refused("$share//a", TopicError::Share, DecodeCause::ShareName);
    filter_refused("$share/", TopicError::Share, DecodeCause::ShareName);
    let shared = TopicFilter::new("$share/g/a").unwrap();
    assert_eq!((shared.share_name(), shared.filter()), (Some("g"), "a"));
    // Only with the slash does it begin as the standard says.
    for plain in ["$share", "$shared/g/a", "$SHARE/g/a", "a/$share/g/a"] {
        assert!(!TopicFilter::new(plain).unwrap().is_shared(), "{plain}");
    }
}

// covers: v5 MQTT-4.8.2-2
#[test]
fn a_share_name_has_no_wildcards_and_a_filter_behind_it() {
    for filter in ["$share/g", "$share/g/", "$share/+/a", "$share/#/a", "$share/g+/a", "$share/#"] {
        filter_refused(filter, TopicError::Share, DecodeCause::ShareName);
    }
    filter_refused("$share/g/a#", TopicError::MultiLevel, DecodeCause::TopicFilter);
    filter_refused("$share/g/a+", TopicError::SingleLevel, DecodeCause::TopicFilter);
    // The name ends at the first slash; what follows is the filter, even if it begins with another.
    let shared = TopicFilter::new("$share/g//a").unwrap();
    assert_eq!((shared.share_name(), shared.filter()), (Some("g"), "/a"));
}
