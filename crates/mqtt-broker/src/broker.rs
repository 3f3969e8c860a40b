//! The handle and the driver.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use async_executor::Executor;
use futures_io::{AsyncRead, AsyncWrite};
use mqtt_async::Timer;
use mqtt_proto::{Publish, ReasonCode, TopicFilter};

use crate::config::BrokerConfig;
use crate::connection::{Connection, Slot};
use crate::hooks::Peer;
use crate::hub::{BrokerStats, Hub, SessionInfo, Shared};
use crate::layers::Layers;

#[cfg(feature = "async-io")]
mod listen;

/// A handle to a broker; cloning it makes another handle to the same one.
///
/// Nothing happens until its [`Driver`] is spawned. Dropping all handles does not end the broker:
/// [`shutdown`](Broker::shutdown) does.
///
/// ```
/// use mqtt_broker::{Broker, BrokerConfig};
///
/// let (broker, driver) = Broker::new(BrokerConfig::default());
/// smol::spawn(driver).detach();
/// let address = broker.listen("127.0.0.1:0")?;
/// println!("mqtt://{address}");
/// # Ok::<(), mqtt_broker::ListenError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Broker {
    shared: Arc<Shared>,
    /// Gone with the driver: what still runs on it goes as well.
    executor: Weak<Executor<'static>>,
}

impl Broker {
    /// Returns a broker, and the future that does its work.
    ///
    /// Its deadlines are kept by `async-io`, which starts one thread named `async-io` for the whole
    /// process.
    #[cfg(feature = "async-io")]
    pub fn new(config: BrokerConfig) -> (Broker, Driver) {
        Broker::with_timer(config, mqtt_async::AsyncIoTimer::new())
    }

    /// Returns a broker that lives by the time of that timer, and the future that does its work.
    ///
    /// The broker reads the time from [`Timer::clock`]: all that the session does about time, such as
    /// Keep Alive and expiry, goes by it.
    ///
    /// ```
    /// # #[cfg(feature = "tokio")] {
    /// use mqtt_broker::{Broker, BrokerConfig, TokioTimer};
    ///
    /// let (broker, driver) = Broker::with_timer(BrokerConfig::default(), TokioTimer::new());
    /// # }
    /// ```
    pub fn with_timer<T>(config: BrokerConfig, timer: T) -> (Broker, Driver)
    where
        T: Timer + Send + 'static,
    {
        let shared = Arc::new(Shared::new(Hub::new(config), timer.clock()));
        let executor = Arc::new(Executor::new());
        let broker = Broker { shared: shared.clone(), executor: Arc::downgrade(&executor) };
        let run = async move { executor.run(Keeper { shared, timer }).await };
        (broker, Driver { run: Some(Box::pin(run)) })
    }

    /// Serves a client over that stream: a socket, a TLS stream, one end of a pipe.
    ///
    /// The stream is closed at once if the broker has stopped or has as many connections as it may.
    pub fn attach<S>(&self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.attach_from(stream, Peer::default());
    }

