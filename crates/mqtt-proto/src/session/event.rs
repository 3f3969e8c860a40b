//! What a session tells its caller.

use alloc::boxed::Box;

use super::error::{CloseReason, Failure};
use crate::packet::{
    AckProperties, Auth, ConnAck, Connect, PublishPacket, SubAck, Subscribe, UnsubAck, Unsubscribe,
    Will,
};
use crate::reason::ReasonCode;
use crate::types::{AckId, RequestId, Token};

/// What happened, in the order in which it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The server accepted the connection (client).
    Connected {
        /// Whether the server goes on with the session that this side has; if not, subscriptions are
        /// gone. Always false with MQTT 3.1, whose CONNACK does not say.
        resumed: bool,
        /// The server's answer, with its limits.
        connack: Box<ConnAck>,
    },
    /// A client wants to connect (server): answer with `accept` or `refuse`. Input waits until then.
    Connect(Box<Connect>),
    /// A client wants to subscribe (server): answer with `grant`.
    Subscribe(RequestId, Box<Subscribe>),
    /// A client wants to unsubscribe (server): answer with `grant`.
    Unsubscribe(RequestId, Box<Unsubscribe>),
    /// A message came in.
    Message(Message),
    /// The peer has taken the QoS 2 message: PUBREC. `Published` follows.
    Received {
        /// What [`publish`](crate::Session::publish) returned.
        token: Token,
        /// What the peer said: Success, or No matching subscribers.
        reason: ReasonCode,
    },
    /// A message has its final answer: QoS 0 was taken out of the output buffer, QoS 1 had its PUBACK,
    /// QoS 2 its PUBCOMP or a PUBREC with an error.
    Published {
        /// What [`publish`](crate::Session::publish) returned.
        token: Token,
        /// What the peer said; Success for QoS 0 and in MQTT 3.x. At QoS 2 it is what PUBREC said, unless
        /// PUBCOMP has an error.
        reason: ReasonCode,
        /// What else it said.
        properties: AckProperties,
    },
    /// The server answered a SUBSCRIBE: one reason code for each filter, which may be an error.
    Subscribed {
        /// What `subscribe` returned.
        token: Token,
        /// The answer.
        ack: Box<SubAck>,
    },
    /// The server answered an UNSUBSCRIBE: one reason code for each filter (none in MQTT 3.x).
    Unsubscribed {
        /// What `unsubscribe` returned.
        token: Token,
        /// The answer.
        ack: Box<UnsubAck>,
    },
    /// A command that was accepted came to nothing.
    Failed {
        /// What the command returned.
        token: Token,
        /// Why.
        error: Failure,
    },
    /// There is room again after [`PublishError::Full`](crate::PublishError::Full).
    Writable,
    /// The peer sent AUTH: a step of an enhanced authentication.
    Auth(Box<Auth>),
    /// The connection has ended: write what `poll_transmit` gives, then close the transport.
    ///
    /// It comes exactly once for each `handle_open`.
    Closed {
        /// Why.
        reason: CloseReason,
        /// The Will that the server now has to publish (server).
        will: Option<Box<Will>>,
    },
}

/// A message that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The packet: topic, payload, properties. A Topic Alias has been resolved.
    pub publish: PublishPacket,
    /// What to acknowledge it with, for QoS 1 and 2.
    pub ack: Option<AckId>,
}
