//! What the outside cannot see: how many nodes there are, and what stays behind.

use alloc::string::String;
use alloc::{format, vec};

use super::*;

fn filter(text: &str) -> TopicFilter {
    TopicFilter::new(text).unwrap()
}

fn topic(text: &str) -> TopicName {
    TopicName::new(text).unwrap()
}

fn found(tree: &FilterTree<String>, name: &str) -> Vec<String> {
    let mut found: Vec<String> = tree.matches(&topic(name)).cloned().collect();
    found.sort();
    found
}

fn tree(filters: &[&str]) -> FilterTree<String> {
    let mut tree = FilterTree::new();
    for text in filters {
        assert_eq!(tree.insert(&filter(text), String::from(*text)), None);
    }
    tree
}

#[test]
fn shared_subscriptions_are_entries_of_their_own() {
    let mut tree = tree(&["$share/a/x", "$share/b/x", "x", "$share/a/+", "$share/a/y"]);
    assert_eq!(tree.len(), 5);
    assert_eq!(found(&tree, "x"), ["$share/a/+", "$share/a/x", "$share/b/x", "x"]);
    // It is the name of the group that begins with `$`, not the topic.
    assert_eq!(found(&tree, "$share/a/x"), [""; 0]);

    assert_eq!(tree.remove(&filter("x")).as_deref(), Some("x"));
    assert_eq!(tree.remove(&filter("x")), None);
    assert_eq!(tree.remove(&filter("$share/c/x")), None);
    assert_eq!(found(&tree, "x"), ["$share/a/+", "$share/a/x", "$share/b/x"]);
}

#[test]
fn wildcards_in_the_bytes_of_a_topic_are_plain_text() {
    let tree = tree(&["a/b", "a/+", "a/#"]);
    for name in ["", "+", "#", "a/+", "a/#", "a/b/", "/"] {
        let mut count = 0;
        tree.for_each_match_bytes(name.as_bytes(), |_| count += 1);
        let single = tree
            .iter()
            .filter(|(filter, _)| crate::matches(filter.filter().as_bytes(), name.as_bytes()));
        assert_eq!(count, single.count(), "{name}");
    }
}

#[test]
fn removing_frees_what_no_other_filter_needs() {
    let mut tree = tree(&["a/b/c", "a/b/+", "a/#", "a/b"]);
    assert_eq!(tree.nodes.len(), 6);
    tree.remove(&filter("a/b/c"));
    assert_eq!(tree.free.len(), 1);
    tree.remove(&filter("a/b"));
    assert_eq!(tree.free.len(), 1, "`a/b/+` still needs it");
    tree.insert(&filter("a/b/d"), String::new());
    assert_eq!((tree.nodes.len(), tree.free.len()), (6, 0), "a free node is used again");
    for text in ["a/b/d", "a/b/+", "a/#"] {
        assert!(tree.remove(&filter(text)).is_some());
    }
    assert_eq!(tree.free.len(), 5, "all but the root");
    assert!(tree.is_empty());
}

#[test]
fn memory_follows_the_number_of_filters() {
    let mut tree = FilterTree::new();
    let names: Vec<TopicFilter> = (0..1000).map(|n| filter(&format!("{}/{n}/+", n % 7))).collect();
    for (n, name) in names.iter().enumerate() {
        tree.insert(name, n);
    }
    assert_eq!(tree.nodes.len(), 1 + 7 + 2 * 1000);
    for (n, name) in names.iter().enumerate().skip(100) {
        assert_eq!(tree.remove(name), Some(n));
        let used = tree.nodes.len() - tree.free.len();
        assert!(used <= 1 + 7 + 2 * tree.len());
        assert!(tree.nodes.len() <= 4 * used + 4, "{} of {used}", tree.nodes.len());
    }
    for (n, name) in names.iter().enumerate().take(100) {
        assert_eq!(tree.get(name), Some(&n), "moved");
        assert_eq!(tree.remove(name), Some(n));
    }
    assert!(tree.nodes.len() <= SLACK);
    tree.clear();
    assert_eq!(tree.nodes.capacity(), 0);
}

// class: 8
#[test]
fn the_most_levels_that_fit_are_only_long() {
    let deep = "/".repeat(65_535);
    let plus = ["+"; 32_768].join("/");
    let name = topic(&["a"; 32_768].join("/"));
    let below = format!("{}/#", ["a"; 32_767].join("/"));
    let mut tree = tree(&[&deep, &plus, &below, name.as_str()]);
    assert_eq!(tree.matches(&name).count(), 3);
    assert_eq!(tree.matches(&topic(&deep)).count(), 1);
    assert_eq!(tree.clone().matches(&name).count(), 3, "and a clone drops as well");
    assert!(tree.remove(&filter(&deep)).is_some());
    assert!(tree.remove(&filter(&plus)).is_some());
    assert_eq!(tree.matches(&name).count(), 2);
}

// class: 8
#[test]
fn many_filters_beside_the_topic_cost_nothing() {
    let mut tree = tree(&["room/7/+", "room/+/door", "#"]);
    for n in 0..1000 {
        tree.insert(&filter(&format!("room/{n}/window/#")), String::new());
        tree.insert(&filter(&format!("{n}/+/+/door")), String::new());
    }
    let name = topic("room/7/door");
    let mut matches = Matches::new(&tree, name.as_bytes());
    let mut nodes = 0;
    while matches.next.is_some() || !matches.later.is_empty() {
        nodes += 1;
        matches.step();
    }
    // The root, `room`, `room/7`, `room/7/+`, `room/+`, `room/+/door`.
    assert_eq!(nodes, 6);
}

#[test]
fn a_filter_does_not_pin_the_block_that_it_was_read_from() {
    let block = bytes::Bytes::from(vec![b'a'; 65_536]);
    let text = crate::Text::from_bytes(block.slice(..4)).unwrap();
    let mut tree = FilterTree::new();
    tree.insert(&TopicFilter::from_text(text).unwrap(), ());
    assert!(block.is_unique());
}

#[test]
fn prints_as_a_map() {
    assert_eq!(format!("{:?}", tree(&["a/+"])), r#"{"a/+": "a/+"}"#);
}
