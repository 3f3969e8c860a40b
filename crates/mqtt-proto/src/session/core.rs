//! What both roles share: dispatch, the send scheduler, and the ends of connections.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use super::alias::Aliases;
use super::config::{Bounds, TopicAliases};
use super::error::{CloseReason, CommandError, PeerError};
use super::event::Event;
use super::inbound::{Arrivals, Inbound};
use super::limits::Limits;
use super::link::{Link, Phase};
use super::list::relax;
use super::outbound::{Outbound, Sending, Spent, published};
use super::store::{Record, RecordError, StoreKey, StoreOp, StoreSeq, read};
use super::timers::Timer;
use crate::codec;
use crate::packet::{AckProperties, Auth, Disconnect, Packet, Publish, Will};
use crate::reason::ReasonCode;
use crate::time::Instant;
use crate::txbuf::TxBuf;
use crate::types::{PacketId, PacketType, QoS, Token, Version};

mod direct;
mod line;
mod receive;
mod transmit;

/// What a session keeps while it is not connected, to be handed to a later one.
#[derive(Debug, Default)]
pub struct SessionState {
    outbound: Outbound,
    inbound: Inbound,
    /// The number of the last connection. It is part of the state because what is in flight remembers
    /// on which connection it was sent, and a server goes on with it in another `Session`.
    links: u32,
}

impl SessionState {
    /// Returns the state that those records make up: what a session with a journal has had stored.
    ///
    /// Messages keep their tokens. Each counts as sent, because it may have been, and so goes out with
    /// DUP. A Message Expiry Interval begins anew. Hand in all records, in any order.
    ///
    /// # Errors
    ///
    /// See [`RecordError`]: a record is damaged, or is not that of a session.
    pub fn from_records(
        records: impl IntoIterator<Item = (StoreKey, Bytes)>,
    ) -> Result<SessionState, RecordError> {
        // Whoever keeps records knows the session, even if there is nothing to keep.
        let mut state = SessionState { links: 1, ..SessionState::default() };
        for record in read(records)? {
            match record {
                Record::Outbound { token, id, kept } => state.outbound.restore(token, id, kept)?,
                Record::Taken { id } => state.inbound.restore(id),
            }
        }
        Ok(state)
    }

    /// Says that no connection has ever been accepted: then no message was sent, and none is in doubt.
    ///
    /// For whoever keeps that with the records of [`from_records`](SessionState::from_records). It has to be
    /// durable that there was a connection before anything else leaves on the first one.
    #[must_use]
    pub fn never_connected(mut self) -> SessionState {
        self.outbound.unsend();
        self.links = 0;
        self
    }

    /// Returns the tokens of the messages that it holds, in their order.
    pub fn tokens(&self) -> Vec<Token> {
        self.messages().map(|(token, _)| token).collect()
    }

    /// Returns the messages that it holds, in their order.
    ///
    /// `None` stands for a QoS 2 message that the peer has taken: only its token is left.
    pub fn messages(&self) -> impl Iterator<Item = (Token, Option<&Publish>)> {
        self.outbound.messages()
    }

    /// Tells whether it holds nothing: not even an identifier that has to stay taken.
    pub fn is_empty(&self) -> bool {
        let SessionState { outbound, inbound, .. } = self;
        outbound.is_empty() && outbound.given_up() == 0 && inbound.unfinished(None) == 0
    }
}

/// What a session holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages that were accepted and never sent.
    pub queued: usize,
    /// Messages that were sent and not completed.
    pub in_flight: usize,
    /// Bytes of both.
    pub held_bytes: usize,
    /// SUBSCRIBE and UNSUBSCRIBE without an answer.
    pub requests: usize,
    /// Inbound messages that wait for the application's answer or for PUBREL.
    pub unfinished_inbound: usize,
    /// QoS 2 messages that were sent and have failed, and whose Packet Identifiers stay taken because
    /// the peer may hold them: see [`Failure::TooLarge`](crate::Failure::TooLarge).
    pub given_up: usize,
}

/// What does not change in the life of a session.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "public in name only: `Role::new` returns it")]
pub struct Settings {
    pub(super) bounds: Bounds,
    pub(super) maximum_packet_size: u32,
    /// The version, where it is known before the connection.
    pub(super) version: Option<Version>,
    /// How long to wait after PINGREQ, or `None` for the side that does not send it.
    pub(super) ping_timeout: Option<Duration>,
    pub(super) write_timeout: Duration,
    pub(super) topic_aliases: TopicAliases,
    pub(super) journal: bool,
    pub(super) first_packet_id: PacketId,
    /// What this side permits of inbound messages: (QoS, retain). A client takes everything.
    pub(super) maximum_qos: QoS,
    pub(super) retain_available: bool,
}

