//! The session state machine: the verbs and their contract.

use ::core::time::Duration;
use alloc::vec::Vec;

use bytes::BytesMut;

use crate::packet::{AckProperties, Auth, ConnAck, Disconnect, Publish, Subscribe, Unsubscribe};
use crate::reason::ReasonCode;
use crate::time::Instant;
use crate::txbuf::TxBuf;
use crate::types::{AckId, RequestId, Token, Version};

mod alias;
mod client;
mod config;
mod core;
mod error;
mod event;
mod ids;
mod inbound;
mod limits;
mod link;
mod list;
mod outbound;
mod role;
mod server;
mod store;
mod timers;

pub use self::core::{SessionState, Stats};
pub use client::Client;
pub use config::{Bounds, ClientConfig, ServerConfig, TopicAliases};
pub use error::{CloseReason, CommandError, Failure, PeerError, PublishError, Timeout};
pub use event::{Event, Message};
pub use limits::Limits;
pub use link::Phase;
pub use role::Role;
pub use server::{Accept, AcceptError, Server};
pub use store::{RecordError, StoreKey, StoreOp, StoreSeq};

use self::core::Core;

/// One MQTT session: the client's side of it (`Session<Client>`) or the server's (`Session<Server>`).
///
/// It outlives connections. Each connection begins with [`handle_open`](Session::handle_open) and ends
/// with [`Event::Closed`]; what is not finished then goes on with the next one.
///
/// # The contract
///
/// - **Facts come in** through `handle_*`: the transport is open, bytes arrived, the transport ended,
///   time has passed. They never fail: what the peer does wrong comes out as [`Event::Closed`].
/// - **Results go out** through `poll_*`. After any batch of facts and commands, poll in this order,
///   each until it has nothing more: [`poll_store`](Session::poll_store) (with a journal),
///   [`poll_transmit`](Session::poll_transmit), [`poll_event`](Session::poll_event),
///   [`poll_timeout`](Session::poll_timeout).
/// - **Commands** are bare verbs. They never block, may come in any order and in any phase, and answer
///   at once: with a [`Token`], or with a typed error that says what to do.
/// - **Time** is an argument and never runs backwards: an earlier `now` counts as the last one. A
///   [`handle_timeout`](Session::handle_timeout) that comes too early does nothing.
/// - `Closed` comes exactly once for each connection, and every token ends in exactly one of
///   `Published`, `Subscribed`, `Unsubscribed` and `Failed`, unless [`cancel`](Session::cancel) took
///   the message back.
/// - **Memory** is bounded by configuration: what is held for the caller by
///   [`Bounds`], messages that wait to be acknowledged by Receive Maximum, and one partial packet, which
///   lies in the caller's buffer.
/// - Nothing panics, whatever the peer sends and whatever the caller does.
///
/// # A blocking loop
///
/// ```no_run
/// use std::io::{Read, Write};
/// use bytes::{Buf, BytesMut};
/// use mqtt_proto::{Client, ClientConfig, Event, Instant, Session, TxBuf, Version};
///
/// let mut session = Session::<Client>::new(ClientConfig::new(Version::V5));
/// let mut stream = std::net::TcpStream::connect("127.0.0.1:1883")?;
/// let epoch = std::time::Instant::now();
/// let now = || Instant::from_epoch(epoch.elapsed());
/// let (mut input, mut out) = (BytesMut::new(), TxBuf::new());
/// session.handle_open(now());
/// 'connection: loop {
///     while session.poll_transmit(&mut out, now()) {
///         while !out.is_empty() {
///             let written = stream.write(out.chunk())?;
///             out.advance(written);
///         }
///     }
///     while let Some(event) = session.poll_event() {
///         match event {
///             Event::Message(message) => println!("{:?}", message.publish),
///             Event::Closed { .. } => break 'connection,
///             _ => {}
///         }
///     }
///     let wait = session.poll_timeout().map(|deadline| deadline.since(now()));
///     stream.set_read_timeout(wait.map(|wait| wait.max(std::time::Duration::from_millis(1))))?;
///     let mut block = [0; 4096];
///     match stream.read(&mut block) {
///         Ok(0) => session.handle_eof(now()),
///         Ok(count) => {
///             input.extend_from_slice(&block[..count]);
///             session.handle_input(&mut input, now());
///         }
///         Err(_) => session.handle_timeout(now()),
///     }
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Session<R: Role> {
    core: Core,
    role: R,
}

impl<R: Role> Session<R> {
    /// Returns a session that has never been connected.
    pub fn new(config: R::Config) -> Session<R> {
        Session::with_state(config, SessionState::default())
    }

