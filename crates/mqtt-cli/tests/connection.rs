//! How the command reaches a server: sockets, TLS, WebSocket, proxies and URLs.

#[path = "../../mqtt-async/tests/common/certificates.rs"]
mod certificates;
#[path = "../../mqtt-broker/tests/mosquitto/listeners.rs"]
#[allow(dead_code, reason = "the tests of the broker use the rest")]
mod listeners;
#[path = "../../mqtt-broker/tests/mosquitto/process.rs"]
#[allow(dead_code, reason = "the tests of the broker use the rest")]
mod process;

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::time::Duration;

use listeners::Listeners;
use mqtt_broker::{Broker, BrokerConfig};
use process::{ProxyServer, Subscriber, installed, proxies_installed};

/// A test that takes longer hangs.
pub(crate) const GUARD: Duration = Duration::from_secs(20);

/// Runs the command; returns the exit code and its errors.
fn mqtt(args: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mqtt"));
    command.args(args).stdin(Stdio::null());
    for name in ["MQTT_HOST", "MQTT_PORT", "MQTT_USERNAME", "MQTT_PASSWORD", "NO_PROXY", "no_proxy"]
    {
        command.env_remove(name);
    }
    let output = command.envs(environment.iter().copied()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Publishes that text in that way, and insists that all is well.
fn publish(text: &str, way: &[&str], environment: &[(&str, &str)]) {
    let publish = ["pub", "-t", "a", "-q", "1", "-m", text];
    let (code, stderr) = mqtt(&[&publish, way].concat(), environment);
    assert_eq!(code, Some(0), "{way:?}: {stderr}");
}

/// Publishes in each of these ways, and sees what came.
fn publish_each(port: u16, ways: &[(&str, Vec<String>)]) {
    let mut subscriber = Subscriber::start(port, "mqttv5", "a", &[]);
    for (name, way) in ways {
        let way: Vec<&str> = way.iter().map(String::as_str).collect();
        publish(name, &way, &[]);
        assert_eq!(subscriber.next().payload, *name);
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[test]
fn each_listener_of_mosquitto_is_reached() {
    if !installed() {
        return;
    }
    let listeners = Listeners::start();
    let port = listeners.mosquitto.port;
    let [tls, mutual, ws, wss] = listeners.mosquitto.ports;
    let ca = listeners.file("ca.pem");
    let identity =
        format!("--cert {} --key {}", listeners.file("client.pem"), listeners.file("client.key"));
    let socket = listeners.socket.display();
    publish_each(
        port,
        &[
            ("TCP", words(&format!("-p {port}"))),
            ("from an address", words(&format!("-h 127.0.0.1 -p {port} -A 127.0.0.1"))),
            ("TLS", words(&format!("-p {tls} --cafile {ca}"))),
            ("another name", words(&format!("-p {tls} --cafile {ca} --servername 127.0.0.1"))),
            ("not checked", words(&format!("-h 127.0.0.1 -p {tls} --insecure"))),
            ("mutual TLS", words(&format!("-p {mutual} --cafile {ca} {identity}"))),
            ("WebSocket", words(&format!("-p {ws} --ws"))),
            (
                "WebSocket with more",
                words(&format!("-p {wss} --cafile {ca} --ws-path /x --ws-header x-tenant=plant")),
            ),
            ("Unix", words(&format!("--unix {socket}"))),
            ("URL", words(&format!("--url mqtt://localhost:{port}?client_id=x -V 3.1.1"))),
            ("URL, TLS", words(&format!("--url mqtts://localhost:{tls}?ca={ca}"))),
            ("URL, WebSocket", words(&format!("--url wss://localhost:{wss}/mqtt?ca={ca}"))),
            ("URL, Unix", words(&format!("--url unix://{socket}"))),
        ],
    );
}

#[test]
fn what_does_not_fit_has_a_hint() {
    if !installed() {
        return;
    }
    let listeners = Listeners::start();
    let plain = listeners.mosquitto.port;
    let [tls, mutual, ..] = listeners.mosquitto.ports;
    let ca = listeners.file("ca.pem");
    for (way, says, hint) in [
        (format!("-p {tls} --tls"), "not trusted", "see --cafile"),
        (
            format!("-p {tls} --cafile {ca} --servername other.example.com"),
            "another host",
            "see --servername",
        ),
        (format!("-p {plain} --cafile {ca}"), "is this a port for TLS?", "see --port"),
        (format!("-p {plain} --ws"), "port for WebSocket?", "see --port and --ws-path"),
        (format!("-p {mutual} --cafile {ca}"), "CertificateRequired", ""),
    ] {
        let way = words(&way);
        let args: Vec<&str> = way.iter().map(String::as_str).collect();
        let (code, stderr) = mqtt(&[&["pub", "-t", "a", "-n"], &args[..]].concat(), &[]);
        assert_eq!(code, Some(3), "{way:?}: {stderr}");
        assert!(stderr.contains(says) && stderr.contains(hint), "{way:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn proxies_are_asked() {
    if !proxies_installed() {
        return;
    }
    let listeners = Listeners::start();
    let (mut http, mut socks) = (ProxyServer::tinyproxy(), ProxyServer::microsocks());
    let port = listeners.mosquitto.port;
    let tls = listeners.mosquitto.ports[0];
    let ca = listeners.file("ca.pem");
    let by_http = format!("http://user:password@127.0.0.1:{}", http.port);
    let by_socks = format!("socks5h://user:password@127.0.0.1:{}", socks.port);
    publish_each(
        port,
        &[
            ("HTTP", words(&format!("-p {tls} --cafile {ca} --proxy {by_http}"))),
            ("SOCKS", words(&format!("-p {port} --proxy {by_socks}"))),
            ("URL", words(&format!("--url mqtt://localhost:{port} --proxy {by_socks}"))),
        ],
    );
    http.logs("Established connection to host \"localhost\"");
    for _ in 0..2 {
        socks.logs(&format!("connected to localhost:{port}"));
    }
    let to = port.to_string();
    let by_env = ["-p", &to, "--proxy", "env"];
    publish("x", &by_env, &[("ALL_PROXY", &by_socks)]);
    socks.logs(&format!("connected to localhost:{port}"));
    // It is asked for nothing: the password would be refused.
    let wrong = by_socks.replace("password", "secret");
    publish("x", &by_env, &[("ALL_PROXY", &wrong), ("NO_PROXY", "localhost")]);
    let args = [&["pub", "-t", "a", "-n"], &by_env[..]].concat();
    let (code, stderr) = mqtt(&args, &[("ALL_PROXY", &wrong)]);
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("user name and password") && stderr.contains("see --proxy"));
    assert!(!stderr.contains("secret"), "{stderr}");
}

#[cfg(unix)]
#[test]
fn the_environment_and_a_socket_lead_to_the_broker() {
    let (broker, driver) = Broker::new(BrokerConfig::default());
    let port = broker.listen("127.0.0.1:0").unwrap().port().to_string();
    let socket = std::env::temp_dir().join(format!("mqtt-cli-{}.sock", std::process::id()));
    broker.listen_unix(&socket).unwrap();
    let thread = std::thread::spawn(move || smol::block_on(driver));
    let retain = |way: &[&str], environment: &[(&str, &str)]| {
        publish("x", &[&["-r"], way].concat(), environment);
        assert_eq!(broker.stats().retained_messages, 1, "{way:?}");
        let clear = ["pub", "-t", "a", "-q", "1", "-r", "-n"];
        let (code, stderr) = mqtt(&[&clear, way].concat(), environment);
        assert_eq!((code, broker.stats().retained_messages), (Some(0), 0), "{stderr}");
    };
    retain(&["--unix", socket.to_str().unwrap()], &[]);
    retain(&["--url", &format!("unix://{}", socket.display())], &[]);
    retain(&[], &[("MQTT_HOST", "127.0.0.1"), ("MQTT_PORT", &port)]);
    // What is said is said to one server only.
    let elsewhere = [("MQTT_HOST", "no-such-host.invalid"), ("MQTT_PORT", "1")];
    retain(&["--url", &format!("mqtt://127.0.0.1:{port}")], &elsewhere);
    retain(&["-h", "127.0.0.1", "-p", &port], &elsewhere);
    broker.shutdown();
    thread.join().unwrap();
}

#[test]
fn what_cannot_be_is_wrong_usage_and_shows_no_password() {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = nobody.local_addr().unwrap().port().to_string();
    for (way, says) in [
        ("--url mqtt://u:secret@h/path", "path"),
        ("--url http://u:secret@h", "scheme"),
        ("--url mqtts://u:secret@h?ca=/no/such.pem", "/no/such.pem"),
        ("--url mqtt://u:secret@h -h h", "cannot be used with"),
        ("--url mqtts://u:secret@h --cafile x", "cannot be used with"),
        ("--url mqtt://u:secret@h -A 127.0.0.1", "cannot be used with"),
        ("--url unix:///run/s --proxy http://u:secret@h", "no proxy to a Unix"),
        ("--unix /run/s --tls", "cannot be used with"),
        ("--unix /run/s --ws", "cannot be used with"),
        ("--unix /run/s -p 1", "cannot be used with"),
        ("--cert x", "--key"),
        ("--cafile /no/such.pem", "/no/such.pem"),
        ("--tls --servername a/b", "a/b"),
        ("--ws-path mqtt", "mqtt"),
        ("--ws-header authorization", "NAME=VALUE"),
        ("--ws --ws-header a:b=secret", "a:b"),
        ("--proxy ftp://u:secret@h", "proxy"),
    ] {
        let way = words(way);
        let args: Vec<&str> = way.iter().map(String::as_str).collect();
        let publish = ["pub", "-t", "a", "-n"];
        let (code, stderr) = mqtt(&[&publish, &args[..]].concat(), &[("MQTT_PORT", &port)]);
        assert_eq!(code, Some(2), "{way:?}: {stderr}");
        assert!(stderr.contains(says), "{way:?}: {stderr}");
        assert!(!stderr.contains("secret"), "{way:?}: {stderr}");
    }
    let (code, stderr) = mqtt(&["pub", "-t", "a", "-n"], &[("MQTT_PORT", "x")]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("MQTT_PORT"), "{stderr}");
}

/// A name and password in a URL are for its server; those of the environment are for another one.
#[test]
fn credentials_go_where_they_belong() {
    use std::io::Read;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let theirs = [("MQTT_USERNAME", "theirs"), ("MQTT_PASSWORD", "secret")];
    for (url, environment, expected, not) in [
        (format!("mqtt://mine:pass@127.0.0.1:{port}"), theirs, "mine", "secret"),
        (format!("mqtt://mine@127.0.0.1:{port}"), theirs, "mine", "secret"),
        (format!("mqtt://127.0.0.1:{port}"), theirs, "theirs", "mine"),
    ] {
        let run = std::thread::spawn(move || {
            mqtt(&["pub", "-t", "a", "-n", "--url", &url], &environment)
        });
        let (mut stream, _) = listener.accept().unwrap();
        let mut connect = [0; 256];
        let read = stream.read(&mut connect).unwrap();
        let connect = String::from_utf8_lossy(&connect[..read]).into_owned();
        assert!(connect.contains(expected) && !connect.contains(not), "{connect:?}");
        drop(stream);
        let (code, stderr) = run.join().unwrap();
        assert_eq!(code, Some(3));
        assert!(stderr.contains("see --tls"), "{stderr}");
    }
}
