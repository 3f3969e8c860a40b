//! Retained messages.

mod support;

use std::time::Duration;

use mqtt_broker::BrokerConfig;
use mqtt_proto::{QoS, ReasonCode, RetainHandling, Subscribe, SubscriptionOptions};
use support::*;

// covers: v5 MQTT-3.3.1-5, v5 MQTT-3.3.1-6, v5 MQTT-3.3.1-7, v5 MQTT-3.3.1-8, v5 MQTT-3.3.1-9
// covers: v3 MQTT-3.3.1-5, v3 MQTT-3.3.1-6, v3 MQTT-3.3.1-7, v3 MQTT-3.3.1-8, v3 MQTT-3.3.1-10
// covers: v3 MQTT-3.3.1-11, v3 MQTT-3.3.1-12, v3 MQTT-3.1.2-7
#[test]
fn set_replace_and_clear() {
    scenario(async |world| {
        let mut publisher = world.client("publisher").await;
        let retained = |payload: &str| message("a/b", payload).qos(QoS::AtLeastOnce).retain(true);
        publisher.publish(retained("1")).await;
        publisher.publish(retained("2")).await;
        publisher.publish(message("a/c", "3").retain(true)).await;
        publisher.send("a/b", "not retained", QoS::AtLeastOnce).await;
        publisher.disconnect(ReasonCode::SUCCESS).await;
        for filter in ["a/b", "a/+", "#"] {
            let mut subscriber = world.client("subscriber").await;
            subscriber.subscribe(filter, QoS::ExactlyOnce).await;
            let got = subscriber.message().await;
            assert_eq!((got.payload.as_str(), got.retain, got.qos), ("2", true, QoS::AtLeastOnce));
            if filter != "a/b" {
                assert_eq!(subscriber.message().await.payload, "3");
            }
            world.silent(&mut subscriber).await;
        }
        let mut subscriber = world.client("subscriber").await;
        subscriber.subscribe("a/b", QoS::AtMostOnce).await;
        assert_eq!(subscriber.message().await.qos, QoS::AtMostOnce, "what was granted");
        subscriber.publish(retained("")).await;
        let got = subscriber.message().await;
        assert_eq!((got.payload.as_str(), got.retain), ("", false), "passed on as any other");
        assert_eq!(world.broker.stats().retained_messages, 1);
        subscriber.subscribe("a/b", QoS::AtMostOnce).await;
        world.silent(&mut subscriber).await;
    });
}

// covers: v5 MQTT-3.8.4-4, v3 MQTT-3.8.4-3
#[test]
fn subscribing_again_sends_them_again() {
    scenario(async |world| {
        world.broker.publish(&message("a", "x").retain(true));
        let mut client = world.client("client").await;
        for _ in 0..2 {
            client.subscribe("a", QoS::AtMostOnce).await;
            assert_eq!(client.message().await.payload, "x");
        }
        world.silent(&mut client).await;
    });
}

// covers: v5 MQTT-3.3.1-9, v5 MQTT-3.3.1-10, v5 MQTT-3.3.1-11
#[test]
fn retain_handling() {
    scenario_with(&ALL[2..], BrokerConfig::default(), async |world| {
        world.broker.publish(&message("a", "x").retain(true));
        let mut client = world.client("client").await;
        let options = |retain_handling| SubscriptionOptions {
            retain_handling,
            ..SubscriptionOptions::default()
        };
        client.subscribe("a", options(RetainHandling::DoNotSend)).await;
        client.subscribe("a", options(RetainHandling::SendIfNew)).await;
        world.silent(&mut client).await;
        client.unsubscribe("a").await;
        client.subscribe("a", options(RetainHandling::SendIfNew)).await;
        assert!(client.message().await.retain);
        client.subscribe("a", options(RetainHandling::Send)).await;
        assert!(client.message().await.retain);
        world.silent(&mut client).await;
    });
}

#[test]
fn the_identifier_of_the_new_subscription_only() {
    scenario_with(&ALL[2..], BrokerConfig::default(), async |world| {
        world.broker.publish(&message("a", "x").retain(true));
        let mut client = world.client("client").await;
        for (text, identifier) in [("a", 1), ("+", 2)] {
            let mut subscribe = Subscribe::new(filter(text), QoS::AtMostOnce);
            subscribe.subscription_identifier = Some(identifier);
            client.subscribe_all(subscribe).await;
            assert_eq!(client.message().await.identifiers(), [identifier]);
        }
    });
}

