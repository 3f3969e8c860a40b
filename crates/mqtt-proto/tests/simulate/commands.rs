//! What applications command, what goes wrong, and how it all comes to rest.

use bytes::Bytes;
use mqtt_proto::{
    CommandError, Disconnect, Instant, Packet, Phase, PublishError, QoS, ReasonCode, Role, Session,
    StoreKey, Subscribe, TopicFilter, Unsubscribe, Version, codec,
};

use crate::app;
use crate::disk::Disk;
use crate::node::{Node, Peer, SIDES, Side, peer};
use crate::oracle::{Check, Fault, ensure, is_typed, memory_is_bounded};
use crate::random::Random;

impl Node {
    // ---- commands ----

    pub fn publish(&mut self, from: Side, number: u64, now: Instant, random: &mut Random) -> Check {
        let publish = peer!(self, from, peer => peer.habits.message(number, random));
        let expiry = publish.properties.get().and_then(|fields| fields.message_expiry_interval);
        let expires = expiry.map(|s| now + std::time::Duration::from_secs(s.into()));
        let permits = self.flow(from).permits;
        let mut permitted = permits.takes(publish.qos, publish.retain, is_typed(&publish));
        if from == Side::Client && !self.version.is_v5() {
            // The version counts from CONNECT on.
            permitted &= !is_typed(&publish);
        }
        match peer!(self, from, peer => peer.session.publish(publish.clone(), now)) {
            Ok(token) => {
                self.tally.published += 1;
                self.flow(from).accept((number, token), &publish, expires)
            }
            Err(PublishError::Full(_)) => {
                self.tally.full += 1;
                self.flow(from).waits = true;
                let stats = peer!(self, from, peer => peer.session.stats());
                let held = stats.queued + stats.in_flight > 0;
                ensure!(held, "a_single_message_is_always_taken", "{stats:?}");
                Ok(())
            }
            Err(PublishError::Closing(_) | PublishError::TooLarge { .. }) => Ok(()),
            Err(PublishError::NotSupported(_)) if !permitted => Ok(()),
            Err(error) => {
                Err(Fault { rule: "commands_work", detail: format!("publish: {error:?}") })
            }
        }
    }

    pub fn request(&mut self, random: &mut Random) -> Check {
        let filter = TopicFilter::new("long/+/for/#").expect("a filter");
        let result = if random.chance(50) {
            self.client.session.subscribe(Subscribe::new(filter, QoS::ExactlyOnce))
        } else {
            self.client.session.unsubscribe(Unsubscribe::new(filter))
        };
        match result {
            Ok(token) => self.up.token(token, None),
            Err(CommandError::Full | CommandError::NotConnected) => Ok(()),
            Err(error) => {
                Err(Fault { rule: "commands_work", detail: format!("request: {error:?}") })
            }
        }
    }

    /// The server answers a request.
    pub fn grant(&mut self, random: &mut Random) -> Check {
        if self.requests.is_empty() {
            return Ok(());
        }
        let at = random.index(self.requests.len());
        let (request, filters) = self.requests.remove(at);
        let granted = self.server.session.grant(request, vec![ReasonCode::SUCCESS; filters]);
        ensure!(granted.is_ok(), "commands_work", "grant: {granted:?}");
        Ok(())
    }

    pub fn cancel(&mut self, from: Side, random: &mut Random) -> Check {
        let Some(token) = self.flow(from).some_token(random.below(8) as usize) else {
            return Ok(());
        };
        if peer!(self, from, peer => peer.session.cancel(token)).is_some() {
            self.tally.cancelled += 1;
            self.flow(from).cancelled(token)?;
        }
        Ok(())
    }

    pub fn disconnect(&mut self, from: Side, now: Instant, random: &mut Random) -> Check {
        let v5 = self.version.is_v5();
        let result = match from {
            Side::Client => {
                let mut disconnect = Disconnect::default();
                let lives = self.client.config.connect.session_expiry_interval.unwrap_or(0) > 0;
                if v5 && lives && random.chance(30) {
                    disconnect.session_expiry_interval = Some(random.pick(&[0, 5, u32::MAX]));
                }
                self.client.session.disconnect(disconnect, now)
            }
            Side::Server => {
                let disconnect = Disconnect::new(ReasonCode::SERVER_BUSY);
                self.server.session.disconnect(disconnect, now)
            }
        };
        let told = matches!(result, Ok(()) | Err(CommandError::NotConnected));
        ensure!(told, "commands_work", "disconnect: {result:?}");
        Ok(())
    }

    /// Answers one of the messages that wait, whichever.
    pub fn answer_some(&mut self, side: Side, now: Instant, random: &mut Random) -> Check {
        let count = peer!(self, side, peer => peer.todo.len());
        if count > 0 {
            let index = random.index(count);
            self.answer(side, index, now, random);
        }
        self.events(now, random)
    }

