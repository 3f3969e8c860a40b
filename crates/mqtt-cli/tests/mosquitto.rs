//! The command against mosquitto, and beside its clients.
//!
//! It runs where mosquitto is installed. Elsewhere it says so in one line; where `CI` is `true`, its absence is a
//! failure.

#[allow(dead_code, reason = "the broker's tests use the rest")]
#[path = "../../mqtt-broker/tests/mosquitto/process.rs"]
mod process;
mod support;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use process::{Mosquitto, Subscriber, installed, publish, run};
use support::*;

/// Our names of the versions, and mosquitto's.
const VERSIONS: [(&str, &str); 3] = [("3.1", "mqttv31"), ("3.1.1", "mqttv311"), ("5", "mqttv5")];

/// Runs the command, and insists that all is well; returns what it printed.
fn ok(port: u16, args: &[&str]) -> String {
    let output = mqtt(args).args(["-p", &port.to_string()]).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Begins to subscribe. mosquitto keeps a retained message for it, which shows that the subscription stands.
fn sub(port: u16, topic: &str, args: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    ok(port, &["pub", "-t", &format!("{topic}/ready"), "-m", "ready", "-r", "-q", "1"]);
    let mut child = mqtt(&["sub", "-t", &format!("{topic}/#"), "-p", &port.to_string()])
        .args(args)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    assert_eq!(line(&mut lines), "ready");
    (child, lines)
}

fn line(lines: &mut impl BufRead) -> String {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn messages_pass_to_and_from_its_clients() {
    if !installed() {
        return;
    }
    let mosquitto = Mosquitto::start();
    let port = mosquitto.port;
    for (ours, theirs) in VERSIONS {
        let mut received = Subscriber::start(port, theirs, "ours", &[]);
        let topic = format!("theirs/{theirs}");
        let (mut child, mut lines) = sub(port, &topic, &["-q", "2", "-C", "4", "-V", ours]);
        for qos in [0, 1, 2] {
            let text = qos.to_string();
            ok(port, &["pub", "-t", "ours", "-m", "21.5", "-q", &text, "-V", ours]);
            let message = received.next();
            assert_eq!((message.payload.as_str(), message.qos), ("21.5", qos), "{ours}");
            publish(port, theirs, &format!("{topic}/x"), &text, qos, &[]);
            assert_eq!(line(&mut lines), text, "{ours}");
        }
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn retained_messages_and_sessions_are_kept() {
    if !installed() {
        return;
    }
    let mosquitto = Mosquitto::start();
    let port = mosquitto.port;
    ok(port, &["pub", "-t", "kept", "-m", "21.5", "-r", "-q", "1"]);
    for (version, _) in VERSIONS {
        let only =
            ["sub", "-t", "kept", "--retained-only", "-W", "300ms", "-V", version, "-i", "r"];
        assert_eq!(ok(port, &only), "21.5\n", "{version}");
        let id = format!("sleeper-{version}");
        let me = ["-t", "kept", "-q", "1", "-i", &id, "--session", "1h", "-V", version, "-R"];
        let port_text = port.to_string();
        let nothing = [&["sub"], &me[..], &["-W", "200ms", "-p", &port_text]].concat();
        assert_eq!(mqtt(&nothing).output().unwrap().status.code(), Some(6));
        ok(port, &["pub", "-t", "kept", "-m", "while away", "-q", "1"]);
        assert_eq!(ok(port, &[&["sub"], &me[..], &["-C", "1"]].concat()), "while away\n");
    }
}

#[test]
fn json_shows_what_its_client_has_sent() {
    if !installed() {
        return;
    }
    let mosquitto = Mosquitto::start();
    let port = mosquitto.port;
    let (mut child, mut lines) = sub(port, "props", &["-C", "2", "-F", "%p%C%P%R"]);
    let properties = [
        ["-D", "publish", "content-type", "t"].as_slice(),
        &["-D", "publish", "user-property", "k", "v"],
        &["-D", "publish", "response-topic", "r"],
    ];
    publish(port, "mqttv5", "props/x", "x", 1, &properties.concat());
    assert_eq!(line(&mut lines), "xtk=vr");
    assert!(child.wait().unwrap().success());
}

#[cfg(unix)]
#[test]
fn requests_have_responses_also_of_its_client() {
    if !installed() {
        return;
    }
    let mosquitto = Mosquitto::start();
    let port = mosquitto.port;
    let mut responder =
        mqtt(&["respond", "-t", "ask/+", "--echo", "-p", &port.to_string()]).spawn().unwrap();
    // Until the responder has subscribed, nobody answers; in 5.0 mosquitto says so at once.
    let probe = ["request", "-t", "ask/me", "-m", "?", "-p", &port.to_string()];
    while !mqtt(&probe).output().unwrap().status.success() {
        assert!(responder.try_wait().unwrap().is_none(), "it has ended");
    }
    for version in ["5", "3.1.1"] {
        let got = ok(port, &["request", "-t", "ask/me", "-m", "what?", "-V", version]);
        assert_eq!(got, "what?\n", "{version}");
    }
    let args = ["-t", "ask/them", "-m", "theirs", "-e", "answer/here", "-q", "1", "-W", "10"];
    assert_eq!(run("mosquitto_rr", port, "mqttv5", &args), "theirs\n");
    interrupt(&responder);
    assert_eq!(responder.wait().unwrap().code(), Some(0));
}

#[test]
fn it_is_measured() {
    if !installed() {
        return;
    }
    let mosquitto = Mosquitto::start();
    for (mode, done) in [("publish", 60), ("subscribe", 60), ("roundtrip", 60), ("connections", 3)]
    {
        let bench = ["bench", mode, "-c", "3", "-n", "20", "--output", "json"];
        for (version, _) in VERSIONS {
            for name in [&[][..], &["-i", "bench"]] {
                let printed = ok(mosquitto.port, &[&bench[..], &["-V", version], name].concat());
                let result: serde_json::Value = serde_json::from_str(&printed).unwrap();
                assert_eq!(result["done"], done, "{mode} {version} {name:?}: {printed}");
            }
        }
    }
}
