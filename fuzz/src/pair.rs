//! A client session and a server session, with a wire between them and an application above each.

use std::time::Duration;

use mqtt_proto::{
    Accept, Client, CloseReason, CommandError, ConnAck, Disconnect, Event, Instant, Phase,
    PublishError, QoS, ReasonCode, RequestId, Role, Server, Session, SessionState, Subscribe,
    Subscription, TopicFilter, Unsubscribe, Version,
};

use crate::held::{at_rest, within};
use crate::model::Messages;
use crate::operation::{FromClient, Operation};
use crate::setup::{Setup, packet_size};
use crate::side::Side;

pub struct Pair {
    setup: Setup,
    now: Instant,
    client: Side<Client>,
    server: Side<Server>,
    messages: Messages,
    /// The state that the server's application holds from the transport's opening to its accepting.
    stored: Option<SessionState>,
    /// Whether there has been a session.
    known: bool,
    /// What the server's application does with it.
    forget: bool,
    /// Whether the last CONNECT has asked for a new one.
    clean: bool,
    /// Whether the server has lost the session and the client has not been told. Then identifiers of the
    /// old session meet those of the new one, and no client can tell them apart.
    unaware: bool,
    /// SUBSCRIBE and UNSUBSCRIBE that came, and how many filters they have.
    requests: Vec<(RequestId, usize)>,
    link: u32,
    /// The version of this connection; CONNECT of the next may be of another one.
    version: Version,
    /// The Receive Maximums of this connection: the client's and the server's.
    quotas: (u16, u16),
    /// The Maximum Packet Sizes of this connection: the client's and the server's.
    sizes: (u32, u32),
    /// What the next CONNACK says.
    connack: ConnAck,
}

impl Pair {
    pub fn new(mut setup: Setup) -> Pair {
        // It is told with CONNACK; a client of MQTT 3.x is not held to it.
        let maximum_packet_size = std::mem::replace(&mut setup.server.maximum_packet_size, 1 << 20);
        let client = Session::new(setup.client.clone());
        let server = Session::new(setup.server.clone());
        Pair {
            now: Instant::from_epoch(Duration::from_secs(1000)),
            client: Side::new(client, setup.full_from, setup.client.journal),
            server: Side::new(server, setup.full_from, setup.server.journal),
            messages: Messages::default(),
            stored: None,
            known: false,
            forget: false,
            clean: false,
            unaware: false,
            requests: Vec::new(),
            link: 0,
            version: setup.client.version,
            quotas: (0, 0),
            sizes: (0, 0),
            connack: ConnAck {
                receive_maximum: Some(setup.server.receive_maximum),
                maximum_packet_size: Some(maximum_packet_size),
                ..ConnAck::default()
            },
            setup,
        }
    }

