//! What a client is told once, when it is made.

use std::time::Duration;

use bytes::Bytes;
use mqtt_proto::{ClientConfig, PacketId, Text, TextError, TopicName, Version};

use crate::random::Random;

mod outbound;

use crate::redirect::Redirects;
use crate::stage::ConnectStage;
pub use outbound::{Dropped, Offline, Outbound, OutboundOverflow};

/// What a [`Client`](crate::Client) is made from.
///
/// All limits in time, here and in [`session`](Config::session), stand in one table: [`StageTimeouts`].
///
/// ```
/// use std::time::Duration;
/// use mqtt_async::{Config, Version};
///
/// let mut config = Config::new(Version::V5).client_id("sensor-7")?;
/// config.session.connect.keep_alive = 30;
/// config.connect_timeout = Duration::from_secs(5);
/// # Ok::<(), mqtt_async::TextError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The version, the CONNECT packet, its timeouts, and the bounds on what is queued to be sent.
    ///
    /// `connect.receive_maximum`, if it is `None`, becomes [`inbound.messages`](Inbound::messages): the
    /// server then never sends more QoS 1 and 2 messages than the queue holds. That is with
    /// [`Overflow::Block`] only: the other policies have to see a message to drop one. `journal` has no
    /// effect here: whether there is a store decides [`Client::durable`](crate::Client::durable).
    pub session: ClientConfig,
    /// How long the connector may take in all, and before it the hook
    /// [`before_connect`](crate::Driver::before_connect); default 30 s. See [`StageTimeouts`].
    pub connect_timeout: Duration,
    /// How long each stage of a connector may take.
    pub stage_timeouts: StageTimeouts,
    /// How long the end of a connection may take: to get rid of DISCONNECT, and then to read away what
    /// the server had sent before it closes its side; default 1 s.
    pub close_timeout: Duration,
    /// When to connect again after a connection was lost or could not be made; `None`: never, the
    /// driver ends with the error.
    pub reconnect: Option<Backoff>,
    /// Whether to subscribe anew after a connection; default: if the server has lost the session.
    pub resubscribe: Resubscribe,
    /// Whether what is subscribed to anew goes before the messages that wait, or after them; default before.
    pub resubscribe_order: ResubscribeOrder,
    /// Which redirects to another server are followed; default `None`: none, and each is the error that
    /// brought it, after which the driver ends.
    pub redirects: Option<Redirects>,
    /// Whether to go on with MQTT 3.1.1 if the server refuses MQTT 5.0; default no.
    ///
    /// It does so once, without waiting, and then stays with it. What needs MQTT 5.0 is left out of the
    /// CONNECT, and messages and requests with it fail. Clean Start true means there that the session ends
    /// with each connection. With an [`authenticator`](crate::Driver::authenticator), it does not.
    pub fall_back_to_v311: bool,
    /// What becomes of messages that cannot be sent at once.
    pub outbound: Outbound,
    /// Bounds on what came in and was not taken yet.
    pub inbound: Inbound,
    /// How requests are made, and how many at a time.
    pub requests: Requests,
    /// Whether the application acknowledges each message of QoS 1 and 2 itself; default no: a message is
    /// acknowledged when the application takes it out of [`Messages`](crate::Messages).
    ///
    /// With manual acknowledgement, [`inbound.messages`](Inbound::messages) counts what was taken and
    /// not acknowledged as well, as long as the server heeds Receive Maximum.
    pub manual_ack: bool,
    /// Messages up to this many bytes on the wire are copied when they are handed over, so that one
    /// which the application keeps does not keep the whole block that it was read with; default 1,024.
    ///
    /// A larger message is not copied: it may keep up to 64 KiB alive besides itself.
    /// [`Message::into_owned`](crate::Message::into_owned) copies it where that matters.
    pub copy_up_to: usize,
}

