//! The rounds of a connection, from the open transport to the end of the session's part.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use std::{io, mem};

use futures_io::{AsyncRead, AsyncWrite};
use mqtt_proto::{CloseReason, Disconnect, ReasonCode};

use super::dialogue::Dialogue;
use super::{Driver, Ending, Flow, Stage};
use crate::connect::Connector;
use crate::error::Error;
use crate::link::Link;
use crate::shared::{Authentication, Close, End, Handled};
use crate::status::Phase;
use crate::time::Timer;

/// A transport with a session on it.
pub(super) struct Running<Io> {
    pub(super) link: Link<Io>,
    /// When the server accepted the connection.
    pub(super) since: Option<Instant>,
    /// Why writing is over. What the server had to say may still be unread: DISCONNECT, or CONNACK.
    broken: Option<io::Error>,
    /// Whether something was read that the session has not seen: each time it is shown input, it takes the
    /// server for alive, and a part of a packet may lie there for long.
    pub(super) fresh: bool,
    /// The enhanced authentication, while it goes on.
    pub(super) dialogue: Option<Box<Dialogue>>,
    /// Whether reading is over.
    ended: bool,
    /// Whether the transport had nothing more to read in this poll of the driver: then it wakes it.
    drained: bool,
    /// Whether a due deadline has been held back for one look at the transport.
    looked: bool,
    /// When to give up on a server that takes no bytes any more; set while closing.
    give_up: Option<Instant>,
    /// How many messages came in during this poll of the driver.
    arrived: usize,
}

impl<Io> Running<Io> {
    pub(super) fn new(link: Link<Io>, dialogue: Option<Box<Dialogue>>) -> Running<Io> {
        Running {
            link,
            since: None,
            broken: None,
            fresh: false,
            dialogue,
            ended: false,
            drained: false,
            looked: false,
            give_up: None,
            arrived: 0,
        }
    }

    /// The driver is polled, perhaps with another waker.
    pub(super) const fn begin(&mut self) {
        self.drained = false;
        self.arrived = 0;
    }
}

/// What the session wants after a look at it.
struct Wishes {
    closed: Option<CloseReason>,
    /// The client is closed in the middle of a handshake that nobody needs, or without DISCONNECT.
    aborted: bool,
    /// This side does not want the connection.
    refused: Option<Error>,
    /// To begin a re-authentication.
    reauthenticate: bool,
    /// Another look, whatever the transport says.
    again: bool,
    /// How many messages came in.
    arrived: usize,
    /// To read, if only to see whether the server is alive.
    read: bool,
    deadline: Option<Instant>,
}

impl<C: Connector, T: Timer> Driver<C, T> {
    /// One round: lock and let the session work; write; read.
    pub(super) fn run(&mut self, mut running: Running<C::Io>, cx: &mut Context<'_>) -> Flow {
        let now = self.timer.now();
        if let Err(error) = self.converse(&mut running, now, cx) {
            return self.refuse(running, error, now);
        }
        let Wishes { closed, aborted, refused, reauthenticate, again, arrived, read, deadline } =
            self.attend(&mut running, now);
        self.wake();
        if aborted {
            // Whoever waits for the end finds the transport closed.
            drop(running);
            return self.end(End::Closed);
        }
        if let Some(reason) = closed {
            let error = match running.broken.take() {
                Some(error) if reason == CloseReason::Eof => Error::Io(Arc::new(error)),
                _ => Error::from_close(reason, running.since.is_some()),
            };
            self.stage = Stage::Ending(Ending::new(running, error, now));
            return Flow::Again;
        }
        if let Some(error) = refused {
            return self.refuse(running, error, now);
        }
        if reauthenticate {
            self.reauthenticate(&mut running);
        }
        // Whoever takes messages has to get its turn before the next ones push them out.
        let bound = self.shared.inbound.messages;
        running.arrived += arrived;
        running.link.portion(arrived, bound);
        let crowded = running.arrived > bound / 4;
        let closing_by = now.checked_add(self.limits.close_timeout);
        let moved = running.write(cx, closing_by) | (read && running.read(cx));
        let again = again | moved | running.looked | running.is_due();
        let deadline = deadline.into_iter().chain(running.give_up).min();
        self.stage = Stage::Running(running);
        match deadline {
            _ if again && crowded => Flow::Yield,
            _ if again => Flow::Again,
            Some(deadline) => Flow::SleepUntil(deadline),
            None => Flow::Sleep,
        }
    }