    /// Serves a client over that stream, and tells the [`Hooks`](crate::Hooks) where it comes from.
    ///
    /// As [`attach`](Broker::attach).
    pub fn attach_from<S>(&self, stream: S, peer: Peer)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        if let Some((executor, slot)) = self.open(peer) {
            executor.spawn(Connection::new(slot, stream)).detach();
        }
    }

    /// Serves a client behind layers around that stream: TLS, WebSocket, or both.
    ///
    /// As [`attach`](Broker::attach). The connection counts from here on, and all handshakes and CONNECT together
    /// may take [`connect_timeout`](mqtt_proto::ServerConfig::connect_timeout). They hold nobody else up. The
    /// certificates of a client that has shown some are added to what the hooks know of the peer.
    pub fn attach_with<S>(&self, stream: S, peer: Peer, layers: &Layers)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        if layers.is_empty() {
            return self.attach_from(stream, peer);
        }
        let Some((executor, slot)) = self.open(peer) else { return };
        let layers = layers.clone();
        let task = async move {
            let largest = slot.shared.with(|hub| hub.maximum_packet_size());
            if let Some(accepted) = slot.wait(layers.accept(stream, largest)).await {
                slot.shared.with(|hub| hub.secured(slot.key, accepted.certificates));
                Connection::new(slot, accepted.stream).await;
            }
        };
        executor.spawn(task).detach();
    }

    /// Returns a place for a connection, if there is one.
    fn open(&self, peer: Peer) -> Option<(Arc<Executor<'static>>, Slot)> {
        let executor = self.executor.upgrade()?;
        let now = self.shared.now();
        let key = self.shared.with(|hub| hub.open(peer, now))?;
        Some((executor, Slot { shared: Arc::clone(&self.shared), key }))
    }

    /// Publishes a message as if a client had, and returns to how many sessions it went.
    ///
    /// It is retained if it says so. The payload is shared, not copied.
    ///
    /// ```
    /// # let (broker, _driver) = mqtt_broker::Broker::new(mqtt_broker::BrokerConfig::default());
    /// use mqtt_proto::{Publish, TopicName};
    ///
    /// let message = Publish::new(TopicName::new("plant/state")?, "on").retain(true);
    /// assert_eq!(broker.publish(&message), 0, "nobody has subscribed yet");
    /// assert_eq!(broker.stats().retained_messages, 1);
    /// # Ok::<(), mqtt_proto::TopicError>(())
    /// ```
    pub fn publish(&self, publish: &Publish) -> usize {
        let now = self.shared.now();
        self.shared.with(|hub| hub.publish(None, publish, now))
    }

    /// Returns the sessions, connected or not, sorted by Client Identifier.
    ///
    /// Takes time linear in the number of sessions and subscriptions, and holds all clients up so long.
    pub fn sessions(&self) -> Vec<SessionInfo> {
        self.shared.with(|hub| hub.sessions())
    }

    /// Returns the retained messages that match a filter, by topic, each with the Message Expiry Interval that
    /// is left of its own. Payloads are shared, not copied.
    ///
    /// `#` does not match topics that begin with `$`: MQTT-4.7.2-1.
    pub fn retained(&self, filter: &TopicFilter) -> Vec<Publish> {
        let now = self.shared.now();
        self.shared.with(|hub| hub.retained(filter, now))
    }

    /// Ends the connection of a client, and tells whether it had one.
    ///
    /// In MQTT 5.0 the client gets DISCONNECT with that reason, behind what is ready to leave. Its session
    /// stays for as long as it wanted, and its Will is published.
    pub fn disconnect(&self, client_id: &str, reason: ReasonCode) -> bool {
        let now = self.shared.now();
        self.shared.with(|hub| hub.disconnect(client_id, reason, now))
    }

    /// Forgets a session with its subscriptions and messages, and tells whether there was one.
    ///
    /// A client that is connected is cut off, in MQTT 5.0 with Administrative action; a Will that waits is
    /// published.
    pub fn remove_session(&self, client_id: &str) -> bool {
        let now = self.shared.now();
        self.shared.with(|hub| hub.remove_session(client_id, now))
    }

    /// Returns what the broker holds and has counted.
    pub fn stats(&self) -> BrokerStats {
        self.shared.with(|hub| hub.stats())
    }

    /// Stops: disconnects all clients, with Server shutting down in MQTT 5.0, and lets no more in.
    ///
    /// Messages that are ready to leave still do, as far as the clients take them in the time that
    /// [`BrokerConfig::linger`] gives; then the driver ends, and listeners close. Wills are not
    /// published. Calling it again changes nothing.
    pub fn shutdown(&self) {
        let now = self.shared.now();
        self.shared.with(|hub| hub.shutdown(now));
    }
}

/// The work of a broker: a future to be spawned, on whatever runtime.
///
/// All connections run inside it, one at a time, so it takes one thread at most. It ends after
/// [`Broker::shutdown`], when the last connection has. Dropping it breaks all connections at once.
#[must_use = "nothing happens unless it is spawned or awaited"]
pub struct Driver {
    /// `None` once it has ended, so that connections and listeners are gone then.
    run: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(run) = &mut self.run {
            if run.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.run = None;
        }
        Poll::Ready(())
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("ended", &self.run.is_none()).finish()
    }
}

/// Waits for the deadlines of all connections and sessions.
struct Keeper<T> {
    shared: Arc<Shared>,
    timer: T,
}

impl<T: Timer> Future for Keeper<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.shared.now();
        let Some(next) = self.shared.with(|hub| hub.tick(cx.waker(), now)) else {
            return Poll::Ready(());
        };
        if let Some(at) = next.and_then(|next| self.shared.at(next))
            && self.timer.poll_until(at, cx).is_ready()
        {
            // It passed meanwhile. Not a loop: a timer that is ahead of its clock would hold it up.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}