    /// Returns a session that goes on with a state taken from another one.
    pub fn with_state(config: R::Config, state: SessionState) -> Session<R> {
        let (role, settings) = R::new(config);
        Session { core: Core::new(state, settings), role }
    }

    /// Ends the session and returns what a later one needs to go on; the connection is dropped.
    pub fn into_state(self) -> SessionState {
        self.core.into_state()
    }

    /// Tells that a transport is open. A connection that was open before ends without a word.
    ///
    /// A client then has its CONNECT ready to transmit; a server waits for one.
    pub fn handle_open(&mut self, now: Instant) {
        let now = self.core.advance(now);
        self.core.eof();
        self.role.open(&mut self.core, now);
    }

    /// Takes what came from the peer: all whole packets are taken out of `input` and handled.
    ///
    /// A part of a packet is left there for the next call. A server leaves everything behind CONNECT
    /// there until it has been accepted: call this again then. After the end of the connection, all
    /// input is thrown away.
    ///
    /// The packets share the memory of `input`; reserve and read into it, in steps.
    pub fn handle_input(&mut self, input: &mut BytesMut, now: Instant) {
        let now = self.core.advance(now);
        self.core.input(&mut self.role, input, now);
    }

    /// Tells how far the output buffer has been written: messages of QoS 0 whose packets were taken out of
    /// it whole are [`Published`](Event::Published).
    ///
    /// [`poll_transmit`](Session::poll_transmit) sees the same. This is for after the end of the session's
    /// part, while what is left in the buffer is written, and right before
    /// [`handle_eof`](Session::handle_eof), which gives up what was not written.
    pub fn handle_written(&mut self, out: &TxBuf) {
        self.core.written(out);
    }

    /// Tells that the transport has ended, in whatever way.
    ///
    /// It has an effect after [`Event::Closed`] as well: messages of QoS 0 that were not written by then
    /// end as [`Failure::NotWritten`].
    pub fn handle_eof(&mut self, now: Instant) {
        self.core.advance(now);
        self.core.eof();
    }

    /// Tells what time it is; due deadlines take effect.
    pub fn handle_timeout(&mut self, now: Instant) {
        let now = self.core.advance(now);
        self.role.timeout(&mut self.core, now);
    }

    /// Tells that everything up to and including `upto` is durable: what waits for it may leave.
    pub fn handle_stored(&mut self, upto: StoreSeq) {
        self.core.stored(upto);
    }

    /// Returns the next thing to do with the store, if the configuration has the journal on.
    ///
    /// Do it all, in this order; make it durable; then report the last number with
    /// [`handle_stored`](Session::handle_stored). A message of QoS 1 or 2 is not sent before its record is
    /// durable, PUBREC and PUBREL not before what they say is, and PUBCOMP not before the exchange is
    /// forgotten. After a restart, [`SessionState::from_records`] goes on from there.
    pub fn poll_store(&mut self) -> Option<StoreOp> {
        self.core.poll_store()
    }

    /// Returns the number of the last thing to do with the store, handed out already or not.
    ///
    /// Once [`is_stored`](Session::is_stored) is true of it, all that was done before is durable.
    pub fn last_store(&self) -> StoreSeq {
        self.core.last_store()
    }

    /// Tells whether that is durable: whether [`handle_stored`](Session::handle_stored) said so.
    pub fn is_stored(&self, seq: StoreSeq) -> bool {
        self.core.is_stored(seq)
    }

    /// Appends packets to `out` until it is full or nothing is left to send; tells whether it
    /// appended anything.
    ///
    /// Packets leave in this order: CONNECT, CONNACK and AUTH; acknowledgements and other answers;
    /// PINGREQ; what has to be sent again, in its original order; SUBSCRIBE and UNSUBSCRIBE; new
    /// messages, as long as the peer's Receive Maximum permits; DISCONNECT. Before CONNACK there is
    /// nothing but the first kind.
    ///
    /// Call it again when `out` has been written, with the same buffer for the life of a connection: it
    /// watches whether writing gets on, says which messages of QoS 0 have been written, and ends a
    /// connection whose transport takes nothing for longer than the write timeout.
    pub fn poll_transmit(&mut self, out: &mut TxBuf, now: Instant) -> bool {
        let now = self.core.advance(now);
        self.core.transmit(out, now)
    }