impl Config {
    /// Returns the defaults for that version: Clean Start, Keep Alive of 60 s, no Client Identifier (the
    /// server chooses one), reconnection with [`Backoff::default`].
    pub fn new(version: Version) -> Config {
        let mut session = ClientConfig::new(version);
        session.first_packet_id = random_packet_id();
        Config {
            session,
            connect_timeout: Duration::from_secs(30),
            stage_timeouts: StageTimeouts::default(),
            close_timeout: Duration::from_secs(1),
            reconnect: Some(Backoff::default()),
            resubscribe: Resubscribe::default(),
            resubscribe_order: ResubscribeOrder::default(),
            redirects: None,
            fall_back_to_v311: false,
            outbound: Outbound::default(),
            inbound: Inbound::default(),
            requests: Requests::default(),
            manual_ack: false,
            copy_up_to: 1024,
        }
    }

    /// Sets the Client Identifier.
    ///
    /// # Errors
    ///
    /// If it is longer than 65,535 bytes or has a U+0000.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Result<Config, TextError> {
        self.session.connect.client_id = Text::new(client_id)?;
        Ok(self)
    }

    /// Sets User Name and Password.
    ///
    /// # Errors
    ///
    /// If the name is longer than 65,535 bytes or has a U+0000.
    pub fn credentials(
        mut self,
        user_name: impl Into<String>,
        password: impl Into<Bytes>,
    ) -> Result<Config, TextError> {
        self.session.connect.user_name = Some(Text::new(user_name)?);
        self.session.connect.password = Some(password.into());
        Ok(self)
    }

    /// Returns what the driver needs of it.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            connect_timeout: self.connect_timeout,
            stage_timeouts: self.stage_timeouts,
            close_timeout: self.close_timeout,
            reconnect: self.reconnect,
            redirects: self.redirects.clone(),
            fall_back: self.fall_back_to_v311,
        }
    }

    /// Fills in what depends on other fields.
    pub(crate) fn settle(mut self) -> Config {
        if self.session.version.is_v5()
            && self.session.connect.receive_maximum.is_none()
            && self.inbound.overflow == Overflow::Block
        {
            let messages = u16::try_from(self.inbound.messages).unwrap_or(u16::MAX);
            self.session.connect.receive_maximum = Some(messages.max(1));
        }
        if self.outbound.overflow.takes_one_more() {
            // One more may always wait; sent as well, it would make room for the next, and so on.
            let most = u16::try_from(self.session.bounds.messages).unwrap_or(u16::MAX).max(1);
            self.session.max_in_flight = self.session.max_in_flight.min(most);
        }
        // It would wait for a store for ever: `Client::durable` has one.
        self.session.journal = false;
        self
    }
}

/// Returns an identifier that an earlier process has probably not used: see
/// [`ClientConfig::first_packet_id`].
fn random_packet_id() -> PacketId {
    PacketId::new((Random::new().next() >> 48) as u16).unwrap_or(PacketId::MIN)
}

/// What the driver needs of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) connect_timeout: Duration,
    pub(crate) stage_timeouts: StageTimeouts,
    pub(crate) close_timeout: Duration,
    pub(crate) reconnect: Option<Backoff>,
    pub(crate) redirects: Option<Redirects>,
    /// Whether a refusal of MQTT 5.0 is still to be answered with MQTT 3.1.1.
    pub(crate) fall_back: bool,
}

