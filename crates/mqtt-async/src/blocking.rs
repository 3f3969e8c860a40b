//! A client for programs without an executor: the same names, and methods that wait.
//!
//! [`Client`] is the handle; what its commands return is a [`Token`], with [`wait`](Token::wait), and what comes
//! in is a [`Receiver`], with [`recv`](Receiver::recv), [`recv_timeout`](Receiver::recv_timeout),
//! [`try_recv`](Receiver::try_recv) and [`iter`](Receiver::iter).
//!
//! ```no_run
//! use std::time::Duration;
//! use mqtt_async::blocking::Client;
//! use mqtt_async::{Config, QoS, Tcp, Version};
//!
//! # #[cfg(feature = "async-io")]
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let config = Config::new(Version::V5).client_id("sensor-7")?;
//!     let client = Client::new(config, Tcp::new("localhost", 1883))?;
//!
//!     client.subscribe("plant/+/temperature", QoS::AtLeastOnce)?.wait()?;
//!     let token = client.publish("plant/7/temperature", "21.5", QoS::AtLeastOnce)?;
//!     println!("the server says: {}", token.wait()?.reason); // or drop the token: fire and forget
//!
//!     for message in client.messages().iter() {
//!         println!("{}: {:?}", message.topic(), message.payload());
//!         if message.payload_bytes() == b"stop" {
//!             break;
//!         }
//!     }
//!     let report = client.shutdown(Duration::from_secs(5));
//!     println!("not sent: {}", report.unsent.len());
//!     Ok(())
//! }
//! # #[cfg(not(feature = "async-io"))]
//! # fn main() {}
//! ```
//!
//! # Under the hood
//!
//! There is no runtime. Each client has one thread, named `mqtt-driver`, that polls the
//! [`Driver`] and parks while that has nothing to do; the thread ends with the driver.
//! [`AsyncIoTimer`](crate::AsyncIoTimer) and [`Tcp`](crate::Tcp) bring the thread of `async-io`, one for the
//! whole process. A call that waits parks its own thread.
//!
//! # In an executor
//!
//! A call that waits blocks its thread, as any blocking call does, and so does the drop of the last handle: the
//! tasks of that thread stand still. It does not block this client, whose driver has a thread of its own, so there is
//! no deadlock as long as the connector and the timer do not need that executor. Those of tokio do need a runtime,
//! and panic in a thread that has none: use the [async client](crate::Client) there.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use mqtt_proto::{Publish, QoS, Subscribe, SubscriptionOptions, Unsubscribe};

use crate::client::{IntoTopicFilter, IntoTopicName};
use crate::config::{Config, Inbound};
use crate::connect::Connector;
use crate::driver::Driver;
use crate::durable::Stored;
use crate::error::{CommandError, PublishError, TokenError};
use crate::request::{Request, Requesting, Response};
use crate::shutdown::Report;
use crate::status::{Stats, Status};
use crate::time::Timer;
use crate::tokens::{
    Closing, Connecting, Publishing, Ready, Reauthenticating, Subscribing, Unsubscribing,
};
use crate::{client, events, message};

mod receive;
mod respond;
mod thread;

pub use receive::{IntoIter, Iter, Receiver, RecvError, Token};
pub use respond::Responder;
use thread::{DriverThread, block_on};

/// The messages that come in and belong to no [`Subscription`]; see [`Messages`](crate::Messages).
pub type Messages = Receiver<message::Messages>;

/// The messages of a subscription; see [`Subscription`](crate::Subscription).
pub type Subscription = Receiver<message::Subscription>;

/// What happens to the connection; see [`Events`](crate::Events).
pub type Events = Receiver<events::Events>;

/// The status whenever it has changed; see [`StatusChanges`](crate::StatusChanges).
pub type StatusChanges = Receiver<events::StatusChanges>;

/// Waits for a future in this thread, which parks meanwhile: for what has no method here.
///
/// ```no_run
/// # #[cfg(feature = "async-io")]
/// # fn example(store: impl mqtt_async::Store + Send) -> Result<(), Box<dyn std::error::Error>> {
/// use mqtt_async::{Client, Config, Tcp, Version, blocking};
///
/// let config = Config::new(Version::V5).client_id("sensor-7")?;
/// let connector = Tcp::new("localhost", 1883);
/// let (client, driver, _) = blocking::wait(Client::durable(config, connector, store))?;
/// let client = blocking::Client::start(client, driver)?;
/// # Ok(()) }
/// ```
pub fn wait<F: Future>(future: F) -> F::Output {
    block_on(future)
}

