//! What a session is told once, when it is made.

use core::time::Duration;

use crate::packet::Connect;
use crate::types::{PacketId, QoS, Version};

/// Bounds on what a session holds for its caller.
///
/// They count every message that was accepted and has no outcome yet, sent or not. At a bound
/// [`publish`](crate::Session::publish) hands the message back; a single message is always taken when
/// nothing else is held, however large it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The most messages; default 16,384.
    pub messages: usize,
    /// The most bytes of topics, payloads and properties; default 16 MiB.
    pub bytes: usize,
    /// The most SUBSCRIBE and UNSUBSCRIBE commands without an answer; default 1,024.
    pub requests: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { messages: 16_384, bytes: 16 * 1024 * 1024, requests: 1024 }
    }
}

/// Says who chooses topic aliases for outbound messages: MQTT 5.0 section 3.3.2.3.4.
///
/// Either way a message that is sent again has its full topic, and aliases end with the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TopicAliases {
    /// The application: `topic_alias` among the properties of a message. Without it there is none.
    #[default]
    Manual,
    /// The session: each topic gets one, and when they run out the topic that was not used for longest
    /// loses its own.
    Automatic {
        /// The most aliases to use, if the peer takes more.
        maximum: u16,
    },
}

/// What a client session is made from.
///
/// ```
/// use mqtt_proto::{ClientConfig, Session, Text, Version};
///
/// let mut config = ClientConfig::new(Version::V5);
/// config.connect.client_id = Text::new("sensor-7")?;
/// config.connect.keep_alive = 30;
/// let session = Session::<mqtt_proto::Client>::new(config);
/// # Ok::<(), mqtt_proto::TextError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The version to speak.
    pub version: Version,
    /// The CONNECT packet of the first connection; later ones differ in Clean Start, see below, and
    /// use the Client Identifier that the server assigned.
    ///
    /// With MQTT 5.0, Clean Start true and a Session Expiry Interval above 0, only the first connection
    /// begins with a new session; the later ones go on with it. In 3.x Clean Session is sent as it is.
    pub connect: Connect,
    /// How long to wait for CONNACK, and for each step of an authentication, also of a later one; default
    /// 10 s.
    pub connect_timeout: Duration,
    /// How long to wait for a sign of life after PINGREQ; default 10 s.
    pub ping_timeout: Duration,
    /// How long the transport may take nothing of the output buffer; default 30 s.
    pub write_timeout: Duration,
    /// The most QoS 1 and 2 messages in flight, if the server permits more; default 65,535.
    ///
    /// MQTT 3.x has no Receive Maximum: there this is the only limit.
    pub max_in_flight: u16,
    /// Who chooses topic aliases; default: the application.
    pub topic_aliases: TopicAliases,
    /// The largest packet to accept, in bytes; default 1 MiB, told to an MQTT 5.0 server unless
    /// `connect.maximum_packet_size` says otherwise.
    pub maximum_packet_size: u32,
    /// Whether what must survive a restart is handed out with
    /// [`poll_store`](crate::Session::poll_store), and waited for; default no.
    pub journal: bool,
    /// Bounds on what is held for the caller.
    pub bounds: Bounds,
    /// What becomes of a QoS 2 message that was sent but not completed when the server has lost the
    /// session (MQTT 5.0): `false`, the default, fails it with
    /// [`Failure::SessionLost`](crate::Failure::SessionLost), because it may have been delivered;
    /// `true` sends it again as a new message.
    pub resend_lost_qos2: bool,
    /// Whether to go on with a session of the server that this side holds nothing of, as after a restart
    /// with Clean Start false, or when the first CONNACK was lost; default yes: whoever does not ask for a clean start has a session, if an
    /// empty one.
    ///
    /// The server may then still hold Packet Identifiers of QoS 2 messages that the earlier process
    /// sent, and would take a new message with one of those for a repeated one. If that must not be, keep
    /// a journal; or say `false`, and an MQTT 5.0 connection to such a session ends with
    /// [`CloseReason::SessionUnknown`](crate::CloseReason::SessionUnknown) (MQTT-3.2.2-4).
    pub adopt_session: bool,
    /// The Packet Identifier to begin with in a session that has given out none, or whose state was made
    /// from records; default 1.
    ///
    /// A random one makes it unlikely that a session that was adopted meets identifiers of its past; the
    /// core itself knows no chance.
    pub first_packet_id: PacketId,
}

impl ClientConfig {
    /// Returns the defaults for that version: Clean Start, Keep Alive of 60 s, no Client Identifier.
    pub fn new(version: Version) -> ClientConfig {
        ClientConfig {
            version,
            connect: Connect { clean_start: true, keep_alive: 60, ..Connect::default() },
            connect_timeout: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            max_in_flight: u16::MAX,
            topic_aliases: TopicAliases::Manual,
            maximum_packet_size: 1024 * 1024,
            journal: false,
            bounds: Bounds::default(),
            resend_lost_qos2: false,
            adopt_session: true,
            first_packet_id: PacketId::MIN,
        }
    }
}

/// What a server session is made from: the limits that CONNACK announces to an MQTT 5.0 client.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// How long to wait for CONNECT; default 10 s.
    pub connect_timeout: Duration,
    /// How long the transport may take nothing of the output buffer; default 30 s.
    pub write_timeout: Duration,
    /// The largest packet to accept, in bytes; default 1 MiB.
    pub maximum_packet_size: u32,
    /// How many QoS 1 and 2 messages to take unacknowledged; default 1,024.
    ///
    /// A client of MQTT 3.x is not told, and so not held to it.
    pub receive_maximum: u16,
    /// How many topic aliases to take; default 16.
    pub topic_alias_maximum: u16,
    /// The highest QoS to take; default QoS 2.
    pub maximum_qos: QoS,
    /// Whether retained messages are kept; default yes.
    pub retain_available: bool,
    /// Whether wildcard subscriptions work; default yes.
    pub wildcard_subscription_available: bool,
    /// Whether subscription identifiers work; default yes.
    pub subscription_identifier_available: bool,
    /// Whether shared subscriptions work; default yes.
    pub shared_subscription_available: bool,
    /// The most QoS 1 and 2 messages in flight, if the client permits more; default 65,535.
    ///
    /// MQTT 3.x has no Receive Maximum: there this is the only limit.
    pub max_in_flight: u16,
    /// Who chooses topic aliases for what is sent; default: the application.
    pub topic_aliases: TopicAliases,
    /// Whether what must survive a restart is handed out with
    /// [`poll_store`](crate::Session::poll_store), and waited for; default no.
    pub journal: bool,
    /// Bounds on what is held for the client.
    pub bounds: Bounds,
}

impl Default for ServerConfig {
    fn default() -> ServerConfig {
        ServerConfig {
            connect_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            maximum_packet_size: 1024 * 1024,
            receive_maximum: 1024,
            topic_alias_maximum: 16,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            wildcard_subscription_available: true,
            subscription_identifier_available: true,
            shared_subscription_available: true,
            max_in_flight: u16::MAX,
            topic_aliases: TopicAliases::Manual,
            journal: false,
            bounds: Bounds::default(),
        }
    }
}
