//! The short way of a message of QoS 0: straight into the output buffer.

use super::{Connection, Core};
use crate::packet::Publish;
use crate::session::link::Phase;
use crate::session::outbound::Outbound;
use crate::txbuf::TxBuf;
use crate::types::{QoS, Token};

impl Core {
    /// Encodes a message, unless anything at all is in its way: then it takes the long way, which says why.
    #[inline]
    pub(in crate::session) fn send_now(
        &mut self,
        publish: &Publish,
        out: &mut TxBuf,
    ) -> Option<Token> {
        let Connection { link, sending, .. } = self.connection.as_mut()?;
        let outbound = &mut self.state.outbound;
        let clear = publish.qos == QoS::AtMostOnce
            && link.phase == Phase::Connected
            && link.handshake.is_empty()
            && !outbound.has_queue()
            && !Outbound::is_resending(sending)
            && outbound.journal.has(link.forgotten)
            && !out.is_full();
        if !clear {
            return None;
        }
        let token = outbound.send_now(publish, sending, &link.wire(), out)?;
        link.sent_between = true;
        Some(token)
    }
}
