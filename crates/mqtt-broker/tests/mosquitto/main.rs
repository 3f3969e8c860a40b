//! Interoperability with mosquitto: our client on its broker, and its clients on our broker.
//!
//! It runs where mosquitto and its clients are installed. Elsewhere it says so in one line; where `CI` is
//! `true`, their absence is a failure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../../../mqtt-async/tests/common/certificates.rs"]
mod certificates;
mod listeners;
mod process;

mod our_broker;
mod our_client;
mod proxies;
mod transports;

use std::future::Future;
use std::time::Duration;

use mqtt_async::{Client, Config, QoS, Tcp, Version};

/// The versions that mosquitto knows by these names.
pub(crate) const VERSIONS: [(Version, &str); 2] =
    [(Version::V311, "mqttv311"), (Version::V5, "mqttv5")];

pub(crate) const ALL: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// How long anything may take: a hang fails.
pub(crate) const GUARD: Duration = Duration::from_secs(30);

/// Runs a test that may not hang.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    smol::block_on(smol::future::or(test, async {
        smol::Timer::after(GUARD).await;
        panic!("the test hangs")
    }))
}

/// A client whose driver runs in the background.
pub(crate) fn client(
    config: Config,
    port: u16,
) -> (Client, smol::Task<Result<(), mqtt_async::Error>>) {
    let (client, driver) = Client::new(config, Tcp::new("127.0.0.1", port));
    (client, smol::spawn(driver))
}
