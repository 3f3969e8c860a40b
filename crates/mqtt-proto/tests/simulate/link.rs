//! A link that delays, fragments, joins, stalls and is cut at random: bytes move only when the world
//! moves them, and as many as it likes.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, BytesMut};
use mqtt_proto::{Instant, Packet, Role, Session, TxBuf, Version};

use crate::wire::Watch;

/// One direction.
pub struct Lane {
    pub out: TxBuf,
    wire: VecDeque<u8>,
    pub arrived: BytesMut,
    /// Nothing moves: neither into the link nor out of it.
    pub stalled: bool,
    /// Nothing more will be written: the receiver finds the end behind what is on the way.
    pub fin: bool,
    /// What is written is lost: the link is cut, and the writer has not seen it yet.
    broken: bool,
    pub watch: Watch,
}

impl Lane {
    fn new(version: Version, from_client: bool, limit: usize) -> Lane {
        Lane {
            out: TxBuf::with_limit(limit),
            wire: VecDeque::new(),
            arrived: BytesMut::new(),
            stalled: false,
            fin: false,
            broken: false,
            watch: Watch::new(version, from_client),
        }
    }

    /// Lets the session encode, and shows the watch what it did.
    pub fn transmit<R: Role>(&mut self, session: &mut Session<R>, now: Instant) -> bool {
        let before = self.out.len();
        let any = session.poll_transmit(&mut self.out, now);
        let mut slices = [IoSlice::new(&[]); 512];
        let count = self.out.chunks_vectored(&mut slices);
        let mut skip = before;
        for slice in &slices[..count] {
            let from = skip.min(slice.len());
            skip -= from;
            self.watch.encoded(&slice[from..]);
        }
        any
    }

    /// Moves bytes from the output buffer into the link.
    pub fn write(&mut self, most: usize) -> bool {
        if self.broken {
            self.out.clear();
        }
        let mut left = if self.stalled { 0 } else { most };
        let any = left > 0 && !self.out.is_empty();
        while left > 0 && !self.out.is_empty() {
            let chunk = self.out.chunk();
            let count = chunk.len().min(left);
            self.wire.extend(&chunk[..count]);
            self.out.advance(count);
            left -= count;
        }
        any
    }

    /// Moves bytes out of the link; returns the packets that are complete with them.
    pub fn deliver(&mut self, most: usize) -> Vec<Packet> {
        let count = if self.stalled { 0 } else { most.min(self.wire.len()) };
        self.arrived.extend(self.wire.drain(..count));
        self.watch.delivered(count)
    }

    /// How many bytes are on the way.
    pub fn in_transit(&self) -> usize {
        self.wire.len()
    }

    /// Tells whether the receiver has read all there will ever be.
    pub fn is_over(&self) -> bool {
        self.fin && self.out.is_empty() && self.wire.is_empty()
    }

    /// Loses all but the first bytes of what is on the way, and everything behind.
    pub fn cut(&mut self, kept: usize) {
        self.wire.truncate(kept);
        self.out.clear();
        (self.fin, self.broken) = (true, true);
        self.stalled = false;
    }
}

/// One connection, and who of the two still has it open.
pub struct Conn {
    pub up: Lane,
    pub down: Lane,
    pub client_open: bool,
    pub server_open: bool,
    /// Whether CONNECT asked for a new session.
    pub clean: bool,
}

impl Conn {
    pub fn new(version: Version, limit: usize) -> Conn {
        Conn {
            up: Lane::new(version, true, limit),
            down: Lane::new(version, false, limit),
            client_open: true,
            server_open: true,
            clean: false,
        }
    }
}