impl Settings {
    const fn is_client(&self) -> bool {
        self.ping_timeout.is_some()
    }
}

/// The role-less part of a session.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "public in name only: the methods of `Logic` take it")]
pub struct Core {
    pub(super) settings: Settings,
    state: SessionState,
    connection: Option<Connection>,
    /// What is sent although its connection has ended for this side: DISCONNECT or CONNACK.
    last_words: VecDeque<(Version, Packet)>,
    events: VecDeque<Event>,
    now: Instant,
    /// The sizes of the smallest messages that were handed back, of QoS 0 and above: `Writable` follows
    /// once there is room for one of them.
    refused: [Option<usize>; 2],
}

/// One connection: the facts, and what each direction remembers of it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) link: Link,
    sending: Sending,
    arrivals: Arrivals,
    /// How many unanswered QoS 1 and 2 messages this side takes.
    receive_maximum: u32,
    /// What the server has to publish if the connection breaks.
    pub(super) will: Option<Box<Will>>,
}

/// Shorthand for a fault of the peer.
pub(super) const fn protocol(
    packet: PacketType,
    rule: &'static str,
    reason: ReasonCode,
) -> PeerError {
    PeerError::Protocol { packet, rule, reason }
}

impl Core {
    pub(super) fn new(mut state: SessionState, settings: Settings) -> Core {
        state.outbound.journal.on = settings.journal;
        state.outbound.start_ids_at(settings.first_packet_id);
        // At first there is one: `Connected`. Without a word, the queue would make room for four.
        let mut events = VecDeque::with_capacity(1);
        state.outbound.fail_unwritten(&mut events);
        Core {
            settings,
            state,
            connection: None,
            last_words: VecDeque::new(),
            events,
            now: Instant::EPOCH,
            refused: [None; 2],
        }
    }

    pub(super) fn into_state(mut self) -> SessionState {
        self.state.outbound.end();
        self.state
    }

    /// Takes the time, which never runs backwards.
    pub(super) fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// Begins a connection.
    pub(super) fn open(&mut self, version: Version, limits: Limits) {
        self.last_words.clear();
        self.connection = Some(Connection {
            link: Link::new(version, limits),
            sending: Sending::default(),
            arrivals: Arrivals::default(),
            receive_maximum: u32::MAX,
            will: None,
        });
    }

    /// Lets messages flow: the connection was accepted.
    pub(super) fn establish(&mut self, limits: Limits, receive_maximum: u32, now: Instant) {
        let Some(connection) = &mut self.connection else { return };
        self.state.links = self.state.links.wrapping_add(1);
        connection.link.number = self.state.links;
        connection.link.phase = Phase::Connected;
        let aliases = Aliases::new(self.settings.topic_aliases, limits.topic_alias_maximum);
        connection.link.limits = limits;
        connection.link.timers.stop(Timer::Connect);
        connection.receive_maximum = receive_maximum;
        connection.sending = self.state.outbound.begin(aliases);
        connection.arrivals = self.state.inbound.begin(connection.link.number);
        // From CONNECT on, not from CONNACK: that is how the server counts.
        let sent_at = connection.link.sent_at;
        self.sent(sent_at);
        self.received(now);
    }

    /// Tells whether this side has never been part of a session.
    pub(super) const fn is_new(&self) -> bool {
        self.state.links == 0
    }

    /// Goes on with another state, or with a new one: what this one still had to do comes to nothing,
    /// and what it gave out stays inert.
    pub(super) fn set_state(&mut self, state: Option<SessionState>) {
        let old = core::mem::replace(&mut self.state, state.unwrap_or_default());
        self.state.outbound.journal.on = self.settings.journal;
        self.state.inbound.succeed(&old.inbound);
        self.state.links = self.state.links.max(old.links);
        self.state.outbound.succeed(old.outbound, &mut self.events);
        self.state.outbound.fail_unwritten(&mut self.events);
        self.make_writable();
    }

    pub(super) fn poll_store(&mut self) -> Option<StoreOp> {
        self.state.outbound.journal.poll()
    }

