//! Our client on mosquitto's broker.

use std::time::Duration;

use bytes::Bytes;
use mqtt_async::{Backoff, Config, Publish, QoS, TopicName, Version, Will};

use crate::process::{Mosquitto, Subscriber, installed, publish};
use crate::{ALL, VERSIONS, client, run};

fn config(version: Version, id: &str) -> Config {
    let mut config = Config::new(version).client_id(id).unwrap();
    let quick = Duration::from_millis(200);
    let mut backoff = Backoff::default();
    (backoff.first, backoff.max) = (quick, quick);
    config.reconnect = Some(backoff);
    config
}

/// A session that outlives its connections, and the process.
fn durable(version: Version, id: &str) -> Config {
    let mut config = config(version, id);
    config.session.connect.clean_start = false;
    if version.is_v5() {
        config.session.connect.session_expiry_interval = Some(3600);
    }
    config
}

#[test]
fn messages_of_each_qos_travel_both_ways() {
    if !installed() {
        return;
    }
    let mosquitto = Mosquitto::start();
    for (version, name) in VERSIONS {
        run(async {
            let (client, driver) = client(config(version, "both-ways"), mosquitto.port);
            let mut subscriber = Subscriber::start(mosquitto.port, name, "up/#", &[]);
            client.subscribe("down/#", QoS::ExactlyOnce).unwrap().await.unwrap();
            let mut messages = client.messages();
            for qos in ALL {
                let (up, down) = (format!("up/{}", qos as u8), format!("down/{}", qos as u8));
                client.publish(up.as_str(), "from us", qos).unwrap().await.unwrap();
                let received = subscriber.next();
                assert_eq!((received.topic, received.qos), (up, qos as u8));
                assert_eq!(received.payload, "from us");
                publish(mosquitto.port, name, &down, "from mosquitto", qos as u8, &[]);
                let message = messages.next().await.unwrap();
                assert_eq!((message.topic(), message.qos()), (down.as_str(), qos));
                assert_eq!(message.payload_bytes(), b"from mosquitto");
            }
            client.disconnect().await.unwrap();
            driver.await.unwrap();
        });
    }
}

#[test]
fn retained_messages_are_kept_and_cleared() {
    if !installed() {
        return;
    }
    let mosquitto = Mosquitto::start();
    for (version, name) in VERSIONS {
        run(async {
            let topic = TopicName::new(format!("kept/{name}")).unwrap();
            let (client, _driver) = client(config(version, "retained"), mosquitto.port);
            let retained = Publish::new(topic.clone(), "kept").qos(QoS::AtLeastOnce).retain(true);
            client.send(retained).unwrap().await.unwrap();
            let received = Subscriber::start(mosquitto.port, name, topic.as_str(), &[]).next();
            assert_eq!((received.payload.as_str(), received.retain), ("kept", true));
            publish(mosquitto.port, name, topic.as_str(), "theirs", 1, &["-r"]);
            client.subscribe(topic.as_str(), QoS::AtLeastOnce).unwrap().await.unwrap();
            let mut messages = client.messages();
            let message = messages.next().await.unwrap();
            assert_eq!((message.payload_bytes(), message.retain()), (&b"theirs"[..], true));
            let clear =
                Publish::new(topic.clone(), Bytes::new()).qos(QoS::AtLeastOnce).retain(true);
            client.send(clear).unwrap().await.unwrap();
            assert_eq!(messages.next().await.unwrap().payload_bytes(), b"");
            client.unsubscribe(topic.as_str()).unwrap().await.unwrap();
            client.subscribe(topic.as_str(), QoS::AtLeastOnce).unwrap().await.unwrap();
            client.publish(topic.as_str(), "live", QoS::AtLeastOnce).unwrap().await.unwrap();
            let message = messages.next().await.unwrap();
            assert_eq!((message.payload_bytes(), message.retain()), (&b"live"[..], false));
        });
    }
}

#[test]
fn the_will_is_published_when_the_client_breaks_off_and_not_when_it_leaves() {
    if !installed() {
        return;
    }
    let mosquitto = Mosquitto::start();
    for (version, name) in VERSIONS {
        run(async {
            let mut watcher = Subscriber::start(mosquitto.port, name, "will/#", &[]);
            for polite in [true, false] {
                let mut config = config(version, "mortal");
                let topic = TopicName::new("will/of-ours").unwrap();
                config.session.connect.will = Some(Will::new(topic, "gone").qos(QoS::AtLeastOnce));
                let (client, driver) = client(config, mosquitto.port);
                client.connected().await.unwrap();
                if polite {
                    client.disconnect().await.unwrap();
                    driver.await.unwrap();
                    // What follows it on the same connection shows that no will came between.
                    publish(mosquitto.port, name, "will/none", "left in peace", 1, &[]);
                    assert_eq!(watcher.next().payload, "left in peace");
                } else {
                    drop(driver);
                    let received = watcher.next();
                    assert_eq!(received.topic, "will/of-ours");
                    assert_eq!((received.payload.as_str(), received.qos), ("gone", 1));
                }
            }
        });
    }
}

#[test]
fn a_session_goes_on_over_a_restart_of_mosquitto() {
    if !installed() {
        return;
    }
    for (version, name) in VERSIONS {
        run(async {
            let mut mosquitto = Mosquitto::start();
            let (first, driver) = client(durable(version, "durable"), mosquitto.port);
            first.subscribe("queue/#", QoS::ExactlyOnce).unwrap().await.unwrap();
            first.disconnect().await.unwrap();
            driver.await.unwrap();
            for qos in [1, 2] {
                let topic = format!("queue/{qos}");
                publish(mosquitto.port, name, &topic, "while away", qos, &[]);
            }
            mosquitto.restart();
            let (second, _driver) = client(durable(version, "durable"), mosquitto.port);
            assert!(second.connected().await.unwrap().resumed);
            let mut messages = second.messages();
            for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
                let message = messages.next().await.unwrap();
                assert_eq!(message.topic(), format!("queue/{}", qos as u8));
                assert_eq!((message.payload_bytes(), message.qos()), (&b"while away"[..], qos));
            }
            // Now the server goes away under a client that is connected and goes on publishing: the
            // subscription is still there, and everything arrives once.
            let tokens: Vec<_> = (0..20)
                .map(|index| {
                    let qos = if index % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
                    second.publish("queue/own", format!("{index}"), qos).unwrap()
                })
                .collect();
            mosquitto.restart();
            let mut seen = std::collections::BTreeSet::new();
            while seen.len() < 20 {
                let message = messages.next().await.unwrap();
                if message.payload_bytes() == b"while away" {
                    // Our PUBACK did not reach it before it went away; PUBREC would have.
                    assert_eq!(message.qos(), QoS::AtLeastOnce);
                    continue;
                }
                let index: u32 = String::from_utf8_lossy(message.payload_bytes()).parse().unwrap();
                let again = !seen.insert(index);
                assert!(!again || message.qos() == QoS::AtLeastOnce, "{index} came twice");
            }
            for token in tokens {
                token.await.unwrap();
            }
            assert!(second.status().connected.is_none_or(|connected| connected.resumed));
        });
    }
}
