//! What the state does for streams.

use std::task::Waker;

use mqtt_proto::{AckId, Failure, Message, ReasonCode, Subscribe, Token, TopicFilter, Unsubscribe};

use super::State;
use crate::config::Inbound;
use crate::error::{CommandError, TokenError};
use crate::router::Listener;

/// What comes out of a queue beside a message. It does not come with it, because a message is moved in larger
/// pieces than it would be written in then, and a processor waits for that.
#[derive(Default)]
pub(crate) struct Taking {
    /// Whether the message has memory of its own where it is small.
    pub(crate) settled: bool,
    /// The driver, if it has something to do about that: one of QoS 0 wants no answer, and reading never
    /// stops for it.
    pub(crate) driver: Option<Waker>,
}

impl State {
    /// Makes a stream; returns its name.
    pub(crate) fn listen(
        &mut self,
        subscribe: Subscribe,
        bounds: Inbound,
    ) -> Result<u64, CommandError> {
        if self.is_closing() {
            return Err(CommandError::Closed);
        }
        let (stream, sent) = self.router.listen(&mut self.session, subscribe, bounds)?;
        if let Some((token, subscribe)) = sent {
            self.subscriptions.asked(token, subscribe);
        }
        Ok(stream)
    }

    /// Ends a stream. What is returned is to be dropped outside of the lock.
    pub(crate) fn stop_listening(
        &mut self,
        stream: u64,
        woken: &mut Vec<Waker>,
    ) -> Option<Listener> {
        let (listener, arrived) = self.router.remove(stream, &mut self.session);
        self.renew_and_release();
        if arrived {
            self.readers.take(woken);
        }
        listener
    }

    /// Takes the next message out of a queue: here it is acknowledged.
    #[inline(always)]
    pub(crate) fn take(
        &mut self,
        stream: Option<u64>,
        manual_ack: bool,
        taking: &mut Taking,
    ) -> Option<Message> {
        let message = self.router.pop(stream, &mut taking.settled)?;
        if let Some(ack) = message.ack {
            if !manual_ack {
                self.acknowledge(ack, ReasonCode::SUCCESS);
            }
            taking.driver = self.touch();
        }
        Some(message)
    }

    pub(crate) fn acknowledge(&mut self, ack: AckId, reason: ReasonCode) {
        self.router.acknowledge(&mut self.session, ack, reason);
    }

    /// A request came to nothing: perhaps that of a stream.
    pub(super) fn listening_failed(
        &mut self,
        token: Token,
        error: &Failure,
        woken: &mut Vec<Waker>,
    ) {
        let error = TokenError::Failed(error.clone());
        match self.router.failed(token, error, &mut self.session, woken) {
            Some(Some((token, subscribe))) => self.subscriptions.asked(token, subscribe),
            Some(None) => self.observers.take(woken),
            None => {}
        }
    }

    /// Subscribes anew and unsubscribes, as far as the session has room for requests.
    pub(super) fn renew_and_release(&mut self) {
        // Also what there is no room for now is not to be subscribed to anew.
        for filters in self.router.newly_unwanted() {
            self.subscriptions.forget(filters);
        }
        if self.connected.is_some() {
            self.subscriptions.renew(&mut self.session, &self.router);
        }
        while !self.is_closing()
            && let Some(filters) = self.router.unwanted().pop_front()
        {
            let unsubscribe = Unsubscribe { filters, ..Unsubscribe::default() };
            match self.session.unsubscribe(unsubscribe.clone()) {
                Ok(token) => self.subscriptions.asked_to_end(token, unsubscribe),
                Err(mqtt_proto::CommandError::Full) => {
                    self.router.unwanted().push_front(unsubscribe.filters);
                    break;
                }
                Err(_) => self.release_one_by_one(unsubscribe.filters),
            }
        }
    }

    /// The filters of one stream may be too many for one packet.
    fn release_one_by_one(&mut self, filters: Vec<TopicFilter>) {
        if filters.len() > 1 {
            let unwanted = self.router.unwanted();
            filters.into_iter().for_each(|filter| unwanted.push_back(vec![filter]));
        }
    }
}