    /// Lets something happen, and looks whether all is well.
    pub fn apply(&mut self, operation: Operation) {
        let now = self.now;
        match operation {
            Operation::Publish { from, qos, topic, alias, len, expiry } => {
                self.publish(from, qos, topic, alias, len, expiry);
            }
            Operation::Ack { by, which, error } => {
                let reason = if error { ReasonCode::QUOTA_EXCEEDED } else { ReasonCode::SUCCESS };
                let acks = if by { &self.client.acks } else { &self.server.acks };
                if !acks.is_empty() {
                    self.ack(by, usize::from(which) % acks.len(), reason);
                }
            }
            Operation::Cancel { by: true, which } => {
                cancel(&mut self.client, which, &mut self.messages)
            }
            Operation::Cancel { by: false, which } => {
                if !self.is_away() {
                    cancel(&mut self.server, which, &mut self.messages);
                }
            }
            Operation::Subscribe { filters } => {
                let filter = |name| Subscription {
                    filter: TopicFilter::new(format!("{name}/+")).expect("a filter"),
                    options: QoS::ExactlyOnce.into(),
                };
                let subscriptions = (0..filters).map(filter).collect();
                let subscribe = Subscribe { subscriptions, ..Subscribe::default() };
                let result = self.client.session.subscribe(subscribe);
                self.requested(result);
            }
            Operation::Unsubscribe { filters } => {
                let filter = |name| TopicFilter::new(format!("{name}/+")).expect("a filter");
                let filters = (0..filters).map(filter).collect();
                let unsubscribe = Unsubscribe { filters, ..Unsubscribe::default() };
                let result = self.client.session.unsubscribe(unsubscribe);
                self.requested(result);
            }
            Operation::Grant { which, error, wrong } => {
                if !self.requests.is_empty() {
                    let (request, filters) =
                        self.requests[usize::from(which) % self.requests.len()];
                    let reason =
                        if error { ReasonCode::UNSPECIFIED_ERROR } else { ReasonCode::SUCCESS };
                    // Any request, also one that has its answer or whose connection is gone.
                    let count = filters + usize::from(wrong);
                    let _ = self.server.session.grant(request, vec![reason; count]);
                }
            }
            Operation::Cut => self.cut(),
            Operation::Open => self.open(),
            Operation::Advance(time) => {
                self.now = now + time;
                self.client.session.handle_timeout(self.now);
                self.server.session.handle_timeout(self.now);
            }
            Operation::Deliver { from, bytes } => {
                self.deliver(from, bytes);
            }
            Operation::Disconnect { by: true } => {
                let _ = self.client.session.disconnect(Disconnect::default(), now);
            }
            Operation::Disconnect { by: false } => {
                let _ = self.server.session.disconnect(Disconnect::default(), now);
            }
            Operation::Accept => self.accept(),
            Operation::Refuse => {
                let connack = ConnAck::new(ReasonCode::SERVER_UNAVAILABLE);
                let waits = self.server.session.phase() == Phase::Accepting;
                assert_eq!(self.server.session.refuse(connack, now).is_ok(), waits);
            }
            Operation::Sync { by: true, writes } => {
                self.client.sync(writes);
            }
            Operation::Sync { by: false, writes } => {
                if !self.is_away() {
                    self.server.sync(writes);
                }
            }
            // CONNACK of MQTT 3.1 cannot say that the session is gone.
            Operation::Forget => self.forget |= self.setup.client.version != Version::V31,
            Operation::Change { client, server, aliases, clean } => {
                self.connack.receive_maximum = Some(server);
                self.connack.topic_alias_maximum = Some(aliases);
                let config = self.client.session.config_mut();
                // Only these versions say what became of the session.
                if config.version != Version::V31 {
                    config.connect.clean_start = clean;
                }
                if config.version.is_v5() {
                    config.connect.receive_maximum = Some(client);
                    config.connect.topic_alias_maximum = Some(aliases);
                }
            }
            Operation::Narrow { client, server, maximum_qos, version } => {
                self.narrow(client, server, maximum_qos, version);
            }
            Operation::Settle => {
                self.settle();
            }
        }
        self.poll();
        self.check();
    }

    /// Lets everything come to its end, and looks whether nothing is left.
    pub fn rest(mut self) {
        self.client.session.config_mut().adopt_session = true;
        (self.setup.accepts, self.setup.acks) = (true, true);
        if self.unaware {
            self.forget = true;
            self.open();
        }
        let mut rounds = 0;
        loop {
            rounds += 1;
            assert!(rounds < 1000, "it does not come to rest");
            if self.client.is_closed() || self.server.is_closed() {
                self.open();
            }
            self.accept();
            for index in 0..self.client.acks.len() {
                self.ack(true, index, ReasonCode::SUCCESS);
            }
            for index in 0..self.server.acks.len() {
                self.ack(false, index, ReasonCode::SUCCESS);
            }
            for (request, filters) in &self.requests {
                let reasons = vec![ReasonCode::SUCCESS; *filters];
                let _ = self.server.session.grant(*request, reasons);
            }
            let moved = self.settle();
            self.check();
            let connected = self.client.session.phase() == Phase::Connected
                && self.server.session.phase() == Phase::Connected;
            if connected && !moved {
                break;
            }
        }
        self.messages.at_rest();
        at_rest(&self.client, self.messages.kept(true), self.messages.kept(false));
        at_rest(&self.server, self.messages.kept(false), self.messages.kept(true));
    }