    /// The next connection has other limits.
    pub fn vary(&mut self, random: &mut Random) {
        if self.mixes {
            let version = random.pick(&[Version::V311, Version::V5]);
            app::speak(&mut self.client.config, version, self.session_expiry);
        }
        app::vary_client(&mut self.client.config, random);
        let mut config = self.client.config.clone();
        let current = self.client.session.config_mut();
        config.connect.clean_start = current.connect.clean_start;
        *current = config;
    }

    pub fn stall(&mut self, random: &mut Random) {
        if let Some(conn) = &mut self.current {
            let lane = if random.chance(50) { &mut conn.up } else { &mut conn.down };
            lane.stalled = !lane.stalled;
            self.tally.stalls += u64::from(lane.stalled);
        }
    }

    // ---- time and disks ----

    pub fn next_deadline(&self) -> Option<Instant> {
        let all = [self.client.session.poll_timeout(), self.server.session.poll_timeout()];
        let pending = self.pending.as_ref().and_then(Session::poll_timeout);
        all.into_iter().flatten().chain(pending).min()
    }

    pub fn timeout(&mut self, now: Instant, random: &mut Random) -> Check {
        self.client.session.handle_timeout(now);
        self.server.session.handle_timeout(now);
        if let Some(pending) = &mut self.pending {
            pending.handle_timeout(now);
        }
        self.events(now, random)?;
        for side in SIDES {
            self.transmit(side, usize::MAX, now, random)?;
        }
        let next = self.next_deadline();
        ensure!(next.is_none_or(|next| next > now), "deadlines_move_on", "{next:?} at {now:?}");
        Ok(())
    }

    /// Goes on with one disk: makes a write durable, or says what is.
    pub fn sync(&mut self, side: Side, now: Instant, random: &mut Random) -> Result<bool, Fault> {
        let told = random.chance(50);
        let any = peer!(self, side, peer => {
            let synced = peer.disk.sync_one();
            synced | (told && peer.disk.report(&mut peer.session))
        });
        self.events(now, random)?;
        Ok(any)
    }

    fn sync_all(&mut self, now: Instant, random: &mut Random) -> Result<bool, Fault> {
        let mut any = false;
        for side in SIDES {
            any |= peer!(self, side, peer => {
                let mut any = false;
                while peer.disk.sync_one() {
                    any = true;
                }
                any | peer.disk.report(&mut peer.session)
            });
        }
        self.events(now, random)?;
        Ok(any)
    }

    // ---- faults ----

    /// The client's process is gone, and another one begins with what is on disk.
    pub fn crash_client(&mut self, random: &mut Random) -> Check {
        self.tally.crashes += 1;
        if let Some(conn) = &mut self.current {
            conn.client_open = false;
            let kept = random.below(conn.up.in_transit() as u64 + 1) as usize;
            conn.up.cut(kept);
        }
        let peer = &mut self.client;
        self.version = peer.config.version;
        (peer.opened, peer.closed) = (0, 0);
        peer.todo.clear();
        self.client_ended = false;
        if peer.journal {
            let state = read(&mut peer.disk)?;
            self.up.restart(&peer.disk)?;
            self.down.restart_receiver(Some(&peer.disk));
            peer.session = Session::with_state(peer.config.clone(), state);
        } else {
            self.up.abandon();
            self.down.restart_receiver(None);
            // Who has lost the session begins a new one.
            let mut config = peer.config.clone();
            config.connect.clean_start = true;
            peer.session = Session::new(config);
        }
        Ok(())
    }

    /// The server's process is gone: at a crash another one begins with what is on disk.
    pub fn crash_server(&mut self, now: Instant, random: &mut Random) -> Check {
        if self.version == Version::V31 && !self.server.journal {
            // MQTT 3.1 cannot tell the client that its session is lost.
            return self.restart_server(now, random);
        }
        self.tally.crashes += 1;
        self.drop_server_links(now, random);
        let peer = &mut self.server;
        peer.todo.clear();
        if peer.journal {
            let state = read(&mut peer.disk)?;
            self.down.restart(&peer.disk)?;
            self.up.restart_receiver(Some(&peer.disk));
            peer.session = Session::with_state(peer.config.clone(), state);
        } else {
            peer.session = Session::new(peer.config.clone());
            self.up.restart_receiver(None);
            self.forget();
        }
        Ok(())
    }

    /// The server ends in good order, and goes on with the states that it had.
    pub fn restart_server(&mut self, now: Instant, random: &mut Random) -> Check {
        self.tally.restarts += 1;
        self.drop_server_links(now, random);
        let fresh = Session::new(self.server.config.clone());
        let state = std::mem::replace(&mut self.server.session, fresh).into_state();
        self.server.session = Session::with_state(self.server.config.clone(), state);
        Ok(())
    }

    fn drop_server_links(&mut self, now: Instant, random: &mut Random) {
        self.old = None;
        self.pending = None;
        if let Some(conn) = &mut self.current {
            conn.server_open = false;
            let kept = random.below(conn.down.in_transit() as u64 + 1) as usize;
            conn.down.cut(kept);
        }
        self.requests.clear();
        (self.server.opened, self.server.closed) = (0, 0);
        self.record.since = Some(now);
    }

