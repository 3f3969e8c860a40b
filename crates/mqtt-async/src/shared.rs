//! What the handles and the driver share, behind one lock.
//!
//! Commands lock, change the state and wake the driver. The lock is held over none of: I/O, a call of a
//! waker, code of the user. Wakers are collected under the lock, and woken and dropped behind it; so is memory
//! that was lent, see `lent`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;
use std::{fmt, mem};

use mqtt_proto::{
    AckProperties, Client as ClientRole, CloseReason, Event, Failure, Publish, ReasonCode, Session,
    SessionState, StoreSeq, Subscribe, TxBuf, Unsubscribe, Version,
};

use crate::config::{Config, Inbound, Resubscribe, ResubscribeOrder};
use crate::error::{CommandError, Error, Rejected, StoreError, TokenError};
use crate::router::Router;
use crate::status::{Connected, Counts, Event as Happening, Phase};
use crate::time::Clock;

mod authentication;
mod lent;
mod line;
mod log;
mod numbered;
mod outbound;
mod requests;
mod slots;
mod standing;
mod streams;
mod subscriptions;
mod wakers;

pub(crate) use authentication::{Authentication, Outcome};
pub(crate) use lent::{Locked, own_connect, owned, owned_subscribe, owned_unsubscribe};
use line::Line;
pub(crate) use line::Ticket;
use log::Log;
pub(crate) use log::News;
use numbered::Numbered;
use outbound::Outgoing;
pub(crate) use requests::{Calling, MARK, Pending};
pub(crate) use slots::{Answer, Slot, Slots};
pub(crate) use streams::Taking;
use subscriptions::Subscriptions;
pub(crate) use wakers::{Key, Wakers};

pub(crate) struct Shared {
    state: Mutex<State>,
    /// How many clients and message streams there are.
    handles: AtomicUsize,
    clock: Clock,
    /// What the session counts its time from.
    epoch: Instant,
    pub(crate) manual_ack: bool,
    pub(crate) copy_up_to: usize,
    /// The bounds of a stream that has none of its own.
    pub(crate) inbound: Inbound,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) session: Session<ClientRole>,
    /// What the session has to say; the link takes it over, and writes it without the lock.
    pub(crate) out: TxBuf,
    outgoing: Outgoing,
    /// Messages to be dropped outside of the lock; those that the session is done with it keeps itself.
    spent: Vec<Publish>,
    /// Whether the link writes what lies there.
    pub(crate) is_writing: bool,
    pub(crate) slots: Slots,
    pub(crate) router: Router,
    subscriptions: Subscriptions,
    /// Who waits for messages.
    pub(crate) readers: Wakers,
    /// Who waits for the connection, for room or for the end.
    pub(crate) observers: Wakers,
    /// The driver, while it sleeps.
    driver: Option<Waker>,
    /// Whether a command came since the driver last looked.
    dirty: bool,
    /// Whether a message was refused because there was no room, and there was none since.
    pub(crate) full: bool,
    /// Whether somebody waits for the store.
    pub(crate) store_watched: bool,
    pub(crate) close: Close,
    /// When to wait no longer for answers.
    pub(crate) close_by: Option<Instant>,
    /// Whether the server is to publish the Will at the end.
    pub(crate) with_will: bool,
    pub(crate) end: Option<End>,
    phase: Phase,
    pub(crate) connected: Option<Connected>,
    /// The name of the server that was dialled last, if it was named.
    pub(crate) server: Option<Arc<str>>,
    /// Whether the server has accepted a connection since the driver last asked.
    pub(crate) accepted: bool,
    pub(crate) last_error: Option<Error>,
    connections: u64,
    pub(crate) failed_attempts: u32,
    resubscribe: Resubscribe,
    resubscribe_order: ResubscribeOrder,
    pub(crate) log: Log,
    pub(crate) counts: Counts,
    pub(crate) authentication: Authentication,
    pub(crate) calling: Calling,
}

/// Whether somebody wants the client to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Close {
    No,
    /// When nothing waits for an answer any more.
    WhenIdle,
    /// Now; but what is queued is worth an attempt to connect that is due.
    Now,
    /// Now; no attempt is waited for.
    Late,
    /// Now, and without DISCONNECT.
    Abort,
}

/// How the client ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Closed,
    DriverGone,
    Failed(Error),
}

impl End {
    /// Tells whether the store, if there is one, has everything that was accepted: most ends wait for it.
    pub(crate) fn is_stored(&self) -> bool {
        !matches!(self, End::DriverGone | End::Failed(Error::Store(StoreError::Failed(_))))
    }