    /// Returns the next thing that happened.
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.core.poll_event()
    }

    /// Returns how long the peer took to answer a message, if that was measured since the last call.
    ///
    /// One message of QoS 1 or 2 is followed at a time, from the [`poll_transmit`](Session::poll_transmit)
    /// that gave it to the [`handle_input`](Session::handle_input) that brought its PUBACK or PUBREC; so
    /// it includes the time in the output buffer, and what a peer takes that answers late on purpose. Poll
    /// after input: what was measured and not taken is replaced by what is measured next, and goes with
    /// the connection.
    #[inline]
    pub fn poll_round_trip(&mut self) -> Option<Duration> {
        self.core.poll_round_trip()
    }

    /// Returns when [`handle_timeout`](Session::handle_timeout) has something to do, if nothing happens
    /// before.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.core.poll_timeout()
    }

    /// Accepts a message to be sent, now or once there is a connection.
    ///
    /// Its end comes as `Published` or `Failed` with the token. Messages leave in the order in which
    /// they were accepted, over reconnects as well. A Message Expiry Interval counts from now and is
    /// honoured locally while the message waits, in every version; the other properties need MQTT 5.0.
    ///
    /// # Errors
    ///
    /// See [`PublishError`]; `Full` and `Closing` give the message back.
    #[inline]
    pub fn publish(&mut self, publish: Publish, now: Instant) -> Result<Token, PublishError> {
        let now = self.core.advance(now);
        self.core.publish(publish, now)
    }

    /// Puts a message of QoS 0 straight into the output buffer, if it may leave at once: nothing waits before
    /// it, there is room in the buffer, and the peer permits it. `None`: [`publish`](Session::publish) it.
    ///
    /// This is the cheap way for many messages. They never count against [`Bounds`], cannot be taken back,
    /// and may overtake acknowledgements. The buffer has to be that of
    /// [`poll_transmit`](Session::poll_transmit), which is to be called before it is written.
    ///
    /// ```
    /// # use mqtt_proto::{Client, Publish, PublishError, Session, Token, TxBuf, Instant};
    /// # fn send(session: &mut Session<Client>, publish: Publish, out: &mut TxBuf, now: Instant)
    /// # -> Result<Token, PublishError> {
    /// match session.send_now(&publish, out) {
    ///     Some(token) => Ok(token),
    ///     None => session.publish(publish, now),
    /// }
    /// # }
    /// ```
    #[inline]
    pub fn send_now(&mut self, publish: &Publish, out: &mut TxBuf) -> Option<Token> {
        self.core.send_now(publish, out)
    }

    /// Tells whether [`publish`](Session::publish) would take that message, as far as [`Bounds`] go.
    pub fn has_room(&self, publish: &Publish) -> bool {
        self.core.has_room(publish)
    }

    /// Accepts a message also at a bound: messages that were never sent are taken back instead, those that
    /// have waited longest first, until there is room. One message is always taken when no other waits
    /// to be sent for the first time.
    ///
    /// With `place` it takes the place of the message that waits there, if one does, which is then the first
    /// that is taken back. What is taken back goes to `taken`; these tokens have no outcome. Returns the
    /// token of the message, and its place: the one that was given, or the token.
    ///
    /// With a journal, and if no Packet Identifier is free, it gets that of one that waits: the one at its
    /// place, or the one that has waited longest, which is taken back.
    ///
    /// Takes time logarithmic in the number of waiting messages, and linear if no Packet Identifier is free.
    ///
    /// # Errors
    ///
    /// As for [`publish`](Session::publish); `Full` only if all Packet Identifiers are those of messages that
    /// were sent, or of requests. Nothing is taken back with an error.
    pub fn publish_over(
        &mut self,
        publish: Publish,
        place: Option<Token>,
        now: Instant,
        taken: &mut Vec<(Token, Publish)>,
    ) -> Result<(Token, Token), PublishError> {
        let now = self.core.advance(now);
        self.core.publish_over(publish, place, now, taken)
    }

    /// Takes all messages back that were never put on a wire and are not wanted any more; their tokens have
    /// no outcome.
    pub fn take_back(&mut self, unwanted: impl FnMut(&Publish) -> bool) -> Vec<(Token, Publish)> {
        self.core.take_back(unwanted)
    }

    /// Takes a message back that was never put on a wire, and returns it; its token has no outcome.
    ///
    /// Takes time linear in the number of waiting messages.
    pub fn cancel(&mut self, token: Token) -> Option<Publish> {
        self.core.cancel(token)
    }

    /// Keeps the messages that it is done with, from now on, until [`take_spent`](Session::take_spent) takes
    /// them: those that have an outcome, and those that a command refused without giving them back.
    ///
    /// The end of a payload may be code of whoever made it (`Bytes::from_owner`). This is for a caller that
    /// must not have it run while the session is at work, as under a lock. Only a caller that takes them
    /// regularly may ask for it: else they pile up.
    pub fn keep_spent(&mut self) {
        self.core.spent().keep();
    }

    /// Moves the messages that it is done with to `into`. An empty vector is kept for its capacity.
    ///
    /// ```
    /// # use std::sync::Mutex;
    /// # use mqtt_proto::{Client, Instant, Session};
    /// /// For a session that was told to `keep_spent`.
    /// fn let_time_pass(session: &Mutex<Session<Client>>, now: Instant) {
    ///     let mut spent = Vec::new();
    ///     if let Ok(mut session) = session.lock() {
    ///         session.handle_timeout(now);
    ///         session.take_spent(&mut spent);
    ///     }
    ///     // Whatever is run by this, the lock is free.
    ///     drop(spent);
    /// }
    /// ```
    #[inline]
    pub fn take_spent(&mut self, into: &mut Vec<Publish>) {
        self.core.spent().take(into);
    }

    /// Tells whether there is something to take.
    #[inline]
    pub fn has_spent(&self) -> bool {
        self.core.has_spent()
    }

    /// Acknowledges a message that came in.
    ///
    /// Acknowledgements leave in the order in which the messages came, whatever the order of the
    /// calls: a late one holds back those behind it (MQTT-4.6.0-2, -3). In MQTT 3.x an error code
    /// cannot be sent, and the message is acknowledged all the same (MQTT-3.3.5-2).
    ///
    /// An `AckId` of QoS 1 is inert once its connection is gone: the peer sends the message again. One
    /// of QoS 2 stays good while the session does.
    pub fn ack(&mut self, ack: AckId, reason: ReasonCode) {
        self.core.ack(ack, reason, AckProperties::NONE);
    }

    /// Acknowledges a message that came in, with a Reason String or User Properties for the peer.
    ///
    /// They are left out in MQTT 3.x, and where the packet would exceed what the peer takes.
    pub fn ack_with(&mut self, ack: AckId, reason: ReasonCode, properties: AckProperties) {
        self.core.ack(ack, reason, properties);
    }

    /// Ends the connection: what was accepted and may be sent now is sent, then DISCONNECT.
    ///
    /// `Closed` follows once DISCONNECT is in the output buffer. Messages that wait for the peer's
    /// Receive Maximum or for an answer stay in the session. A server of MQTT 3.x has no DISCONNECT:
    /// the connection just ends.
    ///
    /// # Errors
    ///
    /// `NotConnected` if there is no connection that could be ended, and `Invalid` or `NotSupported` if
    /// the packet may not be sent here.
    pub fn disconnect(&mut self, disconnect: Disconnect, now: Instant) -> Result<(), CommandError> {
        self.core.advance(now);
        if self.core.phase() != Phase::Connected {
            return Err(CommandError::NotConnected);
        }
        self.role.check_disconnect(&self.core, &disconnect)?;
        self.core.disconnect(disconnect);
        Ok(())
    }

    /// Sends a step of an enhanced authentication (MQTT 5.0 section 4.12).
    ///
    /// The peer's steps come as `Event::Auth`. A server may ask for some before it accepts or refuses;
    /// a client that waits for its next step has so long as for CONNECT. The same goes for each step of a
    /// re-authentication that a client has begun, its own ones included.
    ///
    /// # Errors
    ///
    /// `Unexpected` if the connection has no Authentication Method or another one, or if that step does
    /// not belong here.
    pub fn authenticate(&mut self, auth: Auth, now: Instant) -> Result<(), CommandError> {
        let now = self.core.advance(now);
        self.role.authenticate(&mut self.core, auth, now)
    }

    /// Returns where the connection stands.
    pub fn phase(&self) -> Phase {
        self.core.phase()
    }

    /// Tells whether [`handle_input`](Session::handle_input) would do anything with more bytes.
    pub fn wants_input(&self) -> bool {
        self.core.wants_input()
    }

    /// Tells whether nothing waits to be sent, to be answered or to be acknowledged.
    pub fn is_idle(&self) -> bool {
        self.core.is_idle()
    }

    /// Returns what the peer permits, while there is a connection.
    pub fn limits(&self) -> Option<&Limits> {
        self.core.limits()
    }

    /// Returns what the session holds.
    pub fn stats(&self) -> Stats {
        self.core.stats()
    }

    /// Returns the first and the last of the messages that wait to be sent as new.
    ///
    /// Tokens count up in the order of the calls, and so a caller can tell when all that waited at some
    /// moment has left.
    pub fn waiting(&self) -> Option<(Token, Token)> {
        self.core.waiting()
    }
}