/// A handle to an MQTT client whose driver has a thread; clone it freely.
///
/// It is the [async client](crate::Client), whose documentation says what each method does. Commands return at
/// once, with a [`Token`] to wait for.
///
/// # When it is dropped
///
/// When the last handle, the last [`Receiver`] and the last [`Responder`] are dropped, the client disconnects as
/// with [`disconnect`](Client::disconnect), and the drop waits for the end of the thread: so a program that
/// returns from `main` has disconnected politely. It waits for twice
/// [`close_timeout`](Config::close_timeout) at most, and then breaks the connection. It does not wait while a
/// handle of the [async client](Client::as_async) is left.
#[derive(Clone, Debug)]
pub struct Client {
    // Dropped in this order: the thread may end when the handle is gone.
    client: client::Client,
    thread: Arc<DriverThread>,
}

impl Client {
    /// Returns a client with the timer of `async-io`, and starts its thread.
    ///
    /// # Errors
    ///
    /// If the system starts no thread.
    #[cfg(feature = "async-io")]
    pub fn new<C>(config: Config, connector: C) -> io::Result<Client>
    where
        C: Connector + Send + 'static,
        C::Io: Send,
        C::Connecting: Send,
    {
        Client::with_timer(config, connector, crate::time::AsyncIoTimer::new())
    }

    /// Returns a client with a timer of your choice, and starts its thread.
    ///
    /// # Errors
    ///
    /// If the system starts no thread.
    pub fn with_timer<C, T>(config: Config, connector: C, timer: T) -> io::Result<Client>
    where
        C: Connector + Send + 'static,
        C::Io: Send,
        C::Connecting: Send,
        T: Timer + Send + 'static,
    {
        let (client, driver) = client::Client::with_timer(config, connector, timer);
        Client::start(client, driver)
    }

    /// Starts a thread for the driver of an async client: one that has hooks, or a store.
    ///
    /// ```no_run
    /// # #[cfg(feature = "async-io")]
    /// # fn example() -> std::io::Result<()> {
    /// use mqtt_async::{Client, Config, Tcp, Version, blocking};
    ///
    /// let (client, driver) = Client::new(Config::new(Version::V5), Tcp::new("localhost", 1883));
    /// let driver = driver.reconnect_if(|error, failed| error.is_retryable() && failed < 3);
    /// let client = blocking::Client::start(client, driver)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// If the system starts no thread.
    pub fn start<C, T>(client: client::Client, driver: Driver<C, T>) -> io::Result<Client>
    where
        C: Connector + Send + 'static,
        C::Io: Send,
        C::Connecting: Send,
        T: Timer + Send + 'static,
    {
        let shared = Arc::clone(client.handle().shared());
        let patience = driver.close_timeout().saturating_mul(2);
        let thread = DriverThread::spawn(shared, patience, driver)?;
        Ok(Client { client, thread: Arc::new(thread) })
    }

    /// Returns the async client: for code that is async.
    pub fn as_async(&self) -> &client::Client {
        &self.client
    }

    /// Publishes a message; see [`Client::publish`](crate::Client::publish). This does not wait.
    ///
    /// # Errors
    ///
    /// See [`PublishError`]; `Full`, `Offline` and `Closed` give the message back.
    pub fn publish(
        &self,
        topic: impl IntoTopicName,
        payload: impl Into<Bytes>,
        qos: QoS,
    ) -> Result<Token<Publishing>, PublishError> {
        self.client.publish(topic, payload, qos).map(Token::new)
    }

    /// Publishes a message that was built beforehand; see [`Client::send`](crate::Client::send). This does not
    /// wait.
    ///
    /// # Errors
    ///
    /// See [`PublishError`]; `Full`, `Offline` and `Closed` give the message back.
    pub fn send(&self, publish: Publish) -> Result<Token<Publishing>, PublishError> {
        self.client.send(publish).map(Token::new)
    }

    /// Publishes a message, and waits for room for it if there is none; see
    /// [`Client::publish_wait`](crate::Client::publish_wait).
    ///
    /// It returns when the message is accepted, not when it has arrived: that is what the token is for.
    ///
    /// ```no_run
    /// # fn example(client: mqtt_async::blocking::Client) -> Result<(), mqtt_async::PublishError> {
    /// for number in 0..1_000_000 {
    ///     client.publish_wait("count", number.to_string(), mqtt_async::QoS::AtLeastOnce)?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PublishError`], but never `Full`; `Offline` and `Closed` give the message back.
    pub fn publish_wait(
        &self,
        topic: impl IntoTopicName,
        payload: impl Into<Bytes>,
        qos: QoS,
    ) -> Result<Token<Publishing>, PublishError> {
        block_on(self.client.publish_wait(topic, payload, qos)).map(Token::new)
    }

