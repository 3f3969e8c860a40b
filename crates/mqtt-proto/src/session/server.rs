//! The server's side of a session.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytes::{Bytes, BytesMut};

use super::config::ServerConfig;
use super::core::{Core, Logic, SessionState, Settings, protocol};
use super::error::{CloseReason, CommandError, PeerError, Timeout};
use super::event::Event;
use super::limits::Limits;
use super::link::{Phase, Reply};
use super::role::Role;
use super::store::StoreSeq;
use super::timers::Timer;
use crate::codec;
use crate::error::DecodeCause;
use crate::packet::{AckProperties, Auth, ConnAck, Connect, Disconnect, Packet, SubAck, UnsubAck};
use crate::reason::ReasonCode;
use crate::text::Text;
use crate::time::Instant;
use crate::types::{PacketId, PacketType, QoS, RequestId, Version};

/// The role of a server: it accepts connections and grants subscriptions.
///
/// It does not route messages: that is a broker's work, which stands above this.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    /// What the client asked for; kept for as long as the connection.
    connect: Option<Box<Connect>>,
    /// What CONNACK has told the client.
    announced: Limits,
}

/// How a connection is accepted.
#[derive(Debug, Default)]
pub struct Accept {
    /// What to say to the client.
    ///
    /// `session_present` and `reason` are filled in, and so are the limits of the configuration that
    /// are `None` here. In MQTT 3.x the properties are left out.
    pub connack: ConnAck,
    /// The session to go on with, or `None` for a new one. It is dropped if the client wants a clean
    /// start.
    pub state: Option<SessionState>,
}

/// Tells why a connection was not accepted; it waits for an answer as before.
///
/// It is no `Clone`, as there is only one of a session.
#[derive(Debug)]
#[non_exhaustive]
pub struct AcceptError {
    /// Why.
    pub error: CommandError,
    /// The session that was to go on: it is as it was.
    pub state: Option<Box<SessionState>>,
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the connection was not accepted: {}", self.error)
    }
}

impl core::error::Error for AcceptError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl Server {
    pub(super) fn accept(
        &mut self,
        core: &mut Core,
        accept: Accept,
        now: Instant,
    ) -> Result<(), AcceptError> {
        let Accept { connack, state } = accept;
        match self.answer(core, connack, state.is_some()) {
            Ok(connack) => {
                self.establish(core, connack, state, now);
                Ok(())
            }
            Err(error) => Err(AcceptError { error, state: state.map(Box::new) }),
        }
    }

    /// Makes the CONNACK that accepts the connection.
    fn answer(
        &self,
        core: &Core,
        connack: ConnAck,
        has_state: bool,
    ) -> Result<ConnAck, CommandError> {
        let (Phase::Accepting, Some(connect)) = (core.phase(), &self.connect) else {
            return Err(CommandError::Unexpected("no connection waits to be accepted"));
        };
        let version = core.link().map_or(Version::V5, |link| link.version);
        let session_present = has_state && !connect.clean_start;
        let connack = self.connack(core, connect, connack, session_present, version)?;
        let maximum_qos = connack.maximum_qos.unwrap_or(QoS::ExactlyOnce);
        let retain_available = connack.retain_available.unwrap_or(true);
        match lacks_for_will(connect, maximum_qos, retain_available) {
            Some((rule, _)) => Err(CommandError::Unexpected(rule)),
            None => Ok(connack),
        }
    }

    fn establish(
        &mut self,
        core: &mut Core,
        connack: ConnAck,
        state: Option<SessionState>,
        now: Instant,
    ) {
        let Some(connect) = &self.connect else { return };
        let version = core.link().map_or(Version::V5, |link| link.version);
        let state = state.filter(|_| !connect.clean_start);
        let mut limits = Limits::of_client(connect, self.config.max_in_flight);
        let keep_alive = connack.server_keep_alive.unwrap_or(connect.keep_alive);
        let receive_maximum = match version {
            Version::V5 => connack.receive_maximum.unwrap_or(u16::MAX).into(),
            // As many as there are Packet Identifiers.
            _ => u16::MAX.into(),
        };
        if let Some(size) = connack.maximum_packet_size {
            core.settings.maximum_packet_size = size;
        }
        self.announced = Limits::of_server(&connack, u16::MAX);
        core.settings.maximum_qos = self.announced.maximum_qos;
        core.settings.retain_available = self.announced.retain_available;
        // What the server itself cannot do, it does not send either.
        limits.maximum_qos = QoS::ExactlyOnce;
        if let Some(link) = core.link_mut() {
            // One and a half times the Keep Alive: section 3.1.2.10.
            link.keep_alive = Duration::from_secs(keep_alive.into()) * 3 / 2;
            link.problem_information = connect.request_problem_information.unwrap_or(true);
            link.drops_properties = true;
            link.alias_maximum = connack.topic_alias_maximum.unwrap_or(0);
            link.handshake.push_back(Packet::ConnAck(Box::new(connack)));
        }
        core.set_state(state);
        if let Some(connection) = core.connection_mut() {
            connection.will = connect.will.clone().map(Box::new);
        }
        core.establish(limits, receive_maximum, now);
    }