    fn narrow(&mut self, client: u8, server: u8, maximum_qos: QoS, other_version: bool) {
        self.connack.maximum_packet_size = Some(packet_size(server));
        self.connack.maximum_qos = Some(maximum_qos).filter(|qos| *qos != QoS::ExactlyOnce);
        let config = self.client.session.config_mut();
        let next = match config.version {
            Version::V5 if other_version => Version::V311,
            Version::V311 if other_version => Version::V5,
            version => version,
        };
        config.version = next;
        let connect = &mut config.connect;
        if next.is_v5() {
            let as_before = &self.setup.client.connect;
            connect.session_expiry_interval = as_before.session_expiry_interval;
            connect.maximum_packet_size = Some(packet_size(client));
        } else {
            connect.session_expiry_interval = None;
            connect.maximum_packet_size = None;
            connect.receive_maximum = None;
            connect.topic_alias_maximum = None;
        }
    }

    /// Whether the server's session is not the one that its application holds.
    fn is_away(&self) -> bool {
        self.stored.is_some() || !self.known
    }

    fn publish(
        &mut self,
        from: FromClient,
        qos: QoS,
        topic: u8,
        alias: u8,
        len: u8,
        expiry: Option<u32>,
    ) {
        if !from && self.is_away() {
            return;
        }
        let mut publish = self.messages.compose(qos, topic, len);
        if let Some(seconds) = expiry {
            publish.properties.edit().message_expiry_interval = Some(seconds);
        }
        if alias > 0 && self.version.is_v5() {
            publish.properties.edit().topic_alias = Some(alias.into());
        }
        let size = publish.topic.as_bytes().len() + publish.payload.len();
        let (result, stats, bounds) = if from {
            let stats = self.client.session.stats();
            (self.client.session.publish(publish, self.now), stats, self.setup.client.bounds)
        } else {
            let stats = self.server.session.stats();
            (self.server.session.publish(publish, self.now), stats, self.setup.server.bounds)
        };
        let held = stats.queued + stats.in_flight;
        let room = held == 0 || (held < bounds.messages && stats.held_bytes + size <= bounds.bytes);
        match result {
            Ok(token) => {
                assert!(room, "beyond the bounds: {stats:?}");
                let number = self.messages.accepted(from, qos, topic, self.unaware);
                let open = if from { &mut self.client.open } else { &mut self.server.open };
                assert_eq!(open.insert(token, Some(number)), None, "a token is never used twice");
            }
            Err(PublishError::Full(_)) => {
                assert!(!room, "there is room: {stats:?}");
                *(if from { &mut self.client.full } else { &mut self.server.full }) = true;
            }
            Err(PublishError::Invalid(error)) => panic!("{error}"),
            Err(_) => {}
        }
    }

    fn ack(&mut self, by: FromClient, index: usize, reason: ReasonCode) {
        let (ack, number) = if by { self.client.acks[index] } else { self.server.acks[index] };
        self.messages.answered(number, reason.is_error());
        if by {
            self.client.session.ack(ack, reason);
        } else {
            self.server.session.ack(ack, reason);
        }
    }

    fn requested(&mut self, result: Result<mqtt_proto::Token, CommandError>) {
        match result {
            Ok(token) => {
                assert_eq!(self.client.open.insert(token, None), None, "used once");
            }
            Err(CommandError::Invalid(error)) => panic!("{error}"),
            Err(_) => {}
        }
    }

    /// Opens the transport for both sides; the server gets a new session, as brokers make them.
    fn open(&mut self) {
        self.cut();
        self.poll();
        self.link += 1;
        let server = Session::new(self.setup.server.clone());
        let old = std::mem::replace(&mut self.server.session, server);
        if !self.is_away() {
            self.stored = Some(old.into_state());
        }
        self.server.full = false;
        let connect = &self.client.session.config().connect;
        self.quotas.0 = connect.receive_maximum.unwrap_or(u16::MAX);
        self.sizes.0 = connect.maximum_packet_size.unwrap_or(u32::MAX);
        self.version = self.client.session.config().version;
        self.client.open(self.now);
        self.server.open(self.now);
    }

