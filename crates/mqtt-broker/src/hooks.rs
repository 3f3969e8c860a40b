//! What an application decides about its clients, and what it is told of them.

use std::fmt;
use std::future::{Future, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use mqtt_proto::{
    CloseReason, ConnAck, Connect, PublishPacket, ReasonCode, Subscription, Text, UserProperties,
    Version,
};

/// Decides who may connect, publish and subscribe, and is told what happens.
///
/// [`BrokerConfig::hooks`](crate::BrokerConfig::hooks) sets them; every method has a default that permits
/// everything. No lock is held while one runs, so it may call the [`Broker`](crate::Broker): a handle that
/// it needs goes into a [`OnceLock`](std::sync::OnceLock) of its own once there is one. All connections run in one
/// task, and what blocks in a hook holds them all up: [`authenticate`](Hooks::authenticate), which may have to
/// ask somebody, returns a future, and the others are for answers that are at hand.
///
/// ```
/// use mqtt_broker::{BrokerConfig, ClientInfo, Connecting, Deciding, Hooks, Verdict, decided};
/// use mqtt_proto::{PublishPacket, ReasonCode};
///
/// /// Everybody has to know the password, and publishes below a topic of its own.
/// struct House;
///
/// impl Hooks for House {
///     fn authenticate(&self, connecting: Connecting) -> Deciding {
///         decided(match connecting.connect.password.as_deref() {
///             Some(b"open sesame") => Verdict::accept(),
///             _ => Verdict::refuse(ReasonCode::BAD_USER_NAME_OR_PASSWORD),
///         })
///     }
///
///     fn may_publish(&self, client: &ClientInfo, publish: &PublishPacket) -> Result<(), ReasonCode> {
///         let own = publish.topic().split('/').next() == Some(client.client_id.as_str());
///         if own { Ok(()) } else { Err(ReasonCode::NOT_AUTHORIZED) }
///     }
/// }
///
/// let config = BrokerConfig::default().hooks(House);
/// ```
pub trait Hooks: Send + Sync + 'static {
    /// Decides whether a client may connect.
    ///
    /// It is asked before the client gets a Client Identifier or a session. The answer may take as long as
    /// [`ServerConfig::connect_timeout`](mqtt_proto::ServerConfig::connect_timeout): then the client is
    /// refused with Server busy, or Server unavailable in MQTT 3.x, and the future is dropped.
    ///
    /// A client that wants an enhanced authentication (MQTT 5.0 section 4.12) has
    /// [`Connect::authentication_method`] and its first data; [`Verdict::Challenge`] goes on with it. The
    /// default refuses every method, as a broker has to that does not know it.
    fn authenticate(&self, connecting: Connecting) -> Deciding {
        decided(match connecting.connect.authentication_method {
            None => Verdict::accept(),
            Some(_) => Verdict::refuse(ReasonCode::BAD_AUTHENTICATION_METHOD),
        })
    }

    /// Decides whether a client may publish this, also as its Will.
    ///
    /// What is refused goes to nobody. The client of MQTT 5.0 gets the reason with its acknowledgement; in
    /// MQTT 3.x, and at QoS 0, there is no way to tell it (MQTT-3.3.5-2), so it is only counted:
    /// [`BrokerStats::not_authorized`](crate::BrokerStats::not_authorized).
    ///
    /// # Errors
    ///
    /// The reason code to refuse it with, from 0x80 up.
    fn may_publish(&self, client: &ClientInfo, publish: &PublishPacket) -> Result<(), ReasonCode> {
        let _ = (client, publish);
        Ok(())
    }

    /// Decides whether a client may subscribe to that filter, with those options.
    ///
    /// # Errors
    ///
    /// The reason code to refuse it with, from 0x80 up; in MQTT 3.1.1 it is told as 0x80, and in MQTT 3.1 not at
    /// all: a client of that believes that it has subscribed.
    fn may_subscribe(
        &self,
        client: &ClientInfo,
        subscription: &Subscription,
    ) -> Result<(), ReasonCode> {
        let _ = (client, subscription);
        Ok(())
    }

    /// A client was let in; `resumed` tells whether it goes on with a session.
    fn connected(&self, client: &ClientInfo, resumed: bool) {
        let _ = (client, resumed);
    }

    /// The connection of a client has ended.
    fn disconnected(&self, client: &ClientInfo, reason: &CloseReason) {
        let _ = (client, reason);
    }

    /// A client has published a message, and it has gone to as many sessions.
    fn published(&self, client: &ClientInfo, publish: &PublishPacket, receivers: usize) {
        let _ = (client, publish, receivers);
    }
}

