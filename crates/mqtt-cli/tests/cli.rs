//! The command as a person or a script uses it: processes, their streams and their exit codes.

mod support;
#[path = "../../mqtt-broker/tests/support/watched.rs"]
mod watched;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use mqtt_async::{Publish, QoS, TopicName};
use mqtt_broker::{Broker, BrokerConfig, BrokerStats, ClientInfo, Hooks};
use support::*;
use watched::Watched;

/// A broker in this process, for commands that are other ones.
struct World {
    broker: Broker,
    address: SocketAddr,
    /// How many clients have been let in.
    connects: Arc<AtomicUsize>,
}

struct Count(Arc<AtomicUsize>);

impl Hooks for Count {
    fn connected(&self, _client: &ClientInfo, _resumed: bool) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl World {
    fn new() -> World {
        let connects = Arc::default();
        let hooks = Count(Arc::clone(&connects));
        let (broker, driver) = Broker::new(BrokerConfig::default().hooks(hooks));
        let address = broker.listen("127.0.0.1:0").unwrap();
        std::thread::spawn(move || smol::block_on(Watched(driver)));
        World { broker, address, connects }
    }

    /// Returns a command of `mqtt` that finds the broker.
    fn mqtt(&self, args: &[&str]) -> Command {
        let mut command = mqtt(args);
        command.env("MQTT_PORT", self.address.port().to_string());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.mqtt(args).output().unwrap()
    }

    /// Runs it, and insists that all is well; returns what it printed.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Begins to subscribe, and waits until the broker knows.
    fn sub(&self, args: &[&str]) -> Child {
        // The command before may have ended, and its connection not yet.
        self.until(|stats| stats.connections == 0);
        let child = self
            .mqtt(&[&["sub"], args].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        self.until(|stats| stats.subscriptions > 0);
        child
    }

    /// Waits until the broker has come so far.
    fn until(&self, condition: impl Fn(&BrokerStats) -> bool) {
        let reached = std::future::poll_fn(|cx| {
            watched::wake_after_step(cx.waker());
            if condition(&self.broker.stats()) { Poll::Ready(()) } else { Poll::Pending }
        });
        smol::block_on(smol::future::or(reached, async {
            smol::Timer::after(GUARD).await;
            panic!("the test hangs")
        }));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.broker.shutdown();
    }
}

#[test]
fn a_message_gets_from_pub_to_sub_in_each_version_and_at_each_qos() {
    let world = World::new();
    for version in ["5", "3.1.1", "3.1"] {
        for qos in ["0", "1", "2"] {
            let id = ["-i", "sub"];
            let sub = world.sub(
                &[&["-t", "a/+", "-q", qos, "-C", "1", "-v", "-V", version], &id[..]].concat(),
            );
            world.ok(&["pub", "-t", "a/b", "-m", "21.5", "-q", qos, "-V", version, "-i", "pub"]);
            assert_eq!(end(sub), (Some(0), "a/b 21.5\n".to_owned()), "{version}, QoS {qos}");
            world.until(|stats| stats.subscriptions == 0);
        }
    }
}

#[test]
fn the_payload_comes_from_everywhere() {
    let world = World::new();
    let path = std::env::temp_dir().join(format!("mqtt-cli-{}", std::process::id()));
    std::fs::write(&path, b"from a file\0\xFF").unwrap();
    let sub = world.sub(&["-t", "a", "-q", "1", "-C", "7", "-F", r"%l %x\n", "-N"]);
    world.ok(&["pub", "-q", "1", "-t", "a", "-f", path.to_str().unwrap()]);
    std::fs::remove_file(path).unwrap();
    world.ok(&["pub", "-q", "1", "-t", "a", "-n"]);
    world.ok(&["pub", "-q", "1", "-t", "a", "-m", "r", "--repeat", "2"]);
    for (args, input) in [("-s", "one\ntwo"), ("-l", "one\ntwo")] {
        let mut child =
            world.mqtt(&["pub", "-q", "1", "-t", "a", args]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }
    let printed =
        "13 66726f6d20612066696c6500ff\n0 \n1 72\n1 72\n7 6f6e650a74776f\n3 6f6e65\n3 74776f\n";
    assert_eq!(end(sub), (Some(0), printed.to_owned()));
}

#[test]
fn a_text_may_begin_like_an_option() {
    let world = World::new();
    let format = ["-q", "1", "-C", "2", "-F", "%p %D"];
    let sub = world.sub(&[&["-t", "a"], &format[..]].concat());
    world.ok(&["pub", "-q", "1", "-t", "a", "-m", "-5.5", "--correlation-data", "-c"]);
    world.ok(&["pub", "-q", "1", "-t", "a", "--message", "--retain", "--will-topic", "a/will"]);
    assert_eq!(end(sub), (Some(0), "-5.5 -c\n--retain \n".to_owned()));
}

#[test]
fn a_duration_is_in_seconds_unless_it_says_otherwise() {
    let world = World::new();
    let sub = world.sub(&["-t", "a", "-q", "1", "-C", "2", "-F", "%E"]);
    world.ok(&["pub", "-q", "1", "-t", "a", "-m", "b", "--expiry", "3600"]);
    world.ok(&["pub", "-q", "1", "-t", "a", "-m", "b", "--expiry", "2m", "--interval", "0"]);
    assert_eq!(end(sub), (Some(0), "3600\n120\n".to_owned()));
}

#[test]
fn json_has_all_of_it() {
    let world = World::new();
    let sub = world.sub(&["-t", "#", "-q", "1", "-C", "2", "--format", "json"]);
    world.ok(&[
        "pub",
        "-t",
        "a",
        "-m",
        "\"x\"\n",
        "-q",
        "1",
        "--content-type",
        "text/plain",
        "--response-topic",
        "r",
        "--correlation-data",
        "7",
        "--expiry",
        "1h",
        "-D",
        "k=v=w",
        "-D",
        "k=2",
    ]);
    let message = Publish::new(TopicName::new("b").unwrap(), vec![0xFF]).qos(QoS::AtLeastOnce);
    world.broker.publish(&message);
    let (code, printed) = end(sub);
    assert_eq!(code, Some(0));
    let lines: Vec<serde_json::Value> =
        printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    let time = lines[0]["time"].as_str().unwrap();
    assert!(humantime::parse_rfc3339(time).is_ok(), "{time}");
    let expected = serde_json::json!({
        "time": time, "topic": "a", "payload": "\"x\"\n", "qos": 1, "retain": false,
        "message_expiry_interval": 3600, "content_type": "text/plain", "response_topic": "r",
        "correlation_data": "7", "user_properties": [["k", "v=w"], ["k", "2"]],
    });
    assert_eq!(lines[0], expected);
    assert_eq!((&lines[1]["payload_base64"], lines[1].get("payload")), (&"/w==".into(), None));
}

#[test]
fn each_format_and_colours() {
    let world = World::new();
    for (args, expected) in [
        (&["--format", "plain"][..], "\u{1}x\n"),
        (&["--format", "topic"], "a \u{1}x\n"),
        (&["-v"], "a \u{1}x\n"),
        (&["--format", "hex"], "a 0178\n"),
        (&["-F", r"%t|%q|%r|%l|%b\t"], "a|1|0|2|AXg=\t\n"),
        (&["-N"], "\u{1}x"),
        // No terminal, no colours; and always the same one for a topic.
        (&["-v", "--color", "auto"], "a \u{1}x\n"),
        (&["-v", "--color", "always"], "\u{1b}[33ma \u{1}x\u{1b}[0m\n"),
    ] {
        let sub = world.sub(&[&["-t", "a", "-q", "1", "-C", "1", "-i", "sub"], args].concat());
        world.ok(&["pub", "-t", "a", "-m", "\u{1}x", "-q", "1"]);
        assert_eq!(end(sub), (Some(0), expected.to_owned()), "{args:?}");
        world.until(|stats| stats.subscriptions == 0);
    }
}

#[test]
fn what_the_client_itself_publishes_can_be_left_out() {
    let world = World::new();
    let sub = world.sub(&["-t", "a", "-C", "1", "-i", "me", "--no-local"]);
    world.ok(&["pub", "-t", "a", "-m", "theirs"]);
    assert_eq!(end(sub), (Some(0), "theirs\n".to_owned()));
}

#[test]
fn retained_messages_are_printed_alone_or_left_out() {
    let world = World::new();
    world.ok(&["pub", "-t", "a", "-m", "kept", "-r"]);
    for version in ["5", "3.1.1"] {
        let only = world.ok(&["sub", "-t", "a", "--retained-only", "-W", "200ms", "-V", version]);
        assert_eq!(only, "kept\n", "{version}");
        let sub = world.sub(&["-t", "a", "-R", "-C", "1", "-V", version]);
        world.ok(&["pub", "-t", "a", "-m", "new"]);
        assert_eq!(end(sub), (Some(0), "new\n".to_owned()), "{version}");
    }
    world.ok(&["pub", "-t", "a", "-n", "-r"]);
    assert_eq!(world.broker.stats().retained_messages, 0);
}

#[test]
fn a_session_collects_messages_between_two_calls() {
    let world = World::new();
    let session = ["-t", "a", "-q", "1", "-i", "collector", "--session", "1h"];
    let empty = world.run(&[&["sub"], &session[..], &["-W", "100ms"]].concat());
    assert_eq!(empty.status.code(), Some(6), "nothing came in time");
    world.ok(&["pub", "-t", "a", "-m", "while away", "-q", "1"]);
    let got = world.ok(&[&["sub"], &session[..], &["-C", "1"]].concat());
    assert_eq!(got, "while away\n");
}

#[test]
fn a_session_goes_on_with_what_it_has_subscribed_to() {
    // More than the server sends without an answer.
    const COUNT: usize = 2000;
    let world = World::new();
    for version in ["5", "3.1.1"] {
        let session = ["-V", version, "-i", version, "--session", "1h", "-q", "1"];
        let before = world.run(&[&["sub", "-t", "a", "-W", "0"], &session[..]].concat());
        assert_eq!(before.status.code(), Some(6), "{}", stderr(&before));
        let publish = |topic| {
            let publish = Publish::new(TopicName::new(topic).unwrap(), "x");
            world.broker.publish(&publish.qos(QoS::AtLeastOnce));
        };
        (0..COUNT).for_each(|_| publish("a"));
        let count = (COUNT + 1).to_string();
        let sub = world.sub(&[&["-t", "b", "-v", "-C", &count], &session[..]].concat());
        world.until(|stats| stats.subscriptions == 2);
        publish("b");
        let (code, printed) = end(sub);
        assert_eq!(code, Some(0));
        assert_eq!(printed.matches("a x\n").count(), COUNT);
        assert_eq!(printed.matches("b x\n").count(), 1);
        world.broker.remove_session(version);
    }
}

#[test]
fn messages_do_not_put_off_the_end_of_the_time() {
    let world = World::new();
    let mut sub = world.sub(&["-t", "a", "-W", "300ms"]);
    let mut published = 0;
    while sub.try_wait().unwrap().is_none() {
        world.ok(&["pub", "-t", "a", "-m", "x"]);
        published += 1;
        assert!(published < 1000, "it goes on and on");
    }
    let output = sub.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    assert!(!output.stdout.is_empty() && stderr(&output).contains("300ms are over"));
}

#[test]
fn scripts_can_tell_what_went_wrong_and_people_as_well() {
    let world = World::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = free.local_addr().unwrap().port().to_string();
    drop(free);
    for (args, code, says) in [
        (&["sub", "-t", "a", "-p", &nobody][..], 3, "--host and --port"),
        (&["pub", "-t", "a", "-m", "b", "-p", &nobody], 3, "--host and --port"),
        (&["sub", "-t", "a#"], 2, "--topic a#"),
        (&["pub", "-t", "a/#", "-m", "b"], 2, "Topic Name"),
        (&["pub", "-t", "a"], 2, "--message"),
        (&["pub", "-t", "a", "-m", "b", "-s"], 2, "cannot be used with"),
        (&["pub", "-t", "a", "-f", "/no/such/file"], 2, "/no/such/file"),
        (&["sub", "-t", "a", "--session", "1h"], 2, "--client-id"),
        (&["sub", "-t", "a", "-F", "%z"], 2, "%z"),
        (&["pub", "-t", "a", "-m", "b", "-V", "3.1.1", "--content-type", "c"], 2, "MQTT 5.0"),
        (&["pub", "-t", "a", "-m", "b", "-V", "3.1.1", "-P", "c"], 2, "--username"),
        (&["nonsense"], 2, "nonsense"),
        (&["pubb"], 2, "'pub')"),
        (&["sub"], 2, "--topic <FILTER> (see --help)"),
        (&["sub", "-t", "a", "-q", "3"], 2, "a QoS is 0, 1 or 2"),
    ] {
        let output = world.run(args);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        assert!(text.contains(says), "{args:?}: {text}");
        assert!(text.starts_with("mqtt: ") && text.matches('\n').count() == 1, "{text}");
        assert_eq!(output.stdout, b"", "{args:?}");
    }
}

#[test]
fn a_password_is_asked_for_and_never_shown() {
    let broker = Running::start(&["-l", "127.0.0.1:0", "--user", "me:sesame", "--quiet"], 1);
    let port = &broker.port("mqtt");
    let publish = ["pub", "-t", "a", "-m", "b", "-q", "1", "-p", port, "-u", "me"];
    for (password, code) in [("sesame", 0), ("other", 4)] {
        for version in ["5", "3.1.1"] {
            let output =
                mqtt(&publish).args(["-V", version]).env("MQTT_PASSWORD", password).output();
            let output = output.unwrap();
            assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
            assert!(!stderr(&output).contains(password));
        }
    }
    let help = mqtt(&["pub", "--help"]).env("MQTT_PASSWORD", "sesame").output().unwrap();
    assert!(!String::from_utf8(help.stdout).unwrap().contains("sesame"));
    assert_eq!(broker.stop(), "", "it is quiet");
}

#[test]
fn nobody_gets_what_waits_for_another_user() {
    let users = ["--user", "ann:a", "--user", "bob:b"];
    let broker = Running::start(&[&["-l", "0", "--quiet"], &users[..]].concat(), 1);
    let port = &broker.port("mqtt");
    let sub = |user: &str, password: &str| {
        let session = ["-i", "id", "--session", "1h", "-u", user, "-P", password];
        mqtt(&["sub", "-p", port, "-t", "a", "-W", "0"]).args(session).output().unwrap()
    };
    assert_eq!(sub("ann", "a").status.code(), Some(6));
    let output = sub("bob", "b");
    assert!(stderr(&output).contains("0x85 Client Identifier not valid"), "{}", stderr(&output));
}

#[test]
fn a_broken_pipe_ends_it_quietly() {
    let world = World::new();
    let mut sub = world.sub(&["-t", "a"]);
    drop(sub.stdout.take());
    world.broker.publish(&Publish::new(TopicName::new("a").unwrap(), "x"));
    let output = sub.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
}

#[cfg(unix)]
#[test]
fn an_interrupt_says_goodbye() {
    let world = World::new();
    let sub = world.sub(&["-t", "a"]);
    interrupt(&sub);
    assert_eq!(end(sub), (Some(0), String::new()));
    let sub = world.sub(&["-t", "a", "-C", "1", "--will-topic", "will"]);
    interrupt(&sub);
    assert_eq!(end(sub).0, Some(130), "it was to wait for a message");
    world.until(|stats| stats.connections == 0);
    assert_eq!(world.broker.stats().messages_in, 0, "the Will was not published");

    // What was accepted before is seen to its end.
    let mut publish = world
        .mqtt(&["pub", "-t", "b", "-q", "2", "-l"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = publish.stdin.take().unwrap();
    input.write_all(b"1\n2\n3\n").unwrap();
    world.until(|stats| stats.messages_in == 3);
    interrupt(&publish);
    let output = publish.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "mqtt: 3 messages were published\n");
    drop(input);

    let repeat = ["pub", "-t", "c", "-m", "x", "--repeat", "100", "--interval", "1h"];
    let child = world.mqtt(&repeat).stderr(Stdio::piped()).spawn().unwrap();
    world.until(|stats| stats.messages_in == 4);
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(stderr(&output), "mqtt: interrupted after 1 of 100 messages\n");

    let bench = ["bench", "roundtrip", "-n", "1000000000"];
    let child = world.mqtt(&bench).stdout(Stdio::piped()).spawn().unwrap();
    world.until(|stats| stats.messages_in > 20);
    interrupt(&child);
    let (code, printed) = end(child);
    assert_eq!(code, Some(130));
    assert!(printed.contains(" of 1000000000 messages") && printed.contains("p99"), "{printed}");
}

#[test]
fn a_lost_connection_is_made_again() {
    let world = World::new();
    for (nth, quiet, topic) in [(2, false, "a"), (4, true, "b")] {
        let quietly: &[&str] = if quiet { &["--quiet"] } else { &[] };
        let mut sub = world.sub(&[&["-t", topic, "-C", "1", "-i", "sub"], quietly].concat());
        assert!(world.broker.disconnect("sub", mqtt_async::ReasonCode::SERVER_BUSY));
        let again = |stats: &BrokerStats| {
            world.connects.load(Ordering::Relaxed) == nth && stats.subscriptions == 1
        };
        world.until(again);
        let mut said = BufReader::new(sub.stderr.take().unwrap());
        if !quiet {
            let mut next = || said.by_ref().lines().next().unwrap().unwrap();
            let lost = "mqtt: the server ended the connection: 0x89 Server busy; trying again";
            assert_eq!([next(), next()], [lost, "mqtt: connected again"]);
        }
        // Retained, because it may be the subscription of the lost connection that was counted.
        let mut message = Publish::new(TopicName::new(topic).unwrap(), "there you are");
        message.retain = true;
        world.broker.publish(&message);
        assert_eq!(end(sub), (Some(0), "there you are\n".to_owned()));
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
    }
}

/// Begins to respond, and waits until the broker knows.
fn respond(world: &World, args: &[&str]) -> Child {
    let child = world.mqtt(&[&["respond"], args].concat()).spawn().unwrap();
    world.until(|stats| stats.subscriptions == 2);
    child
}

#[test]
fn a_responder_goes_on_behind_what_its_session_has_subscribed_to() {
    let world = World::new();
    let session = ["-i", "responder", "--session", "1h", "--quiet"];
    world.run(&[&["sub", "-t", "before", "-q", "1", "-W", "0"], &session[..]].concat());
    let before = Publish::new(TopicName::new("before").unwrap(), "x").qos(QoS::AtLeastOnce);
    // More than the server sends without an answer.
    for _ in 0..2000 {
        world.broker.publish(&before);
    }
    let respond = [&["respond", "-t", "now", "--echo"], &session[..]].concat();
    let mut responder = world.mqtt(&respond).stdout(Stdio::null()).spawn().unwrap();
    world.until(|stats| stats.subscriptions == 3);
    assert_eq!(world.ok(&["request", "-t", "now", "-m", "there?"]), "there?\n");
    responder.kill().unwrap();
    responder.wait().unwrap();
}

#[cfg(unix)]
#[test]
fn a_request_has_its_response() {
    let world = World::new();
    for (answer, expected) in [
        (&["-m", "21.5"][..], "21.5\n"),
        (&["--echo"], "what?\n"),
        (&["--", "sh", "-c", "cat; echo \" $MQTT_TOPIC\""], "what? ask/me\n\n"),
    ] {
        for version in ["5", "3.1.1"] {
            // The requests of 3.1.1 are understood by a responder of 5.0.
            let mut responder = respond(&world, &[&["-t", "ask/+"], answer].concat());
            let got = world.ok(&["request", "-t", "ask/me", "-m", "what?", "-V", version]);
            assert_eq!(got, expected, "{answer:?} {version}");
            interrupt(&responder);
            assert_eq!(responder.wait().unwrap().code(), Some(0));
            world.until(|stats| stats.connections == 0);
        }
    }
}

#[cfg(unix)]
#[test]
fn a_request_without_a_response_is_told() {
    let world = World::new();
    let nobody = world.run(&["request", "-t", "ask", "-m", "what?"]);
    assert_eq!(nobody.status.code(), Some(5), "{}", stderr(&nobody));
    let mut responder = respond(&world, &["-t", "ask", "--quiet", "--", "false"]);
    let late = world.run(&["request", "-t", "ask", "-m", "what?", "-W", "200ms"]);
    assert_eq!(late.status.code(), Some(6), "{}", stderr(&late));
    interrupt(&responder);
    assert!(responder.wait().unwrap().success());
}

#[test]
fn a_measurement_counts_everything_and_is_drawn() {
    let world = World::new();
    let path = std::env::temp_dir().join(format!("mqtt-cli-{}.svg", std::process::id()));
    for (mode, done) in [("publish", 60), ("subscribe", 60), ("roundtrip", 60), ("connections", 3)]
    {
        for qos in ["0", "2"] {
            let args = ["bench", mode, "-c", "3", "-n", "20", "-q", qos, "--output", "json"];
            let printed = world.ok(&[&args[..], &["--svg", path.to_str().unwrap()]].concat());
            let result: serde_json::Value = serde_json::from_str(&printed).unwrap();
            assert_eq!(
                (&result["mode"], &result["done"]),
                (&mode.into(), &done.into()),
                "{printed}"
            );
            assert!(result["per_second"].as_f64().unwrap() > 0.0, "{printed}");
            let latency = |name: &str| result["latency_us"][name].as_f64().unwrap();
            assert!(
                latency("p50") <= latency("p99") && latency("p99") <= latency("max"),
                "{printed}"
            );
            let drawn = std::fs::read_to_string(&path).unwrap();
            assert!(drawn.starts_with("<svg") && drawn.contains("a second"), "{mode}");
        }
    }
    std::fs::remove_file(path).unwrap();
    let text = world.ok(&["bench", "publish", "-n", "5"]);
    assert!(
        text.starts_with("publish: 5 of 5 messages of 64 bytes at QoS 1, clients: 1, "),
        "{text}"
    );
    assert_eq!(world.run(&["bench", "publish", "-n", "0"]).status.code(), Some(2));
}

#[cfg(unix)]
#[test]
fn the_clients_of_a_measurement_say_goodbye() {
    let broker = Running::start(&["-l", "127.0.0.1:0"], 1);
    let port = broker.port("mqtt");
    for mode in ["publish", "subscribe", "roundtrip", "connections"] {
        let bench = ["bench", mode, "-c", "3", "-n", "20", "-p", &port];
        assert!(mqtt(&bench).output().unwrap().status.success(), "{mode}");
    }
    let said = broker.stop();
    // Three each, and the one that publishes to the subscribers.
    assert_eq!(said.matches("the peer disconnected").count(), 13, "{said}");
}

#[test]
fn help_is_no_error_and_says_all() {
    for (args, says) in [
        (&["--help"][..], "Exit codes"),
        (&["--help"], "a bare number is in seconds"),
        (&["broker", "--help"], "It lives in memory"),
        (&["sub", "--help"], "%t topic"),
        (&["bench", "--help"], "Ctrl-C ends it early"),
        (&["-V"], env!("CARGO_PKG_VERSION")),
    ] {
        let output = mqtt(args).output().unwrap();
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()), "{args:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(printed.contains(says), "{args:?}: {printed}");
    }
    // Nothing at all is wrong usage, but help is what helps.
    let nothing = mqtt(&[]).output().unwrap();
    assert_eq!(nothing.status.code(), Some(2));
    assert!(stderr(&nothing).contains("Commands:"));
}

#[test]
fn completions_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        let output = mqtt(&["completions", shell]).output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains("retained-only"), "{shell}");
    }
}