/// How long each stage of a connector may take; the driver drops the attempt when one takes longer, with
/// [`Error::ConnectTimeout`](crate::Error::ConnectTimeout).
///
/// A connector that names no stages, as a closure, has the limit on all of it only. These are all limits
/// in time that a client has, in the order in which they may strike; the clock is that of its
/// [`Timer`](crate::Timer).
///
/// | what | where | default |
/// |--|--|--|
/// | the hook before an attempt, and the start of an enhanced authentication | [`Config::connect_timeout`] | 30 s |
/// | the connector, all of its stages | [`Config::connect_timeout`] | 30 s |
/// | – looking up the name of the host | [`stage_timeouts.resolve`](StageTimeouts::resolve) | 10 s |
/// | – connecting the socket, all addresses together | [`stage_timeouts.connect`](StageTimeouts::connect) | 10 s |
/// | – the answer of a proxy | [`stage_timeouts.proxy`](StageTimeouts::proxy) | 10 s |
/// | – the handshake of TLS | [`stage_timeouts.tls`](StageTimeouts::tls) | 10 s |
/// | – the handshake of WebSocket, with the hook that edits its request | [`stage_timeouts.websocket`](StageTimeouts::websocket) | 10 s |
/// | CONNACK, and each step of an authentication | [`session.connect_timeout`](ClientConfig::connect_timeout) | 10 s |
/// | a sign of life after PINGREQ | [`session.ping_timeout`](ClientConfig::ping_timeout) | 10 s |
/// | the transport takes no byte | [`session.write_timeout`](ClientConfig::write_timeout) | 30 s |
/// | each step of the end | [`Config::close_timeout`] | 1 s |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StageTimeouts {
    /// Looking up the name of the host; default 10 s.
    pub resolve: Duration,
    /// Connecting the socket, all addresses of the host together; default 10 s.
    pub connect: Duration,
    /// The answer of a proxy; default 10 s.
    pub proxy: Duration,
    /// The handshake of TLS; default 10 s.
    pub tls: Duration,
    /// The handshake of WebSocket, with the hook that edits its request; default 10 s.
    pub websocket: Duration,
}

impl StageTimeouts {
    /// Returns the limit of a stage.
    pub fn limit(&self, stage: ConnectStage) -> Duration {
        match stage {
            ConnectStage::Resolve => self.resolve,
            ConnectStage::Connect => self.connect,
            ConnectStage::Proxy => self.proxy,
            ConnectStage::Tls => self.tls,
            ConnectStage::WebSocket => self.websocket,
        }
    }
}

impl Default for StageTimeouts {
    fn default() -> StageTimeouts {
        let each = Duration::from_secs(10);
        StageTimeouts { resolve: each, connect: each, proxy: each, tls: each, websocket: each }
    }
}

/// Bounds on what came in and was not taken out of a stream yet: of [`Messages`](crate::Messages), or of a
/// [`Subscription`](crate::Subscription).
///
/// What happens at a bound is up to [`overflow`](Inbound::overflow). By default, nothing of QoS 1 and 2 is
/// lost: these messages are not acknowledged before they are taken, so an MQTT 5.0 server stops at Receive
/// Maximum by itself, and messages of QoS 0 are dropped and counted
/// ([`Status::lagged`](crate::Status::lagged)). If QoS 1 and 2 alone exceed a bound (many bytes, a stream
/// with fewer messages than Receive Maximum, or a server of MQTT 3.x, which has none), reading stops until
/// the application has taken some; this stops all streams, since there is one connection. One
/// block is then read whenever the keep alive is due, so that the connection stays. Reading goes
/// on beyond the bound while commands of this side wait for their answers, or requests for their responses,
/// which stand behind the messages: a task that waits for one before it takes the next message would wait for ever. A server of
/// MQTT 3.x can then send 65,535 messages at most, the number of packet identifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inbound {
    /// The most messages; with [`Overflow::Block`] the most of QoS 0, and the most of QoS 1 and 2; default
    /// 1,024. Zero is as one.
    pub messages: usize,
    /// The most bytes on the wire; default 16 MiB. One message is always taken.
    pub bytes: usize,
    /// What happens at a bound; default [`Overflow::Block`].
    pub overflow: Overflow,
}

