//! An MQTT 3.1, 3.1.1 and 5.0 client for any async runtime.
//!
//! - [`Client`] is the handle: its methods return at once, with a token that can be awaited or dropped.
//! - [`Driver`] is a future that does the work: connect, reconnect, read, write, keep alive. You spawn
//!   it; there is no runtime inside.
//! - [`Messages`] is the stream of what comes in; a [`Subscription`] is one of its own for some filters.
//!
//! ```no_run
//! use mqtt_async::{Client, Config, QoS, Tcp, Version};
//!
//! # async fn example(executor: &async_executor::Executor<'_>) -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::new(Version::V5).client_id("example")?;
//! let (client, driver) = Client::new(config, Tcp::new("localhost", 1883));
//! let driver = executor.spawn(driver);
//!
//! let mut messages = client.messages();
//! client.subscribe("greeting/#", QoS::AtLeastOnce)?.await?;
//! client.publish("greeting/world", "hello", QoS::AtLeastOnce)?.await?;
//! if let Some(message) = messages.next().await {
//!     println!("{}: {:?}", message.topic(), message.payload());
//! }
//! client.disconnect().await?;
//! driver.await?;
//! # Ok(()) }
//! ```
//!
//! # What happens when something is dropped
//!
//! | dropped or cancelled | what happens |
//! |--|--|
//! | a token | nothing: detached; [`Publishing::cancel`] is the explicit undo, only before it was on a wire |
//! | [`Messages::next`] or [`Subscription::next`] while it waits | nothing is lost: a message leaves the queue only when it resolves, and is acknowledged there |
//! | a [`SendWait`] | the message is not sent; [`SendWait::into_publish`] gives it back |
//! | a [`Message`] not acknowledged, with manual acknowledgement | stays so: sent again after a reconnect; takes one of Receive Maximum |
//! | a [`Subscription`] | UNSUBSCRIBE is queued, if no other listens to the filter; what was not taken goes to [`Messages`] |
//! | [`Events`], [`StatusChanges`] | nothing: they only watch, and do not keep the client |
//! | a [`Requesting`] | the request is forgotten, and its response counted as late; the message goes on |
//! | a [`Responder`] | as its [`Subscription`]; requests that it is serving are rejected, so that they hold nothing back |
//! | the last [`Client`] and all streams | as [`Client::disconnect`]; the driver finishes with `Ok(())` |
//! | the [`Driver`] | the transport is closed at once, so the server publishes the Will; every token resolves to [`TokenError::DriverGone`], streams end |
//!
//! # Features
//!
//! - `async-io` (default): [`Client::new`], [`AsyncIoTimer`], [`Tcp`] and `Unix`, for any executor.
//! - `tokio`: `TokioTimer`, `TokioIo`, `TokioTcp` and `TokioUnix`. With `default-features = false` nothing of `async-io`
//!   is built.
//! - `tracing`: the driver tells what happens to its connection, in a span with the Client Identifier.
//! - `file-store`: `FileStore`, which keeps a session in a file, for [`Client::durable`].
//! - `tls`: `Tls`, a layer around any connector, with rustls; `tls-ring` or `tls-aws-lc-rs` is its cryptography,
//!   `tls-platform-verifier` and `tls-webpki-roots` are whom it trusts.
//! - `websocket`: `WebSocket`, a layer around any connector.
//! - `proxy`: `Proxied`, a layer around any connector, for HTTP CONNECT and SOCKS 5.
//! - `srv`: `Srv`, a layer around any connector, which looks SRV records up.
//! - `url`: `Url` and `Client::connect`, for all transports that are enabled.
#![cfg_attr(not(feature = "async-io"), allow(rustdoc::broken_intra_doc_links))]

#[cfg(any(feature = "async-io", feature = "file-store", feature = "srv"))]
mod answer;
mod auth;
pub mod blocking;
mod client;
mod config;
mod connect;
mod driver;
mod durable;
mod error;
mod events;
mod hooks;
mod link;
mod message;
mod queue;
mod random;
mod redirect;
mod request;
mod router;
mod shared;
mod shutdown;
mod stage;
mod status;
mod store;
mod time;
mod tokens;
#[cfg(feature = "tokio")]
mod tokio;
mod trace;

