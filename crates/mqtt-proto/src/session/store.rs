//! The journal: what has to be on disk before a packet may leave. MQTT 5.0 section 4.1 leaves storage to
//! the implementation; here the caller has it, and the session only says what and when.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use bytes::{Buf, Bytes};

use crate::codec::{self, PublishHeader};
use crate::error::DecodeError;
use crate::packet::{Ack, Packet, Publish};
use crate::reason::ReasonCode;
use crate::txbuf::TxBuf;
use crate::types::{PacketId, Token, Version};

/// Numbers what the journal hands out; [`handle_stored`](crate::Session::handle_stored) takes it back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreSeq(u64);

/// Names a record. Outbound records sort in the order in which the messages were accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StoreKey {
    /// A message that this side sends, by its token.
    Outbound(Token),
    /// A QoS 2 message that came in and waits for PUBREL, by its packet identifier.
    Inbound(PacketId),
}

impl StoreKey {
    /// Returns the key as bytes that sort as the keys do.
    pub const fn to_bytes(self) -> [u8; 9] {
        let (kind, number) = match self {
            StoreKey::Outbound(token) => (0, token.0),
            StoreKey::Inbound(id) => (1, id.get() as u64),
        };
        let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
        [kind, a, b, c, d, e, f, g, h]
    }

    /// Returns the key that those bytes came from, or `None` if they came from none.
    pub fn from_bytes(bytes: [u8; 9]) -> Option<StoreKey> {
        let [kind, number @ ..] = bytes;
        let number = u64::from_be_bytes(number);
        match kind {
            0 => Some(StoreKey::Outbound(Token(number))),
            1 => PacketId::new(u16::try_from(number).ok()?).map(StoreKey::Inbound),
            _ => None,
        }
    }
}

/// What has to be done with the store, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOp {
    /// Write this record, in place of an earlier one with that key.
    Put {
        /// What to report when it is durable.
        seq: StoreSeq,
        /// The record's name.
        key: StoreKey,
        /// The record: an MQTT 5.0 packet.
        record: Bytes,
    },
    /// Remove the record.
    Delete {
        /// What to report when it is durable.
        seq: StoreSeq,
        /// The record's name.
        key: StoreKey,
    },
}

/// Tells why records are not those of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordError {
    /// The record is no packet: it was damaged.
    Damaged(StoreKey, DecodeError),
    /// The record is a packet that does not belong under that key.
    Misplaced(StoreKey),
    /// Two records have the same packet identifier.
    Duplicate(StoreKey),
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::Damaged(key, error) => write!(f, "record {key:?} is damaged: {error}"),
            RecordError::Misplaced(key) => write!(f, "record {key:?} is of another kind"),
            RecordError::Duplicate(key) => {
                write!(f, "record {key:?} has the packet identifier of another one")
            }
        }
    }
}

impl core::error::Error for RecordError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            RecordError::Damaged(_, error) => Some(error),
            _ => None,
        }
    }
}

/// What waits to be stored, and how far storing has got.
#[derive(Debug, Default)]
pub(super) struct Journal {
    pub(super) on: bool,
    ops: VecDeque<StoreOp>,
    last: StoreSeq,
    stored: StoreSeq,
}

impl Journal {
    fn next(&mut self) -> StoreSeq {
        self.last.0 += 1;
        self.last
    }

    fn put(&mut self, key: StoreKey, packet: &Packet) -> StoreSeq {
        let mut out = TxBuf::new();
        // Acknowledgements without properties: they always fit.
        let _ = codec::encode(packet, Version::V5, &mut out);
        self.put_record(key, &mut out)
    }

    fn put_record(&mut self, key: StoreKey, out: &mut TxBuf) -> StoreSeq {
        let seq = self.next();
        self.ops.push_back(StoreOp::Put { seq, key, record: out.copy_to_bytes(out.remaining()) });
        seq
    }

    /// A message was accepted.
    pub(super) fn publish(&mut self, token: Token, publish: &Publish, id: PacketId) -> StoreSeq {
        let header = PublishHeader { packet_id: Some(id), ..PublishHeader::default() };
        let mut out = TxBuf::new();
        // What cannot be encoded cannot be sent either, and fails when it is tried.
        let _ = codec::encode_publish(publish, &header, Version::V5, &mut out);
        self.put_record(StoreKey::Outbound(token), &mut out)
    }

