//! Topic aliases that this side gives out, by hand and automatically.

use mqtt_proto::{
    EncodeError, Packet, Publish, PublishError, QoS, ServerConfig, TopicAliases, Version,
};

use crate::pair::{CHUNKS, Pair, durable, message};

fn pair(mode: TopicAliases, server_takes: u16, chunk: usize) -> Pair {
    let mut config = durable(Version::V5);
    config.topic_aliases = mode;
    let server = ServerConfig { topic_alias_maximum: server_takes, ..ServerConfig::default() };
    let mut pair = Pair::with_server(config, server);
    pair.chunk = chunk;
    pair.open();
    pair.settle();
    pair.sent_by_client();
    pair
}

/// Returns the wire's topic and alias of each PUBLISH that the client sent.
fn sent(pair: &mut Pair) -> Vec<(String, Option<u16>)> {
    let packets = pair.sent_by_client();
    let publishes = packets.iter().filter_map(|packet| match packet {
        Packet::Publish(publish) => Some((publish.topic().to_owned(), publish.topic_alias())),
        _ => None,
    });
    publishes.collect()
}

fn topics(pair: &Pair) -> Vec<String> {
    pair.server_messages.iter().map(|message| message.publish.topic().to_owned()).collect()
}

fn aliased(name: &str, alias: u16, qos: QoS) -> Publish {
    let mut publish = message(name, "x", qos);
    publish.properties.edit().topic_alias = Some(alias);
    publish
}

// covers: v5 MQTT-3.2.2-17, v5 MQTT-3.3.2-9, v5 MQTT-3.3.2-12, v5 X5-3.3.4-c
// class: 31
#[test]
fn automatic_aliases_are_reused_and_the_least_recently_used_one_is_given_away() {
    for chunk in CHUNKS {
        let mut pair = pair(TopicAliases::Automatic { maximum: 100 }, 2, chunk);
        let names = ["topic/a", "topic/b", "topic/a", "topic/c", "topic/b", "topic/a", "abc"];
        for name in names {
            pair.client.publish(message(name, "x", QoS::AtMostOnce), pair.now).unwrap();
        }
        pair.settle();
        let wire = |name: &str, alias| (name.to_owned(), alias);
        assert_eq!(
            sent(&mut pair),
            [
                wire("topic/a", Some(1)),
                wire("topic/b", Some(2)),
                wire("", Some(1)),
                wire("topic/c", Some(2)),
                wire("topic/b", Some(1)),
                wire("topic/a", Some(2)),
                wire("abc", None),
            ]
        );
        assert_eq!(topics(&pair), names);
    }
}

// covers: v5 MQTT-3.2.2-18, v5 MQTT-3.3.2-7, v5 MQTT-3.3.2-8
// class: 31
#[test]
fn aliases_end_with_the_connection_and_resends_have_the_full_topic() {
    for mode in [TopicAliases::Automatic { maximum: 8 }, TopicAliases::Manual] {
        let mut pair = pair(mode, 16, 1);
        let publish = |pair: &mut Pair, qos| {
            let publish = match mode {
                TopicAliases::Manual => aliased("topic/a", 3, qos),
                _ => message("topic/a", "x", qos),
            };
            pair.client.publish(publish, pair.now).unwrap();
        };
        publish(&mut pair, QoS::AtMostOnce);
        pair.settle();
        publish(&mut pair, QoS::AtLeastOnce);
        pair.server_acks = false;
        pair.settle();
        let alias = if mode == TopicAliases::Manual { 3 } else { 1 };
        let (full, short) = (("topic/a".to_owned(), Some(alias)), (String::new(), Some(alias)));
        assert_eq!(sent(&mut pair), [full.clone(), short.clone()]);
        pair.server_acks = true;
        pair.reconnect();
        publish(&mut pair, QoS::AtMostOnce);
        publish(&mut pair, QoS::AtMostOnce);
        pair.settle();
        let resent = ("topic/a".to_owned(), None);
        assert_eq!(sent(&mut pair), [resent, full, short], "{mode:?}");
        assert!(topics(&pair).iter().all(|topic| topic == "topic/a"));
    }
}

