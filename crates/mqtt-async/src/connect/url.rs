//! Servers as URLs: feature `url`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use mqtt_proto::{Text, Version};

use super::Address;
#[cfg(any(feature = "async-io", feature = "tokio"))]
use super::AnyConnector;
use crate::config::Config;

mod error;
mod layers;
mod parse;

pub use error::{UrlError, UrlPart};
#[cfg(feature = "proxy")]
pub(super) use parse::{address, credentials, split_scheme, split_user};

/// A server, how to get there, and what CONNECT says, in one line.
///
/// ```text
/// mqtts://user:password@mqtt.example.com:8883?client_id=sensor-7&keep_alive=30
/// ```
///
/// | scheme | transport | port |
/// |--|--|--|
/// | `mqtt` | TCP | 1883 |
/// | `mqtts` | TLS (feature `tls`) | 8883 |
/// | `ws` | WebSocket (feature `websocket`) | 80 |
/// | `wss` | WebSocket over TLS | 443 |
/// | `unix` | a Unix domain socket: `unix:///run/mqtt.sock` | |
///
/// The path is that of the socket with `unix`, that of the request with `ws` and `wss` (default `/mqtt`), and
/// empty else. What has a meaning in a URL stands as `%` and two digits: `%40` for an `@` in a password.
/// Options stand behind a `?`, with `&` between them:
///
/// | option | value | default |
/// |--|--|--|
/// | `client_id` | the Client Identifier | the server chooses one |
/// | `version` | `5`, `3.1.1` or `3.1` | `5` |
/// | `keep_alive` | seconds, up to 65535; 0: none | 60 |
/// | `clean_start` | `true` or `false` | `true` |
/// | `session_expiry` | seconds; MQTT 5.0 only | 0 |
/// | `connect_timeout` | seconds: [`Config::connect_timeout`] | 30 |
/// | `ca` | a file with the authorities to trust, and no others | those of the platform, else of Mozilla, as the features say |
/// | `cert`, `key` | files with certificate and key of this client | none |
/// | `server_name` | the name that the server's certificate must have | the host |
/// | `proxy` | the URL of a [`Proxy`](crate::Proxy) (feature `proxy`): `proxy=socks5h://localhost:1080` | none |
/// | `srv` | `true`: the host is a domain whose SRV records say where its servers are ([`Srv`](crate::Srv), feature `srv`); for `mqtt` and `mqtts` | `false` |
/// | `alpn` | an application protocol to offer; more than once for several | none |
///
/// Neither `Debug` nor `Display` nor an error shows a user name or password.
///
/// ```
/// # #[cfg(feature = "async-io")]
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use mqtt_async::{Client, Url};
///
/// let url: Url = "mqtt://localhost?client_id=sensor-7".parse()?;
/// let mut config = url.config();
/// config.fall_back_to_v311 = true;
/// let (client, driver) = Client::new(config, url.connector()?);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Url {
    scheme: Scheme,
    place: Place,
    /// The path of the request of a WebSocket.
    #[cfg_attr(not(feature = "websocket"), allow(dead_code, reason = "what is read is not used"))]
    path: String,
    user_name: Option<Text>,
    password: Option<Bytes>,
    options: Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Mqtt,
    Mqtts,
    Ws,
    Wss,
    Unix,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Host(Address),
    Socket(PathBuf),
}

#[derive(Clone, Debug)]
struct Options {
    version: Version,
    client_id: Option<Text>,
    keep_alive: Option<u16>,
    clean_start: Option<bool>,
    session_expiry: Option<u32>,
    connect_timeout: Option<Duration>,
    #[cfg(feature = "proxy")]
    proxy: Option<super::Proxy>,
    #[cfg(feature = "srv")]
    srv: bool,
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "what is read is not used"))]
    tls: TlsOptions,
}

#[derive(Clone, Debug, Default)]
#[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "what is read is not used"))]
struct TlsOptions {
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    server_name: Option<String>,
    alpn: Vec<String>,
}

impl Scheme {
    const ALL: [Scheme; 5] = [Scheme::Mqtt, Scheme::Mqtts, Scheme::Ws, Scheme::Wss, Scheme::Unix];