    /// PUBREC came for a message: only PUBREL may be sent from now on.
    pub(super) fn released(&mut self, token: Token, id: PacketId) -> StoreSeq {
        if !self.on {
            return StoreSeq::default();
        }
        let packet = Packet::PubRel(Ack::new(id, ReasonCode::SUCCESS));
        self.put(StoreKey::Outbound(token), &packet)
    }

    /// A QoS 2 message that was sent is given up: only its identifier is kept.
    pub(super) fn given_up(&mut self, token: Token, id: PacketId) {
        if self.on {
            self.put(StoreKey::Outbound(token), &Packet::PubComp(not_found(id)));
        }
    }

    /// PUBREC came for a message that was given up.
    pub(super) fn given_up_released(&mut self, token: Token, id: PacketId) -> StoreSeq {
        if !self.on {
            return StoreSeq::default();
        }
        self.put(StoreKey::Outbound(token), &Packet::PubRel(not_found(id)))
    }

    /// The application has taken an inbound QoS 2 message.
    pub(super) fn taken(&mut self, id: PacketId) -> StoreSeq {
        if !self.on {
            return StoreSeq::default();
        }
        let packet = Packet::PubRec(Ack::new(id, ReasonCode::SUCCESS));
        self.put(StoreKey::Inbound(id), &packet)
    }

    /// An exchange is over.
    pub(super) fn delete(&mut self, key: StoreKey) -> StoreSeq {
        if !self.on {
            return StoreSeq::default();
        }
        let seq = self.next();
        self.ops.push_back(StoreOp::Delete { seq, key });
        seq
    }

    /// Tells whether what has that number is durable; with the journal off, everything is.
    #[inline]
    pub(super) fn has(&self, seq: StoreSeq) -> bool {
        seq <= self.stored
    }

    /// Returns what has to be durable before everything up to now is.
    pub(super) const fn latest(&self) -> StoreSeq {
        self.last
    }

    pub(super) fn poll(&mut self) -> Option<StoreOp> {
        self.ops.pop_front()
    }

    pub(super) fn handle_stored(&mut self, upto: StoreSeq) {
        // What was never handed out cannot have been stored.
        self.stored = self.stored.max(upto.min(self.last));
    }
}

/// The acknowledgement that stands in records for a message that is not there any more.
const fn not_found(id: PacketId) -> Ack {
    Ack::new(id, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND)
}

/// A record as it was read.
pub(super) enum Record {
    Outbound { token: Token, id: PacketId, kept: Kept },
    Taken { id: PacketId },
}

/// What is known of an outbound message.
pub(super) enum Kept {
    Publish(Publish),
    /// PUBREC has come.
    Released,
    /// Only its identifier is kept; PUBREC may have come.
    GivenUp {
        released: bool,
    },
}

/// Reads records in the order of their keys.
pub(super) fn read(
    records: impl IntoIterator<Item = (StoreKey, Bytes)>,
) -> Result<Vec<Record>, RecordError> {
    let mut records: Vec<(StoreKey, Bytes)> = records.into_iter().collect();
    records.sort_by_key(|(key, _)| *key);
    let read = |(key, record): (StoreKey, Bytes)| {
        let packet = codec::decode(&record, Version::V5);
        match (key, packet.map_err(|error| RecordError::Damaged(key, error))?) {
            (StoreKey::Outbound(token), Packet::Publish(publish)) => {
                match (publish.packet_id(), publish.to_publish()) {
                    (Some(id), Some(publish)) => {
                        Ok(Record::Outbound { token, id, kept: Kept::Publish(publish) })
                    }
                    _ => Err(RecordError::Misplaced(key)),
                }
            }
            (StoreKey::Outbound(token), Packet::PubRel(ack)) => {
                let kept = match ack.reason.is_error() {
                    true => Kept::GivenUp { released: true },
                    false => Kept::Released,
                };
                Ok(Record::Outbound { token, id: ack.packet_id, kept })
            }
            (StoreKey::Outbound(token), Packet::PubComp(ack)) if ack.reason.is_error() => {
                let kept = Kept::GivenUp { released: false };
                Ok(Record::Outbound { token, id: ack.packet_id, kept })
            }
            (StoreKey::Inbound(id), Packet::PubRec(ack)) if ack.packet_id == id => {
                Ok(Record::Taken { id })
            }
            _ => Err(RecordError::Misplaced(key)),
        }
    };
    records.into_iter().map(read).collect()
}
