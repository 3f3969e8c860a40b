//! A client whose session survives a restart of the program.

use mqtt_proto::{Publish, Token};

use super::Client;
use crate::config::Config;
use crate::connect::Connector;
use crate::driver::Driver;
use crate::durable::{Recovered, Stored};
use crate::error::{CommandError, StoreError};
use crate::store::{Journal, Opened, Store};
use crate::time::Timer;
use crate::tokens::Publishing;

impl Client {
    /// Returns a client whose session survives a restart of the program, its driver, and the messages that
    /// the last run has left; with the timer of `async-io`.
    ///
    /// A message of QoS 1 or 2 is in the store before it leaves, and so is everything that delivers it
    /// exactly once, in both directions. After a restart, or a crash at any moment, give the same store
    /// again: the messages of QoS 1 and 2 that had no final answer are delivered to the server, in their
    /// order and before new ones, and what the server had delivered already does not come twice.
    ///
    /// # What has to be set
    ///
    /// - The Client Identifier, the same each time ([`Config::client_id`]).
    /// - With MQTT 5.0, `session.connect.session_expiry_interval`: how many seconds the server keeps the
    ///   session while the program is away, above 0. If it is longer away, or the server permits less
    ///   ([`ConnAck`](crate::ConnAck) says so), messages of QoS 2 that may have been sent end with
    ///   [`Failure::SessionLost`](crate::Failure::SessionLost), unless
    ///   [`resend_lost_qos2`](crate::ClientConfig::resend_lost_qos2) is set.
    /// - With MQTT 3.x, `session.connect.clean_start` to false. With MQTT 5.0, true means that the first
    ///   connection of an empty store begins with a new session; a session that is stored is never cleaned.
    ///
    /// Each client needs a store of its own. Subscribe again in each run: the server knows the
    /// subscriptions of the session, but this client does not, and they would not be made anew if the server
    /// lost it. What the server has for them before comes out of [`messages`](Client::messages).
    ///
    /// # What is promised, and what not
    ///
    /// What was accepted is durable when [`stored`](Client::stored) resolves, and before it is sent; a crash
    /// before that may lose it. A message that came in counts as taken when it was taken out of its stream
    /// (with [`manual_ack`](Config::manual_ack), when it is acknowledged) and the store has that: a crash in
    /// between brings it back. If that must not be, keep the effect and a mark of the message in one
    /// transaction of your own. QoS 0 is not stored, nor are subscriptions. A Message Expiry Interval
    /// begins anew with each run.
    ///
    /// Ending the client leaves what has no answer in the store, for the next run; its tokens say
    /// [`TokenError::Closed`](crate::TokenError::Closed) all the same. The driver ends when the store has
    /// everything, in whatever way the client is ended.
    ///
    /// If the store fails, the driver ends with [`Error::Store`](crate::Error::Store) and closes the transport
    /// at once, and with that error all tokens: it never goes on without what it promises. A slow store
    /// slows down what has to be stored, and then fills [`Bounds`](crate::Bounds).
    ///
    /// This is not cancel-safe: when it is dropped, the store is.
    ///
    /// ```no_run
    /// # async fn example(executor: &async_executor::Executor<'_>, store: impl mqtt_async::Store)
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// use mqtt_async::{Client, Config, QoS, Tcp, Version};
    ///
    /// let mut config = Config::new(Version::V5).client_id("sensor-7")?;
    /// config.session.connect.session_expiry_interval = Some(7 * 24 * 3600);
    /// let connector = Tcp::new("localhost", 1883);
    /// let (client, driver, recovered) = Client::durable(config, connector, store).await?;
    /// let driver = executor.spawn(driver);
    /// println!("{} messages are still to be delivered", recovered.len());
    ///
    /// client.publish("plant/7", "21.5", QoS::ExactlyOnce)?;
    /// client.stored()?.await?; // from here on it will arrive, whatever happens to this program
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// See [`StoreError`]: the store cannot be read, or the configuration cannot be durable.
    #[cfg(feature = "async-io")]
    pub async fn durable<C: Connector>(
        config: Config,
        connector: C,
        store: impl Store,
    ) -> Result<(Client, Driver<C, crate::time::AsyncIoTimer>, Vec<Recovered>), StoreError> {
        let timer = crate::time::AsyncIoTimer::new();
        Client::durable_with_timer(config, connector, timer, store).await
    }

    /// As `Client::durable`, with a timer of your choice. Nor is it cancel-safe.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    pub async fn durable_with_timer<C: Connector, T: Timer>(
        config: Config,
        connector: C,
        timer: T,
        store: impl Store,
    ) -> Result<(Client, Driver<C, T>, Vec<Recovered>), StoreError> {
        let mut config = config.settle();
        let Opened { journal, state } = Journal::open(&mut config, store).await?;
        let messages: Vec<(Token, Option<Publish>)> =
            state.messages().map(|(token, message)| (token, message.cloned())).collect();
        let (client, driver) = Client::with_session(config, state, connector, timer);
        let recovered = messages.into_iter().map(|(token, message)| client.recover(token, message));
        let recovered = recovered.collect();
        Ok((client, driver.with_journal(journal), recovered))
    }

    fn recover(&self, token: Token, message: Option<Publish>) -> Recovered {
        let shared = self.0.shared();
        let slot = {
            let mut state = shared.lock();
            state.recover(shared, token, message.is_none())
        };
        Recovered { publishing: Publishing::new(Some(slot)), message }
    }

    /// Returns a future that resolves when all messages of QoS 1 and 2 that were accepted until now are in
    /// the store, and all acknowledgements of such messages that came in.
    ///
    /// This is sooner than the server's answer, and does not need a connection.
    ///
    /// # Errors
    ///
    /// `NotSupported` if the client was made without a store.
    pub fn stored(&self) -> Result<Stored, CommandError> {
        let shared = self.0.shared();
        let upto = {
            let state = shared.lock();
            state.session.config().journal.then(|| state.session.last_store())
        };
        let upto = upto.ok_or(CommandError::NotSupported("a store: see `Client::durable`"))?;
        Ok(Stored::new(shared, upto))
    }
}
