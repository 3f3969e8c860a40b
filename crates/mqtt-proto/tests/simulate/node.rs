//! One client, what the server has for it, and the connections between the two.
//!
//! The server is one as a broker is: for each transport it makes a `Session<Server>`, and once CONNECT
//! has come, this one goes on with the state of the one before. That one, and the connection that it may
//! still have, live until then.

use bytes::BytesMut;
use mqtt_proto::{Client, Instant, Packet, RequestId, Role, Server, Session, Version};

use crate::app::{self, Habits, Todo};
use crate::disk::Disk;
use crate::link::{Conn, Lane};
use crate::oracle::{Check, Fault, Flow};
use crate::random::Random;
use crate::tally::Tally;
use crate::wire::{self, Part};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

pub const SIDES: [Side; 2] = [Side::Client, Side::Server];

/// A session, and what its application keeps beside it.
pub struct Peer<R: Role> {
    pub session: Session<R>,
    pub config: R::Config,
    pub disk: Disk,
    pub journal: bool,
    pub habits: Habits,
    pub todo: Vec<Todo>,
    max_in_flight: u16,
    pub opened: u64,
    pub closed: u64,
}

/// What the server keeps of the session.
#[derive(Default)]
pub struct Record {
    /// There is one.
    known: bool,
    /// The client has sent something since CONNACK told it of a new session. Before that it may not know
    /// of it: then the next connection begins with a new one again.
    confirmed: bool,
    expiry: Option<u32>,
    /// When its connection ended.
    pub since: Option<Instant>,
}

pub struct Node {
    pub name: usize,
    pub version: Version,
    pub client: Peer<Client>,
    /// The session whose CONNECT was accepted last.
    pub server: Peer<Server>,
    /// The session of `current`, as long as no CONNECT was accepted there.
    pub pending: Option<Session<Server>>,
    pub up: Flow,
    pub down: Flow,
    pub current: Option<Conn>,
    /// The connection that `server` has while there is a pending one.
    pub old: Option<Conn>,
    pub record: Record,
    pub requests: Vec<(RequestId, usize)>,
    /// The client's last session was one of Clean Session 1.
    pub client_ended: bool,
    pub tally: Tally,
    /// Messages that the server's application took and may pass on.
    pub forwards: u64,
    pub calm: bool,
    /// Tells each packet on the standard error output.
    pub loud: bool,
}

macro_rules! peer {
    ($node:expr, $side:expr, $peer:ident => $then:expr) => {
        match $side {
            Side::Client => {
                let $peer = &mut $node.client;
                $then
            }
            Side::Server => {
                let $peer = &mut $node.server;
                $then
            }
        }
    };
}

// The command takes these files in by their paths, so this one needs its own.
#[path = "node/events.rs"]
mod events;
pub(crate) use peer;

impl Node {
    pub fn new(name: usize, random: &mut Random) -> Node {
        let mut config = app::client(name, random);
        let mut server = app::server(random);
        app::packet_sizes(&mut config, &mut server, random);
        Node {
            name,
            version: config.version,
            client: Peer {
                session: Session::new(config.clone()),
                disk: Disk::default(),
                journal: config.journal,
                habits: Habits::new(random),
                todo: Vec::new(),
                max_in_flight: config.max_in_flight,
                opened: 0,
                closed: 0,
                config,
            },
            server: Peer {
                session: Session::new(server.clone()),
                disk: Disk::default(),
                journal: server.journal,
                habits: Habits::new(random),
                todo: Vec::new(),
                max_in_flight: server.max_in_flight,
                opened: 0,
                closed: 0,
                config: server,
            },
            pending: None,
            up: Flow::default(),
            down: Flow::default(),
            current: None,
            old: None,
            record: Record::default(),
            requests: Vec::new(),
            client_ended: false,
            tally: Tally::default(),
            forwards: 0,
            calm: false,
            loud: false,
        }
    }

    pub fn flow(&mut self, from: Side) -> &mut Flow {
        match from {
            Side::Client => &mut self.up,
            Side::Server => &mut self.down,
        }
    }

    /// The connection of the accepted session on that side.
    pub fn conn(&mut self, side: Side) -> Option<&mut Conn> {
        match side {
            Side::Client => self.current.as_mut().filter(|conn| conn.client_open),
            Side::Server if self.pending.is_some() => self.old.as_mut().filter(|c| c.server_open),
            Side::Server => self.current.as_mut().filter(|conn| conn.server_open),
        }
    }

    pub fn is_open(&mut self, side: Side) -> bool {
        self.conn(side).is_some()
    }

    // ---- the transport ----

    pub fn open(&mut self, now: Instant, random: &mut Random) -> Check {
        let previous = self.current.take();
        if self.pending.take().is_none() {
            self.old = previous.filter(|conn| conn.server_open);
        }
        let limit = random.pick(&[1, 100, 64 * 1024]);
        self.current = Some(Conn::new(self.version, limit));
        self.client.session.handle_open(now);
        self.client.opened += 1;
        let mut session = Session::new(self.server.config.clone());
        session.handle_open(now);
        self.pending = Some(session);
        self.tally.connections += 1;
        self.events(now, random)
    }

    /// Cuts the connection: some of what is on the way still arrives. Each side may see it at once.
    pub fn cut(&mut self, now: Instant, random: &mut Random) -> Check {
        let Some(conn) = &mut self.current else { return Ok(()) };
        for lane in [&mut conn.up, &mut conn.down] {
            let kept = random.below(lane.in_transit() as u64 + 1) as usize;
            lane.cut(kept);
        }
        for side in SIDES {
            if random.chance(70) {
                self.eof(side, now);
            }
        }
        self.events(now, random)
    }

