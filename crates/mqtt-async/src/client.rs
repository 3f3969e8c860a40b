//! The handle that applications use.

use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use mqtt_proto::{
    Publish, QoS, SessionState, Subscribe, SubscriptionOptions, TopicError, TopicFilter, TopicName,
    Unsubscribe,
};

use crate::config::{Config, Inbound};
use crate::connect::Connector;
use crate::driver::Driver;
use crate::error::{CommandError, PublishError};
use crate::message::{Messages, Subscription};
use crate::shared::{Close, Handle, Shared, own_connect, owned_subscribe, owned_unsubscribe};
use crate::status::Status;
use crate::time::Timer;
use crate::tokens::{Closing, Connecting, Publishing, Ready, Subscribing, Unsubscribing};

mod authentication;
mod durable;
mod ending;
mod outbound;
mod state;
#[cfg(all(feature = "url", any(feature = "async-io", feature = "tokio")))]
mod url;

pub use outbound::SendWait;

/// A handle to an MQTT client; clone it freely.
///
/// Its methods are plain functions: they never wait and never block, whether there is a connection or
/// not. What they return can be awaited or dropped. The work is done by the [`Driver`], which has to run
/// in a task.
///
/// When the last handle and the last stream ([`Messages`], [`Subscription`]) are dropped, the client disconnects as with
/// [`disconnect`](Client::disconnect).
#[derive(Clone, Debug)]
pub struct Client(Handle);

impl Client {
    /// Returns a client and its driver, with the timer of `async-io`: for every executor.
    ///
    /// Nothing happens before the driver is polled. Spawn it, or join it with what you do.
    ///
    /// ```no_run
    /// use mqtt_async::{Client, Config, QoS, Tcp, Version};
    ///
    /// # async fn example(executor: &async_executor::Executor<'_>) -> Result<(), Box<dyn std::error::Error>> {
    /// let (client, driver) = Client::new(Config::new(Version::V5), Tcp::new("localhost", 1883));
    /// let driver = executor.spawn(driver);
    /// client.subscribe("plant/+", QoS::AtLeastOnce)?.await?;
    /// client.publish("plant/7", "21.5", QoS::AtLeastOnce)?.await?;
    /// let message = client.messages().next().await;
    /// client.disconnect().await?;
    /// driver.await?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "async-io")]
    pub fn new<C: Connector>(
        config: Config,
        connector: C,
    ) -> (Client, Driver<C, crate::time::AsyncIoTimer>) {
        Client::with_timer(config, connector, crate::time::AsyncIoTimer::new())
    }

    /// Returns a client and its driver, with a timer of your choice.
    ///
    /// Nothing happens before the driver is polled.
    pub fn with_timer<C: Connector, T: Timer>(
        config: Config,
        connector: C,
        timer: T,
    ) -> (Client, Driver<C, T>) {
        Client::with_session(config.settle(), SessionState::default(), connector, timer)
    }

    fn with_session<C: Connector, T: Timer>(
        mut config: Config,
        session: SessionState,
        connector: C,
        timer: T,
    ) -> (Client, Driver<C, T>) {
        let (clock, epoch) = (timer.clock(), timer.now());
        let limits = config.limits();
        own_connect(&mut config.session.connect);
        let shared = Arc::new(Shared::new(config, session, clock, epoch));
        let client = Client(Handle::new(Arc::clone(&shared)));
        (client, Driver::new(shared, connector, timer, limits))
    }

    /// Publishes a message; see [`send`](Client::send) for more than topic, payload and QoS.
    ///
    /// It is queued and sent as soon as the connection and the server's Receive Maximum permit, in the
    /// order of the calls. While it cannot be sent it waits, as far as
    /// [`Config::outbound`](crate::Config::outbound) lets it. MQTT 5.0 section 3.3.
    ///
    /// The payload is what becomes [`Bytes`] without being copied: a `String`, a `Vec<u8>`, what is `'static`, or
    /// `Bytes`. A copy of anything else is the caller's to make: `text.to_owned()`, `slice.to_vec()`.
    ///
    /// A payload of 2 KiB or more goes to the transport from where it lies. It is dropped as soon as the message
    /// has its outcome, and not under a lock of the client: the owner of a
    /// [`Bytes::from_owner`](bytes::Bytes::from_owner) may call the client as it is dropped.
    ///
    /// ```
    /// # fn example(client: mqtt_async::Client) -> Result<(), mqtt_async::PublishError> {
    /// client.publish("plant/7/temperature", "21.5", mqtt_async::QoS::AtLeastOnce)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`PublishError`]; `Full`, `Offline` and `Closed` give the message back.
    pub fn publish(
        &self,
        topic: impl IntoTopicName,
        payload: impl Into<Bytes>,
        qos: QoS,
    ) -> Result<Publishing, PublishError> {
        self.send(Publish::new(topic.into_topic_name()?, payload).qos(qos))
    }