    pub(crate) fn token_error(&self) -> TokenError {
        match self {
            End::Closed => TokenError::Closed,
            End::DriverGone => TokenError::DriverGone,
            End::Failed(error) => TokenError::Ended(error.clone()),
        }
    }
}

/// What [`State::handle_events`] has found.
#[derive(Debug, Default)]
pub(crate) struct Handled {
    /// Whether anything had happened.
    pub(crate) any: bool,
    /// Why the connection has ended, if it has.
    pub(crate) closed: Option<CloseReason>,
    /// How many messages came in.
    pub(crate) arrived: usize,
}

/// What a look at the state found; see [`Shared::poll`].
pub(crate) enum Look<T> {
    Ready(T),
    /// The waker is registered; the one that it replaced is to be dropped.
    Waiting(Option<Waker>),
    /// The waker has to be registered.
    NeedsWaker,
}

impl fmt::Debug for Shared {
    /// All handles and many messages show it: what it holds is more than anybody wants to read there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(
        config: Config,
        session: SessionState,
        clock: Clock,
        epoch: Instant,
    ) -> Shared {
        let mut session = Session::with_state(config.session, session);
        session.keep_spent();
        Shared {
            handles: AtomicUsize::new(0),
            clock,
            epoch,
            manual_ack: config.manual_ack,
            copy_up_to: config.copy_up_to,
            inbound: config.inbound,
            state: Mutex::new(State {
                router: Router::new(config.inbound, config.copy_up_to),
                session,
                out: TxBuf::new(),
                outgoing: Outgoing::new(config.outbound),
                spent: Vec::new(),
                is_writing: false,
                slots: Slots::default(),
                subscriptions: Subscriptions::default(),
                readers: Wakers::default(),
                observers: Wakers::default(),
                driver: None,
                dirty: false,
                full: false,
                store_watched: false,
                close: Close::No,
                close_by: None,
                with_will: false,
                end: None,
                phase: Phase::Connecting,
                connected: None,
                server: None,
                accepted: false,
                last_error: None,
                connections: 0,
                failed_attempts: 0,
                resubscribe: config.resubscribe,
                resubscribe_order: config.resubscribe_order,
                log: Log::default(),
                counts: Counts::default(),
                authentication: Authentication::default(),
                calling: Calling::new(config.requests, config.copy_up_to),
            }),
        }
    }

    pub(crate) fn lock(&self) -> Locked<'_> {
        // Nothing panics while it holds the lock; if something did, going on is better than spreading it.
        Locked::new(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells whether somebody uses the client.
    pub(crate) fn has_handles(&self) -> bool {
        self.handles.load(Ordering::Acquire) > 0
    }

    /// Changes the state and wakes the driver, if it sleeps.
    pub(crate) fn command<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let (result, driver) = {
            let mut state = self.lock();
            let result = change(&mut state);
            (result, state.touch())
        };
        if let Some(driver) = driver {
            driver.wake();
        }
        result
    }

    /// Looks at the state; clones and drops wakers outside of the lock.
    pub(crate) fn poll<T>(
        &self,
        cx: &Context<'_>,
        mut look: impl FnMut(&mut State, &mut Option<Waker>) -> Look<T>,
    ) -> Poll<T> {
        let mut waker = None;
        loop {
            let found = look(&mut self.lock(), &mut waker);
            match found {
                Look::Ready(value) => return Poll::Ready(value),
                Look::Waiting(_replaced) => return Poll::Pending,
                Look::NeedsWaker => waker = Some(cx.waker().clone()),
            }
        }
    }

    /// Lets the driver sleep, unless a command came since it last looked.
    pub(crate) fn sleep(&self, waker: Waker) -> bool {
        let mut state = self.lock();
        if state.dirty {
            return false;
        }
        let replaced = state.driver.replace(waker);
        drop(state);
        drop(replaced);
        true
    }

    /// Returns what time it is.
    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Returns the session's name for a point in time.
    pub(crate) fn instant(&self, at: Instant) -> mqtt_proto::Instant {
        mqtt_proto::Instant::from_epoch(at.saturating_duration_since(self.epoch))
    }

    /// Returns the point in time that the session names; `None` if it is too far away to come.
    pub(crate) fn deadline(&self, at: mqtt_proto::Instant) -> Option<Instant> {
        self.epoch.checked_add(at.since_epoch())
    }
}

