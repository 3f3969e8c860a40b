//! The server as a broker is: it answers CONNECT, and keeps and ends sessions.

use mqtt_proto::{Accept, ConnAck, Connect, Event, Instant, Phase, ReasonCode, Version};

use crate::app;
use crate::disk::Disk;
use crate::node::{Node, Record, Side, peers_are_faultless, pump};
use crate::oracle::{Check, Fault, ensure};
use crate::random::Random;

impl Node {
    pub fn pending_event(&mut self, event: Event, now: Instant, random: &mut Random) -> Check {
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
        let expired = match self.record.expiry {
            // In 3.x a session of Clean Session 1 ends with its connection.
            None | Some(0) => true,
            Some(u32::MAX) => false,
            Some(seconds) => now.since(since).as_secs() >= seconds.into(),
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
    pub fn forget(&mut self) {
        self.tally.forgotten += u64::from(self.record.known);
        self.record = Record::default();
        self.down.abandon();
        self.up.forget();
        self.server.disk = Disk::default();
        self.server.todo.clear();
    }
}