    fn eof(&mut self, side: Side, now: Instant) {
        match (side, &mut self.pending) {
            (Side::Client, _) => self.client.session.handle_eof(now),
            (Side::Server, Some(pending)) => pending.handle_eof(now),
            (Side::Server, None) => self.server.session.handle_eof(now),
        }
    }

    /// Lets the sessions of that side encode, and moves bytes into the links.
    pub fn transmit(
        &mut self,
        side: Side,
        most: usize,
        now: Instant,
        random: &mut Random,
    ) -> Result<bool, Fault> {
        let mut any = false;
        for old in [true, false] {
            let slot = if old { &mut self.old } else { &mut self.current };
            let Some(mut conn) = slot.take() else { continue };
            any |= match side {
                Side::Client if old => false,
                Side::Client => pump(&mut self.client.session, &mut conn.up, most, now),
                Side::Server => {
                    let session = match &mut self.pending {
                        Some(pending) if !old => pending,
                        _ => &mut self.server.session,
                    };
                    pump(session, &mut conn.down, most, now)
                }
            };
            let checked = self.look(side, &mut conn);
            *(if old { &mut self.old } else { &mut self.current }) = Some(conn);
            checked?;
        }
        self.events(now, random)?;
        Ok(any)
    }

    /// Looks at what that side has encoded.
    fn look(&mut self, side: Side, conn: &mut Conn) -> Check {
        let lane = if side == Side::Client { &mut conn.up } else { &mut conn.down };
        let mut fresh = Vec::new();
        while let Some(packet) = lane.watch.next() {
            fresh.push(packet);
        }
        for (packet, len) in fresh {
            if self.loud {
                eprintln!("    {} {side:?} sends {}", self.name, wire::brief(&packet));
            }
            self.tally.packets += 1;
            let (mut own, mut other) = self.parts(side, conn);
            wire::sent(&packet, len, &mut own, &mut other)?;
        }
        Ok(())
    }

    fn parts<'a>(&'a mut self, side: Side, conn: &'a mut Conn) -> (Part<'a>, Part<'a>) {
        let up = Part {
            flow: &mut self.up,
            watch: &mut conn.up.watch,
            disk: self.client.journal.then_some(&self.client.disk),
            max_in_flight: self.client.max_in_flight,
        };
        let down = Part {
            flow: &mut self.down,
            watch: &mut conn.down.watch,
            disk: self.server.journal.then_some(&self.server.disk),
            max_in_flight: self.server.max_in_flight,
        };
        if side == Side::Client { (up, down) } else { (down, up) }
    }

    /// Delivers bytes to that side; tells whether anything happened.
    pub fn deliver(
        &mut self,
        to: Side,
        most: usize,
        now: Instant,
        random: &mut Random,
    ) -> Result<bool, Fault> {
        let mut any = false;
        for old in [true, false] {
            let slot = if old { &mut self.old } else { &mut self.current };
            let Some(mut conn) = slot.take() else { continue };
            let moved = self.deliver_on(to, old, &mut conn, most, now);
            // An accepted CONNECT has replaced the old connection: it is not there then.
            *(if old { &mut self.old } else { &mut self.current }) = Some(conn);
            any |= moved?;
            self.events(now, random)?;
        }
        Ok(any)
    }

    fn deliver_on(
        &mut self,
        to: Side,
        old: bool,
        conn: &mut Conn,
        most: usize,
        now: Instant,
    ) -> Result<bool, Fault> {
        let (lane, open) = match to {
            Side::Client => (&mut conn.down, conn.client_open),
            Side::Server => (&mut conn.up, conn.server_open),
        };
        let before = lane.in_transit();
        let packets = lane.deliver(most);
        let moved = before != lane.in_transit();
        if !open || (old && to == Side::Client) {
            lane.arrived.clear();
            return Ok(moved);
        }
        let from = if to == Side::Client { Side::Server } else { Side::Client };
        for packet in packets {
            if self.loud {
                eprintln!("    {} {to:?} gets {}", self.name, wire::brief(&packet));
            }
            if to == Side::Server && !matches!(packet, Packet::Connect(_)) {
                self.record.confirmed = true;
            }
            if let Packet::ConnAck(connack) = &packet
                && !connack.reason.is_error()
                && self.is_lost(conn.clean, connack.session_present)
            {
                // Messages may stand right behind it.
                self.down.forget();
            }
            let (mut own, mut other) = self.parts(from, conn);
            wire::arrived(&packet, &mut own, &mut other)?;
        }
        let lane = if to == Side::Client { &mut conn.down } else { &mut conn.up };
        let over = lane.is_over();
        let input: &mut BytesMut = &mut lane.arrived;
        match (to, &mut self.pending) {
            (Side::Client, _) => self.client.session.handle_input(input, now),
            (Side::Server, Some(pending)) if !old => pending.handle_input(input, now),
            (Side::Server, _) => self.server.session.handle_input(input, now),
        }
        if over {
            match (to, &mut self.pending) {
                (Side::Server, _) if old => self.server.session.handle_eof(now),
                _ => self.eof(to, now),
            }
        }
        Ok(moved || over)
    }
}

/// Encodes, and moves bytes into the link.
fn pump<R: Role>(session: &mut Session<R>, lane: &mut Lane, most: usize, now: Instant) -> bool {
    let any = lane.transmit(session, now);
    any | lane.write(most)
}