    pub(super) fn refuse(core: &mut Core, connack: ConnAck) -> Result<(), CommandError> {
        let Some(link) = core.link().filter(|link| link.phase == Phase::Accepting) else {
            return Err(CommandError::Unexpected("no connection waits to be refused"));
        };
        if !connack.reason.is_error() {
            return Err(CommandError::Unexpected("a refusal needs an error for its reason"));
        }
        let connack = ConnAck { session_present: false, ..connack };
        let last = match link.version {
            Version::V5 => {
                codec::encoded_len(&Packet::ConnAck(Box::new(connack.clone())), Version::V5)?;
                Some(connack.clone())
            }
            _ => connack.reason.to_return_code().map(|_| ConnAck::new(connack.reason)),
        };
        let last = last.map(|connack| Packet::ConnAck(Box::new(connack)));
        core.end_with(CloseReason::Refused(Box::new(connack)), last);
        Ok(())
    }

    pub(super) fn grant(
        core: &mut Core,
        request: RequestId,
        reasons: Vec<ReasonCode>,
        properties: AckProperties,
    ) -> Result<(), CommandError> {
        let Some(link) = core.link_mut().filter(|link| link.number == request.link) else {
            return Ok(());
        };
        let open = link.requests.iter().position(|(id, ..)| *id == request.packet_id);
        let Some((at, (packet_id, packet, filters))) =
            open.and_then(|at| link.requests.get(at).map(|request| (at, *request)))
        else {
            return Err(CommandError::Unexpected("this request has its answer"));
        };
        if filters != reasons.len() {
            let rule = "an answer needs one reason code for each filter";
            return Err(CommandError::Unexpected(rule));
        }
        let v5 = link.version.is_v5();
        let properties = if v5 { properties } else { AckProperties::NONE };
        let answer = if packet == PacketType::Subscribe {
            let told = |code: ReasonCode| match v5 {
                false if code.is_error() => ReasonCode::UNSPECIFIED_ERROR,
                _ => code,
            };
            let reasons = reasons.into_iter().map(told).collect();
            Packet::SubAck(SubAck { packet_id, reasons, properties })
        } else {
            let reasons = if v5 { reasons } else { Vec::new() };
            Packet::UnsubAck(UnsubAck { packet_id, reasons, properties })
        };
        codec::encoded_len(&answer, link.version)?;
        link.requests.swap_remove(at);
        if link.requests.is_empty() {
            link.requests.shrink_to(4);
        }
        link.replies.push_back((StoreSeq::default(), Reply::Packet(Box::new(answer))));
        Ok(())
    }
}

/// Returns what the Will needs and the server does not have (MQTT-3.2.2-12, -13).
fn lacks_for_will(
    connect: &Connect,
    maximum_qos: QoS,
    retain_available: bool,
) -> Option<(&'static str, ReasonCode)> {
    let will = connect.will.as_ref()?;
    if will.qos > maximum_qos {
        Some(("the Will QoS is above the Maximum QoS", ReasonCode::QOS_NOT_SUPPORTED))
    } else if will.retain && !retain_available {
        Some((
            "Will Retain is set although Retain Available is 0",
            ReasonCode::RETAIN_NOT_SUPPORTED,
        ))
    } else {
        None
    }
}

impl Role for Server {
    type Config = ServerConfig;

    fn new(config: ServerConfig) -> (Server, Settings) {
        let settings = Settings {
            bounds: config.bounds,
            maximum_packet_size: config.maximum_packet_size,
            version: None,
            ping_timeout: None,
            write_timeout: config.write_timeout,
            topic_aliases: config.topic_aliases,
            journal: config.journal,
            first_packet_id: PacketId::MIN,
            maximum_qos: config.maximum_qos,
            retain_available: config.retain_available,
        };
        let announced = Limits::widest(u16::MAX);
        (Server { config, connect: None, announced }, settings)
    }
}

