//! What goes out: commands that wait, and the order in which packets leave.

use alloc::boxed::Box;
use core::mem;

use super::{Connection, Core, SessionState};
use crate::codec;
use crate::error::{DecodeCause, EncodeError};
use crate::packet::{Disconnect, Packet, Publish};
use crate::session::config::TopicAliases;
use crate::session::error::{CloseReason, CommandError, PublishError, Timeout};
use crate::session::event::Event;
use crate::session::link::Phase;
use crate::session::outbound::{NEEDS_V5, Outbound, Request, has_v5_properties};
use crate::session::timers::Timer;
use crate::time::Instant;
use crate::txbuf::TxBuf;
use crate::types::{PacketType, QoS, Token, Version};

impl Core {
    #[inline]
    pub(in crate::session) fn publish(
        &mut self,
        publish: Publish,
        now: Instant,
    ) -> Result<Token, PublishError> {
        if self.phase() == Phase::Closing {
            return Err(PublishError::Closing(Box::new(publish)));
        }
        if let Err(error) = self.check(&publish) {
            self.state.outbound.spent.put(publish);
            return Err(error);
        }
        self.enqueue(publish, now)
    }

    /// Tells whether the message may be sent at all, as far as is known.
    #[inline]
    pub(super) fn check(&self, publish: &Publish) -> Result<(), PublishError> {
        let link = self.link();
        let version = link.map(|link| link.version).or(self.settings.version);
        if self.settings.is_client()
            && let Some(fields) = publish.properties.get()
        {
            if !fields.subscription_identifiers.is_empty() {
                let what = "subscription identifiers in messages from a client";
                return Err(PublishError::NotSupported(what));
            }
            if fields.topic_alias == Some(0) {
                let cause = DecodeCause::TopicAliasZero;
                let invalid = EncodeError::Invalid { packet: PacketType::Publish, cause };
                return Err(PublishError::Invalid(invalid));
            }
            let by_hand = self.settings.topic_aliases == TopicAliases::Manual;
            if fields.topic_alias.is_some() && !by_hand {
                let what = "topic aliases by hand: the session chooses them (topic_aliases)";
                return Err(PublishError::NotSupported(what));
            }
            if version.is_some_and(|version| !version.is_v5()) && has_v5_properties(fields) {
                return Err(PublishError::NotSupported(NEEDS_V5));
            }
        }
        if let Some(link) = link.filter(|link| link.phase == Phase::Connected) {
            if let Some(what) = link.limits.lacks_for_publish(publish) {
                return Err(PublishError::NotSupported(what));
            }
            if let Some(alias) = publish.properties.get().and_then(|fields| fields.topic_alias)
                && alias > link.limits.topic_alias_maximum
            {
                let what = "so high a Topic Alias (Topic Alias Maximum)";
                return Err(PublishError::NotSupported(what));
            }
            let oversize = Outbound::oversize(publish, &link.wire());
            if let Some(size) = oversize.map_err(PublishError::Invalid)? {
                let limit = link.limits.maximum_packet_size;
                return Err(PublishError::TooLarge { size, limit });
            }
        }
        Ok(())
    }

    /// Takes a message into the line, if there is room.
    #[inline]
    pub(super) fn enqueue(
        &mut self,
        publish: Publish,
        now: Instant,
    ) -> Result<Token, PublishError> {
        let (size, acknowledged) = (publish.size(), publish.qos != QoS::AtMostOnce);
        let outbound = &mut self.state.outbound;
        let result = match outbound.has_room(size, acknowledged, &self.settings.bounds) {
            true => outbound.push(publish, size, now),
            false => Err(publish),
        };
        result.map_err(|publish| {
            let [qos0, above] = &mut self.refused;
            let least = if acknowledged { above } else { qos0 };
            *least = Some(least.map_or(size, |least| least.min(size)));
            PublishError::Full(Box::new(publish))
        })
    }

    pub(in crate::session) fn cancel(&mut self, token: Token) -> Option<Publish> {
        let publish = self.state.outbound.cancel(token)?;
        self.make_writable();
        Some(publish)
    }

    /// Says that there is room again, if somebody was told that there was none.
    pub(super) fn make_writable(&mut self) {
        let SessionState { outbound, .. } = &self.state;
        let has_room = |size: Option<usize>, acknowledged| {
            size.is_some_and(|size| outbound.has_room(size, acknowledged, &self.settings.bounds))
        };
        let [qos0, above] = self.refused;
        if has_room(qos0, false) || has_room(above, true) {
            self.refused = [None; 2];
            self.events.push_back(Event::Writable);
        }
    }

    pub(in crate::session) fn request(&mut self, request: Request) -> Result<Token, CommandError> {
        if self.link().is_some_and(|link| link.phase == Phase::Closing) {
            return Err(CommandError::NotConnected);
        }
        if self.state.outbound.requests() >= self.settings.bounds.requests {
            return Err(CommandError::Full);
        }
        Ok(self.state.outbound.push_request(request))
    }

