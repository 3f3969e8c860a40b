//! What an application sees of a broker and does to it, and what the broker tells about itself.

mod support;

use std::time::Duration;

use mqtt_broker::BrokerConfig;
use mqtt_proto::{ClientConfig, CloseReason, QoS, ReasonCode, Text, TopicName, Version};
use support::*;

#[test]
fn sessions_and_retained_messages_can_be_listed() {
    scenario(async |world| {
        let mut away = world.connect(world.lasting("away")).await;
        away.subscribe("a/#", QoS::AtLeastOnce).await;
        away.disconnect(ReasonCode::SUCCESS).await;
        let mut here = world.client("here").await;
        for number in 0..3 {
            here.publish(message("a/b", &number.to_string()).qos(QoS::AtLeastOnce)).await;
        }
        let sessions = world.broker.sessions();
        let names: Vec<_> = sessions.iter().map(|it| it.client_id.as_str()).collect();
        assert_eq!(names, ["away", "here"]);
        assert!(!sessions[0].connected && sessions[1].connected);
        assert_eq!(sessions[0].subscriptions, [filter("a/#")]);
        assert_eq!((sessions[0].queued, sessions[0].in_flight), (3, 0));
        assert!(sessions[0].held_bytes > 0);
        assert_eq!(sessions[1].version, world.version);

        for topic in ["r/1", "r/2", "s"] {
            here.publish(message(topic, topic).qos(QoS::AtLeastOnce).retain(true)).await;
        }
        let retained = world.broker.retained(&filter("r/+"));
        let payloads: Vec<_> = retained.iter().map(|it| &it.payload[..]).collect();
        assert_eq!(payloads, [&b"r/1"[..], b"r/2"]);
    });
}

#[test]
fn a_client_can_be_cut_off() {
    scenario(async |world| {
        let v5 = world.version.is_v5();
        let mut config = world.lasting("nuisance");
        config.connect.will = Some(will("will"));
        let mut reader = world.client("reader").await;
        reader.subscribe("will", QoS::AtMostOnce).await;
        assert!(!world.broker.disconnect("nuisance", ReasonCode::ADMINISTRATIVE_ACTION));
        let mut nuisance = world.connect(config.clone()).await;
        assert!(world.broker.disconnect("nuisance", ReasonCode::ADMINISTRATIVE_ACTION));
        let reason = nuisance.disconnected().await;
        assert_eq!(reason, v5.then_some(ReasonCode::ADMINISTRATIVE_ACTION));
        assert_eq!(reader.message().await.payload, "gone");
        assert_eq!(world.broker.sessions().len(), 2, "the session stays");

        let mut nuisance = world.connect(config.clone()).await;
        assert!(nuisance.resumed);
        assert!(world.broker.remove_session("nuisance"));
        assert_eq!(nuisance.disconnected().await, reason);
        assert_eq!(reader.message().await.payload, "gone");
        assert_eq!(world.broker.sessions().len(), 1);
        assert!(!world.broker.remove_session("nuisance"));
        assert!(!world.connect(config).await.resumed);
    });
}

#[test]
fn it_tells_about_itself() {
    let mut config = BrokerConfig::default();
    config.sys_interval = Some(Duration::from_secs(10));
    scenario_with(&BOTH, config, async |world| {
        let mut reader = world.client("reader").await;
        reader.subscribe("$SYS/broker/uptime", QoS::AtMostOnce).await;
        reader.subscribe("$SYS/broker/clients/#", QoS::AtMostOnce).await;
        let mut got = Vec::new();
        for _ in 0..3 {
            let message = reader.message().await;
            got.push((message.topic, message.payload, message.retain));
        }
        let text = |topic: &str, payload: &str, retain| {
            (format!("$SYS/broker/{topic}"), payload.to_owned(), retain)
        };
        let told = [
            text("uptime", "0 seconds", true),
            text("clients/connected", "0", true),
            text("clients/total", "0", true),
        ];
        assert_eq!(got, told);
        world.time.advance(Duration::from_secs(10));
        let mut got = Vec::new();
        for _ in 0..3 {
            let message = reader.message().await;
            got.push((message.topic, message.payload, message.retain));
        }
        let told = [
            text("uptime", "10 seconds", false),
            text("clients/connected", "1", false),
            text("clients/total", "1", false),
        ];
        assert_eq!(got, told);
        world.time.advance(Duration::from_secs(10));
        assert_eq!(reader.message().await.payload, "20 seconds");
        world.silent(&mut reader).await;

        let refused = match world.version {
            Version::V5 => ReasonCode::NOT_AUTHORIZED,
            _ => ReasonCode::SUCCESS,
        };
        assert_eq!(reader.send("$SYS/broker/uptime", "lies", QoS::AtLeastOnce).await, refused);
        world.until(|stats| stats.not_authorized == 1).await;
        world.silent(&mut reader).await;
    });
}