    /// Lets the session handle what was read, the time and the commands, and say what to send.
    fn attend(&mut self, running: &mut Running<C::Io>, now: Instant) -> Wishes {
        let at = self.shared.instant(now);
        let mut guard = self.shared.lock();
        let state = &mut *guard;
        self.look_by = state.look(now, &mut self.woken);
        state.note_moved(running.link.take_moved());
        state.is_writing = running.broken.is_none();
        state.router.begin_block();
        running.feed(&mut state.session, at);
        if running.ended || running.give_up.is_some_and(|give_up| now >= give_up) {
            state.session.handle_eof(at);
        }
        // The proof that the server is alive may lie unread in the transport: one look at it, then judge.
        // This is also what keeps the connection of a consumer that sleeps.
        // Where writing is over, there is nothing more to watch: what is unread is waited for, not for long.
        let watches = running.broken.is_none();
        let due = watches && state.session.poll_timeout().is_some_and(|deadline| deadline <= at);
        if due && running.looked {
            state.session.handle_timeout(at);
            state.relax();
            self.woken.shrink_to_fit();
            self.spent.shrink_to_fit();
            running.link.out.shrink();
        }
        running.looked = due && !running.looked;
        let Handled { arrived, mut closed, .. } = state.handle_events(&mut self.woken);
        // It may be over already: DISCONNECT may stand right behind CONNACK.
        if mem::take(&mut state.accepted) {
            running.since = Some(now);
            state.failed_attempts = 0;
        }
        let Authentication { step, wanted, .. } = &mut state.authentication;
        let refused = step.take().and_then(|step| running.hear(*step).err());
        let reauthenticate = running.dialogue.is_none() && mem::take(wanted);
        let mut aborted = state.close == Close::Abort;
        if state.close != Close::No && running.give_up.is_none() && closed.is_none() {
            state.unsubscribe_from_responses();
            let busy = state.is_busy();
            let version = state.session.config().version;
            if state.with_will && !version.is_v5() {
                aborted = true;
            } else if state.close >= Close::Now || !busy {
                let reason = match state.with_will {
                    true => ReasonCode::DISCONNECT_WITH_WILL,
                    false => ReasonCode::SUCCESS,
                };
                match state.session.disconnect(Disconnect::new(reason), at) {
                    Ok(()) => {
                        state.set_phase(Phase::Closing);
                        running.give_up = now.checked_add(self.limits.close_timeout);
                    }
                    // The handshake is under way: worth waiting for only if something is queued.
                    Err(_) => aborted |= !busy || state.close >= Close::Late,
                }
            }
        }
        // What there was before the first connection must not leave before it is known that there is one.
        let first = state.connected.is_some()
            && self.journal.as_mut().is_some_and(|journal| !journal.connected());
        // Also when there is no room: the session watches whether writing gets on.
        let mut again = false;
        if watches && !aborted && !first {
            state.session.poll_transmit(&mut state.out, at);
            state.out.hand_over(&mut running.link.out);
            let handled = state.handle_events(&mut self.woken);
            closed = closed.or(handled.closed);
            // What came to nothing may have been the last that a drain waits for, or be asked for otherwise.
            again = handled.any;
        }
        // Answers to what this side has sent stand behind the messages: whoever waits for one would take no
        // more of these, and nothing would move again.
        let paused = state.router.is_over() && running.since.is_some() && !state.is_busy();
        let deadline = state.session.poll_timeout().filter(|_| watches);
        self.news = state.log.tell(&mut self.woken);
        self.spent = state.take_spent(mem::take(&mut self.spent));
        Wishes {
            closed,
            aborted,
            refused,
            reauthenticate,
            again,
            arrived,
            read: state.session.wants_input() && (!paused || running.looked) && !running.is_held(),
            deadline: deadline.and_then(|deadline| self.shared.deadline(deadline)),
        }
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Running<Io> {
    /// Writes what there is; tells whether there may be more to do at once.
    fn write(&mut self, cx: &mut Context<'_>, closing_by: Option<Instant>) -> bool {
        if self.broken.is_some() {
            return false;
        }
        let mut progress = false;
        let poll = self.link.poll_write(cx, &mut progress);
        if progress && self.give_up.is_some() {
            self.give_up = closing_by;
        }
        match poll {
            // There may be more, the session may have held something back, and it watches whether writing gets on.
            Poll::Ready(Ok(())) => progress,
            Poll::Ready(Err(error)) => {
                self.link.out.clear();
                self.broken = Some(error);
                self.give_up = closing_by;
                true
            }
            Poll::Pending => false,
        }
    }

    /// Reads a block; tells whether there is something to do at once.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        if self.drained {
            return false;
        }
        match self.link.poll_read(cx) {
            Poll::Pending => {
                self.drained = true;
                return false;
            }
            Poll::Ready(Ok(1..)) => self.fresh = true,
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
            Poll::Ready(Ok(0)) => self.ended = true,
            Poll::Ready(Err(error)) => {
                self.broken.get_or_insert(error);
                self.ended = true;
            }
        }
        true
    }
}
