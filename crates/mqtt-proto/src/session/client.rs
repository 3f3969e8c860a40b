//! The client's side of a session.

use alloc::boxed::Box;
use core::time::Duration;

use bytes::BytesMut;

use super::config::ClientConfig;
use super::core::{Core, Logic, Settings, protocol};
use super::error::{CloseReason, CommandError, PeerError, Timeout};
use super::event::Event;
use super::limits::Limits;
use super::link::Phase;
use super::outbound::Request;
use super::role::Role;
use super::timers::Timer;
use crate::codec;
use crate::packet::{Auth, ConnAck, Disconnect, Packet, Subscribe, Unsubscribe};
use crate::reason::ReasonCode;
use crate::text::Text;
use crate::time::Instant;
use crate::types::{PacketId, PacketType, QoS, Token, Version};

/// The role of a client: it connects, subscribes and unsubscribes.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    /// What of it this connection was made with: the caller may have changed it since.
    asked: Asked,
    /// The Session Expiry Interval of the last connection that was accepted: above 0, a clean start is
    /// over.
    session_expiry: u32,
    /// Whether the last connection that was accepted had Clean Session 1: in MQTT 3.x its session ended
    /// with it, and nothing of that is used again (MQTT-3.1.2-6).
    session_ended: bool,
}

/// What decides how the answers to CONNECT are taken.
#[derive(Debug, Default)]
struct Asked {
    clean_start: bool,
    keep_alive: u16,
    session_expiry_interval: Option<u32>,
    receive_maximum: Option<u16>,
    authentication_method: Option<Text>,
    max_in_flight: u16,
    connect_timeout: Duration,
    resend_lost_qos2: bool,
    adopt_session: bool,
}

impl Client {
    pub(super) fn subscribe(
        &self,
        core: &mut Core,
        subscribe: Subscribe,
    ) -> Result<Token, CommandError> {
        if let Some(limits) = core.limits()
            && let Some(what) = limits.lacks_for_subscribe(&subscribe)
        {
            return Err(CommandError::NotSupported(what));
        }
        self.request(core, Request::Subscribe(Box::new(subscribe)))
    }

    pub(super) fn unsubscribe(
        &self,
        core: &mut Core,
        unsubscribe: Unsubscribe,
    ) -> Result<Token, CommandError> {
        self.request(core, Request::Unsubscribe(Box::new(unsubscribe)))
    }

    fn request(&self, core: &mut Core, request: Request) -> Result<Token, CommandError> {
        let packet = request.into_packet(PacketId::MIN);
        let size = codec::encoded_len(&packet, self.version(core))?;
        if let Some(limits) = core.limits()
            && size > limits.maximum_packet_size as usize
        {
            return Err(CommandError::TooLarge { size, limit: limits.maximum_packet_size });
        }
        let Some(request) = Request::from_packet(packet) else {
            return Err(CommandError::Unexpected("this is no request"));
        };
        core.request(request)
    }

    pub(super) const fn config(&self) -> &ClientConfig {
        &self.config
    }

    pub(super) const fn config_mut(&mut self) -> &mut ClientConfig {
        &mut self.config
    }
}

impl Role for Client {
    type Config = ClientConfig;

    fn new(config: ClientConfig) -> (Client, Settings) {
        let settings = Settings {
            bounds: config.bounds,
            maximum_packet_size: config.own_maximum_packet_size(),
            version: Some(config.version),
            ping_timeout: Some(config.ping_timeout),
            write_timeout: config.write_timeout,
            topic_aliases: config.topic_aliases,
            journal: config.journal,
            first_packet_id: config.first_packet_id,
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
        };
        (
            Client { config, asked: Asked::default(), session_expiry: 0, session_ended: false },
            settings,
        )
    }
}

impl ClientConfig {
    fn own_maximum_packet_size(&self) -> u32 {
        self.connect.maximum_packet_size.unwrap_or(self.maximum_packet_size)
    }
}

impl Client {
    /// Returns the version of this connection, or of the next one.
    fn version(&self, core: &Core) -> Version {
        core.link().map_or(self.config.version, |link| link.version)
    }

    /// Tells whether the next CONNECT asks for a new session.
    fn cleans(&self) -> bool {
        let goes_on = self.config.version.is_v5() && self.session_expiry > 0;
        self.config.connect.clean_start && !goes_on
    }