#[test]
fn nobody_leaves_a_will_that_the_broker_would_tell() {
    let mut config = BrokerConfig::default();
    config.sys_interval = Some(Duration::from_secs(10));
    scenario_with(&BOTH, config, async |world| {
        for (topic, refused) in
            [("$SYS/broker/uptime", Some(ReasonCode::NOT_AUTHORIZED)), ("$own/uptime", None)]
        {
            let mut config = world.clean("client");
            config.connect.will = Some(will(topic).retain(true));
            assert_eq!(refusal(&world, config).await, refused, "{topic}");
            world.until(|stats| stats.connections == 0).await;
        }
        assert_eq!(world.broker.retained(&filter("$own/uptime"))[0].payload, "gone");
        assert_eq!(world.broker.retained(&filter("$SYS/broker/uptime"))[0].payload, "0 seconds");
    });
}

/// Connects for a moment, and returns why that was refused if it was.
async fn refusal(world: &World, config: ClientConfig) -> Option<ReasonCode> {
    let mut peer = Peer::new(config, world.pipe());
    match peer.handshake().await {
        Ok(()) => None,
        Err(CloseReason::Refused(connack)) => Some(connack.reason),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn no_more_clients_connect_in_a_second_than_may() {
    let mut config = BrokerConfig::default();
    config.max_connect_rate = Some(2);
    scenario_with(&BOTH, config, async |world| {
        let refused = async |id: &str| refusal(&world, world.clean(id)).await;
        let reason = match world.version {
            Version::V5 => ReasonCode::CONNECTION_RATE_EXCEEDED,
            _ => ReasonCode::SERVER_UNAVAILABLE,
        };
        assert_eq!(refused("a").await, None);
        assert_eq!(refused("b").await, None);
        assert_eq!(refused("c").await, Some(reason));
        world.time.advance(Duration::from_millis(500));
        assert_eq!(refused("c").await, None);
        assert_eq!(refused("d").await, Some(reason));
    });
}

// covers: v5 MQTT-3.1.2-28
#[test]
fn response_information_is_one_of_its_own_for_each_client() {
    let (world, driver) = World::new(Version::V5, BrokerConfig::default());
    guard(world.run(driver, async {
        let ask = async |id: &str, asks: Option<bool>| {
            let mut config = world.clean(id);
            config.connect.request_response_information = asks;
            world.connect(config).await.connack.response_information
        };
        let a = ask("a", Some(true)).await.unwrap();
        let b = ask("b", Some(true)).await.unwrap();
        assert!(a.as_str().starts_with("response/") && a != b);
        assert_eq!(ask("a", Some(true)).await, Some(a.clone()), "the same for the same client");
        assert!(TopicName::new(a.as_str()).is_ok());
        assert_eq!(ask("a", None).await, None);
        assert_eq!(ask("a", Some(false)).await, None);
    }));
    let mut config = BrokerConfig::default();
    config.response_topics = None;
    let (world, driver) = World::new(Version::V5, config);
    guard(world.run(driver, async {
        let mut config = world.clean("a");
        config.connect.request_response_information = Some(true);
        assert_eq!(world.connect(config).await.connack.response_information, None::<Text>);
    }));
}

#[test]
fn a_flood_of_qos_0_leaves_room_in_a_queue() {
    let mut config = BrokerConfig::default();
    config.session.bounds.messages = 10;
    scenario_with(&BOTH, config, async |world| {
        let mut deaf = world.client("deaf").await;
        deaf.subscribe("#", QoS::AtLeastOnce).await;
        for _ in 0..100 {
            world.broker.publish(&message("flood", "x"));
        }
        let dropped = world.broker.stats().dropped_full;
        assert_eq!(dropped, 94, "more than half of the queue is taken by it");
        for number in 0..4 {
            world.broker.publish(&message("a", &number.to_string()).qos(QoS::AtLeastOnce));
        }
        assert_eq!(world.broker.stats().dropped_full, dropped, "this was kept");
        let payloads = deaf.payloads(10).await;
        assert_eq!(payloads[6..], ["0", "1", "2", "3"]);
    });
}