    /// Publishes a message that was built beforehand, and waits for room for it if there is none; see
    /// [`Client::send_wait`](crate::Client::send_wait).
    ///
    /// # Errors
    ///
    /// See [`PublishError`], but never `Full`; `Offline` and `Closed` give the message back.
    pub fn send_wait(&self, publish: Publish) -> Result<Token<Publishing>, PublishError> {
        block_on(self.client.send_wait(publish)).map(Token::new)
    }

    /// Subscribes to a filter; see [`Client::subscribe`](crate::Client::subscribe).
    ///
    /// # Errors
    ///
    /// See [`CommandError`].
    pub fn subscribe(
        &self,
        filter: impl IntoTopicFilter,
        options: impl Into<SubscriptionOptions>,
    ) -> Result<Token<Subscribing>, CommandError> {
        self.client.subscribe(filter, options).map(Token::new)
    }

    /// Subscribes with a SUBSCRIBE that was built beforehand; see
    /// [`Client::subscribe_with`](crate::Client::subscribe_with).
    ///
    /// # Errors
    ///
    /// See [`CommandError`].
    pub fn subscribe_with(&self, subscribe: Subscribe) -> Result<Token<Subscribing>, CommandError> {
        self.client.subscribe_with(subscribe).map(Token::new)
    }

    /// Unsubscribes from a filter; see [`Client::unsubscribe`](crate::Client::unsubscribe).
    ///
    /// # Errors
    ///
    /// See [`CommandError`].
    pub fn unsubscribe(
        &self,
        filter: impl IntoTopicFilter,
    ) -> Result<Token<Unsubscribing>, CommandError> {
        self.client.unsubscribe(filter).map(Token::new)
    }

    /// Unsubscribes with an UNSUBSCRIBE that was built beforehand; see
    /// [`Client::unsubscribe_with`](crate::Client::unsubscribe_with).
    ///
    /// # Errors
    ///
    /// See [`CommandError`].
    pub fn unsubscribe_with(
        &self,
        unsubscribe: Unsubscribe,
    ) -> Result<Token<Unsubscribing>, CommandError> {
        self.client.unsubscribe_with(unsubscribe).map(Token::new)
    }

    /// Subscribes to a filter, with a stream of its own; see [`Client::listen`](crate::Client::listen).
    ///
    /// # Errors
    ///
    /// See [`CommandError`].
    pub fn listen(
        &self,
        filter: impl IntoTopicFilter,
        options: impl Into<SubscriptionOptions>,
    ) -> Result<Subscription, CommandError> {
        Ok(Receiver::new(self.client.listen(filter, options)?, &self.thread))
    }

    /// Subscribes with a SUBSCRIBE that was built beforehand, and with bounds of its own; see
    /// [`Client::listen_with`](crate::Client::listen_with).
    ///
    /// # Errors
    ///
    /// See [`CommandError`].
    pub fn listen_with(
        &self,
        subscribe: Subscribe,
        bounds: Inbound,
    ) -> Result<Subscription, CommandError> {
        Ok(Receiver::new(self.client.listen_with(subscribe, bounds)?, &self.thread))
    }

    /// Returns the messages that come in and belong to no [`Subscription`]; see
    /// [`Client::messages`](crate::Client::messages).
    pub fn messages(&self) -> Messages {
        Receiver::new(self.client.messages(), &self.thread)
    }

    /// Returns a token that resolves when there is room for another message; see
    /// [`Client::ready`](crate::Client::ready).
    pub fn ready(&self) -> Token<Ready> {
        Token::new(self.client.ready())
    }

    /// Returns a token that resolves when there is a connection; see
    /// [`Client::connected`](crate::Client::connected).
    pub fn connected(&self) -> Token<Connecting> {
        Token::new(self.client.connected())
    }

    /// Returns a token that resolves when what was accepted is in the store; see
    /// [`Client::stored`](crate::Client::stored).
    ///
    /// # Errors
    ///
    /// `NotSupported` if the client was made without a store.
    pub fn stored(&self) -> Result<Token<Stored>, CommandError> {
        self.client.stored().map(Token::new)
    }