/// What only a client does.
impl Session<Client> {
    /// Accepts a SUBSCRIBE to be sent, now or once there is a connection.
    ///
    /// Its end comes as `Subscribed` or `Failed` with the token. If the connection breaks before the
    /// answer, it is sent again with the next one. MQTT 5.0 section 3.8.
    ///
    /// # Errors
    ///
    /// `Invalid` if the packet breaks a rule or needs another version, `NotSupported` if the server has
    /// said that it does not have what is asked for, `Full` if too many requests wait for an answer.
    pub fn subscribe(&mut self, subscribe: Subscribe) -> Result<Token, CommandError> {
        self.role.subscribe(&mut self.core, subscribe)
    }

    /// Accepts an UNSUBSCRIBE to be sent, now or once there is a connection.
    ///
    /// Its end comes as `Unsubscribed` or `Failed` with the token. If the connection breaks before the
    /// answer, it is sent again with the next one. MQTT 5.0 section 3.10.
    ///
    /// # Errors
    ///
    /// As for [`subscribe`](Session::subscribe).
    pub fn unsubscribe(&mut self, unsubscribe: Unsubscribe) -> Result<Token, CommandError> {
        self.role.unsubscribe(&mut self.core, unsubscribe)
    }

    /// Returns the configuration, with the Client Identifier that the server has assigned.
    pub fn config(&self) -> &ClientConfig {
        self.role.config()
    }

