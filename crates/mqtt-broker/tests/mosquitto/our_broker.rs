//! mosquitto's clients on our broker.

use mqtt_broker::{Broker, BrokerConfig};

use crate::process::{Subscriber, installed, publish};
use crate::{ALL, VERSIONS};

/// The broker, in a thread of its own.
struct Running {
    broker: Broker,
    port: u16,
}

impl Running {
    fn start() -> Running {
        let (broker, driver) = Broker::new(BrokerConfig::default());
        let port = broker.listen("127.0.0.1:0").unwrap().port();
        std::thread::spawn(|| smol::block_on(driver));
        Running { broker, port }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.broker.shutdown();
    }
}

#[test]
fn messages_of_each_qos_pass() {
    if !installed() {
        return;
    }
    let running = Running::start();
    for (_, subscriber) in VERSIONS {
        for (_, publisher) in VERSIONS {
            let mut received = Subscriber::start(running.port, subscriber, "a/+", &[]);
            for qos in ALL {
                let topic = format!("a/{}", qos as u8);
                publish(running.port, publisher, &topic, "hello", qos as u8, &[]);
                let message = received.next();
                assert_eq!((message.topic, message.qos), (topic, qos as u8));
                assert_eq!((message.payload.as_str(), message.retain), ("hello", false));
            }
        }
    }
}

#[test]
fn retained_messages_are_kept_and_cleared() {
    if !installed() {
        return;
    }
    let running = Running::start();
    for (_, name) in VERSIONS {
        let topic = format!("kept/{name}");
        publish(running.port, name, &topic, "kept", 1, &["-r"]);
        let message = Subscriber::start(running.port, name, &topic, &[]).next();
        assert_eq!((message.payload.as_str(), message.retain), ("kept", true));
        publish(running.port, name, &topic, "", 1, &["-r"]);
        let mut after = Subscriber::start(running.port, name, &topic, &[]);
        publish(running.port, name, &topic, "live", 1, &[]);
        let message = after.next();
        assert_eq!((message.payload.as_str(), message.retain), ("live", false));
    }
}

#[test]
fn a_client_that_is_killed_leaves_its_will() {
    if !installed() {
        return;
    }
    let running = Running::start();
    for (_, name) in VERSIONS {
        let mut watcher = Subscriber::start(running.port, name, "will/#", &[]);
        let will = ["--will-topic", "will/theirs", "--will-payload", "gone", "--will-qos", "1"];
        let mortal = Subscriber::start(running.port, name, "x", &will);
        drop(mortal);
        let message = watcher.next();
        assert_eq!((message.topic.as_str(), message.payload.as_str()), ("will/theirs", "gone"));
        assert_eq!(message.qos, 1);
    }
}

#[test]
fn a_session_waits_for_its_client() {
    if !installed() {
        return;
    }
    let running = Running::start();
    for (_, name) in VERSIONS {
        // The client is killed, comes back with the same identifier, and finds what came meanwhile.
        let expiry: &[&str] = if name == "mqttv5" { &["-x", "3600"] } else { &[] };
        let more = [&["-c", "-i", name], expiry].concat();
        drop(Subscriber::start(running.port, name, "queue/#", &more));
        for qos in [1, 2] {
            publish(running.port, name, &format!("queue/{qos}"), "waiting", qos, &[]);
        }
        let mut back = Subscriber::start(running.port, name, "queue/#", &more);
        for qos in [1, 2] {
            let message = back.next();
            assert_eq!((message.topic, message.qos), (format!("queue/{qos}"), qos));
            assert_eq!(message.payload, "waiting");
        }
    }
}