    /// Authenticates anew on this connection; see [`Client::reauthenticate`](crate::Client::reauthenticate).
    ///
    /// # Errors
    ///
    /// See [`CommandError`].
    pub fn reauthenticate(&self) -> Result<Token<Reauthenticating>, CommandError> {
        self.client.reauthenticate().map(Token::new)
    }

    /// Publishes a request; see [`Client::request`](crate::Client::request). The token resolves to the response.
    ///
    /// ```no_run
    /// # fn example(client: mqtt_async::blocking::Client) -> Result<(), mqtt_async::RequestError> {
    /// use std::time::Duration;
    ///
    /// let request = client.request("plant/7/read", "temperature", Duration::from_secs(5));
    /// println!("{:?}", request.wait()?.payload());
    /// # Ok(()) }
    /// ```
    pub fn request(
        &self,
        topic: impl IntoTopicName,
        payload: impl Into<Bytes>,
        timeout: Duration,
    ) -> Token<Requesting> {
        Token::new(self.client.request(topic, payload, timeout))
    }

    /// Publishes a request that was built beforehand; see [`Client::request_with`](crate::Client::request_with).
    pub fn request_with(&self, publish: Publish, timeout: Duration) -> Token<Requesting> {
        Token::new(self.client.request_with(publish, timeout))
    }

    /// Serves the requests that come to a filter, one at a time; see [`Client::respond`](crate::Client::respond).
    ///
    /// The subscription is made at the call; [`Responder::wait`] serves. The handler may wait for what it likes,
    /// also for this client.
    ///
    /// ```no_run
    /// # fn example(client: &mqtt_async::blocking::Client) -> Result<(), mqtt_async::CommandError> {
    /// let responder = client.respond("plant/+/read", |request| {
    ///     format!("{}: 21.5", request.topic())
    /// })?;
    /// let thread = std::thread::spawn(|| responder.wait());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`CommandError`].
    pub fn respond<R>(
        &self,
        filter: impl IntoTopicFilter,
        handler: impl FnMut(Request) -> R + Send + 'static,
    ) -> Result<Responder<R>, CommandError>
    where
        R: Into<Response> + 'static,
    {
        Responder::new(&self.client, &self.thread, filter, handler)
    }

    /// Ends the client; see [`Client::disconnect`](crate::Client::disconnect). This takes effect at the call.
    pub fn disconnect(&self) -> Token<Closing> {
        Token::new(self.client.disconnect())
    }

    /// Ends the client when everything has its answer; see [`Client::drain`](crate::Client::drain). This takes
    /// effect at the call.
    pub fn drain(&self) -> Token<Closing> {
        Token::new(self.client.drain())
    }

    /// Ends the client when everything has its answer, or when the time is up, and waits for that; see
    /// [`Client::shutdown`](crate::Client::shutdown). Returns what is left.
    pub fn shutdown(&self, deadline: Duration) -> Report {
        block_on(self.client.shutdown(deadline))
    }

    /// Ends the client at once, so that the server publishes the Will; see
    /// [`Client::abort`](crate::Client::abort).
    pub fn abort(&self) -> Token<Closing> {
        Token::new(self.client.abort())
    }

    /// As [`disconnect`](Client::disconnect), but the server publishes the Will; see
    /// [`Client::disconnect_with_will`](crate::Client::disconnect_with_will).
    pub fn disconnect_with_will(&self) -> Token<Closing> {
        Token::new(self.client.disconnect_with_will())
    }

    /// Waits until the client has ended, for whatever reason, and its thread with it.
    ///
    /// It does not end the client. In a hook of the driver this would wait for ever.
    ///
    /// # Errors
    ///
    /// Why the driver gave up: [`TokenError::Ended`]. [`TokenError::DriverGone`] if something in it has
    /// panicked: the connector, the timer or a hook.
    pub fn join(&self) -> Result<(), TokenError> {
        let result = block_on(Closing::new(self.client.handle().shared()));
        self.thread.wait();
        result
    }

    /// Returns how the client stands now.
    pub fn status(&self) -> Status {
        self.client.status()
    }

    /// Returns the status whenever it has changed; see
    /// [`Client::status_changes`](crate::Client::status_changes).
    pub fn status_changes(&self) -> StatusChanges {
        Receiver::new(self.client.status_changes(), &self.thread)
    }

    /// Returns what happens to the connection from now on; see [`Client::events`](crate::Client::events).
    pub fn events(&self) -> Events {
        Receiver::new(self.client.events(), &self.thread)
    }

    /// Returns what the client has counted.
    pub fn stats(&self) -> Stats {
        self.client.stats()
    }
}
