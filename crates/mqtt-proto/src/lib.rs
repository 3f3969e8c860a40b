//! MQTT 3.1, 3.1.1 and 5.0 without I/O: a codec, and a session state machine for both sides.
//!
//! This crate opens no socket, reads no clock, spawns nothing and knows no `async`. Bytes and the time
//! come in as arguments; packets to send, events and the next deadline come out. So the same code runs
//! under any executor, in a blocking loop, in a simulation and in a fuzzer, and what it does depends on
//! nothing but its arguments. `mqtt-async` is the client that is built on it.
//!
//! # What is where
//!
//! - [`codec`] turns frames into [`Packet`]s and back. It is strict in both directions: what the
//!   standard forbids is neither accepted nor sent.
//! - [`Session`] is the state machine: `Session<`[`Client`]`>` connects, `Session<`[`Server`]`>` is what a
//!   broker has for each of its clients. Its front page is the contract, with a blocking loop.
//! - [`TopicName`], [`TopicFilter`], [`matches()`] and [`FilterTree`] are the topics.
//! - [`TxBuf`] is what packets are encoded into, and what a transport writes from.
//!
//! - [`manual`] tells what lives how long, what is bounded by what, how to survive restarts, and what goes
//!   wrong elsewhere.
//!
//! # One model for all versions
//!
//! Packets are shaped like those of MQTT 5.0, and the [`Version`] is an argument of the codec. What a
//! version does not have is refused, not dropped: a property in a 3.1.1 packet is an
//! [`EncodeError::NotInVersion`]. The return codes of 3.x are mapped onto [`ReasonCode`]s.
//!
//! # Errors
//!
//! Whose fault it is can be told from the type: [`DecodeError`] and [`PeerError`] are the peer's,
//! [`EncodeError`], [`TopicError`], [`TextError`], [`PublishError`] and [`CommandError`] the caller's.
//!
//! # Features
//!
//! - `std` (default): vectored writes from [`TxBuf`]. Without it the crate needs `core` and `alloc`.

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod codec;
mod error;
pub mod manual;
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
    Accept, AcceptError, Bounds, Client, ClientConfig, CloseReason, CommandError, Event, Failure,
    Limits, Message, PeerError, Phase, PublishError, RecordError, Role, Server, ServerConfig,
    Session, SessionState, Stats, StoreKey, StoreOp, StoreSeq, Timeout, TopicAliases,
};
pub use text::Text;
pub use time::Instant;
pub use topic::{FilterTree, TopicFilter, TopicName, matches};
pub use txbuf::TxBuf;
pub use types::{AckId, PacketId, PacketType, QoS, RequestId, Token, Version};