/// What happens to messages that come in faster than they are taken.
///
/// Each message that is dropped is counted. If it is of QoS 1 or 2, it is acknowledged as it is dropped,
/// also with [`manual_ack`](Config::manual_ack): the server does not send it again.
///
/// Acknowledgements leave in the order in which the messages came (MQTT-4.6.0-2), so those of dropped messages
/// wait behind those of earlier messages that nobody has taken yet, on whichever stream. Where these
/// stay for long, the server stops at Receive Maximum and holds back what is newest: at QoS 0 it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// Messages of QoS 1 and 2 wait at the server, and new ones of QoS 0 are dropped.
    #[default]
    Block,
    /// The message that has waited longest is dropped.
    DropOldest,
    /// The new message is dropped.
    DropNewest,
    /// A message takes the place of the one of the same topic that waits, at any time; at the bound, what
    /// has waited longest is dropped. For readings of which only the present one counts.
    LatestPerTopic,
}

impl Default for Inbound {
    fn default() -> Inbound {
        Inbound { messages: 1024, bytes: 16 * 1024 * 1024, overflow: Overflow::Block }
    }
}

/// How requests are made: see [`Client::request`](crate::Client::request).
///
/// ```
/// use mqtt_async::{Config, TopicName, Version};
///
/// let mut config = Config::new(Version::V5).client_id("panel-1")?;
/// config.requests.outstanding = 16;
/// config.requests.prefix = Some(TopicName::new("plant/responses")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requests {
    /// The most requests whose response has not been taken yet; default 1,024. Zero is as one.
    ///
    /// Each holds its message until that is sent, and then one response at most, which may be as large as
    /// [`ClientConfig::maximum_packet_size`].
    pub outstanding: usize,
    /// What the response topic of the client begins with; default `None`: `response`.
    ///
    /// Response Information of the server is used instead where there is some: see
    /// [`Client::request`](crate::Client::request).
    pub prefix: Option<TopicName>,
    /// Whether requests name their response topic in their own topic in MQTT 5.0 as well, as they have to
    /// in MQTT 3.x, so that a responder that speaks MQTT 3.1.1 can answer; default no. See
    /// [`Client::request`](crate::Client::request).
    pub in_topic: bool,
}

impl Default for Requests {
    fn default() -> Requests {
        Requests { outstanding: 1024, prefix: None, in_topic: false }
    }
}

/// Says when to subscribe anew to what was granted, at the beginning of a connection.
///
/// What the server says to each filter is an [`Event::Resubscribed`](crate::Event::Resubscribed), and what
/// it refused stands in [`Status::not_resubscribed`](crate::Status::not_resubscribed). Whether that is before
/// or after messages that wait says [`ResubscribeOrder`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resubscribe {
    /// If the server does not go on with the session.
    #[default]
    OnNewSession,
    /// Always, for servers that say that they have the session and do not; they may send retained messages
    /// again.
    Always,
    /// Never: the application does it. Subscriptions of a session that was lost are forgotten.
    ///
    /// Each [`Subscription`](crate::Subscription) that was granted then ends, with
    /// [`TokenError::SubscriptionLost`](crate::TokenError::SubscriptionLost). For what was subscribed to with
    /// [`subscribe`](crate::Client::subscribe), [`Connected::resumed`](crate::Connected::resumed) is false. A
    /// server of MQTT 3.1 does not say whether it goes on with the session, and is taken to do so if it was
    /// asked to.
    Never,
}

/// Says in which order a new session gets its subscriptions and the messages that waited for it.
///
/// What the application asks for itself while there is no connection always goes before messages that wait.
/// Messages that were in flight and go on in the session are sent again before both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResubscribeOrder {
    /// First the subscriptions: answers to the messages that wait are not missed.
    #[default]
    BeforeQueued,
    /// First the messages that waited when the server accepted the connection: the application does not
    /// get them itself, and a server that works them off sends its state only then.
    ///
    /// They are sent, not answered, when the subscriptions follow. What holds the messages back, the server's
    /// Receive Maximum, also holds back the subscriptions.
    AfterQueued,
}