impl Server {
    /// Fills in what the application has left to the configuration.
    fn connack(
        &self,
        core: &Core,
        connect: &Connect,
        connack: ConnAck,
        session_present: bool,
        version: Version,
    ) -> Result<ConnAck, CommandError> {
        if !version.is_v5() {
            let session_present = session_present && version == Version::V311;
            return Ok(ConnAck { session_present, ..ConnAck::new(ReasonCode::SUCCESS) });
        }
        if connect.client_id.is_empty() && connack.assigned_client_identifier.is_none() {
            let rule = "a client without an identifier has to get one: Assigned Client Identifier";
            return Err(CommandError::Unexpected(rule));
        }
        if connack.authentication_method != connect.authentication_method {
            let rule = "the Authentication Method has to be that of CONNECT";
            return Err(CommandError::Unexpected(rule));
        }
        let config = &self.config;
        // What is as it is without the property is not said.
        let unless = |there: bool| (!there).then_some(false);
        let maximum_qos = Some(config.maximum_qos).filter(|qos| *qos != QoS::ExactlyOnce);
        let aliases = Some(config.topic_alias_maximum).filter(|maximum| *maximum > 0);
        let wanted = connect.request_response_information == Some(true);
        let connack = ConnAck {
            session_present,
            reason: ReasonCode::SUCCESS,
            receive_maximum: connack.receive_maximum.or(Some(config.receive_maximum)),
            maximum_packet_size: connack.maximum_packet_size.or(Some(config.maximum_packet_size)),
            topic_alias_maximum: connack.topic_alias_maximum.or(aliases),
            maximum_qos: connack.maximum_qos.or(maximum_qos),
            retain_available: connack.retain_available.or(unless(config.retain_available)),
            wildcard_subscription_available: connack
                .wildcard_subscription_available
                .or(unless(config.wildcard_subscription_available)),
            subscription_identifier_available: connack
                .subscription_identifier_available
                .or(unless(config.subscription_identifier_available)),
            shared_subscription_available: connack
                .shared_subscription_available
                .or(unless(config.shared_subscription_available)),
            // Only on request: MQTT-3.1.2-28.
            response_information: connack.response_information.filter(|_| wanted),
            ..connack
        };
        match core.fit(Packet::ConnAck(Box::new(connack)))? {
            Packet::ConnAck(connack) => Ok(*connack),
            _ => Err(CommandError::Unexpected("this is no CONNACK")),
        }
    }

    /// Handles the CONNECT, which has to be the first packet.
    fn connect(&mut self, core: &mut Core, connect: Box<Connect>, version: Version) {
        let (qos, retain) = (self.config.maximum_qos, self.config.retain_available);
        if version.is_v5()
            && let Some((rule, reason)) = lacks_for_will(&connect, qos, retain)
        {
            let error = protocol(PacketType::Connect, rule, reason);
            return Server::reject(core, error, version);
        }
        if let Some(link) = core.link_mut() {
            link.version = version;
            link.phase = Phase::Accepting;
            link.limits = Limits::of_client(&connect, self.config.max_in_flight);
            link.timers.stop(Timer::Connect);
        }
        core.event(Event::Connect(connect.clone()));
        self.connect = Some(connect);
    }

    /// Says why a CONNECT cannot be taken, in the words of the version that it is likely to know.
    fn reject(core: &mut Core, error: PeerError, version: Version) {
        let connack = ConnAck::new(error.reason());
        let says = version.is_v5() || connack.reason.to_return_code().is_some();
        if let Some(link) = core.link_mut() {
            link.version = version;
        }
        let last = says.then(|| Packet::ConnAck(Box::new(connack)));
        core.end_with(CloseReason::Peer(error), last);
    }

    fn request(
        core: &mut Core,
        id: PacketId,
        packet: PacketType,
        filters: usize,
    ) -> Option<RequestId> {
        let link = core.link_mut()?;
        link.requests.push((id, packet, filters));
        Some(RequestId { link: link.number, packet_id: id })
    }

    /// Checks a SUBSCRIBE against what CONNACK has announced: MQTT 5.0 section 3.2.2.3.
    fn check_subscribe(&self, subscribe: &crate::packet::Subscribe) -> Result<(), PeerError> {
        let broken = |rule, reason| Err(protocol(PacketType::Subscribe, rule, reason));
        let announced = &self.announced;
        let mut filters = subscribe.subscriptions.iter().map(|subscription| &subscription.filter);
        if !announced.subscription_identifier_available
            && subscribe.subscription_identifier.is_some()
        {
            let rule = "subscription identifiers are not available";
            return broken(rule, ReasonCode::SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED);
        }
        if !announced.shared_subscription_available && filters.clone().any(|f| f.is_shared()) {
            let rule = "shared subscriptions are not available";
            return broken(rule, ReasonCode::SHARED_SUBSCRIPTIONS_NOT_SUPPORTED);
        }
        if !announced.wildcard_subscription_available && filters.any(|f| f.has_wildcards()) {
            let rule = "wildcard subscriptions are not available";
            return broken(rule, ReasonCode::WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED);
        }
        Ok(())
    }