#[test]
fn a_peer_that_takes_no_alias_gets_none() {
    let mut pair = pair(TopicAliases::Automatic { maximum: 8 }, 0, 1);
    for _ in 0..2 {
        pair.client.publish(message("topic/a", "x", QoS::AtMostOnce), pair.now).unwrap();
    }
    pair.settle();
    assert_eq!(sent(&mut pair), vec![("topic/a".to_owned(), None); 2]);
}

#[test]
fn an_alias_that_may_not_be_is_refused() {
    let mut pair = pair(TopicAliases::Manual, 4, 1);
    let error = pair.client.publish(aliased("a", 5, QoS::AtMostOnce), pair.now).unwrap_err();
    assert!(matches!(error, PublishError::NotSupported(what) if what.contains("Maximum")));
    let error = pair.client.publish(aliased("a", 0, QoS::AtMostOnce), pair.now).unwrap_err();
    assert!(matches!(error, PublishError::Invalid(EncodeError::Invalid { .. })));
    pair.client.publish(aliased("a", 4, QoS::AtMostOnce), pair.now).unwrap();
    let automatic = TopicAliases::Automatic { maximum: 1 };
    let mut pair = self::pair(automatic, 4, 1);
    let error = pair.client.publish(aliased("a", 1, QoS::AtMostOnce), pair.now).unwrap_err();
    assert!(matches!(error, PublishError::NotSupported(_)));
}

// class: 15, 31
#[test]
fn a_message_that_is_not_sent_leaves_no_mapping() {
    let mut config = durable(Version::V5);
    config.topic_aliases = TopicAliases::Automatic { maximum: 8 };
    let server = ServerConfig { maximum_packet_size: 60, ..ServerConfig::default() };
    let mut pair = Pair::with_server(config, server);
    let long = "x".repeat(100);
    let too_large = pair.client.publish(message("topic/a", &long, QoS::AtMostOnce), pair.now);
    pair.client.publish(message("topic/a", "x", QoS::AtMostOnce), pair.now).unwrap();
    pair.open();
    pair.settle();
    assert!(matches!(
        pair.outcome(too_large.unwrap()),
        mqtt_proto::Event::Failed { error: mqtt_proto::Failure::TooLarge { limit: 60, .. }, .. }
    ));
    assert_eq!(sent(&mut pair), [("topic/a".to_owned(), Some(1))]);
    assert_eq!(topics(&pair), ["topic/a"]);
}

// covers: v5 MQTT-3.1.2-26, v5 MQTT-3.1.2-27, v5 MQTT-3.3.2-11, v5 X5-3.3.2-e
#[test]
fn a_server_gives_out_aliases_that_its_client_takes() {
    for takes in [0, 1] {
        let mut config = durable(Version::V5);
        config.connect.topic_alias_maximum = (takes > 0).then_some(takes);
        let automatic = TopicAliases::Automatic { maximum: 9 };
        let server = ServerConfig { topic_aliases: automatic, ..ServerConfig::default() };
        let mut pair = Pair::with_server(config, server);
        pair.open();
        pair.settle();
        pair.sent_by_server();
        for name in ["topic/a", "topic/a", "topic/b"] {
            pair.server.publish(message(name, "x", QoS::AtMostOnce), pair.now).unwrap();
        }
        pair.settle();
        let packets = pair.sent_by_server();
        let aliases: Vec<Option<u16>> = packets
            .iter()
            .filter_map(|packet| match packet {
                Packet::Publish(publish) => Some(publish.topic_alias()),
                _ => None,
            })
            .collect();
        let expected = if takes == 0 { None } else { Some(1) };
        assert_eq!(aliases, [expected; 3]);
        let topics: Vec<_> = pair.client_messages.iter().map(|m| m.publish.topic()).collect();
        assert_eq!(topics, ["topic/a", "topic/a", "topic/b"]);
    }
}