/// What a [`WebSocketRequest`] is made of.
#[cfg(feature = "websocket")]
pub use async_tungstenite::tungstenite::http;
/// The TLS that [`Tls`] is made of, in the version that it is: for a configuration of your own.
#[cfg(feature = "tls")]
pub use futures_rustls::rustls;
pub use mqtt_proto::{
    AckProperties, Bounds, ClientConfig, CloseReason, ConnAck, Connect, DecodeCause, DecodeError,
    Disconnect, EncodeError, Failure, PacketId, PacketType, PeerError, Properties, Property,
    Publish, PublishFields, PublishPacket, PublishProperties, QoS, ReasonCode, RecordError,
    RetainHandling, Subscribe, Subscription as FilterSubscription, SubscriptionOptions, Text,
    TextError, Timeout, TopicAliases, TopicError, TopicFilter, TopicName, Unsubscribe,
    UserProperties, Version, Will,
};

pub use crate::auth::Authenticator;
pub use crate::client::{Client, IntoTopicFilter, IntoTopicName, SendWait};
pub use crate::config::{
    Backoff, Config, Dropped, Inbound, Offline, Outbound, OutboundOverflow, Overflow, Requests,
    Resubscribe, ResubscribeOrder, StageTimeouts,
};
pub use crate::connect::{Address, AnyConnector, AnyTransport, Connector, Servers, Transport};
#[cfg(any(feature = "async-io", feature = "tokio"))]
pub use crate::connect::{AddressErrors, TcpOptions};
#[cfg(feature = "proxy")]
pub use crate::connect::{Proxied, Proxy, ProxyError};
#[cfg(feature = "async-io")]
pub use crate::connect::{Socket, Tcp, TcpStream};
#[cfg(feature = "srv")]
pub use crate::connect::{Srv, SrvError};
#[cfg(feature = "tls")]
pub use crate::connect::{Tls, TlsConfig, TlsError, TlsStream};
#[cfg(all(unix, feature = "async-io"))]
pub use crate::connect::{Unix, UnixStream};
#[cfg(feature = "url")]
pub use crate::connect::{Url, UrlError, UrlPart};
#[cfg(feature = "websocket")]
pub use crate::connect::{WebSocket, WebSocketError, WebSocketRequest, WebSocketStream};
pub use crate::driver::Driver;
pub use crate::durable::{Recovered, Stored};
pub use crate::error::{
    AuthenticationStep, CommandError, Error, PublishError, Rejected, RequestError, StoreError,
    TokenError,
};
pub use crate::events::{Events, StatusChanges};
pub use crate::hooks::{Attempt, HookError};
pub use crate::message::{Listening, Message, Messages, Next, Subscription};
pub use crate::redirect::{RedirectError, RedirectFault, Redirects};
pub use crate::request::{Request, Requesting, Responder, Response};
pub use crate::shutdown::{Report, Shutdown};
pub use crate::stage::{ConnectStage, Progress};
pub use crate::status::{Calls, Connected, Drops, Event, Losses, Phase, RoundTrips, Stats, Status};
#[cfg(feature = "file-store")]
pub use crate::store::FileStore;
pub use crate::store::{Change, MemoryStore, RecordKey, Store, StoreFailure};
#[cfg(feature = "async-io")]
pub use crate::time::AsyncIoTimer;
pub use crate::time::{Clock, Timer};
pub use crate::tokens::{
    Closing, Connecting, Granted, Published, Publishing, Ready, Reauthenticating, Received,
    Subscribing, Unsubscribing,
};
#[cfg(all(unix, feature = "tokio"))]
pub use crate::tokio::TokioUnix;
#[cfg(feature = "tokio")]
pub use crate::tokio::{TokioIo, TokioTcp, TokioTimer};

/// The programs in the README compile.
#[cfg(all(doctest, feature = "async-io", feature = "tokio"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