    /// Publishes a message that was built beforehand, with RETAIN or properties.
    ///
    /// As [`publish`](Client::publish).
    ///
    /// # Errors
    ///
    /// See [`PublishError`]; `Full`, `Offline` and `Closed` give the message back.
    pub fn send(&self, publish: Publish) -> Result<Publishing, PublishError> {
        let shared = self.0.shared();
        shared.publish(publish).map(Publishing::new)
    }

    /// Subscribes to a filter; its messages arrive on [`messages`](Client::messages).
    ///
    /// The second argument is a QoS or all [`SubscriptionOptions`]. The subscription is remembered: if the
    /// server loses the session, it is made anew, as [`Config::resubscribe`](Config::resubscribe) says. MQTT
    /// 5.0 section 3.8.
    ///
    /// ```
    /// # async fn example(client: mqtt_async::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let granted = client.subscribe("plant/+/temperature", mqtt_async::QoS::AtLeastOnce)?.await?;
    /// println!("{}", granted.reasons[0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`CommandError`].
    pub fn subscribe(
        &self,
        filter: impl IntoTopicFilter,
        options: impl Into<SubscriptionOptions>,
    ) -> Result<Subscribing, CommandError> {
        self.subscribe_with(Subscribe::new(filter.into_topic_filter()?, options))
    }

    /// Subscribes with a SUBSCRIBE that was built beforehand: several filters, properties.
    ///
    /// As [`subscribe`](Client::subscribe).
    ///
    /// ```
    /// # async fn example(client: mqtt_async::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use mqtt_async::{QoS, Subscribe, TopicFilter};
    ///
    /// let subscribe = Subscribe::new(TopicFilter::new("plant/+/temperature")?, QoS::AtLeastOnce)
    ///     .and(TopicFilter::new("plant/+/alarm")?, QoS::ExactlyOnce);
    /// let granted = client.subscribe_with(subscribe)?.await?;
    /// println!("{:?}", granted.reasons);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`CommandError`].
    pub fn subscribe_with(&self, subscribe: Subscribe) -> Result<Subscribing, CommandError> {
        let shared = self.0.shared();
        let subscribe = owned_subscribe(subscribe);
        shared.command(|state| state.subscribe(shared, subscribe)).map(Subscribing::new)
    }

    /// Unsubscribes from a filter, character for character the one that was subscribed to.
    ///
    /// Messages that are under way may still arrive. MQTT 5.0 section 3.10.
    ///
    /// # Errors
    ///
    /// See [`CommandError`].
    pub fn unsubscribe(&self, filter: impl IntoTopicFilter) -> Result<Unsubscribing, CommandError> {
        self.unsubscribe_with(Unsubscribe::new(filter.into_topic_filter()?))
    }

    /// Unsubscribes with an UNSUBSCRIBE that was built beforehand: several filters, properties.
    ///
    /// As [`unsubscribe`](Client::unsubscribe).
    ///
    /// # Errors
    ///
    /// See [`CommandError`].
    pub fn unsubscribe_with(
        &self,
        unsubscribe: Unsubscribe,
    ) -> Result<Unsubscribing, CommandError> {
        let shared = self.0.shared();
        let mut woken = Vec::new();
        let unsubscribe = owned_unsubscribe(unsubscribe);
        let slot = shared.command(|state| state.unsubscribe(shared, unsubscribe, &mut woken));
        // Whoever listened to it has an end.
        woken.into_iter().for_each(Waker::wake);
        slot.map(Unsubscribing::new)
    }

