//! How the command reaches a server: sockets, TLS, WebSocket, proxies and URLs.

#[path = "../../mqtt-async/tests/common/certificates.rs"]
mod certificates;
#[path = "../../mqtt-broker/tests/mosquitto/listeners.rs"]
#[allow(dead_code, reason = "the tests of the broker use the rest")]
mod listeners;
#[path = "../../mqtt-broker/tests/mosquitto/process.rs"]
#[allow(dead_code, reason = "the tests of the broker use the rest")]
mod process;
mod support;

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certificates::{Authority, Valid};
use listeners::Listeners;
use mqtt_async::TlsConfig;
use mqtt_async::rustls::ProtocolVersion;
use mqtt_broker::{Broker, BrokerConfig, Layers, TlsIdentity};
use process::{ProxyServer, Subscriber, installed, proxies_installed};
pub(crate) use support::GUARD;

/// Runs the command; returns the exit code and its errors.
fn mqtt(args: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = support::mqtt(args);
    command.env_remove("NO_PROXY").env_remove("no_proxy");
    let output = command.envs(environment.iter().copied()).output().unwrap();
    (output.status.code(), support::stderr(&output))
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

/// Has our broker keep a message, and clear it, in that way.
fn retain(broker: &Broker, way: &[&str], environment: &[(&str, &str)]) {
    publish("x", &[&["-r"], way].concat(), environment);
    assert_eq!(broker.stats().retained_messages, 1, "{way:?}");
    let clear = ["pub", "-t", "a", "-q", "1", "-r", "-n"];
    let (code, stderr) = mqtt(&[&clear, way].concat(), environment);
    assert_eq!((code, broker.stats().retained_messages), (Some(0), 0), "{way:?}: {stderr}");
}

/// A folder that is removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let name = format!("{name}-{}", std::process::id());
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn each_listener_of_our_broker_is_reached() {
    let folder = Folder::new("listeners");
    let authority = Authority::new("test authority");
    let server = authority.sign(&["localhost"], "localhost", Valid::Now);
    let client = authority.sign(&[], "a client", Valid::Now);
    let ca = folder.write("ca.pem", &authority.certificate);
    let (cert, key) =
        (folder.write("client.pem", &client.certificate), folder.write("client.key", &client.key));
    let identity =
        || TlsIdentity::pem(server.certificate.as_bytes(), server.key.as_bytes()).unwrap();
    let tls = Layers::new().tls(identity().build().unwrap());
    let mutual = identity().client_ca(authority.certificate.as_bytes()).unwrap();

    let (broker, driver) = Broker::new(BrokerConfig::default());
    let thread = std::thread::spawn(move || smol::block_on(driver));
    let listen = |layers| broker.listen_with("127.0.0.1:0", layers).unwrap().port().to_string();
    let trust = ["--cafile", &ca, "-p"];
    retain(&broker, &["-p", &listen(Layers::new())], &[]);
    retain(&broker, &["--ws", "-p", &listen(Layers::new().websocket())], &[]);
    retain(&broker, &[&trust[..], &[&listen(tls.clone())]].concat(), &[]);
    retain(&broker, &[&trust[..], &[&listen(tls.websocket()), "--ws"]].concat(), &[]);
    let mutual = listen(Layers::new().tls(mutual.build().unwrap()));
    let known = [&trust[..], &[&mutual, "--cert", &cert, "--key", &key]].concat();
    retain(&broker, &known, &[]);
    let url = format!("mqtts://localhost:{mutual}?ca={ca}&cert={cert}&key={key}");
    retain(&broker, &["--url", &url], &[]);
    broker.shutdown();
    thread.join().unwrap();
}

#[test]
fn authorities_lie_in_a_folder_and_one_version_of_tls_can_be_asked_for() {
    let folder = Folder::new("capath");
    let (authority, other) = (Authority::new("an authority"), Authority::new("another"));
    let server = authority.sign(&["localhost"], "localhost", Valid::Now);
    for (name, text) in [
        ("authority.pem", &authority.certificate),
        ("other.pem", &other.certificate),
        ("key.pem", &server.key),
    ] {
        folder.write(name, text);
    }
    std::fs::create_dir_all(folder.0.join("below")).unwrap();
    let elsewhere = Folder::new("capath-other");
    elsewhere.write("other.pem", &other.certificate);
    let nothing = Folder::new("capath-nothing");
    nothing.write("key.pem", &server.key);
    let [path, elsewhere, nothing] =
        [&folder, &elsewhere, &nothing].map(|it| it.0.display().to_string());

    let identity = TlsIdentity::pem(server.certificate.as_bytes(), server.key.as_bytes()).unwrap();
    let mut provider = TlsConfig::default_provider().unwrap();
    let suites = &mut Arc::make_mut(&mut provider).cipher_suites;
    suites.retain(|suite| suite.version().version == ProtocolVersion::TLSv1_3);
    let identity = identity.provider(provider).build().unwrap();
    let (broker, driver) = Broker::new(BrokerConfig::default());
    let thread = std::thread::spawn(move || smol::block_on(driver));
    let layers = Layers::new().tls(identity);
    let port = broker.listen_with("127.0.0.1:0", layers).unwrap().port().to_string();

    let (port, ca) = (["-p", &port], ["--capath", &path]);
    retain(&broker, &[port, ca].concat(), &[]);
    retain(&broker, &[port, ca, ["--tls-version", "1.3"]].concat(), &[]);
    retain(&broker, &[port, ca, ["--tls-version", "tlsv1.3"]].concat(), &[]);
    let file = format!("{path}/authority.pem");
    retain(&broker, &[port, ["--capath", &elsewhere], ["--cafile", &file]].concat(), &[]);
    for (way, code, says) in [
        ([ca, ["--tls-version", "1.2"]].concat(), 3, "(see --tls-version)"),
        (vec!["--capath", &elsewhere], 3, "(see --cafile and --capath)"),
        (vec!["--capath", &nothing], 2, "no certificate in PEM"),
        (vec!["--capath", "/no/such/folder"], 2, "--capath /no/such/folder: "),
        (vec!["--capath", &path, "--insecure"], 2, "cannot be used with"),
        ([ca, ["--tls-version", "1.1"]].concat(), 2, "[possible values: 1.2, 1.3]"),
    ] {
        let (ended, stderr) = mqtt(&[&["pub", "-t", "a", "-n"], &port[..], &way].concat(), &[]);
        assert_eq!(ended, Some(code), "{way:?}: {stderr}");
        assert!(stderr.contains(says), "{way:?}: {stderr}");
    }
    broker.shutdown();
    thread.join().unwrap();
}

#[cfg(unix)]
#[test]
fn the_environment_and_a_socket_lead_to_the_broker() {
    let (broker, driver) = Broker::new(BrokerConfig::default());
    let port = broker.listen("127.0.0.1:0").unwrap().port().to_string();
    let socket = std::env::temp_dir().join(format!("mqtt-cli-{}.sock", std::process::id()));
    broker.listen_unix(&socket).unwrap();
    let thread = std::thread::spawn(move || smol::block_on(driver));
    retain(&broker, &["--unix", socket.to_str().unwrap()], &[]);
    retain(&broker, &["--url", &format!("unix://{}", socket.display())], &[]);
    retain(&broker, &[], &[("MQTT_HOST", "127.0.0.1"), ("MQTT_PORT", &port)]);
    // What is said is said to one server only.
    let elsewhere = [("MQTT_HOST", "no-such-host.invalid"), ("MQTT_PORT", "1")];
    retain(&broker, &["--url", &format!("mqtt://127.0.0.1:{port}")], &elsewhere);
    retain(&broker, &["-h", "127.0.0.1", "-p", &port], &elsewhere);
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
        ("--insecure --cafile x", "cannot be used with"),
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
