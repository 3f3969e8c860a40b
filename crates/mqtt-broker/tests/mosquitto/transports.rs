//! Our client on each kind of listener that mosquitto has, on smol and on tokio.

use std::sync::Arc;
use std::time::Duration;

use mqtt_async::rustls::ClientConfig;
use mqtt_async::{
    AnyConnector, Backoff, Client, Config, Connector, Error, Messages, QoS, Tcp, Tls, TlsConfig,
    TokioTcp, TokioTimer, TokioUnix, Unix, Version, WebSocket,
};

use crate::certificates::Authority;
use crate::listeners::Listeners;
use crate::process::installed;
use crate::{ALL, GUARD, VERSIONS, run};

impl Listeners {
    pub(crate) fn trust(&self) -> TlsConfig {
        TlsConfig::own_roots().ca(self.authority.as_bytes()).unwrap()
    }

    /// A connector to each listener that has a port, over these sockets.
    pub(crate) fn connectors<C>(&self, tcp: impl Fn(u16) -> C) -> Vec<(&'static str, AnyConnector)>
    where
        C: Connector<Io: Send, Connecting: Send> + Send + 'static,
    {
        let [tls, mutual, ws, wss] = self.mosquitto.ports;
        let identity = (self.client.certificate.as_bytes(), self.client.key.as_bytes());
        let trusting: Arc<ClientConfig> = self.trust().build().unwrap();
        let known = self.trust().identity(identity.0, identity.1).unwrap().build().unwrap();
        let layer = |port| Tls::new(tcp(port), Arc::clone(&trusting));
        vec![
            ("TCP", AnyConnector::new(tcp(self.mosquitto.port))),
            ("TLS", AnyConnector::new(layer(tls))),
            ("mutual TLS", AnyConnector::new(Tls::new(tcp(mutual), known))),
            ("WebSocket", AnyConnector::new(WebSocket::new(tcp(ws)))),
            ("WebSocket over TLS", AnyConnector::new(WebSocket::new(layer(wss)))),
        ]
    }
}

/// The same by URL: where the material is in files.
struct Urls(Vec<(&'static str, String)>);

impl Urls {
    fn new(listeners: &Listeners) -> Urls {
        let ca = format!("ca={}", listeners.file("ca.pem"));
        let [cert, key] = ["client.pem", "client.key"].map(|name| listeners.file(name));
        let [tls, mutual, ws, wss] = listeners.mosquitto.ports;
        Urls(vec![
            ("TCP", format!("mqtt://localhost:{}?", listeners.mosquitto.port)),
            ("TLS", format!("mqtts://localhost:{tls}?{ca}")),
            ("mutual TLS", format!("mqtts://localhost:{mutual}?{ca}&cert={cert}&key={key}")),
            ("WebSocket", format!("ws://localhost:{ws}?")),
            ("WebSocket over TLS", format!("wss://127.0.0.1:{wss}/any?{ca}&server_name=localhost")),
            ("Unix", format!("unix://{}?", listeners.socket.display())),
        ])
    }

    fn iter(&self, version: &'static str) -> impl Iterator<Item = (&'static str, String)> {
        self.0.iter().map(move |(name, url)| {
            let id = format!("by-url-{}-{version}", name.replace(' ', "-"));
            (*name, format!("{url}&client_id={id}&version={version}"))
        })
    }
}

pub(crate) fn config(version: Version, name: &str) -> Config {
    let mut config = Config::new(version).client_id(name.replace(' ', "-")).unwrap();
    let mut backoff = Backoff::default();
    (backoff.first, backoff.max) = (Duration::from_millis(50), Duration::from_millis(200));
    config.reconnect = Some(backoff);
    config
}

/// A client that talks to itself.
pub(crate) struct Echo {
    name: String,
    client: Client,
    messages: Messages,
}

impl Echo {
    pub(crate) async fn new(name: &str, version: &str, client: Client) -> Echo {
        let name = format!("{name} {version}");
        let messages = client.messages();
        client.subscribe(&*name, QoS::ExactlyOnce).unwrap().await.unwrap();
        Echo { name, client, messages }
    }

    async fn talk(&mut self) {
        // Of what does not fit, mosquitto 2.0.11 sends 4 KiB each 100 ms over its WebSockets, to any client.
        let large = if self.name.contains("WebSocket") { 3_000 } else { 200_000 };
        let large = "x".repeat(large);
        for qos in ALL {
            for payload in ["", "small", &large] {
                self.client.publish(&*self.name, payload.to_owned(), qos).unwrap().await.unwrap();
                let message = self.messages.next().await.unwrap();
                assert_eq!((message.topic(), message.qos()), (&*self.name, qos));
                assert!(message.payload() == payload, "{} {qos}", self.name);
            }
        }
    }

    /// Goes on after the server went away.
    async fn go_on(&mut self) {
        while self.client.status().connections < 2 {
            self.client.connected().await.unwrap();
        }
        self.talk().await;
    }
}

#[test]
fn each_listener_on_smol() {
    if !installed() {
        return;
    }
    let mut listeners = Listeners::start();
    run(async {
        let mut echoes = Vec::new();
        for (version, of) in VERSIONS {
            let unix = ("Unix", AnyConnector::new(Unix::new(&listeners.socket)));
            let others = listeners.connectors(|port| Tcp::new("localhost", port));
            for (name, connector) in others.into_iter().chain([unix]) {
                let config = config(version, &format!("{name} {of}"));
                let (client, driver) = Client::new(config, connector);
                smol::spawn(driver).detach();
                echoes.push(Echo::new(name, of, client).await);
            }
        }
        let urls = Urls::new(&listeners);
        for version in ["3.1", "5"] {
            for (name, url) in urls.iter(version) {
                let (client, driver) = Client::connect(&url).unwrap();
                smol::spawn(driver).detach();
                echoes.push(Echo::new(name, version, client).await);
            }
        }
        exercise(&mut listeners, echoes).await;
    });
}

#[test]
fn each_listener_on_tokio() {
    if !installed() {
        return;
    }
    let mut listeners = Listeners::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let body = async {
        let mut echoes = Vec::new();
        for (version, of) in VERSIONS {
            let unix = ("Unix", AnyConnector::new(TokioUnix::new(&listeners.socket)));
            let others = listeners.connectors(|port| TokioTcp::new("localhost", port));
            for (name, connector) in others.into_iter().chain([unix]) {
                let config = config(version, &format!("{name} {of}"));
                let (client, driver) = Client::with_timer(config, connector, TokioTimer::new());
                tokio::spawn(driver);
                echoes.push(Echo::new(name, of, client).await);
            }
        }
        let urls = Urls::new(&listeners);
        for (name, url) in urls.iter("3.1.1") {
            let (client, driver) = Client::connect_tokio(&url).unwrap();
            tokio::spawn(driver);
            echoes.push(Echo::new(name, "by URL", client).await);
        }
        exercise(&mut listeners, echoes).await;
    };
    runtime.block_on(async { tokio::time::timeout(GUARD, body).await }).expect("the test hangs");
}

pub(crate) async fn exercise(listeners: &mut Listeners, mut echoes: Vec<Echo>) {
    for echo in &mut echoes {
        echo.talk().await;
    }
    listeners.mosquitto.restart();
    for echo in &mut echoes {
        echo.go_on().await;
    }
    // All at the end: mosquitto takes the end of a WebSocket over TLS for an error of any other connection
    // over TLS, because they share OpenSSL's list of errors.
    for echo in &echoes {
        echo.client.disconnect().await.unwrap();
    }
}

// class: 46
#[test]
fn what_does_not_fit_is_refused_with_the_reason() {
    if !installed() {
        return;
    }
    let listeners = Listeners::start();
    let [tls, mutual, ..] = listeners.mosquitto.ports;
    let plain = listeners.mosquitto.port;
    let trusting = listeners.trust().build().unwrap();
    let other = Authority::new("other").certificate;
    let other = TlsConfig::own_roots().ca(other.as_bytes()).unwrap().build().unwrap();
    let to = |port, config: &Arc<ClientConfig>| {
        AnyConnector::new(Tls::new(Tcp::new("127.0.0.1", port), Arc::clone(config)))
    };
    let named = Tls::new(Tcp::new("127.0.0.1", tls), Arc::clone(&trusting));
    for (connector, words) in [
        (to(tls, &other), "self-signed, or from an authority that is not trusted"),
        (AnyConnector::new(named.server_name("other.example.com").unwrap()), "another host"),
        (to(mutual, &trusting), "CertificateRequired"),
        (to(plain, &trusting), "is this a port for TLS?"),
        (AnyConnector::new(WebSocket::new(Tcp::new("127.0.0.1", plain))), "port for WebSocket?"),
    ] {
        let mut config = config(Version::V5, "refused");
        config.reconnect = None;
        let (_client, driver) = Client::new(config, connector);
        let error: Error = run(driver).unwrap_err();
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
}