    fn connack(
        &mut self,
        core: &mut Core,
        mut connack: Box<ConnAck>,
        now: Instant,
    ) -> Result<(), PeerError> {
        let broken = |rule, reason| protocol(PacketType::ConnAck, rule, reason);
        if connack.reason != ReasonCode::SUCCESS {
            core.end(CloseReason::Refused(connack));
            return Ok(());
        }
        let asked = &self.asked;
        let cleans = asked.clean_start;
        let version = self.version(core);
        if connack.session_present && cleans {
            let rule = "Session Present is set although CONNECT asked for a new session";
            return Err(broken(rule, ReasonCode::PROTOCOL_ERROR));
        }
        if connack.session_present && version.is_v5() && core.is_new() && !asked.adopt_session {
            core.end_for(CloseReason::SessionUnknown, ReasonCode::PROTOCOL_ERROR);
            return Ok(());
        }
        if connack.authentication_method != asked.authentication_method {
            let rule = "the Authentication Method is not that of CONNECT";
            return Err(broken(rule, ReasonCode::PROTOCOL_ERROR));
        }
        if let Some(assigned) = &mut connack.assigned_client_identifier {
            // One copy for both: the block that CONNACK came in may have messages behind it.
            *assigned = assigned.clone().into_owned();
            self.config.connect.client_id = assigned.clone();
        }
        // The server's word replaces the wish: section 3.2.2.3.2.
        let expiry = connack.session_expiry_interval.or(asked.session_expiry_interval);
        self.session_expiry = expiry.unwrap_or(0);
        let clean_before = core::mem::replace(&mut self.session_ended, cleans && !version.is_v5());
        // CONNACK of MQTT 3.1 does not tell whether there is a session: with Clean Session 0 the client
        // has to take it that there is.
        let lost = match version {
            Version::V31 => cleans || clean_before,
            Version::V311 | Version::V5 => !connack.session_present,
        };
        let keep_alive = connack.server_keep_alive.unwrap_or(asked.keep_alive);
        let limits = Limits::of_server(&connack, asked.max_in_flight);
        let receive_maximum = match version {
            Version::V5 => asked.receive_maximum.unwrap_or(u16::MAX).into(),
            // As many as there are Packet Identifiers.
            _ => u16::MAX.into(),
        };
        core.event(Event::Connected { resumed: connack.session_present, connack });
        if lost {
            // MQTT-4.4.0-1 of 3.1.1 knows no exception: with Clean Session 0, what is in flight is sent
            // again with its identifiers.
            let keeps = !version.is_v5() && !cleans && !clean_before;
            core.session_lost(keeps, asked.resend_lost_qos2);
        }
        if let Some(link) = core.link_mut() {
            link.keep_alive = Duration::from_secs(keep_alive.into());
        }
        core.establish(limits, receive_maximum, now);
        Ok(())
    }

    fn check_auth(&self, method: Option<&Text>) -> Result<(), &'static str> {
        match &self.asked.authentication_method {
            None => Err("CONNECT has no Authentication Method"),
            // The empty form of AUTH has no method, and means Success.
            Some(own) if method.is_none_or(|method| method == own) => Ok(()),
            Some(_) => Err("the Authentication Method is not that of CONNECT"),
        }
    }

    fn auth(&mut self, core: &mut Core, auth: Box<Auth>, now: Instant) -> Result<(), PeerError> {
        let broken = |rule| protocol(PacketType::Auth, rule, ReasonCode::PROTOCOL_ERROR);
        self.check_auth(auth.authentication_method.as_ref()).map_err(broken)?;
        let connecting = core.phase() == Phase::Connecting;
        let continues = auth.reason == ReasonCode::CONTINUE_AUTHENTICATION;
        if !continues && (connecting || auth.reason != ReasonCode::SUCCESS) {
            return Err(broken("a server sends only Continue, and Success once connected"));
        }
        if let Some(link) = core.link_mut() {
            if !connecting && !link.reauthenticating {
                return Err(broken("the client has begun no re-authentication"));
            }
            if link.auth_owed {
                return Err(broken("the next step is the client's"));
            }
            link.auth_owed = continues;
            link.reauthenticating &= continues;
            // The server is at it: the time begins anew with each step.
            let deadline = continues.then(|| now + self.asked.connect_timeout);
            link.timers.set(Timer::Connect, deadline);
        }
        core.event(Event::Auth(auth));
        Ok(())
    }
}

impl Logic for Client {
    fn open(&mut self, core: &mut Core, now: Instant) {
        let mut connect = self.config.connect.clone();
        connect.clean_start = self.cleans();
        self.asked = Asked {
            clean_start: connect.clean_start,
            keep_alive: connect.keep_alive,
            session_expiry_interval: connect.session_expiry_interval,
            receive_maximum: connect.receive_maximum,
            authentication_method: connect.authentication_method.clone(),
            max_in_flight: self.config.max_in_flight,
            connect_timeout: self.config.connect_timeout,
            resend_lost_qos2: self.config.resend_lost_qos2,
            adopt_session: self.config.adopt_session,
        };
        let maximum_packet_size = self.config.own_maximum_packet_size();
        core.settings.maximum_packet_size = maximum_packet_size;
        core.settings.version = Some(self.config.version);
        core.settings.ping_timeout = Some(self.config.ping_timeout);
        core.settings.write_timeout = self.config.write_timeout;
        core.settings.topic_aliases = self.config.topic_aliases;
        if self.config.version.is_v5() {
            connect.maximum_packet_size = Some(maximum_packet_size);
        }
        core.open(self.config.version, Limits::widest(self.config.max_in_flight));
        if let Some(link) = core.link_mut() {
            link.timers.set(Timer::Connect, Some(now + self.config.connect_timeout));
            link.problem_information =
                self.config.connect.request_problem_information.unwrap_or(true);
            link.alias_maximum = self.config.connect.topic_alias_maximum.unwrap_or(0);
            link.handshake.push_back(Packet::Connect(Box::new(connect)));
        }
    }

