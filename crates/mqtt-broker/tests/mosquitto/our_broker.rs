//! mosquitto's clients on our broker.

use mqtt_broker::{Broker, BrokerConfig, Layers, TlsIdentity};

use crate::ALL;
use crate::certificates::{Authority, Valid};
use crate::process::{Subscriber, installed, publish, run};

/// The versions that its clients know by these names.
const VERSIONS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv5"];

/// The broker, in a thread of its own.
struct Running {
    broker: Broker,
    port: u16,
}

impl Running {
    fn start() -> Running {
        Running::behind(Layers::new())
    }

    fn behind(layers: Layers) -> Running {
        let (broker, driver) = Broker::new(BrokerConfig::default());
        let port = broker.listen_with("127.0.0.1:0", layers).unwrap().port();
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
    for subscriber in VERSIONS {
        for publisher in VERSIONS {
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
    for name in VERSIONS {
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
    for name in VERSIONS {
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
    for name in VERSIONS {
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

#[test]
fn a_large_message_passes() {
    if !installed() {
        return;
    }
    let running = Running::start();
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("large-{}", std::process::id()));
    let large = "0123456789".repeat(90_000);
    std::fs::write(&path, &large).unwrap();
    for name in VERSIONS {
        let mut received = Subscriber::start(running.port, name, "large", &[]);
        for qos in ["0", "1", "2"] {
            let args = ["-t", "large", "-q", qos, "-f", path.to_str().unwrap()];
            run("mosquitto_pub", running.port, name, &args);
            let message = received.next();
            assert!(message.payload == large, "{name}: {} bytes", message.payload.len());
        }
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn members_of_a_group_take_turns() {
    if !installed() {
        return;
    }
    let running = Running::start();
    // mosquitto's clients of 3.x may ask for it as well, and so ours get it.
    for name in VERSIONS {
        let mut members =
            [(); 2].map(|()| Subscriber::start(running.port, name, "$share/g/work/+", &[]));
        for number in 0..10 {
            publish(running.port, name, "work/x", &number.to_string(), 1, &[]);
        }
        for (at, member) in members.iter_mut().enumerate() {
            let got: Vec<usize> = (0..5).map(|_| member.next().payload.parse().unwrap()).collect();
            assert_eq!(got, (0..5).map(|turn| 2 * turn + at).collect::<Vec<_>>(), "{name}");
        }
    }
}

#[test]
fn properties_and_aliases_pass() {
    if !installed() {
        return;
    }
    let running = Running::start();
    let mut received = Subscriber::start(running.port, "mqttv5", "props", &[]);
    let properties = [
        ["-D", "publish", "user-property", "one", "1"],
        ["-D", "publish", "user-property", "two", "2"],
    ]
    .concat();
    publish(running.port, "mqttv5", "props", "x", 1, &properties);
    let message = received.next();
    assert_eq!((message.properties.as_str(), message.payload.as_str()), ("one:1 two:2", "x"));
    // Repeated over one connection, all but the first without a topic.
    let alias = ["-D", "publish", "topic-alias", "1", "--repeat", "3"];
    publish(running.port, "mqttv5", "props", "aliased", 1, &alias);
    for _ in 0..3 {
        let message = received.next();
        assert_eq!((message.topic.as_str(), message.payload.as_str()), ("props", "aliased"));
    }
}

#[test]
fn a_request_has_its_response() {
    if !installed() {
        return;
    }
    let running = Running::start();
    // mosquitto_rr of 3.1.1 has no Response Topic to send: both sides know it.
    for name in &VERSIONS[1..] {
        let port = running.port;
        let mut responder = Subscriber::start(port, name, "ask", &[]);
        let asked = std::thread::spawn(move || {
            let args = ["-t", "ask", "-m", "?", "-e", "answer/here", "-q", "1", "-W", "20"];
            run("mosquitto_rr", port, name, &args)
        });
        assert_eq!(responder.next().payload, "?");
        publish(port, name, "answer/here", "!", 1, &[]);
        assert_eq!(asked.join().unwrap(), "!\n");
    }
}

#[test]
fn its_clients_hear_that_the_broker_stops() {
    if !installed() {
        return;
    }
    for name in VERSIONS {
        let running = Running::start();
        let mut received = Subscriber::start(running.port, name, "a", &[]);
        // Not QoS 2: the broker does not wait for the second half of that.
        publish(running.port, name, "a", "the last one", 1, &[]);
        running.broker.shutdown();
        assert_eq!(received.next().payload, "the last one");
        if name == "mqttv5" {
            received.told("DISCONNECT (139)");
        }
    }
}

#[test]
fn its_clients_come_over_tls_and_show_a_certificate() {
    if !installed() {
        return;
    }
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("over-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let authority = Authority::new("test authority");
    let server = authority.sign(&["127.0.0.1"], "the broker", Valid::Now);
    let client = authority.sign(&[], "a client", Valid::Now);
    let identity = TlsIdentity::pem(server.certificate.as_bytes(), server.key.as_bytes()).unwrap();
    let mutual = identity.client_ca(authority.certificate.as_bytes()).unwrap();
    let running = Running::behind(Layers::new().tls(mutual.build().unwrap()));
    let ca = write("ca.pem", &authority.certificate);
    let (cert, key) = (write("client.pem", &client.certificate), write("client.key", &client.key));
    let tls = ["--cafile", &ca, "--cert", &cert, "--key", &key];
    for name in VERSIONS {
        let mut received = Subscriber::start(running.port, name, "a", &tls);
        publish(running.port, name, "a", "hello", 2, &tls);
        assert_eq!(received.next().payload, "hello");
    }
    std::fs::remove_dir_all(folder).unwrap();
}
