//! Messages of QoS 0 on the last step of their way: from the output buffer to the transport.

use alloc::collections::VecDeque;

use super::{Outbound, published};
use crate::packet::AckProperties;
use crate::reason::ReasonCode;
use crate::session::error::Failure;
use crate::session::event::Event;
use crate::session::list::relax;
use crate::txbuf::TxBuf;
use crate::types::Token;

/// The messages whose packets were encoded, until somebody has been told what became of them.
///
/// They outlive the session's part of a connection: behind a DISCONNECT that was asked for, the buffer is
/// still written. A session that goes on with the state of another one tells what became of them.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    /// Each with the place where its packet ends; see [`TxBuf::end`].
    queue: VecDeque<(u64, Token)>,
    /// How many of them, from the first, have been taken out of the buffer.
    written: usize,
}

impl Unwritten {
    #[inline]
    pub(super) fn push(&mut self, token: Token, out: &TxBuf) {
        self.queue.push_back((out.end(), token));
    }

    pub(super) fn relax(&mut self) {
        relax(&mut self.queue);
    }
}

impl Outbound {
    /// Notes how far the output buffer has been written.
    #[inline]
    pub(in crate::session) fn note_written(&mut self, out: &TxBuf) {
        let Unwritten { queue, written } = &mut self.unwritten;
        // So that it may be another buffer each time.
        if out.is_written() {
            *written = queue.len();
            return;
        }
        while queue.get(*written).is_some_and(|(end, _)| *end <= out.progress()) {
            *written += 1;
        }
    }

    /// Returns the next message that has been written.
    #[inline]
    pub(in crate::session) fn next_written(&mut self) -> Option<Token> {
        let Unwritten { queue, written } = &mut self.unwritten;
        *written = written.checked_sub(1)?;
        let (_, token) = queue.pop_front()?;
        Some(token)
    }

    /// The transport is gone: what was not written never will be.
    pub(in crate::session) fn fail_unwritten(&mut self, events: &mut VecDeque<Event>) {
        while let Some(token) = self.next_written() {
            events.push_back(published(token, ReasonCode::SUCCESS, AckProperties::NONE));
        }
        for (_, token) in self.unwritten.queue.drain(..) {
            events.push_back(Event::Failed { token, error: Failure::NotWritten });
        }
    }

    /// Tells whether it is known of all messages what became of them.
    pub(in crate::session) fn is_written(&self) -> bool {
        self.unwritten.queue.is_empty()
    }
}
