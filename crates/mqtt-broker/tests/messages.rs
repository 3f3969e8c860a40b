//! Messages from one client to others.

mod support;

use bytes::Bytes;
use mqtt_broker::BrokerConfig;
use mqtt_proto::{
    PublishFields, QoS, ReasonCode, Subscribe, Subscription, SubscriptionOptions, Text, TopicName,
};
use support::*;

// covers: v5 MQTT-3.8.4-8, v3 MQTT-3.8.4-6, v5 MQTT-3.3.2-3, v3 MQTT-3.3.2-3
// covers: v5 MQTT-3.8.4-7, v3 MQTT-3.8.4-5
#[test]
fn each_qos_is_the_lower_of_published_and_granted() {
    scenario_with(&ALL, BrokerConfig::default(), async |world| {
        let mut publisher = world.client("publisher").await;
        for granted in EACH_QOS {
            let mut subscriber = world.client("subscriber").await;
            let reason = subscriber.subscribe("a/b", granted).await;
            assert_eq!(reason.get(), granted as u8);
            for published in EACH_QOS {
                assert_eq!(publisher.send("a/b", "x", published).await, ReasonCode::SUCCESS);
                let got = subscriber.message().await;
                assert_eq!(got.qos, published.min(granted));
                assert_eq!((got.topic.as_str(), got.payload.as_str()), ("a/b", "x"));
                assert!(!got.retain && !got.packet.dup());
            }
            world.silent(&mut subscriber).await;
            subscriber.disconnect(ReasonCode::SUCCESS).await;
        }
    });
}

// covers: v5 MQTT-4.7.2-1, v3 MQTT-4.7.2-1, v5 X5-4.7.1-a, v3 X3-4.7.1-a
// covers: v5 X5-4.7.3-a, v3 X3-4.7.3-a, v5 MQTT-4.7.3-4, v3 MQTT-4.7.3-4
#[test]
fn wildcards_match_as_the_standard_says() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("sport/#", &["sport", "sport/", "sport/a/b"], &["sports", "Sport/a", "news/sport"]),
        ("sport/+", &["sport/", "sport/a"], &["sport", "sport/a/b"]),
        ("+", &["sport", "a b"], &["/finance", "$SYS"]),
        ("/+", &["/finance"], &["finance"]),
        ("+/+", &["/finance", "a/b"], &["$SYS/b", "a"]),
        ("#", &["a", "/", "a/b/c"], &["$SYS/monitor", "$x"]),
        ("$SYS/#", &["$SYS/monitor", "$SYS"], &["SYS/monitor"]),
        ("A\u{30A}", &["A\u{30A}"], &["\u{C5}"]),
    ];
    scenario(async |world| {
        let mut client = world.client("client").await;
        for (filter, matching, others) in cases {
            client.subscribe(filter, QoS::AtMostOnce).await;
            for topic in *others {
                client.send(topic, "no", QoS::AtLeastOnce).await;
            }
            for topic in *matching {
                client.send(topic, "yes", QoS::AtLeastOnce).await;
                let got = client.message().await;
                assert_eq!((got.topic.as_str(), got.payload.as_str()), (*topic, "yes"), "{filter}");
            }
            client.unsubscribe(filter).await;
            world.silent(&mut client).await;
        }
    });
}

// covers: v5 MQTT-3.3.4-2, v5 MQTT-3.3.4-3, v5 MQTT-3.3.4-4, v5 X5-3.3.4-f, v3 MQTT-3.3.5-1
#[test]
fn overlapping_subscriptions_give_one_copy() {
    scenario(async |world| {
        let mut client = world.client("client").await;
        let filters = [
            ("a/#", QoS::AtMostOnce, Some(7)),
            ("a/+", QoS::ExactlyOnce, Some(300)),
            ("a/b", QoS::AtLeastOnce, None),
            ("other", QoS::AtLeastOnce, Some(9)),
        ];
        for (text, qos, identifier) in filters {
            let mut subscribe = Subscribe::new(filter(text), qos);
            subscribe.subscription_identifier = identifier.filter(|_| world.version.is_v5());
            client.subscribe_all(subscribe).await;
        }
        client.send("a/b", "x", QoS::ExactlyOnce).await;
        let got = client.message().await;
        assert_eq!(got.qos, QoS::ExactlyOnce);
        let expected: &[u32] = if world.version.is_v5() { &[7, 300] } else { &[] };
        assert_eq!(got.identifiers(), expected);
        world.silent(&mut client).await;
    });
}

