//! How a server is reached: sockets, and the layers around them.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::{env, fs, io};

use clap::{Args, ValueEnum};
use mqtt_async::rustls::crypto::CryptoProvider;
use mqtt_async::rustls::{ClientConfig, ProtocolVersion};
use mqtt_async::{
    Address, AnyConnector, Proxy, Tcp, TcpOptions, Tls, TlsConfig, TlsError, Url, UrlError,
    WebSocket, WebSocketError,
};

use crate::args::pair;
use crate::failure::Failure;

/// Where a server is, and what is between.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Transport {
    /// The host name or address of the server [default: $MQTT_HOST, or localhost]
    #[arg(display_order = 0, short = 'h', long)]
    host: Option<String>,

    /// The port [default: $MQTT_PORT; or 1883, with TLS 8883, with WebSocket 80, with both 443]
    #[arg(display_order = 1, short, long)]
    port: Option<u16>,

    /// All in one, as mqtts://name@host:8883?client_id=x; also with mqtt, ws, wss and unix, and with version,
    /// keep_alive, clean_start, session_expiry, connect_timeout, ca, cert, key, server_name, alpn, proxy, srv.
    #[arg(display_order = 2, long, value_name = "URL", conflicts_with_all = ["host", "port", "unix", "bind", "tls", "ws"])]
    url: Option<String>,

    /// Connects to the Unix domain socket at that path.
    #[arg(display_order = 3, long, value_name = "PATH", conflicts_with_all = ["host", "port", "bind", "proxy", "tls", "ws"])]
    unix: Option<PathBuf>,

    /// Connects from that address of this machine.
    #[arg(display_order = 4, short = 'A', long, value_name = "ADDRESS")]
    bind: Option<IpAddr>,

    /// Connects through a proxy: http://name:password@host:port or socks5h://name:password@host:port;
    /// `env` for what ALL_PROXY, HTTPS_PROXY and NO_PROXY say.
    #[arg(display_order = 5, long, value_name = "URL")]
    proxy: Option<String>,

    #[command(flatten)]
    tls: TlsArgs,

    #[command(flatten)]
    websocket: WebSocketArgs,
}

/// Each of them turns TLS on.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "TLS")]
#[group(id = "tls", multiple = true)]
struct TlsArgs {
    /// Speaks TLS, and trusts whom this machine trusts. So does any other of these.
    #[arg(long = "tls", alias = "tls-use-os-certs", id = "tls-only")]
    on: bool,

    /// Trusts the authorities in that file, and no others.
    #[arg(long, value_name = "FILE")]
    cafile: Option<PathBuf>,

    /// Trusts the authorities in the PEM files of that folder, and those of --cafile, and no others.
    #[arg(long, value_name = "FOLDER")]
    capath: Option<PathBuf>,

    /// The certificate of this client.
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,

    /// The private key of that.
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,

    /// The name that the server's certificate must have, instead of the host.
    #[arg(long, value_name = "NAME")]
    servername: Option<String>,

    /// Speaks that version of TLS, and no other [default: the highest that the server has].
    #[arg(long = "tls-version", value_enum, value_name = "VERSION")]
    version: Option<TlsVersion>,

    /// An application protocol to offer (ALPN), such as mqtt; may be given several times.
    #[arg(long = "tls-alpn", alias = "alpn", value_name = "PROTOCOL")]
    alpn: Vec<String>,

    /// Takes any certificate, whoever has signed it for whatever name: anybody on the way can read and change
    /// everything. There is nothing that --cafile and --capath could be for then.
    #[arg(long, conflicts_with_all = ["cafile", "capath"])]
    insecure: bool,

    /// Made once: a measurement has many connections.
    #[arg(skip)]
    config: OnceLock<Arc<ClientConfig>>,
}

/// Those that rustls has.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum TlsVersion {
    #[value(name = "1.2", alias = "tlsv1.2")]
    V12,
    #[value(name = "1.3", alias = "tlsv1.3")]
    V13,
}

