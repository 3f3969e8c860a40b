//! MQTT without I/O.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod codec;
mod error;
mod packet;
mod reason;
mod session;
mod text;
mod time;
mod topic;
mod txbuf;
mod types;

pub use error::{DecodeCause, DecodeError, EncodeError, TextError, TopicError};
pub use packet::{
    Ack, AckProperties, Auth, ConnAck, Connect, Disconnect, Packet, Properties, Property, Publish,
    PublishFields, PublishPacket, PublishProperties, RetainHandling, SubAck, Subscribe,
    Subscription, SubscriptionOptions, UnsubAck, Unsubscribe, UserProperties, Will,
};
pub use reason::ReasonCode;
pub use session::{
    Accept, Bounds, Client, ClientConfig, CloseReason, CommandError, Event, Failure, Limits,
    Message, PeerError, Phase, PublishError, Role, Server, ServerConfig, Session, SessionState,
    Stats, Timeout,
};
pub use text::Text;
pub use time::Instant;
pub use topic::{FilterTree, TopicFilter, TopicName, matches};
pub use txbuf::TxBuf;
pub use types::{AckId, PacketId, PacketType, QoS, RequestId, Token, Version};