// covers: v5 MQTT-3.8.4-3, v3 MQTT-3.8.4-3
#[test]
fn the_same_filter_replaces_the_subscription() {
    scenario(async |world| {
        let mut client = world.client("client").await;
        client.subscribe("a", QoS::ExactlyOnce).await;
        client.subscribe("a", QoS::AtMostOnce).await;
        client.send("a", "x", QoS::ExactlyOnce).await;
        assert_eq!(client.message().await.qos, QoS::AtMostOnce);
        world.silent(&mut client).await;
        assert_eq!(world.broker.stats().subscriptions, 1);
    });
}

// covers: v5 MQTT-3.8.3-3
#[test]
fn no_local_leaves_out_the_own_messages() {
    scenario_with(&ALL[2..], BrokerConfig::default(), async |world| {
        let mut client = world.client("client").await;
        let options = SubscriptionOptions { no_local: true, ..QoS::AtLeastOnce.into() };
        client.subscribe("a", options).await;
        let reason = client.send("a", "mine", QoS::AtLeastOnce).await;
        assert_eq!(reason, ReasonCode::NO_MATCHING_SUBSCRIBERS);
        world.client("other").await.send("a", "theirs", QoS::AtLeastOnce).await;
        assert_eq!(client.message().await.payload, "theirs");
    });
}

// covers: v5 MQTT-3.3.1-12, v5 MQTT-3.3.1-13, v3 MQTT-3.3.1-9
#[test]
fn retain_is_passed_on_only_as_published() {
    scenario(async |world| {
        let mut client = world.client("client").await;
        for retain_as_published in [false, world.version.is_v5()] {
            let options = SubscriptionOptions { retain_as_published, ..QoS::AtLeastOnce.into() };
            client.subscribe("a", options).await;
            for retain in [false, true] {
                client.publish(message("a", "").retain(retain)).await;
                assert_eq!(client.message().await.retain, retain && retain_as_published);
            }
        }
    });
}

#[test]
fn the_answer_says_that_nobody_has_subscribed() {
    scenario(async |world| {
        let mut client = world.client("client").await;
        let nobody = if world.version.is_v5() {
            ReasonCode::NO_MATCHING_SUBSCRIBERS
        } else {
            ReasonCode::SUCCESS
        };
        assert_eq!(client.send("a", "x", QoS::AtLeastOnce).await, nobody);
        assert_eq!(client.send("a", "x", QoS::ExactlyOnce).await, nobody);
        client.subscribe("a", QoS::AtMostOnce).await;
        assert_eq!(client.send("a", "x", QoS::ExactlyOnce).await, ReasonCode::SUCCESS);
    });
}

// covers: v5 MQTT-3.3.2-4, v5 MQTT-3.3.2-15, v5 MQTT-3.3.2-16, v5 MQTT-3.3.2-17
// covers: v5 MQTT-3.3.2-18, v5 MQTT-3.3.2-20
#[test]
fn properties_are_passed_on() {
    scenario_with(&ALL[2..], BrokerConfig::default(), async |world| {
        let text = |text: &str| Text::new(text).unwrap();
        let fields = PublishFields {
            payload_format_indicator: Some(true),
            message_expiry_interval: Some(60),
            content_type: Some(text("text/plain")),
            response_topic: Some(TopicName::new("answers").unwrap()),
            correlation_data: Some(Bytes::from_static(b"\0\x01")),
            user_properties: vec![
                (text("b"), text("1")),
                (text("a"), text("2")),
                (text("b"), text("1")),
            ],
            ..PublishFields::default()
        };
        let mut publish = message("a", "x").qos(QoS::AtLeastOnce);
        publish.properties = fields.clone().into();
        let mut v5 = world.client("v5").await;
        v5.subscribe("a", QoS::AtLeastOnce).await;
        let mut old = world.clean("old");
        old.version = mqtt_proto::Version::V311;
        let mut old = world.connect(old).await;
        old.subscribe("a", QoS::AtLeastOnce).await;
        v5.publish(publish).await;
        let got = v5.message().await.packet.to_publish().unwrap();
        assert_eq!(got.properties.get(), Some(&fields));
        assert_eq!(old.message().await.payload, "x", "3.1.1 gets what it can have");
    });
}