    pub(super) fn stored(&mut self, upto: StoreSeq) {
        self.state.outbound.journal.handle_stored(upto);
    }

    pub(super) fn has_spent(&self) -> bool {
        !self.state.outbound.spent.is_empty()
    }

    pub(super) fn spent(&mut self) -> &mut Spent {
        &mut self.state.outbound.spent
    }

    pub(super) const fn last_store(&self) -> StoreSeq {
        self.state.outbound.journal.latest()
    }

    pub(super) fn is_stored(&self, seq: StoreSeq) -> bool {
        self.state.outbound.journal.has(seq)
    }

    /// The server has no session: what this side knows of one is outdated.
    ///
    /// `keep_outbound` is the rule of MQTT 3.x: what is in flight is sent again all the same.
    pub(super) fn session_lost(&mut self, keep_outbound: bool, resend_qos2: bool) {
        self.state.inbound.clear(&mut self.state.outbound.journal);
        self.state.outbound.forget_all_given_up();
        if !keep_outbound {
            self.state.outbound.session_lost(resend_qos2, &mut self.events);
        }
        let forgotten = self.state.outbound.journal.latest();
        if let Some(link) = self.link_mut() {
            link.forgotten = forgotten;
        }
        self.make_writable();
    }

    /// Ends the connection, if there is one, and says so.
    pub(super) fn end(&mut self, reason: CloseReason) {
        if let Some(connection) = self.connection.take() {
            self.state.outbound.end();
            self.relax();
            self.events.push_back(Event::Closed { reason, will: connection.will });
            self.make_writable();
        }
    }

    /// Ends the connection, and sends one more packet if there is one to say why.
    pub(super) fn end_with(&mut self, reason: CloseReason, last: Option<Packet>) {
        if let Some(Connection { link, .. }) = &mut self.connection
            && let Some(mut packet) = last
            // A peer that takes not even that much is told nothing.
            && link.shorten(&mut packet).is_ok_and(|fits| fits)
        {
            // Nothing comes before CONNACK (MQTT-3.2.0-1): one that has not left goes first.
            let accepted = matches!(link.phase, Phase::Connected | Phase::Closing);
            let before = core::mem::take(&mut link.handshake).into_iter().filter(|_| accepted);
            let version = link.version;
            self.last_words = before.chain([packet]).map(|packet| (version, packet)).collect();
        }
        self.end(reason);
    }

    /// Ends the connection as the standard says for that reason: MQTT 5.0 has a DISCONNECT for it.
    pub(super) fn end_for(&mut self, reason: CloseReason, code: ReasonCode) {
        let client = self.settings.is_client();
        let says = self.link().is_some_and(|link| {
            link.version.is_v5()
                && match link.phase {
                    Phase::Connected | Phase::Closing => true,
                    // A client may say it before CONNACK, but not before its CONNECT.
                    Phase::Connecting => client && link.handshake.is_empty(),
                    _ => false,
                }
        });
        let last = says.then(|| Packet::Disconnect(Disconnect::new(code)));
        self.end_with(reason, last);
    }

    /// Gives back what a burst needed.
    fn relax(&mut self) {
        relax(&mut self.events);
        self.state.outbound.relax();
        if let Some(Connection { link, arrivals, .. }) = &mut self.connection {
            relax(&mut link.replies);
            arrivals.relax();
        }
    }

    pub(super) fn eof(&mut self) {
        self.last_words.clear();
        self.end(CloseReason::Eof);
        self.state.outbound.fail_unwritten(&mut self.events);
    }

    pub(super) fn written(&mut self, out: &TxBuf) {
        self.state.outbound.note_written(out);
    }

    /// Lets what may be sent now go before, and sends that last.
    pub(super) fn disconnect(&mut self, disconnect: Disconnect) {
        if let Some(link) = self.link_mut() {
            link.phase = Phase::Closing;
            link.disconnect = Some(disconnect);
        }
    }

    /// Makes a packet fit what the peer takes, or says that it does not.
    pub(super) fn fit(&self, mut packet: Packet) -> Result<Packet, CommandError> {
        let Some(link) = self.link() else { return Err(CommandError::NotConnected) };
        if link.shorten(&mut packet)? {
            return Ok(packet);
        }
        let size = codec::encoded_len(&packet, link.version)?;
        Err(CommandError::TooLarge { size, limit: link.limits.maximum_packet_size })
    }

    pub(super) fn link(&self) -> Option<&Link> {
        self.connection.as_ref().map(|connection| &connection.link)
    }