impl From<TlsVersion> for ProtocolVersion {
    fn from(version: TlsVersion) -> ProtocolVersion {
        match version {
            TlsVersion::V12 => ProtocolVersion::TLSv1_2,
            TlsVersion::V13 => ProtocolVersion::TLSv1_3,
        }
    }
}

/// Each of them turns WebSocket on.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "WebSocket")]
#[group(id = "ws", multiple = true)]
struct WebSocketArgs {
    /// Speaks WebSocket. So does any other of these.
    #[arg(long = "ws", id = "ws-only")]
    on: bool,

    /// The path, and a query if there is one [default: /mqtt]
    #[arg(long = "ws-path", value_name = "PATH")]
    path: Option<String>,

    /// A header of the request; may be given several times.
    #[arg(long = "ws-header", value_name = "NAME=VALUE", value_parser = pair)]
    headers: Vec<(String, String)>,
}

impl Transport {
    /// Returns the URL, if one was given. It may have a password, so that nothing shows it.
    pub(crate) fn url(&self) -> Result<Option<Url>, Failure> {
        self.url.as_deref().map(Url::new).transpose().map_err(Failure::from)
    }

    /// Returns how to get there. Files are read now.
    pub(crate) fn connector(&self) -> Result<AnyConnector, Failure> {
        if let Some(path) = &self.unix {
            return socket(path.clone());
        }
        match self.url()? {
            Some(url) => match (url.address(), &self.proxy) {
                (Some(address), Some(_)) => Ok(url.layers(self.tcp(address)?)?),
                (None, Some(_)) => Err(Failure::usage("there is no proxy to a Unix domain socket")),
                (_, None) => Ok(url.connector()?),
            },
            None => self.layers(&self.address()?),
        }
    }

    fn address(&self) -> Result<Address, Failure> {
        let named = |name| env::var(name).ok().filter(|value| !value.is_empty());
        let host = self.host.clone().or_else(|| named("MQTT_HOST"));
        let port = match (self.port, named("MQTT_PORT")) {
            (Some(port), _) => port,
            (None, Some(port)) => port
                .parse()
                .map_err(|_| Failure::usage(format_args!("MQTT_PORT is no port: {port:?}")))?,
            (None, None) => match (self.tls.is_on(), self.websocket.is_on()) {
                (false, false) => 1883,
                (true, false) => 8883,
                (false, true) => 80,
                (true, true) => 443,
            },
        };
        Ok(Address::new(host.as_deref().unwrap_or("localhost"), port))
    }

    fn layers(&self, address: &Address) -> Result<AnyConnector, Failure> {
        let mut connector = self.tcp(address)?;
        if self.tls.is_on() {
            let mut tls = Tls::new(connector, self.tls.config()?);
            if let Some(name) = &self.tls.servername {
                tls = tls.server_name(name)?;
            }
            connector = AnyConnector::new(tls);
        }
        if self.websocket.is_on() {
            let mut websocket = WebSocket::new(connector);
            if let Some(path) = &self.websocket.path {
                websocket = websocket.path(path)?;
            }
            for (name, value) in &self.websocket.headers {
                websocket = websocket.header(name, value)?;
            }
            connector = AnyConnector::new(websocket);
        }
        Ok(connector)
    }

    fn tcp(&self, address: &Address) -> Result<AnyConnector, Failure> {
        let mut tcp = Tcp::new(address.host(), address.port());
        if let Some(local) = self.bind {
            tcp = tcp.options(TcpOptions::new().bind(SocketAddr::new(local, 0)));
        }
        let proxy = match self.proxy.as_deref() {
            None => None,
            Some("env") => Proxy::from_env(address).map_err(of_proxy)?,
            Some(url) => Some(Proxy::new(url).map_err(of_proxy)?),
        };
        Ok(match proxy {
            Some(proxy) => AnyConnector::new(tcp.via(proxy)),
            None => AnyConnector::new(tcp),
        })
    }
}

