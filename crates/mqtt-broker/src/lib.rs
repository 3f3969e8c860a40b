//! A small MQTT broker to embed: for tests, examples, development and a single edge box.
//!
//! It speaks MQTT 3.1, 3.1.1 and 5.0, lives in memory, and runs on any async runtime: the one future
//! that [`Broker::new`] returns is all there is to spawn. Clients come over TCP with
//! [`listen`](Broker::listen), over TLS and WebSocket with [`listen_with`](Broker::listen_with), over Unix sockets, or
//! over any stream with [`attach`](Broker::attach).
//!
//! ```
//! use mqtt_broker::{Broker, BrokerConfig};
//!
//! let (broker, driver) = Broker::new(BrokerConfig::default());
//! let address = broker.listen("127.0.0.1:0")?;
//! smol::block_on(async {
//!     let driver = smol::spawn(driver);
//!     println!("listening on mqtt://{address}");
//!     broker.shutdown();
//!     driver.await;
//! });
//! # Ok::<(), mqtt_broker::ListenError>(())
//! ```
//!
//! On tokio without `async-io` (features: `default-features = false`, `tokio`) the sockets are tokio's:
//!
//! ```no_run
//! # #[cfg(feature = "tokio")]
//! # async fn tokio_main() -> std::io::Result<()> {
//! use mqtt_broker::{Broker, BrokerConfig, TokioIo, TokioTimer};
//!
//! let (broker, driver) = Broker::with_timer(BrokerConfig::default(), TokioTimer::new());
//! tokio::spawn(driver);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:1883").await?;
//! loop {
//!     let (stream, _) = listener.accept().await?;
//!     broker.attach(TokioIo::new(stream));
//! }
//! # }
//! ```
//!
//! # What it does
//!
//! QoS 0, 1 and 2; wildcards; retained messages with expiry and Retain Handling; Wills with Will
//! Delay; sessions that outlive connections, with Session Expiry, take-over and queues; Shared
//! Subscriptions, whose members take turns; Subscription Identifiers; No Local; Topic Aliases from
//! clients; flow control; assigned Client Identifiers; Keep Alive; Response Information. [`Hooks`] decide
//! who may connect, with a password or an enhanced authentication, who may publish and subscribe to what, and
//! hear of it all. Sessions and retained messages can be [listed](Broker::sessions), and clients
//! [cut off](Broker::disconnect); on request it publishes what it counts below `$SYS/broker/`.
//!
//! # What it decides where the standard leaves a choice
//!
//! - A message that matches several subscriptions of a client is sent once, at the highest QoS, with
//!   all their identifiers, and with RETAIN as published if one of them wants that. Each matching
//!   Shared Subscription makes a copy of its own.
//! - A Shared Subscription prefers members that are connected, and of these the ones that keep up: that have taken
//!   and acknowledged all but half of a queue.
//! - QoS 0 messages do not wait for a client that is not connected, except for those that waited already when its
//!   connection broke.
//! - A client of MQTT 3.1 is not told that a subscription was refused, as there is no way to.
//! - A queue that is full refuses the newest message, unless [`QueueOverflow`] says otherwise, and one that is
//!   half full refuses QoS 0; [`BrokerStats::dropped_full`] counts them.
//! - A message is acknowledged when it stands in the queues of all its receivers: in memory.
//! - Sessions of MQTT 3.x without Clean Session last for
//!   [`max_session_expiry_interval`](BrokerConfig::max_session_expiry_interval).
//! - An empty Client Identifier is refused in MQTT 3.1, and in 3.1.1 without Clean Session.
//!
//! # What it does not do yet
//!
//! There is no persistence. Without [`Hooks`] everybody is let in, with whatever User Name and Password. It is not
//! clustered and never will be: whoever outgrows it moves on without changing the clients.
//!
//! # Features
//!
//! - `async-io` (default): [`Broker::new`], and listeners for any executor.
//! - `tokio`: `TokioTimer` and `TokioIo`; without the default nothing of `async-io` is built.
//! - `tls`: [`Layers`] with TLS, by rustls; `tls-ring` or `tls-aws-lc-rs` is its cryptography, unless you bring
//!   your own.
//! - `websocket`: [`Layers`] with WebSocket.

#![cfg_attr(not(feature = "async-io"), allow(rustdoc::broken_intra_doc_links))]

mod broker;
mod config;
mod connection;
mod error;
mod hooks;
mod hub;
mod layers;
mod retained;
mod subscriptions;

pub use broker::{Broker, Driver};
pub use config::{BrokerConfig, QueueOverflow};
pub use error::ListenError;
pub use hooks::{ClientInfo, Connecting, Deciding, Exchange, Hooks, Peer, Verdict, decided};
pub use hub::{BrokerStats, SessionInfo};
pub use layers::Layers;
#[cfg(feature = "tls")]
pub use layers::TlsIdentity;
pub use mqtt_async::{Clock, Timer};
/// The TLS that [`Layers::tls`] is made of, in the version that it is, and what may be wrong with it.
#[cfg(feature = "tls")]
pub use mqtt_async::{TlsError, rustls};

#[cfg(feature = "async-io")]
pub use mqtt_async::AsyncIoTimer;
#[cfg(feature = "tokio")]
pub use mqtt_async::{TokioIo, TokioTimer};