    pub(super) fn link_mut(&mut self) -> Option<&mut Link> {
        self.connection.as_mut().map(|connection| &mut connection.link)
    }

    pub(super) fn connection_mut(&mut self) -> Option<&mut Connection> {
        self.connection.as_mut()
    }

    pub(super) fn event(&mut self, event: Event) {
        self.events.push_back(event);
    }

    /// Something was sent: the client's Keep Alive begins anew.
    fn sent(&mut self, now: Instant) {
        let client = self.settings.is_client();
        if let Some(link) = self.link_mut() {
            link.sent_at = now;
            if client && link.phase == Phase::Connected {
                let deadline = link.keep_alive_from(now);
                link.timers.set(Timer::Send, deadline);
            }
        }
    }

    /// Something was received: the peer is alive.
    fn received(&mut self, now: Instant) {
        let ping_timeout = self.settings.ping_timeout;
        if let Some(link) = self.link_mut()
            && link.phase != Phase::Connecting
        {
            if link.ping_outstanding {
                // PINGRESP may stand behind a lot of messages; whoever sends those is alive.
                link.timers.set(Timer::PingResp, ping_timeout.map(|timeout| now + timeout));
            } else {
                link.timers.set(Timer::Receive, link.keep_alive_from(now));
            }
        }
    }

    /// Takes a due deadline.
    pub(super) fn take_due(&mut self, timer: Timer, now: Instant) -> bool {
        self.link_mut().is_some_and(|link| link.timers.take_due(timer, now))
    }

    #[inline]
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop_front() {
            return Some(event);
        }
        let token = self.state.outbound.next_written()?;
        Some(published(token, ReasonCode::SUCCESS, AckProperties::NONE))
    }

    pub(super) fn poll_round_trip(&mut self) -> Option<Duration> {
        self.connection.as_mut()?.sending.take_round_trip()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.link()?.timers.next()
    }

    pub(super) fn phase(&self) -> Phase {
        self.link().map_or(Phase::Closed, |link| link.phase)
    }

    pub(super) fn wants_input(&self) -> bool {
        match self.phase() {
            Phase::Connecting | Phase::Connected | Phase::Closing => true,
            Phase::Accepting => self.link().is_some_and(|link| link.auth_owed),
            Phase::Closed => false,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        let arrivals = self.connection.as_ref().map(|connection| &connection.arrivals);
        let replies =
            self.link().is_some_and(|link| !link.replies.is_empty() || link.pings_owed > 0);
        self.state.outbound.is_empty()
            && self.state.outbound.is_written()
            && !self.state.inbound.owes(arrivals)
            && !replies
    }

    pub(super) fn limits(&self) -> Option<&Limits> {
        self.link().filter(|link| link.phase == Phase::Connected).map(|link| &link.limits)
    }

    pub(super) fn waiting(&self) -> Option<(Token, Token)> {
        self.state.outbound.waiting()
    }

    pub(super) fn stats(&self) -> Stats {
        let arrivals = self.connection.as_ref().map(|connection| &connection.arrivals);
        let SessionState { outbound, inbound, .. } = &self.state;
        Stats {
            queued: outbound.queued(),
            in_flight: outbound.messages_in_flight(),
            held_bytes: outbound.held_bytes(),
            requests: outbound.requests(),
            unfinished_inbound: inbound.unfinished(arrivals),
            given_up: outbound.given_up(),
        }
    }
}

/// What one role does differently from the other: what the core asks it to do.
#[allow(unreachable_pub, reason = "public in name only: it seals `Role`")]
pub trait Logic: Sized {
    /// A transport is open.
    fn open(&mut self, core: &mut Core, now: Instant);

    /// A packet came that the roles do not share.
    fn packet(&mut self, core: &mut Core, packet: Packet, now: Instant) -> Result<(), PeerError>;

    /// Bytes came, after which the first whole packet of the connection may be there.
    fn first(
        &mut self,
        core: &mut Core,
        input: &mut BytesMut,
        now: Instant,
    ) -> Result<bool, PeerError>;

    /// Time has passed.
    fn timeout(&mut self, core: &mut Core, now: Instant);

    fn check_disconnect(&self, core: &Core, disconnect: &Disconnect) -> Result<(), CommandError>;

    fn authenticate(
        &mut self,
        core: &mut Core,
        auth: Auth,
        now: Instant,
    ) -> Result<(), CommandError>;
}
