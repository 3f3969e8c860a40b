//! What a broker is told once, when it is made.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mqtt_proto::{ServerConfig, TopicName};

use crate::hooks::Hooks;

/// Limits and choices of a broker.
///
/// The defaults suit tests, development and a single small machine: they bound what one client can
/// make the broker hold, and all of them together, and let a few thousand clients in. Whoever lets strangers in makes
/// [`max_queued_total`](BrokerConfig::max_queued_total) and
/// [`max_retained_bytes`](BrokerConfig::max_retained_bytes) fit the machine.
///
/// ```
/// use mqtt_broker::{Broker, BrokerConfig};
///
/// let mut config = BrokerConfig::default();
/// config.max_connections = 100;
/// config.session.maximum_packet_size = 64 * 1024;
/// config.session.bounds.messages = 1_000;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BrokerConfig {
    /// What each client is told and held to, and how long CONNECT may take.
    ///
    /// `session.bounds` is the queue of one client, connected or not: QoS 1 and 2 messages that it has
    /// not acknowledged, and messages that wait. QoS 0 has half of it. Default 16,384 messages and 16 MiB.
    /// [`queue_overflow`](BrokerConfig::queue_overflow) says what happens when it is full. `session.journal` is
    /// ignored: everything is in memory.
    pub session: ServerConfig,
    /// What happens when the queue of a client is full. Default: the newest message is dropped.
    pub queue_overflow: QueueOverflow,
    /// The most bytes in the queues of all clients together, whatever
    /// [`queue_overflow`](BrokerConfig::queue_overflow) says: what would be beyond is dropped and counted. From half
    /// of it on, only those clients get more that hold no more than an even share of that half, so that those that
    /// are away, or do not acknowledge, take nothing from those that do; and when all of it is taken, a client that is
    /// connected and has acknowledged everything still gets the next message. A payload counts in each queue, although
    /// it is held once. Retained messages that a subscription asks for are counted, and not dropped. Default 1 GiB.
    pub max_queued_total: usize,
    /// The most connections at a time; further ones are closed unheard. Default 10,000.
    pub max_connections: usize,
    /// The most clients that may connect in a second, and at once; further ones are refused with Connection
    /// rate exceeded, or Server unavailable in 3.x, before anybody is asked about them. Default `None`: no
    /// limit but [`max_connections`](BrokerConfig::max_connections).
    pub max_connect_rate: Option<u32>,
    /// The most sessions, connected or not; further new ones are refused with Quota exceeded, or
    /// Server unavailable in 3.x. Default 10,000.
    pub max_sessions: usize,
    /// Whether a session belongs to the User Name that it began with: a client that comes for it with another one, or
    /// none, is refused with Client Identifier not valid. Without that, whoever is let in and knows a Client
    /// Identifier can end the connection that has it, and gets what waits for its subscriptions. Of use where
    /// [`Hooks::authenticate`] looks at the User Name. Default `false`.
    pub sessions_belong_to_users: bool,
    /// The longest Session Expiry Interval, in seconds; longer wishes are cut down to it, and CONNACK
    /// says so. Sessions of MQTT 3.x without Clean Session get exactly it. Default `u32::MAX`: for ever.
    pub max_session_expiry_interval: u32,
    /// The longest Keep Alive, in seconds; a client of MQTT 5.0 that wants a longer one, or none, is
    /// told to use this one. Clients of 3.x cannot be told. Default `None`: as the client likes.
    pub max_keep_alive: Option<u16>,
    /// The most subscriptions of one session; further ones are refused with Quota exceeded.
    /// Default 10,000.
    pub max_subscriptions: usize,
    /// The most levels of a Topic Filter; a longer one is refused with Quota exceeded, because each
    /// level costs memory that the client does not pay for. Default 128.
    pub max_filter_levels: usize,
    /// The most retained messages; one for a further topic is passed on but not kept. Default 100,000.
    pub max_retained_messages: usize,
    /// The most bytes of retained topics, payloads and properties. Default 64 MiB.
    pub max_retained_bytes: usize,
    /// How often the broker publishes what it counts, as retained messages below `$SYS/broker/`; at most each
    /// second, and only what has changed. Clients may then not publish below `$SYS/`. Default `None`: never.
    pub sys_interval: Option<Duration>,
    /// What response topics begin with. A client that asks for Response Information (MQTT 5.0 section
    /// 3.1.2.11.6) is told one below it that no other client is told. Default: `response`; `None`: nothing.
    pub response_topics: Option<TopicName>,
    /// How long a connection that has ended may take to write what is left, and to read the peer's last
    /// bytes away. Default 5 s.
    pub linger: Duration,
    /// Who decides and is told: see [`BrokerConfig::hooks`].
    pub(crate) hooks: Option<Installed>,
}

/// What happens to a message of QoS 1 or 2 for a client whose queue is full, connected or not.
///
/// Whatever is dropped is counted, for the broker ([`BrokerStats::dropped_full`](crate::BrokerStats::dropped_full),
/// `$SYS/broker/queues/dropped`) and for the session ([`SessionInfo::dropped`](crate::SessionInfo::dropped)).
/// What was sent once and is not acknowledged never gives way. QoS 0 does not push anything out and ends no
/// connection: where it has filled its half of a queue, the newest is dropped. Retained messages that a new
/// subscription asks for wait until there is room.
///
/// ```
/// use mqtt_broker::{BrokerConfig, QueueOverflow};
///
/// // Whoever was away for long sees the last hundred messages, not the first.
/// let mut config = BrokerConfig::default();
/// config.session.bounds.messages = 100;
/// config.queue_overflow = QueueOverflow::DropOldest;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueueOverflow {
    /// It is dropped, and the client gets the oldest ones: a backlog without a gap, up to where it ends.
    #[default]
    DropNewest,
    /// The message that has waited longest is dropped, or several, until there is room. Where all of the queue is in
    /// flight, one message may wait beyond the bound.
    DropOldest,
    /// It is dropped, and the client is cut off if it is connected, with Quota exceeded in MQTT 5.0: it is too slow.
    /// Its session stays as long as it wanted, with the queue; while the client is away, the newest is dropped.
    Disconnect,
}

/// The hooks of an application.
#[derive(Clone)]
pub(crate) struct Installed(pub(crate) Arc<dyn Hooks>);

impl fmt::Debug for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hooks")
    }
}

impl BrokerConfig {
    /// Sets who decides about clients and messages, and is told of them; see [`Hooks`].
    ///
    /// Without, everybody is let in, with whatever User Name and Password.
    #[must_use]
    pub fn hooks(mut self, hooks: impl Hooks) -> BrokerConfig {
        self.hooks = Some(Installed(Arc::new(hooks)));
        self
    }
}

impl Default for BrokerConfig {
    fn default() -> BrokerConfig {
        BrokerConfig {
            session: ServerConfig::default(),
            queue_overflow: QueueOverflow::default(),
            max_queued_total: 1024 * 1024 * 1024,
            max_connections: 10_000,
            max_connect_rate: None,
            max_sessions: 10_000,
            sessions_belong_to_users: false,
            max_session_expiry_interval: u32::MAX,
            max_keep_alive: None,
            max_subscriptions: 10_000,
            max_filter_levels: 128,
            max_retained_messages: 100_000,
            max_retained_bytes: 64 * 1024 * 1024,
            sys_interval: None,
            response_topics: TopicName::new("response").ok(),
            linger: Duration::from_secs(5),
            hooks: None,
        }
    }
}