    /// Returns the configuration to change it; it takes effect with the next connection.
    ///
    /// Another version than that of the messages that are held makes those fail which need MQTT 5.0.
    pub fn config_mut(&mut self) -> &mut ClientConfig {
        self.role.config_mut()
    }
}

/// What only a server does.
impl Session<Server> {
    /// Accepts the connection that [`Event::Connect`] asked for.
    ///
    /// Call [`handle_input`](Session::handle_input) again afterwards: a client may send before it has
    /// CONNACK. MQTT 5.0 section 3.1.4.
    ///
    /// # Errors
    ///
    /// `Unexpected` if no connection waits for this, or if the client needs an Assigned Client Identifier
    /// (or an Authentication Method) and there is none; `Invalid` if the packet breaks a rule; `TooLarge`
    /// if it exceeds what the client takes. The [`AcceptError`] hands the session's state back.
    pub fn accept(&mut self, accept: Accept, now: Instant) -> Result<(), AcceptError> {
        let now = self.core.advance(now);
        self.role.accept(&mut self.core, accept, now)
    }

    /// Refuses the connection that [`Event::Connect`] asked for; `Closed` follows.
    ///
    /// In MQTT 3.x a reason that has no return code closes the connection without a word
    /// (MQTT-3.2.2-6).
    ///
    /// # Errors
    ///
    /// `Unexpected` if no connection waits for this, `Invalid` if the reason is no refusal.
    pub fn refuse(&mut self, connack: ConnAck, now: Instant) -> Result<(), CommandError> {
        self.core.advance(now);
        Server::refuse(&mut self.core, connack)
    }

    /// Answers a SUBSCRIBE or an UNSUBSCRIBE with one reason code for each of its filters.
    ///
    /// In MQTT 3.x an error is told as 0x80, and UNSUBACK has no codes. An answer to a connection that
    /// is gone does nothing.
    ///
    /// # Errors
    ///
    /// `Unexpected` if the number of codes is wrong or the request was answered before, `Invalid` if a
    /// code does not belong there.
    pub fn grant(
        &mut self,
        request: RequestId,
        reasons: Vec<ReasonCode>,
    ) -> Result<(), CommandError> {
        Server::grant(&mut self.core, request, reasons, AckProperties::NONE)
    }

    /// Answers as [`grant`](Session::grant), with a Reason String or User Properties for the client.
    ///
    /// They are left out in MQTT 3.x, where the packet would exceed what the client takes, and where it
    /// does not want them.
    ///
    /// # Errors
    ///
    /// As for [`grant`](Session::grant).
    pub fn grant_with(
        &mut self,
        request: RequestId,
        reasons: Vec<ReasonCode>,
        properties: AckProperties,
    ) -> Result<(), CommandError> {
        Server::grant(&mut self.core, request, reasons, properties)
    }

    /// Returns the version that the client speaks, from [`Event::Connect`] on.
    pub fn version(&self) -> Option<Version> {
        let link = self.core.link().filter(|link| link.phase != Phase::Connecting);
        link.map(|link| link.version)
    }
}
