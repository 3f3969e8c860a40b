//! A client for the time of a command.

use std::collections::hash_map::RandomState;
use std::future::Future;
use std::hash::BuildHasher;
use std::pin::Pin;
use std::time::Duration;

use mqtt_async::{
    Client, Config, Error, Event, Events, Publish, PublishError, Publishing, Text, TopicName,
    Version, Will,
};

use crate::args::Connection;
use crate::failure::{Failure, Kind};
use crate::signal::Interrupts;

/// How long the end of a command may take.
const LAST: Duration = Duration::from_secs(5);

/// A client that is connected, and the driver that works for it.
pub(crate) struct Session {
    pub(crate) client: Client,
    driver: smol::Task<Result<(), Error>>,
}

impl Connection {
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        let text = |what: &str, text: &str| {
            Text::new(text).map_err(|error| Failure::usage(format_args!("{what}: {error}")))
        };
        let mut config = match self.transport.url()? {
            Some(url) => url.config(),
            None => Config::new(Version::V5),
        };
        if let Some(version) = self.mqtt_version {
            config.session.version = version.into();
        }
        let version = config.session.version;
        if let Some(id) = &self.client_id {
            config.session.connect.client_id = text("--client-id", id)?;
        } else if version == Version::V31 {
            // No server chooses one there; it has 23 characters at most.
            let id = format!("mqtt-{:016x}", RandomState::new().hash_one(std::process::id()));
            config.session.connect.client_id = text("--client-id", &id)?;
        }
        // A URL with a name is for another server than the environment is, so no password of that goes there.
        let connect = &mut config.session.connect;
        if connect.user_name.is_none() && connect.password.is_none() {
            if let Some(name) = &self.username {
                connect.user_name = Some(text("--username", name)?);
            }
            connect.password = self.password.clone().map(|text| text.into_bytes().into());
        }
        if connect.password.is_some() && connect.user_name.is_none() && !version.is_v5() {
            let what = "in MQTT 3.1.1 a password needs a --username beside it";
            return Err(Failure::usage(what));
        }
        if let Some(seconds) = self.keepalive {
            connect.keep_alive = seconds;
        }
        if let Some(session) = self.session {
            if config.session.connect.client_id.is_empty() {
                return Err(Failure::usage("a --session is that of a Client Identifier")
                    .hint("name it with --client-id"));
            }
            config.session.connect.clean_start = false;
            if version.is_v5() {
                let seconds = u32::try_from(session.as_secs()).unwrap_or(u32::MAX);
                config.session.connect.session_expiry_interval = Some(seconds);
            }
        }
        if let Some(topic) = &self.will_topic {
            let payload = self.will_payload.clone().unwrap_or_default();
            let will = Will::new(TopicName::new(topic)?, payload);
            config.session.connect.will = Some(will.qos(self.will_qos).retain(self.will_retain));
        }
        Ok(config)
    }

    /// Returns a client that is not connected yet; what it is told now, it does first.
    pub(crate) fn prepare(&self, config: Config) -> Result<Prepared, Failure> {
        let (client, driver) = Client::new(config, self.transport.connector()?);
        let mut was_connected = false;
        let driver = driver.reconnect_if(move |error, failed| {
            // Of a connection that was accepted no attempt has failed.
            was_connected |= failed == 0;
            was_connected && error.is_retryable()
        });
        Ok(Prepared { client, driver: Box::pin(driver) })
    }
}

/// A client that has still to connect.
pub(crate) struct Prepared {
    pub(crate) client: Client,
    driver: Pin<Box<dyn Future<Output = Result<(), Error>> + Send>>,
}

impl Prepared {
    /// Tells that the connection is lost and made again; what ends the command is told at its end. It is said before
    /// there is a connection, which may be lost at once.
    pub(crate) fn tell(&self, quiet: bool) {
        if !quiet {
            smol::spawn(tell(self.client.events())).detach();
        }
    }

    /// Connects, and insists on the first attempt: a wrong host is an error now, not in an hour.
    pub(crate) async fn connect(self) -> Result<Session, Failure> {
        let Prepared { client, driver } = self;
        let session = Session { client, driver: smol::spawn(driver) };
        session.client.connected().await?;
        Ok(session)
    }
}

impl Session {
    /// Sends a message, and waits if there is no room for it.
    // Of the whole session, not of its client: a block that has only that would drop the driver.
    pub(crate) async fn accept(&self, mut publish: Publish) -> Result<Publishing, Failure> {
        loop {
            match self.client.send(publish) {
                Ok(publishing) => return Ok(publishing),
                Err(PublishError::Full(back)) => publish = *back,
                Err(error) => return Err(error.into()),
            }
            self.client.ready().await?;
        }
    }

    /// Waits for the answers that are missing, says goodbye, and tells what is left. A Ctrl-C ends the wait.
    pub(crate) async fn close(self, interrupts: &mut Interrupts) -> Result<(), Failure> {
        let Session { client, driver } = self;
        let report = match interrupts.unless(client.shutdown(LAST)).await {
            Some(report) => report,
            None => client.shutdown(Duration::ZERO).await,
        };
        let left = report.unsent.len() + report.unacked;
        if let Err(error) = driver.await {
            return Err(error.into());
        }
        if left > 0 {
            let what = format_args!("{left} messages have no answer from the server");
            return Err(Failure::new(Kind::Interrupted, what));
        }
        Ok(())
    }
}

async fn tell(mut events: Events) {
    let mut was_connected = false;
    while let Some(event) = events.next().await {
        match event {
            Event::Disconnected { error, retry_in: Some(_) } => {
                let lost = Failure::new(Kind::Connection, error);
                anstream::eprintln!("mqtt: {lost}; trying again");
            }
            Event::Connected(_) if was_connected => anstream::eprintln!("mqtt: connected again"),
            Event::Connected(_) => was_connected = true,
            Event::Resubscribed { results } => {
                for (filter, reason) in results.iter().filter(|(_, reason)| reason.is_error()) {
                    anstream::eprintln!("mqtt: no messages of {filter} any more: {reason}");
                }
            }
            _ => {}
        }
    }
}