// covers: v5 MQTT-4.6.0-5, v5 MQTT-4.6.0-6, v3 MQTT-4.6.0-5, v3 MQTT-4.6.0-6
#[test]
fn messages_stay_in_order() {
    scenario(async |world| {
        let mut publisher = world.client("publisher").await;
        let mut subscriber = world.client("subscriber").await;
        subscriber.subscribe("#", QoS::ExactlyOnce).await;
        for qos in EACH_QOS {
            let tokens: Vec<_> = (0..500)
                .map(|number| publisher.start(message("a", &number.to_string()).qos(qos)))
                .collect();
            publisher.flush().await.unwrap();
            let expected: Vec<_> = (0..500).map(|number| number.to_string()).collect();
            assert_eq!(subscriber.payloads(500).await, expected);
            for token in tokens {
                assert_eq!(publisher.outcome(token).await, ReasonCode::SUCCESS);
            }
        }
    });
}

// covers: v5 MQTT-3.8.4-5, v3 MQTT-3.8.4-4, v5 MQTT-3.10.4-1, v3 MQTT-3.10.4-1
// covers: v5 MQTT-3.10.4-2, v3 MQTT-3.10.4-2
#[test]
fn several_filters_in_one_packet() {
    scenario(async |world| {
        let mut client = world.client("client").await;
        let subscription =
            |text: &str, qos: QoS| Subscription { filter: filter(text), options: qos.into() };
        let reasons = client
            .subscribe_all(Subscribe {
                subscriptions: vec![
                    subscription("a", QoS::ExactlyOnce),
                    subscription("b", QoS::AtMostOnce),
                    subscription("a", QoS::AtLeastOnce),
                ],
                ..Subscribe::default()
            })
            .await;
        assert_eq!(reasons.iter().map(|reason| reason.get()).collect::<Vec<_>>(), [2, 0, 1]);
        client.send("a", "x", QoS::ExactlyOnce).await;
        assert_eq!(client.message().await.qos, QoS::AtLeastOnce, "the last one holds");

        let mut unsubscribe = mqtt_proto::Unsubscribe::new(filter("b"));
        unsubscribe.filters.extend([filter("b"), filter("+")]);
        client.session.unsubscribe(unsubscribe).unwrap();
        let reasons = client
            .wait(|event| match event {
                mqtt_proto::Event::Unsubscribed { ack, .. } => Some(ack.reasons.clone()),
                _ => None,
            })
            .await;
        let none = ReasonCode::NO_SUBSCRIPTION_EXISTED;
        let v5 = vec![ReasonCode::SUCCESS, none, none];
        assert_eq!(reasons, if world.version.is_v5() { v5 } else { vec![] });
        client.send("b", "x", QoS::AtLeastOnce).await;
        client.send("a", "still here", QoS::AtLeastOnce).await;
        assert_eq!(client.message().await.payload, "still here");
    });
}

// covers: v5 X5-4.8.2-a, v5 MQTT-4.8.2-3
#[test]
fn a_shared_subscription_takes_turns() {
    scenario(async |world| {
        let mut publisher = world.client("publisher").await;
        publisher.publish(message("a", "old").retain(true)).await;
        let mut one = world.client("one").await;
        let mut two = world.client("two").await;
        let mut alone = world.client("alone").await;
        one.subscribe("$share/g/a", QoS::AtLeastOnce).await;
        two.subscribe("$share/g/a", QoS::AtMostOnce).await;
        alone.subscribe("$share/h/+", QoS::AtLeastOnce).await;
        for number in 0..4 {
            publisher.send("a", &number.to_string(), QoS::ExactlyOnce).await;
        }
        let (first, second) = (one.message().await, two.message().await);
        assert_eq!((first.payload.as_str(), first.qos), ("0", QoS::AtLeastOnce));
        assert_eq!((second.payload.as_str(), second.qos), ("1", QoS::AtMostOnce));
        assert_eq!(one.message().await.payload, "2");
        assert_eq!(two.message().await.payload, "3");
        assert_eq!(
            alone.payloads(4).await,
            ["0", "1", "2", "3"],
            "the other group has its own turn"
        );
        one.disconnect(ReasonCode::SUCCESS).await;
        for number in 0..2 {
            publisher.send("a", &number.to_string(), QoS::AtLeastOnce).await;
        }
        assert_eq!(two.payloads(2).await, ["0", "1"], "who is gone has no turn");
    });
}

