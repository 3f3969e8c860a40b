//! Messages of QoS 0 that never wait.

use super::{Outbound, Sending, encode_new};
use crate::codec::PublishHeader;
use crate::packet::Publish;
use crate::session::limits::Wire;
use crate::txbuf::TxBuf;
use crate::types::Token;

impl Outbound {
    /// Tells whether something waits to be sent for the first time.
    #[inline]
    pub(in crate::session) fn has_queue(&self) -> bool {
        !self.queue.is_empty() || !self.requests.is_empty()
    }

    /// Encodes a message of QoS 0 that has no properties to be looked at.
    #[inline]
    pub(in crate::session) fn send_now(
        &mut self,
        publish: &Publish,
        sending: &mut Sending,
        wire: &Wire<'_>,
        out: &mut TxBuf,
    ) -> Option<Token> {
        let plain = publish.properties.get().is_none_or(|fields| {
            // An expiry needs the time, and the others break rules of the session.
            wire.version.is_v5()
                && fields.message_expiry_interval.is_none()
                && fields.topic_alias.is_none()
                && fields.subscription_identifiers.is_empty()
        });
        if !plain {
            return None;
        }
        encode_new(publish, PublishHeader::default(), &mut sending.aliases, wire, out).ok()?;
        let token = self.token();
        self.unwritten.push(token, out);
        Some(token)
    }
}
