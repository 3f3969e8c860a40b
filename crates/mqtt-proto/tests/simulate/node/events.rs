//! What the two sessions of a node tell their applications.

use mqtt_proto::{
    Accept, CloseReason, ConnAck, Connect, Event, Instant, Message, Phase, ReasonCode, Session,
    Version,
};

use super::{Node, Record, Side, pump};
use crate::app;
use crate::disk::Disk;
use crate::oracle::{Check, Fault, ensure};
use crate::random::Random;

impl Node {
    /// Takes all events and writes what has to be stored.
    pub fn events(&mut self, now: Instant, random: &mut Random) -> Check {
        while let Some(event) = self.client.session.poll_event() {
            self.client_event(event, now, random)?;
        }
        while let Some(event) = self.server.session.poll_event() {
            self.server_event(event, now, random)?;
        }
        while let Some(event) = self.pending.as_mut().and_then(Session::poll_event) {
            self.pending_event(event, now, random)?;
        }
        self.client.disk.write(&mut self.client.session);
        self.server.disk.write(&mut self.server.session);
        self.bounded()
    }

    fn client_event(&mut self, event: Event, now: Instant, random: &mut Random) -> Check {
        match event {
            Event::Connected { resumed, .. } => {
                if let Some(conn) = &mut self.current {
                    conn.up.watch.established = true;
                }
                let resends = self.client.session.config().resend_lost_qos2;
                let clean = self.client_cleans();
                let lost = self.is_lost(clean, resumed);
                let ended = std::mem::replace(&mut self.client_ended, clean);
                if lost {
                    let keeps = !self.version.is_v5() && !clean && !ended;
                    self.up.session_lost(keeps, resends);
                }
                // The first connection of a process that has lost everything was clean; later ones
                // go on.
                let wish = self.client.config.connect.clean_start;
                self.client.session.config_mut().connect.clean_start = wish;
                Ok(())
            }
            Event::Closed { reason, .. } => {
                self.client.closed += 1;
                self.up.requests_end();
                if let Some(conn) = &mut self.current {
                    conn.client_open = false;
                    // What the session says last is still written, then comes the end.
                    if !matches!(reason, CloseReason::Eof) {
                        pump(&mut self.client.session, &mut conn.up, usize::MAX, now);
                    }
                    conn.up.fin = true;
                }
                self.look_at_current(Side::Client)?;
                peers_are_faultless("client", &reason)
            }
            Event::Message(message) => self.message(Side::Client, &message, now, random),
            Event::Writable => {
                self.up.waits = false;
                Ok(())
            }
            other => self.up.outcome(&other, now),
        }
    }

    /// Whether the client has to take it that the server has no session.
    pub(super) const fn is_lost(&self, clean: bool, present: bool) -> bool {
        match self.version {
            Version::V31 => clean || self.client_ended,
            _ => !present,
        }
    }

    /// Whether the CONNECT of this connection asked for a new session.
    fn client_cleans(&self) -> bool {
        self.current.as_ref().is_some_and(|conn| conn.clean)
    }

    fn look_at_current(&mut self, side: Side) -> Check {
        let Some(mut conn) = self.current.take() else { return Ok(()) };
        let checked = self.look(side, &mut conn);
        self.current = Some(conn);
        checked
    }

    fn server_event(&mut self, event: Event, now: Instant, random: &mut Random) -> Check {
        match event {
            Event::Closed { reason, .. } => {
                self.server.closed += 1;
                if let CloseReason::Disconnected(disconnect) = &reason
                    && let Some(expiry) = disconnect.session_expiry_interval
                {
                    self.record.expiry = Some(expiry);
                }
                self.record.since = Some(now);
                let session = &mut self.server.session;
                let on_old = self.pending.is_some();
                let slot = if on_old { &mut self.old } else { &mut self.current };
                if let Some(mut conn) = slot.take() {
                    conn.server_open = false;
                    if !matches!(reason, CloseReason::Eof) {
                        pump(session, &mut conn.down, usize::MAX, now);
                    }
                    conn.down.fin = true;
                    let checked = self.look(Side::Server, &mut conn);
                    *(if on_old { &mut self.old } else { &mut self.current }) = Some(conn);
                    checked?;
                }
                peers_are_faultless("server", &reason)
            }
            Event::Message(message) => {
                self.forwards += 1;
                self.message(Side::Server, &message, now, random)
            }
            Event::Subscribe(request, subscribe) => {
                self.requests.push((request, subscribe.subscriptions.len()));
                Ok(())
            }
            Event::Unsubscribe(request, unsubscribe) => {
                self.requests.push((request, unsubscribe.filters.len()));
                Ok(())
            }
            Event::Writable => {
                self.down.waits = false;
                Ok(())
            }
            other => self.down.outcome(&other, now),
        }
    }

    fn pending_event(&mut self, event: Event, now: Instant, random: &mut Random) -> Check {
        match event {
            Event::Connect(connect) => self.connect(&connect, now, random),
            Event::Closed { reason, .. } => {
                if let (Some(pending), Some(conn)) = (&mut self.pending, &mut self.current) {
                    conn.server_open = false;
                    pump(pending, &mut conn.down, usize::MAX, now);
                    conn.down.fin = true;
                }
                self.look_at_current(Side::Server)?;
                peers_are_faultless("server", &reason)
            }
            other => {
                let detail = format!("{other:?}");
                Err(Fault { rule: "nothing_happens_before_connect", detail })
            }
        }
    }