#[test]
fn a_member_that_does_not_keep_up_leaves_its_turns_to_the_others() {
    let mut config = BrokerConfig::default();
    config.session.bounds.messages = 4;
    scenario_with(&BOTH, config, async |world| {
        let mut slow = world.client("slow").await;
        slow.acks = false;
        slow.subscribe("$share/g/a", QoS::AtLeastOnce).await;
        let mut quick = world.client("quick").await;
        quick.subscribe("$share/g/a", QoS::AtLeastOnce).await;
        let mut publisher = world.client("publisher").await;
        let mut taken = 0;
        for number in 0..20 {
            publisher.send("a", &number.to_string(), QoS::AtLeastOnce).await;
            let waiting = world.broker.sessions();
            let quick_has = waiting.iter().find(|it| it.client_id.as_str() == "quick").unwrap();
            if quick_has.queued + quick_has.in_flight > 0 {
                quick.message().await;
                taken += 1;
            }
        }
        assert_eq!((taken, world.broker.stats().dropped_full), (17, 0));
        assert_eq!(slow.payloads(3).await, ["0", "2", "4"]);
    });
}

#[test]
fn what_is_switched_off_is_refused() {
    let mut config = BrokerConfig::default();
    config.session.shared_subscription_available = false;
    config.max_subscriptions = 2;
    config.max_filter_levels = 3;
    config.session.maximum_qos = QoS::AtLeastOnce;
    scenario_with(&BOTH, config, async |world| {
        let mut client = world.client("client").await;
        let v5 = world.version.is_v5();
        let quota = if v5 { ReasonCode::QUOTA_EXCEEDED } else { ReasonCode::UNSPECIFIED_ERROR };
        assert_eq!(client.subscribe("a/b/c/d", QoS::AtMostOnce).await, quota);
        assert_eq!(client.subscribe("a/b/c", QoS::ExactlyOnce).await, ReasonCode::GRANTED_QOS_1);
        assert_eq!(client.subscribe("b", QoS::AtMostOnce).await, ReasonCode::SUCCESS);
        assert_eq!(client.subscribe("c", QoS::AtMostOnce).await, quota);
        assert_eq!(client.subscribe("b", QoS::AtMostOnce).await, ReasonCode::SUCCESS);
        assert_eq!(world.broker.stats().subscriptions, 2);
        if v5 {
            assert_eq!(client.connack.shared_subscription_available, Some(false));
            assert_eq!(client.connack.maximum_qos, Some(QoS::AtLeastOnce));
        }
    });
}

#[test]
fn there_is_no_refusing_a_subscription_in_3_1() {
    let mut config = BrokerConfig::default();
    config.max_filter_levels = 3;
    scenario_with(&ALL[..1], config, async |world| {
        let mut client = world.client("client").await;
        let granted = [ReasonCode::SUCCESS, ReasonCode::GRANTED_QOS_1, ReasonCode::GRANTED_QOS_2];
        for (qos, granted) in EACH_QOS.into_iter().zip(granted) {
            assert_eq!(client.subscribe("a/b/c/d", qos).await, granted);
        }
        assert_eq!(world.broker.stats().subscriptions, 0);
    });
}

#[test]
fn the_broker_itself_publishes() {
    scenario(async |world| {
        assert_eq!(world.broker.publish(&message("a", "nobody")), 0);
        let mut one = world.client("one").await;
        let mut two = world.client("two").await;
        one.subscribe("a", QoS::AtLeastOnce).await;
        two.subscribe("+", QoS::AtMostOnce).await;
        let mut both = message("a", "both").qos(QoS::ExactlyOnce);
        both.properties.edit().subscription_identifiers = vec![1];
        both.properties.edit().topic_alias = Some(60_000);
        assert_eq!(world.broker.publish(&both), 2);
        let got = one.message().await;
        assert_eq!((got.qos, got.identifiers()), (QoS::AtLeastOnce, vec![]));
        assert_eq!(two.message().await.payload, "both");
        let stats = world.broker.stats();
        assert_eq!((stats.messages_in, stats.messages_out), (2, 2));
    });
}