    fn disconnected(&mut self, core: &mut Core, disconnect: Disconnect) -> Result<(), PeerError> {
        let connect = self.connect.as_ref();
        let never = connect.and_then(|connect| connect.session_expiry_interval).unwrap_or(0) == 0;
        if never && disconnect.session_expiry_interval.is_some_and(|seconds| seconds > 0) {
            let rule = "a Session Expiry Interval above 0 follows one of 0 in CONNECT";
            return Err(protocol(PacketType::Disconnect, rule, ReasonCode::PROTOCOL_ERROR));
        }
        if disconnect.reason == ReasonCode::SUCCESS
            && let Some(connection) = core.connection_mut()
        {
            connection.will = None;
        }
        core.end(CloseReason::Disconnected(Box::new(disconnect)));
        Ok(())
    }

    /// Handles what a client sends while the authentication goes on and CONNACK has not been sent.
    fn step(&mut self, core: &mut Core, packet: Packet) -> Result<(), PeerError> {
        let broken = |packet, rule| Err(protocol(packet, rule, ReasonCode::PROTOCOL_ERROR));
        match packet {
            Packet::Auth(auth) => {
                if let Err(rule) = self.check_auth(auth.authentication_method.as_ref()) {
                    return broken(PacketType::Auth, rule);
                }
                if auth.reason != ReasonCode::CONTINUE_AUTHENTICATION {
                    return broken(PacketType::Auth, "a client sends only Continue before CONNACK");
                }
                if let Some(link) = core.link_mut() {
                    link.auth_owed = false;
                    link.timers.stop(Timer::Connect);
                }
                core.event(Event::Auth(auth));
                Ok(())
            }
            Packet::Disconnect(disconnect) => self.disconnected(core, disconnect),
            other => {
                let rule = "before CONNACK a client sends nothing but AUTH and DISCONNECT";
                broken(other.packet_type(), rule)
            }
        }
    }

    fn check_auth(&self, method: Option<&Text>) -> Result<(), &'static str> {
        let own = self.connect.as_ref().and_then(|connect| connect.authentication_method.as_ref());
        match own {
            None => Err("CONNECT has no Authentication Method"),
            Some(own) if method == Some(own) => Ok(()),
            Some(_) => Err("the Authentication Method is not that of CONNECT"),
        }
    }
}

impl Logic for Server {
    fn open(&mut self, core: &mut Core, now: Instant) {
        self.connect = None;
        core.settings.maximum_packet_size = self.config.maximum_packet_size;
        // The version is not known yet; nothing is sent before it is.
        core.open(Version::V5, Limits::widest(self.config.max_in_flight));
        if let Some(link) = core.link_mut() {
            link.timers.set(Timer::Connect, Some(now + self.config.connect_timeout));
        }
    }

    fn first(
        &mut self,
        core: &mut Core,
        input: &mut BytesMut,
        _: Instant,
    ) -> Result<bool, PeerError> {
        let Some(frame) = codec::frame(input, core.settings.maximum_packet_size)? else {
            return Ok(false);
        };
        if core.phase() == Phase::Accepting {
            self.step(core, codec::decode(&frame, Version::V5)?)?;
            return Ok(true);
        }
        // The CONNECT is kept: a copy, so that it does not keep the block alive that it came with.
        let frame = Bytes::copy_from_slice(&frame);
        let version = match codec::connect_version(&frame) {
            Ok(version) => version,
            Err(error) if error.cause() == DecodeCause::ProtocolVersion => {
                // Who speaks a later version than ours understands the answer of 5.0, who speaks an
                // older one that of 3.1.1 (MQTT-3.1.2-2 of both).
                let level = codec::connect_level(&frame).unwrap_or(0);
                // The highest bit is set by bridges, which speak the version of the other bits.
                let later = level & 0x7F > Version::V5.level();
                let version = if later { Version::V5 } else { Version::V311 };
                Server::reject(core, error.into(), version);
                return Ok(true);
            }
            Err(error) if error.cause() == DecodeCause::PacketType => {
                let packet = error.packet().unwrap_or(PacketType::Connect);
                let rule = "the first packet of a client is CONNECT";
                return Err(protocol(packet, rule, ReasonCode::PROTOCOL_ERROR));
            }
            Err(error) => return Err(error.into()),
        };
        match codec::decode(&frame, version) {
            Ok(Packet::Connect(connect)) => self.connect(core, connect, version),
            Ok(other) => {
                let rule = "the first packet of a client is CONNECT";
                return Err(protocol(other.packet_type(), rule, ReasonCode::PROTOCOL_ERROR));
            }
            // MQTT 3.1.1 answers a malformed CONNECT with silence (MQTT-3.1.4-1), but has a return code
            // for a Client Identifier (MQTT-3.1.3-8).
            Err(error) => Server::reject(core, error.into(), version),
        }
        Ok(true)
    }

