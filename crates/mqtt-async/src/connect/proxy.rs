//! Connections through a proxy: feature `proxy`.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::{fmt, io};

use super::url::{UrlError, UrlPart, address, credentials, split_scheme, split_user};
use super::{Address, Connector, Target};
use crate::stage::{ConnectStage, Progress};

mod env;
mod error;
mod http;
mod socks;

pub use error::ProxyError;

/// A proxy, and who asks it: for [`Proxied`].
///
/// Names of servers are resolved by the proxy. Neither `Debug` nor an error shows user name or password.
///
/// ```
/// use mqtt_async::Proxy;
///
/// let proxy = Proxy::http("proxy.example.com", 3128).credentials("user", "password");
/// let same = Proxy::new("http://user:password@proxy.example.com:3128")?;
/// # Ok::<(), mqtt_async::UrlError>(())
/// ```
#[derive(Clone)]
pub struct Proxy {
    protocol: Protocol,
    address: Address,
    credentials: Option<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// CONNECT of HTTP/1.1: RFC 9110 section 9.3.6.
    Http,
    /// RFC 1928, with user name and password of RFC 1929.
    Socks5,
}

impl Proxy {
    /// Returns a proxy that understands CONNECT of HTTP.
    pub fn http(host: impl AsRef<str>, port: u16) -> Proxy {
        let address = Address::new(host, port);
        Proxy { protocol: Protocol::Http, address, credentials: None }
    }

    /// Returns a proxy that speaks SOCKS 5.
    pub fn socks5(host: impl AsRef<str>, port: u16) -> Proxy {
        let address = Address::new(host, port);
        Proxy { protocol: Protocol::Socks5, address, credentials: None }
    }

    /// Sets user name and password. They go to the proxy in plain text, if the connector has no TLS to it.
    #[must_use]
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Proxy {
        self.credentials = Some((user.into(), password.into()));
        self
    }

    /// Reads a URL: `http://user:password@host:port` (80 without a port), `socks5://…` or `socks5h://…` (1080).
    ///
    /// # Errors
    ///
    /// The first part that is wrong.
    pub fn new(url: &str) -> Result<Proxy, UrlError> {
        let (scheme, rest) = split_scheme(url)?;
        let (protocol, port) = match &*scheme.to_ascii_lowercase() {
            "http" => (Protocol::Http, 80),
            "socks5" | "socks5h" => (Protocol::Socks5, 1080),
            _ => {
                let problem = "is none of http, socks5 and socks5h";
                return Err(UrlError::part(UrlPart::Scheme, problem));
            }
        };
        let (user, host) = split_user(rest.strip_suffix('/').unwrap_or(rest));
        if host.contains(['/', '?', '#']) {
            return Err(UrlError::part(UrlPart::Path, "is not empty, and a proxy has none"));
        }
        let address = address(host, port)?;
        let credentials = match user {
            None => None,
            Some(user) => {
                let (name, password) = credentials(user);
                let password = String::from_utf8(password.unwrap_or_default());
                let error = UrlError::part(UrlPart::Password, "is no UTF-8");
                Some((name?, password.map_err(|_| error)?))
            }
        };
        Ok(Proxy { protocol, address, credentials })
    }

    /// Returns the proxy that the environment names for connections to that server, if there is one. Nothing
    /// else looks into the environment.
    ///
    /// Of `https_proxy`, `HTTPS_PROXY`, `all_proxy` and `ALL_PROXY`, the first one that is set and not
    /// empty counts, whatever the transport: MQTT takes a tunnel either way. `http_proxy` does not: it names
    /// who fetches pages, and may come from whoever asks a CGI program. There is none for a server
    /// that `no_proxy` or `NO_PROXY` names: a list with commas of `*`, IP addresses, and names, which stand
    /// for what is below them as well (`example.com` and `.example.com` both for `mqtt.example.com`), each
    /// with a port behind `:` if it is for that port only; and of networks, such as `10.0.0.0/8` and `fd00::/8`,
    /// for servers that are named by their address.
    ///
    /// # Errors
    ///
    /// If what is named is no URL of a proxy.
    pub fn from_env(server: &Address) -> Result<Option<Proxy>, UrlError> {
        env::proxy(server, |name| std::env::var(name).ok())
    }

    /// Returns where the proxy itself is.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("protocol", &self.protocol)
            .field("address", &self.address)
            .field("credentials", &self.credentials.is_some())
            .finish()
    }
}

/// A connection through a [`Proxy`], over a connector that goes to the proxy.
///
/// TLS and WebSocket go around it, so that they are with the server and not with the proxy. What is selected
/// ([`Connector::select`]) is the server: a host, or `host:port`. A proxy that refuses is an
/// [`Error::Connect`](crate::Error::Connect) whose inner error is a [`ProxyError`].
///
/// To a proxy that is reached over TLS, the connector is a `Tls`.
///
/// ```
/// # #[cfg(feature = "async-io")]
/// # fn example() {
/// use mqtt_async::{Client, Config, Proxy, Tcp, Version};
///
/// let proxy = Proxy::socks5("localhost", 1080);
/// let connector = Tcp::new("mqtt.example.com", 1883).via(proxy);
/// let (client, driver) = Client::new(Config::new(Version::V5), connector);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Proxied<C> {
    inner: C,
    proxy: Proxy,
    target: Target<Address>,
}

impl<C> Proxied<C> {
    /// Returns a layer around a connector to that proxy, which asks it for that server.
    pub fn new(inner: C, proxy: Proxy, server: Address) -> Proxied<C> {
        Proxied { inner, proxy, target: Target::new(server) }
    }
}

impl<C> Connector for Proxied<C>
where
    C: Connector<Io: Send + 'static, Connecting: Send + 'static>,
{
    type Io = C::Io;
    type Connecting = Pin<Box<dyn Future<Output = io::Result<C::Io>> + Send>>;

    fn connect(&mut self, progress: &Progress) -> Self::Connecting {
        let server = self.target.take();
        let Proxy { protocol, credentials, .. } = self.proxy.clone();
        let inner = self.inner.connect(progress);
        let progress = progress.clone();
        Box::pin(async move {
            let host = check(&server)?;
            let unreachable = |error| ProxyError::Connect(Arc::new(error));
            let mut io = inner.await.map_err(unreachable)?;
            progress.enter(ConnectStage::Proxy);
            let credentials = credentials.as_ref();
            let asked = match protocol {
                Protocol::Http => http::ask(&mut io, &server, credentials).await,
                Protocol::Socks5 => socks::ask(&mut io, host, server.port(), credentials).await,
            };
            match asked {
                Err(error) if super::is_end(error.kind()) => Err(ProxyError::Eof.into()),
                asked => asked.map(|()| io),
            }
        })
    }

    fn select(&mut self, server: &str) -> io::Result<()> {
        self.target.select(self.target.own().other(server)?);
        Ok(())
    }

    fn address(&mut self) -> Option<Address> {
        Some(self.target.next().clone())
    }
}

/// A server as a proxy is told it.
enum Host<'a> {
    Address(IpAddr),
    Name(&'a str),
}

/// Refuses what would be more than a name where it is put.
fn check(server: &Address) -> Result<Host<'_>, ProxyError> {
    let host = server.host();
    if let Ok(address) = host.parse() {
        return Ok(Host::Address(address));
    }
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | '/' | '@');
    if host.is_empty() || host.len() > 255 || host.contains(odd) {
        return Err(ProxyError::Host(host.to_owned()));
    }
    Ok(Host::Name(host))
}