    pub(in crate::session) fn transmit(&mut self, out: &mut TxBuf, now: Instant) -> bool {
        self.written(out);
        if self.is_write_stalled(out, now) {
            self.end(CloseReason::Timeout(Timeout::Write));
        }
        let before = out.len();
        if self.link().is_some_and(|link| link.ping_due || link.pings_owed > 0) {
            // For a Keep Alive, one side has sent nothing.
            self.relax();
            out.shrink();
        }
        if self.connection.is_some() {
            if let Err(reason) = self.transmit_connection(out, now) {
                match &reason {
                    CloseReason::Peer(error) => {
                        let code = error.reason();
                        self.end_for(reason, code);
                    }
                    _ => self.end(reason),
                }
            }
            let between = self.link_mut().is_some_and(|link| mem::take(&mut link.sent_between));
            if out.len() > before || between {
                self.sent(now);
            }
            // Also without a byte: messages may have expired, or be too large for this connection.
            self.make_writable();
            self.watch_writing(out, now);
        }
        for (version, packet) in mem::take(&mut self.last_words) {
            let _ = codec::encode(&packet, version, out);
        }
        out.len() > before
    }

    /// Tells whether the output buffer has got no shorter for too long. Only here can that be seen: the
    /// deadline just asks for a look.
    fn is_write_stalled(&mut self, out: &TxBuf, now: Instant) -> bool {
        let Some(link) = self.link_mut() else { return false };
        let due = link.timers.take_due(Timer::Write, now);
        due && out.unwritten() > 0 && link.write_progress == out.progress()
    }

    /// Watches the output buffer for as long as there is something in it.
    fn watch_writing(&mut self, out: &TxBuf, now: Instant) {
        let timeout = self.settings.write_timeout;
        let Some(link) = self.link_mut() else { return };
        if out.unwritten() == 0 {
            link.timers.stop(Timer::Write);
        } else if link.write_progress != out.progress() || !link.timers.is_set(Timer::Write) {
            link.write_progress = out.progress();
            link.timers.set(Timer::Write, Some(now + timeout));
        }
    }

    fn transmit_connection(&mut self, out: &mut TxBuf, now: Instant) -> Result<(), CloseReason> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let Connection { link, sending, .. } = connection;
        let outbound = &mut self.state.outbound;
        while let Some(packet) = link.handshake.pop_front() {
            codec::encode(&packet, link.version, out).map_err(CloseReason::Local)?;
        }
        // Packets are large, and for the rest of the connection there is none.
        link.handshake.shrink_to_fit();
        let accepted = matches!(link.phase, Phase::Connected | Phase::Closing);
        if !accepted || !outbound.journal.has(link.forgotten) {
            return Ok(());
        }
        while !out.is_full()
            && link.replies.front().is_some_and(|(stored, _)| outbound.journal.has(*stored))
            && let Some((_, reply)) = link.replies.pop_front()
        {
            link.encode_reply(reply, out)?;
        }
        while !out.is_full() && link.pings_owed > 0 {
            link.pings_owed -= 1;
            codec::encode(&Packet::PingResp, link.version, out).map_err(CloseReason::Local)?;
        }
        if link.ping_due && !out.is_full() {
            link.ping_due = false;
            codec::encode(&Packet::PingReq, link.version, out).map_err(CloseReason::Local)?;
            if !link.ping_outstanding {
                // With a short Keep Alive there are several until the first is answered; they must not
                // put off the end.
                link.ping_outstanding = true;
                let deadline = self.settings.ping_timeout.map(|timeout| now + timeout);
                link.timers.set(Timer::PingResp, deadline);
                link.timers.stop(Timer::Receive);
            }
        }
        let wire = link.wire();
        let events = &mut self.events;
        while !out.is_full() && outbound.resend(sending, &wire, out, now, events) {}
        while !out.is_full() && outbound.send_request(&wire, out, events) {}
        while !out.is_full()
            && !Outbound::is_resending(sending)
            && outbound.send_next(sending, &wire, out, now, events)
        {}
        if link.phase == Phase::Closing && !out.is_full() {
            let disconnect = link.disconnect.take().unwrap_or_default();
            let version = link.version;
            let packet = match version {
                Version::V5 => Some(Packet::Disconnect(disconnect)),
                _ => self.settings.is_client().then(|| Packet::Disconnect(Disconnect::default())),
            };
            if let Some(mut packet) = packet
                && link.shorten(&mut packet).map_err(CloseReason::Local)?
            {
                codec::encode(&packet, version, out).map_err(CloseReason::Local)?;
            }
            return Err(CloseReason::Requested);
        }
        Ok(())
    }
}