// covers: v5 X5-4.8.2-a
#[test]
fn none_for_a_shared_subscription() {
    scenario(async |world| {
        world.broker.publish(&message("a", "x").retain(true));
        let mut client = world.client("client").await;
        client.subscribe("$share/g/a", QoS::AtMostOnce).await;
        world.silent(&mut client).await;
    });
}

// covers: v5 MQTT-3.3.2-5, v5 MQTT-3.3.2-6
#[test]
fn they_expire() {
    scenario(async |world| {
        let mut short = message("a", "short").retain(true);
        short.properties.edit().message_expiry_interval = Some(10);
        world.broker.publish(&short);
        world.broker.publish(&message("b", "long").retain(true));
        world.time.advance(Duration::from_secs(4));
        let mut client = world.client("client").await;
        client.subscribe("a", QoS::AtMostOnce).await;
        let publish = client.message().await.packet.to_publish().unwrap();
        let left = publish.properties.get().and_then(|fields| fields.message_expiry_interval);
        assert_eq!(left, world.version.is_v5().then_some(6));
        world.time.advance(Duration::from_secs(6));
        world.until(|stats| stats.retained_messages == 1).await;
        client.subscribe("#", QoS::AtMostOnce).await;
        assert_eq!(client.message().await.topic, "b");
        world.silent(&mut client).await;
    });
}

#[test]
fn more_than_the_queue_holds() {
    let mut config = BrokerConfig::default();
    config.session.bounds.messages = 10;
    config.session.max_in_flight = 4;
    scenario_with(&BOTH, config, async |world| {
        for number in 0..500 {
            let message = message(&format!("a/{number:03}"), "old");
            world.broker.publish(&message.qos(QoS::AtLeastOnce).retain(true));
        }
        let mut client = world.client("client").await;
        client.acks = false;
        client.subscribe("a/#", QoS::AtLeastOnce).await;
        let mut waiting = vec![client.message().await];
        // What changes meanwhile is not sent as it was.
        world.broker.publish(&message("a/400", "new").retain(true));
        world.broker.publish(&message("a/401", "").retain(true));
        let dropped = world.broker.stats().dropped_full;
        assert_eq!(dropped, 2, "the queue is full");
        client.acks = true;
        client.session.ack(waiting[0].ack.unwrap(), ReasonCode::SUCCESS);
        for _ in 1..499 {
            waiting.push(client.message().await);
        }
        for (number, got) in (0..500).filter(|number| *number != 401).zip(&waiting) {
            let payload = if number == 400 { "new" } else { "old" };
            let expected = (format!("a/{number:03}"), payload, true);
            assert_eq!((got.topic.clone(), got.payload.as_str(), got.retain), expected);
        }
        world.silent(&mut client).await;
        assert_eq!(world.broker.stats().dropped_full, dropped);
    });
}

#[test]
fn those_of_qos_0_wait_for_room_as_well() {
    let mut config = BrokerConfig::default();
    config.session.bounds.messages = 10;
    scenario_with(&BOTH, config, async |world| {
        let topics: Vec<_> = (0..100).map(|number| format!("a/{number:03}")).collect();
        for topic in &topics {
            world.broker.publish(&message(topic, "x").retain(true));
        }
        let mut client = world.client("client").await;
        client.subscribe("a/#", QoS::AtLeastOnce).await;
        for topic in topics {
            assert_eq!(client.message().await.topic, topic);
        }
        world.silent(&mut client).await;
        assert_eq!(world.broker.stats().dropped_full, 0);
    });
}

#[test]
fn there_is_a_bound() {
    let mut config = BrokerConfig::default();
    config.max_retained_messages = 10;
    scenario_with(&BOTH, config, async |world| {
        let mut client = world.client("client").await;
        client.subscribe("#", QoS::AtMostOnce).await;
        for number in 0..20 {
            client.publish(message(&format!("a/{number}"), "x").retain(true)).await;
            client.message().await;
        }
        let stats = world.broker.stats();
        assert_eq!((stats.retained_messages, stats.retained_refused), (10, 10));
    });
}