/// Says when to connect again: exponential backoff with full jitter.
///
/// Before attempt n (from 0), the driver waits a random time between zero and `first` times 2 to the n,
/// but never longer than `max`. A thousand clients that lost the same server come back spread out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// The longest wait before the first attempt; default 1 s.
    pub first: Duration,
    /// The longest wait before any attempt; default 60 s.
    pub max: Duration,
    /// How long a connection must have stood for the next loss to count as the first one; default 30 s.
    ///
    /// A server that accepts and kicks at once is thus not asked faster and faster.
    pub stable_after: Duration,
    /// How many attempts to make in a row before the driver gives up; default: any number.
    pub attempts: Option<u32>,
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff {
            first: Duration::from_secs(1),
            max: Duration::from_secs(60),
            stable_after: Duration::from_secs(30),
            attempts: None,
        }
    }
}

impl Backoff {
    /// Returns how long to wait before the attempt of that number, or `None` to give up.
    ///
    /// `random` is uniform over all 64-bit numbers.
    ///
    /// ```
    /// use std::time::Duration;
    /// use mqtt_async::Backoff;
    ///
    /// let backoff = Backoff::default();
    /// assert_eq!(backoff.delay(0, u64::MAX), Some(Duration::from_secs(1)));
    /// assert_eq!(backoff.delay(3, u64::MAX), Some(Duration::from_secs(8)));
    /// assert_eq!(backoff.delay(99, u64::MAX), Some(Duration::from_secs(60)));
    /// assert_eq!(backoff.delay(3, 0), Some(Duration::ZERO));
    /// ```
    pub fn delay(&self, attempt: u32, random: u64) -> Option<Duration> {
        if self.attempts.is_some_and(|attempts| attempt >= attempts) {
            return None;
        }
        let factor = 1u32.checked_shl(attempt).unwrap_or(u32::MAX);
        let longest = self.first.saturating_mul(factor).min(self.max);
        // Nanoseconds in 64 bits last for 584 years; 128 bits hold the product.
        let nanos = longest.as_nanos().min(u128::from(u64::MAX));
        let nanos = (nanos * u128::from(random)).div_ceil(u128::from(u64::MAX));
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// Returns the number of the next attempt, after `attempt` ended with a connection that stood for
    /// that long (`None`: there was no connection).
    pub fn next_attempt(&self, attempt: u32, stood: Option<Duration>) -> u32 {
        match stood {
            Some(stood) if stood >= self.stable_after => 0,
            _ => attempt.saturating_add(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_stay_bounded_and_are_spread() {
        let backoff = Backoff::default();
        for attempt in 0..200 {
            let longest = backoff.delay(attempt, u64::MAX).unwrap();
            assert!(longest <= backoff.max);
            let half = backoff.delay(attempt, u64::MAX / 2).unwrap();
            assert!(half.abs_diff(longest / 2) < Duration::from_micros(1), "{attempt}");
        }
        let odd = Backoff { first: Duration::MAX, max: Duration::MAX, ..backoff };
        assert!(odd.delay(40, u64::MAX).is_some());
        let zero = Backoff { first: Duration::ZERO, ..backoff };
        assert_eq!(zero.delay(31, u64::MAX), Some(Duration::ZERO));
    }

    #[test]
    fn gives_up_after_so_many_attempts() {
        let backoff = Backoff { attempts: Some(2), ..Backoff::default() };
        assert!(backoff.delay(1, 7).is_some());
        assert_eq!(backoff.delay(2, 7), None);
    }

    // class: 39
    #[test]
    fn a_flapping_server_is_not_stormed() {
        // It accepts and kicks at once: an hour has few attempts, because nothing was stable.
        let backoff = Backoff::default();
        let (mut attempt, mut waited, mut count) = (0, Duration::ZERO, 0);
        let mut random = 1u64;
        while waited < Duration::from_secs(3600) {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            waited += backoff.delay(attempt, random).unwrap();
            attempt = backoff.next_attempt(attempt, Some(Duration::from_millis(5)));
            count += 1;
        }
        assert!(count < 250, "{count}");
        assert_eq!(backoff.next_attempt(attempt, Some(Duration::from_secs(31))), 0);
    }
}