impl State {
    /// Notes that there is something to do, and returns the driver to be woken.
    pub(crate) fn touch(&mut self) -> Option<Waker> {
        self.dirty = true;
        self.driver.take()
    }

    /// The driver looks now: what comes later has to wake it. Returns when it has to look again.
    pub(crate) fn look(&mut self, now: Instant, woken: &mut Vec<Waker>) -> Option<Instant> {
        self.dirty = false;
        if self.close_by.is_some_and(|by| now >= by) {
            self.close_by = None;
            self.close = self.close.max(Close::Late);
        }
        self.admit(woken);
        let due = self.calling.expire(now, woken);
        self.close_by.into_iter().chain(due).min()
    }

    /// Takes the session out, with what it holds; the client has ended.
    pub(crate) fn take_session(&mut self) -> Session<ClientRole> {
        let mut empty = Session::new(self.session.config().clone());
        empty.keep_spent();
        mem::replace(&mut self.session, empty)
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.close != Close::No || self.end.is_some()
    }

    /// Tells whether something was accepted that has no outcome yet.
    pub(crate) fn is_busy(&self) -> bool {
        let stats = self.session.stats();
        // Who ends the client now does not wait for responses.
        let awaits = self.close <= Close::WhenIdle && self.calling.awaited() > 0;
        let authenticates = self.authentication.is_busy();
        awaits || authenticates || stats.queued + stats.in_flight + stats.requests > 0
    }

    pub(crate) fn subscribe(
        &mut self,
        shared: &Arc<Shared>,
        subscribe: Subscribe,
    ) -> Result<Slot, CommandError> {
        if self.is_closing() {
            return Err(CommandError::Closed);
        }
        let token = self.session.subscribe(subscribe.clone())?;
        self.subscriptions.asked(token, subscribe);
        Ok(self.slots.open(token, shared))
    }

    pub(crate) fn unsubscribe(
        &mut self,
        shared: &Arc<Shared>,
        unsubscribe: Unsubscribe,
        woken: &mut Vec<Waker>,
    ) -> Result<Slot, CommandError> {
        if self.is_closing() {
            return Err(CommandError::Closed);
        }
        let token = self.session.unsubscribe(unsubscribe.clone())?;
        self.router.unsubscribed(&unsubscribe.filters, woken);
        self.observers.take(woken);
        self.subscriptions.asked_to_end(token, unsubscribe);
        Ok(self.slots.open(token, shared))
    }

    /// Gives back what a burst needed: the connection has been quiet.
    pub(crate) fn relax(&mut self) {
        self.slots.relax();
        self.subscriptions.relax();
        self.spent.shrink_to_fit();
        self.router.relax();
        self.out.shrink();
    }

    pub(crate) fn set_phase(&mut self, phase: Phase) {
        if self.phase != phase {
            self.phase = phase;
            self.log.change();
        }
    }

