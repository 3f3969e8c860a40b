//! QoS 2 messages that were sent, and that a later connection did not permit to be sent again. Their
//! commands have failed; but the receiver may hold the identifier, and would take another message with it
//! for a repetition. So it stays taken until the receiver ends the exchange, or the session ends.

use super::{Exchange, Outbound, Release, Removed, Sending};
use crate::packet::{Ack, Publish};
use crate::reason::ReasonCode;
use crate::session::list::Key;
use crate::session::store::StoreSeq;
use crate::types::{PacketId, QoS, Token};

/// What is left of such a message.
#[derive(Debug)]
pub(super) struct GivenUp {
    /// Names its record.
    token: Token,
    /// PUBREC has come for it: the receiver does hold it, and PUBREL has to end that.
    pub(super) release: Option<Release>,
}

impl Outbound {
    /// Ends an exchange whose PUBLISH may not be sent again, and returns its token.
    pub(super) fn give_up(&mut self, sending: &mut Sending, link: u32, key: Key) -> Option<Token> {
        let sent = &self.in_flight.get(key)?.exchange;
        if !matches!(sent, Exchange::Publish { publish: Publish { qos: QoS::ExactlyOnce, .. }, .. })
        {
            // Nobody remembers an identifier of QoS 1 over connections.
            return self.finish(sending, link, key);
        }
        let Removed { token, id, .. } = self.remove(sending, link, key)?;
        self.ids.reassign(id);
        self.given_up.insert(id, GivenUp { token, release: None });
        self.journal.given_up(token, id);
        Some(token)
    }

    /// Enters one that was given up before a restart.
    pub(super) fn restore_given_up(&mut self, token: Token, id: PacketId, released: bool) {
        let release = released.then(|| self.release(StoreSeq::default(), 0));
        self.ids.reassign(id);
        self.given_up.insert(id, GivenUp { token, release });
    }

    /// PUBREC came for an identifier that stands for nothing; returns the answer if it is one of these.
    pub(super) fn given_up_pubrec(
        &mut self,
        link: u32,
        ack: &Ack,
    ) -> Option<Option<(StoreSeq, Ack)>> {
        let id = ack.packet_id;
        let GivenUp { token, release } = self.given_up.get(&id)?;
        let (token, stored) = (*token, release.as_ref().map(|release| release.stored));
        if ack.reason.is_error() {
            self.forget_given_up(id);
            return Some(None);
        }
        let stored = match stored {
            Some(stored) => stored,
            None => self.journal.given_up_released(token, id),
        };
        let fresh = self.release(stored, link);
        let known = self.given_up.get_mut(&id)?;
        known.release.get_or_insert(fresh).link = link;
        Some(Some((stored, Ack::new(id, ReasonCode::SUCCESS))))
    }

    /// PUBCOMP came for an identifier that stands for nothing; false if no PUBREL has asked for it.
    pub(super) fn given_up_pubcomp(&mut self, id: PacketId) -> bool {
        let known = self.given_up.get(&id);
        if known.is_some_and(|given_up| given_up.release.is_none()) {
            return false;
        }
        self.forget_given_up(id);
        true
    }

    /// The receiver has a new session, and holds none of them.
    pub(in crate::session) fn forget_all_given_up(&mut self) {
        while let Some((id, _)) = self.given_up.first_key_value() {
            self.forget_given_up(*id);
        }
    }

    fn forget_given_up(&mut self, id: PacketId) {
        if let Some(GivenUp { token, .. }) = self.given_up.remove(&id) {
            self.forget(token, Some(id));
        }
    }
}
