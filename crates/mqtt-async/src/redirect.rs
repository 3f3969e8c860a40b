//! Where a server that sends the client elsewhere may send it: MQTT 5.0 section 4.13.

use std::collections::VecDeque;
use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

use mqtt_proto::{ReasonCode, Text};

/// How many references of one redirect are tried; the others are not looked at.
const REFERENCES: usize = 16;

/// Says which redirects are followed: CONNACK or DISCONNECT with 0x9C Use another server or 0x9D Server moved,
/// and a Server Reference.
///
/// - After 0x9C, the next connection goes to the other server, and the one after that to the own one again.
///   After 0x9D, all go there, for as long as the client lives.
/// - A Server Reference may name several servers, with spaces between them: each is tried in turn, with the
///   waits of [`Backoff`](crate::Backoff) in between. At most 16 are looked at.
/// - A redirect in CONNACK is followed at once. One in DISCONNECT is followed as any lost connection is
///   made anew: after a wait, if [`Config::reconnect`](crate::Config::reconnect) is set. A server that shuts
///   down sends all of its clients away in one moment.
/// - The hook [`before_connect`](crate::Driver::before_connect) sees the name in
///   [`Attempt::server`](crate::Attempt::server) and may change it: the redirect is then forgotten.
///   [`reconnect_if`](crate::Driver::reconnect_if) is not asked.
///
/// # What the other server gets
///
/// The same CONNECT, with User Name, Password, Authentication Data and Will, and then the messages that
/// wait. So the client goes to the hosts of the list only, and to no other, with credentials or without: a
/// connection without them would mostly be refused, or be somebody else. A reference to another host is left
/// out; if none remains, the attempt fails with [`Error::Redirect`](crate::Error::Redirect). A hook may set
/// other credentials for another server.
///
/// # From TLS to plain: never
///
/// A reference is a host and a port, and no more. It reaches the connector through
/// [`Connector::redirect`](crate::Connector::redirect), which says where the innermost layer connects to: the
/// layers around it stay as they are, and so does what they check. What looks like a URL is no reference, so
/// a server cannot ask for another scheme. In a list of [`Servers`](crate::Servers), the connection is made
/// by the entry that the redirect came from, whatever others the list has.
///
/// ```
/// use mqtt_async::{Config, Redirects, Version};
///
/// let mut config = Config::new(Version::V5);
/// config.redirects = Some(Redirects::to_hosts(["mqtt-1.example.com", "mqtt-2.example.com"]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redirects {
    /// How many redirects to follow since a connection was last stable
    /// ([`Backoff::stable_after`](crate::Backoff::stable_after)); default 5.
    ///
    /// One more is an [`Error::Redirect`](crate::Error::Redirect). It counts as a failed attempt: the driver
    /// waits, and begins anew with its own server, or the one that it has moved to.
    pub hops: u32,
    /// `None`: any.
    hosts: Option<Vec<String>>,
}

impl Redirects {
    /// Returns a policy that follows to these hosts: names or addresses, or a host with a port (`host:port`,
    /// `[address]:port`), which then is the only one.
    ///
    /// They are compared as text, and upper and lower case is one.
    pub fn to_hosts<H: Into<String>>(hosts: impl IntoIterator<Item = H>) -> Redirects {
        let hosts = hosts.into_iter().map(Into::into).collect();
        Redirects { hosts: Some(hosts), ..Redirects::to_any_host() }
    }

    /// Returns a policy that follows anywhere: credentials and messages go to whomever the server names.
    pub fn to_any_host() -> Redirects {
        Redirects { hops: 5, hosts: None }
    }

    fn permits(&self, reference: &Reference<'_>) -> bool {
        let Some(hosts) = &self.hosts else { return true };
        hosts.iter().filter_map(|host| Reference::read(host)).any(|allowed| {
            allowed.host.eq_ignore_ascii_case(reference.host)
                && (allowed.port.is_none() || allowed.port == reference.port)
        })
    }
}

/// A redirect that was not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RedirectError {
    /// Use another server, or Server moved.
    pub reason: ReasonCode,
    /// Where the server sent the client.
    pub server_reference: Text,
    /// Why it did not go there.
    pub fault: RedirectFault,
}

/// Tells why a redirect was not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RedirectFault {
    /// It names no host that [`Redirects::to_hosts`] lists.
    NotAllowed,
    /// There were more than [`Redirects::hops`] without a stable connection in between.
    TooMany,
    /// The connector knows none of the servers: see [`Connector::select`](crate::Connector::select).
    Unknown,
}

impl fmt::Display for RedirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RedirectError { reason, server_reference, fault } = self;
        write!(f, "the server sent the client to {:?} ({reason}), ", server_reference.as_str())?;
        f.write_str(match fault {
            RedirectFault::NotAllowed => "which `Config::redirects` does not list",
            RedirectFault::TooMany => "after more redirects than `Redirects::hops` permits",
            RedirectFault::Unknown => "which the connector does not know",
        })
    }
}

impl std::error::Error for RedirectError {}

/// One server of a Server Reference, and what else names a server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reference<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: Option<u16>,
}