    /// Takes in what happened; whom it concerns is to be woken.
    pub(crate) fn handle_events(&mut self, woken: &mut Vec<Waker>) -> Handled {
        let mut handled = Handled::default();
        let mut arrived = false;
        while let Some(event) = self.session.poll_event() {
            handled.any = true;
            match event {
                Event::Message(message) => {
                    handled.arrived += 1;
                    arrived |= self.router.deliver(message, &mut self.session, woken);
                }
                Event::Received { token, reason } => {
                    woken.extend(self.slots.received(token, reason));
                }
                Event::Published { token, reason, properties } => {
                    woken.extend(if reason.is_error() {
                        self.counts.rejected += 1;
                        self.slots.resolve(token, Err(rejected(vec![reason], properties)))
                    } else {
                        self.counts.acked += 1;
                        self.slots.published(token, reason, properties)
                    });
                }
                Event::Subscribed { token, ack } => {
                    let late = self.subscriptions.answered(token, &ack.reasons);
                    self.router.leave(late);
                    if self.router.answered(token, &ack, woken) {
                        self.observers.take(woken);
                    }
                    let result = match ack.reasons.iter().any(|reason| reason.is_error()) {
                        false => Ok(Answer::Request(ack.reasons, ack.properties)),
                        true => Err(rejected(ack.reasons, ack.properties)),
                    };
                    woken.extend(self.slots.resolve(token, result));
                }
                Event::Unsubscribed { token, ack } => {
                    self.subscriptions.ended(token);
                    let result = match ack.reasons.iter().any(|reason| reason.is_error()) {
                        false => Ok(Answer::Request(ack.reasons, ack.properties)),
                        true => Err(rejected(ack.reasons, ack.properties)),
                    };
                    woken.extend(self.slots.resolve(token, result));
                }
                Event::Failed { token, error } => {
                    self.subscriptions.failed(token);
                    self.listening_failed(token, &error, woken);
                    self.counts.unwritten += u64::from(error == Failure::NotWritten);
                    woken.extend(self.slots.resolve(token, Err(TokenError::Failed(error))));
                }
                Event::Connected { resumed, connack } => {
                    self.router.reconnected(resumed, self.may_have_kept());
                    self.calling.connected(connack.response_information.as_ref());
                    match self.resubscribe {
                        Resubscribe::OnNewSession | Resubscribe::Never if resumed => {
                            self.subscriptions.resumed();
                        }
                        Resubscribe::OnNewSession | Resubscribe::Always => {
                            let waiting = self.session.waiting().map(|(_, last)| last);
                            let after = self.resubscribe_order == ResubscribeOrder::AfterQueued;
                            self.subscriptions.lost(waiting.filter(|_| after));
                        }
                        Resubscribe::Never if self.may_have_kept() => self.subscriptions.resumed(),
                        Resubscribe::Never => {
                            self.subscriptions.forget_all();
                            self.router.lost(woken);
                        }
                    }
                    self.connections += 1;
                    self.accepted = true;
                    self.set_phase(Phase::Connected);
                    let connected = Connected { resumed, connack: (*connack).into() };
                    self.log.push(|| Happening::Connected(connected.clone()));
                    self.connected = Some(connected);
                    self.observers.take(woken);
                }
                Event::Auth(auth) => self.authentication.step = Some(auth),
                Event::Writable => {
                    self.full = false;
                    self.observers.take(woken);
                }
                Event::Closed { reason, .. } => {
                    if self.connected.take().is_some() {
                        self.went_offline(woken);
                    }
                    self.log.change();
                    handled.closed = Some(reason);
                }
                _ => {}
            }
        }
        if let Some(round_trip) = self.session.poll_round_trip() {
            self.counts.round_trips.get_or_insert_default().record(round_trip);
        }
        self.renew_and_release();
        // What lets requests go is read, and the session was told when.
        self.serve_requests(mqtt_proto::Instant::EPOCH, woken);
        if arrived {
            self.readers.take(woken);
        }
        if self.subscriptions.take_pardoned() {
            self.log.change();
        }
        let renewed = self.subscriptions.take_renewed();
        if !renewed.is_empty() {
            self.log.change();
            self.log.push(|| Happening::Resubscribed { results: renewed.into() });
        }
        self.admit(woken);
        handled
    }

    /// Tells whether the server may go on with the session without saying so: CONNACK of MQTT 3.1 does not
    /// tell.
    fn may_have_kept(&self) -> bool {
        let config = self.session.config();
        config.version == Version::V31 && !config.connect.clean_start
    }

    /// What the store was given up to that is durable.
    pub(crate) fn stored(&mut self, upto: StoreSeq, woken: &mut Vec<Waker>) {
        self.session.handle_stored(upto);
        if mem::take(&mut self.store_watched) {
            self.observers.take(woken);
        }
    }

    /// The client has ended: all who wait are to be woken. What is returned is to be dropped outside of the
    /// lock.
    #[must_use]
    pub(crate) fn end(&mut self, end: End, woken: &mut Vec<Waker>) -> TxBuf {
        let rest = self.lose_link(mqtt_proto::Instant::EPOCH);
        self.handle_events(woken);
        if self.end.is_none() {
            self.set_phase(Phase::Ended);
            self.connected = None;
            self.end = Some(end);
        }
        self.slots.end(woken);
        self.admit(woken);
        self.observers.take(woken);
        self.readers.take(woken);
        self.log.watchers.take(woken);
        self.router.take_wakers(woken);
        self.calling.take_wakers(woken);
        rest
    }
}

fn rejected(reasons: Vec<ReasonCode>, properties: AckProperties) -> TokenError {
    TokenError::Rejected(Box::new(Rejected { reasons, properties }))
}

/// Counts as a user of the client: when the last one is dropped, the client disconnects.
#[derive(Debug)]
pub(crate) struct Handle(Arc<Shared>);

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Handle {
        shared.handles.fetch_add(1, Ordering::Relaxed);
        Handle(shared)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Clone for Handle {
    fn clone(&self) -> Handle {
        Handle::new(Arc::clone(&self.0))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.0.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.command(|state| state.close = state.close.max(Close::Now));
        }
    }
}
