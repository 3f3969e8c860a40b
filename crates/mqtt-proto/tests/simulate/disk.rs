//! A journal's store, which a crash brings back to what was durable.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use mqtt_proto::{
    PacketId, RecordError, Role, Session, SessionState, StoreKey, StoreOp, StoreSeq, Token,
};

#[derive(Default)]
pub struct Disk {
    durable: BTreeMap<[u8; 9], Bytes>,
    /// Handed out by the session, and lost by a crash.
    written: VecDeque<StoreOp>,
    /// Durable, but the session has not been told.
    unreported: Option<StoreSeq>,
}

impl Disk {
    /// Takes what the session hands out.
    pub fn write<R: Role>(&mut self, session: &mut Session<R>) {
        self.written.extend(std::iter::from_fn(|| session.poll_store()));
    }

    /// Makes the oldest write durable; false if there is none.
    pub fn sync_one(&mut self) -> bool {
        let Some(op) = self.written.pop_front() else { return false };
        self.unreported = Some(match op {
            StoreOp::Put { seq, key, record } => {
                self.durable.insert(key.to_bytes(), record);
                seq
            }
            StoreOp::Delete { seq, key } => {
                self.durable.remove(&key.to_bytes());
                seq
            }
        });
        true
    }

    /// Tells the session what is durable.
    pub fn report<R: Role>(&mut self, session: &mut Session<R>) -> bool {
        let told = self.unreported.take();
        if let Some(seq) = told {
            session.handle_stored(seq);
        }
        told.is_some()
    }

    /// Forgets what was not durable, and reads what was.
    pub fn crash(&mut self) -> Result<SessionState, RecordError> {
        self.written.clear();
        self.unreported = None;
        SessionState::from_records(self.records())
    }

    pub fn records(&self) -> impl Iterator<Item = (StoreKey, Bytes)> {
        let key = |key: &[u8; 9]| StoreKey::from_bytes(*key).expect("a key that was handed out");
        self.durable.iter().map(move |(bytes, record)| (key(bytes), record.clone()))
    }

    pub fn inbound(&self, id: PacketId) -> bool {
        self.durable.contains_key(&StoreKey::Inbound(id).to_bytes())
    }

    /// The type of the packet that is stored for a message: PUBLISH or PUBREL.
    pub fn outbound(&self, token: Token) -> Option<u8> {
        let record = self.durable.get(&StoreKey::Outbound(token).to_bytes())?;
        record.first().map(|byte| byte >> 4)
    }
}