    /// The server drops the session, as an administrator may wish.
    pub fn forget_session(&mut self, now: Instant, random: &mut Random) -> Check {
        if self.version == Version::V31 {
            return Ok(());
        }
        self.drop_server_links(now, random);
        self.server.session = Session::new(self.server.config.clone());
        self.forget();
        Ok(())
    }

    // ---- the oracle's view of the sessions ----

    pub fn bounded(&mut self) -> Check {
        self.up.no_live_identifier_is_reused()?;
        self.down.no_live_identifier_is_reused()?;
        memory_is_bounded(&self.client.session.stats(), &self.client.config.bounds)?;
        memory_is_bounded(&self.server.session.stats(), &self.server.config.bounds)?;
        for side in SIDES {
            let from = if side == Side::Client { Side::Server } else { Side::Client };
            let waiting = self.conn(side).map_or(0, |conn| {
                let lane = if from == Side::Client { &conn.up } else { &conn.down };
                lane.watch.unacknowledged()
            });
            let owed = self.flow(from).held.len() + waiting;
            let holds = peer!(self, side, peer => peer.session.stats()).unfinished_inbound;
            ensure!(holds <= owed, "memory_is_bounded", "{side:?} inbound: {holds}, owed {owed}");
        }
        closed_once(&self.client)?;
        closed_once(&self.server)
    }

    /// Goes on without any fault; tells whether anything happened.
    pub fn settle(&mut self, now: Instant, random: &mut Random) -> Result<bool, Fault> {
        let mut any = false;
        if !self.is_open(Side::Client) {
            self.open(now, random)?;
            any = true;
        }
        if let Some(conn) = &mut self.current {
            conn.up.stalled = false;
            conn.down.stalled = false;
        }
        for side in SIDES {
            any |= self.transmit(side, usize::MAX, now, random)?;
            let other = if side == Side::Client { Side::Server } else { Side::Client };
            any |= self.deliver(other, usize::MAX, now, random)?;
            while peer!(self, side, peer => !peer.todo.is_empty()) {
                peer!(self, side, peer => peer.todo[0].refuse = false);
                self.answer(side, 0, now, random);
                any = true;
            }
        }
        while !self.requests.is_empty() {
            self.grant(random)?;
            any = true;
        }
        any |= self.sync_all(now, random)?;
        Ok(any)
    }

    pub fn is_at_rest(&self) -> bool {
        self.client.session.is_idle()
            && self.server.session.is_idle()
            && self.client.session.phase() == Phase::Connected
            && self.server.session.phase() == Phase::Connected
            && self.pending.is_none()
    }

    /// Nothing is left anywhere.
    pub fn at_rest(&self) -> Check {
        self.up.at_rest()?;
        self.down.at_rest()?;
        let sides = [
            (self.client.session.stats(), &self.client.disk, &self.up, &self.down),
            (self.server.session.stats(), &self.server.disk, &self.down, &self.up),
        ];
        for (stats, disk, own, other) in sides {
            // What was refused may be forgotten before PUBREC has left.
            let refused = other.held.values().filter(|held| held.answer == Some(true)).count();
            let (given_up, held) = (own.ids.len(), other.held.len());
            let kept = (held - refused..=held).contains(&stats.unfinished_inbound);
            let told = kept && stats.given_up == given_up;
            ensure!(told, "nothing_is_held_at_rest", "{stats:?}, {given_up} given up, {held} held");
            let rest = (stats.queued, stats.in_flight, stats.held_bytes, stats.requests);
            ensure!(rest == (0, 0, 0, 0), "nothing_is_held_at_rest", "{stats:?}");
            for (key, record) in disk.records() {
                let kept = match key {
                    StoreKey::Outbound(_) => is_given_up(&record),
                    StoreKey::Inbound(id) => other.held.contains_key(&id),
                };
                ensure!(kept, "no_record_is_left_at_rest", "client {} {key:?}", self.name);
            }
        }
        Ok(())
    }
}

/// Whether the record is of a message that is not there any more.
fn is_given_up(record: &Bytes) -> bool {
    match codec::decode(record, Version::V5) {
        Ok(Packet::PubRel(ack) | Packet::PubComp(ack)) => ack.reason.is_error(),
        _ => false,
    }
}

fn read(disk: &mut Disk) -> Result<mqtt_proto::SessionState, Fault> {
    let rule = "records_make_a_state";
    let state = disk.crash().map_err(|error| Fault { rule, detail: error.to_string() })?;
    let stored = disk.records().filter_map(|(key, record)| match key {
        StoreKey::Outbound(token) => Some(token).filter(|_| !is_given_up(&record)),
        StoreKey::Inbound(_) => None,
    });
    ensure!(stored.eq(state.tokens()), rule, "{:?}", state.tokens());
    Ok(state)
}

fn closed_once<R: Role>(peer: &Peer<R>) -> Check {
    let open = u64::from(peer.session.phase() != Phase::Closed);
    let (opened, closed) = (peer.opened, peer.closed);
    ensure!(opened == closed + open, "closed_comes_once", "{opened} {closed} {open}");
    Ok(())
}