    fn cut(&mut self) {
        self.client.eof(self.now);
        self.server.eof(self.now);
    }

    fn accept(&mut self) {
        if self.server.session.phase() != Phase::Accepting {
            return;
        }
        let state = self.stored.take().filter(|_| !self.forget);
        if self.known && (state.is_none() || self.clean) {
            for number in self.server.forget() {
                self.messages.dropped(number);
            }
            self.requests.clear();
            self.messages.lose();
            self.unaware = true;
        }
        self.forget = false;
        self.quotas.1 = self.connack.receive_maximum.unwrap_or(u16::MAX);
        self.sizes.1 = self.connack.maximum_packet_size.unwrap_or(u32::MAX);
        let accept = Accept { connack: self.connack.clone(), state };
        self.server.session.accept(accept, self.now).expect("it waits to be accepted");
        self.known = true;
        self.server.session.handle_input(&mut self.server.arrived, self.now);
    }

    /// Carries bytes to the other side; tells whether anything happened.
    fn deliver(&mut self, from: FromClient, bytes: usize) -> bool {
        let Setup { client, server, .. } = &self.setup;
        let version = self.version;
        let (taken, packets) = match from {
            true => self.client.take(bytes, &[version]),
            false => self.server.take(bytes, &[version]),
        };
        let (in_flight, quota, limit) = match from {
            true => (client.max_in_flight, self.quotas.1, self.sizes.1),
            false => (server.max_in_flight, self.quotas.0, self.sizes.0),
        };
        let v5 = version.is_v5();
        let quota = if v5 { in_flight.min(quota) } else { in_flight };
        for (len, packet) in packets {
            let first = matches!(packet, mqtt_proto::Packet::Connect(_));
            assert!(!v5 || first || len <= limit as usize, "{len} bytes: {packet:?}");
            let number = self.messages.seen(from, &packet, self.link, quota);
            if from {
                self.client.check_stored(&packet, number);
            } else {
                self.server.check_stored(&packet, number);
            }
        }
        let now = self.now;
        if from {
            carry(
                &taken,
                &mut self.server,
                self.client.is_closed() && self.client.out.is_empty(),
                now,
            )
        } else {
            carry(
                &taken,
                &mut self.client,
                self.server.is_closed() && self.server.out.is_empty(),
                now,
            )
        }
    }

    /// Goes on until nothing moves any more; tells whether anything did.
    fn settle(&mut self) -> bool {
        let mut turns = 0;
        self.poll();
        loop {
            let mut moved = self.client.sync(usize::MAX);
            moved |= !self.is_away() && self.server.sync(usize::MAX);
            moved |= self.poll();
            moved |= self.deliver(true, usize::MAX);
            moved |= self.poll();
            moved |= self.deliver(false, usize::MAX);
            moved |= self.poll();
            if !moved {
                return turns > 0;
            }
            turns += 1;
            assert!(turns < 10_000, "the two never stop talking");
        }
    }