    fn packet(&mut self, core: &mut Core, packet: Packet, _: Instant) -> Result<(), PeerError> {
        let broken = |packet, rule| Err(protocol(packet, rule, ReasonCode::PROTOCOL_ERROR));
        match packet {
            Packet::Subscribe(id, subscribe) => {
                self.check_subscribe(&subscribe)?;
                let filters = subscribe.subscriptions.len();
                if let Some(request) = Server::request(core, id, PacketType::Subscribe, filters) {
                    core.event(Event::Subscribe(request, subscribe));
                }
            }
            Packet::Unsubscribe(id, unsubscribe) => {
                let filters = unsubscribe.filters.len();
                if let Some(request) = Server::request(core, id, PacketType::Unsubscribe, filters) {
                    core.event(Event::Unsubscribe(request, unsubscribe));
                }
            }
            Packet::PingReq => {
                if let Some(link) = core.link_mut() {
                    link.pings_owed = link.pings_owed.saturating_add(1);
                }
            }
            Packet::Disconnect(disconnect) => return self.disconnected(core, disconnect),
            Packet::Auth(auth) => {
                if let Err(rule) = self.check_auth(auth.authentication_method.as_ref()) {
                    return broken(PacketType::Auth, rule);
                }
                if auth.reason == ReasonCode::SUCCESS {
                    return broken(PacketType::Auth, "a client does not send Success");
                }
                if let Some(link) = core.link_mut() {
                    link.auth_owed = false;
                }
                core.event(Event::Auth(auth));
            }
            other => {
                let rule = "a client does not send this, or not now";
                return broken(other.packet_type(), rule);
            }
        }
        Ok(())
    }

    fn timeout(&mut self, core: &mut Core, now: Instant) {
        if core.take_due(Timer::Connect, now) {
            return core.end(CloseReason::Timeout(Timeout::Connect));
        }
        if core.take_due(Timer::Receive, now) {
            let reason = CloseReason::Timeout(Timeout::KeepAlive);
            core.end_for(reason, ReasonCode::KEEP_ALIVE_TIMEOUT);
        }
    }

    fn check_disconnect(&self, core: &Core, disconnect: &Disconnect) -> Result<(), CommandError> {
        if disconnect.session_expiry_interval.is_some() {
            // MQTT-3.14.2-2.
            return Err(CommandError::NotSupported("a Session Expiry Interval from a server"));
        }
        if disconnect.reason == ReasonCode::DISCONNECT_WITH_WILL {
            return Err(CommandError::NotSupported("a reason that only a client gives"));
        }
        // A server of MQTT 3.x has no packet for it: any reason will do.
        if core.link().is_some_and(|link| link.version.is_v5()) {
            codec::encoded_len(&Packet::Disconnect(disconnect.clone()), Version::V5)?;
        }
        Ok(())
    }

    fn authenticate(
        &mut self,
        core: &mut Core,
        auth: Auth,
        now: Instant,
    ) -> Result<(), CommandError> {
        self.check_auth(auth.authentication_method.as_ref()).map_err(CommandError::Unexpected)?;
        let Some(link) = core.link() else { return Err(CommandError::NotConnected) };
        let continues = auth.reason == ReasonCode::CONTINUE_AUTHENTICATION;
        let accepting = link.phase == Phase::Accepting;
        let expected = match link.phase {
            Phase::Accepting => continues && !link.auth_owed,
            Phase::Connected => auth.reason != ReasonCode::RE_AUTHENTICATE,
            _ => return Err(CommandError::NotConnected),
        };
        if !expected {
            let rule = "that step of the authentication is not a server's, or not now";
            return Err(CommandError::Unexpected(rule));
        }
        let packet = core.fit(Packet::Auth(Box::new(auth)))?;
        let deadline = now + self.config.connect_timeout;
        if let Some(link) = core.link_mut() {
            link.auth_owed = continues;
            if accepting {
                link.timers.set(Timer::Connect, Some(deadline));
            }
            link.handshake.push_back(packet);
        }
        Ok(())
    }
}