    fn first(
        &mut self,
        core: &mut Core,
        input: &mut BytesMut,
        now: Instant,
    ) -> Result<bool, PeerError> {
        let Some(frame) = codec::frame(input, core.settings.maximum_packet_size)? else {
            return Ok(false);
        };
        match codec::decode(&frame, self.version(core))? {
            Packet::ConnAck(connack) => self.connack(core, connack, now)?,
            Packet::Auth(auth) => self.auth(core, auth, now)?,
            other => {
                let rule = "the first packet of a server is CONNACK";
                return Err(protocol(other.packet_type(), rule, ReasonCode::PROTOCOL_ERROR));
            }
        }
        Ok(true)
    }

    fn packet(&mut self, core: &mut Core, packet: Packet, now: Instant) -> Result<(), PeerError> {
        match packet {
            Packet::PingResp => {
                if let Some(link) = core.link_mut() {
                    link.ping_outstanding = false;
                    link.timers.stop(Timer::PingResp);
                    link.timers.set(Timer::Receive, link.keep_alive_from(now));
                }
                Ok(())
            }
            Packet::Disconnect(disconnect) if self.version(core).is_v5() => {
                core.end(CloseReason::Disconnected(Box::new(disconnect)));
                Ok(())
            }
            Packet::Auth(auth) => self.auth(core, auth, now),
            other => {
                let rule = "a server does not send this, or not now";
                Err(protocol(other.packet_type(), rule, ReasonCode::PROTOCOL_ERROR))
            }
        }
    }

    fn timeout(&mut self, core: &mut Core, now: Instant) {
        if core.take_due(Timer::Connect, now) {
            if core.phase() == Phase::Connecting {
                return core.end(CloseReason::Timeout(Timeout::Connect));
            }
            let reason = CloseReason::Timeout(Timeout::Authentication);
            return core.end_for(reason, ReasonCode::UNSPECIFIED_ERROR);
        }
        if core.take_due(Timer::PingResp, now) {
            return core.end(CloseReason::Timeout(Timeout::PingResp));
        }
        // Both, whichever comes first: the server wants to hear from the client (MQTT-3.1.2-20), and a
        // client that only sends wants to know whether anybody hears it.
        let send = core.take_due(Timer::Send, now);
        let receive = core.take_due(Timer::Receive, now);
        if let Some(link) = core.link_mut() {
            link.ping_due |= send || (receive && !link.ping_outstanding);
        }
    }

    fn check_disconnect(&self, core: &Core, disconnect: &Disconnect) -> Result<(), CommandError> {
        let version = self.version(core);
        codec::encoded_len(&Packet::Disconnect(disconnect.clone()), version)?;
        if disconnect.server_reference.is_some() {
            return Err(CommandError::NotSupported("a Server Reference from a client"));
        }
        // Table 3-10; but a client has a use for 0x9B, see section 3.3.4.
        if matches!(disconnect.reason.get(), 0x87 | 0x89 | 0x8B | 0x8D..=0x8F | 0x9A | 0x9C..=0xA2)
        {
            return Err(CommandError::NotSupported("a reason that only a server gives"));
        }
        let never = self.asked.session_expiry_interval.unwrap_or(0) == 0;
        if never && disconnect.session_expiry_interval.is_some_and(|seconds| seconds > 0) {
            // MQTT 5.0 section 3.14.2.2.2.
            let what = "a Session Expiry Interval above 0 after one of 0 in CONNECT";
            return Err(CommandError::NotSupported(what));
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
        let expected = match (core.phase(), auth.reason) {
            (Phase::Connecting | Phase::Connected, ReasonCode::CONTINUE_AUTHENTICATION) => {
                core.link().is_some_and(|link| link.auth_owed)
            }
            (Phase::Connected, ReasonCode::RE_AUTHENTICATE) => {
                core.link().is_some_and(|link| !link.reauthenticating)
            }
            (Phase::Connecting | Phase::Connected, _) => false,
            _ => return Err(CommandError::NotConnected),
        };
        if !expected {
            return Err(CommandError::Unexpected(
                "that step of the authentication is not a client's, or not now",
            ));
        }
        let packet = core.fit(Packet::Auth(Box::new(auth)))?;
        if let Some(link) = core.link_mut() {
            link.auth_owed = false;
            if link.phase == Phase::Connected {
                link.reauthenticating = true;
                link.timers.set(Timer::Connect, Some(now + self.asked.connect_timeout));
            }
            link.handshake.push_back(packet);
        }
        Ok(())
    }
}
