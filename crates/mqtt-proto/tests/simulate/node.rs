//! One client, what the server has for it, and the connections between the two.
//!
//! The server is one as a broker is: for each transport it makes a `Session<Server>`, and once CONNECT
//! has come, this one goes on with the state of the one before. That one, and the connection that it may
//! still have, live until then.

use bytes::BytesMut;
use mqtt_proto::{
    Client, CloseReason, Event, Instant, Message, Packet, ReasonCode, RequestId, Role, Server,
    Session, Version,
};

use crate::app::{self, Habits, Todo};
use crate::disk::Disk;
use crate::link::{Conn, Lane};
use crate::oracle::{Check, Fault, Flow, ensure};
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
    pub known: bool,
    /// The client has sent something since CONNACK told it of a new session. Before that it may not know
    /// of it: then the next connection begins with a new one again.
    pub confirmed: bool,
    pub expiry: Option<u32>,
    /// When its connection ended.
    pub since: Option<Instant>,
}

pub struct Node {
    pub name: usize,
    /// That of the client's last connection.
    pub version: Version,
    /// Whether connections are now of MQTT 5.0 and now of 3.1.1.
    pub mixes: bool,
    pub session_expiry: Option<u32>,
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
pub(crate) use peer;

impl Node {
    pub fn new(name: usize, random: &mut Random) -> Node {
        let mut config = app::client(name, random);
        let server = app::server(random);
        let version = config.version;
        let session_expiry = app::session_expiry(random);
        app::speak(&mut config, version, session_expiry);
        let mixes = version != Version::V31 && random.chance(20);
        let habits = |random: &mut Random, server: bool| match mixes || server || version.is_v5() {
            true => Habits::new(random).typed(random),
            false => Habits::new(random),
        };
        let (client_habits, server_habits) = (habits(random, false), habits(random, true));
        Node {
            name,
            version,
            mixes,
            session_expiry,
            client: Peer {
                session: Session::new(config.clone()),
                disk: Disk::default(),
                journal: config.journal,
                habits: client_habits,
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
                habits: server_habits,
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
        self.version = self.client.session.config().version;
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

    // ---- what the applications are told ----

    /// Takes all events and writes what has to be stored.
    pub fn events(&mut self, now: Instant, random: &mut Random) -> Check {
        while let Some(event) = self.client.session.poll_event() {
            self.client_event(event, now, random)?;
        }
        while let Some(event) = self.server.session.poll_event() {
            self.server_event(event, now, random)?;
        }
        while let Some(event) = self.pending.as_mut().and_then(Session::poll_event) {
            self.pending_event(event, now, random)?;
        }
        self.client.disk.write(&mut self.client.session);
        self.server.disk.write(&mut self.server.session);
        self.bounded()
    }

    fn client_event(&mut self, event: Event, now: Instant, random: &mut Random) -> Check {
        match event {
            Event::Connected { resumed, .. } => {
                if let Some(conn) = &mut self.current {
                    conn.up.watch.established = true;
                }
                let resends = self.client.session.config().resend_lost_qos2;
                let clean = self.client_cleans();
                let lost = self.is_lost(clean, resumed);
                let ends = clean && !self.version.is_v5();
                let ended = std::mem::replace(&mut self.client_ended, ends);
                if lost {
                    let keeps = !self.version.is_v5() && !clean && !ended;
                    self.up.session_lost(keeps, resends);
                }
                // The first connection of a process that has lost everything was clean; later ones
                // go on.
                let wish = self.client.config.connect.clean_start;
                self.client.session.config_mut().connect.clean_start = wish;
                Ok(())
            }
            Event::Closed { reason, .. } => {
                self.client.closed += 1;
                self.up.requests_end();
                if let Some(conn) = &mut self.current {
                    conn.client_open = false;
                    // What the session says last is still written, then comes the end.
                    if !matches!(reason, CloseReason::Eof) {
                        pump(&mut self.client.session, &mut conn.up, usize::MAX, now);
                    }
                    conn.up.fin = true;
                }
                self.look_at_current(Side::Client)?;
                peers_are_faultless("client", &reason)
            }
            Event::Message(message) => self.message(Side::Client, &message, now, random),
            Event::Writable => {
                self.up.waits = false;
                Ok(())
            }
            other => self.up.outcome(&other, now),
        }
    }

    /// Whether the client has to take it that the server has no session.
    const fn is_lost(&self, clean: bool, present: bool) -> bool {
        match self.version {
            Version::V31 => clean || self.client_ended,
            _ => !present,
        }
    }

    /// Whether the CONNECT of this connection asked for a new session.
    fn client_cleans(&self) -> bool {
        self.current.as_ref().is_some_and(|conn| conn.clean)
    }

    pub fn look_at_current(&mut self, side: Side) -> Check {
        let Some(mut conn) = self.current.take() else { return Ok(()) };
        let checked = self.look(side, &mut conn);
        self.current = Some(conn);
        checked
    }

    fn server_event(&mut self, event: Event, now: Instant, random: &mut Random) -> Check {
        match event {
            Event::Closed { reason, .. } => {
                self.server.closed += 1;
                if let CloseReason::Disconnected(disconnect) = &reason
                    && let Some(expiry) = disconnect.session_expiry_interval
                {
                    self.record.expiry = Some(expiry);
                }
                self.record.since = Some(now);
                let session = &mut self.server.session;
                let on_old = self.pending.is_some();
                let slot = if on_old { &mut self.old } else { &mut self.current };
                if let Some(mut conn) = slot.take() {
                    conn.server_open = false;
                    if !matches!(reason, CloseReason::Eof) {
                        pump(session, &mut conn.down, usize::MAX, now);
                    }
                    conn.down.fin = true;
                    let checked = self.look(Side::Server, &mut conn);
                    *(if on_old { &mut self.old } else { &mut self.current }) = Some(conn);
                    checked?;
                }
                peers_are_faultless("server", &reason)
            }
            Event::Message(message) => {
                self.forwards += 1;
                self.message(Side::Server, &message, now, random)
            }
            Event::Subscribe(request, subscribe) => {
                self.requests.push((request, subscribe.subscriptions.len()));
                Ok(())
            }
            Event::Unsubscribe(request, unsubscribe) => {
                self.requests.push((request, unsubscribe.filters.len()));
                Ok(())
            }
            Event::Writable => {
                self.down.waits = false;
                Ok(())
            }
            other => self.down.outcome(&other, now),
        }
    }

    fn message(&mut self, to: Side, message: &Message, now: Instant, random: &mut Random) -> Check {
        self.tally.messages += 1;
        let from = if to == Side::Client { Side::Server } else { Side::Client };
        let on_old = to == Side::Server && self.pending.is_some();
        let slot = if on_old { &mut self.old } else { &mut self.current };
        let mut conn = slot.take();
        let checked = match &mut conn {
            Some(conn) => {
                let lane = if from == Side::Client { &mut conn.up } else { &mut conn.down };
                self.flow(from).message(&mut lane.watch, message)
            }
            None => Ok(()),
        };
        *(if on_old { &mut self.old } else { &mut self.current }) = conn;
        checked?;
        if let Some(ack) = message.ack {
            let calm = self.calm;
            let prompt = peer!(self, to, peer => {
                peer.todo.push(peer.habits.todo(ack, random));
                calm || peer.habits.is_prompt(random)
            });
            if prompt {
                let last = peer!(self, to, peer => peer.todo.len() - 1);
                self.answer(to, last, now, random);
            }
        }
        Ok(())
    }

    /// Answers the message at that place of the application's list.
    pub fn answer(&mut self, side: Side, index: usize, _: Instant, random: &mut Random) {
        let todo = peer!(self, side, peer => peer.todo.remove(index));
        let reason = if todo.refuse { app::refusal(random) } else { ReasonCode::SUCCESS };
        peer!(self, side, peer => peer.session.ack(todo.ack, reason));
        // In MQTT 3.x a message cannot be refused; which version the answer will be in is not sure yet.
        let error = todo.refuse && (self.version.is_v5() || self.mixes);
        let taken = !todo.refuse || self.mixes || !self.version.is_v5();
        self.tally.refused += u64::from(error);
        let from = if side == Side::Client { Side::Server } else { Side::Client };
        let on_old = side == Side::Server && self.pending.is_some();
        let slot = if on_old { &mut self.old } else { &mut self.current };
        let mut conn = slot.take();
        let watch = conn.as_mut().map(|conn| {
            let lane = if from == Side::Client { &mut conn.up } else { &mut conn.down };
            &mut lane.watch
        });
        self.flow(from).answer(watch, todo.ack, error, taken);
        *(if on_old { &mut self.old } else { &mut self.current }) = conn;
    }
}

/// Encodes, and moves bytes into the link.
pub fn pump<R: Role>(session: &mut Session<R>, lane: &mut Lane, most: usize, now: Instant) -> bool {
    let any = lane.transmit(session, now);
    any | lane.write(most)
}

/// Both sides are ours: neither may find a fault with the other.
pub fn peers_are_faultless(side: &str, reason: &CloseReason) -> Check {
    let told = match reason {
        CloseReason::Peer(_) | CloseReason::Local(_) | CloseReason::SessionUnknown => true,
        CloseReason::Disconnected(disconnect) => {
            use ReasonCode as R;
            disconnect.reason.is_error()
                && !matches!(disconnect.reason, R::KEEP_ALIVE_TIMEOUT | R::SERVER_BUSY)
        }
        _ => false,
    };
    ensure!(!told, "peers_are_faultless", "{side}: {reason:?}");
    Ok(())
}