    const fn name(self) -> &'static str {
        match self {
            Scheme::Mqtt => "mqtt",
            Scheme::Mqtts => "mqtts",
            Scheme::Ws => "ws",
            Scheme::Wss => "wss",
            Scheme::Unix => "unix",
        }
    }

    const fn port(self) -> u16 {
        match self {
            Scheme::Mqtt => 1883,
            Scheme::Mqtts => 8883,
            Scheme::Ws => 80,
            Scheme::Wss => 443,
            Scheme::Unix => 0,
        }
    }

    const fn has_tls(self) -> bool {
        matches!(self, Scheme::Mqtts | Scheme::Wss)
    }

    const fn has_websocket(self) -> bool {
        matches!(self, Scheme::Ws | Scheme::Wss)
    }
}

impl Url {
    /// Reads a URL; so does [`str::parse`].
    ///
    /// # Errors
    ///
    /// The first part that is wrong.
    pub fn new(url: &str) -> Result<Url, UrlError> {
        parse::parse(url)
    }

    /// Returns what CONNECT says; the rest is as in [`Config::new`].
    pub fn config(&self) -> Config {
        let Options { version, ref client_id, keep_alive, clean_start, .. } = self.options;
        let mut config = Config::new(version);
        let connect = &mut config.session.connect;
        connect.user_name = self.user_name.clone();
        connect.password = self.password.clone();
        if let Some(client_id) = client_id {
            connect.client_id = client_id.clone();
        }
        connect.keep_alive = keep_alive.unwrap_or(connect.keep_alive);
        connect.clean_start = clean_start.unwrap_or(connect.clean_start);
        connect.session_expiry_interval = self.options.session_expiry;
        config.connect_timeout = self.options.connect_timeout.unwrap_or(config.connect_timeout);
        config
    }

    /// Returns host and port, unless it is the URL of a Unix socket.
    pub fn address(&self) -> Option<&Address> {
        match &self.place {
            Place::Host(address) => Some(address),
            Place::Socket(_) => None,
        }
    }

    /// Returns how to get there, over the sockets of `async-io`. Files are read now.
    ///
    /// # Errors
    ///
    /// If the features that it needs are not enabled, or certificates or key are wrong.
    #[cfg(feature = "async-io")]
    pub fn connector(&self) -> Result<AnyConnector, UrlError> {
        match &self.place {
            Place::Host(server) => {
                let tcp = |to: &Address| super::Tcp::new(to.host(), to.port());
                self.over(tcp, server)
            }
            #[cfg(unix)]
            Place::Socket(path) => Ok(AnyConnector::new(super::Unix::new(path))),
            #[cfg(not(unix))]
            Place::Socket(_) => Err(self.no_sockets()),
        }
    }

    /// Returns how to get there, over the sockets of tokio. Files are read now.
    ///
    /// # Errors
    ///
    /// If the features that it needs are not enabled, or certificates or key are wrong.
    #[cfg(feature = "tokio")]
    pub fn tokio_connector(&self) -> Result<AnyConnector, UrlError> {
        match &self.place {
            Place::Host(server) => {
                let tcp = |to: &Address| crate::tokio::TokioTcp::new(to.host(), to.port());
                self.over(tcp, server)
            }
            #[cfg(unix)]
            Place::Socket(path) => Ok(AnyConnector::new(crate::tokio::TokioUnix::new(path))),
            #[cfg(not(unix))]
            Place::Socket(_) => Err(self.no_sockets()),
        }
    }

    #[cfg(all(not(unix), any(feature = "async-io", feature = "tokio")))]
    fn no_sockets(&self) -> UrlError {
        UrlError::NotBuilt { scheme: self.scheme.name(), needs: "a Unix" }
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Url, UrlError> {
        Url::new(url)
    }
}

/// Scheme, host and port, or the socket: what may stand in a log.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Host(address) => write!(f, "{}://{address}", self.scheme.name()),
            Place::Socket(path) => write!(f, "{}://{}", self.scheme.name(), path.display()),
        }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Url").field(&format_args!("{self}")).finish()
    }
}
