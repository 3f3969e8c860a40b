//! One side of a pair: a session, its output buffer, its store, and what its application holds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Buf, BytesMut};
use mqtt_proto::{
    AckId, Event, Instant, Packet, Phase, Role, Session, StoreKey, StoreOp, StoreSeq, Token, TxBuf,
    Version, codec,
};

pub struct Side<R: Role> {
    pub session: Session<R>,
    pub out: TxBuf,
    pub arrived: BytesMut,
    /// What has left, as far as it is no whole packet yet.
    sent: BytesMut,
    opened: u32,
    closed: u32,
    journal: bool,
    written: VecDeque<StoreOp>,
    /// The names of the records that are durable.
    pub disk: BTreeSet<[u8; 9]>,
    /// Commands without an outcome; the number is that of the message, and `None` is a request.
    pub open: BTreeMap<Token, Option<usize>>,
    pub cancelled: Vec<Token>,
    /// Messages that have failed and whose identifiers may be kept.
    pub given_up: BTreeSet<Token>,
    /// All that was ever to be acknowledged, with the message.
    pub acks: Vec<(AckId, usize)>,
    /// Whether `Full` was said, and `Writable` not yet.
    pub full: bool,
}

impl<R: Role> Side<R> {
    pub fn new(session: Session<R>, full_from: usize, journal: bool) -> Side<R> {
        Side {
            session,
            out: TxBuf::with_limit(full_from),
            arrived: BytesMut::new(),
            sent: BytesMut::new(),
            opened: 0,
            closed: 0,
            journal,
            written: VecDeque::new(),
            disk: BTreeSet::new(),
            open: BTreeMap::new(),
            cancelled: Vec::new(),
            given_up: BTreeSet::new(),
            acks: Vec::new(),
            full: false,
        }
    }

    pub fn open(&mut self, now: Instant) {
        self.clear();
        self.opened += 1;
        self.session.handle_open(now);
    }

    pub fn eof(&mut self, now: Instant) {
        self.session.handle_eof(now);
        self.clear();
    }

    fn clear(&mut self) {
        self.out.clear();
        self.arrived.clear();
        self.sent.clear();
    }

    pub fn is_closed(&self) -> bool {
        self.session.phase() == Phase::Closed
    }

    /// Polls in the order of the contract, each until there is nothing more.
    pub fn poll(&mut self, now: Instant) -> Vec<Event> {
        while let Some(op) = self.session.poll_store() {
            assert!(self.journal, "there is no journal");
            self.written.push_back(op);
        }
        let mut polls = 0;
        while self.session.poll_transmit(&mut self.out, now) {
            polls += 1;
            assert!(polls < 1000, "poll_transmit never has enough");
        }
        let _ = self.session.poll_round_trip();
        let events: Vec<Event> = std::iter::from_fn(|| self.session.poll_event()).collect();
        self.closed += events.iter().filter(|e| matches!(e, Event::Closed { .. })).count() as u32;
        assert_eq!(
            self.closed + u32::from(!self.is_closed()),
            self.opened,
            "Closed comes once for each connection"
        );
        events
    }

    /// Makes the oldest writes durable; tells whether there were any.
    pub fn sync(&mut self, writes: usize) -> bool {
        let mut last: Option<StoreSeq> = None;
        for op in self.written.drain(..writes.min(self.written.len())) {
            let (seq, key, put) = match op {
                StoreOp::Put { seq, key, .. } => (seq, key, true),
                StoreOp::Delete { seq, key } => (seq, key, false),
            };
            if put {
                self.disk.insert(key.to_bytes());
            } else {
                self.disk.remove(&key.to_bytes());
            }
            last = Some(seq);
        }
        if let Some(seq) = last {
            self.session.handle_stored(seq);
        }
        last.is_some()
    }

    /// Takes bytes out of the output buffer, and the whole packets among all that were taken: they are
    /// valid in one of those versions.
    pub fn take(&mut self, bytes: usize, versions: &[Version]) -> (Vec<u8>, Vec<(usize, Packet)>) {
        let mut taken = vec![0; bytes.min(self.out.len())];
        self.out.copy_to_slice(&mut taken);
        self.sent.extend_from_slice(&taken);
        let mut packets = Vec::new();
        while let Some(frame) = codec::frame(&mut self.sent, u32::MAX).expect("a valid header") {
            let packet = versions.iter().find_map(|version| codec::decode(&frame, *version).ok());
            let packet = packet.unwrap_or_else(|| panic!("no packet of {versions:?}: {frame:?}"));
            packets.push((frame.len(), packet));
        }
        (taken, packets)
    }

    /// Tells whether all that was taken is whole packets.
    pub fn is_whole(&self) -> bool {
        self.sent.is_empty()
    }

    /// Nothing leaves before what it says is durable; `number` is that of the message in a PUBLISH.
    pub fn check_stored(&self, packet: &Packet, number: Option<usize>) {
        let holds = |key: StoreKey| self.disk.contains(&key.to_bytes());
        let stored = match packet {
            _ if !self.journal => true,
            Packet::Publish(_) if number.is_some() => {
                let token = self.open.iter().find(|(_, command)| **command == number);
                token.is_some_and(|(token, _)| holds(StoreKey::Outbound(*token)))
            }
            Packet::PubRec(ack) => ack.reason.is_error() || holds(StoreKey::Inbound(ack.packet_id)),
            Packet::PubComp(ack) => !holds(StoreKey::Inbound(ack.packet_id)),
            _ => true,
        };
        assert!(stored, "it left too early: {packet:?}");
    }

    /// Forgets what belonged to a session that is gone.
    pub fn forget(&mut self) -> Vec<usize> {
        self.acks.clear();
        self.written.clear();
        self.disk.clear();
        self.cancelled.clear();
        self.given_up.clear();
        std::mem::take(&mut self.open).into_values().flatten().collect()
    }

    /// Takes a command from the list of those that have no outcome.
    pub fn end(&mut self, token: Token) -> Option<usize> {
        assert!(!self.cancelled.contains(&token), "{token:?} was taken back");
        self.open.remove(&token).unwrap_or_else(|| panic!("{token:?} has its outcome"))
    }
}
