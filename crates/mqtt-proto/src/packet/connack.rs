//! CONNACK: MQTT 5.0 section 3.2.

use bytes::Bytes;

use super::UserProperties;
use crate::reason::ReasonCode;
use crate::text::Text;
use crate::types::QoS;

/// The content of a CONNACK packet: the server's answer to CONNECT, and its limits.
///
/// `None` means that the property is absent; the comment says what the standard makes of that. In
/// MQTT 3.x only `session_present` (from 3.1.1 on) and `reason` are on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnAck {
    /// Whether the server goes on with an earlier session.
    pub session_present: bool,
    /// Whether the connection was accepted; the return codes of 3.x are mapped.
    pub reason: ReasonCode,
    /// How long the session outlives the connection, in seconds; absent: as in CONNECT.
    pub session_expiry_interval: Option<u32>,
    /// How many QoS 1 and 2 PUBLISH packets the server takes unacknowledged; absent: 65,535.
    pub receive_maximum: Option<u16>,
    /// The highest QoS that the server takes; absent: QoS 2.
    pub maximum_qos: Option<QoS>,
    /// Whether the server keeps retained messages; absent: yes.
    pub retain_available: Option<bool>,
    /// The largest packet that the server takes, in bytes; absent: no limit but the protocol's.
    pub maximum_packet_size: Option<u32>,
    /// The Client Identifier that the server chose.
    pub assigned_client_identifier: Option<Text>,
    /// How many topic aliases the server takes; absent: none.
    pub topic_alias_maximum: Option<u16>,
    /// Text for a human who looks for a fault.
    pub reason_string: Option<Text>,
    /// User Properties.
    pub user_properties: UserProperties,
    /// Whether wildcard subscriptions work; absent: yes.
    pub wildcard_subscription_available: Option<bool>,
    /// Whether subscription identifiers work; absent: yes.
    pub subscription_identifier_available: Option<bool>,
    /// Whether shared subscriptions work; absent: yes.
    pub shared_subscription_available: Option<bool>,
    /// The Keep Alive that holds instead of the client's, in seconds.
    pub server_keep_alive: Option<u16>,
    /// What to build response topics from.
    pub response_information: Option<Text>,
    /// Another server to use.
    pub server_reference: Option<Text>,
    /// The name of the method of enhanced authentication.
    pub authentication_method: Option<Text>,
    /// What that method wants to say.
    pub authentication_data: Option<Bytes>,
}

impl ConnAck {
    /// Returns an answer with that reason and nothing else.
    pub fn new(reason: ReasonCode) -> ConnAck {
        ConnAck { reason, ..ConnAck::default() }
    }
}
