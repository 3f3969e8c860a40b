//! `mqtt broker`, from options and from a file.

#[path = "../../mqtt-async/tests/common/certificates.rs"]
mod certificates;
mod support;

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use certificates::{Authority, Valid};
use mqtt_async::{
    AnyConnector, Client, Config, Connector, QoS, ReasonCode, Tcp, Tls, TlsConfig, Version,
    WebSocket,
};
use support::*;

/// A folder with a certificate, its key, and more files; it is removed when it is dropped.
struct Folder {
    path: PathBuf,
    authority: String,
}

impl Folder {
    fn new(name: &str) -> Folder {
        // Not in the folder of the build: the path of a socket is short.
        let path = std::env::temp_dir().join(format!("mqtt-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let authority = Authority::new("test authority");
        let server = authority.sign(&["localhost"], "localhost", Valid::Now);
        let folder = Folder { path, authority: authority.certificate };
        folder.write("server.pem", &server.certificate);
        folder.write("server.key", &server.key);
        folder
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn path(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    fn tls<C>(&self, connector: C) -> Tls<C> {
        let trust = TlsConfig::own_roots().ca(self.authority.as_bytes()).unwrap();
        Tls::new(connector, trust.build().unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn tcp(running: &Running, scheme: &str) -> Tcp {
    Tcp::new("localhost", running.port(scheme).parse().unwrap())
}

fn any<C>(connector: C) -> AnyConnector
where
    C: Connector<Io: Send + 'static, Connecting: Send + 'static> + Send + 'static,
{
    AnyConnector::new(connector)
}

/// Comes through each listener.
fn come(folder: &Folder, running: &Running) {
    let mut ways = vec![
        any(tcp(running, "mqtt")),
        any(folder.tls(tcp(running, "mqtts"))),
        any(WebSocket::new(tcp(running, "ws"))),
        any(WebSocket::new(folder.tls(tcp(running, "wss")))),
    ];
    #[cfg(unix)]
    ways.push(any(mqtt_async::Unix::new(folder.path("mqtt.sock"))));
    for connector in ways {
        let client = Guest::new("operator", "change this", connector);
        client.run(async |client| {
            client.publish("a", "x", QoS::AtLeastOnce).unwrap().await.unwrap();
        });
    }
}

struct Guest(Client, mqtt_async::Driver<AnyConnector, mqtt_async::AsyncIoTimer>);

impl Guest {
    fn new(name: &str, password: &'static str, connector: AnyConnector) -> Guest {
        let mut config = Config::new(Version::V5);
        config.session.connect.user_name = Some(mqtt_async::Text::new(name).unwrap());
        config.session.connect.password = Some(bytes::Bytes::from_static(password.as_bytes()));
        config.session.connect.session_expiry_interval = Some(u32::MAX);
        config.reconnect = None;
        let (client, driver) = Client::new(config, connector);
        Guest(client, driver)
    }

    fn run(self, body: impl AsyncFnOnce(&Client)) {
        let Guest(client, driver) = self;
        smol::block_on(async {
            let driver = smol::spawn(driver);
            let work = async {
                body(&client).await;
                client.disconnect().await.unwrap();
                driver.await.unwrap();
            };
            smol::future::or(work, async {
                smol::Timer::after(GUARD).await;
                panic!("the test hangs")
            })
            .await;
        });
    }
}

#[test]
fn it_listens_everywhere_by_options() {
    let folder = Folder::new("options");
    let (cert, key, socket) =
        (folder.path("server.pem"), folder.path("server.key"), folder.path("mqtt.sock"));
    let any_port = "127.0.0.1:0";
    let mut args = vec!["--user", "operator:change this", "--cert", &cert, "--key", &key];
    for option in ["--listen", "--tls", "--ws", "--wss"] {
        args.extend([option, any_port]);
    }
    args.extend(["--unix", &socket]);
    let running = Running::start(&args, 5);
    come(&folder, &running);
    // And with the command itself, by the URLs that it has told.
    let ca = folder.write("ca.pem", &folder.authority);
    for url in running.urls() {
        // The certificate is for a name.
        let mut url = url.replace("127.0.0.1", "localhost");
        if url.starts_with("mqtts:") || url.starts_with("wss:") {
            url += &format!("?ca={ca}");
        }
        let publish = ["pub", "--url", &url, "-u", "operator", "-t", "a", "-m", "x", "-q", "1"];
        let output = mqtt(&publish).env("MQTT_PASSWORD", "change this").output().unwrap();
        assert!(output.status.success(), "{url}: {}", stderr(&output));
    }
    let said = running.stop();
    assert!(said.ends_with("10 messages came in, 0 went out\n"), "{said}");
    assert!(!Path::new(&socket).exists());
}

#[test]
fn the_example_is_a_file_that_works() {
    let folder = Folder::new("example");
    let mut text = include_str!("../broker.example.toml").to_owned();
    for address in ["127.0.0.1:1883", "0.0.0.0:8883", "127.0.0.1:8080", "0.0.0.0:8443"] {
        assert!(text.contains(address), "{address}");
        text = text.replace(address, "127.0.0.1:0");
    }
    let file = folder.write("broker.toml", &text);
    let running = Running::start(&["--config", &file, "--quiet"], 5);
    come(&folder, &running);

    // The other user may do less.
    let sensor = Guest::new("sensor", "and this", any(tcp(&running, "mqtt")));
    sensor.run(async |client| {
        for (topic, may) in [("plant/1/temperature", true), ("plant/1/valve", false)] {
            let done = client.publish(topic, "x", QoS::AtLeastOnce).unwrap().await;
            assert_eq!(
                done.as_ref().err().is_none_or(|it| !it.is_auth()),
                may,
                "{topic}: {done:?}"
            );
        }
        for (filter, may) in [("plant/commands/+", true), ("plant/#", false), ("$SYS/#", false)] {
            let done = client.subscribe(filter, QoS::AtLeastOnce).unwrap().await;
            assert_eq!(
                done.as_ref().err().is_none_or(|it| !it.is_auth()),
                may,
                "{filter}: {done:?}"
            );
        }
        let limits = client.status().connected.unwrap();
        assert_eq!(limits.connack.maximum_packet_size, Some(262_144));
    });
    let wrong = Guest::new("sensor", "change this", any(tcp(&running, "mqtt")));
    let error = smol::block_on(wrong.1).unwrap_err();
    assert_eq!(error.reason(), Some(ReasonCode::BAD_USER_NAME_OR_PASSWORD));

    // A queue that is full drops the oldest, as the file says.
    let port = running.port("mqtt");
    let me = ["-p", &port, "-u", "operator", "-P", "change this", "-t", "q", "-q", "1"];
    let session = ["-i", "sleeper", "--session", "1h", "-W"];
    let slept = mqtt(&["sub"]).args(me).args(session).arg("100ms").output().unwrap();
    assert_eq!(slept.status.code(), Some(6), "{}", stderr(&slept));
    let mut publish = mqtt(&["pub", "-l"]).args(me).stdin(Stdio::piped()).spawn().unwrap();
    let numbers: String = (0..=1000).map(|number| format!("{number}\n")).collect();
    publish.stdin.take().unwrap().write_all(numbers.as_bytes()).unwrap();
    assert!(publish.wait().unwrap().success());
    let got = mqtt(&["sub"]).args(me).args(session).args(["5s", "-C", "1000"]).output().unwrap();
    assert!(got.status.success(), "{}", stderr(&got));
    assert_eq!(String::from_utf8(got.stdout).unwrap(), numbers.strip_prefix("0\n").unwrap());
}

#[test]
fn an_option_wins_over_the_file() {
    let folder = Folder::new("wins");
    let text = "listen = [\"127.0.0.1:0\"]\nmax-packet-size = 1000\nmax-session-expiry = 60\n\
        [[user]]\nname = \"me\"\npassword = \"old\"\n[[user]]\nname = \"you\"\npassword = \"yours\"\n";
    let file = folder.write("broker.toml", text);
    let options = ["-l", "0", "--max-packet-size", "2000", "--user", "me:new"];
    let running = Running::start(&[&["-c", &file], &options[..]].concat(), 2);
    assert!(running.urls().iter().all(|url| url.starts_with("mqtt://127.0.0.1:")));
    for (name, password) in [("me", "new"), ("you", "yours")] {
        let guest = Guest::new(name, password, any(tcp(&running, "mqtt")));
        guest.run(async |client| {
            let connack = client.connected().await.unwrap().connack;
            assert_eq!(connack.maximum_packet_size, Some(2000));
            assert_eq!(connack.session_expiry_interval, Some(60), "seconds");
        });
    }
    let port = running.port("mqtt");
    let old = mqtt(&["pub", "-p", &port, "-t", "a", "-m", "b", "-u", "me", "-P", "old"]).output();
    assert_eq!(old.unwrap().status.code(), Some(4));
    let said = running.stop();
    let refused = said.lines().find(|line| line.starts_with("! "));
    let refused = refused.unwrap_or_else(|| panic!("nobody was refused: {said}"));
    assert!(refused.starts_with("! \"\" from 127.0.0.1:"), "{said}");
    assert!(refused.ends_with(", user \"me\": 0x86 Bad User Name or Password"), "{said}");
}

#[test]
fn a_line_that_is_refused_is_told_before_the_next_one_comes() {
    let folder = Folder::new("lines");
    let rights = "[[user]]\nname = \"me\"\npassword = \"x\"\npublish = [\"a\"]\n";
    let running = Running::start(&["-l", "0", "-c", &folder.write("broker.toml", rights)], 1);
    let port = running.port("mqtt");
    let mut publish =
        mqtt(&["pub", "-p", &port, "-u", "me", "-P", "x", "-q", "1", "-t", "b", "-l"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
    // It stays open: who types, or follows a log, is not at the end.
    let mut input = publish.stdin.take().unwrap();
    input.write_all(b"1\n").unwrap();
    let mut said = String::new();
    publish.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "mqtt: the server rejected it: 0x87 Not authorized\n");
    assert_eq!(publish.wait().unwrap().code(), Some(4));
    drop(input);
}

#[test]
fn what_is_wrong_in_a_file_is_told_with_line_and_key() {
    let folder = Folder::new("wrong");
    folder.write("empty.pem", "");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let cert = "cert = \"server.pem\"\n";
    for (text, code, says) in [
        (
            "listen = [\"127.0.0.1:0\"]\nmax-conections = 5\n",
            2,
            ":2: max-conections: unknown field",
        ),
        ("\n\nmax-connections = \"many\"\n", 2, ":3: max-connections: invalid type: string"),
        ("max-connections = -1\n", 2, ":1: max-connections: "),
        ("queue-overflow = \"newest\"\n", 2, ":1: queue-overflow: unknown variant `newest`"),
        ("sys-interval = \"soon\"\n", 2, ":1: sys-interval: "),
        ("sys-interval = true\n", 2, ":1: sys-interval: a duration is as \"7d\""),
        ("sys-interval = -1\n", 2, ":1: sys-interval: "),
        ("listen = [\n", 2, ":"),
        ("quiet = false\n[[user]]\nname = \"a\"\n", 2, ":2: missing field `password`"),
        (
            "[[user]]\nname = \"a\"\npassword = \"b\"\npublish = [\n  \"a\",\n  \"a#\",\n]\n",
            2,
            ":4: publish: a#: ",
        ),
        (
            "listen = [\n  \"127.0.0.1:0\",\n  \"nowhere\",\n]\n",
            1,
            ":3: listen: nowhere: cannot listen on the address: ",
        ),
        (&*format!("# one\nws = [\"{taken}\"]\n"), 1, ":2: ws: 127.0.0.1:"),
        ("tls = [\"127.0.0.1:0\"]\n", 2, ":1: tls: TLS needs a certificate"),
        (&*format!("wss = [\"127.0.0.1:0\"]\n{cert}key = \"none.key\"\n"), 2, ":3: key: "),
        ("tls = [\"127.0.0.1:0\"]\nkey = \"server.key\"\ncert = \"empty.pem\"\n", 2, ":3: cert: "),
        (&*format!("tls = [\"127.0.0.1:0\"]\n{cert}key = \"server.pem\"\n"), 2, ":3: key: "),
    ] {
        let file = folder.write("broker.toml", text);
        let output = mqtt(&["broker", "--config", &file]).output().unwrap();
        let said = stderr(&output);
        let last = said.lines().last().unwrap_or_default();
        assert_eq!(output.status.code(), Some(code), "{text}: {said}");
        assert!(last.starts_with(&format!("mqtt: {file}:")), "{text}: {said}");
        assert!(last.contains(&format!("broker.toml{says}")), "{text}: {said}");
        let lines = said.lines().filter(|line| !line.starts_with("listening on")).count();
        assert_eq!(lines, 1, "{text}: {said}");
    }
    #[cfg(unix)]
    {
        let left = folder.write("left.sock", "");
        let output = mqtt(&["broker", "--unix", &left]).output().unwrap();
        assert!(stderr(&output).contains("remove what one has left"), "{}", stderr(&output));
    }
    for (args, says) in [
        (&["--config", "/no/such/file"][..], "--config /no/such/file"),
        (&["--tls", "0"], "--tls: TLS needs a certificate"),
        (&["--queue-overflow", "never"], "drop-oldest"),
        (&["--user", "name"], "NAME:PASSWORD"),
    ] {
        let output = mqtt(&["broker"]).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(says), "{}", stderr(&output));
    }
}
