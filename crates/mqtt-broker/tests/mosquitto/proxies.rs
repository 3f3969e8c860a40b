//! Our client on mosquitto's listeners, through proxies that others wrote, on smol and on tokio.

use std::net::{Ipv4Addr, TcpListener};

use mqtt_async::{
    AnyConnector, Client, Connector, Error, Proxy, Tcp, TokioTcp, TokioTimer, Version,
};

use crate::listeners::Listeners;
use crate::process::{ProxyServer, proxies_installed};
use crate::transports::{Echo, config, exercise};
use crate::{GUARD, run};

/// The proxies, and what their logs say of a server that they have connected to.
struct Proxies {
    http: ProxyServer,
    socks: ProxyServer,
}

impl Proxies {
    fn start() -> Proxies {
        Proxies { http: ProxyServer::tinyproxy(), socks: ProxyServer::microsocks() }
    }

    fn by_name(&self) -> [(&'static str, Proxy); 2] {
        [
            ("HTTP", Proxy::http("localhost", self.http.port)),
            ("SOCKS", Proxy::socks5("localhost", self.socks.port)),
        ]
        .map(|(name, proxy)| (name, proxy.credentials("user", "password")))
    }

    /// A connector through each proxy to each listener that has a port.
    fn connectors<C>(
        &self,
        listeners: &Listeners,
        through: impl Fn(u16, Proxy) -> C,
    ) -> Vec<(String, AnyConnector)>
    where
        C: Connector<Io: Send, Connecting: Send> + Send + 'static,
    {
        let mut all = Vec::new();
        for (proxy, layer) in self.by_name() {
            let tcp = |port| through(port, layer.clone());
            for (name, connector) in listeners.connectors(tcp) {
                all.push((format!("{name} through {proxy}"), connector));
            }
        }
        all
    }

    /// The connections went through them, and it was they who looked the name up.
    fn have_worked(&mut self, port: u16) {
        self.http.logs("Established connection to host \"localhost\"");
        self.socks.logs(&format!("connected to localhost:{port}"));
    }
}

#[test]
fn each_listener_through_each_proxy_on_smol() {
    if !proxies_installed() {
        return;
    }
    let (mut listeners, mut proxies) = (Listeners::start(), Proxies::start());
    run(async {
        let mut echoes = Vec::new();
        let tcp = |port, proxy| Tcp::new("localhost", port).via(proxy);
        for (name, connector) in proxies.connectors(&listeners, tcp) {
            let (client, driver) = Client::new(config(Version::V5, &name), connector);
            smol::spawn(driver).detach();
            echoes.push(Echo::new(&name, "5", client).await);
        }
        let (http, socks) = (proxies.http.port, proxies.socks.port);
        for proxy in [
            format!("http://user:password@localhost:{http}"),
            format!("socks5h://user:password@localhost:{socks}"),
        ] {
            let port = listeners.mosquitto.port;
            let url = format!("mqtt://localhost:{port}?proxy={proxy}");
            let (client, driver) = Client::connect(&url).unwrap();
            smol::spawn(driver).detach();
            echoes.push(Echo::new(&proxy, "by URL", client).await);
        }
        exercise(&mut listeners, echoes).await;
    });
    proxies.have_worked(listeners.mosquitto.port);
}

#[test]
fn each_listener_through_each_proxy_on_tokio() {
    if !proxies_installed() {
        return;
    }
    let (mut listeners, mut proxies) = (Listeners::start(), Proxies::start());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let body = async {
        let mut echoes = Vec::new();
        let tcp = |port, proxy| TokioTcp::new("localhost", port).via(proxy);
        for (name, connector) in proxies.connectors(&listeners, tcp) {
            let config = config(Version::V311, &name);
            let (client, driver) = Client::with_timer(config, connector, TokioTimer::new());
            tokio::spawn(driver);
            echoes.push(Echo::new(&name, "3.1.1", client).await);
        }
        exercise(&mut listeners, echoes).await;
    };
    runtime.block_on(async { tokio::time::timeout(GUARD, body).await }).expect("the test hangs");
    proxies.have_worked(listeners.mosquitto.port);
}

#[test]
fn what_a_proxy_refuses_is_told() {
    if !proxies_installed() {
        return;
    }
    let proxies = Proxies::start();
    // Bound and let go: nobody listens there.
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    for (name, proxy) in proxies.by_name() {
        let other = proxy.clone().credentials("user", "secret");
        for (proxy, is_told, is_retryable) in
            [(other, "user name and password", false), (proxy, "refused the connection", true)]
        {
            let mut config = config(Version::V5, "refused");
            config.reconnect = None;
            let (_client, driver) = Client::new(config, Tcp::new("localhost", nobody).via(proxy));
            let error: Error = run(driver).unwrap_err();
            assert!(error.to_string().contains(is_told), "{name}: {error}");
            assert_eq!(error.is_retryable(), is_retryable, "{name}: {error}");
        }
    }
}
