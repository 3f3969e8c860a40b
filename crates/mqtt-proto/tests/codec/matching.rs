//! Which topics a filter matches: MQTT 5.0 section 4.7, and what `$share/name/` changes about it.

use mqtt_proto::{TopicFilter, TopicName};
use proptest::prelude::*;

use crate::hex::{filter, topic};

// The examples of sections 4.7.1 and 4.7.2, and some of our own.
// class: 8
#[test]
fn filters_and_topics() {
    for (wanted, yes, no) in [
        (
            "sport/tennis/player1/#",
            &[
                "sport/tennis/player1",
                "sport/tennis/player1/ranking",
                "sport/tennis/player1/score/w",
            ][..],
            &["sport/tennis", "sport/tennis/player", "sport/tennis/player10", "x/sport"][..],
        ),
        ("sport/#", &["sport", "sport/", "sport/a/b"], &["sports", "/sport"]),
        ("#", &["a", "/", "a/b", "/a", " "], &["$SYS", "$SYS/a", "$"]),
        ("/#", &["/", "/a", "/a/b", "/$SYS"], &["a", "a/b"]),
        (
            "sport/tennis/+",
            &["sport/tennis/player1", "sport/tennis/"],
            &["sport/tennis", "sport/tennis/player1/ranking"],
        ),
        ("sport/+", &["sport/"], &["sport"]),
        ("+", &["finance", "a b"], &["/finance", "a/", "$SYS"]),
        ("+/+", &["/finance", "a/b", "/"], &["finance", "a/b/c", "$SYS/a"]),
        ("/+", &["/finance", "/"], &["finance"]),
        ("+/monitor/Clients", &["a/monitor/Clients"], &["$SYS/monitor/Clients"]),
        ("$SYS/#", &["$SYS", "$SYS/a/b"], &["SYS", "a"]),
        ("$SYS/monitor/+", &["$SYS/monitor/Clients"], &["$SYS/monitor", "$SYS/monitor/a/b"]),
        ("a/+/b", &["a/x/b", "a//b"], &["a/b", "a/x/y/b", "a/x/B"]),
        ("+/+/#", &["a/b", "a/b/c/d", "//"], &["a", "$a/b"]),
        ("a//b", &["a//b"], &["a/b", "a/x/b"]),
        ("a/b", &["a/b"], &["a/b/", "/a/b", "A/b", "a", "a/b/c"]),
    ] {
        for share in ["", "$share/group/"] {
            let wanted = filter(&format!("{share}{wanted}"));
            for name in yes {
                assert!(wanted.matches(&topic(name)), "{wanted} has to match {name}");
            }
            for name in no {
                assert!(!wanted.matches(&topic(name)), "{wanted} may not match {name}");
            }
        }
    }
}

#[test]
fn parts_of_a_shared_subscription() {
    let shared = filter("$share/a b/$SYS/+");
    assert!(shared.is_shared() && shared.has_wildcards());
    assert_eq!((shared.share_name(), shared.filter()), (Some("a b"), "$SYS/+"));
    assert_eq!(shared.as_str(), "$share/a b/$SYS/+");
    for plain in ["$share", "$shared/a/b", "share/a/b", "/$share/a/b"] {
        let plain = filter(plain);
        assert!(!plain.is_shared() && !plain.has_wildcards(), "{plain}");
        assert_eq!((plain.share_name(), plain.filter()), (None, plain.as_str()));
    }
}

/// Follows the words of the standard, one level at a time.
fn naive(filter: &[&str], topic: &[&str]) -> bool {
    match (filter, topic) {
        (["#"], _) | ([], []) => true,
        ([], _) | (_, []) => false,
        ([level, filter @ ..], [name, topic @ ..]) => {
            (*level == "+" || level == name) && naive(filter, topic)
        }
    }
}

fn levels(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::collection::vec(proptest::sample::select(of), 1..6).prop_map(|all| all.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_matcher_agrees_with_a_naive_one(
        wanted in levels(&["", "a", "b", "+", "+", "#", "$a"]),
        name in levels(&["", "a", "b", "$a"]),
    ) {
        if let (Ok(wanted), Ok(name)) = (TopicFilter::new(wanted), TopicName::new(name)) {
            let (filter, topic): (Vec<_>, Vec<_>) =
                (wanted.as_str().split('/').collect(), name.as_str().split('/').collect());
            let hidden = topic[0].starts_with('$') && filter[0] != topic[0];
            prop_assert_eq!(wanted.matches(&name), !hidden && naive(&filter, &topic));
        }
    }
}
