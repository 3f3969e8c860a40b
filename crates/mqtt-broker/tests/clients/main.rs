//! Interoperability with clients that we did not write: paho-mqtt, in Python, and MQTT.js.
//!
//! Each is driven by a script beside this file, which goes through what a broker has to do; mosquitto's clients
//! have a test of their own. It runs where `.ci/peers` has put the clients. Elsewhere it says so in one line; where
//! `CI` is `true`, their absence is a failure.

#![cfg(all(feature = "async-io", feature = "tls", feature = "websocket"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../../mqtt-async/tests/common/certificates.rs"]
mod certificates;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::{env, fs, thread};

use certificates::{Authority, Valid};
use mqtt_broker::{Broker, BrokerConfig, Layers, TlsIdentity};

const VERSIONS: [&str; 3] = ["3.1", "3.1.1", "5"];

/// A client, and the script that drives it.
struct Client {
    name: &'static str,
    program: PathBuf,
    /// What the program does if the client is there.
    probe: [&'static str; 2],
    script: &'static str,
    /// How many scenarios it has: of each version, and of 5.0 besides.
    scenarios: [usize; 2],
}

fn paho() -> Client {
    Client {
        name: "paho-mqtt",
        program: installed().join("python/bin/python"),
        probe: ["-c", "import paho.mqtt"],
        script: "drive_paho.py",
        scenarios: [10, 8],
    }
}

fn mqttjs() -> Client {
    Client {
        name: "MQTT.js",
        program: "node".into(),
        probe: ["-e", "require('mqtt')"],
        script: "drive_mqttjs.js",
        scenarios: [7, 5],
    }
}

/// Returns where `.ci/peers` puts the clients.
fn installed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers")
}

impl Client {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("NODE_PATH", installed().join("node/node_modules")).stdin(Stdio::null());
        command
    }

    /// Tells whether it is there; says so loudly if not, and fails in CI.
    fn is_there(&self) -> bool {
        let found = self.command().args(self.probe).output();
        if found.is_ok_and(|output| output.status.success()) {
            return true;
        }
        let name = self.name;
        assert!(env::var("CI").as_deref() != Ok("true"), "in CI, {name} has to be installed");
        static SAY: Once = Once::new();
        SAY.call_once(|| {
            // Past the test harness, which would swallow it.
            let line = format!("\nNOT RUN: interoperability with {name}; .ci/peers installs it\n");
            let _ = std::io::stderr().write_all(line.as_bytes());
        });
        false
    }

    /// Goes through all scenarios, over that URL of the broker, which is stopped when the script asks for it.
    fn run(&self, broker: &Broker, url: &str, version: &str, more: &[&Path]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(self.script);
        let mut command = self.command();
        command.arg(script).args([url, version]).args(more).stdout(Stdio::piped());
        let mut running = Running(command.spawn().unwrap());
        let mut done = Vec::new();
        for line in BufReader::new(running.0.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            match line.strip_prefix("done ") {
                Some(scenario) => done.push(scenario.to_owned()),
                None if line == "stop" => broker.shutdown(),
                None => panic!("{line}"),
            }
        }
        let ended = running.0.wait().unwrap();
        let name = self.name;
        assert!(ended.success(), "{name} with {version} at {url}, after {done:?}");
        let [each, only_5] = self.scenarios;
        let expected = if version == "5" { each + only_5 } else { each };
        assert_eq!(done.len(), expected, "{name} with {version}: {done:?}");
    }
}

/// A process that does not outlive the test. Each wait in a script has its own limit.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a broker for each version, behind these layers, and the client on it.
fn over(client: &Client, scheme: &str, layers: &Layers, versions: &[&str], more: &[&Path]) {
    for version in versions {
        let (broker, driver) = Broker::new(BrokerConfig::default());
        let port = broker.listen_with("127.0.0.1:0", layers.clone()).unwrap().port();
        let driver = thread::spawn(|| smol::block_on(driver));
        client.run(&broker, &format!("{scheme}://localhost:{port}"), version, more);
        driver.join().unwrap();
    }
}

fn over_each(client: &Client) {
    if !client.is_there() {
        return;
    }
    over(client, "mqtt", &Layers::new(), &VERSIONS, &[]);
    over(client, "ws", &Layers::new().websocket(), &["3.1", "5"], &[]);
    let authority = Authority::new("test authority");
    let server = authority.sign(&["localhost"], "localhost", Valid::Now);
    let tls = TlsIdentity::pem(server.certificate.as_bytes(), server.key.as_bytes()).unwrap();
    let layers = Layers::new().tls(tls.build().unwrap());
    let name = format!("clients-{}-{}.pem", std::process::id(), client.name);
    let ca = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&ca, authority.certificate).unwrap();
    over(client, "mqtts", &layers, &["5"], &[&ca]);
    over(client, "wss", &layers.websocket(), &["5"], &[&ca]);
    fs::remove_file(ca).unwrap();
}

#[test]
fn paho_does_all_of_it() {
    over_each(&paho());
}

#[test]
fn mqttjs_does_all_of_it() {
    over_each(&mqttjs());
}
