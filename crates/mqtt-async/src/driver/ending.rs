//! The end of a connection: last words out, then the transport closed in order.

use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures_io::{AsyncRead, AsyncWrite};

use super::running::Running;
use super::{Driver, Flow, Stage};
use crate::connect::Connector;
use crate::error::Error;
use crate::link::Link;
use crate::shared::{Close, End};
use crate::time::{Timer, later};

/// A transport whose session part is over.
pub(super) struct Ending<Io> {
    link: Link<Io>,
    step: Step,
    error: Error,
    since: Option<Instant>,
    /// When the last step was made.
    progress: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Write what is left: DISCONNECT is the last of it.
    Write,
    /// Shut the direction to the server.
    Shut,
    /// Read away what the server had sent. Closing with unread bytes would make the kernel send RST, which
    /// can destroy the DISCONNECT on its way.
    ReadAway,
}

impl<Io> Ending<Io> {
    pub(super) fn new(running: Running<Io>, error: Error, now: Instant) -> Ending<Io> {
        let Running { link, since, .. } = running;
        Ending { link, step: Step::Write, error, since, progress: now }
    }

    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }
}

impl<C: Connector, T: Timer> Driver<C, T> {
    pub(super) fn finish(&mut self, mut ending: Ending<C::Io>, cx: &mut Context<'_>) -> Flow {
        let now = self.timer.now();
        let (aborted, more) = {
            let mut guard = self.shared.lock();
            let state = &mut *guard;
            self.look_by = state.look(now, &mut self.woken);
            state.note_moved(ending.link.take_moved());
            state.out.hand_over(&mut ending.link.out);
            state.handle_events(&mut self.woken);
            self.news = state.log.tell(&mut self.woken);
            (state.close == Close::Abort, !state.out.is_empty())
        };
        self.wake();
        // Where the transport is gone, there is nothing left to do with it.
        let gone = aborted || matches!(ending.error, Error::Eof { .. } | Error::Io(_));
        let step = if gone { Poll::Ready(false) } else { ending.step(now, more, cx) };
        let deadline = later(ending.progress, self.limits.close_timeout);
        if step != Poll::Ready(false) && now < deadline {
            self.stage = Stage::Ending(ending);
            return if step.is_ready() { Flow::Again } else { Flow::SleepUntil(deadline) };
        }
        let Ending { mut link, error, since, .. } = ending;
        let requested = matches!(error, Error::Other(mqtt_proto::CloseReason::Requested));
        let (close, rest) = {
            let mut state = self.shared.lock();
            state.note_moved(link.take_moved());
            let rest = state.lose_link(self.shared.instant(now));
            state.handle_events(&mut self.woken);
            (state.close, rest)
        };
        drop((link, rest));
        self.wake();
        match close {
            Close::Now | Close::Late | Close::Abort => self.end(End::Closed),
            Close::WhenIdle if requested => self.end(End::Closed),
            _ => self.lost(error, since),
        }
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Ending<Io> {
    /// Makes a step; tells whether there is another one. `more`: there is more to write than the link has.
    fn step(&mut self, now: Instant, more: bool, cx: &mut Context<'_>) -> Poll<bool> {
        let link = &mut self.link;
        match self.step {
            Step::Write => {
                let mut progress = false;
                let poll = link.poll_write(cx, &mut progress);
                if progress {
                    self.progress = now;
                }
                let written = ready!(poll).is_ok();
                if !more && link.out.is_empty() {
                    self.step = Step::Shut;
                }
                Poll::Ready(written)
            }
            Step::Shut => {
                let shut = ready!(link.poll_close(cx)).is_ok();
                self.step = Step::ReadAway;
                Poll::Ready(shut)
            }
            Step::ReadAway => {
                // This is no progress: a server that never stops sending is left after a while.
                link.input.clear();
                Poll::Ready(matches!(ready!(link.poll_read(cx)), Ok(1..)))
            }
        }
    }
}