/// Where a connection comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// The address at the other end, if the transport has one.
    pub address: Option<SocketAddr>,
    /// The certificates that the client has shown, its own first, in DER; empty without mutual TLS. They have
    /// been verified.
    pub certificates: Vec<Bytes>,
    /// What [`Broker::attach_from`](crate::Broker::attach_from) was told besides: the name of a listener, say.
    pub label: Option<Arc<str>>,
}

impl Peer {
    /// Returns a peer of which only the address is known.
    pub fn from_address(address: SocketAddr) -> Peer {
        Peer { address: Some(address), ..Peer::default() }
    }
}

/// Who a connected client is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientInfo {
    /// The Client Identifier, which the broker may have assigned.
    pub client_id: Text,
    /// The User Name that it came with.
    pub user_name: Option<Text>,
    /// The version that it speaks.
    pub version: Version,
    /// Where it comes from.
    pub peer: Arc<Peer>,
}

impl ClientInfo {
    pub(crate) const fn new(
        client_id: Text,
        user_name: Option<Text>,
        version: Version,
        peer: Arc<Peer>,
    ) -> ClientInfo {
        ClientInfo { client_id, user_name, version, peer }
    }
}

/// A client that wants to connect, or to authenticate again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Connecting {
    /// What it asks for. For an authentication that is made again there is nothing in it but the Client Identifier and
    /// the User Name of the connection, and the method and the data of now.
    pub connect: Connect,
    /// The version that it speaks.
    pub version: Version,
    /// Where it comes from.
    pub peer: Arc<Peer>,
    /// Whether it is connected already and authenticates again: MQTT 5.0 section 4.12.1.
    pub again: bool,
}

/// What [`Hooks::authenticate`] answers.
pub type Deciding = Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// Returns an answer that is at hand.
pub fn decided(verdict: Verdict) -> Deciding {
    Box::pin(ready(verdict))
}

/// What becomes of a client that wants to connect.
#[non_exhaustive]
pub enum Verdict {
    /// It is let in.
    Accept {
        /// What the Authentication Method has to say at its end; `None` without a method.
        authentication_data: Option<Bytes>,
        /// User Properties for CONNACK (MQTT 5.0).
        user_properties: UserProperties,
    },
    /// It is refused with that CONNACK, whose reason is 0x80 or above. In MQTT 3.x, a reason that has no
    /// return code there closes the connection without a word.
    ///
    /// With [`server_reference`](ConnAck::server_reference) it is sent to another server.
    Refuse(Box<ConnAck>),
    /// It has to answer a challenge first: AUTH with Continue authentication.
    Challenge {
        /// What the Authentication Method has to say.
        authentication_data: Option<Bytes>,
        /// Who takes the answer.
        exchange: Box<dyn Exchange>,
    },
}

impl Verdict {
    /// Returns that the client is let in.
    pub fn accept() -> Verdict {
        Verdict::Accept { authentication_data: None, user_properties: UserProperties::default() }
    }

    /// Returns that the client is refused, for that reason: 0x80 or above.
    pub fn refuse(reason: ReasonCode) -> Verdict {
        Verdict::Refuse(Box::new(ConnAck::new(reason)))
    }
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Authentication data stays out of logs.
        match self {
            Verdict::Accept { .. } => f.write_str("Accept"),
            Verdict::Refuse(connack) => f.debug_tuple("Refuse").field(&connack.reason).finish(),
            Verdict::Challenge { .. } => f.write_str("Challenge"),
        }
    }
}

/// An enhanced authentication that waits for the client's next step.
///
/// It is dropped if the connection ends before.
pub trait Exchange: Send {
    /// Takes the client's answer to a challenge: its Authentication Data.
    ///
    /// The time that [`Hooks::authenticate`] has begins anew with each step.
    fn answered(self: Box<Self>, authentication_data: Option<Bytes>) -> Deciding;
}