    /// Polls both sides until they have nothing more; tells whether they had anything.
    fn poll(&mut self) -> bool {
        let mut rounds = 0;
        loop {
            let of_client = self.client.poll(self.now);
            let of_server = self.server.poll(self.now);
            let mut any = !of_client.is_empty() || !of_server.is_empty();
            of_client.into_iter().for_each(|event| self.client_event(event));
            of_server.into_iter().for_each(|event| self.server_event(event));
            let is_due = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= self.now);
            if is_due(self.client.session.poll_timeout()) {
                self.client.session.handle_timeout(self.now);
                any = true;
            }
            if is_due(self.server.session.poll_timeout()) {
                self.server.session.handle_timeout(self.now);
                any = true;
            }
            if !any {
                return rounds > 0;
            }
            rounds += 1;
            assert!(rounds < 100, "polling never ends, or a deadline stays due");
        }
    }

    fn client_event(&mut self, event: Event) {
        match event {
            Event::Connected { resumed, .. } => {
                let goes_on = match self.version {
                    Version::V31 => !self.clean,
                    _ => resumed,
                };
                if !goes_on && self.unaware {
                    self.messages.lose_of_client();
                    self.unaware = false;
                }
                if !goes_on {
                    self.client.given_up.clear();
                }
            }
            event => {
                let ack = common(&mut self.client, true, &mut self.messages, event);
                if ack && self.setup.acks {
                    self.ack(true, self.client.acks.len() - 1, ReasonCode::SUCCESS);
                }
            }
        }
    }

    fn server_event(&mut self, event: Event) {
        match event {
            Event::Connect(connect) => {
                self.clean = connect.clean_start;
                if self.setup.accepts {
                    self.accept();
                }
            }
            Event::Subscribe(request, subscribe) => {
                self.asked(request, subscribe.subscriptions.len());
            }
            Event::Unsubscribe(request, unsubscribe) => {
                self.asked(request, unsubscribe.filters.len());
            }
            event => {
                let ack = common(&mut self.server, false, &mut self.messages, event);
                if ack && self.setup.acks {
                    self.ack(false, self.server.acks.len() - 1, ReasonCode::SUCCESS);
                }
            }
        }
    }

    fn asked(&mut self, request: RequestId, filters: usize) {
        self.requests.push((request, filters));
        if self.setup.acks {
            let _ = self.server.session.grant(request, vec![ReasonCode::SUCCESS; filters]);
        }
    }

    /// What is held is what has no outcome, and within the bounds.
    fn check(&self) {
        let Setup { client, server, .. } = &self.setup;
        within(&self.client, client.bounds, &self.messages);
        if !self.is_away() {
            within(&self.server, server.bounds, &self.messages);
        }
    }
}

fn cancel<R: Role>(side: &mut Side<R>, which: u8, messages: &mut Messages) {
    let open = side.open.len();
    let Some((&token, &command)) = side.open.iter().nth(usize::from(which) % open.max(1)) else {
        return;
    };
    if side.session.cancel(token).is_some() {
        messages.cancelled(command.expect("a request cannot be taken back"));
        side.open.remove(&token);
        side.cancelled.push(token);
    }
}

/// Hands bytes to a session, and the end of the transport once the other side is done with it.
fn carry<R: Role>(bytes: &[u8], to: &mut Side<R>, ended: bool, now: Instant) -> bool {
    if to.is_closed() {
        return !bytes.is_empty();
    }
    to.arrived.extend_from_slice(bytes);
    to.session.handle_input(&mut to.arrived, now);
    if ended {
        to.session.handle_eof(now);
    }
    ended || !bytes.is_empty()
}

/// Deals with what happens on either side; tells whether there is something new to acknowledge.
fn common<R: Role>(
    side: &mut Side<R>,
    from: FromClient,
    messages: &mut Messages,
    event: Event,
) -> bool {
    match event {
        Event::Message(message) => {
            let number = messages.delivered(!from, &message.publish);
            assert_eq!(message.ack.is_some(), message.publish.qos() != QoS::AtMostOnce);
            side.acks.extend(message.ack.map(|ack| (ack, number)));
            return message.ack.is_some();
        }
        Event::Received { token, .. } => {
            let number = side.open.get(&token).copied().flatten();
            messages.received(number.expect("a message under way"));
        }
        Event::Published { token, .. } => {
            messages.published(side.end(token).expect("not of a request"));
        }
        Event::Subscribed { token, .. } | Event::Unsubscribed { token, .. } => {
            assert_eq!(side.end(token), None, "not of a message");
        }
        Event::Failed { token, error } => {
            if let Some(number) = side.end(token)
                && messages.failed(number, &error)
            {
                side.given_up.insert(token);
            }
        }
        Event::Writable => assert!(std::mem::take(&mut side.full), "nothing was handed back"),
        Event::Closed { reason, .. } => {
            let ours = matches!(reason, CloseReason::Peer(_) | CloseReason::Local(_));
            assert!(!ours, "both sides are ours: {reason}");
        }
        _ => {}
    }
    false
}