    /// Answers CONNECT as a broker does.
    fn connect(&mut self, connect: &Connect, now: Instant, random: &mut Random) -> Check {
        let Some(mut pending) = self.pending.take() else { return Ok(()) };
        if let Some(conn) = &mut self.current {
            conn.clean = connect.clean_start;
        }
        if pending.phase() != Phase::Accepting {
            // It has ended already.
            self.pending = Some(pending);
            return Ok(());
        }
        if !self.calm && random.chance(3) {
            self.tally.refusals += 1;
            let refused = pending.refuse(ConnAck::new(ReasonCode::SERVER_UNAVAILABLE), now);
            self.pending = Some(pending);
            ensure!(refused.is_ok(), "commands_work", "refuse: {refused:?}");
            return Ok(());
        }
        // Who still has the old connection is taken over.
        self.old = None;
        let since = self.record.since.unwrap_or(now);
        let expired = match (self.version.is_v5(), self.record.expiry) {
            (true, None | Some(0)) => true,
            (true, Some(u32::MAX)) | (false, Some(_)) => false,
            (true, Some(seconds)) => now.since(since).as_secs() >= seconds.into(),
            // Here 3.x: a session of Clean Session 1 ends with its connection.
            (false, None) => true,
        };
        // MQTT 3.1 cannot tell the client that it has begun a new one.
        let confirmed = self.record.confirmed || self.version == Version::V31;
        let keeps = self.record.known && confirmed && !expired && !connect.clean_start;
        let old = std::mem::replace(&mut self.server.session, pending);
        // What the old `Session` was told or has promised beside its state ends with it.
        self.down.waits = false;
        self.requests.clear();
        let state = old.into_state();
        if !keeps {
            self.forget();
        }
        let connack = app::connack(self.version, random);
        let expiry = connack.session_expiry_interval.or(connect.session_expiry_interval);
        self.record = Record {
            known: true,
            confirmed: keeps,
            expiry: if self.version.is_v5() {
                expiry
            } else {
                (!connect.clean_start).then_some(u32::MAX)
            },
            since: None,
        };
        (self.server.opened, self.server.closed) = (1, 0);
        let state = keeps.then_some(state);
        let accepted = self.server.session.accept(Accept { connack, state }, now);
        ensure!(accepted.is_ok(), "commands_work", "accept: {accepted:?}");
        if let Some(conn) = &mut self.current {
            self.server.session.handle_input(&mut conn.up.arrived, now);
        }
        Ok(())
    }

    /// The server has no session for this client any more.
    pub(crate) fn forget(&mut self) {
        self.tally.forgotten += u64::from(self.record.known);
        self.record = Record::default();
        self.down.abandon();
        self.up.forget();
        self.server.disk = Disk::default();
        self.server.todo.clear();
    }

    fn message(&mut self, to: Side, message: &Message, now: Instant, random: &mut Random) -> Check {
        self.tally.messages += 1;
        let from = if to == Side::Client { Side::Server } else { Side::Client };
        let on_old = to == Side::Server && self.pending.is_some();
        let slot = if on_old { &mut self.old } else { &mut self.current };
        let mut conn = slot.take();
        let checked = match &mut conn {
            Some(conn) => {
                let lane = if from == Side::Client { &mut conn.up } else { &mut conn.down };
                self.flow(from).message(&mut lane.watch, message)
            }
            None => Ok(()),
        };
        *(if on_old { &mut self.old } else { &mut self.current }) = conn;
        checked?;
        if let Some(ack) = message.ack {
            let calm = self.calm;
            let prompt = peer!(self, to, peer => {
                peer.todo.push(peer.habits.todo(ack, random));
                calm || peer.habits.is_prompt(random)
            });
            if prompt {
                let last = peer!(self, to, peer => peer.todo.len() - 1);
                self.answer(to, last, now, random);
            }
        }
        Ok(())
    }

    /// Answers the message at that place of the application's list.
    pub fn answer(&mut self, side: Side, index: usize, _: Instant, random: &mut Random) {
        let todo = peer!(self, side, peer => peer.todo.remove(index));
        let reason = if todo.refuse { app::refusal(random) } else { ReasonCode::SUCCESS };
        peer!(self, side, peer => peer.session.ack(todo.ack, reason));
        let error = todo.refuse && self.version.is_v5();
        self.tally.refused += u64::from(error);
        let from = if side == Side::Client { Side::Server } else { Side::Client };
        let on_old = side == Side::Server && self.pending.is_some();
        let slot = if on_old { &mut self.old } else { &mut self.current };
        let mut conn = slot.take();
        let watch = conn.as_mut().map(|conn| {
            let lane = if from == Side::Client { &mut conn.up } else { &mut conn.down };
            &mut lane.watch
        });
        self.flow(from).answer(watch, todo.ack, error);
        *(if on_old { &mut self.old } else { &mut self.current }) = conn;
    }
}

/// Both sides are ours: neither may find a fault with the other.
fn peers_are_faultless(side: &str, reason: &CloseReason) -> Check {
    let told = match reason {
        CloseReason::Peer(_) | CloseReason::Local(_) | CloseReason::SessionUnknown => true,
        CloseReason::Disconnected(disconnect) => {
            use ReasonCode as R;
            disconnect.reason.is_error()
                && !matches!(disconnect.reason, R::KEEP_ALIVE_TIMEOUT | R::SERVER_BUSY)
        }
        _ => false,
    };
    ensure!(!told, "peers_are_faultless", "{side}: {reason:?}");
    Ok(())
}