impl TlsArgs {
    fn is_on(&self) -> bool {
        let TlsArgs {
            on,
            cafile,
            capath,
            cert,
            key: _,
            servername,
            version,
            alpn,
            insecure,
            config: _,
        } = self;
        *on || cafile.is_some()
            || capath.is_some()
            || cert.is_some()
            || servername.is_some()
            || version.is_some()
            || !alpn.is_empty()
            || *insecure
    }

    fn config(&self) -> Result<Arc<ClientConfig>, Failure> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let mut config = self.trust()?;
        if let Some(version) = self.version {
            config = config.provider(only(version)?);
        }
        if let Some((cert, key)) = self.cert.as_ref().zip(self.key.as_ref()) {
            config = config.identity_files(cert, key)?;
        }
        for protocol in &self.alpn {
            config = config.alpn(protocol.as_bytes());
        }
        let config = config.build()?;
        Ok(Arc::clone(self.config.get_or_init(|| config)))
    }

    fn trust(&self) -> Result<TlsConfig, Failure> {
        if self.insecure {
            return Ok(TlsConfig::dangerous_without_verification());
        }
        if self.cafile.is_none() && self.capath.is_none() {
            return Ok(TlsConfig::platform_roots());
        }
        let mut config = TlsConfig::own_roots();
        if let Some(path) = &self.cafile {
            config = config.ca_file(path)?;
        }
        if let Some(folder) = &self.capath {
            for authority in authorities(folder)? {
                config = config.ca(&authority)?;
            }
        }
        Ok(config)
    }
}

impl WebSocketArgs {
    fn is_on(&self) -> bool {
        let WebSocketArgs { on, path, headers } = self;
        *on || path.is_some() || !headers.is_empty()
    }
}

/// Returns the content of the files in a folder that have certificates in PEM. Other files lie there as well, such as
/// keys and lists of what was revoked.
fn authorities(folder: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let cannot = |path: &Path, error: io::Error| {
        Failure::usage(format_args!("--capath {}: {error}", path.display()))
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| cannot(folder, error))? {
        let path = entry.map_err(|error| cannot(folder, error))?.path();
        if path.is_file() {
            let content = fs::read(&path).map_err(|error| cannot(&path, error))?;
            if content.windows(PEM.len()).any(|at| at == PEM) {
                found.push(content);
            }
        }
    }
    if found.is_empty() {
        let what = format_args!("--capath {}: there is no certificate in PEM", folder.display());
        return Err(Failure::usage(what));
    }
    Ok(found)
}

/// What a certificate begins with.
const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Returns cryptography for one version: rustls offers those that there are cipher suites for.
fn only(version: TlsVersion) -> Result<Arc<CryptoProvider>, Failure> {
    let mut provider = TlsConfig::default_provider()?;
    let suites = &mut Arc::make_mut(&mut provider).cipher_suites;
    suites.retain(|suite| suite.version().version == version.into());
    Ok(provider)
}

#[cfg(unix)]
fn socket(path: PathBuf) -> Result<AnyConnector, Failure> {
    Ok(AnyConnector::new(mqtt_async::Unix::new(path)))
}

#[cfg(not(unix))]
fn socket(_: PathBuf) -> Result<AnyConnector, Failure> {
    Err(Failure::usage("this system has no Unix domain sockets for --unix"))
}

fn of_proxy(error: UrlError) -> Failure {
    Failure::usage(format_args!("the proxy: {error}"))
}

impl From<UrlError> for Failure {
    fn from(error: UrlError) -> Failure {
        Failure::usage(error)
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Failure {
        Failure::usage(error)
    }
}

impl From<WebSocketError> for Failure {
    fn from(error: WebSocketError) -> Failure {
        Failure::usage(error)
    }
}
