//! What the listeners do that the streams of a test would not show.
#![cfg(feature = "async-io")]

mod support;

use std::sync::{Arc, Mutex};

use mqtt_broker::{Broker, BrokerConfig, ClientInfo, Hooks, ListenError, Peer as From};
use mqtt_proto::{ClientConfig, Text, Version};
use support::*;

fn config(version: Version) -> ClientConfig {
    let mut config = ClientConfig::new(version);
    config.connect.client_id = Text::new("twin").unwrap();
    config.connect.clean_start = true;
    config
}

/// Runs the body with a broker for which no time passes.
fn timeless(config: BrokerConfig, body: impl AsyncFn(Broker)) {
    guard(async {
        let (broker, driver) = Broker::with_timer(config, Manual::new());
        let _driver = smol::spawn(Watched(driver));
        body(broker).await;
    });
}

/// A client that was taken over sees the end at once, and not when the broker has lingered.
async fn ends_at_once<S: Stream>(connect: impl AsyncFn() -> S) {
    for version in ALL {
        let mut first = Peer::connect(config(version), connect().await).await;
        let _second = Peer::connect(config(version), connect().await).await;
        first.closed().await;
    }
}

#[test]
fn tcp_ends_the_direction_to_the_client() {
    timeless(BrokerConfig::default(), async |broker| {
        let address = broker.listen("127.0.0.1:0").unwrap();
        ends_at_once(async || smol::net::TcpStream::connect(address).await.unwrap()).await;
    });
}

/// Notes where clients come from.
#[derive(Default)]
struct Note(Arc<Mutex<Vec<From>>>);

impl Hooks for Note {
    fn connected(&self, client: &ClientInfo, _resumed: bool) {
        self.0.lock().unwrap().push(From::clone(&client.peer));
    }
}

#[test]
fn hooks_learn_the_address() {
    let seen = Arc::default();
    timeless(BrokerConfig::default().hooks(Note(Arc::clone(&seen))), async |broker| {
        let address = broker.listen("127.0.0.1:0").unwrap();
        let stream = smol::net::TcpStream::connect(address).await.unwrap();
        let local = stream.local_addr().unwrap();
        let _client = Peer::connect(config(Version::V5), stream).await;
        assert_eq!(*seen.lock().unwrap(), [From::from_address(local)]);
    });
}

#[cfg(unix)]
#[test]
fn a_unix_socket_is_listened_on_and_removed() {
    use smol::net::unix::UnixStream;

    let path = std::env::temp_dir().join(format!("mqtt-broker-{}.sock", std::process::id()));
    guard(async {
        let (broker, driver) = Broker::with_timer(BrokerConfig::default(), Manual::new());
        let driver = smol::spawn(driver);
        broker.listen_unix(&path).unwrap();
        ends_at_once(async || UnixStream::connect(&path).await.unwrap()).await;
        assert!(matches!(broker.listen_unix(&path), Err(ListenError::Bind(_))), "it is in use");
        broker.shutdown();
        driver.await;
        assert!(!path.exists(), "it goes with the broker");
        assert!(matches!(broker.listen_unix(&path), Err(ListenError::Stopped)));
    });
}