    /// Subscribes to a filter, with a stream of its own: its messages do not go to
    /// [`messages`](Client::messages).
    ///
    /// It has the bounds that [`Config::inbound`] says. Dropping it unsubscribes; see [`Subscription`].
    /// As with [`subscribe`](Client::subscribe), it is remembered if the server loses the session.
    ///
    /// ```
    /// # async fn example(client: mqtt_async::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut temperatures = client.listen("plant/+/temperature", mqtt_async::QoS::AtLeastOnce)?;
    /// temperatures.subscribed().await?;
    /// while let Some(message) = temperatures.next().await {
    ///     println!("{}: {:?}", message.topic(), message.payload());
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`CommandError`]; `Unexpected` if another stream listens to the filter with other options.
    pub fn listen(
        &self,
        filter: impl IntoTopicFilter,
        options: impl Into<SubscriptionOptions>,
    ) -> Result<Subscription, CommandError> {
        let subscribe = Subscribe::new(filter.into_topic_filter()?, options);
        self.listen_with(subscribe, self.0.shared().inbound)
    }

    /// Subscribes with a SUBSCRIBE that was built beforehand, several filters or User Properties, and with
    /// bounds of its own.
    ///
    /// As [`listen`](Client::listen). The stream has the messages of all the filters.
    ///
    /// ```
    /// # fn example(client: mqtt_async::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use mqtt_async::{Inbound, Overflow, QoS, Subscribe, TopicFilter};
    ///
    /// // Of readings that nobody has taken yet, only the newest counts.
    /// let mut bounds = Inbound::default();
    /// bounds.messages = 100;
    /// bounds.overflow = Overflow::LatestPerTopic;
    /// let filter = TopicFilter::new("plant/+/temperature")?;
    /// let readings = client.listen_with(Subscribe::new(filter, QoS::AtLeastOnce), bounds)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`listen`](Client::listen); `Unexpected` also if the SUBSCRIBE has a Subscription Identifier,
    /// because the stream needs one that it chooses, or a filter twice.
    pub fn listen_with(
        &self,
        subscribe: Subscribe,
        bounds: Inbound,
    ) -> Result<Subscription, CommandError> {
        let subscribe = owned_subscribe(subscribe);
        let stream = self.0.shared().command(|state| state.listen(subscribe, bounds))?;
        Ok(Subscription::new(self.0.clone(), stream))
    }

    /// Returns the stream of messages that come in and belong to no [`Subscription`].
    pub fn messages(&self) -> Messages {
        Messages::new(self.0.clone())
    }

    /// Returns a future that resolves when there is room for another message.
    ///
    /// [`send_wait`](Client::send_wait) does this for one message, in the order of those who wait.
    ///
    /// ```
    /// # async fn example(client: mqtt_async::Client, mut publish: mqtt_async::Publish)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// use mqtt_async::PublishError;
    ///
    /// while let Err(error) = client.send(publish) {
    ///     let PublishError::Full(back) = error else { return Err(error.into()) };
    ///     publish = *back;
    ///     client.ready().await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn ready(&self) -> Ready {
        Ready::new(self.0.shared())
    }

    /// Returns a future that resolves when there is a connection.
    pub fn connected(&self) -> Connecting {
        Connecting::new(self.0.shared())
    }

    /// Ends the client: what was accepted and may be sent now is sent, then DISCONNECT, and then the
    /// transport is closed in order. The driver ends with `Ok(())`.
    ///
    /// It does not wait for answers: what has none ends with
    /// [`TokenError::Closed`](crate::TokenError::Closed), also what could not be sent because there is no
    /// connection or the server's Receive Maximum is used up. An attempt to connect that is under way is
    /// waited for if something is queued. A server that takes no bytes for
    /// [`close_timeout`](crate::Config::close_timeout) is not waited for.
    ///
    /// This takes effect at the call, whether the future is awaited or not. MQTT 5.0 section 3.14.
    pub fn disconnect(&self) -> Closing {
        self.close(Close::Now)
    }

    /// Ends the client when everything that was accepted has its answer; new commands are refused.
    ///
    /// Messages that come in are not waited for. It goes on over reconnects, for as long as they take; call
    /// [`disconnect`](Client::disconnect) to wait no longer. As there, this takes effect at the call.
    pub fn drain(&self) -> Closing {
        self.close(Close::WhenIdle)
    }

    fn close(&self, close: Close) -> Closing {
        let shared = self.0.shared();
        shared.command(|state| state.close = state.close.max(close));
        Closing::new(shared)
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.0
    }

    /// Returns how the client stands now.
    pub fn status(&self) -> Status {
        self.0.shared().lock().status()
    }
}

/// What can be published to: a [`TopicName`], or a string that is one.
pub trait IntoTopicName {
    /// Returns the Topic Name, or says why it is none.
    ///
    /// # Errors
    ///
    /// If a string is no Topic Name.
    fn into_topic_name(self) -> Result<TopicName, TopicError>;
}

/// What can be subscribed to: a [`TopicFilter`], or a string that is one.
pub trait IntoTopicFilter {
    /// Returns the Topic Filter, or says why it is none.
    ///
    /// # Errors
    ///
    /// If a string is no Topic Filter.
    fn into_topic_filter(self) -> Result<TopicFilter, TopicError>;
}

macro_rules! topics {
    ($trait:ident, $method:ident, $type:ident) => {
        impl $trait for $type {
            fn $method(self) -> Result<$type, TopicError> {
                Ok(self)
            }
        }

        impl $trait for &$type {
            fn $method(self) -> Result<$type, TopicError> {
                Ok(self.clone())
            }
        }

        impl $trait for &str {
            fn $method(self) -> Result<$type, TopicError> {
                $type::new(self)
            }
        }

        impl $trait for String {
            fn $method(self) -> Result<$type, TopicError> {
                $type::new(self)
            }
        }

        impl $trait for &String {
            fn $method(self) -> Result<$type, TopicError> {
                $type::new(self.as_str())
            }
        }
    };
}

topics!(IntoTopicName, into_topic_name, TopicName);
topics!(IntoTopicFilter, into_topic_filter, TopicFilter);