impl<'a> Reference<'a> {
    /// Reads `host`, `host:port`, `[address]` or `[address]:port`; an address without brackets has no port.
    pub(crate) fn read(reference: &'a str) -> Option<Reference<'a>> {
        let (host, port) = match reference.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                (host, (!rest.is_empty()).then_some(rest))
            }
            None if is_ipv6(reference) => (reference, None),
            None => match reference.find(':') {
                Some(colon) => (reference.get(..colon)?, reference.get(colon..)),
                None => (reference, None),
            },
        };
        let port = match port {
            Some(port) => Some(port.strip_prefix(':')?.parse().ok()?),
            None => None,
        };
        // What a URL would be made of is no part of a host.
        let is_odd = |c: char| c.is_whitespace() || c.is_control() || "/\\@?#[]".contains(c);
        (!host.is_empty() && !host.contains(is_odd)).then_some(Reference { host, port })
    }
}

/// Tells whether that is an IPv6 address, with the device of a link-local one or without.
fn is_ipv6(host: &str) -> bool {
    let address = host.split_once('%').map_or(host, |(address, _)| address);
    address.parse::<Ipv6Addr>().is_ok()
}

/// Where redirects have led, and how often.
#[derive(Debug)]
pub(crate) struct Route(Option<Box<Way>>);

/// What there is of a route where redirects are followed; most clients follow none.
#[derive(Debug)]
struct Way {
    policy: Redirects,
    /// What Use another server has named: each is tried once.
    detour: VecDeque<Arc<str>>,
    /// What Server moved has named: tried in turn, for ever.
    moved: VecDeque<Arc<str>>,
    hops: u32,
    /// The redirect that is followed.
    last: Option<(ReasonCode, Text)>,
}

impl Way {
    fn target(&self) -> Option<&Arc<str>> {
        self.detour.front().or(self.moved.front())
    }
}

impl Route {
    pub(crate) fn new(policy: Option<Redirects>) -> Route {
        let (detour, moved) = (VecDeque::new(), VecDeque::new());
        Route(policy.map(|policy| Box::new(Way { policy, detour, moved, hops: 0, last: None })))
    }

    /// Returns the server to connect to; `None`: the own one.
    pub(crate) fn target(&self) -> Option<&Arc<str>> {
        self.0.as_ref()?.target()
    }

    /// A connection was lost that had been accepted.
    pub(crate) fn left(&mut self, stable: bool) {
        let Some(way) = &mut self.0 else { return };
        way.detour.clear();
        if stable {
            way.hops = 0;
        }
    }

    /// The application goes elsewhere.
    pub(crate) fn leave(&mut self) {
        let Some(way) = &mut self.0 else { return };
        way.detour.clear();
        way.moved.clear();
    }

    /// The target could not be connected to: another time it is the next one.
    pub(crate) fn failed(&mut self) {
        let Some(way) = &mut self.0 else { return };
        if way.detour.pop_front().is_none() && !way.moved.is_empty() {
            way.moved.rotate_left(1);
        }
    }

    /// The connector does not know the target. Returns what it comes to if that was the last one.
    pub(crate) fn unknown(&mut self) -> Option<RedirectError> {
        let way = self.0.as_mut()?;
        if way.detour.pop_front().is_none() {
            way.moved.pop_front();
        }
        if way.target().is_some() {
            return None;
        }
        let (reason, server_reference) = way.last.take()?;
        Some(RedirectError { reason, server_reference, fault: RedirectFault::Unknown })
    }

    /// Follows a redirect, if that is to be done; returns where to. `None`: it is an error like others.
    pub(crate) fn follow(
        &mut self,
        reason: ReasonCode,
        server_reference: Option<&Text>,
    ) -> Result<Option<Arc<[Arc<str>]>>, RedirectError> {
        let moved = reason == ReasonCode::SERVER_MOVED;
        let (Some(way), Some(server_reference), true) =
            (&mut self.0, server_reference, moved || reason == ReasonCode::USE_ANOTHER_SERVER)
        else {
            return Ok(None);
        };
        let names =
            server_reference.as_str().split(' ').filter(|name| !name.is_empty()).take(REFERENCES);
        let known: Vec<_> = names.filter_map(|name| Some((name, Reference::read(name)?))).collect();
        if known.is_empty() {
            return Ok(None);
        }
        let permitted = known.iter().filter(|(_, reference)| way.policy.permits(reference));
        let servers: Arc<[Arc<str>]> = permitted.map(|(name, _)| Arc::from(*name)).collect();
        let fault = match servers.is_empty() {
            true => Some(RedirectFault::NotAllowed),
            false => (way.hops >= way.policy.hops).then_some(RedirectFault::TooMany),
        };
        let server_reference = server_reference.clone().into_owned();
        if let Some(fault) = fault {
            // The way begins anew, with the own server.
            way.hops = 0;
            way.detour.clear();
            return Err(RedirectError { reason, server_reference, fault });
        }
        way.hops += 1;
        way.last = Some((reason, server_reference));
        let list = if moved { &mut way.moved } else { &mut way.detour };
        *list = servers.iter().cloned().collect();
        if moved {
            way.detour.clear();
        }
        Ok(Some(servers))
    }
}
